package twilio

import (
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sidetone/internal/leaktest"
	"sidetone/internal/pcm"
	"sidetone/media"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// opened is when the sessions of tests are made.
var opened = time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)

// host records what calls are brought to it.
type host struct {
	mu     sync.Mutex
	refuse error // of Open
	lines  []string
	legs   map[string]*legSink
	ended  []media.End
	calls  []media.Call
	hangUp func(media.End)
	facts  map[string]string
}

func (h *host) note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, fmt.Sprintf(format, args...))
}

func (h *host) text() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.lines, "\n") + "\n"
}

func (h *host) Open(c media.Call, hangUp func(media.End)) (media.CallSink, error) {
	if h.refuse != nil {
		return nil, h.refuse
	}
	h.note("call %q agent %q source %q external %q direction %v language %q", c.ID, c.Agent, c.Source, c.External, c.Direction, c.Language)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls, h.hangUp = append(h.calls, c), hangUp
	if h.legs == nil {
		h.legs = map[string]*legSink{}
	}
	return h, nil
}

func (h *host) AddLeg(l media.Leg) (media.LegSink, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.legs[l.ID] != nil {
		return nil, media.ErrDuplicate
	}
	s := &legSink{host: h, leg: l}
	h.legs[l.ID] = s
	h.lines = append(h.lines, fmt.Sprintf("leg %q label %q role %v (%s) identity %q mixed %v", l.ID, l.Label, l.Role, l.RoleReason, l.Identity, l.Mixed))
	return s, nil
}

func (h *host) UpdateLeg(media.Leg) {}
func (h *host) Pause(string)        {}
func (h *host) Resume(string)       {}

func (h *host) Describe(facts map[string]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.facts == nil {
		h.facts = map[string]string{}
	}
	maps.Copy(h.facts, facts)
	for _, k := range slices.Sorted(maps.Keys(facts)) {
		h.lines = append(h.lines, fmt.Sprintf("fact %s = %q", k, facts[k]))
	}
}

func (h *host) End(e media.End) {
	h.note("call ends: %v, %s", e.State, e.Reason)
	h.ended = append(h.ended, e)
}

// legSink keeps a leg's samples where they belong.
type legSink struct {
	host   *host
	leg    media.Leg
	frames []pcm.Frame
	marks  []media.Mark
	ends   int
	quiet  bool
	heard  int
}

func (l *legSink) Frame(f *pcm.Frame) {
	if l.heard++; !l.quiet {
		l.frames = append(l.frames, *f)
	}
}

func (l *legSink) Mark(m media.Mark) {
	if !l.quiet {
		l.host.note("%s: mark %d %q at %d", l.leg.ID, m.Kind, m.Digit, m.At)
	}
	l.marks = append(l.marks, m)
}

func (l *legSink) End(e media.End, s media.LegStats) {
	sum, inserted := crc32.NewIEEE(), 0
	for i := range l.frames {
		for _, x := range l.frames[i].Samples {
			_, _ = sum.Write([]byte{byte(x), byte(x >> 8)})
		}
		if l.frames[i].Flags == pcm.Inserted {
			inserted++
		}
	}
	at := int64(0)
	if len(l.frames) > 0 {
		at = l.frames[0].Start
	}
	l.host.note("%s: ends %v after %d frames from %d to %d, %d inserted, crc %08x, %d late", l.leg.ID, e.State, len(l.frames), at, l.end(), inserted, sum.Sum32(), s.Late)
	l.ends++
}

// end is the position after the last frame.
func (l *legSink) end() int64 {
	if len(l.frames) == 0 {
		return 0
	}
	return l.frames[len(l.frames)-1].End()
}

// samples are a leg's samples in order; frames must follow each other.
func (l *legSink) samples(t *testing.T) []int16 {
	t.Helper()
	var out []int16
	for i := range l.frames {
		if l.frames[i].Start != int64(len(out)) {
			t.Fatalf("frame %d starts at %d, want %d", i, l.frames[i].Start, len(out))
		}
		out = append(out, l.frames[i].Samples[:]...)
	}
	return out
}

// wire is the other side: it records what the session sends.
type wire struct {
	closes []string
	hungUp []media.End
}

func (w *wire) Text([]byte)        {}
func (w *wire) Binary([]byte)      {}
func (w *wire) HangUp(e media.End) { w.hungUp = append(w.hungUp, e) }
func (w *wire) Close(code int, reason string) {
	w.closes = append(w.closes, fmt.Sprintf("%d %s", code, reason))
}

// rig is a session under test.
type rig struct {
	t    testing.TB
	host *host
	wire *wire
	s    *Session
	now  time.Time
	log  strings.Builder
}

func newRig(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, host: &host{}, wire: &wire{}, now: opened}
	cfg := Config{Host: r.host, Out: r.wire, Log: slog.New(slog.NewTextHandler(&r.log, nil)), Name: "generated-1"}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg, r.now)
	if err != nil {
		t.Fatal(err)
	}
	r.s = s
	return r
}

// wait lets time pass, with a tick every 20 ms.
func (r *rig) wait(d time.Duration) error {
	for ; d > 0; d -= 20 * time.Millisecond {
		r.now = r.now.Add(min(d, 20*time.Millisecond))
		if err := r.s.Tick(r.now); err != nil {
			return err
		}
	}
	return nil
}

func (r *rig) text(format string, args ...any) error {
	return r.s.Text(fmt.Appendf(nil, format, args...), r.now)
}

// must passes messages that the session has to take.
func (r *rig) must(messages ...string) {
	r.t.Helper()
	for _, m := range messages {
		if err := r.s.Text([]byte(m), r.now); err != nil {
			r.t.Fatalf("%.120s: %v", m, err)
		}
	}
}

const (
	hello     = `{"event":"connected","protocol":"Call","version":"1.0.0"}`
	startBoth = `{"event":"start","sequenceNumber":"1","streamSid":"MZ1","start":{"streamSid":"MZ1","accountSid":"AC1","callSid":"CA1","tracks":["inbound","outbound"],"customParameters":{},"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}}}`
	startOne  = `{"event":"start","sequenceNumber":"1","streamSid":"MZ1","start":{"streamSid":"MZ1","accountSid":"AC1","callSid":"CA1","tracks":["inbound"],"customParameters":{},"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}}}`
	stop      = `{"event":"stop","sequenceNumber":"999","streamSid":"MZ1","stop":{"accountSid":"AC1","callSid":"CA1"}}`
)

// chunkOf is a media message of 20 ms whose mu-law bytes are all fill.
func chunkOf(track string, n, ms int, fill byte) string {
	payload := make([]byte, 160)
	for i := range payload {
		payload[i] = fill
	}
	return mediaOf(track, n, int64(ms), payload)
}

func mediaOf(track string, n int, ms int64, payload []byte) string {
	return fmt.Sprintf(`{"event":"media","sequenceNumber":"%d","streamSid":"MZ1","media":{"track":"%s","chunk":"%d","timestamp":"%d","payload":"%s"}}`,
		n+1, track, n, ms, base64.StdEncoding.EncodeToString(payload))
}

// step is a line of a golden vector: what happens so long after the line before.
type step struct {
	after time.Duration
	what  string
	data  []byte
}

// vectors are the golden vectors by their names.
func vectors(t testing.TB) map[string][]step {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden vectors: %v", err)
	}
	out := map[string][]step{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var steps []step
		for line := range strings.Lines(string(b)) {
			after, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			what, data, _ := strings.Cut(rest, " ")
			ms, err := strconv.Atoi(after)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			s := step{time.Duration(ms) * time.Millisecond, what, []byte(data)}
			if what == "base64" {
				if s.data, err = base64.StdEncoding.DecodeString(data); err != nil {
					t.Fatalf("%s: %v", path, err)
				}
			}
			steps = append(steps, s)
		}
		out[strings.TrimSuffix(filepath.Base(path), ".txt")] = steps
	}
	return out
}

// play runs a vector up to its end or the first error.
func (r *rig) play(steps []step) error {
	for _, s := range steps {
		if err := r.wait(s.after); err != nil {
			return err
		}
		var err error
		switch s.what {
		case "text":
			err = r.s.Text(s.data, r.now)
		case "base64":
			err = r.s.Binary(s.data, r.now)
		case "closed":
			r.s.Closed(nil, r.now)
		case "lost":
			r.s.Closed(errors.New("connection reset"), r.now)
		default:
			r.t.Fatalf("a vector has a step %q", s.what)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
