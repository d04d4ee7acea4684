package checkup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sidetone/internal/audit"
	"sidetone/internal/seal"
	"sidetone/internal/store"
	"sidetone/voiceprint/backend"
	voicestore "sidetone/voiceprint/store"
	"sidetone/voiceprint/store/vault"
)

// oldParameters is the age at which the rates that parameters promise are worth
// measuring again: callers' telephones and lines change.
const oldParameters = 2 * 365 * 24 * time.Hour

// nobody is an audit log for who changes nothing.
type nobody struct{}

// Append implements voicestore.Audit.
func (nobody) Append(context.Context, audit.Entry) error {
	return errors.New("doctor changes nothing")
}

// voices looks at what compares callers' voices, and at what is kept of them.
func voices(ctx context.Context, c *Config, put add) {
	v := &c.Config.Voice
	if !v.On {
		put(OK, "", "no voices are compared")
		return
	}
	p := parameters(v.Parameters, v.FAR, time.Now(), put)
	s, err := c.voiceStore(ctx, put)
	if err != nil {
		put(Problem, "put back the keys that the database was made with, from another server or the backup of the keys", "%v", err)
		return
	}
	if s == nil {
		return
	}
	defer s.db.Close()
	n, err := s.Stats(ctx)
	if err != nil {
		put(Problem, "see that the database runs and is whole", "%v", err)
		return
	}
	kept(&n, p, v.KeepAudio, put)
}

// parameters looks at those of the file, or at the built-in ones if it is empty; nil
// where they cannot be used.
func parameters(file string, far float64, now time.Time, put add) *backend.Params {
	p, err := backend.Default()
	name := "the built-in parameters"
	if file != "" {
		name = file
		var f *os.File
		if f, err = os.Open(file); err == nil {
			p, err = backend.Read(f)
			f.Close()
		}
	}
	if err != nil {
		put(Problem, "name parameters as sidetone voice calibrate writes them in voice.parameters, or leave it empty", "%s: %v", name, err)
		return nil
	}
	scorer, err := p.Scorer()
	if err != nil {
		put(Problem, "name parameters as sidetone voice calibrate writes them in voice.parameters, or leave it empty", "%s: %v", name, err)
		return nil
	}
	op, err := scorer.Threshold(far)
	if err != nil {
		put(Problem, "raise voice.false_accepts, or calibrate on more speakers", "%s: %v", name, err)
		return p
	}
	made, err := time.Parse(time.DateOnly, p.Trained.Date)
	text := fmt.Sprintf("%s (%s, of %s): %.3g %% of impostors match and %.2g %% of true callers do not, on %s", name, p.Version(), p.Trained.Date, 100*op.FAR, 100*op.FRR, p.Operating.Words())
	switch {
	case err == nil && now.Sub(made) > oldParameters:
		put(Warning, "measure again on your own calls: sidetone voice calibrate", "%s; that is long ago", text)
	case file == "":
		put(OK, "once there are calls of 50 consenting callers, sidetone voice calibrate says what holds on your lines", "%s", text)
	default:
		put(OK, "", "%s", text)
	}
	return p
}

// voiceStore is what is kept of voices, opened by who changes nothing.
type voiceStore struct {
	*voicestore.Store
	db *store.DB
}

// open opens what is kept of voices where there is something, and its keys; nil where
// there is nothing yet.
func (c *Config) voiceStore(ctx context.Context, put add) (s *voiceStore, err error) {
	dir, _, err := c.storageDir()
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // disk has said so
	}
	at := c.Config.Storage.Records
	if at == "" {
		at = filepath.Join(dir, "sidetone.db")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*askLimit)
	defer cancel()
	look, err := store.Look(ctx, store.Config{URL: at})
	if err != nil || look.Schema != look.Known {
		// Records has said so, or the next start changes it first.
		return nil, nil //nolint:nilerr,nilnil // no answer is no fault of the voices
	}
	db, err := store.Open(ctx, store.Config{URL: at})
	if err != nil {
		return nil, err
	}
	defer func() {
		if s == nil {
			err = errors.Join(err, db.Close())
		}
	}()
	keys := c.Config.Storage.KeysIn(dir)
	used, keyed, err := voicestore.InUse(ctx, db, keys)
	switch {
	case err != nil:
		return nil, err
	case !used && keyed:
		put(Warning, "see that storage.records and storage.keys belong together", "voice.key is in %s, but nothing in the database was made with it", keys)
		return nil, nil //nolint:nilnil // there is nothing to look at
	case !used:
		put(OK, "", "nothing is kept of voices yet")
		return nil, nil //nolint:nilnil // there is nothing to look at
	case !keyed:
		return nil, fmt.Errorf("%w is not in %s: no voice can be compared, and nobody enrolled", vault.ErrKey, keys)
	}
	if ring, _ := filepath.Glob(filepath.Join(keys, "*.age-key")); len(ring) == 0 {
		return nil, fmt.Errorf("no key of the keyring is in %s: nothing that is kept of voices can be read", keys)
	}
	ring, err := seal.Open(seal.Config{Dir: keys})
	if err != nil {
		return nil, err
	}
	open, err := voicestore.Open(ctx, voicestore.Config{DB: db, Keys: ring, KeyDir: keys, Audit: nobody{}})
	if err != nil {
		return nil, err
	}
	return &voiceStore{open, db}, nil
}

// kept says what is there, and what of it waits for somebody.
func kept(n *voicestore.Stats, p *backend.Params, audio bool, put add) {
	states := make([]string, 0, len(n.Persons))
	for _, s := range slices.Sorted(maps.Keys(n.Persons)) {
		states = append(states, fmt.Sprintf("%s %d", strings.ReplaceAll(string(s), "_", " "), n.Persons[s]))
	}
	put(OK, "", "voice.key is that of the database; enrolled %d, provisional templates %d, looked for %d; people: %s", n.Enrolled, n.Provisional, n.Watch.Voices, strings.Join(states, ", "))
	if p != nil {
		other := int64(0)
		for model, count := range n.Templates {
			if model != p.Space.Model().ID {
				other += count
			}
		}
		if other > 0 {
			advice := "sidetone voice reembed says who must be enrolled again"
			if audio || n.Audio > 0 {
				advice = "sidetone voice reembed makes them anew where speech was kept, and says who must be enrolled again"
			}
			put(Warning, advice, "%s of another model than %s: these cannot be compared", plural(int(other), "template"), p.Space.Model().ID)
		}
	}
	for _, w := range []struct {
		n            int64
		text, advice string
	}{
		{n.Watch.Overdue, "looked for though the date of review is over", "sidetone voice watch list, then extend or remove"},
		{n.Watch.Hits, "of the watch list heard in calls, and nobody has judged", "sidetone voice watch hits"},
	} {
		if w.n > 0 {
			put(Warning, w.advice, "%s %s", plural(int(w.n), "voice"), w.text)
		}
	}
	if n.Stale > 0 {
		put(Warning, "sidetone voice rekey, before an older key is taken away", "%s under older keys", plural(n.Stale, "row"))
	}
	if n.Unaudited > 0 {
		put(Warning, "a running server sends them within minutes; its log says why if not", "%s about voices not yet in the audit log", plural(n.Unaudited, "line"))
	}
}
