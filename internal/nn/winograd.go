package nn

// A convolution of three taps costs three products an output. Winograd's F(4, 3)
// (Lavin & Gray, Fast Algorithms for Convolutional Neural Networks, 2015) makes four
// outputs of six products: WinogradTaps transforms the weights, once, WinogradIn six
// inputs, and WinogradOut the six products. Sums are off by a few times more than
// those of a plain convolution: about 1e-6 of the largest.

// WinogradTaps transforms the weights w [3][n] of the taps to dst[6][n].
func WinogradTaps(dst, w []float32) {
	n := len(w) / 3
	check(len(w) == 3*n && len(dst) == 6*n, "WinogradTaps")
	for i := range n {
		a, b, c := float64(w[i]), float64(w[n+i]), float64(w[2*n+i])
		for p, v := range [6]float64{
			a / 4,
			-(a + b + c) / 6,
			-(a - b + c) / 6,
			a/24 + b/12 + c/6,
			a/24 - b/12 + c/6,
			c,
		} {
			dst[p*n+i] = float32(v)
		}
	}
}

// WinogradIn transforms six successive inputs x [6][n] to dst[6][n]: row p is what
// the transformed weights p are multiplied with. dst may be x.
func WinogradIn(dst []float32, ldd int, x []float32, ldx, n int) {
	check(covers(dst, ldd, 6, n) && covers(x, ldx, 6, n), "WinogradIn")
	active.winogradIn(dst, ldd, x, ldx, n)
}

// WinogradOut transforms the products x [6][n] to four successive outputs dst[4][n].
// What is added to the product of weights 1 is added to all four.
func WinogradOut(dst []float32, ldd int, x []float32, ldx, n int) {
	check(covers(dst, ldd, 4, n) && covers(x, ldx, 6, n), "WinogradOut")
	active.winogradOut(dst, ldd, x, ldx, n)
}

func winogradInGo(dst []float32, ldd int, x []float32, ldx, n int) {
	for i := range n {
		d0, d1, d2, d3, d4, d5 := x[i], x[ldx+i], x[2*ldx+i], x[3*ldx+i], x[4*ldx+i], x[5*ldx+i]
		dst[i] = 4*d0 - 5*d2 + d4
		dst[ldd+i] = d3 + d4 - 4*(d1+d2)
		dst[2*ldd+i] = d4 - d3 + 4*(d1-d2)
		dst[3*ldd+i] = d4 - d2 + 2*(d3-d1)
		dst[4*ldd+i] = d4 - d2 - 2*(d3-d1)
		dst[5*ldd+i] = 4*d1 - 5*d3 + d5
	}
}

func winogradOutGo(dst []float32, ldd int, x []float32, ldx, n int) {
	for i := range n {
		m0, m1, m2, m3, m4, m5 := x[i], x[ldx+i], x[2*ldx+i], x[3*ldx+i], x[4*ldx+i], x[5*ldx+i]
		dst[i] = m0 + m1 + m2 + m3 + m4
		dst[ldd+i] = m1 - m2 + 2*(m3-m4)
		dst[2*ldd+i] = m1 + m2 + 4*(m3+m4)
		dst[3*ldd+i] = m1 - m2 + 8*(m3-m4) + m5
	}
}
