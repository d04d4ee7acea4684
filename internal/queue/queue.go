// Package queue holds the bounded queue between a writer that must never wait,
// such as a media path, and a reader that may be slow.
//
// When the queue is full the oldest value is dropped and counted, so a slow
// reader loses its own past and delays nobody.
package queue

import (
	"context"
	"sync"
)

// Queue is a ring of values of T. It is safe for concurrent use; Pop is meant
// for one reader.
type Queue[T any] struct {
	mu      sync.Mutex
	ring    []T
	head, n int
	dropped uint64
	closed  bool
	wake    chan struct{}
}

// New makes a queue that holds up to bound values; bound must be positive.
func New[T any](bound int) *Queue[T] {
	return &Queue[T]{ring: make([]T, bound), wake: make(chan struct{}, 1)}
}

// Push copies *v into the queue without waiting or allocating. It reports
// false when the queue is closed.
func (q *Queue[T]) Push(v *T) bool {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false
	}
	if q.n == len(q.ring) {
		q.head = (q.head + 1) % len(q.ring)
		q.n--
		q.dropped++
	}
	q.ring[(q.head+q.n)%len(q.ring)] = *v
	q.n++
	q.mu.Unlock()
	q.signal()
	return true
}

// Pop copies the oldest value into *v, waiting for one if need be. It reports
// false when ctx is done, or when the queue is closed and empty: like a
// channel, a closed queue still delivers what is inside.
func (q *Queue[T]) Pop(ctx context.Context, v *T) bool {
	for {
		q.mu.Lock()
		if q.n > 0 {
			*v = q.ring[q.head]
			q.head = (q.head + 1) % len(q.ring)
			q.n--
			q.mu.Unlock()
			return true
		}
		closed := q.closed
		q.mu.Unlock()
		if closed {
			return false
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			return false
		}
	}
}

// Close ends the queue. Idempotent.
func (q *Queue[T]) Close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}

// Len is how many values wait.
func (q *Queue[T]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n
}

// Dropped counts the values that were lost because the reader was slow.
func (q *Queue[T]) Dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

func (q *Queue[T]) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
