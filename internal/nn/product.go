package nn

// product computes dst[m][n] (+)= x[m][k] · wᵀ + bias from packed w; bias may
// be nil and reaches to the end of the last panel.
func (v isa) product(dst []float32, ldd int, x []float32, ldx int, m int, p panels, w, bias []float32, add bool) {
	step := p.block()
	for k0 := 0; k0 == 0 || k0 < p.k; k0 += step {
		kb := min(step, p.k-k0)
		if k0 > 0 {
			add, bias = true, nil
		}
		block := w[k0*p.width()*panelN:]
		cols := max(panelN, chunk/max(1, kb)/panelN*panelN)
		for j := 0; j < p.n; j += cols {
			n := min(cols, p.n-j)
			b := bias
			if b != nil {
				b = b[j:]
			}
			for i := 0; i < m; i += tileM {
				v.rows(dst[i*ldd+j:], ldd, x[i*ldx+k0:], ldx, min(tileM, m-i), kb, n, block[j*kb:], b, add)
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
	rest := n - whole*panelN
	if rest == 0 {
		return
	}
	var tile [tileM * panelN]float32
	if bias != nil {
		bias = bias[whole*panelN:]
	}
	v.gemm(m, 1, k, x, ldx, w[whole*panelN*k:], tile[:], panelN, bias, false)
	for i := range m {
		store(dst[i*ldd+whole*panelN:i*ldd+n], tile[i*panelN:], add)
	}
}

// productHalf is product for 16-bit weights.
func (v isa) productHalf(dst []float32, ldd int, x []float32, ldx int, m int, p panels, w []uint16, bias []float32, add bool) {
	var panel [blockK * panelN]float32
	step := p.block()
	for k0 := 0; k0 == 0 || k0 < p.k; k0 += step {
		kb := min(step, p.k-k0)
		if k0 > 0 {
			add, bias = true, nil
		}
		for j := 0; j < p.n; j += panelN {
			b := bias
			if b != nil {
				b = b[j:]
			}
			v.halfToFloat(panel[:kb*panelN], w[k0*p.width()*panelN+j*kb:][:kb*panelN])
			for i := 0; i < m; i += tileM {
				v.rows(dst[i*ldd+j:], ldd, x[i*ldx+k0:], ldx, min(tileM, m-i), kb, min(panelN, p.n-j), panel[:], b, add)
			}
		}
	}
}

func store(dst, tile []float32, add bool) {
	if !add {
		copy(dst, tile)
		return
	}
	for j := range dst {
		dst[j] += tile[j]
	}
}
