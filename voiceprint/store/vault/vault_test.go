package vault_test

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sidetone/internal/seal"
	"sidetone/internal/store"
	"sidetone/internal/store/storetest"
	"sidetone/voiceprint/store/vault"
)

func keyring(t testing.TB, dir string) *seal.Keyring {
	t.Helper()
	k, err := seal.Open(seal.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func open(t testing.TB, db *store.DB, dir string) *vault.Vault {
	t.Helper()
	v, err := vault.Open(t.Context(), db, vault.Config{Dir: dir, Keys: keyring(t, dir)})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestKeyFile(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		db, dir := storetest.Open(t, url), t.TempDir()
		keys := keyring(t, dir)
		a := open(t, db, dir)
		file := filepath.Join(dir, "voice.key")
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%v, %v", info, err)
		}
		good, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if p := a.Pseudonym("x"); p != open(t, db, dir).Pseudonym("x") || p == a.Pseudonym("y") || len(p) != 32 {
			t.Errorf("pseudonym %s", p)
		}
		lines := strings.Split(strings.TrimSpace(string(good)), "\n")
		name, turn := lines[2], lines[3]
		otherDir := t.TempDir()
		open(t, storetest.Open(t, storetest.SQLite(t)), otherDir)
		other, err := os.ReadFile(filepath.Join(otherDir, "voice.key"))
		if err != nil {
			t.Fatal(err)
		}
		otherTurn := strings.Split(string(other), "\n")[3]
		for what, c := range map[string]struct {
			text string
			mode fs.FileMode
			says string
		}{
			"missing":        {"", 0, "copy it from another node"},
			"another":        {string(other), 0o600, "is not the one that the database was made with"},
			"another turn":   {name + "\n" + otherTurn, 0o600, "another generation 1"},
			"open to others": {string(good), 0o640, "chmod 600"},
			"cut off":        {string(good[:len(good)-10]), 0o600, "line 4 does not end with 32 bytes"},
			"half":           {name, 0o600, "lacks the key"},
			"twice":          {name + "\n" + name + "\n" + turn, 0o600, "line 2 is neither"},
			"out of order":   {name + "\n" + strings.Replace(turn, "transform 1", "transform 2", 1), 0o600, "line 2 is neither"},
		} {
			if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			if c.text != "" {
				if err := os.WriteFile(file, []byte(c.text), c.mode); err != nil {
					t.Fatal(err)
				}
			}
			_, err := vault.Open(t.Context(), db, vault.Config{Dir: dir, Keys: keys})
			if !errors.Is(err, vault.ErrKey) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v", what, err)
			}
			for _, secret := range []string{name[len(name)-40:], turn[len(turn)-40:]} {
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("%s: the error tells the key", what)
				}
			}
		}
	})
}

func TestSealVoice(t *testing.T) {
	ctx, db, dir := t.Context(), storetest.Open(t, storetest.SQLite(t)), t.TempDir()
	v := open(t, db, dir)
	voice := vault.Voice{Embedding: []float32{0.6, 0, -0.8}, Note: "ü"}
	voice.Quality.Unlike = 0.5
	s, err := v.SealVoice(ctx, voice, "p", "id", "id")
	if err != nil || s.Turn != 1 {
		t.Fatal(s, err)
	}
	got, err := v.OpenVoice(ctx, s.Text, "p", "id", "id")
	if err != nil || got.Note != "ü" || got.Quality != voice.Quality {
		t.Fatal(got, err)
	}
	for i, f := range got.Embedding {
		if math.Abs(float64(f-voice.Embedding[i])) > 1e-6 {
			t.Errorf("got %v", got.Embedding)
		}
	}
	if _, err = v.OpenVoice(ctx, s.Text, "p", "other", "id"); !errors.Is(err, seal.ErrOther) {
		t.Errorf("another id: %v", err)
	}
	if _, err = v.OpenVoice(ctx, "xy", "p", "id", "id"); !errors.Is(err, seal.ErrBroken) {
		t.Errorf("no hexadecimal: %v", err)
	}
	if _, err = v.SealVoice(ctx, vault.Voice{Embedding: make([]float32, 1), Note: strings.Repeat("x", 70000)}, "p", "id", "id"); err == nil {
		t.Error("a long note was sealed")
	}
	// What was sealed without being a voice.
	junk, err := v.Seal([]byte("STV1 but no more"), "p", "id")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = v.OpenVoice(ctx, junk.Text, "p", "id", "id"); !errors.Is(err, vault.ErrPayload) {
		t.Errorf("junk: %v", err)
	}
	// A generation of another node's file.
	if n, err := v.NewGeneration(ctx); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if g, err := v.Generation(ctx); g != 1 || err != nil {
		t.Errorf("in use before it was taken into use: %d, %v", g, err)
	}
	if g, err := v.Advance(ctx); g != 2 || err != nil {
		t.Error(g, err)
	}
	if again, err := v.SealVoice(ctx, voice, "p", "id", "id"); err != nil || again.Turn != 2 {
		t.Error(again.Turn, err)
	}
	if got, err = open(t, db, dir).OpenVoice(ctx, s.Text, "p", "id", "id"); err != nil || math.Abs(float64(got.Embedding[0]-0.6)) > 1e-6 {
		t.Errorf("of the older generation: %v, %v", got, err)
	}
	if _, err = v.Transform(ctx, 3, "x", 3); !errors.Is(err, vault.ErrKey) {
		t.Errorf("a generation to come: %v", err)
	}
}

// Two nodes make a key each: the one whose key is not taken into use must not turn
// anything by it.
func TestTwoNewKeys(t *testing.T) {
	ctx, db, dirs := t.Context(), storetest.Open(t, storetest.SQLite(t)), []string{t.TempDir(), t.TempDir()}
	keys := keyring(t, dirs[0])
	var nodes [2]*vault.Vault
	for i := range nodes {
		if i == 1 {
			b, err := os.ReadFile(filepath.Join(dirs[0], "voice.key"))
			if err == nil {
				err = os.WriteFile(filepath.Join(dirs[1], "voice.key"), b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		var err error
		if nodes[i], err = vault.Open(ctx, db, vault.Config{Dir: dirs[i], Keys: keys}); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range nodes {
		if n, err := v.NewGeneration(ctx); n != 2 || err != nil {
			t.Fatal(n, err)
		}
	}
	if _, err := nodes[0].Advance(ctx); err != nil {
		t.Fatal(err)
	}
	s, err := nodes[0].SealVoice(ctx, vault.Voice{Embedding: []float32{0.6, 0.8}}, "p", "id", "id")
	if err != nil {
		t.Fatal(err)
	}
	_, read := nodes[1].OpenVoice(ctx, s.Text, "p", "id", "id")
	_, sealed := nodes[1].SealVoice(ctx, vault.Voice{Embedding: []float32{0.6, 0.8}}, "p", "id", "id")
	_, advanced := nodes[1].Advance(ctx)
	_, made := nodes[1].NewGeneration(ctx)
	for what, err := range map[string]error{"read": read, "sealed": sealed, "advanced": advanced, "made": made} {
		if !errors.Is(err, vault.ErrKey) || !strings.Contains(err.Error(), "another generation 2") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAudio(t *testing.T) {
	v := open(t, storetest.Open(t, storetest.SQLite(t)), t.TempDir())
	s, err := v.SealAudio([]float32{0, 0.5, -1, 3, 1e-5}, "p", "id")
	if err != nil {
		t.Fatal(err)
	}
	got, err := v.OpenAudio(s.Text, "p", "id")
	if err != nil || len(got) != 5 {
		t.Fatal(got, err)
	}
	for i, want := range []float32{0, 0.5, -1, 1, 0} {
		if math.Abs(float64(got[i]-want)) > 2e-5 {
			t.Errorf("sample %d is %v, want %v", i, got[i], want)
		}
	}
	odd, err := v.Seal([]byte{1, 2, 3}, "p", "id")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = v.OpenAudio(odd.Text, "p", "id"); !errors.Is(err, vault.ErrPayload) {
		t.Errorf("half a sample: %v", err)
	}
}
