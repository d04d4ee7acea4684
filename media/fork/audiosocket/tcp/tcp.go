// Package tcp runs AudioSocket's sessions on TCP connections.
//
// AudioSocket has neither encryption nor a secret: listen on a private address
// only, name the peers in Config.Allow, and announce the UUIDs that may come
// (audiosocket.Config.Lookup).
//
// Every connection has two goroutines: its owner, which calls the session and
// writes, and a reader. Server.Close waits for all of them.
package tcp

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sidetone/media"
	"sidetone/media/fork/audiosocket"
)

// ErrClosed is what Serve returns after Close.
var ErrClosed = errors.New("tcp: the server is closed")

// Config is what a Server needs; a zero field has the default stated.
type Config struct {
	Protocol *audiosocket.Protocol
	// Allow are the addresses that may connect; none means all.
	Allow []netip.Prefix
	// MaxConns bounds the connections, 1000.
	MaxConns int
	// WriteTimeout is how long a frame may wait to be sent, 2 s.
	WriteTimeout time.Duration
	Log          *slog.Logger
}

// Stats counts what happened since the Server was made.
type Stats struct {
	// Open is how many connections there are now.
	Open int
	// Accepted connections got a session; Refused ones came from elsewhere than
	// Allow, or while there was no room.
	Accepted, Refused uint64
}

// Server takes connections of AudioSocket. It is safe for concurrent use.
type Server struct {
	cfg Config

	mu        sync.Mutex
	conns     map[*conn]struct{}
	listeners map[net.Listener]struct{}
	closed    chan struct{}
	wg        sync.WaitGroup // one for each of conns and of listeners

	accepted, refused atomic.Uint64
}

// New checks the configuration.
func New(cfg Config) (*Server, error) {
	switch {
	case cfg.Protocol == nil || cfg.Log == nil:
		return nil, errors.New("tcp: Protocol and Log are needed")
	case cfg.MaxConns < 0 || cfg.WriteTimeout < 0:
		return nil, fmt.Errorf("tcp: %d connections, writes within %v: neither may be negative", cfg.MaxConns, cfg.WriteTimeout)
	case slices.ContainsFunc(cfg.Allow, func(p netip.Prefix) bool { return !p.IsValid() }):
		return nil, errors.New("tcp: an address range is not valid; want one such as 10.0.0.0/8")
	}
	cfg.MaxConns, cfg.WriteTimeout = cmp.Or(cfg.MaxConns, 1000), cmp.Or(cfg.WriteTimeout, 2*time.Second)
	return &Server{cfg: cfg, conns: map[*conn]struct{}{}, listeners: map[net.Listener]struct{}{}, closed: make(chan struct{})}, nil
}

// Stats returns the counters of this moment.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{Open: len(s.conns), Accepted: s.accepted.Load(), Refused: s.refused.Load()}
}

// Serve takes connections from l, which it closes in the end, until Close; then
// it returns ErrClosed.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.isClosed() {
		s.mu.Unlock()
		_ = l.Close()
		return ErrClosed
	}
	s.listeners[l] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	defer func() {
		_ = l.Close()
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
		s.wg.Done()
	}()
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			s.take(c)
		case s.isClosed():
			return ErrClosed
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("tcp: %w", err)
		default:
			// Such as no more file descriptors: it may pass.
			s.cfg.Log.Error("audiosocket: cannot accept", "err", err)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-s.closed:
			}
		}
	}
}

func (s *Server) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// take begins to serve a connection, or closes it.
func (s *Server) take(nc net.Conn) {
	log := s.cfg.Log.With("remote", nc.RemoteAddr().String())
	c := &conn{nc: nc, timeout: s.cfg.WriteTimeout, wake: make(chan struct{}, 1)}
	why := s.enter(nc, c)
	if why != "" {
		s.refused.Add(1)
		log.Warn("audiosocket: refused", "reason", why)
		_ = nc.Close()
		return
	}
	s.accepted.Add(1)
	go func() {
		err := c.run(s.cfg.Protocol)
		if err != nil && !errors.Is(err, audiosocket.ErrHungUp) {
			log.Warn("audiosocket: closed", "reason", err)
		}
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		s.wg.Done()
	}()
}

// enter takes a place for a connection, or says why there is none.
func (s *Server) enter(nc net.Conn, c *conn) string {
	from, err := netip.ParseAddrPort(nc.RemoteAddr().String())
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.isClosed():
		return "no more calls are taken"
	case len(s.conns) >= s.cfg.MaxConns:
		return fmt.Sprintf("%d connections are open, which is the limit", len(s.conns))
	case len(s.cfg.Allow) > 0 && (err != nil || !slices.ContainsFunc(s.cfg.Allow, func(p netip.Prefix) bool { return p.Contains(from.Addr().Unmap()) })):
		return "this address may not connect; add it to the allowed ones"
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	return ""
}

// Close takes no more connections, hangs up all with e, and waits until they
// and Serve are gone. It may be called more than once.
func (s *Server) Close(e media.End) {
	s.mu.Lock()
	if !s.isClosed() {
		close(s.closed)
	}
	for l := range s.listeners {
		_ = l.Close()
	}
	for c := range s.conns {
		c.HangUp(e)
	}
	s.mu.Unlock()
	s.wg.Wait()
}

const (
	tickEvery = 20 * time.Millisecond
	// readSize is room for one frame of every rate.
	readSize = 8192
)

// conn is one connection. It is the session's audiosocket.Writer.
type conn struct {
	nc      net.Conn
	timeout time.Duration
	wake    chan struct{}
	lost    error // of writing

	mu   sync.Mutex
	hung *media.End // asked for and not yet passed on
}

// Write sends a frame; what fails here fails the connection.
func (c *conn) Write(frame []byte) {
	if c.lost != nil {
		return
	}
	if c.lost = c.nc.SetWriteDeadline(time.Now().Add(c.timeout)); c.lost == nil {
		_, c.lost = c.nc.Write(frame)
	}
}

// HangUp implements audiosocket.Writer.
func (c *conn) HangUp(e media.End) {
	c.mu.Lock()
	c.hung = &e
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *conn) asked() *media.End {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.hung
	c.hung = nil
	return e
}

// run serves the connection until it is gone, and says why it went.
func (c *conn) run(p *audiosocket.Protocol) error {
	in, free := make(chan []byte), make(chan []byte, 2)
	var readErr error // set before in is closed
	var reader sync.WaitGroup
	free <- make([]byte, readSize)
	free <- make([]byte, readSize)
	reader.Go(func() {
		defer close(in)
		for {
			b := <-free
			n, err := c.nc.Read(b[:readSize])
			if n > 0 {
				in <- b[:n]
			}
			if err != nil {
				readErr = err
				return
			}
		}
	})
	defer func() {
		_ = c.nc.Close()
		for b := range in {
			free <- b
		}
		reader.Wait()
	}()

	s := p.Open(c, time.Now())
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		var err error
		select {
		case b, ok := <-in:
			switch {
			case ok:
				err = s.Bytes(b, time.Now())
				free <- b
			case errors.Is(readErr, io.EOF):
				s.Closed(nil, time.Now())
				return nil
			default:
				err = fmt.Errorf("tcp: the connection was lost: %w", readErr)
			}
		case <-tick.C:
			err = s.Tick(time.Now())
		case <-c.wake:
		}
		if e := c.asked(); e != nil && err == nil {
			err = s.HangUp(*e, time.Now())
		}
		if err == nil && c.lost != nil {
			err = fmt.Errorf("tcp: a frame could not be sent: %w", c.lost)
		}
		if err != nil {
			s.Closed(clean(err), time.Now())
			return err
		}
	}
}

// clean is what the session is told.
func clean(err error) error {
	if errors.Is(err, audiosocket.ErrHungUp) {
		return nil
	}
	return err
}
