package records_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"sidetone/internal/journal"
	"sidetone/internal/records"
	"sidetone/internal/store"
	"sidetone/internal/store/storetest"
)

// tables lists all tables of the database, so that one that is added is looked
// into as well.
func tables(t testing.TB, db *store.DB) []string {
	t.Helper()
	query := `SELECT name FROM sqlite_master WHERE type = 'table'`
	if db.Postgres() {
		query = `SELECT tablename FROM pg_tables WHERE schemaname = 'public'`
	}
	rows, err := db.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	if err = store.Rows(rows, func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		out = append(out, name)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(out) < 7 {
		t.Fatalf("only the tables %v", out)
	}
	return out
}

// holding lists the tables with a row that has the text in any column.
func holding(t testing.TB, db *store.DB, text string) []string {
	t.Helper()
	var out []string
	for _, table := range tables(t, db) {
		rows, err := db.Query(t.Context(), `SELECT * FROM `+table)
		if err != nil {
			t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		found := false
		if err = store.Rows(rows, func(rows *sql.Rows) error {
			values := make([]any, len(columns))
			into := make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			err := rows.Scan(into...)
			found = found || strings.Contains(strings.ToLower(fmt.Sprint(values...)), strings.ToLower(text))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if found {
			out = append(out, table)
		}
	}
	return out
}

// customerCall leaves traces of a customer wherever a call leaves any.
func customerCall(t testing.TB, i int, number, name, secret string) *script {
	t.Helper()
	s := call(t, i, "ann", "sip:+"+number+"@pbx")
	s.add(journal.CallDescribed, journal.Described{Facts: map[string]string{"customer_name": name}})
	s.say("b", 1, "my name is "+name+" and my word is "+secret)
	s.add(journal.CardShown, journal.Card{ID: "k1", Card: []byte(`{"id":"k1","title":"Greet ` + name + `"}`)})
	s.end()
	return s
}

func TestEraseReachesEverything(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, db := t.Context(), storetest.Open(t, url)
		r, err := records.New(db, records.Config{})
		if err != nil {
			t.Fatal(err)
		}
		elsewhere := open(t, url)
		gone := []*script{customerCall(t, 1, "4366012345", "Quintilian", "xylophone"), customerCall(t, 2, "4366012345", "Quintilian", "xylophone")}
		stays := customerCall(t, 3, "4366099999", "Beatrix", "marimba")
		apply(t, r, gone[0].events...)
		apply(t, r, stays.events...)
		// One runs still, on another node; one event is broken, one early.
		broken := gone[1].events[3]
		broken.Body = []byte(`{"facts":"Quintilian`)
		apply(t, elsewhere, gone[1].events[:3]...)
		apply(t, elsewhere, broken, gone[1].events[5])
		// Of this call only what was put aside tells whose it is.
		hidden := customerCall(t, 4, "4366012345", "Quintilian", "xylophone")
		apply(t, r, hidden.events[1:]...)
		traces := []string{"4366012345", "Quintilian", "xylophone", gone[0].key, gone[1].key, hidden.key}
		for _, trace := range traces {
			if in := holding(t, db, trace); len(in) == 0 {
				t.Fatalf("%s is nowhere: the test sees nothing", trace)
			}
		}
		keys, err := r.EraseCustomer(ctx, "tel:0043-660-12345")
		if want := fmt.Sprint([]string{gone[0].key, gone[1].key, hidden.key}); err != nil || fmt.Sprint(keys) != want {
			t.Fatalf("erased %v, want %s, %v", keys, want, err)
		}
		// Events that were on their way come late, on both nodes.
		for _, s := range append(gone, hidden) {
			apply(t, r, s.events...)
			apply(t, elsewhere, s.events...)
		}
		for i, trace := range traces {
			in := holding(t, db, trace)
			if i > 2 && fmt.Sprint(in) == "[erased]" {
				continue
			}
			if len(in) > 0 {
				t.Errorf("%s is still in %v", trace, in)
			}
		}
		checkCall(t, r, stays)
		for _, trace := range []string{"4366099999", "Beatrix", "marimba"} {
			if in := holding(t, db, trace); len(in) < 2 {
				t.Errorf("%s is in %v only", trace, in)
			}
		}
		for _, s := range gone {
			if _, err = elsewhere.Call(ctx, s.key); !errors.Is(err, records.ErrUnknown) {
				t.Errorf("call %s: %v", s.key, err)
			}
		}
		if list, _, err := r.List(ctx, records.Filter{Text: "xylophone"}); err != nil || len(list) != 0 {
			t.Errorf("found %+v, %v", list, err)
		}
		if known, err := r.Erased(ctx, append(keys, stays.key, "x")); err != nil || len(known) != 3 {
			t.Errorf("erased: %v, %v", known, err)
		}
		if s := stats(t, r); s.Erased != 3 || s.Calls != 1 || s.Broken != 0 {
			t.Errorf("stats %+v", s)
		}
		if keys, err = r.EraseCustomer(ctx, "+4366012345"); len(keys) != 0 || err != nil {
			t.Errorf("erased again: %v, %v", keys, err)
		}
		if _, err = r.EraseCustomer(ctx, " "); !errors.Is(err, records.ErrFilter) {
			t.Errorf("nobody erased: %v", err)
		}
		if !db.Postgres() {
			inFiles(t, url, traces[:3])
		}
	})
}

// inFiles looks for what was erased in the bytes of SQLite's files.
func inFiles(t *testing.T, path string, traces []string) {
	t.Helper()
	for _, file := range []string{path, path + "-wal"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, trace := range traces {
			if bytes.Contains(bytes.ToLower(b), []byte(strings.ToLower(trace))) {
				t.Errorf("%s still holds %s", file, trace)
			}
		}
		if file == path && !bytes.Contains(b, []byte("marimba")) {
			t.Error("the file does not hold what stays: the test sees nothing")
		}
	}
}

func TestExpire(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, db := t.Context(), storetest.Open(t, url)
		r, err := records.New(db, records.Config{Now: func() time.Time { return start }})
		if err != nil {
			t.Fatal(err)
		}
		const calls = 130 // more than one step's
		all := make([]*script, calls)
		for i := range all {
			all[i] = whole(t, i, "ann", "sip:+43123@pbx")
			if i == 0 {
				all[i] = call(t, i, "ann", "sip:+43123@pbx")
			}
			apply(t, r, all[i].events...)
		}
		apply(t, r, journal.Event{Key: "lost", N: 5, At: start, Kind: journal.CallClosed})
		// A call that ended less than an hour before now.
		young := all[calls-1]
		now := young.at.Add(time.Minute + time.Hour)
		expire := func(p records.Policy, want records.Expired) {
			t.Helper()
			got, err := r.Expire(ctx, now, p)
			if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%+v: expired %+v, want %+v, %v", p, got, want, err)
			}
		}
		expire(records.Policy{}, records.Expired{})
		expire(records.Policy{Transcripts: 100 * 24 * time.Hour}, records.Expired{})
		if list, _, err := r.List(ctx, records.Filter{Text: "credit card"}); err != nil || len(list) != 50 {
			t.Fatalf("before: %d, %v", len(list), err)
		}
		expire(records.Policy{Transcripts: time.Hour}, records.Expired{Transcripts: calls - 2, Broken: 1})
		expire(records.Policy{Transcripts: time.Hour}, records.Expired{})
		if list, _, err := r.List(ctx, records.Filter{Text: "credit card"}); err != nil || names(list) != young.name() {
			t.Errorf("found %q, %v", names(list), err)
		}
		c, err := r.Call(ctx, all[5].key)
		if err != nil || len(c.Transcript) != 0 || len(c.Cards) != 2 || c.Legs[1].Stats == nil || c.N != uint64(len(all[5].events)) || c.State != "ended" {
			t.Errorf("without its transcript: %+v, %v", c, err)
		}
		// What comes again or late does not bring it back.
		apply(t, r, all[5].events...)
		all[5].add(journal.CardAnswered, journal.Answered{ID: "k1", Agent: "ann", State: "dismissed"})
		apply(t, r, all[5].events...)
		if c, err = r.Call(ctx, all[5].key); err != nil || len(c.Transcript) != 0 || c.Cards[0].State != "dismissed" {
			t.Errorf("after late events: %+v, %v", c, err)
		}
		expire(records.Policy{Transcripts: time.Hour, Cards: time.Hour, Statistics: time.Hour}, records.Expired{Cards: calls - 2, Statistics: calls - 2})
		if c, err = r.Call(ctx, all[6].key); err != nil || len(c.Cards) != 0 || c.Legs[1].Stats != nil || c.Customer() == "" {
			t.Errorf("without all but itself: %+v, %v", c, err)
		}
		// A call goes when its recording has gone. Those from the second on are due that
		// ended more than two hours ago, in minute 70.
		got, err := r.Expire(ctx, now, records.Policy{Calls: 2 * time.Hour, Recordings: 10 * time.Hour})
		if err != nil || got.Calls != 0 || len(got.Recordings) != 68 || got.Recordings[0] != all[1].key {
			t.Errorf("recordings due: %d, %d calls, %v", len(got.Recordings), got.Calls, err)
		}
		if err = r.RecordingGone(ctx, got.Recordings...); err != nil {
			t.Fatal(err)
		}
		if c, err = r.Call(ctx, all[6].key); err != nil || c.Recording != nil {
			t.Errorf("with its recording deleted: %+v, %v", c.Recording, err)
		}
		expire(records.Policy{Calls: 2 * time.Hour}, records.Expired{Calls: len(got.Recordings)})
		apply(t, r, all[6].events...)
		if _, err = r.Call(ctx, all[6].key); !errors.Is(err, records.ErrUnknown) {
			t.Errorf("an expired call: %v", err)
		}
		if in := holding(t, db, all[6].key); fmt.Sprint(in) != "[erased]" {
			t.Errorf("an expired call is in %v", in)
		}
		checkCall(t, r, young)
		if c, err = r.Call(ctx, all[0].key); err != nil || !c.Running() {
			t.Errorf("a running call: %+v, %v", c, err)
		}
	})
}

// name is by what the API knows the call.
func (s *script) name() string {
	s.t.Helper()
	var b journal.Started
	if err := s.events[0].Into(&b); err != nil {
		s.t.Fatal(err)
	}
	return b.Call
}
