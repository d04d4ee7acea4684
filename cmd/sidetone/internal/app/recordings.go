package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/journal"
	"sidetone/internal/seal"
	"sidetone/media"
	"sidetone/media/recording"
)

// recordings is the kept audio. A nil one keeps nothing and has none.
type recordings struct {
	calls, note string
	store       *recording.Store
}

// openRecordings opens what is kept in the storage folder. Where nothing is to be
// kept, and nothing was, it is nil.
func openRecordings(cfg *config.Config, s *storage, log *slog.Logger) (*recordings, error) {
	place := cfg.Recording.Dir
	if place == "" {
		place = filepath.Join(s.dir, "recordings")
	}
	if _, err := os.Stat(place); cfg.Recording.Calls == config.RecordNone && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	keys, err := seal.Open(seal.Config{Dir: s.keys})
	if err != nil {
		return nil, fmt.Errorf("storage.keys: %w", err)
	}
	r := &recordings{calls: cfg.Recording.Calls, note: cfg.Recording.Note}
	r.store, err = recording.New(recording.Config{
		Dir: place, Format: recording.Format(cfg.Recording.Format), Rate: cfg.Recording.Rate, Keys: keys, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("recording.dir: %w", err)
	}
	return r, nil
}

// check refuses a wish that cannot be met, so that nobody relies on a recording
// that is not made.
func (r *recordings) check(wish *bool) error {
	if wish != nil && *wish && (r == nil || r.calls == config.RecordNone) {
		return badRequest("set recording.calls to by_call or all", "record: this server records no calls")
	}
	return nil
}

// wanted says whether a call is to be recorded, of which somebody may have said
// whether it shall.
func (r *recordings) wanted(wish *bool) bool {
	switch {
	case r == nil || r.calls == config.RecordNone:
		return false
	case wish != nil:
		return *wish
	default:
		return r.calls == config.RecordAll
	}
}

// record begins to keep the call's audio, or goes on with it, if it is to be kept.
func (c *call) record() {
	r := c.env.recordings
	c.mu.Lock()
	defer c.mu.Unlock()
	if r == nil || !c.rec.Record {
		return
	}
	var err error
	if c.recorder, err = r.store.Begin(c.key); err != nil {
		c.log.Error("the call is not recorded", "error", err)
		return
	}
	for _, p := range c.rec.Pauses {
		c.recorder.Pause(time.Duration(p.StartMS) * time.Millisecond)
		if p.EndMS != nil {
			c.recorder.Resume(time.Duration(*p.EndMS) * time.Millisecond)
		}
	}
}

// keepRecording finishes the recording when the call is over. The disk keeps
// neither the call waiting nor its last words.
func (c *call) keepRecording() {
	if c.recorder == nil {
		return
	}
	c.later.Go(func() {
		kept, err := c.recorder.Close(c.roles())
		c.recorded(&kept, err)
	})
}

// roles are those of the legs, by their names.
func (c *call) roles() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]string{}
	for _, l := range c.rec.Legs {
		out[l.ID] = l.Role
	}
	return out
}

// recorded writes down what became of the recording.
func (c *call) recorded(kept *recording.Kept, err error) {
	if err != nil {
		c.log.Error("the recording is not finished; it is tried again later", "error", err)
		return
	}
	if kept.Duration == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.emit(journal.RecordingKept, journal.Recording{
		Format: string(kept.Format), DurationMS: kept.Duration.Milliseconds(), Bytes: kept.Bytes,
		Left: legsOf(kept.Left), Right: legsOf(kept.Right), LostMS: kept.Lost.Milliseconds(), Problem: kept.Problem,
	})
	c.log.Info("recording kept", "duration", kept.Duration.Round(time.Millisecond), "bytes", kept.Bytes, "lost", kept.Lost, "problem", kept.Problem)
}

func legsOf(on []recording.Party) []string {
	var out []string
	for _, p := range on {
		out = append(out, p.Leg)
	}
	return out
}

// finishRecording ends the recording of a call that has ended without doing so.
func (cs *calls) finishRecording(c *call) {
	r := cs.env.recordings
	if r == nil {
		return
	}
	kept, err := r.store.Finish(c.key, c.roles())
	if !errors.Is(err, recording.ErrNone) {
		c.recorded(&kept, err)
	}
}

const (
	// finishEvery is how often recordings are looked for that could not be finished.
	finishEvery = 10 * time.Minute
	// firstFinish lets the calls of a lost server be taken over before.
	firstFinish = 30 * time.Second
)

// finishRecordings finishes what a crash or a full disk has left behind, until ctx
// ends.
func (cs *calls) finishRecordings(ctx context.Context) {
	if cs.env.recordings == nil {
		return
	}
	for wait := firstFinish; ; wait = finishEvery {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if err := cs.finishLeft(ctx); err != nil && ctx.Err() == nil {
			cs.env.log.Warn("recordings that were left unfinished", "error", err)
		}
	}
}

// finishLeft finishes the recordings of calls that are over. Those of calls that
// may go on, here or at another server, are let be.
func (cs *calls) finishLeft(ctx context.Context) error {
	keys, err := cs.env.recordings.store.Unfinished()
	errs := []error{err}
	for _, key := range keys {
		if c := cs.byKey(key); c != nil {
			if c.isDone() {
				cs.finishRecording(c)
			}
			continue
		}
		var rec journal.Call
		if err = cs.env.journal.Read(ctx, key, rec.Apply); err != nil {
			errs = append(errs, err)
			continue
		}
		if rec.N == 0 || rec.Running() {
			continue
		}
		c := cs.newCall(media.Call{ID: rec.Call, Source: rec.Source, Started: rec.Started}, func(media.End) {}, "")
		c.key, c.rec = key, rec
		cs.finishRecording(c)
	}
	return errors.Join(errs...)
}

// byKey is the call of that key that this server has, or nil.
func (cs *calls) byKey(key string) *call {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, c := range cs.order {
		if c.key == key {
			return c
		}
	}
	return nil
}

// erase deletes the recordings of calls.
func (r *recordings) erase(keys []string) error {
	if r == nil {
		return nil
	}
	for _, key := range keys {
		if _, err := r.store.Erase(key); err != nil {
			return err
		}
	}
	return nil
}

// expire deletes the recordings that are due, and those whose calls were erased:
// by another server, or before a backup was put back.
func (r *recordings) expire(ctx context.Context, s *storage, due []string) error {
	for _, key := range due {
		found := false
		if r != nil {
			var err error
			if found, err = r.store.Erase(key); err != nil {
				return err
			}
		}
		if !found {
			// It may lie at another server, which says so itself.
			rec, err := s.records.Call(ctx, key)
			if err != nil || rec.Node != s.node {
				continue
			}
		}
		if err := s.records.RecordingGone(ctx, key); err != nil {
			return err
		}
	}
	if r == nil {
		return nil
	}
	here := map[string]bool{}
	for e, err := range r.store.All() {
		if err != nil {
			return err
		}
		here[e.Key] = true
	}
	erased, err := s.records.Erased(ctx, slices.Collect(maps.Keys(here)))
	if err != nil {
		return err
	}
	return r.erase(erased)
}

// watchRecordings exports what recordings count themselves.
func (m *metrics) watchRecordings(r *recordings) {
	if r == nil {
		return
	}
	s := r.store.Stats()
	m.gauge("recordings_running", "Calls being recorded.", func() float64 { return float64(s.Running.Load()) })
	m.gauge("recordings_kept", "Recordings finished since the start.", func() float64 { return float64(s.Kept.Load()) })
	m.gauge("recordings_failed", "Recordings that ended before their calls or could not be finished.", func() float64 { return float64(s.Failed.Load()) })
	m.gauge("recordings_bytes", "Bytes of the recordings finished since the start.", func() float64 { return float64(s.Bytes.Load()) })
	m.gauge("recordings_dropped_frames", "20 ms frames that are silent in recordings: the disk was slow, or they came late.", func() float64 { return float64(s.Dropped.Load()) })
	m.gauge("recordings_write_errors", "Writes of recordings that failed and were tried again.", func() float64 { return float64(s.Errors.Load()) })
}
