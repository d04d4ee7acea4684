// Package core is what benchmarks need of the operating system: one processor
// core to run on, and the processor time that they had.
package core

import (
	"runtime"
	"time"
)

// Time is the processor time that this process has had on all cores; 0 where
// it is not known.
func Time() time.Duration { return processTime() }

// On runs f, and the processes that f starts, on one core, counted from 0.
// A negative core means any. Where the system cannot do it, f runs anywhere.
func On(core int, f func() error) error {
	if core < 0 {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	undo, err := pinThread(core)
	if err != nil {
		return err
	}
	defer undo()
	return f()
}

// Pin puts all of this process and what it will start on one core, counted
// from 0, and has one goroutine run at a time. A negative core does nothing.
func Pin(core int) error {
	if core < 0 {
		return nil
	}
	runtime.GOMAXPROCS(1)
	return pinProcess(core)
}

// Pinned says whether this system can put a process on a core.
const Pinned = canPin
