package neon

import "math"

func (a *assembly) dotProduct() {
	a.function("dotNEON", "n int, a *float32, b *float32", "float32", "dotNEON is the inner product of a[n] and b[n].")
	n, x, y := a.param("n"), a.param("a"), a.param("b")
	acc, v, w := a.vecN(4), a.vecN(4), a.vecN(4)
	for _, s := range acc {
		a.zero(s)
	}
	a.loop("wide", n, 16, func() {
		for i := 0; i < 4; i += 2 {
			a.nextPair(v[i], v[i+1], x)
			a.nextPair(w[i], w[i+1], y)
			a.fma(acc[i], v[i], w[i])
			a.fma(acc[i+1], v[i+1], w[i+1])
		}
	})
	a.each("", n, func(lanes int) {
		a.next(v[0], x, lanes)
		a.next(w[0], y, lanes)
		a.fma(acc[0], v[0], w[0])
	})
	a.add(acc[0], acc[0], acc[1])
	a.add(acc[2], acc[2], acc[3])
	a.add(acc[0], acc[0], acc[2])
	fold(acc[0], a.addPairs)
	a.op("FMOVS F%d, %s", acc[0], a.frame("ret"))
	a.op("RET")
}

func (a *assembly) sum() {
	a.function("addNEON", "n int, dst *float32, x *float32", "", "addNEON adds x[n] to dst[n].")
	n, dst, x := a.param("n"), a.param("dst"), a.param("x")
	v, w := a.vec(), a.vec()
	a.each("", n, func(lanes int) {
		a.load(v, dst, lanes)
		a.next(w, x, lanes)
		a.add(v, v, w)
		a.put(v, dst, lanes)
	})
	a.op("RET")
}

// exponential computes exp(x) for x ≤ 0; below the least normal number it is
// zero, and NaN stays NaN. The polynomial is that of Cephes' expf (Moshier,
// 1989).
type exponential struct {
	*assembly
	round, log2e, ln2High, ln2Low, least, one vec
	factors                                   []vec
	scale, n, p, q, small                     vec
}

// exponential loads the constants; r is overwritten.
func (a *assembly) exponential(r gp) exponential {
	e := exponential{
		assembly: a,
		// Added to x·log2(e), round leaves the nearest whole number n, plus the
		// bias of the exponent, in the low bits: shifted up they are 2ⁿ.
		round:   a.float(3<<22+127, r),
		log2e:   a.float(math.Log2E, r),
		ln2High: a.float(0.693359375, r),
		ln2Low:  a.float(-2.12194440e-4, r),
		least:   a.float(-87.33654, r),
		one:     a.float(1, r),
	}
	for _, k := range []float64{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1} {
		e.factors = append(e.factors, a.float(k, r))
	}
	e.scale, e.n, e.p, e.q, e.small = a.vec(), a.vec(), a.vec(), a.vec(), a.vec()
	return e
}

// exp replaces x.
func (e exponential) exp(x vec) {
	e.greater(e.small, e.least, x)
	e.move(e.scale, e.round)
	e.fma(e.scale, x, e.log2e)
	e.sub(e.n, e.scale, e.round)
	e.fms(x, e.n, e.ln2High)
	e.fms(x, e.n, e.ln2Low)
	p := e.horner(x, e.factors)
	e.mul(e.n, x, x)
	e.fma(x, p, e.n)
	e.add(x, x, e.one)
	e.shiftLeft(e.scale, e.scale, 23)
	e.mul(x, x, e.scale)
	e.without(x, x, e.small)
}

// horner computes the polynomial of x, highest factor first, and returns the
// register that has it. It takes p and q.
func (e exponential) horner(x vec, factors []vec) vec {
	p, q := e.p, e.q
	last := factors[0]
	for _, k := range factors[1:] {
		e.move(p, k)
		e.fma(p, last, x)
		last = p
		p, q = q, p
	}
	return last
}

func (a *assembly) softmax() {
	a.function("softmaxNEON", "n int, x *float32", "", "softmaxNEON replaces x[n] by its softmax; n is at least 1.")
	n, x := a.param("n"), a.param("x")
	left, p := a.copyOf(n), a.copyOf(x)
	e := a.exponential(a.gp())
	hi, hi1 := a.vec(), a.vec()
	v, w := a.vec(), a.vec()
	a.op("VLD1R (R%d), [V%d.S4]", x, hi)
	a.move(hi1, hi)
	a.loop("maxeight", left, 8, func() {
		a.nextPair(v, w, p)
		a.max(hi, hi, v)
		a.max(hi1, hi1, w)
	})
	a.loop("maxone", left, 1, func() {
		a.op("VLD1R.P 4(R%d), [V%d.S4]", p, v)
		a.max(hi, hi, v)
	})
	a.max(hi, hi, hi1)
	fold(hi, a.maxPairs)

	sum := w
	a.zero(sum)
	a.op("MOVD R%d, R%d", n, left)
	a.op("MOVD R%d, R%d", x, p)
	a.each("exp", left, func(lanes int) {
		a.load(v, p, lanes)
		a.sub(v, v, hi)
		e.exp(v)
		if lanes == 1 {
			a.first(v, v)
		}
		a.add(sum, sum, v)
		a.put(v, p, lanes)
	})
	fold(sum, a.addPairs)
	a.div(sum, e.one, sum)
	a.each("scale", n, func(lanes int) {
		a.load(v, x, lanes)
		a.mul(v, v, sum)
		a.put(v, x, lanes)
	})
	a.op("RET")
}

// gelu writes x·Φ(x) as max(x, 0) - |x|·Φ(-|x|), which loses no digits on
// either side. Φ(-|x|) is half of erfc(|x|/√2), by formula 7.1.26 of
// Abramowitz and Stegun (1964), good to 1.5e-7.
func (a *assembly) gelu() {
	a.function("geluNEON", "n int, x *float32", "", "geluNEON replaces x[n] by its GELU.")
	n, x := a.param("n"), a.param("x")
	r := a.gp()
	e := a.exponential(r)
	// From 20 on Φ(-|x|) is zero, and infinity must not meet it.
	most, half, slope := a.float(20, r), a.float(-0.5, r), a.float(0.3275911/math.Sqrt2, r)
	var factors []vec
	for _, k := range []float64{1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592} {
		factors = append(factors, a.float(k/2, r))
	}
	v, size, t, tail := a.vec(), a.vec(), a.vec(), a.vec()
	a.each("", n, func(lanes int) {
		a.load(v, x, lanes)
		a.abs(size, v)
		a.min(size, size, most)
		a.mul(tail, size, half)
		a.mul(tail, tail, size)
		e.exp(tail)
		a.move(t, e.one)
		a.fma(t, size, slope)
		a.div(t, e.one, t)
		p := e.horner(t, factors)
		a.mul(p, p, t)
		a.mul(tail, tail, p)
		a.zero(t)
		a.max(v, v, t)
		a.fms(v, size, tail)
		a.put(v, x, lanes)
	})
	a.op("RET")
}

func (a *assembly) layerNorm() {
	a.function("layerNormNEON", "n int, dst *float32, x *float32, gamma *float32, beta *float32", "",
		"layerNormNEON writes the normalised x[n] to dst[n], scaled and shifted; n is at least 1.")
	n, dst, x, gamma, beta := a.param("n"), a.param("dst"), a.param("x"), a.param("gamma"), a.param("beta")
	left, p := a.copyOf(n), a.copyOf(x)
	count, mean, scale, shift := a.vec(), a.vec(), a.vec(), a.vec()
	v, g := a.vec(), a.vec()
	r := a.gp()
	one, epsilon := a.float(1, r), a.float(1e-5, r)
	a.op("SCVTFS R%d, F%d", n, count)
	a.spread(count, count)
	a.zero(mean)
	a.each("mean", left, func(lanes int) {
		a.next(v, p, lanes)
		a.add(mean, mean, v)
	})
	fold(mean, a.addPairs)
	a.div(mean, mean, count)
	a.zero(scale)
	a.op("MOVD R%d, R%d", n, left)
	a.op("MOVD R%d, R%d", x, p)
	a.each("deviation", left, func(lanes int) {
		a.next(v, p, lanes)
		a.sub(v, v, mean)
		if lanes == 1 {
			a.first(v, v)
		}
		a.fma(scale, v, v)
	})
	fold(scale, a.addPairs)
	a.div(scale, scale, count)
	a.add(scale, scale, epsilon)
	a.sqrt(scale, scale)
	a.div(scale, one, scale)
	a.each("norm", n, func(lanes int) {
		a.next(v, x, lanes)
		a.next(g, gamma, lanes)
		a.next(shift, beta, lanes)
		a.sub(v, v, mean)
		a.mul(v, v, scale)
		a.fma(shift, v, g)
		a.put(shift, dst, lanes)
	})
	a.op("RET")
}

func (a *assembly) lstmGates() {
	a.function("lstmGatesNEON", "n int, h *float32, c *float32, gates *float32", "",
		"lstmGatesNEON writes the next state of an LSTM cell to c[n] and its output to h[n].")
	n, h, state, in := a.param("n"), a.param("h"), a.param("c"), a.param("gates")
	forget, cell, out := a.gp(), a.gp(), a.gp()
	a.op("ADD R%d<<2, R%d, R%d", n, in, forget)
	a.op("ADD R%d<<2, R%d, R%d", n, forget, cell)
	a.op("ADD R%d<<2, R%d, R%d", n, cell, out)
	r := a.gp()
	e := a.exponential(r)
	sign := a.bits(1<<31, r)
	next, v, was, t, mask := a.vec(), a.vec(), a.vec(), a.vec(), a.vec()
	// With t = exp(-|x|) σ(x) is 1/(1+t), and for x < 0 t/(1+t): the
	// exponential cannot overflow.
	sigmoid := func(x vec) {
		a.or(t, x, sign)
		e.exp(t)
		a.below0(mask, x)
		a.move(x, e.one)
		a.insert(x, t, mask)
		a.add(t, t, e.one)
		a.div(x, x, t)
	}
	// With t = exp(-2|x|) tanh(x) is (1-t)/(1+t), and the sign of x.
	tanh := func(x vec) {
		a.or(t, x, sign)
		a.add(t, t, t)
		e.exp(t)
		a.sub(mask, e.one, t)
		a.add(t, t, e.one)
		a.div(t, mask, t)
		a.insert(t, x, sign)
		a.move(x, t)
	}
	a.each("", n, func(lanes int) {
		a.next(next, in, lanes)
		sigmoid(next)
		a.next(v, cell, lanes)
		tanh(v)
		a.mul(next, next, v)
		a.next(v, forget, lanes)
		sigmoid(v)
		a.load(was, state, lanes)
		a.fma(next, was, v)
		a.put(next, state, lanes)
		tanh(next)
		a.next(v, out, lanes)
		sigmoid(v)
		a.mul(next, next, v)
		a.put(next, h, lanes)
	})
	a.op("RET")
}

func (a *assembly) halfToFloat() {
	a.function("halfToFloatNEON", "groups int, dst *float32, src *uint16", "",
		"halfToFloatNEON converts src[8·groups]; groups is at least 1.")
	groups, dst, src := a.param("groups"), a.param("dst"), a.param("src")
	v, w := a.vec(), a.vec()
	a.loop("loop", groups, 1, func() {
		a.next(v, src, 4)
		a.widenHigh(w, v)
		a.widen(v, v)
		a.putPair(v, w, dst)
	})
	a.op("RET")
}

func (a *assembly) floatToHalf() {
	a.function("floatToHalfNEON", "groups int, dst *uint16, src *float32", "",
		"floatToHalfNEON converts src[8·groups], to the nearest, ties to even; groups is at least 1.")
	groups, dst, src := a.param("groups"), a.param("dst"), a.param("src")
	v, w := a.vec(), a.vec()
	a.loop("loop", groups, 1, func() {
		a.nextPair(v, w, src)
		a.narrow(v, v)
		a.narrowHigh(v, w)
		a.put(v, dst, 4)
	})
	a.op("RET")
}
