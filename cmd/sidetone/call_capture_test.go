package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/app"
	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/needs"
	"sidetone/media/codec"
)

// captured is a datagram of a capture.
type captured struct {
	at       time.Duration
	from, to string
	b        []byte
}

// capturePcap writes a pcap file of raw IPv4 packets.
func capturePcap(t *testing.T, all []captured) string {
	t.Helper()
	b := binary.LittleEndian.AppendUint32(nil, 0xa1b23c4d)
	b = append(b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0)
	for _, c := range all {
		from, to := netip.MustParseAddrPort(c.from), netip.MustParseAddrPort(c.to)
		n := 28 + len(c.b)
		b = binary.LittleEndian.AppendUint32(b, 1_800_000_000+uint32(c.at/time.Second))
		b = binary.LittleEndian.AppendUint32(b, uint32(c.at%time.Second))
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
		b = append(b, 0x45, 0, byte(n>>8), byte(n), 0, 0, 0, 0, 64, 17, 0, 0)
		b = append(append(b, from.Addr().AsSlice()...), to.Addr().AsSlice()...)
		for _, v := range []int{int(from.Port()), int(to.Port()), 8 + len(c.b), 0} {
			b = binary.BigEndian.AppendUint16(b, uint16(v))
		}
		b = append(b, c.b...)
	}
	name := filepath.Join(t.TempDir(), "talk.pcap")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// sender makes the packets of one leg, 20 ms each; those for which drop says so
// are lost.
type sender struct {
	from, to string
	ssrc     uint32
	pt       byte
	codec    string
	packets  int
	drop     func(i int) bool
}

func (s sender) send(t *testing.T) (out []captured) {
	t.Helper()
	f, err := codec.Parse(s.codec)
	if err != nil {
		t.Fatal(err)
	}
	n := f.Rate() / 50
	encode := func(int) []byte { return []byte{0x08, 0xff, 0xfe} } // Opus, 20 ms of silence
	if e, err := codec.NewEncoder(f); err == nil {
		encode = func(i int) []byte {
			x, b := make([]int16, n), make([]byte, 4*n)
			for j := range x {
				x[j] = int16(6000 * math.Sin(float64(i*n+j)*2*math.Pi*300/float64(f.Rate())))
			}
			size, err := e.Encode(b, x)
			if err != nil {
				t.Fatal(err)
			}
			return b[:size]
		}
	}
	for i := range s.packets {
		b := binary.BigEndian.AppendUint32([]byte{0x80, s.pt, byte(i >> 8), byte(i)}, uint32(i*f.Clock/50))
		b = append(binary.BigEndian.AppendUint32(b, s.ssrc), encode(i)...)
		if s.drop == nil || !s.drop(i) {
			out = append(out, captured{time.Duration(i) * 20 * time.Millisecond, s.from, s.to, b})
		}
	}
	return out
}

// merge brings captured datagrams into the order in which they came.
func merge(a, b []captured) (out []captured) {
	for len(a) > 0 && len(b) > 0 {
		if b[0].at < a[0].at {
			a, b = b, a
		}
		out, a = append(out, a[0]), a[1:]
	}
	return append(append(out, a...), b...)
}

var (
	caller = sender{from: "192.0.2.1:4000", to: "192.0.2.9:20000", ssrc: 0xaa01, pt: 0, codec: "PCMU", packets: 60, drop: func(i int) bool { return i%10 == 4 }}
	callee = sender{from: "192.0.2.1:4002", to: "192.0.2.9:20002", ssrc: 0xbb02, pt: 111, codec: "opus", packets: 60}
)

// TestReplay sends the two legs of a capture to where they may go, as they were
// captured.
func TestReplay(t *testing.T) {
	sdp := "v=0\r\no=a 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n" +
		"m=audio 4000 RTP/AVP 0 96\r\na=rtpmap:96 telephone-event/8000\r\nm=audio 4002 RTP/AVP 111\r\na=rtpmap:111 opus/48000/2\r\n"
	invite := captured{0, "192.0.2.1:5060", "192.0.2.9:5060", fmt.Appendf(nil, "INVITE sip:a@b SIP/2.0\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", len(sdp), sdp)}
	key := captured{610 * time.Millisecond, caller.from, caller.to, []byte{0x80, 0x80 | 96, 0, 30, 0, 0, 1, 0, 0, 0, 0xaa, 1, 5, 10, 1, 64}}
	all := merge(append([]captured{invite}, caller.send(t)...), callee.send(t))
	all = merge(all, []captured{key})
	file := capturePcap(t, all)

	t.Run("to addresses", func(t *testing.T) {
		a, b := listen(t), listen(t)
		begin := time.Now()
		out, err := runCall(t.Context(), file, "--to", a.addr()+","+b.addr())
		if err != nil || out != "Played 115 packets in 2 legs.\n" {
			t.Fatalf("%q, %v", out, err)
		}
		if took := time.Since(begin); took < 1180*time.Millisecond {
			t.Errorf("1.18 s of packets were sent within %v", took)
		}
		first, second := a.packets(t, 55), b.packets(t, 60)
		if len(first) != 55 || len(second) != 60 || first[0].SSRC != caller.ssrc || second[0].PayloadType != 111 {
			t.Errorf("%d and %d packets, %+v", len(first), len(second), first[0].Header)
		}
		keys := 0
		for _, p := range first {
			if p.PayloadType == 101 && p.Marker {
				keys++
			}
		}
		if keys != 1 {
			t.Errorf("%d telephone events are of the type that the server expects", keys)
		}
	})
	for _, c := range []struct {
		name string
		args []string
		legs string
	}{
		{"order", nil, `[{"codec":"PCMU","id":"agent","role":"agent"},{"codec":"opus","id":"customer","payload_type":111,"role":"customer"}]`},
		{"roles", []string{"--role", "customer,agent"}, `[{"codec":"PCMU","id":"customer","role":"customer"},{"codec":"opus","id":"agent","payload_type":111,"role":"agent"}]`},
		{"the same role", []string{"--role", "unknown,unknown"}, `[{"codec":"PCMU","id":"unknown","role":"unknown"},{"codec":"opus","id":"unknown-2","payload_type":111,"role":"unknown"}]`},
		{"one SSRC", []string{"--ssrc", "0xBB02"}, `[{"codec":"opus","id":"customer","payload_type":111,"role":"customer"}]`},
		{"SSRCs in another order", []string{"--ssrc", "bb02,aa01", "--codec", "111=opus/48000/1"}, `[{"codec":"opus/48000","id":"agent","payload_type":111,"role":"agent"},{"codec":"PCMU","id":"customer","role":"customer"}]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serveAPI(t)
			if _, err := runCall(t.Context(), append([]string{file, "--server", s.URL}, c.args...)...); err != nil {
				t.Fatal(err)
			}
			legs, err := json.Marshal(s.request["legs"])
			if err != nil {
				t.Fatal(err)
			}
			if string(legs) != c.legs || len(s.ended) != 1 {
				t.Errorf("legs %s, ended %q, want %s", legs, s.ended, c.legs)
			}
		})
	}
}

func TestReplayRefuses(t *testing.T) {
	s := serveAPI(t)
	third := sender{from: "192.0.2.1:4004", to: "192.0.2.9:20004", ssrc: 0xcc03, codec: "PCMU", packets: 10}
	one, unknown := capturePcap(t, caller.send(t)), capturePcap(t, callee.send(t))
	three := capturePcap(t, append(append(caller.send(t), third.send(t)...), sender{from: "192.0.2.1:4006", to: "192.0.2.9:20006", ssrc: 4, codec: "PCMA", pt: 8, packets: 10}.send(t)...))
	empty := capturePcap(t, nil)
	closed := listen(t)
	closed.close()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{empty, "--server", s.URL}, "no RTP in it"},
		{[]string{unknown, "--server", s.URL}, "Nobody said what payload type 111 is"},
		{[]string{unknown, "--server", s.URL, "--codec", "111=G729/8000"}, "cannot decode G729/8000"},
		{[]string{unknown, "--server", s.URL, "--codec", "opus"}, "want a payload type and a codec"},
		{[]string{three, "--server", s.URL}, "0000cc03 from 192.0.2.1:4004 to 192.0.2.9:20004, PCMU"},
		{[]string{three, "--server", s.URL, "--ssrc", "5"}, "there is no such stream; there are\n  0000aa01"},
		{[]string{three, "--server", s.URL, "--ssrc", "x"}, "no hexadecimal number"},
		{[]string{one, "--server", s.URL, "--role", "boss"}, "want agent, customer or unknown"},
		{[]string{one, "--server", s.URL, "--role", "agent,customer"}, "2 roles for 1 RTP streams"},
		{[]string{three, "--to", "127.0.0.1:1", "--role", "agent"}, "1 roles for 3 RTP streams"},
		{[]string{one, "--to", "127.0.0.1:1,127.0.0.1:2"}, "2 addresses for a capture of 1 RTP streams"},
		{[]string{one, "--to", closed.addr()}, "nobody listens at " + closed.addr()},
		{[]string{recordWav(t, 8000, 1), "--to", closed.addr(), "--role", "agent"}, "--role and --ssrc choose among the streams of a capture"},
		{[]string{recordWav(t, 8000, 1), "--to", closed.addr(), "--codec", "PCMU,PCMA"}, "names 2 codecs"},
	} {
		if _, err := runCall(t.Context(), c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want one with %q", c.args, err, c.want)
		}
	}
	if len(s.ended) != 0 {
		t.Errorf("ended %q without having opened", s.ended)
	}
	// An interrupted call is ended all the same.
	ctx, cancel := context.WithCancel(t.Context())
	p := placement{server: s.URL, agent: "ann"}
	if err := replay(ctx, p, one, writerFunc(func([]byte) { cancel() })); err == nil || len(s.ended) != 1 {
		t.Errorf("error %v, ended %q", err, s.ended)
	}
}

// TestReplayIntoServer sends a capture with two legs into a server, whose record
// must say what the capture has lost.
func TestReplayIntoServer(t *testing.T) {
	needs.Model(t, "whisper-tiny.en", "model.bin")
	needs.Model(t, "silero-vad", "silero_vad_16k.safetensors")
	cfg, err := config.Default()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Server.Listen = "127.0.0.1:0"
	cfg.Media.FirstPort, cfg.Media.LastPort = 0, 0
	cfg.Storage.Dir, cfg.Access.Required, cfg.Voice.On = t.TempDir(), false, false
	a, err := app.New(cfg, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	wide := callee
	wide.codec, wide.pt, wide.drop = "G722", 9, func(i int) bool { return i == 20 || i == 21 }
	for _, second := range []sender{wide, callee} {
		file := capturePcap(t, merge(caller.send(t), second.send(t)))
		if out, err := runCall(t.Context(), file, "--server", a.URL(), "--call", second.codec, "--codec", "111=opus/48000/2"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		res, err := http.Get(a.URL() + "/v1/calls/" + second.codec)
		if err != nil {
			t.Fatal(err)
		}
		var rec struct {
			State string
			Legs  []struct {
				Role, Codec string
				Stats       struct{ Received, Lost, Invalid, Foreign uint64 }
			}
		}
		err = json.NewDecoder(res.Body).Decode(&rec)
		res.Body.Close()
		if err != nil || len(rec.Legs) != 2 || rec.State != "ended" {
			t.Fatalf("%+v, %v", rec, err)
		}
		lost := uint64(0)
		if second.drop != nil {
			lost = 2
		}
		if l := rec.Legs[0]; l.Role != "agent" || l.Codec != "PCMU" || l.Stats.Received != 54 || l.Stats.Lost != 6 {
			t.Errorf("first leg %+v, want 54 packets and 6 lost", l)
		}
		if l := rec.Legs[1]; l.Role != "customer" || l.Codec != second.codec || l.Stats.Received != 60-lost || l.Stats.Lost != lost || l.Stats.Invalid+l.Stats.Foreign != 0 {
			t.Errorf("second leg %+v, want %d lost", l, lost)
		}
	}
}
