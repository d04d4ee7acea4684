package recording

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sidetone/internal/pcm"
	"sidetone/internal/queue"
	"sidetone/media"
)

const (
	// queued is how many frames of a call may wait: 2.5 s of two legs.
	queued = 250
	// longest is how long a recording may be, in samples at pcm.Rate.
	longest = 24 * 3600 * pcm.Rate
)

// Recorder records one call. Its methods are safe for concurrent use, but for
// those of a Leg.
type Recorder struct {
	store *Store
	key   string
	queue *queue.Queue[item]
	// paused is set while what comes is not kept, gone when the recording is to be
	// forgotten.
	paused, gone atomic.Bool
	done         chan struct{}

	mu    sync.Mutex
	spans []span
	legs  []*Leg
	roles map[string]string

	// The rest belongs to the goroutine until done is closed.
	mix  mixer
	tape *tape
	// newest is the end of the newest frame of any leg; heard, that there was
	// sound.
	newest int64
	heard  bool
	// late counts samples that came when their place was written.
	late  int64
	pcm   [2][]int16
	muted []span
	kept  Kept
	err   error
}

// Leg is one leg of a call that is being recorded. It belongs to the goroutine
// that brings its frames.
type Leg struct {
	r  *Recorder
	id string
	// side, role and over are guarded by r.mu.
	side int
	role media.Role
	over bool
	// offset is the leg's position zero on the call's clock, in samples.
	offset int64
	placed bool
	item   item
	// live and newest belong to the recorder's goroutine.
	live   bool
	newest int64
}

// item is what waits in the queue: a frame, or the end of a leg.
type item struct {
	leg   *Leg
	end   bool
	frame pcm.Frame
}

// Begin records a call, or goes on with a recording that was cut off. It returns
// at once; nothing is written before there is sound.
func (s *Store) Begin(key string) (*Recorder, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	for _, format := range []Format{FLAC, WAV} {
		_, finished := os.Stat(s.path(key, "."+string(format)+sealedSuffix))
		_, part := os.Stat(s.path(key, partSuffix))
		if finished == nil && errors.Is(part, fs.ErrNotExist) {
			return nil, fmt.Errorf("recording: that of call %s is finished already", key)
		}
	}
	r := newRecorder(s, key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running[key] != nil {
		return nil, fmt.Errorf("recording: call %s: %w", key, ErrRunning)
	}
	s.running[key] = r
	s.stats.Running.Add(1)
	go r.run()
	return r, nil
}

func newRecorder(s *Store, key string) *Recorder {
	r := &Recorder{store: s, key: key, queue: queue.New[item](queued), done: make(chan struct{}), tape: newTape(s, key)}
	r.pcm[left], r.pcm[right] = make([]int16, block), make([]int16, block)
	return r
}

// AddLeg begins a leg. Its frames count from Place on.
func (r *Recorder) AddLeg(id string) *Leg {
	l := &Leg{r: r, id: id, side: -1}
	l.item.leg = l
	r.mu.Lock()
	defer r.mu.Unlock()
	r.legs = append(r.legs, l)
	return l
}

// Place says when the leg's clock began on the call's, and who is on it, which
// decides on which side it is heard. It comes before the first frame; later ones
// are ignored.
func (l *Leg) Place(offset time.Duration, role media.Role) {
	if l.placed {
		return
	}
	l.placed, l.offset = true, pcm.Samples(offset)
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	l.side, l.role = l.r.side(role), role
}

// side finds a side for a role. The caller holds mu.
func (r *Recorder) side(role media.Role) int {
	var on [2]int
	var foreign [2]bool
	used := [2]bool{}
	for _, o := range r.legs {
		if o.side < 0 {
			continue
		}
		used[o.side] = true
		if !o.over {
			on[o.side]++
			foreign[o.side] = foreign[o.side] || o.role != role
		}
	}
	want := left
	switch {
	case role == media.RoleCustomer:
		want = right
	case role == media.RoleUnknown && (on[left] > on[right] || on[left] == on[right] && used[left] && !used[right]):
		want = right
	}
	if other := right - want; foreign[want] && on[other] == 0 {
		return other
	}
	return want
}

// Frame records a copy of the frame. It neither waits nor allocates.
func (l *Leg) Frame(f *pcm.Frame) {
	if !l.placed {
		return
	}
	l.item.frame.Start, l.item.frame.Flags = f.Start, f.Flags
	if l.r.paused.Load() {
		l.item.frame.Flags |= pcm.Inserted
	}
	if l.item.frame.Flags == 0 {
		l.item.frame.Samples = f.Samples
	}
	l.r.queue.Push(&l.item)
}

// End says that no frame follows.
func (l *Leg) End() {
	l.r.mu.Lock()
	l.over = true
	l.r.mu.Unlock()
	l.item.end = true
	l.r.queue.Push(&l.item)
}

// Pause silences both sides from a time on the call's clock on, and all that
// comes until Resume: what was heard before and waits to be written stays.
func (r *Recorder) Pause(at time.Duration) {
	r.paused.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spans = append(r.spans, span{pcm.Samples(at), math.MaxInt64})
}

// Resume ends the silence at a time on the call's clock.
func (r *Recorder) Resume(at time.Duration) {
	r.mu.Lock()
	if n := len(r.spans); n > 0 && r.spans[n-1].to == math.MaxInt64 {
		r.spans[n-1].to = pcm.Samples(at)
	}
	r.mu.Unlock()
	r.paused.Store(false)
}

// Close ends the recording: what has come is written, and roles, by legs, say who
// was who. Without sound there is no recording, and Kept's Duration is zero. An
// error means that the recording is not finished: Store.Finish may do it once
// there is room. Close waits for the disk; it may come more than once.
func (r *Recorder) Close(roles map[string]string) (Kept, error) {
	r.mu.Lock()
	if r.roles == nil {
		r.roles = roles
	}
	r.mu.Unlock()
	r.queue.Close()
	<-r.done
	return r.kept, r.err
}

// abandon forgets the recording.
func (r *Recorder) abandon() {
	r.gone.Store(true)
	r.queue.Close()
	<-r.done
}

func (r *Recorder) run() {
	defer close(r.done)
	defer func() {
		r.store.mu.Lock()
		defer r.store.mu.Unlock()
		delete(r.store.running, r.key)
		r.store.stats.Running.Add(-1)
	}()
	r.open()
	var it item
	for r.queue.Pop(context.Background(), &it) {
		r.accept(&it)
	}
	r.finish()
}

// open goes on where a log ends.
func (r *Recorder) open() {
	if err := r.tape.restore(); err != nil {
		r.fail(err)
	}
	r.mix.done = r.tape.index.position()
	r.heard, r.newest = r.mix.done > 0, r.mix.done
}

// accept takes in what came out of the queue.
func (r *Recorder) accept(it *item) {
	l := it.leg
	if it.end {
		l.live = false
		r.advance()
		return
	}
	pos := l.offset + it.frame.Start
	end := pos + pcm.FrameSamples
	if end > longest || end <= 0 {
		r.late += pcm.FrameSamples
		return
	}
	l.live, l.newest = true, max(l.newest, end)
	r.newest = max(r.newest, end)
	if it.frame.Flags == 0 {
		r.heard = true
		for end > r.mix.done+window {
			r.emit(block)
		}
		r.late += int64(r.mix.place(l.side, pos, it.frame.Samples[:]))
	}
	r.advance()
}

// advance writes what no leg can add to any more.
func (r *Recorder) advance() {
	if !r.heard {
		return
	}
	until := r.newest - hold
	r.mu.Lock()
	for _, l := range r.legs {
		if l.live {
			until = min(until, l.newest)
		}
	}
	r.mu.Unlock()
	for until = max(until, r.newest-maxLag); r.mix.done+block <= until; {
		r.emit(block)
	}
}

// emit writes the next n samples.
func (r *Recorder) emit(n int) {
	r.mu.Lock()
	r.muted = append(r.muted[:0], r.spans...)
	for _, l := range r.legs {
		r.tape.hears(l.side, l.id)
	}
	r.mu.Unlock()
	part := [2][]int16{r.pcm[left][:n], r.pcm[right][:n]}
	r.mix.take(&part, r.muted)
	if r.gone.Load() {
		return
	}
	if err := r.tape.write(&part, r.muted); err != nil {
		r.fail(err)
	}
}

// fail notes why the recording is no longer whole, once.
func (r *Recorder) fail(err error) {
	if r.err == nil {
		r.err = err
		r.store.cfg.Log.Error("recording fails; the call goes on", "key", r.key, "error", err)
	}
}

// finish writes what is left and makes the file.
func (r *Recorder) finish() {
	t, stats := r.tape, &r.store.stats
	defer t.close()
	if r.gone.Load() || !r.heard {
		if err := t.remove(); err != nil {
			r.fail(err)
		}
		return
	}
	for r.mix.done < r.newest {
		r.emit(int(min(block, r.newest-r.mix.done)))
	}
	if err := t.end(r.muted); err != nil {
		r.fail(err)
	}
	dropped := int64(r.queue.Dropped())
	stats.Dropped.Add(dropped + r.late/pcm.FrameSamples)
	t.index.lost += dropped*pcm.FrameSamples + r.late
	switch {
	case t.failed && r.err != nil:
		t.index.problem = r.err.Error()
		t.index.lost += max(0, r.newest-t.index.position())
	case t.index.lost > 0:
		t.index.problem = "the disk was too slow, or audio came too late"
	}
	r.mu.Lock()
	roles := r.roles
	r.mu.Unlock()
	// A recording that was cut short is kept as far as it goes.
	r.kept, r.err = r.store.assemble(r.key, t.file, &t.index, roles)
	if r.err != nil {
		r.kept.Problem = r.err.Error()
		r.store.cfg.Log.Error("a recording could not be finished", "key", r.key, "error", r.err)
	}
	if r.err != nil || t.failed {
		stats.Failed.Add(1)
	} else {
		stats.Kept.Add(1)
	}
}

// parties joins legs to their roles.
func parties(legs []string, roles map[string]string) []Party {
	out := make([]Party, 0, len(legs))
	for _, id := range legs {
		role := roles[id]
		if role == "" {
			role = media.RoleUnknown.String()
		}
		out = append(out, Party{Leg: id, Role: role})
	}
	return slices.Clip(out)
}
