package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// constants are the vectors of equal elements in the data section, by bits.
type constants map[uint32]Mem

func (c constants) bits(b uint32) Mem {
	m, ok := c[b]
	if !ok {
		m = GLOBL(fmt.Sprintf("const%08x", b), RODATA|NOPTR)
		for i := range 8 {
			DATA(4*i, U32(b))
		}
		c[b] = m
	}
	return m
}

func (c constants) float(f float64) Mem { return c.bits(math.Float32bits(float32(f))) }

// tailMask loads the mask of the first n lanes, n below eight.
func (c constants) tailMask(n reg.GPVirtual) reg.VecVirtual {
	const key = 0xffffffff // of the window, no constant of its own
	m, ok := c[key]
	if !ok {
		m = GLOBL("window", RODATA|NOPTR)
		for i := range 16 {
			v := uint32(0)
			if i < 8 {
				v = math.MaxUint32
			}
			DATA(4*i, U32(v))
		}
		c[key] = m
	}
	start, mask := GP64(), YMM()
	LEAQ(m.Offset(32), start)
	off := GP64()
	MOVQ(n, off)
	NEGQ(off)
	VMOVUPS(Mem{Base: start, Index: off, Scale: 4}, mask)
	return mask
}

// fold reduces the lanes of v with op and spreads the result to all of them.
func fold(v reg.VecVirtual, op func(a, b, c Op)) {
	t := YMM()
	VPERM2F128(Imm(1), v, v, t)
	op(t, v, v)
	VPERMILPS(Imm(0x4e), v, t)
	op(t, v, v)
	VPERMILPS(Imm(0xb1), v, t)
	op(t, v, v)
}

func vaddps(a, b, c Op) { VADDPS(a, b, c) }
func vmaxps(a, b, c Op) { VMAXPS(a, b, c) }

// each writes a loop over n elements: body for each eight, with a nil mask,
// and once with the mask of those that are left. The index counts elements.
func (c constants) each(label string, n reg.GPVirtual, body func(index reg.GPVirtual, mask reg.VecVirtual)) {
	i, end, rest := GP64(), GP64(), GP64()
	XORQ(i, i)
	MOVQ(n, end)
	ANDQ(I8(-8), end)
	MOVQ(n, rest)
	ANDQ(Imm(7), rest)
	Label(label + "loop")
	CMPQ(i, end)
	JGE(LabelRef(label + "tail"))
	body(i, nil)
	ADDQ(Imm(8), i)
	JMP(LabelRef(label + "loop"))
	Label(label + "tail")
	TESTQ(rest, rest)
	JZ(LabelRef(label + "done"))
	body(i, c.tailMask(rest))
	Label(label + "done")
}

func load(mask reg.VecVirtual, from Mem, to reg.VecVirtual) {
	if mask == nil {
		VMOVUPS(from, to)
		return
	}
	VMASKMOVPS(from, mask, to)
}

func store(mask, from reg.VecVirtual, to Mem) {
	if mask == nil {
		VMOVUPS(from, to)
		return
	}
	VMASKMOVPS(from, mask, to)
}

func at(base reg.GPVirtual, index reg.GPVirtual) Mem {
	return Mem{Base: base, Index: index, Scale: 4}
}

func vector(name, signature string, doc ...string) {
	TEXT(name, NOSPLIT, "func("+signature+")")
	Pragma("noescape")
	Doc(doc...)
}

func param(name string) reg.GPVirtual { return Load(Param(name), GP64()).(reg.GPVirtual) }

func dot(c constants) {
	TEXT("dotAVX2", NOSPLIT, "func(n int, a, b *float32) float32")
	Pragma("noescape")
	Doc("dotAVX2 is the inner product of a[n] and b[n].")
	n, a, b := param("n"), param("a"), param("b")
	acc := []reg.VecVirtual{YMM(), YMM(), YMM(), YMM()}
	for _, r := range acc {
		VXORPS(r, r, r)
	}
	Label("wide")
	CMPQ(n, Imm(32))
	JLT(LabelRef("narrow"))
	for i, r := range acc {
		x := YMM()
		VMOVUPS(Mem{Base: a, Disp: 32 * i}, x)
		VFMADD231PS(Mem{Base: b, Disp: 32 * i}, x, r)
	}
	ADDQ(U32(128), a)
	ADDQ(U32(128), b)
	SUBQ(Imm(32), n)
	JMP(LabelRef("wide"))
	Label("narrow")
	c.each("narrow", n, func(i reg.GPVirtual, mask reg.VecVirtual) {
		x, y := YMM(), YMM()
		load(mask, at(a, i), x)
		load(mask, at(b, i), y)
		VFMADD231PS(y, x, acc[0])
	})
	VADDPS(acc[1], acc[0], acc[0])
	VADDPS(acc[3], acc[2], acc[2])
	VADDPS(acc[2], acc[0], acc[0])
	fold(acc[0], vaddps)
	Store(acc[0].AsX(), ReturnIndex(0))
	VZEROUPPER()
	RET()
}

func add(c constants) {
	vector("addAVX2", "n int, dst, x *float32", "addAVX2 adds x[n] to dst[n].")
	n, dst, x := param("n"), param("dst"), param("x")
	c.each("", n, func(i reg.GPVirtual, mask reg.VecVirtual) {
		v, w := YMM(), YMM()
		load(mask, at(dst, i), v)
		load(mask, at(x, i), w)
		VADDPS(w, v, v)
		store(mask, v, at(dst, i))
	})
	VZEROUPPER()
	RET()
}

func relu(c constants) {
	vector("reluAVX2", "n int, x *float32", "reluAVX2 replaces what is below zero in x[n] by zero.")
	n, x := param("n"), param("x")
	zero := YMM()
	VXORPS(zero, zero, zero)
	c.each("", n, func(i reg.GPVirtual, mask reg.VecVirtual) {
		v := YMM()
		load(mask, at(x, i), v)
		VMAXPS(v, zero, v)
		store(mask, v, at(x, i))
	})
	VZEROUPPER()
	RET()
}

func addReLU(c constants) {
	vector("addReLUAVX2", "n int, dst, x *float32", "addReLUAVX2 computes dst[n] = max(0, dst[n] + x[n]).")
	n, dst, x := param("n"), param("dst"), param("x")
	zero := YMM()
	VXORPS(zero, zero, zero)
	c.each("", n, func(i reg.GPVirtual, mask reg.VecVirtual) {
		v, w := YMM(), YMM()
		load(mask, at(dst, i), v)
		load(mask, at(x, i), w)
		VADDPS(w, v, v)
		VMAXPS(v, zero, v)
		store(mask, v, at(dst, i))
	})
	VZEROUPPER()
	RET()
}

func scaleReLU(c constants) {
	vector("scaleReLUAVX2", "n int, dst, x, scale, shift *float32", "scaleReLUAVX2 computes dst[n] = max(0, scale[n]·x[n] + shift[n]).")
	n, dst, x, scale, shift := param("n"), param("dst"), param("x"), param("scale"), param("shift")
	zero := YMM()
	VXORPS(zero, zero, zero)
	c.each("", n, func(i reg.GPVirtual, mask reg.VecVirtual) {
		v, w, u := YMM(), YMM(), YMM()
		load(mask, at(x, i), v)
		load(mask, at(scale, i), w)
		load(mask, at(shift, i), u)
		VFMADD213PS(u, w, v)
		VMAXPS(v, zero, v)
		store(mask, v, at(dst, i))
	})
	VZEROUPPER()
	RET()
}

// exp replaces x ≤ 0 by exp(x); below the least normal number it is zero, and
// NaN stays NaN. The polynomial is that of Cephes' expf (Moshier, 1989).
func (c constants) exp(x reg.VecVirtual) {
	// Added to x·log2(e), round leaves the nearest whole number n, plus the
	// bias of the exponent, in the low bits: shifted up they are 2ⁿ.
	const round = 3<<22 + 127
	scale, n, p, square, small := YMM(), YMM(), YMM(), YMM(), YMM()
	VCMPPS(Imm(0x11), c.float(-87.33654), x, small) // less than, quiet
	VMOVUPS(c.float(round), scale)
	VMOVUPS(c.float(math.Log2E), n)
	VFMADD231PS(n, x, scale)
	VSUBPS(c.float(round), scale, n)
	VFNMADD231PS(c.float(0.693359375), n, x)
	VFNMADD231PS(c.float(-2.12194440e-4), n, x)
	VMOVUPS(c.float(1.9875691500e-4), p)
	for _, k := range []float64{1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1} {
		VFMADD213PS(c.float(k), x, p)
	}
	VMULPS(x, x, square)
	VFMADD213PS(x, square, p)
	VADDPS(c.float(1), p, p)
	VPSLLD(Imm(23), scale, scale)
	VMULPS(scale, p, p)
	VANDNPS(p, small, x)
}

func softmax(c constants) {
	vector("softmaxAVX2", "n int, x *float32", "softmaxAVX2 replaces x[n] by its softmax; n is at least 1.")
	n, x := param("n"), param("x")
	lowest := c.float(math.Inf(-1))
	hi, hi1 := YMM(), YMM()
	VMOVUPS(lowest, hi)
	VMOVUPS(lowest, hi1)
	p, left := GP64(), GP64()
	MOVQ(x, p)
	MOVQ(n, left)
	// The maximum passes over NaN, which comes back in the difference.
	Label("wide")
	CMPQ(left, Imm(16))
	JLT(LabelRef("narrow"))
	v := YMM()
	VMOVUPS(Mem{Base: p}, v)
	VMAXPS(hi, v, hi)
	VMOVUPS(Mem{Base: p, Disp: 32}, v)
	VMAXPS(hi1, v, hi1)
	ADDQ(Imm(64), p)
	SUBQ(Imm(16), left)
	JMP(LabelRef("wide"))
	Label("narrow")
	c.each("max", left, func(i reg.GPVirtual, mask reg.VecVirtual) {
		v := YMM()
		load(mask, at(p, i), v)
		if mask != nil {
			out := YMM()
			VMOVUPS(lowest, out)
			VBLENDVPS(mask, v, out, v)
		}
		VMAXPS(hi, v, hi)
	})
	VMAXPS(hi, hi1, hi)
	fold(hi, vmaxps)

	sum := YMM()
	VXORPS(sum, sum, sum)
	c.each("exp", n, func(i reg.GPVirtual, mask reg.VecVirtual) {
		v := YMM()
		load(mask, at(x, i), v)
		VSUBPS(hi, v, v)
		c.exp(v)
		if mask != nil {
			VANDPS(mask, v, v)
		}
		VADDPS(v, sum, sum)
		store(mask, v, at(x, i))
	})
	fold(sum, vaddps)
	inverse := YMM()
	VMOVUPS(c.float(1), inverse)
	VDIVPS(sum, inverse, inverse)
	c.each("scale", n, func(i reg.GPVirtual, mask reg.VecVirtual) {
		v := YMM()
		load(mask, at(x, i), v)
		VMULPS(inverse, v, v)
		store(mask, v, at(x, i))
	})
	VZEROUPPER()
	RET()
}

// gelu writes x·Φ(x) as max(x, 0) - |x|·Φ(-|x|), which loses no digits on
// either side. Φ(-|x|) is half of erfc(|x|/√2), by formula 7.1.26 of
// Abramowitz and Stegun (1964), good to 1.5e-7.
func gelu(c constants) {
	vector("geluAVX2", "n int, x *float32", "geluAVX2 replaces x[n] by its GELU.")
	n, x := param("n"), param("x")
	c.each("", n, func(i reg.GPVirtual, mask reg.VecVirtual) {
		v, size, t, e, p := YMM(), YMM(), YMM(), YMM(), YMM()
		load(mask, at(x, i), v)
		VANDPS(c.bits(math.MaxInt32), v, size)
		// From 20 on Φ(-|x|) is zero, and infinity must not meet it.
		VMINPS(c.float(20), size, size)
		VMULPS(c.float(-0.5), size, e)
		VMULPS(size, e, e)
		c.exp(e)
		VMOVUPS(c.float(1), t)
		VMOVUPS(c.float(0.3275911/math.Sqrt2), p)
		VFMADD213PS(t, size, p)
		VDIVPS(p, t, t)
		VMOVUPS(c.float(1.061405429/2), p)
		for _, k := range []float64{-1.453152027, 1.421413741, -0.284496736, 0.254829592} {
			VFMADD213PS(c.float(k/2), t, p)
		}
		VMULPS(t, p, p)
		VMULPS(e, p, p)
		zero := YMM()
		VXORPS(zero, zero, zero)
		VMAXPS(v, zero, v) // NaN stays
		VFNMADD231PS(p, size, v)
		store(mask, v, at(x, i))
	})
	VZEROUPPER()
	RET()
}

func layerNorm(c constants) {
	vector("layerNormAVX2", "n int, dst, x, gamma, beta *float32",
		"layerNormAVX2 writes the normalised x[n] to dst[n], scaled and shifted; n is at least 1.")
	n, dst, x, gamma, beta := param("n"), param("dst"), param("x"), param("gamma"), param("beta")
	count := YMM()
	VCVTSI2SSQ(n, count.AsX(), count.AsX())
	VBROADCASTSS(count.AsX(), count)
	mean, deviation := YMM(), YMM()
	VXORPS(mean, mean, mean)
	c.each("mean", n, func(i reg.GPVirtual, mask reg.VecVirtual) {
		v := YMM()
		load(mask, at(x, i), v)
		VADDPS(v, mean, mean)
	})
	fold(mean, vaddps)
	VDIVPS(count, mean, mean)
	VXORPS(deviation, deviation, deviation)
	c.each("deviation", n, func(i reg.GPVirtual, mask reg.VecVirtual) {
		v := YMM()
		load(mask, at(x, i), v)
		VSUBPS(mean, v, v)
		if mask != nil {
			VANDPS(mask, v, v)
		}
		VFMADD231PS(v, v, deviation)
	})
	fold(deviation, vaddps)
	VDIVPS(count, deviation, deviation)
	VADDPS(c.float(1e-5), deviation, deviation)
	VSQRTPS(deviation, deviation)
	scale := YMM()
	VMOVUPS(c.float(1), scale)
	VDIVPS(deviation, scale, scale)
	c.each("norm", n, func(i reg.GPVirtual, mask reg.VecVirtual) {
		v, g, b := YMM(), YMM(), YMM()
		load(mask, at(x, i), v)
		load(mask, at(gamma, i), g)
		load(mask, at(beta, i), b)
		VSUBPS(mean, v, v)
		VMULPS(scale, v, v)
		VFMADD213PS(b, g, v)
		store(mask, v, at(dst, i))
	})
	VZEROUPPER()
	RET()
}

func halfToFloat() {
	vector("halfToFloatAVX2", "groups int, dst *float32, src *uint16", "halfToFloatAVX2 converts src[8·groups]; groups is at least 1.")
	groups, dst, src := param("groups"), param("dst"), param("src")
	v := YMM()
	Label("loop")
	VCVTPH2PS(Mem{Base: src}, v)
	VMOVUPS(v, Mem{Base: dst})
	ADDQ(Imm(16), src)
	ADDQ(Imm(32), dst)
	DECQ(groups)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

func floatToHalf() {
	vector("floatToHalfAVX2", "groups int, dst *uint16, src *float32", "floatToHalfAVX2 converts src[8·groups]; groups is at least 1.")
	narrowHalf(func(v reg.VecVirtual) {})
}

func saturate(c constants) {
	vector("saturateAVX2", "groups int, dst *uint16, src *float32",
		"saturateAVX2 converts src[8·groups]; what is too large becomes the largest finite number,",
		"NaN stays. groups is at least 1.")
	high, low := YMM(), YMM()
	VMOVUPS(c.float(maxHalf), high)
	VMOVUPS(c.float(-maxHalf), low)
	narrowHalf(func(v reg.VecVirtual) {
		VMINPS(v, high, v) // the first here is the one that may be NaN
		VMAXPS(v, low, v)
	})
}

// maxHalf is the largest finite number of 16 bits.
const maxHalf = 65504

// narrowHalf writes the rest of a function that converts to 16-bit floats what
// change leaves of the elements.
func narrowHalf(change func(v reg.VecVirtual)) {
	groups, dst, src := param("groups"), param("dst"), param("src")
	v := YMM()
	Label("loop")
	VMOVUPS(Mem{Base: src}, v)
	change(v)
	VCVTPS2PH(Imm(0), v, Mem{Base: dst}) // to nearest, ties to even
	ADDQ(Imm(32), src)
	ADDQ(Imm(16), dst)
	DECQ(groups)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
