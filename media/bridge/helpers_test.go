package bridge

import (
	"math"
	"net/netip"
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
	// stats are without quality, so that counts can be compared.
	stats   media.LegStats
	quality media.Quality
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
	r.stats, r.quality = s, s.Quality
	r.stats.Quality = media.Quality{}
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

func newCodec(t testing.TB, law g711.Law) *g711.Codec {
	t.Helper()
	c, err := g711.New(law)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newLeg(t testing.TB, sink media.LegSink, law g711.Law) *Leg {
	t.Helper()
	l, err := New(Config{Sink: sink, Payloads: []Payload{{Type: law.PayloadType(), Codec: newCodec(t, law), Clock: g711.Rate}}})
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
	return &sender{t: t, codec: newCodec(t, law), ssrc: 0xCAFE, seq: 65530, ts: math.MaxUint32 - 1000, samples: 160, hz: 440}
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

// rewind takes a packet back that was made to be spoilt.
func (s *sender) rewind() {
	s.seq--
	s.ts -= uint32(s.samples)
	s.pos -= s.samples
}
