package watch

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"sidetone/internal/nn"
	"sidetone/voiceprint"
)

// Threshold is the log-likelihood ratio, in nats, from which on a comparison counts
// when n are made and at most the share far of strangers may be taken for any of the
// n voices. Each may then err with p = 1-(1-far)^(1/n), and a calibrated ratio of
// different voices exceeds 1/p with probability p at most, since its mean is 1
// (Markov's inequality). No trials reach that far out, hence a bound: at 10,000 voices
// and a rate of 1 % p is one in a million and the threshold 13.8 nats. A Searcher takes
// less where the scorer has measured less.
func Threshold(far float64, n int) float64 {
	return -math.Log(-math.Expm1(math.Log1p(-far) / float64(max(n, 1))))
}

const (
	// DefaultFAR is the share of strangers' calls with a false alarm.
	DefaultFAR = 0.01
	// DefaultTop is how many entries a search tells.
	DefaultTop = 5
	// block is how many entries are compared at a time.
	block = 256
)

// Config shapes NewSearcher.
type Config struct {
	// Scorer weighs the cosines; its evidence must grow with the cosine.
	Scorer voiceprint.Scorer
	// FAR is the share of strangers' calls that may raise an alarm, whatever the
	// length of the list; zero means DefaultFAR.
	FAR float64
	// Searches is how often one call is searched, as its speech grows; FAR is for all
	// of them together. Zero means once.
	Searches int
	// Top is how many entries are told, the likeliest first; zero means DefaultTop.
	Top int
}

// anchor is a measured threshold: at llr the share far of strangers is accepted.
type anchor struct{ far, llr float64 }

// newAnchor finds the least share that the scorer can vouch for, to a factor of two.
// Where it can vouch for none the anchor is a certain error at no evidence, from which
// the bound of Threshold follows.
func newAnchor(s voiceprint.Scorer) anchor {
	a := anchor{1, 0}
	for far := 0.01; far > 1e-7; far /= 2 {
		o, err := s.Threshold(far)
		if err != nil {
			break
		}
		a = anchor{far, o.LLR}
	}
	return a
}

// threshold is Threshold, or less where less was measured: beyond what was, errors are
// taken to fall as calibrated evidence says, by e for each nat. Measured thresholds are
// of decisions with many looks, and so on the safe side for one.
func (a anchor) threshold(far float64, n int) float64 {
	bound := Threshold(far, n)
	return min(bound, a.llr+max(0, bound+math.Log(a.far)))
}

// Searcher searches lists. It holds the scratch of one search, so it is not safe for
// concurrent use: make one for each worker.
type Searcher struct {
	scorer voiceprint.Scorer
	model  voiceprint.Model
	config Config
	anchor anchor

	cosines []float32
	best    []near
	hits    []Hit
	view    [1]voiceprint.Embedding
}

// near is an entry and its cosine.
type near struct {
	entry  int
	cosine float32
}

// Hit is an entry that sounds alike.
type Hit struct {
	ID string
	// LLR is the evidence that it is the same voice, in nats.
	LLR float64
	// Alarm says that it reaches the threshold.
	Alarm bool
}

// Result is what a search has found.
type Result struct {
	// Hits are the likeliest entries, alarms or not, the likeliest first. They are
	// the Searcher's until its next search.
	Hits []Hit
	// Alarms is how many of them reach the threshold.
	Alarms int
	// Threshold is the LLR of an alarm in a list of Voices voices.
	Threshold float64
	Voices    int
}

// NewSearcher makes a searcher.
func NewSearcher(c Config) (*Searcher, error) {
	if c.FAR == 0 {
		c.FAR = DefaultFAR
	}
	if c.Top == 0 {
		c.Top = DefaultTop
	}
	if c.Searches == 0 {
		c.Searches = 1
	}
	if !(c.FAR > 0 && c.FAR < 0.5) || c.Top < 1 || c.Searches < 1 {
		return nil, fmt.Errorf("watch: a false alarm rate of %v in %d searches, the best %d; the rate lies between 0 and 0.5, the others are at least 1", c.FAR, c.Searches, c.Top)
	}
	return &Searcher{
		scorer: c.Scorer, model: c.Scorer.Info().Model, config: c, anchor: newAnchor(c.Scorer),
		cosines: make([]float32, block), best: make([]near, 0, c.Top), hits: make([]Hit, 0, c.Top),
	}, nil
}

// Search compares a voice, made of net speech, with all of a list. The entry except
// is left out; no entry has an empty ID.
//
// Duplicates are found so: list all customers by their pseudonyms, search for the new
// template with the customer left out; an alarm is the same voice under another name.
func (s *Searcher) Search(l *List, e voiceprint.Embedding, net time.Duration, except string) (Result, error) {
	if l.model != s.model {
		return Result{}, fmt.Errorf("watch: the list is of %s, the calibration for %s: %w", l.model.ID, s.model.ID, voiceprint.ErrModel)
	}
	if err := unit(e, l.model); err != nil {
		return Result{}, fmt.Errorf("watch: the voice to look for: %w", err)
	}
	skip := -1
	if i, ok := l.at[except]; ok {
		skip = i
	}
	out := Result{Voices: len(l.ids)}
	if skip >= 0 {
		out.Voices--
	}
	out.Threshold = s.anchor.threshold(s.config.FAR, out.Voices*s.config.Searches)
	s.rank(l, e, skip)
	s.hits = s.hits[:0]
	for _, b := range s.best {
		s.view[0] = l.row(b.entry)
		llr, err := s.scorer.LLR(s.view[:], e, net)
		if err != nil {
			return Result{}, fmt.Errorf("watch: the entry %q: %w", l.ids[b.entry], err)
		}
		s.hits = append(s.hits, Hit{ID: l.ids[b.entry], LLR: llr, Alarm: llr >= out.Threshold})
	}
	slices.SortStableFunc(s.hits, func(a, b Hit) int { return cmp.Compare(b.LLR, a.LLR) })
	for _, h := range s.hits {
		if h.Alarm {
			out.Alarms++
		}
	}
	out.Hits = s.hits
	return out, nil
}

// rank fills best with the nearest entries, the nearest first.
func (s *Searcher) rank(l *List, e voiceprint.Embedding, skip int) {
	dim, total := l.model.Dim, len(l.ids)
	s.best = s.best[:0]
	for from := 0; from < total; from += block {
		n := min(block, total-from)
		nn.MatMulT(s.cosines[:n], n, e, dim, l.rows[from*dim:(from+n)*dim], dim, 1, dim, n, 1)
		for i, c := range s.cosines[:n] {
			if from+i != skip {
				s.offer(near{from + i, c})
			}
		}
	}
}

// offer keeps n if it is among the nearest so far.
func (s *Searcher) offer(n near) {
	if len(s.best) == cap(s.best) {
		if n.cosine <= s.best[len(s.best)-1].cosine {
			return
		}
		s.best = s.best[:len(s.best)-1]
	}
	s.best = append(s.best, n)
	for i := len(s.best) - 1; i > 0 && s.best[i].cosine > s.best[i-1].cosine; i-- {
		s.best[i], s.best[i-1] = s.best[i-1], s.best[i]
	}
}
