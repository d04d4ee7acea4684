package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"sidetone/internal/journal"
)

// overhead is about what an event takes in memory besides its body.
const overhead = 200

// act says what an item asks for.
type act uint8

const (
	keep act = iota // an event
	hold            // an entry among the open calls
	drop            // its end
)

// item is what waits to be stored.
type item struct {
	act   act
	event journal.Event
	open  *OpenCall
	since time.Time
	batch *batch
}

func (it *item) size() int64 { return overhead + int64(len(it.event.Body)) }

// lane is the queue of one call.
type lane struct {
	key   string
	items []item
	head  int
	// flight is what is under way, at the head of the items.
	flight *flight
}

func (n *lane) push(it item) { n.items = append(n.items, it) }

// pop forgets the first items.
func (n *lane) pop(count int) {
	clear(n.items[n.head : n.head+count])
	if n.head += count; n.head == len(n.items) {
		n.items, n.head = n.items[:0], 0
	}
}

// batch counts what was appended between two calls of Flush.
type batch struct {
	left int
	// sealed says that nothing more comes.
	sealed bool
	done   chan struct{}
}

// waiting is what is not acknowledged yet. Log.mu guards it.
type waiting struct {
	lanes map[string]*lane
	// ready are those with items and nothing under way.
	ready []*lane
	// spare are lanes that nobody uses.
	spare   []*lane
	current *batch
	// batches are those with something left.
	batches map[*batch]struct{}

	events int
	bytes  int64
	acked  uint64
	again  uint64
	omit   map[journal.Kind]uint64
	reject uint64

	lastErr   error
	lastErrAt time.Time
	// ailing is since when nothing could be stored; zero while all is well.
	ailing time.Time
	// retryNow asks the pump not to wait with what failed.
	retryNow bool
	// tooLate counts what came after Close.
	tooLate uint64
	// bodies are those of omitted events.
	bodies map[journal.Kind][]byte
}

func (w *waiting) start() {
	w.lanes = map[string]*lane{}
	w.batches = map[*batch]struct{}{}
	w.omit = map[journal.Kind]uint64{}
	w.bodies = map[journal.Kind][]byte{}
	w.current = &batch{done: make(chan struct{})}
}

func (w *waiting) put(key string, it item) {
	n := w.lanes[key]
	if n == nil {
		if last := len(w.spare) - 1; last >= 0 {
			n, w.spare = w.spare[last], w.spare[:last]
		} else {
			n = &lane{}
		}
		n.key = key
		w.lanes[key] = n
	}
	if n.flight == nil && len(n.items) == 0 {
		w.ready = append(w.ready, n)
	}
	it.batch = w.current
	it.batch.left++
	if it.batch.left == 1 {
		w.batches[it.batch] = struct{}{}
	}
	n.push(it)
	w.bytes += it.size()
	if it.act == keep {
		w.events++
	}
}

// body is that of an omitted event.
func (w *waiting) body(kind journal.Kind) []byte {
	b := w.bodies[kind]
	if b == nil {
		b = fmt.Appendf(nil, `{"kind":%q}`, kind)
		w.bodies[kind] = b
	}
	return b
}

// settled forgets the first count items of a lane, which were under way, and the
// lane where it is empty.
func (w *waiting) settled(n *lane, count int) {
	for i := n.head; i < n.head+count; i++ {
		w.forget(&n.items[i])
	}
	n.pop(count)
	n.flight = nil
	if len(n.items) > 0 {
		w.ready = append(w.ready, n)
		return
	}
	delete(w.lanes, n.key)
	if cap(n.items) <= 64 && len(w.spare) < 256 {
		w.spare = append(w.spare, n)
	}
}

// forget counts an item no more.
func (w *waiting) forget(it *item) {
	w.bytes -= it.size()
	if it.act == keep {
		w.events--
	}
	b := it.batch
	if b.left--; b.left == 0 {
		delete(w.batches, b)
		if b.sealed {
			close(b.done)
		}
	}
}

// discard forgets the events of a call that are not under way and says whether
// some are. What is said of the open call stays.
func (w *waiting) discard(key string) (underWay bool) {
	n := w.lanes[key]
	if n == nil {
		return false
	}
	from := n.head
	if n.flight != nil {
		from += n.flight.count
	}
	rest := n.items[:from]
	for i := from; i < len(n.items); i++ {
		if n.items[i].act == keep {
			w.forget(&n.items[i])
		} else {
			rest = append(rest, n.items[i])
		}
	}
	clear(n.items[len(rest):])
	n.items = rest
	if n.flight == nil && len(n.items) == n.head {
		delete(w.lanes, key)
		w.ready = slices.DeleteFunc(w.ready, func(o *lane) bool { return o == n })
	}
	return n.flight != nil && n.flight.act == keep
}

// trouble notes what went wrong.
func (w *waiting) trouble(err error, now time.Time) {
	w.lastErr, w.lastErrAt = err, now
}

// Append takes an event to be stored. It never waits. The body must not be changed
// afterwards. An event that cannot ever be stored (no valid key, a body larger than
// the server takes) is counted in Health.Rejected and told in the log.
func (l *Log) Append(e journal.Event) {
	if !journal.ValidKey(e.Key) {
		l.refuse(fmt.Errorf("the event %s %.80q: its key can be none", e.Kind, e.ID()))
		return
	}
	now := time.Now()
	l.mu.Lock()
	if l.closed {
		l.tooLate++
		l.mu.Unlock()
		return
	}
	if l.bytes >= l.cfg.SoftLimit && !e.Kind.Vital() {
		l.omit[e.Kind]++
		e.Kind, e.Body = Omitted, l.body(e.Kind)
	}
	l.put(e.Key, item{event: e, since: now})
	l.mu.Unlock()
	l.signal(l.wake)
}

// HoldOpen says that a call is open here, or that something about it has changed.
// Like Append it does not wait, and takes its place behind the events of o.Key that
// were appended before. Node defaults to this one, Seen to now. Where another node
// has adopted the call meanwhile, it keeps it.
func (l *Log) HoldOpen(o OpenCall) {
	if o.Node == "" {
		o.Node = l.cfg.Node
	}
	if o.Seen.IsZero() {
		o.Seen = time.Now()
	}
	l.change(o.Key, item{act: hold, open: &o})
}

// DropOpen says that a call that this node held is over. It takes its place behind
// the events of the call that were appended before.
func (l *Log) DropOpen(key string) { l.change(key, item{act: drop}) }

func (l *Log) change(key string, it item) {
	if !journal.ValidKey(key) {
		l.refuse(fmt.Errorf("the open call %.80q: that can be no key", key))
		return
	}
	it.since = time.Now()
	l.mu.Lock()
	if l.closed {
		l.tooLate++
		l.mu.Unlock()
		return
	}
	l.put(key, it)
	l.mu.Unlock()
	l.signal(l.wake)
}

// refuse counts what cannot be stored.
func (l *Log) refuse(err error) {
	l.mu.Lock()
	l.reject++
	l.trouble(err, time.Now())
	l.mu.Unlock()
	l.cfg.Log.Error("journal: an event is lost that cannot be stored", "err", err)
}

// Flush waits until all that was appended before is acknowledged.
func (l *Log) Flush(ctx context.Context) error {
	l.mu.Lock()
	var all []*batch
	for b := range l.batches {
		b.sealed = true
		all = append(all, b)
	}
	if l.current.sealed {
		l.current = &batch{done: make(chan struct{})}
	}
	l.mu.Unlock()
	for _, b := range all {
		select {
		case <-b.done:
		case <-ctx.Done():
			l.mu.Lock()
			defer l.mu.Unlock()
			return fmt.Errorf("journal: %d events are not acknowledged: %w", l.events, errors.Join(ctx.Err(), l.lastErr))
		case <-l.ctx.Done():
			return errors.New("journal: closed before all was acknowledged")
		}
	}
	return nil
}

// Health is how the log is doing.
type Health struct {
	// Waiting are the events not acknowledged yet, Bytes about their memory, Oldest
	// the age of the oldest.
	Waiting int
	Bytes   int64
	Oldest  time.Duration
	// Limit is Config.SoftLimit.
	Limit int64
	// Acknowledged are events durably stored, Retried messages sent again.
	Acknowledged, Retried uint64
	// Omitted are the events of which only the number was kept, by kind.
	Omitted map[journal.Kind]uint64
	// Rejected could not be stored at all, Late came after Close.
	Rejected, Late uint64
	// Connected says that there is a connection to NATS, Away for how long there has
	// been none.
	Connected bool
	Away      time.Duration
	// Ailing is for how long nothing could be stored; 0 while all is well.
	Ailing time.Duration
	// LastError is the last thing that went wrong, at LastErrorAt; it stays when all
	// is well again.
	LastError   string
	LastErrorAt time.Time
	// Slow counts the messages that subscribers were too slow for, by subject.
	Slow map[string]uint64
}

// OK says whether new calls may be taken: less waits than the limit, and what
// waits has a chance.
func (h *Health) OK() bool { return h.Err() == "" }

// Err says in a sentence what is wrong; empty is nothing.
func (h *Health) Err() string {
	full := ""
	if h.Bytes >= h.Limit {
		full = fmt.Sprintf(", that is more than the %d MiB that may wait: take no new calls", h.Limit>>20)
	}
	switch {
	case h.Ailing > patience:
		return fmt.Sprintf("nothing has been stored for %v, %d events wait (%.1f MiB)%s; %s",
			h.Ailing.Round(time.Second), h.Waiting, float64(h.Bytes)/(1<<20), full, h.LastError)
	case h.Away > patience:
		return fmt.Sprintf("there has been no connection to NATS for %v, %d events wait (%.1f MiB)%s; %s",
			h.Away.Round(time.Second), h.Waiting, float64(h.Bytes)/(1<<20), full, h.LastError)
	case full != "":
		return fmt.Sprintf("%d events wait (%.1f MiB)%s; the log is too slow or was away", h.Waiting, float64(h.Bytes)/(1<<20), full)
	default:
		return ""
	}
}

// Health tells how the log is doing.
func (l *Log) Health() Health {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	h := Health{
		Connected: l.away.IsZero(), Waiting: l.events, Bytes: l.bytes, Limit: l.cfg.SoftLimit, Acknowledged: l.acked, Retried: l.again,
		Omitted: maps.Clone(l.omit), Rejected: l.reject, Late: l.tooLate,
		LastErrorAt: l.lastErrAt, Slow: l.slowest(),
	}
	if l.lastErr != nil {
		h.LastError = l.lastErr.Error()
	}
	if !l.ailing.IsZero() {
		h.Ailing = max(now.Sub(l.ailing), 1)
	}
	if !l.away.IsZero() {
		h.Away = max(now.Sub(l.away), 1)
	}
	for _, n := range l.lanes {
		if len(n.items) > n.head {
			h.Oldest = max(h.Oldest, now.Sub(n.items[n.head].since))
		}
	}
	return h
}
