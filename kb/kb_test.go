package kb

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"sidetone/internal/leaktest"
)

func TestMain(m *testing.M) {
	leaktest.Main(m, leaktest.BleveWorker)
}

func day(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return t
}

const header = `elements:
  - id: card-lost
    version: 1
    language: en
    title: Lost card
    customer: I will block it now.
    internal: Block first.
    channels: [agent]
`

func TestParseSaysWhatIsWrongAndWhere(t *testing.T) {
	cases := []struct{ name, src, want string }{
		{"unknown key", header + "    colour: red\n", `f.yaml:9:5: unknown field "colour"`},
		{"id", strings.Replace(header, "card-lost", "Card_Lost", 1), `f.yaml:2:9: element "Card_Lost": id: "Card_Lost": use lower-case words joined by hyphens`},
		{"version", strings.Replace(header, "version: 1", "version: 0", 1), `f.yaml:3:14: element "card-lost": version: 0: versions count from 1`},
		{"language", strings.Replace(header, "language: en", "language: xx", 1), `f.yaml:4:15: element "card-lost": language: "xx" has no analyser; known are en, zh`},
		{"channel", strings.Replace(header, "[agent]", "[fax]", 1), `f.yaml:8:15: element "card-lost": channels: unknown channel "fax"; known are agent, web, sms, chat`},
		{"no channel", strings.Replace(header, "[agent]", "[]", 1), `f.yaml:8:15: element "card-lost": channels: none given; known are`},
		{"title missing", strings.Replace(header, "    title: Lost card\n", "", 1), `f.yaml:2:5: element "card-lost": title: is empty`},
		{"date", header + "    valid_from: tomorrow\n", `f.yaml:9:17: element "card-lost": valid_from: "tomorrow" is no date such as 2026-01-31`},
		{"dates turned", header + "    valid_from: 2026-02-01\n    valid_to: 2026-01-01\n", `f.yaml:10:15: element "card-lost": valid_to: 2026-01-01 is not after valid_from`},
		{"title too long", strings.Replace(header, "Lost card", strings.Repeat("x", 61), 1), `f.yaml:5:12: element "card-lost": title: 61 characters are more than 60`},
		{"steps", header + "    steps: [a, b, c, d, e, f, g, h, i]\n", `f.yaml:9:12: element "card-lost": steps: 9 are more than the 8 that fit a card`},
		{"empty step", header + "    steps: [a, '']\n", `f.yaml:9:12: element "card-lost": steps: a step of 0 characters`},
		{"twice", header + strings.TrimPrefix(header, "elements:\n"), `f.yaml:9:9: element "card-lost" version 1 in "en" is in f.yaml already`},
		{"none", "elements: []\n", "f.yaml"},
		{"empty", "", "f.yaml: no elements"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("f.yaml", []byte(c.src))
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestParseReadsEveryField(t *testing.T) {
	src := header + `    steps: [Block, Order]
    questions: [I lost my card]
    product: cards
    intents: [card.lost]
    audience: [staff]
    owner: cards-team
    links: ["https://example.test/card"]
    valid_from: 2026-01-01
    valid_to: 2027-01-01
`
	got, err := Parse("f.yaml", []byte(src))
	want := []Element{{
		ID: "card-lost", Version: 1, Language: "en", Title: "Lost card",
		Customer: "I will block it now.", Internal: "Block first.",
		Steps: []string{"Block", "Order"}, Questions: []string{"I lost my card"},
		Product: "cards", Intents: []string{"card.lost"}, Channels: []string{"agent"},
		Audience: []string{"staff"}, Owner: "cards-team", Links: []string{"https://example.test/card"},
		ValidFrom: day("2026-01-01"), ValidTo: day("2027-01-01"),
	}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
}

func TestLoadReadsATree(t *testing.T) {
	one := &fstest.MapFile{Data: []byte(header)}
	two := &fstest.MapFile{Data: []byte(strings.Replace(header, "language: en", "language: zh", 1))}
	es, err := Load(fstest.MapFS{"a.yaml": one, "zh/a.yaml": two, "README.md": {Data: []byte("no")}})
	if err != nil || len(es) != 2 {
		t.Fatalf("got %d elements, %v", len(es), err)
	}
	_, err = Load(fstest.MapFS{"a.yaml": one, "b.yaml": one})
	if err == nil || !strings.Contains(err.Error(), `b.yaml:2:9: element "card-lost" version 1 in "en" is in a.yaml already`) {
		t.Errorf("twice in two files: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(header))
	f.Add([]byte(header + "    steps: [a, '']\n"))
	f.Add([]byte("elements: [{id: a, version: 1e9}]"))
	f.Fuzz(func(t *testing.T, src []byte) {
		es, err := Parse("f.yaml", src)
		if err != nil {
			return
		}
		for i := range es {
			if field, err := check(&es[i]); err != nil {
				t.Errorf("accepted a bad %s: %v", field, err)
			}
		}
	})
}

func elements() []Element {
	base := func(id, lang, title string, questions ...string) Element {
		return Element{
			ID: id, Version: 1, Language: lang, Title: title, Customer: "said of " + title, Internal: "known of " + title,
			Questions: questions, Channels: []string{"agent", "web"},
		}
	}
	old := base("card-lost", "en", "Lost card of old", "antique wording")
	lost := base("card-lost", "en", "Lost or stolen card", "I lost my debit card", "my wallet was stolen")
	lost.Version, lost.ValidFrom = 2, day("2026-01-01")
	lostZH := base("card-lost", "zh", "银行卡丢失或被盗", "我的卡丢了", "钱包被偷了")
	fee := base("overdraft-fee", "en", "Overdraft fee", "why was I charged for an overdraft")
	secret := base("fraud-ring", "en", "Known fraud ring", "fraud ring")
	secret.Audience = []string{"fraud-team"}
	sms := base("sms-only", "en", "Text alerts", "text alert")
	sms.Channels = []string{"sms"}
	gone := base("summer-offer", "en", "Summer savings offer", "summer savings")
	gone.ValidFrom, gone.ValidTo = day("2025-06-01"), day("2025-09-01")
	mention := base("fees", "en", "Account fees", "what do you charge")
	mention.Internal = "An overdraft has an element of its own."
	zhOnly := base("red-packet", "zh", "红包转账", "怎么发红包")
	return []Element{old, lost, lostZH, fee, secret, sms, gone, mention, zhOnly}
}

func published(t testing.TB) *Index {
	t.Helper()
	x := New()
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := x.Publish(elements()); err != nil {
		t.Fatal(err)
	}
	return x
}

func TestSearch(t *testing.T) {
	now := day("2026-05-01")
	cases := []struct {
		name string
		q    Query
		// want are the hits' ids and languages; the first line counts, the
		// rest may follow where want ends in "...".
		want string
		in   string
	}{
		{"by question", Query{Text: "lost my debit card", View: View{Language: "en", Now: now}}, "card-lost/en/2", "questions"},
		{"stemmed", Query{Text: "overdrafts", View: View{Language: "en", Now: now}}, "overdraft-fee/en/1 fees/en/1", "title"},
		{"half a word", Query{Text: "overdr", View: View{Language: "en", Now: now}}, "overdraft-fee/en/1", "title"},
		{"a letter wrong", Query{Text: "overdaft fee", View: View{Language: "en", Now: now}}, "overdraft-fee/en/1 ...", "title"},
		{"Chinese", Query{Text: "卡丢了", View: View{Language: "zh", Now: now}}, "card-lost/zh/1", "questions"},
		{"English words, Chinese reader", Query{Text: "stolen wallet", View: View{Language: "zh", Now: now}}, "card-lost/zh/1", "questions"},
		{"Chinese words, English reader", Query{Text: "钱包被偷", View: View{Language: "en", Now: now}}, "card-lost/en/2", "questions"},
		{"no Chinese version", Query{Text: "overdraft fee", View: View{Language: "zh", Now: now}}, "overdraft-fee/en/1 ...", "title"},
		{"no English version", Query{Text: "红包", View: View{Language: "en", Now: now}}, "red-packet/zh/1", "title"},
		{"one Chinese character", Query{Text: "卡", View: View{Language: "zh", Now: now}}, "card-lost/zh/1", "title"},
		{"an old version's words", Query{Text: "antique", View: View{Language: "en", Now: now}}, "", ""},
		{"the old version in its time", Query{Text: "antique", View: View{Language: "en", Now: day("2025-05-01")}}, "card-lost/en/1", "questions"},
		{"not for this reader", Query{Text: "fraud ring", View: View{Language: "en", Now: now}}, "", ""},
		{"for this reader", Query{Text: "fraud ring", View: View{Language: "en", Audience: []string{"fraud-team"}, Now: now}}, "fraud-ring/en/1", "title"},
		{"other channel", Query{Text: "text alert", View: View{Language: "en", Now: now}}, "", ""},
		{"its channel", Query{Text: "text alert", View: View{Language: "en", Channel: "sms", Now: now}}, "sms-only/en/1", "title"},
		{"expired", Query{Text: "summer savings", View: View{Language: "en", Now: now}}, "", ""},
		{"in season", Query{Text: "summer savings", View: View{Language: "en", Now: day("2025-07-01")}}, "summer-offer/en/1", "title"},
		{"limit", Query{Text: "overdraft", Limit: 1, View: View{Language: "en", Now: now}}, "overdraft-fee/en/1", "title"},
		{"nothing asked", Query{Text: "  ", View: View{Language: "en", Now: now}}, "", ""},
		{"only signs", Query{Text: "?!*:(\"", View: View{Language: "en", Now: now}}, "", ""},
	}
	x := published(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			hits, err := x.Search(context.Background(), c.q)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, h := range hits {
				got = append(got, docID(&h.Element))
			}
			want := strings.Fields(c.want)
			if open := len(want) > 0 && want[len(want)-1] == "..."; open {
				want = want[:len(want)-1]
				got = got[:min(len(got), len(want))]
			}
			if !slices.Equal(got, want) {
				t.Fatalf("got %v, want %v", got, want)
			}
			if c.in != "" && (!slices.Contains(hits[0].Fields, c.in) || hits[0].Score <= 0) {
				t.Errorf("fields %v, score %v; want %s among them", hits[0].Fields, hits[0].Score, c.in)
			}
		})
	}
}

func TestGet(t *testing.T) {
	x := published(t)
	now := day("2026-05-01")
	cases := []struct {
		id   string
		v    View
		want string
	}{
		{"card-lost", View{Language: "en", Now: now}, "card-lost/en/2"},
		{"card-lost", View{Language: "en", Now: day("2025-05-01")}, "card-lost/en/1"},
		{"card-lost", View{Language: "zh", Now: now}, "card-lost/zh/1"},
		{"card-lost", View{Now: now}, "card-lost/en/2"},
		{"overdraft-fee", View{Language: "zh", Now: now}, "overdraft-fee/en/1"},
		{"fraud-ring", View{Language: "en", Now: now}, ""},
		{"sms-only", View{Language: "en", Channel: "sms", Now: now}, "sms-only/en/1"},
		{"summer-offer", View{Language: "en", Now: day("2025-09-01")}, ""},
		{"nothing", View{Language: "en", Now: now}, ""},
	}
	for _, c := range cases {
		e, ok := x.Get(c.id, c.v)
		if got := docID(&e); ok && got != c.want || !ok && c.want != "" {
			t.Errorf("%s for %+v: got %s %v, want %q", c.id, c.v, got, ok, c.want)
		}
	}
}

func TestPublishReplacesOrRefuses(t *testing.T) {
	x := published(t)
	es := elements()
	view := View{Language: "en", Now: day("2026-05-01")}
	if err := x.Publish([]Element{es[3], es[3]}); err == nil || !strings.Contains(err.Error(), "comes twice") {
		t.Errorf("twice: %v", err)
	}
	bad := es[3]
	bad.Title = ""
	if err := x.Publish([]Element{bad}); err == nil || !strings.Contains(err.Error(), "title: is empty") {
		t.Errorf("no title: %v", err)
	}
	if _, ok := x.Get("card-lost", view); !ok {
		t.Fatal("a refused publication emptied the index")
	}
	if err := x.Publish(es[3:4]); err != nil {
		t.Fatal(err)
	}
	if _, ok := x.Get("card-lost", view); ok {
		t.Error("an element that is no longer published is still there")
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if err := x.Publish(es); !errors.Is(err, ErrClosed) {
		t.Errorf("publish after close: %v", err)
	}
	if _, err := x.Search(context.Background(), Query{Text: "card"}); !errors.Is(err, ErrClosed) {
		t.Errorf("search after close: %v", err)
	}
}

func TestSearchWhilePublishing(t *testing.T) {
	x := published(t)
	q := Query{Text: "lost card", View: View{Language: "en", Now: day("2026-05-01")}}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 20 {
				if hits, err := x.Search(context.Background(), q); err != nil || len(hits) == 0 {
					t.Errorf("%d hits, %v", len(hits), err)
				}
			}
		})
	}
	for range 10 {
		if err := x.Publish(elements()); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}

func BenchmarkSearch(b *testing.B) {
	var es []Element
	for i := range 500 {
		for _, e := range elements() {
			e.ID = fmt.Sprintf("%s-%d", e.ID, i)
			es = append(es, e)
		}
	}
	for _, size := range []int{50, len(es)} {
		x := New()
		if err := x.Publish(es[:size]); err != nil {
			b.Fatal(err)
		}
		for _, text := range []string{"overdr", "why was i charged for my overdraft", "我的卡丢了"} {
			b.Run(fmt.Sprintf("%d/%s", size, text), func(b *testing.B) {
				q := Query{Text: text, Limit: 5, View: View{Language: "en", Now: day("2026-05-01")}}
				for b.Loop() {
					if _, err := x.Search(context.Background(), q); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		if err := x.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
