package vosk

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidetone/asr"
	"sidetone/asr/asrtest"
	"sidetone/internal/leaktest"
	"sidetone/internal/pcm"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// peer speaks vosk-server's protocol and hears asrtest.Speak's speech. It gives
// a result after every third word.
type peer struct {
	t *testing.T
	// before, where set, sees each message of a connection, counted from 0; it
	// may answer itself, and true ends the connection.
	before func(c *websocket.Conn, connection, message int, kind int, b []byte) (done bool)
	// ignoreEOF is what some that speak the protocol do.
	ignoreEOF bool

	connections, replies, pongs atomic.Int64
	mu                          sync.Mutex
	largest                     int
}

func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{}
	c, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	n := int(p.connections.Add(1))
	c.SetPongHandler(func(string) error {
		p.pongs.Add(1)
		return nil
	})
	var audio []int16
	settled := 0
	for m := 0; ; m++ {
		kind, b, err := c.ReadMessage()
		if err != nil {
			return
		}
		if m == 0 {
			p.configured(kind, b)
		}
		if p.before != nil && p.before(c, n, m, kind, b) {
			return
		}
		if m == 0 {
			continue
		}
		last := kind == websocket.TextMessage
		if last && string(b) != eof {
			p.t.Errorf("text message %s", b)
		}
		if last && p.ignoreEOF {
			continue
		}
		if !last {
			p.mu.Lock()
			p.largest = max(p.largest, len(b))
			p.mu.Unlock()
			for i := 0; i+1 < len(b); i += 2 {
				audio = append(audio, int16(binary.LittleEndian.Uint16(b[i:])))
			}
		}
		words := asrtest.Hear(audio, 0)[settled:]
		var answer any
		if last || len(words) > 3 {
			if !last {
				words = words[:3]
			}
			settled += len(words)
			answer = result(words)
		} else {
			answer = map[string]string{"partial": texts(words)}
		}
		p.replies.Add(1)
		if err := c.WriteJSON(answer); err != nil {
			return
		}
		if last {
			return
		}
	}
}

func (p *peer) configured(kind int, b []byte) {
	var c struct {
		Config struct {
			SampleRate float64 `json:"sample_rate"`
			Words      bool    `json:"words"`
		} `json:"config"`
	}
	if err := json.Unmarshal(b, &c); err != nil || kind != websocket.TextMessage || c.Config.SampleRate != pcm.Rate || !c.Config.Words {
		p.t.Errorf("the first message is %s (%v)", b, err)
	}
}

func texts(ws []asr.Word) string {
	h := asr.Hypothesis{Words: ws}
	return h.Text()
}

func result(ws []asr.Word) map[string]any {
	out := map[string]any{"text": texts(ws)}
	if len(ws) == 0 {
		return out
	}
	var timed []map[string]any
	for _, w := range ws {
		timed = append(timed, map[string]any{
			"word": w.Text, "conf": 0.9,
			"start": float64(w.Start) / pcm.Rate, "end": float64(w.End) / pcm.Rate,
		})
	}
	out["result"] = timed
	return out
}

// serve starts a peer and gives the engine that talks to it.
func serve(t *testing.T, p *peer, c Config) *Engine {
	t.Helper()
	p.t = t
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	c.URL = "ws" + strings.TrimPrefix(srv.URL, "http")
	return open(t, c)
}

func open(t *testing.T, c Config) *Engine {
	t.Helper()
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func TestConformance(t *testing.T) {
	p := &peer{t: t}
	srv := httptest.NewServer(p)
	defer srv.Close()
	asleep := httptest.NewServer(&peer{t: t, before: func(c *websocket.Conn, _, _, _ int, _ []byte) bool {
		for {
			if _, _, err := c.ReadMessage(); err != nil {
				return true
			}
		}
	}})
	defer asleep.Close()
	url := func(s *httptest.Server) string { return "ws" + strings.TrimPrefix(s.URL, "http") }
	asrtest.Run(t, func(t *testing.T) asr.Engine { return open(t, Config{URL: url(srv)}) }, asrtest.Options{
		Speech:   [][]int16{asrtest.Speak(1, 2, 3, 4, 5), asrtest.Speak(6, 7, 8), asrtest.Speak(9, 10, 11, 12)},
		Said:     []string{"w1 w2 w3 w4 w5", "w6 w7 w8", "w9 w10 w11 w12"},
		Partials: true,
		Pace:     time.Millisecond,
		Stalled:  func(t *testing.T) asr.Engine { return open(t, Config{URL: url(asleep)}) },
	})
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []struct {
		c    Config
		want string
	}{
		{Config{URL: "wss://asr.example.com/"}, ""},
		{Config{}, "URL"},
		{Config{URL: "http://there"}, "URL"},
		{Config{URL: "ws://user:secret@there:port"}, "URL"},
		{Config{URL: "ws://there", Chunk: time.Millisecond}, "Chunk"},
		{Config{URL: "ws://there", ReplyTimeout: -1}, "ReplyTimeout"},
		{Config{URL: "ws://there", GiveUp: -1}, "GiveUp"},
	} {
		_, err := New(c.c)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: error %v, want %q", c.c, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("C16: the error tells the password: %v", err)
		}
	}
}

// say plays one utterance and returns what came of it.
func say(t *testing.T, e *Engine, words ...int16) (asrtest.Checker, error) {
	t.Helper()
	s, err := e.NewStream(t.Context(), asr.StreamConfig{Call: "c", Leg: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var c asrtest.Checker
	take := func(hs []asr.Hypothesis, err error) error {
		if cerr := c.Take(hs); cerr != nil {
			t.Error(cerr)
		}
		return err
	}
	const start = 123 * pcm.FrameSamples
	f := pcm.Frame{Start: start}
	edges := []asr.Edge{{Kind: asr.Begin, At: start}}
	for x := asrtest.Speak(words...); len(x) > 0; x = x[min(len(x), pcm.FrameSamples):] {
		copy(f.Samples[:], x)
		if err := take(s.Accept(&f, edges)); err != nil {
			return c, err
		}
		edges = nil
		f.Start = f.End()
		time.Sleep(time.Millisecond)
	}
	return c, take(s.Finish(t.Context()))
}

// C12, C14: connections break three times, in the middle and at the end, each in
// another way; no word is lost, told twice or moved.
func TestBrokenConnections(t *testing.T) {
	p := &peer{before: func(c *websocket.Conn, connection, m, kind int, b []byte) bool {
		switch {
		case connection == 1 && m == 3:
			return true // 1006
		case connection == 2 && m == 2:
			_ = c.WriteControl(websocket.CloseMessage,
				websocket.FormatCloseMessage(websocket.CloseInternalServerErr, "out of memory"), time.Now().Add(time.Second))
			return true
		case connection == 3 && string(b) == eof:
			return true
		}
		return false
	}}
	e := serve(t, p, Config{})
	c, err := say(t, e, 1, 2, 3, 4, 5, 6, 7, 8)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c.Texts()); got != "[w1 w2 w3 w4 w5 w6 w7 w8]" {
		t.Errorf("finals %s", got)
	}
	for i, w := range c.Finals[0].Words {
		if want := int64(123*pcm.FrameSamples + i*6400); w.Start < want-pcm.Rate/2 || w.Start > want+pcm.Rate/2 {
			t.Errorf("word %d at %d, want %d", i, w.Start, want)
		}
	}
	if n := p.connections.Load(); n != 4 {
		t.Errorf("%d connections", n)
	}
}

// C1: eof as text, letter by letter, which the peer checks; the words that come
// after it are in the final.
func TestLastWordsComeAfterEOF(t *testing.T) {
	p := &peer{}
	c, err := say(t, serve(t, p, Config{Chunk: 5 * time.Second}), 1, 2, 3)
	if err != nil || fmt.Sprint(c.Texts()) != "[w1 w2 w3]" {
		t.Errorf("finals %v, %v", c.Texts(), err)
	}
	if n := p.replies.Load(); n != 2 {
		t.Errorf("%d replies to one message and eof", n)
	}
}

// C1: who ignores eof has said all in its partials.
func TestIgnoredEOF(t *testing.T) {
	c, err := say(t, serve(t, &peer{ignoreEOF: true}, Config{ReplyTimeout: 300 * time.Millisecond}), 1, 2, 3, 4, 5)
	if err != nil || fmt.Sprint(c.Texts()) != "[w1 w2 w3 w4 w5]" {
		t.Errorf("finals %v, %v", c.Texts(), err)
	}
}

// C2: messages without reply are counted and bounded; what waits goes into
// larger messages.
func TestOverload(t *testing.T) {
	held := make(chan struct{})
	var once sync.Once
	p := &peer{before: func(_ *websocket.Conn, _, m, _ int, _ []byte) bool {
		if m == 1 {
			<-held
		}
		return false
	}}
	e := serve(t, p, Config{ReplyTimeout: time.Minute})
	defer once.Do(func() { close(held) })
	s, err := e.NewStream(t.Context(), asr.StreamConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	x := asrtest.Speak(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20)
	f := pcm.Frame{}
	edges := []asr.Edge{{Kind: asr.Begin}}
	for ; len(x) > 0; x = x[min(len(x), pcm.FrameSamples):] {
		copy(f.Samples[:], x)
		if _, err := s.Accept(&f, edges); err != nil {
			t.Fatal(err)
		}
		edges = nil
		f.Start = f.End()
		// The writer may have as many messages under way as it wants to.
		if f.Start%(pcm.Rate/5) == 0 && e.Overloads() == 0 {
			time.Sleep(10 * time.Millisecond)
		}
	}
	for e.Overloads() == 0 {
		time.Sleep(time.Millisecond)
	}
	once.Do(func() { close(held) })
	hs, err := s.Finish(t.Context())
	if err != nil || len(hs) == 0 || len(strings.Fields(hs[len(hs)-1].Text())) != 20 {
		t.Errorf("%d hypotheses, %v", len(hs), err)
	}
	if n := p.replies.Load(); n > 8+5 {
		t.Errorf("%d messages: what waited was not put together", n)
	}
	if p.largest < 2*pcm.Rate || p.largest > 2*maxMessage {
		t.Errorf("the largest message has %d bytes", p.largest)
	}
}

// C15: pings are answered while nothing can be sent.
func TestPingsAreAnswered(t *testing.T) {
	p := &peer{}
	p.before = func(c *websocket.Conn, _, m, _ int, _ []byte) bool {
		if m > 0 {
			return false
		}
		if err := c.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)); err != nil {
			p.t.Error(err)
		}
		return false
	}
	e := serve(t, p, Config{Chunk: time.Minute})
	if c, err := say(t, e, 1, 2, 3); err != nil || len(c.Finals) != 1 {
		t.Errorf("%v, %v", c.Texts(), err)
	}
	if p.pongs.Load() != 1 {
		t.Errorf("%d pongs", p.pongs.Load())
	}
}

func TestFailuresAreTold(t *testing.T) {
	cases := []struct {
		name string
		h    func(t *testing.T) http.Handler
		c    Config
		want string
	}{
		{"silent", func(t *testing.T) http.Handler {
			return &peer{t: t, before: func(c *websocket.Conn, _, m, _ int, _ []byte) bool {
				for m == 2 {
					if _, _, err := c.ReadMessage(); err != nil {
						return true
					}
				}
				return false
			}}
		}, Config{ReplyTimeout: 200 * time.Millisecond, GiveUp: time.Millisecond}, "does not reply within 200ms"},
		{"another service", func(*testing.T) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				up := websocket.Upgrader{}
				if c, err := up.Upgrade(w, r, nil); err == nil {
					_ = c.WriteJSON(map[string]string{"type": "hello"})
					_, _, _ = c.ReadMessage()
					c.Close()
				}
			})
		}, Config{GiveUp: time.Millisecond}, "is this a vosk-server"},
		{"refused", func(*testing.T) http.Handler { return http.NotFoundHandler() }, Config{}, "404"},
		{"busy", func(*testing.T) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "60")
				w.WriteHeader(http.StatusServiceUnavailable)
			})
		}, Config{GiveUp: 30 * time.Second}, "given up after 1 attempts: connecting: the server answers 503"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewServer(c.h(t))
			defer srv.Close()
			c.c.URL = "ws" + strings.TrimPrefix(srv.URL, "http")
			e := open(t, c.c)
			_, err := say(t, e, 1, 2, 3)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "vosk: leg a of call c: utterance 1: ") {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		e := open(t, Config{URL: "ws://127.0.0.1:1", GiveUp: time.Millisecond})
		if _, err := say(t, e, 1, 2, 3); err == nil || !strings.Contains(err.Error(), "connecting") {
			t.Errorf("error %v", err)
		}
	})
}

// C18: a server is verified, by default and by a CA of one's own.
func TestTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(&peer{t: t})
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	url := "wss" + strings.TrimPrefix(srv.URL, "https")
	_, err := say(t, open(t, Config{URL: url, GiveUp: time.Millisecond}), 1, 2, 3)
	var unknown *tls.CertificateVerificationError
	if !errors.As(err, &unknown) {
		t.Errorf("an unknown certificate: error %v", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	c, err := say(t, open(t, Config{URL: url, TLS: &tls.Config{RootCAs: pool}}), 1, 2, 3)
	if err != nil || len(c.Finals) != 1 {
		t.Errorf("a known certificate: %v, %v", c.Texts(), err)
	}
}

// A call that ends while the server takes its time over the handshake is gone at
// once.
func TestCancelledWhileConnecting(t *testing.T) {
	arrived, leave := make(chan struct{}, 1), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-leave
	}))
	defer srv.Close()
	defer close(leave)
	e := open(t, Config{URL: "ws" + strings.TrimPrefix(srv.URL, "http"), DialTimeout: time.Minute})
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	s, err := e.NewStream(ctx, asr.StreamConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Accept(&pcm.Frame{}, []asr.Edge{{Kind: asr.Begin}}); err != nil {
		t.Fatal(err)
	}
	<-arrived
	hangUp()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Accept(&pcm.Frame{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
