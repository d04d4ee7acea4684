package store_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"sidetone/internal/audit"
	"sidetone/internal/seal"
	dbstore "sidetone/internal/store"
	"sidetone/internal/store/storetest"
	"sidetone/voiceprint"
	"sidetone/voiceprint/store"
	"sidetone/voiceprint/store/trail"
	"sidetone/voiceprint/store/vault"
)

const (
	model  = "network/1"
	caller = "+43 660 1234567"
)

var (
	begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ann   = store.Actor{Name: "account:ann", Address: "192.0.2.7"}
	said  = store.Consent{Text: "v3", Language: "de", Channel: "call 1", How: "spoken"}
)

// diary is an audit log in memory.
type diary struct {
	mu      sync.Mutex
	entries []audit.Entry
	refuse  bool
}

func (d *diary) Append(_ context.Context, e audit.Entry) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuse {
		return errors.New("the audit log is full")
	}
	d.entries = append(d.entries, e)
	return nil
}

func (d *diary) actions() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for _, e := range d.entries {
		out = append(out, e.Action)
	}
	return out
}

// world is a store and what is around it.
type world struct {
	*store.Store
	t     testing.TB
	db    *dbstore.DB
	url   string
	dir   string
	keys  *seal.Keyring
	diary *diary
	mu    sync.Mutex
	at    time.Time
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

func open(t testing.TB, url string) *world {
	t.Helper()
	w := &world{t: t, url: url, dir: t.TempDir(), diary: &diary{}, at: begin}
	w.db = storetest.Open(t, url)
	var err error
	if w.keys, err = seal.Open(seal.Config{Dir: w.dir, Kind: seal.X25519}); err != nil {
		t.Fatal(err)
	}
	w.Store = w.node()
	return w
}

// node is another node of the same database and keys.
func (w *world) node() *store.Store {
	w.t.Helper()
	s, err := store.Open(w.t.Context(), store.Config{
		DB: w.db, Keys: w.keys, KeyDir: w.dir, Audit: w.diary, Now: w.now, KeepAudio: true, Versions: 3,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) consent(subject string) {
	w.t.Helper()
	if err := w.Consent(w.t.Context(), ann, subject, said); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) enrol(subject string, voices ...store.Voice) []string {
	w.t.Helper()
	ids, err := w.Enrol(w.t.Context(), ann, subject, store.Enrolment{Voices: voices})
	if err != nil {
		w.t.Fatal(err)
	}
	return ids
}

func (w *world) history(subject string) store.History {
	w.t.Helper()
	h, err := w.Person(w.t.Context(), ann, subject)
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

func (w *world) state(subject string) store.State {
	w.t.Helper()
	s, err := w.State(w.t.Context(), subject)
	if err != nil {
		w.t.Fatal(err)
	}
	return s.State
}

func (w *world) stats() store.Stats {
	w.t.Helper()
	s, err := w.Stats(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// embedding is a voice.
func embedding(voice uint64) voiceprint.Embedding {
	r := rand.New(rand.NewPCG(voice, 7))
	e := make(voiceprint.Embedding, 192)
	for i := range e {
		e[i] = float32(r.NormFloat64())
	}
	voiceprint.Unit(e)
	return e
}

func spoken(voice uint64, line string) store.Voice {
	return store.Voice{
		Template: voiceprint.Template{
			Line: line, Model: model, Embedding: embedding(voice), Source: "call of the kingfisher",
			Quality: voiceprint.Quality{Net: 20 * time.Second, SNR: 21, Reverberation: math.NaN()},
		},
		Audio: tone(voice, 3*time.Second),
	}
}

// tone is audio whose pitch says whose it is.
func tone(voice uint64, d time.Duration) []float32 {
	x := make([]float32, int(d*voiceprint.Rate/time.Second))
	for i := range x {
		x[i] = float32(0.5 * math.Sin(float64(i)*0.01*float64(voice+1)))
	}
	return x
}

func TestConsent(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), open(t, url)
		enrol := func() error {
			_, err := w.Enrol(ctx, ann, caller, store.Enrolment{Voices: []store.Voice{spoken(1, "phone")}})
			return err
		}
		templates := func() error {
			_, err := w.Templates(ctx, ann, caller, model)
			return err
		}
		check := func(want store.State, reason error) {
			t.Helper()
			if got := w.state(caller); got != want {
				t.Errorf("state %s, want %s", got, want)
			}
			if err := enrol(); !errors.Is(err, reason) {
				t.Errorf("enrolled: %v, want %v", err, reason)
			}
			if err := templates(); !errors.Is(err, reason) {
				t.Errorf("templates: %v, want %v", err, reason)
			}
		}
		check(store.Unknown, store.ErrNoConsent)
		if err := w.Ask(ctx, ann, caller, store.Consent{Channel: "call 0"}); err != nil {
			t.Fatal(err)
		}
		check(store.Asked, store.ErrNoConsent)
		for name, c := range map[string]store.Consent{"no text": {How: "spoken"}, "no way": {Text: "v3"}, "over": {Text: "v3", How: "spoken", Expires: begin}} {
			if err := w.Consent(ctx, ann, caller, c); !errors.Is(err, store.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		until := said
		until.Expires = begin.Add(24 * time.Hour)
		if err := w.Consent(ctx, ann, caller, until); err != nil {
			t.Fatal(err)
		}
		check(store.Consented, nil)
		// Who is asked once more has not taken it back.
		if err := w.Ask(ctx, ann, caller, store.Consent{}); err != nil {
			t.Fatal(err)
		}
		check(store.Consented, nil)
		w.pass(24 * time.Hour)
		check(store.Expired, store.ErrExpired)
		w.consent(caller)
		check(store.Consented, nil)
		w.pass(time.Hour)
		if err := w.OptOut(ctx, ann, caller, store.Consent{Channel: "call 2"}); err != nil {
			t.Fatal(err)
		}
		check(store.OptedOut, store.ErrOptedOut)
		if err := w.Ask(ctx, ann, caller, store.Consent{}); !errors.Is(err, store.ErrOptedOut) {
			t.Errorf("asked: %v", err)
		}
		late := said
		late.At = w.now().Add(-time.Minute)
		if err := w.Consent(ctx, ann, caller, late); !errors.Is(err, store.ErrOptedOut) {
			t.Errorf("a consent from before the opt-out: %v", err)
		}
		h := w.history(caller)
		if h.Subject != caller || len(h.Templates) != 0 || h.Since != w.now() {
			t.Errorf("opted out: %+v", h)
		}
		var states []store.State
		for _, c := range h.Consents {
			states = append(states, c.State)
		}
		if want := []store.State{store.Asked, store.Consented, store.Asked, store.Consented, store.OptedOut}; !slices.Equal(states, want) {
			t.Errorf("records %v, want %v", states, want)
		}
		until.At, until.State, until.By = begin, store.Consented, ann.Name
		if h.Consents[1] != until {
			t.Errorf("the consent reads %+v, want %+v", h.Consents[1], until)
		}
		if s := w.stats(); s.Versions+s.Audio != 0 || s.Persons[store.OptedOut] != 1 {
			t.Errorf("opted out: %+v", s)
		}
		// Who was never known can opt out, too, and everybody can come back.
		if err := w.OptOut(ctx, ann, "agent:bob", store.Consent{}); err != nil || w.state("agent:bob") != store.OptedOut {
			t.Errorf("state %s, %v", w.state("agent:bob"), err)
		}
		w.consent(caller)
		check(store.Consented, nil)
	})
}

func TestReasonOf(t *testing.T) {
	if r, ok := store.ReasonOf(errors.Join(store.ErrOptedOut)); r != voiceprint.OptedOut || !ok {
		t.Error(r, ok)
	}
	if r, ok := store.ReasonOf(store.ErrConflict); ok {
		t.Error(r)
	}
}

// What is done is audited, with who and about whom, and without any voice.
func TestAudited(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), open(t, url)
		w.consent(caller)
		ids := w.enrol(caller, spoken(1, "phone"))
		if _, err := w.Templates(ctx, ann, caller, model); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Record(ctx, ann, caller, comparison("c1")); err != nil {
			t.Fatal(err)
		}
		if err := w.Revoke(ctx, ann, caller, ids[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Erase(ctx, ann, caller, false); err != nil {
			t.Fatal(err)
		}
		want := []string{"voice.consent", "voice.enrolled", "voice.read", "voice.compared", "voice.revoked", "voice.erased"}
		if got := w.diary.actions(); !slices.Equal(got, want) {
			t.Errorf("audited %v, want %v", got, want)
		}
		id, err := w.Pseudonym(" " + caller)
		if err != nil {
			t.Fatal(err)
		}
		about := store.Object(id)
		for _, e := range w.diary.entries {
			if e.Object != about || e.Actor != ann.Name || e.Address != ann.Address || !e.At.Equal(begin) {
				t.Errorf("entry %+v, want one of %+v about %s", e, ann, about)
			}
		}
		// A log that takes nothing lets nothing be read, and what was done waits for it.
		w.consent(caller)
		w.enrol(caller, spoken(1, "phone"))
		w.diary.refuse = true
		if _, err = w.Templates(ctx, ann, caller, model); err == nil {
			t.Error("read unseen")
		}
		if err = w.OptOut(ctx, ann, caller, store.Consent{}); err != nil {
			t.Error(err)
		}
		if s := w.stats(); s.Unaudited != 2 || s.Versions != 0 {
			t.Errorf("waiting: %+v", s)
		}
		w.diary.refuse = false
		w.pass(2 * time.Minute)
		if _, err = w.Expire(ctx, ann, w.now(), store.Retention{}); err != nil {
			t.Fatal(err)
		}
		got := w.diary.actions()
		if s := w.stats(); s.Unaudited != 0 || !slices.Contains(got[len(got)-2:], "voice.consent") || !slices.Contains(got[len(got)-2:], "voice.erased") {
			t.Errorf("sent again: %v, %+v", got, s)
		}
		if err = w.OptOut(ctx, store.Actor{}, caller, store.Consent{}); err == nil {
			t.Error("nobody did it")
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	w := open(t, storetest.SQLite(t))
	for name, change := range map[string]func(*store.Config){
		"no database": func(c *store.Config) { c.DB = nil },
		"no keyring":  func(c *store.Config) { c.Keys = nil },
		"no folder":   func(c *store.Config) { c.KeyDir = "" },
		"no audit":    func(c *store.Config) { c.Audit = nil },
		"versions":    func(c *store.Config) { c.Versions = 1 },
		"other keys":  func(c *store.Config) { c.KeyDir = t.TempDir() },
	} {
		c := store.Config{DB: w.db, Keys: w.keys, KeyDir: w.dir, Audit: w.diary}
		change(&c)
		if _, err := store.Open(t.Context(), c); err == nil || name == "other keys" && !errors.Is(err, vault.ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, subject := range []string{" ", string(make([]byte, 600))} {
		if _, err := w.State(t.Context(), subject); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("a subject of %d bytes: %v", len(subject), err)
		}
	}
}

var _ trail.Audit = (*diary)(nil)

// The audit log lies in the same database, whose one writer SQLite has.
func TestWithTheAuditLog(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), open(t, url)
		log, err := audit.New(ctx, w.db, audit.Config{Dir: w.dir, Node: "n1"})
		if err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(ctx, store.Config{DB: w.db, Keys: w.keys, KeyDir: w.dir, Audit: log})
		if err != nil {
			t.Fatal(err)
		}
		if err = s.Consent(ctx, ann, caller, said); err != nil {
			t.Fatal(err)
		}
		if _, err = s.Enrol(ctx, ann, caller, store.Enrolment{Voices: []store.Voice{spoken(1, "phone")}}); err != nil {
			t.Fatal(err)
		}
		if _, err = s.Templates(ctx, ann, caller, model); err != nil {
			t.Fatal(err)
		}
		id, err := s.Pseudonym(caller)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := log.List(ctx, audit.Filter{Action: "voice", Object: store.Object(id)})
		if err != nil || len(entries) != 3 || entries[0].Action != "voice.read" || entries[2].Action != "voice.consent" || entries[1].Detail["line"] != "phone" {
			t.Errorf("entries %+v, %v", entries, err)
		}
		if r, err := log.Verify(ctx); err != nil || r.Broken != nil {
			t.Errorf("verified %+v, %v", r, err)
		}
		if st, err := s.Stats(ctx); err != nil || st.Unaudited != 0 {
			t.Errorf("%+v, %v", st, err)
		}
	})
}
