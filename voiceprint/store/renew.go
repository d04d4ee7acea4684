package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"sidetone/internal/store"
	"sidetone/voiceprint"
	"sidetone/voiceprint/store/trail"
	"sidetone/voiceprint/store/vault"
	"sidetone/voiceprint/store/watchlist"
)

// tables are those with sealed columns.
func tables() []vault.Table {
	return []vault.Table{
		{Name: "voice_persons", Column: "subject", Purpose: purposeSubject},
		{Name: "voice_templates", Column: "payload", Purpose: purposeTemplate, Transform: func(id, _ string) string { return id }},
		{Name: "voice_passive", Column: "payload", Purpose: purposePassive, Transform: func(id, _ string) string { return id }},
		{Name: "voice_audio", Column: "payload", Purpose: purposeAudio},
		{Name: "voice_prints", Column: "payload", Purpose: purposePrint},
		watchlist.Table(),
	}
}

// NewTransformKey adds a key for transforms to voice.key, and says which one it is.
// Copy the file to all nodes, then call Rekey.
func (s *Store) NewTransformKey(ctx context.Context, by Actor) (int, error) {
	if err := s.trail.Tell(ctx, by, trail.Event{Action: "voice.key.made", Object: "voice.key"}); err != nil {
		return 0, fmt.Errorf("voices: %w", err)
	}
	return s.vault.NewGeneration(ctx)
}

// Rekey seals everything again that is not under the keyring's newest key and the
// newest key for transforms, and says how many rows there were. It can be stopped
// and called again, while the store is used; progress may be nil. The old keys can go
// when it has nothing left to do, but for the backups. Pseudonyms stay.
func (s *Store) Rekey(ctx context.Context, by Actor, progress func(done, total int)) (int, error) {
	if progress == nil {
		progress = func(int, int) {}
	}
	n, err := s.vault.Rekey(ctx, tables(), progress)
	if terr := s.trail.Tell(context.WithoutCancel(ctx), by, trail.Event{Action: "voice.rekeyed", Object: "voice.key", Detail: map[string]string{"rows": fmt.Sprint(n)}}); terr != nil {
		err = errors.Join(err, terr)
	}
	if err != nil {
		return n, fmt.Errorf("voices: %w", err)
	}
	return n, nil
}

// Reembedded is what Reembed did.
type Reembedded struct {
	// Made counts the templates made of kept audio.
	Made int
	// Again are who must be enrolled again: no audio is kept of a template, or none
	// that the model can use.
	Again []string
}

// Reembed makes templates of the embedder's model for all who have such of other
// models only, line by line, from the audio that was kept. Templates of the other
// models stay, so that the model can be changed back, until DropModels. Who may not
// be compared with is left out. It can be stopped and called again; progress may be
// nil.
func (s *Store) Reembed(ctx context.Context, by Actor, e voiceprint.Embedder, progress func(done int)) (Reembedded, error) {
	var out Reembedded
	model := e.Model().ID
	if err := s.trail.Tell(ctx, by, trail.Event{Action: "voice.reembedded", Object: "persons", Detail: map[string]string{"model": model}}); err != nil {
		return out, fmt.Errorf("voices: %w", err)
	}
	last, done := "", 0
	for {
		old, err := s.old(ctx, model, last)
		if err != nil || len(old) == 0 {
			return out, err
		}
		for _, t := range old {
			made, subject, err := s.reembed(ctx, by, e, t)
			if err != nil {
				return out, err
			}
			if made {
				out.Made++
			} else if subject != "" && (len(out.Again) == 0 || out.Again[len(out.Again)-1] != subject) {
				out.Again = append(out.Again, subject)
			}
			if done++; progress != nil {
				progress(done)
			}
		}
		last = old[len(old)-1].person + old[len(old)-1].id
	}
}

// old are the newest versions of other models for lines that have none of this one,
// in the order of persons.
func (s *Store) old(ctx context.Context, model, after string) ([]template, error) {
	ids, err := s.ids(ctx, `SELECT id FROM voice_templates t WHERE live AND model <> ? AND person || id > ?
		AND NOT EXISTS (SELECT 1 FROM voice_templates n WHERE n.person = t.person AND n.line = t.line AND n.live AND n.model = ?)
		ORDER BY person || id LIMIT ?`, model, after, model, callsAtOnce)
	if err != nil {
		return nil, err
	}
	var out []template
	for _, id := range ids {
		t, err := templates(ctx, s.db, `id = ?`, id)
		if err != nil {
			return nil, err
		}
		out = append(out, t...)
	}
	return out, nil
}

// reembed makes one template of kept audio, or says whose voice there is none of.
func (s *Store) reembed(ctx context.Context, by Actor, e voiceprint.Embedder, t template) (made bool, subject string, err error) {
	p, err := load(ctx, s.db, t.person)
	if err != nil || p.permit(s.trail.Now()) != nil {
		return false, "", err
	}
	who, err := s.describe(&p)
	if err != nil {
		return false, "", fmt.Errorf("voices: %w", err)
	}
	var audio, text string
	err = s.db.QueryRow(ctx, `SELECT id, payload FROM voice_audio WHERE origin = ? ORDER BY made DESC LIMIT 1`, t.origin).Scan(&audio, &text)
	if errors.Is(err, sql.ErrNoRows) {
		return false, who.Subject, nil
	}
	if err != nil {
		return false, "", fmt.Errorf("voices: %w", err)
	}
	samples, err := s.vault.OpenAudio(text, purposeAudio, audio)
	if err != nil {
		return false, "", fmt.Errorf("voices: %w", err)
	}
	embedding, err := e.Embed(samples)
	if errors.Is(err, voiceprint.ErrTooShort) {
		return false, who.Subject, nil
	}
	if err != nil {
		return false, "", fmt.Errorf("voices: %w", err)
	}
	before, err := s.vault.OpenVoice(ctx, t.text, purposeTemplate, t.id, t.id)
	if err != nil {
		return false, "", fmt.Errorf("voices: %w", err)
	}
	next, err := s.sealTemplate(ctx, &voiceprint.Template{Line: t.line, Model: e.Model().ID, Embedding: embedding, Source: before.Note, Quality: before.Quality})
	if err != nil {
		return false, "", err
	}
	next.person, next.origin, next.n, next.active = t.person, next.id, 1, t.active
	err = s.editID(ctx, by, t.person, func(tx *store.Tx, p *person) ([]trail.Event, error) {
		if made = p.permit(s.trail.Now()) == nil; !made {
			p.leave = true
			return nil, nil
		}
		// The audio goes with the newer one; where it is gone the person was erased, or
		// another node was faster.
		n, uerr := tx.Exec(ctx, `UPDATE voice_audio SET origin = ? WHERE id = ? AND origin = ?`, next.id, audio, t.origin)
		if uerr != nil {
			return nil, uerr
		}
		if made = n > 0; !made {
			p.leave = true
			return nil, nil
		}
		if _, uerr = tx.Exec(ctx, `UPDATE voice_prints SET origin = ? WHERE origin = ?`, next.id, t.origin); uerr != nil {
			return nil, uerr
		}
		return []trail.Event{{Action: "voice.enrolled", Object: Object(p.id), Detail: map[string]string{
			"template": next.id, "line": next.line, "model": next.model, "from": t.id,
		}}}, next.insert(ctx, tx)
	})
	return made, "", err
}

// DropModels deletes the templates of all models but one, and says how many
// versions there were.
func (s *Store) DropModels(ctx context.Context, by Actor, keep string) (int64, error) {
	var n int64
	err := s.trail.Do(ctx, by, func(tx *store.Tx) ([]trail.Event, error) {
		for _, table := range []string{"voice_audio", "voice_prints"} {
			if _, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE origin IN (SELECT origin FROM voice_templates WHERE model <> ?)`, keep); err != nil {
				return nil, err
			}
		}
		if _, err := tx.Exec(ctx, `DELETE FROM voice_passive WHERE model <> '' AND model <> ?`, keep); err != nil {
			return nil, err
		}
		var err error
		n, err = tx.Exec(ctx, `DELETE FROM voice_templates WHERE model <> ?`, keep)
		return []trail.Event{{Action: "voice.erased", Object: "templates", Detail: map[string]string{"why": "other models than " + keep, "templates": fmt.Sprint(n)}}}, err
	})
	if err != nil {
		return 0, fmt.Errorf("voices: %w", err)
	}
	return n, s.db.Settle(ctx)
}

// ids reads one column of text.
func (s *Store) ids(ctx context.Context, query string, args ...any) ([]string, error) {
	rows, err := s.db.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("voices: %w", err)
	}
	var out []string
	err = store.Rows(rows, func(rows *sql.Rows) error {
		var id string
		serr := rows.Scan(&id)
		out = append(out, id)
		return serr
	})
	if err != nil {
		return nil, fmt.Errorf("voices: %w", err)
	}
	return out, nil
}
