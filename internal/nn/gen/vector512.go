package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func avx512(c constants) {
	for m := 1; m <= 12; m++ {
		gemm512(m)
	}
	for m := 1; m <= 14; m++ {
		gemmInt8(m)
	}
	toBytes(c, false)
	toBytes(c, true)
	toSigned(c)
	columnMax(c)
	packBytes(c)
	powers(c)
	softmax512(c)
	gelu512(c)
	layerNorm512(c)
}

func vminps(a, b, c Op) { VMINPS(a, b, c) }

// fold512 reduces the lanes of v with op to the first lane of the result.
func fold512(v reg.VecVirtual, op func(a, b, c Op)) reg.VecVirtual {
	half := YMM()
	VEXTRACTF64X4(Imm(1), v, half)
	op(half, v.AsY(), half)
	quarter := XMM()
	VEXTRACTF128(Imm(1), half, quarter)
	op(quarter, half.AsX(), quarter)
	t := XMM()
	VPERMILPS(Imm(0x4e), quarter, t)
	op(t, quarter, quarter)
	VPERMILPS(Imm(0xb1), quarter, t)
	op(t, quarter, quarter)
	return quarter
}

// each512 writes a loop over n elements: body for each sixteen, with a nil
// mask, and once with the mask of those that are left. The index counts
// elements.
func (c constants) each512(label string, n reg.GPVirtual, body func(index reg.GPVirtual, mask reg.Register)) {
	i, end, rest := GP64(), GP64(), GP64()
	XORQ(i, i)
	MOVQ(n, end)
	ANDQ(I8(-16), end)
	MOVQ(n, rest)
	ANDQ(Imm(15), rest)
	Label(label + "loop")
	CMPQ(i, end)
	JGE(LabelRef(label + "tail"))
	body(i, nil)
	ADDQ(Imm(16), i)
	JMP(LabelRef(label + "loop"))
	Label(label + "tail")
	TESTQ(rest, rest)
	JZ(LabelRef(label + "done"))
	ones, mask := GP64(), K()
	MOVQ(I32(-1), ones)
	BZHIL(rest.As32(), ones.As32(), ones.As32())
	KMOVW(ones.As32(), mask)
	body(i, mask)
	Label(label + "done")
}
