package records

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"sidetone/internal/journal"
	"sidetone/internal/records/words"
	"sidetone/internal/store"
)

const (
	// most is how many events one transaction takes.
	most = 500
	// rowsAtOnce bounds the rows of one INSERT, a power of two: SQLite takes 32,766
	// arguments.
	rowsAtOnce = 128
	// longestHole is how many missing events Mend believes in.
	longestHole = 100_000
)

// Apply stores events and brings the calls up to date. Events may come twice and
// those of different calls in any order. One that does not fit is put aside and
// counted (Stats), and stops no other: an unreadable one is passed over, an early
// one waits for those before it. After an error the same events are to be applied
// again; what was stored of them stays.
func (r *Records) Apply(ctx context.Context, events []journal.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for chunk := range slices.Chunk(events, most) {
		if err := r.work(ctx, chunk, nil); err != nil {
			return fmt.Errorf("records: apply: %w", err)
		}
	}
	return nil
}

// Mend gives up waiting for events that are missing since before the time, so that
// those behind them count. It says how many calls it has mended. Without it a call
// whose end waits for a lost event would run for ever.
func (r *Records) Mend(ctx context.Context, before time.Time) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rows, err := r.db.Query(ctx, `SELECT DISTINCT key FROM broken_events WHERE early AND seen < ?`, store.Micros(before))
	if err != nil {
		return 0, fmt.Errorf("records: mend: %w", err)
	}
	keys, err := scanKeys(rows)
	if err != nil {
		return 0, fmt.Errorf("records: mend: %w", err)
	}
	for chunk := range slices.Chunk(keys, most) {
		if err = r.work(ctx, nil, chunk); err != nil {
			return 0, fmt.Errorf("records: mend: %w", err)
		}
	}
	return len(keys), nil
}

func scanKeys(rows *sql.Rows) ([]string, error) {
	var out []string
	err := store.Rows(rows, func(rows *sql.Rows) error {
		var k string
		err := rows.Scan(&k)
		out = append(out, k)
		return err
	})
	return out, err
}

// work applies events, and mends keys, in one transaction.
func (r *Records) work(ctx context.Context, events []journal.Event, mend []string) error {
	var b *batch
	err := r.change(ctx, func(tx *store.Tx) error {
		if b != nil {
			r.forget(b.keys)
		}
		b = &batch{r: r, tx: tx, now: store.Micros(r.cfg.Now()), calls: map[string]*state{}}
		return b.run(ctx, events, mend)
	})
	if err != nil {
		if b != nil {
			r.forget(b.keys)
		}
		return err
	}
	for _, k := range b.keys {
		// Of a call that is over hardly anything is heard again.
		if s := b.calls[k]; s.call.N > 0 && !s.erased && s.call.Running() {
			r.calls[k] = s.call
		} else {
			delete(r.calls, k)
		}
	}
	for _, line := range b.aside {
		r.cfg.Log.Warn("an event was put aside", "key", line.e.Key, "n", line.e.N, "kind", line.e.Kind, "reason", line.reason)
	}
	r.trim()
	return nil
}

// trim keeps the cache in its bounds.
func (r *Records) trim() {
	for k := range r.calls {
		if len(r.calls) <= r.cfg.Cache {
			return
		}
		delete(r.calls, k)
	}
}

// batch is the work of one transaction.
type batch struct {
	r     *Records
	tx    *store.Tx
	now   int64
	keys  []string
	calls map[string]*state
	kept  []journal.Event
	aside []aside
	// taken are events that were put aside before and fit now.
	taken []journal.Event
}

type aside struct {
	e      journal.Event
	early  bool
	reason string
}

// state is a call within a batch.
type state struct {
	call   *journal.Call
	erased bool
	// waiting are early events, old those of them that the database holds.
	waiting map[uint64]journal.Event
	old     map[uint64]bool
	// what the batch has changed
	changed, legs, reworded bool
	said, carded, fared     bool
	words                   words.Set
}

func (b *batch) run(ctx context.Context, events []journal.Event, mend []string) error {
	for i := range events {
		if journal.ValidKey(events[i].Key) {
			b.key(events[i].Key)
		}
	}
	for _, k := range mend {
		b.key(k)
	}
	if err := b.load(ctx); err != nil {
		return err
	}
	for _, e := range events {
		b.take(e)
	}
	for _, k := range mend {
		b.bridge(b.calls[k])
	}
	return b.store(ctx)
}

func (b *batch) key(k string) {
	if b.calls[k] == nil {
		b.keys = append(b.keys, k)
		b.calls[k] = &state{waiting: map[uint64]journal.Event{}, old: map[uint64]bool{}, words: words.Set{}}
	}
}

// load reads what is known of the batch's calls.
func (b *batch) load(ctx context.Context) error {
	if len(b.keys) == 0 {
		return nil
	}
	in, keys := among(b.keys)
	at := map[string]uint64{}
	rows, err := b.tx.Query(ctx, `SELECT key, n FROM calls WHERE key IN `+in, keys...)
	if err != nil {
		return err
	}
	if err = store.Rows(rows, func(rows *sql.Rows) error {
		var k string
		var n int64
		serr := rows.Scan(&k, &n)
		at[k] = uint64(n)
		return serr
	}); err != nil {
		return err
	}
	if rows, err = b.tx.Query(ctx, `SELECT key FROM erased WHERE key IN `+in, keys...); err != nil {
		return err
	}
	erased, err := scanKeys(rows)
	if err != nil {
		return err
	}
	for _, k := range erased {
		b.calls[k].erased = true
	}
	if rows, err = b.tx.Query(ctx, `SELECT key, n, at, node, kind, body FROM broken_events WHERE early AND key IN `+in, keys...); err != nil {
		return err
	}
	if err = store.Rows(rows, func(rows *sql.Rows) error {
		e, serr := scanAside(rows)
		if serr != nil {
			return serr
		}
		s := b.calls[e.Key]
		s.waiting[e.N], s.old[e.N] = e, true
		return nil
	}); err != nil {
		return err
	}
	for _, k := range b.keys {
		s := b.calls[k]
		if at[k] == 0 {
			s.call = &journal.Call{}
			continue
		}
		if s.call, err = load(ctx, b.tx, b.r.calls[k], k, at[k]); err != nil {
			return err
		}
	}
	return nil
}

func scanAside(rows *sql.Rows) (journal.Event, error) {
	var e journal.Event
	var n, at int64
	var kind string
	var body sql.NullString
	if err := rows.Scan(&e.Key, &n, &at, &e.Node, &kind, &body); err != nil {
		return e, err
	}
	e.N, e.At, e.Kind = uint64(n), store.Time(at), journal.Kind(kind)
	if body.Valid {
		e.Body = json.RawMessage(body.String)
	}
	return e, nil
}

// take applies an event, or puts it aside.
func (b *batch) take(e journal.Event) {
	e.Node, e.Kind = store.Clean(e.Node), journal.Kind(store.Clean(string(e.Kind)))
	if !journal.ValidKey(e.Key) || e.N == 0 || e.N > math.MaxInt64 {
		b.putAside(e, "its key or its number cannot be one")
		return
	}
	s := b.calls[e.Key]
	switch {
	case s.erased || e.N <= s.call.N:
		return
	case e.N > s.call.N+1:
		if _, there := s.waiting[e.N]; !there {
			s.waiting[e.N] = e
		}
		return
	}
	if _, there := s.waiting[e.N]; there {
		b.unwait(s, e)
	}
	b.apply(s, e)
	for {
		next, there := s.waiting[s.call.N+1]
		if !there || s.call.N == 0 {
			return
		}
		b.unwait(s, next)
		b.apply(s, next)
	}
}

func (b *batch) unwait(s *state, e journal.Event) {
	delete(s.waiting, e.N)
	if s.old[e.N] {
		delete(s.old, e.N)
		b.taken = append(b.taken, e)
	}
}

// bridge counts what is missing before early events as lost.
func (b *batch) bridge(s *state) {
	for len(s.waiting) > 0 {
		next := uint64(math.MaxUint64)
		for n := range s.waiting {
			next = min(next, n)
		}
		e := s.waiting[next]
		b.unwait(s, e)
		switch {
		case s.erased || next <= s.call.N:
		case s.call.N == 0:
			b.putAside(e, "its call has no beginning")
		case next-s.call.N > longestHole:
			b.putAside(e, "its number is too far from the one before")
		default:
			pass(s.call, next-1)
			b.apply(s, e)
		}
	}
}

// apply applies the event that is the call's next.
func (b *batch) apply(s *state, e journal.Event) {
	reason := unreadable(e.Body)
	replaced := e.Kind == journal.UtteranceFinal && reason == "" && replaces(s.call, e)
	if reason == "" {
		if err := s.call.Apply(e); err != nil {
			reason = err.Error()
		}
	}
	if reason != "" {
		b.putAside(e, reason)
		if s.call.N == 0 {
			return
		}
		// The rest of the call is worth more than its wholeness.
		pass(s.call, e.N)
		s.changed = true
		return
	}
	s.changed = true
	b.kept = append(b.kept, e)
	switch e.Kind {
	case journal.LegChanged:
		s.legs = true
	case journal.UtteranceFinal:
		s.said = true
		if replaced {
			s.reworded = true
			return
		}
		var f journal.Final
		if e.Into(&f) == nil {
			s.words.Add(f.Text)
			s.words.Add(f.Written)
		}
	case journal.LegFared:
		s.fared = true
	case journal.CardShown, journal.IntentHeard, journal.CardPainted, journal.CardAnswered, journal.CardWithdrawn:
		s.carded = true
	}
}

// unreadable says why a body cannot be stored: PostgreSQL takes UTF-8 only.
func unreadable(body []byte) string {
	switch {
	case len(body) == 0:
		return ""
	case !utf8.Valid(body):
		return "its body is no UTF-8"
	case !json.Valid(body):
		return "its body is no JSON"
	}
	return ""
}

// replaces says whether a final takes words away that were there.
func replaces(c *journal.Call, e journal.Event) bool {
	var f journal.Final
	if e.Into(&f) != nil {
		return false
	}
	return slices.ContainsFunc(c.Transcript, func(s journal.Spoken) bool { return s.Leg == f.Leg && s.Utterance == f.Utterance })
}

func (b *batch) putAside(e journal.Event, reason string) {
	b.aside = append(b.aside, aside{e, false, reason})
}

// store writes what the batch has made of its events.
func (b *batch) store(ctx context.Context) error {
	for _, k := range b.keys {
		s := b.calls[k]
		for n, e := range s.waiting {
			if !s.old[n] {
				b.aside = append(b.aside, aside{e, true, fmt.Sprintf("events before it are missing: the call is at %d", s.call.N)})
			}
		}
	}
	for _, e := range b.taken {
		if _, err := b.tx.Exec(ctx, `DELETE FROM broken_events WHERE key = ? AND n = ?`, e.Key, int64(e.N)); err != nil {
			return err
		}
	}
	if err := insert(ctx, b.tx, `INSERT INTO broken_events (key, n, at, node, kind, body, early, seen, reason) VALUES `, ` ON CONFLICT (key, n) DO NOTHING`, b.aside,
		func(a aside) []any {
			body := text(a.e.Body)
			if body.Valid {
				body.String = store.Clean(body.String)
			}
			return []any{store.Clean(a.e.Key), int64(min(a.e.N, math.MaxInt64)), store.Micros(a.e.At), a.e.Node, string(a.e.Kind), body, a.early, b.now, store.Clean(a.reason)}
		}); err != nil {
		return err
	}
	if err := insert(ctx, b.tx, `INSERT INTO events (key, n, at, node, kind, body) VALUES `, ` ON CONFLICT (key, n) DO NOTHING`, b.kept,
		func(e journal.Event) []any {
			return []any{e.Key, int64(e.N), store.Micros(e.At), e.Node, string(e.Kind), text(e.Body)}
		}); err != nil {
		return err
	}
	return b.project(ctx)
}

func text(body []byte) sql.NullString {
	return sql.NullString{String: string(body), Valid: len(body) > 0}
}

// project writes the calls, their addresses and their words.
func (b *batch) project(ctx context.Context) error {
	var changed []*state
	var addresses, found [][]any
	for _, k := range b.keys {
		s := b.calls[k]
		if !s.changed {
			continue
		}
		changed = append(changed, s)
		if s.legs {
			if _, err := b.tx.Exec(ctx, `DELETE FROM customers WHERE key = ?`, k); err != nil {
				return err
			}
			for _, a := range addressesOf(s.call) {
				addresses = append(addresses, []any{a, k})
			}
		}
		if s.reworded {
			if _, err := b.tx.Exec(ctx, `DELETE FROM words WHERE key = ?`, k); err != nil {
				return err
			}
			for _, l := range s.call.Transcript {
				s.words.Add(l.Text)
				s.words.Add(l.Written)
			}
		}
		for _, w := range s.words.Sorted() {
			found = append(found, []any{w, k})
		}
	}
	if err := insert(ctx, b.tx, upsertHead, upsertTail, changed, (*state).row); err != nil {
		return err
	}
	same := func(row []any) []any { return row }
	if err := insert(ctx, b.tx, `INSERT INTO customers (address, key) VALUES `, ` ON CONFLICT (address, key) DO NOTHING`, addresses, same); err != nil {
		return err
	}
	return insert(ctx, b.tx, `INSERT INTO words (word, key) VALUES `, ` ON CONFLICT (word, key) DO NOTHING`, found, same)
}

// insert writes rows with few statements: a power of two each, since PostgreSQL
// keeps the plan of every statement that it has seen.
func insert[T any](ctx context.Context, tx *store.Tx, head, tail string, rows []T, row func(T) []any) error {
	for size := rowsAtOnce; len(rows) > 0; {
		for size > len(rows) {
			size /= 2
		}
		var values []any
		for _, r := range rows[:size] {
			values = append(values, row(r)...)
		}
		one := store.Marks(len(values) / size)
		if _, err := tx.Exec(ctx, head+strings.Repeat(one+", ", size-1)+one+tail, values...); err != nil {
			return err
		}
		rows = rows[size:]
	}
	return nil
}

// among is an IN list of keys and its arguments. Its length is a power of two, as
// insert's is; the last key fills it up.
func among(keys []string) (string, []any) {
	size := 1
	for size < len(keys) {
		size *= 2
	}
	values := make([]any, size)
	for i := range values {
		values[i] = keys[min(i, len(keys)-1)]
	}
	return store.Marks(size), values
}
