package written

import (
	"strings"
)

// row is a row of digits that was read out.
type row struct {
	end int
	// digits are all of them, text the groups as they were written, if all were
	// in figures.
	digits, text string
	// single says that none was said in pairs, groups counts the tokens.
	single bool
	groups int
	// mixed says that some groups were in figures and some in words.
	mixed bool
	// plus says that a + stands before them, han that they are Chinese.
	plus, han bool
}

// digits is a row of digits: a telephone number, a card or anything else.
func (p *parser) digits(i int) found {
	t := &p.tokens[i]
	if t.class != figures && t.class != zero && t.class != ones && t.class != teens && t.class != tens && t.text != "double" &&
		t.text != "triple" && t.text != "treble" {
		return found{}
	}
	if t.class != figures && t.class != plain && (i+1 == len(p.tokens) || !p.mayFollow(i+1)) {
		return found{}
	}
	if r := p.row(i, len(p.tokens), true); !r.single {
		if f := p.judge(i, &r, false); f.end > 0 {
			return f
		}
	}
	r := p.row(i, len(p.tokens), false)
	if r.end > i+1 && p.isUnit(r.end) {
		// "Double one five o'clock": the last of them counts something.
		r = p.row(i, r.end-1, false)
		return p.judge(i, &r, true)
	}
	return p.judge(i, &r, false)
}

// mayFollow says whether a token may go on with a row of digits.
func (p *parser) mayFollow(i int) bool {
	t := &p.tokens[i]
	return t.class == figures || t.class >= zero && t.class <= tens || t.text == "double" || t.text == "triple" || t.text == "treble" || t.text == "o"
}

// judge says whether a row of digits is one, and which. A row that was cut goes
// on with a number of something else.
func (p *parser) judge(i int, r *row, cut bool) found {
	t := &p.tokens[i]
	n := len(r.digits)
	figuresOnly := r.text != ""
	announced := p.near(i, "number", "phone", "mobile", "cell", "telephone", "call", "card", "account", "code", "fax", "digits", "reach")
	switch {
	case r.end == 0, !cut && p.isUnit(r.end):
		return found{}
	case r.mixed && (n < 7 || !announced):
		return found{}
	case figuresOnly && r.groups == 1:
		if allDigits(r.text) && n < 7 {
			return found{}
		}
	case figuresOnly && n < 7 && !(r.groups >= 3 && r.groups == n):
		return found{}
	case !figuresOnly && r.single && n < 3 && t.class != plain:
		return found{}
	case !figuresOnly && !r.single && (n < 7 || !announced && n < 8):
		return found{}
	}
	if figuresOnly && r.groups > 1 && r.groups == n {
		// Digit by digit is how it was said, not how it is written.
		r.text = ""
	}
	return p.named(i, r)
}

// named tells what a row of digits is and writes it accordingly.
func (p *parser) named(i int, r *row) found {
	d := r.digits
	n := len(d)
	phone := p.near(i, "phone", "mobile", "cell", "telephone", "call", "fax", "reach", "text", "contact")
	switch {
	case r.plus:
		return found{r.end, Phone, r.text, "+" + d}
	case n >= 12 && n <= 19 && isIssued(d[0]) && (luhn(d) && n >= 13 || p.near(i, "card")):
		return found{r.end, Card, cardText(d), d}
	case n == 6 && p.near(i, "sort"):
		return found{r.end, Digits, d[:2] + "-" + d[2:4] + "-" + d[4:], d}
	case n == 10 && d[0] >= '2' && d[3] >= '2' && !p.near(i, "account", "order", "reference", "invoice"):
		return found{r.end, Phone, d[:3] + "-" + d[3:6] + "-" + d[6:], d}
	case n == 11 && d[0] == '1' && d[1] >= '2' && d[4] >= '2' && !r.han && !p.near(i, "account", "order", "reference", "invoice"):
		return found{r.end, Phone, "1-" + d[1:4] + "-" + d[4:7] + "-" + d[7:], d}
	case n == 11 && d[0] == '1' && d[1] >= '3':
		return found{r.end, Phone, d[:3] + " " + d[3:7] + " " + d[7:], d}
	case n == 11 && d[:2] == "07":
		return found{r.end, Phone, d[:5] + " " + d[5:], d}
	case n == 11 && d[:2] == "02":
		return found{r.end, Phone, d[:3] + " " + d[3:7] + " " + d[7:], d}
	case n == 11 && d[:2] == "01":
		return found{r.end, Phone, d[:5] + " " + d[5:], d}
	case n == 7 && phone && d[0] >= '2':
		return found{r.end, Phone, d[:3] + "-" + d[3:], d}
	case n >= 7 && n <= 15 && phone:
		return found{r.end, Phone, r.written(), d}
	}
	return found{r.end, Digits, r.written(), d}
}

func (r *row) written() string {
	if r.text != "" {
		return r.text
	}
	return r.digits
}

// row reads digits: words, figures, "double five", and pairs such as "forty
// five" if it should.
func (p *parser) row(i, limit int, pairs bool) row {
	r := row{single: true}
	var digits [32]byte
	b := digits[:0]
	var text strings.Builder
	// groups says that there are more digits than one in some figures.
	spoken, groups := false, false
	for j := i; j < limit; j++ {
		t := &p.tokens[j]
		if j > i && !p.joined(j) && p.tokens[j-1].stop != ',' && !(p.tokens[j-1].stop == '.' && t.class == figures && p.tokens[j-1].class == figures && j+1 < len(p.tokens)) {
			break
		}
		if j > i && !p.joined(j) && (t.class == figures) != (p.tokens[j-1].class == figures) || t.class >= teens && j > i && !p.joined(j) {
			break
		}
		times := 1
		switch t.text {
		case "double":
			times = 2
		case "triple", "treble":
			times = 3
		}
		if times > 1 {
			if j+1 >= limit || !p.joined(j+1) {
				break
			}
			j++
			next := &p.tokens[j]
			if d, ok := next.digit(); ok {
				for range times {
					b = append(b, d)
				}
				spoken = true
				r.groups++
				r.end = j + 1
				continue
			}
			break
		}
		if d, ok := t.digit(); ok && (t.class != figures || len(t.text) == 1) {
			b = append(b, d)
			if spoken = spoken || t.class != figures; !spoken {
				if j > i {
					text.WriteByte(' ')
				}
				text.WriteByte(d)
			}
		} else if pairs && (t.class == teens || t.class == tens) {
			q := p.cardinal(j)
			if q.whole > 99 {
				break
			}
			b = append(b, '0'+byte(q.whole/10), '0'+byte(q.whole%10))
			spoken, r.single = true, false
			j = q.end - 1
		} else if t.class == figures {
			s, plus := strings.CutPrefix(t.text, "+")
			if !allDigits(strings.ReplaceAll(s, "-", "")) || plus && j > i || s[0] == '-' {
				break
			}
			r.plus = r.plus || plus
			b = append(b, strings.ReplaceAll(s, "-", "")...)
			if j > i {
				text.WriteByte(' ')
			}
			text.WriteString(t.text)
			groups = true
		} else {
			break
		}
		r.groups++
		r.end = j + 1
	}
	r.digits = string(b)
	if r.mixed = spoken && groups; !spoken {
		r.text = text.String()
	}
	return r
}

// digit is the digit that a token says.
func (t *token) digit() (byte, bool) {
	switch {
	case t.class == zero, t.text == "o":
		return '0', true
	case t.class == ones:
		return '0' + byte(t.value), true
	case t.class == figures && len(t.text) == 1:
		return t.text[0], true
	}
	return 0, false
}

func isIssued(c byte) bool { return c >= '2' && c <= '6' }

// luhn is the check of ISO/IEC 7812-1, annex B.
func luhn(d string) bool {
	sum := 0
	for i := range len(d) {
		n := int(d[len(d)-1-i] - '0')
		if i%2 == 1 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	return sum%10 == 0
}

// cardText groups a card's digits as they stand on it.
func cardText(d string) string {
	if len(d) == 15 {
		return d[:4] + " " + d[4:10] + " " + d[10:]
	}
	var b strings.Builder
	for i := 0; i < len(d); i += 4 {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(d[i:min(i+4, len(d))])
	}
	return b.String()
}
