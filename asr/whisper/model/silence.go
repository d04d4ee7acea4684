package model

import (
	"context"
	"fmt"
	"math"
)

// Silence is what a model makes of 30 s of silence: the keys and values of its
// encoder's layers and of its decoder's cross attention. It is immutable and
// shared.
//
// Whisper was trained on windows of 30 s, and where speech ends it looks for the
// silence behind. On a window that is cut off after the speech it often does not
// find the end and repeats itself: with 1 s of padding on one telephone clip in
// four. With Options.Silence only the audio is encoded, and both attentions look
// past its end into the silence kept here, at the positions where it would have
// been. That is nearly the full window's result at a fraction of its cost.
type Silence struct {
	m     *Model
	audio [][]float32 // per encoder layer [audioCtx][2·width]
	text  [][]float32 // per decoder layer [audioCtx][2·width]
	// weight is what one of the decoder's frames of silence counts, as the
	// logarithm of the number of frames that it stands for.
	weight float32
}

const (
	// quietFrames is how many frames of silence the encoder looks at, the next
	// ones after the audio.
	quietFrames = 400
	// quietStride is how many frames of silence one stands for in the decoder.
	quietStride = 8
)

// NewSilence encodes silence with d's model. It takes as long as the encoder
// takes for 30 s of audio.
func (d *Decoder) NewSilence(ctx context.Context) (*Silence, error) {
	m, e := d.m, d.encoder
	n, wide := m.audioCtx, 2*m.width
	s := &Silence{m: m, weight: float32(math.Log(quietStride))}
	e.frames(n)
	e.seen = func(kv []float32) {
		own := make([]float32, n*wide)
		for i := range n {
			copy(own[i*wide:(i+1)*wide], kv[i*3*m.width:])
		}
		s.audio = append(s.audio, own)
	}
	defer func() { e.seen = nil }()
	out := make([]float32, n*m.width)
	if err := e.run(ctx, out, n, nil); err != nil {
		return nil, fmt.Errorf("whisper: silence: %w", err)
	}
	for i := range m.text {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("whisper: silence: %w", err)
		}
		kv := make([]float32, n*wide)
		m.text[i].cross.kv.Mul(kv, out, n)
		s.text = append(s.text, kv)
	}
	return s, nil
}

// encoder returns the keys and values behind n frames of audio.
func (s *Silence) encoder(layer, n int) []float32 {
	if s == nil {
		return nil
	}
	wide := 2 * s.m.width
	return s.audio[layer][n*wide : min(n+quietFrames, s.m.audioCtx)*wide]
}

// count is the number of frames that the decoder sees behind n frames of audio.
func (s *Silence) count(n int) int {
	if s == nil {
		return 0
	}
	return (s.m.audioCtx - n) / quietStride
}

// decoder returns their keys and values, ld elements apart. A frame stands for
// its neighbours on both sides.
func (s *Silence) decoder(layer, n int) (kv []float32, ld int) {
	wide := 2 * s.m.width
	return s.text[layer][(n+quietStride/2)*wide:], quietStride * wide
}
