package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// State is what Look has found.
type State struct {
	Health
	// Known is the newest schema that this program knows: one that is older is
	// brought up to it by Open, one that is newer is refused.
	Known int64
	// Empty says that nothing has been kept there yet.
	Empty bool
}

// Look says how a database is, and changes nothing. An SQLite file that is not
// there, and a database without a schema, are empty, which is no error.
func Look(ctx context.Context, c Config) (s State, err error) {
	if s.Known, err = newest(); err != nil {
		return s, err
	}
	db := &DB{}
	defer func() { err = errors.Join(err, db.Close()) }()
	if IsPostgres(c.URL) {
		c.MaxConns = 1
		err = db.openPostgres(&c)
	} else {
		s.Name = c.URL
		if f, missing := os.Stat(c.URL); errors.Is(missing, fs.ErrNotExist) || missing == nil && f.Size() == 0 {
			s.Empty = true
			return s, nil
		}
		c.MaxConns = 1
		err = db.openSQLite(&c)
	}
	if err == nil {
		err = db.check(ctx)
	}
	if err != nil {
		return s, err
	}
	s.Name = db.name
	there := `SELECT COUNT(*) FROM sqlite_master WHERE name = 'goose_db_version'`
	if db.postgres {
		there = `SELECT COUNT(*) FROM pg_tables WHERE tablename = 'goose_db_version'`
	}
	var n int
	if err = db.read.QueryRowContext(ctx, there).Scan(&n); err != nil {
		return s, db.fail("does not answer", err)
	}
	if n == 0 {
		s.Empty = true
		return s, nil
	}
	s.Health, err = db.Health(ctx)
	return s, err
}

// newest is the number of the newest migration.
func newest() (int64, error) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return 0, fmt.Errorf("store: %w", err)
	}
	var known int64
	for _, f := range files {
		number, _, _ := strings.Cut(strings.TrimPrefix(f, "migrations/"), "_")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("store: the migration %s has no number", f)
		}
		known = max(known, n)
	}
	return known, nil
}
