package quality

import "math"

const (
	// A fall is measured over 60 ms in each of fallBands bands.
	fallFrames = 3
	fallBands  = 7
	// near is how far below the band's recent peaks a fall may begin, in dB, and
	// forget how much these sink with each frame.
	near, forget = 15, 0.1
	// fewFalls is how many it takes.
	fewFalls = 150
	// steep is the share of falls, and of rises, that are less steep than the one
	// that is taken.
	steep = 0.9
	// A room slows falls and leaves rises; noise flattens both. From a time of slow
	// on, rises must be steeper than falls by a factor of lopsided.
	slow, lopsided = 0.4, 1.15
)

// falls measures how fast sound fades in bands: no faster than the room lets it
// (decay rates as in Ratnam et al., 2003; their distribution over bands as in Wen et
// al., 2008). It is a coarse measure.
type falls struct {
	falls, rises histogram
	peak         [fallBands]float64
	past         [fallFrames][fallBands]float64
	// run is how many frames follow each other.
	run int
	any bool
}

// fallEdges are the lines between the bands: narrow below, wide above.
func fallEdges() [fallBands + 1]int { return [...]int{8, 16, 26, 38, 52, 70, 90, 110} }

func (f *falls) breakOff() { f.run = 0 }

func (f *falls) add(power *[window/2 + 1]float32) {
	edges := fallEdges()
	slot := &f.past[f.run%fallFrames]
	for b := range fallBands {
		e := float32(1e-12)
		for _, p := range power[edges[b]:edges[b+1]] {
			e += p
		}
		now := decibels(float64(e))
		if !f.any {
			f.peak[b] = now
		}
		if was := slot[b]; f.run >= fallFrames {
			if was > f.peak[b]-near {
				f.falls.add(was - now)
			}
			if now > f.peak[b]-near {
				f.rises.add(now - was)
			}
		}
		slot[b] = now
		f.peak[b] = max(f.peak[b]-forget, now)
	}
	f.run++
	f.any = true
}

// seconds is how long sound takes to fade by 60 dB: right within a factor of two
// where the direct sound is not much louder than the room's, from 0.2 s on. Where
// noise hides it, it is NaN.
func (f *falls) seconds() float64 {
	if f.falls.n < fewFalls || f.rises.n < fewFalls {
		return math.NaN()
	}
	fall, rise := f.falls.quantile(steep), f.rises.quantile(steep)
	s := secondsOf().at(fall)
	if s > slow && rise < lopsided*fall {
		return math.NaN()
	}
	return s
}

// secondsOf gives the time for the fall over 60 ms that one in ten is steeper than:
// medians over clean speech in simulated rooms.
func secondsOf() curve {
	return curve{{5.9, 1.5}, {6.8, 1}, {7.7, 0.7}, {9.4, 0.45}, {11.2, 0.3}, {13.2, 0.2}, {16.7, 0.1}}
}
