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
// The leg's clock begins with the first packet. A frame's samples lag behind it
// by the resampler's delay, a constant 4.4 ms from 8 kHz.
//
// A Leg is for one goroutine, reads no clock and allocates nothing per packet.
package bridge

import (
	"encoding/binary"
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
	// DefaultEventType stands for zero in Config.EventType: what nearly every
	// device offers.
	DefaultEventType = 101
	// DefaultRelatch and DefaultStall stand for zeros in Config.
	DefaultRelatch = 2 * time.Second
	DefaultStall   = time.Second

	comfortNoise = 13
	// takeover is how many packets in a row make a new SSRC the leg's.
	takeover = 3
	// headerLen and rtcpLen are the least lengths of RTP and RTCP packets.
	headerLen = 12
	rtcpLen   = 8
)

// Codec decodes one payload format.
type Codec interface {
	// Decode writes the samples of src to dst and returns their number.
	Decode(dst []int16, src []byte) (int, error)
	// Samples is the number of samples in src, or 0 when it is no payload.
	Samples(src []byte) int
	// String is the codec's name.
	String() string
}

// Config describes a leg.
type Config struct {
	Sink  media.LegSink
	Codec Codec
	// Clock is the codec's RTP clock rate, Rate the sample rate of what it
	// decodes, both in Hz.
	Clock, Rate int
	// PayloadType is the codec's, EventType that of telephone events.
	PayloadType, EventType uint8
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
	cfg    Config
	jitter *jitter.Buffer
	rates  *resample.Resampler
	flow   *rtpflow.Flow
	block  []int16
	frame  pcm.Frame
	packet rtp.Packet

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
	meter level.Meter
}

// rival is an SSRC at the latched address that may take over.
type rival struct {
	ssrc  uint32
	seq   uint16
	count int
}

// New checks the configuration and builds the path.
func New(cfg Config) (*Leg, error) {
	if cfg.EventType == 0 {
		cfg.EventType = DefaultEventType
	}
	if cfg.Relatch == 0 {
		cfg.Relatch = DefaultRelatch
	}
	if cfg.Stall == 0 {
		cfg.Stall = DefaultStall
	}
	switch pt := cfg.PayloadType; {
	case cfg.Sink == nil || cfg.Codec == nil:
		return nil, errors.New("bridge: a leg needs a sink and a codec")
	case pt > 127 || pt == comfortNoise || pt >= 64 && pt <= 95:
		return nil, fmt.Errorf("bridge: payload type %d cannot carry audio (0 to 63 without 13, and 96 to 127, can)", pt)
	case cfg.EventType > 127 || cfg.EventType == pt:
		return nil, fmt.Errorf("bridge: payload type %d for telephone events beside %d for audio", cfg.EventType, pt)
	case cfg.Relatch < 0 || cfg.Stall < 0:
		return nil, fmt.Errorf("bridge: relatch after %v and stall after %v must be positive", cfg.Relatch, cfg.Stall)
	}
	l := &Leg{cfg: cfg}
	var err error
	if l.flow, err = rtpflow.New(rtpflow.Config{Clock: cfg.Clock, Rate: cfg.Rate}); err != nil {
		return nil, fmt.Errorf("bridge: %w", err)
	}
	if l.jitter, err = jitter.New(jitter.Config{Rate: cfg.Rate, Decoder: cfg.Codec, MinDepth: cfg.MinDepth, MaxDepth: cfg.MaxDepth}); err != nil {
		return nil, fmt.Errorf("bridge: %w", err)
	}
	if l.rates, err = resample.New(cfg.Rate, pcm.Rate); err != nil {
		return nil, fmt.Errorf("bridge: %w", err)
	}
	l.block = make([]int16, cfg.Rate/50)
	return l, nil
}

// String prints the pipeline.
func (l *Leg) String() string {
	s := fmt.Sprintf("RTP(%d, %d Hz) -> jitter -> %v", l.cfg.PayloadType, l.cfg.Clock, l.cfg.Codec)
	if l.cfg.Rate != pcm.Rate {
		s += fmt.Sprintf(" -> resample(%d->%d)", l.cfg.Rate, pcm.Rate)
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
	j := l.jitter.Stats()
	s.Late += j.Late
	s.Duplicate += j.Duplicate
	s.Invalid += j.Refused + j.Undecodable
	l.meter.Fill(&s.Quality)
	s.Quality.Skew, s.Quality.SkewKnown = l.flow.Skew()
	return s
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

// audio says whether the packet carries the leg's codec.
func (l *Leg) audio() bool {
	p := l.packet.Payload
	return l.packet.PayloadType == l.cfg.PayloadType && len(p) <= jitter.MaxPayload && l.cfg.Codec.Samples(p) > 0
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
	case !l.audio():
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
		Clock: l.cfg.Clock, Rate: l.cfg.Rate,
		Seq: l.flow.NextSeq(), Pos: l.jitter.Position(now),
	})
	if err != nil { // New has accepted the same rates before
		l.stats.Invalid++
		return false
	}
	addFlow(&l.stats, l.flow.Stats())
	l.flow = flow
	l.from, l.ssrc, l.rival, l.event, l.expect = from, l.packet.SSRC, rival{}, event{}, expected{}
	l.stats.SSRCChanges++
	l.mark(media.MarkSSRCChanged, now)
	return true
}

// take sorts the packet by its payload type.
func (l *Leg) take(now time.Time) {
	p := &l.packet
	if l.audio() {
		n := l.cfg.Codec.Samples(p.Payload)
		place, v := l.flow.Media(rtpflow.Packet{
			Seq: p.SequenceNumber, Timestamp: p.Timestamp, Marker: p.Marker, Samples: n, At: now,
		})
		if v == rtpflow.Accepted || v == rtpflow.Reordered {
			l.jitter.Push(jitter.Packet{Seq: place.Seq, Pos: place.Pos, Samples: n, Payload: p.Payload}, now)
		}
		return
	}
	// No audio, but its sequence number is not lost.
	place, v := l.flow.Skip(p.SequenceNumber)
	if v == rtpflow.Accepted || v == rtpflow.Reordered {
		l.jitter.Push(jitter.Packet{Seq: place.Seq}, now)
	}
	switch {
	case p.PayloadType == comfortNoise && len(p.Payload) > 0:
		// The silence that it announces makes itself.
	case p.PayloadType == l.cfg.EventType && len(p.Payload) >= eventLen:
		if v == rtpflow.Accepted && l.event.begins(p.Payload, p.Timestamp, now) {
			l.mark(media.MarkDigit, now)
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
		f.Start = b.Start * pcm.Rate / int64(l.cfg.Rate)
		f.Flags = b.Flags
		l.stats.Quality.Frames++
		if f.Flags == 0 {
			l.meter.Add(l.block)
		}
		l.rates.Process(f.Samples[:], l.block)
		if f.Flags&pcm.Lost != 0 {
			l.stats.ConcealedFrames++
		}
		if f.Flags&pcm.Inserted != 0 {
			l.stats.InsertedFrames++
		}
		l.cfg.Sink.Frame(f)
	}
}

func (l *Leg) mark(k media.MarkKind, now time.Time) {
	l.cfg.Sink.Mark(media.Mark{Kind: k, At: l.jitter.Next() * pcm.Rate / int64(l.cfg.Rate), Wall: now})
}

const (
	eventLen = 4
	// lastEvent is the highest event that is a key of a telephone: 0 to 9, *, #,
	// A to D, flash (RFC 4733, section 3.2).
	lastEvent = 16
	// debounce joins the packets of one press from devices that give each its
	// own timestamp.
	debounce = 60 * time.Millisecond
)

// event is the newest key press.
//
//	event(8) | E(1) R(1) volume(6) | duration(16), RFC 4733, section 2.3
type event struct {
	known    bool
	code     byte
	stamp    uint32
	duration uint16
	over     bool
	at       time.Time
}

// begins reports whether the payload is the first that is seen of a press. All
// packets of a press carry the timestamp of its beginning; one longer than the
// duration field can say goes on in a segment that begins where it ended.
func (e *event) begins(payload []byte, stamp uint32, now time.Time) bool {
	code := payload[0]
	if code > lastEvent {
		return false
	}
	next := event{
		known: true, code: code, stamp: stamp,
		duration: binary.BigEndian.Uint16(payload[2:]), over: payload[1]&0x80 != 0, at: now,
	}
	same := e.known && (stamp == e.stamp ||
		code == e.code && stamp == e.stamp+uint32(e.duration) ||
		code == e.code && !e.over && now.Sub(e.at) < debounce)
	if same {
		next.over = next.over || stamp == e.stamp && e.over
	}
	*e = next
	return !same
}
