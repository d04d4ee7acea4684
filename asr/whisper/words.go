package whisper

import (
	"strings"
	"unicode"

	"sidetone/asr"
	"sidetone/asr/whisper/model"
	"sidetone/internal/pcm"
)

// word is a recognised word with the tokens that spell it.
type word struct {
	asr.Word
	normal string
	tokens []int
}

// normal is a word without case and punctuation, for comparing.
func normal(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

// follow returns the words of r that come after the stable ones, which were
// forced and are spelled by its first skip tokens. They are placed on the leg's
// clock, on which the audio begins at start; they lie between the last stable
// word and to, and do not overlap.
func follow(r *model.Result, stable []asr.Word, skip int, start, to int64) []word {
	var out []word
	var loose []int // tokens of marks that stand before any word
	from := start
	if len(stable) > 0 {
		from = stable[len(stable)-1].End
	}
	for _, w := range r.Words {
		if skip >= len(w.Tokens) {
			skip -= len(w.Tokens)
			continue
		}
		tokens, text := w.Tokens[skip:], strings.TrimSpace(w.Text)
		if skip > 0 && len(stable) > 0 {
			// The last stable word was continued: what is new stands alone.
			text = strings.TrimPrefix(text, stable[len(stable)-1].Text)
		}
		skip = 0
		n := normal(text)
		if n == "" {
			// A mark of its own belongs to the word before it.
			if len(out) > 0 {
				last := &out[len(out)-1]
				last.tokens = append(last.tokens, tokens...)
			} else {
				loose = append(loose, tokens...)
			}
			continue
		}
		s := min(max(start+int64(w.Start*pcm.Rate), from), to)
		e := min(max(start+int64(w.End*pcm.Rate), s), to)
		from = e
		out = append(out, word{
			Word: asr.Word{
				Text:       text,
				Start:      s,
				End:        e,
				Confidence: min(max(w.Prob, 0), 1),
			},
			normal: n,
			tokens: append(loose, tokens...),
		})
		loose = nil
	}
	return out
}

// agreed is the number of leading words that two hypotheses share.
func agreed(a, b []word) int {
	n := 0
	for n < len(a) && n < len(b) && a[n].normal == b[n].normal {
		n++
	}
	return n
}
