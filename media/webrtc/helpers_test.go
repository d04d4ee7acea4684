package webrtc

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	pion "github.com/pion/webrtc/v4"

	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/g711"
)

// patience is how long a test waits for what must come; it decides only when a
// test that has failed gives up.
const patience = 30 * time.Second

// host records calls.
type host struct {
	t  testing.TB
	mu sync.Mutex
	// refuse is returned by Open.
	refuse error
	calls  []*recorded
}

// recorded is one call of a host.
type recorded struct {
	h      *host
	call   media.Call
	hangUp func(media.End)
	legs   []*recordedLeg
	facts  map[string]string
	ends   []media.End
}

// recordedLeg is one leg of a call.
type recordedLeg struct {
	h       *host
	leg     media.Leg
	samples []int16
	flags   []pcm.Flags
	marks   []media.Mark
	ends    []media.End
	stats   media.LegStats
}

func (h *host) Open(c media.Call, hangUp func(media.End)) (media.CallSink, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuse != nil {
		return nil, h.refuse
	}
	for _, r := range h.calls {
		if r.call.ID == c.ID && len(r.ends) == 0 {
			return nil, media.ErrDuplicate
		}
	}
	r := &recorded{h: h, call: c, hangUp: hangUp, facts: map[string]string{}}
	h.calls = append(h.calls, r)
	return r, nil
}

func (r *recorded) AddLeg(l media.Leg) (media.LegSink, error) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	for _, o := range r.legs {
		if o.leg.ID == l.ID && len(o.ends) == 0 {
			return nil, media.ErrDuplicate
		}
	}
	o := &recordedLeg{h: r.h, leg: l}
	r.legs = append(r.legs, o)
	return o, nil
}

func (r *recorded) UpdateLeg(media.Leg) {}
func (r *recorded) Pause(string)        {}
func (r *recorded) Resume(string)       {}

func (r *recorded) Describe(facts map[string]string) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	for k, v := range facts {
		r.facts[k] = v
	}
}

func (r *recorded) End(e media.End) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	for _, l := range r.legs {
		if len(l.ends) == 0 {
			r.h.t.Errorf("call %s ended before its leg %s", r.call.ID, l.leg.ID)
		}
	}
	r.ends = append(r.ends, e)
}

func (l *recordedLeg) Frame(f *pcm.Frame) {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	if len(l.ends) > 0 {
		l.h.t.Error("a frame after the end")
	}
	l.samples = append(l.samples, f.Samples[:]...)
	l.flags = append(l.flags, f.Flags)
}

func (l *recordedLeg) Mark(m media.Mark) {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	l.marks = append(l.marks, m)
}

func (l *recordedLeg) End(e media.End, s media.LegStats) {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	l.ends = append(l.ends, e)
	l.stats = s
}

// see runs f while nothing changes.
func (h *host) see(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// until waits for a condition on what was recorded.
func (h *host) until(what string, ok func() bool) {
	h.t.Helper()
	until(h.t, what, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return ok()
	})
}

// over waits for the end of all calls.
func (h *host) over() {
	h.t.Helper()
	h.until("all calls are over", func() bool {
		for _, c := range h.calls {
			if len(c.ends) == 0 {
				return false
			}
		}
		return len(h.calls) > 0
	})
}

// site is a server with an HTTP front.
type site struct {
	*Server
	h   *host
	url string
}

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

func newSite(t testing.TB, edit func(*Config)) *site {
	t.Helper()
	h := &host{t: t}
	cfg := Config{Host: h, Log: slog.New(slog.DiscardHandler), Listen: loopback, Loopback: true}
	if edit != nil {
		edit(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s)
	t.Cleanup(func() {
		if err := s.Close(media.End{State: media.Aborted, Reason: "the test is over", At: time.Now()}); err != nil {
			t.Error(err)
		}
		web.CloseClientConnections()
		web.Close()
	})
	return &site{s, h, web.URL}
}

// ask sends a request to the site; headers are names and values in turn.
func (s *site) ask(t testing.TB, method, path, body string, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	resp.Body = io.NopCloser(strings.NewReader(string(b)))
	return resp
}

func text(resp *http.Response) string {
	b, _ := io.ReadAll(resp.Body)
	return string(b)
}

// client is a peer connection with one track.
type client struct {
	t     testing.TB
	site  *site
	pc    *pion.PeerConnection
	track *pion.TrackLocalStaticRTP
	conn  *net.UDPConn
	mux   ice.UDPMux

	location, etag, answer string

	codec  *g711.Codec
	seq    uint16
	stamp  uint32
	hz     float64
	at     int       // samples of the tone that were sent
	spoken time.Time // when the client began to speak
}

const mimeRED = "audio/red"

// newClient makes a client that speaks PCMU, as RED where red is set.
func newClient(t testing.TB, s *site, red bool) *client {
	t.Helper()
	c := &client{t: t, site: s, seq: 65500, stamp: 1 << 31, hz: 440}
	var err error
	if c.codec, err = g711.New(g711.MuLaw); err != nil {
		t.Fatal(err)
	}
	var settings pion.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	settings.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	settings.SetNetworkTypes([]pion.NetworkType{pion.NetworkTypeUDP4})
	settings.LoggerFactory = loggers{slog.New(slog.DiscardHandler)}
	if c.conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(loopback)); err != nil {
		t.Fatal(err)
	}
	c.mux = ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: c.conn, Logger: loggers{slog.New(slog.DiscardHandler)}.NewLogger("udp")})
	settings.SetICEUDPMux(c.mux)
	capability := pion.RTPCodecCapability{MimeType: pion.MimeTypePCMU, ClockRate: 8000}
	media := &pion.MediaEngine{}
	register := func(kind pion.RTPCodecType, pt pion.PayloadType, c pion.RTPCodecCapability) {
		if err := media.RegisterCodec(pion.RTPCodecParameters{RTPCodecCapability: c, PayloadType: pt}, kind); err != nil {
			t.Fatal(err)
		}
	}
	if red {
		register(pion.RTPCodecTypeAudio, 63, pion.RTPCodecCapability{MimeType: mimeRED, ClockRate: 8000, SDPFmtpLine: "0/0"})
	}
	register(pion.RTPCodecTypeAudio, 0, capability)
	register(pion.RTPCodecTypeAudio, 101, pion.RTPCodecCapability{MimeType: "audio/telephone-event", ClockRate: 8000, SDPFmtpLine: "0-16"})
	register(pion.RTPCodecTypeVideo, 96, pion.RTPCodecCapability{MimeType: pion.MimeTypeVP8, ClockRate: 90000})
	api := pion.NewAPI(pion.WithMediaEngine(media), pion.WithSettingEngine(settings), pion.WithInterceptorRegistry(&interceptor.Registry{}))
	if c.pc, err = api.NewPeerConnection(pion.Configuration{}); err != nil {
		t.Fatal(err)
	}
	if red {
		capability = pion.RTPCodecCapability{MimeType: mimeRED, ClockRate: 8000, SDPFmtpLine: "0/0"}
	}
	if c.track, err = pion.NewTrackLocalStaticRTP(capability, "microphone", "stream"); err != nil {
		t.Fatal(err)
	}
	tr, err := c.pc.AddTransceiverFromTrack(c.track, pion.RTPTransceiverInit{Direction: pion.RTPTransceiverDirectionSendonly})
	if err != nil {
		t.Fatal(err)
	}
	var reader sync.WaitGroup
	reader.Go(func() {
		b := make([]byte, 1500)
		for {
			if _, _, err := tr.Sender().Read(b); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		c.close()
		reader.Wait()
	})
	return c
}

func (c *client) close() {
	if err := c.pc.GracefulClose(); err != nil {
		c.t.Logf("closing the client: %v", err)
	}
	_ = c.mux.Close()
}

// offer makes an offer with all candidates.
func (c *client) offer(opts *pion.OfferOptions) string {
	c.t.Helper()
	o, err := c.pc.CreateOffer(opts)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.pc.SetLocalDescription(o); err != nil {
		c.t.Fatal(err)
	}
	select {
	case <-pion.GatheringCompletePromise(c.pc):
	case <-time.After(patience):
		c.t.Fatal("the client finds no candidates")
	}
	return c.pc.LocalDescription().SDP
}

// post sends an offer and takes the answer.
func (c *client) post(query, offer string, headers ...string) {
	c.t.Helper()
	resp := c.site.ask(c.t, "POST", DefaultPath+query, offer, append([]string{"Content-Type", typeSDP}, headers...)...)
	c.answer = text(resp)
	if resp.StatusCode != http.StatusCreated {
		c.t.Fatalf("POST: %s %s", resp.Status, c.answer)
	}
	c.location, c.etag = resp.Header.Get("Location"), resp.Header.Get("ETag")
	if err := c.pc.SetRemoteDescription(pion.SessionDescription{Type: pion.SDPTypeAnswer, SDP: c.answer}); err != nil {
		c.t.Fatalf("the answer does not suit the client: %v\n%s", err, c.answer)
	}
}

// connect begins a session and waits for its connection.
func (c *client) connect(query string) {
	c.t.Helper()
	c.post(query, c.offer(nil))
	c.connected()
}

func (c *client) connected() {
	c.t.Helper()
	until(c.t, "the client is connected", func() bool { return c.pc.ConnectionState() == pion.PeerConnectionStateConnected })
}

// session is the server's side.
func (c *client) session() *session {
	c.t.Helper()
	s := c.site.session(strings.TrimPrefix(c.location, DefaultPath+"/"))
	if s == nil {
		c.t.Fatal("the session is over")
	}
	return s
}

// payload is the next 20 ms of a tone.
func (c *client) payload() []byte {
	var x [160]int16
	for i := range x {
		x[i] = int16(math.RoundToEven(10000 * math.Sin(2*math.Pi*c.hz*float64(c.at+i)/8000)))
	}
	c.at += len(x)
	b := make([]byte, len(x))
	if _, err := c.codec.Encode(b, x[:]); err != nil {
		c.t.Fatal(err)
	}
	return b
}

// write sends a packet with the next sequence number; edit may change it.
func (c *client) write(payload []byte, edit func(*rtp.Packet)) {
	c.t.Helper()
	p := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: c.seq, Timestamp: c.stamp}, Payload: payload}
	c.seq++
	if edit != nil {
		edit(p)
	}
	if err := c.track.WriteRTP(p); err != nil {
		c.t.Fatal(err)
	}
}

// speak sends a tone in real time.
func (c *client) speak(d time.Duration) {
	c.t.Helper()
	if c.spoken.IsZero() {
		c.spoken = time.Now()
	}
	next := time.NewTicker(20 * time.Millisecond)
	defer next.Stop()
	for range int(d / (20 * time.Millisecond)) {
		c.write(c.payload(), nil)
		c.stamp += 160
		<-next.C
	}
}

// delete ends the session.
func (c *client) delete() {
	c.t.Helper()
	if resp := c.site.ask(c.t, "DELETE", c.location, ""); resp.StatusCode != http.StatusOK {
		c.t.Fatalf("DELETE: %s %s", resp.Status, text(resp))
	}
}

// toneShare is how much of the energy is a tone of hz, frame by frame: what a
// late packet moves or leaves out does not count against it.
func toneShare(x []int16, hz float64) float64 {
	var tone, all float64
	for ; len(x) >= pcm.FrameSamples; x = x[pcm.FrameSamples:] {
		var ss, cc, sc, sx, cx, xx float64
		for i, v := range x[:pcm.FrameSamples] {
			s, c := math.Sincos(2 * math.Pi * hz * float64(i) / pcm.Rate)
			ss, cc, sc = ss+s*s, cc+c*c, sc+s*c
			sx, cx, xx = sx+s*float64(v), cx+c*float64(v), xx+float64(v)*float64(v)
		}
		det := ss*cc - sc*sc
		tone += (sx*(sx*cc-cx*sc) + cx*(cx*ss-sx*sc)) / det
		all += xx
	}
	return tone / max(all, 1)
}

// fragment is a trickle fragment of the client's newest credentials.
func fragment(ufrag, password string, candidates ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n", ufrag, password)
	for _, c := range candidates {
		fmt.Fprintf(&b, "a=candidate:%s\r\n", c)
	}
	b.WriteString("a=end-of-candidates\r\n")
	return b.String()
}

// values finds the values of an attribute in a description.
func values(sdp, key string) []string {
	var all []string
	for _, line := range strings.Split(sdp, "\r\n") {
		if v, ok := strings.CutPrefix(line, "a="+key+":"); ok {
			all = append(all, v)
		}
	}
	return all
}
