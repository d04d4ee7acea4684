package push

import (
	"slices"
	"time"
)

// outlet is what other servers are told of an agent's calls here.
type outlet struct {
	agent string
	// seq is the number of the last delta; watchers are told until they expire,
	// the fresh ones get a snapshot first.
	seq      uint64
	watchers map[string]time.Time
	fresh    []string
	backlog  backlog
	queued   bool // among network.ready
}

type delta struct {
	seq uint64
	m   any
}

func (o *outlet) idle() bool { return len(o.fresh) == 0 && o.backlog.empty() }

// tell lets the watchers of an outlet have a message. When too many wait, they
// get a snapshot instead.
func (n *network) tell(o *outlet, m any) {
	o.seq++
	if !o.backlog.push(delta{o.seq, m}, outletQueue) {
		n.renew(o)
		return
	}
	n.queue(o)
}

// renew lets all watchers have a snapshot in the place of what waits.
func (n *network) renew(o *outlet) {
	o.seq++
	o.backlog.clear()
	o.fresh = nil
	for node := range o.watchers {
		o.fresh = append(o.fresh, node)
	}
	n.queue(o)
}

// say is tell for an utterance.
func (n *network) say(o *outlet, u utterance) {
	o.backlog.partial(u)
	if u.Final {
		n.tell(o, u)
		return
	}
	n.queue(o)
}

func (n *network) queue(o *outlet) {
	if !o.queued {
		o.queued = true
		n.ready = append(n.ready, o)
		n.poke()
	}
}

// take takes what an outlet has to publish next: a snapshot for those who have
// none, or a message for all.
func (n *network) take(o *outlet) (e envelope, to []string, m any) {
	e = envelope{Kind: "delta", Agent: o.agent}
	if len(o.fresh) > 0 {
		n.lastID++
		e.Kind, e.Seq, e.ID, to = "part", o.seq, n.lastID, o.fresh
		o.fresh = nil
		s := snapshot{Type: "snapshot", Calls: []callView{}}
		if r := n.hub.rooms[o.agent]; r != nil {
			for _, c := range r.calls {
				s.Calls = append(s.Calls, c.view())
			}
		}
		return e, to, s
	}
	m = o.backlog.pop()
	if d, ok := m.(delta); ok {
		e.Seq, m = d.seq, d.m
	}
	for node := range o.watchers {
		to = append(to, node)
	}
	return e, to, m
}

// admit notes that a peer watches an agent here.
func (n *network) admit(p *peer, agent string, fresh bool, now time.Time) {
	r := n.hub.rooms[agent]
	if r == nil || r.out == nil || r.out.watchers[p.node].IsZero() {
		if p.watched == maxWatched {
			return
		}
		p.watched++
		fresh = true
		r = n.hub.room(agent)
		if r.out == nil {
			r.out = &outlet{agent: agent, seq: n.lastSeq, watchers: map[string]time.Time{}}
		}
	}
	o := r.out
	o.watchers[p.node] = now.Add(watchBeats * n.hub.cfg.Beat)
	if fresh && !slices.Contains(o.fresh, p.node) {
		o.fresh = append(o.fresh, p.node)
		n.queue(o)
	}
}

// dismiss is the end of admit.
func (n *network) dismiss(node, agent string) {
	r := n.hub.rooms[agent]
	if r == nil || r.out == nil || r.out.watchers[node].IsZero() {
		return
	}
	delete(r.out.watchers, node)
	r.out.fresh = slices.DeleteFunc(r.out.fresh, func(o string) bool { return o == node })
	if p := n.peers[node]; p != nil {
		p.watched--
	}
	if len(r.out.watchers) == 0 {
		// An outlet that comes later counts on, so that nobody takes its deltas for
		// old ones.
		n.lastSeq = max(n.lastSeq, r.out.seq)
		r.out.backlog.clear()
		r.out = nil
		n.hub.sweep(agent)
	}
}

func (n *network) expire(agent string, r *room, now time.Time) {
	if r.out == nil {
		return
	}
	for node, until := range r.out.watchers {
		if now.After(until) {
			n.dismiss(node, agent)
			if r.out == nil {
				return
			}
		}
	}
}
