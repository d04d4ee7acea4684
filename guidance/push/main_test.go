package push

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidetone/guidance"
	"sidetone/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// newHub makes a hub that is closed when the test ends.
func newHub(t *testing.T, cfg Config) *Hub {
	t.Helper()
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return h
}

func mux(h *Hub) http.Handler {
	m := http.NewServeMux()
	m.Handle(Route, h)
	return m
}

// client is a pane as the page is one.
type client struct {
	t    *testing.T
	conn *websocket.Conn
}

// serve listens on loopback; the function connects a pane of an agent.
func serve(t *testing.T, h *Hub) func(agent string) *client {
	t.Helper()
	srv := httptest.NewServer(mux(h))
	t.Cleanup(srv.Close)
	return func(agent string) *client {
		t.Helper()
		c, _ := dial(t, websocket.DefaultDialer, strings.Replace(srv.URL, "http", "ws", 1), agent, nil)
		return c
	}
}

func dial(t *testing.T, d *websocket.Dialer, base, agent string, header http.Header) (*client, *http.Response) {
	t.Helper()
	conn, resp, err := d.Dial(base+"/v1/push/"+agent, header)
	if err != nil {
		t.Fatalf("pane of %q: %v", agent, err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t, conn}, resp
}

// pipes serves panes over unbuffered in-memory connections, for tests in a
// synctest bubble: what the pane does not read blocks the server's writer.
func pipes(t *testing.T, h *Hub) func(agent string) *client {
	t.Helper()
	l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{Handler: mux(h)}
	var running sync.WaitGroup
	running.Go(func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(func() {
		srv.Close()
		running.Wait()
	})
	d := &websocket.Dialer{NetDialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		select {
		case l.conns <- theirs:
			return ours, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	return func(agent string) *client {
		t.Helper()
		c, _ := dial(t, d, "ws://pane.test", agent, nil)
		return c
	}
}

type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// message is any message of the server.
type message struct {
	Type, Call, Role, State, Reason, Code, About, Version, Language string
	Utterance, Revision                                             int
	Final                                                           bool
	ID                                                              int64
	Paused                                                          string
	Leg                                                             any
	Words                                                           []Word
	Results                                                         []Result
	Calls                                                           []callView
	Card                                                            json.RawMessage
	Time                                                            time.Time
}

func (c *client) next() (message, error) {
	_, b, err := c.conn.ReadMessage()
	if err != nil {
		return message{}, err
	}
	var m message
	if strings.Contains(string(b), `"type":"call_started"`) {
		m.Type = "call_started"
		return m, nil
	}
	if err := json.Unmarshal(b, &m); err != nil {
		c.t.Fatalf("server sent %s: %v", b, err)
	}
	return m, nil
}

// want reads the next message and checks its type.
func (c *client) want(kind string) message {
	c.t.Helper()
	m, err := c.next()
	if err != nil {
		c.t.Fatalf("waiting for %q: %v", kind, err)
	}
	if m.Type != kind {
		c.t.Fatalf("got %+v, want %q", m, kind)
	}
	return m
}

// open reads the two messages that every pane begins with.
func (c *client) open() message {
	c.t.Helper()
	c.want("hello")
	return c.want("snapshot")
}

// wantClose reads until the server closes, and checks the code.
func (c *client) wantClose(code int) (skipped []message) {
	c.t.Helper()
	for {
		m, err := c.next()
		if websocket.IsCloseError(err, code) {
			return skipped
		}
		if err != nil {
			c.t.Fatalf("connection ended with %v, want close code %d", err, code)
		}
		skipped = append(skipped, m)
	}
}

func (c *client) send(text string) {
	c.t.Helper()
	if err := c.conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

func start(t *testing.T, h *Hub, id, agent string) time.Time {
	t.Helper()
	at := time.Now()
	if err := h.CallStarted(Call{ID: id, Agent: agent, Started: at, Legs: []Leg{
		{ID: "a", Role: "agent", State: LegLive}, {ID: "c", Role: "customer", State: LegWaiting},
	}}); err != nil {
		t.Fatal(err)
	}
	return at
}

func say(no, rev int, final bool, text string) Utterance {
	u := Utterance{Leg: "customer", Role: "customer", No: no, Revision: rev, Final: final}
	for i, w := range strings.Fields(text) {
		u.Words = append(u.Words, Word{Text: w, StartMS: int64(i) * 300, EndMS: int64(i)*300 + 250})
	}
	u.EndMS = int64(len(u.Words)) * 300
	return u
}

func aCard(call, id string) guidance.Card {
	return guidance.Card{ID: id, Call: call, Kind: guidance.Action, Title: "Block the card", Body: "I am blocking it.", Priority: 50, Born: time.Now()}
}

// listener records what panes report.
type listener struct {
	painted chan Painted
	acted   chan Acted
	pauses  chan string
	swaps   chan string
}

func newListener() *listener {
	return &listener{make(chan Painted, 64), make(chan Acted, 64), make(chan string, 64), make(chan string, 64)}
}
func (l *listener) Painted(p Painted) { l.painted <- p }
func (l *listener) Acted(a Acted)     { l.acted <- a }
func (l *listener) Pause(agent, call string, paused bool) {
	l.pauses <- fmt.Sprintf("%s %s %t", agent, call, paused)
}
func (l *listener) Swap(agent, call string) { l.swaps <- agent + " " + call }

// rawRequest speaks HTTP by hand and returns the status.
func rawRequest(t *testing.T, addr, request string) int {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}
