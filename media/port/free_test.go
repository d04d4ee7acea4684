package port

import (
	"testing"
	"time"

	"sidetone/media"
)

// TestFree counts the ports that a call may still have: those that rest are none.
func TestFree(t *testing.T) {
	p, err := NewPool(PoolConfig{Host: loopback, Min: 28501, Max: 28509, Rest: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	free := func(want int) {
		t.Helper()
		if n, bounded := p.Free(time.Now()); n != want || !bounded {
			t.Errorf("%d ports are free, bounded %t; want %d", n, bounded, want)
		}
	}
	free(4)
	cfg, _ := legConfig(t)
	a, err := p.Open(cfg)
	if err != nil {
		t.Skip("the ports are taken by others:", err)
	}
	free(3)
	a.End(media.End{State: media.Ended})
	free(3)
	if n, _ := p.Free(time.Now().Add(2 * time.Hour)); n != 4 {
		t.Errorf("%d ports are free when all have rested, want 4", n)
	}
	kernel, err := NewPool(PoolConfig{Host: loopback})
	if err != nil {
		t.Fatal(err)
	}
	if _, bounded := kernel.Free(time.Now()); bounded {
		t.Error("the kernel's ports are bounded")
	}
}
