package audiohook

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sidetone/media"
	"sidetone/media/feed"
	"sidetone/media/fork"
)

const (
	// rate is the one sample rate of the protocol, in Hz.
	rate = 8000
	// piece is how many samples of each channel are handed on at a time, so that
	// the two legs of a long message stay side by side.
	piece = rate / 50
	// idle is how long nothing must come until silence is inserted, and stall
	// until the leg counts as stalled. The pieces that come may be of a second.
	idle  = 2 * time.Second
	stall = 5 * time.Second
	// pauseSilence is how long time passes by itself on the legs' clocks in a
	// pause: enough for silence to end what was said before. For the rest the
	// source knows better how long the pause was.
	pauseSilence = 3 * time.Second
)

// The formats and channels of media offers.
const (
	formatPCMU = "PCMU"
	formatL16  = "L16"

	channelExternal = "external"
	channelInternal = "internal"
)

// offer is one of the media that the client offers:
//
//	{"type":"audio","format":"PCMU","channels":["external","internal"],"rate":8000}
type offer struct {
	Type     string   `json:"type"`
	Format   string   `json:"format"`
	Channels []string `json:"channels"`
	Rate     float64  `json:"rate"`

	raw json.RawMessage // goes back as it came
}

// width is the number of bytes in a sample of one channel.
func (o *offer) width() int {
	if o.Format == formatL16 {
		return 2
	}
	return 1
}

func (o *offer) acceptable() bool {
	known := func(c string) bool { return c == channelExternal || c == channelInternal }
	switch len(o.Channels) {
	case 1:
		if !known(o.Channels[0]) {
			return false
		}
	case 2:
		if !known(o.Channels[0]) || !known(o.Channels[1]) || o.Channels[0] == o.Channels[1] {
			return false
		}
	default:
		return false
	}
	return o.Type == "audio" && (o.Format == formatPCMU || o.Format == formatL16) && o.Rate == rate
}

// choose picks the first of the offers that can be used: both channels before
// one, so that no party is lost, and PCMU before L16. Without any offer there is
// nothing to choose, which is allowed.
func choose(offers []json.RawMessage) (*offer, error) {
	var best *offer
	for _, raw := range offers {
		o := &offer{raw: raw}
		if json.Unmarshal(raw, o) != nil || !o.acceptable() {
			continue
		}
		if best == nil || len(o.Channels) > len(best.Channels) ||
			len(o.Channels) == len(best.Channels) && o.width() < best.width() {
			best = o
		}
	}
	if best == nil && len(offers) > 0 {
		return nil, fmt.Errorf("none of %d media offers can be used: they must be audio in PCMU or L16 at %d Hz with the channels external, internal or both", len(offers), rate)
	}
	return best, nil
}

// leg is one channel of the media.
type leg struct {
	known media.Leg
	feed  *feed.Leg
}

// newLeg adds the leg of channel number i to the call.
func (s *Session) newLeg(i int, p *openParameters) error {
	l := leg{known: media.Leg{ID: s.media.Channels[i], Label: s.media.Channels[i]}}
	if l.known.Label == channelExternal {
		l.known.Role, l.known.RoleReason = media.RoleCustomer, "AudioHook: the channel is external"
		l.known.Identity, l.known.Name = clip(p.Participant.ANI), clip(p.Participant.ANIName)
	} else {
		l.known.Role, l.known.RoleReason = media.RoleAgent, "AudioHook: the channel is internal"
	}
	sink, err := s.call.AddLeg(l.known)
	if err != nil {
		return fmt.Errorf("leg %q: %w", l.known.ID, err)
	}
	if l.feed, err = feed.New(feed.Config{Sink: sink, Rate: rate, Idle: idle, Stall: stall}); err != nil {
		return err
	}
	s.legs = append(s.legs, l)
	return nil
}

// Binary takes audio: the samples of the channels by turns, in the order of the
// media that was chosen.
//
//	PCMU, two channels:  e0 i0 e1 i1 e2 i2 ...
func (s *Session) Binary(message []byte, now time.Time) error {
	switch {
	case s.state == closed || s.state == leaving || s.denied != "":
		return nil
	case s.state == preparing:
		s.fail(errors.New("audio came before the session was open"), now)
		return nil
	case s.media == nil:
		s.fail(errors.New("audio came, but no media was chosen"), now)
		return nil
	}
	channels, width := len(s.media.Channels), s.media.width()
	if len(message)%(channels*width) != 0 {
		// Whatever comes next might have its channels swapped.
		s.fail(fmt.Errorf("%d bytes of audio are no whole samples of %d channels in %s", len(message), channels, s.media.Format), now)
		return nil
	}
	s.lastPiece = int64(len(message) / (channels * width))
	for len(message) > 0 {
		n := min(piece, len(message)/(channels*width))
		for i := range s.legs {
			s.gather(message[:n*channels*width], i)
			x := s.decoded[:n]
			if _, err := s.codec.Decode(x, s.octets[:n*width]); err != nil {
				return err
			}
			s.legs[i].feed.Write(s.at-s.base, x, now)
			if i == 0 && width == 2 && s.order.Swapped(x) {
				s.log.Warn("audiohook: the audio is noise that its bytes swapped would not be; change LittleEndian")
			}
		}
		s.at += int64(n)
		message = message[n*channels*width:]
	}
	if s.at > samples(maxPosition) {
		s.fail(fmt.Errorf("the stream is longer than %v", maxPosition), now)
	}
	return nil
}

// gather copies the samples of one channel to s.octets.
func (s *Session) gather(interleaved []byte, channel int) {
	channels := len(s.media.Channels)
	if s.media.width() == 1 {
		for i, from := 0, channel; from < len(interleaved); i, from = i+1, from+channels {
			s.octets[i] = interleaved[from]
		}
		return
	}
	high, low := 0, 1 // to network byte order
	if s.a.cfg.LittleEndian {
		high, low = 1, 0
	}
	for i, from := 0, 2*channel; from < len(interleaved); i, from = i+2, from+2*channels {
		s.octets[i], s.octets[i+1] = interleaved[from+high], interleaved[from+low]
	}
}

// skip moves the clock: the source left out audio of length d at position start.
func (s *Session) skip(start, d time.Duration) error {
	at := max(s.at, samples(start)) + samples(d)
	if at > samples(maxPosition) {
		return fmt.Errorf("the stream would go on beyond %v", maxPosition)
	}
	s.at = at
	return nil
}

// compare holds the client's count of the audio against ours. It steers
// nothing: the messages come in the order of the audio, so a difference is a
// mistake of one of the two.
func (s *Session) compare(position time.Duration) {
	if s.state != active || s.media == nil {
		return // while paused, the position moves and no audio comes
	}
	d := s.at - samples(position)
	if d = max(d, -d); d <= max(s.lastPiece, piece) || d <= s.drift {
		return
	}
	if s.drift == 0 {
		s.log.Warn("audiohook: the source counts its audio otherwise", "position", position, "here", time.Duration(s.at)*time.Second/rate)
	}
	s.drift = d
}

var _ fork.Session = (*Session)(nil)
