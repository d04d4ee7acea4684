package access

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// upgrade opens a connection of its own to a server, as a WebSocket is.
func upgrade(t *testing.T, server *httptest.Server, path, cookie string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nCookie: %s\r\n\r\n", path, cookie)
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || line != "HTTP/1.1 101 Switching Protocols\r\n" {
		t.Fatalf("%s: %q, %v", path, line, err)
	}
	return c
}

// ends waits for the other side to close.
func ends(c net.Conn) bool {
	_, err := io.Copy(io.Discard, c)
	return err == nil || errors.Is(err, net.ErrClosed)
}

// A connection that stays open ends with its session, whatever ends that, and
// those of others go on.
func TestOpenConnectionsEnd(t *testing.T) {
	s := serve(t, nil, map[string]Rule{})
	s.mux.rules = map[string]Rule{"GET /pane/{agent}": {Roles: []Role{Agent, Supervisor}, Agent: "agent"}}
	s.mux.HandleFunc("GET /pane/{agent}", func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		if err := rw.Flush(); err != nil {
			t.Error(err)
		}
		_, _ = io.Copy(io.Discard, rw)
	})
	server := httptest.NewServer(s.mux)
	defer server.Close()
	for _, name := range []string{"ann", "bob", "out"} {
		s.add(t, name, Agent)
	}
	s.add(t, "sue", Supervisor)
	cookie := func(name string) string { return "sidetone=" + s.enter(t, name) }
	out := cookie("out")
	ann, bob, sue, left := upgrade(t, server, "/pane/ann", cookie("ann")), upgrade(t, server, "/pane/bob", cookie("bob")),
		upgrade(t, server, "/pane/ann", cookie("sue")), upgrade(t, server, "/pane/out", out)
	s.guard.recheck(t.Context())
	s.guard.mu.Lock()
	open := len(s.guard.long)
	s.guard.mu.Unlock()
	if open != 4 {
		t.Fatalf("%d connections are watched, want 4", open)
	}
	if res := s.ask(t, "POST", "/v1/logout", "", "Cookie", out); res.StatusCode != 204 || !ends(left) {
		t.Errorf("logout: %d", res.StatusCode)
	}
	if err := s.SetDisabled(t.Context(), "system:test", "ann", true); err != nil {
		t.Fatal(err)
	}
	if err := s.SetRoles(t.Context(), "system:test", "sue", []Role{Security}); err != nil {
		t.Fatal(err)
	}
	s.guard.recheck(t.Context())
	if !ends(ann) || !ends(sue) {
		t.Error("a connection goes on without its session")
	}
	// One that is still good is not cut; a broken database cuts none either.
	s.guard.recheck(t.Context())
	if _, err := s.db.Exec(t.Context(), `DROP TABLE access_sessions`); err != nil {
		t.Fatal(err)
	}
	s.guard.recheck(t.Context())
	s.guard.mu.Lock()
	open = len(s.guard.long)
	s.guard.mu.Unlock()
	if open != 1 {
		t.Errorf("%d connections are left, want bob's", open)
	}
	if err := bob.Close(); err != nil {
		t.Error(err)
	}
}
