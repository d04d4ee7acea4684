package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// pane is one connection of an agent's page. Three goroutines work for it: the
// HTTP handler reads, one writes, one searches; a fourth, where there are other
// servers, takes requests to them. The handler waits for the others. pane.mu is taken under Hub.mu, never the other way round.
type pane struct {
	hub      *Hub
	agent    string
	conn     *websocket.Conn
	wake     chan struct{}
	searches chan query
	errands  chan request    // to other servers
	ctx      context.Context // ends with the pane
	cancel   context.CancelFunc

	// The reader's own.
	messages, mistakes bucket
	stopSearch         context.CancelFunc

	mu       sync.Mutex
	backlog  backlog
	pong     *pong
	closing  int // close code, 0 while open
	farewell string
	// sent holds when a card was written, or the zero time once it has been
	// acknowledged.
	sent map[cardKey]time.Time
	// rtts is a ring of the last round trips; pingAt is when ping number
	// pings, the last one, was sent.
	rtts   []time.Duration
	pings  int
	pingAt time.Time
}

type cardKey struct{ call, card string }

// A pane may send 60 messages at once and 20 a second; it may make 10 mistakes
// at once and one more every 10 s before it is closed.
func newPane(h *Hub, agent string, conn *websocket.Conn) *pane {
	ctx, cancel := context.WithCancel(h.ctx)
	return &pane{
		hub: h, agent: agent, conn: conn, ctx: ctx, cancel: cancel,
		wake:     make(chan struct{}, 1),
		searches: make(chan query, 1),
		errands:  make(chan request, maxErrands),
		messages: bucket{burst: 60, perSecond: 20},
		mistakes: bucket{burst: 10, perSecond: 0.1},
		sent:     map[cardKey]time.Time{},
	}
}

// ServeHTTP connects a pane; the request's pattern must be Route or another
// with an {agent}. It returns when the pane is gone.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	agent := r.PathValue("agent")
	switch {
	case !validAgent(agent):
		h.refuse(w, http.StatusBadRequest, fmt.Sprintf("the agent's name must have 1 to %d bytes of printable UTF-8", maxName))
		return
	case !h.originAllowed(r):
		h.refuse(w, http.StatusForbidden, fmt.Sprintf("origin %q may not connect; add it to the allowed origins", r.Header.Get("Origin")))
		return
	case !h.enter(agent):
		h.refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("server is stopping, or agent %q has %d panes already", agent, h.cfg.PanesPerAgent))
		return
	}
	defer h.leave(agent)
	conn, err := h.upgrader.Upgrade(w, r, nil)
	if err != nil {
		h.refused.Add(1)
		h.cfg.Log.Warn("push: no WebSocket", "err", err)
		return
	}
	newPane(h, agent, conn).run()
}

func (h *Hub) refuse(w http.ResponseWriter, status int, text string) {
	h.refused.Add(1)
	http.Error(w, "push: "+text, status)
}

func validAgent(s string) bool {
	if s == "" || len(s) > maxName || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// enter reserves a place for a pane; leave gives it back.
func (h *Hub) enter(agent string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	r := h.room(agent)
	if r.places == h.cfg.PanesPerAgent {
		return false
	}
	r.places++
	h.places++
	if h.net != nil && r.places == 1 {
		h.net.watch(agent, r)
	}
	return true
}

func (h *Hub) leave(agent string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rooms[agent]
	r.places--
	if h.net != nil && r.places == 0 {
		h.net.unwatch(agent, r)
	}
	h.sweep(agent)
	h.places--
	if h.closed && h.places == 0 {
		close(h.empty)
	}
}

// join subscribes the pane and takes its snapshot in one step, so that nothing
// is missed and nothing comes twice.
func (h *Hub) join(p *pane) snapshot {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		p.close(websocket.CloseGoingAway, "server is stopping")
	}
	r := h.rooms[p.agent]
	r.panes[p] = struct{}{}
	if h.draining {
		p.send(drainChanged{"draining", true})
	}
	s := h.snapshot(r)
	r.gathering = r.gathering || s.Gathering
	return s
}

// snapshot is everything that the panes of a room show.
func (h *Hub) snapshot(r *room) snapshot {
	s := snapshot{Type: "snapshot", Calls: make([]callView, 0, len(r.calls)), Gathering: h.net.gathers(r)}
	for _, c := range r.all() {
		if !c.hidden {
			s.Calls = append(s.Calls, c.view())
		}
	}
	return s
}

func (h *Hub) quit(p *pane) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.rooms[p.agent].panes, p)
}

// run serves the pane until its connection ends.
func (p *pane) run() {
	h := p.hub
	h.connected.Add(1)
	defer h.connected.Add(-1)
	snap := h.join(p)
	var workers sync.WaitGroup
	workers.Go(func() { p.writeAll(snap) })
	workers.Go(p.searchAll)
	if h.net != nil {
		workers.Go(p.runErrands)
	}
	err := p.readAll()
	h.quit(p)
	p.cancel()
	p.close(websocket.CloseNormalClosure, "")
	p.cut()
	workers.Wait()
	h.cfg.Log.Debug("push: pane left", "err", err)
}

// send queues a message. It never waits: a pane whose queue is full is closed.
func (p *pane) send(m any) {
	p.mu.Lock()
	if p.closing != 0 {
		p.mu.Unlock()
		return
	}
	room := p.backlog.push(m, p.hub.cfg.Queue)
	p.mu.Unlock()
	if !room {
		p.hub.slow.Add(1)
		p.hub.cfg.Log.Warn("push: pane does not read, closing it", "queued", p.hub.cfg.Queue)
		p.close(websocket.CloseTryAgainLater, "pane does not read")
		return
	}
	p.poke()
}

// renew sends a snapshot: it has all that waits outside the queue, which would be old
// news behind it.
func (p *pane) renew(s snapshot) {
	p.mu.Lock()
	p.backlog.partials = nil
	p.mu.Unlock()
	p.send(s)
}

// utterance queues a final; a partial waits outside the queue and replaces the
// one before it.
func (p *pane) utterance(u utterance) {
	p.mu.Lock()
	if p.closing == 0 && p.backlog.partial(u) {
		p.hub.skipped.Add(1)
	}
	p.mu.Unlock()
	if u.Final {
		p.send(u)
		return
	}
	p.poke()
}

func (p *pane) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// close lets the writer end the connection with the code; the first one counts.
func (p *pane) close(code int, text string) {
	p.mu.Lock()
	if p.closing == 0 {
		p.closing, p.farewell = code, text
		p.backlog.clear()
		p.pong = nil
	}
	p.mu.Unlock()
	p.poke()
}

// cut ends the connection at once. Its error says only that it had ended.
func (p *pane) cut() { _ = p.conn.Close() }

// next takes the next message to write: nil when there is none; open is false
// when the pane is to be closed.
func (p *pane) next() (m any, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closing != 0:
		return nil, false
	case p.pong != nil:
		m = *p.pong
		p.pong = nil
	default:
		m = p.backlog.pop()
	}
	return m, true
}

// writeAll is the writer: the only goroutine that writes data and pings.
func (p *pane) writeAll(s snapshot) {
	cfg := &p.hub.cfg
	ticker := time.NewTicker(cfg.PingEvery)
	defer ticker.Stop()
	// The first round trip is measured before anything else is on the way.
	err := p.sendPing()
	for _, m := range []any{hello{"hello", 1, p.agent, p.hub.now(), cfg.Version, cfg.Language, cfg.Node}, s} {
		if err == nil {
			err = p.write(m)
		}
	}
	for err == nil {
		m, open := p.next()
		switch {
		case !open:
			p.sayGoodbye()
			return
		case m != nil:
			err = p.write(m)
			continue
		}
		select {
		case <-p.wake:
		case <-ticker.C:
			err = p.sendPing()
		}
	}
	// A pane that was found slow gets its close code only if it reads again in
	// time; otherwise the connection is cut here.
	p.cut()
}

func (p *pane) write(m any) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("push: encoding %T: %w", m, err)
	}
	now := p.hub.now()
	switch m := m.(type) {
	case newCard:
		p.noteSent(now, m.Card.Call, m.cardView)
	case snapshot:
		p.forgetGone()
		for _, c := range m.Calls {
			p.noteSent(now, c.ID, c.Cards...)
		}
	case callStarted:
		p.forgetGone()
	}
	if err := p.conn.SetWriteDeadline(time.Now().Add(p.hub.cfg.WriteTimeout)); err != nil {
		return fmt.Errorf("push: write deadline: %w", err)
	}
	return p.conn.WriteMessage(websocket.TextMessage, b)
}

// noteSent remembers when cards went out.
func (p *pane) noteSent(now time.Time, callID string, cards ...cardView) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range cards {
		key := cardKey{callID, k.Card.ID}
		if at, again := p.sent[key]; !again || !at.IsZero() {
			p.sent[key] = now
		}
	}
}

// forgetGone drops what noteSent remembers of calls that the hub has forgotten.
func (p *pane) forgetGone() {
	p.mu.Lock()
	ids := map[string]bool{}
	for k := range p.sent {
		ids[k.call] = true
	}
	p.mu.Unlock()
	p.hub.keepKnown(p.agent, ids)
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.sent, func(k cardKey, _ time.Time) bool { return !ids[k.call] })
}

// sendPing sends ping number pings+1, whose echo gives the round trip.
func (p *pane) sendPing() error {
	p.mu.Lock()
	p.pings++
	n := p.pings
	p.pingAt = time.Now()
	deadline := p.pingAt.Add(p.hub.cfg.WriteTimeout)
	p.mu.Unlock()
	return p.conn.WriteControl(websocket.PingMessage, strconv.AppendInt(nil, int64(n), 10), deadline)
}

// sayGoodbye sends the close frame and leaves the reader one WriteTimeout to
// see the pane's answer (RFC 6455, section 7.1.1).
func (p *pane) sayGoodbye() {
	p.mu.Lock()
	frame := websocket.FormatCloseMessage(p.closing, p.farewell)
	p.mu.Unlock()
	deadline := time.Now().Add(p.hub.cfg.WriteTimeout)
	if p.conn.WriteControl(websocket.CloseMessage, frame, deadline) != nil || p.conn.SetReadDeadline(deadline) != nil {
		p.cut()
	}
}

// heard moves the read deadline, unless the pane is being closed.
func (p *pane) heard() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing != 0 {
		return nil
	}
	return p.conn.SetReadDeadline(time.Now().Add(p.hub.cfg.PongWait))
}

// echoed takes a pong's payload.
func (p *pane) echoed(payload string) error {
	p.mu.Lock()
	if n, err := strconv.Atoi(payload); err == nil && n == p.pings && !p.pingAt.IsZero() {
		p.rtts = append(p.rtts, time.Since(p.pingAt))
		p.rtts = p.rtts[max(len(p.rtts)-8, 0):]
		p.pingAt = time.Time{}
	}
	p.mu.Unlock()
	return p.heard()
}

// readAll is the reader; it returns why the connection ended.
func (p *pane) readAll() error {
	p.conn.SetReadLimit(maxMessage)
	p.conn.SetPongHandler(p.echoed)
	if err := p.heard(); err != nil {
		return err
	}
	for {
		kind, b, err := p.conn.ReadMessage()
		if err != nil {
			return err
		}
		if err := p.heard(); err != nil {
			return err
		}
		p.receive(kind, b, p.hub.now())
	}
}

// receive serves one message of the pane.
func (p *pane) receive(kind int, b []byte, now time.Time) {
	if !p.messages.take(now) {
		p.mistake(problem{Code: "too_fast", Text: "too many messages; slow down"}, now)
		return
	}
	m, err := parseInbound(b)
	if kind != websocket.TextMessage {
		err = errors.New("want a text message, not a binary one")
	}
	if err != nil {
		p.mistake(problem{Code: "bad_message", About: m.Type, ID: m.ID, Text: err.Error()}, now)
		return
	}
	switch m.Type {
	case "ack":
		p.acknowledge(m, now)
	case "action", "pause", "swap":
		p.ask(request{m, p.agent, now, 0})
	case "search":
		p.search(m)
	case "ping":
		p.mu.Lock()
		if p.closing == 0 {
			p.pong = &pong{"pong", m.ID, now}
		}
		p.mu.Unlock()
		p.poke()
	}
}

// mistake answers a message that could not be served; too many close the pane.
func (p *pane) mistake(e problem, now time.Time) {
	p.hub.bad.Add(1)
	if !p.mistakes.take(now) {
		p.mu.Lock()
		first := p.closing == 0
		p.mu.Unlock()
		if first {
			p.hub.abusive.Add(1)
			p.hub.cfg.Log.Warn("push: pane sends nonsense, closing it", "last", e.Text)
		}
		p.close(websocket.ClosePolicyViolation, "too many bad messages")
		return
	}
	p.answer(e)
}

func (p *pane) answer(e problem) { p.send(newProblem(e)) }

func newProblem(e problem) problem {
	e.Type = "error"
	e.About = e.About[:min(len(e.About), 32)]
	return e
}

// bucket is a token bucket; it starts full.
type bucket struct {
	burst, perSecond float64
	spent            float64
	at               time.Time
}

func (b *bucket) take(now time.Time) bool {
	b.spent = max(0, b.spent-now.Sub(b.at).Seconds()*b.perSecond)
	b.at = now
	if b.spent+1 > b.burst {
		return false
	}
	b.spent++
	return true
}
