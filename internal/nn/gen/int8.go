package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// int8Panel is the size of nn.int8Cols.
const int8Panel = 3 * 64

// gemmInt8 writes the product of m rows of bytes with panels of bytes, two
// panels at a time. Each of the sixteen lanes sums four products at once.
func gemmInt8(m int) {
	name := fmt.Sprintf("gemmInt8x%dVNNI", m)
	sets, unroll, prefetch := 1, 2, PREFETCHT1
	if m == 1 {
		sets, unroll, prefetch = 2, 4, PREFETCHT0
	}
	TEXT(name, NOSPLIT, "func(n, k int, a *uint8, rows *float32, b *int8, cols *float32, c *float32, ldc int, add bool, ahead int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes c[%d][n] = a[%d][k]·b and adds c when add; n is at least 1,", name, m, m),
		"k a multiple of 4, b in panels [k/4][16][4]. What lies ahead bytes on is called for.")
	n, k := param("n"), param("k")
	b, cols, c := param("b"), param("cols"), param("c")

	Label("pair")
	p := newPair(n, k, 4)
	ahead, ahead2 := param("ahead"), GP64()
	LEAQ(Mem{Base: ahead, Index: p.skip, Scale: 1}, ahead2)
	acc := zeroSums(m * sets)
	a := rowPointers(param("a"), k, m)
	b0, b1 := ZMM(), ZMM()
	t := []reg.VecVirtual{ZMM(), ZMM()}
	groups := GP64()
	MOVQ(k, groups)
	SHRQ(Imm(2), groups)
	steps(groups, unroll, func(u int) {
		VMOVDQU32(Mem{Base: b, Disp: 64 * u}, b0)
		VMOVDQU32(Mem{Base: b, Index: p.skip, Scale: 1, Disp: 64 * u}, b1)
		prefetch(Mem{Base: b, Index: ahead, Scale: 1, Disp: 64 * u})
		prefetch(Mem{Base: b, Index: ahead2, Scale: 1, Disp: 64 * u})
		for i := range m {
			VPBROADCASTD(element(a, k, i, 4*u), t[i%2])
			sum := acc[u%sets*m+i]
			VPDPBUSD(b0, t[i%2], sum[0])
			VPDPBUSD(b1, t[i%2], sum[1])
		}
	}, func(steps int) {
		for _, p := range a {
			ADDQ(Imm(uint64(4*steps)), p)
		}
		ADDQ(U32(uint32(64*steps)), b)
	})
	ADDQ(p.skip, b)
	for i := range m * (sets - 1) {
		VPADDD(acc[m+i][0], acc[i][0], acc[i][0])
		VPADDD(acc[m+i][1], acc[i][1], acc[i][1])
	}
	// To floats: sum·step·(the row's step) + (the row's least)·(sum of the
	// weights) + bias.
	next, panel := GP64(), GP64()
	XORQ(next, next)
	MOVQ(U32(int8Panel), panel)
	TESTQ(p.skip, p.skip)
	CMOVQNE(panel, next)
	rows := param("rows")
	for h := range 2 {
		at := Mem{Base: cols}
		if h == 1 {
			at.Index, at.Scale = next, 1
		}
		VMOVUPS(at, b0)
		VMOVUPS(at.Offset(64), b1)
		for i := range m {
			sum := acc[i][h]
			VMOVUPS(at.Offset(128), t[i%2])
			VFMADD231PS_BCST(Mem{Base: rows, Disp: 8*i + 4}, b1, t[i%2])
			VCVTDQ2PS(sum, sum)
			VMULPS(b0, sum, sum)
			VFMADD132PS_BCST(Mem{Base: rows, Disp: 8 * i}, t[i%2], sum)
		}
	}
	ldc := param("ldc")
	SHLQ(Imm(2), ldc)
	p.store(acc[:m], c, ldc)
	ADDQ(U32(2*int8Panel), cols)
	ADDQ(U32(128), c)
	SUBQ(Imm(32), n)
	JG(LabelRef("pair"))
	VZEROUPPER()
	RET()
}

// toBytes writes a row of floats in steps above its least, whole numbers of
// one byte or of two.
func toBytes(c constants, two bool) {
	steps := 255.0
	if two {
		steps = 65535
		TEXT("toWordsAVX512", NOSPLIT, "func(n int, high, low *uint8, x *float32) (step, least float32)")
		Doc("toWordsAVX512 writes x[n] in steps above its least element to high and low; n is at", "least 1.")
	} else {
		TEXT("toBytesAVX512", NOSPLIT, "func(n int, low *uint8, x *float32) (step, least float32)")
		Doc("toBytesAVX512 writes x[n] in steps above its least element to low; n is at least 1.")
	}
	Pragma("noescape")
	n, low, x := param("n"), param("low"), param("x")
	var high reg.GPVirtual
	if two {
		high = param("high")
	}
	first := ZMM()
	VBROADCASTSS(Mem{Base: x}, first)
	var lo, hi, sum [2]reg.VecVirtual
	for i := range 2 {
		lo[i], hi[i], sum[i] = ZMM(), ZMM(), ZMM()
		VMOVAPS(first, lo[i])
		VMOVAPS(first, hi[i])
		VPXORD(sum[i], sum[i], sum[i])
	}
	p, left := GP64(), GP64()
	MOVQ(x, p)
	MOVQ(n, left)
	Label("wide")
	CMPQ(left, Imm(32))
	JLT(LabelRef("narrow"))
	for i := range 2 {
		v := ZMM()
		VMOVUPS(Mem{Base: p, Disp: 64 * i}, v)
		VMINPS(v, lo[i], lo[i])
		VMAXPS(v, hi[i], hi[i])
		VADDPS(v, sum[i], sum[i])
	}
	ADDQ(U32(128), p)
	SUBQ(Imm(32), left)
	JMP(LabelRef("wide"))
	Label("narrow")
	c.each512("range", left, func(i reg.GPVirtual, mask reg.Register) {
		v := ZMM()
		if mask == nil {
			VMOVUPS(at(p, i), v)
		} else {
			VMOVAPS(first, v)
			VMOVUPS(at(p, i), mask, v)
		}
		VMINPS(v, lo[0], lo[0])
		VMAXPS(v, hi[0], hi[0])
		VADDPS(v, sum[0], sum[0])
	})
	VMINPS(lo[1], lo[0], lo[0])
	VMAXPS(hi[1], hi[0], hi[0])
	VADDPS(sum[1], sum[0], sum[0])
	bottom, top, total := fold512(lo[0], vminps), fold512(hi[0], vmaxps), fold512(sum[0], vaddps)

	// spread, or zero where it is too small to be divided by.
	spread, inverse, t := XMM(), XMM(), XMM()
	VSUBSS(bottom, top, spread)
	VMOVSS(c.float(1e-30), t)
	VCMPSS(Imm(0x11), t, spread, t) // less than, quiet
	VANDNPS(spread, t, spread)
	VMOVSS(c.float(steps), inverse)
	VDIVSS(spread, inverse, inverse)
	// A division by zero is infinite, and without use: every difference is zero then.
	VXORPS(t, t, t)
	VCMPSS(Imm(0x1e), t, spread, t) // greater than, quiet
	VANDPS(inverse, t, inverse)
	VMULSS(c.float(1/steps), spread, spread)
	Store(spread, ReturnIndex(0))
	// Zero times a sum that is not finite is NaN.
	VXORPS(t, t, t)
	VFMADD213SS(bottom, t, total)
	Store(total, ReturnIndex(1))

	least, factor := ZMM(), ZMM()
	VBROADCASTSS(bottom, least)
	VBROADCASTSS(inverse, factor)
	c.each512("bytes", n, func(i reg.GPVirtual, mask reg.Register) {
		v := ZMM()
		load512(mask, at(x, i), v)
		VSUBPS(least, v, v)
		VMULPS(factor, v, v)
		VCVTPS2DQ(v, v)
		narrow(v, mask, Mem{Base: low, Index: i, Scale: 1})
		if two {
			VPSRLD(Imm(8), v, v)
			narrow(v, mask, Mem{Base: high, Index: i, Scale: 1})
		}
	})
	VZEROUPPER()
	RET()
}
