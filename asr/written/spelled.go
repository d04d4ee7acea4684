package written

import "strings"

// email is an address, spoken ("john dot smith at example dot com") or written.
func (p *parser) email(i int) found {
	t := &p.tokens[i]
	if at := strings.IndexByte(t.text, '@'); at > 0 {
		if dot := strings.LastIndexByte(t.text, '.'); dot > at+1 && dot < len(t.text)-1 && strings.Count(t.text, "@") == 1 {
			return found{i + 1, Email, t.text, t.text}
		}
		return found{}
	}
	if !p.dot || i > 0 && p.joined(i) && link(p.tokens[i-1].text) != "" || notLocal(t.text) {
		return found{}
	}
	// The part before the "at".
	var b strings.Builder
	end := p.part(i, &b)
	for end > 0 && p.joined(end) && link(p.tokens[end].text) != "" {
		b.WriteString(link(p.tokens[end].text))
		if !p.joined(end + 1) {
			return found{}
		}
		end = p.part(end+1, &b)
	}
	if end == 0 || !p.is(end, "at", "@") || !p.joined(end+1) {
		return found{}
	}
	b.WriteByte('@')
	dots := 0
	for end = p.part(end+1, &b); end > 0; dots++ {
		if !p.is(end, "dot") || !p.joined(end+1) {
			break
		}
		b.WriteByte('.')
		if end = p.part(end+1, &b); end == 0 {
			return found{}
		}
	}
	s := b.String()
	if dots == 0 || !isTop(s[strings.LastIndexByte(s, '.')+1:]) {
		return found{}
	}
	return found{end, Email, s, s}
}

// part reads a piece of an address: a word, or letters and digits one by one.
func (p *parser) part(i int, b *strings.Builder) (end int) {
	for ; i < len(p.tokens) && (end == 0 || p.joined(i)); i++ {
		t := &p.tokens[i]
		switch {
		case t.class == plain && len(t.text) == 1, t.class == figures && allDigits(t.text):
			b.WriteString(t.text)
		case t.class == zero || t.class == ones:
			b.WriteByte('0' + byte(t.value))
		case t.class == teens || t.class == tens:
			q := p.cardinal(i)
			b.WriteString(grouped(q.whole))
			i = q.end - 1
		case t.text == "mail" && end > 0 && p.tokens[end-1].text == "g":
			b.WriteString(t.text)
		case t.class == plain && end == 0 && !strings.ContainsAny(t.text, "@•"):
			b.WriteString(strings.ReplaceAll(t.text, "'", ""))
			if k := i + 1; !p.joined(k) || !p.numeric(k) {
				return k
			}
		default:
			return end
		}
		end = i + 1
	}
	return end
}

// link is the sign that a word in an address stands for.
func link(w string) string {
	switch w {
	case "dot":
		return "."
	case "underscore":
		return "_"
	case "dash", "hyphen":
		return "-"
	case "plus":
		return "+"
	}
	return ""
}

// notLocal says whether a word before "at" is hardly a mailbox.
func notLocal(w string) bool {
	switch w {
	case "look", "go", "visit", "shop", "order", "find", "us", "me", "him", "her", "them", "it", "is", "was", "are", "be", "and", "or", "the",
		"looking", "here", "there", "you", "up", "in", "out", "site", "website", "available", "online", "buy", "bought", "that", "this",
		"address", "email", "mail", "e-mail", "one", "at", "dot", "on", "or's", "am", "log", "live", "work", "stuff", "details", "more", "see", "of", "to", "for":
		return true
	}
	return link(w) != ""
}

// isTop says whether a label is a top-level domain that is often heard.
func isTop(w string) bool {
	switch w {
	case "com", "net", "org", "edu", "gov", "uk", "io", "co", "de", "cn", "fr", "us", "eu", "info", "biz", "ca", "au", "ie", "nl", "es", "it",
		"ch", "at", "hk", "sg", "jp", "in", "nz", "me", "tv", "ai", "app", "dev":
		return true
	}
	return false
}

// spelled is a name or code read out by the letter: "S M I T H", "S as in
// sugar", "S W one A one A A".
func (p *parser) spelled(i int) found {
	if t := &p.tokens[i]; t.class != plain || len(t.text) > 1 && t.text != "double" && t.text != "triple" {
		return found{}
	}
	var b strings.Builder
	letters, digits, likened, certain := 0, 0, 0, 0
	end := i
	for j := i; j < len(p.tokens) && (j == i || p.joined(j) || p.tokens[j-1].stop == ','); j = end {
		at, times := j, 1
		switch p.tokens[j].text {
		case "double":
			at, times = j+1, 2
		case "triple", "treble":
			at, times = j+1, 3
		}
		if at >= len(p.tokens) || at > j && !p.joined(at) {
			break
		}
		t := &p.tokens[at]
		d, isDigit := t.digit()
		if isDigit && t.text == "o" && digits == 0 {
			isDigit = false
		}
		var c byte
		switch {
		case isDigit:
			c = d
			digits += times
		case len(t.text) == 1 && t.text[0] >= 'a' && t.text[0] <= 'z':
			c = t.text[0] - 'a' + 'A'
			letters += times
		default:
			c = 0
		}
		if c == 0 {
			break
		}
		for range times {
			b.WriteByte(c)
		}
		end = at + 1
		if isDigit {
			continue
		}
		if t.text != "a" && t.text != "i" && t.text != "o" {
			certain++
		}
		if k := p.likening(end, t.text); k > 0 {
			end = k
			likened++
		}
	}
	s := b.String()
	if code := postcode(s); code != "" && digits >= 2 {
		return found{end, Postcode, code, code}
	}
	switch {
	case likened > 0 && letters >= 2 && likened*2 >= letters:
	case digits == 0 && letters >= 3 && certain >= 2:
	case digits > 0 && letters >= 2 && certain >= 1 && letters+digits >= 4:
	case letters >= 1 && certain >= 1 && digits >= 3 && letters+digits >= 5 && len(p.tokens[i].text) == 1 && p.tokens[i].class == plain:
	default:
		return found{}
	}
	return found{end, Spelled, s, s}
}

// likening reads "as in sugar" or "for sugar" behind a letter.
func (p *parser) likening(i int, letter string) int {
	switch {
	case p.is(i, "as") && p.is(i+1, "in", "for"):
		i += 2
	case p.is(i, "for", "like"):
		i++
	default:
		return 0
	}
	if !p.joined(i) || len(p.tokens[i].text) < 3 || !strings.HasPrefix(p.tokens[i].text, letter) {
		return 0
	}
	return i + 1
}

// postcode writes a British postcode, BS 7666: one or two letters, a digit, a
// digit or letter or nothing, then a digit and two letters.
func postcode(s string) string {
	n := len(s)
	if n < 5 || n > 7 {
		return ""
	}
	letter := func(c byte) bool { return c >= 'A' && c <= 'Z' }
	digit := func(c byte) bool { return c >= '0' && c <= '9' }
	in, out := s[n-3:], s[:n-3]
	if !digit(in[0]) || !letter(in[1]) || !letter(in[2]) || !letter(out[0]) {
		return ""
	}
	rest := out[1:]
	if letter(rest[0]) && len(rest) > 1 {
		rest = rest[1:]
	}
	if !digit(rest[0]) || len(rest) > 2 || len(rest) == 2 && !digit(rest[1]) && !letter(rest[1]) {
		return ""
	}
	return out + " " + in
}
