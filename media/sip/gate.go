package sip

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"
)

const (
	// maxMessage is the most bytes of a message: a body of siprec.MaxBody and
	// its headers.
	maxMessage = 512 << 10
	// maxSources is how many new addresses may send datagrams within sourceSpan,
	// since sipgo remembers each as long as it runs; maxConns is how many
	// connections of a kind may be open.
	maxSources = 1 << 14
	sourceSpan = time.Hour
	maxConns   = 4096
	// firstRead is how long a new connection may stay silent, or shake hands,
	// and idleRead an old one.
	firstRead = 10 * time.Second
	idleRead  = 4 * time.Hour
	// report is how often refused sources are logged.
	report = time.Minute
)

// gate lets in who may talk to us.
type gate struct {
	allow []netip.Prefix
	log   *slog.Logger
	shut  atomic.Bool

	mu       sync.Mutex
	sources  map[netip.AddrPort]bool
	since    time.Time // of sources
	refused  int
	reported time.Time
}

func newGate(allow []netip.Prefix, log *slog.Logger) *gate {
	return &gate{allow: allow, log: log, sources: map[netip.AddrPort]bool{}}
}

// admits says whether an address is on the list, and counts it if not.
func (g *gate) admits(a netip.Addr) bool {
	if len(g.allow) == 0 {
		return true
	}
	a = a.Unmap()
	for _, p := range g.allow {
		if p.Contains(a) {
			return true
		}
	}
	g.refuse(a, "its address is not in the list of allowed ones")
	return false
}

func (g *gate) refuse(a netip.Addr, why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refused++
	if now := time.Now(); now.Sub(g.reported) >= report {
		g.log.Warn("SIP from a source that is not served", "address", a, "why", why, "since", g.refused)
		g.refused, g.reported = 0, now
	}
}

// filter is sipgo's hook before parsing; an empty result drops the datagram.
// Connections were looked at when they were accepted.
func (g *gate) filter(info sip.TransportReadProps, data []byte) ([]byte, error) {
	if g.shut.Load() {
		return nil, nil
	}
	udp, ok := info.RemoteAddr.(*net.UDPAddr)
	if !ok {
		return data, nil
	}
	from := udp.AddrPort()
	if !g.admits(from.Addr()) {
		return nil, nil
	}
	if !g.remember(from, time.Now()) {
		g.refuse(from.Addr(), "too many addresses have sent datagrams; configure the allowed ones")
		return nil, nil
	}
	return data, nil
}

// remember notes an address that sends datagrams; false if there are too many.
func (g *gate) remember(from netip.AddrPort, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.since) >= sourceSpan {
		clear(g.sources)
		g.since = now
	}
	if !g.sources[from] {
		if len(g.sources) >= maxSources {
			return false
		}
		g.sources[from] = true
	}
	return true
}

// listener accepts connections from who may talk to us, so many at once.
type listener struct {
	net.Listener
	gate  *gate
	tls   *tls.Config
	slots chan struct{}
}

// Accept waits for a connection.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if a, ok := c.RemoteAddr().(*net.TCPAddr); ok && !l.gate.admits(a.AddrPort().Addr()) {
			c.Close() // nothing was sent that could be lost
			continue
		}
		select {
		case l.slots <- struct{}{}:
		default:
			l.gate.refuse(netip.Addr{}, "too many connections are open")
			c.Close()
			continue
		}
		if l.tls != nil {
			c = tls.Server(c, l.tls)
		}
		return &conn{Conn: c, slots: l.slots}, nil
	}
}

// conn bounds the silence of a connection. One goroutine reads it.
type conn struct {
	net.Conn
	slots chan struct{}
	begun bool
	once  sync.Once
}

// Read reads, after the handshake if there is one.
func (c *conn) Read(b []byte) (int, error) {
	wait := idleRead
	if !c.begun {
		c.begun = true
		wait = firstRead
		if t, ok := c.Conn.(*tls.Conn); ok {
			ctx, cancel := context.WithTimeout(context.Background(), firstRead)
			err := t.HandshakeContext(ctx)
			cancel()
			if err != nil {
				return 0, err
			}
		}
	}
	if err := c.Conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// Close closes the connection and frees its place.
func (c *conn) Close() error {
	c.once.Do(func() { <-c.slots })
	return c.Conn.Close()
}

// quiet hands on sipgo's records at the debug level, and without what came from
// the network: messages hold keys and digits.
type quiet struct{ slog.Handler }

// Enabled tells whether debug records are wanted.
func (q quiet) Enabled(ctx context.Context, _ slog.Level) bool {
	return q.Handler.Enabled(ctx, slog.LevelDebug)
}

// Handle hands on a record.
func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	n := slog.NewRecord(r.Time, slog.LevelDebug, "sipgo: "+r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "error", "data", "req", "res", "msg":
		default:
			n.AddAttrs(a)
		}
		return true
	})
	return q.Handler.Handle(ctx, n)
}

// WithAttrs keeps the wrapping.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }

// WithGroup keeps the wrapping.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }
