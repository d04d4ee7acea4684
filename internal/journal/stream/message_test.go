package stream

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"sidetone/internal/journal"
)

// What is stored stays readable for years: it changes only with a reason.
func TestMessages(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	first := journal.Event{Key: "k-1", N: 7, At: at, Node: "one", Kind: journal.UtteranceFinal, Body: []byte(`{"text":"a < b"}`)}
	second := journal.Event{Key: "k-1", N: 8, At: at, Kind: journal.CallClosed}
	bad := second
	bad.Body = []byte("{")
	events, count, err := eventsMessage("sidetone.journal.", []item{{event: first}, {event: second}, {event: bad}})
	if err != nil || count != 2 {
		t.Fatal(count, err)
	}
	if _, count, err := eventsMessage("", []item{{event: bad}, {event: first}}); err == nil || count != 1 {
		t.Error(count, err)
	}
	held, err := holdMessage("$KV.SIDETONE_STATE.open.k-1", &OpenCall{Key: "k-1", Call: "7", Source: "fork", External: "x", Agent: "bo", Node: "one", Started: at, Seen: at, revision: 3}, 9)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		m    *nats.Msg
		want string
	}{
		{events, `sidetone.journal.k-1 Nats-Msg-Id:k-1.7
{"key":"k-1","n":7,"at":"2026-01-02T03:04:05Z","node":"one","kind":"utterance.final","body":{"text":"a < b"}}
{"key":"k-1","n":8,"at":"2026-01-02T03:04:05Z","kind":"call.closed"}
`},
		{held, `$KV.SIDETONE_STATE.open.k-1 Nats-Expected-Last-Subject-Sequence:9
{"key":"k-1","call":"7","source":"fork","external":"x","agent":"bo","node":"one","started":"2026-01-02T03:04:05Z","seen":"2026-01-02T03:04:05Z"}`},
		{dropMessage("$KV.SIDETONE_STATE.open.k-1", 9), `$KV.SIDETONE_STATE.open.k-1 KV-Operation:PURGE Nats-Expected-Last-Subject-Sequence:9 Nats-Rollup:sub Nats-TTL:1h
`},
	} {
		got := c.m.Subject
		for _, k := range slices.Sorted(maps.Keys(c.m.Header)) {
			got += fmt.Sprintf(" %s:%s", k, strings.Join(c.m.Header[k], ","))
		}
		if got += "\n" + string(c.m.Data); got != c.want {
			t.Errorf("got\n%s\nwant\n%s", got, c.want)
		}
	}
}

// What can be read and written again is the same.
func FuzzReadEvents(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "{}", "null\n",
		`{"key":"k","n":1,"at":"2026-01-02T03:04:05Z","kind":"call.closed"}` + "\n",
		`{"key":"k","n":1,"at":"2026-01-02T03:04:05Z","kind":"a","body":{"x":[1,2,"\u2028<"]}}` + "\n" + `{"key":"k","n":2,"kind":"b","at":"2026-01-02T03:04:05Z"}`,
		`{"key":"k","n":-1}`, `{"n":18446744073709551615}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		events, err := readEvents(b)
		if err != nil {
			if !errors.Is(err, journal.ErrBroken) {
				t.Fatal(err)
			}
			return
		}
		var items []item
		for _, e := range events {
			items = append(items, item{event: e})
		}
		m, count, err := eventsMessage("x.", items)
		if err != nil || count != len(events) {
			// A time zone may be read that cannot be written.
			return
		}
		again, err := readEvents(m.Data)
		if err != nil || len(again) != len(events) {
			t.Fatalf("%d events, then %d: %v", len(events), len(again), err)
		}
		for i, e := range again {
			if e.ID() != events[i].ID() || e.Kind != events[i].Kind || !e.At.Equal(events[i].At) {
				t.Fatalf("%+v became %+v", events[i], e)
			}
		}
	})
}
