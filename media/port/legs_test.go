package port

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/bridge"
	"sidetone/media/g711"
	"sidetone/media/srtp"
)

// sunk is a sink that drops everything, so that what is measured is the path
// before recognition.
type sunk struct{ frames int }

func (s *sunk) Frame(*pcm.Frame)              { s.frames++ }
func (s *sunk) Mark(media.Mark)               {}
func (s *sunk) End(media.End, media.LegStats) {}
func legConfig(tb testing.TB) (Config, *sunk) {
	tb.Helper()
	c, err := g711.New(g711.MuLaw)
	if err != nil {
		tb.Fatal(err)
	}
	s := &sunk{}
	return Config{
		Leg: bridge.Config{Sink: s, Payloads: []bridge.Payload{{Codec: c, Clock: g711.Rate}}},
		Log: slog.New(slog.DiscardHandler),
	}, s
}

// bare is a port without sockets: what take does with a packet.
func bare(tb testing.TB, guard Guard) (*Port, *sunk) {
	tb.Helper()
	cfg, s := legConfig(tb)
	leg, err := bridge.New(cfg.Leg)
	if err != nil {
		tb.Fatal(err)
	}
	ctl, err := newControl(RTCP{Off: true})
	if err != nil {
		tb.Fatal(err)
	}
	return &Port{leg: leg, ctl: ctl, guard: guard, requests: make(chan request)}, s
}

func guard(tb testing.TB) Guard {
	tb.Helper()
	key, err := srtp.Parse("1 AES_CM_128_HMAC_SHA1_80 inline:" + testKey)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := srtp.New(srtp.Config{Remote: key})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

var peer = netip.MustParseAddrPort("127.0.0.1:41000")

// TestDoesNotAllocate: what is done for a packet and for a tick allocates
// nothing, protected or not.
func TestDoesNotAllocate(t *testing.T) {
	const n = 2200
	sealed := sealAll(t, n)
	for _, protected := range []bool{false, true} {
		var g Guard
		if protected {
			g = guard(t)
		}
		p, s := bare(t, g)
		plain := make([]byte, maxDatagram)
		now := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
		i := 0
		if a := testing.AllocsPerRun(n-100, func() {
			b := sealed[i]
			if !protected {
				b = rtpPackets(i)
			}
			p.take(b, plain, peer, now)
			p.tick(now)
			now = now.Add(20 * time.Millisecond)
			i++
		}); a != 0 {
			t.Errorf("protected %t: %g allocations per packet", protected, a)
		}
		if s.frames < n-110 {
			t.Errorf("protected %t: %d frames", protected, s.frames)
		}
	}
}

// BenchmarkLegs is R16 and the bridge's target: 1,000 legs of G.711 on one core
// before recognition. "path" is all but the sockets, in the order in which many
// legs' packets arrive; "sockets" sends packets of 20 ms over the loopback in
// real time, an iteration being 20 ms (-benchtime 500x), and counts the
// receivers' processor time.
func BenchmarkLegs(b *testing.B) {
	for _, protected := range []bool{false, true} {
		b.Run(fmt.Sprintf("path/SRTP=%t", protected), func(b *testing.B) { benchmarkPath(b, protected) })
	}
	for _, legs := range []int{1000, 1500} {
		b.Run(fmt.Sprintf("sockets/R16/legs=%d", legs), func(b *testing.B) { benchmarkSockets(b, legs) })
	}
}

func benchmarkPath(b *testing.B, protected bool) {
	const legs, packets = 1000, 500
	sealed := sealAll(b, packets)
	ports := make([]*Port, legs)
	start := func() {
		for i := range ports {
			var g Guard
			if protected {
				g = guard(b)
			}
			ports[i], _ = bare(b, g)
		}
	}
	start()
	plain := make([]byte, maxDatagram)
	epoch := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	// Processor time, not the clock on the wall: others may use the machine.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b.ReportAllocs()
	b.ResetTimer()
	used := -processor(b, thisThread)
	for i := range b.N {
		round := i / legs % packets
		if i > 0 && i%(legs*packets) == 0 {
			b.StopTimer()
			used += processor(b, thisThread)
			start()
			used -= processor(b, thisThread)
			b.StartTimer()
		}
		d := sealed[round]
		if !protected {
			d = rtpPackets(round)
		}
		now := epoch.Add(time.Duration(round) * 20 * time.Millisecond)
		p := ports[i%legs]
		p.take(d, plain, peer, now)
		p.tick(now)
	}
	used += processor(b, thisThread)
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/packet")
	b.ReportMetric(float64(b.N)/used.Seconds(), "packets/s/core")
	b.ReportMetric(float64(b.N)/used.Seconds()/50, "legs/core")
}

// rtpPackets is rtpPacket without its allocation.
func rtpPackets(i int) []byte { return plainPackets[i] }

var plainPackets = func() [][]byte {
	var all [][]byte
	for i := range 2200 {
		all = append(all, rtpPacket(i))
	}
	return all
}()

// processor is the time that the process, or the thread, has used.
func processor(tb testing.TB, who int) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const thisThread = 1 // RUSAGE_THREAD

func benchmarkSockets(b *testing.B, legs int) {
	p, err := NewPool(PoolConfig{Host: loopback, Rest: -1})
	if err != nil {
		b.Fatal(err)
	}
	ports := make([]*Port, legs)
	for i := range ports {
		cfg, _ := legConfig(b)
		cfg.RTCP.Mux = true
		ports[i] = open(b, p, cfg)
	}
	out, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	// The sender has a thread to itself, whose time does not count.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	raw, err := out.SyscallConn()
	if err != nil {
		b.Fatal(err)
	}
	to := make([]syscall.SockaddrInet4, legs)
	for i, p := range ports {
		to[i] = syscall.SockaddrInet4{Port: int(p.Addr().Port()), Addr: loopback.As4()}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	all, mine := processor(b, syscall.RUSAGE_SELF), processor(b, thisThread)
	b.ResetTimer()
	begin := time.Now()
	if err := raw.Control(func(fd uintptr) {
		for round := range b.N {
			d := rtpPackets(round % len(plainPackets))
			for i := range to {
				// In ten bursts over the 20 ms, as from a busy trunk.
				if i%(legs/10) == 0 {
					due := begin.Add(time.Duration(round)*20*time.Millisecond + time.Duration(i)*20*time.Millisecond/time.Duration(legs))
					wait := syscall.NsecToTimespec(int64(max(0, time.Until(due))))
					_ = syscall.Nanosleep(&wait, nil)
				}
				if err := syscall.Sendto(int(fd), d, 0, &to[i]); err != nil {
					b.Fatal(err)
				}
			}
		}
	}); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	used := processor(b, syscall.RUSAGE_SELF) - all - (processor(b, thisThread) - mine)
	runtime.ReadMemStats(&after)
	time.Sleep(100 * time.Millisecond)
	var received, lost uint64
	for _, p := range ports {
		p.end.CompareAndSwap(nil, &media.End{State: media.Ended, At: time.Now()})
	}
	for _, p := range ports {
		<-p.Done()
		received += p.Stats().Received
		lost += p.Stats().Lost
	}
	packets := float64(b.N * legs)
	b.ReportMetric(float64(used.Nanoseconds())/packets, "cpu-ns/packet")
	b.ReportMetric(float64(legs)*20e6*float64(b.N)/float64(used.Nanoseconds()), "legs/core")
	b.ReportMetric(packets-float64(received), "missing")
	b.ReportMetric(float64(lost), "lost")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/packets, "mallocs/packet")
	b.ReportMetric(packets/b.Elapsed().Seconds(), "packets/s")
	// Below 1 the sender could not keep up, and the figures say nothing.
	b.ReportMetric(float64(b.N)*0.02/b.Elapsed().Seconds(), "pace")
}

// TestMutations is R17 without sockets: what has been a good packet, RTP or
// RTCP, sealed or not, hurts neither the path nor the packets beside it.
func TestMutations(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	sealed := sealAll(t, 1100)
	report := senderReport(t, 7, 160, time.Unix(1, 0))
	for _, protected := range []bool{false, true} {
		t.Run(fmt.Sprintf("R17 SRTP=%t", protected), func(t *testing.T) {
			var g Guard
			if protected {
				g = guard(t)
			}
			p, s := bare(t, g)
			plain := make([]byte, maxDatagram)
			now := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
			const n = 1000
			for i := range n {
				good := sealed[i]
				if !protected {
					good = rtpPackets(i)
				}
				bad := bytes.Clone(good)
				if i%3 == 0 {
					bad = bytes.Clone(report)
				}
				for range rng.IntN(4) + 1 {
					bad[rng.IntN(min(24, len(bad)))] = byte(rng.IntN(256))
				}
				p.take(bad[:rng.IntN(len(bad)+1)], plain, peer, now)
				p.take(good, plain, peer, now)
				p.tick(now)
				now = now.Add(20 * time.Millisecond)
			}
			st := p.Stats()
			if st.Invalid+st.Forged+st.Foreign+st.RTCP+st.Duplicate < n/3 {
				t.Errorf("the bad packets are not counted: %+v", st)
			}
			if protected && (st.Received != n || st.Lost != 0) {
				t.Errorf("packets that were not authentic have done something: %+v", st)
			}
			// Without protection a changed sequence number passes for loss; the
			// audio goes on all the same.
			if s.frames < n*95/100 {
				t.Errorf("%d frames of %d packets", s.frames, n)
			}
		})
	}
}
