package neon

import "fmt"

// gemm writes the product of m rows with whole panels of 16 columns. Four
// elements of each row are loaded at once and multiplied by lane, so that six
// rows leave two registers for b. With few rows the steps of k are summed
// apart, or each addition would wait for the one before.
func (a *assembly) gemm(m int, half bool) {
	name, elem := fmt.Sprintf("gemm%dNEON", m), "float32"
	if half {
		name, elem = fmt.Sprintf("gemmHalf%dNEON", m), "uint16"
	}
	sets := 1
	switch m {
	case 1:
		sets = 4
	case 2, 3:
		sets = 2
	}
	a.function(name, "width int, k int, a *float32, lda int, b *"+elem+", c *float32, ldc int, bias *float32, add bool", "",
		fmt.Sprintf("%s computes c[%d][16·width] = a[%d][k]·b + bias, and adds c when add;", name, m, m),
		"b is width panels [k][16], bias may be nil.")
	width, k := a.param("width"), a.param("k")
	first, lda := a.param("a"), a.bytes(a.param("lda"))
	b := a.param("b")
	c, ldc := a.param("c"), a.bytes(a.param("ldc"))
	bias := a.param("bias")
	rows := make([]gp, m)
	for i := range rows {
		rows[i] = a.gp()
	}
	left := a.gp()

	acc := make([][]vec, m*sets)
	for i := range acc {
		acc[i] = a.vecN(4)
	}
	x := a.vecN(m)
	w := a.vecN(min(8, 32-len(acc)*4-m) &^ 1)

	a.label("panel")
	for _, r := range acc {
		for _, v := range r {
			a.zero(v)
		}
	}
	a.op("MOVD R%d, R%d", first, rows[0])
	for i := 1; i < m; i++ {
		a.op("ADD R%d, R%d, R%d", lda, rows[i-1], rows[i])
	}
	pair := 0
	step := func(lane int) {
		for j := range 2 {
			w0, w1 := w[pair], w[pair+1]
			pair = (pair + 2) % len(w)
			if half {
				a.next(w0, b, 4)
				a.widenHigh(w1, w0)
				a.widen(w0, w0)
			} else {
				a.nextPair(w0, w1, b)
			}
			for i := range m {
				sums := acc[lane%sets*m+i]
				a.fmaLane(sums[2*j], w0, x[i], lane)
				a.fmaLane(sums[2*j+1], w1, x[i], lane)
			}
		}
	}
	a.op("MOVD R%d, R%d", k, left)
	a.loop("steps", left, 4, func() {
		for i, r := range rows {
			a.next(x[i], r, 4)
		}
		for lane := range 4 {
			step(lane)
		}
	})
	a.loop("step", left, 1, func() {
		for i, r := range rows {
			a.next(x[i], r, 1)
		}
		step(0)
	})

	for n := sets / 2; n > 0; n /= 2 {
		for i := range n * m {
			for j := range 4 {
				a.add(acc[i][j], acc[i][j], acc[n*m+i][j])
			}
		}
	}
	a.op("CBZ R%d, unbiased", bias)
	for j := range 2 {
		a.nextPair(w[0], w[1], bias)
		for _, r := range acc[:m] {
			a.add(r[2*j], r[2*j], w[0])
			a.add(r[2*j+1], r[2*j+1], w[1])
		}
	}
	a.label("unbiased")
	row := left
	a.op("MOVBU %s, R%d", a.frame("add"), row)
	a.op("CBZ R%d, store", row)
	a.op("MOVD R%d, R%d", c, row)
	for _, r := range acc[:m] {
		for j := range 2 {
			a.op("FLDPQ %d(R%d), (F%d, F%d)", 32*j, row, w[0], w[1])
			a.add(r[2*j], r[2*j], w[0])
			a.add(r[2*j+1], r[2*j+1], w[1])
		}
		a.op("ADD R%d, R%d", ldc, row)
	}
	a.label("store")
	a.op("MOVD R%d, R%d", c, row)
	for _, r := range acc[:m] {
		for j := range 2 {
			a.op("FSTPQ (F%d, F%d), %d(R%d)", r[2*j], r[2*j+1], 32*j, row)
		}
		a.op("ADD R%d, R%d", ldc, row)
	}
	a.op("ADD $64, R%d", c)
	a.op("SUB $1, R%d", width)
	a.op("CBNZ R%d, panel", width)
	a.op("RET")
}

// dots writes the inner products of one row with many, four at a time; k is
// a multiple of eight.
func (a *assembly) dots() {
	a.function("dotsNEON", "groups int, k int, dst *float32, a *float32, b *float32, ldb int, scale float32", "",
		"dotsNEON computes dst[4·groups] = scale · b[4·groups][k] · a[k]; groups is at least 1,",
		"k a multiple of 8.")
	groups, k := a.param("groups"), a.param("k")
	dst, x, b := a.param("dst"), a.param("a"), a.param("b")
	ldb := a.bytes(a.param("ldb"))
	scale := a.paramAll("scale")
	at, left := a.gp(), a.gp()
	rows := []gp{a.gp(), a.gp(), a.gp(), a.gp()}
	acc := [][]vec{a.vecN(2), a.vecN(2), a.vecN(2), a.vecN(2)}
	x0, x1 := a.vec(), a.vec()
	w := a.vecN(8)
	a.label("group")
	a.op("MOVD R%d, R%d", x, at)
	for i, r := range rows {
		a.op("MOVD R%d, R%d", b, r)
		a.op("ADD R%d, R%d", ldb, b)
		a.zero(acc[i][0])
		a.zero(acc[i][1])
	}
	a.op("MOVD R%d, R%d", k, left)
	a.loop("eight", left, 8, func() {
		a.nextPair(x0, x1, at)
		for i, r := range rows {
			a.nextPair(w[2*i], w[2*i+1], r)
			a.fma(acc[i][0], x0, w[2*i])
			a.fma(acc[i][1], x1, w[2*i+1])
		}
	})
	for _, s := range acc {
		a.add(s[0], s[0], s[1])
	}
	a.addPairs(x0, acc[0][0], acc[1][0])
	a.addPairs(x1, acc[2][0], acc[3][0])
	a.addPairs(x0, x0, x1)
	a.mul(x0, x0, scale)
	a.put(x0, dst, 4)
	a.op("SUB $1, R%d", groups)
	a.op("CBNZ R%d, group", groups)
	a.op("RET")
}

// mix writes the sum of rows of b, weighted by a, in blocks of 64 columns and
// then of eight.
func (a *assembly) mix() {
	a.function("mixNEON", "k int, n int, dst *float32, a *float32, b *float32, ldb int", "",
		"mixNEON computes dst[n] = a[k] · b[k][n]; n is a multiple of 8.")
	k, n := a.param("k"), a.param("n")
	dst, first, b := a.param("dst"), a.param("a"), a.param("b")
	ldb := a.bytes(a.param("ldb"))
	at, row, left := a.gp(), a.gp(), a.gp()
	acc, w, x := a.vecN(16), a.vecN(8), a.vec()
	block := func(label string, vectors int) {
		a.loop(label, n, 4*vectors, func() {
			for _, v := range acc[:vectors] {
				a.zero(v)
			}
			a.op("MOVD R%d, R%d", first, at)
			a.op("MOVD R%d, R%d", b, row)
			a.op("MOVD R%d, R%d", k, left)
			a.loop(label+"row", left, 1, func() {
				a.next(x, at, 1)
				for j := 0; j < vectors; j += 2 {
					w0, w1 := w[j%8], w[j%8+1]
					a.op("FLDPQ %d(R%d), (F%d, F%d)", 16*j, row, w0, w1)
					a.fmaLane(acc[j], w0, x, 0)
					a.fmaLane(acc[j+1], w1, x, 0)
				}
				a.op("ADD R%d, R%d", ldb, row)
			})
			for j := 0; j < vectors; j += 2 {
				a.putPair(acc[j], acc[j+1], dst)
			}
			a.op("ADD $%d, R%d", 16*vectors, b)
		})
	}
	block("wide", 16)
	block("narrow", 2)
	a.op("RET")
}

// packRows writes the transposition of 16 rows into a panel, four columns at
// a time.
func (a *assembly) packRows() {
	a.function("packRowsNEON", "groups int, dst *float32, src *float32, ld int, scale float32", "",
		"packRowsNEON writes scale times the first 4·groups columns of 16 rows of src to",
		"dst[4·groups][16]; groups is at least 1.")
	groups, dst, src := a.param("groups"), a.param("dst"), a.param("src")
	ld := a.bytes(a.param("ld"))
	scale := a.paramAll("scale")
	at := a.gp()
	rows, even, odd := a.vecN(16), a.vecN(2), a.vecN(2)
	a.label("group")
	a.op("MOVD R%d, R%d", src, at)
	for _, v := range rows {
		a.load(v, at, 4)
		a.op("ADD R%d, R%d", ld, at)
	}
	for i := 0; i < 16; i += 4 {
		r := rows[i : i+4]
		for j := range 2 {
			a.transpose(1, "S4", even[j], r[2*j], r[2*j+1])
			a.transpose(2, "S4", odd[j], r[2*j], r[2*j+1])
		}
		a.transpose(1, "D2", r[0], even[0], even[1])
		a.transpose(1, "D2", r[1], odd[0], odd[1])
		a.transpose(2, "D2", r[2], even[0], even[1])
		a.transpose(2, "D2", r[3], odd[0], odd[1])
		for _, v := range r {
			a.mul(v, v, scale)
		}
	}
	for column := range 4 {
		for i := column; i < 16; i += 8 {
			a.putPair(rows[i], rows[i+4], dst)
		}
	}
	a.op("ADD $16, R%d", src)
	a.op("SUB $1, R%d", groups)
	a.op("CBNZ R%d, group", groups)
	a.op("RET")
}
