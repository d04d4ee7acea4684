package app

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/journal"
	"sidetone/internal/leaktest"
	"sidetone/internal/needs"
	"sidetone/media/codec"
	"sidetone/media/g711"
	"sidetone/media/rtpsend"
)

func TestMain(m *testing.M) { leaktest.Main(m, leaktest.BleveWorker) }

// running is a server of the test's own process, so that the race detector and
// the leak check see all of it.
type running struct {
	*App
	logs   *logBuffer
	client *http.Client
	stop   func()
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t *testing.T, edit func(*config.Config)) *running {
	t.Helper()
	needs.Model(t, "whisper-tiny.en", "model.bin")
	return startWith(t, newRecogniser, edit)
}

func startWith(t *testing.T, engine maker, edit func(*config.Config)) *running {
	t.Helper()
	r := built(t, engine, edit)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			t.Logf("log:\n%s", r.logs)
		}
	})
	return r
}

// built is a server that does not serve yet.
func built(t *testing.T, engine maker, edit func(*config.Config)) *running {
	t.Helper()
	needs.Model(t, "silero-vad", "silero_vad_16k.safetensors")
	cfg, err := config.Default()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Server.Listen = "127.0.0.1:0"
	cfg.Media.FirstPort, cfg.Media.LastPort = 0, 0
	cfg.Storage.Dir = t.TempDir()
	cfg.Access.Required = false
	// Most tests are about something else, and the model takes its time.
	cfg.Voice.On = false
	if edit != nil {
		edit(&cfg)
	}
	r := &running{logs: &logBuffer{}, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	log := slog.New(slog.NewTextHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if r.App, err = newApp(cfg, "test", log, engine); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *running) do(t *testing.T, method, path, body string, out any) int {
	t.Helper()
	status, _, b := r.ask(t, method, path, body)
	if out != nil {
		if err := json.Unmarshal(b, out); err != nil {
			t.Fatalf("%s %s: %v in %q", method, path, err, b)
		}
	}
	return status
}

func (r *running) ask(t *testing.T, method, path, body string) (status int, header http.Header, reply []byte) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, r.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := r.client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, b
}

// play sends a second of tone to every leg of an answer.
func play(t *testing.T, c callReply) {
	t.Helper()
	var cfg rtpsend.Config
	tone := make([]int16, g711.Rate)
	for i := range tone {
		tone[i] = int16(8000 * (i / 10 % 2))
	}
	for _, l := range c.Legs {
		conn, err := net.Dial("udp", l.Address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		format, err := codec.Parse(l.Codec)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Streams = append(cfg.Streams, rtpsend.Stream{Out: conn, Samples: tone, Format: format})
	}
	if _, err := rtpsend.Play(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

func TestCallsLiveAndEndOnce(t *testing.T) {
	r := start(t, func(c *config.Config) { c.Media.MaxCalls = 2; c.Media.SilenceTimeout = 2 * time.Second })
	var first, second callReply
	if st := r.do(t, "POST", "/v1/calls", `{"call":"one","agent":"ann","legs":[{"role":"agent"},{"role":"customer","codec":"PCMA"}]}`, &first); st != 201 {
		t.Fatalf("status %d", st)
	}
	if st := r.do(t, "POST", "/v1/calls", `{"agent":"bob","legs":[{"role":"customer"}]}`, &second); st != 201 {
		t.Fatalf("status %d", st)
	}
	var full apiError
	if st := r.do(t, "POST", "/v1/calls", exampleBody, &full); st != 503 || full.Hint == "" {
		t.Errorf("a third call: status %d, %+v, want 503 with a hint", st, full)
	}
	play(t, first)
	var rec journal.Call
	if st := r.do(t, "DELETE", "/v1/calls/one", "", &rec); st != 200 || rec.State != "ended" {
		t.Errorf("ending: status %d, state %q", st, rec.State)
	}
	for _, l := range rec.Legs {
		if l.Stats == nil || l.Stats.Received != 50 || l.Stats.Lost != 0 {
			t.Errorf("leg %s: %+v, want 50 packets", l.ID, l.Stats)
		}
	}
	if st := r.do(t, "DELETE", "/v1/calls/one", "", &rec); st != 200 || rec.State != "ended" {
		t.Errorf("ending again: status %d, state %q, want the same", st, rec.State)
	}
	// A name that is free again may be used again.
	if st := r.do(t, "POST", "/v1/calls", `{"call":"one","agent":"ann","legs":[{"role":"agent"}]}`, nil); st != 201 {
		t.Errorf("the same name after the end: status %d", st)
	}
	play(t, second)
	deadline := time.Now().Add(30 * time.Second)
	for r.do(t, "GET", "/v1/calls/"+second.Call, "", &rec); rec.State == "running" && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
		r.do(t, "GET", "/v1/calls/"+second.Call, "", &rec)
	}
	if rec.State != "timed out" {
		t.Errorf("a call whose packets ceased is %q, want timed out", rec.State)
	}
	r.stop()
	if n := strings.Count(r.logs.String(), "msg=\"call over\""); n != 3 {
		t.Errorf("%d calls have an end, want 3", n)
	}
	if !strings.Contains(r.logs.String(), "state=aborted") {
		t.Error("the call that ran when the server stopped is not aborted")
	}
}

// A server that cannot start frees what it had taken.
func TestFailedStartLeavesNothing(t *testing.T) {
	r := start(t, nil)
	cfg, err := config.Default()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Server.Listen, cfg.Voice.On = strings.TrimPrefix(r.URL(), "http://"), false
	if _, err := New(cfg, "test", slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "server.listen") {
		t.Errorf("a taken port: %v, want an error about server.listen", err)
	}
}
