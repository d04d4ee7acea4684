package wav

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// Encoding is how Encode writes samples.
type Encoding uint8

// The encodings that Encode can write.
const (
	// PCM16 is signed 16-bit little-endian linear PCM.
	PCM16 Encoding = iota
	// MuLaw is G.711 mu-law, one byte per sample.
	MuLaw
)

// Encode writes a as a RIFF/WAVE file. The channels of a must be of one length.
func Encode(w io.Writer, a *Audio, enc Encoding) error {
	if len(a.Channels) < 1 || len(a.Channels) > maxChannels {
		return fmt.Errorf("wav: cannot write %d channels, expected 1 to %d", len(a.Channels), maxChannels)
	}
	if a.Rate < 1 || a.Rate > maxRate {
		return fmt.Errorf("wav: cannot write a sample rate of %d Hz, expected 1 to %d", a.Rate, maxRate)
	}
	for c, ch := range a.Channels {
		if len(ch) != a.Samples() {
			return fmt.Errorf("wav: channel %d has %d samples, channel 0 has %d", c, len(ch), a.Samples())
		}
	}
	var tag, sampleBytes int
	switch enc {
	case PCM16:
		tag, sampleBytes = tagPCM, 2
	case MuLaw:
		tag, sampleBytes = tagMuLaw, 1
	default:
		return fmt.Errorf("wav: unknown encoding %d", enc)
	}
	align := len(a.Channels) * sampleBytes
	size := int64(a.Samples()) * int64(align)
	if size > math.MaxUint32-1024 {
		return fmt.Errorf("wav: %d bytes of samples do not fit into a RIFF file", size)
	}
	if err := writeHeader(w, tag, len(a.Channels), a.Rate, sampleBytes, a.Samples()); err != nil {
		return fmt.Errorf("wav: writing the header: %w", err)
	}
	block := make([]byte, 0, blockFrames*align)
	for i := 0; i < a.Samples(); i++ {
		for _, ch := range a.Channels {
			if enc == MuLaw {
				block = append(block, compressMuLaw(ch[i]))
			} else {
				block = binary.LittleEndian.AppendUint16(block, uint16(ch[i]))
			}
		}
		if len(block) == cap(block) {
			if _, err := w.Write(block); err != nil {
				return fmt.Errorf("wav: writing samples: %w", err)
			}
			block = block[:0]
		}
	}
	if size%2 == 1 {
		block = append(block, 0)
	}
	if _, err := w.Write(block); err != nil {
		return fmt.Errorf("wav: writing samples: %w", err)
	}
	return nil
}

// writeHeader writes everything before the samples. A format other than PCM
// needs the size of its (empty) extension and a fact chunk with the length.
func writeHeader(w io.Writer, tag, channels, rate, sampleBytes, samples int) error {
	align := channels * sampleBytes
	size := samples * align
	fmtSize, factSize := 16, 0
	if tag != tagPCM {
		fmtSize, factSize = 18, 12
	}
	le := binary.LittleEndian
	h := make([]byte, 0, 64)
	h = append(h, "RIFF"...)
	h = le.AppendUint32(h, uint32(4+8+fmtSize+factSize+8+size+size&1))
	h = append(h, "WAVEfmt "...)
	h = le.AppendUint32(h, uint32(fmtSize))
	h = le.AppendUint16(h, uint16(tag))
	h = le.AppendUint16(h, uint16(channels))
	h = le.AppendUint32(h, uint32(rate))
	h = le.AppendUint32(h, uint32(rate*align))
	h = le.AppendUint16(h, uint16(align))
	h = le.AppendUint16(h, uint16(8*sampleBytes))
	if tag != tagPCM {
		h = le.AppendUint16(h, 0)
		h = append(h, "fact"...)
		h = le.AppendUint32(h, 4)
		h = le.AppendUint32(h, uint32(samples))
	}
	h = append(h, "data"...)
	h = le.AppendUint32(h, uint32(size))
	_, err := w.Write(h)
	return err
}
