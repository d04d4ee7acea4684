package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const signBit = 1 << 31

// sigmoid replaces x by σ(x): with t = exp(-|x|) that is 1/(1+t), and for
// x < 0 t/(1+t). The exponential cannot overflow.
func (c constants) sigmoid(x reg.VecVirtual) {
	t, one := YMM(), YMM()
	VORPS(c.bits(signBit), x, t)
	c.exp(t)
	VMOVUPS(c.float(1), one)
	VBLENDVPS(x, t, one, x)
	VADDPS(one, t, t)
	VDIVPS(t, x, x)
}

// tanh replaces x by tanh(x): with t = exp(-2|x|) that is (1-t)/(1+t), and the
// sign of x.
func (c constants) tanh(x reg.VecVirtual) {
	t, one := YMM(), YMM()
	VORPS(c.bits(signBit), x, t)
	VADDPS(t, t, t)
	c.exp(t)
	VANDPS(c.bits(signBit), x, x)
	VMOVUPS(c.float(1), one)
	quotient := YMM()
	VSUBPS(t, one, quotient)
	VADDPS(one, t, t)
	VDIVPS(t, quotient, quotient)
	VORPS(quotient, x, x)
}

func lstmGates(c constants) {
	vector("lstmGatesAVX2", "n int, h, c, gates *float32",
		"lstmGatesAVX2 writes the next state of an LSTM cell to c[n] and its output to h[n].")
	n, h, state, in := param("n"), param("h"), param("c"), param("gates")
	forget, cell, out := GP64(), GP64(), GP64()
	LEAQ(Mem{Base: in, Index: n, Scale: 4}, forget)
	LEAQ(Mem{Base: in, Index: n, Scale: 8}, cell)
	LEAQ(Mem{Base: cell, Index: n, Scale: 4}, out)
	c.each("", n, func(i reg.GPVirtual, mask reg.VecVirtual) {
		next, v, was := YMM(), YMM(), YMM()
		load(mask, at(in, i), next)
		c.sigmoid(next)
		load(mask, at(cell, i), v)
		c.tanh(v)
		VMULPS(v, next, next)
		load(mask, at(forget, i), v)
		c.sigmoid(v)
		load(mask, at(state, i), was)
		VFMADD231PS(was, v, next)
		store(mask, next, at(state, i))
		c.tanh(next)
		load(mask, at(out, i), v)
		c.sigmoid(v)
		VMULPS(v, next, next)
		store(mask, next, at(h, i))
	})
	VZEROUPPER()
	RET()
}
