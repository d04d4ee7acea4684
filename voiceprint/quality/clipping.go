package quality

import (
	"math"
	"math/bits"

	"sidetone/internal/pcm"
)

const (
	// Amplitudes are counted in bins of a 32nd octave-step: 5 bits behind the
	// leading one.
	mantissa   = 5
	amplitudes = (16 - mantissa + 1) << mantissa
	// fewPeaks is how many samples the highest quantile that is looked at needs above it.
	fewPeaks = 40
)

// clipping counts amplitudes. Cut peaks pile up wherever the line has cut them:
// companding, gain and resampling move the pile away from full scale and make tops
// uneven, but the largest amplitudes still lie closer together than speech's do.
type clipping struct {
	count [amplitudes]uint32
	n     int64
}

func (c *clipping) add(x *[pcm.FrameSamples]int16) {
	for _, s := range x {
		c.count[amplitude(s)]++
	}
	c.n += pcm.FrameSamples
}

// amplitude is the bin of a sample.
func amplitude(s int16) int {
	v := uint32(max(int32(s), -int32(s)))
	shift := max(0, bits.Len32(v)-mantissa-1)
	return shift<<mantissa + int(v>>shift)
}

// from is the least amplitude of a bin.
func from(bin int) float64 {
	shift := max(0, bin>>mantissa-1)
	return float64((bin - shift<<mantissa) << shift)
}

// quantile is the amplitude that the given share of samples exceeds, in dB.
func (c *clipping) quantile(share float64) float64 {
	rest := share * float64(c.n)
	for i := amplitudes - 1; i > 0; i-- {
		f := float64(c.count[i])
		if f > 0 && rest <= f {
			low, high := from(i), from(i+1)
			return 20 * math.Log10(high-(high-low)*rest/f)
		}
		rest -= f
	}
	return math.Inf(-1)
}

const (
	// leastShare is the least share of cut samples that is found; most ends the search.
	leastShare, mostShare = 0.005, 0.5
	// Shares are tried in steps of a factor.
	shareStep = 1.1
	// Of the samples that are found, some stand near the limit and are not cut.
	overshoot = 1.3
)

// share is how many of the samples are cut: 0, or some half of a percent and more,
// right within a factor of about 1.5. Gain that changes after the cut hides it.
func (c *clipping) share() float64 {
	if float64(c.n)*leastShare/4 < fewPeaks {
		return math.NaN()
	}
	found := 0.0
	for p := leastShare * overshoot; p < mostShare; p *= shareStep {
		// A quarter of the samples above a quantile of speech lies some dB above it.
		if c.quantile(p/4)-c.quantile(p) < 0.9+0.37*math.Log(p/0.01) {
			found = p
		}
	}
	return found / overshoot
}
