package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/app"
	"sidetone/cmd/sidetone/internal/config"
	"sidetone/voiceprint"
	voicestore "sidetone/voiceprint/store"
	"sidetone/voiceprint/store/watchlist"
)

// An old backup brings nobody back: neither who has opted out, nor who was erased, nor
// a voice that was taken off the watch list.
func TestRestoreBringsNobodyBack(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	v := verbs{t}
	t.Setenv(config.EnvData, in("here"))
	for _, who := range []string{"LB-1", "LB-2", "LB-3"} {
		v.says("consented", "voice", "consent", who, "--state", "consented", "--text", "terms 3", "--how", "signed")
	}
	watched := ""
	onStore(t, func(s *voicestore.Store, by voicestore.Actor) (err error) {
		later := time.Now().AddDate(1, 0, 0)
		watched, err = s.Watch().Add(t.Context(), by, voiceprint.Embedding{1, 0}, watchlist.Entry{Model: "m", Reason: "r", Basis: "b", Review: later, Expires: later})
		return err
	})
	v.says("", "backup", "--out", in("first.tar"), "--keys-out", in("keys.tar"))
	stones, _ := filepath.Glob(in("voice-tombstones-*.json"))
	if len(stones) != 1 {
		t.Fatalf("beside the backup lie %v", stones)
	}
	v.says("opted_out", "voice", "consent", "LB-1", "--state", "opted_out", "--channel", "call")
	v.says("", "voice", "forget", "LB-2")
	v.says("", "voice", "watch", "remove", watched)
	v.says("", "backup", "--out", in("second.tar"))
	list, err := os.ReadFile(stones[0])
	if err != nil || strings.Contains(strings.ToLower(string(list)), "lb-") {
		t.Errorf("the tombstones name persons: %s, %v", list, err)
	}

	gone := func(where string) {
		t.Helper()
		v.says("lb-1: opted_out", "voice", "show", "lb-1")
		v.says("lb-3: consented", "voice", "show", "lb-3")
		if out := v.says("", "voice", "list"); strings.Contains(out, "lb-2") {
			t.Errorf("%s: an erased person has a name again:\n%s", where, out)
		}
		if out := v.says("", "voice", "watch", "list"); strings.Contains(out, watched) {
			t.Errorf("%s: the voice is looked for again:\n%s", where, out)
		}
	}
	// By itself, as the list lies beside the backup.
	t.Setenv(config.EnvData, in("beside"))
	v.says("3 persons or voices of the watch list that were gone since are gone again", "restore", "--from", in("first.tar"), "--keys", in("keys.tar"))
	gone("beside")

	// From elsewhere it says what is to be done.
	t.Setenv(config.EnvData, in("piped"))
	first, err := os.ReadFile(in("first.tar"))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err = runRestore(t.Context(), "", "-", in("keys.tar"), "", bytes.NewReader(first), &out, &out); err != nil || !strings.Contains(out.String(), "Apply the newest: sidetone voice bury") {
		t.Errorf("%v, %s", err, &out)
	}
	v.says("lb-1: consented", "voice", "show", "lb-1")
	v.says("3 persons", "voice", "bury", stones[0])
	v.says("0 persons", "voice", "bury", stones[0])
	gone("buried")
	v.says("voice.erased", "audit", "list", "--action", "voice")

	// A list keeps what a database that was restored does not know.
	t.Setenv(config.EnvData, in("unburied"))
	if err = os.Mkdir(in("nowhere"), 0o700); err != nil {
		t.Fatal(err)
	}
	v.says("no tombstones lie beside it", "restore", "--from", in("first.tar"), "--keys", in("keys.tar"), "--tombstones", in("nowhere"))
	v.says("0 of this database", "voice", "tombstones", "-o", stones[0])
	v.says("3 persons", "voice", "bury", stones[0])

	// Without the key nothing can be done, and none is made that would be in the way.
	t.Setenv(config.EnvData, in("keyless"))
	v.says("put voice.key back", "restore", "--from", in("first.tar"))
	if made, _ := filepath.Glob(filepath.Join(in("keyless"), "keys", "*")); len(made) != 0 {
		t.Errorf("keys were made: %v", made)
	}
	// Another installation's list names nobody here.
	t.Setenv(config.EnvData, in("other"))
	v.says("opted_out", "voice", "consent", "LB-1", "--state", "opted_out", "--channel", "call")
	v.refuses("another voice.key", "voice", "bury", stones[0])
	v.refuses("another voice.key", "voice", "tombstones", "-o", stones[0])
	for text, want := range map[string]string{
		"":                               "not what this program writes",
		`{"format":9}`:                   "format 9",
		`{"format":1,"tombstones":[{}]}`: "its entry 1",
		`{"format":1,"tombstones":[{"person":"x","erased":"2026-01-01T00:00:00Z","watch":"y","removed":"2026-01-01T00:00:00Z"}]}`: "its entry 1",
	} {
		if err = os.WriteFile(in("bad.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		v.refuses(want, "voice", "bury", in("bad.json"))
	}
}

// Templates are turned by a new key in one step or in three.
func TestVoiceRekeyTransform(t *testing.T) {
	t.Setenv(config.EnvData, filepath.Join(t.TempDir(), "data"))
	v := verbs{t}
	v.says("consented", "voice", "consent", "LB-1", "--state", "consented", "--text", "terms 3", "--how", "signed")
	var was []string
	onStore(t, func(s *voicestore.Store, by voicestore.Actor) (err error) {
		was, err = s.Enrol(t.Context(), by, "LB-1", voicestore.Enrolment{Voices: []voicestore.Voice{{Template: voiceprint.Template{Line: "phone", Model: "m", Embedding: voiceprint.Embedding{0.6, 0.8}}}}})
		return err
	})
	stale := func(want int) {
		t.Helper()
		onStore(t, func(s *voicestore.Store, _ voicestore.Actor) error {
			st, err := s.Stats(t.Context())
			if err == nil && st.Stale != want {
				t.Errorf("%d rows are under old keys, want %d", st.Stale, want)
			}
			return err
		})
	}
	v.refuses("--prepare belongs to", "voice", "rekey", "--prepare")
	v.refuses("with several servers", "voice", "rekey", "--transform")
	v.refuses("with several servers", "voice", "rekey", "--transform", "--prepare", "--yes")
	v.says("Copy the file to all servers", "voice", "rekey", "--transform", "--prepare")
	stale(0)
	v.says("1 rows are sealed anew", "voice", "rekey")
	v.says("key 3 for transforms", "voice", "rekey", "--transform", "--yes")
	stale(0)
	onStore(t, func(s *voicestore.Store, by voicestore.Actor) error {
		got, err := s.Templates(t.Context(), by, "LB-1", "m")
		if err == nil && (len(got) != 1 || got[0].ID != was[0] || got[0].Embedding[1] < 0.799) {
			t.Errorf("the template became %+v", got)
		}
		return err
	})
}

// Templates of another model are made anew where speech was kept, and it is said of
// whom there is none.
func TestVoiceReembed(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(config.EnvData, filepath.Join(dir, "data"))
	file, _ := speakers(t, dir)
	speech, err := readSpeech([]string{file}, 1)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "c.yaml")
	if err = os.WriteFile(path, []byte("voice:\n  keep_audio: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	var samples []float32
	for _, s := range speech[0].Audio.Channels[0] {
		samples = append(samples, float32(s)/32768, float32(s)/32768)
	}
	k, err := app.OpenVoices(t.Context(), &cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	by := voicestore.Actor{Name: "test"}
	for who, audio := range map[string][]float32{"LB-1": samples, "LB-2": nil} {
		err = k.Store.Consent(t.Context(), by, who, voicestore.Consent{Text: "v3", How: "signed"})
		if err == nil {
			_, err = k.Store.Enrol(t.Context(), by, who, voicestore.Enrolment{Voices: []voicestore.Voice{{
				Template: voiceprint.Template{Line: "phone", Model: "older", Embedding: voiceprint.Embedding{0.6, 0.8}}, Audio: audio,
			}}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	later := time.Now().AddDate(1, 0, 0)
	if _, err = k.Store.Watch().Add(t.Context(), by, voiceprint.Embedding{1, 0}, watchlist.Entry{Model: "older", Reason: "r", Basis: "b", Review: later, Expires: later}); err != nil {
		t.Fatal(err)
	}
	if err = k.Close(); err != nil {
		t.Fatal(err)
	}
	v := verbs{t}
	out := v.says("1 templates are made for campplus", "voice", "reembed", "-c", path)
	for _, want := range []string{"lb-2 must be enrolled again", "of the watch list is of another model"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	v.says("older", "voice", "show", "LB-1")
	v.says("2 templates of other models are deleted", "voice", "reembed", "-c", path, "--drop-others")
	if out = v.says("campplus", "voice", "show", "LB-1"); strings.Contains(out, "older") {
		t.Errorf("still there:\n%s", out)
	}
}

// A list of tombstones that is read is written again as it was.
func FuzzTombstones(f *testing.F) {
	f.Add(`{"format":1,"key":"k","made":"2026-01-01T00:00:00Z","tombstones":[{"person":"p","erased":"2026-01-01T00:00:00Z"},{"watch":"w","removed":"2026-01-01T00:00:00Z"}]}`)
	f.Add(`{"format":1,"tombstones":[{"person":"p"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := app.ReadTombstones(strings.NewReader(text))
		if err != nil {
			return
		}
		name := filepath.Join(t.TempDir(), "t.json")
		if err = app.KeepTombstones(name, *got); err != nil {
			// JSON has no words for years beyond 9999.
			return
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := app.ReadTombstones(bytes.NewReader(b)); err != nil || len(again.Stones) != len(got.Stones) {
			t.Errorf("%s became %s: %v", text, b, err)
		}
	})
}
