package records_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sidetone/internal/journal"
	"sidetone/internal/records"
)

func names(list []records.Summary) string {
	var out []string
	for _, s := range list {
		out = append(out, s.Call)
	}
	return strings.Join(out, " ")
}

func TestList(t *testing.T) {
	each(t, func(t *testing.T, r *records.Records) {
		ctx := t.Context()
		for i := range 10 {
			s := whole(t, i, []string{"ann", "bob", "eve"}[i%3], fmt.Sprintf("sip:+4310%d@pbx", i%4))
			if i == 7 {
				s = call(t, i, "bob", "<sip:Alice@PBX.example:5060;transport=tcp>")
			}
			apply(t, r, s.events...)
		}
		minute := func(n int) time.Time { return start.Add(time.Duration(n) * time.Minute) }
		cases := []struct {
			f    records.Filter
			want string
		}{
			{records.Filter{Limit: 3}, "c9 c8 c7"},
			{records.Filter{Agents: []string{"ann"}}, "c9 c6 c3 c0"},
			{records.Filter{Agents: []string{"ann", "eve", "nobody"}}, "c9 c8 c6 c5 c3 c2 c0"},
			{records.Filter{Agents: []string{""}}, ""},
			{records.Filter{Customer: "+43 (1) 01"}, "c9 c5 c1"},
			{records.Filter{Customer: "alice@pbx.example"}, "c7"},
			{records.Filter{Running: true}, "c7"},
			{records.Filter{State: "running"}, "c7"},
			{records.Filter{State: "ended", From: minute(6), To: minute(9)}, "c8 c6"},
			{records.Filter{Source: "siprec"}, ""},
			{records.Filter{Node: "n1", From: minute(9)}, "c9"},
			{records.Filter{Agents: []string{"x' OR '1'='1"}, Source: "?"}, ""},
		}
		for _, c := range cases {
			list, _, err := r.List(ctx, c.f)
			if err != nil || names(list) != c.want {
				t.Errorf("%+v: %q, want %q, %v", c.f, names(list), c.want, err)
			}
		}
		var pages []string
		f := records.Filter{Limit: 4}
		for {
			list, next, err := r.List(ctx, f)
			if err != nil {
				t.Fatal(err)
			}
			pages = append(pages, names(list))
			if f.Before = next; next == "" {
				break
			}
		}
		if got := strings.Join(pages, " | "); got != "c9 c8 c7 c6 | c5 c4 c3 c2 | c1 c0" {
			t.Errorf("pages %s", got)
		}
		for _, bad := range []records.Filter{{Before: "x"}, {Before: "12"}, {Customer: "sip:"}, {Text: strings.Repeat("卡", 70)}} {
			if _, _, err := r.List(ctx, bad); !errors.Is(err, records.ErrFilter) {
				t.Errorf("%+v: %v", bad, err)
			}
		}
	})
}

// marked writes a snippet with its hits in brackets.
func marked(s *records.Snippet) string {
	if s == nil {
		return ""
	}
	var b strings.Builder
	for _, p := range s.Pieces {
		if p.Hit {
			b.WriteString("[" + p.Text + "]")
		} else {
			b.WriteString(p.Text)
		}
	}
	return b.String()
}

func TestSearch(t *testing.T) {
	each(t, func(t *testing.T, r *records.Records) {
		ctx := t.Context()
		say := func(i int, lines ...string) *script {
			s := call(t, i, "ann", "sip:+43123@pbx")
			for n, l := range lines {
				s.say("b", n+1, l)
			}
			apply(t, r, s.events...)
			return s
		}
		say(1, "I lost my credit cards yesterday.", "The card's number? I don’t know.")
		say(2, "我的信用卡丢了，怎么办？", "请帮我挂失")
		s := say(3, "Ich möchte mein Konto kündigen", "信用很好", "申用卡", "charge 1,200 euros")
		long := strings.Repeat("well you know ", 30)
		say(4, long+"the parcel was damaged "+long)
		// What a later revision takes back is not found any more.
		s.say("b", 1, "Ich möchte mein Depot behalten")
		s.add(journal.UtteranceFinal, journal.Final{Leg: "b", Role: "customer", Utterance: 9, Text: "thirty euros", Written: "€30"})
		apply(t, r, s.events...)
		cases := []struct{ text, calls, snippet string }{
			{"CARD", "c1", "I lost my credit [cards] yesterday."},
			{"credit cards lost", "c1", "I [lost] my [credit] [cards] yesterday."},
			{"number yesterday", "c1", "I lost my credit cards [yesterday]."},
			{"dont", "c1", "The card's number? I [don’t] know."},
			{"card parcel", "", ""},
			{"信用卡", "c2", "我的[信用卡]丢了，怎么办？"},
			{"挂失", "c2", "请帮我[挂失]"},
			{"信用", "c3 c2", "[信用]很好"},
			{"卡", "c3 c2", "申用[卡]"},
			{"mochte", "c3", "Ich [möchte] mein Depot behalten"},
			{"Konto", "", ""},
			{"depot", "c3", "Ich möchte mein [Depot] behalten"},
			{"１２００", "", ""},
			{"1,200", "c3", "charge [1],[200] euros"},
			{"30", "c3", "€[30]"},
			{"thirty", "c3", "[thirty] euros"},
			{"!?", "", ""},
			{"a' OR '1'='1", "", ""},
			{"\x00\xff", "", ""},
		}
		for _, c := range cases {
			list, _, err := r.List(ctx, records.Filter{Text: c.text})
			if err != nil || names(list) != c.calls {
				t.Errorf("%q: %q, want %q, %v", c.text, names(list), c.calls, err)
				continue
			}
			if len(list) > 0 && marked(list[0].Found) != c.snippet {
				t.Errorf("%q: snippet %q, want %q", c.text, marked(list[0].Found), c.snippet)
			}
		}
		list, _, err := r.List(ctx, records.Filter{Text: "damaged parcel"})
		if err != nil || len(list) != 1 || list[0].Found.Role != "customer" || list[0].Found.StartMS != 1000 {
			t.Fatalf("%+v, %v", list, err)
		}
		got := marked(list[0].Found)
		if !strings.Contains(got, "the [parcel] was [damaged] well") || !strings.HasPrefix(got, "…") || !strings.HasSuffix(got, "…") || len(got) > 300 {
			t.Errorf("snippet of a long line: %q", got)
		}
	})
}

func TestAddress(t *testing.T) {
	for in, want := range map[string]string{
		"sip:+43123@pbx":                    "43123",
		"SIPS:0043123@other;user=phone":     "43123",
		"tel:+43-1-23;phone-context=x":      "43123",
		"\"Ann\" <sip:+43123@pbx>;tag=1":    "43123",
		"+43 (1) 23":                        "43123",
		"0123":                              "0123",
		"sip:Alice@PBX.example:5060;lr?a=b": "alice@pbx.example",
		"alice":                             "alice",
		"sip:alice@[::1]":                   "alice@[::1]",
		"sip:alice@[::1]:5060":              "alice@[::1]",
		"":                                  "",
		"sip:":                              "",
		"sip:@host":                         "",
		"+":                                 "",
	} {
		if got := records.Address(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
