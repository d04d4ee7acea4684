// Package port receives RTP on UDP sockets: a pair of sockets, and one
// bridge.Leg for each leg of a call.
//
// Ports are even, as RFC 3550, section 11, wants them, and RTCP comes on the
// next, or on the same (RFC 5761). They are taken in turn from a range, or from
// the kernel, and rest after use, so that stray packets of a call that has
// ended do not meet the next one.
//
// A port that has a Guard takes SRTP. Receiver reports go to the source of the
// leg's packets, and nowhere else.
package port

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"sidetone/media"
	"sidetone/media/bridge"
)

const (
	// tick is how often a leg looks at the clock when no packet comes.
	tick = 20 * time.Millisecond
	// maxDatagram is more than any packet that a leg accepts; what is larger is
	// cut off here and refused there.
	maxDatagram = 2048
	// endGrace is how long the end waits for one more packet, endLimit how long
	// it reads at most from a sender that goes on.
	endGrace = 20 * time.Millisecond
	endLimit = 100 * time.Millisecond
)

// ErrEnded is returned for a port whose leg has ended.
var ErrEnded = errors.New("port: the leg has ended")

// Guard opens the packets of a protected stream and seals what goes back. It is
// called from two goroutines. media/srtp has one.
type Guard interface {
	// Open checks and decrypts an RTP or RTCP packet that arrived at now. plain
	// stands in dst, which has room for the packet, or is the datagram itself.
	// authentic is false for a packet that was sent plain and is let through.
	Open(dst, datagram []byte, now time.Time) (plain []byte, authentic bool, err error)
	// Seal writes what an RTCP packet of ours is on the wire to dst.
	Seal(dst, packet []byte) ([]byte, error)
	// Replayed says whether an error of Open means that the packet has been
	// here before.
	Replayed(err error) bool
}

// Config describes one port.
type Config struct {
	// Leg is the media path behind the port.
	Leg bridge.Config
	// Guard, if not nil, takes off SRTP.
	Guard Guard
	// Port is the very port to open, an even one, for a sender that has been told
	// it before; 0 takes a free one.
	Port uint16
	// Idle ends the leg with media.TimedOut when no packet of its source has
	// come for so long, or since the port was opened. Zero means never.
	Idle time.Duration
	// RTCP is how control packets come and go.
	RTCP RTCP
	Log  *slog.Logger
}

// Port is open sockets and the leg behind them. All methods are safe for
// concurrent use; the sink's methods must not call any but Addr and String.
type Port struct {
	pool  *Pool
	socks sockets
	addr  netip.AddrPort
	leg   *bridge.Leg
	guard Guard
	ctl   *control
	idle  time.Duration
	log   *slog.Logger

	opened   time.Time
	end      atomic.Pointer[media.End]
	requests chan request
	done     chan struct{}

	mu    sync.Mutex
	stats media.LegStats
	last  time.Time
	path  string
}

// Open opens a port and starts to receive on it.
func (p *Pool) Open(cfg Config) (*Port, error) {
	if cfg.Log == nil || cfg.Idle < 0 {
		return nil, fmt.Errorf("port: a port needs a logger and no negative idle time (%v)", cfg.Idle)
	}
	leg, err := bridge.New(cfg.Leg)
	if err != nil {
		return nil, fmt.Errorf("port: %w", err)
	}
	ctl, err := newControl(cfg.RTCP)
	if err != nil {
		return nil, fmt.Errorf("port: %w", err)
	}
	now := time.Now()
	socks, err := p.take(cfg.Port, !cfg.RTCP.Off && !cfg.RTCP.Mux, now)
	if err != nil {
		return nil, fmt.Errorf("port: %w", err)
	}
	if err := socks.rtp.SetReadBuffer(p.cfg.ReadBuffer); err != nil {
		err = errors.Join(fmt.Errorf("port: setting the read buffer of %v: %w", socks.rtp.LocalAddr(), err), socks.Close())
		p.release(localAddr(socks.rtp).Port(), now)
		return nil, err
	}
	t := &Port{
		pool: p, socks: socks, addr: localAddr(socks.rtp), leg: leg, guard: cfg.Guard, ctl: ctl,
		idle: cfg.Idle, log: cfg.Log, opened: now, path: leg.String(),
		requests: make(chan request), done: make(chan struct{}),
	}
	ctl.setGuard(cfg.Guard)
	go t.run()
	return t, nil
}

// run owns the leg and both sockets until the end.
func (t *Port) run() {
	defer close(t.done)
	var wg sync.WaitGroup
	if t.socks.rtcp != nil {
		wg.Go(func() { t.ctl.serve(t.socks.rtcp) })
	}
	err := t.receive()
	if err != nil {
		t.log.Error("RTP port failed", "address", t.addr, "error", err)
		t.end.CompareAndSwap(nil, &media.End{State: media.Aborted, Reason: err.Error(), At: time.Now()})
	}
	if err := t.socks.Close(); err != nil {
		t.log.Warn("closing an RTP port", "address", t.addr, "error", err)
	}
	wg.Wait()
	t.pool.release(t.addr.Port(), time.Now())
	t.leg.Control(t.ctl.drain())
	t.leg.End(*t.end.Load())
	t.publish()
}

// receive reads until the end. As long as packets come they bring the ticks
// along, and nothing else wakes the goroutine: the deadline is one tick behind
// the one that is due. In silence it is the tick itself.
func (t *Port) receive() error {
	buf, plain := make([]byte, maxDatagram), make([]byte, maxDatagram)
	due := time.Now().Add(tick)
	if err := t.socks.rtp.SetReadDeadline(due); err != nil {
		return err
	}
	for {
		n, from, err := t.socks.rtp.ReadFromUDPAddrPort(buf)
		now := time.Now()
		wait := tick
		switch {
		case err == nil:
			t.take(buf[:n], plain, unmap(from), now)
			wait = 2 * tick
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		}
		if now.Before(due) {
			continue
		}
		t.tick(now)
		if t.end.Load() != nil {
			t.rest(buf, plain)
			return nil
		}
		due = now.Add(tick)
		if err := t.socks.rtp.SetReadDeadline(now.Add(wait)); err != nil {
			return err
		}
	}
}

// take hands a datagram to whom it concerns.
func (t *Port) take(datagram, plain []byte, from netip.AddrPort, now time.Time) {
	authentic := false
	if t.guard != nil {
		var err error
		if datagram, authentic, err = t.guard.Open(plain, datagram, now); err != nil {
			t.ctl.refused(t.guard.Replayed(err))
			return
		}
	}
	if isRTCP(datagram) {
		t.ctl.receive(datagram, from, true, authentic, now)
		return
	}
	if authentic {
		t.leg.PushAuthentic(datagram, from, now)
	} else {
		t.leg.Push(datagram, from, now)
	}
}

// tick does what is due every 20 ms.
func (t *Port) tick(now time.Time) {
	select {
	case r := <-t.requests:
		r.done <- t.change(r.update, now)
	default:
	}
	t.leg.Control(t.ctl.drain())
	t.leg.Tick(now)
	t.ctl.tick(t.leg, t.socks, now)
	t.publish()
	if t.idle > 0 && now.Sub(t.LastPacket()) >= t.idle {
		t.end.CompareAndSwap(nil, &media.End{State: media.TimedOut, Reason: fmt.Sprintf("no packet for %v", t.idle), At: now})
	}
}

// rest takes what the kernel still holds when the end is called, so that a
// sender that hangs up after its last packet is heard out.
func (t *Port) rest(buf, plain []byte) {
	start := time.Now()
	for now := start; now.Sub(start) < endLimit; now = time.Now() {
		if t.socks.rtp.SetReadDeadline(now.Add(endGrace)) != nil {
			return
		}
		n, from, err := t.socks.rtp.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		t.take(buf[:n], plain, unmap(from), time.Now())
	}
}

// unmap makes the addresses of a dual-stack socket comparable.
func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func (t *Port) publish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats = t.leg.Stats()
	t.last = t.leg.LastPacket()
}

// Addr is the local address.
func (t *Port) Addr() netip.AddrPort { return t.addr }

// String prints the port and its pipeline.
func (t *Port) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("%v -> %s", t.addr, t.path)
}

// Stats returns what the leg has seen, as of the last tick.
func (t *Port) Stats() media.LegStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stats
}

// LastPacket is when the leg's source last sent a packet, as of the last tick;
// before the first it is when the port was opened.
func (t *Port) LastPacket() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last.IsZero() {
		return t.opened
	}
	return t.last
}

// End ends the leg, closes the sockets and waits until the sink has been told.
// Only the first end counts. It takes some 40 ms, 100 ms
// more when packets keep coming.
func (t *Port) End(e media.End) {
	t.end.CompareAndSwap(nil, &e)
	<-t.done
}

// Close ends the leg with media.Aborted, unless it has ended, and waits.
func (t *Port) Close() error {
	t.End(media.End{State: media.Aborted, Reason: "closed", At: time.Now()})
	return nil
}

// Done is closed when the leg has ended.
func (t *Port) Done() <-chan struct{} { return t.done }
