//go:build !amd64 || purego

package nn

func (v isa) multipliesBytes() bool { return false }

func (v isa) toBytes(dst []uint8, x []float32) int8Row { return toBytesGo(dst, x) }

func (v isa) gemmInt8(m, n, k int, a []uint8, rows []int8Row, b []int8, cols []int8Cols, c []float32, ldc int, add, _ bool) {
	gemmInt8Go(m, n, k, a, rows, b, cols, c, ldc, add)
}
