package stream

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sidetone/internal/journal"
)

// BenchmarkAppend is what the caller pays: 100 calls, the pump at work beside it.
func BenchmarkAppend(b *testing.B) {
	l := begin(b, Config{Dir: b.TempDir(), Node: "one", Sync: time.Minute, SoftLimit: 1 << 40})
	var events [100]journal.Event
	for i := range events {
		events[i] = event(fmt.Sprintf("20260101-000000-call%04d", i), 0)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		e := &events[n%100]
		e.N++
		l.Append(*e)
		n++
	}
	b.StopTimer()
	flush(b, l)
}

// BenchmarkAcknowledged is how many events of 100 calls are stored per second: all
// at once, and as calls have them, each waiting for the last to be stored.
func BenchmarkAcknowledged(b *testing.B) {
	for _, sync := range []time.Duration{0, time.Second, time.Minute} {
		for _, per := range []int{1, 20} {
			b.Run(fmt.Sprintf("sync=%v/per=%d", sync, per), func(b *testing.B) {
				l := begin(b, Config{Dir: b.TempDir(), Node: "one", Sync: sync})
				var n uint64
				for b.Loop() {
					for range per {
						n++
						for i := range 100 {
							l.Append(event(fmt.Sprintf("20260101-000000-call%04d", i), n))
						}
					}
					flush(b, l)
				}
				b.ReportMetric(float64(b.N*100*per)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}

// BenchmarkOpen is how long it takes until a log of 100,000 events of 1000 calls is
// open again: after it was closed, and after a crash, when NATS reads everything.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	cfg := Config{Dir: dir, Node: "one", Sync: time.Minute, SoftLimit: 1 << 40}
	l, err := Open(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	for n := range uint64(100) {
		for call := range 1000 {
			e := event(callKey(call), n+1)
			e.Body = bytes.Repeat([]byte("7"), 300)
			l.Append(e)
		}
		if n%5 == 4 {
			flush(b, l)
		}
	}
	if err := l.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	for _, crash := range []bool{false, true} {
		b.Run(fmt.Sprintf("crash=%v", crash), func(b *testing.B) {
			for b.Loop() {
				if crash {
					b.StopTimer()
					if err := os.Remove(filepath.Join(filepath.Dir(newestBlock(b, dir)), "index.db")); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
				l, err := Open(b.Context(), cfg)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := l.Close(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
	l = begin(b, cfg)
	b.Run("read a call", func(b *testing.B) {
		for b.Loop() {
			if got := read(b, l, callKey(500)); len(got) != 100 {
				b.Fatal(len(got))
			}
		}
	})
	b.Run("consume all", func(b *testing.B) {
		for b.Loop() {
			ctx, cancel := context.WithCancel(b.Context())
			n := 0
			_ = l.Consume(ctx, fmt.Sprintf("bench%d", time.Now().UnixNano()), 500, func(batch []journal.Event) error {
				if n += len(batch); n == 100_000 {
					cancel()
				}
				return nil
			})
			cancel()
		}
	})
}
