// Package nn holds the numeric kernels of the speech models: matrix products,
// attention, softmax, GELU, rectifiers, layer normalisation, LSTM gates.
//
// Kernels take dst first, allocate nothing and panic on wrong lengths, which
// are programmer errors. Matrices are row-major float32; shapes stand in the
// comments as [rows][columns], and ld* are row strides in elements. All
// functions are safe for concurrent use on distinct destinations.
//
// The instruction set is found once, at the start of the program: AVX-512 or
// AVX2 with FMA and F16C, on arm64 NEON, else plain Go. Sums are taken in
// another order on each, so results agree to rounding, not to the bit. The
// assembly, and so its length, is the work of the generator in gen, a module
// of its own.
package nn

import "math"

// active is the instruction set of this machine.
var active = detect() //nolint:gochecknoglobals // the processor does not change

// Dot is the inner product of two vectors of equal length.
func Dot(a, b []float32) float32 {
	check(len(a) == len(b), "Dot")
	return active.dot(a, b)
}

// Add adds x to dst.
func Add(dst, x []float32) {
	check(len(dst) == len(x), "Add")
	active.add(dst, x)
}

// Softmax replaces x by exp(x)/Σexp(x). An element of -Inf becomes zero; a
// NaN, a +Inf or nothing but -Inf makes every element NaN.
func Softmax(x []float32) { active.softmax(x) }

// SoftmaxRows is Softmax on the first n elements of each of the m rows of x;
// what lies between n and ld is left alone.
func SoftmaxRows(x []float32, ld, m, n int) {
	check(covers(x, ld, m, n), "SoftmaxRows")
	for i := range m {
		active.softmax(x[i*ld : i*ld+n])
	}
}

// GELU replaces x by x·Φ(x), the exact form (Hendrycks & Gimpel, 2016), to an
// absolute error below 1e-6. The limits are taken: -Inf becomes zero.
func GELU(x []float32) {
	// The collector waits for a running kernel: none may run for long.
	const most = 1 << 14
	for len(x) > most {
		active.gelu(x[:most])
		x = x[most:]
	}
	active.gelu(x)
}

// LayerNorm writes the normalised rows of x[m][n] to dst, scaled and shifted
// (Ba et al., 2016; ε = 1e-5). dst may be x.
func LayerNorm(dst, x, gamma, beta []float32, m, n int) {
	check(len(gamma) == n && len(beta) == n && len(dst) >= m*n && len(x) >= m*n, "LayerNorm")
	for i := range m {
		active.layerNorm(dst[i*n:(i+1)*n], x[i*n:(i+1)*n], gamma, beta)
	}
}

// epsilon keeps LayerNorm's division finite.
const epsilon = 1e-5

// covers tells whether x reaches to the last element of m rows of n.
func covers(x []float32, ld, m, n int) bool {
	return m >= 0 && n >= 0 && ld >= 0 && (m == 0 || n == 0 || len(x) >= (m-1)*ld+n)
}

func check(ok bool, what string) {
	if !ok {
		panic("nn: wrong lengths in " + what)
	}
}

// norm returns the mean of x and the reciprocal of its standard deviation.
func norm(sum, squares float64, n int) (mean, scale float64) {
	mean = sum / float64(n)
	return mean, 1 / math.Sqrt(max(squares/float64(n)-mean*mean, 0)+epsilon)
}
