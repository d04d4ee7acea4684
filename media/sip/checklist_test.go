package sip

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"sidetone/media"
	"sidetone/media/siprec"
)

var transports = []string{"UDP", "TCP"}

// TestSetup is the INVITE, its answer and the way of audio into the legs.
func TestSetup(t *testing.T) {
	for _, transport := range transports {
		t.Run("S1 S2 S3 S13 "+transport, func(t *testing.T) {
			s, h := serve(t, nil, nil)
			c := dial(t, s, transport)
			c.extra = "User-to-User: 00FA08\r\nX-Agent: 2207\r\nX-Api-Key: geheim\r\nRecord-Route: <sip:127.0.0.1:9;lr>\r\n"
			c.write(c.compose("INVITE", multipart, usual))
			if m := c.response(); m.status() != 100 {
				t.Errorf("S1: the first response is %s", m.start)
			}
			m := c.final()
			if m.status() != 200 {
				t.Fatal(m.start, m.get("warning"))
			}
			_, c.to, _ = strings.Cut(m.get("to"), ";tag=")
			lines := m.lines()
			if len(lines) != 2 {
				t.Fatalf("S1: %d lines\n%s", len(lines), m.body)
			}
			for i, l := range lines {
				if !strings.HasPrefix(l, "audio ") || !strings.Contains(l, "a=recvonly\r\n") || !strings.Contains(l, fmt.Sprintf("a=label:%d\r\n", i+1)) || !strings.Contains(l, "RTP/AVP 8 101\r\n") {
					t.Errorf("S1, S2: line %d is\n%s", i, l)
				}
			}
			if !strings.Contains(m.get("contact"), ";+sip.srs") || m.get("require") != "siprec" || m.get("record-route") != "<sip:127.0.0.1:9;lr>" {
				t.Errorf("S3: Contact %q, Require %q, Record-Route %q", m.get("contact"), m.get("require"), m.get("record-route"))
			}
			// Audio comes before the ACK.
			ports := m.ports()
			a, b := socket(t), socket(t)
			speak(t, a, ports[0], 8, loud, 1, 0, 20)
			call := h.call(t, 0)
			if n := call.leg(t, "1").heard(t, 1); n < 10000 {
				t.Errorf("S1: the amplitude of the loud leg is %d", n)
			}
			c.ack(m)
			speak(t, b, ports[1], 8, quiet6, 2, 0, 20)
			if n := call.leg(t, "2").heard(t, 1); n > 10000 || n < 100 {
				t.Errorf("S1: the amplitude of the quieter leg is %d", n)
			}
			l := call.leg(t, "2").leg
			if l.Identity != "sip:2207@pbx.example.test" || l.Name != "Agent 2207" || l.Label != "2" || l.Role != media.RoleUnknown || !strings.Contains(l.RoleReason, "association") {
				t.Errorf("leg %+v", l)
			}
			if call.External != "cs-77f1@pbx.example.test" || call.Source != "siprec" || call.Started.IsZero() {
				t.Errorf("call %+v", call.Call)
			}
			if call.fact("sip.user-to-user") != "00FA08" || call.fact("sip.x-agent") != "2207" || call.fact("sip.x-api-key") != "" || call.fact("siprec.session") != "S" {
				t.Error("the facts are not those of the request")
			}
			start := time.Now()
			c.extra = "Reason: Q.850;cause=16\r\n"
			c.bye()
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("S13: the answer to BYE took %v", took)
			}
			call.ended(t, media.Ended, "Q.850;cause=16")
			if call.fact("sip.reason") != "Q.850;cause=16" {
				t.Error("1.11.18: the reason is not kept")
			}
			eventually(t, "no session", func() bool { return s.Sessions() == 0 })
			if m := c.ask("BYE", "", ""); m.status() != 481 {
				t.Errorf("BYE again: %s", m.start)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	s, h := serve(t, nil, nil)
	strict, _ := serve(t, func(c *Config) { c.Strict = true }, nil)
	doctype := strings.Replace(both, "<recording", "<!DOCTYPE r [<!ENTITY x \"y\">]><recording", 1)
	for _, c := range []struct {
		name, contentType, body string
		edit                    func(*src)
		server                  *Server
		status                  int
		header, value           string
	}{
		{name: "S4 unsupported extension", contentType: multipart, body: usual, edit: func(c *src) { c.require = "siprec, foo" }, status: 420, header: "unsupported", value: "foo"},
		{name: "no codec", contentType: multipart, body: parts(offer(1, "m=audio 4000 RTP/AVP 18\r\na=label:1\r\na=sendonly\r\n"), both), status: 488, header: "warning", value: "304 sidetone"},
		{name: "only video", contentType: "application/sdp", body: offer(1, "m=video 4000 RTP/AVP 98\r\n"), status: 488, header: "warning", value: "no open audio line"},
		{name: "SAVP without a key", contentType: "application/sdp", body: offer(1, "m=audio 4000 RTP/SAVP 8\r\n"), status: 488, header: "warning", value: "a=crypto"},
		{name: "DTLS", contentType: "application/sdp", body: offer(1, "m=audio 4000 UDP/TLS/RTP/SAVPF 8\r\na=fingerprint:sha-256 AA\r\n"), status: 488, header: "warning", value: "RTP/SAVP"},
		{name: "no body", status: 400, header: "warning", value: "SDP required"},
		{name: "bad description", contentType: "application/sdp", body: "v=0\r\n", status: 400, header: "warning", value: "no m= line"},
		{name: "unknown body", contentType: "text/plain", body: "hello", status: 415, header: "accept", value: "application/rs-metadata+xml"},
		{name: "encoded body", contentType: multipart, body: usual, edit: func(c *src) { c.extra = "Content-Encoding: gzip\r\n" }, status: 415, header: "accept-encoding", value: "identity"},
		{name: "short session timer", contentType: multipart, body: usual, edit: func(c *src) { c.extra = "Session-Expires: 30\r\nSupported: timer\r\n" }, status: 422, header: "min-se", value: "90"},
		{name: "no metadata, strict", contentType: "application/sdp", body: offer(1, "1 sendonly"), server: strict, status: 400, header: "warning", value: "metadata required"},
		{name: "S19 document type, strict", contentType: multipart, body: parts(offer(1, "1 sendonly"), doctype), server: strict, status: 400, header: "warning", value: "document type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := s
			if c.server != nil {
				server = c.server
			}
			client := dial(t, server, "UDP")
			if c.edit != nil {
				c.edit(client)
			}
			m := client.invite(c.contentType, c.body)
			if m.status() != c.status || !strings.Contains(m.get(c.header), c.value) || m.get("warning") == "" {
				t.Errorf("%s, %s: %q, Warning: %q; want %d with %q", m.start, c.header, m.get(c.header), m.get("warning"), c.status, c.value)
			}
		})
	}
	t.Run("1.11.15 large metadata", func(t *testing.T) {
		client := dial(t, s, "TCP")
		big := strings.Replace(both, "Anrufer", strings.Repeat("A", siprec.MaxMetadata), 1)
		if m := client.invite(multipart, parts(offer(1, "1 sendonly"), big)); m.status() != 413 {
			t.Errorf("%s", m.start)
		}
	})
	t.Run("S19 document type", func(t *testing.T) {
		client := dial(t, s, "UDP")
		client.begin(multipart, parts(offer(1, "1 sendonly"), doctype))
		call := h.call(t, h.count()-1)
		if l := call.leg(t, "1").leg; l.Identity != "" {
			t.Errorf("the session is not anonymous: %+v", l)
		}
		client.bye()
		call.ended(t, media.Ended, "")
	})
}

func TestBusy(t *testing.T) {
	h := &host{}
	s, _ := serve(t, func(c *Config) { c.Host, c.MaxSessions = h, 1 }, nil)
	for _, c := range []struct {
		err    error
		status int
	}{{media.ErrBusy, 503}, {media.ErrDraining, 503}, {errors.New("no"), 500}} {
		h.refuse(c.err)
		m := dial(t, s, "UDP").invite(multipart, usual)
		if m.status() != c.status || c.status == 503 && m.get("retry-after") == "" || !strings.Contains(m.get("warning"), c.err.Error()) {
			t.Errorf("%v: %s, Retry-After %q, Warning %q", c.err, m.start, m.get("retry-after"), m.get("warning"))
		}
	}
	h.refuse(nil)
	client := dial(t, s, "UDP")
	client.begin(multipart, usual)
	if m := dial(t, s, "UDP").invite(multipart, usual); m.status() != 503 || m.get("retry-after") == "" || !strings.Contains(m.get("warning"), "limit") {
		t.Errorf("full: %s, %s", m.start, m.get("warning"))
	}
	s.Drain()
	if m := dial(t, s, "UDP").ask("OPTIONS", "", ""); m.status() != 503 {
		t.Errorf("OPTIONS while draining: %s", m.start)
	}
	if m := client.ask("OPTIONS", "", ""); m.status() != 200 {
		t.Errorf("OPTIONS of a running session while draining: %s", m.start)
	}
	client.bye()
	h.call(t, 0).ended(t, media.Ended, "")
	if m := dial(t, s, "UDP").invite(multipart, usual); m.status() != 503 || m.get("retry-after") == "" {
		t.Errorf("draining: %s", m.start)
	}
}

func TestVendorsOverTheWire(t *testing.T) {
	s, h := serve(t, nil, nil)
	for i, v := range []string{"oracle", "avaya", "audiocodes", "ribbon", "cube", "broadworks", "opensips"} {
		t.Run("S5 "+v, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join("..", "siprec", "testdata", v+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			head, body, _ := bytes.Cut(b, []byte("\n\n"))
			client := dial(t, s, transports[i%2])
			m := client.begin(strings.TrimPrefix(string(head), "Content-Type: "), strings.ReplaceAll(string(body), "\n", "\r\n"))
			call := h.call(t, i)
			if v == "opensips" && !strings.Contains(m.lines()[1], "RTP/AVP 8 101\r\n") {
				t.Errorf("1.3.4: not all codecs of rtpengine's offer are accepted:\n%s", m.body)
			}
			for n, line := range m.lines() {
				if strings.HasPrefix(line, "audio 0 ") {
					t.Errorf("line %d is refused", n)
				}
				l := call.leg(t, fmt.Sprint(n+1)).leg
				if (l.Identity == "") != (v == "broadworks") || l.Mixed != (v == "broadworks") {
					t.Errorf("line %d: %+v", n, l)
				}
				if !strings.Contains(line, "a=label:"+l.Label+"\r\n") {
					t.Errorf("S2: label %q is not in\n%s", l.Label, line)
				}
			}
			client.bye()
			call.ended(t, media.Ended, "")
		})
	}
}

func TestChanges(t *testing.T) {
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) { testChanges(t, transport) })
	}
}

func testChanges(t *testing.T, transport string) {
	s, h := serve(t, nil, nil)
	c := dial(t, s, transport)
	first := c.begin(multipart, usual)
	call := h.call(t, 0)
	ports := first.ports()
	a := socket(t)
	speak(t, a, ports[0], 8, loud, 1, 0, 15)
	call.leg(t, "1").heard(t, 1)

	t.Run("S7 metadata-only UPDATE", func(t *testing.T) {
		m := c.ask("UPDATE", "application/rs-metadata+xml", metadata("partial", person("C", "sip:2299@pbx.example.test", "Agent 2299"), sends("C", "SB")))
		if m.status() != 200 || m.body != "" || m.get("content-type") != "" {
			t.Errorf("%s with %q", m.start, m.body)
		}
		if l := call.updated(t, 0); l.ID != "2" || l.Identity != "sip:2299@pbx.example.test" || l.Name != "Agent 2299" {
			t.Errorf("leg %+v", l)
		}
		before := call.leg(t, "1").heard(t, 1)
		speak(t, a, ports[0], 8, loud, 1, 15, 15)
		call.leg(t, "1").heard(t, 20)
		l := call.leg(t, "1")
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.begun != 1 || l.last < int64(15*pcm20) || before == 0 {
			t.Errorf("the leg was begun %d times and is at %d", l.begun, l.last)
		}
	})
	t.Run("S7 metadata-only re-INVITE", func(t *testing.T) {
		m := c.begin("application/rs-metadata+xml", metadata("partial", person("A", "sip:+4930111222@carrier.example.test", "Frau X")))
		if m.body != first.body {
			t.Errorf("1.6: the 200 carries\n%s\nand not the last answer\n%s", m.body, first.body)
		}
		if l := call.updated(t, 1); l.ID != "1" || l.Name != "Frau X" {
			t.Errorf("leg %+v", l)
		}
	})
	t.Run("1.11.11 refresh with the same description", func(t *testing.T) {
		if m := c.begin("application/sdp", offer(1, "1 sendonly", "2 sendonly")); m.body != first.body {
			t.Errorf("1.3.11: the answer changed to\n%s", m.body)
		}
	})
	t.Run("S8 hold and resume", func(t *testing.T) {
		m := c.begin("application/sdp", offer(2, "1 inactive", "2 sendonly"))
		l := m.lines()
		if !strings.Contains(l[0], "a=inactive") || !strings.Contains(l[1], "a=recvonly") || !strings.Contains(m.body, " 2 IN IP4") {
			t.Errorf("the answer is\n%s", m.body)
		}
		eventually(t, "a hold", func() bool { return has(call.leg(t, "1").kinds(), media.MarkHeld) })
		if m := c.begin("application/sdp", offer(3, "1 sendonly", "2 sendonly")); !strings.Contains(m.lines()[0], "a=recvonly") || m.ports()[0] != ports[0] {
			t.Errorf("the answer is\n%s", m.body)
		}
		eventually(t, "a resumption", func() bool { return has(call.leg(t, "1").kinds(), media.MarkHeld, media.MarkUnheld) })
		if k := call.leg(t, "2").kinds(); len(k) != 0 {
			t.Errorf("leg 2 has marks %v", k)
		}
	})
	t.Run("S9 a line is added", func(t *testing.T) {
		xml := metadata("partial", person("D", "sip:boss@pbx.example.test", "Boss"), stream("SD", "9"), sends("D", "SD"))
		m := c.begin(multipart, parts(offer(4, "1 sendonly", "2 sendonly", "9 sendonly"), xml))
		if p := m.ports(); len(p) != 3 || p[0] != ports[0] || p[1] != ports[1] || p[2] == 0 || !strings.Contains(m.lines()[2], "a=label:9") {
			t.Fatalf("the answer is\n%s", m.body)
		}
		speak(t, socket(t), m.ports()[2], 8, loud, 3, 0, 15)
		l := call.leg(t, "3")
		l.heard(t, 1)
		if l.leg.Label != "9" || l.leg.Identity != "sip:boss@pbx.example.test" {
			t.Errorf("leg %+v", l.leg)
		}
	})
	t.Run("1.11.10 a line is taken away", func(t *testing.T) {
		m := c.begin("application/sdp", offer(5, "1 sendonly", "m=audio 0 RTP/AVP 8\r\na=label:2\r\n", "9 sendonly"))
		if p := m.ports(); len(p) != 3 || p[1] != 0 || p[0] == 0 {
			t.Errorf("the answer is\n%s", m.body)
		}
		l := call.leg(t, "2")
		eventually(t, "the leg's end", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.ends) == 1 })
	})
	t.Run("a line comes back", func(t *testing.T) {
		if m := c.begin("application/sdp", offer(6, "1 sendonly", "2 sendonly", "9 sendonly")); m.ports()[1] == 0 {
			t.Errorf("the answer is\n%s", m.body)
		}
		l := call.leg(t, "2")
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.begun != 2 {
			t.Errorf("the leg was begun %d times", l.begun)
		}
	})
	t.Run("another codec", func(t *testing.T) {
		m := c.begin("application/sdp", offer(7, "m=audio 24100 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=label:1\r\na=sendonly\r\n", "2 sendonly", "9 sendonly"))
		if m.ports()[0] == 0 || !strings.Contains(m.lines()[0], "RTP/AVP 0 101\r\n") {
			t.Fatalf("the answer is\n%s", m.body)
		}
		l := call.leg(t, "1")
		before := l.count()
		if m.ports()[0] != ports[0] {
			t.Errorf("the port changed from %d to %d", ports[0], m.ports()[0])
		}
		speak(t, a, ports[0], 0, 0x10, 1, 30, 15)
		l.heard(t, before+5)
		// 1.11.8: the codec changes back without a word.
		speak(t, a, ports[0], 8, loud, 1, 45, 15)
		l.heard(t, before+20)
	})
	t.Run("fewer lines", func(t *testing.T) {
		if m := c.invite("application/sdp", offer(8, "1 sendonly")); m.status() != 488 || !strings.Contains(m.get("warning"), "port 0") {
			t.Errorf("%s: %s", m.start, m.get("warning"))
		}
		if m := c.invite("application/sdp", offer(8, "1 sendonly", "2 sendonly", "9 sendonly")); m.status() != 200 {
			t.Errorf("the session did not outlive the refusal: %s", m.start)
		}
	})
	t.Run("a key as a message", func(t *testing.T) {
		if m := c.ask("INFO", "application/dtmf-relay", "Signal=5\r\nDuration=160\r\n"); m.status() != 200 {
			t.Errorf("%s", m.start)
		}
		l := call.leg(t, "1")
		eventually(t, "a digit", func() bool {
			k := l.kinds()
			return len(k) > 0 && k[len(k)-1] == media.MarkDigit
		})
	})
	t.Run("CSeq goes back", func(t *testing.T) {
		c.seq -= 3
		c.branches += 100
		if m := c.ask("INFO", "", ""); m.status() != 500 {
			t.Errorf("%s", m.start)
		}
		c.seq += 3
	})
	t.Run("S20 methods", func(t *testing.T) {
		if m := c.ask("REFER", "", ""); m.status() != 405 || !strings.Contains(m.get("allow"), "UPDATE") {
			t.Errorf("in a dialog: %s, Allow %q", m.start, m.get("allow"))
		}
		out := dial(t, s, transport)
		if m := out.ask("OPTIONS", "", ""); m.status() != 200 || !strings.Contains(m.get("accept"), "application/rs-metadata+xml") || !strings.Contains(m.get("accept"), "multipart/mixed") || m.get("allow") == "" {
			t.Errorf("OPTIONS: %s, Accept %q", m.start, m.get("accept"))
		}
		out.to = "nobody"
		for _, method := range []string{"BYE", "UPDATE", "INFO", "INVITE", "OPTIONS", "NOTIFY"} {
			if m := out.ask(method, "", ""); m.status() != 481 {
				t.Errorf("%s of no dialog: %s", method, m.start)
			}
		}
		out.to = ""
		out.write(strings.ReplaceAll(out.compose("CANCEL", "", ""), " 6 CANCEL", " 99 CANCEL"))
		if m := out.response(); m.status() != 481 {
			t.Errorf("CANCEL of nothing: %s", m.start)
		}
	})
	c.bye()
	call.ended(t, media.Ended, "")
}

const pcm20 = 320

func TestRetransmissions(t *testing.T) {
	t.Run("S10 the same INVITE again", func(t *testing.T) {
		s, h := serve(t, nil, nil)
		c := dial(t, s, "UDP")
		text := c.compose("INVITE", multipart, usual)
		c.write(text)
		first := c.final()
		c.write(text)
		c.write(text)
		// The 200 comes again until the ACK, whichever way.
		again := c.final()
		if again.body != first.body || again.get("to") != first.get("to") {
			t.Errorf("the second answer differs:\n%s", again.body)
		}
		if s.Sessions() != 1 || h.count() != 1 {
			t.Errorf("%d sessions, %d calls", s.Sessions(), h.count())
		}
		_, c.to, _ = strings.Cut(first.get("to"), ";tag=")
		c.ack(first)
		c.bye()
		h.call(t, 0).ended(t, media.Ended, "")
	})
	t.Run("merged request", func(t *testing.T) {
		s, h := serve(t, nil, nil)
		c := dial(t, s, "UDP")
		c.begin(multipart, usual)
		to := c.to
		c.to = ""
		c.seq--
		c.branches += 10
		if m := c.ask("INVITE", multipart, usual); m.status() != 482 {
			t.Errorf("%s", m.start)
		}
		c.to = to
		c.bye()
		h.call(t, 0).ended(t, media.Ended, "")
	})
	t.Run("S11 no ACK", func(t *testing.T) {
		s, h := serve(t, nil, func(tm *timing) { tm.t1, tm.ack = 20*time.Millisecond, 300*time.Millisecond })
		c := dial(t, s, "UDP")
		c.ask("INVITE", multipart, usual)
		if m := c.request("BYE"); !strings.Contains(m.get("reason"), "no ACK") {
			t.Errorf("Reason %q", m.get("reason"))
		}
		h.call(t, 0).ended(t, media.TimedOut, "no ACK")
		again := 0
		for len(c.responses) > 0 {
			if (<-c.responses).status() == 200 {
				again++
			}
		}
		if again < 2 {
			t.Errorf("the 200 came %d times again", again)
		}
		eventually(t, "no session", func() bool { return s.Sessions() == 0 })
	})
	t.Run("an ACK that comes after the next INVITE", func(t *testing.T) {
		s, h := serve(t, nil, func(tm *timing) { tm.t1, tm.ack = 20*time.Millisecond, 2*time.Second })
		c := dial(t, s, "UDP")
		m := c.ask("INVITE", multipart, usual)
		_, c.to, _ = strings.Cut(m.get("to"), ";tag=")
		late := c.compose("ACK", "", "")
		c.begin("application/sdp", offer(2, "1 inactive", "2 sendonly"))
		c.write(late)
		eventually(t, "the end of the retransmissions", func() bool {
			for len(c.responses) > 0 {
				<-c.responses
			}
			time.Sleep(200 * time.Millisecond)
			return len(c.responses) == 0
		})
		if s.Sessions() != 1 {
			t.Error("the session has ended")
		}
		c.bye()
		h.call(t, 0).ended(t, media.Ended, "")
	})
	t.Run("1.11.13 BYE before ACK", func(t *testing.T) {
		s, h := serve(t, nil, nil)
		c := dial(t, s, "UDP")
		m := c.ask("INVITE", multipart, usual)
		_, c.to, _ = strings.Cut(m.get("to"), ";tag=")
		c.bye()
		h.call(t, 0).ended(t, media.Ended, "")
	})
}

func TestCancel(t *testing.T) {
	for _, transport := range transports {
		t.Run("S12 "+transport, func(t *testing.T) {
			h := &host{block: make(chan struct{}), began: make(chan struct{})}
			s, _ := serve(t, func(c *Config) { c.Host = h }, nil)
			c := dial(t, s, transport)
			c.write(c.compose("INVITE", multipart, usual))
			<-h.began
			c.write(c.compose("CANCEL", "", ""))
			seen := map[string]bool{}
			for range 3 {
				m := c.response()
				seen[fmt.Sprint(m.status(), " ", m.get("cseq"))] = true
			}
			if !seen["100 1 INVITE"] || !seen["200 1 CANCEL"] || !seen["487 1 INVITE"] {
				t.Errorf("responses %v", seen)
			}
			close(h.block)
			h.call(t, 0).ended(t, media.Refused, "cancelled")
			eventually(t, "no session", func() bool { return s.Sessions() == 0 })
		})
	}
}

func TestMediaIdle(t *testing.T) {
	s, h := serve(t, func(c *Config) { c.MediaIdle = 200 * time.Millisecond }, nil)
	c := dial(t, s, "TCP")
	c.extra = "Allow: INVITE, BYE\r\n"
	// Held lines do not count, so this one lives though nothing comes.
	c.begin(multipart, parts(offer(1, "1 inactive", "2 inactive"), both))
	held := dial(t, s, "UDP")
	held.begin(multipart, parts(offer(1, "1 sendonly", "2 inactive"), both))
	if m := held.request("BYE"); !strings.Contains(m.get("reason"), "SIP;cause=408") || !strings.Contains(m.start, "BYE sip:") {
		t.Errorf("S14: %s, Reason %q", m.start, m.get("reason"))
	}
	h.call(t, 1).ended(t, media.TimedOut, "no packet")
	if s.Sessions() != 1 {
		t.Errorf("S14: %d sessions; the held one must live", s.Sessions())
	}
	c.begin("application/sdp", offer(2, "1 sendonly", "2 inactive"))
	c.request("BYE")
	h.call(t, 0).ended(t, media.TimedOut, "no packet")
}

func TestSessionTimer(t *testing.T) {
	s, h := serve(t, nil, func(tm *timing) { tm.minSE = time.Second })
	c := dial(t, s, "UDP")
	c.extra = "Supported: timer\r\nSession-Expires: 1;refresher=uac\r\n"
	m := c.begin(multipart, usual)
	if m.get("session-expires") != "1;refresher=uac" || !strings.Contains(m.get("require"), "timer") {
		t.Errorf("Session-Expires %q, Require %q", m.get("session-expires"), m.get("require"))
	}
	if m := c.request("BYE"); !strings.Contains(m.get("reason"), "timer") {
		t.Errorf("Reason %q", m.get("reason"))
	}
	h.call(t, 0).ended(t, media.TimedOut, "not refreshed")

	// Refreshed by us, who are asked to.
	c = dial(t, s, "UDP")
	c.extra = "Supported: timer\r\nAllow: INVITE, UPDATE, BYE\r\nSession-Expires: 1;refresher=uas\r\n"
	m = c.begin(multipart, usual)
	if m.get("session-expires") != "1;refresher=uas" {
		t.Errorf("Session-Expires %q", m.get("session-expires"))
	}
	for range 3 {
		if u := c.request("UPDATE"); !strings.Contains(u.get("session-expires"), "uas") {
			t.Errorf("Session-Expires %q", u.get("session-expires"))
		}
	}
	c.bye()
	h.call(t, 1).ended(t, media.Ended, "")

	// Without support for it there is no timer.
	c = dial(t, s, "UDP")
	c.extra = "Session-Expires: 1\r\n"
	if m = c.begin(multipart, usual); m.get("session-expires") != "" {
		t.Errorf("Session-Expires %q", m.get("session-expires"))
	}
	c.bye()
}

func TestConcurrent(t *testing.T) {
	t.Run("S17 the same labels twice", func(t *testing.T) {
		s, h := serve(t, nil, nil)
		a, b := dial(t, s, "UDP"), dial(t, s, "TCP")
		pa := a.begin(multipart, usual).ports()
		pb := b.begin(multipart, usual).ports()
		speak(t, socket(t), pa[0], 8, loud, 1, 0, 15)
		speak(t, socket(t), pb[0], 8, quiet6, 1, 0, 15)
		if n := h.call(t, 0).leg(t, "1").heard(t, 1); n < 10000 {
			t.Errorf("the first session heard %d", n)
		}
		if n := h.call(t, 1).leg(t, "1").heard(t, 1); n > 10000 || n < 100 {
			t.Errorf("the second session heard %d", n)
		}
		if n := h.call(t, 1).leg(t, "2").count(); n != 0 {
			t.Errorf("the silent leg has %d frames", n)
		}
		a.bye()
		b.bye()
	})
	t.Run("S18 500 cycles", func(t *testing.T) {
		s, h := serve(t, nil, nil)
		before := runtime.NumGoroutine()
		const workers, cycles = 10, 50
		done := make(chan struct{})
		for w := range workers {
			c := dial(t, s, transports[w%2])
			go func() {
				defer func() { done <- struct{}{} }()
				for i := range cycles {
					c.callID = fmt.Sprintf("cycle-%d-%d", w, i)
					c.to = ""
					c.begin(multipart, usual)
					c.bye()
				}
			}()
		}
		for range workers {
			<-done
		}
		eventually(t, "no session", func() bool { return s.Sessions() == 0 })
		for i := range workers * cycles {
			h.call(t, i).ended(t, media.Ended, "")
		}
		eventually(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= before+2*workers })
	})
}

func TestHangUpAndClose(t *testing.T) {
	s, h := serve(t, nil, nil)
	a, b := dial(t, s, "UDP"), dial(t, s, "TCP")
	a.begin(multipart, usual)
	b.begin(multipart, usual)
	h.call(t, 0).hangUp(media.End{State: media.Aborted, Reason: `no "room"`, At: time.Now()})
	h.call(t, 0).hangUp(media.End{State: media.Ended, Reason: "again", At: time.Now()})
	if m := a.request("BYE"); !strings.Contains(m.get("reason"), "no 'room'") || !strings.Contains(m.get("from"), "tag="+a.to) || !strings.Contains(m.get("to"), "tag="+a.from) {
		t.Errorf("BYE %+v", m)
	}
	h.call(t, 0).ended(t, media.Aborted, "room")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	b.request("BYE")
	h.call(t, 1).ended(t, media.Aborted, "the server stops")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestDelayedOffer(t *testing.T) {
	s, h := serve(t, nil, nil)
	c := dial(t, s, "TCP")
	m := c.ask("INVITE", "application/rs-metadata+xml", both)
	if m.status() != 200 || len(m.ports()) != 2 || !strings.Contains(m.lines()[1], "a=label:2\r\na=recvonly") || !strings.Contains(m.lines()[0], "RTP/AVP 8 0 9 111 101\r\n") {
		t.Fatalf("%s: %s\n%s", m.start, m.get("warning"), m.body)
	}
	_, c.to, _ = strings.Cut(m.get("to"), ";tag=")
	// Our own offer is pending until its answer comes.
	if r := c.ask("UPDATE", "application/sdp", offer(1, "1 sendonly", "2 sendonly")); r.status() != 491 {
		t.Errorf("an offer before the answer to ours: %s", r.start)
	}
	c.seq--
	c.write(c.compose("ACK", "application/sdp", "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 5000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendonly\r\nm=audio 0 RTP/AVP 0\r\n"))
	c.seq++
	call := h.call(t, 0)
	speak(t, socket(t), m.ports()[0], 0, 0x10, 9, 0, 15)
	call.leg(t, "1").heard(t, 1)
	l := call.leg(t, "2")
	eventually(t, "the end of the refused line", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.ends) == 1 })
	if call.leg(t, "1").leg.Identity != "sip:+4930111222@carrier.example.test" {
		t.Errorf("leg %+v", call.leg(t, "1").leg)
	}
	c.bye()
	call.ended(t, media.Ended, "")
}

func TestStream(t *testing.T) {
	s, h := serve(t, nil, nil)
	c := dial(t, s, "TCP")
	// CRLF as a keepalive, then an INVITE in pieces, cut within a boundary.
	if _, err := io.WriteString(c.conn, "\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	text := "\r\n" + c.compose("INVITE", multipart, usual)
	cut := strings.LastIndex(text, "--b7f3\r\nContent-Type: application/rs") + 4
	for _, part := range []string{text[:40], text[40:cut], text[cut:]} {
		c.write(part)
		time.Sleep(20 * time.Millisecond)
	}
	// The pong of the keepalive stands before the response.
	m := c.final()
	if m.status() != 200 {
		t.Fatalf("1.11.1, 1.11.3: %s", m.start)
	}
	_, c.to, _ = strings.Cut(m.get("to"), ";tag=")
	c.ack(m)
	c.bye()
	h.call(t, 0).ended(t, media.Ended, "")
	// An INVITE of 3.3 kB over UDP.
	u := dial(t, s, "UDP")
	u.extra = "X-Fill: " + strings.Repeat("x", 1500) + "\r\n"
	u.begin(multipart, usual)
	u.bye()
}

func TestAllow(t *testing.T) {
	s, h := serve(t, func(c *Config) { c.Allow = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} }, nil)
	c := dial(t, s, "UDP")
	c.write(c.compose("OPTIONS", "", ""))
	conn, err := net.Dial("tcp", s.Addr("TCP").String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection from elsewhere is not closed: %v", err)
	}
	select {
	case m := <-c.responses:
		t.Errorf("an address from elsewhere was answered: %s", m.start)
	case <-time.After(100 * time.Millisecond):
	}
	if h.count() != 0 {
		t.Error("a call began")
	}
	ok, _ := serve(t, func(c *Config) { c.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }, nil)
	if m := dial(t, ok, "TCP").ask("OPTIONS", "", ""); m.status() != 200 {
		t.Errorf("an allowed address: %s", m.start)
	}
}
