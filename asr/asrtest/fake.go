package asrtest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"sidetone/asr"
	"sidetone/internal/pcm"
)

const (
	// wordSamples and gapSamples are a word of Speak and the silence after it.
	wordSamples = pcm.Rate * 3 / 10
	gapSamples  = pcm.Rate / 10
	// fakeEvery is how often a Fake gives a partial.
	fakeEvery = pcm.Rate * 3 / 10
)

// Speak makes speech that is its own transcript: 300 ms of samples of value k
// for word number k, and 100 ms of silence after each.
func Speak(words ...int16) []int16 {
	var x []int16
	for _, w := range words {
		for range wordSamples {
			x = append(x, w)
		}
		x = append(x, make([]int16, gapSamples)...)
	}
	return x
}

// Hear reads such speech, which begins at start: word number k is "wk".
func Hear(x []int16, start int64) []asr.Word {
	var ws []asr.Word
	last := int16(0)
	for i, v := range x {
		if v != last && v != 0 {
			ws = append(ws, asr.Word{Text: fmt.Sprintf("w%d", v), Start: start + int64(i), Confidence: 0.9})
		}
		if v != 0 {
			ws[len(ws)-1].End = start + int64(i) + 1
		}
		last = v
	}
	return ws
}

// ErrMute as a Fake's fault keeps the hypothesis back for ever.
var ErrMute = errors.New("asrtest: mute")

// Fake is an engine that hears Speak's speech at once, for tests of what is
// built on engines. Its words are stable when another word follows them.
type Fake struct {
	// Fault, where set, sees each hypothesis before it is given out and may
	// change it; an error breaks the stream.
	Fault func(c asr.StreamConfig, h *asr.Hypothesis) error
	// Refuse, where set, is what NewStream returns.
	Refuse func() error

	mu     sync.Mutex
	closed bool
	opened int
	open   int
}

var _ asr.Engine = (*Fake)(nil)

// NewStream implements asr.Engine.
func (e *Fake) NewStream(ctx context.Context, c asr.StreamConfig) (asr.Stream, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, fmt.Errorf("fake: %w", asr.ErrClosed)
	}
	if e.Refuse != nil {
		if err := e.Refuse(); err != nil {
			return nil, err
		}
	}
	e.opened++
	e.open++
	return &fakeStream{e: e, c: c, ctx: ctx, history: make([]int16, 0, 2*pcm.Rate)}, nil
}

// Close implements asr.Engine.
func (e *Fake) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	return nil
}

// Streams is how many streams have been opened, and how many still are.
func (e *Fake) Streams() (opened, open int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.opened, e.open
}

type fakeStream struct {
	e       *Fake
	c       asr.StreamConfig
	ctx     context.Context
	closed  bool
	err     error
	begun   bool
	next    int64
	history []int16

	speaking   bool
	start      int64
	samples    []int16
	told       int
	utterance  int
	revision   int
	hypotheses []asr.Hypothesis
}

func (s *fakeStream) usable() error {
	s.e.mu.Lock()
	closed := s.closed || s.e.closed
	s.e.mu.Unlock()
	switch {
	case closed:
		return fmt.Errorf("fake: leg %s: %w", s.c.Leg, asr.ErrClosed)
	case s.ctx.Err() != nil:
		return s.ctx.Err()
	}
	return s.err
}

// Accept implements asr.Stream.
func (s *fakeStream) Accept(f *pcm.Frame, edges []asr.Edge) ([]asr.Hypothesis, error) {
	s.hypotheses = nil
	if err := s.usable(); err != nil {
		return nil, err
	}
	if !s.begun {
		s.begun, s.next = true, f.Start
	}
	if f.Start < s.next {
		return nil, nil
	}
	if hole := f.Start - s.next; hole > 2*pcm.Rate {
		s.end(s.next)
		s.history = s.history[:0]
		s.next = f.Start
	} else if hole > 0 {
		s.keep(make([]int16, hole))
	}
	s.keep(f.Samples[:])
	for _, e := range edges {
		switch {
		case e.Kind == asr.Begin && !s.speaking:
			back := max(min(int(s.next-e.At), len(s.history)), 0)
			s.speaking, s.start, s.told = true, s.next-int64(back), 0
			s.samples = append([]int16(nil), s.history[len(s.history)-back:]...)
			s.utterance++
			s.revision = 0
		case e.Kind == asr.End:
			s.end(e.At)
		}
	}
	if s.speaking && len(s.samples)-s.told >= fakeEvery {
		s.told = len(s.samples)
		s.say(false, s.start+int64(len(s.samples)))
	}
	return s.hypotheses, s.err
}

func (s *fakeStream) keep(x []int16) {
	if len(s.history)+len(x) > cap(s.history) {
		n := copy(s.history, s.history[len(s.history)-cap(s.history)/2:])
		s.history = s.history[:n]
	}
	s.history = append(s.history, x...)
	if s.speaking {
		s.samples = append(s.samples, x...)
	}
	s.next += int64(len(x))
}

func (s *fakeStream) end(at int64) {
	if s.speaking {
		s.speaking = false
		s.say(true, max(at, s.start))
	}
}

func (s *fakeStream) say(final bool, end int64) {
	s.revision++
	h := asr.Hypothesis{Utterance: s.utterance, Revision: s.revision, Final: final, Start: s.start, End: end}
	h.Words = Hear(s.samples[:min(int(end-s.start), len(s.samples))], s.start)
	h.Stable = len(h.Words)
	if !final {
		h.Stable = max(h.Stable-1, 0)
	}
	if s.e.Fault != nil && s.err == nil {
		err := s.e.Fault(s.c, &h)
		if errors.Is(err, ErrMute) {
			return
		}
		s.err = err
	}
	if s.err == nil {
		s.hypotheses = append(s.hypotheses, h)
	}
}

// Finish implements asr.Stream.
func (s *fakeStream) Finish(ctx context.Context) ([]asr.Hypothesis, error) {
	s.hypotheses = nil
	if err := s.usable(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.end(s.next)
	return s.hypotheses, s.err
}

// Close implements asr.Stream.
func (s *fakeStream) Close() error {
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.e.open--
	}
	return nil
}
