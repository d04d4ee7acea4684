package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestServiceManagerIsTold(t *testing.T) {
	dir, err := os.MkdirTemp("", "n") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	at := filepath.Join(dir, "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: at, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", at)
	next := func() string {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1024)
		n, err := conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	ctx, cancel := context.WithCancel(t.Context())
	stop := serving(ctx, stderr())
	defer stop()
	if got := next(); got != "READY=1" {
		t.Errorf("told %q", got)
	}
	cancel()
	if got := next(); !strings.HasPrefix(got, "STOPPING=1\nSTATUS=") {
		t.Errorf("told %q", got)
	}
}

func TestHealthIsAsked(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz":
			_, _ = w.Write([]byte(`{"status":"ok"}`))
		case "/readyz":
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"ready":false}`))
		default:
			_, _ = w.Write([]byte("<html>"))
		}
	}))
	defer s.Close()
	secure := httptest.NewTLSServer(s.Config.Handler)
	defer secure.Close()
	if err := askHealth(t.Context(), secure.URL+"/healthz", io.Discard); err != nil {
		t.Errorf("over TLS: %v", err)
	}
	for path, want := range map[string]string{"/healthz": "", "/readyz": `503 Service Unavailable: {"ready":false}`, "/": "does not answer as Sidetone"} {
		var out bytes.Buffer
		err := askHealth(t.Context(), s.URL+path, &out)
		if want == "" && (err != nil || out.String() != `{"status":"ok"}`) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, %q, want %q", path, err, &out, want)
		}
	}
}

// The files for deployment call commands and flags that there are, and hold what
// the documentation promises of them.
func TestDeploymentFiles(t *testing.T) {
	read := func(name string) []string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join("deploy", name))
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for line := range strings.Lines(strings.ReplaceAll(string(b), "\\\n", " ")) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				out = append(out, line)
			}
		}
		return out
	}
	command := func(args ...string) {
		t.Helper()
		c, rest, err := rootCmd().Find(args)
		if err != nil || c.Parent() == nil {
			t.Errorf("%v: %v", args, err)
		} else if err = c.ParseFlags(rest); err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
	unit := read("sidetone.service")
	for _, want := range []string{"Type=notify", "DynamicUser=yes", "ProtectSystem=strict", "CapabilityBoundingSet=", "NoNewPrivileges=yes", "LimitNOFILE=65536", "TimeoutStopSec=11min"} {
		if !slices.Contains(unit, want) {
			t.Errorf("the unit lacks %s", want)
		}
	}
	for _, line := range unit {
		if exec, ok := strings.CutPrefix(line, "ExecStart="); ok {
			command(strings.Fields(exec)[1:]...)
		}
	}
	stages, user := map[string]bool{}, ""
	for _, line := range read("Dockerfile") {
		f := strings.Fields(line)
		switch f[0] {
		case "FROM":
			if user = ""; len(f) == 4 {
				stages[f[3]] = true
			}
		case "COPY":
			for _, a := range f[1:] {
				if from, ok := strings.CutPrefix(a, "--from="); ok && !stages[from] {
					t.Errorf("no stage %s: %s", from, line)
				}
			}
		case "USER":
			user = f[1]
		case "HEALTHCHECK":
			if !strings.HasSuffix(line, `CMD ["/sidetone", "health"]`) {
				t.Errorf("health: %s", line)
			}
			command("health")
		case "CMD":
			if line != `CMD ["serve"]` {
				t.Errorf("%s", line)
			}
			command("serve")
		case "RUN", "WORKDIR", "ARG", "ENV", "VOLUME", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT":
		default:
			t.Errorf("no instruction of a Dockerfile: %s", line)
		}
	}
	if user == "" || strings.HasPrefix(user, "0") || strings.HasPrefix(user, "root") {
		t.Errorf("the container runs as %q", user)
	}
}
