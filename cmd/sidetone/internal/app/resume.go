package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"sidetone/asr"
	"sidetone/guidance"
	"sidetone/guidance/push"
	"sidetone/internal/journal"
	"sidetone/internal/journal/stream"
	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/rtpfork"
)

// sourceRTP is the source of calls whose legs the API opens.
const sourceRTP = "rtp"

// suspend keeps a call alive whose fork was lost, so that it may go on when the
// fork comes back. It reports whether the call waits.
func (c *call) suspend(e media.End) bool {
	window := c.env.cfg.Media.Reconnect
	c.mu.Lock()
	if c.rec.Ended != nil || c.lost != nil {
		c.mu.Unlock()
		return true
	}
	if window <= 0 {
		c.mu.Unlock()
		return false
	}
	c.lost, c.expires = &e, time.Now().Add(window)
	if c.shown {
		c.env.hub.Away(c.info.ID, push.AwayFork)
	}
	c.mu.Unlock()
	c.log.Warn("the fork was lost; the call waits for it", "for", window)
	c.endLegs(e)
	return true
}

// giveUp ends a call whose fork has not come back in time.
func (c *call) giveUp(now time.Time) {
	c.mu.Lock()
	e := c.lost
	late := e != nil && now.After(c.expires)
	c.mu.Unlock()
	if late {
		c.end(media.End{State: media.Lost, Reason: fmt.Sprintf("%s; it did not come back within %v", e.Reason, c.env.cfg.Media.Reconnect), At: now})
	}
}

// stop asks the source to end the call; one that waits for its fork ends at once.
func (c *call) stop(e media.End) {
	c.mu.Lock()
	waits, hangUp := c.lost != nil, c.hangUp
	c.mu.Unlock()
	if waits {
		c.end(e)
		return
	}
	hangUp(e)
}

// comesBack finds the call that waits for the fork that opens this one, and lets
// it go on.
func (cs *calls) comesBack(info *media.Call, hangUp func(media.End)) *call {
	cs.mu.Lock()
	var found *call
	for _, c := range cs.order {
		if !c.isDone() && c.fits(info) {
			found = c
		}
	}
	cs.mu.Unlock()
	if found == nil || !found.goOn(hangUp) {
		return nil
	}
	return found
}

// fits says whether a fork is that of the call: the source or its caller gives it
// the same name.
func (c *call) fits(info *media.Call) bool {
	if info.ID != "" {
		return c.info.ID == info.ID && c.info.Source == info.Source
	}
	return info.External != "" && c.info.External == info.External && c.info.Source == info.Source
}

// goOn lets a call go on that waits for its fork; it reports false if it does not
// wait.
func (c *call) goOn(hangUp func(media.End)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost == nil || c.rec.Ended != nil {
		return false
	}
	gap := time.Since(c.lost.At).Milliseconds()
	c.emit(journal.CallContinued, journal.Continued{Reason: c.lost.Reason, GapMS: max(gap, 0)})
	c.lost, c.hangUp = nil, hangUp
	if c.shown {
		c.env.hub.Away(c.info.ID, "")
	}
	c.log.Info("the call goes on", "gap_ms", gap)
	return true
}

// hold tells the other servers, and this one after a crash, that the call runs
// here.
func (c *call) hold() {
	c.env.journal.HoldOpen(stream.OpenCall{
		Key: c.key, Call: c.info.ID, Source: c.info.Source, External: c.info.External, Agent: c.info.Agent,
		Node: c.env.node, Started: c.info.Started, Seen: time.Now(),
	})
}

const (
	// adoptEvery is how often the calls of servers that are gone are looked for.
	adoptEvery = 2 * time.Second
	// adoptLimit bounds one look.
	adoptLimit = 20 * time.Second
)

// adopt takes over the calls of servers that are gone, until ctx ends.
func (cs *calls) adopt(ctx context.Context) {
	every := time.NewTicker(adoptEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			cs.adoptNow(ctx)
		}
	}
}

func (cs *calls) adoptNow(ctx context.Context) {
	look, cancel := context.WithTimeout(ctx, adoptLimit)
	defer cancel()
	if err := cs.adoptOnce(look); err != nil && ctx.Err() == nil {
		cs.env.log.Warn("calls of servers that are gone cannot be looked for", "error", err)
	}
}

func (cs *calls) adoptOnce(ctx context.Context) error {
	j := cs.env.journal
	orphans, err := j.Orphans(ctx)
	if err != nil {
		return err
	}
	var errs []error
	if cs.env.cfg.Journal.Shared() {
		errs = append(errs, cs.settle(ctx))
	}
	for _, o := range orphans {
		if cs.knows(o.Key) {
			continue
		}
		mine, err := j.Adopt(ctx, o, cs.env.node)
		if err == nil && mine {
			err = cs.revive(ctx, o)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// settle finds out whose the calls are that another server took over while this
// one could not be heard, though it lived: the one that hears the call has it.
func (cs *calls) settle(ctx context.Context) error {
	cs.mu.Lock()
	mine := map[string]*call{}
	for _, c := range cs.order {
		if !c.isDone() {
			mine[c.key] = c
		}
	}
	cs.mu.Unlock()
	if len(mine) == 0 {
		return nil
	}
	open, err := cs.env.journal.OpenCalls(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, o := range open {
		c := mine[o.Key]
		if c == nil || o.Node == cs.env.node {
			continue
		}
		if c.cede(media.End{State: media.Lost, Reason: "the server " + o.Node + " has the call", At: time.Now()}) {
			continue
		}
		took, err := cs.env.journal.Adopt(ctx, o, cs.env.node)
		if took {
			c.log.Warn("another server had taken the call over, which is heard here: it is taken back", "server", o.Node)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// cede leaves the call to another server, if nothing of it is heard here.
func (c *call) cede(e media.End) bool {
	c.mu.Lock()
	waits := c.lost != nil && c.rec.Ended == nil
	if waits {
		// The record ends here only: what happens is the other server's to tell.
		c.ceded, c.lost = true, nil
		at := e.At
		c.rec.Ended, c.rec.State, c.rec.Reason = &at, e.State.String(), e.Reason
	}
	c.mu.Unlock()
	if waits {
		close(c.over)
	}
	return waits
}

func (cs *calls) knows(key string) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, c := range cs.order {
		if c.key == key {
			return true
		}
	}
	return cs.env.admission.closing.Load()
}

// revive makes a call of what the journal holds of it.
func (cs *calls) revive(ctx context.Context, o stream.OpenCall) error {
	e := cs.env
	var rec journal.Call
	if err := e.journal.Read(ctx, o.Key, rec.Apply); err != nil {
		return fmt.Errorf("call %s of server %s: %w", o.Key, o.Node, err)
	}
	if rec.N == 0 {
		e.log.Warn("nothing is known of a call that was open", "key", o.Key, "server", o.Node)
		e.journal.DropOpen(o.Key)
		return nil
	}
	info := media.Call{
		ID: rec.Call, Agent: rec.Agent, Source: rec.Source, External: rec.External, Language: rec.Language, Phrases: rec.Phrases, Started: since(&rec, time.Now()),
	}
	language, err := e.language(info.Language)
	if err != nil {
		// The engine is another one now: it finds out.
		language = ""
	}
	c := cs.newCall(info, func(media.End) {}, language)
	c.key, c.rec = o.Key, rec
	if n := len(rec.Pauses); n > 0 && rec.Pauses[n-1].EndMS == nil {
		c.paused.Store(true)
	}
	if !rec.Running() {
		// Its last words were lost with its server.
		if !rec.Closed {
			c.mu.Lock()
			c.emit(journal.CallClosed, nil)
			c.mu.Unlock()
		}
		cs.finishRecording(c)
		e.journal.DropOpen(o.Key)
		return nil
	}
	why := "the server " + o.Node + " was lost"
	if o.Node == e.node {
		why = "this server was lost and has come back"
	}
	c.lost, c.expires = &media.End{State: media.Lost, Reason: why, At: rec.Last()}, time.Now().Add(e.cfg.Media.Reconnect)
	if c.session, err = guidance.Resume(e.guidance(&info), past(&rec, c.log.Error)); err != nil {
		return err
	}
	for _, s := range rec.Transcript {
		c.utterances[s.Leg] = max(c.utterances[s.Leg], s.Utterance)
	}
	for id := range c.utterances {
		// A partial that nobody kept may have had the next number.
		c.utterances[id]++
	}
	if twin := cs.twin(&info); twin != "" {
		c.lost.Reason += "; its fork has come to this server already, as call " + twin
		c.mu.Lock()
		c.emit(journal.CallEnded, journal.Ended{State: media.Lost.String(), Reason: c.lost.Reason, At: time.Now()})
		c.emit(journal.CallClosed, nil)
		c.mu.Unlock()
		cs.finishRecording(c)
		e.journal.DropOpen(c.key)
		return nil
	}
	if err = cs.enter(c, false); err != nil {
		return err
	}
	c.log.Warn("a call was found whose server was lost; it waits for its fork", "server", o.Node, "last", rec.Last())
	c.mu.Lock()
	c.restore()
	c.mu.Unlock()
	cs.start(c)
	if info.Source == sourceRTP && o.Node == e.node {
		if err = cs.reopen(c); err != nil {
			c.log.Warn("the ports of a call that was found could not be opened again", "error", err)
		}
	}
	return nil
}

// reopen opens the ports again to which the legs of a call are still being sent.
func (cs *calls) reopen(c *call) error {
	c.mu.Lock()
	before := slices.Clone(c.rec.Legs)
	why := *c.lost
	c.mu.Unlock()
	var specs []rtpfork.LegSpec
	for i := range before {
		l := &before[i]
		if l.Ended || l.Port == 0 {
			continue
		}
		role, _ := media.ParseRole(l.Role)
		q := legRequest{ID: l.ID, Role: l.Role, Identity: l.Identity, Codec: l.Codec, PayloadType: l.PayloadType, From: l.From}
		spec, err := q.spec()
		if err != nil {
			return fmt.Errorf("leg %q: %w", l.ID, err)
		}
		spec.Port = l.Port
		spec.Leg.Role, spec.Leg.RoleReason, spec.Leg.Name = role, l.RoleReason, l.Name
		specs = append(specs, spec)
	}
	if len(specs) == 0 {
		return errors.New("none is known")
	}
	var session atomic.Pointer[rtpfork.Session]
	if !c.goOn(func(end media.End) {
		if s := session.Load(); s != nil {
			s.HangUp(end)
		}
	}) {
		return nil
	}
	lose := func(err error) error {
		c.mu.Lock()
		c.lost = &why
		if c.shown {
			c.env.hub.Away(c.info.ID, push.AwayFork)
		}
		c.mu.Unlock()
		c.endLegs(why)
		return err
	}
	sinks := make([]media.LegSink, len(specs))
	for i := range specs {
		var err error
		if sinks[i], err = c.AddLeg(specs[i].Leg); err != nil {
			return lose(err)
		}
	}
	s, err := cs.fork.Open(c.info, specs, func(i int) media.LegSink { return sinks[i] }, func(end media.End) {
		if end.State == media.TimedOut && !c.anyAudio() {
			// Nobody was sending any more.
			end.State, end.Reason = media.Lost, why.Reason+"; "+end.Reason
			c.end(end)
			return
		}
		c.End(end)
	})
	if err != nil {
		return lose(err)
	}
	session.Store(s)
	for i, addr := range s.Addrs() {
		l := specs[i]
		c.located(journal.Located{Leg: l.Leg.ID, Address: cs.announced(addr), Codec: codecOf(&l), Port: addr.Port(), PayloadType: l.PayloadType, From: sourceOf(&l)})
	}
	return nil
}

func codecOf(l *rtpfork.LegSpec) string {
	if l.Detect {
		return autoCodec
	}
	return l.Format.String()
}

// sourceOf is the one address that may send a leg; empty: any may.
func sourceOf(l *rtpfork.LegSpec) string {
	if len(l.Sources) == 0 {
		return ""
	}
	return l.Sources[0].String()
}

// anyAudio says whether audio has come on any leg since the call went on.
func (c *call) anyAudio() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.legs, func(l *leg) bool { return l.begun.Load() })
}

// twin is the key of the running call here that the same fork has brought.
func (cs *calls) twin(info *media.Call) string {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, c := range cs.order {
		same := c.info.ID == info.ID || info.External != "" && c.info.External == info.External
		if same && c.info.Source == info.Source && !c.isDone() {
			return c.key
		}
	}
	return ""
}

// past is what the guidance has to know of a call.
func past(rec *journal.Call, failed func(string, ...any)) guidance.Past {
	var p guidance.Past
	for i := range rec.Transcript {
		s := &rec.Transcript[i]
		p.Said = append(p.Said, guidance.PastFinal{
			Leg: guidance.Leg{ID: s.Leg, Role: s.Role}, Hypothesis: hypothesis(&s.Final),
			At: rec.Started.Add(time.Duration(s.EndMS) * time.Millisecond),
		})
	}
	for _, k := range rec.Cards {
		card, ok := readCard(&k, failed)
		if !ok {
			continue
		}
		p.Cards = append(p.Cards, guidance.PastCard{Card: card, Live: k.State == string(push.Live), Wrong: k.State == string(push.Wrong)})
	}
	return p
}

// hypothesis is a final as it was recognised; its samples count from the start of
// the call.
func hypothesis(f *journal.Final) asr.Hypothesis {
	sample := func(ms int64) int64 { return pcm.Samples(time.Duration(ms) * time.Millisecond) }
	h := asr.Hypothesis{
		Utterance: f.Utterance, Revision: max(f.Revision, 1), Final: true, Stable: len(f.Words), Start: sample(f.StartMS), End: sample(f.EndMS),
	}
	for _, w := range f.Words {
		h.Words = append(h.Words, asr.Word{Text: w.Text, Start: sample(w.StartMS), End: sample(w.EndMS), Confidence: w.Confidence, Joined: w.Joined})
	}
	return h
}

func readCard(k *journal.Shown, failed func(string, ...any)) (guidance.Card, bool) {
	var card guidance.Card
	if err := json.Unmarshal(k.Card.Card, &card); err != nil {
		failed("a card of the journal cannot be read", "card", k.ID, "error", err)
		return card, false
	}
	return card, true
}

// restore shows a call again that was found in the journal. The caller holds mu.
func (c *call) restore() {
	if c.info.Agent == "" {
		return
	}
	c.shown = true
	if err := c.env.hub.Restore(c.shownState()); err != nil {
		c.log.Error("showing the call again", "error", err)
		c.shown = false
	}
}

// shownState is the call as the panes showed it. The caller holds mu.
func (c *call) shownState() push.CallState {
	rec := &c.rec
	s := push.CallState{Call: push.Call{ID: c.info.ID, Agent: c.info.Agent, Started: c.info.Started, Taken: rec.N}}
	if c.lost != nil {
		s.Away = push.AwayFork
	}
	if n := len(rec.Pauses); n > 0 && rec.Pauses[n-1].EndMS == nil {
		s.Paused = rec.Pauses[n-1].Reason
	}
	for i, l := range rec.Legs {
		if slices.ContainsFunc(rec.Legs[i+1:], func(later journal.Leg) bool { return later.ID == l.ID }) {
			continue
		}
		s.Legs = append(s.Legs, push.Leg{ID: l.ID, Role: l.Role, RoleReason: l.RoleReason, Identity: l.Identity, State: push.LegEnded})
	}
	for _, f := range rec.Transcript {
		u := push.Utterance{
			Leg: f.Leg, Role: f.Role, No: f.Utterance, Revision: max(f.Revision, 1), StartMS: f.StartMS, EndMS: f.EndMS,
			Words: make([]push.Word, len(f.Words)),
		}
		for i, w := range f.Words {
			u.Words[i] = push.Word{Text: w.Text, StartMS: w.StartMS, EndMS: w.EndMS}
		}
		h := hypothesis(&f.Final)
		write(u.Words, &h, spans(&h, c.language))
		s.Utterances = append(s.Utterances, u)
	}
	for _, k := range rec.Cards {
		card, ok := readCard(&k, c.log.Error)
		if !ok {
			continue
		}
		r := push.CardRecord{Card: card, State: push.State(k.State), Reason: k.Reason}
		if k.Painted != nil {
			r.Painted, r.Latency = k.Painted.At, time.Duration(k.Painted.LatencyMS)*time.Millisecond
		}
		s.Cards = append(s.Cards, r)
	}
	return s
}
