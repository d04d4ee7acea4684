package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"sidetone/internal/store"
	"sidetone/voiceprint"
	"sidetone/voiceprint/enrol"
	"sidetone/voiceprint/store/trail"
	"sidetone/voiceprint/store/vault"
)

// The kinds of what is remembered between calls.
const (
	kindPassive  = "passive"
	kindFollowed = "followed"
)

// memory is a row of what is remembered. Each change makes a new one with an id of its
// own: no two are turned alike.
type memory struct {
	id, person, kind, about string
	version                 int64
	phase, calls            string
	oldest                  int64
	template, model, seal   string
	turn                    int
	text                    string
}

const memoryColumns = `id, person, kind, about, version, phase, calls, oldest, template, model, seal, turn, payload`

// memories reads rows.
func memories(ctx context.Context, q store.Querier, cond string, args ...any) ([]memory, error) {
	rows, err := q.Query(ctx, `SELECT `+memoryColumns+` FROM voice_passive WHERE `+cond+` ORDER BY id`, args...)
	if err != nil {
		return nil, fmt.Errorf("voices: %w", err)
	}
	var out []memory
	err = store.Rows(rows, func(rows *sql.Rows) error {
		var m memory
		serr := rows.Scan(&m.id, &m.person, &m.kind, &m.about, &m.version, &m.phase, &m.calls, &m.oldest, &m.template, &m.model, &m.seal, &m.turn, &m.text)
		out = append(out, m)
		return serr
	})
	if err != nil {
		return nil, fmt.Errorf("voices: %w", err)
	}
	return out, nil
}

// recall is the row of a person, kind and template; nil where there is none.
func recall(ctx context.Context, q store.Querier, person, kind, about string) (*memory, error) {
	all, err := memories(ctx, q, `person = ? AND kind = ? AND about = ?`, person, kind, about)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

// rest is what is sealed beside the embeddings, which lie one behind the other: they
// are turned as one vector.
type rest struct {
	Dims  []int           `json:"dims"`
	Plain json.RawMessage `json:"plain"`
}

// sealMemory seals vectors and what else there is, into m.
func (s *Store) sealMemory(ctx context.Context, m *memory, vectors []voiceprint.Embedding, plain any) error {
	m.id = fresh()
	b, err := json.Marshal(plain)
	if err != nil {
		return fmt.Errorf("voices: %w", err)
	}
	r := rest{Plain: b}
	var all voiceprint.Embedding
	for _, e := range vectors {
		r.Dims, all = append(r.Dims, len(e)), append(all, e...)
	}
	if len(all) == 0 {
		all = voiceprint.Embedding{1}
	}
	note, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("voices: %w", err)
	}
	sealed, err := s.vault.SealVoice(ctx, vault.Voice{Embedding: all, Note: string(note)}, purposePassive, m.id, m.id)
	if err != nil {
		return fmt.Errorf("voices: %w", err)
	}
	m.seal, m.turn, m.text = sealed.Key, sealed.Turn, sealed.Text
	return nil
}

// openMemory opens what sealMemory sealed, into plain.
func (s *Store) openMemory(ctx context.Context, m *memory, plain any) ([]voiceprint.Embedding, error) {
	v, err := s.vault.OpenVoice(ctx, m.text, purposePassive, m.id, m.id)
	if err != nil {
		return nil, fmt.Errorf("voices: %w", err)
	}
	var r rest
	if err = json.Unmarshal([]byte(v.Note), &r); err == nil {
		err = json.Unmarshal(r.Plain, plain)
	}
	if err != nil {
		return nil, fmt.Errorf("voices: %s: %w: %w", m.kind, vault.ErrPayload, err)
	}
	var out []voiceprint.Embedding
	for _, n := range r.Dims {
		if n < 0 || n > len(v.Embedding) {
			return nil, fmt.Errorf("voices: %s: %w: vectors of %v numbers", m.kind, vault.ErrPayload, r.Dims)
		}
		var e voiceprint.Embedding
		if n > 0 {
			e = v.Embedding[:n:n]
		}
		out, v.Embedding = append(out, e), v.Embedding[n:]
	}
	return out, nil
}

// replace puts a row in the place of the one that had that version; 0 is none. With
// nil it is only deleted.
func (m *memory) replace(ctx context.Context, tx *store.Tx, old *memory, version, now int64) error {
	var was int64
	if old != nil {
		was = old.version
	}
	if was != version {
		return fmt.Errorf("what is remembered is at version %d, not %d: %w", was, version, ErrConflict)
	}
	if old != nil {
		if _, err := tx.Exec(ctx, `DELETE FROM voice_passive WHERE id = ?`, old.id); err != nil {
			return err
		}
	}
	if m == nil {
		return nil
	}
	m.version = max(now, was+1)
	_, err := tx.Exec(ctx, `INSERT INTO voice_passive (`+memoryColumns+`) VALUES `+store.Marks(13),
		m.id, m.person, m.kind, m.about, m.version, m.phase, m.calls, m.oldest, m.template, m.model, m.seal, m.turn, m.text)
	return err
}

// Learnt is how the passive enrolment of a person goes on.
type Learnt struct {
	State enrol.State
	// Version is that of the state which this one follows from; another is ErrConflict.
	Version int64
	// Template is the new one, if there is one, Active that it is compared with from
	// now on. The provisional one that was there goes with the next, and with a state
	// in which there is none.
	Template *voiceprint.Template
	Active   bool
	// Reasons are told to the audit log.
	Reasons []voiceprint.Reason
}

// Passive is how far the passive enrolment of a person has come; the version belongs
// to SavePassive and is 0 where nothing is remembered.
func (s *Store) Passive(ctx context.Context, by Actor, subject string) (enrol.State, int64, error) {
	m, err := s.remembered(ctx, by, subject, kindPassive, "")
	if m == nil {
		return enrol.State{}, 0, err
	}
	state, err := s.openPassive(ctx, m)
	return state, m.version, err
}

// remembered is a row that is about to be opened; nil where there is none.
func (s *Store) remembered(ctx context.Context, by Actor, subject, kind, about string) (*memory, error) {
	id, _, err := s.who(subject)
	if err != nil {
		return nil, err
	}
	m, err := recall(ctx, s.db, id, kind, about)
	if m == nil {
		return nil, err
	}
	if err = s.trail.Tell(ctx, by, trail.Event{Action: "voice.read", Object: Object(id), Detail: map[string]string{"what": kind}}); err != nil {
		return nil, fmt.Errorf("voices: %w", err)
	}
	return m, nil
}

func (s *Store) openPassive(ctx context.Context, m *memory) (enrol.State, error) {
	var state enrol.State
	vectors, err := s.openMemory(ctx, m, &state)
	if err != nil {
		return enrol.State{}, err
	}
	if len(vectors) != len(state.Calls) {
		return enrol.State{}, fmt.Errorf("voices: %w: %d voices of %d calls", vault.ErrPayload, len(vectors), len(state.Calls))
	}
	for i := range state.Calls {
		state.Calls[i].Embedding = vectors[i]
	}
	return state, nil
}

// sealPassive makes the row of a state; nil where nothing is to be remembered.
func (s *Store) sealPassive(ctx context.Context, state enrol.State) (*memory, error) {
	if state.Phase == enrol.Empty && len(state.Calls) == 0 && state.Conflicts == 0 {
		return nil, nil //nolint:nilnil // nothing is no error
	}
	m := &memory{kind: kindPassive, phase: string(state.Phase), model: state.Model}
	vectors := make([]voiceprint.Embedding, len(state.Calls))
	plain := state
	plain.Calls = make([]enrol.Candidate, len(state.Calls))
	for i, c := range state.Calls {
		if at := store.Micros(c.At); m.oldest == 0 || at < m.oldest {
			m.oldest = at
		}
		m.calls += " " + store.Clean(c.Call)
		vectors[i], c.Embedding = c.Embedding, nil
		plain.Calls[i] = c
	}
	if m.calls != "" {
		m.calls += " "
	}
	return m, s.sealMemory(ctx, m, vectors, plain)
}

// SavePassive keeps how the passive enrolment of a person who consented goes on, and
// the template that came of it, whose id it gives.
func (s *Store) SavePassive(ctx context.Context, by Actor, subject string, l Learnt) (string, error) {
	m, err := s.sealPassive(ctx, l.State)
	if err != nil {
		return "", err
	}
	var t template
	if l.Template != nil {
		if t, err = s.sealTemplate(ctx, l.Template); err != nil {
			return "", err
		}
		t.origin, t.n, t.active = t.id, 1, l.Active
	}
	err = s.edit(ctx, by, subject, func(tx *store.Tx, p *person) ([]trail.Event, error) {
		if perr := p.permit(s.trail.Now()); perr != nil {
			return nil, perr
		}
		old, oerr := recall(ctx, tx, p.id, kindPassive, "")
		if oerr != nil {
			return nil, oerr
		}
		p.used = store.Micros(s.trail.Now())
		events := []trail.Event{{Action: "voice.passive", Object: Object(p.id), Detail: map[string]string{
			"phase": string(l.State.Phase), "calls": fmt.Sprint(len(l.State.Calls)), "reasons": joined(l.Reasons),
		}}}
		if xerr := carry(ctx, tx, p.id, old, m, &t, l.State.Phase); xerr != nil {
			return nil, xerr
		}
		if t.id != "" {
			t.person = p.id
			if xerr := t.add(ctx, tx); xerr != nil {
				return nil, xerr
			}
			events = append(events, t.enrolled(false))
		}
		if m != nil {
			m.person = p.id
		}
		return events, m.replace(ctx, tx, old, l.Version, p.used)
	})
	if err != nil {
		return "", err
	}
	return t.id, s.db.Settle(ctx)
}

// carry deletes the provisional template that the state before has made, unless the
// new one still rests on it.
func carry(ctx context.Context, tx *store.Tx, person string, old, next *memory, t *template, phase enrol.Phase) error {
	if next != nil && t.id != "" {
		next.model = t.model
		if !t.active {
			next.template = t.id
		}
	}
	switch {
	case old == nil || old.template == "":
		return nil
	case t.id == "" && phase == enrol.Provisional:
		next.template = old.template
		return nil
	}
	return dropProvisional(ctx, tx, person, old.template)
}

func dropProvisional(ctx context.Context, tx *store.Tx, person, origin string) error {
	_, err := tx.Exec(ctx, `DELETE FROM voice_templates WHERE person = ? AND origin = ? AND NOT active`, person, origin)
	return err
}

func joined(reasons []voiceprint.Reason) string {
	words := make([]string, len(reasons))
	for i, r := range reasons {
		words[i] = string(r)
	}
	return strings.Join(words, " ")
}

// ResetPassive has the passive enrolment of a person begin anew. What they are
// compared with stays.
func (s *Store) ResetPassive(ctx context.Context, by Actor, subject string) error {
	err := s.edit(ctx, by, subject, func(tx *store.Tx, p *person) ([]trail.Event, error) {
		old, err := recall(ctx, tx, p.id, kindPassive, "")
		if err != nil {
			return nil, err
		}
		p.leave = true
		if old == nil {
			return nil, fmt.Errorf("of a passive enrolment: %w", ErrUnknown)
		}
		return []trail.Event{{Action: "voice.passive", Object: Object(p.id), Detail: map[string]string{"phase": "", "calls": "0", "reasons": "reset"}}}, forget(ctx, tx, old)
	})
	if err != nil {
		return err
	}
	return s.db.Settle(ctx)
}

// forget deletes a row and the provisional template that belongs to it.
func forget(ctx context.Context, tx *store.Tx, m *memory) error {
	if m.template != "" {
		if err := dropProvisional(ctx, tx, m.person, m.template); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, `DELETE FROM voice_passive WHERE id = ?`, m.id)
	return err
}

// forgetCalls deletes what is remembered of erased calls: who was heard on one of them
// begins anew.
func forgetCalls(ctx context.Context, tx *store.Tx, keys []any) (int64, error) {
	var sum int64
	for _, k := range keys {
		like := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(fmt.Sprint(k))
		all, err := memories(ctx, tx, `calls LIKE ? ESCAPE '\'`, "% "+like+" %")
		if err != nil {
			return sum, err
		}
		for i := range all {
			if err = forget(ctx, tx, &all[i]); err != nil {
				return sum, err
			}
			sum++
		}
	}
	return sum, nil
}

// ExpirePassive has expire forget calls of passive enrolments, where there are some
// that ended before the given time, and says of how many persons.
func (s *Store) ExpirePassive(ctx context.Context, by Actor, before time.Time, expire func(enrol.State) (enrol.State, bool)) (int, error) {
	people, err := s.ids(ctx, `SELECT person FROM voice_passive WHERE kind = ? AND oldest > 0 AND oldest < ? ORDER BY person`, kindPassive, store.Micros(before))
	if err != nil {
		return 0, err
	}
	n := 0
	for _, id := range people {
		done, derr := s.expirePassive(ctx, by, id, expire)
		if derr != nil {
			return n, derr
		}
		if done {
			n++
		}
	}
	if n > 0 {
		err = s.db.Settle(ctx)
	}
	return n, err
}

func (s *Store) expirePassive(ctx context.Context, by Actor, id string, expire func(enrol.State) (enrol.State, bool)) (bool, error) {
	m, err := recall(ctx, s.db, id, kindPassive, "")
	if m == nil {
		return false, err
	}
	state, err := s.openPassive(ctx, m)
	if err != nil {
		return false, err
	}
	state, changed := expire(state)
	if !changed {
		return false, nil
	}
	next, err := s.sealPassive(ctx, state)
	if err != nil {
		return false, err
	}
	err = s.editID(ctx, by, id, func(tx *store.Tx, p *person) ([]trail.Event, error) {
		p.leave = true
		old, oerr := recall(ctx, tx, id, kindPassive, "")
		if oerr != nil {
			return nil, oerr
		}
		if next != nil {
			next.person = id
		}
		if xerr := carry(ctx, tx, id, old, next, &template{}, state.Phase); xerr != nil {
			return nil, xerr
		}
		return []trail.Event{{Action: "voice.expired", Object: Object(id), Detail: map[string]string{"why": "calls waited too long", "calls": fmt.Sprint(len(state.Calls))}}},
			next.replace(ctx, tx, old, m.version, store.Micros(s.trail.Now()))
	})
	if errors.Is(err, ErrConflict) {
		// A call has come meanwhile, which has forgotten them, too.
		return false, nil
	}
	return err == nil, err
}

// Followed is how a template follows its person, by the id of any of its versions; the
// version belongs to SaveFollowed and is 0 where nothing is remembered.
func (s *Store) Followed(ctx context.Context, by Actor, subject, template string) (enrol.Voice, int64, error) {
	id, _, err := s.who(subject)
	if err != nil {
		return enrol.Voice{}, 0, err
	}
	of, err := one(ctx, s.db, id, template)
	if err != nil {
		return enrol.Voice{}, 0, fmt.Errorf("voices: %w", err)
	}
	m, err := s.remembered(ctx, by, subject, kindFollowed, of.origin)
	if m == nil {
		return enrol.Voice{}, 0, err
	}
	var v enrol.Voice
	vectors, err := s.openMemory(ctx, m, &v)
	if err != nil {
		return enrol.Voice{}, 0, err
	}
	if len(vectors) != 3 {
		return enrol.Voice{}, 0, fmt.Errorf("voices: %w: %d voices of a template that is followed", vault.ErrPayload, len(vectors))
	}
	v.Original, v.Current, v.Before = vectors[0], vectors[1], vectors[2]
	return v, m.version, nil
}

// SaveFollowed keeps how the template with that id, which must be the newest of its
// versions, follows its person. With next it is adapted, as by Adapt, in the same
// breath, and the id of the new version is given.
func (s *Store) SaveFollowed(ctx context.Context, by Actor, subject, from string, v enrol.Voice, version int64, next *voiceprint.Template) (string, error) {
	m := &memory{kind: kindFollowed}
	vectors := []voiceprint.Embedding{v.Original, v.Current, v.Before}
	v.Original, v.Current, v.Before = nil, nil, nil
	if err := s.sealMemory(ctx, m, vectors, v); err != nil {
		return "", err
	}
	var t template
	if next != nil {
		var err error
		if t, err = s.sealTemplate(ctx, next); err != nil {
			return "", err
		}
	}
	err := s.edit(ctx, by, subject, func(tx *store.Tx, p *person) ([]trail.Event, error) {
		if err := p.permit(s.trail.Now()); err != nil {
			return nil, err
		}
		old, err := one(ctx, tx, p.id, from)
		if err != nil {
			return nil, err
		}
		if !old.live {
			return nil, fmt.Errorf("template %s has been adapted: %w", from, ErrConflict)
		}
		was, err := recall(ctx, tx, p.id, kindFollowed, old.origin)
		if err != nil {
			return nil, err
		}
		m.person, m.about, m.model = p.id, old.origin, old.model
		if err = m.replace(ctx, tx, was, version, store.Micros(s.trail.Now())); err != nil || next == nil {
			return nil, err
		}
		return s.adapt(ctx, tx, p, from, &t)
	})
	if err != nil {
		return "", err
	}
	return t.id, s.db.Settle(ctx)
}
