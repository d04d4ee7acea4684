package speaker

import (
	"reflect"
	"strings"
	"testing"

	"sidetone/asr"
	"sidetone/guidance/intent"
)

func TestJudge(t *testing.T) {
	says := func(score float64) Evidence {
		switch {
		case score > 0:
			return Evidence{Score: score, Proofs: []Proof{{Role: Agent, Group: "g", Words: "help you", Weight: score}}}
		case score < 0:
			return Evidence{Score: score, Proofs: []Proof{{Role: Customer, Group: "g", Words: "my card", Weight: -score}}}
		}
		return Evidence{}
	}
	for _, c := range []struct {
		name   string
		scores []float64
		want   string // first letters, - for none
	}{
		{"no legs", nil, ""},
		{"nothing heard", []float64{0, 0}, "--"},
		{"both clear", []float64{0.5, -0.5}, "ac"},
		{"both clear, the other way round", []float64{-0.9, 0.6}, "ca"},
		{"one very clear", []float64{1, 0}, "ac"},
		{"the second very clear", []float64{0, 1.2}, "ca"},
		{"a very clear customer", []float64{-1, 0}, "ca"},
		{"a very clear second customer", []float64{0.2, -1}, "ac"},
		{"one clear alone", []float64{0.9, 0}, "--"},
		{"one clear, the other hardly", []float64{0.9, -0.4}, "--"},
		{"two agents", []float64{2, 0.1}, "--"},
		{"two customers", []float64{-0.1, -2}, "--"},
		{"a leg by itself", []float64{1}, "a"},
		{"a leg by itself, clear", []float64{0.9}, "-"},
		{"three legs", []float64{1.5, -1, 0.9}, "ac-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var legs []Evidence
			for _, s := range c.scores {
				legs = append(legs, says(s))
			}
			got := ""
			for _, v := range Judge(legs) {
				if (v.Role == "") != (v.Words == "") {
					t.Errorf("a verdict %+v", v)
				}
				got += (v.Role + "-")[:1]
			}
			if got != c.want {
				t.Errorf("%v: %q, want %q", c.scores, got, c.want)
			}
		})
	}
	if v := Judge([]Evidence{says(1), says(0)}); v[1].Words != "“help you”" || !v[1].Other || v[0].Other {
		t.Errorf("a leg that said nothing: %+v", v[1])
	}
}

func TestEar(t *testing.T) {
	b := intent.NewBuilder()
	for _, p := range []struct {
		group, text string
		weight      float64
	}{
		{Group(Agent, "help"), "help you", 0.5}, {Group(Agent, "help"), "how can i help", 0.9},
		{Group(Customer, "mine"), "my card", 0.3}, {Group(Agent, "more"), "anything else", 0.4}, {Group(Customer, "trouble"), "lost my card", 0.8},
	} {
		if err := b.Phrase(p.group, intent.Any, p.text, p.weight); err != nil {
			t.Fatal(err)
		}
	}
	e, no := NewEar(b.Set()), 0
	hear := func(text string, isFinal bool) bool {
		no++
		h := asr.Hypothesis{Utterance: no, Final: isFinal, Start: int64(no) * 160000}
		for i, w := range strings.Fields(text) {
			h.Words = append(h.Words, asr.Word{Text: w, Start: h.Start + int64(i), End: h.Start + int64(i) + 1})
		}
		h.Stable = len(h.Words)
		return e.Hear(&h)
	}
	for _, c := range []struct {
		text   string
		final  bool
		news   bool
		finals int
		score  float64
	}{
		{"I lost my card", false, false, 0, 0}, // a partial
		{"", true, false, 0, 0},
		{"I help you", true, true, 1, 0.5},
		{"we help you", true, false, 2, 0.5}, // said again
		{"how can I help", true, true, 3, 0.9},
		{"help you", true, false, 4, 0.9}, // weaker than before
		{"Anything else?", true, true, 5, 1.3},
		{"I lost my card", true, true, 6, 0.5},
		{"so", true, false, 7, 0.5},
		{"so", true, false, 8, 0.5},
		{"so", true, false, Window, 0.5}, // no longer the beginning
	} {
		news := hear(c.text, c.final)
		if got := e.Evidence(); news != c.news || got.Finals != c.finals || got.Score < c.score-1e-9 || got.Score > c.score+1e-9 {
			t.Errorf("%q: news %t, %+v; want %t, %d finals, score %g", c.text, news, got, c.news, c.finals, c.score)
		}
	}
	want := []Proof{
		{Agent, "help", "how can I help", 0.9}, {Customer, "trouble", "lost my card", 0.8}, {Agent, "more", "Anything else?", 0.4},
	}
	if got := e.Evidence().Proofs; !reflect.DeepEqual(got, want) {
		t.Errorf("proofs %+v, want %+v", got, want)
	}
}
