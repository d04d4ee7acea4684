package whisper

import (
	"context"
	"time"

	"sidetone/asr/whisper/model"
	"sidetone/asr/whisper/opinion"
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
	// A second opinion's context is as long as the audio and 2 s, and 15 s at least.
	doubtPad    = 100
	doubtFrames = 750
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

// stage is a model with what a worker needs to decode by it: the first is for
// partials and most finals, the second, if there is one, a larger one.
type stage struct {
	decoder
	no    int
	quiet *model.Silence
}

// worker decodes batches of jobs.
type worker struct {
	p      policy
	stages [2]*stage // both the same where there is one model
	// always says that the second decodes every final.
	always bool
	stats  *Stats
	faults *faults

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

// run decodes jobs, each with a context that fits its audio, and tells done of
// each. What a careful decode leaves in doubt the second model hears too; where
// there is none, a final that a guard refuses is decoded once more with the full
// context. Where the second model fails, what the first one hears counts.
func (w *worker) run(batch []*job, done func(*job, outcome, error)) {
	var common, careful, again []*job
	for _, j := range batch {
		if j.careful {
			careful = append(careful, j)
		} else {
			common = append(common, j)
		}
	}
	w.decode(w.stages[0], common, how{}, done)

	first := w.stages[0]
	if w.always {
		first = w.stages[1]
	}
	w.decode(first, careful, how{}, func(j *job, out outcome, err error) {
		switch {
		case err != nil && first != w.stages[0] && j.ctx.Err() == nil:
			w.faults.take(time.Now(), err)
			again = append(again, j)
			return
		case err != nil:
		case first != w.stages[1] && out.refused != noSpeech && (out.refused != fine || opinion.Doubtful(&out.res)):
			j.first = out
			again = append(again, j)
			return
		case first == w.stages[0] && first == w.stages[1] && out.refused != fine && j.final && w.p.context(len(j.samples)) < fullContext:
			again = append(again, j)
			return
		}
		done(j, out, err)
	})
	switch {
	case first != w.stages[0]:
		w.decode(w.stages[0], again, how{}, done)
		return
	case first == w.stages[1]:
		w.stats.Retries.Add(int64(len(again)))
		w.decode(first, again, how{full: true}, done)
		return
	}
	w.stats.Seconds.Add(int64(len(again)))
	w.decode(w.stages[1], again, how{subtract: true}, func(j *job, out outcome, err error) {
		switch {
		case err != nil && j.ctx.Err() == nil:
			w.faults.take(time.Now(), err)
			out, err = j.first, nil
		case err == nil && !better(&j.first, &out):
			out = j.first
		}
		done(j, out, err)
	})
}

// better tells whether the second outcome is to be believed: the one that no
// guard refuses, or else the one that the models' own doubts speak for.
func better(first, second *outcome) bool {
	if a, b := first.refused == fine, second.refused == fine; a != b {
		return b
	}
	return opinion.Better(&first.res, &second.res)
}

// how says in which way jobs are decoded.
type how struct{ full, subtract bool }

func (w *worker) decode(g *stage, batch []*job, h how, done func(*job, outcome, error)) {
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
		w.jobs = append(w.jobs, model.Job{Ctx: j.ctx, Samples: samples, Options: w.options(g, j, h)})
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

func (w *worker) options(g *stage, j *job, h how) model.Options {
	o := model.Options{
		Context:   w.p.context(len(j.samples)),
		Silence:   g.quiet,
		WordTimes: true,
		Brisk:     true,
		MaxTokens: tokensPerSecond*len(j.samples)/pcm.Rate + tokensMore,
		Language:  j.language,
		Heard:     &j.utt.heard,
		Draft:     j.draft,
		Bias:      j.bias[g.no],
		Subtract:  h.subtract,
	}
	if j.searched {
		o.Beam, o.BeamBelow = w.p.finalBeam, w.p.beamBelow
	}
	if g.no > 0 {
		// The draft is in the tokens of another model.
		o.Draft = nil
	}
	if h.full {
		o.Context, o.Silence = fullContext, nil
	}
	if h.subtract {
		// What is in doubt is mostly noisy, and there is no silence behind noise.
		o.Context, o.Silence = w.p.doubtContext(len(j.samples)), nil
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
	out := outcome{res: r, refused: examine(&r, float64(len(j.samples))/pcm.Rate)}
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

// doubtContext is the same for a second opinion.
func (p policy) doubtContext(n int) int {
	return min(max((n+frameSamples-1)/frameSamples+doubtPad, doubtFrames), fullContext)
}

// newStages makes a worker's decoders.
func newStages(models [2]*model.Model, quiet [2]*model.Silence) [2]*stage {
	first := &stage{decoder: models[0].NewDecoder(), quiet: quiet[0]}
	if models[0] == models[1] {
		return [2]*stage{first, first}
	}
	return [2]*stage{first, {decoder: models[1].NewDecoder(), no: 1, quiet: quiet[1]}}
}
