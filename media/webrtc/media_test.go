package webrtc

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	pion "github.com/pion/webrtc/v4"

	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/webrtc/whip"
)

// tone checks that a leg heard a client's tone of the length d, and nothing but
// it until now.
func tone(t *testing.T, l *recordedLeg, c *client, d time.Duration) {
	t.Helper()
	const slack = 100 * time.Millisecond
	if got := pcm.Duration(int64(len(l.samples))); got < d-slack || got > time.Since(c.spoken)+slack {
		t.Errorf("%v were heard of %v, in %v", got, d, time.Since(c.spoken))
	}
	if got := toneShare(l.samples, c.hz); got < 0.9 {
		t.Errorf("only %.2f of what was heard is the tone", got)
	}
	if got := toneShare(l.samples, c.hz+400); got > 0.1 {
		t.Errorf("%.2f of what was heard is another tone", got)
	}
}

func TestAudio(t *testing.T) {
	t.Run("B13 PCMU-only offer of a gateway, by ICE-lite and full ICE", func(t *testing.T) {
		for _, lite := range []bool{false, true} {
			s := newSite(t, func(c *Config) { c.Lite = lite })
			c := newClient(t, s, false)
			c.connect("?call=c1&role=agent&agent=ann&language=de&name=Ann&identity=17")
			if strings.Contains(c.answer, "a=ice-lite") != lite {
				t.Errorf("ICE-lite %v, and the answer\n%s", lite, c.answer)
			}
			c.speak(2 * time.Second)
			c.delete()
			s.h.over()
			call := s.h.calls[0]
			leg := call.legs[0]
			if g := call.call; g.ID != "c1" || g.Agent != "ann" || g.Language != "de" || g.Source != "webrtc" || g.Started.IsZero() {
				t.Errorf("call %+v", g)
			}
			want := media.Leg{ID: "agent", Role: media.RoleAgent, RoleReason: "the WHIP request says so", Name: "Ann", Identity: "17"}
			if leg.leg != want {
				t.Errorf("leg %+v", leg.leg)
			}
			if call.facts["webrtc.agent.codec"] != "pcmu/8000" || call.facts["webrtc.agent.client"] == "" {
				t.Errorf("facts %v", call.facts)
			}
			if leg.stats.Received != 100 || leg.stats.Lost != 0 || leg.stats.Invalid != 0 || leg.ends[0].State != media.Ended || len(call.ends) != 1 {
				t.Errorf("stats %+v, ends %v", leg.stats, leg.ends)
			}
			tone(t, leg, c, 2*time.Second)
		}
	})
	t.Run("B6 padding-only packets are ignored", func(t *testing.T) {
		s := newSite(t, nil)
		c := newClient(t, s, false)
		c.connect("?role=agent")
		for range 10 {
			c.speak(200 * time.Millisecond)
			// Bandwidth probes: nothing but padding, the timestamp of the last.
			for range 5 {
				c.write(nil, func(p *rtp.Packet) {
					p.Timestamp -= 160
					p.Padding, p.Header.PaddingSize = true, 200
				})
			}
		}
		c.delete()
		s.h.over()
		leg := s.h.calls[0].legs[0]
		if leg.stats.Lost != 0 || leg.stats.Received < 100 || leg.stats.SSRCChanges != 0 {
			t.Errorf("stats %+v", leg.stats)
		}
		tone(t, leg, c, 2*time.Second)
	})
	t.Run("B7 RED is decoded once, every fourth packet lost", func(t *testing.T) {
		s := newSite(t, func(c *Config) { c.Redundancy = true })
		c := newClient(t, s, true)
		c.connect("?role=agent")
		if !strings.Contains(c.answer, "m=audio 9 UDP/TLS/RTP/SAVPF 63 0") {
			t.Fatalf("RED is not the first format:\n%s", c.answer)
		}
		var before []byte
		c.spoken = time.Now()
		for i := range 100 {
			now := c.payload()
			b := []byte{0}
			if before != nil {
				b = []byte{0x80, 160 >> 6, 160<<2&0xff | byte(len(before)>>8), byte(len(before)), 0}
				b = append(b, before...)
			}
			b = append(b, now...)
			if i%4 == 2 {
				c.seq++
			} else {
				c.write(b, nil)
			}
			c.stamp += 160
			before = now
			time.Sleep(20 * time.Millisecond)
		}
		c.delete()
		s.h.over()
		leg := s.h.calls[0].legs[0]
		if leg.stats.Lost != 0 || leg.stats.Duplicate != 0 || leg.stats.Received != 100 {
			t.Errorf("stats %+v", leg.stats)
		}
		tone(t, leg, c, 2*time.Second)
	})
	t.Run("silence suppression is silence", func(t *testing.T) {
		s := newSite(t, nil)
		c := newClient(t, s, false)
		c.connect("?role=customer")
		c.speak(time.Second)
		// Sequence numbers go on, timestamps go with the time.
		time.Sleep(800 * time.Millisecond)
		c.stamp += 6400
		c.speak(time.Second)
		c.delete()
		s.h.over()
		leg := s.h.calls[0].legs[0]
		if leg.stats.Lost != 0 || leg.stats.InsertedFrames < 35 {
			t.Errorf("stats %+v", leg.stats)
		}
		tone(t, leg, c, 2800*time.Millisecond)
	})
	t.Run("digits", func(t *testing.T) {
		s := newSite(t, nil)
		c := newClient(t, s, false)
		c.connect("?role=agent")
		c.speak(200 * time.Millisecond)
		for i := range byte(5) {
			// The client's track would send it with the payload type of its codec.
			p := rtp.Packet{Header: rtp.Header{
				Version: 2, PayloadType: 101, SequenceNumber: c.seq, Timestamp: c.stamp,
				SSRC: uint32(c.pc.GetSenders()[0].GetParameters().Encodings[0].SSRC),
			}, Payload: []byte{11, 10, 0, 16 * (i + 1)}}
			c.seq++
			b, err := p.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			c.session().push(b, time.Now())
		}
		c.speak(200 * time.Millisecond)
		c.delete()
		s.h.over()
		leg := s.h.calls[0].legs[0]
		if !slices.ContainsFunc(leg.marks, func(m media.Mark) bool { return m.Kind == media.MarkDigit }) {
			t.Errorf("marks %+v, stats %+v", leg.marks, leg.stats)
		}
	})
}

func TestTwoSessionsOfACall(t *testing.T) {
	t.Run("B15 two roles are one call and aligned in time", func(t *testing.T) {
		s := newSite(t, nil)
		agent, customer := newClient(t, s, false), newClient(t, s, false)
		agent.connect("?call=c2&role=agent")
		customer.connect("?call=c2&role=customer")
		var wg sync.WaitGroup
		const late = 500 * time.Millisecond
		wg.Go(func() { agent.speak(2 * time.Second) })
		time.Sleep(late)
		customer.speak(time.Second)
		customer.delete()
		s.h.see(func() {
			if len(s.h.calls) != 1 || len(s.h.calls[0].ends) != 0 {
				t.Errorf("%d calls, ends %v: the call goes on with the other leg", len(s.h.calls), s.h.calls[0].ends)
			}
		})
		wg.Wait()
		agent.delete()
		s.h.over()
		c := s.h.calls[0]
		if len(c.legs) != 2 || c.legs[0].leg.Role != media.RoleAgent || c.legs[1].leg.Role != media.RoleCustomer || len(c.ends) != 1 {
			t.Fatalf("legs %+v", c.legs)
		}
		tone(t, c.legs[0], agent, 2*time.Second)
		tone(t, c.legs[1], customer, time.Second)
		apart := c.legs[1].marks[0].Wall.Sub(c.legs[0].marks[0].Wall)
		if c.legs[0].marks[0].Kind != media.MarkStarted || apart < late-100*time.Millisecond || apart > late+2*time.Second {
			t.Errorf("the legs began %v apart, not %v", apart, late)
		}
	})
	t.Run("a connected leg is not taken over, a lost one is", func(t *testing.T) {
		s := newSite(t, nil)
		first, second := newClient(t, s, false), newClient(t, s, false)
		first.connect("?call=c&role=agent")
		offer := second.offer(nil)
		resp := s.ask(t, "POST", DefaultPath+"?call=c&role=agent", offer, "Content-Type", typeSDP)
		if body := text(resp); resp.StatusCode != http.StatusConflict || !strings.Contains(body, "hint") {
			t.Fatalf("%s %s", resp.Status, body)
		}
		first.session().changed(pion.PeerConnectionStateDisconnected)
		second.post("?call=c&role=agent", offer)
		second.connected()
		second.speak(200 * time.Millisecond)
		second.delete()
		s.h.over()
		c := s.h.calls[0]
		if len(s.h.calls) != 1 || len(c.legs) != 2 || !strings.Contains(c.legs[0].ends[0].Reason, "took over") || len(c.legs[1].samples) == 0 {
			t.Errorf("%d calls, legs %+v %+v", len(s.h.calls), c.legs[0], c.legs[1])
		}
	})
}

// joiner is a host that lets sources join each other's calls.
type joiner struct {
	*host
	joined  []*recordedLeg
	hangUps []func(media.End)
}

func (j *joiner) Join(_ string, l media.Leg, hangUp func(media.End)) (media.LegSink, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	leg := &recordedLeg{h: j.host, leg: l}
	j.joined, j.hangUps = append(j.joined, leg), append(j.hangUps, hangUp)
	return leg, nil
}

func TestJoin(t *testing.T) {
	for _, can := range []bool{false, true} {
		var j *joiner
		s := newSite(t, func(c *Config) {
			if can {
				j = &joiner{host: c.Host.(*host)}
				c.Host = j
			}
		})
		// Another source has the call.
		sink, err := s.h.Open(media.Call{ID: "sip-1"}, func(media.End) {})
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, s, false)
		if !can {
			resp := s.ask(t, "POST", DefaultPath+"?call=sip-1", c.offer(nil), "Content-Type", typeSDP)
			if resp.StatusCode != http.StatusConflict {
				t.Errorf("%s %s", resp.Status, text(resp))
			}
			sink.End(media.End{State: media.Ended})
			continue
		}
		c.connect("?call=sip-1&role=agent")
		c.speak(300 * time.Millisecond)
		j.hangUps[0](media.End{State: media.Aborted, Reason: "enough"})
		s.h.until("the leg has ended", func() bool { return len(j.joined[0].ends) == 1 })
		s.h.see(func() {
			if l := j.joined[0]; len(l.samples) == 0 || l.ends[0].Reason != "enough" || len(s.h.calls[0].ends) != 0 {
				t.Errorf("leg %+v of a call with the ends %v", l.ends, s.h.calls[0].ends)
			}
		})
		sink.End(media.End{State: media.Ended})
	}
}

func TestManySessions(t *testing.T) {
	t.Run("B14 100 sessions on one UDP port", func(t *testing.T) {
		const n = 100
		s := newSite(t, nil)
		clients := make([]*client, n)
		var wg sync.WaitGroup
		for i := range clients {
			clients[i] = newClient(t, s, false)
			// Neighbours do not sound alike.
			clients[i].hz = 400 + 300*float64(i%5)
			clients[i].post(fmt.Sprintf("?call=%d", i), clients[i].offer(nil))
		}
		port := ""
		for _, c := range clients {
			c.connected()
			for _, v := range values(c.answer, "candidate") {
				f := strings.Fields(v)
				if port == "" {
					port = f[5]
				}
				if f[5] != port {
					t.Errorf("ports %s and %s", port, f[5])
				}
			}
			wg.Go(func() { c.speak(time.Second) })
		}
		wg.Wait()
		if s.Sessions() != n || len(s.Addrs()) != 1 {
			t.Errorf("%d sessions at %v", s.Sessions(), s.Addrs())
		}
		for _, c := range clients {
			c.delete()
		}
		s.h.over()
		for _, c := range s.h.calls {
			l := c.legs[0]
			// A busy machine may drop many; none may go astray.
			if l.stats.Received > 50 || l.stats.Received < 5 || l.stats.Foreign != 0 || l.stats.SSRCChanges != 0 {
				t.Errorf("%s: stats %+v", c.call.ID, l.stats)
			}
			i, err := strconv.Atoi(c.call.ID)
			if err != nil {
				t.Fatal(err)
			}
			if got := toneShare(l.samples, clients[i].hz); got < 0.8 {
				t.Errorf("%s: %.2f of what was heard is its tone", c.call.ID, got)
			}
		}
	})
}

// deaf hears nothing.
type deaf struct{}

func (deaf) Frame(*pcm.Frame)              {}
func (deaf) Mark(media.Mark)               {}
func (deaf) End(media.End, media.LegStats) {}

func TestNoAllocation(t *testing.T) {
	for _, redundancy := range []bool{false, true} {
		offer, err := whip.ParseOffer([]byte(fixture(t, "chromium.sdp")), whip.Options{Codecs: codecs(), Redundancy: redundancy})
		if err != nil {
			t.Fatal(err)
		}
		s := &session{offer: offer, sink: deaf{}}
		if err := s.open(); err != nil {
			t.Fatal(err)
		}
		p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 111}, Payload: []byte{0xf8, 0xff, 0xfe}}
		if redundancy {
			p.PayloadType, p.Payload = 63, []byte{0xef, 0x0f, 0x00, 0x03, 0x6f, 0xf8, 0xff, 0xfe, 0xf8, 0xff, 0xfe}
		}
		b, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		now, n := time.Unix(0, 0), uint32(0)
		if got := testing.AllocsPerRun(500, func() {
			n++
			now = now.Add(20 * time.Millisecond)
			binary.BigEndian.PutUint16(b[2:], uint16(n))
			binary.BigEndian.PutUint32(b[4:], n*960)
			s.push(b, now)
		}); got != 0 {
			t.Errorf("redundancy %v: %v allocations a packet", redundancy, got)
		}
		if got := s.leg.Stats(); got.Received != 501 || got.Invalid != 0 {
			t.Errorf("stats %+v", got)
		}
	}
}
