package core

import (
	"errors"
	"runtime"
	"strings"
	"testing"
)

func TestTime(t *testing.T) {
	if Time() == 0 && runtime.GOOS == "linux" {
		before := Time()
		x := 1.0
		for range 100_000_000 {
			x *= 1.0000001
		}
		if Time() <= before {
			t.Errorf("no time passed in %v", x)
		}
	}
}

func TestOn(t *testing.T) {
	broken := errors.New("broken")
	for _, core := range []int{-1, 0} {
		if err := On(core, func() error { return broken }); !errors.Is(err, broken) {
			t.Errorf("core %d: %v", core, err)
		}
	}
	if !Pinned {
		t.Skip("this system cannot pin")
	}
	err := On(1000, func() error { return nil })
	if err == nil || !strings.Contains(err.Error(), "core 1000") {
		t.Errorf("core 1000: %v", err)
	}
	if err := Pin(-1); err != nil {
		t.Error(err)
	}
}
