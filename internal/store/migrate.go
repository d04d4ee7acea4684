package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// ErrNewer is in the chain of Open's error about a schema that a newer Sidetone
// has made.
var ErrNewer = errors.New("the database's schema is newer than this program")

const (
	// migrateTries is how often SQLite's migration starts again because another
	// process migrates; each try may wait for the busy timeout.
	migrateTries = 20
	migratePause = 100 * time.Millisecond
	// migrateLock names the lock of PostgreSQL that a migrating node holds.
	migrateLock = 0x51de7013
)

func (db *DB) migrate(ctx context.Context, log *slog.Logger) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if db.postgres {
		return db.migrateOnce(ctx, files, log)
	}
	for try := 1; ; try++ {
		// SQLite has no lock beyond a transaction: of two that migrate, one finds
		// tables made, and next time the migration done.
		if err = db.migrateOnce(ctx, files, log); err == nil || errors.Is(err, ErrNewer) || try == migrateTries {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(migratePause):
		}
	}
}

func (db *DB) migrateOnce(ctx context.Context, files fs.FS, log *slog.Logger) error {
	dialect := goose.DialectSQLite3
	options := []goose.ProviderOption{
		goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()),
		// Parts that are built side by side number their files apart.
		goose.WithAllowOutofOrder(true),
	}
	if db.postgres {
		dialect = goose.DialectPostgres
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(migrateLock), lock.WithLockTimeout(1, 300), lock.WithUnlockTimeout(1, 10))
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(dialect, db.write, files, options...)
	if err != nil {
		return fmt.Errorf("store: migrations: %w", err)
	}
	var known int64
	for _, s := range p.ListSources() {
		known = max(known, s.Version)
	}
	at, err := p.GetDBVersion(ctx)
	if err != nil {
		return db.fail("does not tell its schema's version", err)
	}
	if at > known {
		return fmt.Errorf("store: %s has schema %d, this program knows those up to %d: run the newer program, or restore the backup made before it: %w",
			db.name, at, known, ErrNewer)
	}
	done, err := p.Up(ctx)
	for _, r := range done {
		log.Info("database migrated", "database", db.name, "to", r.Source.Version, "took", r.Duration)
	}
	if err != nil {
		return db.fail("cannot be migrated", err)
	}
	return nil
}
