package model

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode"

	"sidetone/asr/whisper/model/checkpoint"
	"sidetone/asr/whisper/model/ct2"
	"sidetone/internal/needs"
	"sidetone/internal/tensor"
	"sidetone/internal/torchfile/torchtest"
)

// array is what the other forms call an array of CTranslate2's file: a part of
// it, by the first dimension.
type array struct {
	openAI, huggingFace string
	t                   tensor.Tensor
}

// arrays takes a CTranslate2 file apart.
func arrays(t testing.TB, bin []byte) []array {
	t.Helper()
	file, err := ct2.Parse(bin)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[ct2.Type]tensor.Type{ct2.Float32: tensor.Float32, ct2.Float16: tensor.Float16}
	var out []array
	add := func(name string, part, of int, openAI, huggingFace string) {
		v, ok := file.Var(name)
		if !ok || kinds[v.Type] == "" {
			t.Fatalf("%s: %v of type %v", name, ok, v.Type)
		}
		shape := slices.Clone(v.Shape)
		shape[0] /= of
		n := len(v.Data) / of
		data := v.Data[part*n : (part+1)*n]
		if openAI == "" {
			if slices.ContainsFunc(data, func(b byte) bool { return b != 0 }) {
				t.Fatalf("%s: the keys have a bias, which is in no other form", name)
			}
			return
		}
		out = append(out, array{openAI, "model." + huggingFace, tensor.Tensor{Type: kinds[v.Type], Shape: shape, Data: data}})
	}
	for _, leaf := range []string{"weight", "bias"} {
		for _, conv := range []string{"conv1", "conv2"} {
			name := "encoder." + conv + "." + leaf
			add("encoder/"+conv+"/"+leaf, 0, 1, name, name)
		}
	}
	add("decoder/embeddings/weight", 0, 1, "decoder.token_embedding.weight", "decoder.embed_tokens.weight")
	for side, last := range map[string]string{"encoder": "ln_post", "decoder": "ln"} {
		add(side+"/position_encodings/encodings", 0, 1, side+".positional_embedding", side+".embed_positions.weight")
		norm := func(name, openAI, huggingFace string) {
			add(name+"/gamma", 0, 1, openAI+".weight", huggingFace+".weight")
			add(name+"/beta", 0, 1, openAI+".bias", huggingFace+".bias")
		}
		norm(side+"/layer_norm", side+"."+last, side+".layer_norm")
		for i := 0; ; i++ {
			scope := fmt.Sprintf("%s/layer_%d", side, i)
			if _, ok := file.Var(scope + "/ffn/linear_0/weight"); !ok {
				break
			}
			o, h := fmt.Sprintf("%s.blocks.%d.", side, i), fmt.Sprintf("%s.layers.%d.", side, i)
			norm(scope+"/self_attention/layer_norm", o+"attn_ln", h+"self_attn_layer_norm")
			norm(scope+"/ffn/layer_norm", o+"mlp_ln", h+"final_layer_norm")
			for _, leaf := range []string{".weight", ".bias"} {
				from := strings.Replace(leaf, ".", "/", 1)
				self := scope + "/self_attention/linear_"
				add(self+"0"+from, 0, 3, o+"attn.query"+leaf, h+"self_attn.q_proj"+leaf)
				if leaf == ".weight" {
					add(self+"0"+from, 1, 3, o+"attn.key.weight", h+"self_attn.k_proj.weight")
				} else {
					add(self+"0"+from, 1, 3, "", "")
				}
				add(self+"0"+from, 2, 3, o+"attn.value"+leaf, h+"self_attn.v_proj"+leaf)
				add(self+"1"+from, 0, 1, o+"attn.out"+leaf, h+"self_attn.out_proj"+leaf)
				add(scope+"/ffn/linear_0"+from, 0, 1, o+"mlp.0"+leaf, h+"fc1"+leaf)
				add(scope+"/ffn/linear_1"+from, 0, 1, o+"mlp.2"+leaf, h+"fc2"+leaf)
				if side == "encoder" {
					continue
				}
				cross := scope + "/attention/linear_"
				add(cross+"0"+from, 0, 1, o+"cross_attn.query"+leaf, h+"encoder_attn.q_proj"+leaf)
				if leaf == ".weight" {
					add(cross+"1"+from, 0, 2, o+"cross_attn.key.weight", h+"encoder_attn.k_proj.weight")
				} else {
					add(cross+"1"+from, 0, 2, "", "")
				}
				add(cross+"1"+from, 1, 2, o+"cross_attn.value"+leaf, h+"encoder_attn.v_proj"+leaf)
				add(cross+"2"+from, 0, 1, o+"cross_attn.out"+leaf, h+"encoder_attn.out_proj"+leaf)
			}
			if side == "decoder" {
				norm(scope+"/attention/layer_norm", o+"cross_attn_ln", h+"encoder_attn_layer_norm")
			}
		}
	}
	return out
}

// openAIFile is a *.pt of arrays.
func openAIFile(all []array, heads int) []byte {
	var state []torchtest.Item
	for _, a := range all {
		state = append(state, torchtest.Item{Key: a.openAI, Value: a.t})
	}
	return torchtest.Write([]torchtest.Item{
		{Key: "dims", Value: []torchtest.Item{{Key: "n_audio_head", Value: heads}, {Key: "n_text_head", Value: heads}}},
		{Key: "model_state_dict", Value: state},
	})
}

// safetensorsFile is a *.safetensors of arrays.
func safetensorsFile(all []array) []byte {
	header := map[string]any{}
	var data []byte
	for _, a := range all {
		header[a.huggingFace] = map[string]any{
			"dtype": map[tensor.Type]string{tensor.Float32: "F32", tensor.Float16: "F16"}[a.t.Type],
			"shape": a.t.Shape, "data_offsets": []int{len(data), len(data) + len(a.t.Data)},
		}
		data = append(data, a.t.Data...)
	}
	raw := asJSON(header)
	return slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(raw))), raw, data)
}

// torchFile is Hugging Face's pytorch_model.bin of arrays.
func torchFile(all []array) []byte {
	var state []torchtest.Item
	for _, a := range all {
		state = append(state, torchtest.Item{Key: a.huggingFace, Value: a.t})
	}
	return torchtest.Write(state)
}

// folders are a model of CTranslate2's in the other forms. They have the same
// tokenizer, Hugging Face's also what CTranslate2's config says.
func folders(t testing.TB, from fs.FS, heads int) map[string]fstest.MapFS {
	t.Helper()
	read := func(name string) []byte {
		raw, err := fs.ReadFile(from, name)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	var config struct {
		AlignmentHeads [][2]int `json:"alignment_heads"`
		Suppress       []int    `json:"suppress_ids"`
		SuppressFirst  []int    `json:"suppress_ids_begin"`
	}
	if err := json.Unmarshal(read("config.json"), &config); err != nil {
		t.Fatal(err)
	}
	all := arrays(t, read("model.bin"))
	tokenizer := &fstest.MapFile{Data: read("tokenizer.json")}
	file := func(raw []byte) *fstest.MapFile { return &fstest.MapFile{Data: raw} }
	plain := file(asJSON(map[string]any{"encoder_attention_heads": heads, "decoder_attention_heads": heads, "suppress_tokens": []int{1}}))
	generation := file(asJSON(map[string]any{
		"alignment_heads": config.AlignmentHeads, "suppress_tokens": config.Suppress, "begin_suppress_tokens": config.SuppressFirst,
	}))
	half := len(all) / 2
	index := map[string]string{}
	for i, a := range all {
		index[a.huggingFace] = []string{"one.safetensors", "two.safetensors"}[i/half%2]
	}
	return map[string]fstest.MapFS{
		"OpenAI": {"tiny.pt": file(openAIFile(all, heads)), "tokenizer.json": tokenizer},
		"safetensors": {
			"model.safetensors": file(safetensorsFile(all)), "config.json": plain, "generation_config.json": generation, "tokenizer.json": tokenizer,
		},
		"safetensors in parts": {
			"model.safetensors.index.json": file(asJSON(map[string]any{"weight_map": index})),
			"one.safetensors":              file(safetensorsFile(slices.Concat(all[:half], all[2*half:]))),
			"two.safetensors":              file(safetensorsFile(all[half : 2*half])),
			"config.json":                  plain, "generation_config.json": generation, "tokenizer.json": tokenizer,
		},
		"Hugging Face's torch": {
			"pytorch_model.bin": file(torchFile(all)), "config.json": plain, "generation_config.json": generation, "tokenizer.json": tokenizer,
		},
	}
}

// keyless clears the keys' biases, which Whisper has not.
func (v variables) keyless() {
	for name, x := range v {
		n := len(x.data)
		switch {
		case strings.HasSuffix(name, "self_attention/linear_0/bias"):
			clear(x.data[n/3 : 2*n/3])
		case strings.HasSuffix(name, "attention/linear_1/bias") && !strings.Contains(name, "self"):
			clear(x.data[:n/2])
		}
	}
}

// madeForms is a made-up model with the tokens of one in many languages.
func madeForms() fstest.MapFS {
	folder := madeFolder(madeManyLanguages)
	v := madeWeights(madeManyLanguages)
	v.keyless()
	folder["model.bin"].Data = v.bytes()
	var tokens []string
	if err := json.Unmarshal(folder["vocabulary.json"].Data, &tokens); err != nil {
		panic(err)
	}
	ids := map[string]int{}
	for id, s := range tokens {
		ids[s] = id
	}
	folder["tokenizer.json"].Data = asJSON(map[string]any{"model": map[string]any{"type": "BPE", "vocab": ids, "merges": []string{}}})
	return folder
}

// A model is the same, whichever form it was in.
func TestFormsAreAlike(t *testing.T) {
	from := madeForms()
	for _, compute := range []Compute{Default, Float32, Int8} {
		o := LoadOptions{Compute: compute}
		want, err := Load(from, o)
		if err != nil {
			t.Fatal(err)
		}
		for form, folder := range folders(t, from, madeHeads) {
			got, err := Load(folder, o)
			if err != nil {
				t.Errorf("%s: %v", form, err)
				continue
			}
			if form == "OpenAI" {
				// The file does not say.
				got.suppress, got.blanks, got.alignment = want.suppress, want.blanks, want.alignment
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s in mode %v is another model than CTranslate2's", form, compute)
			}
		}
	}
}

func tinyEnFolder(tb testing.TB) fs.FS {
	return folderOf(tb, "whisper-tiny.en", "config.json", "tokenizer.json", "vocabulary.txt", "model.bin")
}

// folderOf is a model's folder; it needs the files.
func folderOf(tb testing.TB, model string, files ...string) fs.FS {
	tb.Helper()
	var dir string
	for _, name := range files {
		dir = filepath.Dir(needs.Model(tb, model, name))
	}
	return os.DirFS(dir)
}

// TestOpenAIFormOfTinyEn makes of tiny.en the file that OpenAI has published,
// with OpenAI's own tokenizer file, and loads the same model from it, tokens
// that are never decoded and heads that align included. It then decodes alike.
func TestOpenAIFormOfTinyEn(t *testing.T) {
	from := tinyEnFolder(t)
	want, err := Load(from, LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var ranks strings.Builder
	for id := range 50256 {
		fmt.Fprintf(&ranks, "%s %d\n", base64.StdEncoding.EncodeToString(want.vocab.Bytes(id)), id)
	}
	folder := folders(t, from, want.heads)["OpenAI"]
	delete(folder, "tokenizer.json")
	folder["gpt2.tiktoken"] = &fstest.MapFile{Data: []byte(ranks.String())}
	got, err := Load(folder, LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.suppress, want.suppress) || !slices.Equal(got.blanks, want.blanks) {
		t.Errorf("suppressed tokens %v and first %v, want %v and %v", got.suppress, got.blanks, want.suppress, want.blanks)
	}
	for id := range want.vocabSize {
		// OpenAI has renamed <|nocaptions|> and the language iw since.
		if a, b := got.vocab.Bytes(id), want.vocab.Bytes(id); !bytes.Equal(a, b) && (id <= want.sot || id > want.noSpeech) {
			t.Errorf("token %d is %q, want %q", id, a, b)
		}
	}
	got.vocab = want.vocab
	if !reflect.DeepEqual(got, want) {
		t.Error("it is another model")
	}
	x := clip(t, "librispeech/tel8k/"+firstClip(t))
	a, err := got.NewDecoder().Decode(t.Context(), x, Options{WordTimes: true})
	if err != nil {
		t.Fatal(err)
	}
	b, err := want.NewDecoder().Decode(t.Context(), x, Options{WordTimes: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Tokens) == 0 || !reflect.DeepEqual(a, b) {
		t.Errorf("%q, want %q", a.Text, b.Text)
	}
}

// What OpenAI's file of base does not say is found out: the tokens that are
// never decoded and the heads that align.
func TestOpenAIFormOfBase(t *testing.T) {
	from := folderOf(t, "whisper-base", "config.json", "tokenizer.json", "vocabulary.json", "model.bin")
	want, err := checkpoint.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	got, err := checkpoint.Open(folders(t, from, want.TextHeads)["OpenAI"])
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Suppress, want.Suppress) || !slices.Equal(got.SuppressFirst, want.SuppressFirst) || !slices.Equal(got.Alignment, want.Alignment) {
		t.Errorf("%v, %v, %v; want %v, %v, %v", got.Suppress, got.SuppressFirst, got.Alignment, want.Suppress, want.SuppressFirst, want.Alignment)
	}
	if got.Vocab.Size() != want.Vocab.Size() {
		t.Errorf("%d tokens, want %d", got.Vocab.Size(), want.Vocab.Size())
	}
}

func firstClip(t *testing.T) string {
	t.Helper()
	list, err := os.ReadDir(needs.Eval(t, "asr", "librispeech", "tel8k"))
	if err != nil || len(list) == 0 {
		t.Fatalf("no clips: %v", err)
	}
	return list[0].Name()
}

// int8s makes 8-bit weights of a file's, as CTranslate2's converter does: of
// matrices and convolutions, a scale for each output.
func (v variables) int8s() variables {
	out := maps.Clone(v)
	for name, x := range v {
		if !strings.HasSuffix(name, "/weight") {
			continue
		}
		rows := x.shape[0]
		n := len(x.data) / 4 / rows
		small, scales := make([]byte, rows*n), make([]byte, 0, 4*rows)
		for r := range rows {
			var most float32
			at := func(i int) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(x.data[4*(r*n+i):])) }
			for i := range n {
				most = max(most, at(i), -at(i))
			}
			scale := 127 / most
			for i := range n {
				small[r*n+i] = byte(int8(math.RoundToEven(float64(at(i) * scale))))
			}
			scales = binary.LittleEndian.AppendUint32(scales, math.Float32bits(scale))
		}
		out[name] = variable{ct2.Int8, x.shape, small}
		out[name+"_scale"] = variable{ct2.Float32, []int{rows}, scales}
	}
	return out
}

// Weights in 8 bits are worth what they are divided by.
func TestLoadReadsInt8(t *testing.T) {
	folder := madeFolder(madeEnglish)
	v := madeWeights(madeEnglish)
	small := v.int8s()
	folder["model.bin"].Data = small.bytes()
	got, err := Load(folder, LoadOptions{Compute: Float32})
	if err != nil {
		t.Fatal(err)
	}
	want := made(t, madeEnglish)
	a, b := make([]float32, madeWidth), make([]float32, madeWidth)
	for i := range madeEnglish {
		got.embedding.Row(a, i)
		want.embedding.Row(b, i)
		for k := range a {
			if math.Abs(float64(a[k]-b[k])) > 0.01 {
				t.Fatalf("token %d: %v, want %v", i, a, b)
			}
		}
	}
	for name, change := range map[string]func(variables){
		"has no scale": func(v variables) { delete(v, "encoder/conv2/weight_scale") },
		"has 15 scales": func(v variables) {
			v["encoder/conv2/weight_scale"] = variable{ct2.Float32, []int{15}, make([]byte, 60)}
		},
		"is 0":   func(v variables) { clear(v["encoder/conv2/weight_scale"].data) },
		"scale:": func(v variables) { v["encoder/conv2/weight_scale"] = variable{ct2.Int16, nil, []byte{1, 0}} },
	} {
		w := v.int8s()
		change(w)
		folder["model.bin"].Data = w.bytes()
		if _, err := Load(folder, LoadOptions{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// recall reads the keys, scaled, and the values back from a memory: what
// queries and weights of one 1 among zeros bring.
func recall(m *Model, mem *memory) []float32 {
	one := func(n int) []float32 {
		x := make([]float32, n*n)
		for i := range n {
			x[i*n+i] = 1
		}
		return x
	}
	var out []float32
	for _, l := range mem.layers {
		n, d := l.Len(), m.width/m.heads
		both := make([]float32, 2*n*d)
		for h := range m.heads {
			l.Scores(both, n, one(d), d, d, h)
			l.Mix(both[n*d:], d, one(n), n, n, h)
			out = append(out, both...)
		}
	}
	return out
}

// The kinds of numbers agree on what is heard, each as far as it can.
func TestComputeModesAgree(t *testing.T) {
	hear := func(c Compute) []float32 {
		m, err := Load(madeFolder(madeEnglish), LoadOptions{Compute: c})
		if err != nil {
			t.Fatal(err)
		}
		d := m.NewDecoder()
		l := d.lane(0)
		if err := d.encode(t.Context(), &l.memory, noise(16000), madeAudio, &Options{}); err != nil {
			t.Fatal(err)
		}
		return recall(m, &l.memory)
	}
	want := hear(Float32)
	for c, most := range map[Compute]float64{Default: 5e-3, Int8: 0.05} {
		var wrong, all float64
		for i, v := range hear(c) {
			wrong += float64(v-want[i]) * float64(v-want[i])
			all += float64(want[i]) * float64(want[i])
		}
		if r := math.Sqrt(wrong / all); r == 0 || r > most {
			t.Errorf("%v: relative error %.2g, want at most %g and some", c, r, most)
		}
	}
}

// In 8 bits the real model hears nearly the same words. In loud noise it guesses,
// and guesses differ.
func TestInt8HearsTheSame(t *testing.T) {
	m, err := Load(tinyEnFolder(t), LoadOptions{Compute: Int8})
	if err != nil {
		t.Fatal(err)
	}
	d := m.NewDecoder()
	words, edits := 0, 0
	for key, want := range sample(readGolden(t, "golden.json.gz"))["greedy"] {
		if strings.Contains(key, "noise") {
			continue
		}
		got, err := d.Decode(t.Context(), clip(t, key), Options{})
		if err != nil {
			t.Fatal(err)
		}
		a, b := plainWords(got.Text), plainWords(m.Text(want.Tokens))
		words += len(b)
		edits += distance(a, b)
	}
	t.Logf("%d of %d words differ", edits, words)
	if edits*20 > words {
		t.Errorf("%d of %d words differ from those in 32 bits", edits, words)
	}
}

// plainWords are the words without case and punctuation.
func plainWords(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// distance is the least number of edits between two texts.
func distance(a, b []string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i, x := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j, y := range b {
			best := diagonal
			if x != y {
				best++
			}
			diagonal, row[j+1] = row[j+1], min(best, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func TestCompute(t *testing.T) {
	for name, want := range map[string]Compute{"": Default, "default": Default, "float32": Float32, "int8": Int8} {
		got, err := ParseCompute(name)
		if err != nil || got != want || name != "" && got.String() != name {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
	if _, err := ParseCompute("int4"); err == nil || !strings.Contains(err.Error(), `"int4"`) {
		t.Errorf("int4: %v", err)
	}
	if _, err := Load(madeFolder(madeEnglish), LoadOptions{Compute: 9}); err == nil || !strings.Contains(err.Error(), "compute mode 9") {
		t.Errorf("mode 9: %v", err)
	}
	if !Default.Fast() || !Float32.Fast() {
		t.Error("floats are slow")
	}
	for _, c := range []Compute{Default, Float32, Int8} {
		m, err := Load(madeFolder(madeEnglish), LoadOptions{Compute: c})
		if err != nil || m.Compute() != c {
			t.Fatalf("%v: %v", c, err)
		}
		if _, err := m.NewDecoder().Decode(t.Context(), noise(16000), Options{Beam: 2, WordTimes: true}); err != nil {
			t.Errorf("%v: %v", c, err)
		}
	}
}
