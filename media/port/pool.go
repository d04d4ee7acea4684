package port

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// DefaultReadBuffer stands for zero in PoolConfig.ReadBuffer: about a minute
	// of one leg, for the time when the machine has other things to do. The
	// kernel may grant less (net.core.rmem_max).
	DefaultReadBuffer = 4 << 20
	// DefaultRest stands for zero in PoolConfig.Rest.
	DefaultRest = 5 * time.Second

	// kernelTries is how many ports the kernel may offer until one will do.
	kernelTries = 64
)

// ErrNoPort is wrapped by Open's error when all ports of the range are taken.
var ErrNoPort = errors.New("no free RTP port")

// PoolConfig says which ports there are.
type PoolConfig struct {
	// Host is the local address.
	Host netip.Addr
	// Min and Max bound the range, both included. RTCP is on odd ports, so an
	// even Max has its own one beyond. Zeros leave the choice to the kernel.
	Min, Max uint16
	// ReadBuffer is what is asked of the kernel for each socket, in bytes.
	ReadBuffer int
	// Rest is how long a port that was used is left alone, so that late packets
	// of a call that has ended do not meet the next. Negative means not at all.
	Rest time.Duration
}

// Pool opens ports. It is safe for concurrent use.
type Pool struct {
	cfg  PoolConfig
	mu   sync.Mutex
	next uint16
	// taken counts the ports that are open.
	taken int
	// rests are the ports that are left alone, and until when, the first to be
	// free first; resting holds the same ports.
	rests   []rest
	resting map[uint16]bool
}

type rest struct {
	port  uint16
	until time.Time
}

// NewPool checks the configuration; it opens nothing.
func NewPool(cfg PoolConfig) (*Pool, error) {
	if !cfg.Host.IsValid() {
		return nil, errors.New("port: no local address for RTP")
	}
	if cfg.ReadBuffer == 0 {
		cfg.ReadBuffer = DefaultReadBuffer
	}
	if cfg.Rest == 0 {
		cfg.Rest = DefaultRest
	}
	first := cfg.Min + cfg.Min%2
	switch {
	case cfg.ReadBuffer < 0:
		return nil, fmt.Errorf("port: a read buffer of %d bytes is not possible", cfg.ReadBuffer)
	case cfg.Min == 0 && cfg.Max == 0:
	case cfg.Min < 1024 || first < cfg.Min || first > cfg.Max:
		return nil, fmt.Errorf("port: there is no even port from 1024 up in the range %d to %d", cfg.Min, cfg.Max)
	}
	return &Pool{cfg: cfg, next: first, resting: map[uint16]bool{}}, nil
}

// sockets are those of one leg: RTP on an even port and RTCP on the next, if it
// has one of its own.
type sockets struct {
	rtp, rtcp *net.UDPConn
}

func (s sockets) Close() error {
	if s.rtcp == nil {
		return s.rtp.Close()
	}
	return errors.Join(s.rtp.Close(), s.rtcp.Close())
}

// bind opens the port, and the next one if both are wanted.
func (p *Pool) bind(port uint16, both bool) (sockets, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.cfg.Host, port)))
	if err != nil {
		return sockets{}, err
	}
	got := conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	if !both || got%2 != 0 {
		return sockets{rtp: conn}, nil
	}
	control, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.cfg.Host, got+1)))
	if err != nil {
		return sockets{}, errors.Join(err, conn.Close())
	}
	return sockets{conn, control}, nil
}

// take binds the given port, or a free one where none is given.
func (p *Pool) take(port uint16, both bool, now time.Time) (sockets, error) {
	if port == 0 {
		return p.listen(both, now)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wake(now)
	// With both zero the kernel chooses the ports, and any may have been one.
	if free := p.cfg.Min == 0 && p.cfg.Max == 0; port%2 != 0 || !free && (port < p.cfg.Min || port > p.cfg.Max) {
		return sockets{}, fmt.Errorf("%w: %d is not one of the even ports from %d to %d", ErrNoPort, port, p.cfg.Min, p.cfg.Max)
	}
	s, err := p.bind(port, both)
	if err != nil {
		return sockets{}, fmt.Errorf("%w: %w", ErrNoPort, err)
	}
	return s, nil
}

// listen binds the next free even port, and the odd one after it if both are
// wanted.
func (p *Pool) listen(both bool, now time.Time) (sockets, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wake(now)
	s, err := p.choose(both)
	if err == nil {
		p.taken++
	}
	return s, err
}

// choose is listen without the accounts. The caller holds mu.
func (p *Pool) choose(both bool) (sockets, error) {
	if p.cfg.Min == 0 {
		return p.listenKernel(both)
	}
	var last error
	rested := 0
	for range int(p.cfg.Max-p.cfg.Min)/2 + 1 {
		n := p.next
		p.next += 2
		if p.next > p.cfg.Max || p.next < n {
			p.next = p.cfg.Min + p.cfg.Min%2
		}
		if p.resting[n] {
			rested++
			continue
		}
		s, err := p.bind(n, both)
		if err == nil {
			return s, nil
		}
		last = err
	}
	err := fmt.Errorf("%w between %d and %d on %v; widen the range or end calls", ErrNoPort, p.cfg.Min, p.cfg.Max, p.cfg.Host)
	if rested > 0 {
		err = fmt.Errorf("%w; %d were used just now and rest for %v", err, rested, p.cfg.Rest)
	}
	if last != nil {
		err = fmt.Errorf("%w: %w", err, last)
	}
	return sockets{}, err
}

// listenKernel asks the kernel until it offers a port that will do. The others
// stay open meanwhile, or it might offer them again.
func (p *Pool) listenKernel(both bool) (sockets, error) {
	var others []sockets
	defer func() {
		for _, s := range others {
			s.Close()
		}
	}()
	var last error
	for range kernelTries {
		s, err := p.bind(0, both)
		if err != nil && last == nil && len(others) == 0 && !both {
			return sockets{}, fmt.Errorf("%w on %v: %w", ErrNoPort, p.cfg.Host, err)
		}
		if err != nil {
			last = err
			continue
		}
		n := s.rtp.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		if n%2 == 0 && !p.resting[n] {
			return s, nil
		}
		others = append(others, s)
	}
	err := fmt.Errorf("%w: the kernel offered none that will do in %d tries on %v", ErrNoPort, kernelTries, p.cfg.Host)
	if last != nil {
		err = fmt.Errorf("%w: %w", err, last)
	}
	return sockets{}, err
}

// Free is how many more ports there are now, as far as nobody else has taken any
// of the range; bounded is false where the kernel chooses them.
func (p *Pool) Free(now time.Time) (n int, bounded bool) {
	if p.cfg.Min == 0 {
		return 0, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wake(now)
	first := int(p.cfg.Min) + int(p.cfg.Min%2)
	return max(0, (int(p.cfg.Max)-first)/2+1-p.taken-len(p.rests)), true
}

// release has a port rest that was closed at now.
func (p *Pool) release(port uint16, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wake(now)
	p.taken--
	if p.cfg.Rest < 0 {
		return
	}
	p.rests = append(p.rests, rest{port, now.Add(p.cfg.Rest)})
	p.resting[port] = true
}

// wake frees the ports that have rested.
func (p *Pool) wake(now time.Time) {
	n := 0
	for n < len(p.rests) && !now.Before(p.rests[n].until) {
		delete(p.resting, p.rests[n].port)
		n++
	}
	p.rests = p.rests[n:]
}
