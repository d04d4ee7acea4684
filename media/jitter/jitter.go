// Package jitter puts the packets of one RTP source back in order and turns
// them into an unbroken row of 20 ms blocks.
//
// It serves recognition, not a loudspeaker: audio that is there is handed out
// at once, in order, and only a gap makes it wait. The depth is the time for
// which a gap is held open; it follows what the network does, between MinDepth
// and MaxDepth, and lets a packet be overtaken by three others. What is missing
// then is concealed, by repeating the last pitch period and fading it to silence
// within 60 ms.
//
// The delay so is bounded: audio that has come waits for MaxDepth at most, 200
// ms, and none at all where nothing is missing. Only after silence was inserted
// too early for packets that were held up, when the blocks are ahead of the
// time, is a gap held open for as much longer as they are ahead, up to MaxDepth.
//
// Two kinds of gap are told apart. Where sequence numbers are missing, packets
// were lost (pcm.Lost). Where they follow each other and only the time has
// moved on, the sender was silent (pcm.Inserted). When nothing comes at all,
// silence is inserted at the pace of the clock; audio that arrives after it
// unbroken is moved behind it rather than dropped.
//
// The blocks count the time since the first packet. When the sender's clock
// runs faster or slower than ours, or the network's delay changes, that count
// and the real time part; once they are 20 ms apart, a quiet 20 ms is left out
// or put in, and if it never gets quiet, one piece a second is when they are
// 200 ms apart.
//
// A Buffer is for one goroutine, reads no clock and allocates nothing after
// New.
package jitter

import (
	"errors"
	"fmt"
	"time"

	"sidetone/internal/pcm"
)

const (
	// DefaultMinDepth and DefaultMaxDepth stand for zeros in Config.
	DefaultMinDepth = 40 * time.Millisecond
	DefaultMaxDepth = 200 * time.Millisecond
	// MaxPayload is the largest payload that Push takes: what an Ethernet frame
	// leaves for it.
	MaxPayload = 1500 - 20 - 8 - 12

	slots = 32
	// maxPacket bounds the audio of one packet; RFC 3551 recommends at most
	// 200 ms, and an 8-bit codec cannot exceed it within MaxPayload.
	maxPacket = 200 * time.Millisecond
	// depthMargin is added to the lateness that has been seen.
	depthMargin = 20 * time.Millisecond
	// depthDecay is the time in which a seen lateness is forgotten, about.
	depthDecay = 10 * time.Second
	// overtakers is how many packets may overtake another without its being
	// given up, up to overtakenLimit.
	overtakers     = 3
	overtakenLimit = 80 * time.Millisecond
	// resyncAfter is the lateness from which on a packet is taken to come from
	// a clock that stood still, rather than from a slow network.
	resyncAfter = time.Second
	// maxBacklog is how much silence is made up in one go when nobody called
	// for long; the position jumps over the rest.
	maxBacklog = 2 * time.Second
	lossFade   = 60 * time.Millisecond
	pauseFade  = 10 * time.Millisecond
	// forceDrift and forceEvery: see the package comment.
	forceDrift = 200 * time.Millisecond
	forceEvery = time.Second
)

// Decoder turns a payload into samples.
type Decoder interface {
	// Decode writes the samples of src to dst and returns their number.
	Decode(dst []int16, src []byte) (int, error)
}

// Config describes the stream.
type Config struct {
	// Rate is the sample rate in Hz of what Decoder writes: a multiple of 50
	// between 8000 and 48000.
	Rate    int
	Decoder Decoder
	// MinDepth and MaxDepth bound how long a gap is held open.
	MinDepth, MaxDepth time.Duration
}

// Packet is one packet on the stream's clock, as rtpflow places it.
type Packet struct {
	// Seq is the extended sequence number.
	Seq int64
	// Pos is the position of the first sample, in samples at Config.Rate.
	Pos int64
	// Samples is the packet's length. A packet of length zero carries no audio
	// and says only that its number is not lost.
	Samples int
	// Payload is copied.
	Payload []byte
	// Decoder, where given, decodes this packet in place of Config.Decoder.
	Decoder Decoder
}

// Verdict says what became of a packet.
type Verdict uint8

// The verdicts.
const (
	Queued Verdict = iota
	// Duplicate: a packet of that number is in the buffer.
	Duplicate
	// Late: its place has been passed.
	Late
	// Refused: the packet is too large or lies too far ahead.
	Refused
)

// Block describes 20 ms of output.
type Block struct {
	// Start is the position of the first sample since the stream's first
	// packet, in samples at Config.Rate. It jumps only where nobody called Pop
	// for more than two seconds.
	Start int64
	// Flags tell what part of the block, if any, was made up.
	Flags pcm.Flags
}

// Stats counts what the buffer did.
type Stats struct {
	Late, Duplicate, Refused uint64
	// Undecodable counts payloads that the decoder refused.
	Undecodable uint64
	// Cut and Added count the 20 ms pieces by which drift was taken back.
	Cut, Added uint64
	// Depth is how long a gap is held open now.
	Depth time.Duration
}

type slot struct {
	seq, pos int64 // pos counts from the first packet
	samples  int
	size     int
	// resync: the packet comes from a clock that stood still.
	resync  bool
	decoder Decoder
}

// Buffer is the state of one stream. Positions in it count from the first
// packet: those of the leg run with the blocks, those of the flow with the
// packets.
type Buffer struct {
	cfg     Config
	rate    int64
	block   int // samples of 20 ms
	conceal *concealer
	timing  timing
	stats   Stats

	slots [slots]slot
	slab  []byte
	order [slots]uint8 // slot numbers: the queued ones by sequence, then the free ones
	count int          // how many are queued
	next  int64        // the sequence number to be played next
	base  int64        // Packet.Pos of the first packet
	end   int64        // the end of the newest audio, on the flow's clock

	shift int64 // the leg's position less the flow's
	pos   int64 // the leg's position of the next sample to be made
	// guessed counts silence that was inserted after all that had come; late
	// audio may be moved behind it.
	guessed int64
	// concealed counts what was made up for lost packets since the last packet,
	// which had lastLen samples.
	concealed, lastLen int64

	cur       []int16 // the decoded packet
	play      []int16 // what is left of it
	fresh     bool    // play has not begun
	insert    int     // how much is to be made up before it
	lastForce time.Time
	moved     time.Time // when late audio was last moved
	level     float64   // slow mean of the magnitude of speech

	out      []int16 // the block that is being put together
	outLen   int
	outFlags pcm.Flags
	outStart int64
	flushing bool
}

// New makes an empty buffer.
func New(cfg Config) (*Buffer, error) {
	if cfg.MinDepth == 0 {
		cfg.MinDepth = DefaultMinDepth
	}
	if cfg.MaxDepth == 0 {
		cfg.MaxDepth = max(DefaultMaxDepth, cfg.MinDepth)
	}
	switch {
	case cfg.Decoder == nil:
		return nil, errors.New("jitter: no decoder")
	case cfg.Rate < 8000 || cfg.Rate > 48000 || cfg.Rate%50 != 0:
		return nil, fmt.Errorf("jitter: sample rate %d Hz, expected a multiple of 50 from 8000 to 48000", cfg.Rate)
	case cfg.MinDepth < 0 || cfg.MinDepth > cfg.MaxDepth || cfg.MaxDepth > 2*time.Second:
		return nil, fmt.Errorf("jitter: depth from %v to %v, expected 0 <= min <= max <= 2s", cfg.MinDepth, cfg.MaxDepth)
	}
	b := &Buffer{
		cfg: cfg, rate: int64(cfg.Rate), block: cfg.Rate / 50,
		conceal: newConcealer(cfg.Rate),
		timing:  timing{minDepth: cfg.MinDepth, maxDepth: cfg.MaxDepth},
		slab:    make([]byte, slots*MaxPayload),
		cur:     make([]int16, cfg.Rate*int(maxPacket/time.Millisecond)/1000),
		out:     make([]int16, cfg.Rate/50),
	}
	for i := range b.order {
		b.order[i] = uint8(i)
	}
	return b, nil
}

// Push takes a packet that arrived at now.
func (b *Buffer) Push(p Packet, now time.Time) Verdict {
	v := b.push(p, now)
	switch v {
	case Duplicate:
		b.stats.Duplicate++
	case Late:
		b.stats.Late++
	case Refused:
		b.stats.Refused++
	}
	return v
}

func (b *Buffer) push(p Packet, now time.Time) Verdict {
	if len(p.Payload) > MaxPayload || p.Samples < 0 || p.Samples > len(b.cur) || b.count == slots {
		return Refused
	}
	if !b.timing.started() {
		if p.Samples == 0 {
			return Queued
		}
		b.timing.start(now)
		b.next, b.base = p.Seq, p.Pos
	}
	pos := p.Pos - b.base
	// Place the packet by insertion; nearly always it goes to the end.
	at := b.count
	for at > 0 && b.slots[b.order[at-1]].seq >= p.Seq {
		at--
	}
	if at < b.count && b.slots[b.order[at]].seq == p.Seq {
		return Duplicate
	}
	resync := false
	if p.Samples > 0 {
		resync = b.timing.arrived(pcmDuration(pos, b.rate), now, pos >= b.end)
	}
	if p.Seq < b.next {
		return Late
	}
	id := b.order[b.count]
	copy(b.order[at+1:b.count+1], b.order[at:b.count])
	b.order[at] = id
	b.count++
	if p.Decoder == nil {
		p.Decoder = b.cfg.Decoder
	}
	b.slots[id] = slot{seq: p.Seq, pos: pos, samples: p.Samples, size: len(p.Payload), resync: resync, decoder: p.Decoder}
	copy(b.slab[int(id)*MaxPayload:], p.Payload)
	b.end = max(b.end, pos+int64(p.Samples))
	return Queued
}

// drop takes the head out of the queue.
func (b *Buffer) drop() {
	id := b.order[0]
	b.next = b.slots[id].seq + 1
	b.count--
	copy(b.order[:b.count], b.order[1:b.count+1])
	b.order[b.count] = id
}

// Pop writes the next block, 20 ms, to dst and reports whether one is due at
// now; call it until none is, after each Push and every 20 ms or so. It panics
// when dst is shorter than a block.
func (b *Buffer) Pop(dst []int16, now time.Time) (Block, bool) {
	dst = dst[:b.block]
	for b.outLen < b.block {
		if !b.step(now) {
			return Block{}, false
		}
	}
	copy(dst, b.out)
	b.outLen = 0
	return Block{Start: b.outStart, Flags: b.outFlags}, true
}

// Flush makes Pop hand out what is left without waiting for anything.
func (b *Buffer) Flush() { b.flushing = true }

// Position is where, on the clock of Packet.Pos, the first packet of another
// source stands that arrives at now and takes over the stream.
func (b *Buffer) Position(now time.Time) int64 {
	if !b.timing.started() {
		return 0
	}
	arrival := pcmSamples(b.timing.position(now), b.rate)
	return b.base + max(b.end, arrival, b.pos-b.shift)
}

// Place is where the leg plays what stands at pos on the clock of Packet.Pos,
// as things are now.
func (b *Buffer) Place(pos int64) int64 { return pos - b.base + b.shift }

// Next is the position of the next block's first sample.
func (b *Buffer) Next() int64 { return b.pos - int64(b.outLen) }

// Stats returns the counters.
func (b *Buffer) Stats() Stats {
	s := b.stats
	s.Depth = b.timing.depth()
	return s
}

func pcmDuration(samples, rate int64) time.Duration {
	return time.Duration(samples/rate)*time.Second + time.Duration(samples%rate)*time.Second/time.Duration(rate)
}

func pcmSamples(d time.Duration, rate int64) int64 {
	return int64(d/time.Second)*rate + int64(d%time.Second)*rate/int64(time.Second)
}
