package openai

import (
	"fmt"
	"strings"
	"testing"

	"sidetone/internal/pcm"
)

func replies() []struct{ name, in, want, err string } {
	return []struct{ name, in, want, err string }{
		{"json", `{"text":"Good day."}`, "Good@0-1000/0.50 day.@1000-2000/0.50", ""},
		{"nothing was said", `{"text":""}`, "", ""},
		{"verbose, words without punctuation", `{"task":"transcribe","language":"english","duration":2,"text":"Good day, Mr. O'Neil.",
			"segments":[{"id":0,"start":0,"end":2,"text":" Good day, Mr. O'Neil.","avg_logprob":-0.1,"no_speech_prob":0.01}],
			"words":[{"word":"Good","start":0.1,"end":0.4},{"word":"day","start":0.5,"end":0.9},{"word":"Mr","start":1,"end":1.2},{"word":"O","start":1.2,"end":1.3},{"word":"Neil","start":1.3,"end":1.8}]}`,
			"Good@100-400/0.90 day,@500-900/0.90 Mr.@1000-1200/0.90 O'Neil.@1200-1800/0.90", ""},
		{"words in segments", `{"text":" Hi there","segments":[{"start":0,"end":1,"text":" Hi","words":[{"word":" Hi","start":0.2,"end":0.5,"probability":0.75}]},
			{"start":1,"end":2,"text":" there","words":[{"word":" there","start":1.1,"end":1.5,"probability":0.5}]}]}`,
			"Hi@200-500/0.75 there@1100-1500/0.50", ""},
		{"segments without words", `{"text":"One two","segments":[{"start":0.5,"end":1.5,"text":"One two"}]}`, "One@500-1000/0.50 two@1000-1500/0.50", ""},
		{"words that differ from the text", `{"text":"twenty one","words":[{"word":"21","start":0,"end":1}]}`, "21@0-1000/0.50", ""},
		{"a mark that stands alone", `{"text":"Well - yes","words":[{"word":"Well","start":0,"end":1},{"word":"yes","start":1,"end":2}]}`, "Well-@0-1000/0.50 yes@1000-2000/0.50", ""},
		{"a word of two tokens", `{"text":"open-source","words":[{"word":"open","start":0,"end":0.5,"probability":0.9},{"word":"-source","start":0.5,"end":1,"probability":0.25}]}`, "open-source@0-1000/0.25", ""},
		{"Chinese", `{"text":"你好","words":[{"word":"你","start":0,"end":0.5},{"word":"好","start":0.5,"end":1}]}`, "你好@0-1000/0.50", ""},
		{"no speech", `{"text":"Thank you.","segments":[{"start":0,"end":2,"text":"Thank you.","avg_logprob":-1.2,"no_speech_prob":0.9}]}`, "", ""},
		{"doubtful, but speech", `{"text":"Mm","segments":[{"start":0,"end":2,"text":"Mm","avg_logprob":-1.2,"no_speech_prob":0.1}]}`, "Mm@0-2000/0.30", ""},
		{"times beyond the audio", `{"text":"Late","words":[{"word":"Late","start":1.5,"end":9e99,"probability":7}]}`, "Late@1500-2000/1.00", ""},
		{"segment beyond the audio", `{"text":"a b","segments":[{"start":-9e307,"end":9e307,"text":"a b"}]}`, "a@0-1000/0.50 b@1000-2000/0.50", ""},
		{"faster-whisper's, recorded", `{"text": " The issue was not in doubt.", "duration": 4.75, "segments": [{"start": 0.7399999999999998, "end": 2.96, "text": " The issue was not in doubt.", "avg_logprob": -0.5370211601257324, "no_speech_prob": 0.059322476387023926}], "words": [{"word": " The", "start": 0.7399999999999998, "end": 1.46}, {"word": " issue", "start": 1.46, "end": 1.82}, {"word": " was", "start": 1.82, "end": 2.26}, {"word": " not", "start": 2.26, "end": 2.48}, {"word": " in", "start": 2.48, "end": 2.6}, {"word": " doubt.", "start": 2.6, "end": 2.96}]}`,
			"The@739-1460/0.58 issue@1460-1820/0.58 was@1820-2000/0.58 not@2000-2000/0.58 in@2000-2000/0.58 doubt.@2000-2000/0.58", ""},
		{"an error", `{"error":{"message":"no"}}`, "", "no text"},
		{"a web page", `<html>`, "", "no JSON"},
		{"many words", `{"text":"` + strings.Repeat("a ", longestReply+1) + `"}`, "", "more than 10000"},
	}
}

// C17: json and verbose_json are understood.
func TestParse(t *testing.T) {
	for _, c := range replies() {
		t.Run(c.name, func(t *testing.T) {
			ws, err := parse([]byte(c.in), 5000, 2*pcm.Rate)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				return
			}
			var got []string
			for _, w := range ws {
				got = append(got, fmt.Sprintf("%s@%d-%d/%.2f", w.Text, (w.Start-5000)/16, (w.End-5000)/16, w.Confidence))
			}
			if s := strings.Join(got, " "); err != nil || s != c.want {
				t.Errorf("%q, %v, want %q", s, err, c.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range replies() {
		f.Add([]byte(c.in))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ws, err := parse(b, 5000, pcm.Rate)
		if err != nil {
			return
		}
		for _, w := range ws {
			if w.Text == "" || w.Start < 5000 || w.End < 5000 || w.Start > 5000+pcm.Rate || w.End > 5000+pcm.Rate || !(w.Confidence >= 0 && w.Confidence <= 1) {
				t.Fatalf("%+v", w)
			}
		}
		told(b)
	})
}

func TestTold(t *testing.T) {
	for _, c := range [][2]string{
		{`{"error":{"message":"model not\nfound","type":"invalid_request_error"}}`, "model not found"},
		{`{"error":"busy"}`, `"busy"`},
		{`{"detail":"no"}`, `{"detail":"no"}`},
		{"<h1>\n502</h1>", "<h1> 502</h1>"},
		{"\xff", "?"},
		{strings.Repeat("é", 300), strings.Repeat("é", 100) + "…"},
	} {
		if got := told([]byte(c[0])); got != c[1] {
			t.Errorf("%q is told as %q, want %q", c[0], got, c[1])
		}
	}
}
