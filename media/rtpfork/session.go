package rtpfork

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"sidetone/media"
	"sidetone/media/bridge"
	"sidetone/media/codec"
	"sidetone/media/port"
)

// maxLegs bounds the legs of a call.
const maxLegs = 16

// ErrNoLeg is wrapped by RemoveLeg's error when the call has no such leg.
var ErrNoLeg = errors.New("there is no such leg")

// Session is one running call. It is safe for concurrent use.
type Session struct {
	m              *Manager
	call           media.Call
	setup, silence time.Duration
	ask            chan media.End // holds the first end that was asked for
	done           chan struct{}
	finds          chan find

	mu    sync.Mutex
	legs  []*leg
	ended bool
	// leaving are the legs that are being removed.
	leaving sync.WaitGroup
	// since is when the call was opened or last lost a leg; heard says that a
	// packet has come on a leg.
	since time.Time
	heard bool
}

// leg is one running leg.
type leg struct {
	id       string
	port     *port.Port
	payloads []bridge.Payload
}

// find is a codec that was found out for a leg.
type find struct {
	leg    *leg
	pt     uint8
	format codec.Format
}

// Call is what Open was given.
func (s *Session) Call() media.Call { return s.call }

// Addrs are the local addresses of the legs, in the order in which they were
// opened.
func (s *Session) Addrs() []netip.AddrPort {
	var a []netip.AddrPort
	for _, l := range s.running() {
		a = append(a, l.port.Addr())
	}
	return a
}

// Stats are the legs' counters of this moment, in the order of Addrs.
func (s *Session) Stats() []media.LegStats {
	var all []media.LegStats
	for _, l := range s.running() {
		all = append(all, l.port.Stats())
	}
	return all
}

func (s *Session) running() []*leg {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.legs)
}

// AddLeg opens a port for one more leg of the running call and returns its
// address. The sink may be called before AddLeg returns, and is not called at
// all when it returns an error: media.ErrDuplicate, ErrNoPort or ErrClosed,
// when the call has ended, among them.
func (s *Session) AddLeg(spec LegSpec, sink media.LegSink) (netip.AddrPort, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := s.openLeg(spec, sink)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("rtpfork: call %q, leg %q: %w", s.call.ID, spec.Leg.ID, err)
	}
	s.legs = append(s.legs, l)
	return l.port.Addr(), nil
}

// openLeg opens the port. The caller holds mu.
func (s *Session) openLeg(spec LegSpec, sink media.LegSink) (*leg, error) {
	switch {
	case s.ended:
		return nil, fmt.Errorf("%w: the call has ended", ErrClosed)
	case len(s.legs) == maxLegs:
		return nil, fmt.Errorf("the call has %d legs, which is the most", maxLegs)
	case slices.ContainsFunc(s.legs, func(l *leg) bool { return l.id == spec.Leg.ID }):
		return nil, media.ErrDuplicate
	}
	payloads, err := spec.payloads()
	if err != nil {
		return nil, err
	}
	l := &leg{id: spec.Leg.ID, payloads: payloads}
	cfg := port.Config{
		Leg: bridge.Config{Sink: sink, Payloads: payloads, Sources: spec.Sources},
		Log: s.m.cfg.Log.With("call", s.call.ID, "leg", spec.Leg.ID), Port: spec.Port,
	}
	if spec.Detect {
		cfg.Guard = newDetector(payloads, func(pt uint8, f codec.Format) {
			select {
			case s.finds <- find{l, pt, f}:
			default: // as many wait as there may be legs
			}
		})
	}
	if l.port, err = s.m.pool.Open(cfg); err != nil {
		return nil, err
	}
	cfg.Log.Debug("leg open", "path", l.port.String())
	return l, nil
}

// RemoveLeg ends a leg of the running call and waits until its sink has been
// told. The error is ErrNoLeg when there is none of that name. The call goes on,
// with other legs or without; the times for silence begin anew.
func (s *Session) RemoveLeg(id string, e media.End) error {
	s.mu.Lock()
	i := slices.IndexFunc(s.legs, func(l *leg) bool { return l.id == id })
	if i < 0 || s.ended {
		s.mu.Unlock()
		return fmt.Errorf("rtpfork: call %q, leg %q: %w", s.call.ID, id, ErrNoLeg)
	}
	l := s.legs[i]
	s.legs = slices.Delete(s.legs, i, i+1)
	s.since, s.heard = time.Now(), s.heard || l.port.Stats().Received > 0
	s.leaving.Add(1)
	s.mu.Unlock()
	defer s.leaving.Done()
	l.port.End(e)
	return nil
}

// adopt has a leg take a payload type that was found out.
func (s *Session) adopt(f find) {
	// A leg is found to be there no sooner than AddLeg is through with it.
	s.mu.Lock()
	to := f.leg.port
	s.mu.Unlock()
	log := s.m.cfg.Log.With("call", s.call.ID, "leg", f.leg.id, "payload type", f.pt, "codec", f.format.String())
	p, err := payload(f.pt, f.format)
	if err == nil {
		all := append(slices.Clone(f.leg.payloads), p)
		if err = to.Update(port.Update{Payloads: all}); err == nil {
			f.leg.payloads = all
			log.Info("codec found by the size of the packets")
			return
		}
	}
	if !errors.Is(err, port.ErrEnded) {
		log.Warn("codec found, and not taken", "error", err)
	}
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
	s.endLegs(e)
	ended(e)
}

func (s *Session) wait() media.End {
	tick := time.NewTicker(max(time.Millisecond, min(250*time.Millisecond, s.setup/10, s.silence/10)))
	defer tick.Stop()
	for {
		select {
		case e := <-s.ask:
			return e
		case f := <-s.finds:
			s.adopt(f)
		case now := <-tick.C:
			if e, over := s.over(now); over {
				return e
			}
		}
	}
}

// over says whether the call has ended by itself.
func (s *Session) over(now time.Time) (media.End, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, failed := s.since, len(s.legs) > 0
	for _, l := range s.legs {
		s.heard = s.heard || l.port.Stats().Received > 0
		if t := l.port.LastPacket(); t.After(last) {
			last = t
		}
		select {
		case <-l.port.Done():
		default:
			failed = false
		}
	}
	silent := now.Sub(last)
	switch {
	case failed:
		return media.End{State: media.Aborted, Reason: "all ports have failed", At: now}, true
	case !s.heard && silent >= s.setup:
		return media.End{State: media.TimedOut, Reason: fmt.Sprintf("no packet within %v of the opening", s.setup), At: now}, true
	case s.heard && silent >= s.silence:
		return media.End{State: media.TimedOut, Reason: fmt.Sprintf("no packet on any leg for %v", s.silence), At: now}, true
	default:
		return media.End{}, false
	}
}

// endLegs ends all legs side by side, since each takes its time.
func (s *Session) endLegs(e media.End) {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, l := range s.running() {
		wg.Go(func() { l.port.End(e) })
	}
	wg.Wait()
	s.leaving.Wait()
}
