// Package webrtc takes calls from browsers and softphones over WebRTC: a WHIP
// endpoint (RFC 9725) on github.com/pion/webrtc.
//
// A session is one party's microphone. It begins with
//
//	POST {Path}?call=…&role=agent|customer&agent=…&language=…
//	Authorization: Bearer …
//	Content-Type: application/sdp
//
// and an offer as the body. All values are optional:
//
//	call      the call's name; without one the session is a call of its own. If
//	          the call is running, the session becomes a leg of it.
//	role      who speaks: agent or customer
//	leg       the leg's name; role stands for it, or "microphone"
//	agent     whose pane shows the call
//	language  what is spoken, ISO 639-1
//	name      the speaker's name to be shown
//	identity  the speaker's address, such as an extension
//
// The answer is 201 with all our candidates; PATCH on its Location adds
// candidates of the client or restarts ICE, DELETE ends the session. A refusal
// has a JSON body with what is wrong ("error") and what helps ("hint").
//
// A session ends by DELETE, when the client closes the connection, when it has
// given no sign of life for Config.Timeout, when the host hangs up, or when the
// Server is closed. A session whose connection is lost gives way to a new one
// with the same call and leg; a connected one does not. A call ends with its
// last session.
package webrtc

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"sidetone/media"
)

// What stands for zeros in Config.
const (
	DefaultPath        = "/v1/whip"
	DefaultMaxSessions = 200
	DefaultConnect     = 15 * time.Second
	DefaultTimeout     = 30 * time.Second
)

// Config describes a Server.
type Config struct {
	Host media.Host
	Log  *slog.Logger
	// Path is where the handler stands, without a slash at its end.
	Path string
	// Tokens are the bearer tokens of which a client must show one; without any,
	// everybody is let in who can reach the endpoint.
	Tokens []string
	// Origins are the web origins, such as https://crm.example, whose pages may
	// use the endpoint besides those of the endpoint's own; "*" is any.
	Origins []string
	// MaxSessions bounds the sessions at once.
	MaxSessions int
	// Listen is the address of the UDP port that all sessions share; with no
	// address it is on all interfaces. It must be zero where a range is given.
	Listen netip.AddrPort
	// FirstPort and LastPort bound the UDP ports where each session has its own.
	FirstPort, LastPort uint16
	// Public are the addresses under which clients reach this machine, where a
	// NAT maps them one to one to ours. They replace ours in the answer.
	Public []netip.Addr
	// Interfaces are the network interfaces whose addresses are offered; none
	// means all but loopback.
	Interfaces []string
	// Loopback offers 127.0.0.1 as well.
	Loopback bool
	// Lite leaves connectivity checks to the client (ICE-lite). It suits a
	// machine that clients reach directly.
	Lite bool
	// Strict refuses a PATCH without If-Match (RFC 9725, section 4.3.1), which
	// some clients leave out.
	Strict bool
	// Redundancy asks browsers for RED (RFC 2198): each packet repeats the one
	// before, which makes up for single losses and doubles the bit rate.
	Redundancy bool
	// Connect is how long the connection may take, Timeout how long the client
	// may give no sign of life. Silence is one, for a connection is checked
	// every few seconds.
	Connect, Timeout time.Duration
}

// check fills in defaults and refuses what cannot work.
func (c *Config) check() error {
	if c.Path == "" {
		c.Path = DefaultPath
	}
	if c.MaxSessions == 0 {
		c.MaxSessions = DefaultMaxSessions
	}
	if c.Connect == 0 {
		c.Connect = DefaultConnect
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	ranged := c.FirstPort != 0 || c.LastPort != 0
	switch {
	case c.Host == nil || c.Log == nil:
		return errors.New("webrtc: a host and a logger are needed")
	case !strings.HasPrefix(c.Path, "/") || strings.HasSuffix(c.Path, "/"):
		return fmt.Errorf("webrtc: the path %q must begin with a slash and end without", c.Path)
	case c.MaxSessions < 1:
		return fmt.Errorf("webrtc: at most %d sessions is none at all", c.MaxSessions)
	case c.Connect < 0 || c.Timeout < time.Second:
		return fmt.Errorf("webrtc: %v to connect and %v without a sign of life: the first must be positive, the second a second at least", c.Connect, c.Timeout)
	case ranged && c.Listen != (netip.AddrPort{}):
		return errors.New("webrtc: give one port for all sessions or a range of ports, not both")
	case ranged && (c.FirstPort == 0 || c.LastPort < c.FirstPort):
		return fmt.Errorf("webrtc: %d to %d is no range of ports", c.FirstPort, c.LastPort)
	}
	for _, t := range c.Tokens {
		if t == "" {
			return errors.New("webrtc: an empty token would let in everybody; leave it out or give it a value")
		}
	}
	for _, o := range c.Origins {
		if u, err := url.Parse(o); o != "*" && (err != nil || u.Scheme == "" || u.Host == "" || u.Path != "") {
			return fmt.Errorf("webrtc: %q is no web origin; one looks like https://crm.example", o)
		}
	}
	for _, p := range c.Public {
		if !p.IsValid() || p.IsUnspecified() || p.IsMulticast() {
			return fmt.Errorf("webrtc: %v is no address that clients could reach", p)
		}
	}
	return nil
}

// Server is the endpoint. It is safe for concurrent use.
type Server struct {
	cfg Config
	net *network

	mu       sync.Mutex
	sessions map[string]*session
	// places counts the sessions that run, begin or end.
	places int
	closed bool
	end    media.End
	wg     sync.WaitGroup // one for each place

	// joining guards calls and is held while the host is asked.
	joining sync.Mutex
	calls   map[string]*call
}

// New checks the configuration and opens the port that sessions share.
func New(cfg Config) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	n, err := newNetwork(&cfg)
	if err != nil {
		return nil, fmt.Errorf("webrtc: %w", err)
	}
	return &Server{cfg: cfg, net: n, sessions: map[string]*session{}, calls: map[string]*call{}}, nil
}

// Addrs are the addresses of the port that sessions share; none where each has
// its own.
func (s *Server) Addrs() []net.Addr { return s.net.addrs() }

// Sessions is the number of running sessions.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// Close takes no more sessions, ends the running ones with e, and waits for
// them. It may be called more than once.
func (s *Server) Close(e media.End) error {
	s.mu.Lock()
	if !s.closed {
		s.closed, s.end = true, e
	}
	for _, ses := range s.sessions {
		ses.request(e)
	}
	s.mu.Unlock()
	s.wg.Wait()
	return s.net.close()
}

// reserve takes a place for a session.
func (s *Server) reserve() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return media.ErrDraining
	case s.places >= s.cfg.MaxSessions:
		return fmt.Errorf("%w: %d sessions are running, which is the limit", media.ErrBusy, s.places)
	}
	s.places++
	s.wg.Add(1)
	return nil
}

func (s *Server) release() {
	s.mu.Lock()
	s.places--
	s.mu.Unlock()
	s.wg.Done()
}

// add makes a session known by its name.
func (s *Server) add(ses *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[ses.id] = ses
	if s.closed {
		// Close came in between and did not see this session.
		ses.request(s.end)
	}
}

func (s *Server) remove(ses *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, ses.id)
}

func (s *Server) session(id string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[id]
}
