//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sidetone/cmd/sidetone/internal/demo"
	"sidetone/internal/journal"
	"sidetone/internal/needs"
	"sidetone/internal/wav"
	"sidetone/media/rtpsend"
)

// A customer consents and enrols; their next call is theirs by their voice, that of
// another who gives their name is not, and after they have opted out nothing is
// compared any more.
func TestVoices(t *testing.T) {
	t.Parallel()
	needs.Model(t, "campplus-speaker", "campplus_cn_en_common.pt")
	s := serve(t, "")
	const person = "/v1/voice/people/" + demo.Customer
	speech, err := demo.Enrolment()
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err = wav.Encode(&file, speech, wav.PCM16); err != nil {
		t.Fatal(err)
	}
	if st := s.api(t, http.MethodPost, person+"/templates", file.String(), nil); st != http.StatusConflict {
		t.Fatalf("enrolled without consent: %d", st)
	}
	consent := `{"state":"consented","text":"3","language":"en","channel":"branch","how":"signed"}`
	if st := s.api(t, http.MethodPost, person+"/consent", consent, nil); st != http.StatusCreated {
		t.Fatalf("consent: %d", st)
	}
	var enrolled struct {
		Template string
		Report   struct {
			NetMS int64 `json:"net_ms"`
		}
	}
	if st := s.api(t, http.MethodPost, person+"/templates", file.String(), &enrolled); st != http.StatusCreated || enrolled.Report.NetMS < 20_000 {
		t.Fatalf("enrolling: %d, %+v", st, enrolled)
	}

	ctx := browser(t)
	within(ctx, t, 60*time.Second, "the pane does not connect",
		chromedp.Navigate(s.url+"/agent/ann"), truth(`document.querySelector("#link").dataset.state === "connected"`))
	call := func(name string, audio func() (*wav.Audio, error), until time.Duration, outcome, badge string) {
		t.Helper()
		a, err := audio()
		if err != nil {
			t.Fatal(err)
		}
		to := s.begin(t, name)
		// The agent finds out who calls while they speak.
		wait, stop := speak(t, a, to, 0, until, rtpsend.Impairment{})
		time.Sleep(3 * time.Second)
		if st := s.api(t, http.MethodPost, "/v1/calls/"+name+"/customer", `{"customer":"`+demo.Customer+`"}`, nil); st != http.StatusOK {
			t.Fatalf("naming the customer: %d", st)
		}
		if badge != "" {
			within(ctx, t, 60*time.Second, "the badge does not say "+badge,
				truth(`document.querySelector("#voice").dataset.outcome === "`+outcome+`" && document.querySelector("#voice-text").textContent === "`+badge+`"`))
			shot(ctx, t, "voice-"+outcome)
		}
		rec := s.until(t, name, "decided", func(c *journal.Call) bool { return len(c.Voices) > 0 })
		stop()
		wait()
		s.api(t, http.MethodDelete, "/v1/calls/"+name, "", nil)
		v := rec.Voices[len(rec.Voices)-1]
		if v.Decision != outcome || rec.Named != demo.Customer {
			t.Errorf("call %s of %q: %s %v after %d ms, want %s", name, rec.Named, v.Decision, v.Reasons, v.NetMS, outcome)
		}
		t.Logf("%s: %s after %d ms of speech: %s", name, v.Decision, v.NetMS, v.Whole)
	}
	call("true", demo.Call, 40*time.Second, "match", "Voice confirmed")
	call("false", demo.Stranger, 35*time.Second, "mismatch", "Another voice")

	var list struct {
		Comparisons []struct {
			Outcome string
			Looks   []json.RawMessage
		}
	}
	if st := s.api(t, http.MethodGet, "/v1/voice/comparisons?customer="+demo.Customer, "", &list); st != http.StatusOK || len(list.Comparisons) != 2 {
		t.Fatalf("the comparisons: %d, %+v", st, list)
	}
	if c := list.Comparisons; c[0].Outcome != "mismatch" || c[1].Outcome != "match" || len(c[0].Looks) == 0 {
		t.Errorf("the comparisons are %+v", c)
	}

	// The security team sees how that came to be.
	within(ctx, t, 30*time.Second, "the page of voices shows no curve", chromedp.Navigate(s.url+"/voices"), truth(`document.querySelector(".chart .curve")`))
	if got := content(ctx, t, ".figure strong"); got != "1" {
		t.Errorf("%q people are enrolled", got)
	}
	shot(ctx, t, "voices")
	within(ctx, t, 30*time.Second, "the page of the person shows no score over time",
		chromedp.Navigate(s.url+"/voices/people/"+demo.Customer), truth(`document.querySelectorAll(".chart .dot").length > 1 && document.querySelectorAll(".comparison").length === 2`))
	shot(ctx, t, "voices-person")
	if got := value[string](ctx, t, `[...document.querySelectorAll("main section:last-of-type td:nth-child(3)")].map((e) => e.textContent).filter((e) => ["compared", "enrolled", "recorded consent"].includes(e)).join()`); got != "compared,compared,enrolled,recorded consent" {
		t.Errorf("the trail tells of %s", got)
	}

	if st := s.api(t, http.MethodPost, person+"/consent", `{"state":"opted_out","channel":"call","how":"spoken"}`, nil); st != http.StatusCreated {
		t.Fatalf("opting out: %d", st)
	}
	call("later", demo.Call, 12*time.Second, "inconclusive", "")
	rec := s.kept(t, "later")
	if !slices.Equal(rec.Voices[0].Reasons, []string{"opted_out"}) || rec.Voices[0].NetMS != 0 {
		t.Errorf("after the opt-out: %+v", rec.Voices)
	}
	if st := s.api(t, http.MethodPost, person+"/templates", file.String(), nil); st != http.StatusConflict {
		t.Errorf("enrolled after the opt-out: %d", st)
	}
}
