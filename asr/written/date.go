package written

import (
	"fmt"
	"strconv"
	"strings"
)

// date is a day, or a month with its year.
func (p *parser) date(i int) found {
	t := &p.tokens[i]
	switch {
	case t.month > 0:
		return p.monthFirst(i)
	case t.class == figures && strings.ContainsAny(t.text, "/-."):
		return p.figureDate(i)
	}
	end, day, text := p.day(i)
	if end == 0 {
		return found{}
	}
	of := p.is(end, "of")
	if of {
		end++
	}
	if !p.joined(end) || p.tokens[end].month == 0 {
		return found{}
	}
	m := p.tokens[end].month
	if k, _, _ := p.place(end + 1); k > 0 && p.joined(end+1) {
		// "On the second May the third": the month goes with what follows it.
		return found{}
	}
	if m == 5 && !of && text == strconv.FormatInt(day, 10) && p.tokens[end].raw != "May" {
		// "Five may go".
		return found{}
	}
	if of {
		text += " of"
	}
	return p.withYear(end+1, text+" "+p.tokens[end].monthText(), fmt.Sprintf("%02d-%02d", m, day))
}

// day is the day of a month, as an ordinal or, up to 31, as a number.
func (p *parser) day(i int) (end int, day int64, text string) {
	if end, day, text = p.place(i); end == 0 {
		q := p.quantity(i)
		if q.end == 0 || q.frac != "" || q.unit != 1 || q.a || len(q.raw) > 2 {
			return 0, 0, ""
		}
		end, day, text = q.end, q.whole, strconv.FormatInt(q.whole, 10)
	} else if text == "" {
		text = strconv.FormatInt(day, 10) + suffix(day)
	}
	if day < 1 || day > 31 {
		return 0, 0, ""
	}
	return end, day, text
}

// monthFirst is "March the third 2024", "March 3rd" or "March 2024". May and
// March are words too, unless they are written as names.
func (p *parser) monthFirst(i int) found {
	t := &p.tokens[i]
	name := t.monthText()
	sure := t.raw == name && i > 0 && p.joined(i) || t.month != 3 && t.month != 5
	at := i + 1
	if p.is(at, "the") {
		at++
	}
	if !p.joined(at) {
		return found{}
	}
	if end, text, iso := p.fourDigits(at); end > 0 && at == i+1 && (sure || t.month == 3) {
		return found{end, Date, name + " " + text, fmt.Sprintf("%s-%02d", iso, t.month)}
	}
	end, day, text := p.day(at)
	if end == 0 {
		return found{}
	}
	ordinal := !allDigits(text)
	if !ordinal && (!sure && t.raw != name || at > i+1) {
		return found{}
	}
	if !ordinal && (p.is(end, "percent", "dollars", "pounds", "people", "times", "days", "weeks", "months", "years", "%") || p.is(end, "of")) {
		return found{}
	}
	if at > i+1 {
		name += " the"
	}
	return p.withYear(end, name+" "+text, fmt.Sprintf("%02d-%02d", t.month, day))
}

// withYear adds the year behind a day, if there is one.
func (p *parser) withYear(end int, text, monthDay string) found {
	if end < len(p.tokens) && (p.joined(end) || p.tokens[end-1].stop == ',') {
		sep := " "
		if !p.joined(end) {
			sep = ", "
		}
		if k, year, iso := p.fourDigits(end); k > 0 {
			return found{k, Date, text + sep + year, iso + "-" + monthDay}
		}
	}
	return found{end, Date, text, "--" + monthDay}
}

// fourDigits reads a year of 1100 to 2099.
func (p *parser) fourDigits(i int) (end int, text, iso string) {
	t := &p.tokens[i]
	year := int64(0)
	switch {
	case len(t.text) == 4 && allDigits(t.text):
		year, end = atoi(t.text), i+1
	case t.class == ones && t.value == 2:
		q := p.cardinal(i)
		year, end = q.whole, q.end
	case t.class == teens && t.value > 10 || t.class == tens && t.value == 20:
		if !p.joined(i + 1) {
			return 0, "", ""
		}
		next := &p.tokens[i+1]
		switch {
		case next.class == teens:
			year, end = t.value*100+next.value, i+2
		case next.class == tens:
			q := p.cardinal(i + 1)
			year, end = t.value*100+q.whole, q.end
			if q.whole > 99 {
				return 0, "", ""
			}
		case (next.text == "oh" || next.text == "o") && p.joined(i+2) && p.tokens[i+2].class == ones:
			year, end = t.value*100+p.tokens[i+2].value, i+3
		}
	}
	if year < 1100 || year > 2099 || p.tokens[end-1].class == tens && p.joined(end) && p.tokens[end].class == ordOnes {
		return 0, "", ""
	}
	text = strconv.FormatInt(year, 10)
	return end, text, text
}

// year is one that is said in two halves: "nineteen eighty four".
func (p *parser) year(i int) found {
	t := &p.tokens[i]
	if t.value != 18 && t.value != 19 && t.value != 20 || t.class == figures || p.afterNumber(i) {
		return found{}
	}
	end, text, iso := p.fourDigits(i)
	if end == 0 || p.numeric(end) && p.joined(end) || p.isUnit(end) {
		return found{}
	}
	return found{end, Date, text, iso}
}

// figureDate is 2024-03-05, or 12/05/1984, of which only one order of day and
// month may make sense.
func (p *parser) figureDate(i int) found {
	t := &p.tokens[i]
	sep := t.text[strings.IndexAny(t.text, "/-."):][:1]
	parts := strings.Split(t.text, sep)
	if len(parts) != 3 {
		return found{}
	}
	a, b, c := atoi(parts[0]), atoi(parts[1]), atoi(parts[2])
	if a < 1 || b < 1 || c < 0 {
		return found{}
	}
	if len(parts[0]) == 4 {
		if b > 12 || c < 1 || c > 31 || a < 1100 || a > 2099 {
			return found{}
		}
		return found{i + 1, Date, t.raw, fmt.Sprintf("%04d-%02d-%02d", a, b, c)}
	}
	if len(parts[0]) > 2 || len(parts[1]) > 2 || len(parts[2]) != 4 || c < 1100 || c > 2099 || a > 31 || b > 31 || a > 12 && b > 12 {
		return found{}
	}
	switch {
	case a > 12 || a == b:
		return found{i + 1, Date, t.raw, fmt.Sprintf("%04d-%02d-%02d", c, b, a)}
	case b > 12:
		return found{i + 1, Date, t.raw, fmt.Sprintf("%04d-%02d-%02d", c, a, b)}
	}
	return found{i + 1, Date, t.raw, parts[2]}
}
