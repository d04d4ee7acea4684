package siprec

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sidetone/media"
)

const (
	// maxFacts and maxFact bound what is kept of extension data.
	maxFacts = 64
	maxFact  = 1024
	maxName  = 256
)

// Metadata is one document (RFC 7865, section 6), or the state that documents
// have left.
type Metadata struct {
	// Partial: only what is listed changes.
	Partial      bool
	Sessions     []Session
	Participants []Participant
	Streams      []Stream
	// Associations say who sends and hears which stream; Ended ones take part in
	// merging only.
	Associations []Association
	// Facts are extension data and identifiers by name, such as "ucid" or
	// "gcid"; From and To are the addresses of the call's own From and To.
	Facts    map[string]string
	From, To string
}

// Session is a communication session, the call that is recorded.
type Session struct {
	ID string
	// SIP are the Call-IDs and the like of the call itself.
	SIP []string
	// Start is zero where it is not said, or not in a form that is known. It is
	// the recorder's clock, which need not be right.
	Start time.Time
	// Ended: the document says that it stopped.
	Ended bool
}

// Participant is a party.
type Participant struct {
	ID string
	// AOR is the address without parameters, Name the display name.
	AOR, Name string
	// Party is what an extension says of the participant, Reason which one.
	Party  media.Party
	Reason string
	Ended  bool
}

// Stream is a media stream.
type Stream struct {
	ID, Label string
	// Mixed: more than one party is on it.
	Mixed bool
}

// Association is what a participant sends and receives, by stream id.
type Association struct {
	Participant string
	Send, Recv  []string
	Ended       bool
}

// ParseMetadata reads a document of any of the kinds that are known: that of
// RFC 7865, that of its drafts with other attribute names and with the
// association inside the participant, and BroadWorks' recording_metadata.
func ParseMetadata(b []byte) (*Metadata, error) {
	root, err := parseTree(b)
	if err != nil {
		return nil, err
	}
	if root.name != "recording" && root.name != "recording_metadata" {
		return nil, fmt.Errorf("siprec: metadata: the document is a <%s>, not a <recording>", short(root.name))
	}
	m := &Metadata{Facts: map[string]string{}}
	m.Partial = strings.EqualFold(root.value("datamode"), "partial")
	m.collect(root)
	m.combine()
	return m, nil
}

// combine joins what a document says of one participant in several
// associations, as some write one for each stream.
func (m *Metadata) combine() {
	var all []Association
	for _, a := range m.Associations {
		i := slices.IndexFunc(all, func(o Association) bool { return o.Participant == a.Participant && o.Ended == a.Ended })
		if i < 0 {
			all = append(all, a)
			continue
		}
		all[i].Send, all[i].Recv = append(all[i].Send, a.Send...), append(all[i].Recv, a.Recv...)
	}
	m.Associations = all
}

// collect reads the elements, wherever they stand: some recorders put
// participants and streams into their session or group.
func (m *Metadata) collect(parent *element) {
	for _, e := range parent.children {
		switch e.name {
		case "session":
			m.session(e)
		case "participant":
			m.participant(e)
		case "stream":
			m.stream(e)
		case "participantstreamassoc":
			a := association(e.attr("participant_id", "participant", "id"), e)
			a.Ended = e.child("disassociate-time") != nil
			m.Associations = append(m.Associations, a)
		case "participantsessionassoc":
			if id := e.attr("participant_id", "participant"); id != "" && e.child("disassociate-time") != nil {
				m.Participants = append(m.Participants, Participant{ID: id, Ended: true})
			}
		case "sessionrecordingassoc", "datamode":
		case "calldata":
			m.callData(e)
		case "group", "communication-session", "cs":
			m.collect(e)
		default:
			m.facts(e)
		}
	}
}

func (m *Metadata) session(e *element) {
	s := Session{ID: e.attr("session_id", "id"), Ended: e.child("stop-time") != nil}
	for _, c := range e.children {
		switch c.name {
		case "sipsessionid":
			if c.text != "" && len(s.SIP) < maxParts {
				s.SIP = append(s.SIP, clip(c.text, maxFact))
			}
		case "start-time":
			s.Start = parseTime(c.text)
		case "associate-time":
			if s.Start.IsZero() {
				s.Start = parseTime(c.text)
			}
		case "stop-time", "reason", "group-ref", "group", "disassociate-time":
		case "participant", "stream", "participantstreamassoc", "participantsessionassoc":
			m.collect(&element{children: []*element{c}})
		default:
			m.facts(c)
		}
	}
	m.Sessions = append(m.Sessions, s)
}

func (m *Metadata) participant(e *element) {
	p := Participant{ID: e.attr("participant_id", "id"), Ended: e.child("disassociate-time") != nil}
	aor, name := e.value("aor"), e.value("name")
	if id := e.child("nameid"); id != nil {
		if v := id.value("aor"); v != "" {
			aor = v
		}
		if v := id.value("name"); v != "" {
			name = v
		}
	}
	p.AOR, p.Name = CleanAOR(aor), clip(name, maxName)
	m.extension(e, &p)
	if p.ID == "" {
		// Without an id it is nobody's in an association; its address tells it
		// apart.
		p.ID = p.AOR
	}
	m.Participants = append(m.Participants, p)
	if e.child("send") != nil || e.child("recv") != nil {
		m.Associations = append(m.Associations, association(p.ID, e))
	}
}

// extension reads Acme Packet's and Avaya's data within a participant.
func (m *Metadata) extension(e *element, p *Participant) {
	for _, c := range e.children {
		switch c.name {
		case "extensiondata":
			m.extension(c, p)
		case "callingparty":
			p.Reason = "callingParty of the metadata"
			switch strings.ToLower(c.text) {
			case "true", "1":
				p.Party = media.Caller
			case "false", "0":
				p.Party = media.Called
			}
		case "nameid", "aor", "name", "send", "recv", "associate-time", "disassociate-time", "session", "param":
		default:
			m.fact("participant."+p.ID+"."+c.name, c)
		}
	}
}

func association(participant string, e *element) Association {
	a := Association{Participant: participant}
	for _, c := range e.children {
		id := c.text
		if id == "" {
			if id = c.attr("stream_id"); id == "" {
				id = c.value("id")
			}
		}
		if id == "" || len(a.Send)+len(a.Recv) >= maxFacts {
			continue
		}
		switch c.name {
		case "send":
			a.Send = append(a.Send, id)
		case "recv":
			a.Recv = append(a.Recv, id)
		}
	}
	return a
}

func (m *Metadata) stream(e *element) {
	s := Stream{ID: e.attr("stream_id", "id"), Label: e.value("label")}
	s.Mixed = strings.EqualFold(e.value("mode"), "mixed")
	if s.ID == "" {
		s.ID = s.Label
	}
	m.Streams = append(m.Streams, s)
}

// callData reads Ribbon's element of that name.
func (m *Metadata) callData(e *element) {
	for _, c := range e.children {
		switch c.name {
		case "fromhdr":
			m.From = CleanAOR(address(c.text))
		case "tohdr":
			m.To = CleanAOR(address(c.text))
		}
		m.fact(c.name, c)
	}
}

// facts keeps the text of an unknown element and of what is in it.
func (m *Metadata) facts(e *element) {
	switch e.name {
	case "calldata":
		m.callData(e)
		return
	case "associate-time", "disassociate-time", "group-ref", "forcedeletion":
		return
	}
	m.fact(e.name, e)
	for _, c := range e.children {
		m.facts(c)
	}
}

func (m *Metadata) fact(name string, e *element) {
	value := e.text
	if l := e.attrs["label"]; l != "" {
		name += "." + l
	}
	if _, ok := m.Facts[name]; value == "" || ok || len(m.Facts) >= maxFacts {
		return
	}
	m.Facts[clip(name, maxName)] = clip(value, maxFact)
}

// clip cuts text to n bytes and its control characters out.
func clip(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.TrimSpace(s))
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "")
	}
	return s
}

// address is that of a name-addr (RFC 3261, section 25.1) without display name.
func address(s string) string {
	if _, after, ok := strings.Cut(s, "<"); ok {
		s, _, _ = strings.Cut(after, ">")
	}
	return s
}

// CleanAOR brings an address to the form scheme:user@host: parameters and
// headers go, which some networks append without end, and sip: is added where
// only user@host was written.
func CleanAOR(s string) string {
	s = clip(address(s), maxFact)
	if i := strings.IndexAny(s, ";?"); i >= 0 {
		s = s[:i]
	}
	if s = strings.TrimSpace(s); s == "" {
		return ""
	}
	lower := strings.ToLower(s)
	for _, scheme := range []string{"sip:", "sips:", "tel:", "urn:"} {
		if strings.HasPrefix(lower, scheme) {
			return scheme + s[len(scheme):]
		}
	}
	if strings.Contains(s, "@") {
		return "sip:" + s
	}
	return s
}

// user is the part of an address that names somebody.
func user(aor string) string {
	_, rest, ok := strings.Cut(aor, ":")
	if !ok {
		rest = aor
	}
	u, _, _ := strings.Cut(rest, "@")
	return u
}

// parseTime reads the forms of time that were seen; any other is the zero time,
// and so is one from a clock that was never set.
func parseTime(s string) time.Time {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05"} {
		if t, err := time.Parse(layout, strings.TrimSpace(s)); err == nil && t.Year() > 1990 {
			return t
		}
	}
	return time.Time{}
}

// Merge brings a new document into the state: a complete one replaces it, a
// partial one changes what it lists.
func (m *Metadata) Merge(next *Metadata) {
	if !next.Partial {
		*m = *next
		m.Associations = slices.DeleteFunc(slices.Clone(next.Associations), func(a Association) bool { return a.Ended })
		m.Participants = nil
		for _, p := range next.Participants {
			m.mergeParticipant(p)
		}
		return
	}
	for _, s := range next.Sessions {
		replace(&m.Sessions, s, func(o Session) bool { return o.ID == s.ID })
	}
	for _, s := range next.Streams {
		if i := slices.IndexFunc(m.Streams, func(o Stream) bool { return o.ID == s.ID }); i >= 0 && s.Label == "" {
			s.Label = m.Streams[i].Label
		}
		replace(&m.Streams, s, func(o Stream) bool { return o.ID == s.ID })
	}
	for _, p := range next.Participants {
		m.mergeParticipant(p)
	}
	for _, a := range next.Associations {
		m.mergeAssociation(a)
	}
	if m.Facts == nil {
		m.Facts = map[string]string{}
	}
	for k, v := range next.Facts {
		if _, ok := m.Facts[k]; ok || len(m.Facts) < maxFacts {
			m.Facts[k] = v
		}
	}
	if next.From != "" {
		m.From = next.From
	}
	if next.To != "" {
		m.To = next.To
	}
	m.limit()
}

// limit bounds a state that partial documents could otherwise grow for ever:
// the oldest go.
func (m *Metadata) limit() {
	m.Sessions = newest(m.Sessions)
	m.Participants = newest(m.Participants)
	m.Streams = newest(m.Streams)
	m.Associations = newest(m.Associations)
}

func newest[T any](all []T) []T {
	if len(all) > maxFacts {
		return slices.Clone(all[len(all)-maxFacts:])
	}
	return all
}

func replace[T any](all *[]T, v T, same func(T) bool) {
	if i := slices.IndexFunc(*all, same); i >= 0 {
		(*all)[i] = v
		return
	}
	*all = append(*all, v)
}

// mergeParticipant takes what is new of a participant, or takes it out.
func (m *Metadata) mergeParticipant(p Participant) {
	i := slices.IndexFunc(m.Participants, func(o Participant) bool { return o.ID == p.ID })
	switch {
	case p.Ended:
		m.Participants = slices.DeleteFunc(m.Participants, func(o Participant) bool { return o.ID == p.ID })
		m.Associations = slices.DeleteFunc(slices.Clone(m.Associations), func(a Association) bool { return a.Participant == p.ID })
	case i < 0:
		m.Participants = append(m.Participants, p)
	default:
		o := &m.Participants[i]
		if p.AOR != "" {
			o.AOR = p.AOR
		}
		if p.Name != "" {
			o.Name = p.Name
		}
		if p.Party != media.PartyUnknown {
			o.Party, o.Reason = p.Party, p.Reason
		}
	}
}

// mergeAssociation takes what a participant now sends. A stream that is not
// mixed has one sender: the newest, as after a transfer.
func (m *Metadata) mergeAssociation(a Association) {
	if a.Ended {
		m.Associations = slices.DeleteFunc(m.Associations, func(o Association) bool { return o.Participant == a.Participant })
		return
	}
	for _, id := range a.Send {
		if slices.ContainsFunc(m.Streams, func(s Stream) bool { return s.ID == id && s.Mixed }) {
			continue
		}
		for i := range m.Associations {
			if o := &m.Associations[i]; o.Participant != a.Participant {
				o.Send = slices.DeleteFunc(slices.Clone(o.Send), func(s string) bool { return s == id })
			}
		}
	}
	replace(&m.Associations, a, func(o Association) bool { return o.Participant == a.Participant })
}
