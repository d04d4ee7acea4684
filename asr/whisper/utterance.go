package whisper

import (
	"math"
	"slices"

	"sidetone/asr"
	"sidetone/asr/whisper/model"
	"sidetone/internal/pcm"
)

// utterance is one stretch of speech of a leg.
type utterance struct {
	id, revision int
	// start is where samples begin, end where speech ended (finals only).
	start, end int64
	samples    []int16
	// submitted is how many samples there were when the last partial was asked
	// for, heardTo how many it was given in the end.
	submitted, heardTo int

	// paused is where speech ceased last, at a pause; rested is how much audio
	// a decode has that is still to be asked for there.
	paused int64
	rested int

	// foreseen is what a careful decode heard up to the pause at foreseenAt.
	foreseen   *outcome
	foreseenAt int64
	// closing says that the decode under way is the final's.
	closing bool

	// draft is what the last partial wrote.
	draft []int
	// heard is what decoders keep of samples; it belongs to the one job of the
	// leg that is being decoded.
	heard model.Heard

	// stable words do not change any more. tail is what the last hypothesis
	// has after them.
	stable, tail []word
}

// revise takes a partial's decode of the first n samples, commits what it and
// the one before agree on, and returns the new revision. At a pause the last
// word is complete, and one that the model is sure of needs no second opinion.
func (u *utterance) revise(out *outcome, n int, atPause, searched bool, p *policy) asr.Hypothesis {
	end := u.start + int64(n)
	if atPause {
		end = u.paused
	}
	words := place(&out.res, u.start, end)
	if out.refused == looping {
		words = unloop(words)
	}
	words = after(u.stable, words)
	recognise(u.tail, words)
	k := 0
	for k < len(words) && (int64(n) >= p.least && p.settled(&words[k], end, searched) || atPause && p.complete(&words[k])) {
		k++
	}
	u.stable = append(u.stable, words[:k]...)
	u.tail = words[k:]
	return u.hypothesis(end)
}

// finish takes the final's decode. An utterance that turns out to be no speech
// is withdrawn, stable words and all.
func (u *utterance) finish(out *outcome) asr.Hypothesis {
	words := place(&out.res, u.start, u.end)
	switch out.refused {
	case looping, excess:
		words = unloop(words)
	case noSpeech:
		u.stable, words = nil, nil
	}
	rest := after(u.stable, words)
	restyle(u.stable, words[:len(words)-len(rest)])
	u.stable = append(u.stable, rest...)
	u.tail = nil
	h := u.hypothesis(u.end)
	h.Final = true
	return h
}

// inDoubt says whether a decode of the first n samples should search for a word
// that has waited for long to become stable. Decodes that lie apart prove as much
// by what they agree on.
func (u *utterance) inDoubt(n int, p *policy) bool {
	if len(u.tail) == 0 || n-u.heardTo >= p.apart {
		return false
	}
	w := &u.tail[0]
	return w.Confidence < p.certain && u.start+int64(n)-w.End >= p.doubtful
}

func (u *utterance) hypothesis(end int64) asr.Hypothesis {
	u.revision++
	words := make([]asr.Word, 0, len(u.stable)+len(u.tail))
	for _, w := range u.stable {
		words = append(words, w.Word)
	}
	for _, w := range u.tail {
		words = append(words, w.Word)
	}
	return asr.Hypothesis{
		Utterance: u.id, Revision: u.revision,
		Words: words, Stable: len(u.stable),
		Start: u.start, End: end,
	}
}

// unloop leaves out repetitions that are a loop.
func unloop(words []word) []word {
	for {
		all := make([]string, len(words))
		for i, w := range words {
			all[i] = w.normal
		}
		at, n := loop(all)
		if n == 0 {
			return words
		}
		words = slices.Delete(slices.Clone(words), at, at+n)
	}
}

const (
	// pauseSamples is how long a pause must be that speech is split at.
	pauseSamples = pcm.Rate * 16 / 100
	levelSamples = pcm.Rate / 50
)

// split finds where a long utterance is best cut in two: at the middle of its
// quietest pause after the stable words, if that is quiet enough for its
// length. longest is the length at which any place will do.
func (u *utterance) split(longest int, quiet float64) (at int, ok bool) {
	shortest := longest * 6 / 10
	if len(u.samples) < shortest {
		return 0, false
	}
	from := shortest / 2
	if n := len(u.stable); n > 0 {
		from = max(from, int(u.stable[n-1].End-u.start))
	}
	var level []float64
	var sum float64
	for i := 0; i+levelSamples <= len(u.samples); i += levelSamples {
		var e float64
		for _, v := range u.samples[i : i+levelSamples] {
			e += float64(v) * float64(v)
		}
		level = append(level, e)
		sum += e
	}
	const width = pauseSamples / levelSamples
	best := math.Inf(1)
	for i := from / levelSamples; i+width <= len(level); i++ {
		var e float64
		for _, l := range level[i : i+width] {
			e += l
		}
		if e < best {
			best, at = e, (i+width/2)*levelSamples
		}
	}
	if math.IsInf(best, 1) {
		return len(u.samples), len(u.samples) >= longest
	}
	mean := sum / float64(len(level)) * width
	relaxed := quiet * float64(longest-len(u.samples)) / float64(longest-shortest)
	return at, len(u.samples) >= longest || 10*math.Log10((best+1)/(mean+1)) <= relaxed
}
