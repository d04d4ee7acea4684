package voice

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sidetone/voiceprint"
)

var twoModel = voiceprint.Model{ID: "two", Dim: 2}

// ears embed speech as the direction that its mean is.
type ears struct{}

func (ears) Model() voiceprint.Model { return twoModel }

func (ears) Embed(x []float32) (voiceprint.Embedding, error) {
	if len(x) < voiceprint.Rate {
		return nil, voiceprint.ErrTooShort
	}
	var sum float64
	for _, v := range x {
		sum += float64(v)
	}
	a := sum / float64(len(x))
	return voiceprint.Embedding{float32(math.Cos(a)), float32(math.Sin(a))}, nil
}

// scales weigh the cosine, the more the longer the speech.
type scales struct{}

func (scales) Info() voiceprint.Info { return voiceprint.Info{Model: twoModel, Calibration: "1"} }

func (scales) LLR(enrolled []voiceprint.Embedding, test voiceprint.Embedding, net time.Duration) (float64, error) {
	return (8*voiceprint.Cosine(enrolled[0], test) - 4) * math.Sqrt(net.Seconds()), nil
}

func (scales) Threshold(far float64) (voiceprint.Operating, error) {
	if far < 1e-6 {
		return voiceprint.Operating{}, errors.New("never measured")
	}
	return voiceprint.Operating{FAR: far, FRR: 0.02, LLR: -math.Log(far)}, nil
}

func verifier(p voiceprint.Policy) voiceprint.VerifierConfig {
	return voiceprint.VerifierConfig{Embedder: ears{}, Scorer: scales{}, Enrolled: []voiceprint.Embedding{{1, 0}}, Policy: p}
}

// inOneGo is what a sequential decision is, without frames and without a verifier.
func inOneGo(t *testing.T, speech []float32, p voiceprint.Policy) Answer {
	t.Helper()
	op, err := scales{}.Threshold(p.FAR)
	if err != nil {
		t.Fatal(err)
	}
	a := Answer{Accept: op.LLR}
	for net := time.Second; net <= p.Limit && int(net.Seconds()*voiceprint.Rate) <= len(speech); net += time.Second / 2 {
		e, err := ears{}.Embed(speech[:int(net.Seconds()*voiceprint.Rate)])
		if err != nil {
			t.Fatal(err)
		}
		a.Net, a.Looks = net, a.Looks+1
		if a.LLR, err = (scales{}).LLR([]voiceprint.Embedding{{1, 0}}, e, net); err != nil {
			t.Fatal(err)
		}
		switch {
		case net < p.Least:
		case a.LLR >= op.LLR:
			a.Outcome = voiceprint.Match
			return a
		case a.LLR <= math.Log(p.Miss/(1-p.FAR)) && net >= p.MismatchAfter:
			a.Outcome = voiceprint.Mismatch
			return a
		}
	}
	return a
}

func TestReplayTwin(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	seen := map[voiceprint.Outcome]int{}
	for range 60 {
		p := voiceprint.DefaultPolicy()
		p.FAR = []float64{0.01, 0.001, 0.0005}[rng.IntN(3)]
		// The voice wanders from one direction to another; some calls are short.
		from, to := rng.Float64()*2, rng.Float64()*2
		speech := make([]float32, (3+rng.IntN(13))*voiceprint.Rate)
		for i := range speech {
			speech[i] = float32(from + (to-from)*min(float64(i)/(10*voiceprint.Rate), 1))
		}
		got, err := Replay(verifier(p), speech)
		if err != nil {
			t.Fatal(err)
		}
		want := inOneGo(t, speech, p)
		if got != want {
			t.Errorf("from %v to %v at FAR %v: %+v, want %+v", from, to, p.FAR, got, want)
		}
		seen[got.Outcome]++
	}
	for _, o := range []voiceprint.Outcome{voiceprint.Match, voiceprint.Mismatch, voiceprint.Inconclusive} {
		if seen[o] < 5 {
			t.Errorf("%d calls ended in %v: too few to see anything", seen[o], o)
		}
	}
}

func TestReplayRefuses(t *testing.T) {
	c := verifier(voiceprint.Policy{FAR: 1e-7})
	if _, err := Replay(c, nil); err == nil {
		t.Error("no error of a FAR that was never measured")
	}
	c = verifier(voiceprint.Policy{})
	c.Embedder = deaf{}
	if _, err := Replay(c, make([]float32, 2*voiceprint.Rate)); !errors.Is(err, voiceprint.ErrTooShort) {
		t.Errorf("error %v", err)
	}
}

type deaf struct{ ears }

func (deaf) Embed([]float32) (voiceprint.Embedding, error) { return nil, voiceprint.ErrTooShort }

func TestTimes(t *testing.T) {
	got := times([]float64{3, 2, 2, 2.5, 10})
	if !near(got.Mean, 3.9) || got.P50 != 2.5 || got.Max != 10 || !near(got.P90, 7.2) {
		t.Errorf("%+v", got)
	}
	want := make([]int, 20)
	want[3], want[4], want[5], want[19] = 2, 1, 1, 1
	if !slices.Equal(got.Counts, want) {
		t.Errorf("counts %v, want %v", got.Counts, want)
	}
	if got := times(nil); got.Counts != nil || got.Max != 0 {
		t.Errorf("of none: %+v", got)
	}
}

// answered is a call of one person in the name of another, or in their own.
func answered(enrolled, speaker string, o voiceprint.Outcome, net time.Duration) Answered {
	return Answered{&Trial{Enrolled: enrolled, Speaker: speaker, Target: enrolled == speaker, Group: Adult, Condition: "tel", Channel: "g711", Net: 15 * time.Second}, Answer{Outcome: o, Net: net, Accept: 7}}
}

func calls() []Answered {
	return []Answered{
		answered("a", "a", voiceprint.Match, 2*time.Second), answered("b", "b", voiceprint.Match, 4*time.Second),
		answered("c", "c", voiceprint.Inconclusive, 15*time.Second), answered("d", "d", voiceprint.Mismatch, 3*time.Second),
		answered("a", "b", voiceprint.Mismatch, 3*time.Second), answered("a", "c", voiceprint.Mismatch, 5*time.Second),
		answered("b", "d", voiceprint.Match, 6*time.Second), answered("c", "d", voiceprint.Mismatch, 4*time.Second),
		answered("d", "a", voiceprint.Mismatch, 4*time.Second),
	}
}

func TestDecide(t *testing.T) {
	d, err := Bootstrap{Rounds: 400, Seed: 1}.Decide(calls())
	if err != nil {
		t.Fatal(err)
	}
	if d.Accept != 7 || d.True.Count != 4 || d.Impostors.Count != 5 || d.True.Matches != 2 || d.Impostors.Mismatches != 4 {
		t.Errorf("%+v", d)
	}
	for _, c := range []struct {
		name string
		got  Figure
		want float64
	}{
		{"matched", d.True.Match, 0.5}, {"undecided", d.True.Undecided, 0.25}, {"mismatched", d.True.Mismatch, 0.25},
		{"false matches", d.Impostors.Match, 0.2}, {"found out", d.Impostors.Mismatch, 0.8}, {"not found out", d.Impostors.Undecided, 0},
	} {
		if !near(c.got.Value, c.want) || c.got.CI == nil || c.got.CI[0] > c.want || c.got.CI[1] < c.want {
			t.Errorf("%s: %v in %v, want %v", c.name, c.got.Value, c.got.CI, c.want)
		}
	}
	if d.True.ToMatch.Mean != 3 || d.Impostors.ToMismatch.Mean != 4 || d.Impostors.ToMatch.Max != 6 {
		t.Errorf("times %+v, %+v, %+v", d.True.ToMatch, d.Impostors.ToMismatch, d.Impostors.ToMatch)
	}
	for _, part := range [][]Answered{nil, calls()[:4], calls()[4:]} {
		if _, err := (Bootstrap{}).Decide(part); !errors.Is(err, ErrOneSided) {
			t.Errorf("%d calls of one side: error %v", len(part), err)
		}
	}
}
