package written

import (
	"strconv"
	"strings"
)

// currency is how an amount is written and valued.
type currency struct {
	code, sign string
	// minor is how many of the smallest unit one is worth.
	minor int64
}

func currencyOf(w string) (c currency, ok bool) {
	switch w {
	case "dollar", "dollars", "buck", "bucks", "$":
		return currency{"USD", "$", 100}, true
	case "pound", "pounds", "quid", "£":
		return currency{"GBP", "£", 100}, true
	case "euro", "euros", "€":
		return currency{"EUR", "€", 100}, true
	case "yuan", "renminbi", "rmb", "¥":
		return currency{"CNY", "¥", 100}, true
	case "yen":
		return currency{"JPY", "JP¥", 1}, true
	case "cent", "cents":
		return currency{"USD", "$", 1}, true
	case "penny", "pence":
		return currency{"GBP", "£", 1}, true
	}
	return currency{}, false
}

// money is an amount: "$25", "twenty five dollars and ten cents".
func (p *parser) money(i int) found {
	t := &p.tokens[i]
	if t.class == figures {
		for _, sign := range [...]string{"$", "£", "€", "¥"} {
			if s, ok := strings.CutPrefix(t.text, sign); ok {
				return p.signed(i, sign, s)
			}
		}
	}
	if t.class == figures {
		for _, sign := range [...]string{"$", "£", "€", "¥"} {
			if s, ok := strings.CutSuffix(t.text, sign); ok {
				if f := p.signed(i, sign, s); f.end == i+1 {
					f.text = t.text
					return f
				}
				return found{}
			}
		}
	}
	q := p.quantity(i)
	if q.end == 0 || p.afterNumber(i) {
		return found{}
	}
	at := q.end
	if p.is(at, "us", "american") {
		at++
	}
	if !p.joined(at) {
		return found{}
	}
	c, ok := currencyOf(p.tokens[at].text)
	if !ok || strings.HasPrefix(p.tokens[at].text, "pound") && p.is(at+1, "of", "sign", "key") {
		return found{}
	}
	if c.minor == 1 && c.code != "JPY" {
		if p.joined(at+1) && p.tokens[at+1].class == scale || q.frac != "" || q.unit != 1 || q.whole >= 1e9 {
			return found{}
		}
		return found{at + 1, Money, c.sign + amount(q.whole), c.code + " " + strconv.FormatInt(q.whole, 10)}
	}
	end := at + 1
	if p.joined(end) && p.tokens[end].class == scale {
		return found{}
	}
	minor := int64(-1)
	if q.frac == "" && q.unit == 1 && c.minor == 100 {
		if k, n := p.change(end, c); k > 0 {
			end, minor = k, n
		}
	}
	if minor >= 0 {
		if q.whole >= 1e15 {
			return found{}
		}
		n := q.whole*100 + minor
		return found{end, Money, c.sign + amount(n), c.code + " " + strconv.FormatInt(n, 10)}
	}
	text := q.text()
	if whole, frac, ok := strings.Cut(text, "."); ok && len(frac) == 1 && allDigits(frac) {
		text = whole + "." + frac + "0"
	}
	return found{end, Money, c.sign + text, c.code + " " + c.value(&q)}
}

// signed is an amount with its sign before it.
func (p *parser) signed(i int, sign, s string) found {
	old := p.tokens[i].text
	p.tokens[i].text = s
	q := p.quantity(i)
	p.tokens[i].text = old
	if q.end == 0 || q.raw == "" {
		return found{}
	}
	c, _ := currencyOf(sign)
	return found{q.end, Money, sign + q.text(), c.code + " " + c.value(&q)}
}

// change reads what comes behind the currency: "fifty", "and fifty cents".
func (p *parser) change(i int, c currency) (end int, n int64) {
	at := i
	and := p.is(at, "and")
	if and {
		at++
	}
	if !p.joined(i) || !p.joined(at) || !p.numeric(at) {
		return 0, 0
	}
	q := p.quantity(at)
	if q.end == 0 || q.frac != "" || q.unit != 1 || q.whole > 99 {
		return 0, 0
	}
	if p.joined(q.end) {
		if small, ok := currencyOf(p.tokens[q.end].text); ok {
			if small.minor == 1 && (small.code == c.code || p.tokens[q.end].text[0] == 'c') {
				return q.end + 1, q.whole
			}
			return 0, 0
		}
	}
	// "Two pounds fifty" ends there; "two pounds fifty people" is no amount of
	// fifty pence, but who would say it.
	if and || q.whole < 10 || p.joined(q.end) && (p.numeric(q.end) || p.tokens[q.end].month > 0) ||
		p.is(q.end, "percent", "per", "minutes", "times", "days", "weeks", "months", "years", "hours", "people", "o'clock", "am", "pm", "point") {
		return 0, 0
	}
	return q.end, q.whole
}

// amount writes an amount of hundredths.
func amount(n int64) string {
	s := grouped(n / 100)
	if n%100 != 0 || n == 0 {
		s += "." + string([]byte{'0' + byte(n%100/10), '0' + byte(n%10)})
	}
	return s
}

// value is a number of smallest units.
func (c currency) value(q *quantity) string {
	places := len(strconv.FormatInt(c.minor, 10)) - 1
	whole, frac, _ := strings.Cut(q.value(), ".")
	frac += strings.Repeat("0", max(0, places-len(frac)))
	s := strings.TrimLeft(whole+frac[:places], "0")
	if s == "" {
		return "0"
	}
	return s
}
