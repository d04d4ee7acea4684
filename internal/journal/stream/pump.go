package stream

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// inbox is where acknowledgements come, with Log.self and the flight's number.
	inbox = "_INBOX.sidetone."
	// maxFlights and maxMessage bound what is under way: messages, bytes of each.
	maxFlights = 256
	maxMessage = 128 << 10
	// firstPause doubles with every failure in a row up to lastPause.
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
	// patience is how long nothing may be stored before Health is not well.
	patience = 2 * time.Second
	// wrongLast and wrongLastConst are JetStream's errors for an update of something else than is there.
	wrongLast      = int(jetstream.JSErrCodeStreamWrongLastSequence)
	wrongLastConst = int(jetstream.JSErrCodeStreamWrongLastSequenceConstant)
)

// flight is one message under way.
type flight struct {
	id    uint64
	lane  *lane
	act   act
	count int
	last  uint64 // number of the last event
	open  *OpenCall
	msg   *nats.Msg
	// bare says that the body of the event was given up already.
	bare bool
	// since is when the message was sent for the first time, or was last known not
	// to be stored; sent is when it was sent or asked about.
	since, sent time.Time
	// due is when it is sent again; zero while it is under way.
	due    time.Time
	asking bool
}

// pump owns all that is under way.
type pump struct {
	*Log
	flights map[uint64]*flight
	nextID  uint64
	pause   time.Duration
	scratch []item
	// blocked says why nothing may be sent just now.
	blocked error
	looked  time.Time
}

func (l *Log) pump() {
	defer l.wg.Done()
	p := &pump{Log: l, flights: map[uint64]*flight{}, pause: firstPause}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-l.wake:
			p.hurry()
		case m := <-l.acks:
			p.answered(m, time.Now())
			for range len(l.acks) {
				p.answered(<-l.acks, time.Now())
			}
		case <-tick.C:
			p.look(time.Now())
			p.late(time.Now())
		case <-l.end:
			return
		}
		p.launch(time.Now())
	}
}

// hurry sends again at once what failed, where the connection is new.
func (p *pump) hurry() {
	p.mu.Lock()
	now := p.retryNow
	p.retryNow = false
	p.mu.Unlock()
	if !now {
		return
	}
	p.pause = firstPause
	for _, f := range p.flights {
		f.due = time.Now()
	}
	p.late(time.Now())
}

// look checks once a second that the embedded server can write. One that cannot does
// not always say so.
func (p *pump) look(now time.Time) {
	if p.srv == nil || now.Sub(p.looked) < time.Second {
		return
	}
	p.looked = now
	was := p.blocked
	p.blocked = p.srv.sick()
	switch {
	case p.blocked != nil:
		p.failed(p.blocked, now)
	case was != nil:
		p.mu.Lock()
		p.retryNow = true
		if p.events == 0 {
			p.ailing = time.Time{}
		}
		p.mu.Unlock()
		p.signal(p.wake)
	}
}

// launch sends what is ready, as far as there is room.
func (p *pump) launch(now time.Time) {
	for p.blocked == nil && len(p.flights) < maxFlights {
		p.mu.Lock()
		if len(p.ready) == 0 {
			p.mu.Unlock()
			return
		}
		n := p.ready[0]
		p.ready = slices.Delete(p.ready, 0, 1)
		n.flight = &flight{lane: n}
		p.load(n)
		rev, known := p.held[n.key]
		p.mu.Unlock()
		p.depart(n.flight, rev, known, now)
	}
}

// load takes the head of a lane: events as far as they fit into a message, or one
// item of another kind. Log.mu is held.
func (p *pump) load(n *lane) {
	f, size := n.flight, int64(0)
	f.act, f.open, f.count = n.items[n.head].act, n.items[n.head].open, 0
	p.scratch = p.scratch[:0]
	for _, it := range n.items[n.head:] {
		size += it.size()
		if f.count > 0 && (f.act != keep || it.act != keep || size > maxMessage) {
			break
		}
		p.scratch = append(p.scratch, it)
		f.count++
	}
}

// depart makes the message of what was loaded and sends it.
func (p *pump) depart(f *flight, rev uint64, known bool, now time.Time) {
	var err error
	switch f.act {
	case keep:
		var count int
		f.msg, count, err = eventsMessage(p.names.events, p.scratch)
		f.last = p.scratch[count-1].event.N
		p.mu.Lock()
		f.count = count
		p.mu.Unlock()
	case hold:
		f.msg, err = holdMessage(p.names.open(f.lane.key), f.open, rev)
	default:
		f.msg = dropMessage(p.names.open(f.lane.key), rev)
		f.asking = !known
	}
	clear(p.scratch)
	p.nextID++
	f.id, f.since = p.nextID, now
	p.flights[f.id] = f
	if err != nil {
		p.hopeless(f, err, now)
		return
	}
	p.send(f, now)
}

// send sends a flight's message, or asks whether it had arrived.
func (p *pump) send(f *flight, now time.Time) {
	f.due, f.sent = time.Time{}, now
	m := f.msg
	if !f.asking && f.act == keep && now.Sub(f.since) > p.cfg.memory/2 {
		f.asking = true
	}
	if f.asking {
		stream := p.names.stream
		if f.act != keep {
			stream = "KV_" + p.names.state
		}
		m = &nats.Msg{Subject: "$JS.API.STREAM.MSG.GET." + stream, Data: fmt.Appendf(nil, `{"last_by_subj":%q}`, m.Subject)}
	}
	m.Reply = inbox + p.self + "." + strconv.FormatUint(f.id, 10)
	err := p.nc.PublishMsg(m)
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		p.hopeless(f, err, now)
	case err != nil:
		p.retry(f, fmt.Errorf("NATS at %s: %w", p.where(), err), now)
	}
}

// retry has a flight sent again after a pause.
func (p *pump) retry(f *flight, err error, now time.Time) {
	f.due = now.Add(p.pause)
	p.failed(err, now)
}

// failed notes a failure and has repaired what can be.
func (p *pump) failed(err error, now time.Time) {
	p.mu.Lock()
	fresh := p.ailing.IsZero()
	if fresh {
		p.ailing = now
	}
	p.trouble(err, now)
	p.mu.Unlock()
	if fresh {
		p.cfg.Log.Warn("journal: storing events fails, they wait in memory", "err", err)
	}
	p.signal(p.Log.mend)
}

// late sends again what is due and what was not acknowledged in time.
func (p *pump) late(now time.Time) {
	if p.blocked != nil {
		return
	}
	again := uint64(0)
	for _, f := range p.flights {
		switch {
		case f.due.IsZero() && now.Sub(f.sent) > p.cfg.ackWait:
			p.retry(f, fmt.Errorf("NATS at %s has not acknowledged within %v", p.where(), p.cfg.ackWait), now)
		case !f.due.IsZero() && !now.Before(f.due):
			again++
			p.send(f, now)
		}
	}
	if again > 0 {
		p.pause = min(2*p.pause, lastPause)
		p.mu.Lock()
		p.again += again
		p.mu.Unlock()
	}
}

// answer is what the server says to a message or to a question. Source: NATS
// ADR-1 and ADR-22 (pub ack), JetStream API, STREAM.MSG.GET.
type answer struct {
	Seq   uint64 `json:"seq"`
	Error *struct {
		Code    int    `json:"code"`
		ErrCode int    `json:"err_code"`
		Text    string `json:"description"`
	} `json:"error"`
	Message *struct {
		Seq  uint64 `json:"seq"`
		Hdrs []byte `json:"hdrs"`
		Data []byte `json:"data"`
	} `json:"message"`
}

// answered takes an answer.
func (p *pump) answered(m *nats.Msg, now time.Time) {
	id, err := strconv.ParseUint(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:], 10, 64)
	f := p.flights[id]
	if err != nil || f == nil {
		return
	}
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		p.retry(f, fmt.Errorf("NATS at %s: %w", p.where(), explain(nats.ErrNoResponders)), now)
		return
	}
	var a answer
	if err := json.Unmarshal(m.Data, &a); err != nil {
		p.retry(f, fmt.Errorf("the answer of NATS at %s makes no sense: %w", p.where(), err), now)
		return
	}
	notFound := a.Error != nil && a.Error.ErrCode == int(jetstream.JSErrCodeMessageNotFound)
	switch {
	case f.asking && (a.Message != nil || notFound):
		p.told(f, &a, now)
	case a.Error == nil && !f.asking && a.Seq > 0:
		p.stored(f, a.Seq)
	case a.Error == nil, notFound:
		// The answer to something sent before.
	case (a.Error.ErrCode == wrongLast || a.Error.ErrCode == wrongLastConst) && f.act != keep:
		f.asking = true
		p.send(f, now)
	default:
		why := fmt.Errorf("%s (JetStream error %d)", a.Error.Text, a.Error.ErrCode)
		if said := saying(a.Error.ErrCode); said != "" {
			why = fmt.Errorf("%s: %w", said, why)
		}
		p.retry(f, why, now)
	}
}

// told takes the answer to the question for the last message of a subject.
func (p *pump) told(f *flight, a *answer, now time.Time) {
	f.asking = false
	rev := uint64(0)
	if a.Message != nil {
		rev = a.Message.Seq
	}
	switch f.act {
	case keep:
		if a.Message != nil {
			if events, err := readEvents(a.Message.Data); err == nil && events[len(events)-1].N >= f.last {
				p.stored(f, rev)
				return
			}
		}
		f.since = now
	case hold, drop:
		var there OpenCall
		gone := a.Message == nil || strings.Contains(string(a.Message.Hdrs), "KV-Operation")
		if !gone && json.Unmarshal(a.Message.Data, &there) == nil && there.Node != p.cfg.Node {
			if f.act == hold {
				p.cfg.Log.Warn("journal: another node has taken the call over", "call", there.Call, "key", f.lane.key, "node", there.Node)
			}
			p.landed(f)
			return
		}
		if f.act == drop && gone {
			p.landed(f)
			return
		}
		if f.act == hold && string(a.messageData()) == string(f.msg.Data) {
			p.stored(f, rev)
			return
		}
		f.msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(rev, 10))
	}
	p.send(f, now)
}

func (a *answer) messageData() []byte {
	if a.Message == nil {
		return nil
	}
	return a.Message.Data
}

// stored notes that a flight's message is durable.
func (p *pump) stored(f *flight, seq uint64) {
	p.mu.Lock()
	switch f.act {
	case keep:
		p.acked += uint64(f.count)
	case hold:
		p.held[f.lane.key] = seq
	default:
		delete(p.held, f.lane.key)
	}
	well := p.ailing
	p.ailing = time.Time{}
	p.mu.Unlock()
	p.pause = firstPause
	if !well.IsZero() {
		p.cfg.Log.Info("journal: events are stored again", "after", time.Since(well).Round(time.Millisecond))
	}
	p.landed(f)
}

// landed ends a flight.
func (p *pump) landed(f *flight) {
	delete(p.flights, f.id)
	p.mu.Lock()
	p.settled(f.lane, f.count)
	p.mu.Unlock()
}

// hopeless gives up the body of an event that can never be stored, or what was said
// of an open call.
func (p *pump) hopeless(f *flight, err error, now time.Time) {
	p.refuse(fmt.Errorf("%s of call %s: %w", [...]string{"an event", "the open call", "the end"}[f.act], f.lane.key, err))
	if f.act != keep || f.bare {
		p.landed(f)
		return
	}
	delete(p.flights, f.id)
	f.bare = true
	p.mu.Lock()
	it := &f.lane.items[f.lane.head]
	p.bytes -= it.size()
	it.event.Kind, it.event.Body = Omitted, p.body(it.event.Kind)
	p.bytes += it.size()
	p.load(f.lane)
	p.mu.Unlock()
	p.depart(f, 0, false, now)
}
