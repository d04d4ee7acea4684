package vosk

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"sidetone/asr"
	"sidetone/internal/pcm"
)

// The protocol of vosk-server (websocket/asr_server.py of alphacep/vosk-server):
//
//	client                                        server
//	TEXT   {"config":{"sample_rate":16000,…}} ──►
//	BINARY signed 16-bit little-endian mono   ──►
//	                                          ◄── TEXT {"partial":"guten ta"}
//	BINARY …                                  ──►
//	                                          ◄── TEXT {"result":[{"conf":…,"start":…,"end":…,"word":"guten"}],"text":"guten"}
//	TEXT   {"eof" : 1}                        ──►
//	                                          ◄── TEXT {"result":[…],"text":"tag"}
//
// Every binary message and the eof have one reply, the configuration has none.
// A result tells what has been said since the one before and is never taken
// back. Times are seconds since the first sample.

// eof is compared by the server letter by letter, with both spaces.
const eof = `{"eof" : 1}`

// configuration is the first message. No phrase_list: to vosk-server that is
// all that may be said, not what is likelier than the rest.
func configuration() ([]byte, error) {
	type config struct {
		SampleRate int  `json:"sample_rate"`
		Words      bool `json:"words"`
	}
	return json.Marshal(struct {
		Config config `json:"config"`
	}{config{SampleRate: pcm.Rate, Words: true}})
}

// reply is a message of the server.
type reply struct {
	// settled says that the words will not change: a result, not a partial.
	settled bool
	words   []heard
}

// heard is a word of a reply. timed says that start and end, in seconds, and
// conf, 0 to 1, are known.
type heard struct {
	text             string
	timed            bool
	start, end, conf float64
}

type wireWord struct {
	Word  string   `json:"word"`
	Start float64  `json:"start"`
	End   float64  `json:"end"`
	Conf  *float64 `json:"conf"`
}

type wireReply struct {
	Partial       *string    `json:"partial"`
	PartialResult []wireWord `json:"partial_result"`
	Text          *string    `json:"text"`
	Result        []wireWord `json:"result"`
	Alternatives  []struct {
		Text   string     `json:"text"`
		Result []wireWord `json:"result"`
	} `json:"alternatives"`
}

// longestReply bounds a reply's words; a minute of speech has some 300.
const longestReply = 10000

// parse reads a reply.
func parse(b []byte) (reply, error) {
	var w wireReply
	if err := json.Unmarshal(b, &w); err != nil {
		return reply{}, fmt.Errorf("reply is not the JSON of vosk-server: %w", err)
	}
	switch {
	case w.Text != nil:
		return words(true, *w.Text, w.Result)
	case w.Partial != nil:
		return words(false, *w.Partial, w.PartialResult)
	case len(w.Alternatives) > 0:
		return words(true, w.Alternatives[0].Text, w.Alternatives[0].Result)
	}
	return reply{}, errors.New("reply has neither text, nor partial, nor alternatives: is this a vosk-server?")
}

func words(settled bool, text string, timed []wireWord) (reply, error) {
	r := reply{settled: settled}
	if len(timed) == 0 {
		for _, f := range strings.Fields(text) {
			r.words = append(r.words, heard{text: f})
		}
	}
	for _, t := range timed {
		if t.Start < 0 || t.End < t.Start || t.End > math.MaxInt32 {
			return reply{}, fmt.Errorf("word %q at %v to %v s", t.Word, t.Start, t.End)
		}
		conf := unknown
		if t.Conf != nil {
			conf = *t.Conf
		}
		if text := strings.TrimSpace(t.Word); text != "" {
			r.words = append(r.words, heard{text, true, t.Start, t.End, conf})
		}
	}
	if len(r.words) > longestReply {
		return reply{}, fmt.Errorf("reply of %d words, want at most %d", len(r.words), longestReply)
	}
	return r, nil
}

const (
	// unknown is the confidence of words of which the server tells none.
	unknown = 0.5
	// delay is how long after a word's end a partial first has it: the network
	// of the usual models looks so far ahead.
	delay = pcm.Rate / 2
	// longestWord bounds a word whose place is a guess.
	longestWord = pcm.Rate * 2 / 5
)

// transcript is what a server has said of an utterance that starts at a place
// of the leg's clock. The zero value starts at 0.
type transcript struct {
	start int64
	// settled are the words of results, guess those of the last partial.
	settled, guess []asr.Word
}

// take adds a reply to audio that ends at end. Words without times get their
// place by when they were first seen.
func (t *transcript) take(r *reply, end int64) {
	from := t.start
	if n := len(t.settled); n > 0 {
		from = t.settled[n-1].End
	}
	out := make([]asr.Word, 0, len(r.words))
	for i, w := range r.words {
		if !w.timed {
			break
		}
		out = append(out, asr.Word{
			Text:       w.text,
			Start:      t.start + int64(w.start*pcm.Rate),
			End:        t.start + int64(w.end*pcm.Rate),
			Confidence: float32(w.conf),
		})
		from = out[i].End
	}
	if len(out) < len(r.words) {
		out = t.place(r.words, from, end-delay)
	}
	if r.settled {
		t.settled = append(t.settled, out...)
		t.guess = nil
		return
	}
	t.guess = out
}

// place guesses where words without times lie: those that the last partial had
// stay where they were, the others share the time from their end, or from, to
// where the server has listened.
func (t *transcript) place(words []heard, from, to int64) []asr.Word {
	out := make([]asr.Word, 0, len(words))
	for i, w := range words {
		if i >= len(t.guess) || t.guess[i].Text != w.text {
			break
		}
		out = append(out, t.guess[i])
		from = t.guess[i].End
	}
	fresh := words[len(out):]
	if len(fresh) == 0 {
		return out
	}
	each := min(max(to-from, 0)/int64(len(fresh)), longestWord)
	at := max(from, to-each*int64(len(fresh)))
	for _, w := range fresh {
		out = append(out, asr.Word{Text: w.text, Start: at, End: at + each, Confidence: unknown})
		at += each
	}
	return out
}

// words are the settled and the guessed ones, in a slice of their own.
func (t *transcript) words() []asr.Word {
	return append(append(make([]asr.Word, 0, len(t.settled)+len(t.guess)), t.settled...), t.guess...)
}
