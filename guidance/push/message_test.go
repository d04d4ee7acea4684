package push

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sidetone/guidance"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestMessages holds every message of the server against its golden file, so
// that a change of the protocol is seen in review.
func TestMessages(t *testing.T) {
	at := time.Date(2026, 3, 2, 9, 30, 0, 250e6, time.UTC)
	k := guidance.Card{
		ID: "c1-1", Call: "c1", Kind: guidance.Action, Title: "Block and replace the card", Body: "I am blocking your card now.",
		Steps: []string{"Confirm identity", "Cards > Block > Lost"}, Language: "en",
		Why: guidance.Why{
			Words: []guidance.Said{{Leg: "l2", Role: "customer", Text: "lost my card", Utterance: 2, StartMS: 4100, EndMS: 4900}},
			Rule:  "lost-card", Intent: "replace_card", Element: "card-replace", Version: 4,
		},
		Priority: 80, Born: at, Expires: at.Add(2 * time.Minute), Key: "card-replace",
	}
	quality := &Quality{Loss: 4.5, Concealed: 3.25, JitterMS: 12.5, Level: -23.5, Clipped: 0.1, Poor: "loss"}
	legs := []Leg{
		{"l1", "agent", "sip:maria@bank.example", LegLive, "announced by the API", "“I lost my card”", true, quality, nil},
		{ID: "l2", Role: "customer", State: LegHeld, Voice: &Voice{Outcome: "inconclusive", Reasons: []string{"noise"}, Final: true}},
	}
	c := Call{"c1", "maria", at, legs, "asked for by maria", AwayFork, "edge-1", 7}
	u := Utterance{"l2", "customer", 2, 3, false, []Word{{"I", 3900, 4000, nil}, {"lost", 4100, 4400, nil}, {"five", 4500, 4600, &Written{"$5", 2}}, {"dollars", 4600, 4900, nil}}, 1, 3900, 4900}
	view := cardView{Card: k, State: Live}
	messages := map[string]any{
		"hello":        hello{"hello", 1, "maria", at, "v0.1.0", "en", "edge-1"},
		"call_started": callStarted{"call_started", c},
		"leg":          legChanged{"leg", "c1", legs[1]},
		"utterance":    utterance{"utterance", "c1", u},
		"card":         newCard{"card", view},
		"snapshot": snapshot{Type: "snapshot", Gathering: true, Calls: []callView{{
			Call: c, Ended: &ending{at.Add(time.Minute), "ended", "customer hung up"}, Earlier: 3,
			Utterances: []Utterance{u}, Cards: []cardView{{Card: k, State: Withdrawn, Reason: "words changed", Painted: true}},
		}}},
		"snapshot_empty": snapshot{Type: "snapshot", Calls: []callView{}},
		"card_withdrawn": cardWithdrawn{"card_withdrawn", "c1", "c1-1", "words changed"},
		"card_state":     cardState{"card_state", "c1", "c1-1", Used},
		"call_ended":     callEnded{"call_ended", "c1", ending{at, "timed out", "no packet for 30s"}},
		"search_results": searchResults{"search_results", 7, []Result{{"fee", 3, "en", "Overdraft fee", "It is five pounds.", "Waive one a year.", []string{"Look it up"}}}},
		"paused":         pausedChanged{"paused", "c1", "asked for by maria"},
		"draining":       drainChanged{"draining", true},
		"away":           awayChanged{"away", "c1", AwayServer},
		"pong":           pong{"pong", 3, at},
		"error":          problem{"error", "bad_message", "search", 7, "search: text has 0 characters, want 1 to 200"},
	}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(messages) && !*update {
		t.Errorf("%d golden files for %d messages", len(files), len(messages))
	}
	for name, m := range messages {
		got, err := json.MarshalIndent(m, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, '\n')
		file := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}
