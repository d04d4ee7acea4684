package join

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"sidetone/internal/leaktest"
	"sidetone/internal/pcm"
	"sidetone/media"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// host is a media.Host that keeps what it is told.
type host struct {
	mu     sync.Mutex
	err    error
	opened []string
	legs   []string
	ends   []media.End
	hangUp func(media.End)
	said   []string
	// entered, if any, is closed by the first Open, which then waits for leave.
	entered, leave chan struct{}
	once           sync.Once
}

func (h *host) Open(c media.Call, hangUp func(media.End)) (media.CallSink, error) {
	if h.entered != nil {
		h.once.Do(func() { close(h.entered) })
		<-h.leave
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.opened, h.hangUp = append(h.opened, c.ID), hangUp
	if h.err != nil {
		return nil, h.err
	}
	return h, nil
}

func (h *host) AddLeg(l media.Leg) (media.LegSink, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if slices.Contains(h.legs, l.ID) {
		return nil, media.ErrDuplicate
	}
	h.legs = append(h.legs, l.ID)
	return sink{}, nil
}
func (h *host) say(s string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = append(h.said, s)
}
func (h *host) UpdateLeg(l media.Leg)        { h.say("update " + l.ID) }
func (h *host) Pause(why string)             { h.say("pause " + why) }
func (h *host) Resume(why string)            { h.say("resume " + why) }
func (h *host) Describe(f map[string]string) { h.say(fmt.Sprint("describe ", f)) }
func (h *host) End(e media.End) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ends = append(h.ends, e)
}

type sink struct{}

func (sink) Frame(*pcm.Frame)              {}
func (sink) Mark(media.Mark)               {}
func (sink) End(media.End, media.LegStats) {}

func open(t *testing.T, j *Host, id string, hangUp func(media.End)) media.CallSink {
	t.Helper()
	c, err := j.Open(media.Call{ID: id}, hangUp)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCallIsSharedUntilTheLastEnds(t *testing.T) {
	h := &host{}
	j := New(h)
	var hung []string
	a := open(t, j, "c", func(media.End) { hung = append(hung, "a") })
	b := open(t, j, "c", func(media.End) { hung = append(hung, "b") })
	other := open(t, j, "d", nil)
	if !slices.Equal(h.opened, []string{"c", "d"}) {
		t.Fatalf("opened %v", h.opened)
	}
	if _, err := a.AddLeg(media.Leg{ID: "in"}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.AddLeg(media.Leg{ID: "in"}); !errors.Is(err, media.ErrDuplicate) {
		t.Errorf("a second leg of a name: %v", err)
	}
	b.UpdateLeg(media.Leg{ID: "in"})
	b.Pause("card")
	a.Resume("done")
	a.Describe(map[string]string{"k": "v"})
	if want := []string{"update in", "pause card", "resume done", "describe map[k:v]"}; !slices.Equal(h.said, want) {
		t.Errorf("the host heard %q", h.said)
	}
	a.End(media.End{Reason: "first"})
	a.End(media.End{Reason: "again"})
	if len(h.ends) != 0 {
		t.Fatalf("ended with the first: %v", h.ends)
	}
	j.calls["c"].hangUpAll(media.End{})
	if !slices.Equal(hung, []string{"b"}) {
		t.Errorf("hung up %v", hung)
	}
	b.End(media.End{Reason: "last"})
	b.End(media.End{Reason: "again"})
	if len(h.ends) != 1 || h.ends[0].Reason != "last" {
		t.Errorf("ends %v", h.ends)
	}
	other.End(media.End{})
	open(t, j, "c", nil).End(media.End{})
	if len(h.opened) != 3 || len(j.calls) != 0 {
		t.Errorf("opened %v, kept %v", h.opened, j.calls)
	}
}

func TestRefusalsAreShared(t *testing.T) {
	h := &host{err: media.ErrBusy, entered: make(chan struct{}), leave: make(chan struct{})}
	j := New(h)
	errs := make(chan error, 2)
	try := func() {
		_, err := j.Open(media.Call{ID: "c"}, nil)
		errs <- err
	}
	go try()
	<-h.entered
	go try() // waits for the first
	close(h.leave)
	for range 2 {
		if err := <-errs; !errors.Is(err, media.ErrBusy) {
			t.Errorf("got %v", err)
		}
	}
	if len(j.calls) != 0 {
		t.Errorf("kept %v", j.calls)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	j := New(&host{})
	for range maxMembers {
		open(t, j, "c", nil)
	}
	if _, err := j.Open(media.Call{ID: "c"}, nil); !errors.Is(err, media.ErrBusy) {
		t.Errorf("got %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	h := &host{}
	j := New(h)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 100 {
				c, err := j.Open(media.Call{ID: "c"}, func(media.End) {})
				if errors.Is(err, media.ErrDuplicate) {
					continue // just ending
				}
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := c.AddLeg(media.Leg{ID: fmt.Sprint(i, n)}); err != nil {
					t.Error(err)
				}
				c.End(media.End{})
			}
		})
	}
	all.Wait()
	if len(h.opened) != len(h.ends) || len(j.calls) != 0 {
		t.Errorf("opened %d, ended %d, kept %d", len(h.opened), len(h.ends), len(j.calls))
	}
}
