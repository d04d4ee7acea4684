package dsp

import "math"

// FilterbankBands is the number of features in a frame of Filterbank.
const FilterbankBands = 80

// Filterbank computes logarithmic mel energies as Kaldi does (Povey et al., 2011,
// feature-fbank): windows of 25 ms every 10 ms at 16 kHz, none beyond either end;
// mean removed, pre-emphasis of 0.97, Povey's window, power of 512 points, 80
// triangles from 20 Hz to 8 kHz, no dither. It owns scratch memory: one goroutine
// at a time.
type Filterbank struct {
	window [Window]float32
	// Band b weighs the bins from first[b] on with weights[b].
	first   []int
	weights [][]float32

	fft   real512
	frame [fftSize]float32
	power [halfSize]float32
}

// NewFilterbank makes an extractor.
func NewFilterbank() *Filterbank {
	f := &Filterbank{}
	for i := range f.window {
		hann := 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/(Window-1))
		f.window[i] = float32(math.Pow(hann, 0.85))
	}
	f.fft.init()
	f.first, f.weights = kaldiBands()
	return f
}

// FilterbankFrames is the number of frames that Filterbank makes of n samples.
func FilterbankFrames(n int) int {
	if n < Window {
		return 0
	}
	return (n-Window)/Hop + 1
}

// Features writes the natural logarithms of the energies of samples (mono, 16 kHz,
// full scale at ±1, as they are: Kaldi's own recipes have 16-bit numbers, which
// makes all of them greater by one number) to
// dst[FilterbankFrames(len(samples))][FilterbankBands].
func (f *Filterbank) Features(dst, samples []float32) {
	frames := FilterbankFrames(len(samples))
	if len(dst) < frames*FilterbankBands {
		panic("dsp: dst is shorter than the features")
	}
	for t := range frames {
		f.row(dst[t*FilterbankBands:][:FilterbankBands], samples[t*Hop:][:Window])
	}
}

func (f *Filterbank) row(dst, samples []float32) {
	const emphasis = 0.97
	var sum float64
	for _, v := range samples {
		sum += float64(v)
	}
	mean := float32(sum / Window)
	before := samples[0] - mean
	for i, w := range f.window {
		v := samples[i] - mean
		f.frame[i] = (v - emphasis*before) * w
		before = v
	}
	f.fft.power(&f.power, &f.frame)
	for b, ws := range f.weights {
		var e float32
		for i, p := range f.power[f.first[b]:][:len(ws)] {
			e += p * ws[i]
		}
		// Kaldi's least energy is float32's epsilon.
		dst[b] = float32(math.Log(float64(max(e, 0x1p-23))))
	}
}

// kaldiBands are triangles of equal height, even on the mel scale of HTK.
func kaldiBands() (first []int, weights [][]float32) {
	const lowest, highest = 20, rate / 2
	mel := func(hz float64) float64 { return 1127 * math.Log(1+hz/700) }
	low := mel(lowest)
	step := (mel(highest) - low) / (FilterbankBands + 1)
	for b := range FilterbankBands {
		lo := low + float64(b)*step
		from, ws := 0, []float32(nil)
		for i := range halfSize {
			m := mel(float64(i) * rate / fftSize)
			w := min((m-lo)/step, (lo+2*step-m)/step)
			if w <= 0 {
				continue
			}
			if ws == nil {
				from = i
			}
			ws = append(ws, float32(w))
		}
		first, weights = append(first, from), append(weights, ws)
	}
	return first, weights
}
