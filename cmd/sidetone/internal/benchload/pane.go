package benchload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"sidetone/bench/load"
)

const (
	// pingEvery is how often a pane asks for the server's clock, as the page does.
	pingEvery = 10 * time.Second
	// silentFor is how long a pane waits for anything from the server: its ping
	// comes every 15 s.
	silentFor   = 45 * time.Second
	dialTimeout = 10 * time.Second
	sendTimeout = 5 * time.Second
	// roundTrips is how many the clock's offset is taken from.
	roundTrips = 8
	// turnSlack is how far the end of an utterance may lie from a turn's that is
	// the end of both.
	turnSlack = 700 * time.Millisecond
)

// message is any message of the server, as far as a pane needs it; which fields
// count depends on Type.
type message struct {
	Type string    `json:"type"`
	Time time.Time `json:"time"`
	ID   int64     `json:"id"`
	// Call is an object in call_started, and a name elsewhere.
	Call    json.RawMessage `json:"call"`
	State   string          `json:"state"`
	Card    json.RawMessage `json:"card"`
	Painted bool            `json:"painted"`
	Calls   []struct {
		ID         string                  `json:"id"`
		Started    time.Time               `json:"started"`
		Ended      *struct{ State string } `json:"ended"`
		Utterances []said                  `json:"utterances"`
		Cards      []struct {
			Card    load.Card `json:"card"`
			Painted bool      `json:"painted"`
		} `json:"cards"`
	} `json:"calls"`
	said
}

// said is an utterance of the transcript.
type said struct {
	// Leg is a name; in messages about a leg it is an object.
	Leg    json.RawMessage `json:"leg"`
	Role   string          `json:"role"`
	No     int             `json:"utterance"`
	Final  bool            `json:"final"`
	Stable int             `json:"stable"`
	EndMS  int64           `json:"end_ms"`
	Words  []struct {
		EndMS int64 `json:"end_ms"`
	} `json:"words"`
}

// watch is a call as its agent's pane sees it. The pane's mu guards it.
type watch struct {
	call   string
	script *load.Script
	// started is the beginning of the call's clock, as the server says; begun that
	// of its audio, on ours.
	started, begun time.Time
	stable         map[utteranceKey]int
	cards          map[string]bool
	ends           int
	state          string
	ended          chan struct{}
}

type utteranceKey struct {
	leg string
	no  int
}

func newWatch(call string, script *load.Script) *watch {
	return &watch{call: call, script: script, stable: map[utteranceKey]int{}, cards: map[string]bool{}, ended: make(chan struct{})}
}

// sink takes what panes measure.
type sink interface {
	latency(kind string, at time.Time, d time.Duration)
	paneLost(agent string, err error)
}

// turnLatency is from the end of a turn's speech, as the script has it, to its
// final on the pane: what no clock of the server enters.
const turnLatency = "turn"

// pane is an agent's page without a screen: it follows the calls, and
// acknowledges each card when it would have been painted.
type pane struct {
	api   *api
	agent string
	sink  sink
	paint *painter

	mu      sync.Mutex
	conn    *websocket.Conn
	watches map[string]*watch
	// offset is the server's clock less ours.
	offset time.Duration
	pings  []roundTrip
	pingID int64
	pinged time.Time
	ready  chan struct{}
	once   sync.Once
	failed error
}

type roundTrip struct{ rtt, offset time.Duration }

func newPane(a *api, agent string, s sink, p *painter) *pane {
	return &pane{api: a, agent: agent, sink: s, paint: p, watches: map[string]*watch{}, ready: make(chan struct{})}
}

// run keeps the pane connected until ctx ends.
func (p *pane) run(ctx context.Context) {
	for wait := 500 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, 5*time.Second) {
		begun := time.Now()
		err := p.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(begun) > 10*time.Second {
			wait = 500 * time.Millisecond
		}
		p.mu.Lock()
		p.failed = err
		p.mu.Unlock()
		p.sink.paneLost(p.agent, err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// connect serves one connection until it ends.
func (p *pane) connect(ctx context.Context) error {
	dialer := websocket.Dialer{HandshakeTimeout: dialTimeout, ReadBufferSize: 4096, WriteBufferSize: 512}
	conn, res, err := dialer.DialContext(ctx, p.api.push(p.agent), p.api.header())
	if res != nil {
		res.Body.Close()
	}
	if err != nil {
		if res != nil && res.StatusCode != http.StatusSwitchingProtocols {
			return fmt.Errorf("the pane of %s: %s", p.agent, res.Status)
		}
		return fmt.Errorf("the pane of %s: %w", p.agent, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	p.mu.Lock()
	p.conn = conn
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.conn = nil
		p.mu.Unlock()
	}()
	pong := conn.PingHandler()
	conn.SetPingHandler(func(data string) error {
		return errors.Join(conn.SetReadDeadline(time.Now().Add(silentFor)), pong(data))
	})
	for {
		if err := conn.SetReadDeadline(time.Now().Add(silentFor)); err != nil {
			return err
		}
		_, b, err := conn.ReadMessage()
		if err != nil {
			return fmt.Errorf("the pane of %s: %w", p.agent, err)
		}
		now := time.Now()
		var m message
		if err := json.Unmarshal(b, &m); err != nil {
			return fmt.Errorf("the pane of %s: a message is no JSON: %w", p.agent, err)
		}
		p.receive(&m, now)
	}
}

func (p *pane) receive(m *message, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.pinged) > pingEvery {
		p.ping(now)
	}
	switch m.Type {
	case "hello":
		if len(p.pings) == 0 {
			p.offset = m.Time.Sub(now)
		}
	case "pong":
		p.pong(m, now)
	case "snapshot":
		p.snapshot(m, now)
		p.once.Do(func() { close(p.ready) })
	case "call_started":
		var c struct {
			ID      string    `json:"id"`
			Started time.Time `json:"started"`
		}
		if json.Unmarshal(m.Call, &c) != nil {
			return
		}
		if w := p.watches[c.ID]; w != nil {
			w.started = c.Started
		}
	case "utterance":
		if w := p.watches[name(m.Call)]; w != nil {
			p.hear(w, &m.said, now)
		}
	case "card":
		var c load.Card
		if json.Unmarshal(m.Card, &c) != nil {
			return
		}
		var at struct{ Call string }
		if json.Unmarshal(m.Card, &at) != nil {
			return
		}
		if w := p.watches[at.Call]; w != nil {
			p.show(w, &c, m.Painted, now)
		}
	case "call_ended":
		if w := p.watches[name(m.Call)]; w != nil {
			w.end(m.State)
		}
	}
}

// name is a JSON string's text.
func name(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

func (w *watch) end(state string) {
	w.ends++
	w.state = state
	if w.ends == 1 {
		close(w.ended)
	}
}

// snapshot catches up after a connection was lost; what came in between has no
// latency that could be measured.
func (p *pane) snapshot(m *message, now time.Time) {
	for i := range m.Calls {
		c := &m.Calls[i]
		w := p.watches[c.ID]
		if w == nil {
			continue
		}
		w.started = c.Started
		for _, u := range c.Utterances {
			w.stable[utteranceKey{string(u.Leg), u.No}] = len(u.Words)
		}
		for _, k := range c.Cards {
			p.show(w, &k.Card, k.Painted, now)
		}
		if c.Ended != nil && w.ends == 0 {
			w.end(c.Ended.State)
		}
	}
}

// hear measures how late words became stable, and finals came.
func (p *pane) hear(w *watch, u *said, now time.Time) {
	if w.started.IsZero() {
		return
	}
	since := func(ms int64) time.Duration {
		return now.Add(p.offset).Sub(w.started) - time.Duration(ms)*time.Millisecond
	}
	key := utteranceKey{string(u.Leg), u.No}
	stable := u.Stable
	if u.Final {
		stable = len(u.Words)
	}
	for i := w.stable[key]; i < min(stable, len(u.Words)); i++ {
		p.sink.latency(load.StableLatency, now, since(u.Words[i].EndMS))
	}
	w.stable[key] = max(w.stable[key], stable)
	if !u.Final || len(u.Words) == 0 {
		return
	}
	delete(w.stable, key)
	p.sink.latency(load.FinalLatency, now, since(u.EndMS))
	if w.begun.IsZero() {
		return
	}
	end := w.started.Add(time.Duration(u.EndMS) * time.Millisecond).Add(-p.offset).Sub(w.begun)
	for _, t := range w.script.Turns {
		if t.Role == u.Role && (t.End-end).Abs() < turnSlack {
			p.sink.latency(turnLatency, now, now.Sub(w.begun)-t.End)
		}
	}
}

// show has a new card painted.
func (p *pane) show(w *watch, c *load.Card, painted bool, now time.Time) {
	if w.cards[c.ID] {
		return
	}
	w.cards[c.ID] = true
	if painted {
		return
	}
	var end int64
	for _, s := range c.Why.Words {
		end = max(end, s.EndMS)
	}
	k := brush{pane: p, call: w.call, card: c.ID, received: now}
	if end > 0 && !w.started.IsZero() {
		k.said = w.started.Add(time.Duration(end) * time.Millisecond).Add(-p.offset)
	}
	p.paint.add(k)
}

// painted acknowledges a card; it tells how late it was.
func (p *pane) painted(k *brush, now time.Time) {
	if !k.said.IsZero() {
		p.sink.latency(load.CardLatency, now, now.Sub(k.said))
	}
	ms := func(t time.Time) float64 { return float64(t.Sub(p.paint.begun).Microseconds()) / 1000 }
	p.mu.Lock()
	defer p.mu.Unlock()
	p.send(map[string]any{"type": "ack", "call": k.call, "card": k.card, "received_ms": ms(k.received), "painted_ms": ms(now)})
}

// ping asks for the server's clock. The caller holds mu.
func (p *pane) ping(now time.Time) {
	p.pingID++
	p.pinged = now
	p.send(map[string]any{"type": "ping", "id": p.pingID})
}

// pong takes the clock's offset from the quickest of the last round trips. The
// caller holds mu.
func (p *pane) pong(m *message, now time.Time) {
	if m.ID != p.pingID {
		return
	}
	rtt := now.Sub(p.pinged)
	p.pings = append(p.pings, roundTrip{rtt, m.Time.Sub(now.Add(-rtt / 2))})
	p.pings = p.pings[max(0, len(p.pings)-roundTrips):]
	best := p.pings[0]
	for _, r := range p.pings {
		if r.rtt < best.rtt {
			best = r
		}
	}
	p.offset = best.offset
}

// send writes a message. A connection that fails is noticed by its reader. The
// caller holds mu.
func (p *pane) send(m any) {
	if p.conn == nil {
		return
	}
	_ = p.conn.SetWriteDeadline(time.Now().Add(sendTimeout))
	_ = p.conn.WriteJSON(m)
}

// follow begins to watch a call; forget ends it.
func (p *pane) follow(w *watch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watches[w.call] = w
}

func (p *pane) forget(w *watch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.watches, w.call)
}

// plays says when the call's audio began. It returns how long after the call's
// clock that was.
func (p *pane) plays(w *watch, begun time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.begun = begun
}

// lead is the time from the beginning of the call's clock to that of its audio.
func (p *pane) lead(started, begun time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return begun.Add(p.offset).Sub(started)
}

// seen is how often the pane was told that the call ended, and in which state.
func (p *pane) seen(w *watch) (ends int, state string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return w.ends, w.state
}

// connected waits for the pane's first snapshot.
func (p *pane) connected(ctx context.Context) error {
	t := time.NewTimer(dialTimeout)
	defer t.Stop()
	select {
	case <-p.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil {
		return p.failed
	}
	return fmt.Errorf("the pane of %s has no snapshot after %v", p.agent, dialTimeout)
}

// brush is a card that is being painted.
type brush struct {
	pane       *pane
	call, card string
	received   time.Time
	// said is when the last triggering word ended, on our clock; zero: no words
	// triggered the card.
	said time.Time
}

// painter lets the time pass that a page needs to paint a card, for all panes.
type painter struct {
	begun time.Time
	delay time.Duration
	queue chan brush
}

// paintQueue bounds the cards that are being painted at once.
const paintQueue = 4096

func newPainter(delay time.Duration) *painter {
	return &painter{begun: time.Now(), delay: delay, queue: make(chan brush, paintQueue)}
}

// add begins to paint a card. Where thousands are being painted one more is
// left out, which the record then shows as unpainted.
func (p *painter) add(b brush) {
	select {
	case p.queue <- b:
	default:
	}
}

// run paints until ctx ends. All cards take as long, so they are done in order.
func (p *painter) run(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		var b brush
		select {
		case <-ctx.Done():
			return
		case b = <-p.queue:
		}
		t.Reset(time.Until(b.received.Add(p.delay)))
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		b.pane.painted(&b, time.Now())
	}
}
