package benchlive

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/asr"
	"sidetone/internal/leaktest"
	"sidetone/internal/pcm"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// cycle is how often a leg says its word: the word ends after a second, speech
// after one and a half, and that is certain when the cycle is over.
const cycle = 2 * pcm.Rate

type fakeDetector struct{}

func (fakeDetector) Accept(f *pcm.Frame) []asr.Edge {
	if f.End()%cycle != 0 {
		return nil
	}
	return []asr.Edge{{Kind: asr.End, At: f.End() - cycle/4}, {Kind: asr.Begin, At: f.End()}}
}

// fakeEngine shows each word 0.1 s after it was said, is sure of it after 0.2
// s, and has the final 0.1 s after the end was certain. A frame takes it cost.
type fakeEngine struct {
	cost   time.Duration
	err    error
	closed int
}

func (e *fakeEngine) NewStream(context.Context, asr.StreamConfig) (asr.Stream, error) {
	return &fakeStream{e: e}, nil
}

func (e *fakeEngine) Close() error { return nil }

type fakeStream struct {
	asr.Stream
	e *fakeEngine
}

func (s *fakeStream) Accept(f *pcm.Frame, _ []asr.Edge) ([]asr.Hypothesis, error) {
	if s.e.cost > 0 {
		time.Sleep(s.e.cost)
	}
	if s.e.err != nil {
		return nil, s.e.err
	}
	n := f.End() / cycle
	hypothesis := func(n int64) asr.Hypothesis {
		return asr.Hypothesis{
			Utterance: int(n) + 1, Start: n * cycle, End: n*cycle + cycle*3/4,
			Words: []asr.Word{{Text: "word", Start: n*cycle + cycle/4, End: n*cycle + cycle/2}},
		}
	}
	switch f.End() % cycle {
	case pcm.Rate * 11 / 10:
		return []asr.Hypothesis{hypothesis(n)}, nil
	case pcm.Rate * 12 / 10:
		h := hypothesis(n)
		h.Stable = 1
		return []asr.Hypothesis{h}, nil
	case pcm.Rate / 10:
		if n == 0 {
			return nil, nil
		}
		h := hypothesis(n - 1)
		h.Final, h.Stable = true, 1
		return []asr.Hypothesis{h}, nil
	}
	return nil, nil
}

func (s *fakeStream) Close() error {
	s.e.closed++
	return nil
}

// words is a leg that says a word each cycle.
func words() Sound { return sound(1, cycle, "word") }

func config(e *fakeEngine, counters func() Counters) Config {
	return Config{
		Engine: e, Counters: counters,
		NewDetector: func() (Detector, error) { return fakeDetector{}, nil },
		Warm:        4 * time.Second, Measured: 20 * time.Second, MaxLag: 1500 * time.Millisecond, MaxWait: 700 * time.Millisecond,
	}
}

func none() Counters { return Counters{} }

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &fakeEngine{}
		began, n := time.Now(), int64(0)
		r, err := Run(t.Context(), config(e, func() Counters {
			n++
			return Counters{Refused: n, Stale: 2 * n, Busy: time.Duration(n) * 5 * time.Second}
		}), []Track{words, words, words})
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d < 28*time.Second || d > 29*time.Second {
			t.Errorf("it took %v", d)
		}
		for name, c := range map[string][2]float64{
			"legs": {float64(r.Legs), 3}, "seconds": {r.Seconds, 20}, "words": {float64(r.Words), 30}, "finals": {float64(r.Finals), 30},
			"lag": {r.Lag50, 0.2}, "late lag": {r.Lag99, 0.2}, "shown": {r.First95, 0.1},
			"wait": {r.Wait95, 0.6}, "after the edge": {r.Edge50, 0.1}, "wer": {r.WER, 0}, "missing": {float64(r.Missing), 0},
			"partials": {r.Partials, 1}, "refused": {float64(r.Refused), 1}, "stale": {float64(r.Stale), 2}, "decoding": {r.Decoding, 0.25},
		} {
			if !near(c[0], c[1]) {
				t.Errorf("%s: %v, want %v", name, c[0], c[1])
			}
		}
		if !r.Holds || r.Stopped || e.closed != 3 {
			t.Errorf("holds %v, stopped %v, %d closed", r.Holds, r.Stopped, e.closed)
		}
	})
}

// TestOverload gives an engine that takes 12 ms for a frame two legs: 24 ms of
// work every 20 ms.
func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(&fakeEngine{cost: 12 * time.Millisecond}, none)
		r, err := Run(t.Context(), c, []Track{words, words})
		if err != nil {
			t.Fatal(err)
		}
		if r.Holds || !r.Stopped || r.Late < 2 || r.Lag95 < 1.5 || r.Seconds >= 20 {
			t.Errorf("%+v", r)
		}
		// One leg is no trouble.
		if r, err = Run(t.Context(), c, []Track{words}); err != nil || !r.Holds || r.Stopped || r.Late > 0.001 {
			t.Errorf("one leg: %+v, %v", r, err)
		}
	})
}

func TestRunErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		if _, err := Run(t.Context(), config(&fakeEngine{err: broken}, none), []Track{words}); !errors.Is(err, broken) {
			t.Errorf("error %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := Run(ctx, config(&fakeEngine{}, none), []Track{words}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	if err := Head(&b, "calls"); err != nil {
		t.Fatal(err)
	}
	for _, r := range []Result{{Legs: 8, Words: 70, Lag95: 1.25, Holds: true}, {Legs: 16, Stopped: true, Seconds: 20}} {
		if err := r.Row(&b, 2); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	if len(lines) != 4 || !strings.HasSuffix(lines[2], "holds") || !strings.HasPrefix(strings.TrimSpace(lines[2]), "4 ") || !strings.HasSuffix(lines[3], "too many, stopped after 20 s") {
		t.Errorf("got\n%s", b.String())
	}
}
