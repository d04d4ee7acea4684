package app

import (
	"errors"
	"net/http"
	"strings"
	"testing"
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

func FuzzDecodeCall(f *testing.F) {
	for _, s := range []string{
		exampleBody, "", "null", `{"agent":"a","legs":[{"role":"customer","id":"c","identity":"+1","codec":"PCMA"}]}`,
		`{"agent":"a","legs":null}`, `{"agent":"` + strings.Repeat("x", 200) + `"}`, "[]", "{}{}",
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
			if seen[l.ID] || l.ID == "" || l.Role == "" || l.Codec != "PCMU" && l.Codec != "PCMA" {
				t.Errorf("%q passes as %+v", body, q)
			}
			seen[l.ID] = true
		}
		for _, s := range []string{q.Call, q.Agent} {
			if strings.ContainsAny(s, "/\\ \n<>\"") {
				t.Errorf("%q: the name %q is let through", body, s)
			}
		}
	})
}
