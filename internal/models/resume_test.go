package models

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// flaky serves one file; each answer breaks off after at most limit bytes.
type flaky struct {
	b      []byte
	limit  int
	ranges bool

	mu  sync.Mutex
	log []string
}

func (s *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from, rng := 0, r.Header.Get("Range")
	s.mu.Lock()
	s.log = append(s.log, rng)
	s.mu.Unlock()
	if s.ranges && rng != "" {
		from, _ = strconv.Atoi(strings.Trim(rng, "bytes=-"))
		if from >= len(s.b) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		w.Header().Set("Content-Range", "bytes "+strconv.Itoa(from)+"-"+strconv.Itoa(len(s.b)-1)+"/"+strconv.Itoa(len(s.b)))
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(s.b)-from))
	if from > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	w.Write(s.b[from:min(from+s.limit, len(s.b))])
}

// one is a store of one plain file that only the mirror has.
func one(t *testing.T, b []byte, h http.Handler) (s *Store, path string) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	m := Model{Name: "m", Files: []File{{Name: "f", Size: int64(len(b)), SHA256: sum(b)}}}
	s = newStore(t, Config{Dir: t.TempDir(), Mirror: srv.URL, Manifest: []Model{m}, Client: srv.Client(), Runner: noRun{t}})
	return s, filepath.Join(s.Dir(), "m", "f")
}

func TestBrokenTransferGoesOn(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789"), 10_000)
	h := &flaky{b: want, limit: 30_000, ranges: true}
	s, path := one(t, want, h)
	if err := s.Pull(t.Context(), "m", nil); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if got := strings.Join(h.log, ","); got != ",bytes=30000-,bytes=60000-,bytes=90000-" {
		t.Errorf("ranges asked for: %s", got)
	}
}

// TestPartIsUsed begins with the part that an earlier Pull left: one that is
// right, one of another file, one that is complete, and one that is too long;
// with a server that knows ranges and one that does not.
func TestPartIsUsed(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789"), 100)
	for name, part := range map[string][]byte{
		"right":    want[:400],
		"wrong":    bytes.Repeat([]byte("x"), 400),
		"complete": want,
		"too long": append(bytes.Clone(want), "more"...),
	} {
		for _, ranges := range []bool{true, false} {
			h := &flaky{b: want, limit: len(want), ranges: ranges}
			s, path := one(t, want, h)
			put(t, filepath.Join(filepath.Dir(path), ".f.part"), part)
			if err := s.Pull(t.Context(), "m", nil); err != nil {
				t.Errorf("%s, ranges %v: %v", name, ranges, err)
				continue
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, ranges %v: %q, %v", name, ranges, got, err)
			}
			if es, _ := os.ReadDir(filepath.Dir(path)); len(es) != 1 {
				t.Errorf("%s, ranges %v: left behind: %v", name, ranges, es)
			}
			if name == "right" && h.log[0] != "bytes=400-" {
				t.Errorf("asked for %q", h.log)
			}
		}
	}
}

func TestInterruptedPullLeavesAPart(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789"), 10_000)
	hang := make(chan struct{})
	s, path := one(t, want, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(want)))
		w.Write(want[:50_000])
		w.(http.Flusher).Flush()
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	defer close(hang)
	stop := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	err := s.Pull(ctx, "m", func(e Event) {
		if e.Done == 50_000 {
			cancel(stop)
		}
	})
	if !errors.Is(err, stop) {
		t.Fatalf("error %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(filepath.Dir(path), ".f.part")); err != nil || !bytes.Equal(got, want[:50_000]) {
		t.Errorf("part of %d bytes, %v", len(got), err)
	}
}

func TestStalledTransferEnds(t *testing.T) {
	want := []byte("0123456789")
	s, _ := one(t, want, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	s.stall = 10 * time.Millisecond
	err := s.Pull(t.Context(), "m", nil)
	if err == nil || !strings.Contains(err.Error(), "no byte in 10ms") {
		t.Fatalf("error %v", err)
	}
}

func TestConcurrentPulls(t *testing.T) {
	f := newFixture(t)
	base, _ := f.mirror(t)
	dir := t.TempDir()
	put(t, filepath.Join(dir, "m", ".big.bin.part"), f.files["m/big.bin"][:77_777])
	var wg sync.WaitGroup
	for i := range 8 {
		c := Config{Dir: dir, Manifest: []Model{f.model}, Runner: &fakePip{f: f}}
		if i%2 == 0 {
			c.Mirror = base
		}
		s := newStore(t, c)
		wg.Go(func() {
			if err := s.Pull(t.Context(), "m", nil); err != nil {
				t.Error(err)
			}
			if _, err := s.Path("m", "big.bin"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	f.checkWhole(t, newStore(t, Config{Dir: dir, Manifest: []Model{f.model}}))
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	for name, age := range map[string]time.Duration{
		".tmp-old/deep/file": 25 * time.Hour, ".tmp-new/file": time.Hour, "m/file": 25 * time.Hour,
	} {
		put(t, filepath.Join(dir, name), nil)
		top := filepath.Join(dir, strings.Split(name, "/")[0])
		if err := os.Chtimes(top, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	sweep(dir, now)
	es, err := os.ReadDir(dir)
	if err != nil || len(es) != 2 || es[0].Name() != ".tmp-new" || es[1].Name() != "m" {
		t.Errorf("left: %v, %v", es, err)
	}
}
