// Package join makes one call of several connections, where a source opens one
// for each direction: two AudioSockets, or two WebSockets of Asterisk.
//
// It stands between sources and the media.Host proper. Connections that open a
// call of the same ID share it: each brings its own legs, and the call ends
// with the last of them. What the first one says of the call counts.
package join

import (
	"fmt"
	"slices"
	"sync"

	"sidetone/media"
)

// maxMembers bounds the connections of one call.
const maxMembers = 16

// Host is a media.Host that joins. It is safe for concurrent use.
type Host struct {
	host media.Host

	mu    sync.Mutex
	calls map[string]*call
}

var _ media.Host = (*Host)(nil)

// New makes a Host in front of another.
func New(h media.Host) *Host { return &Host{host: h, calls: map[string]*call{}} }

// call is one that is opened, or is being opened until ready is closed.
type call struct {
	host  *Host
	id    string
	ready chan struct{}
	sink  media.CallSink // set before ready is closed, as is err
	err   error

	mu      sync.Mutex
	members []*member // none when the call is over
}

// member is one connection's share of a call.
type member struct {
	*call
	hangUp func(media.End)
}

// Open implements media.Host.
func (h *Host) Open(c media.Call, hangUp func(media.End)) (media.CallSink, error) {
	m := &member{hangUp: hangUp}
	h.mu.Lock()
	k, running := h.calls[c.ID]
	if running {
		h.mu.Unlock()
		<-k.ready
		if err := k.enter(m); err != nil {
			return nil, err
		}
		return m, nil
	}
	k = &call{host: h, id: c.ID, ready: make(chan struct{}), members: []*member{m}}
	m.call = k
	h.calls[c.ID] = k
	h.mu.Unlock()

	k.sink, k.err = h.host.Open(c, k.hangUpAll)
	if k.err != nil {
		h.remove(k)
	}
	close(k.ready)
	if k.err != nil {
		return nil, k.err
	}
	return m, nil
}

func (h *Host) remove(k *call) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.calls[k.id] == k {
		delete(h.calls, k.id)
	}
}

// enter adds a member to a call that runs.
func (k *call) enter(m *member) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.err != nil:
		return k.err
	case len(k.members) == 0:
		return fmt.Errorf("join: call %q is just ending: %w", k.id, media.ErrDuplicate)
	case len(k.members) == maxMembers:
		return fmt.Errorf("join: call %q has %d connections, which is the most: %w", k.id, maxMembers, media.ErrBusy)
	}
	m.call = k
	k.members = append(k.members, m)
	return nil
}

// hangUpAll is what the host calls.
func (k *call) hangUpAll(e media.End) {
	k.mu.Lock()
	members := slices.Clone(k.members)
	k.mu.Unlock()
	for _, m := range members {
		m.hangUp(e)
	}
}

// AddLeg implements media.CallSink, as do the others.
func (m *member) AddLeg(l media.Leg) (media.LegSink, error) { return m.sink.AddLeg(l) }

func (m *member) UpdateLeg(l media.Leg) { m.sink.UpdateLeg(l) }

func (m *member) Pause(reason string) { m.sink.Pause(reason) }

func (m *member) Resume(reason string) { m.sink.Resume(reason) }

func (m *member) Describe(facts map[string]string) { m.sink.Describe(facts) }

// End ends the connection's share, and the call if it was the last.
func (m *member) End(e media.End) {
	m.mu.Lock()
	i := slices.Index(m.members, m)
	if i >= 0 {
		m.members = slices.Delete(m.members, i, i+1)
	}
	last := i >= 0 && len(m.members) == 0
	m.mu.Unlock()
	if last {
		m.sink.End(e)
		m.host.remove(m.call)
	}
}
