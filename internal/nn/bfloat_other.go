//go:build !amd64 || purego

package nn

func (v isa) multipliesBfloats() bool { return false }

func (v isa) toBfloat(dst []uint16, x []float32) { toBfloatGo(dst, x) }

func (v isa) packPairs(dst []uint16, x []float32, ld, n, cols int) {
	packPairsGo(dst, x, ld, 0, n, cols)
}

func (v isa) powersBfloat(dst []uint16, x []float32, scale float32) float32 {
	return powersBfloatGo(dst, x, scale)
}

func (v isa) gemmBfloat(m, n, k int, a []uint16, lda int, b []uint16, c []float32, ldc int, bias []float32, add, _ bool) {
	gemmBfloatGo(m, n, k, a, lda, b, c, ldc, bias, add)
}
