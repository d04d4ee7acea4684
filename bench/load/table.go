package load

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Table prints a result for people.
func Table(w io.Writer, r *Result) error {
	out := &printer{w: w}
	out.say("%s, Sidetone %s, %.0f s", r.Server, r.Version, r.Seconds)
	if r.Interrupted {
		out.say("Interrupted: all calls were hung up.")
	}
	if r.Capacity != nil {
		out.ramp(r)
	}
	c := r.Calls
	out.say("\nCalls: %d opened, at most %d at once, %d played to the end, %d hung up early, %d refused; %.0f minutes of calls",
		c.Opened, c.AtOnce, c.Whole, c.Cut, c.Refused, c.Minutes)
	out.latencies(r.Latencies)
	if len(r.Words) > 0 {
		out.table("recording\tcalls\tWER %, agent\tcustomer\tboth\tbest call\tworst\t", func(t io.Writer) {
			for _, x := range r.Words {
				fmt.Fprintf(t, "%s\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t\n", x.Name, x.Calls, x.Agent, x.Customer, x.Both, x.Best, x.Worst)
			}
		})
	}
	u, t := r.Usage, r.Tool
	out.say("\nServer, while all calls ran: %.2f of %d cores (%.3f a call), workers %.0f %% busy, %.0f MB (at most %.0f), heap goal %.0f MB, %.0f goroutines, %.0f files, longest GC pause %.1f ms",
		u.Cores, u.Allowed, u.PerCall, 100*u.Workers, u.Memory/1e6, u.MemoryMax/1e6, u.Heap/1e6, u.Goroutines, u.Files, 1000*u.Pause)
	out.say("Load itself: %.3f cores (%.4f a call), %.0f MB, packets late by %.1f ms (p99) and %.1f ms (max)",
		t.Cores, t.PerCall, t.Memory/1e6, 1000*t.Late.P99, 1000*t.Late.Max)
	out.say("")
	for _, x := range r.Checks {
		out.say("%-7s %s: %s", x.verdict(), x.Name, x.Text)
	}
	const most = 12
	for i, p := range r.Problems {
		switch {
		case i == 0:
			out.say("\nWhat went wrong:")
		case i == most:
			out.say("  ... and %d more kinds", len(r.Problems)-most)
		}
		if i < most {
			out.say("%6d x %s", p.Count, p.Text)
		}
	}
	return out.err
}

func (c *Check) verdict() string {
	switch {
	case c.Skipped:
		return "-"
	case c.OK:
		return "ok"
	default:
		return "FAILED"
	}
}

// printer keeps the first error of writing.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) say(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *printer) table(head string, rows func(io.Writer)) {
	p.say("")
	if p.err != nil {
		return
	}
	t := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, head)
	rows(t)
	p.err = t.Flush()
}

func (p *printer) latencies(all []LatencyFigure) {
	p.table("latency, s\tcount\tmean\tp50\tp95\tp99\tmax\t", func(t io.Writer) {
		for _, x := range all {
			most := fmt.Sprintf("%.2f", x.Max)
			if x.Estimated {
				most = ""
			}
			fmt.Fprintf(t, "%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%s\t\n", x.Name, x.Count, x.Mean, x.P50, x.P95, x.P99, most)
		}
	})
}

// ramp prints the steps and the capacity.
func (p *printer) ramp(r *Result) {
	p.table("calls\tcard p95\tfinal p95\tstable p95\tcores\ta call\tworkers\tidle\t", func(t io.Writer) {
		for _, s := range r.Steps {
			fmt.Fprintf(t, "%d", s.Calls)
			for _, name := range latencyNames() {
				v := 0.0
				for _, l := range s.Latencies {
					if l.Name == name {
						v = l.P95
					}
				}
				fmt.Fprintf(t, "\t%.2f", v)
			}
			u := s.Usage
			fmt.Fprintf(t, "\t%.2f\t%.3f\t%.0f %%\t%.0f %%\t\n", u.Cores, u.PerCall, 100*u.Workers, 100*u.Idle)
		}
	})
	p.say("\nCapacity: %d calls at once, with %s", *r.Capacity, r.Service)
	for _, s := range r.Steps {
		if !s.Holds() {
			p.say("At %d calls broke: %s", s.Calls, strings.Join(s.Breaches, "; "))
		}
	}
	for _, b := range r.Bound {
		p.say("Bound by %s", b)
	}
}
