package wer

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Normaliser brings English text into the form in which it is scored. It
// follows the English normaliser that Whisper's authors describe (Radford et
// al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022,
// appendix C), and then does three things more: digits stand one by one, so
// that "one hundred" and "100" and "1 0 0" differ in digits only; what has
// neither letter nor digit is dropped; and a few compounds are joined.
//
// It is immutable and safe for concurrent use.
type Normaliser struct {
	spelling map[string]string
	numbers  map[string]numeral

	brackets, parens, fillers, spacedApostrophe *regexp.Regexp
	thousands, fullStop, looseSign, loosePerc   *regexp.Regexp
	half, suffix, centsAfter, centsOnly         *regexp.Regexp
}

// New builds the tables.
func New() *Normaliser {
	re := regexp.MustCompile
	return &Normaliser{
		spelling:         spellings(),
		numbers:          numerals(),
		brackets:         re(`[<\[][^>\]]*[>\]]`),
		parens:           re(`\([^)]+?\)`),
		fillers:          re(`\b(?:hmm|mm|mhm|mmm|uh|um)\b`),
		spacedApostrophe: re(`[\s\p{Z}]+'`),
		thousands:        re(`([0-9]),([0-9])`),
		fullStop:         re(`\.([^0-9]|$)`),
		looseSign:        re(`[.$¢€£]([^0-9])`),
		loosePerc:        re(`([^0-9])%`),
		half:             re(`\band\s+a\s+half\b`),
		suffix:           re(`([0-9])\s+(st|nd|rd|th|s)\b`),
		centsAfter:       re(`([€£$])([0-9]+) (?:and )?¢([0-9]{1,2})\b`),
		centsOnly:        re(`[€£$]0.([0-9]{1,2})\b`),
	}
}

// Words is the normal form of a text, cut into words.
func (n *Normaliser) Words(text string) []string {
	s := n.brackets.ReplaceAllString(strings.ToLower(text), "")
	s = n.parens.ReplaceAllString(s, "")
	s = n.fillers.ReplaceAllString(s, "")
	s = n.spacedApostrophe.ReplaceAllString(s, "'")
	s = expand(s)
	s = n.thousands.ReplaceAllString(s, "${1}${2}")
	s = n.fullStop.ReplaceAllString(s, " ${1}")
	s = plain(s)
	s = n.writeNumbers(s)
	words := strings.Fields(s)
	for i, w := range words {
		if us, ok := n.spelling[w]; ok {
			words[i] = us
		}
	}
	s = n.looseSign.ReplaceAllString(strings.Join(words, " "), " ${1}")
	s = n.loosePerc.ReplaceAllString(s, "${1} ")
	return scored(strings.Fields(replaceWord(s, "one", "1")))
}

// Text is the normal form of a text, its words joined by single spaces.
func (n *Normaliser) Text(text string) string { return strings.Join(n.Words(text), " ") }

// Score counts the errors of hyp against ref, both as they were written.
func (n *Normaliser) Score(ref, hyp string) Counts { return Align(n.Words(ref), n.Words(hyp)) }

// scored cuts numbers into digits, drops words without letter or digit and
// joins compounds.
func scored(words []string) []string {
	var out []string
	for _, w := range words {
		from := 0
		for i, r := range w {
			if r < '0' || r > '9' {
				continue
			}
			out = appendWord(out, w[from:i])
			out = append(out, w[i:i+1])
			from = i + 1
		}
		out = appendWord(out, w[from:])
	}
	return out
}

// appendWord appends w, alone or as the second half of a compound.
func appendWord(out []string, w string) []string {
	if !strings.ContainsFunc(w, func(r rune) bool { return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' }) {
		return out
	}
	if len(out) > 0 {
		switch pair := out[len(out)-1] + " " + w; pair {
		case "mail box", "re record", "black list", "file name", "there under", "can not":
			out[len(out)-1] += w
			return out
		}
	}
	return append(out, w)
}

// plain takes diacritics off letters and puts a space for every symbol, save
// those that belong to numbers.
func plain(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range norm.NFKD.String(s) {
		switch {
		case strings.ContainsRune(".%$¢€£", r):
			b.WriteRune(r)
		case r < unicode.MaxASCII && !unicode.IsPunct(r) && !unicode.IsSymbol(r):
			b.WriteRune(r)
		case unicode.Is(unicode.Mn, r):
		case unicode.In(r, unicode.M, unicode.S, unicode.P):
			b.WriteByte(' ')
		default:
			if latin := ligature(r); latin != "" {
				b.WriteString(latin)
			} else {
				b.WriteRune(r)
			}
		}
	}
	return b.String()
}

// ligature spells letters that Unicode does not decompose; the text is in
// lower case.
func ligature(r rune) string {
	switch r {
	case 'œ':
		return "oe"
	case 'ø':
		return "o"
	case 'æ':
		return "ae"
	case 'ß':
		return "ss"
	case 'đ', 'ð':
		return "d"
	case 'þ':
		return "th"
	case 'ł':
		return "l"
	}
	return ""
}

// expand writes out contractions, titles and endings, in this order: the whole
// words first, then the endings that are clear from what follows, then the
// rest.
func expand(s string) string {
	for _, p := range [...][2]string{
		{"won't", "will not"}, {"can't", "can not"}, {"let's", "let us"}, {"ain't", "aint"},
		{"y'all", "you all"}, {"wanna", "want to"}, {"kinda", "kind of"}, {"sorta", "sort of"},
		{"dunno", "do not know"}, {"gotta", "got to"}, {"gonna", "going to"},
		{"i'ma", "i am going to"}, {"imma", "i am going to"},
		{"woulda", "would have"}, {"coulda", "could have"}, {"shoulda", "should have"},
		{"cause", "because"}, {"ma'am", "madam"},

		{"mr", "mister "}, {"mrs", "missus "}, {"st", "saint "}, {"dr", "doctor "},
		{"prof", "professor "}, {"capt", "captain "}, {"gov", "governor "}, {"ald", "alderman "},
		{"gen", "general "}, {"sen", "senator "}, {"rep", "representative "}, {"pres", "president "},
		{"rev", "reverend "}, {"hon", "honorable "}, {"asst", "assistant "}, {"assoc", "associate "},
		{"lt", "lieutenant "}, {"col", "colonel "}, {"jr", "junior "}, {"sr", "senior "}, {"esq", "esquire "},

		{"'d been", " had been"}, {"'s been", " has been"}, {"'d gone", " had gone"}, {"'s gone", " has gone"},
		{"'d done", " had done"}, {"'s got", " has got"},

		{"n't", " not"}, {"'re", " are"}, {"'s", " is"}, {"'d", " would"}, {"'ll", " will"},
		{"'t", " not"}, {"'ve", " have"}, {"'m", " am"},
	} {
		s = replaceWord(s, p[0], p[1])
	}
	return s
}

// replaceWord replaces old where it ends at the end of a word and, unless it
// is an ending itself, begins at a word's begin.
func replaceWord(s, old, with string) string {
	ending := old[0] == '\'' || old == "n't"
	var b strings.Builder
	for from := 0; ; {
		i := strings.Index(s[from:], old)
		if i < 0 {
			if from == 0 {
				return s
			}
			b.WriteString(s[from:])
			return b.String()
		}
		i += from
		end := i + len(old)
		if !startsWithLetter(s[end:]) && (ending || !endsWithLetter(s[:i])) {
			b.WriteString(s[from:i])
			b.WriteString(with)
			from = end
			continue
		}
		b.WriteString(s[from : i+1])
		from = i + 1
	}
}

func startsWithLetter(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return wordRune(r)
}

func endsWithLetter(s string) bool {
	r, _ := utf8.DecodeLastRuneInString(s)
	return wordRune(r)
}

func wordRune(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' }
