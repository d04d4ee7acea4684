package codec

import (
	"fmt"

	"sidetone/media/g711"
	"sidetone/media/g722"
	"sidetone/media/l16"
	"sidetone/media/opus"
)

// Encoder encodes one stream of samples at the format's Rate. It is for one
// goroutine.
type Encoder interface {
	// Encode writes the payload of src to dst and returns its length in bytes.
	Encode(dst []byte, src []int16) (int, error)
}

// NewEncoder makes an encoder. Its error is an *UnsupportedError where there is
// none for the format; Opus is only decoded.
func NewEncoder(f Format) (Encoder, error) {
	if fault := f.fault(); fault != "" {
		return nil, &UnsupportedError{f, fault}
	}
	switch f.encoding() {
	case "PCMU":
		return g711.New(g711.MuLaw)
	case "PCMA":
		return g711.New(g711.ALaw)
	case "G722":
		return g722.NewEncoder(), nil
	case "L16":
		return l16.New(f.Clock, f.channels())
	default:
		return nil, &UnsupportedError{f, "it is only decoded, not encoded"}
	}
}

// Rate is the rate in Hz of the samples that are decoded from the format or
// encoded to it; 0 where that is not possible.
func (f Format) Rate() int {
	switch {
	case f.Kind() != Audio:
		return 0
	case f.encoding() == "G722":
		return g722.Rate
	case f.encoding() == "opus":
		return opus.Rate
	default:
		return f.Clock
	}
}

// The payload types with which Asterisk sends what has no static one, where
// nothing was signalled.
const (
	asteriskOpus   = 107
	asteriskSlin16 = 118
)

// PayloadType is the payload type of a format where nobody has signalled one:
// the static one of RFC 3551, or that of Asterisk for Opus and L16/16000. Its error
// is an *UnsupportedError where the format cannot be decoded.
func PayloadType(f Format) (uint8, error) {
	if fault := f.fault(); fault != "" {
		return 0, &UnsupportedError{f, fault}
	}
	name := Name(f)
	for _, pt := range []uint8{g711.PayloadTypeMuLaw, g711.PayloadTypeALaw, g722.PayloadType, stereo44, mono44} {
		if s, ok := Static(pt); ok && Name(s) == name {
			return pt, nil
		}
	}
	switch {
	case f.encoding() == "opus":
		return asteriskOpus, nil
	case name == "L16/16000":
		return asteriskSlin16, nil
	}
	return 0, fmt.Errorf("codec: %s has no payload type of its own; give one from 96 to 127", name)
}
