package records

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"sidetone/internal/journal"
	"sidetone/internal/store"
)

// keysAtOnce bounds the calls that one transaction deletes.
const keysAtOnce = 100

// CallsOf are the keys of a customer's calls, the oldest first; addresses are
// compared as Address says.
func (r *Records) CallsOf(ctx context.Context, customer string) ([]string, error) {
	a := Address(customer)
	if a == "" {
		return nil, fmt.Errorf("records: %w: %q is no customer's address", ErrFilter, customer)
	}
	rows, err := r.db.Query(ctx, `SELECT key FROM customers WHERE address = ? ORDER BY key`, a)
	if err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	keys, err := scanKeys(rows)
	if err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	// Events that were put aside may be the only ones that tell.
	rows, err = r.db.Query(ctx, `SELECT key, n, at, node, kind, body FROM broken_events WHERE kind = ?`, string(journal.LegChanged))
	if err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	err = store.Rows(rows, func(rows *sql.Rows) error {
		e, serr := scanAside(rows)
		if serr != nil {
			return serr
		}
		var l journal.Leg
		if e.Into(&l) == nil && Address(l.Identity) == a {
			keys = append(keys, e.Key)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

// Erase deletes calls with everything that is known of them, and lets no event
// that comes again bring them back. What lies elsewhere under their keys, such as
// recordings, is to be deleted first: afterwards nobody knows whose it was.
func (r *Records) Erase(ctx context.Context, keys ...string) error {
	for chunk := range slices.Chunk(keys, keysAtOnce) {
		if err := r.delete(ctx, chunk); err != nil {
			return fmt.Errorf("records: erase: %w", err)
		}
	}
	if err := r.db.Settle(ctx); err != nil {
		return fmt.Errorf("records: erase: %w", err)
	}
	return nil
}

// EraseCustomer erases all calls of a customer and says which.
func (r *Records) EraseCustomer(ctx context.Context, customer string) ([]string, error) {
	keys, err := r.CallsOf(ctx, customer)
	if err != nil {
		return nil, err
	}
	return keys, r.Erase(ctx, keys...)
}

// Erased says which of the keys are of calls that are gone, so that what lies
// elsewhere under them can go, too.
func (r *Records) Erased(ctx context.Context, keys []string) ([]string, error) {
	var out []string
	for chunk := range slices.Chunk(keys, rowsAtOnce) {
		in, values := among(chunk)
		rows, err := r.db.Query(ctx, `SELECT key FROM erased WHERE key IN `+in, values...)
		if err != nil {
			return nil, fmt.Errorf("records: %w", err)
		}
		gone, err := scanKeys(rows)
		if err != nil {
			return nil, fmt.Errorf("records: %w", err)
		}
		out = append(out, gone...)
	}
	return out, nil
}

// delete deletes calls everywhere.
func (r *Records) delete(ctx context.Context, keys []string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	in, values := among(keys)
	err := r.change(ctx, func(tx *store.Tx) error {
		for _, table := range []string{"words", "customers", "events", "broken_events", "calls"} {
			if _, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE key IN `+in, values...); err != nil {
				return err
			}
		}
		now := store.Micros(r.cfg.Now())
		return insert(ctx, tx, `INSERT INTO erased (key, at) VALUES `, ` ON CONFLICT (key) DO NOTHING`, keys,
			func(k string) []any { return []any{k, now} })
	})
	r.forget(keys)
	return err
}
