package app

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sidetone/asr"
	"strings"
	"sync"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/journal"
	"sidetone/internal/models"
	"sidetone/internal/pcm"
	"sidetone/media"
)

// host is a server with an engine that hears nothing, and its media.Host.
func host(t *testing.T, edit func(*config.Config)) *running {
	t.Helper()
	return startWith(t, deaf, edit)
}

// deaf makes an engine that hears nothing.
func deaf(c config.Recognition, _ *models.Store, _ *metrics, _ *slog.Logger) (*recogniser, error) {
	return &recogniser{Engine: &taper{}, c: c, local: &local{}, languages: []string{"en"}}, nil
}

func (r *running) call(t *testing.T, id string) journal.Call {
	t.Helper()
	var rec journal.Call
	if st := r.do(t, "GET", "/v1/calls/"+id, "", &rec); st != 200 {
		t.Fatalf("call %q: status %d", id, st)
	}
	return rec
}

func open(t *testing.T, r *running, c media.Call) *call {
	t.Helper()
	s, err := r.calls.begin(c, func(e media.End) {
		if c := r.calls.find(c.ID); c != nil {
			go c.End(e)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func addLeg(t *testing.T, c *call, l media.Leg) *leg {
	t.Helper()
	s, err := c.AddLeg(l)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*leg)
}

// TestHost brings calls as sources do.
func TestHost(t *testing.T) {
	r := host(t, func(c *config.Config) { c.Media.MaxCalls = 2 })
	end := media.End{State: media.Ended, Reason: "BYE", At: time.Now()}

	c := open(t, r, media.Call{ID: "one", Source: "siprec", External: "cs-1"})
	if rec := r.call(t, "one"); rec.Agent != "" || rec.External != "cs-1" || rec.State != "running" {
		t.Errorf("a call without agent: %+v", rec)
	}
	if _, err := r.calls.Open(media.Call{ID: "one"}, nil); !errors.Is(err, media.ErrDuplicate) {
		t.Errorf("the same call again: %v", err)
	}
	customer := addLeg(t, c, media.Leg{ID: "1", Role: media.RoleCustomer, RoleReason: "trunk", Identity: "sip:+4930@carrier.example"})
	customer.Mark(media.Mark{Kind: media.MarkStarted, Wall: time.Now()})
	if rec := r.call(t, "one"); rec.Agent != nobody {
		t.Errorf("audio of a call without an agent is on the pane of %q", rec.Agent)
	}
	agent := addLeg(t, c, media.Leg{ID: "2", Label: "2"})
	c.UpdateLeg(media.Leg{ID: "2", Label: "2", Role: media.RoleAgent, RoleReason: "extension", Identity: "sip:2207@pbx.example;x=y", Name: "Ann"})
	if rec := r.call(t, "one"); rec.Agent != "2207" || rec.Legs[1].Role != "agent" || rec.Legs[1].Name != "Ann" || rec.Legs[1].RoleReason != "extension" {
		t.Errorf("an agent is known now: %+v", rec)
	}
	// A transfer: another agent is heard on the leg.
	c.UpdateLeg(media.Leg{ID: "2", Role: media.RoleAgent, RoleReason: "extension", Identity: "sip:2208@pbx.example"})
	if rec := r.call(t, "one"); rec.Agent != "2208" {
		t.Errorf("after the transfer it is on the pane of %q", rec.Agent)
	}
	if _, err := c.AddLeg(media.Leg{ID: "2"}); !errors.Is(err, media.ErrDuplicate) {
		t.Errorf("a leg of a name in use: %v", err)
	}
	agent.End(end, media.LegStats{Received: 5})
	agent.End(end, media.LegStats{Received: 9})
	again := addLeg(t, c, media.Leg{ID: "2", Role: media.RoleAgent})
	c.Describe(map[string]string{"ucid": "42", "long": strings.Repeat("x", 5000)})
	c.Describe(map[string]string{"ucid": "43"})

	open(t, r, media.Call{ID: "two", Agent: "bob"})
	if _, err := r.calls.Open(media.Call{ID: "three"}, nil); !errors.Is(err, media.ErrBusy) || !strings.Contains(err.Error(), "media.max_calls") {
		t.Errorf("a call too many: %v", err)
	}
	customer.End(end, media.LegStats{})
	c.End(end)
	c.End(media.End{State: media.Aborted, At: time.Now()})
	<-c.done
	rec := r.call(t, "one")
	if rec.State != "ended" || rec.Reason != "BYE" || len(rec.Legs) != 3 || rec.Legs[1].Stats.Received != 5 || rec.Legs[2].Stats == nil {
		t.Errorf("the record of the ended call: %+v", rec)
	}
	if rec.Facts["ucid"] != "43" || len(rec.Facts["long"]) != maxFact {
		t.Errorf("facts: %d, %q", len(rec.Facts), rec.Facts["ucid"])
	}
	if _, err := c.AddLeg(media.Leg{ID: "9"}); err == nil {
		t.Error("a leg came after the end")
	}
	again.End(end, media.LegStats{})
	open(t, r, media.Call{ID: "one"})
	// The server's stop hangs up.
	r.stop()
	if _, err := r.calls.Open(media.Call{ID: "late"}, nil); !errors.Is(err, media.ErrDraining) {
		t.Errorf("a call while the server stops: %v", err)
	}
}

func TestAgentName(t *testing.T) {
	for identity, want := range map[string]string{
		"sip:2207@pbx.example": "2207", "sips:ann.b@pbx.example;transport=tls": "ann.b", "tel:+49301234": "+49301234",
		"2207": "2207", "": "Ann-B", "sip:@host": "Ann-B", "sip:ä b@host": "--b", "sip:..@h": "",
	} {
		if got := agentName(&media.Leg{Identity: identity, Name: "Ann B"}); got != want {
			t.Errorf("%q: %q, want %q", identity, got, want)
		}
	}
}

// TestSwap exchanges the roles, whatever the source says later.
func TestSwap(t *testing.T) {
	r := host(t, nil)
	c := open(t, r, media.Call{ID: "c", Agent: "ann"})
	addLeg(t, c, media.Leg{ID: "a", Role: media.RoleAgent, RoleReason: "label"})
	addLeg(t, c, media.Leg{ID: "b", Role: media.RoleCustomer, RoleReason: "label"})
	var rec journal.Call
	if st := r.do(t, "POST", "/v1/calls/c/swap", `{"reason":"ann says so"}`, &rec); st != 200 {
		t.Fatalf("status %d", st)
	}
	check := func(a, b, reason string) {
		t.Helper()
		rec := r.call(t, "c")
		if rec.Legs[0].Role != a || rec.Legs[1].Role != b || rec.Legs[0].RoleReason != reason || rec.Agent != "ann" {
			t.Errorf("legs %+v of agent %q, want %s and %s: %s", rec.Legs, rec.Agent, a, b, reason)
		}
	}
	check("customer", "agent", "swapped: ann says so")
	c.UpdateLeg(media.Leg{ID: "a", Role: media.RoleAgent, RoleReason: "metadata"})
	check("customer", "agent", "swapped: ann says so")
	if st := r.do(t, "POST", "/v1/calls/c/role", `{"leg":"a","role":"unknown"}`, nil); st != 200 {
		t.Errorf("status %d", st)
	}
	check("unknown", "agent", "set: asked for by the API")
	for path, body := range map[string]string{
		"/v1/calls/c/role": `{"leg":"a","role":"boss"}`, "/v1/calls/x/swap": "", "/v1/calls/c/swap": `{"why":1}`, "/v1/calls/c/pause": `{"reason":"` + strings.Repeat("x", 300) + `"}`,
	} {
		if st, _, b := r.ask(t, "POST", path, body); st < 400 || st >= 500 || !json.Valid(b) {
			t.Errorf("%s %s: %d %s", path, body, st, b)
		}
	}
}

// TestPause lets nothing of a paused span through, while time goes on.
func TestPause(t *testing.T) {
	r := host(t, func(c *config.Config) { c.Media.PauseKeys, c.Media.ResumeKeys = "*71", "*72" })
	c := open(t, r, media.Call{ID: "c", Agent: "ann"})
	l := addLeg(t, c, media.Leg{ID: "a", Role: media.RoleAgent})
	engine := r.calls.env.recogniser.Engine.(*taper)
	var f pcm.Frame
	send := func() {
		for i := range f.Samples {
			f.Samples[i] = 1000
		}
		l.Frame(&f)
		f.Start += pcm.FrameSamples
	}
	at := time.Now()
	press := func(keys string) {
		for _, k := range []byte(keys) {
			at = at.Add(200 * time.Millisecond)
			l.Mark(media.Mark{Kind: media.MarkDigit, Digit: k, Wall: at})
		}
	}
	var want []bool // heard
	step := func(heard bool) { send(); want = append(want, heard) }
	step(true)
	if st := r.do(t, "POST", "/v1/calls/c/pause", "", nil); st != 200 {
		t.Fatal(st)
	}
	step(false)
	r.calls.Pause("ann", "c", false)
	step(true)
	press("1*71")
	step(false)
	press("*7")
	at = at.Add(time.Minute)
	press("2")
	step(false)
	press("*72")
	step(true)
	c.Pause("protocol")
	c.Pause("again")
	step(false)
	end := media.End{State: media.Ended, At: time.Now()}
	l.End(end, media.LegStats{})
	c.End(end)
	<-c.done
	got := engine.frames("a")
	if len(got) != len(want) {
		t.Fatalf("%d frames, want %d", len(got), len(want))
	}
	for i, f := range got {
		loud := f.Samples[7] != 0
		if loud != want[i] || f.Start != int64(i)*pcm.FrameSamples || (f.Flags == pcm.Inserted) == want[i] {
			t.Errorf("frame %d: heard %t at %d with flags %v, want %t", i, loud, f.Start, f.Flags, want[i])
		}
	}
	rec := r.call(t, "c")
	if len(rec.Pauses) != 3 || rec.Pauses[0].Resumed != "asked for by ann" || rec.Pauses[1].Reason != "telephone keys" || rec.Pauses[2].EndMS == nil {
		t.Errorf("pauses %+v", rec.Pauses)
	}
	if strings.Contains(r.logs.String(), "*71") {
		t.Error("keys are in the log")
	}
}

// taper is an engine that keeps the frames of each leg and hears nothing.
type taper struct {
	mu   sync.Mutex
	kept map[string][]pcm.Frame
}

func (r *taper) frames(leg string) []pcm.Frame {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kept[leg]
}

func (r *taper) Close() error { return nil }

// maker makes a recogniser of the engine.
func (r *taper) maker() maker {
	return func(c config.Recognition, _ *models.Store, _ *metrics, _ *slog.Logger) (*recogniser, error) {
		return &recogniser{Engine: r, c: c, local: &local{}, languages: []string{"en"}}, nil
	}
}

func (r *taper) NewStream(_ context.Context, c asr.StreamConfig) (asr.Stream, error) {
	return &recorded{r, c.Leg}, nil
}

type recorded struct {
	engine *taper
	leg    string
}

func (s *recorded) Accept(f *pcm.Frame, _ []asr.Edge) ([]asr.Hypothesis, error) {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	if s.engine.kept == nil {
		s.engine.kept = map[string][]pcm.Frame{}
	}
	s.engine.kept[s.leg] = append(s.engine.kept[s.leg], *f)
	return nil, nil
}

func (s *recorded) Finish(context.Context) ([]asr.Hypothesis, error) { return nil, nil }

func (s *recorded) Close() error { return nil }

// TestQuality names what is wrong with a leg's audio, from one report to the
// next.
func TestQuality(t *testing.T) {
	good := media.LegStats{Received: 1000, Lost: 50, Quality: media.Quality{Frames: 1000, SpeechFrames: 500, Level: -25}}
	for _, c := range []struct {
		name string
		edit func(*media.LegStats)
		want string
	}{
		{"as before", func(s *media.LegStats) { s.Received += 100 }, ""},
		{"nothing came", func(*media.LegStats) {}, ""},
		{"losses", func(s *media.LegStats) { s.Received += 95; s.Lost += 5 }, "loss"},
		{"lateness", func(s *media.LegStats) { s.Received += 95; s.Late += 5 }, "late"},
		{"clipping", func(s *media.LegStats) { s.Received += 100; s.Quality.Frames += 100; s.Quality.Clipped += 400 }, "clipping"},
		{"quiet", func(s *media.LegStats) { s.Received += 100; s.Quality.Level = -50 }, "level"},
	} {
		now := good
		c.edit(&now)
		if q := quality(&now, &good, true); q.Poor != c.want {
			t.Errorf("%s: %+v, want %q", c.name, q, c.want)
		}
	}
	hum := media.LegStats{Received: 100, Quality: media.Quality{Frames: 100, SpeechFrames: 100, Level: -60}}
	if q := quality(&hum, &media.LegStats{}, false); q.Poor != "" {
		t.Errorf("a line in which nobody has spoken yet: %+v", q)
	}
	hum.Quality.SpeechFrames = longSpeech
	if q := quality(&hum, &media.LegStats{}, false); q.Poor != "level" {
		t.Errorf("somebody whom nobody hears: %+v", q)
	}
	r := host(t, nil)
	call := open(t, r, media.Call{ID: "c", Agent: "ann"})
	l := addLeg(t, call, media.Leg{ID: "a", Role: media.RoleAgent})
	l.Stats(media.LegStats{Received: 90, Lost: 10, Quality: media.Quality{Frames: 100, SkewKnown: true, Skew: 40}})
	if rec := r.call(t, "c"); rec.Legs[0].Stats == nil || rec.Legs[0].Stats.Lost != 10 || rec.Legs[0].Stats.SkewPPM == nil || rec.Legs[0].Ended {
		t.Errorf("the running leg's record: %+v", rec.Legs[0])
	}
	if !strings.Contains(r.logs.String(), "what=loss") {
		t.Error("the log does not tell")
	}
	l.End(media.End{State: media.Ended, At: time.Now()}, media.LegStats{
		Received: 90, Lost: 10, Jitter: 15 * time.Millisecond, ConcealedFrames: 2,
		Quality: media.Quality{Frames: 100, SpeechFrames: 50, Level: -27, Clipped: 64, SkewKnown: true, Skew: 40},
	})
	_, _, b := r.ask(t, "GET", "/metrics", "")
	for _, want := range []string{
		"sidetone_leg_loss_ratio_sum 0.1", "sidetone_leg_concealed_ratio_sum 0.02", "sidetone_leg_jitter_seconds_sum 0.015",
		"sidetone_leg_speech_level_dbfs_sum -27", "sidetone_leg_clock_skew_ppm_sum 40", "sidetone_leg_clipped_ratio_sum 0.002",
	} {
		if !strings.Contains(string(b), want+"\n") {
			t.Errorf("the metrics lack %q", want)
		}
	}
}

// TestRolesAreDecided finds out who is the agent by the numbers of the house.
func TestRolesAreDecided(t *testing.T) {
	r := host(t, func(c *config.Config) {
		c.Roles.Addresses = []config.RoleAddress{{Role: "agent", Number: "22??"}}
	})
	c := open(t, r, media.Call{ID: "c"})
	addLeg(t, c, media.Leg{ID: "1", Identity: "sip:+4930111222@carrier.example", Role: media.RoleAgent, RoleReason: "label 1"})
	addLeg(t, c, media.Leg{ID: "2", Identity: "sip:2207@pbx.example"})
	rec := r.call(t, "c")
	if rec.Legs[1].Role != "agent" || !strings.Contains(rec.Legs[1].RoleReason, "22??") || rec.Agent != "2207" {
		t.Errorf("%+v of agent %q", rec.Legs, rec.Agent)
	}
	if rec.Legs[0].Role == "customer" {
		return
	}
	if len(rec.Legs[0].Conflicts) == 0 {
		t.Errorf("nothing tells that the source and the house disagree: %+v", rec.Legs[0])
	}
}
