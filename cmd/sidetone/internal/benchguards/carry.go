package benchguards

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"

	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/bridge"
	"sidetone/media/g711"
)

const (
	packetSamples = g711.Rate / 50
	headerLen     = 12
)

// carry brings samples at the telephone's rate to the frames that a leg's
// recogniser gets: as G.711 in RTP, some of which is lost, through the media
// path. Lost packets are the same in every run.
func carry(samples []int16, law g711.Law, loss float64, frame func(*pcm.Frame)) error {
	codec, err := g711.New(law)
	if err != nil {
		return err
	}
	leg, err := bridge.New(bridge.Config{
		Sink: sink{frame}, Payloads: []bridge.Payload{{Type: law.PayloadType(), Codec: codec, Clock: g711.Rate}},
	})
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(1, 2))
	from := netip.AddrPortFrom(netip.IPv4Unspecified(), 1)
	now := time.Unix(0, 0)
	packet := make([]byte, headerLen+packetSamples)
	packet[0], packet[1] = 2<<6, law.PayloadType()
	for n := 0; len(samples) > 0; n++ {
		var x [packetSamples]int16
		samples = samples[copy(x[:], samples):]
		binary.BigEndian.PutUint16(packet[2:], uint16(n))
		binary.BigEndian.PutUint32(packet[4:], uint32(n*packetSamples))
		if _, err := codec.Encode(packet[headerLen:], x[:]); err != nil {
			return err
		}
		if n == 0 || rng.Float64() >= loss {
			leg.Push(packet, from, now)
		}
		now = now.Add(pcm.FrameDuration)
		leg.Tick(now)
	}
	leg.End(media.End{State: media.Ended, At: now})
	return nil
}

// sink is a leg's end that cares for frames only.
type sink struct{ frame func(*pcm.Frame) }

var _ media.LegSink = sink{}

func (s sink) Frame(f *pcm.Frame)          { s.frame(f) }
func (sink) Mark(media.Mark)               {}
func (sink) End(media.End, media.LegStats) {}
