package dsp

import (
	"math"
	"slices"
)

const (
	// A band's noise is taken to be over times the energy below which a fifth of
	// its frames lie: pauses and gaps between voiced sounds.
	noiseQuantile = 0.2
	over          = 2
	// leave is the part of a frame's energy that stays at least; taking all of
	// the noise leaves holes that Whisper has never heard.
	leave = 0.3
	// fewFrames are too few to tell noise from speech.
	fewFrames = 10
)

// Subtract takes steady noise off features x[frames][Bands] that Features has
// made: spectral subtraction with oversubtraction and a floor (Berouti et al.,
// 1979), on mel energies, with the noise from their quantiles over the whole of
// x (Stahl et al., 2000). What rises far above the noise stays as it is.
func (m *Mel) Subtract(x []float32) {
	frames := len(x) / m.bands
	if frames < fewFrames {
		return
	}
	if cap(m.levels) < frames {
		m.levels = make([]float32, frames)
	}
	levels := m.levels[:frames]
	level := float32(math.Inf(-1))
	for b := range m.bands {
		for t := range levels {
			levels[t] = x[t*m.bands+b]
		}
		slices.Sort(levels)
		noise := float64(levels[int(noiseQuantile*float64(frames))])
		for t := range levels {
			v := &x[t*m.bands+b]
			// Features are log10(energy)/4 + 1.
			part := over * math.Pow(10, 4*(noise-float64(*v)))
			*v += float32(math.Log10(max(1-part, leave)) / 4)
			level = max(level, *v)
		}
	}
	for i, v := range x {
		x[i] = max(v, level-floorBelow/4)
	}
}
