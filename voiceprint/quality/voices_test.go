package quality

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"sidetone/voiceprint"
)

const testDim = 64

// person makes embeddings of one voice: two stretches have a cosine of about same.
type person struct {
	*rand.Rand
	voice []float64
	same  float64
}

func newPerson(seed uint64, same float64) *person {
	p := &person{Rand: rand.New(rand.NewPCG(seed, 9)), same: same}
	p.voice = p.direction()
	return p
}

func (p *person) direction() []float64 {
	v, sum := make([]float64, testDim), 0.0
	for i := range v {
		v[i] = p.NormFloat64()
		sum += v[i] * v[i]
	}
	for i := range v {
		v[i] /= math.Sqrt(sum)
	}
	return v
}

func (p *person) stretch() voiceprint.Embedding {
	e, off := make(voiceprint.Embedding, testDim), p.direction()
	for i := range e {
		e[i] = float32(math.Sqrt(p.same)*p.voice[i] + math.Sqrt(1-p.same)*off[i])
	}
	voiceprint.Unit(e)
	return e
}

func mix(a, b voiceprint.Embedding) voiceprint.Embedding {
	e := make(voiceprint.Embedding, len(a))
	for i := range e {
		e[i] = a[i] + b[i]
	}
	voiceprint.Unit(e)
	return e
}

func TestVoices(t *testing.T) {
	a, b := newPerson(1, 0.5), newPerson(2, 0.5)
	for name, c := range map[string]struct {
		who         string
		least, most float64
	}{
		"one":                         {"aaaaaaaa", 0, 0.02},
		"one, long":                   {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0, 0.01},
		"one, twice":                  {"aa", 0, 0.1},
		"two in turn":                 {"abab", 0.95, 1},
		"the second takes over":       {"aaaabbbb", 0.99, 1},
		"a word of the second":        {"aaaaaab", 0.9, 1},
		"stretches with both":         {"axxb", 0.5, 1},
		"the second long ago":         {"baaaaaaaaaaaaaaaaaaaaaaaa", 0, 0.01},
		"the second, still in memory": {"baaaaaaaaaaaaaaaaaaaaaaa", 0.9, 1},
	} {
		v, err := NewVoices(VoicesConfig{Dim: testDim})
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range c.who {
			e := a.stretch()
			switch w {
			case 'b':
				e = b.stretch()
			case 'x':
				e = mix(e, b.stretch())
			}
			if err := v.Add(e); err != nil {
				t.Fatal(err)
			}
		}
		if got := v.Unlike(); !(got >= c.least && got <= c.most) {
			t.Errorf("%s: %.3f, want %v to %v", name, got, c.least, c.most)
		}
		v.Reset()
		if got := v.Unlike(); !math.IsNaN(got) {
			t.Errorf("%s: %v after a reset", name, got)
		}
	}
}

func TestTooFewStretches(t *testing.T) {
	v, err := NewVoices(VoicesConfig{Dim: testDim})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Add(newPerson(1, 0.5).stretch()); err != nil {
		t.Fatal(err)
	}
	if got := v.Unlike(); !math.IsNaN(got) {
		t.Errorf("one stretch is unlike by %v", got)
	}
	if err := v.Add(make(voiceprint.Embedding, testDim+1)); !errors.Is(err, voiceprint.ErrModel) {
		t.Errorf("another model's: %v", err)
	}
}

func TestVoicesConfig(t *testing.T) {
	good := VoicesConfig{Dim: 3, Same: Spread{0.6, 0.1}, Other: Spread{0.1, 0.1}}
	for name, change := range map[string]func(*VoicesConfig){
		"no dimensions": func(c *VoicesConfig) { c.Dim = 0 },
		"no spread":     func(c *VoicesConfig) { c.Same.Deviation = 0 },
		"half of it":    func(c *VoicesConfig) { c.Other = Spread{} },
		"turned round":  func(c *VoicesConfig) { c.Same.Mean = 0 },
		"no number":     func(c *VoicesConfig) { c.Other.Mean = math.NaN() },
	} {
		c := good
		change(&c)
		if _, err := NewVoices(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestAddOfVoicesAllocatesNothing(t *testing.T) {
	v, err := NewVoices(VoicesConfig{Dim: testDim})
	if err != nil {
		t.Fatal(err)
	}
	e := newPerson(1, 0.5).stretch()
	if n := testing.AllocsPerRun(50, func() {
		if err := v.Add(e); err != nil {
			t.Fatal(err)
		}
		v.Unlike()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkUnlike(b *testing.B) {
	v, err := NewVoices(VoicesConfig{Dim: testDim})
	if err != nil {
		b.Fatal(err)
	}
	p := newPerson(1, 0.5)
	for range mostStretches {
		if err := v.Add(p.stretch()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		v.Unlike()
	}
}
