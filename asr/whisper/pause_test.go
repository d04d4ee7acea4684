package whisper

import (
	"context"
	"errors"
	"slices"
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

// A pause stops the partial that is being decoded; its own decode becomes the
// final when speech has ended there.
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
		if stopped.Load() != 1 {
			t.Errorf("%d decodes stopped, want the partial's", stopped.Load())
		}
		e.Close()
	})
}

// What was decoded at the pause is the final at once when speech ends there, and
// nothing is decoded again.
func TestTheEndAtAPauseIsForeseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newSlow(200 * time.Millisecond)
		e := engine(t, Config{PartialEvery: 5 * time.Second}, d)
		defer e.Close()
		l := newLeg(t, e, "a")
		defer l.s.Close()
		for n := int16(0); n < 3; n++ {
			l.must(speak(l.at, n*2+1, n*2+2), begin(l.at))
			to := l.at - 1600
			l.must(quiet(l.at, 60*time.Millisecond), pause(to))
			time.Sleep(time.Second)
			l.must(quiet(l.at, 340*time.Millisecond), end(to))
			if len(l.finals) != int(n)+1 {
				t.Fatalf("%d finals when speech has ended %d times", len(l.finals), n+1)
			}
		}
		if got := l.text(); got != "w1 w2|w3 w4|w5 w6|" {
			t.Errorf("finals %q", got)
		}
		if got := len(d.log); got != 3 {
			t.Errorf("decoded %q, want three times", d.log)
		}
		if n := e.Stats().Foreseen.Load(); n != 3 {
			t.Errorf("%d finals foreseen", n)
		}
	})
}

// Speech that ends elsewhere, or that a guard refuses at the pause, is decoded
// as a final of its own.
func TestAPauseThatWasNotTheEnd(t *testing.T) {
	for name, refuse := range map[string]bool{"speech went on": false, "a guard refused": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				decodes := 0
				e := engine(t, Config{PartialEvery: 5 * time.Second}, &fake{before: func(_ context.Context, heard []model.Word, _ float64, _ model.Options) (*model.Result, error) {
					decodes++
					if refuse && decodes == 1 {
						r := result(heard...)
						r.CompressionRatio = 9
						return &r, nil
					}
					return nil, nil
				}})
				defer e.Close()
				l := newLeg(t, e, "a")
				defer l.s.Close()
				l.must(speak(0, 1, 2), begin(0))
				to := l.at - 1600
				l.must(quiet(l.at, 60*time.Millisecond), pause(to))
				synctest.Wait()
				want := "w1 w2|"
				if !refuse {
					l.must(speak(l.at, 3, 4))
					to, want = l.at-1600, "w1 w2 w3 w4|"
				}
				l.must(quiet(l.at, 340*time.Millisecond), end(to))
				if err := l.finish(); err != nil || l.text() != want {
					t.Errorf("finals %q, %v", l.text(), err)
				}
				if n := e.Stats().Foreseen.Load(); n != 0 {
					t.Errorf("%d finals foreseen", n)
				}
			})
		})
	}
}

// A pause's decode that is under way when speech ends becomes the final; the next
// utterance neither stops nor overtakes it.
func TestAnAdoptedDecodeComesToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newSlow(2 * time.Second)
		e := engine(t, Config{PartialEvery: 500 * time.Millisecond}, d)
		defer e.Close()
		l := newLeg(t, e, "a")
		defer l.s.Close()
		l.must(speak(0, 1), begin(0))
		to := l.at - 1600
		l.must(quiet(l.at, 60*time.Millisecond), pause(to))
		synctest.Wait()
		l.must(quiet(l.at, 340*time.Millisecond), end(to))
		l.must(speak(l.at, 2, 3, 4), begin(l.at))
		l.must(quiet(l.at, 500*time.Millisecond), end(l.at))
		if err := l.finish(); err != nil || l.text() != "w1|w2 w3 w4|" {
			t.Errorf("finals %q, %v", l.text(), err)
		}
		if slices.Contains(d.log, "stopped") {
			t.Errorf("decoded %q", d.log)
		}
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
