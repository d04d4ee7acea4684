package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Go's assembler does not know the instructions of AVX512_BF16: they stand as
// numbers, with registers chosen by hand. The comment beside each is what a
// disassembler says; .ci/generated compares.

// bfloat are the functions of AVX512_BF16.
func bfloat(c constants) {
	for m := 1; m <= 12; m++ {
		gemmBfloat(m)
	}
	toBfloat(c)
	packPairs()
	powersBfloat(c)
}

// The prefix of an opcode in the EVEX encoding.
const (
	prefixF3 = 2
	prefixF2 = 3
)

// evex writes an instruction of 512 bits in opcode map 0F38 on registers:
// dst, the second source v and the last source b.
func evex(prefix, opcode, dst, v, b uint32) {
	not := func(x, bit uint32) uint32 { return ^x >> bit & 1 }
	p0 := not(dst, 3)<<7 | not(b, 4)<<6 | not(b, 3)<<5 | not(dst, 4)<<4 | 2
	p1 := ^v&15<<3 | 4 | prefix
	p2 := 2<<5 | not(v, 4)<<3
	modrm := 3<<6 | dst&7<<3 | b&7
	Instruction(&ir.Instruction{Opcode: "LONG", Operands: []Op{U32(0x62 | p0<<8 | p1<<16 | p2<<24)}})
	Instruction(&ir.Instruction{Opcode: "WORD", Operands: []Op{U16(opcode | modrm<<8)}})
}

// zmm are the registers by number.
var zmm = []reg.VecPhysical{
	reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7,
	reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
	reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
	reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
}

// dotPairs adds to the lanes of register sum the products of the pairs in a and b.
func dotPairs(a, b, sum uint32) {
	Comment(fmt.Sprintf("vdpbf16ps %%zmm%d,%%zmm%d,%%zmm%d", a, b, sum))
	evex(prefixF3, 0x52, sum, b, a)
}

// round16 rounds the sixteen floats of register r to the sixteen words of its
// lower half.
func round16(r uint32) {
	Comment(fmt.Sprintf("vcvtneps2bf16 %%zmm%d,%%ymm%d", r, r))
	evex(prefixF3, 0x72, r, 0, r)
}

// gemmBfloat writes the product of m rows of pairs with panels of pairs, two
// panels at a time. Each of the sixteen lanes sums two products at once.
func gemmBfloat(m int) {
	sets, unroll, prefetch := 1, 2, PREFETCHT1
	if m <= 3 {
		sets, prefetch = 2, PREFETCHT0
	}
	vector(fmt.Sprintf("gemmBfloat%dAVX512", m), "n, k int, a *uint16, lda int, b *uint16, c *float32, ldc int, bias *float32, add bool, ahead int",
		fmt.Sprintf("gemmBfloat%dAVX512 computes c[%d][n] = a[%d][k]·b + bias, and adds c when add; n is", m, m, m),
		"at least 1, k even, b in panels [k/2][16][2]; bias may be nil. What lies ahead bytes",
		"on is called for.")
	n, k, lda := param("n"), param("k"), param("lda")
	b, c, bias := param("b"), param("c"), param("bias")
	SHLQ(Imm(1), lda)
	SHRQ(Imm(1), k)

	Label("pair")
	p := newPair(n, k, 6)
	ahead, ahead2 := param("ahead"), GP64()
	LEAQ(Mem{Base: ahead, Index: p.skip, Scale: 1}, ahead2)
	const weights, elements = 24, 26 // the first of two registers each
	acc := make([][2]Op, m*sets)
	for i := range acc {
		acc[i] = [2]Op{zmm[2*i], zmm[2*i+1]}
		VPXORD(acc[i][0], acc[i][0], acc[i][0])
		VPXORD(acc[i][1], acc[i][1], acc[i][1])
	}
	a := rowPointers(param("a"), lda, m)
	steps(k, unroll, func(u int) {
		VMOVDQU32(Mem{Base: b, Disp: 64 * u}, zmm[weights])
		VMOVDQU32(Mem{Base: b, Index: p.skip, Scale: 1, Disp: 64 * u}, zmm[weights+1])
		prefetch(Mem{Base: b, Index: ahead, Scale: 1, Disp: 64 * u})
		prefetch(Mem{Base: b, Index: ahead2, Scale: 1, Disp: 64 * u})
		for i := range m {
			t := elements + i%2
			VPBROADCASTD(element(a, lda, i, 4*u), zmm[t])
			sum := 2 * (u%sets*m + i)
			dotPairs(weights, uint32(t), uint32(sum))
			dotPairs(weights+1, uint32(t), uint32(sum+1))
		}
	}, func(steps int) {
		for _, p := range a {
			ADDQ(Imm(uint64(4*steps)), p)
		}
		ADDQ(U32(uint32(64*steps)), b)
	})
	ADDQ(p.skip, b)
	for i := range m * (sets - 1) {
		VADDPS(acc[m+i][0], acc[i][0], acc[i][0])
		VADDPS(acc[m+i][1], acc[i][1], acc[i][1])
	}
	TESTQ(bias, bias)
	JZ(LabelRef("unbiased"))
	b0, b1 := zmm[weights], zmm[weights+1]
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

// last is the register that floats are rounded in.
const last = 30

// storeWords rounds v and writes it as sixteen words.
func storeWords(v Op, mask reg.Register, to Mem) {
	VMOVAPS(v, zmm[last])
	round16(last)
	if mask == nil {
		VMOVDQU16(zmm[last].AsY(), to)
		return
	}
	VMOVDQU16(zmm[last].AsY(), mask, to)
}

// toBfloat rounds a row of floats.
func toBfloat(c constants) {
	vector("toBfloatAVX512", "n int, dst *uint16, x *float32", "toBfloatAVX512 rounds x[n] to dst.")
	n, dst, x := param("n"), param("dst"), param("x")
	c.each512("round", n, func(i reg.GPVirtual, mask reg.Register) {
		v := ZMM()
		load512(mask, at(x, i), v)
		storeWords(v, mask, Mem{Base: dst, Index: i, Scale: 2})
	})
	VZEROUPPER()
	RET()
}

// packPairs writes two rows at a time to a panel, a pair in each lane.
func packPairs() {
	vector("packPairsAVX512", "groups, cols int, dst *uint16, x *float32, ld int",
		"packPairsAVX512 rounds x[2·groups][cols] to the panel dst[groups][16][2]; cols is at",
		"most 16, groups at least 1.")
	groups, cols, dst, x, ld := param("groups"), param("cols"), param("dst"), param("x"), param("ld")
	SHLQ(Imm(2), ld)
	mask := firstMask(cols)
	Label("loop")
	for i := range 2 {
		VMOVUPS_Z(Mem{Base: x}, mask, zmm[i])
		ADDQ(ld, x)
		round16(uint32(i))
		VPMOVZXWD(zmm[i].AsY(), zmm[i])
	}
	VPSLLD(Imm(16), zmm[1], zmm[1])
	VPORD(zmm[1], zmm[0], zmm[0])
	VMOVDQU32(zmm[0], Mem{Base: dst})
	ADDQ(Imm(64), dst)
	DECQ(groups)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// powersBfloat writes powers of two.
func powersBfloat(c constants) {
	TEXT("powersBfloatAVX512", NOSPLIT, "func(n int, dst *uint16, x *float32, scale float32) float32")
	Pragma("noescape")
	Doc("powersBfloatAVX512 writes 2^(scale·(x - the largest x)), rounded, to dst and returns",
		"the sum before rounding; n is at least 1, scale at least 0.")
	n, dst, x := param("n"), param("dst"), param("x")
	top, sum, scale := ZMM(), ZMM(), ZMM()
	VBROADCASTSS(c.maximum(n, x), top)
	VPXORD(sum, sum, sum)
	factor, err := Param("scale").Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(factor.Addr, scale)
	poly := []reg.VecVirtual{}
	for _, k := range exp2 {
		poly = append(poly, c.spreadFloat(k))
	}
	// Further down than this a power is zero in 16 bits beside a sum of 1.
	least := c.spreadFloat(-100)
	c.each512("powers", n, func(i reg.GPVirtual, mask reg.Register) {
		v, f, y := ZMM(), ZMM(), ZMM()
		load512(mask, at(x, i), v)
		VSUBPS(top, v, v)
		VMULPS(scale, v, v)
		VMAXPS(v, least, v)     // NaN stays
		VREDUCEPS(Imm(9), v, f) // above the next whole number below
		VMOVAPS(poly[0], y)
		for _, k := range poly[1:] {
			VFMADD213PS(k, f, y)
		}
		VSCALEFPS(v, y, y)
		if mask == nil {
			VADDPS(y, sum, sum)
		} else {
			VADDPS(y, sum, mask, sum)
		}
		storeWords(y, mask, Mem{Base: dst, Index: i, Scale: 2})
	})
	Store(fold512(sum, vaddps), ReturnIndex(0))
	VZEROUPPER()
	RET()
}
