package sip

import (
	"time"

	"github.com/emiago/sipgo/sip"

	"sidetone/media"
	"sidetone/media/sdp"
	"sidetone/media/siprec"
)

// within finds the session of a request in a dialog and holds it, or refuses.
func (s *Server) within(req *sip.Request, tx sip.ServerTransaction) *session {
	d := s.find(req)
	if d == nil {
		s.answer(req, tx, refuse(481, 0, "there is no such recording session"))
		return nil
	}
	d.mu.Lock()
	var r *refusal
	switch {
	case d.ended:
		r = refuse(481, 0, "the recording session has ended")
	case req.CSeq().SeqNo <= d.remoteSeq:
		r = refuse(500, 0, "CSeq is not above that of an earlier request", sip.NewHeader("Retry-After", "1"))
	default:
		r = unsupported(req)
	}
	if r != nil {
		d.mu.Unlock()
		s.answer(req, tx, r)
		return nil
	}
	return d
}

// change reads the body of a re-INVITE or an UPDATE and brings it into force.
// offered tells that it had a description.
func (s *Server) change(d *session, req *sip.Request) (offered bool, r *refusal) {
	body, r := readBody(req)
	if r != nil {
		return false, r
	}
	timer, r := sessionTimer(req, s.timing.minSE)
	if r != nil {
		return false, r
	}
	var offer *sdp.Session
	if body.SDP != nil {
		if d.pending {
			return false, refuse(491, 0, "the answer to our own offer is still to come")
		}
		var err error
		if offer, err = sdp.Parse(body.SDP); err != nil {
			return false, refuse(400, 0, err.Error())
		}
	}
	var doc *siprec.Metadata
	if body.Metadata != nil {
		var err error
		if doc, err = siprec.ParseMetadata(body.Metadata); err != nil {
			if s.cfg.Strict {
				return false, refuse(400, 0, err.Error())
			}
			d.log.Warn("recording metadata cannot be read; what was known stays", "error", err)
		}
	}
	now := time.Now()
	if r := d.apply(offer, doc, now); r != nil {
		return false, r
	}
	d.timer, d.fresh = timer, now
	return offer != nil, nil
}

// reinvite changes a session, or refreshes it. One without a description is
// answered with our last one (RFC 3261, section 14.2).
func (s *Server) reinvite(req *sip.Request, tx sip.ServerTransaction) {
	d := s.within(req, tx)
	if d == nil {
		return
	}
	d.learn(req)
	_, r := s.change(d, req)
	if r != nil {
		d.mu.Unlock()
		s.answer(req, tx, r)
		return
	}
	body, err := d.describeAnswer()
	if err != nil {
		d.mu.Unlock()
		s.answer(req, tx, refuse(500, 0, err.Error()))
		return
	}
	res := d.ok(req, body)
	d.acks[req.CSeq().SeqNo] = make(chan struct{})
	d.mu.Unlock()
	s.accept(d, tx, res)
}

// onUpdate is reinvite without an ACK (RFC 3311). One without a description has
// an answer without one.
func (s *Server) onUpdate(req *sip.Request, tx sip.ServerTransaction) {
	d := s.within(req, tx)
	if d == nil {
		return
	}
	defer d.mu.Unlock()
	d.learn(req)
	offered, r := s.change(d, req)
	if r != nil {
		s.answer(req, tx, r)
		return
	}
	var body *sdp.Session
	if offered {
		var err error
		if body, err = d.describeAnswer(); err != nil {
			s.answer(req, tx, refuse(500, 0, err.Error()))
			return
		}
	}
	s.reply(tx, d.ok(req, body))
}

func (s *Server) reply(tx sip.ServerTransaction, res *sip.Response) {
	if err := s.respond(tx, res); err != nil {
		s.log.Warn("a SIP response could not be sent", "status", res.StatusCode, "error", err)
	}
}

func (s *Server) onAck(req *sip.Request, _ sip.ServerTransaction) {
	d := s.find(req)
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	acked := d.acks[req.CSeq().SeqNo]
	if acked == nil || d.ended {
		return
	}
	delete(d.acks, req.CSeq().SeqNo)
	close(acked)
	if d.pending {
		d.pending = false
		if err := d.answered(req); err != nil {
			d.hangUp(media.End{State: media.Refused, Reason: err.text, At: time.Now()})
		}
	}
}

// answered takes the answer to our offer, which came in the ACK.
func (d *session) answered(req *sip.Request) *refusal {
	body, r := readBody(req)
	if r != nil {
		return r
	}
	if body.SDP == nil {
		return refuse(400, 0, "no answer to our offer came in the ACK")
	}
	answer, err := sdp.Parse(body.SDP)
	if err != nil {
		return refuse(400, 0, err.Error())
	}
	for i := range answer.Media {
		if m := &answer.Media[i]; m.Label == "" && i < len(d.offer.Media) {
			m.Label = d.offer.Media[i].Label
		}
	}
	return d.apply(answer, nil, time.Now())
}

func (s *Server) onBye(req *sip.Request, tx sip.ServerTransaction) {
	d := s.within(req, tx)
	if d == nil {
		return
	}
	d.learn(req)
	s.reply(tx, d.ok(req, nil))
	why := "the recording client hung up"
	if h := req.GetHeader("Reason"); h != nil {
		d.call.Describe(map[string]string{"sip.reason": clip(h.Value())})
		why += ": " + clip(h.Value())
	}
	d.mu.Unlock()
	d.end(ending{End: media.End{State: media.Ended, Reason: why, At: time.Now()}})
}

// onInfo takes keys that are sent as messages; on which line they were pressed
// is not said, so they go to the first.
func (s *Server) onInfo(req *sip.Request, tx sip.ServerTransaction) {
	d := s.within(req, tx)
	if d == nil {
		return
	}
	defer d.mu.Unlock()
	d.learn(req)
	body, r := readBody(req)
	if r != nil {
		s.answer(req, tx, r)
		return
	}
	if body.DTMF != 0 {
		for _, l := range d.lines {
			if l != nil {
				l.sink.event(media.Mark{Kind: media.MarkDigit, Digit: body.DTMF, Wall: time.Now()})
				break
			}
		}
	}
	s.reply(tx, d.ok(req, nil))
}

// onOptions answers keepalives, inside a session and outside. While no session would
// be taken it says so, since clients choose among servers by it.
func (s *Server) onOptions(req *sip.Request, tx sip.ServerTransaction) {
	var res *sip.Response
	if tag(req.To().Params) != "" {
		d := s.within(req, tx)
		if d == nil {
			return
		}
		defer d.mu.Unlock()
		d.learn(req)
		res = d.ok(req, nil)
	} else {
		if r := unsupported(req); r != nil {
			s.answer(req, tx, r)
			return
		}
		s.mu.Lock()
		draining := s.draining
		s.mu.Unlock()
		if draining {
			s.answer(req, tx, unavailable(60, media.ErrDraining.Error()))
			return
		}
		res = sip.NewResponseFromRequest(req, 200, "OK", nil)
	}
	for _, h := range [][2]string{{"Allow", allow}, {"Accept", accept}, {"Accept-Encoding", "identity"}, {"Supported", supported}, {"Contact", s.contact(req.Transport())}} {
		res.AppendHeader(sip.NewHeader(h[0], h[1]))
	}
	s.reply(tx, res)
}
