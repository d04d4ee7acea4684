// Package nn holds the numeric kernels of the speech models: matrix products,
// softmax, GELU, layer normalisation.
//
// Kernels take dst first, allocate nothing and panic on wrong lengths, which
// are programmer errors. Matrices are row-major float32; shapes stand in the
// comments as [rows][columns]. All functions are safe for concurrent use on
// distinct destinations.
package nn

import "math"

// Linear is a weight matrix [out][in] with an optional bias [out], laid out
// for multiplication. It is immutable.
type Linear struct {
	in, out int
	w       []float32
	bias    []float32
}

// NewLinear lays out w [out][in]; bias may be nil. Neither slice is kept.
func NewLinear(w, bias []float32, out, in int) *Linear {
	check(len(w) == out*in && (bias == nil || len(bias) == out), "NewLinear")
	l := &Linear{in: in, out: out, w: append([]float32(nil), w...)}
	if bias != nil {
		l.bias = append([]float32(nil), bias...)
	}
	return l
}

// In and Out are the matrix's dimensions.
func (l *Linear) In() int { return l.in }

// Out is the number of rows of the weight matrix.
func (l *Linear) Out() int { return l.out }

// Mul computes dst[m][out] = x[m][in] · wᵀ + bias.
func (l *Linear) Mul(dst, x []float32, m int) {
	check(len(dst) >= m*l.out && len(x) >= m*l.in, "Linear.Mul")
	for i := range m {
		xi := x[i*l.in : (i+1)*l.in]
		di := dst[i*l.out : (i+1)*l.out]
		for j := range di {
			var s float32
			w := l.w[j*l.in : (j+1)*l.in]
			for k, v := range xi {
				s += v * w[k]
			}
			if l.bias != nil {
				s += l.bias[j]
			}
			di[j] = s
		}
	}
}

// MatMul computes dst[m][n] = a[m][k] · b[k][n]; ld* are row strides in
// elements.
func MatMul(dst []float32, ldd int, a []float32, lda int, b []float32, ldb int, m, k, n int) {
	for i := range m {
		d := dst[i*ldd : i*ldd+n]
		clear(d)
		for p := range k {
			v := a[i*lda+p]
			for j, w := range b[p*ldb : p*ldb+n] {
				d[j] += v * w
			}
		}
	}
}

// MatMulT computes dst[m][n] = scale · a[m][k] · b[n][k]ᵀ; ld* are row strides
// in elements.
func MatMulT(dst []float32, ldd int, a []float32, lda int, b []float32, ldb int, m, k, n int, scale float32) {
	for i := range m {
		for j := range n {
			dst[i*ldd+j] = scale * Dot(a[i*lda:i*lda+k], b[j*ldb:j*ldb+k])
		}
	}
}

// Dot is the inner product of two vectors of equal length.
func Dot(a, b []float32) float32 {
	check(len(a) == len(b), "Dot")
	var s float32
	for i, v := range a {
		s += v * b[i]
	}
	return s
}

// Add adds x to dst.
func Add(dst, x []float32) {
	check(len(dst) == len(x), "Add")
	for i, v := range x {
		dst[i] += v
	}
}

// Softmax replaces x by exp(x)/Σexp(x).
func Softmax(x []float32) {
	hi := float32(math.Inf(-1))
	for _, v := range x {
		hi = max(hi, v)
	}
	var s float32
	for i, v := range x {
		e := float32(math.Exp(float64(v - hi)))
		x[i] = e
		s += e
	}
	for i := range x {
		x[i] /= s
	}
}

// GELU replaces x by x·Φ(x), the exact form (Hendrycks & Gimpel, 2016).
func GELU(x []float32) {
	for i, v := range x {
		x[i] = float32(0.5 * float64(v) * (1 + math.Erf(float64(v)/math.Sqrt2)))
	}
}

// LayerNorm writes the normalised rows of x[m][n] to dst, scaled and shifted
// (Ba et al., 2016; ε = 1e-5). dst may be x.
func LayerNorm(dst, x, gamma, beta []float32, m, n int) {
	check(len(gamma) == n && len(beta) == n && len(dst) >= m*n && len(x) >= m*n, "LayerNorm")
	for i := range m {
		row, out := x[i*n:(i+1)*n], dst[i*n:(i+1)*n]
		var mean float64
		for _, v := range row {
			mean += float64(v)
		}
		mean /= float64(n)
		var vr float64
		for _, v := range row {
			d := float64(v) - mean
			vr += d * d
		}
		r := 1 / math.Sqrt(vr/float64(n)+1e-5)
		for j, v := range row {
			out[j] = float32((float64(v)-mean)*r)*gamma[j] + beta[j]
		}
	}
}

func check(ok bool, what string) {
	if !ok {
		panic("nn: wrong lengths in " + what)
	}
}
