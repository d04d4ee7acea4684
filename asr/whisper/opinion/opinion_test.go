package opinion

import (
	"testing"

	"sidetone/asr/whisper/model"
)

func decode(logProb, compression float64) *model.Result {
	return &model.Result{AvgLogProb: logProb, CompressionRatio: compression}
}

func TestDoubtful(t *testing.T) {
	cut := decode(-0.1, 1)
	cut.Truncated = true
	for name, c := range map[string]struct {
		r    *model.Result
		want bool
	}{
		"sure":      {decode(-0.2, 1.2), false},
		"unsure":    {decode(-0.7, 1.2), true},
		"a loop":    {decode(-0.1, 2.5), true},
		"cut short": {cut, true},
		"no speech": {decode(0, 0), false},
	} {
		if got := Doubtful(c.r); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestBetter(t *testing.T) {
	sure, unsure := decode(-0.3, 1.2), decode(-0.8, 1.2)
	loop, surerLoop := decode(-0.2, 2.5), decode(-0.1, 8)
	for name, c := range map[string]struct {
		first, second *model.Result
		want          bool
	}{
		"the more probable":          {unsure, sure, true},
		"the less probable":          {sure, unsure, false},
		"a tie":                      {sure, decode(-0.3, 1), false},
		"a loop is never sure":       {unsure, loop, false},
		"anything is better than it": {loop, unsure, true},
		"two loops":                  {loop, surerLoop, true},
	} {
		if got := Better(c.first, c.second); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
