package text

import (
	"slices"
	"strings"

	"sidetone/asr"
)

// announcement is a place where words say what comes next.
type announcement struct {
	// what comes; nothing means that only the end of a number does.
	what secret
	// to is the unit behind the words.
	to int
	// told is "the password is", asked is "what is your password".
	told, asked bool
}

// mark is a phrase that announces, its words separated by spaces.
type mark struct {
	what  secret
	words string
}

var marks = [...]mark{ //nolint:gochecknoglobals // a table that Go cannot make constant
	{digits, "card number"}, {digits, "card numbers"}, {digits, "long number"}, {digits, "number on the card"},
	{digits, "number on the front"}, {digits, "number of the card"}, {digits, "number of my card"},
	{digits, "sixteen digit"}, {digits, "16 digit"}, {digits, "16-digit"},
	{digits, "security code"}, {digits, "security number"}, {digits, "cvv"}, {digits, "cvc"}, {digits, "cvv2"},
	{digits, "cv2"}, {digits, "csc"}, {digits, "c v v"}, {digits, "c v c"}, {digits, "digits on the back"},
	{digits, "numbers on the back"}, {digits, "number on the back"}, {digits, "code on the back"},
	{digits, "pin"}, {digits, "p i n"}, {digits, "passcode"}, {digits, "pass code"}, {digits, "one time code"},
	{digits, "one-time code"}, {digits, "verification code"}, {digits, "authentication code"}, {digits, "otp"},
	{digits, "卡 号"}, {digits, "安 全 码"}, {digits, "验 证 码"}, {digits, "校 验 码"}, {digits, "背 面 三 位"},
	{password, "password"}, {password, "pass word"}, {password, "passphrase"}, {password, "密 码"}, {password, "口 令"},
	{harmless, "phone"}, {harmless, "phone number"}, {harmless, "telephone number"}, {harmless, "mobile number"},
	{harmless, "cell number"}, {harmless, "zip"}, {harmless, "zip code"}, {harmless, "postcode"}, {harmless, "postal code"},
	{harmless, "date of birth"}, {harmless, "birthday"}, {harmless, "amount"}, {harmless, "address"},
	{harmless, "account number"}, {harmless, "sort code"}, {harmless, "routing number"}, {harmless, "reference number"},
	{harmless, "电 话"}, {harmless, "手 机 号"}, {harmless, "邮 编"}, {harmless, "金 额"}, {harmless, "生 日"},
	{nothing, "ending in"}, {nothing, "ends in"}, {nothing, "ending with"}, {nothing, "ends with"},
	{nothing, "last four"}, {nothing, "last 4"}, {nothing, "last three"}, {nothing, "last digits"},
	{nothing, "后 四"}, {nothing, "后 四 位"}, {nothing, "尾 号"},
}

func appendAnnouncements(as []announcement, words []asr.Word, us []unit) []announcement {
	for at := 0; at < len(us); {
		best, to := mark{}, at
		for _, m := range marks {
			if end := m.matches(us, at); end > to {
				best, to = m, end
			}
		}
		if to == at {
			at++
			continue
		}
		a := announcement{what: best.what, to: to}
		if n := len(as); n > 0 && as[n-1].what == nothing && at-as[n-1].to <= 6 {
			// "The last four digits of the card number" are no secret.
			a.what = nothing
		}
		if a.what == password {
			a.asked = asks(us, at)
			a.told = strings.HasSuffix(words[us[to-1].word].Text, ":") || strings.HasSuffix(us[to-1].text, "'s")
			if to < len(us) && slices.Contains([]string{"is", "was", "are", "是", "为"}, us[to].text) {
				a.told, a.to = true, to+1
			}
		}
		as = append(as, a)
		at = a.to
	}
	return as
}

// matches returns the unit behind the mark if it stands at a unit, else -1.
func (m *mark) matches(us []unit, at int) int {
	rest := m.words
	if us[at].text[0] != rest[0] {
		return -1
	}
	for more := true; more; at++ {
		var w string
		w, rest, more = strings.Cut(rest, " ")
		if at >= len(us) {
			return -1
		}
		if t := us[at].text; t != w && (more || t != w+"s" && t != w+"'s") {
			return -1
		}
	}
	return at
}

// asks says whether the words before a unit make it a question.
func asks(us []unit, at int) bool {
	for _, u := range us[max(0, at-5):at] {
		switch u.text {
		case "what", "what's", "whats", "tell", "give", "say", "read", "说", "请", "告":
			return true
		}
	}
	return false
}

// isNoPassword says whether "the password is" goes on with something that is
// said about it.
func isNoPassword(t string) bool {
	switch t {
	case "not", "wrong", "incorrect", "invalid", "expired", "locked", "blocked", "working", "rejected", "being", "still",
		"the", "a", "an", "too", "no", "never", "only", "always", "really", "reset", "forgotten", "gone", "lost", "required",
		"at", "on", "in", "to", "for", "something", "there", "what", "correct", "right", "ok", "okay", "fine", "now", "also",
		"it", "that", "this", "my", "your", "very", "case", "so", "because", "sent", "changed", "new", "old", "how", "why",
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
