package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// rowsOf addresses rows ld bytes apart: from base, and from base + 3·ld.
type rowsOf struct{ base, third, ld reg.GPVirtual }

func newRows(base, ld reg.GPVirtual) rowsOf {
	r := rowsOf{base, GP64(), ld}
	SHLQ(Imm(2), ld)
	LEAQ(Mem{Base: base, Index: ld, Scale: 2}, r.third)
	ADDQ(ld, r.third)
	return r
}

func (r rowsOf) at(i int) Mem {
	base := r.base
	if i >= 3 {
		base = r.third
	}
	if i%3 == 0 {
		return Mem{Base: base}
	}
	return Mem{Base: base, Index: r.ld, Scale: uint8(i % 3)}
}

func (r rowsOf) next() {
	ADDQ(Imm(32), r.base)
	ADDQ(Imm(32), r.third)
}

// winograd writes the two transformations of F(4, 3) around the products.
func winograd(c constants) {
	const signature = "blocks int, dst *float32, ldd int, x *float32, ldx int"
	vector("winogradInAVX2", signature, "winogradInAVX2 makes six rows of 8·blocks elements of six.")
	blocks := param("blocks")
	dst := newRows(param("dst"), param("ldd"))
	x := newRows(param("x"), param("ldx"))
	four, five, two := YMM(), YMM(), YMM()
	VMOVUPS(c.float(4), four)
	VMOVUPS(c.float(5), five)
	VMOVUPS(c.float(2), two)
	Label("loop")
	var d [6]reg.VecVirtual
	for i := range d {
		d[i] = YMM()
		VMOVUPS(x.at(i), d[i])
	}
	a, b := YMM(), YMM()
	VFMADD213PS(d[4], four, d[0]) // 4·d0 + d4
	VFNMADD231PS(d[2], five, d[0])
	VMOVUPS(d[0], dst.at(0))
	VFMADD231PS(d[1], four, d[5]) // 4·d1 + d5
	VFNMADD231PS(d[3], five, d[5])
	VMOVUPS(d[5], dst.at(5))
	VADDPS(d[4], d[3], a)
	VADDPS(d[2], d[1], b)
	VFNMADD231PS(b, four, a)
	VMOVUPS(a, dst.at(1))
	VSUBPS(d[3], d[4], a)
	VSUBPS(d[2], d[1], b)
	VFMADD231PS(b, four, a)
	VMOVUPS(a, dst.at(2))
	VSUBPS(d[2], d[4], a)
	VSUBPS(d[1], d[3], b)
	VMOVAPS(a, d[0])
	VFMADD231PS(b, two, a)
	VMOVUPS(a, dst.at(3))
	VFNMADD231PS(b, two, d[0])
	VMOVUPS(d[0], dst.at(4))
	x.next()
	dst.next()
	DECQ(blocks)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()

	vector("winogradOutAVX2", signature, "winogradOutAVX2 makes four rows of 8·blocks elements of six.")
	blocks = param("blocks")
	dst = newRows(param("dst"), param("ldd"))
	x = newRows(param("x"), param("ldx"))
	eight := YMM()
	four, two = YMM(), YMM()
	VMOVUPS(c.float(4), four)
	VMOVUPS(c.float(8), eight)
	VMOVUPS(c.float(2), two)
	Label("loop")
	m1, m2, m3, m4 := YMM(), YMM(), YMM(), YMM()
	sum, diff, far, apart, y := YMM(), YMM(), YMM(), YMM(), YMM()
	VMOVUPS(x.at(1), m1)
	VMOVUPS(x.at(2), m2)
	VMOVUPS(x.at(3), m3)
	VMOVUPS(x.at(4), m4)
	VADDPS(m2, m1, sum)
	VSUBPS(m2, m1, diff)
	VADDPS(m4, m3, far)
	VSUBPS(m4, m3, apart)
	VADDPS(x.at(0), sum, y)
	VADDPS(far, y, y)
	VMOVUPS(y, dst.at(0))
	VADDPS(x.at(5), diff, y)
	VFMADD231PS(apart, eight, y)
	VMOVUPS(y, dst.at(3))
	VFMADD231PS(apart, two, diff)
	VMOVUPS(diff, dst.at(1))
	VFMADD231PS(far, four, sum)
	VMOVUPS(sum, dst.at(2))
	x.next()
	dst.next()
	DECQ(blocks)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
