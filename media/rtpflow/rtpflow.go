// Package rtpflow follows one RTP synchronisation source: it extends sequence
// numbers and timestamps over their wraps, tells loss from reordering, survives
// restarts, and places each packet on a clock that counts samples.
//
// The sequence rules are those of RFC 3550, appendix A.1, except that the first
// packet is accepted at once: a fork announces its stream, and speech begins in
// it. Interarrival jitter is that of appendix A.8.
//
// A Flow is for one goroutine. It allocates nothing after New and keeps no
// payload.
package rtpflow

import (
	"fmt"
	"math"
	"time"
)

const (
	// maxDropout and maxMisorder are RFC 3550's bounds: a packet up to so many
	// numbers ahead is a gap, up to so many behind is late; beyond, the source
	// may have restarted, which the next packet confirms.
	maxDropout  = 3000
	maxMisorder = 100
	// jumpLimit is how far a timestamp may run ahead of the arrival before it
	// is taken for a clock that was set rather than for time that passed. Where
	// the marker says that a talkspurt begins (RFC 3551, section 4.1), less
	// will do.
	jumpLimit       = time.Second
	markerJumpLimit = 200 * time.Millisecond
)

// Config says where a flow begins on the clock that it is mapped on.
type Config struct {
	// Clock is the RTP clock rate in Hz, Rate that of the positions. They
	// differ for G.722 (8000 and 16000).
	Clock, Rate int
	// Seq and Pos are the extended sequence number and the position, in
	// samples at Rate, that the first packet receives.
	Seq, Pos int64
}

// Packet is what a flow wants to know of one packet.
type Packet struct {
	Seq       uint16
	Timestamp uint32
	Marker    bool
	// Samples is the packet's length at Config.Rate.
	Samples int
	// At is when the packet arrived.
	At time.Time
}

// Verdict says what a packet is to the flow.
type Verdict uint8

// The verdicts.
const (
	// Accepted: newer than all before it, perhaps after a gap.
	Accepted Verdict = iota
	// Reordered: older than another, and new.
	Reordered
	// Duplicate: this sequence number has been here.
	Duplicate
	// Stale: from before the source's clock was set anew, or too old to tell.
	Stale
	// Suspect: far from all before it; if its successor follows, the source has
	// restarted and the successor is Accepted.
	Suspect
)

// Place is where a packet belongs.
type Place struct {
	// Seq is the sequence number extended over wraps and restarts.
	Seq int64
	// Pos is the position of the first sample. It is set for media only.
	Pos int64
}

// Stats counts what a flow has seen. Received plus Lost is the number of
// packets that the sequence numbers promise.
type Stats struct {
	// Received counts accepted and reordered packets, media or not.
	Received, Reordered, Duplicate, Stale, Suspect uint64
	// Lost counts sequence numbers that have not arrived; one that comes late
	// is taken off again.
	Lost uint64
	// Restarts counts new beginnings of the sequence, Jumps of the timestamps.
	Restarts, Jumps uint64
	// Jitter is the interarrival jitter.
	Jitter time.Duration
}

// Flow is the state of one source.
type Flow struct {
	clock, rate int64
	stats       Stats

	started  bool
	maxSeq   uint16
	maxExt   int64
	firstExt int64
	// wire is what the sender's extended sequence numbers are ahead of ours.
	wire int64
	seen window
	// suspect is the sequence number that would confirm a restart, or -1.
	suspect int

	// Of the newest media packet:
	media     bool
	stamp     uint32
	extStamp  int64
	pos       int64
	samples   int64
	at        time.Time
	anchorSeq int64 // the packet from which on positions are valid
	anchorPos int64
	anchorTS  int64

	skew   skew
	jitter float64 // in units of the RTP clock
	lastTS uint32  // of the last arrival, in whatever order
	lastAt time.Time
}

// New checks the configuration.
func New(cfg Config) (*Flow, error) {
	if cfg.Clock <= 0 || cfg.Rate <= 0 {
		return nil, fmt.Errorf("rtpflow: clock of %d Hz and sample rate of %d Hz must be positive", cfg.Clock, cfg.Rate)
	}
	return &Flow{
		clock: int64(cfg.Clock), rate: int64(cfg.Rate),
		firstExt: cfg.Seq, maxExt: cfg.Seq, anchorPos: cfg.Pos, suspect: -1,
	}, nil
}

// Retime says that the source's next packets count time by another clock, as
// when it changes to another payload type. The first of them stands at pos, in
// samples at the new rate; the sequence goes on.
func (f *Flow) Retime(clock, rate int, pos int64) {
	f.clock, f.rate = int64(clock), int64(rate)
	f.media, f.anchorPos = false, pos
	f.jitter, f.lastAt = 0, time.Time{}
	f.skew.restart()
}

// Newer says whether a packet of this number would be the newest.
func (f *Flow) Newer(seq uint16) bool {
	delta := seq - f.maxSeq // modulo 2^16
	return !f.started || delta > 0 && delta < maxDropout
}

// NextSeq is the extended sequence number after the newest.
func (f *Flow) NextSeq() int64 {
	if !f.started {
		return f.maxExt
	}
	return f.maxExt + 1
}

// Stats returns the counters. Lost and Jitter are computed here.
func (f *Flow) Stats() Stats {
	s := f.stats
	if f.started {
		s.Lost = uint64(f.maxExt-f.firstExt+1) - s.Received
	}
	s.Jitter = time.Duration(f.jitter * float64(time.Second) / float64(f.clock))
	return s
}

// Reception is what a receiver report says (RFC 3550, section 6.4.1).
type Reception struct {
	// Highest is the highest sequence number, extended by the wraps that were
	// seen of it.
	Highest uint32
	// Expected and Lost count packets.
	Expected, Lost uint64
	// Jitter is in units of the RTP clock.
	Jitter uint32
}

// Reception returns the state of the source's packets; ok is false before the
// first.
func (f *Flow) Reception() (r Reception, ok bool) {
	if !f.started {
		return r, false
	}
	expected := uint64(f.maxExt - f.firstExt + 1)
	return Reception{
		Highest: uint32(f.maxExt + f.wire), Expected: expected,
		Lost: expected - f.stats.Received, Jitter: uint32(f.jitter),
	}, true
}

// At is the position of a timestamp near the newest packet's; ok is false
// before the first packet of media.
func (f *Flow) At(timestamp uint32) (pos int64, ok bool) {
	return f.position(f.extStamp + int64(int32(timestamp-f.stamp))), f.media
}

// Skew is by how many parts per million the sender's clock runs faster than
// the arrivals'; known is false for the first minute.
func (f *Flow) Skew() (ppm float64, known bool) { return f.skew.ppm, f.skew.known }

// Media places a packet that carries audio. The place is valid for Accepted
// and Reordered.
func (f *Flow) Media(p Packet) (Place, Verdict) {
	ext, v := f.sequence(p.Seq)
	if v != Accepted && v != Reordered {
		return Place{}, v
	}
	f.interarrival(p)
	if v == Reordered {
		if !f.media || ext < f.anchorSeq {
			f.stats.Stale++
			return Place{}, Stale
		}
		ts := f.extStamp + int64(int32(p.Timestamp-f.stamp))
		return Place{ext, f.position(ts)}, Reordered
	}
	switch {
	case !f.media:
		f.anchorSeq, f.anchorTS = ext, int64(p.Timestamp)
		f.extStamp = f.anchorTS
	default:
		ahead := int64(int32(p.Timestamp - f.stamp))
		elapsed := f.ticks(p.At.Sub(f.at))
		f.extStamp += ahead
		limit := f.ticks(jumpLimit)
		if p.Marker {
			limit = f.ticks(markerJumpLimit)
		}
		if ahead <= 0 || ahead-elapsed > limit {
			// The clock was set: only the arrival says how much time passed.
			f.stats.Jumps++
			f.skew.restart()
			f.anchorSeq, f.anchorTS = ext, f.extStamp
			f.anchorPos = f.pos + max(f.samples, elapsed*f.rate/f.clock)
		}
	}
	f.media = true
	f.stamp, f.samples, f.at = p.Timestamp, int64(p.Samples), p.At
	f.pos = f.position(f.extStamp)
	f.skew.add(float64(f.extStamp-f.anchorTS)/float64(f.clock), p.At)
	return Place{ext, f.pos}, Accepted
}

// Skip takes note of a packet without audio: an event, comfort noise, padding
// alone, a payload type that nobody decodes. Its timestamp says nothing about
// the audio's.
func (f *Flow) Skip(seq uint16) (Place, Verdict) {
	ext, v := f.sequence(seq)
	return Place{Seq: ext}, v
}

func (f *Flow) position(ts int64) int64 {
	return f.anchorPos + (ts-f.anchorTS)*f.rate/f.clock
}

// ticks converts a duration into units of the RTP clock, within what 32 bits
// of timestamp can say.
func (f *Flow) ticks(d time.Duration) int64 {
	d = max(0, min(d, math.MaxInt32*time.Second/time.Duration(f.clock)))
	return int64(d/time.Second)*f.clock + int64(d%time.Second)*f.clock/int64(time.Second)
}

// sequence is update_seq of RFC 3550, appendix A.1, with a memory of what has
// been here.
func (f *Flow) sequence(seq uint16) (int64, Verdict) {
	if !f.started {
		f.started = true
		f.maxSeq, f.wire = seq, int64(seq)-f.maxExt
		f.seen.advance(1)
		f.stats.Received++
		return f.maxExt, Accepted
	}
	delta := seq - f.maxSeq // modulo 2^16
	switch {
	case delta == 0:
		f.stats.Duplicate++
		return f.maxExt, Duplicate
	case delta < maxDropout:
		f.newest(seq, int64(delta))
		return f.maxExt, Accepted
	case delta > math.MaxUint16-maxMisorder:
		back := int64(-delta)
		ext := f.maxExt - back
		if !f.seen.mark(back) {
			f.stats.Duplicate++
			return ext, Duplicate
		}
		f.firstExt = min(f.firstExt, ext)
		f.stats.Received++
		f.stats.Reordered++
		return ext, Reordered
	case int(seq) == f.suspect:
		f.stats.Restarts++
		// What lies behind the restart belongs to the numbers before it.
		f.seen = window{math.MaxUint64, math.MaxUint64}
		f.newest(seq, 1)
		return f.maxExt, Accepted
	default:
		f.stats.Suspect++
		f.suspect = int(seq + 1)
		return 0, Suspect
	}
}

func (f *Flow) newest(seq uint16, ahead int64) {
	f.maxSeq = seq
	f.maxExt += ahead
	f.suspect = -1
	f.seen.advance(ahead)
	f.stats.Received++
}

// interarrival is RFC 3550, appendix A.8. A clock that was set is no jitter.
func (f *Flow) interarrival(p Packet) {
	if !f.lastAt.IsZero() {
		apart := p.At.Sub(f.lastAt)
		d := math.Abs(apart.Seconds()*float64(f.clock) - float64(int32(p.Timestamp-f.lastTS)))
		if d < float64(f.clock) {
			f.jitter += (d - f.jitter) / 16
		}
	}
	f.lastTS, f.lastAt = p.Timestamp, p.At
}

// window remembers which of the newest 128 sequence numbers have arrived; bit i
// stands for the newest but i.
type window [2]uint64

// advance makes room for n newer numbers and marks the newest.
func (w *window) advance(n int64) {
	switch {
	case n >= 128:
		*w = window{}
	case n >= 64:
		w[1], w[0] = w[0]<<(n-64), 0
	default:
		w[1] = w[1]<<n | w[0]>>(64-n)
		w[0] <<= n
	}
	w[0] |= 1
}

// mark notes the number that is back behind the newest, 0 < back < 128, and
// tells whether it was new.
func (w *window) mark(back int64) bool {
	bit := uint64(1) << (back % 64)
	if w[back/64]&bit != 0 {
		return false
	}
	w[back/64] |= bit
	return true
}
