package ledger_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	dbstore "sidetone/internal/store"
	"sidetone/internal/store/storetest"
	"sidetone/voiceprint"
	"sidetone/voiceprint/store/ledger"
)

var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func comparison(id, person, call string) ledger.Comparison {
	return ledger.Comparison{
		ID: id, Person: person, Call: call, Leg: "customer", At: begin, Took: 4200 * time.Millisecond, Templates: []string{"t1", "t2"},
		Decision: voiceprint.Decision{
			Outcome: voiceprint.Mismatch, Reasons: []voiceprint.Reason{voiceprint.OtherChannel}, LLR: -9.25, Accept: 7.5, Reject: -6.5, FAR: 0.0005,
			Net: 3500 * time.Millisecond, At: 67200, Scores: 4, Final: true,
			Quality: voiceprint.Quality{Net: 3500 * time.Millisecond, SNR: 21, Level: -26, Clipped: 0.25, Edge: 3400, Reverberation: 0.5, Music: 0.125, Unlike: 0.75},
			Info:    voiceprint.Info{Model: voiceprint.Model{ID: "network/1", Dim: 192}, Calibration: "c1", Trained: "x"},
		},
		Signs: []ledger.Sign{{Name: "replay", Strength: 2.5, Probability: 0.875, Evidence: "6 s of call 5"}},
		Looks: []ledger.Look{{Net: 2 * time.Second, LLR: -4, Accept: 7.5}, {Net: 3500 * time.Millisecond, LLR: -9.25, Accept: 7.25}},
	}
}

// What is read after years is what this program writes today: the names stay.
const golden = `{"took_us":4200000,"reasons":["other_channel"],"accept":7.5,"reject":-6.5,"far":0.0005,"net_us":3500000,"at_sample":67200,"scores":4,"final":true,` +
	`"quality":{"net_us":3500000,"snr_db":21,"level_db":-26,"clipped":0.25,"edge_hz":3400,"reverberation_s":0.5,"music":0.125,"unlike":0.75},` +
	`"model":"network/1","dim":192,"calibration":"c1","trained":"x","templates":["t1","t2"],` +
	`"spoof":[{"name":"replay","strength":2.5,"probability":0.875,"evidence":"6 s of call 5"}],"looks":[[2000000,-4,7.5],[3500000,-9.25,7.25]]}`

func write(t *testing.T, db *dbstore.DB, c ledger.Comparison) error {
	t.Helper()
	return db.Tx(t.Context(), func(tx *dbstore.Tx) error { return ledger.Write(t.Context(), tx, &c) })
}

func list(t *testing.T, db *dbstore.DB, f ledger.Filter) []ledger.Comparison {
	t.Helper()
	all, err := ledger.List(t.Context(), db, f)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestWriteAndList(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		db := storetest.Open(t, url)
		whole := comparison("01", "p1", "call-1")
		if err := write(t, db, whole); err != nil {
			t.Fatal(err)
		}
		var text string
		if err := db.QueryRow(t.Context(), `SELECT detail FROM voice_comparisons WHERE id = ?`, "01").Scan(&text); err != nil || text != golden {
			t.Errorf("%v, got\n%s", err, text)
		}
		if got := list(t, db, ledger.Filter{}); len(got) != 1 || !got[0].At.Equal(begin) {
			t.Fatalf("%+v", got)
		} else if got[0].At = begin; !reflect.DeepEqual(got[0], whole) {
			t.Errorf("got  %+v\nwant %+v", got[0], whole)
		}
		// What could not be measured is no number, here and when it is read.
		blank := comparison("02", "p2", "call-2")
		blank.Decision.Outcome, blank.Decision.Reasons = voiceprint.Inconclusive, nil
		blank.Decision.Quality = voiceprint.Quality{SNR: math.NaN(), Level: math.Inf(-1)}
		blank.Signs, blank.Looks, blank.Templates = nil, nil, nil
		if err := write(t, db, blank); err != nil {
			t.Fatal(err)
		}
		got := list(t, db, ledger.Filter{Outcome: "inconclusive"})
		if len(got) != 1 || !math.IsNaN(got[0].Decision.Quality.SNR) || !math.IsNaN(got[0].Decision.Quality.Level) || got[0].Decision.Quality.Edge != 0 || got[0].Signs != nil || got[0].Looks != nil {
			t.Errorf("%+v", got)
		}
	})
}

func TestFilters(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		db := storetest.Open(t, url)
		for i := range 6 {
			c := comparison(fmt.Sprintf("%02d", i), fmt.Sprintf("p%d", i%2), fmt.Sprintf("call-%d", i/2))
			c.At = begin.Add(time.Duration(i) * time.Hour)
			if i == 5 {
				c.Decision.Outcome = voiceprint.Match
			}
			if err := write(t, db, c); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			f    ledger.Filter
			want string
		}{
			{ledger.Filter{}, "05 04 03 02 01 00 "},
			{ledger.Filter{Person: "p1"}, "05 03 01 "},
			{ledger.Filter{Call: "call-1"}, "03 02 "},
			{ledger.Filter{Outcome: "match"}, "05 "},
			{ledger.Filter{From: begin.Add(2 * time.Hour), To: begin.Add(4 * time.Hour)}, "03 02 "},
			{ledger.Filter{Limit: 2}, "05 04 "},
			{ledger.Filter{Limit: 2, Before: "04"}, "03 02 "},
			{ledger.Filter{Limit: 9999}, "05 04 03 02 01 00 "},
			{ledger.Filter{Person: "p1' OR 1=1 --"}, ""},
		} {
			got := ""
			for _, one := range list(t, db, c.f) {
				got += one.ID + " "
			}
			if got != c.want {
				t.Errorf("%+v lists %q, want %q", c.f, got, c.want)
			}
		}
	})
}

func TestAmend(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	before := comparison("01", "p1", "call-1")
	if err := write(t, db, before); err != nil {
		t.Fatal(err)
	}
	amend := func(id string, signs []ledger.Sign) string {
		t.Helper()
		var person string
		err := db.Tx(t.Context(), func(tx *dbstore.Tx) (err error) {
			person, err = ledger.Amend(t.Context(), tx, id, signs)
			return err
		})
		if err != nil {
			t.Error(err)
		}
		return person
	}
	more := []ledger.Sign{{Name: "synthetic", Strength: math.Inf(1), Probability: 0.5, Evidence: "flat"}}
	if who := amend("01", more); who != "p1" {
		t.Errorf("it is %q's", who)
	}
	got := list(t, db, ledger.Filter{})[0]
	if len(got.Signs) != 1 || got.Signs[0].Name != "synthetic" || !math.IsNaN(got.Signs[0].Strength) || got.Decision.LLR != before.Decision.LLR || len(got.Looks) != 2 {
		t.Errorf("%+v", got)
	}
	if who := amend("erased", more); who != "" {
		t.Errorf("an erased decision is %q's", who)
	}
}

func TestNotKept(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	for name, change := range map[string]func(*ledger.Comparison){
		"no id":        func(c *ledger.Comparison) { c.ID = "" },
		"nobody's":     func(c *ledger.Comparison) { c.Person = "" },
		"of no call":   func(c *ledger.Comparison) { c.Call = "" },
		"no number":    func(c *ledger.Comparison) { c.Decision.LLR = math.NaN() },
		"without end":  func(c *ledger.Comparison) { c.Decision.LLR = math.Inf(1) },
		"without end,": func(c *ledger.Comparison) { c.Decision.LLR = math.Inf(-1) },
	} {
		c := comparison("01", "p1", "call-1")
		change(&c)
		if err := write(t, db, c); !errors.Is(err, ledger.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What somebody has changed in the database is told, not guessed at.
	if err := write(t, db, comparison("01", "p1", "call-1")); err != nil {
		t.Fatal(err)
	}
	for _, damage := range []string{`outcome = 'perhaps'`, `detail = '{"took_us":"x"}'`} {
		if _, err := db.Exec(t.Context(), `UPDATE voice_comparisons SET `+damage); err != nil {
			t.Fatal(err)
		}
		if _, err := ledger.List(t.Context(), db, ledger.Filter{}); err == nil {
			t.Errorf("%s is read", damage)
		}
	}
}
