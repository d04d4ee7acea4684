package whisper

import "sync/atomic"

// Stats counts since the engine began. Times are nanoseconds.
type Stats struct {
	// Partials and Finals are decodes that came to their end.
	Partials, Finals atomic.Int64
	// Foreseen are the finals among them that were decoded at the pause that
	// turned out to be the end of speech.
	Foreseen atomic.Int64
	// Samples is the audio given to them, at pcm.Rate: an utterance counts
	// each time it is decoded.
	Samples atomic.Int64
	// Busy is the time the workers have decoded.
	Busy atomic.Int64
	// Queued and Running are the jobs that wait and those being decoded now.
	Queued, Running atomic.Int64
	// StalePartials are partials dropped undecoded or half decoded, since a
	// newer one or the final took their place.
	StalePartials atomic.Int64
	// Loops, NoSpeech and Excess count decodes that a guard refused: text that
	// repeats itself, no speech in the audio, more text than fits the audio.
	Loops, NoSpeech, Excess atomic.Int64
	// Retries are second decodes with the full context after a guard's refusal.
	Retries atomic.Int64
	// Seconds are decodes by the second model of what the first left in doubt.
	Seconds atomic.Int64
	// SecondFailures are decodes by the second model that failed, so that what
	// the first one heard counts.
	SecondFailures atomic.Int64
	// Withdrawn are finals left without words by the guards.
	Withdrawn atomic.Int64
	// FinalWait is the time from the edges of speech to their finals, summed
	// over Finals; LastFinalWait is the last of them.
	FinalWait, LastFinalWait atomic.Int64
	// RefusedStreams were refused because the engine was overloaded.
	RefusedStreams atomic.Int64
	// Lost are finals given up because their leg was minutes behind.
	Lost atomic.Int64
}
