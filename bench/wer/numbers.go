package wer

import (
	"math/big"
	"strconv"
	"strings"
)

// class is the part that a word plays in a spoken number.
type class uint8

const (
	notNumeral class = iota
	zero             // oh, zero
	unit             // one to nineteen
	unitEnd          // first, twos: a unit that ends its number
	ten              // twenty to ninety
	tenEnd           // twentieth, twenties
	power            // hundred, thousand, million
	powerEnd         // hundredth, thousands
	sign             // minus, plus: stands before
	currency         // dollars, cents: stands after, is written before
	percent          // percent
	per              // per, which may be followed by cent
	joiner           // and, double, triple, point
)

// numeral is what is known of a word: its class, its value, and the sign or
// ending that is written for it.
type numeral struct {
	class class
	value *big.Int
	mark  string
}

// numerals is the table of all words that numbers are made of.
func numerals() map[string]numeral {
	t := map[string]numeral{
		"minus": {class: sign, mark: "-"}, "negative": {class: sign, mark: "-"},
		"plus": {class: sign, mark: "+"}, "positive": {class: sign, mark: "+"},
		"percent": {class: percent, mark: "%"}, "per": {class: per, mark: "%"},
		"and": {class: joiner}, "double": {class: joiner}, "triple": {class: joiner}, "point": {class: joiner},
	}
	for _, w := range []string{"o", "oh", "zero"} {
		t[w] = numeral{class: zero, value: new(big.Int)}
	}
	for w, mark := range map[string]string{"pound": "£", "euro": "€", "dollar": "$", "cent": "¢"} {
		t[w] = numeral{class: currency, mark: mark}
		t[w+"s"] = t[w]
	}
	add := func(word string, v *big.Int, whole class, plural, ordinal, mark string) {
		t[word] = numeral{whole, v, ""}
		t[plural] = numeral{whole + 1, v, "s"}
		t[ordinal] = numeral{whole + 1, v, mark}
	}
	units := strings.Fields("one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
	for i, w := range units {
		plural, ordinal, mark := w+"s", w+"th", "th"
		switch w {
		case "one":
			ordinal, mark = "first", "st"
		case "two":
			ordinal, mark = "second", "nd"
		case "three":
			ordinal, mark = "third", "rd"
		case "five":
			ordinal = "fifth"
		case "six":
			plural = "sixes"
		case "eight":
			ordinal = "eighth" // but "ninth" stays a word, as in the original
		case "twelve":
			ordinal = "twelfth"
		}
		add(w, big.NewInt(int64(i+1)), unit, plural, ordinal, mark)
	}
	t["zeroth"] = numeral{unitEnd, new(big.Int), "th"}
	for i, w := range strings.Fields("twenty thirty forty fifty sixty seventy eighty ninety") {
		stem := strings.TrimSuffix(w, "y")
		add(w, big.NewInt(int64(10*(i+2))), ten, stem+"ies", stem+"ieth", "th")
	}
	p := big.NewInt(100)
	for _, w := range strings.Fields("hundred thousand million billion trillion quadrillion quintillion sextillion septillion octillion nonillion decillion") {
		if w == "thousand" {
			p = big.NewInt(1000)
		}
		add(w, p, power, w+"s", w+"th", "th")
		p = new(big.Int).Mul(p, big.NewInt(1000))
	}
	return t
}

// writeNumbers puts figures for spoken numbers: "two hundred and five dollars"
// becomes "$205", and digits said one by one become one number.
func (n *Normaliser) writeNumbers(s string) string {
	s = splitFigures(n.halves(s))
	s = n.suffix.ReplaceAllString(s, "${1}${2}")
	r := numberReader{table: n.numbers}
	r.read(strings.Fields(s))
	s = strings.Join(r.out, " ")
	s = n.centsAfter.ReplaceAllStringFunc(s, func(m string) string {
		g := n.centsAfter.FindStringSubmatch(m)
		return g[1] + g[2] + "." + strings.Repeat("0", 2-len(g[3])) + g[3]
	})
	s = n.centsOnly.ReplaceAllStringFunc(s, func(m string) string {
		cents := n.centsOnly.FindStringSubmatch(m)[1]
		if len(cents) == 2 {
			cents = strings.TrimPrefix(cents, "0")
		}
		return "¢" + cents
	})
	s = replaceWord(s, "1", "one")
	return replaceWord(s, "1s", "ones")
}

// halves turns "two and a half" into "two point five".
func (n *Normaliser) halves(s string) string {
	parts := n.half.Split(s, -1)
	var out []string
	for i, p := range parts {
		words := strings.Fields(p)
		if len(words) == 0 {
			continue
		}
		out = append(out, p)
		if i == len(parts)-1 {
			break
		}
		switch n.numbers[words[len(words)-1]].class {
		case zero, unit, ten, power:
			out = append(out, "point five")
		default:
			out = append(out, "and a half")
		}
	}
	return strings.Join(out, " ")
}

// splitFigures puts a space between a letter and a digit that touch.
func splitFigures(s string) string {
	var b strings.Builder
	letter := func(c byte) bool { return 'a' <= c && c <= 'z' }
	for i := range len(s) {
		if i > 0 && (letter(s[i-1]) && digit(s[i]) || digit(s[i-1]) && letter(s[i])) {
			b.WriteByte(' ')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// figures reports whether s is digits, perhaps with a point and more digits.
func figures(s string) bool {
	whole, rest, point := strings.Cut(s, ".")
	all := func(s string) bool {
		return s != "" && strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
	}
	return all(whole) && (!point || all(rest))
}

// numberReader gathers words into numbers. A number being gathered is either
// an integer, which units and powers may still be added to, or a run of
// characters, which further digits are appended to.
type numberReader struct {
	table map[string]numeral
	out   []string

	prefix string
	num    *big.Int // an integer, or nil
	run    string   // a run of characters if num is nil; empty for none
}

func (r *numberReader) open() bool { return r.num != nil || r.run != "" }

// text is the number so far.
func (r *numberReader) text() string {
	if r.num != nil {
		return r.num.String()
	}
	return r.run
}

// emit writes s out, behind a sign or currency that waits for it.
func (r *numberReader) emit(s string) {
	r.out = append(r.out, r.prefix+s)
	r.prefix, r.num, r.run = "", nil, ""
}

// flush writes out the number so far, if there is one.
func (r *numberReader) flush() {
	if r.open() {
		r.emit(r.text())
	}
}

func (r *numberReader) set(v *big.Int)  { r.num, r.run = v, "" }
func (r *numberReader) setRun(s string) { r.num, r.run = nil, s }

// nonZero is the number so far as characters, and nothing for the integer 0.
func (r *numberReader) nonZero() string {
	if r.num != nil && r.num.Sign() == 0 {
		return ""
	}
	if !r.open() {
		return ""
	}
	return r.text()
}

func (r *numberReader) class(w string) class { return r.table[w].class }

func (r *numberReader) read(words []string) {
	for i := 0; i < len(words); i++ {
		var prev, next string
		if i > 0 {
			prev = words[i-1]
		}
		if i+1 < len(words) {
			next = words[i+1]
		}
		if r.word(words[i], prev, next) {
			i++
		}
	}
	r.flush()
}

// word takes one word; skip says that the next one was taken with it.
func (r *numberReader) word(w, prev, next string) (skip bool) {
	bare, mark := w, ""
	for _, p := range []string{"-", "+", "£", "€", "$", "¢"} {
		if strings.HasPrefix(w, p) {
			bare, mark = w[len(p):], p
		}
	}
	if figures(bare) {
		r.figures(w, bare, mark)
		return false
	}
	e := r.table[w]
	switch e.class {
	case notNumeral:
		r.flush()
		r.emit(w)
	case zero:
		r.setRun(r.nonZero() + "0")
	case unit:
		r.addUnit(e.value.Int64(), prev)
	case unitEnd:
		r.addUnit(e.value.Int64(), prev)
		r.emit(r.text() + e.mark)
	case ten:
		r.addTen(e.value.Int64())
	case tenEnd:
		r.addTen(e.value.Int64())
		r.emit(r.text() + e.mark)
	case power:
		r.addPower(e.value)
	case powerEnd:
		r.addPower(e.value)
		r.emit(r.text() + e.mark)
	case sign:
		r.flush()
		if r.class(next) != notNumeral || figures(next) {
			r.prefix = e.mark
		} else {
			r.emit(w)
		}
	case currency:
		if r.open() {
			r.prefix = e.mark
			r.flush()
		} else {
			r.emit(w)
		}
	case percent:
		if r.open() {
			r.emit(r.text() + e.mark)
		} else {
			r.emit(w)
		}
	case per:
		if r.open() && next == "cent" {
			r.emit(r.text() + e.mark)
			return true
		}
		r.flush()
		r.emit(w)
	case joiner:
		return r.join(w, prev, next)
	}
	return false
}

// figures takes a word of digits.
func (r *numberReader) figures(w, bare, mark string) {
	if strings.HasSuffix(r.run, ".") {
		r.setRun(r.run + w)
		return
	}
	r.flush()
	if mark != "" {
		r.prefix = mark
	}
	if v, ok := new(big.Rat).SetString(bare); ok && v.IsInt() {
		r.set(v.Num())
	} else {
		r.setRun(bare)
	}
}

// addUnit takes one to nineteen: into the free places of an integer ("twenty
// one", "hundred twelve"), else as further digits ("one two", "five twelve").
func (r *numberReader) addUnit(v int64, prev string) {
	free := int64(10)
	if v >= 10 {
		free = 100
	}
	digits := strconv.FormatInt(v, 10)
	switch {
	case !r.open():
		r.set(big.NewInt(v))
	case r.num == nil && v < 10 && r.class(prev) == ten:
		r.setRun(r.run[:len(r.run)-1] + digits)
	case r.num == nil || r.class(prev) == unit || !divides(free, r.num):
		r.setRun(r.text() + digits)
	default:
		r.set(new(big.Int).Add(r.num, big.NewInt(v)))
	}
}

// addTen takes twenty to ninety.
func (r *numberReader) addTen(v int64) {
	switch {
	case !r.open():
		r.set(big.NewInt(v))
	case r.num == nil || !divides(100, r.num):
		r.setRun(r.text() + strconv.FormatInt(v, 10))
	default:
		r.set(new(big.Int).Add(r.num, big.NewInt(v)))
	}
}

// addPower takes hundred, thousand and so on, which multiply what stands
// below the thousands already said, or a run of characters if the product is
// whole ("two point five million").
func (r *numberReader) addPower(m *big.Int) {
	switch {
	case !r.open():
		r.set(m)
	case r.num != nil:
		thousands, rest := new(big.Int).QuoRem(r.num, big.NewInt(1000), new(big.Int))
		thousands.Mul(thousands, big.NewInt(1000))
		r.set(thousands.Add(thousands, rest.Mul(rest, m)))
	default:
		if v, ok := new(big.Rat).SetString(r.run); ok {
			if v.Mul(v, new(big.Rat).SetInt(m)); v.IsInt() {
				r.set(v.Num())
				return
			}
		}
		r.flush()
		r.set(m)
	}
}

func divides(d int64, v *big.Int) bool {
	return new(big.Int).Rem(v, big.NewInt(d)).Sign() == 0
}

// join takes the words that belong to a number only between its parts.
func (r *numberReader) join(w, prev, next string) (skip bool) {
	follows := r.class(next)
	switch {
	case follows == notNumeral && !figures(next):
		// Not within a number.
	case w == "and" && r.class(prev) == power:
		return false
	case (w == "double" || w == "triple") && (follows == unit || follows == zero):
		n := 2
		if w == "triple" {
			n = 3
		}
		r.setRun(r.nonZero() + strings.Repeat(r.table[next].value.String(), n))
		return true
	case w == "point":
		if follows == zero || follows == unit || follows == ten || figures(next) {
			r.setRun(r.nonZero() + ".")
		}
		return false
	}
	r.flush()
	r.emit(w)
	return false
}
