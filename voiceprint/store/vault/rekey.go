package vault

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"sidetone/internal/seal"
	"sidetone/internal/store"
)

// Table is one with sealed columns: id, seal and the one that Column names; where
// its content is turned it has the columns turn and model, too.
type Table struct {
	Name, Column, Purpose string
	// Transform is the name of the transform of a row; nil: it is not turned.
	Transform func(id, model string) string
}

// rekeyAtOnce bounds the rows that are read in one go.
const rekeyAtOnce = 100

// Rekey seals all rows that are not under the newest keys under these, and says how
// many there were. It can be stopped and called again; what is read meanwhile is
// read, and what is changed or deleted meanwhile stays so.
func (v *Vault) Rekey(ctx context.Context, tables []Table, progress func(done, total int)) (int, error) {
	generation, err := v.Advance(ctx)
	if err != nil {
		return 0, err
	}
	current, err := v.Current()
	if err != nil {
		return 0, err
	}
	todo, err := v.stale(ctx, tables, current, generation)
	if err != nil {
		return 0, err
	}
	done := 0
	for _, t := range tables {
		last := ""
		for {
			rows, err := v.behind(ctx, &t, current, generation, last)
			if err != nil {
				return done, fmt.Errorf("vault: %s: %w", t.Name, err)
			}
			if len(rows) == 0 {
				break
			}
			for _, r := range rows {
				if err = v.again(ctx, &t, &r); err != nil {
					return done, err
				}
				done++
				progress(done, max(done, todo))
			}
			last = rows[len(rows)-1].id
		}
	}
	return done, v.db.Settle(ctx)
}

// Stale counts the rows that are not under the newest keys.
func (v *Vault) Stale(ctx context.Context, tables []Table) (int, error) {
	generation, err := v.Generation(ctx)
	if err != nil {
		return 0, err
	}
	current, err := v.Current()
	if err != nil {
		return 0, err
	}
	return v.stale(ctx, tables, current, generation)
}

func (v *Vault) stale(ctx context.Context, tables []Table, current string, generation int) (int, error) {
	sum := 0
	for _, t := range tables {
		var n int
		where, args := t.where(current, generation)
		if err := v.db.QueryRow(ctx, `SELECT COUNT(*) FROM `+t.Name+where, args...).Scan(&n); err != nil {
			return 0, fmt.Errorf("vault: %s: %w", t.Name, err)
		}
		sum += n
	}
	return sum, nil
}

// where chooses the rows that are behind.
func (t *Table) where(current string, generation int) (string, []any) {
	if t.Transform == nil {
		return ` WHERE ` + t.Column + ` <> '' AND seal <> ?`, []any{current}
	}
	return ` WHERE ` + t.Column + ` <> '' AND (seal <> ? OR turn <> ?)`, []any{current, generation}
}

type sealedRow struct {
	id, text, model string
	turn            int
}

func (v *Vault) behind(ctx context.Context, t *Table, current string, generation int, after string) ([]sealedRow, error) {
	columns := `'', 0`
	if t.Transform != nil {
		columns = `model, turn`
	}
	where, args := t.where(current, generation)
	rows, err := v.db.Query(ctx, `SELECT id, `+t.Column+`, `+columns+` FROM `+t.Name+where+` AND id > ? ORDER BY id LIMIT ?`, append(args, after, rekeyAtOnce)...)
	if err != nil {
		return nil, err
	}
	var out []sealedRow
	err = store.Rows(rows, func(rows *sql.Rows) error {
		var r sealedRow
		serr := rows.Scan(&r.id, &r.text, &r.model, &r.turn)
		out = append(out, r)
		return serr
	})
	return out, err
}

// again seals one row again, unless it is another by now.
func (v *Vault) again(ctx context.Context, t *Table, r *sealedRow) error {
	var s Sealed
	var err error
	set := ``
	if t.Transform == nil {
		var plain []byte
		if plain, err = v.Open(r.text, t.Purpose, r.id); err == nil {
			s, err = v.Seal(plain, t.Purpose, r.id)
		}
	} else {
		name := t.Transform(r.id, r.model)
		var voice Voice
		if voice, err = v.OpenVoice(ctx, r.text, t.Purpose, r.id, name); err == nil {
			s, err = v.SealVoice(ctx, voice, t.Purpose, r.id, name)
		}
		set = `, turn = ?`
	}
	if errors.Is(err, seal.ErrNoKey) {
		return fmt.Errorf("vault: %s %s cannot be sealed again without the key that it was sealed with: %w", t.Purpose, r.id, err)
	}
	if err != nil {
		return err
	}
	args := []any{s.Text, s.Key}
	if set != "" {
		args = append(args, s.Turn)
	}
	_, err = v.db.Exec(ctx, `UPDATE `+t.Name+` SET `+t.Column+` = ?, seal = ?`+set+` WHERE id = ? AND `+t.Column+` = ?`, append(args, r.id, r.text)...)
	return err
}
