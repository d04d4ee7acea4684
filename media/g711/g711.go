// Package g711 decodes and encodes G.711 (ITU-T G.711; RTP payload types 0 and
// 8 of RFC 3551, section 4.5.14): one byte per sample at 8 kHz.
//
// The code tables come from github.com/zaf/g711, read out once per Codec: its
// own slice functions allocate on every call, a Codec never does.
package g711

import (
	"fmt"
	"strings"

	lib "github.com/zaf/g711"
)

const (
	// Rate is the sample rate and RTP clock of G.711, in Hz.
	Rate = 8000
	// PayloadTypeMuLaw and PayloadTypeALaw are the static payload types.
	PayloadTypeMuLaw = 0
	PayloadTypeALaw  = 8
)

// Law is one of the two companding laws.
type Law uint8

// The laws.
const (
	MuLaw Law = iota
	ALaw
)

// String is the law's encoding name in SDP (RFC 3551).
func (l Law) String() string {
	if l == ALaw {
		return "PCMA"
	}
	return "PCMU"
}

// ParseLaw is the inverse of Law.String and does not mind the case.
func ParseLaw(s string) (Law, error) {
	switch strings.ToUpper(s) {
	case "PCMU":
		return MuLaw, nil
	case "PCMA":
		return ALaw, nil
	default:
		return 0, fmt.Errorf("g711: unknown codec %q, expected PCMU or PCMA", s)
	}
}

// PayloadType is the law's static RTP payload type.
func (l Law) PayloadType() uint8 {
	if l == ALaw {
		return PayloadTypeALaw
	}
	return PayloadTypeMuLaw
}

// Codec holds the tables of one law. It is immutable and safe for concurrent
// use.
type Codec struct {
	law    Law
	linear [256]int16
	encode func(int16) uint8
}

// New builds the tables of a law.
func New(law Law) (*Codec, error) {
	c := &Codec{law: law}
	var decode func(uint8) int16
	switch law {
	case MuLaw:
		decode, c.encode = lib.DecodeUlawFrame, lib.EncodeUlawFrame
	case ALaw:
		decode, c.encode = lib.DecodeAlawFrame, lib.EncodeAlawFrame
	default:
		return nil, fmt.Errorf("g711: unknown law %d", law)
	}
	for i := range c.linear {
		c.linear[i] = decode(uint8(i))
	}
	return c, nil
}

// Law is the law that New was given.
func (c *Codec) Law() Law { return c.law }

// String is the law's name.
func (c *Codec) String() string { return c.law.String() }

// Rate is the sample rate in Hz.
func (c *Codec) Rate() int { return Rate }

// Reset does nothing: each sample stands for itself.
func (c *Codec) Reset() {}

// Samples is the number of samples in a payload: one per byte.
func (c *Codec) Samples(src []byte) int { return len(src) }

// Decode expands each byte of src into one sample of dst and returns their
// number. A dst that is too short is an error and is left alone: how much a
// packet holds is for the network to say.
func (c *Codec) Decode(dst []int16, src []byte) (int, error) {
	if len(dst) < len(src) {
		return 0, fmt.Errorf("g711: %d samples do not fit into a buffer of %d", len(src), len(dst))
	}
	for i, b := range src {
		dst[i] = c.linear[b]
	}
	return len(src), nil
}

// Encode compresses each sample of src into one byte of dst, which must be as
// long, and returns their number.
func (c *Codec) Encode(dst []byte, src []int16) (int, error) {
	if len(dst) < len(src) {
		return 0, fmt.Errorf("g711: %d bytes do not fit into a buffer of %d", len(src), len(dst))
	}
	for i, s := range src {
		dst[i] = c.encode(s)
	}
	return len(src), nil
}
