package checkpoint

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"

	"sidetone/asr/whisper/model/bpe"
	"sidetone/asr/whisper/model/ct2"
	"sidetone/internal/tensor"
)

func openCTranslate2(fsys fs.FS) (*Checkpoint, error) {
	raw, err := fs.ReadFile(fsys, "model.bin")
	if err != nil {
		return nil, err
	}
	file, err := ct2.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("model.bin: %w", err)
	}
	if file.Spec != "WhisperSpec" {
		return nil, fmt.Errorf("model.bin holds a %q, not a WhisperSpec", file.Spec)
	}
	c := &Checkpoint{
		file: "model.bin",
		weights: func(name string) (tensor.Tensor, bool) {
			v, ok := file.Var(name)
			return tensor.Tensor{Type: elements(v.Type), Shape: v.Shape, Data: v.Data}, ok
		},
		names: func(name string) []string { return []string{name} },
	}
	for name, n := range map[string]*int{"encoder/num_heads": &c.AudioHeads, "decoder/num_heads": &c.TextHeads} {
		t, ok := c.weights(name)
		if !ok {
			return nil, fmt.Errorf("model.bin: array %q is missing", name)
		}
		if *n, err = integer(t); err != nil {
			return nil, fmt.Errorf("model.bin: array %q: %w", name, err)
		}
	}
	if err := c.readTokens(fsys); err != nil {
		return nil, err
	}
	var config struct {
		AlignmentHeads   [][2]int `json:"alignment_heads"`
		SuppressIDs      []int    `json:"suppress_ids"`
		SuppressIDsBegin []int    `json:"suppress_ids_begin"`
	}
	if err := readJSON(fsys, "config.json", &config); err != nil {
		return nil, err
	}
	c.Suppress, c.SuppressFirst, c.Alignment = config.SuppressIDs, config.SuppressIDsBegin, config.AlignmentHeads
	if len(c.Suppress) == 0 || len(c.SuppressFirst) == 0 {
		return nil, errors.New("config.json: suppress_ids or suppress_ids_begin is missing")
	}
	return c, nil
}

func elements(t ct2.Type) tensor.Type {
	switch t {
	case ct2.Float32:
		return tensor.Float32
	case ct2.Int8:
		return tensor.Int8
	case ct2.Int16:
		return tensor.Int16
	case ct2.Int32:
		return tensor.Int32
	case ct2.Float16:
		return tensor.Float16
	case ct2.BFloat16:
		return tensor.BFloat16
	}
	return tensor.Type(t.String())
}

// integer is the value of a scalar.
func integer(t tensor.Tensor) (int, error) {
	if len(t.Shape) > 0 {
		return 0, fmt.Errorf("it has shape %v, expected a scalar", t.Shape)
	}
	switch t.Type {
	case tensor.Int8:
		return int(int8(t.Data[0])), nil
	case tensor.Int16:
		return int(int16(binary.LittleEndian.Uint16(t.Data))), nil
	case tensor.Int32:
		return int(int32(binary.LittleEndian.Uint32(t.Data))), nil
	}
	return 0, fmt.Errorf("it is %s, expected an integer", t.Type)
}

// widen makes float32 of integers. 8-bit integers have a scale for each index
// of the first dimension, 16-bit ones have one for all; they are divided by it.
func widen(t, scale tensor.Tensor) (tensor.Tensor, error) {
	scales, err := scale.Floats()
	if err != nil {
		return t, fmt.Errorf("scale: %w", err)
	}
	rows := len(scales)
	if rows == 0 || len(t.Shape) == 0 || t.Type == tensor.Int16 && rows > 1 || t.Type == tensor.Int8 && rows != t.Shape[0] {
		return t, fmt.Errorf("shape %v has %d scales", t.Shape, rows)
	}
	n := len(t.Data) / t.Type.Size()
	out := make([]byte, 0, 4*n)
	for i, s := range scales {
		if s == 0 || s != s {
			return t, fmt.Errorf("scale %d is %v", i, s)
		}
		for k := i * (n / rows); k < (i+1)*(n/rows); k++ {
			var v float32
			if t.Type == tensor.Int8 {
				v = float32(int8(t.Data[k]))
			} else {
				v = float32(int16(binary.LittleEndian.Uint16(t.Data[2*k:])))
			}
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v/s))
		}
	}
	return tensor.Tensor{Type: tensor.Float32, Shape: t.Shape, Data: out}, nil
}

func (c *Checkpoint) readTokens(fsys fs.FS) error {
	tokens, err := readVocabulary(fsys)
	if err != nil {
		return err
	}
	raw, err := fs.ReadFile(fsys, "tokenizer.json")
	if err != nil {
		return err
	}
	table, err := bpe.ParseTokenizer(raw)
	if err != nil {
		return err
	}
	c.Vocab, err = bpe.New(tokens, table)
	return err
}

func readVocabulary(fsys fs.FS) (tokens []string, err error) {
	err = readJSON(fsys, "vocabulary.json", &tokens)
	if !errors.Is(err, fs.ErrNotExist) {
		return tokens, err
	}
	raw, err := fs.ReadFile(fsys, "vocabulary.txt")
	if err != nil {
		return nil, fmt.Errorf("neither vocabulary.json nor vocabulary.txt can be read: %w", err)
	}
	return slices.Collect(strings.SplitSeq(strings.TrimSuffix(string(raw), "\n"), "\n")), nil
}

func readJSON(fsys fs.FS, name string, into any) error {
	raw, err := fs.ReadFile(fsys, name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
