package freeswitch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/fork"
)

var epoch = time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)

// host is a media.Host that keeps what it is told, as lines and as samples.
type host struct {
	mu     sync.Mutex
	lines  []string
	calls  []media.Call
	hangUp func(media.End)
	refuse error // of Open
	noLeg  error // of AddLeg
	legs   map[string]*sink
}

func (h *host) Open(c media.Call, hangUp func(media.End)) (media.CallSink, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuse != nil {
		return nil, h.refuse
	}
	h.calls, h.hangUp = append(h.calls, c), hangUp
	h.say("open %s from %s, external %q, agent %q, %v, language %q", c.ID, c.Source, c.External, c.Agent, c.Direction, c.Language)
	return &callSink{h}, nil
}

func (h *host) say(format string, args ...any) {
	h.lines = append(h.lines, fmt.Sprintf(format, args...))
}

func (h *host) told() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.lines, "\n")
}

type callSink struct{ *host }

func (c *callSink) AddLeg(l media.Leg) (media.LegSink, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.noLeg != nil {
		return nil, c.noLeg
	}
	c.say("leg %s: label %q, %v (%s), %q %q, mixed %t, party %v", l.ID, l.Label, l.Role, l.RoleReason, l.Identity, l.Name, l.Mixed, l.Party)
	if c.legs == nil {
		c.legs = map[string]*sink{}
	}
	s := &sink{h: c.host, id: l.ID}
	c.legs[l.ID] = s
	return s, nil
}

func (c *callSink) UpdateLeg(media.Leg) {}
func (c *callSink) Pause(string)        {}
func (c *callSink) Resume(string)       {}

func (c *callSink) Describe(f map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(f)) {
		c.say("fact %s = %s", k, f[k])
	}
}

func (c *callSink) End(e media.End) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.say("end: %v, %s", e.State, e.Reason)
}

type sink struct {
	h       *host
	id      string
	samples []int16
	stats   media.LegStats
	// silent are the frames that were inserted.
	silent int
}

func (s *sink) Frame(f *pcm.Frame) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.samples = append(s.samples, f.Samples[:]...)
	if f.Flags&pcm.Inserted != 0 {
		s.silent++
	}
}

func (s *sink) Mark(m media.Mark) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.h.say("mark %d on %s at %d %q", m.Kind, s.id, m.At, string(rune(m.Digit)))
}

func (s *sink) End(e media.End, st media.LegStats) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	level := int16(0)
	if n := len(s.samples); n > 0 {
		level = s.samples[n/2]
	}
	s.stats = st
	s.h.say("leg %s ends: %v, %s; %d samples at %d", s.id, e.State, e.Reason, len(s.samples), level)
}

// writer is a fork.Writer that keeps the texts.
type writer struct{ texts []string }

func (w *writer) Text(m []byte)      { w.texts = append(w.texts, string(m)) }
func (w *writer) Binary([]byte)      {}
func (w *writer) Close(int, string)  {}
func (w *writer) HangUp(e media.End) {}

// bench is one protocol's side with its clock.
type bench struct {
	t     testing.TB
	host  *host
	calls *Calls
	now   time.Time
	log   *strings.Builder
}

func newBench(t testing.TB, edit func(*Config)) *bench {
	t.Helper()
	b := &bench{t: t, host: &host{}, now: epoch, log: &strings.Builder{}}
	n := 0
	cfg := Config{
		Host: b.host, Log: slog.New(slog.NewTextHandler(b.log, nil)),
		NewID: func() string { n++; return fmt.Sprintf("new-%d", n) },
	}
	if edit != nil {
		edit(&cfg)
	}
	var err error
	if b.calls, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return b
}

// connection is a session that is open.
type connection struct {
	*bench
	*Session
	w *writer
}

func (b *bench) connect(rawQuery, offered string) *connection {
	b.t.Helper()
	q, err := url.ParseQuery(rawQuery)
	if err != nil {
		b.t.Fatal(err)
	}
	w := &writer{}
	s, err := b.calls.Open(Request{Query: q, Offered: offered, Remote: "192.0.2.7:5060"}, w, b.now)
	if err != nil {
		b.t.Fatal(err)
	}
	return &connection{b, s, w}
}

func (c *connection) text(m string) {
	c.t.Helper()
	if err := c.Text([]byte(m), c.now); err != nil {
		c.t.Fatalf("%s: %v", m, err)
	}
}

func (c *connection) binary(m []byte) {
	c.t.Helper()
	if err := c.Binary(m, c.now); err != nil {
		c.t.Fatal(err)
	}
}

// play sends 20 ms messages of constant levels for so long.
func (c *connection) play(d time.Duration, rate int, levels ...int16) {
	c.t.Helper()
	m := steady(rate/50, levels...)
	for end := c.now.Add(d); c.now.Before(end); {
		c.binary(m)
		c.wait(20 * time.Millisecond)
	}
}

// wait lets time pass; no tick may fail.
func (c *connection) wait(d time.Duration) {
	c.t.Helper()
	if err := c.pass(d); err != nil {
		c.t.Fatal(err)
	}
}

// pass lets time pass until a tick closes the connection.
func (c *connection) pass(d time.Duration) error {
	for end := c.now.Add(d); c.now.Before(end); {
		c.now = c.now.Add(20 * time.Millisecond)
		if err := c.Tick(c.now); err != nil {
			return err
		}
	}
	return nil
}

// steady is n samples of each level in turn.
func steady(n int, levels ...int16) []byte {
	var b []byte
	for range n {
		for _, l := range levels {
			b = binary.LittleEndian.AppendUint16(b, uint16(l))
		}
	}
	return b
}

// has fails unless the host was told each line.
func (b *bench) has(lines ...string) {
	b.t.Helper()
	told := b.host.told()
	for _, l := range lines {
		if !strings.Contains(told, l) {
			b.t.Errorf("the host was not told %q but\n%s", l, told)
		}
	}
}

// code is the close code of an error.
func code(err error) int {
	if err == nil {
		return 0
	}
	return fork.CloseFor(err).Code
}

var errLost = errors.New("read: connection reset by peer")

// mustQuery reads what it can of a query.
func mustQuery(s string) url.Values {
	q, err := url.ParseQuery(s)
	if err != nil {
		return url.Values{}
	}
	return q
}
