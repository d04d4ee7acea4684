package voice

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// Baseline is committed figures that later ones must not fall behind.
type Baseline struct {
	// Points is how many percentage points worse than its entry a rate may be: an
	// EER, a share of true callers that is not matched, a share of impostors that is.
	Points    float64            `json:"points"`
	Rows      []BaselineRow      `json:"rows"`
	Decisions []BaselineDecision `json:"decisions"`
}

// BaselineRow is figures of an engine over trials of one cut and length, rates in
// percent.
type BaselineRow struct {
	Engine    string  `json:"engine"`
	Cut       string  `json:"cut"`
	Seconds   float64 `json:"seconds"`
	Targets   int     `json:"targets"`
	Impostors int     `json:"impostors"`
	EER       float64 `json:"eer"`
	FRR01     float64 `json:"frr_at_far_0.1"`
	Loss      float64 `json:"loss"`
}

// BaselineDecision is figures of an engine's sequential decisions, rates in percent.
type BaselineDecision struct {
	Engine    string  `json:"engine"`
	Cut       string  `json:"cut"`
	FAR       float64 `json:"far"`
	True      int     `json:"true"`
	Impostors int     `json:"impostors"`
	Matched   float64 `json:"matched"`
	False     float64 `json:"false"`
	// Seconds is the mean speech to a match.
	Seconds float64 `json:"seconds"`
}

// ReadBaseline reads a baseline in JSON, strictly.
func ReadBaseline(r io.Reader) (*Baseline, error) {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	b := new(Baseline)
	if err := d.Decode(b); err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	if b.Points <= 0 || len(b.Rows)+len(b.Decisions) == 0 {
		return nil, errors.New("baseline: it needs points above 0 and at least one row or decision")
	}
	return b, nil
}

// Write writes the baseline in the form that ReadBaseline takes.
func (b *Baseline) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(b)
}

func rounded(v, to float64) float64 { return math.Round(v*to) / to }

func rowOf(engine string, r *Row) BaselineRow {
	return BaselineRow{
		Engine: engine, Cut: r.Cut, Seconds: r.Seconds, Targets: r.Targets, Impostors: r.Impostors,
		EER: rounded(100*r.EER.Value, 100), FRR01: rounded(100*r.FRR01.Value, 100), Loss: rounded(r.Loss, 1000),
	}
}

func decisionOf(engine string, d *Decisions) BaselineDecision {
	return BaselineDecision{
		Engine: engine, Cut: d.Cut, FAR: d.FAR, True: d.True.Count, Impostors: d.Impostors.Count,
		Matched: rounded(100*d.True.Match.Value, 100), False: rounded(100*d.Impostors.Match.Value, 1000), Seconds: rounded(d.True.ToMatch.Mean, 100),
	}
}

func (b *Baseline) row(x *BaselineRow) int {
	return slices.IndexFunc(b.Rows, func(y BaselineRow) bool {
		return y.Engine == x.Engine && y.Cut == x.Cut && y.Seconds == x.Seconds
	})
}

func (b *Baseline) decision(x *BaselineDecision) int {
	return slices.IndexFunc(b.Decisions, func(y BaselineDecision) bool {
		return y.Engine == x.Engine && y.Cut == x.Cut && y.FAR == x.FAR
	})
}

// Set makes the result's figures the new entries for what they measure; other
// entries stay.
func (b *Baseline) Set(r *Result) {
	for i := range r.Rows {
		x := rowOf(r.Engine, &r.Rows[i])
		if k := b.row(&x); k >= 0 {
			b.Rows[k] = x
		} else {
			b.Rows = append(b.Rows, x)
		}
	}
	for i := range r.Decisions {
		x := decisionOf(r.Engine, &r.Decisions[i])
		if k := b.decision(&x); k >= 0 {
			b.Decisions[k] = x
		} else {
			b.Decisions = append(b.Decisions, x)
		}
	}
}

// comparison gathers what differs from a baseline and what must not.
type comparison struct {
	points  float64
	changes []string
	err     error
}

// rate compares a figure in percent; better says which way is better, -1 downwards,
// 0 that either way is fine.
func (c *comparison) rate(where, what, unit string, was, is float64, better int) {
	if was == is {
		return
	}
	line := fmt.Sprintf("%s: %s %.4g%s, was %.4g%s", where, what, is, unit, was, unit)
	c.changes = append(c.changes, line)
	// A rounded figure may lie exactly at the edge.
	if worse := (was - is) * float64(better); worse > c.points+1e-9 {
		c.err = errors.Join(c.err, fmt.Errorf("baseline: %s; %.4g points are allowed", line, c.points))
	}
}

func (c *comparison) fail(where, format string, args ...any) {
	c.err = errors.Join(c.err, fmt.Errorf("baseline: %s: %w", where, fmt.Errorf(format, args...)))
}

// Compare says in words which figures differ from their entries. The error names all
// that are worse by more than Points, that have no entry, or whose entry is of other
// trials. A result without figures is an error too.
func (b *Baseline) Compare(r *Result) (changes []string, err error) {
	if len(r.Rows)+len(r.Decisions) == 0 {
		return nil, errors.New("baseline: nothing was measured")
	}
	c := comparison{points: b.Points}
	for i := range r.Rows {
		x := rowOf(r.Engine, &r.Rows[i])
		where := fmt.Sprintf("%s, %s, %g s", x.Engine, x.Cut, x.Seconds)
		k := b.row(&x)
		if k < 0 {
			c.fail(where, "no entry")
			continue
		}
		was := b.Rows[k]
		if was.Targets != x.Targets || was.Impostors != x.Impostors {
			c.fail(where, "%d and %d trials measured, the entry has %d and %d", x.Targets, x.Impostors, was.Targets, was.Impostors)
			continue
		}
		c.rate(where, "EER", " %", was.EER, x.EER, -1)
		c.rate(where, "FRR at FAR 0.1 %", " %", was.FRR01, x.FRR01, 0)
		c.rate(where, "loss", " bits", was.Loss, x.Loss, 0)
	}
	for i := range r.Decisions {
		x := decisionOf(r.Engine, &r.Decisions[i])
		where := fmt.Sprintf("%s, %s, decisions at FAR %.4g %%", x.Engine, x.Cut, 100*x.FAR)
		k := b.decision(&x)
		if k < 0 {
			c.fail(where, "no entry")
			continue
		}
		was := b.Decisions[k]
		if was.True != x.True || was.Impostors != x.Impostors {
			c.fail(where, "%d and %d calls measured, the entry has %d and %d", x.True, x.Impostors, was.True, was.Impostors)
			continue
		}
		c.rate(where, "true callers matched", " %", was.Matched, x.Matched, 1)
		c.rate(where, "impostors matched", " %", was.False, x.False, -1)
		c.rate(where, "speech to a match", " s", was.Seconds, x.Seconds, 0)
	}
	return c.changes, c.err
}
