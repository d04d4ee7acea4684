package model

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sidetone/internal/needs"
)

// jobs are of every kind: lengths, beams, prompts, times.
func manyJobs(t *testing.T, m *Model) []Job {
	t.Helper()
	var jobs []Job
	for i := range 12 {
		o := Options{WordTimes: i%2 == 0, Timestamps: i%5 == 4, Context: []int{0, 30, 44}[i%3]}
		if i%4 == 1 {
			o.Beam = 3 + i
		}
		if i%4 == 2 {
			o.Prompt = m.Encode("long ago and far away")
		}
		if i%4 == 3 {
			o.Prefix = m.Encode("so it is")
		}
		jobs = append(jobs, Job{t.Context(), noise(4000 + 1500*i), o})
	}
	return jobs
}

func TestDecodeAllIsDecodeOfEach(t *testing.T) {
	m := made(t, madeEnglish)
	jobs := manyJobs(t, m)
	d := m.NewDecoder()
	got := make([]Result, len(jobs))
	calls := 0
	d.DecodeAll(jobs, func(i int, r Result, err error) {
		if err != nil {
			t.Errorf("job %d: %v", i, err)
		}
		calls++
		got[i] = r
	})
	if calls != len(jobs) {
		t.Errorf("%d results of %d jobs", calls, len(jobs))
	}
	for i, j := range jobs {
		want, err := m.NewDecoder().Decode(t.Context(), j.Samples, j.Options)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got[i].Tokens, want.Tokens) || math.Abs(got[i].AvgLogProb-want.AvgLogProb) > 1e-4 || len(got[i].Words) != len(want.Words) {
			t.Errorf("job %d: %q together, %q alone", i, got[i].Text, want.Text)
		}
	}
}

func TestDecodeAllStopsOneJobAlone(t *testing.T) {
	m := made(t, madeEnglish)
	jobs := manyJobs(t, m)
	for i := range jobs {
		if i%2 == 0 {
			jobs[i].Ctx = &ending{12 + i}
		}
	}
	m.NewDecoder().DecodeAll(jobs, func(i int, r Result, err error) {
		if i%2 == 0 {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("job %d: %v", i, err)
			}
			return
		}
		want, _ := m.NewDecoder().Decode(t.Context(), jobs[i].Samples, jobs[i].Options)
		if err != nil || !slices.Equal(r.Tokens, want.Tokens) {
			t.Errorf("job %d: %q, %v; alone %q", i, r.Text, err, want.Text)
		}
	})
}

// Whatever the draft, the text is the same.
func TestDraftChangesNothing(t *testing.T) {
	m := made(t, madeEnglish)
	d := m.NewDecoder()
	r := rand.New(rand.NewPCG(3, 4))
	for n := range 40 {
		x := noise(6000 + 500*n)
		o := Options{WordTimes: true, MaxTokens: 40}
		want, err := d.Decode(t.Context(), x, o)
		if err != nil {
			t.Fatal(err)
		}
		o.Draft = slices.Clone(want.Tokens)
		for range n % 8 {
			switch at := r.IntN(len(o.Draft) + 1); r.IntN(3) {
			case 0:
				o.Draft = slices.Insert(o.Draft, at, r.IntN(200))
			case 1:
				o.Draft = slices.Delete(o.Draft, min(at, len(o.Draft)), min(at+1, len(o.Draft)))
			default:
				o.Draft = o.Draft[:at]
			}
		}
		got, err := d.Decode(t.Context(), x, o)
		if err != nil || !slices.Equal(got.Tokens, want.Tokens) || got.Truncated != want.Truncated || len(got.Words) != len(want.Words) {
			t.Fatalf("draft %d: %d, %v; without %d", o.Draft, got.Tokens, err, want.Tokens)
		}
		for i, w := range got.Words {
			if v := want.Words[i]; w.Text != v.Text || w.Start != v.Start || math.Abs(float64(w.Prob-v.Prob)) > 1e-4 {
				t.Errorf("word %+v; without a draft %+v", w, v)
			}
		}
	}
}

// The silence behind a short context is worth a long one: without it the model
// goes round in circles on these clips.
func TestSilenceEndsLoops(t *testing.T) {
	m := tinyEn(t)
	d := m.NewDecoder()
	quiet, err := d.NewSilence(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	needs.Eval(t, "asr")
	loops := 0
	for _, key := range []string{
		"librispeech/tel8k/1688-142285-0001.wav", "librispeech/tel8k/1688-142285-0003.wav",
		"asterisk/tel8k/agent-incorrect.wav", "asterisk/tel8k/conf-noempty.wav",
	} {
		x := clip(t, key)
		o := Options{Context: min(1500, len(x)/FrameSamples+1), MaxTokens: 100}
		bare, err := d.Decode(t.Context(), x, o)
		if err != nil {
			t.Fatal(err)
		}
		if bare.CompressionRatio > 2.4 {
			loops++
		}
		o.Silence = quiet
		got, err := d.Decode(t.Context(), x, o)
		if err != nil || got.CompressionRatio > 2 || got.Truncated {
			t.Errorf("%s: %q, %v", key, got.Text, err)
		}
		t.Logf("%s\nbare  %q\nquiet %q", key, bare.Text, got.Text)
	}
	if loops == 0 {
		t.Error("no clip needs the silence: the test shows nothing")
	}
}

func TestBias(t *testing.T) {
	m := made(t, madeEnglish)
	d := m.NewDecoder()
	x := noise(16000)
	const phrase = "a man a plan"
	for _, beam := range []int{0, 4} {
		plain, err := d.Decode(t.Context(), x, Options{Beam: beam, MaxTokens: 20})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(plain.Text, phrase) {
			t.Fatalf("%q is there without the bias", phrase)
		}
		got, err := d.Decode(t.Context(), x, Options{Beam: beam, MaxTokens: 20, Bias: m.NewBias([]Phrase{{phrase, 30}, {"  ", 3}})})
		if err != nil || !strings.Contains(got.Text, phrase) {
			t.Errorf("beam %d: %q, %v", beam, got.Text, err)
		}
		for _, p := range got.LogProbs {
			if p > 1e-4 {
				t.Errorf("beam %d: log probability %v", beam, p)
			}
		}
		if got.AvgLogProb > plain.AvgLogProb+1e-6 && beam == 0 {
			t.Errorf("the bias counts in the average: %v, without it %v", got.AvgLogProb, plain.AvgLogProb)
		}
		none, err := d.Decode(t.Context(), x, Options{Beam: beam, MaxTokens: 20, Bias: m.NewBias(nil)})
		if err != nil || !slices.Equal(none.Tokens, plain.Tokens) {
			t.Errorf("beam %d: an empty bias changes the text", beam)
		}
	}
	other := made(t, madeEnglish)
	for _, o := range []Options{{Bias: other.NewBias(nil)}, {Silence: &Silence{m: other}}} {
		if _, err := d.Decode(t.Context(), x, o); err == nil {
			t.Error("what another model made is taken")
		}
	}
}

// A greedy text that the model is sure of stands; one that it is not sure of is
// searched with beams.
func TestBeamsForWhatIsInDoubt(t *testing.T) {
	m := tinyEn(t)
	d := m.NewDecoder()
	needs.Eval(t, "asr")
	var greedy, wide Result
	var x []float32
	o := Options{WordTimes: true, Beam: 5}
	for _, key := range []string{"2609-156975-0000", "367-130732-0006", "1688-142285-0008", "2033-164914-0004"} {
		x = clip(t, "librispeech/tel8k/"+key+".wav")
		var err error
		if greedy, err = d.Decode(t.Context(), x, Options{}); err != nil {
			t.Fatal(err)
		}
		if wide, err = d.Decode(t.Context(), x, o); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(greedy.Tokens, wide.Tokens) {
			break
		}
	}
	if slices.Equal(greedy.Tokens, wide.Tokens) {
		t.Fatal("beams change nothing: the test shows nothing")
	}
	for below, want := range map[float64]Result{-1e-9: wide, -100: greedy} {
		o.BeamBelow = below
		o.Draft = greedy.Tokens
		got, err := d.Decode(t.Context(), x, o)
		if err != nil || !slices.Equal(got.Tokens, want.Tokens) || len(got.Words) == 0 || math.Abs(got.NoSpeechProb-want.NoSpeechProb) > 1e-4 {
			t.Errorf("below %v: %d, %v, want %d", below, got.Tokens, err, want.Tokens)
		}
	}
	o.BeamBelow = 0.5
	if _, err := d.Decode(t.Context(), x, o); err == nil {
		t.Error("a probability above 1 is taken")
	}
}
