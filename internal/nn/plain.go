package nn

import "math"

// gemmGo computes c[m][16·width] (+)= a[m][k] · b + bias for panels b, each
// [k][16].
func gemmGo(m, width, k int, a []float32, lda int, b, c []float32, ldc int, bias []float32, add bool) {
	for p := range width {
		panel := b[p*k*panelN:][:k*panelN]
		var t tile
		i := 0
		for ; i+3 <= m; i += 3 {
			t0, t1, t2 := t[i*panelN:][:panelN], t[(i+1)*panelN:][:panelN], t[(i+2)*panelN:][:panelN]
			for j := 0; j < panelN; j += 2 {
				t0[j], t0[j+1], t1[j], t1[j+1], t2[j], t2[j+1] =
					cells3x2Go(a[i*lda:][:k], a[(i+1)*lda:][:k], a[(i+2)*lda:][:k], panel[j:])
			}
		}
		for ; i < m; i++ {
			d := t[i*panelN:][:panelN]
			for j := 0; j < panelN; j += 4 {
				d[j], d[j+1], d[j+2], d[j+3] = cells1x4Go(a[i*lda:][:k], panel[j:])
			}
		}
		if bias != nil {
			for i := range m {
				addGo(t[i*panelN:][:panelN], bias[p*panelN:][:panelN])
			}
		}
		t.store(c[p*panelN:], ldc, m, panelN, add)
	}
}

// cells3x2Go multiplies three rows by two columns of a panel. With more sums,
// as with more in cells1x4Go, the compiler runs out of registers.
func cells3x2Go(a0, a1, a2, panel []float32) (s00, s01, s10, s11, s20, s21 float32) {
	a1, a2 = a1[:len(a0)], a2[:len(a0)]
	for q, x := range a0 {
		y, z := a1[q], a2[q]
		w := panel[q*panelN:][:2]
		s00 += x * w[0]
		s01 += x * w[1]
		s10 += y * w[0]
		s11 += y * w[1]
		s20 += z * w[0]
		s21 += z * w[1]
	}
	return
}

func cells1x4Go(a, panel []float32) (s0, s1, s2, s3 float32) {
	for q, x := range a {
		w := panel[q*panelN:][:4]
		s0 += x * w[0]
		s1 += x * w[1]
		s2 += x * w[2]
		s3 += x * w[3]
	}
	return
}

// packRowsGo writes scale · src[n][k] to the panel dst[k][16] and fills it up
// with zeros.
func packRowsGo(dst, src []float32, ld, n, k int, scale float32) {
	if n < panelN {
		clear(dst[:k*panelN])
	}
	for i := range n {
		d := dst[i:]
		for q, x := range src[i*ld:][:k] {
			d[q*panelN] = scale * x
		}
	}
}

// mixGo computes dst[n] = a[k] · b[k][n].
func mixGo(dst, a, b []float32, ldb, k, n int) {
	dst = dst[:n]
	clear(dst)
	for q := range k {
		x := a[q]
		for j, w := range b[q*ldb : q*ldb+n] {
			dst[j] += x * w
		}
	}
}

func dotGo(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	b = b[:len(a)]
	for len(a) >= 4 {
		s0 += a[0] * b[0]
		s1 += a[1] * b[1]
		s2 += a[2] * b[2]
		s3 += a[3] * b[3]
		a, b = a[4:], b[4:]
	}
	for i, x := range a {
		s0 += x * b[i]
	}
	return (s0 + s1) + (s2 + s3)
}

func addGo(dst, x []float32) {
	for i, v := range x {
		dst[i] += v
	}
}

func softmaxGo(x []float32) {
	hi := float32(math.Inf(-1))
	for _, v := range x {
		hi = max(hi, v)
	}
	var s float32
	for i, v := range x {
		e := expGo(v - hi)
		x[i] = e
		s += e
	}
	s = 1 / s
	for i := range x {
		x[i] *= s
	}
}

// expGo is exp(x) for x ≤ 0 or NaN, to two units in the last place; what is
// below the least normal number becomes zero. The polynomial is that of
// Cephes' expf (Moshier, 1989).
func expGo(x float32) float32 {
	if x < expLeast {
		return 0
	}
	n := x*math.Log2E + roundMagic - roundMagic
	r := x - n*ln2High - n*ln2Low
	p := float32(expC0)
	p = p*r + expC1
	p = p*r + expC2
	p = p*r + expC3
	p = p*r + expC4
	p = p*r + expC5
	p = p*r*r + r + 1
	if p != p {
		return p
	}
	return p * math.Float32frombits(uint32(int32(n)+127)<<23)
}

const (
	expLeast   = -87.33654
	roundMagic = 3 << 22 // added and taken away it rounds to a whole number
	ln2High    = 0.693359375
	ln2Low     = -2.12194440e-4
	expC0      = 1.9875691500e-4
	expC1      = 1.3981999507e-3
	expC2      = 8.3334519073e-3
	expC3      = 4.1665795894e-2
	expC4      = 1.6666665459e-1
	expC5      = 5.0000001201e-1
)

// geluGo computes x·Φ(x) as max(x, 0) - |x|·Φ(-|x|), which loses no digits on
// either side. Φ(-|x|) is half of erfc(|x|/√2), by formula 7.1.26 of
// Abramowitz and Stegun (1964), good to 1.5e-7.
func geluGo(x []float32) {
	for i, v := range x {
		// From 20 on Φ(-|x|) is zero, and infinity must not meet it.
		size := min(max(v, -v), 20)
		t := 1 / (1 + erfcP*size)
		p := float32(erfcA5)
		p = p*t + erfcA4
		p = p*t + erfcA3
		p = p*t + erfcA2
		p = p*t + erfcA1
		x[i] = max(v, 0) - size*(p*t*expGo(-0.5*size*size))
	}
}

const (
	erfcP  = 0.3275911 / math.Sqrt2
	erfcA1 = 0.254829592 / 2
	erfcA2 = -0.284496736 / 2
	erfcA3 = 1.421413741 / 2
	erfcA4 = -1.453152027 / 2
	erfcA5 = 1.061405429 / 2
)

func layerNormGo(dst, x, gamma, beta []float32) {
	var sum, squares float64
	for _, v := range x {
		sum += float64(v)
		squares += float64(v) * float64(v)
	}
	mean, r := norm(sum, squares, len(x))
	for j, v := range x {
		dst[j] = float32((float64(v)-mean)*r)*gamma[j] + beta[j]
	}
}

func halfToFloatGo(dst []float32, src []uint16) {
	for i, v := range src {
		dst[i] = halfToFloat(v)
	}
}

// saturateGo is floatToHalfGo, but what is too large becomes the largest finite
// number.
func saturateGo(dst []uint16, src []float32) {
	for i, x := range src {
		dst[i] = floatToHalf(max(-maxHalf, min(x, maxHalf)))
	}
}

func floatToHalfGo(dst []uint16, src []float32) {
	for i, v := range src {
		dst[i] = floatToHalf(v)
	}
}
