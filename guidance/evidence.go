package guidance

import (
	"slices"
	"time"
)

// remember keeps an utterance's evidence for an intent, once.
func (s *Session) remember(l *leg, f *found, now time.Time) {
	ps := slices.DeleteFunc(s.evidence[f.intent], func(p piece) bool {
		return p.where == l.at() || now.Sub(p.at) > memory
	})
	s.evidence[f.intent] = append(ps, piece{l.at(), f.score, f.said, now})
	if b, _ := s.belief(f.intent); b < sure {
		return
	}
	if _, ok := s.heard[f.intent]; !ok {
		s.heard[f.intent] = l.at()
	}
	if st, ok := s.stages[f.intent]; ok {
		s.stage = st
	}
}

func (s *Session) forget(l *leg, intent string) {
	s.evidence[intent] = slices.DeleteFunc(s.evidence[intent], func(p piece) bool { return p.where == l.at() })
	if s.heard[intent] == l.at() {
		delete(s.heard, intent)
	}
}

// belief joins the evidence as independent witnesses: one minus the chance that
// all of them err.
func (s *Session) belief(intent string) (b float64, said []Said) {
	doubt := 1.0
	for _, p := range s.evidence[intent] {
		doubt *= 1 - p.score
		said = append(said, p.said...)
	}
	return 1 - doubt, said
}

// understand acts on an intent.
func (s *Session) understand(ev []Event, l *leg, f *found, now time.Time) []Event {
	belief, said := s.belief(f.intent)
	if f.score >= sure {
		said = f.said
	}
	why := cause{l.at(), f.intent, said}
	if belief >= sure {
		ev = s.withdraw(ev, Fulfilled, func(c *standing) bool { return slices.Contains(c.rule.When.NotSaid, f.intent) })
		ev = s.withdraw(ev, Overruled, func(c *standing) bool {
			return slices.Contains(c.rule.When.Unless, f.intent) && now.Sub(c.Born) <= Breath
		})
	}
	for _, r := range s.rules[f.intent] {
		if belief < r.When.Score {
			continue
		}
		if r.When.By == 0 {
			ev = s.fire(ev, r, why, now)
		} else if !slices.ContainsFunc(s.waiting, func(w wait) bool { return w.rule == r }) {
			s.waiting = append(s.waiting, wait{r, why, now.Add(r.When.By)})
		}
	}
	return ev
}

// heardLately says whether an intent was heard for sure within a breath.
func (s *Session) heardLately(intent string, now time.Time) bool {
	b, _ := s.belief(intent)
	return b >= sure && slices.ContainsFunc(s.evidence[intent], func(p piece) bool { return now.Sub(p.at) <= Breath })
}
