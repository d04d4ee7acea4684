package asrtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"sidetone/asr"
	"sidetone/internal/pcm"
)

func rules() []rule {
	return []rule{
		{"speech", false, (*suite).speech},
		{"finish gives the rest", false, (*suite).finishGivesTheRest},
		{"finish ends the last utterance", false, (*suite).finishEndsTheUtterance},
		{"silence", false, (*suite).silence},
		{"holes", false, (*suite).holes},
		{"many legs", false, (*suite).manyLegs},
		{"cancelled", false, (*suite).cancelled},
		{"stream closed in speech", false, (*suite).closedInSpeech},
		{"use after close", false, (*suite).useAfterClose},
		{"engine closed under streams", false, (*suite).engineClosed},
		{"accept does not wait", true, (*suite).acceptDoesNotWait},
		{"finish honours its context", true, (*suite).finishHonoursContext},
		{"close frees at once", true, (*suite).closeFreesAtOnce},
	}
}

// far is a leg's clock that has run for long.
const far = 1 << 40

// speech plays everything at the pace of a call.
func (s *suite) speech(ctx context.Context, e asr.Engine) error {
	l, err := s.leg(ctx, e, "a")
	if err != nil {
		return err
	}
	defer l.Close()
	l.at = far
	for i := range s.Speech {
		if err := errors.Join(l.quiet(50), l.say(i, manner{})); err != nil {
			return err
		}
	}
	if err := l.finish(ctx); err != nil {
		return err
	}
	if s.Partials && len(l.All) < 2*len(l.Finals) {
		return fmt.Errorf("%d hypotheses of %d utterances: where are the partials?", len(l.All), len(l.Finals))
	}
	return l.Close()
}

// finishGivesTheRest plays faster than anything could be recognised.
func (s *suite) finishGivesTheRest(ctx context.Context, e asr.Engine) error {
	l, err := s.leg(ctx, e, "a")
	if err != nil {
		return err
	}
	defer l.Close()
	for i := range 3 {
		if err := l.say(i, manner{burst: true}); err != nil {
			return err
		}
	}
	return l.finish(ctx)
}

func (s *suite) finishEndsTheUtterance(ctx context.Context, e asr.Engine) error {
	l, err := s.leg(ctx, e, "a")
	if err != nil {
		return err
	}
	defer l.Close()
	if err := errors.Join(l.say(0, manner{}), l.say(1, manner{open: true})); err != nil {
		return err
	}
	return l.finish(ctx)
}

// silence brings no hypothesis and takes no memory.
func (s *suite) silence(ctx context.Context, e asr.Engine) error {
	l, err := s.leg(ctx, e, "a")
	if err != nil {
		return err
	}
	defer l.Close()
	if err = l.say(0, manner{}); err != nil {
		return err
	}
	// What has been said is answered first.
	for range 10 {
		if err = errors.Join(l.quiet(20), l.breathe()); err != nil {
			return err
		}
	}
	f := pcm.Frame{Start: l.at}
	if n := testing.AllocsPerRun(2000, func() {
		if _, aerr := l.Accept(&f, nil); aerr != nil {
			err = aerr
		}
		f.Start = f.End()
	}); n != 0 {
		return fmt.Errorf("%v allocations a frame of silence", n)
	}
	if err != nil {
		return fmt.Errorf("Accept: %w", err)
	}
	n := len(l.Finals)
	hs, err := l.Finish(ctx)
	if err != nil || n+len(hs) > 1 {
		return fmt.Errorf("%d finals and %d hypotheses at the end, of one utterance: %w", n, len(hs), orNone(err))
	}
	return nil
}

// holes leaves frames out, within an utterance and between two, and plays one
// frame twice.
func (s *suite) holes(ctx context.Context, e asr.Engine) error {
	l, err := s.leg(ctx, e, "a")
	if err != nil {
		return err
	}
	defer l.Close()
	wordless := *s
	wordless.Said = nil
	l.suite = &wordless
	if err := l.say(0, manner{hole: 10 * pcm.FrameSamples}); err != nil {
		return err
	}
	l.at += 3600 * pcm.Rate
	if err := l.quiet(1); err != nil {
		return err
	}
	l.at -= pcm.FrameSamples
	if err := errors.Join(l.quiet(2), l.say(1, manner{})); err != nil {
		return err
	}
	return l.finish(ctx)
}

// manyLegs talk at once, each something else; one of them hangs up in between.
func (s *suite) manyLegs(ctx context.Context, e asr.Engine) error {
	errs := make([]error, s.Legs)
	var wg sync.WaitGroup
	for n := range s.Legs {
		wg.Go(func() {
			errs[n] = func() error {
				l, err := s.leg(ctx, e, fmt.Sprint("leg ", n))
				if err != nil {
					return err
				}
				defer l.Close()
				if err := l.say(n, manner{}); err != nil {
					return err
				}
				if n%4 == 3 {
					return errors.Join(l.say(n+1, manner{open: true, burst: true}), l.Close())
				}
				if err := l.say(n+1, manner{burst: n%2 == 1}); err != nil {
					return err
				}
				return l.finish(ctx)
			}()
			if errs[n] != nil {
				errs[n] = fmt.Errorf("leg %d: %w", n, errs[n])
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// cancelled ends a call in the middle of an utterance.
func (s *suite) cancelled(ctx context.Context, e asr.Engine) error {
	callCtx, hangUp := context.WithCancel(ctx)
	defer hangUp()
	l, err := s.leg(callCtx, e, "a")
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.say(0, manner{open: true, burst: true}); err != nil {
		return err
	}
	hangUp()
	if _, err := l.Accept(&pcm.Frame{Start: l.at}, nil); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("Accept after the call's end returned %w", orNone(err))
	}
	if _, err := l.Finish(ctx); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("Finish after the call's end returned %w", orNone(err))
	}
	return l.Close()
}

// closedInSpeech drops one leg; another goes on.
func (s *suite) closedInSpeech(ctx context.Context, e asr.Engine) error {
	a, err := s.leg(ctx, e, "a")
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := s.leg(ctx, e, "b")
	if err != nil {
		return err
	}
	defer b.Close()
	if err := errors.Join(
		a.say(0, manner{open: true, burst: true}), b.say(1, manner{burst: true}),
		a.Close(), a.Close(), b.say(0, manner{})); err != nil {
		return err
	}
	return b.finish(ctx)
}

func (s *suite) useAfterClose(ctx context.Context, e asr.Engine) error {
	l, err := s.leg(ctx, e, "a")
	if err != nil {
		return err
	}
	if err = errors.Join(l.say(0, manner{open: true, burst: true}), l.Close()); err != nil {
		return err
	}
	_, accept := l.Accept(&pcm.Frame{Start: l.at}, nil)
	_, finish := l.Finish(ctx)
	if err = e.Close(); err != nil {
		return err
	}
	_, begin := e.NewStream(ctx, asr.StreamConfig{})
	return errors.Join(
		s.closed("Accept after Close", accept),
		s.closed("Finish after Close", finish),
		s.closed("NewStream after Close", begin))
}

// engineClosed closes the engine under legs that talk.
func (s *suite) engineClosed(ctx context.Context, e asr.Engine) error {
	a, err := s.leg(ctx, e, "a")
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := s.leg(ctx, e, "b")
	if err != nil {
		return err
	}
	defer b.Close()
	if err = errors.Join(
		a.say(0, manner{open: true, burst: true}), b.say(0, manner{open: true, burst: true}), e.Close()); err != nil {
		return err
	}
	_, finish := a.Finish(ctx)
	_, accept := b.Accept(&pcm.Frame{Start: b.at}, []asr.Edge{{Kind: asr.End, At: b.at}})
	return errors.Join(
		s.closed("Finish after Engine.Close", finish),
		s.closed("Accept after Engine.Close", accept),
		a.Close(), b.Close())
}

// acceptDoesNotWait plays to an engine that never answers: if Accept waited, it
// would hang.
func (s *suite) acceptDoesNotWait(ctx context.Context, e asr.Engine) error {
	l, err := s.leg(ctx, e, "a")
	if err != nil {
		return err
	}
	defer l.Close()
	for i := range 3 {
		if err := l.say(i, manner{burst: true}); err != nil {
			return err
		}
	}
	if len(l.Finals) > 0 {
		return fmt.Errorf("a stalled engine said %q", l.Texts())
	}
	return l.Close()
}

func (s *suite) finishHonoursContext(ctx context.Context, e asr.Engine) error {
	l, err := s.leg(ctx, e, "a")
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.say(0, manner{burst: true}); err != nil {
		return err
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := l.Finish(over); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("Finish with a cancelled context returned %w", orNone(err))
	}
	return l.Close()
}

// closeFreesAtOnce closes streams and the engine while nothing is answered.
func (s *suite) closeFreesAtOnce(ctx context.Context, e asr.Engine) error {
	a, err := s.leg(ctx, e, "a")
	if err != nil {
		return err
	}
	b, err := s.leg(ctx, e, "b")
	if err != nil {
		return err
	}
	return errors.Join(
		a.say(0, manner{burst: true}), b.say(0, manner{burst: true, open: true}),
		a.Close(), a.Close(), e.Close(), b.Close())
}
