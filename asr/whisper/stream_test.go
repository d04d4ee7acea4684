package whisper

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/asr"
	"sidetone/asr/whisper/model"
	"sidetone/internal/pcm"
)

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []struct {
		c    Config
		want string
	}{
		{Config{}, ""},
		{Config{PartialEvery: -1}, ""},
		{Config{Workers: -1}, "workers"},
		{Config{PartialEvery: time.Millisecond}, "partial"},
		{Config{MaxUtterance: time.Minute}, "utterances"},
	} {
		_, err := c.c.withDefaults()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: error %v, want %q", c.c, err, c.want)
		}
	}
}

func TestPartialsGrowIntoAFinal(t *testing.T) {
	l := newLeg(t, engine(t, Config{}, &fake{}), "a")
	l.settle = true
	const start = 1 << 40
	l.must(quiet(start, time.Second))
	words := speak(l.at, numbers(1, 8)...)
	from, to := l.at, words[len(words)-1].End()
	l.must(words, begin(from-1600))
	l.must(quiet(l.at, 500*time.Millisecond), end(to))
	if err := l.finish(); err != nil {
		t.Fatal(err)
	}
	if got := l.text(); got != "w1 w2 w3 w4 w5 w6 w7 w8|" {
		t.Fatalf("finals %q", got)
	}
	f := l.finals[0]
	if f.Start != from-1600 || f.End != to {
		t.Errorf("final from %d to %d, want %d to %d", f.Start, f.End, from-1600, to)
	}
	for i, w := range f.Words {
		if s := from + int64(i)*6400; w.Start < s-1 || w.Start > s+1 || w.End < s+4799 || w.End > s+4801 {
			t.Errorf("word %d from %d to %d, want %d to %d", i, w.Start, w.End, s, s+4800)
		}
	}
	if n := len(l.all); n < 5 {
		t.Errorf("%d revisions in 3.2 s of speech", n)
	}
	if l.all[0].Revision != 1 || l.all[0].Final || l.all[0].End-l.all[0].Start > pcm.Rate {
		t.Errorf("the first partial is late: %+v", l.all[0])
	}
	stable := 0
	for _, h := range l.all {
		if !h.Final {
			stable = h.Stable
		}
	}
	if stable < 4 {
		t.Errorf("%d of 8 words were stable before the final", stable)
	}
}

// The word that is being spoken is guessed wrongly until it is whole; it must
// not become stable before.
func TestGuessesDoNotBecomeStable(t *testing.T) {
	guess := 500
	l := newLeg(t, engine(t, Config{}, &fake{before: func(_ context.Context, heard []model.Word, seconds float64, _ model.Options) (*model.Result, error) {
		if n := len(heard); n > 0 && seconds-heard[n-1].Start < 0.3 {
			guess++
			heard[n-1] = said(guess, heard[n-1].Start, heard[n-1].End)
		}
		return nil, nil
	}}), "a")
	l.settle = true
	words := speak(0, numbers(1, 9)...)
	l.must(words, begin(0))
	l.must(quiet(l.at, 500*time.Millisecond), end(l.at))
	if err := l.finish(); err != nil {
		t.Fatal(err)
	}
	if got := l.text(); got != "w1 w2 w3 w4 w5 w6 w7 w8 w9|" {
		t.Errorf("finals %q", got)
	}
}

// A decoder that agrees with itself only now and then must not move stable
// words; leg.check looks.
func TestStableWordsStayWhateverTheDecoderSays(t *testing.T) {
	n := 0
	l := newLeg(t, engine(t, Config{}, &fake{before: func(_ context.Context, heard []model.Word, _ float64, o model.Options) (*model.Result, error) {
		n++
		for i := range heard {
			if (i+n)%5 == 0 || n%7 == 0 {
				heard[i] = said(100+i*n, heard[i].End, heard[i].Start)
			}
		}
		return nil, nil
	}}), "a")
	l.settle = true
	for range 3 {
		l.must(speak(l.at, numbers(1, 20)...), begin(l.at))
		l.must(quiet(l.at, 500*time.Millisecond), end(l.at))
	}
	if err := l.finish(); err != nil {
		t.Fatal(err)
	}
	if len(l.finals) != 3 {
		t.Errorf("%d finals", len(l.finals))
	}
}

func TestLongSpeechIsSplit(t *testing.T) {
	cases := []struct {
		name  string
		audio func() []pcm.Frame
		words int
	}{
		{"at pauses", func() []pcm.Frame {
			var x []pcm.Frame
			for n := int16(1); n < 100; n += 20 {
				x = append(x, speak(int64(len(x))*pcm.FrameSamples, numbers(n, n+19)...)...)
				x = append(x, quiet(int64(len(x))*pcm.FrameSamples, 300*time.Millisecond)...)
			}
			return x
		}, 100},
		{"without any pause", func() []pcm.Frame {
			var x []int16
			for _, w := range numbers(1, 100) {
				for range 400 * 16 {
					x = append(x, w)
				}
			}
			return frames(0, x)
		}, 100},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l := newLeg(t, engine(t, Config{MaxUtterance: 12 * time.Second}, &fake{}), "a")
			l.settle = true
			l.must(c.audio(), begin(0))
			if err := l.finish(); err != nil {
				t.Fatal(err)
			}
			if len(l.finals) < 4 {
				t.Errorf("%d utterances", len(l.finals))
			}
			for i, h := range l.finals {
				if h.End-h.Start > pcm.Samples(12*time.Second)+pcm.FrameSamples {
					t.Errorf("utterance of %v", pcm.Duration(h.End-h.Start))
				}
				if i > 0 && h.Start != l.finals[i-1].End {
					t.Errorf("utterance %d begins at %d, the one before ended at %d", h.Utterance, h.Start, l.finals[i-1].End)
				}
			}
			// A word may be cut in two, and is then heard twice.
			all := strings.Fields(strings.ReplaceAll(l.text(), "|", " "))
			next := 1
			for i, w := range all {
				if i > 0 && w == all[i-1] && c.name != "at pauses" {
					continue
				}
				if w != fmt.Sprintf("w%d", next) {
					t.Fatalf("word %q, want w%d, in %v", w, next, all)
				}
				next++
			}
			if next != c.words+1 {
				t.Errorf("%d words, want %d", next-1, c.words)
			}
		})
	}
}

func TestHoles(t *testing.T) {
	l := newLeg(t, engine(t, Config{PartialEvery: -1}, &fake{}), "a")
	l.must(speak(0, 1, 2), begin(0))
	l.must(speak(l.at+8000, 3, 4)) // half a second is missing
	l.must(speak(l.at+160000, 5))  // ten seconds
	l.must(speak(l.at, 6), begin(l.at-6400))
	l.must(speak(0, 7)) // frames from the past
	if err := l.finish(); err != nil {
		t.Fatal(err)
	}
	if got := l.text(); got != "w1 w2 w3 w4|w5 w6|" {
		t.Fatalf("finals %q", got)
	}
	if w := l.finals[0].Words[2]; w.Start != 2*6400+8000 {
		t.Errorf("the word after the hole is at %d", w.Start)
	}
	if w := l.finals[1].Words[0]; w.Start != 4*6400+8000+160000 {
		t.Errorf("the word after the long hole is at %d", w.Start)
	}
}

// repeat is what a loop looks like.
func repeat(n int) *model.Result {
	var ws []model.Word
	for i := range n {
		ws = append(ws, said(1+i%3, float64(i)*0.1, float64(i)*0.1+0.1))
	}
	r := result(ws...)
	return &r
}

func TestGuards(t *testing.T) {
	doubtful := result(said(9, 0, 1))
	doubtful.NoSpeechProb, doubtful.AvgLogProb = 0.9, -1.5
	dense := result()
	for i := range 100 {
		dense.Words = append(dense.Words, said(100+i, 1, 1))
	}
	long := result(said(1, 0, 1))
	long.Truncated = true
	squeezed := result(said(1, 0, 1))
	squeezed.CompressionRatio = 3
	cases := []struct {
		name        string
		short, full *model.Result
		want        string
		retried     bool
	}{
		{"a loop that the full context mends", repeat(30), nil, "w1 w2 w3 w4 w5|", true},
		{"a loop that it does not mend", repeat(30), repeat(30), "w1 w2 w3|", true},
		{"too many words", &dense, nil, "w1 w2 w3 w4 w5|", true},
		{"the token limit", &long, nil, "w1 w2 w3 w4 w5|", true},
		{"text that compresses well", &squeezed, nil, "w1 w2 w3 w4 w5|", true},
		{"no speech", &doubtful, &doubtful, "|", true},
		{"nothing wrong", nil, nil, "w1 w2 w3 w4 w5|", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := engine(t, Config{PartialEvery: -1}, &fake{before: func(_ context.Context, _ []model.Word, _ float64, o model.Options) (*model.Result, error) {
				if o.Context == fullContext {
					return c.full, nil
				}
				return c.short, nil
			}})
			l := newLeg(t, e, "a")
			l.must(speak(0, numbers(1, 5)...), begin(0))
			l.must(quiet(l.at, 500*time.Millisecond), end(l.at))
			if err := l.finish(); err != nil {
				t.Fatal(err)
			}
			if got := l.text(); got != c.want {
				t.Errorf("finals %q, want %q", got, c.want)
			}
			if got := e.Stats().Retries.Load() > 0; got != c.retried {
				t.Errorf("retried: %v", got)
			}
		})
	}
}

// What partials took for speech may be withdrawn by the final.
func TestFinalWithdrawsStableWords(t *testing.T) {
	e := engine(t, Config{}, &fake{before: func(_ context.Context, heard []model.Word, seconds float64, _ model.Options) (*model.Result, error) {
		if seconds < 3.4 {
			return nil, nil
		}
		r := result(heard...)
		r.NoSpeechProb, r.AvgLogProb = 0.9, -1.5
		return &r, nil
	}})
	l := newLeg(t, e, "a")
	l.settle = true
	l.must(speak(0, numbers(1, 8)...), begin(0))
	l.must(quiet(l.at, 500*time.Millisecond), end(l.at))
	if err := l.finish(); err != nil {
		t.Fatal(err)
	}
	if l.text() != "|" || len(l.all) < 4 || e.Stats().Withdrawn.Load() != 1 {
		t.Errorf("finals %q of %d hypotheses", l.text(), len(l.all))
	}
}

func TestFailingDecoderIsReported(t *testing.T) {
	broken := errors.New("broken weights")
	l := newLeg(t, engine(t, Config{}, &fake{before: func(context.Context, []model.Word, float64, model.Options) (*model.Result, error) {
		return nil, broken
	}}), "seven")
	l.settle = true
	err := l.feed(speak(0, numbers(1, 5)...), begin(0))
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "seven") {
		t.Errorf("error %v", err)
	}
}

func TestLegEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := engine(t, Config{}, &fake{before: func(ctx context.Context, _ []model.Word, _ float64, _ model.Options) (*model.Result, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		defer e.Close()
		ctx, cancel := context.WithCancel(t.Context())
		s, err := e.NewStream(ctx, asr.StreamConfig{})
		if err != nil {
			t.Fatal(err)
		}
		fs := speak(0, 1, 2, 3)
		for i := range fs {
			if _, err := s.Accept(&fs[i], []asr.Edge{begin(0)}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		cancel()
		if _, err := s.Finish(t.Context()); !errors.Is(err, context.Canceled) {
			t.Errorf("Finish: %v", err)
		}
		if _, err := s.Accept(&fs[0], nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Accept: %v", err)
		}
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestFinishStopsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := engine(t, Config{}, &fake{before: func(ctx context.Context, _ []model.Word, _ float64, _ model.Options) (*model.Result, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		defer e.Close()
		l := newLeg(t, e, "a")
		defer l.s.Close()
		l.must(speak(0, 1), begin(0))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.s.Finish(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "unfinished") {
			t.Errorf("Finish: %v", err)
		}
	})
}

func TestEngineCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := engine(t, Config{}, &fake{before: func(ctx context.Context, _ []model.Word, _ float64, _ model.Options) (*model.Result, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		a, b := newLeg(t, e, "a"), newLeg(t, e, "b")
		for _, l := range []*leg{a, b} {
			l.must(speak(0, 1), begin(0))
			l.must(quiet(l.at, time.Second), end(l.at))
		}
		synctest.Wait() // a's final is being decoded, b's waits
		for range 2 {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := b.finish(); !errors.Is(err, ErrClosed) {
			t.Errorf("Finish: %v", err)
		}
		if err := a.finish(); err == nil {
			t.Error("Finish of a leg whose final was stopped: no error")
		}
		if _, err := e.NewStream(t.Context(), asr.StreamConfig{Leg: "late"}); !errors.Is(err, ErrClosed) {
			t.Errorf("NewStream: %v", err)
		}
		a.s.Close()
		b.s.Close()
	})
}

func TestManyLegsAtOnce(t *testing.T) {
	e := engine(t, Config{Workers: 3}, &fake{})
	var wg sync.WaitGroup
	for n := range 8 {
		l := newLeg(t, e, fmt.Sprint(n))
		wg.Go(func() {
			for range 5 {
				if l.feed(speak(l.at, numbers(1, 6)...), begin(l.at)) != nil ||
					l.feed(quiet(l.at, 600*time.Millisecond), end(l.at)) != nil {
					t.Error("Accept failed")
				}
			}
			if err := l.finish(); err != nil {
				t.Error(err)
			}
			if got, want := l.text(), strings.Repeat("w1 w2 w3 w4 w5 w6|", 5); got != want {
				t.Errorf("leg %d: finals %q", n, got)
			}
		})
	}
	wg.Wait()
	if got := e.Stats().Finals.Load(); got != 40 {
		t.Errorf("%d finals counted", got)
	}
	if q, r := e.Stats().Queued.Load(), e.Stats().Running.Load(); q != 0 || r != 0 {
		t.Errorf("%d queued, %d running at the end", q, r)
	}
}

func TestAcceptDoesNotAllocate(t *testing.T) {
	l := newLeg(t, engine(t, Config{PartialEvery: -1}, &fake{}), "a")
	l.must(quiet(0, 5*time.Second))
	f := pcm.Frame{Start: l.at}
	accept := func() {
		if _, err := l.s.Accept(&f, nil); err != nil {
			t.Fatal(err)
		}
		f.Start = f.End()
	}
	if n := testing.AllocsPerRun(500, accept); n != 0 {
		t.Errorf("silence: %v allocations a frame", n)
	}
	l.must(quiet(f.Start, 20*time.Millisecond), begin(f.Start))
	f.Start = l.at
	if n := testing.AllocsPerRun(300, accept); n != 0 {
		t.Errorf("speech: %v allocations a frame", n)
	}
}

func TestChineseIsWrittenWithoutSpaces(t *testing.T) {
	r := model.Result{Words: []model.Word{{Text: "你", End: 1}, {Text: "好,", End: 2}, {Text: " card", End: 3}, {Text: "丢", End: 4}}}
	u := &utterance{end: 1 << 20}
	h := u.finish(&outcome{res: r})
	if got := h.Text(); got != "你好, card丢" {
		t.Errorf("%q", got)
	}
}
