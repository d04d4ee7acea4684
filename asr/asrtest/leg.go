package asrtest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"sidetone/asr"
	"sidetone/asr/stable"
	"sidetone/internal/pcm"
)

const (
	// found is how late a detector finds that speech has begun.
	found = 6 * pcm.FrameSamples
	// pause and hangover are how late it tells of a pause and of an end.
	pause    = 8 * pcm.FrameSamples
	hangover = 25 * pcm.FrameSamples
	// rest is the silence after an utterance.
	rest = 30 * pcm.FrameSamples
	// slack is how far beyond its speech an utterance may reach.
	slack = pcm.Rate / 2
)

// leg is a stream with what has been played to it.
type leg struct {
	*suite
	Checker
	asr.Stream
	ctx    context.Context
	at     int64
	spoken []span
}

// span is an utterance's place on the leg's clock.
type span struct {
	speech     int
	start, end int64
}

func (s *suite) leg(ctx context.Context, e asr.Engine, name string) (*leg, error) {
	st, err := e.NewStream(ctx, asr.StreamConfig{Call: "conformance", Leg: name})
	if err != nil {
		return nil, fmt.Errorf("NewStream: %w", err)
	}
	return &leg{suite: s, Stream: st, ctx: ctx}, nil
}

type settler interface {
	Settle(ctx context.Context) error
}

// frame plays one frame.
func (l *leg) frame(f *pcm.Frame, edges ...asr.Edge) error {
	hs, err := l.Accept(f, edges)
	if cerr := l.Take(hs); cerr != nil {
		return cerr
	}
	if err != nil {
		return fmt.Errorf("Accept at %d: %w", f.Start, err)
	}
	l.at = f.End()
	return nil
}

// breathe gives the engine time to answer.
func (l *leg) breathe() error {
	if st, ok := l.Stream.(settler); ok {
		return st.Settle(l.ctx)
	}
	time.Sleep(l.Pace)
	return nil
}

// manner is how an utterance is played.
type manner struct {
	// burst gives the engine no time to answer.
	burst bool
	// open leaves out the silence and the end after the speech.
	open bool
	// hole leaves out so many samples, whole frames, in the middle.
	hole int64
}

// say plays utterance i of the speech.
func (l *leg) say(i int, m manner) error {
	x := l.Speech[i%len(l.Speech)]
	start := l.at
	end := start + int64(len(x))
	l.spoken = append(l.spoken, span{i % len(l.Speech), start, end})
	last := end
	if !m.open {
		last += rest
	}
	middle := start + int64(len(x)/2/pcm.FrameSamples*pcm.FrameSamples)
	var f pcm.Frame
	for at := start; at < last; at += pcm.FrameSamples {
		if at == middle {
			at += m.hole
		}
		f.Start = at
		clear(f.Samples[:])
		if at < end {
			copy(f.Samples[:], x[at-start:])
		}
		var edges []asr.Edge
		for _, e := range []struct {
			edge asr.Edge
			when int64
		}{
			{asr.Edge{Kind: asr.Begin, At: start}, start + found},
			{asr.Edge{Kind: asr.Pause, At: end}, end + pause},
			{asr.Edge{Kind: asr.End, At: end}, end + hangover},
		} {
			if e.when >= at && e.when < at+pcm.FrameSamples {
				edges = append(edges, e.edge)
			}
		}
		if err := l.frame(&f, edges...); err != nil {
			return err
		}
		if !m.burst {
			if err := l.breathe(); err != nil {
				return err
			}
		}
	}
	return nil
}

// quiet plays silence.
func (l *leg) quiet(frames int) error {
	f := pcm.Frame{}
	for range frames {
		f.Start = l.at
		if err := l.frame(&f); err != nil {
			return err
		}
	}
	return nil
}

// finish ends the audio and judges the finals by what was played: one for each
// utterance, in its place.
func (l *leg) finish(ctx context.Context) error {
	hs, err := l.Finish(ctx)
	if cerr := l.Take(hs); cerr != nil {
		return cerr
	}
	if err != nil {
		return fmt.Errorf("Finish: %w", err)
	}
	if len(l.Finals) != len(l.spoken) || len(l.All) > 0 && !l.All[len(l.All)-1].Final {
		return fmt.Errorf("%d finals in %d hypotheses of %d utterances: %q", len(l.Finals), len(l.All), len(l.spoken), l.Texts())
	}
	for i := range l.Finals {
		h, s := &l.Finals[i], l.spoken[i]
		if h.Start < s.start-slack || h.End > s.end+slack || h.Start > s.end || h.End < s.start {
			return fmt.Errorf("utterance %d at %d to %d was spoken at %d to %d", i+1, h.Start, h.End, s.start, s.end)
		}
		if l.Said == nil {
			continue
		}
		if got, want := plain(h.Text()), plain(l.Said[s.speech]); got != want {
			return fmt.Errorf("utterance %d is %q, want %q", i+1, got, want)
		}
	}
	return nil
}

func plain(s string) string {
	var out []string
	for _, w := range strings.Fields(s) {
		if n := stable.Normal(w); n != "" {
			out = append(out, n)
		}
	}
	return strings.Join(out, " ")
}
