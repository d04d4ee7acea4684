package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"sidetone/internal/store"
	"sidetone/voiceprint/store/trail"
	"sidetone/voiceprint/store/watchlist"
)

// Erased counts what was deleted.
type Erased struct {
	// Templates count with all their versions.
	Templates, Audio, Prints, Comparisons, Watch int64
	// Learnt is what was remembered between calls.
	Learnt  int64
	Persons int64
}

// Erase deletes all that is here of a person: templates, audio, prints, decisions, who they
// are and what they said, and with watch the entries of the watch list about them,
// too. What stays is a pseudonym with the proofs of the erasure and of an opt-out,
// which goes on to hold.
func (s *Store) Erase(ctx context.Context, by Actor, subject string, watch bool) (Erased, error) {
	var out Erased
	err := s.edit(ctx, by, subject, func(tx *store.Tx, p *person) ([]trail.Event, error) {
		d, err := drop(ctx, tx, p.id)
		if err != nil {
			return nil, err
		}
		out = Erased{Templates: d.templates, Audio: d.audio, Prints: d.prints, Learnt: d.learnt}
		if out.Comparisons, err = tx.Exec(ctx, `DELETE FROM voice_comparisons WHERE person = ?`, p.id); err != nil {
			return nil, err
		}
		if watch {
			if out.Watch, err = s.watch.Forget(ctx, tx, by, p.id); err != nil {
				return nil, err
			}
		}
		if !p.there {
			p.leave = true
			if out.Watch == 0 {
				return nil, nil
			}
		} else {
			out.Persons = 1
			if err = s.bury(ctx, tx, p, by.Name, s.trail.Now()); err != nil {
				return nil, err
			}
		}
		detail := d.detail("asked")
		detail["comparisons"], detail["watch"] = fmt.Sprint(out.Comparisons), fmt.Sprint(out.Watch)
		return []trail.Event{{Action: "voice.erased", Object: Object(p.id), Detail: detail}}, nil
	})
	if err != nil {
		return Erased{}, err
	}
	return out, s.db.Settle(ctx)
}

// bury leaves of a person the proofs.
func (s *Store) bury(ctx context.Context, tx *store.Tx, p *person, by string, at time.Time) error {
	p.subject, p.seal, p.used, p.expires, p.erased = "", "", 0, 0, store.Micros(at)
	if p.state != OptedOut {
		p.state, p.since = Unknown, p.erased
	}
	if _, err := tx.Exec(ctx, `DELETE FROM voice_consents WHERE person = ? AND state NOT IN (?, ?)`, p.id, string(OptedOut), string(erased)); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE voice_consents SET wording = '', language = '', channel = '', how = '' WHERE person = ?`, p.id); err != nil {
		return err
	}
	return addConsent(ctx, tx, p.id, Consent{At: at}, erased, by)
}

// callsAtOnce bounds the calls that one transaction takes.
const callsAtOnce = 200

// EraseCalls deletes the decisions, the prints and the watch list's hits of calls that
// are erased, and passive enrolments that rest on one of them.
func (s *Store) EraseCalls(ctx context.Context, by Actor, keys ...string) error {
	for chunk := range slices.Chunk(keys, callsAtOnce) {
		args := make([]any, len(chunk))
		for i, k := range chunk {
			args[i] = store.Clean(k)
		}
		err := s.trail.Do(ctx, by, func(tx *store.Tx) ([]trail.Event, error) {
			var sum int64
			for _, table := range []string{"voice_comparisons", "voice_hits", "voice_prints"} {
				n, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE call IN `+store.Marks(len(args)), args...)
				if err != nil {
					return nil, err
				}
				sum += n
			}
			n, err := forgetCalls(ctx, tx, args)
			if err != nil {
				return nil, err
			}
			if sum += n; sum == 0 {
				return nil, nil
			}
			return []trail.Event{{Action: "voice.erased", Object: "calls", Detail: map[string]string{"calls": fmt.Sprint(len(args)), "rows": fmt.Sprint(sum)}}}, nil
		})
		if err != nil {
			return fmt.Errorf("voices: %w", err)
		}
	}
	return s.db.Settle(ctx)
}

// Retention is for how long data of each kind is kept; 0 is for ever. What a
// consent covered goes when the consent expires, and a voice of the watch list at
// its own date.
type Retention struct {
	// Unused is since templates were last added or compared, or a call was learnt from.
	Unused time.Duration
	// Audio is since it was enrolled, Prints since the call was, Comparisons and Hits
	// since they were made.
	Audio, Prints, Comparisons, Hits time.Duration
}

// Lapsed is what Expire deleted.
type Lapsed struct {
	Erased
	Hits int64
}

// Expire deletes what is older than allowed, and sends on what the audit log did
// not take. It works in steps; after an error it goes on where it was when it is
// called again.
func (s *Store) Expire(ctx context.Context, by Actor, now time.Time, r Retention) (Lapsed, error) {
	var out Lapsed
	lapsed, args := `state <> ? OR expires > 0 AND expires <= ?`, []any{string(Consented), store.Micros(now)}
	if r.Unused > 0 {
		lapsed, args = lapsed+` OR used < ?`, append(args, store.Micros(now.Add(-r.Unused)))
	}
	for {
		ids, err := s.ids(ctx, `SELECT id FROM voice_persons p WHERE (`+lapsed+`) AND (EXISTS (SELECT 1 FROM voice_templates t WHERE t.person = p.id) OR EXISTS (SELECT 1 FROM voice_audio a WHERE a.person = p.id) OR EXISTS (SELECT 1 FROM voice_prints r WHERE r.person = p.id) OR EXISTS (SELECT 1 FROM voice_passive l WHERE l.person = p.id)) ORDER BY id LIMIT ?`, append(args, callsAtOnce)...)
		if err != nil {
			return out, err
		}
		if len(ids) == 0 {
			break
		}
		for _, id := range ids {
			if err = s.lapse(ctx, by, id, now, r.Unused, &out.Erased); err != nil {
				return out, err
			}
		}
	}
	for _, old := range []struct {
		keep  time.Duration
		table string
		time  string
		count *int64
	}{{r.Audio, "voice_audio", "made", &out.Audio}, {r.Prints, "voice_prints", "call <> '' AND made", &out.Prints}, {r.Comparisons, "voice_comparisons", "at", &out.Comparisons}} {
		if old.keep <= 0 {
			continue
		}
		var n int64
		err := s.trail.Do(ctx, by, func(tx *store.Tx) ([]trail.Event, error) {
			var derr error
			if n, derr = tx.Exec(ctx, `DELETE FROM `+old.table+` WHERE `+old.time+` < ?`, store.Micros(now.Add(-old.keep))); derr != nil || n == 0 {
				return nil, derr
			}
			return []trail.Event{{Action: "voice.expired", Object: old.table, Detail: map[string]string{"rows": fmt.Sprint(n)}}}, nil
		})
		if err != nil {
			return out, fmt.Errorf("voices: %w", err)
		}
		*old.count += n
	}
	var before time.Time
	if r.Hits > 0 {
		before = now.Add(-r.Hits)
	}
	var err error
	if out.Watch, out.Hits, err = s.watch.Expire(ctx, by, now, before); err != nil {
		return out, err
	}
	if _, err = s.trail.Flush(ctx); err != nil {
		return out, err
	}
	if out != (Lapsed{}) {
		return out, s.db.Settle(ctx)
	}
	return out, nil
}

// lapse deletes a person's templates, audio and what was learnt if they are still due.
func (s *Store) lapse(ctx context.Context, by Actor, id string, now time.Time, unused time.Duration, out *Erased) error {
	var d dropped
	err := s.editID(ctx, by, id, func(tx *store.Tx, p *person) ([]trail.Event, error) {
		d = dropped{}
		why := "no consent"
		if p.status(now) == Consented {
			why = "unused"
			if unused <= 0 || p.used >= store.Micros(now.Add(-unused)) {
				p.leave = true
				return nil, nil
			}
		}
		var err error
		d, err = drop(ctx, tx, id)
		return []trail.Event{{Action: "voice.expired", Object: Object(id), Detail: d.detail(why)}}, err
	})
	if err != nil {
		return err
	}
	if d != (dropped{}) {
		out.Persons++
	}
	out.Templates, out.Audio = out.Templates+d.templates, out.Audio+d.audio
	out.Prints, out.Learnt = out.Prints+d.prints, out.Learnt+d.learnt
	return nil
}

// Tombstone says that a person opted out or was erased, and of whom only to who has
// the key; or that a voice was taken off the watch list.
type Tombstone struct {
	Person string `json:"person,omitempty"`
	// OptedOut and Erased are when; zero is not.
	OptedOut time.Time `json:"opted_out,omitzero"`
	Erased   time.Time `json:"erased,omitzero"`
	// Watch is the entry of the watch list, Removed when it went.
	Watch   string    `json:"watch,omitempty"`
	Removed time.Time `json:"removed,omitzero"`
}

// Tombstones lists all opt-outs, erasures and removals from the watch list: kept
// apart from the database's backups, they are what Bury needs when an old one was
// restored.
func (s *Store) Tombstones(ctx context.Context) ([]Tombstone, error) {
	out := []Tombstone{}
	rows, err := s.db.Query(ctx, `SELECT id, state, since, erased FROM voice_persons WHERE state = ? OR erased > 0 ORDER BY id`, string(OptedOut))
	if err == nil {
		err = store.Rows(rows, func(rows *sql.Rows) error {
			var t Tombstone
			var state State
			var since, gone int64
			serr := rows.Scan(&t.Person, &state, &since, &gone)
			t.Erased = fromMicros(gone)
			if state == OptedOut {
				t.OptedOut = fromMicros(since)
			}
			out = append(out, t)
			return serr
		})
	}
	if err != nil {
		return nil, fmt.Errorf("voices: %w", err)
	}
	gone, err := s.watch.Removed(ctx)
	for _, id := range slices.Sorted(maps.Keys(gone)) {
		out = append(out, Tombstone{Watch: id, Removed: gone[id]})
	}
	return out, err
}

// Bury applies tombstones to a database that is older than they are, and says of
// how many persons and voices of the watch list in it something was changed. Who
// consented after them stays.
func (s *Store) Bury(ctx context.Context, by Actor, stones []Tombstone) (int, error) {
	buried := 0
	for _, t := range stones {
		if t.Watch != "" {
			err := s.watch.Remove(ctx, by, t.Watch)
			if err != nil && !errors.Is(err, watchlist.ErrUnknown) {
				return buried, err
			}
			if err == nil {
				buried++
			}
			continue
		}
		changed := false
		err := s.editID(ctx, by, store.Clean(t.Person), func(tx *store.Tx, p *person) ([]trail.Event, error) {
			out := !t.OptedOut.IsZero() && store.Micros(t.OptedOut) > p.since
			gone := !t.Erased.IsZero() && store.Micros(t.Erased) > max(p.erased, p.since)
			changed = p.there && (out || gone)
			if p.leave = !out && !gone; p.leave {
				return nil, nil
			}
			d, err := drop(ctx, tx, p.id)
			if err != nil {
				return nil, err
			}
			if out {
				p.state, p.since, p.expires = OptedOut, store.Micros(t.OptedOut), 0
				if err = addConsent(ctx, tx, p.id, Consent{At: t.OptedOut}, OptedOut, by.Name); err != nil {
					return nil, err
				}
			}
			if gone {
				if _, err = tx.Exec(ctx, `DELETE FROM voice_comparisons WHERE person = ?`, p.id); err != nil {
					return nil, err
				}
				if err = s.bury(ctx, tx, p, by.Name, t.Erased); err != nil {
					return nil, err
				}
			}
			return []trail.Event{{Action: "voice.erased", Object: Object(p.id), Detail: d.detail("erased before, restored since")}}, nil
		})
		if err != nil {
			return buried, err
		}
		if changed {
			buried++
		}
	}
	return buried, s.db.Settle(ctx)
}
