package bridge

import (
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"

	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/codec"
	"sidetone/media/g711"
)

// payload makes the payload of a format's name.
func payload(t testing.TB, pt uint8, name string) Payload {
	t.Helper()
	f, err := codec.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := codec.New(f)
	if err != nil {
		t.Fatal(err)
	}
	return Payload{Type: pt, Codec: c, Clock: f.Clock}
}

func legOf(t testing.TB, sink media.LegSink, payloads ...Payload) *Leg {
	t.Helper()
	l, err := New(Config{Sink: sink, Payloads: payloads})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// changer is a source that sends a tone in one format after another.
type changer struct {
	t    *testing.T
	seq  uint16
	ts   uint32
	ssrc uint32
	wall time.Duration // what has been sent
	// encoder is that of the format of this name.
	encoder codec.Encoder
	name    string
}

// play sends n packets of 20 ms of a payload.
func (s *changer) play(k *clock, pt uint8, name string, n int) {
	s.t.Helper()
	f, err := codec.Parse(name)
	if err != nil {
		s.t.Fatal(err)
	}
	if name != s.name {
		s.name = name
		if s.encoder, err = codec.NewEncoder(f); err != nil {
			s.t.Fatal(err)
		}
	}
	x, b := make([]int16, f.Rate()/50), make([]byte, 2000)
	for range n {
		for i := range x {
			at := s.wall.Seconds() + float64(i)/float64(f.Rate())
			x[i] = int16(math.RoundToEven(10000 * math.Sin(2*math.Pi*440*at)))
		}
		size, err := s.encoder.Encode(b, x)
		if err != nil {
			s.t.Fatal(err)
		}
		k.leg.Push(s.packet(pt, b[:size]), here, k.now)
		s.ts += uint32(f.Clock / 50)
		s.wall += 20 * time.Millisecond
		k.pass(20 * time.Millisecond)
	}
}

func (s *changer) packet(pt uint8, payload []byte) []byte {
	b, err := (&rtp.Packet{Header: rtp.Header{
		Version: 2, PayloadType: pt, SequenceNumber: s.seq, Timestamp: s.ts, SSRC: s.ssrc,
	}, Payload: payload}).Marshal()
	if err != nil {
		s.t.Fatal(err)
	}
	s.seq++
	return b
}

// TestPayloadsChange has a sender go through everything that was offered.
func TestPayloadsChange(t *testing.T) {
	r := &recorder{t: t}
	k := &clock{legOf(t, r, payload(t, 111, "opus"), payload(t, 0, "PCMU"), payload(t, 8, "PCMA"), payload(t, 9, "G722"),
		payload(t, 96, "L16/16000"), payload(t, 97, "L16/8000/2"), payload(t, 98, "L16/44100")), epoch}
	s := &changer{t: t, seq: 65500, ts: math.MaxUint32 - 1000, ssrc: 3}
	list := []struct {
		pt   uint8
		name string
		// seamless: the sample rate and the clock stay.
		seamless bool
	}{
		{0, "PCMU", false}, {8, "PCMA", true}, {9, "G722", false}, {96, "L16/16000", false}, {0, "PCMU", false}, {97, "L16/8000/2", true}, {96, "L16/16000", false}, {9, "G722", false}, {8, "PCMA", false},
	}
	for _, c := range list {
		s.play(k, c.pt, c.name, 50)
	}
	k.leg.End(media.End{At: k.now})
	if off := len(r.samples) - len(list)*pcm.Rate; off < -640 || off > 640 {
		t.Errorf("%d samples too many in %d s", off, len(list))
	}
	if n := r.frames(pcm.Inserted); n > len(list) {
		t.Errorf("%d frames inserted at %d changes", n, len(list))
	}
	want := media.LegStats{Received: uint64(50 * len(list)), InsertedFrames: r.stats.InsertedFrames}
	if r.stats != want {
		t.Errorf("stats %+v, want %+v", r.stats, want)
	}
	if !slices.Equal(r.kinds(), []media.MarkKind{media.MarkStarted}) {
		t.Errorf("marks %v", r.kinds())
	}
	for i, c := range list {
		from := i*pcm.Rate + 3200
		if c.seamless {
			from = i*pcm.Rate - 3200
		}
		if got := snr(r.samples[from:(i+1)*pcm.Rate-640], pcm.Rate, 440); got < 30 {
			t.Errorf("%d, %s: SNR %.1f dB", i, c.name, got)
		}
	}
}

// TestR2 holds the rate of G.722 on a leg.
func TestR2(t *testing.T) {
	t.Run("R2 8000 units of time yield 16000 samples", func(t *testing.T) {
		r := &recorder{t: t}
		k := &clock{legOf(t, r, payload(t, 9, "G722")), epoch}
		s := &changer{t: t}
		s.play(k, 9, "G722", 50)
		k.leg.End(media.End{At: k.now})
		if s.ts != 8000 || len(r.samples) != 16000 || r.frames(pcm.Inserted|pcm.Lost) != 0 {
			t.Errorf("%d units, %d samples, %d frames made up", s.ts, len(r.samples), r.frames(pcm.Inserted|pcm.Lost))
		}
	})
}

// TestLateOfOldPayload: a packet from before a change comes after it.
func TestLateOfOldPayload(t *testing.T) {
	r := &recorder{t: t}
	k := &clock{legOf(t, r, payload(t, 0, "PCMU"), payload(t, 9, "G722")), epoch}
	s := &changer{t: t}
	s.play(k, 0, "PCMU", 50)
	late := s.packet(0, make([]byte, 160))
	s.play(k, 9, "G722", 25)
	k.leg.Push(late, here, k.now)
	s.play(k, 9, "G722", 25)
	k.leg.End(media.End{At: k.now})
	if r.stats.Late != 1 || r.stats.Reordered != 1 || r.stats.Invalid != 0 || r.stats.Received != 101 {
		t.Errorf("stats %+v", r.stats)
	}
	if got := snr(r.samples[pcm.Rate+3200:2*pcm.Rate-640], pcm.Rate, 440); got < 30 {
		t.Errorf("SNR %.1f dB", got)
	}
}

// TestChangeAfterAPause: while nothing comes the sender changes to another
// sample rate; the leg's clock goes on.
func TestChangeAfterAPause(t *testing.T) {
	r := &recorder{t: t}
	k := &clock{legOf(t, r, payload(t, 0, "PCMU"), payload(t, 9, "G722")), epoch}
	s := &changer{t: t}
	s.play(k, 0, "PCMU", 50)
	k.pass(3 * time.Second)
	s.play(k, 9, "G722", 50)
	k.leg.End(media.End{At: k.now})
	if off := len(r.samples) - 5*pcm.Rate; off < -640 || off > 640 {
		t.Errorf("%d samples too many in 5 s", off)
	}

	// The same without a call of Tick: no more than two seconds are made up, and
	// the position jumps over the rest.
	var starts []int64
	k.leg = legOf(t, frames(func(f *pcm.Frame) { starts = append(starts, f.Start) }), payload(t, 0, "PCMU"), payload(t, 9, "G722"))
	k.leg.Push(s.packet(0, make([]byte, 160)), here, k.now)
	k.leg.Push(s.packet(9, make([]byte, 160)), here, k.now.Add(time.Minute))
	if n := len(starts); n < 100 || n > 110 || !slices.IsSorted(starts) || starts[n-1] < 59*pcm.Rate || starts[n-1] > 60*pcm.Rate {
		t.Errorf("%d frames, the last at %d", n, starts[n-1])
	}
}

// frames is a sink of frames alone.
type frames func(*pcm.Frame)

func (f frames) Frame(x *pcm.Frame)          { f(x) }
func (frames) Mark(media.Mark)               {}
func (frames) End(media.End, media.LegStats) {}

// spy is a codec with a memory.
type spy struct {
	*g711.Codec
	told []string
}

func (s *spy) Reset() { s.told = append(s.told, "reset") }

func (s *spy) Decode(dst []int16, src []byte) (int, error) {
	s.told = append(s.told, fmt.Sprintf("%s %d", s.Codec, src[0]))
	return s.Codec.Decode(dst, src)
}

// TestReset: the codec forgets the old source after the last of its packets was
// decoded and before the first of the new one is, though packets of both wait.
func TestReset(t *testing.T) {
	c := &spy{Codec: newCodec(t, g711.MuLaw)}
	leg, err := New(Config{Sink: &recorder{t: t}, Payloads: []Payload{{Codec: c, Clock: 8000}}, MinDepth: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	s := &changer{t: t, ssrc: 1}
	push := func(b byte, ms time.Duration) {
		p := s.packet(0, append([]byte{b}, make([]byte, 159)...))
		s.ts += 160
		leg.Push(p, here, epoch.Add(ms*time.Millisecond))
	}
	push(1, 0)
	s.seq, s.ts = s.seq+1, s.ts+160 // lost, so that what follows waits
	push(2, 40)
	s.ssrc, s.seq, s.ts = 2, 10, 0
	for b := range byte(3) {
		push(10+b, 42) // the third takes over
	}
	if want := []string{"reset", "PCMU 1"}; !slices.Equal(c.told, want) {
		t.Fatalf("at first the codec was told %v, want %v", c.told, want)
	}
	leg.End(media.End{At: epoch.Add(time.Second)})
	if want := []string{"reset", "PCMU 1", "PCMU 2", "reset", "PCMU 12"}; !slices.Equal(c.told, want) {
		t.Errorf("the codec was told %v, want %v", c.told, want)
	}
}

// TestEventTypes has keys pressed with payload types for two clocks.
func TestEventTypes(t *testing.T) {
	r := &recorder{t: t}
	leg, err := New(Config{Sink: r, Payloads: []Payload{payload(t, 111, "opus"), payload(t, 0, "PCMU")}, EventTypes: []uint8{110, 126}})
	if err != nil {
		t.Fatal(err)
	}
	k := &clock{leg, epoch}
	s := &changer{t: t, ts: 77}
	s.play(k, 0, "PCMU", 10)
	for code := range byte(18) { // the last is none
		pt, ticks := uint8(110), uint32(960)
		if code%2 == 1 {
			pt, ticks = 126, 160
		}
		for i := range uint16(4) {
			d := uint16(ticks) * (i + 1)
			k.leg.Push(s.packet(pt, []byte{code, 10, byte(d >> 8), byte(d)}), here, k.now)
			k.pass(20 * time.Millisecond)
		}
		s.ts += 8 * ticks
		k.pass(80 * time.Millisecond)
	}
	k.leg.Push(s.packet(101, []byte{1, 10, 0, 160}), here, k.now) // nobody offered it
	var keys []byte
	for _, m := range r.marks {
		if m.Kind == media.MarkDigit {
			keys = append(keys, m.Digit)
		}
	}
	if want := "0123456789*#ABCD!"; string(keys) != want {
		t.Errorf("keys %q, want %q", keys, want)
	}
	if got := k.leg.Stats(); got.Invalid != 1 {
		t.Errorf("stats %+v", got)
	}
}

// opusPackets are packets of 20 ms of a synthetic voice.
func opusPackets(t testing.TB) [][]byte {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "opus", "testdata", "vectors.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]struct{ Packets [][]byte }
	if err := json.NewDecoder(z).Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all["hybrid-24k-20ms"].Packets
}

// TestOpusPause sends what a browser does that does not send in pauses: speech,
// short packets of silence, one of them every 400 ms, and speech again after a
// step of the timestamp that the sequence numbers know nothing of.
func TestOpusPause(t *testing.T) {
	speech := opusPackets(t)
	want := make([]int16, 0, len(speech)*pcm.FrameSamples)
	direct := payload(t, 111, "opus").Codec
	for _, p := range speech {
		var x [pcm.FrameSamples]int16
		if _, err := direct.Decode(x[:], p); err != nil {
			t.Fatal(err)
		}
		want = append(want, x[:]...)
	}
	r := &recorder{t: t}
	k := &clock{legOf(t, r, payload(t, 111, "opus")), epoch}
	s := &changer{t: t, seq: 65500, ts: math.MaxUint32 - 20000}
	send := func(p []byte, after time.Duration) {
		k.leg.Push(s.packet(111, p), here, k.now)
		s.ts += uint32(after * 48000 / time.Second)
		k.pass(after)
	}
	for _, p := range speech {
		send(p, 20*time.Millisecond)
	}
	for range 10 {
		send([]byte{0xF8, 0xFF, 0xFE}, 20*time.Millisecond)
	}
	for range 5 {
		send([]byte{0xF8, 0xFF, 0xFE}, 20*time.Millisecond)
		send([]byte{0xF8}, 380*time.Millisecond)
	}
	pause := len(r.samples)
	for _, p := range speech {
		send(p, 20*time.Millisecond)
	}
	k.leg.End(media.End{At: k.now})
	if total := len(speech)*2*20 + 200 + 2000; len(r.samples) != total*16 {
		t.Errorf("%d samples in %d ms", len(r.samples), total)
	}
	if r.stats.Lost != 0 || r.stats.Late != 0 || r.stats.Invalid != 0 || r.frames(pcm.Lost) != 0 {
		t.Errorf("stats %+v", r.stats)
	}
	if n := r.frames(pcm.Inserted); n < 80 || n > 95 {
		t.Errorf("%d frames inserted, want about 90", n)
	}
	if !slices.Equal(r.samples[:len(want)], want) {
		t.Error("the speech before the pause is not what the decoder makes of it")
	}
	for i, v := range r.samples[len(want)+1600 : len(want)+2200*16] {
		if v > 60 || v < -60 {
			t.Fatalf("sample %d of the pause is %d", i, v)
		}
	}
	// The decoder goes on from other frames than at first.
	after := r.samples[len(r.samples)-len(want):]
	var signal, rest float64
	for i := 8000; i < len(want); i++ {
		d := float64(after[i]) - float64(want[i])
		signal += float64(want[i]) * float64(want[i])
		rest += d * d
	}
	if got := 10 * math.Log10(signal/(rest+1)); got < 20 {
		t.Errorf("the speech after the pause (at %d) has an SNR of %.1f dB", pause, got)
	}
}

// TestOpusLength takes the length of packets from their first bytes.
func TestOpusLength(t *testing.T) {
	for _, c := range []struct {
		packet []byte
		ms     int
	}{
		{[]byte{28<<3 | 3, 8, 1, 1, 1, 1, 1, 1, 1, 1}, 20}, {[]byte{30 << 3, 1}, 10}, {[]byte{0xF8, 1}, 20}, {[]byte{0xF9, 1, 1}, 40}, {[]byte{11 << 3, 1}, 60}, {[]byte{0xFB, 6, 1, 1, 1, 1, 1, 1}, 120},
	} {
		r := &recorder{t: t}
		k := &clock{legOf(t, r, payload(t, 111, "opus")), epoch}
		s := &changer{t: t}
		for range 10 {
			k.leg.Push(s.packet(111, c.packet), here, k.now)
			s.ts += uint32(c.ms * 48)
			k.pass(time.Duration(c.ms) * time.Millisecond)
		}
		k.leg.End(media.End{At: k.now})
		if want := c.ms * 10 * 16; len(r.samples) != want || r.frames(pcm.Inserted|pcm.Lost) != 0 {
			t.Errorf("%d ms: %d samples of 10 packets, %d frames made up", c.ms, len(r.samples), r.frames(pcm.Inserted|pcm.Lost))
		}
	}
}

func BenchmarkPushOpus(b *testing.B) {
	leg := legOf(b, &counter{}, payload(b, 111, "opus"), payload(b, 0, "PCMU"))
	speech := opusPackets(b)
	now := epoch
	packet := make([]byte, 1500)
	packet[0], packet[1], packet[11] = 0x80, 111, 1
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		binary.BigEndian.PutUint16(packet[2:], uint16(i))
		binary.BigEndian.PutUint32(packet[4:], uint32(i*960))
		n := 12 + copy(packet[12:], speech[i%len(speech)])
		leg.Push(packet[:n], here, now)
		leg.Tick(now)
		now = now.Add(20 * time.Millisecond)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
}
