package app

import (
	"strings"
	"testing"
	"time"

	"sidetone/internal/journal"
	"sidetone/media"
)

// A wall clock that is set back by hours in the middle of a call puts no end
// before the beginning, and no event before another.
func TestClockIsSetDuringACall(t *testing.T) {
	r := host(t, nil)
	c := open(t, r, media.Call{ID: "one", Agent: "ann", Started: time.Now()})
	addLeg(t, c, media.Leg{ID: "a", Role: media.RoleAgent})
	// A source gives the time that the wall shows now.
	stepped := time.Now().Round(0).Add(-2 * time.Hour)
	c.End(media.End{State: media.Ended, Reason: "BYE", At: stepped})
	<-c.done
	rec := c.snapshot()
	if d := rec.Ended.Sub(rec.Started); d < 0 || d > time.Minute {
		t.Errorf("the call took %v", d)
	}
	if last := rec.Last(); last.Before(rec.Started) {
		t.Errorf("the last event is from %v, the call from %v", last, rec.Started)
	}
	if c.now() < 0 {
		t.Errorf("the call's clock shows %d ms", c.now())
	}
}

// A call that is found in the journal goes on by this process's clock, also where
// the wall clock was set while there was no process.
func TestFoundCallHasASteadyClock(t *testing.T) {
	began := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	var rec journal.Call
	for n, at := range []time.Time{began, began.Add(40 * time.Second)} {
		kind, body := journal.CallStarted, any(journal.Started{Call: "c", Started: began})
		if n == 1 {
			kind, body = journal.CallContinued, journal.Continued{Reason: "x"}
		}
		e, err := journal.New("k", uint64(n+1), at, kind, body)
		if err != nil {
			t.Fatal(err)
		}
		if err := rec.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name      string
		now       time.Time
		wantSince time.Duration
	}{
		{"as it was", began.Add(50 * time.Second), 50 * time.Second},
		{"set back by two hours", began.Add(-2 * time.Hour), 40 * time.Second},
		{"set forth by a day", began.Add(24 * time.Hour), 24 * time.Hour},
	} {
		if got := c.now.Sub(since(&rec, c.now)); got != c.wantSince {
			t.Errorf("%s: the call runs for %v, want %v", c.name, got, c.wantSince)
		}
	}
	if s := since(&rec, time.Now()).String(); !strings.Contains(s, " m=") {
		t.Errorf("%s has no reading of the clock that does not jump", s)
	}
}
