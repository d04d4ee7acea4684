// Package store keeps voices: who consented to what, the templates of persons, the
// audio that they can be made of again, the decisions, and through watchlist the
// voices that are looked for.
//
// # Protection
//
// A person is whom the operator calls so: a customer's number or address, or
// "agent:NAME". In the database that is a keyed pseudonym (HMAC-SHA-256), and the
// name itself only sealed. A template lies there as its embedding, turned by an
// orthogonal transform that is drawn from a key and from the template's own random
// id, and sealed by internal/seal. In the words of ISO/IEC 24745:
//
//   - Irreversible: who opens the seal but lacks voice.key has a uniform point of the
//     sphere, from which nothing follows about the voice. An embedding as it is would
//     be worth stealing: synthesisers of speech take such as the voice to speak with
//     (Jia and others, Transfer Learning from Speaker Verification, 2018).
//   - Unlinkable: two templates of one voice, also two versions of one template, are
//     turned apart and have a cosine of about 0, so stolen ones tell neither that two
//     databases know a person nor that two persons of one are the same.
//   - Revocable: each template is turned anew, so that a stolen one is worth nothing
//     against the one that replaces it, made of the same voice; NewTransformKey and
//     Rekey replace all.
//
// Encryption alone gives none of these to who got the keyring, which recordings use,
// too, but not voice.key. The transform is no one-way function: with keyring,
// voice.key and the database all is open, and in the program's memory templates are
// compared as they are. What is not turned is only sealed: who a person is, where a
// template comes from and its quality, and the enrolment audio, which is the voice
// itself; where that need not outlive a change of the model, do not keep it. So are the
// prints by which a recording is recognised: no speech can be made of them, but whoever
// has a recording can find it by them. A voice
// cannot be revoked: who has a recording of it can enrol it elsewhere or play it.
// What is remembered between calls is turned as one vector, anew with each change.
// Watch-list entries share one transform, so that they can be scored as they lie:
// among them the cosines show to who opens the seals.
//
// Decisions name the call, and the records of calls may name the customer: who can
// read both knows whose decision it was. No decision has an embedding.
//
// # Consistency
//
// Changes of one person happen one after the other, on all nodes; a change that
// rests on something that is no longer so is ErrConflict. Each change and each read
// of templates is in the audit log (package trail). A Store is safe for concurrent
// use.
//
// The package is larger than others because what changes a person, from consent to
// erasure, is one transaction over the same few tables; what could be apart is:
// turn, vault, trail, ledger and watchlist.
package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"sidetone/internal/seal"
	"sidetone/internal/store"
	"sidetone/voiceprint"
	"sidetone/voiceprint/store/trail"
	"sidetone/voiceprint/store/vault"
	"sidetone/voiceprint/store/watchlist"
)

// Errors that callers tell apart. ReasonOf gives the words of decisions for them.
var (
	ErrNoConsent   = errors.New("the person has not consented")
	ErrOptedOut    = errors.New("the person has opted out")
	ErrExpired     = errors.New("the person's consent has expired")
	ErrNotEnrolled = errors.New("the person is not enrolled")
	// ErrConflict: somebody else has changed it meanwhile; read again.
	ErrConflict = errors.New("it was changed meanwhile")
	// ErrUnknown: there is no such person, template or decision.
	ErrUnknown = errors.New("there is no such thing")
	// ErrInvalid: what was given cannot be kept.
	ErrInvalid = errors.New("it cannot be kept")
)

// ReasonOf is what a decision says of an error of Templates.
func ReasonOf(err error) (voiceprint.Reason, bool) {
	for _, c := range []struct {
		err    error
		reason voiceprint.Reason
	}{
		{ErrNoConsent, voiceprint.NoConsent}, {ErrOptedOut, voiceprint.OptedOut}, {ErrExpired, voiceprint.Expired},
		{ErrNotEnrolled, voiceprint.NotEnrolled}, {voiceprint.ErrModel, voiceprint.OtherModel},
	} {
		if errors.Is(err, c.err) {
			return c.reason, true
		}
	}
	return "", false
}

// The names of the trail's types, so that callers need not import it.
type (
	// Actor is who does something.
	Actor = trail.Actor
	// Audit is the audit log.
	Audit = trail.Audit
)

// Config shapes Open.
type Config struct {
	DB   *store.DB
	Keys *seal.Keyring
	// KeyDir is the folder of voice.key.
	KeyDir string
	Audit  Audit
	// Canonical gives the one way to write a subject that can be written in several;
	// nil takes the space around it away. To change it later loses persons.
	Canonical func(subject string) string
	// KeepAudio allows enrolment audio to be kept.
	KeepAudio bool
	// Versions bounds how many versions of a template are kept, the first one among
	// them; 0 means 5.
	Versions int
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Log is told of what the audit log did not take; nil is none.
	Log *slog.Logger
}

const (
	defaultVersions = 5
	// maxTemplates bounds the templates of a person that are compared with.
	maxTemplates = 16
	maxSubject   = 512
)

// The purposes of what is sealed.
const (
	purposeSubject  = "voice-subject"
	purposeTemplate = "voice-template"
	purposeAudio    = "voice-audio"
	purposePrint    = "voice-print"
	purposePassive  = "voice-passive"
)

// Store keeps voices.
type Store struct {
	cfg   Config
	db    *store.DB
	vault *vault.Vault
	trail *trail.Trail
	watch *watchlist.List
}

// Open begins to use a database, which stays the caller's to close. Keys that do
// not belong to it are vault.ErrKey.
func Open(ctx context.Context, c Config) (*Store, error) {
	if c.Versions < 0 || c.Versions == 1 {
		return nil, fmt.Errorf("voices: %d versions of a template; at least 2 are needed, 0 means %d", c.Versions, defaultVersions)
	}
	if c.Versions == 0 {
		c.Versions = defaultVersions
	}
	if c.Canonical == nil {
		c.Canonical = strings.TrimSpace
	}
	s := &Store{cfg: c, db: c.DB}
	var err error
	if s.trail, err = trail.New(trail.Config{DB: c.DB, Audit: c.Audit, Now: c.Now, Log: c.Log}); err != nil {
		return nil, fmt.Errorf("voices: %w", err)
	}
	if s.vault, err = vault.Open(ctx, c.DB, vault.Config{Dir: c.KeyDir, Keys: c.Keys}); err != nil {
		return nil, fmt.Errorf("voices: %w", err)
	}
	if s.watch, err = watchlist.New(c.DB, s.vault, s.trail); err != nil {
		return nil, fmt.Errorf("voices: %w", err)
	}
	return s, nil
}

// InUse says whether a database holds voices, and whether the voices' key lies in the
// folder of the keys. It makes nothing, unlike Open.
func InUse(ctx context.Context, db *store.DB, keyDir string) (used, keyed bool, err error) {
	if used, err = vault.InUse(ctx, db); err != nil {
		return false, false, fmt.Errorf("voices: %w", err)
	}
	return used, vault.HasKey(keyDir), nil
}

// Watch is the watch list.
func (s *Store) Watch() *watchlist.List { return s.watch }

// Pseudonym is what a person is called in the database.
func (s *Store) Pseudonym(subject string) (string, error) {
	id, _, err := s.who(subject)
	return id, err
}

// Object is what the audit log calls the person of a pseudonym: by it the person's
// entries are found.
func Object(pseudonym string) string { return "voice:" + pseudonym }

// who is a person's pseudonym and the subject in its one way.
func (s *Store) who(subject string) (id, canonical string, err error) {
	canonical = s.cfg.Canonical(subject)
	if canonical == "" || len(canonical) > maxSubject {
		return "", "", fmt.Errorf("voices: a subject of %d bytes; 1 to %d are needed: %w", len(canonical), maxSubject, ErrInvalid)
	}
	return s.vault.Pseudonym(canonical), canonical, nil
}

// fresh is a random id that tells nothing.
func fresh() string {
	b := make([]byte, 16)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// person is a row.
type person struct {
	id, subject, seal string
	state             State
	since, expires    int64
	version           int64
	used, erased      int64
	// there says that there is a row; leave that it stays as it is.
	there, leave bool
}

const personColumns = `id, subject, seal, state, since, expires, version, used, erased`

func (p *person) scan(row interface{ Scan(...any) error }) error {
	p.there = true
	return row.Scan(&p.id, &p.subject, &p.seal, &p.state, &p.since, &p.expires, &p.version, &p.used, &p.erased)
}

// load reads a person; of one that is not there nothing is known.
func load(ctx context.Context, q store.Querier, id string) (person, error) {
	var p person
	err := p.scan(q.QueryRow(ctx, `SELECT `+personColumns+` FROM voice_persons WHERE id = ?`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return person{id: id, state: Unknown}, nil
	}
	if err != nil {
		return p, fmt.Errorf("voices: %w", err)
	}
	return p, nil
}

// edit changes a person, whom it makes known, while nobody else does. do may run
// more than once.
func (s *Store) edit(ctx context.Context, by Actor, subject string, do func(*store.Tx, *person) ([]trail.Event, error)) error {
	id, canonical, err := s.who(subject)
	if err != nil {
		return err
	}
	named, err := s.vault.Seal([]byte(canonical), purposeSubject, id)
	if err != nil {
		return err
	}
	return s.editID(ctx, by, id, func(tx *store.Tx, p *person) ([]trail.Event, error) {
		if p.subject == "" {
			p.subject, p.seal = named.Text, named.Key
		}
		return do(tx, p)
	})
}

func (s *Store) editID(ctx context.Context, by Actor, id string, do func(*store.Tx, *person) ([]trail.Event, error)) error {
	err := s.trail.Do(ctx, by, func(tx *store.Tx) ([]trail.Event, error) {
		if err := tx.Lock(ctx, Object(id)); err != nil {
			return nil, err
		}
		p, err := load(ctx, tx, id)
		if err != nil {
			return nil, err
		}
		named := p.subject
		events, err := do(tx, &p)
		if err != nil || p.leave {
			return events, err
		}
		// A change of keys may seal the name again meanwhile.
		name := ``
		if p.subject != named {
			name = `subject = excluded.subject, seal = excluded.seal, `
		}
		_, err = tx.Exec(ctx, `INSERT INTO voice_persons (`+personColumns+`) VALUES `+store.Marks(9)+` ON CONFLICT (id) DO UPDATE SET `+name+`
			state = excluded.state, since = excluded.since, expires = excluded.expires,
			version = excluded.version, used = excluded.used, erased = excluded.erased`,
			p.id, p.subject, p.seal, string(p.state), p.since, p.expires, p.version+1, p.used, p.erased)
		return events, err
	})
	if err != nil {
		return fmt.Errorf("voices: %w", err)
	}
	return nil
}

// permit says why a person's voice may not be used.
func (p *person) permit(now time.Time) error {
	switch p.status(now) {
	case Consented:
		return nil
	case OptedOut:
		return ErrOptedOut
	case Expired:
		return ErrExpired
	default:
		return ErrNoConsent
	}
}

// micros is a time as the database holds it, 0 where there is none.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return store.Micros(t)
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return store.Time(us)
}
