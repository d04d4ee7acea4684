package records

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"unicode/utf8"

	"sidetone/internal/journal"
	"sidetone/internal/store"
)

// Snippet is the line of a transcript that has most of the words looked for.
type Snippet struct {
	Leg     string  `json:"leg"`
	Role    string  `json:"role"`
	StartMS int64   `json:"start_ms"`
	Pieces  []Piece `json:"pieces"`
}

// Piece is a part of a line; Hit says that it was looked for.
type Piece struct {
	Text string `json:"text"`
	Hit  bool   `json:"hit,omitempty"`
}

// snippetBytes is how much of a line stands before and after its first hit.
const snippetBytes = 120

// snippet reads the transcript; nil is a call that does not have each run in one
// of its lines.
func (r *Records) snippet(ctx context.Context, key string, q question) (*Snippet, error) {
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
		e, err := scanEvent(rows, key)
		if err != nil {
			return err
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
	all := make([]bool, len(q.runs))
	var best *Snippet
	most := 0
	for _, l := range order {
		f := said[l]
		for _, text := range []string{f.Written, f.Text} {
			has, marks := q.find(tokens(text))
			n := 0
			for i, h := range has {
				if h {
					all[i] = true
					n++
				}
			}
			if n > most {
				most, best = n, &Snippet{Leg: f.Leg, Role: f.Role, StartMS: f.StartMS, Pieces: pieces(text, marks)}
			}
		}
	}
	if slices.Contains(all, false) {
		return nil, nil
	}
	return best, nil
}

// pieces cuts a line around its first hit and marks the hits.
func pieces(text string, marks []token) []Piece {
	from, to := max(0, marks[0].start-snippetBytes), min(len(text), marks[0].end+snippetBytes)
	for from > 0 && !utf8.RuneStart(text[from]) {
		from--
	}
	for to < len(text) && !utf8.RuneStart(text[to]) {
		to++
	}
	var out []Piece
	add := func(s string, hit bool) {
		if s != "" {
			out = append(out, Piece{s, hit})
		}
	}
	if from > 0 {
		add("…", false)
	}
	at := from
	for _, m := range marks {
		if m.start < at || m.end > to {
			continue
		}
		add(text[at:m.start], false)
		add(text[m.start:m.end], true)
		at = m.end
	}
	add(text[at:to], false)
	if to < len(text) {
		add("…", false)
	}
	return out
}
