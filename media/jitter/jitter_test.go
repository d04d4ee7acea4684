package jitter

import (
	"strings"
	"testing"
	"time"

	"sidetone/internal/pcm"
)

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
