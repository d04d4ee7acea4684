package dsp

import "math"

// real512 is the discrete Fourier transform of 512 real samples, as one of 256
// complex ones (even samples real, odd ones imaginary) whose parts are taken apart
// afterwards. That of 256 goes in four passes of Stockham's radix 4, which leave
// the frequencies in order.
type real512 struct {
	// turn holds exp(-2πi·p/256) for p below 192, half exp(-2πi·k/512).
	turnRe, turnIm [192]float32
	halfRe, halfIm [halfSize]float32
	re, im         [2][halfSize]float32
}

const (
	fftSize  = 512
	halfSize = fftSize / 2
)

func (f *real512) init() {
	for p := range f.turnRe {
		s, c := math.Sincos(-2 * math.Pi * float64(p) / halfSize)
		f.turnRe[p], f.turnIm[p] = float32(c), float32(s)
	}
	for k := range f.halfRe {
		s, c := math.Sincos(-2 * math.Pi * float64(k) / fftSize)
		f.halfRe[k], f.halfIm[k] = float32(c), float32(s)
	}
}

// power writes the squared magnitudes of the frequencies below half of the sample
// rate to dst.
func (f *real512) power(dst *[halfSize]float32, x *[fftSize]float32) {
	for k := range halfSize {
		f.re[0][k], f.im[0][k] = x[2*k], x[2*k+1]
	}
	f.pass(0, 64, 1)
	f.pass(1, 16, 4)
	f.pass(0, 4, 16)
	f.pass(1, 1, 64)
	re, im := &f.re[0], &f.im[0]
	dc := re[0] + im[0]
	dst[0] = dc * dc
	for k := 1; k < halfSize; k++ {
		m := halfSize - k
		// The spectra of the even and of the odd samples, each doubled.
		evenRe, evenIm := re[k]+re[m], im[k]-im[m]
		oddRe, oddIm := im[k]+im[m], re[m]-re[k]
		wr, wi := f.halfRe[k], f.halfIm[k]
		a := evenRe + oddRe*wr - oddIm*wi
		b := evenIm + oddRe*wi + oddIm*wr
		dst[k] = (a*a + b*b) / 4
	}
}

// pass takes groups of 4·quarter values, stride of them side by side, from buffer
// from to the other one.
func (f *real512) pass(from, quarter, stride int) {
	xr, xi := &f.re[from], &f.im[from]
	yr, yi := &f.re[1-from], &f.im[1-from]
	for p := range quarter {
		w := p * stride
		w1r, w1i := f.turnRe[w], f.turnIm[w]
		w2r, w2i := f.turnRe[2*w], f.turnIm[2*w]
		w3r, w3i := f.turnRe[3*w], f.turnIm[3*w]
		in, out := stride*p, stride*4*p
		ar, ai := xr[in:][:stride], xi[in:][:stride]
		br, bi := xr[in+64:][:stride], xi[in+64:][:stride]
		cr, ci := xr[in+128:][:stride], xi[in+128:][:stride]
		dr, di := xr[in+192:][:stride], xi[in+192:][:stride]
		o0r, o0i := yr[out:][:stride], yi[out:][:stride]
		o1r, o1i := yr[out+stride:][:stride], yi[out+stride:][:stride]
		o2r, o2i := yr[out+2*stride:][:stride], yi[out+2*stride:][:stride]
		o3r, o3i := yr[out+3*stride:][:stride], yi[out+3*stride:][:stride]
		for q := range ar {
			sr, si := ar[q]+cr[q], ai[q]+ci[q]
			tr, ti := ar[q]-cr[q], ai[q]-ci[q]
			ur, ui := br[q]+dr[q], bi[q]+di[q]
			// i·(b - d)
			vr, vi := di[q]-bi[q], br[q]-dr[q]
			o0r[q], o0i[q] = sr+ur, si+ui
			er, ei := tr-vr, ti-vi
			o1r[q], o1i[q] = er*w1r-ei*w1i, er*w1i+ei*w1r
			er, ei = sr-ur, si-ui
			o2r[q], o2i[q] = er*w2r-ei*w2i, er*w2i+ei*w2r
			er, ei = tr+vr, ti+vi
			o3r[q], o3i[q] = er*w3r-ei*w3i, er*w3i+ei*w3r
		}
	}
}
