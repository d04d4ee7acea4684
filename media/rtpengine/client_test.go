package rtpengine

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

var pong = []byte("d6:result4:ponge")

func TestPing(t *testing.T) {
	e := newEngine(t, func(command string, _ map[string]any) []byte {
		if command != "ping" {
			return nil
		}
		return pong
	})
	c := dial(t, e.addr(), nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if err := c.Ping(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if len(c.waiting) != 0 {
		t.Errorf("%d requests are not forgotten", len(c.waiting))
	}
}

func TestRetransmission(t *testing.T) {
	n := 0
	e := newEngine(t, func(string, map[string]any) []byte {
		if n++; n < 4 {
			return nil // lost
		}
		return pong
	})
	c := dial(t, e.addr(), nil)
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.requests) < 4 || len(e.cookies) != 1 {
		t.Errorf("%d requests with %d cookies", len(e.requests), len(e.cookies))
	}
}

// TestStrays: replies under other cookies, late, twice or as garbage hurt
// nobody.
func TestStrays(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	served := make(chan struct{})
	go func() {
		defer close(served)
		buf := make([]byte, 1000)
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		cookie, _, _ := strings.Cut(string(buf[:n]), " ")
		for _, m := range []string{"", " ", "other d6:result4:ponge", "noise", "\xff\xff", cookie + " d6:result4:ponge", cookie + " d6:result4:ponge", cookie} {
			conn.WriteToUDPAddrPort([]byte(m), from)
		}
	}()
	c := dial(t, conn.LocalAddr().(*net.UDPAddr).AddrPort(), func(cfg *ClientConfig) { cfg.Retry = time.Minute })
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	<-served
}

func TestClientErrors(t *testing.T) {
	e := newEngine(t, func(command string, d map[string]any) []byte {
		switch text(d, "call-id") {
		case "gone":
			return []byte("d6:result5:error12:error-reason15:Unknown call-IDe")
		case "odd":
			return []byte("d6:result5:error12:error-reason7:No idea")
		case "bad":
			return []byte("d6:result")
		}
		if command == "ping" {
			return []byte("d6:result2:oke")
		}
		return nil
	})
	c := dial(t, e.addr(), nil)
	ctx := t.Context()
	if err := c.query(ctx, "gone"); !errors.Is(err, ErrUnknownCall) || !strings.Contains(err.Error(), "refuses query: Unknown call-ID") {
		t.Errorf("error %v", err)
	}
	if err := c.query(ctx, "odd"); errors.Is(err, ErrUnknownCall) || err == nil {
		t.Errorf("error %v", err)
	}
	if err := c.query(ctx, "bad"); err == nil || !strings.Contains(err.Error(), "the reply to query: bencoding, at byte 9 of 9: it is cut off") {
		t.Errorf("error %v", err)
	}
	var refused *Error
	if err := c.Ping(ctx); !errors.As(err, &refused) || refused.Command != "ping" || errors.Is(err, ErrUnknownCall) {
		t.Errorf("error %v", err)
	}
	if err := c.query(ctx, strings.Repeat("x", maxDatagram)); err == nil || !strings.Contains(err.Error(), "does not fit") {
		t.Errorf("error %v", err)
	}
	cause := errors.New("the caller hung up")
	stopped, cancel := context.WithCancelCause(ctx)
	cancel(cause)
	if err := c.query(stopped, "silent"); !errors.Is(err, cause) {
		t.Errorf("error %v", err)
	}
	hasty := dial(t, e.addr(), func(c *ClientConfig) { c.Timeout = 50 * time.Millisecond })
	if err := hasty.query(ctx, "silent"); !errors.Is(err, ErrNoReply) || !strings.Contains(err.Error(), "is its listen-ng address right?") {
		t.Errorf("error %v", err)
	}
	waits := make(chan error)
	go func() { waits <- c.query(ctx, "silent, then closed") }()
	for e.asked("silent, then closed") == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-waits; !errors.Is(err, ErrClosed) {
		t.Errorf("error %v", err)
	}
	if err := c.Ping(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestDialRefuses(t *testing.T) {
	good := ClientConfig{Addr: netip.MustParseAddrPort("127.0.0.1:2223"), Log: quiet}
	for _, c := range []struct {
		edit func(*ClientConfig)
		want string
	}{
		{func(c *ClientConfig) { c.Log = nil }, "logger"},
		{func(c *ClientConfig) { c.Addr = netip.AddrPort{} }, "such as 127.0.0.1:2223"},
		{func(c *ClientConfig) { c.Addr = netip.MustParseAddrPort("127.0.0.1:0") }, "127.0.0.1:0"},
		{func(c *ClientConfig) { c.Retry = -1 }, "negative"},
	} {
		cfg := good
		c.edit(&cfg)
		if _, err := Dial(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
}
