//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The secrets of the test: what of a call nobody may read who is not to.
const (
	outsidersCall = "carls-secret-call"
	outsidersWord = "carls-secret-word"
	password      = "correct horse battery"
)

// visitor is somebody who tries the doors.
type visitor struct {
	name string
	// header is what shows who it is.
	header http.Header
}

// attempt is one door, and what each visitor is to get there: nobody, ann the
// agent, sue the supervisor, the PBX's token. readable says who may read about
// carl's call there.
type attempt struct {
	method, path, body string
	want               [4]string
	readable           [4]bool
}

// TestOutsider tries every door of a server without credentials, as an agent, as
// a supervisor and with an integrator's token, while another agent's call runs.
func TestOutsider(t *testing.T) {
	dir := t.TempDir()
	cfg := fmt.Sprintf("server:\n  listen: %s\n  drain_limit: 0s\naccess:\n  local_metrics: false\nstorage:\n  dir: %s\nmedia:\n  first_port: 0\n  last_port: 0\nsources:\n"+
		"  allow: [10.1.0.0/16]\n  audiosocket:\n    listen: %s\n  siprec:\n    udp: %s\n  webrtc:\n    listen: 127.0.0.1:0\n",
		freeAddr(t), filepath.Join(dir, "data"), freeAddr(t), freeAddr(t))
	file := filepath.Join(dir, "cfg.yaml")
	if err := os.WriteFile(file, []byte(cfg), 0o600); err != nil {
		t.Fatal(err)
	}
	verb := func(in string, args ...string) string {
		t.Helper()
		cmd := exec.Command(command(t), append(args, "-c", file)...)
		var out, problem bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &out, &problem
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, &problem)
		}
		return strings.TrimSpace(out.String())
	}
	for name, role := range map[string]string{"ann": "agent", "carl": "agent", "sue": "supervisor"} {
		verb(password+"\n", "users", "add", name, "--role", role)
	}
	token := verb("", "tokens", "add", "pbx", "--role", "integrator")
	s := launch(t, cfg)

	visitors := []visitor{
		{"nobody", nil}, {"agent ann", s.login(t, "ann")}, {"supervisor sue", s.login(t, "sue")},
		{"integrator", http.Header{"Authorization": {"Bearer " + token}}},
	}
	pbx := visitors[3]
	if st, b := s.as(t, pbx, "POST", "/v1/calls", `{"call":"`+outsidersCall+`","agent":"carl","phrases":["`+outsidersWord+`"],"legs":[{"role":"agent"},{"role":"customer","identity":"`+outsidersWord+`"}]}`); st != 201 {
		t.Fatalf("carl's call: %d %s", st, b)
	}
	if st, b := s.as(t, pbx, "POST", "/v1/calls", `{"call":"anns","agent":"ann","legs":[{"role":"agent"}]}`); st != 201 {
		t.Fatalf("ann's call: %d %s", st, b)
	}

	carls := "/v1/calls/" + outsidersCall
	all := [4]bool{false, false, true, true}
	var none [4]bool
	supervisors := [4]bool{false, false, true, false}
	attempts := []attempt{
		{"GET", "/v1/calls", "", [4]string{"401", "200", "200", "200"}, all},
		{"GET", carls, "", [4]string{"401", "404", "200", "200"}, all},
		{"GET", "/v1/calls/anns", "", [4]string{"401", "200", "200", "200"}, none},
		{"GET", carls + "/events", "", [4]string{"401", "404", "200", "403"}, supervisors},
		{"GET", carls + "/recording", "", [4]string{"401", "404", "404", "403"}, none},
		{"POST", carls + "/pause", "{}", [4]string{"401", "404", "200", "200"}, all},
		{"POST", carls + "/resume", "{}", [4]string{"401", "404", "200", "200"}, all},
		{"POST", carls + "/swap", "{}", [4]string{"401", "404", "200", "200"}, all},
		{"POST", carls + "/role", `{"leg":"agent","role":"agent"}`, [4]string{"401", "403", "200", "200"}, all},
		{"POST", carls + "/legs", `{"id":"x","role":"unknown","codec":"none"}`, [4]string{"401", "403", "400", "400"}, none},
		{"DELETE", carls + "/legs/none", "", [4]string{"401", "403", "404", "404"}, none},
		{"POST", "/v1/calls", "{}", [4]string{"401", "403", "400", "400"}, none},
		{"POST", "/v1/erase", "{}", [4]string{"401", "403", "403", "403"}, none},
		{"GET", "/v1/recognition", "", [4]string{"401", "200", "200", "200"}, none},
		{"GET", "/v1/nodes", "", [4]string{"401", "403", "403", "403"}, none},
		{"GET", "/v1/drain", "", [4]string{"401", "403", "403", "403"}, none},
		{"POST", "/v1/drain", "", [4]string{"401", "403", "403", "403"}, none},
		{"DELETE", "/v1/drain", "", [4]string{"401", "403", "403", "403"}, none},
		{"PUT", "/v1/audiosocket/40325ec2-5efd-4bd3-805f-53576e581d13", "{}", [4]string{"401", "403", "403", "204"}, none},
		{"GET", "/metrics", "", [4]string{"401", "403", "403", "200"}, none},
		{"GET", "/healthz", "", [4]string{"200", "200", "200", "200"}, none},
		{"GET", "/readyz", "", [4]string{"200", "200", "200", "200"}, none},
		{"GET", "/version", "", [4]string{"200", "200", "200", "200"}, none},
		{"GET", "/v1/me", "", [4]string{"401", "200", "200", "200"}, none},
		{"GET", "/", "", [4]string{"303", "200", "200", "403"}, none},
		{"GET", "/agent/carl", "", [4]string{"303", "403", "200", "403"}, none},
		{"GET", "/agent/ann", "", [4]string{"303", "200", "200", "403"}, none},
		{"GET", "/mic", "", [4]string{"303", "200", "200", "403"}, none},
		{"GET", "/login", "", [4]string{"200", "200", "200", "200"}, none},
		{"GET", "/pane/app.js", "", [4]string{"200", "200", "200", "200"}, none},
		{"GET", "/no/such/thing", "", [4]string{"404", "404", "404", "404"}, none},
		{"GET", "/pane/../../../etc/passwd", "", [4]string{"", "", "", ""}, none},
		{"WS", "/v1/push/carl", "", [4]string{"401", "403", "101", "403"}, supervisors},
		{"WS", "/v1/push/ann", "", [4]string{"401", "101", "101", "403"}, none},
		{"WS", "/v1/fork/freeswitch", "", [4]string{"401", "403", "403", "403"}, none},
		{"WS", "/v1/fork/audiohook", "", [4]string{"401", "403", "403", "403"}, none},
		{"WS", "/v1/fork/twilio", "", [4]string{"401", "403", "403", "403"}, none},
		{"WS", "/v1/fork/media", "", [4]string{"401", "403", "403", "403"}, none},
		{"WS", "/v1/fork/asterisk", "", [4]string{"401", "403", "403", "403"}, none},
		{"POST", "/v1/whip?agent=carl", "v=0", [4]string{"401", "403", "415", "415"}, none},
		{"POST", "/v1/whip?agent=ann", "v=0", [4]string{"401", "415", "415", "415"}, none},
		{"DELETE", carls, "", [4]string{"401", "403", "200", "200"}, all},
		{"GET", carls, "", [4]string{"401", "404", "200", "200"}, all},
		{"GET", "/v1/calls?agent=carl", "", [4]string{"401", "200", "200", "200"}, all},
		{"GET", "/v1/calls?text=" + outsidersWord, "", [4]string{"401", "200", "200", "403"}, supervisors},
	}
	var table strings.Builder
	fmt.Fprintf(&table, "\n%-52s %-12s %-12s %-14s %s\n", "tried", "nobody", "agent", "supervisor", "integrator")
	for _, a := range attempts {
		var got [4]string
		for i, v := range visitors {
			st, b := s.tries(t, v, a)
			got[i] = fmt.Sprint(st)
			if a.want[i] != "" && a.want[i] != got[i] {
				t.Errorf("%s %s as %s: %s, want %s: %.200s", a.method, a.path, v.name, got[i], a.want[i], b)
			}
			// Whoever names the call may be told that there is none.
			seen := st < 300 && (strings.Contains(b, outsidersCall) || strings.Contains(b, outsidersWord))
			if seen && !a.readable[i] {
				t.Errorf("%s %s as %s tells of carl's call: %.300s", a.method, a.path, v.name, b)
			}
			if seen {
				got[i] += " carl's"
			}
		}
		fmt.Fprintf(&table, "%-52s %-12s %-12s %-14s %s\n", a.method+" "+a.path, got[0], got[1], got[2], got[3])
	}
	for _, line := range s.mediaDoors(t, cfg) {
		table.WriteString(line + "\n")
	}
	t.Log(table.String())
}

// login gives the header of somebody's session.
func (s *server) login(t *testing.T, name string) http.Header {
	t.Helper()
	body, err := json.Marshal(map[string]string{"name": name, "password": password})
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Post(s.url+"/v1/login", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 || len(res.Cookies()) == 0 {
		b, _ := io.ReadAll(res.Body)
		t.Fatalf("%s cannot log in: %d %s", name, res.StatusCode, b)
	}
	h := http.Header{}
	for _, c := range res.Cookies() {
		h.Add("Cookie", c.Name+"="+c.Value)
	}
	return h
}

// as makes a request as somebody; redirects are answers.
func (s *server) as(t *testing.T, v visitor, method, path, body string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, values := range v.header {
		r.Header[k] = values
	}
	c := http.Client{Transport: client.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if strings.HasPrefix(path, "/agent/") || path == "/" || path == "/mic" {
		r.Header.Set("Accept", "text/html")
	}
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// tries is as, or for WS the handshake and what is sent first.
func (s *server) tries(t *testing.T, v visitor, a attempt) (int, string) {
	t.Helper()
	if a.method != "WS" {
		return s.as(t, v, a.method, a.path, a.body)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var q strings.Builder
	fmt.Fprintf(&q, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
		a.path, strings.TrimPrefix(s.url, "http://"))
	for k, values := range v.header {
		for _, value := range values {
			fmt.Fprintf(&q, "%s: %s\r\n", k, value)
		}
	}
	_, _ = io.WriteString(conn, q.String()+"\r\n")
	_ = conn.SetReadDeadline(time.Now().Add(time.Second))
	b, _ := io.ReadAll(io.LimitReader(conn, 1<<16))
	var status int
	if _, err := fmt.Sscanf(string(b), "HTTP/1.1 %d", &status); err != nil {
		t.Fatalf("%s as %s: %q", a.path, v.name, b)
	}
	return status, string(b)
}

// mediaDoors tries those that are not HTTP, from an address that is not allowed.
func (s *server) mediaDoors(t *testing.T, cfg string) (rows []string) {
	t.Helper()
	address := func(key string) string {
		_, rest, _ := strings.Cut(cfg, key)
		return strings.Fields(rest)[0]
	}
	ask := func(door, network, to string, b []byte) {
		conn, err := net.Dial(network, to)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = conn.Write(b)
		_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		got := make([]byte, 4096)
		n, err := conn.Read(got)
		if n > 0 {
			t.Errorf("%s answers an address that is not allowed: %q", door, got[:n])
		}
		what := "nothing"
		if err == io.EOF {
			what = "closed"
		}
		rows = append(rows, fmt.Sprintf("%-52s %s", door, what))
	}
	ask("AudioSocket from elsewhere than sources.allow", "tcp", address("audiosocket:\n    listen:"), append([]byte{1, 0, 16}, "0123456789abcdef"...))
	ask("SIP OPTIONS from elsewhere than sources.allow", "udp", address("siprec:\n    udp:"), []byte("OPTIONS sip:rec@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;rport;branch=z9hG4bKo\r\n"+
		"Max-Forwards: 70\r\nFrom: <sip:x@127.0.0.1>;tag=o\r\nTo: <sip:rec@127.0.0.1>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"))
	return rows
}
