// Package text works on recognised words. Its Redactor masks what must never be
// stored, logged or shown: card numbers, security codes, PINs, one-time codes,
// social security numbers, IBANs and passwords.
//
// The package is longer than most: what tells a secret from a harmless number
// is many small rules, and they share their reading of digits.
package text

import (
	"strings"
	"unicode"

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
	// maxPassword is how many words a spoken password may have; letters and
	// digits that spell one do not count.
	maxPassword = 6
)

// Redactor masks the secrets in the words of one leg. It is used by one
// goroutine; the zero value is ready.
//
// Words are masked one for one: their number, their times and Stable do not
// change. What follows from earlier utterances (a number read out with pauses,
// the answer to a question) is known only from then on.
//
// A card number that nothing announced is known by its length, 12 digits or
// more, and before by the groups in which it is read: of a number that begins
// as cards do (3 to 6, or 2221 to 2720) and has come to exactly eight digits in
// groups of four, or to Amex's four and six, only the first six are shown. Cut
// otherwise between utterances, which looks like a telephone number, up to
// eleven digits of it are shown. In a partial a run of digits is masked from
// the seventh on while it may still become a card number, and shown again when
// it turns out to be none.
//
// An amount, "two hundred dollars", is shown near a secret, but excuses no other
// digits: what is read digit by digit, announced or asked for, of 12 digits and
// more, or what a card number lacks to be whole is none, whatever follows.
//
// To know them again it holds the number being read and the password that the
// other side told last; both go with it when the leg ends.
type Redactor struct {
	// tail is the number with which the last utterance ended, at end.
	tail number
	end  int64
	// open is the question that waits for its answer, for so many utterances.
	open  secret
	waits int
	// asked says that the other side asked for it, or this side announced it, and
	// nothing has been said since.
	asked bool
	// asking says for how many of the other side's utterances an answer to this
	// side's question for a password is awaited; told is the password it told.
	asking int
	told   []string
	// units, hide and announced are about the hypothesis at hand; hid is the
	// kind of the last secret in it, which ends before the unit hidTo.
	units     []unit
	hide      []bool
	announced []announcement
	hid       secret
	hidTo     int
}

// secret is a kind of thing that words can announce.
type secret uint8

const (
	nothing secret = iota
	// harmless digits are next: a phone number, a sort code.
	harmless
	// weak is harmless unless the same utterance speaks of a secret: "the PIN
	// of my account".
	weak
	// pan is a card number, whose last digits may be shown.
	pan
	// digits of a code or PIN are next.
	digits
	// password: words are next.
	password
)

func (s secret) secret() bool { return s >= pan }

// Redact masks a hypothesis of the leg; the leg's hypotheses are given in
// order. The words of h are left as they are.
func (r *Redactor) Redact(h asr.Hypothesis) asr.Hypothesis {
	r.read(&h)

	tail := r.tail
	if len(h.Words) > 0 && h.Words[0].Start-r.end > maxPause {
		tail = number{}
	}
	r.ibans(h.Words, !h.Final)
	last := r.numbers(&tail, !h.Final)
	r.passwords(r.open == password)
	r.repeats(!h.Final)
	if h.Final {
		r.remember(&h, last, &tail)
	}
	return r.mask(h)
}

// read takes a hypothesis apart.
func (r *Redactor) read(h *asr.Hypothesis) {
	r.units = appendUnits(r.units[:0], h.Words)
	if cap(r.hide) < len(r.units) {
		r.hide = make([]bool, len(r.units), 2*len(r.units))
	}
	r.hide = r.hide[:len(r.units)]
	clear(r.hide)
	r.hid, r.hidTo = nothing, 0
	r.announced = appendAnnouncements(r.announced[:0], h.Words, r.units)
}

// Overhear takes what the other side says, before it is redacted: a question
// for a secret makes the answer one, a question for a phone number makes it
// none, and a secret that the other side tells is one when it is read back.
// Partials are ignored.
func (r *Redactor) Overhear(h asr.Hypothesis) {
	if !h.Final {
		return
	}
	r.read(&h)
	r.overhearPassword()
	a := verdict(r.announced, r.units)
	switch {
	case a.what == nothing, a.what == password && !a.asked:
		r.overhearNumber()
		return
	case a.what == weak:
		a.what = harmless
	}
	r.open, r.waits, r.asked = a.what, patience, a.what.secret()
	if a.what == harmless {
		r.tail = number{}
	}
}

// overhearNumber sees that what is being read to this side stays secret.
func (r *Redactor) overhearNumber() {
	for at := 0; at < len(r.units); {
		n := r.runAt(at, len(r.units), nil)
		switch {
		case n.count >= panDigits && r.open != harmless:
			r.open, r.waits = pan, patience
		case n.count > 0 && r.open.secret():
			r.waits = patience
		}
		at = max(n.to, at+1)
	}
}

func (r *Redactor) onlyFillers(from, to int) bool {
	for i := from; i < to; i++ {
		if r.units[i].kind != filler {
			return false
		}
	}
	return true
}

// onlyLeads says whether nothing but what leads to an answer stands before a
// unit.
func (r *Redactor) onlyLeads(to int) bool {
	for i := range to {
		if u := &r.units[i]; u.kind != filler && !leadsIn(u.text) {
			return false
		}
	}
	return true
}

// mayGoOn says whether the digits before a unit may go on behind the last.
func (r *Redactor) mayGoOn(from int) bool {
	for i := from; i < len(r.units); i++ {
		if k := r.units[i].kind; k != filler && k != soft && k != repeat {
			return false
		}
	}
	return true
}

// remember keeps what the next utterances need to know.
func (r *Redactor) remember(h *asr.Hypothesis, last run, tail *number) {
	switch {
	case last.to > 0:
		r.tail = last.number
	case r.onlyFillers(0, len(r.units)):
		r.tail = *tail
	default:
		r.tail = number{}
	}
	if n := len(h.Words); n > 0 {
		r.end = h.Words[n-1].End
	}
	r.asked = r.asked && r.onlyLeads(len(r.units)) || r.toldAt(len(r.units))
	a := verdict(r.announced, r.units)
	if a.what == password && a.asked {
		r.asking = patience
	}
	switch {
	case r.hid != nothing && (r.hid != password || r.open != password):
		r.open, r.waits = r.hid, patience
		if r.hid == password {
			// The password has been said, unless digits of it come next.
			r.open, r.waits = digits, 1
		}
	case len(r.announced) > 0:
		r.open = nothing
		// Words such as "my card number is" at the end leave the question open.
		if left := len(r.units) - a.to; left <= 3 && (a.what != password || a.told && !a.asked && left == 0) {
			r.open, r.waits = a.what, patience
			if a.what == weak {
				r.open = harmless
			}
		}
		if a.asked && a.what != password {
			r.open, r.waits = a.what, patience
		}
	case !r.onlyFillers(0, len(r.units)) && (last.to == 0 || r.open == password):
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

// isSeparator says whether what is between two secrets is part of them.
func isSeparator(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) })
}
