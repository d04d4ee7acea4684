package voiceprint

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"
)

var testModel = Model{ID: "two", Dim: 2}

// ears embed speech as the direction of its mean: a voice is a number here.
type ears struct{ model Model }

func (e ears) Model() Model { return e.model }

func (e ears) Embed(x []float32) (Embedding, error) {
	if len(x) < samplesOf(time.Second) {
		return nil, ErrTooShort
	}
	var sum float64
	for _, v := range x {
		sum += float64(v)
	}
	a := sum / float64(len(x))
	return Embedding{float32(math.Cos(a)), float32(math.Sin(a))}, nil
}

// scales weigh the cosine, the more the longer the speech.
type scales struct{ perSecond, fall float64 }

func (scales) Info() Info { return Info{Model: testModel, Calibration: "1"} }

func (s scales) LLR(enrolled []Embedding, test Embedding, net time.Duration) (float64, error) {
	best := math.Inf(-1)
	for _, e := range enrolled {
		best = max(best, Cosine(e, test))
	}
	return s.perSecond * net.Seconds() * (2*best - 1), nil
}

func (s scales) Threshold(far float64) (Operating, error) {
	if far < 1e-6 {
		return Operating{}, errors.New("never measured")
	}
	return Operating{FAR: far, LLR: 5, Fall: s.fall}, nil
}

func verifier(t *testing.T, perSecond float64, p Policy) *Verifier {
	t.Helper()
	v, err := NewVerifier(VerifierConfig{Embedder: ears{testModel}, Scorer: scales{perSecond: perSecond}, Enrolled: []Embedding{{1, 0}}, Policy: p})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func voice(a float32, d time.Duration) []float32 {
	return slices.Repeat([]float32{a}, samplesOf(d))
}

// say is heard in frames of 20 ms; it returns the decisions that changed the outcome
// or became final.
func say(t *testing.T, v *Verifier, speech []float32, gates func(d Decision) []Reason) []Decision {
	t.Helper()
	var out []Decision
	for at := 0; at < len(speech); at += Rate / 50 {
		v.Hear(speech[at:at+Rate/50], v.at+Rate/50)
		if !v.Due() {
			continue
		}
		before := v.Decision()
		var g []Reason
		if gates != nil {
			g = gates(before)
		}
		d, err := v.Look(Quality{}, g)
		if err != nil {
			t.Fatal(err)
		}
		if d.Outcome != before.Outcome || d.Final != before.Final {
			out = append(out, d)
		}
	}
	return out
}

func TestDecisions(t *testing.T) {
	noisy := func(Decision) []Reason { return []Reason{Noise} }
	for name, c := range map[string]struct {
		voice     float32
		perSecond float64
		policy    Policy
		gates     func(Decision) []Reason
		outcome   Outcome
		net       time.Duration
		reasons   []Reason
	}{
		"the person, clearly":             {0, 10, Policy{}, nil, Match, 2 * time.Second, nil},
		"the person":                      {0, 1, Policy{}, nil, Match, 5 * time.Second, nil},
		"another":                         {3, 1, Policy{}, nil, Mismatch, 3 * time.Second, nil},
		"another, but a person is spared": {3, 1, Policy{Miss: 1e-5}, nil, Mismatch, 4 * time.Second, nil},
		"neither":                         {math.Pi / 3, 1, Policy{}, nil, Inconclusive, 15 * time.Second, []Reason{Between}},
		"noise":                           {0, 10, Policy{}, noisy, Inconclusive, 15 * time.Second, []Reason{Noise}},
		"an early limit":                  {math.Pi / 3, 1, Policy{Limit: 4 * time.Second}, nil, Inconclusive, 4 * time.Second, []Reason{Between}},
	} {
		t.Run(name, func(t *testing.T) {
			v := verifier(t, c.perSecond, c.policy)
			got := say(t, v, voice(c.voice, 20*time.Second), c.gates)
			if len(got) != 1 {
				t.Fatalf("decisions %+v, want one", got)
			}
			d := got[0]
			if d.Outcome != c.outcome || !d.Final || d.Net != c.net || d.At != int64(samplesOf(c.net)) || !slices.Equal(d.Reasons, c.reasons) {
				t.Errorf("got %s after %v (at %d), final %v, %v; want %s after %v, %v", d.Outcome, d.Net, d.At, d.Final, d.Reasons, c.outcome, c.net, c.reasons)
			}
		})
	}
}

func TestTooLittleSpeech(t *testing.T) {
	v := verifier(t, 10, Policy{})
	say(t, v, voice(0, 900*time.Millisecond), nil)
	if d := v.Decision(); d.Outcome != Inconclusive || d.Scores != 0 || !slices.Equal(d.Reasons, []Reason{TooLittle}) {
		t.Errorf("before the first look: %+v", d)
	}
	say(t, v, voice(0, 500*time.Millisecond), nil)
	if d := v.Decision(); d.Outcome != Inconclusive || d.Scores != 1 || d.Final || !slices.Equal(d.Reasons, []Reason{TooLittle}) {
		t.Errorf("after 1.4 s: %+v", d)
	}
}

// Once there is an answer a few odd seconds do not change it, another voice does.
func TestTheVoiceChanges(t *testing.T) {
	v := verifier(t, 2, Policy{})
	say(t, v, voice(0, 20*time.Second), nil)
	if d := say(t, v, voice(3, 3*time.Second), nil); len(d) > 0 {
		t.Fatalf("after 3 s of another voice: %+v", d)
	}
	if d := say(t, v, voice(0, 10*time.Second), nil); len(d) > 0 {
		t.Fatalf("the person speaks on: %+v", d)
	}
	got := say(t, v, voice(3, 20*time.Second), nil)
	if len(got) != 2 || got[0].Outcome != Inconclusive || !slices.Equal(got[0].Reasons, []Reason{VoiceChanged}) || got[1].Outcome != Mismatch {
		t.Fatalf("another voice took over: %+v", got)
	}
	if got := say(t, v, voice(0, 20*time.Second), nil); len(got) != 2 || got[1].Outcome != Match {
		t.Errorf("the person is back: %+v", got)
	}
}

func TestVerifierConfig(t *testing.T) {
	good := VerifierConfig{Embedder: ears{testModel}, Scorer: scales{perSecond: 1}, Enrolled: []Embedding{{1, 0}}}
	for name, change := range map[string]func(*VerifierConfig){
		"nobody enrolled": func(c *VerifierConfig) { c.Enrolled = nil },
		"another model":   func(c *VerifierConfig) { c.Embedder = ears{Model{ID: "three", Dim: 2}} },
		"another length":  func(c *VerifierConfig) { c.Enrolled = []Embedding{{1, 0, 0}} },
		"a rate":          func(c *VerifierConfig) { c.Policy.FAR = 1 },
		"not a number":    func(c *VerifierConfig) { c.Policy.Miss = math.NaN() },
		"order":           func(c *VerifierConfig) { c.Policy.Limit = 2500 * time.Millisecond },
		"unmeasured":      func(c *VerifierConfig) { c.Policy.FAR = 1e-7 },
	} {
		c := good
		change(&c)
		if _, err := NewVerifier(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestUnit(t *testing.T) {
	v := []float32{3, 4}
	if !Unit(v) || v[0] != 0.6 || v[1] != 0.8 {
		t.Errorf("got %v", v)
	}
	for _, v := range [][]float32{nil, {0, 0}, {float32(math.Inf(1)), 1}, {float32(math.NaN())}} {
		if Unit(v) {
			t.Errorf("%v has a direction", v)
		}
	}
}

func TestOutcomesInWords(t *testing.T) {
	for _, o := range []Outcome{Inconclusive, Match, Mismatch} {
		if got, err := ParseOutcome(o.String()); err != nil || got != o {
			t.Errorf("%v became %v, %v", o, got, err)
		}
	}
	if _, err := ParseOutcome("maybe"); err == nil {
		t.Error("no error")
	}
}

// Frames come 50 times a second on each leg.
func TestHearAllocatesNothing(t *testing.T) {
	v := verifier(t, 0, Policy{})
	frame := voice(0, 20*time.Millisecond)
	if n := testing.AllocsPerRun(600, func() { v.Hear(frame, 0) }); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

func TestAccept(t *testing.T) {
	for _, c := range []struct {
		fall, seconds, want float64
	}{
		{0, 15, 6}, {0.5, 1, 6}, {0.5, 2, 6}, {0.5, 8, 3}, {1, 8, 1.5}, {2, 4, 1.5},
	} {
		o := Operating{LLR: 6, Fall: c.fall}
		if got := o.Accept(time.Duration(c.seconds * float64(time.Second))); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("with a fall of %v, after %v s: %v, want %v", c.fall, c.seconds, got, c.want)
		}
	}
}

// A caller whose evidence stays below the first threshold is matched where it meets the
// threshold that falls.
func TestThresholdFalls(t *testing.T) {
	for _, c := range []struct {
		fall float64
		want Outcome
		net  time.Duration
	}{{0, Inconclusive, 15 * time.Second}, {1, Match, 6 * time.Second}} {
		v, err := NewVerifier(VerifierConfig{Embedder: ears{testModel}, Scorer: scales{0.3, c.fall}, Enrolled: []Embedding{{1, 0}}})
		if err != nil {
			t.Fatal(err)
		}
		var d Decision
		for at := time.Second / 2; !d.Final; at += time.Second / 2 {
			v.Hear(voice(0, time.Second/2), int64(samplesOf(at)))
			if d, err = v.Look(Quality{}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if d.Outcome != c.want || d.Net != c.net || c.fall > 0 && d.Accept > d.LLR {
			t.Errorf("with a fall of %v: %v after %v at %v of %v, want %v after %v", c.fall, d.Outcome, d.Net, d.LLR, d.Accept, c.want, c.net)
		}
	}
}
