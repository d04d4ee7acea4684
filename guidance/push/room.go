package push

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// room is one agent's calls and panes, guarded by Hub.mu.
type room struct {
	calls  []*call
	places int // as Hub.places
	panes  map[*pane]struct{}
	// What other servers know of the agent's calls, by their name, and what they
	// want to know; nil where there are none.
	feeds map[string]*feed
	out   *outlet
	// claims are the best claims to calls that were seen. since is when the first
	// pane came; gathering says that panes were told that calls may be missing.
	claims    map[string]claim
	since     time.Time
	gathering bool
}

// all are the agent's calls on every server, the oldest first.
func (r *room) all() []*call {
	if len(r.feeds) == 0 {
		return r.calls
	}
	all := slices.Clone(r.calls)
	for _, f := range r.feeds {
		all = append(all, f.calls...)
	}
	slices.SortFunc(all, func(a, b *call) int {
		return cmp.Or(a.info.Started.Compare(b.info.Started), cmp.Compare(a.info.ID, b.info.ID), cmp.Compare(a.info.Node, b.info.Node))
	})
	return all
}

// visible is the call of this name that the agent's panes are shown.
func (r *room) visible(id string) *call {
	for _, c := range r.calls {
		if c.info.ID == id && !c.hidden {
			return c
		}
	}
	for _, f := range r.feeds {
		for _, c := range f.calls {
			if c.info.ID == id && !c.hidden {
				return c
			}
		}
	}
	return nil
}

func (r *room) feed(node string) *feed {
	f := r.feeds[node]
	if f == nil {
		f = &feed{node: node}
		r.feeds[node] = f
	}
	return f
}

// rank decides which calls are shown where servers claim the same one, and
// reports whether that has changed.
func (r *room) rank() (changed bool) {
	if r.claims == nil {
		return false
	}
	all := r.all()
	for _, c := range all {
		if old, known := r.claims[c.info.ID]; !known || c.claim().beats(old) {
			r.claims[c.info.ID] = c.claim()
		}
	}
	for _, c := range all {
		best := r.claims[c.info.ID]
		hidden := best.began.Equal(c.claim().began) && best.taken > c.info.Taken
		for _, o := range all {
			hidden = hidden || o != c && (o.replaces(c) || c.ended != nil && o.info.Started.After(c.ended.At))
		}
		changed = changed || hidden != c.hidden
		c.hidden = hidden
	}
	if len(r.claims) > maxClaims {
		maps.DeleteFunc(r.claims, func(id string, _ claim) bool {
			return !slices.ContainsFunc(all, func(c *call) bool { return c.info.ID == id })
		})
	}
	return changed
}

// claim is a server's claim to a call.
type claim struct {
	began time.Time
	taken uint64
}

// claim is that of the call's server. JSON and the journal may have rounded the
// time.
func (c *call) claim() claim { return claim{c.began.Round(time.Millisecond), c.info.Taken} }

func (a claim) beats(b claim) bool {
	return cmp.Or(a.began.Compare(b.began), cmp.Compare(a.taken, b.taken)) > 0
}

// replaces says whether c is shown in the place of o: of two calls with one name
// the one that runs, or the later one; of two servers with one call the one that
// took it on last.
func (c *call) replaces(o *call) bool {
	if c.info.ID != o.info.ID {
		return false
	}
	a, b := c.claim(), o.claim()
	if !a.began.Equal(b.began) {
		if (c.ended == nil) != (o.ended == nil) {
			return c.ended == nil
		}
		return a.began.After(b.began)
	}
	if a.taken != b.taken {
		return a.taken > b.taken
	}
	if (c.info.Away == AwayServer) != (o.info.Away == AwayServer) {
		return o.info.Away == AwayServer
	}
	return c.info.Node < o.info.Node
}

// show sends a message about a call to the room's panes.
func (r *room) show(c *call, m any) {
	if c.hidden {
		return
	}
	for p := range r.panes {
		p.send(m)
	}
}

// hear is show for an utterance.
func (r *room) hear(c *call, u utterance) {
	if c.hidden {
		return
	}
	for p := range r.panes {
		p.utterance(u)
	}
}

// resync sends a snapshot to the room's panes.
func (h *Hub) resync(r *room) {
	s := h.snapshot(r)
	r.gathering = s.Gathering
	for p := range r.panes {
		p.renew(s)
	}
}
