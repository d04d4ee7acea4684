package rtpfork

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"

	"sidetone/media"
	"sidetone/media/bridge"
	"sidetone/media/codec"
)

func TestLegsComeAndGo(t *testing.T) {
	m := manager(t, nil)
	c := mustOpen(t, m, "a")
	late := &recorder{}
	spec := LegSpec{Leg: media.Leg{ID: "supervisor"}}
	addr, err := c.AddLeg(spec, late)
	if err != nil {
		t.Fatal(err)
	}
	if a := c.Addrs(); len(a) != 3 || a[2] != addr {
		t.Errorf("addresses %v, the new one %v", a, addr)
	}
	c.send(t, 2, 0, 10)
	if _, err := c.AddLeg(spec, &recorder{}); !errors.Is(err, media.ErrDuplicate) {
		t.Errorf("the same leg again: %v", err)
	}
	gone := media.End{State: media.Ended, Reason: "left"}
	if err := c.RemoveLeg("supervisor", gone); err != nil {
		t.Fatal(err)
	}
	if told := late.told(); len(told) != 1 || told[0] != gone || late.stats.Received != 10 {
		t.Errorf("the leg was told %+v after %+v", told, late.stats)
	}
	if err := c.RemoveLeg("supervisor", gone); !errors.Is(err, ErrNoLeg) {
		t.Errorf("the leg is removed again: %v", err)
	}
	// Its name is free again.
	again := &recorder{}
	if _, err := c.AddLeg(spec, again); err != nil {
		t.Fatal(err)
	}
	for i := range maxLegs - 3 {
		if _, err := c.AddLeg(LegSpec{Leg: media.Leg{ID: string(rune('a' + i))}}, &recorder{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.AddLeg(LegSpec{Leg: media.Leg{ID: "one more"}}, &recorder{}); err == nil {
		t.Error("there is no bound of legs")
	}
	end := media.End{State: media.Ended, Reason: "hung up", At: time.Now()}
	c.End(end)
	c.check(t, media.Ended, "hung up")
	if told := again.told(); len(told) != 1 || told[0] != end {
		t.Errorf("the late leg was told %+v", told)
	}
	if _, err := c.AddLeg(LegSpec{Leg: media.Leg{ID: "too late"}}, late); !errors.Is(err, ErrClosed) {
		t.Errorf("a leg after the end: %v", err)
	}
	if err := c.RemoveLeg("agent", gone); !errors.Is(err, ErrNoLeg) {
		t.Errorf("removed after the end: %v", err)
	}
}

// TestCallWithoutLegs goes on until the time for silence is over, and then ends
// for no other reason.
func TestCallWithoutLegs(t *testing.T) {
	m := manager(t, func(c *Config) { c.SilenceTimeout = 300 * time.Millisecond })
	c := mustOpen(t, m, "a")
	c.send(t, 0, 0, 5)
	for _, id := range []string{"agent", "customer"} {
		if err := c.RemoveLeg(id, media.End{State: media.Ended}); err != nil {
			t.Fatal(err)
		}
	}
	<-c.Done()
	if e := <-c.ends; e.State != media.TimedOut || e.Reason != "no packet on any leg for 300ms" {
		t.Errorf("ended %+v", e)
	}
}

// TestLegsRaceWithTheEnd adds and removes legs while the call ends: every sink
// that was taken has ended before onEnd is called.
func TestLegsRaceWithTheEnd(t *testing.T) {
	m := manager(t, nil)
	for range 5 {
		var mu sync.Mutex
		var taken []*recorder
		ended := make(chan struct{})
		s, err := m.Open(media.Call{ID: "a"}, []LegSpec{{Leg: media.Leg{ID: "x"}}}, func(int) media.LegSink { return &recorder{} }, func(media.End) {
			mu.Lock()
			defer mu.Unlock()
			for _, r := range taken {
				if len(r.told()) != 1 {
					t.Errorf("a leg was told %v before the call's end", r.told())
				}
			}
			close(ended)
		})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				spec := LegSpec{Leg: media.Leg{ID: string(rune('a' + i))}}
				for {
					r := &recorder{}
					mu.Lock()
					_, err := s.AddLeg(spec, r)
					if err == nil {
						taken = append(taken, r)
					}
					mu.Unlock()
					if err != nil || s.RemoveLeg(spec.Leg.ID, media.End{State: media.Ended}) != nil {
						return
					}
				}
			})
		}
		time.Sleep(20 * time.Millisecond)
		s.End(media.End{State: media.Ended})
		wg.Wait()
		<-ended
	}
}

// stream sends packets of one payload type until ok, and returns how many.
func stream(t *testing.T, to netip.AddrPort, pt uint8, step uint32, size int, ok func() bool) {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stop := time.Now().Add(30 * time.Second)
	for i := 0; !ok(); i++ {
		b, err := (&rtp.Packet{Header: rtp.Header{
			Version: 2, PayloadType: pt, SequenceNumber: uint16(i), Timestamp: uint32(i) * step, SSRC: uint32(pt),
		}, Payload: make([]byte, size)}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
		if time.Now().After(stop) {
			t.Fatalf("payload type %d is not heard", pt)
		}
	}
}

// TestDetect: Asterisk was asked for one codec and sends another (2.3).
func TestDetect(t *testing.T) {
	for _, c := range []struct {
		name string
		pt   uint8
		step uint32
		size int
	}{
		{"ulaw", 0, 160, 160},
		{"alaw", 8, 160, 160},
		{"g722", 9, 160, 160},
		{"slin16", 118, 320, 640},
		{"slin", 99, 160, 320},
		{"slin32", 127, 640, 1280},
		{"opus", 107, 960, 50},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := manager(t, nil)
			r := &recorder{}
			s, err := m.Open(media.Call{ID: "a"}, []LegSpec{{Leg: media.Leg{ID: "x"}, Format: codec.Format{Encoding: "L16", Clock: 24000}, PayloadType: 100, Detect: true}},
				func(int) media.LegSink { return r }, func(media.End) {})
			if err != nil {
				t.Fatal(err)
			}
			stream(t, s.Addrs()[0], c.pt, c.step, c.size, func() bool { return s.Stats()[0].Received >= 20 })
			s.End(media.End{State: media.Ended})
			if r.frames == 0 {
				t.Error("nothing is heard")
			}
		})
	}
	t.Run("off", func(t *testing.T) {
		m := manager(t, nil)
		c := mustOpen(t, m, "a")
		stream(t, c.Addrs()[0], 118, 320, 640, func() bool { return c.Stats()[0].Invalid >= 20 })
		if st := c.Stats()[0]; st.Received != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// packets makes n packets as bytes.
func packets(pt uint8, step uint32, sizes ...int) [][]byte {
	var all [][]byte
	stamp := uint32(0xFFFFFF00) // wraps soon
	for i, size := range sizes {
		b := make([]byte, rtpHeader+size)
		b[0], b[1] = 0x80, pt
		binary.BigEndian.PutUint16(b[2:], uint16(0xFFFF+i))
		binary.BigEndian.PutUint32(b[4:], stamp)
		stamp += step
		all = append(all, b)
	}
	return all
}

func TestDetector(t *testing.T) {
	known := []bridge.Payload{{Type: 0}, {Type: 8}}
	for _, c := range []struct {
		name    string
		packets [][]byte
		want    string
	}{
		{"L16 at 16 kHz", packets(118, 320, 640, 640, 640), "L16/16000"},
		{"L16 at 8 kHz", packets(97, 160, 320, 320, 320), "L16/8000"},
		{"L16 at 32 kHz", packets(97, 640, 1280, 1280, 1280), "L16/32000"},
		{"L16 that fits into no packet", packets(97, 960, 1920, 1920, 1920), ""},
		{"with a marker", func() [][]byte { p := packets(118, 320, 640, 640, 640); p[0][1] |= 0x80; return p }(), "L16/16000"},
		{"G.711 of a dynamic type", packets(96, 240, 240, 240, 240), "PCMU"},
		{"Opus", packets(107, 960, 71, 9, 120), "opus"},
		{"too few", packets(118, 320, 640, 640), ""},
		{"known", packets(8, 160, 160, 160, 160, 160), ""},
		{"events", packets(101, 0, 4, 4, 4, 4), ""},
		{"events of another type", packets(96, 0, 4, 4, 4, 4), ""},
		{"comfort noise", packets(13, 160, 1, 1, 1, 1), ""},
		{"G.729", packets(18, 160, 20, 20, 20, 20), ""},
		{"sizes that make no sense", packets(118, 320, 641, 641, 641, 641), ""},
		{"a clock that stands", packets(118, 0, 640, 640, 640, 640), ""},
		{"with gaps", func() [][]byte { p := packets(118, 320, 640, 640, 640, 640, 640); return [][]byte{p[0], p[2], p[4]} }(), ""},
		{"RTCP", packets(200, 320, 640, 640, 640, 640), ""},
		{"extended", func() [][]byte {
			p := packets(118, 320, 640, 640, 640, 640)
			for _, b := range p {
				b[0] |= 0x10
			}
			return p
		}(), ""},
		{"cut off", [][]byte{{}, {0x80}, make([]byte, 12)}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got string
			d := newDetector(known, func(_ uint8, f codec.Format) { got += f.String() })
			for _, p := range c.packets {
				plain, authentic, err := d.Open(nil, p, time.Time{})
				if len(plain) != len(p) || authentic || err != nil {
					t.Error("the packet is changed")
				}
			}
			if got != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

// TestDetectorIsBounded: garbage makes it find no more than maxFound.
func TestDetectorIsBounded(t *testing.T) {
	n := 0
	d := newDetector(nil, func(_ uint8, f codec.Format) {
		n++
		if _, err := codec.New(f); err != nil {
			t.Error(err)
		}
	})
	r := rand.New(rand.NewPCG(1, 1))
	for pt := range uint8(128) {
		for _, p := range packets(pt, 320, 640, 640, 640) {
			d.look(p)
		}
		junk := make([]byte, r.IntN(100))
		for i := range junk {
			junk[i] = byte(r.IntN(256))
		}
		d.look(junk)
	}
	if n != maxFound {
		t.Errorf("found %d payload types, want %d", n, maxFound)
	}
}

func TestDetectorDoesNotAllocate(t *testing.T) {
	d := newDetector([]bridge.Payload{{Type: 0}}, func(uint8, codec.Format) {})
	p := packets(0, 160, 160)[0]
	q := packets(99, 160, 163)[0]
	if n := testing.AllocsPerRun(100, func() {
		d.Open(nil, p, time.Time{})
		d.Open(nil, q, time.Time{})
	}); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}

func FuzzDetector(f *testing.F) {
	for _, p := range packets(118, 320, 640, 640) {
		f.Add(p, uint16(3), uint32(320))
	}
	f.Add([]byte{0x80, 0xC8}, uint16(1), uint32(0))
	f.Fuzz(func(t *testing.T, b []byte, steps uint16, step uint32) {
		d := newDetector(nil, func(pt uint8, f codec.Format) {
			if _, err := codec.New(f); err != nil || pt > 127 {
				t.Errorf("found %d, %v: %v", pt, f, err)
			}
		})
		for i := range min(steps, 10) {
			d.look(b)
			if len(b) >= rtpHeader {
				binary.BigEndian.PutUint16(b[2:], binary.BigEndian.Uint16(b[2:])+1)
				binary.BigEndian.PutUint32(b[4:], uint32(i)*step)
			}
		}
	})
}
