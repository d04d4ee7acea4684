package push

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sidetone/guidance"
)

// feed is what a room knows of an agent's calls on another server.
type feed struct {
	node string
	// known says that a snapshot has come and no delta was missed since; seq is
	// the last delta's number.
	known bool
	seq   uint64
	// confirmed is when the server last told that it still tells us.
	confirmed time.Time
	// asked is when a snapshot was last wanted.
	asked time.Time
	calls []*call
	// parts are the pieces that have come of the snapshot with the id partsOf.
	parts   [][]byte
	partsOf uint64
}

// receive takes a letter of another server.
func (n *network) receive(_ string, b []byte) {
	e, body, err := parseLetter(b)
	h := n.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.bad.Add(1)
		h.cfg.Log.Warn("push: letter of another server", "err", err)
		return
	}
	now := h.now()
	p := n.meet(&e, now)
	if p == nil {
		return
	}
	switch e.Kind {
	case "here", "want":
		for _, agent := range e.Agents {
			n.admit(p, agent, e.Fresh || e.Kind == "want", now)
		}
	case "leave":
		for _, agent := range e.Agents {
			n.dismiss(p.node, agent)
		}
	case "bye":
		n.lose(p)
	case "beat":
		n.hearBeat(p, &e, now)
	case "part", "delta":
		if r := h.rooms[e.Agent]; r != nil && r.places > 0 {
			if err := n.hearFeed(p, r, &e, body, now); err != nil {
				h.bad.Add(1)
				h.cfg.Log.Warn("push: calls of another server", "node", p.node, "err", err)
			}
		}
	}
}

// meet finds the sender of a letter; nil when it is not to be listened to.
func (n *network) meet(e *envelope, now time.Time) *peer {
	h := n.hub
	if e.From == h.cfg.Node {
		if e.Boot != n.boot && !n.namesake {
			n.namesake = true
			h.cfg.Log.Error("push: two servers have the same name; each needs its own (server.node)", "node", e.From)
		}
		return nil
	}
	p := n.peers[e.From]
	switch {
	case h.closed:
		return nil
	case p == nil && len(n.peers) == maxPeers:
		h.cfg.Log.Warn("push: too many servers", "node", e.From)
		return nil
	case p == nil:
		p = &peer{node: e.From, boot: e.Boot}
		n.peers[e.From] = p
		n.sayHere(p.node)
	case e.Boot == p.before:
		return nil // a late letter of the run before
	case e.Boot != p.boot:
		n.lose(p)
		*p = peer{node: p.node, boot: e.Boot, before: p.boot, watched: p.watched, lost: true}
		n.sayHere(p.node)
	}
	if p.lost {
		p.lost = false
		for agent, r := range h.rooms {
			if f := r.feeds[p.node]; f != nil {
				n.want(f, agent, now)
			}
		}
	}
	p.heard, p.clock, p.clockAt = now, e.Clock, now
	p.ahead = keepLast(p.ahead, e.Wall.Sub(now.Round(0)), 16)
	return p
}

// lose lets panes know that nothing of a server's calls arrives.
func (n *network) lose(p *peer) {
	p.lost = true
	for agent, r := range n.hub.rooms {
		n.dismiss(p.node, agent)
		f := r.feeds[p.node]
		if f == nil {
			continue
		}
		f.known, f.parts, f.asked = false, nil, time.Time{}
		for _, c := range f.calls {
			if c.ended == nil && c.info.Away != AwayServer {
				c.info.Away = AwayServer
				r.show(c, awayChanged{"away", c.info.ID, AwayServer})
			}
		}
	}
}

// forget gives up the calls of a lost server that nobody has taken on.
func (n *network) forget(p *peer, now time.Time) {
	delete(n.peers, p.node)
	for _, r := range n.hub.rooms {
		f := r.feeds[p.node]
		if f == nil {
			continue
		}
		for _, c := range f.calls {
			if c.ended == nil {
				c.ended = &ending{now, "lost", "its server did not come back"}
				r.show(c, callEnded{"call_ended", c.info.ID, *c.ended})
			}
		}
	}
}

// want asks for a snapshot of a feed that is not known, or of which its server no
// longer tells, unless it was just asked for.
func (n *network) want(f *feed, agent string, now time.Time) {
	p := n.peers[f.node]
	f.known = f.known && now.Sub(f.confirmed) <= n.hub.cfg.Beat*lostHalves/2
	if f.known || p == nil || p.lost || now.Sub(f.asked) < n.hub.cfg.Beat/4 {
		return
	}
	f.asked = now
	n.post(f.node, envelope{Kind: "want", Agents: []string{agent}})
}

// hearBeat takes the round trip, and finds deltas that were lost.
func (n *network) hearBeat(p *peer, e *envelope, now time.Time) {
	if rtt := now.Sub(n.began) - e.Echo - e.Held; e.Echo > 0 && rtt >= 0 {
		p.rtts = keepLast(p.rtts, rtt, 8)
	}
	for agent, seq := range e.Feeds {
		r := n.hub.rooms[agent]
		if r == nil || r.places == 0 {
			continue
		}
		f := r.feed(p.node)
		f.known, f.confirmed = f.known && seq == f.seq, now
		n.want(f, agent, now)
	}
}

// hearFeed takes a piece of a snapshot or a delta.
func (n *network) hearFeed(p *peer, r *room, e *envelope, body []byte, now time.Time) error {
	f := r.feed(p.node)
	if e.Kind == "part" {
		return n.hearPart(p, r, f, e, body, now)
	}
	switch {
	case !f.known || e.Seq != 0 && e.Seq <= f.seq:
		return nil
	case e.Seq > f.seq+1:
		f.known = false
		n.want(f, e.Agent, now)
		return nil
	}
	if e.Seq != 0 {
		f.seq = e.Seq
	}
	err := n.hub.follow(r, f, e.Agent, body, p.skew())
	if err != nil {
		f.known = false
		n.want(f, e.Agent, now)
	}
	return err
}

// hearPart puts a snapshot together; what it says replaces all.
func (n *network) hearPart(p *peer, r *room, f *feed, e *envelope, body []byte, now time.Time) error {
	if f.known && e.Seq < f.seq {
		return nil
	}
	if len(body) > partBytes {
		return fmt.Errorf("piece of a snapshot with %d bytes, want at most %d", len(body), partBytes)
	}
	if len(f.parts) != e.Parts || f.partsOf != e.ID {
		f.parts, f.partsOf = make([][]byte, e.Parts), e.ID
	}
	f.parts[e.Part] = slices.Clone(body)
	if slices.ContainsFunc(f.parts, func(b []byte) bool { return b == nil }) {
		return nil
	}
	whole := slices.Concat(f.parts...)
	f.parts = nil
	var s snapshot
	if err := json.Unmarshal(whole, &s); err != nil {
		return fmt.Errorf("snapshot of agent %q: %w", e.Agent, err)
	}
	h, had := n.hub, len(f.calls) > 0
	calls := make([]*call, 0, len(s.Calls))
	for _, v := range s.Calls {
		if err := checkRemote(&v.Call, p.node, e.Agent); err != nil {
			return err
		}
		calls = append(calls, mirror(f, v, p.skew(), h.cfg))
	}
	f.known, f.seq, f.calls, f.confirmed = true, e.Seq, calls, now
	r.rank()
	if had || len(calls) > 0 || r.gathering && !n.gathers(r) {
		h.resync(r)
	}
	return nil
}

func checkRemote(c *Call, node, agent string) error {
	if c.ID == "" || c.Agent != agent || c.Node != node {
		return fmt.Errorf("call %.40q of agent %.40q on %.40q, want one of agent %q on %q", c.ID, c.Agent, c.Node, agent, node)
	}
	return nil
}

// mirror makes a call of another server's view of it.
func mirror(f *feed, v callView, skew time.Duration, cfg Config) *call {
	c := &call{info: v.Call, feed: f, began: v.Started, ended: v.Ended, earlier: v.Earlier}
	c.info.Started = shift(v.Started, skew)
	if c.ended != nil {
		c.ended.At = shift(c.ended.At, skew)
	}
	for _, u := range v.Utterances {
		c.put(u, cfg.History)
	}
	for _, k := range v.Cards {
		if c.addCard(shifted(k.Card, skew), cfg.Cards) {
			c.cards[len(c.cards)-1].cardView = cardView{shifted(k.Card, skew), k.State, k.Reason, k.Painted}
		}
	}
	return c
}

// shift puts a time of a server's clock on ours. What cannot be written any more
// stays as it is.
func shift(t time.Time, skew time.Duration) time.Time {
	if ours := t.Add(-skew); ours.Year() > 1 && ours.Year() < 9999 {
		return ours
	}
	return t
}

// shifted does so with a card's times.
func shifted(g guidance.Card, skew time.Duration) guidance.Card {
	g.Born = shift(g.Born, skew)
	if !g.Expires.IsZero() {
		g.Expires = shift(g.Expires, skew)
	}
	return g
}

// follow does to the mirror of a call what a delta says, and passes it on.
// Messages that are not known are a newer server's.
func (h *Hub) follow(r *room, f *feed, agent string, body []byte, skew time.Duration) error {
	var head struct{ Type string }
	if err := json.Unmarshal(body, &head); err != nil {
		return fmt.Errorf("delta: %w", err)
	}
	switch head.Type {
	case "call_started":
		return apply(body, func(m callStarted) error {
			if err := checkRemote(&m.Call, f.node, agent); err != nil {
				return err
			}
			h.followStart(r, f, m, skew)
			return nil
		})
	case "leg":
		return apply(body, func(m legChanged) error {
			return f.change(m.Call, func(c *call) { c.setLeg(m.Leg); r.show(c, m) })
		})
	case "paused":
		return apply(body, func(m pausedChanged) error {
			return f.change(m.Call, func(c *call) { c.info.Paused = m.Paused; r.show(c, m) })
		})
	case "away":
		return apply(body, func(m awayChanged) error {
			return f.change(m.Call, func(c *call) { c.info.Away = m.Away; r.show(c, m) })
		})
	case "utterance":
		return apply(body, func(m utterance) error {
			return f.change(m.Call, func(c *call) {
				if c.put(m.Utterance, h.cfg.History) {
					r.hear(c, m)
				}
			})
		})
	case "card":
		return apply(body, func(m newCard) error {
			m.Card = shifted(m.Card, skew)
			return f.change(m.Card.Call, func(c *call) {
				if c.addCard(m.Card, h.cfg.Cards) {
					r.show(c, m)
				}
			})
		})
	case "card_withdrawn":
		return apply(body, func(m cardWithdrawn) error {
			return f.changeCard(m.Call, m.Card, func(c *call, k *card) {
				k.State, k.Reason = Withdrawn, m.Reason
				r.show(c, m)
			})
		})
	case "card_state":
		return apply(body, func(m cardState) error {
			return f.changeCard(m.Call, m.Card, func(c *call, k *card) { k.State = m.State; r.show(c, m) })
		})
	case "call_ended":
		return apply(body, func(m callEnded) error {
			m.At = shift(m.At, skew)
			return f.change(m.Call, func(c *call) { h.followEnd(r, f, c, m) })
		})
	}
	return nil
}

// apply reads a message.
func apply[M any](body []byte, do func(M) error) error {
	var m M
	if err := json.Unmarshal(body, &m); err != nil {
		return fmt.Errorf("delta %T: %w", m, err)
	}
	return do(m)
}

func (h *Hub) followStart(r *room, f *feed, m callStarted, skew time.Duration) {
	f.calls = slices.DeleteFunc(f.calls, func(o *call) bool { return o.ended != nil || o.info.ID == m.Call.ID })
	c := &call{info: m.Call, feed: f, began: m.Call.Started}
	c.info.Started = shift(c.began, skew)
	f.calls = append(f.calls, c)
	if r.rank() {
		h.resync(r)
		return
	}
	r.show(c, callStarted{m.Type, c.info})
}

func (h *Hub) followEnd(r *room, f *feed, c *call, m callEnded) {
	c.ended = &m.ending
	r.show(c, m)
	if m.State == movedState {
		f.calls = slices.DeleteFunc(f.calls, func(o *call) bool { return o == c })
	}
	if r.rank() {
		h.resync(r)
	}
}

var errUnknownCall = errors.New("delta of a call or card that is not known")

// change runs do on a call of the feed.
func (f *feed) change(id string, do func(*call)) error {
	i := slices.IndexFunc(f.calls, func(c *call) bool { return c.info.ID == id })
	if i < 0 {
		return fmt.Errorf("%w: %.40q", errUnknownCall, id)
	}
	do(f.calls[i])
	return nil
}

// changeCard runs do on a card. One that has made room for others is not missed.
func (f *feed) changeCard(id, cardID string, do func(*call, *card)) error {
	return f.change(id, func(c *call) {
		if k := c.card(cardID); k != nil {
			do(c, k)
		}
	})
}

// serve answers a request of another server's pane.
func (n *network) serve(b []byte) []byte {
	h := n.hub
	e, body, err := parseLetter(b)
	var m inbound
	if err == nil {
		m, err = parseInbound(body)
	}
	h.mu.Lock()
	if err != nil || e.Kind != "do" {
		h.bad.Add(1)
		h.mu.Unlock()
		h.cfg.Log.Warn("push: request of another server", "kind", e.Kind, "err", err)
		return nil
	}
	now := h.now()
	p := n.meet(&e, now)
	if p == nil {
		h.mu.Unlock()
		return nil
	}
	if i := slices.IndexFunc(p.replies, func(r reply) bool { return r.id == e.ID }); i >= 0 {
		defer h.mu.Unlock()
		return p.replies[i].answer
	}
	q := request{m, e.Agent, now, e.RTT}
	if m.Type == "ack" {
		q.at = now.Add(-e.Age - e.Transit)
	}
	var answer any
	done := h.serve(q, func(m any) { answer = m })
	letter, err := n.reply(answer)
	if err == nil {
		p.replies = append(p.replies, reply{e.ID, letter})
		p.replies = slices.Delete(p.replies, 0, max(len(p.replies)-keptReplies, 0))
	}
	h.mu.Unlock()
	done()
	return letter
}

func (n *network) reply(answer any) ([]byte, error) {
	var body []byte
	if answer != nil {
		var err error
		if body, err = json.Marshal(answer); err != nil {
			return nil, err
		}
	}
	return n.sign(&envelope{Kind: "done"}).seal(body)
}
