package guidance

import (
	"slices"
	"testing"
	"time"
)

// A session that goes on after a loss knows what was said and shown: it repeats
// no card, answers for those that stand, and goes on counting.
func TestResume(t *testing.T) {
	rules := []Rule{
		rule("lost", nil), rule("late", nil), rule("wrong", nil),
		rule("greeting", func(r *Rule) {
			r.When = When{Start: true, By: 20 * time.Second, NotSaid: []string{"hello"}}
		}),
	}
	book := &Playbook{Rules: rules, Spotter: plain{}}
	cfg := Config{Call: "c", Language: "en", Started: start, Playbook: book, Knowledge: shelf{}}
	first, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	from := Leg{ID: "a", Role: "customer"}
	var past Past
	var shown []Card
	for i, word := range []string{"hello", "lost", "wrong"} {
		h := say(i+1, word)
		when := at(float64(5 * (i + 1)))
		for _, e := range first.Hear(from, h, when) {
			if e.Kind == CardShown {
				shown = append(shown, *e.Card)
			}
		}
		past.Said = append(past.Said, PastFinal{from, h, when})
	}
	if len(shown) != 2 {
		t.Fatalf("%d cards shown, want 2", len(shown))
	}
	past.Cards = []PastCard{{Card: shown[0], Live: true}, {Card: shown[1], Wrong: true}}

	s, err := Resume(cfg, past)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Snapshot(); len(got) != 1 || got[0].ID != shown[0].ID {
		t.Errorf("cards that stand: %+v", got)
	}
	if ev := cardsOf(s.Tick(at(21))); len(ev) != 0 {
		t.Errorf("the greeting was said, but its card came: %+v", ev)
	}
	if ev := cardsOf(s.Hear(from, say(4, "lost"), at(22))); len(ev) != 0 {
		t.Errorf("a card came again: %+v", ev)
	}
	if ev := cardsOf(s.Hear(from, say(5, "wrong"), at(400))); len(ev) != 0 {
		t.Errorf("a rule came again that the agent called wrong: %+v", ev)
	}
	ev := cardsOf(s.Hear(from, say(6, "late"), at(401)))
	if len(ev) != 1 || slices.ContainsFunc(shown, func(c Card) bool { return c.ID == ev[0].ID }) {
		t.Errorf("a new card: %+v, beside %+v", ev, shown)
	}
	if _, err = s.Feedback(ev[0].ID, Used, at(402)); err != nil {
		t.Error(err)
	}

	again, err := Resume(cfg, past)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = again.Feedback(shown[0].ID, Used, at(20)); err != nil {
		t.Errorf("a card that stood before the loss cannot be answered: %v", err)
	}
}

func cardsOf(ev []Event) []Card {
	var out []Card
	for _, e := range ev {
		if e.Kind == CardShown {
			out = append(out, *e.Card)
		}
	}
	return out
}
