package pane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"sidetone/guidance"
	"sidetone/guidance/push"
	"sidetone/internal/needs"
)

// patience is how long a test waits for what must come; it decides only when a
// test that has failed gives up.
const patience = 20 * time.Second

// startBrowser starts one headless browser; a test opens pages in it.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	opts := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(needs.Program(t, "chromium", "chromium-browser", "google-chrome")),
		chromedp.UserDataDir(t.TempDir()),
	}
	for _, f := range []string{
		"headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
		"disable-background-networking", "disable-component-update", "disable-sync",
	} {
		opts = append(opts, chromedp.Flag(f, true))
	}
	alloc, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("closing the browser: %v", err)
		}
		cancel()
		stop()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting the browser: %v", err)
	}
	return ctx
}

// page is one agent's page with a server of its own behind it.
type page struct {
	t      *testing.T
	ctx    context.Context
	hub    *push.Hub
	gate   *gate
	url    string
	report *reports
	// front is the hub that the page connects to.
	front atomic.Pointer[push.Hub]
}

// reports records what the page reports.
type reports struct {
	mu      sync.Mutex
	painted []push.Painted
	acted   []push.Acted
	pauses  []string
	swaps   []string
}

func (r *reports) Pause(agent, call string, paused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pauses = append(r.pauses, fmt.Sprintf("%s %s %t", agent, call, paused))
}

func (r *reports) Swap(agent, call string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.swaps = append(r.swaps, agent+" "+call)
}

func (r *reports) Painted(p push.Painted) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.painted = append(r.painted, p)
}

func (r *reports) Acted(a push.Acted) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acted = append(r.acted, a)
}

func (r *reports) verdicts() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var s []string
	for _, a := range r.acted {
		s = append(s, a.Card.ID+" "+string(a.State))
	}
	return strings.Join(s, ", ")
}

// library is a small knowledge base.
type library struct{}

func (library) Search(_ context.Context, q push.Query) ([]push.Result, error) {
	switch {
	case strings.Contains(q.Text, "broken"):
		return nil, errors.New("the index is gone")
	case strings.Contains(q.Text, "fee"):
		return []push.Result{
			{
				Element: "overdraft-fee", Version: 3, Language: q.Language, Title: "Overdraft fee <b>now</b>",
				Customer: "It is five pounds.<img src=x onerror='window.pwned=1'>", Steps: []string{"Look it up"}, Internal: "Waive one a year.",
			},
			{Element: "alerts", Version: 1, Language: q.Language, Title: "Text alerts", Customer: "We can send a text."},
		}, nil
	}
	return nil, nil
}

// gate is a listener that can be shut: connections end and none is let in.
type gate struct {
	net.Listener
	mu    sync.Mutex
	shut  bool
	conns map[net.Conn]struct{}
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g.mu.Lock()
		if !g.shut {
			g.conns[c] = struct{}{}
			g.mu.Unlock()
			return c, nil
		}
		g.mu.Unlock()
		c.Close()
	}
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	if shut {
		for c := range g.conns {
			c.Close()
		}
		clear(g.conns)
	}
}

// open starts a server and shows the page of the agent "maria" in a new tab,
// at 1280 by 800, in English and light, unless emulate says otherwise.
func open(t *testing.T, browser context.Context, emulate ...chromedp.Action[chromedp.Void]) *page {
	t.Helper()
	p := &page{t: t, report: &reports{}}
	p.hub = p.newHub(push.Config{})
	p.front.Store(p.hub)
	mux := http.NewServeMux()
	mux.HandleFunc(push.Route, func(w http.ResponseWriter, r *http.Request) { p.front.Load().ServeHTTP(w, r) })
	mux.Handle("/", Handler())
	mux.HandleFunc("GET /v1/calls", func(w http.ResponseWriter, _ *http.Request) {
		calls := []map[string]any{{"call": "old", "agent": "nobody", "started": time.Now(), "state": "ended"}}
		for _, c := range p.hub.Running() {
			calls = append(calls, map[string]any{"call": c.ID, "agent": c.Agent, "started": c.Started, "state": "running"})
		}
		if err := json.NewEncoder(w).Encode(map[string]any{"calls": calls}); err != nil {
			t.Error(err)
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.gate = &gate{Listener: l, conns: map[net.Conn]struct{}{}}
	srv := &http.Server{Handler: mux}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := srv.Serve(p.gate); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	tab, cancel := chromedp.NewContext(browser)
	ctx, stop := context.WithTimeout(tab, 4*patience)
	p.ctx = ctx
	t.Cleanup(func() {
		p.shoot()
		stop()
		cancel()
		srv.Close()
		serving.Wait()
	})
	p.url = "http://" + l.Addr().String()
	p.do(chromedp.EmulateViewport(1280, 800))
	p.media("prefers-color-scheme", "light")
	p.do(emulate...)
	if err := chromedp.Listen(tab, p.watch); err != nil {
		t.Fatal(err)
	}
	p.do(chromedp.Navigate(p.url + "/agent/maria"))
	p.wait(`document.querySelector("#link").dataset.state === "connected"`)
	return p
}

// newHub makes a hub that reports to the page's reports.
func (p *page) newHub(cfg push.Config) *push.Hub {
	p.t.Helper()
	cfg.Version, cfg.Listener, cfg.Searcher = "test", p.report, library{}
	hub, err := push.New(cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if err := hub.Close(context.Background()); err != nil {
			p.t.Error(err)
		}
	})
	return hub
}

// reconnect lets the page connect to another server.
func (p *page) reconnect(to *push.Hub) {
	p.t.Helper()
	p.gate.set(true)
	p.wait(`document.querySelector("#link").dataset.state === "reconnecting"`)
	p.front.Store(to)
	p.gate.set(false)
	p.wait(`document.querySelector("#link").dataset.state === "connected"`)
}

// watch fails the test when the page has an error.
func (p *page) watch(ev any) {
	if e, ok := ev.(*runtime.EventExceptionThrown); ok {
		text := e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			text += " " + x.Description
		}
		p.t.Errorf("the page has an error: %s", text)
	}
}

// shoot keeps a picture of the page where SIDETONE_SHOTS names a folder.
func (p *page) shoot(state ...string) {
	dir := os.Getenv("SIDETONE_SHOTS")
	if dir == "" {
		return
	}
	b, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(dir+"/"+strings.Join(append([]string{strings.ReplaceAll(p.t.Name(), "/", "-")}, state...), "-")+".png", b, 0o644)
	}
	if err != nil {
		p.t.Logf("no picture: %v", err)
	}
}

func (p *page) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		p.t.Fatal(err)
	}
}

// media emulates one feature of the system. Only the last one holds.
func (p *page) media(name, value string) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: name, Value: value}},
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// eval evaluates an expression in the page.
func eval[T any](p *page, js string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](js))
	if err != nil {
		p.t.Fatalf("%s: %v", js, err)
	}
	return v
}

// wait waits until an expression is true.
func (p *page) wait(js string) {
	p.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if eval[bool](p, "Boolean("+js+")") {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("in vain: %s\nthe page shows:\n%s", js, eval[string](p, "document.body.innerText"))
		}
	}
}

// waitFor waits until something outside the page is true.
func (p *page) waitFor(what string, f func() bool) {
	p.t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("in vain: %s\nthe page shows:\n%s", what, eval[string](p, "document.body.innerText"))
		}
	}
}

// same checks the value of an expression.
func same[T comparable](p *page, js string, want T) {
	p.t.Helper()
	if got := eval[T](p, js); got != want {
		p.t.Errorf("%s is %v, want %v", js, got, want)
	}
}

// press presses keys as a keyboard does: a character comes only when the key
// itself was not taken. Names longer than one character are those of
// KeyboardEvent.key.
func (p *page) press(keys ...string) {
	p.t.Helper()
	for _, k := range keys {
		p.key(k, input.DispatchKeyEventTypeRawKeyDown, false)
		switch {
		case len([]rune(k)) == 1:
			p.key(k, input.DispatchKeyEventTypeChar, false)
		case k == "Enter":
			p.key("\r", input.DispatchKeyEventTypeChar, false)
		}
		p.key(k, input.DispatchKeyEventTypeKeyUp, false)
	}
}

func (p *page) key(k string, kind input.DispatchKeyEventType, repeat bool) {
	p.t.Helper()
	codes := map[string]int64{"Tab": 9, "Enter": 13, "Escape": 27, "ArrowUp": 38, "ArrowDown": 40}
	e := input.DispatchKeyEventParams{Type: kind, Key: k, WindowsVirtualKeyCode: codes[k]}
	if kind == input.DispatchKeyEventTypeChar {
		e.Text = k
	}
	if repeat {
		e.AutoRepeat = &repeat
	}
	if _, err := chromedp.Call(p.ctx, input.DispatchKeyEvent, e); err != nil {
		p.t.Fatal(err)
	}
}

// marked waits until keys act on the card with this title.
func (p *page) marked(title string) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`document.querySelector(".card[aria-current] h3")?.textContent === %q`, title))
}

// startCall begins the call "c1" as it would be after some seconds.
func (p *page) startCall() {
	p.t.Helper()
	err := p.hub.CallStarted(push.Call{ID: "c1", Agent: "maria", Started: time.Now().Add(-65 * time.Second), Legs: []push.Leg{
		{ID: "a", Role: "agent", State: push.LegLive}, {ID: "c", Role: "customer", State: push.LegLive},
	}})
	if err != nil {
		p.t.Fatal(err)
	}
}

// say brings words of the call "c1", 300 ms each from at on; stable < 0 is a
// final.
func (p *page) say(role string, no, rev, stable int, at int64, text string) {
	u := push.Utterance{Leg: role, Role: role, No: no, Revision: rev, Final: stable < 0, Stable: stable, StartMS: at}
	for _, w := range strings.Fields(text) {
		u.Words = append(u.Words, push.Word{Text: w, StartMS: at, EndMS: at + 280})
		at += 300
	}
	u.EndMS = at
	p.hub.Utterance("c1", u)
}

func (p *page) card(id, title string, priority int, why guidance.Why) {
	p.hub.Card(guidance.Card{
		ID: id, Call: "c1", Kind: guidance.Action, Title: title, Body: "I am doing that for you now.", Steps: []string{"First", "Second"},
		Language: "en", Why: why, Priority: priority, Born: time.Now(),
	})
}
