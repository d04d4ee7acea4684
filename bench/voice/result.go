package voice

import (
	"errors"
	"math"
	"slices"
	"time"
)

// Result is a run over lists of trials.
type Result struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`
	// Engine is the name by which results are compared. Model, Calibration and
	// Trained are as in voiceprint.Info.
	Engine      string `json:"engine"`
	Model       string `json:"model"`
	Calibration string `json:"calibration"`
	Trained     string `json:"trained"`
	// Folds is into how many parts the speakers were dealt, so that none was scored
	// by parameters that had seen them; 0 where the parameters are as they are.
	Folds     int         `json:"folds"`
	Speakers  int         `json:"speakers"`
	Settings  []Fact      `json:"settings"`
	Rows      []Row       `json:"rows"`
	Decisions []Decisions `json:"decisions"`
	Curves    []Curve     `json:"curves"`
	Speeds    []Speed     `json:"speeds"`
	// Notes say what could not be measured, and why.
	Notes []string `json:"notes,omitempty"`
}

// Fact is something said of a run.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Row is what was measured over trials of one kind and length.
type Row struct {
	// Cut is which trials, such as "pooled"; Seconds their length.
	Cut       string  `json:"cut"`
	Seconds   float64 `json:"seconds"`
	Targets   int     `json:"targets"`
	Impostors int     `json:"impostors"`
	Speakers  int     `json:"speakers"`
	// FRR1 and FRR01 are the FRR at a FAR of 1 % and of 0.1 %.
	EER   Figure `json:"eer"`
	FRR1  Figure `json:"frr_at_far_1"`
	FRR01 Figure `json:"frr_at_far_0.1"`
	// MinDCF is for a prior of 0.01. Loss is what Cllr is above MinCllr.
	MinDCF  float64 `json:"min_dcf"`
	Cllr    float64 `json:"cllr"`
	MinCllr float64 `json:"min_cllr"`
	Loss    float64 `json:"loss"`
	// Fixed is the rates at thresholds that are the same for all: calibrated scores
	// of 99:1 accept less than one impostor in 99.
	Fixed []Fixed `json:"fixed"`
}

// Fixed is the rates if LLRs from a given one on are accepted.
type Fixed struct {
	LLR float64 `json:"llr"`
	FAR Figure  `json:"far"`
	FRR Figure  `json:"frr"`
}

// odds are those that Row.Fixed has the logarithms of.
func odds() []float64 { return []float64{1, 99, 999} }

// Curve is the DET curve of a row.
type Curve struct {
	Cut     string  `json:"cut"`
	Seconds float64 `json:"seconds"`
	Points  []Point `json:"points"`
}

// Speed is what an embedding of so many seconds costs: seconds of one core for each
// second of speech.
type Speed struct {
	Seconds float64 `json:"seconds"`
	Cores   float64 `json:"cores"`
}

// The cuts that are there in all lists.
const (
	// Pooled is the headline: adults under all conditions.
	Pooled     = "pooled"
	SameGender = "same gender"
	Children   = "children"
)

// channelCut begins the names of cuts by channel.
const channelCut = "channel "

type cut struct {
	name string
	keep func(*Trial) bool
}

// cuts are the kinds of trials that are looked at apart. All but Children are of
// adults.
func cuts(all []*Trial) []cut {
	adult := func(t *Trial) bool { return t.Group == Adult }
	var conditions, channels []string
	of := map[string][]string{}
	for _, t := range all {
		if !slices.Contains(conditions, t.Condition) {
			conditions = append(conditions, t.Condition)
		}
		if c := of[t.Condition]; !slices.Contains(c, t.Channel) {
			of[t.Condition] = append(c, t.Channel)
		}
	}
	out := []cut{{Pooled, adult}}
	for _, c := range conditions {
		if len(conditions) > 1 {
			out = append(out, cut{c, func(t *Trial) bool { return adult(t) && t.Condition == c }})
		}
		if len(of[c]) > 1 {
			channels = append(channels, of[c]...)
		}
	}
	out = append(out,
		cut{SameGender, func(t *Trial) bool { return adult(t) && (t.Target || t.SameGender) }},
		cut{Children, func(t *Trial) bool { return t.Group == Child }})
	slices.Sort(channels)
	for _, c := range slices.Compact(channels) {
		out = append(out, cut{channelCut + c, func(t *Trial) bool { return adult(t) && t.Channel == c }})
	}
	return out
}

// Rows measures scored trials by cut and length, and makes their DET curves. Cuts
// without trials of both sides have no row.
func (b Bootstrap) Rows(scored []Scored) ([]Row, []Curve, error) {
	trials := make([]*Trial, len(scored))
	var lengths []time.Duration
	for i, t := range scored {
		trials[i] = t.Trial
		if !slices.Contains(lengths, t.Net) {
			lengths = append(lengths, t.Net)
		}
	}
	slices.Sort(lengths)
	var rows []Row
	var curves []Curve
	var part []Scored
	for _, c := range cuts(trials) {
		for _, length := range lengths {
			part = part[:0]
			for _, t := range scored {
				if t.Net == length && c.keep(t.Trial) {
					part = append(part, t)
				}
			}
			s, err := NewSet(part)
			if errors.Is(err, ErrOneSided) {
				continue
			}
			if err != nil {
				return nil, nil, err
			}
			rows = append(rows, b.row(s, c.name, length.Seconds()))
			curves = append(curves, Curve{Cut: c.name, Seconds: length.Seconds(), Points: s.DET()})
		}
	}
	return rows, curves, nil
}

func (b Bootstrap) row(s *Set, name string, seconds float64) Row {
	measures := []func(*Set) float64{(*Set).EER, func(s *Set) float64 { return s.FRRAt(0.01) }, func(s *Set) float64 { return s.FRRAt(0.001) }}
	own := len(measures)
	for _, o := range odds() {
		// The two are of one walk through the trials: the second one takes what the first
		// has found.
		var frr float64
		measures = append(measures, func(s *Set) (far float64) {
			far, frr = s.At(math.Log(o))
			return far
		}, func(*Set) float64 { return frr })
	}
	f := b.Figures(s, measures...)
	r := Row{
		Cut: name, Seconds: seconds, Targets: s.Targets(), Impostors: s.Impostors(), Speakers: s.Speakers(),
		EER: f[0], FRR1: f[1], FRR01: f[2], MinDCF: s.MinDCF(0.01), Cllr: s.Cllr(), MinCllr: s.MinCllr(),
	}
	r.Loss = r.Cllr - r.MinCllr
	for i, o := range odds() {
		r.Fixed = append(r.Fixed, Fixed{LLR: math.Log(o), FAR: f[own+2*i], FRR: f[own+2*i+1]})
	}
	return r
}

// DecisionRows counts how calls ended under one policy, by cut; far and expected are
// as in Decisions.
func (b Bootstrap) DecisionRows(all []Answered, far, expected float64) ([]Decisions, error) {
	trials := make([]*Trial, len(all))
	for i, a := range all {
		trials[i] = a.Trial
	}
	var out []Decisions
	for _, c := range cuts(trials) {
		var part []Answered
		for _, a := range all {
			if c.keep(a.Trial) {
				part = append(part, a)
			}
		}
		d, err := b.Decide(part)
		if errors.Is(err, ErrOneSided) {
			continue
		}
		if err != nil {
			return nil, err
		}
		d.Cut, d.FAR, d.Expected = c.name, far, expected
		out = append(out, d)
	}
	return out, nil
}
