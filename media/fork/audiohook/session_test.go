package audiohook

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"sidetone/media"
	"sidetone/media/fork/audiohook/httpsig"
)

// TestGolden plays the exchanges of testdata, which were composed for this test
// from the reference: what C sends and B bytes of audio, and exactly what S
// must answer.
func TestGolden(t *testing.T) {
	for _, name := range []string{"exchange", "probe", "mistake"} {
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile("testdata/" + name + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			p := newPeer(t, func(c *Config, _ *host, _ *httpsig.Request) { c.Languages = []string{"de-DE", "en-US"} })
			answers := 0
			for i, line := range strings.Split(strings.TrimSpace(string(b)), "\n")[1:] {
				text := line[2:]
				switch line[0] {
				case 'C':
					err = p.s.Text([]byte(text), p.now)
				case 'B':
					n, _ := strconv.Atoi(text)
					err = p.s.Binary(make([]byte, n), p.now)
				case 'S':
					answers++
					if len(p.w.texts) == 0 {
						t.Fatalf("line %d: no answer, want %s", i+2, text)
					}
					if p.w.texts[0] != text {
						t.Errorf("line %d:\n got %s\nwant %s", i+2, p.w.texts[0], text)
					}
					p.w.texts = p.w.texts[1:]
				}
				if err != nil {
					t.Fatalf("line %d: %v", i+2, err)
				}
			}
			if len(p.w.texts) > 0 || answers < 3 {
				t.Errorf("after %d answers there are more: %q", answers, p.w.texts)
			}
		})
	}
}

// TestCall holds what the host is told of a call.
func TestCall(t *testing.T) {
	p := newPeer(t, nil)
	custom := `,"language":"DE-at","continuedSessions":[{"id":"old-1","serverseq":3,"clientseq":4}],` +
		`"customConfig":{"agent":"ines","queue":"returns","vip":true,"n":3,"list":[1],"none":null,"long":"` + strings.Repeat("x", 400) + `"}`
	want(t, p.send("open", openParams(strings.ToUpper(conversationID), custom, inverted)), "opened")
	c := p.host.only()
	if w := (media.Call{
		ID: sessionID, Agent: "ines", Source: "audiohook", External: conversationID, Language: "de", Started: epoch,
	}); fmt.Sprint(c.info) != fmt.Sprint(w) {
		t.Errorf("got %+v\nwant %+v", c.info, w)
	}
	for name, w := range map[string]string{
		"organisation": organizationID, "conversation": strings.ToUpper(conversationID), "dnis": "+498005550",
		"language": "DE-at", "media": "PCMU internal,external", "custom.queue": "returns", "custom.vip": "true", "custom.n": "3",
		"custom.long": strings.Repeat("x", maxFact), "custom.list": "", "custom.none": "", "continued.1": "old-1",
		"correlation": "e3b7a1c2-77d4-4c0e-9b1f-aa02d9c4f533", "participant": "44aa0c1e-0000-4000-8000-5d0c2f6e9a01",
	} {
		if c.facts[name] != w {
			t.Errorf("%s is %q, want %q", name, c.facts[name], w)
		}
	}
	for name, value := range c.facts {
		if value == "" {
			t.Errorf("%s has no value", name)
		}
	}
	customer := media.Leg{
		ID: "external", Label: "external", Role: media.RoleCustomer, RoleReason: "AudioHook: the channel is external",
		Identity: "+4930111222", Name: "A. Caller",
	}
	agent := media.Leg{ID: "internal", Label: "internal", Role: media.RoleAgent, RoleReason: "AudioHook: the channel is internal"}
	if got := c.leg("external").leg; got != customer {
		t.Errorf("got %+v\nwant %+v", got, customer)
	}
	if got := c.leg("internal").leg; got != agent {
		t.Errorf("got %+v\nwant %+v", got, agent)
	}
	// Somebody else's wish to end the call comes by the writer.
	c.hangUp(media.End{State: media.Ended, Reason: "by the agent"})
	if len(p.w.hung) != 1 || p.w.hung[0].Reason != "by the agent" {
		t.Errorf("the writer was told %+v", p.w.hung)
	}
}

// TestCustomIsBounded: what a source may say of itself has a bound.
func TestCustomIsBounded(t *testing.T) {
	var entries []string
	for i := range 100 {
		entries = append(entries, fmt.Sprintf(`"k%03d":%d`, i, i))
	}
	p := newPeer(t, nil)
	want(t, p.send("open", openParams(conversationID, `,"customConfig":{`+strings.Join(entries, ",")+`}`, both)), "opened")
	n := 0
	for name := range p.host.only().facts {
		if strings.HasPrefix(name, "custom.") {
			n++
		}
	}
	if n != maxCustom {
		t.Errorf("%d entries are kept, want %d", n, maxCustom)
	}
}

func TestAgentOfTheAddress(t *testing.T) {
	if got := opened(t, both).host.only().info.Agent; got != "agent-7" {
		t.Errorf("agent %q, want the one of the request", got)
	}
}

// TestSuite has the cases of the vendor's conformance suite that a server
// without transcripts can show.
func TestSuite(t *testing.T) {
	for _, c := range []struct{ name, offer string }{
		{"open double stream", both}, {"open inverted", inverted}, {"open external only", external}, {"open internal only", internal},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t, nil)
			got := p.send("open", openParams(conversationID, "", c.offer))
			want(t, got, "opened")
			if m := got[0].Parameters.Media; len(m) != 1 || string(m[0]) != c.offer {
				t.Errorf("media %s, want %s", m, c.offer)
			}
			if r := got[0]; r.ID != sessionID || r.Seq != 1 || r.ClientSeq != 1 {
				t.Errorf("got %+v", r)
			}
		})
	}
	t.Run("G6 ping-pong", func(t *testing.T) {
		p := opened(t, both)
		for range 10 { // the client's first second
			p.audio(tone(100*time.Millisecond, quiet, quiet))
			want(t, p.pass(100*time.Millisecond))
		}
		p.position = "PT1S"
		got := p.send("ping", "{}")
		want(t, got, "pong")
		if got[0].Seq != 2 || got[0].ClientSeq != 2 {
			t.Errorf("got %+v", got[0])
		}
		want(t, p.send("ping", `{"rtt":"PT0.012S"}`), "pong")
	})
	t.Run("ping then immediate close", func(t *testing.T) {
		p := opened(t, both)
		p.s.Text([]byte(envelope("ping", 2, 1, "PT0S", "{}")), p.now)
		p.s.Text([]byte(envelope("close", 3, 1, "PT0S", `{"reason":"end"}`)), p.now)
		got := p.got()
		want(t, got, "pong", "closed")
		if got[0].ClientSeq != 2 || got[1].ClientSeq != 3 {
			t.Errorf("got %+v", got)
		}
	})
	for _, c := range []struct{ kind, params, answer string }{
		{"update", `{"language":"fr-FR"}`, "updated"},
		{"discarded", `{"start":"PT0S","discarded":"PT1S"}`, ""},
		{"error", `{"code":400,"message":"tough stuff"}`, ""},
	} {
		t.Run(c.kind+" then close", func(t *testing.T) {
			p := opened(t, both)
			if got := p.send(c.kind, c.params); c.answer != "" {
				want(t, got, c.answer)
			} else {
				want(t, got)
			}
			got := p.send("close", `{"reason":"end"}`)
			want(t, got, "closed")
			if got[0].ClientSeq != p.seq {
				t.Errorf("clientseq %d, want %d", got[0].ClientSeq, p.seq)
			}
			p.ended(media.Ended, "end")
		})
	}
	t.Run("pause, resume, close", func(t *testing.T) {
		p := opened(t, both)
		want(t, p.send("ping", "{}"), "pong")
		want(t, p.send("paused", "{}"))
		want(t, p.pass(10*time.Second))
		want(t, p.send("ping", "{}"), "pong")
		want(t, p.send("resumed", `{"start":"PT0S","discarded":"PT10S"}`))
		want(t, p.send("close", `{"reason":"end"}`), "closed")
		p.ended(media.Ended, "end")
	})
}

func TestUpdate(t *testing.T) {
	p := opened(t, both)
	want(t, p.send("update", `{"language":"fr-FR"}`), "updated")
	if got := p.host.only().facts["language"]; got != "fr-FR" {
		t.Errorf("language %q", got)
	}
}

// TestAnswerFirst: opened is on its way before the host is asked at all.
func TestAnswerFirst(t *testing.T) {
	t.Run("G3 opened before the call is set up", func(t *testing.T) {
		var p *peer
		sent := -1
		p = newPeer(t, func(_ *Config, h *host, _ *httpsig.Request) {
			h.opening = func() { sent = len(p.w.texts) }
		})
		p.open(both)
		if sent != 1 {
			t.Errorf("%d messages were sent when the host was asked, want 1", sent)
		}
	})
	busy := fmt.Errorf("%w: 40 are running", media.ErrBusy)
	for _, c := range []struct {
		name            string
		openErr, legErr error
		info            string
	}{
		{"no room", busy, nil, "no room for another call: 40 are running"},
		{"draining", media.ErrDraining, nil, "no more calls"},
		{"running already", media.ErrDuplicate, nil, "running already"},
		{"no second leg", nil, errors.New("not this one"), `leg "internal": not this one`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t, func(_ *Config, h *host, _ *httpsig.Request) { h.openErr, h.legErr = c.openErr, c.legErr })
			got := p.send("open", openParams(conversationID, "", both))
			want(t, got, "opened", "disconnect error")
			if !strings.Contains(got[1].Parameters.Info, c.info) {
				t.Errorf("info %q, want %q", got[1].Parameters.Info, c.info)
			}
			if c.legErr != nil {
				p.ended(media.Refused, "not this one")
			}
			want(t, p.audio(tone(time.Second, high, high)))
			want(t, p.send("close", `{"reason":"disconnect"}`), "closed")
		})
	}
}

func TestProbe(t *testing.T) {
	p := newPeer(t, nil)
	probe := strings.Replace(openParams(nilUUID, "", both), "44aa0c1e-0000-4000-8000-5d0c2f6e9a01", nilUUID, 1)
	want(t, p.send("open", probe), "opened")
	p.audio(tone(time.Second, high, high))
	p.pass(time.Second)
	p.position = "PT1S"
	want(t, p.send("ping", "{}"), "pong")
	want(t, p.send("paused", "{}"))
	want(t, p.send("resumed", `{"start":"PT1S","discarded":"PT1S"}`))
	want(t, p.send("update", `{"language":"fr-FR"}`), "updated")
	want(t, p.send("dtmf", `{"digit":"1"}`))
	want(t, p.send("close", `{"reason":"end"}`), "closed")
	if n := len(p.host.calls); n != 0 {
		t.Errorf("G10 a probe opened %d calls", n)
	}
	if got := p.a.Stats(); got != (Stats{Sessions: 1, Probes: 1}) {
		t.Errorf("got %+v", got)
	}
}

func TestWithoutMedia(t *testing.T) {
	p := newPeer(t, nil)
	got := p.send("open", openParams(conversationID, ""))
	want(t, got, "opened")
	if len(got[0].Parameters.Media) != 0 || len(p.host.calls) != 0 {
		t.Errorf("media %s, %d calls; want none", got[0].Parameters.Media, len(p.host.calls))
	}
	want(t, p.audio([]byte{1, 2}), "disconnect error")
}

// TestMistakes: each is answered by disconnect with a text that names it, and
// close by closed after that.
func TestMistakes(t *testing.T) {
	ping := func(seq, serverSeq int64) string { return envelope("ping", seq, serverSeq, "PT0S", "{}") }
	replace := func(old, now string) string { return strings.Replace(ping(2, 1), old, now, 1) }
	cases := []struct{ name, message, info string }{
		{"G7 seq gap", ping(3, 1), "seq 3, 2 was expected"},
		{"seq repeated", ping(1, 1), "seq 1, 2 was expected"},
		{"serverseq ahead", ping(2, 5), "serverseq 5, but only 1"},
		{"negative serverseq", ping(2, -1), "negative"},
		{"other id", replace("0b8c", "0b8d"), "another session"},
		{"no id", replace(sessionID, "me"), "no UUID"},
		{"other version", replace(`:"2"`, `:"3"`), `"3"`},
		{"no position", replace(`"position":"PT0S",`, ""), `no "position"`},
		{"position of another form", replace("PT0S", "PT1M"), "PT12.34S"},
		{"position out of bounds", replace("PT0S", "PT999999999999999999S"), "beyond 48h"},
		{"seq as text", replace(`"seq":2`, `"seq":"2"`), `"seq"`},
		{"parameters as a list", replace("{}", "[]"), "no object"},
		{"parameters null", replace("{}", "null"), "no object"},
		{"G12 70000 characters", replace("{}", `{"x":"`+strings.Repeat("y", 70000)+`"}`), "65535 is the limit"},
		{"G12 invalid JSON", `{"version":"2",`, "no valid JSON"},
		{"no object", `[1,2]`, "no JSON of the form"},
		{"empty", ``, "no valid JSON"},
		{"resumed without start", envelope("resumed", 2, 1, "PT0S", `{"discarded":"PT1S"}`), "start of resumed"},
		{"discarded without a length", envelope("discarded", 2, 1, "PT0S", `{"start":"PT1S"}`), "length of discarded"},
		{"discarded too far", envelope("discarded", 2, 1, "PT0S", `{"start":"PT172799S","discarded":"PT172799S"}`), "beyond 48h"},
		{"update of another kind", envelope("update", 2, 1, "PT0S", `{"language":7}`), `"language"`},
		{"digit of another kind", envelope("dtmf", 2, 1, "PT0S", `{"digit":7}`), `"digit"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := opened(t, both)
			p.audio(tone(time.Second, high, low))
			got := p.text(c.message)
			want(t, got, "disconnect error")
			if !strings.Contains(got[0].Parameters.Info, c.info) {
				t.Errorf("info %q, want %q", got[0].Parameters.Info, c.info)
			}
			p.ended(media.Aborted, c.info)
			p.seq = 40
			want(t, p.text("also wrong"))
			got = p.send("close", `{"reason":"disconnect"}`)
			want(t, got, "closed")
			if got[0].ClientSeq != 41 {
				t.Errorf("clientseq %d, want 41", got[0].ClientSeq)
			}
			if n := p.a.Stats().Mistakes; n != 1 {
				t.Errorf("%d mistakes were counted", n)
			}
		})
	}
	t.Run("65535 characters are not too many", func(t *testing.T) {
		p := opened(t, both)
		m := replace("{}", `{"x":""}`)
		m = strings.Replace(m, `"x":"`, `"x":"`+strings.Repeat("ß", maxText-len(m)), 1)
		want(t, p.text(m), "pong")
	})
	t.Run("open without ids", func(t *testing.T) {
		p := newPeer(t, nil)
		want(t, p.send("open", `{"organizationId":"x","media":[]}`), "disconnect error")
	})
}

// TestIgnored: messages that come in another state than they belong to, or that
// a later revision may bring, end no call.
func TestIgnored(t *testing.T) {
	p := newPeer(t, nil)
	for _, kind := range []string{"update", "paused", "resumed", "discarded", "dtmf", "playback_started"} {
		want(t, p.send(kind, "{}"))
	}
	p.open(both)
	want(t, p.send("open", openParams(conversationID, "", external)))
	want(t, p.send("playback_started", "{}"))
	want(t, p.send("resumed", `{"start":"PT0S","discarded":"PT0S"}`))
	want(t, p.send("ping", `{"rtt":"soon"}`), "pong")
	want(t, p.send("error", `{"code":"x"}`))
	want(t, p.send("dtmf", `{"digit":"flash"}`))
	if c := p.host.only(); len(c.events) > 0 || len(c.leg("external").marks) > 0 {
		t.Errorf("pauses %q, marks %v", c.events, c.leg("external").marks)
	}
	want(t, p.send("close", `{"reason":7}`), "closed")
	want(t, p.send("ping", "{}"))
	p.seq += 3
	want(t, p.send("close", `{}`))
	p.ended(media.Ended, "closed the session")
}

// TestIDIsLearned: without the header field the first message names the session.
func TestIDIsLearned(t *testing.T) {
	p := newPeer(t, func(_ *Config, _ *host, r *httpsig.Request) { delete(r.Header, "Audiohook-Session-Id") })
	got := p.send("ping", "{}")
	want(t, got, "pong")
	if got[0].ID != sessionID {
		t.Errorf("id %q", got[0].ID)
	}
	want(t, p.text(strings.Replace(envelope("ping", 2, 1, "PT0S", "{}"), "0b8c", "ffff", 1)), "disconnect error")
}

// TestDigits: keys become marks on the customer's leg and are never logged.
func TestDigits(t *testing.T) {
	p := opened(t, inverted)
	p.audio(tone(time.Second, quiet, quiet))
	for _, d := range []string{"9", "*", "#", "d"} {
		want(t, p.send("dtmf", fmt.Sprintf(`{"digit":%q}`, d)))
	}
	var got []byte
	for _, m := range p.host.only().leg("external").marks {
		if m.Kind == media.MarkDigit {
			got = append(got, m.Digit)
		}
	}
	if string(got) != "9*#D" {
		t.Errorf("digits %q", got)
	}
	if n := len(p.host.only().leg("internal").marks); n != 1 {
		t.Errorf("the agent's leg has %d marks, want its beginning", n)
	}
	want(t, p.send("dtmf", `{"digit":"99"}`))
	want(t, p.send("dtmf", `{"digit":["99"]}`), "disconnect error")
	if strings.Contains(p.log.String(), "99") || !strings.Contains(p.log.String(), "digit") {
		t.Errorf("the log shows digits, or nothing:\n%s", p.log)
	}
	single := opened(t, internal)
	want(t, single.send("dtmf", `{"digit":"5"}`))
	if n := len(single.host.only().leg("internal").marked(media.MarkDigit)); n != 1 {
		t.Errorf("%d digits on the only leg", n)
	}
}

// TestNothingUnasked: Sidetone sends no events, so the client's limit on them
// cannot be reached.
func TestNothingUnasked(t *testing.T) {
	p := opened(t, both)
	for range 300 {
		p.audio(tone(200*time.Millisecond, high, low))
		if got := p.pass(200 * time.Millisecond); len(got) > 0 {
			t.Fatalf("G14 the server sent %+v", got)
		}
	}
	p.send("paused", "{}")
	if got := p.pass(time.Minute); len(got) > 0 {
		t.Fatalf("G14 in a pause the server sent %+v", got)
	}
}

func TestConfig(t *testing.T) {
	p := newPeer(t, nil)
	for _, cfg := range []Config{{}, {Host: p.host}, {Log: p.a.cfg.Log}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
	want(t, p.send("open", openParams(conversationID, `,"supportedLanguages":true`, both)), "opened")
}
