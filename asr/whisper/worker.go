package whisper

import (
	"context"

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
	// A language is settled by this much audio, and by this probability.
	languageSamples = 2 * pcm.Rate
	languageProb    = 0.5
)

// decoder is what a worker needs of model.Decoder.
type decoder interface {
	DecodeAll(jobs []model.Job, done func(job int, r model.Result, err error))
	DetectLanguage(ctx context.Context, samples []float32, frames int) (code string, prob float64, err error)
}

var _ decoder = (*model.Decoder)(nil)

// stage is a model with what a worker needs to decode by it: there is one for
// partials and one for finals, which may be the same.
type stage struct {
	decoder
	quiet *model.Silence
	// encode spells a draft that another model has written; nil where the draft
	// is the model's own.
	encode func(text string) []int
}

// worker decodes batches of jobs.
type worker struct {
	p      policy
	stages [2]*stage // for partials and for finals
	stats  *Stats

	buffers [][]float32
	jobs    []model.Job
}

// outcome is what became of a job.
type outcome struct {
	res model.Result
	// refused is the guard that fired on the last decode, if any did.
	refused verdict
	// language is what was recognised, if that was asked for and is certain.
	language string
}

func (j *job) stage() int {
	if j.careful {
		return 1
	}
	return 0
}

// run decodes jobs, each with a context that fits its audio, and tells done of
// each. When a guard refuses a final, it is decoded once more with the full
// context.
func (w *worker) run(batch []*job, done func(*job, outcome, error)) {
	for kind := range w.stages {
		var list, again []*job
		for _, j := range batch {
			if j.stage() == kind {
				list = append(list, j)
			}
		}
		w.decode(w.stages[kind], list, false, func(j *job, out outcome, err error) {
			if err == nil && out.refused != fine && j.final && w.p.context(len(j.samples)) < fullContext {
				w.stats.Retries.Add(1)
				again = append(again, j)
				return
			}
			done(j, out, err)
		})
		w.decode(w.stages[kind], again, true, done)
	}
}

func (w *worker) decode(g *stage, batch []*job, full bool, done func(*job, outcome, error)) {
	w.jobs = w.jobs[:0]
	list := batch[:0:0]
	for _, j := range batch {
		if err := j.ctx.Err(); err != nil {
			done(j, outcome{}, err)
			continue
		}
		if len(j.samples) == 0 {
			done(j, outcome{}, nil)
			continue
		}
		samples := w.samples(len(w.jobs), j.samples)
		if err := w.settleLanguage(g, j, samples); err != nil {
			done(j, outcome{}, err)
			continue
		}
		list = append(list, j)
		w.jobs = append(w.jobs, model.Job{Ctx: j.ctx, Samples: samples, Options: w.options(g, j, full)})
	}
	if len(list) == 0 {
		return
	}
	g.DecodeAll(w.jobs, func(i int, r model.Result, err error) {
		j := list[i]
		if err != nil {
			done(j, outcome{}, err)
			return
		}
		done(j, w.judge(j, r), nil)
	})
}

// samples are the i-th job's as the model takes them.
func (w *worker) samples(i int, from []int16) []float32 {
	for len(w.buffers) <= i {
		w.buffers = append(w.buffers, nil)
	}
	to := w.buffers[i][:0]
	for _, v := range from {
		to = append(to, float32(v)/32768)
	}
	w.buffers[i] = to
	return to
}

func (w *worker) options(g *stage, j *job, full bool) model.Options {
	o := model.Options{
		Context:   w.p.context(len(j.samples)),
		Silence:   g.quiet,
		WordTimes: true,
		MaxTokens: tokensPerSecond*len(j.samples)/pcm.Rate + tokensMore,
		Language:  j.language,
		Draft:     j.draft,
		Bias:      j.bias[j.stage()],
	}
	if j.careful {
		o.Beam = w.p.finalBeam
	}
	if full {
		o.Context, o.Silence = fullContext, nil
	}
	if g.encode != nil {
		o.Draft = g.encode(j.draftText)
	}
	return o
}

// settleLanguage finds out the job's language if it has none.
func (w *worker) settleLanguage(g *stage, j *job, samples []float32) error {
	if j.language != "" || !j.detect {
		return nil
	}
	code, prob, err := g.DetectLanguage(j.ctx, samples, 0)
	if err != nil {
		return err
	}
	j.language = code
	j.certain = prob >= languageProb && len(samples) >= languageSamples
	return nil
}

func (w *worker) judge(j *job, r model.Result) outcome {
	w.stats.Samples.Add(int64(len(j.samples)))
	out := outcome{res: r, refused: examine(&r, float64(len(j.samples))/pcm.Rate, fullContext)}
	if j.certain {
		out.language = j.language
	}
	switch out.refused {
	case looping:
		w.stats.Loops.Add(1)
	case noSpeech:
		w.stats.NoSpeech.Add(1)
	case excess:
		w.stats.Excess.Add(1)
	}
	return out
}

// context is the number of encoder frames for n samples.
func (p policy) context(n int) int {
	return min((n+p.pad+frameSamples-1)/frameSamples, fullContext)
}

// newStages makes a worker's decoders. Where the second model is nil, the first
// does finals too.
func newStages(first, second *model.Model, quiet [2]*model.Silence) [2]*stage {
	a := &stage{decoder: first.NewDecoder(), quiet: quiet[0]}
	if second == nil {
		return [2]*stage{a, a}
	}
	return [2]*stage{a, {decoder: second.NewDecoder(), quiet: quiet[1], encode: second.Encode}}
}
