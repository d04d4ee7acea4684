//go:build !purego

package nn

import "unsafe"

// tileRows is the most that rows takes. Floats of 16 bits stay with AVX2: to
// widen sixteen at once costs as much as to multiply them, on Zen 4 at least,
// while eight are widened for nothing.
func (v isa) tileRows(w weights) int {
	if v < avx512 || w.half != nil {
		return tileM
	}
	return 2 * tileM
}

// rows is product for at most tileRows rows and one block.
func (v isa) rows(dst []float32, ldd int, x []float32, ldx, m, k, n int, w weights, bias []float32, add bool) {
	if v < avx512 || w.half != nil || k == 0 || n == 0 {
		v.panelRows(dst, ldd, x, ldx, m, k, n, w, bias, add)
		return
	}
	gemmAVX512(m, n, k, &x[0], ldx, &w.full[0], &dst[0], ldd, unsafe.SliceData(bias), add, w.ahead(8*panelN*k))
}

func gemmAVX512(m, n, k int, a *float32, lda int, b *float32, c *float32, ldc int, bias *float32, add bool, ahead int) {
	switch m {
	case 1:
		gemm1AVX512(n, k, a, lda, b, c, ldc, bias, add, ahead)
	case 2:
		gemm2AVX512(n, k, a, lda, b, c, ldc, bias, add, ahead)
	case 3:
		gemm3AVX512(n, k, a, lda, b, c, ldc, bias, add, ahead)
	case 4:
		gemm4AVX512(n, k, a, lda, b, c, ldc, bias, add, ahead)
	case 5:
		gemm5AVX512(n, k, a, lda, b, c, ldc, bias, add, ahead)
	case 6:
		gemm6AVX512(n, k, a, lda, b, c, ldc, bias, add, ahead)
	case 7:
		gemm7AVX512(n, k, a, lda, b, c, ldc, bias, add, ahead)
	case 8:
		gemm8AVX512(n, k, a, lda, b, c, ldc, bias, add, ahead)
	case 9:
		gemm9AVX512(n, k, a, lda, b, c, ldc, bias, add, ahead)
	case 10:
		gemm10AVX512(n, k, a, lda, b, c, ldc, bias, add, ahead)
	case 11:
		gemm11AVX512(n, k, a, lda, b, c, ldc, bias, add, ahead)
	default:
		gemm12AVX512(n, k, a, lda, b, c, ldc, bias, add, ahead)
	}
}

// ahead is how many bytes before their use weights are called for. The
// processor fetches one line after the other of its own accord, to the end of
// a page of 4 kB: to call pays only where the weights come from beyond the
// second cache.
func (w weights) ahead(bytes int) int {
	if 4*len(w.full)+2*len(w.half) <= 4<<20 {
		return 0
	}
	return bytes
}

// linear is how far ahead of itself a kernel calls that takes one panel after
// the other.
const linear = 8 << 10
