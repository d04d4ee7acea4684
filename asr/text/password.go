package text

import (
	"slices"
	"strings"
)

// passwords hides the words that follow "the password is" or, if one was asked
// for, answer that.
func (r *Redactor) passwords(asked bool) {
	for _, a := range r.announced {
		if a.what == password && a.told {
			r.hideWords(a.to)
		}
	}
	if !asked || len(r.announced) > 0 || r.onlyLeads(len(r.units)) {
		return
	}
	from := 0
	for from < len(r.units) && leadsIn(r.units[from].text) {
		from++
	}
	if len(r.units) <= 3 {
		r.hideWords(0)
	}
	if from < len(r.units) && (from > 0 && strings.HasPrefix(r.units[from-1].text, "i") || len(r.units)-from <= 3 || r.spelled(from)) {
		r.hideWords(from)
	}
}

// overhearPassword notes the password that the other side tells, which is as
// secret when this side repeats it.
func (r *Redactor) overhearPassword() {
	r.passwords(r.asking > 0)
	if !r.onlyFillers(0, len(r.units)) && r.asking > 0 {
		r.asking--
	}
	if r.hid != password {
		return
	}
	r.told, r.asking = r.told[:0], 0
	for i, hidden := range r.hide {
		if hidden {
			r.told = append(r.told, r.units[i].text)
		}
	}
}

// repeats hides what is said of the password that the other side told: two words
// of it or more, or all of it. The last word of a partial may be the first of
// them.
func (r *Redactor) repeats(partial bool) {
	for i := range r.units {
		if !slices.Contains(r.told, r.units[i].text) {
			continue
		}
		next := i+1 < len(r.units) && slices.Contains(r.told, r.units[i+1].text)
		if next || len(r.told) == 1 || i > 0 && slices.Contains(r.told, r.units[i-1].text) || partial && r.mayGoOn(i+1) {
			r.hide[i] = true
		}
	}
}

func (r *Redactor) hideWords(from int) {
	words := 0
	for i := from; i < len(r.units) && words < maxPassword; i++ {
		u := &r.units[i]
		switch {
		case i > from && r.spelled(i):
		case i == from && isNoPassword(u.text) && !r.spelled(i), i > from && endsPassword(u.text):
			return
		default:
			words++
		}
		r.hide[i] = true
		r.hid = password
	}
}

// spelled says whether a unit is part of a password that is spelled. "I" and
// "a" are letters among letters only.
func (r *Redactor) spelled(at int) bool {
	u := &r.units[at]
	return spells(u) && (u.text != "i" && u.text != "a" || at+1 == len(r.units) || spells(&r.units[at+1]))
}

// isNoPassword says whether "the password is" goes on with something that is
// said about it.
func isNoPassword(t string) bool {
	switch t {
	case "not", "wrong", "incorrect", "invalid", "expired", "locked", "blocked", "working", "rejected", "being", "still",
		"the", "a", "an", "too", "no", "never", "only", "always", "really", "reset", "forgotten", "gone", "lost", "required",
		"at", "on", "in", "to", "for", "something", "there", "what", "correct", "right", "ok", "okay", "fine", "now", "also",
		"it", "that", "this", "my", "your", "very", "case", "so", "because", "sent", "changed", "new", "old", "how", "why",
		"i", "i'm", "i've", "i'll", "don't", "can", "can't", "could", "hold", "hang", "let", "just", "wait", "you", "please",
		"thanks", "thank", "hello", "hi", "one", "say", "which", "sorry", "am", "we", "he", "she", "they",
		"错", "不", "对", "什", "多", "啥", "忘", "被", "过", "吗":
		return true
	}
	return false
}

// endsPassword says whether a word goes on after the password.
func endsPassword(t string) bool {
	switch t {
	case "and", "but", "so", "please", "can", "could", "i", "i'm", "i'd", "you", "because", "which", "that", "thanks",
		"thank", "okay", "ok", "is", "my", "the", "then", "请", "你", "我", "但", "可":
		return true
	}
	return false
}

// spells says whether a word is part of a password that is spelled.
func spells(u *unit) bool {
	if u.kind == numeral || u.kind == repeat || len(u.text) == 1 {
		return true
	}
	switch u.text {
	case "capital", "upper", "uppercase", "lower", "lowercase", "case", "letter", "small", "big", "exclamation", "mark", "point",
		"at", "sign", "hash", "hashtag", "pound", "underscore", "dash", "hyphen", "dot", "star", "asterisk", "dollar", "question",
		"percent", "ampersand", "slash", "plus", "number", "all", "as", "in", "for", "大", "写", "小":
		return true
	}
	return false
}

// leadsIn says whether a word may stand before the answer to a question.
func leadsIn(t string) bool {
	switch t {
	case "it's", "its", "it", "is", "that's", "that", "would", "be", "sure", "yes", "yeah", "yep", "okay", "ok", "um", "uh", "er",
		"erm", "well", "so", "of", "course", "是", "嗯", "呃", "好":
		return true
	}
	return false
}
