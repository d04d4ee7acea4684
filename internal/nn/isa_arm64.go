//go:build !purego

package nn

import "unsafe"

// neon is Advanced SIMD, which every 64-bit Arm processor has, with its
// conversions of 16-bit floats. It follows on plain: the numbers of the
// instruction sets are each architecture's own.
const neon = plain + 1

func detect() isa { return neon }

// widens tells whether gemm takes weights of 16 bits.
func (v isa) widens() bool { return v == neon }

// gemm computes c[m][16·width] (+)= a[m][k] · b + bias for up to tileM rows;
// b is width panels [k][16].
func (v isa) gemm(m, width, k int, a []float32, lda int, b weights, c []float32, ldc int, bias []float32, add bool) {
	first := unsafe.SliceData(bias)
	switch {
	case v != neon:
		gemmGo(m, width, k, a, lda, b.full, c, ldc, bias, add)
	case b.half != nil:
		gemmHalfNEON(m, width, k, &a[0], lda, &b.half[0], &c[0], ldc, first, add)
	default:
		gemmNEON(m, width, k, &a[0], lda, &b.full[0], &c[0], ldc, first, add)
	}
}

func gemmNEON(m, width, k int, a *float32, lda int, b, c *float32, ldc int, bias *float32, add bool) {
	switch m {
	case 1:
		gemm1NEON(width, k, a, lda, b, c, ldc, bias, add)
	case 2:
		gemm2NEON(width, k, a, lda, b, c, ldc, bias, add)
	case 3:
		gemm3NEON(width, k, a, lda, b, c, ldc, bias, add)
	case 4:
		gemm4NEON(width, k, a, lda, b, c, ldc, bias, add)
	case 5:
		gemm5NEON(width, k, a, lda, b, c, ldc, bias, add)
	default:
		gemm6NEON(width, k, a, lda, b, c, ldc, bias, add)
	}
}

func gemmHalfNEON(m, width, k int, a *float32, lda int, b *uint16, c *float32, ldc int, bias *float32, add bool) {
	switch m {
	case 1:
		gemmHalf1NEON(width, k, a, lda, b, c, ldc, bias, add)
	case 2:
		gemmHalf2NEON(width, k, a, lda, b, c, ldc, bias, add)
	case 3:
		gemmHalf3NEON(width, k, a, lda, b, c, ldc, bias, add)
	case 4:
		gemmHalf4NEON(width, k, a, lda, b, c, ldc, bias, add)
	case 5:
		gemmHalf5NEON(width, k, a, lda, b, c, ldc, bias, add)
	default:
		gemmHalf6NEON(width, k, a, lda, b, c, ldc, bias, add)
	}
}

func (v isa) packRows(dst, src []float32, ld, n, k int, scale float32) {
	whole := k &^ 3
	if v != neon || n < panelN || whole == 0 {
		packRowsGo(dst, src, ld, n, k, scale)
		return
	}
	packRowsNEON(whole/4, &dst[0], &src[0], ld, scale)
	if whole < k {
		packRowsGo(dst[whole*panelN:], src[whole:], ld, n, k-whole, scale)
	}
}

func (v isa) dots(dst, a, b []float32, ldb, k, n int, scale float32) {
	whole := n &^ 3
	if v != neon || k == 0 || k%8 != 0 {
		whole = 0
	}
	if whole > 0 {
		dotsNEON(whole/4, k, &dst[0], &a[0], &b[0], ldb, scale)
	}
	for j := whole; j < n; j++ {
		dst[j] = scale * v.dot(a, b[j*ldb:j*ldb+k])
	}
}

func (v isa) mix(dst, a, b []float32, ldb, k, n int) {
	whole := n &^ 7
	if v != neon || k == 0 {
		whole = 0
	}
	if whole > 0 {
		mixNEON(k, whole, &dst[0], &a[0], &b[0], ldb)
	}
	if whole < n {
		mixGo(dst[whole:], a, b[whole:], ldb, k, n-whole)
	}
}

func (v isa) dot(a, b []float32) float32 {
	if v != neon || len(a) == 0 {
		return dotGo(a, b)
	}
	return dotNEON(len(a), &a[0], &b[0])
}

func (v isa) add(dst, x []float32) {
	if v != neon || len(x) == 0 {
		addGo(dst, x)
		return
	}
	addNEON(len(x), &dst[0], &x[0])
}

func (v isa) relu(x []float32) { reluGo(x) }

func (v isa) addReLU(dst, x []float32) { addReLUGo(dst, x) }

func (v isa) scaleReLU(dst, x, scale, shift []float32) { scaleReLUGo(dst, x, scale, shift) }

func (v isa) winogradIn(dst []float32, ldd int, x []float32, ldx, n int) {
	winogradInGo(dst, ldd, x, ldx, n)
}

func (v isa) winogradOut(dst []float32, ldd int, x []float32, ldx, n int) {
	winogradOutGo(dst, ldd, x, ldx, n)
}

func (v isa) softmax(x []float32) {
	if v != neon || len(x) == 0 {
		softmaxGo(x)
		return
	}
	softmaxNEON(len(x), &x[0])
}

func (v isa) gelu(x []float32) {
	if v != neon || len(x) == 0 {
		geluGo(x)
		return
	}
	geluNEON(len(x), &x[0])
}

func (v isa) layerNorm(dst, x, gamma, beta []float32) {
	if v != neon || len(x) == 0 {
		layerNormGo(dst, x, gamma, beta)
		return
	}
	layerNormNEON(len(x), &dst[0], &x[0], &gamma[0], &beta[0])
}

func (v isa) halfToFloat(dst []float32, src []uint16) {
	whole := len(src) &^ 7
	if v != neon {
		whole = 0
	}
	if whole > 0 {
		halfToFloatNEON(whole/8, &dst[0], &src[0])
	}
	halfToFloatGo(dst[whole:], src[whole:])
}

func (v isa) floatToHalf(dst []uint16, src []float32) {
	whole := len(src) &^ 7
	if v != neon {
		whole = 0
	}
	if whole > 0 {
		floatToHalfNEON(whole/8, &dst[0], &src[0])
	}
	floatToHalfGo(dst[whole:], src[whole:])
}

func (v isa) saturate(dst []uint16, src []float32) {
	var part [64]float32
	for len(src) > 0 {
		n := min(len(src), len(part))
		for i, x := range src[:n] {
			part[i] = max(-maxHalf, min(x, maxHalf))
		}
		v.floatToHalf(dst[:n], part[:n])
		dst, src = dst[n:], src[n:]
	}
}

func (v isa) lstmGates(h, c, gates []float32) {
	if v != neon || len(h) == 0 {
		lstmGatesGo(h, c, gates)
		return
	}
	lstmGatesNEON(len(h), &h[0], &c[0], &gates[0])
}

func (v isa) name() string { return "NEON" }
