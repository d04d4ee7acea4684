package sip

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/bridge"
	"sidetone/media/codec"
	"sidetone/media/port"
	"sidetone/media/sdp"
	"sidetone/media/siprec"
	"sidetone/media/srtp"
)

// maxPayloads is how many codecs of one line are taken; each has a decoder.
const maxPayloads = 8

// line is one open m-line: a leg of the call and its port.
type line struct {
	// anywhere is Config.Anywhere.
	anywhere bool
	sink     *sink
	port     *port.Port
	// selection is what may come, answer what we have agreed to.
	selection, answer sdp.Selection
	// offered and answered are the crypto lines, guard what opens with them; all
	// are empty on a plain line.
	offered, answered srtp.Crypto
	guard             *srtp.Session
	// addr and from are where the offer said that packets come from.
	addr string
	from int
	// held tells that silence is meant, since that active began.
	held   bool
	active time.Time
}

// plan is what we would do with one m-line of an offer.
type plan struct {
	take              bool
	why               string // not
	selection, answer sdp.Selection
	crypto            srtp.Crypto
	// protected tells that there is a crypto line, sure that plain packets are
	// refused.
	protected, sure bool
}

// planLine looks at one m-line. We agree to one codec, or to all where the other
// side insists on it, but take whatever of the offer comes: some recorders hand
// on what the parties have changed to.
func planLine(m *sdp.Media, all bool) plan {
	if m.Port == 0 || m.Kind != "audio" {
		return plan{why: "no open audio line"}
	}
	var p plan
	switch m.Proto {
	case "RTP/AVP", "RTP/AVPF":
	case "RTP/SAVP", "RTP/SAVPF":
		p.sure = true
	default:
		return plan{why: fmt.Sprintf("the protocol %s is not spoken here; offer RTP/AVP or RTP/SAVP", m.Proto)}
	}
	if p.sure || len(m.Crypto) > 0 {
		c, err := srtp.Choose(m.Crypto)
		switch {
		case err == nil:
			p.crypto, p.protected = c, true
		case p.sure:
			return plan{why: err.Error()}
		}
	}
	var ok bool
	if p.selection, ok = sdp.Select(m, decodable, maxPayloads); !ok {
		return plan{why: "none of its codecs can be decoded; offer PCMA or PCMU"}
	}
	if p.answer = p.selection; !all {
		p.answer, _ = sdp.Select(m, decodable, 1)
	}
	p.take = true
	return p
}

func format(c sdp.Codec) codec.Format {
	return codec.Format{Encoding: c.Name, Clock: c.Clock, Channels: c.Channels, Fmtp: c.Params}
}

func decodable(c sdp.Codec) bool {
	// RTCP's packet types look like these payload types (RFC 5761, section 4).
	return (c.PayloadType < 64 || c.PayloadType > 95) && codec.Decodable(format(c))
}

// openLine begins a leg and opens its port. signalling is where the offer came from.
func (s *Server) openLine(call media.CallSink, leg siprec.Leg, m *sdp.Media, p plan, signalling string, now time.Time) (*line, error) {
	l := &line{addr: m.Addr, from: m.Port, active: now, anywhere: s.cfg.Anywhere}
	payloads, err := l.choose(p)
	if err != nil {
		return nil, err
	}
	if err = l.protect(p, now); err != nil {
		return nil, err
	}
	to, err := call.AddLeg(mediaLeg(leg))
	if err != nil {
		return nil, fmt.Errorf("leg %q: %w", legID(leg), err)
	}
	l.sink = &sink{to: to}
	cfg := port.Config{
		Leg:  bridge.Config{Sink: l.sink, Payloads: payloads, EventTypes: eventTypes(m), Sources: l.sources(m, signalling)},
		RTCP: port.RTCP{Mux: m.RTCPMux, Peer: rtcpPeer(m)},
		Log:  s.log,
	}
	if l.guard != nil {
		cfg.Guard = l.guard
	}
	if l.port, err = s.cfg.Ports.Open(cfg); err != nil {
		to.End(media.End{State: media.Refused, Reason: err.Error(), At: now}, media.LegStats{})
		return nil, err
	}
	return l, nil
}

// choose notes what a plan selects and makes its decoders.
func (l *line) choose(p plan) ([]bridge.Payload, error) {
	var all []bridge.Payload
	for _, c := range p.selection.Audio {
		decoder, err := codec.New(format(c))
		if err != nil {
			return nil, err
		}
		all = append(all, bridge.Payload{Type: c.PayloadType, Codec: decoder, Clock: c.Clock})
	}
	l.selection, l.answer = p.selection, p.answer
	return all, nil
}

// eventTypes are the payload types of telephone events; not nil, since without
// an offer there are none.
func eventTypes(m *sdp.Media) []uint8 {
	all := []uint8{}
	for _, c := range m.Codecs {
		if c.Is("telephone-event") && !slices.Contains(all, c.PayloadType) {
			all = append(all, c.PayloadType)
		}
	}
	return all
}

func rtcpPeer(m *sdp.Media) netip.AddrPort {
	if a := parseIP(m.Addr); m.RTCPPort != 0 && a.IsValid() {
		return netip.AddrPortFrom(a, uint16(m.RTCPPort))
	}
	return netip.AddrPort{}
}

// sources are the addresses from which the line's packets may come: the one that
// is announced, and the one of the signalling, which is the same for packets that
// pass a NAT. None means any.
func (l *line) sources(m *sdp.Media, signalling string) []netip.Addr {
	announced := parseIP(m.Addr)
	if l.anywhere || !announced.IsValid() {
		return []netip.Addr{}
	}
	all := []netip.Addr{announced.Unmap()}
	if a, err := netip.ParseAddrPort(signalling); err == nil {
		all = append(all, a.Addr().Unmap())
	}
	return all
}

// protect agrees on keys with the offered line, or takes the agreement up again
// with a changed one.
func (l *line) protect(p plan, now time.Time) error {
	if !p.protected {
		l.offered, l.answered, l.guard = srtp.Crypto{}, srtp.Crypto{}, nil
		return nil
	}
	if l.guard != nil && l.offered.Value() == p.crypto.Value() {
		return nil
	}
	answered, err := srtp.Answer(p.crypto, rand.Reader)
	if err != nil {
		return err
	}
	if l.guard != nil {
		err = l.guard.Rekey(p.crypto, answered, now)
	} else {
		l.guard, err = srtp.New(srtp.Config{Remote: p.crypto, Local: answered, BestEffort: !p.sure})
	}
	if err == nil {
		l.offered, l.answered = p.crypto, answered
	}
	return err
}

// update takes up what a new offer says of a running line.
func (l *line) update(m *sdp.Media, p plan, signalling string, now time.Time) error {
	before := l.guard
	if err := l.protect(p, now); err != nil {
		return err
	}
	u := port.Update{Peer: rtcpPeer(m)}
	change := u.Peer.IsValid()
	if !slices.Equal(l.selection.Codecs(), p.selection.Codecs()) {
		var err error
		if u.Payloads, err = l.choose(p); err != nil {
			return err
		}
		change, u.EventTypes = true, eventTypes(m)
	}
	l.answer = p.answer
	if l.guard != before {
		change, u.Plain = true, l.guard == nil
		if l.guard != nil {
			u.Guard = l.guard
		}
	}
	if m.Addr != l.addr || m.Port != l.from {
		l.addr, l.from = m.Addr, m.Port
		if a := parseIP(m.Addr); a.IsValid() {
			// Any port: some send from another than they announce.
			change, u.Relatch, u.From = true, true, netip.AddrPortFrom(a, 0)
			u.Sources = l.sources(m, signalling)
		}
	}
	if !change {
		return nil
	}
	if err := l.port.Update(u); err != nil && !errors.Is(err, port.ErrEnded) {
		return err
	}
	return nil
}

// choice is the line's part of our answer.
func (l *line) choice() sdp.Choice {
	c := sdp.Choice{Port: int(l.port.Addr().Port()), Selection: l.answer}
	if l.guard != nil {
		c.Crypto = []string{l.answered.Value()}
	}
	return c
}

// hold marks the beginning or the end of a hold.
func (l *line) hold(held bool, now time.Time) {
	l.held = held
	kind := media.MarkUnheld
	if held {
		kind = media.MarkHeld
	} else {
		l.active = now
	}
	l.sink.event(media.Mark{Kind: kind, Wall: now})
}

// silent is how long no packet has come that should have.
func (l *line) silent(now time.Time) time.Duration {
	last := l.port.LastPacket()
	if l.active.After(last) {
		last = l.active
	}
	return now.Sub(last)
}

func legID(l siprec.Leg) string { return strconv.Itoa(l.Index + 1) }

func mediaLeg(l siprec.Leg) media.Leg {
	m := media.Leg{ID: legID(l), Label: l.Label, Identity: l.Identity, Name: l.Name, Party: l.Party, Mixed: l.Mixed}
	if l.Reason != "" {
		m.RoleReason = "SIPREC: " + l.Reason
	}
	return m
}

// sink puts the marks of the signalling between the frames of the port, whose
// goroutine is another.
type sink struct {
	mu    sync.Mutex
	to    media.LegSink
	at    int64
	ended bool
}

// Frame hands on a frame.
func (s *sink) Frame(f *pcm.Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = f.Start + int64(len(f.Samples))
	s.to.Frame(f)
}

// Mark hands on a mark of the port.
func (s *sink) Mark(m media.Mark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to.Mark(m)
}

// End hands on the end.
func (s *sink) End(e media.End, stats media.LegStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.to.End(e, stats)
}

// Stats hands on what the leg has seen, if that is wanted.
func (s *sink) Stats(stats media.LegStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w, ok := s.to.(media.StatsSink); ok {
		w.Stats(stats)
	}
}

// event hands on a mark of the signalling, at the newest frame.
func (s *sink) event(m media.Mark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		m.At = s.at
		s.to.Mark(m)
	}
}

// describe names what is wrong with all lines of an offer, none of which is
// taken.
func describe(plans []plan) string {
	var all []string
	for i, p := range plans {
		all = append(all, fmt.Sprintf("line %d: %s", i+1, p.why))
		if i == 3 {
			break
		}
	}
	return strings.Join(all, "; ")
}
