package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sidetone/asr"
	"sidetone/asr/asrtest"
	"sidetone/asr/remote/vosk"
	"sidetone/internal/leaktest"
	"sidetone/internal/pcm"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var errBroken = errors.New("broken")

type fault func(c asr.StreamConfig, h *asr.Hypothesis) error

func join(t *testing.T, primary, fallback asr.Engine, c Config) *Engine {
	t.Helper()
	e, err := New(primary, fallback, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func options() asrtest.Options {
	return asrtest.Options{
		Speech:   [][]int16{asrtest.Speak(1, 2, 3, 4), asrtest.Speak(5, 6, 7), asrtest.Speak(8, 9, 10, 11, 12)},
		Said:     []string{"w1 w2 w3 w4", "w5 w6 w7", "w8 w9 w10 w11 w12"},
		Partials: true,
		Stalled: func(t *testing.T) asr.Engine {
			mute := asrtest.Fake{Fault: func(asr.StreamConfig, *asr.Hypothesis) error { return asrtest.ErrMute }}
			return join(t, &hangs{Fake: &mute}, &asrtest.Fake{}, Config{Partial: -1, Final: time.Hour, Finish: time.Hour})
		},
	}
}

// moments are when a primary may fail; each is also a way to fail.
func moments() map[string]fault {
	when := func(is func(h *asr.Hypothesis) bool, err error) fault {
		return func(_ asr.StreamConfig, h *asr.Hypothesis) error {
			if is(h) {
				return err
			}
			return nil
		}
	}
	first := func(*asr.Hypothesis) bool { return true }
	middle := func(h *asr.Hypothesis) bool { return h.Revision == 3 }
	late := func(h *asr.Hypothesis) bool { return h.Revision >= 3 }
	final := func(h *asr.Hypothesis) bool { return h.Final }
	second := func(h *asr.Hypothesis) bool { return h.Utterance == 2 && h.Final }
	return map[string]fault{
		"breaks at once":                    when(first, errBroken),
		"breaks in the middle":              when(middle, errBroken),
		"breaks at the final":               when(final, errBroken),
		"breaks at the second final":        when(second, errBroken),
		"is mute":                           when(first, asrtest.ErrMute),
		"falls silent in the middle":        when(late, asrtest.ErrMute),
		"says no final":                     when(final, asrtest.ErrMute),
		"says no second final":              when(second, asrtest.ErrMute),
		"keeps to the contract all the way": nil,
	}
}

// Whatever the primary does, the whole is an engine that keeps the contract and
// loses no final.
func TestConformance(t *testing.T) {
	for name, f := range moments() {
		t.Run(name, func(t *testing.T) {
			asrtest.Run(t, func(t *testing.T) asr.Engine {
				return join(t, &asrtest.Fake{Fault: f}, &asrtest.Fake{}, Config{Partial: time.Second, Final: time.Second})
			}, options())
		})
	}
	t.Run("refuses", func(t *testing.T) {
		asrtest.Run(t, func(t *testing.T) asr.Engine {
			return join(t, &asrtest.Fake{Refuse: func() error { return errBroken }}, &asrtest.Fake{}, Config{})
		}, options())
	})
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []struct {
		c    Config
		want string
	}{
		{Config{}, ""},
		{Config{Partial: -1}, ""},
		{Config{Final: -1}, "Final"},
		{Config{Probe: 2 * time.Hour}, "Probe"},
		{Config{Finish: -1}, "Finish"},
	} {
		_, err := New(&asrtest.Fake{}, &asrtest.Fake{}, c.c)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: error %v, want %q", c.c, err, c.want)
		}
	}
	if _, err := New(&asrtest.Fake{}, nil, Config{}); err == nil {
		t.Error("no fallback, no error")
	}
}

// leg plays asrtest.Speak's speech.
type leg struct {
	asrtest.Checker
	t  *testing.T
	s  asr.Stream
	at int64
}

func newLeg(t *testing.T, e *Engine) *leg {
	t.Helper()
	s, err := e.NewStream(t.Context(), asr.StreamConfig{Call: "c", Leg: "a"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &leg{t: t, s: s, at: 777 * pcm.FrameSamples}
}

func (l *leg) play(x []int16, edges ...asr.Edge) error {
	f := pcm.Frame{}
	for ; len(x) > 0; x = x[min(len(x), pcm.FrameSamples):] {
		f.Start = l.at
		copy(f.Samples[:], x)
		l.at = f.End()
		hs, err := l.s.Accept(&f, edges)
		if err := errors.Join(l.Take(hs), err); err != nil {
			return err
		}
		edges = nil
	}
	return nil
}

func (l *leg) say(words ...int16) {
	l.t.Helper()
	if err := l.start(words...); err != nil {
		l.t.Fatal(err)
	}
	end := l.at
	if err := errors.Join(
		l.play(make([]int16, pcm.Rate/2)),
		l.play(make([]int16, pcm.FrameSamples), asr.Edge{Kind: asr.End, At: end})); err != nil {
		l.t.Fatal(err)
	}
}

// start leaves the utterance open.
func (l *leg) start(words ...int16) error {
	return l.play(asrtest.Speak(words...), asr.Edge{Kind: asr.Begin, At: l.at})
}

func (l *leg) quiet(d time.Duration) {
	l.t.Helper()
	if err := l.play(make([]int16, pcm.Samples(d))); err != nil {
		l.t.Fatal(err)
	}
}

func (l *leg) finish() error {
	hs, err := l.s.Finish(l.t.Context())
	return errors.Join(l.Take(hs), err)
}

func (l *leg) want(texts ...string) {
	l.t.Helper()
	if !slices.Equal(l.Texts(), texts) {
		l.t.Errorf("finals %q, want %q", l.Texts(), texts)
	}
}

// The fallback hears otherwise; what the primary had made stable stays, and the
// rest is the fallback's.
func TestStableWordsStay(t *testing.T) {
	other := func(_ asr.StreamConfig, h *asr.Hypothesis) error {
		for i := range h.Words {
			h.Words[i].Text = strings.Replace(h.Words[i].Text, "w", "v", 1)
		}
		return nil
	}
	breaks := func(_ asr.StreamConfig, h *asr.Hypothesis) error {
		if h.Revision == 5 {
			return errBroken
		}
		return nil
	}
	var switches []string
	e := join(t, &asrtest.Fake{Fault: breaks}, &asrtest.Fake{Fault: other}, Config{
		Switched: func(c asr.StreamConfig, err error) { switches = append(switches, c.Leg+": "+fmt.Sprint(err)) },
	})
	l := newLeg(t, e)
	l.say(1, 2, 3, 4, 5, 6)
	l.say(7, 8, 9)
	if err := l.finish(); err != nil {
		t.Fatal(err)
	}
	l.want("w1 w2 v3 v4 v5 v6", "v7 v8 v9")
	if !slices.Equal(switches, []string{"a: broken"}) {
		t.Errorf("switches %q", switches)
	}
}

// What the fallback takes for no speech still has the primary's stable words.
func TestFallbackHearsNothing(t *testing.T) {
	cases := map[string]fault{
		"withdraws": func(_ asr.StreamConfig, h *asr.Hypothesis) error {
			h.Words, h.Stable = nil, 0
			return nil
		},
		"says nothing": func(asr.StreamConfig, *asr.Hypothesis) error { return asrtest.ErrMute },
	}
	for name, f := range cases {
		t.Run(name, func(t *testing.T) {
			e := join(t, &asrtest.Fake{Fault: moments()["breaks at the final"]}, &asrtest.Fake{Fault: f}, Config{})
			l := newLeg(t, e)
			if err := errors.Join(l.start(1, 2, 3), l.finish()); err != nil {
				t.Fatal(err)
			}
			l.want("w1 w2")
		})
	}
}

// A withdrawal of the primary's own is its own affair.
func TestPrimaryMayWithdraw(t *testing.T) {
	e := join(t, &asrtest.Fake{Fault: func(_ asr.StreamConfig, h *asr.Hypothesis) error {
		if h.Final {
			h.Words, h.Stable = nil, 0
		}
		return nil
	}}, &asrtest.Fake{}, Config{})
	l := newLeg(t, e)
	l.say(1, 2, 3)
	if err := l.finish(); err != nil {
		t.Fatal(err)
	}
	l.want("")
}

// The primary has split long speech and breaks in the second part: the fallback
// hears only that.
func TestOnlyWhatHasNoFinalIsReplayed(t *testing.T) {
	primary := &splitter{Fake: asrtest.Fake{}, at: pcm.Rate * 2}
	e := join(t, primary, &asrtest.Fake{}, Config{})
	l := newLeg(t, e)
	l.say(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
	if err := l.finish(); err != nil {
		t.Fatal(err)
	}
	l.want("w1 w2 w3 w4 w5", "w6 w7 w8 w9 w10")
}

// splitter ends an utterance after some audio, and breaks a second later.
type splitter struct {
	asrtest.Fake
	at int64
}

func (e *splitter) NewStream(ctx context.Context, c asr.StreamConfig) (asr.Stream, error) {
	s, err := e.Fake.NewStream(ctx, c)
	return &splitting{Stream: s, at: e.at}, err
}

type splitting struct {
	asr.Stream
	at, start int64
}

func (s *splitting) Accept(f *pcm.Frame, edges []asr.Edge) ([]asr.Hypothesis, error) {
	if len(edges) > 0 && s.start == 0 {
		s.start = edges[0].At
	}
	switch {
	case s.start > 0 && f.Start == s.start+s.at:
		edges = []asr.Edge{{Kind: asr.End, At: f.Start}, {Kind: asr.Begin, At: f.Start}}
	case s.start > 0 && f.Start > s.start+s.at+pcm.Rate:
		return nil, errBroken
	}
	return s.Stream.Accept(f, edges)
}

func TestReturnsToThePrimary(t *testing.T) {
	var down atomic.Bool
	down.Store(true)
	primary := &asrtest.Fake{Fault: func(asr.StreamConfig, *asr.Hypothesis) error {
		if down.Load() {
			return errBroken
		}
		return nil
	}}
	fallback := &asrtest.Fake{}
	e := join(t, primary, fallback, Config{Probe: 10 * time.Second})
	tried := func() int {
		n, _ := primary.Streams()
		return n
	}
	l := newLeg(t, e)
	l.say(1, 2)
	if tried() != 1 {
		t.Fatal("the primary was not tried")
	}
	l.say(3, 4)
	l.quiet(10 * time.Second)
	l.say(5, 6) // tried, and fails
	if tried() != 2 {
		t.Errorf("tried %d times, want 2", tried())
	}
	l.quiet(12 * time.Second)
	l.say(7, 8) // the next probe is after 20 s
	if tried() != 2 {
		t.Errorf("tried %d times, want 2", tried())
	}
	// A new leg knows, and probes by itself.
	b := newLeg(t, e)
	b.say(1, 2)
	if tried() != 2 {
		t.Errorf("a new leg tries a primary that is down")
	}
	down.Store(false)
	l.quiet(12 * time.Second)
	l.say(9, 10)
	l.say(11, 12)
	if tried() != 3 {
		t.Errorf("tried %d times, want 3", tried())
	}
	if _, open := fallback.Streams(); open != 1 {
		t.Errorf("%d streams of the fallback are open, want b's", open)
	}
	if err := errors.Join(l.finish(), b.finish()); err != nil {
		t.Fatal(err)
	}
	l.want("w1 w2", "w3 w4", "w5 w6", "w7 w8", "w9 w10", "w11 w12")
	if s := e.Stats(); s.Failures.Load() != 2 || s.Returns.Load() != 2 {
		t.Errorf("%d failures, %d returns", s.Failures.Load(), s.Returns.Load())
	}
	newLeg(t, e)
	if tried() != 4 {
		t.Error("a new leg does not know that the primary is back")
	}
}

// A primary without partials has until the end of speech.
func TestPartialsMayBeOff(t *testing.T) {
	e := join(t, &asrtest.Fake{Fault: func(_ asr.StreamConfig, h *asr.Hypothesis) error {
		if !h.Final {
			return asrtest.ErrMute
		}
		h.Revision = 1
		return nil
	}}, &asrtest.Fake{Refuse: func() error { return errBroken }}, Config{Partial: -1, Final: time.Second})
	l := newLeg(t, e)
	l.say(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
	if err := l.finish(); err != nil {
		t.Fatal(err)
	}
	l.want("w1 w2 w3 w4 w5 w6 w7 w8 w9 w10")
}

// hanging never ends.
type hanging struct{ asr.Stream }

func (h *hanging) Finish(ctx context.Context) ([]asr.Hypothesis, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

type hangs struct{ *asrtest.Fake }

func (e *hangs) NewStream(ctx context.Context, c asr.StreamConfig) (asr.Stream, error) {
	s, err := e.Fake.NewStream(ctx, c)
	return &hanging{s}, err
}

func TestPrimaryHangsAtTheEnd(t *testing.T) {
	e := join(t, &hangs{&asrtest.Fake{}}, &asrtest.Fake{}, Config{Finish: time.Millisecond})
	l := newLeg(t, e)
	l.say(1, 2, 3)
	if err := errors.Join(l.start(4, 5, 6), l.finish()); err != nil {
		t.Fatal(err)
	}
	l.want("w1 w2 w3", "w4 w5 w6")

	e = join(t, &hangs{&asrtest.Fake{}}, &asrtest.Fake{}, Config{})
	l = newLeg(t, e)
	if err := l.start(1, 2, 3); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.s.Finish(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestBothFail(t *testing.T) {
	worse := errors.New("worse")
	t.Run("at the beginning", func(t *testing.T) {
		e := join(t, &asrtest.Fake{Refuse: func() error { return errBroken }}, &asrtest.Fake{Refuse: func() error { return worse }}, Config{})
		if _, err := e.NewStream(t.Context(), asr.StreamConfig{}); !errors.Is(err, errBroken) || !errors.Is(err, worse) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("in speech", func(t *testing.T) {
		e := join(t, &asrtest.Fake{Fault: moments()["breaks in the middle"]}, &asrtest.Fake{Refuse: func() error { return worse }}, Config{})
		if err := newLeg(t, e).start(1, 2, 3, 4); !errors.Is(err, errBroken) || !errors.Is(err, worse) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("in the replay", func(t *testing.T) {
		e := join(t, &asrtest.Fake{Fault: moments()["breaks in the middle"]}, &asrtest.Fake{Fault: func(asr.StreamConfig, *asr.Hypothesis) error { return worse }}, Config{})
		l := newLeg(t, e)
		if err := l.start(1, 2, 3, 4); !errors.Is(err, errBroken) || !errors.Is(err, worse) {
			t.Errorf("error %v", err)
		}
		if err := l.finish(); !errors.Is(err, worse) {
			t.Errorf("Finish: %v", err)
		}
	})
}

// A vosk-server that is not there: every final is the fallback's.
func TestUnreachableServer(t *testing.T) {
	primary, err := vosk.New(vosk.Config{URL: "ws://127.0.0.1:1", GiveUp: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	e := join(t, primary, &asrtest.Fake{}, Config{})
	l := newLeg(t, e)
	l.say(1, 2, 3)
	l.say(4, 5)
	if err := errors.Join(l.start(6, 7), l.finish()); err != nil {
		t.Fatal(err)
	}
	l.want("w1 w2 w3", "w4 w5", "w6 w7")
	if n := e.Stats().Failures.Load(); n != 1 {
		t.Errorf("%d failures", n)
	}
}

// A day of silence keeps no more than what a Begin may reach back for.
func TestMemoryIsBounded(t *testing.T) {
	e := join(t, &asrtest.Fake{}, &asrtest.Fake{}, Config{})
	l := newLeg(t, e)
	for range 20 {
		l.say(1, 2, 3)
		l.quiet(3 * time.Second)
		if n := len(l.s.(*Stream).kept); n > 2*idleFrames {
			t.Fatalf("%d frames are kept", n)
		}
	}
	l = newLeg(t, join(t, deaf{}, &asrtest.Fake{}, Config{Partial: -1}))
	if err := l.play(make([]int16, 10*60*pcm.Rate), asr.Edge{Kind: asr.Begin, At: l.at}); err != nil {
		t.Fatal(err)
	}
	if n := len(l.s.(*Stream).kept); n > maxFrames {
		t.Errorf("%d frames are kept", n)
	}
}

// deaf hears nothing.
type deaf struct{}

func (deaf) NewStream(context.Context, asr.StreamConfig) (asr.Stream, error) { return deaf{}, nil }
func (deaf) Accept(*pcm.Frame, []asr.Edge) ([]asr.Hypothesis, error)         { return nil, nil }
func (deaf) Finish(context.Context) ([]asr.Hypothesis, error)                { return nil, nil }
func (deaf) Close() error                                                    { return nil }
