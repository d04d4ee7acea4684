package app

import (
	"time"

	"sidetone/internal/journal"
)

// at places a moment on the call's clock: when it began, and how much later the
// moment is. Where the wall clock is set meanwhile, back or forth, the order of
// what happened and the length of the call stay what they were.
func (c *call) at(t time.Time) time.Time {
	return c.info.Started.Add(max(0, t.Sub(c.info.Started)))
}

// since is when a call began that the journal tells of, by the clock of this
// process, whose readings do not jump. Nothing of the call lies in the future,
// though the wall clock may have been set back.
func since(rec *journal.Call, now time.Time) time.Time {
	return now.Add(-max(now.Sub(rec.Started), rec.Last().Sub(rec.Started)))
}
