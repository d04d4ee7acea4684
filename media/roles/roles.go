// Package roles decides which leg of a call is the agent's and which is the
// customer's, from what is known of the legs, and says why.
//
// Evidence has ranks. What the installation has configured comes first, since
// only its operator can know who has which numbers; then what the source's
// protocol says of the leg; then who called whom; then that there is nobody else
// left; then the order of the legs; last what is said on them. The strongest evidence decides. What
// disagrees with it is reported, since one of the two is wrong.
package roles

import (
	"fmt"
	"strings"

	"sidetone/media"
)

// Rank is how strong evidence is.
type Rank uint8

// The ranks, from none to the strongest.
const (
	// None: nothing tells.
	None Rank = iota
	// Said: what is said on the leg.
	Said
	// Order: the leg's place among the others.
	Order
	// Elimination: all others have the other role.
	Elimination
	// Direction: whether the party called or was called, and which side called.
	Direction
	// Told: the source says so, or whoever announced the leg.
	Told
	// Label: the configuration knows the stream's label.
	Label
	// Number: the configuration knows the party's address.
	Number
)

// String is the rank's name in APIs and logs.
func (r Rank) String() string {
	switch r {
	case Said:
		return "words"
	case Order:
		return "order"
	case Elimination:
		return "elimination"
	case Direction:
		return "direction"
	case Told:
		return "told"
	case Label:
		return "label"
	case Number:
		return "address"
	default:
		return "none"
	}
}

// Decision is what is known of one leg's role.
type Decision struct {
	LegID string
	Role  media.Role
	// Reason says how the role is known, or why it is not; Rank how well.
	Reason string
	Rank   Rank
	// Conflicts say what speaks against the role.
	Conflicts []string
}

// evidence is one reason for a role.
type evidence struct {
	rank   Rank
	role   media.Role
	reason string
}

// Decide decides on the legs of a call, in their order, which is the one in
// which they came or stand in the source's description. Call it again whenever
// more is known: what Leg.Role holds must be what the source said, not an
// earlier decision.
func Decide(rules Rules, call media.Call, legs []media.Leg) []Decision {
	decisions := make([]Decision, len(legs))
	all := make([][]evidence, len(legs))
	for i, l := range legs {
		decisions[i].LegID = l.ID
		if l.Mixed {
			decisions[i].Reason = "more than one party is heard on it"
			continue
		}
		all[i] = rules.evidence(call, l)
		decisions[i].take(all[i])
	}
	eliminate(decisions, legs)
	for i := range legs {
		if e, ok := rules.byOrder(call, legs, i); ok {
			all[i] = append(all[i], e)
			decisions[i].take(all[i])
		}
	}
	for i := range decisions {
		decisions[i].compare(all[i])
	}
	sameRole(decisions, legs)
	return decisions
}

// evidence is what is known of a leg by itself.
func (r *Rules) evidence(call media.Call, l media.Leg) []evidence {
	var all []evidence
	if l.Identity != "" {
		p := parse(l.Identity)
		for i := range r.addresses {
			if a := &r.addresses[i]; a.fits(p) {
				all = append(all, evidence{Number, a.Role, fmt.Sprintf("address %.80q fits rule %d: %v", p.whole, i+1, a)})
				break
			}
		}
	}
	if role, ok := r.labels[strings.ToLower(strings.TrimSpace(l.Label))]; ok {
		all = append(all, evidence{Label, role, fmt.Sprintf("label %.80q is configured as the %v's", l.Label, role)})
	}
	if decided(l.Role) {
		reason := l.RoleReason
		if reason == "" {
			reason = "the source says so"
		}
		all = append(all, evidence{Told, l.Role, reason})
	}
	if role := roleOf(l.Party, call.Direction); decided(role) {
		all = append(all, evidence{Direction, role, fmt.Sprintf("%v of an %v call", l.Party, call.Direction)})
	}
	return all
}

// roleOf is the role of a party: in an inbound call the customer calls.
func roleOf(p media.Party, d media.Direction) media.Role {
	switch {
	case p == media.PartyUnknown || d == media.DirectionUnknown:
		return media.RoleUnknown
	case (p == media.Caller) == (d == media.Inbound):
		return media.RoleCustomer
	default:
		return media.RoleAgent
	}
}

// byOrder is what the leg's place says, in a call of two parties.
func (r *Rules) byOrder(call media.Call, legs []media.Leg, i int) (evidence, bool) {
	if r.first == media.PartyUnknown || len(legs) != 2 || legs[0].Mixed || legs[1].Mixed {
		return evidence{}, false
	}
	p, place := r.first, "first"
	if i == 1 {
		place = "second"
		if p = media.Called; r.first == media.Called {
			p = media.Caller
		}
	}
	role := roleOf(p, call.Direction)
	return evidence{Order, role, fmt.Sprintf("%s leg, so the %v of an %v call", place, p, call.Direction)}, decided(role)
}

// eliminate gives the one leg of which nothing is known the role that no other
// has.
func eliminate(decisions []Decision, legs []media.Leg) {
	open, other := -1, media.RoleUnknown
	for i, d := range decisions {
		switch {
		case legs[i].Mixed:
			return
		case decided(d.Role) && other != media.RoleUnknown && other != d.Role:
			return
		case decided(d.Role):
			other = d.Role
		case open >= 0:
			return
		default:
			open = i
		}
	}
	if open < 0 || other == media.RoleUnknown {
		return
	}
	role, rest := media.RoleCustomer, "the other leg is the agent's"
	if other == media.RoleCustomer {
		role, rest = media.RoleAgent, "the other leg is the customer's"
	}
	if len(legs) > 2 {
		rest = fmt.Sprintf("all %d other legs are of the role %v", len(legs)-1, other)
	}
	decisions[open].Role, decisions[open].Reason, decisions[open].Rank = role, rest, Elimination
}

// take decides by the strongest evidence, unless it is decided by stronger
// evidence already.
func (d *Decision) take(all []evidence) {
	for _, e := range all {
		if e.rank > d.Rank {
			d.Role, d.Reason, d.Rank = e.role, e.reason, e.rank
		}
	}
	if d.Rank == None {
		d.Reason = "nothing tells whose it is"
	}
}

// compare notes the evidence for another role.
func (d *Decision) compare(all []evidence) {
	for _, e := range all {
		if e.role != d.Role {
			d.Conflicts = append(d.Conflicts, fmt.Sprintf("%v by %v: %s", e.role, e.rank, e.reason))
		}
	}
}

// sameRole notes where both parties of a call have one role. That happens, as in
// a call between agents, but more often one of the two is wrong.
func sameRole(decisions []Decision, legs []media.Leg) {
	if len(legs) != 2 || !decided(decisions[0].Role) || decisions[0].Role != decisions[1].Role {
		return
	}
	for i := range decisions {
		o := decisions[1-i]
		decisions[i].Conflicts = append(decisions[i].Conflicts, fmt.Sprintf("leg %q is the %v's as well, by %v: %s", o.LegID, o.Role, o.Rank, o.Reason))
	}
}
