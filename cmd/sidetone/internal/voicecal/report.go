package voicecal

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"sidetone/bench/voice"
	"sidetone/voiceprint"
	"sidetone/voiceprint/backend"
)

// Report makes of the comparisons that Train left out of training what they say of
// its parameters: error rates at the given net seconds and by the sequential
// decision, with intervals by speaker.
func Report(p *backend.Params, paths []backend.Path, us []Utterance, folds int, at []time.Duration, b voice.Bootstrap) (*voice.Result, error) {
	by := map[string]Utterance{}
	for _, u := range us {
		by[u.Name] = u
	}
	var scored []voice.Scored
	trials := make([]*voice.Trial, len(paths))
	for i := range paths {
		path := &paths[i]
		a, t := by[path.Template], by[path.Test]
		trials[i] = &voice.Trial{
			Target: path.Target(), Enrolled: path.Enrolled, Speaker: path.Speaker, Enrol: path.Template, Test: path.Test,
			SameGender: a.Gender != "" && a.Gender == t.Gender, Group: t.Group, Condition: t.Line, Channel: t.Line,
		}
		for _, l := range path.Looks {
			if slices.Contains(at, l.Net) {
				one := *trials[i]
				one.Net = l.Net
				scored = append(scored, voice.Scored{Trial: &one, LLR: l.LLR})
			}
		}
	}
	r := &voice.Result{Model: p.Space.Model().ID, Calibration: p.Version(), Trained: p.Operating.Words(), Folds: folds, Speakers: p.Operating.Speakers}
	var err error
	if r.Rows, r.Curves, err = b.Rows(scored); err != nil {
		return nil, err
	}
	for _, op := range p.Operating.Points {
		op.Fall = p.Operating.Fall
		answered := make([]voice.Answered, len(paths))
		for i := range paths {
			path := &paths[i]
			o, looks := path.Decide(p.Operating.Policy, op)
			answered[i] = voice.Answered{Trial: trials[i], Answer: voice.Answer{Outcome: o, Looks: looks, Accept: op.LLR}}
			if looks > 0 {
				l := path.Looks[looks-1]
				answered[i].Answer.Net, answered[i].LLR = l.Net, l.LLR
			}
		}
		rows, err := b.DecisionRows(answered, op.FAR, op.FRR)
		if err != nil {
			return nil, err
		}
		for _, d := range rows {
			if d.Cut == voice.Pooled {
				r.Decisions = append(r.Decisions, d)
			}
		}
	}
	return r, nil
}

// Advise adds to an error of training what to do about it.
func Advise(err error) error {
	if few := (*backend.TooLittleError)(nil); errors.As(err, &few) {
		return fmt.Errorf("%w. A recording of 20 s of speech or more can be enrolled, one of 3 s or more compared; a calibration takes %d speakers with two recordings each, a space %d; the more there are, the lower the shares of impostors that can be vouched for: 50 speakers for 0.05 %%",
			err, backend.LeastForCalibration, backend.LeastForSpace)
	}
	return err
}

// Thresholds prints what can be asked for and what it costs.
func Thresholds(w io.Writer, o *backend.Operating) error {
	fmt.Fprintf(w, "\nThresholds of the sequential decision, from %s\n", o.Words())
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "FAR %\tFRR %\tLLR\t")
	for _, p := range o.Points {
		fmt.Fprintf(t, "%.4f\t%.2f\t%.2f\t\n", 100*p.FAR, 100*p.FRR, p.LLR)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	want := voiceprint.DefaultPolicy().FAR
	if _, err := o.Threshold(want); err != nil {
		_, err = fmt.Fprintf(w, "The default policy asks for %.3g %% and will be refused: %v. About %d impostor calls are needed for it: %d speakers with two recordings each.\n",
			100*want, err, int(5/want), speakersFor(int(5/want)))
		return err
	}
	return nil
}

// speakersFor is how many speakers with two recordings each make so many calls of
// impostors: each recording against each of all others'.
func speakersFor(impostors int) int {
	n := 1
	for 2*n*2*(n-1) < impostors {
		n++
	}
	return n
}
