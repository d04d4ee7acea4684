package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// gemm writes the product of m rows with whole panels of 16 columns. With few
// rows several steps of k are summed apart, or each addition would wait for
// the one before: two units with a latency of four want eight sums.
func gemm(m int, half bool) {
	name, elem, size := fmt.Sprintf("gemm%dAVX2", m), "float32", 4
	if half {
		name, elem, size = fmt.Sprintf("gemmHalf%dAVX2", m), "uint16", 2
	}
	sets, unroll, prefetch := 1, 2, PREFETCHT1
	switch m {
	case 1:
		sets, unroll, prefetch = 4, 4, PREFETCHT0
	case 2, 3:
		sets = 2
	case 6:
		unroll = 4
	}
	TEXT(name, NOSPLIT, "func(width, k int, a *float32, lda int, b *"+elem+", c *float32, ldc int, bias *float32, add bool, ahead int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes c[%d][16·width] = a[%d][k]·b + bias, and adds c when add;", name, m, m),
		"b is width panels [k][16], bias may be nil. What lies ahead bytes on is called for.")
	width := Load(Param("width"), GP64())
	lda := Load(Param("lda"), GP64())
	b := Load(Param("b"), GP64())
	c := Load(Param("c"), GP64())
	ldc := Load(Param("ldc"), GP64())
	bias := Load(Param("bias"), GP64())
	ahead := Load(Param("ahead"), GP64())
	SHLQ(Imm(2), lda)
	SHLQ(Imm(2), ldc)

	acc := make([][2]reg.VecVirtual, m*sets)
	for i := range acc {
		acc[i] = [2]reg.VecVirtual{YMM(), YMM()}
	}
	b0, b1 := YMM(), YMM()
	t := []reg.VecVirtual{YMM(), YMM()}

	Label("panel")
	for _, r := range acc {
		VXORPS(r[0], r[0], r[0])
		VXORPS(r[1], r[1], r[1])
	}
	// Rows 0 to 2 are reached from the first pointer, 3 to 5 from the second.
	a := []reg.Register{Load(Param("a"), GP64())}
	if m > 3 {
		p := GP64()
		LEAQ(Mem{Base: a[0], Index: lda, Scale: 2}, p)
		ADDQ(lda, p)
		a = append(a, p)
	}
	step := func(u int) {
		from := Mem{Base: b, Disp: u * 16 * size}
		if half {
			VCVTPH2PS(from, b0)
			VCVTPH2PS(from.Offset(16), b1)
		} else {
			VMOVUPS(from, b0)
			VMOVUPS(from.Offset(32), b1)
		}
		if from.Disp%64 == 0 { // once for each line
			from.Index, from.Scale = ahead, 1
			prefetch(from)
		}
		for i := range m {
			x := Mem{Base: a[i/3], Disp: u * 4}
			if i%3 > 0 {
				x.Index, x.Scale = lda, uint8(i%3)
			}
			VBROADCASTSS(x, t[i%2])
			sum := acc[u%sets*m+i]
			VFMADD231PS(t[i%2], b0, sum[0])
			VFMADD231PS(t[i%2], b1, sum[1])
		}
	}
	advance := func(steps int) {
		for _, p := range a {
			ADDQ(U32(uint32(4*steps)), p)
		}
		ADDQ(U32(uint32(16*size*steps)), b)
	}
	k, rounds := Load(Param("k"), GP64()), GP64()
	MOVQ(k, rounds)
	shift := map[int]uint64{2: 1, 4: 2}[unroll]
	SHRQ(Imm(shift), rounds)
	ANDQ(Imm(uint64(unroll-1)), k)
	TESTQ(rounds, rounds)
	JZ(LabelRef("tail"))
	Label("loop")
	for u := range unroll {
		step(u)
	}
	advance(unroll)
	DECQ(rounds)
	JNZ(LabelRef("loop"))
	Label("tail")
	TESTQ(k, k)
	JZ(LabelRef("sum"))
	Label("one")
	step(0)
	advance(1)
	DECQ(k)
	JNZ(LabelRef("one"))

	Label("sum")
	for n := sets / 2; n > 0; n /= 2 {
		for i := range n * m {
			VADDPS(acc[n*m+i][0], acc[i][0], acc[i][0])
			VADDPS(acc[n*m+i][1], acc[i][1], acc[i][1])
		}
	}
	TESTQ(bias, bias)
	JZ(LabelRef("unbiased"))
	VMOVUPS(Mem{Base: bias}, b0)
	VMOVUPS(Mem{Base: bias, Disp: 32}, b1)
	ADDQ(Imm(64), bias)
	for _, r := range acc[:m] {
		VADDPS(b0, r[0], r[0])
		VADDPS(b1, r[1], r[1])
	}
	Label("unbiased")
	row := GP64()
	add := Load(Param("add"), GP8())
	TESTB(add, add)
	JZ(LabelRef("store"))
	MOVQ(c, row)
	for i, r := range acc[:m] {
		VADDPS(Mem{Base: row}, r[0], r[0])
		VADDPS(Mem{Base: row, Disp: 32}, r[1], r[1])
		if i < m-1 {
			ADDQ(ldc, row)
		}
	}
	Label("store")
	MOVQ(c, row)
	for i, r := range acc[:m] {
		VMOVUPS(r[0], Mem{Base: row})
		VMOVUPS(r[1], Mem{Base: row, Disp: 32})
		if i < m-1 {
			ADDQ(ldc, row)
		}
	}
	ADDQ(Imm(64), c)
	DECQ(width)
	JNZ(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// dots writes the inner products of one row with many, four at a time; k is
// a multiple of eight.
func dots() {
	TEXT("dotsAVX2", NOSPLIT, "func(groups, k int, dst, a, b *float32, ldb int, scale float32)")
	Pragma("noescape")
	Doc("dotsAVX2 computes dst[4·groups] = scale · b[4·groups][k] · a[k]; groups is at least 1,",
		"k a multiple of 8.")
	groups := Load(Param("groups"), GP64())
	dst := Load(Param("dst"), GP64())
	a := Load(Param("a"), GP64())
	b := Load(Param("b"), GP64())
	ldb := Load(Param("ldb"), GP64())
	k := Load(Param("k"), GP64())
	scale := XMM()
	s, err := Param("scale").Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(s.Addr, scale)
	SHLQ(Imm(2), ldb)
	SHLQ(Imm(2), k)
	ldb3, off := GP64(), GP64()
	LEAQ(Mem{Base: ldb, Index: ldb, Scale: 2}, ldb3)

	Label("group")
	acc := []reg.VecVirtual{YMM(), YMM(), YMM(), YMM()}
	for _, r := range acc {
		VXORPS(r, r, r)
	}
	rows := []reg.Register{b, GP64(), GP64(), GP64()}
	LEAQ(Mem{Base: b, Index: ldb, Scale: 1}, rows[1])
	LEAQ(Mem{Base: b, Index: ldb, Scale: 2}, rows[2])
	LEAQ(Mem{Base: b, Index: ldb3, Scale: 1}, rows[3])
	XORQ(off, off)
	Label("loop")
	CMPQ(off, k)
	JGE(LabelRef("sum"))
	x := YMM()
	VMOVUPS(Mem{Base: a, Index: off, Scale: 1}, x)
	for i, r := range acc {
		VFMADD231PS(Mem{Base: rows[i], Index: off, Scale: 1}, x, r)
	}
	ADDQ(Imm(32), off)
	JMP(LabelRef("loop"))

	Label("sum")
	VHADDPS(acc[1], acc[0], acc[0])
	VHADDPS(acc[3], acc[2], acc[2])
	VHADDPS(acc[2], acc[0], acc[0])
	high := XMM()
	VEXTRACTF128(Imm(1), acc[0], high)
	VADDPS(high, acc[0].AsX(), high)
	VMULPS(scale, high, high)
	VMOVUPS(high, Mem{Base: dst})
	ADDQ(Imm(16), dst)
	LEAQ(Mem{Base: b, Index: ldb, Scale: 4}, b)
	DECQ(groups)
	JNZ(LabelRef("group"))
	VZEROUPPER()
	RET()
}

// mix writes the sum of rows of b, weighted by a, in blocks of 64 columns and
// then of eight.
func mix() {
	TEXT("mixAVX2", NOSPLIT, "func(k, n int, dst, a, b *float32, ldb int)")
	Pragma("noescape")
	Doc("mixAVX2 computes dst[n] = a[k] · b[k][n]; n is a multiple of 8.")
	k := Load(Param("k"), GP64())
	n := Load(Param("n"), GP64())
	dst := Load(Param("dst"), GP64())
	a := Load(Param("a"), GP64())
	b := Load(Param("b"), GP64())
	ldb := Load(Param("ldb"), GP64())
	SHLQ(Imm(2), ldb)
	block := func(label string, vectors int) {
		cols := uint32(8 * vectors)
		Label(label)
		CMPQ(n, U32(cols))
		JLT(LabelRef(label + "done"))
		acc := make([]reg.VecVirtual, vectors)
		for i := range acc {
			acc[i] = YMM()
			VXORPS(acc[i], acc[i], acc[i])
		}
		row, q := GP64(), GP64()
		MOVQ(b, row)
		XORQ(q, q)
		Label(label + "loop")
		CMPQ(q, k)
		JGE(LabelRef(label + "store"))
		x := YMM()
		VBROADCASTSS(Mem{Base: a, Index: q, Scale: 4}, x)
		for i, r := range acc {
			VFMADD231PS(Mem{Base: row, Disp: 32 * i}, x, r)
		}
		ADDQ(ldb, row)
		INCQ(q)
		JMP(LabelRef(label + "loop"))
		Label(label + "store")
		for i, r := range acc {
			VMOVUPS(r, Mem{Base: dst, Disp: 32 * i})
		}
		ADDQ(U32(4*cols), dst)
		ADDQ(U32(4*cols), b)
		SUBQ(U32(cols), n)
		JMP(LabelRef(label))
		Label(label + "done")
	}
	block("wide", 8)
	block("narrow", 1)
	VZEROUPPER()
	RET()
}

// packRows writes the transposition of 16 rows into a panel.
func packRows() {
	TEXT("packRowsAVX2", NOSPLIT, "func(groups int, dst, src *float32, ld int, scale float32)")
	Pragma("noescape")
	Doc("packRowsAVX2 writes scale times the first 8·groups columns of 16 rows of src to",
		"dst[8·groups][16]; groups is at least 1.")
	groups := Load(Param("groups"), GP64())
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	ld := Load(Param("ld"), GP64())
	SHLQ(Imm(2), ld)
	ld3 := GP64()
	LEAQ(Mem{Base: ld, Index: ld, Scale: 2}, ld3)
	s, err := Param("scale").Resolve()
	if err != nil {
		panic(err)
	}
	Label("group")
	at := GP64()
	MOVQ(src, at)
	for half := range 2 {
		var v, w [8]reg.VecVirtual
		for i := range v {
			v[i] = YMM()
			switch i % 4 {
			case 0:
				VMOVUPS(Mem{Base: at}, v[i])
			case 1:
				VMOVUPS(Mem{Base: at, Index: ld, Scale: 1}, v[i])
			case 2:
				VMOVUPS(Mem{Base: at, Index: ld, Scale: 2}, v[i])
			case 3:
				VMOVUPS(Mem{Base: at, Index: ld3, Scale: 1}, v[i])
				LEAQ(Mem{Base: at, Index: ld, Scale: 4}, at)
			}
		}
		for i := 0; i < 8; i += 2 {
			w[i], w[i+1] = YMM(), YMM()
			VUNPCKLPS(v[i+1], v[i], w[i])
			VUNPCKHPS(v[i+1], v[i], w[i+1])
		}
		for i := range 2 {
			p, q := w[4*i:], v[4*i:]
			VSHUFPS(Imm(0x44), p[2], p[0], q[0])
			VSHUFPS(Imm(0xee), p[2], p[0], q[1])
			VSHUFPS(Imm(0x44), p[3], p[1], q[2])
			VSHUFPS(Imm(0xee), p[3], p[1], q[3])
		}
		factor := w[0]
		VBROADCASTSS(s.Addr, factor)
		for i := range 4 {
			low, high := w[1], w[2]
			VPERM2F128(Imm(0x20), v[4+i], v[i], low)
			VPERM2F128(Imm(0x31), v[4+i], v[i], high)
			VMULPS(factor, low, low)
			VMULPS(factor, high, high)
			VMOVUPS(low, Mem{Base: dst, Disp: 64*i + 32*half})
			VMOVUPS(high, Mem{Base: dst, Disp: 64*(i+4) + 32*half})
		}
	}
	ADDQ(Imm(32), src)
	ADDQ(U32(512), dst)
	DECQ(groups)
	JNZ(LabelRef("group"))
	VZEROUPPER()
	RET()
}
