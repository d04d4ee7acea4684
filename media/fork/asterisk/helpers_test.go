package asterisk

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"sidetone/media"
	"sidetone/media/fork"
	"sidetone/media/mediatest"
)

var start = time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)

// deaf is a host whose legs keep nothing.
func deaf() *mediatest.Host {
	h := mediatest.New()
	h.Deaf = true
	return h
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
	h   *mediatest.Host
	w   *wire
	s   *Session
	now time.Time
	err error
}

func open(t *testing.T, cfg Config, query string) *rig {
	t.Helper()
	r := &rig{t: t, h: mediatest.New(), w: &wire{}, now: start}
	if cfg.Host == nil {
		cfg.Host = r.h
	} else {
		r.h = cfg.Host.(*mediatest.Host)
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
	for _, what := range r.h.Running() {
		r.t.Errorf("%s has no end", what)
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
			b, err := mediatest.Bytes(rest)
			if err != nil {
				r.t.Fatal(err)
			}
			r.binary(b)
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
		r.h.Note("sent %s", m)
	}
	if r.err != nil {
		r.h.Note("closed: %v", r.err)
	}
}
