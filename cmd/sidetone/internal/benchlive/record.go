package benchlive

import (
	"slices"
	"strings"
	"unicode"

	"sidetone/asr"
	"sidetone/bench/wer"
	"sidetone/internal/pcm"
)

// record is what came of one leg. Times are seconds on the leg's clock, which
// is the wall clock: a sample is heard when it has been spoken.
type record struct {
	open map[int]*utterance
	// words are the stable ones, in the order in which they became so.
	words []word
	ends  []end
	// partials are the times of revisions that were no finals.
	partials []float64
	// finals are the finals' words, heard is where the last final ended.
	finals []asr.Word
	heard  int64
}

// word is a word that became stable.
type word struct {
	// end is the end of the word; lag is how much later it became stable, first
	// how much later it was first shown.
	end, lag, first float64
}

// end is an end of speech.
type end struct {
	// at is where speech ceased, found when that was certain.
	at    int64
	found float64
	// final is when the final came, 0 as long as it has not.
	final float64
}

// utterance is one that is not final.
type utterance struct {
	stable int
	words  []asr.Word
	shown  []shown
}

// shown is a word that has been in a revision.
type shown struct {
	text string
	end  int64
	at   float64
}

func newRecord() *record { return &record{open: map[int]*utterance{}} }

// edge notes an edge that the detector found at now.
func (r *record) edge(e asr.Edge, now float64) {
	if e.Kind == asr.End {
		r.ends = append(r.ends, end{at: e.At, found: now})
	}
}

// take notes a hypothesis that came at now.
func (r *record) take(h *asr.Hypothesis, now float64) {
	u := r.open[h.Utterance]
	if u == nil {
		u = &utterance{}
		r.open[h.Utterance] = u
	}
	stable := h.Stable
	if h.Final {
		stable = len(h.Words)
	} else {
		r.partials = append(r.partials, now)
	}
	for i := range h.Words {
		first := u.show(&h.Words[i], now)
		if i >= u.stable && i < stable {
			at := seconds(h.Words[i].End)
			r.words = append(r.words, word{end: at, lag: now - at, first: first - at})
		}
	}
	u.stable, u.words = max(u.stable, stable), h.Words
	if !h.Final {
		return
	}
	delete(r.open, h.Utterance)
	r.finals = append(r.finals, h.Words...)
	r.heard = max(r.heard, h.End)
	for i := range r.ends {
		if e := &r.ends[i]; e.final == 0 && max(e.at-h.End, h.End-e.at) <= pcm.FrameSamples {
			e.final = now
		}
	}
}

// sameWord is how far the ends of a word in two revisions may lie apart.
const sameWord = pcm.Rate * 4 / 10

// show returns when a word was first shown, which may be now.
func (u *utterance) show(w *asr.Word, now float64) float64 {
	text := spelling(w.Text)
	for _, s := range u.shown {
		if s.text == text && max(s.end-w.End, w.End-s.end) <= sameWord {
			return s.at
		}
	}
	u.shown = append(u.shown, shown{text, w.End, now})
	return now
}

func spelling(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

func seconds(sample int64) float64 { return float64(sample) / pcm.Rate }

// window is a stretch of a leg's clock.
type window struct{ from, to float64 }

func (w window) has(t float64) bool { return t >= w.from && t < w.to }

// lags returns the lags of the words that ended in w. A word that is shown at
// the time now and still not stable counts as if it became so now.
func (r *record) lags(w window, now float64) (lag, first []float64) {
	for _, x := range r.words {
		if w.has(x.end) {
			lag, first = append(lag, x.lag), append(first, x.first)
		}
	}
	for _, u := range r.open {
		for i := u.stable; i < len(u.words); i++ {
			if at := seconds(u.words[i].End); w.has(at) {
				lag, first = append(lag, now-at), append(first, u.show(&u.words[i], now)-at)
			}
		}
	}
	return lag, first
}

// waits returns how long the finals of the ends of speech in w took, from the
// end of speech and from when that was certain. A final that has not come
// counts as if it came now; missing counts these.
func (r *record) waits(w window, now float64) (speech, edge []float64, missing int) {
	for _, e := range r.ends {
		if !w.has(e.found) {
			continue
		}
		final := e.final
		if final == 0 {
			final = now
			missing++
		}
		speech, edge = append(speech, final-seconds(e.at)), append(edge, final-e.found)
	}
	return speech, edge, missing
}

// score compares the finals with what was said, as far as both are complete:
// up to the first thing said that lies beyond the last final.
func (r *record) score(said []Said, n *wer.Normaliser) wer.Counts {
	if len(said) == 0 {
		return wer.Counts{}
	}
	k := slices.IndexFunc(said, func(s Said) bool { return s.End > r.heard })
	if k < 0 {
		k = len(said)
	}
	if k == 0 {
		return wer.Counts{}
	}
	from, to := said[0].Start, said[k-1].End
	if k < len(said) {
		to = said[k].Start
	}
	var ref, hyp []string
	for _, s := range said[:k] {
		ref = append(ref, s.Text)
	}
	for _, w := range r.finals {
		if middle := (w.Start + w.End) / 2; middle >= from && middle < to {
			hyp = append(hyp, w.Text)
		}
	}
	return n.Score(strings.Join(ref, " "), strings.Join(hyp, " "))
}
