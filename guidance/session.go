package guidance

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"sidetone/asr"
	"sidetone/internal/pcm"
)

// Knowledge is what a session asks of a knowledge base.
type Knowledge interface {
	// Passage is an element in the language, or in another one where it is not
	// to be had.
	Passage(id, language string, now time.Time) (Passage, bool)
	// Find is the best answer to a few words.
	Find(text, language string, now time.Time) (Passage, bool)
}

// Passage is one piece of knowledge as a card shows it.
type Passage struct {
	Element  string
	Version  int
	Language string
	Title    string
	Body     string
	Steps    []string
}

// Budget bounds how often an agent is interrupted. A zero is the default.
type Budget struct {
	// PerMinute and PerCall bound the cards shown, 6 and 40 by default.
	PerMinute, PerCall int
	// Live is how many stand at once, 4 by default. A more important card takes
	// the place of the least important one, and any card that of one which has
	// stood for 45 s and is not urgent.
	Live int
	// Urgent is the priority from which cards are shown whatever was spent, 90
	// by default.
	Urgent int
}

// Config is what a session is told.
type Config struct {
	// Call names the call on its cards.
	Call string
	// Language is the agent's, an ISO 639-1 code.
	Language string
	// Started is the instant from which the call's milliseconds count.
	Started   time.Time
	Playbook  *Playbook
	Knowledge Knowledge
	Budget    Budget
}

// Leg is where words come from.
type Leg struct {
	// ID tells the call's legs apart.
	ID string
	// Role is "agent", "customer" or "unknown".
	Role string
	// Offset is when the leg's first sample was heard, since the call began.
	Offset time.Duration
}

// EventKind says what an Event tells.
type EventKind string

// The kinds of Event.
const (
	// CardShown brings a card.
	CardShown EventKind = "card"
	// CardWithdrawn takes one away.
	CardWithdrawn EventKind = "withdrawn"
	// IntentHeard says what was understood, whether or not a card follows.
	IntentHeard EventKind = "intent"
)

// Reason says why a card was withdrawn.
type Reason string

// The reasons.
const (
	// Expired: its time is over.
	Expired Reason = "expired"
	// Misheard: the words that triggered it are no longer what was said.
	Misheard Reason = "misheard"
	// Fulfilled: what was missing has been said.
	Fulfilled Reason = "fulfilled"
	// Overruled: what was said next shows that something else is meant.
	Overruled Reason = "overruled"
	// Displaced: a more important card needed the place.
	Displaced Reason = "displaced"
	// ByAgent: the agent used it, dismissed it or called it wrong.
	ByAgent Reason = "agent"
)

// Event is one thing that a session tells.
type Event struct {
	Kind EventKind `json:"event"`
	// Card is the card shown or withdrawn.
	Card *Card `json:"card,omitempty"`
	// Reason is why it was withdrawn.
	Reason Reason `json:"reason,omitempty"`
	// Heard is the intent.
	Heard *Heard `json:"heard,omitempty"`
}

// Heard is an intent that was understood.
type Heard struct {
	Intent string  `json:"intent"`
	Score  float64 `json:"score"`
	Words  []Said  `json:"words"`
	// Final is false while the words are still a partial's.
	Final bool `json:"final"`
}

// Counts are a session's totals, for statistics.
type Counts struct {
	// Shown counts cards; of these Expired and Misheard left so.
	Shown, Expired, Misheard int
	// Repeated counts cards held back because the same one stood or had stood a
	// short while ago; OverBudget those for which the agent had no attention
	// left; Unknown those whose element the knowledge base does not have.
	Repeated, OverBudget, Unknown int
}

// Session follows one call. Its methods are called by one goroutine at a time.
type Session struct {
	c        Config
	rules    map[string][]*Rule // by the intent that triggers
	stages   map[string]string  // by the intent that begins
	stage    string
	legs     map[string]*leg
	evidence map[string][]piece // by intent, oldest first
	heard    map[string]where   // intents heard for sure, and where first
	waiting  []wait
	live     []*standing
	last     map[string]time.Time // when a card with this key appeared
	muted    map[string]bool      // rules that the agent called wrong
	recent   []time.Time          // when the last minute's cards appeared
	counts   Counts
	serial   int
}

// where names an utterance.
type where struct {
	leg       string
	utterance int
}

type leg struct {
	Leg
	ear       Listener
	utterance int
	revision  int
	stable    int
	final     bool
	found     []found
}

// found is a mention in the current utterance.
type found struct {
	intent string
	score  float64
	said   []Said
}

// piece is one utterance's evidence for an intent.
type piece struct {
	where
	score float64
	said  []Said
	at    time.Time
}

// wait is a rule whose verdict is still out.
type wait struct {
	rule  *Rule
	cause cause
	due   time.Time
}

// cause is what triggered a rule.
type cause struct {
	where
	intent string
	said   []Said
}

// standing is a card on the pane.
type standing struct {
	Card
	rule  *Rule
	cause cause
	sure  bool
}

const (
	// sure is the evidence from which something counts as said.
	sure = 0.7
	// settled is how long a card keeps its place against a lesser one.
	settled = 45 * time.Second
	// memory is how long evidence of one utterance supports that of another.
	memory = 2 * time.Minute
)

// New begins a call.
func New(c Config) (*Session, error) {
	switch {
	case c.Playbook == nil || c.Playbook.Spotter == nil:
		return nil, errors.New("guidance: the configuration has no playbook")
	case c.Knowledge == nil:
		return nil, errors.New("guidance: the configuration has no knowledge")
	case c.Started.IsZero():
		return nil, errors.New("guidance: the configuration does not say when the call started")
	case min(c.Budget.PerMinute, c.Budget.PerCall, c.Budget.Live, c.Budget.Urgent) < 0:
		return nil, fmt.Errorf("guidance: a budget cannot be negative: %+v", c.Budget)
	}
	c.Budget.PerMinute = cmp.Or(c.Budget.PerMinute, 6)
	c.Budget.PerCall = cmp.Or(c.Budget.PerCall, 40)
	c.Budget.Live = cmp.Or(c.Budget.Live, 4)
	c.Budget.Urgent = cmp.Or(c.Budget.Urgent, 90)
	s := &Session{
		c:        c,
		rules:    map[string][]*Rule{},
		stages:   map[string]string{},
		legs:     map[string]*leg{},
		evidence: map[string][]piece{},
		heard:    map[string]where{},
		last:     map[string]time.Time{},
		muted:    map[string]bool{},
	}
	for i := range c.Playbook.Rules {
		r := &c.Playbook.Rules[i]
		if r.When.Start {
			s.waiting = append(s.waiting, wait{r, cause{}, c.Started.Add(r.When.By)})
		}
		for _, in := range r.When.Intents {
			s.rules[in] = append(s.rules[in], r)
		}
	}
	for i, st := range c.Playbook.Stages {
		if i == 0 {
			s.stage = st.ID
		}
		for _, in := range st.Begins {
			s.stages[in] = st.ID
		}
	}
	return s, nil
}

// Hear takes the next hypothesis of a leg: a leg's utterances in order, and of
// each utterance the revisions in order. An older one is ignored.
func (s *Session) Hear(from Leg, h asr.Hypothesis, now time.Time) []Event {
	ev := s.Tick(now)
	l := s.legs[from.ID]
	if l == nil || l.Role != from.Role {
		l = &leg{ear: s.c.Playbook.Spotter.Listen(from.Role)}
		s.legs[from.ID] = l
	}
	l.Leg = from
	if h.Utterance < l.utterance || h.Utterance == l.utterance && (l.final || h.Revision < l.revision) {
		return ev
	}
	if h.Utterance > l.utterance {
		l.utterance, l.stable, l.final, l.found = h.Utterance, 0, false, nil
	}
	l.revision = h.Revision
	if !h.Final && h.Stable == l.stable {
		return ev
	}
	l.stable, l.final = h.Stable, h.Final

	before := l.found
	l.found = nil
	for _, m := range l.ear.Hear(&h) {
		l.found = append(l.found, found{m.Intent, m.Score, s.said(l, m.Words)})
	}
	for _, f := range before {
		if !slices.ContainsFunc(l.found, func(g found) bool { return g.intent == f.intent }) {
			s.forget(l, f.intent)
		}
	}
	ev = s.retract(ev, l, h.Final)
	// All that an utterance says is known before any of it is acted on.
	fresh := make([]bool, len(l.found))
	for i := range l.found {
		f := &l.found[i]
		old := slices.IndexFunc(before, func(g found) bool { return g.intent == f.intent })
		fresh[i] = old < 0 || before[old].score < f.score
		if fresh[i] {
			s.remember(l, f, now)
		}
		if fresh[i] || h.Final {
			ev = append(ev, Event{Kind: IntentHeard, Heard: &Heard{Intent: f.intent, Score: f.score, Words: f.said, Final: h.Final}})
		}
	}
	for i := range l.found {
		if fresh[i] {
			ev = s.understand(ev, l, &l.found[i], now)
		}
	}
	return ev
}

// Tick lets time pass: what was to be said by now, and cards that expire. Call
// it every second or so.
func (s *Session) Tick(now time.Time) []Event {
	var ev []Event
	ev = s.withdraw(ev, Expired, func(c *standing) bool { return !now.Before(c.Expires) })
	for i := 0; i < len(s.waiting); {
		w := s.waiting[i]
		if now.Before(w.due) {
			i++
			continue
		}
		s.waiting = slices.Delete(s.waiting, i, i+1)
		ev = s.fire(ev, w.rule, w.cause, now)
	}
	return ev
}

// Snapshot is the cards that stand, the most important first, for a pane that
// connects again.
func (s *Session) Snapshot() []Card {
	out := make([]Card, 0, len(s.live))
	for _, c := range s.live {
		out = append(out, c.Card)
	}
	slices.SortStableFunc(out, func(a, b Card) int { return b.Priority - a.Priority })
	return out
}

// Counts are the totals so far.
func (s *Session) Counts() Counts { return s.counts }

// Stage is the part of the call that has been reached.
func (s *Session) Stage() string { return s.stage }

func (s *Session) said(l *leg, words []Ref) []Said {
	var out []Said
	for i, w := range words {
		start, end := l.ms(w.Start), l.ms(w.End)
		if n := len(out) - 1; n >= 0 && words[i-1].Utterance == w.Utterance && words[i-1].Index+1 >= w.Index {
			if words[i-1].Index+1 == w.Index {
				out[n].Text += " " + w.Text
			}
			out[n].EndMS = end
			continue
		}
		out = append(out, Said{Leg: l.ID, Role: l.Role, Text: w.Text, Utterance: w.Utterance, StartMS: start, EndMS: end})
	}
	return out
}

func (l *leg) at() where { return where{l.ID, l.utterance} }

func (l *Leg) ms(sample int64) int64 { return l.Offset.Milliseconds() + sample*1000/pcm.Rate }

// retract takes back what rests on words of this utterance that are gone.
func (s *Session) retract(ev []Event, l *leg, final bool) []Event {
	gone := func(c *cause) bool {
		return c.where == l.at() &&
			!slices.ContainsFunc(l.found, func(f found) bool { return f.intent == c.intent })
	}
	s.waiting = slices.DeleteFunc(s.waiting, func(w wait) bool { return gone(&w.cause) })
	ev = s.withdraw(ev, Misheard, func(c *standing) bool { return !c.sure && gone(&c.cause) })
	for _, c := range s.live {
		if final && c.cause.where == l.at() {
			c.sure = true
		}
	}
	return ev
}

func (s *Session) withdraw(ev []Event, why Reason, which func(*standing) bool) []Event {
	s.live = slices.DeleteFunc(s.live, func(c *standing) bool {
		if !which(c) {
			return false
		}
		switch why {
		case Expired:
			s.counts.Expired++
		case Misheard:
			s.counts.Misheard++
			delete(s.last, c.Key)
		case Overruled:
			delete(s.last, c.Key)
		}
		ev = append(ev, Event{Kind: CardWithdrawn, Card: &c.Card, Reason: why})
		return true
	})
	return ev
}
