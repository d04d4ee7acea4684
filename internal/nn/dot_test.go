package nn

import (
	"math"
	"testing"
)

func TestMatrixDotIsARowOfMul(t *testing.T) {
	for _, c := range []struct{ out, in int }{{1, 1}, {17, 5}, {40, 384}, {33, 1000}} {
		w, x := make([]float32, c.out*c.in), make([]float32, c.in)
		half := make([]uint16, len(w))
		for i := range w {
			w[i] = float32(i%13) / 8
		}
		for i := range x {
			x[i] = float32(i%7)/4 - 1
		}
		FloatToHalf(half, w)
		full, narrow := NewLinear(w, nil, c.out, c.in), NewHalf(half, nil, c.out, c.in)
		want := make([]float32, c.out)
		full.Mul(want, x, 1)
		for i, v := range want {
			if a, b := full.Dot(x, i), narrow.Dot(x, i); math.Abs(float64(a-v)) > 1e-3 || math.Abs(float64(b-v)) > 1e-3 {
				t.Errorf("%dx%d, row %d: %v and %v, want %v", c.out, c.in, i, a, b, v)
			}
		}
	}
}
