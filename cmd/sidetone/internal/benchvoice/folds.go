package benchvoice

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"sidetone/voiceprint/backend"
)

// NewJudge scores by parameters as they are.
func NewJudge(p *backend.Params) (*Judge, error) {
	s, err := p.Scorer()
	if err != nil {
		return nil, err
	}
	return &Judge{Space: p.Space, Scorer: s}, nil
}

// Judge implements Judges: it scores everything.
func (j *Judge) Judge(string, string) (*Judge, error) { return j, nil }

// Folds scores trials of the very recordings that there are to train on: the speakers
// are dealt into folds, and each trial is scored by parameters that were trained on
// neither its speakers' folds.
type Folds struct {
	fold   map[string]int
	judges map[[2]int]*Judge
}

// NewFolds trains parameters for each pair of folds, as many at once as there are
// workers. t shapes each of the trainings. done is told how many of them are done.
func NewFolds(ctx context.Context, t backend.Training, folds, workers int, done func(n, of int)) (*Folds, error) {
	if folds < 3 {
		return nil, fmt.Errorf("bench voice: %d folds; without two of them at least one must be left to train on", folds)
	}
	f := &Folds{fold: deal(t.Recordings, folds), judges: map[[2]int]*Judge{}}
	var pairs [][2]int
	for i := range folds {
		for j := i; j < folds; j++ {
			pairs = append(pairs, [2]int{i, j})
		}
	}
	trained := make([]*Judge, len(pairs))
	count := counter{of: len(pairs), tell: done}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(workers, 1))
	for n, pair := range pairs {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			part := t
			part.Recordings = slices.DeleteFunc(slices.Clone(t.Recordings), func(r backend.Recording) bool {
				k := f.fold[r.Speaker]
				return k == pair[0] || k == pair[1]
			})
			p, _, err := backend.Train(part)
			if err != nil {
				return fmt.Errorf("bench voice: without folds %d and %d: %w", pair[0], pair[1], err)
			}
			if trained[n], err = NewJudge(p); err != nil {
				return err
			}
			count.add()
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for n, pair := range pairs {
		f.judges[pair] = trained[n]
	}
	return f, nil
}

// deal puts speakers into folds, those of each group in turn.
func deal(rs []backend.Recording, folds int) map[string]int {
	group := map[string]string{}
	for i := range rs {
		group[rs[i].Speaker] = rs[i].Group
	}
	names := slices.SortedFunc(maps.Keys(group), func(a, b string) int {
		return cmp.Or(cmp.Compare(group[a], group[b]), cmp.Compare(a, b))
	})
	out := map[string]int{}
	for i, n := range names {
		out[n] = i % folds
	}
	return out
}

// Judge implements Judges.
func (f *Folds) Judge(enrolled, speaker string) (*Judge, error) {
	a, okA := f.fold[enrolled]
	b, okB := f.fold[speaker]
	if !okA || !okB {
		return nil, fmt.Errorf("bench voice: %s or %s was not dealt into a fold", enrolled, speaker)
	}
	return f.judges[[2]int{min(a, b), max(a, b)}], nil
}
