// Package dsp turns sound into the features that speech models hear.
package dsp

import (
	"math"

	"gonum.org/v1/gonum/dsp/fourier"
)

// Whisper's analysis: 25 ms windows every 10 ms at 16 kHz.
const (
	// Window is the length of an analysis window in samples.
	Window = 400
	// Hop is the distance of two windows in samples.
	Hop = 160

	bins = Window/2 + 1
	// floorBelow is how far below the loudest the features' floor is, in
	// decades.
	floorBelow = 8
	rate       = 16000
)

// Mel computes log-mel features as Whisper defines them (Radford et al., 2022;
// numerically those of faster-whisper). It owns scratch memory: one goroutine
// at a time.
type Mel struct {
	bands  int
	fft    *fourier.FFT
	window [Window]float32
	// Band b weighs the bins from first[b] on with weights[b].
	first   []int
	weights [][]float32

	last  []float32
	frame [Window]float32
	in    []float64
	spec  []complex128
	power [bins]float32
	// levels are one band's, for Subtract.
	levels []float32
}

// NewMel makes an extractor of so many bands: 80 for most Whisper models, 128
// for large-v3.
func NewMel(bands int) *Mel {
	m := &Mel{
		bands: bands,
		last:  make([]float32, bands),
		fft:   fourier.NewFFT(Window),
		in:    make([]float64, Window),
		spec:  make([]complex128, bins),
	}
	for i := range m.window {
		m.window[i] = float32(0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/Window))
	}
	m.first, m.weights = slaney(bands)
	return m
}

// Bands is the number of features in a frame.
func (m *Mel) Bands() int { return m.bands }

// Frames is the number of feature frames for n samples.
func Frames(n int) int { return n / Hop }

// Energies are what Features keeps of a recording that grows, so that the next
// call need not compute it anew: the logarithmic energies of those windows that
// what follows cannot change, 32 kB per second with 80 bands. The zero value
// knows nothing.
type Energies struct {
	bands int
	rows  []float32
}

// recall writes what is known of the first frames to dst and returns of how many.
func (e *Energies) recall(dst []float32, bands, frames int) int {
	if e.bands != bands {
		e.bands, e.rows = bands, e.rows[:0]
	}
	return copy(dst, e.rows[:min(len(e.rows), frames*bands)]) / bands
}

// whole is how many of the windows on n samples lie within them. The first ones
// are mirrored at the beginning, which needs half a window and a sample.
func whole(n int) int {
	if n <= Window/2 {
		return 0
	}
	return (n-Window/2-1)/Hop + 1
}

// Features writes the features of samples (mono, 16 kHz, full scale at ±1) to
// dst[Frames(len(samples))][Bands]. The loudest band of the whole decides the
// floor, 80 dB below it; so features of a part are not a part of the features.
//
// With e, which may be nil, it saves what earlier calls with e have computed. All
// of these must be given the same recording, each as much of its beginning as
// it likes; the features are what they would be without e.
func (m *Mel) Features(dst, samples []float32, e *Energies) {
	frames, keep, known := Frames(len(samples)), whole(len(samples)), 0
	if len(dst) < frames*m.bands {
		panic("dsp: dst is shorter than the features")
	}
	if e != nil {
		known = e.recall(dst, m.bands, keep)
	}
	// The reference appends one hop of silence and takes the level of the frame
	// that this makes, too, though it then drops it.
	level := float32(math.Inf(-1))
	for t := range frames + 1 {
		row := m.last
		if t < frames {
			row = dst[t*m.bands : (t+1)*m.bands]
		}
		if t >= known {
			m.cut(samples, t*Hop-Window/2)
			m.Log(row, m.frame[:])
		}
		for _, v := range row {
			level = max(level, v)
		}
	}
	if e != nil {
		e.rows = append(e.rows, dst[known*m.bands:keep*m.bands]...)
	}
	Normalise(dst[:frames*m.bands], level)
}

// cut copies the window that begins at sample from. The signal is followed by
// one hop of silence and mirrored at both ends.
func (m *Mel) cut(samples []float32, from int) {
	if from >= 0 && from+Window <= len(samples) {
		copy(m.frame[:], samples[from:])
		return
	}
	end := len(samples) + Hop - 1
	for i := range m.frame {
		p := from + i
		for p < 0 || p > end {
			if p < 0 {
				p = -p
			}
			if p > end {
				p = 2*end - p
			}
		}
		m.frame[i] = 0
		if p < len(samples) {
			m.frame[i] = samples[p]
		}
	}
}

// Log writes the decimal logarithm of one window's mel energies, at least -10,
// to dst[Bands]. frame holds Window samples.
func (m *Mel) Log(dst, frame []float32) {
	m.Energies(dst, frame)
	for b, s := range dst[:m.bands] {
		dst[b] = float32(math.Log10(float64(max(s, 1e-10))))
	}
}

// Energies writes one window's mel energies to dst[Bands]: those of librosa's
// melspectrogram with windows of 400 samples. frame holds Window samples.
func (m *Mel) Energies(dst, frame []float32) {
	for i, w := range m.window {
		m.in[i] = float64(frame[i] * w)
	}
	m.spec = m.fft.Coefficients(m.spec, m.in)
	for i, c := range m.spec {
		m.power[i] = float32(real(c)*real(c) + imag(c)*imag(c))
	}
	for b, ws := range m.weights {
		var s float32
		for i, p := range m.power[m.first[b] : m.first[b]+len(ws)] {
			s += p * ws[i]
		}
		dst[b] = s
	}
}

// Normalise lifts logarithmic energies to at least level-8, where level is the
// loudest of them, and scales them to Whisper's range.
func Normalise(x []float32, level float32) {
	floor := level - floorBelow
	for i, v := range x {
		x[i] = (max(v, floor) + 4) / 4
	}
}

// slaney is the triangular filter bank of Slaney's Auditory Toolbox (1998) from
// 0 to 8 kHz: linear below 1 kHz and logarithmic above, of equal area.
func slaney(bands int) (first []int, weights [][]float32) {
	const (
		melMax  = 45.245640471924965
		linear  = 200.0 / 3
		corner  = 1000.0
		cornerM = corner / linear
	)
	edge := make([]float64, bands+2)
	for i := range edge {
		mel := melMax * float64(i) / float64(bands+1)
		edge[i] = linear * mel
		if mel >= cornerM {
			edge[i] = corner * math.Exp(math.Log(6.4)/27*(mel-cornerM))
		}
	}
	for b := range bands {
		lo, mid, hi := edge[b], edge[b+1], edge[b+2]
		from, ws := bins, []float32(nil)
		for i := range bins {
			f := float64(i) * rate / Window
			w := min((f-lo)/(mid-lo), (hi-f)/(hi-mid))
			if w <= 0 {
				continue
			}
			from = min(from, i)
			ws = append(ws, float32(w*2/(hi-lo)))
		}
		if ws == nil {
			from = 0
		}
		first, weights = append(first, from), append(weights, ws)
	}
	return first, weights
}
