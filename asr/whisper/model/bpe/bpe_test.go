package bpe

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"sidetone/internal/needs"
)

// encodings are by the Hugging Face tokenizers library 0.23.3 with the
// tokenizer.json of tiny.en.
var encodings = []struct {
	text string
	ids  []int
}{
	{" Thank you for calling the bank, this is Anna.", []int{6952, 345, 329, 4585, 262, 3331, 11, 428, 318, 11735, 13}},
	{"don't we'll I'm you've she'd they're it's", []int{9099, 470, 356, 1183, 314, 1101, 345, 1053, 673, 1549, 484, 821, 340, 338}},
	{"DON'T", []int{41173, 6, 51}},
	{"  two  spaces\tand\ttabs \n\nnew lines ", []int{220, 734, 220, 9029, 197, 392, 197, 8658, 82, 220, 198, 198, 3605, 3951, 220}},
	{"price: $12.50 (10%)!", []int{20888, 25, 720, 1065, 13, 1120, 357, 940, 4407, 0}},
	{"naïve café — “quoted” …", []int{2616, 38776, 40304, 851, 564, 250, 421, 5191, 447, 251, 3926}},
	{"你好，世界", []int{19526, 254, 25001, 121, 171, 120, 234, 10310, 244, 45911, 234}},
	{"🙂👍🏽 ok", []int{8582, 25081, 41840, 235, 8582, 237, 121, 12876}},
	{"x", []int{87}},
	{"", []int{}},
	{"   ", []int{220, 220, 220}},
	{" a", []int{257}},
	{"1234567890 12,345", []int{10163, 2231, 30924, 3829, 1105, 11, 27712}},
	{"\u00a0nbsp\u3000wide", []int{1849, 77, 24145, 5099, 222, 4421}},
	{"a'b 'tis rock'n'roll ''s", []int{64, 6, 65, 705, 48010, 3881, 6, 77, 6, 2487, 10148, 82}},
	{"C++ & C# <b>html</b> http://a.b/c?d=e", []int{34, 4880, 1222, 327, 2, 1279, 65, 29, 6494, 3556, 65, 29, 2638, 1378, 64, 13, 65, 14, 66, 30, 67, 28, 68}},
	{"\x00\x7f", []int{188, 221}},
	{"ﬁ ½ ² Ⅳ ٣", []int{171, 105, 223, 25208, 1587, 110, 2343, 227, 96, 18923, 96}},
	{"e\u0301 combining", []int{68, 136, 223, 19771}},
}

func parse(tokens []string, tokenizer []byte) (*Vocab, error) {
	t, err := ParseTokenizer(tokenizer)
	if err != nil {
		return nil, err
	}
	return New(tokens, t)
}

func tinyEn(t *testing.T) *Vocab {
	t.Helper()
	words, err := os.ReadFile(needs.Model(t, "whisper-tiny.en", "vocabulary.txt"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(needs.Model(t, "whisper-tiny.en", "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := parse(strings.Split(strings.TrimSpace(string(words)), "\n"), file)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestEncodeMatchesReference(t *testing.T) {
	v := tinyEn(t)
	for _, c := range encodings {
		if got := v.Encode(c.text); !slices.Equal(got, c.ids) {
			t.Errorf("%q: %v, want %v", c.text, got, c.ids)
		}
		if got := v.Text(c.ids); got != c.text {
			t.Errorf("%v: %q, want %q", c.ids, got, c.text)
		}
	}
	if id, ok := v.ID("<|endoftext|>"); !ok || id != 50256 || v.Size() != 51864 {
		t.Errorf("end token %d, %d tokens", id, v.Size())
	}
}

// small is a vocabulary of all bytes and a few merges.
func small() ([]string, []byte) {
	byByte := map[byte]string{}
	for r, b := range alphabet() {
		byByte[b] = string(r)
	}
	var tokens []string
	for b := range 256 {
		tokens = append(tokens, byByte[byte(b)])
	}
	tokens = append(tokens, "he", "ll", "hell", "Ġhe", "<|end|>")
	vocab := map[string]int{}
	for i, s := range tokens[:len(tokens)-1] {
		vocab[s] = i
	}
	raw, err := json.Marshal(map[string]any{
		"added_tokens": []any{map[string]any{"id": len(tokens) - 1, "content": "<|end|>"}},
		"model":        map[string]any{"type": "BPE", "vocab": vocab, "merges": []any{"h e", "l l", []string{"he", "ll"}, "Ġ he"}},
	})
	if err != nil {
		panic(err)
	}
	return tokens, raw
}

func TestSmallVocabulary(t *testing.T) {
	v, err := parse(small())
	if err != nil {
		t.Fatal(err)
	}
	if got := v.Encode("hello he"); !slices.Equal(got, []int{258, 'o', 259}) {
		t.Errorf("hello he: %v", got)
	}
	if got := v.Text(v.Encode("\xf0\x9f\x99")); got != "" {
		t.Errorf("three bytes of four: %q", got)
	}
	if got := v.Text(v.Encode("é\xe9x\xc3")); got != "é\uFFFDx" {
		t.Errorf("damaged text: %q", got)
	}
	if v.Bytes(-1) != nil || v.Bytes(v.Size()) != nil {
		t.Error("bytes of tokens that do not exist")
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	tokens, file := small()
	swap := func(old, new string) []byte { return []byte(strings.Replace(string(file), old, new, 1)) }
	cases := map[string]struct {
		tokens []string
		file   []byte
		want   string
	}{
		"not json":     {tokens, []byte("<html>"), "tokenizer.json: invalid"},
		"unigram":      {tokens, swap(`"BPE"`, `"Unigram"`), "not BPE"},
		"other model":  {append([]string{"x!"}, tokens[1:]...), file, "belong to different models"},
		"added":        {tokens, swap("|end|", "|fin|"), "belong to different models"},
		"twice":        {append(slices.Clone(tokens), "he"), file, "is both"},
		"no such":      {tokens, swap("h e", "q z"), "merge 0"},
		"not a merge":  {tokens, swap(`"h e"`, `"he"`), "not two tokens"},
		"not a string": {tokens, swap(`"h e"`, `7`), "neither"},
		"bytes":        {nil, []byte(`{"model":{"type":"BPE"}}`), "no token for the byte"},
	}
	for name, c := range cases {
		if _, err := parse(c.tokens, c.file); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

func TestParseMerges(t *testing.T) {
	tokens, _ := small()
	vocab := asJSON(t, tokens)
	table, err := ParseMerges(vocab, []byte("#version: 0.2\nh e\r\nl l\nhe ll\nĠ he\n"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := New(tokens, table)
	if err != nil {
		t.Fatal(err)
	}
	if got := v.Encode("hello he"); !slices.Equal(got, []int{258, 'o', 259}) {
		t.Errorf("hello he: %v", got)
	}
	for _, c := range []struct{ vocab, merges, want string }{
		{"[", "", "vocab.json"},
		{"{}", "a b\nab", "merges.txt: line 2"},
	} {
		if _, err := ParseMerges([]byte(c.vocab), []byte(c.merges)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, %q: %v", c.vocab, c.merges, err)
		}
	}
}

func asJSON(t testing.TB, tokens []string) []byte {
	t.Helper()
	ids := map[string]int{}
	for i, s := range tokens {
		ids[s] = i
	}
	raw, err := json.Marshal(ids)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// tiktoken writes the bytes and then these tokens.
func tiktoken(more ...string) []byte {
	var b strings.Builder
	for i := range 256 {
		fmt.Fprintf(&b, "%s %d\n", base64.StdEncoding.EncodeToString([]byte{byte(i)}), i)
	}
	for i, s := range more {
		fmt.Fprintf(&b, "%s %d\n", base64.StdEncoding.EncodeToString([]byte(s)), 256+i)
	}
	return []byte(b.String())
}

func TestParseTiktoken(t *testing.T) {
	table, err := ParseTiktoken(append(tiktoken("he", "ll", "hell", " he"), "= 260\n"...))
	if err != nil {
		t.Fatal(err)
	}
	want := [][2]string{{"h", "e"}, {"l", "l"}, {"he", "ll"}, {"Ġ", "he"}}
	if !slices.Equal(table.Merges, want) || table.IDs["Ġhe"] != 259 || table.IDs[""] != 260 {
		t.Errorf("merges %q, Ġhe is %d, nothing is %d", table.Merges, table.IDs["Ġhe"], table.IDs[""])
	}
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"no number":  {[]byte("IQ=="), "line 1"},
		"bad number": {[]byte("IQ== x"), "line 1"},
		"order":      {[]byte("IQ== 1"), "token 1, expected 0"},
		"bad base64": {[]byte("I! 0"), "line 1"},
		"not a pair": {tiktoken("hello"), "not a merge of two"},
		"twice":      {tiktoken("he", "!"), "twice"},
		"too long":   {tiktoken(strings.Repeat("x", 2000)), "not a token and its id"},
	} {
		if _, err := ParseTiktoken(c.file); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

// The merges that a tiktoken file implies are those that tokenizer.json lists.
func TestTiktokenIsTheSameTokenizer(t *testing.T) {
	file, err := os.ReadFile(needs.Model(t, "whisper-tiny.en", "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := ParseTokenizer(file)
	if err != nil {
		t.Fatal(err)
	}
	v := tinyEn(t)
	var b strings.Builder
	for id := range 50256 {
		fmt.Fprintf(&b, "%s %d\n", base64.StdEncoding.EncodeToString(v.Bytes(id)), id)
	}
	got, err := ParseTiktoken([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Merges, want.Merges) {
		t.Errorf("%d merges, of the tokenizer %d, or others", len(got.Merges), len(want.Merges))
	}
}

func FuzzParseTiktoken(f *testing.F) {
	f.Add(tiktoken("he", "ll"))
	f.Add([]byte("= 0\nIQ== 1\n"))
	f.Fuzz(func(_ *testing.T, raw []byte) {
		if t, err := ParseTiktoken(raw); err == nil {
			tokens := make([]string, len(t.IDs))
			for s, id := range t.IDs {
				tokens[id] = s
			}
			if v, err := New(tokens, t); err == nil {
				v.Encode("hello there")
			}
		}
	})
}

func TestPartial(t *testing.T) {
	for s, want := range map[string]int{"": 0, "a": 0, "é": 0, "\xc3": 1, "a\xe4": 1, "a\xe4\xbd": 2, "\xf0\x9f\x99": 3, "\x99": 0, "\xff": 0, "🙂": 0} {
		if got := Partial([]byte(s)); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	tokens, file := small()
	f.Add(file)
	f.Add([]byte(`{"model":{"type":"BPE","merges":[["a","b"],"a b",7]}}`))
	f.Fuzz(func(_ *testing.T, raw []byte) {
		if v, err := parse(tokens, raw); err == nil {
			v.Encode("hello there")
		}
	})
}

func FuzzEncode(f *testing.F) {
	for _, c := range encodings {
		f.Add(c.text)
	}
	v, err := parse(small())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := v.Text(v.Encode(s))
		if utf8.ValidString(s) && got != s || !utf8.ValidString(got) {
			t.Errorf("%q became %q", s, got)
		}
	})
}
