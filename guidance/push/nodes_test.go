package push

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

const beat = 2 * time.Second

// beats lets a few beats pass.
func beats(n int) {
	time.Sleep(time.Duration(n) * beat)
	synctest.Wait()
}

// TestElsewhere shows a call to a pane that is connected to another server, from
// its first word to its end, and lets the agent act on it from there.
func TestElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWire(), newListener()
		a, b := w.node(t, "a", Config{Listener: l}), w.node(t, "b", Config{Listener: newListener()})
		synctest.Wait()
		here, there := watchScreen(t, pipes(t, a)("maria")), watchScreen(t, pipes(t, b)("maria"))
		synctest.Wait()
		check := func(step string) {
			t.Helper()
			synctest.Wait()
			want := truth(a, "maria")
			if got := there.text(); got != want {
				t.Fatalf("%s: elsewhere\n%s\nwant\n%s", step, got, want)
			}
			if got := here.text(); got != want {
				t.Fatalf("%s: here\n%s\nwant\n%s", step, got, want)
			}
		}
		start(t, a, "c1", "maria")
		check("start")
		for i := 1; i <= 3; i++ {
			a.Utterance("c1", say(1, i, i == 3, strings.Repeat("word ", i)))
			check(fmt.Sprint("revision ", i))
		}
		a.Leg("c1", Leg{ID: "customer", Role: "agent", State: LegHeld})
		check("leg")
		a.Paused("c1", "asked for by maria")
		check("pause")
		a.Paused("c1", "")
		a.Away("c1", AwayFork)
		check("away")
		a.Away("c1", "")
		a.Card(cardWith("c1", "k1", 500))
		a.Card(cardWith("c1", "k2", 500))
		a.Withdraw("c1", "k2", "changed")
		check("cards")

		there.c.send(`{"type":"ack","call":"c1","card":"k1","received_ms":1,"painted_ms":2}`)
		if p := <-l.painted; p.Agent != "maria" || p.Card.ID != "k1" || !p.First {
			t.Errorf("painted %+v", p)
		}
		here.c.send(`{"type":"ack","call":"c1","card":"k1","received_ms":1,"painted_ms":2}`)
		if p := <-l.painted; p.First {
			t.Errorf("the second pane is the first: %+v", p)
		}
		there.c.send(`{"type":"action","call":"c1","card":"k1","action":"used"}`)
		if r := <-l.acted; r.State != Used || r.Agent != "maria" {
			t.Errorf("acted %+v", r)
		}
		check("verdict")
		there.c.send(`{"type":"action","call":"c1","card":"k1","action":"used"}`)
		there.c.send(`{"type":"action","call":"c1","card":"k2","action":"used"}`)
		there.c.send(`{"type":"pause","call":"c1","paused":true}`)
		if got := <-l.pauses; got != "maria c1 true" {
			t.Errorf("pause %q", got)
		}
		there.c.send(`{"type":"swap","call":"c1"}`)
		if got := <-l.swaps; got != "maria c1" {
			t.Errorf("swap %q", got)
		}
		there.c.send(`{"type":"action","call":"c1","card":"none","action":"used"}`)
		there.c.send(`{"type":"pause","call":"c9","paused":true}`)
		check("requests")
		if got := strings.Join(there.states, ", "); got != "k1 used, k1 used, k2 withdrawn" || len(l.acted) != 0 {
			t.Errorf("states %q, %d reports", got, len(l.acted))
		}
		if got := strings.Join(there.problems, ", "); got != "unknown_card, unknown_call" && got != "unknown_call, unknown_card" {
			t.Errorf("problems %q", got)
		}
		a.CallEnded("c1", "ended", "hung up", time.Now())
		check("end")
		start(t, a, "c2", "maria")
		check("next call")
		// Nothing was told twice for lack of order, and nothing again.
		if there.snapshots > 3 {
			t.Errorf("%d snapshots", there.snapshots)
		}
		beats(20)
		check("later")
		if s := b.Stats(); s.Servers != 1 || s.Unsent != 0 || s.BadMessages != 0 {
			t.Errorf("stats %+v", s)
		}
		// A pane that comes late sees the same.
		late := watchScreen(t, pipes(t, b)("maria"))
		synctest.Wait()
		if got := late.text(); got != truth(a, "maria") {
			t.Errorf("late: %s", got)
		}
		for _, s := range []*screen{here, there, late} {
			s.close()
		}
	})
}

// TestNobodyWatches says that calls whose agent has no pane elsewhere cause no
// letters, and that those who left or died are forgotten.
func TestNobodyWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		a, b := w.node(t, "a", Config{}), w.node(t, "b", Config{})
		start(t, a, "c1", "maria")
		other := watchScreen(t, pipes(t, b)("li"))
		beats(2)
		a.Utterance("c1", say(1, 1, true, "hello"))
		beats(2)
		if n := w.count("delta"); n != 0 {
			t.Errorf("%d deltas that nobody wants", n)
		}
		there := watchScreen(t, pipes(t, b)("maria"))
		synctest.Wait()
		if !there.shows("hello") {
			t.Errorf("shows %q", there.text())
		}
		there.close()
		synctest.Wait()
		a.mu.Lock()
		out := a.rooms["maria"].out
		a.mu.Unlock()
		if out != nil {
			t.Error("the pane has left and its server still watches")
		}
		there = watchScreen(t, pipes(t, b)("maria"))
		synctest.Wait()
		w.setCut("b", true)
		beats(7)
		a.Utterance("c1", say(2, 1, true, "anybody there"))
		synctest.Wait()
		a.mu.Lock()
		if out = a.rooms["maria"].out; out != nil {
			t.Errorf("a dead server still watches: %+v", out)
		}
		if a.rooms["li"] != nil {
			t.Error("the room of an agent without calls and panes is still there")
		}
		a.mu.Unlock()
		other.close()
		there.close()
	})
}

// TestServerLost kills the server that has a call; another takes it on; the first
// comes back and claims it, too.
func TestServerLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWire(), newListener()
		a, b := w.node(t, "a", Config{}), w.node(t, "b", Config{})
		c := w.node(t, "c", Config{Listener: l})
		began := start(t, a, "c1", "maria")
		at := pipes(t, a)
		there := watchScreen(t, pipes(t, b)("maria"))
		synctest.Wait()
		a.Utterance("c1", say(1, 1, true, "hello there"))
		a.Card(cardWith("c1", "k1", 500))
		a.Utterance("c1", say(2, 1, false, "and I"))
		synctest.Wait()
		if there.shows("away") || !there.shows("and I") {
			t.Fatalf("before: %s", there.text())
		}
		w.setCut("a", true)
		beats(3)
		if there.shows("away") {
			t.Error("taken for lost too early")
		}
		beats(2)
		if !there.shows("call c1 of maria on a taken 0 away server") {
			t.Fatalf("after the loss: %s", there.text())
		}
		there.c.send(`{"type":"action","call":"c1","card":"k1","action":"used"}`)
		synctest.Wait()
		if len(there.problems) != 1 || there.problems[0] != "unreachable" {
			t.Errorf("problems %q", there.problems)
		}
		// Another takes the call on, from the journal: the partial is lost.
		err := c.Restore(CallState{
			Call:       Call{ID: "c1", Agent: "maria", Started: began.Round(0).UTC(), Taken: 9, Away: AwayFork, Legs: []Leg{{ID: "c", Role: "customer", State: LegWaiting}}},
			Utterances: []Utterance{say(1, 1, true, "hello there")}, Cards: []CardRecord{{Card: cardWith("c1", "k1", 500), State: Live}},
		})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := there.text(); got != truth(c, "maria") || !strings.Contains(got, "on c taken 9 away fork") {
			t.Fatalf("taken on: %s", got)
		}
		there.c.send(`{"type":"action","call":"c1","card":"k1","action":"used"}`)
		if r := <-l.acted; r.Card.ID != "k1" {
			t.Errorf("acted %+v", r)
		}
		c.Away("c1", "")
		c.Utterance("c1", say(2, 2, true, "and I am back"))
		synctest.Wait()
		if got := there.text(); got != truth(c, "maria") {
			t.Fatalf("gone on: %s", got)
		}
		// The first one was only cut off. Whatever it says of the call is hidden, on
		// its own panes as well.
		w.setCut("a", false)
		beats(2)
		a.Utterance("c1", say(3, 1, true, "zombie"))
		home := watchScreen(t, at("maria"))
		beats(2)
		for name, s := range map[string]*screen{"elsewhere": there, "on the first server": home} {
			if got := s.text(); got != truth(c, "maria") {
				t.Errorf("%s: %s", name, got)
			}
		}
		home.c.send(`{"type":"action","call":"c1","card":"k1","action":"wrong"}`)
		if r := <-l.acted; r.State != Wrong {
			t.Errorf("acted %+v", r)
		}
		c.CallEnded("c1", "lost", "the fork did not come back", time.Now())
		beats(1)
		a.Utterance("c1", say(4, 1, true, "zombie"))
		synctest.Wait()
		for _, s := range []*screen{there, home} {
			if !s.shows("ended lost") || s.shows("zombie") {
				t.Errorf("after the end: %s", s.text())
			}
		}
		// Even when the one that took it on has forgotten it.
		c.mu.Lock()
		c.forget("c1")
		c.net.renew(c.rooms["maria"].out)
		c.mu.Unlock()
		beats(1)
		if there.shows("c1") || home.shows("c1") {
			t.Errorf("the old claim is back: %s", there.text())
		}
		there.close()
		home.close()
	})
}

// TestNobodyTakesOver ends a call on the panes when its server stays away.
func TestNobodyTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		a, b := w.node(t, "a", Config{}), w.node(t, "b", Config{ForgetLost: time.Minute})
		start(t, a, "c1", "maria")
		there := watchScreen(t, pipes(t, b)("maria"))
		synctest.Wait()
		w.setCut("a", true)
		beats(20)
		if !there.shows("away server") || there.shows("ended") {
			t.Errorf("after 40 s: %s", there.text())
		}
		beats(20)
		if !there.shows("ended lost") {
			t.Errorf("after 80 s: %s", there.text())
		}
		// It was there all the time.
		w.setCut("a", false)
		beats(2)
		if got := there.text(); got != truth(a, "maria") || got == "" {
			t.Errorf("back again: %s", got)
		}
		there.close()
	})
}

// TestServerRestarts lets a server come back under its name with the calls of its
// journal.
func TestServerRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		a, b := w.node(t, "a", Config{}), w.node(t, "b", Config{})
		start(t, a, "c1", "maria")
		there := watchScreen(t, pipes(t, b)("maria"))
		a.Utterance("c1", say(1, 1, true, "hello"))
		synctest.Wait()
		// It dies without a word.
		w.setCut("a", true)
		w.mu.Lock()
		for _, s := range w.subs {
			if s.node == "a" {
				s.gone = true
			}
		}
		w.cut["dead"], w.cut["a"] = true, false
		w.mu.Unlock()
		a.cfg.Bus.(*port).node = "dead"
		again := w.node(t, "a", Config{})
		synctest.Wait()
		if !there.shows("c1") && !there.shows("away") {
			t.Logf("right after the restart: %s", there.text())
		}
		if err := again.Restore(CallState{
			Call: Call{ID: "c1", Agent: "maria", Started: time.Now(), Taken: 3}, Utterances: []Utterance{say(1, 1, true, "hello")},
		}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		again.Utterance("c1", say(2, 1, true, "here I am"))
		beats(1)
		if got := there.text(); got != truth(again, "maria") || !strings.Contains(got, "here I am") {
			t.Errorf("shows %s, want %s", got, truth(again, "maria"))
		}
		there.close()
	})
}

// TestMoveElsewhere gives a call from an agent's pane on one server to another's.
func TestMoveElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		a, b := w.node(t, "a", Config{}), w.node(t, "b", Config{})
		connect := pipes(t, b)
		maria, omar := watchScreen(t, connect("maria")), watchScreen(t, connect("omar"))
		synctest.Wait()
		start(t, a, "c1", "maria")
		a.Utterance("c1", say(1, 1, true, "hello there"))
		synctest.Wait()
		if err := a.Move("c1", "omar", time.Now()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !maria.shows("ended moved") || omar.text() != truth(a, "omar") || !omar.shows("hello there") {
			t.Errorf("maria sees %s, omar %s", maria.text(), omar.text())
		}
		a.Utterance("c1", say(2, 1, true, "and now"))
		synctest.Wait()
		if !omar.shows("and now") || maria.shows("and now") {
			t.Errorf("maria sees %s, omar %s", maria.text(), omar.text())
		}
		maria.c.send(`{"type":"pause","call":"c1","paused":true}`)
		synctest.Wait()
		if len(maria.problems) != 1 || maria.problems[0] != "unknown_call" {
			t.Errorf("maria may still pause: %q", maria.problems)
		}
		maria.close()
		omar.close()
	})
}

// TestInterestIsLost lets nothing through that says who watches: the calls'
// server stops to tell, which is noticed.
func TestInterestIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		a, b := w.node(t, "a", Config{}), w.node(t, "b", Config{})
		start(t, a, "c1", "maria")
		there := watchScreen(t, pipes(t, b)("maria"))
		for i := range 10 {
			a.Utterance("c1", say(i, 1, true, "hello"))
		}
		synctest.Wait()
		w.setFate(func(from, _ string, e envelope) fate { return fate{drop: from == "b" && e.Kind == "here"} })
		beats(7)
		a.Utterance("c1", say(10, 1, true, "still there?"))
		beats(4)
		if got, want := there.text(), truth(a, "maria"); got != want {
			t.Errorf("shows %s, want %s", got, want)
		}
		there.close()
	})
}

// TestMoveOfHiddenCall gives away a call that its panes were not shown, since
// another server claims it.
func TestMoveOfHiddenCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		a, b := w.node(t, "a", Config{}), w.node(t, "b", Config{})
		connect := pipes(t, a)
		maria := watchScreen(t, connect("maria"))
		began := start(t, a, "c1", "maria")
		if err := b.Restore(CallState{Call: Call{ID: "c1", Agent: "maria", Started: began, Taken: 2}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !maria.shows("on b taken 2") {
			t.Errorf("maria sees %s", maria.text())
		}
		w.setCut("b", true)
		beats(5)
		if err := a.Move("c1", "omar", time.Now()); err != nil {
			t.Fatal(err)
		}
		omar := watchScreen(t, connect("omar"))
		synctest.Wait()
		if !omar.shows("c1 of omar on a") || !maria.shows("on b taken 2 away server") {
			t.Errorf("omar sees %s, maria %s", omar.text(), maria.text())
		}
		maria.close()
		omar.close()
	})
}

// TestBadWire loses, repeats, reorders and delays letters. Once it is good again,
// panes show what is true, and they were never shown anything twice.
func TestBadWire(t *testing.T) {
	for _, c := range []struct {
		name string
		fate func(r *rand.Rand) fate
	}{
		{"lossy", func(r *rand.Rand) fate { return fate{drop: r.IntN(5) == 0} }},
		{"repeating", func(r *rand.Rand) fate { return fate{twice: r.IntN(2) == 0} }},
		{"reordering", func(r *rand.Rand) fate { return fate{hold: r.IntN(4) == 0} }},
		{"slow", func(r *rand.Rand) fate { return fate{delay: time.Duration(r.IntN(400)) * time.Millisecond} }},
		{"all", func(r *rand.Rand) fate {
			return fate{r.IntN(8) == 0, r.IntN(8) == 0, r.IntN(8) == 0, time.Duration(max(0, r.IntN(400)-200)) * time.Millisecond}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(5) {
				synctest.Test(t, func(t *testing.T) { badWire(t, seed, c.fate) })
			}
		})
	}
}

func badWire(t *testing.T, seed uint64, how func(*rand.Rand) fate) {
	w := newWire()
	dice, luck := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))
	w.setFate(func(string, string, envelope) fate { return how(luck) })
	a, b := w.node(t, "a", Config{}), w.node(t, "b", Config{})
	there := watchScreen(t, pipes(t, b)("maria"))
	running := ""
	for i := range 400 {
		time.Sleep(time.Duration(dice.IntN(100)) * time.Millisecond)
		switch n := dice.IntN(12); {
		case running == "":
			running = fmt.Sprint("c", i)
			start(t, a, running, "maria")
		case n == 0 && i%7 == 0:
			a.CallEnded(running, "ended", "", time.Now())
			running = ""
		case n <= 6:
			a.Utterance(running, say(i/4, i, i%4 == 3, fmt.Sprint("words ", i)))
		case n <= 8:
			a.Card(aCard(running, fmt.Sprint("k", i)))
		case n == 9:
			for _, k := range a.Cards(running) {
				a.Withdraw(running, k.Card.ID, "changed")
			}
		case n == 10:
			a.Leg(running, Leg{ID: "customer", Role: []string{"agent", "customer"}[i%2], State: LegLive})
		default:
			a.Paused(running, []string{"", "asked for"}[i%2])
		}
	}
	w.setFate(nil)
	beats(4)
	if got, want := there.text(), truth(a, "maria"); got != want {
		t.Errorf("seed %d: shows\n%s\nwant\n%s", seed, got, want)
	}
	there.close()
}

// TestRequestsOverBadWire says that a verdict whose answer was lost is taken
// once, and that one which never arrives is answered.
func TestRequestsOverBadWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWire(), newListener()
		a, b := w.node(t, "a", Config{Listener: l}), w.node(t, "b", Config{})
		start(t, a, "c1", "maria")
		a.Card(cardWith("c1", "k1", 500))
		there := watchScreen(t, pipes(t, b)("maria"))
		synctest.Wait()
		painted := time.Now() // that is when the card was sent
		beats(1)
		lost := 0
		w.setFate(func(_, _ string, e envelope) fate {
			if e.Kind == "done" && lost < 2 {
				lost++
				return fate{drop: true}
			}
			return fate{}
		})
		there.c.send(`{"type":"ack","call":"c1","card":"k1","received_ms":1,"painted_ms":1}`)
		there.c.send(`{"type":"action","call":"c1","card":"k1","action":"used"}`)
		beats(5)
		if len(l.painted) != 1 || len(l.acted) != 1 || lost != 2 {
			t.Fatalf("%d acks, %d verdicts, %d answers lost", len(l.painted), len(l.acted), lost)
		}
		if r := <-l.painted; !r.At.Equal(painted) {
			t.Errorf("painted %v late", r.At.Sub(painted))
		}
		w.setFate(func(_, _ string, e envelope) fate { return fate{drop: e.Kind == "do"} })
		there.c.send(`{"type":"action","call":"c1","card":"k1","action":"wrong"}`)
		there.c.send(`{"type":"swap","call":"c1"}`)
		beats(10)
		if got := strings.Join(there.problems, " "); got != "unreachable unreachable" || w.count("do") != 8 {
			t.Errorf("problems %q, %d requests", got, w.count("do"))
		}
		there.close()
	})
}

// TestStuckBus has a server whose bus takes nothing: calls go on, what waits is
// bounded, and the pane elsewhere is right again once the bus is.
func TestStuckBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		bus := &port{w: w, node: "a"}
		// All that waits comes at once, where no time passes: the pane's own queue is not
		// what is tried here.
		a, b := newHub(t, Config{Node: "a", Bus: bus, Beat: beat}), w.node(t, "b", Config{Queue: 8 * outletQueue})
		start(t, a, "c1", "maria")
		there := watchScreen(t, pipes(t, b)("maria"))
		synctest.Wait()
		stuck := make(chan struct{})
		bus.stuck = stuck
		before := time.Now()
		for i := range 2 * outletQueue {
			a.Utterance("c1", say(i, 1, true, "word"))
			a.Utterance("c1", say(i, 1, false, "word"))
		}
		if time.Since(before) != 0 {
			t.Error("a call has waited for the bus")
		}
		a.mu.Lock()
		if n := len(a.rooms["maria"].out.backlog.queue); n > outletQueue {
			t.Errorf("%d deltas wait", n)
		}
		a.mu.Unlock()
		close(stuck)
		beats(2)
		if got, want := there.text(), truth(a, "maria"); got != want {
			t.Errorf("shows %s", got)
		}
		there.close()
	})
}

// TestSlowPaneElsewhere stops reading on another server than its call's.
func TestSlowPaneElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		a, b := w.node(t, "a", Config{}), w.node(t, "b", Config{})
		connect := pipes(t, b)
		start(t, a, "c1", "maria")
		synctest.Wait()
		slow, other := connect("maria"), watchScreen(t, connect("maria"))
		for slow.want("hello"); ; {
			if m := slow.want("snapshot"); len(m.Calls) > 0 {
				break
			}
		}
		for i := range 40 {
			a.Card(aCard("c1", fmt.Sprint("k", i)))
			synctest.Wait()
		}
		slow.wantClose(websocket.CloseTryAgainLater)
		if s := b.Stats(); s.Slow != 1 {
			t.Errorf("stats %+v", s)
		}
		if other.text() != truth(a, "maria") {
			t.Errorf("the other pane shows %s", other.text())
		}
		back := watchScreen(t, connect("maria"))
		synctest.Wait()
		if back.text() != truth(a, "maria") {
			t.Errorf("back again: %s", back.text())
		}
		other.close()
		back.close()
	})
}

// TestSkewedClock measures a card's latency across servers whose clocks differ by
// three hours, and shows its times by the clock of the pane's server.
func TestSkewedClock(t *testing.T) {
	for _, skew := range []time.Duration{0, 3 * time.Hour, -3 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			const oneWay = 7 * time.Millisecond
			w, l := newWire(), newListener()
			w.setFate(func(string, string, envelope) fate { return fate{delay: oneWay} })
			a, err := newAt(Config{Listener: l, Node: "a", Beat: beat, Bus: &port{w: w, node: "a"}}, func() time.Time { return time.Now().Add(skew) })
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := a.Close(context.Background()); err != nil {
					t.Error(err)
				}
			}()
			b := w.node(t, "b", Config{})
			c := pipes(t, b)("maria")
			c.conn.SetPingHandler(func(payload string) error {
				time.Sleep(40 * time.Millisecond)
				return c.conn.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(time.Second))
			})
			there := watchScreen(t, c)
			beats(3) // the round trip is known
			started := time.Now()
			if err := a.CallStarted(Call{ID: "c1", Agent: "maria", Started: started.Add(skew)}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			k := cardWith("c1", "k1", 900)
			k.Born, k.Expires = a.now(), a.now().Add(time.Minute)
			a.Card(k)
			time.Sleep(oneWay)
			arrived := time.Now()
			time.Sleep(100 * time.Millisecond)
			there.c.send(`{"type":"ack","call":"c1","card":"k1","received_ms":50,"painted_ms":80}`)
			r := <-l.painted
			// Half the pane's round trip and the time from receipt to paint.
			want := arrived.Add(20*time.Millisecond + 30*time.Millisecond)
			if got := r.At.Add(-skew); got.Sub(want).Abs() > time.Millisecond {
				t.Errorf("skew %v: painted %v off", skew, got.Sub(want))
			}
			if want := want.Sub(started) - 900*time.Millisecond; (r.Latency - want).Abs() > time.Millisecond {
				t.Errorf("skew %v: latency %v, want %v", skew, r.Latency, want)
			}
			there.mu.Lock()
			shown := there.calls["c1"]
			off := shown.Started.Sub(started)
			left := shown.Cards[0].Card.Expires.Sub(started)
			there.mu.Unlock()
			// The one way is not known; it is small.
			if off.Abs() > oneWay || (left-time.Minute-time.Second).Abs() > oneWay {
				t.Errorf("skew %v: start is shown %v off, the card for %v", skew, off, left)
			}
			there.close()
		})
	}
}

// TestSameName complains of two servers with one name, once.
func TestSameName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		a, b := w.node(t, "a", Config{}), w.node(t, "a", Config{})
		beats(3)
		a.mu.Lock()
		defer a.mu.Unlock()
		if !a.net.namesake || len(a.net.peers) != 0 || !b.net.namesake {
			t.Error("the servers do not know of each other's name")
		}
	})
}

// TestManyElsewhere has a hundred agents with calls on two servers and panes on
// the other one, over real sockets.
func TestManyElsewhere(t *testing.T) {
	w := newWire()
	l := newListener()
	l.acted = make(chan Acted, 256)
	cfg := Config{Listener: l, Queue: 1000}
	hubs := []*Hub{w.node(t, "a", cfg), w.node(t, "b", cfg)}
	connect := []func(string) *client{serve(t, hubs[0]), serve(t, hubs[1])}
	const agents = 100
	screens := make([]*screen, agents)
	var all sync.WaitGroup
	for i := range agents {
		agent, id, home := fmt.Sprint("agent", i), fmt.Sprint("c", i), hubs[i%2]
		screens[i] = watchScreen(t, connect[1-i%2](agent))
		all.Go(func() {
			start(t, home, id, agent)
			for n := range 20 {
				for rev := 1; rev <= 4; rev++ {
					home.Utterance(id, say(n, rev, rev == 4, fmt.Sprint(agent, " says ", n, rev)))
				}
				home.Card(aCard(id, fmt.Sprint("k", n)))
			}
		})
	}
	all.Wait()
	for i, s := range screens {
		agent := fmt.Sprint("agent", i)
		want := truth(hubs[i%2], agent)
		eventually(t, agent, func() bool { return s.text() == want }, s.text)
		s.c.send(fmt.Sprintf(`{"type":"action","call":"c%d","card":"k3","action":"used"}`, i))
	}
	for range agents {
		if r := <-l.acted; r.Agent != "agent"+strings.TrimPrefix(r.Card.Call, "c") {
			t.Errorf("%+v of %s", r, r.Agent)
		}
	}
	for _, s := range screens {
		s.close()
	}
	for _, h := range hubs {
		if s := h.Stats(); s.BadMessages != 0 || s.Slow != 0 {
			t.Errorf("stats %+v", s)
		}
	}
}

// eventually waits until something that is bound to happen has.
func eventually(t *testing.T, what string, f func() bool, shown func() string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: in vain; it shows\n%s", what, shown())
		}
	}
}

// watched makes a hub whose agent "a" is watched by so many panes elsewhere.
func watched(b testing.TB, bus bool, elsewhere int) *Hub {
	b.Helper()
	cfg := Config{}
	w := newWire()
	if bus {
		cfg.Bus, cfg.Node = &port{w: w, node: "a"}, "a"
	}
	h, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	if err := h.CallStarted(Call{ID: "c", Agent: "a"}); err != nil {
		b.Fatal(err)
	}
	stop := []*Hub{h}
	for i := range elsewhere {
		name := fmt.Sprint("b", i)
		other, err := New(Config{Bus: &port{w: w, node: name}, Node: name})
		if err != nil {
			b.Fatal(err)
		}
		other.enter("a")
		stop = append(stop, other)
		for !visibleIn(other) {
			time.Sleep(time.Millisecond)
		}
	}
	b.Cleanup(func() {
		for i, o := range stop {
			if i > 0 {
				o.leave("a")
			}
			if err := o.Close(context.Background()); err != nil {
				b.Error(err)
			}
		}
	})
	return h
}

func visibleIn(h *Hub) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rooms["a"].visible("c") != nil
}

// TestUtteranceDoesNotAllocate says that a bus costs nothing while nobody watches
// the agent elsewhere.
func TestUtteranceDoesNotAllocate(t *testing.T) {
	for _, bus := range []bool{false, true} {
		h := watched(t, bus, 0)
		h.mu.Lock()
		h.rooms["a"].panes[newPane(h, "a", nil)] = struct{}{}
		h.mu.Unlock()
		u := say(1, 0, false, strings.Repeat("word ", 20))
		if n := testing.AllocsPerRun(200, func() { u.Revision++; h.Utterance("c", u) }); n != 0 {
			t.Errorf("bus %t: %v allocations for a partial", bus, n)
		}
	}
}

// BenchmarkUtteranceElsewhere is one partial to a pane of another server, through
// the bus and into that server's mirror of the call; the first two have no such
// pane. Partials that overtake each other on the way cost nothing more.
func BenchmarkUtteranceElsewhere(b *testing.B) {
	for _, c := range []struct {
		name      string
		bus       bool
		elsewhere int
	}{{"alone", false, 0}, {"nobody", true, 0}, {"one", true, 1}} {
		b.Run(c.name, func(b *testing.B) {
			h := watched(b, c.bus, c.elsewhere)
			u := say(1, 0, false, strings.Repeat("word ", 20))
			b.ReportAllocs()
			for b.Loop() {
				u.Revision++
				h.Utterance("c", u)
			}
		})
	}
	// Each is waited for, so that none overtakes another.
	b.Run("one each", func(b *testing.B) {
		h := watched(b, true, 1)
		u := say(1, 0, false, strings.Repeat("word ", 20))
		b.ReportAllocs()
		for b.Loop() {
			u.Revision++
			h.Utterance("c", u)
			for h.waits() {
				time.Sleep(time.Microsecond)
			}
		}
	})
}

func (h *Hub) waits() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rooms["a"].out.queued
}
