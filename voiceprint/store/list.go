package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"sidetone/internal/store"
	"sidetone/voiceprint/enrol"
	"sidetone/voiceprint/store/trail"
	"sidetone/voiceprint/store/watchlist"
)

// maxList bounds one page of persons.
const maxList = 200

// Person is someone as lists show them.
type Person struct {
	// ID is the pseudonym, Subject who it is; empty once erased.
	ID, Subject string
	Standing
	// Used is when a template was last added or compared, or a call learnt from.
	Used time.Time
	// Active and Provisional count the templates that are compared with, and that
	// wait.
	Active, Provisional int
}

// Filter chooses persons; what is empty chooses all.
type Filter struct {
	// State is as the database has it; Expired ones are found as such.
	State State
	// Enrolled leaves those with templates.
	Enrolled bool
	// Passive leaves those whose passive enrolment is in that phase.
	Passive enrol.Phase
	// Limit is how many to list at most; 0, or more, means 200.
	Limit int
	// After is the ID of the last one of the page before.
	After string
}

// List lists persons in the order of their pseudonyms.
func (s *Store) List(ctx context.Context, by Actor, f Filter) ([]Person, error) {
	now := store.Micros(s.trail.Now())
	cond, args := []string{`id > ?`}, []any{store.Clean(f.After)}
	switch f.State {
	case "":
	case Expired:
		cond, args = append(cond, `state = ? AND expires > 0 AND expires <= ?`), append(args, string(Consented), now)
	case Consented:
		cond, args = append(cond, `state = ? AND (expires = 0 OR expires > ?)`), append(args, string(Consented), now)
	default:
		cond, args = append(cond, `state = ?`), append(args, string(f.State))
	}
	if f.Enrolled {
		cond = append(cond, `EXISTS (SELECT 1 FROM voice_templates t WHERE t.person = p.id AND t.live)`)
	}
	if f.Passive != enrol.Empty {
		cond, args = append(cond, `EXISTS (SELECT 1 FROM voice_passive l WHERE l.person = p.id AND l.kind = ? AND l.phase = ?)`), append(args, kindPassive, string(f.Passive))
	}
	if f.Limit <= 0 || f.Limit > maxList {
		f.Limit = maxList
	}
	if err := s.trail.Tell(ctx, by, trail.Event{Action: "voice.listed", Object: "persons", Detail: map[string]string{"state": string(f.State)}}); err != nil {
		return nil, fmt.Errorf("voices: %w", err)
	}
	rows, err := s.db.Query(ctx, `SELECT `+personColumns+`,
		(SELECT COUNT(*) FROM voice_templates t WHERE t.person = p.id AND t.live AND t.active),
		(SELECT COUNT(*) FROM voice_templates t WHERE t.person = p.id AND t.live AND NOT t.active)
		FROM voice_persons p WHERE `+strings.Join(cond, ` AND `)+` ORDER BY id LIMIT ?`, append(args, f.Limit)...)
	if err != nil {
		return nil, fmt.Errorf("voices: %w", err)
	}
	out := []Person{}
	err = store.Rows(rows, func(rows *sql.Rows) error {
		var p person
		var active, provisional int
		if serr := p.scan(also{rows, []any{&active, &provisional}}); serr != nil {
			return serr
		}
		o, serr := s.describe(&p)
		o.Active, o.Provisional = active, provisional
		out = append(out, o)
		return serr
	})
	if err != nil {
		return nil, fmt.Errorf("voices: %w", err)
	}
	return out, nil
}

// also scans further columns behind those of a person.
type also struct {
	rows *sql.Rows
	more []any
}

// Scan implements what person.scan takes.
func (a also) Scan(into ...any) error { return a.rows.Scan(append(into, a.more...)...) }

func (s *Store) describe(p *person) (Person, error) {
	out := Person{ID: p.id, Standing: s.standing(p), Used: fromMicros(p.used)}
	if p.subject == "" {
		return out, nil
	}
	b, err := s.vault.Open(p.subject, purposeSubject, p.id)
	out.Subject = string(b)
	return out, err
}

// TemplateInfo is a template without the voice.
type TemplateInfo struct {
	// ID names it; Origin is the first of its versions, Version counts from 1.
	ID, Origin string
	Version    int64
	// Live is the newest version; Active ones are compared with.
	Live, Active bool
	Line, Model  string
	Made         time.Time
	// Audio says that the speech is kept that the first version was made of.
	Audio bool
}

// History is all that is known of a person but the decisions.
type History struct {
	Person
	Consents  []Consent
	Templates []TemplateInfo
}

// Person tells all of a person; of one who is not known it is ErrUnknown.
func (s *Store) Person(ctx context.Context, by Actor, subject string) (History, error) {
	id, _, err := s.who(subject)
	if err != nil {
		return History{}, err
	}
	return s.PersonByID(ctx, by, id)
}

// PersonByID is Person by the pseudonym.
func (s *Store) PersonByID(ctx context.Context, by Actor, id string) (History, error) {
	p, err := load(ctx, s.db, store.Clean(id))
	if err != nil {
		return History{}, err
	}
	if !p.there {
		return History{}, fmt.Errorf("voices: person %q: %w", id, ErrUnknown)
	}
	if err = s.trail.Tell(ctx, by, trail.Event{Action: "voice.listed", Object: Object(id), Detail: map[string]string{"what": "history"}}); err != nil {
		return History{}, fmt.Errorf("voices: %w", err)
	}
	out := History{}
	if out.Person, err = s.describe(&p); err != nil {
		return out, fmt.Errorf("voices: %w", err)
	}
	rows, err := s.db.Query(ctx, `SELECT at, state, wording, language, channel, how, actor, expires FROM voice_consents WHERE person = ? ORDER BY n`, p.id)
	if err != nil {
		return out, fmt.Errorf("voices: %w", err)
	}
	if err = store.Rows(rows, func(rows *sql.Rows) error {
		var c Consent
		var at, expires int64
		serr := rows.Scan(&at, &c.State, &c.Text, &c.Language, &c.Channel, &c.How, &c.By, &expires)
		c.At, c.Expires = store.Time(at), fromMicros(expires)
		out.Consents = append(out.Consents, c)
		return serr
	}); err != nil {
		return out, fmt.Errorf("voices: %w", err)
	}
	rows, err = s.db.Query(ctx, `SELECT id, origin, n, live, active, line, model, made, EXISTS (SELECT 1 FROM voice_audio a WHERE a.origin = t.origin)
		FROM voice_templates t WHERE person = ? ORDER BY origin, n`, p.id)
	if err != nil {
		return out, fmt.Errorf("voices: %w", err)
	}
	if err = store.Rows(rows, func(rows *sql.Rows) error {
		var t TemplateInfo
		var made int64
		serr := rows.Scan(&t.ID, &t.Origin, &t.Version, &t.Live, &t.Active, &t.Line, &t.Model, &made, &t.Audio)
		t.Made = store.Time(made)
		if t.Live && t.Active {
			out.Active++
		} else if t.Live {
			out.Provisional++
		}
		out.Templates = append(out.Templates, t)
		return serr
	}); err != nil {
		return out, fmt.Errorf("voices: %w", err)
	}
	return out, nil
}

// Stats is what is there.
type Stats struct {
	// Persons are counted by their states.
	Persons map[State]int64
	// Enrolled have templates that are compared with.
	Enrolled int64
	// Templates are those compared with, by model, Provisional those that wait,
	// Versions all that are kept.
	Templates             map[string]int64
	Provisional, Versions int64
	Audio, Comparisons    int64
	// Passive are the passive enrolments, by their phases.
	Passive map[enrol.Phase]int64
	// Prints are those of calls and of enrolments.
	Prints int64
	Watch  watchlist.Stats
	// Stale are rows that a Rekey would seal again; Unaudited are entries that the
	// audit log has not got yet.
	Stale, Unaudited int
}

// Stats counts.
func (s *Store) Stats(ctx context.Context) (Stats, error) {
	out := Stats{Persons: map[State]int64{}, Templates: map[string]int64{}, Passive: map[enrol.Phase]int64{}}
	now := store.Micros(s.trail.Now())
	err := s.count(ctx, func(name string, n int64) { out.Persons[State(name)] += n },
		`SELECT CASE WHEN state = ? AND expires > 0 AND expires <= ? THEN ? ELSE state END AS standing, COUNT(*) FROM voice_persons GROUP BY standing`, string(Consented), now, string(Expired))
	if err != nil {
		return out, err
	}
	if err = s.count(ctx, func(name string, n int64) { out.Templates[name] = n }, `SELECT model, COUNT(*) FROM voice_templates WHERE live AND active GROUP BY model`); err != nil {
		return out, err
	}
	if err = s.count(ctx, func(name string, n int64) { out.Passive[enrol.Phase(name)] = n }, `SELECT phase, COUNT(*) FROM voice_passive WHERE kind = ? GROUP BY phase`, kindPassive); err != nil {
		return out, err
	}
	err = s.db.QueryRow(ctx, `SELECT (SELECT COUNT(DISTINCT person) FROM voice_templates WHERE live AND active), (SELECT COUNT(*) FROM voice_templates WHERE live AND NOT active),
		(SELECT COUNT(*) FROM voice_templates), (SELECT COUNT(*) FROM voice_audio), (SELECT COUNT(*) FROM voice_comparisons), (SELECT COUNT(*) FROM voice_prints)`).
		Scan(&out.Enrolled, &out.Provisional, &out.Versions, &out.Audio, &out.Comparisons, &out.Prints)
	if err != nil {
		return out, fmt.Errorf("voices: %w", err)
	}
	if out.Watch, err = s.watch.Stats(ctx); err != nil {
		return out, err
	}
	if out.Stale, err = s.vault.Stale(ctx, tables()); err != nil {
		return out, err
	}
	out.Unaudited, err = s.trail.Waiting(ctx)
	return out, err
}

func (s *Store) count(ctx context.Context, add func(string, int64), query string, args ...any) error {
	rows, err := s.db.Query(ctx, query, args...)
	if err == nil {
		err = store.Rows(rows, func(rows *sql.Rows) error {
			var name string
			var n int64
			serr := rows.Scan(&name, &n)
			add(name, n)
			return serr
		})
	}
	if err != nil {
		return fmt.Errorf("voices: %w", err)
	}
	return nil
}
