package rtpflow

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

var epoch = time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)

func ms(n int) time.Time { return epoch.Add(time.Duration(n) * time.Millisecond) }

func newFlow(t testing.TB, cfg Config) *Flow {
	t.Helper()
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// step is one packet of 20 ms and what must become of it; seq and pos count
// from the flow's beginning.
type step struct {
	seq    uint16
	ts     uint32
	at     int // ms
	marker bool
	skip   bool
	want   Verdict
	ext    int64
	pos    int64
}

func TestFlow(t *testing.T) {
	const A, R, D, S, Q = Accepted, Reordered, Duplicate, Stale, Suspect
	for _, c := range []struct {
		name  string
		steps []step
		want  Stats
	}{
		{"in order", []step{
			{seq: 10, ts: 1000, at: 0, want: A, ext: 0, pos: 0},
			{seq: 11, ts: 1160, at: 20, want: A, ext: 1, pos: 160},
			{seq: 12, ts: 1320, at: 40, want: A, ext: 2, pos: 320},
		}, Stats{Received: 3}},
		{"sequence wrap", []step{
			{seq: 65534, ts: 0, at: 0, want: A, ext: 0, pos: 0},
			{seq: 65535, ts: 160, at: 20, want: A, ext: 1, pos: 160},
			{seq: 0, ts: 320, at: 40, want: A, ext: 2, pos: 320},
			{seq: 1, ts: 480, at: 60, want: A, ext: 3, pos: 480},
		}, Stats{Received: 4}},
		{"reordered over the wrap", []step{
			{seq: 65535, ts: 0, at: 0, want: A, ext: 0, pos: 0},
			{seq: 1, ts: 320, at: 40, want: A, ext: 2, pos: 320},
			{seq: 0, ts: 160, at: 41, want: R, ext: 1, pos: 160},
		}, Stats{Received: 3, Reordered: 1}},
		{"timestamp wrap", []step{
			{seq: 1, ts: math.MaxUint32 - 159, at: 0, want: A, ext: 0, pos: 0},
			{seq: 2, ts: 0, at: 20, want: A, ext: 1, pos: 160},
			{seq: 3, ts: 160, at: 40, want: A, ext: 2, pos: 320},
		}, Stats{Received: 3}},
		{"loss", []step{
			{seq: 1, ts: 0, at: 0, want: A, ext: 0, pos: 0},
			{seq: 4, ts: 480, at: 60, want: A, ext: 3, pos: 480},
		}, Stats{Received: 2, Lost: 2}},
		{"loss that came late", []step{
			{seq: 1, ts: 0, at: 0, want: A, ext: 0, pos: 0},
			{seq: 3, ts: 320, at: 40, want: A, ext: 2, pos: 320},
			{seq: 2, ts: 160, at: 90, want: R, ext: 1, pos: 160},
		}, Stats{Received: 3, Reordered: 1}},
		{"duplicates", []step{
			{seq: 1, ts: 0, at: 0, want: A, ext: 0, pos: 0},
			{seq: 1, ts: 0, at: 1, want: D},
			{seq: 2, ts: 160, at: 20, want: A, ext: 1, pos: 160},
			{seq: 3, ts: 320, at: 40, want: A, ext: 2, pos: 320},
			{seq: 2, ts: 160, at: 41, want: D},
		}, Stats{Received: 3, Duplicate: 2}},
		{"first two swapped", []step{
			{seq: 8, ts: 160, at: 20, want: A, ext: 0, pos: 0},
			{seq: 7, ts: 0, at: 21, want: S},
			{seq: 9, ts: 320, at: 40, want: A, ext: 1, pos: 160},
		}, Stats{Received: 3, Reordered: 1, Stale: 1}},
		{"restart", []step{
			{seq: 100, ts: 8000, at: 0, want: A, ext: 0, pos: 0},
			{seq: 40000, ts: 500000, at: 20, want: Q},
			{seq: 40001, ts: 500160, at: 40, want: A, ext: 1, pos: 320},
			{seq: 40002, ts: 500320, at: 60, want: A, ext: 2, pos: 480},
		}, Stats{Received: 3, Suspect: 1, Restarts: 1, Jumps: 1}},
		{"stray number", []step{
			{seq: 100, ts: 8000, at: 0, want: A, ext: 0, pos: 0},
			{seq: 40000, ts: 9, at: 5, want: Q},
			{seq: 101, ts: 8160, at: 20, want: A, ext: 1, pos: 160},
			{seq: 40001, ts: 9, at: 25, want: Q},
		}, Stats{Received: 2, Suspect: 2}},
		{"silence suppression", []step{
			{seq: 1, ts: 0, at: 0, want: A, ext: 0, pos: 0},
			{seq: 2, ts: 240160, at: 30020, marker: true, want: A, ext: 1, pos: 240160},
		}, Stats{Received: 2}},
		{"timestamp jumps forward", []step{
			{seq: 1, ts: 0, at: 0, want: A, ext: 0, pos: 0},
			{seq: 2, ts: 800160, at: 20, want: A, ext: 1, pos: 160},
			{seq: 3, ts: 800320, at: 40, want: A, ext: 2, pos: 320},
		}, Stats{Received: 3, Jumps: 1}},
		{"timestamp jumps backward", []step{
			{seq: 1, ts: 900000, at: 0, want: A, ext: 0, pos: 0},
			{seq: 2, ts: 5, at: 50, want: A, ext: 1, pos: 400},
			{seq: 3, ts: 165, at: 70, want: A, ext: 2, pos: 560},
		}, Stats{Received: 3, Jumps: 1}},
		{"timestamp jumps backward in a burst", []step{
			{seq: 1, ts: 900000, at: 0, want: A, ext: 0, pos: 0},
			{seq: 2, ts: 5, at: 0, want: A, ext: 1, pos: 160},
		}, Stats{Received: 2, Jumps: 1}},
		{"small jump, with and without marker", []step{
			{seq: 1, ts: 0, at: 0, want: A, ext: 0, pos: 0},
			{seq: 2, ts: 4160, at: 20, want: A, ext: 1, pos: 4160},
			{seq: 3, ts: 8320, at: 40, marker: true, want: A, ext: 2, pos: 4320},
		}, Stats{Received: 3, Jumps: 1}},
		{"reordered over a jump", []step{
			{seq: 1, ts: 0, at: 0, want: A, ext: 0, pos: 0},
			{seq: 3, ts: 800320, at: 40, want: A, ext: 2, pos: 320},
			{seq: 2, ts: 160, at: 41, want: S},
			{seq: 4, ts: 800480, at: 60, want: A, ext: 3, pos: 480},
		}, Stats{Received: 4, Reordered: 1, Stale: 1, Jumps: 1}},
		{"events between the audio", []step{
			{seq: 1, ts: 0, at: 0, want: A, ext: 0, pos: 0},
			{seq: 2, skip: true, want: A, ext: 1},
			{seq: 2, skip: true, want: D},
			{seq: 3, skip: true, want: A, ext: 2},
			{seq: 4, ts: 480, at: 60, want: A, ext: 3, pos: 480},
		}, Stats{Received: 4, Duplicate: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			// The same flow must behave alike wherever on the clock it begins.
			for _, base := range []Config{{}, {Seq: 1000, Pos: 77777}} {
				base.Clock, base.Rate = 8000, 8000
				f := newFlow(t, base)
				if f.NextSeq() != base.Seq {
					t.Errorf("next is %d before the first packet, want %d", f.NextSeq(), base.Seq)
				}
				for i, s := range c.steps {
					var got Place
					var v Verdict
					if s.skip {
						got, v = f.Skip(s.seq)
					} else {
						got, v = f.Media(Packet{s.seq, s.ts, s.marker, 160, ms(s.at)})
					}
					if v != s.want {
						t.Fatalf("packet %d: verdict %d, want %d", i, v, s.want)
					}
					if v != Accepted && v != Reordered {
						continue
					}
					if got.Seq != base.Seq+s.ext || !s.skip && got.Pos != base.Pos+s.pos {
						t.Fatalf("packet %d: at %+v, want %d, %d", i, got, base.Seq+s.ext, base.Pos+s.pos)
					}
					if v == Accepted && f.NextSeq() != got.Seq+1 {
						t.Errorf("packet %d: next is %d after %d", i, f.NextSeq(), got.Seq)
					}
				}
				got := f.Stats()
				got.Jitter = 0
				if got != c.want {
					t.Errorf("stats %+v, want %+v", got, c.want)
				}
			}
		})
	}
}

// TestRates covers a codec whose clock is not its sample rate (RFC 3551, 4.5.2).
func TestRates(t *testing.T) {
	f := newFlow(t, Config{Clock: 8000, Rate: 16000})
	for i := range 50 {
		p, _ := f.Media(Packet{uint16(i), uint32(i * 160), false, 320, ms(i * 20)})
		if p.Pos != int64(i)*320 {
			t.Fatalf("packet %d at %d", i, p.Pos)
		}
	}
}

// TestLongCall runs over many wraps of both counters.
func TestLongCall(t *testing.T) {
	f := newFlow(t, Config{Clock: 8000, Rate: 8000})
	seq, ts := uint16(65000), uint32(math.MaxUint32-1000)
	// A silence of an hour after each packet makes the clock wrap every 150.
	for i := range 70000 {
		p, v := f.Media(Packet{seq, ts, true, 160, epoch.Add(time.Duration(i) * time.Hour)})
		if v != Accepted || p.Seq != int64(i) || p.Pos != int64(i)*3600*8000 {
			t.Fatalf("packet %d: %+v, %d", i, p, v)
		}
		seq++
		ts += 3600 * 8000
	}
	if s := f.Stats(); s.Lost != 0 || s.Jumps != 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestLossIsExact counts by hand what a bad network does.
func TestLossIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	f := newFlow(t, Config{Clock: 8000, Rate: 8000})
	var lost, dup uint64
	f.Media(Packet{Seq: 65000, Samples: 160, At: epoch})
	const n = 20000
	for i := 1; i <= n; i++ {
		p := Packet{uint16(65000 + i), uint32(i * 160), false, 160, ms(i * 20)}
		if i < n && rng.IntN(20) == 0 {
			lost++
			continue
		}
		f.Media(p)
		for rng.IntN(30) == 0 {
			dup++
			f.Media(p)
		}
	}
	if s := f.Stats(); s.Lost != lost || s.Duplicate != dup || s.Received != n+1-lost {
		t.Errorf("stats %+v; really lost %d, duplicate %d", s, lost, dup)
	}
}

func TestJitter(t *testing.T) {
	f := newFlow(t, Config{Clock: 8000, Rate: 8000})
	for i := range 2000 {
		// Every other packet is 8 ms late: successive transits differ by 8 ms.
		f.Media(Packet{uint16(i), uint32(i * 160), false, 160, ms(i*20 + i%2*8)})
	}
	if j := f.Stats().Jitter; j < 7900*time.Microsecond || j > 8100*time.Microsecond {
		t.Errorf("jitter %v, want 8 ms", j)
	}
	steady := newFlow(t, Config{Clock: 8000, Rate: 8000})
	for i := range 100 {
		steady.Media(Packet{uint16(i), uint32(i * 160), false, 160, ms(i * 20)})
	}
	if j := steady.Stats().Jitter; j != 0 {
		t.Errorf("jitter %v of a steady stream", j)
	}
}

func TestWindow(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var w window
	seen := map[int64]bool{}
	top := int64(0)
	for range 5000 {
		if rng.IntN(2) == 0 {
			n := rng.Int64N(10) + 1
			if rng.IntN(20) == 0 {
				n = rng.Int64N(200) + 1
			}
			top += n
			w.advance(n)
			seen[top] = true
			continue
		}
		back := rng.Int64N(127) + 1
		if got := w.mark(back); got == seen[top-back] {
			t.Fatalf("%d behind %d: new is %t", back, top, got)
		}
		seen[top-back] = true
	}
}

func TestNewRefuses(t *testing.T) {
	for _, cfg := range []Config{{}, {Clock: 8000}, {Rate: 8000}, {Clock: -1, Rate: 8000}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

func FuzzFlow(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 160, 20, 0})
	f.Add([]byte{255, 255, 255, 255, 255, 255, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		flow := newFlow(t, Config{Clock: 8000, Rate: 8000})
		at := epoch
		top := int64(-1)
		for ; len(in) >= 8; in = in[8:] {
			at = at.Add(time.Duration(in[6]) * time.Millisecond)
			seq := uint16(in[0])<<8 | uint16(in[1])
			ts := uint32(in[2])<<24 | uint32(in[3])<<16 | uint32(in[4])<<8 | uint32(in[5])
			p, v := flow.Media(Packet{seq, ts, in[7]&1 != 0, 160, at})
			if v == Accepted {
				if p.Seq <= top {
					t.Fatalf("accepted %d after %d", p.Seq, top)
				}
				top = p.Seq
				// No timestamp may carry a packet far beyond its arrival.
				if ahead := p.Pos - int64(at.Sub(epoch)/time.Millisecond)*8; ahead > (top+1)*8160 {
					t.Fatalf("packet %d stands %d samples ahead of its arrival", p.Seq, ahead)
				}
			}
		}
		if s := flow.Stats(); s.Lost > uint64(flow.NextSeq())+maxMisorder {
			t.Fatalf("lost %d of %d", s.Lost, flow.NextSeq())
		}
	})
}

func TestDoesNotAllocate(t *testing.T) {
	f := newFlow(t, Config{Clock: 8000, Rate: 8000})
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		f.Media(Packet{uint16(i), uint32(i * 160), false, 160, ms(i * 20)})
		f.Stats()
		i++
	}); n != 0 {
		t.Errorf("%g allocations per packet", n)
	}
}
