package sip

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sidetone/internal/leaktest"
	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/port"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const patience = 10 * time.Second

// eventually waits for what other goroutines bring about.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// host records what the server does with its calls.
type host struct {
	mu    sync.Mutex
	err   error
	block chan struct{} // Open waits for it
	began chan struct{} // Open has begun
	calls []*call
}

type call struct {
	media.Call
	hangUp func(media.End)

	mu      sync.Mutex
	legs    map[string]*leg
	order   []string
	updates []media.Leg
	facts   map[string]string
	end     *media.End
	done    chan struct{}
}

type leg struct {
	mu     sync.Mutex
	leg    media.Leg
	begun  int // how often it was added
	frames int
	loud   int // the greatest mean amplitude of a frame
	last   int64
	marks  []media.Mark
	ends   []media.End
	stats  media.LegStats
}

func (h *host) Open(c media.Call, hangUp func(media.End)) (media.CallSink, error) {
	if h.block != nil {
		close(h.began)
		<-h.block
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return nil, h.err
	}
	n := &call{Call: c, hangUp: hangUp, legs: map[string]*leg{}, facts: map[string]string{}, done: make(chan struct{})}
	h.calls = append(h.calls, n)
	return n, nil
}

// refuse makes Open fail, or succeed again.
func (h *host) refuse(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
}

func (h *host) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.calls)
}

// call waits for call number i.
func (h *host) call(t *testing.T, i int) *call {
	t.Helper()
	var c *call
	eventually(t, fmt.Sprintf("call %d", i), func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.calls) > i {
			c = h.calls[i]
		}
		return c != nil
	})
	return c
}

func (c *call) AddLeg(l media.Leg) (media.LegSink, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.legs[l.ID]; old != nil {
		old.mu.Lock()
		defer old.mu.Unlock()
		if len(old.ends) < old.begun {
			return nil, media.ErrDuplicate
		}
		old.begun++
		return old, nil
	}
	n := &leg{leg: l, begun: 1}
	c.legs[l.ID] = n
	c.order = append(c.order, l.ID)
	return n, nil
}

func (c *call) UpdateLeg(l media.Leg) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.updates = append(c.updates, l)
}
func (c *call) Pause(string)  {}
func (c *call) Resume(string) {}
func (c *call) Describe(facts map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.Copy(c.facts, facts)
}

func (c *call) End(e media.End) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end != nil {
		return
	}
	for _, l := range c.legs {
		l.mu.Lock()
		if len(l.ends) != l.begun {
			e.Reason += " (a leg still runs)"
		}
		l.mu.Unlock()
	}
	c.end = &e
	close(c.done)
}

// ended waits for the call's end.
func (c *call) ended(t *testing.T, state media.EndState, reason string) {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		t.Fatal("the call does not end")
	}
	if c.end.State != state || !strings.Contains(c.end.Reason, reason) || strings.Contains(c.end.Reason, "still runs") {
		t.Errorf("the call ended %v: %s; want %v: %s", c.end.State, c.end.Reason, state, reason)
	}
}

func (c *call) leg(t *testing.T, id string) *leg {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.legs[id] == nil {
		t.Fatalf("there is no leg %q among %v", id, c.order)
	}
	return c.legs[id]
}

func (c *call) fact(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.facts[name]
}

// updated waits for update number i.
func (c *call) updated(t *testing.T, i int) media.Leg {
	t.Helper()
	var l media.Leg
	eventually(t, "an update of a leg", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.updates) <= i {
			return false
		}
		l = c.updates[i]
		return true
	})
	return l
}

func (l *leg) Frame(f *pcm.Frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	sum := 0
	for _, s := range f.Samples {
		sum += max(int(s), -int(s))
	}
	l.frames++
	l.loud = max(l.loud, sum/len(f.Samples))
	l.last = f.Start
}

func (l *leg) Mark(m media.Mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.marks = append(l.marks, m)
}

func (l *leg) End(e media.End, s media.LegStats) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends = append(l.ends, e)
	l.stats = s
}

func (l *leg) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.frames
}

// heard waits for frames, and returns how loud they were.
func (l *leg) heard(t *testing.T, frames int) int {
	t.Helper()
	eventually(t, fmt.Sprintf("%d frames", frames), func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.frames >= frames
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.loud
}

// kinds are the marks without those of the media path.
func (l *leg) kinds() []media.MarkKind {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []media.MarkKind
	for _, m := range l.marks {
		switch m.Kind {
		case media.MarkHeld, media.MarkUnheld, media.MarkDigit:
			all = append(all, m.Kind)
		}
	}
	return all
}

var loopback = netip.MustParseAddr("127.0.0.1")

func quick() timing {
	t := defaultTiming()
	t.tick, t.request = 10*time.Millisecond, 2*time.Second
	return t
}

func newPool(t testing.TB) *port.Pool {
	t.Helper()
	pool, err := port.NewPool(port.PoolConfig{Host: loopback, ReadBuffer: 1 << 16, Rest: -1})
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

// serve starts a server on all transports that cfg has, or on UDP and TCP.
func serve(t *testing.T, edit func(*Config), times func(*timing)) (*Server, *host) {
	t.Helper()
	h := &host{}
	cfg := Config{
		Host: h, Ports: newPool(t), Log: slog.New(slog.DiscardHandler),
		UDP: netip.AddrPortFrom(loopback, 0), TCP: netip.AddrPortFrom(loopback, 0),
	}
	if edit != nil {
		edit(&cfg)
	}
	if custom, ok := cfg.Host.(*host); ok {
		h = custom
	}
	tm := quick()
	if times != nil {
		times(&tm)
	}
	s, err := start(cfg, tm)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, h
}

// message is one SIP message, as the test's own reader sees it.
type message struct {
	start   string
	headers map[string][]string
	body    string
}

func (m message) get(name string) string { return strings.Join(m.headers[strings.ToLower(name)], ", ") }

func (m message) status() int {
	f := strings.Fields(m.start)
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(f[1])
	return n
}

// reader reads one message.
func reader(r *bufio.Reader) (message, error) {
	m := message{headers: map[string][]string{}}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return m, err
		}
		line = strings.TrimRight(line, "\r\n")
		if m.start == "" {
			m.start = line
			continue
		}
		if line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		name = strings.ToLower(strings.TrimSpace(name))
		m.headers[name] = append(m.headers[name], strings.TrimSpace(value))
	}
	n, _ := strconv.Atoi(m.get("content-length"))
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	m.body = string(b)
	return m, err
}

// src is a session recording client, written without any SIP library.
type src struct {
	t         *testing.T
	conn      net.Conn
	transport string
	callID    string
	from, to  string // tags
	seq       int
	branches  int
	require   string
	extra     string // header lines
	mute      bool   // requests of the server stay unanswered

	responses chan message
	requests  chan message
	wg        sync.WaitGroup
}

var clients struct {
	sync.Mutex
	n int
}

func dial(t *testing.T, s *Server, transport string) *src {
	t.Helper()
	var conn net.Conn
	var err error
	switch addr := s.Addr(transport).String(); transport {
	case "UDP":
		conn, err = net.Dial("udp", addr)
	case "TCP":
		conn, err = net.Dial("tcp", addr)
	default:
		conn, err = tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true}) // the test made the certificate itself
	}
	if err != nil {
		t.Fatal(err)
	}
	clients.Lock()
	clients.n++
	n := clients.n
	clients.Unlock()
	c := &src{
		t: t, conn: conn, transport: transport, callID: fmt.Sprintf("rs-%d@src.example", n), from: fmt.Sprintf("f%d", n),
		require: "siprec", responses: make(chan message, 64), requests: make(chan message, 64),
	}
	c.wg.Go(c.read)
	t.Cleanup(func() {
		conn.Close()
		c.wg.Wait()
	})
	return c
}

func (c *src) read() {
	take := func(m message) {
		if strings.HasPrefix(m.start, "SIP/2.0") {
			c.responses <- m
			return
		}
		c.requests <- m
		if !c.mute {
			fmt.Fprintf(c.conn, "SIP/2.0 200 OK\r\nVia: %s\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %s\r\nContent-Length: 0\r\n\r\n",
				m.get("via"), m.get("from"), m.get("to"), m.get("call-id"), m.get("cseq"))
		}
	}
	if c.transport == "UDP" {
		buf := make([]byte, 1<<16)
		for {
			n, err := c.conn.Read(buf)
			if err != nil {
				return
			}
			if m, err := reader(bufio.NewReader(bytes.NewReader(buf[:n]))); err == nil {
				take(m)
			}
		}
	}
	r := bufio.NewReader(c.conn)
	for {
		m, err := reader(r)
		if err != nil {
			return
		}
		take(m)
	}
}

// compose writes a request of the dialog.
func (c *src) compose(method, contentType, body string) string {
	seq := c.seq
	if method != "ACK" && method != "CANCEL" {
		c.seq++
		c.branches++
		seq = c.seq
	} else if method == "ACK" {
		c.branches++
	}
	to := "<sip:srs@127.0.0.1>"
	if c.to != "" {
		to += ";tag=" + c.to
	}
	s := fmt.Sprintf("%s sip:srs@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/%s %s;rport;branch=z9hG4bK-%s-%d\r\nFrom: <sip:src@127.0.0.1>;tag=%s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContact: <sip:%s;transport=%s>;+sip.src\r\nMax-Forwards: 70\r\n",
		method, c.transport, c.conn.LocalAddr(), c.from, c.branches, c.from, to, c.callID, seq, method, c.conn.LocalAddr(), strings.ToLower(c.transport))
	if method == "INVITE" && c.require != "" {
		s += "Require: " + c.require + "\r\n"
	}
	s += c.extra
	if contentType != "" {
		s += "Content-Type: " + contentType + "\r\n"
	}
	return s + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
}

func (c *src) write(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Fatal(err)
	}
}

// response waits for the next response.
func (c *src) response() message {
	c.t.Helper()
	select {
	case m := <-c.responses:
		return m
	case <-time.After(patience):
		c.t.Fatal("no response")
		return message{}
	}
}

// final waits for a final response to the newest request.
func (c *src) final() message {
	c.t.Helper()
	for {
		m := c.response()
		if m.status() >= 200 && strings.HasPrefix(m.get("cseq"), fmt.Sprint(c.seq, " ")) {
			return m
		}
	}
}

// ask sends a request and waits for its final response.
func (c *src) ask(method, contentType, body string) message {
	c.t.Helper()
	c.write(c.compose(method, contentType, body))
	return c.final()
}

// invite begins or changes a session and acknowledges it.
func (c *src) invite(contentType, body string) message {
	c.t.Helper()
	m := c.ask("INVITE", contentType, body)
	if m.status() != 200 {
		c.ack(m)
		return m
	}
	_, tag, _ := strings.Cut(m.get("to"), ";tag=")
	c.to = tag
	c.ack(m)
	return m
}

// ack acknowledges, a refusal within its transaction.
func (c *src) ack(m message) {
	c.t.Helper()
	if m.status() >= 300 {
		_, tag, _ := strings.Cut(m.get("to"), ";tag=")
		before, branches := c.to, c.branches
		c.to = tag
		c.branches--
		c.write(c.compose("ACK", "", ""))
		c.to, c.branches = before, branches
		return
	}
	c.write(c.compose("ACK", "", ""))
}

// begin begins a session that must be taken.
func (c *src) begin(contentType, body string) message {
	c.t.Helper()
	m := c.invite(contentType, body)
	if m.status() != 200 {
		c.t.Fatalf("%s: %s", m.start, m.get("warning"))
	}
	return m
}

func (c *src) bye() {
	c.t.Helper()
	if m := c.ask("BYE", "", ""); m.status() != 200 {
		c.t.Errorf("BYE: %s", m.start)
	}
}

// request waits for a request of the server.
func (c *src) request(method string) message {
	c.t.Helper()
	for {
		select {
		case m := <-c.requests:
			if strings.HasPrefix(m.start, method+" ") {
				return m
			}
		case <-time.After(patience):
			c.t.Fatalf("no %s came", method)
		}
	}
}

// ports are those of an answer.
func (m message) ports() []int {
	var all []int
	for line := range strings.Lines(m.body) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[0], "m=") {
			n, _ := strconv.Atoi(f[1])
			all = append(all, n)
		}
	}
	return all
}

// lines are the descriptions of the m-lines, one after the other.
func (m message) lines() []string { return strings.Split(m.body, "m=")[1:] }

// composed requests

func offer(version int, lines ...string) string {
	s := fmt.Sprintf("v=0\r\no=src 71 %d IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n", version)
	for i, l := range lines {
		if !strings.HasPrefix(l, "m=") {
			label, direction, _ := strings.Cut(l, " ")
			l = fmt.Sprintf("m=audio %d RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=label:%s\r\na=%s\r\n", 24100+2*i, label, direction)
		}
		s += l
	}
	return s
}

const multipart = "multipart/mixed;boundary=b7f3"

func parts(sdp, xml string) string {
	return "--b7f3\r\nContent-Type: application/sdp\r\n\r\n" + sdp + "\r\n--b7f3\r\nContent-Type: application/rs-metadata+xml\r\nContent-Disposition: recording-session\r\n\r\n" + xml + "\r\n--b7f3--\r\n"
}

func metadata(mode string, elements ...string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>` + mode + "</datamode>" + strings.Join(elements, "") + "</recording>"
}

func person(id, aor, name string) string {
	return fmt.Sprintf(`<participant participant_id="%s"><nameID aor="%s"><name>%s</name></nameID></participant>`, id, aor, name)
}

func stream(id, label string) string {
	return fmt.Sprintf(`<stream stream_id="%s" session_id="S"><label>%s</label></stream>`, id, label)
}

func sends(id, stream string) string {
	return fmt.Sprintf(`<participantstreamassoc participant_id="%s"><send>%s</send></participantstreamassoc>`, id, stream)
}

var both = metadata("complete",
	`<session session_id="S"><sipSessionID>cs-77f1@pbx.example.test</sipSessionID></session>`,
	person("A", "sip:+4930111222@carrier.example.test", "Anrufer"), person("B", "sip:2207@pbx.example.test", "Agent 2207"),
	stream("SA", "1"), stream("SB", "2"), sends("A", "SA"), sends("B", "SB"))

var usual = parts(offer(1, "1 sendonly", "2 sendonly"), both)

// G.711 code words: A-law's loudest, a quieter one and nearly nothing.
const (
	loud   = 0x2a
	quiet6 = 0x1a
)

// speak sends packets of a square wave of 1 kHz from one socket.
func speak(t *testing.T, from net.PacketConn, to int, pt byte, code byte, ssrc uint32, seq, n int) {
	t.Helper()
	dst := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: to}
	for i := range n {
		if _, err := from.WriteTo(rtpPacket(pt, code, ssrc, seq+i), dst); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

func rtpPacket(pt, code byte, ssrc uint32, seq int) []byte {
	p := make([]byte, 12+160)
	p[0], p[1] = 0x80, pt
	binary.BigEndian.PutUint16(p[2:], uint16(seq))
	binary.BigEndian.PutUint32(p[4:], uint32(seq*160))
	binary.BigEndian.PutUint32(p[8:], ssrc)
	for i := range p[12:] {
		p[12+i] = code
		if i/4%2 == 1 {
			p[12+i] = code ^ 0x80
		}
	}
	return p
}

func socket(t *testing.T) net.PacketConn {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func has(all []media.MarkKind, want ...media.MarkKind) bool { return slices.Equal(all, want) }
