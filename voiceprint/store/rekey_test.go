package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sidetone/internal/seal"
	"sidetone/internal/store/storetest"
	"sidetone/voiceprint"
	"sidetone/voiceprint/store"
	"sidetone/voiceprint/store/vault"
	"sidetone/voiceprint/store/watchlist"
)

// While all is sealed again under other keys it is read, and afterwards the old
// keys are needed for nothing.
func TestRekeyUnderReads(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), open(t, url)
		const persons = 12
		subject := func(i int) string { return fmt.Sprint("person ", i) }
		for i := range persons {
			w.consent(subject(i))
			w.enrol(subject(i), spoken(uint64(i), "phone"))
		}
		entry := watchlist.Entry{Model: model, Reason: "r", Basis: "b", Review: begin.Add(time.Hour), Expires: begin.Add(time.Hour)}
		if _, err := w.Watch().Add(ctx, ann, embedding(99), entry); err != nil {
			t.Fatal(err)
		}
		check := func(s *store.Store, i int) error {
			got, err := s.Templates(ctx, ann, subject(i), model)
			if err != nil || len(got) != 1 || !same(got[0].Embedding, uint64(i)) {
				return fmt.Errorf("person %d: %v, %w", i, got, err)
			}
			return nil
		}
		old, err := w.keys.Keys()
		if err != nil {
			t.Fatal(err)
		}
		if _, err = w.keys.Rotate(begin); err != nil {
			t.Fatal(err)
		}
		if n, err := w.NewTransformKey(ctx, ann); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		if s := w.stats(); s.Stale != 3*persons+1 {
			t.Errorf("%d rows are stale", s.Stale)
		}
		other := w.node()
		reading, stop := context.WithCancel(ctx)
		var wait sync.WaitGroup
		read := make([]error, 2)
		for k, s := range []*store.Store{w.Store, other} {
			wait.Go(func() {
				for i := 0; reading.Err() == nil && read[k] == nil; i++ {
					read[k] = check(s, i%persons)
				}
			})
		}
		// It is stopped midway and called again.
		half, cancel := context.WithCancel(ctx)
		n, err := w.Rekey(half, ann, func(done, total int) {
			if total != 3*persons+1 {
				t.Errorf("a total of %d", total)
			}
			if done == persons+3 {
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) || n != persons+3 {
			t.Errorf("stopped after %d: %v", n, err)
		}
		if n, err = w.Rekey(ctx, ann, nil); err != nil || n != 2*persons-2 {
			t.Errorf("the rest: %d, %v", n, err)
		}
		stop()
		wait.Wait()
		if err = errors.Join(read...); err != nil {
			t.Error(err)
		}
		if n, err = w.Rekey(ctx, ann, nil); err != nil || n != 0 || w.stats().Stale != 0 {
			t.Errorf("again: %d, %v", n, err)
		}
		if err = os.Remove(old[0].Path); err != nil {
			t.Fatal(err)
		}
		for i := range persons {
			if err = errors.Join(check(w.Store, i), check(other, i)); err != nil {
				t.Error(err)
			}
		}
		if h := w.history(subject(3)); h.Subject != subject(3) {
			t.Errorf("person %+v", h)
		}
		if v, err := w.Watch().Voices(ctx, ann, model); err != nil || len(v.IDs) != 1 {
			t.Errorf("watch list: %v, %v", v, err)
		}
		if got, err := w.Reembed(ctx, ann, mills{"network/2"}, nil); err != nil || got.Made != persons {
			t.Errorf("kept audio: %+v, %v", got, err)
		}
	})
}

// A node whose copy of voice.key lacks what the database uses says so, and goes on
// when it has been copied.
func TestKeyOfAnotherNode(t *testing.T) {
	w := open(t, storetest.SQLite(t))
	ctx := t.Context()
	w.consent(caller)
	w.enrol(caller, spoken(1, "phone"))
	dir := t.TempDir()
	carry := func() {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(w.dir, "voice.key"))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "voice.key"), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	carry()
	elsewhere, err := store.Open(ctx, store.Config{DB: w.db, Keys: w.keys, KeyDir: dir, Audit: w.diary, Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = w.NewTransformKey(ctx, ann); err != nil {
		t.Fatal(err)
	}
	if _, err = w.Rekey(ctx, ann, nil); err != nil {
		t.Fatal(err)
	}
	if _, err = elsewhere.Templates(ctx, ann, caller, model); !errors.Is(err, vault.ErrKey) || !strings.Contains(err.Error(), "copy the file from the node that made the newest") {
		t.Errorf("without the newest key: %v", err)
	}
	if _, err = elsewhere.Adapt(ctx, ann, caller, "x", spoken(1, "").Template); !errors.Is(err, vault.ErrKey) {
		t.Errorf("sealed without the newest key: %v", err)
	}
	carry()
	if got, err := elsewhere.Templates(ctx, ann, caller, model); err != nil || len(got) != 1 || !same(got[0].Embedding, 1) {
		t.Errorf("with it: %v, %v", got, err)
	}
}

// Two templates of one voice, as they lie under their seals, have nothing in
// common, and one cannot be read in the other's place.
func TestTemplatesAreUnlinkable(t *testing.T) {
	ctx, w := t.Context(), open(t, storetest.SQLite(t))
	var turned []voiceprint.Embedding
	v, err := vault.Open(ctx, w.db, vault.Config{Dir: w.dir, Keys: w.keys})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"one", "two"} {
		w.consent(s)
		w.enrol(s, spoken(1, "phone"))
	}
	var ids []string
	each(t, w.db, `SELECT id, payload FROM voice_templates`, func(row []any) {
		o, generation, err := v.OpenTurned(fmt.Sprint(row[1]), "voice-template", fmt.Sprint(row[0]))
		if err != nil || generation != 1 {
			t.Fatal(generation, err)
		}
		turned, ids = append(turned, o.Embedding), append(ids, fmt.Sprint(row[0]))
	})
	voice := embedding(1)
	for name, c := range map[string]float64{
		"one and two": voiceprint.Cosine(turned[0], turned[1]), "one": voiceprint.Cosine(turned[0], voice), "two": voiceprint.Cosine(turned[1], voice),
	} {
		// Of random ones it is below 0.36 but once in a million times.
		if c > 0.36 || c < -0.36 {
			t.Errorf("%s: cosine %.2f", name, c)
		}
	}
	if _, err = w.db.Exec(ctx, `UPDATE voice_templates SET payload = (SELECT payload FROM voice_templates WHERE id = ?) WHERE id = ?`, ids[0], ids[1]); err != nil {
		t.Fatal(err)
	}
	_, one := w.Templates(ctx, ann, "one", model)
	_, two := w.Templates(ctx, ann, "two", model)
	if bad := errors.Join(one, two); !errors.Is(bad, seal.ErrOther) || one != nil && two != nil {
		t.Errorf("a template in another's place: %v", bad)
	}
}
