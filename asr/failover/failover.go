// Package failover makes one engine of two: a primary, and a fallback that takes
// over when the primary breaks, or falls silent, in the middle of a call.
//
// A stream keeps the audio of the utterances that have no final yet. The
// fallback hears them from their beginning: no final is lost, utterances keep
// their numbers, revisions go on counting, and the words that the primary had
// made stable stay. After a while a new utterance is tried with the primary
// again, after a longer while each time that it has failed once more.
//
// Time is counted in the leg's audio, which comes at the pace of the call; the
// one wait, Finish's, is bounded by a context.
package failover

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"sidetone/asr"
	"sidetone/internal/pcm"
)

// Config says when an engine has failed; the zero value means the defaults.
type Config struct {
	// Partial is how much speech the primary may take without a word of it,
	// default 5 s. A negative value is for a primary without partials.
	Partial time.Duration
	// Final is how much audio may pass after an utterance's end without its
	// final; default 5 s.
	Final time.Duration
	// Probe is how much audio a leg takes before one of its utterances is tried
	// with the primary again, default 30 s. It doubles with each failure, up to
	// eightfold.
	Probe time.Duration
	// Finish is how long the primary's Finish may take, so that time is left
	// for the fallback's; default 5 s.
	Finish time.Duration
	// Switched, where set, is called when a leg changes its engine: from the
	// primary because of err, or back to it, with no error.
	Switched func(c asr.StreamConfig, err error)
}

const (
	defaultWait  = 5 * time.Second
	defaultProbe = 30 * time.Second
	maxProbes    = 8
	longest      = time.Hour
)

func (c Config) withDefaults() (Config, error) {
	for _, d := range []struct {
		name string
		v    *time.Duration
		def  time.Duration
	}{
		{"Final", &c.Final, defaultWait},
		{"Probe", &c.Probe, defaultProbe},
		{"Finish", &c.Finish, defaultWait},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
		if *d.v < 0 || *d.v > longest {
			return c, fmt.Errorf("failover: %s is %v, want more than 0 and at most %v", d.name, *d.v, longest)
		}
	}
	if c.Partial == 0 {
		c.Partial = defaultWait
	}
	if c.Switched == nil {
		c.Switched = func(asr.StreamConfig, error) {}
	}
	return c, nil
}

// Stats count what an Engine does; the fields may be read at any time.
type Stats struct {
	// Failures counts legs' changes to the fallback, Returns those back.
	Failures, Returns atomic.Int64
}

// Engine is a primary with a fallback. It is safe for concurrent use.
type Engine struct {
	primary, fallback asr.Engine
	c                 Config
	stats             Stats
	// down says that the primary failed the leg that tried it last: new legs
	// begin with the fallback.
	down atomic.Bool
}

var (
	_ asr.Engine = (*Engine)(nil)
	_ asr.Stream = (*Stream)(nil)
)

// New joins two engines, and owns them: Close closes both.
func New(primary, fallback asr.Engine, c Config) (*Engine, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	if primary == nil || fallback == nil {
		return nil, errors.New("failover: a primary and a fallback are needed")
	}
	return &Engine{primary: primary, fallback: fallback, c: c}, nil
}

// NewStream begins a leg, with the primary unless it is known to be down.
func (e *Engine) NewStream(ctx context.Context, c asr.StreamConfig) (asr.Stream, error) {
	s := &Stream{e: e, c: c, ctx: ctx, probe: pcm.Samples(e.c.Probe), kept: make([]heard, 0, 2*idleFrames)}
	var down error
	if !e.down.Load() {
		st, err := e.primary.NewStream(ctx, c)
		if err == nil {
			s.active, s.onPrimary = st, true
			return s, nil
		}
		if errors.Is(err, asr.ErrClosed) || ctx.Err() != nil {
			return nil, fmt.Errorf("failover: %w", err)
		}
		down = err
	}
	st, err := e.fallback.NewStream(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("failover: %w", errors.Join(down, err))
	}
	s.active = st
	if down != nil {
		s.failed()
		e.c.Switched(c, down)
	}
	return s, nil
}

// Close closes both engines. Idempotent.
func (e *Engine) Close() error {
	return errors.Join(e.primary.Close(), e.fallback.Close())
}

// Stats counts what the engine does.
func (e *Engine) Stats() *Stats { return &e.stats }
