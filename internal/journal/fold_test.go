package journal_test

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"sidetone/internal/journal"
)

// randomEvent is any event that may come, of few legs, cards and utterances, so
// that they meet each other often.
func randomEvent(t testing.TB, rng *rand.Rand, n uint64) journal.Event {
	t.Helper()
	pick := func(all ...string) string { return all[rng.IntN(len(all))] }
	leg, id, ms := pick("a", "b"), pick("k1", "k2", "k3"), rng.Int64N(10)*100
	at := start.Add(time.Duration(n) * time.Second)
	var kind journal.Kind
	var body any
	switch rng.IntN(18) {
	case 0, 1, 2, 3, 4:
		kind, body = journal.UtteranceFinal, journal.Final{Leg: leg, Role: pick("agent", "customer"), Utterance: rng.IntN(6), StartMS: ms, EndMS: ms + 50, Text: pick("", "yes", "no"), Words: []journal.Word{{Text: "yes"}}}
	case 5, 6:
		kind, body = journal.LegChanged, journal.Leg{ID: leg, Role: pick("agent", "customer", "unknown"), Conflicts: []string{"x"}, Identity: pick("", "sip:x@y")}
	case 7:
		kind, body = journal.LegLocated, journal.Located{Leg: leg, Address: "127.0.0.1:1"}
	case 8:
		kind, body = journal.LegFared, journal.Fared{Leg: leg, Stats: journal.LegStats{Received: n}, Over: rng.IntN(2) == 0}
	case 9:
		kind, body = journal.CardShown, journal.Card{ID: id, Card: json.RawMessage(`{"id":"` + id + `"}`)}
	case 10:
		kind, body = journal.CardPainted, journal.Painted{ID: id, Agent: "ann", At: at, LatencyMS: ms, FromWords: true}
	case 11:
		kind, body = journal.CardAnswered, journal.Answered{ID: id, Agent: "ann", State: pick("used", "dismissed", "wrong")}
	case 12:
		kind, body = journal.CardWithdrawn, journal.Withdrawn{ID: id, Reason: "late"}
	case 13:
		kind, body = journal.CallPaused, journal.Pause{MS: ms, Reason: "keys"}
	case 14:
		kind, body = journal.CallResumed, journal.Pause{MS: ms, Reason: "keys"}
	case 15:
		kind, body = journal.CallDescribed, journal.Described{Facts: map[string]string{id: leg}}
	case 16:
		kind, body = journal.VoiceDecided, journal.Voice{Leg: leg, Decision: "match"}
	case 17:
		if rng.IntN(4) > 0 {
			kind, body = journal.CallContinued, journal.Continued{Reason: "server lost", GapMS: ms}
		} else {
			kind, body = journal.CallEnded, journal.Ended{State: pick("ended", "lost"), At: at}
		}
	}
	e, err := journal.New(journal.Key(start, "abcdefgh"), n, at, kind, body)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// sound says what holds of every call.
func sound(t *testing.T, c *journal.Call) {
	t.Helper()
	type line struct {
		leg string
		no  int
	}
	lines := map[line]bool{}
	for i, s := range c.Transcript {
		if i > 0 && c.Transcript[i-1].StartMS > s.StartMS {
			t.Errorf("line %d is out of order", i)
		}
		if l := (line{s.Leg, s.Utterance}); s.Text == "" || lines[l] {
			t.Errorf("line %v is empty or there twice", l)
		} else {
			lines[l] = true
		}
	}
	if c.Running() != (c.Ended == nil) {
		t.Errorf("state %q, ended %v", c.State, c.Ended)
	}
	if _, err := json.Marshal(c); err != nil {
		t.Errorf("it cannot be told: %v", err)
	}
}

// Whatever happens to a call: copies stay what they were, events that come twice
// change nothing, an end stays, and the events as JSON tell the same.
func TestFoldOfRandomLives(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 7))
		first, err := journal.New(journal.Key(start, "abcdefgh"), 1, start, journal.CallStarted, journal.Started{Call: "c", Source: "rtp", Phrases: []string{"x"}, Started: start})
		if err != nil {
			t.Fatal(err)
		}
		events := []journal.Event{first}
		for n := uint64(2); n <= 60; n++ {
			events = append(events, randomEvent(t, rng, n))
		}
		var c, told journal.Call
		var copies []journal.Call
		var end string
		for i, e := range events {
			if err = c.Apply(e); err != nil {
				t.Fatal(err)
			}
			if err = c.Apply(events[rng.IntN(i+1)]); err != nil {
				t.Fatalf("an event that came before: %v", err)
			}
			copies = append(copies, c.Clone())
			var b []byte
			var again journal.Event
			if b, err = json.Marshal(e); err == nil {
				err = errors.Join(json.Unmarshal(b, &again), told.Apply(again))
			}
			if err != nil {
				t.Fatal(err)
			}
			if end != "" && c.State != end {
				t.Errorf("seed %d: the end changed from %s to %s", seed, end, c.State)
			}
			if !c.Running() {
				end = c.State
			}
		}
		sound(t, &c)
		if !reflect.DeepEqual(c, told) {
			t.Errorf("seed %d: told as JSON it is %+v, want %+v", seed, told, c)
		}
		var fresh journal.Call
		for i, e := range events {
			if err = fresh.Apply(e); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(copies[i], fresh) {
				t.Fatalf("seed %d: the copy after event %d has changed: %+v, want %+v", seed, i+1, copies[i], fresh)
			}
		}
	}
}

// A card that cannot be told would make the whole call unreadable.
func TestCardsThatCannotBeToldAreRefused(t *testing.T) {
	for _, body := range []string{`{"id":"k9"}`, `{"id":"k9","card":null}`, `{"id":"k9","card":7}`, `{"id":"k9","card":[]}`, `{"id":"k9","card":{"id":7}}`, `{"id":"k9","card":{"id":"k8"}}`, `{"id":"k9","card":{"id":"k9","State":7}}`} {
		c := fold(t, life(t)[:8])
		err := c.Apply(journal.Event{Key: c.Key, N: c.N + 1, At: start, Kind: journal.CardShown, Body: json.RawMessage(body)})
		if !errors.Is(err, journal.ErrBroken) || len(c.Cards) != 1 {
			t.Errorf("%s: %v, %d cards", body, err, len(c.Cards))
		}
		sound(t, c)
	}
}

// FuzzTold: a call can be told as JSON and read back, whatever it was made of.
func FuzzTold(f *testing.F) {
	for _, e := range life(f) {
		f.Add(string(e.Kind), []byte(e.Body))
	}
	f.Add("card.shown", []byte(`{"id":"k2","card":{"id":"other","state":7,"painted":"x"}}`))
	f.Add("card.shown", []byte(`{"id":"k2","card":{"id":"k2","state":"y","latency_ms":7}}`))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		c := fold(t, life(t)[:8])
		if c.Apply(journal.Event{Key: c.Key, N: c.N + 1, At: start, Kind: journal.Kind(kind), Body: body}) != nil {
			return
		}
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatalf("after %s %q it cannot be told: %v", kind, body, err)
		}
		var back journal.Call
		if err = json.Unmarshal(b, &back); err != nil {
			t.Fatalf("after %s %q it cannot be read back: %v", kind, body, err)
		}
		if back.N != c.N || len(back.Cards) != len(c.Cards) || len(back.Transcript) != len(c.Transcript) || len(back.Legs) != len(c.Legs) {
			t.Errorf("after %s %q it came back as %s", kind, body, b)
		}
	})
}
