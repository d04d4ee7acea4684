package nn

import (
	"fmt"
	"math"
	"testing"
)

// naiveAttention is attention in float64.
func naiveAttention(q, k, v []float32, m, n, d int, scale float64) []float64 {
	w := naive(q, d, func(j, p int) float64 { return scale * float64(k[j*d+p]) }, nil, m, d, n)
	want := make([]float64, m*d)
	for i := range m {
		row := w[i*n : (i+1)*n]
		naiveSoftmax(row)
		for j, p := range row {
			for e := range d {
				want[i*d+e] += p * float64(v[j*d+e])
			}
		}
	}
	return want
}

// deviation is the largest error of got, and its root mean square against
// that of want.
func deviation(got []float32, ld int, want []float64, m, n int) (most, relative float64) {
	var off, all float64
	for i := range m {
		for j := range n {
			e := math.Abs(float64(got[i*ld+j]) - want[i*n+j])
			if e != e {
				return e, e
			}
			most = max(most, e)
			off += e * e
			all += want[i*n+j] * want[i*n+j]
		}
	}
	return most, math.Sqrt(off / all)
}

// TestAttendInt8 states the error of attention in bytes: flat is attention to
// everything, sharp to few keys.
func TestAttendInt8(t *testing.T) {
	r := newRand()
	for _, v := range isas() {
		for _, s := range []struct{ m, n, d int }{
			{6, 1, 1}, {7, 16, 16}, {6, 17, 8}, {14, 31, 20}, {15, 250, 64}, {29, 1500, 64}, {13, 257, 33}, {40, 70, 129},
		} {
			for _, c := range []struct {
				name         string
				scale        float64
				most, spread float64
			}{{"flat", 0.1, 0.012, 0.025}, {"usual", 1, 0.05, 0.03}, {"sharp", 8, 0.4, 0.1}} {
				t.Run(fmt.Sprintf("isa %d/%dx%dx%d/%s", v, s.m, s.n, s.d, c.name), func(t *testing.T) {
					q, k, x := normal(r, s.m*s.d), normal(r, s.n*s.d), normal(r, s.n*s.d)
					scale := c.scale / math.Sqrt(float64(s.d))
					want := naiveAttention(q, k, x, s.m, s.n, s.d, scale)
					sq, ldq := strided(q, s.m, s.d)
					sk, ldk := strided(k, s.n, s.d)
					sx, ldx := strided(x, s.n, s.d)
					dst, ldd := strided(normal(r, s.m*s.d), s.m, s.d)
					a := newAttention(v, s.n+5, s.d+1)
					a.bytes = newByteAttention(a.n, a.d)
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

// TestAttendInt8Tail attends to one key a little and to many others very
// little: together they must not vanish.
func TestAttendInt8Tail(t *testing.T) {
	forEach(t, func(t *testing.T, v isa) {
		const m, n, d = 6, 1500, 8
		q, k, x := make([]float32, m*d), make([]float32, n*d), make([]float32, n*d)
		for i := range m {
			q[i*d] = 1
		}
		k[0] = 8 // e⁸ is twice as much as all others
		for i := range d {
			x[i] = 1
		}
		want := naiveAttention(q, k, x, m, n, d, 1)
		a := newAttention(v, n, d)
		a.bytes = newByteAttention(n, d)
		dst := make([]float32, m*d)
		a.Attend(dst, d, q, d, k, d, x, d, m, n, d, 1)
		if most, _ := deviation(dst, d, want, m, d); !(most < 0.01) {
			t.Errorf("got %v, want %v", dst[0], want[0])
		}
	})
}

func TestToSigned(t *testing.T) {
	forEach(t, func(t *testing.T, v isa) {
		r := newRand()
		for _, n := range lengths()[1:] {
			for _, scale := range []float32{1, 1e30, 1e-20, 1e-35, 0} {
				x := normal(r, n)
				for i := range x {
					x[i] *= scale
				}
				want, got := make([]int8, n), make([]int8, n)
				step, sum := toSignedGo(want, x)
				s, all := v.toSigned(got, x)
				if s != step || all != sum {
					t.Fatalf("%d of %v: got %v %v, want %v %v", n, scale, s, all, step, sum)
				}
				for i, b := range got {
					if b != want[i] {
						t.Fatalf("%d of %v: element %d: got %d, want %d", n, scale, i, b, want[i])
					}
					within(t, i, s*float32(b), float64(x[i]), 0.5001*float64(s)+1e-30)
				}
			}
		}
	})
}

func TestColumns(t *testing.T) {
	forEach(t, func(t *testing.T, v isa) {
		r := newRand()
		for n := 1; n < 14; n++ {
			for cols := 1; cols <= panelN; cols++ {
				x, ld := strided(normal(r, n*cols), n, cols)
				want, got := make([]float32, cols), make([]float32, cols)
				columnMaxGo(want, x, ld, n)
				v.columnMax(got, x, ld, n)
				equal(t, "columnMax", got, want)
				for i, w := range want {
					want[i] = 127 / w
				}
				a, b := make([]int8, quads(n)*panelN), make([]int8, quads(n)*panelN)
				packBytesGo(a, x, ld, 0, n, want)
				v.packBytes(b, x, ld, n, want)
				for i, g := range b {
					if g != a[i] {
						t.Fatalf("%d rows of %d: byte %d: got %d, want %d", n, cols, i, g, a[i])
					}
				}
			}
		}
	})
}

func TestPowers(t *testing.T) {
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
				high, low := make([]uint8, n), make([]uint8, n)
				sum := v.powers(high, low, x)
				var want float64
				for i := range x {
					p := 65535 * math.Exp2(float64(x[i]-hi))
					want += p
					within(t, i, float32(high[i])*256+float32(low[i]), p, 0.6+8e-5*p)
				}
				within(t, n, sum, want, 9e-5*want)
			}
			for _, bad := range []float32{nan, inf} {
				x := normal(r, n)
				x[n/2] = bad
				if sum := v.powers(make([]uint8, n), make([]uint8, n), x); sum == sum {
					t.Fatalf("%v among %d: the sum is %v", bad, n, sum)
				}
			}
		}
	})
}

// TestNewAttentionInt8 attends with several queries and with one.
func TestNewAttentionInt8(t *testing.T) {
	forEach(t, func(t *testing.T, v isa) {
		r := newRand()
		const n, d = 70, 24
		a := newAttentionInt8(v, n, d)
		if (a.bytes != nil) != v.multipliesBytes() {
			t.Fatalf("bytes are multiplied: %v", a.bytes != nil)
		}
		for _, m := range []int{1, 5, 6, 33} {
			q, k, x, dst := normal(r, m*d), normal(r, n*d), normal(r, n*d), make([]float32, m*d)
			a.Attend(dst, d, q, d, k, d, x, d, m, n, d, 0.2)
			if most, _ := deviation(dst, d, naiveAttention(q, k, x, m, n, d, 0.2), m, d); !(most < 0.05) {
				t.Errorf("%d queries: largest error %v", m, most)
			}
		}
	})
}
