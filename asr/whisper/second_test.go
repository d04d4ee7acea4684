package whisper

import (
	"context"
	"testing"
	"time"

	"sidetone/asr/whisper/model"
)

// The second model is asked about finals in doubt, and believed where it is the
// surer of the two.
func TestSecondOpinion(t *testing.T) {
	cases := []struct {
		name          string
		first, second float64 // mean log probabilities
		always        bool
		want          string
		asked         int64
		subtract      bool
	}{
		{"sure", -0.1, -0.05, false, "w1 w2|", 0, false},
		{"in doubt, the second is surer", -0.7, -0.3, false, "w11 w12|", 1, true},
		{"in doubt, the first is surer", -0.7, -0.9, false, "w1 w2|", 1, true},
		{"always", -0.1, -0.9, true, "w11 w12|", 0, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			heard := func(logProb float64, k int, opts *model.Options) *fake {
				return &fake{before: func(_ context.Context, ws []model.Word, _ float64, o model.Options) (*model.Result, error) {
					*opts = o
					for i := range ws {
						ws[i] = said(ws[i].Tokens[0]+k, ws[i].Start, ws[i].End)
					}
					r := result(ws...)
					r.AvgLogProb = logProb
					return &r, nil
				}}
			}
			var by [2]model.Options
			first, second := &stage{decoder: heard(c.first, 0, &by[0])}, &stage{decoder: heard(c.second, 10, &by[1]), no: 1}
			cfg, err := Config{FinalsAlways: c.always, PartialEvery: -1}.withDefaults()
			if err != nil {
				t.Fatal(err)
			}
			e := newEngine(func() [2]*stage { return [2]*stage{first, second} }, cfg, defaultPolicy())
			t.Cleanup(func() { e.Close() })
			l := newLeg(t, e, "a")
			l.must(speak(0, 1, 2), begin(0))
			l.must(quiet(l.at, 504*time.Millisecond), end(l.at))
			if err := l.finish(); err != nil || l.text() != c.want {
				t.Errorf("finals %q, %v, want %q", l.text(), err, c.want)
			}
			if n := e.Stats().Seconds.Load(); n != c.asked {
				t.Errorf("asked %d times, want %d", n, c.asked)
			}
			if by[0].Subtract || by[1].Subtract != c.subtract {
				t.Errorf("noise subtracted: first %v, second %v", by[0].Subtract, by[1].Subtract)
			}
		})
	}
}
