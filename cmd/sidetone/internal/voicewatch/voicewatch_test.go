package voicewatch

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"sidetone/voiceprint"
	"sidetone/voiceprint/backend"
	"sidetone/voiceprint/enrol"
	"sidetone/voiceprint/watch"
)

// half is people whom the parameters were not trained on, enrolled.
type half struct {
	*people
	persons   []*person
	templates []voiceprint.Template
	space     *backend.Space
	scorer    *backend.Scorer
	embedder  voiceprint.Embedder
}

func (h *half) place(t *testing.T, p backend.Piece) voiceprint.Embedding {
	t.Helper()
	e, err := h.space.Map(p.Raw)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// call is the longest look at a call that is not longer than d.
func call(who *person, line string, d time.Duration) backend.Piece {
	best := who.calls[line][0]
	for _, p := range who.calls[line] {
		if p.Net <= d {
			best = p
		}
	}
	return best
}

// count is a rate of errors or hits.
type count struct{ n, of int }

func (c *count) add(is bool) {
	c.of++
	if is {
		c.n++
	}
}

func (c count) String() string {
	return fmt.Sprintf("%d of %d (%.1f %%)", c.n, c.of, 100*float64(c.n)/float64(max(c.of, 1)))
}

func (c count) share() float64 { return float64(c.n) / float64(max(c.of, 1)) }

// Each half of the people is enrolled, listed and looked for by parameters that were
// trained on the other half.
func TestOnEvaluationData(t *testing.T) {
	if !*full {
		t.Skip("takes minutes: run it with -full")
	}
	all := load(t)
	var a, b []*person
	for i, who := range all.persons {
		if i%2 == 0 {
			a = append(a, who)
		} else {
			b = append(b, who)
		}
	}
	swaps := [][2][]*person{{a, b}, {b, a}}
	var r rates
	for _, s := range swaps {
		params := all.train(t, s[1])
		scorer, err := params.Scorer()
		if err != nil {
			t.Fatal(err)
		}
		embedder, err := params.Embedder(all.engine)
		if err != nil {
			t.Fatal(err)
		}
		h := &half{people: all, persons: s[0], space: params.Space, scorer: scorer, embedder: embedder}
		r.enrolment(t, h)
		r.search(t, h)
		r.passive(t, h)
		r.links(t, h)
	}
	r.report(t)
	for what, bad := range map[string]bool{
		"one voice is refused as two":       r.refused.share() > 0.1,
		"two voices are enrolled as one":    r.mixed.share() > 0.1,
		"listed callers are missed":         r.hits.share() < 0.6,
		"strangers raise alarms":            r.alarms.share() > 0.04,
		"calls do not agree":                r.agreed.share() < 0.8,
		"strangers' calls agree":            r.fooled.share() > 0.02,
		"calls are linked to other voices'": r.wrong.share() > 0.04,
	} {
		if bad {
			t.Error(what)
		}
	}
}

type rates struct {
	// refused is sessions of one voice, mixed those of two, in which nobody noticed;
	// lowest and highest the cosines and evidence of chunks.
	refused, mixed count
	near           []float64

	// hits are of listed callers, alarms of callers whose entry is left out, cohort of
	// the other speakers. Short is after 5 s; long in a list with the cohort.
	hits, alarms, cohort, hitsShort, alarmsShort, hitsLong, alarmsLong count

	agreed, fooled, between count

	linked, wrong count
}

func (r *rates) report(t *testing.T) {
	slices.Sort(r.near)
	t.Logf("sessions: of one voice refused %v, of two enrolled %v", r.refused, r.mixed)
	t.Logf("cosine of enrolment and another line's 10 s: median %.2f, the 5th and 95th of 100 %.2f and %.2f",
		r.near[len(r.near)/2], r.near[len(r.near)/20], r.near[len(r.near)*19/20])
	t.Logf("list of one half, 10 s: listed callers hit %v, alarms by callers left out %v, by the cohort %v", r.hits, r.alarms, r.cohort)
	t.Logf("the same, 5 s: hit %v, alarms %v", r.hitsShort, r.alarmsShort)
	t.Logf("list with the cohort, 10 s: hit %v, alarms %v", r.hitsLong, r.alarmsLong)
	t.Logf("two calls of a person agree %v, neither agree nor not %v; with a stranger's agree %v", r.agreed, r.between, r.fooled)
	t.Logf("calls of voices that had called for others linked %v, linked to others' calls %v", r.linked, r.wrong)
}

// enrolment makes a template of each person, tries sessions that two people speak in,
// and compares the templates with other lines.
func (r *rates) enrolment(t *testing.T, h *half) {
	const chunk = 10 * voiceprint.Rate
	finish := func(pieces ...enrol.Piece) (voiceprint.Template, bool) {
		s, err := enrol.NewSession(enrol.SessionConfig{Embedder: h.embedder, Scorer: h.scorer, Line: "phone"})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pieces {
			if err := s.Add(p); err != nil {
				t.Fatal(err)
			}
		}
		got, _, err := s.Finish("1", time.Time{})
		var refusal *enrol.RefusalError
		if errors.As(err, &refusal) && slices.Contains(refusal.Reasons, voiceprint.SeveralVoices) {
			return got, false
		}
		if err != nil {
			t.Fatal(err)
		}
		return got, true
	}
	h.templates = nil
	for i, who := range h.persons {
		// Whole chunks are in the memory of the engine.
		own := who.enrolment[:len(who.enrolment)/chunk*chunk]
		got, ok := finish(enrol.Piece{Name: "own", Speech: own})
		r.refused.add(!ok)
		if !ok {
			got = voiceprint.Template{Model: h.space.Model().ID, Embedding: h.place(t, who.template), Quality: voiceprint.Quality{Net: who.template.Net}}
		}
		h.templates = append(h.templates, got)
		other := h.persons[(i+1)%len(h.persons)]
		_, ok = finish(enrol.Piece{Name: "own", Speech: own[:chunk]}, enrol.Piece{Name: "other", Speech: other.enrolment[chunk : 2*chunk]})
		r.mixed.add(ok)
		for _, line := range lines() {
			r.near = append(r.near, voiceprint.Cosine(got.Embedding, h.place(t, call(who, line, 10*time.Second))))
		}
	}
}

func (r *rates) search(t *testing.T, h *half) {
	entries := make([]watch.Entry, len(h.persons))
	for i, who := range h.persons {
		entries[i] = watch.Entry{ID: who.name, Templates: []voiceprint.Embedding{h.templates[i].Embedding}}
	}
	list, err := watch.NewList(h.space.Model(), entries...)
	if err != nil {
		t.Fatal(err)
	}
	s, err := watch.NewSearcher(watch.Config{Scorer: h.scorer})
	if err != nil {
		t.Fatal(err)
	}
	search := func(l *watch.List, p backend.Piece, except string) watch.Result {
		got, err := s.Search(l, h.place(t, p), p.Net, except)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	rest := make([]watch.Entry, len(h.cohort))
	for i, p := range h.cohort {
		rest[i] = watch.Entry{ID: fmt.Sprint("cohort ", i), Templates: []voiceprint.Embedding{h.place(t, p)}}
		r.cohort.add(search(list, p, "").Alarms > 0)
	}
	long, err := list.With(rest...)
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range h.persons {
		for _, line := range lines() {
			for _, v := range []struct {
				l            *watch.List
				net          time.Duration
				hits, alarms *count
			}{
				{list, 10 * time.Second, &r.hits, &r.alarms},
				{list, 5 * time.Second, &r.hitsShort, &r.alarmsShort},
				{long, 10 * time.Second, &r.hitsLong, &r.alarmsLong},
			} {
				p := call(who, line, v.net)
				got := search(v.l, p, "")
				v.hits.add(got.Alarms > 0 && got.Hits[0].ID == who.name)
				v.alarms.add(search(v.l, p, who.name).Alarms > 0)
			}
		}
	}
}

// passive has a person's calls on different lines agree with one another and with a
// stranger's, two days apart.
func (r *rates) passive(t *testing.T, h *half) {
	p, err := enrol.NewPassive(h.scorer, enrol.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	day := func(n int) time.Time { return time.Date(2026, 3, n, 9, 0, 0, 0, time.UTC) }
	two := func(a, b backend.Piece) enrol.Verdict {
		var s enrol.State
		var got enrol.Result
		for i, x := range []backend.Piece{a, b} {
			c := enrol.Call{
				ID: fmt.Sprint(i), At: day(1 + 2*i), Consent: enrol.Given, Confirmed: true,
				Embedding: h.place(t, x), Quality: voiceprint.Quality{Net: x.Net},
			}
			if s, got, err = p.Step(s, c, c.At); err != nil {
				t.Fatal(err)
			}
		}
		return got.Verdict
	}
	longest := func(who *person, line string) backend.Piece { return call(who, line, math.MaxInt64) }
	for i, who := range h.persons {
		stranger := h.persons[(i+1)%len(h.persons)]
		for j, line := range lines() {
			first := longest(who, line)
			got := two(first, longest(stranger, line))
			r.fooled.add(got == enrol.Kept || got == enrol.Enrolled)
			second := who.template
			if j > 0 {
				second = longest(who, lines()[j-1])
			}
			got = two(first, second)
			r.agreed.add(got == enrol.Kept || got == enrol.Enrolled)
			r.between.add(got == enrol.Ignored)
		}
	}
}

// links has each person call for as many customers as there are lines, one line after
// the other, and the cohort for themselves.
func (r *rates) links(t *testing.T, h *half) {
	l, err := watch.NewLinks(watch.LinksConfig{Scorer: h.scorer, Least: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	voices := map[string]string{}
	add := func(voice, customer string, p backend.Piece) watch.Link {
		now = now.Add(time.Minute)
		voices[customer] = voice
		link, err := l.Add(watch.Heard{Call: customer, Customer: customer, Embedding: h.place(t, p), Net: p.Net, At: now}, now)
		if err != nil {
			t.Fatal(err)
		}
		return link
	}
	judge := func(link watch.Link, voice string, known bool) {
		own, other := false, false
		for _, c := range link.Customers[:max(0, len(link.Customers)-1)] {
			own = own || voices[c] == voice
			other = other || voices[c] != voice
		}
		if known {
			r.linked.add(own)
		}
		r.wrong.add(other)
	}
	for i, p := range h.cohort {
		voice := fmt.Sprint("cohort ", i)
		judge(add(voice, voice, p), voice, false)
	}
	for _, who := range h.persons {
		judge(add(who.name, who.name+" enrolment", who.template), who.name, false)
	}
	for _, line := range lines() {
		for _, who := range h.persons {
			judge(add(who.name, who.name+" "+line, call(who, line, math.MaxInt64)), who.name, true)
		}
	}
}
