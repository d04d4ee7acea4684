// Package checkup looks at an installation: the configuration and its risks,
// ports, limits, models, processor, disk, clock, stores, and the peers that are
// configured. Each finding comes with what to do about it.
//
// It changes nothing but a file that it writes to measure the disk, and removes;
// it speaks to nobody whom the configuration does not name.
package checkup

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"sidetone/cmd/sidetone/internal/config"
)

// Level says how bad a finding is.
type Level uint8

// The levels, the worst last.
const (
	OK Level = iota
	Warning
	Problem
)

// String is the level in a word.
func (l Level) String() string { return [...]string{"ok", "warning", "problem"}[l] }

// MarshalText implements encoding.TextMarshaler.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Finding is one line of the report.
type Finding struct {
	// Area is what was looked at, such as "ports".
	Area  string `json:"area"`
	Level Level  `json:"level"`
	// Text says what was found, Advice what to do about it.
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"`
}

// Report is all findings, in the order in which they were made.
type Report []Finding

// Worst is the worst level.
func (r Report) Worst() Level {
	worst := OK
	for _, f := range r {
		worst = max(worst, f.Level)
	}
	return worst
}

// Count is how many findings are of the level.
func (r Report) Count(l Level) int {
	n := 0
	for _, f := range r {
		if f.Level == l {
			n++
		}
	}
	return n
}

// Write prints the report for people; each advice stands below its finding.
func (r Report) Write(w io.Writer) error {
	for _, f := range r {
		if err := f.Write(w); err != nil {
			return err
		}
	}
	return r.Sum(w)
}

// Sum prints how many findings there are of each level.
func (r Report) Sum(w io.Writer) error {
	_, err := fmt.Fprintf(w, "\n%d ok, %s, %s\n", r.Count(OK), plural(r.Count(Warning), "warning"), plural(r.Count(Problem), "problem"))
	return err
}

// Write prints one finding.
func (f Finding) Write(w io.Writer) error {
	advice := ""
	if f.Advice != "" {
		advice = "\n" + strings.Repeat(" ", 22) + "→ " + f.Advice
	}
	_, err := fmt.Fprintf(w, "%-8s %-12s %s%s\n", f.Level, f.Area, f.Text, advice)
	return err
}

// JSON prints the report for programs.
func (r Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(map[string]any{"worst": r.Worst(), "findings": r})
}

// Config says what is looked at.
type Config struct {
	// Config is the installation's, which is valid; Path the file it is from,
	// empty for the defaults.
	Config config.Config
	Path   string
	// Peers are asked besides those of the configuration.
	Peers []string
	// Measure is how long the recogniser is measured; zero: it is not.
	Measure time.Duration
	// Proc is where the kernel's files are; empty: /proc.
	Proc string
}

// add makes a finding.
type add func(level Level, advice, format string, args ...any)

// Run looks at everything. told, if not nil, gets each finding when it is made.
func Run(ctx context.Context, c Config, told func(Finding)) Report {
	if c.Proc == "" {
		c.Proc = "/proc"
	}
	begun := time.Now()
	var out Report
	for _, a := range []struct {
		name string
		look func(context.Context, *Config, add)
	}{
		{"config", risks},
		{"ports", ports},
		{"limits", limits},
		{"files", files},
		{"certificate", certificates},
		{"disk", disk},
		{"journal", journal},
		{"records", records},
		{"voices", voices},
		{"peers", peers},
		{"models", modelFiles},
		{"processor", processor},
		{"capacity", capacity},
		{"memory", memory},
		{"clock", func(ctx context.Context, c *Config, put add) { clocks(ctx, c, begun, put) }},
	} {
		if ctx.Err() != nil {
			break
		}
		a.look(ctx, &c, func(level Level, advice, format string, args ...any) {
			f := Finding{Area: a.name, Level: level, Text: fmt.Sprintf(format, args...), Advice: advice}
			out = append(out, f)
			if told != nil {
				told(f)
			}
		})
	}
	return slices.Clip(out)
}

// size is a number of bytes for people.
func size(n uint64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// plural is a number and its thing.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
