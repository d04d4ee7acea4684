package audiosocket

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Kind is the first byte of a frame.
type Kind uint8

// The kinds of frames. KindSlin and those up to KindSlin192 are audio: linear
// samples of 16 bits, mono, little-endian, at Kind.Rate.
const (
	KindHangUp  Kind = 0x00
	KindUUID    Kind = 0x01
	KindSilence Kind = 0x02 // of early drafts
	KindDigit   Kind = 0x03
	KindSlin    Kind = 0x10
	KindSlin12  Kind = 0x11
	KindSlin16  Kind = 0x12
	KindSlin24  Kind = 0x13
	KindSlin32  Kind = 0x14
	KindSlin44  Kind = 0x15
	KindSlin48  Kind = 0x16
	KindSlin96  Kind = 0x17
	KindSlin192 Kind = 0x18
	KindError   Kind = 0xff
)

// Rate is the sample rate of a kind of audio in Hz, zero for other kinds.
func (k Kind) Rate() int {
	switch k {
	case KindSlin:
		return 8000
	case KindSlin12:
		return 12000
	case KindSlin16:
		return 16000
	case KindSlin24:
		return 24000
	case KindSlin32:
		return 32000
	case KindSlin44:
		return 44100
	case KindSlin48:
		return 48000
	case KindSlin96:
		return 96000
	case KindSlin192:
		return 192000
	default:
		return 0
	}
}

// String is the kind as it stands in logs.
func (k Kind) String() string {
	switch k {
	case KindHangUp:
		return "hang-up"
	case KindUUID:
		return "UUID"
	case KindSilence:
		return "silence"
	case KindDigit:
		return "digit"
	case KindError:
		return "error"
	}
	if r := k.Rate(); r > 0 {
		return fmt.Sprintf("slin at %d Hz", r)
	}
	return fmt.Sprintf("kind %#02x", uint8(k))
}

const (
	headerSize = 3
	// MaxPayload is the most that a frame can carry, in bytes.
	MaxPayload = 1<<16 - 1
	// frameTime is what Asterisk puts into a frame.
	frameTime = 20 * time.Millisecond
)

// Frame is one message.
type Frame struct {
	Kind    Kind
	Payload []byte
}

// AppendHeader appends to dst the header of a frame whose payload has n bytes.
func AppendHeader(dst []byte, k Kind, n uint16) []byte {
	return binary.BigEndian.AppendUint16(append(dst, byte(k)), n)
}

// Parser cuts a stream of bytes into frames, wherever the stream was split.
// Every sequence of bytes is one of frames: what they are worth is the
// session's to judge. The zero value is ready.
type Parser struct {
	buf  []byte
	from int // of the first byte that is not yet in a frame
}

// Feed takes the next bytes of the stream. Next should be called until it has
// no more before the next Feed, so that never more than a frame is kept.
func (p *Parser) Feed(b []byte) {
	if p.from > 0 {
		p.buf = p.buf[:copy(p.buf, p.buf[p.from:])]
		p.from = 0
	}
	p.buf = append(p.buf, b...)
}

// Next returns the next frame, or ok false when there is none whole. The frame
// is valid until the next Feed.
func (p *Parser) Next() (f Frame, ok bool) {
	rest := p.buf[p.from:]
	if len(rest) < headerSize {
		return Frame{}, false
	}
	end := headerSize + int(binary.BigEndian.Uint16(rest[1:]))
	if len(rest) < end {
		return Frame{}, false
	}
	p.from += end
	return Frame{Kind(rest[0]), rest[headerSize:end]}, true
}

// Rest is how many bytes there are of a frame that is not whole.
func (p *Parser) Rest() int { return len(p.buf) - p.from }
