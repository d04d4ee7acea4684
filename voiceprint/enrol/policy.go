// Package enrol holds the rules by which a voice becomes a template, and by which a
// template may change. It is pure: time is an argument, what happened on a call comes
// as values, and what is to be remembered goes back as values that the caller seals.
//
// A Session enrols explicitly, from speech that somebody chose. Passive enrols from
// the calls of a customer whose identity another factor confirmed each time. Place
// says what a new template is to a person's others. Adaptation follows a voice that
// changes slowly, with a way back. None of them looks at consent records, watch lists
// or other customers: they are told.
package enrol

import (
	"fmt"
	"math"
	"time"

	"sidetone/voiceprint"
)

// The reasons that enrolment adds to those of voiceprint.
const (
	// NotConfirmed: no other factor confirmed who called.
	NotConfirmed voiceprint.Reason = "identity_not_confirmed"
	// WatchListed: the voice is on a watch list.
	WatchListed voiceprint.Reason = "watch_list"
	// Duplicate: the voice is enrolled for another customer.
	Duplicate voiceprint.Reason = "voice_of_another_customer"
	// Disagrees: the voice is not that of the person's other calls or templates.
	Disagrees voiceprint.Reason = "voices_disagree"
	// Enough: there was as much speech as can be used.
	Enough voiceprint.Reason = "enough_speech"
	// TooFewCalls: another call has to agree.
	TooFewCalls voiceprint.Reason = "too_few_calls"
	// CoolingOff: a call has to agree once the time of cooling off is over.
	CoolingOff voiceprint.Reason = "cooling_off"
	// TooWeak: the match is not as high as a change of the template takes.
	TooWeak voiceprint.Reason = "match_too_weak"
	// TooSoon: the template has changed a short time ago.
	TooSoon voiceprint.Reason = "too_soon"
	// Drifted: the template would become too unlike the one that was enrolled.
	Drifted voiceprint.Reason = "drifted"
	// Declining: the person's matches get worse.
	Declining voiceprint.Reason = "scores_decline"
	// Unused: the voice was not heard for a long time.
	Unused voiceprint.Reason = "unused"
)

const day = 24 * time.Hour

// Policy is all the rules. Zero values mean those of DefaultPolicy.
type Policy struct {
	// Agree is the evidence, in nats, from which on two recordings of different days
	// or lines are taken for one voice's.
	Agree      float64
	Explicit   ExplicitPolicy
	Passive    PassivePolicy
	Adaptation AdaptationPolicy
}

// ExplicitPolicy is about speech that somebody chose.
type ExplicitPolicy struct {
	// Least is the net speech without which there is no template, Recommended that
	// from which on more gains little.
	Least, Recommended time.Duration
	// Chunk is how much speech is embedded at a time.
	Chunk time.Duration
	// OneVoice is the evidence, in nats, below which two chunks are two voices'.
	OneVoice float64
	// Near is the cosine from which on a template of another line tells nothing that
	// the person's nearest does not: it is merged with it.
	Near float64
	// Most is how many templates a person may have.
	Most int
}

// PassivePolicy is about calls that were not made to enrol.
type PassivePolicy struct {
	// Calls have to agree, with at least Net of speech together and CallNet each.
	Calls        int
	Net, CallNet time.Duration
	// CoolingOff lies between the first call and one that confirms it: time for the
	// customer, who is told, to object, and longer than a session that was taken over.
	CoolingOff time.Duration
	// Keep is how long a call waits for others.
	Keep time.Duration
	// Conflicts is how often calls may disagree before a person has to look.
	Conflicts int
}

// AdaptationPolicy is about templates that change.
type AdaptationPolicy struct {
	// LLR is the evidence, in nats, from which on a match may change the template, Net
	// the speech that it must rest on.
	LLR float64
	Net time.Duration
	// Weight is the new voice's in the mean.
	Weight float64
	// Every is the least time between two changes.
	Every time.Duration
	// Floor is the least cosine between the template and the one that was enrolled.
	Floor float64
	// Age and Idle are how long after the enrolment, and after the last match, a new
	// enrolment is recommended.
	Age, Idle time.Duration
	// Fall is how far the cosines of matches may fall, by their trend, before it is.
	Fall float64
}

// DefaultPolicy is what suits telephone speech and calibrated evidence.
func DefaultPolicy() Policy {
	return Policy{
		Agree: 4.6,
		Explicit: ExplicitPolicy{
			Least: 20 * time.Second, Recommended: 30 * time.Second, Chunk: 10 * time.Second,
			OneVoice: 0, Near: 0.9, Most: 4,
		},
		Passive: PassivePolicy{
			Calls: 2, Net: 30 * time.Second, CallNet: 10 * time.Second, CoolingOff: day,
			Keep: 180 * day, Conflicts: 2,
		},
		Adaptation: AdaptationPolicy{
			LLR: 6.9, Net: 10 * time.Second, Weight: 0.1, Every: day, Floor: 0.75,
			Age: 3 * 365 * day, Idle: 2 * 365 * day, Fall: 0.1,
		},
	}
}

// WithDefaults sets what is zero and refuses what cannot be meant.
func (p Policy) WithDefaults() (Policy, error) {
	d := DefaultPolicy()
	e, a, b := &p.Explicit, &p.Passive, &p.Adaptation
	for _, v := range []struct{ to, instead *time.Duration }{
		{&e.Least, &d.Explicit.Least}, {&e.Recommended, &d.Explicit.Recommended}, {&e.Chunk, &d.Explicit.Chunk},
		{&a.Net, &d.Passive.Net}, {&a.CallNet, &d.Passive.CallNet}, {&a.CoolingOff, &d.Passive.CoolingOff}, {&a.Keep, &d.Passive.Keep},
		{&b.Net, &d.Adaptation.Net}, {&b.Every, &d.Adaptation.Every}, {&b.Age, &d.Adaptation.Age}, {&b.Idle, &d.Adaptation.Idle},
	} {
		if *v.to == 0 {
			*v.to = *v.instead
		}
		if *v.to < 0 {
			return p, fmt.Errorf("enrol: a time of %v; times are not negative", *v.to)
		}
	}
	for _, v := range []struct{ to, instead *float64 }{
		{&e.OneVoice, &d.Explicit.OneVoice}, {&e.Near, &d.Explicit.Near}, {&p.Agree, &d.Agree},
		{&b.LLR, &d.Adaptation.LLR}, {&b.Weight, &d.Adaptation.Weight}, {&b.Floor, &d.Adaptation.Floor}, {&b.Fall, &d.Adaptation.Fall},
	} {
		if *v.to == 0 {
			*v.to = *v.instead
		}
		if math.IsNaN(*v.to) || math.IsInf(*v.to, 0) {
			return p, fmt.Errorf("enrol: a limit of %v; limits are numbers", *v.to)
		}
	}
	for _, v := range []struct{ to, instead *int }{
		{&e.Most, &d.Explicit.Most}, {&a.Calls, &d.Passive.Calls}, {&a.Conflicts, &d.Passive.Conflicts},
	} {
		if *v.to == 0 {
			*v.to = *v.instead
		}
		if *v.to < 1 || *v.to > mostCandidates {
			return p, fmt.Errorf("enrol: a count of %d; counts lie between 1 and %d", *v.to, mostCandidates)
		}
	}
	switch {
	case e.Recommended < e.Least:
		return p, fmt.Errorf("enrol: %v of speech recommended, %v needed; what is recommended is not less", e.Recommended, e.Least)
	case e.Chunk < 3*time.Second || e.Chunk > e.Least:
		return p, fmt.Errorf("enrol: chunks of %v; they last from 3 s to what is needed, %v", e.Chunk, e.Least)
	case a.Keep <= a.CoolingOff:
		return p, fmt.Errorf("enrol: calls are kept for %v, the time of cooling off is %v; it would never be over", a.Keep, a.CoolingOff)
	case a.Net > mostCandidates*a.CallNet:
		return p, fmt.Errorf("enrol: %v of speech out of at most %d calls, which may have %v only; ask for more of each", a.Net, mostCandidates, a.CallNet)
	case e.OneVoice < 0 || p.Agree <= 0 || b.LLR <= 0:
		return p, fmt.Errorf("enrol: evidence of %v, %v and %v for one voice; it lies above 0", e.OneVoice, p.Agree, b.LLR)
	case e.Near >= 1 || b.Floor <= 0 || b.Floor >= 1 || b.Fall <= 0 || b.Fall >= 1:
		return p, fmt.Errorf("enrol: cosines of %v and %v, a fall of %v; they lie between 0 and 1", e.Near, b.Floor, b.Fall)
	case b.Weight <= 0 || b.Weight > 0.5:
		return p, fmt.Errorf("enrol: a new voice's weight of %v; it lies above 0 and is at most 0.5", b.Weight)
	}
	return p, nil
}
