package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrFull is in the chain of errors about a disk that has no space for the
// database.
var ErrFull = errors.New("no space left for the database")

// ErrDuplicate is in the chain of errors about a row whose key is taken.
var ErrDuplicate = errors.New("it is there already")

// Querier is what reads take: a DB or a Tx.
type Querier interface {
	Query(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) *sql.Row
}

// Execer is what writes take: a DB or a Tx.
type Execer interface {
	Exec(ctx context.Context, query string, args ...any) (int64, error)
}

var (
	_ Querier = (*DB)(nil)
	_ Querier = (*Tx)(nil)
	_ Execer  = (*DB)(nil)
	_ Execer  = (*Tx)(nil)
)

// Query reads rows as they are at one moment; close them.
func (db *DB) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rows, err := db.read.QueryContext(ctx, db.rewrite(query), args...)
	if err != nil {
		return nil, db.fail("query", err)
	}
	return rows, nil
}

// QueryRow reads one row; sql.ErrNoRows comes from its Scan.
func (db *DB) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return db.read.QueryRowContext(ctx, db.rewrite(query), args...)
}

// Exec runs one statement in a transaction of its own and says how many rows it
// changed.
func (db *DB) Exec(ctx context.Context, query string, args ...any) (n int64, err error) {
	err = db.Tx(ctx, func(tx *Tx) error {
		n, err = tx.Exec(ctx, query, args...)
		return err
	})
	return n, err
}

// Tx is a transaction.
type Tx struct {
	db *DB
	tx *sql.Tx
}

// tries is how often Tx runs what another transaction was in the way of.
const tries = 8

// Tx runs do in a transaction that is committed when do returns nil. Where another
// transaction was in the way it runs do again: do may change nothing else that a
// second run would not set right. On SQLite a transaction excludes all other
// writers; on PostgreSQL it sees what is committed at each of its statements, and
// Lock excludes others.
func (db *DB) Tx(ctx context.Context, do func(*Tx) error) error {
	for try := 1; ; try++ {
		err := db.once(ctx, do)
		if err == nil || try == tries || ctx.Err() != nil || !passing(err) {
			return err
		}
		pause := time.Duration(try) * 20 * time.Millisecond
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

func (db *DB) once(ctx context.Context, do func(*Tx) error) error {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return db.fail("begin", err)
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing, before it the error that led here counts
	if err = do(&Tx{db: db, tx: tx}); err != nil {
		return err
	}
	if err = tx.Commit(); err != nil {
		return db.fail("commit", err)
	}
	return nil
}

// Lock waits until no other transaction on any node holds the lock of that name;
// the transaction's end releases it.
func (tx *Tx) Lock(ctx context.Context, name string) error {
	if !tx.db.postgres {
		return nil
	}
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended(?, 20260301))`, name)
	return err
}

// Query reads rows; close them before the next statement.
func (tx *Tx) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rows, err := tx.tx.QueryContext(ctx, tx.db.rewrite(query), args...)
	if err != nil {
		return nil, tx.db.fail("query", err)
	}
	return rows, nil
}

// QueryRow reads one row; sql.ErrNoRows comes from its Scan.
func (tx *Tx) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return tx.tx.QueryRowContext(ctx, tx.db.rewrite(query), args...)
}

// Exec runs a statement and says how many rows it changed.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	r, err := tx.tx.ExecContext(ctx, tx.db.rewrite(query), args...)
	if err != nil {
		return 0, tx.db.fail("statement", err)
	}
	n, err := r.RowsAffected()
	if err != nil {
		return 0, tx.db.fail("statement", err)
	}
	return n, nil
}

// Rows calls scan for each row of a query, and closes it.
func Rows(rows *sql.Rows, scan func(*sql.Rows) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Marks is n placeholders for an IN list or a row of VALUES: (?, ?, ?).
func Marks(n int) string {
	if n < 1 {
		return "(NULL)"
	}
	return "(" + strings.Repeat("?, ", n-1) + "?)"
}

// Micros is a time as the database holds it.
func Micros(t time.Time) int64 { return t.UnixMicro() }

// Time reads what Micros wrote.
func Time(us int64) time.Time { return time.UnixMicro(us).UTC() }

// Clean makes any string one that both databases take as TEXT.
func Clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// rewrite numbers the placeholders for PostgreSQL; those in quotes are none.
func (db *DB) rewrite(query string) string {
	if !db.postgres || !strings.Contains(query, "?") {
		return query
	}
	var b strings.Builder
	b.Grow(len(query) + 16)
	n, quote := 0, byte(0)
	for i := range len(query) {
		switch c := query[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
			b.WriteByte(c)
		case c == '\'' || c == '"':
			quote = c
			b.WriteByte(c)
		case c == '?':
			n++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// fail says which database failed at what.
func (db *DB) fail(what string, err error) error {
	if kind := kind(err); kind != nil {
		return fmt.Errorf("store: %s: %s: %w: %w", db.name, what, kind, err)
	}
	return fmt.Errorf("store: %s: %s: %w", db.name, what, err)
}

// kind is the exported error that a driver's error amounts to, or nil.
func kind(err error) error {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() {
		case sqlite3.SQLITE_FULL:
			return ErrFull
		case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
			return ErrDuplicate
		}
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch e.Code {
		case "53100":
			return ErrFull
		case "23505":
			return ErrDuplicate
		}
	}
	return nil
}

// passing says whether the same transaction may succeed next time.
func passing(err error) bool {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		c := e.Code() & 0xff
		return c == sqlite3.SQLITE_BUSY || c == sqlite3.SQLITE_LOCKED
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch e.Code {
		case "40001", "40P01", "55P03":
			return true
		}
	}
	return false
}
