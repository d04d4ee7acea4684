//go:build e2e

package e2e

import (
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What a caller gets wrong must be answered in words and leave no call behind.
func TestBadRequestsAreAnswered(t *testing.T) {
	s := serve(t, "")
	two := `"legs":[{"role":"agent"},{"role":"customer"}]`
	if st := s.api(t, http.MethodPost, "/v1/calls", `{"call":"taken","agent":"a",`+two+`}`, nil); st != http.StatusCreated {
		t.Fatalf("a good request: status %d", st)
	}
	cases := []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"no JSON", "POST", "/v1/calls", "hello", 400, "no valid call"},
		{"cut JSON", "POST", "/v1/calls", `{"agent":"a"`, 400, "no valid call"},
		{"unknown field", "POST", "/v1/calls", `{"agnet":"a"}`, 400, "agnet"},
		{"two documents", "POST", "/v1/calls", `{"agent":"a",` + two + `}{}`, 400, "goes on"},
		{"too long", "POST", "/v1/calls", `{"agent":"` + strings.Repeat("a", 100<<10) + `"}`, 413, "longer than"},
		{"no agent", "POST", "/v1/calls", `{` + two + `}`, 400, "agent"},
		{"a path for a name", "POST", "/v1/calls", `{"agent":"../x",` + two + `}`, 400, "not allowed"},
		{"no legs", "POST", "/v1/calls", `{"agent":"a"}`, 400, "legs"},
		{"three legs", "POST", "/v1/calls", `{"agent":"a","legs":[{"role":"agent"},{"role":"customer"},{"role":"unknown"}]}`, 400, "legs"},
		{"bad role", "POST", "/v1/calls", `{"agent":"a","legs":[{"role":"boss"}]}`, 400, "boss"},
		{"same legs", "POST", "/v1/calls", `{"agent":"a","legs":[{"role":"agent"},{"role":"agent"}]}`, 400, "both"},
		{"bad codec", "POST", "/v1/calls", `{"agent":"a","legs":[{"role":"agent","codec":"G729"}]}`, 400, "G729"},
		{"taken id", "POST", "/v1/calls", `{"call":"taken","agent":"a",` + two + `}`, 409, "taken"},
		{"unknown call", "GET", "/v1/calls/none", "", 404, "none"},
		{"unknown call to end", "DELETE", "/v1/calls/none", "", 404, "none"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var answer struct{ Error, Hint string }
			if st := s.api(t, c.method, c.path, c.body, &answer); st != c.status {
				t.Errorf("status %d, want %d", st, c.status)
			}
			if !strings.Contains(answer.Error, c.want) {
				t.Errorf("answer %+v, want an error with %q", answer, c.want)
			}
		})
	}
	var list struct {
		Calls []struct{ Call, State string }
	}
	s.api(t, http.MethodGet, "/v1/calls", "", &list)
	if len(list.Calls) != 1 || list.Calls[0].Call != "taken" || list.Calls[0].State != "running" {
		t.Errorf("calls: %+v, want the one good one", list.Calls)
	}
}

// What is no acceptable RTP is counted by kind, and the call ends by silence.
func TestBadPacketsAreCounted(t *testing.T) {
	s := serve(t, "  setup_timeout: 20s\n  silence_timeout: 3s\n")
	var reply struct {
		Legs []struct{ ID, Address string }
	}
	body := `{"call":"bad","agent":"a","legs":[{"role":"customer","codec":"PCMU"}]}`
	if st := s.api(t, http.MethodPost, "/v1/calls", body, &reply); st != http.StatusCreated {
		t.Fatalf("status %d", st)
	}
	conn, err := net.Dial("udp", reply.Legs[0].Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// The first datagram has no payload to speak of and must not take the port.
	for _, b := range [][]byte{{0x80}, []byte("stray"), rtp(0, 1, 160)[:8]} {
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	for seq := range uint16(50) {
		good, wrong := rtp(0, seq, 160), rtp(18, seq, 20)
		for _, b := range [][]byte{good, wrong, good[:7]} {
			if _, err := conn.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	var rec record
	deadline := time.Now().Add(30 * time.Second)
	for rec.State != "timed out" && time.Now().Before(deadline) {
		time.Sleep(200 * time.Millisecond)
		s.api(t, http.MethodGet, "/v1/calls/bad", "", &rec)
	}
	if rec.State != "timed out" || rec.Reason == "" || len(rec.Legs) != 1 || rec.Legs[0].Stats == nil {
		t.Fatalf("the record is %+v, want a call that timed out", rec)
	}
	if st := rec.Legs[0].Stats; st.Received != 50 || st.Invalid < 100 || st.Lost != 0 {
		t.Errorf("statistics %+v, want 50 packets received and at least 100 invalid", *st)
	}
}

// A server that cannot start says why and where, and exits with 1.
func TestServerRefusesBadFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	book := write("book.yaml", "rules:\n  - id: x\n    wehn: {}\n")
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name, config string
		want         []string
	}{
		{"unknown key", "servre: {}\n", []string{"config.yaml", "servre"}},
		{"playbook", "guidance:\n  playbook: " + book + "\n", []string{"book.yaml:", "wehn"}},
		{"no knowledge", "guidance:\n  knowledge: " + empty + "\n", []string{"no elements"}},
		{"no models", "models:\n  store: " + empty + "\n", []string{"sidetone models pull"}},
		{"no such model", "recognition:\n  model: whisper-enormous\n", []string{"whisper-enormous"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			out, err := exec.Command(command(t), "serve", "-c", write("config.yaml", c.config)).CombinedOutput()
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
				t.Errorf("exit: %v, want status 1", err)
			}
			for _, w := range c.want {
				if !strings.Contains(string(out), w) {
					t.Errorf("it says %q, want %q in it", out, w)
				}
			}
		})
	}
}
