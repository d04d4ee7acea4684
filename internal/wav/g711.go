package wav

import "math/bits"

// muLawBias is added before a magnitude is cut into segment and mantissa, so
// that every segment begins at a power of two (G.711 table 2, scaled to 16 bits).
const muLawBias = 0x84

// expandMuLaw is G.711 table 2 as a formula: a code is sent inverted, as
// sign(1) segment(3) mantissa(4).
func expandMuLaw(code byte) int16 {
	c := ^code
	m := (int16(c&0x0F)<<3+muLawBias)<<(c>>4&7) - muLawBias
	if c&0x80 != 0 {
		return -m
	}
	return m
}

// compressMuLaw is the inverse of expandMuLaw; it clips at the largest code.
func compressMuLaw(s int16) byte {
	m, sign := int32(s), byte(0)
	if m < 0 {
		m, sign = -m, 0x80
	}
	m = min(m, 32635) + muLawBias
	seg := bits.Len32(uint32(m)) - 8
	return ^(sign | byte(seg)<<4 | byte(m>>(seg+3))&0x0F)
}

// expandALaw is G.711 table 1 as a formula: even bits are sent inverted.
func expandALaw(code byte) int16 {
	c := code ^ 0x55
	m, seg := int16(c&0x0F)<<4+8, c>>4&7
	if seg > 0 {
		m = (m + 0x100) << (seg - 1)
	}
	if c&0x80 == 0 {
		return -m
	}
	return m
}
