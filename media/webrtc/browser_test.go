package webrtc

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sidetone/internal/needs"
	"sidetone/media/webrtc/page"
)

// startBrowser starts a headless browser whose microphone says a file.
func startBrowser(t *testing.T, file string) context.Context {
	t.Helper()
	opts := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(needs.Program(t, "chromium", "chromium-browser", "google-chrome")),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("use-file-for-fake-audio-capture", file),
		chromedp.Flag("disable-features", "WebRtcHideLocalIpsWithMdns"),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"),
		chromedp.WindowSize(900, 900),
	}
	for _, f := range []string{
		"headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-quic", "no-first-run", "disable-background-networking",
		"disable-component-update", "disable-sync", "use-fake-device-for-media-stream", "use-fake-ui-for-media-stream", "allow-loopback-in-peer-connection",
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

// tab is a microphone page with an endpoint of its own behind it.
type tab struct {
	t   *testing.T
	ctx context.Context
	s   *site
	url string
	// patched counts PATCH requests by the status of their answers.
	mu      sync.Mutex
	patched map[int]int
	relay   *relay
}

// open opens the page. With a relay, packets go through it.
func open(t *testing.T, b context.Context, query string, relayed bool, edit func(*Config)) *tab {
	t.Helper()
	p := &tab{t: t, s: newSite(t, edit), patched: map[int]int{}}
	if relayed {
		p.relay = newRelay(t, p.s.Addrs()[0].(*net.UDPAddr))
	}
	mux := http.NewServeMux()
	mux.Handle("/mic", page.Handler())
	mux.Handle("/mic/", page.Handler())
	mux.Handle(DefaultPath, p)
	mux.Handle(DefaultPath+"/", p)
	web := httptest.NewServer(mux)
	t.Cleanup(func() {
		web.CloseClientConnections()
		web.Close()
	})
	p.url = web.URL
	ctx, cancel := chromedp.NewContext(b)
	t.Cleanup(cancel)
	p.ctx = ctx
	if err := chromedp.Do(ctx, chromedp.Navigate(web.URL+"/mic"+query)); err != nil {
		t.Fatal(err)
	}
	p.state("idle")
	return p
}

var port = regexp.MustCompile(`(a=candidate:\S+ \d udp \d+ 127\.0\.0\.1) \d+`)

// ServeHTTP passes requests to the endpoint, and puts the relay's port into
// what it answers.
func (p *tab) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := httptest.NewRecorder()
	p.s.ServeHTTP(rec, r)
	body := rec.Body.String()
	if p.relay != nil {
		body = port.ReplaceAllString(body, fmt.Sprintf("$1 %d", p.relay.front.LocalAddr().(*net.UDPAddr).Port))
	}
	if r.Method == http.MethodPatch {
		p.mu.Lock()
		p.patched[rec.Code]++
		p.mu.Unlock()
		if p.relay != nil && rec.Code == http.StatusOK {
			p.relay.cut.Store(false)
		}
	}
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(rec.Code)
	_, _ = io.WriteString(w, body)
}

// relay passes packets between the page and the port that sessions share.
type relay struct {
	front, back *net.UDPConn
	client      atomic.Pointer[net.UDPAddr]
	cut         atomic.Bool
}

func newRelay(t *testing.T, server *net.UDPAddr) *relay {
	t.Helper()
	front, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(loopback))
	if err != nil {
		t.Fatal(err)
	}
	back, err := net.DialUDP("udp", nil, server)
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{front: front, back: back}
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 2000)
		for {
			n, from, err := front.ReadFromUDP(b)
			if err != nil {
				return
			}
			r.client.Store(from)
			if !r.cut.Load() {
				_, _ = back.Write(b[:n])
			}
		}
	})
	wg.Go(func() {
		b := make([]byte, 2000)
		for {
			n, err := back.Read(b)
			if err != nil {
				return
			}
			if to := r.client.Load(); to != nil && !r.cut.Load() {
				_, _ = front.WriteToUDP(b[:n], to)
			}
		}
	})
	t.Cleanup(func() {
		front.Close()
		back.Close()
		wg.Wait()
	})
	return r
}

// js evaluates an expression.
func js[T any](p *tab, expr string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expr))
	if err != nil {
		p.t.Fatalf("%s: %v", expr, err)
	}
	return v
}

// state waits for a state of the page.
func (p *tab) state(want string) {
	p.t.Helper()
	var got, problem string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		got = js[string](p, `document.getElementById("box")?.dataset.state ?? ""`)
		if got == want {
			return
		}
	}
	problem = js[string](p, `document.getElementById("problem-text").textContent + " " + document.getElementById("problem-hint").textContent`)
	p.t.Fatalf("the page is %q, not %q; it says %q", got, want, problem)
}

func (p *tab) press(id string) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, chromedp.Click(chromedp.CSS("#"+id))); err != nil {
		p.t.Fatalf("pressing %s: %v", id, err)
	}
}

// picture takes a screenshot where SIDETONE_PICTURES names a folder.
func (p *tab) picture(name string) {
	p.t.Helper()
	dir := os.Getenv("SIDETONE_PICTURES")
	if dir == "" {
		return
	}
	b, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), b, 0o600); err != nil {
		p.t.Fatal(err)
	}
}
