package push

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// restored is a call as a journal has it.
func restored(id, agent string) CallState {
	at := time.Now()
	s := CallState{
		Call: Call{
			ID: id, Agent: agent, Started: at.Add(-time.Minute), Taken: 12, Paused: "asked for by maria", Away: AwayFork,
			Legs: []Leg{{ID: "customer", Role: "customer", State: LegWaiting}},
		},
		Utterances: []Utterance{say(1, 3, true, "hello there"), say(2, 1, true, "I lost my card"), say(3, 2, true, "")},
	}
	withdrawn := CardRecord{Card: cardWith(id, "k3", 900), State: Withdrawn, Reason: "changed"}
	s.Cards = []CardRecord{
		{Card: cardWith(id, "k1", 900), State: Used, Painted: at.Add(-50 * time.Second), Latency: 400 * time.Millisecond},
		{Card: cardWith(id, "k2", 900), State: Live}, withdrawn,
	}
	return s
}

// TestRestore puts a call back into a hub that has just begun, and goes on with it.
func TestRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListener()
		h := newHub(t, Config{Listener: l})
		connect := pipes(t, h)
		early := watchScreen(t, connect("maria"))
		s := restored("c1", "maria")
		if err := h.Restore(s); err != nil {
			t.Fatal(err)
		}
		late := watchScreen(t, connect("maria"))
		synctest.Wait()
		want := strings.TrimPrefix(`
call c1 of maria on  taken 12 paused asked for by maria away fork
  leg customer customer waiting
  customer customer 1.3 final true: hello there
  customer customer 2.1 final true: I lost my card
  card k1 used 
  card k2 live 
  card k3 withdrawn changed
`, "\n")
		for _, p := range []*screen{early, late} {
			if got := p.text(); got != want {
				t.Errorf("shows\n%swant\n%s", got, want)
			}
		}
		if !late.calls["c1"].Cards[0].Painted || late.calls["c1"].Cards[1].Painted {
			t.Errorf("cards %+v", late.calls["c1"].Cards)
		}
		rs := h.Cards("c1")
		if len(rs) != 3 || fmt.Sprint(rs[0]) != fmt.Sprint(s.Cards[0]) || rs[2].Reason != "changed" {
			t.Errorf("kept %+v", rs)
		}
		// What panes report goes on where it stopped.
		late.c.send(`{"type":"action","call":"c1","card":"k1","action":"used"}`)
		late.c.send(`{"type":"action","call":"c1","card":"k3","action":"used"}`)
		late.c.send(`{"type":"ack","call":"c1","card":"k1","received_ms":1,"painted_ms":2}`)
		late.c.send(`{"type":"ack","call":"c1","card":"k2","received_ms":1,"painted_ms":2}`)
		for _, first := range []bool{false, true} {
			if p := <-l.painted; p.First != first {
				t.Errorf("painted %+v", p)
			}
		}
		if rs := h.Cards("c1"); rs[0].Latency != 400*time.Millisecond || rs[1].Painted.IsZero() {
			t.Errorf("kept %+v", rs)
		}
		late.c.send(`{"type":"action","call":"c1","card":"k2","action":"wrong"}`)
		if r := <-l.acted; r.Card.ID != "k2" || len(l.acted) != 0 {
			t.Errorf("acted %+v", r)
		}
		// So does the call. What is told again is no news.
		h.Away("c1", "")
		h.Paused("c1", "")
		h.Utterance("c1", say(2, 1, true, "I lost my card"))
		h.Card(cardWith("c1", "k1", 900))
		h.Utterance("c1", say(4, 1, false, "and"))
		synctest.Wait()
		if want := "4.1 final false: and"; !early.shows(want) || early.shows("away") || early.shows("paused") {
			t.Errorf("gone on: %s", early.text())
		}
		if err := h.Restore(s); err == nil {
			t.Error("a running call was put back")
		}
		h.CallEnded("c1", "lost", "the fork did not come back", time.Now())
		if err := h.Restore(restored("c1", "maria")); err != nil {
			t.Errorf("a call that had ended: %v", err)
		}
		for _, bad := range []CallState{{Call: Call{ID: "x"}}, {Call: Call{Agent: "x"}}} {
			if err := h.Restore(bad); err == nil {
				t.Error("a call without names was put back")
			}
		}
		early.close()
		late.close()
		if err := h.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := h.Restore(restored("c2", "maria")); err == nil {
			t.Error("a closed hub took a call")
		}
	})
}

// TestRestoreIsBounded says that what is restored is bounded as what is heard.
func TestRestoreIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{History: 3, Cards: 2, EndedCalls: 2})
		for n := range 4 {
			s := restored(fmt.Sprint("c", n), "maria")
			s.Started = time.Now().Add(time.Duration(-n) * time.Minute)
			s.Utterances, s.Cards, s.Earlier = nil, nil, 5
			for i := range 10 {
				s.Utterances = append(s.Utterances, say(i, 1, true, "word"))
				s.Cards = append(s.Cards, CardRecord{Card: cardWith(s.ID, fmt.Sprint("k", i), 0), State: Live})
			}
			if n < 3 {
				s.Ended = &Ended{time.Now(), "lost", "the server was lost"}
			}
			if err := h.Restore(s); err != nil {
				t.Fatal(err)
			}
		}
		p := pipes(t, h)("maria")
		m := p.open()
		var names []string
		for _, c := range m.Calls {
			names = append(names, c.ID)
			if len(c.Utterances) != 3 || c.Earlier != 12 || len(c.Cards) != 2 || (c.Ended == nil) != (c.ID == "c3") {
				t.Errorf("call %s has %d utterances, %d earlier, %d cards, end %v", c.ID, len(c.Utterances), c.Earlier, len(c.Cards), c.Ended)
			}
		}
		if got := strings.Join(names, " "); got != "c3 c2 c1" {
			t.Errorf("calls %q, want the oldest first and the first ended one gone", got)
		}
		p.conn.Close()
	})
}

// TestAckAgain takes an ack that an earlier connection lost: when the card was
// painted is told by how long ago that was.
func TestAckAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListener()
		h := newHub(t, Config{Listener: l})
		start(t, h, "c1", "maria")
		h.Card(cardWith("c1", "k1", 0))
		painted := time.Now()
		time.Sleep(3 * time.Second)
		p := pipes(t, h)("maria")
		p.open()
		p.send(`{"type":"ack","call":"c1","card":"k1","received_ms":1,"painted_ms":20,"sent_ms":3020}`)
		if r := <-l.painted; !r.At.Equal(painted) || !r.First {
			t.Errorf("painted %v off: %+v", r.At.Sub(painted), r)
		}
		// A snapshot in between does not make it count again.
		if err := h.Restore(restored("c2", "maria")); err != nil {
			t.Fatal(err)
		}
		p.want("snapshot")
		p.send(`{"type":"ack","call":"c1","card":"k1","received_ms":1,"painted_ms":20,"sent_ms":3020}`)
		p.send(`{"type":"ping","id":1}`)
		p.want("pong")
		if len(l.painted) != 0 {
			t.Error("one pane has painted a card twice")
		}
		p.conn.Close()
	})
}
