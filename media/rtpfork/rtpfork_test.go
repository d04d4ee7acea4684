package rtpfork

import (
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
	"sidetone/media/codec"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// recorder counts what a sink is told.
type recorder struct {
	mu     sync.Mutex
	frames int
	ends   []media.End
	stats  media.LegStats
}

func (r *recorder) Frame(*pcm.Frame) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frames++
}

func (r *recorder) Mark(media.Mark) {}

func (r *recorder) End(e media.End, s media.LegStats) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ends = append(r.ends, e)
	r.stats = s
}

func (r *recorder) told() []media.End {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ends
}

func manager(t *testing.T, edit func(*Config)) *Manager {
	t.Helper()
	cfg := Config{Host: netip.MustParseAddr("127.0.0.1"), MaxCalls: 10, Log: slog.New(slog.DiscardHandler)}
	if edit != nil {
		edit(&cfg)
	}
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(media.End{State: media.Aborted, Reason: "test over"}) })
	return m
}

// call is an open call with what its sinks and onEnd were told.
type call struct {
	*Session
	sinks [2]*recorder
	ends  chan media.End
}

var twoLegs = []LegSpec{
	{Leg: media.Leg{ID: "agent", Role: media.RoleAgent}},
	{Leg: media.Leg{ID: "customer", Role: media.RoleCustomer}, Format: codec.Format{Encoding: "PCMA", Clock: 8000}},
}

func open(m *Manager, id string) (*call, error) {
	c := &call{sinks: [2]*recorder{{}, {}}, ends: make(chan media.End, 5)}
	var err error
	c.Session, err = m.Open(media.Call{ID: id}, twoLegs, func(i int) media.LegSink { return c.sinks[i] }, func(e media.End) { c.ends <- e })
	return c, err
}

func mustOpen(t *testing.T, m *Manager, id string) *call {
	t.Helper()
	c, err := open(m, id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// send sends n packets to a leg and waits until they have been counted.
func (c *call) send(t *testing.T, leg int, pt uint8, n int) {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(c.Addrs()[leg]))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range n {
		b, err := (&rtp.Packet{Header: rtp.Header{
			Version: 2, PayloadType: pt, SequenceNumber: uint16(i), Timestamp: uint32(i * 160), SSRC: 1,
		}, Payload: make([]byte, 160)}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(30 * time.Second); c.Stats()[leg].Received < uint64(n); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("leg %d: stats %+v after %d packets", leg, c.Stats()[leg], n)
		}
	}
}

// check waits for the call's one end and compares it with what all were told.
func (c *call) check(t *testing.T, state media.EndState, reason string) {
	t.Helper()
	<-c.Done()
	e := <-c.ends
	if e.State != state || !strings.Contains(e.Reason, reason) {
		t.Errorf("the call ended %v: %s; want %v: %s", e.State, e.Reason, state, reason)
	}
	for i, s := range c.sinks {
		if told := s.told(); len(told) != 1 || told[0] != e {
			t.Errorf("sink %d was told %+v, the call %+v", i, told, e)
		}
	}
	select {
	case e := <-c.ends:
		t.Errorf("the call ended again: %+v", e)
	default:
	}
}

func TestEnd(t *testing.T) {
	m := manager(t, nil)
	c := mustOpen(t, m, "a")
	if c.Call().ID != "a" || len(c.Addrs()) != 2 || c.Addrs()[0] == c.Addrs()[1] {
		t.Errorf("call %+v at %v", c.Call(), c.Addrs())
	}
	c.send(t, 0, 0, 20)
	c.send(t, 1, 8, 30)
	if got, ok := m.Get("a"); !ok || got != c.Session || m.Calls() != 1 {
		t.Errorf("the running call is not found: %v, %t, %d calls", got, ok, m.Calls())
	}
	end := media.End{State: media.Ended, Reason: "hung up", At: time.Now()}
	// A BYE, a timeout and a stop may race: one of them wins, all of them wait.
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			m.End("a", end)
			select {
			case <-c.Done():
			default:
				t.Error("End returned before the end")
			}
		})
	}
	wg.Wait()
	c.check(t, media.Ended, "hung up")
	if c.sinks[0].stats.Received != 20 || c.sinks[1].stats.Received != 30 || c.sinks[1].frames < 30 {
		t.Errorf("%+v, %+v", c.sinks[0].stats, c.sinks[1].stats)
	}
	if m.End("a", end) || m.Calls() != 0 {
		t.Error("the call is still there")
	}
	c.End(end) // once more, on the session
	// The name and the ports are free again.
	mustOpen(t, m, "a").End(end)
}

func TestTimeouts(t *testing.T) {
	m := manager(t, func(c *Config) { c.SetupTimeout, c.SilenceTimeout = time.Minute, 300*time.Millisecond })
	c := mustOpen(t, m, "one leg")
	c.send(t, 1, 8, 5)
	c.check(t, media.TimedOut, "no packet on any leg for 300ms")

	m = manager(t, func(c *Config) { c.SetupTimeout, c.SilenceTimeout = 200*time.Millisecond, time.Minute })
	mustOpen(t, m, "no leg").check(t, media.TimedOut, "no packet within 200ms of the opening")

	// What is no packet of the call does not keep it.
	c = mustOpen(t, m, "noise")
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(c.Addrs()[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for over := false; !over; {
		conn.Write([]byte("noise")) // the port closes meanwhile
		select {
		case <-c.Done():
			over = true
		case <-time.After(time.Millisecond):
		}
	}
	c.check(t, media.TimedOut, "no packet within")
}

func TestClose(t *testing.T) {
	m := manager(t, nil)
	var all []*call
	for i := range 5 {
		all = append(all, mustOpen(t, m, fmt.Sprint(i)))
	}
	end := media.End{State: media.Aborted, Reason: "shutdown", At: time.Now()}
	m.Close(end)
	m.Close(media.End{State: media.Ended})
	for _, c := range all {
		c.check(t, media.Aborted, "shutdown")
	}
	if _, err := open(m, "late"); !errors.Is(err, ErrClosed) {
		t.Errorf("a call after Close: %v", err)
	}
}

// TestCloseRaces opens calls while the manager is closed: each call either is
// refused or ends.
func TestCloseRaces(t *testing.T) {
	for range 10 {
		m := manager(t, nil)
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				c, err := open(m, fmt.Sprint(i))
				if err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
					return
				}
				c.check(t, media.Aborted, "")
			})
		}
		m.Close(media.End{State: media.Aborted, Reason: "shutdown"})
		wg.Wait()
	}
}

func TestOpenRefuses(t *testing.T) {
	m := manager(t, func(c *Config) { c.MaxCalls = 2 })
	mustOpen(t, m, "a")
	if _, err := open(m, "a"); !errors.Is(err, ErrDuplicateCall) || !strings.Contains(err.Error(), `call "a"`) {
		t.Errorf("duplicate: %v", err)
	}
	mustOpen(t, m, "b")
	if _, err := open(m, "c"); !errors.Is(err, ErrTooManyCalls) || !strings.Contains(err.Error(), "2 are running") {
		t.Errorf("too many: %v", err)
	}
	m.End("a", media.End{State: media.Ended})
	mustOpen(t, m, "c")
	if _, err := open(m, ""); err == nil || !strings.Contains(err.Error(), "name") {
		t.Errorf("no name: %v", err)
	}
	if _, err := m.Open(media.Call{ID: "x"}, nil, nil, nil); err == nil || !strings.Contains(err.Error(), "leg") {
		t.Errorf("no legs: %v", err)
	}
}

// TestNoPort: there is a port for the first leg and none for the second.
func TestNoPort(t *testing.T) {
	var base int
	for base = 22000; base < 60000; base += 2 {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: base})
		if err == nil {
			c.Close()
			break
		}
	}
	m := manager(t, func(c *Config) { c.FirstPort, c.LastPort = base, base+1 })
	c, err := open(m, "a")
	if !errors.Is(err, ErrNoPort) || !strings.Contains(err.Error(), `leg "customer"`) {
		t.Fatalf("error %v", err)
	}
	if told := c.sinks[0].told(); len(told) != 1 || told[0].State != media.Refused {
		t.Errorf("the first sink was told %+v", told)
	}
	if len(c.sinks[1].told()) != 0 || len(c.ends) != 0 || m.Calls() != 0 {
		t.Error("the refused call has left something behind")
	}
}

func TestNewRefuses(t *testing.T) {
	good := Config{Host: netip.MustParseAddr("127.0.0.1"), MaxCalls: 1, Log: slog.New(slog.DiscardHandler)}
	for _, c := range []struct {
		edit func(*Config)
		want string
	}{
		{func(c *Config) { c.Log = nil }, "logger"},
		{func(c *Config) { c.MaxCalls = 0 }, "at most 0 calls"},
		{func(c *Config) { c.SilenceTimeout = -1 }, "timeouts"},
		{func(c *Config) { c.FirstPort = 70000 }, "70000"},
		{func(c *Config) { c.FirstPort, c.LastPort = 30001, 30001 }, "even port"},
		{func(c *Config) { c.Host = netip.Addr{} }, "address"},
	} {
		cfg := good
		c.edit(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
}

// TestFormats opens legs in other codecs than G.711.
func TestFormats(t *testing.T) {
	m := manager(t, nil)
	for _, c := range []struct {
		spec LegSpec
		path string // what the leg's error or description has
		fail bool
	}{
		{LegSpec{Format: codec.Format{Encoding: "opus", Clock: 48000, Channels: 2}}, "RTP(107, 48000 Hz) -> jitter -> opus -> frames", false},
		{LegSpec{Format: codec.Format{Encoding: "opus", Clock: 48000, Channels: 2}, PayloadType: 111}, "RTP(111, 48000 Hz)", false},
		{LegSpec{Format: codec.Format{Encoding: "G722", Clock: 8000}}, "RTP(9, 8000 Hz) -> jitter -> G722 -> frames", false},
		{LegSpec{Format: codec.Format{Encoding: "L16", Clock: 16000}}, "RTP(118, 16000 Hz) -> jitter -> L16/16000 -> frames", false},
		{LegSpec{Format: codec.Format{Encoding: "L16", Clock: 8000}}, "no payload type of its own", true},
		{LegSpec{Format: codec.Format{Encoding: "G729", Clock: 8000}}, "cannot decode G729/8000", true},
	} {
		c.spec.Leg.ID = "a"
		s, err := m.Open(media.Call{ID: "call"}, []LegSpec{c.spec}, func(int) media.LegSink { return &recorder{} }, func(media.End) {})
		if c.fail {
			if err == nil || !strings.Contains(err.Error(), c.path) {
				t.Errorf("%+v: %v, want %q", c.spec, err, c.path)
			}
			continue
		}
		if err != nil {
			t.Errorf("%+v: %v", c.spec, err)
			continue
		}
		if got := s.legs[0].port.String(); !strings.Contains(got, c.path) {
			t.Errorf("%+v is received as %s, want %q", c.spec, got, c.path)
		}
		s.End(media.End{State: media.Ended})
	}
}
