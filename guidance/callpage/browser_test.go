package callpage

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// page is one tab.
type page struct {
	t   *testing.T
	ctx context.Context
}

// show opens an address in a new tab of the given size, light unless dark.
func show(t *testing.T, browser context.Context, url string, width int64, dark bool) *page {
	t.Helper()
	tab, cancel := chromedp.NewContext(browser)
	ctx, stop := context.WithTimeout(tab, 4*patience)
	p := &page{t: t, ctx: ctx}
	t.Cleanup(func() {
		p.shoot()
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
	if err = chromedp.Listen(tab, func(ev any) {
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
func (p *page) shoot(state ...string) {
	dir := os.Getenv("SIDETONE_SHOTS")
	if dir == "" {
		return
	}
	b, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, strings.Join(append([]string{strings.ReplaceAll(p.t.Name(), "/", "-")}, state...), "-")+".png"), b, 0o644)
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

func same[T comparable](p *page, js string, want T) {
	p.t.Helper()
	if got := eval[T](p, js); got != want {
		p.t.Errorf("%s is %v, want %v", js, got, want)
	}
}

// press sends a key to what has the focus.
func (p *page) press(key string) {
	p.t.Helper()
	eval[bool](p, `document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key: "`+key+`", bubbles: true, cancelable: true})) || true`)
}

func (p *page) fits() {
	p.t.Helper()
	same(p, `document.documentElement.scrollWidth <= innerWidth`, true)
}

func TestPages(t *testing.T) {
	b := browser(t)
	for _, c := range []struct {
		name string
		run  func(*testing.T, context.Context)
	}{
		{"List", list}, {"ListDark", listDark}, {"ListPhone", listPhone}, {"Call", aCall}, {"CallDark", callDark}, {"CallPhone", callPhone},
		{"CallChinese", callChinese}, {"NoRecording", noRecording}, {"NoCall", noCall},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, b) })
	}
}

func list(t *testing.T, b context.Context) {
	s := server(t, 200, "")
	p := show(t, b, s.URL+"/calls", 1280, false)
	p.wait(`document.querySelectorAll(".row").length === 1`)
	same(p, `document.querySelector(".row").getAttribute("href")`, "/calls/"+key)
	same(p, `document.querySelector(".rec").textContent`, "recorded")
	p.do(chromedp.Click(chromedp.CSS("#more")))
	p.wait(`document.querySelectorAll(".row").length === 2 && more.hidden`)
	same(p, `[...document.querySelectorAll(".chip")].map((c) => c.textContent).join()`, "ended,lost")
	same(p, `document.querySelectorAll(".long")[1].textContent`, "1:01:40")
	p.press("/")
	same(p, `document.activeElement.id`, "text")
	p.press("Escape")
	p.press("j")
	p.press("ArrowDown")
	same(p, `[...document.querySelectorAll(".row")].indexOf(document.activeElement)`, 1)
	p.press("k")
	same(p, `[...document.querySelectorAll(".row")].indexOf(document.activeElement)`, 0)
	eval[bool](p, `(text.value = "card", filters.requestSubmit(), true)`)
	p.wait(`document.querySelectorAll(".found mark").length === 1`)
	same(p, `document.querySelector(".found").textContent`, "Customer · 0:03 I lost my card on March")
	same(p, `document.querySelector(".row").getAttribute("href")`, "/calls/"+key+"?t=3")
	same(p, `location.search`, "?text=card")
	p.fits()
}

func listDark(t *testing.T, b context.Context) {
	p := show(t, b, server(t, 200, "").URL+"/calls?text=card", 1280, true)
	p.wait(`document.querySelectorAll(".found mark").length === 1`)
	eval[bool](p, `(text.value = "nothing", filters.requestSubmit(), true)`)
	p.wait(`document.querySelectorAll(".row").length === 0`)
	same(p, `document.querySelector("#status").textContent`, "No call fits.")
	eval[bool](p, `(text.value = "card", filters.requestSubmit(), true)`)
	p.wait(`document.querySelectorAll(".found mark").length === 1`)
}

func listPhone(t *testing.T, b context.Context) {
	p := show(t, b, server(t, 200, "").URL+"/calls", 375, false)
	p.wait(`document.querySelectorAll(".row").length === 1`)
	p.fits()
}

func aCall(t *testing.T, b context.Context) {
	p := show(t, b, server(t, 200, "We%20say%20it%20first.").URL+"/calls/"+key, 1280, false)
	p.wait(`document.querySelectorAll(".line").length === 4 && !player.hidden`)
	same(p, `document.querySelector("#end").textContent`, "The call ended in the usual way. Reason: BYE.")
	same(p, `document.querySelectorAll("#legs li")[0].textContent.includes("Role known by: its address fits 22??")`, true)
	same(p, `document.querySelectorAll("#legs li")[1].textContent.includes("But: its label says 2")`, true)
	same(p, `document.querySelector("#sides").textContent`, "Left: Agent. Right: Customer. WAV, 470 kB.")
	same(p, `document.querySelector("#silent").textContent`, "Part of the recording is missing (0.5 s): the disk was too slow")
	same(p, `document.querySelector("#note").textContent`, "Consent: We say it first.")
	p.wait(`!save.hidden`)
	same(p, `document.querySelectorAll(".written")[1].textContent`, "written: <b>and</b> somebody spent $25")
	same(p, `document.querySelectorAll("#call b").length`, 0)
	same(p, `[...document.querySelectorAll(".card .fate")].map((c) => c.textContent).join()`, "used,withdrawn")
	same(p, `document.querySelector(".card").textContent.includes("on ann’s screen 480 ms after the words")`, true)
	same(p, `[...document.querySelectorAll("#marks li")].map((m) => m.textContent).join("|")`, "0:11 Paused until 0:13: card data|1.2 s were not heard: the fork was lost")
	same(p, `document.querySelectorAll(".timeline .span").length`, 7)
	// A click on a line plays it, and the line and its word are marked.
	p.wait(`audio.readyState > 0`)
	p.do(chromedp.Click(chromedp.CSS(`.line:nth-child(2) .text`)))
	p.wait(`document.querySelector(".line:nth-child(2)").hasAttribute("aria-current") && audio.currentTime >= 3`)
	p.wait(`document.querySelector(".line:nth-child(2) .now")`)
	eval[bool](p, `(audio.pause(), audio.currentTime = 6.7, true)`)
	p.wait(`document.querySelector(".line[aria-current] .now")?.textContent === "spent"`)
	same(p, `document.querySelectorAll("[aria-current]").length`, 1)
	same(p, `document.querySelectorAll(".now").length`, 1)
	// The keyboard does it, too.
	eval[bool](p, `(document.activeElement.blur(), true)`)
	p.press("ArrowRight")
	p.wait(`Math.abs(audio.currentTime - 11.7) < 0.1`)
	p.press("ArrowLeft")
	p.wait(`Math.abs(audio.currentTime - 6.7) < 0.1`)
	p.press("j")
	p.wait(`audio.currentTime === 9 && document.activeElement.parentElement === document.querySelector(".line:nth-child(4)")`)
	eval[bool](p, `(document.activeElement.blur(), true)`)
	p.press(" ")
	p.wait(`!audio.paused`)
	p.press(" ")
	p.wait(`audio.paused`)
	p.fits()
}

func callDark(t *testing.T, b context.Context) {
	p := show(t, b, server(t, 200, "").URL+"/calls/"+key+"?t=6", 1280, true)
	p.wait(`document.querySelector(".line:nth-child(3)")?.hasAttribute("aria-current")`)
	p.wait(`audio.currentTime === 6`)
}

func callPhone(t *testing.T, b context.Context) {
	p := show(t, b, server(t, 200, "").URL+"/calls/"+key, 375, false)
	p.wait(`document.querySelectorAll(".line").length === 4 && !player.hidden`)
	p.fits()
}

func callChinese(t *testing.T, b context.Context) {
	p := show(t, b, server(t, 200, "").URL+"/calls/"+key, 1280, false)
	p.wait(`document.querySelectorAll(".line").length === 4 && !player.hidden`)
	p.do(chromedp.Click(chromedp.CSS("#language")))
	p.wait(`document.documentElement.lang === "zh-Hans" && document.querySelector("#end").textContent === "通话正常结束。 原因：BYE。"`)
	same(p, `document.querySelector("#silent").textContent`, "录音有缺失（0.5 秒）：the disk was too slow")
	same(p, `document.querySelector("#sides").textContent`, "左声道：坐席。右声道：客户。WAV，470 kB。")
	p.shoot("zh")
	p.do(chromedp.Click(chromedp.CSS("#language")))
	p.wait(`document.documentElement.lang === "en"`)
}

func noRecording(t *testing.T, b context.Context) {
	for status, want := range map[int]string{
		404: "This call was not recorded.", 409: "The recording is being made; it can be played after the call.",
		410: "The recording is no longer kept, or there was no sound.", 500: "The recording cannot be played: the disk burns",
	} {
		p := show(t, b, server(t, status, "").URL+"/calls/"+key, 1280, false)
		p.wait(`document.querySelector("#silent").textContent === "` + want + `"`)
		same(p, `player.hidden`, true)
	}
}

func noCall(t *testing.T, b context.Context) {
	p := show(t, b, server(t, 200, "").URL+"/calls/none", 1280, false)
	p.wait(`document.querySelector("#problem").textContent === "There is no call none, or it is not for you."`)
}
