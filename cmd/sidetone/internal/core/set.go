package core

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// ParseSet reads a list of cores as taskset(1) does: numbers and ranges from 0
// with commas between them, such as 0,2-3. Empty means any, for which the
// result is nil.
func ParseSet(list string) ([]int, error) {
	if list == "" {
		return nil, nil
	}
	const most = 1024
	var out []int
	for part := range strings.SplitSeq(list, ",") {
		low, high, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(low)
		b := a
		if err == nil && isRange {
			b, err = strconv.Atoi(high)
		}
		if err != nil || a < 0 || b < a || b >= most {
			return nil, fmt.Errorf("cores %q: %q is neither a number nor a range such as 2-3", list, part)
		}
		for c := a; c <= b; c++ {
			out = append(out, c)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// OnSet runs f, and the processes that f starts, on the given cores; none means
// any. Where the system cannot do it, f runs anywhere.
func OnSet(cores []int, f func() error) error {
	if len(cores) == 0 {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	undo, err := pinThread(cores...)
	if err != nil {
		return err
	}
	defer undo()
	return f()
}

// PinSet puts all of this process and what it will start on the given cores; none
// means any.
func PinSet(cores []int) error {
	if len(cores) == 0 {
		return nil
	}
	runtime.GOMAXPROCS(len(cores))
	return pinProcess(cores...)
}
