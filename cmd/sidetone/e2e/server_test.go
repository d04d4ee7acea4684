//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/demo"
	"sidetone/internal/needs"
	"sidetone/internal/wav"
)

// command is the command under test; `make e2e` builds it.
func command(t *testing.T) string {
	t.Helper()
	p := os.Getenv("SIDETONE_BINARY")
	if p == "" {
		t.Fatal("SIDETONE_BINARY is not set; run `make e2e`")
	}
	needs.Model(t, "whisper-tiny.en", "model.bin")
	needs.Model(t, "silero-vad", "silero_vad_16k.safetensors")
	return p
}

// server is a running `sidetone serve`.
type server struct {
	cmd *exec.Cmd
	// url is the address it printed.
	url  string
	logs *syncBuffer
	// exited is closed when the process is gone.
	exited chan struct{}
	err    error
	// web asks the server, where it takes another client than usual.
	web *http.Client
}

// syncBuffer collects output that is read while it grows.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// serve starts the binary on free ports, with more configuration if given, and
// waits until it serves.
func serve(t *testing.T, more string) *server {
	t.Helper()
	return launch(t, "server:\n  listen: 127.0.0.1:0\n  drain_limit: 0s\naccess:\n  required: false\nmedia:\n  first_port: 0\n  last_port: 0\n"+more)
}

// launch starts the binary with a configuration and waits until it serves. What it
// keeps is gone with the test, unless the configuration names a folder.
func launch(t *testing.T, text string) *server {
	t.Helper()
	dir := t.TempDir()
	cfg := filepath.Join(dir, "sidetone.yaml")
	if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{logs: &syncBuffer{}, exited: make(chan struct{})}
	s.cmd = exec.Command(command(t), "serve", "-c", cfg)
	s.cmd.Env = append(os.Environ(), "SIDETONE_DATA="+filepath.Join(dir, "data"))
	s.cmd.Stderr = s.logs
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := make(chan string, 1)
	go func() {
		defer close(s.exited)
		in := bufio.NewScanner(out)
		for in.Scan() {
			if page, ok := strings.CutPrefix(in.Text(), "Agent's page:"); ok {
				base, _, _ := strings.Cut(strings.TrimSpace(page), "/agent/")
				address <- base
			}
		}
		s.err = s.cmd.Wait()
	}()
	t.Cleanup(func() {
		s.stop(t)
		if t.Failed() {
			t.Logf("the server's log:\n%s", s.logs)
		}
	})
	select {
	case s.url = <-address:
	case <-s.exited:
		t.Fatalf("the server ended: %v\n%s", s.err, s.logs)
	case <-time.After(60 * time.Second):
		t.Fatal("the server does not serve after 60 s")
	}
	return s
}

// kill ends the server as a crash would.
func (s *server) kill(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.exited
	s.err = nil
}

// stop sends SIGTERM and waits; an exit status other than 0 is an error.
func (s *server) stop(t *testing.T) {
	t.Helper()
	select {
	case <-s.exited:
	default:
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("stopping the server: %v", err)
		}
		select {
		case <-s.exited:
		case <-time.After(60 * time.Second):
			t.Error("the server does not stop within 60 s")
			_ = s.cmd.Process.Kill()
			<-s.exited
		}
	}
	if s.err != nil {
		t.Errorf("the server's exit: %v", s.err)
	}
}

// client keeps no connections, which would count as the server's goroutines.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// api makes a request to the API; the answer is decoded into out if it is not nil.
func (s *server) api(t *testing.T, method, path, body string, out any) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	web := client
	if s.web != nil {
		web = s.web
	}
	res, err := web.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if out != nil {
		if err := json.Unmarshal(b, out); err != nil {
			t.Fatalf("%s %s: %v in %q", method, path, err, b)
		}
	}
	return res.StatusCode
}

// metric reads one figure of /metrics that has no labels.
func (s *server) metric(t *testing.T, name string) float64 {
	t.Helper()
	res, err := client.Get(s.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	in := bufio.NewScanner(res.Body)
	for in.Scan() {
		if v, ok := strings.CutPrefix(in.Text(), name+" "); ok {
			f, err := strconv.ParseFloat(v, 64)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// place runs `sidetone call` with a file until it has been played.
func (s *server) place(ctx context.Context, t *testing.T, file string, args ...string) error {
	t.Helper()
	args = append([]string{"call", file, "--server", s.url}, args...)
	cmd := exec.CommandContext(ctx, command(t), args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("sidetone %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// demoWav writes the demo call to a file and returns it with its script.
func demoWav(t *testing.T) (string, demo.Script) {
	t.Helper()
	script, err := demo.ReadScript()
	if err != nil {
		t.Fatal(err)
	}
	audio, err := demo.Call()
	if err != nil {
		t.Fatal(err)
	}
	p := filepath.Join(t.TempDir(), "demo.wav")
	f, err := os.Create(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(wav.Encode(f, audio, wav.MuLaw), f.Close()); err != nil {
		t.Fatal(err)
	}
	return p, script
}
