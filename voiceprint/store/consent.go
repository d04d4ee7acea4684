package store

import (
	"context"
	"fmt"
	"time"

	"sidetone/internal/store"
	"sidetone/voiceprint/store/trail"
)

// State is how a person stands to the use of their voice.
type State string

// The states.
const (
	Unknown   State = "unknown"
	Asked     State = "asked"
	Consented State = "consented"
	// OptedOut is final until the person consents anew.
	OptedOut State = "opted_out"
	// Expired is a consent whose time is over.
	Expired State = "expired"

	// erased is the state of a consent record that proves an erasure.
	erased State = "erased"
)

func (p *person) status(now time.Time) State {
	if p.state == Consented && p.expires > 0 && store.Micros(now) >= p.expires {
		return Expired
	}
	return p.state
}

// Consent is one record of what a person said to the use of their voice.
type Consent struct {
	At time.Time
	// State is Asked, Consented or OptedOut, or "erased" for the proof of an erasure.
	// What is given to Ask, Consent and OptOut need not say it.
	State State
	// Text is the version of what was read to them, Language its language.
	Text, Language string
	// Channel is over what they said it, such as "call 5f2c…", How in what way, such
	// as "spoken" or "signed".
	Channel, How string
	// By recorded it; it is the actor's name.
	By string
	// Expires is when a consent ends; zero is never.
	Expires time.Time
}

// Standing is a person's state.
type Standing struct {
	State State
	// Since is when it became so, Expires when a consent ends.
	Since, Expires time.Time
	// Erased is when all of the person was erased; zero is not.
	Erased time.Time
	// Version counts the changes of the person.
	Version int64
}

func (s *Store) standing(p *person) Standing {
	return Standing{
		State: p.status(s.trail.Now()), Since: fromMicros(p.since), Expires: fromMicros(p.expires), Erased: fromMicros(p.erased), Version: p.version,
	}
}

// State tells how a person stands; who is not known is Unknown, which is no error.
func (s *Store) State(ctx context.Context, subject string) (Standing, error) {
	id, _, err := s.who(subject)
	if err != nil {
		return Standing{}, err
	}
	p, err := load(ctx, s.db, id)
	return s.standing(&p), err
}

// Ask records that a person was asked. One who has opted out is not asked:
// ErrOptedOut. A consent stays.
func (s *Store) Ask(ctx context.Context, by Actor, subject string, c Consent) error {
	c.Expires = time.Time{}
	return s.record(ctx, by, subject, c, Asked, func(p *person) error {
		if p.state == OptedOut {
			return ErrOptedOut
		}
		return nil
	})
}

// Consent records that a person consented, after an opt-out, too; one from before
// the opt-out does not end it: ErrOptedOut.
func (s *Store) Consent(ctx context.Context, by Actor, subject string, c Consent) error {
	if c.Text == "" || c.How == "" {
		return fmt.Errorf("voices: a consent says to which version of the text, and how it was given: %w", ErrInvalid)
	}
	if !c.Expires.IsZero() && !c.Expires.After(s.trail.Now()) {
		return fmt.Errorf("voices: a consent until %v: %w", c.Expires, ErrInvalid)
	}
	return s.record(ctx, by, subject, c, Consented, func(p *person) error {
		if p.state == OptedOut && !c.At.IsZero() && store.Micros(c.At) < p.since {
			return ErrOptedOut
		}
		return nil
	})
}

// OptOut records that a person withdrew, or never wants to be asked: their
// templates and audio are deleted at once, and none is made until they consent.
func (s *Store) OptOut(ctx context.Context, by Actor, subject string, c Consent) error {
	c.Expires = time.Time{}
	if err := s.record(ctx, by, subject, c, OptedOut, func(*person) error { return nil }); err != nil {
		return err
	}
	return s.db.Settle(ctx)
}

func (s *Store) record(ctx context.Context, by Actor, subject string, c Consent, state State, may func(*person) error) error {
	if c.At.IsZero() {
		c.At = s.trail.Now()
	}
	return s.edit(ctx, by, subject, func(tx *store.Tx, p *person) ([]trail.Event, error) {
		if err := may(p); err != nil {
			return nil, err
		}
		events := []trail.Event{{Action: "voice.consent", Object: Object(p.id), Detail: map[string]string{
			"state": string(state), "text": c.Text, "channel": c.Channel, "how": c.How,
		}}}
		if state == OptedOut {
			d, err := drop(ctx, tx, p.id)
			if err != nil {
				return nil, err
			}
			events = append(events, trail.Event{Action: "voice.erased", Object: Object(p.id), Detail: d.detail("opted out")})
		}
		// Who is asked again has not taken the consent back.
		if state != Asked || p.status(s.trail.Now()) != Consented {
			p.state, p.since, p.expires = state, store.Micros(c.At), micros(c.Expires)
		}
		return events, addConsent(ctx, tx, p.id, c, state, by.Name)
	})
}

func addConsent(ctx context.Context, tx *store.Tx, id string, c Consent, state State, by string) error {
	var n int64
	if err := tx.QueryRow(ctx, `SELECT COALESCE(MAX(n), 0) + 1 FROM voice_consents WHERE person = ?`, id).Scan(&n); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `INSERT INTO voice_consents (person, n, at, state, wording, language, channel, how, actor, expires) VALUES `+store.Marks(10),
		id, n, store.Micros(c.At), string(state), store.Clean(c.Text), store.Clean(c.Language), store.Clean(c.Channel), store.Clean(c.How), store.Clean(by), micros(c.Expires))
	return err
}

// dropped counts what was deleted of a person.
type dropped struct{ templates, audio, prints, learnt int64 }

func (d dropped) detail(why string) map[string]string {
	return map[string]string{
		"why": why, "templates": fmt.Sprint(d.templates), "audio": fmt.Sprint(d.audio), "prints": fmt.Sprint(d.prints), "learnt": fmt.Sprint(d.learnt),
	}
}

// drop deletes a person's templates, with all their versions, audio, prints, and what
// is remembered between calls.
func drop(ctx context.Context, tx *store.Tx, id string) (d dropped, err error) {
	if d.templates, err = tx.Exec(ctx, `DELETE FROM voice_templates WHERE person = ?`, id); err != nil {
		return d, err
	}
	if d.audio, err = tx.Exec(ctx, `DELETE FROM voice_audio WHERE person = ?`, id); err != nil {
		return d, err
	}
	if d.prints, err = tx.Exec(ctx, `DELETE FROM voice_prints WHERE person = ?`, id); err != nil {
		return d, err
	}
	d.learnt, err = tx.Exec(ctx, `DELETE FROM voice_passive WHERE person = ?`, id)
	return d, err
}
