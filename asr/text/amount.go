package text

import (
	"strings"
	"unicode"
)

// maxPlain is how many figures an amount has at most where no commas group them.
const maxPlain = 7

// amountIn is the unit with which the amount of money (or of time, or a number
// of times) at the end of a run begins, n.to where there is none: a currency
// must follow directly, and what stands before it must be an amount by itself,
// parted from the digits before it. What was announced or asked for as a secret
// is none, nor is what a secret lacks to be whole.
func (r *Redactor) amountIn(n *run, before *number) int {
	if n.to == len(r.units) || !isCurrency(r.units[n.to].text) || r.units[n.to-1].stop != noStop {
		return n.to
	}
	what, _, _ := r.contextOf(n.from)
	told := what.secret() && (r.toldAt(n.from) || r.asked && r.onlyLeads(n.from))
	for at := n.from; at < n.to; at++ {
		if at > n.from && !r.parted(n.from, at) || !r.isAmount(at, n.to) {
			continue
		}
		rest := r.runAt(n.from, at, before)
		switch {
		case at == n.from && told, r.runAt(at, n.to, nil).count >= panDigits,
			rest.count > 0 && rest.count < secretDigits && (told || at == n.from && what.secret()),
			rest.count > 0 && what != harmless && !r.isWhole(&rest) && n.count >= panDigits && n.isIssued() && (what == pan || rest.count >= panDigits && n.luhn()):
			// Counting the parts has changed what the units say of the whole.
			*n = r.runAt(n.from, len(r.units), before)
			return n.to
		}
		return at
	}
	return n.to
}

// isWhole says whether a run needs no more digits to be a card's or an account's
// number.
func (r *Redactor) isWhole(n *run) bool {
	amex := n.count == 15 && n.digits[0] == '3' && (n.digits[1] == '4' || n.digits[1] == '7')
	return n.count >= 16 || amex || n.count >= panDigits && n.luhn() || n.to > n.from && r.hide[n.to-1]
}

// parted says whether something stands between a numeral and the digits of its
// run: an "and", the end of a sentence, or a comma where none parts the digits
// themselves.
func (r *Redactor) parted(from, at int) bool {
	if r.units[at].kind != numeral {
		return false
	}
	for i := at - 1; i >= from && (i == at-1 || r.units[i].kind == filler); i-- {
		u := &r.units[i]
		if u.stop == sentence || u.kind == filler && (u.text == "and" || u.text == "then" || u.text == "so") {
			return true
		}
		if u.stop != comma {
			continue
		}
		for j := from; j < i; j++ {
			if r.units[j].stop == comma {
				return false
			}
		}
		return true
	}
	return false
}

// toldAt says whether the digits at a unit are what an announcement says: "the
// PIN is", "the PIN for the account is", but not "the PIN costs".
func (r *Redactor) toldAt(at int) bool {
	is := false
	for i := at - 1; i >= 0 && r.units[i].stop != sentence; i-- {
		for _, a := range r.announced {
			if a.to == i+1 && a.what.secret() {
				return true
			}
		}
		switch r.units[i].text {
		case "is", "are", "was", "were", "be", "it's", "that's", "says", "said", "reads", "是", "为":
			is = true
		case "its", "it", "number", "code", "digits", "um", "uh", "er", "erm":
		case "for", "of", "on", "to", "the", "my", "this", "that", "your", "account", "card", "phone", "bank", "order":
			if !is {
				return false
			}
		default:
			return false
		}
	}
	return false
}

// isAmount says whether units are one number as amounts are said, "two hundred
// and fifty", or a range of two, and none that is read digit by digit.
func (r *Redactor) isAmount(from, to int) bool {
	for i := from + 1; i < to-1; i++ {
		if u := &r.units[i]; u.kind == soft && u.text == "to" {
			return r.isCardinal(from, i) && r.isCardinal(i+1, to)
		}
	}
	return r.isCardinal(from, to)
}

func (r *Redactor) isCardinal(from, to int) bool {
	if to == from+1 {
		u := &r.units[from]
		return u.kind == numeral && (u.size != hundred && u.size != thousand) && (u.count == 1 || u.size != unsized || isGrouped(u.digits))
	}
	if to == from+4 && r.isHanYear(from, to) {
		return true
	}
	// last is the size of the word before, hundreds and thousands say that such
	// a word was said.
	last, hundreds, thousands := unsized, false, false
	for i := from; i < to; i++ {
		u := &r.units[i]
		switch {
		case u.text == "and" && (last == hundred || last == thousand):
			continue
		case u.kind != numeral || u.stop != noStop && i+1 < to && last != thousand && u.size != thousand:
			return false
		case u.size == ones && last != ones && last != teens,
			(u.size == teens || u.size == tens) && (last == unsized || last == hundred || last == thousand),
			u.size == unsized && i == from && u.count <= 3 && isGrouped(u.digits) && r.units[i+1].size >= hundred:
			last = u.size
			if u.size == unsized {
				last = ones
			}
		case u.size == hundred && !hundreds && last >= ones && last <= tens:
			last, hundreds = hundred, true
		case u.size == thousand && !thousands && last != unsized:
			last, hundreds, thousands = thousand, false, true
		default:
			return false
		}
	}
	return true
}

// isHanYear says whether four Chinese digits are a year's.
func (r *Redactor) isHanYear(from, to int) bool {
	var year strings.Builder
	for i := from; i < to; i++ {
		if u := &r.units[i]; u.kind != numeral || u.count != 1 || !unicode.Is(unicode.Han, first(u.text)) {
			return false
		}
		year.WriteString(r.units[i].digits)
	}
	return r.units[to].text == "年" && (strings.HasPrefix(year.String(), "19") || strings.HasPrefix(year.String(), "20"))
}

// isGrouped says whether figures are an amount's: without a zero before them,
// not many or with commas between thousands.
func isGrouped(t string) bool {
	if t[0] == '0' || strings.ContainsAny(t, "-./") {
		return false
	}
	groups := 0
	whole, rest, more := strings.Cut(t, ",")
	if !more {
		return len(t) <= maxPlain && countDigits(t) == len(t)
	}
	for more {
		var group string
		group, rest, more = strings.Cut(rest, ",")
		if len(group) != 3 {
			return false
		}
		groups++
	}
	return len(whole) <= 3 && groups <= 3
}
