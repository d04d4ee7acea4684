// Package text works on recognised words. Its Redactor masks what must never be
// stored, logged or shown: card numbers, security codes, PINs and passwords.
package text

import (
	"strings"

	"sidetone/asr"
	"sidetone/internal/pcm"
)

// Mask stands for what was masked. It does not tell how long that was.
const Mask = "••••"

const (
	// panDigits is the length from which a run of digits is taken for a card
	// number (ISO/IEC 7812 allows up to 19). A recogniser errs, so the check
	// digit is not asked.
	panDigits = 12
	// growing is the length from which a run at the end of a partial, which may
	// still become a card number, is masked. Six digits, the issuer's number,
	// may be shown (PCI DSS 3.4.1).
	growing = 7
	// secretDigits is the shortest security code or PIN.
	secretDigits = 3
	// reach is how many words behind "security code" its digits may begin.
	reach = 12
	// patience is for how many utterances a question stays open.
	patience = 3
	// maxPause is the silence, in samples, across which digits are one number.
	maxPause = 15 * pcm.Rate
	// maxPassword is how many words a spoken password may have.
	maxPassword = 6
)

// Redactor masks the secrets in the words of one leg. It is used by one
// goroutine; the zero value is ready.
//
// Words are masked one for one: their number, their times and Stable do not
// change. What follows from earlier utterances (a number read out with pauses,
// the answer to a question) is known only from then on: of a card number read
// in groups of four without being announced, the first eight digits are shown
// and the rest is masked. In a partial a run of digits is masked while it may
// still become a card number, and shown again when it turns out to be none.
type Redactor struct {
	// tail is how many digits the last utterance ended with, ending at end.
	tail int
	end  int64
	// open is the question that waits for its answer, for so many utterances.
	open  secret
	waits int
	// units, hide and announced are about the hypothesis at hand.
	units     []unit
	hide      []bool
	announced []announcement
}

// secret is a kind of thing that words can announce.
type secret uint8

const (
	nothing secret = iota
	// harmless digits are next: a phone number, an amount.
	harmless
	// digits of a card number, code or PIN are next.
	digits
	// password: words are next.
	password
)

// Redact masks a hypothesis of the leg; the leg's hypotheses are given in
// order. The words of h are left as they are.
func (r *Redactor) Redact(h asr.Hypothesis) asr.Hypothesis {
	r.units = appendUnits(r.units[:0], h.Words)
	if cap(r.hide) < len(r.units) {
		r.hide = make([]bool, len(r.units), 2*len(r.units))
	}
	r.hide = r.hide[:len(r.units)]
	clear(r.hide)

	tail := r.tail
	if len(h.Words) > 0 && h.Words[0].Start-r.end > maxPause {
		tail = 0
	}
	r.announced = appendAnnouncements(r.announced[:0], h.Words, r.units)
	last := r.numbers(tail, !h.Final)
	r.passwords()
	if h.Final {
		r.remember(&h, last, tail)
	}
	return r.mask(h)
}

// Overhear takes what the other side says: a question for a secret makes the
// answer one, a question for a phone number makes it none. Partials are
// ignored.
func (r *Redactor) Overhear(h asr.Hypothesis) {
	if !h.Final {
		return
	}
	r.units = appendUnits(r.units[:0], h.Words)
	r.announced = appendAnnouncements(r.announced[:0], h.Words, r.units)
	if len(r.announced) == 0 {
		return
	}
	a := r.announced[len(r.announced)-1]
	if a.what == password && !a.asked || a.what == nothing {
		return
	}
	r.open, r.waits = a.what, patience
	if a.what == harmless {
		r.tail = 0
	}
}

// run is a row of digits in the units from..to.
type run struct {
	from, to, count int
}

// numbers hides the digits that are secret and returns the run, if there is
// one, with which the utterance ends.
func (r *Redactor) numbers(tail int, partial bool) (last run) {
	for at := 0; at < len(r.units); {
		n := r.runAt(at)
		if n.count == 0 {
			at++
			continue
		}
		at = n.to
		atEnd := r.onlyFillers(n.to, len(r.units))
		count := n.count
		if r.onlyFillers(0, n.from) {
			count += tail
		}
		what, ending := r.contextOf(n.from)
		secretly := what == digits || what == password
		switch {
		case count >= panDigits,
			partial && atEnd && count >= growing,
			secretly && !ending && n.count >= secretDigits && !r.isAmount(n.to),
			secretly && !ending && partial && atEnd,
			secretly && !ending && tail > 0 && r.onlyFillers(0, n.from) && atEnd:
			for i := n.from; i < n.to; i++ {
				r.hide[i] = true
			}
		}
		if atEnd {
			last = n
		}
	}
	return last
}

// contextOf is what the digits at a unit were announced as: by the nearest
// words before them, else by the open question. ending says that only the last
// digits of a number are meant.
func (r *Redactor) contextOf(at int) (what secret, ending bool) {
	what = r.open
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
		case at-a.to <= far:
			what, ending = a.what, false
		}
	}
	return what, ending
}

// runAt is the run of digits that begins at a unit; its count is 0 where none
// does.
func (r *Redactor) runAt(at int) run {
	n := run{from: at, to: at}
	pending, times := 0, 1
	tens := false
	for i := at; i < len(r.units); i++ {
		u := &r.units[i]
		switch u.kind {
		case numeral:
			c := u.count
			if tens && u.unit {
				// "forty five" is two digits.
				c = 0
			}
			n.count += c*times + pending
			n.to = i + 1
			pending, times, tens = 0, 1, u.tens
		case repeat:
			if n.count == 0 && i > at {
				return n
			}
			times = u.count
		case soft:
			if n.count == 0 {
				return n
			}
			pending++
		case filler:
			if n.count == 0 && times == 1 {
				return n
			}
		default:
			return n
		}
	}
	return n
}

func (r *Redactor) onlyFillers(from, to int) bool {
	for _, u := range r.units[from:to] {
		if u.kind != filler {
			return false
		}
	}
	return true
}

func (r *Redactor) isAmount(at int) bool {
	return at < len(r.units) && isCurrency(r.units[at].text)
}

// passwords hides the words that follow "the password is".
func (r *Redactor) passwords() {
	for _, a := range r.announced {
		if a.what == password && a.told {
			r.hideWords(a.to)
		}
	}
	if r.open == password && len(r.announced) == 0 && len(r.units) > 0 && len(r.units) <= 3 {
		r.hideWords(0)
	}
}

func (r *Redactor) hideWords(from int) {
	for i := from; i < len(r.units) && i < from+maxPassword; i++ {
		t := r.units[i].text
		if i == from && isNoPassword(t) || i > from && endsPassword(t) {
			return
		}
		r.hide[i] = true
	}
}

// remember keeps what the next utterances need to know.
func (r *Redactor) remember(h *asr.Hypothesis, last run, tail int) {
	switch {
	case last.count > 0 && r.onlyFillers(0, last.from):
		r.tail = tail + last.count
	case last.count > 0:
		r.tail = last.count
	case r.onlyFillers(0, len(r.units)):
		r.tail = tail
	default:
		r.tail = 0
	}
	if n := len(h.Words); n > 0 {
		r.end = h.Words[n-1].End
	}
	if n := len(r.announced); n > 0 {
		r.open = nothing
		// Words such as "my card number is" at the end leave the question open.
		if a := r.announced[n-1]; len(r.units)-a.to <= 3 && (a.what != password || a.told && len(r.units) == a.to) {
			r.open, r.waits = a.what, patience
		}
		return
	}
	if len(r.units) > 0 && (last.count == 0 || r.open == password) {
		if r.waits--; r.waits <= 0 {
			r.open = nothing
		}
	}
}

// mask writes the mask over the hidden units.
func (r *Redactor) mask(h asr.Hypothesis) asr.Hypothesis {
	copied := false
	for i := 0; i < len(r.units); {
		if !r.hide[i] {
			i++
			continue
		}
		word := r.units[i].word
		if !copied {
			h.Words = append([]asr.Word(nil), h.Words...)
			copied = true
		}
		text := h.Words[word].Text
		var b strings.Builder
		at := 0
		for ; i < len(r.units) && r.units[i].word == word; i++ {
			if !r.hide[i] {
				continue
			}
			u := &r.units[i]
			if between := text[at:u.from]; at == 0 || !isSeparator(between) {
				b.WriteString(between)
				b.WriteString(Mask)
			}
			at = u.to
		}
		b.WriteString(text[at:])
		h.Words[word].Text = b.String()
	}
	return h
}

func isSeparator(s string) bool { return strings.Trim(s, " -.,/、，") == "" }
