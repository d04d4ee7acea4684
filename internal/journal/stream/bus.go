package stream

import (
	"context"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
)

// busPending bounds what waits for a subscriber: messages and bytes.
const (
	busPending      = 4096
	busPendingBytes = 8 << 20
)

// Publish sends a message to all that subscribe to the subject on any node. It is
// kept nowhere: who is not there, or too slow, misses it. The subject is of words of
// letters, digits, '-' and '_' with dots between.
func (l *Log) Publish(subject string, b []byte) error {
	if err := l.nc.Publish(l.names.bus+subject, b); err != nil {
		return fmt.Errorf("journal: publishing %s: %w", subject, err)
	}
	return nil
}

// Subscribe calls fn, one message at a time, with what is published on the subject,
// in which '*' stands for any word and a last '>' for any rest. When fn falls 4096
// messages or 8 MiB behind, messages are lost and counted in Health.Slow. stop ends
// it and waits for a fn that runs; it must not be called by fn.
func (l *Log) Subscribe(subject string, fn func(subject string, b []byte)) (stop func(), err error) {
	return l.subscribe(subject, "", func(m *nats.Msg) { fn(m.Subject[len(l.names.bus):], m.Data) })
}

// Serve answers requests on the subject with what fn returns. It is called with one
// at a time; where several serve the same subject, one of them gets a request.
func (l *Log) Serve(subject string, fn func(b []byte) []byte) (stop func(), err error) {
	return l.subscribe(subject, "servers", func(m *nats.Msg) {
		if err := m.Respond(fn(m.Data)); err != nil {
			l.cfg.Log.Debug("journal: answering a request", "subject", subject, "err", err)
		}
	})
}

// Request sends a message to one that serves the subject and returns its answer.
func (l *Log) Request(ctx context.Context, subject string, b []byte) ([]byte, error) {
	m, err := l.nc.RequestWithContext(ctx, l.names.bus+subject, b)
	if err != nil {
		return nil, fmt.Errorf("journal: request %s: %w", subject, err)
	}
	return m.Data, nil
}

// subscription is one of the bus. Its mutex is held while fn runs.
type subscription struct {
	*nats.Subscription
	subject string
	mu      sync.Mutex
	over    bool
}

func (l *Log) subscribe(subject, group string, fn func(*nats.Msg)) (func(), error) {
	s := &subscription{subject: subject}
	call := func(m *nats.Msg) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.over {
			fn(m)
		}
	}
	fail := func(err error) (func(), error) {
		return nil, fmt.Errorf("journal: subscribing to %s: %w", subject, err)
	}
	var err error
	if group == "" {
		s.Subscription, err = l.nc.Subscribe(l.names.bus+subject, call)
	} else {
		s.Subscription, err = l.nc.QueueSubscribe(l.names.bus+subject, group, call)
	}
	if err != nil {
		return fail(err)
	}
	if err := s.SetPendingLimits(busPending, busPendingBytes); err != nil {
		return fail(err)
	}
	l.mu.Lock()
	l.subs[s] = struct{}{}
	l.mu.Unlock()
	return func() { l.unsubscribe(s) }, nil
}

// unsubscribe ends a subscription and waits for its fn.
func (l *Log) unsubscribe(s *subscription) {
	l.mu.Lock()
	_, live := l.subs[s]
	if live {
		delete(l.subs, s)
		l.slow[s.subject] += s.lost()
	}
	l.mu.Unlock()
	if live {
		if err := s.Unsubscribe(); err != nil {
			l.cfg.Log.Debug("journal: ending a subscription", "subject", s.subject, "err", err)
		}
	}
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
}

// lost is how many messages it was too slow for.
func (s *subscription) lost() uint64 {
	n, err := s.Dropped()
	if err != nil || n < 0 {
		return 0
	}
	return uint64(n)
}

// slowest counts the messages lost for slow subscribers, by subject; Log.mu is held.
func (l *Log) slowest() map[string]uint64 {
	all := map[string]uint64{}
	for subject, n := range l.slow {
		if n > 0 {
			all[subject] = n
		}
	}
	for s := range l.subs {
		if n := s.lost(); n > 0 {
			all[s.subject] += n
		}
	}
	return all
}
