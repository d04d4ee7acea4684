package asterisk

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/fork"
)

var start = time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)

// host is a media.Host that writes down what it is told, and joins what opens
// the same call.
type host struct {
	mu      sync.Mutex
	lines   []string
	calls   []media.Call
	members map[string]int
	legs    []*leg
	err     error
	hangUp  func(media.End)
	ended   chan media.End
}

func newHost() *host { return &host{members: map[string]int{}, ended: make(chan media.End, 16)} }

func (h *host) note(format string, a ...any) { h.lines = append(h.lines, fmt.Sprintf(format, a...)) }

func (h *host) text() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.legs {
		l.flush()
	}
	return strings.Join(h.lines, "\n") + "\n"
}

func (h *host) Open(c media.Call, hangUp func(media.End)) (media.CallSink, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return nil, h.err
	}
	h.hangUp = hangUp
	h.members[c.ID]++
	if h.members[c.ID] == 1 {
		h.calls = append(h.calls, c)
		h.note("open %s source=%s external=%s agent=%s language=%s", c.ID, c.Source, c.External, c.Agent, c.Language)
	}
	return &call{h, c.ID}, nil
}

type call struct {
	*host
	id string
}

func (c *call) AddLeg(l media.Leg) (media.LegSink, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note("leg %s role=%v reason=%q label=%s", l.ID, l.Role, l.RoleReason, l.Label)
	s := &leg{host: c.host, id: l.ID}
	c.legs = append(c.legs, s)
	return s, nil
}
func (c *call) UpdateLeg(media.Leg) {}
func (c *call) Pause(string)        {}
func (c *call) Resume(string)       {}
func (c *call) Describe(facts map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(facts)) {
		c.note("fact %s: %s", k, facts[k])
	}
}
func (c *call) End(e media.End) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.members[c.id]--; c.members[c.id] == 0 {
		c.note("call %s ended: %v, %s", c.id, e.State, e.Reason)
		c.ended <- e
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
	l.mu.Lock()
	defer l.mu.Unlock()
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
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush()
	what := map[media.MarkKind]string{
		media.MarkStarted: "started", media.MarkDigit: "digit", media.MarkStalled: "stalled",
		media.MarkResumed: "resumed", media.MarkDiscarded: "discarded",
	}[m.Kind]
	if m.Kind == media.MarkDigit {
		what += " " + string(m.Digit)
	}
	l.note("mark %s at %d", what, m.At)
}

func (l *leg) End(e media.End, s media.LegStats) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush()
	l.ended = true
	l.note("leg %s ended: %v, received %d", l.id, e.State, s.Received)
}

// wire keeps what the session writes.
type wire struct {
	texts []string
	hung  []media.End
}

func (w *wire) Text(b []byte)      { w.texts = append(w.texts, string(b)) }
func (w *wire) Binary([]byte)      { w.texts = append(w.texts, "binary") }
func (w *wire) Close(int, string)  { w.texts = append(w.texts, "close") }
func (w *wire) HangUp(e media.End) { w.hung = append(w.hung, e) }

type rig struct {
	t   *testing.T
	h   *host
	w   *wire
	s   *Session
	now time.Time
	err error
}

func open(t *testing.T, cfg Config, query string) *rig {
	t.Helper()
	r := &rig{t: t, h: newHost(), w: &wire{}, now: start}
	if cfg.Host == nil {
		cfg.Host = r.h
	} else {
		r.h = cfg.Host.(*host)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	q, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	if r.s, err = p.Open(q, r.w, r.now); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) text(m string) {
	if r.err == nil {
		r.err = r.s.Text([]byte(m), r.now)
	}
}

func (r *rig) binary(b []byte) {
	if r.err == nil {
		r.err = r.s.Binary(b, r.now)
	}
}

// sleep lets time pass in ticks of 20 ms.
func (r *rig) sleep(d time.Duration) {
	for end := r.now.Add(d); r.now.Before(end) && r.err == nil; {
		r.now = r.now.Add(min(20*time.Millisecond, end.Sub(r.now)))
		r.err = r.s.Tick(r.now)
	}
}

func (r *rig) stream(payload func(i int) []byte, n int) {
	for i := range n {
		r.binary(payload(i))
		r.sleep(20 * time.Millisecond)
	}
}

// close does what the server does at the end.
func (r *rig) close() {
	r.s.Closed(r.err, r.now)
	for _, l := range r.h.legs {
		if !l.ended {
			r.t.Errorf("leg %s has no end", l.id)
		}
	}
	for id, n := range r.h.members {
		if n != 0 {
			r.t.Errorf("call %s has %d members without an end", id, n)
		}
	}
}

// closeCode is the code of the session's error.
func (r *rig) closeCode() int {
	if r.err == nil {
		return 0
	}
	return fork.CloseFor(r.err).Code
}

// play runs a script of testdata: "text " begins a text message, which goes on
// in lines that begin with a tab; "binary " is followed by hexadecimal bytes, of
// which XX*N stands for N times XX; "wait 20ms" lets time pass; "lost" breaks
// the connection. # begins a comment.
func (r *rig) play(script string) {
	r.t.Helper()
	lines := strings.Split(script, "\n")
	for i := 0; i < len(lines); i++ {
		what, rest, _ := strings.Cut(lines[i], " ")
		switch what {
		case "text":
			for i+1 < len(lines) && strings.HasPrefix(lines[i+1], "\t") {
				i++
				rest += "\n" + lines[i]
			}
			r.text(rest)
		case "binary":
			r.binary(unhex(r.t, rest))
		case "wait":
			d, err := time.ParseDuration(rest)
			if err != nil {
				r.t.Fatal(err)
			}
			r.sleep(d)
		case "lost":
			r.err = errors.New("the connection was lost")
		case "", "#":
		default:
			r.t.Fatalf("line %d: %q", i+1, lines[i])
		}
	}
	r.close()
	for _, m := range r.w.texts {
		r.h.note("sent %s", m)
	}
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
