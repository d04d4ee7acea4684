package kb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/search"
)

// ErrClosed is returned by an Index that has been closed.
var ErrClosed = errors.New("knowledge index is closed")

// View is who looks at the knowledge base, and when.
type View struct {
	// Language is the preferred language; what exists only in another one is
	// shown in that. Empty prefers the first of Languages.
	Language string
	// Channel is where it will be shown; empty means agent.
	Channel string
	// Audience is what the reader belongs to. An element with an audience is
	// shown only to a reader that shares one with it.
	Audience []string
	// Now is the time for which elements must be valid.
	Now time.Time
}

// Query is a search.
type Query struct {
	View
	// Text is what is looked for, in any of the Languages; the last word may
	// be unfinished.
	Text string
	// Limit is the greatest number of hits; 0 means 10.
	Limit int
}

// Hit is one element found.
type Hit struct {
	// Element is in the asked language where it exists in that; its Language
	// says which it is.
	Element Element
	// Score orders hits of one search; it means nothing across searches.
	Score float64
	// Fields are the parts that matched, such as "title" or "questions", in
	// alphabetical order.
	Fields []string
}

// Index holds the published elements and finds them. It is safe for concurrent
// use.
type Index struct {
	mu     sync.RWMutex
	closed bool
	// text is nil until something is published.
	text bleve.Index
	// byID holds an element's languages and versions, the newest first; size
	// counts them.
	byID map[string][]Element
	size int
}

// New returns an empty index, held in memory.
func New() *Index { return &Index{} }

// Publish replaces everything in the index by the elements. Searches see the
// old content or the new, nothing between. The index keeps the slices in the
// elements.
func (x *Index) Publish(elements []Element) error {
	byID := map[string][]Element{}
	seen := map[key]bool{}
	text, err := bleve.NewMemOnly(schema())
	if err != nil {
		return fmt.Errorf("publish knowledge: %w", err)
	}
	batch := text.NewBatch()
	for i := range elements {
		e := &elements[i]
		if field, err := check(e); err != nil {
			return errors.Join(fmt.Errorf("publish knowledge: element %q: %s: %w", e.ID, field, err), text.Close())
		}
		if seen[keyOf(e)] {
			return errors.Join(fmt.Errorf("publish knowledge: element %q version %d in %q comes twice", e.ID, e.Version, e.Language), text.Close())
		}
		seen[keyOf(e)] = true
		byID[e.ID] = append(byID[e.ID], *e)
		if err := batch.Index(docID(e), fieldsOf(e)); err != nil {
			return errors.Join(fmt.Errorf("publish knowledge: element %q: %w", e.ID, err), text.Close())
		}
	}
	if err := text.Batch(batch); err != nil {
		return errors.Join(fmt.Errorf("publish knowledge: %w", err), text.Close())
	}
	for _, es := range byID {
		slices.SortFunc(es, func(a, b Element) int { return b.Version - a.Version })
	}

	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return errors.Join(ErrClosed, text.Close())
	}
	old := x.text
	x.text, x.byID, x.size = text, byID, len(elements)
	if old != nil {
		return old.Close()
	}
	return nil
}

// Get is the newest version of an element that the view allows, in the asked
// language or else in another one.
func (x *Index) Get(id string, v View) (Element, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.get(id, v, "")
}

// get prefers the asked language, then the second, then any.
func (x *Index) get(id string, v View, second string) (Element, bool) {
	best, rank := Element{}, 0
	for _, e := range x.byID[id] {
		if !v.allows(&e) {
			continue
		}
		r := 1
		switch e.Language {
		case v.language():
			r = 3
		case second:
			r = 2
		}
		if r > rank {
			best, rank = e, r
		}
	}
	return best, rank > 0
}

// Search finds elements by words, the best first. An element that matches in
// several languages or versions is one hit.
func (x *Index) Search(ctx context.Context, q Query) ([]Hit, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.closed {
		return nil, ErrClosed
	}
	if x.text == nil || strings.TrimSpace(q.Text) == "" {
		return nil, nil
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 10
	}
	match := words(q.Text, q.language())
	// What the view forbids and what matches twice falls out after the search,
	// so a few more are asked for, and everything if those were not enough.
	for n := 4*limit + 20; ; n = x.size {
		req := bleve.NewSearchRequestOptions(match, n, 0, false)
		req.IncludeLocations = true
		res, err := x.text.SearchInContext(ctx, req)
		if err != nil {
			return nil, fmt.Errorf("search knowledge for %q: %w", q.Text, err)
		}
		hits := x.pick(res.Hits, q.View, limit)
		if len(hits) == limit || uint64(n) >= res.Total {
			return hits, nil
		}
	}
}

// pick is the best limit elements among the matches.
func (x *Index) pick(matches search.DocumentMatchCollection, v View, limit int) []Hit {
	var hits []Hit
	taken := map[string]bool{}
	for _, m := range matches {
		id, language, version := splitDocID(m.ID)
		if taken[id] || !x.visible(id, language, version, v) {
			continue
		}
		taken[id] = true
		e, _ := x.get(id, v, language)
		hits = append(hits, Hit{Element: e, Score: m.Score, Fields: fields(m)})
		if len(hits) == limit {
			break
		}
	}
	return hits
}

// visible says whether the matched document is the one that the view would
// show in its language: an old version does not bring its element up.
func (x *Index) visible(id, language string, version int, v View) bool {
	for _, e := range x.byID[id] {
		if e.Language == language && v.allows(&e) {
			return e.Version == version
		}
	}
	return false
}

// Close frees the index. It is idempotent.
func (x *Index) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	x.byID = nil
	if x.text == nil {
		return nil
	}
	text := x.text
	x.text = nil
	return text.Close()
}

func (v *View) language() string {
	if v.Language == "" {
		return Languages()[0]
	}
	return v.Language
}

func (v *View) allows(e *Element) bool {
	channel := v.Channel
	if channel == "" {
		channel = "agent"
	}
	return slices.Contains(e.Channels, channel) &&
		(len(e.Audience) == 0 || slices.ContainsFunc(e.Audience, func(a string) bool { return slices.Contains(v.Audience, a) })) &&
		(e.ValidFrom.IsZero() || !v.Now.Before(e.ValidFrom)) &&
		(e.ValidTo.IsZero() || v.Now.Before(e.ValidTo))
}

func docID(e *Element) string {
	return e.ID + "/" + e.Language + "/" + strconv.Itoa(e.Version)
}

func splitDocID(s string) (id, language string, version int) {
	id, rest, _ := strings.Cut(s, "/")
	language, v, _ := strings.Cut(rest, "/")
	version, _ = strconv.Atoi(v)
	return id, language, version
}

func fields(m *search.DocumentMatch) []string {
	var out []string
	for f := range m.Locations {
		name, _, _ := strings.Cut(f, "_")
		out = append(out, name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
