package whisper

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/asr/whisper/model"
	"sidetone/internal/pcm"
)

// slow is a decoder that takes its time and keeps a log: the first word heard
// and the length of the audio in tenths of a second.
type slow struct {
	fake
	log []string
}

func newSlow(d time.Duration) *slow {
	s := &slow{}
	s.before = func(ctx context.Context, heard []model.Word, seconds float64, _ model.Options) (*model.Result, error) {
		s.log = append(s.log, fmt.Sprintf("w%d %.1f", heard[0].Tokens[0], seconds))
		select {
		case <-time.After(d):
			return nil, nil
		case <-ctx.Done():
			s.log = append(s.log, "stopped")
			return nil, ctx.Err()
		}
	}
	return s
}

func TestFinalsComeBeforePartialsAndTheOldestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newSlow(time.Second)
		e := engine(t, Config{PartialEvery: 500 * time.Millisecond}, d)
		defer e.Close()
		legs := make([]*leg, 5)
		for i := range legs {
			legs[i] = newLeg(t, e, fmt.Sprint(i))
			defer legs[i].s.Close()
		}
		speech := func(i int, final bool) {
			l := legs[i]
			if final {
				l.must(speak(0, int16(i+1)), begin(0))
				l.must(quiet(l.at, 400*time.Millisecond), end(l.at))
			} else {
				l.must(speak(0, int16(i+1), 9, 9), begin(0))
			}
			time.Sleep(10 * time.Millisecond)
		}
		speech(0, true)
		synctest.Wait() // leg 0 is being decoded, the others wait
		speech(1, false)
		speech(2, true)
		speech(3, false)
		speech(4, true)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got, want := strings.Join(d.log, ", "), "w1 0.7, w3 0.7, w5 0.7, w2 1.2, w4 1.2"; got != want {
			t.Errorf("decoded %s, want %s", got, want)
		}
	})
}

func TestWaitingPartialIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newSlow(5 * time.Second)
		e := engine(t, Config{}, d)
		defer e.Close()
		other, l := newLeg(t, e, "other"), newLeg(t, e, "a")
		defer other.s.Close()
		defer l.s.Close()
		other.must(speak(0, 1), begin(0))
		other.must(quiet(other.at, 400*time.Millisecond), end(other.at))
		synctest.Wait()
		for _, f := range speak(0, numbers(2, 11)...) {
			l.must([]pcm.Frame{f}, begin(0))
			time.Sleep(pcm.FrameDuration)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got, want := strings.Join(d.log, ", "), "w1 0.7, w2 4.0"; got != want {
			t.Errorf("decoded %s, want %s", got, want)
		}
		if n := e.Stats().StalePartials.Load(); n < 4 {
			t.Errorf("%d stale partials counted", n)
		}
	})
}

// A partial that waited has what was said meanwhile, so the next is not due at
// once: two of almost the same audio would agree without proving anything.
func TestPartialsKeepTheirDistance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &slow{}
		d.before = func(_ context.Context, heard []model.Word, seconds float64, _ model.Options) (*model.Result, error) {
			d.log = append(d.log, fmt.Sprintf("w%d %.2f", heard[0].Tokens[0], seconds))
			if heard[0].Tokens[0] == 1 {
				time.Sleep(1310 * time.Millisecond)
			}
			return nil, nil
		}
		e := engine(t, Config{PartialEvery: 500 * time.Millisecond}, d)
		defer e.Close()
		other, l := newLeg(t, e, "other"), newLeg(t, e, "a")
		defer other.s.Close()
		defer l.s.Close()
		other.must(speak(0, 1), begin(0))
		other.must(quiet(other.at, 400*time.Millisecond), end(other.at))
		synctest.Wait()
		for _, f := range speak(0, numbers(2, 6)...) {
			l.must([]pcm.Frame{f}, begin(0))
			time.Sleep(pcm.FrameDuration)
			synctest.Wait()
		}
		if got, want := strings.Join(d.log, ", "), "w1 0.70, w2 1.32, w2 1.58"; got != want {
			t.Errorf("decoded %s, want %s", got, want)
		}
	})
}

func TestEndStopsThePartial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newSlow(time.Second)
		e := engine(t, Config{}, d)
		defer e.Close()
		l := newLeg(t, e, "a")
		defer l.s.Close()
		for _, f := range speak(0, 1, 2, 3) {
			l.must([]pcm.Frame{f}, begin(0))
			time.Sleep(pcm.FrameDuration)
		}
		began := time.Now()
		l.must(quiet(l.at, 100*time.Millisecond), end(l.at))
		if err := l.finish(); err != nil {
			t.Fatal(err)
		}
		if w := time.Since(began); w != time.Second {
			t.Errorf("the final came after %v, want the decoder's second", w)
		}
		if got, want := strings.Join(d.log, ", "), "w1 0.9, stopped, w1 1.3"; got != want {
			t.Errorf("decoded %s, want %s", got, want)
		}
		if l.text() != "w1 w2 w3|" || len(l.all) != 1 {
			t.Errorf("finals %q of %d hypotheses", l.text(), len(l.all))
		}
	})
}

func TestFinalsOfALegStayInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy, most int
		d := &fake{before: func(_ context.Context, heard []model.Word, _ float64, _ model.Options) (*model.Result, error) {
			busy++
			most = max(most, busy)
			time.Sleep(time.Duration(10-heard[0].Tokens[0]) * time.Second)
			busy--
			return nil, nil
		}}
		e := engine(t, Config{Workers: 4, PartialEvery: -1}, d)
		defer e.Close()
		l := newLeg(t, e, "a")
		defer l.s.Close()
		for n := int16(1); n <= 6; n++ {
			l.must(speak(l.at, n), begin(l.at))
			l.must(quiet(l.at, 500*time.Millisecond), end(l.at))
		}
		if err := l.finish(); err != nil {
			t.Fatal(err)
		}
		if got := l.text(); got != "w1|w2|w3|w4|w5|w6|" {
			t.Errorf("finals %q", got)
		}
		if most != 1 {
			t.Errorf("%d decodes of one leg at once", most)
		}
	})
}

// A leg for which no worker finds time keeps a bounded amount of audio.
func TestLegFarBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(chan struct{})
		d := &fake{before: func(context.Context, []model.Word, float64, model.Options) (*model.Result, error) {
			<-open
			return nil, nil
		}}
		e := engine(t, Config{PartialEvery: -1}, d)
		defer e.Close()
		l := newLeg(t, e, "a")
		defer l.s.Close()
		for range 40 {
			l.must(speak(l.at, numbers(1, 22)...), begin(l.at))
			l.must(quiet(l.at, 500*time.Millisecond), end(l.at))
		}
		close(open)
		if err := l.finish(); err != nil {
			t.Fatal(err)
		}
		empty := 0
		for _, h := range l.finals {
			if len(h.Words) == 0 {
				empty++
			}
		}
		lost := e.Stats().Lost.Load()
		if len(l.finals) != 40 || lost < 3 || lost > 12 || int64(empty) != lost {
			t.Errorf("%d finals, %d of them empty, %d counted as lost", len(l.finals), empty, lost)
		}
	})
}
