// Package trail sees that nothing is done to voices that the audit log does not
// tell: entries about a change are written in its own transaction, and go from there
// to the log. Where the log does not take them they wait and come later, perhaps
// twice, but never not at all.
package trail

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"sidetone/internal/audit"
	"sidetone/internal/store"
)

// Audit is the audit log.
type Audit interface {
	Append(ctx context.Context, e audit.Entry) error
}

// Actor is who does something.
type Actor struct {
	// Name is "account:NAME", "token:NAME" or "system:NODE", Address the network
	// address, which may be empty.
	Name, Address string
}

// Event is what is told of something done. Detail never has an embedding.
type Event struct {
	Action, Object string
	Detail         map[string]string
}

// Config shapes New.
type Config struct {
	DB    *store.DB
	Audit Audit
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Log is told of entries that the log did not take; nil is none.
	Log *slog.Logger
}

// Trail is safe for concurrent use.
type Trail struct{ cfg Config }

const (
	// patience is how long the log may take for an entry; after grace another node
	// sends what waits.
	patience = 10 * time.Second
	grace    = time.Minute
	atOnce   = 100
)

// New makes a trail.
func New(c Config) (*Trail, error) {
	if c.DB == nil || c.Audit == nil {
		return nil, errors.New("trail: a database and an audit log are needed")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Trail{c}, nil
}

// Now is what the clock says.
func (t *Trail) Now() time.Time { return t.cfg.Now() }

// Do runs do in a transaction, as store.DB's Tx does, together with the entries
// about the events that it returns.
func (t *Trail) Do(ctx context.Context, by Actor, do func(*store.Tx) ([]Event, error)) error {
	if by.Name == "" {
		return errors.New("trail: nobody is named who does it")
	}
	var waiting []waiting
	err := t.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		waiting = waiting[:0]
		events, err := do(tx)
		if err != nil {
			return err
		}
		for _, e := range events {
			w, err := t.wait(ctx, tx, t.entry(by, e))
			if err != nil {
				return err
			}
			waiting = append(waiting, w)
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.send(ctx, waiting)
	return nil
}

// Tell appends an entry now: what is about to be read is read only if that goes
// well.
func (t *Trail) Tell(ctx context.Context, by Actor, e Event) error {
	if by.Name == "" {
		return errors.New("trail: nobody is named who reads it")
	}
	return t.cfg.Audit.Append(ctx, t.entry(by, e))
}

func (t *Trail) entry(by Actor, e Event) audit.Entry {
	return audit.Entry{At: t.cfg.Now(), Actor: by.Name, Address: by.Address, Action: e.Action, Object: e.Object, Detail: e.Detail}
}

// waiting is an entry that lies in the database.
type waiting struct {
	id    string
	entry audit.Entry
}

func (t *Trail) wait(ctx context.Context, tx *store.Tx, e audit.Entry) (waiting, error) {
	detail, err := json.Marshal(e.Detail)
	if err != nil {
		return waiting{}, err
	}
	w := waiting{strings.ToLower(rand.Text()), e}
	_, err = tx.Exec(ctx, `INSERT INTO voice_outbox (id, at, actor, action, object, detail, address) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		w.id, store.Micros(e.At), store.Clean(e.Actor), e.Action, store.Clean(e.Object), store.Clean(string(detail)), store.Clean(e.Address))
	return w, err
}

// send gives entries to the log, as long as it takes them. What was done is done,
// so who asked for it is not told of a failure: Flush sends it again.
func (t *Trail) send(ctx context.Context, entries []waiting) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	for i, w := range entries {
		err := t.cfg.Audit.Append(ctx, w.entry)
		if err == nil {
			_, err = t.cfg.DB.Exec(ctx, `DELETE FROM voice_outbox WHERE id = ?`, w.id)
		}
		if err != nil {
			t.cfg.Log.Error("the audit log did not take what was done to voices; it will be sent again", "entries", len(entries)-i, "err", err)
			return
		}
	}
}

// Flush sends what waits since longer than a minute, and says how many entries wait
// still.
func (t *Trail) Flush(ctx context.Context) (int, error) {
	rows, err := t.cfg.DB.Query(ctx, `SELECT id, at, actor, action, object, detail, address FROM voice_outbox WHERE at < ? ORDER BY at, id LIMIT ?`,
		store.Micros(t.cfg.Now().Add(-grace)), atOnce)
	if err != nil {
		return 0, fmt.Errorf("trail: %w", err)
	}
	var old []waiting
	err = store.Rows(rows, func(rows *sql.Rows) error {
		var w waiting
		var at int64
		var detail string
		if serr := rows.Scan(&w.id, &at, &w.entry.Actor, &w.entry.Action, &w.entry.Object, &detail, &w.entry.Address); serr != nil {
			return serr
		}
		w.entry.At = store.Time(at)
		old = append(old, w)
		return json.Unmarshal([]byte(detail), &old[len(old)-1].entry.Detail)
	})
	if err != nil {
		return 0, fmt.Errorf("trail: %w", err)
	}
	t.send(ctx, old)
	return t.Waiting(ctx)
}

// Waiting is how many entries the log has not got yet.
func (t *Trail) Waiting(ctx context.Context) (int, error) {
	var n int
	if err := t.cfg.DB.QueryRow(ctx, `SELECT COUNT(*) FROM voice_outbox`).Scan(&n); err != nil {
		return 0, fmt.Errorf("trail: %w", err)
	}
	return n, nil
}
