package app

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sidetone/asr"
	"sidetone/guidance"
	"sidetone/guidance/push"
	"sidetone/media"
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

	mu      sync.Mutex
	session *guidance.Session
	rec     record
	legs    []*leg
	// shown says that the call is on an agent's pane; named, that the source
	// said whose.
	shown, named bool
	digits       digits
}

// record is a call as the API tells it.
type record struct {
	Call   string `json:"call"`
	Agent  string `json:"agent"`
	Source string `json:"source"`
	// External is the source's own name of the call.
	External string `json:"external,omitempty"`
	// Facts are what the source tells besides.
	Facts   map[string]string `json:"facts,omitempty"`
	Started time.Time         `json:"started"`
	Ended   *time.Time        `json:"ended,omitempty"`
	State   string            `json:"state"`
	Reason  string            `json:"reason,omitempty"`
	Legs    []legRecord       `json:"legs"`
	// Transcript is the finals of both sides in the order of their speech.
	Transcript []spoken `json:"transcript"`
	// Pauses are the times in which nothing was heard, and why.
	Pauses []pauseRecord `json:"pauses,omitempty"`
	Cards  []cardRecord  `json:"cards"`
}

// pauseRecord is a time in which nothing was heard, on the call's clock.
type pauseRecord struct {
	StartMS int64  `json:"start_ms"`
	EndMS   *int64 `json:"end_ms,omitempty"`
	Reason  string `json:"reason"`
	Resumed string `json:"resumed,omitempty"`
}

type legRecord struct {
	ID         string `json:"id"`
	Role       string `json:"role"`
	RoleReason string `json:"role_reason"`
	// Conflicts say what speaks against the role.
	Conflicts []string `json:"role_conflicts,omitempty"`
	Identity  string   `json:"identity,omitempty"`
	Name      string   `json:"name,omitempty"`
	Label     string   `json:"label,omitempty"`
	Mixed     bool     `json:"mixed,omitempty"`
	Address   string   `json:"address,omitempty"`
	Codec     string   `json:"codec,omitempty"`
	Ended     bool     `json:"ended"`
	// Stats is there once audio has come.
	Stats *legStats `json:"stats,omitempty"`
}

type legStats struct {
	Received        uint64  `json:"received"`
	Lost            uint64  `json:"lost"`
	Late            uint64  `json:"late"`
	Duplicate       uint64  `json:"duplicate"`
	Reordered       uint64  `json:"reordered"`
	Invalid         uint64  `json:"invalid"`
	Foreign         uint64  `json:"foreign"`
	RTCP            uint64  `json:"rtcp"`
	SSRCChanges     uint64  `json:"ssrc_changes"`
	ConcealedFrames uint64  `json:"concealed_frames"`
	InsertedFrames  uint64  `json:"inserted_frames"`
	DroppedFrames   uint64  `json:"dropped_frames"`
	JitterMS        float64 `json:"jitter_ms"`
	// Forged packets were not authentic by SRTP.
	Forged uint64 `json:"forged,omitempty"`
	// Frames are all that were handed on, SpeechFrames those with speech, whose
	// level and peak follow, in dBFS.
	Frames       uint64  `json:"frames"`
	SpeechFrames uint64  `json:"speech_frames"`
	Level        float64 `json:"level_dbfs"`
	Peak         float64 `json:"peak_dbfs"`
	Clipped      uint64  `json:"clipped_samples"`
	LongestGapMS int64   `json:"longest_gap_ms"`
	// SkewPPM is how much faster the sender's clock runs than ours, once known.
	SkewPPM *float64 `json:"skew_ppm,omitempty"`
}

// newLegStats puts a leg's figures into their form for the record.
func newLegStats(s media.LegStats, dropped uint64) *legStats {
	q := s.Quality
	r := &legStats{
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

// cardRecord is a card and what became of it.
type cardRecord struct {
	guidance.Card
	State string `json:"state"`
	// LatencyMS is from the end of the last triggering word to the painted
	// card, where a pane has painted it.
	LatencyMS *int64 `json:"latency_ms,omitempty"`
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
			c.tell(c.session.Tick(now))
			c.mu.Unlock()
		case <-c.over:
			running = false
		}
	}
	c.workers.Wait()

	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.legs {
		c.rec.Transcript = append(c.rec.Transcript, l.recognised...)
	}
	slices.SortStableFunc(c.rec.Transcript, func(a, b spoken) int { return int(a.StartMS - b.StartMS) })
	c.relabel()
	c.rec.Cards = c.cards()
	c.env.hub.CallEnded(c.info.ID, c.rec.State, c.rec.Reason, *c.rec.Ended)
	c.env.metrics.calls.WithLabelValues(c.rec.State).Inc()
	c.log.Info("call over", "state", c.rec.State, "reason", c.rec.Reason,
		"duration", c.rec.Ended.Sub(c.rec.Started).Round(time.Millisecond), "cards", len(c.rec.Cards))
}

func (c *call) legEnded(l *leg, e media.End, s media.LegStats) {
	dropped := l.queue.Dropped()
	c.env.metrics.leg(s, dropped)
	l.log().Info("leg over", "state", e.State, "reason", e.Reason, "packets", s.Received, "lost", s.Lost,
		"late", s.Late, "invalid", s.Invalid, "foreign", s.Foreign, "dropped_frames", dropped)
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, o := range c.legs {
		if o == l {
			c.rec.Legs[i].Stats, c.rec.Legs[i].Ended = newLegStats(s, dropped), true
		}
	}
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
	c.weigh(l, &h)
	c.env.hub.Utterance(c.info.ID, l.shown(&h))
	c.tell(c.session.Hear(l.guidance(), h, time.Now()))
	return h
}

// feedback tells the guidance what the agent did with a card.
func (c *call) feedback(cardID string, s push.State) {
	r, err := guidance.ParseResponse(string(s))
	if err != nil {
		c.log.Error("feedback", "card", cardID, "error", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
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
			c.log.Info("card", "card", e.Card.ID, "rule", e.Card.Why.Rule, "element", e.Card.Why.Element)
		case guidance.CardWithdrawn:
			if e.Reason != guidance.ByAgent {
				c.env.hub.Withdraw(c.info.ID, e.Card.ID, string(e.Reason))
			}
		case guidance.IntentHeard:
			c.log.Debug("intent", "intent", e.Heard.Intent, "score", e.Heard.Score, "final", e.Heard.Final)
		}
	}
}

// snapshot is the record as it stands.
func (c *call) snapshot() record {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rec
	r.Legs = slices.Clone(r.Legs)
	r.Transcript = slices.Clone(r.Transcript)
	r.Pauses = slices.Clone(r.Pauses)
	// Panes may paint and act after the end, while the hub keeps the call.
	if now := c.cards(); now != nil {
		r.Cards = now
	}
	return r
}

func (c *call) cards() []cardRecord {
	kept := c.env.hub.Cards(c.info.ID)
	if kept == nil {
		return nil
	}
	out := make([]cardRecord, 0, len(kept))
	for _, k := range kept {
		r := cardRecord{Card: k.Card, State: string(k.State)}
		if !k.Painted.IsZero() {
			ms := k.Latency.Milliseconds()
			r.LatencyMS = &ms
		}
		out = append(out, r)
	}
	return out
}
