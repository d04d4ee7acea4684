package rtpengine

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sidetone/internal/leaktest"
	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/port"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var quiet = slog.New(slog.DiscardHandler)

// engine is a stand-in for rtpengine: answer makes the reply to a request, or
// none.
type engine struct {
	t    *testing.T
	conn *net.UDPConn
	done chan struct{}

	mu       sync.Mutex
	answer   func(command string, request map[string]any) []byte
	requests []string
	cookies  map[string]int
}

func newEngine(t *testing.T, answer func(string, map[string]any) []byte) *engine {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{t: t, conn: conn, answer: answer, done: make(chan struct{}), cookies: map[string]int{}}
	go e.run()
	t.Cleanup(func() {
		conn.Close()
		<-e.done
	})
	return e
}

func (e *engine) run() {
	defer close(e.done)
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := e.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		cookie, body, _ := bytes.Cut(buf[:n], []byte(" "))
		v, err := decode(body)
		if err != nil {
			e.t.Errorf("request %q: %v", buf[:n], err)
			continue
		}
		d, _ := v.(map[string]any)
		e.mu.Lock()
		e.requests = append(e.requests, string(body))
		e.cookies[string(cookie)]++
		reply := e.answer(text(d, "command"), d)
		e.mu.Unlock()
		if reply != nil {
			e.conn.WriteToUDPAddrPort(append(append(bytes.Clone(cookie), ' '), reply...), from)
		}
	}
}

func (e *engine) all() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.requests)
}

// asked counts the requests that contain a text.
func (e *engine) asked(part string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, r := range e.requests {
		if strings.Contains(r, part) {
			n++
		}
	}
	return n
}

func (e *engine) addr() netip.AddrPort { return e.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

func dial(t *testing.T, addr netip.AddrPort, edit func(*ClientConfig)) *Client {
	t.Helper()
	cfg := ClientConfig{Addr: addr, Retry: 20 * time.Millisecond, Timeout: 20 * time.Second, Log: quiet}
	if edit != nil {
		edit(&cfg)
	}
	c, err := Dial(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func subscriber(t *testing.T, c *Client, h media.Host, edit func(*Config)) *Subscriber {
	t.Helper()
	pool, err := port.NewPool(port.PoolConfig{Host: netip.MustParseAddr("127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Client: c, Host: h, Pool: pool, Log: quiet}
	if edit != nil {
		edit(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(media.End{State: media.Aborted, Reason: "test over"}) })
	return s
}

// host is a media.Host that keeps what it is told.
type host struct {
	mu     sync.Mutex
	lines  []string
	legs   map[string]*sink
	hangUp func(media.End)
	refuse error
}

func (h *host) say(format string, args ...any) {
	h.lines = append(h.lines, fmt.Sprintf(format, args...))
}

func (h *host) told() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.lines, "\n")
}

func (h *host) Open(c media.Call, hangUp func(media.End)) (media.CallSink, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuse != nil {
		return nil, h.refuse
	}
	h.hangUp = hangUp
	h.say("open %s, %s, %s", c.ID, c.Source, c.External)
	return callSink{h}, nil
}

type callSink struct{ *host }

func (c callSink) AddLeg(l media.Leg) (media.LegSink, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.say("leg %s, label %q, %v, party %v", l.ID, l.Label, l.Role, l.Party)
	s := &sink{h: c.host, id: l.ID}
	if c.legs == nil {
		c.legs = map[string]*sink{}
	}
	c.legs[l.ID] = s
	return s, nil
}

func (c callSink) UpdateLeg(media.Leg) {}
func (c callSink) Pause(string)        {}
func (c callSink) Resume(string)       {}

func (c callSink) Describe(f map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, v := range f {
		c.say("fact %s = %s", k, v)
	}
}

func (c callSink) End(e media.End) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.say("end: %v, %s", e.State, e.Reason)
}

type sink struct {
	h       *host
	id      string
	samples []int16
	stats   media.LegStats
}

func (s *sink) Frame(f *pcm.Frame) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.samples = append(s.samples, f.Samples[:]...)
}

func (s *sink) Mark(media.Mark) {}

func (s *sink) End(e media.End, st media.LegStats) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.stats = st
	s.h.say("leg %s ends: %v, %s", s.id, e.State, e.Reason)
}

// has fails unless the host was told each line.
func (h *host) has(t *testing.T, lines ...string) {
	t.Helper()
	told := h.told()
	for _, l := range lines {
		if !strings.Contains(told, l) {
			t.Errorf("the host was not told %q but\n%s", l, told)
		}
	}
}
