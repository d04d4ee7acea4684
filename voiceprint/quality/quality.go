// Package quality measures whether the audio of a leg can carry a decision about a
// voice: how much speech there is, what lies beneath it, what the line has done to
// it, and whether it is one person's.
//
// A Meter hears frames and keeps counts and sums, nothing from which the audio could
// be told. Voices compares embeddings of successive stretches. Rules turn the
// measures into reasons. All of it is pure; none is safe for concurrent use.
//
// The measures are made for what a telephone carries and for speech whose pauses may
// have been cut out, so none of them needs pauses. How far each can be trusted is
// said at its function; the tests print what they find on the evaluation data.
package quality

import (
	"fmt"
	"math"
	"time"

	"sidetone/internal/dsp"
	"sidetone/internal/pcm"
	"sidetone/voiceprint"
)

const (
	// window is the length of a spectrum in samples, 32 ms; one is taken each frame.
	window = 512
	// binHz is the distance of its lines.
	binHz = float64(pcm.Rate) / window
	// bandLow and bandHigh are the lines from 250 to 3400 Hz, the telephone's band:
	// what lies outside says nothing on most lines.
	bandLow, bandHigh = 8, 109
	// gain makes the lines of a spectrum add up to the mean square at full scale ±1: a
	// Hann window keeps 3/8 of the power, and each line stands for two.
	gain = 0.0045105 / 32768
	// fewFrames is how many frames a measure takes at least: one second.
	fewFrames = 50
)

// Meter measures one leg. Add allocates nothing.
type Meter struct {
	spectrum *dsp.Spectrum
	latest   [window]float32
	// filled is how many of the latest samples are there, next where the frame that
	// follows them begins.
	filled int
	next   int64
	power  [window/2 + 1]float32

	frames int64
	level  levels
	clip   clipping
	noise  noise
	edge   edge
	fall   falls
	tone   tones
	music  music
}

// NewMeter makes one that has heard nothing.
func NewMeter() (*Meter, error) {
	s, err := dsp.NewSpectrum(window)
	if err != nil {
		return nil, fmt.Errorf("quality: %w", err)
	}
	return &Meter{spectrum: s}, nil
}

// Reset forgets all that was heard.
func (m *Meter) Reset() { *m = Meter{spectrum: m.spectrum} }

// Add hears the next frame of the leg. Speech says whether somebody speaks in it.
// It reports whether the frame counts as speech: concealed and inserted audio does
// not, nor do digits and the network's tones.
//
// Frames without speech may be left out. They are not measured, but the frame after
// them is measured more exactly.
func (m *Meter) Add(f *pcm.Frame, speech bool) bool {
	if f.Flags != 0 || f.Start != m.next {
		m.breakOff()
	}
	m.next = f.End()
	if f.Flags != 0 {
		return false
	}
	copy(m.latest[:], m.latest[pcm.FrameSamples:])
	for i, s := range f.Samples {
		m.latest[window-pcm.FrameSamples+i] = gain * float32(s)
	}
	m.filled = min(window, m.filled+pcm.FrameSamples)
	whole := m.filled == window
	if whole {
		m.spectrum.Power(m.power[:], m.latest[:])
	}
	tone := whole && m.tone.heard(&m.power)
	if !speech || tone {
		m.fall.breakOff()
		m.music.breakOff()
		return false
	}
	m.frames++
	m.level.add(&f.Samples)
	m.clip.add(&f.Samples)
	if whole {
		m.noise.add(&m.power)
		m.edge.add(&m.power)
		m.fall.add(&m.power)
		m.music.add(&m.power)
	}
	return true
}

// breakOff is called where the audio is not continuous.
func (m *Meter) breakOff() {
	m.filled = 0
	m.tone.breakOff()
	m.fall.breakOff()
	m.music.breakOff()
}

// Quality is what was measured since the beginning or the last Reset. Unlike is NaN:
// it is Voices' to say.
func (m *Meter) Quality() voiceprint.Quality {
	return voiceprint.Quality{
		Net:           time.Duration(m.frames) * pcm.FrameDuration,
		SNR:           m.noise.snr(),
		Level:         m.level.level(),
		Clipped:       m.clip.share(),
		Edge:          m.edge.hz(),
		Reverberation: m.fall.seconds(),
		Music:         m.music.probability(),
		Unlike:        math.NaN(),
	}
}

// levels sums the power of speech.
type levels struct {
	sum float64
	n   int64
}

func (l *levels) add(x *[pcm.FrameSamples]int16) {
	var sum int64
	for _, s := range x {
		sum += int64(s) * int64(s)
	}
	l.sum += float64(sum)
	l.n += pcm.FrameSamples
}

func (l *levels) level() float64 {
	if l.n == 0 || l.sum == 0 {
		return math.NaN()
	}
	return decibels(l.sum / float64(l.n) / (32768 * 32768))
}

func decibels(power float64) float64 { return 10 * math.Log10(power) }
