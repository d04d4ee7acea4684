// Package freeswitch takes call audio that FreeSWITCH forks to a WebSocket: by
// mod_audio_fork (drachtio, jambonz), by mod_audio_stream (amigniter), and by
// jambonz's listen verb.
//
// A connection may send one text message of metadata first: any text that the
// dialplan has passed, or jambonz's call attributes. Binary messages are 16-bit
// little-endian samples in one channel or in two that alternate: the forked
// channel's own party is left, the party that it hears is right. Nothing on the
// wire of the two modules tells rate and channels, so that the URL should, as in
// wss://host/fork?call=${uuid}&rate=16000&channels=2&left=customer&right=agent.
// These are the names; the metadata may use them as well:
//
//	rate      sample rate in Hz, such as 16000 or 16k
//	channels  1 or 2
//	mix       mono, mixed or stereo, in place of channels
//	call      the call's name: forks of one name are one call
//	leg       the fork's name within the call, where it has several
//	direction inbound, when the forked channel's party calls in, or outbound
//	role      who is heard in mono: agent or customer
//	left      who is heard left, right who is heard right
//	agent     whose pane shows the call
//	language  what is spoken, ISO 639-1
//
// A call ends when all its forks have been closed, or have sent no audio for
// Config.Idle. Where a connection breaks, its call waits for Config.Window: a
// fork of the same call and leg that comes in this time goes on with it, on the
// same clock. Calls.Tick ends those that wait in vain.
//
// Sources are the modules' READMEs and jambonz's documentation. They name many
// variants; what is not understood is passed over.
package freeswitch

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sidetone/media"
	"sidetone/media/fork"
)

// Protocols returns the subprotocols that clients offer. A server agrees to the
// one that it is offered; mod_audio_stream offers none.
func Protocols() []string {
	return []string{"audio." + protocolFork, "audiostream." + protocolFork, protocolJambonz}
}

const (
	protocolFork    = "drachtio.org"
	protocolJambonz = "audio.jambonz.org"
)

const (
	// DefaultRate stands for zero in Config.Rate, DefaultIdle and DefaultWindow
	// for zeros in Config.Idle and Config.Window.
	DefaultRate   = 8000
	DefaultIdle   = 30 * time.Second
	DefaultWindow = 5 * time.Second

	// silentOpen is how long after its opening a fork without audio is logged.
	silentOpen = 5 * time.Second
	// stale is how long a fork must have sent nothing for another connection to
	// take its place.
	stale = time.Second
	// maxOutbox bounds the messages that wait for a call's fork, maxPushed the
	// size of one in bytes.
	maxOutbox = 64
	maxPushed = 16 << 10
)

// Errors of Calls.Transcription that callers tell apart.
var (
	// ErrNoCall: no call of that name is running.
	ErrNoCall = errors.New("no such call is running")
	// ErrOff: Config.Transcripts is false.
	ErrOff = errors.New("transcripts are not sent back")
)

// Config says how forks are taken.
type Config struct {
	Host media.Host
	Log  *slog.Logger
	// NewID makes a name for a call that comes without one. It is called from
	// any goroutine.
	NewID func() string
	// Rate and Channels are for forks that tell nothing: Hz, and 1 or 2, where
	// zero is 1.
	Rate, Channels int
	// Idle is how long a fork may send no audio.
	Idle time.Duration
	// Window is how long a call waits for a broken connection to come back;
	// negative means not at all.
	Window time.Duration
	// Transcripts allows Calls.Transcription to send to the other side.
	Transcripts bool
}

// Calls holds the calls that come by forks. It is safe for concurrent use.
type Calls struct {
	cfg Config

	mu   sync.Mutex
	byID map[string]*call
}

// New checks the configuration.
func New(cfg Config) (*Calls, error) {
	if cfg.Rate == 0 {
		cfg.Rate = DefaultRate
	}
	if cfg.Channels == 0 {
		cfg.Channels = 1
	}
	if cfg.Idle == 0 {
		cfg.Idle = DefaultIdle
	}
	if cfg.Window == 0 {
		cfg.Window = DefaultWindow
	}
	switch {
	case cfg.Host == nil || cfg.Log == nil || cfg.NewID == nil:
		return nil, errors.New("freeswitch: forks need a host, a logger and a maker of names")
	case !validRate(cfg.Rate):
		return nil, fmt.Errorf("freeswitch: %d Hz: the rate is one of %v", cfg.Rate, rates())
	case cfg.Channels != 1 && cfg.Channels != 2:
		return nil, fmt.Errorf("freeswitch: %d channels: forks have 1 or 2", cfg.Channels)
	case cfg.Idle < 0:
		return nil, fmt.Errorf("freeswitch: an idle time of %v must be positive", cfg.Idle)
	}
	return &Calls{cfg: cfg, byID: map[string]*call{}}, nil
}

// Running is the number of calls that run or wait for their fork.
func (cs *Calls) Running() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.byID)
}

// Tick lets time pass for the calls that have lost their connection; call it
// about once a second.
func (cs *Calls) Tick(now time.Time) {
	for _, c := range cs.all() {
		c.mu.Lock()
		c.expire(now, cs.cfg.Window)
		c.mu.Unlock()
		cs.sweep(c)
	}
}

// Close ends all calls with e. Their forks are closed at their next tick.
func (cs *Calls) Close(e media.End) {
	for _, c := range cs.all() {
		c.mu.Lock()
		c.finish(e)
		c.mu.Unlock()
		cs.sweep(c)
	}
}

// Transcription sends data, a JSON object, to the call's fork as
// {"type":"transcription","data":...}, which the modules raise as an event in
// FreeSWITCH. mod_audio_stream also writes it to FreeSWITCH's log, unless told
// otherwise. When the fork does not take them, the oldest messages are dropped.
func (cs *Calls) Transcription(id string, data []byte) error {
	switch {
	case !cs.cfg.Transcripts:
		return ErrOff
	case len(data) > maxPushed:
		return fmt.Errorf("freeswitch: a transcription of %d bytes: at most %d are sent", len(data), maxPushed)
	}
	message, err := json.Marshal(struct {
		Type string          `json:"type"`
		Data json.RawMessage `json:"data"`
	}{"transcription", data})
	if err != nil {
		return fmt.Errorf("freeswitch: transcription: %w", err)
	}
	cs.mu.Lock()
	c := cs.byID[id]
	cs.mu.Unlock()
	if c == nil {
		return fmt.Errorf("freeswitch: call %q: %w", id, ErrNoCall)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.outbox) == maxOutbox {
		c.outbox = append(c.outbox[:0], c.outbox[1:]...)
	}
	c.outbox = append(c.outbox, message)
	return nil
}

func (cs *Calls) all() []*call {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	all := make([]*call, 0, len(cs.byID))
	for _, c := range cs.byID {
		all = append(all, c)
	}
	return all
}

// sweep forgets a call that is over. The caller does not hold c.mu.
func (cs *Calls) sweep(c *call) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over && cs.byID[c.id] == c {
		delete(cs.byID, c.id)
	}
}

// enter returns the call of that name, locked. Where none is running it is
// opened.
func (cs *Calls) enter(info media.Call) (*call, error) {
	for {
		cs.mu.Lock()
		c := cs.byID[info.ID]
		if c == nil {
			c = &call{id: info.ID}
			// Forks of the same call wait here until it is open.
			c.mu.Lock()
			cs.byID[info.ID] = c
			cs.mu.Unlock()
			return c, cs.open(c, info)
		}
		cs.mu.Unlock()
		c.mu.Lock()
		if !c.over {
			return c, nil
		}
		c.mu.Unlock()
		cs.sweep(c)
	}
}

// open begins a call at the host. On an error c is not locked any more.
func (cs *Calls) open(c *call, info media.Call) error {
	sink, err := cs.cfg.Host.Open(info, func(e media.End) { c.asked.CompareAndSwap(nil, &e) })
	if err != nil {
		c.over = true
		c.mu.Unlock()
		cs.sweep(c)
		return fmt.Errorf("freeswitch: call %q: %w", info.ID, err)
	}
	c.sink = sink
	return nil
}

// Open begins a connection. An error is a *fork.Refusal.
func (cs *Calls) Open(r Request, w fork.Writer, now time.Time) (*Session, error) {
	f, err := formatOf(layers{query(r.Query)}, format{rate: cs.cfg.Rate, channels: cs.cfg.Channels})
	if err != nil {
		return nil, &fork.Refusal{Status: 400, Reason: err.Error()}
	}
	return &Session{
		calls: cs, w: w, log: cs.cfg.Log.With("remote", r.Remote),
		request: r, format: f, opened: now, heard: now,
	}, nil
}
