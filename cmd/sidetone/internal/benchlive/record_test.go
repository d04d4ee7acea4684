package benchlive

import (
	"math"
	"testing"

	"sidetone/asr"
	"sidetone/bench/wer"
	"sidetone/internal/pcm"
)

func near(a, b float64) bool { return math.Abs(a-b) < 1e-6 }

// said is a word that ends at the given second.
func said(text string, end float64) asr.Word {
	return asr.Word{Text: text, Start: int64((end - 0.5) * pcm.Rate), End: int64(end * pcm.Rate)}
}

func TestLags(t *testing.T) {
	r := newRecord()
	r.take(&asr.Hypothesis{Utterance: 1, Words: []asr.Word{said("One", 1), said("too", 2)}}, 2.5)
	// A word that is heard otherwise is shown anew.
	r.take(&asr.Hypothesis{Utterance: 1, Words: []asr.Word{said("one,", 1.1), said("two", 2)}, Stable: 1}, 3)
	r.take(&asr.Hypothesis{Utterance: 1, Words: []asr.Word{said("One,", 1), said("two", 2), said("three.", 3)}, Final: true, End: 3 * pcm.Rate}, 4)
	r.take(&asr.Hypothesis{Utterance: 2, Words: []asr.Word{said("four", 4.5), said("five", 9)}}, 5)
	lag, first := r.lags(window{0, 6}, 7)
	// One is stable at 3 after 1.1, two and three at 4 after 2 and 3; four is
	// not stable yet at 7.
	want := [][2]float64{{1.9, 1.4}, {2, 1}, {1, 1}, {2.5, 0.5}}
	if len(lag) != len(want) {
		t.Fatalf("lags %v", lag)
	}
	for i, w := range want {
		if !near(lag[i], w[0]) || !near(first[i], w[1]) {
			t.Errorf("word %d: stable after %v, shown after %v, want %v", i, lag[i], first[i], w)
		}
	}
	if lag, _ := r.lags(window{1.5, 2.5}, 7); len(lag) != 1 || lag[0] != 2 {
		t.Errorf("in a window: %v", lag)
	}
	if len(r.partials) != 3 {
		t.Errorf("%d partials", len(r.partials))
	}
}

func TestWaits(t *testing.T) {
	r := newRecord()
	r.edge(asr.Edge{Kind: asr.Begin, At: 0}, 0.1)
	r.edge(asr.Edge{Kind: asr.Pause, At: pcm.Rate}, 1.2)
	r.edge(asr.Edge{Kind: asr.End, At: 3 * pcm.Rate}, 3.5)
	r.edge(asr.Edge{Kind: asr.End, At: 6 * pcm.Rate}, 6.5)
	// A long utterance that was cut has no end of speech.
	r.take(&asr.Hypothesis{Utterance: 1, Final: true, End: 2 * pcm.Rate}, 2.5)
	r.take(&asr.Hypothesis{Utterance: 2, Final: true, End: 3*pcm.Rate + 100}, 3.75)
	speech, edge, missing := r.waits(window{0, 10}, 8)
	if len(speech) != 2 || !near(speech[0], 0.75) || !near(edge[0], 0.25) || !near(speech[1], 2) || !near(edge[1], 1.5) || missing != 1 {
		t.Errorf("waits %v and %v, %d missing", speech, edge, missing)
	}
	if speech, _, missing := r.waits(window{0, 5}, 8); len(speech) != 1 || missing != 0 {
		t.Errorf("in a window: %v, %d missing", speech, missing)
	}
}

func TestScore(t *testing.T) {
	at := func(from, to float64, text string) Said {
		return Said{int64(from * pcm.Rate), int64(to * pcm.Rate), text}
	}
	all := []Said{at(1, 3, "one two"), at(4, 6, "three"), at(7, 9, "four")}
	n := wer.New()
	r := newRecord()
	if c := r.score(nil, n); c.Words != 0 {
		t.Errorf("nothing said: %+v", c)
	}
	if c := r.score(all, n); c.Words != 0 {
		t.Errorf("nothing heard: %+v", c)
	}
	// What was heard before the first and after the last complete one is left
	// out.
	r.take(&asr.Hypothesis{Utterance: 1, Words: []asr.Word{said("zero", 0.9), said("One", 2), said("too", 3)}, Final: true, End: 3 * pcm.Rate}, 4)
	r.take(&asr.Hypothesis{Utterance: 2, Words: []asr.Word{said("three", 6), said("four", 8)}, Final: true, End: 8 * pcm.Rate}, 9)
	if c := r.score(all, n); c.Words != 3 || c.Sub != 1 || c.Ins != 0 || c.Del != 0 {
		t.Errorf("%+v", c)
	}
	r.take(&asr.Hypothesis{Utterance: 3, Final: true, End: 10 * pcm.Rate}, 11)
	if c := r.score(all, n); c.Words != 4 || c.Sub != 1 || c.Ins != 0 || c.Del != 0 {
		t.Errorf("all: %+v", c)
	}
}
