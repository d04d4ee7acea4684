package records_test

import (
	"fmt"
	"testing"

	"sidetone/internal/journal"
	"sidetone/internal/records"
	"sidetone/internal/store"
	"sidetone/internal/store/storetest"
)

// BenchmarkApply is events a second, as the journal brings them: batches of 256
// from 100 calls that run side by side, durable.
func BenchmarkApply(b *testing.B) {
	const calls, batch = 100, 256
	for _, kind := range []string{"sqlite", "postgres"} {
		b.Run(kind, func(b *testing.B) {
			url := b.TempDir() + "/bench.db"
			if kind == "postgres" {
				url = storetest.Start(b).Database(b)
			}
			db, err := store.Open(b.Context(), store.Config{URL: url})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			r, err := records.New(db, records.Config{})
			if err != nil {
				b.Fatal(err)
			}
			var open []*script
			for i := range calls {
				open = append(open, call(b, i, "ann", fmt.Sprintf("sip:+43%07d@pbx", i)))
				apply(b, r, open[i].events...)
			}
			n := 0
			b.ResetTimer()
			for b.Loop() {
				b.StopTimer()
				var events []journal.Event
				for range batch {
					s := open[n%calls]
					n++
					s.say("b", n, fmt.Sprintf("my order number %d has not arrived yet and I want my money back", n%977))
					events = append(events, s.events[len(s.events)-1])
				}
				b.StartTimer()
				apply(b, r, events...)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
