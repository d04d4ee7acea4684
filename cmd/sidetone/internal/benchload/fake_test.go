package benchload

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidetone/bench/load"
	"sidetone/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// fake is a server as far as a load sees it. What it recognises is what was said.
type fake struct {
	*httptest.Server
	t *testing.T
	// Faults.
	refuse, endTwice, forgetful, badToken bool
	// heard, where it is there, is called when a call's first word is.
	heard func()

	mu     sync.Mutex
	calls  map[string]*fakeCall
	panes  map[string]*websocket.Conn
	ended  int
	acks   int
	wait   sync.WaitGroup
	closed bool
}

type fakeCall struct {
	id, agent string
	started   time.Time
	state     string
	received  [2]int
	conns     [2]*net.UDPConn
	spoken    bool
}

const fakeText = "I lost my card, please block it"

func newFake(t *testing.T) *fake {
	f := &fake{t: t, calls: map[string]*fakeCall{}, panes: map[string]*websocket.Conn{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"status":"ok","version":"fake"}`) })
	mux.HandleFunc("GET /metrics", f.metrics)
	mux.HandleFunc("POST /v1/calls", f.post)
	mux.HandleFunc("GET /v1/calls/{call}", f.get)
	mux.HandleFunc("DELETE /v1/calls/{call}", f.end)
	mux.HandleFunc("GET /v1/push/{agent}", f.push)
	f.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		f.mu.Lock()
		f.closed = true
		for _, c := range f.panes {
			c.Close()
		}
		for _, c := range f.calls {
			c.close()
		}
		f.mu.Unlock()
		f.wait.Wait()
		f.Server.Close()
	})
	return f
}

func (c *fakeCall) close() {
	for _, x := range c.conns {
		x.Close()
	}
}

func (f *fake) metrics(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	running := 0
	for _, c := range f.calls {
		if c.state == "running" {
			running++
		}
	}
	fmt.Fprintf(w, "sidetone_calls_total{state=\"ended\"} %d\nsidetone_calls_total{state=\"refused\"} 7\nsidetone_calls_running %d\n", f.ended, running)
	fmt.Fprintf(w, "process_cpu_seconds_total 5\nprocess_resident_memory_bytes 1e6\ngo_goroutines 20\nprocess_open_fds 10\n")
	fmt.Fprintf(w, "sidetone_card_latency_seconds_bucket{le=\"1\"} %d\nsidetone_card_latency_seconds_bucket{le=\"+Inf\"} %d\nsidetone_card_latency_seconds_sum %d\n", f.acks, f.acks, f.acks)
}

func (f *fake) post(w http.ResponseWriter, r *http.Request) {
	if f.badToken || r.Header.Get("Authorization") != "Bearer secret" {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error":"no token"}`)
		return
	}
	if f.refuse {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"error":"no room"}`)
		return
	}
	var q struct{ Call, Agent string }
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		f.t.Errorf("a request for a call: %v", err)
	}
	c := &fakeCall{id: q.Call, agent: q.Agent, started: time.Now(), state: "running"}
	var legs []string
	for i, role := range []string{"agent", "customer"} {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			f.t.Error(err)
			return
		}
		c.conns[i] = conn
		legs = append(legs, fmt.Sprintf(`{"role":%q,"address":%q}`, role, conn.LocalAddr()))
		f.wait.Go(func() { f.listen(c, i) })
	}
	f.mu.Lock()
	f.calls[c.id] = c
	f.tell(c, fmt.Sprintf(`{"type":"call_started","call":{"id":%q,"started":%q}}`, c.id, c.started.Format(time.RFC3339Nano)))
	f.mu.Unlock()
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"call":%q,"legs":[%s]}`, c.id, strings.Join(legs, ","))
}

// tell sends a message to the call's agent. The caller holds mu.
func (f *fake) tell(c *fakeCall, message string) {
	if p := f.panes[c.agent]; p != nil {
		if err := p.WriteMessage(websocket.TextMessage, []byte(message)); err != nil && !f.closed {
			f.t.Errorf("telling %s: %v", c.agent, err)
		}
	}
}

// listen counts a leg's packets and has the customer's words recognised when
// the first has come.
func (f *fake) listen(c *fakeCall, leg int) {
	b := make([]byte, 1500)
	var last uint16
	for first := true; ; first = false {
		n, err := c.conns[leg].Read(b)
		if err != nil {
			return
		}
		seq := uint16(b[2])<<8 | uint16(b[3])
		if n != 172 || b[0] != 0x80 || b[1]&0x7f != 0 || (b[1]&0x80 != 0) != first || !first && seq != last+1 {
			f.t.Errorf("packet of %d bytes, % x, after number %d", n, b[:4], last)
		}
		last = seq
		f.mu.Lock()
		c.received[leg]++
		if leg == 1 && first {
			c.spoken = true
			f.tell(c, fmt.Sprintf(`{"type":"leg","call":%q,"leg":{"id":"customer","state":"live"}}`, c.id))
			words := `[{"text":"I","start_ms":0,"end_ms":1},{"text":"lost","start_ms":1,"end_ms":2}]`
			f.tell(c, fmt.Sprintf(`{"type":"utterance","call":%q,"leg":"customer","role":"customer","utterance":1,"revision":1,"final":false,"words":%s,"stable":1,"start_ms":0,"end_ms":2}`, c.id, words))
			f.tell(c, fmt.Sprintf(`{"type":"utterance","call":%q,"leg":"customer","role":"customer","utterance":1,"revision":2,"final":true,"words":%s,"stable":2,"start_ms":0,"end_ms":2}`, c.id, words))
			f.tell(c, fmt.Sprintf(`{"type":"card","card":%s,"state":"live","painted":false}`, fakeCard(c.id)))
		}
		heard := f.heard
		f.mu.Unlock()
		if leg == 1 && first && heard != nil {
			heard()
		}
	}
}

func fakeCard(call string) string {
	return fmt.Sprintf(`{"id":"k1","call":%q,"kind":"action","title":"Block it","why":{"intent":"card.lost","words":[{"leg":"customer","role":"customer","text":"lost","start_ms":1,"end_ms":2}]}}`, call)
}

func (f *fake) record(c *fakeCall) string {
	transcript, cards := "", ""
	if c.spoken {
		transcript = fmt.Sprintf(`{"leg":"customer","role":"customer","text":%q,"start_ms":0,"end_ms":900}`, fakeText)
		cards = strings.TrimSuffix(fakeCard(c.id), "}") + `,"state":"live","latency_ms":12}`
	}
	return fmt.Sprintf(`{"call":%q,"started":%q,"state":%q,"reason":"because","legs":[{"role":"agent","stats":{"received":%d}},{"role":"customer","stats":{"received":%d}}],"transcript":[%s],"cards":[%s]}`,
		c.id, c.started.Format(time.RFC3339Nano), c.state, c.received[0], c.received[1], transcript, cards)
}

func (f *fake) get(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.calls[r.PathValue("call")]
	if c == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if f.forgetful {
		c.state = "aborted"
	}
	fmt.Fprint(w, f.record(c))
}

func (f *fake) end(w http.ResponseWriter, r *http.Request) {
	// The last packets are on their way through the loopback.
	time.Sleep(100 * time.Millisecond)
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.calls[r.PathValue("call")]
	if c == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	c.state = "ended"
	f.ended++
	c.close()
	over := fmt.Sprintf(`{"type":"call_ended","call":%q,"state":"ended","reason":"because"}`, c.id)
	f.tell(c, over)
	if f.endTwice {
		f.tell(c, over)
	}
	fmt.Fprint(w, f.record(c))
}

func (f *fake) push(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		f.t.Error(err)
		return
	}
	defer conn.Close()
	now := func() string { return time.Now().Format(time.RFC3339Nano) }
	f.mu.Lock()
	for _, m := range []string{`{"type":"hello","protocol":1,"time":"` + now() + `"}`, `{"type":"snapshot","calls":[]}`} {
		if err := conn.WriteMessage(websocket.TextMessage, []byte(m)); err != nil {
			f.t.Error(err)
		}
	}
	f.panes[r.PathValue("agent")] = conn
	f.mu.Unlock()
	for {
		_, b, err := conn.ReadMessage()
		if err != nil {
			break
		}
		var m struct {
			Type       string
			ID         int64
			Call, Card string
			ReceivedMS float64 `json:"received_ms"`
			PaintedMS  float64 `json:"painted_ms"`
		}
		if err := json.Unmarshal(b, &m); err != nil {
			f.t.Error(err)
		}
		f.mu.Lock()
		switch m.Type {
		case "ping":
			f.tell(&fakeCall{agent: r.PathValue("agent")}, fmt.Sprintf(`{"type":"pong","id":%d,"time":%q}`, m.ID, now()))
		case "ack":
			f.acks++
			if f.calls[m.Call] == nil || m.Card != "k1" || m.PaintedMS-m.ReceivedMS < 9 {
				f.t.Errorf("ack %s", b)
			}
		default:
			f.t.Errorf("message %s", b)
		}
		f.mu.Unlock()
	}
	f.mu.Lock()
	delete(f.panes, r.PathValue("agent"))
	f.mu.Unlock()
}

// material is a call of so many packets a leg.
func material(packets int) *Material {
	m := &Material{Script: load.Script{Name: "short", Cards: true, Turns: []load.Turn{
		{Role: "customer", Start: 0, End: 900 * time.Millisecond, Text: fakeText, Intents: []string{"card.lost"}},
	}}}
	for i := range m.Legs {
		m.Legs[i] = make([]byte, packets*payloadLen)
	}
	return m
}
