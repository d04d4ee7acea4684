package records

import (
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// longestWord bounds a word of the index, in bytes.
const longestWord = 64

// token is a word or a character of a text and where it stands.
type token struct {
	word       string
	start, end int
	// dense tokens are characters of a script that puts no spaces between words.
	dense bool
}

// dense says whether the script of r puts no spaces between words.
func dense(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}

// tokens splits a text into words, of letters and digits, and into the characters
// of dense scripts. Words are compared without case, accents, width, apostrophes
// and the English plural.
func tokens(text string) []token {
	var out []token
	start := -1
	flush := func(end int) {
		if start < 0 {
			return
		}
		if w := normal(text[start:end]); w != "" {
			out = append(out, token{word: w, start: start, end: end})
		}
		start = -1
	}
	for i, r := range text {
		end := i + utf8.RuneLen(r)
		switch {
		case r == utf8.RuneError:
			flush(i)
		case dense(r):
			flush(i)
			if unicode.IsMark(r) && len(out) > 0 && out[len(out)-1].dense && out[len(out)-1].end == i {
				last := &out[len(out)-1]
				last.word, last.end = last.word+string(r), end
				continue
			}
			out = append(out, token{word: norm.NFKC.String(string(r)), start: i, end: end, dense: true})
		case unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r):
			if start < 0 {
				start = i
			}
		case (r == '\'' || r == '’') && start >= 0:
		default:
			flush(i)
		}
	}
	flush(len(text))
	return out
}

// normal is a word as words are compared.
func normal(word string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(word) {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			b.WriteRune(unicode.ToLower(r))
		}
	}
	w := singular(norm.NFKC.String(b.String()))
	for len(w) > longestWord {
		_, size := utf8.DecodeLastRuneInString(w)
		w = w[:len(w)-size]
	}
	return w
}

// singular takes the English plural off (D. Harman, How effective is suffixing?,
// 1991: the S stemmer).
func singular(w string) string {
	if len(w) <= 3 || w[len(w)-1] != 's' {
		return w
	}
	switch {
	case strings.HasSuffix(w, "ies") && !strings.HasSuffix(w, "eies") && !strings.HasSuffix(w, "aies"):
		return w[:len(w)-3] + "y"
	case strings.HasSuffix(w, "es"):
		if strings.HasSuffix(w, "aes") || strings.HasSuffix(w, "ees") || strings.HasSuffix(w, "oes") {
			return w
		}
		return w[:len(w)-1]
	case strings.HasSuffix(w, "us") || strings.HasSuffix(w, "ss"):
		return w
	}
	return w[:len(w)-1]
}

// wordSet is the words of a text for the index: words, and of dense scripts the
// characters and the pairs of neighbours.
type wordSet map[string]struct{}

func (s wordSet) add(text string) {
	var last token
	for _, t := range tokens(text) {
		s[t.word] = struct{}{}
		if t.dense && last.dense && last.end == t.start {
			s[last.word+t.word] = struct{}{}
		}
		last = t
	}
}

func (s wordSet) sorted() []string { return slices.Sorted(maps.Keys(s)) }

// question is what somebody looks for.
type question struct {
	// index are the words that a call must have, runs what one line must have
	// together: a word, or a run of characters.
	index []string
	runs  [][]string
}

func ask(text string) question {
	var q question
	var last token
	for _, t := range tokens(text) {
		if t.dense && last.dense && last.end == t.start {
			i := len(q.runs) - 1
			q.runs[i] = append(q.runs[i], t.word)
		} else {
			q.runs = append(q.runs, []string{t.word})
		}
		last = t
	}
	set := wordSet{}
	for _, run := range q.runs {
		if len(run) == 1 {
			set[run[0]] = struct{}{}
		}
		for i := range len(run) - 1 {
			set[run[i]+run[i+1]] = struct{}{}
		}
	}
	q.index = set.sorted()
	return q
}

// find says which runs a line has, and marks where.
func (q question) find(line []token) (has []bool, marks []token) {
	has = make([]bool, len(q.runs))
	for i, run := range q.runs {
		for at := 0; at+len(run) <= len(line); at++ {
			if match(line[at:at+len(run)], run) {
				has[i] = true
				marks = append(marks, token{start: line[at].start, end: line[at+len(run)-1].end})
			}
		}
	}
	slices.SortFunc(marks, func(a, b token) int { return a.start - b.start })
	return has, marks
}

func match(line []token, run []string) bool {
	for i, t := range line {
		if t.word != run[i] || i > 0 && t.start != line[i-1].end {
			return false
		}
	}
	return true
}
