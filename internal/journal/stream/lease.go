package stream

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// lease is a right that one process has at a time.
type lease struct {
	// ctx ends when the lease is lost.
	ctx  context.Context
	stop context.CancelFunc
	over chan struct{}
}

// lease takes a lease; nil where another has it. A goroutine renews it until end.
func (l *Log) lease(ctx context.Context, key string) (*lease, error) {
	kv, err := l.js.KeyValue(ctx, l.names.leases)
	if err != nil {
		return nil, explain(err)
	}
	rev, err := kv.Create(ctx, key, []byte(l.self))
	if errors.Is(err, jetstream.ErrKeyExists) {
		return nil, nil
	}
	if err != nil {
		return nil, explain(err)
	}
	t := &lease{over: make(chan struct{})}
	t.ctx, t.stop = context.WithCancel(ctx)
	go func() {
		defer close(t.over)
		defer t.stop()
		l.renewLease(t.ctx, kv, key, rev)
	}()
	return t, nil
}

// renewLease renews until ctx ends, gives the lease back then, and returns before it
// can have run out.
func (l *Log) renewLease(ctx context.Context, kv jetstream.KeyValue, key string, rev uint64) {
	good := time.Now()
	tick := time.NewTicker(l.cfg.Lease / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if err := kv.Purge(last, key, jetstream.LastRevision(rev)); err != nil {
				l.cfg.Log.Debug("journal: giving a lease back", "lease", key, "err", err)
			}
			return
		case <-tick.C:
		}
		now := time.Now()
		try, cancel := context.WithTimeout(ctx, l.cfg.Lease/4)
		next, err := kv.Update(try, key, []byte(l.self), rev)
		cancel()
		switch {
		case err == nil:
			good, rev = now, next
		case lost(err), time.Since(good) > l.cfg.Lease/2:
			return
		}
	}
}

func (t *lease) end() {
	t.stop()
	<-t.over
}
