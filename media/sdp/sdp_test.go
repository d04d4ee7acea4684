package sdp_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sidetone/media/sdp"
)

const head = "v=0\r\no=src 71 3 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n"

// offers are the offers that tests mutate and fuzz.
var offers = []string{
	head + "m=audio 24100 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=label:1\r\na=sendonly\r\n" +
		"m=audio 24102 RTP/AVP 8 0 101\r\na=label:2\r\na=sendonly\r\n",
	"v=0\no=- 1 1 IN IP6 2001:db8::9\ns=-\nt=0 0\nm=audio 4000 RTP/AVP 9 18 111 13 101\nc=IN IP6 2001:db8::7\na=rtpmap:111 opus/48000/2\na=fmtp:111 useinbandfec=1\na=rtpmap:101 telephone-event/48000\na=rtcp-mux\na=rtcp:4001 IN IP6 ::1\na=mid:0\nm=video 0 RTP/AVP 98\na=inactive",
	head + "a=sendonly\r\na=3gOoBTC\r\nm=audio 24100/2 RTP/SAVP 0\r\na=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNk|2^31|1:1\r\na=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNk\r\na=record:on\r\na=maxptime:150\r\n",
	"m=audio 1 RTP/AVP 0",
}

func parse(tb testing.TB, s string) *sdp.Session {
	tb.Helper()
	p, err := sdp.Parse([]byte(s))
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func TestParse(t *testing.T) {
	s := parse(t, offers[0])
	if s.Origin != (sdp.Origin{User: "src", ID: 71, Version: 3, Addr: "198.51.100.7"}) || s.Name != "-" || len(s.Media) != 2 {
		t.Errorf("%+v", s)
	}
	want := sdp.Media{
		Kind: "audio", Port: 24100, Proto: "RTP/AVP", Formats: []string{"8", "0", "101"}, Addr: "198.51.100.7",
		Codecs: []sdp.Codec{
			{PayloadType: 8, Name: "PCMA", Clock: 8000, Channels: 1}, {PayloadType: 0, Name: "PCMU", Clock: 8000, Channels: 1},
			{PayloadType: 101, Name: "telephone-event", Clock: 8000, Channels: 1, Params: "0-15"},
		},
		Direction: sdp.SendOnly, Label: "1", Ptime: 20,
	}
	if !reflect.DeepEqual(s.Media[0], want) {
		t.Errorf("got  %+v\nwant %+v", s.Media[0], want)
	}
	// A static type needs no rtpmap; a dynamic one without it stands for nothing.
	if c := s.Media[1].Codecs; c[0].Name != "PCMA" || c[2].Name != "" {
		t.Errorf("1.3.5: %+v", c)
	}

	s = parse(t, offers[1])
	if m := s.Media[0]; m.Addr != "2001:db8::7" || !m.RTCPMux || m.RTCPPort != 4001 || m.MID != "0" || m.Codecs[2].Channels != 2 || m.Codecs[2].Params != "useinbandfec=1" || m.Codecs[2].Clock != 48000 {
		t.Errorf("1.11.20: %+v", m)
	}
	if m := s.Media[1]; m.Port != 0 || m.Direction != sdp.Inactive || m.Kind != "video" || m.Addr != "" {
		t.Errorf("1.3.13, the last line without an end: %+v", m)
	}

	s = parse(t, offers[2])
	if m := s.Media[0]; m.Direction != sdp.SendOnly || m.Port != 24100 || len(m.Crypto) != 2 || !strings.HasPrefix(m.Crypto[0], "7 AES_CM_128") {
		t.Errorf("%+v", m)
	}
	if !(&sdp.Media{Addr: "0.0.0.0", Direction: sdp.SendOnly}).Held() || (&sdp.Media{Addr: "192.0.2.1"}).Held() || !(&sdp.Media{Direction: sdp.RecvOnly}).Held() {
		t.Error("Held")
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"empty", "", "no m= line"},
		{"no media", head, "no m= line"},
		{"no SDP", "hello", "want a letter"},
		{"port", head + "m=audio 70000 RTP/AVP 0", "is no port"},
		{"word for port", head + "m=audio x RTP/AVP 0", "is no port"},
		{"short m-line", head + "m=audio 4000", "want kind, port"},
		{"many lines", head + strings.Repeat("m=audio 4000 RTP/AVP 0\r\n", 33), "more than 32 m= lines"},
		{"many formats", head + "m=audio 4000 RTP/AVP" + strings.Repeat(" 0", 65), "65 formats"},
		{"many keys", head + "m=audio 4000 RTP/SAVP 0\r\n" + strings.Repeat("a=crypto:1 X inline:SECRET\r\n", 65), "a=crypto lines"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if s, err := sdp.Parse([]byte(c.in)); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "SECRET") {
				t.Errorf("%+v, %v; want an error with %q", s, err, c.want)
			}
		})
	}
	if _, err := sdp.Parse(make([]byte, sdp.MaxSize+1)); !errors.Is(err, sdp.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

func g711(c sdp.Codec) bool { return c.Is("PCMA") || c.Is("PCMU") }

func TestSelect(t *testing.T) {
	m := parse(t, head+"m=audio 4000 RTP/AVP 18 8 0 13 100 101\r\na=rtpmap:100 telephone-event/48000\r\na=rtpmap:101 Telephone-Event/8000").Media[0]
	s, ok := sdp.Select(&m, g711, 1)
	if !ok || len(s.Audio) != 1 || s.Audio[0].PayloadType != 8 || s.Event.PayloadType != 101 || s.Noise.PayloadType != 13 {
		t.Errorf("%+v, %t", s, ok)
	}
	if s, _ := sdp.Select(&m, g711, 0); len(s.Codecs()) != 4 {
		t.Errorf("all that can be decoded: %+v", s)
	}
	if _, ok := sdp.Select(&m, func(sdp.Codec) bool { return false }, 0); ok {
		t.Error("a codec was taken that cannot be decoded")
	}
}

func TestAnswer(t *testing.T) {
	local := sdp.Local{ID: 9001, Version: 1, Addr: netip.MustParseAddr("203.0.113.20")}
	offer := parse(t, head+
		"m=audio 24100 RTP/AVP 8 0 96\r\na=rtpmap:96 telephone-event/8000\r\na=fmtp:96 0-15\r\na=label:16777227\r\na=sendonly\r\n"+
		"m=video 24110 RTP/AVP 98\r\na=label:v\r\na=sendonly\r\n"+
		"m=audio 24102 RTP/SAVP 0\r\na=label:b\r\na=inactive\r\n"+
		"m=audio 24104 RTP/AVP 0\r\na=rtcp-mux\r\n"+
		"m=audio 24106 RTP/AVP 0\r\na=recvonly\r\n"+
		"m=audio 0 RTP/AVP 0\r\na=sendonly\r\n")
	choices := make([]sdp.Choice, 6)
	for i := range choices {
		sel, _ := sdp.Select(&offer.Media[i], g711, 1)
		choices[i] = sdp.Choice{Port: 40000 + 2*i, Selection: sel}
	}
	choices[1].Port = 0
	choices[2].Crypto = []string{"7 AES_CM_128_HMAC_SHA1_80 inline:abc"}
	a, err := sdp.Answer(offer, local, choices)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(`v=0
o=sidetone 9001 1 IN IP4 203.0.113.20
s=-
c=IN IP4 203.0.113.20
t=0 0
m=audio 40000 RTP/AVP 8 96
a=rtpmap:8 PCMA/8000
a=rtpmap:96 telephone-event/8000
a=fmtp:96 0-15
a=label:16777227
a=recvonly
m=video 0 RTP/AVP 98
m=audio 40004 RTP/SAVP 0
a=rtpmap:0 PCMU/8000
a=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:abc
a=label:b
a=inactive
m=audio 40006 RTP/AVP 0
a=rtpmap:0 PCMU/8000
a=rtcp-mux
a=recvonly
m=audio 40008 RTP/AVP 0
a=rtpmap:0 PCMU/8000
a=inactive
m=audio 0 RTP/AVP 0
`, "\n", "\r\n")
	if got := string(a.Append(nil)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// Our own parser reads what we write.
	if back := parse(t, want); len(back.Media) != 6 || !sdp.Same(back, a) {
		t.Error("the answer changes when it is read and written again")
	}
	b, err := sdp.Answer(offer, sdp.Local{ID: 9001, Version: 2, Addr: local.Addr}, choices)
	if err != nil || !sdp.Same(a, b) {
		t.Errorf("1.3.11: the same answer with another version is another one (%v)", err)
	}
	choices[0].Port++
	if b, _ = sdp.Answer(offer, local, choices); sdp.Same(a, b) || sdp.Same(a, nil) || !sdp.Same(nil, nil) {
		t.Error("1.3.11: another port is no change")
	}
	if _, err := sdp.Answer(offer, local, choices[:2]); err == nil {
		t.Error("1.3.1: an answer with fewer lines was built")
	}
}

func TestOffer(t *testing.T) {
	local := sdp.Local{ID: 1, Version: 1, Addr: netip.MustParseAddr("2001:db8::1")}
	s, err := sdp.Offer(local, []sdp.OfferLine{{Port: 4000, Label: "1\r\na=evil", Codecs: []sdp.Codec{{PayloadType: 111, Name: "opus", Clock: 48000, Channels: 2}}}})
	if err != nil {
		t.Fatal(err)
	}
	got := string(s.Append(nil))
	if !strings.Contains(got, "o=sidetone 1 1 IN IP6 2001:db8::1\r\n") || !strings.Contains(got, "a=rtpmap:111 opus/48000/2\r\n") || strings.Contains(got, "\r\na=evil") {
		t.Errorf("%q", got)
	}
	if _, err := sdp.Offer(local, nil); err == nil {
		t.Error("an offer of nothing")
	}
}

// TestMutations feeds 1,000 damaged offers: each is read, or refused with words
// that say why.
func TestMutations(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 866))
	refused := 0
	for i := range 1000 {
		b := []byte(offers[i%len(offers)])
		for range 1 + rng.IntN(6) {
			at := rng.IntN(len(b))
			switch rng.IntN(4) {
			case 0:
				b[at] = byte(rng.IntN(256))
			case 1:
				b = slices.Delete(b, at, min(len(b), at+1+rng.IntN(20)))
			case 2:
				b = slices.Insert(b, at, b[at:min(len(b), at+20)]...)
			default:
				b[at] ^= 1 << rng.IntN(8)
			}
			b = append(b, '\n')
		}
		if _, err := sdp.Parse(b); err != nil {
			refused++
			if !strings.HasPrefix(err.Error(), "sdp: ") || len(err.Error()) < 15 {
				t.Errorf("the refusal says little: %v", err)
			}
		}
	}
	if refused < 50 || refused > 950 {
		t.Errorf("%d of 1000 were refused: the mutations are too mild or too strong", refused)
	}
}

func FuzzParse(f *testing.F) {
	for _, o := range offers {
		f.Add([]byte(o))
	}
	local := sdp.Local{ID: 1, Version: 1, Addr: netip.MustParseAddr("192.0.2.1")}
	f.Fuzz(func(t *testing.T, b []byte) {
		offer, err := sdp.Parse(b)
		if err != nil {
			return
		}
		choices := make([]sdp.Choice, len(offer.Media))
		for i := range choices {
			if s, ok := sdp.Select(&offer.Media[i], g711, 0); ok {
				choices[i] = sdp.Choice{Port: 4000, Selection: s}
			}
		}
		answer, err := sdp.Answer(offer, local, choices)
		if err != nil {
			t.Fatal(err)
		}
		text := answer.Append(nil)
		if len(text) > sdp.MaxSize {
			return // the labels of an offer of that size
		}
		back, err := sdp.Parse(text)
		if err != nil {
			t.Fatalf("our answer is refused: %v\n%s", err, text)
		}
		if got, want := len(back.Media), len(offer.Media); got != want {
			t.Fatalf("%d m= lines for %d\n%s", got, want, text)
		}
		for i, m := range back.Media {
			if m.Port != 0 && m.Direction != sdp.RecvOnly && m.Direction != sdp.Inactive {
				t.Fatal(fmt.Sprint("we would send on line ", i, " ", m.Direction))
			}
		}
	})
}
