package access

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// watched is the answer to a request that may become a connection of its own, a
// WebSocket, which outlives the check at its beginning.
type watched struct {
	http.ResponseWriter

	principal Principal
	rule      Rule
	request   *http.Request

	mu   sync.Mutex
	conn net.Conn
	over bool
}

// Hijack implements http.Hijacker.
func (w *watched) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("access: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn = conn
	if w.over {
		return nil, nil, errors.Join(errors.New("access: the session is over"), conn.Close())
	}
	return conn, rw, nil
}

// Unwrap is for http.ResponseController.
func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// cut ends the connection.
func (w *watched) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	if w.conn != nil {
		// It is gone either way.
		_ = w.conn.Close()
	}
}

func (g *Guard) keep(w *watched) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.long[w] = struct{}{}
}

func (g *Guard) unwatch(w *watched) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.long, w)
}

// watch cuts connections whose session or token is over.
func (g *Guard) watch(ctx context.Context) {
	t := time.NewTicker(recheckEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			g.recheck(ctx)
		}
	}
}

// recheck looks once at every connection that is open.
func (g *Guard) recheck(ctx context.Context) {
	g.mu.Lock()
	all := make([]*watched, 0, len(g.long))
	for w := range g.long {
		all = append(all, w)
	}
	g.mu.Unlock()
	for _, w := range all {
		now, err := g.cfg.Directory.still(ctx, w.principal)
		switch {
		case err != nil && !errors.Is(err, ErrDenied):
			// A database that does not answer throws nobody out.
			g.cfg.Log.Warn("a session cannot be checked", "error", err)
		case err != nil || !w.rule.Open && !w.rule.admits(now, w.request):
			w.cut()
		}
	}
}

// cutSession ends the connections of a session at once, at its logout.
func (g *Guard) cutSession(hash string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for w := range g.long {
		if w.principal.session == hash {
			w.cut()
		}
	}
}
