package voiceguard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"sidetone/voiceprint"
	voicestore "sidetone/voiceprint/store"
	"sidetone/voiceprint/store/watchlist"
	"sidetone/voiceprint/watch"
)

// fresh is for how long the watch list is taken to be as it was.
const fresh = 3 * time.Second

// WatchList is the watch list as the database has it.
type WatchList interface {
	Mark(ctx context.Context) (string, error)
	Voices(ctx context.Context, by voicestore.Actor, model string) (*watchlist.Voices, error)
}

// LookoutConfig shapes NewLookout.
type LookoutConfig struct {
	List   WatchList
	Scorer voiceprint.Scorer
	By     voicestore.Actor
	// Searches is how often one call is searched; the share of false alarms is for
	// all of them together.
	Searches int
}

// Lookout looks for callers on the watch list, which it keeps in memory and reads
// again when it has changed. It is safe for concurrent use.
type Lookout struct {
	cfg LookoutConfig

	mu       sync.Mutex
	searcher *watch.Searcher
	// checked is when the list was last found to be as voices and list are.
	checked time.Time
	voices  *watchlist.Voices
	list    *watch.List
}

// NewLookout makes one.
func NewLookout(c LookoutConfig) (*Lookout, error) {
	if c.List == nil || c.Scorer == nil {
		return nil, errors.New("voiceguard: a watch list and a scorer are needed")
	}
	s, err := watch.NewSearcher(watch.Config{Scorer: c.Scorer, Searches: c.Searches})
	if err != nil {
		return nil, err
	}
	return &Lookout{cfg: c, searcher: s}, nil
}

// Any says whether there is anybody to look for.
func (l *Lookout) Any(ctx context.Context, now time.Time) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.read(ctx, now); err != nil {
		return false, err
	}
	return l.list.Len() > 0, nil
}

// Search looks for a voice, made of net speech, and returns the alarms: the entries
// that it may well be, the likeliest first.
func (l *Lookout) Search(ctx context.Context, e voiceprint.Embedding, net time.Duration, now time.Time) ([]watch.Hit, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.read(ctx, now); err != nil || l.list.Len() == 0 {
		return nil, err
	}
	turned, err := l.voices.Turn(e)
	if err != nil {
		return nil, err
	}
	r, err := l.searcher.Search(l.list, turned, net, "")
	if err != nil {
		return nil, err
	}
	return alarms(r), nil
}

// alarms are a search's, which reuses its hits.
func alarms(r watch.Result) []watch.Hit {
	return slices.DeleteFunc(slices.Clone(r.Hits), func(h watch.Hit) bool { return !h.Alarm })
}

// read brings the list up to date. The caller holds mu.
func (l *Lookout) read(ctx context.Context, now time.Time) error {
	if l.list != nil && now.Sub(l.checked) < fresh {
		return nil
	}
	mark, err := l.cfg.List.Mark(ctx)
	if err != nil {
		return err
	}
	if l.list == nil || mark != l.voices.Mark {
		model := l.cfg.Scorer.Info().Model
		v, err := l.cfg.List.Voices(ctx, l.cfg.By, model.ID)
		if err != nil {
			return err
		}
		entries := make([]watch.Entry, len(v.IDs))
		for i, id := range v.IDs {
			entries[i] = watch.Entry{ID: id, Templates: v.Turned[i : i+1]}
		}
		list, err := watch.NewList(model, entries...)
		if err != nil {
			return fmt.Errorf("voiceguard: the watch list: %w", err)
		}
		l.voices, l.list = v, list
	}
	l.checked = now
	return nil
}

// Enrolled are all who are enrolled.
type Enrolled interface {
	Scan(ctx context.Context, by voicestore.Actor, model string, fn func(person string, t voiceprint.Template) error) error
}

// Known are the voices of all who are enrolled, in memory. It is not safe for
// concurrent use.
type Known struct {
	scorer voiceprint.Scorer
	of     map[string][]voiceprint.Embedding
}

// ReadKnown reads all templates of the scorer's model.
func ReadKnown(ctx context.Context, all Enrolled, by voicestore.Actor, s voiceprint.Scorer) (*Known, error) {
	k := &Known{scorer: s, of: map[string][]voiceprint.Embedding{}}
	err := all.Scan(ctx, by, s.Info().Model.ID, func(person string, t voiceprint.Template) error {
		k.Add(person, t.Embedding)
		return ctx.Err()
	})
	return k, err
}

// Add adds a template of a person, by pseudonym.
func (k *Known) Add(person string, e voiceprint.Embedding) { k.of[person] = append(k.of[person], e) }

// Alike are those but the person who may well have this voice, made of net speech, the
// likeliest first.
func (k *Known) Alike(e voiceprint.Embedding, net time.Duration, person string) ([]string, error) {
	var entries []watch.Entry
	for id, templates := range k.of {
		if id != person {
			entries = append(entries, watch.Entry{ID: id, Templates: templates})
		}
	}
	list, err := watch.NewList(k.scorer.Info().Model, entries...)
	if err != nil {
		return nil, fmt.Errorf("voiceguard: those who are enrolled: %w", err)
	}
	searcher, err := watch.NewSearcher(watch.Config{Scorer: k.scorer})
	if err != nil {
		return nil, err
	}
	r, err := searcher.Search(list, e, net, "")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, h := range alarms(r) {
		out = append(out, h.ID)
	}
	return out, nil
}
