package whisper

import (
	"context"
	"slices"
	"sync"
	"time"

	"sidetone/asr/whisper/model"
)

// job is one decode of an utterance.
type job struct {
	leg   *Stream
	utt   *utterance
	final bool
	// paused is the place of the pause that a partial is for, 0 for none.
	paused int64
	// careful jobs are decoded as finals are: finals, and partials at a pause,
	// which become finals if speech has ended there.
	careful bool
	// searched jobs are decoded with a beam where the model is not sure: careful
	// ones, and partials in which a word waits for it.
	searched bool
	// adopted says that the partial has become its utterance's final; it is
	// guarded by the scheduler's lock.
	adopted  bool
	samples  []int16
	language string
	// detect says that an empty language is to be found out; certain that it was.
	detect, certain bool
	// draft is what the text probably is, in the tokens of the partials' model.
	draft []int
	bias  [2]*model.Bias
	// first is what the first model heard, where the second is asked too.
	first outcome

	born, deadline time.Time
	ctx            context.Context
	cancel         context.CancelFunc
}

// done is a job that has come back.
type done struct {
	*job
	out outcome
	err error
}

// scheduler hands jobs to workers: careful ones before common partials, the earliest
// deadline first, never two jobs of one leg at once, so that a leg's finals
// stay in order. A worker takes several jobs of different legs together.
type scheduler struct {
	stats *Stats
	batch int
	wg    sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond
	queue   []*job
	running map[*Stream]*job
	workers int
	record  record
	closed  bool
}

func newScheduler(stats *Stats, batch int) *scheduler {
	s := &scheduler{stats: stats, batch: batch, running: map[*Stream]*job{}}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// start runs a worker until close.
func (s *scheduler) start(w *worker) {
	s.workers++
	s.wg.Go(func() {
		for {
			batch := s.next()
			if batch == nil {
				return
			}
			begin := time.Now()
			w.run(batch, s.finish)
			s.worked(time.Since(begin))
		}
	})
}

func (s *scheduler) worked(d time.Duration) {
	s.stats.Busy.Add(int64(d))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record.now(time.Now()).busy += d
}

// load tells how busy the workers are.
func (s *scheduler) load() Load {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	l := s.record.load(now, s.workers)
	for _, j := range s.queue {
		if j.final {
			l.FinalWait = max(l.FinalWait, now.Sub(j.born))
		}
	}
	return l
}

// submit queues a job. A final takes its leg's partial out of the queue, or
// stops it; stale says that one was taken out, which then never comes back.
func (s *scheduler) submit(j *job) (stale bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false, ErrClosed
	}
	if j.final {
		s.queue = slices.DeleteFunc(s.queue, func(q *job) bool {
			if q.leg != j.leg || q.final || q.adopted {
				return false
			}
			q.cancel()
			s.stats.StalePartials.Add(1)
			stale = true
			return true
		})
		if r := s.running[j.leg]; r != nil && !r.final && !r.adopted {
			r.cancel()
		}
	}
	s.queue = append(s.queue, j)
	s.stats.Queued.Store(int64(len(s.queue)))
	s.changed.Broadcast()
	return stale, nil
}

// renew gives a partial that is still in the queue newer audio; it keeps its
// place. False means that its decoding has begun.
func (s *scheduler) renew(j *job, samples []int16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.queue, j) {
		return false
	}
	j.samples = samples
	return true
}

// withdraw takes a partial out of the queue. False means that its decoding has
// begun.
func (s *scheduler) withdraw(j *job) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.queue, j)
	if i < 0 {
		return false
	}
	s.queue = slices.Delete(s.queue, i, i+1)
	s.stats.Queued.Store(int64(len(s.queue)))
	s.stats.StalePartials.Add(1)
	j.cancel()
	return true
}

// adopt makes a partial that waits or is being decoded its utterance's final: no
// other final stops it.
func (s *scheduler) adopt(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j.adopted = true
}

// told counts a final that was there when speech ended.
func (s *scheduler) told() {
	s.stats.Finals.Add(1)
	s.stats.Foreseen.Add(1)
	s.stats.LastFinalWait.Store(0)
}

// next waits for the most urgent job whose leg is free, and takes others along
// that may wait no longer than it: with a careful one only such, so that no
// common partial holds it up. Nil means closed.
func (s *scheduler) next() []*job {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.closed {
			return nil
		}
		var batch []*job
		for len(batch) < s.batch {
			j := s.urgent()
			if j < 0 || len(batch) > 0 && s.queue[j].careful != batch[0].careful {
				break
			}
			batch = append(batch, s.queue[j])
			s.running[s.queue[j].leg] = s.queue[j]
			s.queue = slices.Delete(s.queue, j, j+1)
		}
		if len(batch) > 0 {
			s.stats.Queued.Store(int64(len(s.queue)))
			s.stats.Running.Store(int64(len(s.running)))
			return batch
		}
		s.changed.Wait()
	}
}

// urgent is the place of the most urgent job whose leg is free, or -1.
func (s *scheduler) urgent() int {
	best := -1
	for i, j := range s.queue {
		if s.running[j.leg] == nil && (best < 0 || j.before(s.queue[best])) {
			best = i
		}
	}
	return best
}

func (j *job) before(o *job) bool {
	if j.careful != o.careful {
		return j.careful
	}
	return j.deadline.Before(o.deadline)
}

func (s *scheduler) finish(j *job, out outcome, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed && err != nil {
		err = ErrClosed
	}
	now := time.Now()
	wait, second := now.Sub(j.born), s.record.now(now)
	switch {
	case err == nil && j.final:
		second.finalWait = max(second.finalWait, wait)
		s.stats.Finals.Add(1)
		s.stats.FinalWait.Add(int64(wait))
		s.stats.LastFinalWait.Store(int64(wait))
	case err == nil:
		second.partials++
		second.partialWait += wait
		s.stats.Partials.Add(1)
	case !j.final:
		s.stats.StalePartials.Add(1)
	}
	j.cancel()
	delete(s.running, j.leg)
	s.stats.Running.Store(int64(len(s.running)))
	j.leg.deliver(done{j, out, err})
	s.changed.Broadcast()
}

// drop takes a leg's jobs out of the queue, stops the one being decoded and
// waits for it.
func (s *scheduler) drop(leg *Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = slices.DeleteFunc(s.queue, func(q *job) bool {
		if q.leg == leg {
			q.cancel()
		}
		return q.leg == leg
	})
	s.stats.Queued.Store(int64(len(s.queue)))
	for s.running[leg] != nil {
		s.running[leg].cancel()
		s.changed.Wait()
	}
}

func (s *scheduler) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *scheduler) close() {
	s.mu.Lock()
	s.closed = true
	for _, j := range s.queue {
		j.cancel()
		j.leg.deliver(done{j, outcome{}, ErrClosed})
	}
	s.queue = nil
	s.stats.Queued.Store(0)
	for _, j := range s.running {
		j.cancel()
	}
	s.changed.Broadcast()
	s.mu.Unlock()
	s.wg.Wait()
}
