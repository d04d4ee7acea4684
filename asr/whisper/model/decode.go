package model

import (
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"sidetone/internal/dsp"
)

// FrameSamples is the number of samples in an encoder frame, 20 ms.
const FrameSamples = 2 * dsp.Hop

// MaxBeam is the largest Options.Beam.
const MaxBeam = 16

// Options say how one stretch of audio is decoded. The zero value decodes
// greedily, without timestamps, over the full 30 s context.
type Options struct {
	// Context is the number of encoder frames (20 ms each) to run; 0 means
	// 1500 (30 s). Shorter audio is padded, in the features as the reference
	// does it; longer audio is cut.
	Context int
	// Prompt is the previous text's tokens; the last 223 count.
	Prompt []int
	// Prefix is the forced beginning of the text, at most 223 tokens; it is part
	// of the result. With Timestamps the reference puts <|0.00|> before it.
	Prefix []int
	// Beam is the number of hypotheses searched; 0 or 1 is greedy.
	Beam int
	// BeamBelow, if less than 0, has a greedy search go before the beams, which
	// are left out if its text's mean log probability is not below: what the
	// model is sure of the beams seldom change.
	BeamBelow float64
	// Brisk saves time where the text seldom shows it. A beam search ends as soon
	// as an ended hypothesis is likelier, token for token, than those that go on,
	// while the reference waits for as many as Beam to end; the probability of a
	// word of a beam is that of the search; and the logits of tokens that are far
	// from the likeliest are computed in 8 bits where that is faster.
	Brisk bool
	// Timestamps lets the model mark segment times in Result.Tokens.
	Timestamps bool
	// WordTimes fills Result.Words.
	WordTimes bool
	// MaxTokens bounds the tokens after the prefix; 0 leaves the reference's
	// limit of 224 tokens in all.
	MaxTokens int
	// Language is a Whisper language code; English-only models ignore it and
	// multilingual ones take an empty one for "en".
	Language string
	// Subtract takes steady noise off the features (dsp.Mel.Subtract). Larger
	// models hear noisy speech better with it, tiny ones do not.
	Subtract bool
	// Silence, made by the same model, lets a Context that ends soon after the
	// audio do what the full one does.
	Silence *Silence
	// Heard, if set, saves computing anew what an earlier decode of the same
	// recording has heard; the result is what it would be without.
	Heard *Heard
	// Draft is what the text after the prefix will probably be, such as the
	// tokens of a decode of nearly the same audio. Greedy search checks many
	// drafted tokens in one step; the result is what it would be without.
	Draft []int
	// Bias makes phrases likelier.
	Bias *Bias
}

// Heard is what is kept of a recording that is decoded again and again while it
// grows: the logarithmic energies of its features, 32 kB a second with 80
// bands, of 30 s at most. The zero value is a recording not heard yet. All
// decodes that are given it must begin with the recording's first sample, one at
// a time; any may hear less than one before, and models may differ.
type Heard struct {
	energies dsp.Energies
}

// Word is a word with its times.
type Word struct {
	// Text is the word as decoded: with its leading space, where it has one,
	// and its punctuation.
	Text string
	// Start and End are seconds from the first sample.
	Start, End float64
	// Prob is the mean probability of the word's tokens, punctuation left out.
	Prob float32
	// Tokens are the text tokens that spell Text.
	Tokens []int
}

// Result is what one call of Decode found. It shares no memory with the
// Decoder.
type Result struct {
	// Tokens are the forced and the chosen tokens, timestamps included, the end
	// token not.
	Tokens []int
	// LogProbs holds the natural log probability of every token in Tokens. Of
	// chosen tokens it is taken among those that the rules allowed, of forced
	// tokens among all.
	LogProbs []float32
	// Text is the decoded text without timestamps. A character that lacks its
	// last bytes is dropped at the end and replaced by U+FFFD elsewhere.
	Text string
	// Words cover Text in order; only with Options.WordTimes, and none for audio
	// shorter than 20 ms.
	Words []Word
	// AvgLogProb is the mean log probability as the reference has it: of the
	// chosen tokens and the end token, over the number of all.
	AvgLogProb float64
	// NoSpeechProb is the probability that the window holds no speech.
	NoSpeechProb float64
	// CompressionRatio is the trimmed text's size over its zlib-compressed size;
	// above 2.4 the text is likely a loop.
	CompressionRatio float64
	// Truncated says that the token limit ended the decoding.
	Truncated bool
}

// Decoder decodes with one Model. It owns scratch memory and caches, which
// grow with the contexts, beams and jobs that are used, and serves one goroutine
// at a time.
type Decoder struct {
	m       *Model
	mel     *dsp.Mel
	encoder *encoder
	audio   []float32 // encoded, [ctx][width]
	kv      []float32 // a layer's keys and values of it and of the silence behind
	stepper *stepper
	lanes   []*lane
	rows    []row
	zip     *zlib.Writer
}

// NewDecoder makes the scratch and caches for one goroutine.
func (m *Model) NewDecoder() *Decoder {
	d := &Decoder{
		m:       m,
		mel:     dsp.NewMel(m.mels),
		encoder: &encoder{m: m},
		stepper: newStepper(m),
		zip:     zlib.NewWriter(io.Discard),
	}
	// All that the longest audio needs, so that a server's heap is as large in its
	// first minute as in its last. The system gives pages when they are written.
	d.encoder.frames(m.audioCtx)
	d.encoder.grow(m.audioCtx, m.audioCtx)
	d.audio = grow(d.audio, m.audioCtx*m.width)
	d.kv = grow(d.kv, m.audioCtx*2*m.width)
	d.stepper.logits = grow(d.stepper.logits, maxRows*m.vocabSize)
	return d
}

// Job is one of several stretches of audio that are decoded together.
type Job struct {
	Ctx context.Context
	// Samples are mono, 16 kHz, full scale at ±1.
	Samples []float32
	Options Options
}

// Decode transcribes samples: mono, 16 kHz, full scale at ±1. It returns
// ctx's error soon after ctx ends: it looks between layers and tokens. Audio
// shorter than 10 ms is no speech.
func (d *Decoder) Decode(ctx context.Context, samples []float32, o Options) (r Result, err error) {
	d.DecodeAll([]Job{{ctx, samples, o}}, func(_ int, got Result, e error) { r, err = got, e })
	return r, err
}

// DecodeAll decodes several jobs, as Decode does each: it encodes them one
// after the other and then takes the tokens of all through the decoder
// together, which costs little more than those of one. done is called once for
// each job, as soon as it has come to its end; that of one job is no matter to
// the others.
func (d *Decoder) DecodeAll(jobs []Job, done func(job int, r Result, err error)) {
	left := 0
	for i := range jobs {
		l := d.lane(i)
		l.open = false
		r, err := d.start(l, &jobs[i])
		if err != nil || !l.open {
			d.tidy(i)
			done(i, r, err)
			continue
		}
		left++
	}
	for left > 0 {
		for i := range jobs {
			l := d.lanes[i]
			if !l.open || l.more() {
				continue
			}
			l.open = false
			left--
			r, err := d.result(l)
			d.tidy(i)
			done(i, r, err)
		}
		d.step(len(jobs))
	}
}

// lane returns the i-th lane; there are as many as jobs have been decoded
// together.
func (d *Decoder) lane(i int) *lane {
	for len(d.lanes) <= i {
		d.lanes = append(d.lanes, newLane(d.m))
	}
	return d.lanes[i]
}

// tidy gives up the scratch of the i-th lane where its job was an unusual one: each
// lane would keep the most that any job has ever needed, and the memory of a server
// grow for hours.
func (d *Decoder) tidy(i int) {
	if d.lanes[i].unusual() {
		d.lanes[i] = newLane(d.m)
	}
}

// start encodes a job's audio. Without error it leaves the lane open, unless
// the job is done already.
func (d *Decoder) start(l *lane, j *Job) (Result, error) {
	o := j.Options
	frames, err := d.check(&o)
	if err != nil {
		return Result{}, err
	}
	start, err := d.m.startOfText(o.Language)
	if err != nil {
		return Result{}, err
	}
	samples := j.Samples[:min(len(j.Samples), frames*FrameSamples)]
	if len(samples) < dsp.Hop {
		return Result{NoSpeechProb: 1}, nil
	}
	if err := d.encode(j.Ctx, &l.memory, samples, frames, &o); err != nil {
		return Result{}, fmt.Errorf("whisper: %w", err)
	}
	l.begin(j.Ctx, &o, start, len(samples))
	return Result{}, nil
}

// step takes the next rows of the open lanes through the decoder, as many lanes
// at once as there is room for.
func (d *Decoder) step(lanes int) {
	for i := 0; i < lanes; {
		rows := d.rows[:0]
		first, rough, blind := i, true, true
		for ; i < lanes; i++ {
			l := d.lanes[i]
			l.taken = 0
			if !l.open {
				continue
			}
			if len(rows) > maxRows/2 {
				break
			}
			n := len(rows)
			rows = l.pass.rows(rows, maxRows-n)
			l.taken = len(rows) - n
			rough = rough && l.o.Brisk
			blind = blind && l.blind()
		}
		d.rows = rows
		if len(rows) == 0 {
			return
		}
		d.stepper.step(rows)
		var logits []float32
		if !blind {
			logits = d.stepper.project(len(rows), rough)
		}
		for _, l := range d.lanes[first:i] {
			if l.taken > 0 {
				n := min(l.taken*d.m.vocabSize, len(logits))
				l.pass.take(logits[:n])
				logits = logits[n:]
			}
		}
	}
}

// result makes the result of a lane that has come to its end.
func (d *Decoder) result(l *lane) (Result, error) {
	if l.err != nil {
		return Result{}, fmt.Errorf("whisper: %w", l.err)
	}
	f := &l.found
	r := Result{
		Tokens:       slices.Clone(f.text),
		LogProbs:     slices.Clone(f.logProbs),
		Text:         d.m.Text(f.text),
		AvgLogProb:   f.average(),
		NoSpeechProb: l.noSpeech,
		Truncated:    f.truncated,
	}
	if l.o.WordTimes {
		r.Words = l.words()
	}
	var err error
	if r.CompressionRatio, err = d.ratio(strings.TrimSpace(r.Text)); err != nil {
		return Result{}, fmt.Errorf("whisper: %w", err)
	}
	return r, nil
}

// check fills in defaults and returns the encoder frames to run.
func (d *Decoder) check(o *Options) (int, error) {
	frames, half := o.Context, d.m.textCtx/2-1
	if frames == 0 {
		frames = d.m.audioCtx
	}
	o.Beam = max(o.Beam, 1)
	switch {
	case frames < 1 || frames > d.m.audioCtx:
		return 0, fmt.Errorf("whisper: a context of %d frames; 1 to %d are possible", o.Context, d.m.audioCtx)
	case o.Beam > MaxBeam:
		return 0, fmt.Errorf("whisper: %d beams; at most %d are possible", o.Beam, MaxBeam)
	case o.BeamBelow > 0:
		return 0, fmt.Errorf("whisper: beams below a mean log probability of %v; it is 0 at most", o.BeamBelow)
	case o.MaxTokens < 0:
		return 0, fmt.Errorf("whisper: a limit of %d tokens", o.MaxTokens)
	case o.Silence != nil && o.Silence.m != d.m:
		return 0, errors.New("whisper: the silence of another model")
	case o.Bias != nil && o.Bias.m != d.m:
		return 0, errors.New("whisper: phrases in the tokens of another model")
	case len(o.Prefix) > half:
		return 0, fmt.Errorf("whisper: a prefix of %d tokens; at most %d are possible", len(o.Prefix), half)
	}
	for _, list := range [][]int{o.Prompt, o.Prefix, o.Draft} {
		for _, t := range list {
			if t < 0 || t >= d.m.vocabSize {
				return 0, fmt.Errorf("whisper: token %d in the prompt, prefix or draft; the vocabulary has %d", t, d.m.vocabSize)
			}
		}
	}
	o.Prompt = o.Prompt[max(0, len(o.Prompt)-half):]
	return frames, nil
}

// encode leaves the encoded audio in mem.
func (d *Decoder) encode(ctx context.Context, mem *memory, samples []float32, frames int, o *Options) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	features := d.encoder.frames(frames)
	var known *dsp.Energies
	if o.Heard != nil {
		known = &o.Heard.energies
	}
	d.mel.Features(features, samples, known)
	if o.Subtract {
		d.mel.Subtract(features[:dsp.Frames(len(samples))*d.m.mels])
	}
	d.audio = grow(d.audio, frames*d.m.width)
	if err := d.encoder.run(ctx, d.audio, frames, o.Silence); err != nil {
		return err
	}
	return d.listen(ctx, mem, d.audio, frames, o.Silence)
}

// counter counts bytes.
type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// finalBlock is the least size of the empty block that compress/flate ends
// with; zlib, on which the reference's thresholds are based, has none.
const finalBlock = 4

func (d *Decoder) ratio(text string) (float64, error) {
	var n counter
	d.zip.Reset(&n)
	if _, err := io.WriteString(d.zip, text); err != nil {
		return 0, err
	}
	if err := d.zip.Close(); err != nil {
		return 0, err
	}
	return float64(len(text)) / float64(n-finalBlock), nil
}
