package benchpeer

import (
	"context"
	"fmt"
	"strings"

	"sidetone/asr/whisper/model"
	"sidetone/bench"
	"sidetone/cmd/sidetone/internal/benchasr"
	"sidetone/internal/pcm"
)

// Whole answers with decodes of whole clips: greedy, without fallback.
func Whole(m *model.Model) Recognise {
	d := m.NewDecoder()
	var samples []float32
	return func(ctx context.Context, x []int16, q Request) (Answer, error) {
		if len(x) > 30*pcm.Rate {
			return Answer{}, fmt.Errorf("%d s of audio: a whole clip may have 30", len(x)/pcm.Rate)
		}
		samples = samples[:0]
		for _, v := range x {
			samples = append(samples, float32(v)/32768)
		}
		res, err := d.Decode(ctx, samples, model.Options{
			Context: q.Context, MaxTokens: q.MaxTokens, WordTimes: q.Words, Language: "en",
		})
		if err != nil {
			return Answer{}, err
		}
		a := Answer{Text: strings.TrimSpace(res.Text), Tokens: len(res.Tokens)}
		for _, w := range res.Words {
			a.Words = append(a.Words, bench.TimedWord{Text: strings.TrimSpace(w.Text), Start: w.Start, End: w.End})
		}
		return a, nil
	}
}

// Live answers with what a recogniser of benchasr hears.
func Live(r benchasr.Recogniser) Recognise {
	return func(ctx context.Context, x []int16, _ Request) (Answer, error) {
		h, err := r.Recognise(ctx, x)
		return Answer{Text: h.Text, Lags: h.Lags}, err
	}
}
