// Package feed turns the samples of a source that delivers them in order, such
// as a WebSocket or a TCP connection, into the frames of one leg.
//
// What package bridge does for packets, it does for streams: it keeps the leg's
// clock, brings the samples to pcm.Rate and cuts them into 20 ms. Where the
// source's own clock moves on without audio, silence is inserted, up to
// Config.MaxGap; the clock jumps over the rest. Where nothing comes for
// Config.Idle, silence is inserted at the pace of the wall clock, so that what
// was said before comes to its end; audio that comes after it unbroken is moved
// behind it. That silence keeps a little behind the wall clock, since audio
// comes when it is over, and some of it late: it finds its own place free.
//
// A Leg is for one goroutine, reads no clock and allocates nothing after New.
package feed

import (
	"errors"
	"fmt"
	"time"

	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/level"
	"sidetone/media/resample"
)

const (
	// DefaultMaxGap and DefaultIdle stand for zeros in Config.
	DefaultMaxGap = 2 * time.Second
	DefaultIdle   = 300 * time.Millisecond
	// DefaultStall stands for zero in Config.Stall.
	DefaultStall = time.Second

	// behind is by how much inserted silence lags the wall clock: a packet and
	// the jitter of its way.
	behind = 100 * time.Millisecond
)

// Config describes a leg.
type Config struct {
	Sink media.LegSink
	// Rate is the sample rate of what is written, in Hz: a multiple of 50 from
	// 8000 to 192000.
	Rate int
	// MaxGap bounds the silence that one gap of the source's clock inserts.
	MaxGap time.Duration
	// Idle is how long nothing must come until silence is inserted, Stall how
	// long until media.MarkStalled.
	Idle, Stall time.Duration
}

// Leg is the media path of one leg.
type Leg struct {
	cfg   Config
	rates *resample.Resampler
	// block gathers the next frame's samples; fill of them are there, and silent
	// tells that all of these were inserted.
	block  []int16
	fill   int
	silent bool
	frame  pcm.Frame

	// next is the position of the sample after the last, in samples at Rate;
	// shift is what is added to the source's positions.
	next, shift int64
	begun       bool
	ended       bool
	stalled     bool
	last        time.Time // of audio
	// paced is the position that the wall clock stood for when audio last came.
	paced int64
	stats media.LegStats
	// watch is the sink if it wants to know these; watched is when it was last
	// told.
	watch   media.StatsSink
	watched time.Time
	meter   level.Meter
}

// New checks the configuration and builds the path.
func New(cfg Config) (*Leg, error) {
	if cfg.MaxGap == 0 {
		cfg.MaxGap = DefaultMaxGap
	}
	if cfg.Idle == 0 {
		cfg.Idle = DefaultIdle
	}
	if cfg.Stall == 0 {
		cfg.Stall = DefaultStall
	}
	switch {
	case cfg.Sink == nil:
		return nil, errors.New("feed: a leg needs a sink")
	case cfg.Rate < 8000 || cfg.Rate > 192000 || cfg.Rate%50 != 0:
		return nil, fmt.Errorf("feed: %d Hz: rates are multiples of 50 from 8000 to 192000", cfg.Rate)
	case cfg.MaxGap < 0 || cfg.Idle < 0 || cfg.Stall < 0:
		return nil, fmt.Errorf("feed: a gap of at most %v, idle after %v, stalled after %v: none may be negative", cfg.MaxGap, cfg.Idle, cfg.Stall)
	}
	rates, err := resample.New(cfg.Rate, pcm.Rate)
	if err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	l := &Leg{cfg: cfg, rates: rates, block: make([]int16, cfg.Rate/50), silent: true}
	l.watch, _ = cfg.Sink.(media.StatsSink)
	return l, nil
}

// String prints the pipeline.
func (l *Leg) String() string {
	return fmt.Sprintf("samples(%d Hz) -> frames(%d Hz, %v)", l.cfg.Rate, pcm.Rate, pcm.FrameDuration)
}

// Append takes samples that follow those before, as they arrive at now. After
// Config.Idle without any, they have just been spoken: they end where the wall
// clock is.
func (l *Leg) Append(samples []int16, now time.Time) {
	at := l.next
	if quiet := now.Sub(l.last); l.begun && quiet >= l.cfg.Idle {
		at = max(at, l.due(quiet)-int64(len(samples)))
	}
	l.write(at, samples, now)
}

// Write takes samples whose first is at position at of the source's clock, in
// samples at Config.Rate since the leg began. What lies before a position that
// was passed is dropped as late.
func (l *Leg) Write(at int64, samples []int16, now time.Time) {
	l.write(at+l.shift, samples, now)
}

func (l *Leg) write(at int64, samples []int16, now time.Time) {
	if l.ended || len(samples) == 0 {
		return
	}
	if !l.begun {
		l.begun = true
		l.cfg.Sink.Mark(media.Mark{Kind: media.MarkStarted, At: l.position(), Wall: now})
	}
	if l.stalled {
		l.stalled = false
		l.Mark(media.Mark{Kind: media.MarkResumed}, now)
	}
	l.stats.Received++
	switch gap := at - l.next; {
	case gap > 0:
		l.silence(gap)
	case gap < 0 && l.paced < l.next:
		// Silence stands where this audio belongs: it goes behind it.
		moved := min(-gap, l.next-l.paced)
		l.shift += moved
		at += moved
	}
	if late := l.next - at; late > 0 {
		l.stats.Late++
		samples = samples[min(late, int64(len(samples))):]
	}
	l.put(samples)
	if !l.last.IsZero() {
		l.stats.Quality.LongestGap = max(l.stats.Quality.LongestGap, now.Sub(l.last))
	}
	l.last, l.paced = now, l.next
}

// put appends samples to the block and hands on the frames that it fills.
func (l *Leg) put(samples []int16) {
	for len(samples) > 0 {
		n := copy(l.block[l.fill:], samples)
		samples = samples[n:]
		l.silent = false
		l.advance(n)
	}
}

// silence inserts n samples of it, or as many as a gap may have, and jumps.
func (l *Leg) silence(n int64) {
	most := min(n, int64(l.cfg.MaxGap)*int64(l.cfg.Rate)/int64(time.Second))
	for left := most; left > 0; {
		part := min(left, int64(len(l.block)-l.fill))
		clear(l.block[l.fill : l.fill+int(part)])
		l.advance(int(part))
		left -= part
	}
	// Whole frames only, so that frames keep their place on the grid.
	jump := (n - most) / int64(len(l.block)) * int64(len(l.block))
	l.next += jump
	for rest := n - most - jump; rest > 0; {
		part := min(rest, int64(len(l.block)-l.fill))
		clear(l.block[l.fill : l.fill+int(part)])
		l.advance(int(part))
		rest -= part
	}
}

// advance counts n samples that were put into the block.
func (l *Leg) advance(n int) {
	l.fill += n
	l.next += int64(n)
	if l.fill < len(l.block) {
		return
	}
	f := &l.frame
	f.Start = (l.next - int64(l.fill)) * pcm.Rate / int64(l.cfg.Rate)
	f.Flags = 0
	l.stats.Quality.Frames++
	if l.silent {
		f.Flags = pcm.Inserted
		l.stats.InsertedFrames++
	} else {
		l.meter.Add(l.block)
	}
	l.rates.Process(f.Samples[:], l.block)
	l.fill, l.silent = 0, true
	l.cfg.Sink.Frame(f)
}

// Tick lets time pass; call it every 20 ms or so.
func (l *Leg) Tick(now time.Time) {
	if l.ended || !l.begun {
		return
	}
	if l.watch != nil && now.Sub(l.watched) >= media.StatsEvery {
		l.watched = now
		l.watch.Stats(l.Stats())
	}
	quiet := now.Sub(l.last)
	if !l.stalled && quiet >= l.cfg.Stall {
		l.stalled = true
		l.Mark(media.Mark{Kind: media.MarkStalled}, now)
	}
	if quiet < l.cfg.Idle {
		return
	}
	if n := l.due(quiet-behind) - l.next; n >= int64(len(l.block)) {
		l.silence(n)
	}
}

// due is the position at which the leg would be, had it gone on for so long
// since audio last came.
func (l *Leg) due(quiet time.Duration) int64 {
	return l.paced + int64(quiet)*int64(l.cfg.Rate)/int64(time.Second)
}

// Mark hands on an event at the leg's present position; its place and time are
// filled in.
func (l *Leg) Mark(m media.Mark, now time.Time) {
	if l.ended {
		return
	}
	m.At, m.Wall = l.position(), now
	l.cfg.Sink.Mark(m)
}

// position is the place of the next frame on the leg's clock.
func (l *Leg) position() int64 {
	return (l.next - int64(l.fill)) * pcm.Rate / int64(l.cfg.Rate)
}

// Last is when audio last came; zero before the first.
func (l *Leg) Last() time.Time { return l.last }

// Stats returns what the leg has seen so far. A written piece counts as a
// packet.
func (l *Leg) Stats() media.LegStats {
	s := l.stats
	l.meter.Fill(&s.Quality)
	return s
}

// End fills up the last frame and hands on the end. Only the first call counts.
func (l *Leg) End(e media.End) {
	if l.ended {
		return
	}
	if l.fill > 0 {
		silent := l.silent
		clear(l.block[l.fill:])
		rest := len(l.block) - l.fill
		l.silent = silent
		l.advance(rest)
	}
	l.ended = true
	l.cfg.Sink.End(e, l.Stats())
}
