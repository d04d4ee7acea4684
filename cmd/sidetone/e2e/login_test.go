//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// manage runs a verb on the accounts of a server.
func manage(t *testing.T, config, in string, args ...string) string {
	t.Helper()
	cmd := exec.Command(command(t), append(args, "-c", config)...)
	cmd.Stdin = strings.NewReader(in)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("sidetone %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(out.String())
}

// theme has the page believe that the system is light or dark.
func theme(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// arrive waits until an expression is true, while pages come and go.
func arrive(ctx context.Context, t *testing.T, what, expr string) {
	t.Helper()
	limited, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	for {
		// A page that goes takes its answer along.
		if ok, err := chromedp.Run(limited, chromedp.Evaluate[bool]("Boolean("+expr+")")); err == nil && ok {
			return
		}
		select {
		case <-limited.Done():
			t.Fatalf("%s: in vain: %s", what, expr)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// An agent who is not logged in is sent to log in, comes back to the page, and out
// again; an account that is locked is thrown out of the page that it has open.
func TestLogIn(t *testing.T) {
	dir := t.TempDir()
	text := fmt.Sprintf("server:\n  listen: 127.0.0.1:0\n  drain_limit: 0s\nmedia:\n  first_port: 0\n  last_port: 0\nstorage:\n  dir: %s\n", filepath.Join(dir, "data"))
	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := launch(t, text)
	const pass = "correct horse battery"
	manage(t, config, pass+"\n", "users", "add", "ann", "--role", "agent", "--display", "Ann O'Hara")
	if made := manage(t, config, "\n", "users", "add", "bob"); !strings.Contains(made, "shown this once") {
		t.Errorf("no password was made up: %s", made)
	}
	token := manage(t, config, "", "tokens", "add", "pbx")

	ctx := browser(t)
	theme(ctx, t, "light")
	within(ctx, t, 60*time.Second, "the page does not come", chromedp.Navigate(s.url+"/agent/ann"))
	arrive(ctx, t, "the page does not lead to the login", `location.pathname === "/login" && document.activeElement?.id === "name"`)
	shot(ctx, t, "login-light")
	// By keyboard: name, tab, a wrong password, enter.
	within(ctx, t, 20*time.Second, "no word about the wrong password",
		chromedp.KeyEvent("ann\t"), chromedp.KeyEvent("wrong password\r"),
		truth(`document.querySelector("#problem-text").textContent.includes("wrong") && !document.querySelector("#problem").hidden`),
		truth(`document.activeElement?.id === "password"`))
	shot(ctx, t, "login-wrong")
	theme(ctx, t, "dark")
	within(ctx, t, 20*time.Second, "no Chinese", chromedp.Click(chromedp.CSS("#language")), truth(`document.documentElement.lang === "zh-Hans"`),
		chromedp.Click(chromedp.CSS("#reveal")), truth(`document.querySelector("#password").type === "text"`))
	shot(ctx, t, "login-dark-zh")
	within(ctx, t, 20*time.Second, "no English", chromedp.Click(chromedp.CSS("#language")), truth(`document.documentElement.lang === "en"`))
	if got := value[float64](ctx, t, `document.documentElement.scrollWidth - innerWidth`); got > 0 {
		t.Errorf("the page is %v px wider than the window", got)
	}
	within(ctx, t, 20*time.Second, "the right password does not lead back",
		chromedp.Click(chromedp.CSS("#password")), chromedp.Evaluate[chromedp.Void](`document.querySelector("#password").value = ""`),
		chromedp.KeyEvent(pass+"\r"))
	const onPane = `location.pathname === "/agent/ann" && document.querySelector("#link")?.dataset.state === "connected" && !document.querySelector("#logout").hidden`
	arrive(ctx, t, "the right password does not lead back", onPane)
	shot(ctx, t, "login-pane")
	if got := value[string](ctx, t, `document.querySelector("#logout").title + document.cookie`); got != "Ann O'Hara is logged in" {
		t.Errorf("the page shows %q; it must name the person and see no cookie", got)
	}
	// Another agent's page is not for ann.
	within(ctx, t, 20*time.Second, "another's page", chromedp.Navigate(s.url+"/agent/bob"))
	arrive(ctx, t, "another's page", `document.body.innerText.includes("may not")`)
	// The login page lets pass who is logged in.
	within(ctx, t, 20*time.Second, "logged in already", chromedp.Navigate(s.url+"/login?next=/agent/ann"))
	arrive(ctx, t, "who is logged in already", onPane)
	// A locked account loses the page that is open.
	manage(t, config, "", "users", "disable", "ann")
	arrive(ctx, t, "the locked account keeps its page", `location.pathname === "/login" && document.activeElement?.id === "name"`)
	manage(t, config, "", "users", "disable", "ann", "--undo")
	within(ctx, t, 20*time.Second, "no second login", chromedp.KeyEvent("ann\t"), chromedp.KeyEvent(pass+"\r"))
	arrive(ctx, t, "no second login", onPane)
	within(ctx, t, 20*time.Second, "no way out", chromedp.Click(chromedp.CSS("#logout")))
	arrive(ctx, t, "no way out", `location.pathname + location.search === "/login?out" && document.querySelector("#problem-text").textContent.includes("logged out")`)
	shot(ctx, t, "login-out")

	// The token works from the command line.
	t.Setenv("SIDETONE_TOKEN", token)
	file, _ := demoWav(t)
	call, hangUp := context.WithTimeout(t.Context(), 3*time.Second)
	defer hangUp()
	if err := s.place(call, t, file, "--agent", "ann", "--call", "by-token"); err != nil {
		t.Errorf("a call by the token: %v", err)
	}
	if st := s.api(t, "GET", "/v1/calls/by-token", "", nil); st != 401 {
		t.Errorf("the call without a token: %d", st)
	}
}
