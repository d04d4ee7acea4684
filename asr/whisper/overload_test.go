package whisper

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/asr"
)

// Too many talkers make partials rarer; finals come all, new legs are refused,
// and when the talkers have gone the next leg is welcome.
func TestOverloadAndRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newSlow(300 * time.Millisecond)
		e := engine(t, Config{PartialEvery: 500 * time.Millisecond, MaxPartialWait: time.Second, MaxFinalWait: 3 * time.Second}, d)
		defer e.Close()
		var legs []*leg
		for i := range 8 {
			l := newLeg(t, e, fmt.Sprint(i))
			defer l.s.Close()
			legs = append(legs, l)
			l.must(nil, begin(0))
		}
		words := speak(0, numbers(1, 20)...)
		for i, f := range words {
			for _, l := range legs {
				if i == 0 {
					l.must(words[:1], begin(0))
				} else {
					l.must(words[i : i+1])
				}
				_ = f
			}
			time.Sleep(20 * time.Millisecond)
		}
		if l := e.Load(); !l.Overloaded || l.Busy < 0.5 || l.PartialWait < time.Second {
			t.Errorf("after eight talkers' 8 s: %+v", l)
		}
		_, err := e.NewStream(t.Context(), asr.StreamConfig{})
		if !errors.Is(err, ErrOverloaded) || e.Stats().RefusedStreams.Load() != 1 {
			t.Errorf("a ninth leg: %v", err)
		}
		for _, l := range legs {
			if err := l.finish(); err != nil || len(l.finals) != 1 || len(l.finals[0].Words) != 20 {
				t.Errorf("finals %q, %v", l.text(), err)
			}
		}
		partials := e.Stats().Partials.Load()
		if partials < 8 || partials > 8*12 {
			t.Errorf("%d partials for eight talkers: at full rate each has 15", partials)
		}
		time.Sleep((loadSeconds + 1) * time.Second)
		if l := e.Load(); l != (Load{}) {
			t.Errorf("eleven idle seconds later: %+v", l)
		}
		s, err := e.NewStream(t.Context(), asr.StreamConfig{})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
	})
}

// Closing one leg of a batch frees its work and leaves the others'.
func TestOneOfABatchIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newSlow(time.Second)
		e := engine(t, Config{PartialEvery: -1}, d)
		defer e.Close()
		legs := make([]*leg, 4)
		for i := range legs {
			legs[i] = newLeg(t, e, fmt.Sprint(i))
			defer legs[i].s.Close()
		}
		for i, l := range legs {
			l.must(speak(0, int16(i+1)), begin(0))
			l.must(quiet(l.at, 400*time.Millisecond), end(l.at))
			if i == 0 {
				synctest.Wait() // the others come together
			}
		}
		time.Sleep(1500 * time.Millisecond) // the second is being decoded
		begin := time.Now()
		legs[1].s.Close()
		if w := time.Since(begin); w > 0 {
			t.Errorf("closing took %v", w)
		}
		legs[2].s.Close()
		for _, i := range []int{0, 3} {
			if err := legs[i].finish(); err != nil || legs[i].text() != fmt.Sprintf("w%d|", i+1) {
				t.Errorf("leg %d: %q, %v", i, legs[i].text(), err)
			}
		}
		if w := time.Since(begin); w > time.Second {
			t.Errorf("the last final came after %v", w)
		}
	})
}
