package remote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/asr"
	"sidetone/asr/asrtest"
	"sidetone/internal/leaktest"
	"sidetone/internal/pcm"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// reader reads asrtest.Speak's speech. fault, where set, is asked before each
// partial and before the final.
type reader struct {
	fault func(ctx context.Context, u *Utterance, words []asr.Word, final bool) error
}

func (r *reader) Recognise(ctx context.Context, u *Utterance) ([]asr.Word, error) {
	var all []int16
	for {
		x, ended, err := u.Audio(ctx, len(all), pcm.Rate/5)
		if err != nil {
			return nil, err
		}
		all = append(all, x...)
		words := asrtest.Hear(all, u.Start())
		if r.fault != nil {
			if err := r.fault(ctx, u, words, ended); err != nil {
				return nil, err
			}
		}
		if ended {
			return words, nil
		}
		u.Partial(words, max(len(words)-1, 0), len(all))
	}
}

func engine(t *testing.T, r Recogniser, c Config) *Engine {
	t.Helper()
	e, err := New(r, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func TestConformance(t *testing.T) {
	asrtest.Run(t, func(t *testing.T) asr.Engine { return engine(t, &reader{}, Config{}) }, asrtest.Options{
		Speech:   [][]int16{asrtest.Speak(1, 2, 3, 4), asrtest.Speak(5, 6, 7), asrtest.Speak(8, 9, 10)},
		Said:     []string{"w1 w2 w3 w4", "w5 w6 w7", "w8 w9 w10"},
		Partials: true,
		Pace:     200 * time.Microsecond,
		Stalled: func(t *testing.T) asr.Engine {
			return engine(t, &reader{func(ctx context.Context, _ *Utterance, _ []asr.Word, _ bool) error {
				<-ctx.Done()
				return ctx.Err()
			}}, Config{})
		},
	})
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []struct {
		c    Config
		want string
	}{
		{Config{}, ""},
		{Config{Name: "there", Agree: -1}, "there: agreement"},
		{Config{MaxUtterance: time.Second}, "MaxUtterance"},
		{Config{MaxUtterance: 5 * time.Minute}, "MaxBehind"},
		{Config{Hold: -1}, "Hold"},
	} {
		_, err := New(&reader{}, c.c)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: error %v, want %q", c.c, err, c.want)
		}
	}
}

// leg plays speech within a bubble of time, at the pace of a call.
type leg struct {
	asrtest.Checker
	t  *testing.T
	s  asr.Stream
	at int64
}

func newLeg(t *testing.T, e *Engine) *leg {
	t.Helper()
	s, err := e.NewStream(t.Context(), asr.StreamConfig{Call: "c", Leg: "seven"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &leg{t: t, s: s}
}

func (l *leg) play(x []int16, edges ...asr.Edge) error {
	var f pcm.Frame
	for i := 0; i < len(x); i += pcm.FrameSamples {
		f.Start = l.at
		clear(f.Samples[:])
		copy(f.Samples[:], x[i:])
		l.at = f.End()
		hs, err := l.s.Accept(&f, edges)
		if cerr := l.Take(hs); cerr != nil {
			l.t.Error(cerr)
		}
		if err != nil {
			return err
		}
		edges = nil
		time.Sleep(pcm.FrameDuration)
	}
	return nil
}

// say plays an utterance and half a second of silence.
func (l *leg) say(words ...int16) error {
	x := asrtest.Speak(words...)
	if err := l.play(x, asr.Edge{Kind: asr.Begin, At: l.at}); err != nil {
		return err
	}
	end := l.at
	if err := l.play(make([]int16, pcm.Rate/2)); err != nil {
		return err
	}
	return l.play(make([]int16, pcm.FrameSamples), asr.Edge{Kind: asr.End, At: end})
}

func (l *leg) finish() error {
	hs, err := l.s.Finish(l.t.Context())
	if cerr := l.Take(hs); cerr != nil {
		l.t.Error(cerr)
	}
	return err
}

func (l *leg) want(texts ...string) {
	l.t.Helper()
	if !slices.Equal(l.Texts(), texts) {
		l.t.Errorf("finals %q, want %q", l.Texts(), texts)
	}
}

var errDropped = errors.New("connection dropped")

// C12, C14: attempts fail in the middle and at the end, three of them; the
// finals are there, once each, with their times.
func TestFailedAttemptsAreRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failures := 0
		e := engine(t, &reader{func(_ context.Context, _ *Utterance, words []asr.Word, final bool) error {
			if failures < 2 && len(words) == 3 || failures == 2 && final {
				failures++
				return errDropped
			}
			return nil
		}}, Config{})
		l := newLeg(t, e)
		for _, err := range []error{l.say(1, 2, 3, 4, 5), l.say(6, 7), l.finish()} {
			if err != nil {
				t.Fatal(err)
			}
		}
		l.want("w1 w2 w3 w4 w5", "w6 w7")
		if got := e.Stats().Retries.Load(); got != 3 || failures != 3 {
			t.Errorf("%d retries after %d failures", got, failures)
		}
		if w := l.Finals[1].Words[0]; w.Start != l.Finals[1].Start {
			t.Errorf("word %+v of an utterance at %d", w, l.Finals[1].Start)
		}
	})
}

func TestGivesUp(t *testing.T) {
	cases := []struct {
		name string
		err  error
		want string
		// within bounds the audio that it takes to fail.
		atLeast, within time.Duration
	}{
		{"what does not pass", errDropped, "given up after", 15 * time.Second, 22 * time.Second},
		{"what cannot pass", &Error{Permanent: true, Err: errDropped}, "utterance 1: connection dropped", 0, time.Second},
		{"what asks for too much time", &Error{After: time.Minute, Err: errDropped}, "given up after 1", 0, time.Second},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := engine(t, &reader{func(context.Context, *Utterance, []asr.Word, bool) error { return c.err }}, Config{})
				l := newLeg(t, e)
				err := l.say(1, 2)
				for err == nil {
					err = l.play(make([]int16, pcm.FrameSamples))
				}
				if !errors.Is(err, errDropped) || !strings.Contains(err.Error(), "leg seven of call c: ") || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v", err)
				}
				if d := pcm.Duration(l.at); d < c.atLeast || d > c.within {
					t.Errorf("failed after %v", d)
				}
				if ferr := l.finish(); !errors.Is(ferr, errDropped) {
					t.Errorf("Finish: %v", ferr)
				}
				if s := e.Stats(); s.Failed.Load() != 1 || s.Waiting.Load() != 0 {
					t.Errorf("%d failed, %d waiting", s.Failed.Load(), s.Waiting.Load())
				}
			})
		})
	}
}

// C13
func TestPausesGrow(t *testing.T) {
	cases := []struct {
		failed    int
		err       error
		low, high time.Duration
	}{
		{1, errDropped, 100 * time.Millisecond, 200 * time.Millisecond},
		{3, errDropped, 400 * time.Millisecond, 800 * time.Millisecond},
		{5, errDropped, 1600 * time.Millisecond, 3200 * time.Millisecond},
		{6, errDropped, 2500 * time.Millisecond, 5 * time.Second},
		{1000, errDropped, 2500 * time.Millisecond, 5 * time.Second},
		{1, fmt.Errorf("post: %w", &Error{After: 3 * time.Second, Err: errDropped}), 3 * time.Second, 3 * time.Second},
	}
	for _, c := range cases {
		if low, high := pause(c.failed, c.err, 0), pause(c.failed, c.err, 1); low != c.low || high != c.high {
			t.Errorf("after %d failures: %v to %v, want %v to %v", c.failed, low, high, c.low, c.high)
		}
	}
}

// C13: the network stands still for minutes; memory stays bounded and what
// cannot be kept is counted.
func TestTooFarBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(chan struct{})
		e := engine(t, &reader{func(ctx context.Context, _ *Utterance, _ []asr.Word, _ bool) error {
			select {
			case <-open:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}, Config{MaxUtterance: 4 * time.Second, MaxBehind: 6 * time.Second})
		l := newLeg(t, e)
		for range 6 {
			if err := l.say(1, 2, 3, 4); err != nil {
				t.Fatal(err)
			}
		}
		if n := l.s.(*Stream).behind; n > 6*pcm.Rate {
			t.Errorf("%d samples are kept", n)
		}
		close(open)
		if err := l.finish(); err != nil {
			t.Fatal(err)
		}
		l.want("w1 w2 w3 w4", "w1 w2 w3 w4", "w1 w2 w3 w4", "", "", "")
		if got := e.Stats().Lost.Load(); got != 3 {
			t.Errorf("%d lost", got)
		}
		if n := l.s.(*Stream).behind; n != 0 {
			t.Errorf("%d samples are kept at the end", n)
		}
	})
}

func TestLongSpeechIsSplit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := engine(t, &reader{}, Config{MaxUtterance: 4 * time.Second})
		l := newLeg(t, e)
		var words []int16
		for n := range int16(30) {
			words = append(words, n+1)
		}
		if err := errors.Join(l.say(words...), l.finish()); err != nil {
			t.Fatal(err)
		}
		if len(l.Finals) < 3 {
			t.Errorf("%d finals of 12 s", len(l.Finals))
		}
		next := 1
		for i, h := range l.Finals {
			if h.End-h.Start > 4*pcm.Rate || i > 0 && h.Start != l.Finals[i-1].End {
				t.Errorf("utterance %d from %d to %d", i+1, h.Start, h.End)
			}
			for _, w := range h.Words {
				if w.Text != fmt.Sprintf("w%d", next) {
					t.Fatalf("word %q, want w%d", w.Text, next)
				}
				next++
			}
		}
		if next != 31 {
			t.Errorf("%d words of 30", next-1)
		}
	})
}

// A recogniser may say anything, also what is out of place.
func TestWordsArePutInPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		odd := []asr.Word{
			{Text: "early", Start: -100, End: 50, Confidence: 2},
			{Text: "", Start: 10, End: 20},
			{Text: "turned", Start: 90, End: 20, Confidence: -1},
			{Text: "long", Start: 100, End: 1 << 50},
			{Text: "late", Start: 1 << 50, End: 1 << 51},
		}
		l := newLeg(t, engine(t, recogniser(func(_ context.Context, u *Utterance) ([]asr.Word, error) {
			u.Partial(odd, 17, 1<<30)
			<-u.Done()
			return odd, nil
		}), Config{}))
		if err := errors.Join(l.say(1, 2), l.finish()); err != nil {
			t.Fatal(err)
		}
		l.want("early turned long")
		if end := l.Finals[0].End; end > l.at {
			t.Errorf("the final ends at %d, the audio at %d", end, l.at)
		}
	})
}

type recogniser func(ctx context.Context, u *Utterance) ([]asr.Word, error)

func (r recogniser) Recognise(ctx context.Context, u *Utterance) ([]asr.Word, error) {
	return r(ctx, u)
}

func TestUnchangedPartialsBeatSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLeg(t, engine(t, recogniser(func(ctx context.Context, u *Utterance) ([]asr.Word, error) {
			n := 0
			for {
				x, ended, err := u.Audio(ctx, n, pcm.Rate/10)
				if ended || err != nil {
					return nil, err
				}
				n += len(x)
				u.Partial([]asr.Word{{Text: "hm", Start: u.Start(), End: u.Start() + 100}}, 0, n)
			}
		}), Config{}))
		if err := errors.Join(l.say(1, 2, 3, 4, 5, 6, 7, 8, 9, 10), l.finish()); err != nil {
			t.Fatal(err)
		}
		l.want("")
		if n := len(l.All); n < 4 || n > 7 {
			t.Errorf("%d hypotheses in 4.5 s of the same word", n)
		}
	})
}
