// Package watchlist keeps the voices that are looked for, each with a reason, a
// legal basis, and dates by which it is looked at again and ends; and the calls in
// which one of them was heard, for people to judge.
//
// Voices lie sealed and turned, all of one model by one transform: so they are
// scored turned as they are (Voices), and only the voice that calls is turned. It
// belongs to package store, which erases, expires and seals again what is here.
package watchlist

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"sidetone/internal/store"
	"sidetone/voiceprint"
	"sidetone/voiceprint/store/trail"
	"sidetone/voiceprint/store/turn"
	"sidetone/voiceprint/store/vault"
)

// Errors that callers tell apart.
var (
	// ErrUnknown: there is no such entry or hit.
	ErrUnknown = errors.New("there is no such entry on the watch list")
	// ErrConflict: somebody else has changed it meanwhile; read again.
	ErrConflict = errors.New("the watch list was changed meanwhile")
	// ErrInvalid: what was given cannot be kept.
	ErrInvalid = errors.New("it cannot be kept on the watch list")
)

// purpose is that of what is sealed.
const purpose = "voice-watch"

func transform(model string) string { return "watch list " + model }

// List is the watch list. It is safe for concurrent use.
type List struct {
	db    *store.DB
	vault *vault.Vault
	trail *trail.Trail
}

// New makes a list.
func New(db *store.DB, v *vault.Vault, t *trail.Trail) (*List, error) {
	if db == nil || v == nil || t == nil {
		return nil, errors.New("watchlist: a database, a vault and a trail are needed")
	}
	return &List{db, v, t}, nil
}

// Table is what a change of keys seals again.
func Table() vault.Table {
	return vault.Table{Name: "voice_watch", Column: "payload", Purpose: purpose, Transform: func(_, model string) string { return transform(model) }}
}

// Entry is a voice on the list, without the voice.
type Entry struct {
	ID string
	// Person is the pseudonym of whose voice it is, empty where that is not known.
	Person string
	Model  string
	// Reason and Basis say why the voice is here, and by what right; they are empty
	// once it was removed.
	Reason, Basis string
	Quality       voiceprint.Quality
	Added         time.Time
	AddedBy       string
	// Review is by when somebody looks whether it must stay, Expires when it goes.
	Review, Expires time.Time
	// Removed is when it went, zero if it is there.
	Removed   time.Time
	RemovedBy string
	// Version counts its changes.
	Version int64
}

// note is what is sealed with the voice.
type note struct {
	Reason string `json:"reason"`
	Basis  string `json:"basis"`
}

func object(id string) string { return "watch:" + id }

// Add puts a voice on the list: of e count Person, Model, Reason, Basis, Quality,
// Review and Expires.
func (l *List) Add(ctx context.Context, by trail.Actor, voice voiceprint.Embedding, e Entry) (string, error) {
	now := l.trail.Now()
	if e.Reason == "" || e.Basis == "" || e.Model == "" || !e.Review.After(now) || !e.Expires.After(now) {
		return "", fmt.Errorf("watchlist: an entry has a model, a reason, a legal basis, a date of review and one of expiry to come: %w", ErrInvalid)
	}
	if c := voiceprint.Cosine(voice, voice); !(math.Abs(c-1) < 1e-3) {
		return "", fmt.Errorf("watchlist: a voice of %d numbers and squared length %.3f: %w", len(voice), c, ErrInvalid)
	}
	why, err := json.Marshal(note{e.Reason, e.Basis})
	if err != nil {
		return "", err
	}
	id := fresh()
	s, err := l.vault.SealVoice(ctx, vault.Voice{Embedding: voice, Quality: e.Quality, Note: string(why)}, purpose, id, transform(store.Clean(e.Model)))
	if err != nil {
		return "", err
	}
	err = l.trail.Do(ctx, by, func(tx *store.Tx) ([]trail.Event, error) {
		_, ierr := tx.Exec(ctx, `INSERT INTO voice_watch (`+columns+`) VALUES `+store.Marks(14),
			id, store.Clean(e.Person), store.Clean(e.Model), store.Micros(now), store.Clean(by.Name), store.Micros(e.Review), store.Micros(e.Expires),
			0, "", store.Micros(now), 1, s.Key, s.Turn, s.Text)
		return []trail.Event{{Action: "voice.watch.added", Object: object(id), Detail: map[string]string{
			"model": e.Model, "review": day(e.Review), "expires": day(e.Expires),
		}}}, ierr
	})
	if err != nil {
		return "", fmt.Errorf("watchlist: %w", err)
	}
	return id, nil
}

func fresh() string {
	b := make([]byte, 16)
	rand.Read(b)
	return hex.EncodeToString(b)
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

const columns = `id, person, model, added, added_by, review, expires, removed, gone_by, changed, version, seal, turn, payload`

// row is an entry as the database holds it.
type row struct {
	Entry
	text string
}

func scan(rows *sql.Rows) (row, error) {
	var r row
	var added, review, expires, removed, changed int64
	var key string
	var generation int
	err := rows.Scan(&r.ID, &r.Person, &r.Model, &added, &r.AddedBy, &review, &expires, &removed, &r.RemovedBy, &changed, &r.Version, &key, &generation, &r.text)
	r.Added, r.Review, r.Expires = store.Time(added), store.Time(review), store.Time(expires)
	if removed > 0 {
		r.Removed = store.Time(removed)
	}
	return r, err
}

func (l *List) rows(ctx context.Context, cond string, args ...any) ([]row, error) {
	rows, err := l.db.Query(ctx, `SELECT `+columns+` FROM voice_watch WHERE `+cond, args...)
	if err != nil {
		return nil, fmt.Errorf("watchlist: %w", err)
	}
	var out []row
	if err = store.Rows(rows, func(rows *sql.Rows) error {
		r, serr := scan(rows)
		out = append(out, r)
		return serr
	}); err != nil {
		return nil, fmt.Errorf("watchlist: %w", err)
	}
	return out, nil
}

// maxList bounds the entries of one Entries.
const maxList = 200

// Entries lists entries by their ids, those behind after, at most limit; with
// removed the ones that were removed, too.
func (l *List) Entries(ctx context.Context, by trail.Actor, after string, limit int, removed bool) ([]Entry, error) {
	cond := `id > ? AND payload <> '' ORDER BY id LIMIT ?`
	if removed {
		cond = `id > ? ORDER BY id LIMIT ?`
	}
	if limit <= 0 || limit > maxList {
		limit = maxList
	}
	rows, err := l.rows(ctx, cond, store.Clean(after), limit)
	if err != nil {
		return nil, err
	}
	if err = l.trail.Tell(ctx, by, trail.Event{Action: "voice.read", Object: "watch", Detail: map[string]string{"entries": fmt.Sprint(len(rows))}}); err != nil {
		return nil, fmt.Errorf("watchlist: %w", err)
	}
	out := make([]Entry, 0, len(rows))
	for i := range rows {
		if err = l.open(&rows[i]); err != nil {
			return nil, err
		}
		out = append(out, rows[i].Entry)
	}
	return out, nil
}

// Entry is one entry, removed or not; one that there never was is ErrUnknown.
func (l *List) Entry(ctx context.Context, by trail.Actor, id string) (Entry, error) {
	rows, err := l.rows(ctx, `id = ?`, store.Clean(id))
	if err != nil {
		return Entry{}, err
	}
	if len(rows) == 0 {
		return Entry{}, fmt.Errorf("watchlist: %s: %w", id, ErrUnknown)
	}
	if err = l.trail.Tell(ctx, by, trail.Event{Action: "voice.read", Object: object(id)}); err != nil {
		return Entry{}, fmt.Errorf("watchlist: %w", err)
	}
	err = l.open(&rows[0])
	return rows[0].Entry, err
}

// open adds to an entry what is sealed of it.
func (l *List) open(r *row) error {
	if r.text == "" {
		return nil
	}
	v, _, err := l.vault.OpenTurned(r.text, purpose, r.ID)
	if err != nil {
		return fmt.Errorf("watchlist: %w", err)
	}
	var why note
	if err = json.Unmarshal([]byte(v.Note), &why); err != nil {
		return fmt.Errorf("watchlist: entry %s: %w", r.ID, err)
	}
	r.Reason, r.Basis, r.Quality = why.Reason, why.Basis, v.Quality
	return nil
}

// Removed are the entries that went, and when.
func (l *List) Removed(ctx context.Context) (map[string]time.Time, error) {
	rows, err := l.db.Query(ctx, `SELECT id, removed FROM voice_watch WHERE payload = ''`)
	if err != nil {
		return nil, fmt.Errorf("watchlist: %w", err)
	}
	out := map[string]time.Time{}
	err = store.Rows(rows, func(rows *sql.Rows) error {
		var id string
		var removed int64
		serr := rows.Scan(&id, &removed)
		out[id] = store.Time(removed)
		return serr
	})
	if err != nil {
		return nil, fmt.Errorf("watchlist: %w", err)
	}
	return out, nil
}

// Extend sets the dates of an entry that is at the given version; at another it is
// ErrConflict.
func (l *List) Extend(ctx context.Context, by trail.Actor, id string, version int64, review, expires time.Time) error {
	now := l.trail.Now()
	if !review.After(now) || !expires.After(now) {
		return fmt.Errorf("watchlist: dates of review and of expiry are to come: %w", ErrInvalid)
	}
	err := l.trail.Do(ctx, by, func(tx *store.Tx) ([]trail.Event, error) {
		n, err := tx.Exec(ctx, `UPDATE voice_watch SET review = ?, expires = ?, changed = ?, version = version + 1 WHERE id = ? AND version = ? AND payload <> ''`,
			store.Micros(review), store.Micros(expires), store.Micros(now), store.Clean(id), version)
		if err == nil && n == 0 {
			err = fmt.Errorf("entry %s is not there at version %d: %w", id, version, ErrConflict)
		}
		return []trail.Event{{Action: "voice.watch.extended", Object: object(id), Detail: map[string]string{"review": day(review), "expires": day(expires)}}}, err
	})
	if err != nil {
		return fmt.Errorf("watchlist: %w", err)
	}
	return nil
}

// Remove takes a voice off the list: it and the reason are deleted; who added and
// who removed it when stays.
func (l *List) Remove(ctx context.Context, by trail.Actor, id string) error {
	err := l.trail.Do(ctx, by, func(tx *store.Tx) ([]trail.Event, error) {
		n, err := l.remove(ctx, tx, by, `id = ?`, store.Clean(id))
		if err == nil && n == 0 {
			err = fmt.Errorf("%s: %w", id, ErrUnknown)
		}
		return []trail.Event{{Action: "voice.watch.removed", Object: object(id)}}, err
	})
	if err != nil {
		return fmt.Errorf("watchlist: %w", err)
	}
	return l.db.Settle(ctx)
}

func (l *List) remove(ctx context.Context, tx *store.Tx, by trail.Actor, cond string, arg any) (int64, error) {
	now := store.Micros(l.trail.Now())
	return tx.Exec(ctx, `UPDATE voice_watch SET payload = '', person = '', removed = ?, gone_by = ?, changed = ?, version = version + 1 WHERE payload <> '' AND `+cond,
		now, store.Clean(by.Name), now, arg)
}

// Forget removes what is here of a person, with its hits, within the transaction
// that erases the person.
func (l *List) Forget(ctx context.Context, tx *store.Tx, by trail.Actor, person string) (int64, error) {
	if _, err := tx.Exec(ctx, `DELETE FROM voice_hits WHERE watch IN (SELECT id FROM voice_watch WHERE person = ?)`, person); err != nil {
		return 0, err
	}
	return l.remove(ctx, tx, by, `person = ?`, person)
}

// Expire removes the voices whose time is over, and deletes the hits from before
// the given time, unless that is zero.
func (l *List) Expire(ctx context.Context, by trail.Actor, now, hitsBefore time.Time) (voices, hits int64, err error) {
	err = l.trail.Do(ctx, by, func(tx *store.Tx) ([]trail.Event, error) {
		var derr error
		if voices, derr = l.remove(ctx, tx, by, `expires <= ?`, store.Micros(now)); derr != nil {
			return nil, derr
		}
		hits = 0
		if !hitsBefore.IsZero() {
			if hits, derr = tx.Exec(ctx, `DELETE FROM voice_hits WHERE at < ?`, store.Micros(hitsBefore)); derr != nil {
				return nil, derr
			}
		}
		if voices+hits == 0 {
			return nil, nil
		}
		return []trail.Event{{Action: "voice.expired", Object: "watch", Detail: map[string]string{"voices": fmt.Sprint(voices), "hits": fmt.Sprint(hits)}}}, nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("watchlist: %w", err)
	}
	return voices, hits, nil
}

// Mark changes when the list does.
func (l *List) Mark(ctx context.Context) (string, error) {
	var n, versions, changed int64
	var generation int
	err := l.db.QueryRow(ctx, `SELECT COUNT(*), COALESCE(SUM(version), 0), COALESCE(MAX(changed), 0), COALESCE(MAX(turn), 0) FROM voice_watch`).Scan(&n, &versions, &changed, &generation)
	if err != nil {
		return "", fmt.Errorf("watchlist: %w", err)
	}
	return fmt.Sprintf("%d.%d.%d.%d", n, versions, changed, generation), nil
}

// Voices are the voices of the list, turned, to be scored in memory. It is
// immutable and safe for concurrent use.
type Voices struct {
	// Mark is that of the list when it was read; with another one read again.
	Mark string
	// IDs are those of the entries, Turned their voices.
	IDs    []string
	Turned []voiceprint.Embedding
	by     *turn.Turn
}

// Turn turns a voice as those of the list are, so that the cosines with them are
// those of the voices. It is of the same model.
func (v *Voices) Turn(e voiceprint.Embedding) (voiceprint.Embedding, error) {
	if v.by == nil {
		return e, nil
	}
	if len(e) != v.by.Dim() {
		return nil, fmt.Errorf("watchlist: a voice of %d numbers, those of the list have %d: %w", len(e), v.by.Dim(), voiceprint.ErrModel)
	}
	return v.by.Apply(e), nil
}

// Voices reads the voices of one model whose time is not over.
func (l *List) Voices(ctx context.Context, by trail.Actor, model string) (*Voices, error) {
	mark, err := l.Mark(ctx)
	if err != nil {
		return nil, err
	}
	out := &Voices{Mark: mark}
	name := store.Clean(model)
	rows, err := l.rows(ctx, `model = ? AND payload <> '' AND expires > ? ORDER BY id`, name, store.Micros(l.trail.Now()))
	if err != nil || len(rows) == 0 {
		return out, err
	}
	if err = l.trail.Tell(ctx, by, trail.Event{Action: "voice.read", Object: "watch", Detail: map[string]string{"voices": fmt.Sprint(len(rows)), "model": model}}); err != nil {
		return nil, fmt.Errorf("watchlist: %w", err)
	}
	current, err := l.vault.Generation(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		v, generation, err := l.vault.OpenTurned(r.text, purpose, r.ID)
		if err != nil {
			return nil, fmt.Errorf("watchlist: %w", err)
		}
		if out.by == nil {
			if out.by, err = l.vault.Transform(ctx, current, transform(name), len(v.Embedding)); err != nil {
				return nil, err
			}
		}
		if len(v.Embedding) != out.by.Dim() {
			return nil, fmt.Errorf("watchlist: entry %s has %d numbers, others have %d: %w", r.ID, len(v.Embedding), out.by.Dim(), voiceprint.ErrModel)
		}
		if generation != current {
			// A change of keys is on its way.
			old, err := l.vault.Transform(ctx, generation, transform(name), len(v.Embedding))
			if err != nil {
				return nil, err
			}
			v.Embedding = out.by.Apply(old.Undo(v.Embedding))
		}
		out.IDs, out.Turned = append(out.IDs, r.ID), append(out.Turned, v.Embedding)
	}
	return out, nil
}
