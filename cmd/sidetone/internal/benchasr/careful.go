package benchasr

import (
	"context"
	"fmt"
	"strings"

	"sidetone/asr/whisper/model"
	"sidetone/asr/whisper/opinion"
	"sidetone/internal/pcm"
)

// Careful decodes a clip in one piece as finals are decoded: the audio alone,
// with the silence remembered that Whisper expects behind it, with a beam where
// the model is not sure, with a limit of tokens; and what is in doubt a second
// time, by a larger model that hears it with the steady noise taken off.
type Careful struct{ first, second opinionated }

// opinionated is a model, with its silence if it is the first.
type opinionated struct {
	decoder
	quiet *model.Silence
}

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
func NewCareful(ctx context.Context, first, second *model.Model) (*Careful, error) {
	c := &Careful{}
	for to, m := range map[*opinionated]*model.Model{&c.first: first, &c.second: second} {
		if m == nil {
			continue
		}
		d := m.NewDecoder()
		quiet, err := d.NewSilence(ctx)
		if err != nil {
			return nil, err
		}
		*to = opinionated{d, quiet}
	}
	return c, nil
}

// These are the stream's, see whisper.Config and its policy.
const (
	carefulBeam  = 5
	carefulBelow = -0.2
	// carefulPad is the silence after the audio that the encoder is given.
	carefulPad = pcm.Rate / 2 / model.FrameSamples
	// doubtPad and doubtFrames make the context of a second opinion, in frames.
	doubtPad, doubtFrames = 100, 750
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
	frames := (len(f)+model.FrameSamples-1)/model.FrameSamples + carefulPad
	o := model.Options{
		Beam:      carefulBeam,
		BeamBelow: carefulBelow,
		Brisk:     true,
		Silence:   c.first.quiet,
		Context:   min(frames, carefulMost*pcm.Rate/model.FrameSamples),
		MaxTokens: carefulTokens*len(f)/pcm.Rate + carefulMore,
	}
	res, err := c.first.Decode(ctx, f, o)
	if err != nil {
		return Heard{}, err
	}
	if c.second.decoder != nil && opinion.Doubtful(&res) {
		o.Subtract, o.Silence = true, nil
		o.Context = min(max(frames-carefulPad+doubtPad, doubtFrames), carefulMost*pcm.Rate/model.FrameSamples)
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
