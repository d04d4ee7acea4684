package trail_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"sidetone/internal/audit"
	"sidetone/internal/store"
	"sidetone/internal/store/storetest"
	"sidetone/voiceprint/store/trail"
)

var ann = trail.Actor{Name: "account:ann", Address: "192.0.2.7"}

// diary refuses as often as it is told to.
type diary struct {
	entries []audit.Entry
	refuse  int
	leave   context.CancelFunc
}

func (d *diary) Append(ctx context.Context, e audit.Entry) error {
	if d.leave != nil {
		d.leave()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if d.refuse > 0 {
		d.refuse--
		return errors.New("full")
	}
	d.entries = append(d.entries, e)
	return nil
}

func TestTrail(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, db := t.Context(), storetest.Open(t, url)
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		var d diary
		tr, err := trail.New(trail.Config{DB: db, Audit: &d, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		event := func(i int) trail.Event {
			return trail.Event{Action: "voice.test", Object: fmt.Sprint(i), Detail: map[string]string{"n": fmt.Sprint(i)}}
		}
		do := func(by trail.Actor, fail error, events ...trail.Event) error {
			return tr.Do(ctx, by, func(*store.Tx) ([]trail.Event, error) { return events, fail })
		}
		check := func(waits int, want ...int) {
			t.Helper()
			if n, err := tr.Waiting(ctx); n != waits || err != nil {
				t.Errorf("%d wait, want %d, %v", n, waits, err)
			}
			var got []int
			for _, e := range d.entries {
				var i int
				fmt.Sscan(e.Object, &i)
				if e.Actor != ann.Name || e.Address != ann.Address || e.Detail["n"] != e.Object || e.Action != "voice.test" || e.At.After(now) {
					t.Errorf("entry %+v", e)
				}
				got = append(got, i)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("told of %v, want %v", got, want)
			}
		}
		if err = do(ann, nil, event(1), event(2)); err != nil {
			t.Fatal(err)
		}
		check(0, 1, 2)
		// What was not done is not told.
		if err = do(ann, errors.New("no"), event(3)); err == nil {
			t.Error("no error")
		}
		check(0, 1, 2)
		d.refuse = 1
		if err = do(ann, nil, event(4), event(5)); err != nil {
			t.Fatal(err)
		}
		check(2, 1, 2)
		// The node that did it may still be at it.
		if n, err := tr.Flush(ctx); n != 2 || err != nil {
			t.Error(n, err)
		}
		now = now.Add(time.Hour)
		if n, err := tr.Flush(ctx); n != 0 || err != nil {
			t.Error(n, err)
		}
		if len(d.entries) == 4 && d.entries[2].Object == "5" { // both have one time
			d.entries[2], d.entries[3] = d.entries[3], d.entries[2]
		}
		check(0, 1, 2, 4, 5)
		d.refuse = 1
		if err = tr.Tell(ctx, ann, event(6)); err == nil {
			t.Error("read unseen")
		}
		if err = tr.Tell(ctx, ann, event(7)); err != nil {
			t.Error(err)
		}
		check(0, 1, 2, 4, 5, 7)
		if do(trail.Actor{}, nil) == nil || tr.Tell(ctx, trail.Actor{}, event(8)) == nil {
			t.Error("nobody did it")
		}
		// Who asked has gone: what is done is told all the same.
		gone, cancel := context.WithCancel(ctx)
		d.leave = cancel
		if err = tr.Do(gone, ann, func(*store.Tx) ([]trail.Event, error) { return []trail.Event{event(9), event(10)}, nil }); err != nil {
			t.Error(err)
		}
		check(0, 1, 2, 4, 5, 7, 9, 10)
	})
	if _, err := trail.New(trail.Config{}); err == nil {
		t.Error("no error without anything")
	}
}
