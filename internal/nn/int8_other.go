//go:build !amd64 || purego

package nn

func (v isa) multipliesBytes() bool { return false }

func (v isa) toBytes(dst []uint8, x []float32) int8Row { return toBytesGo(dst, x) }

func (v isa) toWords(high, low []uint8, x []float32) int8Row { return toWordsGo(high, low, x) }

func (v isa) gemmInt8(m, n, k int, a []uint8, rows []int8Row, b []int8, cols []int8Cols, c []float32, ldc int, add, _ bool) {
	gemmInt8Go(m, n, k, a, rows, b, cols, c, ldc, add)
}

func (v isa) toSigned(dst []int8, x []float32) (step, sum float32) { return toSignedGo(dst, x) }

func (v isa) columnMax(dst, x []float32, ld, n int) { columnMaxGo(dst, x, ld, n) }

func (v isa) packBytes(dst []int8, x []float32, ld, n int, inverse []float32) {
	packBytesGo(dst, x, ld, 0, n, inverse)
}

func (v isa) powers(high, low []uint8, x []float32) float32 { return powersGo(high, low, x) }
