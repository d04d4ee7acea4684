// Package model runs Whisper (Radford et al., 2022): log-mel features, audio
// encoder, text decoder, the reference's search rules and word times.
//
// A Model is immutable and shared; a Decoder belongs to one goroutine.
package model

import (
	"errors"
	"io/fs"
)

// Model is a loaded Whisper model: immutable and safe for concurrent use.
type Model struct{}

// Load reads a CTranslate2 Whisper folder: model.bin, config.json,
// tokenizer.json and the vocabulary.
func Load(fsys fs.FS) (*Model, error) {
	return nil, errors.ErrUnsupported
}

// Encode spells text in tokens, for Options.Prompt and Options.Prefix.
func (m *Model) Encode(text string) []int { return nil }

// Text spells tokens as text, without timestamps and other special tokens.
func (m *Model) Text(tokens []int) string { return "" }
