package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sidetone/asr/vad"
	"sidetone/cmd/sidetone/internal/config"
	"sidetone/cmd/sidetone/internal/trace"
	"sidetone/cmd/sidetone/internal/voices"
	"sidetone/guidance"
	"sidetone/guidance/push"
	"sidetone/internal/journal"
	"sidetone/internal/journal/stream"
	"sidetone/internal/records"
	"sidetone/media"
	"sidetone/media/roles"
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
	roles     roles.Rules

	recogniser *recogniser
	admission  *admission
	// journal is where what happens is kept; node is this server's name there.
	journal *stream.Log
	node    string
	// tracer follows the calls that are traced; nil: none is.
	tracer *trace.Tracer
	// recordings keeps the audio of calls; nil: none is kept.
	recordings *recordings
	// ear hears whose voices the legs carry, comparisons keeps what was decided; nil:
	// nobody does.
	ear         *voices.Ear
	comparisons comparisons
	// learner learns from voices; nil: nobody does.
	learner learner
	// kit is what all calls share of voices; nil: there is none.
	kit *voiceKit
}

// calls holds the running calls and the last ended ones. It is the media.Host
// of every source.
type calls struct {
	env  *env
	fork *rtpfork.Manager
	// ctx ends the work of all legs at once, when waiting is over.
	ctx    context.Context //nolint:containedctx // it belongs to the calls, which outlive the requests that open them
	cancel context.CancelFunc

	// quit ends the search for calls whose server was lost.
	quit context.CancelFunc

	mu   sync.Mutex
	byID map[string]*call
	// refused counts the calls refused since refusedSince.
	refused      int
	refusedSince time.Time
	// order holds the calls from the oldest to the newest.
	order []*call
	wg    sync.WaitGroup
}

var _ media.Host = (*calls)(nil)

func newCalls(e *env, fork *rtpfork.Manager) *calls {
	ctx, cancel := context.WithCancel(context.Background())
	return &calls{env: e, fork: fork, ctx: ctx, cancel: cancel, quit: func() {}, byID: map[string]*call{}}
}

// watch takes over the calls whose server was lost, until close. Those that are
// known to be lost now are taken over when it returns: their forks may come any
// moment.
func (cs *calls) watch() {
	ctx, cancel := context.WithCancel(cs.ctx)
	cs.quit = cancel
	cs.adoptNow(ctx)
	cs.wg.Go(func() { cs.adopt(ctx) })
	cs.wg.Go(func() { cs.finishRecordings(ctx) })
}

// Open implements media.Host. A call without a name gets one.
func (cs *calls) Open(info media.Call, hangUp func(media.End)) (media.CallSink, error) {
	c, err := cs.begin(info, hangUp)
	if err != nil {
		cs.env.admission.count(info.Source, err)
		return nil, err
	}
	return c, nil
}

// begin begins a call, or lets one go on whose fork was lost.
func (cs *calls) begin(info media.Call, hangUp func(media.End)) (*call, error) {
	return cs.beginTraced(info, hangUp, trace.Ask{})
}

// beginTraced is begin with what the request says of the call's trace.
func (cs *calls) beginTraced(info media.Call, hangUp func(media.End), ask trace.Ask) (*call, error) {
	e := cs.env
	if c := cs.comesBack(&info, hangUp); c != nil {
		return c, nil
	}
	if info.ID == "" {
		info.ID = newID()
	}
	if info.Started.IsZero() {
		info.Started = time.Now()
	}
	language, err := e.language(info.Language)
	if err != nil {
		return nil, err
	}
	c := cs.newCall(info, hangUp, language)
	c.key = journal.Key(info.Started, rand.Text()[:10])
	c.session, err = guidance.New(e.guidance(&info))
	if err != nil {
		return nil, err
	}
	if err = cs.enter(c, true); err != nil {
		cs.keepRefused(c, err)
		return nil, err
	}
	// Whoever asks for a trace finds its ID beside the call's name.
	if id := e.tracer.Begin(c.key, ask); id != "" {
		c.log.Info("call is traced", "trace", id)
	}
	c.mu.Lock()
	c.rec.Record = e.recordings.wanted(info.Record)
	c.begun()
	c.hold()
	if c.info.Agent != "" {
		c.present(c.info.Agent)
	}
	c.mu.Unlock()
	c.log.Info("call begins", "source", info.Source)
	cs.start(c)
	return c, nil
}

// keepRefused writes down that a call was offered for which there was no room.
// While the journal or its disk is what lacks room, and of those beyond maxRefused
// a second, the metrics alone tell.
func (cs *calls) keepRefused(c *call, err error) {
	var r *refusal
	if !errors.As(err, &r) || r.cause == causeJournal || r.cause == causeDisk || !cs.mayKeepRefused(time.Now()) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun()
	c.emit(journal.CallEnded, journal.Ended{State: media.Refused.String(), Reason: r.text, At: time.Now()})
	c.emit(journal.CallClosed, nil)
}

// maxRefused bounds how many refused calls are written down in a second: a source
// that does not take no for an answer must not fill the journal.
const maxRefused = 10

func (cs *calls) mayKeepRefused(now time.Time) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if now.Sub(cs.refusedSince) >= time.Second {
		cs.refusedSince, cs.refused = now, 0
	}
	cs.refused++
	return cs.refused <= maxRefused
}

// begun writes down that the call begins. The caller holds mu.
func (c *call) begun() {
	c.emit(journal.CallStarted, journal.Started{
		Call: c.info.ID, Agent: c.info.Agent, Source: c.info.Source, External: c.info.External, Direction: direction(c.info.Direction),
		Language: c.info.Language, Phrases: c.info.Phrases, Started: c.info.Started, Record: c.rec.Record,
	})
}

func direction(d media.Direction) string {
	if d == media.DirectionUnknown {
		return ""
	}
	return d.String()
}

// guidance is what a call's session is told.
func (e *env) guidance(info *media.Call) guidance.Config {
	return guidance.Config{
		Call: info.ID, Language: e.cfg.Guidance.Language, Started: info.Started,
		Playbook: e.playbook, Knowledge: e.knowledge,
	}
}

func (cs *calls) newCall(info media.Call, hangUp func(media.End), language string) *call {
	return &call{
		env: cs.env, ctx: cs.ctx, info: info, hangUp: hangUp, language: language, named: info.Agent != "",
		log: cs.env.log.With("call", info.ID), over: make(chan struct{}), done: make(chan struct{}),
		utterances: map[string]int{}, later: &cs.wg,
	}
}

// start lets a call live until it is over.
func (cs *calls) start(c *call) {
	c.record()
	cs.wg.Go(func() {
		cs.env.metrics.running.Inc()
		defer cs.env.metrics.running.Dec()
		c.run()
	})
}

// open begins a call whose legs arrive as RTP, and takes its ports. base is the
// address under which the caller reached the server.
func (cs *calls) open(q callRequest, base string) (callReply, error) {
	if err := cs.env.recordings.check(q.Record); err != nil {
		return callReply{}, err
	}
	var session atomic.Pointer[rtpfork.Session]
	c, err := cs.beginTraced(media.Call{
		ID: q.Call, Agent: q.Agent, Source: sourceRTP, Started: time.Now(), Language: q.Language, Phrases: q.Phrases, Record: q.Record,
	}, func(end media.End) {
		if s := session.Load(); s != nil {
			s.HangUp(end)
		}
	}, trace.Ask{Demanded: q.Trace, Parent: q.parent})
	if err != nil {
		return callReply{}, err
	}
	refuse := func(err error) (callReply, error) {
		c.End(media.End{State: media.Refused, Reason: err.Error(), At: time.Now()})
		c.wait(cs.ctx)
		cs.leave(c)
		return callReply{}, err
	}
	if q.Customer != "" {
		c.nameCustomer(journal.Named{Customer: q.Customer, Confirmed: q.Confirmed, By: "POST /v1/calls"})
	}
	sinks := make([]media.LegSink, len(q.Legs))
	specs := make([]rtpfork.LegSpec, len(q.Legs))
	for i, lq := range q.Legs {
		if specs[i], err = lq.spec(); err != nil {
			return refuse(err)
		}
		if sinks[i], err = c.AddLeg(specs[i].Leg); err != nil {
			return refuse(err)
		}
	}
	s, err := cs.fork.Open(c.info, specs, func(i int) media.LegSink { return sinks[i] }, c.End)
	if err != nil {
		return refuse(err)
	}
	session.Store(s)
	reply := callReply{Call: c.info.ID, Pane: base + "/agent/" + c.info.Agent}
	for i, addr := range s.Addrs() {
		lq := q.Legs[i]
		reply.Legs = append(reply.Legs, legReply{ID: lq.ID, Role: lq.Role, Address: cs.announced(addr), Codec: lq.Codec})
		c.located(journal.Located{Leg: lq.ID, Address: cs.announced(addr), Codec: lq.Codec, Port: addr.Port(), PayloadType: lq.PayloadType, From: lq.From})
	}
	return reply, nil
}

// public is the address that others send RTP to; the zero value means the ports'
// own.
func (cs *calls) public() netip.Addr {
	a, err := netip.ParseAddr(cs.env.cfg.Media.Public)
	if err != nil { // it is empty: the configuration has been checked
		return netip.Addr{}
	}
	return a
}

// announced is the address of a port as others are told it.
func (cs *calls) announced(a netip.AddrPort) string {
	if p := cs.public(); p.IsValid() {
		a = netip.AddrPortFrom(p, a.Port())
	}
	return a.String()
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
func (cs *calls) enter(c *call, admit bool) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if old := cs.byID[c.info.ID]; old != nil {
		if !old.isDone() {
			return fmt.Errorf("call %q: %w", c.info.ID, media.ErrDuplicate)
		}
		cs.remove(old)
	}
	if admit {
		if err := cs.env.admission.admit(cs.unfinished(), cs.env.cfg.Media.MaxCalls); err != nil {
			return fmt.Errorf("call %q: %w", c.info.ID, err)
		}
	} else if cs.env.admission.closing.Load() {
		return fmt.Errorf("call %q: %w", c.info.ID, media.ErrDraining)
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

// running is how many calls have not come to their end state.
func (cs *calls) running() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.unfinished()
}

// unfinished is running for who holds mu.
func (cs *calls) unfinished() int {
	n := 0
	for _, o := range cs.order {
		if !o.isDone() {
			n++
		}
	}
	return n
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

// end ends a running call and waits for its last words, or for ctx. It reports
// whether the call is known.
func (cs *calls) end(ctx context.Context, id string, e media.End) bool {
	c := cs.find(id)
	if c == nil {
		return false
	}
	c.stop(e)
	c.wait(ctx)
	return true
}

func (cs *calls) find(id string) *call {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.byID[id]
}

func (cs *calls) record(id string) (journal.Call, bool) {
	c := cs.find(id)
	if c == nil {
		return journal.Call{}, false
	}
	return c.snapshot(), true
}

// list tells of all kept calls, the newest first.
func (cs *calls) list() []records.Summary {
	cs.mu.Lock()
	order := slices.Clone(cs.order)
	cs.mu.Unlock()
	out := make([]records.Summary, 0, len(order))
	for _, c := range slices.Backward(order) {
		r := c.snapshot()
		out = append(out, summarise(&r))
	}
	return out
}

// forget drops what is kept here of calls that are over.
func (cs *calls) forget(keys []string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, c := range slices.Clone(cs.order) {
		if slices.Contains(keys, c.key) && c.isDone() {
			cs.remove(c)
		}
	}
}

// close refuses new calls, ends the running ones and waits for their last
// words; when ctx ends first, what is unfinished is dropped.
func (cs *calls) close(ctx context.Context) {
	cs.mu.Lock()
	// No call begins any more once the lock is free: enter asks under it.
	cs.env.admission.closing.Store(true)
	running := slices.Clone(cs.order)
	cs.mu.Unlock()
	cs.quit()
	end := stopping()
	stop := context.AfterFunc(ctx, func() {
		cs.cancel()
		for _, c := range running {
			c.end(end)
		}
	})
	defer stop()
	for _, c := range running {
		if !c.isDone() {
			c.stop(end)
		}
	}
	cs.fork.Close(end)
	cs.wg.Wait()
	cs.cancel()
}

// stopping is the end of calls that run when the server stops.
func stopping() media.End {
	return media.End{State: media.Aborted, Reason: "the server is stopping", At: time.Now()}
}

// Painted implements push.Listener.
func (cs *calls) Painted(p push.Painted) {
	if c := cs.find(p.Card.Call); c != nil && p.First {
		c.painted(&p)
	}
	if !p.First || !p.FromWords {
		return
	}
	cs.env.metrics.cardLatency.Observe(seconds(p.Latency))
	cs.env.log.Info("card painted", "call", p.Card.Call, "card", p.Card.ID, "latency", p.Latency.Round(time.Millisecond))
}

// Acted implements push.Listener.
func (cs *calls) Acted(a push.Acted) {
	cs.env.metrics.cardActions.WithLabelValues(string(a.State)).Inc()
	cs.env.log.Info("card answered", "call", a.Card.Call, "card", a.Card.ID, "action", a.State)
	if c := cs.find(a.Card.Call); c != nil {
		c.feedback(a.Agent, a.Card.ID, a.State)
	}
}

// Pause implements push.Listener.
func (cs *calls) Pause(agent, id string, paused bool) {
	c := cs.find(id)
	if c == nil {
		return
	}
	if paused {
		c.Pause("asked for by " + agent)
	} else {
		c.Resume("asked for by " + agent)
	}
}

// Swap implements push.Listener.
func (cs *calls) Swap(agent, id string) {
	if c := cs.find(id); c != nil {
		c.swap("swapped: asked for by " + agent)
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

// newID names a call that came without a name.
func newID() string { return "call-" + rand.Text()[:10] }
