package nonspeech

import (
	"math"
	"slices"
	"testing"
	"time"
)

func find(t *testing.T, name string) Kind {
	t.Helper()
	all := Kinds()
	i := slices.IndexFunc(all, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		t.Fatalf("no kind %q", name)
	}
	return all[i]
}

// power is the effective value of x in dB below full scale.
func power(x []int16) float64 {
	sum := 0.0
	for _, v := range x {
		sum += float64(v) * float64(v) / (1 << 30)
	}
	return 10 * math.Log10(sum/float64(len(x))+1e-12)
}

// share is the part of the power of x that lies at the frequencies, by
// Goertzel's algorithm.
func share(x []int16, hz ...float64) float64 {
	var at, all float64
	for _, v := range x {
		all += float64(v) * float64(v)
	}
	for _, f := range hz {
		var re, im float64
		for i, v := range x {
			w := 2 * math.Pi * f * float64(i) / Rate
			re += float64(v) * math.Cos(w)
			im += float64(v) * math.Sin(w)
		}
		at += (re*re + im*im) * 2 / float64(len(x))
	}
	return at / max(all, 1)
}

func TestSoundsAreTheSameAgain(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Kinds() {
		if seen[k.Name] {
			t.Errorf("two kinds are named %q", k.Name)
		}
		seen[k.Name] = true
		x := k.Samples(1, 8*time.Second)
		if len(x) != 8*Rate {
			t.Errorf("%s: %d samples in 8 s", k.Name, len(x))
		}
		if !slices.Equal(x, k.Samples(1, 8*time.Second)) {
			t.Errorf("%s: two runs differ", k.Name)
		}
		if k.Name == "silence" {
			if power(x) > -100 {
				t.Errorf("silence of %.0f dB", power(x))
			}
			continue
		}
		if slices.Equal(x, k.Samples(2, 8*time.Second)) {
			t.Errorf("%s: the seed changes nothing", k.Name)
		}
		if p := power(x); p < -80 || p > -1 {
			t.Errorf("%s: %.0f dB", k.Name, p)
		}
	}
}

func TestTonesAreTheStandards(t *testing.T) {
	for _, c := range []struct {
		name  string
		beats [][]beat
		// from and to bound a stretch of the first cadence, in seconds, in
		// which the frequencies sound; none means a pause.
		from, to float64
		hz       []float64
	}{
		{"North American ringback", ringbackTones()[:1], 0.1, 1.9, []float64{440, 480}},
		{"its pause", ringbackTones()[:1], 2.1, 5.9, nil},
		{"British ringback", ringbackTones()[1:2], 0.05, 0.35, []float64{400, 450}},
		{"European busy", busyTones()[2:], 0.05, 0.45, []float64{425}},
		{"information, first", specialTones()[:1], 0.02, 0.31, []float64{950}},
		{"information, third", specialTones()[:1], 0.68, 0.97, []float64{1800}},
	} {
		x := make([]float64, 10*Rate)
		at := 0
		for i := 0; at < len(x); i++ {
			b := c.beats[0][i%len(c.beats[0])]
			n := min(len(x)-at, int(b.seconds*Rate))
			for _, hz := range b.hz {
				tone(x[at:at+n], hz, 0.2)
			}
			at += n
		}
		y := make([]int16, 0, len(x))
		for _, v := range x[int(c.from*Rate):int(c.to*Rate)] {
			y = append(y, int16(v*math.MaxInt16))
		}
		if c.hz == nil {
			if power(y) > -100 {
				t.Errorf("%s: %.0f dB", c.name, power(y))
			}
			continue
		}
		if got := share(y, c.hz...); got < 0.95 || got > 1.05 {
			t.Errorf("%s: %.2f of the power at %v Hz", c.name, got, c.hz)
		}
	}
}

func TestLevelsAndFilters(t *testing.T) {
	x := make([]float64, Rate)
	tone(x, 300, 1)
	tone(x, 3000, 1)
	lowpass(600).run(x)
	level(x, gain(-20))
	y := make([]int16, len(x))
	for i, v := range x {
		y[i] = int16(v * math.MaxInt16)
	}
	if p := power(y); math.Abs(p+20) > 0.1 {
		t.Errorf("a level of -20 dB became %.1f", p)
	}
	if got := share(y[Rate/10:], 300); got < 0.95 {
		t.Errorf("the low-pass left %.2f at 300 Hz", got)
	}
	fade(x, Rate/10)
	if x[0] != 0 && math.Abs(x[0]) > 1e-3 || math.Abs(x[len(x)-1]) > 1e-3 {
		t.Errorf("faded ends %v and %v", x[0], x[len(x)-1])
	}
}

// Bursts of a mobile telephone come 217 times a second.
func TestMobileBuzzHasItsPitch(t *testing.T) {
	x := find(t, "mobile buzz").Samples(3, 30*time.Second)
	best := 0.0
	for at := 0; at+Rate/4 <= len(x); at += Rate / 8 {
		best = max(best, share(x[at:at+Rate/4], 216.67, 433.3, 650))
	}
	if best < 0.15 {
		t.Errorf("at most %.2f of the power is at the buzz's harmonics", best)
	}
}
