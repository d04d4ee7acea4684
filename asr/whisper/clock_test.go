package whisper

import (
	"testing"
	"time"
)

// A clock that is set back must not keep old waits in force until it has caught
// up: they would refuse calls for hours.
func TestLoadForgetsWhenTheClockIsSet(t *testing.T) {
	var r record
	t0 := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	r.now(t0).finalWait = 9 * time.Second
	if l := r.load(t0.Add(time.Second), 1); l.FinalWait != 9*time.Second {
		t.Errorf("a second later: %+v", l)
	}
	for _, step := range []time.Duration{-3 * time.Hour, 3 * time.Hour} {
		if l := r.load(t0.Add(step), 1); l.FinalWait != 0 {
			t.Errorf("set by %v: %+v, want nothing", step, l)
		}
	}
}
