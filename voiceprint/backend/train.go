package backend

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"sidetone/voiceprint"
)

// Piece is a raw embedding and how much net speech it was made of.
type Piece struct {
	Net time.Duration
	Raw voiceprint.Embedding
}

// Recording is one recording of a speaker as a model sees it. The caller of Train
// cuts and embeds; a recording need not have everything.
type Recording struct {
	Name, Speaker string
	// Group is whom impostors are taken from: those of another group are told apart
	// too easily to count, such as children and adults.
	Group string
	// Line is what it was heard over, in a word.
	Line string
	// Template is what would be enrolled of it, if anything.
	Template voiceprint.Embedding
	// Parts are stretches of it, for the covariance within speakers.
	Parts []Piece
	// Looks are its beginning, each longer than the one before: what the sequential
	// decision would embed, at the Net it would. Empty where it plays no caller.
	Looks []Piece
}

// Training shapes Train.
type Training struct {
	// Of is the model that made the embeddings.
	Of         voiceprint.Model
	Recordings []Recording
	// Data names what the recordings are, Date the day, for Trained.
	Data, Date string
	// Keep is parameters whose space is kept: only the calibration is estimated. Nil
	// trains a space too.
	Keep *Params
	// Shrink is as in TrainSpace, 0.3 if zero. Prior is the share of targets that
	// the calibration is fitted for, 0.5 if zero.
	Shrink, Prior float64
	// Fall is that of the thresholds, DefaultFall if zero.
	Fall float64
	// Folds is how many parts the speakers are put into so that comparisons can be
	// left out of training, 10 if zero and at least 4.
	Folds int
	// Policy is the decision that thresholds are measured for; the zero value is
	// voiceprint.DefaultPolicy.
	Policy voiceprint.Policy
	// Progress, if not nil, is told how many of all steps are done.
	Progress func(done, all int)
}

// The least that parameters can be trained on. With 40 speakers a space came within
// a third of the errors of one from 88; 30 pairs of calls by one person are what a
// calibration has been asked for in the literature, from different people at that.
const (
	LeastForSpace       = 40
	LeastForCalibration = 20
)

// TooLittleError says what there is too little of to train on.
type TooLittleError struct {
	What       string
	Have, Need int
}

func (e *TooLittleError) Error() string {
	return fmt.Sprintf("backend: %d %s are too few to train on: at least %d are needed", e.Have, e.What, e.Need)
}

func (t *Training) withDefaults() error {
	t.Shrink, t.Prior, t.Folds = cmp.Or(t.Shrink, 0.3), cmp.Or(t.Prior, 0.5), cmp.Or(t.Folds, 10)
	t.Fall = cmp.Or(t.Fall, DefaultFall)
	if t.Policy == (voiceprint.Policy{}) {
		t.Policy = voiceprint.DefaultPolicy()
	}
	if t.Progress == nil {
		t.Progress = func(int, int) {}
	}
	switch {
	case !(t.Prior > 0 && t.Prior < 1):
		return fmt.Errorf("backend: a prior of %v; it lies between 0 and 1", t.Prior)
	case !(t.Fall >= 0 && t.Fall <= maxFall):
		return fmt.Errorf("backend: thresholds that fall by the power %v; it lies between 0 and %v", t.Fall, maxFall)
	case t.Folds < 4:
		return fmt.Errorf("backend: %d folds; with fewer than 4 nothing is left to train on", t.Folds)
	case t.Keep != nil && t.Keep.Space.Of() != t.Of:
		return fmt.Errorf("backend: a space for %s is to be kept for embeddings %w: %s", t.Keep.Space.Of().ID, voiceprint.ErrModel, t.Of.ID)
	}
	return t.enough()
}

// enough refuses what cannot give parameters that are worth having.
func (t *Training) enough() error {
	type has struct{ recordings, templates, looks int }
	speakers := map[string]has{}
	names := map[string]bool{}
	for _, r := range t.Recordings {
		if names[r.Name] {
			return fmt.Errorf("backend: two recordings are called %s", r.Name)
		}
		names[r.Name] = true
		h := speakers[r.Speaker]
		h.recordings++
		if r.Template != nil {
			h.templates++
		}
		if len(r.Looks) > 0 {
			h.looks++
		}
		speakers[r.Speaker] = h
	}
	several, compared := 0, 0
	for _, h := range speakers {
		if h.recordings > 1 {
			several++
		}
		if h.recordings > 1 && h.templates > 0 && h.looks > 0 {
			compared++
		}
	}
	switch {
	case t.Keep == nil && several < LeastForSpace:
		return &TooLittleError{What: "speakers with two recordings or more", Have: several, Need: LeastForSpace}
	case compared < LeastForCalibration:
		return &TooLittleError{What: "speakers with one recording to enrol and another to compare with it", Have: compared, Need: LeastForCalibration}
	}
	return nil
}

// Train estimates parameters from all recordings. The paths are every comparison of a
// template with another recording of the same group, each made by parameters trained
// without its two speakers and all that share a fold with either: what is measured on
// them was never trained on. The thresholds are theirs.
func Train(t Training) (*Params, []Path, error) {
	if err := t.withDefaults(); err != nil {
		return nil, nil, err
	}
	all := newSpeech(t.Recordings, t.Folds)
	pairs := t.Folds * (t.Folds + 1) / 2
	var paths []Path
	for n, held := range heldPairs(t.Folds) {
		t.Progress(n, pairs+1)
		p, err := t.train(all.without(held))
		if err != nil {
			return nil, nil, err
		}
		ps, err := t.paths(all, p.Space, held)
		if err != nil {
			return nil, nil, err
		}
		for i := range ps {
			for j := range ps[i].Looks {
				l := &ps[i].Looks[j]
				l.LLR = p.Calibration.LLR(l.Cosine, l.Net)
			}
		}
		paths = append(paths, ps...)
	}
	t.Progress(pairs, pairs+1)
	p, err := t.train(all)
	if err != nil {
		return nil, nil, err
	}
	if p.Operating, err = Operate(paths, t.Policy, t.Fall); err != nil {
		return nil, nil, err
	}
	p.Trained = Trained{Space: t.Data, Calibration: t.Data, Date: t.Date}
	if t.Keep != nil {
		p.Trained.Space = t.Keep.Trained.Space
	}
	t.Progress(pairs+1, pairs+1)
	return p, paths, p.validate()
}

// Estimate is the space and the calibration that Train makes, without thresholds: for
// who has other comparisons to measure them on.
func Estimate(t Training) (*Params, error) {
	if err := t.withDefaults(); err != nil {
		return nil, err
	}
	return t.train(newSpeech(t.Recordings, t.Folds))
}

// speech is recordings whose speakers are put into folds.
type speech struct {
	recordings []Recording
	fold       map[string]int
}

// newSpeech puts the speakers into folds, those of each group in turn.
func newSpeech(rs []Recording, folds int) speech {
	group := map[string]string{}
	for _, r := range rs {
		group[r.Speaker] = r.Group
	}
	names := slices.SortedFunc(maps.Keys(group), func(a, b string) int {
		return cmp.Or(cmp.Compare(group[a], group[b]), cmp.Compare(a, b))
	})
	s := speech{rs, map[string]int{}}
	for i, n := range names {
		s.fold[n] = i % folds
	}
	return s
}

// pair is two folds, or one twice.
type pair [2]int

func heldPairs(folds int) []pair {
	var out []pair
	for i := range folds {
		for j := i; j < folds; j++ {
			out = append(out, pair{i, j})
		}
	}
	return out
}

// between says that one of two folds is the pair's one and the other its other.
func (p pair) between(a, b int) bool { return p == pair{a, b} || p == pair{b, a} }

func (s speech) without(held pair) speech {
	out := speech{fold: s.fold}
	for _, r := range s.recordings {
		if f := s.fold[r.Speaker]; f != held[0] && f != held[1] {
			out.recordings = append(out.recordings, r)
		}
	}
	return out
}

// innerFolds is how many parts the speakers of a training are put into for its
// calibration: a space flatters the speakers it was trained on.
const innerFolds = 5

// train estimates a space from all of s and a calibration from comparisons by spaces
// that their speakers were not part of.
func (t *Training) train(s speech) (*Params, error) {
	space, err := t.space(s)
	if err != nil {
		return nil, err
	}
	var data []scored
	inner := newSpeech(s.recordings, innerFolds)
	speakers := map[string]bool{}
	for _, held := range heldPairs(innerFolds) {
		by := space
		if t.Keep == nil {
			if by, err = t.space(inner.without(held)); err != nil {
				return nil, err
			}
		}
		var ps []Path
		ps, err = t.paths(inner, by, held)
		if err != nil {
			return nil, err
		}
		for _, p := range ps {
			speakers[p.Speaker] = true
			for _, l := range p.Looks {
				net := seconds(l.Net)
				// Looks come at even steps; what matters is how many times more speech
				// there is.
				data = append(data, scored{cosine: l.Cosine, net: net, weight: 1 / net, target: p.Target()})
			}
		}
	}
	c, err := fit(data, t.Prior)
	if err != nil {
		return nil, err
	}
	c.Speakers = len(speakers)
	return &Params{Space: space, Calibration: c}, nil
}

func (t *Training) space(s speech) (*Space, error) {
	if t.Keep != nil {
		return t.Keep.Space, nil
	}
	var samples []Sample
	for _, r := range s.recordings {
		for _, p := range r.Parts {
			samples = append(samples, Sample{r.Speaker, p.Raw})
		}
	}
	return TrainSpace(t.Of, samples, t.Shrink)
}

// paths are the comparisons in the space between the pair's folds, without LLR.
func (t *Training) paths(s speech, space *Space, held pair) ([]Path, error) {
	type placed struct {
		*Recording
		template voiceprint.Embedding
		looks    []voiceprint.Embedding
	}
	var in []placed
	for i := range s.recordings {
		r := &s.recordings[i]
		if f := s.fold[r.Speaker]; f != held[0] && f != held[1] {
			continue
		}
		p := placed{Recording: r}
		var errs []error
		place := func(raw voiceprint.Embedding) voiceprint.Embedding {
			e, err := space.Map(raw)
			errs = append(errs, err)
			return e
		}
		if r.Template != nil {
			p.template = place(r.Template)
		}
		for _, l := range r.Looks {
			p.looks = append(p.looks, place(l.Raw))
		}
		if err := errors.Join(errs...); err != nil {
			return nil, fmt.Errorf("%s: %w", r.Name, err)
		}
		in = append(in, p)
	}
	var out []Path
	for _, a := range in {
		for _, b := range in {
			if a.template == nil || len(b.looks) == 0 || a.Name == b.Name || a.Group != b.Group || !held.between(s.fold[a.Speaker], s.fold[b.Speaker]) {
				continue
			}
			p := Path{Enrolled: a.Speaker, Speaker: b.Speaker, Template: a.Name, Test: b.Name, Line: b.Line, Looks: make([]Look, len(b.looks))}
			for i, e := range b.looks {
				p.Looks[i] = Look{Net: b.Looks[i].Net, Cosine: voiceprint.Cosine(a.template, e)}
			}
			out = append(out, p)
		}
	}
	return out, nil
}
