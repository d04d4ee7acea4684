package app

import (
	"slices"

	"sidetone/asr"
	"sidetone/guidance/speaker"
	"sidetone/media"
	"sidetone/media/roles"
)

// weigh lets the words of a final speak for or against the roles. The caller
// holds mu.
func (c *call) weigh(l *leg, h *asr.Hypothesis) {
	if !l.ear.Hear(h) || l.ended || c.rec.Ended != nil {
		return
	}
	var running []*leg
	var all []speaker.Evidence
	for _, o := range c.legs {
		if o.ended {
			continue
		}
		if o.info.Load().Mixed {
			return
		}
		running, all = append(running, o), append(all, o.ear.Evidence())
	}
	if len(running) == 1 && len(c.legs) > 1 {
		// The call is about to end: its roles stay.
		return
	}
	changed := false
	for i, v := range speaker.Judge(all) {
		o := running[i]
		if v.Role == "" && o.verdict.Stands(all[i]) {
			continue
		}
		changed = changed || v != o.verdict
		o.verdict = v
	}
	if changed {
		c.reconsider()
	}
}

// reconsider decides again; once somebody has chosen roles by hand, the call
// stays on its pane. The caller holds mu.
func (c *call) reconsider() {
	named := c.named
	c.named = named || slices.ContainsFunc(c.legs, func(l *leg) bool { return l.fixed })
	c.decide()
	c.named = named
}

// speaks is for whom the words on the leg speak.
func (l *leg) speaks() roles.Heard {
	role := media.RoleUnknown
	switch l.verdict.Role {
	case speaker.Agent:
		role = media.RoleAgent
	case speaker.Customer:
		role = media.RoleCustomer
	}
	words := l.verdict.Words
	if l.verdict.Other {
		words = "on the other leg, " + words
	}
	return roles.Heard{Role: role, Words: words}
}

// dispute notes whether the words on the leg speak against its role. The log
// does not tell them. The caller holds mu.
func (l *leg) dispute(is bool, d roles.Decision) {
	if is && !l.disputed {
		l.log().Warn("what is said on the leg speaks against its role", "role", d.Role, "by", d.Rank)
	}
	l.disputed = is
}

// suggest puts on the pane that two legs may be swapped, where the words on
// them say so, or the voices, and nobody has chosen by hand.
func suggest(running []*leg, disputed, crossed bool) {
	swappable := (disputed || crossed) && len(running) == 2 && !running[0].fixed && !running[1].fixed
	if swappable {
		a, b := running[0].role(), running[1].role()
		swappable = a == media.RoleAgent && b == media.RoleCustomer || a == media.RoleCustomer && b == media.RoleAgent
	}
	for _, l := range running {
		l.doubt, l.voiceDoubt = "", swappable && crossed && l.role() == media.RoleCustomer
		if swappable && l.disputed && !l.verdict.Other {
			l.doubt = l.verdict.Words
		}
	}
}
