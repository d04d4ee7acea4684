package bridge

import (
	"bytes"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"

	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/g711"
	"sidetone/media/g722"
)

// TestLatching is the policy of who is the leg's source.
func TestLatching(t *testing.T) {
	elsewhere := netip.MustParseAddrPort("127.0.0.9:41000")
	for _, c := range []struct {
		name string
		edit func(*Config)
		// between happens after a second of the first source, to which the first
		// source falls silent for a while.
		between func(l *Leg, now time.Time)
		silent  time.Duration
		from    netip.AddrPort
		want    bool
	}{
		{name: "R12 another source while the first is live", from: there},
		{name: "R12 another source after 1.9 s of silence", silent: 1900 * time.Millisecond, from: there},
		{name: "R12 another source after 2 s of silence", silent: 2 * time.Second, from: there, want: true},
		{name: "announced", between: func(l *Leg, now time.Time) { l.Relatch(there, now) }, from: there, want: true},
		{name: "announced with any port", between: func(l *Leg, now time.Time) { l.Relatch(netip.AddrPortFrom(there.Addr(), 0), now) }, from: there, want: true},
		{name: "announced without an address", between: func(l *Leg, now time.Time) { l.Relatch(netip.AddrPort{}, now) }, from: there, want: true},
		{name: "another than was announced", between: func(l *Leg, now time.Time) { l.Relatch(there, now) }, from: elsewhere},
		{name: "announced too long ago", between: func(l *Leg, now time.Time) { l.Relatch(there, now.Add(-expectFor)) }, from: there},
		{name: "strict, from an address that may send", edit: func(c *Config) { c.Sources = []netip.Addr{here.Addr(), elsewhere.Addr()} }, silent: 3 * time.Second, from: elsewhere, want: true},
		{name: "strict, from another", edit: func(c *Config) { c.Sources = []netip.Addr{here.Addr()} }, silent: 3 * time.Second, from: elsewhere},
		{name: "strict later", between: func(l *Leg, _ time.Time) { l.SetSources([]netip.Addr{here.Addr()}) }, silent: 3 * time.Second, from: elsewhere},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &recorder{t: t}
			cfg := Config{Sink: r, Payloads: []Payload{{Codec: newCodec(t, g711.MuLaw), Clock: g711.Rate}}}
			if c.edit != nil {
				c.edit(&cfg)
			}
			leg, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			k := &clock{leg, epoch}
			s := newSender(t, g711.MuLaw)
			k.play(s, 50)
			if c.between != nil {
				c.between(leg, k.now)
			}
			// The last packet came 20 ms ago.
			k.pass(max(0, c.silent-20*time.Millisecond))
			other := newSender(t, g711.MuLaw)
			other.ssrc = 99
			leg.Push(other.packet(nil), c.from, k.now)
			from, ssrc, ok := leg.Source()
			if !ok || (from == c.from && ssrc == 99) != c.want {
				t.Errorf("the source is %v, %d; taken over was to be %t", from, ssrc, c.want)
			}
			if st := leg.Stats(); (st.SSRCChanges == 1) != c.want || (st.Foreign == 1) == c.want {
				t.Errorf("stats %+v", st)
			}
			// Whoever is announced takes over once; then the door is shut.
			k.pass(20 * time.Millisecond)
			third := newSender(t, g711.MuLaw)
			third.ssrc = 100
			leg.Push(third.packet(nil), netip.AddrPortFrom(c.from.Addr(), 50000), k.now)
			if _, now, _ := leg.Source(); c.want && now == 100 {
				t.Error("a third source took over behind it")
			}
		})
	}
}

// TestAuthentic: SRTP proves a source wherever it sends from.
func TestAuthentic(t *testing.T) {
	r := &recorder{t: t}
	leg, err := New(Config{
		Sink: r, Payloads: []Payload{{Codec: newCodec(t, g711.MuLaw), Clock: g711.Rate}}, Sources: []netip.Addr{here.Addr()},
	})
	if err != nil {
		t.Fatal(err)
	}
	now := epoch
	s := newSender(t, g711.MuLaw)
	push := func(b []byte, from netip.AddrPort) {
		leg.PushAuthentic(b, from, now)
		now = now.Add(20 * time.Millisecond)
		leg.Tick(now)
	}
	for range 20 {
		push(s.packet(nil), here)
	}
	moved := netip.MustParseAddrPort("192.0.2.7:1000")
	for range 20 {
		push(s.packet(nil), moved)
	}
	if from, _, _ := leg.Source(); from != moved || len(r.marks) != 1 || leg.Stats().Lost != 0 {
		t.Errorf("source %v, marks %+v", from, r.marks)
	}
	leg.Push(s.packet(nil), here, now)
	if leg.Stats().Foreign != 1 {
		t.Error("a packet that is not authentic was taken from where the source was before")
	}
	s.rewind()
	// Another authentic source takes over with its third packet, from anywhere.
	other := newSender(t, g711.MuLaw)
	other.ssrc = 5
	for range 3 {
		push(other.packet(nil), netip.MustParseAddrPort("192.0.2.8:1"))
	}
	if _, ssrc, _ := leg.Source(); ssrc != 5 {
		t.Errorf("the source is %d", ssrc)
	}
}

// TestAlignment is R13: the reports of both senders lay the legs side by side.
func TestAlignment(t *testing.T) {
	// Both hear the same clock; the second began 730 ms later, over a network
	// that is 150 ms slower, and its first packet took 60 ms more.
	late, slow, first := 730*time.Millisecond, 150*time.Millisecond, 60*time.Millisecond
	origin := time.Date(2044, 1, 1, 0, 0, 0, 123456789, time.UTC) // the senders' clocks are wrong
	var stats [2]media.LegStats
	for i := range stats {
		leg := newLeg(t, &recorder{t: t}, g711.MuLaw)
		s := newSender(t, g711.MuLaw)
		begin := s.ts
		now := epoch
		if i == 1 {
			now = now.Add(late + slow)
		}
		for n := range 200 {
			at := now
			if n == 0 && i == 1 {
				at = now.Add(first)
			}
			leg.Push(s.packet(nil), here, at)
			now = now.Add(20 * time.Millisecond)
			leg.Tick(now)
			if n == 150 {
				wall := origin.Add(5 * time.Second)
				if i == 1 {
					wall = wall.Add(late)
				}
				leg.Control(Control{RTCP: 1, Wall: wall, SSRC: s.ssrc, Stamp: begin + 5*8000})
				leg.Control(Control{RTCP: 1, Wall: wall.Add(time.Hour), SSRC: s.ssrc + 1, Stamp: begin})
			}
		}
		stats[i] = leg.Stats()
	}
	if off := stats[1].Origin.Sub(stats[0].Origin) - late; off < -20*time.Millisecond || off > 20*time.Millisecond {
		t.Errorf("R13: the legs are %v apart, want %v", off+late, late)
	}
	if stats[0].RTCP != 2 {
		t.Errorf("stats %+v", stats[0])
	}
}

func TestSetPayloads(t *testing.T) {
	r := &recorder{t: t}
	k := &clock{newLeg(t, r, g711.MuLaw), epoch}
	s := newSender(t, g711.MuLaw)
	k.play(s, 50)
	before := k.leg.String()
	wide := g722.NewDecoder()
	for _, c := range []struct {
		name     string
		payloads []Payload
		events   []uint8
		err      string
	}{
		{"none", nil, nil, "needs a codec"},
		{"one twice", []Payload{{Type: 8, Codec: newCodec(t, g711.ALaw), Clock: 8000}, {Type: 8, Codec: newCodec(t, g711.ALaw), Clock: 8000}}, nil, "two codecs"},
		{"a clock of zero", []Payload{{Type: 8, Codec: newCodec(t, g711.ALaw)}}, nil, "payload type 8"},
		{"events on audio", []Payload{{Type: 8, Codec: newCodec(t, g711.ALaw), Clock: 8000}}, []uint8{8}, "taken"},
	} {
		if err := k.leg.SetPayloads(c.payloads, c.events); err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, want %q", c.name, err, c.err)
		}
		if k.leg.String() != before {
			t.Fatalf("%s: refused, and yet the path is %v", c.name, k.leg)
		}
	}
	k.play(s, 50)
	// The same description again must not be heard, nor one that adds to it.
	if err := k.leg.SetPayloads([]Payload{{Codec: newCodec(t, g711.MuLaw), Clock: 8000}}, nil); err != nil {
		t.Fatal(err)
	}
	k.play(s, 50)
	if err := k.leg.SetPayloads([]Payload{
		{Type: 9, Codec: wide, Clock: g722.Clock}, {Codec: newCodec(t, g711.MuLaw), Clock: 8000},
	}, []uint8{100}); err != nil {
		t.Fatal(err)
	}
	k.play(s, 50)
	if len(r.samples) != 4*pcm.Rate || r.frames(pcm.Lost|pcm.Inserted) != 0 {
		t.Errorf("%d samples, %d frames made up", len(r.samples), r.frames(pcm.Lost|pcm.Inserted))
	}
	if got := snr(r.samples[320:], pcm.Rate, 440); got < 35 {
		t.Errorf("SNR %.1f dB over the changes", got)
	}
	// An event of the new type is one, of the old type not.
	k.leg.Push(s.other(100, 5, 0x80, 0, 160), here, k.now)
	k.leg.Push(s.other(101, 6, 0x80, 0, 160), here, k.now)
	if n := len(r.marks); r.marks[n-1].Digit != '5' || k.leg.Stats().Invalid != 1 {
		t.Errorf("marks %+v, stats %+v", r.marks, k.leg.Stats())
	}
	// What is no longer agreed on is not heard.
	if err := k.leg.SetPayloads([]Payload{{Type: 9, Codec: wide, Clock: g722.Clock}}, nil); err != nil {
		t.Fatal(err)
	}
	k.leg.Push(s.packet(nil), here, k.now)
	if k.leg.Stats().Invalid != 2 {
		t.Errorf("stats %+v", k.leg.Stats())
	}
	k.leg.Push(s.packet(func(p *rtp.Packet) { p.PayloadType, p.Payload = 9, bytes.Repeat([]byte{0x55}, 160) }), here, k.now)
	if st := k.leg.Stats(); st.Invalid != 2 || k.leg.payload.Type != 9 {
		t.Errorf("stats %+v after G.722", st)
	}
}

// TestQuality checks what is measured besides.
func TestQuality(t *testing.T) {
	r := &recorder{t: t}
	k := &clock{newLeg(t, r, g711.MuLaw), epoch}
	s := newSender(t, g711.MuLaw)
	k.play(s, 100)
	s.wait(700 * time.Millisecond)
	k.pass(700 * time.Millisecond)
	k.play(s, 3500)
	k.leg.End(media.End{At: k.now})
	q := r.quality
	if want := 20 * math.Log10(10000/32768.0/math.Sqrt2); math.Abs(q.Level-want) > 0.1 || math.Abs(q.Peak-want-3.01) > 0.2 || q.Clipped != 0 {
		t.Errorf("level %.2f, peak %.2f, %d clipped; want a level of %.2f", q.Level, q.Peak, q.Clipped, want)
	}
	if q.LongestGap != 720*time.Millisecond || !q.SkewKnown || math.Abs(q.Skew) > 1 {
		t.Errorf("gap %v, skew %.1f ppm, known %t", q.LongestGap, q.Skew, q.SkewKnown)
	}
	if q.Frames != uint64(len(r.flags)) || q.SpeechFrames != 3600 {
		t.Errorf("%d frames, %d of speech, of %d", q.Frames, q.SpeechFrames, len(r.flags))
	}
}
