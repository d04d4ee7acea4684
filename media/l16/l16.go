// Package l16 decodes and encodes L16 (RFC 3551, section 4.5.11): 16-bit linear
// samples in network byte order, those of several channels one after the other.
//
// Two channels are mixed down to their mean: a leg is one party's audio, and a
// sender that says stereo nearly always sends the same in both.
package l16

import (
	"encoding/binary"
	"fmt"
)

const (
	minRate, maxRate = 8000, 48000
	maxChannels      = 2
)

// Codec is one format of L16. It is immutable and safe for concurrent use.
type Codec struct{ rate, channels int }

// New makes the codec of a sample rate, in Hz, and one or two channels. Frames
// of 20 ms must hold whole samples, so the rate is a multiple of 50.
func New(rate, channels int) (*Codec, error) {
	if rate < minRate || rate > maxRate || rate%50 != 0 {
		return nil, fmt.Errorf("l16: %d Hz: rates are multiples of 50 from %d to %d", rate, minRate, maxRate)
	}
	if channels < 1 || channels > maxChannels {
		return nil, fmt.Errorf("l16: %d channels: there may be 1 or %d", channels, maxChannels)
	}
	return &Codec{rate, channels}, nil
}

// String is the codec's name.
func (c *Codec) String() string {
	if c.channels > 1 {
		return fmt.Sprintf("L16/%d/%d", c.rate, c.channels)
	}
	return fmt.Sprintf("L16/%d", c.rate)
}

// Rate is the sample rate in Hz.
func (c *Codec) Rate() int { return c.rate }

// Reset does nothing: each sample stands for itself.
func (c *Codec) Reset() {}

// Samples is the number of samples of each channel in a payload; 0 when it does
// not hold whole ones.
func (c *Codec) Samples(src []byte) int {
	if len(src)%(2*c.channels) != 0 {
		return 0
	}
	return len(src) / (2 * c.channels)
}

// Decode writes the samples of src to dst, mixed down, and returns their
// number. A dst that is too short is an error and is left alone.
func (c *Codec) Decode(dst []int16, src []byte) (int, error) {
	n := c.Samples(src)
	switch {
	case n == 0 && len(src) > 0:
		return 0, fmt.Errorf("l16: %d bytes are no whole samples of %d channels", len(src), c.channels)
	case len(dst) < n:
		return 0, fmt.Errorf("l16: %d samples do not fit into a buffer of %d", n, len(dst))
	}
	for i := range n {
		if c.channels == 1 {
			dst[i] = int16(binary.BigEndian.Uint16(src[2*i:]))
			continue
		}
		left := int32(int16(binary.BigEndian.Uint16(src[4*i:])))
		right := int32(int16(binary.BigEndian.Uint16(src[4*i+2:])))
		dst[i] = int16((left + right) / 2)
	}
	return n, nil
}

// Encode writes the samples of src to dst, each into every channel, and returns
// the number of bytes.
func (c *Codec) Encode(dst []byte, src []int16) (int, error) {
	n := 2 * c.channels * len(src)
	if len(dst) < n {
		return 0, fmt.Errorf("l16: %d bytes do not fit into a buffer of %d", n, len(dst))
	}
	at := dst
	for _, s := range src {
		for range c.channels {
			binary.BigEndian.PutUint16(at, uint16(s))
			at = at[2:]
		}
	}
	return n, nil
}
