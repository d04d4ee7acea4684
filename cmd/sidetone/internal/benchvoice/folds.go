package benchvoice

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"sidetone/voiceprint"
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
// are dealt into folds, and each trial is scored by a space and a calibration that
// were trained without the folds of both its speakers, and decided by thresholds that
// were measured on calls between others.
type Folds struct {
	fold   map[string]int
	judges map[pair]*Judge
}

// pair is two folds, the lower one first, or one twice.
type pair [2]int

func (p pair) has(fold int) bool { return p[0] == fold || p[1] == fold }

// NewFolds trains parameters for each pair of folds, as many at once as there are
// workers. t shapes each of the trainings; its Folds are not used. done, if not nil,
// is told how many of them are done.
func NewFolds(ctx context.Context, t backend.Training, folds, workers int, done func(n, of int)) (*Folds, error) {
	if folds < 3 {
		return nil, fmt.Errorf("bench voice: %d folds; without two of them at least one must be left to train on", folds)
	}
	t.Policy, t.Fall = cmp.Or(t.Policy, voiceprint.DefaultPolicy()), cmp.Or(t.Fall, backend.DefaultFall)
	f := &Folds{fold: deal(t.Recordings, folds), judges: map[pair]*Judge{}}
	var pairs []pair
	for i := range folds {
		for j := i; j < folds; j++ {
			pairs = append(pairs, pair{i, j})
		}
	}
	params := make([]*backend.Params, len(pairs))
	paths := make([][]backend.Path, len(pairs))
	count := counter{of: len(pairs), tell: done}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(workers, 1))
	for n, held := range pairs {
		g.Go(func() (err error) {
			if err = ctx.Err(); err != nil {
				return err
			}
			if params[n], paths[n], err = f.train(t, held); err != nil {
				return fmt.Errorf("bench voice: without folds %d and %d: %w", held[0], held[1], err)
			}
			count.add()
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for n, held := range pairs {
		var others []backend.Path
		for k, other := range pairs {
			if !held.has(other[0]) && !held.has(other[1]) {
				others = append(others, paths[k]...)
			}
		}
		var err error
		if params[n].Operating, err = backend.Operate(others, t.Policy, t.Fall); err != nil {
			return nil, fmt.Errorf("bench voice: thresholds without folds %d and %d: %w", held[0], held[1], err)
		}
		if f.judges[held], err = NewJudge(params[n]); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// train makes the parameters for a pair of folds, and plays the calls between them.
func (f *Folds) train(t backend.Training, held pair) (*backend.Params, []backend.Path, error) {
	var in []*backend.Recording
	all := t.Recordings
	t.Recordings = nil
	for i := range all {
		if r := &all[i]; held.has(f.fold[r.Speaker]) {
			in = append(in, r)
		} else {
			t.Recordings = append(t.Recordings, *r)
		}
	}
	p, err := backend.Estimate(t)
	if err != nil {
		return nil, nil, err
	}
	looks := make([][]voiceprint.Embedding, len(in))
	for i, r := range in {
		for _, l := range r.Looks {
			e, err := p.Space.Map(l.Raw)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", r.Name, err)
			}
			looks[i] = append(looks[i], e)
		}
	}
	var paths []backend.Path
	for _, a := range in {
		if a.Template == nil {
			continue
		}
		enrolled, err := p.Space.Map(a.Template)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", a.Name, err)
		}
		for i, b := range in {
			i0, i1 := f.fold[a.Speaker], f.fold[b.Speaker]
			if a == b || a.Group != b.Group || len(looks[i]) == 0 || held != (pair{min(i0, i1), max(i0, i1)}) {
				continue
			}
			path := backend.Path{Enrolled: a.Speaker, Speaker: b.Speaker, Template: a.Name, Test: b.Name, Line: b.Line}
			for k, e := range looks[i] {
				l := backend.Look{Net: b.Looks[k].Net, Cosine: voiceprint.Cosine(enrolled, e)}
				l.LLR = p.Calibration.LLR(l.Cosine, l.Net)
				path.Looks = append(path.Looks, l)
			}
			paths = append(paths, path)
		}
	}
	return p, paths, nil
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
	return f.judges[pair{min(a, b), max(a, b)}], nil
}
