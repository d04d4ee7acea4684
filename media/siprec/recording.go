package siprec

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"sidetone/media"
	"sidetone/media/sdp"
)

// Leg is one m-line of the recording session: one stream of audio and who is on
// it.
type Leg struct {
	// Index is the m-line's, Label its a=label.
	Index int
	Label string
	// Participant is the id of who sends on it, empty where nobody is known to.
	Participant string
	// Identity and Name are the participant's.
	Identity, Name string
	// Party is caller or called party where the metadata says so, and Reason how
	// the participant and the party were found.
	Party  media.Party
	Reason string
	// Mixed: more than one participant sends on it.
	Mixed bool
	// Open: the line carries audio. Held: it is open, and nobody sends.
	Open, Held bool
}

// ChangeKind says what happened to a leg.
type ChangeKind uint8

// The kinds of Change.
const (
	// Added and Removed: the line opened or closed.
	Added ChangeKind = iota + 1
	Removed
	// Held and Resumed: the other side stopped sending on purpose, and began
	// again.
	Held
	Resumed
	// Updated: who is on the leg has changed, or is known better.
	Updated
)

// Change is one event of a recording session.
type Change struct {
	Kind ChangeKind
	Leg  Leg
}

// Recording is the state of one recording session. It is for one goroutine.
type Recording struct {
	metadata Metadata
	offer    *sdp.Session
	legs     []Leg
	warnings []string
}

// Clone is a copy that shares nothing that Apply changes, to see what a request
// would do before it is accepted.
func (r *Recording) Clone() *Recording {
	c := *r
	m := &c.metadata
	m.Sessions, m.Participants = slices.Clone(m.Sessions), slices.Clone(m.Participants)
	m.Streams, m.Associations = slices.Clone(m.Streams), slices.Clone(m.Associations)
	m.Facts = maps.Clone(m.Facts)
	return &c
}

// Apply brings in a description and a document, either of which may be nil when
// it is not there or has not changed, and returns what that means for the legs,
// in the order of the m-lines. usable says whether we take an m-line, by index.
func (r *Recording) Apply(offer *sdp.Session, doc *Metadata, usable func(index int) bool) []Change {
	if doc != nil {
		r.metadata.Merge(doc)
	}
	if offer != nil {
		r.offer = offer
	}
	if r.offer == nil {
		return nil
	}
	before := r.legs
	r.legs = make([]Leg, len(r.offer.Media))
	for i := range r.offer.Media {
		m := &r.offer.Media[i]
		open := m.Port != 0 && m.Kind == "audio" && usable(i)
		r.legs[i] = Leg{Index: i, Label: m.Label, Open: open, Held: open && m.Held()}
	}
	r.resolve()
	return changes(before, r.legs)
}

func changes(before, after []Leg) []Change {
	var all []Change
	for i, l := range after {
		var o Leg
		if i < len(before) {
			o = before[i]
		}
		switch {
		case !o.Open && l.Open:
			all = append(all, Change{Added, l})
			if l.Held {
				all = append(all, Change{Held, l})
			}
			continue
		case o.Open && !l.Open:
			all = append(all, Change{Removed, l})
			continue
		case !l.Open:
			continue
		}
		if o.Participant != l.Participant || o.Identity != l.Identity || o.Name != l.Name || o.Party != l.Party || o.Label != l.Label || o.Mixed != l.Mixed {
			all = append(all, Change{Updated, l})
		}
		if !o.Held && l.Held {
			all = append(all, Change{Held, l})
		}
		if o.Held && !l.Held {
			all = append(all, Change{Resumed, l})
		}
	}
	return all
}

// Legs are the legs of this moment, one for each m-line.
func (r *Recording) Legs() []Leg { return slices.Clone(r.legs) }

// Labels are those of the metadata's streams, in its order.
func (m *Metadata) Labels() []string {
	var all []string
	for _, s := range m.Streams {
		all = append(all, s.Label)
	}
	return all
}

// Warnings are what does not fit together, as of the last Apply.
func (r *Recording) Warnings() []string { return slices.Clone(r.warnings) }

// Facts are the identifiers and extension data of the metadata.
func (r *Recording) Facts() map[string]string {
	facts := map[string]string{}
	for k, v := range r.metadata.Facts {
		facts["siprec."+k] = v
	}
	for i, s := range r.metadata.Sessions {
		name := "siprec.session"
		if i > 0 {
			name += "." + strconv.Itoa(i+1)
		}
		if s.ID != "" {
			facts[name] = clip(s.ID, maxFact)
		}
		if len(s.SIP) > 0 {
			facts[name+".sip"] = s.SIP[0]
		}
		if !s.Start.IsZero() {
			facts[name+".start"] = s.Start.UTC().Format("2006-01-02T15:04:05Z")
		}
	}
	for _, l := range r.legs {
		if l.Party != media.PartyUnknown {
			facts["siprec."+l.Party.String()] = l.Identity
		}
	}
	return facts
}

// External is the call's own identifier, by which other systems know it: its
// SIP session, its Call-ID or its UCID; empty where the metadata has none.
func (r *Recording) External() string {
	for _, s := range r.metadata.Sessions {
		if len(s.SIP) > 0 {
			return s.SIP[0]
		}
	}
	if id := r.metadata.Facts["callid"]; id != "" {
		return id
	}
	return r.metadata.Facts["ucid"]
}

// resolve finds who is on which leg:
//
//  1. the participant whose association says that it sends the stream with the
//     line's label;
//  2. else, if one participant and one line are left over, these two;
//  3. if there are no associations at all, participants and lines in the order
//     of the document, which is a guess.
func (r *Recording) resolve() {
	r.warnings = nil
	m := &r.metadata
	var lines []int
	for i, l := range r.legs {
		if l.Open {
			lines = append(lines, i)
		}
	}
	owners := r.owners()
	taken := map[string]bool{}
	associated := false
	for _, a := range m.Associations {
		associated = associated || len(a.Send) > 0
	}
	var free []int
	for _, i := range lines {
		l := &r.legs[i]
		all := owners[l.Label]
		if l.Label == "" {
			all = nil
		}
		switch {
		case r.mixed(l.Label):
			l.Mixed, l.Reason = true, "the metadata calls the stream mixed"
			for _, id := range all {
				taken[id] = true
			}
		case len(all) > 1 && len(lines) == 1:
			l.Mixed, l.Reason = true, "several participants send on the one stream"
			for _, id := range all {
				taken[id] = true
			}
		case len(all) > 0:
			if len(all) > 1 {
				r.warn("%d participants claim the stream labelled %q; the last one is taken", len(all), l.Label)
			}
			id := all[len(all)-1]
			taken[id] = true
			r.assign(l, id, "association of the metadata")
		default:
			free = append(free, i)
		}
	}
	var left []string
	for _, p := range m.Participants {
		if !taken[p.ID] {
			left = append(left, p.ID)
		}
	}
	switch {
	case len(free) == 1 && len(left) == 1:
		r.assign(&r.legs[free[0]], left[0], "the one participant left for the one stream left")
	case len(lines) == 1 && len(free) == 1 && len(left) > 1:
		r.legs[free[0]].Mixed, r.legs[free[0]].Reason = true, "one stream for several participants"
	case !associated:
		for n, i := range free {
			if n < len(left) {
				r.assign(&r.legs[i], left[n], "order-guess: the metadata associates nobody with a stream")
			}
		}
	}
	for _, s := range m.Streams {
		if s.Label != "" && !slices.ContainsFunc(r.legs, func(l Leg) bool { return l.Label == s.Label }) {
			r.warn("the metadata's stream label %q is on no m-line", s.Label)
		}
	}
}

func (r *Recording) warn(format string, args ...any) {
	if len(r.warnings) < maxParts {
		r.warnings = append(r.warnings, fmt.Sprintf(format, args...))
	}
}

// owners are the ids of the participants that send, by label, in the order of
// the associations.
func (r *Recording) owners() map[string][]string {
	labels := map[string]string{}
	for _, s := range r.metadata.Streams {
		labels[s.ID] = s.Label
	}
	owners := map[string][]string{}
	for _, a := range r.metadata.Associations {
		for _, id := range a.Send {
			label, ok := labels[id]
			if !ok {
				// Some name the label where the stream's id belongs.
				label = id
			}
			if !slices.Contains(owners[label], a.Participant) {
				owners[label] = append(owners[label], a.Participant)
			}
		}
	}
	return owners
}

func (r *Recording) mixed(label string) bool {
	return slices.ContainsFunc(r.metadata.Streams, func(s Stream) bool { return s.Label == label && s.Mixed })
}

// assign puts a participant on a leg, and says which party it is.
func (r *Recording) assign(l *Leg, id, reason string) {
	i := slices.IndexFunc(r.metadata.Participants, func(p Participant) bool { return p.ID == id })
	l.Participant, l.Reason = id, reason
	if i < 0 {
		return
	}
	p := r.metadata.Participants[i]
	l.Identity, l.Name = p.AOR, p.Name
	switch m := &r.metadata; {
	case p.Party != media.PartyUnknown:
		l.Party = p.Party
		l.Reason += "; " + p.Party.String() + " by " + p.Reason
	case m.From != "" && user(m.From) != user(m.To) && user(p.AOR) == user(m.From):
		l.Party = media.Caller
		l.Reason += "; caller by the call's From header"
	case m.To != "" && user(m.From) != user(m.To) && user(p.AOR) == user(m.To):
		l.Party = media.Called
		l.Reason += "; called by the call's To header"
	}
}
