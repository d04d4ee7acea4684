package model

import (
	"cmp"
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
	// probs, of beams, are the tokens' probabilities if the text goes on.
	probs []float32
	// sum is of the log probabilities of chosen tokens, the end token among
	// them; rank is the same with the bias, by which beams are compared.
	sum, rank float64
	// endProb is the probability that the text ends here.
	endProb float64
	// matches are the phrases of the bias that the text is in the middle of.
	matches []match
}

// found is the outcome of a search.
type found struct {
	hypothesis
	truncated bool
}

// average is the mean log probability as the reference has it.
func (f *found) average() float64 { return f.sum / float64(len(f.text)+1) }

// doubtful tells whether a greedy search should be followed by one with beams.
func (f *found) doubtful(below float64) bool { return f.truncated || f.average() < below }

// greedy takes the likeliest token until the end token or until the text has
// limit tokens. Tokens of the draft are stepped along with the text; as far as
// they turn out to be the likeliest, their logits are there already (Leviathan
// et al., 2023, with a draft that costs nothing).
type greedy struct {
	l     *lane
	h     hypothesis
	limit int
	done  bool
	// draft is what may follow the text; tried tokens of it are in the step under
	// way, trust is how many are tried at once.
	draft        []int
	tried, trust int
}

const (
	// Tokens of a draft are tried in steps of so many; after a wrong one of
	// fewer, since all behind it are stepped in vain.
	fullTrust = 20
	lowTrust  = 4
	// resync is how far in the draft a token is looked for that is not the next.
	resync = 4
)

func (g *greedy) begin(h hypothesis, draft []int, limit int) {
	*g = greedy{l: g.l, h: h, draft: draft, limit: limit, trust: fullTrust}
	if len(h.text) >= limit {
		g.end(true)
	}
}

func (g *greedy) rows(to []row, n int) []row {
	return g.propose(append(to, row{g.h.seq, g.h.text[len(g.h.text)-1]}), n-1)
}

func (g *greedy) propose(to []row, n int) []row {
	g.tried = max(0, min(n, len(g.draft), g.trust, g.limit-len(g.h.text)-1))
	for _, t := range g.draft[:g.tried] {
		to = append(to, row{g.h.seq, t})
	}
	return to
}

func (g *greedy) take(logits []float32) {
	if g.done {
		return
	}
	size, right := g.l.m.vocabSize, 0
	for ; ; right++ {
		g.choose(logits[right*size:][:size])
		if g.done || right == g.tried || g.h.text[len(g.h.text)-1] != g.draft[right] {
			break
		}
	}
	g.h.seq.n -= g.tried - right
	if g.done {
		return
	}
	if right < g.tried {
		g.trust = lowTrust
	} else if g.tried > 0 {
		g.trust = min(2*g.trust, fullTrust)
	}
	g.draft = after(g.draft[right:], g.h.text[len(g.h.text)-1])
}

// after is what remains of a draft behind the token: a token that the draft
// does not have soon stands for one of the draft's.
func after(draft []int, token int) []int {
	if i := slices.Index(draft[:min(resync, len(draft))], token); i >= 0 {
		return draft[i+1:]
	}
	return draft[min(1, len(draft)):]
}

// choose appends the likeliest token after the text.
func (g *greedy) choose(logits []float32) {
	l := g.l
	eot, top := l.m.eot, argMax(logits)
	var textSum float64
	if l.align.kept {
		at := top
		if at >= eot {
			at = argMax(logits[:eot])
		}
		textSum = logSum(logits[:eot], l.rules.softmax(logits[:eot]), at)
	}
	lse, best := l.rules.apply(logits, g.h.text, top)
	best = l.o.Bias.best(logits, best, g.h.matches)
	p := float64(logits[best]) - lse
	g.h.sum += p
	if best == eot {
		g.end(false)
		return
	}
	g.h.matches = l.o.Bias.follow(g.h.matches, best)
	g.h.text = append(g.h.text, best)
	g.h.logProbs = append(g.h.logProbs, float32(p))
	if l.align.kept && best < eot {
		l.align.probs = append(l.align.probs, float32(math.Exp(float64(logits[best])-textSum)))
	}
	if len(g.h.text) == g.limit {
		g.end(true)
	}
}

func (g *greedy) end(truncated bool) {
	g.done = true
	g.l.found = found{hypothesis: g.h, truncated: truncated}
}

// candidate is a token that may follow a beam.
type candidate struct {
	beam, token int
	logProb     float32
	rank        float64
}

// prob is the token's probability where the end has that of its own.
func (c *candidate) prob(end float64) float32 {
	return float32(min(math.Exp(float64(c.logProb))/max(1-end, 1e-6), 1))
}

// beam searches with so many beams. Twice as many candidates are looked at, so
// that those which end are replaced by others; the search is over when as many
// hypotheses as beams have ended.
type beam struct {
	l            *lane
	beams        []hypothesis
	tokens       []int // the last of each beam, not yet stepped
	ended        []found
	width, limit int
	begun, done  bool
}

func (b *beam) begin(h hypothesis, width, limit int) {
	*b = beam{l: b.l, beams: append(b.beams[:0], h), tokens: b.tokens[:0], width: width, limit: limit}
	if len(h.text) >= limit {
		b.done, b.l.found = true, found{hypothesis: h, truncated: true}
	}
}

func (b *beam) propose(to []row, _ int) []row { return to }

func (b *beam) rows(to []row, _ int) []row {
	for i := range b.beams {
		to = append(to, row{b.beams[i].seq, b.tokens[i]})
	}
	return to
}

func (b *beam) take(logits []float32) {
	if b.done {
		return
	}
	l := b.l
	all := l.candidates[:0]
	for i := range b.beams {
		h := &b.beams[i]
		row := logits[i*l.m.vocabSize:][:l.m.vocabSize]
		lse, _ := l.rules.apply(row, h.text, argMax(row))
		h.endProb = math.Exp(float64(row[l.m.eot]) - lse)
		l.o.Bias.raise(row, h.matches)
		all = top(all, row, i, lse, h.rank-pending(h.matches), 2*b.width)
	}
	for k := range all {
		all[k].logProb -= l.o.Bias.raised(all[k].token, b.beams[all[k].beam].matches)
	}
	l.candidates = all
	if !b.begun && l.rules.forced > 0 {
		// The reference bars the end right after forced tokens, but for the
		// best candidate.
		for k := 1; k < len(all); k++ {
			if all[k].token == l.m.eot {
				all[k] = candidate{beam: all[k].beam, rank: -1e10}
			}
		}
	}
	b.begun = true
	last := len(b.beams[0].text)+1 >= b.limit
	spare := b.width
	var next []candidate
	for k := range min(b.width, len(all)) {
		c := all[k]
		if c.token != l.m.eot && !last {
			next = append(next, c)
			continue
		}
		b.ended = append(b.ended, l.end(b.beams[c.beam], c))
		for ; spare < len(all); spare++ {
			if all[spare].token != l.m.eot {
				next = append(next, all[spare])
				spare++
				break
			}
		}
	}
	switch {
	case last || len(b.ended) >= b.width || l.o.Brisk && b.decided(next):
		b.done = true
		l.found = slices.MaxFunc(b.ended, func(x, y found) int { return cmp.Compare(x.perToken(), y.perToken()) })
	case len(next) == 0:
		b.done = true
		l.err = errors.New("the model foretells no token at all; are its weights damaged?")
	default:
		b.beams = l.advance(b.beams, next)
		b.tokens = b.tokens[:0]
		for _, c := range next {
			b.tokens = append(b.tokens, c.token)
		}
	}
}

// decided tells whether a hypothesis that has ended is likelier, by the token,
// than all that go on.
func (b *beam) decided(next []candidate) bool {
	best := math.Inf(-1)
	for i := range b.ended {
		best = max(best, b.ended[i].perToken())
	}
	tokens := float64(len(b.beams[0].text) + 1)
	for _, c := range next {
		if c.rank/tokens >= best {
			return false
		}
	}
	return len(b.ended) > 0
}

// end makes the result of a beam that ends with c.
func (l *lane) end(h hypothesis, c candidate) found {
	f := found{hypothesis: hypothesis{text: slices.Clone(h.text), logProbs: slices.Clone(h.logProbs), probs: slices.Clone(h.probs), sum: h.sum + float64(c.logProb), rank: c.rank}}
	if c.token != l.m.eot {
		f.text = append(f.text, c.token)
		f.logProbs = append(f.logProbs, c.logProb)
		f.probs = append(f.probs, c.prob(h.endProb))
		f.truncated = true
	}
	return f
}

func (f *found) perToken() float64 {
	if len(f.text) == 0 {
		return math.Inf(-1)
	}
	return f.rank / float64(len(f.text))
}

// advance makes the beams that go on with next. A beam's sequence goes to the
// first that continues it and is copied for the others.
func (l *lane) advance(beams []hypothesis, next []candidate) []hypothesis {
	out := make([]hypothesis, len(next))
	taken := make([]bool, len(beams))
	used := map[*sequence]bool{}
	for i, c := range next {
		b := &beams[c.beam]
		out[i] = hypothesis{
			text:     append(slices.Clone(b.text), c.token),
			logProbs: append(slices.Clone(b.logProbs), c.logProb),
			probs:    append(slices.Clone(b.probs), c.prob(b.endProb)),
			sum:      b.sum + float64(c.logProb),
			rank:     c.rank,
			matches:  l.o.Bias.follow(b.matches, c.token),
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
		s := l.spare(used)
		used[s] = true
		s.copyFrom(beams[c.beam].seq, l.m.width)
		out[i].seq = s
	}
	return out
}

// spare returns a sequence that is not in use.
func (l *lane) spare(used map[*sequence]bool) *sequence {
	for _, s := range l.sequences {
		if !used[s] {
			return s
		}
	}
	s := l.m.newSequence()
	l.sequences = append(l.sequences, s)
	return s
}

// top merges the tokens of a beam into the n best candidates, best first.
func top(all []candidate, logits []float32, beam int, lse, rank float64, n int) []candidate {
	// What is not above the floor is worse than the candidates there are.
	floor := float32(never)
	if len(all) == n {
		floor = floorOf(all[n-1].rank - rank + lse)
	}
	for id := above(logits, 0, floor); id < len(logits); id = above(logits, id+1, floor) {
		p := float64(logits[id]) - lse
		if len(all) == n && rank+p <= all[n-1].rank {
			continue
		}
		c := candidate{beam: beam, token: id, logProb: float32(p), rank: rank + p}
		at, _ := slices.BinarySearchFunc(all, c, func(a, b candidate) int {
			if a.rank >= b.rank {
				return -1
			}
			return 1
		})
		if len(all) < n {
			all = append(all, candidate{})
		}
		copy(all[at+1:], all[at:])
		all[at] = c
		if len(all) == n {
			floor = floorOf(all[n-1].rank - rank + lse)
		}
	}
	return all
}

// floorOf rounds down.
func floorOf(x float64) float32 { return under(float32(x)) }

// under is the next number below x, if it is above never.
func under(x float32) float32 { return max(math.Nextafter32(x, never), never) }
