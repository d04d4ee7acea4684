package spoof

import (
	"fmt"
	"math"
	"time"

	"sidetone/internal/dsp"
	"sidetone/internal/pcm"
)

// The analysis is of the telephone band: windows of 32 ms every 10 ms.
const (
	hop    = pcm.Rate / 100
	window = 512

	bands = 18
	low   = 300.0
	high  = 3400.0
	ceps  = 12

	// apart is how many windows lie between two that are compared.
	apart = 2
)

// LeastSpeech is how much speech the cues rest on.
const LeastSpeech = 5 * time.Second

// moments are running sums of a quantity.
type moments struct{ n, sum, square float64 }

func (m *moments) add(x float64) { m.n, m.sum, m.square = m.n+1, m.sum+x, m.square+x*x }

func (m *moments) mean() float64 { return m.sum / m.n }

func (m *moments) deviation() float64 {
	return math.Sqrt(max(0, m.square/m.n-m.mean()*m.mean()))
}

// Meter measures the cues of one leg as it goes on. It is not safe for concurrent
// use; Hear allocates nothing.
type Meter struct {
	spectrum *dsp.Spectrum
	edges    [bands + 1]int
	cosines  [ceps][bands]float64
	power    []float32
	samples  []float32

	// logs and cepstra are those of the latest windows, by window modulo their
	// number; run counts those in a row that are speech.
	logs    [apart + 1][bands]float64
	cepstra [apart + 1][ceps]float64
	windows int
	run     int

	speech int
	// change is how the cepstrum moves, flux how all of the spectrum does; rise and
	// fall are of bands that get louder and quieter.
	change     [ceps]moments
	flux       moments
	rise, fall moments
	// lean and peak are the third and fourth moment of a window's waveform.
	lean, peak moments
}

// NewMeter makes a meter and takes all its memory.
func NewMeter() (*Meter, error) {
	s, err := dsp.NewSpectrum(window)
	if err != nil {
		return nil, fmt.Errorf("spoof: %w", err)
	}
	m := &Meter{spectrum: s, power: make([]float32, s.Bins()), samples: make([]float32, window+hop)}
	mel := func(hz float64) float64 { return 1127 * math.Log(1+hz/700) }
	for i := range m.edges {
		at := mel(low) + (mel(high)-mel(low))*float64(i)/bands
		m.edges[i] = int(math.Round(700 * (math.Exp(at/1127) - 1) * window / pcm.Rate))
	}
	for i := range m.cosines {
		for j := range m.cosines[i] {
			m.cosines[i][j] = math.Sqrt(2.0/bands) * math.Cos(math.Pi*float64(i+1)*(float64(j)+0.5)/bands)
		}
	}
	return m, nil
}

// Hear takes the next frame; speech is what the voice activity detector says of it.
// What was lost or inserted on the way is passed over.
func (m *Meter) Hear(f *pcm.Frame, speech bool) {
	if f.Flags&(pcm.Lost|pcm.Inserted) != 0 {
		speech = false
	}
	n := copy(m.samples, m.samples[pcm.FrameSamples:])
	for i, x := range f.Samples {
		m.samples[n+i] = float32(x)
	}
	if !speech {
		m.run = 0
		return
	}
	m.speech++
	m.look(m.samples[:window])
	m.look(m.samples[hop:])
}

func (m *Meter) look(x []float32) {
	logs, cepstrum := &m.logs[m.windows%(apart+1)], &m.cepstra[m.windows%(apart+1)]
	m.windows++
	m.run++
	m.spectrum.Power(m.power, x)
	for b := range logs {
		sum := 1.0
		for _, p := range m.power[m.edges[b]:m.edges[b+1]] {
			sum += float64(p)
		}
		logs[b] = math.Log(sum / float64(m.edges[b+1]-m.edges[b]))
	}
	for i := range cepstrum {
		cepstrum[i] = 0
		for b, c := range m.cosines[i] {
			cepstrum[i] += c * logs[b]
		}
	}
	m.shape(x)
	if m.run <= apart {
		return
	}
	oldLogs, oldCepstrum := &m.logs[m.windows%(apart+1)], &m.cepstra[m.windows%(apart+1)]
	for i := range cepstrum {
		m.change[i].add(cepstrum[i] - oldCepstrum[i])
	}
	var sum float64
	for b := range logs {
		d := logs[b] - oldLogs[b]
		sum += math.Abs(d)
		if d > 0 {
			m.rise.add(d * d)
		} else {
			m.fall.add(d * d)
		}
	}
	m.flux.add(sum / bands)
}

// shape measures the waveform: that of a throat leans to one side and has a peak
// each period, which a room smears.
func (m *Meter) shape(x []float32) {
	// Every other sample: there is nothing above the band.
	var s2, s3, s4 float64
	const n = window/2 - 1
	for i := 2; i < window; i += 2 {
		d := float64(x[i] - 0.9*x[i-2])
		s2, s3, s4 = s2+d*d, s3+d*d*d, s4+d*d*d*d
	}
	if s2 /= n; s2 > 1 {
		m.lean.add(s3 / n / math.Pow(s2, 1.5))
		m.peak.add(math.Log(s4 / n / s2 / s2))
	}
}

// Speech is how much was measured.
func (m *Meter) Speech() time.Duration { return time.Duration(m.speech) * pcm.FrameDuration }

// measures are what the cues are made of, in the order of their weights.
type measures struct {
	// change is the logarithm of how far each cepstral coefficient moves in 20 ms.
	change [ceps]float64
	// room is, each as a logarithm but for the waveform's: how unevenly the spectrum
	// changes, how much the lean and the peak of the waveform vary, and how much
	// faster sounds rise than they fall.
	room [4]float64
}

// measure reports what was measured, if it is enough to judge.
func (m *Meter) measure() (measures, bool) {
	var x measures
	if m.Speech() < LeastSpeech || m.flux.n == 0 || m.rise.n == 0 || m.fall.n == 0 || m.lean.n == 0 {
		return x, false
	}
	for i := range m.change {
		x.change[i] = math.Log(m.change[i].deviation())
	}
	x.room = [4]float64{
		math.Log(m.flux.deviation() / m.flux.mean()), m.lean.deviation(), m.peak.deviation(),
		math.Log(m.rise.mean() / m.fall.mean()),
	}
	for _, v := range append(x.change[:], x.room[:]...) {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return x, false
		}
	}
	return x, true
}
