// Package level measures how loud a leg is: the level of what is said, the
// peak, and whether samples are cut off at the converter's limit.
//
// The level is that of active speech in the sense of ITU-T P.56, method B: the
// mean power of the frames that lie above a threshold, which is itself 15.9 dB
// below that mean. Pauses so do not lower it, however long they are.
//
// Decibels are relative to full scale, that is to the power of a square wave
// which reaches it.
package level

import (
	"math"

	"sidetone/media"
)

const (
	// limit is the magnitude from which on a sample may be cut off: a little
	// below what the codecs reach (32124 for PCMU, 32256 for PCMA).
	limit = 32100
	// bins are the levels from 0 to -100 dBFS, one decibel each; frames below
	// quietest are no speech on any line.
	bins     = 100
	quietest = 70
	// margin is P.56's, between the level and the threshold.
	margin    = 15.9
	fullScale = 32768
)

// Meter is the state of one leg. Its zero value is ready; it is for one
// goroutine and allocates nothing.
type Meter struct {
	count  [bins]uint64
	energy [bins]float64 // sums of the frames' mean squares
	peak   int
	// run counts the samples in a row at the limit, below zero for negative
	// ones.
	run     int
	clipped uint64
}

// Add measures one frame.
func (m *Meter) Add(frame []int16) {
	var sum int64
	peak, run := 0, m.run
	for _, s := range frame {
		v := int(s)
		sum += int64(v * v)
		peak = max(peak, v, -v)
		switch {
		case v >= limit:
			run = max(run, 0) + 1
		case v <= -limit:
			run = min(run, 0) - 1
		default:
			run = 0
			continue
		}
		// One sample at the limit is a peak that just fits; two in a row are
		// cut off.
		switch {
		case run == 2 || run == -2:
			m.clipped += 2
		case run > 2 || run < -2:
			m.clipped++
		}
	}
	m.run = run
	m.peak = max(m.peak, peak)
	if sum == 0 {
		return
	}
	mean := float64(sum) / float64(len(frame))
	if bin := int(-10 * math.Log10(mean/(fullScale*fullScale))); bin < bins {
		m.count[bin]++
		m.energy[bin] += mean
	}
}

// Fill writes what was measured to a leg's statistics.
func (m *Meter) Fill(q *media.Quality) {
	q.Clipped = m.clipped
	q.Peak, q.Level, q.SpeechFrames = 0, 0, 0
	if m.peak > 0 {
		q.Peak = 20 * math.Log10(float64(m.peak)/fullScale)
	}
	var energy float64
	var n uint64
	// The threshold falls from full scale; the mean above it falls more slowly.
	threshold := 1.0 * fullScale * fullScale
	step, apart := math.Pow(10, -0.1), math.Pow(10, margin/10)
	for bin := range quietest {
		threshold *= step
		energy += m.energy[bin]
		n += m.count[bin]
		if n > 0 && energy/float64(n) >= threshold*apart {
			break
		}
	}
	if n > 0 {
		q.SpeechFrames = n
		q.Level = 10 * math.Log10(energy/float64(n)/(fullScale*fullScale))
	}
}
