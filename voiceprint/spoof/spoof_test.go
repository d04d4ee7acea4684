package spoof

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/internal/needs"
	"sidetone/internal/pcm"
	"sidetone/voiceprint/spoof/fingerprint"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// tune is eight tones that change ten times a second. Another seed is another tune.
func tune(seed uint64, d time.Duration) []int16 {
	rnd := rand.New(rand.NewPCG(seed, 1))
	out := make([]int16, pcm.Samples(d))
	var hz, level, phase [8]float64
	for i := range out {
		if i%1600 == 0 {
			for k := range hz {
				hz[k], level[k] = 300+3000*rnd.Float64(), rnd.Float64()
			}
		}
		var s float64
		for k := range hz {
			phase[k] += hz[k] / pcm.Rate
			s += level[k] * math.Sin(2*math.Pi*phase[k])
		}
		out[i] = int16(1500 * s)
	}
	return out
}

func detector(t testing.TB, c Config) *Detector {
	t.Helper()
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// hear plays samples as speech and returns the verdict at the end and after how much
// audio something was suspected.
func hear(d *Detector, x []int16) (v Verdict, suspected time.Duration) {
	var f pcm.Frame
	for at := 0; at+pcm.FrameSamples <= len(x); at += pcm.FrameSamples {
		copy(f.Samples[:], x[at:])
		f.Start = int64(at)
		d.Hear(&f, true)
		if !d.Due() {
			continue
		}
		if v = d.Look(noon); v.Suspected && suspected == 0 {
			suspected = pcm.Duration(f.End())
		}
	}
	return d.Look(noon), suspected
}

func printed(t testing.TB, x []int16) fingerprint.Print {
	t.Helper()
	d := detector(t, Config{})
	hear(d, x)
	return slices.Clone(d.Print())
}

func names(v Verdict) []Name {
	var out []Name
	for _, s := range v.Signs {
		if s.Name != Loudspeaker && s.Name != Synthetic {
			out = append(out, s.Name)
		}
	}
	return out
}

func TestRepetition(t *testing.T) {
	enrolment, own, other := tune(1, 10*time.Second), tune(2, 10*time.Second), tune(3, 10*time.Second)
	index, err := fingerprint.NewIndex(fingerprint.IndexConfig{})
	if err != nil {
		t.Fatal(err)
	}
	index.Add(fingerprint.Source{Person: "ann", Call: "1"}, printed(t, own), noon.Add(-time.Hour))
	index.Add(fingerprint.Source{Person: "bob", Call: "2"}, printed(t, other), noon.Add(-time.Hour))
	after := func(x []int16) []int16 { return append(tune(99, 1500*time.Millisecond), x...) }
	all := Config{Person: "ann", Call: "3", Enrolment: []fingerprint.Print{printed(t, enrolment)}, Earlier: index}
	for name, c := range map[string]struct {
		change    func(*Config)
		said      []int16
		signs     []Name
		suspected bool
		unchecked []Name
	}{
		"new speech":          {said: tune(4, 10*time.Second)},
		"the enrolment":       {said: after(enrolment), signs: []Name{EnrolmentReplayed}, suspected: true},
		"a part of it":        {said: after(enrolment[50000:120000]), signs: []Name{EnrolmentReplayed}, suspected: true},
		"an earlier call":     {said: after(own), signs: []Name{Repeated}, suspected: true},
		"a call of another":   {said: after(other), signs: []Name{RepeatedElsewhere}},
		"the same call again": {change: func(c *Config) { c.Call = "1" }, said: own},
		"nobody known": {
			change: func(c *Config) { c.Person, c.Enrolment = "", nil }, said: after(own),
			signs: []Name{RepeatedElsewhere}, unchecked: []Name{EnrolmentReplayed, Repeated},
		},
		"nothing to compare with": {
			change: func(c *Config) { c.Earlier, c.Enrolment = nil, nil }, said: own,
			unchecked: []Name{EnrolmentReplayed, Repeated, RepeatedElsewhere},
		},
		"told only": {
			change: func(c *Config) { c.Policy.Veto = []Name{} }, said: after(own), signs: []Name{Repeated},
		},
		"too little": {
			said: own[:pcm.Samples(1500*time.Millisecond)], unchecked: []Name{EnrolmentReplayed, Repeated, RepeatedElsewhere, Loudspeaker, Synthetic},
		},
	} {
		t.Run(name, func(t *testing.T) {
			conf := all
			if c.change != nil {
				c.change(&conf)
			}
			v, when := hear(detector(t, conf), c.said)
			if !slices.Equal(names(v), c.signs) || v.Suspected != c.suspected || !slices.Equal(v.Unchecked, c.unchecked) {
				t.Errorf("%+v; want signs %v, suspected %v, unchecked %v", v, c.signs, c.suspected, c.unchecked)
			}
			if c.suspected && when > 6*time.Second {
				t.Errorf("suspected after %v, the recording began at 1.5 s", when)
			}
			for _, s := range v.Signs {
				if !(s.Probability > 0.5 && s.Probability < 1) || s.Evidence == "" || strings.Contains(s.Evidence, "NaN") {
					t.Errorf("%+v", s)
				}
			}
		})
	}
}

func TestPolicy(t *testing.T) {
	s := Signals{
		Person: "ann",
		Cues:   []Cue{{Name: Synthetic, LLR: 3}, {Name: Loudspeaker, LLR: mostLLR}},
		Earlier: []fingerprint.Hit{
			{Source: fingerprint.Source{Person: "ann"}, Stretch: fingerprint.Stretch{Length: 2 * time.Second, Errors: fingerprint.MaxErrors}},
		},
		Enrolment: &fingerprint.Stretch{Length: 2 * time.Second, Errors: 0.45},
	}
	for name, c := range map[string]struct {
		policy    Policy
		signs     []Name
		suspected bool
	}{
		"by default a doubtful repetition does not act": {Policy{}, []Name{Loudspeaker, Repeated, Synthetic}, false},
		"a doubtful one may":                            {Policy{Act: 0.95}, []Name{Loudspeaker, Repeated, Synthetic}, true},
		"a cue may":                                     {Policy{Veto: []Name{Loudspeaker}}, []Name{Loudspeaker, Repeated, Synthetic}, true},
		"a weak one may not":                            {Policy{Veto: []Name{Synthetic}}, []Name{Loudspeaker, Repeated, Synthetic}, false},
		"only the sure are told":                        {Policy{Tell: 0.99}, []Name{Loudspeaker}, false},
	} {
		v, err := c.policy.Judge(s)
		if err != nil {
			t.Fatal(err)
		}
		var got []Name
		for _, g := range v.Signs {
			got = append(got, g.Name)
		}
		if !slices.Equal(got, c.signs) || v.Suspected != c.suspected {
			t.Errorf("%s: %+v", name, v)
		}
	}
	for _, p := range []Policy{{Tell: 2}, {Tell: 0.9, Act: 0.8}, {Act: math.NaN()}, {Veto: []Name{"mood"}}} {
		if _, err := p.Judge(s); err == nil {
			t.Errorf("%+v: no error", p)
		}
		if _, err := New(Config{Policy: p}); err == nil {
			t.Errorf("%+v: a detector", p)
		}
	}
	if _, err := New(Config{Limit: time.Second}); err == nil {
		t.Error("a limit of 1 s: a detector")
	}
}

// room is a loudspeaker in a room: no lows, and what fades within 0.4 s.
func room(x []int16) []int16 {
	rnd := rand.New(rand.NewPCG(3, 3))
	const t60 = 6400
	tail := make([]float64, t60/8)
	at := make([]int, len(tail))
	var sum float64
	for i := range tail {
		at[i] = 100 + rnd.IntN(t60)
		tail[i] = rnd.NormFloat64() * math.Pow(10, -3*float64(at[i])/t60)
		sum += tail[i] * tail[i]
	}
	by := 0.6 / math.Sqrt(sum)
	high := make([]float64, len(x))
	var lows float64
	for i, v := range x {
		lows += 0.15 * (float64(v) - lows)
		high[i] = float64(v) - lows
	}
	out := make([]int16, len(x))
	for i := range out {
		y := high[i]
		for k, a := range at {
			if i >= a {
				y += by * tail[k] * high[i-a]
			}
		}
		out[i] = int16(max(-32768, min(32767, y)))
	}
	return out
}

// The committed weights on people, and on the same people through a loudspeaker that
// the weights were not learnt from.
func TestCuesOfPeople(t *testing.T) {
	list, err := filepath.Glob(filepath.Join(needs.Eval(t, "voice", "wav"), "*"))
	if err != nil || len(list) == 0 {
		t.Fatalf("no speakers: %v", err)
	}
	var people, rooms, voices []float64
	for i := 0; i < len(list); i += 9 {
		x := recording(t, filepath.Join(list[i], "test1_tel.wav"))[:8*pcm.Rate]
		m, ok := measured(t, x)
		if !ok {
			t.Fatalf("%s: 8 s are too little", list[i])
		}
		people, voices = append(people, loudspeaker().llr(m.room[:])), append(voices, synthetic().llr(m.change[:]))
		m, _ = measured(t, room(x))
		rooms = append(rooms, loudspeaker().llr(m.room[:]))
	}
	if eer, _, told := rates(people, rooms); eer > 0.15 || told > 0.1 {
		t.Errorf("loudspeakers at EER %.2f, %.2f of people told: %.1f against %.1f", eer, told, people, rooms)
	}
	if _, _, told := rates(voices, []float64{0}); told > 0.1 {
		t.Errorf("%.2f of people are told to be synthetic: %.1f", told, voices)
	}
}

func TestLostAudioIsNotMeasured(t *testing.T) {
	m, err := NewMeter()
	if err != nil {
		t.Fatal(err)
	}
	play(tune(1, 8*time.Second), func(f *pcm.Frame, speech bool) {
		f.Flags = pcm.Lost
		m.Hear(f, speech)
	})
	if cues, unchecked := m.Cues(); m.Speech() != 0 || len(cues) != 0 || len(unchecked) != 2 {
		t.Errorf("%v of speech, %v, %v", m.Speech(), cues, unchecked)
	}
	// Speech that says nothing is no evidence either.
	for range 600 {
		m.Hear(&pcm.Frame{}, true)
	}
	if cues, unchecked := m.Cues(); len(cues) != 0 || len(unchecked) != 2 {
		t.Errorf("zeros: %v, %v", cues, unchecked)
	}
}

// Frames come 50 times a second on each leg.
func TestHearAllocatesNothing(t *testing.T) {
	d := detector(t, Config{})
	var f pcm.Frame
	copy(f.Samples[:], tune(1, 20*time.Millisecond))
	if n := testing.AllocsPerRun(200, func() { d.Hear(&f, true) }); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

// BenchmarkCues is one second of speech.
func BenchmarkCues(b *testing.B) {
	m, err := NewMeter()
	if err != nil {
		b.Fatal(err)
	}
	said := tune(1, time.Second)
	b.ReportAllocs()
	for b.Loop() {
		var f pcm.Frame
		for at := 0; at < len(said); at += pcm.FrameSamples {
			copy(f.Samples[:], said[at:])
			m.Hear(&f, true)
		}
	}
}

// Who the caller is becomes known late, and may change: what was said before counts,
// for and against.
func TestTreat(t *testing.T) {
	own, enrolment := tune(2, 10*time.Second), tune(1, 10*time.Second)
	index, err := fingerprint.NewIndex(fingerprint.IndexConfig{})
	if err != nil {
		t.Fatal(err)
	}
	index.Add(fingerprint.Source{Person: "ann", Call: "1"}, printed(t, own), noon.Add(-time.Hour))
	d := detector(t, Config{Call: "3", Earlier: index})
	v, _ := hear(d, slices.Concat(enrolment, own))
	if v.Suspected || !slices.Equal(names(v), []Name{RepeatedElsewhere}) {
		t.Fatalf("of nobody known: %+v", v)
	}
	for _, c := range []struct {
		person    string
		enrolment []fingerprint.Print
		suspected bool
		signs     []Name
	}{
		{"ann", []fingerprint.Print{printed(t, enrolment)}, true, []Name{EnrolmentReplayed, Repeated}},
		{"bob", []fingerprint.Print{printed(t, tune(7, 10*time.Second))}, false, []Name{RepeatedElsewhere}},
		{"bob", []fingerprint.Print{printed(t, enrolment)}, true, []Name{EnrolmentReplayed, RepeatedElsewhere}},
		{"", nil, false, []Name{RepeatedElsewhere}},
	} {
		d.Treat(c.person, c.enrolment)
		v = d.Look(noon)
		got := names(v)
		slices.Sort(got)
		if v.Suspected != c.suspected || !slices.Equal(got, c.signs) {
			t.Errorf("as %q: suspected %v by %v, want %v", c.person, v.Suspected, got, c.signs)
		}
	}
}
