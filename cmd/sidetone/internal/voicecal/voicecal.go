// Package voicecal trains and calibrates the parameters of voice verification on
// recordings, for `sidetone voice`: it finds the recordings, keeps what is speech,
// has it embedded and reports what the parameters do on speakers that they were not
// trained on.
package voicecal

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"sidetone/internal/wav"
	"sidetone/media/resample"
	"sidetone/voiceprint"
	"sidetone/voiceprint/backend"
)

// Utterance is a recording of one speaker.
type Utterance struct {
	// Name is what the recording is called, Path where it lies.
	Name, Path string
	// Channel is the one that the speaker is in, counted from 0; a negative one stands
	// for the only one that there must be.
	Channel int
	Speaker string
	// Group, Gender and Line are as in backend.Recording; Gender is empty where it
	// is not known.
	Group, Gender, Line string
	// Enrols and Calls say what it may be used as, if it is long enough; Whole, that
	// it has no pauses.
	Enrols, Calls, Whole bool
}

const (
	// enrolment is how much speech is enrolled, leastEnrolment how much at least.
	enrolment      = 30 * time.Second
	leastEnrolment = 20 * time.Second
	// leastCall is the least speech that plays a call.
	leastCall = 3 * time.Second
	// step is how much more speech a verifier wants for each next look.
	step = 500 * time.Millisecond
	// maxWAV bounds a recording's file: six hours of 8 kHz.
	maxWAV = 350 << 20
)

// stretches are how long the parts are that show how one voice varies.
func stretches() []time.Duration {
	return []time.Duration{5 * time.Second, 10 * time.Second}
}

// Hearing turns utterances into recordings as a model sees them.
type Hearing struct {
	// Raw is the network, without a space.
	Raw voiceprint.Embedder
	// Net finds the speech in utterances that are not whole, at voiceprint.Rate.
	Net func(samples []int16) (Spoken, error)
	// Refused, if not nil, is told of each utterance that is not good enough; one at a
	// time.
	Refused func(u *Utterance, as Use, why []voiceprint.Reason)
	// Looks is at how much speech calls are looked at; empty: as a verifier does,
	// from Policy.Least on to Policy.Limit.
	Looks  []time.Duration
	Policy voiceprint.Policy
	// Jobs is how many utterances are heard at once, 1 if zero.
	Jobs int
	// Cache, if not nil, knows embeddings of earlier runs.
	Cache *Cache
	// Progress is told how many utterances are done.
	Progress func(done int)
}

// Spoken is what is said in a recording.
type Spoken struct {
	Speech []float32
	// Enrolment and Call are the reasons for which it is not enrolled, and carries no
	// decision.
	Enrolment, Call []voiceprint.Reason
}

// Use is what a recording is used as.
type Use string

// The uses.
const (
	AsEnrolment Use = "enrolment"
	AsCall      Use = "call"
)

// Hear embeds the utterances, in their order.
func (h Hearing) Hear(ctx context.Context, us []Utterance) ([]backend.Recording, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := make([]backend.Recording, len(us))
	var mu sync.Mutex
	next, done := 0, 0
	take := func() int {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1
	}
	var jobs sync.WaitGroup
	for range max(h.Jobs, 1) {
		jobs.Go(func() {
			for i := take(); i < len(us) && ctx.Err() == nil; i = take() {
				r, refused, err := h.recording(ctx, us[i])
				if err != nil {
					cancel(fmt.Errorf("%s: %w", us[i].Name, err))
					return
				}
				mu.Lock()
				out[i] = r
				done++
				if h.Refused != nil {
					for _, no := range refused {
						h.Refused(&us[i], no.as, no.why)
					}
				}
				h.Progress(done)
				mu.Unlock()
			}
		})
	}
	jobs.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return out, nil
}

// refusal is a use that an utterance is not good enough for.
type refusal struct {
	as  Use
	why []voiceprint.Reason
}

func (h Hearing) recording(ctx context.Context, u Utterance) (r backend.Recording, refused []refusal, err error) {
	said, err := h.speech(u)
	if err != nil {
		return r, nil, err
	}
	if u.Enrols && len(said.Enrolment) > 0 {
		u.Enrols = false
		refused = append(refused, refusal{AsEnrolment, said.Enrolment})
	}
	if u.Calls && len(said.Call) > 0 {
		u.Calls = false
		refused = append(refused, refusal{AsCall, said.Call})
	}
	r, err = h.embeddings(ctx, u, said.Speech)
	return r, refused, err
}

func (h Hearing) embeddings(ctx context.Context, u Utterance, speech []float32) (backend.Recording, error) {
	r := backend.Recording{Name: u.Name, Speaker: u.Speaker, Group: u.Group, Line: u.Line}
	all := durationOf(len(speech))
	embed := func(from, to time.Duration) (backend.Piece, error) {
		if err := ctx.Err(); err != nil {
			return backend.Piece{}, err
		}
		e, err := h.embed(u.Name, speech, from, to)
		return backend.Piece{Net: to - from, Raw: e}, err
	}
	top := min(all, enrolment)
	if u.Enrols && all >= leastEnrolment {
		p, err := embed(0, top)
		if err != nil {
			return r, err
		}
		r.Template = p.Raw
	}
	for _, d := range stretches() {
		for from := time.Duration(0); from+d <= top; from += d {
			p, err := embed(from, from+d)
			if err != nil {
				return r, err
			}
			r.Parts = append(r.Parts, p)
		}
	}
	if len(r.Parts) == 0 && all >= step {
		p, err := embed(0, all)
		if err != nil {
			return r, err
		}
		r.Parts = append(r.Parts, p)
	}
	if !u.Calls || all < leastCall {
		return r, nil
	}
	for _, d := range h.looks() {
		if d > all {
			break
		}
		p, err := embed(0, d)
		if err != nil {
			return r, err
		}
		r.Looks = append(r.Looks, p)
	}
	return r, nil
}

func (h Hearing) looks() []time.Duration {
	if len(h.Looks) > 0 {
		return h.Looks
	}
	var out []time.Duration
	for d := h.Policy.Least; d <= h.Policy.Limit; d += step {
		out = append(out, d)
	}
	return out
}

func (h Hearing) embed(name string, speech []float32, from, to time.Duration) (voiceprint.Embedding, error) {
	key := fmt.Sprintf("%s %d %d", name, from.Milliseconds(), to.Milliseconds())
	if e, ok := h.Cache.Get(key); ok {
		return e, nil
	}
	e, err := h.Raw.Embed(speech[samplesOf(from):min(samplesOf(to), len(speech))])
	if err != nil {
		return nil, err
	}
	return e, h.Cache.Put(key, e)
}

func samplesOf(d time.Duration) int { return int(d * voiceprint.Rate / time.Second) }

func durationOf(n int) time.Duration { return time.Duration(n) * time.Second / voiceprint.Rate }

// speech is what is spoken in a recording.
func (h Hearing) speech(u Utterance) (Spoken, error) {
	f, err := os.Open(u.Path)
	if err != nil {
		return Spoken{}, err
	}
	defer f.Close()
	if st, serr := f.Stat(); serr == nil && st.Size() > maxWAV {
		return Spoken{}, fmt.Errorf("%d bytes, at most %d: cut the recording", st.Size(), int64(maxWAV))
	}
	a, err := wav.Decode(f)
	if err != nil {
		return Spoken{}, err
	}
	switch {
	case u.Channel < 0 && len(a.Channels) != 1:
		return Spoken{}, fmt.Errorf("%d channels: give files with the speaker alone, or a CSV file with a column channel", len(a.Channels))
	case u.Channel >= len(a.Channels):
		return Spoken{}, fmt.Errorf("%d channels: there is no channel %d", len(a.Channels), u.Channel+1)
	}
	x := a.Channels[max(0, u.Channel)]
	if a.Rate != voiceprint.Rate {
		if x, err = resample.Convert(x, a.Rate, voiceprint.Rate); err != nil {
			return Spoken{}, err
		}
	}
	if !u.Whole {
		return h.Net(x)
	}
	out := make([]float32, len(x))
	for i, s := range x {
		out[i] = float32(s) / (1 << 15)
	}
	return Spoken{Speech: out}, nil
}
