package audiohook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sidetone/internal/leaktest"
	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/fork"
	"sidetone/media/fork/audiohook/httpsig"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const (
	sessionID      = "0b8c4f1e-2f0d-4a7c-8f59-5d0c2f6e9a01"
	organizationID = "6f6a1c1e-5a8b-4a38-9a55-0d3b5c8a7e10"
	conversationID = "9d1e7c52-3b44-4b5e-9a6f-1c2d3e4f5a6b"

	both     = `{"type":"audio","format":"PCMU","channels":["external","internal"],"rate":8000}`
	inverted = `{"type":"audio","format":"PCMU","channels":["internal","external"],"rate":8000}`
	external = `{"type":"audio","format":"PCMU","channels":["external"],"rate":8000}`
	internal = `{"type":"audio","format":"PCMU","channels":["internal"],"rate":8000}`
	linear   = `{"type":"audio","format":"L16","channels":["external","internal"],"rate":8000}`
)

var epoch = time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)

// host is a media.Host that records its calls.
type host struct {
	t testing.TB
	// openErr and legErr are what Open and AddLeg fail with; opening is called
	// before Open returns.
	openErr, legErr error
	opening         func()

	mu    sync.Mutex
	calls []*call
}

// call is a media.CallSink that records what happens, and holds its source to
// the contract.
type call struct {
	h      *host
	info   media.Call
	hangUp func(media.End)

	mu     sync.Mutex
	legs   []*sink
	facts  map[string]string
	events []string // pause and resume
	ends   []media.End
}

type sink struct {
	c      *call
	leg    media.Leg
	frames []pcm.Frame
	marks  []media.Mark
	ends   []media.End
}

func (h *host) Open(c media.Call, hangUp func(media.End)) (media.CallSink, error) {
	if h.opening != nil {
		h.opening()
	}
	if h.openErr != nil {
		return nil, h.openErr
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	n := &call{h: h, info: c, hangUp: hangUp, facts: map[string]string{}}
	h.calls = append(h.calls, n)
	return n, nil
}

func (c *call) AddLeg(l media.Leg) (media.LegSink, error) {
	if c.h.legErr != nil && len(c.legs) > 0 {
		return nil, c.h.legErr
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &sink{c: c, leg: l}
	c.legs = append(c.legs, s)
	return s, nil
}

func (c *call) UpdateLeg(l media.Leg) { c.h.t.Errorf("leg %q is updated", l.ID) }
func (c *call) Pause(reason string)   { c.event("pause: " + reason) }
func (c *call) Resume(reason string)  { c.event("resume: " + reason) }

func (c *call) event(e string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, e)
}

func (c *call) Describe(facts map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, v := range facts {
		c.facts[k] = v
	}
}

func (c *call) End(e media.End) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.legs {
		if len(l.ends) != 1 {
			c.h.t.Errorf("leg %q has ended %d times at the call's end", l.leg.ID, len(l.ends))
		}
	}
	if e.State == 0 || e.At.IsZero() {
		c.h.t.Errorf("the call ends with %+v", e)
	}
	c.ends = append(c.ends, e)
}

func (s *sink) Frame(f *pcm.Frame) {
	if len(s.ends) > 0 {
		s.c.h.t.Error("a frame after the leg's end")
	}
	s.frames = append(s.frames, *f)
}

func (s *sink) Mark(m media.Mark)                   { s.marks = append(s.marks, m) }
func (s *sink) End(e media.End, _ media.LegStats)   { s.ends = append(s.ends, e) }
func (s *sink) heard(i int) int16                   { return s.frames[i].Samples[pcm.FrameSamples/2] }
func (s *sink) marked(k media.MarkKind) (n []int64) { return marksOf(s.marks, k) }

func marksOf(all []media.Mark, k media.MarkKind) (at []int64) {
	for _, m := range all {
		if m.Kind == k {
			at = append(at, m.At)
		}
	}
	return at
}

// leg is the call's leg of a channel.
func (c *call) leg(id string) *sink {
	c.h.t.Helper()
	for _, s := range c.legs {
		if s.leg.ID == id {
			return s
		}
	}
	c.h.t.Fatalf("no leg %q", id)
	return nil
}

// only is the one call that the host has.
func (h *host) only() *call {
	h.t.Helper()
	if len(h.calls) != 1 {
		h.t.Fatalf("%d calls, want 1", len(h.calls))
	}
	return h.calls[0]
}

// writer is a fork.Writer that records.
type writer struct {
	texts  []string
	closes []int
	hung   []media.End
}

func (w *writer) Text(b []byte)            { w.texts = append(w.texts, string(b)) }
func (w *writer) Binary([]byte)            { panic("AudioHook's server sends no audio") }
func (w *writer) Close(code int, _ string) { w.closes = append(w.closes, code) }
func (w *writer) HangUp(e media.End)       { w.hung = append(w.hung, e) }

// reply is a message of the server.
type reply struct {
	Version, Type, ID string
	Seq, ClientSeq    int64
	Parameters        struct {
		Reason, Info       string
		Media              []json.RawMessage
		SupportedLanguages []string
	}
}

// peer is a client without a socket.
type peer struct {
	t    testing.TB
	host *host
	a    *Adapter
	s    *Session
	w    *writer
	log  *bytes.Buffer
	now  time.Time

	seq, serverSeq int64
	position       string
	// err is the last of the session.
	err error
}

// request is what an unsigned client asks with.
func request() httpsig.Request {
	return httpsig.Request{Method: "GET", Target: "/audiohook", Host: "ears.example.test", Header: map[string][]string{
		"Audiohook-Organization-Id": {organizationID}, "Audiohook-Session-Id": {sessionID},
		"Audiohook-Correlation-Id": {"e3b7a1c2-77d4-4c0e-9b1f-aa02d9c4f533"},
	}}
}

// newPeer connects; change, if any, may set the adapter's configuration.
func newPeer(t testing.TB, change func(c *Config, h *host, r *httpsig.Request)) *peer {
	t.Helper()
	p := &peer{t: t, host: &host{t: t}, w: &writer{}, log: &bytes.Buffer{}, now: epoch, position: "PT0S"}
	noTime := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	cfg := Config{Host: p.host, Log: slog.New(slog.NewTextHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: noTime}))}
	r := request()
	if change != nil {
		change(&cfg, p.host, &r)
	}
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.a, p.s = a, a.Open(r, "agent-7", p.w, p.now)
	return p
}

// envelope writes a message of the client.
func envelope(kind string, seq, serverSeq int64, position, params string) string {
	return fmt.Sprintf(`{"version":"2","type":%q,"id":%q,"seq":%d,"serverseq":%d,"position":%q,"parameters":%s}`,
		kind, sessionID, seq, serverSeq, position, params)
}

// send sends a message and returns what came back.
func (p *peer) send(kind, params string) []reply {
	p.t.Helper()
	p.seq++
	return p.text(envelope(kind, p.seq, p.serverSeq, p.position, params))
}

func (p *peer) text(message string) []reply {
	p.t.Helper()
	p.err = p.s.Text([]byte(message), p.now)
	return p.got()
}

func (p *peer) audio(b []byte) []reply {
	p.t.Helper()
	p.err = p.s.Binary(b, p.now)
	return p.got()
}

// got takes what the server has sent, and checks its counters.
func (p *peer) got() []reply {
	p.t.Helper()
	var all []reply
	for _, text := range p.w.texts {
		var r reply
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			p.t.Fatalf("%s: %v", text, err)
		}
		p.serverSeq++
		if r.Version != "2" || r.Seq != p.serverSeq {
			p.t.Errorf("version %q, seq %d; want 2 and %d: %s", r.Version, r.Seq, p.serverSeq, text)
		}
		all = append(all, r)
	}
	p.w.texts = nil
	return all
}

// pass lets time pass in ticks.
func (p *peer) pass(d time.Duration) []reply {
	p.t.Helper()
	for range d / (20 * time.Millisecond) {
		p.now = p.now.Add(20 * time.Millisecond)
		if err := p.s.Tick(p.now); err != nil {
			p.err = err
		}
	}
	return p.got()
}

func openParams(conversation, more string, offers ...string) string {
	return fmt.Sprintf(`{"organizationId":%q,"conversationId":%q,"participant":{"id":"44aa0c1e-0000-4000-8000-5d0c2f6e9a01","ani":"+4930111222","aniName":"A. Caller","dnis":"+498005550"},"media":[%s]%s}`,
		organizationID, conversation, strings.Join(offers, ","), more)
}

// open opens the session with the offers and wants it opened.
func (p *peer) open(offers ...string) *peer {
	p.t.Helper()
	want(p.t, p.send("open", openParams(conversationID, "", offers...)), "opened")
	return p
}

// opened is a peer with an open session.
func opened(t testing.TB, offers ...string) *peer {
	t.Helper()
	return newPeer(t, nil).open(offers...)
}

// want holds the types of replies, with the reason of a disconnect.
func want(t testing.TB, got []reply, types ...string) {
	t.Helper()
	var have []string
	for _, r := range got {
		kind := r.Type
		if kind == "disconnect" {
			kind += " " + r.Parameters.Reason
			if len(r.Parameters.Info) < 10 {
				t.Errorf("disconnect says only %q", r.Parameters.Info)
			}
		}
		have = append(have, kind)
	}
	if !slices.Equal(have, types) {
		t.Fatalf("the server sent %q %+v, want %q", have, got, types)
	}
}

// ended holds the one end of the one call.
func (p *peer) ended(state media.EndState, reason string) {
	p.t.Helper()
	ends := p.host.only().ends
	if len(ends) != 1 || ends[0].State != state || !strings.Contains(ends[0].Reason, reason) {
		p.t.Errorf("the call ended %+v, want once as %v because of %q", ends, state, reason)
	}
}

// tone is d of audio in PCMU for each channel: the codes by turns.
func tone(d time.Duration, codes ...byte) []byte {
	return bytes.Repeat(codes, int(d*rate/time.Second))
}

const (
	high  = 0x80 // +32124 in PCMU
	low   = 0x00 // -32124
	quiet = 0xFF
)

var _ fork.Writer = (*writer)(nil)
