package watch

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sidetone/voiceprint"
)

const net = 10 * time.Second

func list(t testing.TB, entries ...Entry) *List {
	t.Helper()
	l, err := NewList(testModel, entries...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func searcher(t testing.TB, c Config) *Searcher {
	t.Helper()
	c.Scorer = scales{}
	s, err := NewSearcher(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func search(t testing.TB, s *Searcher, l *List, e voiceprint.Embedding, except string) Result {
	t.Helper()
	r, err := s.Search(l, e, net, except)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// entries are voices of one to three templates.
func entries(c *crowd, n int) ([]Entry, [][]float64) {
	var out []Entry
	var people [][]float64
	for i := range n {
		p := c.person()
		e := Entry{ID: fmt.Sprint("v", i)}
		for range 1 + i%3 {
			e.Templates = append(e.Templates, c.call(p))
		}
		out, people = append(out, e), append(people, p)
	}
	return out, people
}

func TestThreshold(t *testing.T) {
	for _, c := range []struct {
		far  float64
		n    int
		want float64
	}{
		{0.01, 1, math.Log(100)},
		{0.01, 0, math.Log(100)},
		{0.19, 2, math.Log(10)},
		{0.01, 10000, 13.811},
		{0.001, 100000, 18.42},
	} {
		if got := Threshold(c.far, c.n); math.Abs(got-c.want) > 0.01 {
			t.Errorf("%v of %d: %v, want %v", c.far, c.n, got, c.want)
		}
	}
	for n := 1; n < 1e6; n *= 3 {
		p := math.Exp(-Threshold(0.02, n))
		if whole := 1 - math.Pow(1-p, float64(n)); math.Abs(whole-0.02) > 1e-6 {
			t.Errorf("%d comparisons err with %v", n, whole)
		}
	}
}

// measured scales have thresholds for what was measured only.
type measured struct {
	scales
	least, llr float64
}

func (m measured) Threshold(far float64) (voiceprint.Operating, error) {
	if far < m.least {
		return voiceprint.Operating{}, errors.New("not measured")
	}
	return voiceprint.Operating{FAR: far, LLR: m.llr}, nil
}

// What was measured is carried on from where it ends, and is never above the bound.
func TestMeasuredThreshold(t *testing.T) {
	for name, c := range map[string]struct {
		scorer measured
		n      int
		want   float64
	}{
		"never measured":     {measured{least: 1}, 1000, Threshold(0.01, 1000)},
		"measured":           {measured{least: 0.01, llr: 3}, 1, 3},
		"carried on":         {measured{least: 0.01, llr: 3}, 100, 3 + Threshold(0.01, 100) - math.Log(100)},
		"above what may be":  {measured{least: 0.01, llr: 30}, 100, Threshold(0.01, 100)},
		"measured far lower": {measured{least: 0.002, llr: 4}, 1, 4},
	} {
		if got := newAnchor(c.scorer).threshold(0.01, c.n); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// The kernel's ranking is that of plain cosines, whatever the shape of the list.
func TestSearchMatchesNaive(t *testing.T) {
	c := newCrowd(2)
	for _, n := range []int{1, 2, 4, 127, 128, 300} {
		all, people := entries(c, n)
		l := list(t, all...)
		s := searcher(t, Config{Top: 4})
		for i := range 20 {
			e, except := c.call(people[i%n]), ""
			if i%2 == 1 {
				except = all[i%n].ID
			}
			var want []Hit
			for _, a := range all {
				if a.ID != except {
					llr, _ := scales{}.LLR(a.Templates, e, net)
					want = append(want, Hit{ID: a.ID, LLR: llr})
				}
			}
			slices.SortFunc(want, func(a, b Hit) int { return cmp.Compare(b.LLR, a.LLR) })
			want = want[:min(4, len(want))]
			got := search(t, s, l, e, except)
			if len(got.Hits) != len(want) || except == "" && got.Voices != n || except != "" && got.Voices != n-1 {
				t.Fatalf("%d of %d voices, %d hits, want %d", got.Voices, n, len(got.Hits), len(want))
			}
			alarms := 0
			for j, h := range got.Hits {
				if h.ID != want[j].ID || math.Abs(h.LLR-want[j].LLR) > 1e-3 || h.Alarm != (h.LLR >= got.Threshold) {
					t.Fatalf("%d voices, hit %d: %+v, want %+v", n, j, h, want[j])
				}
				if h.Alarm {
					alarms++
				}
			}
			if alarms != got.Alarms {
				t.Fatalf("%d alarms are said to be %d", alarms, got.Alarms)
			}
		}
	}
}

// The rate of false alarms is that of the search and not of a comparison, at every
// length of the list; the price is hits.
func TestRates(t *testing.T) {
	for _, n := range []int{10, 100, 1000} {
		c := newCrowd(3)
		all, people := entries(c, n)
		l := list(t, all...)
		const trials, far = 1000, 0.05
		s := searcher(t, Config{FAR: far, Top: 1})
		hits, false1, false0 := 0, 0, 0
		for i := range trials {
			if r := search(t, s, l, c.call(people[i%n]), ""); r.Alarms > 0 && r.Hits[0].ID == all[i%n].ID {
				hits++
			}
			r := search(t, s, l, c.stranger(), "")
			if r.Alarms > 0 {
				false1++
			}
			if r.Hits[0].LLR >= Threshold(far, 1) {
				false0++
			}
		}
		t.Logf("%d voices: %.1f %% of the listed hit, %.1f %% of strangers (%.1f %% by the threshold of one comparison)",
			n, 100*float64(hits)/trials, 100*float64(false1)/trials, 100*float64(false0)/trials)
		if most := far*trials + 3*math.Sqrt(far*trials); float64(false1) > most {
			t.Errorf("%d voices: %d false alarms in %d searches", n, false1, trials)
		}
		if hits < trials/2 {
			t.Errorf("%d voices: only %d hits in %d searches", n, hits, trials)
		}
		if n == 1000 && float64(false0) < 2*far*trials {
			t.Errorf("a threshold that takes no account of the length does as well (%d): this test shows nothing", false0)
		}
	}
}

// A customer's own template is no duplicate; the same voice under another name is.
func TestDuplicates(t *testing.T) {
	c := newCrowd(4)
	all, people := entries(c, 200)
	l := list(t, all...)
	l, err := l.With(Entry{ID: "other name", Templates: []voiceprint.Embedding{c.call(people[17])}})
	if err != nil {
		t.Fatal(err)
	}
	s := searcher(t, Config{})
	fresh := all[17].Templates[0]
	r := search(t, s, l, fresh, "v17")
	if r.Alarms != 1 || r.Hits[0].ID != "other name" {
		t.Errorf("under another name: %+v", r)
	}
	if r := search(t, s, l.Without("other name"), fresh, "v17"); r.Alarms != 0 {
		t.Errorf("nobody else: %+v", r)
	}
}

// Changes leave the list that they are made from as it was, and the one that they make
// holds what it should, whatever their order.
func TestListChanges(t *testing.T) {
	c := newCrowd(5)
	random := rand.New(rand.NewPCG(1, 2))
	l := list(t)
	want := map[string][]voiceprint.Embedding{}
	for range 300 {
		before, had := l, len(want)
		if random.IntN(3) == 0 {
			var gone []string
			for range 3 {
				gone = append(gone, fmt.Sprint(random.IntN(40)))
			}
			l = l.Without(gone...)
			for _, id := range gone {
				delete(want, id)
			}
		} else {
			var more []Entry
			for i := range 1 + random.IntN(3) {
				e := Entry{ID: fmt.Sprint(10*random.IntN(4) + i), Templates: []voiceprint.Embedding{c.stranger()}}
				if random.IntN(2) == 0 {
					e.Templates = append(e.Templates, c.stranger())
				}
				if slices.ContainsFunc(more, func(o Entry) bool { return o.ID == e.ID }) {
					continue
				}
				more = append(more, e)
				want[e.ID] = e.Templates
			}
			next, err := l.With(more...)
			if err != nil {
				t.Fatal(err)
			}
			l = next
		}
		if before.Len() != had || l.Len() != len(want) {
			t.Fatalf("%d and then %d voices, want %d and %d", before.Len(), l.Len(), had, len(want))
		}
		for id, templates := range want {
			if !l.Has(id) {
				t.Fatalf("%s is lost", id)
			}
			e := c.stranger()
			got, _ := scales{}.LLR([]voiceprint.Embedding{l.row(l.at[id])}, e, net)
			if want, _ := (scales{}).LLR(templates, e, net); math.Abs(got-want) > 1e-3 {
				t.Fatalf("%s is weighed %v, by the templates it was given %v", id, got, want)
			}
		}
	}
}

// Readers go on with the list they have while another is made.
func TestListIsImmutable(t *testing.T) {
	c := newCrowd(6)
	all, people := entries(c, 50)
	l := list(t, all...)
	e := c.call(people[3])
	s := searcher(t, Config{Top: 3})
	want := slices.Clone(search(t, s, l, e, "").Hits)
	if _, err := l.With(Entry{ID: "v3", Templates: []voiceprint.Embedding{c.stranger()}}, Entry{ID: "new", Templates: []voiceprint.Embedding{e}}); err != nil {
		t.Fatal(err)
	}
	l.Without("v3", "v4")
	all[3].Templates[0][0] = 9
	if got := search(t, s, l, e, "").Hits; !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestEmptyList(t *testing.T) {
	if r := search(t, searcher(t, Config{}), list(t), newCrowd(7).stranger(), "nobody"); len(r.Hits) != 0 || r.Alarms != 0 || r.Voices != 0 {
		t.Errorf("got %+v", r)
	}
}

func TestRefusals(t *testing.T) {
	c := newCrowd(8)
	good := Entry{ID: "a", Templates: []voiceprint.Embedding{c.stranger()}}
	for name, es := range map[string][]Entry{
		"no ID":        {{Templates: good.Templates}},
		"no template":  {{ID: "a"}},
		"twice":        {good, good},
		"opposites":    {{ID: "a", Templates: []voiceprint.Embedding{oneHot(1), oneHot(-1)}}},
		"no unit":      {{ID: "a", Templates: []voiceprint.Embedding{make([]float32, 192)}}},
		"not a number": {{ID: "a", Templates: []voiceprint.Embedding{slices.Repeat([]float32{float32(math.NaN())}, 192)}}},
	} {
		if _, err := NewList(testModel, es...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := NewList(testModel, Entry{ID: "a", Templates: []voiceprint.Embedding{{1}}}); !errors.Is(err, voiceprint.ErrModel) {
		t.Errorf("another length: %v", err)
	}
	if _, err := NewList(voiceprint.Model{}); err == nil {
		t.Error("no model: no error")
	}
	for name, c := range map[string]Config{
		"a rate": {FAR: 1}, "not a number": {FAR: math.NaN()}, "top": {Top: -1}, "searches": {Searches: -1},
	} {
		c.Scorer = scales{}
		if _, err := NewSearcher(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	s := searcher(t, Config{})
	if _, err := s.Search(list(t, good), voiceprint.Embedding{1}, net, ""); !errors.Is(err, voiceprint.ErrModel) {
		t.Errorf("another length: %v", err)
	}
	other, err := NewList(voiceprint.Model{ID: "other", Dim: 192}, good)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Search(other, c.stranger(), net, ""); !errors.Is(err, voiceprint.ErrModel) {
		t.Errorf("another model: %v", err)
	}
}

func oneHot(x float32) voiceprint.Embedding {
	e := make(voiceprint.Embedding, testModel.Dim)
	e[0] = x
	return e
}

// A rate for a call is shared by the searches that it is to have.
func TestSeveralSearches(t *testing.T) {
	c := newCrowd(9)
	all, _ := entries(c, 30)
	l := list(t, all...)
	once := search(t, searcher(t, Config{}), l, c.stranger(), "").Threshold
	often := search(t, searcher(t, Config{Searches: 4}), l, c.stranger(), "").Threshold
	if d := often - once; math.Abs(d-math.Log(4)) > 1e-3 {
		t.Errorf("four searches take %v nats more, want %v", d, math.Log(4))
	}
}

func TestSearchAllocatesNothing(t *testing.T) {
	c := newCrowd(10)
	all, people := entries(c, 1000)
	l := list(t, all...)
	s := searcher(t, Config{})
	e := c.call(people[5])
	if n := testing.AllocsPerRun(100, func() { search(t, s, l, e, "v6") }); n != 0 {
		t.Errorf("%v allocations a search", n)
	}
}

func BenchmarkSearch10000(b *testing.B) {
	c := newCrowd(11)
	var all []Entry
	for i := range 10000 {
		all = append(all, Entry{ID: fmt.Sprint(i), Templates: []voiceprint.Embedding{c.stranger()}})
	}
	l := list(b, all...)
	s := searcher(b, Config{})
	e := c.stranger()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Search(l, e, net, ""); err != nil {
			b.Fatal(err)
		}
	}
}
