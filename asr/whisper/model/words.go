package model

import (
	"context"
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
	column    []float32
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
	medianWidth     = 7
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

// prepare readies the aligner for audio of so many samples and a decoding with
// options o.
func (d *Decoder) prepare(samples int, o *Options) {
	a := &d.align
	a.heads, a.frames = len(d.m.alignment), min(samples/dsp.Hop/2, d.memory.n)
	a.kept = o.WordTimes && o.Beam == 1 && !o.Timestamps && len(o.Prompt) == 0
	a.attention, a.probs = a.attention[:0], a.probs[:0]
}

// words times the words of tokens.
func (d *Decoder) words(ctx context.Context, start, tokens []int, samples int, language string) ([]Word, error) {
	text := slices.DeleteFunc(slices.Clone(tokens), func(t int) bool { return t >= d.m.eot })
	if len(text) == 0 || d.align.frames == 0 {
		return nil, nil
	}
	if len(text) < len(tokens) {
		d.align.kept = false
	}
	starts, err := d.timeTokens(ctx, start, text)
	if err != nil {
		return nil, err
	}
	var words []Word
	at := 0
	for _, n := range d.m.split(text, language) {
		w := Word{
			Text:   d.m.vocab.Text(text[at : at+n]),
			Start:  float64(starts[at]) / framesPerSecond,
			End:    float64(starts[at+n]) / framesPerSecond,
			Tokens: slices.Clone(text[at : at+n]),
		}
		for _, p := range d.align.probs[at : at+n] {
			w.Prob += p / float32(n)
		}
		words = append(words, w)
		at += n
	}
	return mend(words, d.m.segments(tokens, float64(samples/dsp.Hop)/100)), nil
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

// timeTokens returns the frame where each text token begins, with the frame
// where the text ends after them, and leaves their probabilities in the aligner.
func (d *Decoder) timeTokens(ctx context.Context, start, text []int) ([]int, error) {
	m, a, seq := d.m, &d.align, d.sequences[0]
	tokens := slices.Concat(start, []int{m.noTimes}, text, []int{m.eot})
	rows := len(tokens)
	if !a.kept {
		seq.mem, seq.n = &d.memory, 0
		a.attention, a.probs = a.attention[:0], a.probs[:0]
	}
	d.stepper.capture = a.keep
	defer func() { d.stepper.capture = nil }()
	done := seq.n
	err := d.feed(ctx, seq, tokens[done:], func(at, n int) {
		if a.kept {
			return
		}
		logits := d.stepper.project(0, n)
		for k := max(at, len(start)); k < at+n && k < rows-2; k++ {
			p := d.rules.softmax(logits[(k-at)*m.vocabSize:][:m.eot])
			a.probs = append(a.probs, p[tokens[k+1]])
		}
	})
	if err != nil {
		return nil, err
	}
	for h := range a.heads {
		a.smooth(h, rows)
	}
	n := a.frames
	a.mean = grow(a.mean, rows*n)
	for r := range rows {
		mean := a.mean[r*n : (r+1)*n]
		clear(mean)
		for h := range a.heads {
			nn.Add(mean, a.attention[(r*a.heads+h)*n:][:n])
		}
		for t := range mean {
			mean[t] /= float32(a.heads)
		}
	}
	return a.path(a.mean[len(start)*n:], len(text)+1, n), nil
}

// smooth turns one head's scores of so many tokens to weights: softmax over
// time, normalised over the tokens, then the median over time.
func (a *aligner) smooth(head, rows int) {
	n, stride := a.frames, a.heads*a.frames
	x := a.attention[head*n:]
	nn.SoftmaxRows(x, stride, rows, n)
	for t := range n {
		var sum, squares float32
		for r := range rows {
			v := x[r*stride+t]
			sum += v
			squares += v * v
		}
		mean := sum / float32(rows)
		scale := 1 / float32(math.Sqrt(float64(max(squares/float32(rows)-mean*mean, 0))))
		for r := range rows {
			x[r*stride+t] = (x[r*stride+t] - mean) * scale
		}
	}
	const half = medianWidth / 2
	if n <= half {
		return
	}
	a.column = grow(a.column, n)
	for r := range rows {
		row := x[r*stride : r*stride+n]
		copy(a.column, row)
		for t := range row {
			var w [medianWidth]float32
			for k := range w {
				p := t + k - half
				if p < 0 {
					p = -p
				}
				if p >= n {
					p = 2*n - p - 2
				}
				w[k] = a.column[p]
			}
			slices.Sort(w[:])
			row[t] = w[half]
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
