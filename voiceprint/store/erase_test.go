package store_test

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	dbstore "sidetone/internal/store"
	"sidetone/internal/store/storetest"
	"sidetone/voiceprint"
	"sidetone/voiceprint/store"
	"sidetone/voiceprint/store/ledger"
	"sidetone/voiceprint/store/watchlist"
)

func comparison(call string) store.Comparison {
	return store.Comparison{
		Call: call, Leg: "b", At: begin, Took: 4200 * time.Millisecond, Templates: []string{"t1", "t2"},
		Decision: voiceprint.Decision{
			Outcome: voiceprint.Mismatch, Reasons: []voiceprint.Reason{voiceprint.OtherChannel}, LLR: -9.25, Accept: 7.6, Reject: -6.9, FAR: 0.0005,
			Net: 3500 * time.Millisecond, At: 80000, Scores: 6, Final: true,
			Quality: voiceprint.Quality{Net: 3 * time.Second, SNR: 14, Level: -26, Clipped: 0.01, Edge: 3400, Reverberation: math.Inf(1), Music: 0.1, Unlike: 0.2},
			Info:    voiceprint.Info{Model: voiceprint.Model{ID: model, Dim: 192}, Calibration: "7", Trained: "on 88 speakers"},
		},
		Signs: []store.Sign{{Name: "replay", Strength: 3.5, Probability: 0.95, Evidence: "3.5 s were heard before"}},
		Looks: []store.Look{{Net: time.Second, LLR: -1.5, Accept: 6}, {Net: 3500 * time.Millisecond, LLR: -9.25}},
	}
}

func TestComparisons(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), open(t, url)
		if _, err := w.Record(ctx, ann, caller, comparison("c1")); !errors.Is(err, store.ErrNoConsent) {
			t.Errorf("of somebody unknown: %v", err)
		}
		w.consent(caller)
		bad := comparison("c1")
		bad.Decision.LLR = math.NaN()
		if _, err := w.Record(ctx, ann, caller, bad); !errors.Is(err, ledger.ErrInvalid) {
			t.Errorf("no number: %v", err)
		}
		var ids []string
		for i := range 3 {
			c := comparison(fmt.Sprint("c", i))
			c.At = begin.Add(time.Duration(i) * time.Minute)
			if i == 2 {
				c.Decision.Outcome = voiceprint.Match
			}
			id, err := w.Record(ctx, ann, caller, c)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		list := func(subject string, f ledger.Filter) []store.Comparison {
			t.Helper()
			out, err := w.Comparisons(ctx, ann, subject, f)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		got := list(caller, ledger.Filter{Call: "c0"})
		want := comparison("c0")
		want.ID = ids[0]
		if len(got) != 1 || !math.IsNaN(got[0].Decision.Quality.Reverberation) {
			t.Fatalf("got %+v", got)
		}
		// What was not measured reads as no number, whatever it was.
		want.Person, want.Decision.Quality.Reverberation, got[0].Decision.Quality.Reverberation = got[0].Person, 0, 0
		if !reflect.DeepEqual(got[0], want) {
			t.Errorf("got\n%+v, want\n%+v", got[0], want)
		}
		for name, c := range map[string]struct {
			subject string
			f       ledger.Filter
			want    []int
		}{
			"all":     {"", ledger.Filter{}, []int{2, 1, 0}},
			"his":     {caller, ledger.Filter{}, []int{2, 1, 0}},
			"another": {"x", ledger.Filter{}, nil},
			"match":   {"", ledger.Filter{Outcome: "match"}, []int{2}},
			"time":    {"", ledger.Filter{From: begin.Add(time.Minute), To: begin.Add(2 * time.Minute)}, []int{1}},
			"page":    {"", ledger.Filter{Limit: 1, Before: ids[1]}, []int{0}},
		} {
			var found []string
			for _, o := range list(c.subject, c.f) {
				found = append(found, o.ID)
			}
			var wanted []string
			for _, i := range c.want {
				wanted = append(wanted, ids[i])
			}
			if !slices.Equal(found, wanted) {
				t.Errorf("%s: %v, want %v", name, found, wanted)
			}
		}
		if err := w.EraseCalls(ctx, ann, "c0", "c9"); err != nil || len(list("", ledger.Filter{})) != 2 {
			t.Errorf("a call erased: %v", err)
		}
		if err := w.OptOut(ctx, ann, caller, store.Consent{}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Record(ctx, ann, caller, comparison("c1")); !errors.Is(err, store.ErrOptedOut) {
			t.Errorf("after the opt-out: %v", err)
		}
	})
}

// content is all rows of all tables, as text.
func content(t testing.TB, db *dbstore.DB) string {
	t.Helper()
	query := `SELECT name FROM sqlite_master WHERE type = 'table'`
	if db.Postgres() {
		query = `SELECT tablename FROM pg_tables WHERE schemaname = 'public'`
	}
	var names []string
	each(t, db, query, func(values []any) { names = append(names, fmt.Sprint(values[0])) })
	var b strings.Builder
	for _, name := range names {
		each(t, db, `SELECT * FROM `+name, func(values []any) { fmt.Fprintln(&b, name, values) })
	}
	return b.String()
}

func each(t testing.TB, db *dbstore.DB, query string, do func([]any)) {
	t.Helper()
	rows, err := db.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	if err = dbstore.Rows(rows, func(rows *sql.Rows) error {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		err := rows.Scan(into...)
		do(values)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// files are the bytes of SQLite's files.
func files(t testing.TB, path string) []byte {
	t.Helper()
	var out []byte
	for _, f := range []string{path, path + "-wal"} {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b...)
	}
	return out
}

// needles are ways to write four numbers of a vector.
func needles(e []float32) [][]byte {
	var little, big []byte
	for _, f := range e[40:44] {
		little = binary.LittleEndian.AppendUint32(little, math.Float32bits(f))
		big = binary.BigEndian.AppendUint32(big, math.Float32bits(f))
	}
	return [][]byte{little, big, []byte(hex.EncodeToString(little)), []byte(hex.EncodeToString(big)), []byte(fmt.Sprintf("%.5f", e[40])), []byte(fmt.Sprint(e[40]))}
}

// Neither who a person is nor any voice lies in the database.
func TestNothingLiesInClear(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), open(t, url)
		w.consent(caller)
		w.enrol(caller, spoken(1, "phone"))
		if err := w.AddPrint(ctx, ann, caller, inCall("c1", begin, 1)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Record(ctx, ann, caller, comparison("c1")); err != nil {
			t.Fatal(err)
		}
		entry := watchlist.Entry{Model: model, Reason: "the heist of March", Basis: "file 7", Review: begin.Add(time.Hour), Expires: begin.Add(time.Hour)}
		if _, err := w.Watch().Add(ctx, ann, embedding(2), entry); err != nil {
			t.Fatal(err)
		}
		w.diary.refuse = true // so that what goes to the log lies here, too
		if err := w.OptOut(ctx, ann, "+43 1 555", store.Consent{}); err != nil {
			t.Fatal(err)
		}
		all := []byte(content(t, w.db))
		if !w.db.Postgres() {
			all = append(all, files(t, url)...)
		}
		if !bytes.Contains(all, []byte("voice.consent")) || !bytes.Contains(all, []byte(model)) {
			t.Fatal("the test sees nothing")
		}
		secrets := [][]byte{[]byte(caller), []byte("1234567"), []byte("+43 1 555"), []byte("kingfisher"), []byte("heist"), []byte("file 7"),
			[]byte(hex.EncodeToString([]byte(caller)))}
		print := heard(1).AppendBinary(nil)[40:56]
		secrets = append(secrets, print, []byte(hex.EncodeToString(print)))
		secrets = append(append(secrets, needles(embedding(1))...), needles(embedding(2))...)
		key, err := os.ReadFile(w.dir + "/voice.key")
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Fields(string(key)) {
			if len(line) == 64 {
				secrets = append(secrets, []byte(line))
			}
		}
		if len(secrets) != 7+2+12+2 {
			t.Fatalf("%d secrets", len(secrets))
		}
		for _, s := range secrets {
			if bytes.Contains(all, s) {
				t.Errorf("%q lies there in clear", s)
			}
		}
	})
}

// All that is sealed of a person leaves the database, and SQLite's files.
func TestErase(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), open(t, url)
		id := map[string]string{}
		for i, s := range []string{caller, "stays"} {
			w.consent(s)
			w.enrol(s, spoken(uint64(i), "phone"))
			if _, err := w.Record(ctx, ann, s, comparison("call-of-"+s)); err != nil {
				t.Fatal(err)
			}
			if err := w.AddPrint(ctx, ann, s, inCall("call-of-"+s, begin, uint64(i))); err != nil {
				t.Fatal(err)
			}
			id[s] = w.history(s).ID
			entry := watchlist.Entry{Person: id[s], Model: model, Reason: "r", Basis: "b", Review: begin.Add(time.Hour), Expires: begin.Add(time.Hour)}
			watch, err := w.Watch().Add(ctx, ann, embedding(uint64(i)), entry)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = w.Watch().Hit(ctx, ann, watchlist.Hit{Watch: watch, Call: "hit-of-" + s, LLR: 9}); err != nil {
				t.Fatal(err)
			}
		}
		// What is sealed of each, by a stretch from the middle.
		parts := func(person string) (out []string) {
			for _, q := range []string{`SELECT subject FROM voice_persons WHERE id = '`, `SELECT payload FROM voice_templates WHERE person = '`,
				`SELECT payload FROM voice_audio WHERE person = '`, `SELECT payload FROM voice_watch WHERE person = '`,
				`SELECT payload FROM voice_prints WHERE person = '`} {
				each(t, w.db, q+person+`'`, func(v []any) { s := fmt.Sprint(v[0]); out = append(out, s[len(s)/2:len(s)/2+40]) })
			}
			return append(out, "v3") // of the consent
		}
		gone, stay := parts(id[caller]), parts(id["stays"])
		if len(gone) != 6 || len(stay) != 6 {
			t.Fatal(gone, stay)
		}
		gone = append(gone[:5], "call-of-"+caller, "hit-of-"+caller)
		got, err := w.Erase(ctx, ann, caller, true)
		if want := (store.Erased{Templates: 1, Audio: 1, Prints: 1, Comparisons: 1, Watch: 1, Persons: 1}); err != nil || got != want {
			t.Errorf("erased %+v, want %+v, %v", got, want, err)
		}
		all := content(t, w.db)
		for _, s := range gone {
			if strings.Contains(all, s) {
				t.Errorf("%s is still there", s)
			}
		}
		for _, s := range append(stay, "call-of-stays", "hit-of-stays") {
			if !strings.Contains(all, s) {
				t.Errorf("%s is gone, too", s)
			}
		}
		if !w.db.Postgres() {
			raw := files(t, url)
			for _, s := range gone {
				if bytes.Contains(raw, []byte(s)) {
					t.Errorf("the file still holds %s", s)
				}
			}
			if !bytes.Contains(raw, []byte(stay[0])) {
				t.Error("the file does not hold what stays: the test sees nothing")
			}
		}
		h := w.history(caller)
		if h.Subject != "" || h.State != store.Unknown || !h.Erased.Equal(begin) || len(h.Consents) != 1 || h.Consents[0] != (store.Consent{At: begin, State: "erased", By: ann.Name}) {
			t.Errorf("what stays: %+v", h)
		}
		if _, err = w.Templates(ctx, ann, caller, model); !errors.Is(err, store.ErrNoConsent) {
			t.Errorf("erased: %v", err)
		}
		if got, err = w.Erase(ctx, ann, "nobody", false); got != (store.Erased{}) || err != nil {
			t.Errorf("nobody erased: %+v, %v", got, err)
		}
		if _, err = w.Person(ctx, ann, "nobody"); !errors.Is(err, store.ErrUnknown) {
			t.Errorf("nobody: %v", err)
		}
		// An opt-out outlives the erasure, and a consent ends it.
		if err = w.OptOut(ctx, ann, "stays", store.Consent{Channel: "call-of-stays"}); err != nil {
			t.Fatal(err)
		}
		if _, err = w.Erase(ctx, ann, "stays", false); err != nil || w.state("stays") != store.OptedOut {
			t.Errorf("state %s, %v", w.state("stays"), err)
		}
		if strings.Contains(content(t, w.db), "call-of-stays") || w.stats().Watch.Voices != 1 {
			t.Error("the opt-out's channel stays, or the watch list's entry is gone that was not asked for")
		}
		w.consent("stays")
		if h = w.history("stays"); h.Subject != "stays" || h.State != store.Consented {
			t.Errorf("back again: %+v", h)
		}
	})
}

func TestExpire(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), open(t, url)
		const day = 24 * time.Hour
		expire := func(r store.Retention, want store.Lapsed) {
			t.Helper()
			got, err := w.Expire(ctx, ann, w.now(), r)
			if err != nil || got != want {
				t.Errorf("after %v, %+v: %+v, want %+v, %v", w.now().Sub(begin), r, got, want, err)
			}
		}
		for _, s := range []string{"unused", "used", "lapses"} {
			c := said
			if s == "lapses" {
				c.Expires = begin.Add(30 * day)
			}
			if err := w.Consent(ctx, ann, s, c); err != nil {
				t.Fatal(err)
			}
			w.enrol(s, spoken(1, "phone"))
		}
		entry := watchlist.Entry{Model: model, Reason: "r", Basis: "b", Review: begin.Add(day), Expires: begin.Add(20 * day)}
		watch, err := w.Watch().Add(ctx, ann, embedding(2), entry)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = w.Watch().Hit(ctx, ann, watchlist.Hit{Watch: watch, Call: "c", LLR: 9}); err != nil {
			t.Fatal(err)
		}
		w.pass(10 * day)
		c := comparison("c1")
		c.At = w.now()
		if _, err = w.Record(ctx, ann, "used", c); err != nil {
			t.Fatal(err)
		}
		expire(store.Retention{}, store.Lapsed{})
		expire(store.Retention{Unused: 10 * day, Audio: 10 * day, Comparisons: day, Hits: 10 * day}, store.Lapsed{})
		w.pass(time.Hour)
		expire(store.Retention{Audio: 10 * day}, store.Lapsed{Erased: store.Erased{Audio: 3}})
		expire(store.Retention{Hits: 10 * day}, store.Lapsed{Hits: 1})
		expire(store.Retention{Comparisons: time.Minute}, store.Lapsed{Erased: store.Erased{Comparisons: 1}})
		w.pass(10 * day)
		expire(store.Retention{}, store.Lapsed{Erased: store.Erased{Watch: 1}})
		w.pass(10 * day)
		expire(store.Retention{}, store.Lapsed{Erased: store.Erased{Templates: 1, Persons: 1}})
		// Who is asked again once it is over has not consented again.
		w.consent("asked")
		w.enrol("asked", store.Voice{Template: spoken(3, "phone").Template})
		c2 := said
		c2.Expires = w.now().Add(time.Hour)
		if err = w.Consent(ctx, ann, "asked", c2); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Hour)
		if err = w.Ask(ctx, ann, "asked", store.Consent{}); err != nil || w.state("asked") != store.Asked {
			t.Fatal(w.state("asked"), err)
		}
		expire(store.Retention{}, store.Lapsed{Erased: store.Erased{Templates: 1, Persons: 1}})
		expire(store.Retention{Unused: 25 * day}, store.Lapsed{Erased: store.Erased{Templates: 1, Persons: 1}})
		if s := w.stats(); s.Templates[model] != 1 || s.Persons[store.Expired] != 1 || s.Persons[store.Consented] != 2 || w.history("used").Active != 1 {
			t.Errorf("left: %+v", s)
		}
		list, err := w.List(ctx, ann, store.Filter{State: store.Expired})
		if err != nil || len(list) != 1 || list[0].Subject != "lapses" {
			t.Errorf("expired: %+v, %v", list, err)
		}
		if list, err = w.List(ctx, ann, store.Filter{Enrolled: true, State: store.Consented}); err != nil || len(list) != 1 || list[0].Subject != "used" || list[0].Active != 1 {
			t.Errorf("enrolled: %+v, %v", list, err)
		}
		var pages []string
		for after := ""; ; {
			if list, err = w.List(ctx, ann, store.Filter{Limit: 2, After: after}); err != nil || len(list) == 0 {
				break
			}
			for _, p := range list {
				pages = append(pages, p.Subject)
			}
			after = list[len(list)-1].ID
		}
		if slices.Sort(pages); err != nil || fmt.Sprint(pages) != "[asked lapses unused used]" {
			t.Errorf("pages of %v, %v", pages, err)
		}
	})
}

// A backup that is older than an erasure must not bring anybody back.
func TestTombstones(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), open(t, url)
		for i, s := range []string{"erased", "out", "both", "back", "stays"} {
			w.consent(s)
			w.enrol(s, spoken(uint64(i), "phone"))
		}
		// The database as the backup has it: it is told of what another one knows.
		before := map[string]string{}
		list, err := w.List(ctx, ann, store.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			before[p.Subject] = p.ID
		}
		later := begin.Add(time.Hour)
		w.pass(2 * time.Hour)
		w.consent("back")
		watched := make([]string, 2)
		for i := range watched {
			watched[i], err = w.Watch().Add(ctx, ann, spoken(uint64(20+i), "phone").Template.Embedding, watchlist.Entry{
				Model: model, Reason: "x", Basis: "y", Review: begin.AddDate(1, 0, 0), Expires: begin.AddDate(1, 0, 0),
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		stones := []store.Tombstone{{Watch: watched[0], Removed: later}, {Watch: "unheard", Removed: later}, {Person: before["erased"], Erased: later}, {Person: before["out"], OptedOut: later},
			{Person: before["both"], OptedOut: later, Erased: later.Add(time.Minute)}, {Person: before["back"], OptedOut: later, Erased: later}, {Person: "unheard", OptedOut: later}}
		if n, err := w.Bury(ctx, ann, stones); n != 4 || err != nil {
			t.Errorf("buried %d, %v", n, err)
		}
		for s, want := range map[string]store.State{"erased": store.Unknown, "out": store.OptedOut, "both": store.OptedOut, "back": store.Consented, "stays": store.Consented} {
			templates := 0
			if want == store.Consented {
				templates = 1
			}
			if h := w.history(s); h.State != want || len(h.Templates) != templates || h.Erased.IsZero() != (s != "erased" && s != "both") {
				t.Errorf("%s: %+v", s, h)
			}
		}
		if left, err := w.Watch().Entries(ctx, ann, "", 0, false); err != nil || len(left) != 1 || left[0].ID != watched[1] {
			t.Errorf("on the watch list: %+v, %v", left, err)
		}
		got, err := w.Tombstones(ctx)
		if err != nil || len(got) != 5 {
			t.Fatalf("tombstones %+v, %v", got, err)
		}
		for _, g := range got {
			if g.Watch != "" {
				// It went when it was buried.
				g.Removed = later
			}
			if !slices.Contains(stones, g) {
				t.Errorf("tombstone %+v", g)
			}
		}
		if n, err := w.Bury(ctx, ann, got); n != 0 || err != nil {
			t.Errorf("buried again: %d, %v", n, err)
		}
	})
}
