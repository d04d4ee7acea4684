package models

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// put writes a file and the folders above it.
func put(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func newStore(t *testing.T, c Config) *Store {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestManifestIsSound(t *testing.T) {
	hexSum := regexp.MustCompile(`^[0-9a-f]{64}$`)
	spdx := regexp.MustCompile(`^(MIT|Apache-2\.0)$`)
	names := map[string]bool{}
	var standard []string
	for _, m := range Manifest() {
		if names[m.Name] {
			t.Errorf("%s: listed twice", m.Name)
		}
		names[m.Name] = true
		if !m.Optional {
			standard = append(standard, m.Name)
		}
		if m.About == "" || !spdx.MatchString(m.Licence) || len(m.Files) == 0 {
			t.Errorf("%s: about %q, licence %q, %d files", m.Name, m.About, m.Licence, len(m.Files))
		}
		for _, w := range m.Wheels {
			if !hexSum.MatchString(w.SHA256) || w.Size <= 0 || w.Version == "" {
				t.Errorf("%s: wheel %s: size %d, hash %q, version %q", m.Name, w.Package, w.Size, w.SHA256, w.Version)
			}
		}
		for _, f := range m.Files {
			if !hexSum.MatchString(f.SHA256) || f.Size <= 0 {
				t.Errorf("%s/%s: size %d, hash %q", m.Name, f.Name, f.Size, f.SHA256)
			}
			if f.URL == "" && len(f.Parts) == 0 {
				t.Errorf("%s/%s: no way to get it", m.Name, f.Name)
			}
			if strings.Contains(f.URL, "openaipublic") && !strings.Contains(f.URL, f.SHA256) {
				t.Errorf("%s/%s: the hash is not the one in %s", m.Name, f.Name, f.URL)
			}
			for _, p := range f.Parts {
				if p.Wheel < 0 || p.Wheel >= len(m.Wheels) || p.Path == "" {
					t.Errorf("%s/%s: part %+v", m.Name, f.Name, p)
				}
			}
		}
	}
	if got, want := strings.Join(standard, " "), "whisper-tiny.en silero-vad ge2e-speaker campplus-speaker"; got != want {
		t.Errorf("fetched by default: %s, want %s", got, want)
	}
	newStore(t, Config{Dir: t.TempDir()})
}

func TestConfigErrors(t *testing.T) {
	bad := Model{Name: "ok", Files: []File{{Name: "../up"}}}
	for name, c := range map[string]Config{
		"no folder":        {},
		"odd scheme":       {Dir: "d", Mirror: "ftp://host/x"},
		"no host":          {Dir: "d", Mirror: "http:///x"},
		"file with a host": {Dir: "d", Mirror: "file://host/x"},
		"not a URL":        {Dir: "d", Mirror: "http://[x"},
		"path in a name":   {Dir: "d", Manifest: []Model{bad}},
		"hidden name":      {Dir: "d", Manifest: []Model{{Name: ".tmp-a", Files: []File{{Name: "f"}}}}},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestMirrorPasswordIsNotShown(t *testing.T) {
	_, err := New(Config{Dir: "d", Mirror: "ftp://user:secret@host/x"})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Fatalf("error %v", err)
	}
}

func TestDefault(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(EnvVar, dir)
	if got := Default().Dir(); got != dir {
		t.Errorf("a folder: dir %q, want %q", got, dir)
	}
	t.Setenv("XDG_CACHE_HOME", dir)
	t.Setenv("HOME", dir)
	for _, v := range []string{"", "https://mirror.example/models", "file:///srv/models"} {
		t.Setenv(EnvVar, v)
		s := Default()
		if !strings.HasPrefix(s.Dir(), dir) || filepath.Base(s.Dir()) != "models" {
			t.Errorf("%q: dir %q is not in the cache", v, s.Dir())
		}
		if (s.mirror != nil) != (v != "") {
			t.Errorf("%q: mirror %v", v, s.mirror)
		}
	}
	t.Setenv(EnvVar, "gopher://x")
	s := Default()
	for name, err := range map[string]error{
		"Path": second(s.Path("silero-vad", "silero_vad_16k.safetensors")),
		"FS":   second(s.FS("silero-vad")),
		"Pull": s.Pull(t.Context(), "silero-vad", nil),
	} {
		if err == nil || !strings.Contains(err.Error(), EnvVar) {
			t.Errorf("%s: error %v does not name %s", name, err, EnvVar)
		}
	}
	if len(s.Models()) == 0 {
		t.Error("no models listed")
	}
}

func second[T any](_ T, err error) error { return err }

func TestPathVerifies(t *testing.T) {
	good := []byte("the right bytes")
	m := Model{Name: "m", Files: []File{{Name: "f", Size: int64(len(good)), SHA256: sum(good)}}}
	for name, c := range map[string]struct {
		name    string // below the store
		content []byte
		want    Problem
	}{
		"whole":     {"m/f", good, 0},
		"missing":   {"m/g", good, Missing},
		"truncated": {"m/f", good[:5], Corrupt},
		"changed":   {"m/f", []byte("the wrong bytes"), Corrupt},
		"a folder":  {"m/f/x", nil, Corrupt},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			want := filepath.Join(dir, "m", "f")
			put(t, filepath.Join(dir, filepath.FromSlash(c.name)), c.content)
			s := newStore(t, Config{Dir: dir, Manifest: []Model{m}})
			got, err := s.Path("m", "f")
			_, fsErr := s.FS("m")
			if c.want == 0 {
				if err != nil || got != want || fsErr != nil {
					t.Fatalf("Path = %q, %v; FS error %v", got, err, fsErr)
				}
				return
			}
			for _, err := range []error{err, fsErr} {
				var fe *FileError
				if !errors.As(err, &fe) {
					t.Fatalf("error %v is no *FileError", err)
				}
				if fe.Problem != c.want || !strings.Contains(err.Error(), "sidetone models pull m") {
					t.Errorf("problem %v, want %v: %v", fe.Problem, c.want, err)
				}
				if got := errors.Is(err, fs.ErrNotExist); got != (c.want == Missing) {
					t.Errorf("is fs.ErrNotExist: %v", got)
				}
			}
		})
	}
}

func TestUnknownNames(t *testing.T) {
	s := newStore(t, Config{Dir: t.TempDir()})
	if _, err := s.Path("whisper-huge", "model.bin"); err == nil || !strings.Contains(err.Error(), "whisper-tiny.en") {
		t.Errorf("unknown model: %v; want the known ones named", err)
	}
	if _, err := s.Path("silero-vad", "model.bin"); err == nil {
		t.Error("unknown file: no error")
	}
	if err := s.Pull(t.Context(), "whisper-huge", nil); err == nil {
		t.Error("Pull of an unknown model: no error")
	}
}
