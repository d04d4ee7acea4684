package sdp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Selection is what we take of an audio line's codecs.
type Selection struct {
	// Audio are the codecs that may come, the first of them preferred.
	Audio []Codec
	// Event is the telephone-event (RFC 4733) at the first codec's clock, Noise
	// the comfort noise (RFC 3389); a nil one was not offered.
	Event, Noise *Codec
}

// Codecs are all of the selection, as they stand in an answer.
func (s Selection) Codecs() []Codec {
	all := slices.Clone(s.Audio)
	if s.Noise != nil {
		all = append(all, *s.Noise)
	}
	if s.Event != nil {
		all = append(all, *s.Event)
	}
	return all
}

// Select takes codecs that can be decoded, in the order in which they were
// offered, up to limit of them (0 is no limit); ok is false when there is none.
func Select(m *Media, decodable func(Codec) bool, limit int) (s Selection, ok bool) {
	for _, c := range m.Codecs {
		if c.Name == "" || c.Is("telephone-event") || c.Is("CN") || !decodable(c) {
			continue
		}
		twice := slices.ContainsFunc(s.Audio, func(o Codec) bool { return o.PayloadType == c.PayloadType })
		if !twice && (limit == 0 || len(s.Audio) < limit) {
			s.Audio = append(s.Audio, c)
		}
	}
	if len(s.Audio) == 0 {
		return Selection{}, false
	}
	for _, c := range m.Codecs {
		switch {
		case c.Is("telephone-event") && (s.Event == nil || s.Event.Clock != s.Audio[0].Clock && c.Clock == s.Audio[0].Clock):
			s.Event = &c
		case c.Is("CN") && c.PayloadType == 13 && s.Noise == nil:
			s.Noise = &c
		}
	}
	return s, true
}

// Choice is what we do with one m-line of an offer.
type Choice struct {
	// Port is where we receive; zero refuses the line.
	Port int
	// Selection is what we take.
	Selection Selection
	// Crypto are the values of our a=crypto lines.
	Crypto []string
}

// Local is our side of a session.
type Local struct {
	// ID stays for the session's life, Version is that of the description.
	ID, Version uint64
	// Addr is where we receive.
	Addr netip.Addr
}

// Answer builds our answer to an offer: as many m-lines in the same order, each
// refused or received on, the labels and payload types as they were offered
// (RFC 3264, section 6). We never send.
func Answer(offer *Session, local Local, choices []Choice) (*Session, error) {
	if len(choices) != len(offer.Media) {
		return nil, fmt.Errorf("sdp: %d choices for %d m= lines", len(choices), len(offer.Media))
	}
	a := local.session()
	for i := range offer.Media {
		o, c := &offer.Media[i], choices[i]
		m := Media{Kind: o.Kind, Proto: o.Proto, MID: o.MID}
		if o.Port == 0 || c.Port == 0 {
			// A refused line keeps its formats, since the grammar wants one.
			m.Formats = o.Formats
			a.Media = append(a.Media, m)
			continue
		}
		m.Port, m.Label, m.RTCPMux, m.Crypto = c.Port, o.Label, o.RTCPMux, c.Crypto
		m.Ptime = o.Ptime
		m.setCodecs(c.Selection.Codecs())
		switch o.Direction {
		case SendRecv, SendOnly:
			m.Direction = RecvOnly
		default:
			m.Direction = Inactive
		}
		a.Media = append(a.Media, m)
	}
	return a, nil
}

// OfferLine is one line of an offer of ours.
type OfferLine struct {
	Port   int
	Label  string
	Codecs []Codec
}

// Offer builds an offer to receive on plain RTP, for an INVITE that brought no
// description.
func Offer(local Local, lines []OfferLine) (*Session, error) {
	if len(lines) == 0 {
		return nil, errors.New("sdp: an offer needs a line")
	}
	s := local.session()
	for _, l := range lines {
		m := Media{Kind: "audio", Port: l.Port, Proto: "RTP/AVP", Label: l.Label, Direction: RecvOnly}
		m.setCodecs(l.Codecs)
		s.Media = append(s.Media, m)
	}
	return s, nil
}

func (l Local) session() *Session {
	return &Session{Origin: Origin{User: "sidetone", ID: l.ID, Version: l.Version, Addr: l.Addr.String()}, Name: "-"}
}

func (m *Media) setCodecs(all []Codec) {
	m.Codecs = all
	for _, c := range all {
		m.Formats = append(m.Formats, strconv.Itoa(int(c.PayloadType)))
	}
}

// Same tells that two descriptions differ in their version at most; an answer
// that is the same keeps the version it had (RFC 3264, section 8).
func Same(a, b *Session) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, y := *a, *b
	x.Origin.Version, y.Origin.Version = 0, 0
	return string(x.Append(nil)) == string(y.Append(nil))
}

// Append writes the description. Line breaks within values are left out, so
// that no value of the other side's can add a line to ours.
func (s *Session) Append(dst []byte) []byte {
	kind := "IP4"
	if strings.Contains(s.Origin.Addr, ":") {
		kind = "IP6"
	}
	line := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		dst = append(dst, strings.Map(printable, text)...)
		dst = append(dst, "\r\n"...)
	}
	line("v=0")
	line("o=%s %d %d IN %s %s", s.Origin.User, s.Origin.ID, s.Origin.Version, kind, s.Origin.Addr)
	line("s=%s", s.Name)
	line("c=IN %s %s", kind, s.Origin.Addr)
	line("t=0 0")
	for i := range s.Media {
		m := &s.Media[i]
		line("m=%s %d %s %s", m.Kind, m.Port, m.Proto, strings.Join(m.Formats, " "))
		if m.MID != "" {
			line("a=mid:%s", m.MID)
		}
		if m.Port == 0 {
			continue
		}
		for _, c := range m.Codecs {
			if c.Channels > 1 {
				line("a=rtpmap:%d %s/%d/%d", c.PayloadType, c.Name, c.Clock, c.Channels)
			} else {
				line("a=rtpmap:%d %s/%d", c.PayloadType, c.Name, c.Clock)
			}
			if c.Params != "" {
				line("a=fmtp:%d %s", c.PayloadType, c.Params)
			}
		}
		if m.Ptime > 0 {
			line("a=ptime:%d", m.Ptime)
		}
		for _, c := range m.Crypto {
			line("a=crypto:%s", c)
		}
		if m.RTCPMux {
			line("a=rtcp-mux")
		}
		if m.Label != "" {
			line("a=label:%s", m.Label)
		}
		line("a=%s", m.Direction)
	}
	return dst
}

func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return -1
	}
	return r
}
