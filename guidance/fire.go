package guidance

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// fire shows a rule's card if nothing speaks against it.
func (s *Session) fire(ev []Event, r *Rule, why cause, now time.Time) []Event {
	if s.muted[r.ID] || len(r.Stages) > 0 && !slices.Contains(r.Stages, s.stage) {
		return ev
	}
	said := func(in string) bool { _, ok := s.heard[in]; return ok }
	unsaid := func(in string) bool { return !said(in) }
	if slices.ContainsFunc(r.When.Said, unsaid) || slices.ContainsFunc(r.When.NotSaid, said) ||
		slices.ContainsFunc(r.When.Unless, func(in string) bool { return s.heardLately(in, now) }) {
		return ev
	}
	if last, ok := s.last[r.Card.Key]; ok && (now.Before(last.Add(r.Card.Cooldown)) || s.stands(r.Card.Key)) {
		s.counts.Repeated++
		return ev
	}
	card, ok := s.write(r, now)
	if !ok {
		s.counts.Unknown++
		return ev
	}
	card.Why = s.reason(r, &why, card.Why)
	ev, ok = s.spend(ev, &card, now)
	if !ok {
		s.counts.OverBudget++
		return ev
	}
	s.serial++
	s.counts.Shown++
	card.ID = fmt.Sprintf("%s-%d", s.c.Call, s.serial)
	s.last[card.Key] = now
	st := &standing{Card: card, rule: r, cause: why, sure: why.leg == "" || s.isFinal(&why)}
	s.live = append(s.live, st)
	return append(ev, Event{Kind: CardShown, Card: &st.Card})
}

func (s *Session) isFinal(c *cause) bool {
	l := s.legs[c.leg]
	return l != nil && (l.utterance > c.utterance || l.final)
}

func (s *Session) stands(key string) bool {
	return slices.ContainsFunc(s.live, func(c *standing) bool { return c.Key == key })
}

// write fills the card with words; only Why.Element and Why.Version of its
// reason are known here.
func (s *Session) write(r *Rule, now time.Time) (Card, bool) {
	t := &r.Card
	c := Card{
		Call: s.c.Call, Kind: t.Kind, Priority: t.Priority, Key: t.Key,
		Born: now, Expires: now.Add(t.Expires),
	}
	if t.Element == "" {
		lang := s.c.Language
		if _, ok := t.Text[lang]; !ok && len(t.Text) > 0 {
			lang = slices.Min(slices.Collect(maps.Keys(t.Text)))
		}
		text, ok := t.Text[lang]
		c.Language, c.Title, c.Body, c.Steps = lang, text.Title, text.Body, text.Steps
		return c, ok
	}
	p, ok := s.c.Knowledge.Passage(t.Element, s.c.Language, now)
	if !ok && t.Search != "" {
		p, ok = s.c.Knowledge.Find(t.Search, s.c.Language, now)
		c.Why.Note = fmt.Sprintf("found by searching for %q", t.Search)
	}
	c.Language, c.Title, c.Body, c.Steps = p.Language, p.Title, p.Body, p.Steps
	c.Why.Element, c.Why.Version = p.Element, p.Version
	return c, ok
}

func (s *Session) reason(r *Rule, c *cause, why Why) Why {
	why.Rule, why.Intent, why.Words = r.ID, c.intent, c.said
	if len(r.When.NotSaid) > 0 {
		note := "not said: " + strings.Join(r.When.NotSaid, ", ")
		if r.When.By > 0 {
			after := "the call began"
			if c.intent != "" {
				after = c.intent
			}
			note += fmt.Sprintf(" (%s after %s)", r.When.By, after)
		}
		if why.Note != "" {
			note += "; " + why.Note
		}
		why.Note = note
	}
	return why
}

// spend asks for the agent's attention.
func (s *Session) spend(ev []Event, c *Card, now time.Time) ([]Event, bool) {
	b := &s.c.Budget
	urgent := c.Priority >= b.Urgent
	s.recent = slices.DeleteFunc(s.recent, func(t time.Time) bool { return now.Sub(t) >= time.Minute })
	if !urgent && (len(s.recent) >= b.PerMinute || s.counts.Shown >= b.PerCall) {
		return ev, false
	}
	if len(s.live) >= b.Live {
		least := slices.MinFunc(s.live, func(a, b *standing) int {
			// Those that have been read go first.
			return cmp.Or(rank(s.read(b, now))-rank(s.read(a, now)), a.Priority-b.Priority, a.Born.Compare(b.Born))
		})
		if least.Priority >= c.Priority && !urgent && !s.read(least, now) {
			return ev, false
		}
		ev = s.withdraw(ev, Displaced, func(c *standing) bool { return c == least })
	}
	s.recent = append(s.recent, now)
	return ev, true
}

// read says whether a card has stood so long that the agent has had their look
// at it. Urgent cards stay as long as they live.
func (s *Session) read(c *standing, now time.Time) bool {
	return c.Priority < s.c.Budget.Urgent && now.Sub(c.Born) >= settled
}

func rank(first bool) int {
	if first {
		return 1
	}
	return 0
}
