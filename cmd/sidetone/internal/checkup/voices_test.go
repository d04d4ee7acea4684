package checkup

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidetone/internal/audit"
	"sidetone/internal/seal"
	"sidetone/internal/store"
	"sidetone/voiceprint"
	voicestore "sidetone/voiceprint/store"
	"sidetone/voiceprint/store/watchlist"
)

// taker takes all entries.
type taker struct{}

func (taker) Append(context.Context, audit.Entry) error { return nil }

func TestVoicesAreLookedAt(t *testing.T) {
	c := installation(t)
	has := func(want ...string) {
		t.Helper()
		got := found(t, c, voices)
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("want %q in\n%s", w, got)
			}
		}
		if len(want) == 0 && strings.Contains(got, "problem: ") {
			t.Errorf("problems:\n%s", got)
		}
	}
	has("ok: the built-in parameters (", "0.05 % of impostors match")
	dir := c.Config.Storage.Dir
	keys := c.Config.Storage.KeysIn(dir)
	db, err := store.Open(t.Context(), store.Config{URL: filepath.Join(dir, "sidetone.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	has("nothing is kept of voices yet")
	if made, _ := filepath.Glob(filepath.Join(keys, "*")); len(made) != 0 {
		t.Errorf("doctor made %v", made)
	}

	ring, err := seal.Open(seal.Config{Dir: keys})
	if err != nil {
		t.Fatal(err)
	}
	past := time.Now().AddDate(-1, 0, 0)
	s, err := voicestore.Open(t.Context(), voicestore.Config{DB: db, Keys: ring, KeyDir: keys, Audit: taker{}, Now: func() time.Time { return past }})
	if err != nil {
		t.Fatal(err)
	}
	by, voice := voicestore.Actor{Name: "test"}, voiceprint.Embedding{0.6, 0.8}
	if err = s.Consent(t.Context(), by, "LB-1", voicestore.Consent{Text: "v3", How: "signed"}); err != nil {
		t.Fatal(err)
	}
	if _, err = s.Enrol(t.Context(), by, "LB-1", voicestore.Enrolment{Voices: []voicestore.Voice{{Template: voiceprint.Template{Line: "phone", Model: "older", Embedding: voice}}}}); err != nil {
		t.Fatal(err)
	}
	id, err := s.Watch().Add(t.Context(), by, voice, watchlist.Entry{Model: "older", Reason: "r", Basis: "b", Review: past.AddDate(0, 1, 0), Expires: past.AddDate(9, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = s.Watch().Hit(t.Context(), by, watchlist.Hit{Watch: id, Call: "c", Leg: "l", LLR: 7}); err != nil {
		t.Fatal(err)
	}
	if _, err = ring.Rotate(time.Now()); err != nil {
		t.Fatal(err)
	}
	has("ok: voice.key is that of the database; enrolled 1, provisional templates 0, looked for 1; people: consented 1",
		"warning: 1 template of another model", "sidetone voice reembed", "warning: 1 voice looked for though", "warning: 1 voice of the watch list heard",
		"rows under older keys", "sidetone voice rekey")

	// Keys that are missing or strange are told, and none is made.
	file := filepath.Join(keys, "voice.key")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err = os.Remove(file); err != nil {
		t.Fatal(err)
	}
	has("problem: the voices' key is not in " + keys)
	if err = os.WriteFile(file, []byte(strings.Replace(string(text), "pseudonym ", "pseudonym 00", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	has("problem: ", "does not end with 32 bytes")
	if err = os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	sealed, _ := filepath.Glob(filepath.Join(keys, "*.age-key"))
	for _, k := range sealed {
		if err = os.Remove(k); err != nil {
			t.Fatal(err)
		}
	}
	has("problem: no key of the keyring")

	c.Config.Voice.FAR = 1e-9
	has("problem: the built-in parameters: ", "raise voice.false_accepts")
	c.Config.Voice.Parameters = filepath.Join(dir, "none.json")
	has("problem: " + c.Config.Voice.Parameters)
	c.Config.Voice.On = false
	has("ok: no voices are compared")
}

// Parameters that were measured long ago are told.
func TestParametersGrowOld(t *testing.T) {
	c := installation(t)
	got := found(t, c, func(_ context.Context, _ *Config, put add) {
		parameters("", c.Config.Voice.FAR, time.Now().AddDate(9, 0, 0), put)
	})
	if !strings.Contains(got, "warning: the built-in parameters") || !strings.Contains(got, "long ago") {
		t.Error(got)
	}
}
