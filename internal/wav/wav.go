// Package wav reads and writes RIFF/WAVE sound files with 16-bit linear PCM or
// G.711 samples, in any number of channels and at any rate.
//
// Samples stand in memory as signed 16-bit linear PCM, one slice per channel.
// The layout is that of Microsoft's "Multiple Channel Audio Data and WAVE
// Files" (WAVE_FORMAT_EXTENSIBLE) and of the older WAVEFORMATEX; G.711 codes
// are expanded and compressed as in ITU-T G.711.
package wav

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Format tags of the fmt chunk.
const (
	tagPCM        = 0x0001
	tagALaw       = 0x0006
	tagMuLaw      = 0x0007
	tagExtensible = 0xFFFE
)

const (
	maxChannels = 64
	maxRate     = 768_000
	maxFmt      = 4096
	blockFrames = 4096
	// Programs that write to a pipe cannot go back to fill in the length: they
	// leave 0xFFFFFFFF (ffmpeg) or a number just below 2 GiB (sox). From here on
	// up a length means "until the input ends".
	streamedLength = 0x7FFF_0000
)

// extensibleGUID is bytes 2 to 15 of every KSDATAFORMAT_SUBTYPE that wraps a
// plain format tag; bytes 0 and 1 are the tag.
const extensibleGUID = "\x00\x00\x00\x00\x10\x00\x80\x00\x00\xAA\x00\x38\x9B\x71"

// ErrFormat is wrapped by the errors of Decode that mean "this is not a WAVE
// file, or not of a kind that can be read", as opposed to a failing reader.
var ErrFormat = errors.New("unusable WAVE data")

// Audio is a decoded sound file.
type Audio struct {
	// Rate is the sample rate in Hz.
	Rate int
	// Channels holds one slice of samples per channel, all of one length; in a
	// stereo file the left channel is the first.
	Channels [][]int16
}

// Samples is the number of samples in each channel.
func (a *Audio) Samples() int {
	if len(a.Channels) == 0 {
		return 0
	}
	return len(a.Channels[0])
}

// Duration is the length of the audio.
func (a *Audio) Duration() time.Duration {
	if a.Rate <= 0 {
		return 0
	}
	n, r := int64(a.Samples()), int64(a.Rate)
	return time.Duration(n/r)*time.Second + time.Duration(n%r)*time.Second/time.Duration(r)
}

// Decode reads a whole file: 16-bit PCM, mu-law or A-law.
//
// Memory grows with the data that really arrives, not with what the header
// claims; callers that take files from strangers limit r. A file that ends
// before its data chunk does is an error, except where the header says that
// the length was not known when it was written.
func Decode(r io.Reader) (*Audio, error) {
	var hdr [12]byte
	if _, err := io.ReadFull(r, hdr[:]); err != nil {
		return nil, readError("the file header", err)
	}
	switch string(hdr[:4]) {
	case "RIFF":
	case "RIFX", "RF64", "BW64":
		return nil, fmt.Errorf("wav: %w: %q files are not supported, only RIFF; convert it, for example with ffmpeg -i in.wav -c:a pcm_s16le out.wav", ErrFormat, hdr[:4])
	default:
		return nil, fmt.Errorf("wav: %w: the file begins with %q, not with \"RIFF\"", ErrFormat, hdr[:4])
	}
	if string(hdr[8:]) != "WAVE" {
		return nil, fmt.Errorf("wav: %w: the RIFF file holds %q, not \"WAVE\"", ErrFormat, hdr[8:])
	}
	var f *format
	for {
		var ch [8]byte
		if _, err := io.ReadFull(r, ch[:]); err != nil {
			return nil, readError("a chunk header (no data chunk was found)", err)
		}
		id, size := string(ch[:4]), int64(binary.LittleEndian.Uint32(ch[4:]))
		switch id {
		case "fmt ":
			if size < 16 || size > maxFmt {
				return nil, fmt.Errorf("wav: %w: the fmt chunk has %d bytes, expected 16 to %d", ErrFormat, size, maxFmt)
			}
			body := make([]byte, size+size&1)
			if _, err := io.ReadFull(r, body); err != nil {
				return nil, readError("the fmt chunk", err)
			}
			var err error
			if f, err = parseFormat(body[:size]); err != nil {
				return nil, err
			}
		case "data":
			if f == nil {
				return nil, fmt.Errorf("wav: %w: the data chunk comes before the fmt chunk", ErrFormat)
			}
			return f.read(r, size)
		default:
			if _, err := io.CopyN(io.Discard, r, size+size&1); err != nil {
				return nil, readError(fmt.Sprintf("the %q chunk", id), err)
			}
		}
	}
}

// readError names what was being read; an early end is the file's fault.
func readError(what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("wav: %w: the file ends inside %s", ErrFormat, what)
	}
	return fmt.Errorf("wav: reading %s: %w", what, err)
}

// format is what the fmt chunk says.
//
//	tag(2) channels(2) rate(4) byteRate(4) blockAlign(2) bitsPerSample(2)
//	extensible only: size(2) validBits(2) channelMask(4) subFormat(16)
type format struct {
	tag, channels, rate, sampleBytes int
}

func parseFormat(b []byte) (*format, error) {
	f := &format{
		tag:      int(binary.LittleEndian.Uint16(b)),
		channels: int(binary.LittleEndian.Uint16(b[2:])),
	}
	rate := binary.LittleEndian.Uint32(b[4:])
	align := int(binary.LittleEndian.Uint16(b[12:]))
	bits := int(binary.LittleEndian.Uint16(b[14:]))
	if f.tag == tagExtensible {
		if len(b) < 40 {
			return nil, fmt.Errorf("wav: %w: the extensible fmt chunk has %d bytes, expected at least 40", ErrFormat, len(b))
		}
		if string(b[26:40]) != extensibleGUID {
			return nil, fmt.Errorf("wav: %w: unknown sub-format %x", ErrFormat, b[24:40])
		}
		f.tag = int(binary.LittleEndian.Uint16(b[24:]))
	}
	switch {
	case f.tag == tagPCM && bits == 16:
		f.sampleBytes = 2
	case (f.tag == tagMuLaw || f.tag == tagALaw) && bits == 8:
		f.sampleBytes = 1
	default:
		return nil, fmt.Errorf("wav: %w: format tag %d with %d bits per sample is not supported, only 16-bit PCM, mu-law and A-law; convert it, for example with ffmpeg -i in.wav -c:a pcm_s16le out.wav", ErrFormat, f.tag, bits)
	}
	if f.channels < 1 || f.channels > maxChannels {
		return nil, fmt.Errorf("wav: %w: %d channels, expected 1 to %d", ErrFormat, f.channels, maxChannels)
	}
	if rate < 1 || rate > maxRate {
		return nil, fmt.Errorf("wav: %w: sample rate %d Hz, expected 1 to %d", ErrFormat, rate, maxRate)
	}
	f.rate = int(rate)
	if want := f.channels * f.sampleBytes; align != want {
		return nil, fmt.Errorf("wav: %w: block alignment %d, expected %d for %d channels of %d bytes", ErrFormat, align, want, f.channels, f.sampleBytes)
	}
	return f, nil
}

// read takes size bytes of interleaved samples from r.
func (f *format) read(r io.Reader, size int64) (*Audio, error) {
	streamed := size >= streamedLength
	align := f.channels * f.sampleBytes
	a := &Audio{Rate: f.rate, Channels: make([][]int16, f.channels)}
	block := make([]byte, blockFrames*align)
	expand := f.expander()
	for left := size; left > 0 || streamed; {
		b := block
		if !streamed && left < int64(len(b)) {
			b = b[:left]
		}
		n, err := io.ReadFull(r, b)
		left -= int64(n)
		for i := 0; i+align <= n; i += align {
			for c := range a.Channels {
				a.Channels[c] = append(a.Channels[c], expand(b[i+c*f.sampleBytes:]))
			}
		}
		switch {
		case err == nil:
		case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
			return nil, fmt.Errorf("wav: reading the data chunk: %w", err)
		case streamed:
			return a, nil
		default:
			return nil, fmt.Errorf("wav: %w: the data chunk should hold %d bytes but the file ends %d bytes early", ErrFormat, size, left)
		}
	}
	return a, nil
}

// expander returns the function that makes one linear sample out of the first
// bytes of its argument.
func (f *format) expander() func([]byte) int16 {
	switch f.tag {
	case tagMuLaw:
		return func(b []byte) int16 { return expandMuLaw(b[0]) }
	case tagALaw:
		return func(b []byte) int16 { return expandALaw(b[0]) }
	default:
		return func(b []byte) int16 { return int16(binary.LittleEndian.Uint16(b)) }
	}
}
