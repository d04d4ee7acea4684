package campplus

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

func load(tb testing.TB, c Config) *Engine {
	tb.Helper()
	f, err := os.Open(needs.Model(tb, "campplus-speaker", "campplus_cn_en_common.pt"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	e, err := Load(f, c)
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

func TestModel(t *testing.T) {
	for c, want := range map[Config]string{{}: "campplus-zh-en-92f29b94-l26-f50", {Bare: true}: "campplus-zh-en-92f29b94"} {
		if got := load(t, c).Model(); got.ID != want || got.Dim != Dim {
			t.Errorf("%+v: %+v, want %s", c, got, want)
		}
	}
}

func TestWhatCannotBeEmbedded(t *testing.T) {
	e := load(t, Config{})
	nan, inf := hum(1, 100), hum(1, 100)
	nan[7000], inf[7000] = float32(math.NaN()), float32(math.Inf(1))
	for name, c := range map[string]struct {
		x     []float32
		short bool
	}{
		"nothing":      {nil, true},
		"too short":    {hum(1, 100)[:7999], true},
		"silence":      {make([]float32, 16000), false},
		"not a number": {nan, false},
		"infinite":     {inf, false},
	} {
		v, err := e.Embed(c.x)
		if err == nil || v != nil || errors.Is(err, voiceprint.ErrTooShort) != c.short {
			t.Errorf("%s: %v, %v", name, v != nil, err)
		}
	}
	// What went wrong is not in the scratch of what comes next.
	v, err := e.Embed(hum(0.5, 100))
	if err != nil || math.Abs(voiceprint.Cosine(v, v)-1) > 1e-6 {
		t.Errorf("half a second: %v, %v", v, err)
	}
}

func embed(tb testing.TB, e *Engine, x []float32) voiceprint.Embedding {
	tb.Helper()
	v, err := e.Embed(x)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// The reference is the network of the weights' publisher as an ONNX graph, written
// operation by operation, in ONNX Runtime, on features of kaldi-native-fbank.
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
	got := embed(t, load(t, Config{Bare: true}), hum(3.2, 110))
	if c := voiceprint.Cosine(got, want); !(c > 0.99999) {
		t.Errorf("cosine %v", c)
	}
}

// What is louder or softer is the same voice, also above its floor.
func TestLevelMakesNoDifference(t *testing.T) {
	e := load(t, Config{})
	x := hum(2, 150)
	loud := embed(t, e, x)
	for i := range x {
		x[i] *= 0.01
	}
	if c := voiceprint.Cosine(loud, embed(t, e, x)); !(c > 0.99999) {
		t.Errorf("cosine %v at a hundredth of the level", c)
	}
}

func TestLongSpeechIsTheSumOfItsParts(t *testing.T) {
	e := load(t, Config{Bare: true})
	x := append(hum(31, 120), hum(31, 180)...)
	got, want := embed(t, e, x), embed(t, e, x[:31*voiceprint.Rate])
	for i, v := range embed(t, e, x[31*voiceprint.Rate:]) {
		want[i] += v
	}
	voiceprint.Unit(want)
	if c := voiceprint.Cosine(got, want); !(c > 0.99999) {
		t.Errorf("cosine %v", c)
	}
	if len(e.scratch) != 0 {
		t.Error("the scratch of long speech is kept")
	}
}

func TestConcurrentCallsDoNotMeet(t *testing.T) {
	e := load(t, Config{})
	var want, got [6]voiceprint.Embedding
	for i := range want {
		want[i] = embed(t, e, hum(0.6+0.2*float64(i), 90+30*float64(i)))
	}
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			var err error
			if got[i], err = e.Embed(hum(0.6+0.2*float64(i), 90+30*float64(i))); err != nil {
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

func TestEmbedAllocatesLittle(t *testing.T) {
	e := load(t, Config{})
	x := hum(2, 100)
	// The embedding itself, and no more than two small ones.
	if n := testing.AllocsPerRun(3, func() { embed(t, e, x) }); n > 3 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkEmbed(b *testing.B) {
	e := load(b, Config{})
	for _, seconds := range []float64{3, 5, 10, 30} {
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
