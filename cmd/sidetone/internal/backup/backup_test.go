package backup_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/backup"
)

// copies is a database of one file.
type copies string

func (c copies) Backup(_ context.Context, path string) error {
	return os.WriteFile(path, []byte(c), 0o600)
}

func put(t testing.TB, dir, name, text string) {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func kept(t testing.TB) string {
	dir := t.TempDir()
	put(t, dir, "sidetone.db", "the live file, which must not be taken as it is")
	put(t, dir, "journal/jetstream/1.blk", "events")
	put(t, dir, "recordings/2026/a.flac.age", "sealed audio")
	put(t, dir, "keys/k.key", "secret")
	put(t, dir, "lock", "77")
	return dir
}

func made(t testing.TB, c backup.Config) ([]byte, backup.Manifest) {
	t.Helper()
	c.Now, c.Version, c.Node = time.Unix(1, 0), "v1", "n1"
	var b bytes.Buffer
	m, err := backup.Write(t.Context(), c, &b)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), m
}

func names(fs []backup.File) string {
	var out []string
	for _, f := range fs {
		out = append(out, f.Name)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestWhatGoesIn(t *testing.T) {
	dir := kept(t)
	for name, c := range map[string]struct {
		cfg  backup.Config
		want string
	}{
		"while serving":   {backup.Config{Database: copies("db")}, "sidetone.db"},
		"cold":            {backup.Config{Database: copies("db"), Cold: true}, "journal/jetstream/1.blk sidetone.db"},
		"with recordings": {backup.Config{Database: copies("db"), Recordings: true}, "recordings/2026/a.flac.age sidetone.db"},
		"with keys":       {backup.Config{Keys: true}, "keys/k.key"},
		"PostgreSQL":      {backup.Config{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.cfg.Dir, c.cfg.KeysDir = dir, filepath.Join(dir, "keys")
			b, m := made(t, c.cfg)
			if names(m.Files) != c.want || (names(m.Recordings) != "recordings/2026/a.flac.age") {
				t.Errorf("files %q, recordings %q, want %q", names(m.Files), names(m.Recordings), c.want)
			}
			if strings.Contains(string(b), "secret") != c.cfg.Keys || strings.Contains(string(b), "live file") {
				t.Error("the archive holds what it must not")
			}
			to := t.TempDir()
			back, err := backup.Restore(t.Context(), bytes.NewReader(b), to, filepath.Join(to, "keys"))
			if err != nil || names(back.Files) != c.want || back.Version != "v1" {
				t.Fatalf("%+v, %v", back, err)
			}
			if c.cfg.Database != nil {
				if got, err := os.ReadFile(filepath.Join(to, "sidetone.db")); err != nil || string(got) != "db" {
					t.Errorf("%q, %v", got, err)
				}
				if _, err := backup.Restore(t.Context(), bytes.NewReader(b), to, filepath.Join(to, "keys")); err == nil || !strings.Contains(err.Error(), "is there already") {
					t.Errorf("over what is there: %v", err)
				}
			}
			if left, _ := filepath.Glob(filepath.Join(to, ".restore-*")); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	var keys bytes.Buffer
	if m, err := backup.WriteKeys(t.Context(), backup.Config{Dir: dir, KeysDir: filepath.Join(dir, "keys"), Recordings: true, Cold: true}, &keys); err != nil || names(m.Files) != "keys/k.key" {
		t.Errorf("keys alone: %q, %v", names(m.Files), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".backup-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := backup.Write(ctx, backup.Config{Dir: dir, Cold: true}, &keys); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// What was cut off, changed, or made by others is refused, and leaves nothing.
func TestBadArchives(t *testing.T) {
	good, _ := made(t, backup.Config{Dir: kept(t), KeysDir: filepath.Join(kept(t), "keys"), Database: copies(strings.Repeat("d", 5000)), Keys: true})
	changed := bytes.Replace(bytes.Clone(good), []byte("dddd"), []byte("dddx"), 1)
	of := func(entries ...*tar.Header) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range entries {
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
		}
		_ = w.Close()
		return b.Bytes()
	}
	for name, b := range map[string][]byte{
		"empty": nil, "noise": []byte(strings.Repeat("noise", 500)), "cut off": good[:3000], "without the end": good[:len(good)-3*1024],
		"changed": changed,
		"upwards": of(&tar.Header{Name: "keys/../../x", Mode: 0o600}), "absolute": of(&tar.Header{Name: "/etc/x", Mode: 0o600}),
		"elsewhere": of(&tar.Header{Name: "bin/x", Mode: 0o600}), "a link": of(&tar.Header{Name: "keys/x", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink}),
		"twice": of(&tar.Header{Name: "keys/x", Mode: 0o600}, &tar.Header{Name: "keys/x", Mode: 0o600}), "no manifest": of(&tar.Header{Name: "keys/x", Mode: 0o600}),
	} {
		to := t.TempDir()
		if m, err := backup.Restore(t.Context(), bytes.NewReader(b), to, filepath.Join(to, "keys")); !errors.Is(err, backup.ErrBroken) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
		if left, _ := os.ReadDir(to); len(left) != 0 {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}
}

func FuzzRestore(f *testing.F) {
	good, _ := made(f, backup.Config{Dir: kept(f), KeysDir: filepath.Join(kept(f), "keys"), Database: copies("d"), Keys: true})
	f.Add(good)
	f.Add(good[:1024])
	f.Fuzz(func(t *testing.T, b []byte) {
		above := t.TempDir()
		to := filepath.Join(above, "to")
		m, err := backup.Restore(t.Context(), bytes.NewReader(b), to, filepath.Join(to, "keys"))
		if entries, _ := os.ReadDir(above); len(entries) > 1 {
			t.Errorf("written outside: %v", entries)
		}
		for _, file := range m.Files {
			if _, missing := os.Stat(filepath.Join(to, file.Name)); err == nil && missing != nil {
				t.Errorf("restored, but %v", missing)
			}
		}
	})
}
