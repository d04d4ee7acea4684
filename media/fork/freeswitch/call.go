package freeswitch

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sidetone/media"
	"sidetone/media/feed"
	"sidetone/media/fork"
)

// maxLegs bounds the legs of a call.
const maxLegs = 16

// call is one call and the legs that its forks bring.
type call struct {
	id string
	// asked is the end that the host wants.
	asked atomic.Pointer[media.End]

	mu     sync.Mutex
	sink   media.CallSink
	legs   []*leg
	over   bool
	outbox [][]byte
}

// leg is one channel of a fork.
type leg struct {
	info media.Leg
	rate int
	path *feed.Leg
	// owner is the connection that brings the leg; nil while its call waits for
	// one, since left, because of why.
	owner *Session
	left  time.Time
	why   error
	// heard is when the leg last got audio or an owner.
	heard time.Time
	ended bool
}

// attach gives the legs of a fork to its connection: all of them or none. The
// caller holds c.mu.
func (c *call) attach(s *Session, infos []media.Leg, rate int, now time.Time) ([]*leg, error) {
	for _, info := range infos {
		if l := c.leg(info.ID); l != nil && l.owner != nil && now.Sub(l.heard) < stale {
			return nil, fmt.Errorf("freeswitch: call %q has a fork of leg %q: give each its own name by leg= in the URL: %w", c.id, info.ID, media.ErrDuplicate)
		}
	}
	var mine []*leg
	for _, info := range infos {
		l := c.leg(info.ID)
		if l != nil && l.rate != rate {
			// Its clock goes on; only what brings the samples to it is made anew.
			l.end(media.End{State: media.Ended, Reason: "the fork came back with another sample rate", At: now})
			l = nil
		}
		if l == nil {
			var err error
			if l, err = c.add(info, rate); err != nil {
				for _, l := range mine {
					l.end(media.End{State: media.Refused, Reason: err.Error(), At: now})
				}
				return nil, err
			}
		}
		l.owner, l.heard = s, now
		mine = append(mine, l)
	}
	return mine, nil
}

// leg finds a leg that has not ended.
func (c *call) leg(id string) *leg {
	for _, l := range c.legs {
		if l.info.ID == id && !l.ended {
			return l
		}
	}
	return nil
}

// first is the first leg that a connection brings, if there is one.
func (c *call) first() *leg {
	for _, l := range c.legs {
		if l.owner != nil {
			return l
		}
	}
	return nil
}

func (c *call) add(info media.Leg, rate int) (*leg, error) {
	c.legs = slices.DeleteFunc(c.legs, func(l *leg) bool { return l.ended })
	if len(c.legs) == maxLegs {
		return nil, fmt.Errorf("freeswitch: call %q has %d legs, which is the most", c.id, maxLegs)
	}
	sink, err := c.sink.AddLeg(info)
	if err != nil {
		return nil, fmt.Errorf("freeswitch: call %q, leg %q: %w", c.id, info.ID, err)
	}
	path, err := feed.New(feed.Config{Sink: sink, Rate: rate})
	if err != nil {
		return nil, fmt.Errorf("freeswitch: call %q, leg %q: %w", c.id, info.ID, err)
	}
	l := &leg{info: info, rate: rate, path: path}
	c.legs = append(c.legs, l)
	return l, nil
}

func (l *leg) end(e media.End) {
	if !l.ended {
		l.ended, l.owner = true, nil
		l.path.End(e)
	}
}

// release takes the legs from a connection that broke because of err: they wait
// for the next one.
func (c *call) release(legs []*leg, err error, now time.Time) {
	for _, l := range legs {
		if !l.ended {
			l.owner, l.left, l.why = nil, now, err
		}
	}
}

// expire ends what has waited for a connection longer than window, and the call
// when the host has asked for it.
func (c *call) expire(now time.Time, window time.Duration) {
	if c.over {
		return
	}
	if e := c.asked.Load(); e != nil {
		c.finish(*e)
		return
	}
	for _, l := range c.legs {
		if l.ended || l.owner != nil {
			continue
		}
		if now.Sub(l.left) < window {
			l.path.Tick(now)
			continue
		}
		e := fork.EndFor(l.why, now)
		if window > 0 {
			e.Reason += fmt.Sprintf("; it did not come back within %v", window)
		}
		l.end(e)
		c.settle(e)
	}
}

// settle ends the call with e when all its legs have ended.
func (c *call) settle(e media.End) {
	for _, l := range c.legs {
		if !l.ended {
			return
		}
	}
	c.finish(e)
}

// finish ends the call and what runs of it.
func (c *call) finish(e media.End) {
	if c.over {
		return
	}
	c.over = true
	for _, l := range c.legs {
		l.end(e)
	}
	c.sink.End(e)
}
