package audiohook

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"sidetone/media"
	"sidetone/media/fork"
)

const (
	// openWait is how long the open message may take, closeWait how long the
	// client has to send close after disconnect, and to close the connection
	// after closed.
	openWait  = 10 * time.Second
	closeWait = 10 * time.Second
	// denyWait is the time from the connection to the answer that a request is not let in,
	// whatever the reason, so that it tells nothing.
	denyWait = 500 * time.Millisecond
)

// state is where a session is in its life.
//
//	preparing --open/opened--> active <--paused/resumed--> pausing
//	    |                        |                            |
//	    +-- mistake, hung up ----+----------> leaving (disconnect was sent)
//	    +------ close/closed ----+------------------+--> closed
type state uint8

const (
	preparing state = iota
	active
	pausing
	leaving
	closed
)

// decoder is what a session wants of a codec.
type decoder interface {
	Decode(dst []int16, src []byte) (int, error)
}

// Session is the server's side of one AudioHook session.
type Session struct {
	a            *Adapter
	w            fork.Writer
	log          *slog.Logger
	agent        string
	organisation string // of the header; empty if it has none
	correlation  string

	state    state
	deadline time.Time // of the state, if it has one
	pausedAt time.Time
	denied   string // why the request is not let in; empty if it is
	denyAt   time.Time

	id             string // nilUUID until it is known
	seq, clientSeq int64
	rtt            time.Duration

	call  media.CallSink // nil while there is none
	media *offer         // nil without audio
	codec decoder        // of media
	legs  []leg          // in the order of media's channels

	// at is the position of the next sample in the source's stream, base where
	// the call begins in it, lastPiece the length of the last piece of audio,
	// drift the largest difference from the source's own count. In samples.
	at, base, lastPiece, drift int64
	order                      fork.ByteOrder
	octets                     [2 * piece]byte
	decoded                    [piece]int16
}

// Text takes a message of the client.
func (s *Session) Text(text []byte, now time.Time) error {
	if s.state == closed {
		return nil
	}
	m, err := parseMessage(text)
	if s.state == leaving {
		// What went wrong was said. Only the end of it is of interest now,
		// whatever became of the counters.
		if err == nil {
			s.clientSeq = m.seq
		}
		if err == nil && m.kind == "close" {
			s.close("", now)
		}
		return nil
	}
	if err == nil {
		err = s.accept(m)
	}
	if err == nil {
		err = s.handle(m, now)
	}
	if err != nil {
		s.fail(err, now)
	} else {
		s.compare(m.position)
	}
	return nil
}

// accept checks the counters and the name.
func (s *Session) accept(m message) error {
	switch {
	case m.seq != s.clientSeq+1:
		return fmt.Errorf("a message has seq %d, %d was expected", m.seq, s.clientSeq+1)
	case m.serverSeq > s.seq:
		return fmt.Errorf("a message has serverseq %d, but only %d messages were sent", m.serverSeq, s.seq)
	case s.id == nilUUID:
		s.id = m.id
		s.log = s.log.With("session", m.id)
	case m.id != s.id:
		return errors.New("a message has the id of another session")
	}
	s.clientSeq = m.seq
	return nil
}

func (s *Session) handle(m message, now time.Time) error {
	switch m.kind {
	case "open":
		return s.open(m, now)
	case "ping":
		s.ping(m)
		return nil
	case "close":
		var p struct {
			Reason string `json:"reason"`
		}
		_ = m.parameters(&p) // without a reason it is over as well
		s.close(p.Reason, now)
		return nil
	case "error":
		s.reported(m)
		return nil
	}
	if s.state == preparing {
		s.log.Debug("audiohook: ignored before open", "type", clip(m.kind))
		return nil
	}
	switch m.kind {
	case "paused":
		s.pause(now)
		return nil
	case "resumed", "discarded":
		return s.discarded(m, now)
	case "update":
		return s.update(m)
	case "dtmf":
		return s.digit(m, now)
	default:
		// A later revision of the protocol must not end calls.
		s.log.Debug("audiohook: a message of unknown type is ignored", "type", clip(m.kind))
		return nil
	}
}

// reported notes an error that the client tells of. If it is a grave one, close
// comes next.
func (s *Session) reported(m message) {
	var p struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	if err := m.parameters(&p); err != nil {
		s.log.Warn("audiohook: the source reports an error of a form that is not known", "err", err)
		return
	}
	s.log.Warn("audiohook: the source reports an error", "code", p.Code, "message", clip(p.Message))
}

// open answers first and sets up the call after that, since the client waits for
// the answer 5 s at the most.
func (s *Session) open(m message, now time.Time) error {
	if s.state != preparing || s.denied != "" {
		s.log.Debug("audiohook: open is ignored", "denied", s.denied != "")
		return nil
	}
	var p openParameters
	if err := m.parameters(&p); err != nil {
		return err
	}
	switch {
	case !isUUID(p.Organisation) || !isUUID(p.ConversationID):
		return errors.New("open has no " + paramOrganisation + " or no conversationId that is a UUID")
	case s.organisation != "" && !strings.EqualFold(p.Organisation, s.organisation):
		s.a.unauthorised.Add(1)
		s.disconnect(reasonUnauthorised, paramOrganisation+" and the field "+fieldOrganisation+" differ", media.End{State: media.Refused, At: now})
		return nil
	}
	var err error
	if s.media, err = choose(p.Media); err != nil {
		return err
	}
	answer := openedParameters{Media: []json.RawMessage{}}
	if s.media != nil {
		answer.Media = append(answer.Media, s.media.raw)
		s.codec = s.a.pcmu
		if s.media.Format == formatL16 {
			s.codec = s.a.l16
		}
	}
	if p.SupportedLanguages {
		answer.SupportedLanguages = &s.a.cfg.Languages
	}
	s.send("opened", answer)
	s.state = active
	s.at = samples(m.position)
	s.base = s.at
	switch {
	case p.probe():
		s.a.probes.Add(1)
		s.log.Info("audiohook: a connection probe, no call")
		return nil
	case s.media == nil:
		s.log.Warn("audiohook: a session without media, no call")
		return nil
	}
	if err = s.begin(&p, now); err != nil {
		s.log.Warn("audiohook: no call", "err", err)
		s.disconnect("error", "the call cannot be taken: "+err.Error(), media.End{State: media.Refused, Reason: err.Error(), At: now})
	}
	return nil
}

// begin opens the call and its legs.
func (s *Session) begin(p *openParameters, now time.Time) error {
	custom := p.custom()
	c := media.Call{
		ID: s.id, Agent: s.agent, Source: "audiohook", External: strings.ToLower(p.ConversationID),
		Language: language(p.Language), Started: now,
	}
	if name := custom["agent"]; name != "" {
		c.Agent = name
	}
	var err error
	if s.call, err = s.a.cfg.Host.Open(c, s.w.HangUp); err != nil {
		s.call = nil
		return err
	}
	facts := map[string]string{
		"organisation": p.Organisation, "conversation": p.ConversationID, "participant": clip(p.Participant.ID),
		"correlation": s.correlation, "dnis": clip(p.Participant.DNIS), "language": clip(p.Language),
		"media": s.media.Format + " " + strings.Join(s.media.Channels, ","),
	}
	for name, value := range custom {
		facts["custom."+name] = value
	}
	for i, c := range p.ContinuedSessions[:min(len(p.ContinuedSessions), maxCustom)] {
		facts[fmt.Sprintf("continued.%d", i+1)] = clip(c.ID)
	}
	for name, value := range facts {
		if value == "" {
			delete(facts, name)
		}
	}
	s.call.Describe(facts)
	for i := range s.media.Channels {
		if err = s.newLeg(i, p); err != nil {
			return err
		}
	}
	return nil
}

// ping is answered. The time that the client measured is only kept, so that a
// strange one does no harm.
func (s *Session) ping(m message) {
	s.send("pong", noParameters{})
	var p struct {
		RTT string `json:"rtt"`
	}
	if m.parameters(&p) != nil || p.RTT == "" {
		return
	}
	rtt, err := parseDuration(p.RTT)
	if err != nil {
		s.log.Debug("audiohook: the rtt of a ping is ignored", "err", err)
		return
	}
	s.rtt = rtt
}

func (s *Session) pause(now time.Time) {
	if s.state == active {
		s.state, s.pausedAt = pausing, now
		if s.call != nil {
			s.call.Pause("AudioHook: the source paused its audio")
		}
	}
}

// discarded takes the two messages that say that audio was left out: discarded,
// and resumed after a pause.
func (s *Session) discarded(m message, now time.Time) error {
	var p struct {
		Start     string `json:"start"`
		Discarded string `json:"discarded"`
	}
	if err := m.parameters(&p); err != nil {
		return err
	}
	start, err := parseDuration(p.Start)
	if err != nil {
		return fmt.Errorf("the start of %s %w", m.kind, err)
	}
	length, err := parseDuration(p.Discarded)
	if err != nil {
		return fmt.Errorf("the length of %s %w", m.kind, err)
	}
	if m.kind == "discarded" && length > 0 {
		for _, l := range s.legs {
			l.feed.Mark(media.Mark{Kind: media.MarkDiscarded}, now)
		}
	}
	if err = s.skip(start, length); err != nil {
		return err
	}
	if m.kind == "resumed" && s.state == pausing {
		s.state = active
		if s.call != nil {
			s.call.Resume("AudioHook: the source resumed its audio")
		}
	}
	return nil
}

func (s *Session) update(m message) error {
	var p struct {
		Language string `json:"language"`
	}
	if err := m.parameters(&p); err != nil {
		return err
	}
	s.send("updated", noParameters{})
	if s.call != nil && p.Language != "" {
		s.call.Describe(map[string]string{"language": clip(p.Language)})
	}
	return nil
}

// digit marks a key that was pressed, on the customer's leg where there is one.
// It is never logged.
func (s *Session) digit(m message, now time.Time) error {
	var p struct {
		Digit string `json:"digit"`
	}
	if err := m.parameters(&p); err != nil {
		return err
	}
	key := strings.ToUpper(p.Digit)
	if len(key) != 1 || !strings.Contains("0123456789*#ABCD", key) {
		s.log.Debug("audiohook: a digit of a form that is not known is ignored")
		return nil
	}
	to := -1
	for i, l := range s.legs {
		if to < 0 || l.known.Label == channelExternal {
			to = i
		}
	}
	if to >= 0 {
		s.legs[to].feed.Mark(media.Mark{Kind: media.MarkDigit, Digit: key[0]}, now)
	}
	return nil
}

// close answers close, in whatever state, and ends the call.
func (s *Session) close(reason string, now time.Time) {
	s.send("closed", noParameters{})
	s.state, s.deadline = closed, now.Add(closeWait)
	s.end(media.End{State: media.Ended, Reason: fmt.Sprintf("the source closed the session: %.40q", clip(reason)), At: now})
}

// fail tells the client of its mistake.
func (s *Session) fail(err error, now time.Time) {
	s.a.mistakes.Add(1)
	s.log.Warn("audiohook: the source made a mistake", "err", err)
	s.disconnect("error", err.Error(), media.End{State: media.Aborted, Reason: err.Error(), At: now})
}

// disconnect asks the client to close the session, and ends the call.
func (s *Session) disconnect(reason, info string, e media.End) {
	s.send("disconnect", disconnectParameters{reason, clipTo(info, maxInfo)})
	s.state, s.deadline = leaving, e.At.Add(closeWait)
	s.end(e)
}

// end ends the legs and the call, if they run.
func (s *Session) end(e media.End) {
	for _, l := range s.legs {
		l.feed.End(e)
	}
	s.legs = nil
	if s.call == nil {
		return
	}
	facts := map[string]string{}
	if s.rtt > 0 {
		facts["rtt"] = s.rtt.String()
	}
	if s.drift > 0 {
		facts["position difference"] = (time.Duration(s.drift) * time.Second / rate).String()
	}
	if len(facts) > 0 {
		s.call.Describe(facts)
	}
	s.call.End(e)
	s.call = nil
}

func (s *Session) send(kind string, params any) {
	s.seq++
	b, err := json.Marshal(serverMessage{"2", kind, s.id, s.seq, s.clientSeq, params})
	if err != nil {
		s.log.Error("audiohook: a message cannot be written", "type", kind, "err", err)
		return
	}
	s.w.Text(b)
}

// Tick lets time pass.
func (s *Session) Tick(now time.Time) error {
	if s.state != pausing || now.Sub(s.pausedAt) <= pauseSilence {
		for _, l := range s.legs {
			l.feed.Tick(now)
		}
	}
	if s.state == preparing && s.denied != "" && !now.Before(s.denyAt) {
		s.disconnect(reasonUnauthorised, s.denied, media.End{State: media.Refused, Reason: s.denied, At: now})
	}
	if s.deadline.IsZero() || now.Before(s.deadline) {
		return nil
	}
	s.deadline = time.Time{}
	switch s.state {
	case preparing:
		s.fail(fmt.Errorf("no open message came within %v", openWait), now)
	case leaving:
		return &fork.CloseError{Code: fork.ClosePolicy, Reason: fmt.Sprintf("no close message came within %v of disconnect", closeWait)}
	case closed:
		s.w.Close(fork.CloseNormal, "the session is closed")
	}
	return nil
}

// HangUp ends the call and has the client close the session.
func (s *Session) HangUp(e media.End, now time.Time) error {
	if s.state == leaving || s.state == closed {
		return nil
	}
	e.At = now
	s.disconnect("completed", e.Reason, e)
	return nil
}

// Closed is the last call: the connection is gone. Without a close message
// before it, the call did not end in order.
func (s *Session) Closed(err error, now time.Time) {
	e := fork.EndFor(err, now)
	if err == nil {
		e.Reason = "the source closed the connection without a close message"
	}
	s.end(e)
	s.state, s.deadline = closed, time.Time{}
}
