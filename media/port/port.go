// Package port receives RTP on UDP sockets: one socket, one goroutine and one
// bridge.Leg for each leg of a call.
//
// Ports are even, as RFC 3550, section 11, wants them. They are taken in turn
// from a range, so that stray packets of a call that has ended seldom meet the
// next one, or from the kernel.
package port

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"sidetone/media"
	"sidetone/media/bridge"
)

const (
	// DefaultReadBuffer stands for zero in PoolConfig.ReadBuffer: about a minute
	// of one leg, for the time when the machine has other things to do. The
	// kernel may grant less (net.core.rmem_max).
	DefaultReadBuffer = 4 << 20

	// tick is how often a leg looks at the clock when no packet comes.
	tick = 20 * time.Millisecond
	// maxDatagram is more than any packet that a leg accepts; what is larger is
	// cut off here and refused there.
	maxDatagram = 2048
	// endGrace is how long the end waits for one more packet, endLimit how long
	// it reads at most from a sender that goes on.
	endGrace = 20 * time.Millisecond
	endLimit = 100 * time.Millisecond
	// kernelTries is how many ports the kernel may offer until one is even.
	kernelTries = 64
)

// ErrNoPort is wrapped by Open's error when all ports of the range are taken.
var ErrNoPort = errors.New("no free RTP port")

// PoolConfig says which ports there are.
type PoolConfig struct {
	// Host is the local address.
	Host netip.Addr
	// Min and Max bound the range, both included. Zeros leave the choice to the
	// kernel.
	Min, Max uint16
	// ReadBuffer is what is asked of the kernel for each socket, in bytes.
	ReadBuffer int
}

// Pool opens ports. It is safe for concurrent use.
type Pool struct {
	cfg  PoolConfig
	mu   sync.Mutex
	next uint16
}

// NewPool checks the configuration; it opens nothing.
func NewPool(cfg PoolConfig) (*Pool, error) {
	if !cfg.Host.IsValid() {
		return nil, errors.New("port: no local address for RTP")
	}
	if cfg.ReadBuffer == 0 {
		cfg.ReadBuffer = DefaultReadBuffer
	}
	first := cfg.Min + cfg.Min%2
	switch {
	case cfg.ReadBuffer < 0:
		return nil, fmt.Errorf("port: a read buffer of %d bytes is not possible", cfg.ReadBuffer)
	case cfg.Min == 0 && cfg.Max == 0:
	case cfg.Min < 1024 || first < cfg.Min || first > cfg.Max:
		return nil, fmt.Errorf("port: there is no even port from 1024 up in the range %d to %d", cfg.Min, cfg.Max)
	}
	return &Pool{cfg: cfg, next: first}, nil
}

// Config describes one port.
type Config struct {
	// Leg is the media path behind the port.
	Leg bridge.Config
	// Idle ends the leg with media.TimedOut when no packet of its source has
	// come for so long, or since the port was opened. Zero means never.
	Idle time.Duration
	Log  *slog.Logger
}

// Port is an open socket and the leg behind it. All methods are safe for
// concurrent use; the sink's methods must not call End or Close.
type Port struct {
	conn *net.UDPConn
	addr netip.AddrPort
	leg  *bridge.Leg
	idle time.Duration
	log  *slog.Logger

	opened time.Time
	end    atomic.Pointer[media.End]
	done   chan struct{}

	mu    sync.Mutex
	stats media.LegStats
	last  time.Time
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
	conn, err := p.listen()
	if err != nil {
		return nil, fmt.Errorf("port: %w", err)
	}
	if err := conn.SetReadBuffer(p.cfg.ReadBuffer); err != nil {
		return nil, errors.Join(fmt.Errorf("port: setting the read buffer of %v: %w", conn.LocalAddr(), err), conn.Close())
	}
	t := &Port{
		conn: conn, addr: conn.LocalAddr().(*net.UDPAddr).AddrPort(), leg: leg,
		idle: cfg.Idle, log: cfg.Log, opened: time.Now(), done: make(chan struct{}),
	}
	go t.run()
	return t, nil
}

// listen binds the next free even port.
func (p *Pool) listen() (*net.UDPConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cfg.Min == 0 {
		return p.listenKernel()
	}
	var last error
	for range int(p.cfg.Max-p.cfg.Min)/2 + 1 {
		n := p.next
		p.next += 2
		if p.next > p.cfg.Max || p.next < n {
			p.next = p.cfg.Min + p.cfg.Min%2
		}
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.cfg.Host, n)))
		if err == nil {
			return conn, nil
		}
		last = err
	}
	return nil, fmt.Errorf("%w between %d and %d on %v; widen the range or end calls: %w", ErrNoPort, p.cfg.Min, p.cfg.Max, p.cfg.Host, last)
}

// listenKernel asks the kernel until it offers an even port. The odd ones stay
// open meanwhile, or it might offer them again.
func (p *Pool) listenKernel() (*net.UDPConn, error) {
	var odd []*net.UDPConn
	defer func() {
		for _, c := range odd {
			c.Close()
		}
	}()
	for range kernelTries {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.cfg.Host, 0)))
		if err != nil {
			return nil, fmt.Errorf("%w on %v: %w", ErrNoPort, p.cfg.Host, err)
		}
		if conn.LocalAddr().(*net.UDPAddr).Port%2 == 0 {
			return conn, nil
		}
		odd = append(odd, conn)
	}
	return nil, fmt.Errorf("%w: the kernel offered %d odd ports in a row on %v", ErrNoPort, kernelTries, p.cfg.Host)
}

// run reads until the end. Its deadline is the next tick, so that one system
// call serves both.
func (t *Port) run() {
	defer close(t.done)
	defer t.conn.Close()
	buf := make([]byte, maxDatagram)
	due := time.Now().Add(tick)
	err := t.conn.SetReadDeadline(due)
	for err == nil {
		var n int
		var from netip.AddrPort
		n, from, err = t.conn.ReadFromUDPAddrPort(buf)
		now := time.Now()
		if err == nil {
			t.leg.Push(buf[:n], unmap(from), now)
		} else if errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil
		}
		if now.Before(due) {
			continue
		}
		t.leg.Tick(now)
		t.publish()
		if t.idle > 0 && now.Sub(t.LastPacket()) >= t.idle {
			t.end.CompareAndSwap(nil, &media.End{State: media.TimedOut, Reason: fmt.Sprintf("no packet for %v", t.idle), At: now})
		}
		if t.end.Load() != nil {
			t.rest(buf)
			break
		}
		due = now.Add(tick)
		if err == nil {
			err = t.conn.SetReadDeadline(due)
		}
	}
	if err != nil {
		t.log.Error("RTP port failed", "address", t.addr, "error", err)
		t.end.CompareAndSwap(nil, &media.End{State: media.Aborted, Reason: err.Error(), At: time.Now()})
	}
	t.leg.End(*t.end.Load())
	t.publish()
}

// rest takes what the kernel still holds when the end is called, so that a
// sender that hangs up after its last packet is heard out.
func (t *Port) rest(buf []byte) {
	start := time.Now()
	for now := start; now.Sub(start) < endLimit; now = time.Now() {
		if t.conn.SetReadDeadline(now.Add(endGrace)) != nil {
			return
		}
		n, from, err := t.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		t.leg.Push(buf[:n], unmap(from), time.Now())
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
func (t *Port) String() string { return fmt.Sprintf("%v -> %v", t.addr, t.leg) }

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

// End ends the leg, closes the socket and waits until the sink has been told.
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
