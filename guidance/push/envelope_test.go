package push

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// letterCases are letters as they come from other servers, with the problem that
// each must cause.
var letterCases = []struct{ name, text, problem string }{
	{"here", `{"kind":"here","from":"b","boot":"1","agents":["maria","li"]}` + "\n", ""},
	{"fresh", `{"kind":"here","from":"b","boot":"1","agents":["maria"],"fresh":true}` + "\n", ""},
	{"leave", `{"kind":"leave","from":"b","boot":"1","agents":["maria"]}` + "\n", ""},
	{"bye", `{"kind":"bye","from":"b","boot":"1"}` + "\n", ""},
	{"beat", `{"kind":"beat","from":"b","boot":"1","feeds":{"maria":3},"echo_ns":5,"held_ns":1}` + "\n", ""},
	{"want", `{"kind":"want","from":"b","boot":"1","agents":["maria"]}` + "\n", ""},
	{"part", `{"kind":"part","from":"b","boot":"1","agent":"maria","seq":1,"parts":1}` + "\n" + `{"type":"snapshot","calls":[{"id":"c1","agent":"maria","node":"b","utterances":[{"leg":"l","words":[{"text":"x"}]}],"cards":[{"card":{"id":"k"}}]}]}`, ""},
	{"delta", `{"kind":"delta","from":"b","boot":"1","agent":"maria","seq":2}` + "\n" + `{"type":"call_started","call":{"id":"c2","agent":"maria","node":"b"}}`, ""},
	{"end", `{"kind":"delta","from":"b","boot":"1","agent":"maria","seq":3}` + "\n" + `{"type":"call_ended","call":"c2","state":"moved"}`, ""},
	{"do", `{"kind":"do","from":"b","boot":"1","agent":"maria","id":1}` + "\n" + `{"type":"action","call":"home","card":"k1","action":"used"}`, ""},
	{"ack", `{"kind":"do","from":"b","boot":"1","agent":"maria","id":2,"age_ns":5,"rtt_ns":1,"fresh":true}` + "\n" + `{"type":"ack","call":"home","card":"k1"}`, ""},
	{"nothing", ``, "line's end"},
	{"no line", `{"kind":"here"}`, "line's end"},
	{"no json", "here\n", "head of a letter"},
	{"no sender", `{"kind":"here","boot":"1"}` + "\n", "from and boot"},
	{"no boot", `{"kind":"here","from":"b"}` + "\n", "from and boot"},
	{"long sender", `{"kind":"here","boot":"1","from":"` + strings.Repeat("b", 129) + `"}` + "\n", "from and boot"},
	{"kind", `{"kind":"shutdown","from":"b","boot":"1"}` + "\n", `kind "shutdown"`},
	{"no agent", `{"kind":"delta","from":"b","boot":"1"}` + "\n", `agent ""`},
	{"bad agents", `{"kind":"here","from":"b","boot":"1","agents":["\u0000"]}` + "\n", "agent"},
	{"many agents", `{"kind":"here","from":"b","boot":"1","agents":["a"` + strings.Repeat(`,"a"`, agentsAtOnce) + `]}` + "\n", "more than 500"},
	{"part of none", `{"kind":"part","from":"b","boot":"1","agent":"maria"}` + "\n", "part 0 of 0"},
	{"part beyond", `{"kind":"part","from":"b","boot":"1","agent":"maria","part":2,"parts":2}` + "\n", "part 2 of 2"},
	{"too many parts", `{"kind":"part","from":"b","boot":"1","agent":"maria","parts":9999}` + "\n", "of 9999"},
	{"from the future", `{"kind":"do","from":"b","boot":"1","agent":"maria","age_ns":-1}` + "\n", "age"},
	{"long ago", `{"kind":"do","from":"b","boot":"1","agent":"maria","age_ns":99999999999999999}` + "\n", "age"},
	{"too long", strings.Repeat("x", maxLetter+1), "at most"},
}

func TestParseLetter(t *testing.T) {
	for _, c := range letterCases {
		_, _, err := parseLetter([]byte(c.text))
		if c.problem == "" && err != nil || c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.problem)
		}
	}
	for node, want := range map[string]string{"edge-1": "edge-1", "a.b": "a%2Eb", "*": "%2A", "a b>": "a%20b%3E"} {
		if got := token(node); got != want {
			t.Errorf("token of %q is %q, want %q", node, got, want)
		}
	}
}

// FuzzLetter gives a server with a call, a pane's place and whatever other servers
// may have told letters of any kind. What it shows stays sound.
func FuzzLetter(f *testing.F) {
	for _, c := range letterCases {
		f.Add([]byte(letterCases[6].text), []byte(c.text))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		h, err := New(Config{Node: "a", Bus: &port{w: newWire(), node: "a"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.CallStarted(Call{ID: "home", Agent: "maria", Started: time.Unix(1, 0)}); err != nil {
			t.Fatal(err)
		}
		h.Card(aCard("home", "k1"))
		h.enter("maria")
		for _, b := range [][]byte{first, second} {
			h.net.receive("", b)
			if answer := h.net.serve(b); answer != nil {
				if e, _, err := parseLetter(answer); err != nil || e.Kind != "done" {
					t.Errorf("answer %s: %v", answer, err)
				}
			}
		}
		h.mu.Lock()
		s := h.snapshot(h.rooms["maria"])
		for _, c := range s.Calls {
			if c.Agent != "maria" || len(c.Utterances) > h.cfg.History || len(c.Cards) > h.cfg.Cards {
				t.Errorf("shows %+v", c.Call)
			}
		}
		if len(h.net.peers) > 2 {
			t.Errorf("%d servers of two letters", len(h.net.peers))
		}
		h.mu.Unlock()
		if _, err := json.Marshal(s); err != nil {
			t.Error(err)
		}
		h.leave("maria")
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}
