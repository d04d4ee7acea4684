// Package sdp reads the session descriptions (RFC 8866) in which others offer
// us audio, and writes our answers (RFC 3264) and offers.
//
// It is our own and not github.com/pion/sdp, whose parser is a state machine
// over the lines' prescribed order: real recorders leave lines out, put them
// elsewhere or end without a line break, and what they offer is still clear.
// Only what cannot be understood is an error: no m-line, or one without a port.
// Attributes that are not known are skipped, among them a=3gOoBTC and
// a=record.
package sdp

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

const (
	// MaxSize is the most bytes that Parse takes.
	MaxSize = 64 << 10
	// maxMedia and maxFormats bound what one description makes us hold; maxCrypto
	// is four times what any known device offers.
	maxMedia   = 32
	maxFormats = 64
	maxCrypto  = 64
)

// ErrTooLarge is wrapped by Parse's error on a description above MaxSize.
var ErrTooLarge = errors.New("the session description is too large")

// Direction is who sends, seen from the side that wrote the description
// (RFC 8866, section 6.7).
type Direction uint8

// The directions. SendRecv is what a description without the attribute means.
const (
	SendRecv Direction = iota
	SendOnly
	RecvOnly
	Inactive
)

// String is the attribute's name.
func (d Direction) String() string {
	switch d {
	case SendOnly:
		return "sendonly"
	case RecvOnly:
		return "recvonly"
	case Inactive:
		return "inactive"
	default:
		return "sendrecv"
	}
}

func parseDirection(s string) (Direction, bool) {
	switch strings.ToLower(s) {
	case "sendrecv":
		return SendRecv, true
	case "sendonly":
		return SendOnly, true
	case "recvonly":
		return RecvOnly, true
	case "inactive":
		return Inactive, true
	default:
		return SendRecv, false
	}
}

// Origin is the o= line.
type Origin struct {
	User string
	// ID names the session, Version its description.
	ID, Version uint64
	// Addr is the address without its type.
	Addr string
}

// Session is one description.
type Session struct {
	Origin Origin
	Name   string
	Media  []Media
}

// Media is one m-line with its attributes. What may stand at the session's
// level (address, direction, crypto, fingerprint) is already applied to it.
type Media struct {
	// Kind is "audio", "video", and so on.
	Kind string
	// Port is zero on a line that is refused or taken away.
	Port int
	// Proto is "RTP/AVP", "RTP/SAVP", and so on.
	Proto string
	// Formats are the payload types as they were written, Codecs what those
	// that are numbers stand for, in the same order.
	Formats []string
	Codecs  []Codec
	// Addr is the address of c=, without its type.
	Addr      string
	Direction Direction
	// Label and MID are those of RFC 4574 and RFC 5888.
	Label, MID string
	// Ptime is the milliseconds in one packet, zero where it is not said.
	Ptime int
	// RTCPPort is that of a=rtcp (RFC 3605), zero where it is not said; RTCPMux
	// tells that RTCP may share the port (RFC 5761).
	RTCPPort int
	RTCPMux  bool
	// Crypto are the values of a=crypto (RFC 4568), uninterpreted.
	Crypto []string
	// Fingerprint is the value of a=fingerprint, with which DTLS is offered.
	Fingerprint string
}

// Codec is what one payload type stands for.
type Codec struct {
	PayloadType uint8
	// Name is the encoding's name as it was written, or empty on a payload type
	// that is neither described nor one of RFC 3551's.
	Name string
	// Clock is the RTP clock rate in Hz.
	Clock int
	// Channels is 1 where it is not said.
	Channels int
	// Params is the value of a=fmtp after the payload type.
	Params string
}

// Is compares the encoding's name, which has no case (RFC 4855, section 3).
func (c Codec) Is(name string) bool { return strings.EqualFold(c.Name, name) }

// Held tells that nobody sends on the line, or that its address is the one
// that meant so before RFC 3264.
func (m *Media) Held() bool {
	return m.Direction == Inactive || m.Direction == RecvOnly || m.Addr == "0.0.0.0" || m.Addr == "::"
}

// static are the payload types of RFC 3551, section 6, that need no rtpmap.
func static(pt uint8) (name string, clock, channels int) {
	switch pt {
	case 0:
		return "PCMU", 8000, 1
	case 3:
		return "GSM", 8000, 1
	case 4:
		return "G723", 8000, 1
	case 8:
		return "PCMA", 8000, 1
	case 9:
		return "G722", 8000, 1
	case 10:
		return "L16", 44100, 2
	case 11:
		return "L16", 44100, 1
	case 12:
		return "QCELP", 8000, 1
	case 13, 19:
		return "CN", 8000, 1
	case 15:
		return "G728", 8000, 1
	case 18:
		return "G729", 8000, 1
	default:
		return "", 0, 0
	}
}

// Parse reads a description.
func Parse(b []byte) (*Session, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("sdp: %d bytes, at most %d: %w", len(b), MaxSize, ErrTooLarge)
	}
	p := parser{session: &Session{}}
	for number := 1; len(b) > 0; number++ {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte("\n"))
		text := strings.TrimRight(string(line), "\r\x00 \t")
		if len(text) < 2 || text[1] != '=' {
			if text == "" {
				continue
			}
			return nil, fmt.Errorf("sdp: line %d, %q: want a letter, = and a value", number, short(text))
		}
		if err := p.line(text[0], strings.TrimSpace(text[2:])); err != nil {
			return nil, fmt.Errorf("sdp: line %d, %q: %w", number, short(text), err)
		}
	}
	if len(p.session.Media) == 0 {
		return nil, errors.New("sdp: there is no m= line, so nothing is offered")
	}
	p.finish()
	return p.session, nil
}

func short(s string) string {
	// An a=crypto line holds a key.
	if len(s) > 9 && strings.EqualFold(s[:9], "a=crypto:") {
		return "a=crypto:..."
	}
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}

// parser holds what the session's level says for all of its media.
type parser struct {
	session *Session
	common  Media
	// maps are the rtpmap and fmtp of the current m-line, by payload type.
	maps map[uint8]Codec
	fmtp map[uint8]string
}

func (p *parser) line(kind byte, value string) error {
	switch kind {
	case 'o':
		p.origin(value)
	case 's':
		p.session.Name = value
	case 'c':
		p.current().Addr = address(value)
	case 'm':
		return p.media(value)
	case 'a':
		return p.attribute(value)
	}
	return nil
}

// current is the media that a line belongs to.
func (p *parser) current() *Media {
	if n := len(p.session.Media); n > 0 {
		return &p.session.Media[n-1]
	}
	return &p.common
}

// origin never fails: some devices write an o= line of their own kind.
//
//	o=<user> <id> <version> IN IP4 <address>
func (p *parser) origin(value string) {
	f := strings.Fields(value)
	o := &p.session.Origin
	if len(f) > 0 {
		o.User = f[0]
	}
	if len(f) > 2 {
		o.ID, _ = strconv.ParseUint(f[1], 10, 64)
		o.Version, _ = strconv.ParseUint(f[2], 10, 64)
	}
	if len(f) > 5 {
		o.Addr = f[5]
	}
}

// address is that of "IN IP4 192.0.2.1/127", without the time to live.
func address(value string) string {
	f := strings.Fields(value)
	if len(f) < 3 {
		return ""
	}
	a, _, _ := strings.Cut(f[2], "/")
	return a
}

// media begins an m-line.
//
//	m=<kind> <port>[/<number>] <proto> <format> ...
func (p *parser) media(value string) error {
	f := strings.Fields(value)
	if len(f) < 3 {
		return errors.New("want kind, port, protocol and formats")
	}
	if strings.ContainsFunc(value, unicode.IsControl) {
		return errors.New("a control character in an m= line")
	}
	text, _, _ := strings.Cut(f[1], "/")
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q is no port", f[1])
	}
	if len(p.session.Media) == maxMedia {
		return fmt.Errorf("more than %d m= lines", maxMedia)
	}
	if len(f)-3 > maxFormats {
		return fmt.Errorf("%d formats, at most %d", len(f)-3, maxFormats)
	}
	p.finish()
	m := p.common
	m.Kind, m.Port, m.Proto, m.Formats = strings.ToLower(f[0]), n, strings.ToUpper(f[2]), f[3:]
	m.Crypto = append([]string(nil), p.common.Crypto...)
	p.session.Media = append(p.session.Media, m)
	p.maps, p.fmtp = map[uint8]Codec{}, map[uint8]string{}
	return nil
}

// finish tells what the formats of the last m-line stand for.
func (p *parser) finish() {
	if len(p.session.Media) == 0 {
		return
	}
	m := p.current()
	m.Codecs = nil
	for _, f := range m.Formats {
		pt, err := strconv.ParseUint(f, 10, 8)
		if err != nil || pt > 127 {
			continue
		}
		c, ok := p.maps[uint8(pt)]
		if !ok {
			c.Name, c.Clock, c.Channels = static(uint8(pt))
		}
		c.PayloadType, c.Params = uint8(pt), p.fmtp[uint8(pt)]
		m.Codecs = append(m.Codecs, c)
	}
}

func (p *parser) attribute(value string) error {
	name, value, _ := strings.Cut(value, ":")
	name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
	m := p.current()
	if d, ok := parseDirection(name); ok {
		m.Direction = d
		return nil
	}
	switch name {
	case "rtpmap":
		p.rtpmap(value)
	case "fmtp":
		if pt, rest, ok := payloadType(value); ok && p.fmtp != nil {
			p.fmtp[pt] = rest
		}
	case "label":
		m.Label = value
	case "mid":
		m.MID = value
	case "ptime":
		if n, err := strconv.Atoi(value); err == nil && n > 0 && n <= 1000 {
			m.Ptime = n
		}
	case "rtcp":
		port, _, _ := strings.Cut(value, " ")
		if n, err := strconv.Atoi(port); err == nil && n > 0 && n <= 65535 {
			m.RTCPPort = n
		}
	case "rtcp-mux":
		m.RTCPMux = true
	case "crypto":
		if len(m.Crypto) == maxCrypto {
			return fmt.Errorf("more than %d a=crypto lines", maxCrypto)
		}
		m.Crypto = append(m.Crypto, value)
	case "fingerprint":
		m.Fingerprint = value
	}
	return nil
}

// rtpmap notes what a payload type stands for; one that cannot be read leaves
// the type unknown.
//
//	a=rtpmap:<type> <name>/<clock>[/<channels>]
func (p *parser) rtpmap(value string) {
	pt, rest, ok := payloadType(value)
	if !ok || p.maps == nil {
		return
	}
	parts := strings.Split(rest, "/")
	if len(parts) < 2 {
		return
	}
	clock, err := strconv.Atoi(strings.TrimSpace(parts[1]))
	if err != nil || clock <= 0 || clock > 1_000_000 {
		return
	}
	c := Codec{Name: strings.TrimSpace(parts[0]), Clock: clock, Channels: 1}
	if len(parts) > 2 {
		if n, err := strconv.Atoi(strings.TrimSpace(parts[2])); err == nil && n > 0 && n < 256 {
			c.Channels = n
		}
	}
	p.maps[pt] = c
}

func payloadType(value string) (pt uint8, rest string, ok bool) {
	number, rest, _ := strings.Cut(value, " ")
	n, err := strconv.ParseUint(number, 10, 8)
	return uint8(n), strings.TrimSpace(rest), err == nil && n <= 127
}
