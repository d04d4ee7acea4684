package dsp

import (
	"math"
	"math/cmplx"
	"math/rand/v2"
	"slices"
	"testing"
)

// naiveFilterbank is Kaldi's definition, step by step, in float64.
func naiveFilterbank(x []float32) [][]float64 {
	const size, shift, points, bands = 400, 160, 512, 80
	mel := func(hz float64) float64 { return 1127 * math.Log(1+hz/700) }
	var out [][]float64
	for at := 0; at+size <= len(x); at += shift {
		frame := make([]float64, points)
		mean := 0.0
		for i := range size {
			frame[i] = float64(x[at+i])
			mean += frame[i] / size
		}
		for i := range size {
			frame[i] -= mean
		}
		for i := size - 1; i > 0; i-- {
			frame[i] -= 0.97 * frame[i-1]
		}
		frame[0] -= 0.97 * frame[0]
		for i := range size {
			frame[i] *= math.Pow(0.5-0.5*math.Cos(2*math.Pi*float64(i)/(size-1)), 0.85)
		}
		row := make([]float64, bands)
		for k := range points / 2 {
			var s complex128
			for i, v := range frame {
				s += complex(v, 0) * cmplx.Rect(1, -2*math.Pi*float64(i*k%points)/points)
			}
			m := mel(float64(k) * 16000 / points)
			for b := range row {
				at := func(i int) float64 { return mel(20) + (mel(8000)-mel(20))*float64(i)/(bands+1) }
				left, centre, right := at(b), at(b+1), at(b+2)
				w := 0.0
				switch {
				case m > left && m <= centre:
					w = (m - left) / (centre - left)
				case m > centre && m < right:
					w = (right - m) / (right - centre)
				}
				row[b] += w * real(s*cmplx.Conj(s))
			}
		}
		for b, e := range row {
			row[b] = math.Log(max(e, 1.1920928955078125e-07))
		}
		out = append(out, row)
	}
	return out
}

func TestFilterbankIsKaldis(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	noise := make([]float32, 2000)
	tone, quiet, step := make([]float32, 1111), make([]float32, 600), make([]float32, 720)
	for i := range noise {
		noise[i] = float32(r.NormFloat64() / 10)
	}
	for i := range tone {
		tone[i] = float32(0.9*math.Sin(float64(i)*0.3) + 0.05)
	}
	for i := range step {
		step[i] = float32(i / 360)
	}
	for name, x := range map[string][]float32{"noise": noise, "tone": tone, "nothing": quiet, "step": step} {
		want := naiveFilterbank(x)
		if n := FilterbankFrames(len(x)); n != len(want) {
			t.Fatalf("%s: %d frames, want %d", name, n, len(want))
		}
		got := make([]float32, len(want)*FilterbankBands)
		NewFilterbank().Features(got, x)
		for i, row := range want {
			// Sums are in float32: what is 120 dB below the loudest band is less sure.
			slack := 1e-12 * math.Exp(slices.Max(row))
			for b, w := range row {
				g := float64(got[i*FilterbankBands+b])
				if d := math.Abs(math.Exp(g) - math.Exp(w)); !(d < 1e-3*math.Exp(w)+slack) {
					t.Fatalf("%s: frame %d, band %d: %v, want %v", name, i, b, g, w)
				}
			}
		}
	}
}

func TestFilterbankFrames(t *testing.T) {
	for n, want := range map[int]int{0: 0, 399: 0, 400: 1, 559: 1, 560: 2, 16000: 98} {
		if got := FilterbankFrames(n); got != want {
			t.Errorf("%d frames of %d samples, want %d", got, n, want)
		}
	}
}

func TestFilterbankAllocatesNothing(t *testing.T) {
	f := NewFilterbank()
	x := make([]float32, 16000)
	dst := make([]float32, FilterbankFrames(len(x))*FilterbankBands)
	if n := testing.AllocsPerRun(3, func() { f.Features(dst, x) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkFilterbank(b *testing.B) {
	f := NewFilterbank()
	x := make([]float32, 16000)
	for i := range x {
		x[i] = float32(math.Sin(float64(i) * 0.1))
	}
	dst := make([]float32, FilterbankFrames(len(x))*FilterbankBands)
	for b.Loop() {
		f.Features(dst, x)
	}
}
