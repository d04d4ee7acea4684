package quality

import (
	"fmt"
	"math"

	"sidetone/voiceprint"
)

const (
	// Stretch is how much net speech an embedding for Voices is made of, in samples of
	// voiceprint.Rate: two seconds. Longer ones more often mix the voices: with three
	// seconds the same clips of two people showed half as often.
	Stretch = 2 * voiceprint.Rate
	// mostStretches are kept, the latest ones: 48 s.
	mostStretches = 24
	// second is how likely a second voice is taken to be before anything is heard.
	second = 0.05
	// mixed is the price of a stretch that may hold both voices, as a logarithm.
	mixed = 2
)

// Spread is how cosines of two stretches are distributed.
type Spread struct{ Mean, Deviation float64 }

// VoicesConfig shapes NewVoices. The spreads are those of a space of embeddings.
type VoicesConfig struct {
	// Dim is the length of embeddings.
	Dim int
	// Same is for two stretches of one voice in one call, Other for those of two
	// voices. Zero means what was measured with CAM++ on stretches of Stretch, in a
	// space with its mean taken off and compensated within classes, trained on other
	// speakers: 0.51 ± 0.12 and 0.02 ± 0.125, nearly the same for clean, transcoded
	// and noisy audio.
	Same, Other Spread
}

// Voices says whether the speech of a leg is one person's, by embeddings of its
// successive stretches. It keeps the embeddings of the latest in memory. Voices that
// speak at the same time all the time look like one.
type Voices struct {
	config VoicesConfig
	n      int
	kept   [mostStretches]voiceprint.Embedding
	// evidence is, for two stretches, by how much likelier two voices spoke them
	// than one, as a logarithm; cosine what it rests on.
	evidence, cosine [mostStretches][mostStretches]float64
}

// NewVoices makes one that has heard nothing.
func NewVoices(c VoicesConfig) (*Voices, error) {
	if c.Same == (Spread{}) && c.Other == (Spread{}) {
		c.Same, c.Other = Spread{0.51, 0.12}, Spread{0.02, 0.125}
	}
	switch {
	case c.Dim < 1:
		return nil, fmt.Errorf("quality: embeddings of %d dimensions", c.Dim)
	case !(c.Same.Deviation > 0), !(c.Other.Deviation > 0):
		return nil, fmt.Errorf("quality: cosines spread by %v and %v; they must be above 0", c.Same.Deviation, c.Other.Deviation)
	case !(c.Same.Mean > c.Other.Mean):
		return nil, fmt.Errorf("quality: cosines of one voice (%v) are not above those of two (%v)", c.Same.Mean, c.Other.Mean)
	}
	v := &Voices{config: c}
	for i := range v.kept {
		v.kept[i] = make(voiceprint.Embedding, c.Dim)
	}
	return v, nil
}

// Reset forgets all stretches.
func (v *Voices) Reset() {
	for i := range v.kept {
		clear(v.kept[i])
	}
	v.n = 0
}

// Add hears the next stretch. It keeps a copy.
func (v *Voices) Add(e voiceprint.Embedding) error {
	if len(e) != v.config.Dim {
		return fmt.Errorf("quality: an embedding of %d dimensions instead of %d: %w", len(e), v.config.Dim, voiceprint.ErrModel)
	}
	at := v.n % mostStretches
	v.n++
	copy(v.kept[at], e)
	for i := range min(v.n, mostStretches) {
		if i == at {
			continue
		}
		c := voiceprint.Cosine(v.kept[i], e)
		l := v.config.weigh(c)
		v.cosine[at][i], v.cosine[i][at] = c, c
		v.evidence[at][i], v.evidence[i][at] = l, l
	}
	return nil
}

// weigh is the logarithm of how much likelier a cosine is of two voices than of one.
// Beyond the means it stays what it is there: tails are not known.
func (c *VoicesConfig) weigh(cosine float64) float64 {
	x := max(c.Other.Mean, min(c.Same.Mean, cosine))
	return c.Other.log(x) - c.Same.log(x)
}

func (s Spread) log(x float64) float64 {
	z := (x - s.Mean) / s.Deviation
	return -z*z/2 - math.Log(s.Deviation)
}

// Unlike is the probability that two voices have spoken: that of the split of the
// stretches into two groups that speaks for it most. It is NaN before the second
// stretch.
func (v *Voices) Unlike() float64 {
	n := min(v.n, mostStretches)
	if n < 2 {
		return math.NaN()
	}
	best := math.Inf(-1)
	for a := range n {
		for b := range a {
			best = max(best, v.split(n, a, b))
		}
	}
	// Among many stretches the most unlike ones are the more unlike by chance.
	prior := math.Log(second/(1-second)) - math.Log(float64(n)/2)
	return 1 / (1 + math.Exp(-(best + prior)))
}

// split weighs the groups of those that are liker a and liker b. Pairs that share a
// stretch are not independent: they count as many as there are stretches, less one.
// A stretch that is like both may hold both voices and is left out, at a price.
func (v *Voices) split(n, a, b int) float64 {
	var with [mostStretches]int
	var in [3]int
	price := 0.0
	for i := range n {
		with[i] = 1
		other := a
		if i == a || i != b && v.cosine[i][a] > v.cosine[i][b] {
			with[i], other = 0, b
		}
		if i != a && i != b && v.evidence[i][other] < -mixed {
			with[i] = 2
			price += mixed
		}
		in[with[i]]++
	}
	sum := 0.0
	for i := range n {
		for j := range i {
			if with[i]+with[j] == 1 {
				sum += v.evidence[i][j]
			}
		}
	}
	return sum*float64(in[0]+in[1]-1)/float64(in[0]*in[1]) - price
}
