package app

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"sidetone/media/codec"
)

func TestDecodeCallFillsInWhatIsLeftOut(t *testing.T) {
	q, err := decodeCall(strings.NewReader(`{"agent":"ann","legs":[{"role":"agent","codec":"pcma"},{"role":"customer"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []legRequest{{ID: "agent", Role: "agent", Codec: "PCMA"}, {ID: "customer", Role: "customer", Codec: "PCMU"}}
	for i, l := range q.Legs {
		if l != want[i] {
			t.Errorf("leg %d is %+v, want %+v", i, l, want[i])
		}
	}
}

func TestDecodeCallChecksLanguageAndPhrases(t *testing.T) {
	phrase := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	list := func(n int) string { return strings.TrimSuffix(strings.Repeat(`"Ann",`, n), ",") }
	for _, c := range []struct{ fields, want string }{
		{`"language":"de"`, ""},
		{`"language":"auto"`, ""},
		{`"language":""`, ""},
		{`"language":"German"`, `language: "German" is no language`},
		{`"language":7`, "no valid call"},
		{`"phrases":["Łukasz Żółć","Mr. O'Neil","张伟"]`, ""},
		{`"phrases":null`, ""},
		{`"phrases":[` + phrase(100) + `]`, ""},
		{`"phrases":["Ann",` + phrase(101) + `]`, "phrases[1]: 101 bytes; at most 100"},
		{`"phrases":["Ann","one\ntwo"]`, `phrases[1]: "one\ntwo" holds a control character`},
		{`"phrases":[""]`, `phrases[0]: "" has no letter`},
		{`"phrases":["Ann",7]`, "no valid call"},
		{`"phrases":[` + list(100) + `]`, ""},
		{`"phrases":[` + list(101) + `]`, "phrases: 101 given; at most 100"},
	} {
		q, err := decodeCall(strings.NewReader(`{"agent":"ann","legs":[{"role":"agent"}],` + c.fields + `}`))
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.fields, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s passes as %+v with %v, want %q", c.fields, q, err, c.want)
		}
	}
}

func decodable(name string) bool {
	f, err := codec.Parse(name)
	return err == nil && codec.Decodable(f)
}

func TestDecodeCallCodecs(t *testing.T) {
	for _, c := range []struct{ fields, codec, want string }{
		{`"codec":"g722"`, "G722", ""},
		{`"codec":"OPUS/48000/2","payload_type":111`, "opus", ""},
		{`"codec":"L16/16000"`, "L16/16000", ""},
		{`"codec":"L16/8000","payload_type":97`, "L16/8000", ""},
		{`"codec":"L16/8000"`, "", "no payload type of its own"},
		{`"codec":"G729"`, "", `codec: "G729" is not supported`},
		{`"codec":"telephone-event/8000"`, "", "is not supported"},
		{`"codec":"PCMU","payload_type":128`, "", "payload_type: 128 is none"},
		{`"codec":"PCMU","payload_type":72`, "", "payload_type: 72 is none"},
		{`"codec":"PCMU","payload_type":-1`, "", "no valid call"},
	} {
		q, err := decodeCall(strings.NewReader(`{"agent":"ann","legs":[{"role":"agent",` + c.fields + `}]}`))
		switch {
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.fields, err, c.want)
		case c.want == "" && (err != nil || q.Legs[0].Codec != c.codec):
			t.Errorf("%s: %+v, %v", c.fields, q, err)
		}
	}
}

func FuzzDecodeCall(f *testing.F) {
	for _, s := range []string{
		exampleBody, "", "null", `{"agent":"a","legs":[{"role":"customer","id":"c","identity":"+1","codec":"PCMA"}]}`,
		`{"agent":"a","legs":null}`, `{"agent":"a","legs":[{"role":"agent"}],"language":"auto","phrases":["Ann","O'Neil"]}`, `{"agent":"` + strings.Repeat("x", 200) + `"}`, "[]", "{}{}",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		q, err := decodeCall(strings.NewReader(body))
		if err != nil {
			var e *apiError
			if !errors.As(err, &e) || e.Status < 400 || e.Status >= http.StatusInternalServerError || e.Text == "" {
				t.Errorf("%q: the error %v does not blame the request", body, err)
			}
			return
		}
		if q.Agent == "" || len(q.Legs) == 0 {
			t.Errorf("%q passes as %+v", body, q)
		}
		seen := map[string]bool{}
		for _, l := range q.Legs {
			if seen[l.ID] || l.ID == "" || l.Role == "" || !decodable(l.Codec) {
				t.Errorf("%q passes as %+v", body, q)
			}
			seen[l.ID] = true
		}
		for _, p := range q.Phrases {
			if len(p) == 0 || len(p) > 100 || len(q.Phrases) > 100 || strings.ContainsAny(p, "\n\x00") {
				t.Errorf("%q passes with the phrase %q", body, p)
			}
		}
		for _, s := range []string{q.Call, q.Agent, q.Language} {
			if strings.ContainsAny(s, "/\\ \n<>\"") {
				t.Errorf("%q: the name %q is let through", body, s)
			}
		}
	})
}
