package model

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Phrase is wording that Bias makes likelier.
type Phrase struct {
	Text string
	// Weight is added to the log probability of each of its tokens, in nats.
	Weight float32
}

// Bias makes phrases likelier in a search. A token that begins or continues a
// phrase is favoured; a beam gives back what it was favoured with when it
// leaves a phrase before its end. It is immutable.
type Bias struct {
	m *Model
	// nodes is a tree of tokens; the first node is its root.
	nodes []node
}

type node struct {
	next   map[int]int
	weight float32
	// whole says that a phrase ends here.
	whole bool
}

// match is a phrase that a text is in the middle of.
type match struct {
	node   int
	earned float32
}

// NewBias spells phrases in tokens, as written and in lower case.
func (m *Model) NewBias(phrases []Phrase) *Bias {
	b := &Bias{m: m, nodes: make([]node, 1)}
	for _, p := range phrases {
		text := strings.Join(strings.Fields(p.Text), " ")
		if text == "" || p.Weight <= 0 {
			continue
		}
		for _, t := range []string{text, strings.ToLower(text)} {
			if r, _ := utf8.DecodeRuneInString(t); !unicode.Is(unicode.Han, r) {
				t = " " + t
			}
			b.add(m.Encode(t), p.Weight)
		}
	}
	return b
}

func (b *Bias) add(tokens []int, weight float32) {
	at := 0
	for _, t := range tokens {
		next, ok := b.nodes[at].next[t]
		if !ok {
			next = len(b.nodes)
			if b.nodes[at].next == nil {
				b.nodes[at].next = map[int]int{}
			}
			b.nodes[at].next[t] = next
			b.nodes = append(b.nodes, node{})
		}
		b.nodes[next].weight = max(b.nodes[next].weight, weight)
		at = next
	}
	b.nodes[at].whole = true
}

// best returns the likeliest token, where best is the one without the bias.
func (b *Bias) best(logits []float32, best int, in []match) int {
	if b == nil {
		return best
	}
	top := logits[best]
	b.each(in, func(token int, raise float32) {
		if v := logits[token] + raise; v > top || token == best && raise > 0 {
			best, top = token, max(v, top)
		}
	})
	return best
}

// raise adds the bias to logits.
func (b *Bias) raise(logits []float32, in []match) {
	if b == nil {
		return
	}
	raised := map[int]float32{}
	b.each(in, func(token int, raise float32) { raised[token] = max(raised[token], raise) })
	for token, raise := range raised {
		if logits[token] != never {
			logits[token] += raise
		}
	}
}

// raised is what raise has added to a token's logit.
func (b *Bias) raised(token int, in []match) float32 {
	var most float32
	if b == nil {
		return most
	}
	for _, m := range in {
		if n, ok := b.nodes[m.node].next[token]; ok {
			most = max(most, b.nodes[n].weight+m.earned)
		}
	}
	if n, ok := b.nodes[0].next[token]; ok {
		most = max(most, b.nodes[n].weight)
	}
	return most
}

// each calls f with the tokens that begin or continue a phrase.
func (b *Bias) each(in []match, f func(token int, raise float32)) {
	for _, m := range in {
		for token, n := range b.nodes[m.node].next {
			f(token, b.nodes[n].weight+m.earned)
		}
	}
	for token, n := range b.nodes[0].next {
		f(token, b.nodes[n].weight)
	}
}

// follow returns the phrases that a text is in the middle of after token.
func (b *Bias) follow(in []match, token int) []match {
	if b == nil {
		return nil
	}
	var out []match
	enter := func(from int, earned float32) {
		n, ok := b.nodes[from].next[token]
		if !ok || len(b.nodes[n].next) == 0 {
			return
		}
		earned += b.nodes[n].weight
		if b.nodes[n].whole {
			earned = 0
		}
		out = append(out, match{n, earned})
	}
	for _, m := range in {
		enter(m.node, m.earned)
	}
	enter(0, 0)
	return out
}

// pending is what a text has earned with phrases that it has not finished.
func pending(in []match) float64 {
	var most float32
	for _, m := range in {
		most = max(most, m.earned)
	}
	return float64(most)
}
