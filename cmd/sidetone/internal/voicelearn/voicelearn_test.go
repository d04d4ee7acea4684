package voicelearn_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/voicelearn"
	"sidetone/voiceprint"
	"sidetone/voiceprint/enrol"
	"sidetone/voiceprint/store"
)

const (
	model = "line/1"
	who   = "LB-1"
)

var begin = time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)

// voice is one of some voices that have nothing in common.
func voice(n int) voiceprint.Embedding {
	e := make(voiceprint.Embedding, 4)
	e[n] = 1
	return e
}

// between is a voice with so much of the second one.
func between(a, b int, share float32) voiceprint.Embedding {
	e := make(voiceprint.Embedding, 4)
	e[a], e[b] = 1-share, share
	voiceprint.Unit(e)
	return e
}

// scales weigh the cosine to the nearest.
type scales struct{}

func (scales) Info() voiceprint.Info {
	return voiceprint.Info{Model: voiceprint.Model{ID: model, Dim: 4}}
}

func (scales) LLR(enrolled []voiceprint.Embedding, e voiceprint.Embedding, _ time.Duration) (float64, error) {
	best := -1.0
	for _, o := range enrolled {
		best = max(best, voiceprint.Cosine(o, e))
	}
	return 20*best - 10, nil
}

func (scales) Threshold(far float64) (voiceprint.Operating, error) {
	return voiceprint.Operating{FAR: far, LLR: 6}, nil
}

// kept is what is kept of one person, in memory.
type kept struct {
	standing  store.State
	templates []voiceprint.Template
	missing   error
	state     enrol.State
	version   int64
	followed  map[string]enrol.Voice
	// conflicts is how often somebody else is faster.
	conflicts int
	reads     int
	saves     []store.Learnt
}

func (k *kept) State(context.Context, string) (store.Standing, error) {
	return store.Standing{State: k.standing}, nil
}

func (k *kept) Templates(context.Context, store.Actor, string, string) ([]voiceprint.Template, error) {
	k.reads++
	if len(k.templates) == 0 {
		return nil, fmt.Errorf("a test: %w", k.missing)
	}
	return slices.Clone(k.templates), nil
}

func (k *kept) Passive(context.Context, store.Actor, string) (enrol.State, int64, error) {
	k.reads++
	return k.state, k.version, nil
}

func (k *kept) SavePassive(_ context.Context, _ store.Actor, _ string, l store.Learnt) (string, error) {
	if k.conflicts > 0 {
		k.conflicts--
		k.version++
	}
	if l.Version != k.version {
		return "", store.ErrConflict
	}
	k.state, k.version, k.saves = l.State, k.version+1, append(k.saves, l)
	if l.Active {
		k.templates = []voiceprint.Template{*l.Template}
	}
	return "id", nil
}

func (k *kept) Followed(_ context.Context, _ store.Actor, _, template string) (enrol.Voice, int64, error) {
	return k.followed[template], k.version, nil
}

func (k *kept) SaveFollowed(_ context.Context, _ store.Actor, _, from string, v enrol.Voice, version int64, next *voiceprint.Template) (string, error) {
	if version != k.version {
		return "", store.ErrConflict
	}
	k.version++
	delete(k.followed, from)
	id := from
	if next != nil {
		id = from + "+"
		for i := range k.templates {
			if k.templates[i].ID == from {
				k.templates[i] = *next
				k.templates[i].ID = id
			}
		}
	}
	k.followed[id] = v
	return id, nil
}

type test struct {
	*testing.T
	kept *kept
	cfg  voicelearn.Config
	now  time.Time
	n    int
}

func begun(t *testing.T) *test {
	k := &kept{standing: store.Consented, missing: store.ErrNotEnrolled, followed: map[string]enrol.Voice{}}
	return &test{T: t, kept: k, now: begin, cfg: voicelearn.Config{
		People: k, Passives: k, Followers: k, Scorer: scales{}, By: store.Actor{Name: "system:test"}, Passive: true, Adapt: true,
	}}
}

// call is a good one, a day after the last.
func (x *test) call(e voiceprint.Embedding) voicelearn.Call {
	x.n++
	x.now = x.now.Add(24 * time.Hour)
	return voicelearn.Call{
		Key: fmt.Sprint("c", x.n), Line: "phone", At: x.now, Subject: who, Confirmed: true, Embedding: e,
		Quality:  voiceprint.Quality{Net: 15 * time.Second},
		Decision: voiceprint.Decision{Outcome: voiceprint.Match, LLR: 9, Final: true, Scores: 4},
	}
}

func (x *test) hear(c voicelearn.Call) enrol.Result {
	x.Helper()
	l, err := voicelearn.New(x.cfg)
	if err != nil {
		x.Fatal(err)
	}
	r, err := l.Hear(x.Context(), c, x.now)
	if err != nil {
		x.Fatal(err)
	}
	return r
}

// Two confirmed calls of one voice, a day apart, enrol; without consent, confirmation
// or the policy nothing is even read.
func TestEnrolledByCalls(t *testing.T) {
	x := begun(t)
	if r := x.hear(x.call(voice(0))); r.Verdict != enrol.Kept || x.kept.state.Phase != enrol.Collecting {
		t.Errorf("the first: %+v, %+v", r, x.kept.state)
	}
	c := x.call(voice(0))
	c.At = x.kept.state.Calls[0].At.Add(time.Hour)
	if r := x.hear(c); r.Verdict != enrol.Proposed || x.kept.saves[1].Active || x.kept.saves[1].Template == nil {
		t.Errorf("an hour later: %+v, %+v", r, x.kept.saves)
	}
	x.kept.conflicts = 1
	if r := x.hear(x.call(voice(0))); r.Verdict != enrol.Enrolled || !x.kept.saves[2].Active || x.kept.state.Phase != enrol.Active {
		t.Errorf("a day later: %+v, %+v", r, x.kept.saves)
	}
}

func TestNothingIsLearnt(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*test, *voicelearn.Call)
		why    voiceprint.Reason
		reads  int
	}{
		"not confirmed":  {func(_ *test, c *voicelearn.Call) { c.Confirmed = false }, enrol.NotConfirmed, 0},
		"nobody":         {func(_ *test, c *voicelearn.Call) { c.Subject = "" }, "", 0},
		"asked only":     {func(x *test, _ *voicelearn.Call) { x.kept.standing = store.Asked }, voiceprint.NoConsent, 0},
		"opted out":      {func(x *test, _ *voicelearn.Call) { x.kept.standing = store.OptedOut }, voiceprint.NoConsent, 0},
		"turned off":     {func(x *test, _ *voicelearn.Call) { x.cfg.Passive, x.cfg.Adapt = false, false }, "", 0},
		"opts out now":   {func(x *test, _ *voicelearn.Call) { x.kept.missing = store.ErrOptedOut }, voiceprint.OptedOut, 1},
		"passive is off": {func(x *test, _ *voicelearn.Call) { x.cfg.Passive = false }, voiceprint.NotEnrolled, 1},
		"noise":          {func(_ *test, c *voicelearn.Call) { c.Gates = []voiceprint.Reason{voiceprint.Noise} }, voiceprint.Noise, 2},
		"narrow": {func(x *test, _ *voicelearn.Call) {
			x.cfg.Gates = func(voiceprint.Quality) []voiceprint.Reason { return []voiceprint.Reason{voiceprint.Narrow} }
		}, voiceprint.Narrow, 2},
		"too little": {func(_ *test, c *voicelearn.Call) { c.Quality.Net = 5 * time.Second }, voiceprint.TooLittle, 2},
	} {
		x := begun(t)
		call := x.call(voice(0))
		c.change(x, &call)
		r := x.hear(call)
		if r.Verdict != enrol.Ignored || c.why != "" && !slices.Equal(r.Reasons, []voiceprint.Reason{c.why}) {
			t.Errorf("%s: %+v", name, r)
		}
		if x.kept.reads != c.reads || len(x.kept.saves) != 0 {
			t.Errorf("%s: %d reads, saved %+v", name, x.kept.reads, x.kept.saves)
		}
	}
}

// Who is on the watch list, or enrolled as somebody else, is for security.
func TestSecurityLooks(t *testing.T) {
	listed := func(context.Context, voiceprint.Embedding, time.Duration) (bool, error) { return true, nil }
	others := func(_ context.Context, _ voiceprint.Embedding, _ time.Duration, subject string) ([]string, error) {
		return []string{"not " + subject}, nil
	}
	x := begun(t)
	x.cfg.WatchListed = listed
	if r := x.hear(x.call(voice(0))); !r.Alert || x.kept.state.Phase != enrol.Stopped || !slices.Equal(x.kept.saves[0].Reasons, []voiceprint.Reason{enrol.WatchListed}) {
		t.Errorf("listed: %+v, %+v", r, x.kept.state)
	}
	// Once it is stopped it stays so, and nobody is told again.
	x.cfg.WatchListed = nil
	if r := x.hear(x.call(voice(0))); r.Alert || r.Verdict != enrol.Blocked {
		t.Errorf("stopped: %+v", r)
	}
	x = begun(t)
	x.cfg.Duplicates = others
	if r := x.hear(x.call(voice(0))); !r.Alert || !slices.Equal(r.Others, []string{"not " + who}) {
		t.Errorf("a duplicate: %+v", r)
	}
	// Voices that disagree begin anew, and then stop.
	x = begun(t)
	var last enrol.Result
	for i := range 4 {
		last = x.hear(x.call(voice(i % 2)))
	}
	if !last.Alert || x.kept.state.Phase != enrol.Stopped {
		t.Errorf("disagreeing: %+v, %+v", last, x.kept.state)
	}
	// What cannot be looked up is an error, and nothing is enrolled.
	x = begun(t)
	x.cfg.WatchListed = func(context.Context, voiceprint.Embedding, time.Duration) (bool, error) {
		return false, context.DeadlineExceeded
	}
	l, err := voicelearn.New(x.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = l.Hear(t.Context(), x.call(voice(0)), x.now); !errors.Is(err, context.DeadlineExceeded) || len(x.kept.saves) != 0 {
		t.Errorf("%v, %+v", err, x.kept.saves)
	}
}

// A template that a person has revoked is not made again; one of another model is.
func TestAfterEnrolment(t *testing.T) {
	x := begun(t)
	x.kept.state = enrol.State{Phase: enrol.Active}
	if r := x.hear(x.call(voice(0))); r.Verdict != enrol.Ignored || len(x.kept.saves) != 0 {
		t.Errorf("revoked: %+v", r)
	}
	x.kept.missing = voiceprint.ErrModel
	if r := x.hear(x.call(voice(0))); r.Verdict != enrol.Kept || x.kept.state.Phase != enrol.Collecting {
		t.Errorf("of another model: %+v", r)
	}
}

// The nearest template follows clear and confirmed matches, and goes on from what it
// was rolled back to.
func TestTemplatesFollow(t *testing.T) {
	x := begun(t)
	x.kept.templates = []voiceprint.Template{
		{ID: "far", Model: model, Embedding: voice(2), Made: begin},
		{ID: "near", Line: "phone", Model: model, Embedding: voice(0), Made: begin, Source: "file"},
	}
	if r := x.hear(x.call(between(0, 1, 0.3))); r.Verdict != voicelearn.Adapted {
		t.Fatalf("%+v", r)
	}
	got := x.kept.templates[1]
	if got.ID != "near+" || got.Line != "phone" || got.Source != "file; call c1" || voiceprint.Cosine(got.Embedding, voice(0)) > 0.9999 {
		t.Errorf("%+v", got)
	}
	c := x.call(between(0, 1, 0.3))
	c.Decision.LLR = 5
	if r := x.hear(c); r.Verdict != enrol.Kept || !slices.Equal(r.Reasons, []voiceprint.Reason{enrol.TooWeak}) {
		t.Errorf("a weak match: %+v", r)
	}
	// Somebody rolls back.
	x.kept.templates[1].Embedding = voice(0)
	if r := x.hear(x.call(between(0, 1, 0.3))); r.Verdict != voicelearn.Adapted {
		t.Errorf("%+v", r)
	}
	if v := x.kept.followed["near++"]; voiceprint.Cosine(v.Before, voice(0)) < 0.9999 || v.Changes != 2 {
		t.Errorf("%+v", v)
	}
	for name, change := range map[string]func(*voicelearn.Call){
		"noise":    func(c *voicelearn.Call) { c.Gates = []voiceprint.Reason{voiceprint.Noise} },
		"no end":   func(c *voicelearn.Call) { c.Decision.Final = false },
		"unscored": func(c *voicelearn.Call) { c.Decision.Scores = 0 },
	} {
		before := x.kept.version
		c := x.call(voice(0))
		change(&c)
		if r := x.hear(c); r.Verdict != enrol.Ignored || x.kept.version != before {
			t.Errorf("%s: %+v", name, r)
		}
	}
	x.cfg.WatchListed = func(context.Context, voiceprint.Embedding, time.Duration) (bool, error) { return true, nil }
	if r := x.hear(x.call(voice(0))); r.Verdict != enrol.Ignored || !slices.Equal(r.Reasons, []voiceprint.Reason{enrol.WatchListed}) {
		t.Errorf("listed: %+v", r)
	}
}

func TestRenew(t *testing.T) {
	x := begun(t)
	l, err := voicelearn.New(x.cfg)
	if err != nil {
		t.Fatal(err)
	}
	const year = 365 * 24 * time.Hour
	for name, c := range map[string]struct {
		v    enrol.Voice
		used time.Time
		now  time.Time
		want []voiceprint.Reason
	}{
		"new":             {now: begin, used: begin},
		"used":            {now: begin.Add(2 * year), used: begin.Add(year)},
		"unused":          {now: begin.Add(2 * year), used: begin, want: []voiceprint.Reason{enrol.Unused}},
		"old":             {now: begin.Add(3 * year), used: begin.Add(2 * year), want: []voiceprint.Reason{voiceprint.Expired}},
		"old as followed": {v: enrol.Voice{Made: begin.Add(-2 * year)}, now: begin.Add(year), used: begin.Add(year), want: []voiceprint.Reason{voiceprint.Expired}},
	} {
		if got := l.Renew(c.v, begin, c.used, c.now); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if s, changed := l.Expire(begin.Add(year))(enrol.State{Phase: enrol.Collecting, Calls: []enrol.Candidate{{At: begin}}}); !changed || len(s.Calls) != 0 || l.Keep() != 180*24*time.Hour {
		t.Errorf("%+v", s)
	}
}

func TestIsVoiceOf(t *testing.T) {
	x := begun(t)
	l, err := voicelearn.New(x.cfg)
	if err != nil {
		t.Fatal(err)
	}
	is := func(e voiceprint.Embedding) bool {
		t.Helper()
		yes, err := l.IsVoiceOf(t.Context(), "agent:ann", e, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return yes
	}
	if is(voice(0)) {
		t.Error("nobody is enrolled")
	}
	x.kept.templates = []voiceprint.Template{{ID: "a", Model: model, Embedding: voice(0)}}
	if !is(voice(0)) || is(voice(1)) || is(between(0, 1, 0.5)) {
		t.Error("voices are confused")
	}
	if _, err = voicelearn.New(voicelearn.Config{}); err == nil {
		t.Error("nothing is given")
	}
}
