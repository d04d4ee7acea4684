package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// pair is a round of a kernel that takes two panels at a time.
type pair struct {
	// one and two are the masks of the columns of the panels.
	one, two reg.OpmaskVirtual
	// skip leads from one panel to the next. It is zero where there is no
	// second panel: the first is taken twice then, and nothing is stored.
	skip reg.GPVirtual
}

// newPair starts a round for n columns; a panel takes k << shift bytes.
func newPair(n, k reg.GPVirtual, shift uint64) pair {
	p := pair{K(), K(), GP64()}
	wide, ones := GP64(), GP64()
	MOVQ(U32(32), wide)
	CMPQ(n, wide)
	CMOVQLT(n, wide)
	MOVQ(I32(-1), ones)
	BZHIL(wide.As32(), ones.As32(), wide.As32())
	KMOVW(wide.As32(), p.one)
	SHRL(Imm(16), wide.As32())
	KMOVW(wide.As32(), p.two)
	XORQ(p.skip, p.skip)
	CMPQ(n, Imm(16))
	JLE(LabelRef("single"))
	MOVQ(k, p.skip)
	SHLQ(Imm(shift), p.skip)
	Label("single")
	return p
}

// store adds c to the sums of rows if told to, and writes them to c.
func (p pair) store(sums [][2]Op, c, ldc reg.GPVirtual) {
	row := GP64()
	add := Load(Param("add"), GP8())
	TESTB(add, add)
	JZ(LabelRef("store"))
	MOVQ(c, row)
	for _, s := range sums {
		VADDPS(Mem{Base: row}, s[0], p.one, s[0])
		VADDPS(Mem{Base: row, Disp: 64}, s[1], p.two, s[1])
		ADDQ(ldc, row)
	}
	Label("store")
	MOVQ(c, row)
	for _, s := range sums {
		VMOVUPS(s[0], p.one, Mem{Base: row})
		VMOVUPS(s[1], p.two, Mem{Base: row, Disp: 64})
		ADDQ(ldc, row)
	}
}

// rowPointers returns pointers to every third of m rows; stride is in bytes.
func rowPointers(first, stride reg.GPVirtual, m int) []reg.GPVirtual {
	a := []reg.GPVirtual{first}
	for i := 3; i < m; i += 3 {
		p := GP64()
		LEAQ(Mem{Base: a[len(a)-1], Index: stride, Scale: 2}, p)
		ADDQ(stride, p)
		a = append(a, p)
	}
	return a
}

// element is the place disp bytes on in row i.
func element(a []reg.GPVirtual, stride reg.GPVirtual, i, disp int) Mem {
	x := Mem{Base: a[i/3], Disp: disp}
	if i%3 > 0 {
		x.Index, x.Scale = stride, uint8(i%3)
	}
	return x
}

// steps writes the loop over k, with several steps a round.
func steps(k reg.GPVirtual, unroll int, step func(u int), advance func(steps int)) {
	rounds, left := GP64(), GP64()
	MOVQ(k, rounds)
	SHRQ(Imm(map[int]uint64{2: 1, 4: 2}[unroll]), rounds)
	JZ(LabelRef("tail"))
	Label("loop")
	for u := range unroll {
		step(u)
	}
	advance(unroll)
	DECQ(rounds)
	JNZ(LabelRef("loop"))
	Label("tail")
	MOVQ(k, left)
	ANDQ(Imm(uint64(unroll-1)), left)
	JZ(LabelRef("sum"))
	Label("one")
	step(0)
	advance(1)
	DECQ(left)
	JNZ(LabelRef("one"))
	Label("sum")
}

func zeroSums(m int) [][2]Op {
	acc := make([][2]Op, m)
	for i := range acc {
		acc[i] = [2]Op{ZMM(), ZMM()}
		VPXORD(acc[i][0], acc[i][0], acc[i][0])
		VPXORD(acc[i][1], acc[i][1], acc[i][1])
	}
	return acc
}

// gemm512 writes the product of m rows with panels of 16 columns, two panels
// at a time. With few rows several steps of k are summed apart, as in gemm.
func gemm512(m int) {
	name := fmt.Sprintf("gemm%dAVX512", m)
	sets, unroll, prefetch := 1, 2, PREFETCHT1
	switch m {
	case 1:
		sets, unroll, prefetch = 4, 4, PREFETCHT0
	case 2, 3:
		sets = 2
	}
	TEXT(name, NOSPLIT, "func(n, k int, a *float32, lda int, b, c *float32, ldc int, bias *float32, add bool, ahead int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes c[%d][n] = a[%d][k]·b + bias, and adds c when add; n is at", name, m, m),
		"least 1, b in panels [k][16]; bias may be nil. What lies ahead bytes on is called for.")
	n, k, lda := param("n"), param("k"), param("lda")
	b, c := param("b"), param("c")
	bias := param("bias")
	SHLQ(Imm(2), lda)

	Label("pair")
	p := newPair(n, k, 6)
	ahead, ahead2 := param("ahead"), GP64()
	LEAQ(Mem{Base: ahead, Index: p.skip, Scale: 1}, ahead2)
	acc := zeroSums(m * sets)
	a := rowPointers(param("a"), lda, m)
	b0, b1 := ZMM(), ZMM()
	t := []reg.VecVirtual{ZMM(), ZMM()}
	steps(k, unroll, func(u int) {
		from := Mem{Base: b, Disp: 64 * u}
		VMOVUPS(from, b0)
		from.Index, from.Scale = ahead, 1
		prefetch(from)
		from.Index = p.skip
		VMOVUPS(from, b1)
		from.Index = ahead2
		prefetch(from)
		for i := range m {
			VBROADCASTSS(element(a, lda, i, 4*u), t[i%2])
			sum := acc[u%sets*m+i]
			VFMADD231PS(t[i%2], b0, sum[0])
			VFMADD231PS(t[i%2], b1, sum[1])
		}
	}, func(steps int) {
		for _, p := range a {
			ADDQ(Imm(uint64(4*steps)), p)
		}
		ADDQ(U32(uint32(64*steps)), b)
	})
	ADDQ(p.skip, b)
	for n := sets / 2; n > 0; n /= 2 {
		for i := range n * m {
			VADDPS(acc[n*m+i][0], acc[i][0], acc[i][0])
			VADDPS(acc[n*m+i][1], acc[i][1], acc[i][1])
		}
	}
	TESTQ(bias, bias)
	JZ(LabelRef("unbiased"))
	VMOVUPS_Z(Mem{Base: bias}, p.one, b0)
	VMOVUPS_Z(Mem{Base: bias, Disp: 64}, p.two, b1)
	ADDQ(U32(128), bias)
	for _, r := range acc[:m] {
		VADDPS(b0, r[0], r[0])
		VADDPS(b1, r[1], r[1])
	}
	Label("unbiased")
	ldc := param("ldc")
	SHLQ(Imm(2), ldc)
	p.store(acc[:m], c, ldc)
	ADDQ(U32(128), c)
	SUBQ(Imm(32), n)
	JG(LabelRef("pair"))
	VZEROUPPER()
	RET()
}
