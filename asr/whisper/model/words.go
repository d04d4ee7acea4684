package model

import (
	"math"
	"slices"
	"strings"

	"sidetone/asr/whisper/model/bpe"
	"sidetone/internal/dsp"
	"sidetone/internal/nn"
)

// Word times are found as the reference finds them: the text is fed to the
// decoder, without what went before it, the attention of the heads that follow
// the audio is smoothed and averaged, and the cheapest monotonic path through
// it tells when each token begins. Then overlong words and punctuation are
// mended. Where the search itself feeds the decoder that way, its attention is
// kept and the second pass is saved.

// aligner is the scratch of the alignment.
type aligner struct {
	heads, frames int
	// kept says that the search keeps attention and probs as it goes.
	kept      bool
	attention []float32 // [token][head][frame]
	probs     []float32 // of the text tokens, among text tokens
	mean      []float32 // [token][frame]
	cost      []float32
	trace     []uint8
	// by frame, over the tokens
	means, scales []float32
	ranks         []int32
}

// keep stores the scores of a head at a token's position.
func (a *aligner) keep(head, pos int, scores []float32) {
	at := (pos*a.heads + head) * a.frames
	if need := at + a.frames; need > len(a.attention) {
		if need > cap(a.attention) {
			a.attention = append(make([]float32, 0, 2*need), a.attention...)
		}
		a.attention = a.attention[:need]
	}
	copy(a.attention[at:], scores[:a.frames])
}

const (
	framesPerSecond = 50
	// Punctuation that is joined with the word after or before it.
	prepended = "\"'“¿([{-"
	appended  = "\"'.。,，!！?？:：”)]}、"
	// sentenceEnds are where pauses make words look too long.
	sentenceEnds = ".。!！?？"
	asciiMarks   = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
)

// segment is a stretch of text between two timestamps.
type segment struct {
	start, end float64
	tokens     int // text tokens in it
}

// prepareAlignment readies the aligner for the audio and options of the lane.
func (l *lane) prepareAlignment() {
	a, o := &l.align, &l.o
	a.heads, a.frames = len(l.m.alignment), min(l.samples/dsp.Hop/2, l.memory.n)
	a.kept = o.WordTimes && l.width == 1 && !o.Timestamps && len(o.Prompt) == 0
	a.attention, a.probs = a.attention[:0], a.probs[:0]
}

// spelling feeds the text that was found, for the alignment: all of it, or,
// where the search has kept attention, what the search has not fed.
type spelling struct {
	l       *lane
	seq     *sequence
	tokens  []int
	at, fed int
	text    []int
}

// begin tells whether there are words to time.
func (p *spelling) begin() bool {
	l, m := p.l, p.l.m
	*p = spelling{l: l, seq: l.sequences[0]}
	p.text = slices.DeleteFunc(slices.Clone(l.found.text), func(t int) bool { return t >= m.eot })
	if len(p.text) == 0 || l.align.frames == 0 {
		return false
	}
	p.tokens = slices.Concat(l.start, []int{m.noTimes}, p.text, []int{m.eot})
	if len(p.text) < len(l.found.text) {
		l.align.kept = false
	}
	if l.align.kept {
		p.at = p.seq.n
	} else {
		p.seq.mem, p.seq.n = &l.memory, 0
		l.align.attention, l.align.probs = l.align.attention[:0], l.align.probs[:0]
	}
	if l.o.Brisk && !l.align.kept {
		// Those of a prefix, and of greedy search, are among all tokens.
		chosen := len(l.found.text) - len(l.found.probs)
		for i, t := range l.found.text {
			switch {
			case t >= m.eot:
			case i < chosen:
				l.align.probs = append(l.align.probs, float32(math.Exp(float64(l.found.logProbs[i]))))
			default:
				l.align.probs = append(l.align.probs, l.found.probs[i-chosen])
			}
		}
	}
	p.seq.keep = l.align.keep
	return true
}

// probsKnown tells whether the words' probabilities are those of the search.
func (p *spelling) probsKnown() bool { return p.l.align.kept || p.l.o.Brisk }

func (p *spelling) rows(to []row, n int) []row {
	p.fed = min(n, len(p.tokens)-p.at)
	for _, t := range p.tokens[p.at : p.at+p.fed] {
		to = append(to, row{p.seq, t})
	}
	return to
}

func (p *spelling) take(logits []float32) {
	l := p.l
	if !p.probsKnown() {
		for k := max(p.at, len(l.start)); k < p.at+p.fed && k < len(p.tokens)-2; k++ {
			probs := l.rules.softmax(logits[(k-p.at)*l.m.vocabSize:][:l.m.eot])
			l.align.probs = append(l.align.probs, probs[p.tokens[k+1]])
		}
	}
	p.at += p.fed
}

// words times the words of the text that was found.
func (l *lane) words() []Word {
	text := l.spelling.text
	if len(l.spelling.tokens) == 0 {
		return nil
	}
	starts := l.align.times(len(l.start), len(l.spelling.tokens))
	words := make([]Word, 0, len(text))
	at := 0
	for _, n := range l.m.split(text, l.o.Language) {
		w := Word{
			Text:   l.m.vocab.Text(text[at : at+n]),
			Start:  float64(starts[at]) / framesPerSecond,
			End:    float64(starts[at+n]) / framesPerSecond,
			Tokens: slices.Clone(text[at : at+n]),
		}
		for _, p := range l.align.probs[at : at+n] {
			w.Prob += p / float32(n)
		}
		words = append(words, w)
		at += n
	}
	return mend(words, l.m.segments(l.found.text, float64(l.samples/dsp.Hop)/100))
}

// split returns the number of tokens in each word: words begin at spaces and
// punctuation, or, in languages that write no spaces, at every character.
func (m *Model) split(text []int, language string) []int {
	var out []int
	var sub []byte
	n := 0
	spaceless := m.multilingual && slices.Contains([]string{"zh", "ja", "th", "lo", "my", "yue"}, language)
	for i, t := range text {
		sub = append(sub, m.vocab.Bytes(t)...)
		n++
		if bpe.Partial(sub) > 0 && i+1 < len(text) {
			continue
		}
		mark := strings.Contains(asciiMarks, strings.TrimSpace(string(sub)))
		if spaceless || mark || len(out) == 0 || strings.HasPrefix(string(sub), " ") {
			out = append(out, n)
		} else {
			out[len(out)-1] += n
		}
		sub, n = sub[:0], 0
	}
	return out
}

// times returns the frame where each text token begins, with the frame where
// the text ends after them, from the attention of so many tokens, of which the
// first lie before the text.
func (a *aligner) times(before, tokens int) []int {
	for h := range a.heads {
		a.smooth(h, tokens)
	}
	n := a.frames
	a.mean = grow(a.mean, tokens*n)
	for r := range tokens {
		mean := a.mean[r*n : (r+1)*n]
		clear(mean)
		for h := range a.heads {
			nn.Add(mean, a.attention[(r*a.heads+h)*n:][:n])
		}
		for t := range mean {
			mean[t] /= float32(a.heads)
		}
	}
	// Neither the last token before the text nor the end token is text.
	return a.path(a.mean[before*n:], tokens-before-1, n)
}

// smooth turns one head's scores of so many tokens to weights: softmax over
// time, normalised over the tokens, then the median over time.
func (a *aligner) smooth(head, rows int) {
	n, stride := a.frames, a.heads*a.frames
	x := a.attention[head*n:]
	nn.SoftmaxRows(x, stride, rows, n)
	a.means, a.scales = grow(a.means, n), grow(a.scales, n)
	clear(a.means)
	clear(a.scales)
	for r := range rows {
		for t, v := range x[r*stride : r*stride+n] {
			a.means[t] += v
			a.scales[t] += v * v
		}
	}
	for t, sum := range a.means {
		mean := sum / float32(rows)
		a.means[t] = mean
		a.scales[t] = 1 / float32(math.Sqrt(float64(max(a.scales[t]/float32(rows)-mean*mean, 0))))
	}
	for r := range rows {
		row := x[r*stride : r*stride+n]
		for t := range row {
			row[t] = (row[t] - a.means[t]) * a.scales[t]
		}
		if n > medianWidth/2 {
			a.ranks = medians(row, a.ranks)
		}
	}
}

// path finds the monotonic path of most weight through x[rows][n], by dynamic
// time warping, and returns the column where it enters each row.
func (a *aligner) path(x []float32, rows, n int) []int {
	w := n + 1
	a.cost = grow(a.cost, (rows+1)*w)
	if cap(a.trace) < (rows+1)*w {
		a.trace = make([]uint8, (rows+1)*w)
	}
	a.trace = a.trace[:(rows+1)*w]
	const diagonal, up, left = 0, 1, 2
	inf := float32(math.Inf(1))
	for i := range a.cost {
		a.cost[i] = inf
	}
	a.cost[0] = 0
	for i := 1; i <= rows; i++ {
		for j := 1; j <= n; j++ {
			c0, c1, c2 := a.cost[(i-1)*w+j-1], a.cost[(i-1)*w+j], a.cost[i*w+j-1]
			c, t := c2, uint8(left)
			if c0 < c1 && c0 < c2 {
				c, t = c0, diagonal
			} else if c1 < c0 && c1 < c2 {
				c, t = c1, up
			}
			a.cost[i*w+j] = c - x[(i-1)*n+j-1]
			a.trace[i*w+j] = t
		}
	}
	starts := make([]int, rows)
	for i, j := rows, n; i > 0; {
		// The edges lead back to the origin.
		t := a.trace[i*w+j]
		if j == 0 {
			t = up
		}
		starts[i-1] = max(j-1, 0)
		if t != left {
			i--
		}
		if t != up {
			j--
		}
	}
	return starts
}

// segments are the stretches of text between pairs of timestamps. Without a
// pair the whole is one; it begins with the audio, as in the reference.
func (m *Model) segments(tokens []int, duration float64) []segment {
	out := []segment{{end: duration}}
	paired := false
	for i, t := range tokens {
		last := &out[len(out)-1]
		switch at := float64(t-m.firstTime) / framesPerSecond; {
		case t < m.eot:
			last.tokens++
		case t < m.firstTime:
		case last.tokens == 0:
			last.start = at
		case i+1 < len(tokens) && tokens[i+1] >= m.firstTime:
			paired = true
			last.end = at
			out = append(out, segment{start: at, end: duration})
		default:
			last.end = at
		}
	}
	if !paired {
		out[0].start = 0
	}
	return out
}
