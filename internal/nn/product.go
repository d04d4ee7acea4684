package nn

// product computes dst[m][n] (+)= x[m][k] · wᵀ + bias from packed w, float32 or
// 16-bit floats; bias may be nil and reaches to the end of the last panel.
func (v isa) product(dst []float32, ldd int, x []float32, ldx int, m int, p panels, w []float32, half []uint16, bias []float32, add bool) {
	step := p.block()
	for k0 := 0; k0 < p.k; k0 += step {
		k := min(step, p.k-k0)
		if k0 > 0 {
			add, bias = true, nil
		}
		cols := max(1, chunk/(k*panelN)) * panelN
		for j := 0; j < p.n; j += cols {
			n := min(cols, p.n-j)
			b := bias
			if b != nil {
				b = b[j:]
			}
			from := k0*p.width()*panelN + j*k
			for i := 0; i < m; i += tileM {
				d, a, rows := dst[i*ldd+j:], x[i*ldx+k0:], min(tileM, m-i)
				if half != nil {
					v.rowsHalf(d, ldd, a, ldx, rows, k, n, half[from:], b, add)
				} else {
					v.rows(d, ldd, a, ldx, rows, k, n, w[from:], b, add)
				}
			}
		}
	}
}

// rows is product for at most tileM rows and one block.
func (v isa) rows(dst []float32, ldd int, x []float32, ldx, m, k, n int, w, bias []float32, add bool) {
	whole := n / panelN
	if whole > 0 {
		v.gemm(m, whole, k, x, ldx, w, dst, ldd, bias, add)
	}
	if n > whole*panelN {
		var t tile
		v.gemm(m, 1, k, x, ldx, w[whole*panelN*k:], t[:], panelN, rest(bias, whole), false)
		t.store(dst[whole*panelN:], ldd, m, n-whole*panelN, add)
	}
}

// rowsHalf is rows for 16-bit weights.
func (v isa) rowsHalf(dst []float32, ldd int, x []float32, ldx, m, k, n int, w []uint16, bias []float32, add bool) {
	whole := n / panelN
	if whole > 0 {
		v.gemmHalf(m, whole, k, x, ldx, w, dst, ldd, bias, add)
	}
	if n > whole*panelN {
		var t tile
		v.gemmHalf(m, 1, k, x, ldx, w[whole*panelN*k:], t[:], panelN, rest(bias, whole), false)
		t.store(dst[whole*panelN:], ldd, m, n-whole*panelN, add)
	}
}

// rest is the bias of the panel after the first ones.
func rest(bias []float32, panel int) []float32 {
	if bias == nil {
		return nil
	}
	return bias[panel*panelN:]
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
