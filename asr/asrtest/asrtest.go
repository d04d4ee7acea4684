// Package asrtest is the conformance suite of recognisers: whatever implements
// asr.Engine runs it in its tests and keeps the contract of package asr.
//
// The suite plays speech that the caller gives, real or synthetic, as a leg
// would bring it. It judges order, identity and life, not accuracy.
package asrtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"sidetone/asr"
	"sidetone/internal/pcm"
)

// Options say what the suite plays and what it may expect.
type Options struct {
	// Speech is what is played: utterances without silence around them, of
	// 1 to 15 s, as samples at pcm.Rate. At least two are needed.
	Speech [][]int16
	// Said, where given, are the words of each Speech as the engine must
	// recognise them, case and punctuation aside.
	Said []string
	// Partials says that the engine gives partials, if it has the time.
	Partials bool
	// Pace is how long the suite rests after each frame, so that an engine can
	// answer while somebody speaks. A stream with the method
	// Settle(context.Context) error is asked to settle instead.
	Pace time.Duration
	// Stalled makes an engine that never comes to an answer. Without it, some
	// rules cannot be judged and are left out.
	Stalled func(t *testing.T) asr.Engine
	// Closed are errors one of which must be in the chain of what a closed
	// stream or engine returns; default asr.ErrClosed.
	Closed []error
	// Legs is how many legs talk at once; default 8.
	Legs int
	// Patience bounds every wait: an engine that takes longer hangs. Default
	// one minute.
	Patience time.Duration
}

func (o Options) withDefaults() (Options, error) {
	if o.Closed == nil {
		o.Closed = []error{asr.ErrClosed}
	}
	if o.Legs == 0 {
		o.Legs = 8
	}
	if o.Patience == 0 {
		o.Patience = time.Minute
	}
	if len(o.Speech) < 2 || o.Said != nil && len(o.Said) != len(o.Speech) {
		return o, fmt.Errorf("asrtest: %d utterances and %d texts, want two or more, and a text each or none", len(o.Speech), len(o.Said))
	}
	for i, x := range o.Speech {
		if len(x) < pcm.Rate || len(x) > 15*pcm.Rate {
			return o, fmt.Errorf("asrtest: utterance %d lasts %v, want 1 to 15 s", i, pcm.Duration(int64(len(x))))
		}
	}
	return o, nil
}

// Run holds the engines that open makes against the contract. The tests must
// not run beside others, since goroutines are counted.
func Run(t *testing.T, open func(t *testing.T) asr.Engine, o Options) {
	t.Helper()
	o, err := o.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			s := &suite{Options: o, open: func() asr.Engine { return open(t) }}
			if r.stalled {
				if o.Stalled == nil {
					t.Skip("no stalled engine given")
				}
				s.open = func() asr.Engine { return o.Stalled(t) }
			}
			if err := s.judge(t.Context(), r); err != nil {
				t.Error(err)
			}
		})
	}
}

// rule is one of the contract's.
type rule struct {
	name string
	// stalled says that the rule wants an engine that never answers.
	stalled bool
	holds   func(s *suite, ctx context.Context, e asr.Engine) error
}

// suite is one run of a rule.
type suite struct {
	Options
	open func() asr.Engine
}

// judge opens an engine, applies the rule, closes the engine and looks for what
// it has left behind.
func (s *suite) judge(ctx context.Context, r rule) error {
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithTimeout(ctx, s.Patience)
	defer cancel()
	e := s.open()
	err := s.bounded("the test", func() error { return r.holds(s, ctx, e) })
	if errors.Is(err, errHangs) {
		return err
	}
	for range 2 {
		if cerr := s.bounded("Engine.Close", e.Close); cerr != nil {
			return errors.Join(err, fmt.Errorf("closing the engine: %w", cerr))
		}
	}
	cancel()
	return errors.Join(err, s.gone(before))
}

// errHangs is how a call that does not return is told.
var errHangs = errors.New("hangs")

// bounded calls f and gives up waiting for it when patience ends.
func (s *suite) bounded(what string, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	timer := time.NewTimer(s.Patience + s.Patience/2)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fmt.Errorf("%s %w", what, errHangs)
	}
}

// gone waits until no more goroutines run than before.
func (s *suite) gone(before int) error {
	for end := time.Now().Add(s.Patience); ; time.Sleep(time.Millisecond) {
		n := runtime.NumGoroutine()
		if n <= before {
			return nil
		}
		if time.Now().After(end) {
			stacks := make([]byte, 1<<16)
			return fmt.Errorf("%d goroutines run after Close, %d did before:\n%s",
				n, before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// closed says whether err tells that something has been closed.
func (s *suite) closed(what string, err error) error {
	for _, c := range s.Closed {
		if errors.Is(err, c) {
			return nil
		}
	}
	return fmt.Errorf("%s returned %w, want an error with one of %v in its chain", what, orNone(err), s.Closed)
}

var errNone = errors.New("no error")

func orNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}
