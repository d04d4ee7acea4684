package store_test

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"sidetone/internal/store/storetest"
	"sidetone/voiceprint"
	"sidetone/voiceprint/enrol"
	"sidetone/voiceprint/store"
)

// collected is a passive enrolment that rests on calls.
func collected(phase enrol.Phase, calls ...string) enrol.State {
	s := enrol.State{Phase: phase, Model: model}
	for i, c := range calls {
		s.Calls = append(s.Calls, enrol.Candidate{
			Call: c, Line: "phone", At: begin.Add(time.Duration(i) * time.Hour), Embedding: embedding(uint64(40 + i)),
			Quality: enrol.Quality{Net: 15 * time.Second, SNR: 20, Reverberation: math.NaN()},
		})
	}
	return s
}

func (w *world) passive(subject string) (enrol.State, int64) {
	w.t.Helper()
	s, version, err := w.Passive(w.t.Context(), ann, subject)
	if err != nil {
		w.t.Fatal(err)
	}
	return s, version
}

func (w *world) save(subject string, l store.Learnt) string {
	w.t.Helper()
	_, l.Version = w.passive(subject)
	id, err := w.SavePassive(w.t.Context(), ann, subject, l)
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// What is remembered of calls comes back, one after the other, and goes with consent.
func TestPassive(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), open(t, url)
		if _, err := w.SavePassive(ctx, ann, caller, store.Learnt{State: collected(enrol.Collecting, "c1")}); !errors.Is(err, store.ErrNoConsent) {
			t.Errorf("without consent: %v", err)
		}
		if s, version := w.passive(caller); version != 0 || s.Phase != enrol.Empty {
			t.Errorf("of nobody: %+v, %d", s, version)
		}
		w.consent(caller)
		w.save(caller, store.Learnt{State: collected(enrol.Collecting, "c1")})
		got, version := w.passive(caller)
		want := collected(enrol.Collecting, "c1")
		if len(got.Calls) != 1 || voiceprint.Cosine(got.Calls[0].Embedding, want.Calls[0].Embedding) < 0.99999 || !math.IsNaN(got.Calls[0].Quality.Reverberation) {
			t.Fatalf("read %+v", got)
		}
		got.Calls[0].Embedding, want.Calls[0].Embedding = nil, nil
		got.Calls[0].Quality.Reverberation, want.Calls[0].Quality.Reverberation = 0, 0
		if got.Phase != want.Phase || got.Model != want.Model || !got.Calls[0].At.Equal(want.Calls[0].At) || got.Calls[0].Quality != want.Calls[0].Quality {
			t.Errorf("read %+v, want %+v", got, want)
		}
		if _, err := w.SavePassive(ctx, ann, caller, store.Learnt{State: want}); !errors.Is(err, store.ErrConflict) {
			t.Errorf("as if there were none: %v", err)
		}
		if _, err := w.SavePassive(ctx, ann, caller, store.Learnt{State: want, Version: version + 1}); !errors.Is(err, store.ErrConflict) {
			t.Errorf("of another version: %v", err)
		}
		if err := w.OptOut(ctx, ann, caller, store.Consent{}); err != nil {
			t.Fatal(err)
		}
		if s, v := w.passive(caller); v != 0 || len(s.Calls) != 0 {
			t.Errorf("after the opt-out: %+v", s)
		}
		if _, err := w.SavePassive(ctx, ann, caller, store.Learnt{State: collected(enrol.Collecting, "c1"), Version: version}); !errors.Is(err, store.ErrOptedOut) {
			t.Errorf("after the opt-out: %v", err)
		}
	})
}

// A provisional template is replaced by the next, goes with the calls it was made of,
// and is compared with once it is active.
func TestPassiveTemplates(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), open(t, url)
		w.consent(caller)
		kinds := func() (active, provisional []string) {
			t.Helper()
			for _, x := range w.history(caller).Templates {
				if x.Active {
					active = append(active, x.ID)
				} else {
					provisional = append(provisional, x.ID)
				}
			}
			return active, provisional
		}
		check := func(active, provisional []string) {
			t.Helper()
			if a, p := kinds(); !slices.Equal(a, active) || !slices.Equal(p, provisional) {
				t.Errorf("active %v and provisional %v, want %v and %v", a, p, active, provisional)
			}
		}
		of := func(voice uint64) *voiceprint.Template { v := spoken(voice, "phone").Template; return &v }
		first := w.save(caller, store.Learnt{State: collected(enrol.Provisional, "c1", "c2"), Template: of(1)})
		check(nil, []string{first})
		second := w.save(caller, store.Learnt{State: collected(enrol.Provisional, "c1", "c2", "c3"), Template: of(2)})
		check(nil, []string{second})
		w.save(caller, store.Learnt{State: collected(enrol.Provisional, "c1", "c2", "c3")})
		check(nil, []string{second})
		w.save(caller, store.Learnt{State: enrol.State{Conflicts: 1}})
		check(nil, nil)
		if s, _ := w.passive(caller); s.Conflicts != 1 {
			t.Errorf("conflicts are forgotten: %+v", s)
		}
		w.save(caller, store.Learnt{State: collected(enrol.Provisional, "c1", "c2"), Template: of(1)})
		last := w.save(caller, store.Learnt{State: enrol.State{Phase: enrol.Active}, Template: of(3), Active: true})
		check([]string{last}, nil)
		if got, err := w.Templates(ctx, ann, caller, model); err != nil || len(got) != 1 || !same(got[0].Embedding, 3) {
			t.Errorf("%v, %v", got, err)
		}
		if n := w.stats().Passive[enrol.Active]; n != 1 {
			t.Errorf("%d are counted", n)
		}
		for phase, want := range map[enrol.Phase]int{enrol.Active: 1, enrol.Stopped: 0} {
			if list, err := w.List(ctx, ann, store.Filter{Passive: phase}); err != nil || len(list) != want {
				t.Errorf("%s: %+v, %v", phase, list, err)
			}
		}
		// Beginning anew leaves what is compared with.
		if err := w.ResetPassive(ctx, ann, caller); err != nil {
			t.Fatal(err)
		}
		check([]string{last}, nil)
		if err := w.ResetPassive(ctx, ann, caller); !errors.Is(err, store.ErrUnknown) {
			t.Errorf("nothing to reset: %v", err)
		}
		w.save(caller, store.Learnt{State: collected(enrol.Provisional, "c4", "c5"), Template: of(4)})
		if err := w.ResetPassive(ctx, ann, caller); err != nil {
			t.Fatal(err)
		}
		check([]string{last}, nil)
		// Who is enrolled otherwise has no more need of calls.
		w.save(caller, store.Learnt{State: collected(enrol.Provisional, "c4", "c5"), Template: of(4)})
		other := w.enrol(caller, spoken(5, "headset"))
		if _, version := w.passive(caller); version != 0 {
			t.Error("calls still wait")
		}
		if a, p := kinds(); len(a) != 2 || !slices.Contains(a, other[0]) || len(p) != 0 {
			t.Errorf("active %v, provisional %v", a, p)
		}
	})
}

// Calls are forgotten when they are erased, and when they have waited too long.
func TestPassiveForgets(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), open(t, url)
		voice := spoken(1, "phone").Template
		for _, who := range []string{"a", "b"} {
			w.consent(who)
			w.save(who, store.Learnt{State: collected(enrol.Provisional, who+"-1", who+"-2"), Template: &voice})
		}
		if err := w.EraseCalls(ctx, ann, "a-", "%", "a-2", "b_1"); err != nil {
			t.Fatal(err)
		}
		if s, _ := w.passive("a"); len(s.Calls) != 0 || w.history("a").Provisional != 0 {
			t.Errorf("an erased call is remembered: %+v", s)
		}
		if s, _ := w.passive("b"); len(s.Calls) != 2 || w.history("b").Provisional != 1 {
			t.Errorf("another's are gone: %+v", s)
		}
		expire := func(s enrol.State) (enrol.State, bool) {
			s.Calls, s.Phase = s.Calls[1:], enrol.Collecting
			return s, true
		}
		for _, c := range []struct {
			before time.Time
			want   int
		}{{begin, 0}, {begin.Add(time.Minute), 1}, {begin.Add(time.Minute), 0}} {
			if n, err := w.ExpirePassive(ctx, ann, c.before, expire); n != c.want || err != nil {
				t.Errorf("before %v: %d, %v", c.before, n, err)
			}
		}
		if s, _ := w.passive("b"); len(s.Calls) != 1 || s.Calls[0].Call != "b-2" || w.history("b").Provisional != 0 {
			t.Errorf("expired: %+v", s)
		}
		gone, err := w.Expire(ctx, ann, begin.Add(48*time.Hour), store.Retention{Unused: 24 * time.Hour})
		if err != nil || gone.Learnt != 1 {
			t.Errorf("unused: %+v, %v", gone, err)
		}
		if _, version := w.passive("b"); version != 0 {
			t.Error("it is still remembered")
		}
	})
}

// A template follows its person, keeps its versions, and is forgotten with them.
func TestFollowed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), open(t, url)
		w.consent(caller)
		first := w.enrol(caller, spoken(1, "phone"))[0]
		if v, version, err := w.Followed(ctx, ann, caller, first); err != nil || version != 0 || v.Original != nil {
			t.Errorf("not yet: %+v, %d, %v", v, version, err)
		}
		v := enrol.NewVoice(spoken(1, "phone").Template)
		v.Likeness = []enrol.Likeness{{At: begin, Cosine: 0.75}}
		if _, err := w.SaveFollowed(ctx, ann, caller, first, v, 0, nil); err != nil {
			t.Fatal(err)
		}
		got, version, err := w.Followed(ctx, ann, caller, first)
		if err != nil || !same(got.Current, 1) || got.Before != nil || !reflect.DeepEqual(got.Likeness, v.Likeness) {
			t.Fatalf("%+v, %v", got, err)
		}
		got.Before, got.Current, got.Changes = got.Current, embedding(2), 1
		next := spoken(2, "elsewhere").Template
		if _, err = w.SaveFollowed(ctx, ann, caller, first, got, version+1, &next); !errors.Is(err, store.ErrConflict) {
			t.Errorf("of another version: %v", err)
		}
		second, err := w.SaveFollowed(ctx, ann, caller, first, got, version, &next)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = w.SaveFollowed(ctx, ann, caller, first, got, version, nil); !errors.Is(err, store.ErrConflict) {
			t.Errorf("of an older template: %v", err)
		}
		got, _, err = w.Followed(ctx, ann, caller, second)
		if err != nil || !same(got.Before, 1) || !same(got.Current, 2) || !same(got.Original, 1) {
			t.Errorf("%+v, %v", got, err)
		}
		all, err := w.Templates(ctx, ann, caller, model)
		if err != nil || len(all) != 1 || all[0].ID != second || all[0].Line != "phone" {
			t.Errorf("%+v, %v", all, err)
		}
		if err = w.Rollback(ctx, ann, caller, first); err != nil {
			t.Fatal(err)
		}
		if err = w.Revoke(ctx, ann, caller, first); err != nil {
			t.Fatal(err)
		}
		if _, _, err = w.Followed(ctx, ann, caller, first); !errors.Is(err, store.ErrUnknown) {
			t.Errorf("revoked: %v", err)
		}
		if gone, err := w.Erase(ctx, ann, caller, false); err != nil || gone.Learnt != 0 {
			t.Errorf("what was revoked was still followed: %+v, %v", gone, err)
		}
	})
}

// What is remembered is sealed anew with the rest, and stays what it was.
func TestRekeyRemembered(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), open(t, url)
		w.consent(caller)
		w.save(caller, store.Learnt{State: collected(enrol.Collecting, "c1", "c2")})
		all := []byte(content(t, w.db))
		for _, n := range needles(embedding(40)) {
			if bytes.Contains(all, n) {
				t.Error("a voice lies in clear")
			}
		}
		if _, err := w.keys.Rotate(begin.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.NewTransformKey(ctx, ann); err != nil {
			t.Fatal(err)
		}
		if n, err := w.Rekey(ctx, ann, nil); n != 2 || err != nil {
			t.Errorf("%d rows, %v", n, err)
		}
		if s, _ := w.passive(caller); len(s.Calls) != 2 || voiceprint.Cosine(s.Calls[1].Embedding, embedding(41)) < 0.99999 {
			t.Errorf("read %+v", s)
		}
		if _, err := w.DropModels(ctx, ann, "network/2"); err != nil {
			t.Fatal(err)
		}
		if _, version := w.passive(caller); version != 0 {
			t.Error("calls of another model are remembered")
		}
	})
}
