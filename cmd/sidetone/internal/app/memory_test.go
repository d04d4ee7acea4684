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
	freed := make(chan struct{})
	func() {
		c := open(t, r, media.Call{ID: "one", Agent: "ann", Source: "siprec"})
		l := addLeg(t, c, media.Leg{ID: "1", Role: media.RoleCustomer})
		runtime.AddCleanup(l, func(c chan struct{}) { close(c) }, freed)
		c.End(media.End{State: media.Ended, At: time.Now()})
		c.wait(t.Context())
	}()
	if rec := r.call(t, "one"); len(rec.Legs) != 1 {
		t.Errorf("the record has lost its leg: %+v", rec.Legs)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		runtime.GC()
		select {
		case <-freed:
			return
		default:
		}
		if time.Now().After(end) {
			t.Fatal("the leg of a call that is over is still held, with its recogniser's stream")
		}
	}
}
