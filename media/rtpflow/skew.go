package rtpflow

import (
	"slices"
	"time"
)

const (
	skewWindow = 10 * time.Second
	skewPoints = 32
	// skewLeast is how many points there must be: a minute of them.
	skewLeast = 6
)

// skew compares the sender's clock with the arrivals'. The packet that was held
// up least in each ten seconds makes a point; the slope is the median of those
// between any two of the last points (Theil and Sen), which a few windows that
// had no quick packet cannot move.
type skew struct {
	begun, window time.Time
	least, at     float64 // the quickest packet of the window: transit and arrival, in seconds
	points        [skewPoints][2]float64
	n             int // how many points there have been
	ppm           float64
	known         bool
}

// restart begins anew after the sender's clock was set. What is known stays.
func (s *skew) restart() { s.begun, s.n = time.Time{}, 0 }

// add takes a packet of media that was sampled at stamp, in seconds since the
// anchor.
func (s *skew) add(stamp float64, now time.Time) {
	if s.begun.IsZero() {
		s.begun, s.window = now, now
		s.at, s.least = 0, -stamp
		return
	}
	at := now.Sub(s.begun).Seconds()
	transit := at - stamp
	if now.Sub(s.window) < skewWindow {
		if transit < s.least {
			s.at, s.least = at, transit
		}
		return
	}
	s.points[s.n%skewPoints] = [2]float64{s.at, s.least}
	s.n++
	s.window, s.at, s.least = now, at, transit
	if s.n >= skewLeast {
		s.ppm, s.known = -s.slope()*1e6, true
	}
}

// slope is the median slope between any two points.
func (s *skew) slope() float64 {
	var all [skewPoints * (skewPoints - 1) / 2]float64
	k := 0
	for i := range min(s.n, skewPoints) {
		for j := range i {
			if d := s.points[i][0] - s.points[j][0]; d != 0 {
				all[k] = (s.points[i][1] - s.points[j][1]) / d
				k++
			}
		}
	}
	if k == 0 {
		return 0
	}
	slices.Sort(all[:k])
	return all[k/2]
}
