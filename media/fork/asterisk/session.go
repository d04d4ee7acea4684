// Package asterisk takes call audio from Asterisk's chan_websocket (Asterisk
// 20.16, 21.11, 22.6 and later): Asterisk connects, says in a text message what
// is coming, and sends the channel's audio, one frame in each binary message,
// without headers. AudioSocket, Asterisk's other way, is package audiosocket.
//
// # Set-up
//
// A websocket_client.conf entry of type per_call_config has the address; the
// dialplan or ARI (externalMedia with transport=websocket) dials it:
//
//	Dial(WebSocket/sidetone/c(slin16)f(json)v(call=${UNIQUEID},role=customer))
//
// The parameters of v() come in the query of the URL; each may come as a channel
// variable with the prefix SIDETONE_ instead, if the control messages are JSON:
//
//	call      the call's name: connections of one name are one call
//	leg       the connection's name within the call
//	role      who is heard: agent or customer
//	agent     whose pane shows the call
//	language  what is spoken, ISO 639-1
//
// No audio goes back, so that Asterisk's flow control (MEDIA_XOFF, STATUS) and
// the events of its queue ask nothing of us; they are passed over.
//
// A connection opens a call of its own. Where two connections bring the two
// directions of a call, as snoop channels do, they open calls of the same ID,
// which is for the Host to make one.
//
// # The server
//
// The sessions run in package server. PingEvery must stay zero for Asterisk
// 22.6 and its contemporaries, which hang up on a ping; and since a silent
// channel may send nothing at all, IdleTimeout should be many minutes. TCP's
// own keep-alive notices a peer that is gone.
//
// The source is Asterisk's documentation of the channel driver and reports of
// its users.
package asterisk

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sidetone/media"
	"sidetone/media/feed"
	"sidetone/media/fork"
)

const (
	// DefaultStart stands for zero in Config.Start.
	DefaultStart = 5 * time.Second

	// stall is how long nothing must come until silence is inserted.
	stall = 500 * time.Millisecond
	// farewell is how long Asterisk may take to close after HANGUP.
	farewell = 2 * time.Second
	// earlyBytes and earlyMessages bound the audio that is kept until
	// MEDIA_START: some more than a second of most formats.
	earlyBytes    = 64 << 10
	earlyMessages = 100
	// maxName bounds names in bytes, maxFacts and maxFact the channel variables
	// that are kept and their length.
	maxName  = 128
	maxFacts = 32
	maxFact  = 256
	// badRequest is HTTP's status.
	badRequest = 400
	// prefix of the channel variables that stand for parameters.
	prefix = "SIDETONE_"
)

// Protocols returns the subprotocols that a server should take up: Asterisk's
// own, or any.
func Protocols() []string { return []string{"media", "*"} }

// Config is what a Protocol needs.
type Config struct {
	Host media.Host
	// Start is how long MEDIA_START may take; zero means DefaultStart.
	Start time.Duration
	// Answer has the channel answered when it begins, for those that are dialled
	// with n, no automatic answer.
	Answer bool
}

// Protocol makes sessions. It is immutable and safe for concurrent use.
type Protocol struct{ cfg Config }

// New checks the configuration.
func New(cfg Config) (*Protocol, error) {
	if cfg.Start == 0 {
		cfg.Start = DefaultStart
	}
	switch {
	case cfg.Host == nil:
		return nil, errors.New("asterisk: a Host is needed")
	case cfg.Start < 0:
		return nil, fmt.Errorf("asterisk: MEDIA_START within %v: it must not be negative", cfg.Start)
	}
	return &Protocol{cfg}, nil
}

// parameters are what the URL says of a connection.
type parameters struct{ call, leg, role, agent, language string }

// read takes the parameters that get has and that are not there yet.
func (p *parameters) read(get func(name string) string) error {
	for _, f := range []struct {
		name string
		to   *string
	}{{"call", &p.call}, {"leg", &p.leg}, {"role", &p.role}, {"agent", &p.agent}, {"language", &p.language}} {
		v := get(f.name)
		if *f.to != "" || v == "" {
			continue
		}
		if len(v) > maxName || !utf8.ValidString(v) || strings.ContainsFunc(v, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return fmt.Errorf("the parameter %s must be at most %d bytes of printable text", f.name, maxName)
		}
		*f.to = v
	}
	if _, ok := media.ParseRole(p.role); !ok {
		return fmt.Errorf("the parameter role is %q; it is agent or customer", p.role)
	}
	return nil
}

// Session is one connection. It is a fork.Session.
type Session struct {
	*Protocol
	w      fork.Writer
	about  parameters
	opened time.Time

	started bool // MEDIA_START has come
	json    bool
	call    media.CallSink
	sink    media.LegSink
	leg     *feed.Leg
	decoder *decoder
	ended   bool
	hung    time.Time // when HANGUP was sent

	early     [][]byte
	earlySize int
	lost      bool // of what came early

	order       fork.ByteOrder
	undecodable int
}

var _ fork.Session = (*Session)(nil)

// Open makes the session of a connection whose URL has the query. Its error is a
// *fork.Refusal.
func (p *Protocol) Open(query url.Values, w fork.Writer, now time.Time) (*Session, error) {
	s := &Session{Protocol: p, w: w, opened: now}
	if err := s.about.read(query.Get); err != nil {
		return nil, &fork.Refusal{Status: badRequest, Reason: "asterisk: " + err.Error()}
	}
	return s, nil
}

// Text implements fork.Session.
func (s *Session) Text(message []byte, now time.Time) error {
	if s.ended {
		return nil
	}
	m, err := Parse(message)
	if err != nil {
		return &fork.CloseError{Code: fork.CloseBadData, Reason: err.Error()}
	}
	switch m.Event {
	case eventStart:
		if !s.started {
			return s.begin(m, now)
		}
	case eventDigit:
		s.digit(m.Digit, now)
	}
	return nil
}

// begin opens the call.
func (s *Session) begin(m Message, now time.Time) error {
	s.started, s.json = true, m.JSON
	if err := s.about.read(func(name string) string { return m.Variables[prefix+strings.ToUpper(name)] }); err != nil {
		return &fork.CloseError{Code: fork.ClosePolicy, Reason: err.Error()}
	}
	var err error
	if s.decoder, err = newDecoder(m.Format); err != nil {
		return &fork.CloseError{Code: fork.CloseUnsupported, Reason: err.Error()}
	}
	own := first(m.ChannelID, m.ConnectionID, m.Channel)
	if own == "" || len(own) > maxFact {
		return &fork.CloseError{Code: fork.CloseBadData, Reason: "MEDIA_START has no channel_id and no connection_id of a fit length"}
	}
	call := media.Call{
		ID: first(s.about.call, own), External: own, Source: "asterisk",
		Agent: s.about.agent, Language: s.about.language, Started: now,
	}
	leg := media.Leg{ID: first(s.about.leg, own), Label: m.Channel}
	if s.about.role != "" {
		leg.Role, _ = media.ParseRole(s.about.role)
		leg.RoleReason = "role=" + s.about.role + " in the connection's parameters"
	}
	if s.call, err = s.cfg.Host.Open(call, s.w.HangUp); err != nil {
		return fmt.Errorf("asterisk: call %q: %w", call.ID, err)
	}
	if s.sink, err = s.call.AddLeg(leg); err != nil {
		return fmt.Errorf("asterisk: call %q, leg %q: %w", call.ID, leg.ID, err)
	}
	if s.leg, err = feed.New(feed.Config{Sink: s.sink, Rate: s.decoder.rate, Idle: stall}); err != nil {
		return fmt.Errorf("asterisk: %w", err)
	}
	s.call.Describe(facts(m))
	if s.cfg.Answer {
		s.w.Text(command("ANSWER", s.json))
	}
	if s.lost {
		s.leg.Mark(media.Mark{Kind: media.MarkDiscarded}, now)
	}
	for _, b := range s.early {
		s.audio(b, now)
	}
	s.early = nil
	return nil
}

// first is the first text that is not empty.
func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// facts are what a MEDIA_START tells besides.
func facts(m Message) map[string]string {
	f := map[string]string{
		"asterisk.format": m.Format, "asterisk.channel": m.Channel,
		"asterisk.channel_id": m.ChannelID, "asterisk.connection_id": m.ConnectionID,
	}
	for _, k := range slices.Sorted(maps.Keys(m.Variables)) {
		v := m.Variables[k]
		if len(f) < maxFacts && len(k) <= maxName && len(v) <= maxFact && !strings.HasPrefix(k, prefix) {
			f["asterisk.variable."+k] = v
		}
	}
	for k, v := range f {
		if v == "" || len(v) > maxFact {
			delete(f, k)
		}
	}
	return f
}

func (s *Session) digit(key string, now time.Time) {
	if s.leg == nil || len(key) != 1 {
		return
	}
	d := strings.ToUpper(key)[0]
	if !strings.ContainsRune("0123456789*#ABCD!", rune(d)) {
		return
	}
	s.leg.Mark(media.Mark{Kind: media.MarkDigit, Digit: d}, now)
}

// Binary implements fork.Session.
func (s *Session) Binary(message []byte, now time.Time) error {
	switch {
	case s.ended || len(message) == 0:
	case s.leg != nil:
		s.audio(message, now)
	case s.earlySize+len(message) > earlyBytes || len(s.early) == earlyMessages:
		s.lost = true
	default:
		s.early = append(s.early, append([]byte(nil), message...))
		s.earlySize += len(message)
	}
	return nil
}

func (s *Session) audio(message []byte, now time.Time) {
	for len(message) > 0 {
		samples, rest, ok := s.decoder.next(message)
		message = rest
		if !ok {
			s.undecodable++
			continue
		}
		s.leg.Append(samples, now)
		if s.decoder.linear && s.order.Swapped(samples) {
			s.call.Describe(map[string]string{"asterisk.warning": "the samples sound as if their bytes were swapped; chan_websocket's are little-endian"})
		}
	}
}

// Tick implements fork.Session.
func (s *Session) Tick(now time.Time) error {
	switch {
	case s.ended:
		if now.Sub(s.hung) >= farewell {
			return &fork.CloseError{Code: fork.CloseNormal, Reason: "the call has ended"}
		}
	case s.leg != nil:
		s.leg.Tick(now)
	case now.Sub(s.opened) >= s.cfg.Start:
		return &fork.CloseError{Code: fork.ClosePolicy, Reason: fmt.Sprintf("no MEDIA_START within %v: only Asterisk's chan_websocket is expected here", s.cfg.Start)}
	}
	return nil
}

// HangUp implements fork.Session: it has Asterisk hang up the channel, which
// closes the connection.
func (s *Session) HangUp(e media.End, now time.Time) error {
	switch {
	case !s.started:
		return &fork.CloseError{Code: fork.CloseGoingAway, Reason: e.Reason}
	case s.ended:
		return nil
	}
	if e.At.IsZero() {
		e.At = now
	}
	s.w.Text(command("HANGUP", s.json))
	s.hung = now
	s.end(e)
	return nil
}

// Closed implements fork.Session.
func (s *Session) Closed(err error, now time.Time) { s.end(fork.EndFor(err, now)) }

// end ends leg and call, once.
func (s *Session) end(e media.End) {
	if s.ended {
		return
	}
	s.ended, s.early = true, nil
	if s.undecodable > 0 {
		s.call.Describe(map[string]string{"asterisk.undecodable": fmt.Sprintf("%d messages could not be decoded", s.undecodable)})
	}
	switch {
	case s.leg != nil:
		s.leg.End(e)
	case s.sink != nil:
		s.sink.End(e, media.LegStats{})
	}
	if s.call != nil {
		s.call.End(e)
	}
}
