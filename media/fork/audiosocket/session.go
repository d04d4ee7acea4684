package audiosocket

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"sidetone/media"
	"sidetone/media/feed"
	"sidetone/media/fork"
	"sidetone/media/g711"
)

// ErrHungUp says that the connection is to be closed in order: one of the sides
// has hung up.
var ErrHungUp = errors.New("audiosocket: hung up")

const (
	// DefaultIdentify and DefaultIdle stand for zeros in Config.
	DefaultIdentify = 5 * time.Second
	DefaultIdle     = time.Minute

	// stall is how long nothing must come until silence is inserted: a shorter
	// stop with a burst after it leaves the leg's clock as it is.
	stall = 500 * time.Millisecond
	// maxAhead is how much more audio may have come than time has passed.
	maxAhead = 10 * time.Second
	// maxSwitches is how often a connection may change its sample rate.
	maxSwitches = 16
	// chunk is how many samples are decoded at once.
	chunk = 960
)

// Config is what a Protocol needs; a zero field has the default stated.
type Config struct {
	Host media.Host
	// Lookup says which call and which of its legs a UUID stands for, as it was
	// announced by other means. An error closes the connection. Fields that it
	// leaves empty are filled in; without a Lookup every UUID is taken, and names
	// call and leg.
	Lookup func(uuid string) (media.Call, media.Leg, error)
	// Format is what frames of kind 0x10 carry.
	Format Format
	// Quiet sends no silence, see the package comment.
	Quiet bool
	// Identify is how long the UUID may take, 5 s; Idle how long no frame may come
	// after it, 60 s.
	Identify, Idle time.Duration
}

// Writer is a session's way to Asterisk.
type Writer interface {
	// Write sends one frame at once, in a single segment where the network
	// allows. The frame may be changed after the call.
	Write(frame []byte)
	// HangUp has the session's HangUp called on its goroutine; see fork.Writer.
	HangUp(e media.End)
}

// Protocol makes sessions. It is immutable and safe for concurrent use.
type Protocol struct {
	cfg   Config
	mu, a *g711.Codec
}

// New checks the configuration.
func New(cfg Config) (*Protocol, error) {
	if cfg.Identify == 0 {
		cfg.Identify = DefaultIdentify
	}
	if cfg.Idle == 0 {
		cfg.Idle = DefaultIdle
	}
	switch {
	case cfg.Host == nil:
		return nil, errors.New("audiosocket: a Host is needed")
	case cfg.Identify < 0 || cfg.Idle < 0:
		return nil, fmt.Errorf("audiosocket: a UUID within %v, frames within %v: neither may be negative", cfg.Identify, cfg.Idle)
	case cfg.Format > ALaw:
		return nil, fmt.Errorf("audiosocket: unknown format %d", cfg.Format)
	}
	mu, err := g711.New(g711.MuLaw)
	if err != nil {
		return nil, fmt.Errorf("audiosocket: %w", err)
	}
	a, err := g711.New(g711.ALaw)
	if err != nil {
		return nil, fmt.Errorf("audiosocket: %w", err)
	}
	return &Protocol{cfg: cfg, mu: mu, a: a}, nil
}

// Session is one connection. It is for one goroutine; now never goes back.
type Session struct {
	*Protocol
	w      Writer
	parser Parser

	opened, last time.Time // last is when a frame came
	call         media.CallSink
	about        media.Leg
	sink         media.LegSink
	leg          *feed.Leg
	ended        bool

	// kind is that of the last audio, made the one that the media path is for.
	kind, made Kind
	format     Format
	guess      guess
	pace       pace
	order      fork.ByteOrder
	rate       int
	switches   int
	// began is when audio first came, heard how much of it there was since.
	began time.Time
	heard time.Duration

	silence []byte    // a frame of it
	due     time.Time // when it is sent next

	samples [chunk]int16
}

// Open makes the session of a new connection.
func (p *Protocol) Open(w Writer, now time.Time) *Session {
	return &Session{Protocol: p, w: w, opened: now, last: now}
}

// Bytes takes what the connection has brought. On an error the connection is to
// be closed, in order if it is ErrHungUp, and Closed to be called.
func (s *Session) Bytes(b []byte, now time.Time) error {
	s.parser.Feed(b)
	for {
		f, ok := s.parser.Next()
		if !ok {
			return nil
		}
		if err := s.frame(f, now); err != nil {
			return err
		}
	}
}

func (s *Session) frame(f Frame, now time.Time) error {
	if s.ended {
		return ErrHungUp
	}
	s.last = now
	switch {
	case s.call == nil && f.Kind == KindUUID:
		return s.identify(f.Payload, now)
	case s.call == nil && f.Kind == KindHangUp:
		return ErrHungUp
	case s.call == nil:
		return fmt.Errorf("audiosocket: the first frame is of %v; it must be the UUID (0x01)", f.Kind)
	case f.Kind == KindHangUp:
		s.end(media.End{State: media.Ended, Reason: "Asterisk hung up", At: now})
		return ErrHungUp
	case f.Kind == KindError:
		return fmt.Errorf("audiosocket: Asterisk reports the error 0x%s", hex.EncodeToString(f.Payload[:min(len(f.Payload), 8)]))
	case f.Kind == KindDigit:
		s.digit(f.Payload, now)
	case f.Kind.Rate() > 0 && len(f.Payload) > 1:
		return s.audio(f, now)
	}
	return nil
}

// identify begins the call.
func (s *Session) identify(id []byte, now time.Time) error {
	if len(id) != 16 {
		return fmt.Errorf("audiosocket: a UUID of %d bytes; it has 16", len(id))
	}
	uuid := fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	var call media.Call
	if s.cfg.Lookup != nil {
		var err error
		if call, s.about, err = s.cfg.Lookup(uuid); err != nil {
			s.refuse()
			return fmt.Errorf("audiosocket: UUID %s: %w", uuid, err)
		}
	}
	if call.ID == "" {
		call.ID = uuid
	}
	if call.External == "" {
		call.External = uuid
	}
	if call.Started.IsZero() {
		call.Started = now
	}
	call.Source = "audiosocket"
	if s.about.ID == "" {
		s.about.ID = uuid
	}
	open, err := s.cfg.Host.Open(call, s.w.HangUp)
	if err != nil {
		s.refuse()
		return fmt.Errorf("audiosocket: call %s: %w", call.ID, err)
	}
	s.call = open
	s.makeSilence(KindSlin)
	return s.addLeg()
}

// refuse tells Asterisk that the connection's end is meant, so that the dialplan
// goes on as after a call.
func (s *Session) refuse() { s.w.Write(AppendHeader(nil, KindHangUp, 0)) }

func (s *Session) addLeg() error {
	sink, err := s.call.AddLeg(s.about)
	if err != nil {
		return fmt.Errorf("audiosocket: leg %s: %w", s.about.ID, err)
	}
	s.sink = sink
	return nil
}

// digit takes a key, as one ASCII letter.
func (s *Session) digit(key []byte, now time.Time) {
	if len(key) != 1 {
		return
	}
	d := key[0]
	if d >= 'a' && d <= 'd' {
		d -= 'a' - 'A'
	}
	switch {
	case d >= '0' && d <= '9', d >= 'A' && d <= 'D', d == '*', d == '#', d == '!':
	default:
		return
	}
	m := media.Mark{Kind: media.MarkDigit, Digit: d}
	if s.leg != nil {
		s.leg.Mark(m, now)
		return
	}
	m.Wall = now
	s.sink.Mark(m)
}

// audio takes a frame of audio.
func (s *Session) audio(f Frame, now time.Time) error {
	format := s.format
	if s.leg == nil || f.Kind != s.kind {
		s.kind, s.pace, s.guess = f.Kind, pace{}, guess{}
		switch {
		case f.Kind != KindSlin:
			format = Slin
		case s.cfg.Format != Auto:
			format = s.cfg.Format
		default:
			format = formatOf(len(f.Payload))
			s.guess.on = format == MuLaw
		}
	}
	if s.guess.on && len(f.Payload) == g711Frame {
		format = s.guess.next(s.Protocol, f.Payload)
	}
	if err := s.use(format, now); err != nil {
		return err
	}
	s.decode(f.Payload, now)
	if s.kind == KindSlin && s.cfg.Format == Auto {
		if err := s.use(s.pace.correct(len(f.Payload), s.format, now), now); err != nil {
			return err
		}
	}
	if ahead := s.heard - now.Sub(s.began); ahead > maxAhead {
		return fmt.Errorf("audiosocket: %v more audio came than time has passed; check the sample rate of kind %#02x", ahead.Round(time.Second), uint8(s.kind))
	}
	return nil
}

// use makes the media path of the present kind and a format, unless it is there.
func (s *Session) use(f Format, now time.Time) error {
	if s.leg != nil && f == s.format && s.kind == s.made {
		return nil
	}
	s.format, s.made = f, s.kind
	rate := s.kind.Rate()
	if f == Slin16 {
		rate = KindSlin16.Rate()
	}
	if s.began.IsZero() {
		s.began = now
	}
	s.makeSilence(s.kind)
	s.call.Describe(map[string]string{"audiosocket kind": fmt.Sprintf("%#02x", uint8(s.kind)), "audiosocket format": fmt.Sprintf("%v at %d Hz", f, rate)})
	if s.leg != nil && rate == s.rate {
		return nil
	}
	if s.leg != nil {
		if s.switches++; s.switches > maxSwitches {
			return fmt.Errorf("audiosocket: the sample rate has changed %d times", s.switches)
		}
		// The leg goes on under its name, at another rate.
		s.leg.End(media.End{State: media.Ended, Reason: "the sample rate changed", At: now})
		s.leg = nil
		if err := s.addLeg(); err != nil {
			s.sink = nil
			return err
		}
	}
	leg, err := feed.New(feed.Config{Sink: s.sink, Rate: rate, Idle: stall})
	if err != nil {
		return fmt.Errorf("audiosocket: %w", err)
	}
	s.leg, s.rate = leg, rate
	return nil
}

// decode hands a payload to the leg.
func (s *Session) decode(b []byte, now time.Time) {
	width := s.format.width()
	s.heard += time.Duration(len(b)/width) * time.Second / time.Duration(s.rate)
	for len(b) >= width {
		n := min(len(b)/width, chunk)
		s.linear(s.samples[:n], b, s.format)
		b = b[n*width:]
		s.leg.Append(s.samples[:n], now)
		if width == 2 && s.order.Swapped(s.samples[:n]) {
			s.call.Describe(map[string]string{"audiosocket warning": "the samples sound as if their bytes were swapped; AudioSocket's are little-endian"})
		}
	}
}

// Tick lets time pass; it comes every 20 ms. Errors are as for Bytes.
func (s *Session) Tick(now time.Time) error {
	switch quiet := now.Sub(s.last); {
	case s.ended:
		return ErrHungUp
	case s.call == nil && now.Sub(s.opened) >= s.cfg.Identify:
		return fmt.Errorf("audiosocket: no UUID within %v of the connection", s.cfg.Identify)
	case s.call != nil && quiet >= s.cfg.Idle:
		return fmt.Errorf("audiosocket: %w: no frame for %v", fork.ErrSilent, s.cfg.Idle)
	case s.call == nil:
		return nil
	}
	if s.leg != nil {
		s.leg.Tick(now)
	}
	s.sendSilence(now)
	return nil
}

func (s *Session) makeSilence(k Kind) {
	n := 2 * k.Rate() * int(frameTime/time.Millisecond) / 1000
	s.silence = AppendHeader(s.silence[:0], k, uint16(n))
	s.silence = append(s.silence, make([]byte, n)...)
}

// sendSilence keeps the pace of the wall clock: one frame each tick, where ticks
// come in time.
func (s *Session) sendSilence(now time.Time) {
	if s.cfg.Quiet {
		return
	}
	if late := now.Sub(s.due); late > 5*frameTime {
		s.due = now
	}
	for now.Sub(s.due) > -frameTime/2 {
		s.w.Write(s.silence)
		s.due = s.due.Add(frameTime)
	}
}

// HangUp ends the call with e and tells Asterisk. It returns ErrHungUp.
func (s *Session) HangUp(e media.End, now time.Time) error {
	if !s.ended {
		if e.At.IsZero() {
			e.At = now
		}
		s.w.Write(AppendHeader(nil, KindHangUp, 0))
		s.end(e)
	}
	return ErrHungUp
}

// Closed is the last call: the connection is gone, with err nil where Asterisk
// closed it in order, or where Bytes, Tick or HangUp returned ErrHungUp; with
// their error otherwise.
func (s *Session) Closed(err error, now time.Time) {
	if rest := s.parser.Rest(); err == nil && rest > 0 && !s.ended {
		err = fmt.Errorf("audiosocket: the connection ended within a frame, of which %d bytes had come", rest)
	}
	s.end(fork.EndFor(err, now))
}

// end ends leg and call, once.
func (s *Session) end(e media.End) {
	if s.ended {
		return
	}
	s.ended = true
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
