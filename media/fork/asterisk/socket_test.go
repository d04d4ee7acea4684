package asterisk

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidetone/media"
	"sidetone/media/fork"
	"sidetone/media/fork/server"
	"sidetone/media/mediatest"
)

// listen serves sessions on a loopback socket; what it returns is the address.
func listen(t *testing.T, h *mediatest.Host, guard server.GuardConfig) string {
	t.Helper()
	p, err := New(Config{Host: h})
	if err != nil {
		t.Fatal(err)
	}
	g, err := server.NewGuard(guard)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Config{
		Open: func(r *http.Request, w fork.Writer, now time.Time) (fork.Session, error) {
			return p.Open(r.URL.Query(), w, now)
		},
		Authorize: g.Check, Subprotocols: Protocols(), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(s)
	t.Cleanup(func() {
		s.Close(media.End{State: media.Aborted, Reason: "the test is over"})
		ts.Close()
	})
	return "ws" + strings.TrimPrefix(ts.URL, "http") + "/asterisk"
}

func dial(t *testing.T, url string) *websocket.Conn {
	t.Helper()
	c, _, err := (&websocket.Dialer{Subprotocols: []string{"media"}}).Dial(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(30 * time.Second))
	return c
}

func send(t *testing.T, c *websocket.Conn, kind int, b []byte) {
	t.Helper()
	if err := c.WriteMessage(kind, b); err != nil {
		t.Fatal(err)
	}
}

func TestLoopback(t *testing.T) {
	t.Run("a call over a socket", func(t *testing.T) {
		h := mediatest.New()
		c := dial(t, listen(t, h, server.GuardConfig{})+"?call=c1&role=customer")
		if c.Subprotocol() != "media" {
			t.Errorf("subprotocol %q", c.Subprotocol())
		}
		send(t, c, websocket.TextMessage, fmt.Appendf(nil, jsonStart, "slin16"))
		for i := range 50 {
			send(t, c, websocket.BinaryMessage, slin(16000)(i))
		}
		send(t, c, websocket.TextMessage, []byte(`{"event":"DTMF_END","digit":"7"}`))
		c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
		if e := h.NextEnd(); e.State != media.Ended {
			t.Errorf("ended as %+v", e)
		}
		if text := h.Text(); !strings.Contains(text, "pbx1-17.42: frames 50 from 0, inserted 0, peak 8000\npbx1-17.42: mark digit 7 at 16000\n") {
			t.Errorf("told\n%s", text)
		}
	})
	t.Run("W5 pings", func(t *testing.T) {
		h := mediatest.New()
		c := dial(t, listen(t, h, server.GuardConfig{}))
		pongs, pings := make(chan string, 1), make(chan string, 1)
		c.SetPongHandler(func(s string) error { pongs <- s; return nil })
		c.SetPingHandler(func(s string) error { pings <- s; return nil })
		gone := make(chan error, 1)
		go func() {
			_, _, err := c.ReadMessage()
			gone <- err
		}()
		c.WriteControl(websocket.PingMessage, []byte("hello"), time.Now().Add(time.Second))
		if s := <-pongs; s != "hello" {
			t.Errorf("pong %q", s)
		}
		send(t, c, websocket.TextMessage, []byte(`{`))
		var e *websocket.CloseError
		if err := <-gone; !errors.As(err, &e) || e.Code != 1007 || !strings.Contains(e.Text, "JSON") {
			t.Errorf("a broken message closes with %v", e)
		}
		if len(pings) > 0 {
			t.Error("the server sent a ping")
		}
	})
	t.Run("W8 token", func(t *testing.T) {
		h := mediatest.New()
		url := listen(t, h, server.GuardConfig{Secrets: []string{"s3cret"}, Logins: []server.Login{{Name: "pbx", Password: "pw"}}})
		for _, q := range []string{"", "?token=wrong"} {
			_, resp, err := websocket.DefaultDialer.Dial(url+q, nil)
			if err == nil || resp == nil || resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("%q: %v", q, err)
			}
		}
		dial(t, url+"?call=c1&token=s3cret")
		r := &http.Request{Header: http.Header{}}
		r.SetBasicAuth("pbx", "pw")
		c, _, err := websocket.DefaultDialer.Dial(url, r.Header)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		_, resp, err := websocket.DefaultDialer.Dial(url+"?token=s3cret&role=boss", nil)
		if err == nil || resp == nil || resp.StatusCode != http.StatusBadRequest {
			t.Fatalf("a bad role: %v", err)
		}
		if b, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(b), "boss") {
			t.Errorf("refused with %q, %v", b, err)
		}
	})
	t.Run("W12 long messages", func(t *testing.T) {
		h := mediatest.New()
		c := dial(t, listen(t, h, server.GuardConfig{}))
		send(t, c, websocket.TextMessage, fmt.Appendf(nil, plainStart, "ulaw"))
		send(t, c, websocket.BinaryMessage, make([]byte, 65501))
		_ = c.WriteMessage(websocket.BinaryMessage, make([]byte, 1<<20+1))
		_, _, err := c.ReadMessage()
		if !websocket.IsCloseError(err, 1009) {
			t.Errorf("closed with %v", err)
		}
		if e := h.NextEnd(); e.State != media.Lost {
			t.Errorf("ended as %+v", e)
		}
		// On a busy machine silence may follow until the connection is closed.
		if l := h.Legs()[0]; l.Frames-l.Inserted != 410 {
			t.Errorf("%d frames, %d inserted", l.Frames, l.Inserted)
		}
	})
	t.Run("hung up", func(t *testing.T) {
		h := mediatest.New()
		c := dial(t, listen(t, h, server.GuardConfig{}))
		send(t, c, websocket.TextMessage, fmt.Appendf(nil, plainStart, "ulaw"))
		send(t, c, websocket.BinaryMessage, make([]byte, 160))
		for !strings.Contains(h.Text(), "started") {
			time.Sleep(time.Millisecond)
		}
		h.HangUp(media.End{State: media.Aborted, Reason: "enough"})
		if _, b, err := c.ReadMessage(); err != nil || string(b) != "HANGUP" {
			t.Errorf("got %q, %v", b, err)
		}
		if e := h.NextEnd(); e.Reason != "enough" {
			t.Errorf("ended as %+v", e)
		}
	})
}
