package quality

import (
	"fmt"
	"math"
	"time"

	"sidetone/voiceprint"
)

// Limits are what the audio of a decision must satisfy. What could not be measured
// breaks none of them.
type Limits struct {
	// Net, SNR (dB), Level (dB of full scale) and Edge (Hz) are the least.
	Net              time.Duration
	SNR, Level, Edge float64
	// Clipped (share), Reverberation (seconds to fade by 60 dB), Music and Unlike
	// (both from 0 to 1) are the most.
	Clipped, Reverberation, Music, Unlike float64
}

// Rules are the limits of the two uses of audio. Enrolment's are stricter: what is
// enrolled is compared with for years.
type Rules struct {
	Verification, Enrolment Limits
}

// DefaultRules are what telephone audio that is in order keeps with room to spare.
//
// Of 352 clean, transcoded and 15 dB noisy files of 15 to 30 s none breaks the limits
// of verification, of their stretches of 3 s one does; of clips that are clipped or
// at 0 dB all do. Enrolment also turns down all clips at 5 dB and two of the 352; at
// 3 s it turns down a tenth of those at 15 dB, since so little shows the noise badly.
// They were chosen on the same files, so expect a little more elsewhere.
//
// Verification's Net is the Least of voiceprint.DefaultPolicy, enrolment's the least
// that templates were measured with.
func DefaultRules() Rules {
	return Rules{
		Verification: Limits{
			Net: 2 * time.Second, SNR: 5, Level: -50, Edge: 2000,
			Clipped: 0.01, Reverberation: 1, Music: 0.6, Unlike: 0.9,
		},
		Enrolment: Limits{
			Net: 20 * time.Second, SNR: 12, Level: -42, Edge: 2500,
			Clipped: 0.01, Reverberation: 0.7, Music: 0.45, Unlike: 0.5,
		},
	}
}

// Validate says what is wrong with limits that somebody has written.
func (r Rules) Validate() error {
	for _, l := range []struct {
		use string
		Limits
	}{{"verification", r.Verification}, {"enrolment", r.Enrolment}} {
		for name, v := range map[string]float64{
			"snr": l.SNR, "level": l.Level, "edge": l.Edge, "clipped": l.Clipped,
			"reverberation": l.Reverberation, "music": l.Music, "unlike": l.Unlike,
		} {
			if math.IsNaN(v) {
				return fmt.Errorf("quality: the limit of %s for %s is not a number", name, l.use)
			}
		}
		switch {
		case l.Net < 0:
			return fmt.Errorf("quality: %s asks for %v of speech", l.use, l.Net)
		case l.Level > 0:
			return fmt.Errorf("quality: %s asks for a level of %v dB of full scale; 0 is the most there is", l.use, l.Level)
		case l.Edge < 0 || l.Edge > voiceprint.Rate/2:
			return fmt.Errorf("quality: %s asks for a band up to %v Hz; %v Hz is the most there is", l.use, l.Edge, voiceprint.Rate/2)
		case l.Clipped < 0 || l.Clipped > 1, l.Music < 0 || l.Music > 1, l.Unlike < 0 || l.Unlike > 1:
			return fmt.Errorf("quality: %s has limits of clipping %v, music %v and unlike voices %v; they lie between 0 and 1", l.use, l.Clipped, l.Music, l.Unlike)
		case l.Reverberation <= 0:
			return fmt.Errorf("quality: %s allows for %v s of reverberation; it takes more than 0", l.use, l.Reverberation)
		}
	}
	return nil
}

// Reasons are the limits that the audio breaks, nil if it keeps them all.
func (l Limits) Reasons(q voiceprint.Quality) []voiceprint.Reason {
	var out []voiceprint.Reason
	for _, c := range []struct {
		broken bool
		reason voiceprint.Reason
	}{
		{q.Net < l.Net, voiceprint.TooLittle},
		{q.SNR < l.SNR, voiceprint.Noise},
		{q.Clipped > l.Clipped, voiceprint.Clipping},
		{q.Level < l.Level, voiceprint.Quiet},
		{q.Edge < l.Edge, voiceprint.Narrow},
		{q.Reverberation > l.Reverberation, voiceprint.Reverberant},
		{q.Music > l.Music, voiceprint.Music},
		{q.Unlike > l.Unlike, voiceprint.SeveralVoices},
	} {
		if c.broken {
			out = append(out, c.reason)
		}
	}
	return out
}
