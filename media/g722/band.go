package g722

// band is the adaptive predictor and quantiser scale of one of the two bands.
// Index 0 of a history is the newest value.
type band struct {
	s   int32 // prediction of the next value
	sz  int32 // the zeros' part of it
	nb  int32 // logarithm of the scale
	det int32 // the scale
	a   [2]int32
	b   [6]int32
	r   [2]int32 // reconstructed
	p   [2]int32 // partially reconstructed
	d   [6]int32 // quantised differences
}

// step takes the next quantised difference: it adapts the predictor (block 4 of
// clause 6.2), sets the scale of logarithm nb, and predicts the next value.
func (b *band) step(d, nb, shift int32) {
	r := sat(b.s + d)  // RECONS
	p := sat(b.sz + d) // PARREC

	// UPPOL2 and UPPOL1
	slope := sat(b.a[0] << 2)
	gain := int32(-192)
	if sameSign(p, b.p[0]) {
		slope, gain = sat(-slope), 192
	}
	a1 := slope>>7 - 128
	if sameSign(p, b.p[1]) {
		a1 += 256
	}
	a1 = bound(a1+b.a[1]*32512>>15, 12288)
	b.a[0] = bound(sat(gain+b.a[0]*32640>>15), 15360-a1)
	b.a[1] = a1

	// UPZERO
	for i := range b.b {
		gain := int32(0)
		switch {
		case d == 0:
		case sameSign(d, b.d[i]):
			gain = 128
		default:
			gain = -128
		}
		b.b[i] = sat(gain + b.b[i]*32640>>15)
	}

	// DELAYA
	copy(b.d[1:], b.d[:5])
	b.d[0] = d
	b.r[1], b.r[0] = b.r[0], r
	b.p[1], b.p[0] = b.p[0], p

	// SCALEL and SCALEH
	b.nb = nb
	b.det = ilb[nb>>6&31]
	if down := shift - nb>>11; down >= 0 {
		b.det = b.det >> down << 2
	} else {
		b.det = b.det << -down << 2
	}

	// FILTEP, FILTEZ and PREDIC
	sp := sat(b.a[0]*sat(2*b.r[0])>>15 + b.a[1]*sat(2*b.r[1])>>15)
	sz := int32(0)
	for i, c := range b.b {
		sz += c * sat(2*b.d[i]) >> 15
	}
	b.sz = sat(sz)
	b.s = sat(sp + b.sz)
}

// lowScale and highScale are LOGSCL and LOGSCH: the next logarithm of the
// scale, from the four or two bits that every mode transmits.
func lowScale(nb int32, code int) int32 {
	return max(0, min(nb*127>>7+wl[rl42[code]], 18432))
}

func highScale(nb int32, code int) int32 {
	return max(0, min(nb*127>>7+wh[code], 22528))
}

func sameSign(a, b int32) bool { return (a < 0) == (b < 0) }

func sat(x int32) int32 { return max(-32768, min(x, 32767)) }

func bound(x, by int32) int32 { return max(-by, min(x, by)) }

// limit is LIMIT: the bands have 15 bits.
func limit(x int32) int32 { return max(-16384, min(x, 16383)) }

// The tables of clause 6.2.
var (
	// qmf is table 11 of the Recommendation: the filter's even taps; the odd
	// ones are the same from behind.
	qmf = [12]int32{3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11}

	// q6 are the decision levels of the lower band; qm6, qm4 and qm2 the output
	// levels of 6, 4 and 2 bits.
	q6 = [30]int32{
		0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650,
		714, 786, 858, 940, 1023, 1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
	}
	qm6 = [64]int32{
		-136, -136, -136, -136, -24808, -21904, -19008, -16704,
		-14984, -13512, -12280, -11192, -10232, -9360, -8576, -7856,
		-7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576,
		-3168, -2776, -2400, -2032, -1688, -1360, -1040, -728,
		24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192,
		10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456,
		4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032,
		1688, 1360, 1040, 728, 432, 136, -432, -136,
	}
	qm4 = [16]int32{
		0, -20456, -12896, -8968, -6288, -4240, -2584, -1200,
		20456, 12896, 8968, 6288, 4240, 2584, 1200, 0,
	}
	qm2 = [4]int32{-7408, -1616, 7408, 1616}

	// wl, by way of rl42, and wh are what a code adds to the scale's logarithm;
	// ilb turns it back.
	wl   = [8]int32{-60, -30, 58, 172, 334, 538, 1198, 3042}
	rl42 = [16]int{0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0}
	wh   = [4]int32{798, -214, 798, -214}
	ilb  = [32]int32{
		2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
		2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
	}
)
