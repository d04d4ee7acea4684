// Package speaker judges from the first words on a call's legs who is the agent
// and who the customer: agents greet with the company's name and ask how they
// can help, customers say what they want.
//
// The phrases come from the playbook, in groups of one meaning each. A group
// counts once for a leg, with the greatest weight of its phrases that were
// heard, however often they were: people repeat themselves. Words that belong
// to two groups count for the weightier. A leg's score is the sum of the agent's groups less that of the customer's. A verdict is
// rare rather than wrong: both legs must speak for it, or one very clearly and
// the other not against it.
package speaker

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"sidetone/asr"
	"sidetone/guidance"
)

// The roles that a verdict names.
const (
	Agent    = "agent"
	Customer = "customer"
)

const (
	// Window is how many finals of a leg count: later on, agents read out what
	// customers want, and customers say how they can help themselves.
	Window = 8
	// both is the score from which a leg speaks for a role when the other leg
	// speaks for the other; alone is the score that is enough by itself.
	both  = 0.5
	alone = 1.0
	// quoted is how many phrases a verdict quotes.
	quoted = 3
)

// Group is the intent under which a set of phrases reports a group of a role.
func Group(role, name string) string { return role + ":" + name }

// Ear weighs what is said on one leg. It is used by one goroutine at a time.
type Ear struct {
	listener guidance.Listener
	finals   int
	proofs   []Proof
}

// Proof is one group that was heard.
type Proof struct {
	// Role is whom it speaks for, Group its name, Words what was said.
	Role, Group, Words string
	// Weight is above 0 and at most 1.
	Weight float64
}

// NewEar returns an ear for the phrases of a playbook (guidance.Playbook.Speakers).
func NewEar(phrases guidance.Spotter) *Ear {
	return &Ear{listener: phrases.Listen("unknown")}
}

// Hear takes a final of the leg and says whether it tells anything new.
// Partials, finals without words and what comes after the first Window finals
// do not count.
func (e *Ear) Hear(h *asr.Hypothesis) bool {
	if !h.Final || len(h.Words) == 0 || e.finals >= Window {
		return false
	}
	e.finals++
	news := false
	mentions := slices.Clone(e.listener.Hear(h))
	slices.SortStableFunc(mentions, func(a, b guidance.Mention) int { return cmp.Compare(b.Score, a.Score) })
	var used []guidance.Ref
	for _, m := range mentions {
		if slices.ContainsFunc(m.Words, func(r guidance.Ref) bool { return slices.Contains(used, r) }) {
			continue
		}
		used = append(used, m.Words...)
		role, group, _ := strings.Cut(m.Intent, ":")
		p := Proof{Role: role, Group: group, Words: words(m.Words), Weight: m.Score}
		i := slices.IndexFunc(e.proofs, func(o Proof) bool { return o.Role == role && o.Group == group })
		switch {
		case i < 0:
			e.proofs = append(e.proofs, p)
		case e.proofs[i].Weight < p.Weight:
			e.proofs[i] = p
		default:
			continue
		}
		news = true
	}
	return news
}

func words(refs []guidance.Ref) string {
	all := make([]string, len(refs))
	for i, r := range refs {
		all[i] = r.Text
	}
	return strings.Join(all, " ")
}

// Evidence is what was heard so far.
func (e *Ear) Evidence() Evidence {
	out := Evidence{Finals: e.finals, Proofs: slices.Clone(e.proofs)}
	slices.SortStableFunc(out.Proofs, func(a, b Proof) int { return cmp.Compare(b.Weight, a.Weight) })
	for _, p := range out.Proofs {
		if p.Role == Agent {
			out.Score += p.Weight
		} else {
			out.Score -= p.Weight
		}
	}
	return out
}

// Evidence is what a leg's words say of who speaks.
type Evidence struct {
	// Finals is how many were weighed.
	Finals int
	// Score is above 0 for the agent and below for the customer.
	Score float64
	// Proofs are the groups heard, the weightiest first.
	Proofs []Proof
}

// Verdict is a role and why, or empty: nothing is clear.
type Verdict struct {
	Role string
	// Words are quotations of what proves it, from the leg itself or, with
	// Other, from the other one.
	Words string
	Other bool
}

// Stands says whether a verdict may stay when a later one is empty: what the
// leg says does not speak for the other role.
func (v Verdict) Stands(e Evidence) bool {
	return v.Role != "" && roleOf(e.Score, 0) != other(v.Role)
}

// Judge gives a verdict on each of the legs that are heard at the same time. In
// a call of two it is on both or on none.
func Judge(legs []Evidence) []Verdict {
	out := make([]Verdict, len(legs))
	if len(legs) != 2 {
		for i, l := range legs {
			out[i] = verdict(l, roleOf(l.Score, alone))
		}
		return out
	}
	a, b := legs[0].Score, legs[1].Score
	role := roleOf(a, both)
	switch {
	case role != "" && roleOf(b, both) == other(role):
	case role != "" && roleOf(a, alone) == role && roleOf(b, 0) != role:
	case roleOf(b, alone) != "" && roleOf(a, 0) != roleOf(b, alone):
		role = other(roleOf(b, alone))
	default:
		return out
	}
	for i, r := range []string{role, other(role)} {
		out[i] = verdict(legs[i], r)
		if out[i].Words == "" {
			out[i].Words, out[i].Other = verdict(legs[1-i], other(r)).Words, true
		}
	}
	return out
}

// roleOf is the role for which a score beyond a limit speaks.
func roleOf(score, limit float64) string {
	switch {
	case score >= limit && score > 0:
		return Agent
	case score <= -limit && score < 0:
		return Customer
	}
	return ""
}

func other(role string) string {
	if role == Agent {
		return Customer
	}
	return Agent
}

func verdict(l Evidence, role string) Verdict {
	if role == "" {
		return Verdict{}
	}
	var said []string
	for _, p := range l.Proofs {
		if p.Role == role && len(said) < quoted {
			said = append(said, fmt.Sprintf("“%s”", p.Words))
		}
	}
	return Verdict{Role: role, Words: strings.Join(said, ", ")}
}
