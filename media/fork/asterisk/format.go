package asterisk

import (
	"encoding/binary"
	"fmt"

	"sidetone/media/codec"
)

// decoder turns messages of one format into samples.
type decoder struct {
	// linear is set for Asterisk's slin formats: 16 bits, little-endian.
	linear bool
	codec  codec.Codec
	rate   int
	// whole is set where a message is one packet, and piece is how many bytes of
	// another are decoded at once.
	whole bool
	piece int
	out   []int16
}

// pieceSamples is how many samples are decoded at once: the longest packet of
// Opus, 120 ms at 16 kHz.
const pieceSamples = 1920

// newDecoder makes the decoder of a format by Asterisk's name.
func newDecoder(name string) (*decoder, error) {
	d := &decoder{out: make([]int16, pieceSamples)}
	var f codec.Format
	switch name {
	case "ulaw":
		f, d.piece = codec.Format{Encoding: "PCMU", Clock: 8000}, pieceSamples
	case "alaw":
		f, d.piece = codec.Format{Encoding: "PCMA", Clock: 8000}, pieceSamples
	case "g722":
		f, d.piece = codec.Format{Encoding: "G722", Clock: 8000}, pieceSamples/2
	case "opus":
		f, d.whole = codec.Format{Encoding: "opus", Clock: 48000, Channels: 2}, true
	default:
		d.linear, d.piece, d.rate = true, 2*pieceSamples, slinRate(name)
		if d.rate == 0 {
			return nil, fmt.Errorf("asterisk: cannot decode the format %q: use c(slin16), or ulaw, alaw, g722, opus or another slin", name)
		}
		return d, nil
	}
	var err error
	if d.codec, err = codec.New(f); err != nil {
		return nil, fmt.Errorf("asterisk: format %q: %w", name, err)
	}
	d.rate = d.codec.Rate()
	return d, nil
}

// slinRate is the rate of a slin format in Hz, or 0.
func slinRate(name string) int {
	switch name {
	case "slin":
		return 8000
	case "slin12":
		return 12000
	case "slin16":
		return 16000
	case "slin24":
		return 24000
	case "slin32":
		return 32000
	case "slin44":
		return 44100
	case "slin48":
		return 48000
	case "slin96":
		return 96000
	case "slin192":
		return 192000
	default:
		return 0
	}
}

// next decodes the beginning of a message; rest is what remains of it. The
// samples are valid until the next call. ok is false when a packet is none.
func (d *decoder) next(message []byte) (samples []int16, rest []byte, ok bool) {
	if d.linear {
		n := min(len(message)/2, pieceSamples)
		for i := range n {
			d.out[i] = int16(binary.LittleEndian.Uint16(message[2*i:]))
		}
		if rest = message[2*n:]; len(rest) == 1 {
			rest = nil // half a sample
		}
		return d.out[:n], rest, true
	}
	piece := message
	if !d.whole {
		piece = message[:min(len(message), d.piece)]
	}
	n, err := d.codec.Decode(d.out, piece)
	return d.out[:n], message[len(piece):], err == nil
}
