package quality

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"testing"

	"sidetone/internal/needs"
	"sidetone/internal/pcm"
	"sidetone/internal/wav"
)

// half is a half-band low-pass: every other sample of it but the middle one is 0.
func half() (h [24]float64) {
	for k := range h {
		t := float64(k) + 0.5
		h[k] = math.Sin(math.Pi*t) / (math.Pi * t) * (0.5 + 0.5*math.Cos(math.Pi*t/float64(len(h))))
	}
	return h
}

// double brings 8 kHz to 16 kHz.
func double(x []int16) []int16 {
	h := half()
	out := make([]int16, 2*len(x))
	for i := range x {
		out[2*i] = x[i]
		s := 0.0
		for k, w := range h {
			if i-k >= 0 {
				s += w * float64(x[i-k])
			}
			if i+1+k < len(x) {
				s += w * float64(x[i+1+k])
			}
		}
		out[2*i+1] = clip16(s)
	}
	return out
}

func clip16(s float64) int16 { return int16(max(-32768, min(32767, math.Round(s)))) }

// read is a file of 8 kHz as 16 kHz.
func read(t testing.TB, path string) []int16 {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a, err := wav.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if a.Rate != 8000 {
		t.Fatalf("%s has %d Hz", path, a.Rate)
	}
	return double(a.Channels[0])
}

// files are those of the voice evaluation whose names match.
func files(t testing.TB, pattern ...string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(append([]string{needs.Eval(t, "voice")}, pattern...)...))
	if err != nil || len(found) == 0 {
		t.Fatalf("no files %v: %v", pattern, err)
	}
	return found
}

func newMeter(t testing.TB) *Meter {
	t.Helper()
	m, err := NewMeter()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// hear gives a meter all of x as speech.
func hear(m *Meter, x []int16) {
	var f pcm.Frame
	f.Start = m.next
	for ; len(x) >= pcm.FrameSamples; x = x[pcm.FrameSamples:] {
		copy(f.Samples[:], x)
		m.Add(&f, true)
		f.Start += pcm.FrameSamples
	}
}
