package intent

import (
	"slices"

	"sidetone/asr"
	"sidetone/guidance"
	"sidetone/internal/pcm"
)

const (
	// maxPause is the silence, in samples, across which a phrase may go on in
	// the next utterance.
	maxPause = 4 * pcm.Rate
	// maxPast is the number of earlier words that are kept for that.
	maxPast = 24
)

// Listener follows one leg. It is used by one goroutine.
type Listener struct {
	set   *Set
	index [][]int32
	m     machine
	// row are the words of earlier utterances, past of them, and then those of
	// the current one; m.words holds their numbers.
	row  []guidance.Ref
	past int
	// read counts the words of the hypothesis that are in the row.
	utterance, read int
	end             int64
	found           []match
	out             []guidance.Mention
}

// match is where an intent was found, from and to in the row.
type match struct {
	phrase   int
	from, to int
	words    []guidance.Ref
}

var _ guidance.Listener = (*Listener)(nil)

// Hear implements guidance.Listener.
func (l *Listener) Hear(h *asr.Hypothesis) []guidance.Mention {
	if h.Utterance != l.utterance {
		l.begin(h)
	}
	n := h.Stable
	if h.Final {
		n = len(h.Words)
	}
	n = min(max(n, 0), len(h.Words))
	// Stable words stay as they are, so only new ones are read; a final is the
	// last word and is read anew.
	if h.Final || n < l.read {
		l.row, l.m.words = l.row[:l.past], l.m.words[:l.past]
		l.read, l.found = 0, l.found[:0]
	}
	fresh := len(l.row)
	for ; l.read < n; l.read++ {
		l.add(h.Utterance, l.read, &h.Words[l.read])
	}
	l.spot(fresh)
	if len(h.Words) > 0 {
		l.end = h.Words[len(h.Words)-1].End
	}
	return l.mentions()
}

// begin turns what was said before into the past.
func (l *Listener) begin(h *asr.Hypothesis) {
	start := h.Start
	if len(h.Words) > 0 {
		start = h.Words[0].Start
	}
	if start-l.end > maxPause {
		l.row, l.m.words = l.row[:0], l.m.words[:0]
	}
	if over := len(l.row) - maxPast; over > 0 {
		l.row = slices.Delete(l.row, 0, over)
		l.m.words = slices.Delete(l.m.words, 0, over)
	}
	l.past, l.read, l.utterance = len(l.row), 0, h.Utterance
	l.found = l.found[:0]
}

// add appends a word's tokens; one that repeats its predecessor is a stutter.
func (l *Listener) add(utterance, index int, w *asr.Word) {
	split(w.Text, func(t string) {
		n := l.set.vocab[t]
		if k := len(l.m.words); k > 0 && n == l.m.words[k-1] && stutters(t) && n != 0 {
			return
		}
		l.m.words = append(l.m.words, n)
		l.row = append(l.row, guidance.Ref{Utterance: utterance, Index: index, Text: w.Text, Start: w.Start, End: w.End})
	})
}

// spot looks for phrases that the words from fresh on can belong to.
func (l *Listener) spot(fresh int) {
	from := max(0, fresh-l.set.reach-l.set.guardReach)
	// What lies so far back that no new word can touch it stays found.
	l.found = slices.DeleteFunc(l.found, func(m match) bool { return m.to+l.set.guardReach >= fresh })
	for at := from; at < len(l.m.words); at++ {
		for _, i := range l.index[l.m.words[at]] {
			p := &l.set.phrases[i]
			if slices.ContainsFunc(l.found, func(m match) bool {
				return l.set.phrases[m.phrase].intent == p.intent && l.set.phrases[m.phrase].score >= p.score
			}) {
				continue
			}
			path, ok := l.m.match(p.program, at)
			if !ok || path[len(path)-1] < l.past {
				continue
			}
			first, last := path[0], path[len(path)-1]
			m := match{phrase: int(i), from: first, to: last + 1, words: l.refs(path)}
			if l.guarded(p, first, last+1) {
				continue
			}
			l.found = slices.DeleteFunc(l.found, func(m match) bool { return l.set.phrases[m.phrase].intent == p.intent })
			l.found = append(l.found, m)
		}
	}
}

// refs are the words from the path's first to its last, each once however many
// tokens it has. Those between the words that matched belong to the proof: a
// quotation with holes is hard to read and hard to find again.
func (l *Listener) refs(path []int) []guidance.Ref {
	first, last := path[0], path[len(path)-1]
	out := make([]guidance.Ref, 0, last-first+1)
	for _, r := range l.row[first : last+1] {
		if n := len(out); n == 0 || out[n-1].Utterance != r.Utterance || out[n-1].Index != r.Index {
			out = append(out, r)
		}
	}
	return out
}

// guarded says whether a guard of the phrase's intent overlaps or touches the
// words from..to.
func (l *Listener) guarded(p *marker, from, to int) bool {
	for _, g := range l.set.intents[p.intent].guards {
		for at := max(0, from-g.span); at <= to && at < len(l.m.words); at++ {
			if !contains(g.first, l.m.words[at]) {
				continue
			}
			if path, ok := l.m.match(g, at); ok && path[len(path)-1]+1 >= from {
				return true
			}
		}
	}
	return false
}

func (l *Listener) mentions() []guidance.Mention {
	l.out = l.out[:0]
	for _, m := range l.found {
		p := &l.set.phrases[m.phrase]
		l.out = append(l.out, guidance.Mention{Intent: l.set.intents[p.intent].id, Score: p.score, Phrase: p.text, Words: m.words})
	}
	return l.out
}
