package openai

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"sidetone/asr"
	"sidetone/asr/stable"
	"sidetone/internal/pcm"
)

// The reply of POST /v1/audio/transcriptions, as the servers that speak the
// protocol give it:
//
//	json          {"text":"Good morning."}
//	verbose_json  {"text":"Good morning.","duration":1.2,
//	               "segments":[{"start":0,"end":1.2,"text":" Good morning.","avg_logprob":-0.2,"no_speech_prob":0.01}],
//	               "words":[{"word":"Good","start":0.1,"end":0.4},{"word":"morning","start":0.4,"end":1}]}
//
// Times are seconds. words stands at the top (OpenAI) or in each segment (some
// of the others), with punctuation or without.
type wireReply struct {
	Text     *string       `json:"text"`
	Segments []wireSegment `json:"segments"`
	Words    []wireWord    `json:"words"`
}

type wireSegment struct {
	Start        float64    `json:"start"`
	End          float64    `json:"end"`
	Text         string     `json:"text"`
	AvgLogProb   *float64   `json:"avg_logprob"`
	NoSpeechProb float64    `json:"no_speech_prob"`
	Words        []wireWord `json:"words"`
}

type wireWord struct {
	Word        string   `json:"word"`
	Start       float64  `json:"start"`
	End         float64  `json:"end"`
	Probability *float64 `json:"probability"`
}

const (
	// unknown is the confidence of words of which the server tells none.
	unknown = 0.5
	// longestReply bounds a reply's words; a minute of speech has some 300.
	longestReply = 10000
	// A segment is no speech when it is so unlike speech and so doubtful
	// (Whisper's own rule: Radford et al., 2022, section 4.5).
	noSpeech = 0.6
	doubtful = -1.0
)

// parse reads the words of a reply to audio of so many samples that starts at a
// place of the leg's clock.
func parse(b []byte, start int64, samples int) ([]asr.Word, error) {
	var w wireReply
	if err := json.Unmarshal(b, &w); err != nil {
		return nil, fmt.Errorf("reply is no JSON of a transcription: %w", err)
	}
	if w.Text == nil {
		return nil, errors.New("reply has no text: is the URL that of an OpenAI-compatible API?")
	}
	if len(strings.Fields(*w.Text)) > longestReply || len(w.Words) > longestReply {
		return nil, fmt.Errorf("reply of more than %d words", longestReply)
	}
	seconds := float64(samples) / pcm.Rate
	timed := w.Words
	spoken := len(w.Segments) == 0
	conf := float64(unknown)
	worst := math.Inf(1)
	for _, s := range w.Segments {
		if len(w.Words) == 0 {
			timed = append(timed, s.Words...)
		}
		lp := 0.0
		if s.AvgLogProb != nil {
			lp = *s.AvgLogProb
			worst = min(worst, lp)
		}
		spoken = spoken || s.NoSpeechProb <= noSpeech || lp >= doubtful
	}
	if !spoken {
		return nil, nil
	}
	if !math.IsInf(worst, 1) {
		conf = math.Exp(min(worst, 0))
	}
	if len(timed) == 0 {
		for _, s := range w.Segments {
			timed = append(timed, spread(s.Text, min(max(s.Start, 0), seconds), min(max(s.End, 0), seconds))...)
		}
	}
	if len(timed) == 0 {
		timed = spread(*w.Text, 0, seconds)
	}
	if len(timed) > longestReply {
		return nil, fmt.Errorf("reply of %d words, want at most %d", len(timed), longestReply)
	}
	timed = styled(timed, *w.Text)
	out := make([]asr.Word, 0, len(timed))
	for _, t := range timed {
		if t.Word = strings.TrimSpace(t.Word); t.Word == "" {
			continue
		}
		c := conf
		if t.Probability != nil {
			c = *t.Probability
		}
		out = append(out, asr.Word{
			Text:       t.Word,
			Start:      start + sample(t.Start, samples),
			End:        start + sample(t.End, samples),
			Confidence: float32(min(max(c, 0), 1)),
		})
	}
	return out, nil
}

// sample is the place of a time within so many samples.
func sample(seconds float64, samples int) int64 {
	return int64(min(max(seconds*pcm.Rate, 0), float64(samples)))
}

// spread gives each word of a text a share of the time, by its length.
func spread(text string, start, end float64) []wireWord {
	words := strings.Fields(text)
	letters := 0
	for _, w := range words {
		letters += len(w)
	}
	out := make([]wireWord, 0, len(words))
	at := 0
	for _, w := range words {
		from := start + (end-start)*float64(at)/float64(letters)
		at += len(w)
		out = append(out, wireWord{Word: w, Start: from, End: start + (end-start)*float64(at)/float64(letters)})
	}
	return out
}

// styled gives words the spelling that they have in the text, which has casing
// and punctuation where OpenAI's words have none. The text's words take the
// times of those that have their letters. Where letters differ, the words are
// left as they are.
func styled(words []wireWord, text string) []wireWord {
	var out []wireWord
	next := 0
	for _, token := range strings.Fields(text) {
		want := stable.Normal(token)
		if want == "" && len(out) > 0 {
			out[len(out)-1].Word += token
			continue
		}
		var got string
		w := wireWord{Word: token}
		for from := next; next < len(words) && len(got) < len(want); next++ {
			got += stable.Normal(words[next].Word)
			if next == from {
				w.Start, w.Probability = words[next].Start, words[next].Probability
			} else if p, q := w.Probability, words[next].Probability; p != nil && q != nil {
				least := min(*p, *q)
				w.Probability = &least
			}
			w.End = words[next].End
		}
		if got != want || want == "" {
			return words
		}
		out = append(out, w)
	}
	for _, w := range words[next:] {
		if stable.Normal(w.Word) != "" {
			return words
		}
	}
	return out
}

// told is what an error reply says, cut to a line.
func told(b []byte) string {
	var w struct {
		Error json.RawMessage `json:"error"`
	}
	var detail struct {
		Message string `json:"message"`
	}
	s := string(b)
	if json.Unmarshal(b, &w) == nil && len(w.Error) > 0 {
		s = string(w.Error)
		if json.Unmarshal(w.Error, &detail) == nil && detail.Message != "" {
			s = detail.Message
		}
	}
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	const longest = 200
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "…"
	}
	return s
}
