package whisper

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"sidetone/asr"
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

// normal is a word without case and punctuation.
func normal(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

// place puts the words of r on the leg's clock, on which the audio begins at
// start: they lie between start and end and do not overlap. Marks that stand
// alone are left out.
func place(r *model.Result, start, end int64) []word {
	out := make([]word, 0, len(r.Words))
	from := start
	for _, w := range r.Words {
		n := normal(w.Text)
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
// decode may have heard some otherwise, or written otherwise: "2774" for "2 7 7
// 4". It aligns the letters of the two by the fewest edits; of equally good
// places it takes the one nearest in time.
func after(stable, words []word) []word {
	if len(stable) == 0 {
		return words
	}
	var before, letters []rune
	for _, w := range stable {
		before = append(before, []rune(w.normal)...)
	}
	// ends[j] is the number of letters of words[:j].
	ends := make([]int, 1, len(words)+1)
	for _, w := range words {
		letters = append(letters, []rune(w.normal)...)
		ends = append(ends, len(letters))
	}
	// row[k] is the least number of edits between the stable letters so far and
	// letters[:k].
	row := make([]int, len(letters)+1)
	for k := range row {
		row[k] = k
	}
	for i, s := range before {
		diagonal := row[0]
		row[0] = i + 1
		for k, l := range letters {
			best := diagonal
			if s != l {
				best++
			}
			best = min(best, row[k]+1, row[k+1]+1)
			diagonal, row[k+1] = row[k+1], best
		}
	}
	last := stable[len(stable)-1].End
	apart := func(j int) int64 {
		if j == 0 {
			return last
		}
		return max(words[j-1].End-last, last-words[j-1].End)
	}
	cut := 0
	for j := 1; j < len(ends); j++ {
		if a, b := row[ends[j]], row[ends[cut]]; a < b || a == b && apart(j) < apart(cut) {
			cut = j
		}
	}
	rest := slices.Clone(words[cut:])
	for i := range rest {
		rest[i].Start = max(rest[i].Start, last)
		rest[i].End = max(rest[i].End, last)
	}
	return rest
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
func restyle(stable, words []word) {
	if len(stable) != len(words) {
		return
	}
	for i := range stable {
		if stable[i].normal == words[i].normal {
			stable[i].Text = words[i].Text
		}
	}
}
