package twilio

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"log/slog"
	"time"

	"sidetone/media"
	"sidetone/media/feed"
	"sidetone/media/fork"
)

const (
	// pieceText is how much base64 is decoded at once, pieceBytes what comes out,
	// and pieceSamples the most that any codec makes of it: G.722 makes two
	// samples of a byte.
	pieceText    = 4096
	pieceBytes   = pieceText / 4 * 3
	pieceSamples = 2 * pieceBytes

	// holdFor is how long a chunk waits for those that it has overtaken, holdMost
	// how many may wait.
	holdFor  = 100 * time.Millisecond
	holdMost = 8
	// slack is by how much a timestamp may be off; gapSlack by how much where the
	// count says that no chunk is missing, since some platforms stamp chunks with
	// the time at which they were sent.
	slack    = 10 * time.Millisecond
	gapSlack = 60 * time.Millisecond
	// leap is by how much more than the time that has passed a timestamp may move
	// on. What leaps further has changed its clock.
	leap = 10 * time.Second
)

// clock brings the timestamps of a stream, which its tracks share, to time since
// the start.
type clock struct {
	began time.Time
	based bool
	base  int64 // ms
}

// position is a chunk's place in samples since the start. Timestamps count from
// the start of the stream, but for platforms that send the time of day.
func (k *clock) position(c *chunk, rate int, now time.Time) (at int64, timed bool) {
	if !c.timed {
		return 0, false
	}
	if !k.based {
		k.based = true
		if passed := now.Sub(k.began).Milliseconds(); c.ms > passed+leap.Milliseconds() {
			k.base = c.ms - passed
		}
	}
	return (c.ms - k.base) * int64(rate) / 1000, true
}

// place is where a chunk belongs: at a position of the stream in samples, if it
// is timed, and as number n of its track, if it is counted.
type place struct {
	at             int64
	timed, counted bool
	n              int64
}

// decoder is what is needed of a codec.
type decoder interface {
	Decode(dst []int16, src []byte) (int, error)
}

// littleEndian decodes 16-bit samples whose first byte is the least significant.
// Half a sample at the end is dropped.
type littleEndian struct{}

func (littleEndian) Decode(dst []int16, src []byte) (int, error) {
	n := len(src) / 2
	if len(dst) < n {
		return 0, fmt.Errorf("twilio: %d samples do not fit into a buffer of %d", n, len(dst))
	}
	for i := range n {
		dst[i] = int16(binary.LittleEndian.Uint16(src[2*i:]))
	}
	return n, nil
}

// held is a chunk that came before its time. Its data has a buffer of its own,
// which is used again.
type held struct {
	place
	came time.Time
	data []byte
}

// track is one leg's audio.
type track struct {
	label    string
	leg      *feed.Leg
	dec      decoder
	rate     int
	log      *slog.Logger
	describe func(warning string)
	order    *fork.ByteOrder // nil where bytes cannot be swapped

	pos   int64 // behind what was written, in samples since the start
	shift int64 // what is added to the stream's positions since its clock leapt
	came  time.Time
	last  int64
	// counted is whether last is set, begun whether anything was written.
	counted, begun bool
	wait           [holdMost]held
	waiting        int
	rest           []byte // half a sample that a binary message ended with
	dropped        uint64
}

// samples is a duration in samples.
func (t *track) samples(d time.Duration) int64 {
	return int64(d) * int64(t.rate) / int64(time.Second)
}

// payload takes the base64 of one chunk. raw and pcm are scratch of pieceBytes
// and pieceSamples.
func (t *track) payload(p place, text, raw []byte, pcm []int16, now time.Time) error {
	enc := base64.RawStdEncoding
	if bytes.IndexByte(text, '-') >= 0 || bytes.IndexByte(text, '_') >= 0 {
		enc = base64.RawURLEncoding
	}
	for i := 0; i < 2 && len(text) > 0 && text[len(text)-1] == '='; i++ {
		text = text[:len(text)-1]
	}
	whole := len(text) <= pieceText
	for len(text) > 0 {
		n, err := enc.Decode(raw, text[:min(len(text), pieceText)])
		if err != nil {
			return fmt.Errorf("twilio: a payload is no base64: %w", err)
		}
		text = text[min(len(text), pieceText):]
		if err = t.take(p, raw[:n], whole, pcm, now); err != nil {
			return err
		}
		p.timed = false
	}
	return nil
}

// take puts a chunk where it belongs, or lets it wait if it may.
func (t *track) take(p place, data []byte, mayWait bool, pcm []int16, now time.Time) error {
	defer func() { t.came = now }()
	if !p.timed {
		return t.write(data, false, pcm, now)
	}
	p.at += t.shift
	newer := p.counted && (!t.counted || p.n > t.last)
	follows := p.counted && t.counted && p.n == t.last+1
	may := t.samples(slack)
	if follows {
		may = t.samples(gapSlack)
	}
	off := p.at - t.pos
	switch {
	case !t.begun:
		t.pos = max(p.at, 0)
	case off > t.samples(leap+now.Sub(t.came)), newer && off < -t.samples(time.Second):
		t.log.Info("twilio: the stream's clock leapt", "by", time.Duration(off)*time.Second/time.Duration(t.rate))
		t.shift -= off
	case off > may && !follows && mayWait:
		p.at -= t.shift
		if t.waiting < len(t.wait) {
			t.hold(p, data, now)
			return nil
		}
		if err := t.release(pcm, now, true); err != nil {
			return err
		}
		return t.take(p, data, true, pcm, now)
	case off > may:
		t.pos = p.at
	case off < -may && !newer:
		t.dropped++
		return nil
	}
	if p.counted {
		t.last, t.counted = p.n, true
	}
	if err := t.write(data, true, pcm, now); err != nil {
		return err
	}
	return t.release(pcm, now, false)
}

// hold lets a chunk wait. There must be room.
func (t *track) hold(p place, data []byte, now time.Time) {
	slot := t.wait[t.waiting]
	slot.place, slot.came, slot.data = p, now, append(slot.data[:0], data...)
	i := t.waiting
	for ; i > 0 && t.wait[i-1].at > p.at; i-- {
		t.wait[i] = t.wait[i-1]
	}
	t.wait[i] = slot
	t.waiting++
}

// release takes the chunks whose turn has come: which follow what was written,
// or have waited long enough, or all.
func (t *track) release(pcm []int16, now time.Time, all bool) error {
	for t.waiting > 0 {
		h := t.wait[0]
		if !all && h.at+t.shift-t.pos > t.samples(slack) && now.Sub(h.came) < holdFor {
			return nil
		}
		copy(t.wait[:], t.wait[1:t.waiting])
		t.waiting--
		t.wait[t.waiting] = h
		if err := t.take(h.place, h.data, false, pcm, now); err != nil {
			return err
		}
	}
	return nil
}

// stream takes audio that is timed by its samples, in messages that may cut
// samples in two.
func (t *track) stream(data, raw []byte, pcm []int16, now time.Time) error {
	t.came = now
	for len(data) > 0 {
		n := copy(raw, t.rest)
		taken := copy(raw[n:], data)
		n, data = n+taken, data[taken:]
		odd := n % 2
		t.rest = append(t.rest[:0], raw[n-odd:n]...)
		if err := t.write(raw[:n-odd], false, pcm, now); err != nil {
			return err
		}
	}
	return nil
}

// write decodes data and writes it at t.pos, or behind what was written if it
// is not timed.
func (t *track) write(data []byte, timed bool, pcm []int16, now time.Time) error {
	n, err := t.dec.Decode(pcm, data)
	if err != nil {
		return fmt.Errorf("twilio: track %q: %w", t.label, err)
	}
	if t.order != nil && t.order.Swapped(pcm[:n]) {
		const warning = "the samples' bytes seem to be swapped; L16 must be little-endian"
		t.log.Warn("twilio: " + warning)
		t.describe(warning)
	}
	if timed {
		t.leg.Write(t.pos, pcm[:n], now)
	} else {
		t.leg.Append(pcm[:n], now)
	}
	t.pos += int64(n)
	t.begun = t.begun || n > 0
	return nil
}

// tick lets time pass.
func (t *track) tick(pcm []int16, now time.Time) {
	if err := t.release(pcm, now, false); err != nil {
		t.log.Debug("twilio: a chunk that waited cannot be decoded", "err", err)
	}
	t.leg.Tick(now)
}

// end writes what waits and ends the leg.
func (t *track) end(e media.End, pcm []int16) {
	if err := t.release(pcm, e.At, true); err != nil {
		t.log.Debug("twilio: a chunk that waited cannot be decoded", "err", err)
	}
	t.leg.End(e)
	if t.dropped > 0 {
		t.log.Info("twilio: chunks came twice or too late and were dropped", "chunks", t.dropped)
	}
}
