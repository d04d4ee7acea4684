package page

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"sidetone/internal/needs"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// tab is one page in a browser.
type tab struct {
	t   *testing.T
	ctx context.Context
	// shot says that there is a picture.
	shot bool
}

// show opens an address in a new tab of the given width, light unless dark.
func show(t *testing.T, browser context.Context, url string, width int64, dark bool) *tab {
	t.Helper()
	inner, cancel := chromedp.NewContext(browser)
	ctx, stop := context.WithTimeout(inner, 4*patience)
	p := &tab{t: t, ctx: ctx}
	t.Cleanup(func() {
		if !p.shot || t.Failed() {
			p.shoot("")
		}
		stop()
		cancel()
	})
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	p.do(chromedp.EmulateViewport(width, 900))
	_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err = chromedp.Listen(inner, func(ev any) {
		if e, ok := ev.(*runtime.EventExceptionThrown); ok {
			text := e.ExceptionDetails.Text
			if x := e.ExceptionDetails.Exception; x != nil {
				text += " " + x.Description
			}
			t.Errorf("the page has an error: %s", text)
		}
	}); err != nil {
		t.Fatal(err)
	}
	p.do(chromedp.Navigate(url))
	return p
}

// shoot keeps a picture of the page where SIDETONE_SHOTS names a folder.
func (p *tab) shoot(state string) {
	dir := os.Getenv("SIDETONE_SHOTS")
	if dir == "" {
		return
	}
	p.shot = true
	b, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, strings.ReplaceAll(p.t.Name(), "/", "-")+state+".png"), b, 0o644)
	}
	if err != nil {
		p.t.Logf("no picture: %v", err)
	}
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		p.t.Fatal(err)
	}
}

func eval[T any](p *tab, js string, how ...chromedp.EvaluateOption) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](js, how...))
	if err != nil {
		p.t.Fatalf("%s: %v", js, err)
	}
	return v
}

// wait waits until an expression is true.
func (p *tab) wait(js string) {
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

func same[T comparable](p *tab, js string, want T) {
	p.t.Helper()
	if got := eval[T](p, js); got != want {
		p.t.Errorf("%s is %v, want %v", js, got, want)
	}
}

// press sends a key to what has the focus.
func (p *tab) press(key string) {
	p.t.Helper()
	eval[bool](p, `document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key: "`+key+`", bubbles: true, cancelable: true})) || true`)
}

// click presses the button of that text.
func (p *tab) click(words string) {
	p.t.Helper()
	eval[bool](p, `([...document.querySelectorAll("dialog[open] button, :not(dialog) button")].filter((b) => b.checkVisibility() && (!ask.open || ask.contains(b))).filter((b) => b.textContent === "`+words+`").slice(0, 1).every((b) => (b.focus(), b.click(), true)))`)
}

// yes confirms what a dialog asks, and waits until that is done.
func (p *tab) yes() {
	p.t.Helper()
	eval[bool](p, `(note.textContent = "", ask.querySelector("form").requestSubmit(), true)`)
	p.wait(`!ask.open && note.textContent !== ""`)
}

// confirm presses a button and says yes to what it asks.
func (p *tab) confirm(button string) {
	p.t.Helper()
	p.click(button)
	p.wait(`ask.open`)
	p.yes()
}

// steady says that nothing is wider than the page, and that nothing moved once it
// was there.
func (p *tab) steady() {
	p.t.Helper()
	same(p, `document.documentElement.scrollWidth <= innerWidth`, true)
	moved, err := chromedp.Run(p.ctx, chromedp.Evaluate[float64](`new Promise((done) => {
		let sum = 0;
		new PerformanceObserver((list) => { for (const e of list.getEntries()) if (!e.hadRecentInput) sum += e.value; }).observe({ type: "layout-shift", buffered: true });
		setTimeout(() => done(sum), 200);
	})`, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatal(err)
	}
	if moved > 0.01 {
		p.t.Errorf("things moved on the page: layout shift of %.3f", moved)
	}
}

// browser starts one; its pages open in it.
func browser(t *testing.T) context.Context {
	t.Helper()
	opts := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(needs.Program(t, "chromium", "chromium-browser", "google-chrome")), chromedp.UserDataDir(t.TempDir()), chromedp.Flag("lang", "en"),
	}
	for _, f := range []string{
		"headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-component-update", "disable-sync",
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

func TestPages(t *testing.T) {
	b := browser(t)
	for _, c := range []struct {
		name string
		run  func(*testing.T, context.Context)
	}{
		{"Overview", overview}, {"OverviewDark", overviewDark}, {"OverviewNarrow", overviewNarrow}, {"OverviewChinese", overviewChinese}, {"People", people},
		{"Person", person}, {"PersonDark", personDark}, {"PersonNarrow", personNarrow}, {"PersonChinese", personChinese}, {"Stranger", stranger},
		{"Watch", watch}, {"WatchDark", watchDark}, {"WatchNarrow", watchNarrow}, {"Audit", auditTrail}, {"Off", off}, {"FromElsewhere", fromElsewhere},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, b) })
	}
}

const charted = `document.querySelector(".chart svg")`

func overview(t *testing.T, b context.Context) {
	p := show(t, b, serve(t, true).URL+"/voices", 1280, false)
	p.wait(charted)
	same(p, `document.querySelector(".say").textContent`, "In use: at most 0.05 % of impostors are accepted, and 3.6 % of true callers are not confirmed; a match takes 5.5 nats after 2 s of speech, and 2.7 after 15 s.")
	// Four thresholds refused nobody, five did.
	same(p, `document.querySelectorAll(".chart .below").length + "+" + document.querySelectorAll(".chart .dot").length`, "4+5")
	// The curve falls: fewer others accepted, more callers refused.
	same(p, `((c) => c.every((d, i) => i === 0 || d.x < c[i - 1].x && d.y <= c[i - 1].y))([...document.querySelectorAll(".chart .dot")].map((d) => ({ x: d.cx.baseVal.value, y: d.cy.baseVal.value })))`, true)
	// The ring lies between the two thresholds about it.
	same(p, `((u, d) => d[2].cx.baseVal.value > u && u > d[3].cx.baseVal.value)(document.querySelector(".chart .use").cx.baseVal.value, document.querySelectorAll(".chart .dot"))`, true)
	same(p, `[...document.querySelectorAll(".chart .tick")].every((e) => e.textContent.endsWith(" %"))`, true)
	same(p, `document.querySelectorAll("details tbody tr").length`, 9)
	same(p, `[...document.querySelectorAll(".figure")].map((f) => f.textContent).join("|")`,
		"1,187 enrolled|1,204 consented|57 asked|31 opted out|0 consent expired|1 open watch-list hits|1 voices looked for|1 voices that called for several customers")
	same(p, `document.querySelector("nav [aria-current]").textContent`, "Overview")
	p.press("j")
	same(p, `document.activeElement.getAttribute("href")`, "/voices/people?enrolled=true")
	p.steady()
}

func overviewDark(t *testing.T, b context.Context) {
	p := show(t, b, serve(t, false).URL+"/voices", 1280, true)
	p.wait(charted)
	same(p, `document.querySelectorAll(".box")[1].textContent.includes("This server has no watch list.")`, true)
}

func overviewNarrow(t *testing.T, b context.Context) {
	p := show(t, b, serve(t, true).URL+"/voices", 400, false)
	p.wait(charted)
	p.steady()
}

func overviewChinese(t *testing.T, b context.Context) {
	p := show(t, b, serve(t, true).URL+"/voices", 1280, false)
	p.wait(charted)
	p.do(chromedp.Click(chromedp.CSS("#language")))
	p.wait(`document.documentElement.lang === "zh-Hans" && document.querySelector("h2").textContent === "人员"`)
	same(p, `document.querySelector(".chip[data-state=match]").textContent`, "声音已确认")
	p.wait(charted)
	p.shoot("")
	p.do(chromedp.Click(chromedp.CSS("#language")))
	p.wait(`document.documentElement.lang === "en"`)
}

func people(t *testing.T, b context.Context) {
	s := serve(t, true)
	p := show(t, b, s.URL+"/voices/people", 1280, false)
	p.wait(`document.querySelectorAll(".human").length === 50`)
	same(p, `document.querySelector("a.human").getAttribute("href")`, "/voices/people/LB-40172")
	p.click("Show more")
	p.wait(`document.querySelectorAll(".human").length === 51`)
	same(p, `[...document.querySelectorAll(".human")].at(-1).textContent.startsWith("(erased)opted out")`, true)
	p.press("j")
	p.press("j")
	same(p, `[...document.querySelectorAll(".to")].indexOf(document.activeElement)`, 1)
	p.press("/")
	same(p, `document.activeElement.id`, "customer")
	p.press("Escape")
	p.steady()
	p.shoot("")
	eval[bool](p, `(state.value = "opted_out", state.dispatchEvent(new Event("change")), true)`)
	p.wait(`document.querySelectorAll(".human").length === 1`)
	same(p, `location.search`, "?state=opted_out")
	eval[bool](p, `(customer.value = "LB-40172", customer.form.requestSubmit(), true)`)
	p.wait(`location.pathname === "/voices/people/LB-40172" && document.querySelector(".whom")`)
}

func person(t *testing.T, b context.Context) {
	s := serve(t, true)
	p := show(t, b, s.URL+"/voices/people/"+customer, 1280, false)
	p.wait(charted)
	p.steady()
	same(p, `document.querySelectorAll(".comparison").length`, 4)
	same(p, `document.querySelectorAll(".chart .dot").length`, 7)
	same(p, `[...document.querySelectorAll(".chart .mark")].map((m) => m.textContent).join("|")`, "match from 7.1, later 5.6|mismatch below -6.9")
	// What is last lies above the line that it has to reach.
	same(p, `document.querySelector(".chart .use").cy.baseVal.value < [...document.querySelector(".chart .border.match").points].at(-1).y`, true)
	eval[bool](p, `(document.querySelectorAll(".comparison > summary")[2].click(), true)`)
	p.wait(`document.querySelectorAll(".chart svg").length === 2`)
	same(p, `document.querySelectorAll(".comparison")[2].querySelector("tbody").textContent`, "the enrolment’s own audio99 %6.2 s in common with the enrolment")
	same(p, `document.querySelectorAll(".comparison")[2].querySelector(".say").textContent`, "Voice not certain: it may be a recording")
	p.shoot("")
	// What cannot be undone begins at its way out.
	p.click("Revoke")
	p.wait(`ask.open && document.activeElement.textContent === "Cancel"`)
	p.shoot("-revoke")
	p.click("Cancel")
	p.wait(`!ask.open`)
	for button, want := range map[string]string{
		"Revoke": "DELETE /v1/voice/people/LB-40172/templates/b1b2c3d4e5f60718", "Roll back": "POST /v1/voice/people/LB-40172/templates/a1b2c3d4e5f60718/rollback",
		"Begin anew": "DELETE /v1/voice/people/LB-40172/passive",
	} {
		p.confirm(button)
		if !s.did(want) {
			t.Errorf("%s: the server was asked for %q", button, s.done)
		}
	}
	p.click("Enrol from a file")
	p.wait(`ask.open`)
	eval[bool](p, `((d) => { d.items.add(new File(["RIFF"], "a.wav", { type: "audio/wav" })); ask.querySelector("[type=file]").files = d.files; ask.querySelector("form").requestSubmit(); return true; })(new DataTransfer())`)
	p.wait(`!document.querySelector(".problem").hidden`)
	same(p, `document.querySelector(".problem").textContent.includes("Still missing16.8 sAgainst ittoo little speech, noise")`, true)
	if !s.did("POST /v1/voice/people/LB-40172/templates?line=phone&channel=1 RIFF") {
		t.Errorf("the server was asked for %q", s.done)
	}
	p.shoot("-enrol")
	p.click("Cancel")
	p.click("Record consent")
	p.wait(`ask.open`)
	eval[bool](p, `((f) => { f.text.value = "4"; f.channel.value = "call"; f.how.value = "spoken"; f.expires.value = "2099-05-06"; f.requestSubmit(); return true; })(ask.querySelector("form").elements.text.form.elements.text.form)`)
	p.wait(`!ask.open && document.querySelector("#note").textContent === "Recorded."`)
	if !s.did(`POST /v1/voice/people/LB-40172/consent {"state":"consented","text":"4","language":"en","channel":"call","how":"spoken","expires":"2099-05-0`) {
		t.Errorf("the server was asked for %q", s.done)
	}
	p.click("Opt out")
	p.wait(`ask.open`)
	eval[bool](p, `((f) => { f.channel.value = "call"; f.how.value = "spoken"; f.requestSubmit(); return true; })(ask.querySelector("form"))`)
	p.wait(`!ask.open && document.querySelector(".whom .chip").textContent === "opted out"`)
	same(p, `[...document.querySelectorAll(".whom button")].map((b) => b.textContent).join()`, "Record consent,Erase all")
	p.click("Erase all")
	p.wait(`ask.open`)
	eval[bool](p, `(ask.querySelector("[name=watch]").click(), ask.querySelector("form").requestSubmit(), true)`)
	p.wait(`!ask.open && document.querySelector("#note").textContent === "Erased: templates 1, comparisons 4."`)
	if !s.did("DELETE /v1/voice/people/LB-40172?watch=true") {
		t.Errorf("the server was asked for %q", s.done)
	}
}

func personDark(t *testing.T, b context.Context) {
	p := show(t, b, serve(t, true).URL+"/voices/people/"+customer, 1280, true)
	p.wait(charted)
}

func personNarrow(t *testing.T, b context.Context) {
	p := show(t, b, serve(t, true).URL+"/voices/people/"+customer, 400, false)
	p.wait(charted)
	p.steady()
}

func personChinese(t *testing.T, b context.Context) {
	p := show(t, b, serve(t, true).URL+"/voices/people/"+customer, 1280, false)
	p.wait(charted)
	p.do(chromedp.Click(chromedp.CSS("#language")))
	p.wait(`document.querySelector(".whom button").textContent === "记录同意" && ` + charted)
	p.shoot("")
	p.do(chromedp.Click(chromedp.CSS("#language")))
	p.wait(`document.documentElement.lang === "en"`)
}

func stranger(t *testing.T, b context.Context) {
	p := show(t, b, serve(t, true).URL+"/voices/people/%3Cb%3Enobody", 1280, false)
	p.wait(`document.querySelector(".whom h2")?.textContent === "<b>nobody"`)
	same(p, `document.querySelectorAll("b").length`, 0)
	same(p, `[...document.querySelectorAll(".whom button")].map((b) => b.textContent).join()`, "Record consent")
}

func watch(t *testing.T, b context.Context) {
	s := serve(t, true)
	p := show(t, b, s.URL+"/voices/watch", 1280, false)
	p.wait(`document.querySelectorAll("table").length === 3`)
	p.steady()
	same(p, `document.querySelectorAll("table")[0].querySelector("tbody").textContent.includes("took over three accounts by telephone7.3")`, true)
	same(p, `document.querySelectorAll("#entries tbody tr").length`, 1)
	same(p, `document.querySelector("#entries .warn").textContent`, "due since 5 Feb 2026")
	same(p, `document.querySelector("#links tbody a").getAttribute("href")`, "/voices/people/LB-40172")
	p.shoot("")
	p.confirm("Confirm")
	same(p, `document.querySelector("#note").textContent`, "Decided.")
	if !s.did(`POST /v1/voice/hits/h1 {"state":"confirmed"}`) {
		t.Errorf("the server was asked for %q", s.done)
	}
	p.click("Add a voice")
	p.wait(`ask.open`)
	eval[bool](p, `((f, d) => { d.items.add(new File(["RIFF"], "a.wav")); f.file.files = d.files; f.reason.value = "why"; f.basis.value = "right"; f.review.value = "2098-01-01"; f.expires.value = "2099-01-01"; return true; })(ask.querySelector("form"), new DataTransfer())`)
	p.shoot("-add")
	p.yes()
	p.click("Extend")
	p.wait(`ask.open`)
	eval[bool](p, `(ask.querySelector("[name=review]").value = "2098-05-06", true)`)
	p.yes()
	p.confirm("Remove")
	for _, want := range []string{"POST /v1/voice/watch?reason=why&basis=right&review=2098-01-01&expires=2099-01-01 RIFF", "DELETE /v1/voice/watch/77aa", `POST /v1/voice/watch/77aa {"review":"2098-05-06","expires":"2099-01-05","version":3}`} {
		if !s.did(want) {
			t.Errorf("the server was asked for %q, not %s", s.done, want)
		}
	}
	p.click("confirmed")
	p.wait(`document.querySelector("table .chip")?.textContent === "confirmed"`)
	same(p, `document.activeElement.textContent`, "confirmed")
}

func watchDark(t *testing.T, b context.Context) {
	p := show(t, b, serve(t, true).URL+"/voices/watch", 1280, true)
	p.wait(`document.querySelectorAll("table").length === 3`)
}

func watchNarrow(t *testing.T, b context.Context) {
	p := show(t, b, serve(t, true).URL+"/voices/watch", 400, false)
	p.wait(`document.querySelectorAll("table").length === 3`)
	p.steady()
}

func auditTrail(t *testing.T, b context.Context) {
	p := show(t, b, serve(t, true).URL+"/voices/audit", 1280, false)
	p.wait(`document.querySelectorAll("tbody tr").length === 5`)
	p.steady()
	p.click("Show more")
	p.wait(`document.querySelectorAll("tbody tr").length === 6`)
	same(p, `[...document.querySelectorAll("tbody tr")].at(-1).children[2].textContent`, "changed keys")
	p.shoot("")
	eval[bool](p, `(document.querySelector("[type=checkbox]").click(), true)`)
	p.wait(`document.querySelectorAll("tbody tr").length === 5`)
	eval[bool](p, `(document.querySelector("[type=checkbox]").click(), customer.value = "LB-40172", customer.form.requestSubmit(), true)`)
	p.wait(`document.querySelectorAll("tbody tr").length === 4`)
	same(p, `document.querySelector("main p a").getAttribute("href")`, "/voices/people/LB-40172")
}

func off(t *testing.T, b context.Context) {
	s := serve(t, false)
	p := show(t, b, s.URL+"/voices/watch", 1280, false)
	p.wait(`document.querySelector("[role=alert]")?.textContent.startsWith("This cannot be read")`)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/v1/voice") {
			s.Config.Handler.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"error":"no voices are compared here","hint":"set voice.on"}`))
	}))
	t.Cleanup(other.Close)
	for _, path := range []string{"", "/people/one", "/watch"} {
		p.do(chromedp.Navigate(other.URL + "/voices" + path))
		p.wait(`document.querySelector("[role=alert]")?.textContent === "No voices are compared on this server (voice.on)."`)
	}
}

// The pages of calls and the first page lead here.
func fromElsewhere(t *testing.T, b context.Context) {
	s := serve(t, true)
	p := show(t, b, s.URL+"/", 1280, false)
	p.wait(`!document.querySelector("a[href='/voices']").hidden`)
	same(p, `[...document.querySelectorAll("nav a")].map((a) => a.textContent).join()`, "Calls,Voices")
	p.do(chromedp.Navigate(s.URL + "/calls"))
	p.wait(`!document.querySelector("a[href='/voices']").hidden`)
	p.shoot("")
	for role, may := range map[string]bool{"agent": false, "supervisor": false, "security": true, "administrator": true} {
		s := serve(t, true)
		s.role = role
		p.do(chromedp.Navigate(s.URL + "/"))
		// Both the link and the way out rest on who it is.
		p.wait(`!logout.hidden`)
		if may {
			p.wait(`!document.querySelector("a[href='/voices']").hidden`)
		}
		if !may && !eval[bool](p, `fetch("/v1/me").then((r) => r.json()).then(() => document.querySelector("a[href='/voices']").hidden)`, chromedp.EvalAwaitPromise) {
			t.Errorf("who is %s is led to the voices", role)
		}
	}
}
