package model

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// differs names the clips whose tokens are not those of faster-whisper, and why.
// The test fails when one of them begins to agree and when another differs.
var differs = map[string]string{}

// golden is what faster-whisper decodes: by kind of decoding and clip; written
// by testdata/peer.py.
type golden map[string]map[string]expected

type expected struct {
	Tokens          []int
	Avg             *float64
	NoSpeech, Ratio float64
	Words           []word
}

type word struct {
	text             string
	start, end, prob float64
}

func (w *word) UnmarshalJSON(raw []byte) error {
	return json.Unmarshal(raw, &[]any{&w.text, &w.start, &w.end, &w.prob})
}

func readTestdata(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func readGolden(t *testing.T, name string) golden {
	t.Helper()
	var g golden
	if err := json.Unmarshal(readTestdata(t, name), &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// full tells whether all clips are compared.
func full() bool { return os.Getenv("SIDETONE_FULL") != "" }

// few are n of the clips, spread over all.
func few(all map[string]expected, n int) map[string]expected {
	keys := slices.Sorted(maps.Keys(all))
	out := map[string]expected{}
	for i := range n {
		k := keys[(2*i+1)*len(keys)/(2*n)]
		out[k] = all[k]
	}
	return out
}

func base(tb testing.TB) *Model {
	tb.Helper()
	m, err := Load(folderOf(tb, "whisper-base", "config.json", "tokenizer.json", "vocabulary.json", "model.bin"), LoadOptions{Compute: Float32})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func tinyEn(tb testing.TB) *Model { return tinyEnBy(tb, Default) }

func tinyEnBy(tb testing.TB, compute Compute) *Model {
	tb.Helper()
	m, err := Load(tinyEnFolder(tb), LoadOptions{Compute: compute})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// options are those of peer.py for a kind of decoding.
func options(m *Model, kind string, clip int, samples int) Options {
	o := Options{
		Timestamps: strings.HasSuffix(kind, "timestamps"),
		WordTimes:  strings.HasPrefix(kind, "words"),
	}
	switch kind {
	case "beam", "beamtimestamps":
		o.Beam = 5
	case "prompt":
		o.Prompt = m.Encode(" Thank you for calling the bank, this is Anna.")
		o.Timestamps = clip%2 == 0
	case "prefix":
		o.Prefix = m.Encode(" So the")
		o.Timestamps = clip%2 == 0
	case "short":
		o.Context = min(1500, samples/FrameSamples+50)
	}
	return o
}

// sample is what a normal run decodes: of every kind one clip, greedily one of
// each condition.
func sample(g golden) golden {
	out := golden{}
	for kind, clips := range g {
		out[kind] = map[string]expected{}
		keys := slices.Sorted(maps.Keys(clips))
		if kind != "greedy" {
			k := keys[len(keys)/3]
			out[kind][k] = clips[k]
			continue
		}
		for i, k := range keys {
			if i%(len(keys)/4) == 40 {
				out[kind][k] = clips[k]
			}
		}
	}
	return out
}

// TestTokensMatchFasterWhisper compares token by token. SIDETONE_FULL=1 compares
// all 692 clips greedily and a seventh of them in each other way, which takes a
// quarter of an hour (go test -timeout 1h).
func TestTokensMatchFasterWhisper(t *testing.T) {
	all := readGolden(t, "golden.json.gz")
	order := map[string]int{}
	for _, set := range []string{"asterisk", "librispeech", "other"} {
		for _, condition := range []string{"wav16", "tel8k", "tel8k_noise10", "tel8k_loss3"} {
			for _, k := range slices.Sorted(maps.Keys(all["greedy"])) {
				if strings.HasPrefix(k, set+"/"+condition+"/") {
					order[k] = len(order)
				}
			}
		}
	}
	g := all
	if !full() {
		g = sample(all)
	}
	m := tinyEnBy(t, Float32)
	d := m.NewDecoder()
	for _, kind := range slices.Sorted(maps.Keys(g)) {
		t.Run(kind, func(t *testing.T) {
			same, other := 0, 0
			for _, key := range slices.Sorted(maps.Keys(g[kind])) {
				want := g[kind][key]
				x := clip(t, key)
				got, err := d.Decode(t.Context(), x, options(m, kind, order[key], len(x)))
				if err != nil {
					t.Fatalf("%s: %v", key, err)
				}
				reason, listed := differs[kind+" "+key]
				if slices.Equal(got.Tokens, want.Tokens) {
					same++
					if listed {
						t.Errorf("%s agrees; it is listed as differing (%s)", key, reason)
					}
					compare(t, key, &got, &want, m, 1e-3)
					continue
				}
				other++
				if !listed {
					t.Errorf("%s:\n got %q %d\nwant %q %d", key, got.Text, got.Tokens, m.Text(want.Tokens), want.Tokens)
				}
			}
			t.Logf("%d clips agree, %d differ as listed", same, other)
		})
	}
}

// TestDefaultMatchesFasterWhisper has the default mode write the same text, with
// scores that are off by what 16 bits cost.
func TestDefaultMatchesFasterWhisper(t *testing.T) {
	m := tinyEn(t)
	d := m.NewDecoder()
	for key, want := range sample(readGolden(t, "golden.json.gz"))["greedy"] {
		got, err := d.Decode(t.Context(), clip(t, key), Options{})
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		if !slices.Equal(got.Tokens, want.Tokens) {
			t.Errorf("%s:\n got %q %d\nwant %q %d", key, got.Text, got.Tokens, m.Text(want.Tokens), want.Tokens)
		}
		compare(t, key, &got, &want, m, 1e-2)
	}
}

// compare finds differences of scores beyond the tolerance, and other words.
func compare(t *testing.T, name string, got *Result, want *expected, m *Model, tolerance float64) {
	t.Helper()
	near := func(what string, got, want, tolerance float64) {
		if math.Abs(got-want) > tolerance {
			t.Errorf("%s: %s %.4f, want %.4f", name, what, got, want)
		}
	}
	if want.Avg != nil {
		near("average log probability", got.AvgLogProb, *want.Avg, tolerance)
	}
	near("no-speech probability", got.NoSpeechProb, want.NoSpeech, tolerance)
	// Go's compress/zlib codes a few bytes differently from zlib.
	n := float64(len(strings.TrimSpace(got.Text)))
	near("compressed size", n/got.CompressionRatio, n/want.Ratio, 8)
	if len(got.LogProbs) != len(got.Tokens) {
		t.Errorf("%s: %d log probabilities for %d tokens", name, len(got.LogProbs), len(got.Tokens))
	}
	if want.Words == nil || unfinished(m, want.Tokens) {
		return
	}
	if len(got.Words) != len(want.Words) {
		t.Errorf("%s: %d words, want %d", name, len(got.Words), len(want.Words))
		return
	}
	for i, w := range got.Words {
		v := want.Words[i]
		if w.Text != v.text || math.Abs(w.Start-v.start) > 0.0051 || math.Abs(w.End-v.end) > 0.0051 || math.Abs(float64(w.Prob)-v.prob) > 2*tolerance {
			t.Errorf("%s: word %d is %q %.2f to %.2f, %.4f; want %+v", name, i, w.Text, w.Start, w.End, w.Prob, v)
		}
	}
}

// unfinished tells whether the reference would drop the end of the text, after
// the last pair of timestamps, and hear it again in the next window.
func unfinished(m *Model, tokens []int) bool {
	pair := false
	for i := 1; i < len(tokens); i++ {
		pair = pair || tokens[i] >= m.firstTime && tokens[i-1] >= m.firstTime
	}
	return pair && tokens[len(tokens)-1] < m.firstTime
}
