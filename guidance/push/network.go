package push

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Bus carries letters between servers. It may lose, repeat and reorder them.
// Publish must not wait for receivers; subscribers' functions are called one
// letter after the other. What a stop function returns from is no longer called.
type Bus interface {
	Publish(subject string, b []byte) error
	Subscribe(subject string, fn func(subject string, b []byte)) (stop func(), err error)
	// Request publishes and waits for the answer of the one that serves.
	Request(ctx context.Context, subject string, b []byte) ([]byte, error)
	Serve(subject string, fn func(b []byte) []byte) (stop func(), err error)
}

const (
	maxPeers    = 256
	maxWatched  = 50_000 // agents that one other server may watch
	maxLetters  = 4096   // that wait to be published, without deltas
	outletQueue = 256    // deltas of one agent that wait to be published
	maxErrands  = 16     // of one pane
	maxClaims   = 256    // to calls of one agent
	// A server is lost after 7/2 beats; what it watches ends after 5. Until a
	// beat has passed, panes are told that calls may still come.
	lostHalves, watchBeats = 7, 5
	requestTimeout         = 2 * time.Second
	requestTries           = 3
	keptReplies            = 256 // to one server's requests
)

// network joins a Hub to those of other servers. One goroutine, the postman,
// publishes; nobody else waits for the bus. Its fields are guarded by Hub.mu.
type network struct {
	hub   *Hub
	boot  string
	began time.Time
	wake  chan struct{}
	done  chan struct{} // closed when the postman has ended
	stops []func()

	peers   map[string]*peer
	letters []letter
	ready   []*outlet
	ticks   int
	lastID  uint64
	lastSeq uint64 // of outlets that are gone
	// namesake is set once another server of the same name was complained of.
	namesake bool
}

// letter waits to be published to a node, or to all.
type letter struct {
	to string
	envelope
}

// peer is another server.
type peer struct {
	node         string
	boot, before string // runs of its process
	heard        time.Time
	lost         bool
	watched      int
	// clock is its monotonic clock as of clockAt.
	clock   time.Duration
	clockAt time.Time
	// rtts and ahead are rings of the last round trips and of how much its wall
	// clock seemed to be ahead of ours.
	rtts, ahead []time.Duration
	// replies are the answers to its last requests, oldest first.
	replies []reply
}

type reply struct {
	id     uint64
	answer []byte
}

// connect joins the bus.
func (h *Hub) connect() error {
	n := &network{
		hub: h, boot: rand.Text(), began: h.now(), wake: make(chan struct{}, 1), done: make(chan struct{}), peers: map[string]*peer{},
	}
	h.net = n
	bus, node := h.cfg.Bus, token(h.cfg.Node)
	for _, join := range []func() (func(), error){
		func() (func(), error) { return bus.Serve(subjectAsk+node, n.serve) },
		func() (func(), error) { return bus.Subscribe(subjectTo+node, n.receive) },
		func() (func(), error) { return bus.Subscribe(subjectAll, n.receive) },
	} {
		stop, err := join()
		if err != nil {
			n.stop()
			return fmt.Errorf("push: joining the other servers: %w", err)
		}
		n.stops = append(n.stops, stop)
	}
	go n.run()
	return nil
}

func (n *network) stop() {
	for _, stop := range n.stops {
		stop()
	}
}

// post lets a letter be published. Too many are not worth waiting: what they
// tell is told again by the next beat.
func (n *network) post(to string, e envelope) {
	if len(n.letters) < maxLetters {
		n.letters = append(n.letters, letter{to, e})
	}
	n.poke()
}

func (n *network) poke() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// run is the postman.
func (n *network) run() {
	defer close(n.done)
	h := n.hub
	ticker := time.NewTicker(h.cfg.Beat / 4)
	defer ticker.Stop()
	n.tick()
	for h.ctx.Err() == nil {
		select {
		case <-ticker.C:
			n.tick()
			continue
		default:
		}
		if n.publishOne() {
			continue
		}
		select {
		case <-h.ctx.Done():
		case <-n.wake:
		case <-ticker.C:
			n.tick()
		}
	}
	for last := 0; last < maxLetters && n.publishOne(); last++ {
	}
	n.publish(letter{"", envelope{Kind: "bye"}}, nil)
	n.stop()
}

// publishOne publishes the next letter or delta, if there is one.
func (n *network) publishOne() bool {
	h := n.hub
	h.mu.Lock()
	if len(n.letters) > 0 {
		l := n.letters[0]
		n.letters = n.letters[1:]
		h.mu.Unlock()
		n.publish(l, nil)
		return true
	}
	if len(n.ready) == 0 {
		h.mu.Unlock()
		return false
	}
	o := n.ready[0]
	n.ready = n.ready[1:]
	e, to, m := n.take(o)
	if o.queued = !o.idle(); o.queued {
		n.ready = append(n.ready, o)
	}
	h.mu.Unlock()
	if m == nil || len(to) == 0 {
		return true
	}
	b, err := json.Marshal(m)
	if err != nil {
		h.cfg.Log.Error("push: encoding for other servers", "err", err)
		return true
	}
	if e.Kind == "part" {
		n.publishParts(e, to, b)
		return true
	}
	for _, node := range to {
		n.publish(letter{node, e}, b)
	}
	return true
}

// publishParts publishes a snapshot in pieces.
func (n *network) publishParts(e envelope, to []string, b []byte) {
	e.Parts = (len(b) + partBytes - 1) / partBytes
	if e.Parts > maxParts {
		n.hub.cfg.Log.Error("push: a snapshot is too long for other servers", "bytes", len(b))
		return
	}
	for _, node := range to {
		e.Part = 0
		for piece := range slices.Chunk(b, partBytes) {
			n.publish(letter{node, e}, piece)
			e.Part++
		}
	}
}

// publish sends one letter. What does not go out is found missing by the
// receivers.
func (n *network) publish(l letter, body []byte) {
	subject := subjectAll
	if l.to != "" {
		subject = subjectTo + token(l.to)
	}
	b, err := n.sign(&l.envelope).seal(body)
	if err == nil {
		err = n.hub.cfg.Bus.Publish(subject, b)
	}
	if err != nil {
		n.hub.unsent.Add(1)
		n.hub.cfg.Log.Debug("push: a letter to other servers did not go out", "kind", l.Kind, "err", err)
	}
}

func (n *network) sign(e *envelope) *envelope {
	now := n.hub.now()
	e.From, e.Boot, e.Wall, e.Clock = n.hub.cfg.Node, n.boot, now, now.Sub(n.began)
	return e
}

// tick does what is due: four times in a beat.
func (n *network) tick() {
	h, now := n.hub, n.hub.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	beat := n.ticks%4 == 0
	n.ticks++
	if beat {
		n.sayHere("")
		n.sayBeats(now)
	}
	heard := int64(0)
	for _, p := range n.peers {
		silent := now.Sub(p.heard)
		if !p.lost && silent > h.cfg.Beat*lostHalves/2 {
			n.lose(p)
		}
		if p.lost && silent > h.cfg.ForgetLost {
			n.forget(p, now)
		}
		if !p.lost {
			heard++
		}
	}
	h.servers.Store(heard)
	for agent, r := range h.rooms {
		n.expire(agent, r, now)
		if r.places == 0 {
			continue
		}
		for _, f := range r.feeds {
			n.want(f, agent, now)
		}
		if r.gathering && !n.gathers(r) {
			h.resync(r)
		}
	}
}

// sayHere tells a server, or all, of this one and the agents that it has panes of.
func (n *network) sayHere(to string) {
	var agents []string
	for agent, r := range n.hub.rooms {
		if r.places > 0 {
			agents = append(agents, agent)
		}
	}
	n.post(to, envelope{Kind: "here", Agents: agents[:min(len(agents), agentsAtOnce)]})
	for rest := range slices.Chunk(agents[min(len(agents), agentsAtOnce):], agentsAtOnce) {
		n.post(to, envelope{Kind: "here", Agents: rest})
	}
}

// sayBeats tells those who watch agents here how many deltas there were.
func (n *network) sayBeats(now time.Time) {
	feeds := map[string]map[string]uint64{}
	send := func(node string) {
		e := envelope{Kind: "beat", Feeds: feeds[node]}
		if p := n.peers[node]; p != nil && p.clock > 0 {
			e.Echo, e.Held = p.clock, now.Sub(p.clockAt)
		}
		n.post(node, e)
		delete(feeds, node)
	}
	for agent, r := range n.hub.rooms {
		if r.out == nil {
			continue
		}
		for node := range r.out.watchers {
			if feeds[node] == nil {
				feeds[node] = map[string]uint64{}
			}
			feeds[node][agent] = r.out.seq
			if len(feeds[node]) == agentsAtOnce {
				send(node)
			}
		}
	}
	for node := range maps.Clone(feeds) {
		send(node)
	}
}

// gathers says whether calls of other servers may be missing yet.
func (n *network) gathers(r *room) bool {
	if n == nil || n.hub.now().Sub(r.since) >= n.hub.cfg.Beat {
		return false
	}
	for node, p := range n.peers {
		if f := r.feeds[node]; !p.lost && (f == nil || !f.known) {
			return true
		}
	}
	return false
}

// watch begins to ask other servers for an agent's calls.
func (n *network) watch(agent string, r *room) {
	r.since, r.feeds, r.claims = n.hub.now(), map[string]*feed{}, map[string]claim{}
	n.post("", envelope{Kind: "here", Agents: []string{agent}, Fresh: true})
}

func (n *network) unwatch(agent string, r *room) {
	r.feeds, r.claims, r.gathering = nil, nil, false
	for _, c := range r.calls {
		c.hidden = false
	}
	if !n.hub.closed {
		n.post("", envelope{Kind: "leave", Agents: []string{agent}})
	}
}

// transit is how long a letter to the peer takes.
func (p *peer) transit() time.Duration {
	if len(p.rtts) == 0 {
		return 0
	}
	return slices.Min(p.rtts) / 2
}

// skew is how much the peer's wall clock is ahead of ours. The letters that were
// fastest tell it best; small differences are not worth correcting.
func (p *peer) skew() time.Duration {
	if len(p.ahead) == 0 {
		return 0
	}
	d := slices.Max(p.ahead)
	if d.Abs() < 100*time.Millisecond {
		return 0
	}
	return d
}

func keepLast(ring []time.Duration, d time.Duration, n int) []time.Duration {
	ring = append(ring, d)
	return slices.Delete(ring, 0, max(len(ring)-n, 0))
}

// runErrands takes a pane's requests to the servers that have the calls.
func (p *pane) runErrands() {
	for {
		select {
		case <-p.ctx.Done():
			return
		case q := <-p.errands:
			p.runErrand(q)
		}
	}
}

func (p *pane) runErrand(q request) {
	h := p.hub
	h.mu.Lock()
	h.net.lastID++
	id := h.net.lastID
	h.mu.Unlock()
	tries := requestTries
	if q.Type == "pause" || q.Type == "swap" {
		// They are about now: the agent sees what came of it, and asks again.
		tries = 1
	}
	for try := range tries {
		if try > 0 {
			select {
			case <-p.ctx.Done():
				return
			case <-time.After(requestTimeout / 4):
			}
		}
		h.mu.Lock()
		c := h.rooms[p.agent].visible(q.Call)
		if c == nil || c.feed == nil {
			// It is here now, or nowhere.
			done := h.serve(q, p.send)
			h.mu.Unlock()
			done()
			return
		}
		node := c.feed.node
		e := envelope{Kind: "do", Agent: q.agent, ID: id, RTT: q.rtt}
		if peer := h.net.peers[node]; peer != nil {
			e.Transit = peer.transit()
		}
		if q.Type == "ack" {
			e.Fresh, e.Age = !q.at.IsZero(), max(0, h.now().Sub(q.at))
		}
		h.mu.Unlock()
		if q.Type == "ack" && !e.Fresh {
			return
		}
		if p.request(node, e, q.inbound) {
			return
		}
	}
	if q.Type != "ack" {
		p.answer(unreachable(q.Type))
	}
}

// request reports whether the node has answered.
func (p *pane) request(node string, e envelope, m inbound) bool {
	h := p.hub
	body, err := json.Marshal(m)
	if err != nil {
		return false
	}
	b, err := h.net.sign(&e).seal(body)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(p.ctx, requestTimeout)
	defer cancel()
	b, err = h.cfg.Bus.Request(ctx, subjectAsk+token(node), b)
	if err != nil {
		h.cfg.Log.Debug("push: a pane's request to another server", "node", node, "err", err)
		return false
	}
	e, body, err = parseLetter(b)
	if err != nil || e.Kind != "done" {
		h.cfg.Log.Warn("push: answer of another server", "node", node, "err", err)
		return false
	}
	if len(body) > 0 {
		p.send(json.RawMessage(body))
	}
	return true
}

// stopped waits for the postman, or for ctx.
func (n *network) stopped(ctx context.Context) error {
	if n == nil {
		return nil
	}
	select {
	case <-n.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("push: the bus did not take the last letters: %w", ctx.Err())
	}
}
