// Package twilio takes calls from Twilio Media Streams and from the platforms
// that speak dialects of it: SignalWire, Telnyx, Plivo, Exotel, Bandwidth and
// Voximplant, which send base64 in JSON, and Vonage, which sends binary L16.
//
// Which dialect a connection speaks is told by its first messages. A Session is
// one connection, one stream and one call. The platform's tracks become the
// call's legs, labelled "inbound" (what the platform hears from the party on
// whose leg the stream was started) and "outbound" (what it plays to them).
// Which of the two is the agent is known only where a parameter says whose leg
// it is; see the Param constants.
//
// A call may have a stream on each party's leg. These are two calls of Host.Open
// with one ID; a Host that joins them gets legs of different IDs, "agent" and
// "customer", if the streams have ParamLeg. A stream whose leg is running
// already, such as that of a webhook answered twice, is closed.
//
// The legs' clocks are the stream's timestamps: gaps become silence, duplicates
// and chunks that come too late are dropped, chunks that overtake others are
// held for up to 100 ms. A dialect without timestamps is timed by its samples.
//
// Messages are described at twilio.com/docs/voice/media-streams/websocket-messages
// and the corresponding pages of the other platforms. What those leave open is
// read with tolerance: numbers may be strings, base64 may be unpadded or
// URL-safe, unknown messages and fields are ignored.
package twilio

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"sidetone/media"
	"sidetone/media/fork"
)

// The parameters that Sidetone knows, by the names that they have among the
// stream's custom parameters or in the URL's query. All may be missing. Those of
// other names, and ParamCustomer, become facts of the call.
const (
	// ParamCall is the call's ID; without it, the platform's call id is.
	ParamCall = "call"
	// ParamAgent is whose pane shows the call.
	ParamAgent = "agent"
	// ParamCustomer is the customer's address, such as a telephone number.
	ParamCustomer = "customer"
	// ParamLeg says who is heard on the inbound track: "agent" or "customer". The
	// other one is on the outbound track.
	ParamLeg = "leg"
	// ParamDirection says who called: "inbound" is the customer, "outbound" the
	// contact centre.
	ParamDirection = "direction"
	// ParamLanguage is what is spoken, ISO 639-1.
	ParamLanguage = "language"
	// ParamToken is what Config.Admit is asked about. It is never logged and
	// becomes no fact.
	ParamToken = "token"
)

const (
	// DefaultStartTimeout and DefaultIdleTimeout stand for zeros in Config.
	DefaultStartTimeout = 10 * time.Second
	DefaultIdleTimeout  = 60 * time.Second

	maxMessage = 1 << 20
	// maxEarly bounds the binary audio that is kept until the first text, in
	// bytes: 1 s at 24 kHz and more of lower rates.
	maxEarly = 48000
	// maxFaults is how many unreadable messages in a row a running call bears.
	maxFaults = 50
	// lingering is how long the other side may take to close after its stop.
	lingering = 5 * time.Second
	maxName   = 256
)

// Config is what a Session needs.
type Config struct {
	Host media.Host
	Out  fork.Writer
	Log  *slog.Logger
	// Name is the call's ID where the stream names none.
	Name string
	// Params are parameters from elsewhere, such as the URL's query. The stream's
	// own go before them.
	Params map[string]string
	// Admit, if any, decides by the token whether the call is taken. call is the
	// platform's id of the call, or ParamCall where it has none. An error closes
	// the connection with 1008 and its text.
	Admit func(call, token string, now time.Time) error
	// StartTimeout is how long the start may take, IdleTimeout how long no
	// message may come until the call is timed out.
	StartTimeout, IdleTimeout time.Duration
}

// Session is one connection. It implements fork.Session.
type Session struct {
	cfg    Config
	log    *slog.Logger
	opened time.Time
	heard  time.Time // when a message last came

	start   *start // nil until then
	call    media.CallSink
	tracks  []*track
	stopped time.Time
	over    bool

	clock  clock
	chunk  chunk
	early  []byte // binary audio that came before the start
	lost   int    // bytes of it that were dropped
	raw    []byte // a decoded piece of a payload
	pcm    []int16
	faults int
	warned bool
}

var _ fork.Session = (*Session)(nil)

// New checks the configuration; now is when the connection was made.
func New(cfg Config, now time.Time) (*Session, error) {
	if cfg.StartTimeout == 0 {
		cfg.StartTimeout = DefaultStartTimeout
	}
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = DefaultIdleTimeout
	}
	switch {
	case cfg.Host == nil || cfg.Out == nil || cfg.Log == nil:
		return nil, errors.New("twilio: Host, Out and Log are needed")
	case cfg.Name == "":
		return nil, errors.New("twilio: a name is needed for calls that come without one")
	case cfg.StartTimeout < 0 || cfg.IdleTimeout < 0:
		return nil, fmt.Errorf("twilio: timeouts of %v and %v must be positive", cfg.StartTimeout, cfg.IdleTimeout)
	}
	return &Session{cfg: cfg, log: cfg.Log, opened: now, heard: now}, nil
}

// Text implements fork.Session.
func (s *Session) Text(message []byte, now time.Time) error {
	if s.over {
		return nil
	}
	s.heard = now
	if len(message) > maxMessage {
		return &fork.CloseError{Code: fork.CloseTooBig, Reason: fmt.Sprintf("messages may have %d bytes", maxMessage)}
	}
	if s.start != nil && s.chunk.scan(message) {
		return s.fault(s.media(&s.chunk, now))
	}
	m, err := parse(message)
	if err != nil {
		return s.fault(err)
	}
	switch m.event() {
	case "start", "websocket:connected":
		return s.begin(m, now)
	case "media":
		if s.start == nil {
			return nil
		}
		err = s.chunk.read(m)
		if err == nil {
			err = s.media(&s.chunk, now)
		}
		return s.fault(err)
	case "dtmf", "websocket:dtmf":
		s.digit(m, now)
	case "stop":
		s.stop(m, now)
	case "error":
		p := m.object("payload")
		s.log.Warn("twilio: the platform reports an error", "code", p.text("code"), "title", p.text("title"), "detail", p.text("detail"))
	case "":
		if s.start == nil {
			return s.fault(unknownDialect(m))
		}
	}
	return nil
}

// fault bears with unreadable messages of a running call, up to maxFaults in a
// row: the rest of the call is worth more than they are.
func (s *Session) fault(err error) error {
	if err == nil {
		s.faults = 0
		return nil
	}
	var closing *fork.CloseError
	switch {
	case errors.As(err, &closing):
		return err
	case s.start == nil:
		return &fork.CloseError{Code: fork.CloseBadData, Reason: err.Error()}
	}
	if s.faults++; s.faults >= maxFaults {
		return &fork.CloseError{Code: fork.CloseBadData, Reason: fmt.Sprintf("%d messages in a row cannot be read: %v", s.faults, err)}
	}
	if !s.warned {
		s.warned = true
		s.log.Warn("twilio: a message cannot be read and is dropped; further ones are not reported", "err", err)
	}
	return nil
}

// begin opens the call that a start message announces.
func (s *Session) begin(m object, now time.Time) error {
	st, err := readStart(m)
	if err != nil {
		return s.fault(err)
	}
	if s.start != nil {
		if st.stream != s.start.stream {
			return &fork.CloseError{Code: fork.ClosePolicy, Reason: "this connection has a stream already; open another for another stream"}
		}
		s.log.Debug("twilio: start repeated", "stream", st.stream)
		return nil
	}
	for k, v := range s.cfg.Params {
		if _, own := st.params[k]; !own {
			st.params[k] = v
		}
	}
	c, reason := st.describe(s.cfg.Name, now)
	if reason != "" {
		s.log.Warn("twilio: a parameter is not understood and is ignored", "reason", reason)
	}
	if len(c.ID) > maxName {
		return &fork.CloseError{Code: fork.ClosePolicy, Reason: fmt.Sprintf("the call's name has %d bytes, it may have %d", len(c.ID), maxName)}
	}
	if s.cfg.Admit != nil {
		name := st.call
		if name == "" {
			name = c.ID
		}
		if err = s.cfg.Admit(name, st.params[ParamToken], now); err != nil {
			return &fork.CloseError{Code: fork.ClosePolicy, Reason: err.Error()}
		}
	}
	sink, err := s.cfg.Host.Open(c, s.cfg.Out.HangUp)
	if err != nil {
		return fmt.Errorf("twilio: call %q: %w", c.ID, err)
	}
	s.start, s.call, s.clock = st, sink, clock{began: now}
	s.raw, s.pcm = make([]byte, pieceBytes), make([]int16, pieceSamples)
	s.log = s.log.With("call", c.ID, "dialect", c.Source, "stream", st.stream)
	for _, label := range st.tracks {
		if _, err = s.track(label); err != nil {
			s.end(media.End{State: media.Refused, Reason: err.Error(), At: now})
			return err
		}
	}
	sink.Describe(st.facts())
	s.log.Info("twilio: stream started", "codec", st.codec, "tracks", st.tracks)
	early := s.early
	s.early = nil
	if s.lost > 0 {
		s.log.Warn("twilio: audio before the first text was dropped", "bytes", s.lost)
	}
	if len(early) > 0 {
		return s.fault(s.binary(early, now))
	}
	return nil
}

// track is the leg of a label, which is added if it is new.
func (s *Session) track(label string) (*track, error) {
	for _, t := range s.tracks {
		if t.label == label {
			return t, nil
		}
	}
	if len(s.tracks) >= maxTracks {
		return nil, fmt.Errorf("twilio: track %.32q is one more than the %d that a stream may have", label, maxTracks)
	}
	t, err := s.start.newTrack(label, s.call, s.log)
	if err != nil {
		return nil, fork.CloseFor(err)
	}
	s.tracks = append(s.tracks, t)
	return t, nil
}

// media takes a chunk of audio.
func (s *Session) media(c *chunk, now time.Time) error {
	label, err := trackName(c.track)
	if err != nil {
		return err
	}
	if label == "" {
		label = inbound
		if len(s.tracks) > 0 {
			label = s.tracks[0].label
		}
	}
	t, err := s.track(label)
	if err != nil {
		return err
	}
	at, timed := s.clock.position(c, t.rate, now)
	return t.payload(place{at: at, timed: timed, n: c.n, counted: c.counted}, c.payload, s.raw, s.pcm, now)
}

// Binary implements fork.Session. Only Vonage sends audio so.
func (s *Session) Binary(message []byte, now time.Time) error {
	if s.over {
		return nil
	}
	s.heard = now
	switch {
	case len(message) > maxMessage:
		return &fork.CloseError{Code: fork.CloseTooBig, Reason: fmt.Sprintf("messages may have %d bytes", maxMessage)}
	case s.start == nil:
		n := min(len(message), maxEarly-len(s.early))
		s.early = append(s.early, message[:n]...)
		s.lost += len(message) - n
		return nil
	default:
		return s.fault(s.binary(message, now))
	}
}

func (s *Session) binary(message []byte, now time.Time) error {
	if s.start.dialect != vonage {
		return fmt.Errorf("twilio: a binary message of %d bytes: %s sends audio as text", len(message), s.start.dialect)
	}
	return s.tracks[0].stream(message, s.raw, s.pcm, now)
}

// digit marks a pressed key. Which one it was goes into the mark and nowhere
// else.
func (s *Session) digit(m object, now time.Time) {
	if s.start == nil || len(s.tracks) == 0 {
		return
	}
	d := m.object("dtmf")
	key, ok := digitOf(d.text("digit"))
	if !ok {
		key, ok = digitOf(m.text("digit", "dtmf"))
	}
	if !ok {
		return
	}
	t := s.tracks[0]
	if label, err := trackName([]byte(d.text("track"))); err == nil && label != "" {
		for _, other := range s.tracks {
			if other.label == label {
				t = other
			}
		}
	}
	t.leg.Mark(media.Mark{Kind: media.MarkDigit, Digit: key}, now)
}

func digitOf(s string) (key byte, ok bool) {
	if len(s) != 1 {
		return 0, false
	}
	switch c := s[0]; {
	case c >= '0' && c <= '9', c == '*', c == '#', c >= 'A' && c <= 'D':
		return c, true
	case c >= 'a' && c <= 'd':
		return c - 'a' + 'A', true
	default:
		return 0, false
	}
}

// stop ends the call in order; the platform closes the connection after it.
func (s *Session) stop(m object, now time.Time) {
	if s.start == nil {
		return
	}
	reason := "the stream was stopped"
	if r := printable(m.object("stop").text("reason"), 64); r != "" {
		reason += ": " + r
	}
	s.stopped = now
	s.end(media.End{State: media.Ended, Reason: reason, At: now})
}

// Tick implements fork.Session.
func (s *Session) Tick(now time.Time) error {
	switch {
	case s.over:
		if !s.stopped.IsZero() && now.Sub(s.stopped) >= lingering {
			s.stopped = time.Time{}
			s.cfg.Out.Close(fork.CloseNormal, "the stream has ended")
		}
		return nil
	case s.start == nil:
		if now.Sub(s.opened) >= s.cfg.StartTimeout {
			return &fork.CloseError{Code: fork.ClosePolicy, Reason: fmt.Sprintf("no start message within %v", s.cfg.StartTimeout)}
		}
		return nil
	case now.Sub(s.heard) >= s.cfg.IdleTimeout:
		e := media.End{State: media.TimedOut, Reason: fmt.Sprintf("no message for %v", s.cfg.IdleTimeout), At: now}
		s.end(e)
		return &fork.CloseError{Code: fork.CloseGoingAway, Reason: e.Reason}
	}
	for _, t := range s.tracks {
		t.tick(s.pcm, now)
	}
	return nil
}

// HangUp implements fork.Session. The protocols know no other way than closing
// the connection; the call itself goes on without us.
func (s *Session) HangUp(e media.End, now time.Time) error {
	if e.At.IsZero() {
		e.At = now
	}
	s.end(e)
	code := fork.CloseNormal
	if e.State == media.Aborted {
		code = fork.CloseGoingAway
	}
	s.cfg.Out.Close(code, e.Reason)
	return nil
}

// Closed implements fork.Session.
func (s *Session) Closed(err error, now time.Time) {
	e := fork.EndFor(err, now)
	if err == nil && s.start != nil && s.start.dialect != vonage {
		e = media.End{State: media.Lost, Reason: "the connection was closed without a stop message", At: now}
	}
	s.end(e)
}

// end ends legs and call; only the first one counts.
func (s *Session) end(e media.End) {
	s.over = true
	if s.call == nil {
		return
	}
	for _, t := range s.tracks {
		t.end(e, s.pcm)
	}
	s.call.End(e)
	s.call = nil
}
