package text

import (
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
	// text is in lower case.
	text string
	kind unitKind
	// count is how many digits a numeral has, or how often a repeat repeats.
	count int
	// digits are those of a numeral or soft unit; among them may be signs.
	digits string
	// size tells tens, units and so on apart in spoken numbers.
	size size
	// upto is, in a run, how many digits there are up to here.
	upto int
	// stop is the punctuation behind the unit.
	stop stop
}

type stop uint8

const (
	noStop stop = iota
	comma
	sentence
)

type unitKind uint8

const (
	other unitKind = iota
	numeral
	repeat // double, triple
	soft   // heard for a digit among digits: to, for
	filler // may stand among digits
	masked // Mask itself
)

type size uint8

const (
	unsized size = iota
	ones
	teens
	tens
	hundred
	thousand
)

func appendUnits(us []unit, words []asr.Word) []unit {
	for i := range words {
		text := words[i].Text
		if len(text) > 2 && (text[0] == '[' || text[0] == '<') && (text[len(text)-1] == ']' || text[len(text)-1] == '>') {
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
			case strings.HasPrefix(text[at:], Mask):
				us = append(us, unit{word: i, from: at, to: at + len(Mask), text: Mask, kind: masked})
				at += len(Mask)
			default:
				if k := len(us) - 1; k >= 0 {
					us[k].stop = max(us[k].stop, stopOf(r))
				}
				at += n
			}
		}
	}
	return us
}

func stopOf(r rune) stop {
	switch r {
	case '.', '?', '!', ';', '…', '。', '？', '！', '；':
		return sentence
	case ',', ':', '，', '、', '：':
		return comma
	}
	return noStop
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
	if r < 0x80 {
		return r >= '0' && r <= '9' || r|0x20 >= 'a' && r|0x20 <= 'z' || r == '$' || r == '%'
	}
	return (unicode.IsLetter(r) || unicode.IsDigit(r)) && !unicode.Is(unicode.Han, r) || r == '£' || r == '€'
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

// appendLatin adds a word or number. Words that hyphens join are taken apart,
// and so are digits glued to letters or signs, unless they are an amount, a time
// or a date.
func appendLatin(us []unit, word, at int, text string) []unit {
	u := unit{word: word, from: at, to: at + len(text), text: strings.ToLower(text)}
	u.classify()
	if u.kind != other || isTime(u.text) || isDate(u.text) || strings.ContainsRune("$£€", first(text)) {
		return append(us, u)
	}
	glued := countDigits(text) >= secretDigits && !isDecimal(u.text)
	if !glued && !strings.ContainsRune(text, '-') {
		return append(us, u)
	}
	from := 0
	for i, r := range text {
		apart := r == '-' || glued && !unicode.IsLetter(r) && !unicode.IsDigit(r)
		turned := glued && i > from && unicode.IsDigit(r) != unicode.IsDigit(first(text[from:]))
		if !apart && !turned {
			continue
		}
		us = appendPart(us, word, at+from, text[from:i])
		from = i
		if apart {
			from += utf8.RuneLen(r)
		}
	}
	return appendPart(us, word, at+from, text[from:])
}

func appendPart(us []unit, word, at int, text string) []unit {
	if text == "" {
		return us
	}
	u := unit{word: word, from: at, to: at + len(text), text: strings.ToLower(text)}
	u.classify()
	return append(us, u)
}

func countDigits(s string) (n int) {
	for _, r := range s {
		if unicode.IsDigit(r) {
			n++
		}
	}
	return n
}

// isTime says whether a number in figures is one like 10:30.
func isTime(t string) bool {
	h, m, ok := strings.Cut(t, ":")
	return ok && len(h) <= 2 && len(m) >= 2 && countDigits(h) == len(h) && countDigits(m[:2]) == 2 && countDigits(m) == 2
}

// isDecimal says whether it is one like 4.5 or 1,250.00, and no number in groups
// of four.
func isDecimal(t string) bool {
	whole, part, ok := strings.Cut(t, ".")
	digits := countDigits(t)
	return ok && digits < panDigits && (len(whole) != 4 || len(part)%5 != 4) && digits+strings.Count(t, ",")+1 == len(t)
}

// isDate says whether it is one like 12/05/1984 or 2024-03-05.
func isDate(t string) bool {
	sep := "/"
	if strings.ContainsRune(t, '-') {
		sep = "-"
	} else if strings.ContainsRune(t, '.') {
		sep = "."
	}
	a, rest, ok := strings.Cut(t, sep)
	b, c, more := strings.Cut(rest, sep)
	if !ok || !more || countDigits(a) != len(a) || countDigits(b) != len(b) || countDigits(c) != len(c) {
		return false
	}
	if len(a) == 4 {
		return (a[:2] == "19" || a[:2] == "20") && dayMonth(b, c)
	}
	return (len(c) == 4 && (c[:2] == "19" || c[:2] == "20") || len(c) == 2) && dayMonth(a, b)
}

func dayMonth(a, b string) bool {
	x, y := small(a), small(b)
	return x > 0 && y > 0 && x <= 31 && y <= 31 && (x <= 12 || y <= 12)
}

func small(s string) (n int) {
	if len(s) == 0 || len(s) > 2 {
		return 0
	}
	for i := range len(s) {
		n = 10*n + int(s[i]&15)
	}
	return n
}

func (u *unit) classify() {
	t := u.text
	if unicode.IsDigit(first(t)) {
		u.written()
		return
	}
	if len(t) > 9 {
		return
	}
	if u.size, u.digits = spokenNumber(t); u.digits != "" {
		u.kind, u.count = numeral, len(u.digits)
		return
	}
	switch t {
	case "double":
		u.kind, u.count = repeat, 2
	case "triple", "treble":
		u.kind, u.count = repeat, 3
	case "quadruple":
		u.kind, u.count = repeat, 4
	case "to", "too":
		u.kind, u.digits = soft, "2"
	case "for", "fore":
		u.kind, u.digits = soft, "4"
	case "ate":
		u.kind, u.digits = soft, "8"
	case "tree":
		u.kind, u.digits = soft, "3"
	case "uh", "um", "uhm", "er", "erm", "ah", "hmm", "mhm", "and", "then", "dash", "hyphen", "space", "slash", "okay", "ok",
		"mm", "hm", "yes", "yeah", "yep", "right", "no", "sorry", "wait", "actually", "comma", "so", "uh-huh":
		u.kind = filler
	}
}

// spokenNumber is a number word's size and digits.
func spokenNumber(t string) (s size, digits string) {
	switch t {
	case "one", "won":
		return ones, "1"
	case "two":
		return ones, "2"
	case "three":
		return ones, "3"
	case "four":
		return ones, "4"
	case "five":
		return ones, "5"
	case "six":
		return ones, "6"
	case "seven":
		return ones, "7"
	case "eight":
		return ones, "8"
	case "nine", "niner":
		return ones, "9"
	case "zero", "oh", "o", "nought", "naught", "nil":
		return unsized, "0"
	case "ten":
		return teens, "10"
	case "eleven":
		return teens, "11"
	case "twelve":
		return teens, "12"
	case "thirteen":
		return teens, "13"
	case "fourteen":
		return teens, "14"
	case "fifteen":
		return teens, "15"
	case "sixteen":
		return teens, "16"
	case "seventeen":
		return teens, "17"
	case "eighteen":
		return teens, "18"
	case "nineteen":
		return teens, "19"
	case "twenty":
		return tens, "20"
	case "thirty":
		return tens, "30"
	case "forty", "fourty":
		return tens, "40"
	case "fifty":
		return tens, "50"
	case "sixty":
		return tens, "60"
	case "seventy":
		return tens, "70"
	case "eighty":
		return tens, "80"
	case "ninety":
		return tens, "90"
	case "hundred":
		return hundred, "00"
	case "thousand":
		return thousand, "000"
	}
	return unsized, ""
}

// written classifies a number in figures. Times, dates, decimals and amounts of
// money are no part of a card number.
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
	if isDecimal(u.text) || isDate(u.text) {
		return
	}
	u.kind, u.count, u.digits = numeral, n, u.text
}

func (u *unit) classifyHan(r rune) {
	i := strings.IndexRune("零〇一幺壹二两三四五六七八九", r)
	switch {
	case i >= 0:
		u.kind, u.count, u.digits = numeral, 1, "00111223456789"[i/3:i/3+1]
	case strings.ContainsRune("嗯呃杠", r):
		u.kind = filler
	}
}

func isCurrency(t string) bool {
	switch t {
	case "dollar", "dollars", "pound", "pounds", "euro", "euros", "cent", "cents", "pence", "percent", "bucks", "quid", "%",
		"minutes", "minute", "hours", "days", "weeks", "months", "years", "times", "元", "块", "天", "次", "年":
		return true
	}
	return false
}
