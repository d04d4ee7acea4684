package tcp

import (
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"sidetone/internal/leaktest"
	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/fork/audiosocket"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// host is a media.Host whose calls come out of a channel.
type host struct{ calls chan *call }

func (h *host) Open(c media.Call, hangUp func(media.End)) (media.CallSink, error) {
	k := &call{about: c, hangUp: hangUp, ended: make(chan media.End, 1)}
	h.calls <- k
	return k, nil
}

type call struct {
	about  media.Call
	hangUp func(media.End)
	ended  chan media.End
	mu     sync.Mutex
	frames int
	loud   int
	digits string
}

func (c *call) AddLeg(media.Leg) (media.LegSink, error) { return &leg{c}, nil }
func (c *call) UpdateLeg(media.Leg)                     {}
func (c *call) Pause(string)                            {}
func (c *call) Resume(string)                           {}
func (c *call) Describe(map[string]string)              {}
func (c *call) End(e media.End)                         { c.ended <- e }

type leg struct{ *call }

func (l *leg) Frame(f *pcm.Frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.frames++
	if f.Samples[pcm.FrameSamples/2] > 1000 {
		l.loud++
	}
}

func (l *leg) Mark(m media.Mark) {
	if m.Kind == media.MarkDigit {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.digits += string(m.Digit)
	}
}

func (l *leg) End(media.End, media.LegStats) {}

type rig struct {
	*Server
	host *host
	at   string
}

func start(t *testing.T, session audiosocket.Config, change func(*Config)) *rig {
	t.Helper()
	r := &rig{host: &host{make(chan *call, 16)}}
	session.Host = r.host
	p, err := audiosocket.New(session)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Protocol: p, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	if r.Server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.at = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- r.Serve(l) }()
	t.Cleanup(func() {
		r.Close(media.End{State: media.Aborted, Reason: "the test is over"})
		if err := <-served; !errors.Is(err, ErrClosed) {
			t.Errorf("Serve returned %v", err)
		}
		if n := r.Stats().Open; n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
	return r
}

func (r *rig) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", r.at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return c.(*net.TCPConn)
}

func frame(k audiosocket.Kind, payload []byte) []byte {
	return append(audiosocket.AppendHeader(nil, k, uint16(len(payload))), payload...)
}

func loud(n int) []byte {
	var b []byte
	for range n {
		b = binary.LittleEndian.AppendUint16(b, 4000)
	}
	return b
}

func send(t *testing.T, c net.Conn, frames ...[]byte) {
	t.Helper()
	for _, f := range frames {
		if _, err := c.Write(f); err != nil {
			t.Fatal(err)
		}
	}
}

// next reads one frame of the server.
func next(t *testing.T, c net.Conn) (audiosocket.Kind, int) {
	t.Helper()
	var head [3]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		t.Fatal(err)
	}
	n := int(binary.BigEndian.Uint16(head[1:]))
	if _, err := io.CopyN(io.Discard, c, int64(n)); err != nil {
		t.Fatal(err)
	}
	return audiosocket.Kind(head[0]), n
}

func TestLoopback(t *testing.T) {
	id := []byte("0123456789abcdef")
	t.Run("A1 A5 A6 A8 a call over a socket", func(t *testing.T) {
		r := start(t, audiosocket.Config{}, nil)
		c := r.dial(t)
		for _, b := range frame(audiosocket.KindUUID, id) {
			send(t, c, []byte{b})
		}
		k := <-r.host.calls
		if k.about.External != "30313233-3435-3637-3839-616263646566" {
			t.Errorf("UUID %s", k.about.External)
		}
		if kind, n := next(t, c); kind != audiosocket.KindSlin || n != 320 {
			t.Errorf("silence is %v of %d bytes", kind, n)
		}
		for range 50 {
			send(t, c, frame(audiosocket.KindSlin16, loud(320)))
		}
		for {
			if kind, n := next(t, c); kind == audiosocket.KindSlin16 && n == 640 {
				break
			}
		}
		send(t, c, frame(audiosocket.KindDigit, []byte("5")), frame(audiosocket.KindHangUp, nil))
		e := <-k.ended
		if e.State != media.Ended || k.loud != 50 || k.digits != "5" {
			t.Errorf("%+v, %d loud frames, digits %q", e, k.loud, k.digits)
		}
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("the server's close is %v", err)
		}
	})
	t.Run("A6 FIN and RST", func(t *testing.T) {
		r := start(t, audiosocket.Config{Quiet: true}, nil)
		c := r.dial(t)
		send(t, c, frame(audiosocket.KindUUID, id), frame(audiosocket.KindSlin, loud(160)))
		k := <-r.host.calls
		c.CloseWrite()
		if e := <-k.ended; e.State != media.Ended {
			t.Errorf("FIN: %+v", e)
		}
		c = r.dial(t)
		send(t, c, frame(audiosocket.KindUUID, id))
		k = <-r.host.calls
		c.SetLinger(0)
		c.Close()
		if e := <-k.ended; e.State != media.Lost {
			t.Errorf("RST: %+v", e)
		}
	})
	t.Run("A2 unknown UUID", func(t *testing.T) {
		r := start(t, audiosocket.Config{Lookup: func(string) (media.Call, media.Leg, error) {
			return media.Call{}, media.Leg{}, errors.New("not announced")
		}}, nil)
		c := r.dial(t)
		send(t, c, frame(audiosocket.KindUUID, id))
		if b, err := io.ReadAll(c); err != nil || string(b) != "\x00\x00\x00" || len(r.host.calls) > 0 {
			t.Errorf("got % x, %v, %d calls", b, err, len(r.host.calls))
		}
	})
	t.Run("A9 no UUID", func(t *testing.T) {
		r := start(t, audiosocket.Config{Identify: 60 * time.Millisecond}, nil)
		c := r.dial(t)
		if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
			t.Errorf("got % x, %v", b, err)
		}
	})
	t.Run("hung up by the host", func(t *testing.T) {
		r := start(t, audiosocket.Config{Quiet: true}, nil)
		c := r.dial(t)
		send(t, c, frame(audiosocket.KindUUID, id))
		k := <-r.host.calls
		k.hangUp(media.End{State: media.Aborted, Reason: "enough"})
		if kind, _ := next(t, c); kind != audiosocket.KindHangUp {
			t.Errorf("got %v", kind)
		}
		if e := <-k.ended; e.Reason != "enough" {
			t.Errorf("got %+v", e)
		}
		k.hangUp(media.End{}) // late, and of no consequence
	})
	t.Run("hung up by Close", func(t *testing.T) {
		r := start(t, audiosocket.Config{}, nil)
		var calls []*call
		for range 5 {
			send(t, r.dial(t), frame(audiosocket.KindUUID, id))
			calls = append(calls, <-r.host.calls)
		}
		r.dial(t) // has not said who it is
		for range 2 {
			r.Close(media.End{State: media.Aborted, Reason: "shutting down"})
		}
		for _, k := range calls {
			if e := <-k.ended; e.Reason != "shutting down" {
				t.Errorf("got %+v", e)
			}
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Serve(l); !errors.Is(err, ErrClosed) {
			t.Errorf("Serve after Close: %v", err)
		}
	})
	t.Run("a peer that does not read", func(t *testing.T) {
		r := start(t, audiosocket.Config{}, func(c *Config) { c.WriteTimeout = 50 * time.Millisecond })
		a, b := net.Pipe()
		defer b.Close()
		r.take(a) // a pipe has no buffer
		send(t, b, frame(audiosocket.KindUUID, id))
		if e := <-(<-r.host.calls).ended; e.State != media.Lost || !strings.Contains(e.Reason, "could not be sent") {
			t.Errorf("got %+v", e)
		}
	})
}

func TestLimits(t *testing.T) {
	closed := func(t *testing.T, c net.Conn) {
		t.Helper()
		if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
			t.Errorf("got % x, %v", b, err)
		}
	}
	t.Run("connections", func(t *testing.T) {
		r := start(t, audiosocket.Config{}, func(c *Config) { c.MaxConns = 1 })
		send(t, r.dial(t), frame(audiosocket.KindUUID, make([]byte, 16)))
		<-r.host.calls
		closed(t, r.dial(t))
		if s := r.Stats(); s.Accepted != 1 || s.Refused != 1 {
			t.Errorf("stats %+v", s)
		}
	})
	t.Run("addresses", func(t *testing.T) {
		r := start(t, audiosocket.Config{}, func(c *Config) { c.Allow = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
		closed(t, r.dial(t))
		r = start(t, audiosocket.Config{}, func(c *Config) { c.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
		send(t, r.dial(t), frame(audiosocket.KindUUID, make([]byte, 16)))
		<-r.host.calls
	})
}

func TestConfigIsChecked(t *testing.T) {
	p, err := audiosocket.New(audiosocket.Config{Host: &host{}})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	for name, c := range map[string]Config{
		"no protocol":   {Log: log},
		"no log":        {Protocol: p},
		"negative time": {Protocol: p, Log: log, WriteTimeout: -1},
		"bad range":     {Protocol: p, Log: log, Allow: []netip.Prefix{{}}},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
