//go:build !amd64 || purego

package nn

// tileRows is the most that rows takes.
func (v isa) tileRows(weights) int { return tileM }

// rows is product for at most tileRows rows and one block.
func (v isa) rows(dst []float32, ldd int, x []float32, ldx, m, k, n int, w weights, bias []float32, add bool) {
	v.panelRows(dst, ldd, x, ldx, m, k, n, w, bias, add)
}
