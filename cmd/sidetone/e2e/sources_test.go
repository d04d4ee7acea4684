//go:build e2e

package e2e

import (
	"encoding/binary"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidetone/cmd/sidetone/internal/demo"
	"sidetone/media"
)

const (
	// part is how much of the demo call comes by each source: to a moment at
	// which both are silent.
	part = 38450 * time.Millisecond
	// tail is the silence after it.
	tail = 1500 * time.Millisecond
)

// One server takes the demo call by all sources at the same time.
func TestCallsComeByEverySource(t *testing.T) {
	t.Parallel()
	s := serve(t, `
sources:
  siprec: {tcp: "127.0.0.1:0"}
roles:
  addresses:
    - {role: agent, number: "22??"}
    - {role: customer, min_digits: 7}
# A busy machine may be late here, but refuses nothing.
recognition: {max_partial_wait: 0s, max_final_wait: 0s}
`)
	// Subtests that are marked as parallel run by as many as there are processors;
	// these only wait.
	var wg sync.WaitGroup
	defer wg.Wait()
	for name, test := range map[string]func(*testing.T){
		"SIPREC, the customer first, held": func(t *testing.T) {
			c := siprecCall{extension: "2207", lines: []media.Role{media.RoleCustomer, media.RoleAgent}}
			c.run(t, s)
		},
		"SIPREC, the customer last, held and paused": func(t *testing.T) {
			c := siprecCall{extension: "2208", lines: []media.Role{media.RoleAgent, media.RoleCustomer}, pause: true}
			c.run(t, s)
		},
		"a fork by a WebSocket":    func(t *testing.T) { forkCall(t, s) },
		"the browser's microphone": func(t *testing.T) { microphoneCall(t, s) },
	} {
		wg.Go(func() { t.Run(name, test) })
	}
	wg.Wait()
	if logs := s.logs.String(); strings.Contains(logs, "level=ERROR") {
		t.Errorf("the server logged errors:\n%s", logs)
	}
}

// beginning is the part of the demo call that is played, each leg by its role.
func beginning(t *testing.T) (demo.Script, map[media.Role][]int16) {
	t.Helper()
	script, err := demo.ReadScript()
	if err != nil {
		t.Fatal(err)
	}
	script.Turns = slices.DeleteFunc(script.Turns, func(turn demo.Turn) bool { return turn.End > part })
	audio, err := demo.Call()
	if err != nil {
		t.Fatal(err)
	}
	legs := map[media.Role][]int16{}
	for role, ch := range map[media.Role]int{media.RoleAgent: demo.AgentChannel, media.RoleCustomer: demo.CustomerChannel} {
		legs[role] = slices.Concat(audio.Channels[ch][:samples(part)], make([]int16, samples(tail)))
	}
	return script, legs
}

// samples is how many samples of the demo call's rate last as long as d.
func samples(d time.Duration) int { return int(d * 8000 / time.Second) }

// logged waits for a line of the server's log and returns what the pattern's
// first group matches.
func (s *server) logged(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if m := re.FindStringSubmatch(s.logs.String()); m != nil {
			return m[1]
		}
	}
	t.Fatalf("the server does not log %s", pattern)
	return ""
}

// running waits for an agent's call and returns its name.
func (s *server) running(t *testing.T, agent string) string {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var list struct {
			Calls []struct{ Call, Agent string }
		}
		s.api(t, http.MethodGet, "/v1/calls", "", &list)
		for _, c := range list.Calls {
			if c.Agent == agent {
				return c.Call
			}
		}
	}
	t.Fatalf("no call of %s begins", agent)
	return ""
}

// over waits for a call's end and returns its record, also as it was written.
func (s *server) over(t *testing.T, id string) (record, string) {
	t.Helper()
	var raw json.RawMessage
	var rec record
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if st := s.api(t, http.MethodGet, "/v1/calls/"+id, "", &raw); st != http.StatusOK {
			t.Fatalf("GET the call %s: status %d: %s", id, st, raw)
		}
		rec = record{}
		if err := json.Unmarshal(raw, &rec); err != nil {
			t.Fatal(err)
		}
		if rec.State != "running" {
			return rec, string(raw)
		}
	}
	t.Fatalf("call %s does not end: %s", id, raw)
	return record{}, ""
}

// checkTimes asserts that what was heard lies where the script has it. The call's
// clock begins a little before the audio does.
func checkTimes(t *testing.T, script demo.Script, rec record) {
	t.Helper()
	const slack = 1500 * time.Millisecond
	for _, u := range rec.Transcript {
		start, end := u.span()
		if !slices.ContainsFunc(script.Turns, func(turn demo.Turn) bool {
			return turn.Role.String() == u.Role && start > turn.Start-slack && end < turn.End+slack
		}) {
			t.Errorf("%s at %v to %v, which is no turn's time: %q", u.Role, start, end, u.Text)
		}
	}
}

// checkRoles asserts whom each leg is known to be, and why.
func checkRoles(t *testing.T, rec record, identities map[string]media.Role) {
	t.Helper()
	if len(rec.Legs) != len(identities) {
		t.Errorf("%d legs, want %d", len(rec.Legs), len(identities))
	}
	for _, l := range rec.Legs {
		t.Logf("leg %s, %s: %s because %s", l.ID, l.Identity, l.Role, l.RoleReason)
		if want := identities[l.Identity]; l.Role != want.String() || !strings.Contains(l.RoleReason, "fits rule") {
			t.Errorf("leg %s is of %q, %s because %q, want %v by a rule", l.ID, l.Identity, l.Role, l.RoleReason, want)
		}
		if l.Stats == nil || l.Stats.Lost != 0 || l.Stats.Invalid != 0 || l.Stats.Foreign != 0 || l.Stats.DroppedFrames != 0 {
			t.Errorf("leg %s: %+v, want nothing lost", l.ID, l.Stats)
		}
	}
}

// forkCall sends the call as mod_audio_fork does: metadata, then both parties'
// samples in turns, the forked channel's first.
func forkCall(t *testing.T, s *server) {
	const id, agent = "forked", "2209"
	script, legs := beginning(t)
	openPane(t, s, agent)
	u, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	dialer := websocket.Dialer{Subprotocols: []string{"audio.drachtio.org"}, HandshakeTimeout: 10 * time.Second}
	conn, res, err := dialer.DialContext(t.Context(), "ws://"+u.Host+"/v1/fork/freeswitch?rate=8000&channels=2&call="+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	defer conn.Close()
	closed := make(chan error, 1)
	go func() { // pings are answered while somebody reads
		for {
			if _, _, err := conn.NextReader(); err != nil {
				closed <- err
				return
			}
		}
	}()
	if err := conn.WriteJSON(map[string]string{"direction": "inbound", "from": "+4930111222", "to": agent, "callerName": "Margaret"}); err != nil {
		t.Fatal(err)
	}
	own, other := legs[media.RoleCustomer], legs[media.RoleAgent]
	const frame = 20 * time.Millisecond
	begin, n := time.Now(), samples(frame)
	for i := 0; i+n <= len(own); i += n {
		time.Sleep(time.Until(begin.Add(time.Duration(i/n) * frame)))
		b := make([]byte, 0, 4*n)
		for j := i; j < i+n; j++ {
			b = binary.LittleEndian.AppendUint16(b, uint16(own[j]))
			b = binary.LittleEndian.AppendUint16(b, uint16(other[j]))
		}
		if err := conn.WriteMessage(websocket.BinaryMessage, b); err != nil {
			t.Fatal(err)
		}
	}
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	if err := conn.WriteControl(websocket.CloseMessage, bye, time.Now().Add(5*time.Second)); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-closed:
		if !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			t.Errorf("the connection ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the server does not answer the close")
	}
	rec, _ := s.over(t, id)
	if rec.State != "ended" || rec.Source != "mod_audio_fork" || rec.Agent != agent {
		t.Errorf("state %s (%s), source %s, agent %s", rec.State, rec.Reason, rec.Source, rec.Agent)
	}
	checkRoles(t, rec, map[string]media.Role{"+4930111222": media.RoleCustomer, agent: media.RoleAgent})
	checkTranscript(t, script, rec, media.RoleAgent, media.RoleCustomer)
	checkTimes(t, script, rec)
	checkCards(t, script, rec)
}
