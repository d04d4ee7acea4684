package jitter

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/internal/pcm"
)

const rate = 8000

var epoch = time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)

// linear decodes 16-bit big-endian samples.
type linear struct{}

func (linear) Decode(dst []int16, src []byte) (int, error) {
	if len(src)%2 != 0 || len(src)/2 > len(dst) {
		return 0, errors.New("bad payload")
	}
	for i := range len(src) / 2 {
		dst[i] = int16(binary.BigEndian.Uint16(src[2*i:]))
	}
	return len(src) / 2, nil
}

// signal is the sender's audio as a function of its position.
type signal func(pos int64) int16

func sine(hz float64, amplitude float64) signal {
	return func(pos int64) int16 {
		return int16(amplitude * math.Sin(2*math.Pi*hz*float64(pos)/rate))
	}
}

// noise is different at every position and the same in every run.
func noise(pos int64) int16 {
	x := uint64(pos)*0x9E3779B97F4A7C15 + 12345
	x ^= x >> 29
	x *= 0xBF58476D1CE4E5B9
	return int16(x>>40) >> 2
}

// packet makes the packet of n samples at pos.
func (s signal) packet(seq, pos int64, n int) Packet {
	p := Packet{Seq: seq, Pos: pos, Samples: n}
	for i := range n {
		p.Payload = binary.BigEndian.AppendUint16(p.Payload, uint16(s(pos+int64(i))))
	}
	return p
}

// arrival is a packet on its way.
type arrival struct {
	at time.Duration
	p  Packet
}

// stream makes n packets of 20 ms that arrive on time.
func (s signal) stream(n int) []arrival {
	var all []arrival
	for i := range n {
		all = append(all, arrival{time.Duration(i) * 20 * time.Millisecond, s.packet(int64(i), int64(i)*160, 160)})
	}
	return all
}

// result is everything that came out.
type result struct {
	samples []int16
	blocks  []Block
	at      []time.Duration // when each block came out
	stats   Stats
	queued  int
}

func (r *result) count(f pcm.Flags) int {
	n := 0
	for _, b := range r.blocks {
		if b.Flags&f != 0 {
			n++
		}
	}
	return n
}

// play lets packets arrive in the order of their time, calls Pop as a bridge
// does, every 20 ms until the given time, and flushes.
func play(t testing.TB, cfg Config, all []arrival, until time.Duration) *result {
	t.Helper()
	cfg.Rate, cfg.Decoder = rate, linear{}
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &result{}
	var now time.Duration
	drain := func() {
		var dst [160]int16
		for {
			blk, ok := b.Pop(dst[:], epoch.Add(now))
			if !ok {
				return
			}
			if want := int64(len(r.samples)); blk.Start != want {
				t.Fatalf("block starts at %d, want %d", blk.Start, want)
			}
			r.samples = append(r.samples, dst[:]...)
			r.blocks = append(r.blocks, blk)
			r.at = append(r.at, now)
		}
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b arrival) int { return int(a.at - b.at) })
	for tick := time.Duration(0); tick <= until; tick += 20 * time.Millisecond {
		for len(all) > 0 && all[0].at <= tick {
			now = all[0].at
			if b.Push(all[0].p, epoch.Add(now)) == Queued {
				r.queued++
			}
			drain()
			all = all[1:]
		}
		now = tick
		drain()
	}
	b.Flush()
	drain()
	r.stats = b.Stats()
	return r
}

// same counts samples at which r is the signal moved by shift.
func (r *result) same(s signal, shift int64) int {
	n := 0
	for i, v := range r.samples {
		if pos := int64(i) - shift; pos >= 0 && v == s(pos) {
			n++
		}
	}
	return n
}

func without(all []arrival, seqs ...int64) []arrival {
	return slices.DeleteFunc(slices.Clone(all), func(a arrival) bool { return slices.Contains(seqs, a.p.Seq) })
}

func delayed(all []arrival, by time.Duration, seqs ...int64) []arrival {
	all = slices.Clone(all)
	for i := range all {
		if slices.Contains(seqs, all[i].p.Seq) {
			all[i].at += by
		}
	}
	return all
}

// paused makes 50 packets, a pause of the sender, and 50 more.
func paused(s signal, pause time.Duration) []arrival {
	all := s.stream(50)
	for i := int64(50); i < 100; i++ {
		pos := i*160 + pcmSamples(pause, rate)
		all = append(all, arrival{pcmDuration(pos, rate), s.packet(i, pos, 160)})
	}
	return all
}

func TestBuffer(t *testing.T) {
	const second = time.Second
	n := signal(noise)
	for _, c := range []struct {
		name  string
		in    []arrival
		until time.Duration
		// blocks in all, and how many of them were made up.
		blocks, lost, inserted int
		// exact is the least number of samples that must be the sender's.
		exact int
		stats Stats
	}{
		{name: "undisturbed", in: n.stream(100), until: 2 * second, blocks: 100, exact: 16000},
		{name: "duplicates", in: append(n.stream(100), n.stream(100)...), until: 2 * second, blocks: 100, exact: 16000,
			stats: Stats{Late: 100}},
		{name: "swapped neighbours", in: delayed(n.stream(100), 21*time.Millisecond, 10, 20, 40, 41, 60), until: 2 * second, blocks: 100, exact: 16000},
		{name: "reordered by three", in: delayed(n.stream(100), 39*time.Millisecond, 10, 20, 21, 30), until: 2 * second, blocks: 100, exact: 16000},
		{name: "one lost", in: without(n.stream(100), 50), until: 2 * second, blocks: 100, lost: 1, exact: 16000 - 160 - 32},
		{name: "three lost apart", in: without(n.stream(100), 20, 40, 60), until: 2 * second, blocks: 100, lost: 3, exact: 16000 - 3*192},
		{name: "late", in: delayed(n.stream(100), 90*time.Millisecond, 50), until: 2 * second, blocks: 100, lost: 1, exact: 16000 - 192,
			stats: Stats{Late: 1}},
		{name: "late, then waited for", in: delayed(n.stream(100), 90*time.Millisecond, 50, 60, 70), until: 2 * second, blocks: 100, lost: 1, exact: 16000 - 192,
			stats: Stats{Late: 1}},
		{name: "first two swapped", in: delayed(n.stream(100), 25*time.Millisecond, 0), until: 2 * second, blocks: 99, exact: 15840,
			stats: Stats{Late: 1}},
		{name: "silence suppression", in: paused(n, second), until: 3 * second, blocks: 150, inserted: 50, exact: 16000 - 2*32},
		{name: "half a minute of it", in: paused(n, 30*second), until: 32 * second, blocks: 1600, inserted: 1500, exact: 16000 - 2*32},
		{name: "silence and loss", in: without(paused(n, second), 49), until: 3 * second, blocks: 150, inserted: 51, exact: 15840 - 2*32},
		{name: "empty packets", in: append(without(n.stream(100), 50), arrival{second, Packet{Seq: 50}}), until: 2 * second, blocks: 100, inserted: 1, exact: 15840 - 32},
		{name: "undecodable", in: append(without(n.stream(100), 50), arrival{second, Packet{Seq: 50, Pos: 8000, Samples: 160, Payload: []byte{1}}}), until: 2 * second, blocks: 100, inserted: 1, exact: 15840 - 32,
			stats: Stats{Undecodable: 1}},
		{name: "nothing after one second", in: n.stream(50), until: 3 * second, blocks: 149, inserted: 99, exact: 8000},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := play(t, Config{}, c.in, c.until)
			r.stats.Depth = 0
			if len(r.blocks) != c.blocks || r.count(pcm.Lost) != c.lost || r.count(pcm.Inserted) != c.inserted {
				t.Errorf("%d blocks, %d lost, %d inserted; want %d, %d, %d",
					len(r.blocks), r.count(pcm.Lost), r.count(pcm.Inserted), c.blocks, c.lost, c.inserted)
			}
			first := int64(0)
			if c.name == "first two swapped" {
				first = -160
			}
			if got := r.same(n, first); got < c.exact {
				t.Errorf("%d samples are the sender's, want %d", got, c.exact)
			}
			if r.stats != c.stats {
				t.Errorf("stats %+v, want %+v", r.stats, c.stats)
			}
		})
	}
}

// TestPacketTimes covers every usual length of packet, and a change of it.
func TestPacketTimes(t *testing.T) {
	n := signal(noise)
	lengths := map[string][]int{
		"10 ms": {80}, "20 ms": {160}, "30 ms": {240}, "40 ms": {320}, "60 ms": {480},
		"irregular": {320, 320, 320, 64}, "changing": {160, 160, 160, 480, 480, 80, 80, 80},
	}
	for name, cycle := range lengths {
		t.Run(name, func(t *testing.T) {
			var all []arrival
			pos := int64(0)
			for i := 0; pos < 5*rate; i++ {
				k := cycle[i%len(cycle)]
				// A packet leaves when its last sample is there.
				all = append(all, arrival{pcmDuration(pos+int64(k), rate), n.packet(int64(i), pos, k)})
				pos += int64(k)
			}
			r := play(t, Config{}, all, pcmDuration(pos, rate)+20*time.Millisecond)
			if want := int(pos+159) / 160; len(r.blocks) != want {
				t.Errorf("%d blocks, want %d", len(r.blocks), want)
			}
			if got := r.same(n, 0); got < int(pos) {
				t.Errorf("%d of %d samples are the sender's", got, pos)
			}
			if l, i := r.count(pcm.Lost), r.count(pcm.Inserted); l != 0 || i > 1 {
				t.Errorf("%d blocks lost, %d inserted", l, i)
			}
		})
	}
}

// TestAudioIsNotHeldBack checks the delay from arrival to output.
func TestAudioIsNotHeldBack(t *testing.T) {
	all := delayed(signal(noise).stream(200), 30*time.Millisecond, 50, 100, 150)
	r := play(t, Config{}, all, 4*time.Second)
	for i, at := range r.at {
		arrived := all[i].at
		if i%50 == 1 && i > 1 {
			arrived = all[i-1].at // the delayed packet held its successor up
		}
		if at != arrived {
			t.Errorf("block %d came out at %v, its packet had come at %v", i, at, arrived)
		}
	}
}

// TestGapIsGivenUp measures how long output waits for a missing packet, before
// and after the network has shown that packets come late.
func TestGapIsGivenUp(t *testing.T) {
	all := without(signal(noise).stream(1500), 10, 1200)
	// From 100 to 150 every packet but one is late by 95 ms, in order.
	for i := range all {
		if s := all[i].p.Seq; s > 100 && s < 150 {
			all[i].at += 95 * time.Millisecond
		}
	}
	r := play(t, Config{}, all, 31*time.Second)
	wait := func(block int) time.Duration { return r.at[block] - time.Duration(block)*20*time.Millisecond }
	if w := wait(10); w < DefaultMinDepth || w > DefaultMinDepth+20*time.Millisecond {
		t.Errorf("at first a gap was held open for %v, want %v", w, DefaultMinDepth)
	}
	if r.stats.Depth != DefaultMinDepth {
		t.Errorf("after 25 quiet seconds the depth is %v", r.stats.Depth)
	}
	mid := play(t, Config{}, without(all[:160], 155), 4*time.Second)
	if mid.stats.Depth < 100*time.Millisecond || mid.stats.Depth > DefaultMaxDepth {
		t.Errorf("depth %v after packets came 95 ms late", mid.stats.Depth)
	}
}

// find returns where the piece of noise at pos came out, or -1.
func (r *result) find(pos int64) int {
	for i := 0; i+3 <= len(r.samples); i++ {
		if r.samples[i] == noise(pos) && r.samples[i+1] == noise(pos+1) && r.samples[i+2] == noise(pos+2) {
			return i
		}
	}
	return -1
}

// TestLateBurstIsKept: the network holds everything up for a while and then
// delivers all of it. Nothing that was said may be missing but what is cut out
// later, piece by piece, to make up for the time.
func TestLateBurstIsKept(t *testing.T) {
	for _, stall := range []time.Duration{100, 300, 900, 1500} {
		stall *= time.Millisecond
		all := signal(noise).stream(300)
		for i := range all {
			if s := all[i].at; s >= 2*time.Second {
				all[i].at = max(s, 2*time.Second+stall)
			}
		}
		r := play(t, Config{}, all, 6*time.Second)
		missing, last := 0, 0
		for i := range int64(300) {
			// The middle of a packet, beyond any blending.
			at := r.find(i*160 + 80)
			if at < 0 {
				missing++
				continue
			}
			if at < last {
				t.Errorf("stall of %v: packet %d came out at %d, its predecessor at %d", stall, i, at, last)
			}
			last = at
			if moved := at - int(i*160+80); moved < 0 || moved > int(pcmSamples(stall, rate))+160 {
				t.Errorf("stall of %v: packet %d is moved by %d samples", stall, i, moved)
			}
		}
		if missing != int(r.stats.Cut) || missing > 5 {
			t.Errorf("stall of %v: %d packets are missing, %d were cut out", stall, missing, r.stats.Cut)
		}
		if r.stats.Late != 0 {
			t.Errorf("stall of %v: %d packets were late", stall, r.stats.Late)
		}
	}
}

// TestPausedClock: the sender stops for ten seconds and its timestamps with it.
func TestPausedClock(t *testing.T) {
	n := signal(noise)
	all := n.stream(100)
	for i := range all[50:] {
		all[50+i].at += 10 * time.Second
	}
	r := play(t, Config{}, all, 12*time.Second)
	// Time has passed on the leg all the same, to within a block.
	if got := len(r.blocks); got < 599 || got > 601 {
		t.Errorf("%d blocks in 12 s", got)
	}
	shift := int64(len(r.samples) - 16000)
	if got := r.same(n, shift); got < 8000-200 {
		t.Errorf("%d samples after the pause are the sender's, want 8000", got)
	}
	if r.count(pcm.Lost) != 0 || r.stats.Late != 0 {
		t.Errorf("%d blocks lost, %d packets late", r.count(pcm.Lost), r.stats.Late)
	}
}

// speech is half a second of tone and half a second of faint noise, in turn.
func speech(pos int64) int16 {
	if pos/4000%2 == 0 {
		return sine(440, 8000)(pos)
	}
	return noise(pos) / 512
}

// TestSkew runs half an hour against a sender whose clock is off. Neither the
// number of blocks nor the delay may run away.
func TestSkew(t *testing.T) {
	for _, c := range []struct {
		name   string
		ppm    int64
		signal signal
		slack  time.Duration
	}{
		{"fast", 200, speech, 30 * time.Millisecond},
		{"slow", -200, speech, 30 * time.Millisecond},
		{"fast, never quiet", 300, sine(440, 8000), 220 * time.Millisecond},
		{"slow, never quiet", -300, sine(440, 8000), 220 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(7, 8))
			const minutes = 30
			b, err := New(Config{Rate: rate, Decoder: linear{}})
			if err != nil {
				t.Fatal(err)
			}
			var dst [160]int16
			var out int64
			for i := int64(0); i < minutes*60*50; i++ {
				sent := time.Duration(i) * 20 * time.Millisecond
				sent -= sent * time.Duration(c.ppm) / 1_000_000
				now := epoch.Add(sent + time.Duration(rng.IntN(5000))*time.Microsecond)
				b.Push(c.signal.packet(i, i*160, 160), now)
				for {
					blk, ok := b.Pop(dst[:], now)
					if !ok {
						break
					}
					out = blk.Start + 160
				}
				real := now.Sub(epoch) + 20*time.Millisecond
				if off := pcmDuration(out, rate) - real; off > c.slack || off < -c.slack {
					t.Fatalf("after %v the leg's clock is off by %v", real, off)
				}
			}
			s := b.Stats()
			if s.Cut+s.Added == 0 || s.Late != 0 {
				t.Errorf("stats %+v", s)
			}
			if c.ppm > 0 && s.Added > 0 || c.ppm < 0 && s.Cut > 0 {
				t.Errorf("corrected to and fro: %+v", s)
			}
			if s.Depth > 2*DefaultMinDepth {
				t.Errorf("depth has grown to %v", s.Depth)
			}
		})
	}
}

// TestConcealmentDoesNotClick looks for steps in a tone with holes: none may be
// much larger than the tone's own.
func TestConcealmentDoesNotClick(t *testing.T) {
	for _, hz := range []float64{100, 180, 440, 1000} {
		tone := sine(hz, 10000)
		steepest := 10000 * 2 * math.Pi * hz / rate
		for name, all := range map[string][]arrival{
			"one lost":   without(tone.stream(100), 50),
			"two lost":   without(tone.stream(100), 50, 51),
			"three lost": without(tone.stream(100), 50, 51, 52),
			"at once":    without(tone.stream(100), 1),
			"silence":    paused(tone, time.Second),
			"stopped":    tone.stream(50),
		} {
			r := play(t, Config{}, all, 3*time.Second)
			for i := 1; i < len(r.samples); i++ {
				step := math.Abs(float64(r.samples[i]) - float64(r.samples[i-1]))
				// Over 4 ms the blend may also go from full level to none.
				if step > 1.3*steepest+10000/32+100 {
					t.Errorf("%g Hz, %s: step of %.0f at %d, the tone's own are %.0f", hz, name, step, i, steepest)
					break
				}
			}
		}
	}
}

// TestConcealment measures what is made up: like what was heard, then silent.
func TestConcealment(t *testing.T) {
	tone := sine(200, 10000) // 40 samples a period: a repetition fits exactly
	r := play(t, Config{MaxDepth: 60 * time.Millisecond}, without(tone.stream(100), 50), 2*time.Second)
	var diff float64
	for i := 8000; i < 8080; i++ {
		d := float64(r.samples[i]) - float64(tone(int64(i)))
		diff += d * d
	}
	if rest := math.Sqrt(diff / 80); rest > 200 {
		t.Errorf("a lost piece of a tone is off by %.0f, root mean square", rest)
	}
	r = play(t, Config{}, tone.stream(50), 2*time.Second)
	for i, v := range r.samples[8000+480:] {
		if v != 0 {
			t.Fatalf("sample %d after the end is %d; by 60 ms there must be silence", 480+i, v)
		}
	}
	if slices.Equal(r.samples[8000:8080], make([]int16, 80)) {
		t.Error("nothing was made up after the end")
	}
}

// TestTakeover puts a second source behind the first, as a bridge does.
func TestTakeover(t *testing.T) {
	b, err := New(Config{Rate: rate, Decoder: linear{}})
	if err != nil {
		t.Fatal(err)
	}
	if b.Position(epoch) != 0 {
		t.Error("position before the first packet")
	}
	const base = 5000
	var dst [160]int16
	blocks := 0
	drain := func(now time.Time) {
		for {
			if _, ok := b.Pop(dst[:], now); !ok {
				return
			}
			blocks++
		}
	}
	for i := int64(0); i < 50; i++ {
		now := epoch.Add(time.Duration(i) * 20 * time.Millisecond)
		b.Push(signal(noise).packet(i, base+i*160, 160), now)
		drain(now)
	}
	now := epoch.Add(1040 * time.Millisecond)
	drain(now)
	if got := b.Position(now); got != base+1040*8 {
		t.Errorf("a source that takes over at 1.04 s stands at %d", got-base)
	}
	b.Push(signal(noise).packet(50, b.Position(now), 160), now)
	drain(now)
	if blocks != 53 {
		t.Errorf("%d blocks after 1.06 s", blocks)
	}
	if b.Next() != 53*160 {
		t.Errorf("next block at %d", b.Next())
	}
}

// TestLongAbsence: nobody calls Pop for an hour.
func TestLongAbsence(t *testing.T) {
	for _, next := range []int64{50, -1} {
		b, err := New(Config{Rate: rate, Decoder: linear{}})
		if err != nil {
			t.Fatal(err)
		}
		b.Push(signal(noise).packet(0, 0, 160), epoch)
		now := epoch.Add(time.Hour)
		if next > 0 {
			b.Push(signal(noise).packet(1, 3600*rate, 160), now)
		}
		var dst [160]int16
		var last Block
		n := 0
		for {
			blk, ok := b.Pop(dst[:], now)
			if !ok {
				break
			}
			n++
			last = blk
		}
		if n > 110 {
			t.Errorf("%d blocks at once", n)
		}
		if off := 3600*rate - last.Start; off > 800 || off < -160 {
			t.Errorf("the last block is %d samples from now", off)
		}
	}
}

func TestRefusals(t *testing.T) {
	b, err := New(Config{Rate: rate, Decoder: linear{}})
	if err != nil {
		t.Fatal(err)
	}
	n := signal(noise)
	for _, p := range []Packet{
		{Samples: 10, Payload: make([]byte, MaxPayload+1)},
		{Samples: -1},
		{Samples: rate},
	} {
		if v := b.Push(p, epoch); v != Refused {
			t.Errorf("%d samples in %d bytes: verdict %d", p.Samples, len(p.Payload), v)
		}
	}
	// Without Pop the queue fills up, and stays in order.
	refused := 0
	for i := range int64(40) {
		if b.Push(n.packet(i, i*160, 160), epoch) == Refused {
			refused++
		}
	}
	if refused != 40-slots {
		t.Errorf("%d of 40 packets refused", refused)
	}
	if v := b.Push(n.packet(5, 800, 160), epoch); v != Refused {
		t.Errorf("verdict %d on a full queue", v)
	}
	var dst [160]int16
	for i := range int64(slots) {
		blk, ok := b.Pop(dst[:], epoch)
		if !ok || blk.Start != i*160 || dst[7] != noise(i*160+7) {
			t.Fatalf("block %d: %+v, %t", i, blk, ok)
		}
	}
	if v := b.Push(n.packet(40, 40*160, 160), epoch); v != Queued {
		t.Errorf("verdict %d", v)
	}
	if v := b.Push(n.packet(40, 40*160, 160), epoch); v != Duplicate {
		t.Errorf("verdict %d on a duplicate", v)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{Rate: 8000}, "no decoder"},
		{Config{Decoder: linear{}}, "0 Hz"},
		{Config{Decoder: linear{}, Rate: 11025}, "11025 Hz"},
		{Config{Decoder: linear{}, Rate: 8000, MinDepth: -1}, "depth"},
		{Config{Decoder: linear{}, Rate: 8000, MinDepth: 2, MaxDepth: 1}, "depth"},
		{Config{Decoder: linear{}, Rate: 8000, MaxDepth: time.Minute}, "depth"},
	} {
		if _, err := New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.cfg, err)
		}
	}
}

func TestDoesNotAllocate(t *testing.T) {
	b, err := New(Config{Rate: rate, Decoder: linear{}})
	if err != nil {
		t.Fatal(err)
	}
	payload := make([]byte, 320)
	var dst [160]int16
	i := int64(0)
	if n := testing.AllocsPerRun(2000, func() {
		now := epoch.Add(time.Duration(i) * 20 * time.Millisecond)
		if i%7 != 0 || i == 0 { // with losses
			b.Push(Packet{Seq: i, Pos: i * 160, Samples: 160, Payload: payload}, now)
		}
		for ok := true; ok; {
			_, ok = b.Pop(dst[:], now)
		}
		i++
	}); n != 0 {
		t.Errorf("%g allocations per packet", n)
	}
}

// FuzzBuffer throws packets at a buffer and checks what must always hold.
func FuzzBuffer(f *testing.F) {
	f.Add([]byte{0, 0, 0, 20, 1, 1, 0, 20, 2, 2, 0, 20, 3, 3, 0, 20})
	f.Add([]byte{0, 0, 0, 20, 9, 9, 0, 20, 1, 1, 0, 200, 200, 255, 0, 255})
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := New(Config{Rate: rate, Decoder: linear{}})
		if err != nil {
			t.Fatal(err)
		}
		now := epoch
		next := int64(0)
		var dst [160]int16
		drain := func() {
			for n := 0; ; n++ {
				blk, ok := b.Pop(dst[:], now)
				if !ok {
					return
				}
				if blk.Start < next {
					t.Fatalf("block at %d after %d", blk.Start, next)
				}
				next = blk.Start + 160
				if n > 10000 {
					t.Fatal("no end")
				}
			}
		}
		for in = in[:min(len(in), 400)]; len(in) >= 4; in = in[4:] {
			now = now.Add(time.Duration(in[3]) * time.Duration(in[3]) * time.Millisecond)
			n := int(in[2]) % 4 * 80
			b.Push(Packet{Seq: int64(in[0]), Pos: int64(int8(in[1])) * 160, Samples: n, Payload: make([]byte, 2*n)}, now)
			drain()
		}
		b.Flush()
		drain()
		if b.count != 0 {
			t.Fatalf("%d packets are left after a flush", b.count)
		}
	})
}

func BenchmarkPushPop(b *testing.B) {
	buf, err := New(Config{Rate: rate, Decoder: linear{}})
	if err != nil {
		b.Fatal(err)
	}
	payload := make([]byte, 320)
	var dst [160]int16
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i++ {
		now := epoch.Add(time.Duration(i) * 20 * time.Millisecond)
		buf.Push(Packet{Seq: i, Pos: i * 160, Samples: 160, Payload: payload}, now)
		for ok := true; ok; {
			_, ok = buf.Pop(dst[:], now)
		}
	}
}
