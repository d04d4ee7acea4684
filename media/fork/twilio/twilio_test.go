package twilio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/internal/pcm"
	"sidetone/internal/wav"
	"sidetone/media"
	"sidetone/media/fork"
	"sidetone/media/resample"
)

const (
	// ulawZero is silence, ulawLoud a constant of -32124, in mu-law.
	ulawZero = 0xFF
	ulawLoud = 0x00
)

func TestConfig(t *testing.T) {
	good := Config{Host: &host{}, Out: &wire{}, Log: slog.New(slog.DiscardHandler), Name: "x"}
	for name, spoil := range map[string]func(*Config){
		"host": func(c *Config) { c.Host = nil }, "writer": func(c *Config) { c.Out = nil }, "log": func(c *Config) { c.Log = nil },
		"name": func(c *Config) { c.Name = "" }, "timeout": func(c *Config) { c.StartTimeout = -1 }, "idle": func(c *Config) { c.IdleTimeout = -1 },
	} {
		c := good
		spoil(&c)
		if _, err := New(c, opened); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := New(good, opened); err != nil {
		t.Error(err)
	}
}

// wantClose checks that err closes the connection with a code, and why.
func wantClose(t *testing.T, err error, code int, why string) {
	t.Helper()
	if err == nil {
		t.Fatalf("taken; want close %d with %q", code, why)
	}
	if how := fork.CloseFor(err); how.Code != code || !strings.Contains(how.Reason, why) {
		t.Fatalf("got %v, want close %d with %q", how, code, why)
	}
}

func TestConformance(t *testing.T) {
	t.Run("T2 start first", func(t *testing.T) {
		r := newRig(t, nil)
		r.must(startBoth, chunkOf("inbound", 1, 0, ulawLoud))
		if len(r.host.calls) != 1 || len(r.host.legs["inbound"].frames) != 1 {
			t.Errorf("%d calls, %d frames", len(r.host.calls), len(r.host.legs["inbound"].frames))
		}
	})

	t.Run("T3 both tracks, roles by the leg parameter", func(t *testing.T) {
		for _, c := range []struct {
			leg               string
			inbound, outbound media.Role
		}{
			{"", media.RoleUnknown, media.RoleUnknown},
			{"customer", media.RoleCustomer, media.RoleAgent},
			{"agent", media.RoleAgent, media.RoleCustomer},
			{"supervisor", media.RoleUnknown, media.RoleUnknown},
		} {
			r := newRig(t, nil)
			r.must(hello, strings.Replace(startBoth, `"customParameters":{}`, `"customParameters":{"leg":"`+c.leg+`"}`, 1))
			r.must(chunkOf("inbound", 1, 0, ulawLoud), chunkOf("outbound", 1, 0, ulawZero))
			if len(r.host.legs) != 2 {
				t.Fatalf("leg=%q: %d legs", c.leg, len(r.host.legs))
			}
			for _, l := range r.host.legs {
				want, loud := c.inbound, true
				if l.leg.Label == outbound {
					want, loud = c.outbound, false
				}
				if l.leg.Role != want || (l.leg.RoleReason == "") != (want == media.RoleUnknown) {
					t.Errorf("leg=%q: the %s track is %v (%q), want %v", c.leg, l.leg.Label, l.leg.Role, l.leg.RoleReason, want)
				}
				if got := l.frames[0].Samples[200] != 0; got != loud {
					t.Errorf("leg=%q: the %s track has the other one's audio", c.leg, l.leg.Label)
				}
			}
			if warned := strings.Contains(r.log.String(), "supervisor"); warned != (c.leg == "supervisor") {
				t.Errorf("leg=%q: warned is %v", c.leg, warned)
			}
		}
	})

	t.Run("T4 mu-law as the reference decodes it", func(t *testing.T) {
		coded, err := os.ReadFile("testdata/speechlike.ulaw")
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.ReadFile("testdata/speechlike.wav")
		if err != nil {
			t.Fatal(err)
		}
		reference, err := wav.Decode(bytes.NewReader(f))
		if err != nil {
			t.Fatal(err)
		}
		r := newRig(t, nil)
		r.must(startOne)
		rates, err := resample.New(8000, pcm.Rate)
		if err != nil {
			t.Fatal(err)
		}
		var want []int16
		for i := 0; i+160 <= len(coded); i += 160 {
			r.must(mediaOf("inbound", i/160+1, int64(i/8), coded[i:i+160]))
			var frame [pcm.FrameSamples]int16
			rates.Process(frame[:], reference.Channels[0][i:i+160])
			want = append(want, frame[:]...)
		}
		if got := r.host.legs["inbound"].samples(t); !slices.Equal(got, want) {
			t.Errorf("%d samples differ from the reference's %d", len(got), len(want))
		}
	})

	t.Run("T5 a gap of the timestamps", func(t *testing.T) {
		r := newRig(t, nil)
		r.must(startOne)
		l := r.host.legs["inbound"]
		for i := range 5 {
			_ = r.wait(20 * time.Millisecond)
			r.must(chunkOf("inbound", i+1, 20*i, ulawLoud))
		}
		before := l.end()
		_ = r.wait(time.Second + 20*time.Millisecond)
		r.must(chunkOf("inbound", 6, 1100, ulawLoud))
		last := l.frames[len(l.frames)-1]
		if got := last.Start - before; got != pcm.Rate {
			t.Errorf("audio goes on %d samples later, want %d", got, pcm.Rate)
		}
		if last.Flags != 0 || last.Samples[300] == 0 {
			t.Error("the frame after the gap is not the audio")
		}
		l.samples(t) // the gap is filled with silence
	})

	t.Run("T6 stop then close", func(t *testing.T) {
		r := newRig(t, nil)
		r.must(startOne, chunkOf("inbound", 1, 0, ulawLoud), stop)
		if err := r.wait(lingering + time.Second); err != nil || len(r.wire.closes) != 1 || !strings.HasPrefix(r.wire.closes[0], "1000 ") {
			t.Errorf("err %v, closes %v: want one close in order when the platform does not", err, r.wire.closes)
		}
		r.must(chunkOf("inbound", 2, 20, ulawLoud), stop)
		r.s.Closed(nil, r.now)
		if len(r.host.ended) != 1 || r.host.ended[0].State != media.Ended || len(r.host.legs["inbound"].frames) != 1 {
			t.Errorf("ends %v", r.host.ended)
		}
	})
	t.Run("T6 close without stop", func(t *testing.T) {
		for _, c := range []struct {
			err  error
			want media.EndState
			why  string
		}{
			{nil, media.Lost, "without a stop"},
			{errors.New("reset by peer"), media.Lost, "reset by peer"},
			{fork.ErrSilent, media.TimedOut, "silent"},
		} {
			r := newRig(t, nil)
			r.must(startOne)
			r.s.Closed(c.err, r.now)
			if len(r.host.ended) != 1 || r.host.ended[0].State != c.want || !strings.Contains(r.host.ended[0].Reason, c.why) {
				t.Errorf("%v: ends %v, want %v with %q", c.err, r.host.ended, c.want, c.why)
			}
		}
	})

	t.Run("T7 numbers as strings or as numbers", func(t *testing.T) {
		r := newRig(t, nil)
		start := strings.NewReplacer(`"sequenceNumber":"1"`, `"sequenceNumber":1`, `:8000`, `:"8000"`, `"channels":1`, `"channels":"1"`).Replace(startOne)
		r.must(start)
		for i, form := range []string{
			`{"event":"media","sequenceNumber":%d,"streamSid":"MZ1","media":{"track":"inbound","chunk":%d,"timestamp":%d,"payload":"%s"}}`,
			`{"event":"media","sequenceNumber":"%d","streamSid":"MZ1","media":{"track":"inbound","chunk":%d,"timestamp":"%d","payload":"%s"}}`,
			`{"event":"media","sequenceNumber":"%d","streamSid":"MZ1","media":{"track":"inbound","chunk":"%d","timestamp":%d.0,"payload":"%s"}}`,
		} {
			if err := r.text(form, i+2, i+1, 20*i, strings.Repeat("A", 212)); err != nil {
				t.Fatal(err)
			}
		}
		r.host.legs["inbound"].samples(t)
		if n := len(r.host.legs["inbound"].frames); n != 2 {
			t.Errorf("%d frames of 3 x 159 samples, want 2", n)
		}
	})

	t.Run("T8 parameters", func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Params = map[string]string{"agent": "from the URL", "site": "b"} })
		r.must(strings.Replace(startOne, `"customParameters":{}`,
			`"customParameters":{"tenant":"t1","call":"ticket-77","agent":"anna","language":"de","direction":"outbound","customer":"+49 30 1"}`, 1))
		want := media.Call{ID: "ticket-77", Agent: "anna", Source: "twilio", External: "CA1", Direction: media.Outbound, Language: "de", Started: opened}
		if got := r.host.calls[0]; !slices.Equal(got.Phrases, want.Phrases) || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		for k, v := range map[string]string{"tenant": "t1", "site": "b", "customer": "+49 30 1", "stream": "MZ1", "account": "AC1", "codec": "PCMU"} {
			if r.host.facts[k] != v {
				t.Errorf("fact %s is %q, want %q", k, r.host.facts[k], v)
			}
		}
	})

	t.Run("T9 unknown events and fields", func(t *testing.T) {
		r := newRig(t, nil)
		r.must(`{"event":"weather","sun":true}`, hello, startOne, `{"event":"clearedAudio","x":[1,{"y":null}]}`, `{"event":"mark","mark":{"name":"a"}}`, `{"later":1}`)
		r.must(`{"future":{"a":[1,2,{}]},"event":"media","media":{"track":"inbound","chunk":"1","timestamp":"0","mood":null,"payload":"` + strings.Repeat("A", 214) + `=="},"more":[]}`)
		if n := len(r.host.legs["inbound"].frames); n != 1 {
			t.Errorf("%d frames, want 1", n)
		}
		if strings.Contains(r.log.String(), "WARN") {
			t.Errorf("warned: %s", r.log.String())
		}
	})

	t.Run("T10 another start", func(t *testing.T) {
		r := newRig(t, nil)
		r.must(startOne, startOne)
		if len(r.host.calls) != 1 {
			t.Errorf("%d calls", len(r.host.calls))
		}
		wantClose(t, r.text("%s", strings.ReplaceAll(startOne, "MZ1", "MZ2")), 1008, "open another")
	})

	t.Run("T11 Telnyx formats", func(t *testing.T) {
		for encoding, want := range map[string]string{"PCMU": "PCMU", "PCMA": "PCMA", "L16": "L16/16000", "G722": "G722", "OPUS": "opus"} {
			rate := 8000
			if encoding == "L16" || encoding == "OPUS" {
				rate = 16000
			}
			r := newRig(t, nil)
			r.must(telnyxStart(encoding, rate))
			if r.host.facts["codec"] != want || r.host.calls[0].Source != "telnyx" {
				t.Errorf("%s: codec %q", encoding, r.host.facts["codec"])
			}
		}
		wantClose(t, newRig(t, nil).text("%s", telnyxStart("AMR-WB", 16000)), 1003, "PCMU")
		wantClose(t, newRig(t, nil).text("%s", telnyxStart("L16", 11)), 1003, "sample rate")
	})

	t.Run("T12 Vonage", func(t *testing.T) {
		r := newRig(t, nil)
		tone := sine(16000, 3200)
		b := make([]byte, 0, 6400)
		for _, x := range tone {
			b = binary.LittleEndian.AppendUint16(b, uint16(x))
		}
		if err := r.s.Binary(b[:641], r.now); err != nil {
			t.Fatal(err)
		}
		r.must(`{"event":"websocket:connected","content-type":"audio/l16;rate=16000","agent":"anna","queue":"sales"}`)
		if err := r.s.Binary(b[641:], r.now); err != nil {
			t.Fatal(err)
		}
		if c := r.host.calls[0]; c.ID != "generated-1" || c.Agent != "anna" || c.Source != "vonage" || r.host.facts["queue"] != "sales" {
			t.Errorf("call %+v, facts %v", c, r.host.facts)
		}
		l := r.host.legs[audio]
		if got := l.samples(t); !slices.Equal(got, tone) || !l.leg.Mixed {
			t.Errorf("%d samples, want the %d that were sent; mixed %v", len(got), len(tone), l.leg.Mixed)
		}
		r.s.Closed(nil, r.now)
		if r.host.ended[0].State != media.Ended {
			t.Errorf("ends %v: closing is the dialect's stop", r.host.ended)
		}
	})
	t.Run("T12 too much before the first text", func(t *testing.T) {
		r := newRig(t, nil)
		for range 100 {
			if err := r.s.Binary(make([]byte, 9600), r.now); err != nil {
				t.Fatal(err)
			}
		}
		if len(r.s.early) != maxEarly {
			t.Errorf("%d bytes are kept, want %d", len(r.s.early), maxEarly)
		}
		r.must(`{"event":"websocket:connected","content-type":"audio/l16;rate=24000"}`)
		if got := r.host.legs[audio].end(); got != pcm.Rate {
			t.Errorf("%d samples, want one second", got)
		}
	})

	t.Run("T13 Exotel chunks", func(t *testing.T) {
		r := newRig(t, nil)
		r.must(`{"event":"connected"}`, `{"event":"start","sequence_number":"1","stream_sid":"e1","start":{"stream_sid":"e1","call_sid":"c1","account_sid":"a1"}}`)
		if err := r.text(`{"event":"media","stream_sid":"e1","media":{"chunk":"1","timestamp":"0","payload":"%s"}}`, strings.Repeat("ABAA", 1600/3)+"AB=="); err != nil {
			t.Fatal(err)
		}
		if n := len(r.host.legs["inbound"].frames); n != 5 || r.host.facts["codec"] != "L16/8000" {
			t.Errorf("%d frames of %s, want 5 of L16/8000", n, r.host.facts["codec"])
		}
	})

	t.Run("T14 too long", func(t *testing.T) {
		r := newRig(t, nil)
		wantClose(t, r.s.Text(make([]byte, maxMessage+1), r.now), 1009, "1048576")
		wantClose(t, r.s.Binary(make([]byte, maxMessage+1), r.now), 1009, "1048576")
		// The longest that may come is decoded in pieces.
		r = newRig(t, nil)
		r.must(startOne)
		if err := r.text(`{"event":"media","media":{"payload":"%s"}}`, strings.Repeat("/", maxMessage-100)); err != nil {
			t.Fatal(err)
		}
		if got, want := r.host.legs["inbound"].end(), int64((maxMessage-100)/4*3*2); got < want-pcm.FrameSamples || got > want {
			t.Errorf("%d samples, want %d", got, want)
		}
	})

	t.Run("T15 nothing comes", func(t *testing.T) {
		r := newRig(t, nil)
		wantClose(t, r.wait(11*time.Second), 1008, "no start")
		r = newRig(t, nil)
		r.must(startOne)
		if err := r.wait(59 * time.Second); err != nil {
			t.Fatal(err)
		}
		err := r.wait(2 * time.Second)
		wantClose(t, err, 1001, "no message for 1m0s")
		r.s.Closed(err, r.now)
		if len(r.host.ended) != 1 || r.host.ended[0].State != media.TimedOut {
			t.Errorf("ends %v", r.host.ended)
		}
	})

	t.Run("T16 one-time token", func(t *testing.T) {
		tokens, err := NewTokens("a key that both sides have")
		if err != nil {
			t.Fatal(err)
		}
		token := tokens.Mint("CA1", "nonce-1", opened.Add(time.Minute))
		withToken := func(token string) string {
			return strings.Replace(startOne, `"customParameters":{}`, `"customParameters":{"token":"`+token+`"}`, 1)
		}
		admit := func(c *Config) { c.Admit = tokens.Redeem }
		r := newRig(t, admit)
		r.must(withToken(token))
		if len(r.host.calls) != 1 || r.host.facts["token"] != "" || strings.Contains(r.log.String(), token) {
			t.Errorf("%d calls, facts %v", len(r.host.calls), r.host.facts)
		}
		for _, c := range []struct{ token, why string }{
			{token, "used before"}, {"", "no token"}, {"x.y.z", "not one for this call"},
			{tokens.Mint("CA2", "n", opened.Add(time.Minute)), "not one for this call"},
			{tokens.Mint("CA1", "n", opened), "expired"},
		} {
			again := newRig(t, admit)
			err := again.text("%s", withToken(c.token))
			wantClose(t, err, 1008, c.why)
			if len(again.host.calls) != 0 || c.token != "" && strings.Contains(err.Error(), c.token) {
				t.Errorf("%v: %d calls", err, len(again.host.calls))
			}
		}
	})
}

func telnyxStart(encoding string, rate int) string {
	return fmt.Sprintf(`{"event":"start","sequence_number":"1","stream_id":"s1","start":{"user_id":"u","call_control_id":"v3:c","media_format":{"encoding":%q,"sample_rate":%d,"channels":1}}}`, encoding, rate)
}

// sine is a tone of 440 Hz.
func sine(rate, n int) []int16 {
	out := make([]int16, n)
	for i := range out {
		out[i] = int16(9000 * math.Sin(2*math.Pi*440*float64(i)/float64(rate)))
	}
	return out
}
