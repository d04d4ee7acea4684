package fingerprint

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"sort"
	"testing"

	"sidetone/internal/needs"
	"sidetone/internal/pcm"
	"sidetone/internal/wav"
	"sidetone/media/resample"
)

// read reads a telephone recording and brings it to 16 kHz.
func read(t testing.TB, path string) []int16 {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a, err := wav.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return wide(t, a.Channels[0])
}

// wide brings 8 kHz to 16 kHz.
func wide(t testing.TB, x []int16) []int16 {
	t.Helper()
	r, err := resample.New(8000, pcm.Rate)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]int16, r.MaxOut(len(x)))
	return out[:r.Process(out, x)]
}

// threshold is 30 dB below the loud frames, in dB.
func threshold(x []int16) float64 {
	var e []float64
	for ; len(x) >= pcm.FrameSamples; x = x[pcm.FrameSamples:] {
		e = append(e, energy(x[:pcm.FrameSamples]))
	}
	sort.Float64s(e)
	return e[len(e)*9/10] - 30
}

func energy(x []int16) float64 {
	var s float64
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return 10 * math.Log10(s/float64(len(x))+1)
}

// printOf hears samples; what is more than 30 dB below the loud parts is silence.
func printOf(t testing.TB, x []int16) Print {
	t.Helper()
	r, err := NewRecorder(0)
	if err != nil {
		t.Fatal(err)
	}
	quiet := threshold(x)
	var f pcm.Frame
	hang := 0
	for at := 0; at+pcm.FrameSamples <= len(x); at += pcm.FrameSamples {
		copy(f.Samples[:], x[at:])
		f.Start = int64(at)
		if hang--; energy(f.Samples[:]) > quiet {
			hang = 10
		}
		r.Hear(&f, hang > 0)
	}
	return r.Print()
}

func speakers(t testing.TB) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(needs.Eval(t, "voice", "wav"), "*"))
	if err != nil || len(list) == 0 {
		t.Fatalf("no speakers: %v", err)
	}
	return list
}

// lowest is the least share of differing bits of any two windows of a and b.
func lowest(a, b Print) float64 {
	best := 1.0
	for o := -(len(a) - stretch); o <= len(b)-stretch; o++ {
		lo, hi := max(0, -o), min(len(a), len(b)-o)
		var err, count int
		for i := lo; i < hi; i++ {
			if a[i] != Gap && b[i+o] != Gap {
				err, count = err+ones(a[i]^b[i+o]), count+1
			}
			if j := i - stretch; j >= lo && a[j] != Gap && b[j+o] != Gap {
				err, count = err-ones(a[j]^b[j+o]), count-1
			}
			if i-lo >= stretch-1 && count >= leastSpeech {
				best = min(best, float64(err)/float64(count*bits))
			}
		}
	}
	return best
}
