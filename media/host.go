package media

import "errors"

// Errors of Host.Open and Call.AddLeg that sources tell apart.
var (
	// ErrDuplicate: a call, or a leg of the call, of that name is running.
	ErrDuplicate = errors.New("it is running already")
	// ErrBusy: there is no room for another call; it may be offered again later
	// or elsewhere.
	ErrBusy = errors.New("no room for another call")
	// ErrDraining: no more calls are taken, since the server is about to stop.
	ErrDraining = errors.New("no more calls are taken")
)

// Host takes calls from sources. A source is a protocol adapter: it opens the
// call, adds its legs as they come, and ends it.
type Host interface {
	// Open begins a call. hangUp tells the source that somebody else wants the
	// call to end, for instance at shutdown: it must return at once and may come
	// more than once; the source ends the call with the given end state.
	Open(c Call, hangUp func(End)) (CallSink, error)
}

// CallSink takes one call. It is safe for concurrent use.
type CallSink interface {
	// AddLeg begins a leg, at any time of the call. The sink that it returns is
	// for one goroutine and must be ended before the call is. An ID that was
	// used before, by a leg that has ended, goes on where that leg ended.
	AddLeg(l Leg) (LegSink, error)
	// UpdateLeg replaces what is known of the running leg of l.ID: who it is
	// and how that is known.
	UpdateLeg(l Leg)
	// Pause has nothing of the call's audio recognised, kept or shown until
	// Resume; time goes on. The reason says who asked for it. Pauses do not
	// nest.
	Pause(reason string)
	Resume(reason string)
	// Describe adds what the source knows of the call besides: names and values
	// of its own, such as header fields. Later values replace earlier ones.
	Describe(facts map[string]string)
	// End ends the call, once; later ends are ignored. What was said until then
	// is still recognised. Its name is free again soon after.
	End(e End)
}

// Joiner is what a Host offers besides if a source may add a leg to a call that
// another source has opened.
type Joiner interface {
	// Join adds the leg to the running call. hangUp is as in Host.Open; the leg
	// ends with its sink, and the call goes on without it.
	Join(callID string, l Leg, hangUp func(End)) (LegSink, error)
}
