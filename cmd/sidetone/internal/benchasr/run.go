package benchasr

import (
	"context"
	"fmt"
	"strings"

	"sidetone/asr"
	"sidetone/asr/vad"
	"sidetone/asr/whisper"
	"sidetone/asr/whisper/model"
	"sidetone/bench"
	"sidetone/cmd/sidetone/internal/core"
	"sidetone/internal/pcm"
)

// Heard is what a recogniser made of a clip.
type Heard struct {
	Text string
	// Lags is as in bench.Utterance.
	Lags []float64
}

// Recogniser turns a clip at pcm.Rate into text.
type Recogniser interface {
	Recognise(ctx context.Context, x []int16) (Heard, error)
}

// Run has r hear every clip. done is told after each one.
func Run(ctx context.Context, engine string, r Recogniser, clips []Clip, done func(n int)) ([]bench.Utterance, error) {
	out := make([]bench.Utterance, 0, len(clips))
	for i := range clips {
		c := &clips[i]
		x, err := c.Samples()
		if err != nil {
			return nil, err
		}
		before := core.Time()
		h, err := r.Recognise(ctx, x)
		if err != nil {
			return nil, fmt.Errorf("%s/%s/%s: %w", c.Set, c.Condition, c.Name, err)
		}
		out = append(out, bench.Utterance{
			Engine: engine, Set: c.Set, Condition: c.Condition, Clip: c.Name,
			Seconds: float64(len(x)) / pcm.Rate, CPU: (core.Time() - before).Seconds(),
			Ref: c.Ref, Hyp: h.Text, Lags: h.Lags,
		})
		done(i + 1)
	}
	return out, nil
}

// Whole decodes a clip in one piece, greedily, over the full context: what the
// reference does with temperature 0 and without fallback.
type Whole struct{ d *model.Decoder }

var _ Recogniser = (*Whole)(nil)

// NewWhole makes a recogniser of whole clips.
func NewWhole(m *model.Model) *Whole { return &Whole{d: m.NewDecoder()} }

// Recognise implements Recogniser.
func (w *Whole) Recognise(ctx context.Context, x []int16) (Heard, error) {
	if len(x) > 30*pcm.Rate {
		return Heard{}, fmt.Errorf("%d s of audio: a whole clip may have 30", len(x)/pcm.Rate)
	}
	f := make([]float32, len(x))
	for i, v := range x {
		f[i] = float32(v) / 32768
	}
	res, err := w.d.Decode(ctx, f, model.Options{})
	if err != nil {
		return Heard{}, err
	}
	return Heard{Text: strings.TrimSpace(res.Text)}, nil
}

// Stream hears a clip as a leg of a call: frame by frame, cut into utterances
// by the voice activity detector, with partials. It waits for each decode, so
// what it hears does not depend on the machine's speed.
type Stream struct {
	engine asr.Engine
	vad    *vad.Model
}

var _ Recogniser = (*Stream)(nil)

// settler is what the Whisper engine's streams can do beyond asr.Stream.
type settler interface{ Settle(context.Context) error }

// NewStream starts a streaming engine; Close ends it.
func NewStream(m *model.Model, v *vad.Model, c whisper.Config) (*Stream, error) {
	e, err := whisper.New(m, c)
	if err != nil {
		return nil, err
	}
	return StreamOf(e, v), nil
}

// StreamOf hears clips with an engine that is there already.
func StreamOf(e asr.Engine, v *vad.Model) *Stream { return &Stream{engine: e, vad: v} }

// Close ends the engine. Idempotent.
func (s *Stream) Close() error { return s.engine.Close() }

// Recognise implements Recogniser.
func (s *Stream) Recognise(ctx context.Context, x []int16) (Heard, error) {
	detector, err := s.vad.NewDetector(vad.Config{})
	if err != nil {
		return Heard{}, err
	}
	leg, err := s.engine.NewStream(ctx, asr.StreamConfig{Call: "bench", Leg: "clip", Language: "en"})
	if err != nil {
		return Heard{}, err
	}
	defer leg.Close()
	t := transcript{stable: map[int]int{}}
	var f pcm.Frame
	for len(x) > 0 {
		n := copy(f.Samples[:], x)
		clear(f.Samples[n:])
		x = x[n:]
		var hyps []asr.Hypothesis
		if hyps, err = leg.Accept(&f, detector.Accept(&f)); err != nil {
			return Heard{}, err
		}
		t.take(hyps, f.End())
		if q, ok := leg.(settler); ok {
			if err = q.Settle(ctx); err != nil {
				return Heard{}, err
			}
		}
		f.Start = f.End()
	}
	hyps, err := leg.Finish(ctx)
	if err != nil {
		return Heard{}, err
	}
	t.take(hyps, f.Start)
	return Heard{Text: strings.Join(t.finals, " "), Lags: t.lags}, nil
}

// transcript gathers a leg's hypotheses.
type transcript struct {
	finals []string
	lags   []float64
	// stable counts the stable words of each utterance.
	stable map[int]int
}

// take notes hypotheses that came when the leg was at sample now.
func (t *transcript) take(hyps []asr.Hypothesis, now int64) {
	for i := range hyps {
		h := &hyps[i]
		stable := h.Stable
		if h.Final {
			stable = len(h.Words)
			if stable > 0 {
				t.finals = append(t.finals, h.Text())
			}
		}
		for n := t.stable[h.Utterance]; n < stable; n++ {
			t.lags = append(t.lags, float64(now-h.Words[n].End)/pcm.Rate)
		}
		t.stable[h.Utterance] = stable
	}
}
