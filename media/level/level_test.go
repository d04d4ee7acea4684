package level

import (
	"math"
	"math/rand/v2"
	"testing"

	"sidetone/media"
)

const frame = 160

// tone is one frame of a tone of the given amplitude.
func tone(amplitude float64, n int) []int16 {
	x := make([]int16, frame)
	for i := range x {
		x[i] = int16(max(-32124, min(32124, math.Round(amplitude*math.Sin(2*math.Pi*437*float64(n*frame+i)/8000)))))
	}
	return x
}

func TestLevel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	noise := func() []int16 {
		x := make([]int16, frame)
		for i := range x {
			x[i] = int16(rng.IntN(41) - 20)
		}
		return x
	}
	sine := func(a float64) float64 { return 20 * math.Log10(a/32768/math.Sqrt2) }
	for _, c := range []struct {
		name    string
		frames  func(n int) []int16
		count   int
		level   float64
		speech  uint64
		peak    float64
		clipped bool
	}{
		{"a tone", func(n int) []int16 { return tone(10000, n) }, 100, sine(10000), 100, 10000, false},
		{"pauses of noise do not count", func(n int) []int16 {
			if n%4 != 0 {
				return noise()
			}
			return tone(3000, n)
		}, 400, sine(3000), 100, 3000, false},
		{"nor does silence", func(n int) []int16 {
			if n%2 != 0 {
				return make([]int16, frame)
			}
			return tone(8000, n)
		}, 100, sine(8000), 50, 8000, false},
		{"two levels of speech", func(n int) []int16 { return tone([]float64{8000, 4000}[n%2], n) }, 100, sine(math.Sqrt(40e6)), 100, 8000, false},
		{"quiet speech", func(n int) []int16 { return tone(100, n) }, 100, sine(100), 100, 100, false},
		{"a tone that just fits", func(n int) []int16 { return tone(32124, n) }, 100, sine(32124), 100, 32124, false},
		{"cut off", func(n int) []int16 { return tone(60000, n) }, 100, -1.1, 100, 32124, true},
		{"nothing", func(int) []int16 { return make([]int16, frame) }, 100, 0, 0, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m Meter
			for n := range c.count {
				m.Add(c.frames(n))
			}
			var q media.Quality
			m.Fill(&q)
			if math.Abs(q.Level-c.level) > 0.3 || q.SpeechFrames != c.speech {
				t.Errorf("level %.2f of %d frames, want %.2f of %d", q.Level, q.SpeechFrames, c.level, c.speech)
			}
			if peak := 32768 * math.Pow(10, q.Peak/20); c.peak > 0 && math.Abs(peak-c.peak) > 30 {
				t.Errorf("peak %.1f dBFS, want that of %g", q.Peak, c.peak)
			}
			if clipped := q.Clipped > uint64(c.count*frame/4); clipped != c.clipped {
				t.Errorf("%d of %d samples clipped", q.Clipped, c.count*frame)
			}
		})
	}
}

// TestClipped counts by hand, over the border of frames.
func TestClipped(t *testing.T) {
	var m Meter
	for _, x := range [][]int16{
		{0, 32124, 0, 32124, 32124, 5},      // 2: one alone is not cut off
		{32767, -32768, 32767, -32768, 0},   // 0: no two alike in a row
		{-32124, -32124, -32124, 0, 32124},  // 3
		{32124, 32124, 0, 0, 0, 0, 0, 0, 0}, // 3 with the one before
	} {
		m.Add(x)
	}
	var q media.Quality
	m.Fill(&q)
	if q.Clipped != 8 {
		t.Errorf("%d samples clipped, want 8", q.Clipped)
	}
}

func TestDoesNotAllocate(t *testing.T) {
	var m Meter
	x := tone(9000, 0)
	if n := testing.AllocsPerRun(100, func() {
		m.Add(x)
		var q media.Quality
		m.Fill(&q)
	}); n != 0 {
		t.Errorf("%g allocations per frame", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	var m Meter
	x := tone(9000, 0)
	b.ReportAllocs()
	for b.Loop() {
		m.Add(x)
	}
}

func BenchmarkFill(b *testing.B) {
	var m Meter
	for n := range 100 {
		m.Add(tone(float64(30*n), n))
	}
	var q media.Quality
	b.ReportAllocs()
	for b.Loop() {
		m.Fill(&q)
	}
}
