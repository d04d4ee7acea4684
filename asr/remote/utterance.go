package remote

import (
	"context"
	"slices"

	"sidetone/asr"
	"sidetone/asr/stable"
	"sidetone/internal/pcm"
)

// Utterance is a stretch of speech of a leg, given to a Recogniser while it may
// still grow. It is safe for concurrent use, but one goroutine at a time calls
// Audio.
type Utterance struct {
	s     *Stream
	id    int
	start int64
	// done is closed when the utterance has ended.
	done chan struct{}

	// The rest is guarded by s.mu. samples only grow until done is closed, so
	// what has been read of them stays as it is.
	samples  []int16
	end      int64
	lost     bool
	revision int
	track    stable.Track
	// told is the last hypothesis.
	told asr.Hypothesis
}

// heartbeat is how much audio may pass without a hypothesis: an unchanged one
// shows whoever waits that the recogniser lives.
const heartbeat = pcm.Rate

// Config is what is known about the leg.
func (u *Utterance) Config() asr.StreamConfig { return u.s.c }

// Start is the place of the first sample on the leg's clock.
func (u *Utterance) Start() int64 { return u.start }

// Done is closed when the utterance has ended and grows no more.
func (u *Utterance) Done() <-chan struct{} { return u.done }

// Audio returns the samples from index from on, when there are at least as many
// or when the utterance has ended, which ended says. They must not be changed.
func (u *Utterance) Audio(ctx context.Context, from, least int) (x []int16, ended bool, err error) {
	for {
		u.s.mu.Lock()
		x, lost := u.samples[min(from, len(u.samples)):len(u.samples):len(u.samples)], u.lost
		u.s.mu.Unlock()
		select {
		case <-u.done:
			if lost {
				return nil, true, nil
			}
			return u.read(from), true, nil
		default:
		}
		if len(x) >= least {
			return x, false, nil
		}
		select {
		case <-u.s.grown:
		case <-u.done:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
}

func (u *Utterance) read(from int) []int16 {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	return u.samples[min(from, len(u.samples)):]
}

// Partial tells what the first n samples are believed to say. The first certain
// words will not change any more. Words lie on the leg's clock; what of them
// lies outside of the audio is put at its border.
func (u *Utterance) Partial(words []asr.Word, certain, n int) {
	s := u.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil || u.lost {
		return
	}
	end := u.start + int64(min(n, len(u.samples)))
	select {
	case <-u.done:
		end = min(end, u.end)
	default:
	}
	words = within(words, u.start, max(end, u.track.End()))
	h := asr.Hypothesis{Utterance: u.id, Start: u.start, End: max(end, u.track.End(), u.told.End)}
	h.Words, h.Stable = u.track.Revise(words, min(certain, len(words)), end)
	if u.revision > 0 && h.Stable == u.told.Stable && h.End < u.told.End+heartbeat && slices.EqualFunc(h.Words, u.told.Words, sameText) {
		return
	}
	u.revision++
	h.Revision = u.revision
	u.told = h
	u.told.Words = slices.Clone(h.Words)
	s.hyps = append(s.hyps, h)
	s.e.stats.Partials.Add(1)
}

func sameText(a, b asr.Word) bool { return a.Text == b.Text }

// final tells what the utterance says; s.mu is held. Of a lost utterance that
// is what was known of it.
func (u *Utterance) final(words []asr.Word) {
	if u.lost {
		words = u.track.Known()
	}
	words = within(words, u.start, max(u.end, u.track.End()))
	u.revision++
	h := asr.Hypothesis{Utterance: u.id, Revision: u.revision, Final: true, Start: u.start, End: max(u.end, u.track.End())}
	if len(words) > 0 {
		h.Words = u.track.Finish(words)
	}
	h.Stable = len(h.Words)
	u.s.hyps = append(u.s.hyps, h)
}

// within leaves out words that begin after the end or say nothing, and puts the
// others in order between start and end.
func within(words []asr.Word, start, end int64) []asr.Word {
	out := make([]asr.Word, 0, len(words))
	at := start
	for _, w := range words {
		if w.Text == "" || w.Start > end {
			continue
		}
		w.Start = min(max(w.Start, at), end)
		w.End = min(max(w.End, w.Start), end)
		w.Confidence = min(max(w.Confidence, 0), 1)
		at = w.End
		out = append(out, w)
	}
	return out
}
