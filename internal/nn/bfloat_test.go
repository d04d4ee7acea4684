package nn

import (
	"fmt"
	"math"
	"testing"
)

var _ multiplier = (*Bfloat)(nil)

// rounded is x in 16 bits, widened again.
func rounded(x []float32) []float32 {
	words, y := make([]uint16, len(x)), make([]float32, len(x))
	toBfloatGo(words, x)
	for i, w := range words {
		y[i] = fromBfloat(w)
	}
	return y
}

func naiveBfloat(l *Bfloat, x []float32, ldx, m int, bias []float32) []float64 {
	w := make([]float32, l.n*l.k)
	for j := range l.n {
		l.Row(w[j*l.k:(j+1)*l.k], j)
	}
	return naive(rounded(x), ldx, func(j, q int) float64 { return float64(w[j*l.k+q]) }, bias, m, l.k, l.n)
}

func TestBfloat(t *testing.T) {
	r := newRand()
	for _, s := range []struct{ out, in int }{
		{1, 1}, {2, 3}, {15, 4}, {16, 5}, {17, 6}, {31, 7}, {32, 8}, {33, 63}, {48, 64}, {49, 65}, {65, 129},
		{64, 387}, {50, 385}, {40, 768}, {700, 384}, {20, 3001},
	} {
		for m := range 27 {
			if s.out*s.in > 1<<12 && m%12 > 1 { // the naive product is slow
				continue
			}
			w, x := normal(r, s.out*s.in), normal(r, m*s.in)
			var bias []float32
			if m%3 > 0 {
				bias = normal(r, s.out)
			}
			var want []float64
			for _, v := range isas() {
				t.Run(fmt.Sprintf("isa %d/%dx%dx%d", v, m, s.in, s.out), func(t *testing.T) {
					l := newBfloat(v, w, bias, s.out, s.in)
					if want == nil { // it is the same for all
						want = naiveBfloat(l, x, s.in, m, bias)
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

// TestBfloatMulRows convolves: rows of x overlap, rows of dst lie apart.
func TestBfloatMulRows(t *testing.T) {
	const in, out, step = 12, 19, 4
	forEach(t, func(t *testing.T, v isa) {
		r := newRand()
		for m := 1; m < 40; m++ {
			x := normal(r, (m-1)*step+in)
			l := newBfloat(v, normal(r, out*in), nil, out, in)
			dst, ldd := strided(normal(r, m*out), m, out)
			l.MulRows(dst, ldd, x, step, m)
			near(t, dst, ldd, naiveBfloat(l, x, step, m, nil), m, out, in)
			gapsKept(t, dst, ldd, out)
		}
	})
}

// TestBfloatRow rounds weights to eight bits.
func TestBfloatRow(t *testing.T) {
	forEach(t, func(t *testing.T, v isa) {
		const out, in = 35, 77
		w, row := normal(newRand(), out*in), make([]float32, in)
		l := newBfloat(v, w, nil, out, in)
		for i := range out {
			l.Row(row, i)
			for j, g := range row {
				x := float64(w[i*in+j])
				within(t, j, g, x, math.Abs(x)/256)
			}
		}
	})
}

func TestToBfloat(t *testing.T) {
	forEach(t, func(t *testing.T, v isa) {
		for x, want := range map[float32]uint16{
			0: 0, 1: 0x3f80, -2: 0xc000, inf: 0x7f80, -inf: 0xff80,
			math.Float32frombits(0x3f808000): 0x3f80, // half way, to even
			math.Float32frombits(0x3f818000): 0x3f82,
			math.Float32frombits(0x3f808001): 0x3f81,
			math.MaxFloat32:                  0x7f80,
			math.Float32frombits(0x007fffff): 0,
			math.Float32frombits(0x807fffff): 0x8000,
			math.Float32frombits(0x00800000): 0x0080,
		} {
			var got [1]uint16
			v.toBfloat(got[:], []float32{x})
			if got[0] != want {
				t.Errorf("%v: got %#x, want %#x", x, got[0], want)
			}
		}
		var got [1]uint16
		v.toBfloat(got[:], []float32{nan})
		if g := fromBfloat(got[0]); g == g {
			t.Errorf("NaN: got %v", g)
		}
		r := newRand()
		for _, n := range lengths() {
			x := normal(r, n)
			want, got := make([]uint16, n), make([]uint16, n)
			toBfloatGo(want, x)
			v.toBfloat(got, x)
			words(t, fmt.Sprintf("%d elements", n), got, want)
		}
	})
}

func words(t *testing.T, what string, got, want []uint16) {
	t.Helper()
	for i, g := range got {
		if g != want[i] {
			t.Fatalf("%s: word %d: got %#x, want %#x", what, i, g, want[i])
		}
	}
}

func TestPackPairs(t *testing.T) {
	forEach(t, func(t *testing.T, v isa) {
		r := newRand()
		for n := 1; n < 14; n++ {
			for cols := 1; cols <= panelN; cols++ {
				x, ld := strided(normal(r, n*cols), n, cols)
				want, got := make([]uint16, even(n)*panelN), make([]uint16, even(n)*panelN)
				packPairsGo(want, x, ld, 0, n, cols)
				v.packPairs(got, x, ld, n, cols)
				words(t, fmt.Sprintf("%d rows of %d", n, cols), got, want)
				for i := range n {
					for j := range cols {
						y := float64(x[i*ld+j])
						within(t, i, fromBfloat(got[i/2*2*panelN+2*j+i%2]), y, math.Abs(y)/256)
					}
				}
			}
		}
	})
}

func TestPowersBfloat(t *testing.T) {
	forEach(t, func(t *testing.T, v isa) {
		r := newRand()
		for _, n := range lengths()[1:] {
			for _, spread := range []float32{0, 1, 20, 1000} {
				x := normal(r, n)
				hi := -inf
				for i := range x {
					x[i] = spread * (x[i] - 3)
					hi = max(hi, x[i])
				}
				dst := make([]uint16, n)
				sum := v.powersBfloat(dst, x, 0.5)
				var want float64
				for i := range x {
					p := math.Exp2(0.5 * float64(x[i]-hi))
					want += p
					within(t, i, fromBfloat(dst[i]), p, 0.004*p+1e-30)
				}
				within(t, n, sum, want, 9e-5*want)
			}
			for _, bad := range []float32{nan, inf} {
				x := normal(r, n)
				x[n/2] = bad
				if sum := v.powersBfloat(make([]uint16, n), x, 1); sum == sum {
					t.Fatalf("%v among %d: the sum is %v", bad, n, sum)
				}
			}
		}
	})
}

// TestAttendBfloat states the error of attention in 16-bit floats: flat is
// attention to everything, sharp to few keys.
func TestAttendBfloat(t *testing.T) {
	r := newRand()
	for _, v := range isas() {
		for _, s := range []struct{ m, n, d int }{
			{6, 1, 1}, {7, 16, 16}, {6, 17, 8}, {12, 31, 20}, {15, 250, 64}, {29, 1500, 64}, {13, 257, 33}, {40, 70, 129},
		} {
			for _, c := range []struct {
				name         string
				scale        float64
				most, spread float64
			}{{"flat", 0.1, 0.012, 0.004}, {"usual", 1, 0.02, 0.006}, {"sharp", 8, 0.1, 0.03}} {
				t.Run(fmt.Sprintf("isa %d/%dx%dx%d/%s", v, s.m, s.n, s.d, c.name), func(t *testing.T) {
					q, k, x := normal(r, s.m*s.d), normal(r, s.n*s.d), normal(r, s.n*s.d)
					scale := c.scale / math.Sqrt(float64(s.d))
					want := naiveAttention(q, k, x, s.m, s.n, s.d, scale)
					sq, ldq := strided(q, s.m, s.d)
					sk, ldk := strided(k, s.n, s.d)
					sx, ldx := strided(x, s.n, s.d)
					dst, ldd := strided(normal(r, s.m*s.d), s.m, s.d)
					a := newAttention(v, s.n+5, s.d+1)
					a.pairs = newBfloatAttention(a.n, a.d)
					for range 2 { // the second call finds the scratch of the first
						a.Attend(dst, ldd, sq, ldq, sk, ldk, sx, ldx, s.m, s.n, s.d, float32(scale))
						most, spread := deviation(dst, ldd, want, s.m, s.d)
						t.Logf("largest error %.2g, relative error %.2g", most, spread)
						if !(most <= c.most && spread <= c.spread) {
							t.Errorf("largest error %v, relative error %v", most, spread)
						}
						gapsKept(t, dst, ldd, s.d)
					}
					before := append([]float32(nil), dst...)
					a.Attend(sq, ldq, sq, ldq, sk, ldk, sx, ldx, s.m, s.n, s.d, float32(scale))
					equal(t, "in place", sq, before)
				})
			}
		}
	}
}

// TestNewAttentionBfloat attends with several queries and with one.
func TestNewAttentionBfloat(t *testing.T) {
	r := newRand()
	const n, d = 70, 24
	a := NewAttentionBfloat(n, d)
	if (a.pairs != nil) != BfloatFast() {
		t.Fatalf("16-bit floats are multiplied: %v", a.pairs != nil)
	}
	for _, m := range []int{1, 5, 6, 33} {
		q, k, x, dst := normal(r, m*d), normal(r, n*d), normal(r, n*d), make([]float32, m*d)
		a.Attend(dst, d, q, d, k, d, x, d, m, n, d, 0.2)
		if most, _ := deviation(dst, d, naiveAttention(q, k, x, m, n, d, 0.2), m, d); !(most < 0.02) {
			t.Errorf("%d queries: largest error %v", m, most)
		}
	}
}
