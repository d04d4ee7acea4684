// Package server runs the sessions of forks on WebSockets (RFC 6455).
//
// Every connection has three goroutines: the HTTP handler, which owns the
// session and is the only one that calls it; a reader; and a writer with a
// bounded queue, so that a peer that does not read delays nobody and is closed.
// The handler waits for the other two, and Server.Close for all handlers.
//
// A message goes from the reader to the session in one of two buffers that
// alternate, so that in steady state a message costs one allocation of 8 bytes,
// which is gorilla/websocket's. Pings are answered; fragmented messages are put
// together; what is sent goes out in one frame and uncompressed, which every
// peer takes.
//
// There is no check of Origin: the peers are machines, and what they may do
// hangs on Config.Authorize (see Guard), not on ambient credentials.
package server

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"sidetone/media"
	"sidetone/media/fork"
)

// Config is what a Server needs; a zero field has the default stated.
type Config struct {
	// Open makes the session of a connection that asks for a WebSocket. It is
	// called before the upgrade and may write already. An error refuses the
	// connection: a *fork.Refusal with its status, media.ErrBusy and
	// media.ErrDraining with 503, any other with 500. If the upgrade fails, the
	// session is told by Closed. The request's URL and header may hold secrets.
	Open func(r *http.Request, w fork.Writer, now time.Time) (fork.Session, error)
	// Authorize, if any, is asked before Open; its error refuses in the same way.
	Authorize func(r *http.Request) error
	// Subprotocols are the names that are taken up, by preference. "*" takes up
	// the first that is offered.
	Subprotocols []string
	// Compression takes up permessage-deflate (RFC 7692) for what is received.
	Compression bool
	Log         *slog.Logger
	// MaxMessage bounds a message, before and after decompression, 1 MiB; and
	// MaxQueue what waits to be sent, 1 MiB.
	MaxMessage, MaxQueue int64
	// HandshakeTimeout bounds the upgrade; the time that a message may take from
	// its first byte to its last; and, while closing, the wait for the other
	// side. 10 s.
	HandshakeTimeout time.Duration
	// WriteTimeout bounds the sending of what waits, 5 s.
	WriteTimeout time.Duration
	// IdleTimeout closes a connection from which nothing has come, not even a
	// pong, 60 s. Set it with care where PingEvery is zero, since then silence
	// of the source is all it takes.
	IdleTimeout time.Duration
	// PingEvery is the pause between pings; zero sends none.
	PingEvery time.Duration
	// HangUpTimeout is how long a session has to come to its end after HangUp,
	// before the connection is closed with 1001: 10 s.
	HangUpTimeout time.Duration
	// MaxConns bounds the connections, 1000.
	MaxConns int
}

// tickEvery is the pause between calls of Session.Tick.
const tickEvery = 20 * time.Millisecond

func (c *Config) validate() error {
	if c.Open == nil || c.Log == nil {
		return errors.New("server: Open and Log are needed")
	}
	for _, d := range []struct {
		name     string
		v        *time.Duration
		standard time.Duration
	}{
		{"HandshakeTimeout", &c.HandshakeTimeout, 10 * time.Second},
		{"WriteTimeout", &c.WriteTimeout, 5 * time.Second},
		{"IdleTimeout", &c.IdleTimeout, time.Minute},
		{"PingEvery", &c.PingEvery, 0},
		{"HangUpTimeout", &c.HangUpTimeout, 10 * time.Second},
	} {
		if *d.v < 0 {
			return fmt.Errorf("server: %s is %v, must not be negative", d.name, *d.v)
		}
		*d.v = cmp.Or(*d.v, d.standard)
	}
	if c.MaxMessage < 0 || c.MaxQueue < 0 || c.MaxConns < 0 {
		return fmt.Errorf("server: messages of %d bytes, %d waiting, %d connections: none may be negative", c.MaxMessage, c.MaxQueue, c.MaxConns)
	}
	c.MaxMessage, c.MaxQueue, c.MaxConns = cmp.Or(c.MaxMessage, 1<<20), cmp.Or(c.MaxQueue, 1<<20), cmp.Or(c.MaxConns, 1000)
	if c.PingEvery > 0 && c.IdleTimeout <= c.PingEvery {
		return fmt.Errorf("server: IdleTimeout %v must be longer than PingEvery %v", c.IdleTimeout, c.PingEvery)
	}
	return nil
}

// Stats counts what happened since the Server was made.
type Stats struct {
	// Open is how many connections there are now.
	Open int
	// Accepted connections got their WebSocket, Refused ones did not.
	Accepted, Refused uint64
	// Slow connections did not read what was sent, Silent ones sent nothing for
	// the IdleTimeout or left a message unfinished.
	Slow, Silent uint64
}

// Server is an http.Handler that takes forks. It is safe for concurrent use.
type Server struct {
	cfg      Config
	upgrader websocket.Upgrader

	mu     sync.Mutex
	conns  map[*conn]struct{}
	closed bool
	wg     sync.WaitGroup // one for each of conns

	accepted, refused, slow, silent atomic.Uint64
}

// New checks the configuration.
func New(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, conns: map[*conn]struct{}{}}
	s.upgrader = websocket.Upgrader{
		HandshakeTimeout:  cfg.HandshakeTimeout,
		ReadBufferSize:    4096,
		WriteBufferSize:   4096,
		EnableCompression: cfg.Compression,
		CheckOrigin:       func(*http.Request) bool { return true },
	}
	return s, nil
}

// Stats returns the counters of this moment.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{
		Open: len(s.conns), Accepted: s.accepted.Load(), Refused: s.refused.Load(),
		Slow: s.slow.Load(), Silent: s.silent.Load(),
	}
}

// Close takes no more connections, has every session hung up with e, and waits
// until all are gone: at most HangUpTimeout, HandshakeTimeout and WriteTimeout
// together. It may be called more than once.
func (s *Server) Close(e media.End) {
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.HangUp(e)
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// ServeHTTP takes a connection and returns when it is gone.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	log := s.cfg.Log.With("remote", r.RemoteAddr, "path", r.URL.Path)
	c := newConn(s, log)
	if err := s.enter(c); err != nil {
		s.refuse(w, log, err)
		return
	}
	defer s.leave(c)
	if err := s.allow(r); err != nil {
		s.refuse(w, log, err)
		return
	}
	session, err := s.cfg.Open(r, c, time.Now())
	if err != nil {
		s.refuse(w, log, err)
		return
	}
	ws, err := s.upgrader.Upgrade(w, r, s.answer(r))
	if err != nil {
		s.refused.Add(1)
		log.Warn("fork: no WebSocket", "err", err)
		session.Closed(fmt.Errorf("server: upgrade: %w", err), time.Now())
		return
	}
	s.accepted.Add(1)
	log.Debug("fork: connected", "subprotocol", ws.Subprotocol())
	err = c.run(ws, session)
	log.Debug("fork: gone", "err", err)
}

// enter takes a place for a connection; leave gives it back.
func (s *Server) enter(c *conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return media.ErrDraining
	case len(s.conns) >= s.cfg.MaxConns:
		return fmt.Errorf("%w: %d connections are open, which is the limit", media.ErrBusy, len(s.conns))
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	return nil
}

func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.wg.Done()
}

// allow checks what can be checked before the session is made.
func (s *Server) allow(r *http.Request) error {
	if s.cfg.Authorize != nil {
		if err := s.cfg.Authorize(r); err != nil {
			return err
		}
	}
	if !websocket.IsWebSocketUpgrade(r) {
		return &fork.Refusal{
			Status: http.StatusUpgradeRequired, Reason: "this address takes WebSocket connections only (ws:// or wss://)",
			Header: map[string]string{"Upgrade": "websocket", "Connection": "Upgrade"},
		}
	}
	return nil
}

// refuse answers a request that gets no WebSocket.
func (s *Server) refuse(w http.ResponseWriter, log *slog.Logger, err error) {
	s.refused.Add(1)
	var own *fork.Refusal
	if !errors.As(err, &own) {
		own = &fork.Refusal{Status: http.StatusInternalServerError, Reason: err.Error()}
		if errors.Is(err, media.ErrBusy) || errors.Is(err, media.ErrDraining) {
			own.Status = http.StatusServiceUnavailable
		}
	}
	for k, v := range own.Header {
		w.Header().Set(k, v)
	}
	if own.Status == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", "5")
	}
	log.Warn("fork: refused", "status", strconv.Itoa(own.Status), "reason", own.Reason)
	http.Error(w, own.Reason, own.Status)
}

// answer is the upgrade's further header: the subprotocol.
func (s *Server) answer(r *http.Request) http.Header {
	offered := websocket.Subprotocols(r)
	for _, p := range s.cfg.Subprotocols {
		if p == "*" && len(offered) > 0 {
			p = offered[0]
		}
		if slices.ContainsFunc(offered, func(o string) bool { return strings.EqualFold(o, p) }) {
			return http.Header{"Sec-Websocket-Protocol": {p}}
		}
	}
	return nil
}
