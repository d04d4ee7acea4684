package spoof

import (
	"fmt"

	"sidetone/voiceprint/spoof/fingerprint"
)

// The signs.
const (
	// Repeated: the caller says, sample for sample, what was heard from the same
	// person in an earlier call; RepeatedElsewhere: what was heard in calls of others.
	Repeated          Name = "repeated_audio"
	RepeatedElsewhere Name = "repeated_audio_elsewhere"
	// EnrolmentReplayed: the caller says what the person was enrolled with.
	EnrolmentReplayed Name = "enrolment_replayed"
	// Loudspeaker: the sound has been in a room with a loudspeaker, or the caller
	// speaks hands-free: both smear what a mouth at the handset does.
	Loudspeaker Name = "loudspeaker"
	// Synthetic: the spectrum moves as it does in synthetic speech.
	Synthetic Name = "synthetic_speech"
)

// Names are all signs.
func Names() []Name {
	return []Name{Repeated, RepeatedElsewhere, EnrolmentReplayed, Loudspeaker, Synthetic}
}

// same is the sign of a stretch that was heard before. Its evidence grows with its
// length and falls with its errors; at fingerprint.MaxErrors for MinStretch, which
// no two different recordings have reached, it is told but does not act.
func same(n Name, s fingerprint.Stretch, evidence string) Sign {
	llr := 60*(0.40-s.Errors) + (s.Length - fingerprint.MinStretch).Seconds()
	return Sign{Name: n, Strength: s.Length.Seconds(), Probability: logistic(llr), Evidence: evidence}
}

// mostLLR is the most that a cue may say, in nats: there were a few hundred
// recordings to learn from.
const mostLLR = 5

// weights make evidence in nats of measures.
type weights struct {
	by   []float64
	bias float64
}

func (w weights) llr(x []float64) float64 {
	sum := w.bias
	for i, b := range w.by {
		sum += b * x[i]
	}
	return max(-mostLLR, min(mostLLR, sum))
}

// Cues is the evidence of what was measured so far, and the names of those that too
// little was heard for.
func (m *Meter) Cues() (cues []Cue, unchecked []Name) {
	x, ok := m.measure()
	if !ok {
		return nil, []Name{Loudspeaker, Synthetic}
	}
	room, voice := loudspeaker().llr(x.room[:]), synthetic().llr(x.change[:])
	return []Cue{
		{Name: Loudspeaker, LLR: room, Evidence: fmt.Sprintf(
			"%.1f s of speech: lean of the waveform ±%.2f, its peaks ±%.2f, changes uneven by %.2f, rises over falls %+.2f",
			m.Speech().Seconds(), x.room[1], x.room[2], x.room[0], x.room[3])},
		{Name: Synthetic, LLR: voice, Evidence: fmt.Sprintf(
			"%.1f s of speech: the spectrum's shape moves in 20 ms by %.2f, %.2f, %.2f … (logarithms, coarse to fine)",
			m.Speech().Seconds(), x.change[0], x.change[1], x.change[2])},
	}, nil
}
