package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"sidetone/internal/store"
	"sidetone/voiceprint/spoof/fingerprint"
	"sidetone/voiceprint/store/trail"
)

// maxPrint bounds a print that is kept, of 12 kB a minute before it is sealed.
const maxPrint = 10 * time.Minute

// Print is the fingerprint of what a person said in a call.
type Print struct {
	// Source has the person's pseudonym and the call's key.
	fingerprint.Source
	// At is when it was heard.
	At    time.Time
	Print fingerprint.Print
}

// printRow is a row.
type printRow struct {
	id, person, call, origin string
	made                     int64
	seal, text               string
}

const printColumns = `id, person, call, origin, made, seal, payload`

func (s *Store) sealPrint(p fingerprint.Print) (printRow, error) {
	if d := p.Duration(); d > maxPrint || len(p) == 0 {
		return printRow{}, fmt.Errorf("voices: a print of %v; some and at most %v are kept: %w", d, maxPrint, ErrInvalid)
	}
	id := fresh()
	sealed, err := s.vault.Seal(p.AppendBinary(nil), purposePrint, id)
	return printRow{id: id, seal: sealed.Key, text: sealed.Text}, err
}

func (p *printRow) insert(ctx context.Context, tx *store.Tx) error {
	_, err := tx.Exec(ctx, `INSERT INTO voice_prints (`+printColumns+`) VALUES `+store.Marks(7),
		p.id, p.person, p.call, p.origin, p.made, p.seal, p.text)
	return err
}

func (s *Store) openPrint(r *printRow) (Print, error) {
	b, err := s.vault.Open(r.text, purposePrint, r.id)
	if err != nil {
		return Print{}, fmt.Errorf("voices: %w", err)
	}
	p, err := fingerprint.Parse(b)
	if err != nil {
		return Print{}, fmt.Errorf("voices: print %s: %w", r.id, err)
	}
	return Print{Source: fingerprint.Source{Person: r.person, Call: r.call}, At: store.Time(r.made), Print: p}, nil
}

// AddPrint keeps the print of what a person said in a call, of p count Call, At and
// Print. Of one who has not consented, or has opted out, none is kept: the error says
// why.
func (s *Store) AddPrint(ctx context.Context, by Actor, subject string, p Print) error {
	row, err := s.sealPrint(p.Print)
	if err != nil {
		return err
	}
	if p.At.IsZero() {
		p.At = s.trail.Now()
	}
	row.call, row.made = store.Clean(p.Call), store.Micros(p.At)
	return s.edit(ctx, by, subject, func(tx *store.Tx, p *person) ([]trail.Event, error) {
		if err := p.permit(s.trail.Now()); err != nil {
			return nil, err
		}
		p.leave, row.person = true, p.id
		return []trail.Event{{Action: "voice.print.kept", Object: Object(p.id), Detail: map[string]string{"call": row.call}}}, row.insert(ctx, tx)
	})
}

// Prints are those of what a person was enrolled with, and of the latest calls, at
// most as many, the oldest first. Of one who has not consented there are none: the
// error says why.
func (s *Store) Prints(ctx context.Context, by Actor, subject string, calls int) (enrolment []fingerprint.Print, said []Print, err error) {
	id, _, err := s.who(subject)
	if err != nil {
		return nil, nil, err
	}
	p, err := load(ctx, s.db, id)
	if err != nil {
		return nil, nil, err
	}
	if err = p.permit(s.trail.Now()); err != nil {
		return nil, nil, fmt.Errorf("voices: %w", err)
	}
	rows, err := s.prints(ctx, `person = ? AND call = '' ORDER BY made, id`, id)
	if err != nil {
		return nil, nil, err
	}
	latest, err := s.prints(ctx, `person = ? AND call <> '' ORDER BY made DESC, id LIMIT ?`, id, max(0, calls))
	if err != nil || len(rows)+len(latest) == 0 {
		return nil, nil, err
	}
	if err = s.trail.Tell(ctx, by, trail.Event{Action: "voice.read", Object: Object(id), Detail: map[string]string{"prints": fmt.Sprint(len(rows) + len(latest))}}); err != nil {
		return nil, nil, fmt.Errorf("voices: %w", err)
	}
	for i := range rows {
		one, err := s.openPrint(&rows[i])
		if err != nil {
			return nil, nil, err
		}
		enrolment = append(enrolment, one.Print)
	}
	for i := len(latest) - 1; i >= 0; i-- {
		one, err := s.openPrint(&latest[i])
		if err != nil {
			return nil, nil, err
		}
		said = append(said, one)
	}
	return enrolment, said, nil
}

// ScanPrints calls fn for the prints of all calls since then, the latest first, of all
// who consent, until it says that this is enough. The audit log says so once.
func (s *Store) ScanPrints(ctx context.Context, by Actor, since time.Time, fn func(Print) (more bool)) error {
	ids, err := s.ids(ctx, `SELECT r.id FROM voice_prints r JOIN voice_persons p ON p.id = r.person
		WHERE r.call <> '' AND r.made >= ? AND p.state = ? AND (p.expires = 0 OR p.expires > ?) ORDER BY r.made DESC, r.id`,
		micros(since), string(Consented), store.Micros(s.trail.Now()))
	if err != nil || len(ids) == 0 {
		return err
	}
	if err = s.trail.Tell(ctx, by, trail.Event{Action: "voice.read", Object: "prints"}); err != nil {
		return fmt.Errorf("voices: %w", err)
	}
	for _, id := range ids {
		rows, err := s.prints(ctx, `id = ?`, id)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			continue
		}
		p, err := s.openPrint(&rows[0])
		if err != nil {
			return err
		}
		if !fn(p) {
			break
		}
	}
	return nil
}

// PrintSources are of whom, and of which calls, prints are kept, so that copies in
// memory can follow what was erased.
func (s *Store) PrintSources(ctx context.Context) (map[fingerprint.Source]bool, error) {
	rows, err := s.db.Query(ctx, `SELECT person, call FROM voice_prints WHERE call <> ''`)
	if err != nil {
		return nil, fmt.Errorf("voices: %w", err)
	}
	out := map[fingerprint.Source]bool{}
	if err = store.Rows(rows, func(rows *sql.Rows) error {
		var f fingerprint.Source
		serr := rows.Scan(&f.Person, &f.Call)
		out[f] = true
		return serr
	}); err != nil {
		return nil, fmt.Errorf("voices: %w", err)
	}
	return out, nil
}

func (s *Store) prints(ctx context.Context, cond string, args ...any) ([]printRow, error) {
	rows, err := s.db.Query(ctx, `SELECT `+printColumns+` FROM voice_prints WHERE `+cond, args...)
	if err != nil {
		return nil, fmt.Errorf("voices: %w", err)
	}
	var out []printRow
	if err = store.Rows(rows, func(rows *sql.Rows) error {
		var p printRow
		serr := rows.Scan(&p.id, &p.person, &p.call, &p.origin, &p.made, &p.seal, &p.text)
		out = append(out, p)
		return serr
	}); err != nil {
		return nil, fmt.Errorf("voices: %w", err)
	}
	return out, nil
}
