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
	"fmt"
	"maps"
	"slices"

	"sidetone/voiceprint"
)

// Entry is a voice to look for.
type Entry struct {
	// ID says nothing by itself, such as a key of the store's.
	ID string
	// Templates are the unit vectors of one voice, at least one.
	Templates []voiceprint.Embedding
}

// List is voices to look for. It is immutable, so it may be searched while With and
// Without make its successor; publish that with an atomic pointer.
type List struct {
	model voiceprint.Model
	ids   []string
	// first[i] is the first row of entry i; one more closes the last.
	first []int
	// rows is [templates][model.Dim], entry after entry.
	rows []float32
	at   map[string]int
}

// NewList makes a list of voices in the space of a model.
func NewList(model voiceprint.Model, entries ...Entry) (*List, error) {
	if model.Dim < 1 || model.ID == "" {
		return nil, fmt.Errorf("watch: the model %q has %d dimensions; it needs a name and at least one", model.ID, model.Dim)
	}
	empty := &List{model: model, first: []int{0}, at: map[string]int{}}
	return empty.With(entries...)
}

// Model is that of the embeddings.
func (l *List) Model() voiceprint.Model { return l.model }

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
	templates := 0
	for _, e := range entries {
		if err := l.check(e); err != nil {
			return nil, err
		}
		if replaced[e.ID] {
			return nil, fmt.Errorf("watch: the entry %q comes twice", e.ID)
		}
		replaced[e.ID] = true
		templates += len(e.Templates)
	}
	out := l.less(replaced, len(entries), templates)
	for _, e := range entries {
		out.at[e.ID] = len(out.ids)
		out.ids = append(out.ids, e.ID)
		for _, t := range e.Templates {
			out.rows = append(out.rows, t...)
		}
		out.first = append(out.first, len(out.rows)/l.model.Dim)
	}
	return out, nil
}

func (l *List) check(e Entry) error {
	if e.ID == "" || len(e.Templates) == 0 {
		return fmt.Errorf("watch: the entry %q has %d templates; it needs an ID and at least one", e.ID, len(e.Templates))
	}
	for i, t := range e.Templates {
		if err := unit(t, l.model); err != nil {
			return fmt.Errorf("watch: template %d of the entry %q: %w", i, e.ID, err)
		}
	}
	return nil
}

// Without is the list without these entries, where they were in it.
func (l *List) Without(ids ...string) *List {
	gone := map[string]bool{}
	for _, id := range ids {
		gone[id] = true
	}
	return l.less(gone, 0, 0)
}

// less copies all but some, with room for more.
func (l *List) less(gone map[string]bool, entries, templates int) *List {
	dim := l.model.Dim
	out := &List{
		model: l.model,
		ids:   make([]string, 0, len(l.ids)+entries),
		first: append(make([]int, 0, len(l.first)+entries), 0),
		rows:  make([]float32, 0, len(l.rows)+templates*dim),
	}
	if !slices.ContainsFunc(l.ids, func(id string) bool { return gone[id] }) {
		out.ids, out.rows = append(out.ids, l.ids...), append(out.rows, l.rows...)
		out.first = append(out.first, l.first[1:]...)
		out.at = maps.Clone(l.at)
		return out
	}
	out.at = make(map[string]int, len(l.ids)+entries)
	for i, id := range l.ids {
		if gone[id] {
			continue
		}
		out.at[id] = len(out.ids)
		out.ids = append(out.ids, id)
		out.rows = append(out.rows, l.rows[l.first[i]*dim:l.first[i+1]*dim]...)
		out.first = append(out.first, len(out.rows)/dim)
	}
	return out
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
