package voice

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Scored is a trial with its log-likelihood ratio, in nats.
type Scored struct {
	*Trial
	LLR float64
}

// ErrOneSided says that there is no target trial or no impostor trial, so that
// nothing can be told apart.
var ErrOneSided = errors.New("target and impostor trials are needed")

// Set is scored trials, in the order of their scores.
type Set struct {
	// entries fall in LLR; weights are how often each of them counts.
	entries []entry
	weights []float64
	// targets and impostors are the sums of their weights.
	targets, impostors float64
	speakers           []string
}

type entry struct {
	llr    float64
	target bool
	// enrolled and speaker are places in Set.speakers.
	enrolled, speaker int32
}

// NewSet takes scored trials, which it does not keep. Infinite scores are scores;
// what is not a number is an error, and so are trials of one side only.
func NewSet(scored []Scored) (*Set, error) {
	s := &Set{entries: make([]entry, len(scored)), weights: make([]float64, len(scored))}
	at := map[string]int32{}
	number := func(name string) int32 {
		k, ok := at[name]
		if !ok {
			k = int32(len(s.speakers))
			at[name] = k
			s.speakers = append(s.speakers, name)
		}
		return k
	}
	for i, t := range scored {
		if math.IsNaN(t.LLR) {
			return nil, fmt.Errorf("trial of %s against %s: the score is not a number", t.Test, t.Enrol)
		}
		s.entries[i] = entry{t.LLR, t.Target, number(t.Enrolled), number(t.Speaker)}
	}
	slices.SortStableFunc(s.entries, func(a, b entry) int {
		switch {
		case a.llr > b.llr:
			return -1
		case a.llr < b.llr:
			return 1
		}
		return 0
	})
	for i := range s.weights {
		s.weights[i] = 1
	}
	s.sum()
	if s.targets == 0 || s.impostors == 0 {
		return nil, fmt.Errorf("%d trials: %w", len(scored), ErrOneSided)
	}
	return s, nil
}

func (s *Set) sum() {
	s.targets, s.impostors = 0, 0
	for i, e := range s.entries {
		if e.target {
			s.targets += s.weights[i]
		} else {
			s.impostors += s.weights[i]
		}
	}
}

// Targets is how many target trials there are, Impostors how many impostor trials,
// Speakers how many people are in them.
func (s *Set) Targets() int { return int(s.targets) }

// Impostors is as Targets says.
func (s *Set) Impostors() int { return int(s.impostors) }

// Speakers is as Targets says.
func (s *Set) Speakers() int { return len(s.speakers) }

// points yields the points of the ROC from (0, 1), where nothing is accepted, to
// (1, 0): the rates if all scores from llr on are accepted. Equal scores are
// accepted together.
func (s *Set) points(yield func(llr, far, frr float64) bool) {
	if !yield(math.Inf(1), 0, 1) {
		return
	}
	var wrong, right float64
	for i := 0; i < len(s.entries); {
		llr := s.entries[i].llr
		for ; i < len(s.entries) && s.entries[i].llr == llr; i++ {
			if s.entries[i].target {
				right += s.weights[i]
			} else {
				wrong += s.weights[i]
			}
		}
		if !yield(llr, wrong/s.impostors, 1-right/s.targets) {
			return
		}
	}
}

// EER is where FAR and FRR are equal, on straight lines between the points of the
// ROC, as the evaluation data's eval.py has it. (On the convex hull of the points,
// as others have it, it is never higher.)
func (s *Set) EER() float64 {
	var eer float64
	var far0, frr0 float64
	s.points(func(_, far, frr float64) bool {
		if far < frr {
			far0, frr0 = far, frr
			return true
		}
		t := 0.0
		if d := far - far0 + frr0 - frr; d > 0 {
			t = (frr0 - far0) / d
		}
		eer = far0 + t*(far-far0)
		return false
	})
	return eer
}

// MinDCF is the detection cost at the best threshold, in parts of what it costs to
// decide without listening: p is the prior probability of a target, both errors
// cost the same (NIST SRE).
func (s *Set) MinDCF(p float64) float64 {
	best := math.Inf(1)
	s.points(func(_, far, frr float64) bool {
		best = min(best, p*frr+(1-p)*far)
		return true
	})
	return best / min(p, 1-p)
}

// FRRAt is the FRR at the lowest threshold with no more than the given FAR.
func (s *Set) FRRAt(far float64) float64 {
	out := 1.0
	s.points(func(_, a, r float64) bool {
		if a <= far {
			out = r
		}
		return a <= far
	})
	return out
}

// At is the rates if LLRs of at least llr are accepted.
func (s *Set) At(llr float64) (far, frr float64) {
	s.points(func(l, a, r float64) bool {
		if l >= llr {
			far, frr = a, r
		}
		return l >= llr
	})
	return far, frr
}

// Point is a point of a DET curve.
type Point struct {
	FAR float64 `json:"far"`
	FRR float64 `json:"frr"`
}

// DET is the rates at all thresholds, from that which accepts nobody on: the corners
// of a staircase.
func (s *Set) DET() []Point {
	var out []Point
	s.points(func(_, far, frr float64) bool {
		p := Point{far, frr}
		if n := len(out); n >= 2 && (out[n-1].FAR == far && out[n-2].FAR == far || out[n-1].FRR == frr && out[n-2].FRR == frr) {
			out[n-1] = p
		} else {
			out = append(out, p)
		}
		return true
	})
	return out
}

// softplus is ln(1+eˣ).
func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

// Cllr is the cost of the scores as log-likelihood ratios, in bits: 0 where they say
// all, 1 where they say nothing, more where they mislead.
func (s *Set) Cllr() float64 {
	var right, wrong float64
	for i, e := range s.entries {
		switch {
		case s.weights[i] == 0:
		case e.target:
			right += s.weights[i] * softplus(-e.llr)
		default:
			wrong += s.weights[i] * softplus(e.llr)
		}
	}
	return (right/s.targets + wrong/s.impostors) / (2 * math.Ln2)
}

// MinCllr is the Cllr that the best growing function of the scores would have. What
// Cllr is above it is the loss by calibration. The function is found by pooling
// adjacent violators.
func (s *Set) MinCllr() float64 {
	// block is a stretch of scores that get one value; its odds must grow from each
	// block to the next one.
	type block struct{ right, wrong float64 }
	var blocks []block
	for i := len(s.entries) - 1; i >= 0; {
		var b block
		for llr := s.entries[i].llr; i >= 0 && s.entries[i].llr == llr; i-- {
			if s.entries[i].target {
				b.right += s.weights[i]
			} else {
				b.wrong += s.weights[i]
			}
		}
		if b.right == 0 && b.wrong == 0 {
			continue
		}
		for n := len(blocks); n > 0 && blocks[n-1].right*b.wrong >= b.right*blocks[n-1].wrong; n = len(blocks) {
			b.right += blocks[n-1].right
			b.wrong += blocks[n-1].wrong
			blocks = blocks[:n-1]
		}
		blocks = append(blocks, b)
	}
	var cost float64
	for _, b := range blocks {
		r, w := b.right/s.targets, b.wrong/s.impostors
		if r > 0 && w > 0 {
			cost += r*math.Log2(1+w/r) + w*math.Log2(1+r/w)
		}
	}
	return cost / 2
}
