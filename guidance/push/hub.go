// Package push carries calls, transcripts and cards to the agents' panes over
// WebSocket, and brings back what the panes report.
//
// A Hub is told of every call by the goroutines that work on it; its methods
// never wait for a pane. A pane subscribes to one agent's name, gets a snapshot
// of that agent's calls, and then whatever changes. Between hub and pane stands
// a bounded queue; partials do not enter it, of them only the latest of each
// role waits. A pane whose queue is full is closed with 1013 (try again later)
// and gets a snapshot when it comes back.
//
// The protocol is written down in message.go.
//
// # Several servers
//
// Hubs that share a Bus show an agent's calls on that agent's panes wherever they
// are connected, and bring back to a call's hub what they report. A hub says which
// agents it has panes of; another one that has calls of theirs sends it a
// snapshot, then numbered changes, and a new snapshot where one was missed
// (envelope.go). Of agents whom nobody watches elsewhere nothing is sent. One
// goroutine publishes; where it falls behind, changes give way to a snapshot.
//
// A server that is not heard any longer leaves its calls on the panes as they
// were, marked AwayServer, until it comes back, another one restores them, or
// Config.ForgetLost has passed. Where two claim a call, the higher Call.Taken is
// shown.
//
// Clocks of servers may differ. When a card was painted elsewhere is told as how
// long ago that was, to which the receiver adds half the smallest round trip of the
// last beats: both are measured on one clock each. Times that panes are shown are
// put on the clock of their own server, by the letters that seem to have travelled
// least; the way that these took, a millisecond in one house, is left in them.
//
// The package is longer than others: what panes are told and what servers tell
// each other is one protocol over one state under one lock.
//
// # Latency of a card
//
// A pane acknowledges a card when it is painted. The time of painting on the
// server's clock is
//
//	painted = sent + RTT/2 + (painted_ms - received_ms), at most the arrival of the ack
//
// where sent is taken just before the card is written to the socket, RTT is the
// smallest of the last eight round trips of WebSocket pings (the clock filter
// of RFC 5905, section 10), and the difference is measured by the pane on its
// own monotonic clock. Neither the pane's wall clock nor the way of the ack
// enters. The latency that the agent feels is painted minus the end of the last
// triggering word.
package push

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"sidetone/guidance"
)

// Route is the pattern under which the page expects the Hub.
const Route = "GET /v1/push/{agent}"

// Stats counts what happened since the Hub was made.
type Stats struct {
	// Panes is how many are connected now.
	Panes int64
	// Slow panes were closed with 1013; Refused ones never connected (origin,
	// limits); Abusive ones were closed with 1008.
	Slow, Refused, Abusive int64
	// BadMessages came from panes and were answered with an error.
	BadMessages int64
	// PartialsSkipped were overwritten by a later one before they were sent.
	PartialsSkipped int64
	// Stray events named a call that the hub does not know.
	Stray int64
	// Servers is how many others are heard now; Unsent letters to them did not go
	// out.
	Servers, Unsent int64
}

// Hub joins calls and panes. Its methods may be called from any goroutine.
type Hub struct {
	cfg      Config
	upgrader websocket.Upgrader
	ctx      context.Context
	cancel   context.CancelFunc
	now      func() time.Time

	mu     sync.Mutex
	closed bool
	// draining is as Draining was told last.
	draining bool
	places   int           // panes connected or connecting
	empty    chan struct{} // closed when closed and places is 0
	rooms    map[string]*room
	calls    map[string]*call
	ended    []string // ids of ended calls, oldest first
	net      *network // nil when the server is alone

	connected, slow, refused, abusive, bad, skipped, stray, unsent, servers atomic.Int64
}

// New makes a Hub. It fails when the Config is wrong or the Bus refuses.
func New(cfg Config) (*Hub, error) { return newAt(cfg, time.Now) }

// newAt makes a Hub with a clock of its own.
func newAt(cfg Config, now func() time.Time) (*Hub, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := &Hub{
		cfg: cfg, ctx: ctx, cancel: cancel, now: now, empty: make(chan struct{}), rooms: map[string]*room{}, calls: map[string]*call{},
	}
	h.upgrader = websocket.Upgrader{
		HandshakeTimeout: cfg.WriteTimeout,
		ReadBufferSize:   maxMessage,
		WriteBufferSize:  maxMessage,
		CheckOrigin:      h.originAllowed,
	}
	if cfg.Bus != nil {
		if err := h.connect(); err != nil {
			cancel()
			return nil, err
		}
	}
	return h, nil
}

// CallStarted begins a call. It fails when the id is in use by a running call,
// when id or agent are empty, or when the hub is closed.
func (h *Hub) CallStarted(c Call) error {
	if c.ID == "" || c.Agent == "" {
		return fmt.Errorf("push: call %q of agent %q needs both names", c.ID, c.Agent)
	}
	c.Legs = slices.Clone(c.Legs)
	if c.Legs == nil {
		c.Legs = []Leg{}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errors.New("push: the hub is closed")
	}
	if old := h.calls[c.ID]; old != nil && old.ended == nil {
		return fmt.Errorf("push: call %q is already running", c.ID)
	}
	h.forget(c.ID)
	for _, old := range slices.Clone(h.room(c.Agent).calls) {
		if old.ended != nil {
			h.forget(old.info.ID)
		}
	}
	r := h.room(c.Agent)
	c.Node = h.cfg.Node
	k := &call{info: c, began: c.Started}
	r.calls = append(r.calls, k)
	h.calls[c.ID] = k
	if !r.rank() {
		h.toPanes(k, callStarted{"call_started", c})
		return nil
	}
	h.resync(r)
	if r.out != nil {
		h.net.tell(r.out, callStarted{"call_started", c})
	}
	return nil
}

// Move gives a running call to another agent. The panes of the one before are
// told that it has ended for them.
func (h *Hub) Move(callID, agent string, at time.Time) error {
	if agent == "" {
		return fmt.Errorf("push: call %q cannot go to an agent without a name", callID)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.calls[callID]
	if c == nil || c.ended != nil {
		return fmt.Errorf("push: call %q is not running", callID)
	}
	before := c.info.Agent
	if before == agent {
		return nil
	}
	h.toPanes(c, callEnded{"call_ended", callID, ending{at, movedState, "taken over by " + agent}})
	old := h.rooms[before]
	old.calls = slices.DeleteFunc(old.calls, func(o *call) bool { return o == c })
	h.sweep(before)
	c.info.Agent, c.hidden = agent, false
	r := h.room(agent)
	r.calls = append(r.calls, c)
	r.rank()
	h.resync(r)
	if r.out != nil {
		h.net.renew(r.out)
	}
	return nil
}

// movedState is the end of a call for the agent who had it before.
const movedState = "moved"

// Paused says that nothing of a call is heard and why, or with an empty reason
// that it is heard again.
func (h *Hub) Paused(callID, reason string) {
	h.update(callID, func(c *call) {
		c.info.Paused = reason
		h.toPanes(c, pausedChanged{"paused", callID, reason})
	})
}

// Away says that nothing of a running call arrives and why, or with an empty
// reason that it does again.
func (h *Hub) Away(callID string, why Away) {
	h.update(callID, func(c *call) {
		if c.info.Away != why && c.ended == nil {
			c.info.Away = why
			h.toPanes(c, awayChanged{"away", callID, why})
		}
	})
}

// Leg adds a leg to a call or changes the one with the same ID.
func (h *Hub) Leg(callID string, l Leg) {
	h.update(callID, func(c *call) {
		c.setLeg(l)
		h.toPanes(c, legChanged{"leg", callID, l})
	})
}

// Utterance brings a partial or a final.
func (h *Hub) Utterance(callID string, u Utterance) {
	u.Stable = min(max(u.Stable, 0), len(u.Words))
	if u.Words == nil {
		u.Words = []Word{}
	}
	if u.Final {
		u.Stable = len(u.Words)
	}
	h.update(callID, func(c *call) {
		if !c.put(u, h.cfg.History) {
			return
		}
		r := h.rooms[c.info.Agent]
		r.hear(c, utterance{"utterance", callID, u})
		if r.out != nil {
			h.net.say(r.out, utterance{"utterance", callID, u})
		}
	})
}

// Card shows a card. A second one with the same ID is ignored.
func (h *Hub) Card(g guidance.Card) {
	h.update(g.Call, func(c *call) {
		if c.addCard(g, h.cfg.Cards) {
			h.toPanes(c, newCard{"card", c.card(g.ID).cardView})
		}
	})
}

// Withdraw takes a card back that the agent has not acted on.
func (h *Hub) Withdraw(callID, cardID, reason string) {
	h.update(callID, func(c *call) {
		k := c.card(cardID)
		if k == nil || k.State != Live {
			return
		}
		k.State, k.Reason = Withdrawn, reason
		h.toPanes(c, cardWithdrawn{"card_withdrawn", callID, cardID, reason})
	})
}

// CallEnded ends a call; state and reason are shown to the agent. What is kept
// of it goes when the agent's next call begins.
func (h *Hub) CallEnded(callID, state, reason string, at time.Time) {
	h.update(callID, func(c *call) {
		if c.ended != nil {
			return
		}
		c.ended = &ending{at, state, reason}
		h.toPanes(c, callEnded{"call_ended", callID, *c.ended})
		if r := h.rooms[c.info.Agent]; r.rank() {
			h.resync(r)
		}
		h.keepEnded(callID)
	})
}

// keepEnded keeps an ended call until there are too many.
func (h *Hub) keepEnded(callID string) {
	h.ended = append(h.ended, callID)
	if len(h.ended) > h.cfg.EndedCalls {
		h.forget(h.ended[0])
	}
}

// Running lists this server's calls that have not ended, the oldest first.
func (h *Hub) Running() []Call {
	h.mu.Lock()
	defer h.mu.Unlock()
	var cs []Call
	for _, c := range h.calls {
		if c.ended == nil {
			cs = append(cs, c.info)
		}
	}
	slices.SortFunc(cs, func(a, b Call) int {
		return cmp.Or(a.Started.Compare(b.Started), strings.Compare(a.ID, b.ID))
	})
	return cs
}

// Cards returns what the hub keeps of the cards of a call of this server, in the order they came;
// nil for a call it does not know.
func (h *Hub) Cards(callID string) []CardRecord {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.calls[callID]
	if c == nil {
		return nil
	}
	rs := make([]CardRecord, len(c.cards))
	for i, k := range c.cards {
		rs[i] = CardRecord{k.Card, k.State, k.Reason, k.paintedAt, k.latency}
	}
	return rs
}

// Stats reads the counters.
func (h *Hub) Stats() Stats {
	return Stats{
		Panes: h.connected.Load(), Slow: h.slow.Load(), Refused: h.refused.Load(), Abusive: h.abusive.Load(),
		BadMessages: h.bad.Load(), PartialsSkipped: h.skipped.Load(), Stray: h.stray.Load(),
		Servers: h.servers.Load(), Unsent: h.unsent.Load(),
	}
}

// Close closes every pane with 1001 (going away), refuses new ones and waits
// until their goroutines have ended. When ctx ends first it cuts the
// connections and returns ctx's error; a further call waits again.
func (h *Hub) Close(ctx context.Context) error {
	h.mu.Lock()
	if !h.closed && h.places == 0 {
		close(h.empty)
	}
	h.closed = true
	for _, r := range h.rooms {
		for p := range r.panes {
			p.close(websocket.CloseGoingAway, "server is stopping")
		}
	}
	h.mu.Unlock()
	h.cancel()
	select {
	case <-h.empty:
		return h.net.stopped(ctx)
	case <-ctx.Done():
	}
	h.mu.Lock()
	for _, r := range h.rooms {
		for p := range r.panes {
			p.cut()
		}
	}
	h.mu.Unlock()
	return fmt.Errorf("push: panes were cut off while closing: %w", ctx.Err())
}

// update runs f on a known call, under the lock.
func (h *Hub) update(callID string, f func(*call)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.calls[callID]
	if c == nil {
		h.stray.Add(1)
		return
	}
	f(c)
}

// toPanes queues a message for every pane of the call's agent, on any server.
func (h *Hub) toPanes(c *call, m any) {
	r := h.rooms[c.info.Agent]
	r.show(c, m)
	if r.out != nil {
		h.net.tell(r.out, m)
	}
}

// room finds or makes an agent's room.
func (h *Hub) room(agent string) *room {
	r := h.rooms[agent]
	if r == nil {
		r = &room{panes: map[*pane]struct{}{}}
		h.rooms[agent] = r
	}
	return r
}

// forget drops a call, and its room when nobody is left in it.
func (h *Hub) forget(callID string) {
	c := h.calls[callID]
	if c == nil {
		return
	}
	delete(h.calls, callID)
	h.ended = slices.DeleteFunc(h.ended, func(id string) bool { return id == callID })
	r := h.rooms[c.info.Agent]
	r.calls = slices.DeleteFunc(r.calls, func(o *call) bool { return o == c })
	h.sweep(c.info.Agent)
}

func (h *Hub) sweep(agent string) {
	if r := h.rooms[agent]; r != nil && len(r.calls) == 0 && r.places == 0 && r.out == nil {
		delete(h.rooms, agent)
	}
}

// originAllowed admits requests without an Origin (no browser sent them), of
// the server's own origin and of the configured ones.
func (h *Hub) originAllowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(h.cfg.Origins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}
