package enrol

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"sidetone/voiceprint"
)

func adaptation(t *testing.T, p AdaptationPolicy) *Adaptation {
	t.Helper()
	a, err := NewAdaptation(Policy{Adaptation: p})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func high(e voiceprint.Embedding) Compared {
	return Compared{Decision: voiceprint.Decision{Outcome: voiceprint.Match, LLR: 9}, Confirmed: true, Embedding: e, Net: 15 * time.Second}
}

func TestWhatChangesATemplate(t *testing.T) {
	c := newCrowd(50)
	p := c.person()
	v := NewVoice(template("1", "phone", c.call(p, 0.5), 30*time.Second))
	e := c.call(p, 0.5)
	for name, w := range map[string]struct {
		change  func(*Compared)
		reasons []voiceprint.Reason
		heard   int
	}{
		"all is well":   {func(*Compared) {}, nil, 1},
		"not confirmed": {func(c *Compared) { c.Confirmed = false }, []voiceprint.Reason{NotConfirmed}, 1},
		"a weak match":  {func(c *Compared) { c.Decision.LLR = 6.8 }, []voiceprint.Reason{TooWeak}, 1},
		"a mismatch":    {func(c *Compared) { c.Decision.Outcome = voiceprint.Mismatch }, []voiceprint.Reason{TooWeak}, 1},
		"a stranger": {func(c *Compared) { c.Decision.Outcome, c.Confirmed = voiceprint.Mismatch, false },
			[]voiceprint.Reason{NotConfirmed}, 0},
		"a gate":       {func(c *Compared) { c.Gates = []voiceprint.Reason{voiceprint.SpoofSuspected} }, []voiceprint.Reason{voiceprint.SpoofSuspected}, 0},
		"too little":   {func(c *Compared) { c.Net = 9 * time.Second }, []voiceprint.Reason{voiceprint.TooLittle}, 0},
		"weak, unsure": {func(c *Compared) { c.Decision.LLR, c.Confirmed = 5, false }, []voiceprint.Reason{NotConfirmed, TooWeak}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			m := high(e)
			w.change(&m)
			got, changed, reasons, err := adaptation(t, AdaptationPolicy{}).Hear(v, m, monday.Add(day))
			if err != nil || changed != (w.reasons == nil) || !slices.Equal(reasons, w.reasons) || len(got.Likeness) != w.heard {
				t.Fatalf("changed %v, %v, %d likenesses, %v", changed, reasons, len(got.Likeness), err)
			}
			if !changed && (!slices.Equal(got.Current, v.Current) || got.Changes != 0) {
				t.Error("the template has changed")
			}
			if len(v.Likeness) != 0 {
				t.Error("the voice that was given has changed")
			}
		})
	}
}

func TestAdaptation(t *testing.T) {
	c := newCrowd(51)
	p := c.person()
	a := adaptation(t, AdaptationPolicy{})
	v := NewVoice(template("1", "phone", c.call(p, 0.5), 30*time.Second))
	e := c.call(p, 0.5)
	next, changed, _, err := a.Hear(v, high(e), monday)
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	want := make(voiceprint.Embedding, len(e))
	for i := range want {
		want[i] = 0.9*v.Current[i] + 0.1*e[i]
	}
	voiceprint.Unit(want)
	if c := voiceprint.Cosine(next.Current, want); math.Abs(c-1) > 1e-6 {
		t.Errorf("the mean is off by a cosine of %v", c)
	}
	if _, changed, reasons, _ := a.Hear(next, high(e), monday.Add(23*time.Hour)); changed || !slices.Equal(reasons, []voiceprint.Reason{TooSoon}) {
		t.Errorf("on the same day: %v, %v", changed, reasons)
	}
	second, changed, _, _ := a.Hear(next, high(e), monday.Add(day))
	if !changed || second.Changes != 2 || !slices.Equal(second.Before, next.Current) {
		t.Errorf("on the next day: %+v", second)
	}
	back := second.Back()
	if !slices.Equal(back.Current, next.Current) || back.Before != nil || !reflect.DeepEqual(back.Back(), back) {
		t.Error("the last change is not undone, or undone twice")
	}
	if reset := second.Reset(); !slices.Equal(reset.Current, v.Original) || reset.Before != nil {
		t.Error("the template is not what was enrolled")
	}
	b, err := json.Marshal(second)
	if err != nil {
		t.Fatal(err)
	}
	var again Voice
	if err := json.Unmarshal(b, &again); err != nil || !slices.Equal(again.Current, second.Current) || !again.Changed.Equal(second.Changed) {
		t.Errorf("written and read it is %+v, %v", again, err)
	}
	if _, _, _, err := a.Hear(v, high(e[:5]), monday); !errors.Is(err, voiceprint.ErrModel) {
		t.Errorf("another model: %v", err)
	}
	if _, err := NewAdaptation(Policy{Adaptation: AdaptationPolicy{Weight: 0.9}}); err == nil {
		t.Error("a policy that cannot be meant: no error")
	}
}

// However a voice is led away, the template stays near the one that was enrolled; and a
// person whose voice changes is followed.
func TestDriftIsCapped(t *testing.T) {
	c := newCrowd(52)
	a := adaptation(t, AdaptationPolicy{})
	for range 20 {
		p, to := c.person(), c.person()
		v := NewVoice(template("1", "phone", c.call(p, 0.5), 30*time.Second))
		drifted := false
		for i := range 200 {
			// Whoever leads it passes as a high match each time.
			mix := make([]float64, apart)
			for j := range mix {
				s := min(1, float64(i)/100)
				mix[j] = (1-s)*p[j] + s*to[j]
			}
			var reasons []voiceprint.Reason
			var err error
			v, _, reasons, err = a.Hear(v, high(c.call(mix, 0.5)), monday.Add(time.Duration(i)*day))
			if err != nil {
				t.Fatal(err)
			}
			drifted = drifted || slices.Contains(reasons, Drifted)
			if got := voiceprint.Cosine(v.Current, v.Original); got < DefaultPolicy().Adaptation.Floor {
				t.Fatalf("the template has a cosine of %v to the original", got)
			}
		}
		if !drifted {
			t.Error("it was led to a stranger unseen")
		}
	}
	// The same person on other lines stays far from the cap.
	refused := 0
	for range 50 {
		p := c.person()
		v := NewVoice(template("1", "phone", c.call(p, 1), 30*time.Second))
		for i := range 100 {
			next, changed, _, err := a.Hear(v, high(c.call(p, 1)), monday.Add(time.Duration(i)*day))
			if err != nil {
				t.Fatal(err)
			}
			v = next
			if !changed {
				refused++
			}
		}
	}
	if refused > 5 {
		t.Errorf("%d of 5000 changes by the person are refused", refused)
	}
}

func TestRenew(t *testing.T) {
	c := newCrowd(53)
	a := adaptation(t, AdaptationPolicy{})
	// followed is a voice with one call a week, of these cosines.
	followed := func(n int, cosine func(i int) float64) Voice {
		v := NewVoice(template("1", "phone", c.call(c.person(), 0.5), 30*time.Second))
		for i := range n {
			v.Heard = monday.Add(time.Duration(i) * 7 * day)
			v.Likeness = append(v.Likeness, Likeness{v.Heard, cosine(i)})
		}
		return v
	}
	steady := func(int) float64 { return 0.75 + 0.06*c.random.NormFloat64() }
	for name, w := range map[string]struct {
		voice Voice
		after time.Duration
		want  []voiceprint.Reason
	}{
		"new":               {followed(0, nil), 0, nil},
		"three years":       {followed(0, nil), 3 * 365 * day, []voiceprint.Reason{voiceprint.Expired, Unused}},
		"two years unheard": {followed(1, steady), 2 * 365 * day, []voiceprint.Reason{Unused}},
		"steady":            {followed(32, steady), 224 * day, nil},
		"falling":           {followed(32, func(i int) float64 { return steady(i) - 0.007*float64(i) }), 224 * day, []voiceprint.Reason{Declining}},
		"falling a little":  {followed(32, func(i int) float64 { return 0.8 - 0.001*float64(i) }), 224 * day, nil},
		"too few":           {followed(9, func(i int) float64 { return 0.9 - 0.05*float64(i) }), 63 * day, nil},
		"bad at last":       {followed(32, func(i int) float64 { return steady(i) - 0.7*float64(i/29) }), 224 * day, nil},
		"at one time": {Voice{Made: monday, Heard: monday, Likeness: slices.Repeat([]Likeness{{monday, 0.5}}, 12)},
			0, nil},
	} {
		if got := a.Renew(w.voice, monday.Add(w.after)); !slices.Equal(got, w.want) {
			t.Errorf("%s: %v, want %v", name, got, w.want)
		}
	}
}

// Who sounds as ever is hardly ever asked to enrol anew, though the trend is looked at
// after each call.
func TestTrendIsNoChance(t *testing.T) {
	c := newCrowd(54)
	alarmed := 0
	for range 100 {
		var all []Likeness
		bad := false
		for i := range 200 {
			all = append(all, Likeness{monday.Add(time.Duration(i) * day), 0.75 + 0.08*c.random.NormFloat64()})
			all = all[max(0, len(all)-mostMatches):]
			bad = bad || fall(all) >= DefaultPolicy().Adaptation.Fall
		}
		if bad {
			alarmed++
		}
	}
	t.Logf("%d of 100 steady people in 200 calls", alarmed)
	if alarmed > 10 {
		t.Error("too many")
	}
}
