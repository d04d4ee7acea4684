package backend

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"sidetone/voiceprint"
)

func TestThreshold(t *testing.T) {
	s := scorer(t)
	for _, c := range []struct{ far, llr, frr float64 }{
		{0.1, 3, 0.001}, // what was measured at less holds for more
		{0.01, 3, 0.001},
		{0.01 / math.Sqrt(10), 4.5, 0.0055},
		{0.001, 6, 0.01},
		{0.0005, 7, 0.02},
	} {
		got, err := s.Threshold(c.far)
		if err != nil || math.Abs(got.LLR-c.llr) > 1e-9 || math.Abs(got.FRR-c.frr) > 1e-9 || got.FAR > c.far {
			t.Errorf("Threshold(%v) = %+v, %v", c.far, got, err)
		}
	}
	for _, far := range []float64{0.000499, 0, -1, math.NaN()} {
		var e *FARError
		if _, err := s.Threshold(far); !errors.As(err, &e) || e.Least != 0.0005 || e.Impostors != 10000 {
			t.Errorf("Threshold(%v): %v", far, err)
		}
	}
	_, err := (&Operating{}).Threshold(0.1)
	var e *FARError
	if !errors.As(err, &e) || !math.IsNaN(e.Least) {
		t.Errorf("without points: %v", err)
	}
	_, err = s.Threshold(0.0001)
	if !strings.Contains(err.Error(), "0.01 % of impostors") || !strings.Contains(err.Error(), "10000 of them, enough for 0.05 %") {
		t.Error(err)
	}
}

// told is an embedder and scorer that has been told the LLR of each look.
type told struct {
	looks        []Look
	accept, fall float64
}

func (told) Model() voiceprint.Model { return voiceprint.Model{ID: "told", Dim: 1} }

func (told) Embed(x []float32) (voiceprint.Embedding, error) {
	return voiceprint.Embedding{float32(len(x))}, nil
}

func (told) Info() voiceprint.Info { return voiceprint.Info{Model: told{}.Model()} }

func (s told) LLR(_ []voiceprint.Embedding, _ voiceprint.Embedding, net time.Duration) (float64, error) {
	for _, l := range s.looks {
		if l.Net == net {
			return l.LLR, nil
		}
	}
	return 0, errors.New("an unknown look")
}

func (s told) Threshold(float64) (voiceprint.Operating, error) {
	return voiceprint.Operating{LLR: s.accept, Fall: s.fall}, nil
}

// What is measured here is what voiceprint.Verifier does.
func TestPathsEndAsVerifiersDo(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	count := map[voiceprint.Outcome]int{}
	policy := voiceprint.DefaultPolicy()
	for range 300 {
		var p Path
		llr := 3 * r.NormFloat64()
		drift := r.NormFloat64()
		for net := time.Second; net <= 15*time.Second; net += 500 * time.Millisecond {
			p.Looks = append(p.Looks, Look{Net: net, LLR: llr})
			llr += drift/2 + r.NormFloat64()
		}
		accept := 8 * r.Float64()
		fall := float64(r.IntN(3)) / 2
		s := told{p.Looks, accept, fall}
		v, err := voiceprint.NewVerifier(voiceprint.VerifierConfig{Embedder: s, Scorer: s, Enrolled: []voiceprint.Embedding{{1}}})
		if err != nil {
			t.Fatal(err)
		}
		var d voiceprint.Decision
		for at := int64(8000); !d.Final; at += 8000 {
			v.Hear(make([]float32, 8000), at)
			if d, err = v.Look(voiceprint.Quality{}, nil); err != nil {
				t.Fatal(err)
			}
		}
		o, looks := p.Decide(policy, voiceprint.Operating{LLR: accept, Fall: fall})
		if o != d.Outcome || looks != d.Scores || (p.peak(policy, fall) >= accept) != (o == voiceprint.Match) {
			t.Fatalf("%v after %d looks, peak %v of %v; the verifier says %v after %d", o, looks, p.peak(policy, fall), accept, d.Outcome, d.Scores)
		}
		count[o]++
	}
	if count[voiceprint.Match] < 20 || count[voiceprint.Mismatch] < 20 || count[voiceprint.Inconclusive] < 20 {
		t.Errorf("the paths do not try all endings: %v", count)
	}
}

// calls are paths of one look each.
func calls(targets, impostors []float64) []Path {
	var out []Path
	for i, llr := range append(append([]float64{}, targets...), impostors...) {
		p := Path{Enrolled: "a", Speaker: "a", Looks: []Look{{Net: 10 * time.Second, LLR: llr}}}
		if i >= len(targets) {
			p.Speaker = "b"
		}
		out = append(out, p)
	}
	return out
}

func TestOperate(t *testing.T) {
	var targets, impostors []float64
	for i := range 100 {
		targets = append(targets, float64(i)/10) // 0 … 9.9
	}
	for i := range 1000 {
		impostors = append(impostors, 7-float64(i)/100) // 7 … -2.99
	}
	o, err := Operate(calls(targets, impostors), voiceprint.DefaultPolicy(), 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []voiceprint.Operating{{FAR: 0.02, FRR: 0.69, LLR: 6.81}, {FAR: 0.01, FRR: 0.7, LLR: 6.91}, {FAR: 0.005, FRR: 0.7, LLR: 6.96}}
	if len(o.Points) != len(want) {
		t.Fatalf("%+v", o.Points)
	}
	for i, p := range o.Points {
		if p.FAR != want[i].FAR || math.Abs(p.LLR-want[i].LLR) > 1e-9 || math.Abs(p.FRR-want[i].FRR) > 1e-9 {
			t.Errorf("point %d is %+v, want %+v", i, p, want[i])
		}
	}
	if o.Targets != 100 || o.Impostors != 1000 || o.Speakers != 2 {
		t.Errorf("%+v", o)
	}
	// Where impostors hardly reach zero, zero is the threshold and no less is claimed
	// than what five of them could be.
	for i := range impostors {
		impostors[i] -= 6.985
	}
	o, err = Operate(calls(targets, impostors), voiceprint.DefaultPolicy(), 0)
	if err != nil || len(o.Points) != 1 || o.Points[0] != (voiceprint.Operating{FAR: 0.005, FRR: 0, LLR: 0}) {
		t.Errorf("%+v, %v", o.Points, err)
	}
	var few *TooLittleError
	if _, err := Operate(calls(targets, impostors[:249]), voiceprint.DefaultPolicy(), 0); !errors.As(err, &few) || few.Have != 249 {
		t.Errorf("249 impostors: %v", err)
	}
	if _, err := Operate(calls(nil, impostors), voiceprint.DefaultPolicy(), 0); err == nil {
		t.Error("no true caller is enough")
	}
}
