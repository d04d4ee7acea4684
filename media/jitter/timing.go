package jitter

import "time"

// timing learns when packets are due from when they came.
//
// A packet's transit is its arrival less its position, both counted from the
// first packet. The least transit of the last five to ten seconds stands for a
// packet that nothing held up: it follows the sender's clock where that drifts,
// and the network where its delay changes. What a packet came later than that
// is its lateness.
type timing struct {
	minDepth, maxDepth time.Duration

	begun        time.Time // arrival of the first packet
	least, prior time.Duration
	window       time.Time // when the window of least began
	// origin is the least transit that the leg's clock is held against. It is
	// found in the first window, since the first packet may have been late.
	origin  time.Duration
	settled bool
	peak    time.Duration // lateness seen, forgotten slowly
	last    time.Time
}

const windowLength = 5 * time.Second

func (t *timing) started() bool { return !t.begun.IsZero() }

func (t *timing) start(now time.Time) {
	t.begun, t.window, t.last = now, now, now
}

// best is the transit of a packet that nothing held up.
func (t *timing) best() time.Duration { return min(t.least, t.prior) }

// due is when a packet at pos has to be here to be on time.
func (t *timing) due(pos time.Duration) time.Time { return t.begun.Add(pos + t.best()) }

// position is the position of a packet that arrives at now on time.
func (t *timing) position(now time.Time) time.Duration { return now.Sub(t.begun) - t.best() }

// depth is how long a gap is held open.
func (t *timing) depth() time.Duration {
	return min(t.maxDepth, max(t.minDepth, t.peak+depthMargin))
}

// moved is how far the best transit has moved since the beginning.
func (t *timing) moved() time.Duration {
	if !t.settled {
		return 0
	}
	return t.best() - t.origin
}

// arrived takes note of a packet at pos; newest says that none of the same or a
// later position came before. It reports whether the sender's clock seems to
// have stood still before the packet, in which case timing begins anew with it.
func (t *timing) arrived(pos time.Duration, now time.Time, newest bool) (resync bool) {
	transit := now.Sub(t.begun) - pos
	late := transit - t.best()
	if late > resyncAfter {
		if newest {
			if !t.settled {
				t.origin, t.settled = t.best(), true
			}
			t.least, t.prior, t.window, t.last = transit, transit, now, now
		}
		return newest
	}
	if elapsed := now.Sub(t.last); elapsed > 0 {
		t.peak -= time.Duration(float64(t.peak) * min(1, float64(elapsed)/float64(depthDecay)))
		t.last = now
	}
	t.peak = max(t.peak, min(late, t.maxDepth))
	if age := now.Sub(t.window); age >= windowLength {
		if !t.settled {
			t.origin, t.settled = t.best(), true
		}
		t.prior = t.least
		if age >= 2*windowLength {
			t.prior = transit
		}
		t.least, t.window = transit, now
	}
	t.least = min(t.least, transit)
	return false
}
