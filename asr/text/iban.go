package text

import (
	"sidetone/asr"
)

// maxIBAN is the longest account number of ISO 13616.
const maxIBAN = 34

// ibanLengths are the lengths of ISO 13616's registry, after the country.
const ibanLengths = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BR29CH21CR22CY28CZ24DE22DK18DO28EE20EG29ES24FI18FO18FR27GB22GE22GI23GL18" +
	"GR27GT28HR21HU28IE22IL23IS26IT27JO30KW30KZ20LB28LI21LT20LU20LV21MC27MD24ME22MK19MR27MT31MU30NL18NO15PK24PL28PS29PT25QA29" +
	"RO24RS22SA24SE24SI19SK24SM27TN24TR26UA29VA22XK20"

// ibanLength is how long an account number of a country is, 0 for none.
func ibanLength(country string) int {
	for i := 0; i < len(ibanLengths); i += 4 {
		if ibanLengths[i:i+2] == country {
			return small(ibanLengths[i+2 : i+4])
		}
	}
	return 0
}

// iban gathers an account number.
type iban struct {
	text  [maxIBAN]byte
	n     int
	times int
	prev  size
}

// ibans hides international bank account numbers: as many letters and digits as
// the country's have, or, since a recogniser errs, any row of them whose check
// digits are right. A partial hides what may still become one.
func (r *Redactor) ibans(words []asr.Word, partial bool) {
	for at := range r.units {
		if u := &r.units[at]; u.kind != other || len(u.text) > maxIBAN {
			continue
		}
		said := words[r.units[at].word].Text[r.units[at].from:]
		if said[0] < 'A' || said[0] > 'z' || len(said) > 1 && said[1] >= 'a' && said[1] <= 'z' {
			continue
		}
		b := iban{times: 1}
		want, end, valid := 0, at, 0
		for i := at; i < len(r.units) && (want == 0 || b.n < want); i++ {
			before := b.n
			if !b.add(words, &r.units[i]) {
				break
			}
			if b.n == before {
				continue
			}
			end = i + 1
			if before < 2 && b.n >= 2 {
				want = ibanLength(string(b.text[:2]))
			}
			if b.n > 2 && (want == 0 || !plainDigits(b.text[2:min(b.n, 4)])) {
				want = 0
				break
			}
			if b.n >= 15 && mod97(b.text[:b.n]) == 1 {
				valid = end
			}
		}
		switch {
		case want == 0:
			continue
		case b.n >= want:
		case partial && b.n >= growing && r.mayGoOn(end):
		case valid > 0:
			end = valid
		default:
			continue
		}
		for i := at; i < end; i++ {
			r.hide[i] = true
		}
		r.hid, r.hidTo = pan, end
	}
}

// add takes a unit if it can be part of an account number: digits, single
// letters, capitals.
func (b *iban) add(words []asr.Word, u *unit) bool {
	switch u.kind {
	case repeat:
		b.times = u.count
	case numeral:
		if b.prev == tens && u.size == ones && b.n > 0 {
			b.n--
		}
		b.prev = u.size
		for range b.times {
			for _, c := range u.digits {
				if c >= '0' && c <= '9' {
					b.put(byte(c))
				}
			}
		}
		b.times = 1
	case other:
		said := words[u.word].Text[u.from:u.to]
		for _, c := range []byte(said) {
			if c >= 'a' && c <= 'z' && len(said) == 1 {
				c -= 'a' - 'A'
			}
			if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
				return false
			}
			for range b.times {
				b.put(c)
			}
		}
		b.times, b.prev = 1, unsized
	default:
		return u.kind == filler && b.n > 0
	}
	return true
}

func (b *iban) put(c byte) {
	if b.n < len(b.text) {
		b.text[b.n] = c
		b.n++
	}
}

func plainDigits(s []byte) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// mod97 is the remainder of ISO 7064's check over an account number whose first
// four signs were moved to its end; it is 1 where no sign is wrong.
func mod97(s []byte) (rest int) {
	for i := range s {
		c := s[(i+4)%len(s)]
		if c >= 'A' {
			rest = (rest*100 + int(c-'A') + 10) % 97
		} else {
			rest = (rest*10 + int(c-'0')) % 97
		}
	}
	return rest
}
