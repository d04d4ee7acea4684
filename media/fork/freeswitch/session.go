package freeswitch

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"sidetone/media"
	"sidetone/media/fork"
)

// Request is what the handshake of a connection tells.
type Request struct {
	Query url.Values
	// Offered are the subprotocols that the client offers, as they stand in the
	// header field Sec-WebSocket-Protocol.
	Offered string
	// Remote is the other side's address.
	Remote string
}

// Session is one fork's connection. It is a fork.Session.
type Session struct {
	calls   *Calls
	w       fork.Writer
	log     *slog.Logger
	request Request
	format  format
	opened  time.Time

	// call and legs are there after the first message.
	call *call
	legs []*leg
	// told is set when a first text has come.
	told bool

	split splitter
	order [2]fork.ByteOrder
	meter meter
	heard time.Time // when audio last came, or the connection
	audio bool
	quiet bool // it was logged that no audio comes
}

var _ fork.Session = (*Session)(nil)

// Text takes the metadata, or an event.
func (s *Session) Text(message []byte, now time.Time) error {
	m := parse(message)
	if s.call == nil {
		s.told = true
		return s.begin(m, now)
	}
	s.call.mu.Lock()
	defer s.call.mu.Unlock()
	if s.call.over || !s.mine() {
		return nil
	}
	switch {
	case m.digit != 0:
		s.legs[0].path.Mark(media.Mark{Kind: media.MarkDigit, Digit: m.digit}, now)
	case m.event:
	case !s.told:
		s.told = true
		s.call.sink.Describe(m.facts())
		if f, err := formatOf(m.layers(nil), s.format); err == nil && f != s.format {
			s.log.Warn("the metadata came after audio and names another format: it is not heeded; name it in the URL",
				"taken", s.format.String(), "metadata", f.String())
		}
	default:
		s.log.Debug("text passed over", "bytes", len(message))
	}
	return nil
}

// Binary takes samples.
func (s *Session) Binary(message []byte, now time.Time) error {
	if s.call == nil {
		if err := s.begin(note{}, now); err != nil {
			return err
		}
	}
	if len(message) == 0 {
		return nil
	}
	s.heard, s.audio = now, true
	s.call.mu.Lock()
	defer s.call.mu.Unlock()
	if s.call.over || !s.mine() {
		return nil // the next tick closes the connection
	}
	s.measure(len(message), now)
	for _, l := range s.legs {
		l.heard = now
	}
	for len(message) > 0 {
		var left, right []int16
		left, right, message = s.split.next(message, s.format.channels)
		s.take(0, left, now)
		if s.format.channels == 2 {
			s.take(1, right, now)
		}
	}
	return nil
}

func (s *Session) take(i int, samples []int16, now time.Time) {
	if len(samples) == 0 {
		return
	}
	if s.order[i].Swapped(samples) {
		s.log.Warn("the samples' bytes seem to be swapped: forks send 16-bit little-endian samples", "call", s.call.id, "leg", s.legs[i].info.ID)
		s.call.sink.Describe(map[string]string{"fork.warning.bytes": "leg " + s.legs[i].info.ID + ": the samples' bytes seem to be swapped"})
	}
	s.legs[i].path.Append(samples, now)
}

// measure warns once when the bytes that come are not those of the format.
func (s *Session) measure(n int, now time.Time) {
	rate, ok := s.meter.add(n, now)
	if !ok {
		return
	}
	want := float64(2 * s.format.channels * s.format.rate)
	if ratio := rate / want; ratio < leastRatio || ratio > mostRatio {
		s.meter.done = true
		text := fmt.Sprintf("%.1f times the bytes of %v come: set rate= and channels= in the URL to what the PBX sends", ratio, s.format)
		s.log.Warn("the fork's format seems to be wrong", "call", s.call.id, "what", text)
		s.call.sink.Describe(map[string]string{"fork.warning.rate": text})
	}
}

// Tick looks after the call.
func (s *Session) Tick(now time.Time) error {
	if !s.quiet && !s.audio && now.Sub(s.opened) >= silentOpen {
		s.quiet = true
		s.log.Warn("no audio since the fork was opened: is the channel answered, and does it carry RTP?", "after", silentOpen)
	}
	if s.call == nil {
		if now.Sub(s.heard) >= s.calls.cfg.Idle {
			return s.idle()
		}
		return nil
	}
	err := s.tick(now)
	if err != nil {
		s.calls.sweep(s.call)
	}
	return err
}

func (s *Session) tick(now time.Time) error {
	c := s.call
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire(now, s.calls.cfg.Window)
	switch {
	case c.over:
		return &fork.CloseError{Code: fork.CloseNormal, Reason: "the call has ended"}
	case !s.mine():
		return &fork.CloseError{Code: fork.ClosePolicy, Reason: "another connection has taken this fork's place"}
	case now.Sub(s.heard) >= s.calls.cfg.Idle:
		idle := s.idle()
		s.end(media.End{State: media.TimedOut, Reason: idle.Reason, At: now})
		return idle
	}
	for _, l := range s.legs {
		l.path.Tick(now)
	}
	if c.first() == s.legs[0] {
		for _, m := range c.outbox {
			s.w.Text(m)
		}
		c.outbox = c.outbox[:0]
	}
	return nil
}

func (s *Session) idle() *fork.CloseError {
	return &fork.CloseError{Code: fork.CloseNormal, Reason: fmt.Sprintf("no audio for %v", s.calls.cfg.Idle)}
}

// HangUp ends the call with e and closes the connection. The PBX's call is left
// alone.
func (s *Session) HangUp(e media.End, _ time.Time) error {
	if c := s.call; c != nil {
		c.mu.Lock()
		c.finish(e)
		c.mu.Unlock()
		s.calls.sweep(c)
	}
	return &fork.CloseError{Code: fork.CloseGoingAway, Reason: e.Reason}
}

// Closed ends the fork, or has its call wait for it when the connection broke.
func (s *Session) Closed(err error, now time.Time) {
	c := s.call
	if c == nil {
		return
	}
	c.mu.Lock()
	if s.mine() && !c.over {
		// A connection that was silent to the end would not come back.
		if err == nil || errors.Is(err, fork.ErrSilent) || s.calls.cfg.Window < 0 {
			s.end(fork.EndFor(err, now))
		} else {
			s.log.Info("the fork's connection broke: its call waits", "call", c.id, "error", err)
			c.release(s.legs, err, now)
		}
	}
	c.mu.Unlock()
	s.calls.sweep(c)
}

// mine says whether the legs are this connection's. The caller holds call.mu.
func (s *Session) mine() bool { return s.legs[0].owner == s }

// end ends the connection's legs, and the call when they were its last.
func (s *Session) end(e media.End) {
	for _, l := range s.legs {
		l.end(e)
	}
	s.call.settle(e)
}

// begin opens the call, or joins it, with what the first message says.
func (s *Session) begin(m note, now time.Time) error {
	ls := m.layers(query(s.request.Query))
	f, err := formatOf(ls, s.format)
	if err != nil {
		return &fork.CloseError{Code: fork.CloseUnsupported, Reason: err.Error()}
	}
	info, legs, err := describe(m, ls, f, s.request.Offered)
	if err != nil {
		return &fork.CloseError{Code: fork.ClosePolicy, Reason: err.Error()}
	}
	if info.ID == "" {
		info.ID = s.calls.cfg.NewID()
	}
	info.Started = now
	c, err := s.calls.enter(info)
	if err != nil {
		return err
	}
	mine, err := c.attach(s, legs, f.rate, now)
	if err != nil {
		c.settle(media.End{State: media.Refused, Reason: err.Error(), At: now})
		c.mu.Unlock()
		s.calls.sweep(c)
		return err
	}
	facts := m.facts()
	facts["fork.source"] = info.Source
	facts["fork.remote"] = s.request.Remote
	facts["fork.format."+legs[0].ID] = f.String()
	c.sink.Describe(facts)
	c.mu.Unlock()
	s.call, s.legs, s.format, s.heard = c, mine, f, now
	s.log.Info("fork begins", "call", info.ID, "source", info.Source, "format", f.String())
	return nil
}
