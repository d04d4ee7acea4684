package model

import (
	"context"
	"errors"
)

// Options say how one stretch of audio is decoded. The zero value decodes
// greedily, without timestamps, over the full 30 s context.
type Options struct {
	// Context is the number of encoder frames (20 ms each) to run; 0 means
	// 1500 (30 s). Shorter audio is padded with silence, longer audio is cut.
	Context int
	// Prompt is the previous text's tokens; the last 223 count.
	Prompt []int
	// Prefix is the forced beginning of the text. It is part of the result.
	Prefix []int
	// Beam is the number of hypotheses searched; 0 or 1 is greedy.
	Beam int
	// Timestamps lets the model mark segment times in Result.Tokens.
	Timestamps bool
	// WordTimes fills Result.Words.
	WordTimes bool
	// MaxTokens bounds the generated tokens; 0 leaves the reference's limit.
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
	// Prob is the mean probability of the word's tokens.
	Prob float32
	// Tokens are the text tokens that spell the word.
	Tokens []int
}

// Result is what one call of Decode found. It shares no memory with the
// Decoder.
type Result struct {
	// Tokens are the prefix and the generated tokens, timestamps included, the
	// end token not.
	Tokens []int
	// LogProbs holds the natural log probability of every token in Tokens; of
	// forced tokens too.
	LogProbs []float32
	// Text is the decoded text without timestamps. Bytes that are not yet a
	// whole character are dropped at its end and replaced by U+FFFD elsewhere.
	Text string
	// Words cover Text in order; only with Options.WordTimes.
	Words []Word
	// AvgLogProb is the mean log probability of the generated tokens and the
	// end token, as the reference computes it.
	AvgLogProb float64
	// NoSpeechProb is the probability that the window holds no speech.
	NoSpeechProb float64
	// CompressionRatio is the text's size over its zlib-compressed size; above
	// 2.4 the text is likely a loop.
	CompressionRatio float64
	// Truncated says that the token limit ended the decoding.
	Truncated bool
}

// Decoder decodes with one Model. It owns scratch memory and caches and is used
// by one goroutine at a time.
type Decoder struct {
	m *Model
}

// NewDecoder makes the scratch and caches for one goroutine.
func (m *Model) NewDecoder() *Decoder { return &Decoder{m: m} }

// Decode transcribes samples: mono, 16 kHz, full scale at ±1. It returns
// ctx's error soon after ctx ends: it looks between layers and tokens.
func (d *Decoder) Decode(ctx context.Context, samples []float32, o Options) (Result, error) {
	return Result{}, errors.ErrUnsupported
}
