package whip

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

func options() Options {
	return Options{Codecs: []Format{{Name: "opus", Clock: 48000, Channels: 2}, {Name: "g722", Clock: 8000}, {Name: "pcmu", Clock: 8000}, {Name: "pcma", Clock: 8000}}, Redundancy: true}
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// peerAnswer is what a peer connection makes of a reduced offer.
const peerAnswer = "v=0\r\no=- 8217 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=msid-semantic:WMS *\r\na=fingerprint:sha-256 AA:BB\r\na=ice-lite\r\na=group:BUNDLE 0\r\n" +
	"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=setup:passive\r\na=mid:0\r\na=ice-ufrag:ours\r\na=ice-pwd:oursoursoursoursoursours\r\na=rtcp-mux\r\na=recvonly\r\n" +
	"a=candidate:1 1 udp 2130706431 127.0.0.1 40000 typ host\r\na=candidate:1 2 udp 2130706431 127.0.0.1 40000 typ host\r\na=end-of-candidates\r\n"

// TestGolden compares what becomes of the offers in testdata.
func TestGolden(t *testing.T) {
	for _, name := range []string{"chromium", "firefox", "gateway", "bundle"} {
		o, err := ParseOffer(read(t, name+".sdp"), options())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		answer, err := o.Answer(peerAnswer)
		if err != nil {
			t.Fatal(err)
		}
		got := o.Reduced() + "--\r\n" + answer
		file := name + ".golden"
		if *update {
			if err := os.WriteFile(filepath.Join("testdata", file), []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want := string(read(t, file)); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
		// What goes to the peer connection is an offer, too.
		again, err := ParseOffer([]byte(o.Reduced()), options())
		if err != nil || again.Reduced() != o.Reduced() {
			t.Errorf("%s: the reduced offer is another when it is reduced again: %v", name, err)
		}
	}
}

func TestChosen(t *testing.T) {
	offer := string(read(t, "chromium.sdp"))
	for _, c := range []struct {
		name         string
		edit         func(string) string
		red          bool
		chosen, fail string
	}{
		{"plain", nil, false, "111 opus/48000/2, 110 telephone-event/48000", ""},
		{"with redundancy", nil, true, "63 red/48000/2, 111 opus/48000/2, 110 telephone-event/48000", ""},
		{"redundancy of another format", replace("a=fmtp:63 111/111", "a=fmtp:63 9/9"), true, "111 opus/48000/2, 110 telephone-event/48000", ""},
		{"no Opus", replace("opus", "opux"), true, "9 g722/8000, 126 telephone-event/8000", ""},
		{"static formats", replace("111 63 9 0 8 13 110 126", "13 8 0"), true, "0 pcmu/8000", ""},
		{"Opus of another clock", replace("opus/48000/2", "opus/16000"), false, "9 g722/8000, 126 telephone-event/8000", ""},
		{"RTCP's numbers", replace("111 63 9 0 8 13 110 126\r", "72 0\r\na=rtpmap:72 opus/48000/2\r"), false, "0 pcmu/8000", ""},
		{"nothing known", replace("111 63 9 0 8 13 110 126", "18 13"), false, "", "none of the codecs opus/48000/2, g722/8000, pcmu/8000, pcma/8000"},
		{"encodings without clock", replace("opus/48000/2", "opus"), false, "", "name/clock"},
		{"two voices", func(s string) string { return s + s[strings.Index(s, "m=audio"):] }, false, "", "one session for each party"},
		{"no voice", replace("m=audio", "m=video"), false, "", "no audio section"},
		{"not encrypted", replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"), false, "", "must be UDP/TLS/RTP/SAVPF"},
		{"SDES keys", replace("UDP/TLS/RTP/SAVPF", "RTP/SAVP"), false, "", "keys from DTLS"},
		{"no keys", replace("a=fingerprint", "a=finger"), false, "", "a=fingerprint"},
		{"no ICE", replace("a=ice-pwd", "a=ice-pw"), false, "", "a=ice-ufrag and a=ice-pwd"},
		{"short password", replace("P2uYro0UCOQ4zxjKXaWCBui1", "short"), false, "", "22 to 256"},
		{"odd password", replace("P2uYro0UCOQ4zxjKXaWCBui1", "P2uYro0UCOQ4 xjKXaWCBui1"), false, "", "character at 13"},
		{"two ports", replace("a=rtcp-mux\r\n", ""), false, "", "a=rtcp-mux"},
		{"listening", replace("a=sendonly", "a=inactive"), false, "", "only takes audio"},
		{"no description", func(string) string { return `{"type":"offer"}` }, false, "", "line 1"},
		{"a line without value", replace("s=-", "s"), false, "", "line 3"},
		{"control characters", replace("s=-", "s=\x00"), false, "", "line 3 has control"},
		{"short m-line", replace("UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126", ""), false, "", "an m= line"},
		{"odd format", replace("SAVPF 111", "SAVPF x"), false, "", "no payload type"},
		{"odd source", replace("a=ssrc:2231627014 cname", "a=ssrc:x cname"), false, "", "a=ssrc:x"},
		{"too many sections", func(s string) string { return s + strings.Repeat("m=video 0 UDP/TLS/RTP/SAVPF 96\r\n", 8) }, false, "", "more than 8 media sections"},
		{"too many formats", replace("SAVPF", "SAVPF"+strings.Repeat(" 0", 60)), false, "", "more than 64 formats"},
		{"too many candidates", func(s string) string {
			return s + strings.Repeat("a=candidate:1 1 udp 1 127.0.0.1 1 typ host\r\n", 51)
		}, false, "", "at most 50"},
		{"too many lines", func(s string) string { return s + strings.Repeat("a=x\r\n", 2000) }, false, "", "more than 2000 lines"},
		{"too long", func(s string) string { return s + strings.Repeat("a=x\r\n", 20000) }, false, "", "more than 65536"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := offer
			if c.edit != nil {
				if text = c.edit(offer); text == offer {
					t.Fatal("the edit changes nothing")
				}
			}
			opts := options()
			opts.Redundancy = c.red
			o, err := ParseOffer([]byte(text), opts)
			if c.fail != "" {
				if err == nil || !strings.Contains(err.Error(), c.fail) || errors.Is(err, ErrMalformed) == errors.Is(err, ErrUnacceptable) {
					t.Errorf("error %v, want one with %q", err, c.fail)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range o.Chosen() {
				got = append(got, fmt.Sprintf("%d %v", f.PayloadType, f))
			}
			if strings.Join(got, ", ") != c.chosen {
				t.Errorf("chosen %v", got)
			}
		})
	}
}

func replace(old, by string) func(string) string {
	return func(s string) string { return strings.ReplaceAll(s, old, by) }
}

func TestAnswerOfAPeer(t *testing.T) {
	o, err := ParseOffer(read(t, "chromium.sdp"), options())
	if err != nil {
		t.Fatal(err)
	}
	for name, peer := range map[string]string{
		"nothing":       "",
		"no section":    "v=0\r\ns=-\r\n",
		"a refused one": strings.Replace(peerAnswer, "m=audio 9", "m=audio 0", 1),
	} {
		if a, err := o.Answer(peer); err == nil {
			t.Errorf("%s: %s", name, a)
		}
	}
	if o.Passive() || o.Candidates() != 1 {
		t.Errorf("passive %v, %d candidates: TCP ones are no use", o.Passive(), o.Candidates())
	}
}

const trickle = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n" +
	"a=candidate:1 1 udp 2113937151 127.0.0.1 50012 typ host\r\na=candidate:2 1 tcp 1518149375 127.0.0.1 9 typ host tcptype active\r\n" +
	"a=candidate:3 1 udp 2113937151 6a1c.local 50013 typ host\r\na=end-of-candidates\r\n"

func TestFragment(t *testing.T) {
	f, err := ParseFragment([]byte(trickle))
	if err != nil {
		t.Fatal(err)
	}
	if f.Ufrag != "EsAw" || f.Password != "P2uYro0UCOQ4zxjKXaWCBui1" || f.Mid != "0" || !f.Complete || f.Lite || f.Count != 3 || len(f.Candidates) != 1 {
		t.Errorf("fragment %+v", f)
	}
	again, err := ParseFragment([]byte(f.String()))
	if err != nil || again.String() != f.String() || again.Count != 1 {
		t.Errorf("written and read again: %+v, %v", again, err)
	}
	o, err := ParseOffer(read(t, "chromium.sdp"), options())
	if err != nil {
		t.Fatal(err)
	}
	restart := &Fragment{Ufrag: "new1", Password: "newnewnewnewnewnewnewnew", Candidates: []string{"9 1 udp 1 127.0.0.1 5 typ host"}}
	text := o.Restarted(restart)
	if !strings.Contains(text, "a=ice-ufrag:new1\r\na=ice-pwd:newnewnewnewnewnewnewnew\r\n") || strings.Contains(text, "EsAw") || strings.Contains(text, "50012") || !strings.Contains(text, " 127.0.0.1 5 ") {
		t.Errorf("restart %s", text)
	}
	ours, err := o.Fragment(peerAnswer)
	if err != nil {
		t.Fatal(err)
	}
	want := "a=ice-lite\r\na=ice-options:trickle\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=ice-ufrag:ours\r\na=ice-pwd:oursoursoursoursoursours\r\n" +
		"a=candidate:1 1 udp 2130706431 127.0.0.1 40000 typ host\r\na=end-of-candidates\r\n"
	if ours.String() != want {
		t.Errorf("ours\n%s", ours)
	}
	for bad, says := range map[string]string{
		"v=0\r\n":                               "line 1 is neither",
		"a=mid:0\r\nhello":                      "line 2 is neither",
		"a=mid:\x01":                            "line 1 has control",
		"a=ice-ufrag:EsAw\r\n":                  "come together",
		"a=ice-ufrag:Es\r\na=ice-pwd:x":         "4 to 256",
		"a=ice-ufrag:EsAw\r\na=ice-ufrag:Other": "line 2 has another",
		strings.Repeat("a=x\r\n", 1+16<<10/5):   "more than 16384",
	} {
		if f, err := ParseFragment([]byte(bad)); err == nil || !strings.Contains(err.Error(), says) || !errors.Is(err, ErrMalformed) {
			t.Errorf("%.40q: %+v, %v; want %q", bad, f, err, says)
		}
	}
}

// TestMutations spoils good bodies: each is read or refused in words.
func TestMutations(t *testing.T) {
	rng := rand.New(rand.NewPCG(9725, 8840))
	bodies := [][]byte{read(t, "chromium.sdp"), read(t, "firefox.sdp"), read(t, "gateway.sdp"), read(t, "bundle.sdp"), []byte(trickle)}
	refused := 0
	for range 1000 {
		b := append([]byte{}, bodies[rng.IntN(len(bodies))]...)
		for range 1 + rng.IntN(8) {
			at := rng.IntN(len(b))
			switch rng.IntN(4) {
			case 0:
				b[at] = byte(rng.IntN(256))
			case 1:
				b = append(b[:at], b[min(len(b), at+1+rng.IntN(20)):]...)
			case 2:
				b = append(b[:at], append(append([]byte{}, b[at:min(len(b), at+40)]...), b[at:]...)...)
			case 3:
				b[at] = "\r\n=:/ "[rng.IntN(6)]
			}
			if len(b) == 0 {
				b = []byte{0}
			}
		}
		_, err1 := ParseOffer(b, options())
		_, err2 := ParseFragment(b)
		for _, err := range []error{err1, err2} {
			if err == nil {
				continue
			}
			refused++
			if len(err.Error()) < 20 || len(err.Error()) > 300 {
				t.Errorf("%q says too little or too much", err)
			}
		}
	}
	if refused < 500 {
		t.Errorf("only %d were refused", refused)
	}
}

func FuzzFragment(f *testing.F) {
	f.Add([]byte(trickle))
	f.Add([]byte("a=end-of-candidates"))
	f.Add([]byte("m=audio 9 UDP/TLS/RTP/SAVPF 0\na=mid:0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseFragment(b)
		if err != nil {
			return
		}
		again, err := ParseFragment([]byte(p.String()))
		if len(p.String()) > MaxFragment {
			return
		}
		if err != nil || again.Ufrag != p.Ufrag || len(again.Candidates) != len(p.Candidates) {
			t.Errorf("%q is written as %q: %v", b, p, err)
		}
	})
}

func FuzzOffer(f *testing.F) {
	for _, name := range []string{"chromium.sdp", "firefox.sdp", "gateway.sdp", "bundle.sdp"} {
		f.Add(read(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := ParseOffer(b, options())
		if err != nil {
			return
		}
		if _, err := ParseOffer([]byte(o.Reduced()), options()); err != nil {
			t.Errorf("%q is reduced to %q: %v", b, o.Reduced(), err)
		}
		if _, err := o.Answer(peerAnswer); err != nil {
			t.Error(err)
		}
	})
}
