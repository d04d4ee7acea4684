package store_test

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"sidetone/internal/store/storetest"
	"sidetone/voiceprint"
	"sidetone/voiceprint/store"
)

// same says whether a template is that voice.
func same(e voiceprint.Embedding, voice uint64) bool {
	return voiceprint.Cosine(e, embedding(voice)) > 0.9999
}

func TestEnrolment(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), open(t, url)
		w.consent(caller)
		if _, err := w.Templates(ctx, ann, caller, model); !errors.Is(err, store.ErrNotEnrolled) {
			t.Errorf("nobody enrolled: %v", err)
		}
		if _, err := w.Activate(ctx, ann, caller); !errors.Is(err, store.ErrNotEnrolled) {
			t.Errorf("nobody to activate: %v", err)
		}
		ids, err := w.Enrol(ctx, ann, caller, store.Enrolment{Voices: []store.Voice{spoken(1, "phone"), spoken(2, "headset")}, Provisional: true})
		if err != nil || len(ids) != 2 {
			t.Fatal(ids, err)
		}
		if _, err = w.Templates(ctx, ann, caller, model); !errors.Is(err, store.ErrNotEnrolled) {
			t.Errorf("provisional: %v", err)
		}
		if got, err := w.Provisional(ctx, ann, caller, model); err != nil || len(got) != 2 {
			t.Errorf("provisional: %v, %v", got, err)
		}
		if n, err := w.Activate(ctx, ann, caller); n != 2 || err != nil {
			t.Errorf("activated %d, %v", n, err)
		}
		// Another node reads it, under another spelling of the space around it.
		got, err := w.node().Templates(ctx, ann, " "+caller, model)
		if err != nil || len(got) != 2 {
			t.Fatal(got, err)
		}
		phone := got[0]
		if phone.Line != "phone" {
			phone = got[1]
		}
		q := phone.Quality
		if phone.ID != ids[0] || !same(phone.Embedding, 1) || !phone.Made.Equal(begin) || phone.Source != "call of the kingfisher" || phone.Model != model ||
			q.Net != 20*time.Second || q.SNR != 21 || !math.IsNaN(q.Reverberation) {
			t.Errorf("read %+v", phone)
		}
		if _, err = w.Templates(ctx, ann, caller, "network/2"); !errors.Is(err, voiceprint.ErrModel) {
			t.Errorf("another model: %v", err)
		}
		if s := w.stats(); s.Enrolled != 1 || s.Templates[model] != 2 || s.Audio != 2 || s.Versions != 2 || s.Provisional != 0 || s.Stale != 0 {
			t.Errorf("stats %+v", s)
		}
		// One line anew: the other stays.
		version := w.history(caller).Version
		if _, err = w.Enrol(ctx, ann, caller, store.Enrolment{Voices: []store.Voice{spoken(3, "phone")}, Replace: true, Version: version}); err != nil {
			t.Fatal(err)
		}
		if _, err = w.Enrol(ctx, ann, caller, store.Enrolment{Voices: []store.Voice{spoken(3, "phone")}, Replace: true, Version: version}); !errors.Is(err, store.ErrConflict) {
			t.Errorf("decided on what is no longer so: %v", err)
		}
		h := w.history(caller)
		if h.Active != 2 || len(h.Templates) != 2 || h.Templates[0].ID == ids[0] || h.Templates[1].ID == ids[0] || w.stats().Audio != 2 {
			t.Errorf("replaced: %+v", h)
		}
		if err = w.Revoke(ctx, ann, caller, ids[1]); err != nil {
			t.Fatal(err)
		}
		if h = w.history(caller); len(h.Templates) != 1 || h.Templates[0].Line != "phone" || !h.Templates[0].Audio || w.stats().Audio != 1 {
			t.Errorf("revoked: %+v", h)
		}
		w.consent("+1 2")
		if err = w.Revoke(ctx, ann, "+1 2", h.Templates[0].ID); !errors.Is(err, store.ErrUnknown) {
			t.Errorf("another's template revoked: %v", err)
		}
	})
}

func TestWhatCannotBeEnrolled(t *testing.T) {
	w := open(t, storetest.SQLite(t))
	w.consent(caller)
	for name, change := range map[string]func(*store.Voice){
		"no unit":    func(v *store.Voice) { v.Template.Embedding[0] += 0.5 },
		"no number":  func(v *store.Voice) { v.Template.Embedding[0] = float32(math.NaN()) },
		"nothing":    func(v *store.Voice) { v.Template.Embedding = nil },
		"no model":   func(v *store.Voice) { v.Template.Model = "" },
		"long audio": func(v *store.Voice) { v.Audio = make([]float32, 121*voiceprint.Rate) },
		"bad audio":  func(v *store.Voice) { v.Audio[5] = float32(math.NaN()) },
	} {
		v := spoken(1, "phone")
		change(&v)
		if _, err := w.Enrol(t.Context(), ann, caller, store.Enrolment{Voices: []store.Voice{v}}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	many := make([]store.Voice, 9)
	for i := range many {
		many[i] = store.Voice{Template: spoken(1, "phone").Template}
	}
	w.enrol(caller, many...)
	for _, voices := range [][]store.Voice{nil, many} {
		if _, err := w.Enrol(t.Context(), ann, caller, store.Enrolment{Voices: voices}); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%d more: %v", len(voices), err)
		}
	}
}

func TestAdaptAndRollback(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), open(t, url)
		w.consent(caller)
		first := w.enrol(caller, spoken(1, "phone"))[0]
		versions := []string{first}
		for i := range 4 {
			id, err := w.Adapt(ctx, ann, caller, versions[i], spoken(uint64(i+2), "").Template)
			if err != nil {
				t.Fatal(err)
			}
			versions = append(versions, id)
		}
		// The first and the two newest are there.
		h := w.history(caller)
		var kept []string
		for _, v := range h.Templates {
			kept = append(kept, fmt.Sprintf("%d %v %s %v", v.Version, v.Live, v.Line, v.Origin == first))
		}
		if fmt.Sprint(kept) != "[1 false phone true 4 false phone true 5 true phone true]" {
			t.Errorf("kept %v", kept)
		}
		got, err := w.Templates(ctx, ann, caller, model)
		if err != nil || len(got) != 1 || !same(got[0].Embedding, 5) || got[0].ID != versions[4] {
			t.Fatalf("adapted: %v, %v", got, err)
		}
		if _, err = w.Adapt(ctx, ann, caller, versions[3], spoken(9, "").Template); !errors.Is(err, store.ErrConflict) {
			t.Errorf("an old one adapted: %v", err)
		}
		other := spoken(9, "").Template
		other.Model = "network/2"
		if _, err = w.Adapt(ctx, ann, caller, versions[4], other); !errors.Is(err, voiceprint.ErrModel) {
			t.Errorf("adapted to another model: %v", err)
		}
		if err = w.Rollback(ctx, ann, caller, versions[4]); !errors.Is(err, store.ErrConflict) {
			t.Errorf("rolled back to what is: %v", err)
		}
		if err = w.Rollback(ctx, ann, caller, versions[1]); !errors.Is(err, store.ErrUnknown) {
			t.Errorf("rolled back to what is gone: %v", err)
		}
		if err = w.Rollback(ctx, ann, caller, first); err != nil {
			t.Fatal(err)
		}
		if got, err = w.Templates(ctx, ann, caller, model); err != nil || len(got) != 1 || !same(got[0].Embedding, 1) || got[0].ID != first {
			t.Errorf("rolled back: %v, %v", got, err)
		}
		if s := w.stats(); s.Versions != 1 || s.Audio != 1 {
			t.Errorf("rolled back: %+v", s)
		}
	})
}

// Of several nodes that adapt one template one does.
func TestNoLostAdaptation(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), open(t, url)
		w.consent(caller)
		id := w.enrol(caller, spoken(1, "phone"))[0]
		const nodes = 6
		errs := make([]error, nodes)
		var wait sync.WaitGroup
		for i := range nodes {
			n := w.node()
			wait.Go(func() { _, errs[i] = n.Adapt(ctx, ann, caller, id, spoken(uint64(i+2), "").Template) })
		}
		wait.Wait()
		won := 0
		for _, err := range errs {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, store.ErrConflict):
				t.Error(err)
			}
		}
		if h := w.history(caller); won != 1 || h.Active != 1 || len(h.Templates) != 2 || h.Version != 3 {
			t.Errorf("%d adapted it, %+v", won, h)
		}
	})
}

// mills embeds audio as the voice whose tone it is.
type mills struct{ id string }

func (m mills) Model() voiceprint.Model { return voiceprint.Model{ID: m.id, Dim: 192} }

func (m mills) Embed(x []float32) (voiceprint.Embedding, error) {
	for voice := range uint64(50) {
		if want := tone(voice, time.Second); len(x) > len(want) && math.Abs(float64(x[100]-want[100])) < 1e-4 && math.Abs(float64(x[777]-want[777])) < 1e-4 {
			return embedding(1000 + voice), nil
		}
	}
	return nil, voiceprint.ErrTooShort
}

func TestReembed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), open(t, url)
		for _, s := range []string{"one", "two", "three", "four"} {
			w.consent(s)
		}
		w.enrol("one", spoken(1, "phone"), spoken(2, "headset"))
		silent := spoken(3, "phone")
		silent.Audio = nil
		w.enrol("two", silent)
		w.enrol("three", spoken(4, "phone"))
		if err := w.OptOut(ctx, ann, "three", store.Consent{}); err != nil {
			t.Fatal(err)
		}
		short := spoken(5, "phone")
		short.Audio = short.Audio[:100]
		w.enrol("four", short)
		next := mills{"network/2"}
		got, err := w.Reembed(ctx, ann, next, nil)
		if err != nil || got.Made != 2 || len(got.Again) != 2 || got.Again[0] == got.Again[1] {
			t.Fatalf("re-embedded %+v, %v", got, err)
		}
		for _, s := range got.Again {
			if s != "two" && s != "four" {
				t.Errorf("again: %s", s)
			}
		}
		voices, err := w.Templates(ctx, ann, "one", next.id)
		if err != nil || len(voices) != 2 {
			t.Fatal(voices, err)
		}
		for _, v := range voices {
			if want := map[string]uint64{"phone": 1001, "headset": 1002}[v.Line]; !same(v.Embedding, want) || v.Source != "call of the kingfisher" || v.Quality.SNR != 21 {
				t.Errorf("re-embedded %+v", v)
			}
		}
		// The other model's are there until they are dropped; nothing is done twice.
		if old, err := w.Templates(ctx, ann, "one", model); err != nil || len(old) != 2 {
			t.Errorf("old: %v, %v", old, err)
		}
		if got, err = w.Reembed(ctx, ann, next, nil); err != nil || got.Made != 0 || len(got.Again) != 2 {
			t.Errorf("again: %+v, %v", got, err)
		}
		if n, err := w.DropModels(ctx, ann, next.id); n != 4 || err != nil {
			t.Errorf("dropped %d, %v", n, err)
		}
		if _, err = w.Templates(ctx, ann, "two", next.id); !errors.Is(err, store.ErrNotEnrolled) {
			t.Errorf("dropped: %v", err)
		}
		if s := w.stats(); s.Audio != 2 || s.Versions != 2 {
			t.Errorf("dropped: %+v", s)
		}
		// From what was kept the next model can be made, too.
		if got, err = w.Reembed(ctx, ann, mills{"network/3"}, nil); err != nil || got.Made != 2 || len(got.Again) != 0 {
			t.Errorf("the next: %+v, %v", got, err)
		}
	})
}

func TestScan(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), open(t, url)
		const persons, each = 13, 16 // more than one step's
		name := func(i int) string { return fmt.Sprint("person ", i) }
		for i := range persons {
			w.consent(name(i))
			voices := make([]store.Voice, each)
			for k := range voices {
				voices[k] = store.Voice{Template: spoken(uint64(i*each+k), "phone").Template}
				if i == 3 {
					voices[k].Template.Model = "network/2"
				}
			}
			if _, err := w.Enrol(ctx, ann, name(i), store.Enrolment{Voices: voices, Provisional: i == 4}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.OptOut(ctx, ann, name(5), store.Consent{}); err != nil {
			t.Fatal(err)
		}
		found := map[int]int{}
		err := w.Scan(ctx, ann, model, func(person string, v voiceprint.Template) error {
			for i := range persons * each {
				if same(v.Embedding, uint64(i)) {
					if id, err := w.Pseudonym(name(i / each)); err != nil || id != person {
						t.Errorf("voice %d is %s, want %s, %v", i, person, id, err)
					}
					found[i]++
				}
			}
			return nil
		})
		if err != nil || len(found) != (persons-3)*each {
			t.Errorf("found %d, %v", len(found), err)
		}
		for i, n := range found {
			if n != 1 || i/each == 3 || i/each == 4 || i/each == 5 {
				t.Errorf("voice %d is found %d times", i, n)
			}
		}
		enough := errors.New("enough")
		if err = w.Scan(ctx, ann, model, func(string, voiceprint.Template) error { return enough }); !errors.Is(err, enough) {
			t.Errorf("ended with %v", err)
		}
	})
}

// However an opt-out and enrolments on several nodes fall together, no voice is
// left.
func TestOptOutAgainstEnrolment(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), open(t, url)
		w.consent(caller)
		var wait sync.WaitGroup
		for i := range 4 {
			n := w.node()
			wait.Go(func() {
				if i == 2 {
					if err := n.OptOut(ctx, ann, caller, store.Consent{}); err != nil {
						t.Error(err)
					}
					return
				}
				if _, err := n.Enrol(ctx, ann, caller, store.Enrolment{Voices: []store.Voice{spoken(1, "phone")}}); err != nil && !errors.Is(err, store.ErrOptedOut) {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if s := w.stats(); s.Versions+s.Audio != 0 || w.state(caller) != store.OptedOut {
			t.Errorf("left %+v", s)
		}
	})
}

// A call's beginning takes one reading of a person's templates, here two.
func BenchmarkTemplates(b *testing.B) {
	w := open(b, storetest.SQLite(b))
	w.consent(caller)
	w.enrol(caller, spoken(1, "phone"), spoken(2, "headset"))
	for b.Loop() {
		if _, err := w.Templates(b.Context(), ann, caller, model); err != nil {
			b.Fatal(err)
		}
	}
}
