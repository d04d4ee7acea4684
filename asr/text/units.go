package text

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"sidetone/asr"
)

// unit is a piece of a word that is judged by itself: a Latin word or number, or
// one Chinese character.
type unit struct {
	word     int
	from, to int // bytes of the word's text
	text     string
	kind     unitKind
	// count is how many digits a numeral has, or how often a repeat repeats.
	count int
	// tens is twenty to ninety, unit is one to nine.
	tens, unit bool
}

type unitKind uint8

const (
	other unitKind = iota
	numeral
	repeat // double, triple
	soft   // heard for a digit among digits: to, for
	filler // may stand among digits
)

func appendUnits(us []unit, words []asr.Word) []unit {
	for i := range words {
		text := words[i].Text
		if len(text) > 2 && (text[0] == '[' || text[0] == '<') {
			continue
		}
		for at := 0; at < len(text); {
			r, n := utf8.DecodeRuneInString(text[at:])
			switch {
			case unicode.Is(unicode.Han, r):
				u := unit{word: i, from: at, to: at + n, text: text[at : at+n]}
				u.classifyHan(r)
				us = append(us, u)
				at += n
			case inWord(r):
				end := at + n
				for end < len(text) {
					next, size := utf8.DecodeRuneInString(text[end:])
					if !inWord(next) && !joins(text[end:], size) {
						break
					}
					end += size
				}
				us = appendLatin(us, i, at, text[at:end])
				if k := len(us) - 1; k > 0 && us[k].text == "one" && standsBefore(us[k-1].text) {
					us[k] = unit{word: us[k].word, from: us[k].from, to: us[k].to, text: "one"}
				}
				at = end
			default:
				at += n
			}
		}
	}
	return us
}

// standsBefore says whether "one" after the word is somebody or something, as in
// "a new one", and no digit.
func standsBefore(word string) bool {
	switch word {
	case "new", "another", "old", "other", "which", "that", "this", "every", "any", "no", "replacement", "different", "same":
		return true
	}
	return false
}

func inWord(r rune) bool {
	return (unicode.IsLetter(r) || unicode.IsDigit(r)) && !unicode.Is(unicode.Han, r) || strings.ContainsRune("$£€%", r)
}

// joins says whether the sign at the start of s stands inside a word.
func joins(s string, n int) bool {
	if !strings.ContainsRune("'’-.,:/", first(s)) || n >= len(s) {
		return false
	}
	r, _ := utf8.DecodeRuneInString(s[n:])
	return inWord(r)
}

func first(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}

// appendLatin adds a word or number; words that hyphens join are taken apart.
func appendLatin(us []unit, word, at int, text string) []unit {
	u := unit{word: word, from: at, to: at + len(text), text: strings.ToLower(text)}
	u.classify()
	if u.kind == other && strings.ContainsAny(text, "-") {
		for part := range strings.SplitSeq(text, "-") {
			p := unit{word: word, from: at, to: at + len(part), text: strings.ToLower(part)}
			p.classify()
			us = append(us, p)
			at += len(part) + 1
		}
		return us
	}
	return append(us, u)
}

func (u *unit) classify() {
	t := u.text
	if r := first(t); unicode.IsDigit(r) || strings.ContainsRune("$£€", r) {
		u.written()
		return
	}
	switch t {
	case "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "won", "niner":
		u.kind, u.count, u.unit = numeral, 1, true
	case "zero", "oh", "o", "nought", "naught", "nil":
		u.kind, u.count = numeral, 1
	case "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen":
		u.kind, u.count = numeral, 2
	case "twenty", "thirty", "forty", "fourty", "fifty", "sixty", "seventy", "eighty", "ninety":
		u.kind, u.count, u.tens = numeral, 2, true
	case "hundred":
		u.kind, u.count = numeral, 2
	case "thousand":
		u.kind, u.count = numeral, 3
	case "double":
		u.kind, u.count = repeat, 2
	case "triple", "treble":
		u.kind, u.count = repeat, 3
	case "to", "too", "for", "fore", "ate", "tree":
		u.kind = soft
	case "uh", "um", "uhm", "er", "erm", "ah", "hmm", "mhm", "and", "then", "dash", "hyphen", "space", "slash", "okay", "ok":
		u.kind = filler
	}
}

// written classifies a number in figures. Times, decimals and amounts of money
// are no part of a card number.
func (u *unit) written() {
	n := 0
	for _, r := range u.text {
		switch {
		case unicode.IsDigit(r):
			n++
		case !strings.ContainsRune("-.,/", r):
			return
		}
	}
	if strings.ContainsRune(u.text, '.') && n < panDigits {
		return
	}
	u.kind, u.count = numeral, n
}

func (u *unit) classifyHan(r rune) {
	switch {
	case strings.ContainsRune("零〇一二三四五六七八九幺两壹", r):
		u.kind, u.count = numeral, 1
	case strings.ContainsRune("嗯呃杠", r):
		u.kind = filler
	}
}

func isCurrency(t string) bool {
	return slices.Contains([]string{"dollar", "dollars", "pound", "pounds", "euro", "euros", "cent", "cents", "pence", "percent", "bucks", "元", "块"}, t)
}
