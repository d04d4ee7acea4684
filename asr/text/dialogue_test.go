package text

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"sidetone/asr"
)

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

// speak says a group of digits in one of several ways.
func speak(group string, way int) string {
	names := strings.Fields("oh one two three four five six seven eight nine")
	teens := strings.Fields("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
	tens := strings.Fields("x x twenty thirty forty fifty sixty seventy eighty ninety")
	var said []string
	for i := 0; i < len(group); i++ {
		d := group[i] - '0'
		switch {
		case way == 0:
			return group
		case way == 1 && i+1 < len(group) && group[i+1] == group[i]:
			said = append(said, "double", names[d])
			i++
		case way == 2 && i+1 < len(group) && d == 1:
			said = append(said, teens[group[i+1]-'0'])
			i++
		case way == 2 && i+1 < len(group) && d > 1:
			said = append(said, tens[d])
			if group[i+1] != '0' {
				said = append(said, names[group[i+1]-'0'])
			}
			i++
		case way == 3:
			said = append(said, group[i:i+1]+",")
		default:
			said = append(said, names[d])
		}
	}
	return strings.Join(said, " ")
}

// Card numbers in every way of saying them, cut at every group, with what the
// agent says in between: none shows more than its issuer's digits where it is
// read in fours, nothing at all where it was asked for.
func TestEveryWayToReadACard(t *testing.T) {
	cards := []string{"4539148803436467", "5555555555554444", "5105105105105100", "6011111111111117", "6200000000000005", "3530111333300000"}
	between := []string{"", "a: mm-hm", "um", "a: okay", "yes and then"}
	said := 0
	for _, card := range cards {
		for way := range 5 {
			for cuts := range 8 {
				for b, other := range between {
					var lines []string
					line := ""
					for g := 0; g < 4; g++ {
						line += " " + speak(card[4*g:4*g+4], (way+g*(b%2))%5)
						if g == 3 || cuts>>g&1 == 1 {
							lines = append(lines, line)
							if line = ""; other != "" {
								lines = append(lines, other)
							}
						}
					}
					said++
					if n := mostShown(lines); n > 6 {
						t.Errorf("%q shows %d digits", lines, n)
					}
					for _, first := range []string{"a: can I have your card number please", "sure my card number is"} {
						if n := mostShown(append([]string{first}, lines...)); n > 0 {
							t.Errorf("%q after %q shows %d digits", lines, first, n)
						}
					}
				}
			}
		}
	}
	if said < 1000 {
		t.Errorf("only %d ways", said)
	}
}

// An amount behind a number that was announced, however both are said and
// parted, shows nothing of it.
func TestNoAmountExcusesASecret(t *testing.T) {
	amounts := []string{"dollars", "thirty five dollars", "two hundred and fifty dollars", "35 dollars", "1,250 euros", "3 times"}
	for _, secret := range []string{
		"card number is 4539148803436467", "card number is 5555555555554444", "card number is 371449635398431",
		"pin is 4821", "verification code is 604213", "social security number is 078051120",
	} {
		said, number, _ := strings.Cut(secret, " is ")
		for way := range 5 {
			for _, between := range []string{"", ",", ".", " and", " then", ", and then", " |", " | and", ", so that is it |"} {
				for _, amount := range amounts {
					for _, first := range []string{"my " + said + " is ", "a: what is your " + said + "|", "my " + said + "|"} {
						line := first + speak(number, way) + between + " " + amount
						if n := mostShown(strings.Split(line, "|")); n > digitsIn(amount) {
							t.Errorf("%q shows %d digits", line, n)
						}
					}
				}
			}
		}
	}
}

// mostShown is how many digits of the customer's are shown at most by any
// partial or final with the finals before it.
func mostShown(lines []string) (most int) {
	var r Redactor
	shown, start := 0, int64(0)
	for no, line := range lines {
		if agent, ok := strings.CutPrefix(line, "a: "); ok {
			r.Overhear(hypothesis(no+1, start, agent))
			continue
		}
		h := hypothesis(no+1, start, line)
		for k := range h.Words {
			partial := h
			partial.Final, partial.Words, partial.Stable = false, h.Words[:k+1], 0
			out := r.Redact(partial)
			most = max(most, shown+digitsIn(out.Text()))
		}
		out := r.Redact(h)
		shown += digitsIn(out.Text())
		most = max(most, shown)
		start = h.End
	}
	return most
}
