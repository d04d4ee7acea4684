package whisper

import (
	"context"
	"testing"
	"time"

	"sidetone/asr"
	"sidetone/asr/asrtest"
	"sidetone/asr/whisper/model"
)

func TestConformance(t *testing.T) {
	m := loadModel(t)
	asrtest.Run(t, func(t *testing.T) asr.Engine { return realEngine(t, m, Config{PartialEvery: time.Second}) }, asrtest.Options{
		Speech: [][]int16{
			channels(t, "asterisk", "tel8k", "demo-thanks.wav")[0],
			channels(t, "other", "tel8k", "osr34-02.wav")[0],
		},
		Partials: true,
		Legs:     3,
		Stalled: func(t *testing.T) asr.Engine {
			return engine(t, Config{}, &fake{before: func(ctx context.Context, _ []model.Word, _ float64, _ model.Options) (*model.Result, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}})
		},
	})
}
