package benchload

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"sync"
	"time"

	"sidetone/bench/load"
	"sidetone/media/netsim"
)

// slot is an agent with one call after the other.
type slot struct {
	*runner
	n     int
	made  int
	pane  *pane
	rng   *mathrand.Rand
	order []int
	last  *watch
}

func (r *runner) newSlot() *slot {
	s := &slot{runner: r, n: r.n, rng: mathrand.New(mathrand.NewPCG(r.cfg.Seed, uint64(r.n)))}
	s.pane = newPane(r.api, fmt.Sprintf("load-%s-%d", r.id, s.n), r.led, r.paint)
	r.n++
	return s
}

// next is the next recording: each once, in random order, then anew. What the
// agents begin with goes round, so that few calls are not all alike.
func (s *slot) next() *Material {
	all := s.cfg.Material
	if s.order == nil {
		s.order = []int{s.n % len(all)}
	}
	if len(s.order) == 0 {
		s.order = s.rng.Perm(len(all))
	}
	m := all[s.order[0]]
	s.order = s.order[1:]
	return m
}

// run makes calls until no new ones begin or ctx ends.
func (s *slot) run(ctx, base context.Context, delay time.Duration) {
	panes, stop := context.WithCancel(base)
	var wait sync.WaitGroup
	defer wait.Wait()
	defer stop()
	wait.Go(func() { s.pane.run(panes) })
	defer func() { s.settle(nil) }()
	if err := s.pane.connected(ctx); err != nil && ctx.Err() == nil {
		s.led.trouble(load.Error, err.Error())
	}
	for pause(ctx, delay) && (s.until.IsZero() || time.Now().Before(s.until)) {
		delay = s.call(ctx, s.next())
	}
}

// call makes one call. It returns how long to wait before the next.
func (s *slot) call(ctx context.Context, m *Material) time.Duration {
	s.made++
	w := newWatch(fmt.Sprintf("load-%s-%d-%d", s.id, s.n, s.made), &m.Script)
	s.pane.follow(w)
	o, err := s.api.open(ctx, w.call, s.pane.agent)
	if err != nil {
		s.pane.forget(w)
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, errRefused):
			s.led.refused(err)
			return refusedPause
		default:
			s.led.trouble(load.Error, "opening a call: "+err.Error())
		}
		return failedPause
	}
	s.led.opened()
	streams, keptBack, err := s.streams(m, o)
	var p *play
	whole := false
	if err == nil {
		p = s.pace.start(streams)
		s.pane.plays(w, p.begun)
		select {
		case <-p.done:
			whole, err = p.err == nil, p.err
		case <-ctx.Done():
			s.pace.stop(p)
		}
	}
	for _, x := range streams {
		x.conn.Close()
	}
	if err != nil {
		s.led.trouble(load.Error, "sending: "+err.Error())
	}
	var played time.Duration
	if p != nil {
		played = min(time.Since(p.begun), m.Length())
	}
	rec, err := s.hangUp(context.WithoutCancel(ctx), w, ctx.Err() != nil)
	s.led.over(played)
	if err != nil {
		s.led.trouble(load.Error, "ending a call: "+err.Error())
		s.led.notOnce("none is known: " + err.Error())
		return failedPause
	}
	s.account(w, &rec, whole)
	if whole {
		f := load.Verify(&m.Script, &rec, s.pane.lead(rec.Started, p.begun), s.led.norm)
		s.led.carried(p.sent, keptBack, &rec)
		s.led.verified(&m.Script, &rec, &f)
	}
	return s.cfg.Pause/2 + time.Duration(s.rng.Int64N(int64(s.cfg.Pause)+1))
}

// streams opens a socket for each leg and lays out its packets.
func (s *slot) streams(m *Material, o opened) (streams []*stream, keptBack int, err error) {
	for i, l := range o.Legs {
		to, err := net.ResolveUDPAddr("udp", l.Address)
		if err != nil {
			return streams, 0, err
		}
		conn, err := net.DialUDP("udp", nil, to)
		if err != nil {
			return streams, 0, err
		}
		var order []netsim.Arrival
		if s.cfg.Loss > 0 {
			n := len(m.Legs[i]) / payloadLen
			order = netsim.Network{Loss: s.cfg.Loss}.Arrivals(n, packetTime, s.rng.Uint64())
			keptBack += n - len(order)
		}
		streams = append(streams, newStream(conn, m.Legs[i], order))
	}
	return streams, keptBack, nil
}

// hangUp ends a call, or waits until it has ended by its silence, and returns
// its record.
func (s *slot) hangUp(ctx context.Context, w *watch, early bool) (load.Record, error) {
	if !s.cfg.NoBye || early {
		return s.api.end(ctx, w.call)
	}
	deadline := time.Now().Add(silenceLimit)
	for {
		rec, err := s.api.record(ctx, w.call)
		switch {
		case err != nil:
			return rec, err
		case rec.State != "running":
			// The record has its end state before the last words.
			select {
			case <-w.ended:
			case <-time.After(toldWithin):
			}
			return s.api.record(ctx, w.call)
		case time.Now().After(deadline):
			return rec, fmt.Errorf("call %s still runs, %v after its last packet", w.call, silenceLimit)
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// account checks that a call has exactly one end state.
func (s *slot) account(w *watch, rec *load.Record, whole bool) {
	s.led.ended(rec.State, whole)
	want := "ended"
	if s.cfg.NoBye && whole {
		want = "timed out"
	}
	if rec.State != want {
		s.led.notOnce(fmt.Sprintf("%q (%s), want %q", rec.State, rec.Reason, want))
	}
	t := time.NewTimer(toldWithin)
	defer t.Stop()
	select {
	case <-w.ended:
	case <-t.C:
		s.led.notOnce(fmt.Sprintf("the pane was not told within %v", toldWithin))
	}
	if ends, state := s.pane.seen(w); ends > 0 && state != rec.State {
		s.led.notOnce(fmt.Sprintf("%q in the record, %q on the pane", rec.State, state))
	}
	again, err := s.api.record(context.Background(), w.call)
	if err != nil {
		s.led.notOnce("asked again: " + err.Error())
	} else if again.State != rec.State || again.Reason != rec.Reason {
		s.led.notOnce(fmt.Sprintf("%q (%s) first, %q (%s) when asked again", rec.State, rec.Reason, again.State, again.Reason))
	}
	s.settle(w)
}

// settle looks once more at the call before, which may have been told to have
// ended twice, and lets go of it.
func (s *slot) settle(next *watch) {
	if w := s.last; w != nil {
		if ends, state := s.pane.seen(w); ends > 1 {
			s.led.notOnce(fmt.Sprintf("the pane was told %d times, at last %q", ends, state))
		}
		s.pane.forget(w)
	}
	s.last = next
}
