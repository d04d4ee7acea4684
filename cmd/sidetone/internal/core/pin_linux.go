package core

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const canPin = true

// pinThread puts the calling thread on cores; undo puts it back.
func pinThread(cores ...int) (undo func(), err error) {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return nil, fmt.Errorf("cores %v: %w", cores, err)
	}
	if err := setAffinity(0, cores); err != nil {
		return nil, err
	}
	return func() {
		// The thread was there before, so it can be put back.
		_ = unix.SchedSetaffinity(0, &before)
	}, nil
}

// pinProcess puts every thread on cores. Threads inherit it from the one that
// starts them, so that after a round without a new thread all have it.
func pinProcess(cores ...int) error {
	done := map[int]bool{}
	for fresh := true; fresh; {
		fresh = false
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("cores %v: %w", cores, err)
		}
		for _, t := range tasks {
			tid, err := strconv.Atoi(t.Name())
			if err != nil || done[tid] {
				continue
			}
			// A thread may have ended meanwhile.
			if err := setAffinity(tid, cores); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
			done[tid], fresh = true, true
		}
	}
	return nil
}

func setAffinity(tid int, cores []int) error {
	var set unix.CPUSet
	names := make([]string, len(cores))
	for i, c := range cores {
		set.Set(c)
		names[i] = strconv.Itoa(c)
	}
	if err := unix.SchedSetaffinity(tid, &set); err != nil {
		return fmt.Errorf("core %s cannot be had (name another, or -1 for any): %w", strings.Join(names, ","), err)
	}
	return nil
}
