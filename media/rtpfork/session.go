package rtpfork

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"sidetone/media"
	"sidetone/media/port"
)

// Session is one running call. It is safe for concurrent use.
type Session struct {
	call           media.Call
	setup, silence time.Duration
	ports          []*port.Port
	ask            chan media.End // holds the first end that was asked for
	done           chan struct{}
}

// Call is what Open was given.
func (s *Session) Call() media.Call { return s.call }

// Addrs are the local addresses of the legs, in the order of Open.
func (s *Session) Addrs() []netip.AddrPort {
	a := make([]netip.AddrPort, len(s.ports))
	for i, p := range s.ports {
		a[i] = p.Addr()
	}
	return a
}

// Stats are the legs' counters of this moment, in the order of Open.
func (s *Session) Stats() []media.LegStats {
	all := make([]media.LegStats, len(s.ports))
	for i, p := range s.ports {
		all[i] = p.Stats()
	}
	return all
}

// End ends the call and waits until its sinks and onEnd have been told. Only
// the first end of a call counts. It must not be called by a sink or by onEnd.
func (s *Session) End(e media.End) {
	s.request(e)
	<-s.done
}

// HangUp asks for the call's end and does not wait for it.
func (s *Session) HangUp(e media.End) { s.request(e) }

// Done is closed when the call has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// request asks for an end, unless one has been asked for before.
func (s *Session) request(e media.End) {
	select {
	case s.ask <- e:
	default:
	}
}

// run waits for the end of the call and carries it out.
func (s *Session) run(ended func(media.End)) {
	defer close(s.done)
	e := s.wait()
	s.endPorts(e)
	ended(e)
}

func (s *Session) wait() media.End {
	tick := time.NewTicker(max(time.Millisecond, min(250*time.Millisecond, s.setup/10, s.silence/10)))
	defer tick.Stop()
	for {
		select {
		case e := <-s.ask:
			return e
		case now := <-tick.C:
			if e, over := s.over(now); over {
				return e
			}
		}
	}
}

// over says whether the call has ended by itself.
func (s *Session) over(now time.Time) (media.End, bool) {
	var last time.Time
	heard, failed := false, true
	for _, p := range s.ports {
		heard = heard || p.Stats().Received > 0
		if t := p.LastPacket(); t.After(last) {
			last = t
		}
		select {
		case <-p.Done():
		default:
			failed = false
		}
	}
	silent := now.Sub(last)
	switch {
	case failed:
		return media.End{State: media.Aborted, Reason: "all ports have failed", At: now}, true
	case !heard && silent >= s.setup:
		return media.End{State: media.TimedOut, Reason: fmt.Sprintf("no packet within %v of the opening", s.setup), At: now}, true
	case heard && silent >= s.silence:
		return media.End{State: media.TimedOut, Reason: fmt.Sprintf("no packet on any leg for %v", s.silence), At: now}, true
	default:
		return media.End{}, false
	}
}

// endPorts ends all legs side by side, since each takes its time.
func (s *Session) endPorts(e media.End) {
	var wg sync.WaitGroup
	for _, p := range s.ports {
		wg.Go(func() { p.End(e) })
	}
	wg.Wait()
}
