package audiohook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidetone/media"
	"sidetone/media/fork"
	"sidetone/media/fork/audiohook/httpsig"
	"sidetone/media/fork/server"
)

const (
	apiKey       = "demo-key-1"
	clientSecret = "bG9vcGJhY2stdGVzdC1zZWNyZXQtMDEyMzQ1Njc4OSE="
)

// service is the adapter behind the server of the house, as it is wired.
type service struct {
	t    *testing.T
	host *host
	a    *Adapter
	srv  *server.Server
	http *httptest.Server
}

func newService(t *testing.T) *service {
	t.Helper()
	auth, err := httpsig.New(httpsig.Config{Keys: map[string]string{apiKey: clientSecret}})
	if err != nil {
		t.Fatal(err)
	}
	v := &service{t: t, host: &host{t: t}}
	log := slog.New(slog.DiscardHandler)
	if v.a, err = New(Config{Host: v.host, Log: log, Auth: auth}); err != nil {
		t.Fatal(err)
	}
	v.srv, err = server.New(server.Config{
		Log: log,
		Open: func(r *http.Request, w fork.Writer, now time.Time) (fork.Session, error) {
			asked := httpsig.Request{Method: r.Method, Target: r.RequestURI, Host: r.Host, Header: r.Header}
			return v.a.Open(asked, r.URL.Query().Get("agent"), w, now), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	v.http = httptest.NewServer(v.srv)
	t.Cleanup(func() {
		v.srv.Close(media.End{State: media.Aborted, Reason: "the test is over"})
		v.http.Close()
	})
	return v
}

// client is a client with a socket.
type client struct {
	conn           *websocket.Conn
	id             string
	seq, serverSeq int64
}

// dial connects with a signed request.
func (v *service) dial(n int, secret string) (*client, error) {
	address := strings.Replace(v.http.URL, "http", "ws", 1)
	c := &client{id: fmt.Sprintf("%s%04x", sessionID[:32], n)}
	h := http.Header{
		"Audiohook-Organization-Id": {organizationID}, "Audiohook-Session-Id": {c.id},
		"Audiohook-Correlation-Id": {conversationID}, "X-Api-Key": {apiKey},
	}
	params := fmt.Sprintf(`("@request-target" "@authority" "audiohook-organization-id" "audiohook-session-id" "audiohook-correlation-id" "x-api-key");keyid=%q;nonce="loopback-test-nonce-%06d";alg="hmac-sha256";created=%d`,
		apiKey, n, time.Now().Unix())
	text := fmt.Sprintf("\"@request-target\": /ah?agent=ines\n\"@authority\": %s\n\"audiohook-organization-id\": %s\n\"audiohook-session-id\": %s\n\"audiohook-correlation-id\": %s\n\"x-api-key\": %s\n\"@signature-params\": %s",
		strings.TrimPrefix(address, "ws://"), organizationID, c.id, conversationID, apiKey, params)
	key, err := base64.StdEncoding.DecodeString(secret)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	h.Set("Signature-Input", "sig1="+params)
	h.Set("Signature", "sig1=:"+base64.StdEncoding.EncodeToString(mac.Sum(nil))+":")
	c.conn, _, err = websocket.DefaultDialer.Dial(address+"/ah?agent=ines", h)
	return c, err
}

func (v *service) connect(n int) *client {
	v.t.Helper()
	c, err := v.dial(n, clientSecret)
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { c.conn.Close() })
	return c
}

func (c *client) send(kind, position, params string) error {
	c.seq++
	m := strings.Replace(envelope(kind, c.seq, c.serverSeq, position, params), sessionID, c.id, 1)
	return c.conn.WriteMessage(websocket.TextMessage, []byte(m))
}

// next reads the next message, which must be of the kind.
func (c *client) next(kind string) (reply, error) {
	var r reply
	if err := c.conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return r, err
	}
	_, b, err := c.conn.ReadMessage()
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, err
	}
	c.serverSeq++
	if r.Type != kind || r.Seq != c.serverSeq || r.ID != c.id {
		return r, fmt.Errorf("got %s, want a message %q with seq %d", b, kind, c.serverSeq)
	}
	return r, nil
}

// ask sends a message and waits for its answer.
func (c *client) ask(kind, position, params, answer string) error {
	if err := c.send(kind, position, params); err != nil {
		return err
	}
	r, err := c.next(answer)
	if err == nil && r.ClientSeq != c.seq {
		err = fmt.Errorf("%s has clientseq %d, want %d", answer, r.ClientSeq, c.seq)
	}
	return err
}

// leave closes the connection as the client does after closed.
func (c *client) leave() error {
	frame := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	if err := c.conn.WriteControl(websocket.CloseMessage, frame, time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, _, err := c.conn.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		return fmt.Errorf("the connection ended with %w", err)
	}
	return c.conn.Close()
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// ends waits for the ends of all calls: the server is closed first.
func (v *service) ends() []*call {
	v.srv.Close(media.End{State: media.Aborted, Reason: "the test is over"})
	v.host.mu.Lock()
	defer v.host.mu.Unlock()
	return v.host.calls
}

func TestLoopback(t *testing.T) {
	t.Run("a call", func(t *testing.T) {
		v := newService(t)
		c := v.connect(1)
		must(t, c.ask("open", "PT0S", openParams(conversationID, "", inverted), "opened"))
		for range 10 {
			must(t, c.conn.WriteMessage(websocket.BinaryMessage, tone(100*time.Millisecond, low, high)))
		}
		must(t,
			c.ask("ping", "PT1S", "{}", "pong"),
			c.send("paused", "PT1S", "{}"),
			c.send("resumed", "PT3S", `{"start":"PT1S","discarded":"PT2S"}`),
			c.conn.WriteMessage(websocket.BinaryMessage, tone(time.Second, low, high)),
			c.ask("close", "PT4S", `{"reason":"end"}`, "closed"),
			c.leave(),
		)
		call := v.ends()[0]
		if call.info.Agent != "ines" || call.info.ID != c.id || len(call.ends) != 1 || call.ends[0].State != media.Ended {
			t.Errorf("got %+v, ends %+v", call.info, call.ends)
		}
		if frames := call.leg("external").frames; len(frames) < 100 || call.leg("external").heard(20) < 25000 {
			t.Errorf("external has %d frames", len(frames))
		}
		if len(call.events) != 2 {
			t.Errorf("pauses %q", call.events)
		}
	})
	t.Run("G3 opened while the call cannot be set up yet", func(t *testing.T) {
		v := newService(t)
		gate := make(chan struct{})
		v.host.opening = func() { <-gate }
		c := v.connect(1)
		err := c.ask("open", "PT0S", openParams(conversationID, "", both), "opened")
		close(gate)
		must(t, err)
		must(t, c.ask("close", "PT0S", `{"reason":"end"}`, "closed"), c.leave())
	})
	t.Run("G2 wrong secret", func(t *testing.T) {
		v := newService(t)
		c, err := v.dial(1, "AAAA")
		must(t, err)
		defer c.conn.Close()
		must(t, c.send("open", "PT0S", openParams(conversationID, "", both)))
		r, err := c.next("disconnect")
		must(t, err)
		if r.Parameters.Reason != "unauthorized" {
			t.Errorf("got %+v", r)
		}
		must(t, c.ask("close", "PT0S", `{"reason":"disconnect"}`, "closed"), c.leave())
		if n := len(v.ends()); n != 0 {
			t.Errorf("%d calls", n)
		}
	})
	t.Run("G15 the server stops", func(t *testing.T) {
		v := newService(t)
		var clients []*client
		for i := range 3 {
			c := v.connect(i)
			must(t, c.ask("open", "PT0S", openParams(conversationID, "", both), "opened"))
			clients = append(clients, c)
		}
		var stopping sync.WaitGroup
		stopping.Go(func() { v.ends() })
		for _, c := range clients {
			r, err := c.next("disconnect")
			must(t, err)
			if r.Parameters.Reason != "completed" {
				t.Errorf("got %+v", r)
			}
			must(t, c.ask("close", "PT0S", `{"reason":"disconnect"}`, "closed"), c.leave())
		}
		stopping.Wait()
		for _, call := range v.ends() {
			if len(call.ends) != 1 || call.ends[0].State != media.Aborted {
				t.Errorf("ends %+v", call.ends)
			}
		}
	})
	t.Run("G16 the connection is lost", func(t *testing.T) {
		v := newService(t)
		c := v.connect(1)
		must(t, c.ask("open", "PT0S", openParams(conversationID, "", both), "opened"))
		must(t, c.conn.WriteMessage(websocket.BinaryMessage, tone(time.Second, high, low)))
		must(t, c.ask("ping", "PT1S", "{}", "pong"), c.conn.NetConn().Close())
		call := v.ends()[0]
		if len(call.ends) != 1 || call.ends[0].State != media.Aborted || len(call.leg("internal").frames) < 50 {
			t.Errorf("ends %+v, %d frames", call.ends, len(call.leg("internal").frames))
		}
	})
}

// TestManySessions has 200 sessions at once; how fast is for a load test to say.
func TestManySessions(t *testing.T) {
	const n = 200
	v := newService(t)
	// No more at once than a busy machine serves within the limits on time.
	errs, room := make(chan error, n), make(chan struct{}, 40)
	for i := range n {
		go func() {
			room <- struct{}{}
			errs <- v.session(i)
			<-room
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Errorf("G18 %v", err)
		}
	}
	calls := v.ends()
	if len(calls) != n {
		t.Fatalf("G18 %d calls, want %d", len(calls), n)
	}
	for _, c := range calls {
		if len(c.ends) != 1 || c.ends[0].State != media.Ended {
			t.Errorf("G18 call %s ended %+v", c.info.ID, c.ends)
		}
	}
}

// session plays one from beginning to end.
func (v *service) session(i int) error {
	c, err := v.dial(i, clientSecret)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	for _, step := range []func() error{
		func() error { return c.ask("open", "PT0S", openParams(conversationID, "", both), "opened") },
		func() error {
			return c.conn.WriteMessage(websocket.BinaryMessage, tone(200*time.Millisecond, high, low))
		},
		func() error { return c.ask("ping", "PT0.2S", "{}", "pong") },
		func() error { return c.ask("close", "PT0.2S", `{"reason":"end"}`, "closed") },
		c.leave,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
