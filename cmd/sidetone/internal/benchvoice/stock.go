// Package benchvoice runs an embedding engine, and the parameters behind it, over
// the evaluation data's trials for `sidetone bench voice`.
package benchvoice

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"sidetone/internal/wav"
	"sidetone/media/resample"
	"sidetone/voiceprint"
)

// Stretch is a part of a file, in samples of voiceprint.Rate. Of length 0 it reaches
// to the file's end.
type Stretch struct {
	File          string
	Start, Length int
}

// Cache keeps raw embeddings beyond a run; voicecal.Cache does.
type Cache interface {
	Get(key string) (voiceprint.Embedding, bool)
	Put(key string, e voiceprint.Embedding) error
}

// key is the stretch as voicecal.Hearing names it, if it is of length n.
func (at Stretch) key(n int) string {
	const perMilli = voiceprint.Rate / 1000
	return fmt.Sprintf("%s %d %d", strings.TrimPrefix(at.File, "wav/"), at.Start/perMilli, (at.Start+n)/perMilli)
}

// Stock holds the raw embeddings of stretches of files, each of which is made once.
// It is safe for concurrent use.
type Stock struct {
	root    string
	engine  voiceprint.Embedder
	workers int
	cache   Cache

	mu   sync.Mutex
	have map[Stretch]voiceprint.Embedding
}

// NewStock makes a stock of files below root. At most workers embed at once. The
// cache, if not nil, is asked before and told after.
func NewStock(root string, engine voiceprint.Embedder, workers int, cache Cache) *Stock {
	return &Stock{root: root, engine: engine, workers: max(workers, 1), cache: cache, have: map[Stretch]voiceprint.Embedding{}}
}

// Get is the embedding of a stretch, nil if it was not made.
func (s *Stock) Get(at Stretch) voiceprint.Embedding {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.have[at]
}

// Make embeds the stretches that are not there yet. done, if not nil, is told how
// many of them are there.
func (s *Stock) Make(ctx context.Context, all []Stretch, done func(n, of int)) error {
	byFile := map[string][]Stretch{}
	missing := 0
	s.mu.Lock()
	for _, at := range all {
		if s.have[at] == nil && !slices.Contains(byFile[at.File], at) {
			byFile[at.File] = append(byFile[at.File], at)
			missing++
		}
	}
	s.mu.Unlock()
	made := counter{of: missing, tell: done}
	return s.each(ctx, slices.Sorted(maps.Keys(byFile)), func(ctx context.Context, file string) error {
		speech, err := s.Speech(file)
		if err != nil {
			return err
		}
		for _, at := range byFile[file] {
			if err := ctx.Err(); err != nil {
				return err
			}
			end := at.Start + cmp.Or(at.Length, len(speech)-at.Start)
			if at.Start < 0 || end > len(speech) || end <= at.Start {
				return fmt.Errorf("%s: samples %d to %d are asked for, it has %d", file, at.Start, end, len(speech))
			}
			if _, err := s.embed(at, speech[at.Start:end]); err != nil {
				return err
			}
			made.add()
		}
		return nil
	})
}

// each runs f for each file, as many at once as there are workers.
func (s *Stock) each(ctx context.Context, files []string, f func(ctx context.Context, file string) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(s.workers)
	for _, file := range files {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return f(ctx, file)
		})
	}
	return g.Wait()
}

// embed is the embedding of a stretch, made of its speech if it is not there yet.
func (s *Stock) embed(at Stretch, speech []float32) (voiceprint.Embedding, error) {
	if e := s.Get(at); e != nil {
		return e, nil
	}
	e, err := s.make(at.key(len(speech)), speech)
	if err != nil {
		return nil, fmt.Errorf("%s, %d samples from %d: %w", at.File, len(speech), at.Start, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.have[at] = e
	return e, nil
}

func (s *Stock) make(key string, speech []float32) (voiceprint.Embedding, error) {
	if s.cache == nil {
		return s.engine.Embed(speech)
	}
	if e, ok := s.cache.Get(key); ok {
		return e, nil
	}
	e, err := s.engine.Embed(speech)
	if err != nil {
		return nil, err
	}
	return e, s.cache.Put(key, e)
}

// Speech reads a file, at voiceprint.Rate and full scale at ±1.
func (s *Stock) Speech(file string) ([]float32, error) {
	b, err := os.ReadFile(filepath.Join(s.root, filepath.FromSlash(file)))
	if err != nil {
		return nil, err
	}
	a, err := wav.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(a.Channels) != 1 {
		return nil, fmt.Errorf("%s: %d channels; files of trials have one", file, len(a.Channels))
	}
	x := a.Channels[0]
	if a.Rate != voiceprint.Rate {
		if x, err = resample.Convert(x, a.Rate, voiceprint.Rate); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v) / 32768
	}
	return out, nil
}

// counter tells of progress, one after the other.
type counter struct {
	mu    sync.Mutex
	n, of int
	tell  func(n, of int)
}

func (c *counter) add() {
	if c.tell == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	c.tell(c.n, c.of)
}
