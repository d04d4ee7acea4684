package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sidetone/asr"
	"sidetone/asr/stable"
	"sidetone/internal/pcm"
)

const (
	// idleFrames is how much audio is kept while nobody speaks, since a Begin
	// reaches back: 2 s.
	idleFrames = 100
	// maxFrames bounds what is kept for the fallback: 3 min.
	maxFrames = 9000
	// near is how far from the end of speech a final may end that is the last
	// of it.
	near = pcm.Rate / 2
)

// Stream is one leg. It is used by one goroutine.
type Stream struct {
	e      *Engine
	c      asr.StreamConfig
	ctx    context.Context
	active asr.Stream
	// onPrimary says whose active is; since is where it took over, probe how
	// long the fallback keeps the leg.
	onPrimary bool
	closed    bool
	since     int64
	probe     int64
	failures  int
	err       error

	// kept is the audio from the beginning of the oldest speech without final,
	// or the last idleFrames, with its edges.
	kept      []heard
	replaying bool
	// speech is what has been spoken and has no final, oldest first; the last
	// may be open.
	speech []span
	at     int64
	begun  bool

	// open is the utterance that has hypotheses but no final, inner the active
	// stream's number of it, or of the last one; 0: it has said nothing.
	open    *utterance
	inner   int
	finals  int
	hyps    []asr.Hypothesis
	stirred int64
	// told is where the stable words of the last final end.
	told int64
}

// heard is a frame with its edges.
type heard struct {
	frame pcm.Frame
	edges [2]asr.Edge
}

// span is speech between two edges.
type span struct {
	start, end int64
	open       bool
}

// utterance has hypotheses, perhaps of both engines.
type utterance struct {
	revision   int
	start, end int64
	words      stable.Track
	// shared says that both engines have had a part in it.
	shared bool
}

// Accept implements asr.Stream.
func (s *Stream) Accept(f *pcm.Frame, edges []asr.Edge) ([]asr.Hypothesis, error) {
	s.hyps = nil
	if err := s.usable(); err != nil {
		return nil, err
	}
	if !s.begun {
		s.begun, s.since = true, f.Start
	}
	if s.wantsBack(edges) {
		s.goBack()
	}
	s.keep(f, edges)
	hs, err := s.active.Accept(f, edges)
	err = errors.Join(s.hear(hs), err)
	if err == nil && s.onPrimary {
		err = s.overdue()
	}
	if err != nil {
		s.turn(err)
	}
	return s.hyps, s.err
}

// Finish implements asr.Stream.
func (s *Stream) Finish(ctx context.Context) ([]asr.Hypothesis, error) {
	s.hyps = nil
	if err := s.usable(); err != nil {
		return nil, err
	}
	if n := len(s.speech); n > 0 && s.speech[n-1].open {
		s.speech[n-1].open, s.speech[n-1].end = false, s.at
	}
	if s.onPrimary {
		within, cancel := context.WithTimeout(ctx, s.e.c.Finish)
		hs, err := s.active.Finish(within)
		cancel()
		err = errors.Join(s.hear(hs), err)
		if err == nil && s.open == nil && len(s.speech) == 0 {
			return s.hyps, nil
		}
		if err == nil {
			err = fmt.Errorf("%w for utterance %d", errSilent, s.finals+1)
		}
		if ctx.Err() != nil {
			return s.hyps, err
		}
		if s.turn(err); s.err != nil {
			return s.hyps, s.err
		}
	}
	hs, err := s.active.Finish(ctx)
	if err = errors.Join(s.hear(hs), err); err != nil {
		return s.hyps, fmt.Errorf("failover: %w", err)
	}
	if s.open != nil {
		// The fallback has heard nothing in what the primary took for speech.
		s.final(nil)
	}
	return s.hyps, nil
}

// Close implements asr.Stream.
func (s *Stream) Close() error {
	s.closed = true
	return s.active.Close()
}

func (s *Stream) usable() error {
	if s.closed {
		return fmt.Errorf("failover: leg %s of call %s: stream %w", s.c.Leg, s.c.Call, asr.ErrClosed)
	}
	return s.err
}

// keep keeps the frame and where speech begins and ends.
func (s *Stream) keep(f *pcm.Frame, edges []asr.Edge) {
	if n := len(s.kept); len(s.speech) == 0 && n >= 2*idleFrames {
		s.kept = slices.Delete(s.kept, 0, n-idleFrames)
	}
	if len(s.kept) >= maxFrames {
		s.kept = slices.Delete(s.kept, 0, maxFrames/2)
	}
	h := heard{frame: *f}
	copy(h.edges[:], edges)
	s.kept = append(s.kept, h)
	s.at = f.End()
	for _, e := range edges {
		open := len(s.speech) > 0 && s.speech[len(s.speech)-1].open
		switch {
		case e.Kind == asr.Begin && !open:
			if len(s.speech) == 0 {
				s.stirred = s.at
			}
			s.speech = append(s.speech, span{start: e.At, open: true})
		case e.Kind == asr.End && open:
			last := &s.speech[len(s.speech)-1]
			last.end, last.open = e.At, false
			s.stirred = max(s.stirred, e.At)
		}
	}
}

var errSilent = errors.New("no hypothesis")

// overdue says whether the primary has fallen silent.
func (s *Stream) overdue() error {
	if len(s.speech) == 0 {
		return nil
	}
	limit := s.e.c.Final
	if s.speech[0].open {
		if limit = s.e.c.Partial; limit < 0 {
			return nil
		}
	}
	if quiet := s.at - s.stirred; quiet > pcm.Samples(limit) {
		return fmt.Errorf("%w in %v of audio", errSilent, pcm.Duration(quiet))
	}
	return nil
}

// turn goes from the primary, which has failed, to the fallback, which hears
// what has no final yet.
func (s *Stream) turn(cause error) {
	if s.ctx.Err() != nil || errors.Is(cause, asr.ErrClosed) || !s.onPrimary {
		s.err = fmt.Errorf("failover: leg %s of call %s: %w", s.c.Leg, s.c.Call, cause)
		return
	}
	st, err := s.e.fallback.NewStream(s.ctx, s.c)
	if err != nil {
		s.err = fmt.Errorf("failover: leg %s of call %s: %w", s.c.Leg, s.c.Call, errors.Join(cause, err))
		return
	}
	// What a broken stream says when it is closed is of no interest.
	_ = s.active.Close()
	s.active, s.inner = st, 0
	if s.open != nil {
		s.open.shared = true
	}
	s.failed()
	s.e.c.Switched(s.c, cause)
	if err := s.replay(); err != nil {
		s.err = fmt.Errorf("failover: leg %s of call %s: %w", s.c.Leg, s.c.Call, errors.Join(cause, err))
	}
}

// failed notes that the primary has.
func (s *Stream) failed() {
	s.e.down.Store(true)
	if s.failures++; s.failures > 1 {
		s.probe = min(2*s.probe, maxProbes*pcm.Samples(s.e.c.Probe))
	}
	s.onPrimary, s.since = false, s.at
	s.e.stats.Failures.Add(1)
}

// wantsBack says whether the next utterance is for the primary again.
func (s *Stream) wantsBack(edges []asr.Edge) bool {
	return !s.onPrimary && len(s.speech) == 0 && s.open == nil && s.at-s.since > s.probe &&
		slices.ContainsFunc(edges, func(e asr.Edge) bool { return e.Kind == asr.Begin })
}

// goBack returns to the primary, between two utterances.
func (s *Stream) goBack() {
	st, err := s.e.primary.NewStream(s.ctx, s.c)
	if err != nil {
		s.failed()
		return
	}
	_ = s.active.Close()
	s.active, s.inner, s.onPrimary = st, 0, true
	s.e.stats.Returns.Add(1)
	s.e.c.Switched(s.c, nil)
	if err := s.replay(); err != nil {
		s.turn(err)
	}
}

// replay lets the active stream hear what is kept: speech from where its last
// final ended.
func (s *Stream) replay() error {
	s.replaying = true
	defer func() {
		s.replaying = false
		s.forget()
	}()
	from := s.at
	if len(s.speech) > 0 {
		from = s.speech[0].start
	}
	begun := false
	for i := range s.kept {
		h := &s.kept[i]
		var edges []asr.Edge
		if !begun && len(s.speech) > 0 && h.frame.End() > from {
			edges = append(edges, asr.Edge{Kind: asr.Begin, At: from})
			begun = true
		}
		for _, e := range h.edges {
			if e.Kind != asr.NoEdge && e.At > from && begun {
				edges = append(edges, e)
			}
		}
		hs, err := s.active.Accept(&h.frame, edges)
		if err = errors.Join(s.hear(hs), err); err != nil {
			return err
		}
	}
	s.stirred = s.at
	return nil
}

// hear turns the active stream's hypotheses into the leg's, up to one that shows
// that a final is missing.
func (s *Stream) hear(hs []asr.Hypothesis) error {
	for i := range hs {
		h := &hs[i]
		if s.open != nil && s.inner != 0 && h.Utterance != s.inner {
			return fmt.Errorf("utterance %d of the engine has no final", s.inner)
		}
		s.inner = h.Utterance
		s.stirred = s.at
		if s.open == nil {
			s.open = &utterance{start: max(h.Start, s.told)}
		}
		u := s.open
		words := s.fresh(h)
		certain := max(h.Stable-(len(h.Words)-len(words)), 0)
		u.end = max(h.End, u.words.End(), u.start)
		if h.Final {
			s.final(words)
			s.heardUpTo(h.End)
			continue
		}
		u.revision++
		out := asr.Hypothesis{Utterance: s.finals + 1, Revision: u.revision, Start: u.start, End: u.end}
		out.Words, out.Stable = u.words.Revise(words, certain, u.end)
		s.hyps = append(s.hyps, out)
	}
	return nil
}

// fresh are a hypothesis' words that no final has told: two engines may part
// long speech at other places.
func (s *Stream) fresh(h *asr.Hypothesis) []asr.Word {
	n := 0
	for n < len(h.Words) && (h.Words[n].Start+h.Words[n].End)/2 < s.told {
		n++
	}
	words := slices.Clone(h.Words[n:])
	at := s.open.start
	for i := range words {
		words[i].Start = max(words[i].Start, at)
		words[i].End = max(words[i].End, words[i].Start)
		at = words[i].End
	}
	return words
}

// final ends the open utterance. Its engine may withdraw what it has said, but
// not what the other one had made stable.
func (s *Stream) final(words []asr.Word) {
	u := s.open
	u.revision++
	h := asr.Hypothesis{Utterance: s.finals + 1, Revision: u.revision, Final: true, Start: u.start, End: u.end}
	if len(words) > 0 || u.shared {
		h.Words = u.words.Finish(words)
	}
	h.Stable = len(h.Words)
	s.hyps = append(s.hyps, h)
	s.finals++
	s.told = max(s.told, u.words.End())
	s.open = nil
}

// heardUpTo lets go of speech that has its final.
func (s *Stream) heardUpTo(end int64) {
	for len(s.speech) > 0 {
		first := &s.speech[0]
		if first.open || first.end > end+near {
			first.start = max(first.start, end)
			break
		}
		s.speech = s.speech[1:]
		if s.onPrimary {
			s.e.down.Store(false)
			s.failures, s.probe = 0, pcm.Samples(s.e.c.Probe)
		}
	}
	s.forget()
}

// forget lets go of audio that nobody will ask for.
func (s *Stream) forget() {
	if s.replaying {
		return
	}
	n := max(len(s.kept)-idleFrames, 0)
	if len(s.speech) > 0 {
		from := s.speech[0].start
		for n > 0 && s.kept[n].frame.Start > from {
			n--
		}
	}
	s.kept = slices.Delete(s.kept, 0, n)
}
