package campplus

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
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
	for c, want := range map[Config]string{{}: "campplus-zh-en-92f29b94-f50", {NoFloor: true}: "campplus-zh-en-92f29b94"} {
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
