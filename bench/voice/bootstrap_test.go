package voice

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// With two speakers only the drawing of both has impostor trials: the interval is a
// point.
func TestBootstrapByHand(t *testing.T) {
	var all []Scored
	for i, llr := range []float64{5, -1, 2, 4} {
		all = append(all, Scored{&Trial{Target: true, Enrolled: "a", Speaker: "a"}, llr}, Scored{&Trial{Enrolled: "a", Speaker: "b"}, float64(i) - 3})
	}
	s := newSet(t, all)
	f := Bootstrap{Rounds: 50, Seed: 1}.Figures(s, (*Set).EER)[0]
	if f.CI == nil || *f.CI != [2]float64{f.Value, f.Value} || f.Value != s.EER() || f.Value == 0 {
		t.Errorf("%+v, EER %v", f, s.EER())
	}
	if f = (Bootstrap{Rounds: least - 1}).Figures(s, (*Set).EER)[0]; f.CI != nil {
		t.Errorf("an interval of %d drawings: %v", least-1, *f.CI)
	}
}

// A trial that counts k times is the same as k such trials.
func TestBootstrapTwin(t *testing.T) {
	const rounds, seed, speakers = 60, 7, 9
	all := made(5, speakers, 60, 200)
	s := newSet(t, all)
	measures := []func(*Set) float64{(*Set).EER, (*Set).MinCllr, (*Set).Cllr, func(s *Set) float64 { return s.FRRAt(0.02) }}
	got := Bootstrap{Rounds: rounds, Seed: seed}.Figures(s, measures...)
	rng := rand.New(rand.NewPCG(seed, uint64(s.Speakers())))
	drawn := make([][]float64, len(measures))
	for range rounds {
		times := map[string]int{}
		for range s.Speakers() {
			times[s.speakers[rng.IntN(s.Speakers())]]++
		}
		var again []Scored
		for _, x := range all {
			n := times[x.Enrolled]
			if !x.Target {
				n *= times[x.Speaker]
			}
			again = append(again, slices.Repeat([]Scored{x}, n)...)
		}
		for i, m := range measures {
			drawn[i] = append(drawn[i], m(newSet(t, again)))
		}
	}
	for i, f := range got {
		slices.Sort(drawn[i])
		// 59 steps between 60 values: 2.5 % lie at 1.475 steps.
		low := drawn[i][1] + 0.475*(drawn[i][2]-drawn[i][1])
		high := drawn[i][57] + 0.525*(drawn[i][58]-drawn[i][57])
		if f.CI == nil || !close9(f.CI[0], low) || !close9(f.CI[1], high) {
			t.Errorf("measure %d: %v, want %v to %v", i, f.CI, low, high)
		}
	}
	if again := (Bootstrap{Rounds: rounds, Seed: seed}).Figures(s, measures...); *again[0].CI != *got[0].CI {
		t.Errorf("%v, then %v of one seed", *got[0].CI, *again[0].CI)
	}
}

func close9(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 }

// Five of 20 speakers are never recognised, each in 50 trials: the interval is that
// of 20 drawings (standard deviation 0.097), not that of 1,000 (0.014).
func TestBootstrapDrawsSpeakers(t *testing.T) {
	var all []Scored
	for i := range 20 {
		name, other := string(rune('a'+i)), string(rune('a'+(i+1)%20))
		llr := 1.0
		if i < 5 {
			llr = -1
		}
		for range 50 {
			all = append(all, Scored{&Trial{Target: true, Enrolled: name, Speaker: name}, llr})
		}
		all = append(all, Scored{&Trial{Enrolled: name, Speaker: other}, -5})
	}
	f := Bootstrap{Rounds: 2000, Seed: 3}.Figures(newSet(t, all), func(s *Set) float64 { _, frr := s.At(0); return frr })[0]
	if width := f.CI[1] - f.CI[0]; f.Value != 0.25 || width < 0.3 || width > 0.45 || f.CI[0] > 0.12 || f.CI[1] < 0.4 {
		t.Errorf("%v in %v, want about 0.25 in 0.07 to 0.45", f.Value, *f.CI)
	}
}

func TestQuantile(t *testing.T) {
	v := []float64{1, 2, 4, 8}
	for q, want := range map[float64]float64{0: 1, 1: 8, 0.5: 3, 0.9: 6.8} {
		if got := Quantile(v, q); !near(got, want) {
			t.Errorf("%v: %v, want %v", q, got, want)
		}
	}
	if Quantile(nil, 0.5) != 0 || Quantile(v[:1], 0.3) != 1 {
		t.Error("quantiles of none or one")
	}
}
