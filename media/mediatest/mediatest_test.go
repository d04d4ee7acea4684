package mediatest

import (
	"errors"
	"slices"
	"testing"

	"sidetone/internal/leaktest"
	"sidetone/internal/pcm"
	"sidetone/media"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// begin opens a call with one leg.
func begin(t *testing.T, h *Host) (media.CallSink, media.LegSink) {
	t.Helper()
	c, err := h.Open(media.Call{ID: "c1", Source: "test", Agent: "maria"}, func(media.End) {})
	if err != nil {
		t.Fatal(err)
	}
	l, err := c.AddLeg(media.Leg{ID: "a", Label: "left", Mixed: true, Party: media.Caller})
	if err != nil {
		t.Fatal(err)
	}
	return c, l
}

func TestHostWritesDown(t *testing.T) {
	h := New()
	c, l := begin(t, h)
	c.UpdateLeg(media.Leg{ID: "a", Role: media.RoleAgent, RoleReason: "said so", Identity: "sip:2207@pbx.example", Name: "Maria"})
	c.Describe(map[string]string{"b": "2", "a": "1"})
	l.Mark(media.Mark{Kind: media.MarkStarted})
	l.Frame(&pcm.Frame{Samples: [pcm.FrameSamples]int16{5: 900}})
	l.Frame(&pcm.Frame{Start: pcm.FrameSamples, Flags: pcm.Inserted})
	l.Mark(media.Mark{Kind: media.MarkDigit, Digit: '7', At: 2 * pcm.FrameSamples})
	c.Pause("a card")
	c.Resume("a card")
	l.Frame(&pcm.Frame{Start: 2 * pcm.FrameSamples})
	if got := h.Running(); !slices.Equal(got, []string{"call c1", "leg a"}) {
		t.Errorf("running: %q", got)
	}
	l.End(media.End{State: media.Ended, Reason: "over"}, media.LegStats{Received: 3})
	c.End(media.End{State: media.Ended, Reason: "over"})
	c.End(media.End{State: media.Aborted, Reason: "ignored"})
	const want = `open c1 source=test external= agent=maria
leg a role=unknown reason="" label=left party=caller mixed
update a role=agent reason="said so" identity=sip:2207@pbx.example name=Maria
fact a: 1
fact b: 2
a: mark started at 0
a: frames 2 from 0, inserted 1, peak 900
a: mark digit 7 at 640
pause: a card
resume: a card
a: frames 1 from 640, inserted 0, peak 0
leg a ended: ended, over, received 3
call c1 ended: ended, over
`
	if got := h.Text(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	a := h.Leg("a")
	if a.Frames != 3 || a.Inserted != 1 || a.Peak != 900 || a.Next != 960 || len(a.Samples) != 960 || !a.Ended || a.Stats.Received != 3 {
		t.Errorf("got %+v", a)
	}
	if e := h.NextEnd(); e.Reason != "over" || len(h.Ends()) != 1 || len(h.Running()) != 0 {
		t.Errorf("ended %+v, ends %v, running %q", e, h.Ends(), h.Running())
	}
}

func TestHostKeepsTheContract(t *testing.T) {
	h := New()
	c, l := begin(t, h)
	if _, err := h.Open(media.Call{ID: "c1"}, nil); !errors.Is(err, media.ErrDuplicate) {
		t.Errorf("a running call: %v", err)
	}
	if _, err := c.AddLeg(media.Leg{ID: "a"}); !errors.Is(err, media.ErrDuplicate) {
		t.Errorf("a running leg: %v", err)
	}
	c.End(media.End{State: media.Ended})
	l.End(media.End{State: media.Ended}, media.LegStats{})
	l.End(media.End{State: media.Ended}, media.LegStats{})
	l.Frame(&pcm.Frame{})
	const want = `open c1 source=test external= agent=maria
leg a role=unknown reason="" label=left party=caller mixed
a: still runs at the call's end
call c1 ended: ended, 
leg a ended: ended, , received 0
a: ends again
leg a ended: ended, , received 0
a: a frame after the leg's end
a: frames 1 from 0, inserted 0, peak 0
`
	if got := h.Text(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}

	h = New()
	h.Join = true
	first, _ := begin(t, h)
	asked := 0
	second, err := h.Open(media.Call{ID: "c1"}, func(media.End) { asked++ })
	if err != nil {
		t.Fatal(err)
	}
	if h.HangUp(media.End{}); asked != 1 {
		t.Errorf("asked the newest %d times", asked)
	}
	if first.End(media.End{}); len(h.Ends()) != 0 {
		t.Error("the call ended with its first member")
	}
	if second.End(media.End{}); len(h.Ends()) != 1 || len(h.Calls()) != 1 {
		t.Errorf("%d ends of %d calls", len(h.Ends()), len(h.Calls()))
	}
}

func TestHostRefuses(t *testing.T) {
	h := New()
	h.Refuse = media.ErrBusy
	if _, err := h.Open(media.Call{}, nil); !errors.Is(err, media.ErrBusy) {
		t.Errorf("Open: %v", err)
	}
	h = New()
	c, _ := begin(t, h)
	h.RefuseLeg = media.ErrDraining
	if _, err := c.AddLeg(media.Leg{ID: "b"}); !errors.Is(err, media.ErrDraining) || len(h.Legs()) != 1 {
		t.Errorf("AddLeg: %v, %d legs", err, len(h.Legs()))
	}
}

func TestDeafHostDoesNotAllocate(t *testing.T) {
	h := New()
	h.Deaf = true
	_, l := begin(t, h)
	f := &pcm.Frame{}
	if n := testing.AllocsPerRun(100, func() { l.Frame(f) }); n != 0 {
		t.Errorf("%v allocations for a frame", n)
	}
	if a := h.Leg("a"); a.Frames != 101 || len(a.Samples) != 0 {
		t.Errorf("%d frames, %d samples", a.Frames, len(a.Samples))
	}
}
