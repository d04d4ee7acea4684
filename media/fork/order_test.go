package fork

import (
	"math"
	"math/rand/v2"
	"testing"
)

// sound is a second and a half at 8 kHz.
func sound(f func(i int) float64) []int16 {
	s := make([]int16, 12000)
	for i := range s {
		s[i] = int16(max(-32768, min(32767, math.Round(f(i)))))
	}
	return s
}

func TestByteOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	tone := func(level float64) func(int) float64 {
		return func(i int) float64 { return level * math.Sin(2*math.Pi*300*float64(i)/8000) }
	}
	for _, c := range []struct {
		name    string
		samples []int16
		// told is whether the samples are told from their swapped selves.
		told bool
	}{
		{"tone", sound(tone(8000)), true},
		{"faint tone", sound(tone(200)), true},
		{"loud tone", sound(tone(32767)), true},
		{"tone in pauses of noise", sound(func(i int) float64 {
			if i/800%4 == 0 {
				return r.NormFloat64() * 2
			}
			return tone(3000)(i) + r.NormFloat64()*50
		}), true},
		{"noise", sound(func(int) float64 { return r.NormFloat64() * 1000 }), true},
		{"silence", sound(func(int) float64 { return r.NormFloat64() * 1.5 }), false},
		{"nothing", make([]int16, 12000), false},
		{"the loudest noise", sound(func(int) float64 { return r.Float64()*65535 - 32768 }), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			wrong := make([]int16, len(c.samples))
			for i, x := range c.samples {
				wrong[i] = swap(x)
			}
			if got := times(c.samples); got != 0 {
				t.Errorf("samples in order are called swapped")
			}
			want := 0
			if c.told {
				want = 1
			}
			if got := times(wrong); got != want {
				t.Errorf("swapped samples are called so %d times, want %d", got, want)
			}
		})
	}
}

// times feeds pieces of odd sizes, twice over, and counts the alarms.
func times(samples []int16) int {
	var b ByteOrder
	n := 0
	for range 2 {
		for i := 0; i < len(samples); i += 137 {
			if b.Swapped(samples[i:min(i+137, len(samples))]) {
				n++
			}
		}
	}
	return n
}

func TestByteOrderDoesNotAllocate(t *testing.T) {
	var b ByteOrder
	s := sound(func(i int) float64 { return float64(i % 100) })
	if n := testing.AllocsPerRun(100, func() { b.Swapped(s[:320]) }); n != 0 {
		t.Errorf("%v allocations per piece", n)
	}
}
