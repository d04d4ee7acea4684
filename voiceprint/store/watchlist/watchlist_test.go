package watchlist_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"sidetone/internal/audit"
	"sidetone/internal/seal"
	"sidetone/internal/store"
	"sidetone/internal/store/storetest"
	"sidetone/voiceprint"
	"sidetone/voiceprint/store/trail"
	"sidetone/voiceprint/store/vault"
	"sidetone/voiceprint/store/watchlist"
)

const model = "network/1"

var (
	begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ann   = trail.Actor{Name: "account:ann"}
	entry = watchlist.Entry{Person: "p", Model: model, Reason: "said to be another", Basis: "file 7", Review: begin.Add(time.Hour), Expires: begin.Add(48 * time.Hour),
		Quality: voiceprint.Quality{SNR: 12}}
)

type diary struct{ actions []string }

func (d *diary) Append(_ context.Context, e audit.Entry) error {
	d.actions = append(d.actions, e.Action)
	return nil
}

type world struct {
	*watchlist.List
	db    *store.DB
	vault *vault.Vault
	diary diary
	now   time.Time
}

func open(t testing.TB, url string) *world {
	t.Helper()
	w := &world{db: storetest.Open(t, url), now: begin}
	dir := t.TempDir()
	keys, err := seal.Open(seal.Config{Dir: dir, Kind: seal.X25519})
	if err != nil {
		t.Fatal(err)
	}
	if w.vault, err = vault.Open(t.Context(), w.db, vault.Config{Dir: dir, Keys: keys}); err != nil {
		t.Fatal(err)
	}
	log, err := trail.New(trail.Config{DB: w.db, Audit: &w.diary, Now: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	if w.List, err = watchlist.New(w.db, w.vault, log); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) voices(t testing.TB, model string) *watchlist.Voices {
	t.Helper()
	v, err := w.Voices(t.Context(), ann, model)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func embedding(voice uint64) voiceprint.Embedding {
	r := rand.New(rand.NewPCG(voice, 7))
	e := make(voiceprint.Embedding, 192)
	for i := range e {
		e[i] = float32(r.NormFloat64())
	}
	voiceprint.Unit(e)
	return e
}

// cosines are those of a voice with the list, by entries.
func cosines(t testing.TB, v *watchlist.Voices, e voiceprint.Embedding) map[string]float64 {
	t.Helper()
	turned, err := v.Turn(e)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for i, id := range v.IDs {
		out[id] = voiceprint.Cosine(turned, v.Turned[i])
	}
	return out
}

func TestList(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), open(t, url)
		if v := w.voices(t, model); len(v.IDs) != 0 {
			t.Errorf("nothing is %+v", v)
		} else if e, err := v.Turn(embedding(1)); err != nil || len(e) != 192 {
			t.Errorf("turned %v, %v", e, err)
		}
		var ids []string
		var marks []string
		mark := func() {
			t.Helper()
			m, err := w.Mark(ctx)
			if err != nil || slices.Contains(marks, m) {
				t.Errorf("mark %s, %v", m, err)
			}
			marks = append(marks, m)
		}
		mark()
		for i := range 3 {
			e := entry
			if i == 2 {
				e.Model = "network/2"
			}
			id, err := w.Add(ctx, ann, embedding(uint64(i)), e)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
			mark()
		}
		list := func(removed bool) map[string]watchlist.Entry {
			t.Helper()
			out := map[string]watchlist.Entry{}
			for after := ""; ; {
				page, err := w.Entries(ctx, ann, after, 2, removed)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range page {
					out[e.ID], after = e, e.ID
				}
				if len(page) == 0 {
					return out
				}
			}
		}
		want := entry
		want.ID, want.Added, want.AddedBy, want.Version = ids[0], begin, ann.Name, 1
		if got := list(false); len(got) != 3 || got[ids[0]] != want {
			t.Errorf("listed %+v", got)
		}
		// Cosines are those of the voices, which do not lie there themselves.
		v := w.voices(t, model)
		probe := embedding(1)
		for i, id := range ids[:2] {
			if got, want := cosines(t, v, probe)[id], voiceprint.Cosine(probe, embedding(uint64(i))); math.Abs(got-want) > 1e-5 {
				t.Errorf("entry %d: cosine %v, want %v", i, got, want)
			}
		}
		if len(v.IDs) != 2 || math.Abs(voiceprint.Cosine(v.Turned[slices.Index(v.IDs, ids[1])], probe)) > 0.36 {
			t.Errorf("voices %v", v.IDs)
		}
		if _, err := v.Turn(probe[:5]); !errors.Is(err, voiceprint.ErrModel) {
			t.Errorf("another length: %v", err)
		}
		later := begin.Add(72 * time.Hour)
		if err := w.Extend(ctx, ann, ids[0], 1, later, later); err != nil {
			t.Fatal(err)
		}
		mark()
		if err := w.Extend(ctx, ann, ids[0], 1, later, later); !errors.Is(err, watchlist.ErrConflict) {
			t.Errorf("extended what is no longer so: %v", err)
		}
		if err := w.Extend(ctx, ann, ids[0], 2, begin, later); !errors.Is(err, watchlist.ErrInvalid) {
			t.Errorf("reviewed in the past: %v", err)
		}
		if err := w.Remove(ctx, ann, ids[2]); err != nil {
			t.Fatal(err)
		}
		mark()
		if err := w.Remove(ctx, ann, ids[2]); !errors.Is(err, watchlist.ErrUnknown) {
			t.Errorf("removed twice: %v", err)
		}
		if got := list(true)[ids[2]]; got.Reason != "" || got.Person != "" || got.RemovedBy != ann.Name || !got.Removed.Equal(begin) || len(list(false)) != 2 {
			t.Errorf("removed: %+v", got)
		}
		// Its time is over, before anything expires it and after.
		w.now = begin.Add(50 * time.Hour)
		if v = w.voices(t, model); !slices.Equal(v.IDs, ids[:1]) {
			t.Errorf("after 50 hours: %v", v.IDs)
		}
		if s, err := w.Stats(ctx); err != nil || s.Voices != 2 || s.Overdue != 1 {
			t.Errorf("%+v, %v", s, err)
		}
		if n, _, err := w.Expire(ctx, ann, w.now, time.Time{}); n != 1 || err != nil {
			t.Errorf("expired %d, %v", n, err)
		}
		if got := list(false); len(got) != 1 || !got[ids[0]].Expires.Equal(later) {
			t.Errorf("after 50 hours: %+v", got)
		}
		for _, a := range []string{"voice.watch.added", "voice.watch.extended", "voice.watch.removed", "voice.expired", "voice.read"} {
			if !slices.Contains(w.diary.actions, a) {
				t.Errorf("%s is not in %v", a, w.diary.actions)
			}
		}
	})
}

func TestAddRefuses(t *testing.T) {
	w := open(t, storetest.SQLite(t))
	for name, change := range map[string]func(*watchlist.Entry){
		"no reason": func(e *watchlist.Entry) { e.Reason = "" },
		"no basis":  func(e *watchlist.Entry) { e.Basis = "" },
		"no model":  func(e *watchlist.Entry) { e.Model = "" },
		"no review": func(e *watchlist.Entry) { e.Review = time.Time{} },
		"for ever":  func(e *watchlist.Entry) { e.Expires = time.Time{} },
	} {
		e := entry
		change(&e)
		if _, err := w.Add(t.Context(), ann, embedding(1), e); !errors.Is(err, watchlist.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.Add(t.Context(), ann, voiceprint.Embedding{1, 1}, entry); !errors.Is(err, watchlist.ErrInvalid) {
		t.Errorf("no unit vector: %v", err)
	}
}

func TestHits(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), open(t, url)
		watch, err := w.Add(ctx, ann, embedding(1), entry)
		if err != nil {
			t.Fatal(err)
		}
		hit := func(call string, llr float64, want bool) {
			t.Helper()
			if added, err := w.Hit(ctx, ann, watchlist.Hit{Watch: watch, Call: call, Leg: "b", LLR: llr}); added != want || err != nil {
				t.Errorf("hit in %s: %v, %v", call, added, err)
			}
		}
		hit("c1", 8, true)
		hit("c1", 9.5, false)
		hit("c1", 3, false)
		w.now = w.now.Add(time.Minute)
		hit("c2", 7, true)
		for _, h := range []watchlist.Hit{{Watch: watch, LLR: 1}, {Watch: watch, Call: "c", LLR: math.NaN()}} {
			if _, err = w.Hit(ctx, ann, h); !errors.Is(err, watchlist.ErrInvalid) {
				t.Errorf("%+v: %v", h, err)
			}
		}
		if added, err := w.Hit(ctx, ann, watchlist.Hit{Watch: "none", Call: "c3", LLR: 9}); added || err != nil {
			t.Errorf("of no entry: %v, %v", added, err)
		}
		hits := func(f watchlist.HitFilter) []watchlist.Hit {
			t.Helper()
			out, err := w.Hits(ctx, f)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		all := hits(watchlist.HitFilter{})
		if len(all) != 2 || all[0].Call != "c2" || all[1].LLR != 9.5 || all[1].State != watchlist.Open || !all[1].At.Equal(begin) {
			t.Fatalf("hits %+v", all)
		}
		// Of several who judge one does.
		errs := make([]error, 4)
		var wait sync.WaitGroup
		for i := range errs {
			wait.Go(func() {
				errs[i] = w.Judge(ctx, trail.Actor{Name: fmt.Sprint("account:", i)}, all[1].ID, watchlist.Dismissed)
			})
		}
		wait.Wait()
		won := -1
		for i, err := range errs {
			switch {
			case err == nil && won < 0:
				won = i
			case !errors.Is(err, watchlist.ErrConflict):
				t.Errorf("judge %d: %v", i, err)
			}
		}
		hit("c1", 20, false)
		if got := hits(watchlist.HitFilter{State: watchlist.Dismissed}); len(got) != 1 || got[0].By != fmt.Sprint("account:", won) || got[0].LLR != 9.5 || !got[0].Decided.Equal(w.now) {
			t.Errorf("judged: %+v", got)
		}
		if err = w.Judge(ctx, ann, "none", watchlist.Confirmed); !errors.Is(err, watchlist.ErrUnknown) {
			t.Errorf("no hit: %v", err)
		}
		if err = w.Judge(ctx, ann, all[0].ID, watchlist.Open); !errors.Is(err, watchlist.ErrInvalid) {
			t.Errorf("judged open: %v", err)
		}
		if err = w.Judge(ctx, ann, all[0].ID, watchlist.Confirmed); err != nil {
			t.Error(err)
		}
		for name, c := range map[string]struct {
			f    watchlist.HitFilter
			want int
		}{
			"open": {watchlist.HitFilter{State: watchlist.Open}, 0}, "entry": {watchlist.HitFilter{Watch: watch}, 2}, "call": {watchlist.HitFilter{Call: "c2"}, 1},
			"before": {watchlist.HitFilter{Before: w.now}, 1}, "some": {watchlist.HitFilter{Limit: 1}, 1},
		} {
			if got := hits(c.f); len(got) != c.want {
				t.Errorf("%s: %+v", name, got)
			}
		}
		if _, n, err := w.Expire(ctx, ann, w.now, w.now); n != 1 || err != nil {
			t.Errorf("expired %d hits, %v", n, err)
		}
	})
}

// While keys change, some voices are turned by the old one.
func TestVoicesOfTwoGenerations(t *testing.T) {
	ctx, w := t.Context(), open(t, storetest.SQLite(t))
	want := map[string]float64{}
	probe := embedding(2)
	for i := range 3 {
		if i == 1 {
			if _, err := w.vault.NewGeneration(ctx); err != nil {
				t.Fatal(err)
			}
			if _, err := w.vault.Advance(ctx); err != nil {
				t.Fatal(err)
			}
		}
		id, err := w.Add(ctx, ann, embedding(uint64(i)), entry)
		if err != nil {
			t.Fatal(err)
		}
		want[id] = voiceprint.Cosine(probe, embedding(uint64(i)))
	}
	check := func() {
		t.Helper()
		got := cosines(t, w.voices(t, model), probe)
		if len(got) != 3 {
			t.Fatalf("voices %v", got)
		}
		for id, c := range got {
			if math.Abs(c-want[id]) > 1e-5 {
				t.Errorf("entry %s: cosine %v, want %v", id, c, want[id])
			}
		}
	}
	check()
	if n, err := w.vault.Rekey(ctx, []vault.Table{watchlist.Table()}, func(int, int) {}); n != 1 || err != nil {
		t.Errorf("sealed again: %d, %v", n, err)
	}
	check()
}

// Reading the list takes a seal's opening for each voice.
func BenchmarkVoices(b *testing.B) {
	w := open(b, storetest.SQLite(b))
	const n = 200
	for i := range n {
		if _, err := w.Add(b.Context(), ann, embedding(uint64(i)), entry); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		w.voices(b, model)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/n, "µs/voice")
}
