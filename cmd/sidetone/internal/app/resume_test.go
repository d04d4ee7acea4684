package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/guidance"
	"sidetone/internal/journal"
	"sidetone/internal/journal/stream"
	"sidetone/media"
)

// leave writes what a server that died in the middle of a call has kept of it,
// and returns the call's key.
func leave(t *testing.T, dir, node, call string) string {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	l, err := stream.Open(ctx, stream.Config{Dir: filepath.Join(dir, "journal"), Node: node, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now().Add(-20 * time.Second)
	key, n := journal.Key(started, "abcdefgh"+call), uint64(0)
	l.HoldOpen(stream.OpenCall{Key: key, Call: call, Source: "siprec", External: "x-" + call, Agent: "ann", Node: node, Started: started})
	add := func(kind journal.Kind, body any) {
		t.Helper()
		n++
		e, err := journal.New(key, n, started.Add(time.Duration(n)*time.Second), kind, body)
		if err != nil {
			t.Fatal(err)
		}
		e.Node = node
		l.Append(e)
	}
	card, err := json.Marshal(guidance.Card{ID: call + "-1", Call: call, Kind: guidance.Action, Title: "Block it", Language: "en", Key: "k", Born: started})
	if err != nil {
		t.Fatal(err)
	}
	add(journal.CallStarted, journal.Started{Call: call, Agent: "ann", Source: "siprec", External: "x-" + call, Started: started})
	add(journal.LegChanged, journal.Leg{ID: "1", Role: "customer", RoleReason: "trunk"})
	add(journal.UtteranceFinal, journal.Final{
		Leg: "1", Role: "customer", Utterance: 3, Revision: 2, StartMS: 1000, EndMS: 2000, Text: "I lost my card",
		Words: []journal.Word{{Text: "I", StartMS: 1000}, {Text: "lost"}, {Text: "my"}, {Text: "card", EndMS: 2000}},
	})
	add(journal.CallPaused, journal.Pause{MS: 3000, Reason: "card data"})
	add(journal.CardShown, journal.Card{ID: call + "-1", Card: card})
	if err = l.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if err = l.Close(ctx); err != nil {
		t.Fatal(err)
	}
	return key
}

func TestACallGoesOnAfterItsServerWasLost(t *testing.T) {
	dir := t.TempDir()
	keys := map[string]string{}
	for _, call := range []string{"back", "gone"} {
		keys[call] = leave(t, dir, "n1", call)
	}
	r := host(t, func(c *config.Config) {
		c.Storage.Dir, c.Server.Node, c.Media.Reconnect = dir, "n1", 4*time.Second
	})
	r.wait(t, "back", "found again", func(rec journal.Call) bool { return rec.State == "running" && len(rec.Transcript) == 1 })

	hung := make(chan media.End, 1)
	sink, err := r.calls.Open(media.Call{Source: "siprec", External: "x-back"}, func(e media.End) { hung <- e })
	if err != nil {
		t.Fatal(err)
	}
	leg, err := sink.AddLeg(media.Leg{ID: "1", Role: media.RoleCustomer, RoleReason: "trunk"})
	if err != nil {
		t.Fatal(err)
	}
	if c := r.calls.find("back"); !c.paused.Load() {
		t.Error("what must not be heard is heard after the loss of the server")
	}
	rec := r.call(t, "back")
	if rec.Key != keys["back"] || len(rec.Gaps) != 1 || len(rec.Cards) != 1 || rec.Cards[0].State != "live" || rec.Agent != "ann" {
		t.Errorf("the call that goes on: %+v", rec)
	}
	leg.End(media.End{State: media.Ended, At: time.Now()}, media.LegStats{})
	sink.End(media.End{State: media.Ended, Reason: "BYE", At: time.Now()})
	rec = r.wait(t, "back", "over", func(rec journal.Call) bool { return rec.Closed })
	if rec.State != "ended" || len(rec.Transcript) != 1 {
		t.Errorf("its end: %s, %d finals", rec.State, len(rec.Transcript))
	}
	rec = r.wait(t, "gone", "given up", func(rec journal.Call) bool { return rec.Closed })
	if rec.State != "lost" || !strings.Contains(rec.Reason, "has come back") || rec.Key != keys["gone"] {
		t.Errorf("the call whose fork did not come back: %s, %s", rec.State, rec.Reason)
	}
}

func TestACallWaitsForItsFork(t *testing.T) {
	r := host(t, func(c *config.Config) { c.Media.Reconnect = 3 * time.Second })
	open := func() media.CallSink {
		t.Helper()
		sink, err := r.calls.Open(media.Call{ID: "one", Agent: "ann", Source: "twilio"}, func(media.End) {})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = sink.AddLeg(media.Leg{ID: "1", Role: media.RoleCustomer}); err != nil {
			t.Fatal(err)
		}
		return sink
	}
	lost := media.End{State: media.Lost, Reason: "connection reset", At: time.Now()}
	open().End(lost)
	key := r.call(t, "one").Key
	second := open()
	if rec := r.call(t, "one"); rec.Key != key || rec.State != "running" || len(rec.Gaps) != 1 || len(rec.Legs) != 2 {
		t.Errorf("the call that goes on: %+v", rec)
	}
	second.End(lost)
	rec := r.wait(t, "one", "given up", func(rec journal.Call) bool { return rec.Closed })
	if rec.State != "lost" || !strings.Contains(rec.Reason, "connection reset") {
		t.Errorf("%s, %s", rec.State, rec.Reason)
	}
	third := open()
	if rec := r.call(t, "one"); rec.Key == key || rec.State != "running" {
		t.Errorf("a call of the same name after the end: %+v", rec)
	}
	third.End(media.End{State: media.Ended, At: time.Now()})
}

// Two servers may both believe that a call is theirs, when one could not be heard
// for a while: whoever hears the call keeps it, and only one writes its journal.
func TestACallHasOneServer(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().String()
	if err = free.Close(); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(dir, "secret")
	if err = os.WriteFile(secret, []byte("not-a-secret-1234"), 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := stream.Open(ctx, stream.Config{
		Dir: filepath.Join(dir, "journal"), Listen: at, Secret: "not-a-secret-1234", Node: "other", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := other.Close(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	}()
	r := host(t, func(c *config.Config) {
		c.Server.Node, c.Journal.URL, c.Journal.SecretFile, c.Media.Reconnect = "n1", "nats://"+at, secret, time.Minute
	})
	defer r.stop()
	c := open(t, r, media.Call{ID: "one", Agent: "ann", Source: "twilio"})
	addLeg(t, c, media.Leg{ID: "1", Role: media.RoleCustomer})
	owner := func(want string) stream.OpenCall {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			all, err := other.OpenCalls(ctx)
			if err == nil && len(all) == 1 && all[0].Node == want {
				return all[0]
			}
			if time.Now().After(end) {
				t.Fatalf("the call is not %s's: %+v, %v", want, all, err)
			}
		}
	}
	take := func() {
		t.Helper()
		if took, err := other.Adopt(ctx, owner("n1"), "other"); err != nil || !took {
			t.Fatalf("not taken over: %v", err)
		}
	}
	take()
	owner("n1") // taken back: it is heard there
	c.End(media.End{State: media.Lost, Reason: "reset", At: time.Now()})
	take()
	select {
	case <-c.done:
	case <-time.After(30 * time.Second):
		t.Fatal("a call of which nothing is heard was not left to the other server")
	}
	if err = r.storage.journal.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	err = other.Read(ctx, c.key, func(e journal.Event) error {
		if e.Kind == journal.CallEnded || e.Kind == journal.CallClosed {
			t.Errorf("the server that left the call to another has written %s", e.Kind)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	owner("other")
}
