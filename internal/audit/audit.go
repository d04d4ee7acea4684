// Package audit keeps who did what in a log that cannot be edited unseen.
//
// Each entry has a hash over itself and the hash before it, made with a key that
// lies in a file and not in the database (HMAC-SHA-256, RFC 2104): who can write
// the database but not read the file can change, delete or reorder entries, but
// not make hashes that fit. So that the newest entries cannot be cut off either,
// the number and the hash of the last one stand in a second file, the anchor, and
// from time to time in the program's log. Nodes that share a database share a
// copy of the key; each has its own anchor.
//
// A Log is safe for concurrent use.
package audit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"sidetone/internal/store"
)

// ErrKey is in the chain of errors about a key that is missing, cannot be used or
// is not the one that the log was made with.
var ErrKey = errors.New("the audit log's key")

// ErrFilter is in the chain of errors about a filter that cannot be used.
var ErrFilter = errors.New("the filter cannot be used")

// Entry is one thing that somebody did.
type Entry struct {
	// Seq counts from 1 without a hole; Append sets it.
	Seq uint64 `json:"seq"`
	// At is when Append was called, if it is not set.
	At time.Time `json:"at"`
	// Actor is "account:NAME", "token:NAME" or "system:NODE".
	Actor string `json:"actor"`
	// Action is dotted words: "login.failed".
	Action string `json:"action"`
	// Object is what it was done to.
	Object string            `json:"object,omitempty"`
	Detail map[string]string `json:"detail,omitempty"`
	// Address is the network address that it was done from.
	Address string `json:"address,omitempty"`
}

// Config says where what is not in the database lies.
type Config struct {
	// Dir is the folder of audit.key and audit.anchor; the key is made with the
	// log's first entry.
	Dir string
	// Node is the name of this server.
	Node string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Log is told of anchors and of breaches; nil is none.
	Log *slog.Logger
}

const (
	// An anchor is logged after so many entries, or so much time.
	logEntries = 100
	logEvery   = time.Minute
)

// Log is the audit log.
type Log struct {
	db  *store.DB
	cfg Config
	key []byte

	mu     sync.Mutex
	logged Anchor
	// breached says that the log was told of a breach already.
	breached bool
}

// Begun is the action of a log's first entry.
const Begun = "audit.begun"

// New opens the log in the database, or begins it. A key that does not belong to
// the log is ErrKey.
func New(ctx context.Context, db *store.DB, cfg Config) (*Log, error) {
	if db == nil || cfg.Dir == "" || cfg.Node == "" {
		return nil, errors.New("audit: a database, a folder for the key and the node's name are needed")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	l := &Log{db: db, cfg: cfg}
	var entries int64
	if err := db.QueryRow(ctx, `SELECT COUNT(*) FROM (SELECT seq FROM audit LIMIT 1) AS one`).Scan(&entries); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	var err error
	if l.key, err = readKey(cfg.Dir, entries == 0); err != nil {
		return nil, err
	}
	if err = l.begin(ctx); err != nil {
		return nil, err
	}
	return l, nil
}

// begin writes the first entry, or sees that the key made it.
func (l *Log) begin(ctx context.Context) error {
	print := fingerprint(l.key)
	first := Entry{Actor: "system:" + l.cfg.Node, Action: Begun, Detail: map[string]string{"key": print}}
	begun := false
	err := l.db.Tx(ctx, func(tx *store.Tx) error {
		begun = false
		if err := tx.Lock(ctx, "audit"); err != nil {
			return err
		}
		var action, detail string
		err := tx.QueryRow(ctx, `SELECT action, detail FROM audit ORDER BY seq LIMIT 1`).Scan(&action, &detail)
		if errors.Is(err, sql.ErrNoRows) {
			begun = true
			return l.add(ctx, tx, &first)
		}
		if err != nil {
			return err
		}
		var d map[string]string
		if action == Begun && json.Unmarshal([]byte(detail), &d) == nil && d["key"] != print {
			return fmt.Errorf("%w in %s has fingerprint %s, the log was begun with %s: copy audit.key from the node that began it", ErrKey, l.cfg.Dir, print, d["key"])
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if !begun {
		return nil
	}
	// A new log in an old folder: the old anchor's log is gone, and that shows.
	return l.anchor(ctx, false)
}

// Append adds an entry to the log's end; when it returns, the entry is there to
// stay.
func (l *Log) Append(ctx context.Context, e Entry) error {
	if e.Actor == "" || e.Action == "" {
		return errors.New("audit: an entry has an actor and an action")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.db.Tx(ctx, func(tx *store.Tx) error {
		if err := tx.Lock(ctx, "audit"); err != nil {
			return err
		}
		return l.add(ctx, tx, &e)
	})
	if err != nil {
		return fmt.Errorf("audit: %s by %s: %w", e.Action, e.Actor, err)
	}
	return l.anchor(ctx, false)
}

// add writes an entry behind the last one.
func (l *Log) add(ctx context.Context, tx *store.Tx, e *Entry) error {
	var seq int64
	var before string
	err := tx.QueryRow(ctx, `SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1`).Scan(&seq, &before)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	at := e.At
	if at.IsZero() {
		at = l.cfg.Now()
	}
	detail := "{}"
	if len(e.Detail) > 0 {
		b, merr := json.Marshal(e.Detail)
		if merr != nil {
			return merr
		}
		detail = string(b)
	}
	r := row{
		seq: seq + 1, at: store.Micros(at), actor: store.Clean(e.Actor), action: store.Clean(e.Action),
		object: store.Clean(e.Object), detail: detail, address: store.Clean(e.Address),
	}
	r.hash = r.sum(l.key, before)
	_, err = tx.Exec(ctx, `INSERT INTO audit (seq, at, actor, action, object, detail, address, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		r.seq, r.at, r.actor, r.action, r.object, r.detail, r.address, r.hash)
	return err
}

// row is an entry as the database holds it.
type row struct {
	seq, at                                      int64
	actor, action, object, detail, address, hash string
}

const columns = `seq, at, actor, action, object, detail, address, hash`

func scan(rows *sql.Rows) (row, error) {
	var r row
	err := rows.Scan(&r.seq, &r.at, &r.actor, &r.action, &r.object, &r.detail, &r.address, &r.hash)
	return r, err
}

// sum is the row's hash behind the one before it:
//
//	"sidetone audit 1", seq (8 bytes), at (8 bytes), then each of actor, action,
//	object, detail, address and the hash before as length (4 bytes) and bytes
//
// with numbers in network order.
func (r *row) sum(key []byte, before string) string {
	h := hmac.New(sha256.New, key)
	b := binary.BigEndian.AppendUint64([]byte("sidetone audit 1"), uint64(r.seq))
	b = binary.BigEndian.AppendUint64(b, uint64(r.at))
	for _, s := range []string{r.actor, r.action, r.object, r.detail, r.address, before} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	h.Write(b)
	return hex.EncodeToString(h.Sum(nil))
}

func (r *row) entry() (Entry, error) {
	e := Entry{Seq: uint64(r.seq), At: store.Time(r.at), Actor: r.actor, Action: r.action, Object: r.object, Address: r.address}
	if err := json.Unmarshal([]byte(r.detail), &e.Detail); err != nil {
		return e, fmt.Errorf("audit: entry %d: its detail cannot be read: %w", r.seq, err)
	}
	if len(e.Detail) == 0 {
		e.Detail = nil
	}
	return e, nil
}

// Filter chooses entries; what is empty chooses all.
type Filter struct {
	Actor string
	// Action is one action, or with its words all that begin so: "login" is
	// "login.failed", too.
	Action string
	Object string
	// From is in, To is out.
	From, To time.Time
	// Limit is how many to list at most; 0 means 100, more than 1000 means 1000.
	Limit int
	// Before leaves only entries with a smaller number, unless it is 0.
	Before uint64
}

// List finds entries, the newest first.
func (l *Log) List(ctx context.Context, f Filter) ([]Entry, error) {
	var where []string
	var values []any
	add := func(cond string, v ...any) { where, values = append(where, cond), append(values, v...) }
	if f.Actor != "" {
		add(`actor = ?`, store.Clean(f.Actor))
	}
	if f.Action != "" {
		if strings.ContainsAny(f.Action, `%_\`) {
			return nil, fmt.Errorf("audit: %w: %q is no action", ErrFilter, f.Action)
		}
		a := store.Clean(f.Action)
		add(`(action = ? OR action LIKE ?)`, a, a+".%")
	}
	if f.Object != "" {
		add(`object = ?`, store.Clean(f.Object))
	}
	if !f.From.IsZero() {
		add(`at >= ?`, store.Micros(f.From))
	}
	if !f.To.IsZero() {
		add(`at < ?`, store.Micros(f.To))
	}
	if f.Before > 0 {
		add(`seq < ?`, int64(f.Before))
	}
	if f.Limit <= 0 {
		f.Limit = 100
	}
	query := `SELECT ` + columns + ` FROM audit`
	if len(where) > 0 {
		query += ` WHERE ` + strings.Join(where, ` AND `)
	}
	rows, err := l.db.Query(ctx, query+` ORDER BY seq DESC LIMIT ?`, append(values, min(f.Limit, 1000))...)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	out := []Entry{}
	err = store.Rows(rows, func(rows *sql.Rows) error {
		r, serr := scan(rows)
		if serr != nil {
			return fmt.Errorf("audit: %w", serr)
		}
		e, serr := r.entry()
		out = append(out, e)
		return serr
	})
	return out, err
}
