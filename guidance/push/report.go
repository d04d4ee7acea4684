package push

import (
	"context"
	"maps"
	"slices"
	"time"
)

// keepKnown drops the ids of calls that the hub does not keep.
func (h *Hub) keepKnown(ids map[string]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(ids, func(id string, _ bool) bool { return h.calls[id] == nil })
}

// find returns a call of the agent and one of its cards. The caller holds mu.
func (h *Hub) find(agent string, m inbound) (*call, *card) {
	c := h.calls[m.Call]
	if c == nil || c.info.Agent != agent {
		return nil, nil
	}
	return c, c.card(m.Card)
}

// acknowledge works out when the card was painted and tells the listener. A
// second ack on one connection says nothing new.
func (p *pane) acknowledge(m inbound, now time.Time) {
	p.mu.Lock()
	key := cardKey{m.Call, m.Card}
	sent, fresh := p.sent[key]
	delete(p.sent, key)
	var rtt time.Duration
	if len(p.rtts) > 0 {
		rtt = slices.Min(p.rtts)
	}
	p.mu.Unlock()

	h := p.hub
	h.mu.Lock()
	c, k := h.find(p.agent, m)
	if k == nil {
		h.mu.Unlock()
		p.answer(problem{Code: "unknown_card", About: m.Type, Text: "no such card on a call of this agent"})
		return
	}
	if !fresh {
		h.mu.Unlock()
		return
	}
	r := Painted{
		Agent: p.agent, Card: k.Card, RTT: rtt, First: !k.Painted,
		At: paintedAt(sent, now, rtt, m.PaintedMS-m.ReceivedMS),
	}
	r.Latency, r.FromWords = c.latency(&k.Card, r.At)
	if r.First {
		k.Painted, k.paintedAt, k.latency = true, r.At, r.Latency
	}
	h.mu.Unlock()
	if h.cfg.Listener != nil {
		h.cfg.Listener.Painted(r)
	}
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

// act records a verdict, shows it on the agent's other panes and tells the
// listener. A verdict on a withdrawn card is answered with the card's state.
func (p *pane) act(m inbound, now time.Time) {
	h := p.hub
	h.mu.Lock()
	c, k := h.find(p.agent, m)
	if k == nil {
		h.mu.Unlock()
		p.answer(problem{Code: "unknown_card", About: m.Type, Text: "no such card on a call of this agent"})
		return
	}
	if k.State == Withdrawn || k.State == m.Action {
		p.send(cardState{"card_state", m.Call, m.Card, k.State})
		h.mu.Unlock()
		return
	}
	k.State = m.Action
	h.toPanes(c, cardState{"card_state", m.Call, m.Card, k.State})
	a := Acted{Agent: p.agent, Card: k.Card, State: k.State, At: now}
	h.mu.Unlock()
	if h.cfg.Listener != nil {
		h.cfg.Listener.Acted(a)
	}
}

// pause passes on that the agent wants to pause one of their calls.
func (p *pane) pause(m inbound) {
	if p.runs(m) {
		p.hub.cfg.Listener.Pause(p.agent, m.Call, m.Paused)
	}
}

// swap passes on that the parties of one of the agent's calls are swapped.
func (p *pane) swap(m inbound) {
	if p.runs(m) {
		p.hub.cfg.Listener.Swap(p.agent, m.Call)
	}
}

// runs says whether the message is about a running call of the agent's, and
// tells the pane if not.
func (p *pane) runs(m inbound) bool {
	h := p.hub
	h.mu.Lock()
	c := h.calls[m.Call]
	ours := c != nil && c.info.Agent == p.agent && c.ended == nil
	h.mu.Unlock()
	if !ours || h.cfg.Listener == nil {
		p.answer(problem{Code: "unknown_call", About: m.Type, Text: "no such running call of this agent"})
		return false
	}
	return true
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
		p.hub.cfg.Log.Error("push: search", "agent", p.agent, "err", err)
		p.answer(problem{Code: "search_failed", About: q.Type, ID: q.ID, Text: "the search failed; try again"})
	default:
		if rs == nil {
			rs = []Result{}
		}
		p.send(searchResults{"search_results", q.ID, rs})
	}
}
