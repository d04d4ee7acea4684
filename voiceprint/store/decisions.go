package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"sidetone/internal/store"
	"sidetone/voiceprint/store/ledger"
	"sidetone/voiceprint/store/trail"
)

// Comparison is a decision about a person in a call, with all that it rested on.
type Comparison = ledger.Comparison

// Sign is one of spoofing.
type Sign = ledger.Sign

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

// Amend sets the signs of spoofing of a decision, of which more can show until the
// leg is over. One that was erased meanwhile stays so.
func (s *Store) Amend(ctx context.Context, by Actor, id string, signs []Sign) error {
	names := make([]string, len(signs))
	for i, g := range signs {
		names[i] = g.Name
	}
	err := s.trail.Do(ctx, by, func(tx *store.Tx) ([]trail.Event, error) {
		person, err := ledger.Amend(ctx, tx, id, signs)
		if err != nil || person == "" {
			return nil, err
		}
		return []trail.Event{{Action: "voice.signs", Object: Object(person), Detail: map[string]string{"comparison": id, "signs": strings.Join(names, " ")}}}, nil
	})
	if err != nil {
		return fmt.Errorf("voices: %w", err)
	}
	return nil
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
