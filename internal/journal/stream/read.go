package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"sidetone/internal/journal"
)

// Read calls fn with the stored events of a call in their order and ends after what
// was stored when it began; what still waits in memory is not among them (Flush). A
// call of which nothing is stored has none. It ends early with the error of fn.
func (l *Log) Read(ctx context.Context, key string, fn func(journal.Event) error) error {
	if !journal.ValidKey(key) {
		return fmt.Errorf("journal: %.80q can be no call's key", key)
	}
	fail := func(err error) error { return fmt.Errorf("journal: reading call %s: %w", key, explain(err)) }
	s, err := l.js.Stream(ctx, l.names.stream)
	if err != nil {
		return fail(err)
	}
	last, err := l.last(ctx, s, key)
	if err != nil {
		return fail(err)
	}
	var it jetstream.MessagesContext
	defer func() {
		if it != nil {
			it.Stop()
		}
	}()
	// What was sent again long after its acknowledgement was lost may be there twice.
	n := uint64(0)
	for seq := uint64(0); seq < last; {
		if it == nil {
			if it, err = l.follow(ctx, s, l.names.events+key, seq+1); err != nil {
				return fail(err)
			}
		}
		m, err := nextWithin(ctx, it, readPatience)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			// Too old or erased since, or the server is another one: what is there now?
			it.Stop()
			it = nil
			there, gone := l.last(ctx, s, key)
			if gone != nil {
				return fail(gone)
			}
			last = min(last, there)
			continue
		}
		if err != nil {
			return fail(err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fail(err)
		}
		seq = meta.Sequence.Stream
		events, err := readEvents(m.Data())
		if err != nil {
			return fail(err)
		}
		for _, e := range events {
			if e.N <= n {
				continue
			}
			n = e.N
			if err := fn(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// readPatience is how long Read waits for a message that should be there before it
// looks whether it still is.
const readPatience = time.Second

// nextWithin is the next message, or context.DeadlineExceeded.
func nextWithin(ctx context.Context, it jetstream.MessagesContext, d time.Duration) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return it.Next(jetstream.NextContext(ctx))
}

// last is the sequence number of the last stored message of a call, 0 for none.
func (l *Log) last(ctx context.Context, s jetstream.Stream, key string) (uint64, error) {
	m, err := s.GetLastMsgForSubject(ctx, l.names.events+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return m.Sequence, nil
}

// follow reads the stream's messages from sequence number from on.
func (l *Log) follow(ctx context.Context, s jetstream.Stream, subject string, from uint64) (jetstream.MessagesContext, error) {
	cfg := jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}, InactiveThreshold: time.Minute}
	if from > 0 {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, from
	}
	c, err := s.OrderedConsumer(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return c.Messages(jetstream.PullMaxMessages(256))
}

// cursor is how far a consumer is: what it has done of the stream.
type cursor struct {
	Seq uint64 `json:"seq"`
}

// Consume calls fn with the events of all calls, from the first that is stored, in
// the order in which they were stored, up to about batch at once, until ctx ends.
// How far it is the log remembers under the name, so it goes on there after a
// restart. Of all that consume under one name, on any node, one is served, and
// another as soon as that one is gone: events stay in order. fn gets the same
// batch again until it returns nil, and may get one again that it had: what it does
// must bear that (events have ID). The error is that of the name or of ctx.
func (l *Log) Consume(ctx context.Context, name string, batch int, fn func([]journal.Event) error) error {
	if !validName(name) || batch < 1 {
		return fmt.Errorf("journal: consuming as %q, %d at once: the name takes letters, digits, '-' and '_', and at least 1 is needed", name, batch)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	pause := firstPause
	for {
		done, err := l.consume(ctx, name, batch, fn)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch {
		case errors.Is(err, context.Canceled):
			// A disk that is slow for a moment lets a lease run out, too.
			l.cfg.Log.Info("journal: the lease to consume has run out; it is asked for again", "name", name)
		case err != nil:
			l.cfg.Log.Warn("journal: consuming", "name", name, "err", err)
		}
		if done {
			pause = firstPause
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, lastPause, l.cfg.Lease/2)
	}
}

// consume serves fn as long as the lease of the name is this node's; done says that
// fn has done something.
func (l *Log) consume(ctx context.Context, name string, batch int, fn func([]journal.Event) error) (done bool, err error) {
	lease, err := l.lease(ctx, "consumer."+name)
	if err != nil || lease == nil {
		return false, err
	}
	defer lease.end()
	ctx = lease.ctx
	state, err := l.js.KeyValue(ctx, l.names.state)
	if err != nil {
		return false, explain(err)
	}
	var at cursor
	rev := uint64(0)
	entry, err := state.Get(ctx, "cursor."+name)
	switch {
	case err == nil:
		if bad := json.Unmarshal(entry.Value(), &at); bad != nil {
			return false, fmt.Errorf("how far it is: %w", bad)
		}
		rev = entry.Revision()
	case !errors.Is(err, jetstream.ErrKeyNotFound):
		return false, explain(err)
	}
	s, err := l.js.Stream(ctx, l.names.stream)
	if err != nil {
		return false, explain(err)
	}
	if last := s.CachedInfo().State.LastSeq; at.Seq > last {
		l.cfg.Log.Warn("journal: the stream is older than what was consumed of it: all is consumed again", "name", name, "consumed", at.Seq, "last", last)
		at.Seq = 0
	}
	it, err := l.follow(ctx, s, l.names.events+"*", at.Seq+1)
	if err != nil {
		return false, explain(err)
	}
	defer it.Stop()
	var events []journal.Event
	for {
		events = events[:0]
		for more := true; more && len(events) < batch; {
			m, err := it.Next(jetstream.NextContext(ctx))
			if err != nil {
				return done, explain(err)
			}
			meta, err := m.Metadata()
			if err != nil {
				return done, err
			}
			these, err := readEvents(m.Data())
			if err != nil {
				// It will not get better: others' messages must not end all.
				l.cfg.Log.Error("journal: a message is passed over", "sequence", meta.Sequence.Stream, "err", err)
			}
			events = append(events, these...)
			at.Seq, more = meta.Sequence.Stream, meta.NumPending > 0
		}
		if !l.deliver(ctx, name, events, fn) {
			return done, nil
		}
		b, err := json.Marshal(at)
		if err != nil {
			return done, err
		}
		if rev, err = state.Update(ctx, "cursor."+name, b, rev); err != nil {
			return done, explain(err)
		}
		done = true
	}
}

// deliver calls fn until it has done its work; false is that ctx ended before.
func (l *Log) deliver(ctx context.Context, name string, events []journal.Event, fn func([]journal.Event) error) bool {
	if len(events) == 0 {
		return true
	}
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := fn(events)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			// Not the consumer's fault: it is told to stop.
			return false
		}
		l.cfg.Log.Warn("journal: a consumer fails, it is asked again", "name", name, "events", len(events), "err", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return false
		}
	}
}

// Erase removes all events of a call, stored or not. The call should be over: what
// is appended later is stored, and stands alone. What NATS wrote to its files is
// overwritten with random bytes; copies below and beside them (a disk's spare
// blocks, file-system snapshots, backups) are out of its reach. The entry of an open
// call goes with DropOpen, and is not overwritten but compacted away by NATS.
func (l *Log) Erase(ctx context.Context, key string) error {
	if !journal.ValidKey(key) {
		return fmt.Errorf("journal: %.80q can be no call's key", key)
	}
	fail := func(err error) error { return fmt.Errorf("journal: erasing call %s: %w", key, explain(err)) }
	s, err := l.js.Stream(ctx, l.names.stream)
	if err != nil {
		return fail(err)
	}
	for {
		l.mu.Lock()
		underWay := l.discard(key)
		l.mu.Unlock()
		if err := l.erase(ctx, s, key); err != nil {
			return fail(err)
		}
		if !underWay {
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return fail(fmt.Errorf("some of its events are still under way: %w", ctx.Err()))
		}
	}
}

// erase removes what is stored of a call, the last first: what is left when it fails
// still has its beginning.
func (l *Log) erase(ctx context.Context, s jetstream.Stream, key string) error {
	for {
		m, err := s.GetLastMsgForSubject(ctx, l.names.events+key)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.SecureDeleteMsg(ctx, m.Sequence); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return err
		}
	}
}
