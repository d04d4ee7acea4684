package whisper

import "time"

// Load is how busy an engine has been for the last seconds.
type Load struct {
	// Busy is the share of the workers' time that they decoded.
	Busy float64
	// PartialWait is the mean time from asking for a partial to having it;
	// FinalWait is the longest from an end of speech to its final.
	PartialWait, FinalWait time.Duration
	// Overloaded says that new streams are refused.
	Overloaded bool
}

// loadSeconds is how long a Load looks back.
const loadSeconds = 10

// record keeps what Load is made of, second by second. It is the scheduler's,
// and guarded by its lock.
type record struct {
	seconds [loadSeconds]second
}

type second struct {
	at          int64 // seconds since 1970
	busy        time.Duration
	partials    int64
	partialWait time.Duration
	finalWait   time.Duration
}

func (r *record) now(t time.Time) *second {
	s := &r.seconds[t.Unix()%loadSeconds]
	if s.at != t.Unix() {
		*s = second{at: t.Unix()}
	}
	return s
}

// load is the Load of so many workers, without a verdict.
func (r *record) load(t time.Time, workers int) Load {
	var l Load
	var busy, wait time.Duration
	var partials int64
	for _, s := range r.seconds {
		// A second of the future was kept before the clock was set back.
		if age := t.Unix() - s.at; age < 0 || age >= loadSeconds {
			continue
		}
		busy += s.busy
		wait += s.partialWait
		partials += s.partials
		l.FinalWait = max(l.FinalWait, s.finalWait)
	}
	l.Busy = min(float64(busy)/float64(workers*loadSeconds*int(time.Second)), 1)
	if partials > 0 {
		l.PartialWait = wait / time.Duration(partials)
	}
	return l
}
