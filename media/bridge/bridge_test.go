package bridge

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"

	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/g711"
)

// TestR15Tone plays a tone in packets of 10 to 60 ms.
func TestR15Tone(t *testing.T) {
	for _, law := range []g711.Law{g711.MuLaw, g711.ALaw} {
		for _, samples := range []int{80, 160, 240, 320, 480} {
			r := &recorder{t: t}
			c := &clock{newLeg(t, r, law), epoch}
			s := newSender(t, law)
			s.samples = samples
			seconds := 6 // a multiple of every packet's length
			if samples == 160 {
				seconds = 30
			}
			c.play(s, seconds*8000/samples)
			c.leg.End(media.End{State: media.Ended, At: c.now})
			if len(r.samples) != seconds*pcm.Rate {
				t.Errorf("%v, %d samples a packet: %d samples in %d s", law, samples, len(r.samples), seconds)
			}
			if got := snr(r.samples[320:], pcm.Rate, 440); got < 35 {
				t.Errorf("%v, %d samples a packet: SNR %.1f dB", law, samples, got)
			}
			if got := snr(r.samples[320:], pcm.Rate, 441); got > 10 {
				t.Errorf("a tone of 441 Hz fits as well: %.1f dB", got)
			}
			if r.frames(pcm.Lost|pcm.Inserted) != 0 {
				t.Errorf("%d frames were made up", r.frames(pcm.Lost|pcm.Inserted))
			}
			want := media.LegStats{Received: uint64(seconds * 8000 / samples)}
			if r.stats != want {
				t.Errorf("stats %+v, want %+v", r.stats, want)
			}
			if !slices.Equal(r.kinds(), []media.MarkKind{media.MarkStarted}) || !r.marks[0].Wall.Equal(epoch) {
				t.Errorf("marks %+v", r.marks)
			}
		}
	}
}

// TestLength runs half a minute of a bad network: the audio must not drift.
func TestLength(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	r := &recorder{t: t}
	leg := newLeg(t, r, g711.MuLaw)
	s := newSender(t, g711.MuLaw)
	type arrival struct {
		at time.Time
		b  []byte
	}
	var all []arrival
	lost := uint64(0)
	for i := range 1500 {
		b := s.packet(nil)
		if i > 0 && i < 1499 && rng.IntN(20) == 0 {
			lost++
			continue
		}
		at := epoch.Add(time.Duration(i)*20*time.Millisecond + time.Duration(rng.IntN(15000))*time.Microsecond)
		all = append(all, arrival{at, b})
	}
	slices.SortFunc(all, func(a, b arrival) int { return a.at.Compare(b.at) })
	tick := epoch
	for _, a := range all {
		for tick.Before(a.at) {
			leg.Tick(tick)
			tick = tick.Add(20 * time.Millisecond)
		}
		leg.Push(a.b, here, a.at)
	}
	leg.End(media.End{At: tick})
	if off := len(r.samples) - 30*pcm.Rate; off < -320 || off > 320 {
		t.Errorf("%d samples too many in 30 s", off)
	}
	if r.stats.Lost != lost || r.stats.Received != 1500-lost {
		t.Errorf("stats %+v; %d were lost", r.stats, lost)
	}
	if n := uint64(r.frames(pcm.Lost)); n < lost*9/10 || n > lost+5 || n != r.stats.ConcealedFrames {
		t.Errorf("%d frames concealed for %d packets lost", n, lost)
	}
	if r.stats.Jitter < time.Millisecond || r.stats.Jitter > 15*time.Millisecond {
		t.Errorf("jitter %v", r.stats.Jitter)
	}
}

// TestBadInput sends what does not belong between good packets. None of it may
// change the audio.
func TestBadInput(t *testing.T) {
	rtcp := []byte{0x80, 200, 0, 6}
	rtcp = append(rtcp, make([]byte, 24)...)
	huge := make([]byte, 65507)
	huge[0] = 0x80
	for _, c := range []struct {
		name string
		bad  func(s *sender) []byte
		from netip.AddrPort
		want media.LegStats
	}{
		{"nothing", func(*sender) []byte { return nil }, here, media.LegStats{Invalid: 1}},
		{"a stray text", func(*sender) []byte { return []byte("GET / HTTP/1.1\r\n\r\n") }, here, media.LegStats{Invalid: 1}},
		{"STUN", func(*sender) []byte { return append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42}, make([]byte, 12)...) }, here, media.LegStats{Invalid: 1}},
		{"truncated header", func(s *sender) []byte { b := s.packet(nil)[:11]; s.rewind(); return b }, here, media.LegStats{Invalid: 1}},
		{"truncated CSRC list", func(s *sender) []byte { b := s.packet(nil)[:20]; b[0] |= 15; s.rewind(); return b }, here, media.LegStats{Invalid: 1}},
		{"extension beyond the end", func(s *sender) []byte { b := s.packet(nil); b[0] |= 0x10; b[14] = 0xFF; s.rewind(); return b }, here, media.LegStats{Invalid: 1}},
		{"padding beyond the beginning", func(s *sender) []byte { b := s.packet(nil); b[0] |= 0x20; b[len(b)-1] = 255; s.rewind(); return b }, here, media.LegStats{Invalid: 1}},
		{"RTP of the wrong version", func(s *sender) []byte { b := s.packet(nil); b[0] = 0x40; s.rewind(); return b }, here, media.LegStats{Invalid: 1}},
		{"a datagram of the largest size", func(*sender) []byte { return huge }, here, media.LegStats{Foreign: 1}},
		{"RTCP", func(*sender) []byte { return rtcp }, here, media.LegStats{RTCP: 1}},
		{"RTCP from elsewhere", func(*sender) []byte { return rtcp }, there, media.LegStats{RTCP: 1}},
		{"an empty receiver report", func(*sender) []byte { return rtcp[:8] }, here, media.LegStats{RTCP: 1}},
		{"wrong payload type", func(s *sender) []byte { return s.other(18, 1, 2, 3) }, here, media.LegStats{Invalid: 1, Received: 1}},
		{"padding alone", func(s *sender) []byte { b := s.other(0, 0, 0, 0, 4); b[0] |= 0x20; return b }, here, media.LegStats{Invalid: 1, Received: 1}},
		{"empty payload", func(s *sender) []byte { return s.other(0) }, here, media.LegStats{Invalid: 1, Received: 1}},
		{"too large a payload", func(s *sender) []byte { return s.other(0, make([]byte, 1461)...) }, here, media.LegStats{Invalid: 1, Received: 1}},
		{"a short event", func(s *sender) []byte { return s.other(101, 1, 2) }, here, media.LegStats{Invalid: 1, Received: 1}},
		{"comfort noise", func(s *sender) []byte { return s.other(13, 70) }, here, media.LegStats{Received: 1, Noise: 1, NoiseLevel: -70}},
		{"another address", func(s *sender) []byte { b := s.packet(nil); s.rewind(); return b }, there, media.LegStats{Foreign: 1}},
		{"another SSRC", func(s *sender) []byte { b := s.packet(nil); b[8] ^= 1; s.rewind(); return b }, here, media.LegStats{Foreign: 1}},
		{"a wild sequence number", func(s *sender) []byte { b := s.packet(nil); b[2] ^= 0x80; s.rewind(); return b }, here, media.LegStats{Invalid: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &recorder{t: t}
			k := &clock{newLeg(t, r, g711.MuLaw), epoch}
			s := newSender(t, g711.MuLaw)
			k.play(s, 50)
			k.leg.Push(c.bad(s), c.from, k.now)
			k.play(s, 50)
			k.leg.End(media.End{At: k.now})
			if len(r.samples) != 2*pcm.Rate || r.frames(pcm.Lost|pcm.Inserted) != 0 || snr(r.samples[320:], pcm.Rate, 440) < 35 {
				t.Errorf("%d samples, %d frames made up, SNR %.1f dB", len(r.samples), r.frames(pcm.Lost|pcm.Inserted), snr(r.samples[320:], pcm.Rate, 440))
			}
			c.want.Received += 100
			if r.stats != c.want {
				t.Errorf("stats %+v, want %+v", r.stats, c.want)
			}
			if len(r.marks) != 1 {
				t.Errorf("marks %+v", r.marks)
			}
		})
	}
}

// TestHeaderParts sends packets with everything that RFC 3550 allows around a
// payload.
func TestHeaderParts(t *testing.T) {
	r := &recorder{t: t}
	c := &clock{newLeg(t, r, g711.MuLaw), epoch}
	s := newSender(t, g711.MuLaw)
	for i := range 100 {
		c.leg.Push(s.packet(func(p *rtp.Packet) {
			switch i % 5 {
			case 1:
				p.CSRC = []uint32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
			case 2:
				p.Padding, p.PaddingSize = true, 7
				p.Header.PaddingSize = 7
			case 3:
				if err := p.SetExtension(1, []byte{0x80 | 30}); err != nil { // audio level, one byte
					t.Fatal(err)
				}
			case 4:
				if err := p.SetExtensionWithProfile(200, []byte("0123456789abcdefghij"), 0x1000); err != nil {
					t.Fatal(err)
				}
			}
		}), here, c.now)
		c.pass(20 * time.Millisecond)
	}
	c.leg.End(media.End{At: c.now})
	if r.stats.Invalid != 0 || len(r.samples) != 2*pcm.Rate || snr(r.samples[320:], pcm.Rate, 440) < 35 {
		t.Errorf("%d samples, SNR %.1f dB, stats %+v", len(r.samples), snr(r.samples[320:], pcm.Rate, 440), r.stats)
	}
}

func TestBeforeTheFirstPacket(t *testing.T) {
	r := &recorder{t: t}
	c := &clock{newLeg(t, r, g711.MuLaw), epoch}
	s := newSender(t, g711.MuLaw)
	c.pass(time.Second)
	c.leg.Push(s.other(13, 60), here, c.now)
	c.leg.Push(s.other(96, 60), there, c.now)
	c.pass(time.Second)
	if len(r.samples) != 0 || len(r.marks) != 0 || !c.leg.LastPacket().IsZero() {
		t.Errorf("%d samples, marks %v, before any audio", len(r.samples), r.marks)
	}
	c.play(s, 10)
	if len(r.samples) != 3200 || r.marks[0].At != 0 || !r.marks[0].Wall.Equal(epoch.Add(2*time.Second)) {
		t.Errorf("%d samples, marks %v", len(r.samples), r.marks)
	}
	if got := c.leg.Stats(); got.Invalid != 2 || got.Received != 10 {
		t.Errorf("stats %+v", got)
	}
}

func TestEnd(t *testing.T) {
	r := &recorder{t: t}
	k := &clock{newLeg(t, r, g711.MuLaw), epoch}
	s := newSender(t, g711.MuLaw)
	k.play(s, 10)
	s.packet(nil) // lost
	k.leg.Push(s.packet(nil), here, k.now)
	before := len(r.samples)
	end := media.End{State: media.TimedOut, Reason: "test", At: k.now}
	k.leg.End(end)
	if len(r.samples) != before+2*320 {
		t.Errorf("the end handed on %d samples, want those behind the gap and the gap", len(r.samples)-before)
	}
	k.leg.End(media.End{State: media.Ended})
	k.leg.Push(s.packet(nil), here, k.now)
	k.pass(10 * time.Second)
	if len(r.ends) != 1 || r.ends[0] != end {
		t.Errorf("ends %+v", r.ends)
	}
	if r.stats.Lost != 1 || r.stats.Received != 11 || r.stats.ConcealedFrames != 1 {
		t.Errorf("stats %+v", r.stats)
	}
}

func TestString(t *testing.T) {
	got := newLeg(t, &recorder{t: t}, g711.ALaw).String()
	if want := "RTP(8, 8000 Hz) -> jitter -> PCMA -> resample(8000->16000) -> frames(16000 Hz, 20ms)"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// odd has a sample rate at which 20 ms are no whole number of samples.
type odd struct{ *g711.Codec }

func (odd) Rate() int { return 7999 }

func TestNewRefuses(t *testing.T) {
	mu := newCodec(t, g711.MuLaw)
	for _, c := range []struct {
		edit func(*Config)
		want string
	}{
		{func(c *Config) { c.Sink = nil }, "sink"},
		{func(c *Config) { c.Payloads = nil }, "codec"},
		{func(c *Config) { c.Payloads[0].Codec = nil }, "codec"},
		{func(c *Config) { c.Payloads[0].Type = 13 }, "payload type 13"},
		{func(c *Config) { c.Payloads[0].Type = 19 }, "payload type 19"},
		{func(c *Config) { c.Payloads[0].Type = 72 }, "payload type 72"},
		{func(c *Config) { c.Payloads[0].Type = 128 }, "payload type 128"},
		{func(c *Config) { c.Payloads = append(c.Payloads, c.Payloads[0]) }, "0 stands for two codecs"},
		{func(c *Config) { c.EventTypes = []uint8{101, 0} }, "payload type 0 for telephone events"},
		{func(c *Config) { c.EventTypes = []uint8{13} }, "payload type 13 for telephone events"},
		{func(c *Config) { c.EventTypes = []uint8{128} }, "payload type 128 for telephone events"},
		{func(c *Config) { c.Relatch = -1 }, "relatch"},
		{func(c *Config) { c.Payloads[0].Clock = 0 }, "clock"},
		{func(c *Config) { c.Payloads[0].Codec = odd{mu} }, "7999"},
		{func(c *Config) { c.Payloads = append(c.Payloads, Payload{96, odd{mu}, 8000}) }, "payload type 96: jitter: sample rate 7999"},
		{func(c *Config) { c.MinDepth = time.Hour }, "depth"},
	} {
		cfg := Config{Sink: &recorder{t: t}, Payloads: []Payload{{Codec: mu, Clock: 8000}}}
		c.edit(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
}

// counter is a sink that allocates nothing.
type counter struct{ frames, marks int }

func (c *counter) Frame(*pcm.Frame)              { c.frames++ }
func (c *counter) Mark(media.Mark)               { c.marks++ }
func (c *counter) End(media.End, media.LegStats) {}

func TestDoesNotAllocate(t *testing.T) {
	sink := &counter{}
	leg := newLeg(t, sink, g711.MuLaw)
	s := newSender(t, g711.MuLaw)
	var packets [][]byte
	for i := range 3000 {
		packets = append(packets, s.packet(func(p *rtp.Packet) {
			if i%3 == 0 {
				if err := p.SetExtension(1, []byte{1}); err != nil {
					t.Fatal(err)
				}
			}
		}))
	}
	i := 0
	now := epoch
	leg.Push(packets[0], here, now) // room for extensions is made once
	if n := testing.AllocsPerRun(2500, func() {
		i++
		now = now.Add(20 * time.Millisecond)
		switch {
		case i%50 == 0: // lost
		case i%50 == 1: // a stranger
			leg.Push(packets[i], there, now)
		case i%50 == 2: // no RTP
			leg.Push(packets[i][:5], here, now)
		default:
			leg.Push(packets[i], here, now)
		}
		leg.Tick(now)
	}); n != 0 {
		t.Errorf("%g allocations per packet", n)
	}
	if sink.frames < 2400 {
		t.Errorf("only %d frames", sink.frames)
	}
}

// FuzzPush throws datagrams at a leg, cut from one input.
func FuzzPush(f *testing.F) {
	s := newSender(f, g711.MuLaw)
	s.samples = 40
	f.Add(slices.Concat([]byte{52}, s.packet(nil), []byte{52}, s.packet(nil), []byte{16}, s.other(101, 5, 10, 0, 160)))
	ext := s.packet(func(p *rtp.Packet) {
		p.CSRC = []uint32{9}
		p.Padding, p.PaddingSize = true, 4
		p.Header.PaddingSize = 4
		if err := p.SetExtension(3, []byte{1, 2, 3}); err != nil {
			f.Fatal(err)
		}
	})
	f.Add(append([]byte{byte(len(ext))}, ext...))
	g722 := s.other(9, bytes.Repeat([]byte{0xFA}, 40)...)
	f.Add(slices.Concat([]byte{52}, s.packet(nil), []byte{52}, g722, []byte{15}, s.other(111, 0xF8, 0xFF, 0xFE), []byte{52}, s.packet(nil)))
	f.Add([]byte{13, 0x80, 13, 0, 1, 0, 0, 0, 0, 0, 0, 0xCA, 0xFE, 70, 8, 0x81, 201, 0, 1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := &recorder{t: t}
		leg := legOf(t, r, payload(t, 0, "PCMU"), payload(t, 8, "PCMA"), payload(t, 9, "G722"), payload(t, 111, "opus"))
		now, count := epoch, uint64(0)
		for in = in[:min(len(in), 2000)]; len(in) > 1; {
			n := min(int(in[0]), len(in)-1)
			from := here
			if in[0]&0x80 != 0 {
				from = there
			}
			leg.Push(in[1:1+n], from, now)
			count++
			now = now.Add(time.Duration(in[0]) * 3 * time.Millisecond)
			leg.Tick(now)
			in = in[1+n:]
		}
		leg.End(media.End{At: now})
		if len(r.ends) != 1 {
			t.Fatal("no end")
		}
		// A second of forged timestamp per packet is all that is believed.
		if limit := now.Sub(epoch) + time.Duration(count+1)*1200*time.Millisecond; pcm.Duration(int64(len(r.samples))) > limit {
			t.Fatalf("%d samples in %v", len(r.samples), now.Sub(epoch))
		}
		s := r.stats
		if seen := s.Received + s.Duplicate + s.Foreign + s.RTCP + s.Invalid + s.Late; seen < count {
			t.Fatalf("%d datagrams, stats %+v", count, s)
		}
	})
}

func BenchmarkPush(b *testing.B) {
	leg := newLeg(b, &counter{}, g711.MuLaw)
	s := newSender(b, g711.MuLaw)
	packet := s.packet(nil)
	now := epoch
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		binary.BigEndian.PutUint16(packet[2:], uint16(i))
		binary.BigEndian.PutUint32(packet[4:], uint32(i*160))
		leg.Push(packet, here, now)
		leg.Tick(now)
		now = now.Add(20 * time.Millisecond)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
}
