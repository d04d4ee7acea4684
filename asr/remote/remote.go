// Package remote is what recognisers behind a socket have in common: an engine
// whose streams cut a leg into utterances between the edges of speech and hand
// them, one after the other, to a Recogniser; package vosk and package openai
// are such.
//
// Audio never waits for the network: a stream keeps each utterance's audio
// until its final has come, so that an attempt that fails is repeated from the
// utterance's beginning, and words that had become stable stay. What is kept
// is bounded: long speech is split, and a leg too far behind gets what its
// partials have found.
package remote

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"sidetone/asr"
	"sidetone/internal/pcm"
)

// Recogniser hears utterances. It is used by many goroutines at once.
type Recogniser interface {
	// Recognise hears an utterance, while it is still spoken, up to its end and
	// returns its final words, on the leg's clock. On the way it may call
	// Partial. After an error it may be called again with the same utterance.
	Recognise(ctx context.Context, u *Utterance) ([]asr.Word, error)
}

// Config tunes an Engine; the zero value means the defaults.
type Config struct {
	// Name stands before errors; default "remote".
	Name string
	// MaxUtterance bounds an utterance; longer speech is split at its quietest
	// place. Default 30 s.
	MaxUtterance time.Duration
	// MaxBehind bounds the audio of a leg's utterances that wait for their
	// finals, and so its memory; default 2 min.
	MaxBehind time.Duration
	// Tail is how much audio after the end of speech belongs to an utterance;
	// default 300 ms.
	Tail time.Duration
	// Agree is how many partials in a row after the first must agree on a word
	// to make it stable, Stay how much audio must have passed since that, and
	// Hold how far before the end of the audio the word must end. With Agree 0
	// words are stable when the Recogniser is certain of them.
	Agree      int
	Stay, Hold time.Duration
	// GiveUp is how long an utterance is tried again after its first failure
	// before its stream fails; default 20 s.
	GiveUp time.Duration
}

const (
	defaultMaxUtterance = 30 * time.Second
	defaultMaxBehind    = 2 * time.Minute
	defaultTail         = 300 * time.Millisecond
	defaultGiveUp       = 20 * time.Second
	minUtterance        = 2 * time.Second
	longest             = 10 * time.Minute
)

func (c Config) withDefaults() (Config, error) {
	if c.Name == "" {
		c.Name = "remote"
	}
	for _, d := range []struct {
		name            string
		v               *time.Duration
		def, least, max time.Duration
	}{
		{"MaxUtterance", &c.MaxUtterance, defaultMaxUtterance, minUtterance, longest},
		{"MaxBehind", &c.MaxBehind, defaultMaxBehind, minUtterance, longest},
		{"Tail", &c.Tail, defaultTail, 0, 10 * time.Second},
		{"Stay", &c.Stay, 0, 0, 10 * time.Second},
		{"Hold", &c.Hold, 0, 0, 10 * time.Second},
		{"GiveUp", &c.GiveUp, defaultGiveUp, 0, longest},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
		if *d.v < d.least || *d.v > d.max {
			return c, fmt.Errorf("%s: %s is %v, want %v to %v", c.Name, d.name, *d.v, d.least, d.max)
		}
	}
	switch {
	case c.Agree < 0:
		return c, fmt.Errorf("%s: agreement of %d partials, want 0 or more", c.Name, c.Agree)
	case c.MaxBehind < c.MaxUtterance:
		return c, fmt.Errorf("%s: MaxBehind is %v, want at least MaxUtterance, %v", c.Name, c.MaxBehind, c.MaxUtterance)
	}
	return c, nil
}

// Stats count what an Engine does; the fields may be read at any time.
type Stats struct {
	// Partials and Finals count hypotheses.
	Partials, Finals atomic.Int64
	// Retries counts attempts after the first one.
	Retries atomic.Int64
	// Failed counts utterances that were given up.
	Failed atomic.Int64
	// Lost counts utterances that were not recognised to the end because their
	// leg was too far behind.
	Lost atomic.Int64
	// Waiting is the number of utterances that have no final yet.
	Waiting atomic.Int64
}

// Engine is a recogniser behind a socket. It is safe for concurrent use.
type Engine struct {
	r     Recogniser
	c     Config
	stats Stats

	mu      sync.Mutex
	closed  bool
	streams map[*Stream]struct{}
	workers sync.WaitGroup
}

var (
	_ asr.Engine = (*Engine)(nil)
	_ asr.Stream = (*Stream)(nil)
)

// New makes an Engine; nothing is asked of the Recogniser before somebody
// speaks.
func New(r Recogniser, c Config) (*Engine, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Engine{r: r, c: c, streams: map[*Stream]struct{}{}}, nil
}

// NewStream begins a leg.
func (e *Engine) NewStream(ctx context.Context, c asr.StreamConfig) (asr.Stream, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	s := &Stream{
		e: e, c: c, ctx: ctx, cancel: cancel,
		history: make([]int16, 0, 2*historySamples),
		changed: make(chan struct{}, 1),
		grown:   make(chan struct{}, 1),
		worked:  make(chan struct{}),
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		cancel(nil)
		return nil, fmt.Errorf("%s: no stream for leg %s of call %s: engine %w", e.c.Name, c.Leg, c.Call, asr.ErrClosed)
	}
	e.streams[s] = struct{}{}
	return s, nil
}

// Close ends the streams' work and waits for it; streams that are still open
// return asr.ErrClosed. Idempotent.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	for s := range e.streams {
		s.cancel(errEngineClosed)
	}
	e.mu.Unlock()
	e.workers.Wait()
	return nil
}

var (
	errEngineClosed = fmt.Errorf("engine %w", asr.ErrClosed)
	errStreamClosed = fmt.Errorf("stream %w", asr.ErrClosed)
)

// Stats counts what the engine does.
func (e *Engine) Stats() *Stats { return &e.stats }

// work runs a stream's worker. False means that the engine is closed.
func (e *Engine) work(s *Stream) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.workers.Go(s.work)
	return true
}

func (e *Engine) forget(s *Stream) {
	e.mu.Lock()
	delete(e.streams, s)
	e.mu.Unlock()
}

// Error is an attempt's failure of which the Recogniser knows more than that it
// failed.
type Error struct {
	// Permanent says that another attempt would fail likewise.
	Permanent bool
	// After is how long the service asked to be left alone.
	After time.Duration
	Err   error
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

const (
	firstWait = 200 * time.Millisecond
	lastWait  = 5 * time.Second
)

// pause is how long to wait before the attempt after the given number of failed
// ones, between half and the whole of a time that doubles, so that legs whose
// server comes back do not come all at once. chance is 0 to 1.
func pause(failed int, err error, chance float64) time.Duration {
	d := lastWait
	if failed < 6 {
		d = min(firstWait<<(failed-1), lastWait)
	}
	d = d/2 + time.Duration(chance*float64(d/2))
	if e, ok := errors.AsType[*Error](err); ok {
		d = max(d, e.After)
	}
	return d
}

func samples(d time.Duration) int { return int(pcm.Samples(d)) }
