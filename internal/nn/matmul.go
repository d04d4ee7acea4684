package nn

const (
	// packM is the least number of rows for which packing b pays.
	packM = 6
	// packK and packSize are the columns and the elements that are packed at
	// once; 64 kB lie on the stack.
	packK    = 256
	packSize = 16 << 10
)

// MatMul computes dst[m][n] = a[m][k] · b[k][n].
func MatMul(dst []float32, ldd int, a []float32, lda int, b []float32, ldb int, m, k, n int) {
	check(covers(dst, ldd, m, n) && covers(a, lda, m, k) && covers(b, ldb, k, n), "MatMul")
	active.matMul(dst, ldd, a, lda, b, ldb, m, k, n)
}

// MatMulT computes dst[m][n] = scale · a[m][k] · b[n][k]ᵀ.
func MatMulT(dst []float32, ldd int, a []float32, lda int, b []float32, ldb int, m, k, n int, scale float32) {
	check(covers(dst, ldd, m, n) && covers(a, lda, m, k) && covers(b, ldb, n, k), "MatMulT")
	active.matMulT(dst, ldd, a, lda, b, ldb, m, k, n, scale)
}

func (v isa) matMul(dst []float32, ldd int, a []float32, lda int, b []float32, ldb int, m, k, n int) {
	if n == 0 {
		return
	}
	if m < packM || k == 0 {
		for i := range m {
			v.mix(dst[i*ldd:i*ldd+n], a[i*lda:i*lda+k], b, ldb, k, n)
		}
		return
	}
	var buf [packSize]float32
	p := blocks(k, n)
	for k0 := 0; k0 < k; k0 += p.k {
		kb := min(p.k, k-k0)
		for j := 0; j < n; j += p.n {
			cols := min(p.n, n-j)
			packCols(buf[:], b[k0*ldb+j:], ldb, kb, cols)
			v.tiles(dst[j:], ldd, a[k0:], lda, m, kb, cols, weights{full: buf[:]}, nil, k0 > 0)
		}
	}
}

func (v isa) matMulT(dst []float32, ldd int, a []float32, lda int, b []float32, ldb int, m, k, n int, scale float32) {
	if m < packM || k == 0 {
		for i := range m {
			v.dots(dst[i*ldd:i*ldd+n], a[i*lda:i*lda+k], b, ldb, k, n, scale)
		}
		return
	}
	var buf [packSize]float32
	p := blocks(k, n)
	for k0 := 0; k0 < k; k0 += p.k {
		kb := min(p.k, k-k0)
		for j := 0; j < n; j += p.n {
			cols := min(p.n, n-j)
			v.packT(buf[:], b[j*ldb+k0:], ldb, cols, kb, scale)
			v.tiles(dst[j:], ldd, a[k0:], lda, m, kb, cols, weights{full: buf[:]}, nil, k0 > 0)
		}
	}
}

// blocks returns the shape of b's part that is packed at once.
func blocks(k, n int) panels {
	count := (k + packK - 1) / packK
	k = (k + count - 1) / count
	return panels{k: k, n: min(packSize/k, n+panelN-1) / panelN * panelN}
}

// packCols lays b[k][n] out as panels.
func packCols(dst, b []float32, ldb, k, n int) {
	for j := 0; j < n; j += panelN {
		cols := min(panelN, n-j)
		panel := dst[j*k:][:k*panelN]
		if cols < panelN {
			clear(panel)
		}
		for q := range k {
			copy(panel[q*panelN:], b[q*ldb+j:][:cols])
		}
	}
}

// packT lays scale · b[n][k] out as panels.
func (v isa) packT(dst, b []float32, ldb, n, k int, scale float32) {
	for j := 0; j < n; j += panelN {
		v.packRows(dst[j*k:][:k*panelN], b[j*ldb:], ldb, min(panelN, n-j), k, scale)
	}
}
