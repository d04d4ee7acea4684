package whip

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Chosen are the formats of the answer in their order.
func (o *Offer) Chosen() []Format {
	var all []Format
	// A sender uses the first format for what it sends.
	if o.Redundant != nil {
		all = append(all, *o.Redundant)
	}
	all = append(all, o.Audio)
	if o.Event != nil {
		all = append(all, *o.Event)
	}
	return all
}

// Reduced is the offer for the peer connection: one audio section with the
// chosen formats.
func (o *Offer) Reduced() string {
	return o.reduced(o.Ufrag, o.password, o.candidates)
}

// Restarted is Reduced with the credentials and candidates of a fragment that
// restarts ICE.
func (o *Offer) Restarted(f *Fragment) string {
	return o.reduced(f.Ufrag, f.Password, f.Candidates)
}

func (o *Offer) reduced(ufrag, password string, candidates []string) string {
	var b strings.Builder
	b.WriteString("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n")
	fmt.Fprintf(&b, "a=group:BUNDLE %s\r\n", o.mid())
	if slices.Contains(o.lines, "ice-lite") {
		b.WriteString("a=ice-lite\r\n")
	}
	b.WriteString("a=ice-options:trickle\r\nm=audio 9 UDP/TLS/RTP/SAVPF")
	for _, f := range o.Chosen() {
		fmt.Fprintf(&b, " %d", f.PayloadType)
	}
	b.WriteString("\r\nc=IN IP4 0.0.0.0\r\n")
	for _, line := range o.lines {
		switch {
		case line == "ice-lite":
			continue
		case strings.HasPrefix(line, "ice-ufrag:"):
			line = "ice-ufrag:" + ufrag
		case strings.HasPrefix(line, "ice-pwd:"):
			line = "ice-pwd:" + password
		}
		fmt.Fprintf(&b, "a=%s\r\n", line)
	}
	for _, f := range o.Chosen() {
		fmt.Fprintf(&b, "a=rtpmap:%d %s\r\n", f.PayloadType, f.rtpmap())
		if f.Parameters != "" {
			fmt.Fprintf(&b, "a=fmtp:%d %s\r\n", f.PayloadType, f.Parameters)
		}
	}
	for _, c := range candidates {
		fmt.Fprintf(&b, "a=candidate:%s\r\n", c)
	}
	return b.String()
}

// opusParameters is what a sender of Opus is asked for: mono of the bandwidth
// that recognition uses, nothing sent in silence, and enough in each packet to
// make up for the one before (RFC 7587, section 6.1).
const opusParameters = "minptime=10;useinbandfec=1;usedtx=1;stereo=0;sprop-stereo=0;maxplaybackrate=16000;maxaveragebitrate=32000"

// Answer is the answer for the client, from the peer connection's answer to
// Reduced: all sections of the offer in their order, all but the audio section
// refused.
func (o *Offer) Answer(peer string) (string, error) {
	session, sections, err := split(peer)
	if err != nil {
		return "", err
	}
	if len(sections) != 1 || sections[0].port == "0" {
		return "", fmt.Errorf("whip: the peer connection took %d sections", len(sections))
	}
	var b strings.Builder
	b.WriteString("v=0\r\n")
	for _, line := range strings.Split(peer, "\n") {
		if strings.HasPrefix(line, "o=") {
			b.WriteString(strings.TrimSuffix(line, "\r") + "\r\n")
		}
	}
	b.WriteString("s=-\r\nt=0 0\r\n")
	if o.grouped && o.Mid != "" {
		fmt.Fprintf(&b, "a=group:BUNDLE %s\r\n", o.Mid)
	}
	b.WriteString("a=ice-options:trickle\r\n")
	for _, line := range session {
		if strings.HasPrefix(line, "fingerprint:") || line == "ice-lite" || strings.HasPrefix(line, "ice-lite:") {
			fmt.Fprintf(&b, "a=%s\r\n", strings.TrimSuffix(line, ":"))
		}
	}
	for i := range o.sections {
		if i == o.audio {
			o.accept(&b, &sections[0])
		} else {
			refuse(&b, &o.sections[i])
		}
	}
	return b.String(), nil
}

func refuse(b *strings.Builder, s *section) {
	// One format stands for all, with its name, since some clients look it up.
	fmt.Fprintf(b, "m=%s 0 %s %s\r\nc=IN IP4 0.0.0.0\r\n", s.kind, s.proto, s.formats[0])
	for _, a := range s.attrs {
		if strings.HasPrefix(a, "rtpmap:"+s.formats[0]+" ") {
			fmt.Fprintf(b, "a=%s\r\n", a)
		}
	}
	if mid, ok := s.attr("mid"); ok {
		fmt.Fprintf(b, "a=mid:%s\r\n", mid)
	}
	b.WriteString("a=inactive\r\n")
}

// accept writes the audio section. Transport is the peer connection's, formats
// are ours: it would repeat the client's parameters.
func (o *Offer) accept(b *strings.Builder, peer *section) {
	fmt.Fprintf(b, "m=audio 9 %s", o.sections[o.audio].proto)
	for _, f := range o.Chosen() {
		fmt.Fprintf(b, " %d", f.PayloadType)
	}
	b.WriteString("\r\nc=IN IP4 0.0.0.0\r\n")
	if o.Mid != "" {
		fmt.Fprintf(b, "a=mid:%s\r\n", o.Mid)
	}
	b.WriteString("a=recvonly\r\na=rtcp-mux\r\n")
	if _, ok := o.sections[o.audio].attr("rtcp-rsize"); ok {
		b.WriteString("a=rtcp-rsize\r\n")
	}
	for _, f := range o.Chosen() {
		fmt.Fprintf(b, "a=rtpmap:%d %s\r\n", f.PayloadType, f.rtpmap())
		p := f.Parameters
		switch f.Name {
		case "opus":
			p = opusParameters
		case "telephone-event":
			p = "0-16"
		}
		if p != "" {
			fmt.Fprintf(b, "a=fmtp:%d %s\r\n", f.PayloadType, p)
		}
	}
	for _, key := range []string{"setup", "ice-ufrag", "ice-pwd"} {
		if v, ok := peer.attr(key); ok {
			fmt.Fprintf(b, "a=%s:%s\r\n", key, v)
		}
	}
	for _, c := range candidatesOf(peer.attrs) {
		fmt.Fprintf(b, "a=candidate:%s\r\n", c)
	}
	b.WriteString("a=end-of-candidates\r\n")
}

// candidatesOf are the candidates for RTP; with rtcp-mux those for RTCP, which
// repeat them, say nothing.
func candidatesOf(attrs []string) []string {
	var out []string
	for _, a := range attrs {
		c, ok := strings.CutPrefix(a, "candidate:")
		if f := strings.Fields(c); ok && len(f) > 1 && f[1] == "1" {
			out = append(out, c)
		}
	}
	return out
}

// Fragment is a piece of a description (RFC 8840): candidates that came later,
// or credentials that restart ICE.
type Fragment struct {
	// Ufrag and Password are empty where the fragment has none.
	Ufrag, Password string
	// Mid is the section, Lite whether the sender has ICE-lite.
	Mid  string
	Lite bool
	// Candidates are those that can be used, Count is how many there were.
	Candidates []string
	Count      int
	// Complete says that no more candidates will come.
	Complete bool
}

// ParseFragment reads a fragment.
func ParseFragment(body []byte) (*Fragment, error) {
	if len(body) > MaxFragment {
		return nil, malformed("a fragment of %d bytes, more than %d", len(body), MaxFragment)
	}
	f := &Fragment{}
	var all []string
	for i, line := range strings.Split(strings.TrimRight(string(body), "\r\n"), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			continue
		}
		if len(line) < 2 || line[1] != '=' || line[0] != 'a' && line[0] != 'm' {
			return nil, malformed("line %d is neither a= nor m=; the body is a fragment as in RFC 8840", i+1)
		}
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' }) {
			return nil, malformed("line %d has control characters", i+1)
		}
		if line[0] == 'm' {
			continue
		}
		key, v, _ := strings.Cut(line[2:], ":")
		switch key {
		case "ice-ufrag":
			if f.Ufrag != "" && f.Ufrag != v {
				return nil, malformed("line %d has another a=ice-ufrag than a line before; one bundle has one", i+1)
			}
			f.Ufrag = v
		case "ice-pwd":
			f.Password = v
		case "ice-lite":
			f.Lite = true
		case "mid":
			if f.Mid == "" {
				f.Mid = v
			}
		case "candidate":
			all = append(all, v)
		case "end-of-candidates":
			f.Complete = true
		}
	}
	if (f.Ufrag == "") != (f.Password == "") {
		return nil, malformed("a=ice-ufrag and a=ice-pwd come together")
	}
	if f.Ufrag != "" {
		if err := checkCredentials(f.Ufrag, f.Password); err != nil {
			return nil, err
		}
	}
	f.Count = len(all)
	f.Candidates = usable(all)
	return f, nil
}

// Fragment is our side of a restart, from the peer connection's answer to
// Restarted.
func (o *Offer) Fragment(peer string) (*Fragment, error) {
	session, sections, err := split(peer)
	if err != nil {
		return nil, err
	}
	if len(sections) != 1 {
		return nil, fmt.Errorf("whip: the peer connection has %d sections", len(sections))
	}
	f := &Fragment{Mid: o.Mid, Complete: true}
	f.Ufrag, _ = sections[0].attr("ice-ufrag")
	f.Password, _ = sections[0].attr("ice-pwd")
	_, f.Lite = attr(session, "ice-lite")
	f.Candidates = candidatesOf(sections[0].attrs)
	f.Count = len(f.Candidates)
	return f, nil
}

// String is the fragment's text.
func (f *Fragment) String() string {
	var b strings.Builder
	if f.Lite {
		b.WriteString("a=ice-lite\r\n")
	}
	b.WriteString("a=ice-options:trickle\r\n")
	if f.Mid != "" {
		fmt.Fprintf(&b, "a=group:BUNDLE %s\r\n", f.Mid)
	}
	b.WriteString("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n")
	if f.Mid != "" {
		fmt.Fprintf(&b, "a=mid:%s\r\n", f.Mid)
	}
	if f.Ufrag != "" {
		fmt.Fprintf(&b, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\n", f.Ufrag, f.Password)
	}
	for _, c := range f.Candidates {
		fmt.Fprintf(&b, "a=candidate:%s\r\n", c)
	}
	if f.Complete {
		b.WriteString("a=end-of-candidates\r\n")
	}
	return b.String()
}

// checkCredentials checks lengths and letters (RFC 8839, section 5.4).
func checkCredentials(ufrag, password string) error {
	for _, c := range []struct {
		name, value string
		least       int
	}{{"ice-ufrag", ufrag, 4}, {"ice-pwd", password, 22}} {
		if len(c.value) < c.least || len(c.value) > 256 {
			return malformed("a=%s of %d characters; it has %d to 256", c.name, len(c.value), c.least)
		}
		if i := strings.IndexFunc(c.value, func(r rune) bool {
			return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '+' && r != '/'
		}); i >= 0 {
			return malformed("a=%s has a character at %s that is no letter, digit, + or /", c.name, strconv.Itoa(i+1))
		}
	}
	return nil
}
