//go:build !(amd64 || arm64) || purego

package nn

func detect() isa { return plain }

func (v isa) widens() bool { return false }

func (v isa) gemm(m, width, k int, a []float32, lda int, b weights, c []float32, ldc int, bias []float32, add bool) {
	gemmGo(m, width, k, a, lda, b.full, c, ldc, bias, add)
}

func (v isa) packRows(dst, src []float32, ld, n, k int, scale float32) {
	packRowsGo(dst, src, ld, n, k, scale)
}

func (v isa) dots(dst, a, b []float32, ldb, k, n int, scale float32) {
	for j := range n {
		dst[j] = scale * dotGo(a, b[j*ldb:j*ldb+k])
	}
}

func (v isa) mix(dst, a, b []float32, ldb, k, n int) { mixGo(dst, a, b, ldb, k, n) }

func (v isa) dot(a, b []float32) float32 { return dotGo(a, b) }

func (v isa) add(dst, x []float32) { addGo(dst, x) }

func (v isa) relu(x []float32) { reluGo(x) }

func (v isa) addReLU(dst, x []float32) { addReLUGo(dst, x) }

func (v isa) scaleReLU(dst, x, scale, shift []float32) { scaleReLUGo(dst, x, scale, shift) }

func (v isa) winogradIn(dst []float32, ldd int, x []float32, ldx, n int) {
	winogradInGo(dst, ldd, x, ldx, n)
}

func (v isa) winogradOut(dst []float32, ldd int, x []float32, ldx, n int) {
	winogradOutGo(dst, ldd, x, ldx, n)
}

func (v isa) softmax(x []float32) { softmaxGo(x) }

func (v isa) gelu(x []float32) { geluGo(x) }

func (v isa) layerNorm(dst, x, gamma, beta []float32) { layerNormGo(dst, x, gamma, beta) }

func (v isa) halfToFloat(dst []float32, src []uint16) { halfToFloatGo(dst, src) }

func (v isa) floatToHalf(dst []uint16, src []float32) { floatToHalfGo(dst, src) }

func (v isa) saturate(dst []uint16, src []float32) { saturateGo(dst, src) }

func (v isa) lstmGates(h, c, gates []float32) { lstmGatesGo(h, c, gates) }

func (v isa) name() string { return "plain Go" }
