package whisper

import (
	"sidetone/asr/whisper/model"
	"sidetone/internal/pcm"
)

const (
	// frameSamples is one encoder frame; fullContext is what Whisper was
	// trained on, 30 s.
	frameSamples = pcm.Rate / 50
	fullContext  = 1500
	// A token is a third of a second of slow speech or more; the cap ends
	// loops early.
	tokensPerSecond = 6
	tokensMore      = 8
)

// worker decodes, one job at a time.
type worker struct {
	p       policy
	d       decoder
	stats   *Stats
	samples []float32
}

// outcome is what became of a job.
type outcome struct {
	res model.Result
	// refused is the guard that fired on the last decode, if any did.
	refused verdict
}

// run decodes a job with a context that fits its audio. Whisper loops more
// easily on a context it was not trained on; when a guard refuses a final, it
// is decoded once more with the full context.
func (w *worker) run(j *job) (outcome, error) {
	if err := j.ctx.Err(); err != nil {
		return outcome{}, err
	}
	w.samples = w.samples[:0]
	for _, v := range j.samples {
		w.samples = append(w.samples, float32(v)/32768)
	}
	seconds := float64(len(w.samples)) / pcm.Rate
	if len(w.samples) == 0 {
		return outcome{}, nil
	}
	o := model.Options{
		Context:   w.p.context(len(w.samples), j.final),
		WordTimes: true,
		MaxTokens: int(tokensPerSecond*seconds) + tokensMore,
		Language:  j.language,
		Beam:      w.p.beam(j.final),
	}
	out, err := w.decode(j, o, seconds)
	if err == nil && out.refused != fine && j.final && o.Context < fullContext {
		w.stats.Retries.Add(1)
		o.Context = fullContext
		out, err = w.decode(j, o, seconds)
	}
	return out, err
}

func (w *worker) decode(j *job, o model.Options, seconds float64) (outcome, error) {
	res, err := w.d.Decode(j.ctx, w.samples, o)
	if err != nil {
		return outcome{}, err
	}
	w.stats.Samples.Add(int64(len(w.samples)))
	out := outcome{res: res, refused: examine(&res, seconds, o.Context)}
	switch out.refused {
	case looping:
		w.stats.Loops.Add(1)
	case noSpeech:
		w.stats.NoSpeech.Add(1)
	case excess:
		w.stats.Excess.Add(1)
	}
	return out, nil
}

// context is the number of encoder frames for n samples.
func (p policy) context(n int, final bool) int {
	floor := p.partialFloor
	if final {
		floor = p.finalFloor
	}
	frames := max((n+p.pad+frameSamples-1)/frameSamples, floor)
	frames = (frames + p.round - 1) / p.round * p.round
	return min(frames, fullContext)
}
