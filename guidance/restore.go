package guidance

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sidetone/asr"
)

// Past is what is known of a call whose session was lost, with the server that
// had it.
type Past struct {
	// Said are the finals, in the order in which they were heard.
	Said []PastFinal
	// Cards are those that were shown, in that order.
	Cards []PastCard
}

// PastFinal is one final of a Past.
type PastFinal struct {
	Leg Leg
	asr.Hypothesis
	// At is when it was heard.
	At time.Time
}

// PastCard is a card of a Past.
type PastCard struct {
	Card
	// Live says that it still stands on the pane, Wrong that the agent called it
	// wrong.
	Live, Wrong bool
}

// Resume begins a session that goes on where another one was lost. What was said
// is known to it, and no card comes for it again; cards that stand may still be
// answered, and leave when their time is over.
func Resume(c Config, p Past) (*Session, error) {
	s, err := New(c)
	if err != nil {
		return nil, err
	}
	for i := range p.Said {
		h := &p.Said[i]
		s.Hear(h.Leg, h.Hypothesis, h.At)
	}
	// The finals alone may bring other cards than the partials did: what was shown
	// is what counts.
	s.live, s.recent, s.counts = nil, nil, Counts{}
	clear(s.last)
	for i := range p.Cards {
		k := &p.Cards[i]
		s.counts.Shown++
		s.recent = append(s.recent, k.Born)
		s.last[k.Key] = k.Born
		if n, err := strconv.Atoi(k.ID[strings.LastIndexByte(k.ID, '-')+1:]); err == nil {
			s.serial = max(s.serial, n)
		}
		at := slices.IndexFunc(c.Playbook.Rules, func(r Rule) bool { return r.ID == k.Why.Rule })
		if at < 0 {
			// The playbook is another one now.
			continue
		}
		rule := &c.Playbook.Rules[at]
		if k.Wrong {
			s.muted[rule.ID] = true
		}
		if k.Live {
			st := &standing{Card: k.Card, rule: rule, sure: true, cause: cause{intent: k.Why.Intent, said: k.Why.Words}}
			if len(k.Why.Words) > 0 {
				last := k.Why.Words[len(k.Why.Words)-1]
				st.cause.where = where{last.Leg, last.Utterance}
			}
			s.live = append(s.live, st)
		}
	}
	slices.SortStableFunc(s.recent, func(a, b time.Time) int { return cmp.Compare(a.UnixNano(), b.UnixNano()) })
	return s, nil
}
