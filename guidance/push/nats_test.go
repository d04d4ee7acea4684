package push

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidetone/internal/journal/stream"
)

// TestOverNATS joins two servers by the journal's bus: one has NATS in its process
// and listens, the other is connected to it. Then the first dies, with NATS, and
// comes back.
func TestOverNATS(t *testing.T) {
	const secret, beat = "shared by the nodes", 100 * time.Millisecond
	dir := t.TempDir()
	at := freePort(t)
	open := func(cfg stream.Config) *stream.Log {
		t.Helper()
		cfg.Dir, cfg.Secret = filepath.Join(dir, cfg.Node), secret
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		l, err := stream.Open(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			// The server that it is connected to may be gone.
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if err := l.Close(ctx); err != nil {
				t.Log(err)
			}
		})
		return l
	}
	hub := func(l *stream.Log, node string, r Listener) *Hub {
		t.Helper()
		return newHub(t, Config{Bus: l, Node: node, Listener: r, Beat: beat})
	}
	rep := newListener()
	logA := open(stream.Config{Node: "a", Listen: at})
	a := hub(logA, "a", rep)
	b := hub(open(stream.Config{Node: "b", URL: "nats://" + at}), "b", newListener())
	screens := map[string]*screen{}
	for i := range 5 {
		agent := fmt.Sprint("agent", i)
		screens[agent] = watchScreen(t, serve(t, b)(agent))
		start(t, a, "c"+agent, agent)
	}
	for n := range 30 {
		for agent := range screens {
			for rev := 1; rev <= 3; rev++ {
				a.Utterance("c"+agent, say(n, rev, rev == 3, strings.Repeat(agent+" ", 40)))
			}
			if n%10 == 0 {
				a.Card(aCard("c"+agent, fmt.Sprint("k", n)))
			}
		}
		time.Sleep(time.Millisecond)
	}
	same := func(h *Hub) {
		t.Helper()
		for agent, s := range screens {
			want := truth(h, agent)
			eventually(t, agent, func() bool { return s.text() == want }, s.text)
		}
	}
	same(a)
	for agent, s := range screens {
		s.c.send(fmt.Sprintf(`{"type":"ack","call":"c%s","card":"k0","received_ms":1,"painted_ms":2}`, agent))
		s.c.send(fmt.Sprintf(`{"type":"action","call":"c%s","card":"k0","action":"used"}`, agent))
		if p, r := <-rep.painted, <-rep.acted; p.Agent != agent || p.Latency > time.Minute || r.Agent != agent {
			t.Errorf("painted %+v, acted %+v", p, r)
		}
	}
	same(a)

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	// It dies: nobody hears a farewell.
	if err := logA.Close(ctx); err != nil {
		t.Fatal(err)
	}
	for agent, s := range screens {
		eventually(t, agent, func() bool { return s.shows("away server") }, s.text)
	}
	again := hub(open(stream.Config{Node: "a", Listen: at}), "a", rep)
	for agent := range screens {
		if err := again.Restore(CallState{
			Call: Call{ID: "c" + agent, Agent: agent, Started: time.Now(), Taken: 1}, Utterances: []Utterance{say(1, 1, true, "back again")},
		}); err != nil {
			t.Fatal(err)
		}
	}
	same(again)
	for agent, s := range screens {
		again.Utterance("c"+agent, say(2, 1, true, "and on it goes"))
		eventually(t, agent, func() bool { return s.shows("and on it goes") }, s.text)
		s.close()
	}
	if s := b.Stats(); s.BadMessages != 0 {
		t.Errorf("stats %+v", s)
	}
}

// freePort finds an address on which nobody listens.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
