package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidetone/internal/leaktest"
	"sidetone/media"
	"sidetone/media/fork"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// echo is a session that sends back what it gets and tells what happens to it.
type echo struct {
	w      fork.Writer
	ticks  int
	binary func([]byte)
	hung   chan media.End
	closed chan error
	// obeys has HangUp close the connection.
	obeys bool
}

func (e *echo) Text(b []byte, _ time.Time) error {
	switch string(b) {
	case "fail":
		return errors.New("cannot go on")
	case "policy":
		return &fork.CloseError{Code: fork.ClosePolicy, Reason: "not like this"}
	case "bye":
		e.w.Text([]byte("good"))
		e.w.Close(fork.CloseNormal, "as asked")
	case "more than may wait":
		e.w.Binary(make([]byte, 60_000))
	case "more than the kernel takes":
		for range 32 {
			e.w.Binary(make([]byte, 1<<20))
		}
	default:
		e.w.Text(b)
	}
	return nil
}

func (e *echo) Binary(b []byte, _ time.Time) error {
	if e.binary != nil {
		e.binary(b)
		return nil
	}
	e.w.Binary(b)
	return nil
}

func (e *echo) Tick(time.Time) error {
	if e.ticks++; e.ticks == 2 {
		e.w.Text([]byte("ticks"))
	}
	return nil
}

func (e *echo) HangUp(end media.End, _ time.Time) error {
	select {
	case e.hung <- end:
	default:
	}
	if e.obeys {
		e.w.Text([]byte("hung up"))
		e.w.Close(fork.CloseGoingAway, end.Reason)
	}
	return nil
}

func (e *echo) Closed(err error, _ time.Time) { e.closed <- err }

// rig is a server on a loopback socket; its sessions come out of sessions.
type rig struct {
	*Server
	url      string
	sessions chan *echo
}

func start(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	r := &rig{sessions: make(chan *echo, 16)}
	cfg := Config{Log: slog.New(slog.DiscardHandler)}
	cfg.Open = func(_ *http.Request, w fork.Writer, _ time.Time) (fork.Session, error) {
		e := &echo{w: w, hung: make(chan media.End, 1), closed: make(chan error, 1), obeys: true}
		r.sessions <- e
		return e, nil
	}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Server = s
	h := httptest.NewServer(s)
	r.url = "ws" + strings.TrimPrefix(h.URL, "http")
	t.Cleanup(func() {
		s.Close(media.End{State: media.Aborted, Reason: "the test is over"})
		h.Close()
		if n := s.Stats().Open; n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
	return r
}

func (r *rig) dial(t *testing.T, d *websocket.Dialer, head http.Header) *websocket.Conn {
	t.Helper()
	if d == nil {
		d = &websocket.Dialer{}
	}
	c, _, err := d.Dial(r.url, head)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(30 * time.Second))
	return c
}

func (r *rig) refused(t *testing.T, url string, head http.Header) *http.Response {
	t.Helper()
	c, resp, err := websocket.DefaultDialer.Dial(url, head)
	if err == nil {
		c.Close()
		t.Fatal("the connection was taken")
	}
	if resp == nil {
		t.Fatal(err)
	}
	return resp
}

// read returns the next message that is not the tick's.
func read(t *testing.T, c *websocket.Conn) (int, string) {
	t.Helper()
	for {
		kind, b, err := c.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if string(b) != "ticks" {
			return kind, string(b)
		}
	}
}

func closeOf(t *testing.T, c *websocket.Conn) *websocket.CloseError {
	t.Helper()
	for {
		_, _, err := c.ReadMessage()
		var e *websocket.CloseError
		if errors.As(err, &e) {
			return e
		}
		if err != nil {
			t.Fatalf("the connection broke off: %v", err)
		}
	}
}

// discard reads until the connection is gone.
func discard(c *websocket.Conn) {
	for {
		if _, _, err := c.ReadMessage(); err != nil {
			return
		}
	}
}

func send(t *testing.T, c *websocket.Conn, kind int, b []byte) {
	t.Helper()
	if err := c.WriteMessage(kind, b); err != nil {
		t.Fatal(err)
	}
}

func TestMessagesTicksAndOrderlyClose(t *testing.T) {
	r := start(t, nil)
	c := r.dial(t, nil, nil)
	if _, b, err := c.ReadMessage(); err != nil || string(b) != "ticks" {
		t.Fatalf("no tick: %q, %v", b, err)
	}
	send(t, c, websocket.TextMessage, []byte("hello"))
	if kind, b := read(t, c); kind != websocket.TextMessage || b != "hello" {
		t.Errorf("got %d %q", kind, b)
	}
	big := bytes.Repeat([]byte{7, 8, 9}, 100_000)
	send(t, c, websocket.BinaryMessage, big)
	if kind, b := read(t, c); kind != websocket.BinaryMessage || b != string(big) {
		t.Errorf("got kind %d, %d bytes", kind, len(b))
	}
	e := <-r.sessions
	c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
	if err := <-e.closed; err != nil {
		t.Errorf("an orderly close is told as %v", err)
	}
	if s := r.Stats(); s.Accepted != 1 || s.Refused != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestSessionCloses(t *testing.T) {
	for _, c := range []struct {
		text, reason string
		code         int
		orderly      bool
	}{
		{"fail", "cannot go on", 1011, false},
		{"policy", "not like this", 1008, false},
		{"bye", "as asked", 1000, true},
	} {
		t.Run(c.text, func(t *testing.T) {
			r := start(t, nil)
			ws := r.dial(t, nil, nil)
			send(t, ws, websocket.TextMessage, []byte(c.text))
			if c.orderly {
				if _, b := read(t, ws); b != "good" {
					t.Errorf("got %q before the close", b)
				}
			}
			if e := closeOf(t, ws); e.Code != c.code || e.Text != c.reason {
				t.Errorf("closed with %d %q", e.Code, e.Text)
			}
			if err := <-(<-r.sessions).closed; (err == nil) != c.orderly {
				t.Errorf("the session was told %v", err)
			}
		})
	}
}

// A lost connection and one that ends without a close frame are errors.
func TestLostConnection(t *testing.T) {
	r := start(t, nil)
	c := r.dial(t, nil, nil)
	e := <-r.sessions
	c.NetConn().(*net.TCPConn).SetLinger(0)
	c.NetConn().Close()
	if err := <-e.closed; err == nil || !strings.Contains(err.Error(), "connection was lost") {
		t.Errorf("told %v", err)
	}
}

func TestRefusedBeforeTheUpgrade(t *testing.T) {
	with := func(err error) func(*Config) {
		return func(c *Config) {
			c.Open = func(*http.Request, fork.Writer, time.Time) (fork.Session, error) { return nil, err }
		}
	}
	for _, c := range []struct {
		name   string
		change func(*Config)
		status int
		retry  string
	}{
		{"busy", with(fmt.Errorf("x: %w", media.ErrBusy)), 503, "5"},
		{"draining with its own time", with(&fork.Refusal{Status: 503, Reason: "later", Header: map[string]string{"Retry-After": "60"}}), 503, "60"},
		{"not found", with(&fork.Refusal{Status: 404, Reason: "no such call"}), 404, ""},
		{"error", with(errors.New("x")), 500, ""},
		{"unauthorised", func(c *Config) {
			g, err := NewGuard(GuardConfig{Tokens: []string{"s3cret"}})
			if err != nil {
				t.Fatal(err)
			}
			c.Authorize = g.Check
		}, 401, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, c.change)
			resp := r.refused(t, r.url, nil)
			if resp.StatusCode != c.status || resp.Header.Get("Retry-After") != c.retry {
				t.Errorf("status %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
			}
		})
	}
	t.Run("no WebSocket", func(t *testing.T) {
		r := start(t, nil)
		resp, err := http.Get("http" + strings.TrimPrefix(r.url, "ws"))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if b, _ := io.ReadAll(resp.Body); resp.StatusCode != 426 || !bytes.Contains(b, []byte("WebSocket")) {
			t.Errorf("%d %q", resp.StatusCode, b)
		}
	})
	t.Run("a broken handshake ends the session", func(t *testing.T) {
		r := start(t, nil)
		req, _ := http.NewRequest(http.MethodGet, "http"+strings.TrimPrefix(r.url, "ws"), nil)
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "websocket")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if err := <-(<-r.sessions).closed; resp.StatusCode != 400 || err == nil {
			t.Errorf("status %d, told %v", resp.StatusCode, err)
		}
	})
}

func TestLimits(t *testing.T) {
	t.Run("connections", func(t *testing.T) {
		r := start(t, func(c *Config) { c.MaxConns = 1 })
		r.dial(t, nil, nil)
		if resp := r.refused(t, r.url, nil); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("status %d, header %v", resp.StatusCode, resp.Header)
		}
	})
	for _, packed := range []bool{false, true} {
		t.Run(fmt.Sprint("W12 F13 message too big, compressed ", packed), func(t *testing.T) {
			r := start(t, func(c *Config) { c.MaxMessage, c.Compression = 70_000, true })
			c := r.dial(t, &websocket.Dialer{EnableCompression: packed}, nil)
			send(t, c, websocket.BinaryMessage, make([]byte, 70_000))
			if _, b := read(t, c); len(b) != 70_000 {
				t.Errorf("got %d bytes back", len(b))
			}
			// A megabyte of zeros is a kilobyte, compressed.
			_ = c.WriteMessage(websocket.BinaryMessage, make([]byte, 1<<20))
			if e := closeOf(t, c); e.Code != 1009 {
				t.Errorf("closed with %v", e)
			}
			if err := <-(<-r.sessions).closed; err == nil {
				t.Error("the session was told of an orderly close")
			}
		})
	}
	t.Run("text that is not UTF-8", func(t *testing.T) {
		r := start(t, nil)
		c := r.dial(t, nil, nil)
		send(t, c, websocket.TextMessage, []byte{0xff, 'a'})
		if e := closeOf(t, c); e.Code != 1007 {
			t.Errorf("closed with %v", e)
		}
	})
	t.Run("silent peer", func(t *testing.T) {
		r := start(t, func(c *Config) { c.IdleTimeout = 50 * time.Millisecond })
		c := r.dial(t, nil, nil)
		if e := closeOf(t, c); e.Code != 1001 {
			t.Errorf("closed with %v", e)
		}
		if err := <-(<-r.sessions).closed; !errors.Is(err, fork.ErrSilent) || fork.EndFor(err, time.Now()).State != media.TimedOut {
			t.Errorf("told %v", err)
		}
	})
	t.Run("peer kept by its pongs", func(t *testing.T) {
		r := start(t, func(c *Config) { c.PingEvery = 5 * time.Millisecond })
		c := r.dial(t, nil, nil)
		var reader sync.WaitGroup
		reader.Go(func() { discard(c) }) // which answers pings
		heard := func() int64 {
			r.mu.Lock()
			defer r.mu.Unlock()
			for c := range r.conns {
				return c.heard.Load()
			}
			return 0
		}
		// The reader's beginning counts as well, and then one pong, and another.
		patience := time.Now().Add(10 * time.Second)
		for last, steps := int64(0), 0; steps < 3; time.Sleep(time.Millisecond) {
			if now := heard(); now > last {
				last, steps = now, steps+1
			}
			if time.Now().After(patience) {
				t.Fatal("pongs do not count")
			}
		}
		c.Close()
		reader.Wait()
	})
	t.Run("F13 unfinished message", func(t *testing.T) {
		r := start(t, func(c *Config) { c.HandshakeTimeout = 60 * time.Millisecond })
		c := r.dial(t, nil, nil)
		// A masked binary frame of 100 bytes of which 4 come.
		if _, err := c.NetConn().Write([]byte{0x82, 0x80 | 100, 1, 2, 3, 4, 5, 6, 7, 8}); err != nil {
			t.Fatal(err)
		}
		if e := closeOf(t, c); e.Code != 1008 || !strings.Contains(e.Text, "complete") {
			t.Errorf("closed with %v", e)
		}
		<-(<-r.sessions).closed
	})
	for text, queue := range map[string]int64{"more than may wait": 50_000, "more than the kernel takes": 64 << 20} {
		t.Run("peer that does not read "+text, func(t *testing.T) {
			r := start(t, func(c *Config) {
				c.MaxQueue, c.WriteTimeout, c.HandshakeTimeout = queue, 100*time.Millisecond, 100*time.Millisecond
			})
			c := r.dial(t, nil, nil)
			send(t, c, websocket.TextMessage, []byte(text))
			if err := <-(<-r.sessions).closed; err == nil || !strings.Contains(err.Error(), "not read") {
				t.Errorf("told %v", err)
			}
			if s := r.Stats(); s.Slow != 1 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

func TestHangUp(t *testing.T) {
	end := media.End{State: media.Aborted, Reason: "shutting down"}
	t.Run("by the host", func(t *testing.T) {
		r := start(t, nil)
		c := r.dial(t, nil, nil)
		e := <-r.sessions
		hangUp := e.w.HangUp
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { hangUp(end) })
		}
		all.Wait()
		if _, b := read(t, c); b != "hung up" {
			t.Errorf("got %q", b)
		}
		if e := closeOf(t, c); e.Code != 1001 || e.Text != end.Reason {
			t.Errorf("closed with %v", e)
		}
		if got := <-e.hung; got != end {
			t.Errorf("hung up with %+v", got)
		}
		<-e.closed
		hangUp(end) // late, and of no consequence
	})
	t.Run("all by Close", func(t *testing.T) {
		r := start(t, nil)
		for range 5 {
			ws := r.dial(t, nil, nil)
			go discard(ws)
		}
		var es []*echo
		for range 5 {
			es = append(es, <-r.sessions)
		}
		r.Close(end)
		for _, e := range es {
			if err := <-e.closed; err == nil {
				t.Error("the session was not told how it was closed")
			}
		}
		if resp := r.refused(t, r.url, nil); resp.StatusCode != 503 {
			t.Errorf("status %d after Close", resp.StatusCode)
		}
		r.Close(end)
	})
	t.Run("a session that does not obey", func(t *testing.T) {
		r := start(t, func(c *Config) { c.HangUpTimeout = 50 * time.Millisecond })
		c := r.dial(t, nil, nil)
		e := <-r.sessions
		e.obeys = false
		go r.Close(end)
		if e := closeOf(t, c); e.Code != 1001 || !strings.Contains(e.Text, "in time") {
			t.Errorf("closed with %v", e)
		}
		<-e.closed
	})
}

func TestSubprotocols(t *testing.T) {
	for _, c := range []struct {
		ours, theirs []string
		want         string
	}{
		{nil, []string{"media"}, ""},
		{[]string{"audio.drachtio.org", "audio.jambonz.org"}, []string{"x", "audio.jambonz.org"}, "audio.jambonz.org"},
		{[]string{"audio.drachtio.org"}, nil, ""},
		{[]string{"audio.drachtio.org"}, []string{"other"}, ""},
		{[]string{"media", "*"}, []string{"any", "thing"}, "any"},
		{[]string{"media", "*"}, []string{"any", "media"}, "media"},
		{[]string{"*"}, nil, ""},
	} {
		r := start(t, func(cfg *Config) { cfg.Subprotocols = c.ours })
		ws := r.dial(t, &websocket.Dialer{Subprotocols: c.theirs}, nil)
		if got := ws.Subprotocol(); got != c.want {
			t.Errorf("%v of %v: took %q, want %q", c.ours, c.theirs, got, c.want)
		}
	}
}

func TestCompression(t *testing.T) {
	for _, c := range []struct{ ours, theirs bool }{{true, true}, {true, false}, {false, true}} {
		r := start(t, func(cfg *Config) { cfg.Compression = c.ours })
		ws, resp, err := (&websocket.Dialer{EnableCompression: c.theirs}).Dial(r.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
		if got := strings.Contains(resp.Header.Get("Sec-Websocket-Extensions"), "permessage-deflate"); got != (c.ours && c.theirs) {
			t.Errorf("%+v: negotiated %v", c, got)
		}
		text := strings.Repeat("again ", 1000)
		send(t, ws, websocket.TextMessage, []byte(text))
		if _, b := read(t, ws); b != text {
			t.Errorf("%+v: got %d bytes", c, len(b))
		}
	}
}

// frames is a client's stream of n binary messages of the size.
func frames(n, size int) []byte {
	one := append([]byte{0x82, 0x80 | 126}, binary.BigEndian.AppendUint16(nil, uint16(size))...)
	one = append(one, 0, 0, 0, 0) // the mask
	one = append(one, make([]byte, size)...)
	return bytes.Repeat(one, n)
}

func TestMessagesDoNotAllocate(t *testing.T) {
	const n = 100
	got := make(chan struct{}, n)
	r := start(t, nil)
	r.cfg.Open = func(_ *http.Request, w fork.Writer, _ time.Time) (fork.Session, error) {
		return &echo{w: w, closed: make(chan error, 1), hung: make(chan media.End, 1), obeys: true, binary: func([]byte) { got <- struct{}{} }}, nil
	}
	c := r.dial(t, nil, nil)
	data := frames(n, 640)
	step := func() {
		if _, err := c.NetConn().Write(data); err != nil {
			t.Error(err)
		}
		for range n {
			<-got
		}
	}
	step()
	perMessage := testing.AllocsPerRun(50, step) / n
	// One is gorilla's messageReader; ticks and the runtime get a tenth.
	if perMessage > 1.1 {
		t.Errorf("%.2f allocations for a message", perMessage)
	}
}

func BenchmarkMessage(b *testing.B) {
	got := make(chan struct{}, 100)
	s, err := New(Config{Log: slog.New(slog.DiscardHandler), Open: func(_ *http.Request, w fork.Writer, _ time.Time) (fork.Session, error) {
		return &echo{w: w, closed: make(chan error, 1), hung: make(chan media.End, 1), obeys: true, binary: func([]byte) { got <- struct{}{} }}, nil
	}})
	if err != nil {
		b.Fatal(err)
	}
	h := httptest.NewServer(s)
	defer h.Close()
	defer s.Close(media.End{State: media.Aborted, Reason: "the benchmark is over"})
	c, _, err := websocket.DefaultDialer.DialContext(context.Background(), "ws"+strings.TrimPrefix(h.URL, "http"), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	data := frames(100, 320)
	b.ReportAllocs()
	for range b.N / 100 {
		if _, err := c.NetConn().Write(data); err != nil {
			b.Fatal(err)
		}
		for range 100 {
			<-got
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	open := func(*http.Request, fork.Writer, time.Time) (fork.Session, error) { return nil, nil }
	log := slog.New(slog.DiscardHandler)
	for name, c := range map[string]Config{
		"no Open":               {Log: log},
		"no Log":                {Open: open},
		"negative time":         {Open: open, Log: log, WriteTimeout: -1},
		"negative size":         {Open: open, Log: log, MaxMessage: -1},
		"pings rarer than idle": {Open: open, Log: log, PingEvery: time.Hour},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
