//go:build !purego

package nn

import "unsafe"

func (v isa) multipliesBfloats() bool { return v >= bf16 }

func (v isa) toBfloat(dst []uint16, x []float32) {
	if v < bf16 || len(x) == 0 {
		toBfloatGo(dst, x)
		return
	}
	toBfloatAVX512(len(x), &dst[0], &x[0])
}

func (v isa) packPairs(dst []uint16, x []float32, ld, n, cols int) {
	whole := n &^ 1
	if v < bf16 {
		whole = 0
	}
	if whole > 0 {
		packPairsAVX512(whole/2, cols, &dst[0], &x[0], ld)
	}
	packPairsGo(dst, x, ld, whole, n, cols)
}

func (v isa) powersBfloat(dst []uint16, x []float32, scale float32) float32 {
	if v < bf16 || len(x) == 0 {
		return powersBfloatGo(dst, x, scale)
	}
	return powersBfloatAVX512(len(x), &dst[0], &x[0], scale)
}

// gemmBfloat computes c[m][n] (+)= a[m][k] · b + bias for up to bfloatM rows of
// 16-bit floats and panels b, each [k/2][16][2]; k is even. far tells that b is
// not in a near cache.
func (v isa) gemmBfloat(m, n, k int, a []uint16, lda int, b []uint16, c []float32, ldc int, bias []float32, add, far bool) {
	if v < bf16 {
		gemmBfloatGo(m, n, k, a, lda, b, c, ldc, bias, add)
		return
	}
	ahead, first := 0, unsafe.SliceData(bias)
	if far { // as in gemmInt8
		ahead = 4 * panelN * k
	}
	switch m {
	case 1:
		gemmBfloat1AVX512(n, k, &a[0], lda, &b[0], &c[0], ldc, first, add, ahead)
	case 2:
		gemmBfloat2AVX512(n, k, &a[0], lda, &b[0], &c[0], ldc, first, add, ahead)
	case 3:
		gemmBfloat3AVX512(n, k, &a[0], lda, &b[0], &c[0], ldc, first, add, ahead)
	case 4:
		gemmBfloat4AVX512(n, k, &a[0], lda, &b[0], &c[0], ldc, first, add, ahead)
	case 5:
		gemmBfloat5AVX512(n, k, &a[0], lda, &b[0], &c[0], ldc, first, add, ahead)
	case 6:
		gemmBfloat6AVX512(n, k, &a[0], lda, &b[0], &c[0], ldc, first, add, ahead)
	case 7:
		gemmBfloat7AVX512(n, k, &a[0], lda, &b[0], &c[0], ldc, first, add, ahead)
	case 8:
		gemmBfloat8AVX512(n, k, &a[0], lda, &b[0], &c[0], ldc, first, add, ahead)
	case 9:
		gemmBfloat9AVX512(n, k, &a[0], lda, &b[0], &c[0], ldc, first, add, ahead)
	case 10:
		gemmBfloat10AVX512(n, k, &a[0], lda, &b[0], &c[0], ldc, first, add, ahead)
	case 11:
		gemmBfloat11AVX512(n, k, &a[0], lda, &b[0], &c[0], ldc, first, add, ahead)
	default:
		gemmBfloat12AVX512(n, k, &a[0], lda, &b[0], &c[0], ldc, first, add, ahead)
	}
}
