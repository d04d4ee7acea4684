package stream

import (
	"context"
	"fmt"
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
	if err != context.Canceled || got != calls*events {
		t.Errorf("consumed %d: %v", got, err)
	}
}

func TestOpenCalls(t *testing.T) {
	l := begin(t, Config{Dir: t.TempDir(), Node: "one", Sync: time.Second})
	l.Append(event("a", 1))
	l.HoldOpen(OpenCall{Key: "a", Call: "7", Agent: "bo"})
	l.HoldOpen(OpenCall{Key: "a", Call: "7", Agent: "mi"})
	l.HoldOpen(OpenCall{Key: "b", Call: "8"})
	l.DropOpen("b")
	flush(t, l)
	open, err := l.OpenCalls(t.Context())
	if err != nil || len(open) != 1 || open[0].Agent != "mi" || open[0].Node != "one" {
		t.Fatalf("open calls %+v, %v", open, err)
	}
	l.Announce(NodeInfo{URL: "http://x"})
	for {
		nodes, err := l.Nodes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(nodes) == 1 && nodes[0].URL == "http://x" {
			break
		}
	}
	ok, err := l.Adopt(t.Context(), open[0], "two")
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	l.DropOpen("a")
	flush(t, l)
	if open, err = l.OpenCalls(t.Context()); err != nil || len(open) != 1 || open[0].Node != "two" {
		t.Fatalf("open calls %+v, %v", open, err)
	}
}
