package quality

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sidetone/internal/pcm"
	"sidetone/voiceprint"
)

// source makes what speech is to the meter: syllables of a buzzing voice with gaps.
type source struct{ *rand.Rand }

func newSource(seed uint64) source { return source{rand.New(rand.NewPCG(seed, 1))} }

// voiced is seconds of syllables of about 200 ms at the given peak, with a pitch that
// glides, above noise of the given power.
func (s source) voiced(seconds, peak, noise float64) []float64 {
	x := make([]float64, int(seconds*pcm.Rate))
	for at := 0; at < len(x); {
		n := min(len(x)-at, int((0.15+0.1*s.Float64())*pcm.Rate))
		pitch, glide, phase := 100+80*s.Float64(), 0.6*s.Float64()-0.3, 0.0
		for i := range n {
			part := float64(i) / float64(n)
			phase += 2 * math.Pi * pitch * (1 + glide*part) / pcm.Rate
			v := 0.0
			for h := 1.0; h <= 18; h++ {
				v += math.Sin(h*phase) / (2 + math.Abs(h-6)) / 2
			}
			x[at+i] = peak * v * math.Sin(math.Pi*part)
		}
		at += n + int(0.06*pcm.Rate)
	}
	for i := range x {
		x[i] += math.Sqrt(noise) * s.NormFloat64()
	}
	return x
}

func samples(x []float64) []int16 {
	out := make([]int16, len(x))
	for i, v := range x {
		out[i] = clip16(v * 32768)
	}
	return out
}

// The spectra are scaled as levels are.
func TestSpectrumAddsUp(t *testing.T) {
	m := newMeter(t)
	x := make([]float64, pcm.Rate)
	for i := range x {
		x[i] = 0.5 * math.Sin(2*math.Pi*1000*float64(i)/pcm.Rate)
	}
	hear(m, samples(x))
	sum := 0.0
	for _, p := range m.power {
		sum += float64(p)
	}
	if math.Abs(sum-0.125) > 1e-3 {
		t.Errorf("a sine of 0.5 has a spectrum of %v, want 0.125", sum)
	}
}

func power(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	return sum / float64(len(x))
}

func measure(t *testing.T, x []float64) voiceprint.Quality {
	m := newMeter(t)
	hear(m, samples(x))
	return m.Quality()
}

func TestNothingIsMeasuredOfNothing(t *testing.T) {
	q := newMeter(t).Quality()
	if q.Net != 0 {
		t.Errorf("net speech %v", q.Net)
	}
	for name, v := range map[string]float64{
		"SNR": q.SNR, "level": q.Level, "clipped": q.Clipped, "edge": q.Edge,
		"reverberation": q.Reverberation, "music": q.Music, "unlike": q.Unlike,
	} {
		if !math.IsNaN(v) {
			t.Errorf("%s is %v before anything was heard", name, v)
		}
	}
	if got := DefaultRules().Verification.Reasons(q); !slices.Equal(got, []voiceprint.Reason{voiceprint.TooLittle}) {
		t.Errorf("reasons %v", got)
	}
}

// Digital silence that somebody takes for speech must not break anything.
func TestSilence(t *testing.T) {
	q := measure(t, make([]float64, 5*pcm.Rate))
	if !math.IsNaN(q.Level) || !math.IsNaN(q.Edge) || q.Clipped != 0 || q.SNR > 0 {
		t.Errorf("got %+v", q)
	}
}

func TestWhatCounts(t *testing.T) {
	s := newSource(1)
	speech := samples(s.voiced(2, 0.3, 1e-7))
	digit := make([]float64, len(speech))
	for i := range digit {
		a := 2 * math.Pi * float64(i) / pcm.Rate
		digit[i] = 0.2*math.Sin(770*a) + 0.15*math.Sin(1336*a) + 1e-3*s.NormFloat64()
	}
	for name, c := range map[string]struct {
		x      []int16
		speech bool
		flags  pcm.Flags
		// least and most of the 100 frames that count.
		least, most int
	}{
		"speech":    {speech, true, 0, 98, 100},
		"no speech": {speech, false, 0, 0, 0},
		"concealed": {speech, true, pcm.Lost, 0, 0},
		"inserted":  {speech, true, pcm.Inserted, 0, 0},
		"a digit":   {samples(digit), true, 0, 0, 3},
		"silence":   {make([]int16, len(speech)), true, 0, 100, 100},
	} {
		m, n := newMeter(t), 0
		var f pcm.Frame
		for at := 0; at < len(c.x); at += pcm.FrameSamples {
			copy(f.Samples[:], c.x[at:])
			f.Start, f.Flags = int64(at), c.flags
			if m.Add(&f, c.speech) {
				n++
			}
		}
		if n < c.least || n > c.most || m.Quality().Net != time.Duration(n)*pcm.FrameDuration {
			t.Errorf("%s: %d of 100 frames counted, net speech %v; want %d to %d", name, n, m.Quality().Net, c.least, c.most)
		}
	}
}

func TestSNRAndLevel(t *testing.T) {
	for _, snr := range []float64{0, 5, 10, 15} {
		s := newSource(uint64(snr) + 1)
		clean := s.voiced(10, 0.3, 0)
		// The meter listens below 3.4 kHz, where this noise has 3.15/8 of its power.
		noise := power(clean) / math.Pow(10, snr/10) * 8 / 3.15
		x := slices.Clone(clean)
		for i := range x {
			x[i] += math.Sqrt(noise) * s.NormFloat64()
		}
		q := measure(t, x)
		if math.Abs(q.SNR-snr) > 4 {
			t.Errorf("%v dB are measured as %.1f", snr, q.SNR)
		}
		if want := 10 * math.Log10(power(x)); math.Abs(q.Level-want) > 0.2 {
			t.Errorf("a level of %.1f dB is measured as %.1f", want, q.Level)
		}
	}
}

// The wave that the line has cut is companded, turned down and filtered afterwards.
func TestClipping(t *testing.T) {
	for _, share := range []float64{0, 0.02, 0.05, 0.2} {
		s := newSource(7)
		x := s.voiced(10, 0.3, 1e-5)
		// To 8 kHz and back, as a call goes; the source has nothing above 3.3 kHz.
		half := make([]int16, 0, len(x)/2)
		abs := make([]float64, 0, len(x)/2)
		for i := 0; i < len(x); i += 2 {
			abs = append(abs, math.Abs(x[i]))
		}
		slices.Sort(abs)
		limit := abs[min(len(abs)-1, int(float64(len(abs))*(1-share)))]
		for i := 0; i < len(x); i += 2 {
			half = append(half, clip16(max(-limit, min(limit, x[i]))*0.2*32768))
		}
		m := newMeter(t)
		hear(m, double(half))
		if got := m.Quality().Clipped; share == 0 && got != 0 || share > 0 && (got < share/1.6 || got > share*1.6) {
			t.Errorf("a share of %v is measured as %.4f", share, got)
		}
	}
}

func TestAmplitudesHaveBins(t *testing.T) {
	last := -1
	for v := 0; v <= 32768; v++ {
		s := int16(max(-32768, -v))
		b := amplitude(s)
		if b < last || b > last+1 || b >= amplitudes || from(b) > float64(v) || from(b+1) <= float64(v) {
			t.Fatalf("%d is in bin %d, from %v to %v, after %d", v, b, from(b), from(b+1), last)
		}
		last = b
	}
}

func TestEdge(t *testing.T) {
	for _, edge := range []float64{1500, 2250, 3500, 7000} {
		s := newSource(3)
		x := make([]float64, 5*pcm.Rate)
		for hz := 100.0; hz <= edge-20; hz += 20 {
			phase := 2 * math.Pi * s.Float64()
			for i := range x {
				x[i] += 0.005 * math.Sin(2*math.Pi*hz*float64(i)/pcm.Rate+phase)
			}
		}
		if got := measure(t, x).Edge; math.Abs(got-edge) > 250 {
			t.Errorf("an edge at %v Hz is measured at %v", edge, got)
		}
	}
}

// What was heard before a hole or a reset does not leak.
func TestReset(t *testing.T) {
	s := newSource(5)
	x, y := samples(s.voiced(5, 0.3, 1e-6)), samples(s.voiced(5, 0.1, 1e-3))
	m := newMeter(t)
	hear(m, x)
	m.Reset()
	hear(m, y)
	fresh := newMeter(t)
	hear(fresh, y)
	if a, b := m.Quality(), fresh.Quality(); a.SNR != b.SNR || a.Level != b.Level || a.Net != b.Net || a.Clipped != b.Clipped || a.Edge != b.Edge || a.Music != b.Music {
		t.Errorf("after a reset %+v, afresh %+v", a, b)
	}
}

func TestAddAllocatesNothing(t *testing.T) {
	m := newMeter(t)
	x := samples(newSource(1).voiced(2, 0.3, 1e-6))
	var f pcm.Frame
	at := 0
	if n := testing.AllocsPerRun(500, func() {
		copy(f.Samples[:], x[at%len(x):])
		f.Start = int64(at)
		m.Add(&f, true)
		at += pcm.FrameSamples
	}); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	x := samples(newSource(1).voiced(2, 0.3, 1e-6))
	m := newMeter(b)
	var f pcm.Frame
	b.ReportAllocs()
	for at := 0; b.Loop(); at += pcm.FrameSamples {
		copy(f.Samples[:], x[at%len(x):])
		f.Start = int64(at)
		m.Add(&f, true)
	}
}

func BenchmarkQuality(b *testing.B) {
	m := newMeter(b)
	hear(m, samples(newSource(1).voiced(10, 0.3, 1e-6)))
	b.ReportAllocs()
	for b.Loop() {
		m.Quality()
	}
}
