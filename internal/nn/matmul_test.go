package nn

import (
	"fmt"
	"math"
	"testing"
)

// pad is how much wider than the matrices the tests' rows are; the elements
// between hold poison, which a result shows and a wrong write wipes out.
const pad = 3

var poison = float32(math.NaN())

// strided spreads the rows of x[m][n] out, exactly to the last element.
func strided(x []float32, m, n int) (y []float32, ld int) {
	ld = n + pad
	y = make([]float32, max(0, (m-1)*ld+n))
	for i := range y {
		y[i] = poison
	}
	for i := range m {
		copy(y[i*ld:i*ld+n], x[i*n:])
	}
	return y, ld
}

// gapsKept fails if an element between the rows of x is no longer poison.
func gapsKept(t *testing.T, x []float32, ld, n int) {
	t.Helper()
	for i, v := range x {
		if i%ld >= n && v == v {
			t.Fatalf("element %d between the rows was written", i)
		}
	}
}

var products = []struct{ m, k, n int }{
	{0, 3, 3}, {1, 0, 5}, {7, 0, 5}, {3, 5, 0}, {1, 1, 1}, {1, 64, 250}, {1, 63, 9}, {1, 250, 64}, {1, 17, 77},
	{2, 8, 4}, {5, 7, 3}, {6, 1, 1}, {6, 64, 16}, {7, 65, 17}, {8, 9, 15}, {11, 64, 250}, {12, 250, 64}, {13, 257, 33},
	{14, 30, 300}, {25, 64, 513}, {30, 513, 65}, {49, 1030, 40}, {6, 256, 64}, {9, 512, 80},
}

func TestMatMul(t *testing.T) {
	r := newRand()
	for _, v := range isas() {
		for _, s := range products {
			t.Run(fmt.Sprintf("isa %d/%dx%dx%d", v, s.m, s.k, s.n), func(t *testing.T) {
				x, y := normal(r, s.m*s.k), normal(r, s.k*s.n)
				want := naive(x, s.k, func(j, q int) float64 { return float64(y[q*s.n+j]) }, nil, s.m, s.k, s.n)
				a, lda := strided(x, s.m, s.k)
				b, ldb := strided(y, s.k, s.n)
				dst, ldd := strided(normal(r, s.m*s.n), s.m, s.n)
				v.matMul(dst, ldd, a, lda, b, ldb, s.m, s.k, s.n)
				near(t, dst, ldd, want, s.m, s.n, s.k)
				gapsKept(t, dst, ldd, s.n)
			})
		}
	}
}

func TestMatMulT(t *testing.T) {
	r := newRand()
	const scale = 0.125
	for _, v := range isas() {
		for _, s := range products {
			t.Run(fmt.Sprintf("isa %d/%dx%dx%d", v, s.m, s.k, s.n), func(t *testing.T) {
				x, y := normal(r, s.m*s.k), normal(r, s.k*s.n)
				want := naive(x, s.k, func(j, q int) float64 { return scale * float64(y[j*s.k+q]) }, nil, s.m, s.k, s.n)
				a, lda := strided(x, s.m, s.k)
				b, ldb := strided(y, s.n, s.k)
				dst, ldd := strided(normal(r, s.m*s.n), s.m, s.n)
				v.matMulT(dst, ldd, a, lda, b, ldb, s.m, s.k, s.n, scale)
				near(t, dst, ldd, want, s.m, s.n, s.k)
				gapsKept(t, dst, ldd, s.n)
			})
		}
	}
}

func TestAttend(t *testing.T) {
	r := newRand()
	for _, v := range isas() {
		for _, s := range []struct{ m, n, d int }{
			{1, 1, 1}, {1, 250, 64}, {3, 17, 8}, {5, 31, 20}, {6, 16, 16}, {7, 250, 64}, {24, 48, 64}, {25, 257, 33}, {31, 600, 64}, {50, 1025, 7},
		} {
			t.Run(fmt.Sprintf("isa %d/%dx%dx%d", v, s.m, s.n, s.d), func(t *testing.T) {
				q, k, x := normal(r, s.m*s.d), normal(r, s.n*s.d), normal(r, s.n*s.d)
				scale := 1 / math.Sqrt(float64(s.d))
				w := naive(q, s.d, func(j, p int) float64 { return scale * float64(k[j*s.d+p]) }, nil, s.m, s.d, s.n)
				want := make([]float64, s.m*s.d)
				for i := range s.m {
					row := w[i*s.n : (i+1)*s.n]
					naiveSoftmax(row)
					for j, p := range row {
						for e := range s.d {
							want[i*s.d+e] += p * float64(x[j*s.d+e])
						}
					}
				}
				sq, ldq := strided(q, s.m, s.d)
				sk, ldk := strided(k, s.n, s.d)
				sx, ldx := strided(x, s.n, s.d)
				dst, ldd := strided(normal(r, s.m*s.d), s.m, s.d)
				a := newAttention(v, s.n+5, s.d+1)
				for range 2 { // the second call finds the scratch of the first
					a.Attend(dst, ldd, sq, ldq, sk, ldk, sx, ldx, s.m, s.n, s.d, float32(scale))
					near(t, dst, ldd, want, s.m, s.d, 1)
					gapsKept(t, dst, ldd, s.d)
				}
				a.Attend(sq, ldq, sq, ldq, sk, ldk, sx, ldx, s.m, s.n, s.d, float32(scale))
				near(t, sq, ldq, want, s.m, s.d, 1)
			})
		}
	}
}

func naiveSoftmax(x []float64) {
	hi, sum := math.Inf(-1), 0.0
	for _, v := range x {
		hi = max(hi, v)
	}
	for i, v := range x {
		x[i] = math.Exp(v - hi)
		sum += x[i]
	}
	for i := range x {
		x[i] /= sum
	}
}
