package stable

import (
	"math/rand/v2"
	"strings"
	"testing"

	"sidetone/asr"
)

// said makes words of 100 samples each, one after the other from the start.
func said(text string) []asr.Word {
	var ws []asr.Word
	for i, f := range strings.Fields(text) {
		ws = append(ws, asr.Word{Text: f, Start: int64(i) * 100, End: int64(i)*100 + 100, Confidence: 0.9})
	}
	return ws
}

func text(ws []asr.Word) string {
	h := asr.Hypothesis{Words: ws}
	return h.Text()
}

func TestTrack(t *testing.T) {
	type step struct {
		words   string
		certain int
		want    string
		stable  int
	}
	cases := []struct {
		name        string
		agree       int
		steps       []step
		final, want string
	}{
		{"only what is certain", 0, []step{
			{"i want", 0, "i want", 0},
			{"i want to", 1, "i want to", 1},
			{"i want to", 0, "i want to", 1},
			{"a want two pay", 2, "i want two pay", 2},
		}, "I want to pay.", "I want to pay."},
		{"agreement of two", 1, []step{
			{"my car", 0, "my car", 0},
			{"my card is", 0, "my card is", 1},
			{"my card is lost", 0, "my card is lost", 3},
		}, "my cart is lost today", "my card is lost today"},
		{"a word too many before the stable ones", 1, []step{
			{"lost it", 0, "lost it", 0},
			{"lost it here", 0, "lost it here", 2},
			{"i lost it here now", 0, "lost it here now", 3},
		}, "I lost it here now", "lost it here now"},
		{"a shorter hypothesis", 1, []step{
			{"one two three", 0, "one two three", 0},
			{"one two three four", 0, "one two three four", 3},
			{"one", 0, "one two three", 3},
		}, "one two", "one two three"},
		{"digits written in groups, then one by one", 1, []step{
			{"968-4, 2774", 0, "968-4, 2774", 0},
			{"968-4, 2774", 0, "968-4, 2774", 2},
		}, "9 6 8 4 2 7 7 4 2 1", "968-4, 2774 2 1"},
		{"repeated words", 1, []step{
			{"no no no", 0, "no no no", 0},
			{"no no no no", 0, "no no no no", 3},
		}, "no no no no no", "no no no no no"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tr := Track{Agree: c.agree}
			for _, s := range c.steps {
				ws, n := tr.Revise(said(s.words), s.certain, 10000)
				if text(ws) != s.want || n != s.stable {
					t.Errorf("after %q: %q with %d stable, want %q with %d", s.words, text(ws), n, s.want, s.stable)
				}
				if text(tr.Known()) != s.want {
					t.Errorf("known %q, want %q", text(tr.Known()), s.want)
				}
			}
			if got := text(tr.Finish(said(c.final))); got != c.want {
				t.Errorf("final %q, want %q", got, c.want)
			}
		})
	}
}

func TestWordsNearTheEndAreHeldBack(t *testing.T) {
	tr := Track{Agree: 1, Hold: 150}
	tr.Revise(said("one two three"), 0, 300)
	if _, n := tr.Revise(said("one two three"), 0, 300); n != 1 {
		t.Errorf("%d words stable, want 1: the others end less than 150 samples before the end", n)
	}
	if tr.End() != 100 {
		t.Errorf("the stable words end at %d", tr.End())
	}
}

func TestWordsMustStay(t *testing.T) {
	tr := Track{Agree: 1, Stay: 500}
	tr.Revise(said("one"), 0, 300)
	tr.Revise(said("one two"), 0, 700)
	if _, n := tr.Revise(said("one two"), 0, 799); n != 0 {
		t.Errorf("%d words stable too early", n)
	}
	if _, n := tr.Revise(said("one two"), 0, 800); n != 1 {
		t.Errorf("%d words stable, want 1", n)
	}
	if _, n := tr.Revise(said("one too"), 0, 1300); n != 1 {
		t.Errorf("%d words stable, want 1: the other has changed", n)
	}
}

// Whatever a recogniser says, stable words stay and words are in order.
func TestStableWordsStay(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	vocabulary := strings.Fields("a b c d e")
	for range 2000 {
		tr := Track{Agree: rng.IntN(3), Hold: int64(rng.IntN(300))}
		var before []asr.Word
		for range 1 + rng.IntN(6) {
			var b strings.Builder
			for range rng.IntN(8) {
				b.WriteString(vocabulary[rng.IntN(len(vocabulary))] + " ")
			}
			words := said(b.String())
			ws, n := tr.Revise(words, rng.IntN(len(words)+1), 800)
			check(t, before, ws)
			before = ws[:n]
		}
		check(t, before, tr.Finish(said("c b a d e a")))
	}
}

func check(t *testing.T, stable, now []asr.Word) {
	t.Helper()
	for i, w := range stable {
		if i >= len(now) || now[i] != w {
			t.Fatalf("stable words %v became %v", stable, now)
		}
	}
	at := int64(0)
	for _, w := range now {
		if w.Start < at || w.End < w.Start {
			t.Fatalf("words out of order: %v", now)
		}
		at = w.End
	}
}
