package bridge

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"sidetone/internal/pcm"
	"sidetone/media/codec"
	"sidetone/media/jitter"
	"sidetone/media/resample"
	"sidetone/media/rtpflow"
)

// Payload is one kind of audio that a sender may send.
type Payload struct {
	// Type is the RTP payload type.
	Type uint8
	// Codec decodes it, for this leg alone.
	Codec codec.Codec
	// Clock is its RTP clock rate in Hz.
	Clock int
}

// What a payload type is that carries no audio.
const (
	unknown = -1 - iota
	events
	noise
)

const (
	// comfortNoise is the payload type of RFC 3389, oldNoise one that devices
	// used before it was given.
	comfortNoise = 13
	oldNoise     = 19
	// maxJump bounds the silence that a change of the sample rate inserts.
	maxJump = 2 * time.Second / pcm.FrameDuration
)

// sort fills kinds.
func (l *Leg) sort() error {
	if len(l.cfg.Payloads) == 0 {
		return errors.New("a leg needs a codec")
	}
	for i := range l.kinds {
		l.kinds[i] = unknown
	}
	l.kinds[comfortNoise], l.kinds[oldNoise] = noise, noise
	l.cfg.Payloads = slices.Clone(l.cfg.Payloads)
	for i, p := range l.cfg.Payloads {
		switch {
		case p.Codec == nil:
			return fmt.Errorf("payload type %d: a leg needs a codec", p.Type)
		case p.Type > 127 || p.Type == comfortNoise || p.Type == oldNoise || p.Type >= 64 && p.Type <= 95:
			return fmt.Errorf("payload type %d cannot carry audio (0 to 63 without 13 and 19, and 96 to 127, can)", p.Type)
		case l.kinds[p.Type] != unknown:
			return fmt.Errorf("payload type %d stands for two codecs", p.Type)
		}
		l.kinds[p.Type] = int8(i)
	}
	types := l.cfg.EventTypes
	if types == nil && l.kinds[DefaultEventType] == unknown {
		types = []uint8{DefaultEventType}
	}
	for _, pt := range types {
		if pt > 127 || l.kinds[pt] != unknown && l.kinds[pt] != events {
			return fmt.Errorf("payload type %d for telephone events is taken", pt)
		}
		l.kinds[pt] = events
	}
	return nil
}

// samples is the number of samples in the packet, or 0 when it carries no audio
// that the leg can decode.
func (l *Leg) samples() int {
	i := l.kinds[l.packet.PayloadType&0x7F]
	if i < 0 || len(l.packet.Payload) > jitter.MaxPayload {
		return 0
	}
	return l.cfg.Payloads[i].Codec.Samples(l.packet.Payload)
}

// decoder is a codec that is reset before the first packet of a source or of a
// payload type is decoded; those before it may still wait in the jitter buffer.
type decoder struct {
	codec codec.Codec
	begun bool
}

func (d *decoder) Decode(dst []int16, src []byte) (int, error) {
	if !d.begun {
		d.begun = true
		d.codec.Reset()
	}
	return d.codec.Decode(dst, src)
}

// begin builds the path for a payload, with the leg's clock at its beginning.
func (l *Leg) begin(p *Payload) error {
	rate := p.Codec.Rate()
	flow, err := rtpflow.New(rtpflow.Config{Clock: p.Clock, Rate: rate})
	if err != nil {
		return err
	}
	if err := l.pave(p); err != nil {
		return err
	}
	l.flow, l.payload = flow, p
	return nil
}

// pave makes what runs at a payload's sample rate.
func (l *Leg) pave(p *Payload) error {
	rate := p.Codec.Rate()
	buffer, err := jitter.New(jitter.Config{Rate: rate, Decoder: p.Codec, MinDepth: l.cfg.MinDepth, MaxDepth: l.cfg.MaxDepth})
	if err != nil {
		return err
	}
	rates, err := resample.New(rate, pcm.Rate)
	if err != nil {
		return err
	}
	l.jitter, l.rates, l.block = buffer, rates, make([]int16, rate/50)
	return nil
}

// use prepares for a packet of payload p, which may be another than before. It
// is false for one from before a change, for which there is no place any more.
func (l *Leg) use(p *Payload, now time.Time) bool {
	old := l.payload
	rate := p.Codec.Rate()
	switch {
	case p == old:
	case p.Clock == old.Clock && rate == old.Codec.Rate():
		l.payload, l.decoder = p, nil
	case !l.flow.Newer(l.packet.SequenceNumber):
		return false
	case rate == old.Codec.Rate():
		l.flow.Retime(p.Clock, rate, l.jitter.Position(now))
		l.payload, l.decoder = p, nil
	default:
		if !l.turn(p, now) {
			return false
		}
	}
	if l.decoder == nil {
		l.decoder = &decoder{codec: p.Codec}
	}
	return true
}

// turn goes over to a payload of another sample rate: what is buffered is handed
// on, and silence until the time at which the packet stands.
func (l *Leg) turn(p *Payload, now time.Time) bool {
	at := l.position(l.jitter.Place(l.jitter.Position(now)))
	l.jitter.Flush()
	l.drain(now)
	next := l.position(l.jitter.Next())
	frames := max(0, at-next) / pcm.FrameSamples
	addJitter(&l.stats, l.jitter.Stats())
	if err := l.pave(p); err != nil { // New has paved it before
		l.stats.Invalid++
		return false
	}
	l.frame.Flags = pcm.Inserted
	clear(l.frame.Samples[:])
	for left := min(frames, int64(maxJump)); left > 0; left-- {
		l.frame.Start = next + (frames-left)*pcm.FrameSamples
		l.hand(&l.frame)
	}
	l.payload, l.decoder = p, nil
	l.offset = next + frames*pcm.FrameSamples
	l.flow.Retime(p.Clock, p.Codec.Rate(), 0)
	return true
}
