package whisper

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"sidetone/asr/whisper/model"
	"sidetone/internal/pcm"
)

func TestWhenAWordIsSettled(t *testing.T) {
	p := defaultPolicy()
	for _, c := range []struct {
		name       string
		confidence float32
		seen       int
		behind     int64
		searched   bool
		want       bool
	}{
		{"certain", p.certain, 0, p.holdBack, false, true},
		{"certain, but at the edge", p.certain, 0, p.holdBack - 1, false, false},
		{"sure, seen before", p.sure, 1, p.holdBack, false, true},
		{"sure, new", p.sure, 0, p.old, true, false},
		{"unsure", 0.1, 1, p.doubtful, false, false},
		{"unsure, found by a beam", 0.1, 1, p.doubtful, true, true},
		{"unsure, found by a beam too early", 0.1, 1, p.doubtful - 1, true, false},
		{"unsure, a beam hears something new", 0.1, 0, p.doubtful, true, false},
		{"unsure, old", 0.1, 1, p.old, false, true},
		{"unsure, old and new", 0.1, 0, p.old, false, false},
	} {
		w := word{seen: c.seen}
		w.Confidence = c.confidence
		if got := p.settled(&w, c.behind, c.searched); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// Partials are greedy until a word has waited long enough for the model to be
// sure of it. Then a beam is searched, and the word is stable if that finds it
// again.
func TestABeamIsSearchedForAWordInDoubt(t *testing.T) {
	for _, c := range []struct {
		name       string
		first      float32 // the model's confidence in the first word
		otherwise  bool    // the beam hears another first word
		every      time.Duration
		beams      string
		stableAt   float64 // seconds
		firstTexts string
	}{
		{"never in doubt", 0.95, false, 500 * time.Millisecond, "0.86:0 1.36:0 1.86:0 2.36:0 2.86:0", 1.86, "w1"},
		{"the beam finds the same", 0.3, false, 500 * time.Millisecond, "0.86:0 1.36:0 1.86:5 2.36:0 2.86:0", 1.86, "w1"},
		{"the beam finds another", 0.3, true, 500 * time.Millisecond, "0.86:0 1.36:0 1.86:5 2.36:5 2.86:0", 2.36, "w99"},
		{"partials are far apart", 0.3, false, time.Second, "0.86:0 1.86:0 2.86:0", 2.86, "w1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var beams []string
			d := &fake{before: func(_ context.Context, heard []model.Word, seconds float64, o model.Options) (*model.Result, error) {
				beams = append(beams, fmt.Sprintf("%.2f:%d", seconds, o.Beam))
				for i := range heard {
					heard[i].Prob = 0.95
				}
				if c.otherwise && o.Beam > 0 {
					heard[0] = said(99, heard[0].Start, heard[0].End)
				}
				heard[0].Prob = c.first
				return nil, nil
			}}
			l := newLeg(t, engine(t, Config{PartialEvery: c.every}, d), "a")
			l.settle = true
			l.must(speak(0, numbers(1, 8)...)[:150], begin(0))
			if got := strings.Join(beams, " "); got != c.beams {
				t.Errorf("partials, with their beams, at %s, want %s", got, c.beams)
			}
			for _, h := range l.all {
				if h.Stable == 0 {
					continue
				}
				at := float64(h.End) / pcm.Rate
				if at != c.stableAt || h.Words[0].Text != c.firstTexts {
					t.Errorf("%s is stable at %v s, want %s at %v s", h.Words[0].Text, at, c.firstTexts, c.stableAt)
				}
				break
			}
		})
	}
}
