package records

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"sidetone/internal/journal"
	"sidetone/internal/records/words"
	"sidetone/internal/store"
)

// Snippet is the line of a transcript that has most of the words looked for.
type Snippet struct {
	Leg     string        `json:"leg"`
	Role    string        `json:"role"`
	StartMS int64         `json:"start_ms"`
	Pieces  []words.Piece `json:"pieces"`
}

// snippetBytes is how much of a line stands before and after its first hit.
const snippetBytes = 120

// snippet reads the transcript; nil is a call that does not have each run in one
// of its lines.
func (r *Records) snippet(ctx context.Context, key string, q words.Question) (*Snippet, error) {
	rows, err := r.db.Query(ctx, `SELECT n, at, node, kind, body FROM events WHERE key = ? AND kind = ? ORDER BY n`, key, string(journal.UtteranceFinal))
	if err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	type line struct {
		leg       string
		utterance int
	}
	said := map[line]journal.Final{}
	var order []line
	err = store.Rows(rows, func(rows *sql.Rows) error {
		e, serr := scanEvent(rows, key)
		if serr != nil {
			return serr
		}
		var f journal.Final
		if e.Into(&f) == nil {
			l := line{f.Leg, f.Utterance}
			if _, there := said[l]; !there {
				order = append(order, l)
			}
			said[l] = f
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("records: transcript of call %s: %w", key, err)
	}
	all := make([]bool, q.Runs())
	var best *Snippet
	most := 0
	for _, l := range order {
		f := said[l]
		for _, text := range []string{f.Written, f.Text} {
			has, pieces := q.Find(text, snippetBytes)
			n := 0
			for i, h := range has {
				if h {
					all[i] = true
					n++
				}
			}
			if n > most {
				most, best = n, &Snippet{Leg: f.Leg, Role: f.Role, StartMS: f.StartMS, Pieces: pieces}
			}
		}
	}
	if slices.Contains(all, false) {
		return nil, nil
	}
	return best, nil
}
