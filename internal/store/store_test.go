package store_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"sidetone/internal/store"
	"sidetone/internal/store/storetest"
)

func TestSameSQLOnBoth(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, db := t.Context(), storetest.Open(t, url)
		insert := `INSERT INTO erased (key, at) VALUES (?, ?)`
		if n, err := db.Exec(ctx, insert, "what?", 7); n != 1 || err != nil {
			t.Fatalf("%d rows, %v", n, err)
		}
		if _, err := db.Exec(ctx, insert, "what?", 8); !errors.Is(err, store.ErrDuplicate) {
			t.Errorf("the same key again: %v", err)
		}
		var at int64
		if err := db.QueryRow(ctx, `SELECT at FROM erased WHERE key = 'what?' AND at = ?`, 7).Scan(&at); at != 7 || err != nil {
			t.Errorf("read back %d, %v", at, err)
		}
		fault := errors.New("no")
		err := db.Tx(ctx, func(tx *store.Tx) error {
			if _, err := tx.Exec(ctx, insert, "other", 9); err != nil {
				return err
			}
			return fault
		})
		if !errors.Is(err, fault) {
			t.Errorf("a transaction given up: %v", err)
		}
		if err = db.QueryRow(ctx, `SELECT at FROM erased WHERE key = ?`, "other").Scan(&at); !errors.Is(err, sql.ErrNoRows) {
			t.Errorf("a row of a transaction given up: %v", err)
		}
		if h, err := db.Health(ctx); err != nil || h.Schema < 2 || h.Bytes == 0 {
			t.Errorf("health %+v, %v", h, err)
		}
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		if err = db.Ping(cancelled); !errors.Is(err, context.Canceled) {
			t.Errorf("ping with a context that has ended: %v", err)
		}
	})
}
