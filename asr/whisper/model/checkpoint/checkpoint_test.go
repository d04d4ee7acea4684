package checkpoint

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"sidetone/internal/tensor"
	"sidetone/internal/torchfile/torchtest"
)

// The smallest tokenizer: the bytes of GPT-2's alphabet, and what Whisper adds.
const letters = 256

const few = letters + 2 + 2 + 6 + times // tokens of a model of two languages

func letter(b int) string {
	if b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE {
		return string(rune(b))
	}
	n := 0
	for c := range b {
		if !(c >= '!' && c <= '~' || c >= 0xA1 && c <= 0xAC || c >= 0xAE) {
			n++
		}
	}
	return string(rune(0x100 + n))
}

func alphabet() map[string]int {
	ids := map[string]int{}
	for b := range letters {
		ids[letter(b)] = b
	}
	return ids
}

func asJSON(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}

func tiktoken() []byte {
	var b strings.Builder
	for i := range letters {
		fmt.Fprintf(&b, "%s %d\n", base64.StdEncoding.EncodeToString([]byte{byte(i)}), i)
	}
	return []byte(b.String())
}

func file(raw []byte) *fstest.MapFile { return &fstest.MapFile{Data: raw} }

// embedding is the one array that is looked at before the weights are loaded.
func embedding(rows int) tensor.Tensor {
	return tensor.Tensor{Type: tensor.Float16, Shape: []int{rows, 1}, Data: make([]byte, 2*rows)}
}

func openAI(rows int) []byte {
	return torchtest.Write([]torchtest.Item{
		{Key: "dims", Value: []torchtest.Item{{Key: "n_audio_head", Value: 6}, {Key: "n_text_head", Value: 6}}},
		{Key: "model_state_dict", Value: []torchtest.Item{{Key: "decoder.token_embedding.weight", Value: embedding(rows)}}},
	})
}

func openAIFolder() fstest.MapFS {
	return fstest.MapFS{"tiny.pt": file(openAI(few)), "multilingual.tiktoken": file(tiktoken())}
}

func tensorsFile(names ...string) []byte {
	header := map[string]any{}
	for _, n := range names {
		header[n] = map[string]any{"dtype": "F16", "shape": []int{few, 1}, "data_offsets": []int{0, 2 * few}}
	}
	raw := asJSON(header)
	return slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(raw))), raw, make([]byte, 2*few))
}

func huggingFaceFolder() fstest.MapFS {
	return fstest.MapFS{
		"model.safetensors": file(tensorsFile("decoder.embed_tokens.weight")),
		"config.json":       file(asJSON(map[string]any{"encoder_attention_heads": 6, "decoder_attention_heads": 7})),
		"vocab.json":        file(asJSON(alphabet())),
		"merges.txt":        file([]byte("#version: 0.2\n")),
	}
}

// A tokenizer need not list the special tokens: their order is known.
func TestSpecialTokensAreFilledIn(t *testing.T) {
	for form, folder := range map[string]fstest.MapFS{"OpenAI": openAIFolder(), "Hugging Face": huggingFaceFolder()} {
		c, err := Open(folder)
		if err != nil {
			t.Errorf("%s: %v", form, err)
			continue
		}
		if n := c.Vocab.Size(); n != few {
			t.Errorf("%s: %d tokens, want %d", form, n, few)
		}
		for s, want := range map[string]int{
			"<|endoftext|>": letters, "<|startoftranscript|>": letters + 1, "<|en|>": letters + 2, "<|zh|>": letters + 3,
			"<|translate|>": letters + 4, "<|notimestamps|>": letters + 9, "<|0.00|>": letters + 10, "<|30.00|>": few - 1,
		} {
			if id, ok := c.Vocab.ID(s); !ok || id != want {
				t.Errorf("%s: %s is %d, %v; want %d", form, s, id, ok, want)
			}
		}
		if !slices.Contains(c.Suppress, letters+1) || !slices.Contains(c.Suppress, '(') || slices.Contains(c.Suppress, 'a') {
			t.Errorf("%s: suppressed are %v", form, c.Suppress)
		}
		if !slices.Equal(c.SuppressFirst, []int{' ', letters}) {
			t.Errorf("%s: suppressed first are %v", form, c.SuppressFirst)
		}
	}
}

func TestNamesOfSpecialTokens(t *testing.T) {
	for n, want := range map[int]string{englishSize - 50256: "<|su|>", largeV3Size - 50257: "<|yue|>"} {
		names, err := specials(n)
		if err != nil || len(names) != n || names[slices.Index(names, "<|translate|>")-1] != want {
			t.Errorf("%d tokens: %d, %v; the last language is not %s", n, len(names), err, want)
		}
	}
}

func TestHeads(t *testing.T) {
	c, err := Open(huggingFaceFolder())
	if err != nil || c.AudioHeads != 6 || c.TextHeads != 7 || c.File() != "model.safetensors" {
		t.Errorf("%+v, %v", c, err)
	}
	for size, heads := range alignments() {
		for _, h := range heads {
			if h[0] >= size.layers || h[1] >= size.heads {
				t.Errorf("%+v has no head %v", size, h)
			}
		}
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	put := func(name string, raw []byte) func(fstest.MapFS) {
		return func(f fstest.MapFS) { f[name] = file(raw) }
	}
	drop := func(name string) func(fstest.MapFS) { return func(f fstest.MapFS) { delete(f, name) } }
	none := func() fstest.MapFS { return fstest.MapFS{} }
	long := alphabet()
	long["ab"] = few
	two := alphabet()
	two["ab"] = 7
	gap := alphabet()
	delete(gap, "a")
	gap["<|endoftext|>"] = letters
	cases := []struct {
		name   string
		folder func() fstest.MapFS
		change func(fstest.MapFS)
		want   string
	}{
		{"empty folder", none, func(fstest.MapFS) {}, "no weights in the folder"},
		{"two models", openAIFolder, put("base.pt", nil), "base.pt, tiny.pt"},
		{"no checkpoint", openAIFolder, put("tiny.pt", []byte("PK")), "tiny.pt: torch checkpoint"},
		{"another checkpoint", openAIFolder, put("tiny.pt", torchtest.Write(nil)), "one of OpenAI's"},
		{"no tokenizer", openAIFolder, drop("multilingual.tiktoken"), "OpenAI's multilingual.tiktoken"},
		{"English tokenizer", openAIFolder, put("tiny.pt", openAI(englishSize)), "OpenAI's gpt2.tiktoken"},
		{"tokenizer damaged", openAIFolder, put("multilingual.tiktoken", []byte("x")), "tiktoken file: line 1"},
		{"too few tokens", openAIFolder, put("tiny.pt", openAI(few-3)), "tokens are not text"},
		{"too many tokens", openAIFolder, put("tiny.pt", openAI(few+99)), "tokens are not text"},
		{"no weights", huggingFaceFolder, put("model.safetensors", []byte("x")), "model.safetensors: safetensors: 1 bytes"},
		{"no embedding", huggingFaceFolder, put("model.safetensors", tensorsFile("x")), "is it a Whisper model?"},
		{"no config", huggingFaceFolder, drop("config.json"), "config.json: file does not exist"},
		{"no heads", huggingFaceFolder, put("config.json", []byte("{}")), "attention_heads"},
		{"config damaged", huggingFaceFolder, put("config.json", []byte("{")), "config.json: unexpected"},
		{"generation config damaged", huggingFaceFolder, put("generation_config.json", []byte("{")), "generation_config.json: unexpected"},
		{"no merges", huggingFaceFolder, drop("merges.txt"), "merges.txt: file does not exist"},
		{"token beyond", huggingFaceFolder, put("vocab.json", asJSON(long)), "belong to different models"},
		{"two of one", huggingFaceFolder, put("vocab.json", asJSON(two)), "two tokens 7"},
		{"token missing", huggingFaceFolder, put("vocab.json", asJSON(gap)), "lacks token 97"},
		{"tokenizer.json damaged", huggingFaceFolder, put("tokenizer.json", []byte("{")), "tokenizer.json"},
		{"part missing", huggingFaceFolder, func(f fstest.MapFS) {
			delete(f, "model.safetensors")
			f["model.safetensors.index.json"] = file([]byte(`{"weight_map":{"a":"one.safetensors"}}`))
		}, "one.safetensors: file does not exist"},
		{"part of another", huggingFaceFolder, func(f fstest.MapFS) {
			maps.Copy(f, fstest.MapFS{"one.safetensors": f["model.safetensors"]})
			delete(f, "model.safetensors")
			f["model.safetensors.index.json"] = file([]byte(`{"weight_map":{"a":"one.safetensors"}}`))
		}, `one.safetensors: array "a" is not in it`},
		{"torch damaged", huggingFaceFolder, func(f fstest.MapFS) {
			delete(f, "model.safetensors")
			f["pytorch_model.bin"] = file([]byte("x"))
		}, "pytorch_model.bin: torch checkpoint"},
	}
	for _, c := range cases {
		folder := c.folder()
		c.change(folder)
		if _, err := Open(folder); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

func TestTensorSaysWhatIsWrong(t *testing.T) {
	arrays := map[string]tensor.Tensor{
		"encoder.layers.0.self_attn.q_proj.weight": {Type: tensor.Float16, Shape: []int{1, 1}, Data: make([]byte, 2)},
		"encoder.layers.0.self_attn.k_proj.weight": {Type: tensor.Float16, Shape: []int{2, 1}, Data: make([]byte, 4)},
		"encoder.layers.1.self_attn.q_proj.weight": {Type: tensor.Float16, Data: make([]byte, 2)},
	}
	c := &Checkpoint{
		names:   huggingFaceWords().translate,
		weights: func(name string) (t tensor.Tensor, ok bool) { t, ok = arrays[name]; return t, ok },
	}
	for name, want := range map[string]string{
		"encoder/conv1/weight":                           "is missing",
		"encoder/layer_0/self_attention/linear_0/weight": "what it is joined with",
		"encoder/layer_1/self_attention/linear_0/weight": "is a scalar",
		"encoder/layer_0/attention/linear_9/weight":      "no such array",
		"nothing": "no such array",
	} {
		if _, err := c.Tensor(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", name, err, want)
		}
	}
}

// FuzzOpen damages the small files of a folder: an error or a checkpoint.
func FuzzOpen(f *testing.F) {
	f.Add([]byte(`{"encoder_attention_heads":6,"decoder_attention_heads":6}`), asJSON(alphabet()), []byte("a b"))
	f.Add([]byte(`{"encoder_attention_heads":-1,"suppress_tokens":null}`), []byte(`{"a":-1}`), []byte("\n\n"))
	f.Fuzz(func(t *testing.T, config, vocab, merges []byte) {
		folder := huggingFaceFolder()
		folder["config.json"], folder["vocab.json"], folder["merges.txt"] = file(config), file(vocab), file(merges)
		if c, err := Open(folder); err == nil && c.Vocab.Size() != few {
			t.Errorf("%d tokens", c.Vocab.Size())
		}
	})
}
