package audiosocket

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"sidetone/media"
	"sidetone/media/mediatest"
)

const uuidText = "0549ec21-a181-4339-8ae7-f935be7bb040"

var start = time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)

// deaf is a host whose legs keep nothing.
func deaf() *mediatest.Host {
	h := mediatest.New()
	h.Deaf = true
	return h
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

type rig struct {
	t *testing.T
	h *mediatest.Host
	w *wire
	s *Session
	// now moves with sleep, which ticks.
	now time.Time
	err error
}

func open(t *testing.T, cfg Config) *rig {
	t.Helper()
	r := &rig{t: t, h: mediatest.New(), w: &wire{}, now: start}
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
	for _, what := range r.h.Running() {
		r.t.Errorf("%s has no end", what)
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
		b, err := mediatest.Bytes(line)
		if err != nil {
			r.t.Fatal(err)
		}
		r.take(b...)
	}
	r.close()
	if r.err != nil {
		r.h.Note("closed: %v", r.err)
	}
}

type nothing struct{}

func (nothing) Write([]byte)     {}
func (nothing) HangUp(media.End) {}
