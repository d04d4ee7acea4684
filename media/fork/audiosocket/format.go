package audiosocket

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Format is what frames of kind 0x10 really carry. Before there were other
// kinds, Asterisk's channel driver labelled with 0x10 whatever codec the channel
// had.
type Format uint8

// The formats.
const (
	// Auto finds the format out: see formatOf, guess and pace.
	Auto Format = iota
	// Slin and Slin16 are linear samples at 8 and 16 kHz.
	Slin
	Slin16
	// MuLaw and ALaw are G.711.
	MuLaw
	ALaw
)

// String is the format's name in configurations and logs.
func (f Format) String() string {
	switch f {
	case Auto:
		return "auto"
	case Slin:
		return "slin"
	case Slin16:
		return "slin16"
	case MuLaw:
		return "ulaw"
	case ALaw:
		return "alaw"
	default:
		return fmt.Sprintf("format %d", uint8(f))
	}
}

// ParseFormat is the inverse of Format.String.
func ParseFormat(s string) (Format, error) {
	for f := Auto; f <= ALaw; f++ {
		if s == f.String() {
			return f, nil
		}
	}
	return 0, fmt.Errorf("audiosocket: unknown format %q, expected auto, slin, slin16, ulaw or alaw", s)
}

// width is the bytes of a sample.
func (f Format) width() int {
	if f == MuLaw || f == ALaw {
		return 1
	}
	return 2
}

const (
	// g711Frame is 20 ms of G.711, slin16Frame of slin16, in bytes.
	g711Frame   = 160
	slin16Frame = 640
)

// formatOf is the first guess, by the size of a frame: they are of 20 ms,
// unless somebody has set another packet time.
func formatOf(size int) Format {
	switch size {
	case g711Frame:
		return MuLaw
	case slin16Frame:
		return Slin16
	default:
		return Slin
	}
}

// linear decodes the beginning of b into dst.
func (p *Protocol) linear(dst []int16, b []byte, f Format) {
	codec := p.mu
	switch f {
	case ALaw:
		codec = p.a
	case MuLaw:
	default:
		for i := range dst {
			dst[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
		}
		return
	}
	// The lengths fit, which is all that can go wrong.
	_, _ = codec.Decode(dst, b[:len(dst)])
}

// guessFrames is how many frames guess looks at: a second.
const guessFrames = 50

// guess tells three formats apart whose frames may have 160 bytes: 20 ms of
// mu-law or A-law, and 10 ms of slin. Sound is smooth and seldom loud, and
// decoded wrongly it is rough and loud.
type guess struct {
	on     bool
	frames int
	rough  [ALaw + 1]int64
	best   Format
}

// next returns the format that the frames point to so far.
func (g *guess) next(p *Protocol, b []byte) Format {
	if g.frames == guessFrames {
		return g.best
	}
	g.frames++
	var dst [g711Frame]int16
	g.best = MuLaw
	for _, f := range [...]Format{MuLaw, ALaw, Slin} {
		n := len(b) / f.width()
		p.linear(dst[:n], b, f)
		var sum, last int64
		for _, x := range dst[:n] {
			sum += max(int64(x), -int64(x)) + max(int64(x)-last, last-int64(x))
			last = int64(x)
		}
		g.rough[f] += sum / int64(n)
		if g.rough[f] < g.rough[g.best] {
			g.best = f
		}
	}
	return g.best
}

const (
	// paceTime is how long an unbroken stream is measured, paceBreak the pause
	// that breaks it.
	paceTime  = 3 * time.Second
	paceBreak = 200 * time.Millisecond
)

// pace measures how many bytes come in a second, which tells slin from slin16
// where the size of the frames has misled.
type pace struct {
	begun, last time.Time
	bytes       int
	done        bool
}

// correct returns the format that the pace points to, which is f unless it is
// clearly another.
func (p *pace) correct(n int, f Format, now time.Time) Format {
	if p.done || f.width() != 2 {
		return f
	}
	if p.begun.IsZero() || now.Sub(p.last) > paceBreak {
		p.begun, p.last, p.bytes = now, now, 0
		return f
	}
	p.last = now
	p.bytes += n
	passed := now.Sub(p.begun)
	if passed < paceTime {
		return f
	}
	p.done = true
	rate := float64(p.bytes) / 2 / passed.Seconds()
	switch {
	case rate > 6500 && rate < 10000:
		return Slin
	case rate > 13000 && rate < 20000:
		return Slin16
	default:
		return f
	}
}
