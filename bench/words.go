package bench

import (
	"math"
	"slices"
	"strings"
	"unicode"
)

// TimedWord is a word with its times in seconds.
type TimedWord struct {
	Text  string  `json:"text"`
	Start float64 `json:"start"`
	End   float64 `json:"end"`
}

// WordTimes compares the word times of one engine with another's.
type WordTimes struct {
	// Words is the reference's words, Matched those that both have.
	Words, Matched int
	// Starts and Ends hold, for each of the matched, the difference of the
	// times in seconds, ours less the reference's.
	Starts, Ends []float64
}

// Match adds a clip: the words that both have, in the same order, are compared.
func (t *WordTimes) Match(ours, ref []TimedWord) {
	t.Words += len(ref)
	a, b := spellings(ours), spellings(ref)
	// common[i][j] is the number of words common to a[i:] and b[j:].
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] == b[j]:
			t.Matched++
			t.Starts = append(t.Starts, ours[i].Start-ref[j].Start)
			t.Ends = append(t.Ends, ours[i].End-ref[j].End)
			i, j = i+1, j+1
		case common[i+1][j] >= common[i][j+1]:
			i++
		default:
			j++
		}
	}
}

func spellings(ws []TimedWord) []string {
	out := make([]string, 0, len(ws))
	for _, w := range ws {
		out = append(out, strings.Map(func(r rune) rune {
			if unicode.IsLetter(r) || unicode.IsDigit(r) {
				return unicode.ToLower(r)
			}
			return -1
		}, w.Text))
	}
	return out
}

// Within is the share of differences of at most limit seconds, 0 to 1.
func Within(differences []float64, limit float64) float64 {
	n := 0
	for _, d := range differences {
		// A hair more, since the times are decimal fractions.
		if math.Abs(d) <= limit+1e-9 {
			n++
		}
	}
	return float64(n) / float64(max(len(differences), 1))
}

// Typical is the median of the differences' amounts.
func Typical(differences []float64) float64 {
	abs := make([]float64, 0, len(differences))
	for _, d := range differences {
		abs = append(abs, math.Abs(d))
	}
	slices.Sort(abs)
	return Quantile(abs, 0.5)
}
