package webrtc

import (
	"sidetone/media/codec"
	"sidetone/media/webrtc/whip"
)

// codecs are the formats that are taken, the better ones first.
func codecs() []whip.Format {
	return []whip.Format{
		{Name: "opus", Clock: 48000, Channels: 2}, {Name: "g722", Clock: 8000}, {Name: "pcmu", Clock: 8000}, {Name: "pcma", Clock: 8000},
	}
}

// newCodec makes the decoder of a format.
func newCodec(f whip.Format) (codec.Codec, error) {
	return codec.New(codec.Format{Encoding: f.Name, Clock: f.Clock, Channels: f.Channels})
}
