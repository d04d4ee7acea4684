package nn

import (
	"fmt"
	"math"
	"testing"
)

var _ multiplier = (*Int8)(nil)

// naiveInt8 is the product of the rounded weights with the rounded rows of x,
// in float64.
func naiveInt8(l *Int8, x []float32, ldx, m int, bias []float32) []float64 {
	rounded := make([]float32, m*l.k)
	high, low := make([]uint8, l.k), make([]uint8, l.k)
	for i := range m {
		var f int8Row
		if l.low == nil {
			f = toBytesGo(low, x[i*ldx:][:l.k])
		} else {
			f = toWordsGo(high, low, x[i*ldx:][:l.k])
		}
		for j, b := range low {
			rounded[i*l.k+j] = f.least + f.step*(256*float32(high[j])+float32(b))
		}
	}
	w := make([]float32, l.n*l.k)
	for j := range l.n {
		l.Row(w[j*l.k:(j+1)*l.k], j)
	}
	return naive(rounded, l.k, func(j, q int) float64 { return float64(w[j*l.k+q]) }, bias, m, l.k, l.n)
}

func TestInt8(t *testing.T) {
	r := newRand()
	for _, s := range []struct{ out, in int }{
		{1, 1}, {2, 3}, {15, 4}, {16, 5}, {17, 6}, {31, 7}, {32, 8}, {33, 63}, {48, 64}, {49, 65}, {65, 129},
		{64, 387}, {50, 385}, {40, 768}, {700, 384}, {20, 3001},
	} {
		for m := range 31 {
			if s.out*s.in > 1<<12 && m%14 > 1 { // the naive product is slow
				continue
			}
			w, x := normal(r, s.out*s.in), normal(r, m*s.in)
			var bias []float32
			if m%3 > 0 {
				bias = normal(r, s.out)
			}
			for _, fine := range []bool{false, true} {
				var want []float64
				for _, v := range isas() {
					t.Run(fmt.Sprintf("isa %d/%dx%dx%d/fine %v", v, m, s.in, s.out, fine), func(t *testing.T) {
						l := newInt8(v, w, bias, s.out, s.in)
						if fine {
							l.fine()
						}
						if want == nil { // it is the same for all
							want = naiveInt8(l, x, s.in, m, bias)
						}
						dst := make([]float32, m*s.out)
						l.Mul(dst, x, m)
						near(t, dst, s.out, want, m, s.out, s.in)
						l.MulAdd(dst, x, m)
						twice := make([]float64, len(want))
						for i, e := range want {
							twice[i] = 2 * e
						}
						near(t, dst, s.out, twice, m, s.out, s.in)
					})
				}
			}
		}
	}
}

// TestInt8MulRows convolves: rows of x overlap, rows of dst lie apart.
func TestInt8MulRows(t *testing.T) {
	const in, out, step = 12, 19, 4
	forEach(t, func(t *testing.T, v isa) {
		r := newRand()
		for m := 1; m < 40; m++ {
			x := normal(r, (m-1)*step+in)
			l := newInt8(v, normal(r, out*in), nil, out, in)
			dst, ldd := strided(normal(r, m*out), m, out)
			l.MulRows(dst, ldd, x, step, m)
			near(t, dst, ldd, naiveInt8(l, x, step, m, nil), m, out, in)
			gapsKept(t, dst, ldd, out)
		}
	})
}

// TestInt8Extremes multiplies the largest bytes: no sum may be cut off.
func TestInt8Extremes(t *testing.T) {
	forEach(t, func(t *testing.T, v isa) {
		for _, in := range []int{2, 384, 1536, int8Buffer} {
			const out, m = 33, 3
			w, x := make([]float32, out*in), make([]float32, m*in)
			for i := range w {
				w[i] = float32(1 - 2*(i/in%2))
			}
			for i := range x {
				x[i] = 1
			}
			// One zero in each row makes the others the greatest byte.
			for i := range m {
				x[i*in] = 0
			}
			l := newInt8(v, w, nil, out, in)
			dst := make([]float32, m*out)
			l.Mul(dst, x, m)
			for i, g := range dst {
				want := float64(in-1) * float64(1-2*(i%out%2))
				within(t, i, g, want, 1e-5*float64(in))
			}
		}
	})
}

// TestInt8Rounding bounds the error that bytes bring, at the spread of values
// that layer normalisation gives and at that after GELU.
func TestInt8Rounding(t *testing.T) {
	const in, out, m = 384, 257, 20
	forEach(t, func(t *testing.T, v isa) {
		r := newRand()
		w, x := normal(r, out*in), normal(r, m*in)
		l := newInt8(v, w, nil, out, in)
		for _, after := range []string{"LayerNorm", "GELU", "outliers"} {
			switch after {
			case "GELU":
				GELU(x)
			case "outliers": // what is left is the rounding of the weights
				for i := range m {
					x[i*in+i] = 100
				}
				l.fine()
			}
			want := naive(x, in, func(j, q int) float64 { return float64(w[j*in+q]) }, nil, m, in, out)
			dst := make([]float32, m*out)
			l.Mul(dst, x, m)
			var off, all float64
			for i, g := range dst {
				off += (float64(g) - want[i]) * (float64(g) - want[i])
				all += want[i] * want[i]
			}
			relative := math.Sqrt(off / all)
			t.Logf("after %s: relative error %.2g", after, relative)
			if relative > 0.012 {
				t.Errorf("after %s: relative error %v", after, relative)
			}
		}
	})
}

func TestInt8Row(t *testing.T) {
	const in, out = 37, 21
	w := normal(newRand(), in*out)
	clear(w[3*in : 4*in])
	l := NewInt8(w, nil, out, in)
	row := make([]float32, in)
	for i := range out {
		l.Row(row, i)
		var hi float64
		for _, x := range w[i*in : (i+1)*in] {
			hi = max(hi, math.Abs(float64(x)))
		}
		for j, g := range row {
			within(t, j, g, float64(w[i*in+j]), hi/127*0.5001)
		}
	}
}

func TestToBytes(t *testing.T) {
	forEach(t, func(t *testing.T, v isa) {
		r := newRand()
		for _, n := range lengths()[1:] {
			for _, c := range []struct{ scale, offset float32 }{{1, 0}, {1, 100}, {1e-3, -7}, {1e30, 0}, {0, 5}, {0, 0}, {1e-35, 0}, {1e-42, 0}} {
				x := normal(r, n)
				for i := range x {
					x[i] = x[i]*c.scale + c.offset
				}
				want, got := make([]uint8, n), make([]uint8, n)
				high, low := make([]uint8, n), make([]uint8, n)
				f, g := toWordsGo(high, want, x), v.toWords(low, got, x)
				if f != g || string(high) != string(low) || string(want) != string(got) {
					t.Fatalf("words: %d of %v: got %v, want %v", n, c, g, f)
				}
				f, g = toBytesGo(want, x), v.toBytes(got, x)
				if f != g {
					t.Fatalf("%d of %v: got %v, want %v", n, c, g, f)
				}
				for i, b := range got {
					if b != want[i] {
						t.Fatalf("%d of %v: element %d: got %d, want %d", n, c, i, b, want[i])
					}
					back := float64(g.least) + float64(g.step)*float64(b)
					within(t, i, float32(back), float64(x[i]), 0.5001*float64(g.step)+1e-6*math.Abs(float64(x[i]))+1e-30)
				}
			}
		}
	})
}

// TestInt8NotFinite wants a row that cannot be told in bytes to show it, and
// the rows beside it not to.
func TestInt8NotFinite(t *testing.T) {
	const in, out, m = 21, 18, 3
	forEach(t, func(t *testing.T, v isa) {
		r := newRand()
		l := newInt8(v, normal(r, out*in), nil, out, in)
		for _, bad := range []float32{nan, inf, -inf} {
			for at := range in {
				x := normal(r, m*in)
				x[in+at] = bad
				dst := make([]float32, m*out)
				l.Mul(dst, x, m)
				for i, g := range dst {
					if finite := g-g == 0; finite == (i/out == 1) {
						t.Fatalf("%v at %d: element %d is %v", bad, at, i, g)
					}
				}
			}
		}
	})
}
