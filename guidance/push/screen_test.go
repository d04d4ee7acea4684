package push

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sidetone/guidance"
)

// screen holds what a page would show, and complains of what comes twice.
type screen struct {
	t    *testing.T
	c    *client
	over chan struct{}

	mu        sync.Mutex
	calls     map[string]*callView
	gathering bool
	snapshots int
	problems  []string // codes of errors
	states    []string // card states that came alone
}

// watchScreen reads a pane until its connection ends.
func watchScreen(t *testing.T, c *client) *screen {
	s := &screen{t: t, c: c, over: make(chan struct{}), calls: map[string]*callView{}}
	go func() {
		defer close(s.over)
		for {
			_, b, err := c.conn.ReadMessage()
			if err != nil {
				return
			}
			s.apply(b)
		}
	}()
	return s
}

func (s *screen) close() {
	s.c.conn.Close()
	<-s.over
}

// read decodes b into the type that its name stands for.
func read[M any](s *screen, b []byte) M {
	var m M
	if err := json.Unmarshal(b, &m); err != nil {
		s.t.Errorf("server sent %s: %v", b, err)
	}
	return m
}

func (s *screen) call(id string) *callView {
	if c := s.calls[id]; c != nil {
		return c
	}
	s.t.Errorf("message of call %q, which is not shown", id)
	return &callView{}
}

func (s *screen) card(callID, id string) *cardView {
	c := s.call(callID)
	i := slices.IndexFunc(c.Cards, func(k cardView) bool { return k.Card.ID == id })
	if i < 0 {
		s.t.Errorf("message of card %q, which is not shown", id)
		return &cardView{}
	}
	return &c.Cards[i]
}

func (s *screen) apply(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch kind := read[struct{ Type string }](s, b).Type; kind {
	case "snapshot":
		m := read[snapshot](s, b)
		if s.gathering = m.Gathering; !s.gathering {
			clear(s.calls)
		}
		s.snapshots++
		for _, v := range m.Calls {
			s.calls[v.ID] = &v
			seen := map[string]bool{}
			for _, u := range v.Utterances {
				if key := fmt.Sprint("u", u.Leg, u.No); seen[key] {
					s.t.Errorf("utterance %s stands twice", key)
				} else {
					seen[key] = true
				}
			}
			for _, k := range v.Cards {
				if seen[k.Card.ID] {
					s.t.Errorf("card %s stands twice", k.Card.ID)
				}
				seen[k.Card.ID] = true
			}
		}
	case "call_started":
		m := read[callStarted](s, b)
		maps.DeleteFunc(s.calls, func(_ string, c *callView) bool { return c.Ended != nil })
		if s.calls[m.Call.ID] != nil {
			s.t.Errorf("call %q begins twice", m.Call.ID)
		}
		s.calls[m.Call.ID] = &callView{Call: m.Call}
	case "leg":
		m := read[legChanged](s, b)
		k := call{info: s.call(m.Call).Call, utterances: s.call(m.Call).Utterances}
		k.setLeg(m.Leg)
		s.call(m.Call).Call = k.info
	case "paused":
		m := read[pausedChanged](s, b)
		s.call(m.Call).Paused = m.Paused
	case "away":
		m := read[awayChanged](s, b)
		s.call(m.Call).Away = m.Away
	case "utterance":
		m := read[utterance](s, b)
		c := s.call(m.Call)
		k := call{utterances: c.Utterances}
		if !k.put(m.Utterance, 400) {
			s.t.Errorf("utterance %d of leg %s is old news", m.No, m.Leg)
		}
		c.Utterances = k.utterances
	case "card":
		m := read[newCard](s, b)
		c := s.call(m.Card.Call)
		if slices.ContainsFunc(c.Cards, func(k cardView) bool { return k.Card.ID == m.Card.ID }) {
			s.t.Errorf("card %q comes twice", m.Card.ID)
		}
		c.Cards = append(c.Cards, m.cardView)
	case "card_withdrawn":
		m := read[cardWithdrawn](s, b)
		k := s.card(m.Call, m.Card)
		k.State, k.Reason = Withdrawn, m.Reason
	case "card_state":
		m := read[cardState](s, b)
		s.card(m.Call, m.Card).State = m.State
		s.states = append(s.states, m.Card+" "+string(m.State))
	case "call_ended":
		m := read[callEnded](s, b)
		s.call(m.Call).Ended = &m.ending
	case "error":
		s.problems = append(s.problems, read[problem](s, b).Code)
	case "hello", "pong", "draining":
	default:
		s.t.Errorf("message of type %q", kind)
	}
}

// text is what the screen shows, in a form that can be compared.
func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return describe(slices.Collect(maps.Values(s.calls)))
}

func (s *screen) shows(want string) bool { return strings.Contains(s.text(), want) }

// describe writes calls down without what differs between a server and the pane
// of another: whether a card has been painted.
func describe(calls []*callView) string {
	slices.SortFunc(calls, func(a, b *callView) int { return strings.Compare(a.ID, b.ID) })
	var b strings.Builder
	for _, c := range calls {
		fmt.Fprintf(&b, "call %s of %s on %s taken %d", c.ID, c.Agent, c.Node, c.Taken)
		if c.Paused != "" {
			fmt.Fprintf(&b, " paused %s", c.Paused)
		}
		if c.Away != "" {
			fmt.Fprintf(&b, " away %s", c.Away)
		}
		if c.Ended != nil {
			fmt.Fprintf(&b, " ended %s", c.Ended.State)
		}
		b.WriteString("\n")
		for _, l := range c.Legs {
			fmt.Fprintf(&b, "  leg %s %s %s\n", l.ID, l.Role, l.State)
		}
		for _, u := range c.Utterances {
			if len(u.Words) == 0 {
				continue
			}
			fmt.Fprintf(&b, "  %s %s %d.%d final %t:", u.Leg, u.Role, u.No, u.Revision, u.Final)
			for _, w := range u.Words {
				b.WriteString(" " + w.Text)
			}
			b.WriteString("\n")
		}
		for _, k := range c.Cards {
			fmt.Fprintf(&b, "  card %s %s %s\n", k.Card.ID, k.State, k.Reason)
		}
	}
	return b.String()
}

// truth describes an agent's calls as their own server has them.
func truth(h *Hub, agent string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var views []*callView
	if r := h.rooms[agent]; r != nil {
		for _, c := range r.calls {
			v := c.view()
			views = append(views, &v)
		}
	}
	return describe(views)
}

// wire is a bus in memory.
type wire struct {
	mu   sync.Mutex
	subs []*subscription
	// fate says what becomes of a letter on its way; nil delivers all.
	fate func(from, to string, e envelope) fate
	cut  map[string]bool // nodes that nothing reaches or leaves
	// sent counts letters by kind.
	sent map[string]int
	// held is a letter that the next one overtakes.
	held *delivery
}

type delivery struct {
	s *subscription
	b []byte
}

type fate struct {
	drop, hold, twice bool
	delay             time.Duration
}

type subscription struct {
	node, subject string
	fn            func(string, []byte)
	serve         func([]byte) []byte

	mu   sync.Mutex
	gone bool
}

func (s *subscription) call(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.gone {
		s.fn(s.subject, b)
	}
}

// port is a node's end of the wire.
type port struct {
	w    *wire
	node string
	// stuck, when set, is waited for before a letter leaves.
	stuck chan struct{}
}

var _ Bus = (*port)(nil)

func newWire() *wire { return &wire{cut: map[string]bool{}, sent: map[string]int{}} }

func (p *port) add(s *subscription) (func(), error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.w.subs = append(p.w.subs, s)
	return func() {
		s.mu.Lock()
		s.gone = true
		s.mu.Unlock()
	}, nil
}

func (p *port) Subscribe(subject string, fn func(string, []byte)) (func(), error) {
	return p.add(&subscription{node: p.node, subject: subject, fn: fn})
}

func (p *port) Serve(subject string, fn func([]byte) []byte) (func(), error) {
	return p.add(&subscription{node: p.node, subject: subject, serve: fn})
}

func (p *port) Publish(subject string, b []byte) error {
	if p.stuck != nil {
		<-p.stuck
	}
	b = slices.Clone(b)
	e, _, err := parseLetter(b)
	if err != nil {
		return err
	}
	w := p.w
	w.mu.Lock()
	w.sent[e.Kind]++
	var now []delivery
	for _, s := range w.subs {
		if s.serve != nil || s.subject != subject || w.cut[p.node] || w.cut[s.node] {
			continue
		}
		var f fate
		if w.fate != nil && s.node != p.node {
			f = w.fate(p.node, s.node, e)
		}
		d := delivery{s, b}
		switch {
		case f.drop:
			continue
		case f.delay > 0:
			time.AfterFunc(f.delay, func() { s.call(b) })
			continue
		case f.hold && w.held == nil:
			w.held = &d
			continue
		}
		now = append(now, d)
		if f.twice {
			now = append(now, d)
		}
		if w.held != nil && !f.hold {
			now = append(now, *w.held)
			w.held = nil
		}
	}
	w.mu.Unlock()
	for _, d := range now {
		d.s.call(d.b)
	}
	return nil
}

type noAnswer struct{}

func (noAnswer) Error() string { return "nobody answers" }

func (p *port) Request(ctx context.Context, subject string, b []byte) ([]byte, error) {
	w := p.w
	e, _, err := parseLetter(b)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.sent[e.Kind]++
	var server *subscription
	for _, s := range w.subs {
		if s.serve != nil && s.subject == subject && !s.gone {
			server = s
		}
	}
	var there, back fate
	if server != nil && w.fate != nil {
		there, back = w.fate(p.node, server.node, e), w.fate(server.node, p.node, envelope{Kind: "done"})
	}
	lost := server == nil || w.cut[p.node] || w.cut[server.node]
	w.mu.Unlock()
	if lost || there.drop {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	time.Sleep(there.delay)
	answer := server.serve(slices.Clone(b))
	time.Sleep(back.delay)
	if back.drop {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if answer == nil {
		return nil, noAnswer{}
	}
	return answer, nil
}

func (w *wire) setFate(f func(from, to string, e envelope) fate) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fate = f
}

func (w *wire) setCut(node string, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[node] = cut
}

func (w *wire) count(kind string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent[kind]
}

// node is a hub on the wire.
func (w *wire) node(t *testing.T, name string, cfg Config) *Hub {
	t.Helper()
	cfg.Node, cfg.Bus, cfg.Beat = name, &port{w: w, node: name}, beat
	return newHub(t, cfg)
}

// cardWith is a card that words have triggered.
func cardWith(call, id string, end int64) guidance.Card {
	k := aCard(call, id)
	k.Why.Words = []guidance.Said{{Text: "card", StartMS: end - 300, EndMS: end}}
	return k
}
