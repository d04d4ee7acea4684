package whisper

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"sidetone/asr"
	"sidetone/asr/stable"
	"sidetone/asr/whisper/model"
	"sidetone/internal/pcm"
)

// word is a recognised word and its form for comparing.
type word struct {
	asr.Word
	normal string
	// seen counts the hypotheses in a row that had the word in its place
	// before this one.
	seen int
}

// place puts the words of r on the leg's clock, on which the audio begins at
// start: they lie between start and end and do not overlap. Marks that stand
// alone are left out.
func place(r *model.Result, start, end int64) []word {
	out := make([]word, 0, len(r.Words))
	from := start
	for _, w := range r.Words {
		n := stable.Normal(w.Text)
		if n == "" && (len(out) == 0 || !continues(w.Text)) {
			continue
		}
		if len(out) > 0 && continues(w.Text) {
			last := &out[len(out)-1]
			last.Text += strings.TrimSpace(w.Text)
			last.normal += n
			last.Confidence = min(last.Confidence, max(w.Prob, 0))
			last.End = min(max(start+int64(w.End*pcm.Rate), last.End), end)
			from = last.End
			continue
		}
		s := min(max(start+int64(w.Start*pcm.Rate), from), end)
		e := min(max(start+int64(w.End*pcm.Rate), s), end)
		from = e
		out = append(out, word{normal: n, Word: asr.Word{
			Text:       strings.TrimSpace(w.Text),
			Start:      s,
			End:        e,
			Confidence: min(max(w.Prob, 0), 1),
			Joined:     len(out) > 0 && w.Text == strings.TrimLeft(w.Text, " "),
		}})
	}
	return out
}

// continues says whether a word goes on from the one before without a space:
// the model parts "open-source" before the hyphen.
func continues(text string) bool {
	r, _ := utf8.DecodeRuneInString(text)
	return !unicode.IsSpace(r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
}

// after returns the words that come after the stable ones, of which a newer
// decode may have heard some otherwise.
func after(told, words []word) []word {
	if len(told) == 0 {
		return words
	}
	rest := slices.Clone(words[stable.Cut(plain(told), plain(words)):])
	last := told[len(told)-1].End
	for i := range rest {
		rest[i].Start = max(rest[i].Start, last)
		rest[i].End = max(rest[i].End, last)
	}
	return rest
}

func plain(words []word) []asr.Word {
	out := make([]asr.Word, len(words))
	for i := range words {
		out[i] = words[i].Word
	}
	return out
}

// recognise counts, for the leading words that two hypotheses share, in how
// many hypotheses in a row each has been seen.
func recognise(before, words []word) {
	for i := range words {
		if i == len(before) || before[i].normal != words[i].normal {
			return
		}
		words[i].seen = before[i].seen + 1
	}
}

// restyle gives stable words the casing and punctuation that a later decode of
// the same words has.
func restyle(told, words []word) {
	if len(told) != len(words) {
		return
	}
	for i := range told {
		if told[i].normal == words[i].normal {
			told[i].Text = words[i].Text
		}
	}
}
