package stream

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"sidetone/internal/journal"
)

// fill appends events of ten calls until nothing is stored any more and the log says
// so, and returns how many of each. Well above the soft limit it only waits for that.
func fill(t *testing.T, l *Log, until func(h Health) bool) uint64 {
	t.Helper()
	body := []byte(`{"text":"` + strings.Repeat("word ", 200) + `"}`)
	n := uint64(0)
	for h := l.Health(); !until(h); h = l.Health() {
		time.Sleep(time.Millisecond)
		if h.Bytes > h.Limit+h.Limit/4 {
			continue
		}
		n++
		for call := range 10 {
			e := event(callKey(call), n)
			e.Body = body
			if n%4 == 0 {
				e.Kind = journal.IntentHeard
			}
			l.Append(e)
		}
	}
	return n
}

// says waits until Health says the words.
func says(t *testing.T, l *Log, words ...string) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		h := l.Health()
		said := 0
		for _, w := range words {
			if strings.Contains(h.Err(), w) {
				said++
			}
		}
		if said == len(words) {
			return
		}
		if time.Since(start) > 30*time.Second {
			t.Fatalf("health says %q, want %q", h.Err(), words)
		}
	}
}

// recovers checks that all was stored in the end.
func recovers(t *testing.T, l *Log, n uint64) {
	t.Helper()
	flush(t, l)
	for call := range 10 {
		whole(t, read(t, l, callKey(call)), int(n))
	}
	if h := l.Health(); !h.OK() || h.Waiting != 0 || h.Bytes != 0 {
		t.Errorf("health: %q, %+v", h.Err(), h)
	}
}

// ailing is that all is stuck: what was under way is not stored any more, and what
// waits stays above the limit.
func ailing(h Health) bool { return h.Ailing > 500*time.Millisecond && h.Bytes > h.Limit }

// The stream's own limit.
func TestMaxBytes(t *testing.T) {
	l := begin(t, Config{Dir: t.TempDir(), Node: "one", MaxBytes: 300 << 10, SoftLimit: 1 << 20, Sync: time.Minute})
	for n := range uint64(100) {
		e := event("old", n+1)
		e.Body = fmt.Appendf(nil, "%q", strings.Repeat("x", 2000))
		l.Append(e)
	}
	flush(t, l)
	n := fill(t, l, ailing)
	says(t, l, "max bytes", "maximum bytes exceeded", "take no new calls")
	omitted := l.Health().Omitted
	if omitted[journal.IntentHeard] == 0 {
		t.Error("nothing was omitted above the soft limit")
	}
	for kind := range omitted {
		if kind.Vital() {
			t.Errorf("%s was omitted", kind)
		}
	}
	// A call that is erased makes room; the limit is raised for the rest.
	if err := l.Erase(t.Context(), "old"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, l, "old"); len(got) > 0 {
		t.Errorf("%d events of an erased call", len(got))
	}
	raise(t, l, 1<<30)
	recovers(t, l, n)
	var bare uint64
	for call := range 10 {
		for _, e := range read(t, l, callKey(call)) {
			if e.Kind == Omitted {
				bare++
			}
		}
	}
	if bare != omitted[journal.IntentHeard] {
		t.Errorf("%d events are bare, %v omitted", bare, omitted)
	}
}

// raise changes the limit as a new configuration would.
func raise(t *testing.T, l *Log, size int64) {
	t.Helper()
	s, err := l.js.Stream(t.Context(), l.names.stream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.MaxBytes = size
	if _, err := l.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

// The limit of a server elsewhere.
func TestStoreLimit(t *testing.T) {
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, NoSystemAccount: true,
		JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 2 << 20, JetStreamMaxMemory: 1 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	l := begin(t, Config{URL: srv.ClientURL(), Node: "one", SoftLimit: 200 << 10})
	for n := range uint64(400) {
		e := event("old", n+1)
		e.Body = fmt.Appendf(nil, "%q", strings.Repeat("x", 4000))
		l.Append(e)
	}
	flush(t, l)
	n := fill(t, l, ailing)
	says(t, l, "space")
	if err := l.Erase(t.Context(), "old"); err != nil {
		t.Fatal(err)
	}
	recovers(t, l, n)
}

// A file system that is really full.
func TestDiskFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs a small file system of its own: root")
	}
	for name, c := range map[string]struct {
		reserve int64
		words   []string
	}{
		"to the last byte": {1, []string{"nothing has been stored"}},
		"with a reserve":   {2 << 20, []string{"the disk of", "is full", "free some"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := syscall.Mount("none", dir, "tmpfs", 0, "size=64m"); err != nil {
				t.Skip("no file system can be mounted here:", err)
			}
			t.Cleanup(func() {
				if err := syscall.Unmount(dir, 0); err != nil {
					t.Error(err)
				}
			})
			ballast := filepath.Join(dir, "ballast")
			if err := os.WriteFile(ballast, make([]byte, 60<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			l := begin(t, Config{Dir: filepath.Join(dir, "journal"), Node: "one", SoftLimit: 1 << 20, Reserve: c.reserve})
			n := fill(t, l, ailing)
			says(t, l, append(c.words, "take no new calls")...)
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			recovers(t, l, n)
		})
	}
}

// Writing fails for another reason than space: the largest size of a file.
func TestWriteFails(t *testing.T) {
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	t.Cleanup(func() { signal.Reset(syscall.SIGXFSZ) })
	l := begin(t, Config{Dir: t.TempDir(), Node: "one", SoftLimit: 1 << 20})
	lower := old
	lower.Cur = 500 << 10
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &lower); err != nil {
		t.Fatal(err)
	}
	restore := func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil && !errors.Is(err, syscall.EPERM) {
			t.Error(err)
		}
	}
	defer restore()
	n := fill(t, l, ailing)
	says(t, l, "take no new calls", "file too large")
	restore()
	recovers(t, l, n)
}
