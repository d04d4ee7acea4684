// Package codec says which payload formats of audio Sidetone knows, by the names
// that SDP and RFC 3551 give them, and makes their decoders.
package codec

import (
	"fmt"
	"strconv"
	"strings"

	"sidetone/media/g711"
	"sidetone/media/g722"
	"sidetone/media/l16"
	"sidetone/media/opus"
)

// Format is a payload format as an rtpmap and an fmtp line of SDP give it (RFC
// 8866, sections 6.6 and 6.15).
type Format struct {
	// Encoding is the name; its case does not matter.
	Encoding string
	// Clock is the RTP clock rate in Hz.
	Clock int
	// Channels is their number; zero means one.
	Channels int
	// Fmtp are the format's parameters, such as "useinbandfec=1". No decoder
	// needs them.
	Fmtp string
}

// Kind says what a format carries.
type Kind uint8

// The kinds.
const (
	// Unknown: there is no decoder for it.
	Unknown Kind = iota
	// Audio can be decoded.
	Audio
	// Noise describes silence: comfort noise, RFC 3389.
	Noise
	// Events are keys pressed: telephone-event, RFC 4733.
	Events
)

// Codec decodes one stream. It is for one goroutine and never panics, whatever
// the payload.
type Codec interface {
	// Decode writes the samples of src to dst, mono at Rate, and returns their
	// number.
	Decode(dst []int16, src []byte) (int, error)
	// Samples is the number of samples in src, or 0 when it is no payload.
	Samples(src []byte) int
	// Rate is the sample rate of what is decoded, in Hz.
	Rate() int
	// Reset forgets what came before, for another source.
	Reset()
	// String is the codec's name.
	String() string
}

// The static payload types of L16.
const (
	stereo44 = 10
	mono44   = 11
)

// UnsupportedError says that a format cannot be decoded.
type UnsupportedError struct {
	Format Format
	Reason string
}

// Error names the format and what is wrong with it.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("codec: cannot decode %s: %s", Name(e.Format), e.Reason)
}

// Static is the format of a static payload type that can be decoded (RFC 3551,
// table 4); ok is false for any other number, such as 18, G.729.
func Static(pt uint8) (f Format, ok bool) {
	switch pt {
	case g711.PayloadTypeMuLaw:
		return Format{Encoding: "PCMU", Clock: g711.Rate, Channels: 1}, true
	case g711.PayloadTypeALaw:
		return Format{Encoding: "PCMA", Clock: g711.Rate, Channels: 1}, true
	case g722.PayloadType:
		return Format{Encoding: "G722", Clock: g722.Clock, Channels: 1}, true
	case stereo44:
		return Format{Encoding: "L16", Clock: 44100, Channels: 2}, true
	case mono44:
		return Format{Encoding: "L16", Clock: 44100, Channels: 1}, true
	default:
		return Format{}, false
	}
}

// Parse reads a format as Name writes it. Clock and channels may be left out
// where the encoding has only one: "pcmu", "G722", "opus", "L16/16000".
func Parse(s string) (Format, error) {
	part := strings.Split(s, "/")
	f := Format{Encoding: part[0]}
	switch strings.ToLower(f.Encoding) {
	case "pcmu", "pcma":
		f.Clock = g711.Rate
	case "g722":
		f.Clock = g722.Clock
	case "opus":
		f.Clock = opus.Clock
		if len(part) == 1 {
			f.Channels = 2
		}
	}
	for i, p := range part[1:] {
		n, err := strconv.Atoi(p)
		if err != nil || n <= 0 || i > 1 {
			return Format{}, fmt.Errorf("codec: %q is no format; one is written like L16/16000/2", s)
		}
		if i == 0 {
			f.Clock = n
		} else {
			f.Channels = n
		}
	}
	if f.Encoding == "" || f.Clock == 0 {
		return Format{}, fmt.Errorf("codec: %q is no format; one is written like PCMU or L16/16000", s)
	}
	return f, nil
}

// Name writes a format as an rtpmap does, with the encoding's usual case:
// "PCMU/8000", "opus/48000/2".
func Name(f Format) string {
	s := fmt.Sprintf("%s/%d", f.encoding(), f.Clock)
	if f.channels() > 1 {
		s += fmt.Sprintf("/%d", f.Channels)
	}
	return s
}

// String is the shortest text that Parse reads as the format: "PCMU", "opus",
// "L16/16000".
func (f Format) String() string {
	short := f.encoding()
	if s, err := Parse(short); err == nil && Name(s) == Name(f) {
		return short
	}
	return Name(f)
}

// Kind says what the format carries.
func (f Format) Kind() Kind {
	switch f.encoding() {
	case "CN":
		return Noise
	case "telephone-event":
		return Events
	}
	if f.fault() != "" {
		return Unknown
	}
	return Audio
}

// Decodable says whether New makes a decoder for the format.
func Decodable(f Format) bool { return f.Kind() == Audio }

// New makes a decoder. Its error is an *UnsupportedError where there is none
// for the format.
func New(f Format) (Codec, error) {
	if fault := f.fault(); fault != "" {
		return nil, &UnsupportedError{f, fault}
	}
	switch f.encoding() {
	case "PCMU":
		return g711.New(g711.MuLaw)
	case "PCMA":
		return g711.New(g711.ALaw)
	case "G722":
		return g722.NewDecoder(), nil
	case "opus":
		return opus.New()
	default:
		return l16.New(f.Clock, f.channels())
	}
}

// fault is why the format cannot be decoded, or nothing.
func (f Format) fault() string {
	var clock, channels int
	switch f.encoding() {
	case "PCMU", "PCMA":
		clock, channels = g711.Rate, 1
	case "G722":
		clock, channels = g722.Clock, 1
	case "opus":
		clock, channels = opus.Clock, 2
	case "L16":
		if _, err := l16.New(f.Clock, f.channels()); err != nil {
			return err.Error()
		}
		return ""
	case "CN", "telephone-event":
		return "it carries no audio"
	default:
		return "expected PCMU, PCMA, G722, opus or L16"
	}
	switch {
	case f.Clock != clock:
		return fmt.Sprintf("its clock rate is %d Hz", clock)
	case f.channels() > channels:
		return fmt.Sprintf("it has at most %d channels", channels)
	}
	return ""
}

func (f Format) channels() int { return max(1, f.Channels) }

// encoding is the name in its usual case.
func (f Format) encoding() string {
	for _, name := range []string{"PCMU", "PCMA", "G722", "opus", "L16", "CN", "telephone-event"} {
		if strings.EqualFold(f.Encoding, name) {
			return name
		}
	}
	return f.Encoding
}
