package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// isas are the instruction sets this machine can run.
func isas() []isa {
	var s []isa
	for v := plain; v <= detect(); v++ {
		s = append(s, v)
	}
	return s
}

func newRand() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

func normal(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// naive computes a[m][k] · b + bias in float64, where the element of b for
// output j and input q is b(j, q).
func naive(a []float32, lda int, b func(j, q int) float64, bias []float32, m, k, n int) []float64 {
	c := make([]float64, m*n)
	for i := range m {
		for j := range n {
			if bias != nil {
				c[i*n+j] = float64(bias[j])
			}
			for q := range k {
				c[i*n+j] += float64(a[i*lda+q]) * b(j, q)
			}
		}
	}
	return c
}

// near compares rows of got, ld elements apart, with want; the error of a sum
// of k terms of size one grows with its root, while a lost term is of size one.
func near(t *testing.T, got []float32, ld int, want []float64, m, n, k int) {
	t.Helper()
	tol := 1e-5 * math.Sqrt(float64(k)+1)
	for i := range m {
		for j := range n {
			g, w := float64(got[i*ld+j]), want[i*n+j]
			if !(math.Abs(g-w) <= tol+1e-6*math.Abs(w)) {
				t.Fatalf("[%d][%d]: got %v, want %v", i, j, g, w)
			}
		}
	}
}

type multiplier interface {
	In() int
	Out() int
	Mul(dst, x []float32, m int)
	MulAdd(dst, x []float32, m int)
	MulRows(dst []float32, ldd int, x []float32, ldx int, m int)
	Row(dst []float32, i int)
}

var (
	_ multiplier = (*Linear)(nil)
	_ multiplier = (*Half)(nil)
)

func TestWeights(t *testing.T) {
	r := newRand()
	shapes := []struct{ out, in int }{
		{1, 1}, {2, 3}, {15, 7}, {16, 8}, {17, 9}, {31, 16}, {33, 64}, {48, 129}, {258, 256},
		{64, 387}, {50, 385}, {130, 768}, {300, 1153}, {384, 384},
	}
	for _, v := range isas() {
		for _, s := range shapes {
			for m := range 15 {
				if s.out*s.in > 1<<15 && m%6 > 1 { // the naive product is slow
					continue
				}
				for _, withBias := range []bool{false, true} {
					t.Run(fmt.Sprintf("isa %d/%dx%dx%d/bias %v", v, m, s.in, s.out, withBias), func(t *testing.T) {
						w, x := normal(r, s.out*s.in), normal(r, m*s.in)
						half := make([]uint16, len(w))
						FloatToHalf(half, w)
						rounded := make([]float32, len(w))
						HalfToFloat(rounded, half)
						var bias []float32
						if withBias {
							bias = normal(r, s.out)
						}
						testWeights(t, newLinear(v, w, bias, s.out, s.in), w, x, bias, m)
						testWeights(t, newHalf(v, half, bias, s.out, s.in), rounded, x, bias, m)
					})
				}
			}
		}
	}
}

func testWeights(t *testing.T, l multiplier, w, x, bias []float32, m int) {
	in, out := l.In(), l.Out()
	want := naive(x, in, func(j, q int) float64 { return float64(w[j*in+q]) }, bias, m, in, out)
	dst := make([]float32, m*out)
	l.Mul(dst, x, m)
	near(t, dst, out, want, m, out, in)

	l.MulAdd(dst, x, m)
	for i := range want {
		want[i] *= 2
	}
	near(t, dst, out, want, m, out, in)

	row := make([]float32, in)
	for _, i := range []int{0, out / 2, out - 1} {
		l.Row(row, i)
		for q, g := range row {
			if g != w[i*in+q] {
				t.Fatalf("Row(%d)[%d]: got %v, want %v", i, q, g, w[i*in+q])
			}
		}
	}
}

// TestMulRows convolves: rows of x overlap, rows of dst lie apart.
func TestMulRows(t *testing.T) {
	const in, out, step = 12, 19, 4
	forEach(t, func(t *testing.T, v isa) {
		r := newRand()
		for m := 1; m < 20; m++ {
			w, x := normal(r, out*in), normal(r, (m-1)*step+in)
			half := make([]uint16, len(w))
			FloatToHalf(half, w)
			HalfToFloat(w, half)
			want := naive(x, step, func(j, q int) float64 { return float64(w[j*in+q]) }, nil, m, in, out)
			for _, l := range []multiplier{newLinear(v, w, nil, out, in), newHalf(v, half, nil, out, in)} {
				dst, ldd := strided(normal(r, m*out), m, out)
				l.MulRows(dst, ldd, x, step, m)
				near(t, dst, ldd, want, m, out, in)
				gapsKept(t, dst, ldd, out)
			}
		}
	})
}

func TestWrongLengths(t *testing.T) {
	x := make([]float32, 12)
	l := NewLinear(x, nil, 3, 4)
	kv := NewKeyValues(1, 2, true)
	kv.Fill(x, 4, 3, 1)
	for name, f := range map[string]func(){
		"NewKeyValues":   func() { NewKeyValues(0, 2, true) },
		"Fill":           func() { NewKeyValues(1, 2, true).Fill(x, 4, 4, 1) },
		"Scores":         func() { kv.Scores(x, 3, x, 2, 7, 0) },
		"Scores dst":     func() { kv.Scores(x[:2], 3, x, 2, 1, 0) },
		"Scores head":    func() { kv.Scores(x, 3, x, 2, 1, 1) },
		"Mix":            func() { kv.Mix(x, 2, x, 3, 7, 0) },
		"Mix dst":        func() { kv.Mix(x[:1], 2, x, 3, 1, 0) },
		"Mix head":       func() { kv.Mix(x, 2, x, 3, 1, -1) },
		"Mix none":       func() { NewKeyValues(1, 2, true).Mix(x, 2, x, 3, 1, 0) },
		"NewLinear":      func() { NewLinear(x, nil, 3, 5) },
		"NewLinear bias": func() { NewLinear(x, x[:2], 3, 4) },
		"NewHalf":        func() { NewHalf(make([]uint16, 3), nil, 2, 2) },
		"NewInt8":        func() { NewInt8(x, nil, 5, 2) },
		"NewInt8 bias":   func() { NewInt8(x, x[:2], 3, 4) },
		"Int8.Mul":       func() { NewInt8(x, nil, 3, 4).Mul(x[:5], x, 2) },
		"Int8.Row":       func() { NewInt8(x, nil, 3, 4).Row(x[:4], -1) },
		"Mul x":          func() { l.Mul(x, x[:7], 2) },
		"Mul dst":        func() { l.Mul(x[:5], x, 2) },
		"MulRows":        func() { l.MulRows(x, 10, x, 4, 2) },
		"Row":            func() { l.Row(x[:4], 3) },
		"MatMul":         func() { MatMul(x, 2, x, 2, x, 2, 7, 1, 1) },
		"MatMulT":        func() { MatMulT(x, 1, x, 4, x[:7], 4, 1, 4, 2, 1) },
		"Attend":         func() { NewAttention(2, 2).Attend(x, 2, x, 2, x, 2, x, 2, 1, 3, 2, 1) },
		"Dot":            func() { Dot(x, x[:1]) },
		"Add":            func() { Add(x, x[:1]) },
		"SoftmaxRows":    func() { SoftmaxRows(x, 7, 2, 6) },
		"LayerNorm":      func() { LayerNorm(x, x, x, x, 2, 12) },
		"HalfToFloat":    func() { HalfToFloat(x, nil) },
		"FloatToHalf":    func() { FloatToHalf(nil, x) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}
