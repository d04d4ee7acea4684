package backend

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"sidetone/voiceprint"
)

// Where targets and impostors are normal with one deviation, the true ratio is linear
// in the cosine and known: the fit finds it, whatever the weights of the two sides.
func TestFitFindsTheRatio(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const away = 0.5
	slope := func(net float64) float64 { return 15 + 4*math.Log(net/reference) }
	var data []scored
	for i := range 60000 {
		net := []float64{2, 5, 10, 20}[i%4]
		s := scored{cosine: math.Sqrt(away/slope(net)) * r.NormFloat64(), net: net, weight: 1, target: i/4%6 == 0}
		if s.target {
			s.cosine += away
		}
		data = append(data, s)
	}
	truth := func(s, net float64) float64 { return slope(net) * (s - away/2) }
	for _, prior := range []float64{0.5, 0.1} {
		c, err := fit(data, prior)
		if err != nil {
			t.Fatal(err)
		}
		for _, net := range []float64{2, 5, 10, 20} {
			for _, s := range []float64{0, 0.2, 0.4} {
				got := c.LLR(s, duration(net))
				if want := truth(s, net); math.Abs(got-want) > 0.25 {
					t.Errorf("prior %v: LLR(%v, %v s) is %.2f, want %.2f", prior, s, net, got, want)
				}
			}
		}
		if c.Targets != 10000 || c.Impostors != 50000 || c.Shortest != 2*time.Second || c.Longest != 20*time.Second {
			t.Errorf("%+v", c)
		}
	}
}

func TestFitKeepsToFiniteNumbers(t *testing.T) {
	var data []scored
	for i := range 100 {
		data = append(data, scored{cosine: float64(i%2) + 0.001*float64(i), net: float64(1 + i%5), weight: 1, target: i%2 == 1})
	}
	c, err := fit(data, 0.5)
	if err != nil || math.IsInf(c.Cosine, 0) || c.LLR(1, 3*time.Second) < 5 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := fit(data[:1], 0.5); err == nil {
		t.Error("impostors alone are taken")
	}
	for i := range data {
		data[i].cosine = -data[i].cosine
	}
	if _, err := fit(data, 0.5); err == nil {
		t.Error("a calibration is made by which impostors are likelier targets")
	}
}

func TestCalibrationOfLittleAndMuchSpeech(t *testing.T) {
	c := Calibration{Constant: -21, Cosine: 47.156, CosineNet: 15.573, Net: -11.007, Shortest: 2 * time.Second, Longest: 15 * time.Second}
	at := func(s, net float64) float64 { return c.LLR(s, duration(net)) }
	if got := at(0.543, 10); math.Abs(got-4.606) > 0.01 {
		t.Errorf("LLR(0.543, 10 s) = %v", got)
	}
	if at(0.6, 60) != at(0.6, 15) {
		t.Error("more speech than was fitted on counts for more")
	}
	if got, want := at(0.6, 1), at(0.6, 2)/2; math.Abs(got-want) > 1e-12 {
		t.Errorf("half of the least speech weighs %v, want %v", got, want)
	}
	if at(0.6, 0) != 0 || at(0.6, -1) != 0 {
		t.Error("no speech is evidence")
	}
}

// unitTo is a vector whose cosine with (1, 0, 0) is c.
func unitTo(c float64) voiceprint.Embedding {
	return voiceprint.Embedding{float32(c), float32(math.Sqrt(1 - c*c)), 0}
}

func scorer(t testing.TB) *Scorer {
	t.Helper()
	p := &Params{
		Trained:     Trained{Calibration: "numbers of a test"},
		Space:       newSpace(voiceprint.Model{ID: "m", Dim: 3}, make([]float32, 3), []float32{1, 0, 1, 0, 0, 1}),
		Calibration: Calibration{Constant: -20, Cosine: 50, Shortest: time.Second, Longest: 15 * time.Second},
		Operating: Operating{Targets: 100, Impostors: 10000, Speakers: 50, Policy: voiceprint.DefaultPolicy(), Points: []voiceprint.Operating{
			{FAR: 0.01, FRR: 0.001, LLR: 3}, {FAR: 0.001, FRR: 0.01, LLR: 6}, {FAR: 0.0005, FRR: 0.02, LLR: 7},
		}},
	}
	s, err := p.Scorer()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestScorer(t *testing.T) {
	s := scorer(t)
	test := unitTo(0.6)
	x, y := voiceprint.Embedding{1, 0, 0}, voiceprint.Embedding{0, 1, 0}
	for name, c := range map[string]struct {
		enrolled []voiceprint.Embedding
		want     float64
	}{
		"one":          {[]voiceprint.Embedding{x}, 50*0.6 - 20},
		"the same two": {[]voiceprint.Embedding{x, x}, 50*0.6 - 20},
		"two":          {[]voiceprint.Embedding{x, y}, 50*(0.6+0.8)/math.Sqrt2 - 20},
	} {
		got, err := s.LLR(c.enrolled, test, 10*time.Second)
		if err != nil || math.Abs(got-c.want) > 1e-4 {
			t.Errorf("%s: %v, %v, want %v", name, got, err, c.want)
		}
	}
	if i := s.Info(); i.Model != (voiceprint.Model{ID: i.Model.ID, Dim: 3}) || i.Calibration == "" ||
		i.Trained != "numbers of a test; thresholds from 100 calls of true callers and 10000 of impostors, 50 speakers, none of them trained on, looked at up to 0 times" {
		t.Errorf("%+v", i)
	}
	for name, err := range map[string]error{
		"no template":  second(s.LLR(nil, test, time.Second)),
		"no speech":    second(s.LLR([]voiceprint.Embedding{x}, test, 0)),
		"opposite two": second(s.LLR([]voiceprint.Embedding{x, {-1, 0, 0}}, test, time.Second)),
		"not a number": second(s.LLR([]voiceprint.Embedding{x}, voiceprint.Embedding{float32(math.NaN()), 0, 0}, time.Second)),
	} {
		if err == nil || errors.Is(err, voiceprint.ErrModel) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"long test":     second(s.LLR([]voiceprint.Embedding{x}, make(voiceprint.Embedding, 4), time.Second)),
		"long template": second(s.LLR([]voiceprint.Embedding{x, make(voiceprint.Embedding, 4)}, test, time.Second)),
	} {
		if !errors.Is(err, voiceprint.ErrModel) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second(_ float64, err error) error { return err }

func TestLLRDoesNotAllocate(t *testing.T) {
	s := scorer(t)
	enrolled, test := []voiceprint.Embedding{unitTo(1), unitTo(0.5)}, unitTo(0.7)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := s.LLR(enrolled, test, 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
