package pane

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sidetone/guidance"
	"sidetone/guidance/push"
)

// failover kills the server while the agent decides; another process takes the
// call on and the page connects to it.
func failover(t *testing.T, b context.Context) {
	p := open(t, b)
	p.startCall()
	began := p.hub.Running()[0].Started
	p.say("agent", 1, 1, -1, 500, "Good morning.")
	p.say("customer", 1, 1, -1, 2000, "I lost my card.")
	p.say("customer", 2, 1, 1, 4000, "And I")
	why := guidance.Why{Words: []guidance.Said{{Leg: "customer", Role: "customer", Text: "card", Utterance: 1, StartMS: 2600, EndMS: 2880}}, Rule: "r"}
	p.card("k1", "Block the card", 50, why)
	p.marked("Block the card")
	p.waitFor("the ack", func() bool { return !p.hub.Cards("c1")[0].Painted.IsZero() })
	first := p.hub.Cards("c1")[0]
	eval[bool](p, `(window.row = document.querySelector(".line.customer"), true)`)
	p.gate.set(true)
	p.wait(`document.querySelector("#link").dataset.state === "reconnecting"`)
	p.press("u")
	p.wait(`document.querySelectorAll("#done .card").length === 1`)

	// The journal has the finals and the card, not that it was painted, nor the
	// partial.
	next := p.newHub(push.Config{})
	state := push.CallState{
		Call: push.Call{ID: "c1", Agent: "maria", Started: began, Taken: 4, Away: push.AwayFork, Legs: []push.Leg{{ID: "customer", Role: "customer", State: push.LegEnded}}},
		Utterances: []push.Utterance{
			{Leg: "agent", Role: "agent", No: 1, Revision: 1, Words: []push.Word{{Text: "Good morning."}}, StartMS: 500, EndMS: 900},
			{Leg: "customer", Role: "customer", No: 1, Revision: 1, Words: []push.Word{{Text: "I lost my card."}}, StartMS: 2000, EndMS: 2880},
		},
		Cards: []push.CardRecord{{Card: first.Card, State: push.Live}},
	}
	if err := next.Restore(state); err != nil {
		t.Fatal(err)
	}
	p.front.Store(next)
	p.gate.set(false)
	p.wait(`document.querySelector("#link").dataset.state === "connected"`)
	p.wait(`[...document.querySelectorAll(".line .text")].map((l) => l.textContent).join("|") === "Good morning.|I lost my card."`)
	same(p, `document.querySelector(".line.customer") === row`, true)
	p.wait(`!document.querySelector("#away").hidden && document.querySelector("#call").dataset.state === "away"`)
	p.waitFor("the verdict", func() bool { return p.report.verdicts() == "k1 used" })
	p.waitFor("the ack again", func() bool { return !next.Cards("c1")[0].Painted.IsZero() })
	// It says when the card was painted, not when the new server showed it.
	if again := next.Cards("c1")[0]; (again.Latency - first.Latency).Abs() > 2*time.Second {
		t.Errorf("the latency was %v and is now %v", first.Latency, again.Latency)
	}
	p.wait(`document.querySelectorAll("#done .card").length === 1 && document.querySelectorAll("#cards .card").length === 0`)

	// The call goes on, and the page connects once more: nothing comes again.
	next.Away("c1", "")
	p.wait(`document.querySelector("#away").hidden && document.querySelector("#call").dataset.state === "running"`)
	p.hub = next
	p.say("customer", 3, 1, -1, 9000, "Are you there?")
	p.card("k2", "Offer alerts", 20, guidance.Why{Note: "because", Rule: "r"})
	p.waitFor("the second ack", func() bool { return !next.Cards("c1")[1].Painted.IsZero() })
	p.reconnect(next)
	p.wait(`document.querySelectorAll(".line").length === 3 && document.querySelectorAll(".card").length === 2`)
	p.press("d")
	p.waitFor("the second verdict", func() bool { return p.report.verdicts() == "k1 used, k2 dismissed" })
	p.report.mu.Lock()
	defer p.report.mu.Unlock()
	if n := len(p.report.painted); n != 3 {
		t.Errorf("%d acks, want one of each server for the first card and one for the second", n)
	}
}

func away(t *testing.T, b context.Context) {
	p := open(t, b)
	p.media("prefers-color-scheme", "dark")
	showAway(p, "No sound of this call arrives any more. Sidetone waits for the telephone system to connect again.", "Call interrupted")
	p.hub.CallEnded("c1", "lost", "the fork did not come back", time.Now())
	p.wait(`document.querySelector("#over").textContent.startsWith("Call lost")`)
	same(p, `document.querySelector("#away").hidden`, true)
}

func awayChinese(t *testing.T, b context.Context) {
	p := open(t, b)
	p.do(chromedp.Click(chromedp.CSS("#language")))
	showAway(p, "本通话已收不到声音。Sidetone 正等待电话系统重新连接。", "通话中断")
}

// showAway loses a call's fork.
func showAway(p *page, banner, state string) {
	p.startCall()
	p.say("customer", 1, 1, -1, 1000, "I lost my card.")
	p.wait(`document.querySelectorAll(".line").length === 1`)
	same(p, `document.querySelector("#away").hidden`, true)
	p.hub.Away("c1", push.AwayFork)
	p.wait(`!document.querySelector("#away").hidden`)
	same(p, `document.querySelector("#away").textContent`, banner)
	same(p, `document.querySelector("#call-state").textContent`, state)
	same(p, `document.querySelectorAll("#legs [data-state=live]").length`, 0)
	same(p, contrast, "")
}

// elsewhere shows a call of another server, loses that server, and takes the call
// on at the page's own.
func elsewhere(t *testing.T, b context.Context) {
	p := open(t, b)
	w := &wire{}
	const beat = 200 * time.Millisecond
	here := p.newHub(push.Config{Node: "edge-1", Bus: &port{w: w}, Beat: beat})
	other := &port{w: w}
	there := p.newHub(push.Config{Node: "edge-2", Bus: other, Beat: beat})
	p.reconnect(here)
	p.hub = there
	p.startCall()
	began := there.Running()[0].Started
	p.say("customer", 1, 1, -1, 1000, "I lost my card.")
	p.card("k1", "Block the card", 50, guidance.Why{Note: "because", Rule: "r"})
	p.card("k2", "Offer alerts", 20, guidance.Why{Note: "because", Rule: "r"})
	p.marked("Block the card")
	same(p, `document.querySelector("#link-text").textContent`, "Connected · call on edge-2")
	p.waitFor("the acks", func() bool {
		k := there.Cards("c1")
		return !k[0].Painted.IsZero() && !k[1].Painted.IsZero()
	})
	p.press("u")
	p.waitFor("the verdict", func() bool { return p.report.verdicts() == "k1 used" })
	p.shoot("connected")
	other.cut(true)
	p.wait(`!document.querySelector("#away").hidden`)
	same(p, `document.querySelector("#away").textContent.startsWith("The connection to the server that has this call was lost.")`, true)
	same(p, contrast, "")
	p.press("d")
	p.wait(`document.querySelector("#note").textContent.startsWith("The server that has this call cannot be reached")`)
	p.wait(`document.querySelectorAll("#done .card").length === 2`)
	p.shoot("lost")
	cards := there.Cards("c1")
	if err := here.Restore(push.CallState{Call: push.Call{ID: "c1", Agent: "maria", Started: began, Taken: 7}, Cards: cards}); err != nil {
		t.Fatal(err)
	}
	p.wait(`document.querySelector("#away").hidden && document.querySelector("#link-text").textContent === "Connected"`)
	p.waitFor("the verdict that could not be sent", func() bool { return p.report.verdicts() == "k1 used, k2 dismissed" })
	// The other server comes back and still claims the call.
	other.cut(false)
	p.say("customer", 2, 1, -1, 3000, "zombie")
	here.Card(guidance.Card{ID: "k3", Call: "c1", Kind: guidance.Action, Title: "Go on", Body: "Body", Born: time.Now()})
	p.marked("Go on")
	same(p, `document.body.innerText.includes("zombie")`, false)
	p.report.mu.Lock()
	defer p.report.mu.Unlock()
	if n := len(p.report.painted); n > 3 {
		t.Errorf("%d acks of three cards", n)
	}
}

// wire is a bus in memory, port a server's end of it.
type wire struct {
	mu   sync.Mutex
	subs []*subscription
}

type subscription struct {
	port    *port
	subject string
	fn      func(string, []byte)
	serve   func([]byte) []byte

	mu   sync.Mutex
	over bool
}

type port struct {
	w   *wire
	off bool
}

func (p *port) cut(off bool) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.off = off
}

func (p *port) add(s *subscription) (func(), error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.w.subs = append(p.w.subs, s)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.over = true
	}, nil
}

func (p *port) Subscribe(subject string, fn func(string, []byte)) (func(), error) {
	return p.add(&subscription{port: p, subject: subject, fn: fn})
}

func (p *port) Serve(subject string, fn func([]byte) []byte) (func(), error) {
	return p.add(&subscription{port: p, subject: subject, serve: fn})
}

// to finds who is reached from the port.
func (p *port) to(subject string) []*subscription {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	var subs []*subscription
	for _, s := range p.w.subs {
		if s.subject == subject && !p.off && !s.port.off {
			subs = append(subs, s)
		}
	}
	return subs
}

func (p *port) Publish(subject string, b []byte) error {
	for _, s := range p.to(subject) {
		s.mu.Lock()
		if !s.over {
			s.fn(subject, slices.Clone(b))
		}
		s.mu.Unlock()
	}
	return nil
}

func (p *port) Request(_ context.Context, subject string, b []byte) ([]byte, error) {
	for _, s := range p.to(subject) {
		return s.serve(slices.Clone(b)), nil
	}
	return nil, errors.New("nobody answers")
}
