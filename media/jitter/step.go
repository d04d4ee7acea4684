package jitter

import (
	"time"

	"sidetone/internal/pcm"
)

// step adds to the block that is being put together, or moves on to the next
// packet; it reports false when there is nothing to do yet.
func (b *Buffer) step(now time.Time) bool {
	switch {
	case b.insert > 0:
		n := min(b.insert, b.block-b.outLen)
		b.insert -= n
		b.fill(n, pcm.Inserted, lossFade)
		return true
	case len(b.play) > 0:
		if b.fresh {
			b.conceal.real(b.play)
			b.fresh = false
		}
		n := copy(b.room(0), b.play)
		b.play = b.play[n:]
		b.advance(n)
		return true
	case !b.timing.started():
		return false
	case b.count == 0:
		return b.idle(now)
	}
	h := &b.slots[b.order[0]]
	if h.samples == 0 {
		b.drop()
		return true
	}
	if h.resync {
		// Meet the clock where it is: in the silence, not by cutting speech.
		h.resync = false
		b.shift = max(b.shift, pcmSamples(b.timing.moved(), b.rate))
	}
	gap := h.pos + b.shift - b.pos
	if gap < 0 {
		if by := min(-gap, b.guessed); by > 0 {
			b.shift += by
			gap += by
			b.moved = now
		}
	}
	if gap > 0 {
		return b.gap(h, gap, now)
	}
	if skip := int(-gap); skip >= h.samples {
		b.concealed = max(0, b.concealed-int64(h.samples))
		b.stats.Late++
		b.drop()
	} else {
		b.start(h, skip, now)
	}
	return true
}

// idle makes silence when nothing is queued and something should have come.
func (b *Buffer) idle(now time.Time) bool {
	if b.flushing {
		if b.outLen == 0 {
			return false
		}
		b.fill(b.block-b.outLen, pcm.Inserted, pauseFade)
		return true
	}
	// As long as late audio has put the leg ahead of the time, none has to be
	// made up to keep pace.
	late := now.Sub(b.due()) - max(0, b.drift())
	if late < 0 {
		return false
	}
	if b.outLen == 0 {
		b.guessed += b.jump(pcmSamples(late, b.rate))
	}
	n := b.block - b.outLen
	b.guessed += int64(n)
	b.fill(n, pcm.Inserted, lossFade)
	return true
}

// gap makes up audio before the packet h, of which n samples are missing.
func (b *Buffer) gap(h *slot, n int64, now time.Time) bool {
	missing := h.seq - b.next
	hold := max(0, min(b.drift(), b.cfg.MaxDepth))
	lost := min(n, missing*b.lastLen-b.concealed-b.guessed)
	switch {
	case missing > 0 && b.count < slots-1 && !b.flushing && now.Before(b.due().Add(hold+b.overtaken())):
		return false
	case lost > 0:
		m := min(lost, int64(b.block-b.outLen))
		b.concealed += m
		b.fill(int(m), pcm.Lost, lossFade)
	default:
		if b.outLen == 0 {
			n -= b.jump(n)
		}
		b.fill(int(min(n, int64(b.block-b.outLen))), pcm.Inserted, pauseFade)
	}
	return true
}

// drift is how far the leg's clock is ahead of the time.
func (b *Buffer) drift() time.Duration {
	return pcmDuration(b.shift, b.rate) - b.timing.moved()
}

// overtaken is for how much longer than the depth a gap is held open behind
// which packets have come: they may have overtaken what is missing.
func (b *Buffer) overtaken() time.Duration {
	reach := pcmDuration((overtakers+1)*b.lastLen, b.rate)
	return max(0, min(reach, b.cfg.MaxDepth, overtakenLimit)-b.timing.depth())
}

// due is when a gap at the present position is given up.
func (b *Buffer) due() time.Time {
	return b.timing.due(pcmDuration(b.pos-b.shift, b.rate)).Add(b.timing.depth())
}

// jump moves the position over all but maxBacklog of a silence, by whole
// blocks, and returns by how much.
func (b *Buffer) jump(silence int64) int64 {
	over := silence - pcmSamples(maxBacklog, b.rate)
	if over < int64(b.block) {
		return 0
	}
	over -= over % int64(b.block)
	b.pos += over
	return over
}

// start decodes the packet h and begins to play it after its first skip
// samples.
func (b *Buffer) start(h *slot, skip int, now time.Time) {
	id := int(b.order[0])
	n, err := h.decoder.Decode(b.cur, b.slab[id*MaxPayload:id*MaxPayload+h.size])
	b.lastLen = int64(h.samples)
	b.guessed, b.concealed = 0, 0
	b.drop()
	if err != nil || n <= skip {
		b.stats.Undecodable++
		return
	}
	b.play, b.fresh = b.cur[skip:n], true
	b.correct(now)
}

// correct takes drift back: it leaves out a quiet piece of the packet that is
// about to be played, or has one made up before it.
func (b *Buffer) correct(now time.Time) {
	var sum int
	for _, s := range b.play {
		sum += max(int(s), -int(s))
	}
	mean := float64(sum) / float64(len(b.play))
	// The level rises with speech at once and falls within seconds; quiet is
	// 18 dB below it, or what no line is quieter than.
	if mean > b.level {
		b.level += (mean - b.level) / 4
	} else {
		b.level -= (b.level - mean) / 200
	}
	quiet := mean < b.level/8 || mean < 24

	drift := b.drift()
	far := drift >= forceDrift || drift <= -forceDrift
	switch {
	case drift < pcm.FrameDuration && drift > -pcm.FrameDuration:
		return
	case !far && (!quiet || now.Sub(b.moved) < 2*windowLength):
		// After a late burst, timing needs two windows to tell whether the
		// network's delay has changed for good.
		return
	case !quiet && now.Sub(b.lastForce) < forceEvery:
		return
	case !quiet:
		b.lastForce = now
	}
	if drift < 0 {
		b.insert = b.block
		b.shift += int64(b.block)
		b.stats.Added++
		return
	}
	n := min(len(b.play), b.block)
	b.conceal.cut(b.play[:n])
	b.play = b.play[n:]
	b.shift -= int64(n)
	b.stats.Cut++
}

// fill makes up n samples.
func (b *Buffer) fill(n int, flag pcm.Flags, fade time.Duration) {
	b.conceal.fill(b.room(flag)[:n], int(pcmSamples(fade, b.rate)))
	b.advance(n)
}

// room is what is free of the block, which receives the flags.
func (b *Buffer) room(flags pcm.Flags) []int16 {
	if b.outLen == 0 {
		b.outStart, b.outFlags = b.pos, 0
	}
	b.outFlags |= flags
	return b.out[b.outLen:]
}

func (b *Buffer) advance(n int) {
	b.outLen += n
	b.pos += int64(n)
}
