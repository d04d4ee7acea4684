package recording

import "math"

const (
	left, right = 0, 1
	// window is how many samples of each side may wait to be complete, at 16 kHz.
	window = 32000
	// block is how many are encoded at once: 250 ms.
	block = 4000
	// maxLag is how far the slowest leg may be behind before the others no longer
	// wait for it. With a block and a segment it makes up the 2 s that a crash may
	// cost.
	maxLag = 12000
	// hold is how much waits in any case, so that a pause silences also what has
	// come in shortly before, where a leg's clock is ahead.
	hold = 4000
)

// span is a time on the call's clock, in samples.
type span struct{ from, to int64 }

// mixer puts what legs bring into its place. The samples from done to done+window
// are in the making.
type mixer struct {
	ring [2][window]int16
	done int64
}

// place adds samples that begin at pos to a side, and returns how many came too
// late. What would lie behind the window must not come: take makes room.
func (m *mixer) place(side int, pos int64, samples []int16) (late int) {
	if pos < m.done {
		late = int(min(m.done-pos, int64(len(samples))))
		samples, pos = samples[late:], pos+int64(late)
	}
	ring := &m.ring[side]
	at := int(pos % window)
	for _, v := range samples {
		sum := int32(ring[at]) + int32(v)
		ring[at] = int16(max(math.MinInt16, min(math.MaxInt16, sum)))
		if at++; at == window {
			at = 0
		}
	}
	return late
}

// take moves the next len(dst[0]) samples of both sides into dst; those in a span
// of paused are silence.
func (m *mixer) take(dst *[2][]int16, paused []span) {
	n := len(dst[left])
	for side := range dst {
		at := int(m.done % window)
		for out := dst[side]; len(out) > 0; {
			part := m.ring[side][at:min(window, at+len(out))]
			copy(out, part)
			clear(part)
			out, at = out[len(part):], 0
		}
	}
	mute(dst, m.done, 1, paused)
	m.done += int64(n)
}

// mute silences what lies in a span; dst begins at start, one of its samples
// stands for step of the spans'.
func mute(dst *[2][]int16, start, step int64, paused []span) {
	n := int64(len(dst[left]))
	for _, p := range paused {
		from := max(0, min(n, floorDiv(p.from-start, step)))
		to := max(from, min(n, ceilDiv(p.to-start, step)))
		clear(dst[left][from:to])
		clear(dst[right][from:to])
	}
}

// floorDiv and ceilDiv divide by a positive number.
func floorDiv(a, b int64) int64 {
	if a < 0 {
		return -((-a + b - 1) / b)
	}
	return a / b
}

func ceilDiv(a, b int64) int64 { return -floorDiv(-a, b) }
