// Package sip is the recording server of SIPREC (RFC 7866): session recording
// clients, which are session border controllers and PBXs, call it, say in
// metadata whose call it is, and send each party's audio as RTP.
//
// Each recording session becomes a call of the media.Host, each of its m-lines
// a leg with a port of its own. Calls that come without metadata, as from a
// plain telephone, are taken as anonymous sessions unless Config.Strict.
//
// Messages, transactions and transports are github.com/emiago/sipgo's; the
// state of a session, of which a recording server's side is unlike a
// telephone's, is here.
//
// The package is larger than most: a session's signalling, its timers and its
// lines change together, under one lock, and what can be told apart from that
// is in media/sdp and media/siprec.
package sip

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"

	"sidetone/media"
	"sidetone/media/port"
)

const (
	// DefaultMaxSessions and DefaultMediaIdle stand for zeros in Config.
	DefaultMaxSessions = 1000
	DefaultMediaIdle   = time.Minute

	// closeGrace is how long Close lets messages that were received be handled.
	closeGrace = 50 * time.Millisecond
)

// Config says where the server listens and whom it serves.
type Config struct {
	// Host takes the calls.
	Host media.Host
	// Ports are where RTP is received.
	Ports *port.Pool
	// UDP, TCP and TLS are the addresses to listen on; port zero leaves it to
	// the kernel, the zero value means not at all. One is needed.
	UDP, TCP, TLS netip.AddrPort
	// TLSConfig holds the certificate, and which clients' ones are asked for.
	TLSConfig *tls.Config
	// Public is the address under which others reach the server and its ports,
	// if it is not the one that it listens on.
	Public netip.Addr
	// Allow, if not empty, are the only networks that are answered. Packets from
	// elsewhere are dropped, connections closed.
	Allow []netip.Prefix
	// MaxSessions is how many recording sessions may run at once.
	MaxSessions int
	// Strict refuses calls whose metadata is missing or cannot be read, instead
	// of taking them without knowing who speaks.
	Strict bool
	// Anywhere takes a line's packets from any address, not only from the one that
	// its description names and that of the signalling.
	Anywhere bool
	// MediaIdle is how long no RTP may come on any line that is not on hold
	// until the session is ended.
	MediaIdle time.Duration
	Log       *slog.Logger
}

// timing holds the times of the protocol, for tests to shorten.
type timing struct {
	// t1 and t2 are RFC 3261's, for the retransmission of 200; ack is how long
	// the ACK may take, 64 times t1.
	t1, t2, ack time.Duration
	// minSE is the least session interval that is taken (RFC 4028).
	minSE time.Duration
	// request is how long a request of ours may take, tick how often a session
	// looks at the clock.
	request, tick time.Duration
}

func defaultTiming() timing {
	return timing{
		t1: 500 * time.Millisecond, t2: 4 * time.Second, ack: 32 * time.Second,
		minSE: 90 * time.Second, request: 4 * time.Second, tick: 250 * time.Millisecond,
	}
}

// Server is a running recording server. It is safe for concurrent use.
type Server struct {
	cfg     Config
	timing  timing
	log     *slog.Logger
	ua      *sipgo.UserAgent
	clients map[string]*sipgo.Client // by transport
	udp     net.PacketConn
	addrs   map[string]netip.AddrPort // of the listeners, by transport
	gate    *gate
	close   []func() error

	mu     sync.Mutex
	closed bool
	// draining says that no sessions are taken, closing that none will be again.
	draining, closing bool
	// sessions are by dialog, initial by the request that began them; a nil
	// value is a session that is being opened.
	sessions map[dialogID]*session
	initial  map[initialID]*session
	handlers sync.WaitGroup
	servers  sync.WaitGroup
}

// New checks the configuration, opens the listeners and begins to serve.
func New(cfg Config) (*Server, error) { return start(cfg, defaultTiming()) }

func start(cfg Config, t timing) (*Server, error) {
	if cfg.MaxSessions == 0 {
		cfg.MaxSessions = DefaultMaxSessions
	}
	if cfg.MediaIdle == 0 {
		cfg.MediaIdle = DefaultMediaIdle
	}
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("sip: %w", err)
	}
	s := &Server{
		cfg: cfg, timing: t, log: cfg.Log, clients: map[string]*sipgo.Client{}, addrs: map[string]netip.AddrPort{},
		sessions: map[dialogID]*session{}, initial: map[initialID]*session{},
		gate: newGate(cfg.Allow, cfg.Log),
	}
	if err := s.listen(); err != nil {
		return nil, errors.Join(fmt.Errorf("sip: %w", err), s.Close())
	}
	return s, nil
}

func (c Config) check() error {
	listeners := []netip.AddrPort{c.UDP, c.TCP, c.TLS}
	some := false
	for _, l := range listeners {
		some = some || l.IsValid()
		if l.IsValid() && l.Addr().IsUnspecified() && !c.Public.IsValid() {
			return fmt.Errorf("listening on all addresses (%v) needs the public one, which others are told", l)
		}
	}
	switch {
	case c.Host == nil || c.Ports == nil || c.Log == nil:
		return errors.New("a server needs a host, ports and a logger")
	case !some:
		return errors.New("there is no address to listen on: give UDP, TCP or TLS")
	case c.TLS.IsValid() && c.TLSConfig == nil:
		return errors.New("TLS needs a certificate")
	case c.MaxSessions < 0 || c.MediaIdle < 0:
		return fmt.Errorf("at most %d sessions and %v without media must be positive", c.MaxSessions, c.MediaIdle)
	case c.Public.IsValid() && c.Public.IsUnspecified():
		return fmt.Errorf("%v is no public address", c.Public)
	}
	return nil
}

// listen opens the listeners and hands them to sipgo.
func (s *Server) listen() error {
	log := slog.New(quiet{s.log.Handler()})
	ua, err := sipgo.NewUA(
		sipgo.WithUserAgent("sidetone"),
		sipgo.WithUserAgentParser(sip.NewParser(func(p *sip.Parser) { p.MaxMessageLength = maxMessage })),
		sipgo.WithUserAgenTLSConfig(s.cfg.TLSConfig),
		sipgo.WithUserAgentTransportLayerOptions(sip.WithTransportLayerLogger(log), sip.WithTransportLayerReadFilter(s.gate.filter)),
		sipgo.WithUserAgentTransactionLayerOptions(sip.WithTransactionLayerLogger(log), sip.WithTransactionLayerUnhandledResponseHandler(func(*sip.Response) {})),
	)
	if err != nil {
		return err
	}
	s.ua = ua
	srv, err := sipgo.NewServer(ua, sipgo.WithServerLogger(log))
	if err != nil {
		return err
	}
	s.routes(srv)
	serve := map[string]func() error{}
	if a := s.cfg.UDP; a.IsValid() {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(a))
		if err != nil {
			return fmt.Errorf("listening for SIP: %w", err)
		}
		// INVITEs come in bursts when a busy hour's recorder fails over.
		if err := conn.SetReadBuffer(4 << 20); err != nil {
			s.log.Warn("SIP over UDP has a small receive buffer", "error", err)
		}
		s.udp = conn
		s.close = append(s.close, conn.Close)
		s.addrs["UDP"] = localAddr(conn.LocalAddr())
		serve["UDP"] = func() error { return srv.ServeUDP(conn) }
	}
	for _, l := range []struct {
		name  string
		addr  netip.AddrPort
		tls   *tls.Config
		serve func(net.Listener) error
	}{{"TCP", s.cfg.TCP, nil, srv.ServeTCP}, {"TLS", s.cfg.TLS, s.cfg.TLSConfig, srv.ServeTLS}} {
		if !l.addr.IsValid() {
			continue
		}
		inner, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(l.addr))
		if err != nil {
			return fmt.Errorf("listening for SIP: %w", err)
		}
		outer := &listener{Listener: inner, gate: s.gate, tls: l.tls, slots: make(chan struct{}, maxConns)}
		s.close = append(s.close, outer.Close)
		s.addrs[l.name] = localAddr(inner.Addr())
		serve[l.name] = func() error { return l.serve(outer) }
	}
	for transport, addr := range s.addrs {
		c, err := sipgo.NewClient(ua, sipgo.WithClientLogger(log), sipgo.WithClientHostname(s.public(addr.Addr()).String()), sipgo.WithClientPort(int(addr.Port())))
		if err != nil {
			return err
		}
		s.clients[transport] = c
	}
	for transport, run := range serve {
		s.serve(transport, run)
	}
	return nil
}

// localAddr is the address of one of net's sockets.
func localAddr(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.UDPAddr:
		return a.AddrPort()
	case *net.TCPAddr:
		return a.AddrPort()
	default:
		return netip.AddrPort{}
	}
}

// serve runs a listener until it is closed.
func (s *Server) serve(transport string, run func() error) {
	s.servers.Go(func() {
		if err := run(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.log.Error("a SIP listener has failed", "transport", transport, "address", s.addrs[transport], "error", err)
		}
	})
}

// Addr is where the server listens on "UDP", "TCP" or "TLS"; the zero value
// means not at all.
func (s *Server) Addr(transport string) netip.AddrPort { return s.addrs[transport] }

func (s *Server) public(a netip.Addr) netip.Addr {
	if s.cfg.Public.IsValid() {
		return s.cfg.Public
	}
	return a.Unmap()
}

// contact is our URI on a transport, with the feature tag of a recording server.
func (s *Server) contact(transport string) string {
	a, ok := s.addrs[transport]
	if !ok {
		a = s.addrs["UDP"]
	}
	host := netip.AddrPortFrom(s.public(a.Addr()), a.Port()).String()
	if transport == "UDP" {
		return fmt.Sprintf("<sip:srs@%s>;+sip.srs", host)
	}
	return fmt.Sprintf("<sip:srs@%s;transport=%s>;+sip.srs", host, strings.ToLower(transport))
}

// Sessions is the number of recording sessions that run or are being opened.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.initial)
}

// Drain takes no more sessions: they are refused with 503, and so are OPTIONS,
// by which clients see that they should go elsewhere. Running sessions go on.
func (s *Server) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
}

// Resume takes sessions again after Drain, unless the server is closing.
func (s *Server) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = s.closing
}

// Close takes no more sessions, ends the running ones with a BYE, waits for all
// of them and closes the listeners. It may be called more than once.
func (s *Server) Close() error {
	s.mu.Lock()
	s.draining, s.closing = true, true
	var running []*session
	for _, d := range s.initial {
		if d != nil {
			running = append(running, d)
		}
	}
	s.mu.Unlock()
	for _, d := range running {
		d.hangUp(media.End{State: media.Aborted, Reason: "the server stops", At: time.Now()})
	}
	for _, d := range running {
		<-d.done
	}
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	var err error
	if first {
		// What sipgo has taken off its sockets it handles on goroutines that it
		// does not wait for; one that came too late would open a socket anew.
		s.gate.shut.Store(true)
		time.Sleep(closeGrace)
		for _, c := range s.close {
			err = errors.Join(err, c())
		}
		if s.ua != nil {
			err = errors.Join(err, s.ua.Close())
		}
	}
	// Handlers start sessions, so they come first.
	s.handlers.Wait()
	s.servers.Wait()
	return err
}

// enter counts a handler, unless the server is closed.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.handlers.Add(1)
	return true
}

// reserve takes a place for a new session, or says why there is none. A session
// of the same request is returned instead.
func (s *Server) reserve(id initialID) (*session, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d, ok := s.initial[id]; ok {
		return d, refuse(482, 0, "the same request came twice, by another way")
	}
	if s.draining {
		return nil, unavailable(60, media.ErrDraining.Error())
	}
	if len(s.initial) >= s.cfg.MaxSessions {
		return nil, unavailable(10, fmt.Sprintf("%d recording sessions are running, which is the limit", len(s.initial)))
	}
	s.initial[id] = nil
	return nil, nil
}

func (s *Server) release(id initialID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.initial, id)
}

// add makes a session known; false if the server began to stop meanwhile.
func (s *Server) add(d *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.initial[d.initial] = d
	s.sessions[d.id] = d
	return !s.draining
}

func (s *Server) remove(d *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.initial, d.initial)
	delete(s.sessions, d.id)
}

func (s *Server) find(req *sip.Request) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[dialogOf(req)]
}

// request runs a request of ours to its final response.
func (s *Server) request(req *sip.Request, transport string) (*sip.Response, error) {
	c := s.clients[transport]
	if c == nil {
		return nil, fmt.Errorf("no listener for %s", transport)
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.timing.request)
	defer cancel()
	return c.Do(ctx, req, sipgo.ClientRequestAddVia)
}
