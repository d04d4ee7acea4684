// Package rtpfork holds the calls whose audio a PBX forks to us as plain RTP,
// opened by name: one UDP port for each leg, as Asterisk's externalMedia wants
// it. Legs come and go while the call runs. What codec comes may be left to be
// found out, since externalMedia negotiates none.
//
// A call ends once, by request, because no packet has come on any of its legs
// for the configured time, or because the Manager is closed. Its legs end with
// it.
package rtpfork

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"sidetone/media"
	"sidetone/media/bridge"
	"sidetone/media/codec"
	"sidetone/media/port"
)

// Errors of Open that callers tell apart.
var (
	// ErrDuplicateCall: a call of that name is running.
	ErrDuplicateCall = errors.New("the call is running already")
	// ErrTooManyCalls: as many calls are running as Config.MaxCalls allows.
	ErrTooManyCalls = errors.New("too many calls")
	// ErrNoPort: all ports of the range are taken.
	ErrNoPort = port.ErrNoPort
	// ErrClosed: the Manager is closed or closing.
	ErrClosed = errors.New("no more calls are taken")
)

const (
	// DefaultSetupTimeout and DefaultSilenceTimeout stand for zeros in Config.
	DefaultSetupTimeout   = 60 * time.Second
	DefaultSilenceTimeout = 60 * time.Second
)

// Config bounds what a Manager takes on.
type Config struct {
	// Pool has the ports; nil makes one of Host and the range that follow.
	Pool *port.Pool
	// Host is the local address of the ports.
	Host netip.Addr
	// FirstPort and LastPort bound the ports; zeros leave them to the kernel.
	FirstPort, LastPort int
	// MaxCalls is how many calls may run at once.
	MaxCalls int
	// SetupTimeout is how long a call may wait for its first packet,
	// SilenceTimeout how long for the next one on any of its legs.
	SetupTimeout, SilenceTimeout time.Duration
	Log                          *slog.Logger
}

// LegSpec announces one leg.
type LegSpec struct {
	Leg media.Leg
	// Format is the leg's codec; its zero value means PCMU.
	Format codec.Format
	// PayloadType is the RTP payload type; zero means codec.PayloadType's.
	PayloadType uint8
	// Detect takes whatever comes besides: the codecs of the static payload
	// types, and those of dynamic ones by the size of their packets. For senders
	// that name no codec, or another than they send.
	Detect bool
	// Port is the very port on which the leg is received, 0 takes a free one: a
	// sender that was told a port by a server that has been lost goes on sending
	// there.
	Port uint16
	// Sources, if any, are the only addresses from which packets are taken.
	Sources []netip.Addr
}

// Manager holds the running calls. It is safe for concurrent use.
type Manager struct {
	cfg  Config
	pool *port.Pool

	mu     sync.Mutex
	calls  map[string]*Session // a nil value is a call that is being opened
	closed bool
	wg     sync.WaitGroup // one for each entry of calls
}

// New checks the configuration; it opens nothing.
func New(cfg Config) (*Manager, error) {
	if cfg.SetupTimeout == 0 {
		cfg.SetupTimeout = DefaultSetupTimeout
	}
	if cfg.SilenceTimeout == 0 {
		cfg.SilenceTimeout = DefaultSilenceTimeout
	}
	switch {
	case cfg.Log == nil:
		return nil, errors.New("rtpfork: no logger")
	case cfg.MaxCalls < 1:
		return nil, fmt.Errorf("rtpfork: at most %d calls is none at all", cfg.MaxCalls)
	case cfg.SetupTimeout < 0 || cfg.SilenceTimeout < 0:
		return nil, fmt.Errorf("rtpfork: timeouts of %v and %v must be positive", cfg.SetupTimeout, cfg.SilenceTimeout)
	case cfg.FirstPort < 0 || cfg.FirstPort > 65535 || cfg.LastPort < 0 || cfg.LastPort > 65535:
		return nil, fmt.Errorf("rtpfork: ports %d to %d do not exist", cfg.FirstPort, cfg.LastPort)
	}
	pool := cfg.Pool
	if pool == nil {
		var err error
		pool, err = port.NewPool(port.PoolConfig{Host: cfg.Host, Min: uint16(cfg.FirstPort), Max: uint16(cfg.LastPort)})
		if err != nil {
			return nil, fmt.Errorf("rtpfork: %w", err)
		}
	}
	return &Manager{cfg: cfg, pool: pool, calls: map[string]*Session{}}, nil
}

// Open opens a port for each leg and begins to receive. sinkFor returns the
// sink of leg number i; it is called before Open returns, and so may the sink
// be. onEnd is called once, after the End of all sinks, unless Open returns an
// error; then those sinks that were taken into use have ended as
// media.Refused.
func (m *Manager) Open(call media.Call, legs []LegSpec, sinkFor func(i int) media.LegSink, onEnd func(media.End)) (*Session, error) {
	if call.ID == "" || len(legs) == 0 {
		return nil, fmt.Errorf("rtpfork: call %q with %d legs: a call needs a name and at least one leg", call.ID, len(legs))
	}
	if err := m.reserve(call.ID); err != nil {
		return nil, fmt.Errorf("rtpfork: call %q: %w", call.ID, err)
	}
	s := &Session{
		m: m, call: call, setup: m.cfg.SetupTimeout, silence: m.cfg.SilenceTimeout, since: time.Now(),
		ask: make(chan media.End, 1), done: make(chan struct{}), finds: make(chan find, maxLegs),
	}
	for i, spec := range legs {
		if _, err := s.AddLeg(spec, sinkFor(i)); err != nil {
			s.endLegs(media.End{State: media.Refused, Reason: err.Error(), At: time.Now()})
			m.remove(call.ID)
			m.wg.Done()
			return nil, err
		}
	}
	m.mu.Lock()
	m.calls[call.ID] = s
	closed := m.closed
	m.mu.Unlock()
	if closed {
		// Close came in between and did not see this call.
		s.request(media.End{State: media.Aborted, Reason: ErrClosed.Error(), At: time.Now()})
	}
	go func() {
		defer m.wg.Done()
		s.run(func(e media.End) {
			onEnd(e)
			m.remove(call.ID)
		})
	}()
	return s, nil
}

// reserve takes a place for the call, or says why there is none.
func (m *Manager) reserve(id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	if _, ok := m.calls[id]; ok {
		return ErrDuplicateCall
	}
	if len(m.calls) >= m.cfg.MaxCalls {
		return fmt.Errorf("%w: %d are running, which is the limit", ErrTooManyCalls, len(m.calls))
	}
	m.calls[id] = nil
	m.wg.Add(1)
	return nil
}

func (m *Manager) remove(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.calls, id)
}

// payloads are what a leg takes: its own codec first.
func (spec LegSpec) payloads() ([]bridge.Payload, error) {
	f := spec.Format
	if f == (codec.Format{}) {
		f, _ = codec.Static(0)
	}
	pt := spec.PayloadType
	if pt == 0 {
		var err error
		if pt, err = codec.PayloadType(f); err != nil {
			return nil, err
		}
	}
	own, err := payload(pt, f)
	if err != nil || !spec.Detect {
		return []bridge.Payload{own}, err
	}
	all := []bridge.Payload{own}
	for other := range uint8(firstDynamic) {
		if static, ok := codec.Static(other); ok && other != pt {
			p, err := payload(other, static)
			if err != nil {
				return nil, err
			}
			all = append(all, p)
		}
	}
	return all, nil
}

// payload makes the decoder of a payload type.
func payload(pt uint8, f codec.Format) (bridge.Payload, error) {
	decoder, err := codec.New(f)
	return bridge.Payload{Type: pt, Codec: decoder, Clock: f.Clock}, err
}

// Get returns a running call.
func (m *Manager) Get(id string) (*Session, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.calls[id]
	return s, s != nil
}

// Calls is the number of running calls.
func (m *Manager) Calls() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.calls)
}

// End ends a call and waits for its end; it reports whether the call was
// running.
func (m *Manager) End(id string, e media.End) bool {
	s, ok := m.Get(id)
	if ok {
		s.End(e)
	}
	return ok
}

// Close takes no more calls, ends the running ones, all with e, and waits for
// them. It may be called more than once.
func (m *Manager) Close(e media.End) {
	m.mu.Lock()
	m.closed = true
	for _, s := range m.calls {
		if s != nil {
			s.request(e)
		}
	}
	m.mu.Unlock()
	m.wg.Wait()
}
