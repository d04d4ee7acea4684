package whisper

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/asr"
	"sidetone/asr/whisper/model"
	"sidetone/internal/pcm"
)

func pause(at int64) asr.Edge { return asr.Edge{Kind: asr.Pause, At: at} }

func TestAPauseMakesItsWordsStable(t *testing.T) {
	l := newLeg(t, engine(t, Config{PartialEvery: 5 * time.Second}, &fake{}), "a")
	l.settle = true
	words := speak(0, numbers(1, 5)...)
	l.must(words, begin(0))
	to := l.at - pcm.Samples(100*time.Millisecond)
	l.must(quiet(l.at, 60*time.Millisecond), pause(to))
	l.must(quiet(l.at, 20*time.Millisecond))
	last := l.all[len(l.all)-1]
	if last.Final || last.Stable != 5 || last.End != to {
		t.Fatalf("at the pause: %+v, want five stable words up to %d", last, to)
	}
}

func TestSpeechThatGoesOnAfterAPauseIsHeard(t *testing.T) {
	e := engine(t, Config{PartialEvery: 5 * time.Second}, &fake{})
	l := newLeg(t, e, "a")
	l.settle = true
	l.must(speak(0, numbers(1, 4)...), begin(0))
	l.must(quiet(l.at, 60*time.Millisecond), pause(l.at-1600))
	l.must(speak(l.at, numbers(5, 9)...))
	to := l.at - 1600
	l.must(quiet(l.at, 500*time.Millisecond), end(to))
	if err := l.finish(); err != nil {
		t.Fatal(err)
	}
	if got := l.text(); got != "w1 w2 w3 w4 w5 w6 w7 w8 w9|" {
		t.Errorf("finals %q", got)
	}
}

// A pause stops the partial that is being decoded, and the end the pause's.
func TestAPauseOvertakesAPartial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stopped atomic.Int64
		d := &fake{before: func(ctx context.Context, _ []model.Word, _ float64, _ model.Options) (*model.Result, error) {
			select {
			case <-time.After(time.Second):
				return nil, nil
			case <-ctx.Done():
				stopped.Add(1)
				return nil, ctx.Err()
			}
		}}
		e := engine(t, Config{PartialEvery: 500 * time.Millisecond}, d)
		l := newLeg(t, e, "a")
		l.must(speak(0, numbers(1, 3)...), begin(0))
		synctest.Wait()
		to := l.at - 1600
		l.must(quiet(l.at, 60*time.Millisecond), pause(to))
		synctest.Wait()
		l.must(quiet(l.at, 20*time.Millisecond))
		synctest.Wait()
		l.must(quiet(l.at, 320*time.Millisecond), end(to))
		if err := l.finish(); err != nil {
			t.Fatal(err)
		}
		if got := l.text(); got != "w1 w2 w3|" {
			t.Errorf("finals %q", got)
		}
		if stopped.Load() != 2 {
			t.Errorf("%d decodes stopped, want the partial's and the pause's", stopped.Load())
		}
		e.Close()
	})
}

func TestAFailingPauseIsTold(t *testing.T) {
	broken := errors.New("broken")
	d := &fake{before: func(context.Context, []model.Word, float64, model.Options) (*model.Result, error) { return nil, broken }}
	l := newLeg(t, engine(t, Config{PartialEvery: 5 * time.Second}, d), "a")
	_, err := l.s.Accept(&speak(0, 1)[0], []asr.Edge{begin(0), pause(160)})
	for range 1000 {
		if err != nil {
			break
		}
		time.Sleep(time.Millisecond)
		_, err = l.s.Accept(&pcm.Frame{Start: 1 << 20}, nil)
	}
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want the decoder's", err)
	}
}

func TestFinalsRestyleStableWords(t *testing.T) {
	stable := place(&model.Result{Words: []model.Word{{Text: " So", End: 1}, {Text: " it", End: 2}}}, 0, 1<<20)
	restyle(stable, place(&model.Result{Words: []model.Word{{Text: " so,", End: 1}, {Text: " at", End: 2}}}, 0, 1<<20))
	var got []string
	for _, w := range stable {
		got = append(got, w.Text)
	}
	if s := strings.Join(got, " "); s != "so, it" {
		t.Errorf("got %q, want %q", s, "so, it")
	}
}

func TestSignsBelongToTheirNumber(t *testing.T) {
	words := place(&model.Result{Words: []model.Word{{Text: " 2.5", End: 1}, {Text: "%", End: 2}, {Text: " of", End: 3}}}, 0, 1<<20)
	if len(words) != 2 || words[0].Text != "2.5%" {
		t.Errorf("got %+v, want 2.5%% and of", words)
	}
}
