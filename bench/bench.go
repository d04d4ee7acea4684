// Package bench keeps score: it adds up what recognisers heard over the sets
// and conditions of the evaluation data, prints it side by side and compares
// it with a baseline.
package bench

import (
	"math"
	"slices"

	"sidetone/bench/wer"
)

// Utterance is what one engine made of one clip.
type Utterance struct {
	// Engine names the recogniser and how it was run.
	Engine string
	// Set, Condition and Clip name the audio.
	Set, Condition, Clip string
	// Seconds is the length of the audio, CPU the processor time spent on it,
	// both in seconds.
	Seconds, CPU float64
	// Ref is what was said, Hyp what was understood, both as written.
	Ref, Hyp string
	// Lags holds, for every word of a streamed transcript, the seconds of audio
	// between the word's end and the moment when it could no longer change.
	Lags []float64
}

// All is the name of the set that stands for all sets of a condition.
const All = "all"

// Row is the score of an engine over a set in a condition.
type Row struct {
	Engine     string `json:"engine"`
	Set        string `json:"set"`
	Condition  string `json:"condition"`
	Utterances int    `json:"utterances"`
	wer.Counts
	// WER is in errors per hundred words.
	WER float64 `json:"wer"`
	// Seconds is audio, CPU is processor time, RTF the second over the first.
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu"`
	RTF     float64 `json:"rtf"`
	// LagP50 and LagP95 are quantiles of all Lags, 0 where there are none.
	LagP50 float64 `json:"lag_p50,omitempty"`
	LagP95 float64 `json:"lag_p95,omitempty"`

	lags []float64
}

func (r *Row) add(u *Utterance, c wer.Counts) {
	r.Utterances++
	r.Counts.Add(c)
	r.Seconds += u.Seconds
	r.CPU += u.CPU
	r.lags = append(r.lags, u.Lags...)
}

func (r *Row) finish() {
	r.WER = r.Percent()
	if r.Seconds > 0 {
		r.RTF = r.CPU / r.Seconds
	}
	slices.Sort(r.lags)
	r.LagP50, r.LagP95 = Quantile(r.lags, 0.50), Quantile(r.lags, 0.95)
}

// Tally scores utterances: a row for each engine, condition and set, in the
// order in which they first appear, and, where an engine has several sets in a
// condition, one for all of them.
func Tally(us []Utterance, n *wer.Normaliser) []Row {
	type key struct{ engine, condition string }
	var order []key
	groups := map[key][]Row{}
	for i := range us {
		u := &us[i]
		k := key{u.Engine, u.Condition}
		rows, seen := groups[k]
		if !seen {
			order = append(order, k)
		}
		at := slices.IndexFunc(rows, func(r Row) bool { return r.Set == u.Set })
		if at < 0 {
			at = len(rows)
			rows = append(rows, Row{Engine: u.Engine, Set: u.Set, Condition: u.Condition})
		}
		rows[at].add(u, n.Score(u.Ref, u.Hyp))
		groups[k] = rows
	}
	var out []Row
	for _, k := range order {
		rows := groups[k]
		if len(rows) > 1 {
			all := Row{Engine: k.engine, Set: All, Condition: k.condition}
			for _, r := range rows {
				all.Utterances += r.Utterances
				all.Counts.Add(r.Counts)
				all.Seconds += r.Seconds
				all.CPU += r.CPU
				all.lags = append(all.lags, r.lags...)
			}
			rows = append(rows, all)
		}
		for i := range rows {
			rows[i].finish()
		}
		out = append(out, rows...)
	}
	return out
}

// Quantile is the smallest element of sorted that at least the share q of the
// elements does not exceed; 0 if there are none.
func Quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}
