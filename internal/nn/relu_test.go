package nn

import "testing"

func TestReLU(t *testing.T) {
	zero := func(v float32) float32 {
		if v < 0 {
			return 0
		}
		return v
	}
	forEach(t, func(t *testing.T, v isa) {
		r := newRand()
		for _, n := range lengths() {
			x, y, scale, shift := normal(r, n), normal(r, n), normal(r, n), normal(r, n)
			if n > 3 {
				x[0], x[1], x[2], x[n-1] = nan, inf, -inf, nan
			}
			alone, sum, scaled := append([]float32(nil), x...), append([]float32(nil), x...), make([]float32, n)
			v.relu(alone)
			v.addReLU(sum, y)
			v.scaleReLU(scaled, x, scale, shift)
			for i, g := range alone {
				if want := zero(x[i]); !same(g, want) {
					t.Fatalf("relu %d: element %d: got %v, want %v", n, i, g, want)
				}
				if want := zero(x[i] + y[i]); !same(sum[i], want) {
					t.Fatalf("addReLU %d: element %d: got %v, want %v", n, i, sum[i], want)
				}
				want := zero(x[i]*scale[i] + shift[i])
				if g := scaled[i]; !same(g, want) && !(max(g-want, want-g) < 1e-6) {
					t.Fatalf("scaleReLU %d: element %d: got %v, want %v", n, i, g, want)
				}
			}
		}
	})
}
