package voiceprint

import (
	"fmt"
	"math"
	"slices"
	"time"
)

const (
	// firstLook is how much net speech the first score takes, look how much more
	// each next one.
	firstLook = time.Second
	look      = 500 * time.Millisecond
	// DefaultLimit is by when there is an answer, in net speech.
	DefaultLimit = 15 * time.Second
	// watchSpan is the latest speech that is weighed alone once there is an answer:
	// whoever takes the phone over must not inherit it.
	watchSpan = 5 * time.Second
)

// Policy is what decisions must satisfy.
type Policy struct {
	// FAR is the share of impostors that may be accepted, such as 0.0005; Miss the
	// share of true callers that may be called a mismatch. Zero means the defaults.
	FAR, Miss float64
	// Least is the speech below which nothing is decided, MismatchAfter below which
	// there is no mismatch, Limit that after which there is an answer.
	Least, MismatchAfter, Limit time.Duration
}

// DefaultPolicy suits information about an account; a payment asks for less.
func DefaultPolicy() Policy {
	return Policy{FAR: 0.0005, Miss: 0.001, Least: 2 * time.Second, MismatchAfter: 3 * time.Second, Limit: DefaultLimit}
}

func (p Policy) withDefaults() (Policy, error) {
	d := DefaultPolicy()
	for _, v := range []struct{ to, instead *float64 }{{&p.FAR, &d.FAR}, {&p.Miss, &d.Miss}} {
		if *v.to == 0 {
			*v.to = *v.instead
		}
	}
	for _, v := range []struct{ to, instead *time.Duration }{
		{&p.Least, &d.Least}, {&p.MismatchAfter, &d.MismatchAfter}, {&p.Limit, &d.Limit},
	} {
		if *v.to == 0 {
			*v.to = *v.instead
		}
	}
	switch {
	case !(p.FAR > 0 && p.FAR < 0.5), !(p.Miss > 0 && p.Miss < 0.5):
		return p, fmt.Errorf("voiceprint: error rates of %v and %v; they lie between 0 and 0.5", p.FAR, p.Miss)
	case p.Least < firstLook, p.MismatchAfter < p.Least, p.Limit < p.MismatchAfter:
		return p, fmt.Errorf("voiceprint: decisions from %v of speech, mismatches from %v, the answer after %v; they must not get smaller in that order, and begin at %v",
			p.Least, p.MismatchAfter, p.Limit, firstLook)
	}
	return p, nil
}

// VerifierConfig shapes NewVerifier.
type VerifierConfig struct {
	Embedder Embedder
	Scorer   Scorer
	// Enrolled are the templates of the person, of the Embedder's model.
	Enrolled []Embedding
	Policy   Policy
}

// Verifier decides for one leg, from the first second of net speech on. It is not
// safe for concurrent use; Look takes as long as an embedding does, Hear does not.
//
// It looks each half second of net speech and stops at the first threshold that is
// crossed (Wald, Sequential Analysis, 1947); thresholds are for the whole of the
// looks. An answer stays, until two stretches of watchSpan in a row say clearly the
// opposite: then somebody else speaks, the answer is withdrawn and it begins anew.
type Verifier struct {
	embedder Embedder
	scorer   Scorer
	enrolled []Embedding
	policy   Policy
	accept   Operating

	// samples is the speech since it began, the latest of it once there is an answer.
	samples []float32
	limit   int
	at      int64
	// due is how many samples the next look takes; fresh how many have come since
	// the last one.
	due, fresh int
	opposed    int
	last       Decision
}

// NewVerifier makes a verifier. Who has no template is not verified: an error.
func NewVerifier(c VerifierConfig) (*Verifier, error) {
	p, err := c.Policy.withDefaults()
	if err != nil {
		return nil, err
	}
	info := c.Scorer.Info()
	if m := c.Embedder.Model(); m != info.Model {
		return nil, fmt.Errorf("voiceprint: the calibration %s is for %s, embeddings are %w: %s", info.Calibration, info.Model.ID, ErrModel, m.ID)
	}
	if len(c.Enrolled) == 0 {
		return nil, fmt.Errorf("voiceprint: no template to compare with (%s)", NotEnrolled)
	}
	for i, e := range c.Enrolled {
		if len(e) != info.Model.Dim {
			return nil, fmt.Errorf("voiceprint: template %d has %d dimensions, %s has %d: %w", i, len(e), info.Model.ID, info.Model.Dim, ErrModel)
		}
	}
	op, err := c.Scorer.Threshold(p.FAR)
	if err != nil {
		return nil, fmt.Errorf("voiceprint: the threshold: %w", err)
	}
	limit := samplesOf(p.Limit)
	return &Verifier{
		embedder: c.Embedder, scorer: c.Scorer, enrolled: c.Enrolled, policy: p, accept: op,
		samples: make([]float32, 0, limit), limit: limit, due: samplesOf(firstLook),
		last: Decision{
			Reasons: []Reason{TooLittle}, Accept: op.LLR, Reject: math.Log(p.Miss / (1 - p.FAR)), FAR: p.FAR, Info: info,
		},
	}, nil
}

func samplesOf(d time.Duration) int { return int(d * Rate / time.Second) }

func durationOf(n int) time.Duration { return time.Duration(n) * time.Second / Rate }

// Hear takes net speech that ends at the given sample of the leg's clock. It keeps
// a copy of what it needs.
func (v *Verifier) Hear(speech []float32, at int64) {
	v.at, v.fresh = at, v.fresh+len(speech)
	if v.last.Final {
		// Only the latest is watched.
		v.samples = latest(v.samples, speech, samplesOf(watchSpan))
		return
	}
	v.samples = append(v.samples, speech[:min(len(speech), v.limit-len(v.samples))]...)
}

// latest keeps at most n samples: the end of what was and what came.
func latest(was, came []float32, n int) []float32 {
	came = came[max(0, len(came)-n):]
	if drop := len(was) + len(came) - n; drop > 0 {
		was = was[:copy(was, was[drop:])]
	}
	return append(was, came...)
}

// Due says that there is enough new speech to look at.
func (v *Verifier) Due() bool {
	if v.last.Final {
		return v.last.Outcome != Inconclusive && v.fresh >= samplesOf(watchSpan) && len(v.samples) == samplesOf(watchSpan)
	}
	return len(v.samples) >= v.due
}

// Decision is the last answer.
func (v *Verifier) Decision() Decision {
	d := v.last
	d.Reasons = slices.Clone(d.Reasons)
	return d
}

// Withdraw takes back a match for reasons that stand beside the score: nothing is
// answered any more. Any other answer stays.
func (v *Verifier) Withdraw(reasons []Reason) Decision {
	if d := &v.last; d.Outcome == Match {
		d.Outcome, d.Reasons, d.Final = Inconclusive, slices.Clone(reasons), true
	}
	return v.Decision()
}

// Look weighs what was heard. Gates are the reasons for which the audio as measured
// in q cannot carry an answer now: with any there is none, and the evidence is kept.
// Without new speech it is the last answer again.
func (v *Verifier) Look(q Quality, gates []Reason) (Decision, error) {
	if !v.Due() {
		return v.Decision(), nil
	}
	v.fresh = 0
	net := durationOf(len(v.samples))
	e, err := v.embedder.Embed(v.samples)
	if err != nil {
		return v.Decision(), fmt.Errorf("voiceprint: %w", err)
	}
	llr, err := v.scorer.LLR(v.enrolled, e, net)
	if err != nil {
		return v.Decision(), fmt.Errorf("voiceprint: %w", err)
	}
	d := &v.last
	d.Scores++
	if d.Final {
		v.watch(llr)
		return v.Decision(), nil
	}
	v.due = len(v.samples) + samplesOf(look)
	d.LLR, d.Net, d.At, d.Quality, d.Accept = llr, net, v.at, q, v.accept.Accept(net)
	v.decide(gates)
	if len(v.samples) == v.limit {
		d.Final = true
	}
	if d.Final {
		v.samples = latest(v.samples[:0], v.samples, samplesOf(watchSpan))
	}
	return v.Decision(), nil
}

func (v *Verifier) decide(gates []Reason) {
	d := &v.last
	d.Outcome, d.Reasons = Inconclusive, nil
	switch {
	case len(gates) > 0:
		d.Reasons = slices.Clone(gates)
	case d.Net < v.policy.Least:
		d.Reasons = []Reason{TooLittle}
	case d.LLR >= d.Accept:
		d.Outcome, d.Final = Match, true
	case d.LLR <= d.Reject && d.Net >= v.policy.MismatchAfter:
		d.Outcome, d.Final = Mismatch, true
	case d.LLR <= d.Reject:
		d.Reasons = []Reason{TooLittle}
	default:
		d.Reasons = []Reason{Between}
	}
}

// watch weighs the latest stretch alone against the answer there is.
func (v *Verifier) watch(llr float64) {
	d := &v.last
	if against := d.Outcome == Match && llr <= d.Reject || d.Outcome == Mismatch && llr >= v.accept.Accept(watchSpan); !against {
		v.opposed = 0
		return
	}
	if v.opposed++; v.opposed < 2 {
		return
	}
	v.opposed = 0
	d.Outcome, d.Reasons, d.Final = Inconclusive, []Reason{VoiceChanged}, false
	d.LLR, d.Net, d.At = llr, durationOf(len(v.samples)), v.at
	d.Accept = v.accept.Accept(d.Net)
	v.due = len(v.samples) + samplesOf(look)
}
