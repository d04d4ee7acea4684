// Package whip holds what WHIP (RFC 9725) says in its bodies: the offer that
// begins a session, our answer to it, and the fragments (RFC 8840) that add
// candidates or restart ICE later.
//
// An offer is reduced to the one audio section that is taken, with the formats
// and attributes that are used, so that a peer connection sees nothing else;
// the answer is built up again section by section, in the offer's order.
package whip

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

const (
	// MaxBody bounds an offer, in bytes.
	MaxBody = 64 << 10
	// MaxFragment bounds a fragment.
	MaxFragment = 16 << 10
	// MaxSections and MaxCandidates bound what one session may name.
	MaxSections   = 8
	MaxCandidates = 50
	// maxFormats bounds the formats of a section, maxLines those of an offer;
	// browsers have some hundred.
	maxFormats = 64
	maxLines   = 2000
)

// Errors of ParseOffer and ParseFragment that callers tell apart.
var (
	// ErrMalformed: it is no session description.
	ErrMalformed = errors.New("malformed SDP")
	// ErrUnacceptable: it is one, and cannot be answered.
	ErrUnacceptable = errors.New("the offer cannot be accepted")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

func unacceptable(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnacceptable}, args...)...)
}

// Format is one payload format of an offer.
type Format struct {
	PayloadType uint8
	// Name is the encoding's name in lower case: opus, pcmu, pcma, g722.
	Name string
	// Clock is the RTP clock rate in Hz, Channels is 1 where none is said.
	Clock, Channels int
	// Parameters is the format's fmtp.
	Parameters string

	spelt string // as the offer's rtpmap has it
}

func (f Format) rtpmap() string {
	if f.spelt == "" {
		return f.String()
	}
	return f.spelt
}

func (f Format) String() string {
	if f.Channels > 1 {
		return fmt.Sprintf("%s/%d/%d", f.Name, f.Clock, f.Channels)
	}
	return fmt.Sprintf("%s/%d", f.Name, f.Clock)
}

// Options says what of an offer is taken.
type Options struct {
	// Codecs are the acceptable formats in order of preference; of each, the name
	// and the clock count.
	Codecs []Format
	// Redundancy asks for RED (RFC 2198) where it is offered.
	Redundancy bool
}

// Offer is what of an offer is taken.
type Offer struct {
	// Audio is the chosen codec.
	Audio Format
	// Redundant is the RED format that is asked for, Event the telephone events
	// of the codec's clock; nil where there is none.
	Redundant, Event *Format
	// Mid is the audio section's name, which may be empty.
	Mid string
	// Ufrag is the client's ICE user name fragment.
	Ufrag string

	password   string
	candidates []string
	passive    bool // the client waits for our DTLS hello
	grouped    bool
	sections   []section
	audio      int // index into sections
	lines      []string
}

// section is one m-line of the offer with its attributes.
type section struct {
	kind, port, proto string
	formats           []string
	attrs             []string // without "a="
}

func (s *section) attr(key string) (string, bool) { return attr(s.attrs, key) }

// attr finds the first attribute of a name.
func attr(attrs []string, key string) (string, bool) {
	for _, a := range attrs {
		k, v, _ := strings.Cut(a, ":")
		if k == key {
			return v, true
		}
	}
	return "", false
}

// ParseOffer reads an offer and chooses from it.
func ParseOffer(body []byte, opts Options) (*Offer, error) {
	session, sections, err := split(string(body))
	if err != nil {
		return nil, err
	}
	o := &Offer{sections: sections, audio: -1}
	_, o.grouped = attr(session, "group")
	for i := range sections {
		if sections[i].kind != "audio" || sections[i].port == "0" {
			continue
		}
		if o.audio >= 0 {
			return nil, unacceptable("it has more than one audio section; send one session for each party, with the same ?call= and another ?role=")
		}
		o.audio = i
	}
	if o.audio < 0 {
		return nil, unacceptable("it has no audio section; add an audio track before creating the offer")
	}
	a := &sections[o.audio]
	if err := o.transport(session, a); err != nil {
		return nil, err
	}
	return o, o.choose(a, opts)
}

// split takes a description apart.
func split(text string) (session []string, sections []section, err error) {
	if len(text) > MaxBody {
		return nil, nil, malformed("%d bytes are more than %d", len(text), MaxBody)
	}
	if !strings.HasPrefix(text, "v=0") {
		return nil, nil, malformed("line 1 is not v=0; send the offer's sdp itself as the body")
	}
	for i, line := range strings.Split(strings.TrimRight(text, "\r\n"), "\n") {
		if i == maxLines {
			return nil, nil, malformed("more than %d lines", maxLines)
		}
		line = strings.TrimSuffix(line, "\r")
		if len(line) < 2 || line[1] != '=' {
			return nil, nil, malformed("line %d is not of the form x=value", i+1)
		}
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' }) {
			return nil, nil, malformed("line %d has control characters", i+1)
		}
		switch value := line[2:]; line[0] {
		case 'm':
			if len(sections) == MaxSections {
				return nil, nil, unacceptable("it has more than %d media sections", MaxSections)
			}
			f := strings.Fields(value)
			if len(f) < 4 {
				return nil, nil, malformed("line %d: an m= line has a kind, a port, a protocol and formats", i+1)
			}
			if len(f) > 3+maxFormats {
				return nil, nil, unacceptable("line %d has more than %d formats", i+1, maxFormats)
			}
			sections = append(sections, section{kind: f[0], port: f[1], proto: f[2], formats: f[3:]})
		case 'a':
			if len(sections) == 0 {
				session = append(session, value)
			} else {
				s := &sections[len(sections)-1]
				s.attrs = append(s.attrs, value)
			}
		}
	}
	return session, sections, nil
}

// transport reads what makes the connection. In a bundle the first section may
// speak for the others (RFC 9143, section 7).
func (o *Offer) transport(session []string, a *section) error {
	find := func(key string) string {
		for _, attrs := range [][]string{a.attrs, session, o.sections[0].attrs} {
			if v, ok := attr(attrs, key); ok {
				return v
			}
		}
		return ""
	}
	o.Mid, _ = a.attr("mid")
	o.Ufrag, o.password = find("ice-ufrag"), find("ice-pwd")
	fingerprint, setup := find("fingerprint"), find("setup")
	switch {
	case !strings.Contains(a.proto, "SAVP") || !strings.Contains(a.proto, "TLS"):
		return unacceptable("its audio is %s; it must be UDP/TLS/RTP/SAVPF, which is encrypted with keys from DTLS", a.proto)
	case o.Ufrag == "" || o.password == "":
		return malformed("it has no a=ice-ufrag and a=ice-pwd")
	case fingerprint == "":
		return malformed("it has no a=fingerprint")
	}
	if err := checkCredentials(o.Ufrag, o.password); err != nil {
		return err
	}
	if _, ok := a.attr("rtcp-mux"); !ok {
		return unacceptable("its audio section has no a=rtcp-mux; RTP and RTCP must share a port")
	}
	for _, d := range []string{"recvonly", "inactive"} {
		if _, ok := a.attr(d); ok {
			return unacceptable("its audio section is %s; this endpoint only takes audio, so it must be sendonly or sendrecv", d)
		}
	}
	o.passive = setup == "passive"
	if setup == "" {
		setup = "actpass"
	}
	o.lines = []string{
		"ice-ufrag:" + o.Ufrag, "ice-pwd:" + o.password, "fingerprint:" + fingerprint, "setup:" + setup,
		"mid:" + o.mid(), "sendonly", "rtcp-mux",
	}
	_, lite := attr(session, "ice-lite")
	if lite {
		o.lines = append(o.lines, "ice-lite")
	}
	var all []string
	for i := range o.sections {
		if i != o.audio && !o.grouped {
			continue
		}
		for _, line := range o.sections[i].attrs {
			if c, ok := strings.CutPrefix(line, "candidate:"); ok {
				all = append(all, c)
			}
		}
	}
	if len(all) > MaxCandidates {
		return unacceptable("it has %d candidates; at most %d are taken", len(all), MaxCandidates)
	}
	o.candidates = usable(all)
	// One source is told; others of the same section are unknown ones to the
	// peer connection as well.
	source := ""
	for _, line := range a.attrs {
		v, ok := strings.CutPrefix(line, "ssrc:")
		if !ok {
			continue
		}
		id, _, _ := strings.Cut(v, " ")
		if _, err := strconv.ParseUint(id, 10, 32); err != nil {
			return malformed("a=ssrc:%.20s is no number", id)
		}
		if source == "" {
			source = id
		}
		if id == source {
			o.lines = append(o.lines, line)
		}
	}
	return nil
}

// mid is the section's name towards the peer connection, which wants one.
func (o *Offer) mid() string {
	if o.Mid == "" {
		return "0"
	}
	return o.Mid
}

// Passive says whether the client waits for our DTLS hello.
func (o *Offer) Passive() bool { return o.passive }

// Candidates are the client's candidates that can be used.
func (o *Offer) Candidates() int { return len(o.candidates) }

// choose picks the formats.
func (o *Offer) choose(a *section, opts Options) error {
	formats, err := a.mapped()
	if err != nil {
		return err
	}
	best := len(opts.Codecs)
	for _, f := range formats {
		// RFC 5761, section 4: with rtcp-mux 64 to 95 are RTCP's.
		i := slices.IndexFunc(opts.Codecs, func(c Format) bool { return c.Name == f.Name && c.Clock == f.Clock })
		if i >= 0 && i < best && (f.PayloadType < 64 || f.PayloadType > 95) {
			best, o.Audio = i, f
		}
	}
	if best == len(opts.Codecs) {
		var known []string
		for _, c := range opts.Codecs {
			known = append(known, c.String())
		}
		return unacceptable("it offers none of the codecs %s", strings.Join(known, ", "))
	}
	for _, f := range formats {
		switch {
		case f.Name == "red" && opts.Redundancy && f.Clock == o.Audio.Clock && f.carries(o.Audio.PayloadType) && o.Redundant == nil:
			o.Redundant = &f
		case f.Name == "telephone-event" && f.Clock == o.Audio.Clock && o.Event == nil:
			o.Event = &f
		}
	}
	return nil
}

// carries says whether a RED format is made of the payload type.
func (f Format) carries(pt uint8) bool {
	for _, p := range strings.Split(f.Parameters, "/") {
		if p != strconv.Itoa(int(pt)) {
			return false
		}
	}
	return true
}

// mapped are the formats of a section.
func (s *section) mapped() ([]Format, error) {
	var all []Format
	for _, text := range s.formats {
		n, err := strconv.ParseUint(text, 10, 7)
		if err != nil {
			return nil, malformed("%.20q is no payload type", text)
		}
		f := Format{PayloadType: uint8(n), Channels: 1}
		switch n { // RFC 3551, section 6: these need no rtpmap
		case 0:
			f.Name, f.Clock = "pcmu", 8000
		case 8:
			f.Name, f.Clock = "pcma", 8000
		case 9:
			f.Name, f.Clock = "g722", 8000
		}
		rtpmap, fmtp := "rtpmap:"+text+" ", "fmtp:"+text+" "
		for _, a := range s.attrs {
			if v, ok := strings.CutPrefix(a, rtpmap); ok {
				if f.Name, f.Clock, f.Channels, err = encoding(v); err != nil {
					return nil, err
				}
				f.spelt = strings.TrimSpace(v)
			}
			if v, ok := strings.CutPrefix(a, fmtp); ok {
				f.Parameters = strings.TrimSpace(v)
			}
		}
		if f.Name != "" {
			all = append(all, f)
		}
	}
	return all, nil
}

// encoding reads name/clock[/channels].
func encoding(s string) (name string, clock, channels int, err error) {
	p := strings.Split(strings.TrimSpace(s), "/")
	if len(p) < 2 || len(p) > 3 || p[0] == "" {
		return "", 0, 0, malformed("a=rtpmap with %.40q instead of name/clock", s)
	}
	channels = 1
	if clock, err = strconv.Atoi(p[1]); err == nil && len(p) == 3 {
		channels, err = strconv.Atoi(p[2])
	}
	if err != nil || clock < 1 || clock > 1<<20 || channels < 1 || channels > 255 {
		return "", 0, 0, malformed("a=rtpmap with %.40q instead of name/clock", s)
	}
	return strings.ToLower(p[0]), clock, channels, nil
}

// usable keeps the candidates that can be reached: UDP, with an address. What
// browsers hide behind mDNS names shows itself by its first check.
func usable(all []string) []string {
	var out []string
	for _, c := range all {
		// foundation component transport priority address port typ kind
		f := strings.Fields(c)
		if len(f) < 8 || !strings.EqualFold(f[2], "udp") || f[1] != "1" || f[6] != "typ" {
			continue
		}
		if ip, err := netip.ParseAddr(f[4]); err != nil || ip.IsUnspecified() || ip.IsMulticast() {
			continue
		}
		out = append(out, c)
	}
	return out
}
