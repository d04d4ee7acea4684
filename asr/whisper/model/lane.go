package model

import (
	"context"
	"math"
)

// lane is one job on its way through the decoder: passes over the text, one
// after the other.
type lane struct {
	m     *Model
	ctx   context.Context //nolint:containedctx // a job's, for as long as the job
	o     Options
	open  bool
	taken int // rows in the step under way
	width int // beams of the search under way

	start   []int // the tokens before the text, prompt and <|notimestamps|> left out
	samples int
	memory  memory
	// sequences are the caches of the texts under search.
	sequences  []*sequence
	rules      rules
	candidates []candidate
	align      aligner

	pass     pass
	search   search
	opening  opening
	greedy   greedy
	beam     beam
	spelling spelling

	found    found
	noSpeech float64
	err      error
}

// pass is a way over the text: rows that the decoder steps, and what becomes of
// their logits.
type pass interface {
	// rows appends what to step next, at most n rows and at least one; nothing
	// means that the pass is over.
	rows(to []row, n int) []row
	// take is given the logits of all those rows, or none if it is blind.
	take(logits []float32)
}

// search is a pass that finds the text. It is given the logits that follow the
// opening, with those of the rows that propose has appended.
type search interface {
	pass
	propose(to []row, n int) []row
}

func newLane(m *Model) *lane {
	l := &lane{m: m, rules: rules{m: m}, sequences: []*sequence{m.newSequence()}}
	l.opening.l, l.greedy.l, l.beam.l, l.spelling.l = l, l, l, l
	return l
}

// What most jobs need: 10 s of audio, one text of a block of tokens.
const usualFrames = 10 * framesPerSecond

// unusual says that the job's scratch is larger than that of most.
func (l *lane) unusual() bool {
	return l.memory.n > usualFrames || len(l.sequences) > 1 || len(l.sequences[0].kv[0]) > sequenceBlock*2*l.m.width
}

// begin readies the lane for audio of so many samples that is in its memory.
func (l *lane) begin(ctx context.Context, o *Options, start []int, samples int) {
	l.ctx, l.o, l.start, l.samples = ctx, *o, start, samples
	l.open, l.err, l.width = true, nil, o.Beam
	if o.BeamBelow < 0 {
		l.width = 1
	}
	l.beginSearch()
}

// beginSearch readies the search from the first token on.
func (l *lane) beginSearch() {
	l.found, l.noSpeech = found{}, 0
	l.prepareAlignment()

	m, o, start := l.m, &l.o, l.start
	var tokens []int
	if len(o.Prompt) > 0 {
		tokens = append(append(tokens, m.prev), o.Prompt...)
	}
	sot := len(tokens)
	tokens = append(tokens, start...)
	if !o.Timestamps {
		tokens = append(tokens, m.noTimes)
	}
	// The reference counts the tokens before the last of these as the prompt.
	limit := min(m.textCtx/2, m.textCtx-len(tokens)+1)
	text := make([]int, 0, limit)
	if len(o.Prefix) > 0 {
		if o.Timestamps {
			text = append(text, m.firstTime)
		}
		text = append(text, o.Prefix...)
	}
	first := len(tokens)
	tokens = append(tokens, text...)
	if o.MaxTokens > 0 {
		limit = min(limit, len(text)+o.MaxTokens)
	}

	l.rules.timestamps, l.rules.forced = o.Timestamps, len(text)
	seq := l.sequences[0]
	seq.mem, seq.n, seq.keep = &l.memory, 0, nil
	if l.align.kept {
		seq.keep = l.align.keep
	}
	h := hypothesis{seq: seq, text: text, logProbs: make([]float32, 0, cap(text))}
	l.opening = opening{l: l, seq: seq, tokens: tokens, sot: sot, first: first, logProbs: h.logProbs}
	l.pass = &l.opening
	if l.width > 1 {
		l.beam.begin(h, l.width, limit)
		l.search = &l.beam
	} else {
		l.greedy.begin(h, o.Draft, limit)
		l.search = &l.greedy
	}
}

// more tells whether there are rows to step; if not, the lane is at its end.
func (l *lane) more() bool {
	if l.err == nil {
		l.err = l.ctx.Err()
	}
	if l.err != nil {
		return false
	}
	switch l.pass {
	case &l.opening:
		if l.opening.at < len(l.opening.tokens) {
			return true
		}
		l.pass = l.search
		fallthrough
	case l.search:
		if !l.over() {
			return true
		}
		if l.width < l.o.Beam && l.found.doubtful(l.o.BeamBelow) {
			l.width = l.o.Beam
			l.beginSearch()
			return true
		}
		if l.err != nil || !l.o.WordTimes || !l.spelling.begin() {
			return false
		}
		l.pass = &l.spelling
	}
	return l.spelling.at < len(l.spelling.tokens)
}

// blind tells whether the pass has no use for logits.
func (l *lane) blind() bool { return l.pass == &l.spelling && l.spelling.probsKnown() }

// over tells whether the search has found its text.
func (l *lane) over() bool {
	if l.width > 1 {
		return l.beam.done
	}
	return l.greedy.done
}

// opening feeds what stands before the text that is searched.
type opening struct {
	l        *lane
	seq      *sequence
	tokens   []int
	at       int // tokens already fed
	fed      int // tokens in the step under way
	sot      int // position of <|startoftranscript|>
	first    int // position of the first token of the prefix
	logProbs []float32
}

func (p *opening) rows(to []row, n int) []row {
	p.fed = min(n, len(p.tokens)-p.at)
	for _, t := range p.tokens[p.at : p.at+p.fed] {
		to = append(to, row{p.seq, t})
	}
	if p.at+p.fed == len(p.tokens) {
		to = p.l.search.propose(to, n-p.fed)
	}
	return to
}

func (p *opening) take(logits []float32) {
	l, size := p.l, p.l.m.vocabSize
	for k := p.at; k < p.at+p.fed; k++ {
		row := logits[(k-p.at)*size:][:size]
		forced := k >= p.first-1 && k+1 < len(p.tokens)
		if k != p.sot && !forced {
			continue
		}
		probs := l.rules.softmax(row)
		if k == p.sot {
			l.noSpeech = float64(probs[l.m.noSpeech])
		}
		if forced {
			token := p.tokens[k+1]
			p.logProbs = append(p.logProbs, float32(math.Log(float64(probs[token]))))
			if l.align.kept && token < l.m.eot {
				l.align.probs = append(l.align.probs, l.rules.softmax(row[:l.m.eot])[token])
			}
		}
	}
	p.at += p.fed
	if p.at == len(p.tokens) {
		l.found.logProbs = p.logProbs
		if l.width > 1 {
			l.beam.beams[0].logProbs = p.logProbs
		} else {
			l.greedy.h.logProbs = p.logProbs
		}
		l.search.take(logits[(p.fed-1)*size:])
	}
}
