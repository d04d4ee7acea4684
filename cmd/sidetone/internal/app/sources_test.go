package app

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/journal"
	"sidetone/media"
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
func (r *running) wait(t *testing.T, id string, what string, ok func(journal.Call) bool) journal.Call {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var rec journal.Call
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
	rec := r.wait(t, "fs-1", "two legs", func(r journal.Call) bool { return len(r.Legs) == 2 })
	if rec.Agent != "ann" || rec.State != "running" {
		t.Errorf("the call %+v", rec)
	}
	if err := conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "")); err != nil {
		t.Fatal(err)
	}
	rec = r.wait(t, "fs-1", "ended", func(r journal.Call) bool { return r.State != "running" })
	<-r.calls.find("fs-1").done // what was sent has been heard
	engine := r.calls.env.recogniser.Engine.(*taper)
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
	r.wait(t, "x", "running", func(r journal.Call) bool { return len(r.Legs) == 1 })
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

// TestAudioSocket joins two connections that were announced as one call.
func TestAudioSocket(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	r := host(t, func(c *config.Config) { c.Sources.AudioSocket.Listen, c.Sources.AudioSocket.Announced = addr, true })
	uuids := [][16]byte{{0xaa, 1}, {0xaa, 2}}
	text := func(u [16]byte) string {
		return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
	}
	for i, role := range []string{"customer", "agent"} {
		if st := r.do(t, "PUT", "/v1/audiosocket/"+text(uuids[i]), `{"call":"as-1","agent":"ann","role":"`+role+`"}`, nil); st != 204 {
			t.Fatalf("announcing: %d", st)
		}
	}
	for _, body := range []string{`{"role":"boss"}`, `{"call":"a b"}`, `{"x":1}`, ``} {
		if st, _, b := r.ask(t, "PUT", "/v1/audiosocket/x", body); st != 400 {
			t.Errorf("%s: %d %s", body, st, b)
		}
	}
	connect := func(u [16]byte) net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := c.Write(append([]byte{1, 0, 16}, u[:]...)); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if _, err := c.Write(append([]byte{0x10, 1, 0x40}, make([]byte, 320)...)); err != nil {
				t.Fatal(err)
			}
		}
		return c
	}
	first, second := connect(uuids[0]), connect(uuids[1])
	rec := r.wait(t, "as-1", "of two legs", func(r journal.Call) bool { return len(r.Legs) == 2 })
	if rec.Agent != "ann" || rec.Legs[0].Role == rec.Legs[1].Role {
		t.Errorf("the call %+v", rec)
	}
	hangUp := []byte{0, 0, 0}
	if _, err := first.Write(hangUp); err != nil {
		t.Fatal(err)
	}
	r.wait(t, "as-1", "with one leg gone", func(r journal.Call) bool {
		return r.Legs[0].Ended != r.Legs[1].Ended && r.State == "running"
	})
	if _, err := second.Write(hangUp); err != nil {
		t.Fatal(err)
	}
	r.wait(t, "as-1", "ended", func(r journal.Call) bool { return r.State == "ended" })
	// Nobody announced this one: it is closed.
	stray, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer stray.Close()
	if _, err := stray.Write(append([]byte{1, 0, 16}, make([]byte, 16)...)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, stray); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
	for end := time.Now().Add(20 * time.Second); !strings.Contains(r.logs.String(), "was not announced"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing says why")
		}
	}
}

// TestTwilioFork admits a stream by the token among its parameters.
func TestTwilioFork(t *testing.T) {
	secrets := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(secrets, []byte("open-sesame-16-bytes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := host(t, func(c *config.Config) { c.Sources.TokensFile = secrets })
	stream := func(call, token string) *websocket.Conn {
		conn := r.dial(t, "/v1/fork/twilio", nil)
		for _, m := range []string{
			`{"event":"connected","protocol":"Call","version":"1.0.0"}`,
			`{"event":"start","sequenceNumber":"1","streamSid":"MZ1","start":{"streamSid":"MZ1","accountSid":"AC1","callSid":"CA1","tracks":["inbound","outbound"],"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1},"customParameters":{"call":"` + call + `","agent":"ann","leg":"customer","token":"` + token + `"}}}`,
		} {
			if err := conn.WriteMessage(websocket.TextMessage, []byte(m)); err != nil {
				t.Fatal(err)
			}
		}
		return conn
	}
	bad := stream("tw-0", "guess")
	if _, _, err := bad.ReadMessage(); !websocket.IsCloseError(err, websocket.ClosePolicyViolation) {
		t.Errorf("a wrong token: %v", err)
	}
	conn := stream("tw-1", "open-sesame-16-bytes")
	payload := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 160))
	for i := range 5 {
		for _, track := range []string{"inbound", "outbound"} {
			m := fmt.Sprintf(`{"event":"media","sequenceNumber":"%d","streamSid":"MZ1","media":{"track":%q,"chunk":"%d","timestamp":"%d","payload":%q}}`, 2+i, track, i+1, 20*i, payload)
			if err := conn.WriteMessage(websocket.TextMessage, []byte(m)); err != nil {
				t.Fatal(err)
			}
		}
	}
	rec := r.wait(t, "tw-1", "of two legs", func(r journal.Call) bool { return len(r.Legs) == 2 })
	if rec.Agent != "ann" || rec.Source == "" {
		t.Errorf("the call %+v", rec)
	}
	if err := conn.WriteMessage(websocket.TextMessage, []byte(`{"event":"stop","sequenceNumber":"9","streamSid":"MZ1","stop":{"accountSid":"AC1","callSid":"CA1"}}`)); err != nil {
		t.Fatal(err)
	}
	r.wait(t, "tw-1", "ended", func(r journal.Call) bool { return r.State == "ended" })
	if strings.Contains(r.logs.String(), "sesame") {
		t.Error("the token is in the log")
	}
}

// TestJoin adds a leg of another source to a running call.
func TestJoin(t *testing.T) {
	r := host(t, nil)
	if _, err := r.calls.Join("none", media.Leg{ID: "mic"}, nil); err == nil {
		t.Error("joined a call that is not")
	}
	c := open(t, r, media.Call{ID: "j", Agent: "ann"})
	asked := make(chan media.End, 1)
	l, err := r.calls.Join("j", media.Leg{ID: "mic", Role: media.RoleAgent}, func(e media.End) { asked <- e })
	if err != nil {
		t.Fatal(err)
	}
	c.End(media.End{State: media.Ended, Reason: "over", At: time.Now()})
	if e := <-asked; e.Reason != "over" {
		t.Errorf("the guest was told %+v", e)
	}
	l.End(media.End{}, media.LegStats{})
	if st, _, b := r.ask(t, "GET", "/mic", ""); st != 200 || !strings.Contains(string(b), "<html") {
		t.Errorf("the microphone's page: %d", st)
	}
	if st, _, b := r.ask(t, "POST", "/v1/whip", "v=0"); st < 400 || st >= 500 {
		t.Errorf("WHIP answers %d: %s", st, b)
	}
}

// TestLegs adds a leg to a running call and takes it away again. The addresses
// are those that others reach.
func TestLegs(t *testing.T) {
	r := host(t, func(c *config.Config) { c.Media.Public = "192.0.2.7" })
	var opened callReply
	if st := r.do(t, "POST", "/v1/calls", `{"call":"l","agent":"ann","legs":[{"role":"customer","codec":"auto"}]}`, &opened); st != 201 || opened.Legs[0].Codec != autoCodec {
		t.Fatalf("%d %+v", st, opened)
	}
	var added legReply
	if st := r.do(t, "POST", "/v1/calls/l/legs", `{"id":"agent-2","role":"agent","codec":"G722"}`, &added); st != 201 || !strings.HasPrefix(added.Address, "192.0.2.7:") || !strings.HasPrefix(opened.Legs[0].Address, "192.0.2.7:") {
		t.Fatalf("%d %+v", st, added)
	}
	if rec := r.call(t, "l"); len(rec.Legs) != 2 || rec.Legs[1].Codec != added.Codec {
		t.Errorf("%+v", rec.Legs)
	}
	for path, want := range map[string]int{"l/legs/none": 404, "x/legs/agent-2": 404, "l/legs/agent-2": 204} {
		if st, _, b := r.ask(t, "DELETE", "/v1/calls/"+path, ""); st != want {
			t.Errorf("%s: %d %s, want %d", path, st, b, want)
		}
	}
	if rec := r.call(t, "l"); !rec.Legs[1].Ended || rec.State != "running" {
		t.Errorf("%+v", rec)
	}
	for body, want := range map[string]int{`{"role":"boss"}`: 400, `{"role":"agent","x":1}`: 400, `{"role":"customer"}`: 409} {
		if st, _, b := r.ask(t, "POST", "/v1/calls/l/legs", body); st != want {
			t.Errorf("%s: %d %s, want %d", body, st, b, want)
		}
	}
	if st := r.do(t, "POST", "/v1/calls/x/legs", `{"role":"agent"}`, nil); st != 404 {
		t.Errorf("a leg of no call: %d", st)
	}
}
