package load

import (
	"slices"
	"testing"
	"time"

	"sidetone/bench/wer"
)

func script() *Script {
	return &Script{Name: "s", Cards: true, Turns: []Turn{
		{Role: "agent", Start: time.Second, End: 3 * time.Second, Text: "Good morning, how can I help you?"},
		{Role: "customer", Start: 4 * time.Second, End: 7 * time.Second, Text: "I lost my card, it is blocked now.", Intents: []string{"card.blocked", "card.lost"}},
		{Role: "agent", Start: 8 * time.Second, End: 9 * time.Second, Text: "Mm-hmm."},
	}}
}

// said is recognised with the call's clock half a second ahead of the audio.
func said(role, text string, from, to int64) Spoken {
	return Spoken{Leg: role, Role: role, Text: text, StartMS: from + 500, EndMS: to + 500}
}

func card(id, kind, intent string, words ...Spoken) Card {
	ms := int64(300)
	c := Card{ID: id, Kind: kind, Title: id, LatencyMS: &ms}
	c.Why.Intent, c.Why.Words = intent, words
	return c
}

func TestVerify(t *testing.T) {
	right := said("customer", "lost my card", 4500, 5500)
	perfect := []Spoken{
		said("agent", "Good morning, how can I help you?", 1000, 3000),
		said("customer", "I lost my card, it is blocked now.", 4000, 7000),
		said("agent", "Mm-hmm.", 8000, 9000),
	}
	for _, c := range []struct {
		name       string
		transcript []Spoken
		cards      []Card
		errors     int
		lost       int
		missing    int
		wrong      int
		expected   int
	}{
		{"all right", perfect, []Card{card("k", "action", "card.lost", right)}, 0, 0, 0, 0, 1},
		{"both cues", perfect, []Card{card("k", "action", "card.lost", right), card("l", "answer", "card.blocked", right)}, 0, 0, 0, 0, 2},
		{"the less exact cue alone", perfect, []Card{card("k", "action", "card.blocked", right)}, 0, 0, 1, 0, 2},
		{"no card", perfect, nil, 0, 0, 1, 0, 1},
		{"a card for other words", perfect, []Card{card("k", "action", "card.lost", said("customer", "lost", 20000, 21000))}, 0, 0, 1, 1, 1},
		{"a card for the other side's words", perfect, []Card{card("k", "action", "card.lost", said("agent", "lost", 4500, 5500))}, 0, 0, 1, 1, 1},
		{"a checklist besides", perfect, []Card{card("k", "action", "card.lost", right), card("l", "checklist", "")}, 0, 0, 0, 0, 1},
		{"an offer besides", perfect, []Card{card("k", "action", "card.lost", right), card("l", "offer", "loan", right)}, 0, 0, 0, 1, 1},
		{"a turn is lost", perfect[1:], []Card{card("k", "action", "card.lost", right)}, 7, 1, 0, 0, 1},
		{"a short turn is lost", perfect[:2], []Card{card("k", "action", "card.lost", right)}, 0, 0, 0, 0, 1},
		{"on the wrong leg", []Spoken{perfect[0], said("agent", "I lost my card, it is blocked now.", 4000, 7000)}, nil, 16, 1, 1, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := Verify(script(), &Record{Transcript: c.transcript, Cards: c.cards}, 500*time.Millisecond, wer.New())
			w := f.Words()
			if n := w.Sub + w.Ins + w.Del; n != c.errors || w.Words != 15 {
				t.Errorf("%d errors in %d words, want %d in 15: %+v", n, w.Words, c.errors, f)
			}
			if len(f.LostTurns) != c.lost || len(f.Missing) != c.missing || len(f.Wrong) != c.wrong || f.Expected != c.expected {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestVerifyWithoutCards(t *testing.T) {
	s := script()
	s.Cards = false
	unpainted := card("k", "offer", "loan")
	unpainted.LatencyMS = nil
	f := Verify(s, &Record{Cards: []Card{unpainted, card("l", "offer", "loan")}}, 0, wer.New())
	if f.Expected != 0 || f.Missing != nil || f.Wrong != nil || f.Unpainted != 1 {
		t.Errorf("%+v", f)
	}
	if !slices.Equal(f.LostTurns, []string{"agent at 1s: Good morning, how can I help you?", "customer at 4s: I lost my card, it is blocked now."}) {
		t.Errorf("lost turns %q", f.LostTurns)
	}
}
