package jitter

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
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

// find returns where the piece of noise at pos came out, or -1.
func (r *result) find(pos int64) int {
	for i := 0; i+3 <= len(r.samples); i++ {
		if r.samples[i] == noise(pos) && r.samples[i+1] == noise(pos+1) && r.samples[i+2] == noise(pos+2) {
			return i
		}
	}
	return -1
}
