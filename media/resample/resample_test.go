package resample

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func tone(rate int, hz, amplitude float64, n int) []int16 {
	s := make([]int16, n)
	for i := range s {
		s[i] = int16(math.RoundToEven(amplitude * math.Sin(2*math.Pi*hz*float64(i)/float64(rate))))
	}
	return s
}

// fit finds the sine of hz in x by least squares and returns its amplitude and
// the root mean square of what is left.
func fit(x []int16, rate int, hz float64) (amplitude, rest float64) {
	// The two unknowns are the weights of sin and cos.
	var ss, cc, sc, sx, cx float64
	for i, v := range x {
		s, c := math.Sincos(2 * math.Pi * hz * float64(i) / float64(rate))
		ss, cc, sc = ss+s*s, cc+c*c, sc+s*c
		sx, cx = sx+s*float64(v), cx+c*float64(v)
	}
	det := ss*cc - sc*sc
	a, b := (sx*cc-cx*sc)/det, (cx*ss-sx*sc)/det
	for i, v := range x {
		s, c := math.Sincos(2 * math.Pi * hz * float64(i) / float64(rate))
		d := float64(v) - a*s - b*c
		rest += d * d
	}
	return math.Hypot(a, b), math.Sqrt(rest / float64(len(x)))
}

var pairs = [][2]int{{8000, 16000}, {48000, 16000}, {16000, 8000}, {48000, 8000}, {44100, 8000}, {22050, 8000}, {11025, 16000}}

// run resamples and cuts off the filter's onset.
func run(t *testing.T, in, out int, src []int16) []int16 {
	t.Helper()
	r, err := New(in, out)
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]int16, r.MaxOut(len(src)))
	n := r.Process(dst, src)
	if n != len(dst) {
		t.Fatalf("%d samples out of %d, want %d", n, len(src), len(dst))
	}
	return dst[r.MaxOut(2*r.Delay()):]
}

func TestPassBand(t *testing.T) {
	for _, p := range pairs {
		in, out := p[0], p[1]
		edge := passEdge * float64(min(in, out)) / 2
		for _, hz := range []float64{60, 300, 1000.5, 2500, edge - 1} {
			got := run(t, in, out, tone(in, hz, 20000, in/2))
			a, rest := fit(got, out, hz)
			if snr := 20 * math.Log10(a/math.Sqrt2/rest); snr < 70 {
				t.Errorf("%d to %d Hz, tone of %g Hz: SNR %.1f dB, want 70", in, out, hz, snr)
			}
			if gain := 20 * math.Log10(a/20000); math.Abs(gain) > 0.02 {
				t.Errorf("%d to %d Hz, tone of %g Hz: gain %.4f dB", in, out, hz, gain)
			}
		}
	}
}

// TestAliases feeds tones that the lower rate cannot carry: nothing may remain.
func TestAliases(t *testing.T) {
	for _, p := range pairs {
		in, out := p[0], p[1]
		if in < out {
			continue
		}
		nyquist := float64(out) / 2
		for _, hz := range []float64{nyquist + 1, nyquist * 1.1, nyquist * 1.37, float64(in)/2 - 50} {
			got := run(t, in, out, tone(in, hz, 30000, in/2))
			if level := 20 * math.Log10(rms(got)*math.Sqrt2/30000); level > -70 {
				t.Errorf("%d to %d Hz, tone of %g Hz: aliases at %.1f dB", in, out, hz, level)
			}
		}
	}
}

// TestImages looks above the input's Nyquist frequency for mirrors of a tone.
func TestImages(t *testing.T) {
	const in, out = 8000, 16000
	for _, hz := range []float64{200, 1000, 3000, 3500, 3900} {
		got := run(t, in, out, tone(in, hz, 30000, in))
		if a, _ := fit(got, out, in-hz); 20*math.Log10(a/30000) > -70 {
			t.Errorf("tone of %g Hz: image at %g Hz is %.1f dB", hz, in-hz, 20*math.Log10(a/30000))
		}
	}
}

func rms(x []int16) float64 {
	var s float64
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return math.Sqrt(s/float64(len(x))) + 1e-9
}

func TestDelay(t *testing.T) {
	for _, p := range pairs {
		r, err := New(p[0], p[1])
		if err != nil {
			t.Fatal(err)
		}
		// The peak of an impulse's answer lies Delay after the impulse.
		src := make([]int16, 4*r.Delay())
		src[100] = 30000
		dst := make([]int16, r.MaxOut(len(src)))
		r.Process(dst, src)
		peak := 0
		for i, v := range dst {
			if v > dst[peak] {
				peak = i
			}
		}
		want := float64(100+r.Delay()) * float64(p[1]) / float64(p[0])
		if math.Abs(float64(peak)-want) > 0.51 {
			t.Errorf("%v: peak at %d, want %.2f", p, peak, want)
		}
		if ms := 1000 * float64(r.Delay()) / float64(p[0]); ms > 6 {
			t.Errorf("%v: delay of %.1f ms", p, ms)
		}
	}
}

// naive computes the same filter output by output, over the whole input.
func naive(r *Resampler, src []int16) []int16 {
	dst := make([]int16, r.MaxOut(len(src)))
	for m := range dst {
		base, phase := m*r.down/r.up, m*r.down%r.up
		sum := 0.0
		for t := range r.taps {
			if k := base - t; k >= 0 {
				sum += float64(r.coef[phase*r.taps+r.taps-1-t]) * float64(src[k])
			}
		}
		dst[m] = int16(math.Round(max(math.MinInt16, min(math.MaxInt16, sum))))
	}
	return dst
}

func TestNaiveTwinAndSplits(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, p := range append(slices.Clone(pairs), [2]int{8000, 8000}, [2]int{17000, 16100}) {
		r, err := New(p[0], p[1])
		if err != nil {
			t.Fatal(err)
		}
		src := make([]int16, 3000)
		for i := range src {
			src[i] = int16(rng.IntN(65536) - 32768)
		}
		want := naive(r, src)
		whole := make([]int16, len(want))
		r.Process(whole, src)
		for i := range want {
			if d := int(whole[i]) - int(want[i]); d < -1 || d > 1 {
				t.Fatalf("%v: sample %d is %d, the naive filter says %d", p, i, whole[i], want[i])
			}
		}
		s, err := New(p[0], p[1])
		if err != nil {
			t.Fatal(err)
		}
		var split []int16
		for rest := src; len(rest) > 0; {
			n := min(len(rest), rng.IntN(700))
			dst := make([]int16, s.MaxOut(n))
			split = append(split, dst[:s.Process(dst, rest[:n])]...)
			rest = rest[n:]
		}
		if !slices.Equal(split, whole) {
			t.Errorf("%v: the result depends on how the input is cut", p)
		}
	}
}

func TestExtremes(t *testing.T) {
	for _, v := range []int16{math.MaxInt16, math.MinInt16} {
		src := make([]int16, 1000)
		for i := range src {
			src[i] = v
		}
		for i, got := range run(t, 8000, 16000, src) {
			if got != v {
				t.Fatalf("constant %d became %d at %d", v, got, i)
			}
		}
		// A square wave overshoots: it must clip, not wrap.
		for i := range src {
			src[i] = v
			if i/20%2 == 1 {
				src[i] = -v - 1
			}
		}
		out := run(t, 8000, 16000, src)
		for i := 1; i < len(out); i++ {
			if d := int(out[i]) - int(out[i-1]); d > 60000 || d < -60000 {
				t.Fatalf("wrapped from %d to %d", out[i-1], out[i])
			}
		}
	}
}

func TestConvert(t *testing.T) {
	for _, p := range append(slices.Clone(pairs), [2]int{16000, 16000}) {
		src := tone(p[0], 440, 10000, p[0]/4+7)
		got, err := Convert(src, p[0], p[1])
		if err != nil {
			t.Fatal(err)
		}
		if want := (len(src)*p[1] + p[0] - 1) / p[0]; len(got) != want {
			t.Fatalf("%v: %d samples, want %d", p, len(got), want)
		}
		for i := len(got) / 4; i < len(got)*3/4; i++ {
			want := 10000 * math.Sin(2*math.Pi*440*float64(i)/float64(p[1]))
			if math.Abs(float64(got[i])-want) > 25 {
				t.Fatalf("%v: sample %d is %d, want %.0f", p, i, got[i], want)
			}
		}
	}
	if got, err := Convert(nil, 8000, 16000); err != nil || len(got) != 0 {
		t.Errorf("nothing became %d samples, %v", len(got), err)
	}
}

func TestRefuses(t *testing.T) {
	for _, c := range []struct {
		in, out int
		want    string
	}{
		{0, 16000, "rates must lie between"},
		{8000, -1, "rates must lie between"},
		{8000, 1 << 30, "rates must lie between"},
		{44101, 8000, "common divisor"},
	} {
		if _, err := New(c.in, c.out); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("New(%d, %d): %v, want %q", c.in, c.out, err, c.want)
		}
	}
}

func TestProcessDoesNotAllocate(t *testing.T) {
	r, err := New(8000, 16000)
	if err != nil {
		t.Fatal(err)
	}
	src, dst := make([]int16, 160), make([]int16, 320)
	if n := testing.AllocsPerRun(100, func() { r.Process(dst, src) }); n != 0 {
		t.Errorf("%g allocations per call", n)
	}
}

func BenchmarkProcess(b *testing.B) {
	for _, p := range [][2]int{{8000, 16000}, {48000, 16000}, {16000, 8000}, {44100, 8000}} {
		b.Run(fmt.Sprintf("%d-%d", p[0], p[1]), func(b *testing.B) {
			r, err := New(p[0], p[1])
			if err != nil {
				b.Fatal(err)
			}
			src := make([]int16, p[0]/50)
			dst := make([]int16, r.MaxOut(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				r.Process(dst, src)
			}
		})
	}
}
