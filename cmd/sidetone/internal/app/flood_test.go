package app

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/journal"
	"sidetone/internal/pcm"
)

const (
	// floodEnv sets how many malformed requests are sent; 10000 is the full flood.
	floodEnv     = "SIDETONE_FLOOD"
	floodDefault = 1200
	// good and evil are the samples of the call that must not suffer, and of what
	// others send to its ports.
	good, evil = 1000, 7777
)

// flood is who sends malformed requests, and what came of them.
type flood struct {
	r    *running
	good callReply
	ng   *net.UDPConn

	mu      sync.Mutex
	answers map[string]map[string]int
	mute    []string
}

// answered counts what a door said to a request.
func (f *flood) answered(door, what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.answers[door] == nil {
		f.answers[door] = map[string]int{}
	}
	f.answers[door][what]++
}

// wordless notes a refusal that does not say why.
func (f *flood) wordless(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mute = append(f.mute, fmt.Sprintf(format, args...))
}

// spoil makes a malformed request of a good one: bytes are changed, doubled, cut
// out, or it ends too early.
func spoil(rnd *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	for range 1 + rnd.IntN(4) {
		if len(b) == 0 {
			break
		}
		at := rnd.IntN(len(b))
		switch rnd.IntN(6) {
		case 0:
			b[at] = byte(rnd.Uint32())
		case 1:
			b = b[:at]
		case 2:
			end := min(len(b), at+rnd.IntN(20))
			b = slices.Insert(b, at, bytes.Clone(b[at:end])...)
		case 3:
			b = slices.Delete(b, at, min(len(b), at+rnd.IntN(20)))
		case 4:
			b = slices.Insert(b, at, bytes.Repeat([]byte{byte(rnd.Uint32())}, rnd.IntN(3000))...)
		default:
			b = slices.Insert(b, at, []byte{0, 255, '\r', '\n', '"', '{', 0xC3, 0x28}[:1+rnd.IntN(8)]...)
		}
	}
	return b
}

const patience = 3 * time.Second

// exchange sends bytes over a connection of its own and reads what comes back, a
// little of it. half says that nothing more is sent, which some servers take for
// a client that has gone.
func exchange(network, to string, b []byte, wait time.Duration, half bool) []byte {
	conn, err := net.Dial(network, to)
	if err != nil {
		return nil
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(wait))
	if _, err := conn.Write(b); err != nil {
		return nil
	}
	if c, ok := conn.(*net.TCPConn); ok && half {
		_ = c.CloseWrite()
	}
	if network == "udp" {
		answer := make([]byte, 4096)
		n, _ := conn.Read(answer)
		return answer[:n]
	}
	answer, _ := io.ReadAll(io.LimitReader(conn, 64<<10))
	return answer
}

func (f *flood) host() string { return strings.TrimPrefix(f.r.URL(), "http://") }

// status counts an HTTP answer and looks for its words.
func (f *flood) status(door string, answer, request []byte) {
	if len(answer) == 0 {
		f.answered(door, "closed")
		return
	}
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil)
	if err != nil {
		f.answered(door, "no HTTP")
		return
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	f.answered(door, strconv.Itoa(res.StatusCode))
	if res.StatusCode == http.StatusInternalServerError {
		f.wordless("%s: 500 to what is the client's mistake: %.300s", door, body)
	}
	if res.StatusCode >= 400 && len(bytes.TrimSpace(body)) == 0 && !bytes.HasPrefix(request, []byte("HEAD")) {
		f.wordless("%s: %d without words to %.80q", door, res.StatusCode, request)
	}
}

func post(path, kind, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", path, kind, len(body), body)
}

func (f *flood) http(rnd *rand.Rand) {
	all := []string{
		post("/v1/calls", "application/json", exampleBody), post("/v1/calls/good/role", "application/json", `{"leg":"agnt","role":"customer"}`),
		post("/v1/calls/x/legs", "application/json", `{"role":"agent","codec":"opus"}`),
		"DELETE /v1/calls/nobody HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "GET /v1/calls?limit=3&from=x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"GET /agent/ann HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"PUT /v1/audiosocket/40325ec2-5efd-4bd3-805f-53576e581d13 HTTP/1.1\r\nHost: x\r\nContent-Length: 16\r\nConnection: close\r\n\r\n" + `{"role":"agent"}`,
		post("/v1/calls", "application/json", `{"call":"`+strings.Repeat("x", rnd.IntN(99999))+`"}`),
		"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("y", rnd.IntN(99999)) + "\r\n\r\n",
	}
	b := spoil(rnd, []byte(all[rnd.IntN(len(all))]))
	f.status("HTTP API", exchange("tcp", f.host(), b, patience, true), b)
}

func (f *flood) whip(rnd *rand.Rand) {
	b := []byte(post("/v1/whip?agent=ann", "application/sdp", string(spoil(rnd, []byte(offerSDP)))))
	f.status("WHIP", exchange("tcp", f.host(), b, patience, false), b)
}

// socketFirst are the first messages of the protocols on WebSockets.
func socketFirst() map[string]string {
	return map[string]string{
		"/v1/fork/freeswitch?agent=ann": `{"agent":"ann"}`,
		"/v1/fork/twilio":               `{"event":"start","sequenceNumber":"1","start":{"accountSid":"AC1","streamSid":"MZ1","callSid":"CA1","tracks":["inbound"],"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}},"streamSid":"MZ1"}`,
		"/v1/fork/media":                `{"event":"media","sequenceNumber":"3","media":{"track":"outbound","chunk":"1","timestamp":"5","payload":"no+base64=="},"streamSid":"MZ1"}`,
		"/v1/fork/asterisk?agent=ann":   "MEDIA_START connection_id:1 channel:PJSIP/a-1 channel_id:1.2 format:ulaw optimal_frame_size:160 ptime:20",
		"/v1/fork/audiohook":            `{"version":"2","type":"open","seq":1,"serverseq":0,"id":"e160e428-53e2-487c-977d-96989bf5c99d","position":"PT0S","parameters":{"organizationId":"d7934305-0972-4844-938e-9060eef73d05","conversationId":"090eaa2f","participant":{"id":"883efee8","ani":"+1","aniName":"J","dnis":"+2"},"media":[{"type":"audio","format":"PCMU","channels":["external","internal"],"rate":8000}]}}`,
		"/v1/push/ann":                  `{"type":"ack","call":"c1","card":"k1","received_ms":1203.1,"painted_ms":1231.4}`,
	}
}

func (f *flood) socket(rnd *rand.Rand) {
	first := socketFirst()
	paths := slices.Sorted(maps.Keys(first))
	path := paths[rnd.IntN(len(paths))]
	door, _, _ := strings.Cut("WebSocket "+path, "?")
	conn, err := net.Dial("tcp", f.host())
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	shake := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Protocol: media\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path, f.host())
	if rnd.IntN(8) == 0 {
		b := spoil(rnd, []byte(shake))
		_, _ = conn.Write(b)
		_ = conn.(*net.TCPConn).CloseWrite()
		answer, _ := io.ReadAll(io.LimitReader(conn, 64<<10))
		f.status(door, answer, b)
		return
	}
	_, _ = io.WriteString(conn, shake)
	s := &socket{Conn: conn, r: bufio.NewReader(conn)}
	res, err := http.ReadResponse(s.r, nil)
	if err != nil {
		f.answered(door, "closed")
		return
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		f.answered(door, strconv.Itoa(res.StatusCode))
		if body, _ := io.ReadAll(res.Body); len(body) == 0 {
			f.wordless("%s: %d without words", door, res.StatusCode)
		}
		return
	}
	for range 1 + rnd.IntN(3) {
		m := spoil(rnd, []byte(first[path]))
		switch rnd.IntN(6) {
		case 0:
			_ = s.frame(byte(rnd.Uint32()), m[:min(len(m), 60000)])
		case 1:
			_, _ = conn.Write(m)
		case 2:
			_, _ = conn.Write([]byte{0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0})
		case 3:
			_ = s.frame(2, m[:min(len(m), 60000)])
		default:
			_ = s.frame(1, m[:min(len(m), 60000)])
		}
	}
	_ = s.frame(8, []byte{3, 232})
	for {
		kind, b, err := s.read()
		if err != nil {
			f.answered(door, "closed")
			return
		}
		if kind == 8 && len(b) >= 2 {
			f.answered(door, fmt.Sprint("close ", int(b[0])<<8|int(b[1])))
			return
		}
	}
}

func (f *flood) sip(rnd *rand.Rand) {
	network := []string{"UDP", "TCP"}[rnd.IntN(2)]
	door := "SIP " + network
	id := fmt.Sprintf("f%d", rnd.Uint64())
	body := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\na=sendonly\r\na=label:1\r\n"
	method := []string{"INVITE", "OPTIONS", "BYE", "UPDATE", "INFO", "REGISTER", "ACK", "CANCEL"}[rnd.IntN(8)]
	q := fmt.Sprintf("%s sip:rec@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/%s 127.0.0.1:9;rport;branch=z9hG4bK%s\r\nMax-Forwards: 70\r\nFrom: <sip:sbc@127.0.0.1>;tag=%s\r\n"+
		"To: <sip:rec@127.0.0.1>\r\nCall-ID: %s\r\nCSeq: 1 %s\r\nContact: <sip:sbc@127.0.0.1:9>;+sip.src\r\nRequire: siprec\r\n"+
		"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", method, network, id, id, id, method, len(body), body)
	answer := exchange(strings.ToLower(network), f.r.sources.siprec.Addr(network).String(), spoil(rnd, []byte(q)), 100*time.Millisecond, false)
	line, _, _ := strings.Cut(string(answer), "\r\n")
	version, rest, ok := strings.Cut(line, " ")
	if !ok || version != "SIP/2.0" {
		f.answered(door, "nothing")
		return
	}
	status, words, _ := strings.Cut(rest, " ")
	f.answered(door, status)
	if words == "" {
		f.wordless("%s: %q", door, line)
	}
}

func (f *flood) audioSocket(to string) func(rnd *rand.Rand) {
	return func(rnd *rand.Rand) {
		frames := append([]byte{1, 0, 16}, "0123456789abcdef"...)
		for range rnd.IntN(4) {
			frames = append(frames, []byte{0x10, 0x11, 0x03, 0xFF, 0x00, 0x42}[rnd.IntN(6)], byte(rnd.IntN(3)), byte(rnd.Uint32()))
			frames = append(frames, make([]byte, rnd.IntN(700))...)
		}
		if len(exchange("tcp", to, spoil(rnd, frames), patience, true)) == 0 {
			f.answered("AudioSocket", "closed")
		} else {
			f.answered("AudioSocket", "answered, closed")
		}
	}
}

// ports sends to where the good call's audio arrives.
func (f *flood) ports(rnd *rand.Rand) {
	to := netip.MustParseAddrPort(f.good.Legs[rnd.IntN(len(f.good.Legs))].Address)
	if rnd.IntN(3) == 0 {
		to = netip.AddrPortFrom(to.Addr(), to.Port()+1)
	}
	p := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: uint16(rnd.Uint32()), Timestamp: rnd.Uint32(), SSRC: rnd.Uint32(), PayloadType: 97}}
	for range pcm.FrameSamples {
		p.Payload = append(p.Payload, evil>>8, evil&0xFF)
	}
	b, err := p.Marshal()
	if err != nil {
		return
	}
	switch rnd.IntN(4) {
	case 0:
		b = spoil(rnd, b)
	case 1:
		b = spoil(rnd, []byte{0x81, 200, 0, 6, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	case 2:
		b = make([]byte, rnd.IntN(65000))
	}
	conn, err := net.Dial("udp", to.String())
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write(b)
	f.answered("RTP and RTCP", "nothing")
}

// subscribe has the server ask an rtpengine whose answers are malformed.
func (f *flood) subscribe(*rand.Rand) {
	b := []byte(post("/v1/rtpengine", "application/json", `{"call_id":"x","agent":"ann"}`))
	f.status("NG replies", exchange("tcp", f.host(), b, 20*time.Second, false), b)
}

// rtpengine answers every request with what is no answer.
func (f *flood) rtpengine(seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 99))
	b := make([]byte, 65536)
	for {
		n, from, err := f.ng.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		cookie, _, _ := strings.Cut(string(b[:n]), " ")
		answer := spoil(rnd, []byte("d6:result2:ok3:sdp9:v=0 broken6:to-tag1:xe"))
		_, _ = f.ng.WriteToUDPAddrPort(append([]byte(cookie+" "), answer[:min(len(answer), 9000)]...), from)
	}
}

// TestFlood sends malformed requests to every door while one good call runs. Its
// full size is set by SIDETONE_FLOOD=10000.
func TestFlood(t *testing.T) {
	n := floodDefault
	if text := os.Getenv(floodEnv); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(floodEnv, err)
		}
	}
	ng, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	engine := &taper{}
	before := runtime.NumGoroutine()
	r := startWith(t, engine.maker(), func(c *config.Config) {
		c.Sources.AudioSocket.Listen, c.Sources.WebRTC.Listen = "127.0.0.1:0", "127.0.0.1:0"
		c.Sources.SIPREC.UDP, c.Sources.SIPREC.TCP = "127.0.0.1:0", "127.0.0.1:0"
		c.Sources.RTPEngine.NG = ng.LocalAddr().String()
		c.Media.MaxCalls, c.Media.SetupTimeout, c.Media.Reconnect = 30, time.Second, 0
		c.Access.RequestsASecond = 0
	})
	f := &flood{r: r, ng: ng, answers: map[string]map[string]int{}}
	var replies sync.WaitGroup
	replies.Go(func() { f.rtpengine(1) })
	body := `{"call":"good","agent":"ann","legs":[{"id":"g","role":"agent","codec":"L16/16000","payload_type":97,"from":"127.0.0.1"}]}`
	if st := r.do(t, "POST", "/v1/calls", body, &f.good); st != http.StatusCreated {
		t.Fatalf("the good call: status %d", st)
	}
	// The good call's packets come all the while.
	stop, packets := make(chan struct{}), 0
	var talking sync.WaitGroup
	talking.Go(func() { packets = speak(t, f.good.Legs[0].Address, stop) })

	heap := heapNow()
	doors := []func(*rand.Rand){f.http, f.whip, f.socket, f.socket, f.sip, f.audioSocket(r.audioSocket(t)), f.ports, f.ports}
	begun := time.Now()
	var all sync.WaitGroup
	for who := range 8 {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(7, uint64(who)))
			for i := who; i < n; i += 8 {
				if i%251 == 0 {
					f.subscribe(rnd)
					continue
				}
				doors[rnd.IntN(len(doors))](rnd)
			}
		})
	}
	all.Wait()
	took := time.Since(begun)
	grown := int64(heapNow()) - int64(heap)
	close(stop)
	talking.Wait()

	var rec journal.Call
	if st := r.do(t, "DELETE", "/v1/calls/good", "", &rec); st != http.StatusOK || rec.State != "ended" {
		t.Errorf("ending the good call: %d, %q", st, rec.State)
	}
	if s := rec.Legs[0].Stats; s == nil || s.Received != uint64(packets) || s.Lost != 0 || s.SSRCChanges != 0 {
		t.Errorf("the good call: %+v of %d packets", s, packets)
	}
	if heard := checkHeard(t, engine.frames("g")); heard == 0 {
		t.Error("nothing was heard of the good call")
	}
	r.stop()
	ng.Close()
	replies.Wait()
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before+2 && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	// One of bleve's and one of the HTTP client may be left.
	if left := runtime.NumGoroutine(); left > before+2 {
		t.Errorf("%d goroutines are left of the flood, there were %d before", left, before)
	}
	if grown > 64<<20 {
		t.Errorf("the memory in use has grown by %d MiB", grown>>20)
	}
	if strings.Contains(r.logs.String(), "panic") {
		t.Error("the log tells of a panic")
	}
	for i, m := range f.mute {
		if i < 5 {
			t.Error(m)
		}
	}
	t.Logf("%d malformed requests in %v; the memory in use has grown by %d KiB; the good call lost nothing of %d packets\n%s",
		n, took.Round(time.Millisecond), grown>>10, packets, f.table())
}

// table is what each door answered.
func (f *flood) table() string {
	var b strings.Builder
	for _, door := range slices.Sorted(maps.Keys(f.answers)) {
		sum, parts := 0, []string{}
		for _, what := range slices.Sorted(maps.Keys(f.answers[door])) {
			sum += f.answers[door][what]
			parts = append(parts, fmt.Sprintf("%s ×%d", what, f.answers[door][what]))
		}
		fmt.Fprintf(&b, "%-32s %6d  %s\n", door, sum, strings.Join(parts, ", "))
	}
	return b.String()
}

// speak sends the good call until stop, and returns how many packets that were.
func speak(t *testing.T, to string, stop <-chan struct{}) int {
	conn, err := net.Dial("udp", to)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer conn.Close()
	p := &rtp.Packet{Header: rtp.Header{Version: 2, SSRC: 5, PayloadType: 97}}
	for range pcm.FrameSamples {
		p.Payload = append(p.Payload, good>>8, good&0xFF)
	}
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for n := 0; ; n++ {
		b, err := p.Marshal()
		if err != nil {
			t.Error(err)
		}
		if _, err := conn.Write(b); err != nil {
			t.Error(err)
		}
		p.SequenceNumber++
		p.Timestamp += pcm.FrameSamples
		select {
		case <-stop:
			return n + 1
		case <-every.C:
		}
	}
}

// checkHeard looks for samples of others in what was heard.
func checkHeard(t *testing.T, frames []pcm.Frame) (heard int) {
	t.Helper()
	for i := range frames {
		for _, v := range frames[i].Samples {
			if v > good || v < 0 {
				t.Errorf("frame %d has the sample %d, which the good call did not send", i, v)
				return heard
			}
			if v == good {
				heard++
			}
		}
	}
	return heard
}

func heapNow() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A client that sends slowly, or nothing, loses its connection, and keeps no
// other from being served.
func TestSlowClients(t *testing.T) {
	r := built(t, deaf, nil)
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	routes := r.routes()
	if s := r.httpServer(routes); s.ReadHeaderTimeout <= 0 || s.IdleTimeout <= 0 || s.MaxHeaderBytes <= 0 {
		t.Errorf("the server waits for ever: %v, %v, %d", s.ReadHeaderTimeout, s.IdleTimeout, s.MaxHeaderBytes)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: bounded(routes, 100*time.Millisecond), ReadHeaderTimeout: 100 * time.Millisecond, IdleTimeout: 100 * time.Millisecond}
	over := make(chan error, 1)
	go func() { over <- s.Serve(l) }()
	for name, begin := range map[string]string{
		"a head that does not end": "POST /v1/calls HTTP/1.1\r\nHost: x\r\nX-A: ",
		"a body that does not end": "POST /v1/calls HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
		"nothing after a request":  "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
		"nothing at all":           "",
	} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, begin); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		answer, err := io.ReadAll(conn)
		if err != nil {
			t.Errorf("%s: the connection stays open: %v", name, err)
		}
		if strings.Contains(name, "body") && !strings.Contains(string(answer), "reading the body") {
			t.Errorf("%s: %q, want a reason", name, answer)
		}
	}
	s.Close()
	if err := <-over; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}
