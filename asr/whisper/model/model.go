// Package model runs Whisper (Radford et al., 2022): log-mel features, audio
// encoder, text decoder, the reference's search rules and word times. The
// reference is faster-whisper 1.2 with float32 weights; the tests compare
// tokens with it.
//
// Models come as CTranslate2, Hugging Face or OpenAI files (see the package
// checkpoint), and compute in one of three kinds of numbers (see Compute). In
// Default and Float32 the tokens are the reference's; Int8 differs now and then
// in a word. Models in many languages tell which one is spoken.
//
// A Model is immutable and shared; a Decoder belongs to one goroutine.
//
// The package is longer than others of the house because search and word times
// work on the caches of the decoder, which nobody else should see.
package model

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"sidetone/asr/whisper/model/bpe"
	"sidetone/asr/whisper/model/checkpoint"
	"sidetone/internal/nn"
)

// Model is a loaded Whisper model: immutable and safe for concurrent use.
type Model struct {
	compute               Compute
	mels, width, heads    int // width is the length of a state vector
	audioCtx, textCtx     int
	vocabSize             int
	conv1, conv2          matrix
	audioPos, textPos     []float32 // [ctx][width]
	audio                 []audioLayer
	text                  []textLayer
	audioNorm, textNorm   norm
	embedding             matrix   // [vocabSize][width]
	exact                 *nn.Half // the same, and in 8 bits, for Options.Brisk;
	rough                 *nn.Int8 // nil where that would not be faster
	vocab                 *bpe.Vocab
	multilingual          bool
	alignment             [][2]int // layer and head
	suppress, blanks      []int
	eot, sot, prev        int
	noSpeech, noTimes     int
	transcribe, firstTime int
}

// matrix is a weight matrix in 8, 16 or 32 bits.
type matrix interface {
	In() int
	Out() int
	Mul(dst, x []float32, m int)
	MulAdd(dst, x []float32, m int)
	MulRows(dst []float32, ldd int, x []float32, ldx int, m int)
	Row(dst []float32, i int)
}

var (
	_ matrix = (*nn.Half)(nil)
	_ matrix = (*nn.Linear)(nil)
	_ matrix = (*nn.Int8)(nil)
)

type norm struct{ gamma, beta []float32 }

func (n norm) apply(dst, x []float32, m int) {
	nn.LayerNorm(dst, x, n.gamma, n.beta, m, len(n.gamma))
}

// attention's in makes queries, keys and values of the normed state; cross
// attention has queries there and keys and values of the audio in kv.
type attention struct {
	norm        norm
	in, kv, out matrix
}

type feedForward struct {
	norm    norm
	in, out matrix
}

type audioLayer struct {
	self attention
	ffn  feedForward
}

type textLayer struct {
	self, cross attention
	ffn         feedForward
}

// maxBands bounds the features per frame; Whisper has 80 or 128.
const maxBands = 512

// LoadOptions say how a model is loaded.
type LoadOptions struct {
	Compute Compute
}

// Load reads a Whisper model's folder in CTranslate2's, Hugging Face's or
// OpenAI's form (see the package checkpoint). Errors name the file and what is
// wrong with it.
func Load(fsys fs.FS, o LoadOptions) (*Model, error) {
	if o.Compute > Int8 {
		return nil, fmt.Errorf("whisper model: there is no %v", o.Compute)
	}
	c, err := checkpoint.Open(fsys)
	if err != nil {
		return nil, fmt.Errorf("whisper model: %w", err)
	}
	m := &Model{compute: o.Compute}
	if err := m.loadWeights(c, o.Compute); err != nil {
		return nil, fmt.Errorf("whisper model: %s: %w", c.File(), err)
	}
	if err := m.loadTokens(c.Vocab); err != nil {
		return nil, fmt.Errorf("whisper model: %w", err)
	}
	if err := m.loadSettings(c); err != nil {
		return nil, fmt.Errorf("whisper model: %w", err)
	}
	return m, nil
}

func (m *Model) loadTokens(v *bpe.Vocab) error {
	m.vocab = v
	if v.Size() != m.vocabSize {
		return fmt.Errorf("the vocabulary has %d tokens, the weights have %d: the files belong to different models", v.Size(), m.vocabSize)
	}
	for name, id := range map[string]*int{
		"<|endoftext|>": &m.eot, "<|startoftranscript|>": &m.sot, "<|startofprev|>": &m.prev,
		"<|notimestamps|>": &m.noTimes, "<|transcribe|>": &m.transcribe,
	} {
		var ok bool
		if *id, ok = v.ID(name); !ok {
			return fmt.Errorf("the vocabulary lacks %s: it is not Whisper's", name)
		}
	}
	var ok bool
	if m.noSpeech, ok = v.ID("<|nospeech|>"); !ok {
		if m.noSpeech, ok = v.ID("<|nocaptions|>"); !ok {
			return errors.New("the vocabulary lacks <|nospeech|> and <|nocaptions|>: it is not Whisper's")
		}
	}
	m.firstTime = m.noTimes + 1
	if m.eot > m.sot || m.firstTime+m.audioCtx >= m.vocabSize {
		return errors.New("the vocabulary's special tokens are not in Whisper's order")
	}
	// English-only models keep GPT-2's end token; the others have one token more.
	m.multilingual = m.vocabSize >= 51865
	if first, end := m.languages(); m.multilingual && first == end {
		return errors.New("the vocabulary lacks languages: it is not Whisper's")
	}
	return nil
}

func (m *Model) loadSettings(c *checkpoint.Checkpoint) error {
	for _, id := range slices.Concat(c.Suppress, c.SuppressFirst) {
		if id < 0 || id >= m.vocabSize {
			return fmt.Errorf("the suppressed token %d is not in the vocabulary", id)
		}
	}
	for _, h := range c.Alignment {
		if h[0] < 0 || h[0] >= len(m.text) || h[1] < 0 || h[1] >= m.heads {
			return fmt.Errorf("the alignment head %v does not exist: the decoder has %d layers of %d heads", h, len(m.text), m.heads)
		}
	}
	m.suppress, m.blanks, m.alignment = c.Suppress, c.SuppressFirst, c.Alignment
	if len(m.alignment) == 0 {
		// Whisper's own choice where nobody has looked for better ones.
		for l := len(m.text) / 2; l < len(m.text); l++ {
			for h := range m.heads {
				m.alignment = append(m.alignment, [2]int{l, h})
			}
		}
	}
	return nil
}

// Encode spells text in tokens, for Options.Prompt and Options.Prefix. Text
// that goes on after other text begins with a space.
func (m *Model) Encode(text string) []int { return m.vocab.Encode(text) }

// Text spells tokens as text; timestamps and other special tokens are left out.
func (m *Model) Text(tokens []int) string {
	return m.vocab.Text(slices.DeleteFunc(slices.Clone(tokens), func(t int) bool { return t >= m.eot }))
}

// Compute is the mode that the model was loaded for.
func (m *Model) Compute() Compute { return m.compute }
