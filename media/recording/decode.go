package recording

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mewkiz/flac"

	"sidetone/internal/wav"
)

// ErrTooLong is the error of a recording that is longer than was asked for.
var ErrTooLong = errors.New("the recording is too long")

// Audio decodes the whole recording: the agent's side and the customer's. One that is
// longer than limit is ErrTooLong.
func (p *Playback) Audio(limit time.Duration) (*wav.Audio, error) {
	if p.Format == WAV {
		a, err := wav.Decode(p)
		if err == nil && a.Duration() > limit {
			err = ErrTooLong
		}
		return a, err
	}
	s, err := flac.New(p)
	if err != nil {
		return nil, fmt.Errorf("recording: FLAC: %w", err)
	}
	if s.Info.NChannels != 2 || s.Info.BitsPerSample != 16 || s.Info.SampleRate == 0 {
		return nil, fmt.Errorf("recording: FLAC of %d channels with %d bits", s.Info.NChannels, s.Info.BitsPerSample)
	}
	a := &wav.Audio{Rate: int(s.Info.SampleRate), Channels: make([][]int16, 2)}
	for {
		f, err := s.ParseNext()
		if errors.Is(err, io.EOF) {
			return a, nil
		}
		if err != nil {
			return nil, fmt.Errorf("recording: FLAC: %w", err)
		}
		for side, sub := range f.Subframes {
			for _, v := range sub.Samples {
				a.Channels[side] = append(a.Channels[side], int16(v))
			}
		}
		if a.Duration() > limit {
			return nil, ErrTooLong
		}
	}
}
