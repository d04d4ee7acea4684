// Package audiohook speaks Genesys AudioHook, version 2, as its server: Genesys
// Cloud connects over a WebSocket, opens a session with JSON messages, sends the
// audio of both parties in binary ones and closes the session.
//
// The channels are the parties: external is the customer, internal the agent.
// They stand in a binary message sample by sample, in the order of the media
// that was chosen. The legs' clocks count samples, and what the source says it
// left out. What is left out in a pause passes while the call is paused.
//
// The answer to open goes out before the call is set up. Sidetone sends nothing
// unasked but disconnect: no events, no pause.
//
// The reference is the vendor's open implementation of client and server; what
// the production client does beyond it is taken with tolerance, and messages of
// an unknown type are ignored. Mistakes in the counters, in the form of a
// message and in the length of audio end the session with disconnect, since
// after them the channels might be swapped or the times wrong.
package audiohook

import (
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"sidetone/media"
	"sidetone/media/fork"
	"sidetone/media/fork/audiohook/httpsig"
	"sidetone/media/g711"
	"sidetone/media/l16"
)

// Config is what an Adapter needs.
type Config struct {
	Host media.Host
	Log  *slog.Logger
	// Auth says who may connect; nil lets everybody in.
	Auth *httpsig.Verifier
	// Languages are sent to clients that ask which ones are understood, as tags
	// such as en-US.
	Languages []string
	// LittleEndian has L16 read with the low byte first. The protocol does not
	// say which comes first; the format's name is RTP's, where it is the high one.
	LittleEndian bool
}

// Stats counts what happened since the Adapter was made.
type Stats struct {
	// Sessions are the connections. Probes of them only tried out the connection,
	// Unauthorised ones were not let in.
	Sessions, Probes, Unauthorised uint64
	// Mistakes are the sessions that were ended because the client broke the
	// protocol.
	Mistakes uint64
}

// Adapter makes sessions. It is safe for concurrent use.
type Adapter struct {
	cfg  Config
	pcmu *g711.Codec
	l16  *l16.Codec

	sessions, probes, unauthorised, mistakes atomic.Uint64
}

// New checks the configuration.
func New(cfg Config) (*Adapter, error) {
	if cfg.Host == nil || cfg.Log == nil {
		return nil, errors.New("audiohook: Host and Log are needed")
	}
	if cfg.Languages == nil {
		cfg.Languages = []string{}
	}
	pcmu, err := g711.New(g711.MuLaw)
	if err != nil {
		return nil, err
	}
	linear, err := l16.New(rate, 1)
	if err != nil {
		return nil, err
	}
	return &Adapter{cfg: cfg, pcmu: pcmu, l16: linear}, nil
}

// Stats returns the counters of this moment.
func (a *Adapter) Stats() Stats {
	return Stats{a.sessions.Load(), a.probes.Load(), a.unauthorised.Load(), a.mistakes.Load()}
}

// Open makes the session of a connection. A request that is not let in gets its
// session as well: the answer is the message disconnect, which the source shows
// to its administrators, where an HTTP status is lost. agent is whose pane shows
// the call, unless the session's custom configuration has another "agent".
func (a *Adapter) Open(r httpsig.Request, agent string, w fork.Writer, now time.Time) *Session {
	a.sessions.Add(1)
	s := &Session{a: a, w: w, log: a.cfg.Log, agent: agent, id: nilUUID, deadline: now.Add(openWait), denyAt: now.Add(denyWait)}
	s.organisation, _ = r.Field(fieldOrganisation)
	s.correlation, _ = r.Field("audiohook-correlation-id")
	s.correlation = clip(s.correlation)
	if id, _ := r.Field("audiohook-session-id"); isUUID(id) {
		s.id = strings.ToLower(id)
		s.log = s.log.With("session", s.id)
	}
	if a.cfg.Auth == nil {
		return s
	}
	err := a.cfg.Auth.Check(r, now)
	if err == nil && s.organisation == "" {
		err = errors.New("audiohook: the request has no " + fieldOrganisation)
	}
	if err != nil {
		a.unauthorised.Add(1)
		s.denied = err.Error()
		s.log.Warn("audiohook: a connection is not let in", "err", err)
	}
	return s
}
