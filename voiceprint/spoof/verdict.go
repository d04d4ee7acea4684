package spoof

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"sidetone/voiceprint/spoof/fingerprint"
)

// Name names a sign.
type Name string

// Sign is something that was seen and speaks for spoofing.
type Sign struct {
	Name Name
	// Strength is how much of it there is: the seconds of a stretch that was heard
	// before, the evidence of a cue in nats.
	Strength float64
	// Probability is that of the sign being real, where it is as likely as not
	// beforehand, as measured on the recordings that the package comment names. It is
	// not the probability of fraud.
	Probability float64
	// Evidence is what was seen, in words for an auditor.
	Evidence string
}

// Verdict is the answer of the countermeasures. It never changes a score.
type Verdict struct {
	// Suspected says that a sign that may veto is there.
	Suspected bool
	// Signs are all that are there, the most probable first.
	Signs []Sign
	// Unchecked are those that could not be looked for: too little audio, or nothing
	// to compare with.
	Unchecked []Name
}

// Policy says what signs are for.
type Policy struct {
	// Veto are the signs that make a verdict suspected; nil means DefaultPolicy's, an
	// empty list none.
	Veto []Name
	// Tell is the probability from which on a sign is told, Act from which on it may
	// veto; 0 means DefaultPolicy's.
	Tell, Act float64
}

// DefaultPolicy lets only the repetition of the person's own recordings veto: the
// cues err too often to turn callers away, and what is repeated across persons may
// be an announcement on the line.
func DefaultPolicy() Policy {
	return Policy{Veto: []Name{Repeated, EnrolmentReplayed}, Tell: 0.9, Act: 0.99}
}

func (p Policy) withDefaults() (Policy, error) {
	d := DefaultPolicy()
	if p.Veto == nil {
		p.Veto = d.Veto
	}
	p.Tell, p.Act = cmp.Or(p.Tell, d.Tell), cmp.Or(p.Act, d.Act)
	if !(p.Tell > 0 && p.Tell <= p.Act && p.Act < 1) {
		return p, fmt.Errorf("spoof: signs are told from a probability of %v and act from %v; they must lie between 0 and 1, in that order", p.Tell, p.Act)
	}
	for _, n := range p.Veto {
		if !slices.Contains(Names(), n) {
			return p, fmt.Errorf("spoof: %q is no sign: %v", n, Names())
		}
	}
	return p, nil
}

// Signals is what was found out about a leg.
type Signals struct {
	// Enrolment is the longest stretch in common with what the person was enrolled
	// with, A in that; nil where there is none.
	Enrolment *fingerprint.Stretch
	// Earlier are the legs that were heard before, A in the new leg; Person is as
	// whom the caller is treated.
	Earlier []fingerprint.Hit
	Person  string
	// Cues are those that could be measured.
	Cues []Cue
	// Unchecked are the signs that could not be looked for.
	Unchecked []Name
}

// Cue is a measured quantity as evidence.
type Cue struct {
	Name Name
	// LLR is how much likelier the measurement is of attacks than of people, in nats.
	LLR float64
	// Evidence is the measurement in words.
	Evidence string
}

// Judge weighs signals.
func (p Policy) Judge(s Signals) (Verdict, error) {
	p, err := p.withDefaults()
	if err != nil {
		return Verdict{}, err
	}
	return p.judge(s), nil
}

func (p Policy) judge(s Signals) Verdict {
	v := Verdict{Unchecked: slices.Clone(s.Unchecked)}
	add := func(g Sign) {
		if g.Probability < p.Tell {
			return
		}
		v.Signs = append(v.Signs, g)
		v.Suspected = v.Suspected || g.Probability >= p.Act && slices.Contains(p.Veto, g.Name)
	}
	if e := s.Enrolment; e != nil {
		add(same(EnrolmentReplayed, *e, fmt.Sprintf(
			"%.1f s from %.1f s on are the enrolment's from %.1f s on, %.0f %% of bits differ",
			e.Length.Seconds(), e.B.Seconds(), e.A.Seconds(), 100*e.Errors)))
	}
	own, others := Sign{}, Sign{}
	for _, h := range s.Earlier {
		g := same(RepeatedElsewhere, h.Stretch, fmt.Sprintf(
			"%.1f s from %.1f s on were heard on %s in call %s from %.1f s on, %.0f %% of bits differ",
			h.Length.Seconds(), h.A.Seconds(), h.Heard.UTC().Format(time.RFC3339), h.Source.Call, h.B.Seconds(), 100*h.Errors))
		best := &others
		if s.Person != "" && h.Source.Person == s.Person {
			g.Name, best = Repeated, &own
		}
		if g.Probability > best.Probability {
			*best = g
		}
	}
	add(own)
	add(others)
	for _, c := range s.Cues {
		add(Sign{Name: c.Name, Strength: c.LLR, Probability: logistic(c.LLR), Evidence: c.Evidence})
	}
	slices.SortStableFunc(v.Signs, func(a, b Sign) int { return cmp.Compare(b.Probability, a.Probability) })
	return v
}

func logistic(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
