package voice

import (
	"math/rand/v2"
	"slices"
)

// Figure is a measured value with its interval.
type Figure struct {
	Value float64 `json:"value"`
	// CI is the interval of 95 %; nil where there are too few speakers for one.
	CI *[2]float64 `json:"ci95,omitempty"`
}

// Bootstrap is how intervals are estimated: with so many drawings, from a seed.
type Bootstrap struct {
	Rounds int
	Seed   uint64
}

// draws yields how often each of n speakers is drawn, n draws a round. ok says
// whether the round could be used; others are drawn instead of those that cannot,
// for a while.
func (b Bootstrap) draws(n int, round func(times []float64) (ok bool)) {
	rng := rand.New(rand.NewPCG(b.Seed, uint64(n)))
	times := make([]float64, n)
	for used, tried := 0, 0; used < b.Rounds && tried < 10*b.Rounds; tried++ {
		clear(times)
		for range n {
			times[rng.IntN(n)]++
		}
		if round(times) {
			used++
		}
	}
}

// Figures are measures of s with intervals. Speakers are drawn with replacement, and
// a trial counts as often as its enrolled speaker was drawn times, against an
// impostor, how often that one was: whoever is easily taken for others, or takes
// others in, is in or out with all of their trials, on both sides (Bolle, Ratha and
// Pankanti, Error analysis of pattern recognition systems: the subsets bootstrap,
// 2004).
func (b Bootstrap) Figures(s *Set, measures ...func(*Set) float64) []Figure {
	out := make([]Figure, len(measures))
	for i, m := range measures {
		out[i].Value = m(s)
	}
	drawn := make([][]float64, len(measures))
	again := &Set{entries: s.entries, weights: make([]float64, len(s.weights)), speakers: s.speakers}
	b.draws(len(s.speakers), func(times []float64) bool {
		for i, e := range s.entries {
			again.weights[i] = often(times, int(e.enrolled), int(e.speaker))
		}
		again.sum()
		if again.targets == 0 || again.impostors == 0 {
			return false
		}
		for i, m := range measures {
			drawn[i] = append(drawn[i], m(again))
		}
		return true
	})
	for i := range out {
		out[i].CI = middle(drawn[i])
	}
	return out
}

// often is how many times a trial counts when its speakers were drawn so many times.
func often(times []float64, enrolled, speaker int) float64 {
	if enrolled == speaker {
		return times[enrolled]
	}
	return times[enrolled] * times[speaker]
}

// least is how many drawings make an interval.
const least = 20

// middle is where the middle 95 % of values lie.
func middle(values []float64) *[2]float64 {
	if len(values) < least {
		return nil
	}
	slices.Sort(values)
	return &[2]float64{Quantile(values, 0.025), Quantile(values, 0.975)}
}

// Quantile is where a share q of sorted values lies below, on straight lines between
// them; 0 of none.
func Quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := q * float64(len(sorted)-1)
	i := min(int(at), len(sorted)-1)
	j := min(i+1, len(sorted)-1)
	return sorted[i] + (at-float64(i))*(sorted[j]-sorted[i])
}
