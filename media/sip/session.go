package sip

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"sidetone/media"
	"sidetone/media/port"
	"sidetone/media/sdp"
	"sidetone/media/siprec"
)

// allCodecs begins the name of a description whose codecs must all be accepted.
const allCodecs = "rtpengine"

// session is one recording session: a dialog, the call that it brings and the
// lines that are open. Its goroutine is run; requests come on others and take mu.
type session struct {
	server    *Server
	log       *slog.Logger
	id        dialogID
	initial   initialID
	branch    string // of the INVITE
	transport string
	call      media.CallSink
	siprec    bool // the other side speaks of siprec

	// ask holds the first end that was asked for; done is closed at the end.
	ask  chan ending
	done chan struct{}

	mu    sync.Mutex
	ended bool
	// from and to are our headers for requests of ours, target and routes where
	// they go, source where the last request came from.
	from, to    string
	target      sip.Uri
	routes      []string
	first       sip.Uri // the first route
	source      string
	localSeq    uint32
	remoteSeq   uint32
	remoteFlags remote

	rec     *siprec.Recording
	offer   *sdp.Session
	answer  *sdp.Session
	lines   []*line // by m-line; nil where none is open
	local   sdp.Local
	pending bool // an offer of ours waits for its answer in the ACK
	// acks are closed by the ACKs of our 200s that are still to come, by CSeq.
	acks  map[uint32]chan struct{}
	last  *sip.Response // to the INVITE
	timer interval
	fresh time.Time // when the timer was last set
}

// remote is what the other side allows.
type remote struct{ update bool }

// ending is how a session ends, and whether the other side must be told.
type ending struct {
	media.End
	bye    bool
	reason string // for the Reason header of the BYE
}

// hangUp asks for an end that the other side is told of.
func (d *session) hangUp(e media.End) {
	d.end(ending{End: e, bye: true, reason: `SIP;cause=200;text="` + strings.ReplaceAll(e.Reason, `"`, "'") + `"`})
}

// end asks for an end, unless one has been asked for before.
func (d *session) end(e ending) {
	select {
	case d.ask <- e:
	default:
	}
}

// run waits for the end of the session and carries it out.
func (d *session) run() {
	defer close(d.done)
	tick := time.NewTicker(d.server.timing.tick)
	defer tick.Stop()
	for {
		select {
		case e := <-d.ask:
			d.finish(e)
			return
		case now := <-tick.C:
			d.tick(now)
		}
	}
}

// tick looks whether the session has ended by itself.
func (d *session) tick(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	active, idle := false, true
	for _, l := range d.lines {
		if l == nil || l.held {
			continue
		}
		active = true
		idle = idle && l.silent(now) >= d.server.cfg.MediaIdle
	}
	if active && idle {
		d.end(ending{
			End: media.End{State: media.TimedOut, Reason: fmt.Sprintf("no packet on any line for %v", d.server.cfg.MediaIdle), At: now},
			bye: true, reason: `SIP;cause=408;text="no RTP on any line"`,
		})
		return
	}
	if d.timer.length == 0 {
		return
	}
	age := now.Sub(d.fresh)
	switch {
	case age >= d.timer.length-min(32*time.Second, d.timer.length/3):
		d.end(ending{
			End: media.End{State: media.TimedOut, Reason: "the session was not refreshed in time", At: now},
			bye: true, reason: `SIP;cause=408;text="session timer expired"`,
		})
	case d.timer.ours && age >= d.timer.length/2 && d.remoteFlags.update:
		// Until the next tick at least, so that a lost one is tried again.
		req := d.request(sip.UPDATE)
		req.AppendHeader(sip.NewHeader("Supported", "timer"))
		for _, h := range d.timer.headers() {
			req.AppendHeader(h)
		}
		d.mu.Unlock()
		res, err := d.send(req)
		d.mu.Lock()
		if err == nil && res.IsSuccess() {
			d.fresh = now
		}
	}
}

// finish ends the lines and the call, and tells the other side if it is to be.
func (d *session) finish(e ending) {
	d.server.remove(d)
	d.mu.Lock()
	d.ended = true
	lines := d.lines
	d.lines = nil
	var bye *sip.Request
	if e.bye {
		bye = d.request(sip.BYE)
		bye.AppendHeader(sip.NewHeader("Reason", e.reason))
	}
	d.mu.Unlock()
	var wg sync.WaitGroup
	if bye != nil {
		wg.Go(func() {
			if _, err := d.send(bye); err != nil {
				d.log.Warn("the BYE of a recording session was not answered", "error", err)
			}
		})
	}
	endLines(lines, e.End)
	d.call.End(e.End)
	wg.Wait()
	d.log.Info("recording session ended", "state", e.State, "why", e.Reason)
}

// endLines ends lines side by side, since each takes its time.
func endLines(lines []*line, e media.End) {
	var wg sync.WaitGroup
	for _, l := range lines {
		if l != nil {
			wg.Go(func() { l.port.End(e) })
		}
	}
	wg.Wait()
}

// request builds a request within the dialog (RFC 3261, section 12.2.1.1).
func (d *session) request(method sip.RequestMethod) *sip.Request {
	d.localSeq++
	req := sip.NewRequest(method, d.target)
	for _, r := range d.routes {
		req.AppendHeader(sip.NewHeader("Route", r))
	}
	req.AppendHeader(sip.NewHeader("From", d.from))
	req.AppendHeader(sip.NewHeader("To", d.to))
	callID := sip.CallIDHeader(d.id.call)
	req.AppendHeader(&callID)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: d.localSeq, MethodName: method})
	hops := sip.MaxForwardsHeader(70)
	req.AppendHeader(&hops)
	req.AppendHeader(sip.NewHeader("Contact", d.server.contact(d.transport)))
	req.SetBody(nil)
	req.SetTransport(d.transport)
	next := d.target
	if len(d.routes) > 0 {
		next = d.first
	}
	if next.Port == 0 {
		next.Port = sip.DefaultPort(d.transport)
	}
	req.SetDestination(net.JoinHostPort(strings.Trim(next.Host, "[]"), fmt.Sprint(next.Port)))
	if d.transport != "UDP" {
		// The connection that the other side opened, while it is there.
		req.SetDestination(d.source)
	}
	return req
}

// send runs a request of ours to its final response.
func (d *session) send(req *sip.Request) (*sip.Response, error) {
	res, err := d.server.request(req, d.transport)
	if err == nil || d.transport == "UDP" {
		return res, err
	}
	// The connection is gone: open one to where the dialog says.
	again := req.Clone()
	again.RemoveHeader("Via")
	again.SetDestination("")
	res, retry := d.server.request(again, d.transport)
	if retry != nil {
		return nil, errors.Join(err, retry)
	}
	return res, nil
}

// learn takes the remote target and the sequence number of a request.
func (d *session) learn(req *sip.Request) {
	d.remoteSeq = req.CSeq().SeqNo
	d.source = req.Source()
	if c := req.Contact(); c != nil && c.Address.Host != "" && !c.Address.Wildcard {
		d.target = *c.Address.Clone()
	}
	if a := tokens(req, "Allow"); len(a) > 0 {
		d.remoteFlags.update = false
		for _, m := range a {
			d.remoteFlags.update = d.remoteFlags.update || m == "update"
		}
	}
}

// apply brings an offer, a document or both into force, as far as the lines can
// be taken, and returns why it cannot be. A nil offer leaves the lines as they
// are.
func (d *session) apply(offer *sdp.Session, doc *siprec.Metadata, now time.Time) *refusal {
	if offer == nil {
		d.carry(d.rec.Apply(nil, doc, func(i int) bool { return d.lines[i] != nil }), nil, nil, now)
		return nil
	}
	if n := len(d.lines); len(offer.Media) < n {
		return refuse(488, 0, fmt.Sprintf("%d m= lines after %d: lines are taken away by port 0 (RFC 3264, section 8)", len(offer.Media), n))
	}
	// rtpengine, of which OpenSIPS and Kamailio make their recordings, fails an
	// answer that does not accept all that it offered.
	all := strings.HasPrefix(offer.Name, allCodecs)
	plans := make([]plan, len(offer.Media))
	some, wanted := false, false
	for i := range offer.Media {
		m := &offer.Media[i]
		plans[i] = planLine(m, all)
		some = some || plans[i].take
		wanted = wanted || m.Port != 0
	}
	if wanted && !some {
		return refuse(488, 304, "no line can be taken: "+describe(plans))
	}
	usable := func(i int) bool { return plans[i].take }
	next := d.rec.Clone()
	changes := next.Apply(offer, doc, usable)
	opened, err := d.open(next.Legs(), offer, plans, now)
	if err != nil {
		endLines(opened, media.End{State: media.Refused, Reason: err.Error(), At: now})
		if errors.Is(err, port.ErrNoPort) {
			return unavailable(10, err.Error())
		}
		return refuse(500, 0, err.Error())
	}
	d.rec, d.offer = next, offer
	d.carry(changes, opened, plans, now)
	for _, w := range d.rec.Warnings() {
		d.log.Warn("recording metadata does not fit", "what", w)
	}
	return nil
}

// open opens the lines that an offer adds. On an error it returns those that
// are open already.
func (d *session) open(legs []siprec.Leg, offer *sdp.Session, plans []plan, now time.Time) ([]*line, error) {
	opened := make([]*line, len(plans))
	for i, p := range plans {
		if !p.take || i < len(d.lines) && d.lines[i] != nil {
			continue
		}
		l, err := d.server.openLine(d.call, legs[i], &offer.Media[i], p, d.source, now)
		if err != nil {
			return opened, err
		}
		opened[i] = l
	}
	return opened, nil
}

// carry carries changes out. opened and plans are nil where there was no offer.
func (d *session) carry(changes []siprec.Change, opened []*line, plans []plan, now time.Time) {
	before := d.lines
	if opened != nil {
		d.lines = make([]*line, len(opened))
		copy(d.lines, before)
		for i, l := range opened {
			if l != nil {
				d.lines[i] = l
			}
		}
	}
	var gone []*line
	for _, c := range changes {
		i := c.Leg.Index
		l := d.lines[i]
		switch c.Kind {
		case siprec.Removed:
			gone = append(gone, l)
			d.lines[i] = nil
		case siprec.Held, siprec.Resumed:
			l.hold(c.Kind == siprec.Held, now)
		case siprec.Updated:
			d.call.UpdateLeg(mediaLeg(c.Leg))
		}
	}
	endLines(gone, media.End{State: media.Ended, Reason: "the source took the stream away", At: now})
	for i, p := range plans {
		if l := d.lines[i]; l != nil && i < len(before) && l == before[i] {
			if err := l.update(&d.offer.Media[i], p, d.source, now); err != nil {
				d.log.Error("a line could not follow the offer", "line", i+1, "error", err)
			}
		}
	}
	if len(changes) > 0 || opened != nil {
		d.call.Describe(d.rec.Facts())
	}
}

// describeAnswer builds our answer to the offer in force. Its version moves on
// only if it changes.
func (d *session) describeAnswer() (*sdp.Session, error) {
	choices := make([]sdp.Choice, len(d.offer.Media))
	for i, l := range d.lines {
		if l != nil {
			choices[i] = l.choice()
		}
	}
	a, err := sdp.Answer(d.offer, d.local, choices)
	if err != nil {
		return nil, err
	}
	d.setAnswer(a)
	return d.answer, nil
}

func (d *session) setAnswer(a *sdp.Session) {
	if d.answer != nil && !sdp.Same(a, d.answer) {
		d.local.Version++
		a.Origin.Version = d.local.Version
	}
	if d.answer == nil || !sdp.Same(a, d.answer) {
		d.answer = a
	}
}

// newLocal is our side of a new session's descriptions.
func newLocal(addr netip.Addr) sdp.Local {
	return sdp.Local{ID: uint64(rand.Uint32()), Version: 1, Addr: addr}
}
