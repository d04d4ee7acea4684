package whisper

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// faultEvery is how often the log is told of one cause, and faultCauses
	// how many are told apart: what an error says may differ each time.
	faultEvery  = time.Minute
	faultCauses = 16
)

// faults counts failures of the second model, and tells the log of each cause at
// once and then seldom, with how often it has come since. All workers of an
// engine share it.
type faults struct {
	log   *slog.Logger
	stats *Stats

	mu     sync.Mutex
	causes map[string]*cause
}

// cause is when the log was last told of a cause, and how often it has come
// since.
type cause struct {
	told  time.Time
	since int
}

// take notes that a decode failed.
func (f *faults) take(now time.Time, err error) {
	f.stats.SecondFailures.Add(1)
	n := f.count(now, err.Error())
	if n > 0 {
		f.log.Warn("the model for finals fails; what the first model hears counts", "error", err, "times", n)
	}
}

// count is how often the cause has come since the log was told of it, 0 if it is
// not yet time to tell again. Causes beyond faultCauses count as one.
func (f *faults) count(now time.Time, why string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.causes == nil {
		f.causes = map[string]*cause{}
	}
	c := f.causes[why]
	if c == nil && len(f.causes) >= faultCauses {
		why = ""
		c = f.causes[why]
	}
	if c == nil {
		c = &cause{}
		f.causes[why] = c
	}
	c.since++
	if !c.told.IsZero() && now.Sub(c.told) < faultEvery {
		return 0
	}
	n := c.since
	*c = cause{told: now}
	return n
}
