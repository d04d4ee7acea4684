package whisper

import (
	"slices"

	"sidetone/asr/whisper/model"
)

// verdict is what the guards say of a decode.
type verdict uint8

const (
	fine verdict = iota
	// looping: the text repeats itself.
	looping
	// noSpeech: the model itself doubts that there was speech.
	noSpeech
	// excess: more text than anyone speaks in that time.
	excess
)

const (
	// The reference's thresholds (openai/whisper, transcribe.py).
	maxCompression = 2.4
	minLogProb     = -1.0
	maxNoSpeech    = 0.6
	// maxRate is a rate of words that no talker keeps up, moreWords what a
	// short utterance may have on top.
	maxRate   = 6.0
	moreWords = 3
)

// examine judges the decode of so many seconds of audio.
func examine(r *model.Result, seconds float64) verdict {
	if r.NoSpeechProb > maxNoSpeech && r.AvgLogProb < minLogProb {
		return noSpeech
	}
	if r.CompressionRatio > maxCompression {
		return looping
	}
	words := make([]string, 0, len(r.Words))
	for _, w := range r.Words {
		if n := normal(w.Text); n != "" {
			words = append(words, n)
		}
	}
	if _, ok := loop(words); ok {
		return looping
	}
	if r.Truncated || float64(len(words)) > maxRate*seconds+moreWords {
		return excess
	}
	return fine
}

// loop finds words that repeat without a break and says where the first
// repetition begins. People repeat themselves too, above all digits; a loop
// goes on longer.
func loop(words []string) (at int, ok bool) {
	for i := range words {
		for n := 1; n <= 12 && i+2*n <= len(words); n++ {
			times := 1
			for j := i + n; j+n <= len(words) && slices.Equal(words[i:i+n], words[j:j+n]); j += n {
				times++
			}
			if times >= loopTimes(n) {
				return i + n, true
			}
		}
	}
	return 0, false
}

// loopTimes is how often n words must stand one after the other to be a loop.
func loopTimes(n int) int {
	switch n {
	case 1:
		return 6
	case 2:
		return 4
	default:
		return 3
	}
}
