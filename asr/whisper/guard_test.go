package whisper

import (
	"strings"
	"testing"

	"sidetone/asr/whisper/model"
)

// The cases' numbers are those of real decodes: of recorded words, alone, soft
// and in noise, and of recordings and models of what is no speech.
func TestFewWordsMustBeLikely(t *testing.T) {
	for _, c := range []struct {
		text              string
		weakest           float32
		noSpeech, logProb float64
		want              verdict
	}{
		// said
		{"Thank you.", 0.89, 0.11, -0.09, fine},
		{"Thank you.", 0.91, 0.13, -0.10, fine}, // 22 dB softer
		{"Goodbye.", 0.67, 0.08, -0.41, fine},
		{"No.", 0.74, 0.12, -0.23, fine},
		{"Tomorrow.", 0.28, 0.53, -0.71, fine},
		{"A.", 0.18, 0.49, -0.77, fine},
		{"A.", 0.09, 0.41, -1.15, fine},
		{"semi-colon", 0.09, 0.4, -0.87, fine},
		{"six, zero, nine, six, five", 0.05, 0.41, -1.0, fine},
		// not said
		{"Thank you.", 0.03, 0.84, -0.76, noSpeech}, // far babble
		{"Thank you.", 0.02, 0.24, -1.08, noSpeech}, // an animal
		{"you", 0.02, 0.55, -0.75, noSpeech},
		{"So...", 0.15, 0.57, -1.75, noSpeech},
		{"Yeah.", 0.20, 0.54, -1.34, noSpeech},
		{"Yes, yes, yes.", 0.05, 0.53, -1.25, noSpeech},
		{"ha ha ha ha", 0.10, 0.26, -0.63, noSpeech},
		{"beep beep beep beep", 0.47, 0.68, -0.67, noSpeech},
		{"Thank you very much.", 0.02, 0.5, -0.7, noSpeech},
	} {
		r := model.Result{Text: c.text, NoSpeechProb: c.noSpeech, AvgLogProb: c.logProb, CompressionRatio: 1}
		for i, w := range strings.Fields(c.text) {
			p := float32(0.97)
			if i == 0 {
				p = c.weakest
			}
			r.Words = append(r.Words, model.Word{Text: " " + w, Start: float64(i) * 0.4, End: float64(i)*0.4 + 0.3, Prob: p})
		}
		for _, context := range []int{750, fullContext} {
			if got := examine(&r, 3); got != c.want {
				t.Errorf("%q (no speech %.2f, log probability %.2f, context %d): verdict %d, want %d",
					c.text, c.noSpeech, c.logProb, context, got, c.want)
			}
		}
	}
}

// A mark without a word is no weak word, and no text is no stock phrase.
func TestMarksAreNotWeighed(t *testing.T) {
	r := model.Result{AvgLogProb: -0.5, NoSpeechProb: 0.6, CompressionRatio: 1}
	if got := examine(&r, 1); got != fine {
		t.Errorf("no text: verdict %d", got)
	}
	r.Words = []model.Word{{Text: " -", Prob: 0.01}, {Text: " Hello.", End: 0.5, Prob: 0.8}}
	if got := examine(&r, 1); got != fine {
		t.Errorf("a mark and a word: verdict %d", got)
	}
}

func TestStockPhrases(t *testing.T) {
	for text, want := range map[string]bool{
		"thank you": true, "bye bye bye": true, "beep beep": true, "you": true,
		"thank you for calling": false, "yes": false, "goodbye": false, "you you know": false, "": false,
	} {
		if got := isStock(strings.Fields(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestLoops(t *testing.T) {
	for text, want := range map[string]int{
		"no no no no":             -1,
		"no no no no no no no no": 1,
		"thank you thank you thank you thank you thank you": 2,
		"it is possible it is possible now":                 -1,
		"a b c a b c a b c a b c":                           3,
		"4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 then":              -1,
		"four one one one one one one one one one one one":  -1,
		"1 8 1 8 1 8 1 8 1 8":                               -1,
		strings.Repeat("one ", 30):                          1,
		"五 五 五 五 五 五 五":                                     -1,
	} {
		at, n := loop(strings.Fields(text))
		if n == 0 {
			at = -1
		}
		if at != want {
			t.Errorf("%q: %d, want %d", text, at, want)
		}
	}
}

func TestUnloopKeepsWhatFollows(t *testing.T) {
	var words []word
	for _, f := range strings.Fields("i said no no no no no no no and then so it is so it is so it is so it is so it is good") {
		words = append(words, word{normal: f})
	}
	var got []string
	for _, w := range unloop(words) {
		got = append(got, w.normal)
	}
	if s := strings.Join(got, " "); s != "i said no and then so it is good" {
		t.Errorf("%q", s)
	}
}
