// Package whisper recognises speech with Whisper while it is spoken.
//
// A Stream collects a leg's utterances between the edges of speech and decodes
// the growing utterance again and again for partials and once more, with a
// beam, when speech has ended, for the final. Only the audio there is goes
// through the encoder; the silence that Whisper expects behind it is remembered
// (model.Silence). What the last partial wrote is the draft of the next, which
// is checked in a step or two.
//
// Words become stable when the model is certain of them, when two partials in a
// row agree on them (LocalAgreement-2: Liu et al., 2020; Macháček et al., 2023)
// and the model is sure, or when they are old; no revision takes them back.
// Guards recognise what Whisper invents on noise and its loops.
//
// All streams of an Engine share its scheduler: a few workers, each with
// decoders of its own, that take finals before partials and the earliest
// deadline first, several legs at a time. The busier they are, the rarer
// partials become; finals are never dropped. Beyond a load that is set, new
// streams are refused until it has passed.
package whisper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"sidetone/asr"
	"sidetone/asr/whisper/model"
	"sidetone/internal/pcm"
)

// Config tunes an Engine; the zero value means the defaults.
type Config struct {
	// Workers is the number of decodes that run at once, one core each;
	// default 1.
	Workers int
	// PartialEvery is the least time between two partials of an utterance;
	// default 500 ms. A negative value switches partials off.
	PartialEvery time.Duration
	// Finals, if set, is a larger model for a second pass: it decodes the finals
	// that the engine's model leaves in doubt, and the better of the two counts,
	// or, with FinalsAlways, every final in its place.
	Finals       *model.Model
	FinalsAlways bool
	// MaxPartialWait is how long partials may take in the mean, and MaxFinalWait
	// how long a final, over the last ten seconds, before new streams are
	// refused; by default none is.
	MaxPartialWait, MaxFinalWait time.Duration
	// MaxUtterance bounds an utterance, default 18 s, at most 28 s. Longer
	// speech is split at a pause, from 60 % of this length on at a good one.
	MaxUtterance time.Duration
	// Log is told of failures of Finals that the engine's model makes good: of
	// each cause at once, and then once a minute at most. Nil means nobody is.
	Log *slog.Logger
}

const (
	defaultPartialEvery = 500 * time.Millisecond
	minPartialEvery     = 100 * time.Millisecond
	defaultMaxUtterance = 18 * time.Second
	minUtterance        = 4 * time.Second
	maxUtterance        = 28 * time.Second
	maxWorkers          = 1024
)

func (c Config) withDefaults() (Config, error) {
	if c.Workers == 0 {
		c.Workers = 1
	}
	if c.PartialEvery == 0 {
		c.PartialEvery = defaultPartialEvery
	}
	if c.MaxUtterance == 0 {
		c.MaxUtterance = defaultMaxUtterance
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case c.MaxPartialWait < 0 || c.MaxFinalWait < 0:
		return c, fmt.Errorf("whisper: waits of %v for partials and %v for finals, want 0 or more", c.MaxPartialWait, c.MaxFinalWait)
	case c.Workers < 0 || c.Workers > maxWorkers:
		return c, fmt.Errorf("whisper: %d workers, want 1 to %d", c.Workers, maxWorkers)
	case c.PartialEvery > 0 && c.PartialEvery < minPartialEvery:
		return c, fmt.Errorf("whisper: a partial every %v, want %v or more", c.PartialEvery, minPartialEvery)
	case c.MaxUtterance < minUtterance || c.MaxUtterance > maxUtterance:
		return c, fmt.Errorf("whisper: utterances of up to %v, want %v to %v", c.MaxUtterance, minUtterance, maxUtterance)
	}
	return c, nil
}

var (
	_ asr.Engine = (*Engine)(nil)
	_ asr.Stream = (*Stream)(nil)
)

// ErrClosed is returned by a stream whose Engine has been closed.
var ErrClosed = fmt.Errorf("whisper: engine %w", asr.ErrClosed)

// ErrOverloaded is returned when a new stream would harm those there are. It
// passes when they become fewer.
var ErrOverloaded = errors.New("whisper: overloaded")

// Engine shares a model and its workers between streams. It is safe for
// concurrent use.
type Engine struct {
	c      Config
	p      policy
	models [2]*model.Model // for partials and for finals
	sched  *scheduler
	stats  Stats
}

// New has the model listen to silence, which takes as long as an encoding of
// 30 s, and starts the workers; Close ends them.
func New(m *model.Model, c Config) (*Engine, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	var quiet [2]*model.Silence
	models := [2]*model.Model{m, m}
	if c.Finals != nil {
		models[1] = c.Finals
	}
	for i, m := range models {
		if i > 0 && m == models[0] {
			quiet[i] = quiet[0]
			continue
		}
		if quiet[i], err = m.NewDecoder().NewSilence(context.Background()); err != nil {
			return nil, err
		}
	}
	e := newEngine(func() [2]*stage { return newStages(models, quiet) }, c, defaultPolicy())
	e.models = models
	return e, nil
}

func newEngine(stages func() [2]*stage, c Config, p policy) *Engine {
	e := &Engine{c: c, p: p}
	e.sched = newScheduler(&e.stats, p.batch)
	f := &faults{log: c.Log, stats: &e.stats}
	for range c.Workers {
		e.sched.start(&worker{p: p, stages: stages(), always: c.FinalsAlways, stats: &e.stats, faults: f})
	}
	return e
}

// NewStream begins a leg. The error is ErrOverloaded when the engine has no
// room for another, and says so.
func (e *Engine) NewStream(ctx context.Context, c asr.StreamConfig) (asr.Stream, error) {
	if e.sched.isClosed() {
		return nil, fmt.Errorf("%w: no stream for leg %s of call %s", ErrClosed, c.Leg, c.Call)
	}
	if l := e.Load(); l.Overloaded {
		e.stats.RefusedStreams.Add(1)
		return nil, fmt.Errorf("%w: no stream for leg %s of call %s: partials wait %v, a final waited %v",
			ErrOverloaded, c.Leg, c.Call, l.PartialWait.Round(time.Millisecond), l.FinalWait.Round(time.Millisecond))
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &Stream{
		e: e, c: c, ctx: ctx, cancel: cancel,
		history: make([]int16, 0, 2*historySamples),
		arrived: make(chan struct{}, 1),
	}
	if len(c.Phrases) > 0 {
		s.bias = e.bias(c.Phrases)
	}
	return s, nil
}

// defaultWeight is a phrase's weight where none is given.
const defaultWeight = 2

func (e *Engine) bias(phrases []asr.Phrase) (b [2]*model.Bias) {
	list := make([]model.Phrase, 0, len(phrases))
	for _, p := range phrases {
		w := p.Weight
		if w == 0 {
			w = defaultWeight
		}
		list = append(list, model.Phrase{Text: p.Text, Weight: w})
	}
	for i, m := range e.models {
		switch {
		case m == nil:
		case i > 0 && m == e.models[0]:
			b[i] = b[0]
		default:
			b[i] = m.NewBias(list)
		}
	}
	return b
}

// detects tells whether the language of a leg is to be found out.
func (e *Engine) detects() bool { return e.models[1] != nil && e.models[1].Multilingual() }

// Load tells how busy the engine is.
func (e *Engine) Load() Load {
	l := e.sched.load()
	l.Overloaded = e.c.MaxPartialWait > 0 && l.PartialWait > e.c.MaxPartialWait ||
		e.c.MaxFinalWait > 0 && l.FinalWait > e.c.MaxFinalWait
	return l
}

// Close ends the workers and waits for them; streams that are still open
// return ErrClosed. Idempotent.
func (e *Engine) Close() error {
	e.sched.close()
	return nil
}

// Stats counts what the engine does; the fields may be read at any time.
func (e *Engine) Stats() *Stats { return &e.stats }

// policy is what was found by measurement; see the tests that measure.
type policy struct {
	// pad is how much silence the encoder is given after the audio, in samples,
	// before the silence that the model remembers.
	pad int
	// finalBeam is the beam of finals, used where the mean log probability of
	// the greedy search is below beamBelow.
	finalBeam int
	beamBelow float64
	// batch is how many jobs a worker decodes together.
	batch int
	// firstPartial is how much audio the first partial waits for, in samples.
	firstPartial int
	// tail is how much audio after the end edge goes into the final.
	tail int
	// A word becomes stable when so much audio is behind it as holdBack says and
	// either the model is certain of it, or it is sure of it and the hypothesis
	// before had it too. A word that the model is not sure of waits until it is
	// old, or is found, when it has become doubtful, by a beam as finals are
	// decoded with where the hypothesis before had it. The first words wait until
	// the utterance has the least audio: with little behind them they are often
	// misheard. Where partials are so far apart as apart says no beam is needed.
	holdBack, doubtful, old, least int64
	apart                          int
	certain, sure                  float32
	// At a pause nothing is behind the words, but they are complete: then one
	// that the model is certain of becomes stable, and one that both hypotheses
	// have if it is not quite unsure.
	notUnsure float32
	// quiet is the level relative to the utterance's speech, in dB, of a pause
	// that is good enough to split at; it relaxes to 0 at the longest
	// utterance.
	quiet float64
}

func defaultPolicy() policy {
	return policy{
		pad:          pcm.Rate / 2,
		finalBeam:    5,
		beamBelow:    -0.2,
		batch:        4,
		firstPartial: pcm.Rate * 85 / 100,
		tail:         pcm.Rate * 3 / 10,
		holdBack:     pcm.Rate / 4,
		apart:        pcm.Rate * 3 / 4,
		doubtful:     pcm.Rate * 13 / 10,
		old:          pcm.Rate * 16 / 10,
		least:        pcm.Rate * 3 / 2,
		certain:      0.9,
		sure:         0.65,
		notUnsure:    0.5,
		quiet:        -24,
	}
}

// settled says whether a word becomes stable in a hypothesis of audio up to
// end, which a beam was searched for or was not.
func (p *policy) settled(w *word, end int64, searched bool) bool {
	behind := end - w.End
	switch {
	case behind < p.holdBack:
		return false
	case w.Confidence >= p.certain:
		return true
	}
	return w.seen >= 1 && (w.Confidence >= p.sure || behind >= p.old || searched && behind >= p.doubtful)
}

// complete says whether a word that ends at a pause becomes stable.
func (p *policy) complete(w *word) bool {
	return w.Confidence >= p.certain || w.seen >= 1 && w.Confidence >= p.notUnsure
}
