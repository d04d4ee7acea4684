package asrtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/asr"
	"sidetone/internal/leaktest"
	"sidetone/internal/pcm"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func options() Options {
	return Options{
		Speech:   [][]int16{Speak(1, 2, 3), Speak(4, 5, 6, 7), Speak(8, 9, 10)},
		Said:     []string{"w1 w2 w3", "w4 w5 w6 w7", "W8, w9 w10."},
		Partials: true,
		Stalled:  func(*testing.T) asr.Engine { return &stalled{} },
	}
}

func TestFakeConforms(t *testing.T) {
	Run(t, func(*testing.T) asr.Engine { return &Fake{} }, options())
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{
		{},
		{Speech: [][]int16{Speak(1, 2, 3), Speak(1)}},
		{Speech: [][]int16{Speak(1, 2, 3), Speak(1, 2, 3)}, Said: []string{"one"}},
	} {
		if _, err := o.withDefaults(); err == nil {
			t.Errorf("%d utterances, %d texts: no error", len(o.Speech), len(o.Said))
		}
	}
}

// stalled is an engine that never answers. What it does wrong is set by tests.
type stalled struct {
	waits, deaf, hangs bool
}

func (e *stalled) NewStream(ctx context.Context, _ asr.StreamConfig) (asr.Stream, error) {
	return &stalledStream{e, ctx}, nil
}

func (e *stalled) Close() error { return nil }

type stalledStream struct {
	e   *stalled
	ctx context.Context
}

func (s *stalledStream) Accept(*pcm.Frame, []asr.Edge) ([]asr.Hypothesis, error) {
	if s.e.waits {
		<-s.ctx.Done()
		return nil, s.ctx.Err()
	}
	return nil, nil
}

func (s *stalledStream) Finish(ctx context.Context) ([]asr.Hypothesis, error) {
	if s.e.deaf {
		return nil, nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func (s *stalledStream) Close() error {
	if s.e.hangs {
		<-s.ctx.Done()
		return s.ctx.Err()
	}
	return nil
}

// wrapped is a Fake whose streams misbehave.
type wrapped struct {
	Fake
	stream func(asr.Stream) asr.Stream
	onStop func() error
}

func (e *wrapped) NewStream(ctx context.Context, c asr.StreamConfig) (asr.Stream, error) {
	s, err := e.Fake.NewStream(ctx, c)
	if err != nil {
		return nil, err
	}
	return e.stream(s), nil
}

func (e *wrapped) Close() error {
	if e.onStop != nil {
		if err := e.onStop(); err != nil {
			return err
		}
	}
	return e.Fake.Close()
}

type bad struct {
	asr.Stream
	accept func(asr.Stream, *pcm.Frame, []asr.Edge) ([]asr.Hypothesis, error)
	finish func(asr.Stream, context.Context) ([]asr.Hypothesis, error)
	close  func(asr.Stream) error
}

func (b *bad) Accept(f *pcm.Frame, e []asr.Edge) ([]asr.Hypothesis, error) {
	if b.accept == nil {
		return b.Stream.Accept(f, e)
	}
	return b.accept(b.Stream, f, e)
}

func (b *bad) Finish(ctx context.Context) ([]asr.Hypothesis, error) {
	if b.finish == nil {
		return b.Stream.Finish(ctx)
	}
	return b.finish(b.Stream, ctx)
}

func (b *bad) Close() error {
	if b.close == nil {
		return b.Stream.Close()
	}
	return b.close(b.Stream)
}

// Each rule is broken by some engine, and the suite sees it.
func TestBreachesAreSeen(t *testing.T) {
	fake := func(s bad) func() asr.Engine {
		return func() asr.Engine {
			return &wrapped{stream: func(in asr.Stream) asr.Stream {
				b := s
				b.Stream = in
				return &b
			}}
		}
	}
	change := func(f func(*asr.Hypothesis)) func() asr.Engine {
		return func() asr.Engine {
			return &Fake{Fault: func(_ asr.StreamConfig, h *asr.Hypothesis) error {
				f(h)
				return nil
			}}
		}
	}
	mute := func(when func(*asr.Hypothesis) bool) func() asr.Engine {
		return func() asr.Engine {
			return &Fake{Fault: func(_ asr.StreamConfig, h *asr.Hypothesis) error {
				if when(h) {
					return ErrMute
				}
				return nil
			}}
		}
	}
	quit := make(chan struct{})
	cases := []struct {
		rule  string
		open  func() asr.Engine
		want  string
		hangs bool
	}{
		{"speech", mute(func(h *asr.Hypothesis) bool { return !h.Final }), "revisions begin with", false},
		{"speech", mute(func(h *asr.Hypothesis) bool {
			final := h.Final
			h.Revision = 1
			return !final
		}), "where are the partials", false},
		{"speech", change(func(h *asr.Hypothesis) {
			if h.Final {
				h.Words = slices.Clone(h.Words)
				h.Words[0].Text = "other"
			}
		}), "stable word 0", false},
		{"speech", change(func(h *asr.Hypothesis) {
			h.Start -= pcm.Rate * 60
			h.End -= pcm.Rate * 60
		}), "word 0", false},
		{"finish gives the rest", mute(func(h *asr.Hypothesis) bool { return h.Final && h.Utterance == 3 }), "2 finals", false},
		{"finish ends the last utterance", fake(bad{finish: func(asr.Stream, context.Context) ([]asr.Hypothesis, error) {
			return nil, nil
		}}), "1 finals", false},
		{"silence", fake(bad{accept: func(s asr.Stream, f *pcm.Frame, e []asr.Edge) ([]asr.Hypothesis, error) {
			return s.Accept(f, slices.Clone(append(e, asr.Edge{})))
		}}), "allocations", false},
		{"holes", fake(bad{accept: func(s asr.Stream, f *pcm.Frame, e []asr.Edge) ([]asr.Hypothesis, error) {
			g := *f
			g.Start %= 3600 * pcm.Rate
			return s.Accept(&g, e)
		}}), "was spoken at", false},
		{"many legs", func() asr.Engine {
			return &Fake{Fault: func(c asr.StreamConfig, h *asr.Hypothesis) error {
				if c.Leg == "leg 4" && h.Revision == 2 {
					return errors.New("overheated")
				}
				return nil
			}}
		}, "leg 4: Accept", false},
		{"cancelled", fake(bad{accept: func(s asr.Stream, f *pcm.Frame, e []asr.Edge) ([]asr.Hypothesis, error) {
			hs, err := s.Accept(f, e)
			if errors.Is(err, context.Canceled) {
				err = nil
			}
			return hs, err
		}}), "no error", false},
		{"stream closed in speech", fake(bad{close: func(s asr.Stream) error {
			_, err := s.Accept(&pcm.Frame{}, nil)
			return errors.Join(err, s.Close())
		}}), "closed", false},
		{"use after close", fake(bad{close: func(asr.Stream) error { return nil }}), "no error", false},
		{"use after close", fake(bad{accept: func(s asr.Stream, f *pcm.Frame, e []asr.Edge) ([]asr.Hypothesis, error) {
			hs, err := s.Accept(f, e)
			if err != nil {
				err = errors.New("gone")
			}
			return hs, err
		}}), "gone", false},
		{"engine closed under streams", func() asr.Engine {
			return &wrapped{
				stream: func(s asr.Stream) asr.Stream { return s },
				onStop: func() error { return errors.New("streams are open") },
			}
		}, "streams are open", false},
		{"speech", func() asr.Engine {
			return &wrapped{
				stream: func(s asr.Stream) asr.Stream { return s },
				onStop: func() error {
					go func() { <-quit }()
					return nil
				},
			}
		}, "goroutines run", true},
		{"accept does not wait", func() asr.Engine { return &stalled{waits: true} }, "Accept", true},
		{"accept does not wait", func() asr.Engine { return &Fake{} }, "a stalled engine said", false},
		{"finish honours its context", func() asr.Engine { return &stalled{deaf: true} }, "no error", false},
		{"close frees at once", func() asr.Engine { return &stalled{hangs: true} }, "deadline", true},
	}
	judged := map[string]bool{}
	for _, c := range cases {
		t.Run(c.rule, func(t *testing.T) {
			i := slices.IndexFunc(rules(), func(r rule) bool { return r.name == c.rule })
			o := options()
			if c.hangs {
				o.Patience = 200 * time.Millisecond
			}
			o, err := o.withDefaults()
			if err != nil || i < 0 {
				t.Fatal(i, err)
			}
			s := &suite{Options: o, open: c.open}
			err = s.judge(t.Context(), rules()[i])
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the suite says %v, want %q", err, c.want)
			}
		})
		judged[c.rule] = true
	}
	close(quit)
	for _, r := range rules() {
		if !judged[r.name] {
			t.Errorf("nothing breaks the rule %q", r.name)
		}
	}
}

func TestChecker(t *testing.T) {
	word := func(text string, start, end int64) asr.Word {
		return asr.Word{Text: text, Start: start, End: end, Confidence: 0.5}
	}
	first := asr.Hypothesis{Utterance: 1, Revision: 1, Words: []asr.Word{word("a", 0, 5), word("b", 5, 9)}, Stable: 1, End: 10}
	second := func(change func(*asr.Hypothesis)) []asr.Hypothesis {
		h := first
		h.Revision = 2
		h.Words = slices.Clone(h.Words)
		change(&h)
		return []asr.Hypothesis{first, h}
	}
	final := func(h *asr.Hypothesis) { h.Final, h.Stable = true, 2 }
	cases := []struct {
		name string
		hs   []asr.Hypothesis
		want string
	}{
		{"nothing", nil, ""},
		{"a revision", second(func(h *asr.Hypothesis) { h.Words[1] = word("c", 6, 10) }), ""},
		{"a final", second(final), ""},
		{"a final in another style", second(func(h *asr.Hypothesis) { final(h); h.Words[0].Text = "A," }), ""},
		{"withdrawn", second(func(h *asr.Hypothesis) { h.Final, h.Stable, h.Words = true, 0, nil }), ""},
		{"another style before the final", second(func(h *asr.Hypothesis) { h.Words[0].Text = "A" }), "stable word 0"},
		{"another word", second(func(h *asr.Hypothesis) { final(h); h.Words[0].Text = "x" }), "stable word 0"},
		{"another time", second(func(h *asr.Hypothesis) { h.Words[0].End = 4 }), "stable word 0"},
		{"fewer stable words", second(func(h *asr.Hypothesis) { h.Stable = 0 }), "0 words are stable, 1 were"},
		{"more stable words than words", second(func(h *asr.Hypothesis) { h.Stable = 3 }), "3 of 2"},
		{"an unstable final", second(func(h *asr.Hypothesis) { h.Final = true }), "of whose 2 words 1"},
		{"the same revision", second(func(h *asr.Hypothesis) { h.Revision = 1 }), "after revision 1"},
		{"a revision left out", second(func(h *asr.Hypothesis) { h.Revision = 3 }), "after revision 1"},
		{"the next utterance too early", second(func(h *asr.Hypothesis) { h.Utterance, h.Revision = 2, 1 }), "no final yet"},
		{"the wrong utterance first", []asr.Hypothesis{{Utterance: 2, Revision: 1}}, "after 0 finals"},
		{"the wrong revision first", []asr.Hypothesis{{Utterance: 1, Revision: 2}}, "begin with 2"},
		{"two finals", append(second(final), second(final)[1]), "after 1 finals"},
		{"an utterance before the last", append(second(func(h *asr.Hypothesis) { final(h); h.Start, h.Words, h.Stable = 1, nil, 0 }),
			asr.Hypothesis{Utterance: 2, Revision: 1}), "before utterance 1"},
		{"turned round", []asr.Hypothesis{{Utterance: 1, Revision: 1, Start: 5, End: 4}}, "ends at 4"},
		{"empty word", []asr.Hypothesis{{Utterance: 1, Revision: 1, End: 9, Words: []asr.Word{word("", 0, 1)}}}, "is empty"},
		{"word outside", []asr.Hypothesis{{Utterance: 1, Revision: 1, End: 9, Words: []asr.Word{word("a", 0, 10)}}}, "lies at"},
		{"words overlap", []asr.Hypothesis{{Utterance: 1, Revision: 1, End: 9, Words: []asr.Word{word("a", 0, 3), word("b", 2, 4)}}}, "lies at"},
		{"confidence", []asr.Hypothesis{{Utterance: 1, Revision: 1, End: 9, Words: []asr.Word{{Text: "a", Confidence: 1.5}}}}, "confidence"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var k Checker
			err := k.Take(c.hs)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}
