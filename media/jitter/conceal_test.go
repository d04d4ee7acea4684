package jitter

import (
	"math"
	"slices"
	"testing"
	"time"
)

// TestConcealmentDoesNotClick looks for steps in a tone with holes: none may be
// much larger than the tone's own.
func TestConcealmentDoesNotClick(t *testing.T) {
	for _, hz := range []float64{100, 180, 440, 1000} {
		tone := sine(hz, 10000)
		steepest := 10000 * 2 * math.Pi * hz / rate
		for name, all := range map[string][]arrival{
			"one lost":   without(tone.stream(100), 50),
			"two lost":   without(tone.stream(100), 50, 51),
			"three lost": without(tone.stream(100), 50, 51, 52),
			"at once":    without(tone.stream(100), 1),
			"silence":    paused(tone, time.Second),
			"stopped":    tone.stream(50),
		} {
			r := play(t, Config{}, all, 3*time.Second)
			for i := 1; i < len(r.samples); i++ {
				step := math.Abs(float64(r.samples[i]) - float64(r.samples[i-1]))
				// Over 4 ms the blend may also go from full level to none.
				if step > 1.3*steepest+10000/32+100 {
					t.Errorf("%g Hz, %s: step of %.0f at %d, the tone's own are %.0f", hz, name, step, i, steepest)
					break
				}
			}
		}
	}
}

// TestConcealment measures what is made up: like what was heard, then silent.
func TestConcealment(t *testing.T) {
	tone := sine(200, 10000) // 40 samples a period: a repetition fits exactly
	r := play(t, Config{MaxDepth: 60 * time.Millisecond}, without(tone.stream(100), 50), 2*time.Second)
	var diff float64
	for i := 8000; i < 8080; i++ {
		d := float64(r.samples[i]) - float64(tone(int64(i)))
		diff += d * d
	}
	if rest := math.Sqrt(diff / 80); rest > 200 {
		t.Errorf("a lost piece of a tone is off by %.0f, root mean square", rest)
	}
	r = play(t, Config{}, tone.stream(50), 2*time.Second)
	for i, v := range r.samples[8000+480:] {
		if v != 0 {
			t.Fatalf("sample %d after the end is %d; by 60 ms there must be silence", 480+i, v)
		}
	}
	if slices.Equal(r.samples[8000:8080], make([]int16, 80)) {
		t.Error("nothing was made up after the end")
	}
}
