package whisper

import (
	"slices"
	"strings"

	"sidetone/asr/stable"
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
	// The reference's thresholds (openai/whisper, transcribe.py), but for
	// minLogProb: there -1. On noise, tones and silence the model gives the
	// absence of speech 0.73 or more and its text -0.9 or less; on speech 0.36
	// at most, and in babble as loud as 10 dB below it 0.58.
	maxCompression = 2.4
	minLogProb     = -0.8
	maxNoSpeech    = 0.6
	// oddNoSpeech is enough for text that is odd by itself: a loop is sure of
	// its words.
	oddNoSpeech = 0.5
	// Doubt joins both: the probability of no speech, and doubtWeight times
	// what the text lacks in log probability. Of 300 finals of up to fewWords
	// words that people really said, one, misheard, has more than 1.24; of
	// those made of noise, tones and animals most do.
	doubtWeight = 0.7
	maxDoubt    = 1.3
	fewWords    = 3
	// A few words of which one is next to impossible need less doubt, and the
	// stock phrases that Whisper learnt from the ends of subtitles, and says of
	// nothing, must be sure of themselves: "Thank you." that is said has words
	// of 0.9, "Thank you." that is not begins with 0.05.
	weakWord   = 0.06
	weakDoubt  = 1.1
	stockWord  = 0.3
	stockDoubt = 0.8
	// maxRate is a rate of words that no talker keeps up, moreWords what a
	// short utterance may have on top.
	maxRate   = 6.0
	moreWords = 3
)

// examine judges the decode of so many seconds of audio.
func examine(r *model.Result, seconds float64) verdict {
	var words []string
	for _, w := range r.Words {
		if n := stable.Normal(w.Text); n != "" {
			words = append(words, n)
		}
	}
	v := fine
	if _, n := loop(words); n > 0 || r.CompressionRatio > maxCompression {
		v = looping
	} else if r.Truncated || float64(len(words)) > maxRate*seconds+moreWords {
		v = excess
	}
	switch {
	case r.NoSpeechProb > maxNoSpeech && r.AvgLogProb < minLogProb,
		r.NoSpeechProb > oddNoSpeech && v != fine,
		unlikely(r, words):
		return noSpeech
	}
	return v
}

// unlikely says that a text of a few words, or a stock phrase, is not sure
// enough of itself to have been said. Longer ones are left to the thresholds
// of the reference: in noise people are understood badly, but they speak.
func unlikely(r *model.Result, words []string) bool {
	weakest := float32(1)
	for _, w := range r.Words {
		if stable.Normal(w.Text) != "" {
			weakest = min(weakest, w.Prob)
		}
	}
	doubt := r.NoSpeechProb - doubtWeight*r.AvgLogProb
	switch {
	case isStock(words):
		return weakest < stockWord || doubt > stockDoubt
	case len(words) == 0 || len(words) > fewWords:
		return false
	}
	return doubt > maxDoubt || weakest < weakWord && doubt > weakDoubt
}

// isStock knows what Whisper says of silence and noise, most of it from
// subtitles' last lines, of beeps and of laughter.
func isStock(words []string) bool {
	switch strings.Join(slices.Compact(slices.Clone(words)), " ") {
	case "you", "thank you", "thank you very much", "thank you so much", "thank you for watching",
		"thanks for watching", "thank you for listening", "bye", "see you next time",
		"please subscribe", "subtitles by the amaraorg community", "beep", "ha", "haha":
		return true
	}
	return false
}

// loop finds words that repeat without a break and says where the first
// repetition begins and how many words the repetitions have, 0 without a loop: a word or two many times, or more words three times. People
// repeat themselves too.
func loop(words []string) (at, count int) {
	for i := range words {
		for n := 1; i+2*n <= len(words); n++ {
			same := 0
			for i+n+same < len(words) && words[i+same] == words[i+n+same] {
				same++
			}
			need := 2 * n
			switch {
			case n == 1:
				need = 5
			case n == 2:
				need = 6
			}
			if digits(words[i : i+n]) {
				need = max(need, longNumber)
			}
			if same >= need {
				return i + n, same
			}
		}
	}
	return 0, 0
}

// longNumber is how many repetitions a number may have that is read digit by
// digit: account and card numbers have long runs of one.
const longNumber = 20

// digits tells whether words are digits, or names of them.
func digits(words []string) bool {
	for _, w := range words {
		switch w {
		case "zero", "oh", "o", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "double", "triple":
			continue
		}
		if strings.Trim(w, "0123456789〇零一二三四五六七八九幺两") != "" {
			return false
		}
	}
	return true
}
