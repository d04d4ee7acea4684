package port

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"sidetone/media/bridge"
	"sidetone/media/report"
)

// RTCP is how control packets come and go. The zero value takes them on the
// next port and on the same, and sends receiver reports.
type RTCP struct {
	// Off opens no second socket and sends no reports. Control packets on the
	// RTP port are still read.
	Off bool
	// Mux says that a=rtcp-mux was agreed on: no second socket is opened, and
	// reports leave from the RTP port.
	Mux bool
	// Peer is where reports go to when the other side announced it (a=rtcp, RFC
	// 3605). Its address must be the source's, whatever is announced.
	Peer netip.AddrPort
	// Interval is the mean time between reports; zero means
	// report.DefaultInterval.
	Interval time.Duration
}

// control is the RTCP of one port. Its goroutines take turns.
type control struct {
	off, mux bool

	mu       sync.Mutex
	guard    Guard
	reporter *report.Reporter
	peer     netip.AddrPort // as announced
	source   netip.AddrPort // of RTP, as of the last tick
	// heard is where RTCP of the source came from last; muxed tells on which
	// socket.
	heard  netip.AddrPort
	muxed  bool
	seen   bridge.Control
	sealed []byte
}

func newControl(cfg RTCP) (*control, error) {
	r, err := report.New(report.Config{
		SSRC: rand.Uint32(), CNAME: fmt.Sprintf("%016x", rand.Uint64()),
		Interval: cfg.Interval, Seed: rand.Uint64(),
	})
	if err != nil {
		return nil, err
	}
	return &control{off: cfg.Off, mux: cfg.Mux, reporter: r, peer: unmap(cfg.Peer), sealed: make([]byte, maxDatagram)}, nil
}

// isRTCP is the distinction of RFC 5761, section 4.
func isRTCP(b []byte) bool {
	return len(b) >= 8 && b[0]>>6 == 2 && b[1] >= 192 && b[1] <= 223
}

// serve reads the socket of RTCP alone until it is closed.
func (c *control) serve(conn *net.UDPConn) {
	buf, plain := make([]byte, maxDatagram), make([]byte, maxDatagram)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		c.take(buf[:n], plain, unmap(from), time.Now())
	}
}

// take reads one datagram of that socket.
func (c *control) take(datagram, plain []byte, from netip.AddrPort, now time.Time) {
	authentic := false
	c.mu.Lock()
	guard := c.guard
	c.mu.Unlock()
	if guard != nil {
		var err error
		if datagram, authentic, err = guard.Open(plain, datagram, now); err != nil {
			c.refused(guard.Replayed(err))
			return
		}
	}
	if isRTCP(datagram) {
		c.receive(datagram, from, false, authentic, now)
	}
}

// refused counts what the guard refused.
func (c *control) refused(replayed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if replayed {
		c.seen.Duplicate++
	} else {
		c.seen.Forged++
	}
}

// receive reads a control packet. What is neither authentic nor from the
// source's address is only counted.
func (c *control) receive(packet []byte, from netip.AddrPort, muxed, authentic bool, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen.RTCP++
	if !authentic && from.Addr() != c.source.Addr() {
		return
	}
	got, err := c.reporter.Receive(packet, now)
	if err != nil {
		return
	}
	c.heard, c.muxed = from, muxed
	c.seen.Byes += uint64(got.Byes)
	if !got.Sent.Wall.IsZero() {
		c.seen.Wall, c.seen.SSRC, c.seen.Stamp = got.Sent.Wall, got.Sent.SSRC, got.Sent.Stamp
	}
}

// drain returns what has come since it was called last.
func (c *control) drain() bridge.Control {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.seen
	c.seen = bridge.Control{}
	return s
}

func (c *control) setGuard(g Guard) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.guard = g
}

func (c *control) setPeer(a netip.AddrPort) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.peer = unmap(a)
}

// tick notes the leg's source and sends a receiver report when one is due.
func (c *control) tick(leg *bridge.Leg, socks sockets, now time.Time) {
	from, _, latched := leg.Source()
	if !latched {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.source = from
	if c.off || !c.reporter.Due(now) {
		return
	}
	ssrc, r, ok := leg.Reception()
	if !ok {
		return
	}
	packet, err := c.reporter.Make(report.Reception{
		SSRC: ssrc, Highest: r.Highest, Expected: r.Expected, Lost: r.Lost, Jitter: r.Jitter,
	}, now)
	if err == nil && c.guard != nil {
		// Without a key of our own there is no report: a plain one would be
		// refused, and tell who listens.
		packet, err = c.guard.Seal(c.sealed, packet)
	}
	if err != nil {
		return
	}
	conn, to := c.destination(socks)
	// A report that gets lost is followed by the next.
	_, _ = conn.WriteToUDPAddrPort(packet, to)
}

// destination is the socket that the next report leaves from, and where to: to
// the source's host in any case, so that nobody can have us send to another.
func (c *control) destination(socks sockets) (*net.UDPConn, netip.AddrPort) {
	host := c.source.Addr()
	switch {
	case socks.rtcp == nil || c.heard.Addr() == host && c.muxed:
		return socks.rtp, c.source
	case c.peer.Addr() == host:
		return socks.rtcp, c.peer
	case c.heard.Addr() == host:
		return socks.rtcp, c.heard
	default:
		return socks.rtcp, netip.AddrPortFrom(host, c.source.Port()+1)
	}
}

func localAddr(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }
