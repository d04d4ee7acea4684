package webrtc

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"sidetone/media"
)

// errLegRunning: the call has a connected session of that leg.
var errLegRunning = errors.New("the call has that leg already")

// call is a call that this server has opened; its sessions are its legs.
type call struct {
	sink media.CallSink
	// legs are the running sessions, members counts them and those that are
	// about to be; both are guarded by Server.joining.
	legs    map[string]*session
	members int

	mu    sync.Mutex
	heard []*session
	hung  *media.End
}

// hangUp ends all sessions of the call. It never waits.
func (c *call) hangUp(e media.End) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hung = &e
	for _, s := range c.heard {
		s.request(e)
	}
}

// tell has the session told of a hang-up, also of one that has been.
func (c *call) tell(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = append(c.heard, s)
	if c.hung != nil {
		s.request(*c.hung)
	}
}

func (c *call) forget(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, o := range c.heard {
		if o == s {
			c.heard = append(c.heard[:i], c.heard[i+1:]...)
			return
		}
	}
}

// enter makes the session a leg of its call, which begins with it if it is not
// running.
func (s *Server) enter(ses *session) error {
	s.joining.Lock()
	defer s.joining.Unlock()
	id := ses.asked.call.ID
	c := s.calls[id]
	if c == nil {
		c = &call{legs: map[string]*session{}}
		sink, err := s.cfg.Host.Open(ses.asked.call, c.hangUp)
		if errors.Is(err, media.ErrDuplicate) {
			return s.joinOther(ses, err)
		}
		if err != nil {
			return err
		}
		c.sink = sink
		s.calls[id] = c
	}
	old := c.legs[ses.asked.leg.ID]
	if old != nil && !old.lost() {
		return fmt.Errorf("%w: %q of call %q is connected", errLegRunning, ses.asked.leg.ID, id)
	}
	c.members++
	if old != nil {
		// The old session leaves under the same lock.
		s.joining.Unlock()
		old.finish(media.End{State: media.Ended, Reason: "a new session took over", At: time.Now()})
		s.joining.Lock()
	}
	leg, err := c.sink.AddLeg(ses.asked.leg)
	if err != nil {
		s.dismiss(id, c, media.End{State: media.Aborted, Reason: err.Error(), At: time.Now()})
		return err
	}
	ses.sink, ses.call = leg, c
	c.legs[ses.asked.leg.ID] = ses
	c.sink.Describe(ses.asked.facts)
	c.tell(ses)
	return nil
}

// joinOther makes the session a leg of a call that another source has opened.
func (s *Server) joinOther(ses *session, duplicate error) error {
	j, ok := s.cfg.Host.(media.Joiner)
	if !ok {
		return duplicate
	}
	leg, err := j.Join(ses.asked.call.ID, ses.asked.leg, ses.request)
	if err != nil {
		return err
	}
	ses.sink = leg
	return nil
}

// leave takes the session, whose sink has ended, out of its call.
func (s *Server) leave(ses *session, e media.End) {
	if ses.call == nil {
		return
	}
	ses.call.forget(ses)
	s.joining.Lock()
	defer s.joining.Unlock()
	delete(ses.call.legs, ses.asked.leg.ID)
	s.dismiss(ses.asked.call.ID, ses.call, e)
}

// dismiss takes a member away, and ends the call with the last.
func (s *Server) dismiss(id string, c *call, e media.End) {
	c.members--
	if c.members > 0 {
		return
	}
	delete(s.calls, id)
	c.sink.End(e)
}
