// Package words finds the words of a text, for an index and in a line, whatever its
// language: words of letters and digits where spaces stand between them, and
// characters with their neighbours where none do (Chinese, Japanese, Thai).
package words

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

// token is a word or a character of a text and where it stands, in bytes.
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

// Set is the words of texts for an index: words, and of dense scripts the
// characters and the pairs of neighbours.
type Set map[string]struct{}

// Add adds those of a text.
func (s Set) Add(text string) {
	var last token
	for _, t := range tokens(text) {
		s[t.word] = struct{}{}
		if t.dense && last.dense && last.end == t.start {
			s[last.word+t.word] = struct{}{}
		}
		last = t
	}
}

// Sorted lists them.
func (s Set) Sorted() []string { return slices.Sorted(maps.Keys(s)) }

// Question is what somebody looks for. The zero Question is nothing.
type Question struct {
	index []string
	runs  [][]string
}

// Ask makes a question of a text. Find takes the time of the question's length
// times the line's: bound what others ask.
func Ask(text string) Question {
	var q Question
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
	set := Set{}
	for _, run := range q.runs {
		if len(run) == 1 {
			set[run[0]] = struct{}{}
		}
		for i := range len(run) - 1 {
			set[run[i]+run[i+1]] = struct{}{}
		}
	}
	q.index = set.Sorted()
	return q
}

// Index are the words of which the Set of a text that answers the question has
// each; none is a question without words.
func (q Question) Index() []string { return q.index }

// Runs is how many things are looked for: words, and runs of characters that
// follow each other.
func (q Question) Runs() int { return len(q.runs) }

// Piece is a part of a line; Hit says that it was looked for.
type Piece struct {
	Text string `json:"text"`
	Hit  bool   `json:"hit,omitempty"`
}

// Find says which of the question's runs a line has, and gives the line in pieces,
// cut to so many bytes before and after its first hit; there are none where nothing
// was found.
func (q Question) Find(line string, around int) (has []bool, pieces []Piece) {
	words := tokens(line)
	has = make([]bool, len(q.runs))
	var hits []token
	for i, run := range q.runs {
		for at := 0; at+len(run) <= len(words); at++ {
			if match(words[at:at+len(run)], run) {
				has[i] = true
				hits = append(hits, token{start: words[at].start, end: words[at+len(run)-1].end})
			}
		}
	}
	if len(hits) == 0 {
		return has, nil
	}
	slices.SortFunc(hits, func(a, b token) int { return a.start - b.start })
	return has, cut(line, hits, around)
}

func match(line []token, run []string) bool {
	for i, t := range line {
		if t.word != run[i] || i > 0 && t.start != line[i-1].end {
			return false
		}
	}
	return true
}

// cut cuts a line around its first hit and marks the hits.
func cut(line string, hits []token, around int) []Piece {
	from, to := max(0, hits[0].start-around), min(len(line), hits[0].end+around)
	for from > 0 && !utf8.RuneStart(line[from]) {
		from--
	}
	for to < len(line) && !utf8.RuneStart(line[to]) {
		to++
	}
	var out []Piece
	add := func(s string, hit bool) {
		if s != "" {
			out = append(out, Piece{s, hit})
		}
	}
	if from > 0 {
		add("…", false)
	}
	at := from
	for _, h := range hits {
		if h.start < at || h.end > to {
			continue
		}
		add(line[at:h.start], false)
		add(line[h.start:h.end], true)
		at = h.end
	}
	add(line[at:to], false)
	if to < len(line) {
		add("…", false)
	}
	return out
}
