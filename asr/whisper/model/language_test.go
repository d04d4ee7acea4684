package model

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestLanguages(t *testing.T) {
	m := made(t, madeManyLanguages)
	if !m.Multilingual() || !slices.Equal(m.Languages(), []string{"en", "zh"}) {
		t.Fatalf("%v languages", m.Languages())
	}
	for language, want := range map[string][]int{"": {257, 258, 261}, "en": {257, 258, 261}, "zh": {257, 259, 261}} {
		if got, err := m.startOfText(language); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", language, got, err)
		}
	}
	for _, language := range []string{"xx", "nospeech", "transcribe|><|en"} {
		if _, err := m.NewDecoder().Decode(t.Context(), noise(1600), Options{Language: language}); err == nil || !strings.Contains(err.Error(), "unknown language") {
			t.Errorf("%q: %v", language, err)
		}
	}
	if _, err := m.NewDecoder().Decode(t.Context(), noise(1600), Options{Language: "zh", WordTimes: true}); err != nil {
		t.Error(err)
	}
	if english := made(t, madeEnglish); !slices.Equal(english.Languages(), []string{"en"}) {
		t.Errorf("English model: %v", english.Languages())
	}
}

func TestDetectLanguage(t *testing.T) {
	m := made(t, madeManyLanguages)
	d := m.NewDecoder()
	x := noise(16000)
	code, prob, err := d.DetectLanguage(t.Context(), x, 0)
	if err != nil || !slices.Contains(m.Languages(), code) || prob < 0.5 || prob > 1 {
		t.Fatalf("%q, %v, %v: the likelier of two has at least half", code, prob, err)
	}
	// Of the two languages' tokens alone, what the decoder foretells after the
	// start decides.
	logits := make([]float64, 2)
	l := d.lane(0)
	d.encode(t.Context(), &l.memory, x, madeAudio, &Options{})
	seq := l.sequences[0]
	seq.mem, seq.n = &l.memory, 0
	d.stepper.step([]row{{seq, m.sot}})
	for i := range logits {
		logits[i] = math.Exp(float64(d.stepper.project(1, false)[258+i]))
	}
	want := max(logits[0], logits[1]) / (logits[0] + logits[1])
	if math.Abs(prob-want) > 1e-5 || code != []string{"en", "zh"}[slices.Index(logits, slices.Max(logits))] {
		t.Errorf("%q with %v; want %v of %v", code, prob, want, logits)
	}

	if code, prob, err := d.DetectLanguage(t.Context(), x[:100], 0); code != "en" || prob != 0 || err != nil {
		t.Errorf("nothing to hear: %q, %v, %v", code, prob, err)
	}
	if _, _, err := d.DetectLanguage(t.Context(), x, madeAudio+1); err == nil || !strings.Contains(err.Error(), "context of") {
		t.Errorf("a context too long: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := d.DetectLanguage(ctx, x, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if code, prob, err := made(t, madeEnglish).NewDecoder().DetectLanguage(t.Context(), x, 0); code != "en" || prob != 1 || err != nil {
		t.Errorf("English model: %q, %v, %v", code, prob, err)
	}
}

// TestBaseMatchesFasterWhisper compares base, a model in many languages, with
// the reference: tokens, word times and the language it takes a clip to be in.
// SIDETONE_FULL=1 compares all 41 clips.
func TestBaseMatchesFasterWhisper(t *testing.T) {
	var languages struct {
		Language map[string]struct {
			Code string
			P    float64
		}
	}
	if err := json.Unmarshal(readTestdata(t, "base.json.gz"), &languages); err != nil {
		t.Fatal(err)
	}
	g := readGolden(t, "base.json.gz")
	if !full() {
		g = golden{"greedy": few(g["greedy"], 2), "words": few(g["words"], 1)}
	}
	m := base(t)
	if n := len(m.Languages()); n != 99 {
		t.Errorf("%d languages, want 99", n)
	}
	d := m.NewDecoder()
	for _, kind := range []string{"greedy", "words"} {
		for key, want := range g[kind] {
			x := clip(t, key)
			got, err := d.Decode(t.Context(), x, Options{WordTimes: kind == "words"})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.Tokens, want.Tokens) {
				t.Errorf("%s:\n got %q %d\nwant %q %d", key, got.Text, got.Tokens, m.Text(want.Tokens), want.Tokens)
				continue
			}
			compare(t, key, &got, &want, m, 1e-3)
			code, p, err := d.DetectLanguage(t.Context(), x, 0)
			if l := languages.Language[key]; err != nil || code != l.Code || math.Abs(p-l.P) > 2e-3 {
				t.Errorf("%s: language %q with %.4f (%v), want %q with %.4f", key, code, p, err, l.Code, l.P)
			}
		}
	}
}
