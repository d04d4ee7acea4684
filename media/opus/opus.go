// Package opus decodes Opus (RFC 6716; as RTP payload RFC 7587) to speech at
// 16 kHz, mono, with the decoder of github.com/pion/opus: SILK, hybrid and CELT
// in frames of 2.5 to 60 ms, mono and stereo.
//
// Packets are taken apart here and given to the library frame by frame. Frames
// without content, with which a sender in discontinuous transmission goes on,
// are silence; the library would read speech from them. What was lost is for
// package jitter to conceal: the redundant copy of a packet that its successor
// may carry (in-band FEC) is skipped by the library.
//
// Stereo is mixed down by the library.
package opus

import (
	"fmt"

	lib "github.com/pion/opus"
)

const (
	// Rate is the sample rate of what is decoded, Clock the RTP clock, in Hz.
	Rate  = 16000
	Clock = 48000

	// maxPacket is the longest packet, 120 ms (RFC 6716, section 3.2.5), and
	// maxFrame the longest frame.
	maxPacket = Rate * 120 / 1000
	maxFrame  = Rate * 60 / 1000
)

// Decoder is the state of one stream's decoder. It is for one goroutine.
type Decoder struct {
	lib lib.Decoder
	// decode is lib's, but for tests.
	decode func(in []byte, out []int16) (int, error)
	frames framing
	// code is one frame as a packet of its own, pcm what is in it.
	code [1 + maxFrameSize]byte
	pcm  [maxFrame]int16
}

// New makes a decoder in its first state.
func New() (*Decoder, error) {
	d := &Decoder{}
	if err := d.lib.Init(Rate, 1); err != nil {
		return nil, fmt.Errorf("opus: %w", err)
	}
	d.decode = d.lib.DecodeToInt16
	return d, nil
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

// Samples is the number of samples at Rate that a packet holds; 0 when it is no
// Opus packet.
func (d *Decoder) Samples(src []byte) int {
	if d.frames.split(src) != nil {
		return 0
	}
	return d.frames.count * frameSamples(src[0])
}

// Decode writes the samples of the packet src to dst and returns their number.
// A packet that is none, or does not fit into dst, is an error; a frame in it
// that the library cannot decode is silence, unless none of them can be.
func (d *Decoder) Decode(dst []int16, src []byte) (int, error) {
	if err := d.frames.split(src); err != nil {
		return 0, err
	}
	each := frameSamples(src[0])
	if want := d.frames.count * each; len(dst) < want {
		return 0, fmt.Errorf("opus: %d samples do not fit into a buffer of %d", want, len(dst))
	}
	n, failed := 0, 0
	var reason error
	at := d.frames.start
	for _, size := range d.frames.size[:d.frames.count] {
		frame := src[at : at+int(size)]
		at += int(size)
		out := dst[n : n+each]
		n += each
		if err := d.frame(out, src[0], frame); err != nil {
			clear(out)
			reason = err
			failed++
		}
	}
	if failed == d.frames.count {
		return 0, reason
	}
	return n, nil
}

// frame decodes one frame of the packet that begins with toc.
func (d *Decoder) frame(out []int16, toc byte, frame []byte) (err error) {
	if len(frame) <= 1 {
		clear(out)
		return nil
	}
	defer func() {
		if r := recover(); r != nil {
			d.Reset()
			err = fmt.Errorf("opus: the library gave up on a frame of %d bytes: %v", len(frame), r)
		}
	}()
	d.code[0] = toc &^ 3
	size := 1 + copy(d.code[1:], frame)
	n, err := d.decode(d.code[:size], d.pcm[:])
	if err != nil {
		return fmt.Errorf("opus: a frame of %d bytes: %w", len(frame), err)
	}
	clear(out[copy(out, d.pcm[:n]):])
	return nil
}
