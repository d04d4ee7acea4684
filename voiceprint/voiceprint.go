// Package voiceprint recognises callers by their voices: whether who speaks is the
// person that was enrolled, decided from free speech within seconds, with the
// evidence and the reasons for each decision.
//
// The way of the audio: net speech of the customer's leg at 16 kHz ► Embedder (a
// unit vector) ► Scorer (log-likelihood ratio in nats, calibrated for net seconds)
// ► Verifier (a sequential decision under the error rates that were asked for).
// Quality gates and signs of spoofing stand beside the score and never in it.
package voiceprint

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Rate is the sample rate of all speech here, in Hz.
const Rate = 16000

// Embedding is a voice as a model sees it: a vector of unit length, in a space where
// the cosine of two tells voices apart. Vectors of different models cannot be compared.
type Embedding []float32

// Model names what made an embedding.
type Model struct {
	// ID is the network, its weights and the space that its vectors are laid out in
	// (centring, channel compensation), such as "campplus-zh-en-92f29b94/1"; a change
	// of any is another model.
	ID string
	// Dim is the length of its embeddings.
	Dim int
}

// Embedder makes an embedding of net speech: mono, 16 kHz, full scale at ±1. It is
// safe for concurrent use and keeps nothing of the samples.
type Embedder interface {
	Model() Model
	Embed(samples []float32) (Embedding, error)
}

// ErrTooShort is in the chain of errors about less speech than a model can embed.
var ErrTooShort = errors.New("too little speech")

// Unit makes v a vector of unit length and reports whether it could: a vector of
// zeros, or one that is not finite, has no direction.
func Unit(v []float32) bool {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if !(sum > 0) || math.IsInf(sum, 0) {
		return false
	}
	by := float32(1 / math.Sqrt(sum))
	for i := range v {
		v[i] *= by
	}
	return true
}

// Cosine is the inner product of two unit vectors of one length, from -1 to 1.
func Cosine(a, b Embedding) float64 {
	var sum float64
	for i, x := range a {
		sum += float64(x) * float64(b[i])
	}
	return sum
}

// Scorer weighs evidence. It is immutable and safe for concurrent use.
type Scorer interface {
	// Info says by what it weighs.
	Info() Info
	// LLR is the logarithm of how much likelier it is that one person spoke both
	// than that two did, in nats: enrolled are the templates of one person, and
	// net is how much speech test was made of.
	LLR(enrolled []Embedding, test Embedding, net time.Duration) (float64, error)
	// Threshold is the LLR from which on a sequential decision accepts for at most
	// the given share of impostors, and what that costs.
	Threshold(far float64) (Operating, error)
}

// Info names the model whose embeddings are weighed and the parameters that do it.
type Info struct {
	Model Model
	// Calibration is the version of the parameters, Trained what they come from, in
	// words.
	Calibration, Trained string
}

// Operating is a point at which decisions are made.
type Operating struct {
	// FAR is the share of impostors that is accepted, FRR that of true callers that
	// is not, both of the sequential decision as a whole, measured.
	FAR, FRR float64
	// LLR is the threshold in nats, up to FallFrom of net speech. For more it falls by
	// the power Fall of the speech, see Accept; 0: it does not.
	LLR, Fall float64
}

// FallFrom is the net speech up to which a threshold does not fall.
const FallFrom = 2 * time.Second

// Accept is the threshold for net speech, in nats. Voices that are mistaken for one
// another are so in short stretches, while the evidence of a long one is rarely wrong
// and not always great: one threshold for all would spend most of the errors that are
// allowed on the first looks, and turn true callers away at the last.
func (o Operating) Accept(net time.Duration) float64 {
	if net <= FallFrom || o.Fall == 0 {
		return o.LLR
	}
	return o.LLR * math.Pow(FallFrom.Seconds()/net.Seconds(), o.Fall)
}

// ErrModel is in the chain of errors about embeddings of another model.
var ErrModel = errors.New("of another model")

// Outcome is what is known of the voice.
type Outcome int

// The outcomes. None of them says why: Decision has reasons.
const (
	// Inconclusive: it cannot be told, or not yet.
	Inconclusive Outcome = iota
	Match
	Mismatch
)

// String returns "inconclusive", "match" or "mismatch".
func (o Outcome) String() string {
	switch o {
	case Match:
		return "match"
	case Mismatch:
		return "mismatch"
	default:
		return "inconclusive"
	}
}

// ParseOutcome reads what String has written.
func ParseOutcome(s string) (Outcome, error) {
	for _, o := range []Outcome{Inconclusive, Match, Mismatch} {
		if o.String() == s {
			return o, nil
		}
	}
	return Inconclusive, fmt.Errorf("voiceprint: %q is no outcome: match, mismatch or inconclusive", s)
}

// Reason says why a decision is what it is, or what it could not rest on.
type Reason string

// The reasons.
const (
	// Of nobody to compare with.
	NotEnrolled Reason = "not_enrolled"
	NoConsent   Reason = "no_consent"
	OptedOut    Reason = "opted_out"
	Expired     Reason = "expired"
	OtherModel  Reason = "other_model"
	// Of the audio.
	TooLittle     Reason = "too_little_speech"
	Noise         Reason = "noise"
	Clipping      Reason = "clipping"
	Quiet         Reason = "too_quiet"
	Narrow        Reason = "narrow_band"
	Reverberant   Reason = "reverberation"
	Music         Reason = "music"
	SeveralVoices Reason = "several_speakers"
	// Of the comparison.
	Between      Reason = "between_thresholds"
	VoiceChanged Reason = "voice_changed"
	// OtherChannel: the line is unlike those of the enrolment.
	OtherChannel Reason = "other_channel"
	// SpoofSuspected: the policy lets a sign of spoofing veto.
	SpoofSuspected Reason = "spoof_suspected"
)

// Quality is what was measured of the audio that an answer rests on. Values that
// could not be measured are NaN.
type Quality struct {
	// Net is how much speech there is.
	Net time.Duration
	// SNR is the ratio of speech to what lies beneath it, in dB; Level the mean
	// power of speech, in dB of full scale.
	SNR, Level float64
	// Clipped is the share of speech samples that stand at the limit.
	Clipped float64
	// Edge is the upper edge of the band that is in use, in Hz.
	Edge float64
	// Reverberation is how long sound takes to fade by 60 dB, in seconds.
	Reverberation float64
	// Music is the probability that there is music.
	Music float64
	// Unlike is how unlike the most unlike two stretches of the speech are: 0 one
	// voice, 1 surely two.
	Unlike float64
}

// Decision is an answer and all that it rests on, without any of the voice.
type Decision struct {
	Outcome Outcome
	Reasons []Reason
	// LLR is the evidence in nats. Accept and Reject are the thresholds.
	LLR            float64
	Accept, Reject float64
	// FAR is what Accept was chosen for.
	FAR float64
	// Net is the speech that was weighed, At the end of it on the leg's clock, in
	// samples of Rate.
	Net time.Duration
	At  int64
	// Scores counts the looks so far; Final says that no more is to come.
	Scores  int
	Final   bool
	Quality Quality
	Info    Info
}
