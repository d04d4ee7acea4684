package records_test

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"sidetone/internal/journal"
	"sidetone/internal/records"
	"sidetone/internal/store/storetest"
)

func stats(t testing.TB, r *records.Records) records.Stats {
	t.Helper()
	s, err := r.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checkCall says whether the records have what the events say.
func checkCall(t testing.TB, r *records.Records, s *script) {
	t.Helper()
	got, err := r.Call(t.Context(), s.key)
	if err != nil {
		t.Fatal(err)
	}
	if want := fold(t, s.events); !reflect.DeepEqual(got, want) {
		t.Errorf("call %s: got %+v, want %+v", s.key, got, want)
	}
}

// Two nodes, each with what it remembers, get events of many calls in turns, in
// batches, twice, and late; the calls are those of the events.
func TestAnyOrderAnyNode(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		nodes := []*records.Records{open(t, url), open(t, url)}
		small, err := records.New(storetest.Open(t, url), records.Config{Cache: 1})
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, small)
		rng := rand.New(rand.NewPCG(1, 2))
		var calls []*script
		var at []int
		for i := range 8 {
			calls = append(calls, whole(t, i, "ann", "sip:+43123@pbx"))
			at = append(at, 0)
		}
		for left := len(calls); left > 0; {
			var events []journal.Event
			for range 1 + rng.IntN(20) {
				i := rng.IntN(len(calls))
				s := calls[i]
				// Now and then one goes back, or the next two come in the wrong order.
				switch n := rng.IntN(10); {
				case at[i] > 0 && n == 0:
					at[i] -= rng.IntN(at[i])
				case n == 1 && at[i]+1 < len(s.events):
					events = append(events, s.events[at[i]+1], s.events[at[i]])
					at[i] += 2
				}
				if at[i] < len(s.events) {
					events = append(events, s.events[at[i]])
					at[i]++
				}
			}
			apply(t, nodes[rng.IntN(len(nodes))], events...)
			left = 0
			for i := range calls {
				left += len(calls[i].events) - at[i]
			}
		}
		for i, s := range calls {
			checkCall(t, nodes[i%len(nodes)], s)
		}
		if s := stats(t, nodes[0]); s.Broken != 0 || s.Calls != 8 || s.Running != 0 || !s.Last.Equal(calls[7].events[len(calls[7].events)-1].At) {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestBrokenEventsStopNoOther(t *testing.T) {
	each(t, func(t *testing.T, r *records.Records) {
		ctx := t.Context()
		good, bad := whole(t, 1, "ann", "sip:+43123@pbx"), whole(t, 2, "bob", "sip:+43456@pbx")
		unreadable := bad.events[3]
		unreadable.Body = json.RawMessage(`{"leg":7}`)
		noText := bad.events[4]
		noText.Body = json.RawMessage("{\"leg\":\"b\",\"text\":\"\xff\"}")
		noJSON := bad.events[5]
		noJSON.Kind, noJSON.Body = "kind.of.tomorrow", json.RawMessage(`{"a`)
		nul := bad.events[5]
		nul.Node, nul.Kind, nul.Body = "n\x001", "kind\x00", json.RawMessage(`{"a":"\u0000"}`)
		nul.N = bad.events[6].N
		headless, err := journal.New("headless", 1, start, journal.CallEnded, journal.Ended{State: "ended", At: start})
		if err != nil {
			t.Fatal(err)
		}
		noKey, noNumber, huge := good.events[0], good.events[0], good.events[0]
		noKey.Key, noNumber.N, huge.N = "a b\xff", 0, math.MaxUint64
		all := append([]journal.Event{noKey, noNumber, huge, headless}, bad.events[:3]...)
		all = append(all, unreadable, noText, noJSON, nul)
		all = append(all, bad.events[7:]...)
		all = append(all, good.events...)
		apply(t, r, all...)
		apply(t, r, all...)
		checkCall(t, r, good)
		c, err := r.Call(ctx, bad.key)
		if err != nil || c.State != "ended" || c.N != uint64(len(bad.events)) || len(c.Transcript) != 0 || len(c.Cards) != 1 {
			t.Errorf("the call with broken events: %+v, %v", c, err)
		}
		if s := stats(t, r); s.Broken != 7 || s.Early != 0 || s.Calls != 2 {
			t.Errorf("stats %+v", s)
		}
		list, _, err := r.List(ctx, records.Filter{Source: "rtp", Node: "n1"})
		if err != nil || len(list) != 2 {
			t.Errorf("list %+v, %v", list, err)
		}
	})
}

func TestEarlyEventsWait(t *testing.T) {
	each(t, func(t *testing.T, r *records.Records) {
		ctx, s := t.Context(), whole(t, 1, "ann", "sip:+43123@pbx")
		apply(t, r, s.events[:3]...)
		apply(t, r, s.events[5:]...)
		if got := stats(t, r); got.Early != int64(len(s.events)-5) || got.Running != 1 {
			t.Fatalf("stats %+v", got)
		}
		apply(t, r, s.events[3])
		if c, err := r.Call(ctx, s.key); err != nil || c.N != 4 {
			t.Errorf("with a hole still: %d events, %v", c.N, err)
		}
		apply(t, r, s.events[4])
		checkCall(t, r, s)
		if got := stats(t, r); got.Broken != 0 || got.Running != 0 {
			t.Errorf("stats %+v", got)
		}
	})
}

func TestMendGivesUpLostEvents(t *testing.T) {
	each(t, func(t *testing.T, r *records.Records) {
		ctx, s := t.Context(), whole(t, 1, "ann", "sip:+43123@pbx")
		lost := s.events[3] // "Good morning"
		apply(t, r, s.events[:3]...)
		apply(t, r, s.events[4:8]...)
		apply(t, r, s.events[9:]...)
		orphan := whole(t, 2, "ann", "sip:+43123@pbx")
		apply(t, r, orphan.events[1:]...)
		if n, err := r.Mend(ctx, time.Now().Add(-time.Hour)); n != 0 || err != nil {
			t.Fatalf("mended %d that wait for a moment only, %v", n, err)
		}
		if n, err := r.Mend(ctx, time.Now().Add(time.Hour)); n != 2 || err != nil {
			t.Fatalf("mended %d, %v", n, err)
		}
		c, err := r.Call(ctx, s.key)
		if err != nil || c.State != "ended" || c.N != uint64(len(s.events)) || len(c.Transcript) != 1 {
			t.Errorf("mended call %+v, %v", c, err)
		}
		// What was given up may still come, and changes nothing any more.
		apply(t, r, lost)
		if again, err := r.Call(ctx, s.key); err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("after the lost event came: %+v, %v", again, err)
		}
		if got := stats(t, r); got.Early != 0 || got.Broken != int64(len(orphan.events)-1) || got.Calls != 1 {
			t.Errorf("stats %+v", got)
		}
		if _, err = r.Call(ctx, orphan.key); !errors.Is(err, records.ErrUnknown) {
			t.Errorf("a call without a beginning: %v", err)
		}
	})
}

func TestNamesComeAgain(t *testing.T) {
	each(t, func(t *testing.T, r *records.Records) {
		ctx := t.Context()
		first, second := whole(t, 1, "ann", "sip:+43123@pbx"), call(t, 2, "bob", "sip:+43456@pbx")
		body := strings.Replace(string(second.events[0].Body), `"c2"`, `"c1"`, 1)
		second.events[0].Body = json.RawMessage(body)
		apply(t, r, second.events...)
		apply(t, r, first.events...)
		if c, err := r.Call(ctx, "c1"); err != nil || c.Key != second.key {
			t.Errorf("the newest c1 is %s, %v", c.Key, err)
		}
		open, err := r.Unfinished(ctx)
		if err != nil || len(open) != 1 || open[0].Key != second.key || open[0].Events != 3 {
			t.Errorf("unfinished: %+v, %v", open, err)
		}
		second.end()
		apply(t, r, second.events...)
		if open, err = r.Unfinished(ctx); err != nil || len(open) != 0 {
			t.Errorf("unfinished: %+v, %v", open, err)
		}
	})
}
