package nn

import "testing"

func TestKernelsDoNotAllocate(t *testing.T) {
	const m, k, n = 7, 70, 33
	r := newRand()
	a, b, bias, dst := normal(r, m*k), normal(r, n*k), normal(r, n), make([]float32, m*n)
	half := make([]uint16, n*k)
	l, h := NewLinear(b, bias, n, k), NewHalf(half, bias, n, k)
	i8, fine := NewInt8(b, bias, n, k), NewInt8Fine(b, bias, n, k)
	bf, pairs := NewBfloat(b, bias, n, k), NewAttentionBfloat(n, k)
	att, out := NewAttention(n, k), make([]float32, m*k)
	bytes := NewAttentionInt8(n, k)
	kv, scores := NewKeyValues(1, k, true), make([]float32, m*n)
	both := normal(r, n*2*k)
	kv.Fill(both, 2*k, n, 1)
	for name, f := range map[string]func(){
		"Linear.Mul":        func() { l.Mul(dst, a, m) },
		"Linear.Mul one":    func() { l.Mul(dst, a, 1) },
		"Linear.MulAdd":     func() { l.MulAdd(dst, a, m) },
		"Linear.MulRows":    func() { l.MulRows(dst, n, a, k, m) },
		"Linear.MulAddRows": func() { l.MulAddRows(dst, n, a, k, m) },
		"Bfloat.MulAddRows": func() { bf.MulAddRows(dst, n, a, k, m) },
		"ReLU":              func() { ReLU(dst) },
		"AddReLU":           func() { AddReLU(dst, dst) },
		"WinogradIn":        func() { WinogradIn(out, 10, a, 10, 10) },
		"WinogradOut":       func() { WinogradOut(out, 10, a, 10, 10) },
		"ScaleReLU":         func() { ScaleReLU(dst, dst, dst, dst) },
		"Linear.Row":        func() { l.Row(out[:k], 3) },
		"Half.Mul":          func() { h.Mul(dst, a, m) },
		"Half.MulAdd":       func() { h.MulAdd(dst, a, m) },
		"Half.MulRows":      func() { h.MulRows(dst, n, a, k, m) },
		"Half.Row":          func() { h.Row(out[:k], 3) },
		"Int8.Mul":          func() { i8.Mul(dst, a, m) },
		"Int8.Mul fine":     func() { fine.Mul(dst, a, m) },
		"Int8.Mul one":      func() { i8.Mul(dst, a, 1) },
		"Int8.MulAdd":       func() { i8.MulAdd(dst, a, m) },
		"Int8.MulRows":      func() { i8.MulRows(dst, n, a, k, m) },
		"Int8.Row":          func() { i8.Row(out[:k], 3) },
		"Bfloat.Mul":        func() { bf.Mul(dst, a, m) },
		"Bfloat.MulAdd":     func() { bf.MulAdd(dst, a, m) },
		"Bfloat.MulRows":    func() { bf.MulRows(dst, n, a, k, m) },
		"Bfloat.Row":        func() { bf.Row(out[:k], 3) },
		"MatMul":            func() { MatMul(dst, n, a, k, b, n, m, k, n) },
		"MatMul one":        func() { MatMul(dst, n, a, k, b, n, 1, k, n) },
		"MatMulT":           func() { MatMulT(dst, n, a, k, b, k, m, k, n, 1) },
		"MatMulT one":       func() { MatMulT(dst, n, a, k, b, k, 1, k, n, 1) },
		"Attend":            func() { att.Attend(out, k, a, k, b, k, b, k, m, n, k, 1) },
		"Attend one":        func() { att.Attend(out, k, a, k, b, k, b, k, 1, n, k, 1) },
		"Attend bytes":      func() { bytes.Attend(out, k, a, k, b, k, b, k, m, n, k, 1) },
		"Attend pairs":      func() { pairs.Attend(out, k, a, k, b, k, b, k, m, n, k, 1) },
		"Fill":              func() { kv.Fill(both, 2*k, n, 1) },
		"Scores":            func() { kv.Scores(scores, n, a, k, m, 0) },
		"Mix":               func() { kv.Mix(out, k, scores, n, m, 0) },
		"Softmax":           func() { Softmax(dst) },
		"SoftmaxRows":       func() { SoftmaxRows(dst, n, m, n-1) },
		"GELU":              func() { GELU(dst) },
		"LayerNorm":         func() { LayerNorm(dst, dst, bias, bias, m, n) },
		"Add":               func() { Add(dst, dst) },
		"Dot":               func() { Dot(a, a) },
		"FloatToHalf":       func() { FloatToHalf(half, b) },
		"HalfToFloat":       func() { HalfToFloat(b, half) },
	} {
		if got := testing.AllocsPerRun(20, f); got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
}
