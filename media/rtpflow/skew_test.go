package rtpflow

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// TestSkew runs senders whose clocks are off over a network that is not even.
func TestSkew(t *testing.T) {
	for _, ppm := range []float64{0, 20, -80, 300, -2000} {
		rng := rand.New(rand.NewPCG(3, 4))
		f := newFlow(t, Config{Clock: 8000, Rate: 8000})
		known := time.Duration(0)
		for i := range 5 * 60 * 50 {
			// The sender's 20 ms are shorter when its clock is fast.
			sent := time.Duration(float64(i) * 20e6 / (1 + ppm*1e-6))
			delay := time.Duration(rng.ExpFloat64() * 5e6)
			if i/3000%2 == 1 { // every other minute is bad
				delay += time.Duration(rng.Float64() * 40e6)
			}
			f.Media(Packet{uint16(i), uint32(i * 160), false, 160, epoch.Add(sent + delay)})
			if _, ok := f.Skew(); ok && known == 0 {
				known = sent
			}
		}
		got, ok := f.Skew()
		if !ok || math.Abs(got-ppm) > 10 {
			t.Errorf("a clock that is %g ppm fast was found to be %.1f, %t", ppm, got, ok)
		}
		if known < time.Minute || known > 70*time.Second {
			t.Errorf("known after %v", known)
		}
	}
}

// TestSkewSurvivesJumps: a clock that was set is not a fast one.
func TestSkewSurvivesJumps(t *testing.T) {
	f := newFlow(t, Config{Clock: 8000, Rate: 8000})
	for i := range 5 * 60 * 50 {
		ts := uint32(i * 160)
		if i > 6000 {
			ts += 1 << 30
		}
		f.Media(Packet{uint16(i), ts, false, 160, epoch.Add(time.Duration(i) * 20 * time.Millisecond)})
	}
	if got, ok := f.Skew(); !ok || math.Abs(got) > 1 || f.Stats().Jumps != 1 {
		t.Errorf("%.1f ppm, %t, %d jumps", got, ok, f.Stats().Jumps)
	}
}

func TestReception(t *testing.T) {
	f := newFlow(t, Config{Clock: 8000, Rate: 8000, Seq: 500})
	if _, ok := f.Reception(); ok {
		t.Error("a report before the first packet")
	}
	if _, ok := f.At(0); ok {
		t.Error("a position before the first packet")
	}
	for i := range 10 {
		if i != 4 {
			f.Media(Packet{uint16(65530 + i), uint32(i * 160), false, 160, ms(i * 20)})
		}
	}
	got, ok := f.Reception()
	if want := (Reception{Highest: 1<<16 + 3, Expected: 10, Lost: 1}); !ok || got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if pos, ok := f.At(800); !ok || pos != 800 {
		t.Errorf("timestamp 800 stands at %d, %t", pos, ok)
	}
}
