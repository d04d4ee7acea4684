package freeswitch

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"sidetone/media"
	"sidetone/media/fork"
)

const jambonzStart = `{"callSid":"c-1f","applicationSid":"a-9","accountSid":"ac-3","direction":"inbound","from":"4930111222","to":"2207","callId":"sip-77@pbx.example","callerName":"Ada","callStatus":"in-progress","sampleRate":16000,"mixType":"stereo","metadata":{"tenant":"t1","agent":"maria","right":"agent","apiToken":"x"}}`

func TestMetadata(t *testing.T) {
	t.Run("F3 absent", func(t *testing.T) {
		b := newBench(t, nil)
		c := b.connect("rate=16000&channels=2&call=u-1&leg=cust&left=customer", "")
		c.play(time.Second, 16000, 100, 200)
		c.Closed(nil, c.now)
		b.has(`open u-1 from freeswitch, external "", agent "", unknown`,
			`leg cust.left: label "left", customer (announced by the fork as left=customer)`,
			`leg cust.right: label "right", unknown ()`,
			"fact fork.format.cust.left = stereo at 16000 Hz",
			"leg cust.left ends: ended, the connection was closed; 16000 samples at 100",
			"leg cust.right ends: ended, the connection was closed; 16000 samples at 200",
			"end: ended, the connection was closed")
		if b.calls.Running() != 0 {
			t.Error("the call is still there")
		}
	})
	t.Run("F3 JSON", func(t *testing.T) {
		b := newBench(t, nil)
		c := b.connect("rate=8000", "audio.drachtio.org")
		c.text(`{"uuid":"u-2","rate":"16k","role":"agent","language":"en","list":[1],"vip":true,"level":3}`)
		c.play(time.Second, 16000, 100)
		c.Closed(nil, c.now)
		b.has("open u-2 from mod_audio_fork", `language "en"`, "fact vip = true", "fact level = 3",
			`leg own: label "own", agent (announced by the fork as role=agent), "" "", mixed false`, "16000 samples at 100")
	})
	t.Run("F3 plain text", func(t *testing.T) {
		for _, text := range []string{"hello PBX", "", "[1,2]", "null", "{} {}", `{"broken":`, "\xff\xfe"} {
			b := newBench(t, nil)
			c := b.connect("", "")
			c.text(text)
			c.play(time.Second, 8000, 100)
			c.Closed(nil, c.now)
			b.has("open new-1 from freeswitch", "16000 samples at 100")
		}
	})
	t.Run("jambonz", func(t *testing.T) {
		b := newBench(t, nil)
		c := b.connect("", "audio.jambonz.org")
		c.text(jambonzStart)
		c.play(time.Second, 16000, 100, 200)
		c.Closed(nil, c.now)
		b.has(`open c-1f from jambonz, external "sip-77@pbx.example", agent "maria", inbound`,
			`leg left: label "left", unknown (), "4930111222" "Ada", mixed false, party caller`,
			`leg right: label "right", agent (announced by the fork as right=agent), "2207" ""`,
			"fact metadata.tenant = t1", "fact applicationSid = a-9",
			"leg left ends: ended, the connection was closed; 16000 samples at 100")
		if strings.Contains(b.host.told(), "apiToken") {
			t.Error("what is named like a secret is kept")
		}
	})
	t.Run("jambonz dials out", func(t *testing.T) {
		b := newBench(t, nil)
		b.connect("", "").text(strings.Replace(jambonzStart, `"inbound"`, `"outbound"`, 1))
		b.has(", outbound,", `leg left: label "left", unknown (), "2207" "", mixed false, party called`, `"4930111222" "Ada", mixed false, party caller`)
	})
	t.Run("binary before metadata", func(t *testing.T) {
		b := newBench(t, nil)
		c := b.connect("call=u", "")
		c.play(time.Second, 8000, 100)
		c.text(`{"customer":"17","rate":16000}`)
		c.play(time.Second, 8000, 100)
		c.Closed(nil, c.now)
		b.has("fact customer = 17", "32000 samples at 100")
		if !strings.Contains(b.log.String(), "came after audio") {
			t.Error("no warning of the other format")
		}
	})
	t.Run("facts are bounded", func(t *testing.T) {
		var f []string
		for i := range 500 {
			f = append(f, fmt.Sprintf(`"k%03d":%q`, i, strings.Repeat("é", 1000)))
		}
		b := newBench(t, nil)
		b.connect("", "").text("{" + strings.Join(f, ",") + "}")
		told := b.host.told()
		if n := strings.Count(told, "fact k"); n != maxFacts {
			t.Errorf("%d facts", n)
		}
		if !strings.Contains(told, "fact k000 = "+strings.Repeat("é", maxFact/2)+"\n") {
			t.Error("the first fact is not cut")
		}
	})
}

func TestFormats(t *testing.T) {
	t.Run("F4 stereo", func(t *testing.T) {
		b := newBench(t, nil)
		c := b.connect("mix=stereo&left=customer&right=agent", "")
		c.play(2*time.Second, 8000, -3000, 5000)
		c.Closed(nil, c.now)
		b.has("leg left: label \"left\", customer", "leg right: label \"right\", agent", "32000 samples at -3000", "32000 samples at 5000")
	})
	t.Run("F5 mono and mixed", func(t *testing.T) {
		b := newBench(t, nil)
		c := b.connect("mix=mixed", "")
		c.play(time.Second, 8000, 7)
		c.Closed(nil, c.now)
		c = b.connect("mix=mono", "")
		c.play(time.Second, 8000, 7)
		c.Closed(nil, c.now)
		b.has(`leg mixed: label "mixed", unknown (), "" "", mixed true`, `leg own: label "own", unknown (), "" "", mixed false`)
	})
	for _, rate := range rates() {
		t.Run(fmt.Sprintf("F6 %d Hz", rate), func(t *testing.T) {
			b := newBench(t, nil)
			c := b.connect(fmt.Sprintf("rate=%d", rate), "")
			c.play(time.Second, rate, 1000)
			c.Closed(nil, c.now)
			b.has("16000 samples at 1000")
		})
	}
	t.Run("F7 sizes and odd offsets", func(t *testing.T) {
		// Left counts up, right counts down: a slip by a byte would show.
		var all []byte
		for i := range 80000 {
			all = append(all, steady(1, int16(i%500), int16(-(i%500)))...)
		}
		for _, size := range []int{1, 3, 319, 320, 641, 4097, 65536, 65535} {
			b := newBench(t, nil)
			c := b.connect("rate=16000&channels=2", "")
			for i := 0; i < len(all); i += size {
				c.binary(all[i:min(i+size, len(all))])
			}
			c.Closed(nil, c.now)
			left, right := b.host.legs["left"].samples, b.host.legs["right"].samples
			if len(left) != 80000 || len(right) != 80000 {
				t.Fatalf("size %d: %d and %d samples", size, len(left), len(right))
			}
			for i := range left {
				if left[i] != int16(i%500) || right[i] != int16(-(i%500)) {
					t.Fatalf("size %d: sample %d is %d and %d", size, i, left[i], right[i])
				}
			}
		}
	})
	t.Run("refused before the upgrade", func(t *testing.T) {
		for query, want := range map[string]string{
			"rate=11025": "sample rate", "rate=-1": "sample rate", "rate=9999999999999999999": "sample rate",
			"channels=3": "1 or 2", "mix=quad": "mono, mixed or stereo",
		} {
			b := newBench(t, nil)
			q, _ := url.ParseQuery(query)
			_, err := b.calls.Open(Request{Query: q}, &writer{}, b.now)
			var r *fork.Refusal
			if !errors.As(err, &r) || r.Status != 400 || !strings.Contains(r.Reason, want) {
				t.Errorf("%s: %v", query, err)
			}
		}
	})
	t.Run("refused by metadata", func(t *testing.T) {
		for text, want := range map[string]string{
			`{"sampleRate":44}`:                          "sample rate",
			`{"left":"boss","channels":2}`:               "a role is agent or customer",
			`{"call":"a\u0007b"}`:                        "cannot be printed",
			`{"leg":"` + strings.Repeat("x", 200):        "",
			`{"leg":"` + strings.Repeat("x", 200) + `"}`: "at most 128",
		} {
			b := newBench(t, nil)
			err := b.connect("", "").Text([]byte(text), b.now)
			if want == "" && err == nil {
				continue // no JSON: plain text
			}
			if err == nil || !strings.Contains(err.Error(), want) || len(b.host.calls) != 0 {
				t.Errorf("%s: %v, %d calls", text, err, len(b.host.calls))
			}
		}
	})
}

func TestWarnings(t *testing.T) {
	for _, c := range []struct {
		name, query string
		rate        int
		levels      []int16
		want        string
	}{
		{"F9 twice the rate", "rate=8000", 16000, []int16{1}, "2.0 times the bytes of mono at 8000 Hz"},
		{"F9 half the rate", "rate=16000", 8000, []int16{1}, "0.5 times"},
		{"F9 stereo called mono", "rate=8000", 8000, []int16{1, 2}, "2.0 times"},
		{"F9 right", "rate=16000&channels=2", 16000, []int16{1, 2}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, nil)
			f := b.connect(c.query, "")
			// What FreeSWITCH kept while it connected is no sign of anything.
			f.binary(make([]byte, 2*5*c.rate*len(c.levels)))
			f.play(4500*time.Millisecond, c.rate, c.levels...)
			f.wait(4 * time.Second) // a pause is none either
			f.play(4500*time.Millisecond, c.rate, c.levels...)
			if c.want == "" && strings.Contains(b.host.told(), "warning") {
				t.Errorf("a false alarm:\n%s", b.host.told())
			}
			if c.want != "" && (strings.Count(b.host.told(), "fork.warning.rate") != 1 || !strings.Contains(b.log.String(), c.want)) {
				t.Errorf("told\n%s\nlogged\n%s", b.host.told(), b.log)
			}
		})
	}
	t.Run("swapped bytes", func(t *testing.T) {
		b := newBench(t, nil)
		c := b.connect("channels=2", "")
		for range 100 {
			var m []byte
			for i := range 160 {
				x := uint16(i * 50)
				m = append(m, byte(x), byte(x>>8), byte(x>>8), byte(x)) // right alone is swapped
			}
			c.binary(m)
			c.wait(20 * time.Millisecond)
		}
		if told := b.host.told(); strings.Count(told, "fork.warning.bytes") != 1 || !strings.Contains(told, "leg right: the samples' bytes") {
			t.Errorf("told\n%s", told)
		}
	})
	t.Run("no audio for 5 s after open", func(t *testing.T) {
		b := newBench(t, nil)
		c := b.connect("", "")
		c.text("here")
		c.wait(6 * time.Second)
		if strings.Count(b.log.String(), "no audio since the fork was opened") != 1 {
			t.Error(b.log)
		}
	})
}

func TestTexts(t *testing.T) {
	b := newBench(t, nil)
	c := b.connect("", "")
	c.text(jambonzStart)
	c.play(time.Second, 16000, 1, 2)
	told := b.host.told()
	t.Run("F10 digits", func(t *testing.T) {
		c.text(`{"event":"dtmf","dtmf":"5","duration":"1600"}`)
		c.text(`{"event":"dtmf","dtmf":"#"}`)
		c.text(`{"event":"dtmf","dtmf":"b"}`)
		got := strings.TrimPrefix(b.host.told(), told)
		want := "\nmark 5 on left at 16000 \"5\"\nmark 5 on left at 16000 \"#\"\nmark 5 on left at 16000 \"B\""
		if media.MarkDigit != 5 || got != want {
			t.Errorf("told%s", got)
		}
		told = b.host.told()
	})
	t.Run("what is not known is passed over", func(t *testing.T) {
		for _, m := range []string{
			`{"event":"dtmf","dtmf":"55"}`, `{"event":"dtmf"}`, `{"event":"mark","data":{"name":"x"}}`,
			`{"event":7}`, "keepalive", "", `{"type":"mark","data":{"name":"m1"}}`, `{"final":"word"}`,
		} {
			c.text(m)
		}
		if got := b.host.told(); got != told {
			t.Errorf("told %s", strings.TrimPrefix(got, told))
		}
	})
	if strings.Contains(b.log.String(), `"#"`) || strings.Contains(b.log.String(), "dtmf") {
		t.Error("digits are in the log")
	}
}

func TestTranscription(t *testing.T) {
	t.Run("F11 sent back", func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.Transcripts = true })
		c := b.connect("call=u", "")
		c.play(time.Second, 8000, 1)
		if err := b.calls.Transcription("u", []byte(`{"leg":"own","text":"good morning"}`)); err != nil {
			t.Fatal(err)
		}
		c.wait(20 * time.Millisecond)
		if len(c.w.texts) != 1 || c.w.texts[0] != `{"type":"transcription","data":{"leg":"own","text":"good morning"}}` {
			t.Errorf("sent %q", c.w.texts)
		}
		if err := b.calls.Transcription("x", []byte("{}")); !errors.Is(err, ErrNoCall) {
			t.Errorf("unknown call: %v", err)
		}
		if err := b.calls.Transcription("u", []byte("{")); err == nil {
			t.Error("broken JSON is sent")
		}
		if err := b.calls.Transcription("u", make([]byte, maxPushed+1)); err == nil || !strings.Contains(err.Error(), "16384") {
			t.Errorf("too much: %v", err)
		}
		// The newest wait for the fork's return.
		c.Closed(errLost, c.now)
		for i := range maxOutbox + 10 {
			if err := b.calls.Transcription("u", fmt.Appendf(nil, `{"n":%d}`, i)); err != nil {
				t.Fatal(err)
			}
		}
		c = b.connect("call=u", "")
		c.play(20*time.Millisecond, 8000, 1)
		if n := len(c.w.texts); n != maxOutbox || !strings.Contains(c.w.texts[0], `"n":10}`) {
			t.Errorf("%d messages wait, the first is %q", n, c.w.texts[0])
		}
	})
	t.Run("F11 off", func(t *testing.T) {
		b := newBench(t, nil)
		b.connect("call=u", "").play(time.Second, 8000, 1)
		if err := b.calls.Transcription("u", []byte("{}")); !errors.Is(err, ErrOff) {
			t.Errorf("error %v", err)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		edit func(*Config)
		want string
	}{
		{func(c *Config) { c.Host = nil }, "host"},
		{func(c *Config) { c.NewID = nil }, "maker of names"},
		{func(c *Config) { c.Rate = 11025 }, "11025 Hz"},
		{func(c *Config) { c.Channels = 3 }, "3 channels"},
		{func(c *Config) { c.Idle = -1 }, "idle"},
	} {
		b := newBench(t, nil)
		cfg := b.calls.cfg
		c.edit(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
}
