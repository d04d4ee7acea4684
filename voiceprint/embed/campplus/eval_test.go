package campplus

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"sidetone/internal/needs"
	"sidetone/internal/wav"
	"sidetone/voiceprint"
)

// double brings 8 kHz to 16 kHz with the filter that the reference was made with
// (scipy.signal.resample_poly's own): 41 points, Kaiser's window with β of 5. Without
// a noise floor every filter leaves something else above 4 kHz, and other scores.
func double(x []int16) []float32 {
	const half, beta = 20, 5
	var h [2*half + 1]float64
	sum := 0.0
	for i := range h {
		at := float64(i - half)
		h[i] = bessel0(beta*math.Sqrt(1-at*at/half/half)) / 2
		if at != 0 {
			h[i] *= math.Sin(math.Pi*at/2) / (math.Pi * at / 2)
		}
		sum += h[i]
	}
	out := make([]float32, 2*len(x))
	for i := range out {
		y := 0.0
		for k, w := range h {
			if at := i + half - k; at >= 0 && at%2 == 0 && at/2 < len(x) {
				y += w * float64(x[at/2])
			}
		}
		out[i] = float32(2 * y / sum / 32768)
	}
	return out
}

// bessel0 is the modified Bessel function of the first kind, of order zero.
func bessel0(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; k < 50; k++ {
		term *= x / 2 / k * x / 2 / k
		sum += term
	}
	return sum
}

func call(t *testing.T, name string) []int16 {
	t.Helper()
	b, err := os.ReadFile(needs.Eval(t, "voice", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	a, err := wav.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return a.Channels[0]
}

func lines(t *testing.T, elem ...string) []string {
	t.Helper()
	b, err := os.ReadFile(needs.Eval(t, append([]string{"voice"}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

// The reference scores were made with another resampler, without a floor, and with a
// rectifier behind the network that its publisher does not have: what is below zero
// is left out of their cosines.
func TestReferenceScores(t *testing.T) {
	e := load(t, Config{Bare: true})
	rectified := func(x []int16) voiceprint.Embedding {
		v := embed(t, e, double(x))
		for i := range v {
			v[i] = max(v[i], 0)
		}
		voiceprint.Unit(v)
		return v
	}
	const each = 5
	for _, condition := range []string{"tel", "codec", "noise"} {
		trials := lines(t, "trials_"+condition+".tsv")[1:]
		scores := lines(t, "reference", "campp_cosine_"+condition+".txt")
		if len(scores) != len(trials) {
			t.Fatalf("%s: %d scores of %d trials", condition, len(scores), len(trials))
		}
		for i := range each {
			// Targets and impostors, all durations, over the whole of the file.
			k := i * (len(trials) - 1) / (each - 1)
			f := strings.Split(trials[k], "\t")
			var numbers [3]float64
			for j, s := range []string{f[4], f[5], scores[k]} {
				v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
				if err != nil {
					t.Fatal(err)
				}
				numbers[j] = v
			}
			test := call(t, f[3])[int(numbers[0]*8000):][:int(numbers[1]*8000)]
			got := voiceprint.Cosine(rectified(call(t, f[2])), rectified(test))
			if d := math.Abs(got - numbers[2]); !(d < 0.005) {
				t.Errorf("%s, trial %d (%s, %v s): %.4f, want %.4f", condition, k, f[0], numbers[1], got, numbers[2])
			}
		}
	}
}
