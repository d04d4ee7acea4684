// Package mediatest is a media.Host for the tests of sources: it writes down, as
// lines of text, what a source tells it, and keeps what the legs heard.
package mediatest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"sidetone/internal/pcm"
	"sidetone/media"
)

// Host records. It keeps to the contract: a call or a leg whose name is running
// is refused with media.ErrDuplicate. What breaks the contract is a line of its
// own. It is safe for concurrent use; its exported fields are set before.
type Host struct {
	// Refuse and RefuseLeg, if set, are what Open and AddLeg return.
	Refuse, RefuseLeg error
	// Join has Open of a running call join it: the call ends when each that
	// opened it has ended it.
	Join bool
	// Deaf has the legs count frames and nothing else, without allocating.
	Deaf bool

	mu     sync.Mutex
	ended  sync.Cond
	lines  []string
	calls  []*call
	legs   []*leg
	ends   []media.End
	taken  int
	hangUp func(media.End)
}

// New makes a Host.
func New() *Host {
	h := &Host{}
	h.ended.L = &h.mu
	return h
}

// Leg is what a leg has had so far.
type Leg struct {
	media.Leg
	// Frames counts all, Inserted those that fill a gap.
	Frames, Inserted int
	// Next is the position after the last frame, Peak the greatest sample.
	Next int64
	Peak int16
	// Samples are those of all frames.
	Samples []int16
	// Ended is set, and Stats is, once the leg has ended.
	Ended bool
	Stats media.LegStats
}

// Note adds a line.
func (h *Host) Note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note(format, args...)
}

func (h *Host) note(format string, args ...any) {
	h.lines = append(h.lines, fmt.Sprintf(format, args...))
}

// Text is what was told until now, in order, each line with its end. The frames
// between two other events of a leg are one line.
func (h *Host) Text() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.legs {
		l.flush()
	}
	return strings.Join(h.lines, "\n") + "\n"
}

// Calls are the calls that were opened, in order.
func (h *Host) Calls() []media.Call {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []media.Call
	for _, c := range h.calls {
		all = append(all, c.about)
	}
	return all
}

// Legs are the legs of all calls, in the order in which they were added.
func (h *Host) Legs() []Leg {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []Leg
	for _, l := range h.legs {
		all = append(all, l.Leg)
	}
	return all
}

// Leg is the newest leg of that name; one that was never added is empty.
func (h *Host) Leg(id string) Leg {
	for _, l := range slices.Backward(h.Legs()) {
		if l.ID == id {
			return l
		}
	}
	return Leg{}
}

// Ends are the ends of calls, in order.
func (h *Host) Ends() []media.End {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.ends)
}

// NextEnd waits for the end of a call that it has not returned before.
func (h *Host) NextEnd() media.End {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.taken == len(h.ends) {
		h.ended.Wait()
	}
	h.taken++
	return h.ends[h.taken-1]
}

// HangUp asks the source of the newest call to end it.
func (h *Host) HangUp(e media.End) {
	h.mu.Lock()
	hangUp := h.hangUp
	h.mu.Unlock()
	hangUp(e)
}

// Running names the calls and legs that have not ended.
func (h *Host) Running() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []string
	for _, c := range h.calls {
		if c.members > 0 {
			all = append(all, "call "+c.about.ID)
		}
	}
	for _, l := range h.legs {
		if !l.Ended {
			all = append(all, "leg "+l.ID)
		}
	}
	return all
}

// Open implements media.Host.
func (h *Host) Open(about media.Call, hangUp func(media.End)) (media.CallSink, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.Refuse != nil {
		return nil, h.Refuse
	}
	for _, c := range h.calls {
		if c.about.ID != about.ID || c.members == 0 {
			continue
		}
		if !h.Join {
			return nil, fmt.Errorf("call %s: %w", about.ID, media.ErrDuplicate)
		}
		c.members++
		h.hangUp = hangUp
		return c, nil
	}
	line := fmt.Sprintf("open %s source=%s external=%s agent=%s", about.ID, about.Source, about.External, about.Agent)
	if about.Direction != media.DirectionUnknown {
		line += fmt.Sprintf(" direction=%v", about.Direction)
	}
	if about.Language != "" {
		line += " language=" + about.Language
	}
	h.note("%s", line)
	c := &call{h: h, about: about, members: 1}
	h.calls, h.hangUp = append(h.calls, c), hangUp
	return c, nil
}

// call is a media.CallSink.
type call struct {
	h     *Host
	about media.Call
	// members counts those that have opened and not ended the call.
	members int
	legs    []*leg
}

func (c *call) AddLeg(about media.Leg) (media.LegSink, error) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	if c.h.RefuseLeg != nil {
		return nil, c.h.RefuseLeg
	}
	for _, l := range c.legs {
		if l.ID == about.ID && !l.Ended {
			return nil, fmt.Errorf("leg %s: %w", about.ID, media.ErrDuplicate)
		}
	}
	c.h.note("leg %s", describe(about))
	l := &leg{h: c.h, Leg: Leg{Leg: about}}
	c.legs, c.h.legs = append(c.legs, l), append(c.h.legs, l)
	return l, nil
}

func (c *call) UpdateLeg(about media.Leg) { c.h.Note("update %s", describe(about)) }
func (c *call) Pause(reason string)       { c.h.Note("pause: %s", reason) }
func (c *call) Resume(reason string)      { c.h.Note("resume: %s", reason) }

func (c *call) Describe(facts map[string]string) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(facts)) {
		c.h.note("fact %s: %s", k, facts[k])
	}
}

func (c *call) End(e media.End) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	if c.members == 0 {
		return
	}
	if c.members--; c.members > 0 {
		return
	}
	for _, l := range c.legs {
		if !l.Ended {
			c.h.note("%s: still runs at the call's end", l.ID)
		}
	}
	c.h.note("call %s ended: %v, %s", c.about.ID, e.State, e.Reason)
	c.h.ends = append(c.h.ends, e)
	c.h.ended.Broadcast()
}

// describe is what is known of a leg.
func describe(l media.Leg) string {
	s := fmt.Sprintf("%s role=%v reason=%q", l.ID, l.Role, l.RoleReason)
	for _, f := range []struct{ name, value string }{{"label", l.Label}, {"identity", l.Identity}, {"name", l.Name}} {
		if f.value != "" {
			s += fmt.Sprintf(" %s=%s", f.name, f.value)
		}
	}
	if l.Party != media.PartyUnknown {
		s += fmt.Sprintf(" party=%v", l.Party)
	}
	if l.Mixed {
		s += " mixed"
	}
	return s
}

// leg is a media.LegSink. The frames since the last line are summed up.
type leg struct {
	h *Host
	Leg
	frames, silent int
	from           int64
	peak           int16
}

func (l *leg) Frame(f *pcm.Frame) {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	if l.Frames++; l.h.Deaf {
		return
	}
	if l.Ended {
		l.h.note("%s: a frame after the leg's end", l.ID)
	}
	if l.frames == 0 {
		l.from = f.Start
	}
	l.frames++
	l.Next = f.End()
	if f.Flags&pcm.Inserted != 0 {
		l.silent++
		l.Inserted++
	}
	l.peak = max(l.peak, slices.Max(f.Samples[:]))
	l.Peak = max(l.Peak, l.peak)
	l.Samples = append(l.Samples, f.Samples[:]...)
}

func (l *leg) flush() {
	if l.frames > 0 {
		l.h.note("%s: frames %d from %d, inserted %d, peak %d", l.ID, l.frames, l.from, l.silent, l.peak)
	}
	l.frames, l.silent, l.peak = 0, 0, 0
}

func (l *leg) Mark(m media.Mark) {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	l.flush()
	what := map[media.MarkKind]string{
		media.MarkStarted: "started", media.MarkSSRCChanged: "source changed", media.MarkStalled: "stalled",
		media.MarkResumed: "resumed", media.MarkDigit: "digit " + string(rune(m.Digit)), media.MarkHeld: "held",
		media.MarkUnheld: "unheld", media.MarkDiscarded: "discarded",
	}[m.Kind]
	l.h.note("%s: mark %s at %d", l.ID, what, m.At)
}

func (l *leg) End(e media.End, s media.LegStats) {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	l.flush()
	if l.Ended {
		l.h.note("%s: ends again", l.ID)
	}
	l.Ended, l.Stats = true, s
	l.h.note("leg %s ended: %v, %s, received %d", l.ID, e.State, e.Reason, s.Received)
}
