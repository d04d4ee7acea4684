package app

import (
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// headerLimit bounds how long a client may take to send its request's head,
	// bodyLimit the whole request, idleLimit how long it may say nothing between
	// two requests.
	headerLimit = 10 * time.Second
	bodyLimit   = 30 * time.Second
	idleLimit   = 60 * time.Second
	// maxHead bounds a request's head, in bytes.
	maxHead = 32 << 10
	// maxConns bounds the connections that are open at once.
	maxConns = 4096
)

// httpServer serves the routes to clients of whom some send slowly or not at all.
// WebSockets have limits of their own.
func (a *App) httpServer(routes http.Handler) *http.Server {
	return &http.Server{
		Handler: bounded(routes, bodyLimit), ReadHeaderTimeout: headerLimit, IdleTimeout: idleLimit, MaxHeaderBytes: maxHead,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
}

// bounded gives a request's body its time. A WebSocket's handshake takes the
// deadline off again.
func bounded(h http.Handler, limit time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		// A connection that cannot have one is not from a network.
		_ = c.SetReadDeadline(time.Now().Add(limit))
		h.ServeHTTP(w, r)
	})
}

// limited is a listener that has at most so many connections open: the next ones
// wait in the kernel.
type limited struct {
	net.Listener
	places chan struct{}
	once   sync.Once
	closed chan struct{}
}

func limit(l net.Listener, n int) *limited {
	return &limited{Listener: l, places: make(chan struct{}, n), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &placed{Conn: c, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

// Close implements net.Listener.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// placed is a connection that gives its place back.
type placed struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (p *placed) Close() error {
	defer p.leave()
	return p.Conn.Close()
}
