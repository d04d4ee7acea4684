package watch

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"sidetone/voiceprint"
)

// day is n days after a Monday.
func day(n float64) time.Time {
	return time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC).Add(time.Duration(n * 24 * float64(time.Hour)))
}

func links(t *testing.T, c LinksConfig) *Links {
	t.Helper()
	c.Scorer = scales{}
	l, err := NewLinks(c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func add(t *testing.T, l *Links, h Heard) Link {
	t.Helper()
	if h.Net == 0 {
		h.Net = 15 * time.Second
	}
	link, err := l.Add(h, h.At)
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// steady calls of a person are alike enough for any threshold here.
func steady(c *crowd, person voiceprint.Embedding) voiceprint.Embedding {
	e := slices.Clone(person)
	for i := range e {
		e[i] += float32(0.02 * c.random.NormFloat64())
	}
	voiceprint.Unit(e)
	return e
}

func TestLink(t *testing.T) {
	c := newCrowd(20)
	a, b := c.stranger(), c.stranger()
	l := links(t, LinksConfig{})
	for i, s := range []struct {
		who      voiceprint.Embedding
		customer string
		want     []string
	}{
		{a, "ann", nil},
		{b, "bob", nil},
		{a, "ann", nil},
		{a, "cem", []string{"ann", "cem"}},
		{b, "bob", nil},
		{a, "dee", []string{"ann", "cem", "dee"}},
	} {
		got := add(t, l, Heard{Call: fmt.Sprint(i), Customer: s.customer, Embedding: steady(c, s.who), At: day(float64(i))})
		if !slices.Equal(got.Customers, s.want) {
			t.Fatalf("call %d: customers %v, want %v", i, got.Customers, s.want)
		}
	}
	want := []Link{{Voice: 1, Customers: []string{"ann", "cem", "dee"}, Calls: []string{"0", "2", "3", "5"}, First: day(0), Last: day(5)}}
	got := l.Links()
	if len(got) != 1 || got[0].LLR < Threshold(DefaultLinkFAR, 2) {
		t.Fatalf("got %+v", got)
	}
	got[0].LLR = 0
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}

	again := links(t, LinksConfig{})
	for _, h := range l.Calls() {
		add(t, again, h)
	}
	if got, want := again.Links(), l.Links(); len(got) != 1 || !slices.Equal(got[0].Calls, want[0].Calls) || !slices.Equal(got[0].Customers, want[0].Customers) {
		t.Errorf("from the calls that were kept: %+v, want %+v", got, want)
	}

	l.Forget("cem")
	l.Forget("dee")
	if got := l.Links(); got != nil || len(l.Calls()) != 4 {
		t.Errorf("after both were forgotten: %+v", got)
	}
}

func TestWhatMakesNoLink(t *testing.T) {
	c := newCrowd(21)
	a := c.stranger()
	first := Heard{Call: "1", Customer: "ann", Embedding: a, Net: 15 * time.Second, At: day(0)}
	for name, second := range map[string]Heard{
		"too little speech":      {Call: "2", Customer: "bob", Embedding: a, Net: 9 * time.Second, At: day(1)},
		"after the window":       {Call: "2", Customer: "bob", Embedding: a, Net: 15 * time.Second, At: day(31)},
		"the same call":          {Call: "1", Customer: "bob", Embedding: a, Net: 15 * time.Second, At: day(0)},
		"the same customer":      {Call: "2", Customer: "ann", Embedding: a, Net: 15 * time.Second, At: day(1)},
		"another voice":          {Call: "2", Customer: "bob", Embedding: c.stranger(), Net: 15 * time.Second, At: day(1)},
		"from before the window": {Call: "2", Customer: "bob", Embedding: a, Net: 15 * time.Second, At: day(-40)},
	} {
		l := links(t, LinksConfig{})
		add(t, l, first)
		now := second.At
		if now.Before(first.At) {
			now = first.At
		}
		if got, err := l.Add(second, now); err != nil || got.Voice != 0 || l.Links() != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	l := links(t, LinksConfig{})
	add(t, l, first)
	late := Heard{Call: "0", Customer: "bob", Embedding: a, Net: 15 * time.Second, At: day(-2)}
	if got, err := l.Add(late, day(1)); err != nil || !slices.Equal(got.Customers, []string{"bob", "ann"}) || got.First != late.At {
		t.Errorf("a call that is worked on late: %+v, %v", got, err)
	}
}

// A chain of likenesses, each to the next, makes no link between its ends.
func TestNoChain(t *testing.T) {
	at := func(angle float64) voiceprint.Embedding {
		e := make(voiceprint.Embedding, testModel.Dim)
		e[0], e[1] = float32(math.Cos(angle)), float32(math.Sin(angle))
		return e
	}
	l := links(t, LinksConfig{})
	// Not quite once around.
	for i := range 16 {
		add(t, l, Heard{Call: fmt.Sprint(i), Customer: fmt.Sprint(i), Embedding: at(0.35 * float64(i)), At: day(0)})
	}
	all := l.Links()
	if len(all) < 3 {
		t.Fatalf("16 calls around a circle make %d links: %+v", len(all), all)
	}
	for _, link := range all {
		if len(link.Calls) > 4 {
			t.Errorf("a link across %d steps of the chain", len(link.Calls))
		}
	}
}

// Memory has a bound, and no voice takes it all.
func TestBounds(t *testing.T) {
	c := newCrowd(22)
	l := links(t, LinksConfig{Calls: 50})
	a := c.stranger()
	for i := range 300 {
		h := Heard{Call: fmt.Sprint(i), Customer: "ann", Embedding: steady(c, a), At: day(float64(i) / 300)}
		if i%3 == 0 {
			h.Customer, h.Embedding = fmt.Sprint(i), c.stranger()
		}
		add(t, l, h)
		if len(l.calls) > 50 || len(l.voices) > 50 || len(l.means) != len(l.voices)*testModel.Dim {
			t.Fatalf("%d calls, %d voices, %d numbers", len(l.calls), len(l.voices), len(l.means))
		}
		var own int
		for _, v := range l.voices {
			own += len(v.calls)
			if len(v.of("ann")) > perCustomer {
				t.Fatalf("%d calls of one voice for one customer", len(v.of("ann")))
			}
		}
		if own != len(l.calls) {
			t.Fatalf("%d calls in voices, %d in all", own, len(l.calls))
		}
	}
	l.Expire(day(100))
	if len(l.calls) != 0 || len(l.voices) != 0 || len(l.means) != 0 {
		t.Errorf("%d calls, %d voices are left", len(l.calls), len(l.voices))
	}
	one := links(t, LinksConfig{Calls: 1})
	add(t, one, Heard{Call: "1", Customer: "a", Embedding: a, At: day(1)})
	if got, err := one.Add(Heard{Call: "0", Customer: "b", Embedding: a, Net: net, At: day(0)}, day(1)); err != nil || got.Voice != 0 || one.Calls()[0].Call != "1" {
		t.Errorf("room for one, an older came: %+v, %v", got, err)
	}
}

// Among many callers for themselves the few who call for many are found, and hardly
// anybody else.
func TestLinksAmongMany(t *testing.T) {
	c := newCrowd(23)
	l := links(t, LinksConfig{})
	var crooks [][]float64
	for range 5 {
		crooks = append(crooks, c.person())
	}
	crookCalls := map[string]bool{}
	for i := range 600 {
		h := Heard{Call: fmt.Sprint(i), Customer: fmt.Sprint(i), At: day(float64(i) / 60)}
		if i%20 == 7 {
			h.Embedding = c.call(crooks[i/20%5])
			crookCalls[h.Call] = true
		} else {
			h.Embedding = c.stranger()
		}
		add(t, l, h)
	}
	found, wrong := 0, 0
	for _, link := range l.Links() {
		for _, call := range link.Calls {
			if crookCalls[call] {
				found++
			} else {
				wrong++
			}
		}
	}
	t.Logf("30 calls of 5 crooks among 600: %d found, %d others", found, wrong)
	if found < 15 || wrong > 2 {
		t.Errorf("%d of 30 calls found, and %d others", found, wrong)
	}
}

func TestLinksRefuse(t *testing.T) {
	for name, c := range map[string]LinksConfig{
		"a rate": {FAR: 2}, "window": {Window: -1}, "calls": {Calls: -1}, "least": {Least: -1},
	} {
		c.Scorer = scales{}
		if _, err := NewLinks(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := links(t, LinksConfig{}).Add(Heard{Embedding: voiceprint.Embedding{1, 0}}, day(0)); err == nil {
		t.Error("an embedding of another model: no error")
	}
}

func TestForgetCalls(t *testing.T) {
	c := newCrowd(20)
	voice := c.stranger()
	l := links(t, LinksConfig{})
	for i, customer := range []string{"ann", "bob", "cem"} {
		add(t, l, Heard{Call: fmt.Sprint(i), Customer: customer, Embedding: steady(c, voice), At: day(float64(i))})
	}
	l.ForgetCalls("1", "9")
	if got := l.Links(); len(got) != 1 || !slices.Equal(got[0].Customers, []string{"ann", "cem"}) {
		t.Errorf("one call is erased: %+v", got)
	}
	l.ForgetCalls("0", "2")
	if n := len(l.Calls()); n != 0 || len(l.Links()) != 0 {
		t.Errorf("all calls are erased, %d are remembered", n)
	}
}
