package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"sidetone/cmd/sidetone/internal/backup"
	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/audit"
	"sidetone/internal/journal"
	"sidetone/internal/records"
	"sidetone/internal/store"
)

// restoredReason is the end of calls that ran when the backup was made.
const restoredReason = "the backup was made while the call ran"

// BackupOptions says what goes into a backup beside the records.
type BackupOptions struct {
	// Recordings and Keys take these folders into the same archive.
	Recordings, Keys bool
	// SplitKeys, if not nil, gets an archive of the keys alone.
	SplitKeys io.Writer
	Version   string
	// Tombstones is the folder in which the list of who has opted out or was erased is
	// brought up to date; empty: none is.
	Tombstones string
}

// Backup writes what is kept to an archive, beside a server that may run. The
// records hold all events that the journal has handed on; the journal itself is
// taken only where no server runs.
func Backup(ctx context.Context, cfg *config.Config, log *slog.Logger, o BackupOptions, out io.Writer) (m backup.Manifest, err error) {
	dir, err := cfg.Storage.Path()
	if err != nil {
		return m, err
	}
	if _, err = os.Stat(dir); err != nil {
		return m, fmt.Errorf("storage.dir: nothing is kept there: %w", err)
	}
	state, err := store.Look(ctx, store.Config{URL: recordsURL(cfg, dir)})
	switch {
	case err != nil:
		return m, err
	case state.Empty:
		return m, fmt.Errorf("storage.records: %s is empty: there is nothing to back up", state.Name)
	case state.Schema != state.Known:
		// Opening it would change it, and there is no way back.
		return m, fmt.Errorf("storage.records: %s has schema %d, this program would make it %d: back up with the program that serves", state.Name, state.Schema, state.Known)
	}
	c := backup.Config{Dir: dir, KeysDir: cfg.Storage.KeysIn(dir), Recordings: o.Recordings, Keys: o.Keys, Version: o.Version, Now: time.Now()}
	if c.Node, err = cfg.NodeName(); err != nil {
		return m, err
	}
	if lock, taken := lockDir(dir); taken == nil {
		c.Cold = cfg.Journal.URL == ""
		defer func() { err = errors.Join(err, lock.Close()) }()
	}
	k, err := OpenKept(ctx, cfg, log)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	if o.Tombstones != "" {
		if err = keepTombstones(ctx, cfg, k, o.Tombstones, log); err != nil {
			return m, fmt.Errorf("the tombstones: %w", err)
		}
	}
	if !k.store.Postgres() {
		c.Database, c.Schema = k.store, state.Schema
	}
	// Before the copy, so that the copy tells of itself.
	err = k.Audit.Append(ctx, audit.Entry{Actor: "system:" + c.Node, Action: "backup.made", Detail: map[string]string{
		"keys": fmt.Sprint(o.Keys || o.SplitKeys != nil), "recordings": fmt.Sprint(o.Recordings),
	}})
	if err != nil {
		return m, err
	}
	if o.SplitKeys != nil {
		if _, err = backup.WriteKeys(ctx, c, o.SplitKeys); err != nil {
			return m, err
		}
	}
	return backup.Write(ctx, c, out)
}

// Restore takes a backup out into an empty storage folder, with the archive of its
// keys where it has one. Calls that ran when it was made get their end state,
// unless their journal is in the archive: then the next start does that. It returns
// how many these were.
func Restore(ctx context.Context, cfg *config.Config, log *slog.Logger, in, keys io.Reader) (m backup.Manifest, ended int, err error) {
	dir, err := cfg.Storage.Path()
	if err != nil {
		return m, 0, err
	}
	if err = os.MkdirAll(dir, 0o700); err != nil {
		return m, 0, fmt.Errorf("storage.dir: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return m, 0, fmt.Errorf("storage.dir: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	for _, name := range []string{backup.Database, "journal"} {
		if _, there := os.Lstat(filepath.Join(dir, name)); there == nil {
			return m, 0, fmt.Errorf("%s holds %s already: restore into an empty storage.dir", dir, name)
		}
	}
	if keys != nil {
		if _, err = backup.Restore(ctx, keys, dir, cfg.Storage.KeysIn(dir)); err != nil {
			return m, 0, fmt.Errorf("keys: %w", err)
		}
	}
	if m, err = backup.Restore(ctx, in, dir, cfg.Storage.KeysIn(dir)); err != nil {
		return m, 0, err
	}
	if m.Schema == 0 || m.Cold {
		return m, 0, nil
	}
	ended, err = endRestored(ctx, filepath.Join(dir, backup.Database), log)
	return m, ended, err
}

// endRestored gives the calls that are running in the records their end state: no
// journal is there that would.
func endRestored(ctx context.Context, url string, log *slog.Logger) (ended int, err error) {
	db, err := store.Open(ctx, store.Config{URL: url, Log: log})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	r, err := records.New(db, records.Config{Log: log})
	if err != nil {
		return 0, err
	}
	open, err := r.Unfinished(ctx)
	if err != nil {
		return 0, err
	}
	for _, s := range open {
		c, err := r.Call(ctx, s.Key)
		if err != nil {
			return ended, err
		}
		var events []journal.Event
		add := func(kind journal.Kind, body any) error {
			e, bad := journal.New(c.Key, c.N+uint64(len(events))+1, time.Now(), kind, body)
			events = append(events, e)
			return bad
		}
		if c.Running() {
			at := c.Last()
			if at.IsZero() {
				at = c.Started
			}
			if err = add(journal.CallEnded, journal.Ended{State: "lost", Reason: restoredReason, At: at}); err != nil {
				return ended, err
			}
		}
		if !c.Closed {
			if err = add(journal.CallClosed, nil); err != nil {
				return ended, err
			}
		}
		if err = r.Apply(ctx, events); err != nil {
			return ended, err
		}
		ended++
	}
	return ended, nil
}
