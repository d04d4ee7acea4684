package guidance

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/asr"
)

// plain is a Spotter that takes words such as "lost" or "lost@0.5" for intents
// of that name.
type plain struct{}

func (plain) Listen(string) Listener { return plain{} }

func (plain) Hear(h *asr.Hypothesis) []Mention {
	n := h.Stable
	if h.Final {
		n = len(h.Words)
	}
	var out []Mention
	for i, w := range h.Words[:n] {
		m := Mention{Intent: w.Text, Score: 0.9, Words: []Ref{{h.Utterance, i, w.Text, w.Start, w.End}}}
		if name, score, ok := strings.Cut(w.Text, "@"); ok {
			m.Intent = name
			fmt.Sscan(score, &m.Score)
		}
		out = append(out, m)
	}
	return out
}

// shelf has an element for every id but "none".
type shelf struct{}

func (shelf) Passage(id, language string, _ time.Time) (Passage, bool) {
	return Passage{Element: id, Version: 3, Language: language, Title: "About " + id, Body: "Say it.", Steps: []string{"Do it"}}, id != "none"
}

func (shelf) Find(text, language string, _ time.Time) (Passage, bool) {
	return Passage{Element: "found", Version: 1, Language: "en", Title: text}, text == "something"
}

var start = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

// rule shows the element of its id when the intent of that name is heard.
func rule(id string, change func(*Rule)) Rule {
	r := Rule{
		ID: id, When: When{Intents: []string{id}, Score: 0.7},
		Card: Template{Kind: Action, Element: id, Priority: 50, Expires: time.Minute, Cooldown: 2 * time.Minute, Key: id},
	}
	if change != nil {
		change(&r)
	}
	return r
}

func session(t testing.TB, b Budget, rules ...Rule) *Session {
	t.Helper()
	s, err := New(Config{
		Call: "c1", Language: "en", Started: start, Knowledge: shelf{}, Budget: b,
		Playbook: &Playbook{Spotter: plain{}, Rules: rules, Stages: []Stage{{ID: "service"}, {ID: "closing", Begins: []string{"bye"}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var (
	customer = Leg{ID: "b", Role: "customer"}
	agent    = Leg{ID: "a", Role: "agent", Offset: 500 * time.Millisecond}
)

// say makes a final; a text that ends in ... is a partial.
func say(utterance int, text string) asr.Hypothesis {
	text, partial := strings.CutSuffix(text, "...")
	h := asr.Hypothesis{Utterance: utterance, Revision: 1, Final: !partial}
	for i, w := range strings.Fields(text) {
		h.Words = append(h.Words, asr.Word{Text: w, Start: int64(i) * 8000, End: int64(i)*8000 + 4000})
	}
	h.Stable = len(h.Words)
	return h
}

// brief writes events down, intents left out.
func brief(ev []Event) string {
	var out []string
	for _, e := range ev {
		switch e.Kind {
		case CardShown:
			out = append(out, "+"+e.Card.Key)
		case CardWithdrawn:
			out = append(out, "-"+e.Card.Key+":"+string(e.Reason))
		}
	}
	return strings.Join(out, " ")
}

func TestACardSaysWhy(t *testing.T) {
	s := session(t, Budget{}, rule("lost", nil))
	ev := s.Hear(Leg{ID: "b", Role: "customer", Offset: 2 * time.Second}, say(4, "i lost it"), at(5))
	if len(ev) != 4 {
		t.Fatalf("got %d events", len(ev))
	}
	got := *ev[3].Card
	want := Card{
		ID: "c1-1", Call: "c1", Kind: Action, Title: "About lost", Body: "Say it.", Steps: []string{"Do it"}, Language: "en",
		Why: Why{
			Words: []Said{{Leg: "b", Role: "customer", Text: "lost", Utterance: 4, StartMS: 2500, EndMS: 2750}},
			Rule:  "lost", Intent: "lost", Element: "lost", Version: 3,
		},
		Priority: 50, Born: at(5), Expires: at(65), Key: "lost",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	heard := ev[1].Heard
	if ev[1].Kind != IntentHeard || heard.Intent != "lost" || !heard.Final || !slices.Equal(heard.Words, want.Why.Words) {
		t.Errorf("heard %+v", heard)
	}
	if snap := s.Snapshot(); len(snap) != 1 || snap[0].ID != "c1-1" {
		t.Errorf("snapshot %+v", snap)
	}
}

// step is something that happens and what follows from it.
type step struct {
	after float64
	leg   Leg
	say   string
	utt   int
	rev   int
	want  string
}

func TestSessions(t *testing.T) {
	stage := func(id string) func(*Rule) { return func(r *Rule) { r.Stages = []string{id} } }
	cases := []struct {
		name   string
		budget Budget
		rules  []Rule
		steps  []step
	}{
		{"partial, confirmed", Budget{}, []Rule{rule("lost", nil)}, []step{
			{1, customer, "i lost ...", 1, 1, "+lost"},
			{1.5, customer, "i lost my ...", 1, 2, ""},
			{2, customer, "i lost my card", 1, 3, ""},
		}},
		{"partial, withdrawn by the final", Budget{}, []Rule{rule("lost", nil)}, []step{
			{1, customer, "i lost ...", 1, 1, "+lost"},
			{2, customer, "i cost", 1, 2, "-lost:misheard"},
			{3, customer, "i lost", 2, 1, "+lost"},
		}},
		{"no speech after all", Budget{}, []Rule{rule("lost", nil)}, []step{
			{1, customer, "lost ...", 1, 1, "+lost"},
			{2, customer, "", 1, 2, "-lost:misheard"},
		}},
		{"a final stays what it was", Budget{}, []Rule{rule("lost", nil)}, []step{
			{1, customer, "lost", 1, 1, "+lost"},
			{2, customer, "cost", 1, 2, ""},
			{2, customer, "lost ...", 1, 1, ""},
		}},
		{"an old utterance comes late", Budget{}, []Rule{rule("lost", nil)}, []step{
			{1, customer, "hello", 2, 1, ""},
			{2, customer, "lost", 1, 1, ""},
		}},
		{"once while it stands, and a while longer", Budget{}, []Rule{rule("lost", nil)}, []step{
			{1, customer, "lost", 1, 1, "+lost"},
			{2, customer, "lost", 2, 1, ""},
			{70, customer, "lost", 3, 1, "-lost:expired"},
			{122, customer, "lost", 4, 1, "+lost"},
		}},
		{"one key, one card", Budget{}, []Rule{rule("lost", nil), rule("gone", func(r *Rule) { r.Card.Key = "lost" })}, []step{
			{1, customer, "lost gone", 1, 1, "+lost"},
		}},
		{"weak evidence adds up", Budget{}, []Rule{rule("pay", nil)}, []step{
			{1, customer, "pay@0.5", 1, 1, ""},
			{2, agent, "pay@0.5", 1, 1, "+pay"},
		}},
		{"weak evidence fades", Budget{}, []Rule{rule("pay", nil)}, []step{
			{1, customer, "pay@0.5", 1, 1, ""},
			{200, agent, "pay@0.5", 1, 1, ""},
		}},
		{"weak evidence, the same utterance", Budget{}, []Rule{rule("pay", nil)}, []step{
			{1, customer, "pay@0.5 ...", 1, 1, ""},
			{2, customer, "pay@0.5 my", 1, 2, ""},
		}},
		{"not said by then", Budget{}, []Rule{rule("notice", func(r *Rule) {
			r.When = When{Start: true, NotSaid: []string{"recorded"}, By: 30 * time.Second}
		})}, []step{
			{29, Leg{}, "", 0, 0, ""},
			{30, Leg{}, "", 0, 0, "+notice"},
			{33, agent, "recorded", 1, 1, "-notice:fulfilled"},
		}},
		{"said in time", Budget{}, []Rule{rule("notice", func(r *Rule) {
			r.When = When{Start: true, NotSaid: []string{"recorded"}, By: 30 * time.Second}
		})}, []step{
			{5, agent, "recorded", 1, 1, ""},
			{31, Leg{}, "", 0, 0, ""},
		}},
		{"said, but misheard", Budget{}, []Rule{rule("notice", func(r *Rule) {
			r.When = When{Start: true, NotSaid: []string{"recorded"}, By: 30 * time.Second}
		})}, []step{
			{5, agent, "recorded ...", 1, 1, ""},
			{6, agent, "reordered", 1, 2, ""},
			{31, Leg{}, "", 0, 0, "+notice"},
		}},
		{"not said before an event", Budget{}, []Rule{rule("transfer", func(r *Rule) { r.When.NotSaid = []string{"verified"} })}, []step{
			{1, customer, "transfer", 1, 1, "+transfer"},
			{2, agent, "verified", 1, 1, "-transfer:fulfilled"},
		}},
		{"not said a while after an event", Budget{}, []Rule{rule("transfer", func(r *Rule) {
			r.When.NotSaid, r.When.By = []string{"verified"}, 8*time.Second
		})}, []step{
			{1, customer, "transfer", 1, 1, ""},
			{8, Leg{}, "", 0, 0, ""},
			{9, Leg{}, "", 0, 0, "+transfer"},
		}},
		{"the event itself was misheard", Budget{}, []Rule{rule("transfer", func(r *Rule) {
			r.When.NotSaid, r.When.By = []string{"verified"}, 8*time.Second
		})}, []step{
			{1, customer, "transfer ...", 1, 1, ""},
			{2, customer, "translate", 1, 2, ""},
			{12, Leg{}, "", 0, 0, ""},
		}},
		{"said before", Budget{}, []Rule{rule("pay", func(r *Rule) { r.When.Said = []string{"savings"} })}, []step{
			{1, customer, "pay", 1, 1, ""},
			{2, customer, "pay savings", 2, 1, "+pay"},
		}},
		{"the same breath says otherwise", Budget{}, []Rule{rule("lost", func(r *Rule) { r.When.Unless = []string{"stolen"} })}, []step{
			{1, customer, "lost stolen", 1, 1, ""},
			{10, customer, "lost", 2, 1, ""},
			{40, customer, "lost", 3, 1, "+lost"},
			{50, customer, "stolen", 4, 1, "-lost:overruled"},
			{70, customer, "lost", 5, 1, "+lost"},
			{90, customer, "stolen", 6, 1, ""},
		}},
		{"only in its stage", Budget{}, []Rule{rule("offer", stage("service")), rule("sum", stage("closing"))}, []step{
			{1, customer, "offer sum", 1, 1, "+offer"},
			{2, agent, "bye", 1, 1, ""},
			{200, customer, "offer sum", 2, 1, "-offer:expired +sum"},
		}},
		{"no element, a search instead", Budget{}, []Rule{rule("none", func(r *Rule) { r.Card.Search = "something" })}, []step{
			{1, customer, "none", 1, 1, "+none"},
		}},
		{"no element at all", Budget{}, []Rule{rule("none", nil)}, []step{
			{1, customer, "none", 1, 1, ""},
		}},
		{"six a minute", Budget{PerMinute: 2, Live: 9}, []Rule{
			rule("a", nil), rule("b", nil), rule("c", nil), rule("urgent", func(r *Rule) { r.Card.Priority = 95 }),
		}, []step{
			{1, customer, "a b c", 1, 1, "+a +b"},
			{2, customer, "urgent", 2, 1, "+urgent"},
			{63, customer, "c", 3, 1, "-a:expired -b:expired -urgent:expired +c"},
		}},
		{"so many a call", Budget{PerCall: 1}, []Rule{rule("a", nil), rule("b", nil)}, []step{
			{1, customer, "a", 1, 1, "+a"},
			{200, customer, "b", 2, 1, "-a:expired"},
		}},
		{"so many at once", Budget{Live: 2}, []Rule{
			rule("low", func(r *Rule) { r.Card.Priority = 10 }), rule("mid", nil), rule("high", func(r *Rule) { r.Card.Priority = 60 }),
		}, []step{
			{1, customer, "low mid", 1, 1, "+low +mid"},
			{2, customer, "high", 2, 1, "-low:displaced +high"},
			{150, customer, "x", 3, 1, "-mid:expired -high:expired"},
		}},
		{"a lesser card does not displace", Budget{Live: 1}, []Rule{rule("mid", nil), rule("low", func(r *Rule) { r.Card.Priority = 10 })}, []step{
			{1, customer, "mid low", 1, 1, "+mid"},
		}},
		{"unless the other has been read", Budget{Live: 1}, []Rule{rule("mid", nil), rule("low", func(r *Rule) { r.Card.Priority = 10 })}, []step{
			{1, customer, "mid", 1, 1, "+mid"},
			{46, customer, "low", 2, 1, "-mid:displaced +low"},
		}},
		{"and is not urgent", Budget{Live: 1}, []Rule{rule("urgent", func(r *Rule) { r.Card.Priority = 95 }), rule("low", nil)}, []step{
			{1, customer, "urgent", 1, 1, "+urgent"},
			{46, customer, "low", 2, 1, ""},
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := session(t, c.budget, c.rules...)
			for i, st := range c.steps {
				var ev []Event
				if st.utt == 0 {
					ev = s.Tick(at(st.after))
				} else {
					h := say(st.utt, st.say)
					h.Revision = st.rev
					ev = s.Hear(st.leg, h, at(st.after))
				}
				if got := brief(ev); got != st.want {
					t.Errorf("step %d, %q: got %q, want %q", i+1, st.say, got, st.want)
				}
			}
		})
	}
}

func TestAProofOfTwoUtterancesShowsBoth(t *testing.T) {
	s := session(t, Budget{}, rule("pay", nil))
	s.Hear(customer, say(1, "pay@0.5"), at(1))
	ev := s.Hear(agent, say(1, "pay@0.6"), at(2))
	w := ev[len(ev)-1].Card.Why.Words
	if len(w) != 2 || w[0].Role != "customer" || w[1].Role != "agent" || w[1].StartMS != 500 {
		t.Errorf("got %+v", w)
	}
}

func TestReasonOfWhatWasNotSaid(t *testing.T) {
	s := session(t, Budget{},
		rule("notice", func(r *Rule) { r.When = When{Start: true, NotSaid: []string{"recorded"}, By: 30 * time.Second} }),
		rule("pay", func(r *Rule) { r.When.NotSaid, r.When.By = []string{"verified", "checked"}, 8*time.Second }))
	s.Hear(customer, say(1, "pay"), at(1))
	ev := s.Tick(at(40))
	var got []string
	for _, e := range ev {
		got = append(got, e.Card.Why.Note)
	}
	want := []string{"not said: recorded (30s after the call began)", "not said: verified, checked (8s after pay)"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestInlineTextByLanguage(t *testing.T) {
	text := map[string]Text{"zh": {Title: "结束"}, "en": {Title: "Close"}}
	for lang, want := range map[string]string{"zh": "结束", "en": "Close", "fr": "Close"} {
		s := session(t, Budget{}, rule("a", func(r *Rule) { r.Card.Element, r.Card.Text = "", text }))
		s.c.Language = lang
		ev := s.Hear(customer, say(1, "a"), at(1))
		if c := ev[len(ev)-1].Card; c == nil || c.Title != want {
			t.Errorf("%s: got %+v", lang, ev)
		}
	}
}

func TestFeedback(t *testing.T) {
	for _, c := range []struct {
		r Response
		// again is what comes at once, later after the cool-down.
		again, later string
	}{{Used, "", "+lost"}, {Dismissed, "", "+lost"}, {Wrong, "", ""}} {
		s := session(t, Budget{}, rule("lost", nil))
		s.Hear(customer, say(1, "lost"), at(1))
		ev, err := s.Feedback("c1-1", c.r, at(20))
		if err != nil || brief(ev) != "-lost:agent" || len(s.Snapshot()) != 0 {
			t.Errorf("%s: %v, %v", c.r, brief(ev), err)
		}
		if got := brief(s.Hear(customer, say(2, "lost"), at(22))); got != c.again {
			t.Errorf("%s, again: %q", c.r, got)
		}
		if got := brief(s.Hear(customer, say(3, "lost"), at(141))); got != c.later {
			t.Errorf("%s, later: %q", c.r, got)
		}
		if _, err := s.Feedback("c1-1", c.r, at(200)); err == nil || !strings.Contains(err.Error(), `card "c1-1" does not stand on call "c1"`) {
			t.Errorf("twice: %v", err)
		}
	}
	if r, err := ParseResponse("used"); r != Used || err != nil {
		t.Error(r, err)
	}
	if _, err := ParseResponse("eaten"); err == nil || err.Error() != `unknown response "eaten": it is used, dismissed or wrong` {
		t.Error(err)
	}
}

func TestSnapshotIsInOrder(t *testing.T) {
	s := session(t, Budget{}, rule("a", nil), rule("b", func(r *Rule) { r.Card.Priority = 80 }), rule("c", nil))
	s.Hear(customer, say(1, "a b c"), at(1))
	var got []string
	for _, c := range s.Snapshot() {
		got = append(got, c.Key)
	}
	if !slices.Equal(got, []string{"b", "a", "c"}) {
		t.Errorf("got %v", got)
	}
}

func TestCounts(t *testing.T) {
	s := session(t, Budget{PerMinute: 2}, rule("a", nil), rule("b", nil), rule("c", nil), rule("none", nil))
	s.Hear(customer, say(1, "a ..."), at(1))
	s.Hear(customer, say(1, "x"), at(2)) // same revision: the final of it
	s.Hear(customer, say(2, "b c none"), at(3))
	s.Hear(customer, say(3, "b"), at(4))
	s.Tick(at(100))
	want := Counts{Shown: 2, Expired: 1, Misheard: 1, Repeated: 1, OverBudget: 1, Unknown: 1}
	if got := s.Counts(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestNewRefuses(t *testing.T) {
	good := Config{Call: "c", Started: start, Playbook: &Playbook{Spotter: plain{}}, Knowledge: shelf{}}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Config){
		"no playbook":             func(c *Config) { c.Playbook = nil },
		"has no playbook":         func(c *Config) { c.Playbook = &Playbook{} },
		"no knowledge":            func(c *Config) { c.Knowledge = nil },
		"when the call started":   func(c *Config) { c.Started = time.Time{} },
		"budget cannot be negati": func(c *Config) { c.Budget.Live = -1 },
	} {
		c := good
		spoil(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestElementsOfAPlaybook(t *testing.T) {
	p := Playbook{Rules: []Rule{rule("b", nil), rule("a", nil), rule("b", nil), rule("c", func(r *Rule) { r.Card.Element = "" })}}
	if got := p.Elements(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %v", got)
	}
}
