package enrol

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"sidetone/voiceprint"
)

const (
	// mostCandidates is how many calls a State remembers at most.
	mostCandidates = 8
	// mostDoubts is how many calls in a row may neither agree nor disagree before the
	// ones they were compared with are given up.
	mostDoubts = 3
)

// Phase is how far a passive enrolment has come.
type Phase string

// The phases.
const (
	// Empty: nothing is remembered.
	Empty Phase = ""
	// Collecting: there are too few calls, or too little speech.
	Collecting Phase = "collecting"
	// Provisional: the calls make a template, which may be tried but decides nothing.
	Provisional Phase = "provisional"
	// Active: a call has confirmed it; the template decides.
	Active Phase = "active"
	// Stopped: a person has to look. Put an empty State in its place to begin anew.
	Stopped Phase = "stopped"
)

// State is what is remembered of one person between calls, and the only thing. It is
// plain and can be written as JSON; it holds embeddings, so whoever keeps it seals it.
type State struct {
	Phase Phase `json:"phase,omitempty"`
	// Model is that of the embeddings.
	Model string `json:"model,omitempty"`
	// Calls are those that agree, in the order in which they ended.
	Calls []Candidate `json:"calls,omitempty"`
	// Conflicts counts how often calls disagreed, Doubts how many in a row did neither.
	Conflicts int `json:"conflicts,omitempty"`
	Doubts    int `json:"doubts,omitempty"`
	// Reasons are why it is stopped.
	Reasons []voiceprint.Reason `json:"reasons,omitempty"`
}

// Candidate is a call that a template may be made of.
type Candidate struct {
	Call      string               `json:"call"`
	Line      string               `json:"line,omitempty"`
	At        time.Time            `json:"at"`
	Embedding voiceprint.Embedding `json:"embedding"`
	Quality   Quality              `json:"quality"`
}

// Consent is what the person has said to their voice being kept.
type Consent int

// The states of consent. A person who was not asked has not consented.
const (
	NotAsked Consent = iota
	Given
	// Refused or withdrawn, which is final until they consent anew.
	Withdrawn
)

// Call is what a call has told of the person.
type Call struct {
	ID   string
	Line string
	// At is when it ended.
	At      time.Time
	Consent Consent
	// Confirmed says that another factor confirmed on this call who it is.
	Confirmed bool
	// Gates are the reasons for which its audio must not be enrolled: those of quality,
	// voiceprint.SeveralVoices and voiceprint.SpoofSuspected among them.
	Gates []voiceprint.Reason
	// WatchListed says that a search of the watch list has raised an alarm.
	WatchListed bool
	// Duplicates are the other customers for whom this voice is enrolled, less those
	// that a person has found to be in order.
	Duplicates []string
	// Embedding is of all its net speech, whose length is Quality.Net.
	Embedding voiceprint.Embedding
	Quality   voiceprint.Quality
}

// Verdict is what a call has changed.
type Verdict string

// The verdicts.
const (
	// Ignored: nothing.
	Ignored Verdict = "ignored"
	// Kept: it is remembered; Reasons say what is still to come.
	Kept Verdict = "kept"
	// Proposed: it is remembered, and there is a provisional template.
	Proposed Verdict = "proposed"
	// Enrolled: there is a template.
	Enrolled Verdict = "enrolled"
	// Restarted: what was remembered was given up.
	Restarted Verdict = "restarted"
	// Blocked: nothing is enrolled before a person has looked.
	Blocked Verdict = "blocked"
	// Erased: what was remembered is gone, for want of consent.
	Erased Verdict = "erased"
)

// Result is what a step has led to.
type Result struct {
	Verdict Verdict
	Reasons []voiceprint.Reason
	// Alert says that security should look; Others are the customers it is about.
	Alert  bool
	Others []string
	// Template is there when the verdict is Proposed or Enrolled. It has no ID yet. A
	// provisional one is replaced by the next, and holds while State.Phase says so.
	Template *voiceprint.Template
}

// Passive enrols persons from their calls. It is immutable.
type Passive struct {
	scorer voiceprint.Scorer
	model  voiceprint.Model
	agree  float64
	rules  PassivePolicy
}

// NewPassive makes the rules for a person's calls.
func NewPassive(scorer voiceprint.Scorer, p Policy) (*Passive, error) {
	p, err := p.WithDefaults()
	if err != nil {
		return nil, err
	}
	return &Passive{scorer: scorer, model: scorer.Info().Model, agree: p.Agree, rules: p.Passive}, nil
}

// Expire forgets calls that have waited too long, and says whether it changed anything.
// A provisional template falls with them when too few are left.
func (p *Passive) Expire(s State, now time.Time) (State, bool) {
	kept := slices.DeleteFunc(slices.Clone(s.Calls), func(c Candidate) bool { return now.Sub(c.At) > p.rules.Keep })
	if len(kept) == len(s.Calls) {
		return s, false
	}
	s.Calls = kept
	p.settle(&s)
	return s, true
}

// settle sets the phase that the remembered calls make.
func (p *Passive) settle(s *State) {
	switch {
	case s.Phase == Active || s.Phase == Stopped:
	case len(s.Calls) == 0:
		s.Phase, s.Calls = Empty, nil
	case len(s.Calls) >= p.rules.Calls && net(s.Calls) >= p.rules.Net:
		s.Phase = Provisional
	default:
		s.Phase = Collecting
	}
}

func net(calls []Candidate) (sum time.Duration) {
	for _, c := range calls {
		sum += c.Quality.Net
	}
	return sum
}

// Step takes a call and says what follows. The state that it is given is not changed,
// and is the right one still where there is an error.
func (p *Passive) Step(s State, c Call, now time.Time) (State, Result, error) {
	before := s
	s, _ = p.Expire(s, now)
	ignored := func(reasons ...voiceprint.Reason) (State, Result, error) {
		return s, Result{Verdict: Ignored, Reasons: reasons}, nil
	}
	switch {
	case c.At.After(now):
		return before, Result{}, fmt.Errorf("enrol: the call %q ends at %v, it is %v only: check the clocks", c.ID, c.At, now)
	case c.Consent == Withdrawn:
		return State{}, Result{Verdict: Erased, Reasons: []voiceprint.Reason{voiceprint.OptedOut}}, nil
	case c.Consent != Given:
		return ignored(voiceprint.NoConsent)
	case s.Phase == Stopped:
		return s, Result{Verdict: Blocked, Reasons: slices.Clone(s.Reasons)}, nil
	case s.Phase == Active, slices.ContainsFunc(s.Calls, func(k Candidate) bool { return k.Call == c.ID }):
		return ignored()
	case !c.Confirmed:
		return ignored(NotConfirmed)
	case c.WatchListed:
		// Whoever it is has passed the other factor.
		return stopped(WatchListed, nil)
	case len(c.Duplicates) > 0:
		return stopped(Duplicate, c.Duplicates)
	case len(c.Gates) > 0:
		return ignored(slices.Clone(c.Gates)...)
	case c.Quality.Net < p.rules.CallNet:
		return ignored(voiceprint.TooLittle)
	case now.Sub(c.At) > p.rules.Keep:
		return ignored(voiceprint.Expired)
	case len(c.Embedding) != p.model.Dim:
		return before, Result{}, fmt.Errorf("enrol: the embedding of the call %q has %d dimensions, %s has %d: %w", c.ID, len(c.Embedding), p.model.ID, p.model.Dim, voiceprint.ErrModel)
	}
	if len(s.Calls) > 0 && s.Model != p.model.ID {
		s.Calls, s.Doubts = nil, 0
	}
	least, err := p.least(s, c)
	switch {
	case err != nil:
		return before, Result{}, err
	case least < 0:
		return p.conflict(s)
	case least < p.agree:
		if s.Doubts++; s.Doubts < mostDoubts {
			return ignored(voiceprint.Between)
		}
		return State{Conflicts: s.Conflicts}, Result{Verdict: Restarted, Reasons: []voiceprint.Reason{voiceprint.Between}}, nil
	}
	s.Doubts, s.Model = 0, p.model.ID
	s.Calls = remember(s.Calls, Candidate{Call: c.ID, Line: c.Line, At: c.At, Embedding: slices.Clone(c.Embedding), Quality: Quality(c.Quality)})
	p.settle(&s)
	s, r, err := p.judge(s, now)
	if err != nil {
		return before, Result{}, err
	}
	return s, r, nil
}

// least is the evidence that the call has least of, that it is the voice of one of the
// others: infinite where there is none.
func (p *Passive) least(s State, c Call) (float64, error) {
	least := math.Inf(1)
	for _, k := range s.Calls {
		llr, err := p.scorer.LLR([]voiceprint.Embedding{k.Embedding}, c.Embedding, min(k.Quality.Net, c.Quality.Net))
		if err != nil {
			return 0, fmt.Errorf("enrol: comparing the calls %q and %q: %w", k.Call, c.ID, err)
		}
		least = min(least, llr)
	}
	return least, nil
}

// conflict gives up all calls: which of them are the customer's cannot be told.
func (p *Passive) conflict(s State) (State, Result, error) {
	s = State{Conflicts: s.Conflicts + 1}
	if s.Conflicts < p.rules.Conflicts {
		return s, Result{Verdict: Restarted, Reasons: []voiceprint.Reason{Disagrees}}, nil
	}
	return stopped(Disagrees, nil)
}

func stopped(why voiceprint.Reason, others []string) (State, Result, error) {
	return State{Phase: Stopped, Reasons: []voiceprint.Reason{why}},
		Result{Verdict: Blocked, Reasons: []voiceprint.Reason{why}, Alert: true, Others: slices.Clone(others)}, nil
}

// remember adds a call in the order of time. Where there is no room it takes the place
// of the one before it: the first one says when the cooling off began.
func remember(calls []Candidate, c Candidate) []Candidate {
	i := len(calls)
	for i > 0 && c.At.Before(calls[i-1].At) {
		i--
	}
	calls = slices.Insert(slices.Clone(calls), i, c)
	if len(calls) > mostCandidates {
		i = max(i, 2)
		calls = slices.Delete(calls, i-1, i)
	}
	return calls
}

// judge says what the calls that agree are good for.
func (p *Passive) judge(s State, now time.Time) (State, Result, error) {
	r := Result{Verdict: Kept}
	if net(s.Calls) < p.rules.Net {
		r.Reasons = append(r.Reasons, voiceprint.TooLittle)
	}
	if len(s.Calls) < max(p.rules.Calls, 2) {
		r.Reasons = append(r.Reasons, TooFewCalls)
	}
	if s.Calls[len(s.Calls)-1].At.Sub(s.Calls[0].At) < p.rules.CoolingOff {
		r.Reasons = append(r.Reasons, CoolingOff)
	}
	if s.Phase != Provisional {
		return s, r, nil
	}
	t, err := p.template(s.Calls, now)
	if err != nil {
		return s, Result{}, err
	}
	r.Verdict, r.Template = Proposed, &t
	if len(r.Reasons) == 0 {
		r.Verdict = Enrolled
		s = State{Phase: Active}
	}
	return s, r, nil
}

// template is made of the calls, each weighing as much as the others: a long one is
// no more of a voice over time than a short one.
func (p *Passive) template(calls []Candidate, now time.Time) (voiceprint.Template, error) {
	var quality average
	var all []weighted
	var names []string
	lines := map[string]time.Duration{}
	line := calls[0].Line
	for _, c := range calls {
		quality.add(voiceprint.Quality(c.Quality), c.Quality.Net)
		all = append(all, weighted{c.Embedding, 1})
		names = append(names, c.Call)
		if lines[c.Line] += c.Quality.Net; lines[c.Line] > lines[line] {
			line = c.Line
		}
	}
	e, err := mean(all)
	return voiceprint.Template{
		Line: line, Model: p.model.ID, Embedding: e, Made: now, Source: "calls " + strings.Join(names, ", "), Quality: quality.quality(),
	}, err
}
