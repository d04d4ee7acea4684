package benchvoice

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"sidetone/bench/voice"
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

// How recordings are cut for training.
const (
	// partOf is the length of the stretches that an enrolment is cut into, besides
	// the whole.
	partOf = 5 * time.Second
	// firstLook and look are when a voiceprint.Verifier looks.
	firstLook = time.Second
	look      = 500 * time.Millisecond
)

// cut is a recording to be trained on and what of it is embedded.
type cut struct {
	backend.Recording
	// enrolled is the whole of an enrolment; its File is empty for a test.
	enrolled     Stretch
	parts, looks []Stretch
}

// cuts are the trials' files as recordings: enrolments as a whole and in parts, tests
// in the trials' stretches and as a verifier looks at them. lengths are those of the
// enrolments, in samples.
func cuts(trials []voice.Trial, lengths map[string]int) []cut {
	at := map[string]int{}
	var out []cut
	recording := func(file, speaker, group, line string) *cut {
		i, ok := at[file]
		if !ok {
			i = len(out)
			at[file] = i
			out = append(out, cut{Recording: backend.Recording{Name: file, Speaker: speaker, Group: group, Line: line}})
		}
		return &out[i]
	}
	for i := range trials {
		t := &trials[i]
		e := recording(t.Enrol, t.Enrolled, t.Group, "enrolment")
		if e.enrolled.File == "" {
			e.enrolled = enrolment(t)
			e.parts = append(e.parts, e.enrolled)
			for n := samples(partOf); n <= lengths[t.Enrol]; n += samples(partOf) {
				e.parts = append(e.parts, Stretch{t.Enrol, n - samples(partOf), samples(partOf)})
			}
		}
		r := recording(t.Test, t.Speaker, t.Group, t.Channel)
		if s := test(t); !slices.Contains(r.parts, s) {
			r.parts = append(r.parts, s)
		}
	}
	claims := voice.Claims(trials)
	for i := range claims {
		r := &out[at[claims[i].Test]]
		for net := firstLook + time.Duration(len(r.looks))*look; net <= claims[i].Net; net += look {
			r.looks = append(r.looks, Stretch{File: r.Name, Length: samples(net)})
		}
	}
	return out
}

// Recordings embeds all of the trials' files that can be trained on. done is as in
// Stock.Make.
func Recordings(ctx context.Context, s *Stock, trials []voice.Trial, done func(n, of int)) ([]backend.Recording, error) {
	lengths := map[string]int{}
	for i := range trials {
		name := trials[i].Enrol
		if _, ok := lengths[name]; ok {
			continue
		}
		speech, err := s.Speech(name)
		if err != nil {
			return nil, err
		}
		lengths[name] = len(speech)
	}
	all := cuts(trials, lengths)
	var what []Stretch
	for _, c := range all {
		what = append(append(what, c.parts...), c.looks...)
	}
	if err := s.Make(ctx, what, done); err != nil {
		return nil, err
	}
	out := make([]backend.Recording, len(all))
	for i, c := range all {
		out[i] = c.Recording
		if c.enrolled.File != "" {
			out[i].Template = s.Get(c.enrolled)
		}
		for _, p := range []struct {
			to *[]backend.Piece
			of []Stretch
		}{{&out[i].Parts, c.parts}, {&out[i].Looks, c.looks}} {
			for _, at := range p.of {
				net := time.Duration(cmp.Or(at.Length, lengths[at.File])) * time.Second / voiceprint.Rate
				*p.to = append(*p.to, backend.Piece{Net: net, Raw: s.Get(at)})
			}
		}
	}
	return out, nil
}

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
