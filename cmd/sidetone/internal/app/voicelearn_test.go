package app

import (
	"bytes"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/cmd/sidetone/internal/demo"
	"sidetone/guidance/push"
	"sidetone/internal/journal"
	"sidetone/internal/models"
	"sidetone/internal/needs"
	"sidetone/internal/pcm"
	"sidetone/internal/wav"
	"sidetone/media"
	"sidetone/media/resample"
	"sidetone/voiceprint"
)

// heardWell is a server that compares voices and recognises no words.
func heardWell(t *testing.T, edit func(*config.Voice)) *running {
	t.Helper()
	needs.Model(t, config.VoiceModel, "campplus_cn_en_common.pt")
	return startWith(t, func(c config.Recognition, _ *models.Store, _ *metrics, _ *slog.Logger) (*recogniser, error) {
		return &recogniser{Engine: &scripted{}, c: c, local: &local{}, languages: []string{"en"}}, nil
	}, func(c *config.Config) {
		c.Voice.On = true
		edit(&c.Voice)
	})
}

// channel is one of a recording's, at the rate of frames.
func channel(t *testing.T, from func() (*wav.Audio, error), n int) []int16 {
	t.Helper()
	a, err := from()
	if err != nil {
		t.Fatal(err)
	}
	x, err := resample.Convert(a.Channels[n], a.Rate, voiceprint.Rate)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// speaks has audio come on a leg, faster than anybody speaks but so that it is heard.
func speaks(l *leg, at int64, x []int16) int64 {
	l.Mark(media.Mark{Kind: media.MarkStarted, Wall: time.Now()})
	for ; len(x) >= pcm.FrameSamples; x = x[pcm.FrameSamples:] {
		f := pcm.Frame{Start: at}
		copy(f.Samples[:], x)
		at = f.End()
		for l.queue.Len() >= legQueue/2 {
			time.Sleep(time.Millisecond)
		}
		l.Frame(&f)
		if f.Start/pcm.FrameSamples%10 == 0 {
			time.Sleep(40 * time.Millisecond)
		}
	}
	return at
}

func (r *running) person(t *testing.T, who string) historyReply {
	t.Helper()
	var h historyReply
	if st := r.do(t, "GET", "/v1/voice/people/"+url.PathEscape(who), "", &h); st != 200 {
		t.Fatalf("person: %d", st)
	}
	return h
}

func (r *running) agrees(t *testing.T, who string) {
	t.Helper()
	if st := r.do(t, "POST", "/v1/voice/people/"+url.PathEscape(who)+"/consent", `{"state":"consented","text":"3","how":"signed"}`, nil); st != 201 {
		t.Fatalf("consent: %d", st)
	}
}

// A customer who consented is enrolled by two calls on which something else confirmed
// who they are; one on which nothing did teaches nothing. What they are then compared
// with follows them, and goes back.
func TestEnrolledByTheirCalls(t *testing.T) {
	r := heardWell(t, func(v *config.Voice) {
		v.Passive = config.VoicePassive{On: true, Calls: 2, Speech: 10 * time.Second, CallSpeech: 4 * time.Second, CoolingOff: time.Millisecond, Keep: time.Hour, Conflicts: 2}
		v.Adapt.On = true
	})
	const who = "LB-7"
	r.agrees(t, who)
	speech := channel(t, demo.Enrolment, 0)
	call := func(id, confirmed string, x []int16) {
		t.Helper()
		c := open(t, r, media.Call{ID: id, Agent: "ann"})
		l := addLeg(t, c, media.Leg{ID: "c", Role: media.RoleCustomer})
		body := `{"customer":"` + who + `","confirmed":"` + confirmed + `"}`
		if st := r.do(t, "POST", "/v1/calls/"+id+"/customer", body, nil); st != 200 {
			t.Fatalf("naming: %d", st)
		}
		if rec := r.call(t, id); rec.Named != who || rec.Confirmed != confirmed {
			t.Errorf("named %q, confirmed by %q", rec.Named, rec.Confirmed)
		}
		speaks(l, 0, x)
		c.End(media.End{State: media.Ended, At: time.Now()})
		c.wait(t.Context())
	}
	half := len(speech) / 2
	call("one", "", speech[:half])
	if h := r.person(t, who); h.Passive != nil {
		t.Errorf("learnt though nothing confirmed it: %+v", h.Passive)
	}
	call("two", "pin", speech[:half])
	if h := r.person(t, who); h.Passive == nil || h.Passive.Phase != "collecting" || h.Passive.Calls != 1 || h.Active+h.Provisional != 0 {
		t.Errorf("after the first: %+v, %d templates", h.Passive, h.Active)
	}
	call("three", "pin", speech[half:])
	h := r.person(t, who)
	if h.Passive == nil || h.Passive.Phase != "active" || h.Active != 1 || len(h.Renew) != 0 {
		t.Errorf("after the second: %+v, %d templates, %v", h.Passive, h.Active, h.Renew)
	}
	if st := r.do(t, "DELETE", "/v1/voice/people/"+who+"/passive", "", nil); st != 204 {
		t.Errorf("reset: %d", st)
	}
	if h = r.person(t, who); h.Passive != nil || h.Active != 1 {
		t.Errorf("after the reset: %+v, %d templates", h.Passive, h.Active)
	}
	if st := r.do(t, "POST", "/v1/voice/people/"+who+"/templates/"+h.Templates[0].ID+"/rollback", "", nil); st != 409 {
		t.Errorf("back from the first version: %d", st)
	}
	call("four", "pin", channel(t, demo.Call, demo.CustomerChannel)[:60*voiceprint.Rate])
	if h = r.person(t, who); len(h.Templates) != 2 || !h.Templates[1].Live || h.Templates[0].Live || h.Comparisons[0].Outcome != "match" {
		t.Fatalf("after a match: %+v, %+v", h.Templates, h.Comparisons)
	}
	if st := r.do(t, "POST", "/v1/voice/people/"+who+"/templates/"+h.Templates[0].ID+"/rollback", "", nil); st != 204 {
		t.Errorf("back: %d", st)
	}
	if h = r.person(t, who); len(h.Templates) != 1 || !h.Templates[0].Live {
		t.Errorf("gone back: %+v", h.Templates)
	}
	for id, body := range map[string]string{"by": `{"customer":"a","confirmed":"a pin"}`, "nobody": `{"confirmed":"pin"}`} {
		open(t, r, media.Call{ID: id, Agent: "ann"})
		if st := r.do(t, "POST", "/v1/calls/"+id+"/customer", body, nil); st != 400 {
			t.Errorf("%s: %d", body, st)
		}
	}
	if strings.Contains(r.logs.String(), who) {
		t.Error("the log names the customer")
	}
}

// An agent who is enrolled and heard on the customer's leg, while somebody else is on
// theirs, has the roles doubted, but not swapped; whoever swaps them finds the agent.
func TestTheAgentIsOnTheOtherLeg(t *testing.T) {
	r := heardWell(t, func(*config.Voice) {})
	const ann = "agent:ann"
	speech, err := demo.Enrolment()
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err = wav.Encode(&file, speech, wav.PCM16); err != nil {
		t.Fatal(err)
	}
	r.agrees(t, ann)
	if st := r.do(t, "POST", "/v1/voice/people/"+url.PathEscape(ann)+"/templates", file.String(), nil); st != 201 {
		t.Fatalf("enrolling the agent: %d", st)
	}
	c := open(t, r, media.Call{ID: "crossed", Agent: "ann"})
	agent := addLeg(t, c, media.Leg{ID: "a", Role: media.RoleAgent})
	customer := addLeg(t, c, media.Leg{ID: "c", Role: media.RoleCustomer})
	speaks(agent, 0, channel(t, demo.Stranger, demo.CustomerChannel)[:30*voiceprint.Rate])
	at := speaks(customer, 0, channel(t, demo.Call, demo.CustomerChannel)[:60*voiceprint.Rate])
	rec := r.wait(t, "crossed", "doubted", func(rec journal.Call) bool {
		return len(rec.Legs) == 2 && len(rec.Legs[0].Conflicts) > 0 && len(rec.Legs[1].Conflicts) > 0
	})
	if len(rec.Voices) != 1 || rec.Voices[0].Leg != "a" || rec.Voices[0].Decision != "mismatch" || rec.Legs[0].Role != "agent" {
		t.Errorf("legs %+v, voices %+v", rec.Legs, rec.Voices)
	}
	c.mu.Lock()
	shown := []push.Leg{agent.pushed(), customer.pushed()}
	c.mu.Unlock()
	if shown[0].Voice != nil || shown[1].Voice != nil || shown[0].DoubtVoice || !shown[1].DoubtVoice {
		t.Errorf("the pane shows %+v", shown)
	}
	if kept := r.person(t, ann).Comparisons; len(kept) != 1 || kept[0].Outcome != "mismatch" || kept[0].Leg != "a" {
		t.Errorf("kept %+v", kept)
	}
	if st := r.do(t, "POST", "/v1/calls/crossed/swap", "", nil); st != 200 {
		t.Fatalf("swap: %d", st)
	}
	// Its next frame tells the leg.
	speaks(customer, at, make([]int16, pcm.FrameSamples))
	rec = r.wait(t, "crossed", "found", func(rec journal.Call) bool {
		return slices.ContainsFunc(rec.Voices, func(v journal.Voice) bool { return v.Leg == "c" && v.Decision == "match" })
	})
	if len(rec.Legs[0].Conflicts)+len(rec.Legs[1].Conflicts) != 0 {
		t.Errorf("after the swap: %+v", rec.Legs)
	}
	c.End(media.End{State: media.Ended, At: time.Now()})
	c.wait(t.Context())
	if log := r.logs.String(); !strings.Contains(log, "the agent's voice is on the customer's leg") {
		t.Error("the log does not tell")
	}
}
