package bridge

import (
	"fmt"
	"net/netip"
	"time"

	"sidetone/internal/pcm"
	"sidetone/media/rtpflow"
)

// expectFor is how long an announced source may take over. The signalling runs
// ahead of the packets by less.
const expectFor = 5 * time.Second

// expected is a source that the signalling has announced.
type expected struct {
	addr  netip.AddrPort
	until time.Time
}

func (e expected) admits(from netip.AddrPort, now time.Time) bool {
	if !now.Before(e.until) {
		return false
	}
	if !e.addr.IsValid() {
		return true
	}
	return from.Addr() == e.addr.Addr() && (e.addr.Port() == 0 || from.Port() == e.addr.Port())
}

// Relatch says at now that the signalling has announced another source: the
// first packet of audio from addr takes over, though the present source may
// still send. Port zero stands for any port, the zero address for any source.
// It holds for five seconds, or until a source has taken over.
func (l *Leg) Relatch(addr netip.AddrPort, now time.Time) {
	l.expect = expected{addr, now.Add(expectFor)}
}

// SetSources replaces Config.Sources.
func (l *Leg) SetSources(s []netip.Addr) { l.cfg.Sources = s }

// SetPayloads replaces Config.Payloads and Config.EventTypes, as a change of the
// session description does. A payload that stays what it was, by its type, clock
// and codec, goes on undisturbed, whatever decoder came with it. On an error
// nothing has changed.
func (l *Leg) SetPayloads(payloads []Payload, eventTypes []uint8) error {
	next := &Leg{cfg: l.cfg}
	next.cfg.Payloads, next.cfg.EventTypes = payloads, eventTypes
	if err := next.sort(); err != nil {
		return fmt.Errorf("bridge: %w", err)
	}
	for i := range next.cfg.Payloads {
		p := &next.cfg.Payloads[i]
		for _, old := range l.cfg.Payloads {
			if p.same(&old) {
				*p = old
			}
		}
		if err := next.begin(p); err != nil {
			return fmt.Errorf("bridge: payload type %d: %w", p.Type, err)
		}
	}
	l.cfg, l.kinds = next.cfg, next.kinds
	for i := range l.cfg.Payloads {
		if p := &l.cfg.Payloads[i]; p.same(l.payload) {
			l.payload = p
		}
	}
	return nil
}

// same says whether two payloads mean the same.
func (p *Payload) same(q *Payload) bool {
	return p.Type == q.Type && p.Clock == q.Clock && p.Codec.Rate() == q.Codec.Rate() && p.Codec.String() == q.Codec.String()
}

// Source is the latched source; ok is false before the first packet.
func (l *Leg) Source() (from netip.AddrPort, ssrc uint32, ok bool) {
	return l.from, l.ssrc, l.latched
}

// Reception is what a receiver report says of the leg's source; ok is false
// before the first packet.
func (l *Leg) Reception() (ssrc uint32, r rtpflow.Reception, ok bool) {
	r, ok = l.flow.Reception()
	return l.ssrc, r, ok
}

// Control is what came beside the leg's packets since it was told last.
type Control struct {
	// RTCP counts packets that did not come through Push, Forged what SRTP
	// refused, Duplicate what SRTP has seen before, Byes as in media.LegStats.
	RTCP, Forged, Duplicate, Byes uint64
	// Wall is the wall time at which the source SSRC sampled the timestamp
	// Stamp, from a sender report; zero if there is none.
	Wall  time.Time
	SSRC  uint32
	Stamp uint32
}

// Control takes note of what came beside the packets.
func (l *Leg) Control(c Control) {
	l.stats.RTCP += c.RTCP
	l.stats.Forged += c.Forged
	l.stats.Duplicate += c.Duplicate
	l.stats.Byes += c.Byes
	if c.Wall.IsZero() || c.SSRC != l.ssrc {
		return
	}
	if pos, ok := l.flow.At(c.Stamp); ok {
		l.stats.Origin = c.Wall.Add(-pcm.Duration(l.position(l.jitter.Place(pos))))
	}
}
