package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/cmd/sidetone/internal/demo"
	"sidetone/internal/journal"
	"sidetone/internal/needs"
	"sidetone/internal/pcm"
	"sidetone/internal/wav"
	"sidetone/media"
	"sidetone/media/resample"
	voicestore "sidetone/voiceprint/store"
)

// voiced is a server that compares voices.
func voiced(t *testing.T, edit func(*config.Config)) *running {
	t.Helper()
	needs.Model(t, config.VoiceModel, "campplus_cn_en_common.pt")
	return host(t, func(c *config.Config) {
		c.Voice.On = true
		if edit != nil {
			edit(c)
		}
	})
}

// wide is a channel of a recording at the rate of legs.
func wide(t *testing.T, a *wav.Audio, channel int, limit time.Duration) []int16 {
	t.Helper()
	x, err := resample.Convert(a.Channels[channel], a.Rate, pcm.Rate)
	if err != nil {
		t.Fatal(err)
	}
	return x[:min(len(x), int(pcm.Samples(limit)))]
}

// encoded is a WAV file of it.
func encoded(t *testing.T, x []int16) string {
	t.Helper()
	var b bytes.Buffer
	if err := wav.Encode(&b, &wav.Audio{Rate: pcm.Rate, Channels: [][]int16{x}}, wav.PCM16); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// callBy is a call of the demo's customer on which x is heard, as it was kept.
func (r *running) callBy(t *testing.T, id string, x []int16) journal.Call {
	t.Helper()
	c := open(t, r, media.Call{ID: id, Agent: "ann"})
	c.nameCustomer(journal.Named{Customer: demo.Customer, By: "test"})
	r.speakOn(t, c, x)
	return r.call(t, id)
}

// speakOn has x be heard on a call, to its end.
func (r *running) speakOn(t *testing.T, c *call, x []int16) {
	t.Helper()
	l := addLeg(t, c, media.Leg{ID: "1", Role: media.RoleCustomer, RoleReason: "trunk"})
	l.Mark(media.Mark{Kind: media.MarkStarted, Wall: time.Now()})
	var f pcm.Frame
	for at := 0; at+pcm.FrameSamples <= len(x); at += pcm.FrameSamples {
		copy(f.Samples[:], x[at:])
		f.Start = int64(at)
		l.Frame(&f)
		// As fast as it goes, but nothing is to be dropped.
		for l.queue.Len() > legQueue/2 || l.voice.Waiting() > 100 {
			time.Sleep(time.Millisecond)
		}
	}
	end := media.End{State: media.Ended, Reason: "BYE", At: time.Now()}
	l.End(end, media.LegStats{})
	c.End(end)
	<-c.done
}

// decided is the last decision of a call and its evidence.
func decided(t *testing.T, rec journal.Call) (journal.Voice, evidence) {
	t.Helper()
	var e evidence
	if len(rec.Voices) == 0 {
		t.Fatalf("call %s: nothing was decided", rec.Call)
	}
	v := rec.Voices[len(rec.Voices)-1]
	if err := json.Unmarshal(v.Whole, &e); err != nil {
		t.Fatal(err)
	}
	return v, e
}

func signNames(signs []signReply) (out []string) {
	for _, s := range signs {
		out = append(out, s.Name)
	}
	return out
}

func (r *running) consent(t *testing.T, customer string) {
	t.Helper()
	if st := r.do(t, "POST", "/v1/voice/people/"+customer+"/consent", `{"state":"consented","text":"3","channel":"branch","how":"signed"}`, nil); st != http.StatusCreated {
		t.Fatalf("consent of %s: %d", customer, st)
	}
}

func (r *running) metric(t *testing.T, line string) bool {
	t.Helper()
	_, _, b := r.ask(t, "GET", "/metrics", "")
	return strings.Contains(string(b), line+"\n")
}

// What somebody recorded of the customer confirms no voice, be it the enrolment or an
// earlier call; what was new is still told; erasure takes the prints along.
func TestRecordingsOfTheCustomer(t *testing.T) {
	r := voiced(t, func(c *config.Config) { c.Recording.Calls = "all" })
	speech, err := demo.Enrolment()
	if err != nil {
		t.Fatal(err)
	}
	call, err := demo.Call()
	if err != nil {
		t.Fatal(err)
	}
	enrolment, said := wide(t, speech, 0, time.Minute), wide(t, call, demo.CustomerChannel, 40*time.Second)
	r.consent(t, demo.Customer)
	const person = "/v1/voice/people/" + demo.Customer
	if st, _, b := r.ask(t, "POST", person+"/templates", encoded(t, enrolment)); st != http.StatusCreated {
		t.Fatalf("enrolling: %d %s", st, b)
	}
	prints := func() int64 {
		t.Helper()
		s, serr := r.voices.store.Stats(t.Context())
		if serr != nil {
			t.Fatal(serr)
		}
		return s.Prints
	}
	if n := prints(); n != 1 {
		t.Errorf("%d prints of the enrolment", n)
	}

	v, e := decided(t, r.callBy(t, "herself", said))
	if v.Decision != "match" || slices.Contains(signNames(e.Signs), "repeated_audio") {
		t.Fatalf("the customer: %s %v, signs %+v", v.Decision, v.Reasons, e.Signs)
	}
	if n := prints(); n != 2 {
		t.Errorf("%d prints after the call, want that of the enrolment and that of the call", n)
	}
	for sign, x := range map[string][]int16{"enrolment_replayed": enrolment, "repeated_audio": said} {
		v, e = decided(t, r.callBy(t, sign, x))
		if v.Decision != "inconclusive" || !slices.Contains(v.Reasons, "spoof_suspected") {
			t.Errorf("%s: %s for %v", sign, v.Decision, v.Reasons)
		}
		i := slices.IndexFunc(e.Signs, func(s signReply) bool { return s.Name == sign })
		if i < 0 || e.Signs[i].Strength < 2 || e.Signs[i].Probability < 0.99 || e.Signs[i].Evidence == "" {
			t.Errorf("%s: signs %+v", sign, e.Signs)
		}
		if !r.metric(t, `sidetone_voice_spoof_signs_total{sign="`+sign+`"} 1`) {
			t.Errorf("%s is not counted", sign)
		}
	}
	if n := prints(); n != 2 {
		t.Errorf("of recordings are kept %d prints", n-2)
	}
	var list struct{ Comparisons []comparisonReply }
	if st := r.do(t, "GET", "/v1/voice/comparisons?outcome=inconclusive", "", &list); st != http.StatusOK || len(list.Comparisons) != 2 {
		t.Fatalf("comparisons: %d, %+v", st, list)
	}
	for _, c := range list.Comparisons {
		if !slices.ContainsFunc(c.Signs, func(s signReply) bool { return s.Strength >= 2 && s.Evidence != "" }) {
			t.Errorf("a comparison has the signs %+v", c.Signs)
		}
	}

	// A call that is recorded is as good as a file. This one has the speech of the
	// enrolment once more, and so its print.
	const again = person + "/templates?line=recorded&call=enrolment_replayed"
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		st, _, b := r.ask(t, "POST", again, "")
		if st == http.StatusCreated {
			break
		}
		if st != http.StatusConflict && st != http.StatusNotFound || time.Now().After(end) {
			t.Fatalf("enrolling by a recorded call: %d %s", st, b)
		}
	}
	if st, _, b := r.ask(t, "POST", person+"/templates?call=nobody", ""); st != http.StatusNotFound {
		t.Errorf("enrolling by a call that there is not: %d %s", st, b)
	}

	var gone map[string]int64
	if st := r.do(t, "DELETE", person, "", &gone); st != http.StatusOK || gone["prints"] != 3 || prints() != 0 {
		t.Errorf("erased: %d, %v; %d prints are left", st, gone, prints())
	}
}

// A voice of the watch list raises an alarm that only the security team sees, and
// one voice under two names is not enrolled unseen.
func TestWatchListAndDuplicates(t *testing.T) {
	r := voiced(t, func(c *config.Config) { c.Voice.Links = true })
	call, err := demo.Stranger()
	if err != nil {
		t.Fatal(err)
	}
	stranger := wide(t, call, demo.CustomerChannel, time.Hour)
	// A template takes 20 s, of which the recording has nearly all.
	speech := encoded(t, slices.Concat(stranger[len(stranger)/2:], stranger))
	day := func(days int) string { return time.Now().AddDate(0, 0, days).Format(time.DateOnly) }
	ask := url.Values{"reason": {"took over two accounts"}, "basis": {"§ 1"}, "review": {day(30)}, "expires": {day(90)}, "customer": {"LB-7"}}
	var added struct{ ID string }
	st, _, b := r.ask(t, "POST", "/v1/voice/watch?"+ask.Encode(), speech)
	if err = json.Unmarshal(b, &added); st != http.StatusCreated || added.ID == "" || err != nil {
		t.Fatalf("adding: %d %s", st, b)
	}
	for name, change := range map[string]func(url.Values){
		"no reason": func(q url.Values) { q.Del("reason") }, "no basis": func(q url.Values) { q.Del("basis") },
		"no date": func(q url.Values) { q.Set("review", "soon") }, "a past date": func(q url.Values) { q.Set("expires", day(-1)) },
		"no such channel": func(q url.Values) { q.Set("channel", "0") },
	} {
		q := url.Values{}
		for k, v := range ask {
			q[k] = v
		}
		change(q)
		if st := r.do(t, "POST", "/v1/voice/watch?"+q.Encode(), speech, nil); st != http.StatusBadRequest {
			t.Errorf("%s: %d", name, st)
		}
	}
	entries := func() []watchReply {
		t.Helper()
		var list struct{ Entries []watchReply }
		if st := r.do(t, "GET", "/v1/voice/watch", "", &list); st != http.StatusOK {
			t.Fatalf("listing: %d", st)
		}
		return list.Entries
	}
	if got := entries(); len(got) != 1 || got[0].ID != added.ID || got[0].Reason != "took over two accounts" || got[0].Basis != "§ 1" || got[0].Version != 1 || got[0].Person == "" {
		t.Fatalf("the list: %+v", got)
	}

	r.callBy(t, "watched", stranger)
	hits := func(state string) []hitReply {
		t.Helper()
		var list struct{ Hits []hitReply }
		if st := r.do(t, "GET", "/v1/voice/hits?state="+state, "", &list); st != http.StatusOK {
			t.Fatalf("hits: %d", st)
		}
		return list.Hits
	}
	got := hits("open")
	if len(got) != 1 || got[0].Watch != added.ID || got[0].Leg != "1" || !(got[0].LLR > 5) || !r.metric(t, "sidetone_voice_watch_hits_total 1") {
		t.Fatalf("hits: %+v", got)
	}
	judge := func() int {
		return r.do(t, "POST", "/v1/voice/hits/"+got[0].ID, `{"state":"confirmed"}`, nil)
	}
	if st := judge(); st != http.StatusNoContent {
		t.Errorf("judging: %d", st)
	}
	if st := judge(); st != http.StatusConflict {
		t.Errorf("judging again: %d", st)
	}
	if done := hits("confirmed"); len(hits("open")) != 0 || len(done) != 1 || done[0].Decided == nil {
		t.Errorf("judged: %+v", done)
	}
	extend := `{"review":"` + day(60) + `","expires":"` + day(120) + `","version":1}`
	if st := r.do(t, "POST", "/v1/voice/watch/"+added.ID, extend, nil); st != http.StatusNoContent {
		t.Errorf("extending: %d", st)
	}
	if st := r.do(t, "POST", "/v1/voice/watch/"+added.ID, extend, nil); st != http.StatusConflict {
		t.Errorf("extending what has changed: %d", st)
	}
	if st := r.do(t, "DELETE", "/v1/voice/watch/"+added.ID, "", nil); st != http.StatusNoContent || len(entries()) != 0 {
		t.Errorf("removing: %d", st)
	}

	r.consent(t, "LB-1")
	r.consent(t, "LB-2")
	if st := r.do(t, "POST", "/v1/voice/people/LB-1/templates", speech, nil); st != http.StatusCreated {
		t.Fatalf("enrolling: %d", st)
	}
	var no apiError
	if st := r.do(t, "POST", "/v1/voice/people/LB-2/templates", speech, &no); st != http.StatusConflict || !slices.Equal(no.Customers, []string{"lb-1"}) {
		t.Errorf("the voice under another name: %d, %+v", st, no)
	}
	if st := r.do(t, "POST", "/v1/voice/people/LB-1/templates?line=headset", speech, nil); st != http.StatusCreated {
		t.Errorf("the voice under its own name: %d", st)
	}
	if st := r.do(t, "POST", "/v1/voice/people/LB-2/templates?duplicates=allow", speech, nil); st != http.StatusCreated {
		t.Errorf("allowed: %d", st)
	}

	// One unknown voice calls for two customers; one of them is forgotten.
	for i, c := range []string{"LB-8", "LB-9"} {
		x := open(t, r, media.Call{ID: fmt.Sprint("of another ", i)})
		x.nameCustomer(journal.Named{Customer: c, By: "test"})
		r.speakOn(t, x, stranger)
	}
	var links struct {
		On    bool
		Links []linkReply
	}
	if st := r.do(t, "GET", "/v1/voice/links", "", &links); st != http.StatusOK || !links.On || len(links.Links) != 1 || !slices.Equal(links.Links[0].Customers, []string{canonical(demo.Customer), "lb-8", "lb-9"}) {
		t.Errorf("links: %d, %+v", st, links)
	}
	if st := r.do(t, "POST", "/v1/voice/people/LB-8/consent", `{"state":"opted_out","channel":"call","how":"spoken"}`, nil); st != http.StatusCreated {
		t.Fatalf("opting out: %d", st)
	}
	if err = r.voices.store.Consent(t.Context(), voicestore.Actor{Name: "test"}, "LB-9", voicestore.Consent{Text: "3", How: "signed"}); err != nil {
		t.Fatal(err)
	}
	if st := r.do(t, "DELETE", "/v1/voice/people/LB-9", "", nil); st != http.StatusOK {
		t.Fatalf("erasing: %d", st)
	}
	if r.do(t, "GET", "/v1/voice/links", "", &links); len(links.Links) != 0 {
		t.Errorf("links to who is forgotten: %+v", links)
	}
	r.stop()
	for _, secret := range []string{"lb-", "took over"} {
		if strings.Contains(strings.ToLower(r.logs.String()), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
}
