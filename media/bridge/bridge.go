// Package bridge turns the datagrams that arrive on one leg's port into frames.
//
// It latches on to the first plausible source, has rtpflow place its packets,
// jitter put them in order, a codec decode and resample bring them to pcm.Rate,
// and hands the frames to a media.LegSink. The standards are RFC 3550 (RTP),
// RFC 3551 (payload types), RFC 3389 (comfort noise), RFC 4733 (telephone
// events) and RFC 5761 (RTCP on the same port).
//
// What does not belong to the leg is counted and hurts nothing. A source is an
// address and an SSRC. While the latched one sends, packets from another
// address are ignored; when it has been silent for Config.Relatch, or when
// Relatch has announced it, the next source takes over. A new SSRC from the
// latched address, as a PBX uses it after a transfer, takes over with its third
// packet in a row. What SRTP has found authentic is the source's at any address.
//
// Each packet is decoded by its payload type; a sender may change it at any
// time to another one of Config.Payloads. Where the new one has another sample
// rate, what is buffered is handed on first.
//
// The leg's clock begins with the first packet. A frame's samples lag behind it
// by the resampler's delay, a constant 4.4 ms from 8 kHz.
//
// A Leg is for one goroutine, reads no clock and allocates nothing per packet,
// unless a codec does; it does when the source or the payload type changes.
package bridge

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/pion/rtp"

	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/jitter"
	"sidetone/media/level"
	"sidetone/media/resample"
	"sidetone/media/rtpflow"
)

const (
	// DefaultEventType stands for no Config.EventTypes: what nearly every device
	// offers.
	DefaultEventType = 101
	// DefaultRelatch and DefaultStall stand for zeros in Config.
	DefaultRelatch = 2 * time.Second
	DefaultStall   = time.Second

	// takeover is how many packets in a row make a new SSRC the leg's.
	takeover = 3
	// headerLen and rtcpLen are the least lengths of RTP and RTCP packets.
	headerLen = 12
	rtcpLen   = 8
)

// Config describes a leg.
type Config struct {
	Sink media.LegSink
	// Payloads are what the sender may send, the likeliest first.
	Payloads []Payload
	// EventTypes are the payload types of telephone events, one for each clock
	// rate that they were offered with; nil means DefaultEventType alone.
	EventTypes []uint8
	// MinDepth and MaxDepth bound the jitter buffer; zero means its defaults.
	MinDepth, MaxDepth time.Duration
	// Relatch is how long the latched source must be silent before another
	// one may take over.
	Relatch time.Duration
	// Stall is how long no packet must come for media.MarkStalled.
	Stall time.Duration
	// Sources, if any, are the only addresses from which packets are accepted.
	Sources []netip.Addr
}

// Leg is the media path of one leg.
type Leg struct {
	cfg Config
	// kinds says what each payload type is: an index into cfg.Payloads, or
	// unknown, events or noise.
	kinds  [128]int8
	flow   *rtpflow.Flow
	frame  pcm.Frame
	packet rtp.Packet

	// The path behind the packets that now come: its payload, the decoder of
	// the source's packets of it, and what runs at its sample rate.
	payload *Payload
	decoder *decoder
	jitter  *jitter.Buffer
	rates   *resample.Resampler
	block   []int16
	// offset is the position of the jitter buffer's beginning, in samples at
	// pcm.Rate.
	offset int64

	latched bool
	from    netip.AddrPort
	ssrc    uint32
	last    time.Time // of the latched source
	rival   rival
	expect  expected
	stalled bool
	ended   bool
	event   event
	// stats holds what the leg counts itself, and the flows that are over.
	stats media.LegStats
	// watch is the sink if it wants to know these; watched is when it was last
	// told.
	watch   media.StatsSink
	watched time.Time
	meter   level.Meter
}

// rival is an SSRC at the latched address that may take over.
type rival struct {
	ssrc  uint32
	seq   uint16
	count int
}

// New checks the configuration and builds the path.
func New(cfg Config) (*Leg, error) {
	if cfg.Relatch == 0 {
		cfg.Relatch = DefaultRelatch
	}
	if cfg.Stall == 0 {
		cfg.Stall = DefaultStall
	}
	switch {
	case cfg.Sink == nil:
		return nil, errors.New("bridge: a leg needs a sink")
	case cfg.Relatch < 0 || cfg.Stall < 0:
		return nil, fmt.Errorf("bridge: relatch after %v and stall after %v must be positive", cfg.Relatch, cfg.Stall)
	}
	l := &Leg{cfg: cfg}
	l.watch, _ = cfg.Sink.(media.StatsSink)
	if err := l.sort(); err != nil {
		return nil, fmt.Errorf("bridge: %w", err)
	}
	// All payloads are tried, so that none can fail later; the first stays.
	for i := range slices.Backward(l.cfg.Payloads) {
		if err := l.begin(&l.cfg.Payloads[i]); err != nil {
			return nil, fmt.Errorf("bridge: payload type %d: %w", l.cfg.Payloads[i].Type, err)
		}
	}
	return l, nil
}

// String prints the pipeline.
func (l *Leg) String() string {
	s := "RTP("
	for i, p := range l.cfg.Payloads {
		if i > 0 {
			s += "; "
		}
		s += fmt.Sprintf("%d, %d Hz", p.Type, p.Clock)
	}
	s += ") -> jitter -> "
	for i, p := range l.cfg.Payloads {
		if i > 0 {
			s += "; "
		}
		s += p.Codec.String()
		if rate := p.Codec.Rate(); rate != pcm.Rate {
			s += fmt.Sprintf(" -> resample(%d->%d)", rate, pcm.Rate)
		}
	}
	return s + fmt.Sprintf(" -> frames(%d Hz, %v)", pcm.Rate, pcm.FrameDuration)
}

// Push takes a datagram that arrived from an address at now, and hands on the
// frames that it completes. It keeps nothing of the datagram.
func (l *Leg) Push(datagram []byte, from netip.AddrPort, now time.Time) {
	l.push(datagram, from, now, false)
}

// PushAuthentic is Push for what SRTP has found authentic: its sender proves
// itself, and its address may change at any time.
func (l *Leg) PushAuthentic(datagram []byte, from netip.AddrPort, now time.Time) {
	l.push(datagram, from, now, true)
}

func (l *Leg) push(datagram []byte, from netip.AddrPort, now time.Time, authentic bool) {
	if l.ended {
		return
	}
	if len(datagram) < rtcpLen || datagram[0]>>6 != 2 {
		l.stats.Invalid++
		return
	}
	// RFC 5761, section 4: RTCP packet types are 192 to 223, which RTP payload
	// types avoid.
	if datagram[1] >= 192 && datagram[1] <= 223 {
		l.stats.RTCP++
		return
	}
	if len(datagram) < headerLen || l.packet.Unmarshal(datagram) != nil {
		l.stats.Invalid++
		return
	}
	if !l.belongs(from, now, authentic) {
		return
	}
	if !l.last.IsZero() {
		l.stats.Quality.LongestGap = max(l.stats.Quality.LongestGap, now.Sub(l.last))
	}
	l.last = now
	if l.stalled {
		l.stalled = false
		l.mark(media.MarkResumed, now)
	}
	l.take(now)
	l.drain(now)
}

// Tick hands on the frames that are due at now; call it every 20 ms or so.
func (l *Leg) Tick(now time.Time) {
	if l.ended || !l.latched {
		return
	}
	if l.watch != nil && now.Sub(l.watched) >= media.StatsEvery {
		l.watched = now
		l.watch.Stats(l.Stats())
	}
	l.drain(now)
	if !l.stalled && now.Sub(l.last) >= l.cfg.Stall {
		l.stalled = true
		l.mark(media.MarkStalled, now)
	}
}

// End hands on what is buffered, and then the end. Only the first call counts.
func (l *Leg) End(e media.End) {
	if l.ended {
		return
	}
	l.jitter.Flush()
	l.drain(e.At)
	l.ended = true
	l.cfg.Sink.End(e, l.Stats())
}

// LastPacket is when the leg's source last sent a packet; zero before the
// first.
func (l *Leg) LastPacket() time.Time { return l.last }

// Stats returns what the leg has seen so far.
func (l *Leg) Stats() media.LegStats {
	s := l.stats
	addFlow(&s, l.flow.Stats())
	addJitter(&s, l.jitter.Stats())
	l.meter.Fill(&s.Quality)
	s.Quality.Skew, s.Quality.SkewKnown = l.flow.Skew()
	return s
}

func addJitter(s *media.LegStats, j jitter.Stats) {
	s.Late += j.Late
	s.Duplicate += j.Duplicate
	s.Invalid += j.Refused + j.Undecodable
}

func addFlow(s *media.LegStats, f rtpflow.Stats) {
	s.Received += f.Received
	s.Lost += f.Lost
	s.Late += f.Stale
	s.Duplicate += f.Duplicate
	s.Reordered += f.Reordered
	s.Invalid += f.Suspect
	s.Jitter = f.Jitter
}

// belongs says whether the packet is from the leg's source, and counts it when
// it is not. It latches on to a source that begins or takes over.
func (l *Leg) belongs(from netip.AddrPort, now time.Time, authentic bool) bool {
	p := &l.packet
	if !authentic && len(l.cfg.Sources) > 0 && !slices.Contains(l.cfg.Sources, from.Addr()) {
		l.stats.Foreign++
		return false
	}
	switch {
	case l.latched && from == l.from && p.SSRC == l.ssrc:
		l.rival.count = 0
		return true
	case l.latched && authentic && p.SSRC == l.ssrc:
		l.from, l.rival.count = from, 0
		return true
	case l.samples() == 0:
		// Only audio makes a source.
		if l.latched {
			l.stats.Foreign++
		} else {
			l.stats.Invalid++
		}
		return false
	case !l.latched:
		l.latched, l.from, l.ssrc = true, from, p.SSRC
		l.cfg.Sink.Mark(media.Mark{Kind: media.MarkStarted, Wall: now})
		return true
	case now.Sub(l.last) >= l.cfg.Relatch, l.expect.admits(from, now), (authentic || from == l.from) && l.rivals(p):
		return l.relatch(from, now)
	default:
		l.stats.Foreign++
		return false
	}
}

// rivals counts packets in a row from another SSRC at the latched address.
func (l *Leg) rivals(p *rtp.Packet) bool {
	if p.SSRC == l.rival.ssrc && p.SequenceNumber == l.rival.seq+1 {
		l.rival.count++
	} else {
		l.rival.count = 1
	}
	l.rival.ssrc, l.rival.seq = p.SSRC, p.SequenceNumber
	return l.rival.count >= takeover
}

// relatch makes the packet's source the leg's: a new flow, mapped on to the
// leg's clock by its arrival.
func (l *Leg) relatch(from netip.AddrPort, now time.Time) bool {
	flow, err := rtpflow.New(rtpflow.Config{
		Clock: l.payload.Clock, Rate: l.payload.Codec.Rate(),
		Seq: l.flow.NextSeq(), Pos: l.jitter.Position(now),
	})
	if err != nil { // New has accepted the same rates before
		l.stats.Invalid++
		return false
	}
	addFlow(&l.stats, l.flow.Stats())
	l.flow, l.decoder = flow, nil
	l.from, l.ssrc, l.rival, l.event, l.expect = from, l.packet.SSRC, rival{}, event{}, expected{}
	l.stats.SSRCChanges++
	l.mark(media.MarkSSRCChanged, now)
	return true
}

// take sorts the packet by its payload type.
func (l *Leg) take(now time.Time) {
	p := &l.packet
	if n := l.samples(); n > 0 && l.use(&l.cfg.Payloads[l.kinds[p.PayloadType]], now) {
		place, v := l.flow.Media(rtpflow.Packet{
			Seq: p.SequenceNumber, Timestamp: p.Timestamp, Marker: p.Marker, Samples: n, At: now,
		})
		if v == rtpflow.Accepted || v == rtpflow.Reordered {
			l.jitter.Push(jitter.Packet{Seq: place.Seq, Pos: place.Pos, Samples: n, Payload: p.Payload, Decoder: l.decoder}, now)
		}
		return
	}
	// No audio, but its sequence number is not lost.
	place, v := l.flow.Skip(p.SequenceNumber)
	late := false
	if v == rtpflow.Accepted || v == rtpflow.Reordered {
		late = l.jitter.Push(jitter.Packet{Seq: place.Seq}, now) == jitter.Late
	}
	switch kind := l.kinds[p.PayloadType]; {
	case kind >= 0 && l.samples() > 0:
		// The last of a payload type that the sender has left.
		if !late {
			l.stats.Late++
		}
	case kind == noise && len(p.Payload) > 0:
		// The silence that it announces makes itself.
		l.stats.Noise++
		l.stats.NoiseLevel = -int(p.Payload[0] & 0x7F)
	case kind == events && len(p.Payload) >= eventLen:
		if v == rtpflow.Accepted && l.event.begins(p.Payload, p.Timestamp, now) {
			l.tell(media.Mark{Kind: media.MarkDigit, Digit: keys[p.Payload[0]]}, now)
		}
	default:
		l.stats.Invalid++
	}
}

// drain hands on the blocks that are due.
func (l *Leg) drain(now time.Time) {
	for {
		b, ok := l.jitter.Pop(l.block, now)
		if !ok {
			return
		}
		f := &l.frame
		f.Start = l.position(b.Start)
		f.Flags = b.Flags
		if f.Flags == 0 {
			l.meter.Add(l.block)
		}
		l.rates.Process(f.Samples[:], l.block)
		l.hand(f)
	}
}

// hand counts a frame and hands it on.
func (l *Leg) hand(f *pcm.Frame) {
	l.stats.Quality.Frames++
	if f.Flags&pcm.Lost != 0 {
		l.stats.ConcealedFrames++
	}
	if f.Flags&pcm.Inserted != 0 {
		l.stats.InsertedFrames++
	}
	l.cfg.Sink.Frame(f)
}

// position turns one of the jitter buffer into one of the leg, in samples at
// pcm.Rate.
func (l *Leg) position(pos int64) int64 {
	return l.offset + pos*pcm.Rate/int64(l.payload.Codec.Rate())
}

func (l *Leg) mark(k media.MarkKind, now time.Time) { l.tell(media.Mark{Kind: k}, now) }

// tell hands on a mark at the present position.
func (l *Leg) tell(m media.Mark, now time.Time) {
	m.At, m.Wall = l.position(l.jitter.Next()), now
	l.cfg.Sink.Mark(m)
}
