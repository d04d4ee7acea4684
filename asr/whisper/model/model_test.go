package model

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"sidetone/asr/whisper/model/ct2"
)

func TestLoadTakesDimensionsFromTheFile(t *testing.T) {
	m := made(t, madeEnglish)
	if m.mels != madeMels || m.width != madeWidth || m.heads != madeHeads || m.audioCtx != madeAudio ||
		m.textCtx != madeText || m.vocabSize != madeEnglish || len(m.audio) != madeLayers || len(m.text) != madeLayers {
		t.Errorf("dimensions: %+v", m)
	}
	if m.Multilingual() {
		t.Error("400 tokens are English only")
	}
	if got, err := m.startOfText("zh"); err != nil || !slices.Equal(got, []int{257}) {
		t.Errorf("English model: %v, %v", got, err)
	}
	if got := m.Text(append(m.Encode("ab €"), m.eot, m.firstTime+3, 'a'-'!')); got != "ab €"+m.vocab.Text([]int{'a' - '!'}) {
		t.Errorf("text: %q", got)
	}
}

func TestLoadSaysWhatIsWrong(t *testing.T) {
	weights := func(change func(variables)) func(fstest.MapFS) {
		return func(f fstest.MapFS) {
			v := madeWeights(madeEnglish)
			change(v)
			f["model.bin"].Data = v.bytes()
		}
	}
	config := func(key string, value any) func(fstest.MapFS) {
		return func(f fstest.MapFS) {
			var c map[string]any
			if err := json.Unmarshal(f["config.json"].Data, &c); err != nil {
				t.Fatal(err)
			}
			c[key] = value
			f["config.json"].Data = asJSON(c)
		}
	}
	replace := func(file, old, new string) func(fstest.MapFS) {
		return func(f fstest.MapFS) {
			f[file].Data = []byte(strings.Replace(string(f[file].Data), old, new, 1))
		}
	}
	remove := func(file string) func(fstest.MapFS) { return func(f fstest.MapFS) { delete(f, file) } }
	cases := []struct {
		name   string
		change func(fstest.MapFS)
		want   string
	}{
		{"no weights", remove("model.bin"), "no weights in the folder"},
		{"no config", remove("config.json"), "config.json: file does not exist"},
		{"no tokenizer", remove("tokenizer.json"), "tokenizer.json: file does not exist"},
		{"no vocabulary", remove("vocabulary.json"), "neither vocabulary.json nor vocabulary.txt"},
		{"cut weights", func(f fstest.MapFS) { f["model.bin"].Data = f["model.bin"].Data[:5000] }, "ends too early"},
		{"other architecture", replace("model.bin", "WhisperSpec", "WhimperSpec"), "not a WhisperSpec"},
		{"missing variable", weights(func(v variables) { delete(v, "decoder/layer_1/attention/linear_2/bias") }), `array "decoder/layer_1/attention/linear_2/bias": "decoder/layer_1/attention/linear_2/bias" is missing`},
		{"wrong shape", weights(func(v variables) { v["encoder/layer_norm/beta"] = v["encoder/conv2/weight"] }), `"encoder/layer_norm/beta" has shape [16 16 3], expected [16]`},
		{"quantised", weights(func(v variables) {
			v["decoder/embeddings/weight"] = variable{ct2.Int8, []int{madeEnglish, madeWidth}, make([]byte, madeEnglish*madeWidth)}
		}), "is int8 and has no scale"},
		{"no layers", weights(func(v variables) {
			maps.DeleteFunc(v, func(name string, _ variable) bool { return strings.HasPrefix(name, "encoder/layer_0") })
		}), "no encoder or no decoder layers"},
		{"heads", weights(func(v variables) { v["encoder/num_heads"] = variable{ct2.Int8, nil, []byte{7}} }), "7 and 2 attention heads"},
		{"float heads", weights(func(v variables) { v["encoder/num_heads"] = variable{ct2.Float16, nil, []byte{0, 0}} }), "expected an integer"},
		{"vocabulary of another model", func(f fstest.MapFS) {
			f["vocabulary.json"] = madeFolder(madeEnglish + 1)["vocabulary.json"]
		}, "401 tokens, the weights have 400"},
		{"not Whisper's tokens", replace("vocabulary.json", `\u003c|notimestamps|`, "notimes"), "lacks <|notimestamps|>"},
		{"no languages", func(f fstest.MapFS) {
			maps.Copy(f, madeFolder(madeManyLanguages))
			replace("vocabulary.json", `\u003c|nospeech|`, "quiet")(f)
			replace("vocabulary.json", `\u003c|en|`, `\u003c|nospeech|`)(f)
		}, "lacks languages"},
		{"no speech token", replace("vocabulary.json", `\u003c|nospeech|`, "nospeech"), "lacks <|nospeech|>"},
		{"vocabulary not json", replace("vocabulary.json", "[", "{"), "vocabulary.json: invalid"},
		{"config not json", replace("config.json", "{", "["), "config.json: invalid"},
		{"no suppressed tokens", config("suppress_ids", nil), "suppress_ids"},
		{"suppressed token", config("suppress_ids", []int{400}), "suppressed token 400"},
		{"alignment head", config("alignment_heads", [][2]int{{2, 0}}), "alignment head [2 0] does not exist"},
	}
	for _, c := range cases {
		folder := madeFolder(madeEnglish)
		c.change(folder)
		if _, err := Load(folder, LoadOptions{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

func TestLoadFindsAlignmentHeads(t *testing.T) {
	folder := madeFolder(madeEnglish)
	folder["config.json"].Data = []byte(`{"suppress_ids":[1],"suppress_ids_begin":[32]}`)
	m, err := Load(folder, LoadOptions{})
	if err != nil || !slices.Equal(m.alignment, [][2]int{{1, 0}, {1, 1}}) {
		t.Errorf("%v, %v", m.alignment, err)
	}
}

func TestLoadReadsVocabularyText(t *testing.T) {
	folder := madeFolder(madeEnglish)
	var tokens []string
	if err := json.Unmarshal(folder["vocabulary.json"].Data, &tokens); err != nil {
		t.Fatal(err)
	}
	delete(folder, "vocabulary.json")
	folder["vocabulary.txt"] = &fstest.MapFile{Data: []byte(strings.Join(tokens, "\n") + "\n")}
	if _, err := Load(folder, LoadOptions{}); err != nil {
		t.Error(err)
	}
}

// FuzzLoad damages the weight file: an error or a model that decodes.
func FuzzLoad(f *testing.F) {
	folder := madeFolder(madeEnglish)
	whole := folder["model.bin"].Data
	f.Add(0, []byte{7})
	f.Add(60, []byte{0xff, 0xff})
	f.Add(len(whole)-3, []byte{9})
	f.Fuzz(func(t *testing.T, at int, patch []byte) {
		if at < 0 || at > len(whole) {
			return
		}
		data := slices.Clone(whole)
		copy(data[at:], patch)
		damaged := maps.Clone(folder)
		damaged["model.bin"] = &fstest.MapFile{Data: data}
		m, err := Load(damaged, LoadOptions{Compute: Compute(len(patch) % 3)})
		if err != nil {
			return
		}
		if _, err := m.NewDecoder().Decode(t.Context(), noise(1600), Options{Beam: 2, WordTimes: true}); err != nil {
			t.Log(err)
		}
	})
}
