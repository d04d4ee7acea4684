//go:build !purego

package nn

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

func detect() isa {
	switch x := &cpu.X86; {
	case !x.HasAVX2 || !x.HasFMA || !x.HasF16C:
		return plain
	case !x.HasAVX512F || !x.HasAVX512BW || !x.HasAVX512DQ || !x.HasAVX512VL || !x.HasBMI2:
		return avx2
	case !x.HasAVX512VNNI:
		return avx512
	case !x.HasAVX512BF16:
		return vnni
	}
	return bf16
}

// widens tells whether gemm takes weights of 16 bits.
func (v isa) widens() bool { return v >= avx2 }

// gemm computes c[m][16·width] (+)= a[m][k] · b + bias for up to tileM rows;
// b is width panels [k][16].
func (v isa) gemm(m, width, k int, a []float32, lda int, b weights, c []float32, ldc int, bias []float32, add bool) {
	first := unsafe.SliceData(bias)
	switch {
	case v < avx2:
		gemmGo(m, width, k, a, lda, b.full, c, ldc, bias, add)
	case b.half != nil:
		gemmHalfAVX2(m, width, k, &a[0], lda, &b.half[0], &c[0], ldc, first, add, b.ahead(linear))
	default:
		gemmAVX2(m, width, k, &a[0], lda, &b.full[0], &c[0], ldc, first, add, b.ahead(linear))
	}
}

func gemmAVX2(m, width, k int, a *float32, lda int, b, c *float32, ldc int, bias *float32, add bool, ahead int) {
	switch m {
	case 1:
		gemm1AVX2(width, k, a, lda, b, c, ldc, bias, add, ahead)
	case 2:
		gemm2AVX2(width, k, a, lda, b, c, ldc, bias, add, ahead)
	case 3:
		gemm3AVX2(width, k, a, lda, b, c, ldc, bias, add, ahead)
	case 4:
		gemm4AVX2(width, k, a, lda, b, c, ldc, bias, add, ahead)
	case 5:
		gemm5AVX2(width, k, a, lda, b, c, ldc, bias, add, ahead)
	default:
		gemm6AVX2(width, k, a, lda, b, c, ldc, bias, add, ahead)
	}
}

func gemmHalfAVX2(m, width, k int, a *float32, lda int, b *uint16, c *float32, ldc int, bias *float32, add bool, ahead int) {
	switch m {
	case 1:
		gemmHalf1AVX2(width, k, a, lda, b, c, ldc, bias, add, ahead)
	case 2:
		gemmHalf2AVX2(width, k, a, lda, b, c, ldc, bias, add, ahead)
	case 3:
		gemmHalf3AVX2(width, k, a, lda, b, c, ldc, bias, add, ahead)
	case 4:
		gemmHalf4AVX2(width, k, a, lda, b, c, ldc, bias, add, ahead)
	case 5:
		gemmHalf5AVX2(width, k, a, lda, b, c, ldc, bias, add, ahead)
	default:
		gemmHalf6AVX2(width, k, a, lda, b, c, ldc, bias, add, ahead)
	}
}

func (v isa) packRows(dst, src []float32, ld, n, k int, scale float32) {
	whole := k &^ 7
	if v < avx2 || n < panelN || whole == 0 {
		packRowsGo(dst, src, ld, n, k, scale)
		return
	}
	packRowsAVX2(whole/8, &dst[0], &src[0], ld, scale)
	if whole < k {
		packRowsGo(dst[whole*panelN:], src[whole:], ld, n, k-whole, scale)
	}
}

func (v isa) dots(dst, a, b []float32, ldb, k, n int, scale float32) {
	whole := n &^ 3
	if v < avx2 || k == 0 || k%8 != 0 {
		whole = 0
	}
	if whole > 0 {
		dotsAVX2(whole/4, k, &dst[0], &a[0], &b[0], ldb, scale)
	}
	for j := whole; j < n; j++ {
		dst[j] = scale * v.dot(a, b[j*ldb:j*ldb+k])
	}
}

func (v isa) mix(dst, a, b []float32, ldb, k, n int) {
	whole := n &^ 7
	if v < avx2 || k == 0 {
		whole = 0
	}
	if whole > 0 {
		mixAVX2(k, whole, &dst[0], &a[0], &b[0], ldb)
	}
	if whole < n {
		mixGo(dst[whole:], a, b[whole:], ldb, k, n-whole)
	}
}

func (v isa) dot(a, b []float32) float32 {
	if v < avx2 || len(a) == 0 {
		return dotGo(a, b)
	}
	return dotAVX2(len(a), &a[0], &b[0])
}

func (v isa) add(dst, x []float32) {
	if v < avx2 || len(x) == 0 {
		addGo(dst, x)
		return
	}
	addAVX2(len(x), &dst[0], &x[0])
}

func (v isa) relu(x []float32) {
	if v < avx2 || len(x) == 0 {
		reluGo(x)
		return
	}
	reluAVX2(len(x), &x[0])
}

func (v isa) addReLU(dst, x []float32) {
	if v < avx2 || len(x) == 0 {
		addReLUGo(dst, x)
		return
	}
	addReLUAVX2(len(x), &dst[0], &x[0])
}

func (v isa) scaleReLU(dst, x, scale, shift []float32) {
	if v < avx2 || len(x) == 0 {
		scaleReLUGo(dst, x, scale, shift)
		return
	}
	scaleReLUAVX2(len(x), &dst[0], &x[0], &scale[0], &shift[0])
}

func (v isa) winogradIn(dst []float32, ldd int, x []float32, ldx, n int) {
	whole := n &^ 7
	if v < avx2 {
		whole = 0
	}
	if whole > 0 {
		winogradInAVX2(whole/8, &dst[0], ldd, &x[0], ldx)
	}
	if whole < n {
		winogradInGo(dst[whole:], ldd, x[whole:], ldx, n-whole)
	}
}

func (v isa) winogradOut(dst []float32, ldd int, x []float32, ldx, n int) {
	whole := n &^ 7
	if v < avx2 {
		whole = 0
	}
	if whole > 0 {
		winogradOutAVX2(whole/8, &dst[0], ldd, &x[0], ldx)
	}
	if whole < n {
		winogradOutGo(dst[whole:], ldd, x[whole:], ldx, n-whole)
	}
}

func (v isa) softmax(x []float32) {
	switch {
	case v < avx2 || len(x) == 0:
		softmaxGo(x)
	case v < avx512:
		softmaxAVX2(len(x), &x[0])
	default:
		softmaxAVX512(len(x), &x[0])
	}
}

func (v isa) gelu(x []float32) {
	switch {
	case v < avx2 || len(x) == 0:
		geluGo(x)
	case v < avx512:
		geluAVX2(len(x), &x[0])
	default:
		geluAVX512(len(x), &x[0])
	}
}

func (v isa) layerNorm(dst, x, gamma, beta []float32) {
	switch {
	case v < avx2 || len(x) == 0:
		layerNormGo(dst, x, gamma, beta)
	case v < avx512:
		layerNormAVX2(len(x), &dst[0], &x[0], &gamma[0], &beta[0])
	default:
		layerNormAVX512(len(x), &dst[0], &x[0], &gamma[0], &beta[0])
	}
}

func (v isa) halfToFloat(dst []float32, src []uint16) {
	whole := len(src) &^ 7
	if v < avx2 {
		whole = 0
	}
	if whole > 0 {
		halfToFloatAVX2(whole/8, &dst[0], &src[0])
	}
	halfToFloatGo(dst[whole:], src[whole:])
}

func (v isa) floatToHalf(dst []uint16, src []float32) {
	whole := len(src) &^ 7
	if v < avx2 {
		whole = 0
	}
	if whole > 0 {
		floatToHalfAVX2(whole/8, &dst[0], &src[0])
	}
	floatToHalfGo(dst[whole:], src[whole:])
}

func (v isa) saturate(dst []uint16, src []float32) {
	whole := len(src) &^ 7
	if v < avx2 {
		whole = 0
	}
	if whole > 0 {
		saturateAVX2(whole/8, &dst[0], &src[0])
	}
	saturateGo(dst[whole:], src[whole:])
}

func (v isa) lstmGates(h, c, gates []float32) {
	if v < avx2 || len(h) == 0 {
		lstmGatesGo(h, c, gates)
		return
	}
	lstmGatesAVX2(len(h), &h[0], &c[0], &gates[0])
}

func (v isa) name() string {
	return [...]string{"plain Go", "AVX2", "AVX-512", "AVX-512 VNNI", "AVX-512 VNNI BF16"}[v]
}
