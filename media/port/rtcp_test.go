package port

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"sidetone/internal/needs"
	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/srtp"
)

// pair is a sender with a socket for RTP and one for RTCP on the next port.
type pair struct {
	rtp, rtcp *net.UDPConn
}

func newPair(t testing.TB) pair {
	t.Helper()
	for range 50 {
		a, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
		if err != nil {
			t.Fatal(err)
		}
		b, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, localAddr(a).Port()+1)))
		if err == nil {
			t.Cleanup(func() { a.Close(); b.Close() })
			return pair{a, b}
		}
		a.Close()
	}
	t.Fatal("no two ports in a row")
	return pair{}
}

func sendTo(t testing.TB, c *net.UDPConn, b []byte, to netip.AddrPort) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort(b, to); err != nil {
		t.Fatal(err)
	}
}

func next(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), a.Port()+1) }

// rtpPacket is packet number seq of a stream of 20 ms packets.
func rtpPacket(seq int) []byte {
	return append([]byte{0x80, 0, byte(seq >> 8), byte(seq), 0, byte(seq * 160 >> 16), byte(seq * 160 >> 8), byte(seq * 160), 0, 0, 0, 7},
		bytes.Repeat([]byte{0x90}, 160)...)
}

// senderReport says that the stream's timestamp was sampled at wall.
func senderReport(t testing.TB, ssrc, stamp uint32, wall time.Time, more ...rtcp.Packet) []byte {
	t.Helper()
	ntp := uint64(wall.Unix()+2208988800)<<32 | uint64(wall.Nanosecond())<<32/uint64(time.Second)
	b, err := rtcp.Marshal(append([]rtcp.Packet{&rtcp.SenderReport{SSRC: ssrc, NTPTime: ntp, RTPTime: stamp, PacketCount: 1}}, more...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// receiverReport waits for one and takes it apart.
func receiverReport(t testing.TB, c *net.UDPConn) (*rtcp.ReceiverReport, netip.AddrPort) {
	t.Helper()
	buf := make([]byte, 2048)
	c.SetReadDeadline(time.Now().Add(30 * time.Second))
	n, from, err := c.ReadFromUDPAddrPort(buf)
	if err != nil {
		t.Fatalf("no receiver report came: %v", err)
	}
	all, err := rtcp.Unmarshal(buf[:n])
	if err != nil || len(all) != 2 {
		t.Fatalf("%d packets of RTCP, %v", len(all), err)
	}
	if d, ok := all[1].(*rtcp.SourceDescription); !ok || d.Chunks[0].Items[0].Type != rtcp.SDESCNAME {
		t.Errorf("no CNAME follows: %v", all[1])
	}
	return all[0].(*rtcp.ReceiverReport), from
}

func TestReceiverReports(t *testing.T) {
	for _, c := range []struct {
		name string
		rtcp RTCP
		// toRTP: our report must come to the sender's RTP port.
		muxed, toRTP bool
	}{
		{"R14 on the next port", RTCP{}, false, false},
		{"R14 muxed as agreed", RTCP{Mux: true}, true, true},
		{"R14 muxed though not agreed", RTCP{}, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &recorder{}
			cfg := config(t, r)
			cfg.RTCP = c.rtcp
			cfg.RTCP.Interval = 200 * time.Millisecond
			p := open(t, pool(t, 0, 0), cfg)
			s := newPair(t)
			const n = 20
			for i := range n {
				if i != 5 {
					sendTo(t, s.rtp, rtpPacket(i), p.Addr())
				}
			}
			eventually(t, "the packets", func() bool { return p.Stats().Received == n-1 })
			wall := time.Now()
			report := senderReport(t, 7, 10*160, wall, &rtcp.Goodbye{Sources: []uint32{9}})
			if c.muxed {
				sendTo(t, s.rtp, report, p.Addr())
			} else {
				sendTo(t, s.rtcp, report, next(p.Addr()))
			}
			eventually(t, "the sender report", func() bool { return p.Stats().RTCP == 1 })
			socket, from := s.rtcp, next(p.Addr())
			if c.toRTP {
				socket, from = s.rtp, p.Addr()
			}
			// The first report may have left before the sender's came.
			for try := 0; ; try++ {
				rr, at := receiverReport(t, socket)
				if at != from {
					t.Errorf("the report came from %v, want %v", at, from)
				}
				b := rr.Reports[0]
				if b.SSRC != 7 || b.LastSequenceNumber != n-1 || b.TotalLost != 1 {
					t.Errorf("report %+v", b)
				}
				if try == 0 && b.FractionLost != 256/n {
					t.Errorf("fraction lost %d, want %d", b.FractionLost, 256/n)
				}
				if b.LastSenderReport == 0 && try < 20 {
					continue
				}
				ntp := uint64(wall.Unix()+2208988800)<<32 | uint64(wall.Nanosecond())<<32/uint64(time.Second)
				if b.LastSenderReport != uint32(ntp>>16) || b.Delay == 0 || b.Delay > 60<<16 {
					t.Errorf("last sender report %#x after %d, want %#x", b.LastSenderReport, b.Delay, uint32(ntp>>16))
				}
				break
			}
			p.End(media.End{State: media.Ended, At: time.Now()})
			if r.stats.Byes != 1 || r.stats.Invalid != 0 || r.stats.Received != n-1 {
				t.Errorf("R14 stats %+v", r.stats)
			}
			want := wall.Add(-10 * 20 * time.Millisecond)
			if off := r.stats.Origin.Sub(want); off < -20*time.Millisecond || off > 20*time.Millisecond {
				t.Errorf("the leg began at %v by the sender's clock, want %v", r.stats.Origin, want)
			}
		})
	}
}

// TestReportsGoNowhereElse: nobody can have us send to another host, or make us
// believe a report of another's.
func TestReportsGoNowhereElse(t *testing.T) {
	cfg := config(t, &recorder{})
	cfg.RTCP = RTCP{Interval: 40 * time.Millisecond, Peer: netip.MustParseAddrPort("127.0.0.2:9")}
	p := open(t, pool(t, 0, 0), cfg)
	s := newPair(t)
	other, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 3)})
	if err != nil {
		t.Skip("no second address of the loopback to send from")
	}
	defer other.Close()
	sendTo(t, other, senderReport(t, 7, 0, time.Now()), next(p.Addr()))
	sendTo(t, s.rtp, rtpPacket(0), p.Addr())
	eventually(t, "the packet", func() bool { return p.Stats().Received == 1 })
	sendTo(t, other, senderReport(t, 7, 0, time.Now()), next(p.Addr()))
	eventually(t, "the reports", func() bool { return p.Stats().RTCP == 2 })
	rr, _ := receiverReport(t, s.rtcp)
	if rr.Reports[0].LastSenderReport != 0 || !p.Stats().Origin.IsZero() {
		t.Error("a report from another host was believed")
	}
}

// TestRTCPPeer sends reports to where a=rtcp says.
func TestRTCPPeer(t *testing.T) {
	s, elsewhere := newPair(t), newPair(t)
	cfg := config(t, &recorder{})
	cfg.RTCP.Interval = 40 * time.Millisecond
	p := open(t, pool(t, 0, 0), cfg)
	if err := p.Update(Update{Peer: localAddr(elsewhere.rtcp)}); err != nil {
		t.Fatal(err)
	}
	sendTo(t, s.rtp, rtpPacket(0), p.Addr())
	receiverReport(t, elsewhere.rtcp)
}

func TestNoReports(t *testing.T) {
	cfg := config(t, &recorder{})
	cfg.RTCP = RTCP{Off: true, Interval: time.Millisecond}
	p := open(t, pool(t, 0, 0), cfg)
	s := newPair(t)
	sendTo(t, s.rtp, rtpPacket(0), p.Addr())
	sendTo(t, s.rtp, senderReport(t, 7, 0, time.Now()), p.Addr())
	eventually(t, "the packets", func() bool { st := p.Stats(); return st.Received == 1 && st.RTCP == 1 })
	p.Close()
	s.rtp.SetReadDeadline(time.Now().Add(-time.Second))
	if _, _, err := s.rtp.ReadFromUDPAddrPort(make([]byte, 100)); err == nil {
		t.Error("a report was sent")
	}
	// The next port was not taken.
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(next(p.Addr())))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// TestHostileDatagrams is R17: neither socket minds what it is sent.
func TestHostileDatagrams(t *testing.T) {
	key, err := srtp.Parse("1 AES_CM_128_HMAC_SHA1_80 inline:" + testKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, guarded := range []bool{false, true} {
		t.Run(fmt.Sprintf("R17 SRTP=%t", guarded), func(t *testing.T) {
			cfg := config(t, &recorder{})
			if guarded {
				if cfg.Guard, err = srtp.New(srtp.Config{Remote: key, BestEffort: true}); err != nil {
					t.Fatal(err)
				}
			}
			p := open(t, pool(t, 0, 0), cfg)
			s := newPair(t)
			for i, b := range [][]byte{
				{}, {0x80}, make([]byte, 65507), bytes.Repeat([]byte{0x80}, 65507), bytes.Repeat([]byte{0xFF}, 1500),
				{0x80, 200, 0, 0}, {0x80, 200, 0xFF, 0xFF, 0, 0, 0, 7}, {0x9F, 203, 0, 1, 0, 0, 0, 7}, {0x81, 202, 0, 2, 0, 0, 0, 7, 1, 255, 1, 1},
				{0xBF, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 1}, {0x90, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0xBE, 0xDE, 0xFF, 0xFF},
			} {
				sendTo(t, s.rtp, b, p.Addr())
				sendTo(t, s.rtcp, b, next(p.Addr()))
				sendTo(t, s.rtp, rtpPacket(i), p.Addr())
			}
			eventually(t, "the good packets", func() bool { return p.Stats().Received == 11 })
			if st := p.Stats(); st.Lost != 0 || st.Invalid == 0 {
				t.Errorf("guarded %t: stats %+v", guarded, st)
			}
			p.Close()
		})
	}
}

const testKey = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e"

// TestFFmpegSRTP has ffmpeg send SRTP and SRTCP in each suite that it knows.
func TestFFmpegSRTP(t *testing.T) {
	ffmpeg := needs.Program(t, "ffmpeg")
	for _, c := range []struct{ suite, theirs string }{
		{"AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_80"},
		// Under the name of RFC 4568 ffmpeg shortens SRTCP's tags as well, against
		// that RFC (section 6.2); under DTLS's name it does not.
		{"AES_CM_128_HMAC_SHA1_32", "SRTP_AES128_CM_HMAC_SHA1_32"},
	} {
		t.Run(c.suite, func(t *testing.T) {
			key, err := srtp.Choose([]string{"4 " + c.suite + " inline:" + testKey})
			if err != nil {
				t.Fatal(err)
			}
			r := &recorder{}
			cfg := config(t, r)
			if cfg.Guard, err = srtp.New(srtp.Config{Remote: key}); err != nil {
				t.Fatal(err)
			}
			p := open(t, pool(t, 0, 0), cfg)
			out, err := exec.Command(ffmpeg, "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=8000",
				"-af", "asetnsamples=n=160:p=0", "-t", "2", "-c:a", "pcm_mulaw", "-ar", "8000", "-ac", "1", "-f", "rtp",
				"-srtp_out_suite", c.theirs, "-srtp_out_params", testKey, "srtp://"+p.Addr().String()+"?pkt_size=186").CombinedOutput()
			if err != nil {
				t.Fatalf("ffmpeg: %v: %s", err, out)
			}
			eventually(t, "the packets and a report", func() bool { s := p.Stats(); return s.Received >= 100 && s.RTCP > 0 })
			p.End(media.End{State: media.Ended, At: time.Now()})
			if r.stats.Forged != 0 || r.stats.Lost != 0 || r.stats.Invalid != 0 || r.stats.Received != 100 {
				t.Errorf("stats %+v", r.stats)
			}
			if r.stats.Origin.IsZero() {
				t.Error("the sender report told nothing")
			}
			loud := 0
			for _, s := range r.samples {
				if s > 1000 || s < -1000 {
					loud++
				}
			}
			// Two seconds of a tone, of which five samples in six are loud.
			if loud < 2*pcm.Rate*2/3 {
				t.Errorf("%d of %d samples are loud", loud, len(r.samples))
			}
		})
	}
}

// TestGuard: what is not authentic is not heard, and the authentic source may
// move at once.
func TestGuard(t *testing.T) {
	key, err := srtp.Parse("1 AES_CM_128_HMAC_SHA1_80 inline:" + testKey)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := srtp.Parse("1 AES_CM_128_HMAC_SHA1_80 inline:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{3}, 30)))
	if err != nil {
		t.Fatal(err)
	}
	guard, err := srtp.New(srtp.Config{Remote: key, Local: theirs})
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{}
	cfg := config(t, r)
	cfg.RTCP.Interval = 40 * time.Millisecond
	p := open(t, pool(t, 0, 0), cfg)
	if err := p.Update(Update{Guard: guard}); err != nil {
		t.Fatal(err)
	}
	sealed := sealAll(t, 20)
	s, moved := newPair(t), newPair(t)
	for i := range 10 {
		sendTo(t, s.rtp, rtpPacket(i), p.Addr())
		sendTo(t, s.rtp, sealed[i], p.Addr())
		sendTo(t, s.rtp, sealed[i], p.Addr())
	}
	for i := 10; i < 20; i++ {
		sendTo(t, moved.rtp, sealed[i], p.Addr())
	}
	eventually(t, "the packets", func() bool { return p.Stats().Received == 20 })
	st := p.Stats()
	if st.Forged != 10 || st.Duplicate != 10 || st.Lost != 0 || st.SSRCChanges != 0 || st.Foreign != 0 {
		t.Errorf("stats %+v", st)
	}
	// Reports are sealed with our key, and follow the source.
	buf := make([]byte, 500)
	moved.rtcp.SetReadDeadline(time.Now().Add(30 * time.Second))
	n, _, err := moved.rtcp.ReadFromUDPAddrPort(buf)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := srtp.New(srtp.Config{Remote: theirs})
	if err != nil {
		t.Fatal(err)
	}
	plain, _, err := peer.Open(make([]byte, 500), buf[:n], time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rtcp.Unmarshal(plain); err != nil {
		t.Error(err)
	}
	if err := p.Update(Update{Plain: true}); err != nil {
		t.Fatal(err)
	}
	sendTo(t, moved.rtp, rtpPacket(20), p.Addr())
	eventually(t, "a plain packet", func() bool { return p.Stats().Received == 21 })
}

func TestUpdate(t *testing.T) {
	p := open(t, pool(t, 0, 0), config(t, &recorder{}))
	a, b := newPair(t), newPair(t)
	if err := p.Update(Update{Sources: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}); err != nil {
		t.Fatal(err)
	}
	sendTo(t, a.rtp, rtpPacket(0), p.Addr())
	eventually(t, "a packet from where none may come", func() bool { return p.Stats().Foreign == 1 })
	if err := p.Update(Update{Sources: []netip.Addr{}}); err != nil {
		t.Fatal(err)
	}
	sendTo(t, a.rtp, rtpPacket(1), p.Addr())
	eventually(t, "the packet", func() bool { return p.Stats().Received == 1 })
	sendTo(t, b.rtp, rtpPacket(2), p.Addr())
	eventually(t, "a packet of another source", func() bool { return p.Stats().Foreign == 2 })
	if err := p.Relatch(localAddr(b.rtp)); err != nil {
		t.Fatal(err)
	}
	sendTo(t, a.rtp, rtpPacket(3), p.Addr())
	sendTo(t, b.rtp, rtpPacket(4), p.Addr())
	eventually(t, "the other source", func() bool { return p.Stats().SSRCChanges == 1 })
	p.Close()
	if err := p.Update(Update{}); !errors.Is(err, ErrEnded) {
		t.Errorf("after the end: %v", err)
	}
}

// TestRest: a port that was used is left alone for a while.
func TestRest(t *testing.T) {
	base := freeRange(t, 1)
	p, err := NewPool(PoolConfig{Host: loopback, Min: base, Max: base + 1, Rest: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	open(t, p, config(t, &recorder{})).Close()
	_, err = p.Open(config(t, &recorder{}))
	if !errors.Is(err, ErrNoPort) || !strings.Contains(err.Error(), "1 were used just now and rest for 1h0m0s") {
		t.Errorf("error %v", err)
	}
	p.wake(time.Now().Add(time.Hour))
	open(t, p, config(t, &recorder{}))
	if len(p.resting) != 0 || len(p.rests) != 0 {
		t.Errorf("%d ports rest, %d of them known", len(p.resting), len(p.rests))
	}
	p, err = NewPool(PoolConfig{Host: loopback})
	if err != nil {
		t.Fatal(err)
	}
	used := map[netip.AddrPort]bool{}
	for range 50 {
		o := open(t, p, config(t, &recorder{}))
		if used[o.Addr()] {
			t.Fatalf("the kernel gave %v again", o.Addr())
		}
		used[o.Addr()] = true
		o.Close()
	}
}
