package load

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DefaultService is the service level that a run is held to unless another is
// given: what agents still find prompt, and nothing lost. Somewhat more than half
// of it passes on an idle machine, too: a word is stable when the next partial
// agrees, and some cards wait for the end of a sentence.
const DefaultService = "card p50 < 1s, card p95 < 2.5s, final p95 < 2s, stable p95 < 3s, no refusal, no dropped frame, no error"

// Latencies that a service level may bound.
const (
	// CardLatency is from the end of the last triggering word to the painted
	// card, FinalLatency from the end of an utterance's speech to its final,
	// StableLatency from the end of a word until it no longer changes; each as
	// the pane sees it.
	CardLatency   = "card"
	FinalLatency  = "final"
	StableLatency = "stable"
)

// Events that a service level may forbid.
const (
	Refusal      = "refusal"
	DroppedFrame = "dropped frame"
	Error        = "error"
	LostPacket   = "lost packet"
	LostTurn     = "lost turn"
	MissingCard  = "missing card"
	WrongCard    = "wrong card"
)

func latencyNames() []string { return []string{CardLatency, FinalLatency, StableLatency} }

func eventNames() []string {
	return []string{Refusal, DroppedFrame, Error, LostPacket, LostTurn, MissingCard, WrongCard}
}

// Objective is one clause of a service level.
type Objective struct {
	// Event is forbidden, where it is not empty.
	Event string
	// Latency is bounded by Limit in its quantile Quantile (1: the longest).
	Latency  string
	Quantile float64
	Limit    time.Duration
}

// Service is a service level: all of its objectives must be met.
type Service []Objective

// String is the objective as ParseService reads it.
func (o Objective) String() string {
	if o.Event != "" {
		return "no " + o.Event
	}
	q := "max"
	if o.Quantile < 1 {
		q = "p" + strconv.FormatFloat(math.Round(o.Quantile*1e5)/1e3, 'f', -1, 64)
	}
	return fmt.Sprintf("%s %s < %v", o.Latency, q, o.Limit)
}

// String is the service level as ParseService reads it.
func (s Service) String() string {
	parts := make([]string, len(s))
	for i, o := range s {
		parts[i] = o.String()
	}
	return strings.Join(parts, ", ")
}

// ParseService reads a service level: clauses with commas between them, such
// as DefaultService. A clause is "LATENCY QUANTILE < TIME" with card, final or
// stable, p50 to p99.9 or max, and a time such as 1.5s; or "no EVENT".
func ParseService(text string) (Service, error) {
	var out Service
	for part := range strings.SplitSeq(text, ",") {
		o, err := parseObjective(part)
		if err != nil {
			return nil, fmt.Errorf("service level: %w", err)
		}
		out = append(out, o)
	}
	return out, nil
}

func parseObjective(part string) (Objective, error) {
	clause := strings.Join(strings.Fields(part), " ")
	if clause == "" {
		return Objective{}, errors.New(`a clause is empty; write such as "card p95 < 1.5s" or "no refusal"`)
	}
	if event, ok := strings.CutPrefix(clause, "no "); ok {
		if !slices.Contains(eventNames(), event) {
			return Objective{}, fmt.Errorf("%q: no event %q; there are %s", clause, event, strings.Join(eventNames(), ", "))
		}
		return Objective{Event: event}, nil
	}
	left, right, ok := strings.Cut(clause, "<")
	f := strings.Fields(left)
	if !ok || len(f) != 2 {
		return Objective{}, fmt.Errorf(`%q is no clause; write such as "card p95 < 1.5s" or "no refusal"`, clause)
	}
	o := Objective{Latency: f[0]}
	if !slices.Contains(latencyNames(), o.Latency) {
		return Objective{}, fmt.Errorf("%q: no latency %q; there are %s", clause, f[0], strings.Join(latencyNames(), ", "))
	}
	switch q, isQuantile := strings.CutPrefix(f[1], "p"); {
	case f[1] == "max":
		o.Quantile = 1
	case isQuantile:
		v, err := strconv.ParseFloat(q, 64)
		// What is printed with three decimals is read back as it was.
		v = math.Round(v*1e3) / 1e3
		if err != nil || !(v > 0 && v < 100) {
			return Objective{}, fmt.Errorf("%q: %q is no quantile such as p95", clause, f[1])
		}
		o.Quantile = v / 100
	default:
		return Objective{}, fmt.Errorf("%q: %q is neither a quantile such as p95 nor max", clause, f[1])
	}
	limit, err := time.ParseDuration(strings.TrimSpace(right))
	if err != nil || limit <= 0 {
		return Objective{}, fmt.Errorf("%q: %q is no time such as 1.5s", clause, strings.TrimSpace(right))
	}
	o.Limit = limit
	return o, nil
}

// Figures are what a service level is compared with.
type Figures struct {
	Latencies map[string]*Sketch
	Events    map[string]int
}

// Breaches says, for each objective that is not met, what was found instead. A
// latency of which nothing was measured is met.
func (s Service) Breaches(f Figures) []string {
	var out []string
	for _, o := range s {
		if o.Event != "" {
			if n := f.Events[o.Event]; n > 0 {
				out = append(out, fmt.Sprintf("%s: %d", o, n))
			}
			continue
		}
		k := f.Latencies[o.Latency]
		if k == nil || k.Count() == 0 {
			continue
		}
		v := k.Quantile(o.Quantile)
		if o.Quantile >= 1 {
			v = k.Max()
		}
		if v >= o.Limit.Seconds() {
			out = append(out, fmt.Sprintf("%s: %.2fs", o, v))
		}
	}
	return out
}
