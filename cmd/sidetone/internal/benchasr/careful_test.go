package benchasr

import (
	"context"
	"errors"
	"testing"

	"sidetone/asr/whisper/model"
	"sidetone/internal/pcm"
)

// oracle decodes everything to the same result and keeps what it was asked.
type oracle struct {
	res   model.Result
	err   error
	asked []model.Options
}

func (d *oracle) Decode(_ context.Context, _ []float32, o model.Options) (model.Result, error) {
	d.asked = append(d.asked, o)
	return d.res, d.err
}

func TestCareful(t *testing.T) {
	sure := model.Result{Text: " Sure.", AvgLogProb: -0.1, CompressionRatio: 1}
	unsure := model.Result{Text: " Unsure.", AvgLogProb: -0.9, CompressionRatio: 1}
	for name, c := range map[string]struct {
		first, second model.Result
		asked         int
		want          string
	}{
		"sure at once":          {sure, unsure, 0, "Sure."},
		"second opinion":        {unsure, sure, 1, "Sure."},
		"second opinion is bad": {unsure, model.Result{Text: "Bad", AvgLogProb: -2}, 1, "Unsure."},
	} {
		first, second := &oracle{res: c.first}, &oracle{res: c.second}
		h, err := (&Careful{opinionated{decoder: first}, opinionated{decoder: second}}).Recognise(t.Context(), make([]int16, 3*pcm.Rate))
		if err != nil || h.Text != c.want || len(first.asked) != 1 || len(second.asked) != c.asked {
			t.Errorf("%s: %q, asked %d and %d times, %v", name, h.Text, len(first.asked), len(second.asked), err)
		}
		if first.asked[0].Subtract || c.asked > 0 && !second.asked[0].Subtract {
			t.Errorf("%s: only the second opinion is of speech with less noise", name)
		}
	}
}

func TestCarefulContext(t *testing.T) {
	for seconds, want := range map[int]model.Options{
		0:  {Beam: 5, Context: 25, MaxTokens: 8},
		3:  {Beam: 5, Context: 175, MaxTokens: 26},
		20: {Beam: 5, Context: 1025, MaxTokens: 128},
		30: {Beam: 5, Context: 1500, MaxTokens: 188},
	} {
		d := &oracle{}
		if _, err := (&Careful{first: opinionated{decoder: d}}).Recognise(t.Context(), make([]int16, seconds*pcm.Rate)); err != nil {
			t.Fatal(err)
		}
		if got := d.asked[0]; got.Beam != want.Beam || got.Context != want.Context || got.MaxTokens != want.MaxTokens {
			t.Errorf("%d s: %+v, want %+v", seconds, got, want)
		}
	}
}

func TestCarefulErrors(t *testing.T) {
	broken := errors.New("broken")
	bad, unsure := &oracle{err: broken}, &oracle{res: model.Result{AvgLogProb: -1}}
	for _, c := range []*Careful{{first: opinionated{decoder: bad}}, {opinionated{decoder: unsure}, opinionated{decoder: bad}}} {
		if _, err := c.Recognise(t.Context(), make([]int16, pcm.Rate)); !errors.Is(err, broken) {
			t.Errorf("error %v", err)
		}
	}
	if _, err := (&Careful{first: opinionated{decoder: unsure}}).Recognise(t.Context(), make([]int16, 31*pcm.Rate)); err == nil {
		t.Error("31 s in one piece: no error")
	}
}
