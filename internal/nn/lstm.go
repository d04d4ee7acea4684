package nn

// LSTMGates is the end of a step of an LSTM cell (Hochreiter & Schmidhuber,
// 1997; Gers et al., 2000): from the sums gates[4·n] of the input, forget,
// cell and output gate, in this order (PyTorch's), and the cell's state c[n]
//
//	c = σ(forget)·c + σ(input)·tanh(cell)
//	h = σ(output)·tanh(c)
//
// to an absolute error below 1e-6 where |c| ≤ 4. The slices must not overlap.
func LSTMGates(h, c, gates []float32) {
	check(len(c) == len(h) && len(gates) == 4*len(h), "LSTMGates")
	active.lstmGates(h, c, gates)
}

func lstmGatesGo(h, c, gates []float32) {
	n := len(h)
	in, forget, cell, out := gates[:n], gates[n:2*n], gates[2*n:3*n], gates[3*n:4*n]
	for i := range h {
		c[i] = sigmoidGo(forget[i])*c[i] + sigmoidGo(in[i])*tanhGo(cell[i])
		h[i] = sigmoidGo(out[i]) * tanhGo(c[i])
	}
}

// sigmoidGo and tanhGo take exp of what is not above zero only, which cannot
// overflow; the sign is put back afterwards.
func sigmoidGo(x float32) float32 {
	t := expGo(min(x, -x))
	if x < 0 {
		return t / (1 + t)
	}
	return 1 / (1 + t)
}

func tanhGo(x float32) float32 {
	t := expGo(2 * min(x, -x))
	y := (1 - t) / (1 + t)
	if x < 0 {
		return -y
	}
	return y
}
