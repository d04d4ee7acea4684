package app

import (
	"encoding/binary"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidetone/cmd/sidetone/internal/config"
)

// dial connects a fork to a running server.
func (r *running) dial(t *testing.T, path string, header http.Header) *websocket.Conn {
	t.Helper()
	c, res, err := websocket.DefaultDialer.DialContext(t.Context(), strings.Replace(r.URL(), "http", "ws", 1)+path, header)
	if err != nil {
		t.Fatalf("%s: %v, %+v", path, err, res)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// wait waits until a call's record is as wanted.
func (r *running) wait(t *testing.T, id string, what string, ok func(record) bool) record {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var rec record
		if r.do(t, "GET", "/v1/calls/"+id, "", &rec) == 200 && ok(rec) {
			return rec
		}
		if time.Now().After(end) {
			t.Fatalf("call %q: not %s: %+v", id, what, rec)
		}
	}
}

// TestFreeSWITCHFork has both parties of a call come in one stereo stream.
func TestFreeSWITCHFork(t *testing.T) {
	r := host(t, nil)
	conn := r.dial(t, "/v1/fork/freeswitch?call=fs-1&rate=16000&channels=2&left=customer&right=agent&agent=ann", nil)
	block := make([]byte, 4*320)
	for i := 0; i < len(block); i += 4 {
		binary.LittleEndian.PutUint16(block[i:], 1000)
		binary.LittleEndian.PutUint16(block[i+2:], 2000)
	}
	for range 10 {
		if err := conn.WriteMessage(websocket.BinaryMessage, block); err != nil {
			t.Fatal(err)
		}
	}
	rec := r.wait(t, "fs-1", "two legs", func(r record) bool { return len(r.Legs) == 2 })
	if rec.Agent != "ann" || rec.State != "running" {
		t.Errorf("the call %+v", rec)
	}
	if err := conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "")); err != nil {
		t.Fatal(err)
	}
	rec = r.wait(t, "fs-1", "ended", func(r record) bool { return r.State != "running" })
	engine := r.calls.env.recogniser.Engine.(*recording)
	levels := map[string]int16{}
	for _, l := range rec.Legs {
		f := engine.frames(l.ID)
		if len(f) < 10 {
			t.Fatalf("leg %q has %d frames", l.ID, len(f))
		}
		levels[l.Role] = f[5].Samples[100] / 100
	}
	if levels["customer"] != 10 || levels["agent"] != 20 {
		t.Errorf("levels in hundreds %v; want the customer's 10, the agent's 20", levels)
	}
}

// TestForksMustShowASecret lets nobody in without one, and hangs up when asked.
func TestForksMustShowASecret(t *testing.T) {
	secrets := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(secrets, []byte("# for the PBX\nsesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := host(t, func(c *config.Config) { c.Sources.TokensFile = secrets })
	url := strings.Replace(r.URL(), "http", "ws", 1) + "/v1/fork/freeswitch?call=x"
	if _, res, err := websocket.DefaultDialer.Dial(url, nil); err == nil || res == nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a secret: %v, %+v", err, res)
	}
	conn := r.dial(t, "/v1/fork/freeswitch?call=x&channels=1&role=customer&token=sesame", nil)
	if err := conn.WriteMessage(websocket.BinaryMessage, make([]byte, 320)); err != nil {
		t.Fatal(err)
	}
	r.wait(t, "x", "running", func(r record) bool { return len(r.Legs) == 1 })
	if st := r.do(t, "DELETE", "/v1/calls/x", "", nil); st != 200 {
		t.Errorf("ending the call: status %d", st)
	}
	for {
		if _, _, err := conn.ReadMessage(); err != nil {
			break
		}
	}
	if strings.Contains(r.logs.String(), "sesame") {
		t.Error("the secret is in the log")
	}
	if _, err := readLines(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing file of secrets is accepted")
	}
}
