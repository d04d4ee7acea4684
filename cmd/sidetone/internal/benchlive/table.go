package benchlive

import (
	"fmt"
	"io"
)

// Head prints the head of the table that Row goes on with. unit says what the
// first column counts; each of it has so many legs.
func Head(w io.Writer, unit string) error {
	_, err := fmt.Fprintf(w, "%8s %5s  %23s  %17s  %23s  %17s %7s %5s %9s %9s %7s %5s %6s  %s\n"+
		"%8s %5s  %23s  %17s  %23s  %17s %7s %5s %9s %9s %7s %5s %6s\n",
		"", "", "word stable after, s", "shown after, s", "final after speech, s", "after its end", "", "core", "partials", "heap kB", "refused", "", "frame", "",
		unit, "words", "p50     p95     p99", "p50     p95", "p50     p95  missing", "is certain, s  p95", "WER %", "%", "/s, leg", "a leg", "/stale", "lost", "late s")
	return err
}

// Row prints one line of the table.
func (r *Result) Row(w io.Writer, legsPerUnit int) error {
	verdict := "too many"
	if r.Holds {
		verdict = "holds"
	}
	if r.Stopped {
		verdict += fmt.Sprintf(", stopped after %.0f s", r.Seconds)
	}
	_, err := fmt.Fprintf(w, "%8d %5d  %7.2f %7.2f %7.2f  %8.2f %8.2f  %7.2f %7.2f %7d  %8.2f %8.2f %7.1f %5.0f %9.2f %9.0f %3d/%3d %5d %6.2f  %s\n",
		r.Legs/legsPerUnit, r.Words, r.Lag50, r.Lag95, r.Lag99, r.First50, r.First95, r.Wait50, r.Wait95, r.Missing, r.Edge50, r.Edge95,
		r.WER, 100*r.Core, r.Partials, r.Memory/1e3, r.Refused, r.Stale, r.Lost, r.Late, verdict)
	return err
}
