// Package model runs Whisper (Radford et al., 2022): log-mel features, audio
// encoder, text decoder, the reference's search rules and word times. The
// reference is faster-whisper 1.2 with float32 weights; the tests compare
// tokens with it.
//
// A Model is immutable and shared; a Decoder belongs to one goroutine.
//
// The package is longer than others of the house because search and word times
// work on the caches of the decoder, which nobody else should see.
package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"sidetone/asr/whisper/model/bpe"
	"sidetone/asr/whisper/model/ct2"
	"sidetone/internal/nn"
)

// Model is a loaded Whisper model: immutable and safe for concurrent use.
type Model struct {
	mels, width, heads    int // width is the length of a state vector
	audioCtx, textCtx     int
	vocabSize             int
	conv1, conv2          matrix
	audioPos, textPos     []float32 // [ctx][width]
	audio                 []audioLayer
	text                  []textLayer
	audioNorm, textNorm   norm
	embedding             matrix // [vocabSize][width]
	vocab                 *bpe.Vocab
	multilingual          bool
	alignment             [][2]int // layer and head
	suppress, blanks      []int
	eot, sot, prev        int
	noSpeech, noTimes     int
	transcribe, firstTime int
}

// matrix is a weight matrix in 16 or 32 bits: *nn.Half or *nn.Linear.
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

// config is the part of config.json that is used.
type config struct {
	AlignmentHeads   [][2]int `json:"alignment_heads"`
	SuppressIDs      []int    `json:"suppress_ids"`
	SuppressIDsBegin []int    `json:"suppress_ids_begin"`
}

// maxBands bounds the features per frame; Whisper has 80 or 128.
const maxBands = 512

// Load reads a CTranslate2 Whisper folder: model.bin with float16 or float32
// weights, config.json, tokenizer.json and vocabulary.json or vocabulary.txt.
// Errors name the file and what is wrong with it.
func Load(fsys fs.FS) (*Model, error) {
	bin, err := fs.ReadFile(fsys, "model.bin")
	if err != nil {
		return nil, fmt.Errorf("whisper model: %w", err)
	}
	file, err := ct2.Parse(bin)
	if err != nil {
		return nil, fmt.Errorf("whisper model: model.bin: %w", err)
	}
	if file.Spec != "WhisperSpec" {
		return nil, fmt.Errorf("whisper model: model.bin holds a %q, not a WhisperSpec", file.Spec)
	}
	m := &Model{}
	if err := m.loadWeights(file); err != nil {
		return nil, fmt.Errorf("whisper model: model.bin: %w", err)
	}
	if err := m.loadTokens(fsys); err != nil {
		return nil, fmt.Errorf("whisper model: %w", err)
	}
	if err := m.loadConfig(fsys); err != nil {
		return nil, fmt.Errorf("whisper model: config.json: %w", err)
	}
	return m, nil
}

func readVocabulary(fsys fs.FS) (tokens []string, err error) {
	raw, err := fs.ReadFile(fsys, "vocabulary.json")
	if err == nil {
		if err = json.Unmarshal(raw, &tokens); err != nil {
			return nil, fmt.Errorf("vocabulary.json: %w", err)
		}
		return tokens, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if raw, err = fs.ReadFile(fsys, "vocabulary.txt"); err != nil {
		return nil, fmt.Errorf("neither vocabulary.json nor vocabulary.txt can be read: %w", err)
	}
	return strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n"), nil
}

func (m *Model) loadTokens(fsys fs.FS) error {
	tokens, err := readVocabulary(fsys)
	if err != nil {
		return err
	}
	if len(tokens) != m.vocabSize {
		return fmt.Errorf("the vocabulary has %d tokens, model.bin has %d: the files belong to different models", len(tokens), m.vocabSize)
	}
	tokenizer, err := fs.ReadFile(fsys, "tokenizer.json")
	if err != nil {
		return err
	}
	if m.vocab, err = bpe.Parse(tokens, tokenizer); err != nil {
		return err
	}
	for name, id := range map[string]*int{
		"<|endoftext|>": &m.eot, "<|startoftranscript|>": &m.sot, "<|startofprev|>": &m.prev,
		"<|notimestamps|>": &m.noTimes, "<|transcribe|>": &m.transcribe,
	} {
		var ok bool
		if *id, ok = m.vocab.ID(name); !ok {
			return fmt.Errorf("the vocabulary lacks %s: it is not Whisper's", name)
		}
	}
	var ok bool
	if m.noSpeech, ok = m.vocab.ID("<|nospeech|>"); !ok {
		if m.noSpeech, ok = m.vocab.ID("<|nocaptions|>"); !ok {
			return errors.New("the vocabulary lacks <|nospeech|> and <|nocaptions|>: it is not Whisper's")
		}
	}
	m.firstTime = m.noTimes + 1
	if m.eot > m.sot || m.firstTime+m.audioCtx >= m.vocabSize {
		return errors.New("the vocabulary's special tokens are not in Whisper's order")
	}
	// English-only models keep GPT-2's end token; the others have one token more.
	m.multilingual = m.vocabSize >= 51865
	return nil
}

func (m *Model) loadConfig(fsys fs.FS) error {
	raw, err := fs.ReadFile(fsys, "config.json")
	if err != nil {
		return err
	}
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return err
	}
	if len(c.SuppressIDs) == 0 || len(c.SuppressIDsBegin) == 0 {
		return errors.New("suppress_ids or suppress_ids_begin is missing")
	}
	for _, id := range slices.Concat(c.SuppressIDs, c.SuppressIDsBegin) {
		if id < 0 || id >= m.vocabSize {
			return fmt.Errorf("the suppressed token %d is not in the vocabulary", id)
		}
	}
	for _, h := range c.AlignmentHeads {
		if h[0] < 0 || h[0] >= len(m.text) || h[1] < 0 || h[1] >= m.heads {
			return fmt.Errorf("the alignment head %v does not exist: the decoder has %d layers of %d heads", h, len(m.text), m.heads)
		}
	}
	m.suppress, m.blanks, m.alignment = c.SuppressIDs, c.SuppressIDsBegin, c.AlignmentHeads
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

// Multilingual tells whether the model knows other languages than English.
func (m *Model) Multilingual() bool { return m.multilingual }

// startOfText is the reference's sequence before the text.
func (m *Model) startOfText(language string) ([]int, error) {
	if !m.multilingual {
		return []int{m.sot}, nil
	}
	if language == "" {
		language = "en"
	}
	id, ok := m.vocab.ID("<|" + language + "|>")
	// The languages stand before the tokens for translate, transcribe, startoflm,
	// startofprev and nospeech.
	if !ok || id <= m.sot || id >= m.noSpeech-4 {
		return nil, fmt.Errorf("whisper: unknown language %q", language)
	}
	return []int{m.sot, id, m.transcribe}, nil
}
