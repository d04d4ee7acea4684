//go:build e2e

package e2e

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sidetone/internal/needs"
)

// browser starts a headless Chromium, with more options if given, whose work ends
// with the test.
func browser(t *testing.T, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	path := needs.Program(t, "chromium", "chromium-browser", "google-chrome")
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 800),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("lang", "en-GB"),
	)
	opts = append(opts, more...)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	// The browser lives as long as the context of the first action.
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1280, 800)); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// within runs steps in the browser and fails the test when they take longer.
func within(ctx context.Context, t *testing.T, d time.Duration, what string, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	limited, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if err := chromedp.Do(limited, steps...); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// truth waits until a JavaScript expression is true.
func truth(expr string) chromedp.Action[chromedp.Void] {
	return chromedp.Poll[chromedp.Void](expr, chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(0))
}

// value evaluates an expression in the page.
func value[T any](ctx context.Context, t *testing.T, expr string) T {
	t.Helper()
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	v, err := chromedp.Run(limited, chromedp.Evaluate[T](expr))
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return v
}

func content(ctx context.Context, t *testing.T, selector string) string {
	t.Helper()
	return value[string](ctx, t, "document.querySelector(`"+selector+"`)?.textContent ?? ''")
}

// shot keeps a picture of the page where SIDETONE_SHOTS asks for it.
func shot(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	dir := os.Getenv("SIDETONE_SHOTS")
	if dir == "" {
		return
	}
	limited, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	png, err := chromedp.Run(limited, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatalf("screenshot: %v", err)
	}
	if err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A person opens the page, a call comes in, and what they see and press works.
func TestAgentSeesTheCall(t *testing.T) {
	s := serve(t, "")
	file, _ := demoWav(t)
	ctx := browser(t)
	within(ctx, t, 60*time.Second, "the page does not connect",
		chromedp.Navigate(s.url+"/agent/ann"),
		truth(`document.querySelector("#link").dataset.state === "connected"`),
		chromedp.WaitVisible(chromedp.CSS("#empty")))
	shot(ctx, t, "1-waiting")

	call, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	played := make(chan error, 1)
	go func() { played <- s.place(call, t, file, "--agent", "ann", "--call", "seen") }()

	// Words that may still change are told apart from those that stay, and
	// the line becomes final where it stands.
	within(ctx, t, 30*time.Second, "no partial appears", chromedp.WaitVisible(chromedp.CSS("#lines .line.partial")))
	shot(ctx, t, "2-partial")
	within(ctx, t, 30*time.Second, "no line becomes final", chromedp.WaitVisible(chromedp.CSS("#lines .line:not(.partial)")))

	// The customer has lost the card: the card comes, with the words.
	within(ctx, t, 30*time.Second, "no card for the lost card",
		truth(`[...document.querySelectorAll("#cards .card .proof q")].some(q => /lost/i.test(q.textContent))`))
	title := content(ctx, t, "#cards .card[aria-current] .title")
	body := content(ctx, t, "#cards .card[aria-current] .say p")
	proof := content(ctx, t, "#cards .card[aria-current] .proof q")
	shot(ctx, t, "3-card")
	t.Logf("card %q: %q because of %q", title, body, proof)
	if !strings.Contains(strings.ToLower(title), "card") || !strings.Contains(strings.ToLower(proof), "lost") || len(body) < 20 {
		t.Errorf("the card is %q, %q, because of %q", title, body, proof)
	}
	if steps := count(ctx, t, "#cards .card[aria-current] .steps li"); steps < 2 {
		t.Errorf("the card has %d steps, want some", steps)
	}

	// The proof leads to the words in the transcript.
	within(ctx, t, 10*time.Second, "the proof does not lead to the transcript",
		chromedp.Click(chromedp.CSS("#cards .card[aria-current] .proof")), chromedp.WaitVisible(chromedp.CSS("#lines mark")))

	// One key answers the card, on every pane and in the record.
	live := count(ctx, t, "#cards .card")
	within(ctx, t, 10*time.Second, "U does not use the card",
		chromedp.KeyEvent("u"), truth(`document.querySelectorAll("#done .card").length > 0`))
	if now := count(ctx, t, "#cards .card"); now >= live {
		t.Errorf("%d live cards after the key, %d before", now, live)
	}
	var rec record
	s.api(t, http.MethodGet, "/v1/calls/seen", "", &rec)
	used := false
	for _, c := range rec.Cards {
		used = used || c.State == "used" && c.Title == title
		if c.State == "used" && c.LatencyMS == nil {
			t.Errorf("card %q has no latency, though it was on the page", c.Title)
		}
	}
	if !used {
		t.Errorf("the record does not know that %q was used: %+v", title, rec.Cards)
	}

	// The knowledge is searched from the keyboard.
	within(ctx, t, 20*time.Second, "the search finds nothing",
		chromedp.KeyEvent("/"), chromedp.SendKeys(chromedp.CSS("#query"), "overdraft fee\r"),
		truth(`document.querySelectorAll("#hits li").length > 0 && /overdraft/i.test(document.querySelector("#hits li").textContent)`))
	shot(ctx, t, "4-search")

	// A pane that connects later has the whole call.
	lines := count(ctx, t, "#lines .line")
	within(ctx, t, 30*time.Second, "the page does not come back with its call",
		chromedp.Reload(), truth(`document.querySelector("#link").dataset.state === "connected"`),
		truth(`document.querySelectorAll("#lines .line").length > 1`))
	if now := count(ctx, t, "#lines .line"); now < lines-1 {
		t.Errorf("%d lines after a reload, %d before", now, lines)
	}

	hangUp()
	if err := <-played; err != nil {
		t.Error(err)
	}
	within(ctx, t, 30*time.Second, "the end of the call is not shown", chromedp.WaitVisible(chromedp.CSS("#over")))
	shot(ctx, t, "5-over")
	s.stop(t)
	within(ctx, t, 30*time.Second, "a lost server is not shown",
		truth(`document.querySelector("#link").dataset.state !== "connected"`))
	shot(ctx, t, "6-lost")
}

func count(ctx context.Context, t *testing.T, selector string) int {
	t.Helper()
	return value[int](ctx, t, "document.querySelectorAll(`"+selector+"`).length")
}
