package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"sidetone/internal/store/storetest"
	"sidetone/voiceprint/spoof/fingerprint"
	"sidetone/voiceprint/store"
	"sidetone/voiceprint/store/ledger"
)

// heard is a print.
func heard(seed uint64) fingerprint.Print {
	r := rand.New(rand.NewPCG(seed, 3))
	p := make(fingerprint.Print, 200)
	for i := range p {
		p[i] = r.Uint32()
	}
	return p
}

func inCall(call string, at time.Time, seed uint64) store.Print {
	return store.Print{Source: fingerprint.Source{Call: call}, At: at, Print: heard(seed)}
}

func TestPrints(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), open(t, url)
		if err := w.AddPrint(ctx, ann, caller, inCall("c0", begin, 1)); !errors.Is(err, store.ErrNoConsent) {
			t.Errorf("of somebody who was not asked: %v", err)
		}
		if _, _, err := w.Prints(ctx, ann, caller, 9); !errors.Is(err, store.ErrNoConsent) {
			t.Errorf("read of somebody who was not asked: %v", err)
		}
		w.consent(caller)
		v := spoken(1, "phone")
		v.Prints = []fingerprint.Print{heard(10), heard(11)}
		ids := w.enrol(caller, v)
		for i := range 4 {
			if err := w.AddPrint(ctx, ann, caller, inCall(fmt.Sprint("c", i), begin.Add(time.Duration(i)*time.Hour), uint64(i))); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.AddPrint(ctx, ann, caller, store.Print{}); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("an empty one: %v", err)
		}
		if v := w.stats().Prints; v != 6 {
			t.Errorf("%d prints, want 6", v)
		}
		id, err := w.Pseudonym(caller)
		if err != nil {
			t.Fatal(err)
		}
		check := func(wantEnrolment []uint64, wantCalls ...string) {
			t.Helper()
			enrolment, said, perr := w.Prints(ctx, ann, caller, 2)
			if perr != nil {
				t.Fatal(perr)
			}
			if len(enrolment) != len(wantEnrolment) || len(said) != len(wantCalls) {
				t.Fatalf("%d of enrolments and %d of calls, want %d and %v", len(enrolment), len(said), len(wantEnrolment), wantCalls)
			}
			for _, seed := range wantEnrolment {
				if !slices.ContainsFunc(enrolment, func(p fingerprint.Print) bool { return slices.Equal(p, heard(seed)) }) {
					t.Errorf("enrolment %d is missing", seed)
				}
			}
			for i, call := range wantCalls {
				if said[i].Call != call || said[i].Person != id {
					t.Errorf("%d: %+v, want call %s", i, said[i].Source, call)
				}
			}
		}
		check([]uint64{10, 11}, "c2", "c3")
		if _, err = w.keys.Rotate(begin); err != nil {
			t.Fatal(err)
		}
		if n := w.stats().Stale; n != 9 {
			t.Errorf("%d rows are under an old key, want a person, a template, its speech and 6 prints", n)
		}
		if n, rerr := w.Rekey(ctx, ann, nil); n != 9 || rerr != nil {
			t.Errorf("%d rows sealed again, %v", n, rerr)
		}
		check([]uint64{10, 11}, "c2", "c3")
		if err = w.EraseCalls(ctx, ann, "c2"); err != nil {
			t.Fatal(err)
		}
		check([]uint64{10, 11}, "c1", "c3")
		var scanned []store.Print
		scan := func(p store.Print) bool {
			scanned = append(scanned, p)
			return len(scanned) < 2
		}
		if err = w.ScanPrints(ctx, ann, begin, scan); err != nil {
			t.Fatal(err)
		}
		if len(scanned) != 2 || scanned[0].Call != "c3" || scanned[1].Call != "c1" || !slices.Equal(scanned[1].Print, heard(1)) || !scanned[0].At.Equal(begin.Add(3*time.Hour)) {
			t.Errorf("scanned %v", scanned)
		}
		sources, err := w.PrintSources(ctx)
		if want := map[fingerprint.Source]bool{{Person: id, Call: "c0"}: true, {Person: id, Call: "c1"}: true, {Person: id, Call: "c3"}: true}; err != nil || !reflect.DeepEqual(sources, want) {
			t.Errorf("sources %v, %v", sources, err)
		}

		// Those of calls have their own date, those of the template its.
		gone, err := w.Expire(ctx, ann, begin.Add(26*time.Hour), store.Retention{Prints: 24 * time.Hour})
		if err != nil || gone.Prints != 2 {
			t.Errorf("expired %+v, %v", gone, err)
		}
		check([]uint64{10, 11}, "c3")
		if err = w.Revoke(ctx, ann, caller, ids[0]); err != nil {
			t.Fatal(err)
		}
		check(nil, "c3")
		w.enrol(caller, v)
		check([]uint64{10, 11}, "c3")
		if err = w.OptOut(ctx, ann, caller, store.Consent{}); err != nil {
			t.Fatal(err)
		}
		if n := w.stats().Prints; n != 0 {
			t.Errorf("after the opt-out there are %d prints", n)
		}
		if err = w.AddPrint(ctx, ann, caller, inCall("c9", begin, 1)); !errors.Is(err, store.ErrOptedOut) {
			t.Errorf("after the opt-out: %v", err)
		}
		w.consent(caller)
		w.enrol(caller, v)
		erased, err := w.Erase(ctx, ann, caller, false)
		if err != nil || erased.Prints != 2 || w.stats().Prints != 0 {
			t.Errorf("erased %+v, %v", erased, err)
		}
	})
}

// Who is alike and was enrolled all the same stands in the audit log; signs that show
// after a decision are kept with it.
func TestAlikeAndSigns(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), open(t, url)
		w.consent(caller)
		if _, err := w.Enrol(ctx, ann, caller, store.Enrolment{Voices: []store.Voice{spoken(1, "phone")}, Alike: []string{"p1", "p2"}}); err != nil {
			t.Fatal(err)
		}
		if last := w.diary.entries[len(w.diary.entries)-1]; last.Action != "voice.enrolled" || last.Detail["alike"] != "p1 p2" {
			t.Errorf("told %+v", last)
		}
		id, err := w.Record(ctx, ann, caller, comparison("c1"))
		if err != nil {
			t.Fatal(err)
		}
		signs := []store.Sign{{Name: "repeated_audio", Strength: 4.2, Probability: 0.999, Evidence: "heard before"}}
		if err = w.Amend(ctx, ann, id, signs); err != nil {
			t.Fatal(err)
		}
		list, err := w.Comparisons(ctx, ann, caller, ledger.Filter{})
		if err != nil || len(list) != 1 || !slices.Equal(list[0].Signs, signs) || list[0].Decision.LLR != comparison("").Decision.LLR {
			t.Errorf("kept %+v, %v", list, err)
		}
		if !slices.Contains(w.diary.actions(), "voice.signs") {
			t.Error("the audit log does not tell of it")
		}
		if err = w.Amend(ctx, ann, "none", signs); err != nil {
			t.Errorf("of one that was erased: %v", err)
		}
	})
}
