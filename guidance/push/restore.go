package push

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// CallState is a call as it stood when its server was lost.
type CallState struct {
	Call
	// Ended is nil while the call runs.
	Ended *Ended
	// Utterances are the finals, in the order of their first revision; Earlier
	// counts those before them that are not told.
	Utterances []Utterance
	Earlier    int
	// Cards are in the order in which they came.
	Cards []CardRecord
}

// Ended is how a call ended.
type Ended struct {
	At            time.Time
	State, Reason string
}

// Restore puts a call back after a restart, or takes one on that another server
// has had: Call.Taken is then higher than it was there. Panes get a snapshot, in
// which nothing is missing and nothing stands twice. It goes on as any other; Away
// says that its audio has not come back yet. New utterances need numbers that the
// restored ones of their leg do not have. It fails as CallStarted does.
func (h *Hub) Restore(s CallState) error {
	if s.ID == "" || s.Agent == "" {
		return fmt.Errorf("push: call %q of agent %q needs both names", s.ID, s.Agent)
	}
	c := &call{info: s.Call, began: s.Started, earlier: s.Earlier}
	c.info.Node = h.cfg.Node
	c.info.Legs = append([]Leg{}, s.Legs...)
	for _, u := range s.Utterances {
		if u.Final = true; len(u.Words) > 0 {
			u.Words, u.Stable = slices.Clone(u.Words), len(u.Words)
			c.put(u, h.cfg.History)
		}
	}
	for _, k := range s.Cards {
		if c.addCard(k.Card, h.cfg.Cards) {
			n := c.cards[len(c.cards)-1]
			n.State, n.Reason, n.Painted = k.State, k.Reason, !k.Painted.IsZero()
			n.paintedAt, n.latency = k.Painted, k.Latency
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errors.New("push: the hub is closed")
	}
	if old := h.calls[s.ID]; old != nil && old.ended == nil {
		return fmt.Errorf("push: call %q is already running", s.ID)
	}
	h.forget(s.ID)
	r := h.room(s.Agent)
	r.calls = append(r.calls, c)
	h.calls[s.ID] = c
	if s.Ended != nil {
		c.ended = &ending{s.Ended.At, s.Ended.State, s.Ended.Reason}
		h.keepEnded(s.ID)
	}
	slices.SortStableFunc(r.calls, func(a, b *call) int { return a.began.Compare(b.began) })
	r.rank()
	h.resync(r)
	if r.out != nil {
		h.net.renew(r.out)
	}
	return nil
}
