package records

import (
	"context"
	"fmt"
	"time"

	"sidetone/internal/journal"
	"sidetone/internal/store"
)

// Policy is for how long data of each kind is kept after the end of its call; 0 is
// for ever.
type Policy struct {
	// Transcripts are what was said, and the search for it.
	Transcripts time.Duration
	// Cards are the intents, the cards and what agents did with them.
	Cards time.Duration
	// Statistics are how the audio arrived.
	Statistics time.Duration
	// Recordings are the kept audio.
	Recordings time.Duration
	// Calls are the calls with everything.
	Calls time.Duration
}

// recordingsAtOnce bounds the recordings that one Expire tells of.
const recordingsAtOnce = 1000

// Expired is what was deleted.
type Expired struct {
	Transcripts int `json:"transcripts"`
	Cards       int `json:"cards"`
	Statistics  int `json:"statistics"`
	Calls       int `json:"calls"`
	// Recordings are the keys of calls whose recordings are due: delete them and
	// say so with RecordingGone. A call that is due stays until then.
	Recordings []string `json:"recordings,omitempty"`
	// Broken counts the events put aside that were deleted.
	Broken int `json:"broken_events"`
}

// part is a kind of data of a call that can go alone.
type part struct {
	column string
	kinds  []journal.Kind
	words  bool
}

// Expire deletes what is older than the policy allows; calls that have not ended
// are not touched. It works in steps, so that events are applied in between; after
// an error it goes on where it was when it is called again.
func (r *Records) Expire(ctx context.Context, now time.Time, p Policy) (Expired, error) {
	var out Expired
	steps := []struct {
		keep  time.Duration
		part  part
		count *int
	}{
		{p.Transcripts, part{"has_transcript", []journal.Kind{journal.UtteranceFinal}, true}, &out.Transcripts},
		{p.Cards, part{"has_cards", []journal.Kind{journal.CardShown, journal.CardPainted, journal.CardAnswered, journal.CardWithdrawn, journal.IntentHeard}, false}, &out.Cards},
		{p.Statistics, part{"has_statistics", []journal.Kind{journal.LegFared}, false}, &out.Statistics},
	}
	shortest := p.Calls
	for _, s := range steps {
		shortest = shorter(shortest, s.keep)
		if s.keep <= 0 {
			continue
		}
		due := func() ([]string, error) {
			return r.due(ctx, s.part.column, now.Add(-s.keep), keysAtOnce)
		}
		if err := r.each(due, s.count, func(keys []string) error { return r.strip(ctx, keys, s.part) }); err != nil {
			return out, fmt.Errorf("records: expire: %w", err)
		}
	}
	if keep := shorter(p.Recordings, p.Calls); keep > 0 {
		var err error
		if out.Recordings, err = r.due(ctx, "recording", now.Add(-keep), recordingsAtOnce); err != nil {
			return out, fmt.Errorf("records: expire: %w", err)
		}
	}
	if p.Calls > 0 {
		due := func() ([]string, error) {
			return r.due(ctx, "NOT recording", now.Add(-p.Calls), keysAtOnce)
		}
		if err := r.each(due, &out.Calls, func(keys []string) error { return r.delete(ctx, keys) }); err != nil {
			return out, fmt.Errorf("records: expire: %w", err)
		}
	}
	if shortest > 0 {
		n, err := r.db.Exec(ctx, `DELETE FROM broken_events WHERE seen < ?`, store.Micros(now.Add(-shortest)))
		if err != nil {
			return out, fmt.Errorf("records: expire: %w", err)
		}
		out.Broken = int(n)
	}
	if out.Transcripts+out.Cards+out.Statistics+out.Calls+out.Broken > 0 {
		if err := r.db.Settle(ctx); err != nil {
			return out, fmt.Errorf("records: expire: %w", err)
		}
	}
	return out, nil
}

// shorter is the shorter of two times of which 0 is for ever.
func shorter(a, b time.Duration) time.Duration {
	if a <= 0 || b > 0 && b < a {
		return b
	}
	return a
}

// each deletes as long as something is due.
func (r *Records) each(due func() ([]string, error), count *int, delete func([]string) error) error {
	for {
		keys, err := due()
		if err != nil || len(keys) == 0 {
			return err
		}
		if err = delete(keys); err != nil {
			return err
		}
		*count += len(keys)
	}
}

// due are calls that ended before the time and of which cond holds.
func (r *Records) due(ctx context.Context, cond string, before time.Time, limit int) ([]string, error) {
	rows, err := r.db.Query(ctx, `SELECT key FROM calls WHERE ended < ? AND `+cond+` ORDER BY ended, key LIMIT ?`, store.Micros(before), limit)
	if err != nil {
		return nil, err
	}
	return scanKeys(rows)
}

// strip deletes a kind of data of calls.
func (r *Records) strip(ctx context.Context, keys []string, p part) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	in, values := among(keys)
	kinds := make([]any, len(p.kinds))
	for i, k := range p.kinds {
		kinds[i] = string(k)
	}
	err := r.change(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM events WHERE key IN `+in+` AND kind IN `+store.Marks(len(kinds)), append(append([]any{}, values...), kinds...)...); err != nil {
			return err
		}
		if p.words {
			if _, err := tx.Exec(ctx, `DELETE FROM words WHERE key IN `+in, values...); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `UPDATE calls SET `+p.column+` = FALSE WHERE key IN `+in, values...)
		return err
	})
	r.forget(keys)
	return err
}

// RecordingGone says that the recordings of the calls are deleted.
func (r *Records) RecordingGone(ctx context.Context, keys ...string) error {
	for len(keys) > 0 {
		chunk := keys[:min(len(keys), keysAtOnce)]
		keys = keys[len(chunk):]
		if err := r.strip(ctx, chunk, part{"recording", []journal.Kind{journal.RecordingKept}, false}); err != nil {
			return fmt.Errorf("records: %w", err)
		}
	}
	return nil
}
