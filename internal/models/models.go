// Package models is the one list of the weights that Sidetone uses: names,
// licences, sizes, hashes and ways to get them, and the store that keeps them.
//
// A store is a folder with one subfolder a model. Nothing is fetched unless
// Pull is called, and no file is handed out whose hash is not the manifest's:
// hashing tiny.en's 76 MB takes about 50 ms with the CPU's SHA instructions,
// once per load, which is cheaper than any way to remember the answer.
package models

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// EnvVar names the environment variable that Default reads.
const EnvVar = "SIDETONE_MODELS"

// Config tells New where weights are kept and how they are fetched.
type Config struct {
	// Dir is the store's folder. It need not exist before the first Pull, and
	// may be read-only if it already holds what is asked for.
	Dir string
	// Mirror is an http, https or file URL below which files lie as
	// NAME/FILE; it is tried before all other ways. Empty for none.
	Mirror string
	// Manifest lists the known models; nil means Manifest().
	Manifest []Model
	// Client makes the HTTP requests; nil means http.DefaultClient.
	Client *http.Client
	// Runner runs the package client; nil means the operating system does.
	Runner Runner
}

// Runner runs a program and waits for it.
type Runner interface {
	// Run starts name with args and with env added to the environment, and
	// returns what it wrote to both outputs. A program that is not installed
	// gives an error that is exec.ErrNotFound.
	Run(ctx context.Context, env []string, name string, args ...string) ([]byte, error)
}

// Store finds model files in a folder, one subfolder a model. It is safe for
// concurrent use, also by several processes on one folder.
type Store struct {
	dir      string
	mirror   *url.URL
	manifest []Model
	client   *http.Client
	runner   Runner
	// stall ends a transfer that brings nothing for so long.
	stall time.Duration
	// err is why Default could not make sense of the environment.
	err error
}

// New checks the configuration; it touches neither disk nor network.
func New(c Config) (*Store, error) {
	if c.Dir == "" {
		return nil, errors.New("models: no folder to keep weights in")
	}
	s := &Store{dir: c.Dir, manifest: c.Manifest, client: c.Client, runner: c.Runner, stall: 30 * time.Second}
	if c.Mirror != "" {
		u, err := url.Parse(c.Mirror)
		if err != nil {
			return nil, fmt.Errorf("models: the mirror's address: %w", err)
		}
		switch {
		case u.Scheme == "file" && u.Host == "", (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
			s.mirror = u
		default:
			return nil, fmt.Errorf("models: mirror %q: want http://HOST/PATH, https://HOST/PATH or file:///PATH", u.Redacted())
		}
	}
	if s.manifest == nil {
		s.manifest = Manifest()
	}
	for _, m := range s.manifest {
		for _, f := range m.Files {
			if !plainName(m.Name) || !plainName(f.Name) {
				return nil, fmt.Errorf("models: manifest: %q/%q is not a plain file name", m.Name, f.Name)
			}
		}
	}
	if s.client == nil {
		s.client = http.DefaultClient
	}
	if s.runner == nil {
		s.runner = osRunner{}
	}
	return s, nil
}

// Default is the store that the environment asks for. SIDETONE_MODELS may be
// a folder, used in place, or the URL of a mirror; where it is not a folder,
// weights are kept in the user's cache folder.
func Default() *Store {
	c := Config{}
	if v := os.Getenv(EnvVar); strings.Contains(v, "://") {
		c.Mirror = v
	} else {
		c.Dir = v
	}
	if c.Dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			cache = os.TempDir()
		}
		c.Dir = filepath.Join(cache, "sidetone", "models")
	}
	s, err := New(c)
	if err != nil {
		return &Store{manifest: Manifest(), err: fmt.Errorf("%s: %w", EnvVar, err)}
	}
	return s
}

// Dir is the store's folder.
func (s *Store) Dir() string { return s.dir }

// Models lists the manifest; the caller must not change it.
func (s *Store) Models() []Model { return s.manifest }

// Path verifies one file of a model by size and hash and returns where it
// lies. A missing or damaged file gives a *FileError.
func (s *Store) Path(name, file string) (string, error) {
	m, err := s.model(name)
	if err != nil {
		return "", err
	}
	f := m.file(file)
	if f == nil {
		return "", fmt.Errorf("models: model %s has no file %q", name, file)
	}
	if err := s.check(m, f); err != nil {
		return "", err
	}
	return s.path(m, f), nil
}

// FS verifies every file of a model and returns the folder that holds them.
// Missing or damaged files give a *FileError each.
func (s *Store) FS(name string) (fs.FS, error) {
	st, err := s.Check(name)
	if err != nil {
		return nil, err
	}
	for _, f := range st {
		err = errors.Join(err, f.Err)
	}
	if err != nil {
		return nil, err
	}
	return os.DirFS(filepath.Join(s.dir, name)), nil
}

// Status is what Check found out about one file.
type Status struct {
	File File
	Path string
	// Err is nil for a file that is there and whole, a *FileError otherwise.
	Err error
}

// Check verifies every file of a model by size and hash.
func (s *Store) Check(name string) ([]Status, error) {
	m, err := s.model(name)
	if err != nil {
		return nil, err
	}
	out := make([]Status, 0, len(m.Files))
	for i := range m.Files {
		f := &m.Files[i]
		out = append(out, Status{File: *f, Path: s.path(m, f), Err: s.check(m, f)})
	}
	return out, nil
}

// Problem is what is wrong with a file.
type Problem uint8

// The problems a file can have.
const (
	Missing Problem = iota + 1
	Corrupt
	Unreadable
)

// String is the problem in a word.
func (p Problem) String() string {
	switch p {
	case Missing:
		return "missing"
	case Corrupt:
		return "corrupt"
	case Unreadable:
		return "unreadable"
	}
	return "in order"
}

// FileError says that a model's file cannot be used, and what mends it.
type FileError struct {
	Model, File, Path string
	Problem           Problem
	Err               error
}

func (e *FileError) Error() string {
	next := "run `sidetone models pull " + e.Model + "`"
	if e.Problem == Unreadable {
		next = "make " + e.Path + " readable"
	}
	return fmt.Sprintf("model file %s/%s is %s (%v): %s", e.Model, e.File, e.Problem, e.Err, next)
}

// Unwrap gives the cause: fs.ErrNotExist for a missing file.
func (e *FileError) Unwrap() error { return e.Err }

func (s *Store) path(m *Model, f *File) string { return filepath.Join(s.dir, m.Name, f.Name) }

// check returns nil for a whole file, a *FileError otherwise.
func (s *Store) check(m *Model, f *File) error {
	p := s.path(m, f)
	fail := func(what Problem, err error) error {
		return &FileError{Model: m.Name, File: f.Name, Path: p, Problem: what, Err: err}
	}
	r, err := os.Open(p)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail(Missing, err)
	case err != nil:
		return fail(Unreadable, err)
	}
	defer r.Close()
	if st, err := r.Stat(); err != nil {
		return fail(Unreadable, err)
	} else if !st.Mode().IsRegular() {
		return fail(Corrupt, fmt.Errorf("%s is no plain file", p))
	} else if st.Size() != f.Size {
		return fail(Corrupt, fmt.Errorf("%s has %d bytes, not %d", p, st.Size(), f.Size))
	}
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return fail(Unreadable, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != f.SHA256 {
		return fail(Corrupt, fmt.Errorf("%s has SHA-256 %s, not %s", p, got, f.SHA256))
	}
	return nil
}

// model finds a manifest entry by name.
func (s *Store) model(name string) (*Model, error) {
	if s.err != nil {
		return nil, s.err
	}
	names := make([]string, 0, len(s.manifest))
	for i := range s.manifest {
		if s.manifest[i].Name == name {
			return &s.manifest[i], nil
		}
		names = append(names, s.manifest[i].Name)
	}
	return nil, fmt.Errorf("models: no model %q; there are %s", name, strings.Join(names, ", "))
}

// plainName reports whether s can be one element of a path, and cannot be
// mistaken for one of the store's own temporary files.
func plainName(s string) bool {
	return filepath.IsLocal(s) && !strings.ContainsAny(s, `/\`) && !strings.HasPrefix(s, ".")
}

// osRunner runs programs for real.
type osRunner struct{}

var _ Runner = osRunner{}

func (osRunner) Run(ctx context.Context, env []string, name string, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, name, args...)
	c.Env = append(os.Environ(), env...)
	c.WaitDelay = 5 * time.Second
	return c.CombinedOutput()
}
