package nn

import "math"

// Half is a Linear whose weights are kept as 16-bit floats (IEEE 754
// binary16): half the memory, and so half the time where few rows are
// multiplied at once. Sums are taken in float32. Where the processor cannot
// widen them as it goes, the weights are kept as float32. It is immutable.
type Half struct{ matrix }

// NewHalf lays out w [out][in], 16-bit floats; bias may be nil. Neither slice
// is kept.
func NewHalf(w []uint16, bias []float32, out, in int) *Half {
	return newHalf(active, w, bias, out, in)
}

func newHalf(v isa, w []uint16, bias []float32, out, in int) *Half {
	m := newMatrix(v, len(w), bias, out, in)
	half := make([]uint16, m.size())
	pack(m.panels, half, w)
	if v.widens() {
		m.w.half = half
	} else {
		m.w.full = make([]float32, len(half))
		halfToFloatGo(m.w.full, half)
	}
	return &Half{m}
}

// HalfToFloat converts 16-bit floats; the result is exact.
func HalfToFloat(dst []float32, src []uint16) {
	check(len(dst) == len(src), "HalfToFloat")
	active.halfToFloat(dst, src)
}

// FloatToHalf converts to 16-bit floats, rounding to the nearest, ties to
// even; what is too large becomes infinite.
func FloatToHalf(dst []uint16, src []float32) {
	check(len(dst) == len(src), "FloatToHalf")
	active.floatToHalf(dst, src)
}

// maxHalf is the largest finite number of 16 bits.
const maxHalf = 65504

func halfToFloat(h uint16) float32 {
	const lift = 1 << 112 // the difference of the exponents' biases
	sign, rest := uint32(h>>15)<<31, uint32(h&0x7fff)<<13
	if rest >= 0x7c00<<13 { // infinite or NaN
		quiet := uint32(0)
		if rest > 0x7c00<<13 {
			quiet = 1 << 22
		}
		return math.Float32frombits(sign | 0x7f800000 | rest | quiet)
	}
	f := math.Float32frombits(rest) * lift
	return math.Float32frombits(sign | math.Float32bits(f))
}

func floatToHalf(f float32) uint16 {
	b := math.Float32bits(f)
	sign, b := uint16(b>>16&0x8000), b&0x7fffffff
	switch {
	case b > 0x7f800000: // NaN: kept quiet, with its upper bits
		return sign | 0x7e00 | uint16(b>>13&0x3ff)
	case b >= 0x477ff000: // rounds to 65536 or more
		return sign | 0x7c00
	case b < 0x38800000: // subnormal: the sum's last bit is worth 2⁻²⁴
		return sign | uint16(math.Float32bits(math.Float32frombits(b)+0.5)-math.Float32bits(0.5))
	}
	return sign | uint16((b-112<<23+0xfff+b>>13&1)>>13)
}
