// Package store is the database of everything that outlives a call: SQLite in a
// file, or PostgreSQL, with the same schema and the same SQL.
//
// The schema is migrations/NNNN_name.sql, applied in order by Open. A file runs
// on both databases, so it keeps to what both understand: TEXT, BIGINT, DOUBLE
// PRECISION and BOOLEAN columns, explicit primary keys, no AUTOINCREMENT or
// SERIAL. Times are BIGINT: microseconds since 1970 in UTC (Micros, Time).
// Bytes are TEXT in hexadecimal. A column of TEXT holds no NUL (Clean). Statements
// are written with ? for arguments.
//
// SQLite has one writer and several readers, each on its own connection; within
// Tx use the Tx only. A DB is safe for concurrent use, a Tx is not.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite"
)

// Config says which database.
type Config struct {
	// URL is the path of an SQLite file, made where there is none, or a
	// postgres:// URL. Empty is a database that is gone with Close.
	URL string
	// MaxConns bounds the connections; 0 means 8.
	MaxConns int
	// Relaxed lets SQLite answer before the disk has the data: a power cut, though
	// no crash of the process, may then undo the last transactions.
	Relaxed bool
	// Log is told of migrations; nil is none.
	Log *slog.Logger
}

// DB is an open database.
type DB struct {
	write, read *sql.DB
	postgres    bool
	name        string
	temp        string
	close       sync.Once
	closed      error
}

const (
	busyTimeout = 10 * time.Second
	// lockTimeout bounds what a node that has stopped in a transaction can hold up.
	lockTimeout = 30 * time.Second
)

// Open opens the database and brings its schema up to date. A schema that a newer
// Sidetone has made is ErrNewer.
func Open(ctx context.Context, c Config) (*DB, error) {
	if c.MaxConns < 0 {
		return nil, fmt.Errorf("store: %d connections; 0 means the default", c.MaxConns)
	}
	if c.MaxConns == 0 {
		c.MaxConns = 8
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	db := &DB{}
	var err error
	if IsPostgres(c.URL) {
		err = db.openPostgres(&c)
	} else {
		err = db.openSQLite(&c)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err = db.check(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err = db.migrate(ctx, c.Log); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// IsPostgres says whether a URL names a PostgreSQL database.
func IsPostgres(url string) bool {
	return strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://")
}

func (db *DB) openPostgres(c *Config) error {
	pc, err := pgx.ParseConfig(c.URL)
	if err != nil {
		return fmt.Errorf("store: the URL of the database: %w", err)
	}
	if pc.ConnectTimeout == 0 {
		pc.ConnectTimeout = 5 * time.Second
	}
	for name, value := range map[string]string{
		"application_name":                    "sidetone",
		"lock_timeout":                        millis(lockTimeout),
		"idle_in_transaction_session_timeout": millis(2 * lockTimeout),
	} {
		if _, set := pc.RuntimeParams[name]; !set {
			pc.RuntimeParams[name] = value
		}
	}
	db.postgres, db.name = true, fmt.Sprintf("postgres://%s:%d/%s", pc.Host, pc.Port, pc.Database)
	db.write = stdlib.OpenDB(*pc)
	db.write.SetMaxOpenConns(c.MaxConns)
	db.write.SetMaxIdleConns(c.MaxConns)
	db.read = db.write
	return nil
}

func millis(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }

func (db *DB) openSQLite(c *Config) error {
	path := c.URL
	if path == "" {
		var err error
		if db.temp, err = os.MkdirTemp("", "sidetone-store-"); err != nil {
			return fmt.Errorf("store: %w", err)
		}
		path = filepath.Join(db.temp, "sidetone.db")
	}
	if strings.ContainsAny(path, "?#%") || strings.Contains(path, "://") {
		return fmt.Errorf("store: %q is neither the path of a file (without ?, # and %%) nor a postgres:// URL", path)
	}
	db.name = path
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	// SQLite would make the file readable by all; its companions take its mode.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err = f.Close(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	sync := "FULL"
	if c.Relaxed {
		sync = "NORMAL"
	}
	dsn := "file:" + filepath.ToSlash(path) + "?_pragma=busy_timeout(" + millis(busyTimeout) + ")&_pragma=journal_mode(WAL)" +
		"&_pragma=foreign_keys(1)&_pragma=secure_delete(1)&_pragma=synchronous(" + sync + ")"
	open := func(query string, conns int) (*sql.DB, error) {
		con, oerr := sqlite.NewConnector(dsn + query)
		if oerr != nil {
			return nil, fmt.Errorf("store: %s: %w", path, oerr)
		}
		pool := sql.OpenDB(con)
		pool.SetMaxOpenConns(conns)
		pool.SetMaxIdleConns(conns)
		return pool, nil
	}
	if db.write, err = open("&_txlock=immediate", 1); err != nil {
		return err
	}
	db.read, err = open("&_pragma=query_only(1)", c.MaxConns)
	return err
}

// check says early and in words what would fail later.
func (db *DB) check(ctx context.Context) error {
	if err := db.write.PingContext(ctx); err != nil {
		return db.fail("cannot be opened", err)
	}
	if !db.postgres {
		return nil
	}
	var encoding string
	if err := db.write.QueryRowContext(ctx, `SHOW server_encoding`).Scan(&encoding); err != nil {
		return db.fail("cannot be asked for its encoding", err)
	}
	if encoding != "UTF8" {
		return fmt.Errorf("store: %s has encoding %s; create the database with ENCODING 'UTF8'", db.name, encoding)
	}
	return nil
}

// Name is the database's for people: the path or the URL without user and
// password.
func (db *DB) Name() string { return db.name }

// Postgres says whether this is PostgreSQL.
func (db *DB) Postgres() bool { return db.postgres }

// Ping says whether the database answers.
func (db *DB) Ping(ctx context.Context) error {
	var one int
	if err := db.read.QueryRowContext(ctx, `SELECT 1`).Scan(&one); err != nil {
		return db.fail("does not answer", err)
	}
	return nil
}

// Health is how the database is.
type Health struct {
	Name string `json:"name"`
	// Schema is the number of the newest migration applied.
	Schema int64 `json:"schema"`
	// Bytes is the size of the data.
	Bytes int64 `json:"bytes"`
	// Connections are open, Busy of them in use.
	Connections int `json:"connections"`
	Busy        int `json:"busy"`
}

// Health asks the database.
func (db *DB) Health(ctx context.Context) (Health, error) {
	h := Health{Name: db.name}
	if err := db.read.QueryRowContext(ctx, `SELECT MAX(version_id) FROM goose_db_version`).Scan(&h.Schema); err != nil {
		return h, db.fail("does not answer", err)
	}
	size := `SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()`
	if db.postgres {
		size = `SELECT pg_database_size(current_database())`
	}
	if err := db.read.QueryRowContext(ctx, size).Scan(&h.Bytes); err != nil {
		return h, db.fail("does not tell its size", err)
	}
	for _, pool := range db.pools() {
		s := pool.Stats()
		h.Connections, h.Busy = h.Connections+s.OpenConnections, h.Busy+s.InUse
	}
	return h, nil
}

// Backup writes a copy of the database, as it is at one moment, to a new file
// while it goes on being used. PostgreSQL has its own tools for that: there it is
// an error.
func (db *DB) Backup(ctx context.Context, path string) error {
	if db.postgres {
		return fmt.Errorf("store: %s is backed up with pg_dump", db.name)
	}
	// VACUUM INTO takes an empty file and keeps its mode.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	if err = f.Close(); err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	if _, err = db.write.ExecContext(ctx, `VACUUM INTO ?`, path); err != nil {
		return errors.Join(db.fail("cannot be copied to "+path, err), os.Remove(path))
	}
	if f, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	if err = errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	return nil
}

// Settle makes what was deleted gone from the files, too, as far as the database
// does that at once: SQLite overwrites it and empties its log, unless somebody is
// reading; PostgreSQL gives the space to others in time.
func (db *DB) Settle(ctx context.Context) error {
	if db.postgres {
		return nil
	}
	if _, err := db.write.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
		return db.fail("cannot empty its log", err)
	}
	return nil
}

// Close ends all use of the database.
func (db *DB) Close() error {
	db.close.Do(func() {
		for _, pool := range db.pools() {
			db.closed = errors.Join(db.closed, pool.Close())
		}
		if db.temp != "" {
			db.closed = errors.Join(db.closed, os.RemoveAll(db.temp))
		}
	})
	return db.closed
}

func (db *DB) pools() []*sql.DB {
	var out []*sql.DB
	if db.read != nil && db.read != db.write {
		out = append(out, db.read)
	}
	if db.write != nil {
		out = append(out, db.write)
	}
	return out
}
