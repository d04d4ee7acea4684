// Package records keeps what calls were: their events, and a projection of them
// by which calls are found, listed, searched, erased and forgotten in time.
//
// A call read from here is folded from its events, as everywhere (see journal).
// What retention has deleted leaves holes in the events that are stored; folding
// counts them as events of no meaning. A Records is safe for concurrent use, and
// several nodes may share a database.
package records

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sidetone/internal/journal"
	"sidetone/internal/store"
)

// ErrUnknown says that there is no such call.
var ErrUnknown = errors.New("no such call")

// ErrFilter is in the chain of errors about a filter that cannot be used.
var ErrFilter = errors.New("the filter cannot be used")

// Config shapes New.
type Config struct {
	// Cache is how many calls are held in memory so that their next events need not
	// read the earlier ones; 0 means 2048.
	Cache int
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Log is told of events put aside; nil is none.
	Log *slog.Logger
}

// Records is the calls in a database.
type Records struct {
	db  *store.DB
	cfg Config
	// mu is held by who changes the database: calls are as far as the database is.
	mu    sync.Mutex
	calls map[string]*journal.Call
}

// New uses the database, which stays the caller's to close.
func New(db *store.DB, cfg Config) (*Records, error) {
	if db == nil {
		return nil, errors.New("records: no database")
	}
	if cfg.Cache < 0 {
		return nil, fmt.Errorf("records: a cache of %d calls; 0 means the default", cfg.Cache)
	}
	if cfg.Cache == 0 {
		cfg.Cache = 2048
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Records{db: db, cfg: cfg, calls: map[string]*journal.Call{}}, nil
}

// lock keeps writers on other nodes out until the transaction's end.
func lock(ctx context.Context, tx *store.Tx) error { return tx.Lock(ctx, "records") }

// change runs do while nobody else changes records, here or on another node. do
// may run more than once.
func (r *Records) change(ctx context.Context, do func(*store.Tx) error) error {
	return r.db.Tx(ctx, func(tx *store.Tx) error {
		if err := lock(ctx, tx); err != nil {
			return err
		}
		return do(tx)
	})
}

// Call folds a call from its events: the one with that key, or else the newest
// with that name. There is none: ErrUnknown.
func (r *Records) Call(ctx context.Context, keyOrName string) (journal.Call, error) {
	name := store.Clean(keyOrName)
	var key string
	var n int64
	err := r.db.QueryRow(ctx, `SELECT key, n FROM calls WHERE key = ?`, name).Scan(&key, &n)
	if errors.Is(err, sql.ErrNoRows) {
		err = r.db.QueryRow(ctx, `SELECT key, n FROM calls WHERE call = ? ORDER BY started DESC, key DESC LIMIT 1`, name).Scan(&key, &n)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return journal.Call{}, fmt.Errorf("records: %q: %w", keyOrName, ErrUnknown)
	}
	if err != nil {
		return journal.Call{}, fmt.Errorf("records: %w", err)
	}
	c, err := load(ctx, r.db, nil, key, uint64(n))
	if err != nil {
		return journal.Call{}, err
	}
	return *c, nil
}

// Events calls fn for each stored event of a call in their order, until fn
// returns an error. It is ErrUnknown where there is no call with that key.
func (r *Records) Events(ctx context.Context, key string, fn func(journal.Event) error) error {
	any := false
	err := events(ctx, r.db, store.Clean(key), 0, func(e journal.Event) error {
		any = true
		return fn(e)
	})
	if err == nil && !any {
		return fmt.Errorf("records: %q: %w", key, ErrUnknown)
	}
	return err
}

// events reads those after n.
func events(ctx context.Context, q store.Querier, key string, n uint64, fn func(journal.Event) error) error {
	rows, err := q.Query(ctx, `SELECT n, at, node, kind, body FROM events WHERE key = ? AND n > ? ORDER BY n`, key, int64(n))
	if err != nil {
		return fmt.Errorf("records: events of call %s: %w", key, err)
	}
	return store.Rows(rows, func(rows *sql.Rows) error {
		e, err := scanEvent(rows, key)
		if err != nil {
			return fmt.Errorf("records: events of call %s: %w", key, err)
		}
		return fn(e)
	})
}

func scanEvent(rows *sql.Rows, key string) (journal.Event, error) {
	var n, at int64
	var kind string
	var body sql.NullString
	e := journal.Event{Key: key}
	if err := rows.Scan(&n, &at, &e.Node, &kind, &body); err != nil {
		return e, err
	}
	e.N, e.At, e.Kind = uint64(n), store.Time(at), journal.Kind(kind)
	if body.Valid {
		e.Body = []byte(body.String)
	}
	return e, nil
}

// load brings c, or a new call where c is nil, as far as event n.
func load(ctx context.Context, q store.Querier, c *journal.Call, key string, n uint64) (*journal.Call, error) {
	if c == nil || c.N > n {
		c = &journal.Call{}
	}
	err := events(ctx, q, key, c.N, func(e journal.Event) error {
		if e.N > n {
			return nil
		}
		if c.N > 0 {
			pass(c, e.N-1)
		}
		if err := c.Apply(e); err != nil {
			// It was good when it came: what reads it now reads less.
			if c.N == 0 {
				return fmt.Errorf("records: call %s: %w", key, err)
			}
			pass(c, e.N)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if c.N == 0 {
		return nil, fmt.Errorf("records: call %s: %w", key, ErrUnknown)
	}
	pass(c, n)
	return c, nil
}

// missing is the kind of an event of which nothing is known but its number.
const missing = journal.Kind("missing")

// pass counts events up to n that are not there.
func pass(c *journal.Call, n uint64) {
	for c.N < n {
		if err := c.Apply(journal.Event{Key: c.Key, N: c.N + 1, At: c.Last(), Kind: missing}); err != nil {
			return
		}
	}
}

// Stats is what is there.
type Stats struct {
	Calls   int64 `json:"calls"`
	Running int64 `json:"running"`
	// Broken events were put aside, Early of them because others before them are
	// missing.
	Broken int64 `json:"broken_events"`
	Early  int64 `json:"early_events"`
	Erased int64 `json:"erased_calls"`
	// Last is when the newest event applied has happened; zero where there is none.
	Last time.Time `json:"last_event"`
}

// Stats counts.
func (r *Records) Stats(ctx context.Context) (Stats, error) {
	var s Stats
	var last sql.NullInt64
	err := r.db.QueryRow(ctx, `SELECT
		(SELECT COUNT(*) FROM calls), (SELECT COUNT(*) FROM calls WHERE running), (SELECT MAX(last) FROM calls),
		(SELECT COUNT(*) FROM broken_events), (SELECT COUNT(*) FROM broken_events WHERE early), (SELECT COUNT(*) FROM erased)`).
		Scan(&s.Calls, &s.Running, &last, &s.Broken, &s.Early, &s.Erased)
	if err != nil {
		return s, fmt.Errorf("records: %w", err)
	}
	if last.Valid {
		s.Last = store.Time(last.Int64)
	}
	return s, nil
}

// forget drops calls from memory.
func (r *Records) forget(keys []string) {
	for _, k := range keys {
		delete(r.calls, k)
	}
}
