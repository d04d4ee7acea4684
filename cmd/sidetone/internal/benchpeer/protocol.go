// Package benchpeer has recognisers, Sidetone's own and others, run side by
// side as child processes that answer requests over pipes: all in one run, on
// one core, in turn, measured by the same hand.
package benchpeer

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"sidetone/bench"
	"sidetone/cmd/sidetone/internal/core"
)

// Request is a line of JSON that asks for a decode; the samples follow it, 16
// bits each, little-endian, at pcm.Rate.
type Request struct {
	// Samples is how many there are.
	Samples int `json:"samples"`
	// Context is the encoder frames, 20 ms each; 0 means the full 30 s.
	Context int `json:"context,omitempty"`
	// MaxTokens ends the decode early; 0 means no limit but Whisper's own.
	MaxTokens int `json:"max_tokens,omitempty"`
	// Words asks for the words' times.
	Words bool `json:"words,omitempty"`
}

// Answer is the line of JSON that comes back. Times are seconds.
type Answer struct {
	// Error says why there is nothing else.
	Error string `json:"error,omitempty"`
	Text  string `json:"text,omitempty"`
	// Tokens is the number of text tokens.
	Tokens int `json:"tokens,omitempty"`
	// Wall and CPU are what the decode took, Encode the part of CPU that the
	// encoder took, if that is known.
	Wall   float64           `json:"wall"`
	CPU    float64           `json:"cpu"`
	Encode float64           `json:"encode,omitempty"`
	Words  []bench.TimedWord `json:"words,omitempty"`
	// Lags is as in bench.Utterance.
	Lags []float64 `json:"lags,omitempty"`
}

// hello is the line of JSON that a child begins with.
type hello struct {
	// Ready says what will answer: names, versions, arithmetic.
	Ready string `json:"ready"`
}

// maxLine bounds an answer; a word takes some 60 bytes.
const maxLine = 4 << 20

// readAnswer parses a line of a child.
func readAnswer(line []byte) (Answer, error) {
	var a Answer
	if err := json.Unmarshal(line, &a); err != nil {
		return Answer{}, fmt.Errorf("an answer that cannot be read: %w", err)
	}
	if a.Error != "" {
		return Answer{}, errors.New(a.Error)
	}
	if !(a.Wall >= 0 && a.CPU >= 0 && a.Encode >= 0) || a.Tokens < 0 {
		return Answer{}, fmt.Errorf("an answer with impossible figures: %d tokens in %v s (processor %v s, encoder %v s)", a.Tokens, a.Wall, a.CPU, a.Encode)
	}
	return a, nil
}

// Recognise answers one request; Serve fills in Wall and CPU.
type Recognise func(ctx context.Context, x []int16, q Request) (Answer, error)

// Serve answers requests from in until it ends. ready says what answers.
func Serve(ctx context.Context, in io.Reader, out io.Writer, ready string, f Recognise) error {
	e := json.NewEncoder(out)
	if err := e.Encode(hello{ready}); err != nil {
		return err
	}
	r := bufio.NewReader(in)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		var q Request
		if err = json.Unmarshal(line, &q); err != nil {
			return fmt.Errorf("a request that cannot be read: %w", err)
		}
		if q.Samples < 0 || q.Samples > maxSamples {
			return fmt.Errorf("a request with %d samples, want 0 to %d", q.Samples, maxSamples)
		}
		x := make([]int16, q.Samples)
		if err = binary.Read(r, binary.LittleEndian, x); err != nil {
			return fmt.Errorf("a request without its %d samples: %w", q.Samples, err)
		}
		begin, before := time.Now(), core.Time()
		a, err := f(ctx, x, q)
		a.Wall, a.CPU = time.Since(begin).Seconds(), (core.Time() - before).Seconds()
		if err != nil {
			a = Answer{Error: err.Error()}
		}
		if err := e.Encode(a); err != nil {
			return err
		}
	}
}

// maxSamples is an hour.
const maxSamples = 3600 * 16000
