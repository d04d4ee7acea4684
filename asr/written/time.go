package written

import (
	"fmt"
	"strconv"
	"strings"
)

// time is one of the day.
func (p *parser) time(i int) found {
	t := &p.tokens[i]
	switch {
	case t.text == "half" && p.is(i+1, "past"):
		return p.pastTo(i+2, 30)
	case t.text == "quarter" && p.is(i+1, "past", "after"):
		return p.pastTo(i+2, 15)
	case t.text == "quarter" && p.is(i+1, "to", "till", "before"):
		return p.pastTo(i+2, -15)
	case t.class == figures && strings.Contains(t.text, ":"):
		return p.figureTime(i)
	case t.class == figures:
		if f := p.glued(i); f.end > 0 {
			return f
		}
	}
	q := p.quantity(i)
	if q.end == 0 || q.frac != "" || q.unit != 1 || q.a || q.raw != "" && !allDigits(q.raw) {
		return found{}
	}
	if q.whole >= 1 && q.whole < 60 {
		if f := p.minutes(i, &q); f.end > 0 {
			return f
		}
	}
	h := q.whole
	if h > 23 {
		return found{}
	}
	if h > 0 && h <= 12 && (p.is(q.end, "o'clock", "oclock") || p.is(q.end, "o") && p.is(q.end+1, "clock")) {
		end := q.end + 1
		if p.tokens[q.end].text == "o" {
			end++
		}
		return p.clock(end, h, 0, true)
	}
	// "Three thirty" is a time behind "at" or before "pm".
	if end, m := p.minute(q.end); end > 0 {
		told := p.before(i, "at", "by", "until", "till", "around", "before", "after") ||
			q.raw != "" && p.tokens[end-1].class == figures && p.before(i, "between", "from", "to", "than")
		if p.half(end) != "" || p.partOf(end) != "" || told && !(p.numeric(end) && p.joined(end)) && !p.isUnit(end) {
			return p.clock(end, h, m, true)
		}
		return found{}
	}
	if p.half(q.end) != "" && h > 0 && h <= 12 {
		return p.clock(q.end, h, 0, false)
	}
	return found{}
}

// isUnit says whether a token tells what was counted, so that the number before
// is no time.
func (p *parser) isUnit(i int) bool {
	if !p.joined(i) {
		return false
	}
	_, money := currencyOf(p.tokens[i].text)
	return money || p.tokens[i].class == hundred || p.tokens[i].class == scale ||
		p.is(i, "o'clock", "past", "am", "pm", "percent", "per", "people", "times", "days", "weeks", "months", "years", "miles", "degrees", "point")
}

// minutes is "ten past three" and "twenty minutes to four". Without "minutes",
// "ten to four" is as often a range.
func (p *parser) minutes(i int, q *quantity) found {
	at, said := q.end, false
	if p.is(at, "minute", "minutes") {
		at, said = at+1, true
	}
	switch {
	case p.is(at, "past") && (said || q.whole%5 == 0):
		return p.pastTo(at+1, q.whole)
	case p.is(at, "to", "till") && (said || q.whole%5 == 0 && q.whole < 30 && (p.before(i, "at", "it's") || p.toHour(at+1))):
		return p.pastTo(at+1, -q.whole)
	}
	return found{}
}

// toHour says whether an hour with its part of the day stands at a token.
func (p *parser) toHour(i int) bool {
	if !p.joined(i) || !p.numeric(i) {
		return false
	}
	q := p.quantity(i)
	return q.end > 0 && q.whole < 24 && (p.half(q.end) != "" || p.partOf(q.end) != "")
}

// pastTo is so many minutes past the hour at a token.
func (p *parser) pastTo(i int, m int64) found {
	if !p.joined(i) || !p.numeric(i) {
		return found{}
	}
	q := p.quantity(i)
	if q.end == 0 || q.frac != "" || q.unit != 1 || q.whole < 1 || q.whole > 23 || q.raw != "" && !allDigits(q.raw) {
		return found{}
	}
	if p.is(q.end, "hour", "hours", "minutes", "day", "days", "week", "weeks", "month", "months", "year", "years", "percent") {
		return found{}
	}
	h := q.whole
	if m < 0 {
		m += 60
		if h--; h == 0 {
			h = 12
		}
	}
	end := q.end
	if p.is(end, "o'clock") {
		end++
	}
	return p.clock(end, h, m, true)
}

// minute reads the minutes behind the hour: "thirty", "oh five".
func (p *parser) minute(i int) (end int, m int64) {
	if !p.joined(i) {
		return 0, 0
	}
	t := &p.tokens[i]
	switch {
	case (t.text == "oh" || t.text == "o") && p.joined(i+1) && p.tokens[i+1].class == ones:
		return i + 2, p.tokens[i+1].value
	case t.class == teens, t.class == tens, t.class == figures && len(t.text) == 2:
		q := p.quantity(i)
		if q.end > 0 && q.frac == "" && q.unit == 1 && q.whole < 60 {
			return q.end, q.whole
		}
	}
	return 0, 0
}

// half is am or pm at a token, "" where there is neither.
func (p *parser) half(i int) string {
	if !p.joined(i) {
		return ""
	}
	switch p.tokens[i].text {
	case "am", "a.m", "a.m.":
		if !p.is(i+1, "i") {
			return "am"
		}
	case "pm", "p.m", "p.m.":
		return "pm"
	case "a", "p":
		if p.is(i+1, "m") {
			return p.tokens[i].text + "m"
		}
	}
	return ""
}

// clock writes a time that ends at a token, with the half of the day behind it.
func (p *parser) clock(end int, h, m int64, full bool) found {
	text := strconv.FormatInt(h, 10)
	if full {
		text = fmt.Sprintf("%d:%02d", h, m)
	}
	half := p.half(end)
	if half != "" {
		text += " " + half
		if end++; p.tokens[end-1].text == "a" || p.tokens[end-1].text == "p" {
			end++
		}
	}
	return found{end, Time, text, fmt.Sprintf("%02d:%02d", p.hour(end, h, half), m)}
}

// partOf is the part of the day that stands at a token, with or without "in
// the": am, pm or night; "" for none.
func (p *parser) partOf(i int) string {
	if p.is(i, "in") && p.is(i+1, "the") {
		i += 2
	} else if p.is(i, "at") && p.is(i+1, "night") {
		i++
	}
	switch {
	case p.is(i, "afternoon", "evening", "tonight"):
		return "pm"
	case p.is(i, "morning"):
		return "am"
	case p.is(i, "night"):
		return "night"
	}
	return ""
}

// hour is the hour of the day, by am or pm or by what is said next.
func (p *parser) hour(end int, h int64, half string) int64 {
	if half == "" {
		half = p.partOf(end)
	}
	switch {
	case half == "pm" && h < 12, half == "night" && h >= 6 && h < 12:
		return h + 12
	case (half == "am" || half == "night") && h == 12:
		return 0
	}
	return h
}

// figureTime is 3:30, or 3:30pm.
func (p *parser) figureTime(i int) found {
	t := &p.tokens[i]
	s, glued := t.text, ""
	for _, half := range [...]string{"am", "pm"} {
		if cut, ok := strings.CutSuffix(s, half); ok {
			s, glued = cut, half
		}
	}
	hour, minute, _ := strings.Cut(s, ":")
	h, m := atoi(hour), atoi(minute)
	if h < 0 || h > 23 || m < 0 || m > 59 || len(minute) != 2 || len(hour) > 2 {
		return found{}
	}
	if glued != "" {
		return found{i + 1, Time, t.raw, fmt.Sprintf("%02d:%02d", p.hour(i+1, h, glued), m)}
	}
	end, text, half := i+1, t.raw, p.half(i+1)
	if half != "" && h <= 12 {
		text += " " + half
		if end++; len(p.tokens[end-1].text) == 1 {
			end++
		}
	} else {
		half = ""
	}
	return found{end, Time, text, fmt.Sprintf("%02d:%02d", p.hour(end, h, half), m)}
}

// glued is 3pm.
func (p *parser) glued(i int) found {
	t := &p.tokens[i]
	for _, half := range [...]string{"am", "pm"} {
		if s, ok := strings.CutSuffix(t.text, half); ok {
			if h := atoi(s); h >= 1 && h <= 12 && len(s) <= 2 {
				return found{i + 1, Time, t.raw, fmt.Sprintf("%02d:00", p.hour(i+1, h, half))}
			}
		}
	}
	return found{}
}
