package stream

import (
	"fmt"
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
