package written

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"sidetone/asr"
)

// token is a word, a number in figures, a letter or a Chinese character.
type token struct {
	word     int
	from, to int // bytes of the word's text
	// text is in lower case, raw as it was recognised.
	text, raw string
	class     class
	// value is a number word's.
	value int64
	month int
	// stop is the punctuation behind the token, 0 for none.
	stop rune
}

type class uint8

const (
	plain class = iota
	figures
	han
	zero
	ones
	teens
	tens
	hundred
	scale
	ordOnes
	ordTeens // tenth to nineteenth
	ordTens  // twentieth, thirtieth
)

func (c class) cardinal() bool { return c >= zero && c <= scale }

func appendTokens(ts []token, words []asr.Word) []token {
	for i := range words {
		text := words[i].Text
		for at := 0; at < len(text); {
			r, n := utf8.DecodeRuneInString(text[at:])
			if unicode.Is(unicode.Han, r) {
				ts = append(ts, token{word: i, from: at, to: at + n, text: text[at : at+n], raw: text[at : at+n], class: han})
				at += n
				continue
			}
			end := at
			for end < len(text) {
				if r, n = utf8.DecodeRuneInString(text[end:]); unicode.Is(unicode.Han, r) {
					break
				}
				end += n
			}
			ts = appendLatin(ts, i, at, text[at:end])
			at = end
		}
	}
	return ts
}

// appendLatin adds the tokens of a piece without Chinese.
func appendLatin(ts []token, word, at int, s string) []token {
	isEdge := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("$£€¥%+•", r)
	}
	core := strings.TrimLeftFunc(s, isEdge)
	lead := s[:len(s)-len(core)]
	if strings.ContainsFunc(lead, isStop) && len(ts) > 0 && ts[len(ts)-1].stop == 0 {
		ts[len(ts)-1].stop = ','
	}
	if core == "" {
		return ts
	}
	at += len(lead)
	trimmed := strings.TrimRightFunc(core, isEdge)
	stop := rune(0)
	for _, r := range core[len(trimmed):] {
		if isStop(r) && (stop == 0 || stop == ',') {
			stop = r
		}
	}
	if trimmed == "a.m" || trimmed == "p.m" {
		// Its full stop is its own.
		trimmed = core[:len(trimmed)+min(1, len(core)-len(trimmed))]
		stop = 0
	}
	n := len(ts)
	ts = appendParts(ts, word, at, trimmed)
	if len(ts) > n {
		ts[len(ts)-1].stop = stop
	}
	return ts
}

func isStop(r rune) bool { return strings.ContainsRune(".,?!;:…，。？！；：、", r) }

// appendParts takes hyphens apart where they join number words or letters.
func appendParts(ts []token, word, at int, s string) []token {
	t := token{word: word, from: at, to: at + len(s), raw: s, text: strings.ToLower(s)}
	t.classify()
	if t.class != plain || !strings.Contains(s, "-") || strings.Contains(s, "--") {
		return append(ts, t)
	}
	n := len(ts)
	numbers, letters := 0, 0
	from := 0
	for part := range strings.SplitSeq(s, "-") {
		p := token{word: word, from: at + from, to: at + from + len(part), raw: part, text: strings.ToLower(part)}
		p.classify()
		if p.class > han {
			numbers++
		}
		if len(part) == 1 {
			letters++
		}
		ts = append(ts, p)
		from += len(part) + 1
	}
	if parts := len(ts) - n; numbers != parts && letters != parts {
		return append(ts[:n], t)
	}
	return ts
}

func (t *token) classify() {
	first := t.text[0]
	if first >= '0' && first <= '9' || strings.ContainsAny(t.text[:1], "$+") || strings.HasPrefix(t.text, "£") ||
		strings.HasPrefix(t.text, "€") || strings.HasPrefix(t.text, "¥") {
		if strings.ContainsAny(t.text, "0123456789") {
			t.class = figures
		}
		return
	}
	if len(t.text) > 11 {
		return
	}
	t.class, t.value = number(t.text)
	if t.class == plain {
		t.month = month(t.text)
	}
}

func number(w string) (class, int64) {
	switch w {
	case "zero", "nought", "naught", "oh":
		return zero, 0
	case "one":
		return ones, 1
	case "two":
		return ones, 2
	case "three":
		return ones, 3
	case "four":
		return ones, 4
	case "five":
		return ones, 5
	case "six":
		return ones, 6
	case "seven":
		return ones, 7
	case "eight":
		return ones, 8
	case "nine":
		return ones, 9
	case "ten":
		return teens, 10
	case "eleven":
		return teens, 11
	case "twelve":
		return teens, 12
	case "thirteen":
		return teens, 13
	case "fourteen":
		return teens, 14
	case "fifteen":
		return teens, 15
	case "sixteen":
		return teens, 16
	case "seventeen":
		return teens, 17
	case "eighteen":
		return teens, 18
	case "nineteen":
		return teens, 19
	case "twenty":
		return tens, 20
	case "thirty":
		return tens, 30
	case "forty", "fourty":
		return tens, 40
	case "fifty":
		return tens, 50
	case "sixty":
		return tens, 60
	case "seventy":
		return tens, 70
	case "eighty":
		return tens, 80
	case "ninety":
		return tens, 90
	case "hundred":
		return hundred, 100
	case "thousand":
		return scale, 1e3
	case "million":
		return scale, 1e6
	case "billion":
		return scale, 1e9
	}
	return ordinal(w)
}

func ordinal(w string) (class, int64) {
	switch w {
	case "first":
		return ordOnes, 1
	case "second":
		return ordOnes, 2
	case "third":
		return ordOnes, 3
	case "fourth":
		return ordOnes, 4
	case "fifth":
		return ordOnes, 5
	case "sixth":
		return ordOnes, 6
	case "seventh":
		return ordOnes, 7
	case "eighth":
		return ordOnes, 8
	case "ninth":
		return ordOnes, 9
	case "tenth":
		return ordTeens, 10
	case "eleventh":
		return ordTeens, 11
	case "twelfth":
		return ordTeens, 12
	case "thirteenth":
		return ordTeens, 13
	case "fourteenth":
		return ordTeens, 14
	case "fifteenth":
		return ordTeens, 15
	case "sixteenth":
		return ordTeens, 16
	case "seventeenth":
		return ordTeens, 17
	case "eighteenth":
		return ordTeens, 18
	case "nineteenth":
		return ordTeens, 19
	case "twentieth":
		return ordTens, 20
	case "thirtieth":
		return ordTens, 30
	}
	return plain, 0
}

const months = "January  February March    April    May      June     July     August   SeptemberOctober  November December "

func month(w string) int {
	switch w {
	case "january", "jan":
		return 1
	case "february", "feb":
		return 2
	case "march", "mar":
		return 3
	case "april", "apr":
		return 4
	case "may":
		return 5
	case "june", "jun":
		return 6
	case "july", "jul":
		return 7
	case "august", "aug":
		return 8
	case "september", "sept", "sep":
		return 9
	case "october", "oct":
		return 10
	case "november", "nov":
		return 11
	case "december", "dec":
		return 12
	}
	return 0
}

// monthText is how a token's month is written: in full, unless it was
// abbreviated and not in lower case.
func (t *token) monthText() string {
	if name := monthName(t.month); t.raw[0] >= 'a' || len(t.raw) == len(name) {
		return name
	}
	return t.raw
}

// monthName is the English name of a month, 1 to 12.
func monthName(m int) string { return strings.TrimRight(months[9*(m-1):9*m], " ") }

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// atoi reads digits; it is -1 where there are others or too many.
func atoi(s string) int64 {
	if !allDigits(s) || len(s) > 15 {
		return -1
	}
	n := int64(0)
	for i := range len(s) {
		n = 10*n + int64(s[i]-'0')
	}
	return n
}
