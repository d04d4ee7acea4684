package text

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"sidetone/asr"
)

// dialogue is a case of redaction: what two sides say, one utterance after the
// other with | between them; a: begins the agent's. {Words} are masked in the
// final, each word by itself; <words> belong to the secret and may be shown.
type dialogue struct {
	// lead is how many digits of the secret any partial or final may show in
	// all.
	lead int
	said string
}

// dialogues: the secrets.
var secrets = []dialogue{
	// Card numbers that nothing announces.
	{6, "{4539 1488 0343 6467}"},
	{6, "it is {4539 1488 0343 6467} thanks"},
	{6, "it's {4539148803436467}, expiring soon"},
	{6, "{4539-1488-0343-6467}."},
	{6, "{4539.1488.0343.6467}."},
	{6, "{4539/1488/0343/6467}"},
	{6, "{4,539,148,803,436,467} is it"},
	{6, "yes {4539-1488} {0343-6467} please"},
	{6, "{45 39 14 88 03 43 64 67}"},
	{6, "{453 914 880 343 6467}"},
	{6, "{45391 48803 43646 7}"},
	{6, "{4 5 3 9 1 4 8 8 0 3 4 3 6 4 6 7}"},
	{6, "{4-5-3-9-1-4-8-8-0-3-4-3-6-4-6-7}"},
	{6, "{four five three nine one four eight eight oh three four three six four six seven}"},
	{6, "{Four, five, three, nine, 1488, 0343, 6467}."},
	{6, "{4539 one four eight eight 0343 six four six seven} yes"},
	{6, "{forty five thirty nine fourteen eighty eight zero three forty three sixty four sixty seven}"},
	{6, "{forty-five thirty-nine fourteen eighty-eight zero three forty-three sixty-four sixty-seven}"},
	{6, "{four double five three triple eight double zero three four one}"},
	{6, "{double four double five treble six double seven one two three four}"},
	{6, "{quadruple five quadruple five quadruple five quadruple four}"},
	{6, "{4539 uh 1488 um and then 0343 6467}"},
	{6, "{4539 yeah 1488 yes 0343 right 6467}"},
	{6, "{four five three nine dash one four eight eight dash oh three four three dash six four six seven}"},
	{6, "{4539 too 488 for 343 eight}"},
	{6, "{four five three nine one for eight ate oh tree four three six for six seven}"},
	{6, "{4539 1489 no sorry 1488 0343 6467}"},
	{6, "{four thousand five hundred thirty nine fourteen eighty eight zero three four three sixty four sixty seven}"},
	{6, "{forty five hundred fourteen eighty eight zero three forty three six four six seven}"},
	{6, "{371449635398431}"},
	{6, "{3714 496353 98431}"},
	{6, "{three seven one four four nine six three five three nine eight four three one}"},
	{6, "{5555 5555 5555 4444}"},
	{6, "{6011 1111 1111 1117} is the discover"},
	{6, "{2223 0031 2200 3222}"},
	{6, "{30569309025904}"},
	{6, "{6304000000000000000}"},
	{6, "{3530 1113 3330 0000}"},
	{6, "{501800000009} is it"},
	{6, "{4539 1488 0343 6466}"},
	{6, "{4539 1488 0343 646}"},
	{6, "{4539 1488 0343 64677}"},
	{6, "card:{4539148803436467}"},
	{6, "visa{4539148803436467}"},
	{6, "{4539–1488–0343–6467}"},
	{6, "{4539:1488:0343:6467}"},
	{6, "{４５３９ １４８８ ０３４３ ６４６７}"},
	{6, "{4539, 1488, 0343, 6467}, expiry {05/27}, {123}"},
	{6, "so that would be {4 5 3 9} {1 4 8 8} {0 3 4 3} {6 4 6 7} and the name is Patricia"},
	{6, "it says {4539 1488 0343 6467} valid thru {0527}"},

	// In pieces.
	{6, "<4539> {1488} | {0343 6467} okay"},
	{6, "<four five three nine> | <one four> {eight eight} | {oh three four three} | {six four six seven}"},
	{6, "<4539> {1488} | um | {0343 6467}"},
	{6, "<4539> {1488} | hold on | {0343 6467}"},
	{6, "<4539> {1488} | hold on | {0343} | sorry | {6467}"},
	{6, "<4539> | {1488} | {0343} | {6467}"},
	{6, "<4532> | a: mm-hm | <one one> {two two} | a: okay | {8833 6467}"},
	{6, "<four five three two> | a: mm-hm | <one one> {two two} | a: yes | {three three four four} | a: got it | {five five six six}"},
	{6, "<double four double five> | a: uh-huh | <one two> {three four} | {double six seven eight} | {nine zero nine zero}"},
	{6, "<4539> {1488} that's the first half | {0343 6467}"},
	{6, "<4539> <14> {88} | {03 43 64 67}"},
	{6, "<forty five thirty nine fourteen> {eighty eight} | {zero three forty three} | {sixty four sixty seven}"},
	{6, "{45391488} | {03436467}"},
	{6, "{4539-1488} | {0343-6467}"},
	{6, "{4539.1488} | {0343.6467}"},
	{6, "<3714> {496353} | {98431}"},
	{6, "<5105> {1051} | {0510 5100}"},
	{6, "<6222> {0200} | {1234 5678 900}"},
	{6, "<2223> {0031} | {2200 3222}"},
	{6, "<45 39 14> {88} | {03 43} | {64 67}"},
	{6, "yes it is <4539> {1488} | {0343} | {6467} yes"},
	{6, "<4539> {1488} | a: sorry could you repeat that | {4539 1488 0343 6467}"},
	{6, "um <4539> | um | {1488} | um | {0343 6467}"},
	{6, "okay <four five three nine> | and | <one four> {eight eight} | and then | {oh three four three} | {six four six seven}"},
	// Not in groups of four: what may be a telephone number is shown.
	{11, "<453 914 880> | {343 6467}"},
	{11, "<453 914> | <880 34> | {3 6467}"},
	{11, "<four five three> | <nine one four> | <eight eight zero> | {three four three} | {six four six seven}"},
	{11, "<37144 96353> | {98431}"},
	{11, "<45391> | <48803> | {43646} | {7}"},

	// Announced or asked for.
	{0, "my card number is {4539}"},
	{0, "my card number is {4539 1488 0343 6467}"},
	{0, "my card number is | {four five three nine} | {one four eight eight}"},
	{0, "my card number is {four five three nine} | {one four eight eight} | {oh three four three} | {six four six seven}"},
	{0, "the long number is {4539} | a: mm-hm | {1488} | a: yep | {0343} | a: yes | {6467}"},
	{0, "the card number for my account is {4539 1488}"},
	{0, "my card number for this order is {4539} | {1488}"},
	{0, "a: can I have your card number please | {4539 1488} | {0343 6467}"},
	{0, "a: can I have your card number please | sure | it's {4539} | {14} | {88}"},
	{0, "a: can I take the card number for this order | {4539} | {1488 0343 6467}"},
	{0, "a: could you read me the sixteen digit number | one moment | {4539 1488} | {0343}"},
	{0, "a: go ahead with the long number | {forty five thirty nine} | {fourteen eighty eight}"},
	{0, "the number on the card is {four double five three} | {triple eight one}"},
	{0, "the number on the front of the card is {4539}"},
	{0, "so the first four are {4539} and the next four are {1488} {0343}"},
	{0, "card number {4539} expiry {0527}"},
	{0, "my card number is {4539 1488 0343 6467} expiring {05 27} security code {123}"},
	{0, "my card number is {4539 1488 0343 6467} | expires {0527} | and the code is {123}"},
	{0, "a: card number please | {453 914 880} | {343 6467}"},
	{0, "a: what's the card number | one moment | it's {4539 1488}"},
	{0, "my card is {4539 1488 0343 6467}"},
	{0, "the last four digits of my card number are 6467 and the full number is {4539 1488 0343 6467}"},
	{0, "my card ending in 6467 the card number is {4539 1488}"},

	// Read back by the agent.
	{0, "my card number is {4539 1488 0343 6467} | a: so that's {4539} | a: {1488} | a: {0343 6467} is that right"},
	{0, "a: your card number please | {4539} | a: {4539} | {1488} | a: {1488} | {0343} | a: {0343}"},
	{0, "a: your card number please | {four five three nine} | a: {four five three nine} okay | {one four eight eight} | a: {one four double eight}"},
	{0, "a: and the code on the back | {one two three} | a: {one two three} thank you"},
	{0, "a: I need the pin | {4821} | a: {four eight two one} correct"},
	{6, "{4539 1488 0343 6467} | a: {4539} | a: {1488}"},
	{6, "a: let me read that back {4539 1488 0343 6467}"},
	{6, "a: <4539> {1488} | yes | a: {0343} | yes | a: {6467}"},

	// Security codes.
	{0, "the security code is {123}"},
	{0, "security code {one two three}"},
	{0, "CVV {three two one}"},
	{0, "the C V V is {321}"},
	{0, "my CVC is {nine oh nine}"},
	{0, "the CVV2 is {987}."},
	{0, "the three on the back are {one two three}"},
	{0, "the last three digits on the back are {4 5 6}"},
	{0, "the code on the back is {double one two}"},
	{0, "the number on the back is {triple seven}"},
	{0, "four digit security code {1234}"},
	{0, "a: and the three digits on the back | sure {one two three}"},
	{0, "a: and the last three digits on the back | {123}"},
	{0, "a: can I get the security code | {1} | {2} | {3}"},
	{0, "a: security number please | it is {seven} | {double two}"},

	// PINs and codes for once.
	{0, "my PIN is {4821} I think"},
	{0, "my pin's {four eight two one}"},
	{0, "my pin is {forty eight twenty one}"},
	{0, "the pin is {double four double two}"},
	{0, "my P I N is {4 8 2 1}"},
	{0, "my pin for the account is {4821}"},
	{0, "my pin is {four} | {eight two one}"},
	{0, "PIN: {4821}"},
	{0, "pin number {0 0 0 0}"},
	{0, "a: please tell me your PIN | {four} | {eight} | {two one}"},
	{0, "a: enter your pin | {one two three four}"},
	{0, "the verification code is {604 213}"},
	{0, "the one-time code is {six oh four two one three}"},
	{0, "one time password {604213}"},
	{0, "my passcode's {604213}."},
	{0, "the OTP is {6 0 4 2 1 3}"},
	{0, "the authentication code says {604-213}"},
	{0, "I got the code we sent {604213}"},
	{0, "a: what is the code we sent you | {604} | {213}"},
	{0, "a: what's the six digit code | {six oh four} | {two one three}"},
	{0, "a: could you read me the verification code | yes {604} {213}"},
	{0, "a: tell me the code you received | um it's {604213}"},
	{0, "the access code is {99 88 77}"},
	{0, "my login code was {five five one two}"},
	{0, "my phone pin is {4821}"},

	// Passwords.
	{0, "my password is {sunshine42} please"},
	{0, "the password is {blue horse seven} and I cannot log in"},
	{0, "my password's {Rosebud}."},
	{0, "the password for my account is {Rosebud}."},
	{0, "the password of the online bank was {rose bud nine} but not now"},
	{0, "password: {hunter2}"},
	{0, "my password is {capital S U N seven exclamation mark}"},
	{0, "my password is {s u n s h i n e four two} please"},
	{0, "my password is {I L O V E U} thanks"},
	{0, "the passphrase is {blue horse battery staple}"},
	{0, "my password is {4821}"},
	{0, "the memorable word is {cinnamon}"},
	{0, "my secret word is {Bluebell}, okay"},
	{0, "a: what is your password | {sunshine}"},
	{0, "a: what is your password | it's {sunshine forty two} and that's all"},
	{0, "a: can you tell me the password | it is {blue} {horse}"},
	{0, "a: what's the memorable word | {cinnamon}"},
	{0, "my password is | {sunshine}"},
	{0, "my password is {sunshine} | {forty two}"},
	{0, "the wifi password is {Tr0ub4dor&3} you know"},

	// Social security numbers.
	{6, "it's {078-05-1120}"},
	{0, "my social security number is {078-05-1120}"},
	{0, "my social is {oh seven eight oh five one one two oh}"},
	{0, "my SSN is {078 05 1120}"},
	{0, "S S N {078051120}"},
	{0, "the last four of my social are {1120}"},
	{0, "a: can I get the last four of your social | {1120}"},
	{0, "a: what are the last four digits of your social security number | {one one two oh}"},
	{0, "a: your social security number please | {078} | {05} | {1120}"},
	{0, "social security {double oh eight oh five one one two oh}"},

	// IBANs.
	{6, "{GB29 NWBK 6016 1331 9268 19}"},
	{6, "it is {GB29NWBK60161331926819} okay"},
	{6, "{DE89 3704 0044 0532 0130 00}"},
	{6, "{NL91 ABNA 0417 1643 00}"},
	{6, "{FR14 2004 1010 0505 0001 3M02 606}"},
	{6, "{NL 91 ABNA 0417 1643 00} thanks"},
	{6, "{N L nine one A B N A oh four one seven one six four three oh oh}"},
	{6, "{N L nine one A B N A oh four one seven one six four three double oh} thanks"},
	{6, "{GB82 WEST 1234 5698 7654 32}"},
	{6, "{BE68 5390 0754 7034}"},
	{6, "{NO93 8601 1117 947}"},
	{6, "{DE88 3704 0044 0532 0130 00}"},
	{6, "the IBAN is {GB29 NWBK 6016 1331 9268 19}"},
	{6, "{C H nine three 0076 2011 6238 5295 7}"},

	// Chinese.
	{0, "我的卡号是{6222 0200 1234 5678 900}"},
	{0, "卡号是{六二二二零二零零幺二三四}"},
	{0, "卡号 {六二二二} {零二零零}"},
	{0, "a: 请说一下卡号 | {六二二二} | {零二零零} | {一二三四}"},
	{0, "我的银行卡号是{六二二二}"},
	{6, "{六二二二 零二零零 一二三四 五六七八}"},
	{6, "{六 二 二 二 零 二 零 零 一 二 三 四 五 六 七 八}"},
	{6, "<六二二二> <零二>{零零} | {一二三四 五六七八}"},
	{6, "<六二二二> | a: 嗯 | <零二>{零零} | {幺二三四}"},
	{0, "密码是{八八六六四二}"},
	{0, "我的密码是{八八六六四二一九}"},
	{0, "密码是{abc123}"},
	{0, "验证码 {三九一二}"},
	{0, "验证码是{604213}"},
	{0, "a: 请告诉我验证码 | {六零四} | {二幺三}"},
	{0, "安全码是{一二三}"},
	{0, "背面三位是{七八九}"},
	{0, "卡背面的后三位是{七八九}"},
	{0, "动态码 {6 0 4 2 1 3}"},
	{0, "我的身份证号是{110101199003070037}"},
	{0, "身份证号码 {一一零一零一一九九零零三零七}"},
	{0, "a: 身份证 号码 请说 | {110101} | {19900307} | {0037}"},
}

// ordinary is what must stay as it is, in finals.
var ordinary = []string{
	// Telephone numbers.
	"my number is 715 139 0787",
	"seven one five | one three nine | zero seven eight seven",
	"it's 415-555-0123 thanks",
	"four one five five five five oh one two three",
	"area code four one five then five five five | oh one two three",
	"oh two oh seven nine four six oh nine five eight",
	"020 7946 0958 is the office",
	"my mobile is 07700 900123",
	"07700 | 900 | 123",
	"my phone number is +44 20 7946 0958",
	"my phone number is +86 138 0013 8000",
	"a: what's your phone number | 4155 5501 | 23",
	"a: what is your phone number | four five three nine one four eight eight",
	"a: and the best contact number | 6222 0200",
	"6123 4567 is my mobile number",
	"call me on 4539 1488",
	"I would like to reset my password | a: okay what is your phone number | seven one five | one three nine",
	"my card number was stolen | a: what is your phone number | 415 555 0123",
	"phone number double seven triple oh nine hundred one two three",
	"555 0123",
	"five five five oh one double two",
	// Money and quantities.
	"one hundred and thirty two dollars",
	"$1,250.00 on the 12th",
	"I typed my PIN and took out 200 dollars",
	"it costs one thousand two hundred and thirty",
	"two hundred and fifty thousand three hundred and twelve people",
	"$4,539,148.80",
	"4,500.50 and 1,250.25",
	"twelve hundred pounds and fifty pence",
	"my PIN was blocked for 1000 days",
	"I paid 120 dollars 300 dollars and 450 dollars",
	"thirty nine percent of 1500",
	"the PIN costs 250 euros to replace",
	"I called 3 times and waited 45 minutes 20 seconds",
	"a: your card number please | why | it's 200 dollars",
	"1 2 3 testing",
	"from 10 to 20 to 30 to 40",
	"one two three four five six",
	"buy 2 get 1 free",
	"the discount code is SUMMER24",
	// Dates, times, years.
	"born on 12/05/1984 yes",
	"born 1984-05-12",
	"12-05-1984 is the date",
	"12.05.1984 is the date",
	"I changed my PIN on 12/05/2024",
	"I changed my PIN in 2024",
	"I set the password up in twenty twenty four",
	"my PIN stopped working at 10:30",
	"at 10:30 or 11:45 on 3 June 2026",
	"nineteen eighty four and twenty twenty four",
	"between 2019 and 2024 it was 2021",
	"on the 3rd of May 2024 at 9:15",
	"half past three on the twenty third",
	"a: what's your date of birth | 12 05 1984",
	"a: date of birth please | twelve | five | nineteen eighty four",
	"my card number changed and my date of birth is 12 May 1984",
	// Accounts, orders, references, addresses.
	"my account number is 12345678",
	"my account number is 4539 1488",
	"account 45391488 sort code 20-45-77",
	"sort code 20 45 77",
	"45391488 is my account number",
	"4539 1488 is the order number",
	"order number 4455 6677",
	"my order is 5512 3344",
	"order number 445 566 778 899",
	"reference number 9001 2345 6789",
	"the reference is 1122 3344",
	"a: order number please | 5551 2345",
	"a: what is the reference number | 4000 1234",
	"a: your account number please | four five three nine one four eight eight",
	"invoice number 2024 0031",
	"booking 4455667",
	"tracking number 1234 5678 9012",
	"policy number 3345 6677",
	"the claim number is 5566 7788 yes",
	"flight number 4521 at gate 22",
	"meter number 3344 5566",
	"serial number 5-0-4-1",
	"a: what is your postcode | 9411",
	"my zip code is 94110",
	"001 Main Street Forest Ranch 70023",
	"4539 Main Street apartment 1488",
	"room 1204 floor 12",
	"model number 4521 8890",
	"error code 500",
	"error code 5003 0021",
	"it's version 10.15.7",
	"192.168.0.1 is the router",
	// Talk of secrets, without any.
	"I forgot my PIN and have two cards",
	"I have a new pin",
	"my password is not working and I tried twice",
	"the password is wrong",
	"the password for the website is not working",
	"I need to change my password please",
	"a: your password reset link has been sent | great thanks",
	"a: what is your password | well I do not remember it anymore",
	"a: what is the password | you mean the one for the website",
	"a: I don't need the card number | can you send me a new one",
	"a: I do not need your card number | the bill is 300 something",
	"a: please never tell anyone your PIN | sure | the invoice is 55012",
	"a: your card number please | one moment | let me see | hold on | room 1204",
	"my social media has 300 followers",
	"I went to the social security office with 2 friends",
	"the verification code never arrived",
	"the code did not work",
	"my security code does not work",
	"I lost my card",
	"I have four cards and three accounts",
	"my card expired",
	"no 20 30 40 are fine",
	"at 10 be 20 is 30 to 40",
	"IT 20 and HR 30",
	// The end of a number is no secret.
	"the card ending in 6467",
	"my card ends in six four six seven",
	"the last four digits of my card number are 6467",
	"last four 6467",
	"a: what are the last four digits | 6467",
	"a: I see a card ending in 6467 | yes",
	// Chinese.
	"卡号后四位是6467",
	"尾号六四六七",
	"我的密码是错的",
	"我的电话是13800138000",
	"幺三八零零一三八零零零",
	"电话 幺三八 零零一三 八零零零",
	"二零二四年三月五号下午三点半",
	"一百二十三块五",
	"订单号是六二二二零二零零",
	"百分之五 二百块",
	"a: 您的手机号是多少 | 一三八零零一三八零零零",
	"我忘了密码",
	"请问密码怎么改",
	"余额是六二二二零二零零",
	"",
	"[noise] <unk> 12",
	"okay | sure | yes 12",
}

// token is a word as the table writes it.
type token struct {
	word           string
	secret, hidden bool
	// outside is what of the word is no secret.
	outside string
}

func parseDialogue(s string) (agent bool, ts []token, want string) {
	s = strings.TrimSpace(s)
	s, agent = strings.CutPrefix(s, "a: ")
	var wants []string
	open := byte(0)
	for _, field := range strings.Fields(s) {
		var t token
		var word, masked strings.Builder
		for _, r := range field {
			switch {
			case r == '{' || r == '<' && len(field) < 20 && !strings.Contains(field, "unk"):
				open = byte(r)
				if r == '{' {
					masked.WriteByte(1)
				}
			case (r == '}' || r == '>') && open != 0:
				open = 0
			default:
				word.WriteRune(r)
				t.secret = t.secret || open != 0
				t.hidden = t.hidden || open == '{'
				if open == 0 {
					t.outside += string(r)
				}
				if open != '{' {
					masked.WriteRune(r)
				} else {
					masked.WriteByte(1)
				}
			}
		}
		t.word = word.String()
		m := masked.String()
		if t.hidden && open == '{' {
			// Punctuation between the words of a group stays.
			if trimmed := strings.TrimRight(t.word, ",."); trimmed != t.word {
				m = strings.TrimRight(m, "\x01") + "\x01" + t.word[len(trimmed):]
			}
		}
		for strings.Contains(m, "\x01\x01") {
			m = strings.ReplaceAll(m, "\x01\x01", "\x01")
		}
		ts = append(ts, t)
		wants = append(wants, strings.ReplaceAll(m, "\x01", Mask))
	}
	return agent, ts, strings.Join(wants, " ")
}

// digitsIn counts the digits that a text shows, by its own rules.
func digitsIn(words string) (n int) {
	const ones = " one two three four five six seven eight nine "
	const alike = " zero oh o won to too for tree ate "
	const teens = " ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen "
	const tens = " twenty thirty forty fifty sixty seventy eighty ninety "
	afterTens := false
	for _, w := range strings.FieldsFunc(strings.ToLower(words), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		w = " " + w + " "
		switch {
		case strings.Contains(ones, w) && afterTens:
		case strings.Contains(ones, w), strings.Contains(alike, w):
			n++
		case strings.Contains(teens, w), strings.Contains(tens, w):
			n += 2
		default:
			for _, r := range w {
				if unicode.IsDigit(r) || strings.ContainsRune("零一二三四五六七八九幺", r) {
					n++
				}
			}
		}
		afterTens = strings.Contains(tens, w)
	}
	return n
}

// Whatever the partials were that led there, each final hides just what it
// should, and no partial shows more of a secret than the case allows.
func TestRedactDialogues(t *testing.T) {
	if n := len(secrets) + len(ordinary); n < 200 {
		t.Errorf("only %d cases", n)
	}
	cases := secrets
	for _, said := range ordinary {
		cases = append(cases, dialogue{99, said})
	}
	for _, c := range cases {
		t.Run(c.said, func(t *testing.T) {
			t.Parallel()
			var agent, customer Redactor
			start, shown := int64(0), 0
			for no, line := range strings.Split(c.said, "|") {
				isAgent, ts, want := parseDialogue(line)
				speaks, listens := &customer, &agent
				if isAgent {
					speaks, listens = &agent, &customer
				}
				words := make([]string, len(ts))
				for i := range ts {
					words[i] = ts[i].word
				}
				h := hypothesis(no+1, start, strings.Join(words, " "))
				for k := 1; k <= len(h.Words); k++ {
					partial := h
					partial.Final, partial.Words, partial.Stable = false, h.Words[:k], k
					listens.Overhear(partial)
					out := speaks.Redact(partial)
					checkSame(t, partial, out)
					if n := shown + leaked(c.lead, ts, out); n > c.lead {
						t.Errorf("a partial shows %d digits or words of the secret, %d are allowed: %q", n, c.lead, out.Text())
					}
				}
				listens.Overhear(h)
				out := speaks.Redact(h)
				checkSame(t, h, out)
				shown += leaked(c.lead, ts, out)
				if out.Text() != want {
					t.Errorf("final %d\n got %q\nwant %q", no+1, out.Text(), want)
				}
				start = h.End
			}
			if shown > c.lead {
				t.Errorf("the finals show %d digits, %d are allowed", shown, c.lead)
			}
		})
	}
}

func TestMarksAreSorted(t *testing.T) {
	if !slices.IsSortedFunc(marks[:], func(a, b mark) int { return strings.Compare(a.words, b.words) }) {
		t.Error("the marks are not sorted by their words")
	}
}

// Whatever is said, redaction shows nothing that was not there, and redacting
// what is redacted changes nothing.
func FuzzRedactTwice(f *testing.F) {
	for _, c := range secrets {
		f.Add(strings.NewReplacer("{", "", "}", "", "|", "\n").Replace(c.said))
	}
	for _, said := range ordinary {
		f.Add(strings.ReplaceAll(said, "|", "\n"))
	}
	f.Fuzz(func(t *testing.T, said string) {
		var r Redactor
		start := int64(0)
		for no, line := range strings.Split(said, "\n") {
			line, partial := strings.CutSuffix(line, " ...")
			h := hypothesis(no+1, start, line)
			h.Final = !partial
			if agent, ok := strings.CutPrefix(strings.TrimSpace(line), "a: "); ok {
				r.Overhear(hypothesis(no+1, start, agent))
				continue
			}
			before := r
			out := r.Redact(h)
			checkSame(t, h, out)
			for i, w := range out.Words {
				if !shortens(h.Words[i].Text, w.Text) {
					t.Errorf("%q became %q", h.Words[i].Text, w.Text)
				}
			}
			if again := before.Redact(out); again.Text() != out.Text() {
				t.Errorf("%q was redacted to %q, and that to %q", h.Text(), out.Text(), again.Text())
			}
			start = h.End
		}
	})
}

// shortens says whether b is a with masks for some of its pieces.
func shortens(a, b string) bool {
	for i, piece := range strings.Split(b, Mask) {
		at := strings.Index(a, piece)
		if at < 0 || i == 0 && at > 0 {
			return false
		}
		a = a[at+len(piece):]
	}
	return true
}

// leaked counts what is shown of a secret: its digits, and where nothing may be
// shown its words.
func leaked(lead int, ts []token, out asr.Hypothesis) (n int) {
	var secret strings.Builder
	outside := 0
	for i, w := range out.Words {
		if !ts[i].secret {
			secret.WriteString(" x")
			continue
		}
		secret.WriteString(" " + w.Text)
		outside += digitsIn(ts[i].outside)
		says := w.Text == "double" || w.Text == "triple" || digitsIn(w.Text) > 0
		if lead == 0 && !says && ts[i].hidden && !strings.Contains(w.Text, Mask) {
			n++
		}
	}
	return n + max(0, digitsIn(secret.String())-outside)
}
