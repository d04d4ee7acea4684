package written

import (
	"fmt"
	"strconv"
	"strings"
)

// han is the longest written form that begins at a Chinese character.
func (p *parser) han(i int) found {
	if p.tokens[i].text == "百" && p.sign(i+1) == "分" && p.sign(i+2) == "之" {
		return p.hanPercent(i + 3)
	}
	var best found
	for _, rule := range [...]func(*parser, int) found{(*parser).hanDate, (*parser).hanTime, (*parser).hanMoney, (*parser).hanDigits, (*parser).hanNumber} {
		if f := rule(p, i); f.end > best.end {
			best = f
		}
	}
	return best
}

// sign is the Chinese character or figures at a token that no punctuation parts
// from the one before.
func (p *parser) sign(i int) string {
	if i < 0 || i >= len(p.tokens) || i > 0 && !p.joined(i) {
		return ""
	}
	return p.tokens[i].text
}

// hanDigit is the value of a digit, -1 for none.
func hanDigit(s string) int64 {
	const all = "零〇一幺二两三四五六七八九"
	if len(s) != 3 {
		return -1
	}
	if k := strings.Index(all, s); k >= 0 && k%3 == 0 {
		return int64("0011223456789"[k/3] - '0')
	}
	return -1
}

func hanUnit(s string) int64 {
	switch s {
	case "十":
		return 10
	case "百":
		return 100
	case "千":
		return 1000
	case "万":
		return 1e4
	case "亿":
		return 1e8
	}
	return 0
}

// hanCardinal reads 一百二十三, 一百五, 三万五千, 3万 or 三点五; units tells whether a
// unit was said.
func (p *parser) hanCardinal(i int) (q quantity, units bool) {
	q.unit = 1
	if i < len(p.tokens) && p.tokens[i].class == figures {
		if q = p.figures(i); q.end > 0 {
			if u := hanUnit(p.sign(q.end)); u >= 1e4 {
				q.unit = u
				q.end++
			}
		}
		return q, true
	}
	// section is what stands before 万 or 亿, digit what waits for its unit.
	var total, section, last int64
	digit, nought := int64(-1), false
	for j := i; j < len(p.tokens) && (j == i || p.joined(j)); j++ {
		s := p.tokens[j].text
		if d := hanDigit(s); d >= 0 && s != "幺" {
			if digit >= 0 {
				// Two digits in a row: 二三十 is a guess, 一二三 a row.
				return quantity{}, false
			}
			if d == 0 && q.end > 0 {
				nought = true
				continue
			}
			digit, q.end = d, j+1
			continue
		}
		u := hanUnit(s)
		switch {
		case u == 0 || q.end == 0 && u != 10:
			return p.hanEnd(q, total+section, digit, last, nought), units
		case u < 1e4 && (last == 0 || last > u) && (digit >= 0 || u == 10 && section == 0):
			section += max(digit, 1) * u
		case u >= 1e4 && (total == 0 || total >= u*1e4) && section+max(digit, 0) > 0:
			total += (section + max(digit, 0)) * u
			section = 0
		default:
			return quantity{}, false
		}
		// 三万五: the unit below counts.
		last, digit, nought, units, q.end = u, -1, false, true, j+1
	}
	return p.hanEnd(q, total+section, digit, last, nought), units
}

// hanEnd adds to a number what has no unit of its own: its last digit, of which
// 一百五 has tens, and decimals.
func (p *parser) hanEnd(q quantity, whole, digit, last int64, nought bool) quantity {
	if digit > 0 && last > 10 && !nought {
		digit *= last / 10
	}
	q.whole = whole + max(digit, 0)
	if q.end == 0 || p.sign(q.end) != "点" {
		return q
	}
	end, frac := q.end+1, ""
	for ; hanDigit(p.sign(end)) >= 0; end++ {
		frac += strconv.FormatInt(hanDigit(p.sign(end)), 10)
	}
	switch u := hanUnit(p.sign(end)); {
	case frac == "":
	case u == 0:
		q.end, q.frac = end, frac
	case u >= 1e4:
		q.end, q.frac, q.unit = end+1, frac, u
	}
	return q
}

func hanText(q *quantity) string {
	s := q.raw
	if q.frac == "" && q.unit == 1 && s == "" {
		for _, u := range [...]int64{1e8, 1e4} {
			if q.whole >= u && q.whole%u == 0 {
				return hanText(&quantity{whole: q.whole / u, unit: u})
			}
		}
	}
	if s == "" {
		s = strconv.FormatInt(q.whole, 10)
		if q.frac != "" {
			s += "." + q.frac
		}
	}
	switch q.unit {
	case 1e4:
		return s + "万"
	case 1e8:
		return s + "亿"
	}
	return s
}

// hanNumber is a number from ten on.
func (p *parser) hanNumber(i int) found {
	q, units := p.hanCardinal(i)
	if q.end == 0 || q.frac == "" && (!units || q.end == i+1 || q.whole < 10) {
		return found{}
	}
	if next := p.sign(q.end); hanDigit(next) >= 0 || next == "几" {
		return found{}
	}
	if i > p.done && p.joined(i) && (hanDigit(p.tokens[i-1].text) >= 0 || p.tokens[i-1].text == "几") {
		return found{}
	}
	if p.sign(q.end) == "分" && p.sign(q.end+1) == "之" {
		// 三百分之一 is a fraction.
		return found{}
	}
	if q.frac != "" && !units && q.whole <= 12 && p.sign(q.end) == "分" {
		return found{}
	}
	return found{q.end, Number, hanText(&q), q.value()}
}

// hanPercent is 百分之五, whose number stands at a token.
func (p *parser) hanPercent(i int) found {
	if i >= len(p.tokens) || !p.joined(i) {
		return found{}
	}
	if p.tokens[i].text == "百" && hanDigit(p.sign(i+1)) < 0 {
		return found{i + 1, Percent, "100%", "100"}
	}
	q, _ := p.hanCardinal(i)
	if q.end == 0 {
		return found{}
	}
	return found{q.end, Percent, hanText(&q) + "%", q.value()}
}

// hanMoney is 一百二十三块五, 五毛, 20美元.
func (p *parser) hanMoney(i int) found {
	q, _ := p.hanCardinal(i)
	if q.end == 0 {
		return found{}
	}
	c, end := p.hanCurrency(q.end)
	if end == 0 {
		if s := p.sign(q.end); (s == "毛" || s == "角") && q.frac == "" && q.whole < 10 && q.unit == 1 {
			end = q.end + 1
			if p.sign(end) == "钱" {
				end++
			}
			return found{end, Money, "¥" + amount(q.whole*10), "CNY " + strconv.FormatInt(q.whole*10, 10)}
		}
		return found{}
	}
	if p.tokens[q.end].text == "块" && q.frac == "" && q.unit == 1 && end == q.end+1 {
		if d := hanDigit(p.sign(end)); d > 0 && hanUnit(p.sign(end+1)) == 0 && hanDigit(p.sign(end+1)) < 0 {
			end++
			n := q.whole*100 + d*10
			if s := p.sign(end); s == "毛" || s == "角" {
				end++
				if d := hanDigit(p.sign(end)); d > 0 && (p.sign(end+1) == "分" || p.sign(end+1) == "") {
					n += d
					end++
					if p.sign(end) == "分" {
						end++
					}
				}
			} else if p.mayCount(end) {
				// 三块两个: three, and two of something.
				return found{end - 1, Money, "¥" + amount(q.whole*100), "CNY " + strconv.FormatInt(q.whole*100, 10)}
			}
			return found{end, Money, "¥" + amount(n), "CNY " + strconv.FormatInt(n, 10)}
		}
	}
	return found{end, Money, c.sign + hanText(&q), c.code + " " + c.value(&q)}
}

// mayCount says whether a measure word stands at a token.
func (p *parser) mayCount(i int) bool {
	s := p.sign(i)
	return s != "" && strings.Contains("个张次天年月号点位份件本条", s)
}

// hanCurrency reads a currency's name.
func (p *parser) hanCurrency(i int) (c currency, end int) {
	switch s := p.sign(i); s {
	case "块", "元":
		end = i + 1
		if p.sign(end) == "钱" {
			end++
		} else if p.sign(end) == "人" && p.sign(end+1) == "民" && p.sign(end+2) == "币" {
			end += 3
		}
		return currency{"CNY", "¥", 100}, end
	case "人":
		if p.sign(i+1) == "民" && p.sign(i+2) == "币" {
			return currency{"CNY", "¥", 100}, i + 3
		}
	case "美", "欧", "日", "港", "英":
		next := p.sign(i + 1)
		switch {
		case s == "美" && (next == "元" || next == "金"):
			return currency{"USD", "$", 100}, i + 2
		case s == "欧" && next == "元":
			return currency{"EUR", "€", 100}, i + 2
		case s == "日" && next == "元":
			return currency{"JPY", "JP¥", 1}, i + 2
		case s == "港" && (next == "币" || next == "元"):
			return currency{"HKD", "HK$", 100}, i + 2
		case s == "英" && next == "镑":
			return currency{"GBP", "£", 100}, i + 2
		}
	}
	return currency{}, 0
}

// hanDate is 二零二四年三月五号.
func (p *parser) hanDate(i int) found {
	at, year := i, ""
	for hanDigit(p.sign(at)) >= 0 || at == i && hanDigit(p.tokens[i].text) >= 0 {
		year += strconv.FormatInt(hanDigit(p.tokens[at].text), 10)
		at++
	}
	if t := &p.tokens[i]; len(t.text) == 4 && allDigits(t.text) {
		year, at = t.text, i+1
	}
	text, iso := "", "-"
	if len(year) == 4 && p.sign(at) == "年" {
		text, iso = year+"年", year
		at++
	} else {
		at = i
	}
	m, end := p.hanBelow(at, 12)
	if end == 0 || p.sign(end) != "月" {
		if text == "" {
			return found{}
		}
		return found{at, Date, text, iso}
	}
	text += fmt.Sprintf("%d月", m)
	iso += fmt.Sprintf("-%02d", m)
	d, day := p.hanBelow(end+1, 31)
	if s := p.sign(day); day == 0 || s != "号" && s != "日" {
		if year == "" || at == i {
			return found{}
		}
		return found{end + 1, Date, text, iso}
	}
	return found{day + 1, Date, text + fmt.Sprintf("%d%s", d, p.tokens[day].text), iso + fmt.Sprintf("-%02d", d)}
}

// hanBelow reads a number of 1 to limit.
func (p *parser) hanBelow(i int, limit int64) (n int64, end int) {
	if i >= len(p.tokens) {
		return 0, 0
	}
	q, _ := p.hanCardinal(i)
	if q.end == 0 || q.frac != "" || q.unit != 1 || q.whole < 1 || q.whole > limit {
		return 0, 0
	}
	return q.whole, q.end
}

// hanTime is 下午三点半. Without a part of the day or minutes 三点 may be three
// points.
func (p *parser) hanTime(i int) found {
	part, at := p.partOfDay(i)
	prefix := ""
	if at > i {
		for j := i; j < at; j++ {
			prefix += p.tokens[j].text
		}
	}
	h, end := p.hanHour(at)
	if end == 0 || p.sign(end) != "点" {
		return found{}
	}
	end++
	m, sure := int64(0), at > i
	switch next := p.sign(end); {
	case next == "半":
		m, sure, end = 30, true, end+1
	case (next == "一" || next == "三") && p.sign(end+1) == "刻":
		m, sure, end = 15*hanDigit(next), true, end+2
	case next == "钟":
		sure, end = true, end+1
	default:
		start := end
		if hanDigit(p.sign(end)) == 0 {
			start++
		}
		if n, k := p.hanBelow(start, 59); k > 0 && (n >= 10 || start > end || p.sign(k) == "分") {
			if p.sign(k) == "分" {
				k++
			} else if k == start+1 && start == end {
				break
			}
			m, sure, end = n, true, k
		}
	}
	if !sure {
		return found{}
	}
	hour := h
	if part == "pm" && h < 12 {
		hour += 12
	}
	return found{end, Time, prefix + fmt.Sprintf("%d:%02d", h, m), fmt.Sprintf("%02d:%02d", hour, m)}
}

func (p *parser) hanHour(i int) (h int64, end int) {
	if i >= len(p.tokens) {
		return 0, 0
	}
	// 三点五 is a decimal number too: the hour ends at its 点.
	for k := i + 1; k <= i+3; k++ {
		if p.sign(k) != "点" {
			continue
		}
		sub := parser{tokens: p.tokens[:k], chinese: true}
		q, _ := sub.hanCardinal(i)
		if q.end == k && q.whole <= 24 && q.frac == "" && q.unit == 1 {
			return q.whole, k
		}
	}
	return 0, 0
}

// partOfDay reads 下午 and its like.
func (p *parser) partOfDay(i int) (half string, end int) {
	switch p.tokens[i].text + p.sign(i+1) {
	case "下午", "晚上", "傍晚":
		return "pm", i + 2
	case "上午", "早上", "凌晨", "清晨":
		return "am", i + 2
	case "中午":
		return "", i + 2
	}
	return "", i
}

// hanDigits is a row of at least three digits.
func (p *parser) hanDigits(i int) found {
	if i > 0 && hanDigit(p.tokens[i-1].text) >= 0 && p.joined(i) {
		return found{}
	}
	var b strings.Builder
	end := i
	for ; end < len(p.tokens) && (end == i || p.joined(end)); end++ {
		d := hanDigit(p.tokens[end].text)
		if d < 0 || p.tokens[end].text == "两" {
			break
		}
		b.WriteByte('0' + byte(d))
	}
	if _, money := p.hanCurrency(end); money > 0 {
		return found{}
	}
	if next := p.sign(end); b.Len() < 3 || hanUnit(next) > 0 || b.Len() == 3 && p.mayCount(end) {
		return found{}
	}
	r := row{end: end, digits: b.String(), han: true}
	return p.named(i, &r)
}
