package whisper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
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

// Where the second model fails, what the first one hears counts; the log is told
// of each cause once, the counter of each failure.
func TestTheSecondModelFails(t *testing.T) {
	for name, always := range map[string]bool{"asked in doubt": false, "always asked": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first := &stage{decoder: &fake{before: func(_ context.Context, ws []model.Word, _ float64, _ model.Options) (*model.Result, error) {
					r := result(ws...)
					r.AvgLogProb = -0.7
					return &r, nil
				}}}
				asked := 0
				second := &stage{no: 1, decoder: &fake{before: func(context.Context, []model.Word, float64, model.Options) (*model.Result, error) {
					asked++
					if asked == 3 {
						return nil, errors.New("worn out")
					}
					return nil, errors.New("broken")
				}}}
				var log bytes.Buffer
				cfg, err := Config{FinalsAlways: always, PartialEvery: -1, Log: slog.New(slog.NewTextHandler(&log, nil))}.withDefaults()
				if err != nil {
					t.Fatal(err)
				}
				e := newEngine(func() [2]*stage { return [2]*stage{first, second} }, cfg, defaultPolicy())
				defer e.Close()
				l := newLeg(t, e, "a")
				defer l.s.Close()
				utter := func(k int16) {
					l.must(speak(l.at, k), begin(l.at))
					l.must(quiet(l.at, 504*time.Millisecond), end(l.at))
					synctest.Wait()
				}
				for k := range int16(4) {
					utter(k + 1)
				}
				time.Sleep(time.Minute)
				utter(5)
				if err := l.finish(); err != nil || l.text() != "w1|w2|w3|w4|w5|" {
					t.Errorf("finals %q, %v, want the first model's", l.text(), err)
				}
				if n := e.Stats().SecondFailures.Load(); n != 5 {
					t.Errorf("%d failures counted, want 5", n)
				}
				var told []string
				for line := range strings.Lines(log.String()) {
					_, cause, _ := strings.Cut(strings.TrimSpace(line), "error=")
					told = append(told, cause)
				}
				if want := []string{"broken times=1", `"worn out" times=1`, "broken times=3"}; !slices.Equal(told, want) {
					t.Errorf("the log is told %q, want %q", told, want)
				}
			})
		})
	}
}

// A job that is given up is no failure of the model's.
func TestACancelledSecondOpinionIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := &stage{decoder: &fake{}}
		second := &stage{no: 1, decoder: &fake{before: func(ctx context.Context, _ []model.Word, _ float64, _ model.Options) (*model.Result, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}}
		cfg, err := Config{FinalsAlways: true, PartialEvery: -1}.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		e := newEngine(func() [2]*stage { return [2]*stage{first, second} }, cfg, defaultPolicy())
		defer e.Close()
		l := newLeg(t, e, "a")
		l.must(speak(0, 1), begin(0))
		l.must(quiet(l.at, 504*time.Millisecond), end(l.at))
		synctest.Wait()
		l.s.Close()
		if n := e.Stats().SecondFailures.Load(); n != 0 || e.Stats().Finals.Load() != 0 {
			t.Errorf("%d failures, %d finals; want none", n, e.Stats().Finals.Load())
		}
	})
}

func TestFaultsAreToldSeldomAndOfBoundedCauses(t *testing.T) {
	var f faults
	now := time.Unix(1, 0)
	told := 0
	for i := range 1000 {
		if f.count(now, fmt.Sprint("cause ", i)) > 0 {
			told++
		}
	}
	if told != faultCauses+1 || len(f.causes) != faultCauses+1 {
		t.Errorf("told %d times of %d causes, want %d", told, len(f.causes), faultCauses+1)
	}
	if n := f.count(now.Add(faultEvery), "cause 999"); n != 1000-faultCauses {
		t.Errorf("the rest has come %d times, want %d", n, 1000-faultCauses)
	}
}
