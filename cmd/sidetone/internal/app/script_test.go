package app

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/asr"
	"sidetone/cmd/sidetone/internal/demo"
	"sidetone/guidance"
	"sidetone/internal/pcm"
)

// The words of the demo call, heard without error, bring the cards that its
// script calls for and no other answer, action or offer.
func TestDemoScriptBringsItsCards(t *testing.T) {
	script, err := demo.ReadScript()
	if err != nil {
		t.Fatal(err)
	}
	index, err := loadKnowledge("")
	if err != nil {
		t.Fatal(err)
	}
	defer index.Close()
	rules, err := loadPlaybook("", index)
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	s, err := guidance.New(guidance.Config{
		Call: "c", Language: "en", Started: started, Playbook: rules, Knowledge: knowledge{index, slog.New(slog.DiscardHandler)},
	})
	if err != nil {
		t.Fatal(err)
	}
	utterances := map[string]int{}
	for _, turn := range script.Turns {
		role := turn.Role.String()
		utterances[role]++
		h := asr.Hypothesis{Utterance: utterances[role], Revision: 1, Final: true, Start: pcm.Samples(turn.Start), End: pcm.Samples(turn.End)}
		words := strings.Fields(turn.Text)
		for i, w := range words {
			at := func(i int) int64 { return h.Start + (h.End-h.Start)*int64(i)/int64(len(words)) }
			h.Words = append(h.Words, asr.Word{Text: w, Start: at(i), End: at(i + 1), Confidence: 1})
		}
		h.Stable = len(words)
		var shown []string
		for _, e := range s.Hear(guidance.Leg{ID: role, Role: role}, h, started.Add(turn.End)) {
			if e.Kind != guidance.CardShown || !slices.Contains([]guidance.Kind{guidance.Answer, guidance.Action, guidance.Offer}, e.Card.Kind) {
				continue
			}
			shown = append(shown, e.Card.Why.Intent)
			if !slices.ContainsFunc(turn.Cues, func(c demo.Cue) bool { return c.Intent == e.Card.Why.Intent }) {
				t.Errorf("%v: card %q came for no cue, because of %v", turn.End, e.Card.Title, e.Card.Why.Words)
			}
		}
		// Of two cues in one breath the more exact may speak for both.
		if len(turn.Cues) > 0 && !slices.Contains(shown, turn.Cues[len(turn.Cues)-1].Intent) {
			t.Errorf("%v: cards for %v, want one for %s", turn.End, shown, turn.Cues[len(turn.Cues)-1].Intent)
		}
	}
}
