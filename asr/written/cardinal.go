package written

import (
	"strconv"
	"strings"
)

// quantity is a cardinal or decimal number in the tokens up to end.
type quantity struct {
	end   int
	whole int64
	// frac is the digits behind the point.
	frac string
	// unit is the last word of "2.5 million", 1 for none.
	unit int64
	// raw is the figures as they were written, if they were.
	raw string
	// a says that the number begins with "a": "a hundred".
	a bool
}

// quantity reads the number at a token; its end is 0 where there is none.
func (p *parser) quantity(i int) quantity {
	t := &p.tokens[i]
	var q quantity
	switch {
	case t.class == figures:
		q = p.figures(i)
	case t.class.cardinal() || t.text == "a":
		q = p.cardinal(i)
	}
	if q.end == 0 {
		return q
	}
	if q.frac == "" && p.is(q.end, "point") && (q.raw == "" || allDigits(q.raw)) {
		if end, frac := p.fraction(q.end + 1); end > 0 {
			q.end, q.frac, q.raw = end, frac, ""
		}
	}
	if p.joined(q.end) && q.end < len(p.tokens) && p.tokens[q.end].class == scale && q.unit == 1 && (q.raw != "" || q.frac != "") && q.whole < 1e6 {
		q.unit = p.tokens[q.end].value
		q.end++
	}
	return q
}

// figures reads 1230, 1,230 or 3.5.
func (p *parser) figures(i int) quantity {
	s := p.tokens[i].text
	whole, frac, point := strings.Cut(s, ".")
	groups := strings.Split(whole, ",")
	for k, g := range groups {
		if len(groups) > 1 && (k > 0 && len(g) != 3 || k == 0 && len(g) > 3) {
			return quantity{}
		}
	}
	n := atoi(strings.Join(groups, ""))
	if n < 0 || point && (!allDigits(frac) || len(frac) > 6) {
		return quantity{}
	}
	return quantity{end: i + 1, whole: n, frac: frac, unit: 1, raw: s}
}

// cardinal reads number words.
func (p *parser) cardinal(i int) quantity {
	q := quantity{unit: 1}
	j := i
	if p.tokens[i].text == "a" {
		if !p.joined(i+1) || p.tokens[i+1].class != hundred && p.tokens[i+1].class != scale {
			return quantity{}
		}
		q.a = true
		j++
	}
	total, part := int64(0), int64(0)
	if q.a {
		part = 1
	}
	prev, limit := plain, int64(1e18)
	// whole is what has been read up to an "and" that may be another's.
	var whole quantity
	for ; j < len(p.tokens); j++ {
		t := &p.tokens[j]
		if j > i && !p.joined(j) && !(prev == scale && p.tokens[j-1].stop == ',' && t.class.cardinal()) {
			break
		}
		ok := false
		switch t.class {
		case zero:
			ok = prev == plain && t.text != "oh" && !q.a
		case ones:
			if ok = prev == plain && !q.a || prev == tens || prev == hundred || prev == scale; ok {
				part += t.value
			}
		case teens, tens:
			if ok = prev == plain && !q.a || prev == hundred || prev == scale; ok {
				part += t.value
			}
		case hundred:
			if ok = part > 0 && part < 100 && prev != hundred; ok {
				part *= 100
			} else if part >= 100 && whole.end > 0 {
				return whole
			}
		case scale:
			if ok = part > 0 && t.value < limit; ok {
				total, part, limit = total+part*t.value, 0, t.value
			} else if whole.end > 0 {
				return whole
			}
		case plain:
			if t.text == "and" && (prev == hundred || prev == scale) && p.joined(j+1) && p.tokens[j+1].class >= ones && p.tokens[j+1].class <= tens {
				whole = q
				whole.whole, whole.end = total+part, j
				continue
			}
		}
		if !ok {
			break
		}
		prev = t.class
		q.end = j + 1
		if t.class == zero {
			break
		}
	}
	q.whole = total + part
	if q.end == i+1 && (q.a || p.tokens[i].class == hundred || p.tokens[i].class == scale) {
		return quantity{}
	}
	return q
}

// fraction reads the digits behind "point".
func (p *parser) fraction(i int) (end int, digits string) {
	for ; p.joined(i); i++ {
		t := &p.tokens[i]
		switch {
		case t.class == zero || t.class == ones:
			digits += strconv.FormatInt(t.value, 10)
		case t.class == figures && digits == "" && allDigits(t.text) && len(t.text) <= 6:
			return i + 1, t.text
		case (t.class == tens || t.class == teens) && digits == "":
			q := p.cardinal(i)
			return q.end, strconv.FormatInt(q.whole, 10)
		default:
			return fractionEnd(i, digits)
		}
	}
	return fractionEnd(i, digits)
}

func fractionEnd(i int, digits string) (int, string) {
	if digits == "" {
		return 0, ""
	}
	return i, digits
}

// text writes the number: 1,230 or 2.5 million.
func (q *quantity) text() string {
	if q.raw != "" && q.unit == 1 {
		return q.raw
	}
	n, unit := q.whole, q.unit
	if unit == 1 && q.frac == "" && n >= 1e6 {
		for _, u := range [...]int64{1e9, 1e6} {
			if n%u == 0 {
				n, unit = n/u, u
				break
			}
		}
	}
	s := grouped(n)
	if q.raw != "" {
		s = q.raw
	} else if q.frac != "" {
		s += "." + q.frac
	}
	switch unit {
	case 1e3:
		return s + " thousand"
	case 1e6:
		return s + " million"
	case 1e9:
		return s + " billion"
	}
	return s
}

// value is the number in plain figures.
func (q *quantity) value() string {
	if q.unit == 1 {
		if q.frac == "" {
			return strconv.FormatInt(q.whole, 10)
		}
		return strconv.FormatInt(q.whole, 10) + "." + q.frac
	}
	zeros := len(strconv.FormatInt(q.unit, 10)) - 1
	digits := strconv.FormatInt(q.whole, 10)
	frac := q.frac + strings.Repeat("0", max(0, zeros-len(q.frac)))
	digits = strings.TrimLeft(digits+frac[:zeros], "0")
	if digits == "" {
		digits = "0"
	}
	if rest := strings.TrimRight(frac[zeros:], "0"); rest != "" {
		digits += "." + rest
	}
	return digits
}

// grouped writes a number with commas between thousands.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// number is a number that stands for itself.
func (p *parser) number(i int) found {
	q := p.quantity(i)
	if q.end == 0 {
		return found{}
	}
	spoken := q.raw == ""
	switch {
	case spoken && q.frac == "" && q.unit == 1 && q.whole < 10:
		return found{}
	case spoken && q.a && q.end == i+2:
		// "A hundred" is many.
		return found{}
	case spoken && (p.afterNumber(i) || p.numeric(q.end) && p.joined(q.end)):
		// "Six thirty", "two fifty": who knows.
		return found{}
	}
	return found{q.end, Number, q.text(), q.value()}
}

// numeric says whether a token is a number word or in figures.
func (p *parser) numeric(i int) bool {
	return i >= 0 && i < len(p.tokens) && (p.tokens[i].class.cardinal() && p.tokens[i].text != "oh" || p.tokens[i].class == figures)
}

// afterNumber says whether a number that is part of no span stands right before
// a token.
func (p *parser) afterNumber(i int) bool { return i > p.done && p.joined(i) && p.numeric(i-1) }

// percent is a number of hundredths.
func (p *parser) percent(i int) found {
	t := &p.tokens[i]
	if s, ok := strings.CutSuffix(t.text, "%"); ok && t.class == figures {
		if whole, frac, _ := strings.Cut(s, "."); allDigits(whole) && (frac == "" || allDigits(frac)) {
			return found{i + 1, Percent, t.text, s}
		}
		return found{}
	}
	var q quantity
	if t.text == "point" {
		if q.end, q.frac = p.fraction(i + 1); q.end == 0 {
			return found{}
		}
		q.unit = 1
	} else if q = p.quantity(i); q.end == 0 || q.a && q.end == i+1 {
		return found{}
	}
	if q.frac == "" && q.unit == 1 && (q.raw == "" || allDigits(q.raw)) && p.is(q.end, "and") && p.is(q.end+1, "a") && p.is(q.end+2, "half") {
		q.end, q.frac, q.raw = q.end+3, "5", ""
	}
	switch {
	case p.is(q.end, "percent", "%"):
		q.end++
	case p.is(q.end, "per") && p.is(q.end+1, "cent"):
		q.end += 2
	default:
		return found{}
	}
	return found{q.end, Percent, q.text() + "%", q.value()}
}

// ordinal is a place from the tenth on.
func (p *parser) ordinal(i int) found {
	end, n, raw := p.place(i)
	if end == 0 || raw == "" && n < 10 || raw == "" && p.before(i, "a", "an") {
		return found{}
	}
	if raw == "" {
		raw = strconv.FormatInt(n, 10) + suffix(n)
	}
	return found{end, Ordinal, raw, strconv.FormatInt(n, 10)}
}

// place reads an ordinal below 100.
func (p *parser) place(i int) (end int, n int64, raw string) {
	if i >= len(p.tokens) {
		return 0, 0, ""
	}
	t := &p.tokens[i]
	switch {
	case t.class == ordOnes, t.class == ordTeens, t.class == ordTens:
		return i + 1, t.value, ""
	case t.class == tens && p.joined(i+1) && p.tokens[i+1].class == ordOnes:
		return i + 2, t.value + p.tokens[i+1].value, ""
	case t.class == figures && len(t.text) > 2:
		k := len(t.text) - 2
		if n = atoi(t.text[:k]); n > 0 && n < 1000 && t.text[k:] == suffix(n) {
			return i + 1, n, t.text
		}
	}
	return 0, 0, ""
}

func suffix(n int64) string {
	if n/10%10 != 1 {
		switch n % 10 {
		case 1:
			return "st"
		case 2:
			return "nd"
		case 3:
			return "rd"
		}
	}
	return "th"
}
