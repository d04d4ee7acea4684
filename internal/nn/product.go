package nn

// product computes dst[m][n] (+)= x[m][k] · wᵀ + bias from packed w; bias may be
// nil and reaches to the end of the last panel.
func (v isa) product(dst []float32, ldd int, x []float32, ldx int, m int, p panels, w weights, bias []float32, add bool) {
	if m == 0 {
		return
	}
	step := p.block()
	for k0 := 0; k0 < p.k; k0 += step {
		k := min(step, p.k-k0)
		if k0 > 0 {
			add, bias = true, nil
		}
		cols := max(1, chunk/(k*panelN)) * panelN
		for j := 0; j < p.n; j += cols {
			n := min(cols, p.n-j)
			b, part := rest(bias, j), w.from(k0*p.width()*panelN+j*k)
			v.tiles(dst[j:], ldd, x[k0:], ldx, m, k, n, part, b, add)
		}
	}
}

// tiles is product for one block and at least one row.
func (v isa) tiles(dst []float32, ldd int, x []float32, ldx, m, k, n int, w weights, bias []float32, add bool) {
	// Tiles of one height: a low one does not use the processor.
	most := v.tileRows(w)
	count := (m + most - 1) / most
	step := (m + count - 1) / count
	for i := 0; i < m; i += step {
		v.rows(dst[i*ldd:], ldd, x[i*ldx:], ldx, min(step, m-i), k, n, w, bias, add)
	}
}

// panelRows is product for at most tileM rows and one block, by whole panels.
func (v isa) panelRows(dst []float32, ldd int, x []float32, ldx, m, k, n int, w weights, bias []float32, add bool) {
	whole := n / panelN
	if whole > 0 {
		v.gemm(m, whole, k, x, ldx, w, dst, ldd, bias, add)
	}
	if done := whole * panelN; done < n {
		var t tile
		v.gemm(m, 1, k, x, ldx, w.from(done*k), t[:], panelN, rest(bias, done), false)
		t.store(dst[done:], ldd, m, n-done, add)
	}
}

// rest is the bias from column j on.
func rest(bias []float32, j int) []float32 {
	if bias == nil {
		return nil
	}
	return bias[j:]
}

// tile takes the product with a panel that is wider than what is left of dst.
type tile [tileM * panelN]float32

func (t *tile) store(dst []float32, ldd, m, n int, add bool) {
	for i := range m {
		store(dst[i*ldd:i*ldd+n], t[i*panelN:], add)
	}
}

// store writes or adds the head of src to dst.
func store(dst, src []float32, add bool) {
	if !add {
		copy(dst, src)
		return
	}
	for j := range dst {
		dst[j] += src[j]
	}
}
