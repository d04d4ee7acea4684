package dsp

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/dsp/fourier"
)

// Spectrum computes power spectra through a Hann window. It owns scratch memory:
// one goroutine at a time.
type Spectrum struct {
	fft    *fourier.FFT
	window []float64
	frame  []float64
	bins   []complex128
}

// NewSpectrum makes one for windows of n samples; n is at least 2.
func NewSpectrum(n int) (*Spectrum, error) {
	if n < 2 {
		return nil, fmt.Errorf("dsp: a spectrum of %d samples, at least 2 are needed", n)
	}
	s := &Spectrum{
		fft: fourier.NewFFT(n), window: make([]float64, n),
		frame: make([]float64, n), bins: make([]complex128, n/2+1),
	}
	for i := range s.window {
		s.window[i] = 0.5 - 0.5*math.Cos(2*math.Pi*(float64(i)+0.5)/float64(n))
	}
	return s, nil
}

// Bins is the length of a spectrum: n/2+1 frequencies from 0 to half the rate.
func (s *Spectrum) Bins() int { return len(s.bins) }

// Power writes the squared magnitudes of samples[n] to dst[Bins].
func (s *Spectrum) Power(dst, samples []float32) {
	if len(samples) != len(s.frame) || len(dst) != len(s.bins) {
		panic(fmt.Sprintf("dsp: %d samples to %d bins, want %d to %d", len(samples), len(dst), len(s.frame), len(s.bins)))
	}
	for i, x := range samples {
		s.frame[i] = float64(x) * s.window[i]
	}
	s.fft.Coefficients(s.bins, s.frame)
	for i, c := range s.bins {
		dst[i] = float32(real(c)*real(c) + imag(c)*imag(c))
	}
}
