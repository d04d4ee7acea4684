package jitter

import (
	"math/rand/v2"
	"testing"
	"time"

	"sidetone/internal/pcm"
)

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
	if w := wait(10); w < overtakenLimit || w > overtakenLimit+20*time.Millisecond {
		t.Errorf("at first a gap was held open for %v, want %v", w, overtakenLimit)
	}
	if r.stats.Depth != DefaultMinDepth {
		t.Errorf("after 25 quiet seconds the depth is %v", r.stats.Depth)
	}
	mid := play(t, Config{}, without(all[:160], 155), 4*time.Second)
	if mid.stats.Depth < 100*time.Millisecond || mid.stats.Depth > DefaultMaxDepth {
		t.Errorf("depth %v after packets came 95 ms late", mid.stats.Depth)
	}
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

// TestSkew runs ten minutes against a sender whose clock is off. Neither the
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
		{"fast, never quiet", 1000, sine(440, 8000), 230 * time.Millisecond},
		{"slow, never quiet", -1000, sine(440, 8000), 230 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(7, 8))
			const minutes = 10
			b, err := New(Config{Rate: rate, Decoder: linear{}})
			if err != nil {
				t.Fatal(err)
			}
			// The signals repeat every second.
			var second [50]Packet
			for i := range second {
				second[i] = c.signal.packet(0, int64(i)*160, 160)
			}
			var dst [160]int16
			var out int64
			for i := int64(0); i < minutes*60*50; i++ {
				sent := time.Duration(i) * 20 * time.Millisecond
				sent -= sent * time.Duration(c.ppm) / 1_000_000
				now := epoch.Add(sent + time.Duration(rng.IntN(5000))*time.Microsecond)
				p := second[i%50]
				p.Seq, p.Pos = i, i*160
				b.Push(p, now)
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
