package whisper

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sidetone/asr"
	"sidetone/asr/whisper/model"
	"sidetone/internal/pcm"
)

const (
	// historySamples is how far back a Begin may reach.
	historySamples = 2 * pcm.Rate
	// maxHole is how much silence a hole puts into an utterance; a longer one
	// ends it.
	maxHole = 2 * pcm.Rate
	// maxBehind is how much audio of a leg may wait for its finals.
	maxBehind = 300 * pcm.Rate
	// splitEvery is how often a long utterance is searched for a pause.
	splitEvery = pcm.Rate / 5
	// restSamples is how long after a pause no partial is asked for: speech has
	// then gone on or ended.
	restSamples = pcm.Rate * 4 / 10
	// spread bounds the cost of partials: the longer an utterance is, the longer
	// its decodes take, the rarer they are.
	spread = 20
)

// Stream is one leg. It is used by one goroutine.
type Stream struct {
	e      *Engine
	c      asr.StreamConfig
	ctx    context.Context
	cancel context.CancelFunc

	// history is the audio before next, at most twice historySamples.
	history []int16
	next    int64
	begun   bool

	bias [2]*model.Bias
	// language is what was found out, where the leg's is not given.
	language string

	open  *utterance
	count int
	// spare is a finished utterance's buffer.
	spare []int16
	// pending jobs have been submitted and have not come back; partial is the
	// one of them that is a partial; behind is the audio of the finals.
	pending int
	partial *job
	behind  int

	hyps   []asr.Hypothesis
	err    error
	closed bool

	mu    sync.Mutex
	inbox []done
	// arrived is woken when something has come into inbox.
	arrived chan struct{}
}

// Accept implements asr.Stream.
func (s *Stream) Accept(f *pcm.Frame, edges []asr.Edge) ([]asr.Hypothesis, error) {
	s.hyps = nil
	if s.closed {
		return nil, s.gone()
	}
	s.collect()
	if s.err == nil && s.ctx.Err() != nil {
		s.fail(s.ctx.Err())
	}
	if s.err != nil {
		return s.hyps, s.err
	}
	s.hear(f)
	for _, e := range edges {
		switch e.Kind {
		case asr.Begin:
			s.begin(e.At)
		case asr.End:
			s.end(e.At)
		case asr.Pause:
			s.pause(e.At)
		}
	}
	s.grow()
	return s.hyps, s.err
}

// Finish implements asr.Stream.
func (s *Stream) Finish(ctx context.Context) ([]asr.Hypothesis, error) {
	s.hyps = nil
	if s.closed {
		return nil, s.gone()
	}
	s.end(s.next)
	for {
		s.collect()
		if s.err != nil || s.pending == 0 {
			return s.hyps, s.err
		}
		select {
		case <-s.arrived:
		case <-ctx.Done():
			return s.hyps, fmt.Errorf("whisper: leg %s of call %s: %d decodes unfinished: %w",
				s.c.Leg, s.c.Call, s.pending, ctx.Err())
		}
	}
}

// Settle waits until everything that was asked for has been decoded; the next
// Accept returns it. Called after each Accept it makes the stream's hypotheses
// independent of the machine's speed, for tests and measurements.
func (s *Stream) Settle(ctx context.Context) error {
	for {
		s.mu.Lock()
		n := len(s.inbox)
		s.mu.Unlock()
		if n >= s.pending {
			return nil
		}
		select {
		case <-s.arrived:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close implements asr.Stream.
func (s *Stream) Close() error {
	s.closed = true
	s.cancel()
	s.e.sched.drop(s)
	return nil
}

// hear keeps the frame, after silence for the hole before it, if there is one.
func (s *Stream) hear(f *pcm.Frame) {
	if !s.begun {
		s.begun, s.next = true, f.Start
	}
	if f.Start < s.next {
		return
	}
	if hole := f.Start - s.next; hole > 0 {
		at := s.next
		var silence [pcm.FrameSamples]int16
		for n := min(hole, maxHole); n > 0; {
			k := min(n, pcm.FrameSamples)
			s.keep(silence[:k])
			n -= k
		}
		if hole > maxHole {
			s.end(at)
			s.history = s.history[:0]
			s.next = f.Start
		}
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
	}
	s.next += int64(len(x))
}

func (s *Stream) begin(at int64) {
	if s.open != nil {
		return
	}
	back := max(min(s.next-at, int64(len(s.history))), 0)
	s.opened(s.next-back, s.history[len(s.history)-int(back):])
}

func (s *Stream) opened(start int64, samples []int16) {
	b := s.spare
	s.spare = nil
	if b == nil {
		b = make([]int16, 0, 8*pcm.Rate)
	}
	s.count++
	s.open = &utterance{id: s.count, start: start, samples: append(b[:0], samples...)}
}

// end closes the open utterance: speech ceased at the given place.
func (s *Stream) end(at int64) {
	u := s.open
	if u == nil {
		return
	}
	s.open = nil
	speech := min(max(at-u.start, 0), int64(len(u.samples)))
	u.end = u.start + speech
	n := min(int(speech)+s.e.p.tail, len(u.samples))
	// A leg's finals come in their order: none may overtake another.
	switch p := s.partial; {
	case s.behind == 0 && u.foreseen != nil && u.foreseenAt == at:
		s.dropPartial()
		s.e.sched.told()
		s.conclude(u, u.foreseen)
	case s.behind == 0 && p != nil && p.utt == u && p.careful && p.paused == at:
		s.e.sched.adopt(p)
		s.partial, u.closing = nil, true
		s.behind += len(p.samples)
	default:
		s.final(u, n)
	}
}

// dropPartial gives up the partial that is under way.
func (s *Stream) dropPartial() {
	switch {
	case s.partial == nil:
	case s.e.sched.withdraw(s.partial):
		s.pending--
		s.partial = nil
	default:
		s.partial.cancel()
	}
}

// conclude tells the utterance's final.
func (s *Stream) conclude(u *utterance, out *outcome) {
	if s.partial == nil {
		s.spare = u.samples
	}
	h := u.finish(out)
	if len(h.Words) == 0 {
		s.e.stats.Withdrawn.Add(1)
	}
	s.hyps = append(s.hyps, h)
}

// pause asks at once for what has been said: its words are complete, and
// whoever waits for them need not wait for the end of speech to be certain.
func (s *Stream) pause(at int64) {
	u := s.open
	if u == nil || s.e.c.PartialEvery < 0 {
		return
	}
	u.paused, u.rested = at, len(u.samples)
	s.rest(u)
}

// rest submits the decode of a pause in the place of the partial that waits. One
// that is being decoded is stopped, and has to come back first.
func (s *Stream) rest(u *utterance) {
	n := u.rested
	if s.partial != nil {
		if !s.e.sched.withdraw(s.partial) {
			s.partial.cancel()
			return
		}
		s.pending--
		s.partial = nil
	}
	u.rested = 0
	s.submit(u, n, false, u.paused)
}

// cut ends the open utterance at its sample at, and goes on with another.
func (s *Stream) cut(at int) {
	u := s.open
	u.end = u.start + int64(at)
	s.opened(u.end, u.samples[at:])
	s.final(u, at)
}

// final asks for the final of the utterance's first n samples. A leg that is
// too far behind gets what partials have found.
func (s *Stream) final(u *utterance, n int) {
	if s.behind+n > maxBehind {
		s.e.stats.Lost.Add(1)
		n = 0
	}
	s.submit(u, n, true, 0)
}

// grow asks for a partial of the open utterance when one is due, and splits it
// when it has become long.
func (s *Stream) grow() {
	u := s.open
	if u == nil {
		return
	}
	n := len(u.samples)
	longest := int(pcm.Samples(s.e.c.MaxUtterance))
	if n >= longest || n%splitEvery < pcm.FrameSamples {
		if at, ok := u.split(longest, s.e.p.quiet); ok {
			s.cut(at)
			return
		}
	}
	if u.paused > 0 && u.start+int64(n)-u.paused < restSamples {
		if u.rested > 0 && s.partial == nil {
			s.rest(u)
		}
		return
	}
	u.rested = 0
	every := s.e.c.PartialEvery
	if every < 0 || n < s.e.p.firstPartial {
		return
	}
	// What waits is given what has been said since: its words come the sooner.
	p := s.partial
	renewed := p != nil && p.utt == u && !p.careful && s.e.sched.renew(p, u.samples[:n:n])
	if renewed {
		u.heardTo = n
	}
	gap := max(int(pcm.Samples(every)), n/spread)
	switch {
	case u.submitted > 0 && n-u.submitted < gap:
	case renewed:
		u.submitted = n
		s.e.stats.StalePartials.Add(1)
	case p == nil && (u.submitted == 0 || n-u.heardTo >= gap/2):
		s.submit(u, n, false, 0)
	}
}

// submit asks for a decode of the utterance's first n samples; paused is the
// pause after which, if it is one's.
func (s *Stream) submit(u *utterance, n int, final bool, paused int64) {
	now := time.Now()
	ctx, cancel := context.WithCancel(s.ctx)
	j := &job{
		leg: s, utt: u, final: final, paused: paused,
		careful:  final || paused > 0,
		searched: final || paused > 0 || u.inDoubt(n, &s.e.p),
		samples:  u.samples[:n:n],
		language: s.c.Language,
		draft:    u.draft,
		bias:     s.bias,
		born:     now, deadline: now,
		ctx: ctx, cancel: cancel,
	}
	if j.language == "" {
		j.language, j.detect = s.language, s.e.detects()
	}
	if !final && paused == 0 {
		j.deadline = now.Add(s.e.c.PartialEvery)
	}
	stale, err := s.e.sched.submit(j)
	if err != nil {
		cancel()
		s.fail(err)
		return
	}
	s.pending++
	if stale {
		s.pending--
		s.partial = nil
	}
	if final {
		s.behind += n
		return
	}
	s.partial = j
	u.submitted, u.heardTo = n, n
}

// deliver is called by workers.
func (s *Stream) deliver(d done) {
	s.mu.Lock()
	s.inbox = append(s.inbox, d)
	s.mu.Unlock()
	select {
	case s.arrived <- struct{}{}:
	default:
	}
}

// collect turns what has come back into hypotheses.
func (s *Stream) collect() {
	s.mu.Lock()
	in := s.inbox
	s.inbox = nil
	s.mu.Unlock()
	for i := range in {
		s.take(&in[i])
	}
}

func (s *Stream) take(d *done) {
	s.pending--
	u := d.utt
	if d.out.language != "" {
		s.language = d.out.language
	}
	if d.final || u.closing && d.paused > 0 {
		s.behind -= len(d.samples)
		switch {
		case d.err == nil && (d.final || d.out.refused == fine):
			s.conclude(u, &d.out)
		case d.final || !errors.Is(d.err, context.Canceled) && d.err != nil:
			s.fail(d.err)
		default:
			// What a guard refuses is decoded once more, as a final.
			u.closing = false
			s.final(u, min(int(u.end-u.start)+s.e.p.tail, len(u.samples)))
		}
		return
	}
	if s.partial == d.job {
		s.partial = nil
	}
	// Words may only become stable while the final can still be told.
	if d.err == nil && d.out.refused <= looping && u == s.open {
		u.draft = d.out.res.Tokens
		atPause := d.paused > 0 && d.paused == u.paused
		if d.careful && d.out.refused == fine {
			out := d.out
			u.foreseen, u.foreseenAt = &out, d.paused
		}
		s.hyps = append(s.hyps, u.revise(&d.out, len(d.samples), atPause, d.searched, &s.e.p))
	}
	if d.err != nil && !errors.Is(d.err, context.Canceled) {
		s.fail(d.err)
	}
}

func (s *Stream) gone() error {
	return fmt.Errorf("whisper: leg %s of call %s: stream %w", s.c.Leg, s.c.Call, asr.ErrClosed)
}

func (s *Stream) fail(err error) {
	if s.err == nil {
		s.err = fmt.Errorf("whisper: leg %s of call %s: %w", s.c.Leg, s.c.Call, err)
	}
}
