package model

import (
	"context"
	"errors"
	"math"
	"slices"
)

// hypothesis is a text under search. Its sequence has been stepped through all
// of it but the last token.
type hypothesis struct {
	seq      *sequence
	text     []int
	logProbs []float32
	// sum is of the log probabilities of chosen tokens, the end token among
	// them.
	sum float64
}

// found is the outcome of a search.
type found struct {
	hypothesis
	truncated bool
}

// greedy takes the likeliest token until the end token or until the text has
// limit tokens. logits are those that follow h's text.
func (d *Decoder) greedy(ctx context.Context, h hypothesis, logits []float32, limit int) (found, error) {
	for len(h.text) < limit {
		var textSum float64
		if d.align.kept {
			textSum = logSum(logits[:d.m.eot], d.rules.softmax(logits[:d.m.eot]))
		}
		lse := d.rules.apply(logits, h.text)
		best := 0
		for id, v := range logits {
			if v > logits[best] {
				best = id
			}
		}
		p := float64(logits[best]) - lse
		h.sum += p
		if best == d.m.eot {
			return found{hypothesis: h}, nil
		}
		h.text = append(h.text, best)
		h.logProbs = append(h.logProbs, float32(p))
		if d.align.kept && best < d.m.eot {
			d.align.probs = append(d.align.probs, float32(math.Exp(float64(logits[best])-textSum)))
		}
		if len(h.text) == limit {
			break
		}
		if err := d.stepper.step(ctx, []row{{h.seq, best}}); err != nil {
			return found{}, err
		}
		logits = d.stepper.project(0, 1)
	}
	return found{hypothesis: h, truncated: true}, nil
}

// candidate is a token that may follow a beam.
type candidate struct {
	beam, token int
	logProb     float32
	sum         float64
}

// beam searches with so many beams. Twice as many candidates are looked at, so
// that those which end are replaced by others; the search is over when as many
// hypotheses as beams have ended.
func (d *Decoder) beam(ctx context.Context, first hypothesis, logits []float32, width, limit int) (found, error) {
	beams := []hypothesis{first}
	var ended []found
	var rows []row
	for step := 0; ; step++ {
		all := d.candidates[:0]
		for i := range beams {
			row := logits[i*d.m.vocabSize : (i+1)*d.m.vocabSize]
			lse := d.rules.apply(row, beams[i].text)
			all = top(all, row, i, lse, beams[i].sum, 2*width)
		}
		d.candidates = all
		if step == 0 && d.rules.forced > 0 {
			// The reference bars the end right after forced tokens, but for the
			// best candidate.
			for k := 1; k < len(all); k++ {
				if all[k].token == d.m.eot {
					all[k] = candidate{beam: all[k].beam, sum: -1e10}
				}
			}
		}
		last := len(beams[0].text)+1 >= limit
		spare := width
		var next []candidate
		for k := range min(width, len(all)) {
			c := all[k]
			if c.token != d.m.eot && !last {
				next = append(next, c)
				continue
			}
			ended = append(ended, d.end(beams[c.beam], c))
			for ; spare < len(all); spare++ {
				if all[spare].token != d.m.eot {
					next = append(next, all[spare])
					spare++
					break
				}
			}
		}
		if last || len(ended) >= width {
			break
		}
		if len(next) == 0 {
			return found{}, errors.New("the model foretells no token at all; are its weights damaged?")
		}
		beams = d.advance(beams, next)
		rows = rows[:0]
		for i := range beams {
			rows = append(rows, row{beams[i].seq, next[i].token})
		}
		if err := d.stepper.step(ctx, rows); err != nil {
			return found{}, err
		}
		logits = d.stepper.project(0, len(rows))
	}
	return slices.MaxFunc(ended, func(a, b found) int {
		switch x, y := a.perToken(), b.perToken(); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	}), nil
}

// end makes the result of a beam that ends with c.
func (d *Decoder) end(h hypothesis, c candidate) found {
	f := found{hypothesis: hypothesis{text: slices.Clone(h.text), logProbs: slices.Clone(h.logProbs), sum: c.sum}}
	if c.token != d.m.eot {
		f.text = append(f.text, c.token)
		f.logProbs = append(f.logProbs, c.logProb)
		f.truncated = true
	}
	return f
}

func (f *found) perToken() float64 {
	if len(f.text) == 0 {
		return math.Inf(-1)
	}
	return f.sum / float64(len(f.text))
}

// advance makes the beams that go on with next. A beam's sequence goes to the
// first that continues it and is copied for the others.
func (d *Decoder) advance(beams []hypothesis, next []candidate) []hypothesis {
	out := make([]hypothesis, len(next))
	taken := make([]bool, len(beams))
	used := map[*sequence]bool{}
	for i, c := range next {
		b := &beams[c.beam]
		out[i] = hypothesis{
			text:     append(slices.Clone(b.text), c.token),
			logProbs: append(slices.Clone(b.logProbs), c.logProb),
			sum:      c.sum,
		}
		if !taken[c.beam] {
			taken[c.beam] = true
			out[i].seq = b.seq
			used[b.seq] = true
		}
	}
	for i, c := range next {
		if out[i].seq != nil {
			continue
		}
		s := d.spare(used)
		used[s] = true
		s.copyFrom(beams[c.beam].seq, d.m.width)
		out[i].seq = s
	}
	return out
}

// spare returns a sequence that is not in use.
func (d *Decoder) spare(used map[*sequence]bool) *sequence {
	for _, s := range d.sequences {
		if !used[s] {
			return s
		}
	}
	s := d.m.newSequence()
	d.sequences = append(d.sequences, s)
	return s
}

// top merges the tokens of a beam into the n best candidates, best first.
func top(all []candidate, logits []float32, beam int, lse, sum float64, n int) []candidate {
	for id, v := range logits {
		p := float64(v) - lse
		if v == never || len(all) == n && sum+p <= all[n-1].sum {
			continue
		}
		c := candidate{beam: beam, token: id, logProb: float32(p), sum: sum + p}
		at, _ := slices.BinarySearchFunc(all, c, func(a, b candidate) int {
			if a.sum >= b.sum {
				return -1
			}
			return 1
		})
		if len(all) < n {
			all = append(all, candidate{})
		}
		copy(all[at+1:], all[at:])
		all[at] = c
	}
	return all
}
