package jitter

import "math"

// concealer makes up audio where packets are missing. In the spirit of G.711
// Appendix I it repeats the last pitch period of what was heard and fades it
// out, but it is simpler: it adds no delay, and so bends the beginning of the
// repetition towards the last sample instead of overlapping it with audio that
// was held back.
type concealer struct {
	rate    int
	history []int16 // the newest last
	filled  int     // how much of history is real

	cycle  []float64 // the pitch period that is being repeated
	cycleN int
	at     int // how many samples have been made up since the last real one
	fade   int // after how many of them there is silence
	offset float64
	// tail is audio that comes to an end under the beginning of what follows.
	tail  []int16
	tailN int
}

// Times in units of a fraction of a second.
const (
	historyPart  = 25  // 40 ms of history
	minPitchPart = 400 // 2.5 ms: 400 Hz
	maxPitchPart = 66  // 15 ms: 66 Hz
	templatePart = 100 // 10 ms are compared
	blendPart    = 250 // 4 ms to blend from one thing to another
	holdPart     = 100 // 10 ms before the fade begins
)

func newConcealer(rate int) *concealer {
	return &concealer{
		rate:    rate,
		history: make([]int16, rate/historyPart),
		cycle:   make([]float64, rate/maxPitchPart),
		tail:    make([]int16, rate/blendPart),
	}
}

// real takes a piece of decoded audio, in place: its beginning is blended with
// the end of what was made up before it, or with a tail.
func (c *concealer) real(x []int16) {
	n := min(len(x), c.rate/blendPart)
	switch {
	case c.at > 0:
		for i := range n {
			w := float64(i+1) / float64(n+1)
			x[i] = clip(float64(x[i])*w + c.next()*(1-w))
		}
	case c.tailN > 0:
		n = min(n, c.tailN)
		for i := range n {
			w := float64(i+1) / float64(n+1)
			x[i] = clip(float64(x[i])*w + float64(c.tail[i])*(1-w))
		}
	}
	c.at, c.tailN = 0, 0
	if len(x) >= len(c.history) {
		copy(c.history, x[len(x)-len(c.history):])
	} else {
		copy(c.history, c.history[len(x):])
		copy(c.history[len(c.history)-len(x):], x)
	}
	c.filled = min(len(c.history), c.filled+len(x))
}

// cut says that x was to follow but is left out: the next real audio takes over
// from its beginning.
func (c *concealer) cut(x []int16) { c.tailN = copy(c.tail, x) }

// fill makes up the next samples. They end in silence fade samples after the
// last real one; the fade of the first call since then is the one that counts.
func (c *concealer) fill(dst []int16, fade int) {
	if c.at == 0 {
		c.fade = fade
		c.begin()
	}
	if c.at >= c.fade {
		c.at += len(dst)
		clear(dst)
		return
	}
	for i := range dst {
		dst[i] = clip(c.next())
	}
}

// begin finds the period to repeat.
func (c *concealer) begin() {
	c.tailN = 0
	c.cycleN = c.pitch()
	end := len(c.history)
	if c.cycleN == 0 {
		c.offset = float64(c.history[end-1])
		return
	}
	h := c.history[end-c.cycleN:]
	for i, s := range h {
		c.cycle[i] = float64(s)
	}
	// The end of the period turns into what came before its beginning, so that
	// it can be played round and round.
	for i, n := 0, c.cycleN/4; i < n; i++ {
		w := float64(i+1) / float64(n+1)
		at := c.cycleN - n + i
		c.cycle[at] = c.cycle[at]*(1-w) + float64(c.history[end-c.cycleN-n+i])*w
	}
	// What is between the last sample and the one that the period follows on.
	c.offset = float64(c.history[end-1]) - float64(c.history[end-c.cycleN-1])
}

// pitch is the lag at which the newest audio is most like itself, by
// normalised cross-correlation; 0 when too little has been heard.
func (c *concealer) pitch() int {
	if c.filled < len(c.history) {
		return 0
	}
	end, m := len(c.history), c.rate/templatePart
	best, lag := -1.0, 0
	for l := c.rate / minPitchPart; l <= c.rate/maxPitchPart; l++ {
		var xy, yy float64
		for i := end - m; i < end; i++ {
			x, y := float64(c.history[i]), float64(c.history[i-l])
			xy += x * y
			yy += y * y
		}
		if r := xy / math.Sqrt(yy+1); r > best {
			best, lag = r, l
		}
	}
	return lag
}

// next is the next made-up sample.
func (c *concealer) next() float64 {
	i := c.at
	c.at++
	if i >= c.fade {
		return 0
	}
	y := 0.0
	if c.cycleN > 0 {
		y = c.cycle[i%c.cycleN]
	}
	if blend := c.rate / blendPart; i < blend {
		y += c.offset * (1 - float64(i)/float64(blend))
	}
	if hold := min(c.rate/holdPart, c.fade/2); i > hold {
		y *= float64(c.fade-i) / float64(c.fade-hold)
	}
	return y
}

func clip(x float64) int16 {
	return int16(math.Round(max(math.MinInt16, min(math.MaxInt16, x))))
}
