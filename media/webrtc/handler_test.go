package webrtc

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	pion "github.com/pion/webrtc/v4"

	"sidetone/media"
	"sidetone/media/webrtc/whip"
)

// fixture is an offer from whip's testdata.
func fixture(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("whip", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// refused checks a refusal: its status, and a body that says what helps.
func refused(t testing.TB, resp *http.Response, status int, says string) {
	t.Helper()
	body := text(resp)
	var r struct{ Error, Hint string }
	if err := json.Unmarshal([]byte(body), &r); err != nil || r.Error == "" {
		t.Errorf("the body %q says nothing: %v", body, err)
	}
	if resp.StatusCode != status || !strings.Contains(r.Error+" "+r.Hint, says) {
		t.Errorf("%s %s; want %d and %q", resp.Status, body, status, says)
	}
}

func TestEndpoint(t *testing.T) {
	offer := fixture(t, "chromium.sdp")
	sdp := []string{"Content-Type", typeSDP}
	auth := append([]string{"Authorization", "Bearer s3cret"}, sdp...)
	t.Run("B1 create, errors, CORS", func(t *testing.T) {
		s := newSite(t, func(c *Config) {
			c.Tokens, c.Origins = []string{"another", "s3cret"}, []string{"https://crm.example"}
		})
		resp := s.ask(t, "POST", DefaultPath, offer, append(auth, "Origin", "https://crm.example")...)
		answer := text(resp)
		location := resp.Header.Get("Location")
		if resp.StatusCode != http.StatusCreated || resp.Header.Get("Content-Type") != typeSDP || !strings.HasPrefix(answer, "v=0\r\n") {
			t.Fatalf("%s %v %s", resp.Status, resp.Header, answer)
		}
		// RFC 9725 wants it unguessable: 26 letters of 5 bits.
		if id := strings.TrimPrefix(location, DefaultPath+"/"); len(id) != 26 || !strings.HasPrefix(resp.Header.Get("ETag"), `"`) {
			t.Errorf("Location %q, ETag %q", location, resp.Header.Get("ETag"))
		}
		if h := resp.Header; h.Get("Access-Control-Allow-Origin") != "https://crm.example" || !strings.Contains(h.Get("Access-Control-Expose-Headers"), "Location, ETag") {
			t.Errorf("CORS headers %v", h)
		}
		refused(t, s.ask(t, "POST", DefaultPath, offer, "Authorization", "Bearer s3cret", "Content-Type", "text/plain"), http.StatusUnsupportedMediaType, typeSDP)
		refused(t, s.ask(t, "POST", DefaultPath, offer, "Authorization", "Bearer s3cret", "Content-Type", ""), http.StatusUnsupportedMediaType, typeSDP)
		for _, a := range []string{"", "Bearer", "Bearer wrong", "Basic s3cret"} {
			resp := s.ask(t, "POST", DefaultPath, offer, "Authorization", a, "Content-Type", typeSDP)
			if resp.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("Authorization %q: no WWW-Authenticate", a)
			}
			refused(t, resp, http.StatusUnauthorized, "Authorization: Bearer")
		}
		refused(t, s.ask(t, "DELETE", location, ""), http.StatusUnauthorized, "token")
		refused(t, s.ask(t, "PATCH", location, "", "Content-Type", typeFragment), http.StatusUnauthorized, "token")
		refused(t, s.ask(t, "POST", DefaultPath, offer, append(auth, "Origin", "https://elsewhere.example")...), http.StatusForbidden, "origin")
		for _, path := range []string{DefaultPath, location} {
			resp := s.ask(t, "OPTIONS", path, "", "Origin", "https://crm.example")
			h := resp.Header
			if resp.StatusCode != http.StatusNoContent || h.Get("Accept-Post") != typeSDP || h.Get("Access-Control-Allow-Methods") != "OPTIONS, POST, PATCH, DELETE" ||
				!strings.Contains(h.Get("Access-Control-Allow-Headers"), "If-Match") {
				t.Errorf("OPTIONS %s: %s %v", path, resp.Status, h)
			}
			for _, method := range []string{"GET", "PUT"} {
				resp := s.ask(t, method, path, "", "Authorization", "Bearer s3cret")
				if resp.Header.Get("Allow") == "" {
					t.Errorf("%s %s: no Allow", method, path)
				}
				refused(t, resp, http.StatusMethodNotAllowed, "POST an offer")
			}
		}
		refused(t, s.ask(t, "POST", location, offer, auth...), http.StatusMethodNotAllowed, "")
		refused(t, s.ask(t, "POST", DefaultPath+"/a/b", offer, auth...), http.StatusNotFound, "")
		if resp := s.ask(t, "DELETE", location, "", "Authorization", "bearer s3cret"); resp.StatusCode != http.StatusOK {
			t.Errorf("DELETE: %s", resp.Status)
		}
	})
	t.Run("B4 the answer to Chromium", func(t *testing.T) {
		s := newSite(t, nil)
		answer := text(s.ask(t, "POST", DefaultPath, offer, sdp...))
		for _, want := range []string{
			"m=audio 9 UDP/TLS/RTP/SAVPF 111 110\r\n", "a=recvonly\r\n", "a=rtpmap:111 opus/48000/2\r\n", "useinbandfec=1", "usedtx=1", "stereo=0",
			"maxplaybackrate=16000", "a=setup:passive\r\n", "a=rtcp-mux\r\n", "a=fingerprint:sha-256 ", "a=end-of-candidates\r\n", "a=group:BUNDLE 0\r\n",
		} {
			if !strings.Contains(answer, want) {
				t.Errorf("the answer lacks %q", want)
			}
		}
		for _, not := range []string{"transport-cc", "extmap", "a=sendrecv", "red/48000", "PCMU", "nack"} {
			if strings.Contains(answer, not) {
				t.Errorf("the answer has %q", not)
			}
		}
		if t.Failed() {
			t.Log(answer)
		}
		for _, c := range values(answer, "candidate") {
			if f := strings.Fields(c); f[4] != "127.0.0.1" || f[7] != "host" {
				t.Errorf("candidate %s", c)
			}
		}
	})
	t.Run("B16 an offer of Firefox's kind", func(t *testing.T) {
		s := newSite(t, nil)
		resp := s.ask(t, "POST", DefaultPath, fixture(t, "firefox.sdp"), sdp...)
		if answer := text(resp); resp.StatusCode != http.StatusCreated || !strings.Contains(answer, "SAVPF 109 101\r\n") {
			t.Errorf("%s %s", resp.Status, answer)
		}
	})
	t.Run("what cannot be", func(t *testing.T) {
		s := newSite(t, nil)
		refused(t, s.ask(t, "POST", DefaultPath, "hello", sdp...), http.StatusBadRequest, "line 1")
		refused(t, s.ask(t, "POST", DefaultPath, strings.Repeat("x", whip.MaxBody+1), sdp...), http.StatusRequestEntityTooLarge, "65536 bytes")
		refused(t, s.ask(t, "POST", DefaultPath, strings.Replace(offer, "a=sendonly", "a=recvonly", 1), sdp...), http.StatusUnprocessableEntity, "only takes audio")
		refused(t, s.ask(t, "POST", DefaultPath+"?role=boss", offer, sdp...), http.StatusBadRequest, "?role=agent")
		refused(t, s.ask(t, "POST", DefaultPath+"?call="+strings.Repeat("c", 129), offer, sdp...), http.StatusBadRequest, "128 bytes")
		refused(t, s.ask(t, "POST", DefaultPath+"?agent=a%00", offer, sdp...), http.StatusBadRequest, "?agent=")
		refused(t, s.ask(t, "DELETE", DefaultPath+"/none", ""), http.StatusNotFound, "ended")
		refused(t, s.ask(t, "PATCH", DefaultPath+"/none", "", "Content-Type", typeFragment), http.StatusNotFound, "ended")
		if n := len(s.h.calls); n != 0 {
			t.Errorf("%d calls were opened", n)
		}
	})
	t.Run("busy, draining, full", func(t *testing.T) {
		s := newSite(t, func(c *Config) { c.MaxSessions = 1 })
		for _, err := range []error{media.ErrBusy, media.ErrDraining} {
			s.h.refuse = fmt.Errorf("call: %w", err)
			resp := s.ask(t, "POST", DefaultPath, offer, sdp...)
			if resp.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			refused(t, resp, http.StatusServiceUnavailable, err.Error())
		}
		s.h.refuse = nil
		resp := s.ask(t, "POST", DefaultPath, offer, sdp...)
		if resp.StatusCode != http.StatusCreated {
			t.Fatal(resp.Status)
		}
		full := s.ask(t, "POST", DefaultPath, offer, sdp...)
		if full.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		refused(t, full, http.StatusServiceUnavailable, "limit")
		if r := s.ask(t, "DELETE", resp.Header.Get("Location"), ""); r.StatusCode != http.StatusOK {
			t.Fatal(r.Status)
		}
		until(t, "there is room again", func() bool {
			return s.ask(t, "POST", DefaultPath, offer, sdp...).StatusCode == http.StatusCreated
		})
		if err := s.Close(media.End{State: media.Aborted, Reason: "stop", At: time.Now()}); err != nil {
			t.Error(err)
		}
		refused(t, s.ask(t, "POST", DefaultPath, offer, sdp...), http.StatusServiceUnavailable, "no more calls")
		s.h.over()
		if last := s.h.calls[len(s.h.calls)-1]; last.ends[0].Reason != "stop" {
			t.Errorf("end %+v", last.ends)
		}
	})
	t.Run("public addresses", func(t *testing.T) {
		s := newSite(t, func(c *Config) { c.Public = []netip.Addr{netip.MustParseAddr("192.0.2.7")} })
		answer := text(s.ask(t, "POST", DefaultPath, offer, sdp...))
		for _, c := range values(answer, "candidate") {
			if strings.Fields(c)[4] != "192.0.2.7" {
				t.Errorf("candidate %s", c)
			}
		}
		if len(values(answer, "candidate")) == 0 {
			t.Errorf("no candidate in %s", answer)
		}
	})
}

func TestSections(t *testing.T) {
	t.Run("B2 audio, video and application are answered in order", func(t *testing.T) {
		s := newSite(t, nil)
		c := newClient(t, s, false)
		if _, err := c.pc.AddTransceiverFromKind(pion.RTPCodecTypeVideo, pion.RTPTransceiverInit{Direction: pion.RTPTransceiverDirectionRecvonly}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.pc.CreateDataChannel("captions", nil); err != nil {
			t.Fatal(err)
		}
		c.connect("?role=agent")
		var kinds []string
		for _, line := range strings.Split(c.answer, "\r\n") {
			if f := strings.Fields(line); strings.HasPrefix(line, "m=") {
				kinds = append(kinds, f[0]+" "+f[1])
			}
		}
		if got := strings.Join(kinds, ", "); got != "m=audio 9, m=video 0, m=application 0" {
			t.Errorf("sections %s", got)
		}
		c.speak(300 * time.Millisecond)
		c.delete()
		s.h.over()
		if l := s.h.calls[0].legs[0]; l.stats.Received != 15 {
			t.Errorf("stats %+v", l.stats)
		}
	})
}

func TestICE(t *testing.T) {
	kind := []string{"Content-Type", typeFragment}
	t.Run("B8 trickle", func(t *testing.T) {
		for _, strict := range []bool{false, true} {
			s := newSite(t, func(c *Config) { c.Strict = strict })
			c := newClient(t, s, false)
			offer := c.offer(nil)
			candidates := values(offer, "candidate")
			ufrag, password := values(offer, "ice-ufrag")[0], values(offer, "ice-pwd")[0]
			bare := offer
			for _, v := range candidates {
				bare = strings.ReplaceAll(bare, "a=candidate:"+v+"\r\n", "")
			}
			c.post("?role=agent", strings.ReplaceAll(bare, "a=end-of-candidates\r\n", ""))
			f := fragment(ufrag, password, candidates...)
			refused(t, s.ask(t, "PATCH", c.location, f, append(kind, "If-Match", `"other"`)...), http.StatusPreconditionFailed, "ETag")
			refused(t, s.ask(t, "PATCH", c.location, f, "Content-Type", typeSDP, "If-Match", c.etag), http.StatusUnsupportedMediaType, typeFragment)
			refused(t, s.ask(t, "PATCH", c.location, "v=0", append(kind, "If-Match", c.etag)...), http.StatusBadRequest, "line 1")
			resp := s.ask(t, "PATCH", c.location, f, append(kind, "If-Match", c.etag)...)
			if resp.StatusCode != http.StatusNoContent {
				t.Errorf("right ETag: %s %s", resp.Status, text(resp))
			}
			resp = s.ask(t, "PATCH", c.location, f, kind...)
			if strict {
				refused(t, resp, http.StatusPreconditionRequired, "If-Match")
			} else if resp.StatusCode != http.StatusNoContent {
				t.Errorf("no If-Match: %s %s", resp.Status, text(resp))
			}
			many := make([]string, whip.MaxCandidates)
			for i := range many {
				many[i] = fmt.Sprintf("1 1 udp 1 127.0.0.1 %d typ host", 1000+i)
			}
			refused(t, s.ask(t, "PATCH", c.location, fragment(ufrag, password, many...), append(kind, "If-Match", c.etag)...), http.StatusUnprocessableEntity, "at most 50")
			c.connected()
			c.delete()
		}
	})
	t.Run("B9 restart", func(t *testing.T) {
		for _, lite := range []bool{false, true} {
			s := newSite(t, func(c *Config) { c.Lite = lite })
			c := newClient(t, s, false)
			c.connect("?role=agent")
			c.speak(500 * time.Millisecond)
			before := c.session()
			offer := c.offer(&pion.OfferOptions{ICERestart: true})
			f := fragment(values(offer, "ice-ufrag")[0], values(offer, "ice-pwd")[0], values(offer, "candidate")...)
			resp := s.ask(t, "PATCH", c.location, f, append(kind, "If-Match", "*")...)
			ours := text(resp)
			if resp.StatusCode != http.StatusOK || resp.Header.Get("ETag") == c.etag || resp.Header.Get("Content-Type") != typeFragment {
				t.Fatalf("%s %v %s", resp.Status, resp.Header, ours)
			}
			refused(t, s.ask(t, "PATCH", c.location, f, append(kind, "If-Match", c.etag)...), http.StatusPreconditionFailed, "restarted")
			parsed, err := whip.ParseFragment([]byte(ours))
			if err != nil || parsed.Ufrag == values(c.answer, "ice-ufrag")[0] || parsed.Lite != lite || len(parsed.Candidates) == 0 {
				t.Fatalf("fragment %+v, %v\n%s", parsed, err, ours)
			}
			// The client's view of the restart: the old answer with new credentials.
			answer := strings.NewReplacer(
				"a=ice-ufrag:"+values(c.answer, "ice-ufrag")[0], "a=ice-ufrag:"+parsed.Ufrag,
				"a=ice-pwd:"+values(c.answer, "ice-pwd")[0], "a=ice-pwd:"+parsed.Password,
			).Replace(c.answer)
			if err := c.pc.SetRemoteDescription(pion.SessionDescription{Type: pion.SDPTypeAnswer, SDP: answer}); err != nil {
				t.Fatal(err)
			}
			until(t, "the restarted connection is there", func() bool {
				return c.pc.ICEConnectionState() == pion.ICEConnectionStateConnected && before.state.Load() == uint32(pion.PeerConnectionStateConnected)
			})
			c.stamp += 1600
			c.speak(500 * time.Millisecond)
			c.delete()
			s.h.over()
			l := s.h.calls[0].legs[0]
			if len(s.h.calls) != 1 || len(s.h.calls[0].legs) != 1 || l.stats.Received != 50 || l.stats.SSRCChanges != 0 {
				t.Errorf("stats %+v", l.stats)
			}
		}
	})
	t.Run("B10 DELETE frees the entry at the port", func(t *testing.T) {
		s := newSite(t, nil)
		c := newClient(t, s, false)
		c.connect("")
		ufrag := values(c.answer, "ice-ufrag")[0] + ":" + values(c.pc.LocalDescription().SDP, "ice-ufrag")[0]
		password := values(c.answer, "ice-pwd")[0]
		if !answers(t, s.Addrs()[0], ufrag, password, patience) {
			t.Error("no answer to a check while the session runs")
		}
		c.delete()
		if answers(t, s.Addrs()[0], ufrag, password, 300*time.Millisecond) {
			t.Error("an answer to a check after DELETE")
		}
		refused(t, s.ask(t, "DELETE", c.location, ""), http.StatusNotFound, "ended")
		if s.Sessions() != 0 {
			t.Errorf("%d sessions", s.Sessions())
		}
	})
	t.Run("B11 a client that vanishes", func(t *testing.T) {
		if total := DefaultTimeout; total > 35*time.Second {
			t.Errorf("without a sign of life a session lasts %v", total)
		}
		for _, lite := range []bool{false, true} {
			s := newSite(t, func(c *Config) { c.Timeout, c.Lite = 2*time.Second, lite })
			c := newClient(t, s, false)
			c.connect("")
			c.speak(200 * time.Millisecond)
			// Nothing is said and nothing more is answered.
			c.conn.Close()
			gone := time.Now()
			s.h.over()
			if e := s.h.calls[0].ends[0]; e.State != media.TimedOut || !strings.Contains(e.Reason, "no sign of life") || e.At.Sub(gone) < time.Second {
				t.Errorf("end %+v, %v after", e, e.At.Sub(gone))
			}
			refused(t, s.ask(t, "DELETE", c.location, ""), http.StatusNotFound, "ended")
		}
	})
	t.Run("a client that says goodbye", func(t *testing.T) {
		s := newSite(t, nil)
		c := newClient(t, s, false)
		c.connect("")
		c.close()
		s.h.over()
		if e := s.h.calls[0].ends[0]; e.State != media.Ended || !strings.Contains(e.Reason, "closed") {
			t.Errorf("end %+v", e)
		}
	})
	t.Run("a client that never connects", func(t *testing.T) {
		s := newSite(t, func(c *Config) { c.Connect = 500 * time.Millisecond })
		s.ask(t, "POST", DefaultPath, fixture(t, "chromium.sdp"), "Content-Type", typeSDP)
		s.h.over()
		if e := s.h.calls[0].ends[0]; e.State != media.TimedOut || !strings.Contains(e.Reason, "no connection") {
			t.Errorf("end %+v", e)
		}
	})
	t.Run("the host hangs up", func(t *testing.T) {
		s := newSite(t, nil)
		a, b := newClient(t, s, false), newClient(t, s, false)
		a.connect("?call=c&role=agent")
		b.connect("?call=c&role=customer")
		want := media.End{State: media.Aborted, Reason: "an operator ended the call", At: time.Now()}
		s.h.calls[0].hangUp(want)
		s.h.over()
		s.h.see(func() {
			if c := s.h.calls[0]; c.ends[0] != want || c.legs[0].ends[0] != want || c.legs[1].ends[0] != want {
				t.Errorf("ends %+v %+v %+v", c.ends, c.legs[0].ends, c.legs[1].ends)
			}
		})
	})
	t.Run("B12 mDNS-only candidates", func(t *testing.T) {
		s := newSite(t, nil)
		c := newClient(t, s, false)
		offer := c.offer(nil)
		for _, v := range values(offer, "candidate") {
			f := strings.Fields(v)
			f[4] = "3f2b9a7e-1c44-4d6e-9f10-5b8a6c7d8e9f.local"
			offer = strings.ReplaceAll(offer, v, strings.Join(f, " "))
		}
		c.post("", offer)
		c.connected()
		c.speak(200 * time.Millisecond)
		c.delete()
		s.h.over()
		if l := s.h.calls[0].legs[0]; l.stats.Received != 10 {
			t.Errorf("stats %+v", l.stats)
		}
	})
}

// answers says whether a connectivity check is answered.
func answers(t *testing.T, to net.Addr, user, password string, wait time.Duration) bool {
	t.Helper()
	m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(user), stun.RawAttribute{Type: stun.AttrPriority, Value: []byte{0, 0, 0, 1}},
		stun.RawAttribute{Type: stun.AttrICEControlling, Value: make([]byte, 8)}, stun.NewShortTermIntegrity(password), stun.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialUDP("udp", nil, to.(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(m.Raw); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	_, err = conn.Read(make([]byte, 1500))
	return err == nil
}

func TestConfig(t *testing.T) {
	good := func() Config { return Config{Host: &host{t: t}, Log: slog.New(slog.DiscardHandler)} }
	for want, edit := range map[string]func(*Config){
		"a host and a logger":  func(c *Config) { c.Host = nil },
		"must begin":           func(c *Config) { c.Path = "whip" },
		"none at all":          func(c *Config) { c.MaxSessions = -1 },
		"sign of life":         func(c *Config) { c.Timeout = 1 },
		"not both":             func(c *Config) { c.Listen, c.FirstPort, c.LastPort = loopback, 1, 2 },
		"no range":             func(c *Config) { c.FirstPort, c.LastPort = 20, 10 },
		"empty token":          func(c *Config) { c.Tokens = []string{""} },
		"no web origin":        func(c *Config) { c.Origins = []string{"crm.example"} },
		"clients could reach":  func(c *Config) { c.Public = []netip.Addr{netip.IPv4Unspecified()} },
		"the port that sessio": func(c *Config) { c.Listen = netip.MustParseAddrPort("192.0.2.1:1") },
	} {
		cfg := good()
		edit(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v", want, err)
		}
	}
	t.Run("a range of ports", func(t *testing.T) {
		s := newSite(t, func(c *Config) { c.Listen, c.FirstPort, c.LastPort = netip.AddrPort{}, 30000, 60000 })
		c := newClient(t, s, false)
		c.connect("")
		c.speak(200 * time.Millisecond)
		c.delete()
		s.h.over()
		if l := s.h.calls[0].legs[0]; l.stats.Received != 10 || s.Addrs() != nil {
			t.Errorf("stats %+v", l.stats)
		}
	})
}
