package audiohook

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/media"
)

func TestDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"PT0S": 0, "PT12.34S": 12340 * time.Millisecond, "PT1.000000001S": time.Second + 1,
		"PT0.0000000009S": 0, "PT0007S": 7 * time.Second, "PT172799.9S": maxPosition - 100*time.Millisecond,
		"": -1, "PT": -1, "PTS": -1, "PT1": -1, "1S": -1, "PT.5S": -1, "PT5.S": -1, "PT-1S": -1, "PT1e3S": -1,
		"PT+1S": -1, "PT1.2.3S": -1, "PT1,5S": -1, "PT 1S": -1, "pt1s": -1, "PT1M": -1, "PT172800S": -1,
		"PT99999999999999999999999999S": -1,
	} {
		got, err := parseDuration(in)
		if want < 0 {
			if err == nil {
				t.Errorf("%q is taken as %v", in, got)
			}
		} else if err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", in, got, err, want)
		}
	}
}

func TestLanguage(t *testing.T) {
	for in, want := range map[string]string{"de-DE": "de", "EN": "en", "pt-BR": "pt", "": "", "deu": "", "d1": "", "-x": "", "ß": ""} {
		if got := language(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestUUID(t *testing.T) {
	for in, want := range map[string]bool{
		sessionID: true, strings.ToUpper(sessionID): true, nilUUID: true,
		"": false, sessionID[1:]: false, strings.Replace(sessionID, "-", "0", 1): false, "g" + sessionID[1:]: false,
		"Ⱥ" + sessionID[2:]: false, sessionID[:34] + "K": false,
	} {
		if got := isUUID(in); got != want {
			t.Errorf("%q: %v", in, got)
		}
	}
}

func TestClip(t *testing.T) {
	for in, want := range map[string]string{
		"a\nb\x00c\x7f": "a b c ", "\xff": "\uFFFD", strings.Repeat("ß", 200): strings.Repeat("ß", 128),
		strings.Repeat("x", 255) + "ß": strings.Repeat("x", 255),
	} {
		if got := clip(in); got != want {
			t.Errorf("%q: got %q", in, got)
		}
	}
}

// good are messages that a client sends as its second.
func good() []string {
	return []string{
		envelope("ping", 2, 1, "PT1.5S", `{"rtt":"PT0.025S"}`),
		envelope("paused", 2, 1, "PT1S", `{}`),
		envelope("resumed", 2, 1, "PT3S", `{"start":"PT1S","discarded":"PT2S"}`),
		envelope("discarded", 2, 1, "PT3S", `{"start":"PT1S","discarded":"PT2S"}`),
		envelope("update", 2, 1, "PT1S", `{"language":"de-DE"}`),
		envelope("dtmf", 2, 1, "PT1S", `{"digit":"5"}`),
		envelope("error", 2, 1, "PT1S", `{"code":429,"message":"slow down","retryAfter":"PT3S"}`),
		envelope("close", 2, 1, "PT1S", `{"reason":"end"}`),
		envelope("open", 2, 1, "PT1S", openParams(conversationID, `,"language":"de-DE","customConfig":{"a":"b"}`, both, linear)),
	}
}

// TestMutations feeds 1,000 damaged messages, half of them to a session that is
// not yet open: whatever comes, the session ends in order, with a reason where
// one is due.
func TestMutations(t *testing.T) {
	rnd := rand.New(rand.NewPCG(2, 5))
	refused := 0
	for i := range 1000 {
		p := newPeer(t, nil)
		messages := good()
		message := messages[i%len(messages)]
		if i%2 == 0 {
			p.open(both)
		} else {
			message = strings.Replace(message, `"seq":2,"serverseq":1`, `"seq":1,"serverseq":0`, 1)
		}
		message = mutate(rnd, message)
		for _, r := range p.text(message) {
			if r.Type == "disconnect" {
				refused++
				want(t, []reply{r}, "disconnect error")
			}
		}
		if p.err != nil {
			t.Fatalf("%q: %v", message, p.err)
		}
		p.finish(message)
	}
	t.Logf("%d of 1000 were refused", refused)
	if refused < 500 {
		t.Errorf("only %d of 1000 were refused", refused)
	}
}

// finish plays on after a message of any kind: audio, a close, the end of the
// connection. All calls end once.
func (p *peer) finish(what string) {
	p.t.Helper()
	p.audio(tone(time.Second, high, low))
	p.seq = p.s.clientSeq
	p.serverSeq = p.s.seq
	closedBefore := p.s.state == closed
	if got := p.send("close", `{"reason":"end"}`); !closedBefore && (len(got) != 1 || got[0].Type != "closed") && p.s.id == sessionID {
		p.t.Errorf("after %q close is answered by %+v", what, got)
	}
	p.s.Closed(nil, p.now)
	for _, c := range p.host.calls {
		if len(c.ends) != 1 || c.ends[0].State == 0 {
			p.t.Errorf("after %q the call ended %+v", what, c.ends)
		}
	}
}

func mutate(rnd *rand.Rand, s string) string {
	b := []byte(s)
	for range 1 + rnd.IntN(3) {
		at := rnd.IntN(len(b))
		switch rnd.IntN(5) {
		case 0:
			b[at] = "\"{}[]:,\\ -.eS09\x00\xffn"[rnd.IntN(18)]
		case 1:
			b = slices.Delete(b, at, min(len(b), at+1+rnd.IntN(8)))
		case 2:
			b = slices.Insert(b, at, slices.Clone(b[at:min(len(b), at+rnd.IntN(20))])...)
		case 3:
			b = slices.Insert(b, at, []byte([]string{"null", "{}", "99999999999999999999", `"x"`, "-1"}[rnd.IntN(5)])...)
		default:
			b = b[:at]
		}
		if len(b) == 0 {
			return ""
		}
	}
	return string(b)
}

// FuzzSession opens a session with whatever parameters, and goes on with
// whatever message and audio.
func FuzzSession(f *testing.F) {
	for _, m := range good() {
		f.Add(openParams(conversationID, "", both), m, []byte{1, 2, 3, 4})
	}
	f.Add(openParams(nilUUID, "", linear), good()[2], []byte{1, 2, 3})
	f.Add(openParams(conversationID, `,"supportedLanguages":true`, `{}`, external), `{}`, []byte(nil))
	f.Fuzz(func(t *testing.T, params, message string, audio []byte) {
		if !json.Valid([]byte(params)) {
			return
		}
		p := newPeer(t, nil)
		first := p.send("open", params)
		if len(first) == 0 || first[0].Type != "opened" && first[0].Type != "disconnect" {
			t.Fatalf("open is answered by %+v", first)
		}
		p.text(message)
		p.audio(audio)
		p.pass(40 * time.Millisecond)
		if err := p.s.HangUp(media.End{State: media.Aborted, Reason: "stop"}, p.now); err != nil || p.err != nil {
			t.Errorf("%v, %v", err, p.err)
		}
		p.got()
		p.finish(message)
	})
}
