package audiohook

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/feed"
	"sidetone/media/fork/audiohook/httpsig"
	"sidetone/media/g711"
)

func TestChoose(t *testing.T) {
	extra := `{ "type":"audio","format":"PCMU","channels":["external","internal"],"rate":8000,"x":{"y":[1, 2]} }`
	cases := []struct {
		name   string
		offers []string
		want   int // -1: none, -2: a mistake
	}{
		{"G4 the first of equals", []string{both, inverted}, 0},
		{"G4 the client's order", []string{inverted, both}, 0},
		{"G4 unknown fields", []string{extra}, 0},
		{"both parties before one", []string{external, internal, both}, 2},
		{"PCMU before L16", []string{linear, both}, 1},
		{"L16 with both before PCMU with one", []string{external, linear}, 1},
		{"only L16", []string{linear}, 0},
		{"typical", []string{both, external, internal}, 0},
		{"one channel", []string{internal, external}, 0},
		{"none offered", nil, -1},
		{"other rate", []string{strings.Replace(both, "8000", "16000", 1), external}, 1},
		{"other format", []string{strings.Replace(both, "PCMU", "OPUS", 1)}, -2},
		{"other type", []string{strings.Replace(both, `"audio"`, `"video"`, 1)}, -2},
		{"a channel twice", []string{strings.Replace(both, "internal", "external", 1)}, -2},
		{"another channel", []string{strings.Replace(both, "internal", "music", 1), strings.Replace(external, "external", "music", 1)}, -2},
		{"no channels", []string{`{"type":"audio","format":"PCMU","channels":[],"rate":8000}`}, -2},
		{"three channels", []string{strings.Replace(both, `"internal"`, `"internal","external"`, 1)}, -2},
		{"no objects", []string{`1`, `"audio"`, `null`, `[]`}, -2},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t, nil)
			got := p.send("open", openParams(conversationID, "", c.offers...))
			if c.want == -2 {
				want(t, got, "disconnect error")
				return
			}
			want(t, got, "opened")
			media := got[0].Parameters.Media
			if c.want == -1 {
				if len(media) != 0 {
					t.Errorf("chosen: %s", media)
				}
				return
			}
			// The writer of JSON leaves out spaces; nothing else may change.
			if len(media) != 1 || string(media[0]) != compact(t, c.offers[c.want]) {
				t.Errorf("chosen: %s, want %s", media, c.offers[c.want])
			}
		})
	}
}

func compact(t *testing.T, s string) string {
	t.Helper()
	var b strings.Builder
	for _, part := range strings.Fields(s) {
		b.WriteString(part)
	}
	if !json.Valid([]byte(b.String())) {
		t.Fatalf("not JSON: %s", s)
	}
	return b.String()
}

// TestChannels: each channel's sound lands on its own leg, in whatever order the
// channels stand.
func TestChannels(t *testing.T) {
	sixteen := func(a, b int16) []byte {
		x := binary.BigEndian.AppendUint16(nil, uint16(a))
		return binary.BigEndian.AppendUint16(x, uint16(b))
	}
	cases := []struct {
		name, offer string
		audio       []byte // external is loud and positive, internal negative
		legs        []string
	}{
		{"G5 both", both, []byte{high, low}, []string{"external", "internal"}},
		{"G5 inverted", inverted, []byte{low, high}, []string{"external", "internal"}},
		{"external only", external, []byte{high}, []string{"external"}},
		{"internal only", internal, []byte{low}, []string{"internal"}},
		{"L16", linear, sixteen(30000, -30000), []string{"external", "internal"}},
		{"L16 inverted", strings.Replace(inverted, "PCMU", "L16", 1), sixteen(-30000, 30000), []string{"external", "internal"}},
		{"L16 external only", strings.Replace(external, "PCMU", "L16", 1), sixteen(30000, 0)[:2], []string{"external"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := opened(t, c.offer)
			want(t, p.audio(tone(500*time.Millisecond, c.audio...)))
			legs := p.host.only().legs
			if len(legs) != len(c.legs) {
				t.Fatalf("%d legs, want %d", len(legs), len(c.legs))
			}
			for _, id := range c.legs {
				leg := p.host.only().leg(id)
				if len(leg.frames) != 25 {
					t.Fatalf("%s: %d frames, want 25", id, len(leg.frames))
				}
				if v := leg.heard(20); (id == "external") != (v > 25000) || (id == "internal") != (v < -25000) {
					t.Errorf("%s hears %d", id, v)
				}
			}
		})
	}
}

// TestInterleaving compares the legs with ones that get their samples one by
// one, for messages of any length.
func TestInterleaving(t *testing.T) {
	codec, err := g711.New(g711.MuLaw)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(5, 3))
	p := opened(t, inverted)
	var naive [2]*feed.Leg
	var sinks [2]*sink
	for i := range naive {
		sinks[i] = &sink{c: p.host.only()}
		if naive[i], err = feed.New(feed.Config{Sink: sinks[i], Rate: rate}); err != nil {
			t.Fatal(err)
		}
	}
	for range 200 {
		message := make([]byte, 2*rnd.IntN(2000))
		for i := range message {
			message[i] = byte(rnd.Uint32())
			var x [1]int16
			if _, err := codec.Decode(x[:], message[i:i+1]); err != nil {
				t.Fatal(err)
			}
			naive[i%2].Append(x[:], p.now)
		}
		want(t, p.audio(message))
	}
	for i, id := range []string{"internal", "external"} {
		if got := p.host.only().leg(id).frames; len(got) < 100 || !slices.Equal(got, sinks[i].frames) {
			t.Errorf("%s: %d frames differ from %d", id, len(got), len(sinks[i].frames))
		}
	}
}

func TestBrokenAudio(t *testing.T) {
	for _, c := range []struct {
		name, offer string
		bytes       int
		broken      bool
	}{
		{"G13 odd length for two channels", both, 3, true},
		{"G13 odd length for L16", strings.Replace(external, "PCMU", "L16", 1), 3, true},
		{"G13 half a sample of two channels in L16", linear, 6, true},
		{"odd length for one channel", external, 3, false},
		{"empty", both, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := opened(t, c.offer)
			got := p.audio(make([]byte, c.bytes))
			if !c.broken {
				want(t, got)
				return
			}
			want(t, got, "disconnect error")
			if !strings.Contains(got[0].Parameters.Info, fmt.Sprintf("%d bytes", c.bytes)) {
				t.Errorf("info %q", got[0].Parameters.Info)
			}
			p.ended(media.Aborted, "no whole samples")
			want(t, p.audio(make([]byte, c.bytes)))
		})
	}
	t.Run("audio before open", func(t *testing.T) {
		want(t, newPeer(t, nil).audio([]byte{1, 2}), "disconnect error")
	})
	t.Run("audio in a pause is taken", func(t *testing.T) {
		p := opened(t, both)
		p.send("paused", "{}")
		want(t, p.audio(tone(time.Second, high, low)))
		if n := len(p.host.only().leg("external").frames); n != 50 {
			t.Errorf("%d frames, want 50", n)
		}
	})
	t.Run("longer than two days", func(t *testing.T) {
		p := opened(t, both)
		p.position = "PT172799S"
		want(t, p.send("discarded", `{"start":"PT0S","discarded":"PT172799S"}`))
		want(t, p.audio(tone(2*time.Second, high, low)), "disconnect error")
	})
}

// TestByteOrder: a sound of the wrong byte order is told, and read rightly where
// the configuration says so.
func TestByteOrder(t *testing.T) {
	var message []byte
	for i := range 2 * rate {
		x := uint16(int16(12000 * math.Sin(2*math.Pi*300*float64(i)/rate)))
		message = binary.LittleEndian.AppendUint16(message, x)
	}
	offer := strings.Replace(external, "PCMU", "L16", 1)
	for _, little := range []bool{false, true} {
		p := newPeer(t, func(c *Config, _ *host, _ *httpsig.Request) { c.LittleEndian = little }).open(offer)
		want(t, p.audio(message))
		if told := strings.Contains(p.log.String(), "change LittleEndian"); told == little {
			t.Errorf("little endian %v: told %v", little, told)
		}
		loudest := int16(0)
		for _, x := range p.host.only().leg("external").frames[20].Samples {
			loudest = max(loudest, x)
		}
		if right := loudest > 11000 && loudest < 13000; right != little {
			t.Errorf("little endian %v: the loudest sample is %d", little, loudest)
		}
	}
}

func TestBinaryAllocatesNothing(t *testing.T) {
	for _, offer := range []string{both, linear} {
		p := opened(t, offer)
		for _, l := range p.host.only().legs {
			l.frames = make([]pcm.Frame, 0, 10000)
		}
		message := tone(100*time.Millisecond, high, low, high, low)[:1600]
		if n := testing.AllocsPerRun(200, func() {
			p.now = p.now.Add(100 * time.Millisecond)
			if p.s.Binary(message, p.now) != nil || p.s.Tick(p.now) != nil {
				t.Fatal("refused")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations a message", offer, n)
		}
	}
}

// silent is a sink that does nothing.
type silent struct{}

func (silent) Frame(*pcm.Frame)              {}
func (silent) Mark(media.Mark)               {}
func (silent) End(media.End, media.LegStats) {}

// silentHost is a host whose calls do nothing.
type silentHost struct{}

func (silentHost) Open(media.Call, func(media.End)) (media.CallSink, error) { return silentHost{}, nil }
func (silentHost) AddLeg(media.Leg) (media.LegSink, error)                  { return silent{}, nil }
func (silentHost) UpdateLeg(media.Leg)                                      {}
func (silentHost) Pause(string)                                             {}
func (silentHost) Resume(string)                                            {}
func (silentHost) Describe(map[string]string)                               {}
func (silentHost) End(media.End)                                            {}

// BenchmarkBinary takes 100 ms of two channels in PCMU.
func BenchmarkBinary(b *testing.B) {
	p := newPeer(b, func(c *Config, _ *host, _ *httpsig.Request) { c.Host = silentHost{} }).open(both)
	message := tone(100*time.Millisecond, high, low)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%1_000_000 == 999_999 { // a stream has an end
			p.s.at, p.s.base = 0, 0
		}
		if err := p.s.Binary(message, p.now); err != nil || p.s.state != active {
			b.Fatal("refused")
		}
	}
}
