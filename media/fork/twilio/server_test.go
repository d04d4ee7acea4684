package twilio

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidetone/media"
	"sidetone/media/fork"
	"sidetone/media/fork/server"
)

// hosts gives each connection a host of its own, so that a test can look at one
// after its connection is gone.
type hosts struct {
	opened atomic.Int64
	ended  chan *host
	quiet  bool
	pings  time.Duration
}

// ending tells when the call of a host has ended.
type ending struct {
	*host
	ended chan *host
	quiet bool
}

func (e ending) Open(c media.Call, hangUp func(media.End)) (media.CallSink, error) {
	_, err := e.host.Open(c, hangUp)
	return e, err
}

func (e ending) AddLeg(l media.Leg) (media.LegSink, error) {
	s, err := e.host.AddLeg(l)
	if err == nil {
		s.(*legSink).quiet = e.quiet
	}
	return s, err
}

func (e ending) End(end media.End) {
	e.host.End(end)
	e.ended <- e.host
}

// listen runs a server as the wiring of a program does, and returns its ws
// address.
func listen(tb testing.TB, h *hosts) string {
	tb.Helper()
	srv, err := server.New(server.Config{
		Authorize: func(r *http.Request) error {
			if !Signed(r.Header.Get(SignatureHeader), goldenToken, goldenURL) {
				return &fork.Refusal{Status: http.StatusForbidden, Reason: "the signature is missing or is not one of this address"}
			}
			return nil
		},
		Open: func(r *http.Request, w fork.Writer, now time.Time) (fork.Session, error) {
			params := map[string]string{}
			for k, v := range r.URL.Query() {
				params[k] = v[0]
			}
			return New(Config{
				Host: ending{&host{}, h.ended, h.quiet}, Out: w, Log: slog.New(slog.DiscardHandler), Params: params,
				Name: fmt.Sprintf("stream-%d", h.opened.Add(1)),
			}, now)
		},
		Log: slog.New(slog.DiscardHandler), MaxConns: 2000, PingEvery: h.pings,
	})
	if err != nil {
		tb.Fatal(err)
	}
	web := httptest.NewServer(srv)
	tb.Cleanup(func() {
		srv.Close(media.End{State: media.Aborted, Reason: "the test is over"})
		web.Close()
	})
	return "ws" + strings.TrimPrefix(web.URL, "http")
}

func dial(tb testing.TB, url, signature string) (*websocket.Conn, *http.Response, error) {
	tb.Helper()
	d := websocket.Dialer{HandshakeTimeout: 10 * time.Second}
	c, resp, err := d.DialContext(tb.Context(), url, http.Header{SignatureHeader: {signature}})
	if err == nil {
		tb.Cleanup(func() { _ = c.Close() })
	}
	return c, resp, err
}

// The whole way over loopback: handshake, messages, close.
func TestLoopback(t *testing.T) {
	h := &hosts{ended: make(chan *host, 10)}
	url := listen(t, h)

	t.Run("T1 bad or missing signature", func(t *testing.T) {
		for _, signature := range []string{"", "nonsense", Signature("another", goldenURL)} {
			_, resp, err := dial(t, url, signature)
			if err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
				t.Fatalf("%q: %v, %v", signature, resp, err)
			}
		}
		if n := h.opened.Load(); n != 0 {
			t.Errorf("%d sessions were made", n)
		}
	})

	for name, steps := range vectors(t) {
		t.Run(name, func(t *testing.T) {
			c, _, err := dial(t, url+"/?site=b", goldenSignature)
			if err != nil {
				t.Fatal(err)
			}
			want := media.Ended
			for _, s := range steps {
				switch s.what {
				case "text":
					err = c.WriteMessage(websocket.TextMessage, s.data)
				case "base64":
					err = c.WriteMessage(websocket.BinaryMessage, s.data)
				case "closed":
					err = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(5*time.Second))
				case "lost":
					want = media.Lost
					err = c.Close()
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			got := <-h.ended
			got.mu.Lock()
			defer got.mu.Unlock()
			if len(got.ended) != 1 || got.ended[0].State != want || got.facts["site"] != "b" {
				t.Errorf("ends %v, facts %v", got.ended, got.facts)
			}
			for _, l := range got.legs {
				if len(l.frames) < 3 || l.ends != 1 {
					t.Errorf("leg %s has %d frames and %d ends", l.leg.ID, len(l.frames), l.ends)
				}
			}
		})
	}

	t.Run("T10 close code", func(t *testing.T) {
		c, _, err := dial(t, url, goldenSignature)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range []string{startOne, strings.ReplaceAll(startOne, "MZ1", "MZ2")} {
			if err = c.WriteMessage(websocket.TextMessage, []byte(m)); err != nil {
				t.Fatal(err)
			}
		}
		wantClosed(t, c, 1008, "open another")
		if got := <-h.ended; got.ended[0].State != media.Lost {
			t.Errorf("ends %v", got.ended)
		}
	})
	t.Run("T14 too long", func(t *testing.T) {
		c, _, err := dial(t, url, goldenSignature)
		if err != nil {
			t.Fatal(err)
		}
		// The other end may close before all of it is written.
		_ = c.WriteMessage(websocket.TextMessage, make([]byte, maxMessage+1))
		wantClosed(t, c, 1009, "")
	})
}

// T15: the server asks a silent platform whether it is there.
func TestPing(t *testing.T) {
	c, _, err := dial(t, listen(t, &hosts{pings: 10 * time.Millisecond}), goldenSignature)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 1)
	c.SetPingHandler(func(string) error {
		select {
		case asked <- struct{}{}:
		default:
		}
		return nil
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _, _ = c.ReadMessage()
	}()
	<-asked
	_ = c.Close()
	<-done
}

func wantClosed(t *testing.T, c *websocket.Conn, code int, why string) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, _, err := c.ReadMessage()
	var closed *websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != code || !strings.Contains(closed.Text, why) {
		t.Fatalf("got %v, want close %d with %q", err, code, why)
	}
}

// T17 over sockets: 1,000 connections, one message of 20 ms on each in turn. One
// process is both sides, so that half of the time and more is the sender's.
func BenchmarkSockets(b *testing.B) {
	const conns = 1000
	h := &hosts{ended: make(chan *host, conns), quiet: true}
	url := listen(b, h)
	var all []*websocket.Conn
	for range conns {
		c, _, err := dial(b, url, goldenSignature)
		if err != nil {
			b.Fatal(err)
		}
		if err = c.WriteMessage(websocket.TextMessage, []byte(startOne)); err != nil {
			b.Fatal(err)
		}
		all = append(all, c)
	}
	n := 0
	var m *websocket.PreparedMessage
	for b.Loop() {
		if n%conns == 0 {
			var err error
			if m, err = websocket.NewPreparedMessage(websocket.TextMessage, []byte(chunkOf("inbound", n/conns+1, 20*(n/conns), 0x31))); err != nil {
				b.Fatal(err)
			}
		}
		if err := all[n%conns].WritePreparedMessage(m); err != nil {
			b.Fatal(err)
		}
		n++
	}
	for _, c := range all {
		if err := c.WriteMessage(websocket.TextMessage, []byte(stop)); err != nil {
			b.Fatal(err)
		}
	}
	frames := 0
	for range all {
		got := <-h.ended
		frames += got.legs["inbound"].heard
	}
	if frames < n {
		b.Fatalf("%d of %d frames arrived", frames, n)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "msg/s")
}
