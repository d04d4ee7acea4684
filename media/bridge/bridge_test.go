package bridge

import (
	"encoding/binary"
	"math"
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

var (
	epoch = time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	here  = netip.MustParseAddrPort("127.0.0.1:41000")
	there = netip.MustParseAddrPort("127.0.0.1:41002")
)

// recorder is a sink that keeps everything.
type recorder struct {
	t       testing.TB
	samples []int16
	flags   []pcm.Flags
	marks   []media.Mark
	ends    []media.End
	stats   media.LegStats
}

func (r *recorder) Frame(f *pcm.Frame) {
	if f.Start != int64(len(r.samples)) {
		r.t.Fatalf("frame starts at %d, want %d", f.Start, len(r.samples))
	}
	if len(r.ends) > 0 {
		r.t.Fatal("a frame after the end")
	}
	r.samples = append(r.samples, f.Samples[:]...)
	r.flags = append(r.flags, f.Flags)
}

func (r *recorder) Mark(m media.Mark) {
	if m.At != int64(len(r.samples)) {
		r.t.Fatalf("mark %d at %d between frames at %d", m.Kind, m.At, len(r.samples))
	}
	r.marks = append(r.marks, m)
}

func (r *recorder) End(e media.End, s media.LegStats) {
	r.ends = append(r.ends, e)
	r.stats = s
}

func (r *recorder) kinds() []media.MarkKind {
	var k []media.MarkKind
	for _, m := range r.marks {
		k = append(k, m.Kind)
	}
	return k
}

func (r *recorder) frames(f pcm.Flags) int {
	n := 0
	for _, g := range r.flags {
		if g&f != 0 {
			n++
		}
	}
	return n
}

func codec(t testing.TB, law g711.Law) *g711.Codec {
	t.Helper()
	c, err := g711.New(law)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newLeg(t testing.TB, sink media.LegSink, law g711.Law) *Leg {
	t.Helper()
	l, err := New(Config{Sink: sink, Codec: codec(t, law), Clock: g711.Rate, Rate: g711.Rate, PayloadType: law.PayloadType()})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// sender makes packets of a tone.
type sender struct {
	t       testing.TB
	codec   *g711.Codec
	ssrc    uint32
	seq     uint16
	ts      uint32
	pos     int
	samples int
	hz      float64
}

func newSender(t testing.TB, law g711.Law) *sender {
	return &sender{t: t, codec: codec(t, law), ssrc: 0xCAFE, seq: 65530, ts: math.MaxUint32 - 1000, samples: 160, hz: 440}
}

func (s *sender) payload() []byte {
	pcm := make([]int16, s.samples)
	for i := range pcm {
		pcm[i] = int16(math.RoundToEven(10000 * math.Sin(2*math.Pi*s.hz*float64(s.pos+i)/8000)))
	}
	b := make([]byte, s.samples)
	if _, err := s.codec.Encode(b, pcm); err != nil {
		s.t.Fatal(err)
	}
	return b
}

// packet makes the next packet of the tone; edit may change it.
func (s *sender) packet(edit func(*rtp.Packet)) []byte {
	p := &rtp.Packet{Header: rtp.Header{
		Version: 2, PayloadType: s.codec.Law().PayloadType(), SequenceNumber: s.seq, Timestamp: s.ts, SSRC: s.ssrc,
	}, Payload: s.payload()}
	s.seq++
	s.ts += uint32(s.samples)
	s.pos += s.samples
	if edit != nil {
		edit(p)
	}
	b, err := p.Marshal()
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// other makes a packet of another kind, which does not move the tone on.
func (s *sender) other(pt uint8, payload ...byte) []byte {
	p := &rtp.Packet{Header: rtp.Header{
		Version: 2, PayloadType: pt, SequenceNumber: s.seq, Timestamp: s.ts, SSRC: s.ssrc,
	}, Payload: payload}
	s.seq++
	b, err := p.Marshal()
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// wait lets the sender be silent.
func (s *sender) wait(d time.Duration) {
	n := int(d * 8000 / time.Second)
	s.ts += uint32(n)
	s.pos += n
}

// clock drives a leg in simulated time.
type clock struct {
	leg *Leg
	now time.Time
}

// play sends n packets of the sender, each when its audio would be complete.
func (c *clock) play(s *sender, n int) {
	for range n {
		c.leg.Push(s.packet(nil), here, c.now)
		c.pass(time.Duration(s.samples) * time.Second / 8000)
	}
}

func (c *clock) pass(d time.Duration) {
	for end := c.now.Add(d); c.now.Before(end); {
		c.now = c.now.Add(min(20*time.Millisecond, end.Sub(c.now)))
		c.leg.Tick(c.now)
	}
}

// snr compares samples with the tone of hz that fits them best.
func snr(x []int16, rate int, hz float64) float64 {
	var ss, cc, sc, sx, cx float64
	for i, v := range x {
		s, c := math.Sincos(2 * math.Pi * hz * float64(i) / float64(rate))
		ss, cc, sc = ss+s*s, cc+c*c, sc+s*c
		sx, cx = sx+s*float64(v), cx+c*float64(v)
	}
	det := ss*cc - sc*sc
	a, b := (sx*cc-cx*sc)/det, (cx*ss-sx*sc)/det
	var signal, rest float64
	for i, v := range x {
		s, c := math.Sincos(2 * math.Pi * hz * float64(i) / float64(rate))
		y := a*s + b*c
		signal += y * y
		rest += (float64(v) - y) * (float64(v) - y)
	}
	return 10 * math.Log10(signal/rest)
}

func TestTone(t *testing.T) {
	for _, law := range []g711.Law{g711.MuLaw, g711.ALaw} {
		for _, samples := range []int{80, 160, 240, 320, 480} {
			r := &recorder{t: t}
			c := &clock{newLeg(t, r, law), epoch}
			s := newSender(t, law)
			s.samples = samples
			const seconds = 30
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
		{"comfort noise", func(s *sender) []byte { return s.other(13, 70) }, here, media.LegStats{Received: 1}},
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

// rewind takes a packet back that was made to be spoilt.
func (s *sender) rewind() {
	s.seq--
	s.ts -= uint32(s.samples)
	s.pos -= s.samples
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

// TestSilence: the sender suppresses silence, with and without comfort noise.
func TestSilence(t *testing.T) {
	for _, noise := range []bool{false, true} {
		r := &recorder{t: t}
		c := &clock{newLeg(t, r, g711.MuLaw), epoch}
		s := newSender(t, g711.MuLaw)
		c.play(s, 50)
		for range 50 {
			if noise {
				c.leg.Push(s.other(13, 65), here, c.now)
			}
			s.wait(100 * time.Millisecond)
			c.pass(100 * time.Millisecond)
			if behind := c.now.Sub(epoch) - pcm.Duration(int64(len(r.samples))); behind > 80*time.Millisecond {
				t.Fatalf("in silence frames are %v behind", behind)
			}
		}
		c.play(s, 50)
		c.leg.End(media.End{At: c.now})
		if len(r.samples) != 7*pcm.Rate || r.frames(pcm.Inserted) != 250 || r.frames(pcm.Lost) != 0 {
			t.Errorf("%d samples, %d frames inserted, %d lost", len(r.samples), r.frames(pcm.Inserted), r.frames(pcm.Lost))
		}
		for i, v := range r.samples[pcm.Rate+1600 : 6*pcm.Rate] {
			if v != 0 {
				t.Fatalf("sample %d of the silence is %d", i, v)
			}
		}
		if got := snr(r.samples[6*pcm.Rate+320:], pcm.Rate, 440); got < 35 {
			t.Errorf("SNR after the silence %.1f dB", got)
		}
		want := []media.MarkKind{media.MarkStarted}
		if !noise {
			want = append(want, media.MarkStalled, media.MarkResumed)
		}
		if !slices.Equal(r.kinds(), want) {
			t.Errorf("marks %v, want %v", r.kinds(), want)
		}
		if r.stats.Lost != 0 || r.stats.Late != 0 || r.stats.Invalid != 0 || r.stats.InsertedFrames != 250 {
			t.Errorf("stats %+v", r.stats)
		}
	}
}

func TestSourceChanges(t *testing.T) {
	for _, c := range []struct {
		name string
		from netip.AddrPort
		// after is how long the old source has been silent.
		after time.Duration
		// foreign packets are ignored before the new source takes over; -1
		// means that it never does.
		foreign int
		resumed bool
	}{
		{"new SSRC at once", here, 0, 2, false},
		{"new SSRC after a stall", here, 1500 * time.Millisecond, 2, true},
		{"new address at once", there, 0, 99, true},
		{"new address after a second", there, time.Second, 49, true},
		{"new address after two seconds", there, 2 * time.Second, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &recorder{t: t}
			k := &clock{newLeg(t, r, g711.MuLaw), epoch}
			old := newSender(t, g711.MuLaw)
			k.play(old, 50)
			k.pass(c.after)
			s := newSender(t, g711.MuLaw)
			s.ssrc, s.seq, s.ts, s.hz = 0xBEEF, 17, 12345, 700
			const packets = 150
			for range packets {
				k.leg.Push(s.packet(nil), c.from, k.now)
				k.pass(20 * time.Millisecond)
			}
			k.leg.End(media.End{At: k.now})
			want := []media.MarkKind{media.MarkStarted}
			if c.resumed {
				want = append(want, media.MarkStalled)
			}
			want = append(want, media.MarkSSRCChanged)
			if c.resumed {
				want = append(want, media.MarkResumed)
			}
			if !slices.Equal(r.kinds(), want) {
				t.Errorf("marks %v, want %v", r.kinds(), want)
			}
			if got := r.stats; got.Foreign != uint64(c.foreign) || got.SSRCChanges != 1 || got.Received != uint64(50+packets-c.foreign) || got.Lost != 0 || got.Late != 0 {
				t.Errorf("stats %+v", got)
			}
			// The leg's clock keeps to the time.
			if off := pcm.Duration(int64(len(r.samples))) - k.now.Sub(epoch); off < -20*time.Millisecond || off > 20*time.Millisecond {
				t.Errorf("the leg's clock is off by %v", off)
			}
			for _, m := range r.marks {
				if m.Kind == media.MarkSSRCChanged {
					if got := snr(r.samples[m.At+640:], pcm.Rate, 700); got < 35 {
						t.Errorf("SNR of the new source %.1f dB", got)
					}
				}
			}
			gap := int(c.after/(20*time.Millisecond)) + c.foreign
			if n := r.frames(pcm.Inserted); n < gap-1 || n > gap+1 {
				t.Errorf("%d frames inserted, want %d", n, gap)
			}
		})
	}
}

// TestInterleavedSources: a second SSRC beside the first never takes over.
func TestInterleavedSources(t *testing.T) {
	for _, from := range []netip.AddrPort{here, there} {
		r := &recorder{t: t}
		k := &clock{newLeg(t, r, g711.MuLaw), epoch}
		a, b := newSender(t, g711.MuLaw), newSender(t, g711.MuLaw)
		b.ssrc, b.hz = 1, 1000
		for range 500 {
			k.leg.Push(a.packet(nil), here, k.now)
			k.leg.Push(b.packet(nil), from, k.now)
			k.pass(20 * time.Millisecond)
		}
		if got := k.leg.Stats(); got.Foreign != 500 || got.SSRCChanges != 0 {
			t.Errorf("stats %+v", got)
		}
		if got := snr(r.samples[320:], pcm.Rate, 440); got < 35 {
			t.Errorf("SNR %.1f dB", got)
		}
	}
}

// TestRestart: the same source begins anew, in sequence numbers, timestamps or
// both.
func TestRestart(t *testing.T) {
	for name, restart := range map[string]func(s *sender){
		"sequence":          func(s *sender) { s.seq += 20000 },
		"timestamp":         func(s *sender) { s.ts += 1 << 30 },
		"timestamp back":    func(s *sender) { s.ts -= 1 << 30 },
		"sequence and time": func(s *sender) { s.seq, s.ts = s.seq-30000, 7 },
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{t: t}
			k := &clock{newLeg(t, r, g711.MuLaw), epoch}
			s := newSender(t, g711.MuLaw)
			k.play(s, 100)
			restart(s)
			k.play(s, 100)
			k.leg.End(media.End{At: k.now})
			if off := len(r.samples) - 4*pcm.Rate; off < -320 || off > 320 {
				t.Errorf("%d samples too many", off)
			}
			if got := snr(r.samples[2*pcm.Rate+1600:], pcm.Rate, 440); got < 35 {
				t.Errorf("SNR afterwards %.1f dB", got)
			}
			if r.stats.Lost != 0 || r.stats.Received < 199 {
				t.Errorf("stats %+v", r.stats)
			}
		})
	}
}

// press makes the packets of one key press: its timestamp stands still, its
// duration grows, its end comes three times.
func press(s *sender, code byte, packets int) [][]byte {
	var all [][]byte
	ts := s.ts
	for i := range packets + 2 {
		d := min(i+1, packets) * 160
		flags := byte(10)
		if i >= packets-1 {
			flags |= 0x80
		}
		b := s.other(101, code, flags, byte(d>>8), byte(d))
		binary.BigEndian.PutUint32(b[4:], ts)
		all = append(all, b)
	}
	s.wait(time.Duration(packets) * 20 * time.Millisecond)
	return all
}

func TestDigits(t *testing.T) {
	restamp := func(b []byte, ts uint32) []byte {
		binary.BigEndian.PutUint32(b[4:], ts)
		return b
	}
	for _, c := range []struct {
		name string
		make func(s *sender) [][]byte
		want int
	}{
		{"one press", func(s *sender) [][]byte { return press(s, 5, 6) }, 1},
		{"beginning lost", func(s *sender) [][]byte { return press(s, 5, 6)[3:] }, 1},
		{"end lost", func(s *sender) [][]byte { return press(s, 5, 6)[:4] }, 1},
		{"everything twice", func(s *sender) [][]byte {
			var all [][]byte
			for _, b := range press(s, 5, 6) {
				all = append(all, b, b)
			}
			return all
		}, 1},
		{"the same key twice", func(s *sender) [][]byte {
			all := press(s, 5, 6)
			s.wait(60 * time.Millisecond)
			return append(all, press(s, 5, 6)...)
		}, 2},
		{"two keys", func(s *sender) [][]byte { return append(press(s, 5, 6), press(s, 11, 6)...) }, 2},
		{"a long press in segments", func(s *sender) [][]byte {
			ts := s.ts
			first := s.other(101, 5, 10, 0xFF, 0xFF)
			second := restamp(s.other(101, 5, 10, 0, 160), ts+0xFFFF)
			return [][]byte{restamp(first, ts), second}
		}, 1},
		{"a timestamp for each packet", func(s *sender) [][]byte {
			var all [][]byte
			for i := range uint32(6) {
				all = append(all, restamp(s.other(101, 5, 10, 0, 80), s.ts+i*160))
			}
			return all
		}, 1},
		{"a fax tone", func(s *sender) [][]byte { return press(s, 36, 6) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &recorder{t: t}
			k := &clock{newLeg(t, r, g711.MuLaw), epoch}
			s := newSender(t, g711.MuLaw)
			k.play(s, 20)
			for _, b := range c.make(s) {
				k.leg.Push(b, here, k.now)
				k.pass(20 * time.Millisecond)
			}
			s.wait(time.Second)
			k.play(s, 20)
			n := 0
			for _, m := range r.marks {
				if m.Kind == media.MarkDigit {
					n++
				}
			}
			if n != c.want {
				t.Errorf("%d digits, want %d", n, c.want)
			}
			if r.frames(pcm.Lost) > 0 && !strings.HasSuffix(c.name, "lost") {
				t.Errorf("%d frames lost", r.frames(pcm.Lost))
			}
		})
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

func TestNewRefuses(t *testing.T) {
	good := Config{Sink: &recorder{t: t}, Codec: codec(t, g711.MuLaw), Clock: 8000, Rate: 8000}
	for _, c := range []struct {
		edit func(*Config)
		want string
	}{
		{func(c *Config) { c.Sink = nil }, "sink"},
		{func(c *Config) { c.Codec = nil }, "codec"},
		{func(c *Config) { c.PayloadType = 13 }, "payload type 13"},
		{func(c *Config) { c.PayloadType = 72 }, "payload type 72"},
		{func(c *Config) { c.PayloadType = 128 }, "payload type 128"},
		{func(c *Config) { c.PayloadType = 101 }, "payload type 101 for telephone events"},
		{func(c *Config) { c.Relatch = -1 }, "relatch"},
		{func(c *Config) { c.Clock = 0 }, "clock"},
		{func(c *Config) { c.Rate = 7999 }, "7999"},
		{func(c *Config) { c.MinDepth = time.Hour }, "depth"},
	} {
		cfg := good
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
	f.Add([]byte{13, 0x80, 13, 0, 1, 0, 0, 0, 0, 0, 0, 0xCA, 0xFE, 70, 8, 0x81, 201, 0, 1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := &recorder{t: t}
		leg := newLeg(t, r, g711.MuLaw)
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
