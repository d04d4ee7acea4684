package app

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/journal/stream"
	"sidetone/media"
	"sidetone/media/port"
)

// door is an admission with a gate that the test shuts.
func door(t *testing.T) (a *admission, shut *string) {
	t.Helper()
	a, shut = newAdmission(newMetrics(), slog.New(slog.DiscardHandler)), new(string)
	a.watch(gate{"test", "mend the journal", func() string { return *shut }})
	return a, shut
}

func TestAdmission(t *testing.T) {
	for _, c := range []struct {
		name    string
		edit    func(a *admission, shut *string)
		running int
		cause   cause
		is      error
		want    string
	}{
		{"room", func(*admission, *string) {}, 1, "", nil, ""},
		{"full", func(*admission, *string) {}, 2, causeCalls, media.ErrBusy, "2 calls are running"},
		{"a shut gate", func(_ *admission, shut *string) { *shut = "9 events wait" }, 0, "test", media.ErrBusy, "9 events wait"},
		{"draining", func(a *admission, _ *string) { a.draining.Store(true) }, 0, causeDrain, media.ErrDraining, "drains"},
		{"stopping", func(a *admission, _ *string) { a.closing.Store(true); a.draining.Store(true) }, 0, causeDrain, media.ErrDraining, "stopping"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, shut := door(t)
			c.edit(a, shut)
			err := a.admit(c.running, 2)
			would := a.would(c.running, 2)
			if c.cause == "" {
				if err != nil || would != nil {
					t.Errorf("refused: %v, %v", err, would)
				}
				return
			}
			var r *refusal
			if !errors.As(err, &r) || r.cause != c.cause || !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) || r.hint == "" || would == nil {
				t.Errorf("admitted: %v, would be: %v", err, would)
			}
			if e := classify(fmt.Errorf("call: %w", err)); e.Status != http.StatusServiceUnavailable || e.Retry == 0 || causeOf(err) != c.cause {
				t.Errorf("over HTTP it is %+v", e)
			}
		})
	}
}

func TestCauses(t *testing.T) {
	for want, err := range map[cause]error{
		causePorts: fmt.Errorf("a leg: %w", port.ErrNoPort), causeDrain: media.ErrDraining, causeLoad: media.ErrBusy,
		causeRequest: badRequest("", "no agent"), causeServer: io.ErrUnexpectedEOF,
	} {
		if got := causeOf(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

// A full disk shuts the door, and somewhat more than enough room opens it again.
func TestDiskShutsTheDoor(t *testing.T) {
	free, failed := uint64(300), error(nil)
	a := newAdmission(newMetrics(), slog.New(slog.DiscardHandler))
	a.watchDisk("/x", 200, func(string) (uint64, error) { return free, failed })
	for _, c := range []struct {
		free   uint64
		failed error
		open   bool
	}{{300, nil, true}, {199, nil, false}, {240, nil, false}, {251, nil, true}, {240, nil, true}, {0, errors.New("no disk"), true}, {100, nil, false}} {
		free, failed = c.free, c.failed
		if r := a.check(); (r == nil) != c.open {
			t.Errorf("%d bytes free: %v, want open %t", c.free, r, c.open)
		}
	}
	if n, err := freeBytes(t.TempDir()); err != nil || n == 0 {
		t.Errorf("a real disk: %d, %v", n, err)
	}
}

// A journal that is behind shuts the door, until it has caught up well.
func TestJournalShutsTheDoor(t *testing.T) {
	h := stream.Health{Limit: 100}
	a := newAdmission(newMetrics(), slog.New(slog.DiscardHandler))
	a.watchJournal(func() stream.Health { return h })
	for _, c := range []struct {
		bytes  int64
		ailing time.Duration
		open   bool
	}{{50, 0, true}, {100, 0, false}, {90, 0, false}, {101, 0, false}, {81, 0, false}, {79, 0, true}, {90, 0, true}, {1, time.Hour, false}, {1, 0, true}} {
		h.Bytes, h.Ailing = c.bytes, c.ailing
		if r := a.check(); (r == nil) != c.open || r != nil && r.cause != causeJournal {
			t.Errorf("%+v: %v", c, r)
		}
	}
}

// Ports shut the door before a call finds none.
func TestPortsShutTheDoor(t *testing.T) {
	// A range of three even ports, wherever they are free.
	r := host(t, func(c *config.Config) { c.Media.FirstPort, c.Media.LastPort = 28450, 28455 })
	var one callReply
	if st := r.do(t, "POST", "/v1/calls", `{"call":"one","agent":"a","legs":[{"role":"agent"},{"role":"customer"}]}`, &one); st != 201 {
		t.Skipf("the ports are taken by others: status %d", st)
	}
	status, _, b := r.ask(t, "POST", "/v1/calls", `{"agent":"a","legs":[{"role":"agent"}]}`)
	if status != 503 || !strings.Contains(string(b), "1 RTP ports are free") {
		t.Errorf("a call without ports: %d %s", status, b)
	}
	// What runs may still take the last one.
	if st := r.do(t, "POST", "/v1/calls/one/legs", `{"id":"third","role":"unknown"}`, nil); st != 201 {
		t.Errorf("a leg of a running call: %d", st)
	}
}

// refusals tries every door of a server, whose doors are shut, and checks that
// each refuses a new call in its own way.
func refusals(t *testing.T, r *running, word string) {
	t.Helper()
	status, header, body := r.ask(t, "POST", "/v1/calls", exampleBody)
	if status != 503 || header.Get("Retry-After") == "" || !strings.Contains(string(body), word) {
		t.Errorf("API: %d, Retry-After %q, %s", status, header.Get("Retry-After"), body)
	}

	// SIPREC: 503 with Retry-After and a Warning.
	answer := invite(t, r.sources.siprec.Addr("UDP"), "refused")
	if !strings.HasPrefix(answer, "SIP/2.0 503") || !strings.Contains(answer, "\nRetry-After:") || !strings.Contains(answer, "\nWarning: 399") || !strings.Contains(answer, word) {
		t.Errorf("SIPREC: %s", answer)
	}

	// AudioSocket: the connection is hung up.
	conn, err := net.Dial("tcp", r.audioSocket(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(append([]byte{1, 0, 16}, "0123456789abcdef"...)); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	// Silence may come first, which Asterisk wants.
	got, err := io.ReadAll(conn)
	if err != nil || !strings.HasSuffix(string(got), "\x00\x00\x00") {
		t.Errorf("AudioSocket: %q, %v, want a hang-up", got, err)
	}

	// WHIP: 503 with Retry-After.
	status, header, body = r.askAs(t, "POST", "/v1/whip?agent=ann", "application/sdp", offerSDP)
	if status != 503 || header.Get("Retry-After") == "" || !strings.Contains(string(body), word) {
		t.Errorf("WHIP: %d, Retry-After %q, %s", status, header.Get("Retry-After"), body)
	}

	// WebSocket forks: 503 before the upgrade, 1013 after it, and AudioHook's own.
	for _, c := range []struct{ path, first, want string }{
		{"freeswitch?call=refused&agent=ann", `{"agent":"ann"}`, "1013"},
		{"twilio", `{"event":"start","sequenceNumber":"1","start":{"accountSid":"AC1","streamSid":"MZ1","callSid":"CA1","tracks":["inbound","outbound"],"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1},"customParameters":{}},"streamSid":"MZ1"}`, "1013"},
		{"media", `{"event":"start","start":{"streamSid":"MZ1","callSid":"CA1","tracks":["inbound","outbound"],"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}},"streamSid":"MZ1"}`, "1013"},
		{"asterisk?agent=ann", "MEDIA_START connection_id:1 channel:PJSIP/a-1 channel_id:1.2 format:ulaw optimal_frame_size:160 ptime:20", "1013"},
		{"audiohook", `{"version":"2","type":"open","seq":1,"serverseq":0,"id":"e160e428-53e2-487c-977d-96989bf5c99d","position":"PT0S","parameters":{"organizationId":"d7934305-0972-4844-938e-9060eef73d05","conversationId":"090eaa2f-72fa-480a-83e0-8667ff89c0ec","participant":{"id":"883efee8-3d6c-4537-b500-6d7ca4b92fa0","ani":"+1","aniName":"J","dnis":"+2"},"media":[{"type":"audio","format":"PCMU","channels":["external","internal"],"rate":8000}]}}`, "disconnect"},
	} {
		if got := r.wsRefusal(t, c.path, c.first); !strings.Contains(got, c.want) || !strings.Contains(got, word) {
			t.Errorf("%s: %s, want %s with %q", c.path, got, c.want, word)
		}
	}
}

// sourced is a server with every source that needs no peer.
func sourced(t *testing.T) *running {
	t.Helper()
	return host(t, func(c *config.Config) {
		c.Sources.AudioSocket.Listen = "127.0.0.1:0"
		c.Sources.SIPREC.UDP, c.Sources.SIPREC.TCP = "127.0.0.1:0", "127.0.0.1:0"
		c.Sources.WebRTC.Listen = "127.0.0.1:0"
	})
}

// audioSocket is where the server takes AudioSocket.
func (r *running) audioSocket(t *testing.T) string {
	t.Helper()
	_, rest, ok := strings.Cut(r.logs.String(), `msg="taking AudioSocket" address=`)
	if !ok {
		t.Fatal("the log does not tell AudioSocket's address")
	}
	return strings.Fields(rest)[0]
}

// askAs makes a request with a body of a type.
func (r *running) askAs(t *testing.T, method, path, kind, body string) (int, http.Header, []byte) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, r.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", kind)
	res, err := r.client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, b
}

// wsRefusal opens a fork and returns how it is refused: the answer to the
// handshake, or all messages and the close frame.
func (r *running) wsRefusal(t *testing.T, path, first string) string {
	t.Helper()
	w := dialFork(t, r.URL(), "/v1/fork/"+path)
	defer w.Close()
	if w.refused != "" {
		return w.refused
	}
	if first != "" {
		w.text(first)
	}
	var all strings.Builder
	for {
		kind, b, err := w.read()
		if err != nil {
			return all.String() + " " + err.Error()
		}
		if kind == 8 {
			return fmt.Sprintf("%s close %d %s", all.String(), int(b[0])<<8|int(b[1]), b[2:])
		}
		all.Write(b)
		if strings.Contains(all.String(), `"disconnect"`) {
			return all.String()
		}
	}
}

// Every protocol says in its own words that the server drains, and takes calls
// again when that is over.
func TestEveryDoorRefusesWhileDraining(t *testing.T) {
	r := sourced(t)
	var q drainReply
	if st := r.do(t, "POST", "/v1/drain", "", &q); st != 200 || !q.Draining {
		t.Fatalf("draining: %d %+v", st, q)
	}
	if st := r.do(t, "GET", "/readyz", "", nil); st != 503 {
		t.Errorf("readiness while draining: %d", st)
	}
	refusals(t, r, "no more calls are taken")
	for _, source := range []string{"rtp", "siprec", "audiosocket", "webrtc", "freeswitch", "twilio", "asterisk", "audiohook"} {
		_, _, b := r.ask(t, "GET", "/metrics", "")
		// SIPREC's server refuses by itself as long as it drains.
		if source != "siprec" && !strings.Contains(string(b), `sidetone_calls_refused_total{cause="drain",source="`+source) {
			t.Errorf("no refusal of %s is counted", source)
		}
	}
	if st := r.do(t, "DELETE", "/v1/drain", "", &q); st != 200 || q.Draining {
		t.Fatalf("no longer draining: %d %+v", st, q)
	}
	if st := r.do(t, "POST", "/v1/calls", exampleBody, nil); st != 201 {
		t.Errorf("a call afterwards: %d", st)
	}
	if a := invite(t, r.sources.siprec.Addr("UDP"), "taken"); strings.HasPrefix(a, "SIP/2.0 503") {
		t.Errorf("SIPREC afterwards: %s", a)
	}
}

// And so it does when a measure shuts the door.
func TestEveryDoorRefusesWhileBusy(t *testing.T) {
	r := sourced(t)
	r.admission.watch(gate{"test", "mend it", func() string { return "9 events wait" }})
	refusals(t, r, "9 events wait")
	for _, c := range r.calls.list() {
		t.Errorf("a refused call is kept: %+v", c)
	}
}

// Draining ends when the last call does, at its limit, or at once when told so.
func TestServeDrains(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit time.Duration
		how   func(*running, *call, context.CancelFunc)
		state string
	}{
		{"the call ends", time.Hour, func(_ *running, k *call, _ context.CancelFunc) {
			k.stop(media.End{State: media.Ended, Reason: "hung up", At: time.Now()})
		}, "ended"},
		{"the limit", 300 * time.Millisecond, func(*running, *call, context.CancelFunc) {}, "aborted"},
		{"told again", time.Hour, func(_ *running, _ *call, now context.CancelFunc) { now() }, "aborted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := built(t, deaf, func(cfg *config.Config) { cfg.Server.DrainLimit = c.limit })
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			now, at := context.WithCancel(t.Context())
			defer at()
			served := make(chan error, 1)
			go func() { served <- r.Serve(ctx, now) }()
			k := open(t, r, media.Call{ID: "one", Agent: "ann"})
			stop()
			for !r.admission.drains() {
				time.Sleep(time.Millisecond)
			}
			if st := r.do(t, "POST", "/v1/calls", exampleBody, nil); st != 503 {
				t.Errorf("a call while draining: %d", st)
			}
			if c.limit == time.Hour && r.call(t, "one").State != "running" {
				t.Error("the running call did not go on")
			}
			c.how(r, k, at)
			if err := <-served; err != nil {
				t.Error(err)
			}
			<-k.done
			if got := k.snapshot(); got.State != c.state {
				t.Errorf("the call is %q, want %q", got.State, c.state)
			}
		})
	}
}

// Connections beyond the limit wait until one of those before is closed.
func TestConnectionsAreBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bound := limit(l, 2)
	taken := make(chan net.Conn, 9)
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			c, err := bound.Accept()
			if err != nil {
				return
			}
			taken <- c
		}
	}()
	for range 3 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	first, second := <-taken, <-taken
	select {
	case <-taken:
		t.Error("a third connection got in")
	case <-time.After(50 * time.Millisecond):
	}
	first.Close()
	first.Close()
	third := <-taken
	second.Close()
	third.Close()
	bound.Close()
	bound.Close()
	<-over
	if _, err := bound.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed listener: %v", err)
	}
}

// invite asks an SBC's way for a recording session and returns the final answer.
func invite(t *testing.T, to netip.AddrPort, id string) string {
	t.Helper()
	conn, err := net.Dial("udp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\na=sendonly\r\na=label:1\r\n"
	q := fmt.Sprintf("INVITE sip:rec@%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s\r\nMax-Forwards: 70\r\nFrom: <sip:sbc@127.0.0.1>;tag=%s\r\n"+
		"To: <sip:rec@127.0.0.1>\r\nCall-ID: %s\r\nCSeq: 1 INVITE\r\nContact: <sip:sbc@%s>;+sip.src\r\nRequire: siprec\r\n"+
		"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", to, conn.LocalAddr(), id, id, id, conn.LocalAddr(), len(body), body)
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, q); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	for {
		n, err := conn.Read(b)
		if err != nil {
			t.Fatalf("no final answer: %v", err)
		}
		if answer := string(b[:n]); !strings.HasPrefix(answer, "SIP/2.0 1") {
			return answer
		}
	}
}

const offerSDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\n" +
	"a=mid:0\r\na=sendonly\r\na=rtcp-mux\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=setup:actpass\r\n" +
	"a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\na=rtpmap:111 opus/48000/2\r\n"

// socket is the client's side of a WebSocket, as little of it as the tests need.
type socket struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
	// refused is the answer to a handshake that brought no WebSocket.
	refused string
}

func dialFork(t *testing.T, base, path string) *socket {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Protocol: media\r\nAudiohook-Organization-Id: d7934305-0972-4844-938e-9060eef73d05\r\nAudiohook-Correlation-Id: e160e428-53e2-487c-977d-96989bf5c99d\r\n"+
		"Audiohook-Session-Id: e160e428-53e2-487c-977d-96989bf5c99d\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path, conn.RemoteAddr())
	s := &socket{Conn: conn, t: t, r: bufio.NewReader(conn)}
	res, err := http.ReadResponse(s.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		b, _ := io.ReadAll(res.Body)
		s.refused = fmt.Sprintf("%d %v %s", res.StatusCode, res.Header["Retry-After"], b)
	}
	return s
}

// frame sends a frame, masked as clients must.
func (s *socket) frame(kind byte, b []byte) error {
	f := []byte{0x80 | kind}
	switch n := len(b); {
	case n < 126:
		f = append(f, 0x80|byte(n))
	default:
		f = append(f, 0x80|126, byte(n>>8), byte(n))
	}
	f = append(f, 0, 0, 0, 0)
	_, err := s.Write(append(f, b...))
	return err
}

func (s *socket) text(m string) {
	s.t.Helper()
	if err := s.frame(1, []byte(m)); err != nil {
		s.t.Fatal(err)
	}
}

// read returns the next frame; the tests' peers fragment nothing.
func (s *socket) read() (kind byte, b []byte, err error) {
	var head [2]byte
	if _, err = io.ReadFull(s.r, head[:]); err != nil {
		return 0, nil, err
	}
	n := int(head[1] & 0x7F)
	if n == 126 {
		var more [2]byte
		if _, err = io.ReadFull(s.r, more[:]); err != nil {
			return 0, nil, err
		}
		n = int(more[0])<<8 | int(more[1])
	}
	b = make([]byte, n)
	_, err = io.ReadFull(s.r, b)
	return head[0] & 0xF, b, err
}

// drainedJSON is the form of the answer that operators' scripts read.
func TestDrainReply(t *testing.T) {
	b, err := json.Marshal(drainReply{true, 2})
	if err != nil || string(b) != `{"draining":true,"running":2}` {
		t.Errorf("%s, %v", b, err)
	}
}
