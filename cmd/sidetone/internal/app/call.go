package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sidetone/asr"
	"sidetone/guidance"
	"sidetone/guidance/push"
	"sidetone/internal/journal"
	"sidetone/media"
	"sidetone/media/recording"
)

// tickEvery is how often a call's guidance is told that time passes.
const tickEvery = 250 * time.Millisecond

// call is one call's guidance and record, shared by its legs.
type call struct {
	env  *env
	ctx  context.Context //nolint:containedctx // it ends the work of the legs, which outlive the requests that add them
	info media.Call
	// hangUp tells the source to end the call.
	hangUp func(media.End)
	// guests hang up the sources of legs that have joined the call; mu guards it.
	guests   []func(media.End)
	language string
	log      *slog.Logger
	// paused is set while nothing is to be heard.
	paused atomic.Bool
	// workers are the legs' goroutines.
	workers sync.WaitGroup

	// over is closed when the media path has ended the call; done when its
	// last words have been shown and it has its end state.
	over, done chan struct{}

	// key names the call in the journal.
	key string
	// later counts what goes on after the call is done.
	later *sync.WaitGroup
	// recorder keeps the audio; nil: it is not kept. It is set before the first leg.
	recorder *recording.Recorder

	mu      sync.Mutex
	session *guidance.Session
	rec     journal.Call
	legs    []*leg
	// crossed are the legs on which the voices are each other's.
	crossed crossing
	// lost is how the call ends unless its fork comes back before expires.
	lost *media.End
	// ceded says that another server has the call now, and writes its journal.
	ceded   bool
	expires time.Time
	// utterances is how many each leg of that name has had, over all its forks.
	utterances map[string]int
	// shown says that the call is on an agent's pane; named, that the source
	// said whose.
	shown, named bool
	// speaking is how many legs speak now.
	speaking atomic.Int32
	digits   digits
}

// newLegStats puts a leg's figures into their form for the record.
func newLegStats(s media.LegStats, dropped uint64) *journal.LegStats {
	q := s.Quality
	r := &journal.LegStats{
		Received: s.Received, Lost: s.Lost, Late: s.Late, Duplicate: s.Duplicate, Reordered: s.Reordered,
		Invalid: s.Invalid, Foreign: s.Foreign, Forged: s.Forged, RTCP: s.RTCP, SSRCChanges: s.SSRCChanges,
		ConcealedFrames: s.ConcealedFrames, InsertedFrames: s.InsertedFrames, DroppedFrames: dropped,
		JitterMS: float64(s.Jitter) / float64(time.Millisecond),
		Frames:   q.Frames, SpeechFrames: q.SpeechFrames, Clipped: q.Clipped, LongestGapMS: q.LongestGap.Milliseconds(),
	}
	if q.SpeechFrames > 0 {
		r.Level, r.Peak = q.Level, q.Peak
	}
	if q.SkewKnown {
		r.SkewPPM = &q.Skew
	}
	return r
}

// emit lets something happen to the call: it is kept, and the record tells it.
// The caller holds mu, so that events stand in the order in which they happened.
func (c *call) emit(kind journal.Kind, body any) {
	if c.ceded {
		return
	}
	e, err := journal.New(c.key, c.rec.N+1, c.at(time.Now()), kind, body)
	if err == nil {
		e.Node = c.env.node
		err = c.rec.Apply(e)
	}
	if err != nil {
		c.log.Error("an event could not be kept", "event", kind, "error", err)
		return
	}
	c.env.journal.Append(e)
	c.env.tracer.Event(e)
}

// run lets time pass for the guidance until the call is over, then waits for
// the legs' last words and ends the call.
func (c *call) run() {
	defer close(c.done)
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for running := true; running; {
		select {
		case now := <-tick.C:
			c.mu.Lock()
			if c.lost == nil {
				// A call that waits for its fork may be another server's by now, which
				// says what happens to it.
				c.tell(c.session.Tick(now))
			}
			c.mu.Unlock()
			c.giveUp(now)
		case <-c.over:
			running = false
		}
	}
	c.keepRecording()
	c.workers.Wait()

	c.mu.Lock()
	defer c.mu.Unlock()
	// The call is kept for a while, what heard it is not: it takes far more room
	// than its record.
	c.legs, c.crossed = nil, crossing{}
	c.session, c.hangUp = nil, func(media.End) {}
	if c.ceded {
		c.log.Warn("another server goes on with the call")
		return
	}
	c.emit(journal.CallClosed, nil)
	c.env.journal.DropOpen(c.key)
	c.env.hub.CallEnded(c.info.ID, c.rec.State, c.rec.Reason, *c.rec.Ended)
	c.env.metrics.calls.WithLabelValues(c.rec.State).Inc()
	c.log.Info("call over", "state", c.rec.State,
		"duration", c.rec.Ended.Sub(c.rec.Started).Round(time.Millisecond), "cards", len(c.rec.Cards))
}

func (c *call) legEnded(l *leg, e media.End, s media.LegStats) {
	dropped := l.queue.Dropped()
	c.env.metrics.leg(s, dropped)
	l.log().Info("leg over", "state", e.State, "packets", s.Received, "lost", s.Lost,
		"late", s.Late, "invalid", s.Invalid, "foreign", s.Foreign, "dropped_frames", dropped)
	c.mu.Lock()
	defer c.mu.Unlock()
	stats := newLegStats(s, dropped)
	if s.Received == 0 && l.stats != nil {
		// The call has ended before its leg: what was known last counts.
		stats = l.stats
	}
	c.emit(journal.LegFared, journal.Fared{Leg: l.id, Stats: *stats, Over: true})
}

// hear masks what must not be shown, shows the hypothesis and lets the guidance
// act on it. It returns what may be kept.
func (c *call) hear(l *leg, h asr.Hypothesis) asr.Hypothesis {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, other := range c.legs {
		if other != l {
			other.redactor.Overhear(h)
		}
	}
	h = l.redactor.Redact(h)
	h.Utterance += l.base
	c.utterances[l.id] = max(c.utterances[l.id], h.Utterance)
	c.weigh(l, &h)
	c.env.hub.Utterance(c.info.ID, l.shown(&h))
	if h.Final && len(h.Words) > 0 {
		// What was said is kept before anything follows from it.
		c.emit(journal.UtteranceFinal, l.final(&h))
	}
	c.tell(c.session.Hear(l.guidance(), h, time.Now()))
	return h
}

// feedback tells the guidance what the agent did with a card.
func (c *call) feedback(agent, cardID string, s push.State) {
	r, err := guidance.ParseResponse(string(s))
	if err != nil {
		c.log.Error("feedback", "card", cardID, "error", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.emit(journal.CardAnswered, journal.Answered{ID: cardID, Agent: agent, State: string(s)})
	if c.session == nil {
		// The call is over: there is nothing more to guide.
		return
	}
	ev, err := c.session.Feedback(cardID, r, time.Now())
	if err != nil {
		// The card had left by itself while the agent pressed the key.
		c.log.Debug("feedback", "card", cardID, "error", err)
		return
	}
	c.tell(ev)
}

// tell carries the guidance's events to the panes. The caller holds mu, so
// that panes see events in the order in which they happened.
func (c *call) tell(events []guidance.Event) {
	for _, e := range events {
		switch e.Kind {
		case guidance.CardShown:
			c.env.metrics.cards.WithLabelValues(string(e.Card.Kind)).Inc()
			c.env.hub.Card(*e.Card)
			c.keepCard(e.Card)
			c.log.Info("card", "card", e.Card.ID, "rule", e.Card.Why.Rule, "element", e.Card.Why.Element)
		case guidance.CardWithdrawn:
			if e.Reason != guidance.ByAgent {
				c.env.hub.Withdraw(c.info.ID, e.Card.ID, string(e.Reason))
				c.emit(journal.CardWithdrawn, journal.Withdrawn{ID: e.Card.ID, Reason: string(e.Reason)})
			}
		case guidance.IntentHeard:
			if e.Heard.Final {
				c.emit(journal.IntentHeard, journal.Intent{Intent: e.Heard.Intent, Score: e.Heard.Score, Final: true})
			}
			c.log.Debug("intent", "intent", e.Heard.Intent, "score", e.Heard.Score, "final", e.Heard.Final)
		}
	}
}

// keepCard writes a card down. The caller holds mu.
func (c *call) keepCard(k *guidance.Card) {
	b, err := json.Marshal(k)
	if err != nil {
		c.log.Error("a card could not be kept", "card", k.ID, "error", err)
		return
	}
	c.emit(journal.CardShown, journal.Card{ID: k.ID, Card: b})
}

// painted notes that a pane has shown a card for the first time.
func (c *call) painted(p *push.Painted) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.emit(journal.CardPainted, journal.Painted{
		ID: p.Card.ID, Agent: p.Agent, At: p.At, LatencyMS: p.Latency.Milliseconds(), FromWords: p.FromWords,
	})
}

// snapshot is the record as it stands.
func (c *call) snapshot() journal.Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rec.Clone()
	for _, l := range c.legs {
		if l.ended || l.stats == nil {
			continue
		}
		for i := range r.Legs {
			if r.Legs[i].ID == l.id && !r.Legs[i].Ended {
				r.Legs[i].Stats = l.stats
			}
		}
	}
	return r
}
