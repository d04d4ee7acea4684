package store

import (
	"context"
	"errors"
	"fmt"

	"sidetone/internal/store"
	"sidetone/voiceprint/store/ledger"
	"sidetone/voiceprint/store/trail"
)

// Comparison is a decision about a person in a call, with all that it rested on.
type Comparison = ledger.Comparison

// Look is one point of the score over time.
type Look = ledger.Look

// Record keeps a decision about a person who consented, and gives its ID; ID and
// Person need not be set. About one who has not, or has opted out or was erased
// meanwhile, nothing is kept: the error says why.
func (s *Store) Record(ctx context.Context, by Actor, subject string, c Comparison) (string, error) {
	if c.At.IsZero() {
		c.At = s.trail.Now()
	}
	at := store.Micros(c.At)
	c.ID = fmt.Sprintf("%016x%s", uint64(at), fresh()[:16])
	err := s.edit(ctx, by, subject, func(tx *store.Tx, p *person) ([]trail.Event, error) {
		if err := p.permit(s.trail.Now()); err != nil && !errors.Is(err, ErrExpired) {
			return nil, err
		}
		p.used, c.Person = max(p.used, at), p.id
		return []trail.Event{{Action: "voice.compared", Object: Object(p.id), Detail: map[string]string{
			"call": c.Call, "leg": c.Leg, "outcome": c.Decision.Outcome.String(), "llr": fmt.Sprintf("%.2f", c.Decision.LLR), "comparison": c.ID,
		}}}, ledger.Write(ctx, tx, &c)
	})
	if err != nil {
		return "", err
	}
	return c.ID, nil
}

// Comparisons lists decisions, the newest first, of one subject unless that is
// empty.
func (s *Store) Comparisons(ctx context.Context, by Actor, subject string, f ledger.Filter) ([]Comparison, error) {
	about := "comparisons"
	if subject != "" {
		id, _, err := s.who(subject)
		if err != nil {
			return nil, err
		}
		f.Person, about = id, Object(id)
	}
	if err := s.trail.Tell(ctx, by, trail.Event{Action: "voice.listed", Object: about, Detail: map[string]string{"what": "comparisons"}}); err != nil {
		return nil, fmt.Errorf("voices: %w", err)
	}
	return ledger.List(ctx, s.db, f)
}
