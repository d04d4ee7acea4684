package push

import (
	"slices"
	"time"

	"sidetone/guidance"
)

// call is what the hub keeps of a call, guarded by Hub.mu.
type call struct {
	info Call
	// feed is where a call of another server comes from, nil for one of ours.
	feed *feed
	// began is info.Started by the clock of the server that has the call.
	began time.Time
	// hidden is set while the agent's panes are shown another in its place.
	hidden  bool
	ended   *ending
	earlier int
	// utterances are in the order of their first revision. A withdrawn one
	// stays as a final without words, so that a late partial cannot revive it.
	utterances []Utterance
	cards      []*card
}

// card is a card with what became of it.
type card struct {
	cardView
	paintedAt time.Time
	latency   time.Duration
}

// put takes an utterance and reports whether it brought news.
func (c *call) put(u Utterance, limit int) bool {
	for i := len(c.utterances) - 1; i >= 0; i-- {
		old := &c.utterances[i]
		if old.Leg != u.Leg || old.No != u.No {
			continue
		}
		if old.Final || !u.Final && u.Revision <= old.Revision {
			return false
		}
		*old = u
		return true
	}
	if len(c.utterances) == limit {
		c.utterances = slices.Delete(c.utterances, 0, 1)
		c.earlier++
	}
	c.utterances = append(c.utterances, u)
	return true
}

func (c *call) card(id string) *card {
	for _, k := range c.cards {
		if k.Card.ID == id {
			return k
		}
	}
	return nil
}

// addCard reports whether the card is new. Over the limit the oldest card that
// is no longer live goes, or else the oldest.
func (c *call) addCard(g guidance.Card, limit int) bool {
	if c.card(g.ID) != nil {
		return false
	}
	if len(c.cards) == limit {
		i := slices.IndexFunc(c.cards, func(k *card) bool { return k.State != Live })
		c.cards = slices.Delete(c.cards, max(i, 0), max(i, 0)+1)
	}
	c.cards = append(c.cards, &card{cardView: cardView{Card: g, State: Live}})
	return true
}

// setLeg adds a leg or replaces the one with the same ID. The slice is never
// changed in place: messages on their way to panes share it.
func (c *call) setLeg(l Leg) {
	for i := range c.utterances {
		if u := &c.utterances[i]; u.Leg == l.ID {
			u.Role = l.Role
		}
	}
	legs := slices.Clone(c.info.Legs)
	if i := slices.IndexFunc(legs, func(o Leg) bool { return o.ID == l.ID }); i >= 0 {
		legs[i] = l
	} else {
		legs = append(legs, l)
	}
	c.info.Legs = legs
}

// view copies the call for a snapshot.
func (c *call) view() callView {
	v := callView{
		Call: c.info, Ended: c.ended, Earlier: c.earlier,
		Utterances: make([]Utterance, 0, len(c.utterances)),
		Cards:      make([]cardView, 0, len(c.cards)),
	}
	for _, u := range c.utterances {
		if len(u.Words) > 0 {
			v.Utterances = append(v.Utterances, u)
		}
	}
	for _, k := range c.cards {
		v.Cards = append(v.Cards, k.cardView)
	}
	return v
}

// latency is the time from the end of the last triggering word to at. Without
// such words it counts from the card's birth and words is false.
func (c *call) latency(g *guidance.Card, at time.Time) (d time.Duration, words bool) {
	if len(g.Why.Words) == 0 {
		return at.Sub(g.Born), false
	}
	var end int64
	for _, w := range g.Why.Words {
		end = max(end, w.EndMS)
	}
	return at.Sub(c.info.Started.Add(time.Duration(end) * time.Millisecond)), true
}
