package ge2e

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"sidetone/internal/needs"
	"sidetone/voiceprint"
)

func load(tb testing.TB) *Engine {
	tb.Helper()
	f, err := os.Open(needs.Model(tb, "ge2e-speaker", "pretrained.pt"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	e, err := Load(f)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// hum is a deterministic sound with harmonics that glide, and some noise.
func hum(seconds, pitch float64) []float32 {
	r := rand.New(rand.NewPCG(3, uint64(pitch)))
	x := make([]float32, int(seconds*voiceprint.Rate))
	phase := 0.0
	for i := range x {
		at := float64(i) / voiceprint.Rate
		phase += 2 * math.Pi * pitch * (1 + 0.1*math.Sin(5*at)) / voiceprint.Rate
		v := 0.002 * r.NormFloat64()
		for h := 1.0; h < 12; h++ {
			v += 0.05 / h * math.Sin(h*phase) * (1 + math.Sin(3*at+h))
		}
		x[i] = float32(v)
	}
	return x
}

func embed(tb testing.TB, e *Engine, x []float32) voiceprint.Embedding {
	tb.Helper()
	v, err := e.Embed(x)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func TestModel(t *testing.T) {
	if got, want := load(t).Model(), (voiceprint.Model{ID: "ge2e-en-39373b86", Dim: 256}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// The reference is Resemblyzer's embed_utterance, written down in numpy.
func TestReferenceEmbedding(t *testing.T) {
	b, err := os.ReadFile("testdata/hum-110.txt")
	if err != nil {
		t.Fatal(err)
	}
	var want voiceprint.Embedding
	for _, f := range strings.Fields(string(b)) {
		v, err := strconv.ParseFloat(f, 32)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, float32(v))
	}
	got := embed(t, load(t), hum(3.2, 110))
	if c := voiceprint.Cosine(got, want); !(c > 0.99999) {
		t.Errorf("cosine %v", c)
	}
}

// The numbers are those of Resemblyzer's compute_partial_slices.
func TestPartials(t *testing.T) {
	for n, want := range map[int]int{8000: 1, 25600: 1, 31519: 1, 31520: 2, 31680: 2, 48000: 3, 51200: 3, 80000: 5, 160000: 12, 480000: 38} {
		if got := partials(n); got != want {
			t.Errorf("%d partials of %d samples, want %d", got, n, want)
		}
	}
}

func TestWhatCannotBeEmbedded(t *testing.T) {
	e := load(t)
	nan := hum(1, 100)
	nan[7000] = float32(math.NaN())
	for name, c := range map[string]struct {
		x     []float32
		short bool
	}{
		"nothing":      {nil, true},
		"too short":    {hum(1, 100)[:7999], true},
		"silence":      {make([]float32, 16000), false},
		"not a number": {nan, false},
	} {
		v, err := e.Embed(c.x)
		if err == nil || v != nil || errors.Is(err, voiceprint.ErrTooShort) != c.short {
			t.Errorf("%s: %v, %v", name, v != nil, err)
		}
	}
	if v, err := e.Embed(hum(0.5, 100)); err != nil || math.Abs(voiceprint.Cosine(v, v)-1) > 1e-6 {
		t.Errorf("half a second: %v, %v", v, err)
	}
	if _, err := Load(strings.NewReader("weights")); err == nil {
		t.Error("text: no error")
	}
}

// Ten seconds have more partials than go through the network together.
func TestConcurrentCallsDoNotMeet(t *testing.T) {
	e := load(t)
	var want, got [4]voiceprint.Embedding
	for i := range want {
		want[i] = embed(t, e, hum(10/float64(i+1), 90+30*float64(i)))
	}
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			var err error
			if got[i], err = e.Embed(hum(10/float64(i+1), 90+30*float64(i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range want {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("call %d differs from the same one alone", i)
		}
	}
}

func TestEmbedAllocatesOnlyTheEmbedding(t *testing.T) {
	e := load(t)
	x := hum(2, 100)
	if n := testing.AllocsPerRun(3, func() { embed(t, e, x) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkEmbed(b *testing.B) {
	e := load(b)
	for _, seconds := range []float64{3, 10} {
		b.Run(strconv.Itoa(int(seconds))+"s", func(b *testing.B) {
			x := hum(seconds, 100)
			b.ReportAllocs()
			for b.Loop() {
				embed(b, e, x)
			}
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/seconds, "s/s")
		})
	}
}
