package vosk

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sidetone/asr"
	"sidetone/internal/pcm"
)

// C3: the rate is the rate of what is sent.
func TestConfiguration(t *testing.T) {
	b, err := configuration()
	if want := `{"config":{"sample_rate":16000,"words":true}}`; err != nil || string(b) != want {
		t.Errorf("%s, %v, want %s", b, err, want)
	}
}

func messages() []struct{ name, in, want, err string } {
	return []struct{ name, in, want, err string }{
		{"partial", `{"partial" : "guten ta"}`, "guten? ta?", ""},
		{"no partial yet", `{"partial" : ""}`, "", ""},
		{"partial with times", `{"partial":"a","partial_result":[{"conf":0.5,"start":1,"end":1.5,"word":"a"}]}`, "a 1-1.5 0.5?", ""},
		{"result", `{"result":[{"conf":0.98,"start":0.42,"end":0.81,"word":"guten"},{"conf":1,"start":0.81,"end":1.2,"word":"tag"}],"text":"guten tag"}`,
			"guten 0.42-0.81 0.98 tag 0.81-1.2 1", ""},
		{"result without words", `{"text":"guten tag"}`, "guten tag", ""},
		{"nothing was said", `{"text" : ""}`, "", ""},
		{"speaker vector", `{"text":"ja","spk":[0.1,-0.2],"spk_frames":120}`, "ja", ""},
		{"alternatives", `{"alternatives":[{"confidence":212.3,"text":"guten tag"},{"confidence":210,"text":"gute nacht"}]}`, "guten tag", ""},
		{"alternatives with times", `{"alternatives":[{"confidence":212.3,"result":[{"start":0.4,"end":0.8,"word":"ja"}],"text":"ja"}]}`, "ja 0.4-0.8 0.5", ""},
		{"Korean", `{"result":[{"conf":1.0,"end":0.21,"start":0.0,"word":"아"}],"text":"아"}`, "아 0-0.21 1", ""},
		{"another service", `{"type":"Results"}`, "", "is this a vosk-server"},
		{"no JSON", `nope`, "", "JSON"},
		{"no object", `[]`, "", "JSON"},
		{"turned times", `{"result":[{"start":2,"end":1,"word":"x"}],"text":"x"}`, "", `word "x" at 2 to 1`},
		{"times beyond measure", `{"result":[{"start":2,"end":1e300,"word":"x"}],"text":"x"}`, "", "1e+300"},
		{"many words", `{"text":"` + strings.Repeat("a ", longestReply+1) + `"}`, "", "10001 words"},
	}
}

func TestParse(t *testing.T) {
	for _, c := range messages() {
		t.Run(c.name, func(t *testing.T) {
			r, err := parse([]byte(c.in))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				return
			}
			if got := r.String(); err != nil || got != c.want {
				t.Errorf("%q, %v, want %q", got, err, c.want)
			}
		})
	}
}

// What the real server said to the Korean test sentence is read to its end.
func TestRecordedReplies(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "korean.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var x transcript
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	for i, line := range lines {
		r, err := parse([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		end := min(int64(i+1), int64(len(lines)-1)) * pcm.Rate / 10
		x.take(&r, end)
		at := int64(0)
		for _, w := range x.words() {
			if w.Start < at || w.End < w.Start || w.End > end {
				t.Fatalf("reply %d: words %v", i, x.words())
			}
			at = w.End
		}
		if r.settled != (i == len(lines)-1) {
			t.Errorf("reply %d settled: %v", i, r.settled)
		}
	}
	h := asr.Hypothesis{Words: x.words()}
	if len(h.Words) < 10 || len(x.guess) > 0 {
		t.Errorf("words %q, of them guesses %v", h.Text(), x.guess)
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range messages() {
		f.Add([]byte(c.in))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parse(b)
		if err != nil {
			return
		}
		x := transcript{start: 1000, guess: []asr.Word{{Text: "a", Start: 1000, End: 1100}}}
		x.take(&r, 5000)
		if got := len(x.words()); got != len(r.words) {
			t.Fatalf("%d words of %d", got, len(r.words))
		}
		for _, w := range x.words() {
			if w.Text == "" || w.End < w.Start || w.Start < 1000 || w.End > math.MaxInt64/2 {
				t.Fatalf("%+v", w)
			}
		}
	})
}

// Words without times lie about where they were heard, and stay there.
func TestGuessedPlaces(t *testing.T) {
	x := transcript{start: 100000}
	say := func(text string, end int64) []asr.Word {
		r, err := words(false, text, nil)
		if err != nil {
			t.Fatal(err)
		}
		x.take(&r, x.start+end)
		return x.words()
	}
	first := say("one", 16000)
	if w := first[0]; w.End != x.start+8000 || w.Start != w.End-longestWord {
		t.Errorf("the first word is at %d to %d", w.Start-x.start, w.End-x.start)
	}
	later := say("one two three", 20000)
	if later[0] != first[0] || later[1].Start != first[0].End || later[2].End != x.start+12000 {
		t.Errorf("the words moved: %v, then %v", first, later)
	}
	if again := say("one two three", 40000); !slices.Equal(again, later) {
		t.Errorf("unchanged words moved: %v, then %v", later, again)
	}
}

func (r reply) String() string {
	var out []string
	for _, w := range r.words {
		s := w.text
		if w.timed {
			s += " " + number(w.start) + "-" + number(w.end) + " " + number(w.conf)
		}
		if !r.settled {
			s += "?"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}
