// Package nonspeech makes what telephones carry while nobody speaks: silence,
// noise, hum, the network's tones, digits, fax machines, knocks, breath, hold
// music. A recogniser must make no words of it.
//
// All of it is synthetic, and the same for the same seed. Tones have the
// standards' frequencies and cadences (ITU-T E.180 and its supplement 2, Q.23,
// V.21, V.22, V.25, T.30, TIA-825); breath, coughs and music are models, which
// real recordings have to confirm.
package nonspeech

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"time"
)

// Rate is the sample rate of what is made, in Hz: that of the telephone.
const Rate = 8000

// Kind is one kind of sound.
type Kind struct {
	Name string
	// Loss is the share of packets that the network loses under it.
	Loss float64
	fill func(s *source, x []float64)
}

// Kinds lists what can be made.
func Kinds() []Kind {
	return []Kind{
		{Name: "silence", fill: func(*source, []float64) {}},
		{Name: "line noise", fill: lineNoise},
		{Name: "comfort noise", fill: comfortNoise},
		{Name: "hum", fill: hum},
		{Name: "mobile buzz", fill: mobileBuzz},
		{Name: "wind", fill: wind},
		{Name: "fan", fill: fan},
		{Name: "clipped noise", fill: clippedNoise},
		{Name: "dial tone", fill: cadence(dialTones())},
		{Name: "ringback", fill: cadence(ringbackTones())},
		{Name: "busy", fill: cadence(busyTones())},
		{Name: "congestion", fill: cadence(congestionTones())},
		{Name: "special information", fill: cadence(specialTones())},
		{Name: "call waiting", fill: cadence(waitingTones())},
		{Name: "howler", fill: cadence(howlerTones())},
		{Name: "beeps", fill: beeps},
		{Name: "bell", fill: bell},
		{Name: "digits", fill: digits},
		{Name: "fax", fill: fax},
		{Name: "modem", fill: modem},
		{Name: "text telephone", fill: textTelephone},
		{Name: "clicks", fill: clicks},
		{Name: "keyboard", fill: keyboard},
		{Name: "handset", fill: handset},
		{Name: "breath", fill: breath},
		{Name: "coughs", fill: coughs},
		{Name: "far babble", fill: farBabble},
		{Name: "music", fill: music},
		{Name: "lossy noise", Loss: 0.1, fill: lineNoise},
		{Name: "lossy hum", Loss: 0.1, fill: hum},
		{Name: "lossy tones", Loss: 0.1, fill: cadence(ringbackTones())},
		{Name: "lossy music", Loss: 0.1, fill: music},
	}
}

// Samples makes so much of the kind: signed 16-bit linear samples at Rate.
func (k Kind) Samples(seed uint64, d time.Duration) []int16 {
	h := fnv.New64a()
	h.Write([]byte(k.Name))
	s := &source{rand.New(rand.NewPCG(seed, h.Sum64()))}
	x := make([]float64, int(d.Seconds()*Rate))
	k.fill(s, x)
	out := make([]int16, len(x))
	for i, v := range x {
		out[i] = int16(math.Round(max(-1, min(1, v)) * math.MaxInt16))
	}
	return out
}

// source is the randomness of a sound, full scale being ±1.
type source struct{ *rand.Rand }

// within is evenly distributed.
func (s *source) within(least, most float64) float64 { return least + (most-least)*s.Float64() }

// gain is a factor of so many decibels, evenly distributed.
func (s *source) gain(least, most float64) float64 { return gain(s.within(least, most)) }

func gain(db float64) float64 { return math.Pow(10, db/20) }

// parts cuts x into stretches of so many seconds, each of which f fills with
// settings of its own.
func (s *source) parts(x []float64, least, most float64, f func(x []float64)) {
	for len(x) > 0 {
		n := min(len(x), 1+int(s.within(least, most)*Rate))
		f(x[:n])
		x = x[n:]
	}
}

// events puts sounds into x, so many a second on average: f adds one, at the
// beginning of what it is given.
func (s *source) events(x []float64, perSecond float64, f func(x []float64)) {
	for at := 0.0; ; {
		at += s.ExpFloat64() / perSecond * Rate
		if at >= float64(len(x)) {
			return
		}
		f(x[int(at):])
	}
}

// noise adds white noise of an effective value.
func (s *source) noise(x []float64, level float64) {
	for i := range x {
		x[i] += s.NormFloat64() * level
	}
}

// tone adds a sine of a peak value that begins with phase 0.
func tone(x []float64, hz, peak float64) {
	step := 2 * math.Pi * hz / Rate
	for i := range x {
		x[i] += peak * math.Sin(step*float64(i))
	}
}

// fade lets x begin and end softly, within so many samples.
func fade(x []float64, n int) {
	n = min(n, len(x)/2)
	for i := range n {
		w := float64(i+1) / float64(n+1)
		x[i] *= w
		x[len(x)-1-i] *= w
	}
}

// add adds y to the beginning of x.
func add(x, y []float64) {
	for i := range min(len(x), len(y)) {
		x[i] += y[i]
	}
}

// level brings x to an effective value.
func level(x []float64, to float64) {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	if sum == 0 {
		return
	}
	f := to / math.Sqrt(sum/float64(len(x)))
	for i := range x {
		x[i] *= f
	}
}

// biquad is a filter of second order (Bristow-Johnson's cookbook formulae).
type biquad struct{ b0, b1, b2, a1, a2, z1, z2 float64 }

func newBiquad(hz, q float64, coefficients func(cos, alpha float64) (b0, b1, b2 float64)) *biquad {
	w := 2 * math.Pi * hz / Rate
	alpha := math.Sin(w) / (2 * q)
	b0, b1, b2 := coefficients(math.Cos(w), alpha)
	a0 := 1 + alpha
	return &biquad{b0: b0 / a0, b1: b1 / a0, b2: b2 / a0, a1: -2 * math.Cos(w) / a0, a2: (1 - alpha) / a0}
}

func lowpass(hz float64) *biquad {
	return newBiquad(hz, math.Sqrt2/2, func(cos, _ float64) (float64, float64, float64) {
		return (1 - cos) / 2, 1 - cos, (1 - cos) / 2
	})
}

func bandpass(hz, q float64) *biquad {
	return newBiquad(hz, q, func(_, alpha float64) (float64, float64, float64) { return alpha, 0, -alpha })
}

func (f *biquad) next(v float64) float64 {
	y := f.b0*v + f.z1
	f.z1 = f.b1*v - f.a1*y + f.z2
	f.z2 = f.b2*v - f.a2*y
	return y
}

func (f *biquad) run(x []float64) {
	for i, v := range x {
		x[i] = f.next(v)
	}
}
