package nn

import (
	"fmt"
	"math"
	"testing"
)

var inf, nan = float32(math.Inf(1)), float32(math.NaN())

func same(a, b float32) bool { return a == b || a != a && b != b }

// lengths take in every tail and several rounds of the widest loop.
func lengths() []int {
	var n []int
	for i := range 70 {
		n = append(n, i)
	}
	return append(n, 127, 128, 129, 384, 1500, 1501)
}

func forEach(t *testing.T, f func(t *testing.T, v isa)) {
	for _, v := range isas() {
		t.Run(fmt.Sprintf("isa %d", v), func(t *testing.T) { f(t, v) })
	}
}

func within(t *testing.T, i int, got float32, want, tol float64) {
	t.Helper()
	if !(math.Abs(float64(got)-want) <= tol) {
		t.Fatalf("element %d: got %v, want %v", i, got, want)
	}
}

func TestDotAndAdd(t *testing.T) {
	forEach(t, func(t *testing.T, v isa) {
		r := newRand()
		for _, n := range lengths() {
			a, b := normal(r, n), normal(r, n)
			var want float64
			for i := range a {
				want += float64(a[i]) * float64(b[i])
			}
			within(t, 0, v.dot(a, b), want, 1e-5*math.Sqrt(float64(n)+1))
			sum := append([]float32(nil), a...)
			v.add(sum, b)
			for i, g := range sum {
				if g != a[i]+b[i] {
					t.Fatalf("add %d: element %d: got %v, want %v", n, i, g, a[i]+b[i])
				}
			}
		}
	})
}

func TestSoftmax(t *testing.T) {
	forEach(t, func(t *testing.T, v isa) {
		r := newRand()
		for _, n := range lengths() {
			for _, spread := range []float32{0, 1, 10, 1000} {
				x := normal(r, n)
				want := make([]float64, n)
				for i := range x {
					x[i] = x[i]*spread - 3*spread
					want[i] = float64(x[i])
				}
				naiveSoftmax(want)
				v.softmax(x)
				var sum float64
				for i, g := range x {
					// The difference from the largest, at most 87 where the
					// result is not zero, is rounded to float32.
					within(t, i, g, want[i], 7e-6*want[i]+1.2e-38)
					sum += float64(g)
				}
				if n > 0 {
					within(t, n, float32(sum), 1, 1e-6)
				}
			}
		}
	})
}

func TestSoftmaxExtremes(t *testing.T) {
	forEach(t, func(t *testing.T, v isa) {
		for _, n := range []int{1, 2, 7, 8, 9, 15, 16, 17, 24, 31, 33, 100} {
			for at := range n {
				// One finite element among the masked takes everything.
				x := make([]float32, n)
				for i := range x {
					x[i] = -inf
				}
				x[at] = -5
				v.softmax(x)
				for i, g := range x {
					want := float32(0)
					if i == at {
						want = 1
					}
					if g != want {
						t.Fatalf("n %d, all but %d masked: element %d is %v", n, at, i, g)
					}
				}
				for _, bad := range []float32{nan, inf} {
					for i := range x {
						x[i] = float32(i)
					}
					x[at] = bad
					v.softmax(x)
					for i, g := range x {
						if bad != inf && g == g || bad == inf && i == at && g == g {
							t.Fatalf("n %d, %v at %d: element %d is %v, want NaN", n, bad, at, i, g)
						}
					}
				}
			}
			x := make([]float32, n)
			for i := range x {
				x[i] = -inf
			}
			v.softmax(x)
			for i, g := range x {
				if g == g {
					t.Fatalf("n %d, all masked: element %d is %v, want NaN", n, i, g)
				}
			}
			for _, big := range []float32{math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32} {
				for i := range x {
					x[i] = big
				}
				v.softmax(x)
				for i, g := range x {
					within(t, i, g, 1/float64(n), 1e-6)
				}
			}
		}
	})
}

func TestSoftmaxRows(t *testing.T) {
	const m, n = 3, 13
	x, ld := strided(normal(newRand(), m*n), m, n)
	want := append([]float32(nil), x...)
	for i := range m {
		Softmax(want[i*ld : i*ld+n])
	}
	SoftmaxRows(x, ld, m, n)
	for i, g := range x {
		if !same(g, want[i]) {
			t.Fatalf("element %d: got %v, want %v", i, g, want[i])
		}
	}
}

func TestExp(t *testing.T) {
	for x := float32(0); x > -88; x -= 1.0 / 512 {
		got, want := float64(expGo(x)), math.Exp(float64(x))
		if x < expLeast {
			want = 0
		}
		if math.Abs(got-want) > 1.2e-7*want {
			t.Fatalf("exp(%v): got %v, want %v", x, got, want)
		}
	}
	if g := expGo(-inf); g != 0 {
		t.Errorf("exp(-Inf) is %v", g)
	}
	if g := expGo(nan); g == g {
		t.Errorf("exp(NaN) is %v", g)
	}
}

func naiveGELU(x float64) float64 { return 0.5 * x * math.Erfc(-x/math.Sqrt2) }

func TestGELU(t *testing.T) {
	forEach(t, func(t *testing.T, v isa) {
		var x []float32
		for i := -30.0; i <= 30; i += 1.0 / 1024 {
			x = append(x, float32(i))
		}
		got := append([]float32(nil), x...)
		v.gelu(got)
		for i, g := range got {
			want := naiveGELU(float64(x[i]))
			within(t, i, g, want, 5e-7+2e-7*math.Abs(want))
		}
		r := newRand()
		for _, n := range lengths() {
			x := normal(r, n)
			got := append([]float32(nil), x...)
			v.gelu(got)
			for i, g := range got {
				within(t, i, g, naiveGELU(float64(x[i])), 1e-6)
			}
		}
	})
}

func TestGELUExtremes(t *testing.T) {
	forEach(t, func(t *testing.T, v isa) {
		tiny := float32(math.SmallestNonzeroFloat32)
		cases := []struct{ x, want float32 }{
			{inf, inf}, {-inf, 0}, {nan, nan}, {0, 0}, {math.MaxFloat32, math.MaxFloat32}, {-math.MaxFloat32, 0},
			{20, 20}, {-20, 0}, {-14, 0}, {1e-30, 5e-31}, {-1e-30, -5e-31}, {tiny, 0}, {1e10, 1e10},
		}
		for _, c := range cases {
			x := make([]float32, 11) // a whole vector and a tail
			for i := range x {
				x[i] = c.x
			}
			v.gelu(x)
			for i, g := range x {
				if !same(g, c.want) && !(math.Abs(float64(g-c.want)) <= 1e-6*math.Abs(float64(c.want))+1e-37) {
					t.Fatalf("GELU(%v), element %d: got %v, want %v", c.x, i, g, c.want)
				}
			}
		}
	})
}

func TestLayerNorm(t *testing.T) {
	forEach(t, func(t *testing.T, v isa) {
		r := newRand()
		for _, n := range lengths()[1:] {
			for _, offset := range []float32{0, 100} {
				x, gamma, beta := normal(r, n), normal(r, n), normal(r, n)
				var mean, variance float64
				for i := range x {
					x[i] += offset
					mean += float64(x[i])
				}
				mean /= float64(n)
				for _, e := range x {
					variance += (float64(e) - mean) * (float64(e) - mean)
				}
				scale := 1 / math.Sqrt(variance/float64(n)+1e-5)
				dst := make([]float32, n)
				v.layerNorm(dst, x, gamma, beta)
				want := make([]float64, n)
				for i, g := range dst {
					want[i] = (float64(x[i])-mean)*scale*float64(gamma[i]) + float64(beta[i])
					// The difference from the mean carries the error of x.
					within(t, i, g, want[i], 2e-6*(1+math.Abs(want[i]))+1e-6*float64(offset)*scale)
				}
				v.layerNorm(x, x, gamma, beta)
				for i, g := range x {
					if g != dst[i] {
						t.Fatalf("in place, element %d: got %v, want %v", i, g, dst[i])
					}
				}
			}
		}
	})
}

// TestLayerNormRows checks the rows' places through the exported function.
func TestLayerNormRows(t *testing.T) {
	x := []float32{1, 3, 10, 30}
	LayerNorm(x, x, []float32{1, 2}, []float32{0, 10}, 2, 2)
	for i, want := range []float64{-1, 12, -1, 12} {
		within(t, i, x[i], want, 1e-4)
	}
}

func TestHalfToFloatExhaustive(t *testing.T) {
	src := make([]uint16, 1<<16)
	for i := range src {
		src[i] = uint16(i)
	}
	forEach(t, func(t *testing.T, v isa) {
		dst := make([]float32, len(src))
		v.halfToFloat(dst, src)
		back := make([]uint16, len(src))
		v.floatToHalf(back, dst)
		for i, h := range src {
			exponent, fraction := int(h>>10&31), float64(h&1023)
			want := math.Ldexp(1024+fraction, exponent-25)
			quiet := h
			switch {
			case exponent == 31 && fraction > 0:
				want = math.NaN()
				quiet |= 0x200
			case exponent == 31:
				want = math.Inf(1)
			case exponent == 0:
				want = math.Ldexp(fraction, -24)
			}
			if h>>15 == 1 {
				want = -want
			}
			if !same(dst[i], float32(want)) || math.Signbit(float64(dst[i])) != (h>>15 == 1) {
				t.Fatalf("%#04x: got %v, want %v", h, dst[i], want)
			}
			if back[i] != quiet {
				t.Fatalf("%#04x: came back as %#04x", h, back[i])
			}
		}
	})
}

func TestFloatToHalf(t *testing.T) {
	// Between two neighbours lies the tie; around it the nearer one wins.
	var src []float32
	var want []uint16
	for h := range uint16(0x7bff) {
		low, high := halfToFloat(h), halfToFloat(h+1)
		tie := (low + high) / 2
		even := h + h&1
		src = append(src, tie, math.Nextafter32(tie, 0), math.Nextafter32(tie, inf), -tie)
		want = append(want, even, h, h+1, even|0x8000)
	}
	src = append(src, 65519.99, 65520, math.MaxFloat32, inf, -inf, 1e-30, -1e-30, 0)
	want = append(want, 0x7bff, 0x7c00, 0x7c00, 0x7c00, 0xfc00, 0, 0x8000, 0)
	forEach(t, func(t *testing.T, v isa) {
		dst := make([]uint16, len(src))
		v.floatToHalf(dst, src)
		for i, g := range dst {
			if g != want[i] {
				t.Fatalf("%v: got %#04x, want %#04x", src[i], g, want[i])
			}
		}
	})
}
