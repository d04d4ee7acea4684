package core

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

const canPin = true

// pinThread puts the calling thread on a core; undo puts it back.
func pinThread(core int) (undo func(), err error) {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return nil, fmt.Errorf("core %d: %w", core, err)
	}
	if err := setAffinity(0, core); err != nil {
		return nil, err
	}
	return func() {
		// The thread was there before, so it can be put back.
		_ = unix.SchedSetaffinity(0, &before)
	}, nil
}

// pinProcess puts every thread on a core. Threads inherit it from the one that
// starts them, so that after a round without a new thread all have it.
func pinProcess(core int) error {
	done := map[int]bool{}
	for fresh := true; fresh; {
		fresh = false
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("core %d: %w", core, err)
		}
		for _, t := range tasks {
			tid, err := strconv.Atoi(t.Name())
			if err != nil || done[tid] {
				continue
			}
			// A thread may have ended meanwhile.
			if err := setAffinity(tid, core); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
			done[tid], fresh = true, true
		}
	}
	return nil
}

func setAffinity(tid, core int) error {
	var one unix.CPUSet
	one.Set(core)
	if err := unix.SchedSetaffinity(tid, &one); err != nil {
		return fmt.Errorf("core %d cannot be had (name another, or -1 for any): %w", core, err)
	}
	return nil
}
