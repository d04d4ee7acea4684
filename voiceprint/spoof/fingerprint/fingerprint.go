// Package fingerprint recognises a recording that is heard again: nobody says a
// sentence twice in the same way, so speech that agrees with earlier speech for
// seconds, in every band and at every moment, is that earlier speech played.
//
// The method is that of Haitsma and Kalker (A highly robust audio fingerprinting
// system, ISMIR 2002), bent to the telephone. Every 20 ms one word of 32 bits says
// for 32 neighbouring pairs of bands between 300 and 3400 Hz whether the upper one
// has gained on the lower one within the last 100 ms. Energies are logarithms, so a
// handset's response and its level fall out; the windows are long (256 ms), so that
// neither a lost packet nor the codec's own frames matter. Two prints are the same
// audio where few bits differ for two seconds or more.
//
// A second of speech makes 200 bytes. They hold no levels, no fine structure and
// nothing faster than the window: speech cannot be played back from them. They are
// not anonymous: who has a recording can prove by its print that it was heard, a
// text can be tested against them by who has that very recording of it, and models
// might be trained that guess at sounds and pitch. Keep and erase prints as
// templates are kept and erased.
//
// Measured by TestFingerprintTable on telephone recordings. Of excerpts of 3, 5 and
// 10 s through another handset all were found after GSM, AMR 12.2, 5.9 and 4.75,
// G.729, Speex 8 kbit/s, 5 % loss, 20 dB less and up to 2 % more speed (54 to 160 of
// 3 s each), 346 of 352 of 3 s and all longer ones in babble or noise at 15 dB, 159 of
// 160 in white noise at 10 dB. Of 3915 pairs of recordings of different speakers and
// 88 pairs of one speaker saying other things none was taken for the same: in their
// most alike two seconds 35 % of the bits differ, one third is the limit. No speaker
// at hand reads one sentence twice.
//
// What it cannot see: new speech in a copied voice, a recording cut into pieces of
// less than two seconds or played 4 % faster (6 of 54 excerpts of 3 s were found)
// and a recording that was never heard here. What it sees and is no attack:
// announcements and hold music on the caller's line, and the agent's own side coming
// back as echo, so speech is not to be marked as such while the other side plays a
// prompt; and one call that reaches the service by two ways, which is to be added
// under one name.
package fingerprint

import (
	"fmt"
	"math"
	"time"

	"sidetone/internal/dsp"
	"sidetone/internal/pcm"
)

const (
	// Step is the time from one word of a print to the next.
	Step = pcm.FrameDuration

	window = 4096
	// frames is how many frames a window touches, mostSpeech of how many of them must
	// be speech and mostLost of how many may be missing.
	frames     = (window + pcm.FrameSamples - 1) / pcm.FrameSamples
	mostSpeech = 8
	mostLost   = 4

	bits  = 32
	bands = bits + 1
	low   = 300.0
	high  = 3400.0
	// back is how many steps apart energies are compared: within neighbouring
	// windows too little changes to survive a codec.
	back = 5
	// still is a mean change of energies, in nats, that speech exceeds: steady tones
	// are all alike.
	still = 0.1
)

// Gap is the word of a moment without speech.
const Gap uint32 = 0

// Print is the fingerprint of one leg, one word a Step from the leg's beginning.
type Print []uint32

// Duration is how much audio the print spans. A word stands for the window that
// ends with its Step.
func (p Print) Duration() time.Duration { return time.Duration(len(p)) * Step }

// Speech is how much of it is speech.
func (p Print) Speech() time.Duration {
	n := 0
	for _, w := range p {
		if w != Gap {
			n++
		}
	}
	return time.Duration(n) * Step
}

// DefaultLimit is how much of a leg is kept.
const DefaultLimit = 10 * time.Minute

// Recorder makes the print of one leg. It is not safe for concurrent use.
type Recorder struct {
	spectrum *dsp.Spectrum
	edges    [bands + 1]int
	samples  []float32
	power    []float32
	// energies are the logarithmic ones of the latest steps, by step modulo their
	// number; speech and lost have one bit a frame, the latest lowest.
	energies     [back + 1][bands]float32
	speech, lost uint32
	steps        int
	print        Print
}

// NewRecorder makes one that keeps the first limit of a leg; 0 means DefaultLimit.
// All its memory is taken here.
func NewRecorder(limit time.Duration) (*Recorder, error) {
	if limit == 0 {
		limit = DefaultLimit
	}
	if limit < MinStretch {
		return nil, fmt.Errorf("fingerprint: a limit of %v holds no stretch that could be recognised, at least %v are needed", limit, MinStretch)
	}
	s, err := dsp.NewSpectrum(window)
	if err != nil {
		return nil, fmt.Errorf("fingerprint: %w", err)
	}
	r := &Recorder{
		spectrum: s, samples: make([]float32, window), power: make([]float32, s.Bins()),
		print: make(Print, 0, limit/Step),
	}
	for i := range r.edges {
		hz := low * math.Pow(high/low, float64(i)/bands)
		r.edges[i] = int(math.Round(hz * window / pcm.Rate))
	}
	return r, nil
}

// Hear takes the next frame; speech is what the voice activity detector says of it.
// Frames come in order and without holes: a hole is heard as frames marked Lost.
// Beyond the limit frames are not heard.
func (r *Recorder) Hear(f *pcm.Frame, speech bool) {
	if len(r.print) == cap(r.print) {
		return
	}
	r.speech, r.lost = r.speech<<1, r.lost<<1
	if speech {
		r.speech |= 1
	}
	if f.Flags&(pcm.Lost|pcm.Inserted) != 0 {
		r.lost |= 1
	}
	copy(r.samples, r.samples[pcm.FrameSamples:])
	for i, x := range f.Samples {
		r.samples[window-pcm.FrameSamples+i] = float32(x)
	}
	r.print = append(r.print, r.word())
	r.steps++
}

func (r *Recorder) word() uint32 {
	const seen = 1<<frames - 1
	now := &r.energies[r.steps%(back+1)]
	if r.speech&seen == 0 {
		// Long silences cost nothing; what is compared with them is no speech either.
		*now = [bands]float32{}
		return Gap
	}
	r.spectrum.Power(r.power, r.samples)
	for i := range now {
		sum := float32(1)
		for _, p := range r.power[r.edges[i]:r.edges[i+1]] {
			sum += p
		}
		now[i] = float32(math.Log(float64(sum)))
	}
	if ones(r.speech&seen) < mostSpeech || ones(r.lost&seen) > mostLost || r.steps < frames+back {
		return Gap
	}
	then := &r.energies[(r.steps+1)%(back+1)]
	var w uint32
	var moved float32
	for i := range bits {
		d := (now[i+1] - now[i]) - (then[i+1] - then[i])
		if d > 0 {
			w |= 1 << i
		}
		moved += max(d, -d)
	}
	if moved < bits*still {
		return Gap
	}
	if w == Gap {
		return 1
	}
	return w
}

// Print is what was heard so far. It is valid until Reset and grows in place.
func (r *Recorder) Print() Print { return r.print }

// Reset begins a new leg.
func (r *Recorder) Reset() {
	clear(r.samples)
	r.speech, r.lost, r.steps, r.print = 0, 0, 0, r.print[:0]
}
