package app

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"sidetone/guidance"
	"sidetone/guidance/playbook"
	"sidetone/guidance/push"
	"sidetone/kb"
	"sidetone/kb/retailbank"
)

// searchLimit is how many elements a search on the pane shows.
const searchLimit = 8

// knowledge shows the index to the guidance and to the panes.
type knowledge struct {
	index *kb.Index
	log   *slog.Logger
}

var (
	_ guidance.Knowledge = knowledge{}
	_ push.Searcher      = knowledge{}
)

// Passage implements guidance.Knowledge.
func (k knowledge) Passage(id, language string, now time.Time) (guidance.Passage, bool) {
	e, ok := k.index.Get(id, kb.View{Language: language, Channel: "agent", Now: now})
	return passage(&e), ok
}

// Find implements guidance.Knowledge.
func (k knowledge) Find(text, language string, now time.Time) (guidance.Passage, bool) {
	hits, err := k.index.Search(context.Background(), kb.Query{
		View: kb.View{Language: language, Channel: "agent", Now: now}, Text: text, Limit: 1,
	})
	if err != nil {
		k.log.Error("searching the knowledge base", "error", err)
		return guidance.Passage{}, false
	}
	if len(hits) == 0 {
		return guidance.Passage{}, false
	}
	return passage(&hits[0].Element), true
}

// Search implements push.Searcher.
func (k knowledge) Search(ctx context.Context, q push.Query) ([]push.Result, error) {
	hits, err := k.index.Search(ctx, kb.Query{
		View: kb.View{Language: q.Language, Channel: "agent", Now: time.Now()}, Text: q.Text, Limit: searchLimit,
	})
	if err != nil {
		return nil, err
	}
	out := make([]push.Result, len(hits))
	for i := range hits {
		e := &hits[i].Element
		out[i] = push.Result{
			Element: e.ID, Version: e.Version, Language: e.Language, Title: e.Title,
			Customer: e.Customer, Internal: e.Internal, Steps: e.Steps,
		}
	}
	return out, nil
}

func passage(e *kb.Element) guidance.Passage {
	return guidance.Passage{Element: e.ID, Version: e.Version, Language: e.Language, Title: e.Title, Body: e.Customer, Steps: e.Steps}
}

// loadKnowledge indexes the configured folder, or the built-in elements.
func loadKnowledge(folder string) (*kb.Index, error) {
	fsys := retailbank.Files()
	if folder != "" {
		fsys = os.DirFS(folder)
	}
	elements, err := kb.Load(fsys)
	if err != nil {
		return nil, fmt.Errorf("guidance.knowledge: %w", err)
	}
	if len(elements) == 0 {
		return nil, fmt.Errorf("guidance.knowledge: %s holds no elements (files *.yaml)", folder)
	}
	index := kb.New()
	if err := index.Publish(elements); err != nil {
		return nil, fmt.Errorf("guidance.knowledge: %w", err)
	}
	return index, nil
}

// loadPlaybook compiles the configured file, or the built-in playbook. Every
// element that it shows must be in the index.
func loadPlaybook(file string, index *kb.Index) (*guidance.Playbook, error) {
	p, err := readPlaybook(file)
	if err != nil {
		return nil, fmt.Errorf("guidance.playbook: %w", err)
	}
	for _, id := range p.Elements() {
		if _, ok := index.Get(id, kb.View{Channel: "agent", Now: time.Now()}); !ok {
			return nil, fmt.Errorf("guidance.playbook: %s shows element %q, which the knowledge base does not have for agents today", p.Name, id)
		}
	}
	return p, nil
}

func readPlaybook(file string) (*guidance.Playbook, error) {
	if file == "" {
		return playbook.RetailBank()
	}
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return playbook.Parse(file, src)
}
