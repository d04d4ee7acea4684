package pane

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"sidetone/guidance"
	"sidetone/guidance/push"
)

// TestPage drives the page as an agent would, each part in a tab of its own.
func TestPage(t *testing.T) {
	browser := startBrowser(t)
	for _, c := range []struct {
		name string
		run  func(*testing.T, context.Context)
	}{
		{"Call", call}, {"Transcript", transcript}, {"Written", writtenForms}, {"WrittenDark", writtenDark}, {"Pause", pausing}, {"PauseDark", pausingDark}, {"Swap", swapping}, {"Doubt", doubting}, {"DoubtDark", doubtingDark}, {"DoubtChinese", doubtingChinese}, {"Voice", voice}, {"VoiceDark", voiceDark}, {"VoiceChinese", voiceChinese}, {"Scroll", scroll}, {"Cards", cards}, {"Keys", keys}, {"Mark", mark},
		{"TwoPanes", twoPanes}, {"Search", searching}, {"Reconnect", reconnect}, {"Failover", failover}, {"Away", away}, {"AwayChinese", awayChinese}, {"Elsewhere", elsewhere}, {"Injection", injection}, {"Themes", themes},
		{"Chinese", chinese}, {"Keyboard", keyboard}, {"Accessible", accessible}, {"Narrow", narrow}, {"Index", index},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, browser) })
	}
}

func call(t *testing.T, b context.Context) {
	p := open(t, b)
	p.wait(`!empty.hidden && document.querySelector("#call-state").textContent === "Waiting for a call"`)
	p.wait(`document.querySelector("#empty-name").textContent.includes("maria")`)
	p.startCall()
	p.wait(`empty.hidden && document.querySelector("#call-state").textContent === "On a call"`)
	p.wait(`/^1:0\d$/.test(timer.textContent)`)
	same(p, `[...document.querySelectorAll("#legs li")].map((l) => l.title).join()`, "Agent: live,Customer: live")
	p.hub.Leg("c1", push.Leg{ID: "c", Role: "customer", State: push.LegHeld})
	p.wait(`document.querySelector("#legs .customer").title === "Customer: on hold"`)
	p.hub.CallEnded("c1", "timed out", "no packet for 30s", time.Now())
	p.wait(`document.querySelector("#over").textContent.startsWith("Call ended: no more audio came after 1:0")`)
	p.wait(`document.querySelector("#over").textContent.includes("no packet for 30s")`)
	p.wait(`document.querySelector("#call").dataset.state === "ended"`)
	stopped := eval[string](p, `timer.textContent`)
	time.Sleep(1100 * time.Millisecond)
	same(p, `timer.textContent`, stopped)
	// The next call takes the screen at once.
	if err := p.hub.CallStarted(push.Call{ID: "c2", Agent: "maria", Started: time.Now()}); err != nil {
		t.Fatal(err)
	}
	p.wait(`document.querySelector("#call").dataset.state === "running" && document.querySelector("#over").hidden`)
	// A second one at the same time gets a tab, and does not take the screen.
	if err := p.hub.CallStarted(push.Call{ID: "c3", Agent: "maria", Started: time.Now()}); err != nil {
		t.Fatal(err)
	}
	p.wait(`calls.children.length === 2 && calls.querySelector("[aria-pressed=true]").textContent === "c2"`)
	p.do(chromedp.Click(chromedp.CSS("#calls button:last-child")))
	p.wait(`calls.querySelector("[aria-pressed=true]").textContent === "c3"`)
}

func transcript(t *testing.T, b context.Context) {
	p := open(t, b)
	p.startCall()
	p.say("agent", 1, 1, -1, 500, "Good morning.")
	p.say("customer", 1, 1, 2, 2000, "I lost my cart")
	p.wait(`document.querySelectorAll(".line").length === 2`)
	same(p, `document.querySelector(".customer .stable").textContent`, "I lost")
	same(p, `document.querySelector(".customer .rest").textContent`, "my cart")
	same(p, `"speaking" in document.querySelector("#legs .customer").dataset`, true)
	same(p, `getComputedStyle(document.querySelector(".stable")).color === getComputedStyle(document.querySelector(".rest")).color`, false)
	// A partial becomes its final in the same row, at the same place and height.
	eval[bool](p, `(window.row = document.querySelector(".line.customer"), window.box = row.getBoundingClientRect().toJSON(), true)`)
	p.say("customer", 1, 2, -1, 2300, "I lost my card.")
	p.wait(`document.querySelector(".line.customer .text").textContent === "I lost my card."`)
	same(p, `document.querySelector(".line.customer") === row && !row.classList.contains("partial")`, true)
	same(p, `JSON.stringify(row.getBoundingClientRect().toJSON()) === JSON.stringify(box)`, true)
	// What began earlier stands earlier, also when it arrives later.
	p.say("agent", 2, 1, 1, 1500, "May I")
	p.wait(`document.querySelectorAll(".line").length === 3`)
	same(p, `[...document.querySelectorAll(".line .text")].map((l) => l.textContent).join("|")`, "Good morning.|May I|I lost my card.")
	// An utterance that was no speech leaves.
	p.say("agent", 2, 2, -1, 1500, "")
	p.wait(`document.querySelectorAll(".line").length === 2`)
	// The speakers differ by more than colour: name, ground, indent.
	same(p, `[...document.querySelectorAll(".line .who")].map((l) => l.textContent).join()`, "Agent,Customer")
	same(p, `parseFloat(getComputedStyle(document.querySelector(".agent .text")).paddingLeft) > parseFloat(getComputedStyle(document.querySelector(".customer .text")).paddingLeft)`, true)
	same(p, `document.querySelector("#scroll").closest("[aria-live=polite]") === null && document.querySelector(".line").closest("[aria-live]") === null`, true)
}

// sayWritten brings an utterance some of whose words have a written form.
func (p *page) sayWritten(rev, stable int) {
	u := push.Utterance{Leg: "customer", Role: "customer", No: 1, Revision: rev, Final: stable < 0, Stable: stable, StartMS: 1000}
	for i, w := range strings.Fields("You charged me twenty five dollars on March twenty third, twice, for seven.") {
		at := 1000 + int64(i)*300
		u.Words = append(u.Words, push.Word{Text: w, StartMS: at, EndMS: at + 280})
	}
	u.Words[3].Written = &push.Written{Text: "$25", Words: 3}
	if stable < 0 {
		u.Words[7].Written = &push.Written{Text: "03/23,", Words: 3}
	}
	u.EndMS = u.Words[len(u.Words)-1].EndMS
	p.hub.Utterance("c1", u)
}

func writtenForms(t *testing.T, b context.Context) { showWritten(open(t, b)) }

func writtenDark(t *testing.T, b context.Context) {
	p := open(t, b)
	p.media("prefers-color-scheme", "dark")
	showWritten(p)
}

// showWritten looks at written forms as somebody who sees them, as one who
// points at them and as one who hears them.
func showWritten(p *page) {
	p.startCall()
	seen := `(() => { const text = document.querySelector(".line .text").cloneNode(true); text.querySelectorAll(".vh").forEach((e) => e.remove()); return text.textContent; })()`
	heard := `(() => { const text = document.querySelector(".line .text").cloneNode(true); text.querySelectorAll("[aria-hidden]").forEach((e) => e.remove()); return text.textContent; })()`
	p.sayWritten(1, 8)
	p.wait(`document.querySelector(".line .form")`)
	same(p, seen, "You charged me $25 on March twenty third, twice, for seven.")
	same(p, `document.querySelector(".stable .form").textContent + document.querySelectorAll(".rest .form").length`, "$250")
	p.sayWritten(2, -1)
	p.wait(`document.querySelectorAll(".line .form").length === 2`)
	same(p, seen, "You charged me $25 on 03/23, twice, for seven.")
	same(p, heard, "You charged me twenty five dollars on March twenty third, twice, for seven.")
	same(p, `[...document.querySelectorAll(".form")].map((e) => e.title).join()`, "Spoken: “twenty five dollars”,Spoken: “March twenty third,”")
	same(p, `document.querySelector("#scroll").scrollWidth <= document.querySelector("#scroll").clientWidth && document.querySelector(".written .vh").getBoundingClientRect().width <= 1`, true)
	same(p, contrast, "")
	// A card that points at one of the words marks the form that stands for it.
	p.card("k1", "Refund the fee", 50, guidance.Why{Words: []guidance.Said{{Leg: "customer", Role: "customer", Text: "five dollars", Utterance: 1, StartMS: 2200, EndMS: 2780}}, Rule: "r"})
	p.marked("Refund the fee")
	p.press("y")
	p.wait(`document.querySelector("mark .form")?.textContent === "$25" && document.querySelectorAll("mark").length === 1`)
	same(p, `getComputedStyle(document.querySelector("mark .form")).textDecorationLine`, "none")
	same(p, contrast, "")
	same(p, seen, "You charged me $25 on 03/23, twice, for seven.")
	p.do(chromedp.Click(chromedp.CSS("#language")))
	p.wait(`document.querySelector(".form").title === "原话：“twenty five dollars”"`)
	p.do(chromedp.Click(chromedp.CSS("#language")))
}

func scroll(t *testing.T, b context.Context) {
	p := open(t, b)
	p.startCall()
	for i := 1; i <= 80; i++ {
		p.say("customer", i, 1, -1, int64(i)*1000, "This is one of many things that were said on this long call.")
	}
	bottom := `(document.querySelector("#scroll").scrollHeight - document.querySelector("#scroll").scrollTop - document.querySelector("#scroll").clientHeight < 2)`
	p.wait(`document.querySelectorAll(".line").length === 80 && ` + bottom)
	same(p, `now.hidden`, true)
	eval[bool](p, `(document.querySelector("#scroll").scrollTop = 200, true)`)
	p.wait(`!now.hidden`)
	p.say("customer", 81, 1, 1, 81000, "And one more")
	p.wait(`now.textContent === "Jump to now · 1 new"`)
	same(p, `document.querySelector("#scroll").scrollTop`, 200)
	p.press("j")
	p.wait(`now.hidden && ` + bottom)
	p.say("customer", 82, 1, -1, 82000, "Still following.")
	p.wait(`document.querySelectorAll(".line").length === 82 && ` + bottom)
}

func cards(t *testing.T, b context.Context) {
	p := open(t, b)
	p.startCall()
	p.say("customer", 1, 1, -1, 2000, "Hello I think I lost my card today")
	p.card("k1", "Block the card", 50, guidance.Why{
		Words: []guidance.Said{{Leg: "customer", Role: "customer", Text: "lost my card", Utterance: 1, StartMS: 3200, EndMS: 4080}},
		Rule:  "lost-card", Intent: "replace_card", Element: "card-replace", Version: 4,
	})
	p.wait(`document.querySelector("#cards .card h3")?.textContent === "Block the card"`)
	p.wait(`announce.textContent === "New card. Action: Block the card. I am doing that for you now."`)
	p.wait(`document.querySelector("#cards .say p").textContent === "I am doing that for you now."`)
	same(p, `[...document.querySelectorAll("#cards .steps li")].map((l) => l.textContent).join()`, "First,Second")
	same(p, `document.querySelector("#cards .why").innerText.replace(/\s+/g, " ")`, "lost my card Customer · 0:03 rule lost-card · replace_card · card-replace v4")
	// The server learns when it was painted.
	p.waitFor("the ack", func() bool { rs := p.hub.Cards("c1"); return len(rs) == 1 && !rs[0].Painted.IsZero() })
	p.report.mu.Lock()
	r := p.report.painted[0]
	p.report.mu.Unlock()
	if !r.First || !r.FromWords || r.At.Before(r.Card.Born) || r.At.After(time.Now()) {
		t.Errorf("painted %+v", r)
	}
	// Higher priority stands higher; a collapsed card shows its gist.
	p.card("k2", "Offer alerts", 20, guidance.Why{Note: "never offered", Rule: "alerts"})
	p.card("k3", "Say that calls are recorded", 90, guidance.Why{Note: "not said in 45 s", Rule: "recording"})
	p.wait(`[...document.querySelectorAll("#cards h3")].map((h) => h.textContent).join() === "Say that calls are recorded,Block the card,Offer alerts"`)
	same(p, `document.querySelectorAll("#cards .card.open").length`, 2)
	p.do(chromedp.Click(chromedp.CSS("#cards .card:last-child .title")))
	p.wait(`document.querySelector("#cards .card:last-child .reason")?.textContent === "never offered"`)
	// The why leads to the words.
	p.do(chromedp.Click(chromedp.CSS(".proof")))
	p.wait(`document.querySelector("mark")?.textContent === "lost my card" && document.activeElement.classList.contains("line")`)
	p.press("Escape")
	p.wait(`document.activeElement.classList.contains("proof")`)
	// Withdrawn and expired cards leave the list and stay to be looked up.
	p.hub.Withdraw("c1", "k3", "it was said after all")
	p.wait(`document.querySelector("#cards h3").textContent === "Block the card" && !handled.hidden`)
	p.wait(`announce.textContent === "Card withdrawn: Say that calls are recorded"`)
	p.hub.Card(guidance.Card{ID: "k4", Call: "c1", Kind: guidance.Offer, Title: "Gone soon", Priority: 10, Born: time.Now(), Expires: time.Now().Add(time.Second)})
	p.wait(`[...document.querySelectorAll("#done h3")].map((h) => h.textContent).includes("Gone soon")`)
	p.wait(`[...document.querySelectorAll("#done .fate")].map((h) => h.textContent).sort().join() === "Expired,Withdrawn"`)
	same(p, `document.querySelectorAll("#done .fate[data-state=withdrawn]").length`, 1)
}

func keys(t *testing.T, b context.Context) {
	p := open(t, b)
	p.startCall()
	for i, title := range []string{"One", "Two", "Three", "Four", "Five"} {
		p.card(fmt.Sprint("k", i+1), title, 90-i, guidance.Why{Note: "because", Rule: "r"})
	}
	p.wait(`document.querySelectorAll("#cards .card").length === 5`)
	p.marked("One")
	same(p, `[...document.querySelectorAll("[aria-current] .acts button")].map((b) => b.innerText.replace(/\s+/g, " ")).join()`, "Used U,Dismiss D,Wrong W")
	p.press("u")
	p.marked("Two")
	p.press("d")
	p.marked("Three")
	p.press("W")
	p.marked("Four")
	// A key held down deals with one card only.
	p.key("u", input.DispatchKeyEventTypeRawKeyDown, false)
	for range 5 {
		p.key("u", input.DispatchKeyEventTypeRawKeyDown, true)
	}
	p.key("u", input.DispatchKeyEventTypeKeyUp, false)
	p.waitFor("four verdicts", func() bool {
		return p.report.verdicts() == "k1 used, k2 dismissed, k3 wrong, k4 used"
	})
	p.marked("Five")
	// While typing, letters are letters; with Ctrl they are the browser's.
	p.press("/", "u", "d")
	same(p, `query.value`, "ud")
	p.press("Escape")
	same(p, `query.value + document.querySelectorAll("#cards .card").length`, "1")
	// The verdict can be mended among the handled cards.
	p.do(chromedp.Click(chromedp.CSS("#handled-count")), chromedp.Click(chromedp.CSS("#done .card:last-child .title")))
	p.wait(`document.querySelector("#done .card:last-child [aria-pressed=true]")?.dataset.part === "used"`)
	time.Sleep(450 * time.Millisecond) // clicks on a card that is too new do not count
	p.do(chromedp.Click(chromedp.CSS(`#done .card:last-child [data-part="wrong"]`)))
	p.waitFor("the other verdict", func() bool { return strings.HasSuffix(p.report.verdicts(), ", k1 wrong") })
	// Shortcuts can be turned off.
	p.press("?")
	p.wait(`help.open`)
	p.do(chromedp.Click(chromedp.CSS("#single-keys")))
	p.press("Escape")
	p.wait(`!help.open`)
	p.press("u")
	p.card("k6", "Six", 10, guidance.Why{Note: "because", Rule: "r"})
	p.wait(`document.querySelectorAll("#cards .card").length === 2`)
}

// mark says that a card which has just come to the top is not yet the one that
// keys act on.
func mark(t *testing.T, b context.Context) {
	p := open(t, b)
	p.startCall()
	p.card("k1", "Old", 50, guidance.Why{Note: "because", Rule: "r"})
	p.marked("Old")
	eval[bool](p, `(new MutationObserver(() => {
		window.then ??= [cards.firstElementChild.querySelector("h3").textContent, document.querySelector("[aria-current] h3").textContent].join();
	}).observe(cards, { childList: true }), true)`)
	p.card("k2", "New", 90, guidance.Why{Note: "because", Rule: "r"})
	p.wait(`window.then`)
	same(p, `window.then`, "New,Old")
	p.marked("New")
	// The focused card is the one that keys act on, wherever it stands.
	p.press("c", "ArrowDown")
	p.marked("Old")
	p.press("d")
	p.waitFor("the verdict", func() bool { return p.report.verdicts() == "k1 dismissed" })
	same(p, `document.activeElement.querySelector("h3")?.textContent`, "New")
}

func twoPanes(t *testing.T, b context.Context) {
	p := open(t, b)
	p.startCall()
	p.card("k1", "Block the card", 50, guidance.Why{Note: "because", Rule: "r"})
	p.marked("Block the card")
	eval[bool](p, `(window.other = new WebSocket("ws://" + location.host + "/v1/push/maria"),
		other.onopen = () => other.send('{"type":"action","call":"c1","card":"k1","action":"used"}'), true)`)
	p.wait(`document.querySelector("#done h3")?.textContent === "Block the card"`)
	same(p, `document.querySelector("#done .fate").textContent`, "Used")
}

func searching(t *testing.T, b context.Context) {
	p := open(t, b)
	p.press("/")
	same(p, `document.activeElement === query && query.value === ""`, true)
	p.press("f", "e", "e")
	p.wait(`document.querySelectorAll("#hits > li").length === 2 && found.textContent === "2 results"`)
	p.press("ArrowDown", "Enter")
	p.wait(`document.querySelector("#hits details").open`)
	same(p, `document.querySelector("#hits details .say p").textContent`, "It is five pounds.<img src=x onerror='window.pwned=1'>")
	same(p, `document.querySelector("#hits summary").innerText.replace(/\s+/g, " ")`, "Overdraft fee <b>now</b>overdraft-fee v3")
	p.press("ArrowDown")
	same(p, `document.activeElement.textContent.startsWith("Text alerts")`, true)
	p.press("Escape")
	same(p, `document.querySelector("#results").hidden && query.value === "" && document.activeElement !== query`, true)
	for text, want := range map[string]string{"x": "Nothing found. Try other words.", "broken": "The search failed; try again."} {
		p.press("/")
		p.press(strings.Split(text, "")...)
		p.press("Enter")
		p.wait(fmt.Sprintf(`found.textContent === %q`, want))
		p.press("Escape")
	}
	same(p, `window.pwned === undefined`, true)
}

func reconnect(t *testing.T, b context.Context) {
	p := open(t, b)
	p.startCall()
	p.say("agent", 1, 1, -1, 500, "Good morning.")
	p.say("customer", 1, 1, 1, 2000, "I lost")
	p.card("k1", "Block the card", 50, guidance.Why{Note: "because", Rule: "r"})
	p.marked("Block the card")
	p.waitFor("the ack", func() bool { return !p.hub.Cards("c1")[0].Painted.IsZero() })
	eval[bool](p, `(window.row = document.querySelector(".line.customer"), window.first = document.querySelector("#cards .card"), true)`)
	p.gate.set(true)
	p.wait(`document.querySelector("#link").dataset.state === "reconnecting" && !banner.hidden`)
	// Life goes on while the page is cut off, and the agent decides.
	p.say("customer", 1, 2, -1, 2000, "I lost my card.")
	p.say("agent", 2, 1, -1, 4000, "I am sorry.")
	p.card("k2", "Offer alerts", 20, guidance.Why{Note: "because", Rule: "r"})
	p.press("u")
	p.wait(`document.querySelector("#done h3")?.textContent === "Block the card"`)
	if v := p.report.verdicts(); v != "" {
		t.Errorf("verdicts without a connection: %s", v)
	}
	p.gate.set(false)
	p.wait(`document.querySelector("#link").dataset.state === "connected" && banner.hidden`)
	p.wait(`[...document.querySelectorAll(".line .text")].map((l) => l.textContent).join("|") === "Good morning.|I lost my card.|I am sorry."`)
	same(p, `document.querySelector(".line.customer") === row`, true)
	p.waitFor("the verdict", func() bool { return p.report.verdicts() == "k1 used" })
	p.wait(`document.querySelectorAll("#cards .card").length === 1 && document.querySelectorAll("#done .card").length === 1`)
	same(p, `document.querySelector("#done .card") === first`, true)
	p.waitFor("the second ack", func() bool { return !p.hub.Cards("c1")[1].Painted.IsZero() })
	p.report.mu.Lock()
	defer p.report.mu.Unlock()
	if n := len(p.report.painted); n != 2 {
		t.Errorf("%d acks, want one for each card", n)
	}
}

// injection lets markup come in wherever text may.
func injection(t *testing.T, b context.Context) {
	p := open(t, b)
	evil := `<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>`
	p.startCall()
	p.hub.Leg("c1", push.Leg{ID: "z", Role: evil, State: push.LegState(evil), Identity: evil})
	p.say("customer", 1, 1, 1, 1000, evil)
	p.say("agent", 1, 1, -1, 2000, evil)
	p.hub.Utterance("c1", push.Utterance{Leg: evil, Role: evil, No: 1, Revision: 1, Final: true, Words: []push.Word{{Text: evil, EndMS: 1}}})
	p.hub.Card(guidance.Card{
		ID: `k"><img src=x onerror="window.pwned=1">`, Call: "c1", Kind: guidance.Kind(evil), Title: evil, Body: evil, Steps: []string{evil}, Language: evil,
		Why: guidance.Why{
			Words: []guidance.Said{{Leg: "customer", Role: "customer", Text: evil, Utterance: 1, StartMS: 1000, EndMS: 9000}},
			Note:  evil, Rule: evil, Intent: evil, Element: evil,
		}, Priority: 1, Born: time.Now(),
	})
	p.wait(fmt.Sprintf(`document.querySelector("#cards h3")?.textContent === %q`, evil))
	p.press("y")
	p.wait(`document.querySelector("mark")`)
	same(p, `document.querySelector(".line.customer .text").textContent`, evil)
	p.hub.CallEnded("c1", evil, evil, time.Now())
	p.wait(`document.querySelector("#over").textContent.includes("<img")`)
	same(p, `document.images.length + document.querySelectorAll("body script").length`, 0)
	same(p, `window.pwned === undefined`, true)
	// The policy stands in the way of a mistake, too.
	same(p, `(() => { try { document.createElement("p").innerHTML = "<b>x</b>"; return "written"; } catch { return "refused"; } })()`, "refused")
}

// contrast lists texts whose contrast with their ground is under 4.5 : 1 (WCAG
// 2.2, 1.4.3).
const contrast = `(() => {
	const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
	const rgba = (c) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = c; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
	const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
	const ground = (e) => { for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor); if (c[3] === 255) return c; } return [255, 255, 255, 255]; };
	const poor = [];
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let n = walk.nextNode(); n; n = walk.nextNode()) {
		const e = n.parentElement;
		if (!n.data.trim() || !e.checkVisibility({ visibilityProperty: true, opacityProperty: true }) || e.closest(".vh, .skip, noscript, .goes-on .who")) continue;
		const a = light(rgba(getComputedStyle(e).color)), b = light(ground(e));
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (ratio < 4.5) poor.push(n.data.trim().slice(0, 30) + " " + ratio.toFixed(2));
	}
	return poor.join("; ");
})()`

func themes(t *testing.T, b context.Context) {
	p := open(t, b)
	p.startCall()
	p.say("agent", 1, 1, -1, 500, "Good morning.")
	p.say("customer", 1, 1, 1, 1000, "I lost my card")
	p.say("customer", 2, 1, -1, 4000, "And a fee")
	p.hub.Leg("c1", push.Leg{ID: "c", Role: "customer", State: push.LegHeld})
	for i, kind := range []guidance.Kind{guidance.Answer, guidance.Action, guidance.Script, guidance.Checklist, guidance.Compliance, guidance.Offer, guidance.Alert} {
		p.hub.Card(guidance.Card{
			ID: fmt.Sprint(i), Call: "c1", Kind: kind, Title: "A card", Body: "To say", Steps: []string{"One"}, Priority: 90 - i, Born: time.Now(),
			Why: guidance.Why{Words: []guidance.Said{{Leg: "customer", Role: "customer", Text: "lost", Utterance: 1, StartMS: 1300, EndMS: 1500}}, Note: "A note", Rule: "r"},
		})
	}
	p.wait(`document.querySelectorAll("#cards .card").length === 7`)
	p.marked("A card")
	p.press("d", "y")
	p.wait(`document.querySelectorAll("#cards .card").length === 6`)
	p.do(chromedp.Click(chromedp.CSS("#handled-count")))
	p.wait(`handled.open`)
	still := `(document.getAnimations().forEach((a) => a.finish()), getComputedStyle(document.querySelector(".talk")).backgroundColor)`
	same(p, still, "rgb(255, 255, 255)")
	same(p, contrast, "")
	same(p, `theme.textContent`, "Dark")
	p.media("prefers-color-scheme", "dark")
	same(p, still, "rgb(24, 29, 35)")
	same(p, contrast, "")
	p.wait(`theme.textContent === "Light"`)
	p.do(chromedp.Click(chromedp.CSS("#theme")))
	same(p, still, "rgb(255, 255, 255)")
	// The choice lasts.
	p.do(chromedp.Reload())
	p.wait(`document.querySelector("#link").dataset.state === "connected"`)
	same(p, still, "rgb(255, 255, 255)")
	p.do(chromedp.Click(chromedp.CSS("#theme")))
	same(p, still+` + (localStorage.getItem("sidetone.theme") ?? " follows the system")`, "rgb(24, 29, 35) follows the system")
	p.wait(`document.querySelector(".card") && getComputedStyle(document.querySelector("#cards .card")).animationName === "arrive"`)
	p.media("prefers-reduced-motion", "reduce")
	p.wait(`getComputedStyle(document.querySelector("#cards .card")).animationName === "none"`)
}

func chinese(t *testing.T, b context.Context) {
	p := open(t, b, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		agent, err := chromedp.Run(ctx, chromedp.Evaluate[string](`navigator.userAgent`))
		if err != nil {
			return err
		}
		_, err = chromedp.Call(ctx, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: agent, AcceptLanguage: "zh-CN,zh;q=0.9"})
		return err
	}))
	same(p, `document.documentElement.lang`, "zh-Hans")
	p.startCall()
	p.say("customer", 1, 1, -1, 1000, "我的 银行卡 丢了 card lost")
	p.card("k1", "冻结银行卡", 50, guidance.Why{Words: []guidance.Said{{Leg: "customer", Role: "customer", Text: "丢了", Utterance: 1, StartMS: 1600, EndMS: 1880}}, Rule: "lost-card"})
	p.marked("冻结银行卡")
	same(p, `document.querySelector(".line .text").textContent`, "我的银行卡丢了 card lost")
	english := `[...document.querySelectorAll("[data-t], .acts button, .kind, .who, .leg-state, #link-text, #call-state, #theme")].filter((e) => !/\p{Script=Han}/u.test(e.textContent)).map((e) => e.outerHTML).join()`
	same(p, english, "")
	same(p, `[...document.querySelectorAll("[data-tl]")].filter((e) => e.id !== "language" && !/\p{Script=Han}/u.test(e.getAttribute("aria-label"))).length`, 0)
	p.do(chromedp.Click(chromedp.CSS("#language")))
	p.wait(`document.documentElement.lang === "en" && document.querySelector("#call-state").textContent === "On a call"`)
	same(p, `document.querySelector(".acts button").innerText.startsWith("Used") && document.querySelector(".who").textContent === "Customer"`, true)
	p.do(chromedp.Reload())
	p.wait(`document.documentElement.lang === "en"`)
}

// keyboard walks through the page by Tab alone.
func keyboard(t *testing.T, b context.Context) {
	p := open(t, b)
	p.startCall()
	p.say("customer", 1, 1, -1, 1000, "I lost my card")
	p.card("k1", "Block the card", 50, guidance.Why{Words: []guidance.Said{{Leg: "customer", Role: "customer", Text: "lost my card", Utterance: 1, StartMS: 1300, EndMS: 2180}}, Rule: "r"})
	p.card("k2", "Offer alerts", 20, guidance.Why{Note: "because", Rule: "r"})
	p.marked("Block the card")
	want := []string{
		"skip", "pause", "language", "theme", "help-open", "voices", "scroll", "query",
		"Block the card/title", "Block the card/why0", "Block the card/used", "Block the card/dismissed", "Block the card/wrong",
		"Offer alerts/title", "Offer alerts/used", "Offer alerts/dismissed", "Offer alerts/wrong",
	}
	var got []string
	for range want {
		p.press("Tab")
		got = append(got, eval[string](p, `(() => {
			const e = document.activeElement, s = getComputedStyle(e), card = e.closest(".card");
			if (s.outlineStyle === "none" || parseFloat(s.outlineWidth) < 2) return "no outline on " + e.outerHTML;
			return e.id || (card ? card.querySelector("h3").textContent + "/" + e.dataset.part : e.className);
		})()`))
	}
	if g, w := strings.Join(got, " "), strings.Join(want, " "); g != w {
		t.Errorf("Tab goes\n%s\nwant\n%s", g, w)
	}
	p.press("Tab") // out of the page, into the browser
	p.press("Tab") // and in again
	same(p, `document.activeElement.className`, "skip")
	// The dialog takes the focus and gives it back.
	p.press("c")
	same(p, `document.activeElement.querySelector("h3").textContent`, "Block the card")
	p.press("?")
	p.wait(`help.open && help.contains(document.activeElement)`)
	p.press("u", "Escape")
	p.wait(`!help.open`)
	same(p, `document.activeElement.querySelector("h3").textContent + document.querySelectorAll("#cards .card").length`, "Block the card2")
	// From the card to the words and back.
	p.press("y")
	p.wait(`document.querySelector("mark")?.textContent === "lost my card"`)
	p.press("Escape")
	same(p, `document.activeElement.querySelector("h3")?.textContent`, "Block the card")
	p.press("t")
	same(p, `document.activeElement.id`, "scroll")
}

func narrow(t *testing.T, b context.Context) {
	for _, size := range [][2]int64{{380, 800}, {1024, 640}, {760, 640}} {
		p := open(t, b, chromedp.EmulateViewport(size[0], size[1]))
		p.startCall()
		for i := 1; i <= 20; i++ {
			p.say("customer", i, 1, -1, int64(i)*1000, "Something-rather-long-without-a-space-that-must-not-push-the-page-apart "+strings.Repeat("x", 90))
		}
		p.card("k1", "Block the card and "+strings.Repeat("y", 60), 50, guidance.Why{
			Words: []guidance.Said{{Leg: "customer", Role: "customer", Text: strings.Repeat("word ", 20), Utterance: 1, StartMS: 1300, EndMS: 2180}}, Rule: strings.Repeat("rule", 30),
		})
		p.card("k2", "Offer alerts", 20, guidance.Why{Note: "because", Rule: "r"})
		p.wait(`document.querySelectorAll("#cards .card").length === 2 && document.querySelectorAll(".line").length === 20`)
		for _, what := range []string{"document.documentElement", `document.querySelector("#guide")`, `document.querySelector("#scroll")`} {
			same(p, fmt.Sprintf("%s.scrollWidth <= %s.clientWidth", what, what), true)
		}
		same(p, fmt.Sprintf(`(([...document.querySelectorAll("[aria-current] .acts button, .tools button:not([hidden]), #query, #link")])
			.map((e) => [e, e.getBoundingClientRect()]).filter(([, r]) => r.left < 0 || r.top < 0 || r.right > %d || r.bottom > %d || r.width < 20)
			.map(([e]) => e.outerHTML).join())`, size[0], size[1]), "")
		same(p, `document.querySelector("#scroll").clientHeight > 150 && document.querySelector("#guide").clientHeight > 250`, true)
	}
}

func index(t *testing.T, b context.Context) {
	p := open(t, b)
	p.startCall()
	p.do(chromedp.Navigate(p.url + "/"))
	p.wait(`document.querySelector("#running a")?.textContent === "maria"`)
	p.do(chromedp.Click(chromedp.CSS("#running a")))
	p.wait(`document.querySelector("#call")?.dataset.state === "running"`)
	p.do(chromedp.Navigate(p.url + "/"))
	p.wait(`document.activeElement && document.querySelector("#go label").textContent !== ""`)
	p.do(chromedp.Focus(chromedp.CSS("#name")))
	p.press("李", "/", "伟", "Enter")
	p.wait(`location.pathname === "/agent/%E6%9D%8E%2F%E4%BC%9F" && document.querySelector("#agent")?.textContent === "李/伟"`)
	p.wait(`document.querySelector("#link").dataset.state === "connected"`)
}

func pausing(t *testing.T, b context.Context) { showPause(open(t, b)) }

func pausingDark(t *testing.T, b context.Context) {
	p := open(t, b)
	p.media("prefers-color-scheme", "dark")
	showPause(p)
}

// showPause pauses a call by the key and resumes it by the button; a bad line is
// named.
func showPause(p *page) {
	same(p, `document.querySelector("#pause").hidden && document.querySelector("#paused").hidden`, true)
	p.startCall()
	p.wait(`!document.querySelector("#pause").hidden`)
	p.press("p")
	p.waitFor("the pause", func() bool { p.report.mu.Lock(); defer p.report.mu.Unlock(); return len(p.report.pauses) == 1 })
	p.hub.Paused("c1", "asked for by maria")
	p.wait(`!document.querySelector("#paused").hidden`)
	same(p, `document.querySelector("#paused").textContent`, "Paused (asked for by maria). Nothing of the call is heard, shown or kept until you resume.")
	same(p, `document.querySelector("#pause").textContent + document.querySelector("#pause").getAttribute("aria-pressed")`, "Resumetrue")
	p.hub.Leg("c1", push.Leg{ID: "c", Role: "customer", State: push.LegLive, RoleReason: "label 2", Quality: &push.Quality{Loss: 6.25, JitterMS: 30, Level: -31, Poor: "loss"}})
	p.wait(`document.querySelector("#legs .poor")`)
	same(p, `document.querySelector("#legs .customer").title`, "Customer: live\nRole: label 2\nLoss 6.3 %, jitter 30 ms, level -31 dBFS")
	same(p, contrast, "")
	same(p, `document.querySelector("#pause").click() === undefined`, true)
	p.waitFor("the end of the pause", func() bool { p.report.mu.Lock(); defer p.report.mu.Unlock(); return len(p.report.pauses) == 2 })
	if got := strings.Join(p.report.pauses, ", "); got != "maria c1 true, maria c1 false" {
		p.t.Errorf("asked for %q", got)
	}
}

// swapping shows what was said under the names of the new roles.
func swapping(t *testing.T, b context.Context) {
	p := open(t, b)
	p.startCall()
	p.say("agent", 1, 1, -1, 500, "I lost my card.")
	p.say("customer", 1, 1, -1, 2500, "Good morning.")
	p.wait(`document.querySelectorAll(".line").length === 2`)
	p.hub.Leg("c1", push.Leg{ID: "agent", Role: "customer", State: push.LegLive})
	p.hub.Leg("c1", push.Leg{ID: "customer", Role: "agent", State: push.LegLive})
	p.wait(`[...document.querySelectorAll(".line .who")].map((l) => l.textContent).join() === "Customer,Agent"`)
	same(p, `document.querySelectorAll(".line.customer .text")[0].textContent`, "I lost my card.")
}

func doubting(t *testing.T, b context.Context) {
	p := open(t, b)
	showDoubt(p)
	same(p, `document.querySelector("#doubt-text").textContent`, "Swapped? Agent: “I lost my card”; Customer: “how can I help you”")
	p.do(chromedp.Click(chromedp.CSS("#swap")))
	p.waitFor("the swap", func() bool { p.report.mu.Lock(); defer p.report.mu.Unlock(); return len(p.report.swaps) == 1 })
	if got := p.report.swaps[0]; got != "maria c1" {
		t.Errorf("asked for %q", got)
	}
	p.hub.Leg("c1", push.Leg{ID: "a", Role: "customer", State: push.LegLive})
	p.hub.Leg("c1", push.Leg{ID: "c", Role: "agent", State: push.LegLive})
	p.wait(`document.querySelector("#doubt").hidden`)
	same(p, `document.activeElement.id`, "scroll")
	// A suggestion that the agent does not want stays away.
	p.hub.Leg("c1", push.Leg{ID: "c", Role: "agent", State: push.LegLive, Doubt: "“my card”"})
	p.wait(`!document.querySelector("#doubt").hidden`)
	p.do(chromedp.Click(chromedp.CSS("#swap-no")))
	p.wait(`document.querySelector("#doubt").hidden`)
	p.hub.Leg("c1", push.Leg{ID: "c", Role: "agent", State: push.LegHeld, Doubt: "“my card”, “send me”"})
	p.wait(`document.querySelector("#legs .agent").title === "Agent: on hold"`)
	same(p, `document.querySelector("#doubt").hidden`, true)
	// What is quoted is text.
	if err := p.hub.CallStarted(push.Call{ID: "c2", Agent: "maria", Started: time.Now(), Legs: []push.Leg{{ID: "a", Role: "agent", State: push.LegLive, Doubt: "<b>my card</b>"}}}); err != nil {
		t.Fatal(err)
	}
	p.do(chromedp.Click(chromedp.CSS("#calls button:last-child")))
	p.wait(`!document.querySelector("#doubt").hidden`)
	same(p, `document.querySelector("#doubt-text").children.length`, 0)
	p.hub.CallEnded("c2", "ended", "", time.Now())
	p.wait(`document.querySelector("#doubt").hidden`)
}

func doubtingDark(t *testing.T, b context.Context) {
	p := open(t, b)
	p.media("prefers-color-scheme", "dark")
	showDoubt(p)
}

func doubtingChinese(t *testing.T, b context.Context) {
	p := open(t, b)
	p.do(chromedp.Click(chromedp.CSS("#language")))
	showDoubt(p)
	same(p, `document.querySelector("#doubt-text").textContent`, "双方弄反了？坐席：“I lost my card”；客户：“how can I help you”")
	same(p, `document.querySelector("#swap").textContent`, "互换")
}

// showDoubt brings a call whose words speak against its roles.
func showDoubt(p *page) {
	same(p, `document.querySelector("#doubt").hidden`, true)
	p.startCall()
	p.wait(`document.querySelectorAll("#legs li").length === 2`)
	p.say("agent", 1, 1, -1, 500, "Hi, I lost my card.")
	p.say("customer", 1, 1, -1, 2500, "Good morning, how can I help you?")
	for role, words := range map[string]string{"agent": "“I lost my card”", "customer": "“how can I help you”"} {
		p.hub.Leg("c1", push.Leg{ID: role[:1], Role: role, State: push.LegLive, RoleReason: "label", Doubt: words})
	}
	p.wait(`document.querySelectorAll(".line").length === 2 && (document.querySelector("#doubt-text").textContent.match(/“/g) ?? []).length === 2`)
	same(p, `document.querySelector("#doubt").hidden`, false)
	same(p, contrast, "")
}
