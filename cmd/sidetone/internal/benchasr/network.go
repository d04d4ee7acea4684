package benchasr

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/bridge"
	"sidetone/media/g711"
	"sidetone/media/netsim"
	"sidetone/media/resample"
)

const packetTime = 20 * time.Millisecond

// Network has another recogniser hear what is left of a clip when it comes as
// RTP over a network that loses packets: as PCMU in packets of 20 ms, through
// the media path of a leg, in simulated time.
type Network struct {
	inner   Recogniser
	network netsim.Network
	seed    uint64
	stats   NetworkStats
}

var _ Recogniser = (*Network)(nil)

// NetworkStats adds up what the media path had to do.
type NetworkStats struct {
	// Frames of 20 ms were handed on; of these Concealed and Inserted were made
	// up.
	Frames, Concealed, Inserted uint64
	// Sent and Lost count packets.
	Sent, Lost uint64
	// Clips were heard; Off is the sum of what they were too long or too short
	// by.
	Clips int
	Off   time.Duration
}

// NewNetwork puts a network before a recogniser.
func NewNetwork(inner Recogniser, w netsim.Network) *Network {
	return &Network{inner: inner, network: w}
}

// Stats returns what has been counted.
func (n *Network) Stats() NetworkStats { return n.stats }

// Recognise implements Recogniser. Each clip meets other chances.
func (n *Network) Recognise(ctx context.Context, x []int16) (Heard, error) {
	y, err := n.carry(x)
	if err != nil {
		return Heard{}, err
	}
	return n.inner.Recognise(ctx, y)
}

// carry returns what arrives.
func (n *Network) carry(x []int16) ([]int16, error) {
	packets, err := packets(x)
	if err != nil {
		return nil, err
	}
	c, err := g711.New(g711.MuLaw)
	if err != nil {
		return nil, err
	}
	var s sink
	leg, err := bridge.New(bridge.Config{Sink: &s, Payloads: []bridge.Payload{{Codec: c, Clock: g711.Rate}}})
	if err != nil {
		return nil, err
	}
	n.seed++
	begin := time.Unix(0, 0)
	from := netip.AddrPortFrom(netip.IPv4Unspecified(), 1)
	ticks := packetTime
	for _, a := range n.network.Arrivals(len(packets), packetTime, n.seed) {
		for ; ticks < a.At; ticks += packetTime {
			leg.Tick(begin.Add(ticks))
		}
		leg.Push(packets[a.Packet], from, begin.Add(a.At))
	}
	leg.End(media.End{State: media.Ended, At: begin.Add(ticks)})
	n.stats.Frames += s.stats.Quality.Frames
	n.stats.Concealed += s.stats.ConcealedFrames
	n.stats.Inserted += s.stats.InsertedFrames
	n.stats.Sent += uint64(len(packets))
	n.stats.Lost += s.stats.Lost
	off := pcm.Duration(int64(len(s.samples))) - time.Duration(len(packets))*packetTime
	n.stats.Clips++
	n.stats.Off += max(off, -off)
	return s.samples, nil
}

// packets cuts a clip into RTP packets of PCMU. The last is filled up with
// silence.
func packets(x []int16) ([][]byte, error) {
	narrow, err := resample.Convert(x, pcm.Rate, g711.Rate)
	if err != nil {
		return nil, err
	}
	c, err := g711.New(g711.MuLaw)
	if err != nil {
		return nil, err
	}
	const size = g711.Rate / 50
	narrow = append(narrow, make([]int16, (size-len(narrow)%size)%size)...)
	var all [][]byte
	for i := 0; i < len(narrow); i += size {
		b := make([]byte, 12+size)
		b[0] = 0x80
		binary.BigEndian.PutUint16(b[2:], uint16(i/size))
		binary.BigEndian.PutUint32(b[4:], uint32(i))
		binary.BigEndian.PutUint32(b[8:], 1)
		if _, err := c.Encode(b[12:], narrow[i:i+size]); err != nil {
			return nil, fmt.Errorf("packet %d: %w", len(all), err)
		}
		all = append(all, b)
	}
	return all, nil
}

// sink keeps what a leg hands on.
type sink struct {
	samples []int16
	stats   media.LegStats
}

func (s *sink) Frame(f *pcm.Frame)                 { s.samples = append(s.samples, f.Samples[:]...) }
func (s *sink) Mark(media.Mark)                    {}
func (s *sink) End(_ media.End, st media.LegStats) { s.stats = st }
