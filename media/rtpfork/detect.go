package rtpfork

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"sidetone/media/bridge"
	"sidetone/media/codec"
	"sidetone/media/jitter"
	"sidetone/media/port"
)

const (
	// agreement is how many packets in a row must look alike for a codec to be
	// found, maxFound how many may be found on a leg.
	agreement = 3
	maxFound  = 4
	// firstDynamic is the least dynamic payload type (RFC 3551, section 6).
	firstDynamic = 96

	// The parts of an RTP header (RFC 3550, section 5.1) that are looked at.
	rtpHeader  = 12
	firstRTCP  = 192
	lastRTCP   = 223
	eventBytes = 4
)

// detector finds out what a payload type stands for that was announced by
// nobody: Asterisk's externalMedia has no session description, and the dynamic
// types are its own. It stands before the leg as a port.Guard that lets all
// packets through.
type detector struct {
	// found is told of a payload type; it must not block.
	found func(pt uint8, f codec.Format)

	mu    sync.Mutex
	known [128]bool
	count int
	last  packetView
	// alike is how many packets in a row have led to guess.
	guess codec.Format
	alike int
}

var _ port.Guard = (*detector)(nil)

func newDetector(known []bridge.Payload, found func(uint8, codec.Format)) *detector {
	d := &detector{found: found}
	for _, p := range known {
		d.known[p.Type&0x7F] = true
	}
	for _, pt := range []uint8{13, 19, bridge.DefaultEventType} {
		d.known[pt] = true
	}
	return d
}

// Open implements port.Guard.
func (d *detector) Open(_, datagram []byte, _ time.Time) ([]byte, bool, error) {
	d.look(datagram)
	return datagram, false, nil
}

// Seal implements port.Guard.
func (d *detector) Seal(dst, packet []byte) ([]byte, error) { return append(dst[:0], packet...), nil }

// Replayed implements port.Guard.
func (d *detector) Replayed(error) bool { return false }

// packetView is what is compared between two packets.
type packetView struct {
	pt    uint8
	seq   uint16
	stamp uint32
	ssrc  uint32
	size  int
}

func (d *detector) look(b []byte) {
	if len(b) <= rtpHeader || b[0]>>6 != 2 || b[1] >= firstRTCP && b[1] <= lastRTCP {
		return
	}
	// Padding and header extensions, which Asterisk does not send, would make the
	// size say nothing.
	if b[0]&0x3F != 0 {
		return
	}
	v := packetView{
		pt: b[1] & 0x7F, seq: binary.BigEndian.Uint16(b[2:]), stamp: binary.BigEndian.Uint32(b[4:]),
		ssrc: binary.BigEndian.Uint32(b[8:]), size: len(b) - rtpHeader,
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known[v.pt] || d.count == maxFound || v.size <= eventBytes {
		return
	}
	last := d.last
	d.last = v
	if v.pt != last.pt || v.ssrc != last.ssrc || v.seq != last.seq+1 {
		d.alike = 0
		return
	}
	f, ok := guess(v.stamp-last.stamp, last.size)
	if !ok || d.alike > 0 && f != d.guess {
		d.alike = 0
		return
	}
	d.guess = f
	// The first guess rests on two packets.
	if d.alike++; d.alike < agreement-1 {
		return
	}
	d.known[v.pt], d.alike = true, 0
	d.count++
	d.found(v.pt, f)
}

// guess says what takes size bytes for step units of the RTP clock. L16 is
// taken to come in packets of 20 ms, as Asterisk sends it; of the two laws of
// G.711, which cannot be told apart, it is the one that has no dynamic type
// elsewhere.
func guess(step uint32, size int) (codec.Format, bool) {
	units := int64(step)
	switch {
	case int64(size) == 2*units && size <= jitter.MaxPayload:
		f := codec.Format{Encoding: "L16", Clock: int(units) * 50, Channels: 1}
		return f, codec.Decodable(f)
	case int64(size) == units && units%80 == 0 && units <= 480:
		return codec.Format{Encoding: "PCMU", Clock: 8000, Channels: 1}, true
	case int64(size) < units && slices.Contains([]int64{480, 960, 1920, 2880}, units):
		return codec.Format{Encoding: "opus", Clock: 48000, Channels: 2}, true
	default:
		return codec.Format{}, false
	}
}
