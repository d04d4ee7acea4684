package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sidetone/internal/models"
)

// mirrored is a store whose mirror is a folder with two small models, the
// second of them optional.
func mirrored(t *testing.T) (s *models.Store, mirror string) {
	t.Helper()
	mirror = t.TempDir()
	var manifest []models.Model
	for _, name := range []string{"ears", "extra"} {
		b := []byte("the weights of " + name)
		h := sha256.Sum256(b)
		manifest = append(manifest, models.Model{
			Name: name, Licence: "MIT", About: "for a test", Optional: name == "extra",
			Files: []models.File{{Name: "w.bin", Size: int64(len(b)), SHA256: hex.EncodeToString(h[:])}},
		})
		write(t, filepath.Join(mirror, name, "w.bin"), b)
	}
	s, err := models.New(models.Config{Dir: t.TempDir(), Mirror: "file://" + filepath.ToSlash(mirror), Manifest: manifest})
	if err != nil {
		t.Fatal(err)
	}
	return s, mirror
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestModelsVerbs(t *testing.T) {
	s, mirror := mirrored(t)
	has := func(want string) {
		t.Helper()
		var b bytes.Buffer
		if err := listModels(&b, s); err != nil {
			t.Fatal(err)
		}
		var states []string
		for _, line := range strings.Split(strings.TrimSpace(b.String()), "\n")[1:] {
			states = append(states, strings.Fields(line)[4])
		}
		if got := strings.Join(states, " "); got != want {
			t.Errorf("states %q, want %q\n%s", got, want, &b)
		}
	}
	verify := func(ok bool, want string, names ...string) {
		t.Helper()
		var b bytes.Buffer
		err := verifyModels(&b, s, names)
		if (err == nil) != ok || !strings.Contains(b.String(), want) {
			t.Errorf("verify %q: error %v, output\n%s", names, err, &b)
		}
	}
	pull := func(ok, all bool, want string, names ...string) {
		t.Helper()
		var b bytes.Buffer
		err := pullModels(t.Context(), s, &meter{w: &b}, names, all)
		if (err == nil) != ok || !strings.Contains(b.String(), want) {
			t.Errorf("pull %q: error %v, output\n%s", names, err, &b)
		}
	}

	has("missing optional")
	verify(false, "ears: missing\n")
	pull(true, false, "ears: ready in ")
	has("ok optional")
	verify(true, "ears: ok\n")
	verify(false, "extra: missing\n", "extra")
	verify(false, "", "nobody")

	write(t, filepath.Join(s.Dir(), "ears", "w.bin"), []byte("the weights of earz"))
	has("corrupt optional")
	verify(false, "sidetone models pull ears")
	pull(true, true, "ears: ready in ")
	has("ok ok")
	pull(true, false, "extra: ready in ", "extra")

	if err := os.RemoveAll(mirror); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(s.Dir(), "extra", "w.bin"), nil)
	verify(false, "extra: corrupt\n")
	pull(false, true, "extra: mirror file://")
	pull(false, false, "", "nobody")
}

// TestModelsCommands runs the verbs as they are typed, on an empty folder.
func TestModelsCommands(t *testing.T) {
	t.Setenv(models.EnvVar, t.TempDir())
	for args, want := range map[string]string{
		"list":                 "",
		"path silero-vad":      "sidetone models pull silero-vad",
		"path nobody":          `no model "nobody"`,
		"verify silero-vad":    "1 of the models",
		"pull --all ears":      "not both",
		"pull nobody":          `no model "nobody"`,
		"verify nobody":        `no model "nobody"`,
		"list whisper-tiny.en": "unknown command",
	} {
		c := modelsCmd()
		c.SilenceUsage, c.SilenceErrors = true, true
		c.SetOut(new(bytes.Buffer))
		c.SetArgs(strings.Fields(args))
		err := c.ExecuteContext(t.Context())
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("models %s: error %v, want %q in it", args, err, want)
		}
	}
}

// TestMeter compares a terminal's bar and a log's lines for one download.
func TestMeter(t *testing.T) {
	play := func(terminal bool) string {
		var b bytes.Buffer
		m := &meter{w: &b, terminal: terminal}
		for n := int64(0); n <= 100; n++ {
			m.show(models.Event{Model: "ears", Item: "w.bin", Done: n * 1e6, Total: 100e6})
		}
		m.end()
		return b.String()
	}
	lines := play(false)
	if n := strings.Count(lines, "\n"); n != 5 || !strings.HasSuffix(lines, "100.0 MB of 100.0 MB\n") {
		t.Errorf("%d lines, want 5:\n%s", n, lines)
	}
	if bar := play(true); !strings.Contains(bar, "100%") || !strings.Contains(bar, "\r") || !strings.HasSuffix(bar, "\n") {
		t.Errorf("bar %q", bar)
	}
}
