package benchpeer

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"sidetone/bench"
	"sidetone/cmd/sidetone/internal/benchasr"
	"sidetone/internal/pcm"
)

// Task is one length of audio in one kind of context, and clips that have it.
type Task struct {
	Seconds int
	Fitted  bool
	Clips   [][]int16
}

// frames is the context of a clip.
func (t *Task) frames(x []int16) int {
	if t.Fitted {
		return fit(len(x))
	}
	return fullFrames
}

// Tasks chooses clips of 2, 5, 10 and 30 s, n of each: the ones whose
// own length is nearest, so that no word is cut; 30 s are joined of several.
func Tasks(clips []benchasr.Clip, n int) ([]Task, error) {
	type sound struct {
		name string
		x    []int16
	}
	var all []sound
	for i := range clips {
		x, err := clips[i].Samples()
		if err != nil {
			return nil, err
		}
		all = append(all, sound{clips[i].Name, x})
	}
	var out []Task
	for _, seconds := range [...]int{2, 5, 10, 30} {
		var chosen [][]int16
		if seconds == 30 {
			rest := all
			for len(chosen) < n {
				var joined []int16
				var left []sound
				for _, s := range rest {
					if len(joined)+len(s.x) <= longestWhole {
						joined = append(joined, s.x...)
					} else {
						left = append(left, s)
					}
				}
				if len(joined) < longestWhole*8/10 {
					return nil, fmt.Errorf("bench: the clips do not make %d times 30 s of audio", n)
				}
				rest, chosen = left, append(chosen, joined)
			}
		} else {
			near := slices.Clone(all)
			off := func(s sound) int { return abs(len(s.x) - seconds*pcm.Rate) }
			slices.SortStableFunc(near, func(a, b sound) int { return cmp.Compare(off(a), off(b)) })
			for _, s := range near[:min(n, len(near))] {
				chosen = append(chosen, s.x)
			}
			if len(chosen) < n || off(near[n-1]) > seconds*pcm.Rate/5 {
				return nil, fmt.Errorf("bench: fewer than %d clips are about %d s long", n, seconds)
			}
		}
		out = append(out, Task{seconds, false, chosen})
		if fit(seconds*pcm.Rate) < fullFrames {
			out = append(out, Task{seconds, true, chosen})
		}
	}
	return out, nil
}

func abs(n int) int { return max(n, -n) }

const (
	fullFrames   = 1500
	frameSamples = pcm.Rate / 50
	// A fitted context is the audio and 2 s more, in steps of a second and of 6
	// s at least: what the streaming engine uses for partials.
	fitMore  = 2 * pcm.Rate
	fitStep  = 50
	fitLeast = 300
	// A fitted context may make any engine repeat itself: as in the streaming
	// engine a cap ends that.
	capPerSecond = 6
	capMore      = 8
)

func fit(samples int) int {
	frames := int(math.Ceil(float64(samples+fitMore) / frameSamples / fitStep))
	return min(max(frames*fitStep, fitLeast), fullFrames)
}

// Latency times every engine on every task, one engine after the other on each
// clip, for so many rounds, on n clips of each task. A first round, which does
// not count, finds those n on which the engines differ least in the number of
// tokens: with a short context any of them may repeat itself, and then another
// amount of work would be compared. done is told how many decodes there have
// been.
func Latency(ctx context.Context, engines []Engine, children []*Child, tasks []Task, n, rounds int, done func(n int)) ([]bench.LatencyRow, error) {
	decodes := 0
	ask := func(t *Task, x []int16) ([]bench.Decode, error) {
		var out []bench.Decode
		for _, c := range children {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			d, err := timeOne(c, x, t.frames(x))
			if err != nil {
				return nil, err
			}
			out = append(out, d)
			decodes++
			done(decodes)
		}
		return out, nil
	}
	var out []bench.LatencyRow
	for i := range tasks {
		t := &tasks[i]
		var tried []trial
		for _, x := range t.Clips {
			ds, err := ask(t, x)
			if err != nil {
				return nil, err
			}
			tried = append(tried, trial{x, ds[0].Tokens, disagreement(ds)})
		}
		tried = agreed(tried, n)
		timed := make([][]bench.Decode, len(engines))
		job := bench.Job{Seconds: t.Seconds, Fitted: t.Fitted}
		for range rounds {
			for _, c := range tried {
				ds, err := ask(t, c.x)
				if err != nil {
					return nil, err
				}
				for k, d := range ds {
					timed[k] = append(timed[k], d)
				}
			}
		}
		for _, c := range tried {
			job.Frames += float64(t.frames(c.x)) / float64(len(tried))
		}
		for k, e := range engines {
			out = append(out, bench.NewLatencyRow(e.Name, e.Ours, e.Kind, job, timed[k]))
		}
	}
	return out, nil
}

// trial is a clip, the tokens that it has, and by how many engines differ.
type trial struct {
	x                 []int16
	tokens, disagreed int
}

func disagreement(ds []bench.Decode) int {
	least, most := ds[0].Tokens, ds[0].Tokens
	for _, d := range ds {
		least, most = min(least, d.Tokens), max(most, d.Tokens)
	}
	return most - least
}

// agreed returns the n clips on which the engines differ least; of those with
// as little, the ones in which most is said, since they tell the time of a token
// best.
func agreed(all []trial, n int) []trial {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b trial) int { return cmp.Or(a.disagreed-b.disagreed, b.tokens-a.tokens) })
	return all[:min(n, len(all))]
}

// Decodes is how many decodes Latency does.
func Decodes(engines []Engine, tasks []Task, n, rounds int) int {
	out := 0
	for _, t := range tasks {
		out += (len(t.Clips) + min(n, len(t.Clips))*rounds) * len(engines)
	}
	return out
}

// timeOne times a decode, and the same stopped at once.
func timeOne(c *Child, x []int16, frames int) (bench.Decode, error) {
	q := Request{Context: frames}
	if frames < fullFrames {
		q.MaxTokens = capPerSecond*len(x)/pcm.Rate + capMore
	}
	whole, err := c.Ask(x, q)
	if err != nil {
		return bench.Decode{}, err
	}
	q.MaxTokens = 1
	first, err := c.Ask(x, q)
	if err != nil {
		return bench.Decode{}, err
	}
	return bench.Decode{
		Wall: whole.Wall, CPU: whole.CPU, Tokens: whole.Tokens, Encode: whole.Encode,
		First: first.CPU, FirstTokens: first.Tokens,
	}, nil
}
