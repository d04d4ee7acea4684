package benchload

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"sidetone/bench/load"
	"sidetone/media/netsim"
)

const (
	packetTime = 20 * time.Millisecond
	// payloadLen is the bytes of a packet of G.711, a sample each.
	payloadLen = 160
	headerLen  = 12
	// tickTime is how often the pacer looks for packets that are due.
	tickTime = 4 * time.Millisecond
)

// stream is one leg's packets.
type stream struct {
	conn    *net.UDPConn
	payload []byte
	// order says when which packet leaves, where a network loses and delays
	// some; nil: all leave in time.
	order     []netsim.Arrival
	next      int
	seq       uint16
	timestamp uint32
	ssrc      uint32
}

func newStream(conn *net.UDPConn, payload []byte, order []netsim.Arrival) *stream {
	return &stream{
		conn: conn, payload: payload, order: order,
		seq: uint16(rand.Uint32()), timestamp: rand.Uint32(), ssrc: rand.Uint32(),
	}
}

func (s *stream) packets() int { return len(s.payload) / payloadLen }

// due is the number of the next packet and when it leaves; more is false after
// the last.
func (s *stream) due() (packet int, at time.Duration, more bool) {
	if s.order == nil {
		return s.next, time.Duration(s.next) * packetTime, s.next < s.packets()
	}
	if s.next == len(s.order) {
		return 0, 0, false
	}
	a := s.order[s.next]
	return a.Packet, a.At, true
}

// put writes packet number n to b, which has room for it (RFC 3550, section 5.1).
func (s *stream) put(b []byte, n int) {
	b[0], b[1] = 0x80, 0 // version 2, payload type 0: PCMU
	if n == 0 {
		b[1] |= 0x80 // the marker of a talkspurt's beginning
	}
	binary.BigEndian.PutUint16(b[2:], s.seq+uint16(n))
	binary.BigEndian.PutUint32(b[4:], s.timestamp+uint32(n)*payloadLen)
	binary.BigEndian.PutUint32(b[8:], s.ssrc)
	copy(b[headerLen:], s.payload[n*payloadLen:(n+1)*payloadLen])
}

// play is a call's audio on its way.
type play struct {
	streams []*stream
	// begun is when the first packet was due.
	begun time.Time
	// done is closed when the last packet has left, or none will any more; the
	// fields below are then settled.
	done chan struct{}
	sent int
	err  error
	over bool
}

// pacer sends the packets of all calls from one goroutine, each when it is due.
// A packet that is late makes no later one late.
type pacer struct {
	mu    sync.Mutex
	plays []*play
	late  load.Sketch
	buf   [headerLen + payloadLen]byte
}

// run sends until ctx ends.
func (p *pacer) run(ctx context.Context) {
	t := time.NewTicker(tickTime)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			p.advance(time.Now())
		}
	}
}

// start begins a call's audio now.
func (p *pacer) start(streams []*stream) *play {
	c := &play{streams: streams, begun: time.Now(), done: make(chan struct{})}
	p.mu.Lock()
	p.plays = append(p.plays, c)
	p.mu.Unlock()
	return c
}

// stop ends a call's audio early.
func (p *pacer) stop(c *play) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.finish()
}

func (c *play) finish() {
	if !c.over {
		c.over = true
		close(c.done)
	}
}

// advance sends what is due at now.
func (p *pacer) advance(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	running := p.plays[:0]
	for _, c := range p.plays {
		if !c.over && !p.send(c, now) {
			c.finish()
		}
		if !c.over {
			running = append(running, c)
		}
	}
	clear(p.plays[len(running):])
	p.plays = running
}

// send sends a call's packets that are due; more is false when the last one's
// time has passed.
func (p *pacer) send(c *play, now time.Time) (more bool) {
	for _, s := range c.streams {
		for {
			n, at, left := s.due()
			if !left {
				more = more || now.Before(c.begun.Add(time.Duration(s.packets())*packetTime))
				break
			}
			more = true
			late := now.Sub(c.begun.Add(at))
			if late < 0 {
				break
			}
			s.put(p.buf[:], n)
			if _, err := s.conn.Write(p.buf[:]); err != nil {
				c.err = fmt.Errorf("packet %d to %v: %w", n, s.conn.RemoteAddr(), err)
				return false
			}
			s.next++
			c.sent++
			p.late.Add(late)
		}
	}
	return more
}

// lateness is how late packets left.
func (p *pacer) lateness() load.Spread {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.late.Spread()
}
