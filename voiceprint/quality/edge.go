package quality

import "math"

const (
	// bandLines is the width of the bands in which the edge is looked for: 250 Hz.
	bandLines = 8
	bands     = window / 2 / bandLines
	// below is how far below the strongest band, in dB, a band is not in use.
	below = 45
)

// edge sums the spectrum of speech.
type edge struct {
	sum [bands]float64
	n   int
}

func (e *edge) add(power *[window/2 + 1]float32) {
	for b := range e.sum {
		var sum float32
		for _, p := range power[1+b*bandLines : 1+(b+1)*bandLines] {
			sum += p
		}
		e.sum[b] += float64(sum)
	}
	e.n++
}

// hz is the upper edge of the band in use, in steps of 250 Hz. Noise of the line
// above the speech counts as use.
func (e *edge) hz() float64 {
	if e.n < fewFrames {
		return math.NaN()
	}
	most := 0.0
	for _, s := range e.sum {
		most = max(most, s)
	}
	limit := most * math.Pow(10, -below/10.0)
	for b := bands - 1; b >= 0; b-- {
		if e.sum[b] > limit {
			return float64(b+1) * bandLines * binHz
		}
	}
	return math.NaN()
}
