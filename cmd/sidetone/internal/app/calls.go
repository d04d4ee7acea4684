package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"sidetone/asr"
	"sidetone/asr/vad"
	"sidetone/cmd/sidetone/internal/config"
	"sidetone/guidance"
	"sidetone/guidance/push"
	"sidetone/internal/pcm"
	"sidetone/internal/queue"
	"sidetone/media"
	"sidetone/media/g711"
	"sidetone/media/rtpfork"
)

// keptCalls is how many ended calls the API still tells of.
const keptCalls = 200

// env is what every call shares.
type env struct {
	cfg       config.Config
	log       *slog.Logger
	metrics   *metrics
	hub       *push.Hub
	vad       *vad.Model
	playbook  *guidance.Playbook
	knowledge guidance.Knowledge

	recogniser *recogniser
}

// calls holds the running calls and the last ended ones.
type calls struct {
	env  *env
	fork *rtpfork.Manager
	// ctx ends the work of all legs at once, when waiting is over.
	ctx    context.Context //nolint:containedctx // it belongs to the calls, which outlive the requests that open them
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	byID   map[string]*call
	// order holds the calls from the oldest to the newest.
	order []*call
	wg    sync.WaitGroup
}

func newCalls(e *env, fork *rtpfork.Manager) *calls {
	ctx, cancel := context.WithCancel(context.Background())
	return &calls{env: e, fork: fork, ctx: ctx, cancel: cancel, byID: map[string]*call{}}
}

// open begins a call: it takes the ports and starts a worker per leg. base is
// the address under which the caller reached the server.
func (cs *calls) open(q callRequest, base string) (callReply, error) {
	if q.Call == "" {
		q.Call = newID()
	}
	c, err := cs.build(q)
	if err != nil {
		return callReply{}, err
	}
	if err = cs.enter(c); err != nil {
		c.discard()
		return callReply{}, err
	}
	reply, err := cs.connect(c, q, base)
	if err != nil {
		cs.leave(c)
		c.discard()
		return callReply{}, err
	}
	return reply, nil
}

// build makes a call with its legs' recognisers, nothing running yet.
func (cs *calls) build(q callRequest) (*call, error) {
	e := cs.env
	language, err := e.language(q.Language)
	if err != nil {
		return nil, err
	}
	if err = e.recogniser.admit(); err != nil {
		return nil, err
	}
	info := media.Call{ID: q.Call, Agent: q.Agent, Source: "rtp", Started: time.Now()}
	c := &call{env: e, info: info, log: e.log.With("call", q.Call), over: make(chan struct{}), done: make(chan struct{})}
	c.rec = record{
		Call: info.ID, Agent: info.Agent, Source: info.Source, Started: info.Started, State: "running",
		Transcript: []spoken{}, Cards: []cardRecord{},
	}
	c.session, err = guidance.New(guidance.Config{
		Call: info.ID, Language: e.cfg.Guidance.Language, Started: info.Started,
		Playbook: e.playbook, Knowledge: e.knowledge,
	})
	if err != nil {
		return nil, err
	}
	speech := asr.StreamConfig{Call: info.ID, Language: language, Phrases: e.recogniser.phrases(q.Phrases)}
	for _, lq := range q.Legs {
		speech.Leg = lq.ID
		role, _ := media.ParseRole(lq.Role) // checked with the request
		l := &leg{
			call:  c,
			info:  media.Leg{ID: lq.ID, Role: role, RoleReason: "announced by the API", Identity: lq.Identity},
			queue: queue.New[pcm.Frame](legQueue),

			language: language,
		}
		if l.detector, err = e.vad.NewDetector(vad.Config{}); err == nil {
			l.stream, err = e.recogniser.NewStream(cs.ctx, speech)
		}
		if err != nil {
			c.discard()
			return nil, err
		}
		c.legs = append(c.legs, l)
	}
	return c, nil
}

// language is what the engines are told of a call's language: its own or the
// configured one; empty has it found out.
func (e *env) language(own string) (string, error) {
	if own == "" {
		own = e.cfg.Recognition.Language
	} else if err := e.recogniser.checkLanguage(own); err != nil {
		return "", badRequest("GET /v1/recognition names the languages", "language: %v", err)
	}
	if own == config.AutoLanguage {
		return "", nil
	}
	return own, nil
}

// enter gives the call its place, unless its name is taken or the server full.
func (cs *calls) enter(c *call) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.closed {
		return &apiError{Status: http.StatusServiceUnavailable, Text: "the server is stopping", Hint: "use another node"}
	}
	if old := cs.byID[c.info.ID]; old != nil {
		if !old.isDone() {
			return fmt.Errorf("call %q: %w", c.info.ID, rtpfork.ErrDuplicateCall)
		}
		cs.remove(old)
	}
	cs.byID[c.info.ID] = c
	cs.order = append(cs.order, c)
	for i := 0; len(cs.order) > keptCalls && i < len(cs.order); {
		if !cs.order[i].isDone() {
			i++
			continue
		}
		cs.remove(cs.order[i])
	}
	return nil
}

func (cs *calls) leave(c *call) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.remove(c)
}

// remove forgets a call. The caller holds mu.
func (cs *calls) remove(c *call) {
	if cs.byID[c.info.ID] == c {
		delete(cs.byID, c.info.ID)
	}
	cs.order = slices.DeleteFunc(cs.order, func(o *call) bool { return o == c })
}

// connect shows the call to its agent, opens its ports and sets it running.
func (cs *calls) connect(c *call, q callRequest, base string) (callReply, error) {
	e := cs.env
	specs := make([]rtpfork.LegSpec, len(c.legs))
	shown := push.Call{ID: c.info.ID, Agent: c.info.Agent, Started: c.info.Started}
	for i, l := range c.legs {
		law, err := g711.ParseLaw(q.Legs[i].Codec)
		if err != nil {
			return callReply{}, err
		}
		specs[i] = rtpfork.LegSpec{Leg: l.info, Law: law}
		shown.Legs = append(shown.Legs, push.Leg{ID: l.info.ID, Role: l.info.Role.String(), Identity: l.info.Identity, State: push.LegWaiting})
	}
	if err := e.hub.CallStarted(shown); err != nil {
		return callReply{}, err
	}
	session, err := cs.fork.Open(c.info, specs, func(i int) media.LegSink { return c.legs[i] }, c.mediaEnded)
	if err != nil {
		e.hub.CallEnded(c.info.ID, media.Refused.String(), err.Error(), time.Now())
		e.metrics.calls.WithLabelValues(media.Refused.String()).Inc()
		return callReply{}, err
	}
	reply := callReply{Call: c.info.ID, Pane: base + "/agent/" + c.info.Agent}
	c.mu.Lock()
	for i, addr := range session.Addrs() {
		l := c.legs[i]
		reply.Legs = append(reply.Legs, legReply{ID: l.info.ID, Role: l.info.Role.String(), Address: addr.String(), Codec: q.Legs[i].Codec})
		c.rec.Legs = append(c.rec.Legs, legRecord{
			ID: l.info.ID, Role: l.info.Role.String(), RoleReason: l.info.RoleReason, Identity: l.info.Identity,
			Address: addr.String(), Codec: q.Legs[i].Codec,
		})
	}
	c.mu.Unlock()
	c.log.Info("call begins", "agent", c.info.Agent, "legs", len(c.legs))

	var workers sync.WaitGroup
	for _, l := range c.legs {
		workers.Go(func() { l.work(cs.ctx) })
	}
	cs.wg.Go(func() {
		e.metrics.running.Inc()
		defer e.metrics.running.Dec()
		c.run(&workers)
	})
	return reply, nil
}

// end ends a running call and waits for its last words, or for ctx. It reports
// whether the call is known.
func (cs *calls) end(ctx context.Context, id string, e media.End) bool {
	c := cs.find(id)
	if c == nil {
		return false
	}
	cs.fork.End(id, e)
	c.wait(ctx)
	return true
}

func (cs *calls) find(id string) *call {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.byID[id]
}

func (cs *calls) record(id string) (record, bool) {
	c := cs.find(id)
	if c == nil {
		return record{}, false
	}
	return c.snapshot(), true
}

// summary is a call in the list of calls.
type summary struct {
	Call    string     `json:"call"`
	Agent   string     `json:"agent"`
	Started time.Time  `json:"started"`
	Ended   *time.Time `json:"ended,omitempty"`
	State   string     `json:"state"`
	Reason  string     `json:"reason,omitempty"`
}

// list tells of all kept calls, the newest first.
func (cs *calls) list() []summary {
	cs.mu.Lock()
	order := slices.Clone(cs.order)
	cs.mu.Unlock()
	out := make([]summary, 0, len(order))
	for _, c := range slices.Backward(order) {
		r := c.snapshot()
		out = append(out, summary{Call: r.Call, Agent: r.Agent, Started: r.Started, Ended: r.Ended, State: r.State, Reason: r.Reason})
	}
	return out
}

// close refuses new calls, ends the running ones and waits for their last
// words; when ctx ends first, what is unfinished is dropped.
func (cs *calls) close(ctx context.Context) {
	cs.mu.Lock()
	cs.closed = true
	cs.mu.Unlock()
	stop := context.AfterFunc(ctx, cs.cancel)
	defer stop()
	cs.fork.Close(media.End{State: media.Aborted, Reason: "the server is stopping", At: time.Now()})
	cs.wg.Wait()
	cs.cancel()
}

// Painted implements push.Listener.
func (cs *calls) Painted(p push.Painted) {
	if !p.First || !p.FromWords {
		return
	}
	cs.env.metrics.cardLatency.Observe(seconds(p.Latency))
	cs.env.log.Info("card painted", "call", p.Card.Call, "card", p.Card.ID, "latency", p.Latency.Round(time.Millisecond))
}

// Acted implements push.Listener.
func (cs *calls) Acted(a push.Acted) {
	cs.env.metrics.cardActions.WithLabelValues(string(a.State)).Inc()
	cs.env.log.Info("card answered", "call", a.Card.Call, "card", a.Card.ID, "action", a.State, "agent", a.Agent)
	if c := cs.find(a.Card.Call); c != nil {
		c.feedback(a.Card.ID, a.State)
	}
}

func (c *call) isDone() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// discard frees a call that never ran.
func (c *call) discard() {
	for _, l := range c.legs {
		if err := l.stream.Close(); err != nil {
			c.log.Error("closing the recogniser's stream", "error", err)
		}
	}
}

// newID names a call that came without a name.
func newID() string { return "call-" + rand.Text()[:10] }
