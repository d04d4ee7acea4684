// Package voices listens to the legs of running calls for whose voices they carry:
// it collects net speech, compares it with what the person enrolled, and tells of each
// answer. Frames are taken without waiting; a goroutine of the leg does the rest, and
// only so many legs at once make embeddings, so that recognition is not starved.
package voices

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"sidetone/internal/pcm"
	"sidetone/internal/queue"
	"sidetone/voiceprint"
)

const (
	// waiting is how many frames of speech may wait for a leg's goroutine: 10 s.
	waiting = 500
	// templateLimit bounds how long the templates of a person may take to come.
	templateLimit = 5 * time.Second
	// SpeechProb is from which probability of speech on a frame counts as net speech;
	// the pauses within an utterance do not.
	SpeechProb = 0.5
)

// People are those who may be enrolled.
type People interface {
	// Templates are what a person is compared with, of the model alone. With none
	// the reasons say why.
	Templates(ctx context.Context, subject, model string) ([]voiceprint.Template, []voiceprint.Reason, error)
}

// Meter measures one leg's audio. It is not safe for concurrent use.
type Meter interface {
	// Add takes a frame, speech or not, and says whether it counts as speech.
	Add(f *pcm.Frame, speech bool) bool
	// Stretch takes the embedding of the next stretch of speech.
	Stretch(e voiceprint.Embedding) error
	// Reset forgets all: somebody else speaks.
	Reset()
	// Measure is what was measured so far, and for which reasons it can carry no
	// answer.
	Measure() (voiceprint.Quality, []voiceprint.Reason)
}

// Config shapes New.
type Config struct {
	Embedder voiceprint.Embedder
	Scorer   voiceprint.Scorer
	Policy   voiceprint.Policy
	People   People
	// NewMeter makes the meter of a leg.
	NewMeter func() (Meter, error)
	// Stretch is the speech of each of the stretches that the meter compares with one
	// another; 0: it is given none.
	Stretch time.Duration
	// Stages are the net speech at which Hooks.Heard is told, rising, none beyond the
	// policy's limit.
	Stages []time.Duration
	// Looks is how many embeddings are made at once, 1.
	Looks int
	Log   *slog.Logger
}

// Ear listens for all legs.
type Ear struct {
	cfg   Config
	model string
	limit time.Duration
	looks chan struct{}
}

// New makes an ear.
func New(c Config) (*Ear, error) {
	if c.Embedder == nil || c.Scorer == nil || c.People == nil || c.NewMeter == nil || c.Log == nil {
		return nil, errors.New("voices: an embedder, a scorer, people, a meter and a log are needed")
	}
	if c.Looks < 0 {
		return nil, fmt.Errorf("voices: %d embeddings at once", c.Looks)
	}
	if !slices.IsSorted(c.Stages) {
		return nil, fmt.Errorf("voices: the stages %v do not rise", c.Stages)
	}
	// What every leg will need is tried once, where an error can be read.
	model := c.Embedder.Model()
	_, err := voiceprint.NewVerifier(voiceprint.VerifierConfig{
		Embedder: c.Embedder, Scorer: c.Scorer, Policy: c.Policy, Enrolled: []voiceprint.Embedding{make(voiceprint.Embedding, model.Dim)},
	})
	if err != nil {
		return nil, err
	}
	limit := cmp.Or(c.Policy.Limit, voiceprint.DefaultLimit)
	return &Ear{cfg: c, model: model.ID, limit: limit, looks: make(chan struct{}, max(1, c.Looks))}, nil
}

// Answer is told whenever what is known of a leg's voice changes.
type Answer struct {
	// Subject is whom the voice was compared with, Templates the ids of their
	// templates.
	Subject   string
	Templates []string
	Decision  voiceprint.Decision
	// Took is from the first speech to this answer, on the leg's clock.
	Took time.Duration
}

// Guard looks for what speaks against a leg beside the comparison, such as signs that
// it is played. It is called by one goroutine.
type Guard interface {
	// Treat says as whom the caller is treated from now on; empty: nobody knows.
	Treat(ctx context.Context, subject string)
	// Hear takes the next frame of the leg, silence too. Speech is what the person on
	// this leg alone says: not while another side speaks, whose echo it may be.
	Hear(f *pcm.Frame, speech bool)
	// Look says why no answer may rest on the leg; nil is nothing. It is called for
	// each frame and must be cheap when nothing is due.
	Look(ctx context.Context) []voiceprint.Reason
}

// Heard is the voice of a leg as far as it was heard.
type Heard struct {
	// Subject is who it should be; empty: nobody knows.
	Subject string
	// Embedding is of the latest net speech, at most the policy's limit, whose length
	// is Quality.Net.
	Embedding voiceprint.Embedding
	Quality   voiceprint.Quality
	// Gates are the reasons for which it carries no answer: those of the audio, of the
	// guard, and SeveralVoices where the voice has changed.
	Gates    []voiceprint.Reason
	Decision voiceprint.Decision
	// Over says that the leg is.
	Over bool
}

// Hooks are what is told of a leg. All are called by its goroutine.
type Hooks struct {
	// Tell takes each answer.
	Tell func(Answer)
	// Heard takes the voice each time that the net speech has reached one of
	// Config.Stages, and when the leg is over and there is HeardLeast of it; nil: nobody
	// wants to know.
	Heard func(context.Context, Heard)
	// Wants says whether Heard is to be told now, before the work is done; over says that
	// the leg is. nil: it always is.
	Wants func(ctx context.Context, over bool) bool
	// Guard may be nil.
	Guard Guard
}

// HeardLeast is the net speech below which a leg that is over is not told of.
const HeardLeast = 3 * time.Second

// item is a frame that waits for a leg's goroutine.
type item struct {
	frame pcm.Frame
	// other says that another side speaks.
	speech, other bool
}

// Leg is one leg that is listened to.
type Leg struct {
	ear   *Ear
	log   *slog.Logger
	hooks Hooks
	queue *queue.Queue[item]
	one   item // the media path's own
	// wanted is who the voice should be; nil: nobody has said.
	wanted atomic.Pointer[string]

	// The rest belongs to run.
	meter     Meter
	expected  *string
	verifier  *voiceprint.Verifier
	templates []string
	// speech is the latest that was heard, whoever it should be, up to the policy's
	// limit.
	speech []float32
	buf    [pcm.FrameSamples]float32
	// first is where speech began, at where the newest ends.
	first, at int64
	// fresh is how many samples of speech are in no stretch yet, stretched how many
	// were.
	fresh, stretched int
	// stage is how many of the stages were told; changed, that several have spoken.
	stage   int
	changed bool
	// against is what the guard has said last.
	against []voiceprint.Reason
	told    voiceprint.Decision
}

// Listen makes a leg. Its Run must be called, once.
func (e *Ear) Listen(log *slog.Logger, h Hooks) (*Leg, error) {
	if h.Tell == nil {
		return nil, errors.New("voices: nobody is told of the answers")
	}
	m, err := e.cfg.NewMeter()
	if err != nil {
		return nil, err
	}
	return &Leg{ear: e, log: log, hooks: h, queue: queue.New[item](waiting), meter: m, first: -1}, nil
}

// Frame takes a frame; other says that another side of the call speaks. It never waits
// and keeps a copy; frames come from one goroutine.
func (l *Leg) Frame(f *pcm.Frame, speech, other bool) {
	l.one.frame, l.one.speech, l.one.other = *f, speech, other
	l.queue.Push(&l.one)
}

// Waiting is how many frames wait to be heard. More than half a thousand do not: the
// oldest are dropped.
func (l *Leg) Waiting() int { return l.queue.Len() }

// Expect says who the voice should be; empty: nobody knows. What was said before
// counts. It may be called from any goroutine.
func (l *Leg) Expect(subject string) { l.wanted.Store(&subject) }

// End ends the leg: Run returns once it has done what waits. Idempotent.
func (l *Leg) End() { l.queue.Close() }

// Run works until the leg or ctx ends.
func (l *Leg) Run(ctx context.Context) {
	var it item
	for l.queue.Pop(ctx, &it) {
		l.hear(&it)
		l.guard(ctx, &it)
		l.expect(ctx)
		l.look(ctx)
		l.report(ctx, false)
	}
	l.expect(ctx)
	l.look(ctx)
	l.report(ctx, true)
}

// guard has the guard look; what it finds takes back a match.
func (l *Leg) guard(ctx context.Context, it *item) {
	g := l.hooks.Guard
	if g == nil {
		return
	}
	g.Hear(&it.frame, it.speech && !it.other)
	l.against = g.Look(ctx)
	if len(l.against) > 0 && l.verifier != nil && l.told.Outcome == voiceprint.Match {
		l.say(l.verifier.Withdraw(l.against))
	}
}

// report tells of the voice when a stage is reached, or the leg is over.
func (l *Leg) report(ctx context.Context, over bool) {
	if l.hooks.Heard == nil {
		return
	}
	stages := l.ear.cfg.Stages
	net := pcm.Duration(int64(len(l.speech)))
	reached := l.stage < len(stages) && net >= stages[l.stage]
	if !reached && !(over && net >= HeardLeast) {
		return
	}
	if reached {
		l.stage++
	}
	if l.hooks.Wants != nil && !l.hooks.Wants(ctx, over) {
		return
	}
	select {
	case l.ear.looks <- struct{}{}:
	case <-ctx.Done():
		return
	}
	e, err := l.ear.cfg.Embedder.Embed(l.speech)
	<-l.ear.looks
	if err != nil {
		l.log.Error("the voice of the leg is not known", "error", err)
		return
	}
	h := Heard{Embedding: e, Decision: l.told, Over: over}
	if l.expected != nil {
		h.Subject = *l.expected
	}
	h.Quality, h.Gates = l.meter.Measure()
	h.Quality.Net = net
	h.Gates = append(slices.Clone(h.Gates), l.against...)
	if l.changed && !slices.Contains(h.Gates, voiceprint.SeveralVoices) {
		h.Gates = append(h.Gates, voiceprint.SeveralVoices)
	}
	l.hooks.Heard(ctx, h)
}

// hear takes a frame.
func (l *Leg) hear(it *item) {
	if !l.meter.Add(&it.frame, it.speech) {
		return
	}
	for i, v := range it.frame.Samples {
		l.buf[i] = float32(v) / 32768
	}
	if l.first < 0 {
		l.first = it.frame.Start
	}
	l.at = it.frame.End()
	limit := int(l.ear.limit * voiceprint.Rate / time.Second)
	if over := len(l.speech) + len(l.buf) - limit; over > 0 {
		l.speech = l.speech[:copy(l.speech, l.speech[over:])]
	}
	l.speech = append(l.speech, l.buf[:]...)
	l.fresh += len(l.buf)
	if l.verifier != nil {
		l.verifier.Hear(l.buf[:], l.at)
	}
}

// expect begins to compare with whom is wanted now.
func (l *Leg) expect(ctx context.Context) {
	wanted := l.wanted.Load()
	if wanted == l.expected {
		return
	}
	l.expected, l.verifier, l.templates = wanted, nil, nil
	if l.hooks.Guard != nil {
		l.hooks.Guard.Treat(ctx, *wanted)
		l.against = l.hooks.Guard.Look(ctx)
	}
	if *wanted == "" {
		l.say(voiceprint.Decision{Reasons: []voiceprint.Reason{voiceprint.NotEnrolled}, Final: true})
		return
	}
	v, reasons, err := l.verify(ctx, *wanted)
	if err != nil {
		l.log.Error("the voice cannot be compared", "error", err)
		return
	}
	if v == nil {
		l.say(voiceprint.Decision{Reasons: reasons, Final: true, Info: l.ear.cfg.Scorer.Info()})
		return
	}
	l.verifier = v
	v.Hear(l.speech, l.at)
	l.say(v.Decision())
}

// verify makes a verifier, or says why there is none.
func (l *Leg) verify(ctx context.Context, subject string) (*voiceprint.Verifier, []voiceprint.Reason, error) {
	ctx, cancel := context.WithTimeout(ctx, templateLimit)
	defer cancel()
	c := &l.ear.cfg
	templates, reasons, err := c.People.Templates(ctx, subject, l.ear.model)
	if err != nil {
		return nil, nil, err
	}
	if len(templates) == 0 {
		return nil, reasons, nil
	}
	enrolled := make([]voiceprint.Embedding, len(templates))
	for i := range templates {
		enrolled[i] = templates[i].Embedding
		l.templates = append(l.templates, templates[i].ID)
	}
	v, err := voiceprint.NewVerifier(voiceprint.VerifierConfig{Embedder: c.Embedder, Scorer: c.Scorer, Enrolled: enrolled, Policy: c.Policy})
	return v, nil, err
}

// look weighs what there is, when its turn comes.
func (l *Leg) look(ctx context.Context) {
	if l.verifier == nil || !l.verifier.Due() {
		return
	}
	select {
	case l.ear.looks <- struct{}{}:
	case <-ctx.Done():
		return
	}
	err := l.stretch()
	d := l.told
	if err == nil {
		quality, gates := l.meter.Measure()
		d, err = l.verifier.Look(quality, append(slices.Clone(gates), l.against...))
	}
	<-l.ear.looks
	if err != nil {
		l.log.Error("the voice is no longer compared", "error", err)
		l.verifier = nil
		return
	}
	if slices.Contains(d.Reasons, voiceprint.VoiceChanged) && l.told.Final {
		// What was measured was another's.
		l.changed = true
		l.meter.Reset()
		l.fresh, l.stretched = 0, 0
	}
	l.say(d)
}

// stretch gives the meter the stretches that are complete.
func (l *Leg) stretch() error {
	n := int(l.ear.cfg.Stretch * voiceprint.Rate / time.Second)
	limit := int(l.ear.limit * voiceprint.Rate / time.Second)
	for n > 0 && l.fresh >= n && l.stretched+n <= limit {
		at := len(l.speech) - l.fresh
		if at < 0 {
			// It lags so far that the speech is gone.
			l.fresh = len(l.speech)
			continue
		}
		e, err := l.ear.cfg.Embedder.Embed(l.speech[at : at+n])
		if err == nil {
			err = l.meter.Stretch(e)
		}
		if err != nil {
			return fmt.Errorf("a stretch of speech: %w", err)
		}
		l.fresh -= n
		l.stretched += n
	}
	return nil
}

// say tells of each look until there is an answer, and of any other answer.
func (l *Leg) say(d voiceprint.Decision) {
	same := d.Outcome == l.told.Outcome && d.Final == l.told.Final &&
		(d.Final || d.Scores == l.told.Scores) && slices.Equal(d.Reasons, l.told.Reasons)
	l.told = d
	if same {
		return
	}
	a := Answer{Decision: d, Templates: l.templates}
	if l.expected != nil {
		a.Subject = *l.expected
	}
	if l.first >= 0 {
		a.Took = pcm.Duration(l.at - l.first)
	}
	l.hooks.Tell(a)
}
