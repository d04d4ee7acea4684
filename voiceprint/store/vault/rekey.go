package vault

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

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
			ids, err := v.behind(ctx, &t, current, generation, last)
			if err != nil {
				return done, fmt.Errorf("vault: %s: %w", t.Name, err)
			}
			if len(ids) == 0 {
				break
			}
			for _, id := range ids {
				if err = v.again(ctx, &t, id); err != nil {
					return done, fmt.Errorf("vault: %s %s: %w", t.Name, id, err)
				}
				done++
				progress(done, max(done, todo))
			}
			last = ids[len(ids)-1]
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

// behind are the next rows that are behind. What they hold, which may be much, is
// read one by one.
func (v *Vault) behind(ctx context.Context, t *Table, current string, generation int, after string) ([]string, error) {
	where, args := t.where(current, generation)
	rows, err := v.db.Query(ctx, `SELECT id FROM `+t.Name+where+` AND id > ? ORDER BY id LIMIT ?`, append(args, after, rekeyAtOnce)...)
	if err != nil {
		return nil, err
	}
	var out []string
	err = store.Rows(rows, func(rows *sql.Rows) error {
		var id string
		serr := rows.Scan(&id)
		out = append(out, id)
		return serr
	})
	return out, err
}

// again seals one row again, unless it is gone or another by now.
func (v *Vault) again(ctx context.Context, t *Table, id string) error {
	model := `''`
	if t.Transform != nil {
		model = `model`
	}
	var text, of string
	err := v.db.QueryRow(ctx, `SELECT `+t.Column+`, `+model+` FROM `+t.Name+` WHERE id = ?`, id).Scan(&text, &of)
	if errors.Is(err, sql.ErrNoRows) || err == nil && text == "" {
		return nil
	}
	if err != nil {
		return err
	}
	var s Sealed
	set, args := ``, []any{}
	if t.Transform == nil {
		var plain []byte
		if plain, err = v.Open(text, t.Purpose, id); err == nil {
			s, err = v.Seal(plain, t.Purpose, id)
		}
	} else {
		name := t.Transform(id, of)
		var voice Voice
		if voice, err = v.OpenVoice(ctx, text, t.Purpose, id, name); err == nil {
			s, err = v.SealVoice(ctx, voice, t.Purpose, id, name)
		}
		set, args = `, turn = ?`, []any{s.Turn}
	}
	if err != nil {
		return err
	}
	_, err = v.db.Exec(ctx, `UPDATE `+t.Name+` SET `+t.Column+` = ?, seal = ?`+set+` WHERE id = ? AND `+t.Column+` = ?`,
		append(append([]any{s.Text, s.Key}, args...), id, text)...)
	return err
}
