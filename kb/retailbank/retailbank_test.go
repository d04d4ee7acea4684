package retailbank

import (
	"context"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"sidetone/kb"
)

func load(t *testing.T) []kb.Element {
	t.Helper()
	es, err := kb.Load(Files())
	if err != nil {
		t.Fatal(err)
	}
	return es
}

// An agent has half a second and one glance.
func TestElementsFitAGlance(t *testing.T) {
	count := map[string]int{}
	english := map[string]kb.Element{}
	for _, e := range load(t) {
		count[e.Language]++
		// An English word is worth about two Chinese characters here.
		length, title, step, body := func(s string) int { return len(strings.Fields(s)) }, 6, 12, 45
		if e.Language == "zh" {
			length, title, step, body = utf8.RuneCountInString, 12, 16, 60
		} else {
			english[e.ID] = e
		}
		if n := length(e.Title); n > title {
			t.Errorf("%s %s: title of %d, at most %d: %q", e.ID, e.Language, n, title, e.Title)
		}
		if n := length(e.Customer); n > body {
			t.Errorf("%s %s: customer wording of %d, at most %d", e.ID, e.Language, n, body)
		}
		if n := len(e.Steps); n < 3 || n > 6 {
			t.Errorf("%s %s: %d steps, want 3 to 6", e.ID, e.Language, n)
		}
		for _, s := range e.Steps {
			if n := length(s); n > step {
				t.Errorf("%s %s: step of %d, at most %d: %q", e.ID, e.Language, n, step, s)
			}
		}
		if len(e.Questions) == 0 || len(e.Intents) == 0 || e.Product == "" || e.Owner == "" || e.ValidFrom.IsZero() {
			t.Errorf("%s %s: questions, intents, product, owner and valid_from are all wanted", e.ID, e.Language)
		}
	}
	if count["en"] < 40 || 2*count["zh"] < count["en"] {
		t.Errorf("%d English and %d Chinese elements; want 40 and half of the English", count["en"], count["zh"])
	}
	for _, e := range load(t) {
		en, ok := english[e.ID]
		if !ok || en.Version != e.Version || len(en.Steps) != len(e.Steps) || strings.Join(en.Intents, " ") != strings.Join(e.Intents, " ") {
			t.Errorf("%s %s: not the translation of the English version %d", e.ID, e.Language, en.Version)
		}
		for _, l := range e.Links {
			if id, ok := strings.CutPrefix(l, "kb:"); ok && english[id].ID == "" {
				t.Errorf("%s: link to %s leads nowhere", e.ID, id)
			}
		}
	}
}

// Each element is the first hit for its own questions, and for how a caller or
// an agent would put it.
func TestSearchFindsEachByItsQuestions(t *testing.T) {
	es := load(t)
	x := kb.New()
	defer func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := x.Publish(es); err != nil {
		t.Fatal(err)
	}
	first := func(text, language string) string {
		hits, err := x.Search(context.Background(), kb.Query{Text: text, Limit: 1, View: kb.View{
			Language: language, Now: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC),
		}})
		if err != nil || len(hits) == 0 {
			t.Errorf("%q: no hit, %v", text, err)
			return ""
		}
		return hits[0].Element.ID
	}
	asked, missed := 0, 0
	for _, e := range es {
		for _, q := range e.Questions {
			asked++
			if got := first(q, e.Language); got != e.ID {
				missed++
				t.Logf("%q finds %s, not %s", q, got, e.ID)
			}
		}
	}
	if missed*50 > asked {
		t.Errorf("%d of %d questions find another element first", missed, asked)
	}
	for text, want := range map[string]string{
		"overdraft": "fee-overdraft", "waive": "fee-waiver", "checkbook": "cheque-order", "opening hours": "branch-hours",
		"stolen": "card-stolen", "password": "password-reset", "iban": "transfer-wire", "funeral": "bereavement",
		"apple pay": "card-wallet", "wrong payee": "transfer-wrong", "death": "bereavement", "余额": "balance-check", "投诉": "complaint",
	} {
		if got := first(text, "en"); got != want {
			t.Errorf("%q finds %s, want %s", text, got, want)
		}
	}
}
