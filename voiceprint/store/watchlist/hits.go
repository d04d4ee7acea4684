package watchlist

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"sidetone/internal/store"
	"sidetone/voiceprint/store/trail"
)

// HitState is what people think of a hit.
type HitState string

// The states.
const (
	Open      HitState = "open"
	Confirmed HitState = "confirmed"
	Dismissed HitState = "dismissed"
)

// Hit is a voice of the list, as it seems, in a call.
type Hit struct {
	ID string
	// Watch is the entry's id, Call the key of the call.
	Watch, Call, Leg string
	At               time.Time
	// LLR is the evidence in nats.
	LLR   float64
	State HitState
	// By judged it, when.
	By      string
	Decided time.Time
}

// Hit adds one: of h count Watch, Call, Leg, At and LLR. One of the same voice on the
// same leg that is open takes the greater LLR instead; what was judged stays. It
// says whether the hit is new.
func (l *List) Hit(ctx context.Context, by trail.Actor, h Hit) (added bool, err error) {
	if math.IsNaN(h.LLR) || math.IsInf(h.LLR, 0) || h.Watch == "" || h.Call == "" {
		return false, fmt.Errorf("watchlist: a hit of entry %q in call %q with %v nats: %w", h.Watch, h.Call, h.LLR, ErrInvalid)
	}
	if h.At.IsZero() {
		h.At = l.trail.Now()
	}
	id := fresh()
	err = l.trail.Do(ctx, by, func(tx *store.Tx) ([]trail.Event, error) {
		n, ierr := tx.Exec(ctx, `INSERT INTO voice_hits (`+hitColumns+`) SELECT ?, id, ?, ?, CAST(? AS BIGINT), CAST(? AS DOUBLE PRECISION), ?, 0, '' FROM voice_watch WHERE id = ? AND payload <> '' ON CONFLICT (watch, call, leg) DO NOTHING`,
			id, store.Clean(h.Call), store.Clean(h.Leg), store.Micros(h.At), h.LLR, string(Open), store.Clean(h.Watch))
		if added = n > 0; ierr != nil || !added {
			if ierr == nil {
				_, ierr = tx.Exec(ctx, `UPDATE voice_hits SET llr = ? WHERE watch = ? AND call = ? AND leg = ? AND state = ? AND llr < ?`,
					h.LLR, store.Clean(h.Watch), store.Clean(h.Call), store.Clean(h.Leg), string(Open), h.LLR)
			}
			return nil, ierr
		}
		return []trail.Event{{Action: "voice.watch.hit", Object: object(h.Watch), Detail: map[string]string{"call": h.Call, "leg": h.Leg, "llr": fmt.Sprintf("%.2f", h.LLR)}}}, nil
	})
	if err != nil {
		return false, fmt.Errorf("watchlist: %w", err)
	}
	return added, nil
}

// Judge says of an open hit that it is right or wrong; of one that was judged it is
// ErrConflict.
func (l *List) Judge(ctx context.Context, by trail.Actor, id string, state HitState) error {
	if state != Confirmed && state != Dismissed {
		return fmt.Errorf("watchlist: a hit is judged %s or %s, not %q: %w", Confirmed, Dismissed, state, ErrInvalid)
	}
	err := l.trail.Do(ctx, by, func(tx *store.Tx) ([]trail.Event, error) {
		var watch, call string
		var was HitState
		lock := ""
		if l.db.Postgres() {
			lock = ` FOR UPDATE`
		}
		err := tx.QueryRow(ctx, `SELECT watch, call, state FROM voice_hits WHERE id = ?`+lock, store.Clean(id)).Scan(&watch, &call, &was)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return nil, fmt.Errorf("hit %s: %w", id, ErrUnknown)
		case err != nil:
			return nil, err
		case was != Open:
			return nil, fmt.Errorf("hit %s is %s: %w", id, was, ErrConflict)
		}
		_, err = tx.Exec(ctx, `UPDATE voice_hits SET state = ?, decided = ?, actor = ? WHERE id = ?`, string(state), store.Micros(l.trail.Now()), store.Clean(by.Name), store.Clean(id))
		return []trail.Event{{Action: "voice.watch." + string(state), Object: object(watch), Detail: map[string]string{"hit": id, "call": call}}}, err
	})
	if err != nil {
		return fmt.Errorf("watchlist: %w", err)
	}
	return nil
}

// HitFilter chooses hits; what is empty chooses all.
type HitFilter struct {
	State       HitState
	Watch, Call string
	// Limit is how many to list at most; 0, or more, means 200.
	Limit int
	// Before leaves only those from before that time, unless it is zero.
	Before time.Time
}

const hitColumns = `id, watch, call, leg, at, llr, state, decided, actor`

// Hits lists hits, the newest first.
func (l *List) Hits(ctx context.Context, f HitFilter) ([]Hit, error) {
	cond, args := []string{`1 = 1`}, []any{}
	add := func(set bool, c string, v any) {
		if set {
			cond, args = append(cond, c), append(args, v)
		}
	}
	add(f.State != "", `state = ?`, string(f.State))
	add(f.Watch != "", `watch = ?`, store.Clean(f.Watch))
	add(f.Call != "", `call = ?`, store.Clean(f.Call))
	if !f.Before.IsZero() {
		add(true, `at < ?`, store.Micros(f.Before))
	}
	if f.Limit <= 0 || f.Limit > maxList {
		f.Limit = maxList
	}
	rows, err := l.db.Query(ctx, `SELECT `+hitColumns+` FROM voice_hits WHERE `+strings.Join(cond, ` AND `)+` ORDER BY at DESC, id LIMIT ?`, append(args, f.Limit)...)
	if err != nil {
		return nil, fmt.Errorf("watchlist: %w", err)
	}
	out := []Hit{}
	err = store.Rows(rows, func(rows *sql.Rows) error {
		var h Hit
		var at, decided int64
		serr := rows.Scan(&h.ID, &h.Watch, &h.Call, &h.Leg, &at, &h.LLR, &h.State, &decided, &h.By)
		h.At = store.Time(at)
		if decided > 0 {
			h.Decided = store.Time(decided)
		}
		out = append(out, h)
		return serr
	})
	if err != nil {
		return nil, fmt.Errorf("watchlist: %w", err)
	}
	return out, nil
}

// Stats is what is there.
type Stats struct {
	// Voices are looked for, Overdue of them past their date of review; Hits wait for
	// a judgement.
	Voices, Overdue, Hits int64
}

// Stats counts.
func (l *List) Stats(ctx context.Context) (Stats, error) {
	var s Stats
	err := l.db.QueryRow(ctx, `SELECT (SELECT COUNT(*) FROM voice_watch WHERE payload <> ''), (SELECT COUNT(*) FROM voice_watch WHERE payload <> '' AND review <= ?), (SELECT COUNT(*) FROM voice_hits WHERE state = ?)`,
		store.Micros(l.trail.Now()), string(Open)).Scan(&s.Voices, &s.Overdue, &s.Hits)
	if err != nil {
		return s, fmt.Errorf("watchlist: %w", err)
	}
	return s, nil
}
