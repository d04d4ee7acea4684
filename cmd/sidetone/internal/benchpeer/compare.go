package benchpeer

import (
	"context"
	"errors"
	"sync"

	"sidetone/bench"
	"sidetone/cmd/sidetone/internal/benchasr"
	"sidetone/internal/pcm"
)

// longestWhole is the audio that an engine which does not stream can take.
const longestWhole = 30 * pcm.Rate

// StartAll starts engines on a core; close ends those that were started.
func StartAll(ctx context.Context, engines []Engine, on int) (children []*Child, end func() error, err error) {
	end = func() error {
		var err error
		for _, c := range children {
			err = errors.Join(err, c.Close())
		}
		return err
	}
	for _, e := range engines {
		c, err := Start(ctx, e, on)
		if err != nil {
			return nil, nil, errors.Join(err, end())
		}
		children = append(children, c)
	}
	return children, end, nil
}

// Compare has every engine hear every clip, one engine after the other on each
// clip, so that what else the machine does hits all alike. Each of cores takes
// its share of the clips with engines of its own. done is told how many clips
// have been heard by all. Clips that are too long for an engine are left out.
func Compare(ctx context.Context, engines []Engine, clips []benchasr.Clip, cores []int, done func(n int)) ([]bench.Utterance, error) {
	heard := make([][]bench.Utterance, len(clips))
	var mu sync.Mutex
	next, finished := 0, 0
	take := func() int {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1
	}
	lane := func(ctx context.Context, on int) error {
		children, end, err := StartAll(ctx, engines, on)
		if err != nil {
			return err
		}
		for i := take(); i < len(clips) && ctx.Err() == nil; i = take() {
			us, err := hear(engines, children, &clips[i])
			if err != nil {
				return errors.Join(err, end())
			}
			mu.Lock()
			heard[i] = us
			finished++
			done(finished)
			mu.Unlock()
		}
		return errors.Join(ctx.Err(), end())
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var lanes sync.WaitGroup
	for _, on := range cores {
		lanes.Go(func() {
			if err := lane(ctx, on); err != nil {
				cancel(err)
			}
		})
	}
	lanes.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	// Engine by engine, each with its clips in order.
	var out []bench.Utterance
	for _, e := range engines {
		for _, us := range heard {
			for _, u := range us {
				if u.Engine == e.Name {
					out = append(out, u)
				}
			}
		}
	}
	return out, nil
}

func hear(engines []Engine, children []*Child, c *benchasr.Clip) ([]bench.Utterance, error) {
	x, err := c.Samples()
	if err != nil {
		return nil, err
	}
	var out []bench.Utterance
	for i, child := range children {
		if len(x) > longestWhole && !engines[i].Streams {
			continue
		}
		a, err := child.Ask(x, Request{})
		if err != nil {
			return nil, err
		}
		out = append(out, bench.Utterance{
			Engine: engines[i].Name, Set: c.Set, Condition: c.Condition, Clip: c.Name,
			Seconds: float64(len(x)) / pcm.Rate, CPU: a.CPU, Ref: c.Ref, Hyp: a.Text, Lags: a.Lags,
		})
	}
	return out, nil
}

// Words compares the word times of the first engine with the second's.
func Words(ours, ref *Child, clips []benchasr.Clip, done func(n int)) (*bench.WordTimes, error) {
	t := new(bench.WordTimes)
	for i := range clips {
		x, err := clips[i].Samples()
		if err != nil {
			return nil, err
		}
		a, err := ours.Ask(x, Request{Words: true})
		if err != nil {
			return nil, err
		}
		b, err := ref.Ask(x, Request{Words: true})
		if err != nil {
			return nil, err
		}
		t.Match(a.Words, b.Words)
		done(i + 1)
	}
	return t, nil
}
