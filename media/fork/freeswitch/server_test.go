package freeswitch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidetone/internal/leaktest"
	"sidetone/media"
	"sidetone/media/fork"
	"sidetone/media/fork/server"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// peer is a server of forks on a socket.
type peer struct {
	*bench
	url    string
	server *server.Server
}

func listen(t *testing.T, edit func(*server.Config)) *peer {
	t.Helper()
	b := newBench(t, func(c *Config) { c.Transcripts = true })
	guard, err := server.NewGuard(server.GuardConfig{Logins: []server.Login{{Name: "pbx", Password: "s3cret"}}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := server.Config{
		Open: func(r *http.Request, w fork.Writer, now time.Time) (fork.Session, error) {
			return b.calls.Open(Request{
				Query: r.URL.Query(), Offered: r.Header.Get("Sec-Websocket-Protocol"), Remote: r.RemoteAddr,
			}, w, now)
		},
		Authorize: guard.Check, Subprotocols: Protocols(), Compression: true, Log: slog.New(slog.DiscardHandler),
	}
	if edit != nil {
		edit(&cfg)
	}
	s, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		s.Close(media.End{State: media.Aborted, Reason: "test over"})
		b.calls.Close(media.End{State: media.Aborted, Reason: "test over"})
		h.Close()
	})
	return &peer{b, "ws" + strings.TrimPrefix(h.URL, "http"), s}
}

func (p *peer) dial(d websocket.Dialer, query, password string) (*websocket.Conn, *http.Response, error) {
	header := http.Header{}
	r := &http.Request{Header: header}
	r.SetBasicAuth("pbx", password)
	return d.Dial(p.url+"/fork?"+query, header)
}

func (p *peer) mustDial(d websocket.Dialer, query string) *websocket.Conn {
	p.t.Helper()
	c, _, err := p.dial(d, query, "s3cret")
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	return c
}

// until waits for a line of the host.
func (p *peer) until(line string) {
	p.t.Helper()
	for end := time.Now().Add(30 * time.Second); !strings.Contains(p.host.told(), line); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("the host was not told %q but\n%s", line, p.host.told())
		}
	}
}

func TestServer(t *testing.T) {
	t.Run("F1 subprotocols", func(t *testing.T) {
		p := listen(t, nil)
		for i, offered := range append(Protocols(), "") {
			d := websocket.Dialer{}
			if offered != "" {
				d.Subprotocols = []string{offered}
			}
			c := p.mustDial(d, fmt.Sprintf("call=c%d", i))
			if got := c.Subprotocol(); got != offered {
				t.Errorf("offered %q, agreed on %q", offered, got)
			}
		}
		if c := p.mustDial(websocket.Dialer{Subprotocols: []string{"other.example"}}, ""); c.Subprotocol() != "" {
			t.Errorf("agreed on %q, which was not known", c.Subprotocol())
		}
	})
	t.Run("F2 Basic auth", func(t *testing.T) {
		p := listen(t, nil)
		_, r, err := p.dial(websocket.Dialer{}, "", "wrong")
		if err == nil || r.StatusCode != http.StatusUnauthorized {
			t.Errorf("a wrong password: %v, %v", r, err)
		}
		p.mustDial(websocket.Dialer{}, "")
	})
	t.Run("a format that is none", func(t *testing.T) {
		p := listen(t, nil)
		_, r, err := p.dial(websocket.Dialer{}, "rate=11025", "s3cret")
		if err == nil || r.StatusCode != http.StatusBadRequest {
			t.Fatalf("answered %v, %v", r, err)
		}
		body, _ := io.ReadAll(r.Body)
		if !strings.Contains(string(body), "it is one of [8000 16000") {
			t.Errorf("the answer does not help: %s", body)
		}
	})
	for _, compressed := range []bool{false, true} {
		t.Run(fmt.Sprintf("F8 permessage-deflate %t", compressed), func(t *testing.T) {
			p := listen(t, nil)
			c, r, err := p.dial(websocket.Dialer{EnableCompression: compressed, Subprotocols: []string{"audio.jambonz.org"}}, "", "s3cret")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := strings.Contains(r.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate"); got != compressed {
				t.Fatalf("negotiated: %t", got)
			}
			send(t, c, websocket.TextMessage, []byte(jambonzStart))
			for range 100 {
				send(t, c, websocket.BinaryMessage, steady(320, 1000, -1000))
			}
			send(t, c, websocket.TextMessage, []byte(`{"event":"dtmf","dtmf":"9"}`))
			p.until("mark 5 on left")
			hangUp(t, c)
			p.until("end: ended, the connection was closed")
			p.has("open c-1f from jambonz", "32000 samples at 1000", "32000 samples at -1000")
		})
	}
	t.Run("F11 a transcription on the socket", func(t *testing.T) {
		p := listen(t, nil)
		c := p.mustDial(websocket.Dialer{}, "call=u")
		send(t, c, websocket.BinaryMessage, steady(160, 1))
		p.until("mark 1 on own")
		if err := p.calls.Transcription("u", []byte(`{"text":"yes"}`)); err != nil {
			t.Fatal(err)
		}
		if _, m, err := c.ReadMessage(); err != nil || string(m) != `{"type":"transcription","data":{"text":"yes"}}` {
			t.Errorf("got %s, %v", m, err)
		}
	})
	t.Run("F12 a connection breaks and comes back", func(t *testing.T) {
		p := listen(t, nil)
		c := p.mustDial(websocket.Dialer{}, "call=u")
		send(t, c, websocket.BinaryMessage, steady(8000, 500))
		p.until("mark 1 on own")
		c.NetConn().Close()
		// Before the loss is seen, a second connection is refused.
		for end := time.Now().Add(30 * time.Second); p.server.Stats().Open > 0; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the loss was not seen")
			}
		}
		d := p.mustDial(websocket.Dialer{}, "call=u")
		send(t, d, websocket.BinaryMessage, steady(8000, 500))
		hangUp(t, d)
		if _, _, err := d.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			t.Fatalf("the fork did not come back: %v", err)
		}
		p.until("end: ended, the connection was closed")
		if n := strings.Count(p.host.told(), "open u"); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
	t.Run("F13 a message that never ends", func(t *testing.T) {
		p := listen(t, func(c *server.Config) { c.HandshakeTimeout = 300 * time.Millisecond })
		c := p.mustDial(websocket.Dialer{}, "call=u")
		send(t, c, websocket.BinaryMessage, steady(160, 500))
		p.until("mark 1 on own")
		// A frame of 60,000 bytes, masked with zeros, byte by byte.
		raw := c.NetConn()
		if _, err := raw.Write([]byte{0x82, 0x80 | 126, 60000 >> 8, 60000 & 0xFF, 0, 0, 0, 0}); err != nil {
			t.Fatal(err)
		}
		gone := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, raw)
			gone <- err
		}()
		// At 1 ms each the message would take a minute.
		for sent := 0; ; sent++ {
			select {
			case <-gone:
				p.has("open u")
				return
			case <-time.After(time.Millisecond):
			}
			if _, err := raw.Write([]byte{0}); err != nil && !errors.Is(err, net.ErrClosed) {
				<-gone
				return
			}
			if sent > 59000 {
				t.Fatal("the server took it all")
			}
		}
	})
}

func send(t *testing.T, c *websocket.Conn, kind int, message []byte) {
	t.Helper()
	if err := c.WriteMessage(kind, bytes.Clone(message)); err != nil {
		t.Fatal(err)
	}
}

func hangUp(t *testing.T, c *websocket.Conn) {
	t.Helper()
	if err := c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")); err != nil {
		t.Fatal(err)
	}
}
