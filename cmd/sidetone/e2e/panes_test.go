//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidetone/internal/journal"
	"sidetone/media/rtpsend"
)

// paneView is a page of the agent "ann", as far as this test looks at it.
type paneView struct {
	t    *testing.T
	conn *websocket.Conn

	mu   sync.Mutex
	call paneCall
	over chan struct{}
}

type paneCall struct {
	ID, Node, Away, Paused string
	Utterances             []paneWords
	Cards                  []paneCard
}

type paneWords struct {
	Leg       string
	Utterance int
	Final     bool
	Words     []struct{ Text string }
}

type paneCard struct {
	Card  struct{ ID string }
	State string
}

// lookAt connects a page to a server and follows the call there.
func lookAt(t *testing.T, s *server, call string) *paneView {
	t.Helper()
	u, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	conn, res, err := websocket.DefaultDialer.Dial("ws://"+u.Host+"/v1/push/ann", nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	v := &paneView{t: t, conn: conn, over: make(chan struct{})}
	go func() {
		defer close(v.over)
		for {
			_, b, err := conn.ReadMessage()
			if err != nil {
				return
			}
			v.see(call, b)
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-v.over
	})
	return v
}

func (v *paneView) see(call string, b []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var kind struct{ Type string }
	into := func(m any) {
		if err := json.Unmarshal(b, m); err != nil {
			v.t.Errorf("the server sent %s: %v", b, err)
		}
	}
	into(&kind)
	switch kind.Type {
	case "snapshot":
		var m struct{ Calls []paneCall }
		into(&m)
		for _, c := range m.Calls {
			if c.ID == call {
				v.call = c
			}
		}
	case "call_started":
		var m struct{ Call paneCall }
		into(&m)
		v.call = m.Call
	case "away", "paused":
		var m struct{ Away, Paused string }
		into(&m)
		if kind.Type == "away" {
			v.call.Away = m.Away
		} else {
			v.call.Paused = m.Paused
		}
	case "utterance":
		var m paneWords
		into(&m)
		for i, o := range v.call.Utterances {
			if o.Leg == m.Leg && o.Utterance == m.Utterance {
				if o.Final {
					v.t.Errorf("the pane is told utterance %d of %s again", m.Utterance, m.Leg)
				}
				v.call.Utterances[i] = m
				return
			}
		}
		v.call.Utterances = append(v.call.Utterances, m)
	case "card":
		var m paneCard
		into(&m)
		v.call.Cards = append(v.call.Cards, m)
	case "card_state":
		var m struct{ Card, State string }
		into(&m)
		for i := range v.call.Cards {
			if v.call.Cards[i].Card.ID == m.Card {
				v.call.Cards[i].State = m.State
			}
		}
	case "error":
		v.t.Errorf("the server says %s", b)
	}
}

// until waits until the page shows what is wanted.
func (v *paneView) until(what string, as func(*paneCall) bool) paneCall {
	v.t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		v.mu.Lock()
		c := v.call
		fits := as(&c)
		v.mu.Unlock()
		if fits {
			return c
		}
		if time.Now().After(end) {
			v.t.Fatalf("the pane does not show %s: %+v", what, c)
		}
	}
}

func (v *paneView) send(format string, args ...any) {
	v.t.Helper()
	if err := v.conn.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, format, args...)); err != nil {
		v.t.Fatal(err)
	}
}

func finals(c *paneCall) (n int) {
	for _, u := range c.Utterances {
		if u.Final && len(u.Words) > 0 {
			n++
		}
	}
	return n
}

// TestPanesAcrossServers has a call on one of two servers and the agent's page on
// the other: words, cards, verdicts and pauses go through. Then the call's server
// is killed, the page's takes the call on, and the page shows it without a hole.
func TestPanesAcrossServers(t *testing.T) {
	t.Parallel()
	n := startNATS(t)
	shared := "journal:\n  url: nats://" + n.addr + "\n"
	a := launch(t, faultConfig(t, "a", shared, ""))
	b := launch(t, faultConfig(t, "b", shared, ""))
	pane := lookAt(t, b, "c")
	_, stop := talk(t, a.begin(t, "c"), 0, 21*time.Second, rtpsend.Impairment{})
	shown := pane.until("words and a card of the other server", func(c *paneCall) bool { return c.Node == "a" && finals(c) > 0 && len(c.Cards) > 0 })
	card := shown.Cards[0].Card.ID
	pane.send(`{"type":"ack","call":"c","card":%q,"received_ms":1,"painted_ms":2}`, card)
	pane.send(`{"type":"action","call":"c","card":%q,"action":"used"}`, card)
	pane.send(`{"type":"pause","call":"c","paused":true}`)
	pane.until("the verdict and the pause", func(c *paneCall) bool { return c.Cards[0].State == "used" && c.Paused != "" })
	pane.send(`{"type":"pause","call":"c","paused":false}`)
	pane.until("the end of the pause", func(c *paneCall) bool { return c.Paused == "" })
	before := a.until(t, "c", "answered", func(c *journal.Call) bool {
		return len(c.Cards) > 0 && c.Cards[0].State == "used" && c.Cards[0].Painted != nil && len(c.Pauses) == 1
	})
	a.kill(t)
	stop()
	at := time.Now()
	pane.until("that the server is lost, or that the call is here", func(c *paneCall) bool { return c.Away == "server" || c.Node == "b" })
	noticed := time.Since(at)
	here := pane.until("the call on its own server", func(c *paneCall) bool { return c.Node == "b" && c.Away == "fork" })
	took := time.Since(at)
	if finals(&here) < len(before.Transcript) || len(here.Cards) < len(before.Cards) || here.Cards[0].State != "used" {
		t.Errorf("the pane shows %d finals of %d, %d cards of %d", finals(&here), len(before.Transcript), len(here.Cards), len(before.Cards))
	}
	for _, u := range here.Utterances {
		if !u.Final {
			t.Errorf("the words that were lost are still shown: %+v", u)
		}
	}
	// The SBC forks to the other server.
	finish, _ := talk(t, b.begin(t, "c"), 14*time.Second, 21*time.Second, rtpsend.Impairment{})
	pane.until("that the call goes on", func(c *paneCall) bool { return c.Away == "" })
	finish()
	pane.until("what is said now", func(c *paneCall) bool { return finals(c) > finals(&here) })
	var after journal.Call
	if st := b.api(t, http.MethodDelete, "/v1/calls/c", "", &after); st != http.StatusOK || after.State != "ended" {
		t.Errorf("ending: %d, %q", st, after.State)
	}
	if p := after.Cards[0].Painted; p == nil || before.Cards[0].Painted == nil || p.LatencyMS != before.Cards[0].Painted.LatencyMS {
		t.Errorf("the card was painted %+v, and before the loss %+v", p, before.Cards[0].Painted)
	}
	if strings.Contains(b.logs.String(), "level=ERROR") {
		t.Error("errors in the log")
	}
	t.Logf("loss noticed after %v, call taken on after %v; %s", noticed.Round(100*time.Millisecond), took.Round(100*time.Millisecond), same(t, &before, &after))
}
