package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// Baseline is a committed score that later ones must not fall below.
type Baseline struct {
	// Threshold is how many points of WER above its entry a score may lie.
	Threshold float64         `json:"threshold"`
	Entries   []BaselineEntry `json:"entries"`
}

// BaselineEntry is the word error rate of an engine over a set in a condition.
type BaselineEntry struct {
	Engine     string  `json:"engine"`
	Set        string  `json:"set"`
	Condition  string  `json:"condition"`
	Utterances int     `json:"utterances"`
	WER        float64 `json:"wer"`
}

// ReadBaseline reads a baseline in JSON, strictly.
func ReadBaseline(r io.Reader) (*Baseline, error) {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	b := new(Baseline)
	if err := d.Decode(b); err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	if b.Threshold <= 0 || len(b.Entries) == 0 {
		return nil, errors.New("baseline: it needs a threshold above 0 and at least one entry")
	}
	return b, nil
}

// Write writes the baseline in the form that ReadBaseline takes.
func (b *Baseline) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(b)
}

// find returns the place of a row's entry, or -1.
func (b *Baseline) find(r *Row) int {
	return slices.IndexFunc(b.Entries, func(e BaselineEntry) bool {
		return e.Engine == r.Engine && e.Set == r.Set && e.Condition == r.Condition
	})
}

// Set makes rows the new entries for what they measure, to a hundredth of a
// point; other entries stay.
func (b *Baseline) Set(rows []Row) {
	for _, r := range rows {
		e := BaselineEntry{Engine: r.Engine, Set: r.Set, Condition: r.Condition, Utterances: r.Utterances, WER: math.Round(100*r.WER) / 100}
		if i := b.find(&r); i >= 0 {
			b.Entries[i] = e
		} else {
			b.Entries = append(b.Entries, e)
		}
	}
}

// Compare returns an error that names every row without an entry, measured
// over another number of utterances than its entry, or worse than it by more
// than the threshold. No rows at all are an error too.
func (b *Baseline) Compare(rows []Row) error {
	if len(rows) == 0 {
		return errors.New("baseline: nothing was measured")
	}
	var err error
	for _, r := range rows {
		where := fmt.Sprintf("baseline: %s, %s, %s", r.Engine, r.Set, r.Condition)
		i := b.find(&r)
		if i < 0 {
			err = errors.Join(err, fmt.Errorf("%s: no entry", where))
			continue
		}
		e := b.Entries[i]
		switch {
		case e.Utterances != r.Utterances:
			err = errors.Join(err, fmt.Errorf("%s: %d utterances measured, the entry has %d", where, r.Utterances, e.Utterances))
		case !(r.WER <= e.WER+b.Threshold):
			err = errors.Join(err, fmt.Errorf("%s: WER %.2f %%, the entry has %.2f %% and %.2f points are allowed", where, r.WER, e.WER, b.Threshold))
		}
	}
	return err
}
