package port

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"

	"sidetone/internal/leaktest"
	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/bridge"
	"sidetone/media/g711"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var loopback = netip.MustParseAddr("127.0.0.1")

// recorder keeps everything and can be asked from another goroutine.
type recorder struct {
	mu      sync.Mutex
	samples []int16
	flags   []pcm.Flags
	marks   []media.Mark
	ends    []media.End
	stats   media.LegStats
}

func (r *recorder) Frame(f *pcm.Frame) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.samples = append(r.samples, f.Samples[:]...)
	r.flags = append(r.flags, f.Flags)
}

func (r *recorder) Mark(m media.Mark) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.marks = append(r.marks, m)
}

func (r *recorder) End(e media.End, s media.LegStats) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ends = append(r.ends, e)
	r.stats = s
}

func (r *recorder) frames() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.flags)
}

// eventually waits for something that must come to pass, however slow the
// machine is.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func pool(t testing.TB, minPort, maxPort uint16) *Pool {
	t.Helper()
	p, err := NewPool(PoolConfig{Host: loopback, Min: minPort, Max: maxPort, Rest: -1})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func config(t testing.TB, sink media.LegSink) Config {
	t.Helper()
	c, err := g711.New(g711.MuLaw)
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Leg: bridge.Config{Sink: sink, Payloads: []bridge.Payload{{Codec: c, Clock: 8000}}},
		Log: slog.New(slog.DiscardHandler),
	}
}

func open(t testing.TB, p *Pool, cfg Config) *Port {
	t.Helper()
	o, err := p.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

// dial returns a socket that sends to the port.
func dial(t testing.TB, p *Port) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(p.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func send(t testing.TB, c *net.UDPConn, seq int) {
	t.Helper()
	b, err := (&rtp.Packet{Header: rtp.Header{
		Version: 2, SequenceNumber: uint16(seq), Timestamp: uint32(seq * 160), SSRC: 7,
	}, Payload: bytes.Repeat([]byte{0x90}, 160)}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

func TestReceive(t *testing.T) {
	r := &recorder{}
	p := open(t, pool(t, 0, 0), config(t, r))
	if p.Addr().Port()%2 != 0 || p.Addr().Addr() != loopback {
		t.Errorf("address %v", p.Addr())
	}
	if want := p.Addr().String() + " -> RTP(0, 8000 Hz)"; !strings.HasPrefix(p.String(), want) {
		t.Errorf("%q does not begin with %q", p, want)
	}
	c := dial(t, p)
	if _, err := c.Write(make([]byte, 65000)); err != nil {
		t.Fatal(err)
	}
	const n = 50
	for i := range n {
		send(t, c, i)
	}
	eventually(t, "the packets", func() bool { return p.Stats().Received == n })
	if s := p.Stats(); s.Invalid != 1 || s.Lost != 0 {
		t.Errorf("stats %+v", s)
	}
	end := media.End{State: media.Ended, Reason: "test", At: time.Now()}
	p.End(end)
	p.End(media.End{State: media.TimedOut})
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Error(err)
	}
	if len(r.ends) != 1 || r.ends[0] != end || r.stats.Received != n {
		t.Errorf("ends %+v, stats %+v", r.ends, r.stats)
	}
	if len(r.flags) < n || r.marks[0].Kind != media.MarkStarted {
		t.Errorf("%d frames, marks %+v", len(r.flags), r.marks)
	}
	select {
	case <-p.Done():
	default:
		t.Error("not done after the end")
	}
	// The port is free again.
	again, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(p.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

// TestHeardOut ends a leg right after the last packet was sent.
func TestHeardOut(t *testing.T) {
	// A machine that is busy elsewhere may not come to it within the limit.
	heard := uint64(0)
	for range 20 {
		r := &recorder{}
		p := open(t, pool(t, 0, 0), config(t, r))
		c := dial(t, p)
		for i := range 30 {
			send(t, c, i)
		}
		p.End(media.End{State: media.Ended, At: time.Now()})
		heard = max(heard, r.stats.Received)
	}
	if heard != 30 {
		t.Errorf("at best %d of 30 packets were heard", heard)
	}
}

// TestSilence: frames keep coming when packets stop, and then the leg ends.
func TestSilence(t *testing.T) {
	r := &recorder{}
	cfg := config(t, r)
	cfg.Idle = 600 * time.Millisecond
	cfg.Leg.Stall = 200 * time.Millisecond
	p := open(t, pool(t, 0, 0), cfg)
	c := dial(t, p)
	send(t, c, 0)
	eventually(t, "frames without packets", func() bool { return r.frames() > 10 })
	<-p.Done()
	if len(r.ends) != 1 || r.ends[0].State != media.TimedOut || r.ends[0].Reason != "no packet for 600ms" {
		t.Errorf("ends %+v", r.ends)
	}
	if r.flags[0] != 0 || r.flags[5] != pcm.Inserted {
		t.Errorf("flags %v", r.flags)
	}
	if len(r.marks) != 2 || r.marks[1].Kind != media.MarkStalled {
		t.Errorf("marks %+v", r.marks)
	}
}

func TestNeverAPacket(t *testing.T) {
	r := &recorder{}
	cfg := config(t, r)
	cfg.Idle = 50 * time.Millisecond
	p := open(t, pool(t, 0, 0), cfg)
	opened := p.LastPacket()
	<-p.Done()
	if r.ends[0].State != media.TimedOut || len(r.flags) != 0 {
		t.Errorf("ends %+v, %d frames", r.ends, len(r.flags))
	}
	if p.LastPacket() != opened {
		t.Error("the last packet has moved without one")
	}
}

// freeRange finds n even ports in a row that are free now.
func freeRange(t *testing.T, n int) uint16 {
	t.Helper()
	for base := 21000; base < 60000; base += 2 * n {
		ok := true
		for i := 0; i < 2*n && ok; i += 2 {
			c, err := net.ListenUDP("udp", &net.UDPAddr{IP: loopback.AsSlice(), Port: base + i})
			if ok = err == nil; ok {
				c.Close()
			}
		}
		if ok {
			return uint16(base)
		}
	}
	t.Fatal("no free ports")
	return 0
}

func TestRange(t *testing.T) {
	base := freeRange(t, 3)
	p := pool(t, base-1, base+5)
	var ports []*Port
	for i := range 3 {
		o := open(t, p, config(t, &recorder{}))
		if o.Addr().Port() != base+uint16(2*i) {
			t.Errorf("port %d is %d, the range begins at %d", i, o.Addr().Port(), base)
		}
		ports = append(ports, o)
	}
	_, err := p.Open(config(t, &recorder{}))
	if !errors.Is(err, ErrNoPort) || !strings.Contains(err.Error(), fmt.Sprintf("between %d and %d on 127.0.0.1", base-1, base+5)) {
		t.Errorf("error %v", err)
	}
	// Ports are used in turn: the one that was freed last comes last.
	ports[1].Close()
	ports[2].Close()
	if o := open(t, p, config(t, &recorder{})); o.Addr() != ports[1].Addr() {
		t.Errorf("port %v, want %v", o.Addr(), ports[1].Addr())
	}
	ports[0].Close()
	if o := open(t, p, config(t, &recorder{})); o.Addr() != ports[2].Addr() {
		t.Errorf("port %v, want %v", o.Addr(), ports[2].Addr())
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		cfg  PoolConfig
		want string
	}{
		{PoolConfig{}, "no local address"},
		{PoolConfig{Host: loopback, Min: 80, Max: 90}, "80 to 90"},
		{PoolConfig{Host: loopback, Min: 20001, Max: 20001}, "20001 to 20001"},
		{PoolConfig{Host: loopback, Min: 20000}, "20000 to 0"},
		{PoolConfig{Host: loopback, Min: 65535, Max: 65535}, "65535 to 65535"},
		{PoolConfig{Host: loopback, ReadBuffer: -1}, "read buffer"},
	} {
		if _, err := NewPool(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.cfg, err, c.want)
		}
	}
	foreign, err := NewPool(PoolConfig{Host: netip.MustParseAddr("192.0.2.1")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := foreign.Open(config(t, &recorder{})); !errors.Is(err, ErrNoPort) {
		t.Errorf("an address that is not ours: %v", err)
	}
	cfg := config(t, nil)
	if _, err := pool(t, 0, 0).Open(cfg); err == nil || !strings.Contains(err.Error(), "sink") {
		t.Errorf("a leg without a sink: %v", err)
	}
	cfg = config(t, &recorder{})
	cfg.Log = nil
	if _, err := pool(t, 0, 0).Open(cfg); err == nil || !strings.Contains(err.Error(), "logger") {
		t.Errorf("a port without a logger: %v", err)
	}
}
