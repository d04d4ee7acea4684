// Package written turns what is spoken into what is written: numbers, amounts
// of money, dates, times, telephone numbers, addresses and spelled names, in
// English and Chinese.
//
// Words are never changed: a Span says which of them were spoken, what is
// written for them and what it means. Where a word may as well be just a word
// ("one of them", "second thoughts", "I may") it stays one. Numbers below ten
// that stand alone stay words, as they do in print.
//
// The package is longer than most: it is a grammar for each kind of thing, in
// two languages, and they share their reading of numbers.
package written

import (
	"slices"
	"strings"

	"sidetone/asr"
)

// Kind is what a span is.
type Kind uint8

// The kinds of Span, with the form of their Value.
const (
	// Number is a decimal number: "1230", "0.5".
	Number Kind = iota + 1
	// Ordinal is a place in a row: "23".
	Ordinal
	// Money is a currency of ISO 4217 and an amount in its smallest unit:
	// "USD 2550".
	Money
	// Percent is a decimal number: "0.5".
	Percent
	// Date is of ISO 8601, as far as it is known: "2024-03-23", "2024-03",
	// "1984", and "--03-23" where the year was not said.
	Date
	// Time is hh:mm. Where neither am or pm nor a part of the day was said the
	// hours are as spoken.
	Time
	// Phone is the digits, after a + if one was said.
	Phone
	// Card is the digits of a payment card. Redaction masks them first, so that
	// a span is found only where it was left out.
	Card
	// Digits are those of any other number that was read out.
	Digits
	// Email is the address in lower case.
	Email
	// Spelled is the letters and digits, in capitals.
	Spelled
	// Postcode is a British postcode, with its space.
	Postcode
)

// String is the kind's name in rules and messages.
func (k Kind) String() string {
	names := [...]string{"", "number", "ordinal", "money", "percent", "date", "time", "phone", "card", "digits", "email", "spelled", "postcode"}
	if int(k) < len(names) {
		return names[k]
	}
	return ""
}

// Span is a row of words that has a written form.
type Span struct {
	Kind Kind
	// Text is the written form, Value what it means, in the Kind's form.
	Text, Value string
	// First and Last are the words; From is the byte of the first where the
	// span begins, To that of the last where it ends. Punctuation stays outside.
	First, Last int
	From, To    int
	// Start and End are samples, those of the words.
	Start, End int64
}

// Find returns the spans of a row of words, in their order; they do not
// overlap. The language is an ISO 639-1 code: en and zh are known; where it is
// empty both are looked for. In others nothing is found.
func Find(words []asr.Word, language string) []Span {
	p := parser{english: language == "" || language == "en", chinese: language == "" || language == "zh"}
	if !p.english && !p.chinese {
		return nil
	}
	p.tokens = appendTokens(make([]token, 0, len(words)+len(words)/2), words)
	p.dot = slices.ContainsFunc(p.tokens, func(t token) bool { return t.text == "dot" })
	var spans []Span
	for i := 0; i < len(p.tokens); {
		f := p.at(i)
		if f.end <= i {
			i++
			continue
		}
		first, last := &p.tokens[i], &p.tokens[f.end-1]
		if spans == nil {
			spans = make([]Span, 0, 8)
		}
		spans = append(spans, Span{
			Kind: f.kind, Text: f.text, Value: f.value,
			First: first.word, Last: last.word, From: first.from, To: last.to,
			Start: words[first.word].Start, End: words[last.word].End,
		})
		i, p.done = f.end, f.end
	}
	return spans
}

// Texts is what to show for each word: the words of a span share the first
// one's place, the others are empty. The spans are Find's for the words.
func Texts(words []asr.Word, spans []Span) []string {
	texts := make([]string, len(words))
	for i := 0; i < len(words); i++ {
		if len(spans) == 0 || spans[0].First != i {
			texts[i] = words[i].Text
			continue
		}
		var b strings.Builder
		place, from := i, 0
		for len(spans) > 0 && spans[0].First == i {
			s := &spans[0]
			b.WriteString(words[i].Text[from:s.From])
			b.WriteString(s.Text)
			i, from = s.Last, s.To
			spans = spans[1:]
		}
		b.WriteString(words[i].Text[from:])
		texts[place] = b.String()
	}
	return texts
}

// Render joins the words with single spaces, the spans in their written forms.
func Render(words []asr.Word, spans []Span) string {
	var b strings.Builder
	for i, text := range Texts(words, spans) {
		if text == "" && words[i].Text != "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(text)
	}
	return b.String()
}

// parser finds spans among the tokens of an utterance.
type parser struct {
	tokens           []token
	english, chinese bool
	// dot says that an address may have been spoken.
	dot bool
	// done is the token behind the last span.
	done int
}

// found is a written form for the tokens up to end; none ends at 0.
type found struct {
	end         int
	kind        Kind
	text, value string
}

// at is the longest written form that begins at a token.
func (p *parser) at(i int) found {
	t := &p.tokens[i]
	var best found
	if p.chinese && (t.class == han || t.class == figures && p.joined(i+1) && p.tokens[i+1].class == han) {
		best = p.han(i)
	}
	if t.class == han || !p.english && t.class != figures {
		return best
	}
	if f := p.email(i); f.end > 0 {
		return f
	}
	if t.class == plain && !p.mayBegin(t) {
		return best
	}
	for _, rule := range [...]func(*parser, int) found{
		(*parser).date, (*parser).time, (*parser).money, (*parser).percent, (*parser).digits, (*parser).spelled,
		(*parser).year, (*parser).ordinal, (*parser).number,
	} {
		if f := rule(p, i); f.end > best.end {
			best = f
		}
	}
	return best
}

// mayBegin says whether a word that is no number may begin a span.
func (p *parser) mayBegin(t *token) bool {
	if len(t.text) == 1 || t.month > 0 {
		return true
	}
	switch t.text {
	case "half", "quarter", "double", "triple", "treble", "point":
		return true
	}
	return false
}

// joined says whether no punctuation parts two tokens that follow each other.
func (p *parser) joined(i int) bool {
	return i > 0 && i < len(p.tokens) && p.tokens[i-1].stop == 0
}

// is says whether a token follows the one before and is one of the words.
func (p *parser) is(i int, words ...string) bool {
	if !p.joined(i) {
		return false
	}
	for _, w := range words {
		if p.tokens[i].text == w {
			return true
		}
	}
	return false
}

// before says whether one of the words stands right before a token.
func (p *parser) before(i int, words ...string) bool {
	if !p.joined(i) {
		return false
	}
	for _, w := range words {
		if p.tokens[i-1].text == w {
			return true
		}
	}
	return false
}

// near says whether one of the words stands among the few tokens before.
func (p *parser) near(i int, words ...string) bool {
	for j := max(0, i-6); j < i; j++ {
		for _, w := range words {
			if p.tokens[j].text == w {
				return true
			}
		}
	}
	return false
}
