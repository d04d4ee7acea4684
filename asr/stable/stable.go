// Package stable keeps the stable words of an utterance in place whatever its
// recogniser says next.
//
// A Track is given each new hypothesis of an utterance. What it has declared
// stable it keeps; of the new words it takes those that come after. Words
// become stable because the recogniser is certain of them, or because several
// hypotheses in a row agree on them (LocalAgreement: Liu et al., 2020).
package stable

import (
	"slices"
	"strings"
	"unicode"

	"sidetone/asr"
)

// word is a recognised word, its form for comparing, in how many hypotheses in a
// row before this one it had its place, and where the audio of the first ended.
type word struct {
	asr.Word
	normal string
	seen   int
	since  int64
}

// Track follows one utterance. The zero value is an utterance of which nothing
// is known, whose words are stable when they are certain.
type Track struct {
	// Agree is in how many hypotheses in a row before the newest a word must
	// have stood in its place to be stable; 0 means that agreement proves
	// nothing.
	Agree int
	// Stay is how much audio must have passed since the first of them, in
	// samples.
	Stay int64
	// Hold is how far before the end of the audio a word must end, in samples,
	// to be stable by agreement.
	Hold int64

	stable, tail []word
}

// Revise takes the words of the newest hypothesis of audio up to end, of whose
// words the first certain will not change any more. It returns the utterance's
// words, in a slice that the caller owns, and how many of them are stable.
func (t *Track) Revise(words []asr.Word, certain int, end int64) ([]asr.Word, int) {
	all := normalised(words)
	rest := after(t.stable, all)
	certain -= len(all) - len(rest)
	same := true
	for i := range rest {
		rest[i].since = end
		if same = same && i < len(t.tail) && t.tail[i].normal == rest[i].normal; same {
			rest[i].seen, rest[i].since = t.tail[i].seen+1, t.tail[i].since
		}
	}
	k := 0
	for k < len(rest) && (k < certain || t.agreed(&rest[k], end)) {
		k++
	}
	t.stable = append(t.stable, rest[:k]...)
	t.tail = rest[k:]
	return t.words(), len(t.stable)
}

func (t *Track) agreed(w *word, end int64) bool {
	return t.Agree > 0 && w.seen >= t.Agree && end-w.since >= t.Stay && w.End <= end-t.Hold
}

// Finish takes the final words and returns the utterance's. Where they agree
// with the stable ones they give them their casing and punctuation.
func (t *Track) Finish(words []asr.Word) []asr.Word {
	all := normalised(words)
	rest := after(t.stable, all)
	if told := all[:len(all)-len(rest)]; len(told) == len(t.stable) {
		for i := range told {
			if told[i].normal == t.stable[i].normal {
				t.stable[i].Text = told[i].Text
			}
		}
	}
	t.stable = append(t.stable, rest...)
	t.tail = nil
	return t.words()
}

// End is where the last stable word ends, 0 when there is none.
func (t *Track) End() int64 {
	if len(t.stable) == 0 {
		return 0
	}
	return t.stable[len(t.stable)-1].End
}

// Known returns what the last hypothesis said, in a slice that the caller owns.
func (t *Track) Known() []asr.Word { return t.words() }

func (t *Track) words() []asr.Word {
	out := make([]asr.Word, 0, len(t.stable)+len(t.tail))
	for _, w := range t.stable {
		out = append(out, w.Word)
	}
	for _, w := range t.tail {
		out = append(out, w.Word)
	}
	return out
}

func normalised(words []asr.Word) []word {
	out := make([]word, len(words))
	for i, w := range words {
		out[i] = word{Word: w, normal: Normal(w.Text)}
	}
	return out
}

// Normal is a word without case and punctuation; two words of one form are the
// same word.
func Normal(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

// after returns the words that come after the stable ones.
func after(stable, words []word) []word {
	before, all := make([]asr.Word, len(stable)), make([]asr.Word, len(words))
	for i := range stable {
		before[i] = stable[i].Word
	}
	for i := range words {
		all[i] = words[i].Word
	}
	rest := slices.Clone(words[Cut(before, all):])
	if len(stable) > 0 {
		end := stable[len(stable)-1].End
		for i := range rest {
			rest[i].Start = max(rest[i].Start, end)
			rest[i].End = max(rest[i].End, rest[i].Start)
		}
	}
	return rest
}

// Cut is how many of the words of a newer hypothesis stand for the stable ones,
// of which it may tell some otherwise, more or fewer, or write them otherwise:
// "2774" for "2 7 7 4". Of all places to part the words it takes the one that
// makes the letters before it likest to the stable ones', by the least number of
// edits (Levenshtein distance), and of places that are equally good the one
// nearest in time to the last stable word's end.
func Cut(stable, words []asr.Word) int {
	if len(stable) == 0 {
		return 0
	}
	before, _ := letters(stable)
	all, ends := letters(words)
	edits := make([]int, len(all)+1)
	for j := range edits {
		edits[j] = j
	}
	for i, s := range before {
		corner := edits[0]
		edits[0] = i + 1
		for j, l := range all {
			swap := corner
			if s != l {
				swap++
			}
			corner = edits[j+1]
			edits[j+1] = min(swap, edits[j]+1, corner+1)
		}
	}
	end := stable[len(stable)-1].End
	cut, least, gap := 0, edits[0], end
	for j, w := range words {
		n, g := edits[ends[j]], w.End-end
		if g < 0 {
			g = -g
		}
		if n < least || n == least && g < gap {
			cut, least, gap = j+1, n, g
		}
	}
	return cut
}

// letters are the words' normal letters; ends says how many of them there are up
// to each word's end.
func letters(words []asr.Word) (all []rune, ends []int) {
	for _, w := range words {
		all = append(all, []rune(Normal(w.Text))...)
		ends = append(ends, len(all))
	}
	return all, ends
}
