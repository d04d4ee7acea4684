package backend

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"time"

	"sidetone/voiceprint"
)

// supporting is how many impostors must be accepted at a threshold for its share to
// count as measured: with fewer, the next data could as well give twice as many.
const supporting = 5

const (
	// DefaultFall is by which power thresholds fall with the speech.
	DefaultFall = 0.5
	maxFall     = 2.0
)

// Operating is the thresholds of a sequential decision and how they were measured.
type Operating struct {
	// Policy is the procedure that was followed: its looks, and when it ends.
	Policy voiceprint.Policy
	// Looks is at how much speech there was one: all that the policy lets count, or
	// some of them, when a little fewer impostors are accepted than with all.
	Looks []time.Duration
	// Targets and Impostors are how many calls were played of true callers and of
	// impostors, by Speakers people. Each impostor of a person counts.
	Targets, Impostors, Speakers int
	// Fall is that of the thresholds: see voiceprint.Operating.
	Fall float64
	// Points are by falling FAR and rising LLR.
	Points []voiceprint.Operating
}

// FARError says that a share of impostors was asked for which the data behind the
// thresholds cannot vouch for.
type FARError struct {
	FAR float64
	// Least is the least that can be had, measured on Impostors comparisons.
	Least     float64
	Impostors int
}

func (e *FARError) Error() string {
	return fmt.Sprintf("backend: accepting %.4g %% of impostors cannot be vouched for: the thresholds were measured on %d of them, enough for %.4g %% and more; ask for more, or calibrate on more speakers",
		100*e.FAR, e.Impostors, 100*e.Least)
}

// Words says how the thresholds were measured.
func (o *Operating) Words() string {
	return fmt.Sprintf("%d calls of true callers and %d of impostors, %d speakers, none of them trained on, looked at up to %d times", o.Targets, o.Impostors, o.Speakers, len(o.Looks))
}

// Threshold is the point at which at most the given share of impostors is accepted.
// Between measured points LLR and FRR are interpolated on the logarithm of the FAR.
func (o *Operating) Threshold(far float64) (voiceprint.Operating, error) {
	n := len(o.Points)
	if n == 0 || !(far >= o.Points[n-1].FAR) {
		least := math.NaN()
		if n > 0 {
			least = o.Points[n-1].FAR
		}
		return voiceprint.Operating{}, &FARError{FAR: far, Least: least, Impostors: o.Impostors}
	}
	i := sort.Search(n, func(i int) bool { return o.Points[i].FAR <= far })
	b := o.Points[i]
	b.Fall = o.Fall
	if i == 0 || b.FAR == far {
		return b, nil
	}
	a := o.Points[i-1]
	t := math.Log(a.FAR/far) / math.Log(a.FAR/b.FAR)
	return voiceprint.Operating{FAR: far, FRR: a.FRR + t*(b.FRR-a.FRR), LLR: a.LLR + t*(b.LLR-a.LLR), Fall: o.Fall}, nil
}

func (o *Operating) validate() error {
	if !(o.Fall >= 0 && o.Fall <= maxFall) {
		return fmt.Errorf("backend: thresholds that fall by the power %v; it lies between 0 and %v", o.Fall, maxFall)
	}
	for i, p := range o.Points {
		switch {
		case !(p.FAR > 0 && p.FAR <= 1), !(p.FRR >= 0 && p.FRR <= 1), math.IsNaN(p.LLR), math.IsInf(p.LLR, 0):
			return fmt.Errorf("backend: operating point %d is %+v", i, p)
		case i > 0 && (p.FAR >= o.Points[i-1].FAR || p.LLR < o.Points[i-1].LLR || p.FRR < o.Points[i-1].FRR):
			return fmt.Errorf("backend: operating points %d and %d are out of order: shares of impostors fall, LLR and FRR rise", i-1, i)
		}
	}
	return nil
}

// Look is one look of a Path.
type Look struct {
	Net         time.Duration
	Cosine, LLR float64
}

// Path is one call as the sequential decision would see it, by parameters that were
// trained on neither of the two speakers.
type Path struct {
	// Enrolled is whose template the voice is compared with, Speaker whose it is.
	Enrolled, Speaker string
	// Template and Test are the recordings, Line that of Test.
	Template, Test, Line string
	Looks                []Look
}

// Target says that the caller is who they say.
func (p *Path) Target() bool { return p.Enrolled == p.Speaker }

// rejecting is the LLR down from which a verifier rejects, as voiceprint.Verifier has
// it.
func rejecting(p voiceprint.Policy) float64 { return math.Log(p.Miss / (1 - p.FAR)) }

// peak is the least threshold, as it is before it falls, at which the call would not be
// accepted any more: acceptance at a threshold is that some look from p.Least on
// reaches it before another has rejected.
func (p *Path) peak(policy voiceprint.Policy, fall float64) float64 {
	reject := rejecting(policy)
	peak := math.Inf(-1)
	for _, l := range p.Looks {
		if l.Net < policy.Least {
			continue
		}
		if l.Net > policy.Limit {
			break
		}
		peak = max(peak, l.LLR/voiceprint.Operating{LLR: 1, Fall: fall}.Accept(l.Net))
		if l.LLR <= reject && l.Net >= policy.MismatchAfter {
			break
		}
	}
	return peak
}

// Decide is how the call ends at an operating point: the outcome, and after how many
// looks.
func (p *Path) Decide(policy voiceprint.Policy, at voiceprint.Operating) (o voiceprint.Outcome, looks int) {
	reject := rejecting(policy)
	for _, l := range p.Looks {
		if l.Net > policy.Limit {
			break
		}
		looks++
		switch {
		case l.Net < policy.Least:
		case l.LLR >= at.Accept(l.Net):
			return voiceprint.Match, looks
		case l.LLR <= reject && l.Net >= policy.MismatchAfter:
			return voiceprint.Mismatch, looks
		}
	}
	return voiceprint.Inconclusive, looks
}

// shares are those of impostors that Operate gives thresholds for, as far as there
// are enough impostors.
func shares() []float64 {
	return []float64{0.02, 0.01, 0.005, 0.003, 0.002, 0.001, 0.0007, 0.0005, 0.0003, 0.0002, 0.0001, 0.00005, 0.00002, 0.00001}
}

// Operate measures thresholds that fall so on calls. What is more likely another voice, an LLR
// below zero, is accepted at no threshold.
func Operate(paths []Path, policy voiceprint.Policy, fall float64) (Operating, error) {
	o := Operating{Policy: policy, Fall: fall}
	var targets, impostors []float64
	speakers := map[string]bool{}
	looks := map[time.Duration]bool{}
	for i := range paths {
		p := &paths[i]
		for _, l := range p.Looks {
			if l.Net >= policy.Least && l.Net <= policy.Limit {
				looks[l.Net] = true
			}
		}
		speakers[p.Enrolled], speakers[p.Speaker] = true, true
		if p.Target() {
			targets = append(targets, p.peak(policy, fall))
		} else {
			impostors = append(impostors, p.peak(policy, fall))
		}
	}
	o.Looks = slices.Sorted(maps.Keys(looks))
	o.Targets, o.Impostors, o.Speakers = len(targets), len(impostors), len(speakers)
	if o.Impostors < 50*supporting || o.Targets == 0 {
		return o, &TooLittleError{What: "calls of impostors, with some of true callers,", Have: o.Impostors, Need: 50 * supporting}
	}
	slices.Sort(targets)
	slices.Sort(impostors)
	slices.Reverse(impostors)
	for _, far := range append(shares(), supporting/float64(o.Impostors)) {
		// The k highest of them are accepted.
		k := int(far * float64(o.Impostors) * (1 + 1e-12))
		if k < supporting {
			continue
		}
		llr := max(impostors[k-1], 0)
		accepted := sort.Search(len(impostors), func(i int) bool { return impostors[i] < llr })
		missed := sort.SearchFloat64s(targets, llr)
		// Where fewer than enough reach zero, what can be vouched for is still that
		// no more than those enough are accepted.
		pt := voiceprint.Operating{
			FAR: float64(max(accepted, supporting)) / float64(o.Impostors), FRR: float64(missed) / float64(len(targets)), LLR: llr,
		}
		if n := len(o.Points); n > 0 && pt.FAR >= o.Points[n-1].FAR {
			continue
		}
		o.Points = append(o.Points, pt)
	}
	return o, nil
}
