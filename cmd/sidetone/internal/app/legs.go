package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"sidetone/internal/journal"
	"sidetone/media"
	"sidetone/media/codec"
	"sidetone/media/rtpfork"
)

// autoCodec is the codec of a leg that nobody described: it is found out.
const autoCodec = "auto"

// leg is what the media path is told; the request has been checked.
func (l *legRequest) spec() (rtpfork.LegSpec, error) {
	role, _ := media.ParseRole(l.Role)
	s := rtpfork.LegSpec{
		Leg:         media.Leg{ID: l.ID, Role: role, RoleReason: "announced by the API", Identity: l.Identity},
		PayloadType: l.PayloadType,
	}
	if a, err := netip.ParseAddr(l.From); err == nil { // it is empty: the request has been checked
		s.Sources = []netip.Addr{a.Unmap()}
	}
	if l.Codec == autoCodec {
		s.Detect = true
		return s, nil
	}
	var err error
	s.Format, err = codec.Parse(l.Codec)
	return s, err
}

// postLeg adds a leg to a running call whose legs arrive as RTP, such as that of
// an agent to whom it is transferred.
func (a *App) postLeg(w http.ResponseWriter, r *http.Request) {
	c, session := a.calls.find(r.PathValue("call")), (*rtpfork.Session)(nil)
	if s, ok := a.calls.fork.Get(r.PathValue("call")); ok {
		session = s
	}
	if c == nil || session == nil {
		writeError(w, &apiError{
			Status: http.StatusNotFound, Text: fmt.Sprintf("no running call %q whose legs arrive as RTP", r.PathValue("call")), Hint: "GET /v1/calls lists the calls",
		})
		return
	}
	var q legRequest
	d := json.NewDecoder(io.LimitReader(r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		writeError(w, badRequest(`a body looks like {"id":"agent-2","role":"agent","codec":"PCMU"}`, "the body is no valid leg: %v", err))
		return
	}
	err := q.check(0)
	if err != nil {
		writeError(w, err)
		return
	}
	reply, err := a.calls.addLeg(c, session, &q)
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, http.StatusCreated, reply)
}

func (cs *calls) addLeg(c *call, session *rtpfork.Session, q *legRequest) (legReply, error) {
	spec, err := q.spec()
	if err != nil {
		return legReply{}, err
	}
	sink, err := c.AddLeg(spec.Leg)
	if err != nil {
		return legReply{}, err
	}
	addr, err := session.AddLeg(spec, sink)
	if err != nil {
		sink.End(media.End{State: media.Refused, Reason: err.Error(), At: time.Now()}, media.LegStats{})
		return legReply{}, err
	}
	c.located(journal.Located{Leg: q.ID, Address: cs.announced(addr), Codec: q.Codec, Port: addr.Port(), PayloadType: q.PayloadType, From: q.From})
	return legReply{ID: q.ID, Role: q.Role, Address: cs.announced(addr), Codec: q.Codec}, nil
}

// deleteLeg ends one leg of a running call; the call goes on.
func (a *App) deleteLeg(w http.ResponseWriter, r *http.Request) {
	session, ok := a.calls.fork.Get(r.PathValue("call"))
	if !ok {
		writeError(w, unknownCall(r.PathValue("call")))
		return
	}
	end := media.End{State: media.Ended, Reason: "ended by the API", At: time.Now()}
	err := session.RemoveLeg(r.PathValue("leg"), end)
	if errors.Is(err, rtpfork.ErrNoLeg) {
		err = &apiError{Status: http.StatusNotFound, Text: err.Error(), Hint: "GET /v1/calls/{call} names the legs"}
	}
	if err != nil {
		writeError(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
