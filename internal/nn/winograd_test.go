package nn

import "testing"

// Of each column a convolution over time: the products are by element here.
func TestWinogradIsAConvolution(t *testing.T) {
	forEach(t, func(t *testing.T, v isa) {
		r := newRand()
		for _, n := range lengths() {
			ldx, ldd := n+3, n+1
			x, w := normal(r, 6*ldx), normal(r, 3*n)
			points, in, dst := make([]float32, 6*n), make([]float32, 6*ldx), make([]float32, 4*ldd)
			WinogradTaps(points, w)
			v.winogradIn(in, ldx, x, ldx, n)
			for p := range 6 {
				for i := range n {
					in[p*ldx+i] *= points[p*n+i]
					if p == 1 {
						in[p*ldx+i] += float32(i)
					}
				}
			}
			v.winogradOut(dst, ldd, in, ldx, n)
			for y := range 4 {
				for i := range n {
					want := float64(i)
					for k := range 3 {
						want += float64(w[k*n+i]) * float64(x[(y+k)*ldx+i])
					}
					within(t, i, dst[y*ldd+i], want, 2e-5*float64(i+10))
				}
				if dst[y*ldd+n] != 0 {
					t.Fatalf("n %d: wrote between the rows", n)
				}
			}
		}
	})
}
