package fingerprint

import (
	"bytes"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sidetone/internal/needs"
	"sidetone/internal/pcm"
	"sidetone/media/g711"
)

// chatter is a sound that changes as speech does: harmonics of a wandering pitch
// under wandering resonances, with pauses. Another seed says another thing.
func chatter(seed uint64, d time.Duration) []int16 {
	rnd := rand.New(rand.NewPCG(seed, 1))
	out := make([]int16, pcm.Samples(d))
	var phase, f0, f1, f2, level float64 = 0, 120, 500, 1500, 0
	var g0, g1, g2, want float64 = 120, 500, 1500, 1
	for i := range out {
		if i%1600 == 0 {
			g0, g1, g2, want = 90+80*rnd.Float64(), 300+500*rnd.Float64(), 900+1600*rnd.Float64(), 0.2+rnd.Float64()
			if rnd.IntN(12) == 0 {
				want = 0
			}
		}
		f0, f1, f2, level = f0+(g0-f0)/800, f1+(g1-f1)/500, f2+(g2-f2)/500, level+(want-level)/300
		phase += f0 / pcm.Rate
		var s float64
		sin, cos := math.Sincos(2 * math.Pi * phase)
		turn := complex(cos, sin)
		for h, z := 2, turn*turn; float64(h)*f0 < 3400; h, z = h+1, z*turn {
			d1, d2 := (float64(h)*f0-f1)/90, (float64(h)*f0-f2)/120
			s += imag(z) * (1/(1+d1*d1) + 0.6/(1+d2*d2))
		}
		out[i] = int16(max(-32768, min(32767, 3000*level*s)))
	}
	return out
}

// The ways in which a telephone spoils a recording.

func quieter(x []int16, dB float64) []int16 {
	out := slices.Clone(x)
	for i, v := range out {
		out[i] = int16(math.Round(float64(v) * math.Pow(10, -dB/20)))
	}
	return out
}

func noisy(x []int16, snr float64) []int16 {
	rnd := rand.New(rand.NewPCG(9, 9))
	by := math.Pow(10, (energy(x)-snr)/20)
	out := slices.Clone(x)
	for i, v := range out {
		out[i] = int16(max(-32768, min(32767, float64(v)+by*rnd.NormFloat64())))
	}
	return out
}

// tilted is heard through a handset: a resonance and a roll-off.
func tilted(x []int16) []int16 {
	out := make([]int16, len(x))
	var y1, y2, lo float64
	for i, v := range x {
		y := 0.4*float64(v) + 0.9*y1 - 0.6*y2
		y1, y2 = y, y1
		lo += 0.05 * (y - lo)
		out[i] = int16(max(-32768, min(32767, y-lo)))
	}
	return out
}

func muLaw(t testing.TB, x []int16) []int16 {
	t.Helper()
	c, err := g711.New(g711.MuLaw)
	if err != nil {
		t.Fatal(err)
	}
	code := make([]byte, len(x))
	if _, err := c.Encode(code, x); err != nil {
		t.Fatal(err)
	}
	out := make([]int16, len(x))
	if _, err := c.Decode(out, code); err != nil {
		t.Fatal(err)
	}
	return out
}

// lossy loses a packet in so many, filled with zeros.
func lossy(x []int16, in int) []int16 {
	out := slices.Clone(x)
	for at := in * pcm.FrameSamples / 2; at+pcm.FrameSamples <= len(out); at += in * pcm.FrameSamples {
		clear(out[at : at+pcm.FrameSamples])
	}
	return out
}

func TestPlayedAgain(t *testing.T) {
	said := chatter(1, 12*time.Second)
	enrolled := printOf(t, said)
	later := func(x []int16) []int16 { return append(make([]int16, 12345), x...) }
	for name, x := range map[string][]int16{
		"as it was":       said,
		"later":           later(said),
		"quieter":         quieter(said, 20),
		"mu-law":          muLaw(t, quieter(said, 12)),
		"noise":           noisy(said, 15),
		"another handset": tilted(said),
		"loss":            lossy(said, 25),
		"a part":          later(said[50000:115000]),
		"all at once":     later(muLaw(t, lossy(noisy(tilted(quieter(said, 10)), 20), 33))),
	} {
		s, ok := Match(enrolled, printOf(t, x))
		if !ok || s.Length < 2500*time.Millisecond {
			t.Errorf("%s: %+v, %v", name, s, ok)
			continue
		}
		if name == "later" && (s.B-s.A-pcm.Duration(12345)).Abs() > 2*Step {
			t.Errorf("later: %v in one is %v in the other, %v apart", s.A, s.B, pcm.Duration(12345))
		}
	}
	for seed := range uint64(6) {
		other := printOf(t, chatter(100+seed, 12*time.Second))
		if s, ok := Match(enrolled, other); ok {
			t.Errorf("other things said are taken for the same: %+v", s)
		}
	}
	short := printOf(t, said[:pcm.Samples(1500*time.Millisecond)])
	if s, ok := Match(enrolled, short); ok {
		t.Errorf("1.5 s make a match: %+v", s)
	}
}

// The fast search finds what the exhaustive one finds.
func TestMatchAgainstNaive(t *testing.T) {
	a := printOf(t, chatter(1, 8*time.Second))
	for name, b := range map[string]Print{
		"the same":  printOf(t, noisy(tilted(chatter(1, 8*time.Second)), 10)),
		"different": printOf(t, chatter(2, 8*time.Second)),
	} {
		_, ok := Match(a, b)
		if want := lowest(a, b) <= MaxErrors; ok != want {
			t.Errorf("%s: found %v, the least errors are %.3f", name, ok, lowest(a, b))
		}
	}
}

func TestSilenceAndLossHaveNoPrint(t *testing.T) {
	r, err := NewRecorder(0)
	if err != nil {
		t.Fatal(err)
	}
	said := chatter(1, 4*time.Second)
	for name, flags := range map[string]pcm.Flags{"lost": pcm.Lost, "inserted": pcm.Inserted, "not speech": 0} {
		r.Reset()
		var f pcm.Frame
		for at := 0; at+pcm.FrameSamples <= len(said); at += pcm.FrameSamples {
			copy(f.Samples[:], said[at:])
			f.Flags = flags
			r.Hear(&f, flags != 0)
		}
		if p := r.Print(); p.Speech() != 0 || p.Duration() != 4*time.Second {
			t.Errorf("%s: %v of speech in %v", name, p.Speech(), p.Duration())
		}
	}
}

// Tones are the same in every call.
func TestTonesHaveNoPrint(t *testing.T) {
	tone := make([]int16, pcm.Samples(4*time.Second))
	for i := range tone {
		tone[i] = int16(4000 * (math.Sin(2*math.Pi*440*float64(i)/pcm.Rate) + math.Sin(2*math.Pi*480*float64(i)/pcm.Rate)))
	}
	if p := printOf(t, muLaw(t, tone)); p.Speech() > 500*time.Millisecond {
		t.Errorf("%v of a tone have a print", p.Speech())
	}
	if p := printOf(t, chatter(1, 4*time.Second)); p.Speech() < 3*time.Second {
		t.Errorf("%v of 4 s of speech have a print", p.Speech())
	}
}

func TestLimits(t *testing.T) {
	if _, err := NewRecorder(time.Second); err == nil {
		t.Error("a limit of 1 s: no error")
	}
	r, err := NewRecorder(3 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var f pcm.Frame
	for range 200 {
		r.Hear(&f, true)
	}
	if got := r.Print().Duration(); got != 3*time.Second {
		t.Errorf("kept %v", got)
	}
}

// Frames come 50 times a second on each leg.
func TestHearAllocatesNothing(t *testing.T) {
	r, err := NewRecorder(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	var f pcm.Frame
	copy(f.Samples[:], chatter(1, 20*time.Millisecond))
	if n := testing.AllocsPerRun(200, func() { r.Hear(&f, true) }); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

func TestBinary(t *testing.T) {
	p := Print{Gap, 1, 0xfedcba98}
	b := p.AppendBinary(nil)
	if want := []byte{1, 0, 0, 0, 0, 1, 0, 0, 0, 0x98, 0xba, 0xdc, 0xfe}; !bytes.Equal(b, want) {
		t.Errorf("written % x, want % x", b, want)
	}
	if got, err := Parse(b); err != nil || !slices.Equal(got, p) {
		t.Errorf("read %x, %v", got, err)
	}
	for _, b := range [][]byte{nil, {2, 0, 0, 0, 0}, {1, 0, 0}} {
		if _, err := Parse(b); err == nil {
			t.Errorf("% x: no error", b)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{1})
	f.Add(Print{Gap, 1, 0xfedcba98}.AppendBinary(nil))
	f.Add([]byte{1, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err == nil && !bytes.Equal(p.AppendBinary(nil), b) {
			t.Errorf("% x reads as %x", b, p)
		}
	})
}

// One telephone call's audio is found in another's through codecs and noise, and
// different recordings of one and the same speaker are not taken for each other.
// No corpus at hand has a speaker read one sentence twice.
func TestVoices(t *testing.T) {
	names := speakers(t)
	step := 11
	if testing.Short() {
		step = 44
	}
	var enrolled []Print
	for i := 0; i < len(names); i += step {
		tel := printOf(t, read(t, filepath.Join(names[i], "test1_tel.wav")))
		for _, c := range []string{"codec", "noise"} {
			s, ok := Match(tel, printOf(t, read(t, filepath.Join(names[i], "test1_"+c+".wav"))))
			if !ok || (s.A-s.B).Abs() > 4*Step {
				t.Errorf("%s: %s is not recognised: %+v, %v", names[i], c, s, ok)
			}
		}
		p := printOf(t, read(t, filepath.Join(names[i], "enrol_tel.wav")))
		if s, ok := Match(p, tel); ok {
			t.Errorf("%s: enrolment and test are taken for one recording: %+v", names[i], s)
		}
		for j, e := range enrolled {
			if s, ok := Match(p, e); ok {
				t.Errorf("%s and the speaker at %d are taken for one recording: %+v", names[i], j*step, s)
			}
		}
		enrolled = append(enrolled, p)
	}
}

func BenchmarkHear(b *testing.B) {
	r, err := NewRecorder(time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	said := chatter(1, time.Second)
	b.ReportAllocs()
	for b.Loop() {
		if len(r.Print())+50 > cap(r.Print()) {
			r.Reset()
		}
		var f pcm.Frame
		for at := 0; at < len(said); at += pcm.FrameSamples {
			copy(f.Samples[:], said[at:])
			r.Hear(&f, true)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	dir := needs.Eval(b, "voice", "wav", "d001")
	x, y := printOf(b, read(b, filepath.Join(dir, "enrol_tel.wav"))), printOf(b, read(b, filepath.Join(dir, "test1_tel.wav")))
	b.ReportAllocs()
	for b.Loop() {
		Match(x, y)
	}
}
