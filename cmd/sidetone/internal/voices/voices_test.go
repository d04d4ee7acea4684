package voices

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"sidetone/internal/leaktest"
	"sidetone/internal/pcm"
	"sidetone/voiceprint"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var model = voiceprint.Model{ID: "two", Dim: 2}

// direction takes the mean of the samples for an angle.
type direction struct{ fails bool }

func (direction) Model() voiceprint.Model { return model }

func (d direction) Embed(x []float32) (voiceprint.Embedding, error) {
	if d.fails {
		return nil, errors.New("out of order")
	}
	sum := 0.0
	for _, v := range x {
		sum += float64(v)
	}
	a := 4 * sum / float64(len(x))
	return voiceprint.Embedding{float32(math.Cos(a)), float32(math.Sin(a))}, nil
}

type scorer struct{}

func (scorer) Info() voiceprint.Info { return voiceprint.Info{Model: model, Calibration: "1"} }

func (scorer) LLR(enrolled []voiceprint.Embedding, test voiceprint.Embedding, net time.Duration) (float64, error) {
	return 2 * net.Seconds() * (2*voiceprint.Cosine(enrolled[0], test) - 1), nil
}

func (scorer) Threshold(far float64) (voiceprint.Operating, error) {
	return voiceprint.Operating{FAR: far, LLR: 5}, nil
}

type people map[string]float64

func (p people) Templates(_ context.Context, subject, m string) ([]voiceprint.Template, []voiceprint.Reason, error) {
	a, ok := p[subject]
	switch {
	case subject == "broken":
		return nil, nil, errors.New("the store is away")
	case !ok:
		return nil, []voiceprint.Reason{voiceprint.OptedOut}, nil
	}
	return []voiceprint.Template{{Model: m, Embedding: voiceprint.Embedding{float32(math.Cos(a)), float32(math.Sin(a))}}}, nil, nil
}

// meter finds noise where it is told to.
type meter struct {
	frames, stretches, resets int
	gates                     []voiceprint.Reason
}

func (m *meter) Add(_ *pcm.Frame, speech bool) bool { m.frames++; return speech }

func (m *meter) Stretch(voiceprint.Embedding) error { m.stretches++; return nil }

func (m *meter) Reset() { m.resets++ }

func (m *meter) Measure() (voiceprint.Quality, []voiceprint.Reason) {
	return voiceprint.Quality{Net: time.Duration(m.frames) * 20 * time.Millisecond}, m.gates
}

// play has a leg hear frames of a voice and returns what it told.
func play(t *testing.T, cfg Config, script func(l *Leg, say func(voice float64, d time.Duration, speech bool), finals func(n int))) []Answer {
	t.Helper()
	return playTo(t, cfg, Hooks{}, script)
}

// playTo is play with more hooks.
func playTo(t *testing.T, cfg Config, h Hooks, script func(l *Leg, say func(voice float64, d time.Duration, speech bool), finals func(n int))) []Answer {
	t.Helper()
	cfg.Scorer, cfg.Log = scorer{}, slog.New(slog.DiscardHandler)
	if cfg.Embedder == nil {
		cfg.Embedder = direction{}
	}
	if cfg.NewMeter == nil {
		cfg.NewMeter = func() (Meter, error) { return &meter{}, nil }
	}
	cfg.People = people{"ann": 0, "bob": 3}
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var told []Answer
	h.Tell = func(a Answer) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, a)
	}
	l, err := e.Listen(cfg.Log, h)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Run(t.Context())
	}()
	at := int64(0)
	script(l, func(voice float64, d time.Duration, speech bool) {
		var f pcm.Frame
		for i := range f.Samples {
			f.Samples[i] = int16(math.Round(voice / 4 * 32768))
		}
		for range pcm.Samples(d) / pcm.FrameSamples {
			f.Start = at
			at = f.End()
			l.Frame(&f, speech, false)
			for l.queue.Len() > 0 {
				time.Sleep(10 * time.Microsecond)
			}
		}
	}, func(n int) {
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
			mu.Lock()
			got := len(outcomes(told))
			mu.Unlock()
			if got == n {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%d final answers, want %d", got, n)
			}
		}
	})
	l.End()
	<-done
	return told
}

func outcomes(told []Answer) (out []voiceprint.Outcome) {
	for _, a := range told {
		if a.Decision.Final {
			out = append(out, a.Decision.Outcome)
		}
	}
	return out
}

func TestAnswers(t *testing.T) {
	told := play(t, Config{}, func(l *Leg, say func(float64, time.Duration, bool), _ func(int)) {
		l.Expect("ann")
		say(0, 500*time.Millisecond, true)
		say(3, 5*time.Second, false) // not speech: nobody's
		say(0, 10*time.Second, true)
	})
	last := told[len(told)-1]
	if got := outcomes(told); !slices.Equal(got, []voiceprint.Outcome{voiceprint.Match}) {
		t.Fatalf("told %+v", told)
	}
	if last.Subject != "ann" || last.Decision.Net != 2500*time.Millisecond || last.Took != 7500*time.Millisecond {
		t.Errorf("told %+v", last)
	}
}

// The agent finds out whom they speak with after a while, and then that it is another.
func TestWhoeverIsExpectedLater(t *testing.T) {
	told := play(t, Config{}, func(l *Leg, say func(float64, time.Duration, bool), finals func(int)) {
		say(0, 8*time.Second, true)
		l.Expect("ann")
		say(0, 20*time.Millisecond, true)
		finals(1)
		l.Expect("bob")
		say(0, 20*time.Millisecond, true)
		finals(2)
		l.Expect("nobody")
		say(0, 20*time.Millisecond, true)
		finals(3)
		l.Expect("")
		say(0, 20*time.Millisecond, true)
		finals(4)
	})
	want := []voiceprint.Outcome{voiceprint.Match, voiceprint.Mismatch, voiceprint.Inconclusive, voiceprint.Inconclusive}
	if got := outcomes(told); !slices.Equal(got, want) {
		t.Fatalf("told %+v", told)
	}
	if r := told[len(told)-2].Decision.Reasons; !slices.Equal(r, []voiceprint.Reason{voiceprint.OptedOut}) {
		t.Errorf("reasons %v", r)
	}
}

func TestNoAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		cfg     Config
		subject string
		final   int
	}{
		"noise":             {Config{NewMeter: func() (Meter, error) { return &meter{gates: []voiceprint.Reason{voiceprint.Noise}}, nil }}, "ann", 1},
		"a broken store":    {Config{}, "broken", 0},
		"a broken embedder": {Config{Embedder: direction{fails: true}}, "ann", 0},
		"nobody expected":   {Config{}, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			told := play(t, c.cfg, func(l *Leg, say func(float64, time.Duration, bool), _ func(int)) {
				l.Expect(c.subject)
				say(0, 16*time.Second, true)
			})
			got := outcomes(told)
			if len(got) != c.final || slices.ContainsFunc(got, func(o voiceprint.Outcome) bool { return o != voiceprint.Inconclusive }) {
				t.Errorf("told %+v", told)
			}
		})
	}
}

// The meter is given each stretch of speech once, up to the limit.
func TestStretches(t *testing.T) {
	m := &meter{gates: []voiceprint.Reason{voiceprint.Between}}
	play(t, Config{Stretch: 2 * time.Second, NewMeter: func() (Meter, error) { return m, nil }}, func(l *Leg, say func(float64, time.Duration, bool), _ func(int)) {
		l.Expect("ann")
		for range 5 {
			say(0, 4*time.Second, true)
			say(0, time.Second, false)
		}
	})
	if m.stretches != 7 {
		t.Errorf("%d stretches of 2 s in 15 s", m.stretches)
	}
}

// Where somebody else takes the phone, what was measured of the first is forgotten.
func TestTheMeterForgetsWhoIsGone(t *testing.T) {
	m := &meter{}
	told := play(t, Config{Stretch: 2 * time.Second, NewMeter: func() (Meter, error) { return m, nil }}, func(l *Leg, say func(float64, time.Duration, bool), _ func(int)) {
		l.Expect("ann")
		say(0, 10*time.Second, true)
		say(3, 15*time.Second, true)
	})
	if got := outcomes(told); !slices.Equal(got, []voiceprint.Outcome{voiceprint.Match, voiceprint.Mismatch}) || m.resets != 1 {
		t.Errorf("outcomes %v, %d resets", got, m.resets)
	}
}

func TestConfig(t *testing.T) {
	good := Config{Embedder: direction{}, Scorer: scorer{}, People: people{}, NewMeter: func() (Meter, error) { return &meter{}, nil }, Log: slog.New(slog.DiscardHandler)}
	for name, change := range map[string]func(*Config){
		"nothing": func(c *Config) { *c = Config{} },
		"looks":   func(c *Config) { c.Looks = -1 },
		"policy":  func(c *Config) { c.Policy.FAR = 2 },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestFrameAllocatesNothing(t *testing.T) {
	e, err := New(Config{Embedder: direction{}, Scorer: scorer{}, People: people{}, NewMeter: func() (Meter, error) { return &meter{}, nil }, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	l, err := e.Listen(slog.New(slog.DiscardHandler), Hooks{Tell: func(Answer) {}})
	if err != nil {
		t.Fatal(err)
	}
	var f pcm.Frame
	if n := testing.AllocsPerRun(1000, func() { l.Frame(&f, true, false) }); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

// guard speaks against a leg from a frame on, for one subject.
type guard struct {
	from, frames, spoken int
	subject              string
}

func (g *guard) Treat(_ context.Context, subject string) { g.subject = subject }

func (g *guard) Hear(_ *pcm.Frame, speech bool) {
	g.frames++
	if speech {
		g.spoken++
	}
}

func (g *guard) Look(context.Context) []voiceprint.Reason {
	if g.subject == "ann" && g.frames >= g.from {
		return []voiceprint.Reason{voiceprint.SpoofSuspected}
	}
	return nil
}

// What speaks against a leg keeps a match from being told, takes one back that was,
// and changes no mismatch.
func TestGuard(t *testing.T) {
	say := func(voice float64) func(l *Leg, say func(float64, time.Duration, bool), _ func(int)) {
		return func(l *Leg, say func(float64, time.Duration, bool), _ func(int)) {
			l.Expect("ann")
			say(0, time.Second, false)
			say(voice, 15*time.Second, true)
		}
	}
	for _, c := range []struct {
		name  string
		voice float64
		from  int
		want  []voiceprint.Outcome
	}{
		{"before", 0, 0, []voiceprint.Outcome{voiceprint.Inconclusive}},
		{"after", 0, 600, []voiceprint.Outcome{voiceprint.Match, voiceprint.Inconclusive}},
		{"never", 0, 1 << 20, []voiceprint.Outcome{voiceprint.Match}},
		{"somebody else", 3, 600, []voiceprint.Outcome{voiceprint.Mismatch}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &guard{from: c.from}
			told := playTo(t, Config{}, Hooks{Guard: g}, say(c.voice))
			if got := outcomes(told); !slices.Equal(got, c.want) {
				t.Errorf("answers %v, want %v", got, c.want)
			}
			last := told[len(told)-1].Decision
			if vetoed := slices.Contains(last.Reasons, voiceprint.SpoofSuspected); vetoed != (last.Outcome == voiceprint.Inconclusive) {
				t.Errorf("%v for %v", last.Outcome, last.Reasons)
			}
			if g.frames != 800 || g.spoken != 750 {
				t.Errorf("it heard %d frames, %d of them speech", g.frames, g.spoken)
			}
		})
	}
}

// The voice is told of at each stage and at the end, with what speaks against it.
func TestHeard(t *testing.T) {
	var heard []Heard
	h := Hooks{Guard: &guard{}, Heard: func(_ context.Context, h Heard) { heard = append(heard, h) }}
	told := playTo(t, Config{Stages: []time.Duration{2 * time.Second, 4 * time.Second}}, h, func(l *Leg, say func(float64, time.Duration, bool), _ func(int)) {
		say(0, 3*time.Second, true)
		l.Expect("ann")
		say(0, 3*time.Second, true)
	})
	if len(told) == 0 || len(heard) != 3 {
		t.Fatalf("told %d answers, heard %d times, want 3", len(told), len(heard))
	}
	for i, want := range []Heard{
		{Quality: voiceprint.Quality{Net: 2 * time.Second}},
		{Quality: voiceprint.Quality{Net: 4 * time.Second}, Subject: "ann", Gates: []voiceprint.Reason{voiceprint.SpoofSuspected}},
		{Quality: voiceprint.Quality{Net: 6 * time.Second}, Subject: "ann", Gates: []voiceprint.Reason{voiceprint.SpoofSuspected}, Over: true},
	} {
		got := heard[i]
		if got.Quality.Net != want.Quality.Net || got.Subject != want.Subject || !slices.Equal(got.Gates, want.Gates) || got.Over != want.Over || len(got.Embedding) != 2 {
			t.Errorf("%d: %+v, want %+v", i, got, want)
		}
	}
	heard = nil
	playTo(t, Config{}, h, func(_ *Leg, say func(float64, time.Duration, bool), _ func(int)) {
		say(0, HeardLeast-time.Second, true)
	})
	if len(heard) != 0 {
		t.Errorf("of %v of speech it was told", HeardLeast-time.Second)
	}
}
