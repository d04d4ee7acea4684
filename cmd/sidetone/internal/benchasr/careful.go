package benchasr

import (
	"context"
	"fmt"
	"strings"

	"sidetone/asr/whisper/model"
	"sidetone/asr/whisper/opinion"
	"sidetone/internal/pcm"
)

// Careful decodes a clip in one piece as finals are decoded: with a beam, over
// a context that fits it, with a limit of tokens; and what is in doubt a second
// time, by a larger model that hears it with the steady noise taken off.
type Careful struct{ first, second decoder }

// decoder is what Careful needs of model.Decoder.
type decoder interface {
	Decode(ctx context.Context, samples []float32, o model.Options) (model.Result, error)
}

var (
	_ Recogniser = (*Careful)(nil)
	_ decoder    = (*model.Decoder)(nil)
)

// NewCareful makes a recogniser of whole clips. Without a second model (nil)
// there is no second opinion.
func NewCareful(first, second *model.Model) *Careful {
	c := &Careful{first: first.NewDecoder()}
	if second != nil {
		c.second = second.NewDecoder()
	}
	return c
}

const (
	carefulBeam = 5
	// carefulPad is the silence after the audio that the encoder sees at least,
	// carefulContext the least it sees in all, in encoder frames.
	carefulPad     = 2 * pcm.Rate / model.FrameSamples
	carefulContext = 750
	// carefulMost is Whisper's full context, in seconds.
	carefulMost = 30
	// Nobody speaks more tokens in a second, save in a short clip.
	carefulTokens, carefulMore = 6, 8
)

// Recognise implements Recogniser.
func (c *Careful) Recognise(ctx context.Context, x []int16) (Heard, error) {
	if len(x) > carefulMost*pcm.Rate {
		return Heard{}, fmt.Errorf("%d s of audio: a whole clip may have %d", len(x)/pcm.Rate, carefulMost)
	}
	f := make([]float32, len(x))
	for i, v := range x {
		f[i] = float32(v) / 32768
	}
	frames := max((len(f)+model.FrameSamples-1)/model.FrameSamples+carefulPad, carefulContext)
	o := model.Options{
		Beam:      carefulBeam,
		Context:   min(frames, carefulMost*pcm.Rate/model.FrameSamples),
		MaxTokens: carefulTokens*len(f)/pcm.Rate + carefulMore,
	}
	res, err := c.first.Decode(ctx, f, o)
	if err != nil {
		return Heard{}, err
	}
	if c.second != nil && opinion.Doubtful(&res) {
		o.Subtract = true
		other, err := c.second.Decode(ctx, f, o)
		if err != nil {
			return Heard{}, err
		}
		if opinion.Better(&res, &other) {
			res = other
		}
	}
	return Heard{Text: strings.TrimSpace(res.Text)}, nil
}
