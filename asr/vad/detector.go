// Package vad finds where speech begins and ends on a leg: Silero's small
// network gives each 32 ms a probability of speech, and hysteresis, a minimum
// length and a hangover turn probabilities into edges.
//
// A Model is shared; a Detector is one leg's and used by one goroutine. It
// runs once per leg: everything that cares about speech is told its edges.
package vad

import (
	"fmt"
	"time"

	"sidetone/asr"
	"sidetone/internal/pcm"
)

// Config tunes a Detector; the zero value means the defaults.
type Config struct {
	// Threshold is the probability from which a window counts as speech;
	// default 0.4.
	Threshold float32
	// NegThreshold is the probability below which a window counts as silence;
	// between the two nothing changes. Default: Threshold - 0.15.
	NegThreshold float32
	// Proof is the probability that one window of speech must reach before
	// there is a Begin: in speech nearly every word has one, while clicks,
	// buzzing, digits and far voices hover about Threshold. Default: 0.6, or
	// Threshold where that is higher.
	Proof float32
	// MinSpeech is how much speech makes a Begin; default 96 ms.
	MinSpeech time.Duration
	// Pause is how long silence lasts before it makes a Pause; default 160 ms.
	Pause time.Duration
	// Hangover is how long silence lasts before it makes an End; default
	// 500 ms.
	Hangover time.Duration
	// PreRoll is how far a Begin reaches back before the first window of
	// speech, since soft onsets are found late; default 300 ms.
	PreRoll time.Duration
}

const (
	defaultThreshold = 0.4
	defaultGap       = 0.15
	defaultProof     = 0.6
	defaultMinSpeech = 96 * time.Millisecond
	defaultPause     = 160 * time.Millisecond
	defaultHangover  = 500 * time.Millisecond
	defaultPreRoll   = 300 * time.Millisecond
	// longest bounds each duration of a Config.
	longest = 10 * time.Second
)

func (c Config) withDefaults() (Config, error) {
	if c.Threshold == 0 {
		c.Threshold = defaultThreshold
	}
	if c.NegThreshold == 0 {
		c.NegThreshold = max(c.Threshold-defaultGap, 0.01)
	}
	if c.Proof == 0 {
		c.Proof = max(c.Threshold, defaultProof)
	}
	for _, d := range []struct {
		name string
		v    *time.Duration
		def  time.Duration
	}{
		{"MinSpeech", &c.MinSpeech, defaultMinSpeech},
		{"Pause", &c.Pause, defaultPause},
		{"Hangover", &c.Hangover, defaultHangover},
		{"PreRoll", &c.PreRoll, defaultPreRoll},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
		if *d.v < 0 || *d.v > longest {
			return c, fmt.Errorf("vad: %s is %v, want more than 0 and at most %v", d.name, *d.v, longest)
		}
	}
	if !(c.NegThreshold > 0 && c.NegThreshold <= c.Threshold && c.Threshold < 1) {
		return c, fmt.Errorf("vad: thresholds %v (speech) and %v (silence), want 0 < silence <= speech < 1",
			c.Threshold, c.NegThreshold)
	}
	if !(c.Proof >= c.Threshold && c.Proof < 1) {
		return c, fmt.Errorf("vad: a proof of %v at a threshold of %v, want %v or more and less than 1",
			c.Proof, c.Threshold, c.Threshold)
	}
	return c, nil
}

// Detector follows one leg.
type Detector struct {
	m   *Model
	c   Config
	net network

	// The window being filled: its samples, how many there are and how many
	// of them stand for a hole.
	win    [window]int16
	n, gap int
	// next is where the next frame should start; begun says that one came.
	next  int64
	begun bool

	prob     float32
	speaking bool
	// floor is the earliest place of the next Begin: the leg's start or the
	// last End.
	floor int64
	// onset is where speech that is not yet long enough began, run its length
	// and peak its highest probability; silence is where silence that is not yet long enough began. -1: none.
	onset, run, silence int64
	peak                float32
	// paused says that the silence has made its Pause.
	paused    bool
	minSpeech int64
	pause     int64
	hangover  int64
	preRoll   int64

	edges [4]asr.Edge
}

// NewDetector begins a leg.
func (m *Model) NewDetector(c Config) (*Detector, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Detector{
		m: m, c: c, onset: -1, silence: -1,
		minSpeech: pcm.Samples(c.MinSpeech),
		pause:     pcm.Samples(c.Pause),
		hangover:  pcm.Samples(c.Hangover),
		preRoll:   pcm.Samples(c.PreRoll),
	}, nil
}

// Accept takes the next frame and returns the edges found in it; the slice is
// valid until the next call. Frames come in order: a jump forward is heard as
// silence, a frame that begins before the last one's end is ignored.
func (d *Detector) Accept(f *pcm.Frame) []asr.Edge {
	edges := d.edges[:0]
	if !d.begun {
		d.begun, d.next, d.floor = true, f.Start, f.Start
	}
	if f.Start < d.next {
		return edges
	}
	if hole := f.Start - d.next; hole > 0 {
		edges = d.silent(edges, hole)
	}
	return d.push(edges, f.Samples[:])
}

// Probability is the last whole window's probability of speech, 0 to 1.
func (d *Detector) Probability() float32 { return d.prob }

// Speaking says whether the last edge was a Begin.
func (d *Detector) Speaking() bool { return d.speaking }

// silent hears n samples of silence. The network hears only as much of them as
// ends any speech; after a longer hole it starts afresh.
func (d *Detector) silent(edges []asr.Edge, n int64) []asr.Edge {
	heard := min(n, d.hangover+2*window)
	for left := heard; left > 0; {
		k := min(left, int64(window-d.n))
		clear(d.win[d.n : d.n+int(k)])
		d.n += int(k)
		d.gap += int(k)
		d.next += k
		left -= k
		edges = d.whole(edges)
	}
	if heard < n {
		d.next += n - heard
		d.n, d.gap = 0, 0
		d.net.reset()
	}
	return edges
}

func (d *Detector) push(edges []asr.Edge, samples []int16) []asr.Edge {
	for len(samples) > 0 {
		k := copy(d.win[d.n:], samples)
		samples = samples[k:]
		d.n += k
		d.next += int64(k)
		edges = d.whole(edges)
	}
	return edges
}

// whole judges the window if it is full.
func (d *Detector) whole(edges []asr.Edge) []asr.Edge {
	if d.n < window {
		return edges
	}
	d.prob = d.m.run(&d.net, &d.win)
	if d.gap > window/2 {
		d.prob = 0
	}
	d.n, d.gap = 0, 0
	if e := d.judge(d.prob, d.next-window, d.next); e.Kind != asr.NoEdge {
		edges = append(edges, e)
	}
	return edges
}

// judge moves the edge finder on by one window.
func (d *Detector) judge(p float32, start, end int64) asr.Edge {
	if d.speaking {
		switch {
		case p >= d.c.Threshold:
			d.silence, d.paused = -1, false
		case p < d.c.NegThreshold && d.silence < 0:
			d.silence = start
		}
		switch {
		case d.silence < 0:
			return asr.Edge{}
		case end-d.silence < d.hangover:
			if d.paused || end-d.silence < d.pause {
				return asr.Edge{}
			}
			d.paused = true
			return asr.Edge{Kind: asr.Pause, At: d.silence}
		}
		d.speaking, d.onset = false, -1
		d.floor = d.silence
		return asr.Edge{Kind: asr.End, At: d.silence}
	}
	switch {
	case p >= d.c.Threshold:
		if d.onset < 0 {
			d.onset, d.run, d.peak = start, 0, 0
		}
		d.run += end - start
		d.peak = max(d.peak, p)
	case p < d.c.NegThreshold:
		d.onset = -1
	}
	if d.onset < 0 || d.run < d.minSpeech || d.peak < d.c.Proof {
		return asr.Edge{}
	}
	d.speaking, d.silence, d.paused = true, -1, false
	return asr.Edge{Kind: asr.Begin, At: max(d.floor, d.onset-d.preRoll)}
}
