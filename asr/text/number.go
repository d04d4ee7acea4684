package text

import (
	"strings"
	"unicode"
)

// number is what is known of the digits read so far.
type number struct {
	// count is how many there are, digits the first of them.
	count  int
	digits [maxDigits]byte
}

// maxDigits is the longest card number.
const maxDigits = 19

func (n *number) put(c byte) {
	if n.count < maxDigits {
		n.digits[n.count] = c
	}
	n.count++
}

// drop takes the last k digits back, as "forty" loses its zero to "forty five".
func (n *number) drop(k int) { n.count = max(0, n.count-k) }

// isIssued says whether the number begins as those of card schemes do.
func (n *number) isIssued() bool {
	if n.count == 0 {
		return false
	}
	switch n.digits[0] {
	case '3':
		return n.count < 2 || strings.IndexByte("04568 7", n.digits[1]) >= 0
	case '4', '5', '6':
		return true
	case '2':
		four := string(n.digits[:min(4, n.count)])
		return four >= "2221"[:len(four)] && four <= "2720"[:len(four)]
	}
	return false
}

// luhn is the check of ISO/IEC 7812-1, annex B.
func (n *number) luhn() bool {
	if n.count > maxDigits {
		return false
	}
	sum := 0
	for i := range n.count {
		d := int(n.digits[n.count-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// isCard says whether a number that was announced as something else is a card's
// all the same.
func (n *number) isCard() bool {
	return n.isIssued() && (n.count >= 14 && n.count <= maxDigits && n.count != 17 || n.luhn())
}

// run is a row of digits in the units from..to.
type run struct {
	number
	from, to int
}

// numbers hides the digits that are secret and returns the run, if there is
// one, with which the utterance ends. It counts the digits of the tail if the
// run goes on with it.
func (r *Redactor) numbers(tail *number, partial bool) (last run) {
	for at := 0; at < len(r.units); {
		var before *number
		if r.onlyFillers(0, at) {
			before = tail
		}
		n := r.runAt(at, len(r.units), before)
		if n.to == at {
			at++
			continue
		}
		if from := r.amountIn(&n, before); from < n.to {
			if rest := r.runAt(at, from, before); rest.to > at {
				r.judge(&rest, before, partial, false)
			}
			amount := r.runAt(from, n.to, nil)
			r.judge(&amount, nil, partial, true)
			at = n.to
			continue
		}
		r.judge(&n, before, partial, false)
		at = n.to
		if r.onlyFillers(n.to, len(r.units)) {
			last = n
		}
	}
	return last
}

// judge hides a run if it is secret. An amount is none.
func (r *Redactor) judge(n *run, before *number, partial, amount bool) {
	had := 0
	if before != nil {
		had = before.count
	}
	count := n.count - had
	atEnd := r.onlyFillers(n.to, len(r.units))
	mayGrow := partial && r.mayGoOn(n.to)
	what, near, ending := r.contextOf(n.from)
	switch {
	case what != nothing:
	case r.explained(n.to):
		what = harmless
	case r.hid == pan && n.from >= r.hidTo && n.from-r.hidTo <= reach:
		// Its expiry and code come next.
		what = pan
	}
	ending = ending && count <= 5
	secretly := what.secret() && !ending && !amount && !r.isYear(n)
	fours := r.inFours(n, had)
	whole := atEnd && r.onlyLeads(n.from)
	keep := 0
	switch {
	case what == harmless && n.count >= panDigits && n.isCard(),
		what == harmless && mayGrow && n.count > 8 && fours && n.isIssued(),
		what != harmless && n.count >= panDigits && !amount,
		what != harmless && mayGrow && n.count >= growing,
		secretly && count >= secretDigits,
		secretly && mayGrow,
		secretly && had > 0 && had < secretDigits && n.count >= secretDigits,
		secretly && atEnd && (near || whole),
		r.isSocial(n, count):
	case what != harmless && !ending && !amount && fours && n.isIssued() && (n.count == 8 || r.isAmex(n)) && (n.to-n.from > 1 || whole):
		keep = growing - 1
	default:
		return
	}
	for i := n.from; i < n.to; i++ {
		r.hide[i] = r.units[i].upto > keep
	}
	r.hid, r.hidTo = pan, n.to
	if secretly {
		r.hid = what
	}
}

// contextOf is what the digits at a unit were announced as: by the nearest
// words before them, else by the open question. near says that those words stand
// right before, ending that only the last digits of a number are meant.
func (r *Redactor) contextOf(at int) (what secret, near, ending bool) {
	what = r.open
	announced := false
	for _, a := range r.announced {
		if a.to > at {
			break
		}
		far := reach
		if a.what == password && !a.told {
			far = 4
		}
		switch {
		case a.what == nothing:
			ending = at-a.to <= 3
		case a.what == weak:
			if !announced || !what.secret() {
				what, ending, near = harmless, false, false
			}
		case at-a.to <= far:
			what, ending, announced = a.what, false, true
			near = at-a.to <= 2 && a.what.secret()
		}
	}
	return what, near, ending
}

// explained says whether the words behind a number tell that it is harmless:
// "is my phone number".
func (r *Redactor) explained(to int) bool {
	for _, a := range r.announced {
		if a.from >= to && a.from-to <= 4 && (a.what == harmless || a.what == weak) {
			return true
		}
	}
	return false
}

// isYear says whether digits are the year of "in 2024".
func (r *Redactor) isYear(n *run) bool {
	if n.count != 4 || n.from == 0 || string(n.digits[:2]) != "19" && string(n.digits[:2]) != "20" {
		return false
	}
	switch r.units[n.from-1].text {
	case "in", "since", "until", "january", "february", "march", "april", "may", "june", "july", "august", "september",
		"october", "november", "december":
		return true
	}
	return false
}

// isSocial says whether a number is written as social security numbers are.
func (r *Redactor) isSocial(n *run, count int) bool {
	t := r.units[n.from].text
	return count == 9 && n.to == n.from+1 && len(t) == 11 && t[3] == '-' && t[6] == '-'
}

// inFours says whether a border between groups comes after four digits, or none
// at all, had digits having been said before.
func (r *Redactor) inFours(n *run, had int) bool {
	if had > 0 {
		return had == 4 && n.count-had == 4
	}
	for i := n.from; i < n.to; i++ {
		u := &r.units[i]
		switch {
		case u.upto == 4:
			return true
		case u.upto > 4:
			sign := strings.IndexFunc(u.text, func(c rune) bool { return !unicode.IsDigit(c) })
			return i == n.from && (sign < 0 && u.upto == 8 || sign == 4)
		}
	}
	return false
}

// isAmex says whether a run is the first two groups of 4, 6 and 5 digits.
func (r *Redactor) isAmex(n *run) bool {
	return n.count == 10 && n.to == n.from+2 && n.digits[0] == '3' && (n.digits[1] == '4' || n.digits[1] == '7')
}

// runAt is the run of digits that begins at a unit and ends before limit; its to
// is at where none does. The number begins with what was said before, if that is
// not nil.
func (r *Redactor) runAt(at, limit int, before *number) run {
	n := run{from: at, to: at}
	if before != nil {
		n.number = *before
	}
	var misheard [4]byte
	pending, times := 0, 1
	var last size
	for i := at; i < limit; i++ {
		u := &r.units[i]
		u.upto = n.count
		switch u.kind {
		case numeral:
			if i == at {
				last = unsized
			}
			for _, c := range misheard[:pending] {
				n.put(c)
			}
			if pending == 0 && times == 1 {
				n.absorb(last, u)
			}
			for range times {
				for _, c := range u.digits {
					if unicode.IsDigit(c) {
						n.put('0' + byte(c&15))
					}
				}
			}
			for j := i; j >= at && (j == i || r.units[j].kind != numeral); j-- {
				r.units[j].upto = n.count
			}
			n.to = i + 1
			if u.size != hundred || last != ones && last != teens || n.count == 0 {
				last = u.size
			} else {
				last = hundred
			}
			pending, times = 0, 1
		case repeat:
			if n.to == at && i > at {
				return n
			}
			times = u.count
		case soft:
			if n.to == at || pending == len(misheard) {
				return n
			}
			misheard[pending] = u.digits[0]
			pending++
		case filler:
			if n.to == at && times == 1 {
				return n
			}
		default:
			return n
		}
	}
	return n
}

// absorb makes room for a number word that goes on with the one before: 40 and 5
// are two digits, 400 and 45 three.
func (n *number) absorb(last size, u *unit) {
	switch {
	case last == tens && u.size == ones:
		n.drop(1)
	case (last == hundred || last == thousand) && (u.size == tens || u.size == teens):
		n.drop(2)
	case (last == hundred || last == thousand) && u.size == ones:
		n.drop(1)
	}
}
