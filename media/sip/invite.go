package sip

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"

	"sidetone/media"
	"sidetone/media/sdp"
	"sidetone/media/siprec"
)

// maxOffered is how many lines we offer when an INVITE brings no description.
const maxOffered = 8

// routes hands the methods to their handlers.
func (s *Server) routes(srv *sipgo.Server) {
	handle := func(f func(*sip.Request, sip.ServerTransaction)) sipgo.RequestHandler {
		return func(req *sip.Request, tx sip.ServerTransaction) {
			if !s.enter() {
				return
			}
			defer s.handlers.Done()
			if r := invalid(req); r != nil {
				if req.Method != sip.ACK {
					s.answer(req, tx, r)
				}
				return
			}
			f(req, tx)
		}
	}
	srv.OnInvite(handle(s.onInvite))
	srv.OnAck(handle(s.onAck))
	srv.OnBye(handle(s.onBye))
	srv.OnUpdate(handle(s.onUpdate))
	srv.OnInfo(handle(s.onInfo))
	srv.OnOptions(handle(s.onOptions))
	// A CANCEL that matches an INVITE is answered by sipgo.
	srv.OnCancel(handle(func(req *sip.Request, tx sip.ServerTransaction) {
		s.answer(req, tx, refuse(481, 0, "there is no INVITE to cancel"))
	}))
	srv.OnNoRoute(handle(func(req *sip.Request, tx sip.ServerTransaction) {
		if tag(req.To().Params) != "" && s.find(req) == nil {
			s.answer(req, tx, refuse(481, 0, "there is no such recording session"))
			return
		}
		s.answer(req, tx, refuse(405, 0, "the method is not served here"))
	}))
}

func (s *Server) onInvite(req *sip.Request, tx sip.ServerTransaction) {
	if tag(req.To().Params) != "" {
		s.reinvite(req, tx)
		return
	}
	id := initialID{req.CallID().Value(), tag(req.From().Params), req.CSeq().SeqNo}
	d, r := s.reserve(id)
	if r != nil {
		if d != nil && d.branch == branch(req) {
			// The same request again, after sipgo has forgotten the transaction.
			d.mu.Lock()
			last := d.last
			d.mu.Unlock()
			if last != nil {
				if err := s.respond(tx, last.Clone()); err != nil {
					s.log.Warn("a SIP response could not be sent again", "error", err)
				}
			}
			return
		}
		s.answer(req, tx, r)
		return
	}
	var cancelled atomic.Bool
	tx.OnCancel(func(*sip.Request) { cancelled.Store(true) })
	if err := s.respond(tx, sip.NewResponseFromRequest(req, 100, "Trying", nil)); err != nil {
		s.log.Warn("a SIP response could not be sent", "status", 100, "error", err)
	}
	d, r = s.begin(req, id)
	if r != nil {
		s.release(id)
		s.answer(req, tx, r)
		return
	}
	s.servers.Go(d.run)
	if cancelled.Load() {
		d.end(ending{End: media.End{State: media.Refused, Reason: "cancelled before it began", At: time.Now()}})
		return
	}
	if !s.add(d) {
		s.answer(req, tx, unavailable(60, media.ErrDraining.Error()))
		d.end(ending{End: media.End{State: media.Refused, Reason: media.ErrDraining.Error(), At: time.Now()}})
		return
	}
	s.accept(d, tx, d.last)
	if errors.Is(tx.Err(), sip.ErrTransactionCanceled) {
		d.end(ending{End: media.End{State: media.Refused, Reason: "cancelled before it began", At: time.Now()}})
	}
}

func branch(req *sip.Request) string { return req.Via().Params.GetOr("branch", "") }

// begin opens the call and the lines of a new session and prepares its 200.
func (s *Server) begin(req *sip.Request, id initialID) (*session, *refusal) {
	if r := unsupported(req); r != nil {
		return nil, r
	}
	body, r := readBody(req)
	if r != nil {
		return nil, r
	}
	timer, r := sessionTimer(req, s.timing.minSE)
	if r != nil {
		return nil, r
	}
	doc, r := s.metadata(body)
	if r != nil {
		return nil, r
	}
	var offer *sdp.Session
	if body.SDP != nil {
		var err error
		if offer, err = sdp.Parse(body.SDP); err != nil {
			return nil, refuse(400, 0, err.Error())
		}
	} else if doc == nil {
		return nil, refuse(400, 0, "SDP required: neither a session description nor recording metadata came")
	}
	now := time.Now()
	d := s.newSession(req, id)
	d.timer, d.fresh = timer, now
	// Metadata tells the call's own identifier before there is a call.
	preview := &siprec.Recording{}
	preview.Apply(offer, doc, func(int) bool { return true })
	external := preview.External()
	if external == "" {
		external = clip(req.CallID().Value())
	}
	call, err := s.cfg.Host.Open(media.Call{ID: "siprec-" + rand.Text()[:16], Source: "siprec", External: external, Started: now}, d.hangUp)
	switch {
	case errors.Is(err, media.ErrBusy):
		return nil, unavailable(10, err.Error())
	case errors.Is(err, media.ErrDraining):
		return nil, unavailable(60, err.Error())
	case err != nil:
		return nil, refuse(500, 0, err.Error())
	}
	d.call = call
	d.call.Describe(facts(req))
	if r := d.take(req, offer, doc, now); r != nil {
		call.End(media.End{State: media.Refused, Reason: r.text, At: now})
		return nil, r
	}
	d.log.Info("recording session", "source", req.Source(), "transport", d.transport, "lines", len(d.lines), "external", external, "metadata", doc != nil)
	return d, nil
}

// metadata reads the document of a body. What cannot be read is no reason to
// lose the recording, unless Config.Strict.
func (s *Server) metadata(body *siprec.Body) (*siprec.Metadata, *refusal) {
	if body.Metadata == nil {
		if s.cfg.Strict {
			return nil, refuse(400, 0, "recording metadata required (application/rs-metadata+xml)")
		}
		return nil, nil
	}
	doc, err := siprec.ParseMetadata(body.Metadata)
	if err != nil {
		if s.cfg.Strict {
			return nil, refuse(400, 0, err.Error())
		}
		s.log.Warn("recording metadata cannot be read; the session is taken without", "error", err)
		return nil, nil
	}
	return doc, nil
}

func (s *Server) newSession(req *sip.Request, id initialID) *session {
	local := sip.GenerateTagN(16)
	d := &session{
		server: s, initial: id, branch: branch(req), transport: req.Transport(),
		id:  dialogID{id.call, id.remote, local},
		log: s.log.With("sip_call_id", id.call),
		ask: make(chan ending, 1), done: make(chan struct{}),
		to: req.From().Value(), from: req.To().Value() + ";tag=" + local,
		localSeq: 0, rec: &siprec.Recording{}, acks: map[uint32]chan struct{}{},
	}
	d.siprec = slices.Contains(tokens(req, "Require", "Supported", "k"), "siprec")
	if source, err := netip.ParseAddrPort(req.Source()); err == nil {
		// A target for a request without a usable Contact.
		d.target = sip.Uri{Scheme: "sip", Host: source.Addr().String(), Port: int(source.Port())}
	}
	for _, h := range req.GetHeaders("Record-Route") {
		d.routes = append(d.routes, h.Value())
	}
	if rr := req.RecordRoute(); rr != nil {
		d.first = *rr.Address.Clone()
	}
	d.learn(req)
	return d
}

// take brings the first offer into force, or makes one, and prepares the 200.
func (d *session) take(req *sip.Request, offer *sdp.Session, doc *siprec.Metadata, now time.Time) *refusal {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending = offer == nil
	if d.pending {
		offer = ourOffer(doc)
	}
	// Before the ports are known, ours is a guess; it is set right below.
	if r := d.apply(offer, doc, now); r != nil {
		return r
	}
	d.local = newLocal(d.server.public(d.addr()))
	body, err := d.describeAnswer()
	if err != nil {
		endLines(d.lines, media.End{State: media.Refused, Reason: err.Error(), At: now})
		return refuse(500, 0, err.Error())
	}
	d.last = d.ok(req, body)
	d.acks[req.CSeq().SeqNo] = make(chan struct{})
	return nil
}

// addr is the address of our ports.
func (d *session) addr() netip.Addr {
	for _, l := range d.lines {
		if l != nil {
			return l.port.Addr().Addr()
		}
	}
	return d.server.addrs[d.transport].Addr()
}

// ourOffer is what an INVITE without a description would have offered: a line
// for each of the metadata's streams. Our answer to it is our offer.
func ourOffer(doc *siprec.Metadata) *sdp.Session {
	labels := doc.Labels()
	if len(labels) == 0 {
		labels = []string{"1", "2"}
	}
	// The name has all codecs answered: the choice is the other side's.
	offer := &sdp.Session{Name: allCodecs}
	for _, l := range labels[:min(len(labels), maxOffered)] {
		offer.Media = append(offer.Media, sdp.Media{
			Kind: "audio", Port: 9, Proto: "RTP/AVP", Label: l, Direction: sdp.SendOnly,
			Codecs: []sdp.Codec{
				{PayloadType: 8, Name: "PCMA", Clock: 8000, Channels: 1},
				{PayloadType: 0, Name: "PCMU", Clock: 8000, Channels: 1},
				{PayloadType: 9, Name: "G722", Clock: 8000, Channels: 1},
				{PayloadType: 111, Name: "opus", Clock: 48000, Channels: 2, Params: "useinbandfec=1"},
				{PayloadType: 101, Name: "telephone-event", Clock: 8000, Channels: 1, Params: "0-15"},
			},
		})
	}
	return offer
}

// ok builds a 200 within the dialog.
func (d *session) ok(req *sip.Request, body *sdp.Session) *sip.Response {
	var content []byte
	if body != nil {
		content = body.Append(nil)
	}
	res := sip.NewResponseFromRequest(req, 200, "OK", content)
	res.To().Params.Add("tag", d.id.local)
	if req.Method == sip.INVITE || req.Method == sip.UPDATE {
		res.AppendHeader(sip.NewHeader("Contact", d.server.contact(d.transport)))
		res.AppendHeader(sip.NewHeader("Allow", allow))
		res.AppendHeader(sip.NewHeader("Accept", accept))
		res.AppendHeader(sip.NewHeader("Supported", "timer"))
		var require []string
		if d.siprec {
			require = append(require, "siprec")
		}
		if d.timer.length > 0 && !d.timer.ours {
			require = append(require, "timer")
		}
		if len(require) > 0 {
			res.AppendHeader(sip.NewHeader("Require", strings.Join(require, ", ")))
		}
		for _, h := range d.timer.headers() {
			res.AppendHeader(h)
		}
	}
	if body != nil {
		res.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	}
	return res
}

// accept sends a 200 to an INVITE and again until the ACK, on every transport
// (RFC 3261, section 13.3.1.4).
func (s *Server) accept(d *session, tx sip.ServerTransaction, res *sip.Response) {
	d.mu.Lock()
	seq := res.CSeq().SeqNo
	acked := d.acks[seq]
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.acks, seq)
	}()
	if err := s.respond(tx, res); err != nil {
		s.log.Warn("a SIP response could not be sent", "status", 200, "error", err)
	}
	limit := time.NewTimer(s.timing.ack)
	defer limit.Stop()
	wait := s.timing.t1
	again := time.NewTimer(wait)
	defer again.Stop()
	for {
		select {
		case <-acked:
			return
		case <-tx.Acks(): // with the branch of the INVITE
			return
		case <-d.done:
			return
		case <-again.C:
			if errors.Is(tx.Err(), sip.ErrTransactionCanceled) {
				return
			}
			if err := s.respond(tx, res); err != nil {
				s.log.Warn("a SIP response could not be sent again", "status", 200, "error", err)
			}
			wait = min(2*wait, s.timing.t2)
			again.Reset(wait)
		case <-limit.C:
			d.end(ending{
				End: media.End{State: media.TimedOut, Reason: fmt.Sprintf("no ACK within %v of the 200", s.timing.ack), At: time.Now()},
				bye: true, reason: `SIP;cause=408;text="no ACK"`,
			})
			return
		}
	}
}
