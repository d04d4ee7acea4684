package remote

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"sidetone/asr"
	"sidetone/asr/stable"
	"sidetone/internal/pcm"
)

const (
	// historySamples is how far back a Begin may reach.
	historySamples = 2 * pcm.Rate
	// maxHole is how much silence a hole puts into an utterance; a longer one
	// ends it.
	maxHole = 2 * pcm.Rate
)

// Stream is one leg. It is used by one goroutine.
type Stream struct {
	e      *Engine
	c      asr.StreamConfig
	ctx    context.Context
	cancel context.CancelCauseFunc

	// The leg's own: history is the audio before next.
	history []int16
	next    int64
	begun   bool
	working bool
	// changed is woken when hyps, err or waiting have changed, grown when an
	// utterance has got audio or has ended; worked is closed by the worker.
	changed, grown chan struct{}
	worked         chan struct{}

	mu sync.Mutex
	// waiting are the utterances without a final, of which the last may be
	// open; behind is their audio.
	waiting []*Utterance
	open    *Utterance
	behind  int
	count   int
	hyps    []asr.Hypothesis
	err     error
	// ended says that no more audio comes.
	ended bool
}

// Accept implements asr.Stream.
func (s *Stream) Accept(f *pcm.Frame, edges []asr.Edge) ([]asr.Hypothesis, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.over(); err != nil {
		return s.take(), err
	}
	s.hear(f)
	for _, e := range edges {
		switch e.Kind {
		case asr.Begin:
			s.begin(e.At)
		case asr.End:
			s.end(e.At)
		}
	}
	if u := s.open; u != nil && len(u.samples) >= samples(s.e.c.MaxUtterance) {
		s.split(u)
	}
	if len(s.waiting) > 0 {
		wake(s.grown)
	}
	return s.take(), s.over()
}

// Finish implements asr.Stream.
func (s *Stream) Finish(ctx context.Context) ([]asr.Hypothesis, error) {
	s.mu.Lock()
	if s.over() == nil {
		s.end(s.next)
		s.ended = true
		wake(s.grown)
	}
	s.mu.Unlock()
	for {
		s.mu.Lock()
		n, err := len(s.waiting), s.over()
		if n == 0 || err != nil {
			hs := s.take()
			s.mu.Unlock()
			return hs, err
		}
		s.mu.Unlock()
		select {
		case <-s.changed:
		case <-s.ctx.Done():
		case <-ctx.Done():
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.take(), fmt.Errorf("%s: leg %s of call %s: %d finals missing: %w", s.e.c.Name, s.c.Leg, s.c.Call, n, ctx.Err())
		}
	}
}

// Close implements asr.Stream.
func (s *Stream) Close() error {
	s.cancel(errStreamClosed)
	if s.working {
		<-s.worked
	}
	s.e.forget(s)
	return nil
}

// over says why the stream is of no more use.
func (s *Stream) over() error {
	if s.err == nil && s.ctx.Err() != nil {
		s.err = fmt.Errorf("%s: leg %s of call %s: %w", s.e.c.Name, s.c.Leg, s.c.Call, context.Cause(s.ctx))
	}
	return s.err
}

func (s *Stream) take() []asr.Hypothesis {
	hs := s.hyps
	s.hyps = nil
	return hs
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// hear keeps the frame, after silence for the hole before it, if there is one.
func (s *Stream) hear(f *pcm.Frame) {
	if !s.begun {
		s.begun, s.next = true, f.Start
	}
	hole := f.Start - s.next
	switch {
	case hole < 0:
		return
	case hole > maxHole:
		s.end(s.next)
		s.history = s.history[:0]
		s.next = f.Start
	case hole > 0:
		s.keep(make([]int16, hole))
	}
	s.keep(f.Samples[:])
}

func (s *Stream) keep(x []int16) {
	if len(s.history)+len(x) > cap(s.history) {
		n := copy(s.history, s.history[len(s.history)-historySamples:])
		s.history = s.history[:n]
	}
	s.history = append(s.history, x...)
	if s.open != nil {
		s.open.samples = append(s.open.samples, x...)
		s.behind += len(x)
	}
	s.next += int64(len(x))
}

func (s *Stream) begin(at int64) {
	if s.open == nil {
		back := max(min(s.next-at, int64(len(s.history))), 0)
		s.opened(s.next-back, s.history[len(s.history)-int(back):])
	}
}

func (s *Stream) opened(start int64, x []int16) {
	if !s.working {
		if !s.e.work(s) {
			return
		}
		s.working = true
	}
	s.count++
	s.behind += len(x)
	s.open = &Utterance{
		s: s, id: s.count, start: start,
		samples: append(make([]int16, 0, 4*pcm.Rate), x...),
		done:    make(chan struct{}),
		track: stable.Track{
			Agree: s.e.c.Agree, Stay: pcm.Samples(s.e.c.Stay), Hold: pcm.Samples(s.e.c.Hold),
		},
	}
	s.waiting = append(s.waiting, s.open)
	s.e.stats.Waiting.Add(1)
}

// end closes the open utterance: speech ceased at the given place.
func (s *Stream) end(at int64) {
	u := s.open
	if u == nil {
		return
	}
	s.open = nil
	speech := min(max(int(at-u.start), 0), len(u.samples))
	u.end = u.start + int64(speech)
	n := min(speech+samples(s.e.c.Tail), len(u.samples))
	s.behind -= len(u.samples) - n
	u.samples = u.samples[:n]
	if s.behind > samples(s.e.c.MaxBehind) {
		s.behind -= n
		u.samples, u.lost = nil, true
		s.e.stats.Lost.Add(1)
	}
	close(u.done)
}

// split ends an utterance that has become too long at its quietest place, and
// goes on with another.
func (s *Stream) split(u *Utterance) {
	from := max(len(u.samples)*6/10, int(u.track.End()-u.start))
	at := u.start + int64(quietest(u.samples, from))
	rest := u.samples[at-u.start:]
	s.behind -= len(rest)
	u.samples = u.samples[:at-u.start]
	s.end(at)
	s.opened(at, rest)
}

// quietest is the middle of the 160 ms from place from on that have the least
// energy, the end of x if there are none.
func quietest(x []int16, from int) int {
	const step, width = pcm.Rate / 50, pcm.Rate * 16 / 100
	best, at := -1.0, len(x)
	for i := from; i+width <= len(x); i += step {
		e := 0.0
		for _, v := range x[i : i+width] {
			e += float64(v) * float64(v)
		}
		if best < 0 || e < best {
			best, at = e, i+width/2
		}
	}
	return at
}

// work gives the utterances to the recogniser until the stream ends.
func (s *Stream) work() {
	defer close(s.worked)
	for {
		u := s.await()
		if u == nil {
			return
		}
		words, err := s.recognise(u)
		s.mu.Lock()
		if err != nil {
			if s.over() == nil {
				s.e.stats.Failed.Add(1)
				s.err = fmt.Errorf("%s: leg %s of call %s: utterance %d: %w", s.e.c.Name, s.c.Leg, s.c.Call, u.id, err)
			}
			s.e.stats.Waiting.Add(-int64(len(s.waiting)))
			s.waiting = nil
			s.mu.Unlock()
			wake(s.changed)
			return
		}
		u.final(words)
		s.behind -= len(u.samples)
		s.waiting = s.waiting[1:]
		s.mu.Unlock()
		s.e.stats.Waiting.Add(-1)
		s.e.stats.Finals.Add(1)
		wake(s.changed)
	}
}

// await waits for the next utterance; nil means that none comes.
func (s *Stream) await() *Utterance {
	for {
		s.mu.Lock()
		var u *Utterance
		if len(s.waiting) > 0 {
			u = s.waiting[0]
		}
		ended := s.ended
		s.mu.Unlock()
		if s.ctx.Err() != nil || u == nil && ended {
			s.mu.Lock()
			s.e.stats.Waiting.Add(-int64(len(s.waiting)))
			s.waiting = nil
			s.mu.Unlock()
			return nil
		}
		if u != nil {
			return u
		}
		select {
		case <-s.grown:
		case <-s.ctx.Done():
		}
	}
}

// recognise tries until it succeeds, has failed for too long, or cannot succeed.
func (s *Stream) recognise(u *Utterance) ([]asr.Word, error) {
	var first time.Time
	for failed := 1; ; failed++ {
		s.mu.Lock()
		lost := u.lost
		s.mu.Unlock()
		if lost {
			return nil, nil
		}
		words, err := s.e.r.Recognise(s.ctx, u)
		if err == nil {
			select {
			case <-u.done:
			case <-s.ctx.Done():
			}
		}
		if err == nil || s.ctx.Err() != nil {
			return words, err
		}
		if first.IsZero() {
			first = time.Now()
		}
		if e, ok := errors.AsType[*Error](err); ok && e.Permanent {
			return nil, err
		}
		wait := pause(failed, err, rand.Float64())
		if time.Since(first)+wait > s.e.c.GiveUp {
			return nil, fmt.Errorf("given up after %d attempts: %w", failed, err)
		}
		s.e.stats.Retries.Add(1)
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-s.ctx.Done():
			t.Stop()
			return nil, s.ctx.Err()
		}
	}
}
