package audiosocket

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"sidetone/internal/pcm"
	"sidetone/media"
)

const uuidText = "0549ec21-a181-4339-8ae7-f935be7bb040"

var start = time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)

// host is a media.Host that writes down what it is told. One call at a time may
// have a name.
type host struct {
	lines   []string
	running map[string]bool
	calls   []media.Call
	hangUp  func(media.End)
	err     error
	legs    []*leg
}

func (h *host) note(format string, a ...any) { h.lines = append(h.lines, fmt.Sprintf(format, a...)) }

func (h *host) text() string {
	for _, l := range h.legs {
		l.flush()
	}
	return strings.Join(h.lines, "\n") + "\n"
}

func (h *host) Open(c media.Call, hangUp func(media.End)) (media.CallSink, error) {
	if h.err != nil {
		return nil, h.err
	}
	if h.running[c.ID] {
		return nil, fmt.Errorf("call %s: %w", c.ID, media.ErrDuplicate)
	}
	if h.running == nil {
		h.running = map[string]bool{}
	}
	h.running[c.ID] = true
	h.calls, h.hangUp = append(h.calls, c), hangUp
	h.note("open %s source=%s external=%s agent=%s", c.ID, c.Source, c.External, c.Agent)
	return &call{h, c.ID}, nil
}

type call struct {
	*host
	id string
}

func (c *call) AddLeg(l media.Leg) (media.LegSink, error) {
	c.note("leg %s role=%v reason=%q", l.ID, l.Role, l.RoleReason)
	s := &leg{host: c.host, id: l.ID}
	c.legs = append(c.legs, s)
	return s, nil
}
func (c *call) UpdateLeg(media.Leg) {}
func (c *call) Pause(string)        {}
func (c *call) Resume(string)       {}
func (c *call) Describe(facts map[string]string) {
	for _, k := range []string{"audiosocket kind", "audiosocket format", "audiosocket warning"} {
		if v, ok := facts[k]; ok {
			c.note("fact %s: %s", k, v)
		}
	}
}
func (c *call) End(e media.End) {
	if c.running[c.id] {
		delete(c.running, c.id)
		c.note("call %s ended: %v, %s", c.id, e.State, e.Reason)
	}
}

// leg sums up the frames between other events.
type leg struct {
	*host
	id              string
	frames, silent  int
	from, next      int64
	peak            int16
	all             []int16
	total, inserted int
	ended           bool
}

func (l *leg) Frame(f *pcm.Frame) {
	if l.frames == 0 {
		l.from = f.Start
	}
	l.frames++
	l.total++
	l.next = f.End()
	if f.Flags&pcm.Inserted != 0 {
		l.silent++
		l.inserted++
	}
	for _, x := range f.Samples {
		l.peak = max(l.peak, x)
	}
	if len(l.all) < 5*pcm.Rate {
		l.all = append(l.all, f.Samples[:]...)
	}
}

func (l *leg) flush() {
	if l.frames > 0 {
		l.note("frames %d from %d, inserted %d, peak %d", l.frames, l.from, l.silent, l.peak)
	}
	l.frames, l.silent, l.peak = 0, 0, 0
}

func (l *leg) Mark(m media.Mark) {
	l.flush()
	what := map[media.MarkKind]string{
		media.MarkStarted: "started", media.MarkDigit: "digit", media.MarkStalled: "stalled", media.MarkResumed: "resumed",
	}[m.Kind]
	if m.Kind == media.MarkDigit {
		what += " " + string(m.Digit)
	}
	l.note("mark %s at %d", what, m.At)
}

func (l *leg) End(e media.End, s media.LegStats) {
	l.flush()
	l.ended = true
	l.note("leg %s ended: %v, received %d", l.id, e.State, s.Received)
}

// wire keeps what the session writes.
type wire struct {
	frames [][]byte
	hung   []media.End
}

func (w *wire) Write(b []byte)     { w.frames = append(w.frames, append([]byte(nil), b...)) }
func (w *wire) HangUp(e media.End) { w.hung = append(w.hung, e) }

func frame(k Kind, payload []byte) []byte {
	return append(AppendHeader(nil, k, uint16(len(payload))), payload...)
}

func uuidFrame() []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(uuidText, "-", ""))
	if err != nil {
		panic(err)
	}
	return frame(KindUUID, b)
}

// tone is 16-bit little-endian samples of a tone of 400 Hz, from sample from.
func tone(rate, from, n int) []byte {
	var b []byte
	for i := range n {
		x := 8000 * math.Sin(2*math.Pi*400*float64(from+i)/float64(rate))
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(x)))
	}
	return b
}

// swing is how often a leg's audio crosses zero upwards in a second, the
// resampler's first 20 ms left out.
func swing(l *leg) float64 {
	n, x := 0, l.all[pcm.FrameSamples:]
	for i := 1; i < len(x); i++ {
		if x[i-1] < 0 && x[i] >= 0 {
			n++
		}
	}
	return float64(n) * pcm.Rate / float64(len(x))
}

type rig struct {
	t *testing.T
	h *host
	w *wire
	s *Session
	// now moves with sleep, which ticks.
	now time.Time
	err error
}

func open(t *testing.T, cfg Config) *rig {
	t.Helper()
	r := &rig{t: t, h: &host{}, w: &wire{}, now: start}
	if cfg.Host == nil {
		cfg.Host = r.h
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.s = p.Open(r.w, r.now)
	return r
}

// take gives bytes to the session; the first error counts.
func (r *rig) take(b ...byte) {
	if r.err == nil {
		r.err = r.s.Bytes(b, r.now)
	}
}

// sleep lets time pass in ticks of 20 ms.
func (r *rig) sleep(d time.Duration) {
	for end := r.now.Add(d); r.now.Before(end) && r.err == nil; {
		r.now = r.now.Add(min(20*time.Millisecond, end.Sub(r.now)))
		r.err = r.s.Tick(r.now)
	}
}

// stream sends frames of audio at the pace of the packet time.
func (r *rig) stream(k Kind, payload func(i int) []byte, n int, each time.Duration) {
	for i := range n {
		r.take(frame(k, payload(i))...)
		r.sleep(each)
	}
}

// close does what a runner does at the end.
func (r *rig) close() {
	err := r.err
	if errors.Is(err, ErrHungUp) {
		err = nil
	}
	r.s.Closed(err, r.now)
	for _, l := range r.h.legs {
		if !l.ended {
			r.t.Errorf("leg %s has no end", l.id)
		}
	}
	if len(r.h.running) > 0 {
		r.t.Errorf("calls without an end: %v", r.h.running)
	}
}

// play runs a script of testdata: lines of hexadecimal bytes, of which XX*N
// stands for N times the byte XX; "wait 20ms" lets time pass; "end" closes the
// connection. # begins a comment.
func (r *rig) play(script string) {
	r.t.Helper()
	for line := range strings.Lines(script) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if d, ok := strings.CutPrefix(line, "wait "); ok {
			wait, err := time.ParseDuration(d)
			if err != nil {
				r.t.Fatal(err)
			}
			r.sleep(wait)
			continue
		}
		r.take(unhex(r.t, line)...)
	}
	r.close()
	if r.err != nil {
		r.h.note("closed: %v", r.err)
	}
}

func unhex(t *testing.T, line string) (b []byte) {
	t.Helper()
	for _, word := range strings.Fields(line) {
		digits, times, repeated := strings.Cut(word, "*")
		part, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		n := 1
		if repeated {
			if n, err = strconv.Atoi(times); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
		}
		for range n {
			b = append(b, part...)
		}
	}
	return b
}

type nothing struct{}

func (nothing) Write([]byte)     {}
func (nothing) HangUp(media.End) {}

type discard struct{}

func (discard) Frame(*pcm.Frame)              {}
func (discard) Mark(media.Mark)               {}
func (discard) End(media.End, media.LegStats) {}
