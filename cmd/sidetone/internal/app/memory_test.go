package app

import (
	"runtime"
	"testing"
	"time"

	"sidetone/media"
)

// A call that is over is kept for a while, but not what heard it.
func TestCallsThatAreOverHoldNoStreams(t *testing.T) {
	r := host(t, nil)
	freed, source := make(chan struct{}), make(chan struct{})
	func() {
		// What brings the call has its jitter buffers.
		brings := &[1 << 10]int{}
		runtime.AddCleanup(brings, func(c chan struct{}) { close(c) }, source)
		sink, err := r.calls.Open(media.Call{ID: "one", Agent: "ann", Source: "siprec", Started: time.Now()}, func(media.End) { brings[0]++ })
		if err != nil {
			t.Fatal(err)
		}
		c := sink.(*call)
		l := addLeg(t, c, media.Leg{ID: "1", Role: media.RoleCustomer})
		runtime.AddCleanup(l, func(c chan struct{}) { close(c) }, freed)
		c.End(media.End{State: media.Ended, At: time.Now()})
		c.wait(t.Context())
	}()
	if rec := r.call(t, "one"); len(rec.Legs) != 1 {
		t.Errorf("the record has lost its leg: %+v", rec.Legs)
	}
	gone := func(c chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	for end := time.Now().Add(20 * time.Second); !gone(freed) || !gone(source); time.Sleep(10 * time.Millisecond) {
		runtime.GC()
		if time.Now().After(end) {
			t.Fatalf("of a call that is over are still held: its leg, with its recogniser's stream: %v, what brought it: %v", !gone(freed), !gone(source))
		}
	}
}
