package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// exponential holds the constants of exp in registers.
type exponential struct {
	log2e, ln2, least reg.VecVirtual
	poly              []reg.VecVirtual
}

func (c constants) spreadFloat(f float64) reg.VecVirtual {
	return c.spread(math.Float32bits(float32(f)))
}

func (c constants) newExponential() exponential {
	e := exponential{log2e: c.spreadFloat(math.Log2E), ln2: c.spreadFloat(math.Ln2), least: c.spreadFloat(-87.33654)}
	for _, k := range expPoly {
		e.poly = append(e.poly, c.spreadFloat(k))
	}
	return e
}

// expPoly are the coefficients of exp, the highest first, where its argument
// is at most half of ln 2: the least relative error.
var expPoly = []float64{0.0013814467, 0.008368781, 0.041668393, 0.1666652, 0.49999994, 1, 1}

// apply replaces x ≤ 0 by exp(x); below the least normal number it is zero,
// and NaN stays NaN.
func (e exponential) apply(x reg.VecVirtual) {
	n, p, normal := ZMM(), ZMM(), K()
	VCMPPS(Imm(0x15), e.least, x, normal) // not less than, or unordered, quiet
	VMULPS(e.log2e, x, n)
	VRNDSCALEPS(Imm(8), n, n) // to the nearest whole number
	VFNMADD231PS(e.ln2, n, x)
	VMOVAPS(e.poly[0], p)
	for _, k := range e.poly[1:] {
		VFMADD213PS(k, x, p)
	}
	VSCALEFPS_Z(n, p, normal, x)
}

func softmax512(c constants) {
	vector("softmaxAVX512", "n int, x *float32", "softmaxAVX512 replaces x[n] by its softmax; n is at least 1.")
	n, x := param("n"), param("x")
	hi, sum, inverse := ZMM(), ZMM(), ZMM()
	VBROADCASTSS(c.maximum(n, x), hi)
	VPXORD(sum, sum, sum)
	e := c.newExponential()
	c.each512("exp", n, func(i reg.GPVirtual, mask reg.Register) {
		v := ZMM()
		load512(mask, at(x, i), v)
		VSUBPS(hi, v, v)
		e.apply(v)
		if mask == nil {
			VADDPS(v, sum, sum)
		} else {
			VADDPS(v, sum, mask, sum)
		}
		store512(mask, v, at(x, i))
	})
	VBROADCASTSS(fold512(sum, vaddps), sum)
	VDIVPS(sum, e.poly[len(e.poly)-1], inverse) // the last coefficient is 1
	c.each512("scale", n, func(i reg.GPVirtual, mask reg.Register) {
		v := ZMM()
		load512(mask, at(x, i), v)
		VMULPS(inverse, v, v)
		store512(mask, v, at(x, i))
	})
	VZEROUPPER()
	RET()
}

// maximum finds the largest of x[n]. It passes over NaN, which comes back in
// the difference.
func (c constants) maximum(n, x reg.GPVirtual) reg.VecVirtual {
	lowest := c.spreadFloat(math.Inf(-1))
	hi := [2]reg.VecVirtual{ZMM(), ZMM()}
	VMOVAPS(lowest, hi[0])
	VMOVAPS(lowest, hi[1])
	p, left := GP64(), GP64()
	MOVQ(x, p)
	MOVQ(n, left)
	Label("wide")
	CMPQ(left, Imm(32))
	JLT(LabelRef("narrow"))
	v, w := ZMM(), ZMM()
	VMOVUPS(Mem{Base: p}, v)
	VMOVUPS(Mem{Base: p, Disp: 64}, w)
	VMAXPS(hi[0], v, hi[0])
	VMAXPS(hi[1], w, hi[1])
	ADDQ(U32(128), p)
	SUBQ(Imm(32), left)
	JMP(LabelRef("wide"))
	Label("narrow")
	c.each512("max", left, func(i reg.GPVirtual, mask reg.Register) {
		v := ZMM()
		load512(mask, at(p, i), v)
		if mask == nil {
			VMAXPS(hi[0], v, hi[0])
		} else {
			VMAXPS(hi[0], v, mask, hi[0])
		}
	})
	VMAXPS(hi[1], hi[0], hi[0])
	return fold512(hi[0], vmaxps)
}

func store512(mask reg.Register, from reg.VecVirtual, to Mem) {
	if mask == nil {
		VMOVUPS(from, to)
		return
	}
	VMOVUPS(from, mask, to)
}

// gelu512 is gelu with an estimated reciprocal and a step of Newton's instead
// of a division.
func gelu512(c constants) {
	vector("geluAVX512", "n int, x *float32", "geluAVX512 replaces x[n] by its GELU.")
	n, x := param("n"), param("x")
	e := c.newExponential()
	size := c.spread(math.MaxInt32)
	// From 20 on Φ(-|x|) is zero, and infinity must not meet it.
	most, half := c.spreadFloat(20), c.spreadFloat(-0.5)
	one, two, slope := e.poly[len(e.poly)-1], c.spreadFloat(2), c.spreadFloat(0.3275911/math.Sqrt2)
	var erfc []reg.VecVirtual
	for _, k := range []float64{1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592} {
		erfc = append(erfc, c.spreadFloat(k/2))
	}
	zero := ZMM()
	VPXORD(zero, zero, zero)
	c.each512("", n, func(i reg.GPVirtual, mask reg.Register) {
		v, a, b, d, t, p := ZMM(), ZMM(), ZMM(), ZMM(), ZMM(), ZMM()
		load512(mask, at(x, i), v)
		VANDPS(size, v, a)
		VMINPS(most, a, a)
		VMULPS(half, a, b)
		VMULPS(a, b, b)
		e.apply(b)
		VMOVAPS(slope, d)
		VFMADD213PS(one, a, d)
		VRCP14PS(d, t)
		VFNMADD213PS(two, t, d)
		VMULPS(d, t, t)
		VMOVAPS(erfc[0], p)
		for _, k := range erfc[1:] {
			VFMADD213PS(k, t, p)
		}
		VMULPS(t, p, p)
		VMULPS(b, p, p)
		VMAXPS(v, zero, v) // NaN stays
		VFNMADD231PS(p, a, v)
		store512(mask, v, at(x, i))
	})
	VZEROUPPER()
	RET()
}

func layerNorm512(c constants) {
	vector("layerNormAVX512", "n int, dst, x, gamma, beta *float32",
		"layerNormAVX512 writes the normalised x[n] to dst[n], scaled and shifted; n is at least 1.")
	n, dst, x, gamma, beta := param("n"), param("dst"), param("x"), param("gamma"), param("beta")
	count, mean, deviation, t := XMM(), ZMM(), ZMM(), XMM()
	VCVTSI2SSQ(n, count, count)
	VPXORD(mean, mean, mean)
	c.each512("mean", n, func(i reg.GPVirtual, mask reg.Register) {
		v := ZMM()
		load512(mask, at(x, i), v)
		VADDPS(v, mean, mean)
	})
	sum := fold512(mean, vaddps)
	VDIVSS(count, sum, sum)
	VBROADCASTSS(sum, mean)
	VPXORD(deviation, deviation, deviation)
	c.each512("deviation", n, func(i reg.GPVirtual, mask reg.Register) {
		v := ZMM()
		load512(mask, at(x, i), v)
		VSUBPS(mean, v, v)
		if mask == nil {
			VFMADD231PS(v, v, deviation)
		} else {
			VFMADD231PS(v, v, mask, deviation)
		}
	})
	squares, scale := fold512(deviation, vaddps), ZMM()
	VDIVSS(count, squares, squares)
	VADDSS(c.float(1e-5), squares, squares)
	VSQRTSS(squares, squares, squares)
	VMOVSS(c.float(1), t)
	VDIVSS(squares, t, t)
	VBROADCASTSS(t, scale)
	c.each512("norm", n, func(i reg.GPVirtual, mask reg.Register) {
		v, g, b := ZMM(), ZMM(), ZMM()
		load512(mask, at(x, i), v)
		load512(mask, at(gamma, i), g)
		load512(mask, at(beta, i), b)
		VSUBPS(mean, v, v)
		VMULPS(scale, v, v)
		VFMADD213PS(b, g, v)
		store512(mask, v, at(dst, i))
	})
	VZEROUPPER()
	RET()
}
