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
func (b *band) step(ilb *[32]int32, d, nb, shift int32) {
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
func (t *tables) lowScale(nb int32, code int) int32 {
	return max(0, min(nb*127>>7+t.wl[t.rl42[code]], 18432))
}

func (t *tables) highScale(nb int32, code int) int32 {
	return max(0, min(nb*127>>7+t.wh[code], 22528))
}

func sameSign(a, b int32) bool { return (a < 0) == (b < 0) }

func sat(x int32) int32 { return max(-32768, min(x, 32767)) }

func bound(x, by int32) int32 { return max(-by, min(x, by)) }

// limit is LIMIT: the bands have 15 bits.
func limit(x int32) int32 { return max(-16384, min(x, 16383)) }
