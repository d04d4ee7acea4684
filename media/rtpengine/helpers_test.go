package rtpengine

import (
	"bytes"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sidetone/internal/leaktest"
	"sidetone/media"
	"sidetone/media/mediatest"
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

// has fails unless the host was told each line.
func has(t *testing.T, h *mediatest.Host, lines ...string) {
	t.Helper()
	told := h.Text()
	for _, l := range lines {
		if !strings.Contains(told, l) {
			t.Errorf("the host was not told %q but\n%s", l, told)
		}
	}
}
