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
// decoder once more, the attention of the heads that follow the audio is
// smoothed and averaged, and the cheapest monotonic path through it tells when
// each token begins. Then overlong words and punctuation are mended.

// aligner is the scratch of the alignment.
type aligner struct {
	attention []float32 // [head][token][frame]
	mean      []float32 // [token][frame]
	cost      []float32
	trace     []uint8
	column    []float32
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

// words times the words of tokens, which were heard in so many samples.
func (d *Decoder) words(ctx context.Context, start, tokens []int, samples int, language string) ([]Word, error) {
	text := slices.DeleteFunc(slices.Clone(tokens), func(t int) bool { return t >= d.m.eot })
	frames := min(samples/dsp.Hop/2, d.memory.n)
	if len(text) == 0 || frames == 0 || len(d.m.alignment) == 0 || len(start)+1+len(text)+1 > d.m.textCtx {
		return nil, nil
	}
	starts, probs, err := d.timeTokens(ctx, start, text, frames)
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
		for _, p := range probs[at : at+n] {
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
// where the text ends after them, and the probability of each.
func (d *Decoder) timeTokens(ctx context.Context, start, text []int, frames int) (starts []int, probs []float32, err error) {
	m, a := d.m, &d.align
	tokens := slices.Concat(start, []int{m.noTimes}, text, []int{m.eot})
	heads, rows := len(m.alignment), len(tokens)
	a.attention = grow(a.attention, heads*rows*frames)
	seq, at := d.sequences[0], 0
	seq.mem, seq.n = &d.memory, 0
	d.stepper.capture = func(head, row int, scores []float32) {
		copy(a.attention[(head*rows+at+row)*frames:][:frames], scores)
	}
	defer func() { d.stepper.capture = nil }()
	err = d.feed(ctx, seq, tokens, func(from, n int) {
		at += n
		logits := d.stepper.project(0, n)
		for k := max(from, len(start)); k < from+n && k < rows-2; k++ {
			row := logits[(k-from)*m.vocabSize:][:m.eot]
			probs = append(probs, d.rules.softmax(row)[tokens[k+1]])
		}
	})
	if err != nil {
		return nil, nil, err
	}
	for i := range heads {
		a.smooth(a.attention[i*rows*frames:(i+1)*rows*frames], rows, frames)
	}
	a.mean = grow(a.mean, rows*frames)
	clear(a.mean)
	for i := range heads {
		nn.Add(a.mean, a.attention[i*rows*frames:(i+1)*rows*frames])
	}
	for i := range a.mean {
		a.mean[i] /= float32(heads)
	}
	return a.path(a.mean[len(start)*frames:], len(text)+1, frames), probs, nil
}

// smooth turns one head's scores [rows][n] to weights: softmax over time,
// normalised over the tokens, then the median over time.
func (a *aligner) smooth(x []float32, rows, n int) {
	nn.SoftmaxRows(x, n, rows, n)
	for t := range n {
		var sum, squares float32
		for r := range rows {
			v := x[r*n+t]
			sum += v
			squares += v * v
		}
		mean := sum / float32(rows)
		scale := 1 / float32(math.Sqrt(float64(max(squares/float32(rows)-mean*mean, 0))))
		for r := range rows {
			x[r*n+t] = (x[r*n+t] - mean) * scale
		}
	}
	const half = medianWidth / 2
	if n <= half {
		return
	}
	a.column = grow(a.column, n)
	for r := range rows {
		row := x[r*n : (r+1)*n]
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
