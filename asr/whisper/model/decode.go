package model

import (
	"compress/zlib"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"sidetone/internal/dsp"
)

// FrameSamples is the number of samples in an encoder frame, 20 ms.
const FrameSamples = 2 * dsp.Hop

// MaxBeam is the largest Options.Beam.
const MaxBeam = maxRows

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
// grow with the contexts and beams that are used, and serves one goroutine at
// a time.
type Decoder struct {
	m          *Model
	mel        *dsp.Mel
	encoder    *encoder
	audio      []float32 // encoded, [ctx][width]
	memory     memory
	stepper    *stepper
	rules      rules
	sequences  []*sequence
	candidates []candidate
	align      aligner
	zip        *zlib.Writer
}

// NewDecoder makes the scratch and caches for one goroutine.
func (m *Model) NewDecoder() *Decoder {
	return &Decoder{
		m:         m,
		mel:       dsp.NewMel(m.mels),
		encoder:   &encoder{m: m},
		stepper:   newStepper(m),
		rules:     rules{m: m},
		sequences: []*sequence{m.newSequence()},
		zip:       zlib.NewWriter(io.Discard),
	}
}

// Decode transcribes samples: mono, 16 kHz, full scale at ±1. It returns
// ctx's error soon after ctx ends: it looks between layers and tokens. Audio
// shorter than 10 ms is no speech.
func (d *Decoder) Decode(ctx context.Context, samples []float32, o Options) (Result, error) {
	frames, err := d.check(&o)
	if err != nil {
		return Result{}, err
	}
	start, err := d.m.startOfText(o.Language)
	if err != nil {
		return Result{}, err
	}
	samples = samples[:min(len(samples), frames*FrameSamples)]
	if len(samples) < dsp.Hop {
		return Result{NoSpeechProb: 1}, nil
	}
	if err = d.encode(ctx, samples, frames); err != nil {
		return Result{}, fmt.Errorf("whisper: %w", err)
	}
	d.prepare(len(samples), &o)
	f, noSpeech, err := d.search(ctx, start, &o)
	if err != nil {
		return Result{}, fmt.Errorf("whisper: %w", err)
	}
	r := Result{
		Tokens:       slices.Clone(f.text),
		LogProbs:     slices.Clone(f.logProbs),
		Text:         d.m.Text(f.text),
		AvgLogProb:   f.sum / float64(len(f.text)+1),
		NoSpeechProb: noSpeech,
		Truncated:    f.truncated,
	}
	if r.CompressionRatio, err = d.ratio(strings.TrimSpace(r.Text)); err != nil {
		return Result{}, fmt.Errorf("whisper: %w", err)
	}
	if o.WordTimes {
		if r.Words, err = d.words(ctx, start, r.Tokens, len(samples), o.Language); err != nil {
			return Result{}, fmt.Errorf("whisper: word times: %w", err)
		}
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
	case o.MaxTokens < 0:
		return 0, fmt.Errorf("whisper: a limit of %d tokens", o.MaxTokens)
	case len(o.Prefix) > half:
		return 0, fmt.Errorf("whisper: a prefix of %d tokens; at most %d are possible", len(o.Prefix), half)
	}
	for _, t := range slices.Concat(o.Prompt, o.Prefix) {
		if t < 0 || t >= d.m.vocabSize {
			return 0, fmt.Errorf("whisper: token %d in the prompt or prefix; the vocabulary has %d", t, d.m.vocabSize)
		}
	}
	o.Prompt = o.Prompt[max(0, len(o.Prompt)-half):]
	return frames, nil
}

// encode leaves the encoded audio in d.memory.
func (d *Decoder) encode(ctx context.Context, samples []float32, frames int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mel.Features(d.encoder.frames(frames), samples)
	d.audio = grow(d.audio, frames*d.m.width)
	if err := d.encoder.run(ctx, d.audio, frames); err != nil {
		return err
	}
	return d.m.listen(ctx, &d.memory, d.audio, frames)
}

// search finds the text that follows the prompt.
func (d *Decoder) search(ctx context.Context, start []int, o *Options) (found, float64, error) {
	var tokens []int
	if len(o.Prompt) > 0 {
		tokens = append(append(tokens, d.m.prev), o.Prompt...)
	}
	sot := len(tokens)
	tokens = append(tokens, start...)
	if !o.Timestamps {
		tokens = append(tokens, d.m.noTimes)
	}
	// The reference counts the tokens before the last of these as the prompt.
	limit := min(d.m.textCtx/2, d.m.textCtx-len(tokens)+1)
	text := make([]int, 0, limit)
	if len(o.Prefix) > 0 {
		if o.Timestamps {
			text = append(text, d.m.firstTime)
		}
		text = append(text, o.Prefix...)
	}
	begin := len(tokens)
	tokens = append(tokens, text...)
	if o.MaxTokens > 0 {
		limit = min(limit, len(text)+o.MaxTokens)
	}

	d.rules.timestamps, d.rules.forced = o.Timestamps, len(text)
	h := hypothesis{seq: d.sequences[0], text: text, logProbs: make([]float32, 0, cap(text))}
	h.seq.mem, h.seq.n = &d.memory, 0
	if d.align.kept {
		d.stepper.capture = d.align.keep
		defer func() { d.stepper.capture = nil }()
	}
	var noSpeech float64
	var logits []float32
	err := d.feed(ctx, h.seq, tokens, func(at, n int) {
		first := max(at, sot)
		if first >= at+n {
			return
		}
		logits = d.stepper.project(first-at, n)
		for k := first; k < at+n; k++ {
			forced := k >= begin-1 && k+1 < len(tokens)
			if k != sot && !forced {
				continue
			}
			row := logits[(k-first)*d.m.vocabSize : (k-first+1)*d.m.vocabSize]
			p := d.rules.softmax(row)
			if k == sot {
				noSpeech = float64(p[d.m.noSpeech])
			}
			if forced {
				h.logProbs = append(h.logProbs, float32(math.Log(float64(p[tokens[k+1]]))))
				d.keepProb(row, tokens[k+1])
			}
		}
		logits = logits[len(logits)-d.m.vocabSize:]
	})
	if err != nil {
		return found{}, 0, err
	}
	var f found
	switch {
	case len(text) >= limit:
		f = found{hypothesis: h, truncated: true}
	case o.Beam > 1:
		f, err = d.beam(ctx, h, logits, o.Beam, limit)
	default:
		f, err = d.greedy(ctx, h, logits, limit)
	}
	return f, noSpeech, err
}

// keepProb keeps a forced token's probability among text tokens for the
// alignment.
func (d *Decoder) keepProb(logits []float32, token int) {
	if d.align.kept && token < d.m.eot {
		d.align.probs = append(d.align.probs, d.rules.softmax(logits[:d.m.eot])[token])
	}
}

// feed steps a sequence through tokens and calls seen after each chunk of n
// tokens from the at-th on, while its states are in the stepper.
func (d *Decoder) feed(ctx context.Context, seq *sequence, tokens []int, seen func(at, n int)) error {
	rows := make([]row, 0, maxRows)
	for at := 0; at < len(tokens); at += maxRows {
		rows = rows[:0]
		for _, t := range tokens[at:min(at+maxRows, len(tokens))] {
			rows = append(rows, row{seq, t})
		}
		if err := d.stepper.step(ctx, rows); err != nil {
			return err
		}
		seen(at, len(rows))
	}
	return nil
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
