package dsp

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// speech are features of a steady noise of level 0 (times 10 dB a step), with a
// sound in every fourth stretch of eight frames that is rise above it.
func speech(rnd *rand.Rand, m *Mel, frames int, rise float32) (x []float32, loud []bool) {
	for t := range frames {
		on := t/8%4 == 3
		for range m.bands {
			energy := float32(0.02 * (rnd.Float64() - 0.5))
			if on {
				energy += rise
			}
			x = append(x, (energy+4)/4)
			loud = append(loud, on)
		}
	}
	return x, loud
}

func TestSubtract(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	m := NewMel(80)
	for _, c := range []struct {
		rise float32
		// Decades by which what is loud and what is not go down.
		loud, quiet float64
	}{
		// Twice the noise is 1/50 of a sound 20 dB above it, 1/5 of one 10 dB
		// above it.
		{rise: 2, loud: math.Log10(1 - 2/100.0), quiet: math.Log10(leave)},
		{rise: 1, loud: math.Log10(1 - 2/10.0), quiet: math.Log10(leave)},
		{rise: 0.1, loud: math.Log10(leave), quiet: math.Log10(leave)},
	} {
		x, loud := speech(rnd, m, 200, c.rise)
		was := slices.Clone(x)
		m.Subtract(x)
		for i := range x {
			want := c.quiet
			if loud[i] {
				want = c.loud
			}
			if got := 4 * float64(x[i]-was[i]); math.Abs(got-want) > 0.01 {
				t.Fatalf("rise %v, element %d (loud: %v): changed by %v, want %v", c.rise, i, loud[i], got, want)
			}
		}
	}
}

func TestSubtractLeavesAlone(t *testing.T) {
	m := NewMel(80)
	// Clean speech: the pauses lie at the floor, the rest far above.
	x, loud := speech(rand.New(rand.NewPCG(3, 4)), m, 100, 6)
	was := slices.Clone(x)
	m.Subtract(x)
	for i := range x {
		if loud[i] && math.Abs(float64(x[i]-was[i])) > 1e-5 {
			t.Fatalf("clean: %v became %v", was[i], x[i])
		}
	}
	few, _ := speech(rand.New(rand.NewPCG(5, 6)), m, fewFrames-1, 1)
	was = slices.Clone(few)
	m.Subtract(few)
	if !slices.Equal(few, was) {
		t.Error("too few frames were changed")
	}
	m.Subtract(nil)
}

// What Subtract leaves still spans 80 dB at most, as the model knows it.
func TestSubtractKeepsTheFloor(t *testing.T) {
	m := NewMel(80)
	x, _ := speech(rand.New(rand.NewPCG(7, 8)), m, 100, 7.99)
	m.Subtract(x)
	if span := slices.Max(x) - slices.Min(x); span > 2+1e-5 {
		t.Errorf("features span %v", span)
	}
}

func TestSubtractDoesNotAllocate(t *testing.T) {
	m := NewMel(80)
	x, _ := speech(rand.New(rand.NewPCG(9, 10)), m, 300, 1)
	m.Subtract(x)
	if n := testing.AllocsPerRun(3, func() { m.Subtract(x) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSubtract(b *testing.B) {
	m := NewMel(80)
	x, _ := speech(rand.New(rand.NewPCG(11, 12)), m, 500, 1)
	y := make([]float32, len(x))
	for b.Loop() {
		copy(y, x)
		m.Subtract(y)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(500*b.N), "µs/frame")
}
