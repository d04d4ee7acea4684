package neon

import "math"

// Codes of instructions on four lanes of float32, from the Arm Architecture
// Reference Manual, C7.2; the registers are put in below.
const (
	fadd  = 0x4e20d400
	fsub  = 0x4ea0d400
	fmul  = 0x6e20dc00
	fdiv  = 0x6e20fc00
	fmax  = 0x4e20f400
	fmin  = 0x4ea0f400
	faddp = 0x6e20d400
	fmaxp = 0x6e20f400
	fcmgt = 0x6ea0e400
	bic   = 0x4e601c00

	fabs   = 0x4ea0f800
	fsqrt  = 0x6ea1f800
	fcmlt0 = 0x4ea0e800

	fcvtl  = 0x0e217800
	fcvtl2 = 0x4e217800
	fcvtn  = 0x0e216800
	fcvtn2 = 0x4e216800

	fmlaElement = 0x4f801000
)

func (a *assembly) three(code uint32, name string, d, n, m vec) {
	a.word(code|uint32(m)<<16|uint32(n)<<5|uint32(d), "%s v%d.4s, v%d.4s, v%d.4s", name, d, n, m)
}

func (a *assembly) two(code uint32, d, n vec, format string) {
	a.word(code|uint32(n)<<5|uint32(d), format, d, n)
}

func (a *assembly) add(d, n, m vec) { a.three(fadd, "fadd", d, n, m) }
func (a *assembly) sub(d, n, m vec) { a.three(fsub, "fsub", d, n, m) }
func (a *assembly) mul(d, n, m vec) { a.three(fmul, "fmul", d, n, m) }
func (a *assembly) div(d, n, m vec) { a.three(fdiv, "fdiv", d, n, m) }

// max and min are NaN where either is.
func (a *assembly) max(d, n, m vec) { a.three(fmax, "fmax", d, n, m) }
func (a *assembly) min(d, n, m vec) { a.three(fmin, "fmin", d, n, m) }

// addPairs writes the sums of neighbours in n, then of those in m.
func (a *assembly) addPairs(d, n, m vec) { a.three(faddp, "faddp", d, n, m) }
func (a *assembly) maxPairs(d, n, m vec) { a.three(fmaxp, "fmaxp", d, n, m) }

// greater sets all bits of the lanes where n > m, so not where either is NaN.
func (a *assembly) greater(d, n, m vec) { a.three(fcmgt, "fcmgt", d, n, m) }

// below0 sets all bits of the lanes where n < 0.
func (a *assembly) below0(d, n vec) { a.two(fcmlt0, d, n, "fcmlt v%d.4s, v%d.4s, #0.0") }

// without clears in n the bits of m.
func (a *assembly) without(d, n, m vec) {
	a.word(bic|uint32(m)<<16|uint32(n)<<5|uint32(d), "bic v%d.16b, v%d.16b, v%d.16b", d, n, m)
}

func (a *assembly) abs(d, n vec)  { a.two(fabs, d, n, "fabs v%d.4s, v%d.4s") }
func (a *assembly) sqrt(d, n vec) { a.two(fsqrt, d, n, "fsqrt v%d.4s, v%d.4s") }

// widen converts the lower four 16-bit floats of n, widenHigh the upper.
func (a *assembly) widen(d, n vec)     { a.two(fcvtl, d, n, "fcvtl v%d.4s, v%d.4h") }
func (a *assembly) widenHigh(d, n vec) { a.two(fcvtl2, d, n, "fcvtl2 v%d.4s, v%d.8h") }

// narrow converts to the lower four 16-bit floats of d, narrowHigh to the
// upper and leaves the lower.
func (a *assembly) narrow(d, n vec)     { a.two(fcvtn, d, n, "fcvtn v%d.4h, v%d.4s") }
func (a *assembly) narrowHigh(d, n vec) { a.two(fcvtn2, d, n, "fcvtn2 v%d.8h, v%d.4s") }

// fmaLane adds n times one lane of m to d.
func (a *assembly) fmaLane(d, n, m vec, lane int) {
	l, h := uint32(lane&1), uint32(lane>>1)
	a.word(fmlaElement|l<<21|uint32(m)<<16|h<<11|uint32(n)<<5|uint32(d), "fmla v%d.4s, v%d.4s, v%d.s[%d]", d, n, m, lane)
}

// What follows is known to the assembler of Go, which takes the destination
// last and the factors in the other order.

// fma adds n·m to d, fms takes it away.
func (a *assembly) fma(d, n, m vec) { a.op("VFMLA V%d.S4, V%d.S4, V%d.S4", m, n, d) }
func (a *assembly) fms(d, n, m vec) { a.op("VFMLS V%d.S4, V%d.S4, V%d.S4", m, n, d) }

func (a *assembly) move(d, n vec)   { a.op("VMOV V%d.B16, V%d.B16", n, d) }
func (a *assembly) or(d, n, m vec)  { a.op("VORR V%d.B16, V%d.B16, V%d.B16", m, n, d) }
func (a *assembly) zero(d vec)      { a.op("VMOVI $0, V%d.B16", d) }
func (a *assembly) spread(d, n vec) { a.op("VDUP V%d.S[0], V%d.S4", n, d) }

// first clears all lanes of n but the first.
func (a *assembly) first(d, n vec) { a.op("FMOVS F%d, F%d", n, d) }

// insert copies into d those bits of n that are set in mask.
func (a *assembly) insert(d, n, mask vec) { a.op("VBIT V%d.B16, V%d.B16, V%d.B16", mask, n, d) }

// shiftLeft shifts each lane, as a whole number.
func (a *assembly) shiftLeft(d, n vec, by int) { a.op("VSHL $%d, V%d.S4, V%d.S4", by, n, d) }

// transpose writes the even (1) or odd (2) lanes of n and m in turn; kind is
// S4 or D2.
func (a *assembly) transpose(which int, kind string, d, n, m vec) {
	a.op("VTRN%d V%d.%s, V%d.%s, V%d.%s", which, m, kind, n, kind, d, kind)
}

// bits gives out a register with b in all lanes; r is overwritten.
func (a *assembly) bits(b uint32, r gp) vec {
	v := a.vec()
	a.op("MOVD $0x%08x, R%d", b, r)
	a.op("VDUP R%d, V%d.S4", r, v)
	return v
}

func (a *assembly) float(f float64, r gp) vec { return a.bits(math.Float32bits(float32(f)), r) }

// fold spreads the sum or maximum of all lanes over them.
func fold(v vec, pairs func(d, n, m vec)) {
	pairs(v, v, v)
	pairs(v, v, v)
}
