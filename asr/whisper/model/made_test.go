package model

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/fstest"

	"sidetone/asr/whisper/model/ct2"
)

// A made-up model of random weights lets the tests run without real ones.
const (
	madeMels, madeWidth, madeHeads  = 8, 16, 2
	madeAudio, madeText, madeHidden = 60, 64, 24
	madeLayers                      = 2
	madeTokens                      = 256
	madeEnglish, madeManyLanguages  = 400, 51865
)

type variable struct {
	kind  ct2.Type
	shape []int
	data  []byte
}

type variables map[string]variable

func (v variables) random(r *rand.Rand, scale float64, name string, shape ...int) {
	n := 1
	for _, d := range shape {
		n *= d
	}
	var b []byte
	for range n {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(r.NormFloat64()*scale)))
	}
	v[name] = variable{ct2.Float32, shape, b}
}

func (v variables) bytes() []byte {
	var b bytes.Buffer
	put := func(x any) { binary.Write(&b, binary.LittleEndian, x) }
	str := func(s string) {
		put(uint16(len(s) + 1))
		b.WriteString(s + "\x00")
	}
	put(uint32(6))
	str("WhisperSpec")
	put(uint32(3))
	put(uint32(len(v)))
	for _, name := range slices.Sorted(maps.Keys(v)) {
		x := v[name]
		str(name)
		put(uint8(len(x.shape)))
		for _, d := range x.shape {
			put(uint32(d))
		}
		put(x.kind)
		put(uint32(len(x.data)))
		b.Write(x.data)
	}
	put(uint32(0))
	return b.Bytes()
}

func madeWeights(vocab int) variables {
	r := rand.New(rand.NewPCG(1, 2))
	v := variables{}
	mat := func(name string, shape ...int) { v.random(r, 0.4, name, shape...) }
	lin := func(scope string, out, in int) {
		mat(scope+"/weight", out, in)
		mat(scope+"/bias", out)
	}
	norm := func(scope string) {
		mat(scope+"/layer_norm/gamma", madeWidth)
		mat(scope+"/layer_norm/beta", madeWidth)
	}
	for _, side := range []string{"encoder", "decoder"} {
		v[side+"/num_heads"] = variable{ct2.Int16, nil, []byte{madeHeads, 0}}
	}
	mat("encoder/conv1/weight", madeWidth, madeMels, 3)
	mat("encoder/conv1/bias", madeWidth)
	mat("encoder/conv2/weight", madeWidth, madeWidth, 3)
	mat("encoder/conv2/bias", madeWidth)
	mat("encoder/position_encodings/encodings", madeAudio, madeWidth)
	mat("decoder/position_encodings/encodings", madeText, madeWidth)
	mat("decoder/embeddings/weight", vocab, madeWidth)
	norm("encoder")
	norm("decoder")
	for i := range madeLayers {
		for _, side := range []string{"encoder", "decoder"} {
			scope := fmt.Sprintf("%s/layer_%d", side, i)
			norm(scope + "/self_attention")
			lin(scope+"/self_attention/linear_0", 3*madeWidth, madeWidth)
			lin(scope+"/self_attention/linear_1", madeWidth, madeWidth)
			norm(scope + "/ffn")
			lin(scope+"/ffn/linear_0", madeHidden, madeWidth)
			lin(scope+"/ffn/linear_1", madeWidth, madeHidden)
		}
		scope := fmt.Sprintf("decoder/layer_%d/attention", i)
		norm(scope)
		lin(scope+"/linear_0", madeWidth, madeWidth)
		lin(scope+"/linear_1", 2*madeWidth, madeWidth)
		lin(scope+"/linear_2", madeWidth, madeWidth)
	}
	return v
}

// madeFolder is a whole model folder with so many tokens.
func madeFolder(vocab int) fstest.MapFS {
	var tokens []string
	next := rune(0x100)
	for b := range madeTokens {
		if b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE {
			tokens = append(tokens, string(rune(b)))
			continue
		}
		tokens = append(tokens, string(next))
		next++
	}
	plain := slices.Clone(tokens)
	tokens = append(tokens, "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|zh|>", "<|translate|>",
		"<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>")
	for t := 0; len(tokens) < vocab; t++ {
		tokens = append(tokens, fmt.Sprintf("<|%.2f|>", float64(t)/50))
	}
	ids := map[string]int{}
	for i, t := range plain {
		ids[t] = i
	}
	return fstest.MapFS{
		"model.bin":       {Data: madeWeights(vocab).bytes()},
		"vocabulary.json": {Data: asJSON(tokens)},
		"tokenizer.json":  {Data: asJSON(map[string]any{"model": map[string]any{"type": "BPE", "vocab": ids, "merges": []string{}}})},
		"config.json": {Data: asJSON(map[string]any{
			"alignment_heads": [][2]int{{0, 1}, {1, 0}}, "suppress_ids": []int{1, 2, 257}, "suppress_ids_begin": []int{32, 256},
		})},
	}
}

func asJSON(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}

func made(tb testing.TB, vocab int) *Model {
	tb.Helper()
	m, err := Load(madeFolder(vocab), LoadOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// noise is a made-up sound.
func noise(n int) []float32 {
	r := rand.New(rand.NewPCG(3, 4))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64() * 0.1 * math.Sin(float64(i)/3000))
	}
	return x
}
