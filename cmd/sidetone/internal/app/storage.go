package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/cmd/sidetone/internal/health"
	"sidetone/internal/audit"
	"sidetone/internal/journal"
	"sidetone/internal/journal/stream"
	"sidetone/internal/records"
	"sidetone/internal/store"
)

const (
	// openLimit bounds how long the stores may take to open.
	openLimit = time.Minute
	// batch is how many events the records take at once.
	batch = 256
	// retryRecords is the pause after the records have refused events.
	retryRecords = time.Second
	// expireEvery is how often what has been kept long enough is deleted.
	expireEvery = 10 * time.Minute
	// recordsName is what the journal calls the reader that feeds the records.
	recordsName = "records"
)

// storage is everything that is kept: the journal, what is made of it, and who
// did what.
type storage struct {
	log *slog.Logger
	dir string
	// keys is the folder of the keys: of the audit log, and of what is sealed.
	keys    string
	node    string
	lock    *os.File
	journal *stream.Log
	store   *store.DB
	records *records.Records
	audit   *audit.Log
	// recordings is nil where no audio is kept and none was.
	recordings *recordings

	// behind is the last error of the records, nil while they keep up.
	behind atomic.Pointer[error]
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// openStorage opens what is kept. What it returns beside an error must be closed
// as well.
func openStorage(cfg *config.Config, log *slog.Logger) (*storage, error) {
	s := &storage{log: log}
	var err error
	if s.dir, err = cfg.Storage.Path(); err != nil {
		return s, err
	}
	if err = os.MkdirAll(s.dir, 0o700); err != nil {
		return s, fmt.Errorf("storage.dir: %w", err)
	}
	if s.lock, err = lockDir(s.dir); err != nil {
		return s, fmt.Errorf("storage.dir: %w", err)
	}
	if s.node, err = cfg.NodeName(); err != nil {
		return s, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), openLimit)
	defer cancel()
	j := &cfg.Journal
	secret, err := readKey(j.SecretFile)
	if err != nil {
		return s, fmt.Errorf("journal.secret_file: %w", err)
	}
	s.journal, err = stream.Open(ctx, stream.Config{
		Dir: filepath.Join(s.dir, "journal"), Listen: j.Listen, URL: j.URL, CredsFile: j.CredentialsFile, CAFile: j.CAFile,
		Node: s.node, Sync: j.Sync, MaxBytes: j.MaxBytes, MaxAge: j.Keep, Replicas: j.Replicas, Secret: string(secret), Log: log,
	})
	if err != nil {
		return s, fmt.Errorf("journal: %w", err)
	}
	if s.store, err = store.Open(ctx, store.Config{URL: recordsURL(cfg, s.dir), Log: log}); err != nil {
		return s, fmt.Errorf("storage.records: %w", err)
	}
	if s.records, err = records.New(s.store, records.Config{Log: log}); err != nil {
		return s, err
	}
	s.keys = cfg.Storage.KeysIn(s.dir)
	if s.audit, err = openAudit(ctx, s.store, s.keys, s.node, log); err != nil {
		return s, err
	}
	if s.recordings, err = openRecordings(cfg, s, log); err != nil {
		return s, err
	}
	run, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.wg.Go(func() { s.record(run) })
	k := &cfg.Storage.Keep
	s.wg.Go(func() {
		s.expire(run, records.Policy{
			Transcripts: k.Transcripts, Cards: k.Cards, Statistics: k.Statistics, Recordings: k.Recordings, Calls: k.Calls,
		})
	})
	return s, nil
}

// record makes records of what the journal holds, until ctx ends.
func (s *storage) record(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.journal.Consume(ctx, recordsName, batch, func(events []journal.Event) error {
			err := s.records.Apply(ctx, events)
			if ctx.Err() == nil {
				s.noteRecords(err)
			}
			return err
		})
		if ctx.Err() != nil {
			return
		}
		s.noteRecords(err)
		select {
		case <-ctx.Done():
		case <-time.After(retryRecords):
		}
	}
}

// noteRecords says, once, that the records have fallen behind or keep up again.
func (s *storage) noteRecords(err error) {
	if err == nil {
		if s.behind.Swap(nil) != nil {
			s.log.Info("the records keep up again")
		}
		return
	}
	if s.behind.Swap(&err) == nil {
		s.log.Error("the records cannot be written; the journal keeps what is missing", "error", err)
	}
}

// erase deletes calls everywhere, for good. Recordings go first: without the
// records nobody knows whose they were.
func (s *storage) erase(ctx context.Context, keys []string) error {
	if err := s.recordings.erase(keys); err != nil {
		return err
	}
	for _, key := range keys {
		if err := s.journal.Erase(ctx, key); err != nil {
			return err
		}
	}
	return s.records.Erase(ctx, keys...)
}

// expire deletes what has been kept as long as it may be, and gives up waiting for
// events that were lost, again and again until ctx ends.
func (s *storage) expire(ctx context.Context, policy records.Policy) {
	every := time.NewTicker(expireEvery)
	defer every.Stop()
	for {
		gone, err := s.records.Expire(ctx, time.Now(), policy)
		if err == nil {
			err = s.recordings.expire(ctx, s, gone.Recordings)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.log.Error("what has been kept long enough cannot be deleted", "error", err)
		case gone.Calls+gone.Transcripts+gone.Cards+gone.Statistics+len(gone.Recordings) > 0:
			s.log.Info("deleted what has been kept long enough", "calls", gone.Calls, "transcripts", gone.Transcripts,
				"cards", gone.Cards, "statistics", gone.Statistics, "recordings", len(gone.Recordings))
		}
		if mended, err := s.records.Mend(ctx, time.Now().Add(-expireEvery)); err != nil && ctx.Err() == nil {
			s.log.Error("calls with lost events cannot be mended", "error", err)
		} else if mended > 0 {
			s.log.Warn("calls have lost events; they go on without", "calls", mended)
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

// recordsHealth is nil while the records keep up.
func (s *storage) recordsHealth() error {
	if err := s.behind.Load(); err != nil {
		return *err
	}
	return nil
}

// close writes down what waits, as far as ctx lets it, and closes everything.
func (s *storage) close(ctx context.Context) error {
	var errs []error
	if s.journal != nil {
		// The records' reader ends first: it reads from the journal.
		if err := s.journal.Flush(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	if s.cancel != nil {
		s.cancel()
	}
	s.wg.Wait()
	if s.journal != nil {
		errs = append(errs, s.journal.Close(ctx))
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// watchStorage exports how what is kept fares, and has readiness depend on it.
func (a *App) watchStorage() error {
	s, m := a.storage, a.metrics
	read := func(of func(h *stream.Health) float64) func() float64 {
		return func() float64 {
			h := s.journal.Health()
			return of(&h)
		}
	}
	m.gauge("journal_waiting_events", "Events that the journal has not acknowledged yet.", read(func(h *stream.Health) float64 { return float64(h.Waiting) }))
	m.gauge("journal_waiting_bytes", "Memory that these events take.", read(func(h *stream.Health) float64 { return float64(h.Bytes) }))
	m.gauge("journal_oldest_seconds", "Age of the oldest event that waits.", read(func(h *stream.Health) float64 { return h.Oldest.Seconds() }))
	m.gauge("journal_connected", "1 while there is a connection to the journal.", read(func(h *stream.Health) float64 { return one(h.Connected) }))
	m.counter("journal_events_total", "Events that the journal has acknowledged.", read(func(h *stream.Health) float64 { return float64(h.Acknowledged) }))
	m.counter("journal_omitted_total", "Events that were not vital and of which, for lack of space, only the number was kept.", read(func(h *stream.Health) float64 {
		n := uint64(0)
		for _, o := range h.Omitted {
			n += o
		}
		return float64(n)
	}))
	m.counter("journal_rejected_total", "Events that could not be stored at all.", read(func(h *stream.Health) float64 { return float64(h.Rejected) }))
	m.gauge("records_behind", "1 while the records cannot be written; the journal keeps what is missing.", func() float64 { return one(s.recordsHealth() != nil) })
	// Records that are behind are no reason to refuse calls: the journal has all.
	return a.health.Add(health.Check{Name: "journal", Run: func(context.Context) error {
		if h := s.journal.Health(); !h.OK() {
			return errors.New(h.Err())
		}
		return nil
	}})
}
