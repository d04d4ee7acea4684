package load

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sidetone/bench"
)

func TestSketch(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var s, half Sketch
	var all []float64
	for i := range 20000 {
		v := math.Exp(r.NormFloat64() - 1)
		all = append(all, v)
		d := time.Duration(v * float64(time.Second))
		if i%2 == 0 {
			s.Add(d)
		} else {
			half.Add(d)
		}
	}
	s.Merge(&half)
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.95, 0.99, 1} {
		want, got := bench.Quantile(all, q), s.Quantile(q)
		if math.Abs(got-want) > 1.001*SketchError*want {
			t.Errorf("quantile %g is %g, want %g", q, got, want)
		}
	}
	sum := 0.0
	for _, v := range all {
		sum += v
	}
	if got, want := s.Mean(), sum/float64(len(all)); math.Abs(got-want) > 1e-6 || s.Count() != len(all) {
		t.Errorf("mean %g of %d, want %g of %d", got, s.Count(), want, len(all))
	}
	if got, want := s.Max(), all[len(all)-1]; math.Abs(got-want) > 1e-6 {
		t.Errorf("max %g, want %g", got, want)
	}
	total := 0
	bars := s.Bars(4)
	for i, b := range bars {
		total += b.Count
		if i > 0 && math.Abs(b.From-bars[i-1].To) > 1e-9 || math.Abs(b.To/b.From-math.Pow(2, 0.25)) > 1e-9 {
			t.Errorf("bar %d is from %g to %g", i, b.From, b.To)
		}
	}
	if total != len(all) || bars[0].Count == 0 || bars[len(bars)-1].Count == 0 {
		t.Errorf("bars hold %d of %d", total, len(all))
	}
}

func TestSketchOfOddValues(t *testing.T) {
	var s Sketch
	if s.Quantile(0.5) != 0 || s.Mean() != 0 || s.Max() != 0 || s.Bars(4) != nil {
		t.Error("an empty sketch has values")
	}
	for _, d := range []time.Duration{-time.Second, 0, time.Hour} {
		s.Add(d)
	}
	if s.Quantile(0.1) > sketchMin || s.Max() != 3600 || s.Quantile(1) > sketchMax*(1+SketchError) {
		t.Errorf("%+v", s.Spread())
	}
}

// What is kept does not grow with what is seen.
func TestBounded(t *testing.T) {
	var l Latencies
	var s Series
	for i := range 200_000 {
		at := time.Duration(i) * time.Second
		l.Add(at, time.Duration(i%3000)*time.Millisecond)
		s.Add(at, float64(i))
	}
	if n := len(l.steps); n > maxSteps {
		t.Errorf("%d sketches", n)
	}
	if n := len(s.points); n > MaxPoints {
		t.Errorf("%d points", n)
	}
	if n := l.All().Count(); n != 200_000 {
		t.Errorf("%d latencies are kept", n)
	}
	points := s.Samples(0, math.MaxInt64)
	for _, p := range points[:len(points)-1] {
		// A step's mean is its middle, the maximum at its end.
		if math.Abs(p.Mean-p.At) > 1 || p.Max < p.Mean {
			t.Fatalf("at %g the mean is %g, the maximum %g", p.At, p.Mean, p.Max)
		}
	}
	if last := points[len(points)-1]; last.Max != 199_999 {
		t.Errorf("the last maximum is %g", last.Max)
	}
}

func TestLatenciesBetween(t *testing.T) {
	var l Latencies
	for i := range 60 {
		l.Add(time.Duration(i)*time.Second, time.Duration(i+1)*time.Second)
	}
	first, last := l.Between(0, 20*time.Second), l.Between(40*time.Second, time.Minute)
	if first.Count() != 20 || first.Max() != 20 || last.Count() != 20 || last.Max() != 60 {
		t.Errorf("first %+v, last %+v", first.Spread(), last.Spread())
	}
	if q := l.Quantiles(1); len(q) != 12 || q[0].At != 2.5 || math.Abs(q[0].Mean-5) > 0.11 {
		t.Errorf("quantiles %v", q)
	}
}

func TestSeries(t *testing.T) {
	var s Series
	for _, v := range []float64{math.NaN(), math.Inf(1)} {
		s.Add(0, v)
	}
	s.Add(-time.Second, 7)
	if s.Samples(0, time.Hour) != nil {
		t.Error("what is no value was kept")
	}
	s.Add(3*time.Second, -2)
	s.Add(3500*time.Millisecond, -4)
	s.Add(time.Second, 5)
	want := []Sample{{1.5, 5, 5}, {3.5, -3, -2}}
	if got := s.Samples(0, time.Hour); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := s.Samples(2*time.Second, time.Hour); len(got) != 1 {
		t.Errorf("within bounds: %v", got)
	}
}
