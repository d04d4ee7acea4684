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
	// from is the first unit of the words, to the one behind them.
	from, to int
	// told is "the password is", asked is "what is your password".
	told, asked bool
}

// mark is a phrase that announces, its words separated by spaces.
type mark struct {
	what  secret
	words string
}

// marks are sorted by their words.
var marks = [...]mark{ //nolint:gochecknoglobals // a table that Go cannot make constant
	{pan, "16 digit"}, {pan, "16-digit"},
	{digits, "access code"}, {weak, "account"}, {harmless, "account number"}, {digits, "activation code"},
	{weak, "address"}, {weak, "amount"}, {harmless, "area code"}, {digits, "authentication code"},
	{weak, "balance"}, {harmless, "birth date"}, {weak, "birthday"}, {weak, "booking"}, {harmless, "booking number"},
	{digits, "c v c"}, {digits, "c v v"}, {harmless, "call back number"}, {harmless, "call me at"},
	{harmless, "call me on"}, {harmless, "callback number"}, {pan, "card details"}, {pan, "card number"},
	{pan, "card numbers"}, {harmless, "case number"}, {harmless, "cell number"}, {harmless, "claim number"},
	{digits, "code from the back"}, {digits, "code from the text"}, {digits, "code i got"}, {digits, "code i received"},
	{digits, "code i sent"}, {digits, "code in the text"}, {digits, "code on the back"}, {digits, "code we sent"},
	{digits, "code you got"}, {digits, "code you received"}, {digits, "code you sent"},
	{harmless, "confirmation number"}, {harmless, "contact number"}, {digits, "csc"}, {harmless, "customer number"},
	{digits, "cv2"}, {digits, "cvc"}, {digits, "cvv"}, {digits, "cvv2"},
	{harmless, "date of birth"}, {digits, "digit code"}, {digits, "digits from the back"},
	{digits, "digits on the back"}, {pan, "digits on the front"},
	{nothing, "ending in"}, {nothing, "ending with"}, {nothing, "ends in"}, {nothing, "ends with"},
	{harmless, "error code"},
	{harmless, "fax number"}, {pan, "first four"}, {harmless, "flight number"}, {pan, "full number"},
	{pan, "i b a n"}, {pan, "iban"}, {weak, "invoice"}, {harmless, "invoice number"},
	{nothing, "last 3"}, {nothing, "last 4"}, {nothing, "last digits"}, {nothing, "last four"}, {nothing, "last three"},
	{digits, "login code"}, {pan, "long number"},
	{harmless, "membership number"}, {password, "memorable word"}, {harmless, "meter number"},
	{harmless, "mobile number"}, {harmless, "model number"}, {pan, "my card is"}, {weak, "my mobile"},
	{digits, "my social"}, {harmless, "my social media"},
	{pan, "next four"}, {digits, "number from the back"}, {pan, "number of my card"}, {pan, "number of the card"},
	{pan, "number on my card"}, {digits, "number on the back"}, {pan, "number on the card"},
	{pan, "number on the front"}, {pan, "number on your card"}, {digits, "numbers on the back"},
	{digits, "o t p"}, {digits, "of the social"}, {digits, "one time code"}, {digits, "one time passcode"},
	{digits, "one time password"}, {digits, "one-time code"}, {digits, "one-time password"}, {weak, "order"},
	{harmless, "order number"}, {digits, "otp"},
	{digits, "p i n"}, {harmless, "part number"}, {digits, "pass code"}, {password, "pass word"}, {digits, "passcode"},
	{digits, "passkey"}, {password, "passphrase"}, {password, "password"}, {weak, "phone"}, {harmless, "phone number"},
	{digits, "pin"}, {harmless, "policy number"}, {harmless, "postal code"}, {harmless, "postcode"},
	{harmless, "promo code"},
	{harmless, "reach me at"}, {harmless, "reach me on"}, {weak, "reference"}, {harmless, "reference number"},
	{harmless, "routing number"},
	{digits, "s s n"}, {password, "secret answer"}, {password, "secret word"}, {digits, "security code"},
	{digits, "security digits"}, {digits, "security number"}, {password, "security word"}, {harmless, "serial number"},
	{pan, "sixteen digit"}, {digits, "sms code"}, {digits, "social is"}, {digits, "social number"},
	{digits, "social security"}, {digits, "social security number"}, {harmless, "social security office"},
	{harmless, "sort code"}, {digits, "ssn"},
	{weak, "telephone"}, {harmless, "telephone number"}, {digits, "temporary code"}, {digits, "text code"},
	{pan, "the card is"}, {digits, "three on the back"}, {harmless, "ticket number"}, {harmless, "tracking number"},
	{digits, "verification code"},
	{weak, "your mobile"}, {digits, "your social"}, {harmless, "your social media"},
	{harmless, "zip"}, {harmless, "zip code"}, {weak, "余 额"}, {digits, "动 态 码"}, {harmless, "单 号"}, {pan, "卡 号"},
	{pan, "卡 片 号"}, {pan, "卡 的 号 码"}, {password, "口 令"}, {nothing, "后 四"}, {nothing, "后 四 位"}, {digits, "安 全 码"},
	{password, "密 码"}, {nothing, "尾 号"}, {weak, "手 机"}, {harmless, "手 机 号"}, {nothing, "最 后 四 位"}, {nothing, "末 四 位"},
	{digits, "校 验 码"}, {harmless, "生 日"}, {weak, "电 话"}, {digits, "短 信 码"}, {harmless, "编 号"}, {digits, "背 面 三 位"},
	{digits, "背 面 后 三 位"}, {digits, "背 面 末 三 位"}, {digits, "背 面 的 三 位"}, {digits, "背 面 的 后 三 位"}, {weak, "订 单"},
	{harmless, "账 号"}, {weak, "账 户"}, {digits, "身 份 证"}, {digits, "身 份 证 号"}, {digits, "身 份 证 号 码"}, {harmless, "邮 编"},
	{weak, "金 额"}, {pan, "银 行 卡 号"}, {digits, "验 证 码"},
}

func appendAnnouncements(as []announcement, words []asr.Word, us []unit) []announcement {
	for at := 0; at < len(us); {
		best, to := mark{}, at
		initial := us[at].text[0]
		i, _ := slices.BinarySearchFunc(marks[:], initial, func(m mark, c byte) int { return int(m.words[0]) - int(c) })
		for ; i < len(marks) && marks[i].words[0] == initial; i++ {
			if end := marks[i].matches(us, at); end > to {
				best, to = marks[i], end
			}
		}
		if to == at {
			at++
			continue
		}
		a := announcement{what: best.what, from: at, to: to}
		if n := len(as); n > 0 && as[n-1].what == nothing && at-as[n-1].to <= 6 && !hasNumeral(us[as[n-1].to:at]) && (a.what == pan || a.what == harmless || a.what == weak) {
			// "The last four digits of the card number" are no secret. Those of a
			// social security number are what people are asked for.
			a.what = nothing
		}
		if a.what == password || a.what == digits {
			a.asked = asks(us, at)
		}
		if a.what == password {
			a.told = strings.HasSuffix(words[us[to-1].word].Text, ":") || strings.HasSuffix(us[to-1].text, "'s")
			if is := copula(us, to); is >= 0 {
				a.told, a.to = true, is+1
			}
		}
		as = append(as, a)
		at = a.to
	}
	return as
}

// copula is where "is" stands in "password is" and "password for the account
// is", -1 where it does not.
func copula(us []unit, at int) int {
	far := at + 1
	if at < len(us) && slices.Contains([]string{"for", "on", "to", "of"}, us[at].text) {
		far += 4
	}
	for i := at; i < min(far, len(us)); i++ {
		switch us[i].text {
		case "is", "was", "are", "是", "为":
			return i
		}
	}
	return -1
}

func hasNumeral(us []unit) bool {
	for i := range us {
		if us[i].kind == numeral {
			return true
		}
	}
	return false
}

// verdict is what an utterance as a whole is about: its last announcement, but
// a secret goes before what is harmless. An utterance that says that the secret
// is not wanted is not about it.
func verdict(as []announcement, us []unit) (v announcement) {
	for _, a := range as {
		if a.what.secret() && denied(us, a.from) {
			continue
		}
		if !v.what.secret() || a.what.secret() || a.what == nothing {
			v = a
		}
	}
	return v
}

// denied says whether the words before a unit say no.
func denied(us []unit, at int) bool {
	for i := max(0, at-4); i < at; i++ {
		switch us[i].text {
		case "don't", "dont", "not", "never", "without", "won't", "cannot", "can't", "isn't", "别", "勿":
			return true
		}
	}
	return false
}

// matches returns the unit behind the mark if it stands at a unit, else -1.
func (m *mark) matches(us []unit, at int) int {
	rest := m.words
	for more := true; more; at++ {
		var w string
		w, rest, more = strings.Cut(rest, " ")
		if at >= len(us) {
			return -1
		}
		t := us[at].text
		if !strings.HasPrefix(t, w) {
			return -1
		}
		if tail := t[len(w):]; tail != "" && (more || tail != "s" && tail != "'s") {
			return -1
		}
	}
	return at
}

// asks says whether the words before a unit make it a question.
func asks(us []unit, at int) bool {
	for i := range us[max(0, at-5):at] {
		switch us[max(0, at-5)+i].text {
		case "what", "what's", "whats", "tell", "give", "say", "read", "confirm", "have", "get", "need", "enter", "说", "请", "告":
			return true
		}
	}
	return false
}
