// Package asr holds the contract of speech recognition: a leg's frames and
// speech edges go in, hypotheses come out.
//
// An Engine is a loaded model: immutable and safe for concurrent use. A Stream
// is one leg's state: cheap, and used by one goroutine.
//
// All positions are samples at pcm.Rate on the leg's clock.
package asr

import (
	"context"
	"errors"
	"strings"

	"sidetone/internal/pcm"
)

// Word is one recognised word.
type Word struct {
	// Text carries casing and punctuation as the model gives them, no spaces.
	Text string
	// Start and End are samples on the leg's clock.
	Start, End int64
	// Confidence is a probability, 0 to 1.
	Confidence float32
	// Joined says that no space stands before the word, as in Chinese.
	Joined bool
}

// Hypothesis is what an utterance is believed to say.
//
// Later revisions of an utterance replace earlier ones, but never change the
// first Stable words of any earlier revision. A final alone may give them other
// casing and punctuation, or withdraw a whole utterance (Final with no words)
// which turned out to be no speech.
type Hypothesis struct {
	// Utterance counts a leg's utterances from 1.
	Utterance int
	// Revision counts an utterance's hypotheses from 1.
	Revision int
	// Final says that no further revision comes.
	Final bool
	// Words is the whole utterance so far; the receiver owns the slice.
	Words []Word
	// Stable is the number of leading words that will not change.
	Stable int
	// Start and End bound the utterance's speech as far as it is known.
	Start, End int64
}

// Text joins the words with single spaces, where the script has them.
func (h *Hypothesis) Text() string { return join(h.Words) }

// StableText joins the stable words likewise.
func (h *Hypothesis) StableText() string { return join(h.Words[:h.Stable]) }

func join(ws []Word) string {
	var b strings.Builder
	for i, w := range ws {
		if i > 0 && !w.Joined {
			b.WriteByte(' ')
		}
		b.WriteString(w.Text)
	}
	return b.String()
}

// EdgeKind says whether speech begins or ends.
type EdgeKind uint8

// The kinds of Edge; the zero value is no edge.
const (
	NoEdge EdgeKind = iota
	Begin
	End
	// Pause says that speech has ceased for a moment. It goes on, or an End at
	// the same place follows.
	Pause
)

// Edge is a border between silence and speech, found by a voice activity
// detector while it took a frame. At lies before the frame's end: a Begin
// reaches back to where speech began, an End and a Pause to where it ceased.
type Edge struct {
	Kind EdgeKind
	At   int64
}

// StreamConfig is what an engine is told about a leg.
type StreamConfig struct {
	// Call and Leg name the stream in logs and in scheduling.
	Call, Leg string
	// Language is an ISO 639-1 code; empty lets the engine choose.
	Language string
	// Phrases are what the call is likely to mention. An engine that cannot use
	// them ignores them.
	Phrases []Phrase
}

// Phrase is a name or a wording that is hard to guess from the sound alone:
// a product, the customer's name.
type Phrase struct {
	// Text is the phrase as it should be written.
	Text string
	// Weight is how much likelier than to the model alone it is, in nats for
	// each token; 0 means the engine's default.
	Weight float32
}

// ErrClosed is in the chain of errors that an engine or a stream returns when it
// is used after its Close, or a stream when its engine has been closed.
var ErrClosed = errors.New("asr: closed")

// Engine is a loaded recogniser.
type Engine interface {
	// NewStream begins a leg. The stream's work ends with ctx.
	NewStream(ctx context.Context, c StreamConfig) (Stream, error)
	// Close frees the model; every stream must have been closed. Idempotent.
	Close() error
}

// Stream recognises one leg. Its methods are called from one goroutine.
type Stream interface {
	// Accept takes the next frame with the edges found in it (zero, one or
	// two) and returns the hypotheses that have become ready since the last
	// call, oldest first. It never waits for recognition. A jump of f.Start is
	// a hole and is heard as silence.
	Accept(f *pcm.Frame, edges []Edge) ([]Hypothesis, error)
	// Finish ends the audio, waits for the finals still being worked on and
	// returns the rest. Accept must not be called afterwards.
	Finish(ctx context.Context) ([]Hypothesis, error)
	// Close drops what is unfinished and frees the stream. Idempotent.
	Close() error
}
