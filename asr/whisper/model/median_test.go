package model

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// naiveMedians sorts what each element has around it.
func naiveMedians(x []float32) []float32 {
	out := make([]float32, len(x))
	for t := range x {
		var w []float32
		for p := t - medianWidth/2; p <= t+medianWidth/2; p++ {
			q := p
			if q < 0 {
				q = -q
			}
			if q >= len(x) {
				q = 2*len(x) - q - 2
			}
			w = append(w, x[q])
		}
		slices.Sort(w)
		out[t] = w[len(w)/2]
	}
	return out
}

func TestMediansMatchNaive(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	odd := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 0, -1, 1, math.SmallestNonzeroFloat32, -math.MaxFloat32}
	var scratch []int32
	for n := medianWidth/2 + 1; n < 40; n++ {
		for trial := range 200 {
			x := make([]float32, n)
			for i := range x {
				x[i] = float32(r.NormFloat64())
				if r.IntN(10) < trial%10 {
					x[i] = odd[r.IntN(len(odd))]
				}
			}
			want := naiveMedians(x)
			scratch = medians(x, scratch)
			for i, v := range want {
				if x[i] != v && (x[i] == x[i] || v == v) {
					t.Fatalf("median %d of %d: %v, want %v", i, n, x[i], v)
				}
			}
		}
	}
}

func TestAboveAndArgMaxMatchNaive(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for n := 1; n < 100; n++ {
		x := make([]float32, n)
		for range 50 {
			best := 0
			for i := range x {
				// Few values, so that some are equal.
				x[i] = float32(r.IntN(20) - 10)
				if x[i] > x[best] {
					best = i
				}
			}
			if got := argMax(x); got != best {
				t.Fatalf("of %v the largest is %d, want %d", x, got, best)
			}
			at, floor := r.IntN(n+1), float32(r.IntN(20)-10)
			want := at
			for want < n && x[want] <= floor {
				want++
			}
			if got := above(x, at, floor); got != want {
				t.Fatalf("above %v in %v from %d: %d, want %d", floor, x, at, got, want)
			}
		}
	}
}

func BenchmarkMedians(b *testing.B) {
	x := noise(250)
	var scratch []int32
	for b.Loop() {
		scratch = medians(x, scratch)
	}
}

func BenchmarkArgMax(b *testing.B) {
	x := noise(51864)
	for b.Loop() {
		argMax(x)
	}
}
