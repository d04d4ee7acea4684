package model

import (
	"math"

	"sidetone/internal/nn"
)

// rules are what may follow a text, as the reference has it.
type rules struct {
	m          *Model
	timestamps bool
	forced     int // tokens of the text that were not chosen
	probs      []float32
}

// initialTime is the latest first timestamp, 1 s in steps of 20 ms.
const initialTime = 50

// never is the logit of a forbidden token.
const never = -math.MaxFloat32

// apply forbids in logits what may not follow text and returns the logarithm
// of the sum of their exponentials, with the likeliest token; top is the
// likeliest as the model has it.
func (r *rules) apply(logits []float32, text []int, top int) (sum float64, best int) {
	m := r.m
	for _, id := range m.suppress {
		logits[id] = never
	}
	if len(text) == r.forced {
		for _, id := range m.blanks {
			logits[id] = never
		}
	}
	weighTimes := r.timestamps && r.applyTimes(logits, text)

	// Nothing else has become likelier.
	if best = top; logits[top] == never {
		best = argMax(logits)
	}
	probs := r.softmax(logits)
	if weighTimes {
		// If timestamps together outweigh every single other token, one of them
		// must follow.
		var times float64
		for _, p := range probs[m.firstTime:] {
			times += float64(p)
		}
		if times > float64(probs[argMax(probs[:m.firstTime])]) {
			forbid(logits, 0, m.firstTime)
			at := argMax(logits[m.firstTime:])
			return logSum(logits[m.firstTime:], probs[m.firstTime:], at) + math.Log(times), m.firstTime + at
		}
	}
	return logSum(logits, probs, best), best
}

// softmax returns the probabilities of logits, valid until the next call.
func (r *rules) softmax(logits []float32) []float32 {
	r.probs = grow(r.probs, len(logits))
	copy(r.probs, logits)
	nn.Softmax(r.probs)
	return r.probs
}

// applyTimes applies the rules of timestamps: one stands first, at most 1 s
// in; they come in pairs, save before the end; they do not go back. It tells
// whether text and timestamps are both possible.
func (r *rules) applyTimes(logits []float32, text []int) bool {
	m := r.m
	logits[m.noTimes] = never
	if len(text) == 0 {
		forbid(logits, 0, m.firstTime)
		forbid(logits, min(m.firstTime+initialTime+1, m.vocabSize), m.vocabSize)
		return false
	}
	chosen := text[r.forced:]
	n := len(chosen)
	if n == 0 {
		return false
	}
	if last := chosen[n-1]; last >= m.firstTime {
		if n == 1 || chosen[n-2] >= m.firstTime {
			forbid(logits, m.firstTime, m.vocabSize)
			return false
		}
		forbid(logits, 0, m.eot)
		forbid(logits, m.firstTime, last)
		return true
	}
	for i := n - 1; i >= 0; i-- {
		if chosen[i] >= m.firstTime {
			forbid(logits, m.firstTime, chosen[i]+1)
			break
		}
	}
	return true
}

func forbid(logits []float32, from, to int) {
	for i := range logits[from:to] {
		logits[from+i] = never
	}
}

// logSum is the logarithm of the sum of exponentials of logits, by way of
// their probabilities, of which the best one's has the most digits; of a part of
// them, less the logarithm of its mass.
func logSum(logits, probs []float32, best int) float64 {
	return float64(logits[best]) - math.Log(float64(probs[best]))
}

// argMax is the place of the largest element, of equal ones the first.
func argMax(x []float32) int {
	best := 0
	for i := above(x, 1, x[0]); i < len(x); i = above(x, i+1, x[i]) {
		best = i
	}
	return best
}

// above is the first place from at on where x is above floor, or len(x).
func above(x []float32, at int, floor float32) int {
	// Nearly nothing is, so the processor foresees all that the groups ask.
	const group = 16
	for ; at+group <= len(x); at += group {
		b := (*[group]float32)(x[at:])
		if b[0] > floor || b[1] > floor || b[2] > floor || b[3] > floor ||
			b[4] > floor || b[5] > floor || b[6] > floor || b[7] > floor ||
			b[8] > floor || b[9] > floor || b[10] > floor || b[11] > floor ||
			b[12] > floor || b[13] > floor || b[14] > floor || b[15] > floor {
			break
		}
	}
	for at < len(x) && !(x[at] > floor) {
		at++
	}
	return at
}
