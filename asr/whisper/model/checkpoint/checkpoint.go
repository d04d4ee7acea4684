// Package checkpoint reads a Whisper model's folder in each form that there
// is, and makes them look alike:
//
//	CTranslate2    model.bin (float32, float16, bfloat16, int16 or int8),
//	               config.json, tokenizer.json, vocabulary.json or .txt
//	Hugging Face   model.safetensors, or model.safetensors.index.json with its
//	               parts, or pytorch_model.bin; config.json;
//	               generation_config.json if there; a tokenizer
//	OpenAI         one file *.pt and a tokenizer
//
// A tokenizer is tokenizer.json, or vocab.json with merges.txt, or the
// tiktoken file of OpenAI's package (whisper/assets: multilingual.tiktoken, or
// gpt2.tiktoken for the English-only models), which is the one to lay beside a
// *.pt: that holds no vocabulary.
//
// Nothing in a file is run, and no file makes the reader allocate much more
// than the file's own size.
package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"sidetone/asr/whisper/model/bpe"
	"sidetone/internal/tensor"
)

// Checkpoint is what a folder holds.
type Checkpoint struct {
	// AudioHeads and TextHeads are the attention heads of encoder and decoder.
	AudioHeads, TextHeads int
	Vocab                 *bpe.Vocab
	// Suppress are tokens that are never decoded, SuppressFirst those that do
	// not stand first.
	Suppress, SuppressFirst []int
	// Alignment lists the decoder's layers and heads that follow the audio;
	// empty where the folder does not say and the model is none of OpenAI's.
	Alignment [][2]int

	file    string
	weights weights
	names   dialect
}

// weights are a file's arrays by the names of that file.
type weights func(name string) (tensor.Tensor, bool)

// Open reads the folder's form by the names of its files. Errors name the file
// and what is wrong with it.
func Open(fsys fs.FS) (*Checkpoint, error) {
	has := func(name string) bool {
		_, err := fs.Stat(fsys, name)
		return err == nil
	}
	switch {
	case has("model.bin"):
		return openCTranslate2(fsys)
	case has("model.safetensors"), has("model.safetensors.index.json"), has("pytorch_model.bin"):
		return openHuggingFace(fsys)
	}
	found, err := fs.Glob(fsys, "*.pt")
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, errors.New("no weights in the folder: expected model.bin (CTranslate2), model.safetensors or pytorch_model.bin (Hugging Face) or a file *.pt (OpenAI)")
	case len(found) > 1:
		return nil, fmt.Errorf("more than one model in the folder: %s", strings.Join(found, ", "))
	}
	return openOpenAI(fsys, found[0])
}

// A dialect tells where an array of CTranslate2's name stands in a file: the
// names of the arrays that make it up, one after the other along the first
// dimension. An empty name stands for zeros in the shape of the others.
type dialect func(name string) []string

// Shape returns the dimensions of the array of this name.
func (c *Checkpoint) Shape(name string) ([]int, bool) {
	names := c.names(name)
	if len(names) == 0 {
		return nil, false
	}
	t, ok := c.weights(names[len(names)-1])
	shape := slices.Clone(t.Shape)
	if len(shape) > 0 {
		shape[0] *= len(names)
	}
	return shape, ok
}

// File is the name of the file or of the first of the files that the weights
// are in.
func (c *Checkpoint) File() string { return c.file }

// Tensor returns the array of this name in CTranslate2's file of a Whisper
// model, its elements in a type of floats. Arrays that CTranslate2 joins, such
// as the queries', keys' and values' weights, are joined.
func (c *Checkpoint) Tensor(name string) (tensor.Tensor, error) {
	t, err := c.join(c.names(name))
	if err != nil {
		return t, fmt.Errorf("array %q: %w", name, err)
	}
	return t, nil
}

func (c *Checkpoint) join(names []string) (tensor.Tensor, error) {
	if len(names) == 0 {
		return tensor.Tensor{}, errors.New("no such array in a Whisper model")
	}
	var out tensor.Tensor
	for i, name := range names {
		if name == "" {
			continue
		}
		var t tensor.Tensor
		if err := c.get(name, &t); err != nil {
			return out, err
		}
		if len(names) == 1 {
			return t, nil
		}
		if out.Data == nil {
			if len(t.Shape) == 0 {
				return out, fmt.Errorf("%q is a scalar", name)
			}
			out = tensor.Tensor{Type: t.Type, Shape: slices.Clone(t.Shape), Data: make([]byte, len(names)*len(t.Data))}
		}
		if t.Type != out.Type || !slices.Equal(t.Shape, out.Shape) {
			return out, fmt.Errorf("%q is %s of %v, what it is joined with is %s of %v", name, t.Type, t.Shape, out.Type, out.Shape)
		}
		copy(out.Data[i*len(t.Data):], t.Data)
	}
	out.Shape[0] *= len(names)
	return out, nil
}

// get fetches an array by its name in the file.
func (c *Checkpoint) get(name string, t *tensor.Tensor) error {
	var ok bool
	if *t, ok = c.weights(name); !ok {
		return fmt.Errorf("%q is missing", name)
	}
	if t.Type != tensor.Int8 && t.Type != tensor.Int16 {
		return nil
	}
	scale, ok := c.weights(name + "_scale")
	if !ok {
		return fmt.Errorf("%q is %s and has no scale", name, t.Type)
	}
	wide, err := widen(*t, scale)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	*t = wide
	return nil
}
