package app

import (
	"fmt"
	"testing"
	"time"
)

func TestReadersAreNotedOnceInAWhile(t *testing.T) {
	var r readers
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	what := [3]string{"account:ann", "call.read", "k"}
	if r.noted(what, at) {
		t.Error("noted before anything was read")
	}
	r.note(what, at)
	for after, want := range map[time.Duration]bool{0: true, readAgain - 1: true, readAgain: false} {
		if got := r.noted(what, at.Add(after)); got != want {
			t.Errorf("%v later: noted %v, want %v", after, got, want)
		}
	}
	if r.noted([3]string{"account:bob", "call.read", "k"}, at) || r.noted([3]string{"account:ann", "pane.opened", "k"}, at) {
		t.Error("another's reading, or another action, passes for noted")
	}
	for i := range maxReaders + 1 {
		r.note([3]string{"account:ann", "call.read", fmt.Sprint(i)}, at)
	}
	if len(r.since) > maxReaders {
		t.Errorf("%d are remembered, at most %d may be", len(r.since), maxReaders)
	}
}
