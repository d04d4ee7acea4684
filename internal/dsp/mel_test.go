package dsp

import (
	"encoding/json"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
)

// sound is the sound of testdata/peer.py.
func sound(n int) []float32 {
	x := make([]float32, n)
	y, s := 0, int64(1)
	for i := range x {
		s = (s*1103515245 + 12345) % (1 << 31)
		y += int(s>>16)%2001 - 1000 - y>>4
		v := y
		if i/4000%2 == 1 {
			v += 12000*(i/40%2) - 6000
		}
		x[i] = float32(max(-32768, min(32767, v))) / 32768
	}
	return x
}

func TestFeaturesMatchFasterWhisper(t *testing.T) {
	raw, err := os.ReadFile("testdata/mel.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Samples, Bands, Frames int
		Mean                   float64
		Rows                   map[string][]float64
	}
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if got := Frames(c.Samples); got != c.Frames {
			t.Errorf("%d samples: %d frames, want %d", c.Samples, got, c.Frames)
			continue
		}
		m := NewMel(c.Bands)
		got := make([]float32, c.Frames*c.Bands)
		m.Features(got, sound(c.Samples), nil)
		var sum, worst float64
		for _, v := range got {
			sum += float64(v)
		}
		if mean := sum / max(1, float64(len(got))); math.Abs(mean-c.Mean) > 2e-5 {
			t.Errorf("%d samples: mean %v, want %v", c.Samples, mean, c.Mean)
		}
		for k, want := range c.Rows {
			frame, _ := strconv.Atoi(k)
			for b, w := range want {
				worst = max(worst, math.Abs(float64(got[frame*c.Bands+b])-w))
			}
		}
		// The reference transforms in float32; a quiet band beside a loud one
		// shows it most.
		if worst > 1e-4 {
			t.Errorf("%d samples, %d bands: off by %v", c.Samples, c.Bands, worst)
		}
	}
}

func TestLogMatchesNaive(t *testing.T) {
	m := NewMel(80)
	frame := sound(Window)
	got := make([]float32, 80)
	m.Log(got, frame)
	for b := range got {
		var want float64
		for i, w := range m.weights[b] {
			var c complex128
			for n, x := range frame {
				win := 0.5 - 0.5*math.Cos(2*math.Pi*float64(n)/Window)
				c += complex(float64(x)*win, 0) * cmplx.Rect(1, -2*math.Pi*float64(n*(m.first[b]+i))/Window)
			}
			want += float64(w) * real(c*cmplx.Conj(c))
		}
		want = math.Log10(max(want, 1e-10))
		if math.Abs(float64(got[b])-want) > 1e-5 {
			t.Errorf("band %d: %v, want %v", b, got[b], want)
		}
	}
}

// TestFeaturesOfGrowingRecordings: what is kept from call to call changes no bit,
// however the recording grows and shrinks and whatever extractor has made it.
func TestFeaturesOfGrowingRecordings(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	all := sound(3 * 16000)
	extractors := []*Mel{NewMel(80), NewMel(80), NewMel(128)}
	for range 12 {
		var e Energies
		rest := all[rng.IntN(16000):]
		n := rng.IntN(3 * Window)
		for range 12 {
			m := extractors[rng.IntN(20)*len(extractors)/20]
			size := Frames(n) * m.bands
			got, want := make([]float32, size), make([]float32, size)
			m.Features(got, rest[:n], &e)
			m.Features(want, rest[:n], nil)
			if !slices.Equal(got, want) {
				t.Fatalf("%d samples, %d bands: other features with what was kept", n, m.bands)
			}
			if kept := len(e.rows) / m.bands; kept < (n-Window)/Hop {
				t.Fatalf("%d samples: only %d frames kept", n, kept)
			}
			switch rng.IntN(4) {
			case 0:
				n = max(0, n-rng.IntN(3*Window))
			case 1:
				n = min(len(rest), n+rng.IntN(Hop))
			default:
				n = min(len(rest), n+rng.IntN(16000))
			}
		}
	}
}

func TestFeaturesDoNotAllocate(t *testing.T) {
	m := NewMel(80)
	x := sound(16000)
	dst := make([]float32, Frames(len(x))*80)
	if n := testing.AllocsPerRun(5, func() { m.Features(dst, x, nil) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	var e Energies
	m.Features(dst, x, &e)
	if n := testing.AllocsPerRun(5, func() { m.Features(dst, x[:12000], &e) }); n != 0 {
		t.Errorf("%v allocations where all is known", n)
	}
}

func BenchmarkFeatures(b *testing.B) {
	for _, s := range []int{5, 10, 30} {
		b.Run(strconv.Itoa(s)+"s", func(b *testing.B) {
			m := NewMel(80)
			x := sound(s * 16000)
			dst := make([]float32, Frames(len(x))*80)
			b.ReportAllocs()
			for b.Loop() {
				m.Features(dst, x, nil)
			}
		})
		b.Run(strconv.Itoa(s)+"s-1s-new", func(b *testing.B) {
			m := NewMel(80)
			x := sound(s * 16000)
			dst := make([]float32, Frames(len(x))*80)
			var e Energies
			m.Features(dst, x[:len(x)-16000], &e)
			known := slices.Grow(e.rows, len(dst))
			b.ReportAllocs()
			for b.Loop() {
				e.rows = known
				m.Features(dst, x, &e)
			}
		})
	}
}
