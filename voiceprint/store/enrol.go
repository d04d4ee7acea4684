package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"sidetone/internal/store"
	"sidetone/voiceprint"
	"sidetone/voiceprint/spoof/fingerprint"
	"sidetone/voiceprint/store/trail"
	"sidetone/voiceprint/store/vault"
)

// maxAudio bounds the audio that is kept of a template; 30 s are 2 MB in the
// database.
const maxAudio = 2 * time.Minute

// scanAtOnce bounds the templates that are in memory at once.
const scanAtOnce = 200

// Voice is a template and the net speech that it was made of.
type Voice struct {
	// Template's ID is given by the store.
	Template voiceprint.Template
	// Audio is kept, sealed, where the policy allows it; nil is none.
	Audio []float32
	// Prints are of the speech that it was made of; they are kept as long as it is.
	Prints []fingerprint.Print
}

// Enrolment is what Enrol adds to a person.
type Enrolment struct {
	Voices []Voice
	// Provisional templates are not compared with before Activate.
	Provisional bool
	// Replace deletes the templates that there are of the same lines, of every model.
	Replace bool
	// Version is the person's as it was when this was decided; another is
	// ErrConflict. 0 does not ask.
	Version int64
	// Alike are the pseudonyms of others whose voice this may be and whom somebody has
	// looked at: the audit log tells.
	Alike []string
}

// Enrol adds templates to a person who consented, and gives their ids. Calls that wait
// for others to make a template are forgotten: there is one now.
func (s *Store) Enrol(ctx context.Context, by Actor, subject string, e Enrolment) ([]string, error) {
	if len(e.Voices) == 0 || len(e.Voices) > maxTemplates {
		return nil, fmt.Errorf("voices: an enrolment with %d templates; 1 to %d can be: %w", len(e.Voices), maxTemplates, ErrInvalid)
	}
	rows := make([]template, len(e.Voices))
	sounds := make([]sound, len(e.Voices))
	prints := make([][]printRow, len(e.Voices))
	ids := make([]string, len(e.Voices))
	for i, v := range e.Voices {
		var err error
		if rows[i], err = s.sealTemplate(ctx, &v.Template); err != nil {
			return nil, err
		}
		rows[i].origin, rows[i].n, rows[i].active, ids[i] = rows[i].id, 1, !e.Provisional, rows[i].id
		if s.cfg.KeepAudio && len(v.Audio) > 0 {
			if sounds[i], err = s.sealAudio(v.Audio); err != nil {
				return nil, err
			}
		}
		for _, p := range v.Prints {
			row, err := s.sealPrint(p)
			if err != nil {
				return nil, err
			}
			row.origin, row.made = rows[i].origin, rows[i].made
			prints[i] = append(prints[i], row)
		}
	}
	err := s.edit(ctx, by, subject, func(tx *store.Tx, p *person) ([]trail.Event, error) {
		if err := p.permit(s.trail.Now()); err != nil {
			return nil, err
		}
		if e.Version != 0 && e.Version != p.version {
			return nil, fmt.Errorf("the person is at version %d, not %d: %w", p.version, e.Version, ErrConflict)
		}
		if e.Replace {
			for i := range rows {
				if err := dropChains(ctx, tx, p.id, `line = ?`, rows[i].line); err != nil {
					return nil, err
				}
			}
		}
		if err := room(ctx, tx, p.id, len(rows)); err != nil {
			return nil, err
		}
		var events []trail.Event
		for i, r := range rows {
			r.person = p.id
			if err := r.insert(ctx, tx); err != nil {
				return nil, err
			}
			if sounds[i].text != "" {
				if err := sounds[i].insert(ctx, tx, &r); err != nil {
					return nil, err
				}
			}
			for _, o := range prints[i] {
				o.person = p.id
				if err := o.insert(ctx, tx); err != nil {
					return nil, err
				}
			}
			told := r.enrolled(sounds[i].text != "")
			if len(e.Alike) > 0 {
				told.Detail["alike"] = strings.Join(e.Alike, " ")
			}
			events = append(events, told)
		}
		waits, err := recall(ctx, tx, p.id, kindPassive, "")
		if err == nil && waits != nil && waits.oldest > 0 && !e.Provisional {
			err = forget(ctx, tx, waits)
		}
		p.used = store.Micros(s.trail.Now())
		return events, err
	})
	if err != nil {
		return nil, err
	}
	return ids, s.db.Settle(ctx)
}

// Activate makes a person's provisional templates ones that are compared with, and
// says how many there were.
func (s *Store) Activate(ctx context.Context, by Actor, subject string) (int64, error) {
	var n int64
	err := s.edit(ctx, by, subject, func(tx *store.Tx, p *person) ([]trail.Event, error) {
		if err := p.permit(s.trail.Now()); err != nil {
			return nil, err
		}
		var err error
		if n, err = tx.Exec(ctx, `UPDATE voice_templates SET active = TRUE WHERE person = ? AND NOT active`, p.id); err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, fmt.Errorf("no template is provisional: %w", ErrNotEnrolled)
		}
		return []trail.Event{{Action: "voice.activated", Object: Object(p.id), Detail: map[string]string{"templates": fmt.Sprint(n)}}}, nil
	})
	return n, err
}

// Templates are those to compare a person with, of one model. Where there are none
// the error says why: ErrNoConsent, ErrOptedOut, ErrExpired, ErrNotEnrolled, or
// voiceprint.ErrModel where all are of other models.
func (s *Store) Templates(ctx context.Context, by Actor, subject, model string) ([]voiceprint.Template, error) {
	return s.read(ctx, by, subject, model, true)
}

// Provisional are the templates that wait for Activate, as Templates.
func (s *Store) Provisional(ctx context.Context, by Actor, subject, model string) ([]voiceprint.Template, error) {
	return s.read(ctx, by, subject, model, false)
}

// Scan calls fn for each template of one model that is compared with, of all who
// may be, with the person's pseudonym: so that a new voice can be looked for under
// other names. It reads all voices there are, and the audit log says so once. It ends
// with the first error of fn.
func (s *Store) Scan(ctx context.Context, by Actor, model string, fn func(person string, t voiceprint.Template) error) error {
	if err := s.trail.Tell(ctx, by, trail.Event{Action: "voice.read", Object: "persons", Detail: map[string]string{"model": model}}); err != nil {
		return fmt.Errorf("voices: %w", err)
	}
	for last := ""; ; {
		all, err := templates(ctx, s.db, `model = ? AND live AND active AND id IN (SELECT t.id FROM voice_templates t JOIN voice_persons p ON p.id = t.person
			WHERE t.model = ? AND t.id > ? AND t.live AND t.active AND p.state = ? AND (p.expires = 0 OR p.expires > ?) ORDER BY t.id LIMIT ?)`,
			model, model, last, string(Consented), store.Micros(s.trail.Now()), scanAtOnce)
		if err != nil || len(all) == 0 {
			return err
		}
		for _, r := range all {
			t, err := s.open(ctx, &r)
			if err != nil {
				return err
			}
			if err = fn(r.person, t); err != nil {
				return err
			}
			last = max(last, r.id)
		}
	}
}

func (s *Store) open(ctx context.Context, r *template) (voiceprint.Template, error) {
	v, err := s.vault.OpenVoice(ctx, r.text, purposeTemplate, r.id, r.id)
	if err != nil {
		return voiceprint.Template{}, fmt.Errorf("voices: %w", err)
	}
	return voiceprint.Template{
		ID: r.id, Line: r.line, Model: r.model, Embedding: v.Embedding, Made: store.Time(r.made), Source: v.Note, Quality: v.Quality,
	}, nil
}

func (s *Store) read(ctx context.Context, by Actor, subject, model string, active bool) ([]voiceprint.Template, error) {
	id, _, err := s.who(subject)
	if err != nil {
		return nil, err
	}
	p, err := load(ctx, s.db, id)
	if err != nil {
		return nil, err
	}
	if err = p.permit(s.trail.Now()); err != nil {
		return nil, fmt.Errorf("voices: %w", err)
	}
	all, err := templates(ctx, s.db, `person = ? AND live AND active = ?`, id, active)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("voices: %w", ErrNotEnrolled)
	}
	var out []voiceprint.Template
	for _, r := range all {
		if r.model != model {
			continue
		}
		if len(out) == 0 {
			if err = s.trail.Tell(ctx, by, trail.Event{Action: "voice.read", Object: Object(id), Detail: map[string]string{"model": model}}); err != nil {
				return nil, fmt.Errorf("voices: %w", err)
			}
		}
		t, err := s.open(ctx, &r)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("voices: the templates are %w: %s, not %s", voiceprint.ErrModel, all[0].model, model)
	}
	return out, nil
}

// Adapt puts a template in the place of the one with the id from, which must still
// be the newest of its versions: otherwise it is ErrConflict. The older ones stay as
// far as the configured number allows, the first one in any case.
func (s *Store) Adapt(ctx context.Context, by Actor, subject, from string, t voiceprint.Template) (string, error) {
	next, err := s.sealTemplate(ctx, &t)
	if err != nil {
		return "", err
	}
	err = s.edit(ctx, by, subject, func(tx *store.Tx, p *person) ([]trail.Event, error) {
		if perr := p.permit(s.trail.Now()); perr != nil {
			return nil, perr
		}
		return s.adapt(ctx, tx, p, from, &next)
	})
	if err != nil {
		return "", err
	}
	return next.id, nil
}

func (s *Store) adapt(ctx context.Context, tx *store.Tx, p *person, from string, next *template) ([]trail.Event, error) {
	old, err := one(ctx, tx, p.id, from)
	if err != nil {
		return nil, err
	}
	switch {
	case !old.live:
		return nil, fmt.Errorf("template %s has been adapted: %w", from, ErrConflict)
	case old.model != next.model:
		return nil, fmt.Errorf("template %s is %w: %s, not %s", from, voiceprint.ErrModel, old.model, next.model)
	}
	next.person, next.origin, next.n, next.active, next.line = p.id, old.origin, old.n+1, old.active, old.line
	if _, err = tx.Exec(ctx, `UPDATE voice_templates SET live = FALSE WHERE id = ?`, old.id); err != nil {
		return nil, err
	}
	if _, err = tx.Exec(ctx, `DELETE FROM voice_templates WHERE origin = ? AND n > 1 AND n <= ?`, old.origin, next.n-int64(s.cfg.Versions)+1); err != nil {
		return nil, err
	}
	return []trail.Event{{Action: "voice.adapted", Object: Object(p.id), Detail: map[string]string{
		"template": next.id, "from": old.id, "version": fmt.Sprint(next.n),
	}}}, next.insert(ctx, tx)
}

// Rollback makes an earlier version of a template the one that is compared with, and
// deletes those after it.
func (s *Store) Rollback(ctx context.Context, by Actor, subject, to string) error {
	err := s.edit(ctx, by, subject, func(tx *store.Tx, p *person) ([]trail.Event, error) {
		t, err := one(ctx, tx, p.id, to)
		if err != nil {
			return nil, err
		}
		if t.live {
			return nil, fmt.Errorf("template %s is the newest: %w", to, ErrConflict)
		}
		n, err := tx.Exec(ctx, `DELETE FROM voice_templates WHERE origin = ? AND n > ?`, t.origin, t.n)
		if err != nil {
			return nil, err
		}
		if _, err = tx.Exec(ctx, `UPDATE voice_templates SET live = TRUE WHERE id = ?`, t.id); err != nil {
			return nil, err
		}
		return []trail.Event{{Action: "voice.rolled_back", Object: Object(p.id), Detail: map[string]string{
			"template": t.id, "version": fmt.Sprint(t.n), "deleted": fmt.Sprint(n),
		}}}, nil
	})
	if err != nil {
		return err
	}
	return s.db.Settle(ctx)
}

// Revoke deletes a template with all its versions and its audio.
func (s *Store) Revoke(ctx context.Context, by Actor, subject, id string) error {
	err := s.edit(ctx, by, subject, func(tx *store.Tx, p *person) ([]trail.Event, error) {
		t, err := one(ctx, tx, p.id, id)
		if err != nil {
			return nil, err
		}
		return []trail.Event{{Action: "voice.revoked", Object: Object(p.id), Detail: map[string]string{"template": id, "line": t.line, "model": t.model}}},
			dropChains(ctx, tx, p.id, `origin = ?`, t.origin)
	})
	if err != nil {
		return err
	}
	return s.db.Settle(ctx)
}

// dropChains deletes a person's templates that the condition chooses, with their
// audio, prints and how they followed their person.
func dropChains(ctx context.Context, tx *store.Tx, id, cond string, arg any) error {
	chosen := `(SELECT origin FROM voice_templates WHERE person = ? AND ` + cond + `)`
	for _, table := range []string{"voice_audio", "voice_prints"} {
		if _, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE person = ? AND origin IN `+chosen, id, id, arg); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, `DELETE FROM voice_passive WHERE person = ? AND kind = ? AND about IN `+chosen, id, kindFollowed, id, arg); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `DELETE FROM voice_templates WHERE person = ? AND `+cond, id, arg)
	return err
}

// template is a row.
type template struct {
	id, person, origin string
	n                  int64
	live, active       bool
	line, model        string
	made               int64
	seal               string
	turn               int
	text               string
}

const templateColumns = `id, person, origin, n, live, active, line, model, made, seal, turn, payload`

// sealTemplate makes the row of a template that nobody has yet.
func (s *Store) sealTemplate(ctx context.Context, t *voiceprint.Template) (template, error) {
	var sum float64
	for _, f := range t.Embedding {
		sum += float64(f) * float64(f)
	}
	if !(math.Abs(sum-1) < 1e-3) || t.Model == "" {
		return template{}, fmt.Errorf("voices: a template of %d numbers and squared length %.3f, of the model %q: %w", len(t.Embedding), sum, t.Model, ErrInvalid)
	}
	made := t.Made
	if made.IsZero() {
		made = s.trail.Now()
	}
	id := fresh()
	sealed, err := s.vault.SealVoice(ctx, vault.Voice{Embedding: t.Embedding, Quality: t.Quality, Note: t.Source}, purposeTemplate, id, id)
	if err != nil {
		return template{}, err
	}
	return template{
		id: id, live: true, line: store.Clean(t.Line), model: store.Clean(t.Model), made: store.Micros(made), seal: sealed.Key, turn: sealed.Turn, text: sealed.Text,
	}, nil
}

func (t *template) insert(ctx context.Context, tx *store.Tx) error {
	_, err := tx.Exec(ctx, `INSERT INTO voice_templates (`+templateColumns+`) VALUES `+store.Marks(12),
		t.id, t.person, t.origin, t.n, t.live, t.active, t.line, t.model, t.made, t.seal, t.turn, t.text)
	return err
}

// add inserts a template if there is room for it.
func (t *template) add(ctx context.Context, tx *store.Tx) error {
	if err := room(ctx, tx, t.person, 1); err != nil {
		return err
	}
	return t.insert(ctx, tx)
}

// enrolled is what the audit log is told of a new template.
func (t *template) enrolled(audio bool) trail.Event {
	return trail.Event{Action: "voice.enrolled", Object: Object(t.person), Detail: map[string]string{
		"template": t.id, "line": t.line, "model": t.model, "active": strconv.FormatBool(t.active), "audio": strconv.FormatBool(audio),
	}}
}

// room refuses more templates than a person can have.
func room(ctx context.Context, tx *store.Tx, person string, more int) error {
	var n int
	if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM voice_templates WHERE person = ? AND live`, person).Scan(&n); err != nil {
		return err
	}
	if n+more > maxTemplates {
		return fmt.Errorf("%d templates are there and %d would come; at most %d can be: revoke some, or replace: %w", n, more, maxTemplates, ErrInvalid)
	}
	return nil
}

// templates reads rows, in the order in which they were made.
func templates(ctx context.Context, q store.Querier, cond string, args ...any) ([]template, error) {
	rows, err := q.Query(ctx, `SELECT `+templateColumns+` FROM voice_templates WHERE `+cond+` ORDER BY made, id`, args...)
	if err != nil {
		return nil, fmt.Errorf("voices: %w", err)
	}
	var out []template
	err = store.Rows(rows, func(rows *sql.Rows) error {
		var t template
		serr := rows.Scan(&t.id, &t.person, &t.origin, &t.n, &t.live, &t.active, &t.line, &t.model, &t.made, &t.seal, &t.turn, &t.text)
		out = append(out, t)
		return serr
	})
	if err != nil {
		return nil, fmt.Errorf("voices: %w", err)
	}
	return out, nil
}

// one is a template of that person.
func one(ctx context.Context, q store.Querier, person, id string) (template, error) {
	all, err := templates(ctx, q, `person = ? AND id = ?`, person, id)
	if err != nil {
		return template{}, err
	}
	if len(all) == 0 {
		return template{}, fmt.Errorf("template %s: %w", id, ErrUnknown)
	}
	return all[0], nil
}

// sound is enrolment audio, sealed.
type sound struct{ id, text, seal string }

func (s *Store) sealAudio(x []float32) (sound, error) {
	if d := time.Duration(len(x)) * time.Second / voiceprint.Rate; d > maxAudio {
		return sound{}, fmt.Errorf("voices: %v of enrolment audio; at most %v are kept: %w", d, maxAudio, ErrInvalid)
	}
	id := fresh()
	sealed, err := s.vault.SealAudio(x, purposeAudio, id)
	return sound{id, sealed.Text, sealed.Key}, err
}

func (a *sound) insert(ctx context.Context, tx *store.Tx, t *template) error {
	_, err := tx.Exec(ctx, `INSERT INTO voice_audio (id, person, origin, made, seal, payload) VALUES `+store.Marks(6), a.id, t.person, t.origin, t.made, a.seal, a.text)
	return err
}
