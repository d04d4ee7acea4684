package push

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"sidetone/guidance"
)

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{Queue: -1}, "Queue is -1"},
		{Config{PingEvery: -1}, "PingEvery"},
		{Config{PingEvery: time.Minute}, "PongWait 40s must be longer"},
		{Config{Origins: []string{"crm.example"}}, "Origins[0]"},
		{Config{Origins: []string{"https://crm.example/path"}}, "Origins[0]"},
	} {
		if _, err := New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want one with %q", c.cfg, err, c.want)
		}
	}
}

// TestPaneFollowsCall walks through a call as one pane sees it.
func TestPaneFollowsCall(t *testing.T) {
	h := newHub(t, Config{Version: "v1", Language: "zh"})
	p := serve(t, h)("maria")
	if m := p.want("hello"); m.Version != "v1" || m.Language != "zh" || time.Since(m.Time).Abs() > time.Minute {
		t.Errorf("hello %+v", m)
	}
	if m := p.want("snapshot"); len(m.Calls) != 0 {
		t.Errorf("snapshot %+v", m)
	}
	start(t, h, "c1", "maria")
	p.want("call_started")
	if err := h.CallStarted(Call{ID: "c1", Agent: "li"}); err == nil {
		t.Error("a running call began again")
	}
	if err := h.CallStarted(Call{ID: "c2"}); err == nil {
		t.Error("a call without an agent began")
	}
	h.Leg("c1", Leg{ID: "c", Role: "customer", State: LegLive})
	p.want("leg")
	h.Utterance("c1", say(1, 1, false, "I lost"))
	if m := p.want("utterance"); m.Final || len(m.Words) != 2 || m.Call != "c1" {
		t.Errorf("partial %+v", m)
	}
	h.Utterance("c1", say(1, 2, true, "I lost it"))
	if m := p.want("utterance"); !m.Final || len(m.Words) != 3 {
		t.Errorf("final %+v", m)
	}
	// What is older than the final says nothing new.
	h.Utterance("c1", say(1, 1, false, "I lost"))
	h.Utterance("c1", say(1, 3, true, "something else"))
	h.Card(aCard("c1", "k1"))
	p.want("card")
	h.Card(aCard("c1", "k1"))
	h.Withdraw("c1", "k1", "words changed")
	if m := p.want("card_withdrawn"); m.Reason != "words changed" {
		t.Errorf("withdrawal %+v", m)
	}
	h.Withdraw("c1", "k1", "again")
	h.Withdraw("c1", "none", "unknown")
	h.CallEnded("c1", "ended", "hung up", time.Now())
	if m := p.want("call_ended"); m.State != "ended" || m.Reason != "hung up" {
		t.Errorf("end %+v", m)
	}
	h.CallEnded("c1", "aborted", "twice", time.Now())

	// Nothing of another agent's call arrives; an unknown call is counted.
	start(t, h, "c9", "li")
	h.Card(aCard("c9", "k"))
	h.Card(aCard("nowhere", "k"))
	start(t, h, "c2", "maria")
	p.want("call_started")
	if got := h.Stats().Stray; got != 1 {
		t.Errorf("%d stray events, want 1", got)
	}
	running := h.Running()
	if len(running) != 2 || running[0].ID != "c9" || running[1].ID != "c2" {
		t.Errorf("running %+v", running)
	}
}

// TestSnapshot says that a pane that comes late sees what one that stayed sees.
func TestSnapshot(t *testing.T) {
	h := newHub(t, Config{History: 3, Cards: 2})
	connect := serve(t, h)
	start(t, h, "c1", "maria")
	for i := 1; i <= 4; i++ {
		h.Utterance("c1", say(i, 1, true, fmt.Sprint("utterance ", i)))
	}
	h.Utterance("c1", say(5, 1, false, "noise"))
	h.Utterance("c1", say(5, 2, true, "")) // withdrawn
	h.Utterance("c1", say(5, 3, false, "noise again"))
	h.Utterance("c1", say(6, 1, false, "and now"))
	for _, id := range []string{"k1", "k2", "k3"} {
		h.Card(aCard("c1", id))
		if id == "k2" {
			h.Withdraw("c1", "k2", "changed")
		}
	}
	h.Leg("c1", Leg{ID: "c", Role: "customer", State: LegHeld})
	h.Leg("c1", Leg{ID: "x", Role: "unknown", State: LegLive})
	m := connect("maria").open()
	if len(m.Calls) != 1 {
		t.Fatalf("snapshot %+v", m)
	}
	c := m.Calls[0]
	var texts, cards []string
	for _, u := range c.Utterances {
		texts = append(texts, fmt.Sprint(u.No, u.Final))
	}
	for _, k := range c.Cards {
		cards = append(cards, fmt.Sprint(k.Card.ID, " ", k.State))
	}
	if want := []string{"4 true", "6 false"}; !slices.Equal(texts, want) || c.Earlier != 3 {
		t.Errorf("utterances %q, earlier %d; want %q, 3", texts, c.Earlier, want)
	}
	// The withdrawn card made room, the live ones stayed.
	if want := []string{"k1 live", "k3 live"}; !slices.Equal(cards, want) {
		t.Errorf("cards %q, want %q", cards, want)
	}
	if len(c.Legs) != 3 || c.Legs[1].State != LegHeld || c.Ended != nil {
		t.Errorf("call %+v", c)
	}
	h.CallEnded("c1", "timed out", "silence", time.Now())
	if m := connect("maria").open(); m.Calls[0].Ended == nil || m.Calls[0].Ended.State != "timed out" {
		t.Errorf("after the end: %+v", m.Calls)
	}
	start(t, h, "c2", "maria")
	if m := connect("maria").open(); len(m.Calls) != 1 || m.Calls[0].ID != "c2" {
		t.Errorf("the next call did not replace the ended one: %+v", m.Calls)
	}
	if h.Cards("c1") != nil {
		t.Error("the ended call is still kept")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	h := newHub(t, Config{EndedCalls: 2})
	for i := range 10 {
		id := fmt.Sprint("c", i)
		start(t, h, id, "agent "+id)
		h.CallEnded(id, "ended", "", time.Now())
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.calls) != 2 || len(h.rooms) != 2 || len(h.ended) != 2 {
		t.Errorf("%d calls, %d rooms, %d ended; want 2 of each", len(h.calls), len(h.rooms), len(h.ended))
	}
}

// TestSlowPane stops reading: partials pass each other, cards fill the queue,
// the pane is closed with 1013 and finds everything in the next snapshot.
func TestSlowPane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{})
		connect := pipes(t, h)
		start(t, h, "c1", "maria")
		slow, other := connect("maria"), connect("maria")
		slow.open()
		other.open()
		var others sync.WaitGroup
		seen := 0
		others.Go(func() {
			for {
				m, err := other.next()
				if err != nil {
					return
				}
				if m.Type == "card" {
					seen++
				}
			}
		})
		for i := 1; i <= 100; i++ {
			h.Utterance("c1", say(1, i, false, fmt.Sprint("so far ", i)))
		}
		synctest.Wait()
		if s := h.Stats(); s.Slow != 0 || s.PartialsSkipped < 98 {
			t.Errorf("after 100 partials: %+v", s)
		}
		for i := range 20 {
			h.Card(aCard("c1", fmt.Sprint("k", i)))
			synctest.Wait()
		}
		if s := h.Stats(); s.Slow != 1 {
			t.Errorf("%d slow panes, want 1", s.Slow)
		}
		got := slow.wantClose(websocket.CloseTryAgainLater)
		if len(got) > 2 {
			t.Errorf("a closed pane still got %d messages", len(got))
		}
		synctest.Wait()
		if n := h.Stats().Panes; n != 1 {
			t.Errorf("%d panes left, want the other one", n)
		}
		m := connect("maria").open()
		if n := len(m.Calls[0].Cards); n != 20 {
			t.Errorf("snapshot has %d cards, want 20", n)
		}
		other.conn.Close()
		others.Wait()
		if seen != 20 {
			t.Errorf("the other pane saw %d cards, want 20", seen)
		}
	})
}

// TestPartialsLatestWins says what a pane gets that reads again in time.
func TestPartialsLatestWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{})
		p := pipes(t, h)("maria")
		p.open()
		start(t, h, "c1", "maria")
		synctest.Wait() // the writer now waits for the pane to read call_started
		for i := 1; i <= 5; i++ {
			h.Utterance("c1", say(1, i, false, "first"))
		}
		h.Utterance("c1", say(1, 6, true, "first done"))
		for i := 1; i <= 5; i++ {
			h.Utterance("c1", say(2, i, false, "second"))
		}
		p.want("call_started")
		if m := p.want("utterance"); m.Utterance != 1 || !m.Final {
			t.Errorf("got %+v, want the final of 1", m)
		}
		if m := p.want("utterance"); m.Utterance != 2 || m.Revision != 5 {
			t.Errorf("got %+v, want revision 5 of 2", m)
		}
	})
}

// TestKeepalive says that a silent pane goes after PongWait and one that
// answers stays.
func TestKeepalive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{})
		connect := pipes(t, h)
		silent, alive := connect("maria"), connect("maria")
		begin := time.Now()
		silent.conn.SetPingHandler(func(string) error { return nil })
		var reading sync.WaitGroup
		reading.Go(func() {
			for {
				if _, err := alive.next(); err != nil {
					return
				}
			}
		})
		silent.open()
		if _, err := silent.next(); err == nil {
			t.Error("a silent pane got a message")
		}
		if d := time.Since(begin); d != 40*time.Second {
			t.Errorf("closed after %v, want 40s", d)
		}
		time.Sleep(10 * time.Minute)
		if n := h.Stats().Panes; n != 1 {
			t.Errorf("%d panes, want the one that answers", n)
		}
		alive.conn.Close()
		reading.Wait()
	})
}

// TestPaintedAt plays a card with known delays and checks the latency to the
// nanosecond.
func TestPaintedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListener()
		h := newHub(t, Config{Listener: l})
		p := pipes(t, h)("maria")
		p.conn.SetPingHandler(func(payload string) error {
			time.Sleep(40 * time.Millisecond) // both ways together
			return p.conn.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(time.Second))
		})
		p.open()
		started := start(t, h, "c1", "maria")
		p.want("call_started")
		time.Sleep(5 * time.Second)
		k := aCard("c1", "k1")
		k.Why.Words = []guidance.Said{{Text: "card", StartMS: 4500, EndMS: 4800}, {Text: "lost", StartMS: 4000, EndMS: 4400}}
		sent := time.Now()
		h.Card(k)
		p.want("card")
		time.Sleep(200 * time.Millisecond)
		p.send(`{"type":"ack","call":"c1","card":"k1","received_ms":1000,"painted_ms":1030}`)
		r := <-l.painted
		if want := sent.Add(50 * time.Millisecond); !r.At.Equal(want) || r.RTT != 40*time.Millisecond {
			t.Errorf("painted %v after sending with RTT %v, want 50ms and 40ms", r.At.Sub(sent), r.RTT)
		}
		if want := r.At.Sub(started) - 4800*time.Millisecond; r.Latency != want || !r.FromWords || !r.First || r.Agent != "maria" {
			t.Errorf("report %+v, want latency %v", r, want)
		}
		// A second ack says nothing; a second pane's is not the first.
		p.send(`{"type":"ack","call":"c1","card":"k1","received_ms":1000,"painted_ms":1030}`)
		p.send(`{"type":"ping","id":1}`)
		p.want("pong")
		if len(l.painted) != 0 {
			t.Error("one pane acknowledged a card twice")
		}
		rs := h.Cards("c1")
		if len(rs) != 1 || rs[0].Latency != r.Latency || !rs[0].Painted.Equal(r.At) {
			t.Errorf("kept %+v", rs)
		}
		// A card without words counts from its birth; a pane that claims more
		// time than has passed is not believed.
		h.Card(aCard("c1", "k2"))
		p.want("card")
		time.Sleep(100 * time.Millisecond)
		p.send(`{"type":"ack","call":"c1","card":"k2","received_ms":0,"painted_ms":99999}`)
		if r := <-l.painted; r.Latency != 100*time.Millisecond || r.FromWords {
			t.Errorf("report %+v, want 100ms from birth", r)
		}
	})
}

// TestVerdicts has two panes of one agent act on cards.
func TestVerdicts(t *testing.T) {
	l := newListener()
	h := newHub(t, Config{Listener: l})
	connect := serve(t, h)
	start(t, h, "c1", "maria")
	start(t, h, "c9", "li")
	h.Card(aCard("c1", "k1"))
	h.Card(aCard("c9", "k9"))
	a, b := connect("maria"), connect("maria")
	a.open()
	b.open()
	for _, verdict := range []State{Used, Wrong} { // the agent may change their mind
		a.send(fmt.Sprintf(`{"type":"action","call":"c1","card":"k1","action":%q}`, verdict))
		for _, p := range []*client{a, b} {
			if m := p.want("card_state"); m.State != string(verdict) {
				t.Errorf("state %q, want %q", m.State, verdict)
			}
		}
		if r := <-l.acted; r.State != verdict || r.Card.ID != "k1" || r.Agent != "maria" {
			t.Errorf("report %+v", r)
		}
	}
	// The same verdict again is answered, not reported.
	b.send(`{"type":"action","call":"c1","card":"k1","action":"wrong"}`)
	if m := b.want("card_state"); m.State != "wrong" {
		t.Errorf("state %q", m.State)
	}
	// A withdrawn card stays withdrawn.
	h.Card(aCard("c1", "k2"))
	h.Withdraw("c1", "k2", "changed")
	a.want("card")
	a.want("card_withdrawn")
	a.send(`{"type":"action","call":"c1","card":"k2","action":"used"}`)
	if m := a.want("card_state"); m.State != "withdrawn" {
		t.Errorf("state %q, want withdrawn", m.State)
	}
	// Another agent's card is out of reach, and so is an unknown one.
	for _, m := range []string{
		`{"type":"action","call":"c9","card":"k9","action":"used"}`,
		`{"type":"action","call":"c1","card":"none","action":"used"}`,
		`{"type":"ack","call":"c9","card":"k9","received_ms":1,"painted_ms":2}`,
	} {
		a.send(m)
		if m := a.want("error"); m.Code != "unknown_card" {
			t.Errorf("answer %+v", m)
		}
	}
	if len(l.acted) != 0 || len(l.painted) != 0 {
		t.Error("refused messages reached the listener")
	}
	if rs := h.Cards("c1"); len(rs) != 2 || rs[0].State != Wrong || rs[1].State != Withdrawn {
		t.Errorf("kept %+v", rs)
	}
}

type searcher func(context.Context, Query) ([]Result, error)

func (s searcher) Search(ctx context.Context, q Query) ([]Result, error) { return s(ctx, q) }

func TestSearch(t *testing.T) {
	began, ended := make(chan struct{}), make(chan error, 1)
	h := newHub(t, Config{SearchTimeout: time.Second, Searcher: searcher(func(ctx context.Context, q Query) ([]Result, error) {
		switch q.Text {
		case "stuck":
			close(began)
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, ctx.Err()
		case "slow":
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, ctx.Err()
		case "broken":
			return nil, errors.New("index is gone")
		case "nothing":
			return nil, nil
		}
		return []Result{{Element: "fee", Title: q.Agent + " " + q.Text + " " + q.Language}}, nil
	})})
	p := serve(t, h)("maria")
	p.open()
	p.send(`{"type":"search","id":1,"text":"fee","language":"en"}`)
	if m := p.want("search_results"); m.ID != 1 || len(m.Results) != 1 || m.Results[0].Title != "maria fee en" {
		t.Errorf("results %+v", m)
	}
	p.send(`{"type":"search","id":2,"text":"nothing"}`)
	if m := p.want("search_results"); m.ID != 2 || m.Results == nil || len(m.Results) != 0 {
		t.Errorf("results %+v", m)
	}
	p.send(`{"type":"search","id":3,"text":"broken"}`)
	if m := p.want("error"); m.ID != 3 || m.Code != "search_failed" || m.About != "search" {
		t.Errorf("answer %+v", m)
	}
	// A slow search ends by the next one or by its timeout; either way the
	// pane goes on, and the pane's end ends it too.
	p.send(`{"type":"search","id":4,"text":"slow"}`)
	p.send(`{"type":"search","id":5,"text":"fee"}`)
	if m := p.want("search_results"); m.ID != 5 {
		t.Errorf("got the answer to %d", m.ID)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the search ended with %v", err)
		}
	default: // the second came before the first began
	}
	p.send(`{"type":"search","id":6,"text":"slow"}`)
	if m := p.want("error"); m.ID != 6 || m.Code != "search_failed" {
		t.Errorf("answer %+v", m)
	}
	if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the search ended with %v", err)
	}
	p.send(`{"type":"search","id":7,"text":"stuck"}`)
	<-began
	p.conn.Close()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the search ended with %v", err)
	}
}

func TestSearchOff(t *testing.T) {
	p := serve(t, newHub(t, Config{}))("maria")
	p.open()
	p.send(`{"type":"search","id":1,"text":"fee"}`)
	if m := p.want("error"); m.Code != "search_off" {
		t.Errorf("answer %+v", m)
	}
}

// TestBadInput says that nonsense is answered, hurts nobody else, and ends the
// connection only when there is no end to it.
func TestBadInput(t *testing.T) {
	h := newHub(t, Config{})
	connect := serve(t, h)
	start(t, h, "c1", "maria")
	good, bad := connect("maria"), connect("maria")
	good.open()
	bad.open()
	for _, c := range inboundCases {
		if c.problem == "" {
			continue
		}
		p := connect("other")
		p.open()
		p.send(c.text)
		if m := p.want("error"); m.Code != "bad_message" {
			t.Errorf("%s: answer %+v", c.name, m)
		}
		p.conn.Close()
		// The agent may have eight panes only: wait for this one to go.
		for h.Stats().Panes > 2 {
			time.Sleep(time.Millisecond)
		}
	}
	if err := bad.conn.WriteMessage(websocket.BinaryMessage, []byte(`{"type":"ping"}`)); err != nil {
		t.Fatal(err)
	}
	bad.want("error")
	for range 15 {
		_ = bad.conn.WriteMessage(websocket.TextMessage, []byte("{"))
	}
	if got := bad.wantClose(websocket.ClosePolicyViolation); len(got) > 9 {
		t.Errorf("%d more errors before the end, want 9 at most", len(got))
	}
	if n := h.Stats().Abusive; n != 1 {
		t.Errorf("%d abusive panes, want 1", n)
	}
	long := connect("maria")
	long.open()
	long.send(`{"type":"search","text":"` + strings.Repeat("x", maxMessage) + `"}`)
	long.wantClose(websocket.CloseMessageTooBig)
	h.Card(aCard("c1", "k1"))
	good.want("card")
}

func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{})
		p := pipes(t, h)("maria")
		p.open()
		var reading sync.WaitGroup
		reading.Go(func() { p.wantClose(websocket.ClosePolicyViolation) })
		for range 75 {
			_ = p.conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping","id":1}`))
		}
		reading.Wait()
		synctest.Wait()
		// 60 are served at once, 10 refused with an error, and the next ends it.
		if s := h.Stats(); s.BadMessages < 11 || s.Abusive != 1 {
			t.Errorf("%+v, want 11 bad messages or more and 1 abusive pane", s)
		}
	})
}

func TestAdmission(t *testing.T) {
	h := newHub(t, Config{Origins: []string{"https://crm.example"}, PanesPerAgent: 2})
	srv := httptest.NewServer(mux(h))
	defer srv.Close()
	base := strings.Replace(srv.URL, "http", "ws", 1)
	connect := func(agent, origin string) int {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		conn, resp, err := websocket.DefaultDialer.Dial(base+"/v1/push/"+agent, header)
		if err == nil {
			t.Cleanup(func() { conn.Close() })
		} else if resp == nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	for _, c := range []struct {
		name, agent, origin string
		want                int
	}{
		{"no origin", "a", "", 101},
		{"same origin", "b", srv.URL, 101},
		{"allowed origin", "c", "https://crm.example", 101},
		{"allowed host, other scheme", "d", "http://crm.example", 403},
		{"foreign origin", "d", "https://evil.example", 403},
		{"foreign origin with our name in it", "d", srv.URL + ".evil.example", 403},
		{"null origin", "d", "null", 403},
		{"long name", strings.Repeat("x", 129), "", 400},
		{"control character", "a%0Ab", "", 400},
		{"broken UTF-8", "a%ff", "", 400},
		{"Chinese name", "%E6%9D%8E%E4%BC%9F", "", 101},
		{"second pane", "a", "", 101},
		{"third pane", "a", "", 503},
	} {
		if got := connect(c.agent, c.origin); got != c.want {
			t.Errorf("%s: status %d, want %d", c.name, got, c.want)
		}
	}
	addr := strings.TrimPrefix(srv.URL, "http://")
	if got := rawRequest(t, addr, "GET /v1/push/x HTTP/1.1\r\nHost: x\r\n\r\n"); got != 400 {
		t.Errorf("a request that is no WebSocket: status %d, want 400", got)
	}
	if n := h.Stats().Refused; n != 9 {
		t.Errorf("%d refused, want 9", n)
	}
	if h.mu.Lock(); len(h.rooms) != 4 {
		t.Errorf("%d rooms, want those of a, b, c and the Chinese name", len(h.rooms))
	}
	h.mu.Unlock()
}

func TestClose(t *testing.T) {
	h := newHub(t, Config{})
	srv := httptest.NewServer(mux(h))
	defer srv.Close()
	base := strings.Replace(srv.URL, "http", "ws", 1)
	p, _ := dial(t, websocket.DefaultDialer, base, "maria", nil)
	p.open()
	var reading sync.WaitGroup
	reading.Go(func() { p.wantClose(websocket.CloseGoingAway) })
	for range 2 {
		if err := h.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	reading.Wait()
	if n := h.Stats().Panes; n != 0 {
		t.Errorf("%d panes after Close", n)
	}
	if _, resp, err := websocket.DefaultDialer.Dial(base+"/v1/push/maria", nil); err == nil || resp.StatusCode != 503 {
		t.Errorf("a pane after Close: %v", err)
	}
	if err := h.CallStarted(Call{ID: "c", Agent: "a"}); err == nil {
		t.Error("a call began after Close")
	}
}

// TestCloseOfStuckPane has a pane that reads nothing: Close gives up in time,
// and the goroutines end all the same.
func TestCloseOfStuckPane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{})
		pipes(t, h)("maria") // its writer blocks on the first ping
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		begin := time.Now()
		if err := h.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if d := time.Since(begin); d != time.Second {
			t.Errorf("Close took %v, want 1s", d)
		}
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d != time.Second {
			t.Errorf("the pane was cut after %v, want 1s", d)
		}
	})
}

// TestTogether lets calls, panes and Close run at once, for the race detector.
func TestTogether(t *testing.T) {
	h := newHub(t, Config{Listener: newListener(), EndedCalls: 4})
	connect := serve(t, h)
	var all sync.WaitGroup
	for n := range 4 {
		agent := fmt.Sprint("agent", n%2)
		all.Go(func() {
			for i := range 30 {
				id := fmt.Sprint("c", n, "-", i)
				start(t, h, id, agent)
				var legs sync.WaitGroup
				for _, role := range []string{"agent", "customer"} {
					legs.Go(func() {
						for r := 1; r <= 10; r++ {
							u := say(1, r, r == 10, "some words")
							u.Role = role
							h.Utterance(id, u)
						}
						h.Card(aCard(id, role))
						h.Withdraw(id, role, "enough")
					})
				}
				legs.Wait()
				h.CallEnded(id, "ended", "", time.Now())
				h.Running()
				h.Cards(id)
			}
		})
		all.Go(func() {
			for range 10 {
				p := connect(agent)
				p.open()
				p.send(`{"type":"ack","call":"c0-1","card":"agent","received_ms":1,"painted_ms":2}`)
				// Whether the pane leaves reading or not makes no difference.
				if err := p.conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
					t.Error(err)
				}
				for _, err := p.next(); err == nil; _, err = p.next() {
				}
				p.conn.Close()
			}
		})
	}
	all.Wait()
}

// TestPaintedAtBounds checks the formula where its inputs disagree.
func TestPaintedAtBounds(t *testing.T) {
	sent := time.Unix(1000, 0)
	for _, c := range []struct {
		acked   time.Duration
		rtt     time.Duration
		delayMS float64
		want    time.Duration
	}{
		{100 * time.Millisecond, 20 * time.Millisecond, 30, 40 * time.Millisecond},
		{100 * time.Millisecond, 0, 0, 0},
		{100 * time.Millisecond, 300 * time.Millisecond, 30, 100 * time.Millisecond},
		{100 * time.Millisecond, 0, 1e12, 100 * time.Millisecond},
	} {
		if got := paintedAt(sent, sent.Add(c.acked), c.rtt, c.delayMS).Sub(sent); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// BenchmarkUtterance is one partial to one pane, without the socket.
func BenchmarkUtterance(b *testing.B) {
	h, err := New(Config{})
	if err != nil {
		b.Fatal(err)
	}
	if err := h.CallStarted(Call{ID: "c", Agent: "a"}); err != nil {
		b.Fatal(err)
	}
	h.rooms["a"].panes[newPane(h, "a", nil)] = struct{}{}
	u := say(1, 0, false, strings.Repeat("word ", 20))
	b.ReportAllocs()
	for b.Loop() {
		u.Revision++
		h.Utterance("c", u)
	}
}

// TestRoles gives what was said on a leg to its new role.
func TestRoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{})
		start(t, h, "c1", "maria")
		u := say(1, 1, true, "hello there")
		h.Utterance("c1", u)
		h.Leg("c1", Leg{ID: "customer", Role: "agent", State: LegLive, RoleReason: "swapped"})
		p := pipes(t, h)("maria")
		p.want("hello")
		s := p.want("snapshot").Calls[0]
		if got := s.Utterances[0]; got.Role != "agent" || got.Leg != "customer" {
			t.Errorf("the utterance is %+v", got)
		}
		p.conn.Close()
	})
}

// TestMove takes a running call to another agent, with all that was said.
func TestMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{})
		connect := pipes(t, h)
		maria, omar := connect("maria"), connect("omar")
		maria.open()
		omar.open()
		start(t, h, "c1", "maria")
		maria.want("call_started")
		h.Utterance("c1", say(1, 1, true, "hello there"))
		maria.want("utterance")
		if err := h.Move("c1", "omar", time.Now()); err != nil {
			t.Fatal(err)
		}
		if m := maria.want("call_ended"); m.State != "moved" {
			t.Errorf("maria is told %+v", m)
		}
		s := omar.want("snapshot")
		if len(s.Calls) != 1 || len(s.Calls[0].Utterances) != 1 || s.Calls[0].Agent != "omar" || s.Calls[0].Ended != nil {
			t.Errorf("omar sees %+v", s.Calls)
		}
		h.Utterance("c1", say(2, 1, true, "and now"))
		omar.want("utterance")
		if err := h.Move("c1", "omar", time.Now()); err != nil {
			t.Errorf("to the agent who has it: %v", err)
		}
		for call, agent := range map[string]string{"c1": "", "c2": "maria"} {
			if err := h.Move(call, agent, time.Now()); err == nil {
				t.Errorf("call %q went to %q", call, agent)
			}
		}
		maria.conn.Close()
		omar.conn.Close()
	})
}

// TestPause lets an agent pause and swap their own call, and no other.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListener()
		h := newHub(t, Config{Listener: l})
		p := pipes(t, h)("maria")
		p.open()
		start(t, h, "c1", "maria")
		start(t, h, "c2", "omar")
		p.want("call_started")
		p.send(`{"type":"pause","call":"c1","paused":true}`)
		if got := <-l.pauses; got != "maria c1 true" {
			t.Errorf("the listener was told %q", got)
		}
		h.Paused("c1", "asked for by maria")
		if m := p.want("paused"); m.Paused != "asked for by maria" {
			t.Errorf("the pane was told %+v", m)
		}
		p.send(`{"type":"pause","call":"c2","paused":true}`)
		if m := p.want("error"); m.Code != "unknown_call" || m.About != "pause" {
			t.Errorf("another agent's call: %+v", m)
		}
		p.send(`{"type":"swap","call":"c1"}`)
		if got := <-l.swaps; got != "maria c1" {
			t.Errorf("the listener was told %q", got)
		}
		p.send(`{"type":"swap","call":"c2"}`)
		if m := p.want("error"); m.Code != "unknown_call" || m.About != "swap" {
			t.Errorf("another agent's call: %+v", m)
		}
		p.send(`{"type":"pause"}`)
		if m := p.want("error"); m.Code != "bad_message" {
			t.Errorf("no call: %+v", m)
		}
		p.conn.Close()
	})
}
