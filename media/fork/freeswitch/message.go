package freeswitch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"sidetone/media"
)

const (
	// What is kept of metadata: so many facts, of so many bytes.
	maxFacts = 64
	maxKey   = 64
	maxFact  = 512
	// maxName bounds the names of calls and legs, in bytes.
	maxName = 128

	// nested begins the names of what the caller of jambonz's verb adds.
	nested = "metadata."
)

// note is what a text says.
type note struct {
	// fields are a JSON object's values as texts; those of an object within it
	// have its name and a dot before theirs.
	fields map[string]string
	// plain is the text where it is no JSON object.
	plain string
	// event is set for an event of jambonz, digit where it is a key press.
	event bool
	digit byte
}

// parse understands every text, if only as plain text.
func parse(text []byte) note {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var object map[string]any
	if err := d.Decode(&object); err != nil || object == nil || d.More() {
		return note{plain: clip(string(text), maxFact)}
	}
	m := note{fields: map[string]string{}}
	for k, v := range object {
		if inner, ok := v.(map[string]any); ok {
			for l, w := range inner {
				m.put(k+"."+l, w)
			}
			continue
		}
		m.put(k, v)
	}
	if e, ok := m.fields["event"]; ok {
		m.event = true
		if e == "dtmf" {
			m.digit = digit(m.fields["dtmf"])
		}
	}
	return m
}

func (m *note) put(key string, v any) {
	switch v := v.(type) {
	case string:
		m.fields[key] = v
	case json.Number:
		m.fields[key] = v.String()
	case bool:
		m.fields[key] = strconv.FormatBool(v)
	}
}

// digit is the key that s names, or 0.
func digit(s string) byte {
	if len(s) != 1 {
		return 0
	}
	c := s[0]
	if c >= 'a' && c <= 'd' {
		c -= 'a' - 'A'
	}
	if c >= '0' && c <= '9' || c >= 'A' && c <= 'D' || c == '*' || c == '#' {
		return c
	}
	return 0
}

// facts are what is told of the call: bounded, and without what is named like a
// secret.
func (m note) facts() map[string]string {
	f := map[string]string{}
	if m.plain != "" {
		f["metadata"] = m.plain
	}
	for _, k := range slices.Sorted(maps.Keys(m.fields)) {
		if v := m.fields[k]; v != "" && len(k) <= maxKey && len(f) < maxFacts && !secret(k) {
			f[k] = clip(v, maxFact)
		}
	}
	return f
}

func secret(key string) bool {
	k := strings.ToLower(key)
	for _, s := range []string{"password", "passwd", "secret", "token", "authorization", "apikey", "api_key"} {
		if strings.Contains(k, s) {
			return true
		}
	}
	return false
}

// clip cuts s to at most n bytes of valid UTF-8.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// layers are texts by name; the first that has a name counts.
type layers []func(name string) string

func query(q url.Values) func(string) string { return q.Get }

// layers are the message's own fields, those that were passed to jambonz's verb,
// and the URL's. A layer that is nil is left out.
func (m note) layers(url func(string) string) layers {
	ls := layers{
		func(n string) string { return m.fields[n] },
		func(n string) string { return m.fields[nested+n] },
	}
	if url != nil {
		ls = append(ls, url)
	}
	return ls
}

func (ls layers) get(names ...string) string {
	for _, l := range ls {
		for _, n := range names {
			if v := l(n); v != "" {
				return v
			}
		}
	}
	return ""
}

// describe says what call and legs the fork brings.
func describe(m note, ls layers, f format, offered string) (media.Call, []media.Leg, error) {
	c := media.Call{
		ID:       ls.get("callSid", "call", "uuid", "callUuid", "call_id"),
		Agent:    ls.get("agent"),
		Language: ls.get("language", "lang"),
		External: m.fields["callId"],
		Source:   "freeswitch",
	}
	switch {
	case strings.Contains(offered, protocolJambonz) || m.fields["callSid"] != "":
		c.Source = "jambonz"
	case strings.Contains(offered, protocolFork):
		c.Source = "mod_audio_fork"
	}
	for what, name := range map[string]string{"call": c.ID, "leg": ls.get("leg"), "agent": c.Agent, "language": c.Language} {
		if err := checkName(what, name); err != nil {
			return c, nil, err
		}
	}
	c.External = clip(c.External, maxFact)
	// The forked channel's party is the one that calls in, or that is called.
	own, other := party{m.fields["from"], m.fields["callerName"], media.Caller}, party{address: m.fields["to"], end: media.Called}
	switch ls.get("direction") {
	case "inbound":
		c.Direction = media.Inbound
	case "outbound":
		c.Direction = media.Outbound
		own, other = other, own
	default:
		own, other = party{}, party{}
	}
	var legs []media.Leg
	var err error
	add := func(label, role string, p party, mixed bool) {
		l := media.Leg{ID: label, Label: label, Identity: clip(p.address, maxName), Name: clip(p.name, maxName), Party: p.end, Mixed: mixed}
		if name := ls.get("leg"); name != "" {
			l.ID = name
			if f.channels == 2 {
				l.ID += "." + label
			}
		}
		if text := ls.get(role); text != "" {
			r, ok := media.ParseRole(text)
			if !ok {
				err = fmt.Errorf("%s=%q: a role is agent or customer", role, clip(text, 32))
			}
			l.Role = r
			if r != media.RoleUnknown {
				l.RoleReason = fmt.Sprintf("announced by the fork as %s=%s", role, r)
			}
		}
		legs = append(legs, l)
	}
	switch {
	case f.channels == 2:
		add("left", "left", own, false)
		add("right", "right", other, false)
	case f.mixed:
		add("mixed", "role", party{}, true)
	default:
		add("own", "role", own, false)
	}
	return c, legs, err
}

type party struct {
	address, name string
	end           media.Party
}

func checkName(what, name string) error {
	if len(name) > maxName {
		return fmt.Errorf("the name of the %s has %d bytes: at most %d are taken", what, len(name), maxName)
	}
	for _, r := range name {
		if r < ' ' || r == 0x7F || r == utf8.RuneError {
			return fmt.Errorf("the name of the %s, %.40q, has characters that cannot be printed", what, name)
		}
	}
	return nil
}
