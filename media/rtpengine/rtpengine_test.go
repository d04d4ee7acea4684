package rtpengine

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"

	"sidetone/media"
	"sidetone/media/mediatest"
	"sidetone/media/port"
	"sidetone/media/sdp"
)

// script is what the stand-in answers: the reply to subscribe request, and
// whether it still knows the call.
type script struct {
	subscribe []byte
	accept    []byte
	gone      bool

	mu  sync.Mutex
	got *sdp.Session
}

// answered is our answer.
func (s *script) answered() *sdp.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got
}

func (s *script) serve(t *testing.T) *engine {
	if s.accept == nil {
		s.accept = []byte("d6:result2:oke")
	}
	return newEngine(t, func(command string, d map[string]any) []byte {
		switch command {
		case "subscribe request":
			return s.subscribe
		case "subscribe answer":
			a, err := sdp.Parse([]byte(text(d, "sdp")))
			if err != nil {
				t.Errorf("our answer: %v", err)
			}
			s.mu.Lock()
			s.got = a
			s.mu.Unlock()
			return s.accept
		case "query":
			if s.gone {
				return []byte("d6:result5:error12:error-reason15:Unknown call-IDe")
			}
		}
		return []byte("d6:result2:oke")
	})
}

// offered is the reply of subscribe-siprec with another offer.
func offered(lines ...string) []byte {
	sdp := "v=0\r\no=- 5 5 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n" + strings.Join(lines, "\r\n") + "\r\n"
	b := appendValue([]byte("d"), "sdp")
	b = appendValue(b, sdp)
	return append(b, "12:media-labelsd1:1d3:tag4:as7d5:label6:callere1:0d3:tag3:k3Qee6:to-tag4:rec16:result2:oke"...)
}

var order = Request{CallID: "7@pbx", Call: media.Call{ID: "c1"}}

// TestSubscribe says who is who by the labels: the lines come in the other
// order.
func TestSubscribe(t *testing.T) {
	s := &script{subscribe: vectors(t)["subscribe-siprec"]}
	e := s.serve(t)
	h := mediatest.New()
	sub, err := subscriber(t, dial(t, e.addr(), nil), h, nil).Subscribe(t.Context(), order)
	if err != nil {
		t.Fatal(err)
	}
	has(t, h, "open c1 source=rtpengine external=7@pbx agent=\n", "leg caller role=unknown reason=\"\" label=caller party=caller\n", "leg callee role=unknown reason=\"\" label=callee party=called\n",
		"fact rtpengine.caller.tag: as7d\n", "fact rtpengine.callee.tag: k3Q\n", "fact rtpengine.subscription: rec1\n")
	if e.asked("5:flagsl6:siprec3:alle") != 1 || e.asked("16:subscribe answer") != 1 || e.asked("18:transport-protocol7:RTP/AVP") != 1 {
		t.Errorf("asked %q", e.all())
	}
	if len(s.answered().Media) != 2 {
		t.Fatalf("our answer %+v", s.answered())
	}
	// The first line of the offer has label 1, the caller's.
	for i, want := range []string{"1", "0"} {
		m := s.answered().Media[i]
		if m.Label != want || m.Direction != sdp.RecvOnly || m.Addr != "127.0.0.1" || !m.Codecs[0].Is("PCMA") {
			t.Errorf("line %d is answered with %+v", i, m)
		}
	}
	send(t, s.answered().Media[0].Port, 30, 8)
	send(t, s.answered().Media[1].Port, 20, 8)
	until(t, func() bool { st := sub.Stats(); return st[0].Received == 30 && st[1].Received == 20 })
	sub.End(media.End{State: media.Ended, Reason: "hung up"})
	sub.End(media.End{State: media.Aborted, Reason: "again"})
	has(t, h, "leg caller ended: ended, hung up, received 30", "leg callee ended: ended, hung up, received 20", "\ncall c1 ended: ended, hung up\n")
	if h.Leg("caller").Stats.Received != 30 || h.Leg("callee").Stats.Received != 20 {
		t.Error("the legs are swapped")
	}
	if e.asked("11:unsubscribe") != 1 || e.asked("6:to-tag4:rec1") != 2 {
		t.Errorf("asked %q", e.all())
	}
}

// send sends n packets of 20 ms.
func send(t *testing.T, to, n int, pt uint8) {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: to})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range n {
		b, err := (&rtp.Packet{Header: rtp.Header{
			Version: 2, PayloadType: pt, SequenceNumber: uint16(i), Timestamp: uint32(i * 160), SSRC: 1,
		}, Payload: make([]byte, 160)}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
}

func until(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited for a minute")
		}
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		name  string
		reply []byte
		want  []string
	}{
		{"a side without a label", offered("m=audio 9000 RTP/AVP 0", "a=label:0"), []string{`leg k3Q role=unknown reason="" label=0`, "fact rtpengine.k3Q.tag: k3Q\n"}},
		{"no labels", vectors(t)["subscribe-plain"], []string{"leg media-0 role=unknown reason=\"\"\n", "leg media-1 role=unknown reason=\"\"\n"}},
		{"two lines of one side", offered("m=audio 9000 RTP/AVP 0", "a=label:1", "m=audio 9002 RTP/AVP 0", "a=label:1"),
			[]string{`leg caller role=unknown reason="" label=caller`, `leg caller-1 role=unknown reason="" label=caller`}},
		{"video is refused", offered("m=video 9000 RTP/AVP 96", "a=rtpmap:96 VP8/90000", "m=audio 9002 RTP/AVP 0", "a=label:1", "m=audio 0 RTP/AVP 0", "a=label:0"),
			[]string{`leg caller role=unknown reason="" label=caller`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &script{subscribe: c.reply}
			h := mediatest.New()
			sub, err := subscriber(t, dial(t, s.serve(t).addr(), nil), h, nil).Subscribe(t.Context(), order)
			if err != nil {
				t.Fatal(err)
			}
			has(t, h, c.want...)
			if n := strings.Count(h.Text(), "leg "); n != len(s.answeredPorts()) {
				t.Errorf("%d legs and %d ports", n, len(s.answeredPorts()))
			}
			sub.End(media.End{State: media.Ended})
		})
	}
}

func (s *script) answeredPorts() []int {
	var p []int
	for _, m := range s.answered().Media {
		if m.Port != 0 {
			p = append(p, m.Port)
		}
	}
	return p
}

func TestSecure(t *testing.T) {
	key := "inline:" + strings.Repeat("QUJD", 10)
	s := &script{subscribe: offered("m=audio 9000 RTP/SAVP 0", "a=label:1", "a=crypto:1 F8_128_HMAC_SHA1_80 "+key, "a=crypto:7 AES_CM_128_HMAC_SHA1_80 "+key)}
	e := s.serve(t)
	q := order
	q.Secure, q.Codec, q.Tags = true, "opus/48000/2", []string{"as7d"}
	sub, err := subscriber(t, dial(t, e.addr(), nil), mediatest.New(), nil).Subscribe(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.End(media.End{State: media.Ended})
	c := s.answered().Media[0].Crypto
	if len(c) != 1 || !strings.HasPrefix(c[0], "7 AES_CM_128_HMAC_SHA1_80 inline:") || strings.Contains(c[0], key) {
		t.Errorf("answered with %d keys", len(c))
	}
	for _, part := range []string{"18:transport-protocol8:RTP/SAVP", "9:from-tagsl4:as7de", "5:flagsl6:siprece", "5:codecd5:stripl3:alle9:transcodel12:opus/48000/2ee"} {
		if e.asked(part) != 1 {
			t.Errorf("not asked for %s", part)
		}
	}
	// What is not sealed is not heard.
	send(t, s.answered().Media[0].Port, 10, 0)
	until(t, func() bool { return sub.Stats()[0].Forged == 10 })
	if n := sub.Stats()[0].Received; n != 0 {
		t.Errorf("%d plain packets are heard", n)
	}
}

func TestRefusals(t *testing.T) {
	good := vectors(t)["subscribe-siprec"]
	for _, c := range []struct {
		name   string
		script *script
		edit   func(*Config, *mediatest.Host, *Request)
		want   string
		is     error
		// opened says that the host saw the call, and its end.
		opened bool
		leaves int // unsubscribed so often
	}{
		{name: "unknown call", script: &script{subscribe: vectors(t)["unknown-call"]}, want: "Unknown call-ID", is: ErrUnknownCall},
		{name: "no offer", script: &script{subscribe: []byte("d6:result2:oke")}, want: "9.5 or newer"},
		{name: "a broken offer", script: &script{subscribe: []byte("d3:sdp3:v=06:to-tag1:x6:result2:oke")}, want: "its offer", leaves: 1},
		{name: "no audio", script: &script{subscribe: offered("m=audio 0 RTP/AVP 0")}, want: "has the call been answered?", opened: true, leaves: 1},
		{name: "no codec", script: &script{subscribe: offered("m=audio 9000 RTP/AVP 18", "a=label:1")}, want: "have rtpengine transcode", opened: true, leaves: 1},
		{name: "no key", script: &script{subscribe: offered("m=audio 9000 RTP/SAVP 0", "a=label:1")}, want: "crypto", opened: true, leaves: 1},
		{name: "plain in place of SRTP", script: &script{subscribe: good}, edit: func(_ *Config, _ *mediatest.Host, q *Request) { q.Secure = true }, want: "SRTP was asked for", opened: true, leaves: 1},
		{name: "no room", script: &script{subscribe: good}, edit: func(_ *Config, h *mediatest.Host, _ *Request) { h.Refuse = media.ErrBusy }, want: "no room", is: media.ErrBusy, leaves: 1},
		{name: "no name", script: &script{subscribe: good}, edit: func(_ *Config, _ *mediatest.Host, q *Request) { q.CallID = "" }, want: "both are needed"},
		{name: "answer refused", script: &script{subscribe: good, accept: []byte("d6:result5:error12:error-reason4:Nopee")}, want: "refuses subscribe answer: Nope", opened: true, leaves: 1},
		{name: "no address", script: &script{subscribe: good}, edit: func(c *Config, _ *mediatest.Host, _ *Request) { c.Addr = netip.IPv4Unspecified() }, want: "cannot send to 0.0.0.0", opened: true, leaves: 1},
		{name: "no port", script: &script{subscribe: good}, edit: func(c *Config, _ *mediatest.Host, _ *Request) { c.Pool = onePort(t) }, want: `leg "callee"`, is: port.ErrNoPort, opened: true, leaves: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := c.script.serve(t)
			h, q := mediatest.New(), order
			s := subscriber(t, dial(t, e.addr(), nil), h, func(cfg *Config) {
				if c.edit != nil {
					c.edit(cfg, h, &q)
				}
			})
			_, err := s.Subscribe(t.Context(), q)
			if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			if n := e.asked("11:unsubscribe"); n != c.leaves {
				t.Errorf("unsubscribed %d times, want %d", n, c.leaves)
			}
			told := h.Text()
			if opened := strings.Contains(told, "open"); opened != c.opened || opened && strings.Count(told, "\ncall c1 ended: refused, ") != 1 {
				t.Errorf("the host was told\n%s", told)
			}
			if what := h.Running(); len(what) > 0 {
				t.Errorf("without an end: %q", what)
			}
			if n := strings.Count(told, " ended: refused, "); c.opened && n != 1+len(h.Legs()) {
				t.Errorf("%d of the call and its %d legs end as refused", n, len(h.Legs()))
			}
		})
	}
}

// onePort is a pool that has one free port.
func onePort(t *testing.T) *port.Pool {
	t.Helper()
	for base := 23000; base < 60000; base += 2 {
		p, err := port.NewPool(port.PoolConfig{Host: netip.MustParseAddr("127.0.0.1"), Min: uint16(base), Max: uint16(base + 1)})
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: base})
		if err == nil {
			c.Close()
			return p
		}
	}
	t.Fatal("no port is free")
	return nil
}

func TestEnds(t *testing.T) {
	begin := func(t *testing.T, s *script, idle time.Duration) (*mediatest.Host, *Subscriber, *Subscription) {
		t.Helper()
		s.subscribe = vectors(t)["subscribe-siprec"]
		h := mediatest.New()
		r := subscriber(t, dial(t, s.serve(t).addr(), nil), h, func(c *Config) { c.Idle = idle })
		sub, err := r.Subscribe(t.Context(), order)
		if err != nil {
			t.Fatal(err)
		}
		return h, r, sub
	}
	t.Run("silence", func(t *testing.T) {
		h, _, sub := begin(t, &script{}, 200*time.Millisecond)
		<-sub.Done()
		has(t, h, "\ncall c1 ended: timed out, no packet on any leg for 200ms\n")
	})
	t.Run("rtpengine has ended the call", func(t *testing.T) {
		h, _, sub := begin(t, &script{gone: true}, time.Minute)
		<-sub.Done()
		has(t, h, "\ncall c1 ended: ended, rtpengine has ended the call\n")
	})
	t.Run("the host hangs up", func(t *testing.T) {
		h, _, sub := begin(t, &script{}, time.Minute)
		h.HangUp(media.End{State: media.Aborted, Reason: "no more"})
		h.HangUp(media.End{State: media.Aborted, Reason: "again"})
		<-sub.Done()
		has(t, h, "\ncall c1 ended: aborted, no more\n")
	})
	t.Run("shutdown", func(t *testing.T) {
		h, r, sub := begin(t, &script{}, time.Minute)
		r.Close(media.End{State: media.Aborted, Reason: "shutdown"})
		<-sub.Done()
		has(t, h, "\ncall c1 ended: aborted, shutdown\n")
		if _, err := r.Subscribe(t.Context(), order); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
	t.Run("rtpengine is gone at the end", func(t *testing.T) {
		h := mediatest.New()
		s := &script{subscribe: vectors(t)["subscribe-siprec"]}
		c := dial(t, s.serve(t).addr(), nil)
		sub, err := subscriber(t, c, h, nil).Subscribe(t.Context(), order)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		sub.End(media.End{State: media.Ended, Reason: "hung up"})
		has(t, h, "\ncall c1 ended: ended, hung up\n")
	})
}

func TestNewRefuses(t *testing.T) {
	c := dial(t, netip.MustParseAddrPort("127.0.0.1:9"), nil)
	if _, err := New(Config{Client: c, Log: quiet}); err == nil || !strings.Contains(err.Error(), "needs a client, a host") {
		t.Errorf("error %v", err)
	}
	pool, err := port.NewPool(port.PoolConfig{Host: netip.MustParseAddr("127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Client: c, Host: mediatest.New(), Pool: pool, Log: quiet, Idle: -1}); err == nil || !strings.Contains(err.Error(), "idle") {
		t.Errorf("error %v", err)
	}
}
