//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidetone/cmd/sidetone/internal/demo"
	"sidetone/internal/journal"
	"sidetone/internal/needs"
	"sidetone/internal/store/storetest"
	"sidetone/internal/wav"
	"sidetone/media/rtpsend"
)

// faultTable is what was done to servers, and what was lost.
type faultTable struct {
	mu   sync.Mutex
	rows []string
}

func (f *faultTable) add(fault, format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rows = append(f.rows, fmt.Sprintf("%-34s | %s", fault, fmt.Sprintf(format, args...)))
}

// TestFaults breaks what calls rest on, in the middle of them, and says what each
// call has lost: nothing but the utterance in progress.
func TestFaults(t *testing.T) {
	t.Parallel()
	table := &faultTable{}
	t.Run("the server is killed", func(t *testing.T) { serverKilled(t, table) })
	t.Run("NATS and PostgreSQL are killed", func(t *testing.T) { storesKilled(t, table) })
	t.Run("a node is killed", func(t *testing.T) { nodeKilled(t, table) })
	t.Run("the disk is full", func(t *testing.T) { diskFull(t, table) })
	t.Run("loss, no goodbye, a pane that does not read", func(t *testing.T) { badPeers(t, table) })
	t.Log("\nfault                              | what was lost\n" + strings.Join(table.rows, "\n"))
}

// faultConfig is a server on an address of its own, which it has again when it
// comes back.
func faultConfig(t *testing.T, node, storage, more string) string {
	t.Helper()
	return fmt.Sprintf("server:\n  listen: %s\n  node: %s\n  drain_limit: 0s\naccess:\n  required: false\nstorage:\n  dir: %s\n%smedia:\n  first_port: 0\n  last_port: 0\n  reconnect: 8s\n  setup_timeout: 6s\n  silence_timeout: 4s\n",
		freeAddr(t), node, filepath.Join(t.TempDir(), node), storage) + more
}

// dirOf is the storage folder of a configuration that faultConfig made.
func dirOf(t *testing.T, cfg string) string {
	t.Helper()
	_, rest, ok := strings.Cut(cfg, "  dir: ")
	dir, _, _ := strings.Cut(rest, "\n")
	if !ok {
		t.Fatal("the configuration names no storage folder")
	}
	return dir
}

// freeAddr is an address of this machine on which nobody listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// begin opens a call of two legs and gives their addresses.
func (s *server) begin(t *testing.T, name string) []string {
	t.Helper()
	var reply struct {
		Legs []struct{ Address string }
	}
	body := `{"call":"` + name + `","agent":"ann","legs":[{"role":"agent"},{"role":"customer"}]}`
	if st := s.api(t, http.MethodPost, "/v1/calls", body, &reply); st != http.StatusCreated || len(reply.Legs) != 2 {
		t.Fatalf("call %s: status %d", name, st)
	}
	return []string{reply.Legs[0].Address, reply.Legs[1].Address}
}

// kept is the record of a call.
func (s *server) kept(t *testing.T, name string) journal.Call {
	t.Helper()
	var c journal.Call
	s.api(t, http.MethodGet, "/v1/calls/"+name, "", &c)
	return c
}

// until asks again until the record is as wanted.
func (s *server) until(t *testing.T, name, what string, as func(*journal.Call) bool) journal.Call {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		c := s.kept(t, name)
		if as(&c) {
			return c
		}
		if time.Now().After(end) {
			t.Fatalf("call %s does not come to be %s: state %q, %q, %d finals, %d gaps", name, what, c.State, c.Reason, len(c.Transcript), len(c.Gaps))
		}
	}
}

// deaf is a socket to a port on which perhaps nobody listens just now.
type deaf struct{ net.Conn }

func (d deaf) Write(b []byte) (int, error) {
	_, _ = d.Conn.Write(b)
	return len(b), nil
}

// talk plays a part of the demo call to two legs; the function that it returns
// waits for the end, or makes it.
func talk(t *testing.T, to []string, from, until time.Duration, impair rtpsend.Impairment) (wait func(), stop context.CancelFunc) {
	t.Helper()
	audio, err := demo.Call()
	if err != nil {
		t.Fatal(err)
	}
	return speak(t, audio, to, from, until, impair)
}

// speak is talk of any call.
func speak(t *testing.T, audio *wav.Audio, to []string, from, until time.Duration, impair rtpsend.Impairment) (wait func(), stop context.CancelFunc) {
	t.Helper()
	cfg := rtpsend.Config{Impair: impair}
	for i, addr := range to {
		conn, err := net.Dial("udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		at := func(d time.Duration) int { return int(d.Seconds() * float64(audio.Rate)) }
		cfg.Streams = append(cfg.Streams, rtpsend.Stream{Out: deaf{conn}, Samples: audio.Channels[i][at(from):at(until)]})
	}
	ctx, stop := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = rtpsend.Play(ctx, cfg)
	}()
	t.Cleanup(func() { stop(); <-over })
	return func() { <-over }, stop
}

// heard says that so many finals are there.
func heard(n int) func(*journal.Call) bool {
	return func(c *journal.Call) bool { return len(c.Transcript) >= n }
}

// same checks that all finals of before are in after, each of them once, and says
// how many there are.
func same(t *testing.T, before, after *journal.Call) string {
	t.Helper()
	if before.Key == "" || before.Key != after.Key {
		t.Errorf("the call's key was %q and is %q", before.Key, after.Key)
	}
	type id struct {
		leg string
		no  int
	}
	finals := map[id]string{}
	for _, s := range after.Transcript {
		if old, twice := finals[id{s.Leg, s.Utterance}]; twice {
			t.Errorf("utterance %d of %s is there twice: %q and %q", s.Utterance, s.Leg, old, s.Text)
		}
		finals[id{s.Leg, s.Utterance}] = s.Text
	}
	lost := 0
	for _, s := range before.Transcript {
		if got := finals[id{s.Leg, s.Utterance}]; got != s.Text {
			lost++
			t.Errorf("utterance %d of %s was %q and is %q", s.Utterance, s.Leg, s.Text, got)
		}
	}
	return fmt.Sprintf("%d finals before, %d of them lost; %d at the end", len(before.Transcript), lost, len(after.Transcript))
}

// snapshotOf is what a pane is shown when it connects: the finals of a call. It
// checks that none is there twice.
func snapshotOf(t *testing.T, s *server, agent, call string) (finals int) {
	t.Helper()
	u, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	conn, res, err := websocket.DefaultDialer.Dial("ws://"+u.Host+"/v1/push/"+agent, nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	for {
		_, b, err := conn.ReadMessage()
		if err != nil {
			t.Fatalf("no snapshot: %v", err)
		}
		var m struct {
			Type  string
			Calls []struct {
				ID         string
				Utterances []struct {
					Leg       string
					Utterance int
					Final     bool
				}
			}
		}
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		if m.Type != "snapshot" {
			continue
		}
		seen := map[string]bool{}
		for _, c := range m.Calls {
			for _, k := range c.Utterances {
				id := fmt.Sprint(k.Leg, k.Utterance)
				if c.ID != call || !k.Final {
					continue
				}
				if seen[id] {
					t.Errorf("the pane is shown utterance %s twice", id)
				}
				seen[id] = true
			}
		}
		return len(seen)
	}
}

func serverKilled(t *testing.T, table *faultTable) {
	cfg := faultConfig(t, "one", "", "")
	s := launch(t, cfg)
	goes := s.begin(t, "goes-on")
	quiet := s.begin(t, "never-back")
	finish, _ := talk(t, goes, 0, 21*time.Second, rtpsend.Impairment{})
	_, hush := talk(t, quiet, 0, 21*time.Second, rtpsend.Impairment{})
	before := s.until(t, "goes-on", "heard", heard(2))
	lost := s.kept(t, "never-back")
	s.kill(t)
	hush()
	at := time.Now()
	s = launch(t, cfg)
	back := s.until(t, "goes-on", "continued", func(c *journal.Call) bool { return c.State == "running" && len(c.Gaps) == 1 })
	down := time.Since(at)
	shown := snapshotOf(t, s, "ann", "goes-on")
	if shown < len(before.Transcript) {
		t.Errorf("a pane that comes back is shown %d finals of %d", shown, len(before.Transcript))
	}
	finish()
	var after journal.Call
	if st := s.api(t, http.MethodDelete, "/v1/calls/goes-on", "", &after); st != http.StatusOK || after.State != "ended" {
		t.Errorf("ending: %d, %q", st, after.State)
	}
	told := same(t, &before, &after)
	if len(after.Transcript) <= len(before.Transcript) {
		t.Error("nothing was heard after the server came back")
	}
	table.add("kill -9 of the server", "%s; audio of %v, back after %v", told, time.Duration(back.Gaps[0].GapMS)*time.Millisecond, down.Round(100*time.Millisecond))
	gone := s.until(t, "never-back", "over", func(c *journal.Call) bool { return c.State != "running" && c.State != "" })
	told = same(t, &lost, &gone)
	if gone.State != "lost" || gone.Reason == "" {
		t.Errorf("the call whose fork did not come back is %q, %q", gone.State, gone.Reason)
	}
	table.add("… and the fork does not come back", "%s; end state %q: %s", told, gone.State, gone.Reason)
}

// nats is an external NATS server, of the module that the journal embeds.
type nats struct {
	addr, dir, program string
	cmd                *exec.Cmd
}

func startNATS(t *testing.T) *nats {
	t.Helper()
	n := &nats{addr: freeAddr(t), dir: t.TempDir(), program: os.Getenv("SIDETONE_NATS")}
	if n.program == "" {
		n.program = filepath.Join(t.TempDir(), "nats-server")
		build := exec.Command("go", "build", "-o", n.program, "github.com/nats-io/nats-server/v2")
		build.Dir = needs.Root(t)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("building nats-server: %v\n%s", err, out)
		}
	}
	n.run(t)
	t.Cleanup(func() { n.kill(t) })
	return n
}

func (n *nats) run(t *testing.T) {
	t.Helper()
	host, port, _ := net.SplitHostPort(n.addr)
	n.cmd = exec.Command(n.program, "-a", host, "-p", port, "-js", "-sd", n.dir)
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if c, err := net.Dial("tcp", n.addr); err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal("NATS does not start")
		}
	}
}

func (n *nats) kill(t *testing.T) {
	t.Helper()
	if n.cmd == nil {
		return
	}
	if err := n.cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = n.cmd.Wait()
	n.cmd = nil
}

// external is the configuration of stores outside of the process.
func external(n *nats, db string) string {
	return "  records: " + db + "\njournal:\n  url: nats://" + n.addr + "\n"
}

func storesKilled(t *testing.T, table *faultTable) {
	pg, n := storetest.Start(t), startNATS(t)
	cfg := faultConfig(t, "one", external(n, pg.Database(t)), "")
	s := launch(t, cfg)
	finish, _ := talk(t, s.begin(t, "c"), 0, 21*time.Second, rtpsend.Impairment{})
	before := s.until(t, "c", "heard", heard(1))
	pg.Kill(t)
	n.kill(t)
	during := s.until(t, "c", "heard without its stores", heard(len(before.Transcript)+1))
	pg.Restart(t)
	n.run(t)
	finish()
	var after journal.Call
	if st := s.api(t, http.MethodDelete, "/v1/calls/c", "", &after); st != http.StatusOK || after.State != "ended" {
		t.Errorf("ending: %d, %q", st, after.State)
	}
	same(t, &during, &after)
	s.stop(t)
	s = launch(t, cfg)
	kept := s.until(t, after.Key, "in the records", func(c *journal.Call) bool { return c.State == "ended" && len(c.Transcript) >= len(after.Transcript) })
	table.add("kill -9 of NATS and PostgreSQL", "%s; all in the records afterwards", same(t, &after, &kept))
}

func nodeKilled(t *testing.T, table *faultTable) {
	pg, n := storetest.Start(t), startNATS(t)
	db := pg.Database(t)
	aCfg, bCfg := faultConfig(t, "a", external(n, db), ""), faultConfig(t, "b", external(n, db), "")
	a := launch(t, aCfg)
	// Both write one audit log and keep the same voices, and so need their keys.
	keys := filepath.Join(dirOf(t, bCfg), "keys")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"audit.key", "voice.key"} {
		key, err := os.ReadFile(filepath.Join(dirOf(t, aCfg), "keys", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(keys, name), key, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b := launch(t, bCfg)
	_, stop := talk(t, a.begin(t, "c"), 0, 14*time.Second, rtpsend.Impairment{})
	before := a.until(t, "c", "heard", heard(1))
	a.kill(t)
	at := time.Now()
	stop()
	b.until(t, "c", "taken over", func(c *journal.Call) bool {
		return c.Key == before.Key && strings.Contains(b.logs.String(), "whose server was lost")
	})
	// The SBC forks to the other node.
	finish, _ := talk(t, b.begin(t, "c"), 14*time.Second, 21*time.Second, rtpsend.Impairment{})
	took := time.Since(at)
	if shown := snapshotOf(t, b, "ann", "c"); shown < len(before.Transcript) {
		t.Errorf("a pane at the other node is shown %d finals of %d", shown, len(before.Transcript))
	}
	finish()
	var after journal.Call
	if st := b.api(t, http.MethodDelete, "/v1/calls/c", "", &after); st != http.StatusOK || after.State != "ended" {
		t.Errorf("ending: %d, %q", st, after.State)
	}
	if len(after.Transcript) <= len(before.Transcript) {
		t.Error("nothing was heard at the other node")
	}
	table.add("kill -9 of one of two nodes", "%s; the other node had the call after %v", same(t, &before, &after), took.Round(100*time.Millisecond))
}

func diskFull(t *testing.T, table *faultTable) {
	dir := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=160m"); err != nil {
		t.Skip("a small disk needs the right to mount one:", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	cfg := fmt.Sprintf("server:\n  listen: %s\n  drain_limit: 0s\naccess:\n  required: false\nstorage:\n  dir: %s/data\n  min_free_mb: 4\njournal:\n  max_bytes: 33554432\nmedia:\n  first_port: 0\n  last_port: 0\n", freeAddr(t), dir)
	s := launch(t, cfg)
	finish, _ := talk(t, s.begin(t, "c"), 0, 21*time.Second, rtpsend.Impairment{})
	s.until(t, "c", "heard", heard(1))
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, 1<<16); ; {
		if _, err := f.Write(b); err != nil {
			break
		}
	}
	f.Close()
	var no struct{ Error string }
	if st := s.api(t, http.MethodPost, "/v1/calls", `{"agent":"bob","legs":[{"role":"agent"}]}`, &no); st != http.StatusServiceUnavailable || no.Error == "" {
		t.Errorf("a call on a full disk: %d %q", st, no.Error)
	}
	during := s.until(t, "c", "heard with a full disk", heard(3))
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	finish()
	var after journal.Call
	if st := s.api(t, http.MethodDelete, "/v1/calls/c", "", &after); st != http.StatusOK || after.State != "ended" {
		t.Errorf("ending: %d, %q", st, after.State)
	}
	same(t, &during, &after)
	s.stop(t)
	s = launch(t, cfg)
	kept := s.until(t, after.Key, "in the records", func(c *journal.Call) bool { return c.State == "ended" && len(c.Transcript) >= len(after.Transcript) })
	table.add("the disk is full, then is not", "%s; meanwhile new calls: %q", same(t, &after, &kept), no.Error)
}

func badPeers(t *testing.T, table *faultTable) {
	s := launch(t, faultConfig(t, "one", "", ""))
	slow := stuckPane(t, s, "ann")
	defer slow.Close()
	reading := openPane(t, s, "ann")
	finish, _ := talk(t, s.begin(t, "c"), 0, 15*time.Second, rtpsend.Impairment{Seed: 1, Loss: 0.05})
	finish()
	// The sender says no goodbye.
	after := s.until(t, "c", "over", func(c *journal.Call) bool { return c.State != "running" })
	if after.State != "timed out" {
		t.Errorf("a call without BYE is %q: %s", after.State, after.Reason)
	}
	for _, l := range after.Legs {
		if l.Stats == nil || l.Stats.Lost < 15 || l.Stats.Lost > 75 {
			t.Errorf("leg %s: %+v, want some 5 %% of 750 packets lost", l.ID, l.Stats)
		}
	}
	same(t, &after, &after)
	reading.mu.Lock()
	finals := reading.finals
	reading.mu.Unlock()
	if len(after.Transcript) < 2 || finals < len(after.Transcript) {
		t.Errorf("%d finals, the pane that reads has %d", len(after.Transcript), finals)
	}
	table.add("5 % loss", "%d finals, packets lost: %d and %d", len(after.Transcript), after.Legs[0].Stats.Lost, after.Legs[1].Stats.Lost)
	table.add("no BYE", "nothing; end state %q: %s", after.State, after.Reason)
	table.add("a pane that stops reading", "nothing; the other pane has %d finals of %d", finals, len(after.Transcript))
}

// stuckPane connects as a pane does and never reads.
func stuckPane(t *testing.T, s *server, agent string) net.Conn {
	t.Helper()
	u, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).SetReadBuffer(1024); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "GET /v1/push/%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", agent, u.Host); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestDrain stops a server in the middle of a call.
func TestDrain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, limit, state string
		again              bool
	}{
		{"the call ends", "60s", "ended", false},
		{"the limit is reached", "2s", "aborted", false},
		{"a second signal", "60s", "aborted", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := strings.Replace(faultConfig(t, "one", "", ""), "drain_limit: 0s", "drain_limit: "+c.limit, 1)
			s := launch(t, cfg)
			finish, _ := talk(t, s.begin(t, "c"), 0, 12*time.Second, rtpsend.Impairment{})
			before := s.until(t, "c", "heard", heard(1))
			if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(20 * time.Second); !strings.Contains(s.logs.String(), "msg=draining"); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("the server does not drain")
				}
			}
			if c.state == "ended" {
				if st := s.api(t, http.MethodGet, "/readyz", "", nil); st != http.StatusServiceUnavailable {
					t.Errorf("readiness: %d", st)
				}
				if st := s.api(t, http.MethodPost, "/v1/calls", `{"agent":"bob","legs":[{"role":"agent"}]}`, nil); st != http.StatusServiceUnavailable {
					t.Errorf("a new call: %d", st)
				}
				finish()
				if st := s.api(t, http.MethodDelete, "/v1/calls/c", "", nil); st != http.StatusOK {
					t.Errorf("ending: %d", st)
				}
			}
			if c.again {
				if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
			}
			select {
			case <-s.exited:
			case <-time.After(60 * time.Second):
				t.Fatal("the server does not end")
			}
			s.stop(t) // its exit was 0
			s = launch(t, cfg)
			after := s.until(t, before.Key, "in the records", func(k *journal.Call) bool { return k.State != "running" && k.Key != "" })
			same(t, &before, &after)
			if after.State != c.state || !after.Closed {
				t.Errorf("the call is %q, closed %t; want %q", after.State, after.Closed, c.state)
			}
		})
	}
}
