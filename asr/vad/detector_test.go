package vad

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"sidetone/asr"
	"sidetone/internal/pcm"
)

func TestConfigIsChecked(t *testing.T) {
	m := &Model{}
	cases := []struct {
		name string
		c    Config
		want string
	}{
		{"defaults", Config{}, ""},
		{"high", Config{Threshold: 1}, "thresholds"},
		{"crossed", Config{Threshold: 0.4, NegThreshold: 0.5}, "thresholds"},
		{"negative", Config{Hangover: -time.Second}, "Hangover"},
		{"high, with the proof's default", Config{Threshold: 0.9}, ""},
		{"no proof", Config{Threshold: 0.5, Proof: 0.4}, "proof"},
		{"too much of it", Config{Proof: 1}, "proof"},
		{"long", Config{PreRoll: time.Minute}, "PreRoll"},
	}
	for _, c := range cases {
		_, err := m.NewDetector(c.c)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

// Probabilities are written as digits, tenths, one window each.
func TestProbabilitiesBecomeEdges(t *testing.T) {
	const w = window
	b := func(at int64) asr.Edge { return asr.Edge{Kind: asr.Begin, At: at} }
	e := func(at int64) asr.Edge { return asr.Edge{Kind: asr.End, At: at} }
	cases := []struct {
		name, probs string
		want        []asr.Edge
	}{
		{"silence", "0000000000", nil},
		{"a click is no speech", "0009900000000", nil},
		{"pre-roll, then the hangover", "00000099990000000", []asr.Edge{b(4 * w), e(10 * w)}},
		{"pre-roll stops at the leg's start", "0999", []asr.Edge{b(0)}},
		{"pre-roll stops at the last end", "9990000099990000", []asr.Edge{b(0), e(3 * w), b(6 * w), e(12 * w)}},
		{"a short pause joins", "99900099900000", []asr.Edge{b(0), e(9 * w)}},
		{"between the thresholds speech goes on", "9994444444444", []asr.Edge{b(0)}},
		{"and silence too", "0004444444444", nil},
		{"a doubtful window does not stop the clock", "99900400000", []asr.Edge{b(0), e(3 * w)}},
		{"a doubtful onset counts from its first window", "00000094990", []asr.Edge{b(4 * w)}},
		{"silence in the onset starts it anew", "000000990990000", nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d, err := (&Model{}).NewDetector(Config{
				Threshold: 0.5,
				MinSpeech: pcm.Duration(3 * w), Hangover: pcm.Duration(4 * w), PreRoll: pcm.Duration(2 * w),
			})
			if err != nil {
				t.Fatal(err)
			}
			var got []asr.Edge
			for i, p := range c.probs {
				if e := d.judge(float32(p-'0')/10, int64(i)*w, int64(i+1)*w); e.Kind != asr.NoEdge {
					got = append(got, e)
				}
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s: edges %v, want %v", c.probs, got, c.want)
			}
		})
	}
}

// What stays between Threshold and Proof is no speech, however long it lasts;
// what gets beyond it has been speech from its first window on.
func TestSpeechNeedsProof(t *testing.T) {
	const w = window
	b := func(at int64) asr.Edge { return asr.Edge{Kind: asr.Begin, At: at} }
	e := func(at int64) asr.Edge { return asr.Edge{Kind: asr.End, At: at} }
	for _, c := range []struct {
		probs string
		want  []asr.Edge
	}{
		{"00555555555555000000", nil},
		{"00555555655555000000", []asr.Edge{b(2 * w), e(14 * w)}},
		{"00600000555555000000", nil},
		{"00300600000555555000", nil},
		{"00655500055500000000", []asr.Edge{b(2 * w), e(12 * w)}},
	} {
		d, err := (&Model{}).NewDetector(Config{
			MinSpeech: pcm.Duration(3 * w), Hangover: pcm.Duration(4 * w), PreRoll: time.Nanosecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		var got []asr.Edge
		for i, p := range c.probs {
			if e := d.judge(float32(p-'0')/10, int64(i)*w, int64(i+1)*w); e.Kind != asr.NoEdge && e.Kind != asr.Pause {
				got = append(got, e)
			}
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: edges %v, want %v", c.probs, got, c.want)
		}
	}
}

func TestPausesComeBeforeEnds(t *testing.T) {
	const w = window
	b := func(at int64) asr.Edge { return asr.Edge{Kind: asr.Begin, At: at} }
	p := func(at int64) asr.Edge { return asr.Edge{Kind: asr.Pause, At: at} }
	e := func(at int64) asr.Edge { return asr.Edge{Kind: asr.End, At: at} }
	cases := []struct {
		name, probs string
		want        []asr.Edge
	}{
		{"once in a silence", "99900000", []asr.Edge{b(0), p(3 * w), e(3 * w)}},
		{"speech may go on", "9990099900000", []asr.Edge{b(0), p(3 * w), p(8 * w), e(8 * w)}},
		{"a shorter one is none", "99909999", []asr.Edge{b(0)}},
		{"doubt does not end it", "99904499", []asr.Edge{b(0), p(3 * w)}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d, err := (&Model{}).NewDetector(Config{
				Threshold: 0.5, MinSpeech: pcm.Duration(3 * w), Pause: pcm.Duration(2 * w), Hangover: pcm.Duration(4 * w),
			})
			if err != nil {
				t.Fatal(err)
			}
			var got []asr.Edge
			for i, p := range c.probs {
				if e := d.judge(float32(p-'0')/10, int64(i)*w, int64(i+1)*w); e.Kind != asr.NoEdge {
					got = append(got, e)
				}
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s: edges %v, want %v", c.probs, got, c.want)
			}
		})
	}
}

// detect feeds frames and checks what holds for all edges.
func detect(t *testing.T, d *Detector, frames []pcm.Frame) []asr.Edge {
	t.Helper()
	var all []asr.Edge
	for i := range frames {
		for _, e := range d.Accept(&frames[i]) {
			if e.At > frames[i].End() {
				t.Errorf("edge %v after its frame's end %d", e, frames[i].End())
			}
			if n := len(all); n > 0 && (all[n-1].Kind == e.Kind || all[n-1].At > e.At) || n == 0 && e.Kind != asr.Begin {
				t.Errorf("edge %v after %v", e, all)
			}
			all = append(all, e)
		}
		if p := d.Probability(); p < 0 || p > 1 {
			t.Fatalf("probability %v", p)
		}
	}
	return all
}

func cut(samples []int16, start int64) []pcm.Frame {
	var fs []pcm.Frame
	for i := 0; i+pcm.FrameSamples <= len(samples); i += pcm.FrameSamples {
		f := pcm.Frame{Start: start + int64(i)}
		copy(f.Samples[:], samples[i:])
		fs = append(fs, f)
	}
	return fs
}

func detector(t testing.TB, m *Model) *Detector {
	t.Helper()
	d, err := m.NewDetector(Config{Threshold: 0.5, Hangover: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestEdgesDoNotDependOnTheCut(t *testing.T) {
	m := load(t)
	x := synthetic()
	want := detect(t, detector(t, m), cut(x, 0))
	if len(want) < 3 {
		t.Fatalf("only the edges %v: the signal shows nothing", want)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		d := detector(t, m)
		var got []asr.Edge
		for rest := x[:len(x)/pcm.FrameSamples*pcm.FrameSamples]; len(rest) > 0; {
			n := min(len(rest), 1+rng.IntN(700))
			// Edges are appended to a caller's slice here, so none are lost.
			got = d.push(got, rest[:n])
			rest = rest[n:]
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("edges %v, want %v", got, want)
		}
	}
}

func TestClockOfTheLeg(t *testing.T) {
	m := load(t)
	x := synthetic()
	want := detect(t, detector(t, m), cut(x, 0))
	const late = 1 << 40
	got := detect(t, detector(t, m), cut(x, late))
	for i := range got {
		got[i].At -= late
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("edges %v, want %v", got, want)
	}
}

func TestHoleIsSilence(t *testing.T) {
	m := load(t)
	x := synthetic()[:16000]
	for _, hole := range []int64{16000, 160000, 1 << 40} {
		frames := append(cut(x, 0), cut(x, 16000+hole)...)
		got := detect(t, detector(t, m), frames)
		if len(got) != 3 {
			t.Fatalf("hole of %d: edges %v, want begin, end, begin", hole, got)
		}
		if d := got[1].At - 16000; d < -2*window || d > 2*window {
			t.Errorf("hole of %d: the end is at %d, the hole at 16000", hole, got[1].At)
		}
		if d := got[2].At - 16000 - hole; d < -8000 || d > 4000 {
			t.Errorf("hole of %d: the second begin is %d after it", hole, d)
		}
	}
	frames := append(cut(x, 0), cut(x, 16000+1600)...)
	if got := detect(t, detector(t, m), frames); len(got) != 1 {
		t.Errorf("hole of 100 ms: edges %v, want one begin", got)
	}
	twice := append(cut(x, 0), cut(x, 0)...)
	if got := detect(t, detector(t, m), twice); len(got) != 1 {
		t.Errorf("frames twice: edges %v, want one begin", got)
	}
}

func TestAcceptDoesNotAllocate(t *testing.T) {
	m := load(t)
	frames := cut(synthetic(), 0)
	d := detector(t, m)
	i := 0
	if n := testing.AllocsPerRun(len(frames)-1, func() {
		d.Accept(&frames[i])
		i++
	}); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}
