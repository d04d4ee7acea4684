package app

import (
	"fmt"
	"sync"
	"time"

	"sidetone/media"
)

var _ media.Joiner = (*calls)(nil)

// Join implements media.Joiner.
func (cs *calls) Join(id string, info media.Leg, hangUp func(media.End)) (media.LegSink, error) {
	c := cs.find(id)
	if c == nil || c.isDone() {
		return nil, fmt.Errorf("no running call %q", id)
	}
	l, err := c.AddLeg(info)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.guests = append(c.guests, hangUp)
	ended := c.rec.Ended != nil
	c.mu.Unlock()
	if ended {
		hangUp(media.End{State: media.Ended, Reason: "the call is over", At: time.Now()})
	}
	return l, nil
}

// joining is a media.Host for sources that bring each leg by a connection of its
// own and give the connections of one call the same call ID: they become one
// call, which ends with the last of them.
type joining struct {
	calls *calls
	mu    sync.Mutex
	byID  map[string]*joined
}

// joined is a call that connections share.
type joined struct {
	*call
	host    *joining
	members map[*member]struct{}
}

// member is one connection's part of a call.
type member struct {
	*joined
	hangUp func(media.End)
}

func newJoining(cs *calls) *joining { return &joining{calls: cs, byID: map[string]*joined{}} }

// Open implements media.Host.
func (j *joining) Open(info media.Call, hangUp func(media.End)) (media.CallSink, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	k := j.byID[info.ID]
	if k == nil || k.isDone() {
		k = &joined{host: j, members: map[*member]struct{}{}}
		c, err := j.calls.begin(info, k.hangUpAll)
		if err != nil {
			j.calls.env.admission.count(info.Source, err)
			return nil, err
		}
		k.call = c
		j.byID[c.info.ID] = k
	}
	m := &member{k, hangUp}
	k.members[m] = struct{}{}
	return m, nil
}

func (k *joined) hangUpAll(e media.End) {
	k.host.mu.Lock()
	defer k.host.mu.Unlock()
	for m := range k.members {
		m.hangUp(e)
	}
}

// End ends the call if this is its last connection.
func (m *member) End(e media.End) {
	j := m.host
	j.mu.Lock()
	_, known := m.members[m]
	delete(m.members, m)
	last := known && len(m.members) == 0
	if last && j.byID[m.info.ID] == m.joined {
		delete(j.byID, m.info.ID)
	}
	j.mu.Unlock()
	if last {
		m.call.End(e)
	}
}

const (
	// announced is how long an announcement waits for its connection, and
	// maxAnnounced how many may wait.
	announced    = 2 * time.Minute
	maxAnnounced = 10_000
)

// announcement says what a connection is that tells no more than a UUID.
type announcement struct {
	call media.Call
	leg  media.Leg
	at   time.Time
}

// announcements wait for their connections.
type announcements struct {
	// required says that a connection must have been announced.
	required bool
	mu       sync.Mutex
	byUUID   map[string]announcement
}

func newAnnouncements(required bool) *announcements {
	return &announcements{required: required, byUUID: map[string]announcement{}}
}

// put keeps an announcement; it reports false when too many wait.
func (a *announcements) put(uuid string, n announcement) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.byUUID) >= maxAnnounced {
		for k, old := range a.byUUID {
			if n.at.Sub(old.at) > announced {
				delete(a.byUUID, k)
			}
		}
	}
	if len(a.byUUID) >= maxAnnounced {
		return false
	}
	a.byUUID[uuid] = n
	return true
}

// take has the shape of audiosocket.Config.Lookup.
func (a *announcements) take(uuid string) (media.Call, media.Leg, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, ok := a.byUUID[uuid]
	delete(a.byUUID, uuid)
	if !ok || time.Since(n.at) > announced {
		if a.required {
			return media.Call{}, media.Leg{}, fmt.Errorf("UUID %s was not announced within %v (PUT /v1/audiosocket/{uuid})", uuid, announced)
		}
		return media.Call{}, media.Leg{}, nil
	}
	return n.call, n.leg, nil
}
