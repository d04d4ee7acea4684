package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// load512 loads sixteen floats, those that the mask leaves out as zero.
func load512(mask reg.Register, from Mem, to reg.VecVirtual) {
	if mask == nil {
		VMOVUPS(from, to)
		return
	}
	VMOVUPS_Z(from, mask, to)
}

// narrow writes the low bytes of sixteen integers.
func narrow(v reg.VecVirtual, mask reg.Register, to Mem) {
	if mask == nil {
		VPMOVDB(v, to)
		return
	}
	VPMOVDB(v, mask, to)
}

func (c constants) spread(b uint32) reg.VecVirtual {
	v := ZMM()
	VPBROADCASTD(c.bits(b), v)
	return v
}

// toSigned writes a row of floats in steps either way of zero.
func toSigned(c constants) {
	TEXT("toSignedAVX512", NOSPLIT, "func(n int, dst *int8, x *float32) (step, sum float32)")
	Pragma("noescape")
	Doc("toSignedAVX512 writes x[n] in steps to dst and returns the step and the sum of dst.")
	n, dst, x := param("n"), param("dst"), param("x")
	size, hi, total := c.spread(math.MaxInt32), ZMM(), ZMM()
	VPXORD(hi, hi, hi)
	VPXORD(total, total, total)
	// As whole numbers, sizes of floats are in order, NaN at the end.
	c.each512("size", n, func(i reg.GPVirtual, mask reg.Register) {
		v := ZMM()
		load512(mask, at(x, i), v)
		VPANDD(size, v, v)
		VPMAXSD(v, hi, hi)
	})
	high := fold512(hi, vpmaxsd)
	step, inverse, t := XMM(), XMM(), XMM()
	VMULSS(c.float(1.0/127), high, step)
	Store(step, ReturnIndex(0))
	VMOVSS(c.float(1e-30), t)
	VCMPSS(Imm(0x1e), t, high, t) // greater than, quiet
	VMOVSS(c.float(127), inverse)
	VDIVSS(high, inverse, inverse)
	VANDPS(inverse, t, inverse)
	factor := ZMM()
	VBROADCASTSS(inverse, factor)
	c.each512("bytes", n, func(i reg.GPVirtual, mask reg.Register) {
		v := ZMM()
		load512(mask, at(x, i), v)
		VMULPS(factor, v, v)
		VCVTPS2DQ(v, v)
		VPADDD(v, total, total)
		narrow(v, mask, Mem{Base: dst, Index: i, Scale: 1})
	})
	sum := fold512(total, vpaddd)
	VCVTDQ2PS(sum, sum)
	Store(sum, ReturnIndex(1))
	VZEROUPPER()
	RET()
}

func vpmaxsd(a, b, c Op) { VPMAXSD(a, b, c) }
func vpaddd(a, b, c Op)  { VPADDD(a, b, c) }

// firstMask is the mask of the first n of sixteen lanes.
func firstMask(n reg.GPVirtual) reg.OpmaskVirtual {
	ones, mask := GP64(), K()
	MOVQ(I32(-1), ones)
	BZHIL(n.As32(), ones.As32(), ones.As32())
	KMOVW(ones.As32(), mask)
	return mask
}

// columnMax finds the largest sizes in up to sixteen columns.
func columnMax(c constants) {
	vector("columnMaxAVX512", "n, cols int, dst, x *float32, ld int",
		"columnMaxAVX512 writes the largest size in each column of x[n][cols] to dst; cols is",
		"at most 16, n at least 1.")
	n, cols, dst, x, ld := param("n"), param("cols"), param("dst"), param("x"), param("ld")
	SHLQ(Imm(2), ld)
	mask := firstMask(cols)
	size, hi := c.spread(math.MaxInt32), ZMM()
	VPXORD(hi, hi, hi)
	Label("loop")
	v := ZMM()
	VMOVUPS_Z(Mem{Base: x}, mask, v)
	VPANDD(size, v, v)
	VPMAXSD(v, hi, hi)
	ADDQ(ld, x)
	DECQ(n)
	JNZ(LabelRef("loop"))
	VMOVUPS(hi, mask, Mem{Base: dst})
	VZEROUPPER()
	RET()
}

// packBytes writes four rows at a time to a panel, one byte of each in a lane.
func packBytes(c constants) {
	vector("packBytesAVX512", "groups, cols int, dst *int8, x *float32, ld int, inverse *float32",
		"packBytesAVX512 writes x[4·groups][cols] times inverse, rounded, to the panel",
		"dst[groups][16][4]; cols is at most 16, groups at least 1.")
	groups, cols, dst, x, ld := param("groups"), param("cols"), param("dst"), param("x"), param("ld")
	inverse := param("inverse")
	SHLQ(Imm(2), ld)
	mask := firstMask(cols)
	factor, low := ZMM(), c.spread(0xff)
	VMOVUPS_Z(Mem{Base: inverse}, mask, factor)
	Label("loop")
	all := ZMM()
	for i := range 4 {
		v := ZMM()
		VMOVUPS_Z(Mem{Base: x}, mask, v)
		ADDQ(ld, x)
		VMULPS(factor, v, v)
		VCVTPS2DQ(v, v)
		if i < 3 {
			VPANDD(low, v, v)
		}
		if i == 0 {
			VMOVDQA32(v, all)
			continue
		}
		VPSLLD(Imm(uint64(8*i)), v, v)
		VPORD(v, all, all)
	}
	VMOVDQU32(all, Mem{Base: dst})
	ADDQ(Imm(64), dst)
	DECQ(groups)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// exp2 are the coefficients of 2^f for f from 0 to 1, the highest first: the
// least relative error, 7.5e-5, of three steps.
var exp2 = []float64{0.0780245, 0.22606719, 0.6958335, 0.9999252}

// powers writes powers of two as whole numbers of 16 bits, in two bytes.
func powers(c constants) {
	TEXT("powersAVX512", NOSPLIT, "func(n int, high, low *uint8, x *float32) float32")
	Pragma("noescape")
	Doc("powersAVX512 writes 65535·2^(x - the largest x) to high and low and returns the sum;",
		"n is at least 1.")
	n, high, low, x := param("n"), param("high"), param("low"), param("x")
	top, sum := ZMM(), ZMM()
	VBROADCASTSS(c.maximum(n, x), top)
	VPXORD(sum, sum, sum)
	poly := []reg.VecVirtual{}
	for _, k := range exp2 {
		poly = append(poly, c.spreadFloat(k*math.MaxUint16))
	}
	c.each512("powers", n, func(i reg.GPVirtual, mask reg.Register) {
		v, f, y := ZMM(), ZMM(), ZMM()
		load512(mask, at(x, i), v)
		VSUBPS(top, v, v)
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
		VCVTPS2DQ(y, y)
		narrow(y, mask, Mem{Base: low, Index: i, Scale: 1})
		VPSRLD(Imm(8), y, y)
		narrow(y, mask, Mem{Base: high, Index: i, Scale: 1})
	})
	Store(fold512(sum, vaddps), ReturnIndex(0))
	VZEROUPPER()
	RET()
}
