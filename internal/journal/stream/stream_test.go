package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"sidetone/internal/journal"
)

func begin(t testing.TB, cfg Config) *Log {
	t.Helper()
	l, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := l.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return l
}

func callKey(i int) string { return fmt.Sprintf("20260101-000000-call%04d", i) }

func event(key string, n uint64) journal.Event {
	return journal.Event{Key: key, N: n, At: time.Unix(1700000000, 0).UTC(), Kind: journal.UtteranceFinal, Body: fmt.Appendf(nil, `{"text":"number %d"}`, n)}
}

func read(t testing.TB, l *Log, key string) []journal.Event {
	t.Helper()
	var all []journal.Event
	if err := l.Read(t.Context(), key, func(e journal.Event) error { all = append(all, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func flush(t testing.TB, l *Log) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := l.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

func whole(t testing.TB, events []journal.Event, want int) {
	t.Helper()
	if len(events) != want {
		t.Errorf("%d events, want %d", len(events), want)
	}
	for i, e := range events {
		if e.N != uint64(i+1) {
			t.Fatalf("event %d stands where %d should", e.N, i+1)
		}
	}
}

func TestOrder(t *testing.T) {
	l := begin(t, Config{Dir: t.TempDir(), Node: "one", Sync: time.Second})
	const calls, events = 100, 50
	done := make(chan struct{})
	for i := range calls {
		go func() {
			for n := range uint64(events) {
				l.Append(event(callKey(i), n+1))
			}
			done <- struct{}{}
		}()
	}
	for range calls {
		<-done
	}
	flush(t, l)
	for i := range calls {
		whole(t, read(t, l, callKey(i)), events)
	}
	if h := l.Health(); h.Acknowledged != calls*events || h.Waiting != 0 || h.Bytes != 0 || !h.OK() {
		t.Errorf("health: %+v", h)
	}
	ctx, cancel := context.WithCancel(t.Context())
	next := map[string]uint64{}
	got := 0
	err := l.Consume(ctx, "records", 64, func(batch []journal.Event) error {
		for _, e := range batch {
			if next[e.Key]++; e.N != next[e.Key] {
				t.Errorf("%s came when %d was due", e.ID(), next[e.Key])
			}
			got++
		}
		if got == calls*events {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || got != calls*events {
		t.Errorf("consumed %d: %v", got, err)
	}
}

// An event that can never be stored is told, leaves no hole, and holds nothing up.
func TestHopeless(t *testing.T) {
	l := begin(t, Config{Dir: t.TempDir(), Node: "one", Sync: time.Minute})
	bad, huge := event("a", 2), event("a", 4)
	bad.Body = []byte("{no JSON")
	huge.Body = fmt.Appendf(nil, "%q", strings.Repeat("x", maxPayload))
	l.Append(event("a", 1))
	l.Append(bad)
	l.Append(event("a", 3))
	l.Append(huge)
	l.Append(event("a", 5))
	l.Append(event("no.key", 1))
	l.HoldOpen(OpenCall{Key: "*"})
	flush(t, l)
	got := read(t, l, "a")
	whole(t, got, 5)
	if got[1].Kind != Omitted || got[3].Kind != Omitted || string(got[3].Body) != `{"kind":"utterance.final"}` {
		t.Errorf("%+v", got)
	}
	if h := l.Health(); h.Rejected != 4 || h.Waiting != 0 || h.Bytes != 0 {
		t.Errorf("%+v", h)
	}
	if err := l.Read(t.Context(), "no.key", nil); err == nil {
		t.Error("a key that can be none was read")
	}
}

func TestErase(t *testing.T) {
	dir := t.TempDir()
	l := begin(t, Config{Dir: dir, Node: "one"})
	for n := range uint64(40) {
		e := event("a", n+1)
		e.Body = []byte(`{"text":"my number is 555 0199"}`)
		l.Append(e)
		l.Append(event("b", n+1))
		if n%3 == 0 {
			flush(t, l)
		}
	}
	// Some of it still waits.
	if err := l.Erase(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	flush(t, l)
	if got := read(t, l, "a"); len(got) > 0 {
		t.Errorf("%d events of an erased call", len(got))
	}
	whole(t, read(t, l, "b"), 40)
	block, err := os.ReadFile(newestBlock(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(block, []byte("555 0199")) {
		t.Error("what was erased still stands in the file")
	}
	if !bytes.Contains(block, []byte("number 40")) {
		t.Error("the file is another one")
	}
}

func TestMaxAge(t *testing.T) {
	l := begin(t, Config{Dir: t.TempDir(), Node: "one", Sync: time.Minute, MaxAge: time.Second, memory: time.Second})
	l.Append(event("a", 1))
	flush(t, l)
	eventually(t, "the event has gone", func() bool { return len(read(t, l, "a")) == 0 })
}

func TestConfig(t *testing.T) {
	good := Config{Dir: t.TempDir(), Node: "one"}
	for want, spoil := range map[string]func(*Config){
		"node's name":       func(c *Config) { c.Node = "a b" },
		`the name "x.y"`:    func(c *Config) { c.Name = "x.y" },
		"neither a folder":  func(c *Config) { c.Dir = "" },
		"a URL is given":    func(c *Config) { c.URL, c.Listen = "nats://127.0.0.1:1", "127.0.0.1:0" },
		"needs a secret":    func(c *Config) { c.Listen = "127.0.0.1:0" },
		"certificate and":   func(c *Config) { c.CertFile = "x" },
		"cannot be negativ": func(c *Config) { c.MaxAge = -1 },
		"too short":         func(c *Config) { c.Lease = 1 },
		"1 to 5":            func(c *Config) { c.Replicas = 9 },
		"need a cluster":    func(c *Config) { c.Replicas = 3 },
		"no port":           func(c *Config) { c.Listen, c.Secret = "127.0.0.1:x", "s" },
		"certificate: open": func(c *Config) { c.CertFile, c.KeyFile = "none", "none" },
	} {
		c := good
		spoil(&c)
		if l, err := Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
			if l != nil {
				_ = l.Close(t.Context())
			}
		}
	}
}

// Without the secret nobody is let in.
func TestSecret(t *testing.T) {
	url := shared(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, Config{URL: url, Node: "one", Secret: "guessed"}); err == nil || !strings.Contains(strings.ToLower(err.Error()), "authorization") {
		t.Error(err)
	}
}

// What is erased, or grows too old, while it is read ends the reading.
func TestReadWhileErased(t *testing.T) {
	l := begin(t, Config{Dir: t.TempDir(), Node: "one", Sync: time.Minute})
	const messages = 600 // more than a reader is sent ahead
	for n := range uint64(messages) {
		l.Append(event("a", n+1))
		flush(t, l)
	}
	got := 0
	err := l.Read(t.Context(), "a", func(journal.Event) error {
		if got++; got > 1 {
			return nil
		}
		return l.Erase(t.Context(), "a")
	})
	if err != nil || got == messages {
		t.Errorf("read %d events of an erased call, %v", got, err)
	}
}
