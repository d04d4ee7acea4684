package text

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"sidetone/asr"
	"sidetone/internal/needs"
)

// hypothesis makes an utterance of one word a second; a text that ends in ...
// is a partial.
func hypothesis(utterance int, start int64, text string) asr.Hypothesis {
	text, partial := strings.CutSuffix(text, " ...")
	h := asr.Hypothesis{Utterance: utterance, Revision: 1, Final: !partial, Start: start}
	for _, w := range strings.Fields(text) {
		h.Words = append(h.Words, asr.Word{Text: w, Start: start, End: start + 8000, Confidence: 0.5})
		start += 16000
	}
	h.Stable, h.End = len(h.Words), start
	return h
}

func TestRedact(t *testing.T) {
	const m = Mask
	cases := []struct {
		name string
		// said are the utterances of one leg; one that begins with "agent:" is
		// overheard. want are what becomes of them, without the overheard.
		said, want []string
	}{
		{"written in groups", []string{"it is 4539 1488 0343 6467 thanks"}, []string{"it is •••• •••• •••• •••• thanks"}},
		{"written in one", []string{"it's 4539148803436467, expiring soon"}, []string{"it's ••••, expiring soon"}},
		{"a new one is no digit", []string{"agent: I don't need the card number", "can you send me a new one"}, []string{"can you send me a new one"}},
		{"hyphens", []string{"4539-1488-0343-6467."}, []string{"••••."}},
		{"spoken", []string{"four five three nine one four eight eight oh three four three six four six seven"}, []string{strings.TrimSpace(strings.Repeat(m+" ", 16))}},
		{"mixed", []string{"4539 one four eight eight 0343 six four six seven yes"}, []string{"•••• •••• •••• •••• •••• •••• •••• •••• •••• •••• yes"}},
		{"commas and case", []string{"Four, five, three, nine, 1488, 0343, 6467."}, []string{"••••, ••••, ••••, ••••, ••••, ••••, ••••."}},
		{"tens", []string{"forty five thirty nine fourteen eighty eight zero three forty three"}, []string{strings.TrimSpace(strings.Repeat(m+" ", 11))}},
		{"double and triple", []string{"four double five three triple eight double zero three four one"}, []string{strings.TrimSpace(strings.Repeat(m+" ", 11))}},
		{"hesitation inside", []string{"4539 uh 1488 um and then 0343"}, []string{"•••• •••• •••• •••• •••• •••• ••••"}},
		{"misheard two", []string{"4539 too 488 for 343 eight"}, []string{"•••• •••• •••• •••• •••• ••••"}},
		{"American Express", []string{"371449635398431"}, []string{m}},
		{"nineteen digits", []string{"6304000000000000000"}, []string{m}},
		{"check digit wrong", []string{"4539 1488 0343 6466"}, []string{"•••• •••• •••• ••••"}},
		{"twelve digits", []string{"501800000009 is it"}, []string{"•••• is it"}},
		{"in two utterances", []string{"4539 1488", "0343 6467 okay"}, []string{"4539 ••••", "•••• •••• okay"}},
		{"in four utterances", []string{"four five three nine", "one four eight eight", "zero three four three", "six four six seven"}, []string{
			"four five three nine", "one four •••• ••••", "•••• •••• •••• ••••", "•••• •••• •••• ••••"}},
		{"a hesitation between utterances", []string{"4539 1488", "um", "0343 6467"}, []string{"4539 ••••", "um", "•••• ••••"}},
		{"words between utterances", []string{"4539 ••••", "hold on", "••••"}, []string{"4539 ••••", "hold on", "••••"}},
		{"announced", []string{"my card number is 4539"}, []string{"my card number is ••••"}},
		{"announced, then read", []string{"my card number is", "four five three nine", "one four eight eight"}, []string{"my card number is", "•••• •••• •••• ••••", "•••• •••• •••• ••••"}},
		{"asked", []string{"agent: can I have your card number please", "4539 1488", "0343"}, []string{"•••• ••••", "••••"}},
		{"asked for the code", []string{"agent: and the three digits on the back", "sure one two three"}, []string{"sure •••• •••• ••••"}},
		{"security code", []string{"the security code is 123"}, []string{"the security code is ••••"}},
		{"CVV", []string{"CVV three two one"}, []string{"CVV •••• •••• ••••"}},
		{"PIN", []string{"my PIN is 4821 I think"}, []string{"my PIN is •••• I think"}},
		{"PIN, spoken", []string{"my pin's four eight two one"}, []string{"my pin's •••• •••• •••• ••••"}},
		{"one-time code", []string{"the verification code is 604 213"}, []string{"the verification code is •••• ••••"}},
		{"password", []string{"my password is sunshine42 please"}, []string{"my password is •••• please"}},
		{"password of words", []string{"the password is blue horse seven and I cannot log in"}, []string{"the password is •••• •••• •••• and I cannot log in"}},
		{"password's", []string{"my password's Rosebud."}, []string{"my password's ••••."}},
		{"asked for the password", []string{"agent: what is your password", "sunshine"}, []string{m}},
		{"Chinese card number", []string{"我的卡号是6222 0200 1234 5678 900"}, []string{"我的卡号是•••• •••• •••• •••• ••••"}},
		{"Chinese digits", []string{"卡号是六二二二零二零零幺二三四"}, []string{"卡号是••••"}},
		{"Chinese, unannounced", []string{"六二二二 零二零零 一二三四 五六七八"}, []string{"•••• •••• •••• ••••"}},
		{"Chinese password", []string{"密码是八八六六四二"}, []string{"密码是••••"}},
		{"Chinese code", []string{"验证码 三九一二"}, []string{"验证码 ••••"}},

		{"partial that may grow", []string{"it is four five three nine one four eight ..."}, []string{"it is •••• •••• •••• •••• •••• •••• ••••"}},
		{"partial, first six", []string{"it is four five three nine one four ..."}, []string{"it is four five three nine one four"}},
		{"partial, then no card", []string{"seven one five one three nine oh seven ...", "seven one five one three nine oh seven eight seven"}, []string{
			strings.TrimSpace(strings.Repeat(m+" ", 8)), "seven one five one three nine oh seven eight seven"}},
		{"partial, announced", []string{"my pin is four ..."}, []string{"my pin is ••••"}},
		{"partial after a number's beginning", []string{"4539 1488", "034 ..."}, []string{"4539 ••••", "••••"}},

		{"phone number", []string{"my number is 715 139 0787"}, []string{"my number is 715 139 0787"}},
		{"phone number, spoken", []string{"seven one five", "one three nine", "zero seven eight seven"}, []string{"seven one five", "one three nine", "zero seven eight seven"}},
		{"phone after a password", []string{"I would like to reset my password", "agent: okay what is your phone number", "seven one five", "one three nine"}, []string{
			"I would like to reset my password", "seven one five", "one three nine"}},
		{"amount", []string{"one hundred and thirty two dollars"}, []string{"one hundred and thirty two dollars"}},
		{"amount in figures", []string{"$1,250.00 on the 12th"}, []string{"$1,250.00 on the 12th"}},
		{"amount near a PIN", []string{"I typed my PIN and took out 200 dollars"}, []string{"I typed my PIN and took out 200 dollars"}},
		{"date", []string{"born on 12/05/1984 yes"}, []string{"born on 12/05/1984 yes"}},
		{"time", []string{"at 10:30 or 11:45 on 3 June 2026"}, []string{"at 10:30 or 11:45 on 3 June 2026"}},
		{"last four", []string{"the card ending in 6467"}, []string{"the card ending in 6467"}},
		{"last four of the card number", []string{"the last four digits of my card number are 6467"}, []string{"the last four digits of my card number are 6467"}},
		{"Chinese last four", []string{"卡号后四位是6467"}, []string{"卡号后四位是6467"}},
		{"address", []string{"001 Main Street Forest Ranch 70023"}, []string{"001 Main Street Forest Ranch 70023"}},
		{"talk of a PIN", []string{"I forgot my PIN and have two cards"}, []string{"I forgot my PIN and have two cards"}},
		{"talk of a password", []string{"my password is not working and I tried twice"}, []string{"my password is not working and I tried twice"}},
		{"talk of a password, Chinese", []string{"我的密码是错的"}, []string{"我的密码是错的"}},
		{"reset link", []string{"agent: your password reset link has been sent", "great thanks"}, []string{"great thanks"}},
		{"to and for are words", []string{"I want to go for two weeks"}, []string{"I want to go for two weeks"}},
		{"noise", []string{"[noise] <unk> 12"}, []string{"[noise] <unk> 12"}},
		{"account number", []string{"my account number is 12345678"}, []string{"my account number is 12345678"}},
		{"the question is forgotten", []string{"agent: your card number please", "one moment", "let me see", "hold on", "room 1204"}, []string{"one moment", "let me see", "hold on", "room 1204"}},
		{"nothing said", []string{""}, []string{""}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var r Redactor
			var got []string
			n, start, partial := 0, int64(0), false
			for _, said := range c.said {
				start += 16000
				if agent, ok := strings.CutPrefix(said, "agent: "); ok {
					r.Overhear(hypothesis(1, start, agent))
					continue
				}
				if !partial {
					n++
				}
				h := hypothesis(n, start, said)
				partial = !h.Final
				before := slices.Clone(h.Words)
				out := r.Redact(h)
				got = append(got, out.Text())
				if !slices.Equal(h.Words, before) {
					t.Error("the words given were changed")
				}
				checkSame(t, h, out)
				start = h.End
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("said %q\ngot  %q\nwant %q", c.said, got, c.want)
			}
		})
	}
}

// checkSame sees that nothing but text differs.
func checkSame(t *testing.T, in, out asr.Hypothesis) {
	t.Helper()
	if len(in.Words) != len(out.Words) || in.Stable != out.Stable || in.Final != out.Final {
		t.Fatalf("%d words, %d stable became %d, %d", len(in.Words), in.Stable, len(out.Words), out.Stable)
	}
	for i, w := range in.Words {
		o := out.Words[i]
		o.Text = w.Text
		if o != w {
			t.Errorf("word %d: %+v became %+v", i, w, o)
		}
	}
}

// Calls in which people spell addresses and phone numbers hold no secrets:
// nothing is masked.
func TestHarperValleyCallsHoldNoSecrets(t *testing.T) {
	f, err := os.Open(needs.Eval(t, "intent", "harper.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	words, masked := 0, 0
	for sc.Scan() {
		var c struct {
			Turns []struct {
				Role   string `json:"role"`
				ASR    string `json:"asr"`
				Offset int64  `json:"offset_ms"`
			} `json:"turns"`
		}
		if err := json.Unmarshal(sc.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		legs := map[string]*Redactor{"agent": {}, "caller": {}}
		for i, turn := range c.Turns {
			h := hypothesis(i+1, turn.Offset*16, turn.ASR)
			for role, r := range legs {
				if role != turn.Role {
					r.Overhear(h)
					continue
				}
				out := r.Redact(h)
				words += len(out.Words)
				for j, w := range out.Words {
					if w != h.Words[j] {
						masked++
						t.Logf("masked: %s", turn.ASR)
						break
					}
				}
			}
		}
	}
	if sc.Err() != nil || words < 1000 || masked > 0 {
		t.Errorf("%d utterances masked in %d words, %v", masked, words, sc.Err())
	}
}

func TestDigitsAfterALongPauseAreAnotherNumber(t *testing.T) {
	var r Redactor
	first := hypothesis(1, 0, "715 139 07")
	r.Redact(first)
	out := r.Redact(hypothesis(2, first.End+maxPause+1, "0343 6467"))
	if out.Text() != "0343 6467" {
		t.Errorf("got %q", out.Text())
	}
}

// However a card number is cut into words and utterances, no more than its
// first eleven digits are ever shown.
func FuzzRedact(f *testing.F) {
	f.Add("4539148803436467", uint64(0x1111))
	f.Add("371449635398431", uint64(0))
	f.Add("6304000000000000000", uint64(0xffffffff))
	names := []string{"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}
	f.Fuzz(func(t *testing.T, number string, cuts uint64) {
		count := 0
		var said strings.Builder
		for _, d := range number {
			if d < '0' || d > '9' {
				continue
			}
			count++
			switch cuts & 3 {
			case 0:
				said.WriteRune(d)
			case 1:
				said.WriteString(" " + string(d))
			case 2:
				said.WriteString(" " + names[d-'0'] + " ")
			default:
				said.WriteString("\n" + string(d))
			}
			cuts = cuts>>2 | cuts<<62
		}
		var r Redactor
		shown, start := 0, int64(0)
		for i, line := range strings.Split(said.String(), "\n") {
			h := hypothesis(i+1, start, line)
			for k := range h.Words {
				partial := h
				partial.Final, partial.Words, partial.Stable = false, h.Words[:k+1], 0
				if n := shown + digitsShown(r.Redact(partial)); count >= panDigits && n >= panDigits {
					t.Errorf("a partial shows %d of %d digits of %q", n, count, said.String())
				}
			}
			out := r.Redact(h)
			checkSame(t, h, out)
			shown += digitsShown(out)
			start = h.End
		}
		if count >= panDigits && shown >= panDigits {
			t.Errorf("%d of %d digits shown of %q", shown, count, said.String())
		}
		// Any text at all must be survived.
		r.Redact(hypothesis(99, start, number))
	})
}

func digitsShown(h asr.Hypothesis) (n int) {
	for _, u := range appendUnits(nil, h.Words) {
		if u.kind == numeral {
			n += u.count
		}
	}
	return n
}

func BenchmarkRedact(b *testing.B) {
	var r Redactor
	h := hypothesis(1, 0, "hi my name is patricia brown and I would like to pay a bill because the letter you sent "+
		"says that forty two dollars are due on the third of May and so my card number is 4539 1488 0343 6467 thank you")
	b.ReportAllocs()
	for b.Loop() {
		r.Redact(h)
	}
}

// A partial may end in "one" before it is clear that no number follows.
func TestAPartialThatEndsInANewOneIsShown(t *testing.T) {
	var r Redactor
	asked := asr.Hypothesis{Utterance: 1, Revision: 1, Final: true}
	for _, w := range strings.Fields("I don't need the card number") {
		asked.Words = append(asked.Words, asr.Word{Text: w})
	}
	r.Overhear(asked)
	h := asr.Hypothesis{Utterance: 1, Revision: 1}
	for _, w := range strings.Fields("can you send me a new one?") {
		h.Words = append(h.Words, asr.Word{Text: w})
	}
	if got := r.Redact(h); got.Text() != h.Text() {
		t.Errorf("got %q, want %q", got.Text(), h.Text())
	}
}
