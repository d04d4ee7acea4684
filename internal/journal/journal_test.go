package journal_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"sidetone/internal/journal"
)

var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// life is a call from its first event to its last.
func life(t testing.TB) []journal.Event {
	t.Helper()
	key := journal.Key(start, "abcdefgh")
	var out []journal.Event
	add := func(kind journal.Kind, body any) {
		t.Helper()
		n := uint64(len(out) + 1)
		e, err := journal.New(key, n, start.Add(time.Duration(n)*time.Second), kind, body)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	add(journal.CallStarted, journal.Started{Call: "c1", Agent: "ann", Source: "rtp", External: "x", Started: start})
	add(journal.LegChanged, journal.Leg{ID: "a", Role: "unknown", RoleReason: "nobody said"})
	add(journal.LegLocated, journal.Located{Leg: "a", Address: "127.0.0.1:20000", Codec: "PCMU"})
	add(journal.UtteranceFinal, journal.Final{Leg: "a", Role: "unknown", Utterance: 2, StartMS: 900, EndMS: 1200, Text: "my card"})
	add(journal.UtteranceFinal, journal.Final{Leg: "a", Role: "unknown", Utterance: 1, StartMS: 100, EndMS: 300, Text: "hello", Words: []journal.Word{{Text: "hello"}}})
	add(journal.LegChanged, journal.Leg{ID: "a", Role: "customer", RoleReason: "set by hand", Identity: "sip:+43123@x", Fixed: true})
	add(journal.CardShown, journal.Card{ID: "k1", Card: json.RawMessage(`{"id":"k1","title":"Block it"}`)})
	add(journal.CardPainted, journal.Painted{ID: "k1", Agent: "ann", At: start.Add(time.Second), LatencyMS: 480, FromWords: true})
	add(journal.CallPaused, journal.Pause{MS: 2000, Reason: "keys"})
	add(journal.CallResumed, journal.Pause{MS: 4000, Reason: "keys again"})
	add(journal.CallContinued, journal.Continued{Reason: "server lost", GapMS: 1500})
	add(journal.CardAnswered, journal.Answered{ID: "k1", Agent: "ann", State: "used"})
	add(journal.CardWithdrawn, journal.Withdrawn{ID: "k1", Reason: "expired"})
	add(journal.CallDescribed, journal.Described{Facts: map[string]string{"x": "1"}})
	add(journal.Kind("kind.of.tomorrow"), map[string]int{"a": 1})
	add(journal.LegFared, journal.Fared{Leg: "a", Stats: journal.LegStats{Received: 10}, Over: true})
	add(journal.CallEnded, journal.Ended{State: "ended", Reason: "BYE", At: start.Add(time.Minute)})
	add(journal.CallEnded, journal.Ended{State: "lost", Reason: "too late", At: start.Add(time.Hour)})
	add(journal.CallClosed, nil)
	return out
}

func fold(t testing.TB, events []journal.Event) *journal.Call {
	t.Helper()
	var c journal.Call
	for _, e := range events {
		if err := c.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	return &c
}

func TestCallIsWhatItsEventsSay(t *testing.T) {
	events := life(t)
	c := fold(t, events)
	if c.State != "ended" || c.Reason != "BYE" || c.Running() || !c.Closed || !c.Ended.Equal(start.Add(time.Minute)) {
		t.Errorf("end: %q, %q, closed %v", c.State, c.Reason, c.Closed)
	}
	if len(c.Legs) != 1 || c.Legs[0].Role != "customer" || c.Legs[0].Address != "127.0.0.1:20000" || !c.Legs[0].Ended || c.Legs[0].Stats.Received != 10 {
		t.Errorf("legs: %+v", c.Legs)
	}
	if c.Customer() != "sip:+43123@x" {
		t.Errorf("customer %q", c.Customer())
	}
	var said []string
	for _, s := range c.Transcript {
		said = append(said, s.Role+": "+s.Text)
	}
	if got := strings.Join(said, "; "); got != "customer: hello; customer: my card" {
		t.Errorf("transcript: %s", got)
	}
	if len(c.Pauses) != 1 || *c.Pauses[0].EndMS != 4000 || c.Pauses[0].Resumed != "keys again" || len(c.Gaps) != 1 {
		t.Errorf("pauses %+v, gaps %+v", c.Pauses, c.Gaps)
	}
	if k := c.Cards[0]; k.State != "used" || k.Painted.LatencyMS != 480 {
		t.Errorf("card: %+v", k)
	}
	if c.N != uint64(len(events)) || c.Facts["x"] != "1" {
		t.Errorf("%d of %d events, facts %v", c.N, len(events), c.Facts)
	}
}

func TestEventsMayComeTwiceButNotWithHoles(t *testing.T) {
	events := life(t)
	c := fold(t, append(append([]journal.Event{}, events[:7]...), events[2:]...))
	if want := fold(t, events); !reflect.DeepEqual(c, want) {
		t.Errorf("events that came twice changed the call: %+v, want %+v", c, want)
	}
	hole := fold(t, events[:3])
	before := hole.Clone()
	if err := hole.Apply(events[4]); !errors.Is(err, journal.ErrBroken) {
		t.Errorf("a hole: %v", err)
	}
	foreign := events[3]
	foreign.Key = "other"
	if err := hole.Apply(foreign); !errors.Is(err, journal.ErrBroken) {
		t.Errorf("an event of another call: %v", err)
	}
	unreadable := events[3]
	unreadable.Body = json.RawMessage(`{"leg":7}`)
	if err := hole.Apply(unreadable); !errors.Is(err, journal.ErrBroken) {
		t.Errorf("an unreadable body: %v", err)
	}
	if !reflect.DeepEqual(*hole, before) {
		t.Error("what could not be applied changed the call")
	}
	var empty journal.Call
	if err := empty.Apply(events[1]); !errors.Is(err, journal.ErrBroken) {
		t.Errorf("a call without a beginning: %v", err)
	}
}

func TestCallSurvivesJSON(t *testing.T) {
	c := fold(t, life(t))
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"title":"Block it","state":"used"`, `"latency_ms":480`, `"role_reason":"set by hand"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in %s", want, b)
		}
	}
	var back journal.Call
	if err = json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(&back)
	if err != nil {
		t.Fatal(err)
	}
	if len(back.Cards) != 1 || back.Cards[0].Painted == nil || back.Cards[0].State != "used" || strings.Count(string(again), `"latency_ms"`) != 1 || !strings.Contains(string(again), `"reason":"BYE"`) {
		t.Errorf("came back as %s", again)
	}
}

func TestKeysSortByTime(t *testing.T) {
	a, b := journal.Key(start, "zzzzzzzz"), journal.Key(start.Add(time.Second), "aaaaaaaa")
	if a >= b || !journal.ValidKey(a) {
		t.Errorf("%q, %q", a, b)
	}
	for _, bad := range []string{"", "a.b", "a b", "*", strings.Repeat("a", 65)} {
		if journal.ValidKey(bad) {
			t.Errorf("%q passes for a key", bad)
		}
	}
}

func FuzzApply(f *testing.F) {
	for _, e := range life(f) {
		f.Add(string(e.Kind), []byte(e.Body))
	}
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		c := fold(t, life(t)[:8])
		before, n := c.Clone(), c.N
		if err := c.Apply(journal.Event{Key: c.Key, N: n + 1, At: start, Kind: journal.Kind(kind), Body: body}); err == nil {
			return
		}
		if !reflect.DeepEqual(*c, before) {
			t.Errorf("a refused %s %q changed the call", kind, body)
		}
	})
}
