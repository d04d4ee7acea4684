// Package rtpsend plays recordings as RTP in real time: in any codec that
// package codec encodes, in packets of 20 ms, one stream for each leg of a call.
//
// Packets leave by a schedule that is counted from the beginning, so that a
// late packet makes no later one late. For tests of what receives them, an
// Impairment loses, delays, reorders and repeats packets, the same ones in
// every run.
package rtpsend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/pion/rtp"

	"sidetone/internal/wav"
	"sidetone/media/codec"
	"sidetone/media/resample"
)

const (
	// PacketTime is the length of a packet.
	PacketTime = 20 * time.Millisecond

	packetsPerSecond = int(time.Second / PacketTime)
	headerLen        = 12
	// maxPayload is what an Ethernet frame leaves for it.
	maxPayload = 1500 - 20 - 8 - headerLen
)

// Origin is where a stream's counters begin.
type Origin struct {
	SSRC      uint32
	Seq       uint16
	Timestamp uint32
}

// Stream is one leg.
type Stream struct {
	// Out takes each packet in one Write, as a connected UDP socket does.
	Out io.Writer
	// Samples is the audio at the format's Rate. The last packet is filled up
	// with silence.
	Samples []int16
	// Format is the codec; its zero value means PCMU.
	Format codec.Format
	// PayloadType is the RTP payload type; zero means codec.PayloadType's.
	PayloadType uint8
	// Origin is random when it is nil, as RFC 3550, section 5.1, wants it.
	Origin *Origin
}

// Impairment is what a network does to packets. The zero value does nothing.
type Impairment struct {
	Seed uint64
	// Loss, Duplicate and Reorder are probabilities. A reordered packet leaves
	// after its successor.
	Loss, Duplicate, Reorder float64
	// Jitter delays each packet by a random time below it.
	Jitter time.Duration
}

// Config is what Play plays.
type Config struct {
	Streams []Stream
	Impair  Impairment
	// Progress, where given, is called after each packet time.
	Progress func(played, total time.Duration)
}

// Stats counts the packets of one stream.
type Stats struct {
	// Sent counts packets written, duplicates among them, Lost those that the
	// impairment kept back.
	Sent, Lost, Duplicated uint64
}

// Legs makes the legs' audio of a recording: one slice for each channel, at a
// rate in Hz.
func Legs(a *wav.Audio, rate int) ([][]int16, error) {
	legs := make([][]int16, len(a.Channels))
	for i, ch := range a.Channels {
		var err error
		if legs[i], err = resample.Convert(ch, a.Rate, rate); err != nil {
			return nil, fmt.Errorf("rtpsend: channel %d: %w", i+1, err)
		}
	}
	return legs, nil
}

// Play plays all streams side by side, from one goroutine, until the longest
// has ended or ctx ends, whose error it returns then. The result has the
// counters of each stream, also beside an error.
func Play(ctx context.Context, cfg Config) ([]Stats, error) {
	p, err := newPlayer(cfg)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return p.stats(), ctx.Err()
		case <-timer.C:
		}
		next, more, err := p.advance(time.Since(begin))
		if err != nil || !more {
			return p.stats(), err
		}
		timer.Reset(next - time.Since(begin))
	}
}

// player is the state of Play. Times count from the beginning.
type player struct {
	cfg     Config
	streams []*stream
	packets int // of the longest stream
	packet  int // the one that is due next
	held    []held
}

// held is a packet that the impairment delays.
type held struct {
	due    time.Duration
	stream *stream
	packet []byte
}

func newPlayer(cfg Config) (*player, error) {
	if len(cfg.Streams) == 0 {
		return nil, errors.New("rtpsend: nothing to play")
	}
	im := cfg.Impair
	for _, p := range []float64{im.Loss, im.Duplicate, im.Reorder} {
		if p < 0 || p > 1 {
			return nil, fmt.Errorf("rtpsend: %g is no probability", p)
		}
	}
	if im.Jitter < 0 {
		return nil, fmt.Errorf("rtpsend: jitter of %v is not possible", im.Jitter)
	}
	p := &player{cfg: cfg}
	for i, s := range cfg.Streams {
		t, err := newStream(s, rand.New(rand.NewPCG(im.Seed, uint64(i))))
		if err != nil {
			return nil, err
		}
		p.streams = append(p.streams, t)
		p.packets = max(p.packets, t.packets())
	}
	return p, nil
}

// advance sends what is due at now and returns when it wants to be called
// again; more is false when everything has been sent.
func (p *player) advance(now time.Duration) (next time.Duration, more bool, err error) {
	for p.packet < p.packets {
		due := time.Duration(p.packet) * PacketTime
		if due > now {
			break
		}
		for _, s := range p.streams {
			if err := p.send(s, due); err != nil {
				return 0, false, err
			}
		}
		p.packet++
		if p.cfg.Progress != nil {
			p.cfg.Progress(time.Duration(p.packet)*PacketTime, time.Duration(p.packets)*PacketTime)
		}
	}
	for len(p.held) > 0 && p.held[0].due <= now {
		if err := p.held[0].stream.write(p.held[0].packet); err != nil {
			return 0, false, err
		}
		p.held = p.held[1:]
	}
	// The audio ends one packet time after its last packet has left.
	next = time.Duration(p.packet) * PacketTime
	if len(p.held) > 0 && (p.packet >= p.packets || p.held[0].due < next) {
		next = p.held[0].due
	}
	return next, p.packet < p.packets || len(p.held) > 0 || now < next, nil
}

// send sends the stream's next packet, or does to it what the network would.
func (p *player) send(s *stream, due time.Duration) error {
	b := s.next()
	if b == nil {
		return nil
	}
	im := p.cfg.Impair
	if s.rng.Float64() < im.Loss {
		s.stats.Lost++
		return nil
	}
	copies := 1
	if s.rng.Float64() < im.Duplicate {
		copies = 2
		s.stats.Duplicated++
	}
	for range copies {
		var delay time.Duration
		if im.Jitter > 0 {
			delay = time.Duration(s.rng.Int64N(int64(im.Jitter)))
		}
		if s.rng.Float64() < im.Reorder {
			delay += PacketTime * 3 / 2
		}
		if delay == 0 {
			if err := s.write(b); err != nil {
				return err
			}
			continue
		}
		p.hold(held{due + delay, s, append([]byte(nil), b...)})
	}
	return nil
}

// hold puts a packet in its place by time.
func (p *player) hold(h held) {
	p.held = append(p.held, h)
	for i := len(p.held) - 1; i > 0 && p.held[i].due < p.held[i-1].due; i-- {
		p.held[i], p.held[i-1] = p.held[i-1], p.held[i]
	}
}

func (p *player) stats() []Stats {
	all := make([]Stats, len(p.streams))
	for i, s := range p.streams {
		all[i] = s.stats
	}
	return all
}

// stream makes one leg's packets.
type stream struct {
	out     io.Writer
	encoder codec.Encoder
	rest    []int16
	header  rtp.Header
	ticks   uint32  // of the RTP clock in a packet
	last    []int16 // as long as a packet
	buf     [headerLen + maxPayload]byte
	rng     *rand.Rand
	stats   Stats
}

func newStream(s Stream, rng *rand.Rand) (*stream, error) {
	if s.Out == nil {
		return nil, errors.New("rtpsend: a stream without a socket")
	}
	f := s.Format
	if f == (codec.Format{}) {
		f, _ = codec.Static(0)
	}
	encoder, err := codec.NewEncoder(f)
	if err != nil {
		return nil, fmt.Errorf("rtpsend: %w", err)
	}
	pt := s.PayloadType
	if pt == 0 {
		if pt, err = codec.PayloadType(f); err != nil {
			return nil, fmt.Errorf("rtpsend: %w", err)
		}
	}
	last := make([]int16, f.Rate()/packetsPerSecond)
	if _, err := encoder.Encode(make([]byte, maxPayload), last); err != nil {
		return nil, fmt.Errorf("rtpsend: %v of %s do not fit into a packet: %w", PacketTime, f, err)
	}
	o := s.Origin
	if o == nil {
		o = &Origin{SSRC: rand.Uint32(), Seq: uint16(rand.Uint32()), Timestamp: rand.Uint32()}
	}
	return &stream{
		out: s.Out, encoder: encoder, rest: s.Samples, rng: rng,
		ticks: uint32(f.Clock / packetsPerSecond), last: last,
		header: rtp.Header{
			Version: 2, Marker: true, PayloadType: pt,
			SequenceNumber: o.Seq, Timestamp: o.Timestamp, SSRC: o.SSRC,
		},
	}, nil
}

func (s *stream) packets() int { return (len(s.rest) + len(s.last) - 1) / len(s.last) }

// next is the next packet, valid until the next call; nil after the last.
func (s *stream) next() []byte {
	if len(s.rest) == 0 {
		return nil
	}
	samples := s.rest
	if len(samples) < len(s.last) {
		n := copy(s.last, samples)
		clear(s.last[n:])
		samples = s.last
	}
	samples = samples[:len(s.last)]
	s.rest = s.rest[min(len(s.rest), len(s.last)):]
	n, err := s.header.MarshalTo(s.buf[:])
	size := 0
	if err == nil {
		size, err = s.encoder.Encode(s.buf[n:], samples)
	}
	if err != nil {
		// newStream has encoded as much into as little.
		panic("rtpsend: " + err.Error())
	}
	s.header.Marker = false
	s.header.SequenceNumber++
	s.header.Timestamp += s.ticks
	return s.buf[:n+size]
}

func (s *stream) write(b []byte) error {
	if _, err := s.out.Write(b); err != nil {
		return fmt.Errorf("rtpsend: %w", err)
	}
	s.stats.Sent++
	return nil
}
