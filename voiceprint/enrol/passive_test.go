package enrol

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"sidetone/voiceprint"
)

func passive(t testing.TB, p PassivePolicy) *Passive {
	t.Helper()
	out, err := NewPassive(scales{}, Policy{Passive: p})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// scene makes calls of a person and of a stranger.
type scene struct {
	crowd            *crowd
	person, stranger []float64
	calls            int
}

func newScene(seed uint64) *scene {
	c := newCrowd(seed)
	return &scene{crowd: c, person: c.person(), stranger: c.person()}
}

// good is a call of 20 s, so many hours after monday, in which all is as it should be.
func (s *scene) good(hours float64) Call {
	s.calls++
	return Call{
		ID: fmt.Sprint(s.calls), Line: "phone", At: monday.Add(time.Duration(hours * float64(time.Hour))),
		Consent: Given, Confirmed: true, Embedding: s.crowd.call(s.person, 0.7),
		Quality: voiceprint.Quality{Net: 20 * time.Second, SNR: 20, Reverberation: math.NaN()},
	}
}

func (s *scene) with(hours float64, change func(*Call)) Call {
	c := s.good(hours)
	change(&c)
	return c
}

func (s *scene) by(hours float64, who []float64) Call {
	return s.with(hours, func(c *Call) { c.Embedding = s.crowd.call(who, 0.7) })
}

// between is a call that may be anybody's.
func (s *scene) between(hours float64, like voiceprint.Embedding) Call {
	return s.with(hours, func(c *Call) {
		other := make(voiceprint.Embedding, testModel.Dim)
		other[1] = 1
		for i := range other {
			other[i] = 0.5*like[i] + float32(math.Sqrt(0.75))*other[i]
		}
		c.Embedding, c.Quality.Net = other, 10*time.Second
	})
}

func step(t testing.TB, p *Passive, s State, c Call) (State, Result) {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	next, r, err := p.Step(s, c, c.At)
	if err != nil {
		t.Fatal(err)
	}
	if after, err := json.Marshal(s); err != nil || string(after) != string(b) {
		t.Fatal("the state that was given has changed")
	}
	// What is written is what is read.
	b, err = json.Marshal(next)
	if err != nil {
		t.Fatal(err)
	}
	var again State
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	return again, r
}

func TestPassive(t *testing.T) {
	type want struct {
		verdict Verdict
		phase   Phase
		reasons []voiceprint.Reason
		alert   bool
	}
	type reasons = []voiceprint.Reason
	for name, c := range map[string]struct {
		policy PassivePolicy
		calls  func(s *scene) []Call
		want   []want
	}{
		"two days apart": {PassivePolicy{}, func(s *scene) []Call { return []Call{s.good(0), s.good(48), s.good(72)} }, []want{
			{Kept, Collecting, reasons{voiceprint.TooLittle, TooFewCalls, CoolingOff}, false},
			{Enrolled, Active, nil, false},
			{Ignored, Active, nil, false},
		}},
		"on one day, then later": {PassivePolicy{}, func(s *scene) []Call { return []Call{s.good(0), s.good(2), s.good(23.9), s.good(24)} }, []want{
			{Kept, Collecting, reasons{voiceprint.TooLittle, TooFewCalls, CoolingOff}, false},
			{Proposed, Provisional, reasons{CoolingOff}, false},
			{Proposed, Provisional, reasons{CoolingOff}, false},
			{Enrolled, Active, nil, false},
		}},
		"one long call is provisional": {PassivePolicy{Calls: 1}, func(s *scene) []Call {
			return []Call{s.with(0, func(c *Call) { c.Quality.Net = 40 * time.Second }), s.good(30)}
		}, []want{
			{Proposed, Provisional, reasons{TooFewCalls, CoolingOff}, false},
			{Enrolled, Active, nil, false},
		}},
		"short calls": {PassivePolicy{}, func(s *scene) []Call {
			short := func(c *Call) { c.Quality.Net = 12 * time.Second }
			return []Call{s.with(0, short), s.with(48, short), s.with(50, short)}
		}, []want{
			{Kept, Collecting, reasons{voiceprint.TooLittle, TooFewCalls, CoolingOff}, false},
			{Kept, Collecting, reasons{voiceprint.TooLittle}, false},
			{Enrolled, Active, nil, false},
		}},
		"a late report": {PassivePolicy{}, func(s *scene) []Call {
			late := s.good(0)
			return []Call{s.good(48), late}
		}, []want{
			{Kept, Collecting, reasons{voiceprint.TooLittle, TooFewCalls, CoolingOff}, false},
			{Enrolled, Active, nil, false},
		}},
		"calls that do not count": {PassivePolicy{}, func(s *scene) []Call {
			return []Call{
				s.with(0, func(c *Call) { c.Consent = NotAsked }),
				s.with(0, func(c *Call) { c.Confirmed = false }),
				s.with(0, func(c *Call) { c.Gates = reasons{voiceprint.SeveralVoices} }),
				s.with(0, func(c *Call) { c.Gates = reasons{voiceprint.SpoofSuspected, voiceprint.Noise} }),
				s.with(0, func(c *Call) { c.Quality.Net = 9 * time.Second }),
				// Nobody knows whose account it is.
				s.with(0, func(c *Call) { c.Confirmed, c.WatchListed = false, true }),
			}
		}, []want{
			{Ignored, Empty, reasons{voiceprint.NoConsent}, false},
			{Ignored, Empty, reasons{NotConfirmed}, false},
			{Ignored, Empty, reasons{voiceprint.SeveralVoices}, false},
			{Ignored, Empty, reasons{voiceprint.SpoofSuspected, voiceprint.Noise}, false},
			{Ignored, Empty, reasons{voiceprint.TooLittle}, false},
			{Ignored, Empty, reasons{NotConfirmed}, false},
		}},
		"the same call twice": {PassivePolicy{}, func(s *scene) []Call { c := s.good(0); return []Call{c, c} }, []want{
			{Kept, Collecting, reasons{voiceprint.TooLittle, TooFewCalls, CoolingOff}, false},
			{Ignored, Collecting, nil, false},
		}},
		"consent withdrawn": {PassivePolicy{}, func(s *scene) []Call {
			return []Call{s.good(0), s.with(1, func(c *Call) { c.Consent = Withdrawn }), s.good(2)}
		}, []want{
			{Kept, Collecting, reasons{voiceprint.TooLittle, TooFewCalls, CoolingOff}, false},
			{Erased, Empty, reasons{voiceprint.OptedOut}, false},
			{Kept, Collecting, reasons{voiceprint.TooLittle, TooFewCalls, CoolingOff}, false},
		}},
		"on a watch list": {PassivePolicy{}, func(s *scene) []Call {
			return []Call{s.good(0), s.with(48, func(c *Call) { c.WatchListed = true }), s.good(72), s.with(73, func(c *Call) { c.Consent = Withdrawn })}
		}, []want{
			{Kept, Collecting, reasons{voiceprint.TooLittle, TooFewCalls, CoolingOff}, false},
			{Blocked, Stopped, reasons{WatchListed}, true},
			{Blocked, Stopped, reasons{WatchListed}, false},
			{Erased, Empty, reasons{voiceprint.OptedOut}, false},
		}},
		"the voice of another": {PassivePolicy{}, func(s *scene) []Call {
			return []Call{s.with(0, func(c *Call) { c.Duplicates = []string{"bob"} })}
		}, []want{
			{Blocked, Stopped, reasons{Duplicate}, true},
		}},
		"two people call": {PassivePolicy{}, func(s *scene) []Call {
			return []Call{s.good(0), s.by(48, s.stranger), s.good(72), s.by(96, s.stranger)}
		}, []want{
			{Kept, Collecting, reasons{voiceprint.TooLittle, TooFewCalls, CoolingOff}, false},
			{Restarted, Empty, reasons{Disagrees}, false},
			{Kept, Collecting, reasons{voiceprint.TooLittle, TooFewCalls, CoolingOff}, false},
			{Blocked, Stopped, reasons{Disagrees}, true},
		}},
		"provisional, then another": {PassivePolicy{}, func(s *scene) []Call {
			return []Call{s.good(0), s.good(1), s.by(48, s.stranger)}
		}, []want{
			{Kept, Collecting, reasons{voiceprint.TooLittle, TooFewCalls, CoolingOff}, false},
			{Proposed, Provisional, reasons{CoolingOff}, false},
			{Restarted, Empty, reasons{Disagrees}, false},
		}},
		"neither agrees nor disagrees": {PassivePolicy{}, func(s *scene) []Call {
			first := s.good(0)
			return []Call{first, s.between(48, first.Embedding), s.between(49, first.Embedding), s.between(50, first.Embedding)}
		}, []want{
			{Kept, Collecting, reasons{voiceprint.TooLittle, TooFewCalls, CoolingOff}, false},
			{Ignored, Collecting, reasons{voiceprint.Between}, false},
			{Ignored, Collecting, reasons{voiceprint.Between}, false},
			{Restarted, Empty, reasons{voiceprint.Between}, false},
		}},
		"half a year apart": {PassivePolicy{}, func(s *scene) []Call { return []Call{s.good(0), s.good(24 * 181)} }, []want{
			{Kept, Collecting, reasons{voiceprint.TooLittle, TooFewCalls, CoolingOff}, false},
			{Kept, Collecting, reasons{voiceprint.TooLittle, TooFewCalls, CoolingOff}, false},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p, sc := passive(t, c.policy), newScene(40)
			var s State
			var r Result
			now := monday
			for i, call := range c.calls(sc) {
				if call.At.After(now) {
					now = call.At
				}
				var err error
				if s, r, err = p.Step(s, call, now); err != nil {
					t.Fatal(err)
				}
				w := c.want[i]
				if r.Verdict != w.verdict || s.Phase != w.phase || !slices.Equal(r.Reasons, w.reasons) || r.Alert != w.alert {
					t.Fatalf("call %d: %s, %q, %v, alert %v; want %+v", i, r.Verdict, s.Phase, r.Reasons, r.Alert, w)
				}
				if (r.Template != nil) != (r.Verdict == Proposed || r.Verdict == Enrolled) {
					t.Fatalf("call %d: %s with the template %v", i, r.Verdict, r.Template)
				}
				if (s.Phase == Empty || s.Phase == Active || s.Phase == Stopped) && len(s.Calls) > 0 {
					t.Fatalf("call %d: embeddings are kept in the phase %q", i, s.Phase)
				}
			}
		})
	}
}

func TestPassiveTemplate(t *testing.T) {
	p, sc := passive(t, PassivePolicy{}), newScene(41)
	s, _ := step(t, p, State{}, sc.good(0))
	second := sc.good(30)
	second.Line, second.Quality.Net = "headset", 35*time.Second
	_, r := step(t, p, s, second)
	if r.Verdict != Enrolled {
		t.Fatalf("got %+v", r)
	}
	got := *r.Template
	if c := voiceprint.Cosine(got.Embedding, sc.crowd.call(sc.person, 0)); c < 0.9 {
		t.Errorf("the cosine to the person's voice is %v", c)
	}
	if got.Line != "headset" || got.Source != "calls 1, 2" || got.Model != testModel.ID || !got.Made.Equal(second.At) || got.ID != "" {
		t.Errorf("got %+v", got)
	}
	if q := got.Quality; q.Net != 55*time.Second || math.Abs(q.SNR-20) > 1e-9 || !math.IsNaN(q.Reverberation) {
		t.Errorf("quality %+v", q)
	}
}

// Whatever happens, nothing is enrolled that the rules forbid, and no more is kept than
// they say.
func TestPassiveProperties(t *testing.T) {
	enrolled, own := 0, 0
	for seed := range uint64(200) {
		p, sc := passive(t, PassivePolicy{}), newScene(1000+seed)
		random := rand.New(rand.NewPCG(seed, 1))
		var s State
		var counted []Call
		at := 0.0
		for range 40 {
			at += 40 * random.ExpFloat64()
			c := sc.good(at)
			c.Quality.Net = time.Duration(5+random.IntN(30)) * time.Second
			switch random.IntN(12) {
			case 0:
				c.Embedding = sc.crowd.call(sc.stranger, 0.7)
			case 1:
				c.Confirmed = false
			case 2:
				c.Gates = []voiceprint.Reason{voiceprint.Music}
			case 3:
				c.Consent = NotAsked
			case 4:
				if random.IntN(20) == 0 {
					c.Consent = Withdrawn
				}
			case 5:
				if random.IntN(20) == 0 {
					c.WatchListed = true
				}
			}
			if c.Consent == Given && c.Confirmed && !c.WatchListed && len(c.Gates) == 0 {
				counted = append(counted, c)
			}
			var r Result
			s, r = step(t, p, s, c)
			if len(s.Calls) > mostCandidates {
				t.Fatalf("%d calls are kept", len(s.Calls))
			}
			for _, k := range s.Calls {
				if !slices.ContainsFunc(counted, func(c Call) bool { return c.ID == k.Call }) {
					t.Fatalf("the call %s is kept", k.Call)
				}
			}
			if s.Phase == Stopped {
				break
			}
			if r.Verdict == Enrolled {
				enrolled++
				if r.Template.Quality.Net < 30*time.Second || at < 24 {
					t.Fatalf("enrolled after %v hours on %v", at, r.Template.Quality.Net)
				}
				a := voiceprint.Cosine(r.Template.Embedding, sc.crowd.call(sc.person, 0))
				b := voiceprint.Cosine(r.Template.Embedding, sc.crowd.call(sc.stranger, 0))
				if max(a, b) < 0.8 || min(a, b) > 0.6 {
					t.Fatalf("cosines of %v to the person and %v to the stranger: it is of both", a, b)
				}
				if a > b {
					own++
				}
				break
			}
		}
	}
	t.Logf("%d of 200 enrolled, %d of them the person", enrolled, own)
	// A stranger who is confirmed twice, with no call of the person's between, is the
	// customer for all that these rules can know: one in a hundred here.
	if enrolled < 100 || own < enrolled*95/100 {
		t.Errorf("%d of 200 enrolled, %d of them the person", enrolled, own)
	}
}

// Where there is no room the first call stays, and the confirming one is kept.
func TestPassiveIsBounded(t *testing.T) {
	p, sc := passive(t, PassivePolicy{}), newScene(42)
	var s State
	for i := range 30 {
		s, _ = step(t, p, s, sc.good(0.5*float64(i)))
	}
	if len(s.Calls) != mostCandidates || s.Calls[0].Call != "1" || s.Calls[mostCandidates-1].Call != "30" {
		t.Fatalf("%d calls from %s to %s", len(s.Calls), s.Calls[0].Call, s.Calls[len(s.Calls)-1].Call)
	}
	if _, r := step(t, p, s, sc.good(25)); r.Verdict != Enrolled {
		t.Errorf("got %+v", r)
	}
}

// The time of keeping ends without a call, too.
func TestPassiveExpires(t *testing.T) {
	p, sc := passive(t, PassivePolicy{}), newScene(43)
	s, _ := step(t, p, State{}, sc.good(0))
	s, _ = step(t, p, s, sc.good(1))
	if s.Phase != Provisional {
		t.Fatalf("got %q", s.Phase)
	}
	if _, changed := p.Expire(s, monday.Add(180*day)); changed {
		t.Error("a call has expired in time")
	}
	half, changed := p.Expire(s, monday.Add(180*day+30*time.Minute))
	if !changed || half.Phase != Collecting || len(half.Calls) != 1 {
		t.Errorf("one is over: %q, %d calls", half.Phase, len(half.Calls))
	}
	if none, changed := p.Expire(half, monday.Add(181*day)); !changed || none.Phase != Empty || none.Calls != nil {
		t.Errorf("both are over: %+v", none)
	}
}

func TestPassiveErrors(t *testing.T) {
	p, sc := passive(t, PassivePolicy{}), newScene(44)
	s, _ := step(t, p, State{}, sc.good(0))
	early := sc.good(10)
	if next, _, err := p.Step(s, early, monday); err == nil || !reflect.DeepEqual(next, s) {
		t.Errorf("a call that has not ended: %v", err)
	}
	short := sc.with(1, func(c *Call) { c.Embedding = c.Embedding[:3] })
	if next, _, err := p.Step(s, short, short.At); !errors.Is(err, voiceprint.ErrModel) || !reflect.DeepEqual(next, s) {
		t.Errorf("another model: %v", err)
	}
	// What another model has heard cannot be compared: it begins anew.
	s.Model = "older"
	next, r, err := p.Step(s, sc.good(48), monday.Add(2*day))
	if err != nil || r.Verdict != Kept || len(next.Calls) != 1 || next.Model != testModel.ID {
		t.Errorf("after a change of model: %+v, %v", r, err)
	}
	if _, err := NewPassive(scales{}, Policy{Passive: PassivePolicy{Calls: -1}}); err == nil {
		t.Error("a policy that cannot be meant: no error")
	}
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"phase":"collecting","model":"crowd","calls":[{"call":"1","at":"2026-03-02T09:00:00Z","embedding":[1,0],"quality":{"net":20000000000,"values":[20,null,0,3400,null,0,null]}}]}`))
	f.Add([]byte(`{"phase":"stopped","reasons":["watch_list"],"calls":[{"quality":{"values":[1,2]}}]}`))
	sc := newScene(45)
	call := sc.good(0)
	p := passive(f, PassivePolicy{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var s State
		if json.Unmarshal(b, &s) != nil {
			return
		}
		out, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var again State
		if err := json.Unmarshal(out, &again); err != nil {
			t.Fatal(err)
		}
		if b, _ := json.Marshal(again); string(b) != string(out) {
			t.Errorf("%s became %s", out, b)
		}
		p.Expire(s, monday)
		_, _, _ = p.Step(s, call, monday)
	})
}
