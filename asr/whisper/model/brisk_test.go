package model

import (
	"math"
	"math/rand/v2"
	"testing"

	"sidetone/internal/needs"
)

// What is rough is exact at the top and near elsewhere.
func TestRoughLogits(t *testing.T) {
	m := tinyEn(t)
	if m.rough == nil {
		t.Skip("this processor multiplies floats as fast as bytes")
	}
	s := newStepper(m)
	r := rand.New(rand.NewPCG(1, 2))
	const rows = 3
	for i := range s.normed[:rows*m.width] {
		s.normed[i] = float32(3 * r.NormFloat64())
	}
	want := append([]float32(nil), s.project(rows, false)...)
	got := s.project(rows, true)
	var off float64
	for k := range rows {
		a, b := want[k*m.vocabSize:(k+1)*m.vocabSize], got[k*m.vocabSize:(k+1)*m.vocabSize]
		top := a[argMax(a)]
		if argMax(a) != argMax(b) {
			t.Errorf("row %d: token %d, rough %d", k, argMax(a), argMax(b))
		}
		for id, v := range a {
			d := math.Abs(float64(v - b[id]))
			if (v > top-sharp+1 || id == m.noSpeech) && d > 1e-3 {
				t.Errorf("row %d, token %d near the top: %v, rough %v", k, id, v, b[id])
			}
			off = max(off, d)
		}
	}
	if off == 0 || off > 1 {
		t.Errorf("rough logits are %v off at most", off)
	}
	t.Logf("rough logits are %.3f off at most", off)
}

// On speech a brisk search finds what the reference's does, nearly always, and
// nearly with its probabilities.
func TestBrisk(t *testing.T) {
	m := tinyEn(t)
	d := m.NewDecoder()
	needs.Eval(t, "asr")
	for _, key := range []string{"librispeech/tel8k/1688-142285-0003.wav", "asterisk/tel8k/agent-incorrect.wav"} {
		x := clip(t, key)
		for _, beam := range []int{0, 5} {
			o := Options{Beam: beam, WordTimes: true}
			want, err := d.Decode(t.Context(), x, o)
			if err != nil {
				t.Fatal(err)
			}
			o.Brisk = true
			got, err := d.Decode(t.Context(), x, o)
			if err != nil {
				t.Fatal(err)
			}
			if got.Text != want.Text || math.Abs(got.AvgLogProb-want.AvgLogProb) > 0.02 || math.Abs(got.NoSpeechProb-want.NoSpeechProb) > 0.02 || len(got.Words) != len(want.Words) {
				t.Errorf("%s, beam %d: %q %.3f %.3f, want %q %.3f %.3f", key, beam, got.Text, got.AvgLogProb, got.NoSpeechProb, want.Text, want.AvgLogProb, want.NoSpeechProb)
				continue
			}
			for i, w := range want.Words {
				if g := got.Words[i]; g.Text != w.Text || math.Abs(g.Start-w.Start) > 0.021 || math.Abs(float64(g.Prob-w.Prob)) > 0.05 {
					t.Errorf("%s, beam %d: word %+v, want %+v", key, beam, g, w)
				}
			}
		}
	}
}
