// Package watch finds voices among many: a caller on a watch list, one voice
// enrolled under two customers, the same stranger calling for several.
//
// A search compares one voice with all of a list, so its false alarms grow with the
// list (Peri et al., VoxWatch, arXiv 2307.00169, 2023): where one comparison errs
// with probability p, N err with 1-(1-p)^N. What is asked for here is the rate of the
// whole search; Threshold turns it into the evidence that one comparison needs.
//
// Results name entries by their IDs and hold nothing of a voice. They are for
// security staff: a hit is a reason to look, never a reason to turn a caller away.
package watch

import (
	"errors"
	"fmt"

	"sidetone/internal/nn"
	"sidetone/voiceprint"
)

// Entry is a voice to look for.
type Entry struct {
	// ID says nothing by itself, such as a key of the store's.
	ID string
	// Templates are the unit vectors of one voice, at least one. They are searched as
	// one, their mean made a unit vector: more of them give strangers no more chances.
	Templates []voiceprint.Embedding
}

// List is voices to look for. It is immutable, so it may be searched while With and
// Without make its successor; publish that with an atomic pointer.
type List struct {
	model voiceprint.Model
	ids   []string
	// rows is [voices][model.Dim].
	rows []float32
	at   map[string]int
}

// NewList makes a list of voices in the space of a model.
func NewList(model voiceprint.Model, entries ...Entry) (*List, error) {
	if model.Dim < 1 || model.ID == "" {
		return nil, fmt.Errorf("watch: the model %q has %d dimensions; it needs a name and at least one", model.ID, model.Dim)
	}
	empty := &List{model: model, at: map[string]int{}}
	return empty.With(entries...)
}

// Len is how many voices there are.
func (l *List) Len() int { return len(l.ids) }

// Has says whether there is an entry.
func (l *List) Has(id string) bool {
	_, ok := l.at[id]
	return ok
}

// With is the list with these entries too. One that was there is replaced. It takes a
// copy of the list, 8 MB for 10,000 voices: add many at once.
func (l *List) With(entries ...Entry) (*List, error) {
	replaced := map[string]bool{}
	means := make([]float32, 0, len(entries)*l.model.Dim)
	for _, e := range entries {
		mean, err := l.mean(e)
		if err != nil {
			return nil, fmt.Errorf("watch: the entry %q: %w", e.ID, err)
		}
		if replaced[e.ID] {
			return nil, fmt.Errorf("watch: the entry %q comes twice", e.ID)
		}
		replaced[e.ID] = true
		means = append(means, mean...)
	}
	out := l.less(replaced, len(entries))
	for _, e := range entries {
		out.at[e.ID] = len(out.ids)
		out.ids = append(out.ids, e.ID)
	}
	out.rows = append(out.rows, means...)
	return out, nil
}

func (l *List) mean(e Entry) (voiceprint.Embedding, error) {
	if e.ID == "" || len(e.Templates) == 0 {
		return nil, fmt.Errorf("%d templates; it needs an ID and at least one", len(e.Templates))
	}
	mean := make(voiceprint.Embedding, l.model.Dim)
	for i, t := range e.Templates {
		if err := unit(t, l.model); err != nil {
			return nil, fmt.Errorf("template %d: %w", i, err)
		}
		nn.Add(mean, t)
	}
	if !voiceprint.Unit(mean) {
		return nil, errors.New("its templates are opposites: they are not of one voice")
	}
	return mean, nil
}

// Without is the list without these entries, where they were in it.
func (l *List) Without(ids ...string) *List {
	gone := map[string]bool{}
	for _, id := range ids {
		gone[id] = true
	}
	return l.less(gone, 0)
}

// less copies all but some, with room for more.
func (l *List) less(gone map[string]bool, more int) *List {
	out := &List{
		model: l.model,
		ids:   make([]string, 0, len(l.ids)+more),
		rows:  make([]float32, 0, len(l.rows)+more*l.model.Dim),
		at:    make(map[string]int, len(l.ids)+more),
	}
	for i, id := range l.ids {
		if !gone[id] {
			out.at[id] = len(out.ids)
			out.ids = append(out.ids, id)
			out.rows = append(out.rows, l.row(i)...)
		}
	}
	return out
}

func (l *List) row(i int) voiceprint.Embedding {
	return l.rows[i*l.model.Dim : (i+1)*l.model.Dim]
}

// unit refuses what is no unit vector of the model.
func unit(e voiceprint.Embedding, m voiceprint.Model) error {
	if len(e) != m.Dim {
		return fmt.Errorf("%d dimensions, %s has %d: %w", len(e), m.ID, m.Dim, voiceprint.ErrModel)
	}
	if n := voiceprint.Cosine(e, e); !(n > 0.98 && n < 1.02) {
		return fmt.Errorf("the squared length is %v, of a unit vector it is 1", n)
	}
	return nil
}
