package intent

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sidetone/asr"
	"sidetone/guidance"
)

func tokens(text string) []string {
	var out []string
	for w := range strings.FieldsSeq(text) {
		split(w, func(t string) { out = append(out, t) })
	}
	return out
}

func TestSplit(t *testing.T) {
	for text, want := range map[string]string{
		"Hi, I'd like my CHECK-BOOK.":             "hi i would like my check book",
		"I can’t, won't and dont":                 "i can not will not and do not",
		"uh um what's that  [noise] <unk> worth?": "what is that worth",
		"the bank's rate, it's 5%":                "the bank rate it is 5",
		"我的卡丢了 ok":                                "我 的 卡 丢 了 ok",
		"wanna gonna let's y'all 'quoted'":        "want to going to let us yall quoted",
		"":                                        "",
	} {
		if got := strings.Join(tokens(text), " "); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestForms(t *testing.T) {
	for w, want := range map[string]string{
		"transfer": "transfer transfers transfered transfering transferred transferring",
		"stop":     "stop stops stoped stoping stopped stopping",
		"lose":     "lose loses losed losing",
		"carry":    "carry carries carried carrying",
		"pay":      "pay pays payed paying",
		"check":    "check checks checked checking",
		"close":    "close closes closed closing",
		"miss":     "miss misses missed missing",
		"fix":      "fix fixes fixed fixing",
	} {
		if got := strings.Join(forms(w), " "); got != want {
			t.Errorf("%s: got %q, want %q", w, got, want)
		}
	}
}

// set makes one intent "x" of phrases and guards.
func set(t testing.TB, phrases, unless []string) *Set {
	t.Helper()
	b := NewBuilder()
	for _, p := range phrases {
		if err := b.Phrase("x", Any, p, 0.9); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range unless {
		if err := b.Unless("x", p); err != nil {
			t.Fatal(err)
		}
	}
	return b.Set()
}

func hypothesis(utterance int, start int64, text string) asr.Hypothesis {
	h := asr.Hypothesis{Utterance: utterance, Revision: 1, Final: true, Start: start}
	for w := range strings.FieldsSeq(text) {
		h.Words = append(h.Words, asr.Word{Text: w, Start: start, End: start + 4000})
		start += 4800
	}
	h.Stable, h.End = len(h.Words), start
	return h
}

// proof joins the words that prove the first mention.
func proof(ms []guidance.Mention) string {
	if len(ms) == 0 {
		return ""
	}
	var out []string
	for _, w := range ms[0].Words {
		out = append(out, w.Text)
	}
	return strings.Join(out, " ")
}

func TestPhrases(t *testing.T) {
	cases := []struct{ phrase, unless, said, want string }{
		{"lost my card", "", "well I lost my card, sorry", "lost my card,"},
		{"lost my card", "", "I lost the card", ""},
		{"lost ... card", "", "I lost my new blue debit card", "lost my new blue debit card"},
		{"lost ...2 card", "", "I lost my new blue debit card", ""},
		{"lost ...1 card", "", "lost card", "lost card"},
		{"(lost|misplaced) [my|the] card", "", "misplaced card", "misplaced card"},
		{"(lost|misplaced) [my|the] card", "", "misplaced the card", "misplaced the card"},
		{"transfer~ money", "", "transferring money", "transferring money"},
		{"transfer money", "", "transferring money", ""},
		{"move~ money", "", "moving money", "moving money"},
		{"my !(savings|joint) account", "", "my savings account", ""},
		{"my !(savings|joint) account", "", "my account", "my account"},
		{"!not lost", "", "lost", "lost"},
		{"[a] !([a] b) a", "", "a a c", "a"},
		{"can't log in", "", "I cannot log in", "cannot log in"},
		{"check-book", "", "a check book", "check book"},
		{"check book", "", "a check-book", "check-book"},
		{"bye-bye", "", "okay bye-bye", "bye-bye"},
		{"bye bye", "", "okay bye", "bye"},
		{"check balance", "", "check uh balance", "check balance"},
		{"my card", "", "my my card", "my card"},
		{"卡丢了", "", "我的卡丢了", "我的卡丢了"},
		{"卡 ...3 丢", "", "卡 昨天 丢 了", "卡 昨天 丢"},
		{"谢谢", "", "谢谢", "谢谢"},
		{"lost my card", "not lost", "I have not lost my card", ""},
		{"lost my card", "not lost", "I have not, no, I lost my card", "lost my card"},
		{"lost my card", "found it", "lost my card found it", ""},
		{"lost my card", "found it", "I lost my card no wait I found it", "lost my card"},
		{"lost my card", "card ...6 found", "I lost my card no wait I found it", ""},
		{"lost my card", "", "I lost my card no I lost my card", "lost my card"},
	}
	for _, c := range cases {
		t.Run(c.phrase+"/"+c.said, func(t *testing.T) {
			var unless []string
			if c.unless != "" {
				unless = []string{c.unless}
			}
			h := hypothesis(1, 0, c.said)
			if got := proof(set(t, []string{c.phrase}, unless).Listen(Customer).Hear(&h)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestErrorsSayWhereAndWhat(t *testing.T) {
	deep := strings.Repeat("(", maxDepth+1) + "a" + strings.Repeat(")", maxDepth+1)
	for phrase, want := range map[string]string{
		"":                               `character 1: an alternative without words`,
		"(a|)":                           `character 4: an alternative without words`,
		"lost (my card":                  `character 6: the bracket is not closed`,
		"lost my) card":                  `character 8: ')' closes nothing`,
		"(a]":                            `character 3: ']' closes nothing`,
		"a | b":                          `character 3: alternatives stand in brackets`,
		"a ...99 b":                      `character 3: a gap of 99 words; 1 to 12 are possible`,
		"a $nothing":                     `character 3: unknown class $nothing`,
		"a & b":                          `character 3: '&' means nothing here`,
		"uh":                             `"uh" is never heard`,
		"check-in~":                      `~ stands after one English word`,
		"... a":                          `it begins with a gap`,
		"a ...":                          `it ends with a gap`,
		"a [...]":                        `it ends with a gap`,
		"[a]":                            `every word is optional`,
		"!a":                             `every word is optional`,
		"a !":                            `character 3: ! stands before a word or a bracket`,
		"a !(b !c) d":                    `! within !`,
		"a ![b] c":                       `! needs words that can be absent`,
		deep:                             `brackets are nested more than 16 deep`,
		"a " + strings.Repeat("b ", 600): `bytes are more than 1000`,
	} {
		err := NewBuilder().Phrase("x", Any, phrase, 0.9)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %q", phrase, err, want)
		}
	}
	b := NewBuilder()
	for _, err := range []error{
		b.Phrase("", Any, "a", 0.9), b.Phrase("x", "boss", "a", 0.9), b.Phrase("x", Any, "a", 0), b.Phrase("x", Any, "a", 1.1),
		b.Class("A", "a"), b.Class("", "a"), b.Class("a", "("), b.Unless("x", "("),
	} {
		if err == nil {
			t.Error("accepted")
		}
	}
	if err := b.Class("a", "(a|b)"); err != nil {
		t.Error(err)
	}
	if b.Class("a", "c") == nil {
		t.Error("a class was named twice")
	}
	// Classes of classes grow; the growth is bounded.
	name := "a"
	var err error
	for i := range 12 {
		next := fmt.Sprintf("a%d", i)
		if err = b.Class(next, strings.Repeat("$"+name+" ", 20)); err != nil {
			break
		}
		name = next
	}
	if err == nil || !strings.Contains(err.Error(), "more than 1500 words") {
		t.Errorf("got %v", err)
	}
}

func TestRoles(t *testing.T) {
	b := NewBuilder()
	for _, p := range []struct{ intent, role, text string }{{"c", Customer, "balance"}, {"a", Agent, "balance"}, {"both", Any, "balance"}} {
		if err := b.Phrase(p.intent, p.role, p.text, 0.9); err != nil {
			t.Fatal(err)
		}
	}
	s := b.Set()
	for role, want := range map[string][]string{Customer: {"both", "c"}, Agent: {"a", "both"}, "unknown": {"a", "both", "c"}} {
		h := hypothesis(1, 0, "balance")
		var got []string
		for _, m := range s.Listen(role).Hear(&h) {
			got = append(got, m.Intent)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s hears %v, want %v", role, got, want)
		}
	}
}

func TestTheSurestPhraseCounts(t *testing.T) {
	b := NewBuilder()
	for p, score := range map[string]float64{"balance": 0.5, "check ... balance": 0.9} {
		if err := b.Phrase("x", Any, p, score); err != nil {
			t.Fatal(err)
		}
	}
	l := b.Set().Listen(Customer)
	h := hypothesis(1, 0, "balance")
	if ms := l.Hear(&h); len(ms) != 1 || ms[0].Score != 0.5 {
		t.Errorf("got %+v", ms)
	}
	h = hypothesis(2, 1<<40, "balance so check my balance")
	ms := l.Hear(&h)
	if len(ms) != 1 || ms[0].Score != 0.9 || ms[0].Phrase != "check ... balance" {
		t.Errorf("got %+v", ms)
	}
	want := []guidance.Ref{
		{Utterance: 2, Index: 2, Text: "check", Start: 1<<40 + 9600, End: 1<<40 + 13600},
		{Utterance: 2, Index: 3, Text: "my", Start: 1<<40 + 14400, End: 1<<40 + 18400},
		{Utterance: 2, Index: 4, Text: "balance", Start: 1<<40 + 19200, End: 1<<40 + 23200},
	}
	if !reflect.DeepEqual(ms[0].Words, want) {
		t.Errorf("got %+v", ms[0].Words)
	}
}

func TestAPhraseMayCrossUtterances(t *testing.T) {
	s := set(t, []string{"new ... checkbook"}, nil)
	cases := []struct {
		name  string
		pause int64
		said  []string
		want  string
	}{
		{"short pause", maxPause, []string{"I need a new", "checkbook please"}, "new checkbook"},
		{"long pause", maxPause + 16000, []string{"I need a new", "checkbook please"}, ""},
		{"a hesitation between", 8000, []string{"I need a new", "uh", "checkbook"}, "new checkbook"},
		{"found once", 8000, []string{"a new checkbook", "thanks a lot"}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l := s.Listen(Customer)
			start := int64(0)
			var last []guidance.Mention
			for i, said := range c.said {
				h := hypothesis(i+1, start, said)
				last = l.Hear(&h)
				start = h.Words[len(h.Words)-1].End + c.pause
			}
			if got := proof(last); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if c.want != "" && (last[0].Words[0].Utterance != 1 || last[0].Words[1].Utterance != len(c.said)) {
				t.Errorf("utterances of %+v", last[0].Words)
			}
		})
	}
}

func TestOnlyStableWordsOfAPartialCount(t *testing.T) {
	l := set(t, []string{"lost my card"}, []string{"card ...4 found"}).Listen(Customer)
	h := hypothesis(1, 0, "I lost my card but I found it")
	h.Final = false
	for stable, want := range []string{"", "", "", "", "lost my card", "lost my card", "lost my card", ""} {
		h.Revision, h.Stable = stable+1, stable
		if got := proof(l.Hear(&h)); got != want {
			t.Errorf("%d stable words: got %q, want %q", stable, got, want)
		}
	}
	h.Final, h.Words = true, nil
	if ms := l.Hear(&h); len(ms) != 0 {
		t.Errorf("an utterance that was none says %+v", ms)
	}
}

// Heard word by word, an utterance says at its end what it says as a whole.
func TestIncrementalIsTheSame(t *testing.T) {
	words := strings.Fields("lost my card not found it a b check balance uh the")
	s := set(t, []string{"lost ... card", "(a|b) ...3 balance", "my my", "a b check"}, []string{"not lost", "card ...5 found", "it a"})
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		n := 1 + rng.IntN(40)
		var said []string
		for range n {
			said = append(said, words[rng.IntN(len(words))])
		}
		h := hypothesis(1, 0, strings.Join(said, " "))
		whole := slices.Clone(s.Listen(Customer).Hear(&h))
		l := s.Listen(Customer)
		h.Final = false
		for h.Stable = 0; h.Stable < n; h.Stable += 1 + rng.IntN(3) {
			l.Hear(&h)
		}
		h.Stable = n
		last := l.Hear(&h)
		if len(last) != len(whole) {
			t.Fatalf("%v: word by word %v, as a whole %v", said, last, whole)
		}
	}
}

// naive matches by trying every way, without the machine.
func naive(n *node, words []int32, at int) (ends []int) {
	switch n.kind {
	case wordNode:
		if at < len(words) && contains(n.set, words[at]) {
			ends = []int{at + 1}
		}
	case gapNode:
		for k := 0; k <= n.gap && at+k <= len(words); k++ {
			ends = append(ends, at+k)
		}
	case notNode:
		if len(naive(n.kids[0], words, at)) == 0 {
			ends = []int{at}
		}
	case choiceNode:
		for _, k := range n.kids {
			ends = append(ends, naive(k, words, at)...)
		}
	case seqNode:
		ends = []int{at}
		for _, k := range n.kids {
			var next []int
			for _, e := range ends {
				next = append(next, naive(k, words, e)...)
			}
			slices.Sort(next)
			ends = slices.Compact(next)
		}
	}
	return ends
}

func FuzzPhrase(f *testing.F) {
	for _, p := range []string{
		"lost ... my [old|new] card", "!(not|never) (lost|stolen)~ x", "a ...12 b", "[a] !([a] b) a", "(a|b (c|d)|[e] f) g",
		"卡 ...3 丢了", "check-book's ’", "$c a", "a~ b", "((((a))))", "[a][a][a][a][a][a] b",
	} {
		f.Add(p, "a b a not lost my card 卡丢了")
	}
	f.Fuzz(func(t *testing.T, phrase, said string) {
		b := NewBuilder()
		if err := b.Class("c", "(a|b ...2 c)"); err != nil {
			t.Fatal(err)
		}
		if b.Phrase("x", Any, phrase, 0.9) != nil {
			return
		}
		if err := b.Unless("x", "not lost"); err != nil {
			t.Fatal(err)
		}
		n, err := parsePhrase(phrase, b.vocab, b.classes)
		if err != nil {
			t.Fatal(err)
		}
		p, err := compile(phrase, n)
		if err != nil {
			t.Fatal(err)
		}
		m := machine{}
		for i, w := range tokens(said) {
			if i < 24 {
				m.words = append(m.words, b.vocab[w])
			}
		}
		for at := range m.words {
			path, ok := m.match(p, at)
			if want := len(naive(n, m.words, at)) > 0; ok != want {
				t.Errorf("%q in %v at %d: %v, want %v", phrase, m.words, at, ok, want)
			}
			if ok && path[len(path)-1]+1-at > p.span {
				t.Errorf("%q: %v is wider than its span %d", phrase, path, p.span)
			}
		}
		h := hypothesis(1, 0, said)
		b.Set().Listen(Customer).Hear(&h)
	})
}
