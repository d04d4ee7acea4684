package model

import (
	"slices"
	"strings"
)

// mend joins punctuation with words and shortens words that pauses have made
// too long. The rules and numbers are the reference's.
func mend(words []Word, segments []segment) []Word {
	var lengths []float64
	for _, w := range words {
		if w.End != w.Start {
			lengths = append(lengths, w.End-w.Start)
		}
	}
	usual := min(0.7, median(lengths))
	longest := 2 * usual
	if len(lengths) > 0 {
		for i := 1; i < len(words); i++ {
			switch w, before := &words[i], &words[i-1]; {
			case w.End-w.Start <= longest:
			case strings.Contains(sentenceEnds, w.Text):
				w.End = w.Start + longest
			case strings.Contains(sentenceEnds, before.Text):
				w.Start = w.End - longest
			}
		}
	}
	joinMarks(words)

	lastEnd, at := 0.0, 0
	var out []Word
	for _, s := range segments {
		from, taken := len(out), 0
		for ; at < len(words) && taken < s.tokens; at++ {
			taken += len(words[at].Tokens)
			if words[at].Text != "" {
				out = append(out, words[at])
			}
		}
		if from < len(out) {
			lastEnd = mendEdges(out[from:], s, lastEnd, usual, longest)
		}
	}
	return out
}

func median(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	slices.Sort(x)
	if n := len(x); n%2 == 0 {
		return (x[n/2-1] + x[n/2]) / 2
	}
	return x[len(x)/2]
}

// joinMarks moves punctuation to the word that it belongs to; what it leaves
// behind is empty.
func joinMarks(words []Word) {
	for i, j := len(words)-2, len(words)-1; i >= 0; i-- {
		w, after := &words[i], &words[j]
		if strings.HasPrefix(w.Text, " ") && strings.Contains(prepended, strings.TrimSpace(w.Text)) {
			after.Text = w.Text + after.Text
			after.Tokens = slices.Concat(w.Tokens, after.Tokens)
			w.Text, w.Tokens = "", nil
		} else {
			j = i
		}
	}
	for i, j := 0, 1; j < len(words); j++ {
		before, w := &words[i], &words[j]
		if !strings.HasSuffix(before.Text, " ") && strings.Contains(appended, w.Text) {
			before.Text += w.Text
			before.Tokens = slices.Concat(before.Tokens, w.Tokens)
			w.Text, w.Tokens = "", nil
		} else {
			i = j
		}
	}
}

// mendEdges mends the first two words after a pause and the words at the
// segment's edges, and returns where its speech ends.
func mendEdges(words []Word, s segment, lastEnd, usual, longest float64) float64 {
	first, last := &words[0], &words[len(words)-1]
	if first.End-lastEnd > 4*usual && (first.End-first.Start > longest ||
		len(words) > 1 && words[1].End-first.Start > 2*longest) {
		if len(words) > 1 && words[1].End-words[1].Start > longest {
			edge := max(words[1].End/2, words[1].End-longest)
			first.End, words[1].Start = edge, edge
		}
		first.Start = max(0, first.End-longest)
	}
	if s.start < first.End && s.start-0.5 > first.Start {
		first.Start = max(0, min(first.End-usual, s.start))
	}
	if s.end > last.Start && s.end+0.5 < last.End {
		last.End = max(last.Start+usual, s.end)
		return s.end
	}
	return last.End
}
