package push

import (
	"context"
	"maps"
	"slices"
	"time"
)

// keepKnown drops the ids of calls that the panes of the agent are not shown.
func (h *Hub) keepKnown(agent string, ids map[string]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(ids, func(id string, _ bool) bool { return h.calls[id] == nil && h.rooms[agent].visible(id) == nil })
}

// request is what a pane reports or asks of a call.
type request struct {
	inbound
	agent string
	// at is when the message came, or when a card was painted; rtt is the round
	// trip to the pane.
	at  time.Time
	rtt time.Duration
}

// acknowledge works out when the card was painted and passes it on. A second ack
// on one connection says nothing new.
func (p *pane) acknowledge(m inbound, now time.Time) {
	p.mu.Lock()
	key := cardKey{m.Call, m.Card}
	sent := p.sent[key]
	fresh := !sent.IsZero()
	if fresh {
		p.sent[key] = time.Time{}
	}
	var rtt time.Duration
	if len(p.rtts) > 0 {
		rtt = slices.Min(p.rtts)
	}
	p.mu.Unlock()
	at := paintedAt(sent, now, rtt, m.PaintedMS-m.ReceivedMS)
	if m.SentMS > 0 {
		// It was painted during an earlier connection: the way of the ack enters.
		at = now.Add(-rtt/2 - time.Duration((m.SentMS-m.PaintedMS)*float64(time.Millisecond)))
	}
	if !fresh {
		at = time.Time{}
	}
	p.ask(request{m, p.agent, at, rtt})
}

// paintedAt is the formula of the package comment; delayMS is not negative.
func paintedAt(sent, acked time.Time, rtt time.Duration, delayMS float64) time.Time {
	longest := acked.Sub(sent)
	delay := longest
	if delayMS < float64(longest)/float64(time.Millisecond) {
		delay = time.Duration(delayMS * float64(time.Millisecond))
	}
	return sent.Add(min(rtt/2+delay, longest))
}

// ask has the server that has the call do what the pane wants.
func (p *pane) ask(q request) {
	h := p.hub
	h.mu.Lock()
	c := h.rooms[p.agent].visible(q.Call)
	if c == nil || c.feed == nil {
		done := h.serve(q, p.send)
		h.mu.Unlock()
		done()
		return
	}
	// The card is not acknowledged again by the agent's other panes here.
	if k := c.card(q.Card); k != nil && q.Type == "ack" {
		k.Painted = true
	}
	away := c.info.Away == AwayServer
	h.mu.Unlock()
	if !away {
		select {
		case p.errands <- q:
			return
		default:
		}
	}
	if q.Type != "ack" {
		p.answer(unreachable(q.Type))
	}
}

func unreachable(about string) problem {
	return problem{Code: "unreachable", About: about, Text: "the server that has the call cannot be reached"}
}

// serve does what a pane of any server asks of a call that this one has. What
// goes to that pane alone is given to answer. The caller holds mu, and runs what
// is returned after it has let go of it.
func (h *Hub) serve(q request, answer func(any)) (done func()) {
	done = func() {}
	listener := h.cfg.Listener
	c := h.calls[q.Call]
	if c != nil && c.info.Agent != q.agent {
		c = nil
	}
	if q.Type == "pause" || q.Type == "swap" {
		switch {
		case c == nil || c.ended != nil || listener == nil:
			answer(newProblem(problem{Code: "unknown_call", About: q.Type, Text: "no such running call of this agent"}))
		case q.Type == "pause":
			done = func() { listener.Pause(q.agent, q.Call, q.Paused) }
		default:
			done = func() { listener.Swap(q.agent, q.Call) }
		}
		return done
	}
	var k *card
	if c != nil {
		k = c.card(q.Card)
	}
	switch {
	case k == nil:
		answer(newProblem(problem{Code: "unknown_card", About: q.Type, Text: "no such card on a call of this agent"}))
	case q.Type == "ack" && !q.at.IsZero():
		r := h.paint(c, k, q)
		if listener != nil {
			done = func() { listener.Painted(r) }
		}
	case q.Type == "action" && (k.State == Withdrawn || k.State == q.Action):
		answer(cardState{"card_state", q.Call, q.Card, k.State})
	case q.Type == "action":
		k.State = q.Action
		h.toPanes(c, cardState{"card_state", q.Call, q.Card, k.State})
		if listener != nil {
			a := Acted{Agent: q.agent, Card: k.Card, State: k.State, At: q.at}
			done = func() { listener.Acted(a) }
		}
	}
	return done
}

// paint notes that a pane shows a card.
func (h *Hub) paint(c *call, k *card, q request) Painted {
	r := Painted{Agent: q.agent, Card: k.Card, At: q.at, RTT: q.rtt, First: !k.Painted}
	r.Latency, r.FromWords = c.latency(&k.Card, r.At)
	if r.First {
		k.Painted, k.paintedAt, k.latency = true, r.At, r.Latency
	}
	return r
}

// query is a search under way; ctx ends when a later one replaces it.
type query struct {
	inbound
	ctx context.Context
}

// search hands a query to the searcher; it replaces one that waits and ends
// one that runs. Only the reader calls it, so the send never waits.
func (p *pane) search(m inbound) {
	if p.hub.cfg.Searcher == nil {
		p.answer(problem{Code: "search_off", About: m.Type, ID: m.ID, Text: "this server has no knowledge base to search"})
		return
	}
	if p.stopSearch != nil {
		p.stopSearch()
	}
	select {
	case <-p.searches:
	default:
	}
	ctx, cancel := context.WithCancel(p.ctx)
	p.stopSearch = cancel
	p.searches <- query{m, ctx}
}

// searchAll runs one query at a time until the pane ends.
func (p *pane) searchAll() {
	for {
		select {
		case <-p.ctx.Done():
			return
		case q := <-p.searches:
			p.searchOne(q)
		}
	}
}

func (p *pane) searchOne(q query) {
	ctx, cancel := context.WithTimeout(q.ctx, p.hub.cfg.SearchTimeout)
	defer cancel()
	rs, err := p.hub.cfg.Searcher.Search(ctx, Query{Agent: p.agent, Text: q.Text, Language: q.Language})
	switch {
	case q.ctx.Err() != nil:
		// A later query or the end of the pane: nobody waits for this answer.
	case err != nil:
		p.hub.cfg.Log.Error("push: search", "err", err)
		p.answer(problem{Code: "search_failed", About: q.Type, ID: q.ID, Text: "the search failed; try again"})
	default:
		if rs == nil {
			rs = []Result{}
		}
		p.send(searchResults{"search_results", q.ID, rs})
	}
}
