package nn

import (
	"fmt"
	"math"
	"testing"
)

// keyValues spreads rows of keys and values out, in the layout of Fill.
func keyValues(k, x []float32, n, width int) (kv []float32, ld int) {
	ld = 2*width + pad
	kv = make([]float32, max(0, n*ld-pad))
	for i := range kv {
		kv[i] = poison
	}
	for i := range n {
		copy(kv[i*ld:], k[i*width:(i+1)*width])
		copy(kv[i*ld+width:], x[i*width:(i+1)*width])
	}
	return kv, ld
}

// narrowed is what 16 bits leave of x.
func narrowed(x []float32) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = halfToFloat(floatToHalf(v))
	}
	return y
}

func TestKeyValues(t *testing.T) {
	r := newRand()
	for _, v := range isas() {
		for _, half := range []bool{false, true} {
			// One object takes them all: what a larger one left must not show.
			for _, s := range []struct{ heads, d int }{{1, 1}, {1, 64}, {3, 20}, {1, 400}} {
				c := newKeyValues(v, s.heads, s.d, half)
				for _, n := range []int{385, 1, 2, 15, 16, 17, 250, 384, 769} {
					t.Run(fmt.Sprintf("isa %d/half %v/%dx%dx%d", v, half, s.heads, n, s.d), func(t *testing.T) {
						width := s.heads * s.d
						k, x := normal(r, n*width), normal(r, n*width)
						const scale = 0.125 // exact in 16 bits
						kv, ld := keyValues(k, x, n, width)
						c.Fill(kv, ld, n, scale)
						clear(kv)
						if c.half {
							k, x = narrowed(k), narrowed(x)
						}
						if c.Len() != n {
							t.Fatalf("%d keys, want %d", c.Len(), n)
						}
						for _, m := range []int{0, 1, 7} {
							for h := range s.heads {
								q, w := normal(r, m*s.d), normal(r, m*n)
								sq, ldq := strided(q, m, s.d)
								dst, ldd := strided(normal(r, m*n), m, n)
								c.Scores(dst, ldd, sq, ldq, m, h)
								want := naive(q, s.d, func(j, p int) float64 { return scale * float64(k[j*width+h*s.d+p]) }, nil, m, s.d, n)
								near(t, dst, ldd, want, m, n, s.d)
								gapsKept(t, dst, ldd, n)
								sw, ldw := strided(w, m, n)
								dst, ldd = strided(normal(r, m*s.d), m, s.d)
								c.Mix(dst, ldd, sw, ldw, m, h)
								want = naive(w, n, func(j, p int) float64 { return float64(x[p*width+h*s.d+j]) }, nil, m, n, s.d)
								near(t, dst, ldd, want, m, s.d, n)
								gapsKept(t, dst, ldd, s.d)
							}
						}
					})
				}
			}
		}
	}
}

// TestKeyValuesExtremes: what 16 bits cannot hold stays finite and in order.
func TestKeyValuesExtremes(t *testing.T) {
	forEach(t, func(t *testing.T, v isa) {
		for _, big := range []float32{65504, 65520, 1e6, 1e30} {
			c := newKeyValues(v, 1, 1, true)
			c.Fill([]float32{big, -big, -big, big}, 2, 2, 1)
			want := big
			if c.half {
				want = maxHalf
			}
			var got [2]float32
			c.Scores(got[:], 2, []float32{1}, 1, 1, 0)
			if got != [2]float32{want, -want} {
				t.Errorf("scores of ±%v: %v", big, got)
			}
			c.Mix(got[:1], 1, []float32{1, 0}, 2, 1, 0)
			if got[0] != -want {
				t.Errorf("value of -%v: %v", big, got[0])
			}
		}
		c := newKeyValues(v, 2, 3, true)
		c.Fill(nil, 6, 0, 1)
		if c.Len() != 0 {
			t.Errorf("%d keys of none", c.Len())
		}
		c.Scores(nil, 0, make([]float32, 3), 3, 1, 1)
	})
}

func TestSaturate(t *testing.T) {
	forEach(t, func(t *testing.T, v isa) {
		r := newRand()
		for _, n := range lengths() {
			x := normal(r, n)
			for i := range x {
				x[i] *= float32(math.Exp2(float64(10 * x[i])))
			}
			for i, e := range []float32{inf, -inf, nan, 65504, 65519, 65520, -65520, math.MaxFloat32, 1e-8, 0} {
				if i < n {
					x[(i*7)%n] = e
				}
			}
			got, want := make([]uint16, n), make([]uint16, n)
			v.saturate(got, x)
			saturateGo(want, x)
			for i, g := range got {
				f := halfToFloat(g)
				if g != want[i] && f == f || (f != f) != (x[i] != x[i]) || f > maxHalf || f < -maxHalf {
					t.Fatalf("%d: element %d, %v: got %#04x, want %#04x", n, i, x[i], g, want[i])
				}
				if f == f && math.Abs(float64(x[i])) <= maxHalf && g != floatToHalf(x[i]) {
					t.Fatalf("%d: element %d, %v: got %v", n, i, x[i], f)
				}
			}
		}
	})
}

func BenchmarkKeyValues(b *testing.B) {
	r := newRand()
	const heads, d, layers = 6, 64, 4
	for _, half := range []bool{false, true} {
		for _, s := range []struct{ m, n int }{{1, 1500}, {5, 1500}, {8, 1500}, {1, 400}} {
			each(b, fmt.Sprintf("half=%v/%dx%d", half, s.m, s.n), func(b *testing.B, v isa) {
				kv := normal(r, s.n*2*heads*d)
				var all [layers]*KeyValues
				for i := range all {
					all[i] = newKeyValues(v, heads, d, half)
					all[i].Fill(kv, 2*heads*d, s.n, 0.125)
				}
				q, w, dst := normal(r, s.m*heads*d), make([]float32, s.m*s.n), make([]float32, s.m*heads*d)
				cold := make([]byte, 64<<20)
				for b.Loop() {
					b.StopTimer()
					for i := 0; i < len(cold); i += 64 {
						cold[i]++
					}
					b.StartTimer()
					for _, c := range all {
						for h := range heads {
							c.Scores(w, s.n, q[h*d:], heads*d, s.m, h)
							c.Mix(dst[h*d:], heads*d, w, s.n, s.m, h)
						}
					}
				}
				rate(b, layers*s.n*2*heads*d, "Gelem/s")
			})
		}
	}
}

func BenchmarkKeyValuesFill(b *testing.B) {
	r := newRand()
	const heads, d, n = 6, 64, 1500
	for _, half := range []bool{false, true} {
		each(b, fmt.Sprint("half=", half), func(b *testing.B, v isa) {
			kv := normal(r, n*2*heads*d)
			c := newKeyValues(v, heads, d, half)
			for b.Loop() {
				c.Fill(kv, 2*heads*d, n, 0.125)
			}
			rate(b, n*2*heads*d, "Gelem/s")
		})
	}
}
