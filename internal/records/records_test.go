package records_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"sidetone/internal/journal"
	"sidetone/internal/records"
	"sidetone/internal/store/storetest"
)

var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// script builds the events of one call.
type script struct {
	t      testing.TB
	key    string
	at     time.Time
	events []journal.Event
}

func call(t testing.TB, i int, agent, customer string) *script {
	t.Helper()
	at := start.Add(time.Duration(i) * time.Minute)
	s := &script{t: t, key: journal.Key(at, fmt.Sprintf("call%04d", i)), at: at}
	s.add(journal.CallStarted, journal.Started{Call: fmt.Sprintf("c%d", i), Agent: agent, Source: "rtp", External: fmt.Sprintf("ext-%d", i), Started: at})
	s.add(journal.LegChanged, journal.Leg{ID: "a", Role: "agent", RoleReason: "said so", Identity: "sip:" + agent + "@bank.example"})
	s.add(journal.LegChanged, journal.Leg{ID: "b", Role: "customer", RoleReason: "said so", Identity: customer})
	return s
}

func (s *script) add(kind journal.Kind, body any) {
	s.t.Helper()
	n := uint64(len(s.events) + 1)
	e, err := journal.New(s.key, n, s.at.Add(time.Duration(n)*time.Second), kind, body)
	if err != nil {
		s.t.Fatal(err)
	}
	e.Node = "n1"
	s.events = append(s.events, e)
}

func (s *script) say(leg string, utterance int, text string) {
	s.t.Helper()
	role := map[string]string{"a": "agent", "b": "customer"}[leg]
	s.add(journal.UtteranceFinal, journal.Final{Leg: leg, Role: role, Utterance: utterance, StartMS: int64(utterance) * 1000, EndMS: int64(utterance)*1000 + 800, Text: text,
		Words: []journal.Word{{Text: text, StartMS: 1, EndMS: 2}}})
}

func (s *script) card(id, state string, latency int64) {
	s.t.Helper()
	s.add(journal.IntentHeard, journal.Intent{Intent: "block", Score: 0.9, Final: true})
	s.add(journal.CardShown, journal.Card{ID: id, Card: json.RawMessage(`{"id":"` + id + `","title":"Block it"}`)})
	s.add(journal.CardPainted, journal.Painted{ID: id, Agent: "ann", At: s.at, LatencyMS: latency, FromWords: true})
	if state != "" {
		s.add(journal.CardAnswered, journal.Answered{ID: id, Agent: "ann", State: state})
	}
}

func (s *script) end() {
	s.t.Helper()
	s.add(journal.LegFared, journal.Fared{Leg: "b", Stats: journal.LegStats{Received: 10}, Over: true})
	s.add(journal.CallEnded, journal.Ended{State: "ended", Reason: "BYE", At: s.at.Add(time.Minute)})
	s.add(journal.CallClosed, nil)
}

// whole is a call with everything.
func whole(t testing.TB, i int, agent, customer string) *script {
	t.Helper()
	s := call(t, i, agent, customer)
	s.say("a", 1, "Good morning, how can I help?")
	s.say("b", 1, "I lost my credit cards yesterday")
	s.card("k1", "used", 400)
	s.card("k2", "wrong", 600)
	s.add(journal.RecordingKept, journal.Recording{Format: "flac", DurationMS: 60000, Bytes: 12345})
	s.end()
	return s
}

func fold(t testing.TB, events []journal.Event) journal.Call {
	t.Helper()
	var c journal.Call
	for _, e := range events {
		if err := c.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// each runs a test on both databases.
func each(t *testing.T, test func(t *testing.T, r *records.Records)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, url string) { test(t, open(t, url)) })
}

func open(t testing.TB, url string) *records.Records {
	t.Helper()
	r, err := records.New(storetest.Open(t, url), records.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func apply(t testing.TB, r *records.Records, events ...journal.Event) {
	t.Helper()
	if err := r.Apply(t.Context(), events); err != nil {
		t.Fatal(err)
	}
}

func TestCallComesBackAsItWas(t *testing.T) {
	each(t, func(t *testing.T, r *records.Records) {
		ctx, s := t.Context(), whole(t, 1, "ann", "sip:+4312345@pbx")
		for _, e := range s.events {
			apply(t, r, e)
		}
		apply(t, r, s.events...)
		for _, name := range []string{s.key, "c1"} {
			got, err := r.Call(ctx, name)
			if err != nil {
				t.Fatal(err)
			}
			if want := fold(t, s.events); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %+v, want %+v", name, got, want)
			}
		}
		var back []journal.Event
		if err := r.Events(ctx, s.key, func(e journal.Event) error { back = append(back, e); return nil }); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(back, s.events) {
			t.Errorf("events %+v, want %+v", back, s.events)
		}
		list, next, err := r.List(ctx, records.Filter{})
		if err != nil || next != "" || len(list) != 1 {
			t.Fatalf("list %+v, next %q, %v", list, next, err)
		}
		ended, minute := start.Add(2*time.Minute), int64(60_000)
		want := records.Summary{
			Key: s.key, Call: "c1", Agent: "ann", Node: "n1", Source: "rtp", External: "ext-1", Customer: "sip:+4312345@pbx",
			Started: s.at, Ended: &ended, DurationMS: &minute, Last: s.events[len(s.events)-1].At, Events: uint64(len(s.events)),
			State: "ended", Reason: "BYE", Closed: true, Legs: 2, Utterances: 2, Recording: true,
			Cards: records.Cards{Shown: 2, Used: 1, Wrong: 1, Painted: 2, LatencyMeanMS: 500, LatencyMaxMS: 600},
		}
		if !reflect.DeepEqual(list[0], want) {
			t.Errorf("summary %+v, want %+v", list[0], want)
		}
		if _, err = r.Call(ctx, "nobody"); !errors.Is(err, records.ErrUnknown) {
			t.Errorf("a call that is not: %v", err)
		}
		if err = r.Events(ctx, "nobody", nil); !errors.Is(err, records.ErrUnknown) {
			t.Errorf("events of a call that is not: %v", err)
		}
	})
}
