package twilio

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"sidetone/media"
	"sidetone/media/codec"
	"sidetone/media/feed"
	"sidetone/media/fork"
)

// dialect is a platform; its text is media.Call's Source.
type dialect string

const (
	twilio     dialect = "twilio"
	signalwire dialect = "signalwire"
	telnyx     dialect = "telnyx"
	plivo      dialect = "plivo"
	exotel     dialect = "exotel"
	bandwidth  dialect = "bandwidth"
	voximplant dialect = "voximplant"
	vonage     dialect = "vonage"
)

// The labels of tracks. Vonage has one without a direction.
const (
	inbound  = "inbound"
	outbound = "outbound"
	audio    = "audio"
)

const (
	// maxTracks is how many legs a stream may have.
	maxTracks = 4
	// maxParams, maxKey and maxValue bound what is kept of a stream's parameters.
	maxParams = 64
	maxKey    = 64
	maxValue  = 1024
)

// start is what a start message says.
type start struct {
	dialect dialect
	// stream, call, account and session are the platform's ids; any may be empty.
	stream, call, account, session string
	from, to                       string
	direction                      string
	tracks                         []string
	params                         map[string]string

	codec  string
	rate   int
	little bool // 16-bit samples, least significant byte first
	format codec.Format
}

// readStart tells the dialect of a start message and reads it. A message that is
// no dialect's, and a codec that cannot be decoded, are a *fork.CloseError.
func readStart(m object) (*start, error) {
	s := &start{params: map[string]string{}}
	body := m.object("start")
	encoding, rate, channels := "", "", ""
	if f := body.object("mediaFormat", "media_format"); f != nil {
		encoding, rate, channels = f.text("encoding"), f.text("sampleRate", "sample_rate"), f.text("channels")
	}
	switch {
	case m.text("event") == "websocket:connected":
		s.dialect = vonage
		encoding = m.text("content-type")
		s.tracks = []string{audio}
		for k := range m {
			if k != "event" && k != "content-type" {
				s.param(k, m.text(k))
			}
		}
	case m.text("eventType") == "start":
		s.dialect = bandwidth
		meta := m.object("metadata")
		s.stream, s.call, s.account = meta.text("streamId"), meta.text("callId"), meta.text("accountId")
		list, _ := meta["tracks"].([]any)
		for _, x := range list {
			o, _ := x.(map[string]any)
			t := object(o)
			if f := t.object("mediaFormat"); f != nil && encoding == "" {
				encoding, rate = f.text("encoding"), f.text("sampleRate")
			}
			s.tracks = append(s.tracks, t.text("name"))
		}
		s.paramsOf(m["streamParams"])
	case m.text("stream_id") != "" && body.text("call_control_id") != "":
		s.dialect = telnyx
		s.stream, s.call, s.account, s.session = m.text("stream_id"), body.text("call_control_id"), body.text("user_id"), body.text("call_session_id")
		s.paramsOf(body["custom_parameters"])
		if state, err := base64.StdEncoding.DecodeString(body.text("client_state")); err == nil {
			s.param("client_state", string(state))
		}
	case body.text("streamSid") != "" && body.text("callSid") != "":
		s.stream, s.call, s.account = body.text("streamSid"), body.text("callSid"), body.text("accountSid")
		// The messages are the same, the ids are not: SignalWire's are UUIDs.
		s.dialect = twilio
		if len(s.call) == 36 && strings.Count(s.call, "-") == 4 {
			s.dialect = signalwire
		}
		s.paramsOf(body["customParameters"])
	case body.text("streamId") != "" && body.text("callId") != "":
		s.dialect = plivo
		s.stream, s.call, s.account = body.text("streamId"), body.text("callId"), body.text("accountId")
		extra := m
		if m["extra_headers"] == nil {
			extra = body
		}
		s.paramsOf(extra["extra_headers"])
	case body.text("stream_sid") != "" && body.text("call_sid") != "":
		s.dialect = exotel
		s.stream, s.call, s.account = body.text("stream_sid"), body.text("call_sid"), body.text("account_sid")
		s.paramsOf(body["custom_parameters"])
	case encoding == "PCM16":
		s.dialect = voximplant
		s.stream = body.text("tag")
		if s.stream != "" {
			s.tracks = []string{s.stream}
		}
		s.paramsOf(body["customParameters"])
	default:
		return nil, unknownDialect(m)
	}
	s.from, s.to, s.direction = body.text("from"), body.text("to"), body.text("direction")
	if s.tracks == nil {
		s.tracks = body.strings("tracks")
	}
	if err := s.normaliseTracks(); err != nil {
		return nil, &fork.CloseError{Code: fork.ClosePolicy, Reason: err.Error()}
	}
	if err := s.setFormat(encoding, rate, channels); err != nil {
		return nil, &fork.CloseError{Code: fork.CloseUnsupported, Reason: err.Error()}
	}
	return s, nil
}

// unknownDialect says why nothing can be done with a first message.
func unknownDialect(m object) error {
	reason := "no stream of a known platform: expected a start message with streamSid and callSid, or the like"
	if m.text("command") == "connect" {
		reason = "Sinch streams are not supported: use SIP recording or an RTP fork"
	}
	return &fork.CloseError{Code: fork.CloseUnsupported, Reason: reason}
}

// normaliseTracks brings the names of tracks into one form.
func (s *start) normaliseTracks() error {
	var out []string
	for _, name := range s.tracks {
		if name == "both" || name == "both_tracks" {
			out = append(out, inbound, outbound)
			continue
		}
		label, err := trackName([]byte(name))
		if err != nil {
			return err
		}
		out = append(out, label)
	}
	s.tracks = nil
	for i, name := range out {
		if !contains(out[:i], name) {
			s.tracks = append(s.tracks, name)
		}
	}
	switch {
	case len(s.tracks) == 0:
		s.tracks = []string{inbound}
	case len(s.tracks) > maxTracks:
		return fmt.Errorf("%d tracks in a stream: there may be %d", len(s.tracks), maxTracks)
	}
	return nil
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// trackName is the label of a track as messages name it: "inbound",
// "inbound_track". Nothing is allocated for the two usual ones.
func trackName(name []byte) (string, error) {
	switch string(name) {
	case "":
		return "", nil
	case inbound, "inbound_track":
		return inbound, nil
	case outbound, "outbound_track":
		return outbound, nil
	}
	if len(name) > maxKey || printable(string(name), maxKey) != string(name) {
		return "", errors.New("twilio: the name of a track is too long or not printable")
	}
	return string(name), nil
}

// paramsOf takes parameters in all the forms in which they come: an object, a
// list of names with values, the text of an object, and "a=1;b=2".
func (s *start) paramsOf(v any) {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			s.param(k, object(v).text(k))
		}
	case []any:
		for _, x := range v {
			if o, ok := x.(map[string]any); ok {
				s.param(object(o).text("name"), object(o).text("value"))
			}
		}
	case string:
		var o map[string]any
		if json.Unmarshal([]byte(v), &o) == nil && o != nil {
			s.paramsOf(o)
			return
		}
		for _, pair := range strings.FieldsFunc(strings.Trim(v, "{}"), func(r rune) bool { return r == ';' || r == ',' }) {
			if k, val, ok := strings.Cut(pair, "="); ok {
				s.param(strings.TrimPrefix(strings.TrimSpace(k), "X-PH-"), strings.TrimSpace(val))
			}
		}
	}
}

func (s *start) param(name, value string) {
	if len(s.params) < maxParams && name != "" && value != "" && len(name) <= maxKey && len(value) <= maxValue {
		s.params[name] = value
	}
}

// printable is s as far as it has n bytes and all of them are printable ASCII,
// and empty otherwise.
func printable(s string, n int) string {
	if len(s) > n {
		return ""
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return ""
		}
	}
	return s
}

// setFormat reads how the audio is encoded: "audio/x-mulaw", "PCMA",
// "audio/l16;rate=16000", "L16@24000h".
func (s *start) setFormat(encoding, rate, channels string) error {
	name, parameter, _ := strings.Cut(strings.ToLower(strings.TrimSpace(encoding)), ";")
	name, at, _ := strings.Cut(strings.TrimSpace(name), "@")
	name = strings.TrimPrefix(strings.TrimPrefix(name, "audio/"), "x-")
	if r, ok := strings.CutPrefix(strings.TrimSpace(parameter), "rate="); ok {
		rate = r
	}
	if r, _, _ := strings.Cut(at, "h"); r != "" {
		rate = r
	}
	hz := 8000
	if rate != "" {
		n, ok := number(rate)
		if !ok || n < 8000 || n > 48000 || n%50 != 0 {
			return fmt.Errorf("a sample rate of %.16q: it must be a multiple of 50 from 8000 to 48000", rate)
		}
		hz = int(n)
	}
	if name == "" {
		name = "mulaw"
		if s.dialect == exotel || s.dialect == vonage {
			name = "l16"
		}
	}
	s.format.Channels = 1
	switch name {
	case "mulaw", "ulaw", "pcmu", "g711_ulaw", "basic":
		s.format.Encoding, s.format.Clock = "PCMU", hz
	case "alaw", "pcma", "g711_alaw":
		s.format.Encoding, s.format.Clock = "PCMA", hz
	case "g722":
		s.format.Encoding, s.format.Clock = "G722", 8000
	case "opus":
		s.format.Encoding, s.format.Clock, s.format.Channels = "opus", 48000, 2
	case "l16", "linear16", "lpcm", "pcm", "pcm16", "s16le", "slin", "raw", "base64":
		// Whatever RFC 3551 says of L16, over WebSockets it is little-endian.
		s.little, s.rate, s.codec = true, hz, "L16/"+strconv.Itoa(hz)
	default:
		return fmt.Errorf("audio in %.32q cannot be decoded: have the stream send PCMU, PCMA, G722, OPUS or L16", encoding)
	}
	if channels != "" && channels != "1" && !(s.format.Encoding == "opus" && channels == "2") {
		return fmt.Errorf("%.8s channels in a track: there may be one", channels)
	}
	if s.little {
		return nil
	}
	c, err := codec.New(s.format)
	if err != nil {
		return err
	}
	s.rate, s.codec = c.Rate(), c.String()
	return nil
}

// describe is the call as the parameters and the platform name it. reason says
// which parameter is not understood.
func (s *start) describe(name string, now time.Time) (c media.Call, reason string) {
	c = media.Call{
		ID: s.params[ParamCall], Agent: s.params[ParamAgent], Source: string(s.dialect),
		External: s.call, Language: s.params[ParamLanguage], Started: now,
	}
	if c.ID == "" {
		c.ID = s.call
	}
	if c.ID == "" {
		c.ID = name
	}
	if c.External == c.ID {
		c.External = ""
	}
	direction := s.params[ParamDirection]
	if direction == "" {
		direction = s.direction
	}
	switch direction {
	case "inbound", "incoming":
		c.Direction = media.Inbound
	case "outbound", "outgoing":
		c.Direction = media.Outbound
	case "":
	default:
		reason = fmt.Sprintf("%s=%.32q: it must be inbound or outbound", ParamDirection, direction)
	}
	if leg := s.params[ParamLeg]; leg != "" {
		if role, ok := media.ParseRole(leg); !ok || role == media.RoleUnknown {
			reason = fmt.Sprintf("%s=%.32q: it must be agent or customer", ParamLeg, leg)
		}
	}
	return c, reason
}

// facts is what is worth keeping of the start.
func (s *start) facts() map[string]string {
	facts := map[string]string{}
	for k, v := range s.params {
		switch k {
		case ParamCall, ParamAgent, ParamLeg, ParamDirection, ParamLanguage, ParamToken:
		default:
			facts[k] = v
		}
	}
	for _, f := range []struct{ name, value string }{
		{"stream", s.stream}, {"account", s.account}, {"session", s.session}, {"from", s.from}, {"to", s.to}, {"codec", s.codec},
	} {
		if f.value != "" && len(f.value) <= maxValue {
			facts[f.name] = f.value
		}
	}
	return facts
}

// leg is what is known of the one who speaks on a track.
func (s *start) leg(label string) media.Leg {
	l := media.Leg{ID: label, Label: label, Mixed: s.dialect == vonage}
	role, ok := media.ParseRole(s.params[ParamLeg])
	if !ok || role == media.RoleUnknown {
		return l
	}
	switch {
	case label != outbound:
		l.Role = role
	case role == media.RoleAgent:
		l.Role = media.RoleCustomer
	default:
		l.Role = media.RoleAgent
	}
	// With the role as its ID, a leg is the same leg when the next stream of the
	// call is one of the other party's.
	l.ID, l.RoleReason, l.Mixed = l.Role.String(), ParamLeg+"="+role.String()+" of the stream", false
	l.Identity = s.params[l.Role.String()]
	return l
}

// newTrack adds a leg to the call.
func (s *start) newTrack(label string, call media.CallSink, log *slog.Logger) (*track, error) {
	t := &track{label: label, rate: s.rate, log: log.With("track", label)}
	t.describe = func(warning string) { call.Describe(map[string]string{"warning": warning}) }
	if s.little {
		t.dec = littleEndian{}
		t.order = new(fork.ByteOrder)
	} else {
		c, err := codec.New(s.format)
		if err != nil {
			return nil, fmt.Errorf("twilio: track %q: %w", label, err)
		}
		t.dec = c
	}
	sink, err := call.AddLeg(s.leg(label))
	if err != nil {
		return nil, fmt.Errorf("twilio: track %q: %w", label, err)
	}
	t.leg, err = feed.New(feed.Config{Sink: sink, Rate: s.rate})
	if err != nil {
		return nil, fmt.Errorf("twilio: track %q: %w", label, err)
	}
	return t, nil
}
