package doctor

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"

	"sidetone/media/codec"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	began = time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)
	pbx   = netip.MustParseAddrPort("192.0.2.10:14000")
	here  = netip.MustParseAddrPort("192.0.2.20:20000")
)

// arrival is a datagram on its way.
type arrival struct {
	b        []byte
	from, to netip.AddrPort
	at       time.Time
}

// talk is what sounds like speech to a meter: words of a second with pauses, at
// a peak of amplitude.
func talk(rate int, amplitude float64, seconds float64) []int16 {
	out := make([]int16, int(float64(rate)*seconds))
	for i := range out {
		t := float64(i) / float64(rate)
		if math.Mod(t, 1.4) < 1 {
			v := amplitude * math.Sin(2*math.Pi*310*t) * (0.6 + 0.4*math.Sin(2*math.Pi*4*t))
			out[i] = int16(max(-32768, min(32767, v)))
		}
	}
	return out
}

// stream is a sender of packets of 20 ms.
type stream struct {
	from, to netip.AddrPort
	ssrc     uint32
	pt       uint8
	step     uint32
	payloads [][]byte
}

// audio encodes samples.
func audio(t testing.TB, name string, pt uint8, samples []int16) *stream {
	t.Helper()
	f, err := codec.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	e, err := codec.NewEncoder(f)
	if err != nil {
		t.Fatal(err)
	}
	s := &stream{from: pbx, to: here, ssrc: 0x1234abcd, pt: pt, step: uint32(f.Clock / 50)}
	for n := f.Rate() / 50; len(samples) >= n; samples = samples[n:] {
		b := make([]byte, 4*n)
		size, err := e.Encode(b, samples[:n])
		if err != nil {
			t.Fatal(err)
		}
		s.payloads = append(s.payloads, b[:size])
	}
	return s
}

// noise has random payloads, of sizes that size gives.
func noise(pt uint8, step uint32, n int, size func(i int) int) *stream {
	rng := rand.New(rand.NewPCG(1, 2))
	s := &stream{from: pbx, to: here, ssrc: 0x1234abcd, pt: pt, step: step}
	for i := range n {
		b := make([]byte, size(i))
		for j := range b {
			b[j] = byte(rng.Uint32())
		}
		s.payloads = append(s.payloads, b)
	}
	return s
}

// arrivals are the stream's packets as they come over a perfect network.
func (s *stream) arrivals(t testing.TB) []arrival {
	t.Helper()
	var out []arrival
	for i, b := range s.payloads {
		p := rtp.Packet{Header: rtp.Header{
			Version: 2, PayloadType: s.pt, SequenceNumber: uint16(65500 + i), Timestamp: 4_294_960_000 + uint32(i)*s.step, SSRC: s.ssrc,
		}, Payload: b}
		raw, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, arrival{raw, s.from, s.to, began.Add(time.Duration(i) * 20 * time.Millisecond)})
	}
	return out
}

// several come n times, 20 ms apart.
func several(b []byte, n int) (out []arrival) {
	for i := range n {
		out = append(out, arrival{b, pbx, here, began.Add(time.Duration(i) * 20 * time.Millisecond)})
	}
	return out
}

// invite composes a SIP request with a session description and, where given,
// recording metadata.
func invite(require, media, metadata string) []arrival {
	sdp := "v=0\r\no=SRC 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n" + media
	kind, body := "application/sdp", sdp
	if metadata != "" {
		kind = "multipart/mixed;boundary=cut"
		body = "--cut\r\nContent-Type: application/sdp\r\n\r\n" + sdp +
			"\r\n--cut\r\nContent-Type: application/rs-metadata+xml\r\nContent-Disposition: recording-session\r\n\r\n" + metadata + "\r\n--cut--\r\n"
	}
	head := "INVITE sip:srs@192.0.2.20;token=secret SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10:5060\r\nFrom: <sip:sbc@192.0.2.10>;tag=1\r\nTo: <sip:srs@192.0.2.20>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n"
	if require != "" {
		head += "Require: " + require + "\r\n"
	}
	b := fmt.Sprintf("%sContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", head, kind, len(body), body)
	return []arrival{{[]byte(b), netip.MustParseAddrPort("192.0.2.10:5060"), netip.MustParseAddrPort("192.0.2.20:5060"), began}}
}

const (
	pcmu      = "m=audio 14000 RTP/AVP 0 8\r\na=sendonly\r\na=label:1\r\n"
	recorded  = `<recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>complete</datamode><session session_id="s"/>` + participants + streams
	ended     = `</recording>`
	assoc     = `<participantstreamassoc participant_id="p1"><send>t1</send></participantstreamassoc><participantstreamassoc participant_id="p2"><send>t2</send></participantstreamassoc>`
	streams   = `<stream stream_id="t1" session_id="s"><label>1</label></stream><stream stream_id="t2" session_id="s"><label>2</label></stream>`
	twoLines  = "m=audio 14000 RTP/AVP 96 0\r\na=rtpmap:96 opus/48000/2\r\na=sendonly\r\na=label:1\r\nm=audio 14002 RTP/AVP 8\r\na=sendonly\r\na=label:2\r\n"
	encrypted = "m=audio 14000 RTP/SAVP 0\r\na=sendonly\r\na=label:1\r\n"

	participants = `<participant participant_id="p1"><nameID aor="sip:bob@example.test"/></participant><participant participant_id="p2"><nameID aor="sip:2215@example.test"/></participant>`
)

// scene is what arrives, and what the report must say of it.
type scene struct {
	name  string
	all   []arrival
	given string // the format of payload type 96
	after time.Duration
	want  string
	fine  bool // nothing is wrong
}

func scenes(t testing.TB) []scene {
	t.Helper()
	speech := talk(8000, 4000, 4)
	good := func() *stream { return audio(t, "PCMU", 0, speech) }
	swap := audio(t, "L16/16000", 96, talk(16000, 4000, 4))
	for _, b := range swap.payloads {
		for i := 0; i < len(b); i += 2 {
			b[i], b[i+1] = b[i+1], b[i]
		}
	}
	var lossy, reordered, jittery, twice []arrival
	for i, a := range good().arrivals(t) {
		if i%20 != 7 {
			lossy = append(lossy, a)
		}
		reordered = append(reordered, a)
		if n := len(reordered); i%10 == 5 {
			reordered[n-1], reordered[n-2] = reordered[n-2], reordered[n-1]
		}
		twice = append(twice, a, a)
		a.at = a.at.Add(time.Duration(i*7919%300) * time.Millisecond)
		jittery = append(jittery, a)
	}
	rival := good()
	rival.ssrc, rival.from = 0x99, netip.MustParseAddrPort("192.0.2.11:4000")
	two := append(good().arrivals(t), rival.arrivals(t)...)
	stunRequest := append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...)
	hello := append([]byte{22, 254, 253}, make([]byte, 60)...)
	report := append([]byte{0x80, 200, 0, 6}, make([]byte, 24)...)
	binary.BigEndian.PutUint32(report[4:], 7)
	swing := []int{80, 71, 80, 93, 80, 64}
	loud := talk(8000, 90_000, 4)
	music := audio(t, "PCMU", 0, speech)
	dtmf := music.arrivals(t)
	for i := 50; i < 60; i++ {
		dtmf[i].b = append(append([]byte(nil), dtmf[i].b[:12]...), 5, 10, 1, 64)
		dtmf[i].b[1] = 101
	}
	return []scene{
		{name: "nothing", want: "Nothing arrived"},
		{name: "pcmu", all: good().arrivals(t), fine: true},
		{name: "pcma", all: audio(t, "PCMA", 8, speech).arrivals(t), fine: true},
		{name: "g722", all: audio(t, "G722", 9, talk(16000, 4000, 4)).arrivals(t), fine: true},
		{name: "keys", all: dtmf, fine: true},
		{name: "silence", all: audio(t, "PCMU", 0, make([]int16, 32000)).arrivals(t), want: "Only silence arrives"},
		{name: "quiet", all: audio(t, "PCMU", 0, talk(8000, 120, 4)).arrivals(t), want: "Speech is very quiet"},
		{name: "clipped", all: audio(t, "PCMU", 0, loud).arrivals(t), want: "cut off at full scale"},
		{name: "srtp", all: noise(0, 160, 200, func(int) int { return 170 }).arrivals(t), want: "likely SRTP"},
		{name: "dynamic-l16-8000", all: audio(t, "L16/8000", 96, speech).arrivals(t), want: "--codec 96=L16/8000"},
		{name: "dynamic-l16-16000", all: audio(t, "L16/16000", 97, talk(16000, 4000, 4)).arrivals(t), want: "--codec 97=L16/16000"},
		{name: "dynamic-opus", all: noise(111, 960, 200, func(i int) int { return swing[i%6] }).arrivals(t), want: "--codec 111=opus"},
		{name: "dynamic-unknown", all: noise(98, 160, 200, func(int) int { return 33 }).arrivals(t), want: "a=rtpmap:98"},
		{name: "given-l16", all: audio(t, "L16/16000", 96, talk(16000, 4000, 4)).arrivals(t), given: "L16/16000", fine: true},
		{name: "swapped", all: swap.arrivals(t), given: "L16/16000", want: "bytes of each sample are swapped"},
		{name: "garbled", all: noise(96, 320, 200, func(int) int { return 641 }).arrivals(t), given: "L16/16000", want: "cannot be decoded as L16/16000"},
		{name: "g729", all: noise(18, 160, 200, func(int) int { return 20 }).arrivals(t), want: "Sidetone cannot decode G729/8000"},
		{name: "loss", all: lossy, want: "5.0 % of the packets are lost"},
		{name: "reordered", all: reordered, want: "come out of order"},
		{name: "jitter", all: jittery, want: "Packets come unevenly"},
		{name: "twice", all: twice, want: "packets came twice"},
		{name: "two-sources", all: two, want: "Two sources send to 192.0.2.20:20000"},
		{name: "stopped", all: good().arrivals(t), after: 6 * time.Second, want: "The last packet came 6s ago"},
		{name: "short", all: good().arrivals(t)[:4], want: "no source sent as many as 5"},
		{name: "webrtc", all: append(several(stunRequest, 5), several(hello, 5)...), want: "POST /v1/whip"},
		{name: "rtcp", all: several(report, 5), want: "Only RTCP arrives"},
		{name: "junk", all: several([]byte("GET / HTTP/1.1\r\n\r\n"), 5), want: "What arrives is no RTP"},
		{name: "keep-alives", all: several([]byte("\r\n\r\n"), 5), want: "5 keep-alives"},
		{name: "siprec", all: append(invite("siprec", twoLines, recorded+assoc+ended), good().arrivals(t)...), want: "2 participants, 2 streams and 2 associations"},
		{name: "siprec-opus", all: append(invite("siprec", twoLines, recorded+assoc+ended), noise(96, 960, 200, func(i int) int { return swing[i%6] }).arrivals(t)...), want: "opus/48000/2 (payload type 96)"},
		{name: "siprec-unassociated", all: invite("siprec", twoLines, recorded+ended), want: "Nothing says who speaks on which stream"},
		{name: "siprec-bare", all: invite("siprec", pcmu, ""), want: "has no recording metadata"},
		{name: "siprec-broken", all: invite("siprec", pcmu, "<recording"), want: "metadata cannot be read"},
		{name: "invite", all: invite("", pcmu, ""), want: "it is an ordinary call"},
		{name: "invite-g729", all: invite("siprec", "m=audio 14000 RTP/AVP 18 97\r\na=rtpmap:18 G729/8000\r\n", recorded+assoc+ended), want: "None of these codecs can be decoded"},
		{name: "invite-savp", all: invite("siprec", encrypted, recorded+assoc+ended), want: "SRTP without a key"},
		{name: "sip-terminal", all: []arrival{{[]byte("INVITE sip:\x1b[31m" + strings.Repeat("x", 500) + " SIP/2.0\r\n\r\n"), pbx, here, began}}, want: "INVITE sip:?[31mxxx"},
	}
}

func watch(t testing.TB, s scene) (*Watch, time.Time) {
	t.Helper()
	w := New()
	if s.given != "" {
		f, err := codec.Parse(s.given)
		if err != nil {
			t.Fatal(err)
		}
		w.Announce(96, f)
	}
	last := began
	for _, a := range s.all {
		w.Push(a.b, a.from, a.to, a.at)
		last = a.at
	}
	return w, last.Add(s.after)
}

// TestReports holds what the doctor says against golden files.
func TestReports(t *testing.T) {
	all := scenes(t)
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			w, until := watch(t, s)
			var got bytes.Buffer
			if err := w.Write(&got, "192.0.2.20:20000", until); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(got.String(), s.want) {
				t.Errorf("no %q in:\n%s", s.want, &got)
			}
			if wrong := strings.Contains(got.String(), "! "); s.fine && wrong {
				t.Errorf("something is wrong with it:\n%s", &got)
			}
			if strings.Contains(got.String(), "secret") || strings.ContainsAny(got.String(), "\x1b\r") {
				t.Errorf("what is secret or moves the cursor is printed: %q", got.String())
			}
			name := filepath.Join("testdata", s.name+".golden")
			if *update {
				if err := os.WriteFile(name, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) {
				t.Errorf("got:\n%swant:\n%s", &got, want)
			}
		})
	}
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(all) {
		t.Errorf("%d golden files for %d scenes", len(files), len(all))
	}
}

// TestStreams is what others than the report read.
func TestStreams(t *testing.T) {
	w, _ := watch(t, scene{all: append(invite("siprec", "m=audio 14000 RTP/AVP 96 110\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:110 telephone-event/48000\r\n", recorded+ended),
		noise(96, 960, 50, func(int) int { return 80 }).arrivals(t)...)})
	all := w.Streams()
	if len(all) != 1 || !all[0].Known || codec.Name(all[0].Format) != "opus/48000/2" || all[0].PayloadType != 96 || all[0].Packets != 50 {
		t.Fatalf("%d streams, %+v", len(all), all[0])
	}
	if pt, ok := w.Events(14000); !ok || pt != 110 {
		t.Errorf("telephone events %d, %v", pt, ok)
	}
	if _, ok := New().Events(14000); ok {
		t.Error("nobody announced telephone events")
	}
	// What the user says holds against SIP.
	f, err := codec.Parse("L16/16000")
	if err != nil {
		t.Fatal(err)
	}
	w.Announce(96, f)
	if s := w.Streams()[0]; s.Format != f {
		t.Errorf("%+v", s.Format)
	}
}

// TestBounds floods a watch.
func TestBounds(t *testing.T) {
	w := New()
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 5000 {
		for range 6 {
			b := binary.BigEndian.AppendUint32([]byte{0x80, 0, byte(i >> 8), byte(i)}, rng.Uint32())
			b = binary.BigEndian.AppendUint32(b, uint32(i))
			w.Push(append(b, make([]byte, rng.IntN(1000))...), pbx, here, began)
		}
		w.Push(invite("siprec", fmt.Sprintf("m=audio %d RTP/AVP 96 97 98\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:97 x/8000\r\na=rtpmap:98 y/8000\r\n", 1000+i), "")[0].b, pbx, here, began)
	}
	one := w.Streams()[0]
	for i := range 2 * maxSteps {
		one.take(&rtp.Packet{Header: rtp.Header{SequenceNumber: one.seq + 1, Timestamp: one.stamp + uint32(i), SSRC: 1}, Payload: make([]byte, i)}, began)
	}
	if len(w.streams) != maxStreams || len(w.formats) != maxFormats || len(w.signals) != maxStreams || len(one.steps) > maxSteps || len(one.sizes) > maxSteps {
		t.Errorf("%d streams, %d formats, %d signals, %d steps, %d sizes", len(w.streams), len(w.formats), len(w.signals), len(one.steps), len(one.sizes))
	}
	var out bytes.Buffer
	if err := w.Write(&out, "here", began); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "24000 packets belonged to more streams") || out.Len() > 2<<20 {
		t.Errorf("%d bytes: %.300s", out.Len(), &out)
	}
}

func FuzzPush(f *testing.F) {
	for _, s := range scenes(f) {
		if len(s.all) > 0 {
			f.Add(s.all[0].b, s.all[len(s.all)-1].b, int64(20))
		}
	}
	f.Fuzz(func(t *testing.T, a, b []byte, gap int64) {
		w := New()
		for i := range 12 {
			at := began.Add(time.Duration(gap) * time.Duration(i) * time.Millisecond)
			w.Push(a, pbx, here, at)
			w.Push(b, pbx, here, at)
			if len(b) > 8 { // moves on, as a stream does
				b[3]++
				b[6]++
			}
		}
		var out bytes.Buffer
		if err := w.Write(&out, "here", began.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(out.String(), "\x1b\r\x00") {
			t.Errorf("the report moves the cursor: %q", out.String())
		}
	})
}
