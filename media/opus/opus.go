// Package opus decodes Opus (RFC 6716; as RTP payload RFC 7587) to speech at
// 16 kHz, mono, with the decoder of github.com/pion/opus.
//
// Stereo is mixed down by the decoder. What a packet of discontinuous
// transmission leaves out is silence. The redundant copy of a lost packet that
// its successor may carry (in-band FEC) is not used: the library skips it.
package opus

import (
	"fmt"

	lib "github.com/pion/opus"
)

const (
	// Rate is the sample rate of what is decoded, Clock the RTP clock, in Hz.
	Rate  = 16000
	Clock = 48000

	// maxPacket is the longest packet, 120 ms (RFC 6716, section 3.2.5).
	maxPacket = Rate * 120 / 1000
)

// Decoder is the state of one stream's decoder. It is for one goroutine.
type Decoder struct {
	lib lib.Decoder
	pcm [maxPacket]int16
}

// New makes a decoder in its first state.
func New() (*Decoder, error) {
	d, err := lib.NewDecoderWithOutput(Rate, 1)
	if err != nil {
		return nil, fmt.Errorf("opus: %w", err)
	}
	return &Decoder{lib: d}, nil
}

// String is the codec's name.
func (d *Decoder) String() string { return "opus" }

// Rate is the sample rate of what is decoded, in Hz.
func (d *Decoder) Rate() int { return Rate }

// Reset brings the decoder back to its first state, for another source.
func (d *Decoder) Reset() {
	// New has accepted the same rate and number of channels before.
	_ = d.lib.Init(Rate, 1)
}

// Samples is the number of samples at Rate that a packet holds, from its first
// one or two bytes; 0 when it is no Opus packet.
//
//	config(5) | s(1) | c(2), RFC 6716, section 3.1; if c is 3:
//	v(1) | p(1) | M(6), section 3.2.5
func (d *Decoder) Samples(src []byte) int {
	if len(src) == 0 {
		return 0
	}
	frames := 2
	switch src[0] & 3 {
	case 0:
		frames = 1
	case 3:
		if len(src) < 2 {
			return 0
		}
		frames = int(src[1] & 63)
	}
	n := frames * frameSamples(src[0]>>3)
	if n > maxPacket {
		return 0
	}
	return n
}

// frameSamples is the length of one frame of a configuration (RFC 6716, table
// 2), in samples at Rate.
func frameSamples(config byte) int {
	const ms = Rate / 1000
	switch {
	case config < 12 && config%4 == 3: // SILK: 10, 20, 40, 60 ms
		return 60 * ms
	case config < 12:
		return 10 * ms << (config % 4)
	case config < 16: // hybrid: 10, 20 ms
		return 10 * ms << (config % 2)
	default: // CELT: 2.5, 5, 10, 20 ms
		return 5 * ms / 2 << (config % 4)
	}
}

// Decode writes the samples of the packet src to dst and returns their number.
// A packet that cannot be decoded is an error and leaves dst alone.
func (d *Decoder) Decode(dst []int16, src []byte) (n int, err error) {
	want := d.Samples(src)
	switch {
	case want == 0:
		return 0, fmt.Errorf("opus: %d bytes are no packet (RFC 6716, section 3)", len(src))
	case len(dst) < want:
		return 0, fmt.Errorf("opus: %d samples do not fit into a buffer of %d", want, len(dst))
	}
	if len(src) == 1 {
		clear(dst[:want])
		return want, nil
	}
	defer func() {
		if r := recover(); r != nil {
			d.Reset()
			n, err = 0, fmt.Errorf("opus: the library gave up on a packet of %d bytes: %v", len(src), r)
		}
	}()
	n, err = d.lib.DecodeToInt16(src, d.pcm[:])
	if err != nil {
		return 0, fmt.Errorf("opus: %w", err)
	}
	if n > len(dst) {
		return 0, fmt.Errorf("opus: a packet of %d samples turned out to hold %d", want, n)
	}
	return copy(dst, d.pcm[:n]), nil
}
