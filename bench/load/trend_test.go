package load

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// sloped are samples of a line with noise about it, one a second.
func sloped(n int, from, slope, noise float64) []Sample {
	r := rand.New(rand.NewPCG(3, 4))
	out := make([]Sample, n)
	for i := range out {
		out[i] = Sample{At: float64(i), Mean: from + slope*float64(i) + noise*r.NormFloat64()}
	}
	return out
}

func TestTrend(t *testing.T) {
	x := NewTrend(sloped(601, 100, 0.5, 3))
	if math.Abs(x.Slope-0.5) > 0.01 || math.Abs(x.Mean-250) > 0.5 || math.Abs(x.Scatter-3) > 0.4 || x.Seconds != 600 {
		t.Errorf("%+v", x)
	}
	if math.Abs(x.Growth()-300) > 6 {
		t.Errorf("growth %g, want 300", x.Growth())
	}
	for _, xs := range [][]Sample{nil, {{At: 1, Mean: 2}}} {
		if x := NewTrend(xs); x.Slope != 0 || x.Growth() != 0 || x.N != len(xs) {
			t.Errorf("of %d: %+v", len(xs), x)
		}
	}
}

func TestCheckFlat(t *testing.T) {
	const mb = 1e6
	for _, c := range []struct {
		name        string
		samples     []Sample
		ok, skipped bool
	}{
		{"flat", sloped(1200, 400*mb, 0, mb), true, false},
		{"a leak", sloped(1200, 400*mb, 0.1*mb, mb), false, false},
		{"shrinking", sloped(1200, 400*mb, -0.1*mb, mb), true, false},
		{"a rise within the noise", sloped(1200, 10*mb, 0.001*mb, 5*mb), true, false},
		{"too short", sloped(100, 400*mb, mb, mb), false, true},
		{"nothing", nil, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := CheckFlat("memory", NewTrend(c.samples))
			if got.OK != c.ok || got.Skipped != c.skipped || got.Text == "" || got.Name != "memory flat" {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestCheckDrift(t *testing.T) {
	of := func(n int, d time.Duration) *Sketch {
		s := &Sketch{}
		for range n {
			s.Add(d)
		}
		return s
	}
	for _, c := range []struct {
		name        string
		first, last *Sketch
		third       float64
		ok, skipped bool
	}{
		{"the same", of(100, time.Second), of(100, time.Second), 600, true, false},
		{"within limits", of(100, time.Second), of(100, 1300*time.Millisecond), 600, true, false},
		{"slower", of(100, time.Second), of(100, 1500*time.Millisecond), 600, false, false},
		{"faster", of(100, time.Second), of(100, time.Millisecond), 600, true, false},
		{"short", of(100, time.Second), of(100, time.Minute), 60, false, true},
		{"few", of(100, time.Second), of(5, time.Minute), 600, false, true},
	} {
		if got := CheckDrift("card", c.first, c.last, c.third); got.OK != c.ok || got.Skipped != c.skipped {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func TestCheckBack(t *testing.T) {
	for _, c := range []struct {
		before, after float64
		ok, skipped   bool
	}{{50, 50, true, false}, {50, 55, true, false}, {50, 56, false, false}, {50, 10, true, false}, {0, 0, false, true}} {
		if got := CheckBack("goroutines", c.before, c.after, 5); got.OK != c.ok || got.Skipped != c.skipped {
			t.Errorf("%v: %+v", c, got)
		}
	}
}

func TestBounds(t *testing.T) {
	for _, c := range []struct {
		usage Usage
		want  []string
	}{
		{Usage{Cores: 1.9, Allowed: 2, Workers: 0.5, Idle: 0.5}, []string{"processor: the server uses 1.90 of its 2 cores"}},
		{Usage{Cores: 1, Allowed: 2, Workers: 0.95, Idle: 0.5}, []string{"recognition.workers: they decode 95 %"}},
		{Usage{Cores: 0.5, Allowed: 2, Workers: 0.5, Idle: 0.02}, []string{"the machine: 2 %"}},
		{Usage{Cores: 0.5, Allowed: 2, Workers: 0.5, Idle: -1, FinalWait: 3}, []string{"neither", "finals 3.00 s"}},
	} {
		got := strings.Join(Bounds(&Step{Usage: c.usage}), "\n")
		for _, w := range c.want {
			if !strings.Contains(got, w) {
				t.Errorf("got %q, want %q in it", got, w)
			}
		}
	}
}
